"""What a whole layer asks of crossbars that hold its weights for good: units, rows of outputs, and their time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.engines.base import Task
from accelsim.engines.common.part import Part
from accelsim.engines.crossbar import Crossbar
from accelsim.engines.crossbars.packing import Packed
from accelsim.engines.crossbars.rule import Mvm
from accelsim.engines.crossbars.sparse import work_of_rows
from accelsim.workload.ops import Matmul
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape


Roles = tuple[tuple[str, str], ...]
Product = tuple[Roles, tuple[int, int, int], int]
"""(roles of its operands, (groups, k, n) of its matrices, products of an item)"""


@dataclass(frozen=True)
class Resident:
    """A layer in crossbars.

    Attributes
    ----------
    task : Task
    rows, positions : int
        Output rows of an item, and output positions in one.
    products : tuple of Product
        One, but for recurrent layers.
    crossbars : int
        Of one copy.
    row_blocks : int
        Blocks of rows whose sums are added.
    dynamic : bool
        Both operands are feature maps: the second is programmed before the product.
    packed : tuple of tuple of Packed
        For each product, its groups' matrices; none unless the engine packs them.
    units : tuple of array
        For each product, operation units of each row of outputs; none unless the engine skips some.
    skipped : ActionCounts
        What arrays and converters do in an item when operation units are skipped.
    """

    task: Task
    rows: int
    positions: int
    products: tuple[Product, ...]
    crossbars: int
    row_blocks: int
    dynamic: bool
    packed: tuple[tuple[Packed, ...], ...] = ()
    units: tuple[NDArray[np.int64], ...] = ()
    skipped: ActionCounts = field(default_factory=ActionCounts)

    def cells(self, engine: Crossbar) -> int:
        """Programmed cells of one copy."""
        weights = [groups * k * n for _, (groups, k, n), _ in self.products]
        if self.packed:
            weights = [sum(p.weights for p in groups) for groups in self.packed]
        bits = [engine.bits_of(_part(self.task, roles))["filter"] for roles, _, _ in self.products]
        return sum(w * engine.cells_of(b) for w, b in zip(weights, bits, strict=True))

    def peak_macs_per_cycle(self, engine: Crossbar) -> int:
        """Of a core full of such products, with as many cells and steps as these operands have bits."""
        return max(engine.peak_macs_per_cycle(engine.bits_of(_part(self.task, roles))) for roles, _, _ in self.products)

    def update_cycles(self, engine: Crossbar) -> int:
        """Programming all of them anew: arrays at the same time, the rows of each one after another."""
        rows = max(min(k, int(engine.spec.rows)) for _, (_, k, _), _ in self.products)
        return rows * int(engine.spec.write_row_cycles)


_PLAIN: Roles = (("ifmap", "ifmap"), ("filter", "filter"))


def resident(engine: Crossbar, task: Task) -> Resident:
    """The layer of a task; see `Resident`.

    Raises
    ------
    ConfigError
        If its operands are too wide.
    """
    engine.check_bits(task)
    work = task.layer.work
    products: tuple[Product, ...]
    if isinstance(work, ConvShape):
        matrix = work.g, work.c // work.g * work.r * work.s, work.m // work.g
        products = ((_PLAIN, matrix, work.n * work.p * work.q),)
        rows, positions = work.n * work.p, work.q
    elif isinstance(work, GemmShape):
        products = ((_PLAIN, (work.batch, work.k, work.n), work.m),)
        rows, positions = (1, work.m) if isinstance(task.layer.op, Matmul) else (work.m, 1)
    else:
        assert isinstance(work, RecurrentShape)
        products = _recurrent(work)
        rows, positions = 1, 1
    crossbars = blocks = 0
    packed, units, skipped = [], [], ActionCounts()
    for roles, (groups, k, n), times in products:
        part = _part(task, roles, GemmShape(times, n, k, groups) if isinstance(work, RecurrentShape) else None)
        bits = engine.bits_of(part)
        needed, deep = groups * int(engine.needed(n, k, bits)), ceil_div(k, engine.spec.rows)
        if engine.spec.pack != "none":
            found = tuple(engine.packed(part, _whole(part), range(groups)))
            packed.append(found)
            needed, deep = max(1, sum(p.units for p in found)), max(1, *(p.deep for p in found))
        if engine.spec.skip != "none":
            steps, did = work_of_rows(engine, part, 1 if isinstance(work, RecurrentShape) else rows)
            units.append(steps)
            skipped.merge(did)
        crossbars, blocks = crossbars + needed * engine.arrays_per_unit(bits), max(blocks, deep)
    dynamic = isinstance(task.layer.op, Matmul)
    return Resident(task, rows, positions, products, crossbars, blocks, dynamic, tuple(packed), tuple(units), skipped)


def _whole(part: Part) -> dict[str, int]:
    """All weights of a part, as a tile."""
    shape = part.shape
    if not isinstance(shape, ConvShape):
        return {"output0": 0, "n": shape.n, "channel0": 0, "k": shape.k}
    inner = shape.c // shape.g
    return {
        "output0": 0, "n": shape.m // shape.g, "channel0": 0, "channels": inner, "tap0": 0,
        "k": inner * shape.r * shape.s,
    }  # fmt: skip


def _recurrent(work: RecurrentShape) -> tuple[Product, ...]:
    found: list[Product] = [(_PLAIN, _matrix(work.input_gemm), work.input_gemm.m)]
    for role, gemm in work.step_gemms.items():
        roles: Roles = (("ifmap", "state"), ("filter", "recurrent")) if role == "recurrent" else (("filter", role),)
        groups, k, n = _matrix(gemm)
        found.append((roles, (groups * work.directions, k, n), work.batch * work.steps))
    return tuple(found)


def _matrix(gemm: GemmShape) -> tuple[int, int, int]:
    return gemm.batch, gemm.k, gemm.n


def _part(task: Task, roles: Roles, shape: GemmShape | None = None) -> Part:
    work = task.layer.work
    known = work.input_gemm if isinstance(work, RecurrentShape) else work
    return Part(task, shape or known, roles)  # type: ignore[arg-type]


def error_of(engine: Crossbar, layer: Resident) -> dict[str, float]:
    """The error of its (first) products; see `Crossbar.error`."""
    roles, (groups, k, n), times = layer.products[0]
    recurrent = isinstance(layer.task.layer.work, RecurrentShape)
    return engine.error(_part(layer.task, roles, GemmShape(times, n, k, groups) if recurrent else None))


def mvm_of(engine: Crossbar, layer: Resident, which: int = 0) -> Mvm:
    """Timing of a product of the layer."""
    roles, (_, k, n), _ = layer.products[which]
    return engine.part_mvm(_part(layer.task, roles), k, n)


def row_cycles(engine: Crossbar, layer: Resident, copies: int) -> tuple[list[int], list[int]]:
    """For each row of an item, cycles from its start to the next row's, and to its last result; copies share positions.

    A recurrent layer is one row: its input products follow each other, then each step waits for the one before it.
    """
    mvm = mvm_of(engine, layer)
    tail = mvm.latency - mvm.interval if engine.spec.overlap else 0
    work = layer.task.layer.work
    if isinstance(work, RecurrentShape):
        pointwise = ceil_div(work.batch * work.hidden * work.directions * work.unit_ops, layer.task.vector_lanes)
        streams = [
            ceil_div(int(layer.units[i].sum()), copies if i == 0 else 1) * mvm.step
            if layer.units
            else ceil_div(times, copies if i == 0 else 1) * mvm_of(engine, layer, i).interval
            for i, (_, _, times) in enumerate(layer.products)
        ]
        cycles = sum(streams) + tail + work.steps * ((len(streams) - 1) * tail + pointwise)
        return [cycles], [cycles]
    if layer.units:
        stream = [ceil_div(int(n), copies) * mvm.step for n in layer.units[0]]
    else:
        stream = [ceil_div(layer.positions, copies) * mvm.interval] * layer.rows
    if layer.dynamic:  # rows of all arrays are programmed at the same time
        program = min(layer.products[0][1][1], engine.spec.rows) * engine.spec.write_row_cycles
        stream = [cycles + program for cycles in stream]
    return stream, [cycles + tail for cycles in stream]


def item_counts(engine: Crossbar, layer: Resident, copies: int, cores: float) -> ActionCounts:
    """What arrays, converters, parts and buffers do for one item."""
    counts = ActionCounts()
    task = layer.task
    counts.merge(layer.skipped)
    for i, (roles, (groups, k, n), times) in enumerate(layer.products):
        part = _part(task, roles)
        if layer.packed:
            engine.count_packed(counts, part, list(layer.packed[i]), times, layer.dynamic)
        elif not layer.units:
            engine.count(counts, part, groups, times, n, k)
        if layer.dynamic and not layer.packed:
            counts.add("cell", "write", groups * k * n * engine.cells_of(engine.bits_of(part)["filter"]))
        inputs, outputs = groups * times * k * task.bits["ifmap"], groups * times * n * task.bits["ofmap"]
        source, target = task.room_of("ifmap").name, task.room_of("ofmap").name
        counts.add(source, "read", ceil_div(inputs, task.word_bits[source]))
        counts.add(target, "write", ceil_div(outputs, task.word_bits[target]))
    stream = sum(row_cycles(engine, layer, copies)[0])
    arrays = layer.crossbars * copies
    for item in engine.spec.parts:
        used: float = ceil_div(arrays, item.arrays) if item.arrays else cores
        counts.add(item.name, "busy_cycle", round(stream * used))
    counts.add("vector_unit", "op", prod(task.layer.out_shape) * task.fused_ops)
    if isinstance(task.layer.work, RecurrentShape):
        work = task.layer.work
        counts.add("vector_unit", "op", work.directions * work.steps * work.batch * work.hidden * work.unit_ops)
    return counts


def with_rooms(task: Task) -> Task:
    """The same task of a layer whose weights need no fetching."""
    return replace(task, on_chip=(True, True, True))
