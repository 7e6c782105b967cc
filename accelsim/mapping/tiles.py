"""A mapping walked out: one row per pass, with the exact bytes that it fetches and writes back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.kernels import kernel
from accelsim.base.words import Table, Word, Words, part
from accelsim.mapping.problem import TILE_EXTENTS, Mapping, Problem
from accelsim.mapping.spans import rows_read, span

TILE_DTYPE = np.dtype(
    [
        ("groups", np.int64),
        ("m", np.int64),
        ("n", np.int64),
        ("k", np.int64),
        # 1: the first / the last visit of this (m, n) tile along k
        ("first_k", np.int64),
        ("last_k", np.int64),
        ("filter_bytes", np.int64),
        ("ifmap_bytes", np.int64),
        ("psum_in_bytes", np.int64),
        ("ofmap_bytes", np.int64),
        ("psum_out_bytes", np.int64),
        # origin of the tile: group, image, output row, output column, output channel, input channel
        ("group0", np.int64),
        ("image0", np.int64),
        ("row0", np.int64),
        ("col0", np.int64),
        ("output0", np.int64),
        ("channel0", np.int64),
        # extents of the output tile
        ("images", np.int64),
        ("rows", np.int64),
        ("cols", np.int64),
        # first tap of the window, r * S + s
        ("tap0", np.int64),
        # input rows and columns that are fetched: first and how many
        ("in_row0", np.int64),
        ("in_rows", np.int64),
        ("in_col0", np.int64),
        ("in_cols", np.int64),
        ("channels", np.int64),
    ]
)

TILE_FIELDS = len(TILE_DTYPE.names or ())


@part
def _fetched_span(
    first: Word, count: Word, size: Word, taps: Word, stride: Word, dilation: Word, pad: Word, keep: Word, tile: Word,
    skips: Word,
) -> tuple[Word, Word]:
    """(first, how many) of what is fetched; of a kept operand only what the tile before has not brought."""
    low = 0
    if keep and first > 0:
        _, low = span(first - tile, tile, size, taps, stride, dilation, pad)
    begin, end = span(first, count, size, taps, stride, dilation, pad)
    begin = max(begin, low)
    if skips:
        return begin, rows_read(first, count, size, taps, stride, dilation, pad, low)
    return begin, max(0, end - begin)


@part
def _walk(
    loops: Words, tile: Words, order: Words, keep: Words, bits: Words, on_chip: Words, work: Words, out: Table
) -> Word:
    """As `walk_kernel`."""
    groups, images, p, q, outputs, channels, h, w, r, s = loops[:10]
    tg, ti, tp, tq, tn, tc, tr, ts = tile
    n_i, n_p, n_q = -(-images // ti), -(-p // tp), -(-q // tq)
    taps_w = s // ts
    tap_tiles = (r // tr) * taps_w
    # trips of the loops m, n, k, then the index of each
    work[0], work[1], work[2] = n_i * n_p * n_q, -(-outputs // tn), -(-channels // tc) * tap_tiles
    row = 0
    for group in range(-(-groups // tg)):
        g = min(tg, groups - group * tg)
        held_i = -1
        held_f = -1
        held_o = -1
        for x in range(work[order[0]]):
            work[3 + order[0]] = x
            for y in range(work[order[1]]):
                work[3 + order[1]] = y
                for z in range(work[order[2]]):
                    work[3 + order[2]] = z
                    a, b, c = work[3:6]
                    image, rest = a // (n_p * n_q), a % (n_p * n_q)
                    pp, qq = rest // n_q, rest % n_q
                    cc, tap = c // tap_tiles, c % tap_tiles
                    tap_r, tap_s = tap // taps_w * tr, tap % taps_w * ts
                    count_i = min(ti, images - image * ti)
                    count_p = min(tp, p - pp * tp)
                    count_q = min(tq, q - qq * tq)
                    n = min(tn, outputs - b * tn)
                    ch = min(tc, channels - cc * tc)
                    m = count_i * count_p * count_q
                    out[row, 0], out[row, 1], out[row, 2], out[row, 3] = g, m, n, ch * tr * ts
                    out[row, 4] = 1 if c == 0 else 0
                    out[row, 5] = 1 if c == work[2] - 1 else 0
                    for column in range(6, 11):
                        out[row, column] = 0
                    for column in range(21, 25):
                        out[row, column] = 0
                    # a kept operand is fetched when its tile is seen first; others when the tile changes
                    key = b * work[2] + c
                    if (a == 0 if keep[1] else key != held_f) and not on_chip[2]:
                        out[row, 6] = (g * n * ch * tr * ts * bits[1] + 7) // 8
                    held_f = key
                    key = a * work[2] + c
                    if (b == 0 if keep[0] else key != held_i) and not on_chip[0]:
                        dil_h, dil_w = loops[12], loops[13]
                        pad_h, pad_w = loops[14] - tap_r * dil_h, loops[15] - tap_s * dil_w
                        low_h, rows = _fetched_span(pp * tp, count_p, h, tr, loops[10], dil_h, pad_h, keep[0], tp, 1)
                        low_w, cols = _fetched_span(qq * tq, count_q, w, ts, loops[11], dil_w, pad_w, keep[0], tq, 0)
                        out[row, 7] = (g * count_i * ch * rows * cols * bits[0] + 7) // 8
                        out[row, 21], out[row, 22], out[row, 23], out[row, 24] = low_h, rows, low_w, cols
                    held_i = key
                    key = a * work[1] + b
                    if key != held_o and c > 0 and not keep[2]:
                        out[row, 8] = (g * m * n * bits[2] + 7) // 8
                    if c == work[2] - 1 and not on_chip[1]:
                        out[row, 9] = (g * m * n * bits[3] + 7) // 8
                    if key != held_o and held_o >= 0 and out[row - 1, 5] == 0 and not keep[2]:
                        # the sums of the pass before leave unfinished
                        out[row - 1, 10] = (out[row - 1, 1] * g * out[row - 1, 2] * bits[2] + 7) // 8
                    held_o = key
                    out[row, 11], out[row, 12], out[row, 13] = group * tg, image * ti, pp * tp
                    out[row, 14], out[row, 15], out[row, 16] = qq * tq, b * tn, cc * tc
                    out[row, 17], out[row, 18], out[row, 19] = count_i, count_p, count_q
                    out[row, 20], out[row, 25] = tap_r * s + tap_s, ch
                    row += 1
    return row


@kernel(_nrt=False)
def walk_kernel(
    loops: Words, tile: Words, order: Words, keep: Words, bits: Words, on_chip: Words, work: Words, out: Table
) -> Word:
    """Fill `out` (int64 rows in the order of TILE_DTYPE) by walking the loops; returns the number of rows.

    loops as in `search_kernel`; tile: groups images rows cols outputs channels taps_r taps_s; keep: ifmap
    filter psum; work: scratch, six words.
    """
    return _walk(loops, tile, order, keep, bits, on_chip, work, out)


@walk_kernel.warms_up_with
def _example():  # type: ignore[no-untyped-def]
    ones = np.ones(16, np.int64)
    flags = np.zeros(3, np.int64)
    out = np.zeros((1, TILE_FIELDS), np.int64)
    return ones, np.ones(8, np.int64), np.arange(3), flags, np.full(4, 8, np.int64), flags, np.zeros(6, np.int64), out


def walk(problem: Problem, mapping: Mapping) -> NDArray[Any]:
    """All passes of `mapping`, in order: a structured array of TILE_DTYPE."""
    loops = problem.loops
    tile = np.array([getattr(mapping, name) for name in TILE_EXTENTS], np.int64)
    extents = (loops.groups, loops.images, loops.p, loops.q, loops.outputs, loops.channels, loops.r, loops.s)
    count = int(np.prod(-(-np.array(extents, np.int64) // tile)))
    out = np.empty((count, TILE_FIELDS), np.int64)
    order = np.array(["mnk".index(c) for c in mapping.order], np.int64)
    keep = np.array([mapping.keep_ifmap, mapping.keep_filter, mapping.keep_psum], np.int64)
    flags = np.array(problem.on_chip, np.int64)
    work = np.zeros(6, np.int64)
    walk_kernel(loops.numbers(), tile, order, keep, np.array(problem.bits, np.int64), flags, work, out)
    return out.view(TILE_DTYPE)[:, 0]
