"""Speed of the quantized engines: CPU seconds, warm; exit status 1 if an aim is missed.

    python benchmarks/quant_engines_speed.py

- Bit Fusion: the 61 layers of its eight networks, tiling searched anew; once lowered (search, tiles, exact cycles
  of the array, traffic, counts) and once simulated to the end with all waiting for DRAM.
- Engines that read bits: simulated cycles of the array per CPU second over the runs of DNNsim that they are compared
  with (its eight reference layers on its three grids), from operands in memory to the cycles of every tile. Also for
  each grid by itself: on the largest one a layer is 1,000 cycles, and what counts is the cost of a call.
- The same engines on operands beyond the caches, in passes: a pass is the time in which numpy, in the same run, reads
  all the operands that the engine reads and or-s them to bricks of 16 channels (`np.bitwise_or.reduce`). Columns that
  run ahead of each other are a recurrence over steps and columns, not over operands, and have no aim there.
- UCNN: whole networks.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from bitfusion_networks import NETWORKS, authors_model, trace_of
from numpy.typing import NDArray
from timing import table
from validate_bitserial import BITS, ROOM, WHOLE, engine, reference_layers
from validation_rows import references

from accelsim.engines.common import part as part_module
from accelsim.engines.common import sequences
from accelsim.engines.base import Task
from accelsim.engines.common.part import Part, operand_values
from accelsim.engines.common.tiled import TiledEngine
from accelsim.mapping.search import candidates
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan, simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import Trace, TraceWriter, synthetic_trace

#: Of DNNsim's runs: lanes, columns, rows, tiles.
GRIDS = ((16, 16, 16, 16), (16, 8, 8, 4), (8, 4, 8, 2))
#: Engine, its parameters, operands that its cycles depend on.
ENGINES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("dynamic_stripes", {}, ("ifmap",)),
    ("dynamic_stripes", {"column_registers": 1}, ("ifmap",)),
    ("pragmatic", {"first_stage_bits": 2}, ("ifmap",)),
    ("loom", {"dynamic_weights": True}, ("ifmap", "filter")),
    ("laconic", {}, ("ifmap", "filter")),
]
CYCLES_PER_S, PASSES, BIT_FUSION_S, NETWORK_S = 20e6, 3, 2.0, 10.0
DNNSIM = "DNNsim 0.1-0.6 M"

Line = tuple[str, str, str, bool | None]


def cpu_s(work: Callable[[], Any], runs: int = 5) -> float:
    """The best of some runs: others use the machine, too."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def bit_fusion() -> list[Line]:
    """Seconds for all eight networks."""
    arch = authors_model()
    traces = [trace_of(name) for name in NETWORKS]

    def lowered() -> int:
        candidates.cache_clear()
        return sum(len(t.layer) > 0 for trace in traces for t in _Plan(arch, trace, None).tables if t.macs)

    def played() -> None:
        candidates.cache_clear()
        for trace in traces:
            simulate(arch, trace)

    layers, found = lowered(), []
    for what, work in (("search, cycles, traffic", lowered), ("played against DRAM, tile by tile", played)):
        seconds = cpu_s(work, 3)
        figures = f"{seconds:.2f} s", f"{BIT_FUSION_S:g} s (authors: 77 s)"
        found.append((f"Bit Fusion, {layers} layers: {what}", *figures, seconds <= BIT_FUSION_S))
    return found


def part_of(net: Network, trace: Trace, layer: str) -> Part:
    """A layer as one tile."""
    work = net[layer].work
    assert isinstance(work, ConvShape | GemmShape)
    task = Task(net[layer], trace, BITS, (ROOM,), {"all": 64}, dram_bytes_per_cycle=Fraction(64), pinned=WHOLE)
    return Part(task, work)


def rate(built: TiledEngine, parts: list[Part], repeat: int = 10) -> tuple[int, float]:
    """(cycles of these layers, CPU seconds)."""
    jobs = [(part, built.tile(part)[1]) for part in parts]
    cycles = sum(int(built.times(*job).finish.sum()) for job in jobs)  # one tile each

    def work() -> None:
        for _ in range(repeat):
            for job in jobs:
                built.times(*job)

    return cycles, cpu_s(work) / repeat


def built_on(kind: str, fields: dict[str, Any], grid: tuple[int, ...]) -> TiledEngine:
    """The engine on one of the grids."""
    made = engine(kind, {**dict(zip(("lanes", "columns", "rows", "tiles"), grid, strict=True)), **fields})
    assert isinstance(made, TiledEngine)
    return made


