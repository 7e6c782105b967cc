"""Exhaustive search over sensible tilings, scored by DRAM traffic; the engine then counts cycles."""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.base.units import human_bytes
from accelsim.mapping.problem import OPERANDS, Loops, Mapping, Problem, m_steps, steps

ORDERS = tuple("".join(p) for p in permutations("mnk"))
_ORDER_TABLE = np.array([["mnk".index(c) for c in order] for order in ORDERS], np.int64)
MAX_PASSES = 200_000

# columns of a candidate: groups images rows cols outputs channels, then
_CHANNELS, _ORDER, _KEEP, _PASSES, _TRAFFIC = range(5, 10)


@kernel
def _span_sum(extent, tile, size, taps, stride, dilation, pad):  # type: ignore[no-untyped-def]
    """Input positions fetched along one axis, summed over all tiles, and the largest of one tile."""
    total = 0
    largest = 0
    first = 0
    while first < extent:
        count = min(tile, extent - first)
        low = max(0, first * stride - pad)
        high = min(size, (first + count - 1) * stride - pad + (taps - 1) * dilation + 1)
        span = max(0, high - low)
        total += span
        largest = max(largest, span)
        first += tile
    return total, largest


@kernel
def _fetches(order, trips, uses):  # type: ignore[no-untyped-def]
    """Tile changes of an operand: trips of all loops down to the innermost one that it depends on."""
    count = 1
    product = 1
    for level in range(3):
        loop = order[level]
        product *= trips[loop]
        if uses[loop] and trips[loop] > 1:
            count = product
    return count


