"""Patterns of nonzeros as bits: windows of a feature map, and how many places two patterns share.

A *line* is a row of uint64 words, lowest bit first.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np

from accelsim.base.kernels import kernel


def wrapping() -> AbstractContextManager[None]:
    """Around what counts bits: machine words wrap silently, numpy's scalars warn."""
    return np.errstate(over="ignore")


@kernel
def ones(word):  # type: ignore[no-untyped-def]
    """Set bits of a uint64.

    LLVM knows this sum in just this form and makes one instruction of it. Without JIT its product, which wraps, warns:
    callers say `wrapping()`.
    """
    a, b, c = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    word = word - ((word >> np.uint64(1)) & a)
    word = (word & b) + ((word >> np.uint64(2)) & b)
    word = (word + (word >> np.uint64(4))) & c
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def window_lines(pixels, place, channels, out):  # type: ignore[no-untyped-def]
    """Lines of the windows of a tile: taps one after another, each of `channels` bits.

    pixels: lines of the channels of each pixel (images, rows, columns, words), bits beyond `channels` 0.
    place: image0 images row0 rows col0 cols tap0 taps taps_x stride_y stride_x dilation_y dilation_x pad_y pad_x.
    out: zeros (images x rows x cols, words).
    """
    image0, images, row0, rows, col0, cols, tap0, taps, taps_x, sy, sx, dy, dx, py, px = place
    words = pixels.shape[3]
    m = 0
    for image in range(image0, image0 + images):
        for row in range(row0, row0 + rows):
            for col in range(col0, col0 + cols):
                for t in range(taps):
                    y = row * sy - py + (tap0 + t) // taps_x * dy
                    x = col * sx - px + (tap0 + t) % taps_x * dx
                    if 0 <= y < pixels.shape[1] and 0 <= x < pixels.shape[2]:
                        bit = t * channels
                        at, shift = bit >> 6, np.uint64(bit & 63)
                        for w in range(words):
                            word = pixels[image, y, x, w]
                            out[m, at + w] |= word << shift
                            if bit & 63 and at + w + 1 < out.shape[1]:
                                out[m, at + w + 1] |= word >> (np.uint64(64) - shift)
                m += 1


@window_lines.warms_up_with
def _windows():  # type: ignore[no-untyped-def]
    place = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0], np.int64)
    return np.ones((1, 1, 1, 1), np.uint64), place, 1, np.zeros((1, 1), np.uint64)


@kernel
def four(left, right, w):  # type: ignore[no-untyped-def]
    """Places that four words share, from word `w` on."""
    low = ones(left[w] & right[w]) + ones(left[w + 1] & right[w + 1])
    return low + ones(left[w + 2] & right[w + 2]) + ones(left[w + 3] & right[w + 3])


@kernel
def match_segments(left, right, words, width, out):  # type: ignore[no-untyped-def]
    """Searches for the places that each line of `left` shares with each line of `right`, segment by segment.

    A segment of `words` words costs max(1, ceil(shared / width)) cycles.
    out: zeros (lines of left or 1, lines of right, 3): cycles, segments that share nothing, places shared; with one
    row all lines of `left` are added up.
    """
    size = left.shape[1]
    # a table is much faster than a division; segments of any size but four words are long or rare
    price = np.zeros(257, np.int64)
    for count in range(257):
        price[count] = max(1, (count + width - 1) // width)
    for i in range(left.shape[0]):
        o = i if out.shape[0] > 1 else 0
        a = left[i]
        for j in range(right.shape[0]):
            b = right[j]
            cycles, empty, shared = 0, 0, 0
            done = 0
            if words == 4:
                done = size - size % 4
                for s in range(size // 4):
                    count = four(a, b, 4 * s)
                    shared += count
                    empty += count == 0
                    cycles += price[count]
            for first in range(done, size, words):
                last = min(first + words, size)
                count = 0
                for q in range((last - first) // 4):
                    count += four(a, b, first + 4 * q)
                for w in range(last - (last - first) % 4, last):
                    count += ones(a[w] & b[w])
                shared += count
                empty += count == 0
                cycles += max(1, (count + width - 1) // width)
            out[o, j, 0] += cycles
            out[o, j, 1] += empty
            out[o, j, 2] += shared


@match_segments.warms_up_with
def _match():  # type: ignore[no-untyped-def]
    line = np.ones((1, 1), np.uint64)
    return line, line, 1, 1, np.zeros((1, 1, 3), np.int64)


@kernel
def lane_windows(counts, jobs, grid, out):  # type: ignore[no-untyped-def]
    """Cycles of windows whose bricks are dealt to lanes in turn, and that last as long as the slowest lane.

    A brick costs max(1, nonzeros). counts: nonzeros (bricks, images, rows, columns). jobs: as `serial_kernels` says;
    their `factor` repeats every window. grid: stride_y stride_x dilation_y dilation_x pad_y pad_x lanes.
    out: for each job cycles, cycles of all lanes, of these the ones without a nonzero.
    """
    stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x, lanes = grid
    height, width = counts.shape[2], counts.shape[3]
    load = np.zeros(lanes, np.int64)
    for j in range(jobs.shape[0]):
        image0, images, y0, rows, x0, cols, ky0, kys, kx0, kxs, brick0, bricks, factor, _ = jobs[j]
        total, work, empty = 0, 0, 0
        for image in range(image0, image0 + images):
            for window in range(rows * cols):
                load[:] = 0
                lane = 0
                for ky in range(ky0, ky0 + kys):
                    y = (y0 + window // cols) * stride_y - pad_y + ky * dilation_y
                    for kx in range(kx0, kx0 + kxs):
                        x = (x0 + window % cols) * stride_x - pad_x + kx * dilation_x
                        inside = 0 <= y < height and 0 <= x < width
                        for b in range(brick0, brick0 + bricks):
                            count = np.int64(0)
                            if inside:
                                count = np.int64(counts[b, image, y, x])
                            load[lane] += max(np.int64(1), count)
                            empty += count == 0
                            lane += 1
                            if lane == lanes:
                                lane = 0
                worst = 0
                for lane in range(lanes):
                    worst = max(worst, load[lane])
                    work += load[lane]
                total += worst
        out[j, 0], out[j, 1], out[j, 2] = total * factor, work * factor, empty * factor


@lane_windows.warms_up_with
def _lanes():  # type: ignore[no-untyped-def]
    jobs = np.array([[0, 1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 1, 0]], np.int64)
    grid = np.array([1, 1, 1, 1, 0, 0, 2], np.int64)
    return np.ones((1, 1, 1, 2), np.uint16), jobs, grid, np.zeros((1, 3), np.int64)