def reference_rates() -> list[Line]:
    """Cycles per second over DNNsim's runs, in all and grid by grid."""
    if not (references() / "sparse_bit" / "dnnsim_traces").is_dir():
        return []
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        parts = [part_of(*made, "layer") for made in reference_layers(Path(folder)).values()]
        with remembered(2 * len(parts)):
            for kind, fields, _ in ENGINES:
                each = [rate(built_on(kind, fields, grid), parts) for grid in GRIDS]
                cycles, seconds = (sum(column) for column in zip(*each, strict=True))
                what = f"{kind} {fields or ''}".strip() + ", reference layers"
                aim = f"{CYCLES_PER_S / 1e6:.0f} M ({DNNSIM})"
                found.append((what, f"{cycles / seconds / 1e6:.1f} M cycles/s", aim, cycles / seconds >= CYCLES_PER_S))
                for grid, (count, cost) in zip(GRIDS, each, strict=True):
                    figure = f"{count / cost / 1e6:.1f} M cycles/s, {cost / len(parts) * 1e6:.0f} us a layer"
                    found.append((f"  of these, {' x '.join(map(str, grid))}", figure, "", None))
    return found


@contextmanager
def remembered(count: int) -> Iterator[None]:
    """So many decoded operands stay in memory, instead of the last four."""
    kept = lru_cache(maxsize=count)(operand_values.__wrapped__)
    with patch.object(part_module, "operand_values", kept), patch.object(sequences, "operand_values", kept):
        yield


def passes(bits: int) -> list[Line]:
    """Time for operands beyond the caches, against reading them."""
    rng = np.random.default_rng(6)
    # the third convolution of VGG-19, many images; as after a ReLU: half of them zero, few large ones
    images, channels, filters, size = 640 // bits, 64, 128, 112
    top, octets = (1 << bits) - 1, bits // 8
    values = np.clip(rng.normal(0, top / 8, (images, channels, size, size)), 0, top).astype(f"u{octets}")
    weights = np.clip(rng.normal(0, top / 10, (filters, channels, 3, 3)), -top // 2, top // 2).astype(f"i{octets}")
    network = Network("large", [Node("x", Input(values.shape)), Node("layer", Conv(filters, 3, 1, 1), ("x",))])
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.trace"
        with TraceWriter(path, network, name="large") as writer:
            writer.add("layer", "ifmap", values, bits=bits, signed=False)
            writer.add("layer", "filter", weights, bits=bits)
        del values, weights
        trace = Trace.open(path)
        part = part_of(network, trace, "layer")
        for kind, fields, roles in ENGINES:
            bricks = [_bricks(operand_values(trace, "layer", role)) for role in roles]
            once = cpu_s(partial(_read, bricks))
            _, seconds = rate(built_on(kind, fields, GRIDS[0]), [part], 1)
            what = f"{kind} {fields or ''}".strip() + f", {sum(v.nbytes for v in bricks) / 1e6:.0f} MB of {bits} bits"
            figure = f"{seconds / once:.1f} passes of {once * 1e3:.1f} ms"
            aimed = "column_registers" not in fields
            found.append((what, figure, f"{PASSES} passes" * aimed, seconds <= PASSES * once if aimed else None))
    return found


def _bricks(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), values.shape[1] // 16, 16, -1)


def _read(bricks: list[NDArray[Any]]) -> None:
    for values in bricks:
        np.bitwise_or.reduce(values, axis=2)


def whole_networks() -> list[Line]:
    """UCNN's search for groups, on its own benchmark networks."""
    found: list[Line] = []
    arch = load_arch("ucnn")
    for name in ("alexnet", "resnet50"):
        trace = synthetic_trace(load_network(name), weight_bits=8, activation_bits=8, weight_density=0.9)
        simulate(arch, trace)
        seconds = cpu_s(lambda: simulate(arch, trace), 1)  # noqa: B023
        found.append((f"UCNN, {name}", f"{seconds:.2f} s", f"{NETWORK_S:g} s", seconds <= NETWORK_S))
    return found


def main() -> None:
    """Print the table."""
    lines = [*bit_fusion(), *reference_rates(), *passes(8), *passes(16), *whole_networks()]
    rows = [(what, figure, aim, {None: "", True: "kept", False: "MISSED"}[kept]) for what, figure, aim, kept in lines]
    print(table(["case", "ours", "aim", ""], rows))
    missed = sum(kept is False for *_, kept in lines)
    if missed:
        sys.exit(f"{missed} aims are missed")


if __name__ == "__main__":
    main()