@kernel
def search_kernel(loops, m_list, n_list, c_list, g_list, orders, rooms, params, out):  # type: ignore[no-untyped-def]
    """Write every feasible candidate to `out`; returns (how many, bytes missing in the best infeasible one).

    loops: groups images p q outputs channels h w r s stride_h stride_w dilation_h dilation_w pad_top pad_left.
    rooms: one row per buffer: free bytes, slots, then 1 for each operand (ifmap filter psum ofmap) held.
    params: bits of the four operands, ifmap / ofmap / filter on chip, may keep ifmap / filter / psum, max passes.
    """
    groups, images, p, q, outputs, channels, h, w, r, s = loops[:10]
    sh, sw, dh, dw, pt, pl = loops[10:16]
    bits_i, bits_f, bits_p, bits_o, i_chip, o_chip, f_chip = params[:7]
    uses = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]], np.int64)
    trips = np.zeros(3, np.int64)
    need = np.zeros(4, np.int64)
    found = 0
    for a in range(m_list.shape[0]):
        ti, tp, tq = m_list[a]
        sum_h, big_h = _span_sum(p, tp, h, r, sh, dh, pt)
        sum_w, big_w = _span_sum(q, tq, w, s, sw, dw, pl)
        nm = -(-images // ti) * -(-p // tp) * -(-q // tq)
        pixels = ti * tp * tq
        for b in range(n_list.shape[0]):
            tn = n_list[b]
            nn = -(-outputs // tn)
            for c in range(c_list.shape[0]):
                tc = c_list[c]
                nk = -(-channels // tc)
                trips[0], trips[1], trips[2] = nm, nn, nk
                for d in range(g_list.shape[0]):
                    tg = g_list[d]
                    ng = -(-groups // tg)
                    if ng * nm * nn * nk > params[10]:
                        continue
                    tile_i = tg * ti * tc * big_h * big_w * bits_i
                    tile_f = tg * tn * tc * r * s * bits_f
                    tile_p = tg * tn * pixels * bits_p
                    tile_o = tg * tn * pixels * bits_o
                    full_i = tg * images * channels * h * w * bits_i
                    full_f = tg * outputs * channels * r * s * bits_f
                    full_p = tg * outputs * images * p * q * bits_p
                    sweep_i = images * channels * sum_h * sum_w * bits_i  # all m and k tiles once, one group
                    for keep in range(8):
                        keep_i, keep_f, keep_p = keep & 1, (keep >> 1) & 1, (keep >> 2) & 1
                        # keeping what is a single tile anyway, or what never travels, is no new candidate
                        if keep_i and (not params[7] or i_chip or nm * nk == 1):
                            continue
                        if keep_f and (not params[8] or nn * nk == 1):
                            continue
                        if keep_p and (not params[9] or nk == 1 or nm * nn == 1):
                            continue
                        once = ng == 1
                        need[0] = 0 if i_chip else (full_i if keep_i else tile_i)
                        need[1] = full_f if keep_f else tile_f
                        need[2] = full_p if keep_p else tile_p
                        need[3] = 0 if o_chip else tile_o
                        fits = True
                        for x in range(rooms.shape[0]):
                            used = 0
                            psum_here = rooms[x, 4] != 0
                            for o in range(4):
                                if not rooms[x, 2 + o]:
                                    continue
                                if o == 3 and psum_here:
                                    continue  # results leave from where their sums stand
                                single = once and (
                                    (o == 0 and (keep_i or nm * nk == 1))
                                    or (o == 1 and (keep_f or nn * nk == 1))
                                    or (o == 2 and (keep_p or nm * nn == 1))
                                    or (o == 3 and nm * nn == 1)
                                )
                                used += (need[o] + 7) // 8 * (1 if single else rooms[x, 1])
                            if used > rooms[x, 0]:
                                fits = False
                        if not fits:
                            continue
                        for e in range(orders.shape[0]):
                            order = orders[e]
                            if keep_i + keep_f + keep_p == 3 and e > 0:
                                continue
                            fetch_f = nn * nk if keep_f else _fetches(order, trips, uses[1])
                            fetch_i = nm * nk if keep_i else _fetches(order, trips, uses[0])
                            visits = nm * nn if keep_p else _fetches(order, trips, uses[2])
                            traffic = 0
                            if not f_chip:
                                traffic += groups * outputs * channels * r * s * bits_f * (fetch_f // (nn * nk))
                            if not i_chip:
                                traffic += groups * sweep_i * (fetch_i // (nm * nk))
                            full_out = groups * outputs * images * p * q
                            if not o_chip:
                                traffic += full_out * bits_o
                            traffic += 2 * full_out * bits_p * (visits // (nm * nn) - 1)
                            out[found, 0], out[found, 1], out[found, 2], out[found, 3] = tg, ti, tp, tq
                            out[found, 4], out[found, 5], out[found, 6], out[found, 7] = tn, tc, e, keep
                            out[found, 8], out[found, 9] = ng * nm * nn * nk, traffic
                            found += 1
    return found


@search_kernel.warms_up_with
def _example():  # type: ignore[no-untyped-def]
    problem = Problem(Loops(1, 1, 4, 4, 8, 8, 4, 4), (), (8, 8, 32, 8))
    return _kernel_arguments(problem)


def _kernel_arguments(problem: Problem) -> tuple[NDArray[np.int64], ...]:
    loops = problem.loops
    m_list, orders = m_steps(loops, problem.unit[0]), _ORDER_TABLE
    if problem.step_rows:
        m_list, orders = np.array([[problem.step_rows, 1, 1]], np.int64), _ORDER_TABLE[:2]
    n_list = steps(loops.outputs, problem.unit[1])
    c_list = steps(loops.channels, max(1, problem.unit[2] // loops.window))
    g_list = steps(loops.groups, 1)
    rooms = np.array(
        [[r.free_bytes, r.slots, *(int(o in r.holds) for o in OPERANDS)] for r in problem.rooms], np.int64
    ).reshape(-1, 6)
    params = np.array([*problem.bits, *problem.on_chip, *problem.keep, MAX_PASSES], np.int64)
    numbers = np.array(
        [
            loops.groups,
            loops.images,
            loops.p,
            loops.q,
            loops.outputs,
            loops.channels,
            loops.h,
            loops.w,
            loops.r,
            loops.s,
            *loops.stride,
            *loops.dilation,
            loops.pad_top,
            loops.pad_left,
        ],
        np.int64,
    )
    size = len(m_list) * len(n_list) * len(c_list) * len(g_list) * 8 * len(ORDERS)
    out = np.empty((size, 10), np.int64)
    return numbers, m_list, n_list, c_list, g_list, orders, rooms, params, out


@lru_cache(maxsize=4096)
def candidates(problem: Problem, limit: int = 512) -> tuple[tuple[Mapping, ...], NDArray[np.int64]]:
    """The feasible mappings with the least DRAM traffic, best first, and that traffic in bits.

    Ties go to fewer passes, then to the order of the search.

    Raises
    ------
    ConfigError
        If no tile fits: says which buffer lacks how much for the smallest tile.
    """
    arguments = _kernel_arguments(problem)
    count = search_kernel(*arguments)
    rows = arguments[-1][:count]
    if not count:
        raise ConfigError(_why_not(problem))
    order = np.lexsort((np.arange(count), rows[:, _PASSES], rows[:, _TRAFFIC]))[:limit]
    best = rows[order]
    mappings = tuple(
        Mapping(*row[: _CHANNELS + 1], ORDERS[row[_ORDER]], *(bool(row[_KEEP] >> bit & 1) for bit in range(3)))
        for row in best.tolist()
    )
    return mappings, best[:, _TRAFFIC].copy()


def smallest_need(problem: Problem) -> dict[str, int]:
    """Bytes that the smallest tile of each operand takes, one slot."""
    loops = problem.loops
    m = (problem.step_rows, 1, 1) if problem.step_rows else m_steps(loops, problem.unit[0])[0]
    n, c = int(steps(loops.outputs, problem.unit[1])[0]), int(steps(loops.channels, 1)[0])
    rows = max(loops.span(0, i, int(m[1])) for i in range(0, loops.p, int(m[1])))
    cols = max(loops.span(1, i, int(m[2])) for i in range(0, loops.q, int(m[2])))
    pixels = int(m[0] * m[1] * m[2])
    elements = (int(m[0]) * c * rows * cols, n * c * loops.window, n * pixels, n * pixels)
    return {o: -(-e * b // 8) for o, e, b in zip(OPERANDS, elements, problem.bits, strict=True)}


def _why_not(problem: Problem) -> str:
    needs = smallest_need(problem)
    if problem.on_chip[0]:
        needs["ifmap"] = 0
    if problem.on_chip[1]:
        needs["ofmap"] = 0
    for room in problem.rooms:
        held = [o for o in room.holds if not (o == "ofmap" and "psum" in room.holds)]
        used = sum(needs[o] * room.slots for o in held)
        if used > room.free_bytes:
            parts = ", ".join(f"{o} {room.slots} x {human_bytes(needs[o])}" for o in held if needs[o])
            return (
                f"no tile fits buffer {room.name!r}: the smallest tile needs {used} bytes ({parts}), "
                f"but {room.free_bytes} bytes are available"
            )
    return f"no tiling with at most {MAX_PASSES} passes fits the buffers; enlarge them or pin a mapping"
