"""Row stationary: mappings in m, n, e, p, q, r, t, and their passes with exact traffic; `rs_search` finds them.

Names as in Chen et al., JSSC 52(1), 2017, Table II: `m` output channels whose sums are in the global buffer, `n`
images and `e` output rows of a pass, `p` filters and `q` channels in a PE, `r` channels and `t` filters over PEs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.dataflow.row_stationary import (
    RsArray,
    RsPass,
    load_cycles,
    pass_timing,
    stacks_that_fit,
    window_groups,
)
from accelsim.engines.base import Task
from accelsim.engines.common.tiling import distinct
from accelsim.mapping.problem import Loops, Mapping
from accelsim.mapping.tiles import TILE_DTYPE

#: A pass: what the tiler says of a tile, and the filters and channels in a PE
RS_TILE_DTYPE = np.dtype([*TILE_DTYPE.descr, ("p", np.int64), ("q", np.int64)])

Tiles = NDArray[Any]  # of RS_TILE_DTYPE
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RsMapping(Mapping):
    """A row-stationary mapping; of the fields of `Mapping`, a tile is a pass, and `order` is "mkn" or "nmk".

    "mkn": strips of images outermost, then blocks of m filters; "nmk" the other way round. In both, channels follow,
    and the passes of a block of m filters are innermost.
    """

    m_block: int = 1
    p: int = 1
    q: int = 1
    r: int = 1
    t: int = 1

    def describe(self) -> str:
        """`m=96 n=1 e=7 p=16 q=1 r=1 t=2`, and what is not a matter of course."""
        outer = " filters_outer" if self.order == "nmk" else ""
        return f"m={self.m_block} n={self.images} e={self.rows} p={self.p} q={self.q} r={self.r} t={self.t}{outer}"


@dataclass(frozen=True)
class RsProblem:
    """A layer for this search: its loops, the array, and the bytes that operands may take.

    Attributes
    ----------
    loops : Loops
    array : RsArray
    bits : tuple of int
        Of ifmap, filter, psum, ofmap in the buffers.
    ifmap_bytes, psum_bytes, filter_bytes : int
        Room for all tiles of the operand.
    shared : bool
        ifmap and psums have one room together: `psum_bytes`.
    on_chip : tuple of bool
        (ifmap, ofmap, filter) cause no traffic.
    step_rows : int
        Not 0: images are time steps of so many rows, see `Problem`.
    """

    loops: Loops
    array: RsArray
    bits: tuple[int, int, int, int]
    ifmap_bytes: int
    psum_bytes: int
    filter_bytes: int
    shared: bool
    on_chip: tuple[bool, bool, bool]
    step_rows: int = 0

    @classmethod
    def of(cls, task: Task, loops: Loops, array: RsArray, step_rows: int) -> RsProblem:
        """The problem of a task; of ifmap and filter, a room holds as many tiles as it has slots."""
        ifmap, psum, filters = (task.room_of(o) for o in ("ifmap", "psum", "filter"))
        bits = (task.bits["ifmap"], task.bits["filter"], task.bits["psum"], task.bits["ofmap"])
        return cls(
            loops, array, bits, ifmap.free_bytes // ifmap.slots, psum.free_bytes, filters.free_bytes // filters.slots,
            ifmap.name == psum.name, task.on_chip, step_rows,
        )  # fmt: skip

    def filter_rows(self) -> int:
        """Rows of the filter in a pass: all, or even parts of them."""
        return ceil_div(self.loops.r, ceil_div(self.loops.r, self.array.rows))

    def ifmap_tile_bytes(self, n: Any, e: Any, channels: Any) -> Any:
        """Of the part of an ifmap that a pass reads, padding included."""
        if self.on_chip[0]:
            return 0 * n * e * channels
        loops = self.loops
        reach = (self.filter_rows() - 1) * loops.dilation[0]
        rows = np.minimum(e * (reach + 1), (e - 1) * loops.stride[0] + reach + 1)
        cols = (loops.q - 1) * loops.stride[1] + (loops.s - 1) * loops.dilation[1] + 1
        return -(-n * channels * rows * cols * self.bits[0] // 8)

    def psum_tile_bytes(self, n: Any, e: Any, m: Any) -> Any:
        """Of the sums of m output channels."""
        return -(-n * e * self.loops.q * m * self.bits[2] // 8)


def check_fits(array: RsArray, loops: Loops, fold_rows: bool) -> None:
    """Refuse filters that the array cannot hold.

    Raises
    ------
    ConfigError
        Saying by how much, and what would fit.
    """
    need = window_groups(1, loops.s, loops.q, loops.stride[1], loops.dilation[1])
    if need > array.ifmap_spad:
        most = (array.ifmap_spad - 1) // loops.dilation[1] + 1
        dilated = f" with dilation {loops.dilation[1]}" if loops.dilation[1] > 1 else ""
        raise ConfigError(
            f"a filter row of {loops.s} columns{dilated} needs {need} words of the ifmap spad, but it has "
            f"{array.ifmap_spad}, {need - array.ifmap_spad} too few; up to {most} columns fit"
        )
    if loops.s > array.filter_spad:
        raise ConfigError(
            f"a filter row of {loops.s} columns needs as many words of the filter spad, but it has "
            f"{array.filter_spad}, {loops.s - array.filter_spad} too few"
        )
    if loops.r > array.rows and not fold_rows:
        raise ConfigError(
            f"the filter has {loops.r} rows, but the array has {array.rows}, {loops.r - array.rows} too few, and "
            f"filter rows are not folded; engine.rows >= {loops.r} or engine.fold_rows: true would do"
        )


# --- passes ---


def check_pin(problem: RsProblem, mapping: RsMapping) -> None:
    """Refuse a pinned mapping that does not fit.

    Raises
    ------
    ConfigError
        Saying what does not fit, by how much, and what would.
    """
    loops, array, taps = problem.loops, problem.array, problem.filter_rows()
    window = window_groups(mapping.q, loops.s, loops.q, loops.stride[1], loops.dilation[1])
    limits = [
        ("ifmap spad (q filter rows)", window, array.ifmap_spad, "words"),
        ("filter spad (p x q filter rows)", mapping.p * mapping.q * loops.s, array.filter_spad, "words"),
        ("psum spad (p)", mapping.p, array.psum_spad, "words"),
        ("array (r x filter rows)", taps * mapping.r, array.rows, "rows of PEs"),
    ]
    if taps * mapping.r <= array.rows:
        most = stacks_that_fit(array, taps * mapping.r, mapping.rows)
        limits.append((f"array (stacks of {taps * mapping.r} x {mapping.rows} PEs)", mapping.t, most, "stacks"))
    ifmap = int(problem.ifmap_tile_bytes(mapping.images, mapping.rows, mapping.channels))
    psum = int(problem.psum_tile_bytes(mapping.images, mapping.rows, mapping.m_block))
    filters = ceil_div(mapping.outputs * mapping.channels * taps * loops.s * problem.bits[1], 8)
    slots = problem.psum_bytes // max(1, problem.ifmap_bytes)
    limits.append(("filter buffer", filters, problem.filter_bytes, "bytes"))
    limits.append(("ifmap buffer", ifmap, problem.ifmap_bytes, "bytes"))
    limits.append(("psum buffer", psum + (ifmap * slots if problem.shared else 0), problem.psum_bytes, "bytes"))
    for what, need, room, unit in limits:
        if need > room:
            raise ConfigError(
                f"the pinned mapping {mapping.describe()} does not fit the {what}: "
                f"needs {need} {unit}, {need - room} more than the {room} there are"
            )


def walk(problem: RsProblem, mapping: RsMapping) -> Tiles:
    """All passes in order, with the bytes that each fetches and writes, uncompressed."""
    loops, taps = problem.loops, problem.filter_rows()
    blocks = ceil_div(loops.outputs, mapping.outputs)
    units = min(blocks, ceil_div(mapping.m_block, mapping.outputs))
    outer = [range(0, loops.images, mapping.images), range(0, loops.p, mapping.rows), range(0, blocks, units)]
    if mapping.order == "nmk":
        outer = [outer[2], outer[0], outer[1]]
    folds = range(0, loops.r, taps)
    inner = np.array(list(product(range(0, loops.channels, mapping.channels), folds)), np.int64).reshape(-1, 2)
    parts = []
    for point in product(*outer):
        image, row, block = point if mapping.order == "mkn" else (point[1], point[2], point[0])
        own = np.arange(block, min(blocks, block + units), dtype=np.int64) * mapping.outputs
        here = np.zeros((len(inner), len(own), 5), np.int64)
        here[..., 0], here[..., 1] = image, row
        here[..., 2] = own
        here[..., 3:] = inner[:, None]
        parts.append(here.reshape(-1, 5))
    one_group = np.concatenate(parts)
    tiles = np.zeros(len(one_group) * loops.groups, RS_TILE_DTYPE)
    tiles["p"], tiles["q"] = mapping.p, mapping.q
    images, rows, output, channel, fold = (np.tile(one_group[:, i], loops.groups) for i in range(5))
    tiles["groups"] = 1
    tiles["group0"] = np.repeat(np.arange(loops.groups), len(one_group))
    tiles["image0"], tiles["row0"], tiles["output0"], tiles["channel0"] = images, rows, output, channel
    tiles["tap0"] = fold * loops.s
    tiles["images"] = np.minimum(mapping.images, loops.images - images)
    tiles["rows"], tiles["cols"] = np.minimum(mapping.rows, loops.p - rows), loops.q
    tiles["n"] = np.minimum(mapping.outputs, loops.outputs - output)
    tiles["channels"] = np.minimum(mapping.channels, loops.channels - channel)
    tiles["m"] = tiles["images"] * tiles["rows"] * loops.q
    tiles["k"] = tiles["channels"] * np.minimum(taps, loops.r - fold) * loops.s
    tiles["first_k"] = (channel == 0) & (fold == 0)
    tiles["last_k"] = (channel + mapping.channels >= loops.channels) & (fold + taps >= loops.r)
    _traffic(problem, tiles, fold, np.minimum(taps, loops.r - fold))
    return tiles


def changes(*columns: Ints) -> NDArray[np.bool_]:
    """Where a row differs from the one before it in any column; True at first."""
    out = np.zeros(len(columns[0]), bool)
    out[0] = True
    for column in columns:
        out[1:] |= column[1:] != column[:-1]
    return out


def new_filters(tiles: Tiles) -> NDArray[np.bool_]:
    """Passes whose filters are not in the PEs yet."""
    return changes(tiles["group0"], tiles["output0"], tiles["channel0"], tiles["tap0"])


def _traffic(problem: RsProblem, tiles: Tiles, fold: Ints, taps: Ints) -> None:
    loops, bits = problem.loops, problem.bits
    if not problem.on_chip[2]:
        tiles["filter_bytes"] = np.where(new_filters(tiles), (tiles["n"] * tiles["k"] * bits[1] + 7) // 8, 0)
    fresh = changes(*(tiles[x] for x in ("group0", "image0", "row0", "channel0", "tap0")))
    found, which = distinct([tiles["row0"], tiles["rows"], fold, taps])
    spans = np.array([_span(loops, *row) for row in found.tolist()], np.int64)[which]
    low_w = max(0, -loops.pad_left)
    high_w = min(loops.w, (loops.q - 1) * loops.stride[1] - loops.pad_left + (loops.s - 1) * loops.dilation[1] + 1)
    if not problem.on_chip[0]:
        tiles["in_row0"], tiles["in_rows"] = np.where(fresh, spans[:, 0], 0), np.where(fresh, spans[:, 1], 0)
        tiles["in_col0"], tiles["in_cols"] = np.where(fresh, low_w, 0), np.where(fresh, max(0, high_w - low_w), 0)
        elements = tiles["images"] * tiles["channels"] * tiles["in_rows"] * tiles["in_cols"]
        tiles["ifmap_bytes"] = (elements * bits[0] + 7) // 8
    if not problem.on_chip[1]:
        tiles["ofmap_bytes"] = np.where(tiles["last_k"] == 1, (tiles["m"] * tiles["n"] * bits[3] + 7) // 8, 0)


def input_rows(loops: Loops, row0: int, rows: int, tap0: int, taps: int) -> tuple[int, int]:
    """(first input row, the one after the last) of output rows, padding cut off."""
    low = row0 * loops.stride[0] - loops.pad_top + tap0 * loops.dilation[0]
    high = low + (rows - 1) * loops.stride[0] + (taps - 1) * loops.dilation[0] + 1
    return min(loops.h, max(0, low)), max(0, min(loops.h, high))


def _span(loops: Loops, row0: int, rows: int, fold: int, taps: int) -> tuple[int, int]:
    """(first input row, how many are fetched); rows between windows that do not touch are left out."""
    low, high = input_rows(loops, row0, rows, fold, taps)
    if loops.stride[0] <= (loops.r - 1) * loops.dilation[0] + 1:
        return low, max(0, high - low)
    count = 0
    for row in range(row0, row0 + rows):
        begin, end = input_rows(loops, row, 1, fold, taps)
        count += max(0, end - begin)
    return low, count


def pass_of(loops: Loops, images: int, rows: int, outputs: int, channels: int, taps: int, p: int, q: int) -> RsPass:
    """The pass of a tile: of a ragged one, as many stacks and sets as needed, filters and channels evenly over them."""
    t, r = ceil_div(outputs, p), ceil_div(channels, q)
    return RsPass(
        images, rows, loops.q, taps, loops.s, ceil_div(outputs, t), ceil_div(channels, r), r, t,
        loops.stride, loops.dilation,
    )  # fmt: skip


def passes_of(loops: Loops, tiles: Tiles) -> tuple[list[RsPass], Ints]:
    """Passes that differ, and for each tile which of them it is."""
    columns = [tiles[x] for x in ("images", "rows", "n", "channels")]
    columns += [tiles["k"] // (tiles["channels"] * loops.s), tiles["p"], tiles["q"]]
    found, which = distinct(columns)
    return [pass_of(loops, *row) for row in found.tolist()], which


def processing_cycles(problem: RsProblem, mapping: RsMapping) -> int:
    """Exact cycles of the array for a layer, nothing in its way."""
    tiles = walk(problem, mapping)
    found, which = passes_of(problem.loops, tiles)
    loads = np.array([load_cycles(problem.array, one) for one in found], np.int64)[which] * new_filters(tiles)
    finish = np.array([[pass_timing(problem.array, one, adds).finish for adds in (False, True)] for one in found])
    return int((loads + finish[which, 1 - tiles["first_k"]]).sum())
