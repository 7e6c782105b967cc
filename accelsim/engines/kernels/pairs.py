"""What steps cost Laconic, whose lanes take a cycle for each pair of one bits of their two operands."""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.base.vectors import SIXTEENS, largest_of_sixteens
from accelsim.engines.kernels.serial import bit_length, count_ones, cut, seen_by, spread_out

_MARGIN = 16  # bytes before and behind the counts of a plane


@kernel
def even_sets(job, grid, width):  # type: ignore[no-untyped-def]
    """Whether a row is whole sets of 16 windows, and all taps see at most so many pixels beside it."""
    stride_y, stride_x, dilation_x, columns, cols = grid[0], grid[1], grid[3], grid[6], job[5]
    _, left, _, _ = seen_by(job, grid)
    whole = columns == 16 and cols == width and cols % 16 == 0 and stride_y == 1 and stride_x == 1
    return whole and -_MARGIN <= left and left + (job[9] - 1) * dilation_x <= _MARGIN


@kernel
def inside_rows(width, left, dilation_x, kept):  # type: ignore[no-untyped-def]
    """255 for pixels that lie in the row whose windows see them, else 0; from `left` on at the first tap.

    kept: uint8 (taps, whole rows and whole calls of `largest_of_sixteens`).
    """
    kept[:] = 255
    for tap in range(kept.shape[0]):
        first = left + tap * dilation_x
        for start in range(0, kept.shape[1], width):
            for x in range(start, start - first):
                kept[tap, x] = 0
            for x in range(start + width - max(0, first), start + width):
                kept[tap, x] = 0


@kernel
def largest_in_even_sets(counts, kept, left, dilation_x, most):  # type: ignore[no-untyped-def]
    """Largest counts in even sets, for all taps of a row.

    counts: uint8, rows without gaps, and `_MARGIN` bytes before and behind. kept: of `inside_rows`. left: pixel of the
    first window at the first tap. most: uint8 (taps, whole calls of `largest_of_sixteens`).
    """
    for tap in range(most.shape[0]):
        line, masks, at, place = most[tap], kept[tap], _MARGIN + left + tap * dilation_x, 0
        for start in range(0, line.shape[0], SIXTEENS):
            largest_of_sixteens(counts, at + 16 * start, masks, place, line, start)
            place = place + 16 * SIXTEENS if place + 16 * SIXTEENS < masks.shape[0] else 0


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
def _copied(row, line):  # type: ignore[no-untyped-def]
    for x in range(row.shape[0]):
        line[x] = row[x]


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
def lane_products(values, filter_ones, jobs, grid, bricks, out):  # type: ignore[no-untyped-def]
    """Cycles of steps that last as long as the lane with the most pairs of effectual bits, in any window and filter.

    values: unsigned (images, channels, rows, columns), C-contiguous. filter_ones: most set bits at each (set of
    filters, tap, channel of the group); a job's `factor` sets follow each other, from `table` on. grid: as far as
    columns as in `window_cycles`, then taps in a row of the window, channels of a group. out: (cycles, x columns).
    """
    stride_x, dilation_y, dilation_x, columns, taps_x, span = grid[1], grid[2], grid[3], grid[6], grid[7], grid[8]
    height, width, size = values.shape[2], values.shape[3], values.itemsize
    counted = np.zeros(height * width * size, np.uint8)
    weights = np.zeros(filter_ones.shape[2], np.uint16)
    for j in range(jobs.shape[0]):
        image0, images, _, rows, _, cols, ky0, kys, kx0, kxs, brick0, count, factor, table = jobs[j]
        top, left, high, wide = seen_by(jobs[j], grid)
        y_from, y_to = max(0, -top), min(high, height - top)
        x_from, x_to = max(0, -left), min(wide, width - left)
        even = even_sets(jobs[j], grid, width)
        sets = -(-rows * cols // columns)
        short = rows * cols - (sets - 1) * columns
        if even:
            aligned, taps, cells = True, kxs, -(-high * cols // (16 * SIXTEENS)) * SIXTEENS
            over = np.zeros(16 * cells + 2 * _MARGIN, np.uint8)
            whole = width  # pixels after which rows and calls begin together
            while whole % (16 * SIXTEENS):
                whole *= 2
            kept = np.zeros((kxs, whole), np.uint8)
            inside_rows(width, left, dilation_x, kept)
            ones = twos = begin = np.zeros(0, np.int64)
        else:
            aligned, taps, ones, twos, begin = cut(jobs[j], grid, high * wide)
            cells, kept = begin.shape[0] - 1, np.zeros((0, 0), np.uint8)
            over = np.zeros(bit_length(min(columns, cols)) * high * wide, np.uint8)
        lanes = bricks[brick0, 1] - bricks[brick0, 0]
        most = np.zeros((taps, lanes, cells), np.uint8)
        worst = np.zeros(sets, np.uint16)
        total = np.int64(0)
        held = np.int64(0)
        for image in range(image0, image0 + images):
            for b in range(brick0, brick0 + count):
                first, lanes = bricks[b, 0], bricks[b, 1] - bricks[b, 0]
                for lane in range(lanes):
                    octets = values[image, first + lane].reshape(-1).view(np.uint8)
                    octets = octets[(top + y_from) * width * size : (top + y_to) * width * size]
                    if even:
                        inside = over[_MARGIN + y_from * width : _MARGIN + y_to * width]
                        if size == 1:
                            count_ones(octets, size, inside)
                        else:
                            count_ones(octets, size, counted)
                            _copied(counted[: inside.shape[0]], inside)
                        largest_in_even_sets(over, kept, left, dilation_x, most[:, lane])
                        continue
                    count_ones(octets, size, counted)
                    for y in range(y_from, y_to):
                        at = (y - y_from) * width + left
                        _copied(counted[at + x_from : at + x_to], over[y * wide + x_from :])
                    shape = stride_x, dilation_y, dilation_x, wide
                    largest_in_sets(over, high * wide, shape, kxs, ones, twos, begin, most[:, lane])
                for f in range(table, table + factor):
                    for tap in range(kys * kxs):
                        ky, kx = tap // kxs, tap % kxs
                        ones_of = filter_ones[f, (ky0 + ky) * taps_x + kx0 + kx]
                        for lane in range(lanes):
                            weights[lane] = ones_of[first % span + lane]
                        start = ky * dilation_y * (cols // columns) if aligned else 0
                        _longest(most[kx if aligned else tap, :lanes, start : start + sets], weights, worst)
                        each = np.int64(0)
                        for s in range(sets):
                            each += worst[s]
                        total += each
                        held += (each - worst[sets - 1]) * columns + worst[sets - 1] * short
        out[j, 0], out[j, 1] = total, held


@lane_products.warms_up_with
def _lanes():  # type: ignore[no-untyped-def]
    jobs = np.array([[0, 1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 1, 0]], np.int64)
    grid = np.array([1, 1, 1, 1, 0, 0, 2, 1, 2], np.int64)
    values, bricks = np.ones((1, 2, 1, 2), np.uint8), np.array([[0, 2]], np.int64)
    return values, np.ones((1, 1, 2), np.uint8), jobs, grid, bricks, np.zeros((1, 2), np.int64)
