"""Side by side with SCALE-Sim 3: the same layers, the same compute cycles, the CPU time of both.

    python benchmarks/scalesim_compare.py --scalesim-python PATH

SCALE-Sim lives in an environment of its own (`pip install scalesim==3.0.0 "numpy==2.2.*"`), whose
interpreter is given with --scalesim-python; without one the script says so and ends. Each layer is
one run of SCALE-Sim; ours is the whole job (map, simulate, price), repeated for a stable figure.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from timing import command_cost, median_cpu_s, table

if TYPE_CHECKING:
    from validation_rows import Row

# (name, ifmap h, w, filter h, w, channels, filters, stride): AlexNet conv5 with its padding baked in,
# and a ResNet-50 layer small enough for SCALE-Sim to finish in about ten seconds
LAYERS = {
    "alexnet_conv5": (15, 15, 3, 3, 384, 256, 1),
    "resnet50_conv5_1x1": (7, 7, 1, 1, 512, 512, 1),
}
SIZE = 32
CONFIG = """[general]
run_name = compare
[architecture_presets]
ArrayHeight: {size}
ArrayWidth: {size}
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: {dataflow}
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def scalesim(python: str, folder: Path, name: str, dataflow: str) -> tuple[int, float]:
    """(compute cycles as reported plus one, CPU seconds) of SCALE-Sim on one layer."""
    (folder / "c.cfg").write_text(CONFIG.format(size=SIZE, dataflow=dataflow))
    header = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    (folder / "t.csv").write_text(header + f"{name}, " + ", ".join(map(str, LAYERS[name])) + ",\n")
    # any layout will do: custom layouts are off
    (folder / "l.csv").write_text(
        "Layer name," + ",".join(f"c{i}" for i in range(12)) + f",\n{name}," + "1," * 12 + "\n"
    )
    code = (
        "from scalesim.scale_sim import scalesim\n"
        f"s = scalesim(save_disk_space=True, verbose=False, config={str(folder / 'c.cfg')!r}, "
        f"topology={str(folder / 't.csv')!r}, layout={str(folder / 'l.csv')!r})\n"
        f"s.run_scale(top_path={str(folder / 'out')!r})\n"
    )
    cost = command_cost([python, "-c", code])
    report = next((folder / "out").rglob("COMPUTE_REPORT.csv"))
    with report.open() as file:
        row = {k.strip(): v for k, v in next(csv.DictReader(file, skipinitialspace=True)).items() if k}
    cycles = next(float(v) for k, v in row.items() if k.startswith("Total Cycles") and "prefetch" not in k)
    return int(cycles) + 1, cost.cpu_s


def ours(folder: Path, name: str, dataflow: str) -> tuple[int, float]:
    """(cycles of compute, fill and drain, CPU seconds) of the same layer, whole job."""
    from accelsim.system.archspec import load_arch
    from accelsim.system.simulate import simulate
    from accelsim.workload.load import load_network
    from accelsim.workload.trace import synthetic_trace

    pins = "[{order: nmk, images: 1099511627776}]"  # one tile: SCALE-Sim's compute stage knows no tiles
    big = [f"buffers.{o}_buffer.capacity_bytes=33554432" for o in ("psum", "filter", "ifmap", "ofmap")]
    overrides = [*big, f"mapping.pinned={pins}"]

    def work() -> object:
        arch = load_arch(f"systolic_{dataflow}_{SIZE}", overrides)
        return simulate(arch, synthetic_trace(load_network(str(folder / "t.csv"))))

    result = work()
    parts = result.cycles_by_cause()  # type: ignore[attr-defined]
    cycles = parts["compute"] + parts["fill_drain"]
    if dataflow == "os":
        cycles -= SIZE - 1  # the last fold's results leave row by row; SCALE-Sim does not count that
    return cycles, median_cpu_s(work, 5)


def rows(quick: bool = False) -> list[Row]:
    """Rows of the validation page: compute cycles of every layer that SCALE-Sim was run on; `quick`: one in eight."""
    from validation_rows import Row, references

    from accelsim.dataflow.base import DATAFLOWS, Array

    path = references() / "scalesim" / "scalesim_layers.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if row["compute_cycles"]][:: 8 if quick else 1]
    found = []
    for row in table:
        array = Array(int(row["array_rows"]), int(row["array_cols"]), "serial", "full")
        timing = DATAFLOWS.lookup(row["dataflow"]).timing(array, *(int(row[x]) for x in "MNK"))
        design = f"{array.rows} x {array.cols}, {row['dataflow']}"
        workload = f"{Path(row['topology_file']).stem} {row['layer']}, {row['M']} x {row['N']} x {row['K']}"
        note = "SCALE-Sim gives the index of the last cycle: one less than the cycles"
        ours, theirs = int(timing.load + timing.stream) - 1, int(row["compute_cycles"])
        found.append(Row(design, workload, "compute cycles - 1", "", ours, theirs, "SCALE-Sim 3.0.0", 0.0, note))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scalesim-python", help="interpreter of an environment with scalesim==3.0.0")
    parser.add_argument("--layer", choices=LAYERS, action="append", help="only these layers")
    args = parser.parse_args()
    if not args.scalesim_python:
        print("SCALE-Sim is not given (--scalesim-python): nothing to compare with.")
        return
    try:
        command_cost([args.scalesim_python, "-c", "import scalesim"])
    except (RuntimeError, OSError):
        print(f"{args.scalesim_python} cannot import scalesim: nothing to compare with.")
        return
    rows = []
    for name in args.layer or LAYERS:
        for dataflow in ("os", "ws", "is"):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                theirs, their_s = scalesim(args.scalesim_python, folder, name, dataflow)
                cycles, own_s = ours(folder, name, dataflow)
            if cycles != theirs:
                sys.exit(f"{name} {dataflow}: compute cycles differ: SCALE-Sim {theirs}, accelsim {cycles}")
            rows.append(
                [name, dataflow, f"{cycles:,}", f"{their_s:.1f}", f"{own_s * 1000:.1f}", f"{their_s / own_s:,.0f}x"]
            )
    print(
        table(["layer", "dataflow", "compute cycles, both", "SCALE-Sim (CPU s)", "accelsim (CPU ms)", "ratio"], rows)
    )


if __name__ == "__main__":
    main()
