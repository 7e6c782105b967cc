"""Row stationary: the search for m, n, e, p, q, r, t."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.dataflow.row_stationary import stacks_that_fit, window_groups
from accelsim.engines.common.tiling import cycles_at
from accelsim.engines.eyeriss.rs_mapping import RsMapping, RsProblem, input_rows, processing_cycles
from accelsim.mapping.problem import Loops

Ints = NDArray[np.int64]

EXACT = 8
"""Least candidates whose cycles are counted exactly after the estimate."""


def even_parts(extent: int, most: int, limit: int = 16) -> Ints:
    """Sizes ceil(extent / k) up to `most`, the largest `limit` of them."""
    most = max(1, min(extent, most))
    found = {most} if most < extent else {extent}
    k = ceil_div(extent, most)
    while len(found) < limit and k <= extent:
        found.add(ceil_div(extent, k))
        k += 1
    return np.array(sorted(found, reverse=True), np.int64)


_COLUMNS = ("n", "e", "p", "q", "r", "t", "m", "outer", "traffic", "cycles")


@lru_cache(maxsize=4096)
def search(problem: RsProblem, objective: str, bytes_per_cycle: Fraction) -> RsMapping:
    """The best mapping: by DRAM traffic and then cycles, or by cycles (the longer of array and DRAM) and then traffic.

    Exhaustive over even parts of every loop. Cycles are estimated, so those within 1/64 of the best count as equal;
    the first few are then counted exactly. Ties go to the order of the search.

    Raises
    ------
    ConfigError
        If not even one row of one filter fits the buffers: says what is missing.
    """
    rows = np.concatenate([part for part in _options(problem)] or [np.empty((0, len(_COLUMNS)), np.int64)])
    if not len(rows):
        raise ConfigError(_why_not(problem))
    traffic, cycles = rows[:, 8], rows[:, 9]
    moved = cycles_at(traffic, 8 * bytes_per_cycle)
    if objective == "traffic":
        order = np.lexsort((cycles, traffic))
        order = order[traffic[order] == traffic[order[0]]]
    else:
        total = np.maximum(moved, cycles)
        by_total = np.lexsort((traffic, total))
        near = total[by_total] <= total.min() + total.min() // 64
        order = by_total[near]
        order = np.concatenate([order[np.lexsort((cycles[order], traffic[order]))], by_total[~near]])
    order = order[: _exactly(problem)]
    best = [_mapping(problem, rows[i].tolist()) for i in order]
    exact = np.array([processing_cycles(problem, mapping) for mapping in best], np.int64)
    if objective != "traffic":
        exact = np.maximum(exact, moved[order])
    return best[int(np.argmin(exact))]


def _exactly(problem: RsProblem) -> int:
    """Candidates to be counted exactly: a few of a large layer, where estimates are good, many of a small one."""
    loops = problem.loops
    steps = loops.groups * loops.images * loops.p * loops.q * loops.channels * loops.window * loops.outputs
    return max(EXACT, min(16 * EXACT, 2 * 10**6 // steps))


def _mapping(problem: RsProblem, row: list[int]) -> RsMapping:
    n, e, p, q, r, t, m, outer = row[:8]
    loops = problem.loops
    return RsMapping(
        1, n, e, loops.q, p * t, q * r, problem.filter_rows(), loops.s, "nmk" if outer else "mkn",
        m_block=m, p=p, q=q, r=r, t=t,
    )  # fmt: skip


def _options(problem: RsProblem) -> list[NDArray[np.int64]]:
    """All feasible candidates, one array for each (q, r)."""
    loops, array = problem.loops, problem.array
    taps = problem.filter_rows()
    each = window_groups(1, loops.s, loops.q, loops.stride[1], loops.dilation[1])
    most_q = min(loops.channels, array.ifmap_spad // each, array.filter_spad // loops.s)
    images = np.array([problem.step_rows or loops.images], np.int64)
    if not problem.step_rows:
        images = even_parts(loops.images, loops.images, 8)
    found = []
    for q in even_parts(loops.channels, most_q, 12).tolist():
        most_p = min(array.psum_spad, array.filter_spad // (q * loops.s))
        ps = even_parts(loops.outputs, most_p, 12)
        for r in even_parts(ceil_div(loops.channels, q), array.rows // taps, 12).tolist():
            depth = taps * r
            es = even_parts(loops.p, array.cols * (array.rows // depth), 16)
            stacks = np.array([stacks_that_fit(array, depth, int(e)) for e in es], np.int64)
            most_t = int(stacks.max(initial=0))
            if not most_t:
                continue
            ts = _trips(loops.outputs, most_t)
            n, e, p, t, outer = (
                x.ravel() for x in np.meshgrid(images, np.arange(len(es)), ps, ts, [0, 1], indexing="ij")
            )
            fits = (t <= stacks[e]) & (t <= -(-loops.outputs // p))
            n, e, p, t, outer = (x[fits] for x in (n, es[e], p, t, outer))
            if len(n):
                found.append(_score(problem, n, e, p, q, r, t, outer))
    return found


def _trips(outputs: int, most: int) -> Ints:
    """Counts of stacks worth trying: all of a few, then the even parts and the most."""
    few = set(range(1, min(most, 14) + 1)) | {most} | {2**k for k in range(12) if 2**k <= most}
    few |= set(even_parts(outputs, most, 12).tolist())
    return np.array(sorted(few), np.int64)


def _score(problem: RsProblem, n: Ints, e: Ints, p: Ints, q: int, r: int, t: Ints, outer: Ints) -> Ints:
    """Candidates that fit the buffers, with traffic (bits) and estimated cycles; columns as `_COLUMNS`."""
    loops, array = problem.loops, problem.array
    taps, pt, qr = problem.filter_rows(), p * t, q * r
    ifmap = problem.ifmap_tile_bytes(n, e, qr)
    room = problem.psum_bytes - (ifmap * (problem.psum_bytes // max(1, problem.ifmap_bytes)) if problem.shared else 0)
    units = room * 8 // (problem.bits[2] * n * e * loops.q) // np.minimum(pt, loops.outputs)
    filters = -(-pt * qr * taps * loops.s * problem.bits[1] // 8)
    fits = (units > 0) & (ifmap <= problem.ifmap_bytes) & (filters <= problem.filter_bytes)
    n, e, p, t, outer, pt, units = (x[fits] for x in (n, e, p, t, outer, pt, units))
    blocks = -(-loops.outputs // pt)  # passes over filters
    m_blocks = -(-blocks // np.minimum(units, blocks))
    units = -(-blocks // m_blocks)
    c_blocks = ceil_div(loops.channels, qr) * ceil_div(loops.r, taps)
    strips = -(-loops.images // n) * -(-loops.p // e)
    alone_f = (c_blocks == 1) & (units == 1)  # one filter tile in a block of m
    alone_i = c_blocks == 1
    times_f = np.where(alone_f & ((outer == 1) | (m_blocks == 1)), 1, strips)
    times_i = np.where(alone_i & ((outer == 0) | (m_blocks == 1)), 1, np.where(strips * c_blocks == 1, 1, m_blocks))
    traffic = np.zeros(len(n), np.int64)
    if not problem.on_chip[2]:
        traffic += loops.filter_elements() * problem.bits[1] * times_f
    if not problem.on_chip[0]:
        traffic += loops.groups * loops.images * loops.channels * loops.w * _strip_rows(loops, e) * times_i * (
            problem.bits[0]
        )
    if not problem.on_chip[1]:
        traffic += loops.ofmap_elements() * problem.bits[3]
    reloads = np.where(alone_f & ((outer == 1) | (m_blocks == 1)), blocks, blocks * strips * c_blocks)
    load = taps * r * t * -(-p * q * loops.s // array.filter_words)
    window = -(-e * t * p // array.psum_words)
    group = -(-r * np.minimum(e * taps, (e - 1) * loops.stride[0] + (taps - 1) * loops.dilation[0] + 1)
              // array.ifmap_words)
    fresh = min(loops.stride[1], loops.s) * q
    # over all passes, of which the ragged ones have less to do: products, sums on their bus, ifmap words on theirs
    steps = loops.images * loops.q * loops.s * ceil_div(loops.channels, r) * -(-loops.outputs // t) * -(-loops.p // e)
    sums = loops.images * loops.q * loops.p * loops.outputs * c_blocks // array.psum_words
    brought = blocks * strips * n * loops.q * group * fresh * c_blocks
    first = np.maximum(0, loops.s * q * group + p - loops.s * q * p)
    passes = blocks * strips * c_blocks
    cycles = loops.groups * (
        reloads * load + np.maximum(np.maximum(steps, sums), brought) + passes * (first + window + taps * r)
    )
    full = np.full(len(n), 1, np.int64)
    m = np.minimum(units * pt, loops.outputs)
    return np.stack([n, e, p, full * q, full * r, t, m, outer, traffic, cycles], axis=1)


def _strip_rows(loops: Loops, e: Ints) -> Ints:
    """Input rows that all strips of `e` output rows fetch together, for each e."""
    sums = {int(x): sum(b - a for a, b in (input_rows(loops, row, min(int(x), loops.p - row), 0, loops.r)
                        for row in range(0, loops.p, int(x)))) for x in np.unique(e)}
    return np.array([sums[int(x)] for x in e], np.int64)


def _why_not(problem: RsProblem) -> str:
    loops = problem.loops
    n = problem.step_rows or 1
    ifmap, psum = int(problem.ifmap_tile_bytes(n, 1, 1)), int(problem.psum_tile_bytes(n, 1, 1))
    filters = ceil_div(problem.filter_rows() * loops.s * problem.bits[1], 8)
    if filters > problem.filter_bytes:
        return f"one filter of one channel takes {filters} bytes, but the filter's buffer has {problem.filter_bytes}"
    if problem.shared:
        need, room = ifmap * (problem.psum_bytes // max(1, problem.ifmap_bytes)) + psum, problem.psum_bytes
        what = f"one row of outputs needs {need} bytes (ifmap {ifmap} each slot, psums {psum})"
        return f"{what}, but the buffer has {room}, {need - room} too few"
    if ifmap > problem.ifmap_bytes:
        return f"one row of outputs needs {ifmap} bytes of ifmap, but its buffer has {problem.ifmap_bytes}"
    return f"one row of outputs needs {psum} bytes of psums, but their buffer has {problem.psum_bytes}"
