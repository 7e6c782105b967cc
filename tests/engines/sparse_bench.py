"""What the tests of the sparse engines share: a layer with given values, lowered as one tile."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine
from accelsim.mapping.problem import Mapping, Room
from accelsim.sim.passes import PassTable
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import Trace, TraceWriter

MUCH = 2**20
WHOLE = Mapping(MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, "mnk")
ROOM = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)
BITS = {"ifmap": 16, "filter": 16, "psum": 32, "ofmap": 16}


def engine(kind: str, **fields: Any) -> Any:
    """An engine with these of its parameters."""
    made = ENGINES.lookup(kind)
    built = made(made.Spec(**fields))
    assert isinstance(built, TiledEngine)
    return built


def task_of(network: Network, trace: Trace, pinned: Mapping | None = WHOLE) -> Task:
    """The last layer, on a machine with one large buffer."""
    name = network.layers[-1].name
    return Task(network[name], trace, BITS, (ROOM,), {"all": 64}, dram_bytes_per_cycle=Fraction(4), pinned=pinned)


def part_of(task: Task) -> Part:
    """The layer as engines see it."""
    assert isinstance(task.layer.work, ConvShape | GemmShape)
    return Part(task, task.layer.work)


def cycles_of(table: PassTable) -> int:
    """Of the array alone."""
    rows = table.rows
    return int(rows["stream_cycles"][:-1].sum() + rows["finish_cycles"][-1])


def layer_of(
    path: Path, a: Any, w: Any, *, stride: int = 1, pad: int = 0, bias: bool = False, bits: tuple[int, int] = (8, 8),
    signed: bool = False,
) -> tuple[Network, Trace]:  # fmt: skip
    """A layer on inputs `a`, (m, k) or (images, channels, h, w), and weights `w`."""
    if a.ndim == 2:
        op: Any = Linear(w.shape[0], bias=bias)
    else:
        op = Conv(w.shape[0], w.shape[2:], stride, pad, 1, a.shape[1] // w.shape[1], bias=bias)
    network = Network("net", [Node("x", Input(a.shape)), Node("layer", op, ("x",))])
    with TraceWriter(path, network, name="t") as writer:
        wide = np.int32 if max(bits) > 15 else np.int16
        writer.add("layer", "ifmap", a.astype(wide), bits=bits[0], signed=signed)
        writer.add("layer", "filter", w.astype(wide), bits=bits[1], signed=True)
    return network, Trace.open(path)


def sparse(rng: Any, shape: Any, density: float, low: int = -9, high: int = 9) -> Any:
    """Random integers, zero with probability 1 - density."""
    values = rng.integers(1, high + 1, shape)
    if low < 0:
        values = values * rng.choice([-1, 1], shape)
    return values * (rng.random(shape) < density)
