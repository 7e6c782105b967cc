"""Exhaustive search over sensible tilings, scored by DRAM traffic; the engine then counts cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.base.units import human_bytes
from accelsim.base.words import Table, Word, Words, part
from accelsim.mapping.problem import (
    OPERANDS,
    TILE_EXTENTS,
    Loops,
    Mapping,
    Problem,
    m_steps,
    power_steps,
    square_steps,
    steps,
    tap_steps,
)
from accelsim.mapping.spans import axis_sums

ORDERS = tuple("".join(p) for p in permutations("mnk"))
_ORDER_TABLE = np.array([["mnk".index(c) for c in order] for order in ORDERS], np.int64)
MAX_PASSES = 200_000

# columns of a candidate: groups images rows cols outputs channels taps_r taps_s order, then
_KEEP, _PASSES, _TRAFFIC = range(9, 12)


# what the kernel keeps at hand: trips of the loops m, n, k, then of each operand what it needs and whether it is
# a single tile
_NEED, _SINGLE, _WORK = 3, 7, 11


@part
def _fetches(orders: Table, e: Word, work: Words, other: Word) -> Word:
    """Tile changes of an operand: trips of all loops down to the innermost one that it depends on: all but `other`."""
    count = 1
    product = 1
    for level in range(3):
        loop = orders[e, level]
        product *= work[loop]
        if loop != other and work[loop] > 1:
            count = product
    return count


@part
def _fits(rooms: Table, work: Words, psum_rows: Word, psum_row_bits: Word) -> Word:
    """Do the operands' needs (bits: ifmap filter psum ofmap) fit their buffers?"""
    for x in range(rooms.shape[0]):
        used = 0
        for o in range(4):
            if not rooms[x, 2 + o] or (o == 3 and rooms[x, 4] != 0):
                continue  # results leave from where their sums stand
            size = (work[_NEED + o] + 7) // 8
            if rooms[x, 6] and o >= 2 and work[_NEED + o] > 0:
                size = psum_rows * (-(-psum_row_bits // (8 * rooms[x, 6])) * rooms[x, 6])
            used += size * (1 if work[_SINGLE + o] else rooms[x, 1])
        if used > rooms[x, 0]:
            return False
    return True


@part
def _search(
    loops: Words, m_list: Table, n_list: Words, c_list: Words, t_list: Table, g_list: Words, orders: Table,
    rooms: Table, params: Words, work: Words, out: Table,
) -> Word:
    """As `search_kernel`."""
    groups, images, p, q, outputs, channels, h, w, r, s = loops[:10]
    bits_i, bits_f, bits_p, bits_o, i_chip, o_chip, f_chip = params[:7]
    found = 0
    lines = 0  # slots of a line buffer for the ifmap
    for x in range(rooms.shape[0]):
        if rooms[x, 2] and rooms[x, 7]:
            lines = rooms[x, 1]
    for a in range(m_list.shape[0]):
        ti, tp, tq = m_list[a]
        high = h
        if lines:  # as `problem.line_rows`
            high = (tp - 1) * loops[10] + (r - 1) * loops[12] + 1
            high = min(h, high) * lines if ti < images else min(h, high + (lines - 1) * tp * loops[10])
        nm = -(-images // ti) * -(-p // tp) * -(-q // tq)
        pixels = ti * tp * tq
        for t in range(t_list.shape[0]):
            tr, ts = t_list[t]
            sum_h, fresh_h, big_h = axis_sums(p, tp, h, r, tr, loops[10], loops[12], loops[14], True)
            sum_w, fresh_w, big_w = axis_sums(q, tq, w, s, ts, loops[11], loops[13], loops[15], False)
            for b in range(n_list.shape[0]):
                tn = n_list[b]
                nn = -(-outputs // tn)
                for c in range(c_list.shape[0]):
                    tc = c_list[c]
                    nk = -(-channels // tc) * (r // tr) * (s // ts)
                    work[0], work[1], work[2] = nm, nn, nk
                    for d in range(g_list.shape[0]):
                        tg = g_list[d]
                        ng = -(-groups // tg)
                        if ng * nm * nn * nk > params[10]:
                            continue
                        tile_i = tg * ti * tc * big_h * big_w * bits_i
                        tile_f = tg * tn * tc * tr * ts * bits_f
                        tile_p = tg * tn * pixels * bits_p
                        tile_o = tg * tn * pixels * bits_o
                        for keep in range(8):
                            keep_i, keep_f, keep_p = keep & 1, (keep >> 1) & 1, (keep >> 2) & 1
                            # keeping what is a single tile anyway, or what never travels, is no new candidate;
                            # with several tiles of groups, what is kept would have to give way to the next
                            if keep_i and (not params[7] or i_chip or ng > 1 or nm * nk == 1 or tr * ts < r * s):
                                continue
                            if keep_f and (not params[8] or ng > 1 or nn * nk == 1):
                                continue
                            if keep_p and (not params[9] or nk == 1 or nm * nn == 1):
                                continue
                            work[_NEED] = 0 if i_chip else tile_i
                            if keep_i and not i_chip:
                                work[_NEED] = tg * (ti if lines else images) * channels * high * w * bits_i
                            work[_NEED + 1] = tg * outputs * channels * r * s * bits_f if keep_f else tile_f
                            work[_NEED + 2] = tg * outputs * images * p * q * bits_p if keep_p else tile_p
                            work[_NEED + 3] = 0 if o_chip else tile_o
                            work[_SINGLE] = ng == 1 and (keep_i or nm * nk == 1)
                            work[_SINGLE + 1] = ng == 1 and (keep_f or nn * nk == 1)
                            work[_SINGLE + 2] = ng == 1 and (keep_p or nm * nn == 1)
                            work[_SINGLE + 3] = ng == 1 and nm * nn == 1
                            rows = tg * (images * p * q if keep_p else pixels)
                            if not _fits(rooms, work, rows, (outputs if keep_p else tn) * bits_p):
                                continue
                            swept = fresh_h * fresh_w if keep_i else sum_h * sum_w
                            sweep_i = groups * images * channels * swept * bits_i
                            for e in range(orders.shape[0]):
                                if keep_i + keep_f + keep_p == 3 and e > 0:
                                    continue
                                if keep_i and lines and orders[e, 0] != 0:
                                    continue  # the window goes down the map once
                                fetch_f = nn * nk if keep_f else _fetches(orders, e, work, 0)
                                fetch_i = nm * nk if keep_i else _fetches(orders, e, work, 1)
                                visits = nm * nn if keep_p else _fetches(orders, e, work, 2)
                                full_out = groups * outputs * images * p * q
                                traffic = 2 * full_out * bits_p * (visits // (nm * nn) - 1)
                                if not f_chip:
                                    traffic += groups * outputs * channels * r * s * bits_f * (fetch_f // (nn * nk))
                                if not i_chip:
                                    traffic += sweep_i * (fetch_i // (nm * nk))
                                if not o_chip:
                                    traffic += full_out * bits_o
                                out[found, 0], out[found, 1], out[found, 2], out[found, 3] = tg, ti, tp, tq
                                out[found, 4], out[found, 5], out[found, 6], out[found, 7] = tn, tc, tr, ts
                                out[found, 8], out[found, 9] = e, keep
                                out[found, 10], out[found, 11] = ng * nm * nn * nk, traffic
                                found += 1
    return found


@kernel(_nrt=False)
def search_kernel(
    loops: Words, m_list: Table, n_list: Words, c_list: Words, t_list: Table, g_list: Words, orders: Table,
    rooms: Table, params: Words, work: Words, out: Table,
) -> Word:
    """Write every feasible candidate to `out`; returns how many.

    loops: groups images p q outputs channels h w r s stride_h stride_w dilation_h dilation_w pad_top pad_left.
    rooms: one row per buffer: free bytes, slots, 1 for each operand (ifmap filter psum ofmap) held, row bytes, lines.
    params: bits of the four operands, ifmap / ofmap / filter on chip, may keep ifmap / filter / psum, max passes.
    work: scratch.
    """
    return _search(loops, m_list, n_list, c_list, t_list, g_list, orders, rooms, params, work, out)


@search_kernel.warms_up_with
def _example():  # type: ignore[no-untyped-def]
    return _kernel_arguments(Problem(Loops(1, 1, 4, 4, 8, 8, 4, 4), (), (8, 8, 32, 8)))


def _kernel_arguments(problem: Problem, fine: bool = False) -> tuple[NDArray[np.int64], ...]:
    loops, (unit_m, unit_n, unit_k) = problem.loops, problem.unit
    m_list, orders = m_steps(loops, unit_m, fine), _ORDER_TABLE
    if problem.step_rows:
        m_list, orders = np.array([[problem.step_rows, 1, 1]], np.int64), _ORDER_TABLE[:2]
    n_list = steps(loops.outputs, unit_n, fine)
    # a tile of all taps needs fewer channels to fill the array
    units = {unit_k, max(1, unit_k // loops.window)}
    c_list = np.array(sorted({int(c) for unit in units for c in steps(loops.channels, unit, fine)}), np.int64)
    t_list, g_list = tap_steps(loops), steps(loops.groups, problem.group_unit)
    if problem.powers:
        m_list = m_list if problem.step_rows else square_steps(loops)
        n_list = power_steps(loops.outputs, 1 if fine else unit_n)
        c_list = power_steps(loops.channels, 1 if fine else unit_k)
    if problem.powers or problem.whole_taps:
        t_list = t_list[:1]
    rooms = np.array(
        [[r.free_bytes, r.slots, *(int(o in r.holds) for o in OPERANDS), r.row_bytes, r.lines] for r in problem.rooms],
        np.int64,
    ).reshape(-1, 8)
    params = np.array([*problem.bits, *problem.on_chip, *problem.keep, MAX_PASSES], np.int64)
    size = len(m_list) * len(n_list) * len(c_list) * len(t_list) * len(g_list) * 8 * len(ORDERS)
    out = np.empty((size, 12), np.int64)
    work = np.zeros(_WORK, np.int64)
    lists = m_list, n_list, c_list, t_list, g_list
    return loops.numbers(), *lists, orders, rooms, params, work, out


@dataclass(frozen=True)
class Candidates:
    """Feasible mappings, best traffic first; one row of `rows` is one mapping.

    Attributes
    ----------
    rows : ndarray of int64, shape (n, 12)
        Columns: groups images rows cols outputs channels taps_r taps_s order keep passes traffic_bits.
    """

    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Mapping:
        row = self.rows[index].tolist()
        keep = row[_KEEP]
        extents = dict(zip(TILE_EXTENTS, row, strict=False))
        return Mapping(
            **extents,
            order=ORDERS[row[8]],
            keep_ifmap=bool(keep & 1),
            keep_filter=bool(keep & 2),
            keep_psum=bool(keep & 4),
        )

    def __iter__(self) -> Iterator[Mapping]:
        return (self[i] for i in range(len(self)))

    def column(self, extent: str) -> NDArray[np.int64]:
        """Tile extents of all candidates, by the name of `Mapping`'s field."""
        return self.rows[:, TILE_EXTENTS.index(extent)]

    @property
    def passes(self) -> NDArray[np.int64]:
        """Tiles in all."""
        return self.rows[:, _PASSES]

    @property
    def traffic_bits(self) -> NDArray[np.int64]:
        """To and from DRAM."""
        return self.rows[:, _TRAFFIC]

    def fetches(self, tiles: list[NDArray[np.int64]], operand: str) -> NDArray[np.int64]:
        """How often a tile of `operand` (ifmap, filter, psum) changes; `tiles`: how many there are along m, n, k."""
        which = ("ifmap", "filter", "psum").index(operand)
        uses = ((1, 0, 1), (0, 1, 1), (1, 1, 0))[which]
        trips = np.stack(tiles, 1)
        order = _ORDER_TABLE[self.rows[:, 8]]
        count, product = np.ones(len(self), np.int64), np.ones(len(self), np.int64)
        for level in range(3):
            loop = order[:, level]
            here = np.take_along_axis(trips, loop[:, None], 1)[:, 0]
            product = product * here
            count = np.where(np.array(uses)[loop].astype(bool) & (here > 1), product, count)
        distinct = np.prod(np.where(np.array(uses, bool), trips, 1), axis=1)
        return np.where(self.rows[:, _KEEP] >> which & 1, distinct, count)


@lru_cache(maxsize=4096)
def candidates(problem: Problem, limit: int = 512) -> Candidates:
    """The feasible mappings with the least DRAM traffic; ties go to fewer passes, then to the order of the search.

    Raises
    ------
    ConfigError
        If no tile fits: says which buffer lacks how much for the smallest tile.
    """
    count = 0
    for fine in (False, True):
        if not count:
            arguments = _kernel_arguments(problem, fine)
            count = search_kernel(*arguments)
    rows = arguments[-1][:count]
    if not count:
        raise ConfigError(_why_not(problem))
    order = np.lexsort((np.arange(count), rows[:, _PASSES], rows[:, _TRAFFIC]))[:limit]
    return Candidates(rows[order])


def smallest_need(problem: Problem) -> dict[str, int]:
    """Bytes that the smallest tile of each operand takes, one slot."""
    arguments = _kernel_arguments(problem, fine=True)
    loops, numbers = problem.loops, arguments[0]
    images, rows, cols = (int(x) for x in arguments[1][0])
    n, c = int(arguments[2][0]), int(arguments[3][0])
    tr, ts = (int(x) for x in arguments[4][-1])
    along_y = loops.p, rows, loops.h, loops.r, tr, int(numbers[10]), int(numbers[12]), int(numbers[14])
    along_x = loops.q, cols, loops.w, loops.s, ts, int(numbers[11]), int(numbers[13]), int(numbers[15])
    high, wide = largest_read(*along_y, skips=True), largest_read(*along_x, skips=False)
    pixels = images * rows * cols
    elements = (images * c * high * wide, n * c * tr * ts, n * pixels, n * pixels)
    return {o: -(-e * b // 8) for o, e, b in zip(OPERANDS, elements, problem.bits, strict=True)}


def largest_read(
    extent: int, tile: int, size: int, taps: int, taps_tile: int, stride: int, dilation: int, pad: int, *, skips: bool
) -> int:
    """As of `axis_sums`; it need not look behind the first tile that no padding before the inputs cuts."""
    tiles = (pad + (taps - 1) * dilation) // stride // tile + 2
    return int(axis_sums(min(extent, tiles * tile), tile, size, taps, taps_tile, stride, dilation, pad, skips)[2])


def _why_not(problem: Problem) -> str:
    needs = smallest_need(problem)
    if problem.on_chip[0]:
        needs["ifmap"] = 0
    if problem.on_chip[1]:
        needs["ofmap"] = 0
    for room in problem.rooms:
        held = [o for o in room.holds if not (o == "ofmap" and "psum" in room.holds)]
        sizes = {o: max(needs[o], room.row_bytes) if o in ("psum", "ofmap") and needs[o] else needs[o] for o in held}
        used = sum(size * room.slots for size in sizes.values())
        if used > room.free_bytes:
            parts = ", ".join(f"{o} {room.slots} x {human_bytes(size)}" for o, size in sizes.items() if size)
            return (
                f"no tile fits buffer {room.name!r}: the smallest tile needs {used} bytes ({parts}), "
                f"but {room.free_bytes} bytes are available"
            )
    return f"no tiling with at most {MAX_PASSES} passes fits the buffers; enlarge them or pin a mapping"
