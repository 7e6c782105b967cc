"""Kernels of the bit-serial engines: what a brick of operands costs, and how steps follow each other.

A *brick* is what the lanes of a unit take at once: consecutive channels of one pixel. A *step* is one brick at
one tap of the window, in all columns (windows) at once. Jobs are rows of int64, one for each tile and group:
image0 images y0 rows x0 cols tap_y taps_y tap_x taps_x brick0 bricks factor table.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel

#: What `brick_costs` writes: all bits of a brick or-ed; the highest bit's position, from 1; cycles of Bit-Pragmatic.
OR, HIGHEST, ONES_OFFSETS = 0, 1, 2

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
def brick_costs(values, bricks, kind, reach, out):  # type: ignore[no-untyped-def]
    """What each brick costs by itself.

    values: non-negative integers (images, rows, columns, channels). bricks: (first, end) channel of each.
    reach: for ONES_OFFSETS, how far above the lowest pending bit another lane's bit may lie in the same cycle.
    out: (bricks, images, rows, columns).
    """
    pending = np.zeros(values.shape[3], np.int64)
    for b in range(bricks.shape[0]):
        first, end = bricks[b]
        for i in range(values.shape[0]):
            for y in range(values.shape[1]):
                for x in range(values.shape[2]):
                    every = np.int64(0)
                    for c in range(first, end):
                        every |= np.int64(values[i, y, x, c])
                    if kind == OR:
                        out[b, i, y, x] = every
                        continue
                    if kind == HIGHEST:
                        out[b, i, y, x] = bit_length(every)
                        continue
                    pending[: end - first] = values[i, y, x, first:end]
                    cycles = 0
                    while every != 0:
                        window = (every & -every) << reach
                        every = np.int64(0)
                        for lane in range(end - first):
                            value = pending[lane]
                            lowest = value & -value
                            value ^= lowest * (lowest <= window)
                            pending[lane] = value
                            every |= value
                        cycles += 1
                    out[b, i, y, x] = cycles


@brick_costs.warms_up_with
def _bricks():  # type: ignore[no-untyped-def]
    values = np.array([[[[1, 2], [3, 0]]]], np.int32)
    return values, np.array([[0, 2]], np.int64), 2, 1, np.zeros((1, 1, 1, 2), np.int32)


@kernel
def window_cycles(costs, jobs, grid, factors, out):  # type: ignore[no-untyped-def]
    """Cycles of jobs whose columns wait for each other in every step.

    costs: as `brick_costs` writes them. grid: stride_y stride_x dilation_y dilation_x pad_y pad_x columns
    group minor sign serial_bits; `group` columns share one precision; with `minor` costs are or-ed bits, and the
    lowest zeros are skipped, too. factors: cycles by which a step is multiplied, from a job's `table` on (one for
    each brick and tap), or its `factor` if that is negative.
    out: for each job (cycles, cycles x columns in use, cycles that the columns need themselves).
    """
    stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x, columns, group, minor, sign, serial = grid
    height, width = costs.shape[2], costs.shape[3]
    ys = np.zeros(columns, np.int64)
    xs = np.zeros(columns, np.int64)
    for j in range(jobs.shape[0]):
        image0, images, y0, rows, x0, cols, ky0, kys, kx0, kxs, brick0, bricks, factor, table = jobs[j]
        total = 0
        held = 0
        own = 0
        for image in range(image0, image0 + images):
            for window0 in range(0, rows * cols, columns):
                count = min(columns, rows * cols - window0)
                for column in range(count):
                    window = window0 + column
                    ys[column] = (y0 + window // cols) * stride_y - pad_y
                    xs[column] = (x0 + window % cols) * stride_x - pad_x
                for ky in range(ky0, ky0 + kys):
                    for kx in range(kx0, kx0 + kxs):
                        for b in range(bricks):
                            worst = 1
                            mine = 0
                            shared = 0
                            for column in range(count):
                                y, x = ys[column] + ky * dilation_y, xs[column] + kx * dilation_x
                                value = 0
                                if 0 <= y < height and 0 <= x < width:
                                    value = costs[brick0 + b, image, y, x]
                                if minor:
                                    shared = shared | value if column % group else value
                                    if column % group == group - 1 or column == count - 1:
                                        low = bit_length(shared & -shared)
                                        value = bit_length(shared) - low + 1 + sign if shared else 1
                                        value = -(-value // serial)
                                        worst = max(worst, value)
                                        mine += value
                                else:
                                    value = -(-max(1, value) // serial)
                                    worst = max(worst, value)
                                    mine += value
                            times = factor
                            if table >= 0:
                                times = factors[table + (b * kys + ky - ky0) * kxs + kx - kx0]
                            total += worst * times
                            held += worst * times * count
                            own += mine * times
        out[j, 0], out[j, 1], out[j, 2] = total, held, own


@window_cycles.warms_up_with
def _windows():  # type: ignore[no-untyped-def]
    jobs = np.array([[0, 1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 1, -1]], np.int64)
    grid = np.array([1, 1, 1, 1, 0, 0, 2, 1, 0, 0, 1], np.int64)
    costs = np.ones((1, 1, 1, 2), np.int32)
    return costs, jobs, grid, np.zeros(1, np.int64), np.zeros((1, 3), np.int64)


@kernel
def run_ahead(costs, jobs, grid, registers, serial, out):  # type: ignore[no-untyped-def]
    """Start and end of jobs whose columns may run up to `registers` steps ahead of the slowest one.

    A step starts in a column when that is free and the slowest column has finished the step `registers` + 1
    before it. All filter sets (`factor`) follow each other for one set of windows. out: (start, end) of each job.
    """
    stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x, columns = grid[:7]
    height, width = costs.shape[2], costs.shape[3]
    free = np.zeros(columns, np.int64)
    slowest = np.zeros(registers + 1, np.int64)
    step = 0
    for j in range(jobs.shape[0]):
        image0, images, y0, rows, x0, cols, ky0, kys, kx0, kxs, brick0, bricks, factor, _ = jobs[j]
        begin = np.int64(-1)
        for image in range(image0, image0 + images):
            for window0 in range(0, rows * cols, columns):
                for _ in range(factor):
                    for ky in range(ky0, ky0 + kys):
                        for kx in range(kx0, kx0 + kxs):
                            for b in range(bricks):
                                gate = slowest[step % (registers + 1)]
                                last = np.int64(0)
                                for column in range(columns):
                                    window = window0 + column
                                    cost = np.int64(0)
                                    if window < rows * cols:
                                        y = (y0 + window // cols) * stride_y - pad_y + ky * dilation_y
                                        x = (x0 + window % cols) * stride_x - pad_x + kx * dilation_x
                                        if 0 <= y < height and 0 <= x < width:
                                            cost = np.int64(costs[brick0 + b, image, y, x])
                                        cost = (max(np.int64(1), cost) + serial - 1) // serial
                                    start = max(free[column], gate)
                                    if cost and (begin < 0 or start < begin):
                                        begin = start
                                    free[column] = start + cost
                                    last = max(last, free[column])
                                slowest[step % (registers + 1)] = last
                                step += 1
        end = np.int64(0)
        for column in range(columns):
            end = max(end, free[column])
        out[j, 0], out[j, 1] = begin, end


@run_ahead.warms_up_with
def _ahead():  # type: ignore[no-untyped-def]
    costs, jobs, grid, _, _ = _windows()
    return costs, jobs, grid, 1, 1, np.zeros((1, 2), np.int64)


@kernel
def staggered(costs, counts, columns, out):  # type: ignore[no-untyped-def]
    """Steps issued one a cycle to the columns in turn; a column is taken for the step's cost.

    costs: of all steps in order. counts: steps of each tile. out: for each tile (start of its first step, end).
    """
    free = np.zeros(columns, np.int64)
    step = 0
    clock = np.int64(-1)
    for t in range(counts.shape[0]):
        end = np.int64(0)
        for i in range(counts[t]):
            column = step % columns
            clock = max(clock + 1, free[column])
            if i == 0:
                out[t, 0] = clock
            free[column] = clock + costs[step]
            end = max(end, free[column])
            step += 1
        out[t, 1] = end


@staggered.warms_up_with
def _staggered():  # type: ignore[no-untyped-def]
    return np.ones(2, np.int64), np.array([2], np.int64), 2, np.zeros((1, 2), np.int64)


@kernel
def lane_products(ones, filter_ones, jobs, grid, bricks, out):  # type: ignore[no-untyped-def]
    """Cycles of steps that last as long as the lane with the most pairs of effectual bits, in any window and filter.

    ones: set bits of each value (images, rows, columns, channels). filter_ones: most set bits at each (set of
    filters, tap, channel of the group); a job's `factor` sets follow each other, from `table` on. grid: as far as
    columns as in `window_cycles`, then taps in a row of the window, channels of a group. out: (cycles, x columns).
    """
    stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x, columns, taps_x, span = grid
    height, width = ones.shape[1], ones.shape[2]
    most = np.zeros(ones.shape[3], np.int64)
    for j in range(jobs.shape[0]):
        image0, images, y0, rows, x0, cols, ky0, kys, kx0, kxs, brick0, count, factor, table = jobs[j]
        total = 0
        held = 0
        for image in range(image0, image0 + images):
            for window0 in range(0, rows * cols, columns):
                used = min(columns, rows * cols - window0)
                for ky in range(ky0, ky0 + kys):
                    for kx in range(kx0, kx0 + kxs):
                        for b in range(brick0, brick0 + count):
                            first, lanes = bricks[b, 0], bricks[b, 1] - bricks[b, 0]
                            for lane in range(lanes):
                                most[lane] = 0
                            for window in range(window0, window0 + used):
                                y = (y0 + window // cols) * stride_y - pad_y + ky * dilation_y
                                x = (x0 + window % cols) * stride_x - pad_x + kx * dilation_x
                                if 0 <= y < height and 0 <= x < width:
                                    for lane in range(lanes):
                                        most[lane] = max(most[lane], ones[image, y, x, first + lane])
                            tap, channel = ky * taps_x + kx, first % span
                            for f in range(table, table + factor):
                                worst = 1
                                for lane in range(lanes):
                                    pairs = most[lane] * filter_ones[f, tap, channel + lane]
                                    worst = max(worst, pairs)
                                total += worst
                                held += worst * used
        out[j, 0], out[j, 1] = total, held


@lane_products.warms_up_with
def _lanes():  # type: ignore[no-untyped-def]
    jobs = np.array([[0, 1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 1, 0]], np.int64)
    grid = np.array([1, 1, 1, 1, 0, 0, 2, 1, 2], np.int64)
    ones, bricks = np.ones((1, 1, 2, 2), np.uint8), np.array([[0, 2]], np.int64)
    return ones, np.ones((1, 1, 2), np.uint8), jobs, grid, bricks, np.zeros((1, 2), np.int64)
