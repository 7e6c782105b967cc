"""Kernels of the bit-serial engines: what a brick of operands costs, and how steps follow each other.

A *brick* is what the lanes of a unit take at once: consecutive channels of one pixel. A *step* is one brick at
one tap of the window, in all columns (windows) at once. Jobs are rows of int64, one for each tile and group:
image0 images y0 rows x0 cols tap_y taps_y tap_x taps_x brick0 bricks factor table.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel

JOB_FIELDS = 14


@kernel
def bit_length(value):  # type: ignore[no-untyped-def]
    """Position of the highest set bit, from 1; 0 for 0."""
    count = 0
    while value > 0:
        value >>= 1
        count += 1
    return count


@kernel
def lay_jobs(tiles, layer):  # type: ignore[no-untyped-def]
    """Jobs of all tiles, the tile of each, and the bricks that they name as (first, end) channel.

    tiles: rows in the order of TILE_DTYPE. layer: convolution or not, all groups in one job, depthwise, pixels of a
    block, channels of a group (blocks counted), taps in a row, taps of blocks down and across (0: no blocks), filters
    in a step, lanes.
    """
    conv, single, depthwise, block, span, taps_s, block_r, block_s, filters, lanes = layer
    count = tiles.shape[0]
    if not single:
        count = tiles[:, 0].sum()
    jobs, tile = np.ones((count, JOB_FIELDS), np.int64), np.empty(count, np.int64)
    j = 0
    for t in range(tiles.shape[0]):
        groups, n, k, group0, channels = tiles[t, 0], tiles[t, 2], tiles[t, 3], tiles[t, 11], tiles[t, 25]
        taps = k // channels
        wide = taps_s if taps >= taps_s else taps
        for group in range(group0, group0 + (1 if single else groups)):
            job = jobs[j]
            tile[j] = t
            if conv:
                job[0], job[1], job[2], job[3] = tiles[t, 12], tiles[t, 17], tiles[t, 13], tiles[t, 18]
                job[4], job[5] = tiles[t, 14], tiles[t, 19]
                job[6], job[7] = tiles[t, 20] // taps_s, taps // wide
                job[8], job[9] = tiles[t, 20] % taps_s, wide
                if block_r:
                    job[6], job[7], job[8], job[9] = 0, block_r, 0, block_s
                job[10], job[11] = tiles[t, 16] * block + group * span, channels * block
                if depthwise:
                    job[10], job[11] = group, groups
            else:
                job[0], job[4], job[5] = group, tiles[t, 12], tiles[t, 17]
                job[2], job[6], job[8] = 0, 0, 0
                job[10], job[11] = tiles[t, 16], channels
            job[12], job[13] = -(-n // filters), -1
            j += 1
    return jobs, tile, lay_bricks(jobs, lanes)


@kernel
def lay_bricks(jobs, lanes):  # type: ignore[no-untyped-def]
    """Cut the jobs' channels into bricks, the same channels once: returns (first, end) of each.

    `brick0` and `bricks` are first channel and channels before, and what they are called after.
    """
    first, size = jobs[:, 10].copy(), jobs[:, 11].copy()
    known = np.full((first.max() + 1, 2), -1, np.int64)  # of each channel: how many from it on, their first brick
    count = 0
    for j in range(jobs.shape[0]):
        at = known[first[j]]
        jobs[j, 11] = -(-size[j] // lanes)
        if at[0] != size[j]:
            at[0], at[1] = size[j], count
            count += jobs[j, 11]
        jobs[j, 10] = at[1]
    bricks = np.empty((count, 2), np.int64)
    for j in range(jobs.shape[0]):
        for b in range(jobs[j, 11]):
            low = b * lanes
            bricks[jobs[j, 10] + b, 0] = first[j] + low
            bricks[jobs[j, 10] + b, 1] = first[j] + min(low + lanes, size[j])
    return bricks


@lay_jobs.warms_up_with
def _jobs():  # type: ignore[no-untyped-def]
    return np.ones((1, 26), np.int64), np.ones(10, np.int64)


@kernel
def sum_up(found, jobs, tile, tiles, filters, cycles):  # type: ignore[no-untyped-def]
    """Cycles of tiles from those of their jobs, and two sums over all jobs of cycles x units that hold a filter.

    found: of each job cycles, and cycles x windows of two kinds; of the sets of filters of a tile each counts as their
    mean. tiles: rows in the order of TILE_DTYPE. filters: in a step.
    """
    first = 0
    second = 0
    for j in range(jobs.shape[0]):
        n = tiles[tile[j], 2]
        sets = -(-n // filters)
        cycles[tile[j]] += found[j, 0]
        first += found[j, 1] * n // sets
        second += found[j, 2] * n // sets
    return first, second


@sum_up.warms_up_with
def _sums():  # type: ignore[no-untyped-def]
    tiles, jobs, none = np.ones((1, 26), np.int64), np.ones((1, JOB_FIELDS), np.int64), np.zeros(1, np.int64)
    return np.zeros((1, 3), np.int64), jobs, none, tiles, 1, none


@kernel
def brick_table(values, bricks, table, spread, out):  # type: ignore[no-untyped-def]
    """What each brick costs by the bits that any of its values has: table[or of all].

    values: unsigned (images, channels, pixels). bricks: (first, end) channel of each. spread: values are two's
    complement, and each is replaced by the places where neighbouring bits differ (v xor 2 v), whose highest is one
    above the highest bit that is not the sign. out: (bricks, images, pixels).
    """
    size = values.shape[2]
    chunk = 8192
    every = np.zeros(chunk, values.dtype)
    for b in range(bricks.shape[0]):
        first, end = bricks[b]
        for n in range(values.shape[0]):
            for start in range(0, size, chunk):
                count = min(chunk, size - start)
                every[:count] = 0
                for c in range(first, end):
                    row = values[n, c, start : start + count]
                    if spread:
                        for i in range(count):
                            every[i] |= row[i] ^ (row[i] << 1)
                    else:
                        for i in range(count):
                            every[i] |= row[i]
                costs = out[b, n, start : start + count]
                for i in range(count):
                    costs[i] = table[every[i]]


@brick_table.warms_up_with
def _bricks():  # type: ignore[no-untyped-def]
    values, table = np.array([[[1, 2], [3, 0]]], np.uint8), np.zeros(256, np.uint8)
    return values, np.array([[0, 2]], np.int64), table, 0, np.zeros((1, 1, 2), np.uint8)


@kernel
def stretches(rows, cols, columns, stride_y, stride_x, wide, plane, ones, twos, begin):  # type: ignore[no-untyped-def]
    """Cut each set of windows into stretches of one row.

    The largest value of a stretch is that of two, of a power of two windows each, that cover it: their places in
    `spread_out`'s levels go to ones and twos. begin: first stretch of each set, and the end.
    """
    found = 0
    for s in range(begin.shape[0] - 1):
        begin[s] = found
        window, stop = s * columns, min((s + 1) * columns, rows * cols)
        while window < stop:
            y, x = window // cols, window % cols
            count = min(stop - window, cols - x)
            level = bit_length(count) - 1
            ones[found] = level * plane + y * stride_y * wide + x * stride_x
            twos[found] = ones[found] + (count - (1 << level)) * stride_x
            found += 1
            window += count
    begin[begin.shape[0] - 1] = found


@kernel
def seen_by(job, grid):  # type: ignore[no-untyped-def]
    """First row and column of the inputs that a job's windows see (padding too), and how many rows and columns."""
    stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x = grid[0], grid[1], grid[2], grid[3], grid[4], grid[5]
    top, left = job[2] * stride_y - pad_y + job[6] * dilation_y, job[4] * stride_x - pad_x + job[8] * dilation_x
    high = (job[3] - 1) * stride_y + (job[7] - 1) * dilation_y + 1
    wide = (job[5] - 1) * stride_x + (job[9] - 1) * dilation_x + 1
    return top, left, high, wide


