"""What DaDianNao and its bit-serial successors share: tiles of units that take a brick of channels at a step.

A chip has `tiles` tiles of `rows` filters x `columns` windows; a unit multiplies `lanes` channels of one pixel by
those of one filter. All tiles see the same windows. A step is one brick at one tap of the window; how long it
lasts is what the engines differ in. Windows follow each other along x, then y; steps along the window's y, x, then
the bricks. Sources: DaDianNao (MICRO 2014), Stripes (MICRO 2016) and the papers named in each engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.engines.base import Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.sequences import inputs_of
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, Words, WordTables
from accelsim.engines.kernels.serial import lay_jobs, merge_filters, staggered, sum_up
from accelsim.mapping.problem import Problem
from accelsim.workload.shapes import ConvShape

Values = NDArray[Any]


class GridSpec(Spec):
    """Shape of the chip."""

    lanes: int = pydantic.Field(default=16, ge=1, le=1024, description="channels that a unit takes in a step")
    columns: int = pydantic.Field(default=16, ge=1, le=1024, description="windows at a time")
    rows: int = pydantic.Field(default=16, ge=1, le=1024, description="filters at a time in each tile")
    tiles: int = pydantic.Field(default=16, ge=1, le=1024, description="tiles; all see the same windows")
    pe_width: int = pydantic.Field(default=16, ge=1, le=32, description="bits of the widest operand of one unit")


@dataclass(frozen=True)
class Grid:
    """The chip as one layer uses it.

    Attributes
    ----------
    lanes, columns, filters : int
        Channels, windows and filters (of all tiles) in a step.
    depthwise : bool
        Lanes work on different groups.
    block : int
        Not 1: blocks of this many pixels a side are channels of a layer of stride 1 (first layers).
    in_turn : bool
        Steps are issued to the columns in turn, one a cycle (matrix products with few rows).
    """

    lanes: int
    columns: int
    filters: int
    depthwise: bool
    block: int
    in_turn: bool


@dataclass(frozen=True)
class StepTimes(TileTimes):
    """Cycles of tiles, with what the energy is counted from.

    `unit_cycles`: cycles x units that hold a window and a filter; `own_cycles`: those that the units' own columns
    need, without waiting for the slowest, where an engine is priced by them; both for all tiles together.
    """

    unit_cycles: int = 0
    own_cycles: int = 0


class WholeOperands:
    """Engines with bits in whole operands: no unit is beside another for wider ones. A MAC a lane and cycle at most."""

    spec: Any

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """With one bit in every operand that is serial."""
        spec = self.spec
        return int(spec.lanes * spec.columns * spec.rows * spec.tiles)

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Up to the units' width."""
        widths = tuple(range(1, self.spec.pe_width + 1))
        return {"ifmap": widths, "filter": widths}


