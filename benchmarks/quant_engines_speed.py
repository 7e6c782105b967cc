"""Speed of the quantized engines: CPU seconds, warm.

    python benchmarks/quant_engines_speed.py

- Bit Fusion: the 61 layers of its eight networks, tiling searched anew; once lowered (search, tiles, exact cycles
  of the array, traffic, counts) and once simulated to the end with all waiting for DRAM.
- Engines that read bits: simulated cycles of the array per CPU second, on DNNsim's reference layers and on a
  convolution of VGG-19, from operands in memory to the cycles of every tile; beside it the time of three copies of
  the operands.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from bitfusion_networks import NETWORKS, authors_model, trace_of
from timing import table
from validate_bitserial import BITS, ROOM, WHOLE, engine, reference_layers
from validation_rows import references

from accelsim.engines.base import Task
from accelsim.engines.part import Part, operand_values
from accelsim.engines.tiled import TiledEngine
from accelsim.mapping.search import candidates
from accelsim.system.simulate import _Plan, simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import Trace, synthetic_trace

GRIDS = {
    "16 x 16 x 16 x 16": {"lanes": 16, "columns": 16, "rows": 16, "tiles": 16},
    "8 x 4 x 8 x 2": {"lanes": 8, "columns": 4, "rows": 8, "tiles": 2},
}
ENGINES: list[tuple[str, dict[str, Any]]] = [
    ("dynamic_stripes", {}),
    ("dynamic_stripes", {"column_registers": 1}),
    ("pragmatic", {"first_stage_bits": 2}),
    ("loom", {"dynamic_weights": True}),
    ("laconic", {}),
]


def cpu_s(work: Callable[[], Any]) -> float:
    """The best of three: others use the machine, too."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def bit_fusion() -> list[list[str]]:
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

    layers = lowered()
    return [
        [f"Bit Fusion, {layers} layers: search, cycles, traffic", f"{cpu_s(lowered):.2f}", "aim: 2 s (authors: 77 s)"],
        ["Bit Fusion, the same played against DRAM, tile by tile", f"{cpu_s(played):.2f}", "aim: 2 s (authors: 77 s)"],
    ]


def bits(layers: dict[str, tuple[Network, Trace, str]], grid: str, what: str) -> list[list[str]]:
    """Cycles per second of every engine over these layers."""
    found = []
    parts = [
        Part(Task(net[layer], trace, BITS, (ROOM,), {"all": 64}, dram_bytes_per_cycle=Fraction(64), pinned=WHOLE), work)
        for net, trace, layer in layers.values()
        if isinstance(work := net[layer].work, ConvShape | GemmShape)
    ]
    values = [operand_values(trace, layer, r) for _, trace, layer in layers.values() for r in ("ifmap", "filter")]
    copies = cpu_s(lambda: [v.copy() for _ in range(3) for v in values])
    for kind, fields in ENGINES:
        built = engine(kind, {**GRIDS[grid], **fields})
        assert isinstance(built, TiledEngine)
        jobs = [(part, built.tile(part)[1]) for part in parts]
        cycles = sum(int(built.times(*job).finish.sum()) for job in jobs)  # one tile each
        seconds = cpu_s(partial(_times, built, jobs))
        name = f"{kind} {fields or ''}".strip()
        seconds /= 10
        rate = cycles / seconds / 1e6
        found.append([f"{name}, {grid}, {what}", f"{seconds:.4f}", f"{rate:.1f} M cycles/s (copies: {copies:.4f} s)"])
    return found


def _times(built: TiledEngine, jobs: list[Any]) -> None:
    for _ in range(10):
        for job in jobs:
            built.times(*job)


def main() -> None:
    """Print the table."""
    rows = bit_fusion()
    vgg = load_network("vgg19")
    trace = synthetic_trace(vgg, activation_density=0.5)
    large = {layer.name: (vgg, trace, layer.name) for layer in vgg if layer.kind == "conv"}
    with tempfile.TemporaryDirectory() as folder:
        if (references() / "sparse_bit").is_dir():
            made = reference_layers(Path(folder))
            small = {name: (net, trace_, "layer") for name, (net, trace_) in made.items()}
            for grid in GRIDS:
                rows += bits(small, grid, "reference layers")
        operand_values.cache_clear()
        one = dict(list(large.items())[2:3])
        for grid in GRIDS:
            rows += bits(one, grid, "VGG-19's third convolution")
    print(table(["case", "CPU s", "rate or aim"], rows))


if __name__ == "__main__":
    main()
