"""What the special engine is worth: TIE beside a plain array that contracts, and beside one that runs the matrix.

    python benchmarks/tensor_train_table.py

Prints the table of docs/tensor_train.md: the layers of validate_tie.py, batch 1, on `tie` and `tie_dense_array` (the
same MACs, memories and DRAM). `multiply`: the plain array runs the matrix that the cores stand for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from validate_tie import LAYERS, chip_pj, trace_of

from accelsim.system.archspec import load_arch
from accelsim.system.result import LayerResult
from accelsim.system.simulate import simulate

WAYS = {
    "tie": ("tie", ()),
    "array, contracted": ("tie_dense_array", ()),
    "array, contracted, 1024 moves a cycle": ("tie_dense_array", ("vector.lanes=1024",)),
    "array, the matrix": ("tie_dense_array", ("mapping.factors=multiply",)),
}


def line(name: str, way: str, alone: LayerResult, layer: LayerResult) -> str:
    """One row of the table; `alone`: with a DRAM that takes no time."""
    cells = (
        name, way, f"{layer.macs:,}", f"{alone.cycles_by_cause['compute']:,}",
        f"{alone.cycles - alone.cycles_by_cause['compute']:,}", f"{alone.cycles:,}", f"{layer.cycles:,}",
        f"{layer.total_dram_bytes / 1024:,.0f}", f"{chip_pj(layer) / 1e6:,.1f}", f"{layer.total_energy_pj / 1e6:,.1f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    heads = ("layer", "run as", "MACs", "compute", "rest", "cycles, ideal DRAM", "cycles, DDR4", "DRAM, KiB")
    print("| " + " | ".join([*heads, "chip, uJ", "with DRAM, uJ"]) + " |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name in LAYERS:
            trace = trace_of(name, Path(folder))
            for way, (arch, sets) in WAYS.items():
                both = ((*sets, "dram.fidelity=ideal"), sets)
                print(line(name, way, *(simulate(load_arch(arch, s), trace).layers[0] for s in both)))


if __name__ == "__main__":
    main()
