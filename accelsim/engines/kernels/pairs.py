"""What steps cost Laconic, whose lanes take a cycle for each pair of one bits of their two operands."""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.engines.kernels.serial import bit_length, count_ones, cut, seen_by, spread_out
from accelsim.engines.kernels.transpose import transpose

#: Of `transpose`: byte j of line i becomes byte i of row j
_BYTES = (
    np.uint64(32), np.uint64(0x00000000FFFFFFFF), np.uint64(16), np.uint64(0x0000FFFF0000FFFF), np.uint64(8),
    np.uint64(0x00FF00FF00FF00FF),
)  # fmt: skip


@kernel
def _merged(c0, c1, c2, c3, out):  # type: ignore[no-untyped-def]
    """out[i] = the largest of four."""
    for i in range(out.shape[0]):
        out[i] = max(max(c0[i], c1[i]), max(c2[i], c3[i]))


@kernel
def _largest_of_six(lines, first, second, out):  # type: ignore[no-untyped-def]
    """out[i] = the largest of four lines and of two others."""
    c0, c1, c2, c3 = lines[0], lines[1], lines[2], lines[3]
    for i in range(out.shape[0]):
        out[i] = max(max(max(c0[i], c1[i]), max(c2[i], c3[i])), max(first[i], second[i]))


@kernel
def _framed(inner, before, here, left, out):  # type: ignore[no-untyped-def]
    """Words of four bytes of the even words of `inner`, and two: from the pixel on that is `-left` before `here`."""
    up, down = np.uint64(-8 * left), np.uint64(63 + 8 * left)
    low, edge, one, half = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF), np.uint64(1), np.uint64(32)
    for f in range(out.shape[0]):
        pixels = (here[2 * f] << up) | ((before[2 * f] >> one) >> down)
        out[f] = (inner[2 * f] & low) | ((pixels & edge) << half)


@kernel
def _copied(row, line):  # type: ignore[no-untyped-def]
    for x in range(row.shape[0]):
        line[x] = row[x]


@kernel
def even_sets(job, grid, width):  # type: ignore[no-untyped-def]
    """Whether sets are as `largest_in_even_sets` takes them: a row is whole sets of 16 windows, and eight rows are
    alike; no window begins more than two pixels before or behind the first one of its set that lies inside."""
    stride_y, stride_x, dilation_x, columns, rows, cols = grid[0], grid[1], grid[3], grid[6], job[3], job[5]
    _, left, _, _ = seen_by(job, grid)
    reach = (job[9] - 1) * dilation_x
    whole = columns == 16 and cols == width and cols % 16 == 0 and rows % 8 == 0 and stride_y == 1 and stride_x == 1
    return whole and reach <= 2 and -2 <= left <= 0 <= left + reach


