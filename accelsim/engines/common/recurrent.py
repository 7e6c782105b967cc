"""Recurrent layers on a tiled engine: products that wait for nothing, then time steps that wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiling import buffer_counts, passes_from_tiles
from accelsim.mapping.problem import Mapping, Room
from accelsim.mapping.tiles import TILE_DTYPE
from accelsim.sim.passes import PassArray, PassTable, empty_passes
from accelsim.workload.shapes import GemmShape, RecurrentShape

if TYPE_CHECKING:
    from accelsim.engines.base import Task
    from accelsim.engines.common.tiled import TiledEngine, Tiles

GATES = ("recurrent", "expansion")
"""Roles of the matrices whose product, the last of them, gives the gates of a step."""

_ROLES = {"recurrent": (("ifmap", "state"), ("filter", "recurrent"))}  # a trace holds no other vector of a cell


@dataclass
class _Stage:
    """One product of the layer, walked out."""

    role: str
    mapping: Mapping
    tiles: Tiles
    rows: PassArray
    table: PassTable
    groups: int = 1


def lower_recurrent(engine: TiledEngine, task: Task, shape: RecurrentShape) -> PassTable:
    """Input products of all steps first, then the dependent products of each step, with a barrier before each.

    The input products stay in the sums' buffer if they fit into half of it, else they travel to DRAM and back. The
    state never leaves the chip. Several dependent products in a step share the filters' buffer by their size, and
    directions then run one after another. The element-wise part of a step follows its gates.
    """
    first, *steps = _stages(engine, task, shape)
    if not steps:
        steps = [_pointwise_steps(task, shape)]
    rows, order = _in_order(steps, shape.batch)
    info = reduce(_joined_info, (stage.table for stage in steps), first.table)
    joined = PassTable(
        task.layer.name,
        np.concatenate([first.rows, rows]),
        engine.stationary,
        task.slots(),  # the parts share the filter's buffer: no tile has a place for good
        counts=first.table.counts,
        macs=sum(stage.table.macs for stage in (first, *steps)),
        effectual_macs=sum(stage.table.effectual_macs for stage in (first, *steps)),
        peak_macs_per_cycle=first.table.peak_macs_per_cycle,
        info=info.info,
        array_reads=_joined([s.table.array_reads for s in (first, *steps)], [first, *steps], order),
        array_writes=_joined([s.table.array_writes for s in (first, *steps)], [first, *steps], order),
        accesses=np.concatenate([first.table.accesses, np.concatenate([s.table.accesses for s in steps])[order]]),
    )
    for stage in steps:
        joined.counts.merge(stage.table.counts)
    joined.counts.add("vector_unit", "op", shape.directions * shape.steps * shape.batch * shape.hidden * shape.unit_ops)
    texts = [f"input: {first.mapping.describe()}"]
    texts += [f"{'step' if s.role == 'recurrent' else s.role}: {s.mapping.describe()}" for s in steps if s.table.macs]
    joined.info["mapping"] = "; ".join(texts)
    return joined


def kept(task: Task, shape: RecurrentShape) -> bool:
    """Whether the input products of all steps stay in the sums' buffer."""
    sums = shape.directions * shape.batch * shape.steps * shape.in_rows
    return sums * task.bits["psum"] // 8 <= task.room_of("psum").free_bytes // 2


def _stages(engine: TiledEngine, task: Task, shape: RecurrentShape) -> list[_Stage]:
    def sums_leave(tiles: Tiles) -> None:
        if not kept(task, shape):
            sums = tiles["groups"] * tiles["m"] * tiles["n"]
            tiles["psum_out_bytes"] += _bytes(sums, task.bits["psum"]) * tiles["last_k"]

    inputs = Part(replace(task, on_chip=(task.on_chip[0], True, False)), shape.input_gemm)
    found = [_stage(engine, inputs, "filter", sums_leave)]
    gemms = shape.step_gemms
    alone = len(gemms) == 1
    total = sum(gemm.n * gemm.k * gemm.batch for gemm in gemms.values())
    gates = [role for role in gemms if role in GATES][-1:]
    for role, gemm in gemms.items():
        blocks = shape.directions * gemm.batch
        whole = GemmShape(shape.batch * shape.steps, gemm.n, gemm.k, blocks if alone else 1)
        rooms = task.rooms if alone else _shared(task.rooms, gemm.n * gemm.k, total)
        here = replace(task, on_chip=(True, True, False), rooms=rooms)
        part = Part(here, whole, _ROLES.get(role, (("filter", role),)), step_rows=shape.batch)
        last = role == list(gemms)[-1]
        stage = _stage(engine, part, role, partial(_step_traffic, task, shape, role, last))
        _time_of_step(task, shape, stage, role in gates)
        found.append(stage if alone else _repeated(stage, blocks, gemm.batch))
    return found


