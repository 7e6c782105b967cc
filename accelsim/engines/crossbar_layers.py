"""What a whole layer asks of crossbars that hold its weights for good: units, rows of outputs, and their time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.engines.base import Task
from accelsim.engines.crossbar import Crossbar
from accelsim.engines.crossbar_rule import Mvm
from accelsim.engines.part import Part
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
    """

    task: Task
    rows: int
    positions: int
    products: tuple[Product, ...]
    crossbars: int
    row_blocks: int
    dynamic: bool


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
    for roles, (groups, k, n), _ in products:
        bits = engine.bits_of(_part(task, roles))
        crossbars += groups * int(engine.needed(n, k, bits)) * engine.arrays_per_unit(bits)
        blocks = max(blocks, ceil_div(k, engine.spec.rows))
    return Resident(task, rows, positions, products, crossbars, blocks, isinstance(task.layer.op, Matmul))


def _recurrent(work: RecurrentShape) -> tuple[Product, ...]:
    found: list[Product] = [(_PLAIN, _matrix(work.input_gemm), work.input_gemm.m)]
    for role, gemm in work.step_gemms.items():
        roles: Roles = (("ifmap", "state"), ("filter", "recurrent")) if role == "recurrent" else (("filter", role),)
        groups, k, n = _matrix(gemm)
        found.append((roles, (groups * work.directions, k, n), work.batch * work.steps))
    return tuple(found)


def _matrix(gemm: GemmShape) -> tuple[int, int, int]:
    return gemm.batch, gemm.k, gemm.n


def _part(task: Task, roles: Roles) -> Part:
    work = task.layer.work
    shape = work.input_gemm if isinstance(work, RecurrentShape) else work
    return Part(task, shape, roles)  # type: ignore[arg-type]


def mvm_of(engine: Crossbar, layer: Resident, which: int = 0) -> Mvm:
    """Timing of a product of the layer."""
    roles, (_, k, n), _ = layer.products[which]
    return engine.part_mvm(_part(layer.task, roles), k, n)


def row_cycles(engine: Crossbar, layer: Resident, copies: int) -> tuple[list[int], list[int]]:
    """For each row of an item, cycles from its start to the next row's, and to its last result; copies share positions.

    A recurrent layer is one row: its input products follow each other, then each step waits for the one before it.
    """
    mvm = mvm_of(engine, layer)
    tail = mvm.latency - mvm.interval
    work = layer.task.layer.work
    if isinstance(work, RecurrentShape):
        cycles = ceil_div(layer.products[0][2], copies) * mvm.interval
        pointwise = ceil_div(work.batch * work.hidden * work.directions * work.unit_ops, layer.task.vector_lanes)
        step = sum(
            (work.batch - 1) * mvm_of(engine, layer, i).interval + mvm_of(engine, layer, i).latency
            for i in range(1, len(layer.products))
        )
        return [cycles + tail + work.steps * (step + pointwise)], [cycles + tail + work.steps * (step + pointwise)]
    stream = ceil_div(layer.positions, copies) * mvm.interval
    if layer.dynamic:  # rows of all arrays are programmed at the same time
        stream += min(layer.products[0][1][1], engine.spec.rows) * engine.spec.write_row_cycles
    return [stream] * layer.rows, [stream + tail] * layer.rows


def item_counts(engine: Crossbar, layer: Resident, copies: int, cores: float) -> ActionCounts:
    """What arrays, converters, parts and buffers do for one item."""
    counts = ActionCounts()
    task = layer.task
    for roles, (groups, k, n), times in layer.products:
        engine.count(counts, _part(task, roles), groups, times, n, k)
        bits = engine.bits_of(_part(task, roles))
        if layer.dynamic:
            counts.add("cell", "write", groups * k * n * engine.cells_of(bits["filter"]))
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