@kernel
def largest_in_even_sets(counts, down, high, left, dilation_x, room, lines, most):  # type: ignore[no-untyped-def]
    """Largest counts in even sets, for all taps of a row.

    What all taps see of a set lies inside of a row. Its largest in four bytes, and the two pixels at which windows of
    other taps begin, are a word. Rows that are `down` apart are looked at together: a byte of eight words is a word
    then, and the largest is found in vectors.

    counts: uint8 (rows, width), and 16 bytes before and behind. high: rows to look at, with those below. left: pixel
    of the first window at the first tap. room: uint64 (2, words of counts and two more), zeros at first; lines: uint64
    (8, sets of `high` rows and one more). most: uint8 (taps, 8 x sets of `high` rows): by the row of the first eight
    rows, then the set, then the eight rows.
    """
    size = counts.shape[0] - 32
    taps = most.shape[0]
    reach = (taps - 1) * dilation_x
    at, inner, words = 16 + left + reach, room[0], counts.view(np.uint64)
    _merged(
        counts[at : at + size], counts[at + 4 : at + 4 + size], counts[at + 8 : at + 8 + size],
        counts[at + 12 - reach : at + 12 - reach + size], inner.view(np.uint8)[:size],
    )  # fmt: skip
    framed = room[1, : size // 16 + 1]  # one more, for the pixel before its first
    _framed(inner, words[1:], words[2:], left, framed)
    sets = most.shape[1] // 8
    apart = down * (sets // high)
    transpose(
        framed, framed[apart:], framed[2 * apart :], framed[3 * apart :], framed[4 * apart :], framed[5 * apart :],
        framed[6 * apart :], framed[7 * apart :], _BYTES, lines, sets + 1,
    )  # fmt: skip
    each = sets // high
    for edge in range(2):
        begins, ends = lines[4 + edge], lines[6 + edge]
        _copied(begins[1:], ends)
        for row in range(high):
            if left + edge < 0:
                begins[row * each] = 0
            else:
                ends[row * each + each - 1] = 0
    octets = lines.view(np.uint8)
    for tap in range(taps):
        skip = tap * dilation_x
        first = 0 if reach < 1 else 4 if skip < 1 else 6
        second = 0 if reach < 2 else 5 if skip < 2 else 7
        _largest_of_six(octets, octets[first], octets[second], most[tap])


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
def lane_products(values, filter_ones, jobs, grid, bricks, out):  # type: ignore[no-untyped-def]
    """Cycles of steps that last as long as the lane with the most pairs of effectual bits, in any window and filter.

    values: unsigned (images, channels, rows, columns), C-contiguous. filter_ones: most set bits at each (set of
    filters, tap, channel of the group); a job's `factor` sets follow each other, from `table` on. grid: as far as
    columns as in `window_cycles`, then taps in a row of the window, channels of a group. out: (cycles, x columns).
    """
    stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x, columns, taps_x, span = grid
    height, width, size = values.shape[2], values.shape[3], values.itemsize
    counted = np.zeros(height * width * size, np.uint8)
    for j in range(jobs.shape[0]):
        image0, images, y0, rows, x0, cols, ky0, kys, kx0, kxs, brick0, count, factor, table = jobs[j]
        top, left, high, wide = seen_by(jobs[j], grid)
        y_from, y_to = max(0, -top), min(high, height - top)
        x_from, x_to = max(0, -left), min(wide, width - left)
        even = even_sets(jobs[j], grid, width)
        sets = -(-rows * cols // columns)
        short = rows * cols - (sets - 1) * columns
        aligned, taps, ones, twos, begin = cut(jobs[j], grid, high * wide)
        cells, below, down = begin.shape[0] - 1, dilation_y * (cols // columns), rows // 8
        if even:
            cells, below = 8 * (down + (kys - 1) * dilation_y) * (cols // columns), 8 * below
        over = np.zeros(32 + high * width if even else bit_length(min(columns, cols)) * high * wide, np.uint8)
        room = np.zeros((2, high * width // 8 + 2 if even else 0), np.uint64)
        lines = np.zeros((8, cells // 8 + 1 if even else 0), np.uint64)
        lanes = bricks[brick0, 1] - bricks[brick0, 0]
        most = np.zeros((lanes, taps, cells), np.uint8)
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
                        inside = over[16 + y_from * width : 16 + y_to * width]
                        if size == 1:
                            count_ones(octets, size, inside)
                        else:
                            count_ones(octets, size, counted)
                            _copied(counted[: inside.shape[0]], inside)
                        seen = down + (kys - 1) * dilation_y
                        largest_in_even_sets(over, down, seen, left, dilation_x, room, lines, most[lane])
                        continue
                    count_ones(octets, size, counted)
                    for y in range(y_from, y_to):
                        at = (y - y_from) * width + left
                        _copied(counted[at + x_from : at + x_to], over[y * wide + x_from :])
                    shape = stride_x, dilation_y, dilation_x, wide
                    largest_in_sets(over, high * wide, shape, kxs, ones, twos, begin, most[lane])
                for f in range(table, table + factor):
                    for tap in range(kys * kxs):
                        ky, kx = tap // kxs, tap % kxs
                        weights = filter_ones[f, (ky0 + ky) * taps_x + kx0 + kx]
                        start = ky * below if aligned else 0
                        for s in range(sets):
                            worst[s] = 1
                        for lane in range(lanes):
                            weight = np.uint16(weights[first % span + lane])
                            line = most[lane, kx if aligned else tap, start : start + sets]
                            if weight:
                                for s in range(sets):
                                    worst[s] = max(worst[s], np.uint16(line[s] * weight))
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
