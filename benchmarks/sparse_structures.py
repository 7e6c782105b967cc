"""What a structure of the weights is worth on each engine: recipes prune one layer to one density in several grains.

    python benchmarks/sparse_structures.py

The layer is AlexNet's conv3 (256 to 384 channels, 3 x 3, 13 x 13), a quarter of the weights stays, inputs are dense.
Cycles of the array, without waiting for memory, in percent of the same engine's on dense weights.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sparse_networks import UNBOUND
from timing import table

from accelsim.base.errors import ConfigError
from accelsim.compress.run import compress
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input
from accelsim.workload.trace import Trace

KEPT = 0.25
#: name -> step of a recipe
STRUCTURES: dict[str, dict[str, Any] | None] = {
    "dense": None,
    "single weights": {"step": "prune", "density": KEPT},
    "vectors of 16 inputs": {"step": "prune", "grain": "block", "block": [1, 16, 1, 1], "density": KEPT},
    "blocks of 16 outputs": {"step": "prune", "grain": "block", "block": [16, 1, 1, 1], "density": KEPT},
    "kernels": {"step": "prune", "grain": "kernel", "density": KEPT},
    "filters": {"step": "prune", "grain": "filter", "density": KEPT},
    "channels": {"step": "prune", "grain": "channel", "density": KEPT},
    "1 of 4": {"step": "prune_nm", "n": 1, "m": 4},
    "diagonals of 4": {"step": "permuted_diagonal", "p": 4},
}
ENGINES = (
    "cambricon_x", "cambricon_s", "column_combining", "eie", "scnn", "sparten", "sigma", "dual_side_tensor_core",
    "sparse_tensor_core", "permdnn",
)  # fmt: skip


def layer(channels: int, outputs: int, side: int) -> Network:
    """One convolution of 3 x 3."""
    op = Conv(outputs, (3, 3), 1, 1)
    return Network("one", [Node("x", Input((1, channels, side, side))), Node("conv", op, ("x",))])


def trace_of(network: Network, structure: str, folder: Path) -> Trace:
    """The layer, pruned by a recipe, 8 bits."""
    step = STRUCTURES[structure]
    steps = [*([] if step is None else [step]), {"step": "uniform", "bits": 8}]
    steps.append({"step": "describe", "bits": 8, "only_missing": True})
    out = folder / f"{structure.replace(' ', '_')}.trace"
    compress(network, "laplace", {"name": "structure", "steps": steps}, out)
    return Trace.open(out)


def cycles(arch: str, trace: Trace) -> int | None:
    """Of the array; None where the engine does not run this."""
    try:
        plan = _Plan(load_arch(arch, [*UNBOUND, "engine.dense=allow"]), trace, None)
    except ConfigError:
        return None
    return sum(int(t.rows["stream_cycles"].sum()) for t in plan.tables if t.macs)


def measured(network: Network, engines: tuple[str, ...] = ENGINES) -> dict[str, dict[str, int | None]]:
    """Structure -> engine -> cycles."""
    with tempfile.TemporaryDirectory() as folder:
        traces = {name: trace_of(network, name, Path(folder)) for name in STRUCTURES}
        return {name: {arch: cycles(arch, trace) for arch in engines} for name, trace in traces.items()}


def main() -> None:
    """Print the table."""
    found = measured(layer(256, 384, 13))
    rows = []
    for name, of in found.items():
        cells = []
        for arch, value in of.items():
            dense = found["dense"][arch]
            cells.append("-" if value is None or not dense else f"{100 * value / dense:.0f}")
        rows.append([name, *cells])
    print(table(["a quarter of the weights, as", *ENGINES], rows))


if __name__ == "__main__":
    main()
