"""What steps cost Laconic, whose lanes take a cycle for each pair of one bits of their two operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.base.vectors import SIXTEENS, largest_of_sixteens
from accelsim.engines.kernels.serial import bit_length, count_ones, cut, seen_by, spread_out

_CALL = 16 * SIXTEENS  # windows of one call of `largest_of_sixteens`
_MARGIN = 16  # bytes before and behind the counts of a plane


@kernel
def read_in_place(job, grid, width):  # type: ignore[no-untyped-def]
    """Whether windows beside each other see pixels beside each other, over rows' ends, too, and none sees further than
    `_MARGIN` beside its row."""
    stride_y, stride_x, dilation_x = grid[0], grid[1], grid[3]
    _, left, _, _ = seen_by(job, grid)
    dense = job[5] == width and stride_y == 1 and stride_x == 1
    return dense and -_MARGIN <= left and left + (job[9] - 1) * dilation_x <= _MARGIN


@kernel
def kept_windows(cols, left, dilation_x, begin, end, kept):  # type: ignore[no-untyped-def]
    """255 for windows from `begin` on, before `end`, that see a pixel of their row, else 0; `left` at the first tap.

    kept: uint8 (taps of a row, windows).
    """
    for tap in range(kept.shape[0]):
        first = left + tap * dilation_x
        low, high = max(0, -first), min(cols, cols - first)
        line, x = kept[tap], begin % cols
        for i in range(line.shape[0]):
            line[i] = 255 if low <= x < high and begin + i < end else 0
            x = x + 1 if x + 1 < cols else 0


@kernel
def lay_windows(counted, job, grid, y_from, y_to, width, lines):  # type: ignore[no-untyped-def]
    """What each window of a row sees of a plane, for each tap of the row: windows of all rows without gaps.

    counted: rows y_from to y_to of those that the windows see. lines: uint8 (taps of a row, or of all rows where these
    are apart; windows), whose padding is not written.
    """
    stride_y, stride_x, dilation_y, dilation_x, cols, kxs = grid[0], grid[1], grid[2], grid[3], job[5], job[9]
    _, left, high, _ = seen_by(job, grid)
    rows = high if stride_y == 1 else job[3]
    for tap in range(lines.shape[0]):
        first = left + tap % kxs * dilation_x
        low = max(0, -(first // stride_x))
        count = min(cols, (width - 1 - first) // stride_x + 1) - low
        line = lines[tap]
        for y in range(rows):
            seen = y * stride_y + tap // kxs * dilation_y
            if y_from <= seen < y_to:
                to, at = np.uint64(y * cols + low), np.uint64((seen - y_from) * width + first + low * stride_x)
                if stride_x == 1:
                    for x in range(np.uint64(max(0, count))):
                        line[to + x] = counted[at + x]
                elif stride_x == 2:
                    for x in range(np.uint64(max(0, count))):
                        line[to + x] = counted[at + np.uint64(2) * x]
                else:
                    for x in range(np.uint64(max(0, count))):
                        line[to + x] = counted[at + np.uint64(stride_x) * x]


@kernel
def largest_in_sixteens(seen, at, kept, last, line):  # type: ignore[no-untyped-def]
    """Largest of each 16 values from `at` on. kept: masks of all but the last call, again and again; last: its own."""
    place = 0
    for start in range(0, line.shape[0] - SIXTEENS, SIXTEENS):
        largest_of_sixteens(seen, at + 16 * start, kept, place, line, start)
        place = place + _CALL if place + _CALL < kept.shape[0] else 0
    start = line.shape[0] - SIXTEENS
    largest_of_sixteens(seen, at + 16 * start, last, 0, line, start)


@kernel
def _copied(row, line):  # type: ignore[no-untyped-def]
    for x in range(row.shape[0]):
        line[x] = row[x]


@kernel
def largest_in_sets(over, plane, grid, kxs, ones, twos, begin, most):  # type: ignore[no-untyped-def]
    """Largest counts in sets of windows as `stretches` cuts them, at all taps.

    over: level 0 of `spread_out`, and room for the others. grid: stride across, dilations, pixels of a row. most:
    uint8 (taps, sets).
    """
    stride_x, dilation_y, dilation_x, wide = grid
    spread_out(over, plane, stride_x)
    for tap in range(most.shape[0]):
        line, seen = most[tap], over[tap // kxs * dilation_y * wide + tap % kxs * dilation_x :]
        for s in range(line.shape[0]):
            highest = np.uint8(0)
            for i in range(begin[s], begin[s + 1]):
                highest = max(highest, seen[ones[i]], seen[twos[i]])
            line[s] = highest


@kernel
def _longest(lines, weights, worst):  # type: ignore[no-untyped-def]
    """worst[s] = the largest product of a lane's largest count and its weight, at least 1; four lanes at a time."""
    lanes, sets = lines.shape[0], worst.shape[0]
    for s in range(sets):
        worst[s] = 1
    for lane in range(0, lanes - 3, 4):
        l0, l1, l2, l3 = lines[lane], lines[lane + 1], lines[lane + 2], lines[lane + 3]
        w0, w1, w2, w3 = weights[lane], weights[lane + 1], weights[lane + 2], weights[lane + 3]
        for s in range(sets):
            low = max(np.uint16(l0[s] * w0), np.uint16(l1[s] * w1))
            worst[s] = max(worst[s], max(low, max(np.uint16(l2[s] * w2), np.uint16(l3[s] * w3))))
    for lane in range(lanes // 4 * 4, lanes):
        line, weight = lines[lane], weights[lane]
        for s in range(sets):
            worst[s] = max(worst[s], np.uint16(line[s] * weight))


@kernel
def _steps(most, start, sets, job, grid, filter_ones, first, worst):  # type: ignore[no-untyped-def]
    """Cycles, and cycles x windows, of all sets of filters and taps of a brick. most: (taps, lanes, sets); start: first
    set at each tap."""
    columns, taps_x, span = grid[6], grid[7], grid[8]
    _, _, _, rows, _, cols, ky0, kys, kx0, kxs, _, _, factor, table = job
    lanes = most.shape[1]
    short = rows * cols - (sets - 1) * columns
    weights = np.zeros(lanes, np.uint16)
    total = np.int64(0)
    held = np.int64(0)
    for f in range(table, table + factor):
        for tap in range(kys * kxs):
            ones_of = filter_ones[f, (ky0 + tap // kxs) * taps_x + kx0 + tap % kxs]
            for lane in range(lanes):
                weights[lane] = ones_of[first % span + lane]
            _longest(most[tap % most.shape[0], :, start[tap] : start[tap] + sets], weights, worst)
            each = np.int64(0)
            for s in range(sets):
                each += worst[s]
            total += each
            held += (each - worst[sets - 1]) * columns + worst[sets - 1] * short
    return total, held


@kernel
def _in_sixteens(values, filter_ones, job, grid, bricks):  # type: ignore[no-untyped-def]
    """A job whose sets are 16 windows: (cycles, x columns)."""
    dilation_y, dilation_x = grid[2], grid[3]
    image0, images, _, rows, _, cols, _, kys, _, kxs, brick0, count, _, _ = job
    height, width, size = values.shape[2], values.shape[3], values.itemsize
    top, left, high, _ = seen_by(job, grid)
    y_from, y_to = max(0, -top), min(high, height - top)
    in_place, below, shared = read_in_place(job, grid, width), dilation_y * cols, grid[0] == 1
    alike = shared and cols % 16 == 0  # what a set sees at a tap, another one sees at the taps below
    windows = high * cols if alike else rows * cols
    cells = -(-windows // _CALL) * SIXTEENS
    taps = kxs if alike else kys * kxs
    start = np.zeros(kys * kxs, np.int64)
    if alike:
        for tap in range(kys * kxs):
            start[tap] = tap // kxs * (below // 16)
    period = cols if in_place else _CALL  # windows after which rows and calls begin together
    while period % _CALL and period < 16 * cells:
        period *= 2
    period = -(-min(period, 16 * cells) // _CALL) * _CALL
    kept, last = np.zeros((kxs, period), np.uint8), np.zeros((kxs, _CALL), np.uint8)
    reach, step = (left, dilation_x) if in_place else (0, 0)
    kept_windows(cols, reach, step, 0, windows, kept)
    kept_windows(cols, reach, step, 16 * cells - _CALL, windows, last)
    each = 16 * cells + (0 if alike or not shared else (kys - 1) * below)  # windows of a line, with those below
    lines = np.zeros((1 if in_place else kxs if shared else kys * kxs, each + 2 * _MARGIN), np.uint8)
    counted = np.zeros(height * width * size, np.uint8)
    sets = -(-rows * cols // 16)
    worst = np.zeros(sets, np.uint16)
    most = np.zeros((taps, bricks[brick0, 1] - bricks[brick0, 0], cells), np.uint8)
    total = np.int64(0)
    held = np.int64(0)
    for image in range(image0, image0 + images):
        for b in range(brick0, brick0 + count):
            first, lanes = bricks[b, 0], bricks[b, 1] - bricks[b, 0]
            for lane in range(lanes):
                octets = values[image, first + lane].reshape(-1).view(np.uint8)
                octets = octets[(top + y_from) * width * size : (top + y_to) * width * size]
                inside = lines[0, _MARGIN + y_from * width : _MARGIN + y_to * width] if in_place else counted
                count_ones(octets, size, inside if size == 1 else counted)
                if in_place and size == 2:
                    _copied(counted[: inside.shape[0]], inside)
                if not in_place:
                    lay_windows(counted, job, grid, y_from, y_to, width, lines[:, _MARGIN:])
                for tap in range(taps):
                    ky, kx = tap // kxs, tap % kxs
                    line = lines[0 if in_place else kx if shared else tap]
                    at = _MARGIN + (ky * below if shared else 0) + (left + kx * dilation_x if in_place else 0)
                    largest_in_sixteens(line, at, kept[kx], last[kx], most[tap, lane])
            found = _steps(most[:, :lanes], start, sets, job, grid, filter_ones, first, worst)
            total += found[0]
            held += found[1]
    return total, held


@kernel
def _in_stretches(values, filter_ones, job, grid, bricks):  # type: ignore[no-untyped-def]
    """A job whose sets are of any size: (cycles, x columns)."""
    stride_x, dilation_y, dilation_x, columns = grid[1], grid[2], grid[3], grid[6]
    image0, images, _, rows, _, cols, _, kys, _, kxs, brick0, count, _, _ = job
    height, width, size = values.shape[2], values.shape[3], values.itemsize
    top, left, high, wide = seen_by(job, grid)
    y_from, y_to = max(0, -top), min(high, height - top)
    x_from, x_to = max(0, -left), min(wide, width - left)
    aligned, taps, ones, twos, begin = cut(job, grid, high * wide)
    start = np.zeros(kys * kxs, np.int64)
    if aligned:
        for tap in range(kys * kxs):
            start[tap] = tap // kxs * dilation_y * (cols // columns)
    counted = np.zeros(height * width * size, np.uint8)
    over = np.zeros(bit_length(min(columns, cols)) * high * wide, np.uint8)
    sets = -(-rows * cols // columns)
    worst = np.zeros(sets, np.uint16)
    most = np.zeros((taps, bricks[brick0, 1] - bricks[brick0, 0], begin.shape[0] - 1), np.uint8)
    total = np.int64(0)
    held = np.int64(0)
    for image in range(image0, image0 + images):
        for b in range(brick0, brick0 + count):
            first, lanes = bricks[b, 0], bricks[b, 1] - bricks[b, 0]
            for lane in range(lanes):
                octets = values[image, first + lane].reshape(-1).view(np.uint8)
                count_ones(octets[(top + y_from) * width * size : (top + y_to) * width * size], size, counted)
                for y in range(y_from, y_to):
                    at = (y - y_from) * width + left
                    _copied(counted[at + x_from : at + x_to], over[y * wide + x_from :])
                shape = stride_x, dilation_y, dilation_x, wide
                largest_in_sets(over, high * wide, shape, kxs, ones, twos, begin, most[:, lane])
            found = _steps(most[:, :lanes], start, sets, job, grid, filter_ones, first, worst)
            total += found[0]
            held += found[1]
    return total, held


@kernel
def _all_in_sixteens(values, filter_ones, jobs, grid, bricks, out):  # type: ignore[no-untyped-def]
    for j in range(jobs.shape[0]):
        out[j, 0], out[j, 1] = _in_sixteens(values, filter_ones, jobs[j], grid, bricks)


@kernel
def _all_in_stretches(values, filter_ones, jobs, grid, bricks, out):  # type: ignore[no-untyped-def]
    for j in range(jobs.shape[0]):
        out[j, 0], out[j, 1] = _in_stretches(values, filter_ones, jobs[j], grid, bricks)


def lane_products(values: Any, filter_ones: Any, jobs: Any, grid: Any, bricks: Any, out: Any) -> None:
    """Cycles of steps that last as long as the lane with the most pairs of effectual bits, in any window and filter.

    values: unsigned (images, channels, rows, columns), C-contiguous. filter_ones: most set bits at each (set of
    filters, tap, channel of the group); a job's `factor` sets follow each other, from `table` on. grid: as far as
    columns as in `window_cycles`, then taps in a row of the window, channels of a group. out: (cycles, x columns).
    """
    count = _all_in_sixteens if grid[6] == 16 else _all_in_stretches
    count(values, filter_ones, jobs, grid, bricks, out)


@_all_in_sixteens.warms_up_with
@_all_in_stretches.warms_up_with
def _lanes():  # type: ignore[no-untyped-def]
    jobs = np.array([[0, 1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 1, 0]], np.int64)
    grid = np.array([1, 1, 1, 1, 0, 0, 16, 1, 2], np.int64)
    values, bricks = np.ones((1, 2, 1, 2), np.uint8), np.array([[0, 2]], np.int64)
    return values, np.ones((1, 1, 2), np.uint8), jobs, grid, bricks, np.zeros((1, 2), np.int64)