@kernel
def cut(job, grid, plane):  # type: ignore[no-untyped-def]
    """Sets of a job's windows as `stretches`; of all rows at the taps of one row only, where these serve all taps.

    That is where sets end with their rows: what a set costs at a tap is what another one costs at the taps below.
    Returns whether it is so, the taps to look at, and what `stretches` writes.
    """
    stride_y, stride_x, columns, rows, cols = grid[0], grid[1], grid[6], job[3], job[5]
    _, _, high, wide = seen_by(job, grid)
    aligned = cols % columns == 0 and stride_y == 1
    down = high if aligned else rows
    cells = -(-down * cols // columns)
    ones, twos = np.zeros(cells + down, np.int64), np.zeros(cells + down, np.int64)
    begin = np.zeros(cells + 1, np.int64)
    stretches(down, cols, columns, stride_y, stride_x, wide, plane, ones, twos, begin)
    return aligned, job[9] if aligned else job[7] * job[9], ones, twos, begin


@kernel
def spread_out(over, plane, stride_x):  # type: ignore[no-untyped-def]
    """Level l of `over` becomes the largest of 2**l values of level 0, `stride_x` apart, from each place on."""
    for level in range(1, over.shape[0] // plane):
        step = stride_x << (level - 1)
        below = over[(level - 1) * plane : level * plane]
        beside = below[step:]
        above = over[level * plane : (level + 1) * plane]
        for i in range(beside.shape[0]):
            above[i] = max(below[i], beside[i])


@kernel
def lay_over(costs, top, left, high, wide, over):  # type: ignore[no-untyped-def]
    """Costs of the pixels that a job's windows see, at least 1: into their places of `over`, (high x wide)."""
    x_from, x_to = max(0, -left), min(wide, costs.shape[1] - left)
    for y in range(max(0, -top), min(high, costs.shape[0] - top)):
        source = costs[top + y, left + x_from : left + x_to]
        line = over[y * wide + x_from : y * wide + x_to]
        for x in range(source.shape[0]):
            line[x] = max(source[x], np.uint8(1))


@kernel
def window_cycles(costs, jobs, grid, factors, out):  # type: ignore[no-untyped-def]
    """Cycles of jobs whose columns wait for each other in every step.

    costs: uint8 of each brick (bricks, images, rows, columns). grid: stride_y stride_x dilation_y dilation_x pad_y
    pad_x columns priced. A brick costs at least 1, one of padding just that. factors: cycles by which a step is
    multiplied, from a job's `table` on (one for each brick and tap), or its `factor` if that is negative.
    out: for each job (cycles, cycles x columns in use, and if `priced` cycles that the columns need themselves).
    """
    _, stride_x, dilation_y, dilation_x, _, _, columns, priced = grid
    for j in range(jobs.shape[0]):
        image0, images, _, rows, _, cols, _, kys, _, kxs, brick0, bricks, factor, table = jobs[j]
        top, left, high, wide = seen_by(jobs[j], grid)
        plane = high * wide
        over = np.full(bit_length(min(columns, cols)) * plane, np.uint8(1))
        sets = -(-rows * cols // columns)
        short = rows * cols - (sets - 1) * columns
        aligned, taps, ones, twos, begin = cut(jobs[j], grid, plane)
        cells = begin.shape[0] - 1
        exact = begin[cells] == cells and (ones == twos).all()  # one place says all
        before = np.zeros(cells + 1, np.int64)
        total = 0
        held = 0
        own = 0
        for image in range(image0, image0 + images):
            for b in range(bricks):
                lay_over(costs[brick0 + b, image], top, left, high, wide, over)
                spread_out(over, plane, stride_x)
                for tap in range(taps):
                    offset = tap // kxs * dilation_y * wide + tap % kxs * dilation_x
                    seen = over[offset:]
                    if exact:
                        for s in range(cells):
                            before[s + 1] = before[s] + seen[ones[s]]
                    else:
                        for s in range(cells):
                            worst = max(seen[ones[begin[s]]], seen[twos[begin[s]]])
                            for i in range(begin[s] + 1, begin[s + 1]):
                                worst = max(worst, seen[ones[i]], seen[twos[i]])
                            before[s + 1] = before[s] + worst
                    for ky in range(tap // kxs, kys if aligned else tap // kxs + 1):
                        first = ky * dilation_y * (cols // columns) if aligned else 0
                        each = before[first + sets] - before[first]
                        last = before[first + sets] - before[first + sets - 1]
                        times = factor
                        if table >= 0:
                            times = factors[table + (b * kys + ky) * kxs + tap % kxs]
                        total += each * times
                        held += ((each - last) * columns + last * short) * times
                if priced:
                    own += factor * _covered(over, high, wide, rows, cols, kys, kxs, grid)
        out[j, 0], out[j, 1], out[j, 2] = total, held, own


@kernel
def _covered(over, high, wide, rows, cols, kys, kxs, grid):  # type: ignore[no-untyped-def]
    """Sum of the costs that all windows of a job see at all taps: each place as often as it is seen."""
    stride_y, stride_x, dilation_y, dilation_x = grid[:4]
    often = np.zeros(wide, np.int64)
    for x in range(cols):
        for kx in range(kxs):
            often[x * stride_x + kx * dilation_x] += 1
    down = np.zeros(high, np.int64)
    for y in range(rows):
        for ky in range(kys):
            down[y * stride_y + ky * dilation_y] += 1
    sums = np.zeros(wide, np.uint16)  # of rows that count alike, at most 256
    total = 0
    first = 0
    for y in range(high):
        line = over[y * wide : (y + 1) * wide]
        for x in range(wide):
            sums[x] += line[x]
        if y + 1 == high or down[y + 1] != down[y] or y - first == 255:
            each = 0
            for x in range(wide):
                each += often[x] * sums[x]
                sums[x] = 0
            total += each * down[y]
            first = y + 1
    return total


@window_cycles.warms_up_with
def _windows():  # type: ignore[no-untyped-def]
    jobs = np.array([[0, 1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 1, -1]], np.int64)
    grid = np.array([1, 1, 1, 1, 0, 0, 2, 1], np.int64)
    return np.ones((1, 1, 1, 2), np.uint8), jobs, grid, np.zeros(1, np.int64), np.zeros((1, 3), np.int64)


@kernel
def grouped_cycles(merged, jobs, grid, rule, out):  # type: ignore[no-untyped-def]
    """As `window_cycles`, where columns share one range of bits, from the lowest one bit to the highest.

    merged: or of each brick's values, uint16 (bricks, images, rows, columns). rule: columns of a group, sign, bits a
    cycle.
    """
    stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x, columns, _ = grid
    group, sign, serial = rule
    height, width = merged.shape[2], merged.shape[3]
    for j in range(jobs.shape[0]):
        image0, images, y0, rows, x0, cols, ky0, kys, kx0, kxs, brick0, bricks, factor, _ = jobs[j]
        total = 0
        held = 0
        for image in range(image0, image0 + images):
            for window0 in range(0, rows * cols, columns):
                count = min(columns, rows * cols - window0)
                for ky in range(ky0, ky0 + kys):
                    for kx in range(kx0, kx0 + kxs):
                        for b in range(brick0, brick0 + bricks):
                            worst = 1
                            shared = np.int64(0)
                            for column in range(count):
                                y = (y0 + (window0 + column) // cols) * stride_y - pad_y + ky * dilation_y
                                x = (x0 + (window0 + column) % cols) * stride_x - pad_x + kx * dilation_x
                                if column % group == 0:
                                    shared = np.int64(0)
                                if 0 <= y < height and 0 <= x < width:
                                    shared |= np.int64(merged[b, image, y, x])
                                if shared and (column % group == group - 1 or column == count - 1):
                                    bits = bit_length(shared) - bit_length(shared & -shared) + 1 + sign
                                    worst = max(worst, -(-bits // serial))
                            total += worst * factor
                            held += worst * factor * count
        out[j, 0], out[j, 1] = total, held


@grouped_cycles.warms_up_with
def _grouped():  # type: ignore[no-untyped-def]
    costs, jobs, grid, _, out = _windows()
    return costs.astype(np.uint16), jobs, grid, np.array([2, 0, 1], np.int64), out


@kernel
def run_ahead(costs, jobs, tile, grid, registers, apart, spans):  # type: ignore[no-untyped-def]
    """Start and end of tiles whose columns may run up to `registers` steps ahead of the slowest one.

    A step starts in a column when that is free and the slowest column has finished the step `registers` + 1
    before it. All filter sets (`factor`) follow each other for one set of windows. apart: bricks do not belong to the
    same sums, and all windows take one before they take the next. costs, grid: as `window_cycles`. spans: (start, end)
    of each tile, and one more that starts when the last ends.
    """
    stride_y, stride_x, dilation_y, dilation_x, _, _, columns, _ = grid
    free, slowest = np.zeros(columns, np.int64), np.zeros(registers + 1, np.int64)
    ats = np.zeros(columns, np.int64)
    spans[0] = -1
    place = 0
    for j in range(jobs.shape[0]):
        image0, images, _, rows, _, cols, _, kys, _, kxs, brick0, bricks, factor, _ = jobs[j]
        top, left, high, wide = seen_by(jobs[j], grid)
        together = 1 if apart else bricks
        over = np.ones((together, high * wide), np.uint8)
        steps = np.zeros((kys * kxs * together, columns), np.uint8)
        for brick in range(brick0, brick0 + bricks, together):
            for image in range(image0, image0 + images):
                for b in range(together):
                    lay_over(costs[brick + b, image], top, left, high, wide, over[b])
                for window0 in range(0, rows * cols, columns):
                    used = min(columns, rows * cols - window0)
                    for column in range(used):
                        y, x = (window0 + column) // cols, (window0 + column) % cols
                        ats[column] = y * stride_y * wide + x * stride_x
                    steps[:, used:] = 0
                    for step in range(steps.shape[0]):
                        tap = step // together
                        seen = over[step % together, tap // kxs * dilation_y * wide + tap % kxs * dilation_x :]
                        line = steps[step]
                        for column in range(used):
                            line[column] = seen[ats[column]]
                    if spans[0, tile[j]] < 0:
                        spans[0, tile[j]] = max(slowest[place], free[:used].min())
                    for _ in range(factor):
                        for step in range(steps.shape[0]):
                            slowest[place] = _follow(steps[step], slowest[place], free)
                            place = place + 1 if place < registers else 0
        spans[1, tile[j]] = free.max()
    spans[0, spans.shape[1] - 1] = free.max()


@kernel
def _follow(cost, gate, free):  # type: ignore[no-untyped-def]
    """A step of all columns, not before `gate`; returns when the slowest is free again."""
    last = np.int64(0)
    for column in range(free.shape[0]):
        until = max(free[column], gate) + np.int64(cost[column])
        free[column] = until
        last = max(last, until)
    return last


@run_ahead.warms_up_with
def _ahead():  # type: ignore[no-untyped-def]
    costs, jobs, grid, _, _ = _windows()
    return costs, jobs, np.zeros(1, np.int64), grid, 1, False, np.zeros((2, 2), np.int64)


@kernel
def row_steps(costs, jobs, factors):  # type: ignore[no-untyped-def]
    """Costs of all steps of matrix products whose rows are no windows: by row, set of filters, brick.

    factors: as of `window_cycles`, for each set of filters and brick; a negative `table`: 1.
    """
    steps = np.empty((jobs[:, 5] * jobs[:, 12] * jobs[:, 11]).sum(), np.int64)
    step = 0
    for j in range(jobs.shape[0]):
        image, x0, cols, brick0, bricks, sets, table = (
            jobs[j, 0], jobs[j, 4], jobs[j, 5], jobs[j, 10], jobs[j, 11], jobs[j, 12], jobs[j, 13],
        )  # fmt: skip
        for x in range(x0, x0 + cols):
            for i in range(sets * bricks):
                steps[step] = max(np.uint8(1), costs[brick0 + i % bricks, image, 0, x])
                if table >= 0:
                    steps[step] *= factors[table + i]
                step += 1
    return steps


@row_steps.warms_up_with
def _rows():  # type: ignore[no-untyped-def]
    costs, jobs, _, factors, _ = _windows()
    return costs, jobs, factors


@kernel
def staggered(steps, jobs, tile, columns, spans, found):  # type: ignore[no-untyped-def]
    """Steps issued one a cycle to the columns in turn; a column is taken for the step's cost.

    steps: costs of all in order, as `row_steps` gives them. spans: as of `run_ahead`. found: of each job its cycles,
    were its steps one after another, three times.
    """
    free = np.zeros(columns, np.int64)
    spans[0] = -1
    step = 0
    column = 0
    clock = np.int64(-1)
    for j in range(jobs.shape[0]):
        start, end = spans[0, tile[j]], spans[1, tile[j]]
        taken = 0
        for _ in range(jobs[j, 5] * jobs[j, 12] * jobs[j, 11]):
            clock = max(clock + 1, free[column])
            if start < 0:
                start = clock
            free[column] = clock + steps[step]
            end = max(end, free[column])
            taken += steps[step]
            step += 1
            column = column + 1 if column + 1 < columns else 0
        spans[0, tile[j]], spans[1, tile[j]] = start, end
        found[j] = taken
    spans[0, spans.shape[1] - 1] = spans[1, spans.shape[1] - 2]


@staggered.warms_up_with
def _staggered():  # type: ignore[no-untyped-def]
    _, jobs, _, _, found = _windows()
    return np.ones(2, np.int64), jobs, np.zeros(1, np.int64), 2, np.zeros((2, 2), np.int64), found


@kernel
def count_ones(octets, size, out):  # type: ignore[no-untyped-def]
    """One bits of values of one byte or two (`size`): of each byte in vector code, then of its neighbour, too."""
    fives, threes, low = np.uint8(0x55), np.uint8(0x33), np.uint8(0x0F)
    one, two, four = np.uint8(1), np.uint8(2), np.uint8(4)
    for i in range(octets.shape[0]):
        value = octets[i]
        value = np.uint8(value - ((value >> one) & fives))
        value = np.uint8((value & threes) + ((value >> two) & threes))
        out[i] = np.uint8(value + (value >> four)) & low
    if size == 2:
        for i in range(octets.shape[0] // 2):
            out[i] = out[2 * i] + out[2 * i + 1]


@kernel
def merge_filters(values, first, size, count, out):  # type: ignore[no-untyped-def]
    """What sets of `size` filters have together: most one bits (`count` 1), or all their bits or-ed.

    `count` 2: of the places where neighbouring bits differ, see `brick_table`.
    values: unsigned (groups, filters, elements), of which filters from `first` on. out: (groups, sets, elements).
    """
    ones = np.zeros(values.shape[2] * values.itemsize, np.uint8)
    out[:] = 0
    for group in range(values.shape[0]):
        for n in range(values.shape[1] - first):
            if n // size == out.shape[1]:
                break
            merged = out[group, n // size]
            row = values[group, first + n]
            if count == 1:
                count_ones(row.view(np.uint8), values.itemsize, ones)
                for i in range(row.shape[0]):
                    merged[i] = max(merged[i], ones[i])
            elif count == 2:
                for i in range(row.shape[0]):
                    merged[i] |= row[i] ^ (row[i] << 1)
            else:
                for i in range(row.shape[0]):
                    merged[i] |= row[i]


@merge_filters.warms_up_with
def _merge():  # type: ignore[no-untyped-def]
    return np.ones((1, 1, 2), np.uint8), 0, 1, 1, np.zeros((1, 1, 2), np.uint8)