def _stage(engine: TiledEngine, part: Part, role: str, adjust: Callable[[Tiles], None]) -> _Stage:
    from accelsim.engines.common.tiled import fill_times, one_run

    mapping, tiles, packed = engine.tile(part)
    adjust(tiles)
    rows = passes_from_tiles(tiles, part.task)
    times = engine.times(part, tiles)
    fill_times(rows, times)
    one_run(rows, packed)
    return _Stage(role, mapping, tiles, rows, engine.table(part, rows, tiles, times, mapping))


def _shared(rooms: tuple[Room, ...], size: int, total: int) -> tuple[Room, ...]:
    """The filters' buffer cut down to one product's share."""
    return tuple(
        replace(room, free_bytes=room.free_bytes * size // total) if "filter" in room.holds else room for room in rooms
    )


def _repeated(stage: _Stage, blocks: int, groups: int) -> _Stage:
    """The same product once more for every direction and group, with matrices of their own."""
    count, table = len(stage.rows), stage.table
    tiles, rows = np.tile(stage.tiles, blocks), np.tile(stage.rows, blocks)
    block = np.repeat(np.arange(blocks), count)
    tiles["group0"] = block
    rows["filter_address"] += block * int(stage.rows["filter_bytes"].sum())
    counts = ActionCounts()
    counts.merge(table.counts, blocks)
    info = {**table.info, **({"folds": table.info["folds"] * blocks} if "folds" in table.info else {})}
    whole = replace(
        table, rows=rows, counts=counts, info=info,
        macs=table.macs * blocks, effectual_macs=table.effectual_macs * blocks,
        array_reads={name: np.tile(words, blocks) for name, words in table.array_reads.items()},
        array_writes={name: np.tile(words, blocks) for name, words in table.array_writes.items()},
        accesses=np.tile(table.accesses, blocks),
    )  # fmt: skip
    return _Stage(stage.role, stage.mapping, tiles, rows, whole, groups)


def _edges(tiles: Tiles, batch: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(first tile of a time step, last tile of it)."""
    begins = np.ones(len(tiles), bool)
    begins[1:] = (np.diff(tiles["image0"] // batch) != 0) | (np.diff(tiles["group0"]) != 0)
    return begins, np.append(begins[1:], True)


def _step_traffic(task: Task, shape: RecurrentShape, role: str, last: bool, tiles: Tiles) -> None:
    """Input sums that come back from DRAM, and results that leave."""
    _, ends = _edges(tiles, shape.batch)
    rows = tiles["groups"] * shape.batch
    if role == "recurrent" and not kept(task, shape):
        sums = tiles["groups"] * tiles["m"] * tiles["n"]
        tiles["psum_in_bytes"] += _bytes(sums, task.bits["psum"]) * tiles["first_k"]
        # gates that read no state need their sums, too
        rest = (shape.in_rows - (shape.rank or shape.gates_fed_back * shape.hidden)) // shape.groups
        tiles["psum_in_bytes"] += np.where(ends, _bytes(rows * rest, task.bits["psum"]), 0)
    if last and not task.on_chip[1]:
        made = shape.projection or shape.hidden  # of the state: what this core makes of it
        state = rows * (made // (1 if role == "projection" else shape.groups))
        tiles["ofmap_bytes"] = np.where(ends, _bytes(state, task.bits["ofmap"]), 0)


def _time_of_step(task: Task, shape: RecurrentShape, stage: _Stage, gates: bool) -> None:
    """Barriers, and the element-wise part."""
    tiles, rows = stage.tiles, stage.rows
    begins, ends = _edges(tiles, shape.batch)
    rows["barrier"] = begins
    if gates:
        ops = tiles["groups"] * shape.batch * (shape.hidden // shape.groups) * shape.unit_ops
        pointwise = np.where(ends, -(-ops // task.vector_lanes), 0)
        rows["finish_cycles"] += pointwise
        rows["busy_cycles"] += pointwise


def _pointwise_steps(task: Task, shape: RecurrentShape) -> _Stage:
    """Steps of a cell whose gates do not read the state: element-wise work alone."""
    count = shape.directions * shape.steps
    rows, tiles = empty_passes(count), np.zeros(count, TILE_DTYPE)
    tiles["groups"], tiles["m"], tiles["n"] = 1, shape.batch, shape.hidden
    tiles["image0"] = np.tile(np.arange(shape.steps) * shape.batch, shape.directions)
    tiles["group0"] = np.repeat(np.arange(shape.directions), shape.steps)
    rows["barrier"] = 1
    cycles = ceil_div(shape.batch * shape.hidden * shape.unit_ops, task.vector_lanes)
    for name in ("stream_cycles", "finish_cycles", "load_free_cycles", "busy_cycles"):
        rows[name] = cycles
    sums, results = shape.batch * shape.in_rows, shape.batch * shape.hidden
    if not kept(task, shape):
        tiles["psum_in_bytes"] = _bytes(sums, task.bits["psum"])
    if not task.on_chip[1]:
        tiles["ofmap_bytes"] = _bytes(results, task.bits["ofmap"])
    for name in ("psum_in_bytes", "ofmap_bytes"):
        rows[name] = tiles[name]
    read, written = {"psum": np.full(count, sums)}, {"ofmap": np.full(count, results)}
    counts = buffer_counts(task, tiles, {"psum": sums * count}, {"ofmap": results * count})
    table = PassTable(task.layer.name, rows, counts=counts, array_reads=read, array_writes=written)
    return _Stage("", Mapping(1, 1, 1, 1, 1, 1, 1, 1, "mnk"), tiles, rows, table)


def _in_order(stages: list[_Stage], batch: int) -> tuple[PassArray, NDArray[np.int64]]:
    """Rows of all stages, step by step; and the order in which the stages' rows have been put."""
    rows = np.concatenate([stage.rows for stage in stages])
    if len(stages) == 1:
        return rows, np.arange(len(rows))
    place = np.concatenate([np.full(len(stage.rows), i) for i, stage in enumerate(stages)])
    step = np.concatenate([stage.tiles["image0"] // batch for stage in stages])
    direction = np.concatenate([stage.tiles["group0"] // stage.groups for stage in stages])
    order = np.lexsort((np.arange(len(rows)), place, step, direction))
    return rows[order], order


def _bytes(elements: Any, bits: int) -> Any:
    return (elements * bits + 7) // 8


def _joined(
    tables: list[dict[str, NDArray[np.int64]]], stages: list[_Stage], order: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    out = {}
    for operand in dict.fromkeys(name for table in tables for name in table):
        parts = [t.get(operand, np.zeros(len(s.rows), np.int64)) for t, s in zip(tables, stages, strict=True)]
        out[operand] = np.concatenate([parts[0], np.concatenate(parts[1:])[order]])
    return out


def _joined_info(a: PassTable, b: PassTable) -> PassTable:
    """What is said of both parts: counts are added, the larger tile counts, utilization is weighted by busy cycles.

    The result is a table for its rows and its info only.
    """
    info = {**a.info, **b.info}
    for name, value in b.info.items():
        if name in a.info and isinstance(value, int):
            info[name] = max(a.info[name], value) if name == "psum_tile_bytes" else a.info[name] + value
    if b.macs:
        busy = [int(t.rows["busy_cycles"].sum()) for t in (a, b)]
        shares = [t.info.get("spatial_utilization", 0.0) for t in (a, b)]
        if sum(busy):
            info["spatial_utilization"] = sum(x * y for x, y in zip(busy, shares, strict=True)) / sum(busy)
    return PassTable(a.layer, np.concatenate([a.rows, b.rows]), info=info)