class BrickEngine(TiledEngine):
    """Base of these engines: a subclass says what a step costs (`durations`), and prices it."""

    def grid(self, part: Part) -> Grid:
        """How this layer lies on the chip."""
        found: Grid = self.remember(part, "grid", lambda: self._grid(part))
        return found

    def _grid(self, part: Part) -> Grid:
        spec, shape = self.spec, part.shape
        columns = spec.columns // ceil_div(part.bits("ifmap"), spec.pe_width)
        rows = spec.rows // ceil_div(part.bits("filter"), spec.pe_width)
        if isinstance(shape, ConvShape):
            if shape.depthwise:
                lanes = min(spec.lanes, rows)
                return Grid(lanes, columns, 1, True, 1, False)
            stride = shape.stride[0]
            colour = shape.c == 3 and shape.g == 1 and shape.stride == (stride, stride) and shape.dilation == (1, 1)
            return Grid(spec.lanes, columns, rows * spec.tiles, False, stride if colour else 1, False)
        at_once = part.step_rows or shape.m
        return Grid(spec.lanes, columns, rows * spec.tiles, False, 1, at_once < columns)

    # --- bad input ---

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """As many units side by side as an operand needs."""
        spec = self.spec
        return {
            "ifmap": tuple(range(1, spec.pe_width * spec.columns + 1)),
            "filter": tuple(range(1, spec.pe_width * spec.rows + 1)),
        }

    def check_bits(self, task: Task) -> None:
        """Refuse what is too wide, and floating-point numbers."""
        check_integers(self.kind, task)
        super().check_bits(task)

    # --- tiles ---

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        grid = self.grid(part)
        problem = super()._problem(part, bits)
        whole, pin, loops = grid.block > 1, part.task.pinned, problem.loops
        needed = (loops.r, loops.s, loops.channels)
        if whole and pin is not None and any(x < y for x, y in zip((pin.taps_r, pin.taps_s, pin.channels), needed)):
            what = "a pinned mapping of a first layer needs taps: all and all channels (its pixels are rearranged)"
            raise ConfigError(what, part.where)
        return replace(problem, whole_taps=whole, group_unit=grid.lanes if grid.depthwise else 1)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A step's windows, filters and channels."""
        grid = self.grid(part)
        if grid.block > 1:
            loops = part.loops
            return grid.columns, grid.filters, loops.channels * loops.window
        return 1 if grid.in_turn else grid.columns, grid.filters, 1 if grid.depthwise else grid.lanes

    def typical_step(self, part: Part) -> int:
        """About how long a step lasts, for the search of a mapping."""
        raise NotImplementedError

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Steps of a tile x a typical step."""
        grid, loops = self.grid(part), part.loops
        taps = np.ones_like(np.asarray(k, np.int64))
        for count in (loops.s, loops.window):  # the largest number of taps that k allows
            taps = np.where((k % count == 0) & (k // count <= loops.channels), count, taps)
        depth = -(-(k // taps) // grid.lanes) * taps
        if grid.depthwise:
            depth = -(-k // grid.lanes)
        if grid.block > 1:
            depth = _blocked(loops.channels, loops.r, loops.s, grid)
        sets = -(-n // grid.filters)
        if grid.in_turn:
            return m * sets * depth * max(1, self.typical_step(part) // grid.columns)
        return -(-m // grid.columns) * sets * depth * self.typical_step(part)

    def steps(self, part: Part, tiles: Tiles) -> dict[str, Words]:
        """For each tile sets of `windows`, sets of `filters`, bricks x taps as `depth`, and `groups`."""
        grid, loops = self.grid(part), part.loops
        channels, groups = tiles["channels"], tiles["groups"]
        depth = -(-channels // grid.lanes) * (tiles["k"] // channels)
        if grid.depthwise:
            depth, groups = -(-groups // grid.lanes) * tiles["k"], np.ones_like(groups)
        if grid.block > 1:
            depth = _blocked(channels, loops.r, loops.s, grid)
        windows = tiles["images"] * -(-(tiles["rows"] * tiles["cols"]) // grid.columns)
        if not isinstance(part.shape, ConvShape):
            windows = tiles["m"] if grid.in_turn else -(-tiles["m"] // grid.columns)
        return {"windows": windows, "filters": -(-tiles["n"] // grid.filters), "depth": depth, "groups": groups}

    def count_steps(self, part: Part, tiles: Tiles) -> Words:
        """Steps of each tile, all groups."""
        steps = self.steps(part, tiles)
        return np.asarray(steps["windows"] * steps["filters"] * steps["depth"] * steps["groups"], np.int64)

    def unit_steps(self, part: Part, tiles: Tiles) -> int:
        """Steps x units with a window and a filter; a unit of a depthwise layer has one filter in each lane."""
        steps = self.steps(part, tiles)
        filters = 1 if self.grid(part).depthwise else tiles["n"]
        depth = steps["depth"] * (tiles["n"] if self.grid(part).depthwise else 1)
        return int((steps["groups"] * tiles["m"] * filters * depth).sum())

    def even(self, part: Part, tiles: Tiles, cost: int) -> StepTimes:
        """Times of tiles whose steps all last `cost` cycles: closed forms."""
        grid, steps = self.grid(part), self.count_steps(part, tiles)
        units = self.unit_steps(part, tiles) * cost
        if not grid.in_turn:
            plain = TileTimes.steps(steps * cost)
            return StepTimes(**vars(plain), unit_cycles=units, own_cycles=units)
        first = np.cumsum(steps) - steps

        def start(step: Words) -> Words:
            if cost <= grid.columns:
                return step
            return np.asarray(step // grid.columns * cost + step % grid.columns, np.int64)

        begin, end = start(first), start(first + steps - 1) + cost
        return _chained(begin, end, start(first + steps), units, units)

    def in_turn(self, part: Part, tiles: Tiles, jobs: Words, tile: Words, steps: Words) -> StepTimes:
        """Times of tiles whose steps cost `steps`, job by job; columns take turns."""
        spans, found = np.zeros((2, len(tiles) + 1), np.int64), np.zeros((len(jobs), 3), np.int64)
        staggered(steps, jobs, tile, self.grid(part).columns, spans, found)
        _, units, own = self.sum_up(part, tiles, jobs, tile, found)
        return chained(spans, units, own)

    def sum_up(self, part: Part, tiles: Tiles, jobs: Words, tile: Words, found: Words) -> tuple[Words, int, int]:
        """Cycles of each tile, and the two sums over units of all, from those of the jobs: see the kernel."""
        cycles = np.zeros(len(tiles), np.int64)
        units, own = sum_up(found, jobs, tile, _fields(tiles), self.grid(part).filters, cycles)
        return cycles, units, own

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """A step brings a brick for each window and one for each filter; sums stay in the units over a tile."""
        steps = self.steps(part, tiles)
        each = tiles["groups"] * tiles["k"]
        reads = {
            "ifmap": each * tiles["m"] * steps["filters"],
            "filter": each * tiles["n"] * steps["windows"],
        }
        return reads, {"psum": tiles["groups"] * tiles["m"] * tiles["n"]}

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Steps, and the part of the lanes that a step finds work for."""
        steps, grid, spec = int(self.count_steps(part, tiles).sum()), self.grid(part), self.spec
        macs = int((tiles["m"] * tiles["n"] * tiles["k"] * tiles["groups"]).sum())
        columns = 1 if grid.in_turn else grid.columns
        rows = spec.rows // ceil_div(part.bits("filter"), spec.pe_width)
        share = macs / (steps * spec.lanes * columns * rows * spec.tiles)
        return {"steps": steps, "spatial_utilization": min(1.0, share)}

    # --- data ---

    def planes(self, part: Part) -> Values:
        """Inputs as (images, channels, rows, columns), without gaps; blocks as channels: y, x, then colour.

        The rows of a matrix product are the columns of one row of pixels, and its batch is the images.

        Raises
        ------
        ConfigError
            If the trace has no values.
        """
        values, grid = inputs_of(part), self.grid(part)
        if not isinstance(part.shape, ConvShape):
            return np.ascontiguousarray(np.swapaxes(values, 1, 2))[:, :, None]
        if grid.block == 1:
            return np.ascontiguousarray(values)
        shape, b = part.shape, grid.block
        top, left, _, _ = shape.pad
        high, wide = shape.p - 1 + ceil_div(shape.r, b), shape.q - 1 + ceil_div(shape.s, b)
        padded = np.zeros((shape.n, shape.c, high * b, wide * b), values.dtype)
        seen = values[:, :, : high * b - top, : wide * b - left]
        padded[:, :, top : top + seen.shape[2], left : left + seen.shape[3]] = seen
        blocks = padded.reshape(shape.n, shape.c, high, b, wide, b).transpose(0, 3, 5, 1, 2, 4)
        return np.ascontiguousarray(blocks).reshape(shape.n, shape.c * b * b, high, wide)

    def pixels(self, part: Part) -> Values:
        """As `planes`, channels last."""
        return np.ascontiguousarray(np.moveaxis(self.planes(part), 1, 3))

    def filter_sets(self, part: Part, tile: Any, count: bool) -> tuple[Values, int]:
        """What the filters of a tile that are in flight together have: (groups, sets, taps_y, taps_x, channels).

        `count`: the most one bits of their magnitudes. Otherwise their bits or-ed; the number returned says how far
        the highest of these lies above that of the magnitudes (two's complement: see `brick_table`). Blocks, and
        groups if depthwise, are channels.
        """
        values, grid = narrow(part.filters(), part.signed("filter")), self.grid(part)
        signed = values.dtype.kind == "i"
        how = 1 if count else 2 if signed else 0
        if count and signed:
            values = np.abs(values)  # the lowest number stays what it is, and is right as an unsigned one
        unsigned = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
        first, filters = int(tile["output0"]), int(tile["n"])
        flat = unsigned.reshape(*values.shape[:2], -1)[:, : first + filters]
        out = np.empty((len(flat), ceil_div(filters, grid.filters), flat.shape[2]), unsigned.dtype)
        merge_filters(flat, first, grid.filters, how, out)
        return self._arranged(part, out.reshape(*out.shape[:2], *values.shape[2:])), int(how == 2)

    def _arranged(self, part: Part, values: Values) -> Values:
        """Filters as (groups, filters, taps_y, taps_x, channels); blocks, and groups if depthwise, as channels."""
        grid = self.grid(part)
        if not isinstance(part.shape, ConvShape):
            return np.ascontiguousarray(values[:, :, None, None, :])
        if grid.block > 1:
            g, n, c, r, s = values.shape
            b = grid.block
            whole = np.zeros((g, n, c, ceil_div(r, b) * b, ceil_div(s, b) * b), values.dtype)
            whole[..., :r, :s] = values
            parts = whole.reshape(g, n, c, whole.shape[3] // b, b, whole.shape[4] // b, b)
            moved = parts.transpose(0, 1, 3, 5, 4, 6, 2)
            return np.ascontiguousarray(moved).reshape(*moved.shape[:4], c * b * b)
        if grid.depthwise:
            return np.ascontiguousarray(values[:, :, 0].transpose(1, 2, 3, 0)[None])
        return np.ascontiguousarray(np.moveaxis(values, 2, 4))

    def geometry(self, part: Part, *more: int) -> Words:
        """stride, dilation, padding (vertical, horizontal each) and columns, as the kernels read them, and `more`."""

        def make() -> Words:
            loops, grid = part.loops, self.grid(part)
            if grid.block > 1 or not isinstance(part.shape, ConvShape):
                return np.array([1, 1, 1, 1, 0, 0, grid.columns, *more], np.int64)
            windows = *loops.stride, *loops.dilation, loops.pad_top, loops.pad_left
            return np.array([*windows, grid.columns, *more], np.int64)

        found: Words = self.remember(part, ("geometry", more), make)
        return found

    def groups(self, part: Part, jobs: Words, bricks: Words) -> Words:
        """Group of each job: index into `filter_sets`."""
        if not isinstance(part.shape, ConvShape):
            return jobs[:, 0]
        grid = self.grid(part)
        if grid.depthwise:
            return np.zeros(len(jobs), np.int64)
        return np.asarray(bricks[jobs[:, 10], 0] // (part.loops.channels * grid.block**2), np.int64)

    def jobs(self, part: Part, tiles: Tiles) -> tuple[Words, Words, Words]:
        """(jobs as the kernels read them, tile of each job, bricks as (first, end) channel)."""
        layer = self.remember(part, "layer", lambda: self._layer(part))
        jobs, tile, bricks = lay_jobs(_fields(tiles), layer)
        return jobs, tile, bricks

    def _layer(self, part: Part) -> Words:
        """What `lay_jobs` reads of a layer."""
        grid, loops, conv = self.grid(part), part.loops, isinstance(part.shape, ConvShape)
        single, area = grid.depthwise or loops.groups == 1, grid.block**2
        blocks = (ceil_div(loops.r, grid.block), ceil_div(loops.s, grid.block)) if grid.block > 1 else (0, 0)
        channels = loops.channels * area
        layer = [conv, single, grid.depthwise, area, channels, loops.s, *blocks, grid.filters, grid.lanes]
        return np.array(layer, np.int64)


def _fields(tiles: Tiles) -> Words:
    """Tiles as rows of TILE_DTYPE's fields."""
    return np.ascontiguousarray(tiles).view(np.int64).reshape(len(tiles), -1)


def check_integers(kind: str, task: Task, coded: bool = False) -> None:
    """Refuse floating-point operands; with `coded` not those of a codebook, which the hardware holds as it likes.

    Raises
    ------
    ConfigError
        Naming the layer and the operand.
    """
    for role in ("ifmap", "filter", "state", "recurrent"):
        operand = task.trace.operand(task.layer.name, role)
        if operand is not None and operand.floating and not (coded and operand.encoding == "codebook"):
            raise ConfigError(
                f"{role} holds floating-point numbers, but engine {kind!r} computes with integers; quantize it first",
                f"layer {task.layer.name}",
            )


def narrow(values: Values, signed: bool) -> Values:
    """Integers of at most 16 bits in two bytes at most; `signed`: what the numbers may be."""
    if values.dtype.itemsize > 2:
        return values.astype(np.int16 if signed else np.uint16)
    return values


def bit_lengths(values: Values) -> Values:
    """Position of the highest set bit of each value (below 2**31), from 1; 0 for 0."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def set_bits(values: Values) -> Values:
    """Ones of each value (below 2**16), uint8."""
    return np.asarray(_ones_table()[values], np.uint8)


@lru_cache(maxsize=1)
def _ones_table() -> Values:
    table = np.zeros(1 << 16, np.uint8)
    for bit in range(16):
        table[1 << bit : 2 << bit] = table[: 1 << bit] + 1
    return table


def _blocked(channels: Any, r: int, s: int, grid: Grid) -> Any:
    b = grid.block
    return -(-(channels * b * b) // grid.lanes) * ceil_div(r, b) * ceil_div(s, b)


def _chained(begin: Words, end: Words, following: Words, units: int, own: int) -> StepTimes:
    """Tiles from absolute times of an undisturbed run: the next may start at `following`."""
    stream, finish, none = following - begin, end - begin, np.zeros(len(begin), np.int64)
    busy = np.minimum(stream, finish)
    return StepTimes(none, none, stream, finish, busy, {}, unit_cycles=units, own_cycles=own)


def totals(cycles: Words, tile: Words, count: int) -> Words:
    """Sums over the jobs of each tile."""
    if len(cycles) == count:  # each has one
        return cycles.copy()
    out = np.zeros(count, np.int64)
    np.add.at(out, tile, cycles)
    return out


def chained(spans: Words, units: int, own: int) -> StepTimes:
    """Tiles from their absolute times, as `run_ahead` and `staggered` give them."""
    return _chained(spans[0, :-1], spans[1, :-1], spans[0, 1:], units, own)
