"""Registers of the table, popcount, sign-select, lane, reuse and outlier engines, clock by clock, with real products.

Written from the datapaths: what is loaded, read and latched at which edge. Operands are windows x (m, taps, channels)
and weights w (n, taps, channels); every function returns sums (m, n) and the clocks that it took.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]


def padded(values: Ints, axis: int, multiple: int, fill: int = 0) -> Ints:
    """Zeros behind, up to a whole multiple."""
    missing = -values.shape[axis] % multiple
    widths = [(0, missing if a == axis else 0) for a in range(values.ndim)]
    return np.pad(values, widths, constant_values=fill)


def run_unpu(x: Ints, w: Ints, bits: int, shape: dict[str, int], update: int) -> tuple[Ints, int]:
    """Two sets of tables: one is read while the other is filled; they swap when both are ready."""
    m, taps, channels = x.shape
    n = len(w)
    served = shape["binary_inputs"] if bits == 1 else shape["inputs"]
    columns = shape["tables"] if m >= shape["tables"] else 1
    deep = shape["pes"] * shape["tables"] // columns  # tables of one position
    outputs = shape["cores"] * shape["readers"]
    xs, ws = padded(x, 2, deep * served), padded(w, 2, deep * served)
    wanted = [
        (first, tap, low)
        for first in range(0, m, columns) for tap in range(taps) for low in range(0, xs.shape[2], deep * served)
    ]  # fmt: skip
    out = np.zeros((m, n), np.int64)
    reads = [(first, bit) for first in range(0, n, outputs) for bit in range(bits)]

    def filled(first: int, tap: int, low: int) -> list[tuple[int, int, int, int, list[int]]]:
        """Tables as (position, tap, channel, how many, sums by pattern)."""
        made = []
        for row in range(first, min(m, first + columns)):
            for at in range(low, low + deep * served, served):
                inputs = [int(v) for v in xs[row, tap, at : at + served]]
                if bits == 1:  # pattern bits choose between + and -
                    sums = [sum(v if p >> i & 1 else -v for i, v in enumerate(inputs)) for p in range(2**served)]
                else:
                    sums = [sum(v for i, v in enumerate(inputs) if p >> i & 1) for p in range(2**served)]
                made.append((row, tap, at, served, sums))
        return made

    clock, filling, progress = 0, 0, 0
    current: list[Any] | None = None
    step = 0
    while True:
        ready = filling < len(wanted) and progress >= update
        if current is None and ready:  # swap: no cycle of its own
            current, step = filled(*wanted[filling]), 0
            filling, progress = filling + 1, 0
            continue
        if current is None and filling >= len(wanted):
            return out, clock
        if current is not None:
            first, bit = reads[step]
            for row, tap, at, many, sums in current:
                for j in range(first, min(n, first + outputs)):
                    pattern = sum((int(ws[j, tap, at + i]) >> bit & 1) << i for i in range(many))
                    weight = -(1 << bit) if bits > 1 and bit == bits - 1 else 1 << bit
                    out[row, j] += weight * sums[pattern]
            step += 1
            if step == len(reads):
                current = None
        if filling < len(wanted):
            progress += 1
        clock += 1


def run_xnor(x: Ints, w: Ints, row: int, unit: dict[str, Any], ternary: bool) -> tuple[Ints, int]:
    """Units in step: each loads inputs, compares them with rows of weights, and at last compares its sums.

    x and w hold signs (-1, 1), or -1, 0, 1 with `ternary`; `row`: taps of a row of the window.
    """
    m, taps, channels = x.shape
    n, inputs = len(w), unit["inputs"]
    out = np.zeros((m, n), np.int64)
    together = min(7, row) if unit["window_row"] else 1
    pieces = []  # (taps, channels) of a step
    for line in range(0, taps, row):
        for at in range(line, line + row, together):
            for low in range(0, channels, inputs):
                pieces.append((slice(at, min(at + together, line + row)), slice(low, low + inputs)))
    sets = [(low, min(n, low + unit["accumulators"])) for low in range(0, n, unit["accumulators"])]
    jobs = [(position, *s) for s in sets for position in range(m)]
    jobs.sort(key=lambda job: job[1] - job[2])  # whole sets first
    clock = 0
    while jobs:
        now, jobs = jobs[: unit["units"]], jobs[unit["units"] :]
        busiest = max(high - low for _, low, high in now)
        for piece in pieces:
            for plane in range(2 if ternary else 1):
                clock += unit["load_cycles"]
                for first in range(0, busiest, unit["outputs"]):
                    clock += unit["step_cycles"]
                    for position, low, high in now:
                        seen = x[position][piece].ravel()
                        for j in range(low + first, min(high, low + first + unit["outputs"])):
                            weights = w[j][piece].ravel()
                            if ternary:  # plane 0 counts products of 1, plane 1 those of -1
                                both = (seen != 0) & (weights != 0)
                                differ = (seen < 0) ^ (weights < 0)
                                out[position, j] += -(both & differ).sum() if plane else (both & ~differ).sum()
                            else:
                                agree = int((~((seen > 0) ^ (weights > 0))).sum())  # XNOR, popcount
                                out[position, j] += 2 * agree - len(seen)
        if unit["threshold_lanes"]:
            clock += -(-busiest // unit["threshold_lanes"])
    return out, clock


def run_yodann(image: Ints, w: Ints, pad: int, unit: dict[str, int], slot: int, outputs: int) -> tuple[Ints, int]:
    """One image (channels, h, w), stride 1: the window's first columns come pixel by pixel, then one column a position.

    The units see a window of one channel in a cycle and add it with the signs of their weights. Sums that are complete
    go to a register, from which some leave in each cycle; the next position is complete when it is empty again.
    """
    channels, high, wide = image.shape
    n, _, r, s = w.shape
    assert max(r, s) <= slot
    p, q = high + 2 * pad - r + 1, wide + 2 * pad - s + 1
    whole = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((n, p, q), np.int64)
    clock = 0
    pending = 0  # weight bits that have not come yet
    for first in range(0, n, unit["sops"] * outputs):
        held = w[first : first + unit["sops"] * outputs]
        gate = unit["results_per_cycle"] * outputs
        leaving = len(range(0, len(held), gate)) if gate else 0
        for _ in range(channels * high * (s - 1)):  # a pixel a cycle; padding needs none
            clock += 1
        pending += held.size
        while pending >= unit["weight_bits_per_cycle"]:
            pending -= unit["weight_bits_per_cycle"]
            clock += 1
        for column in range(q):
            for row in range(p):
                for block in range(0, channels, unit["channels"]):
                    left = leaving  # of the results before, or of the slot that the schedule leaves for them
                    for channel in range(block, min(channels, block + unit["channels"])):
                        window = whole[channel, row : row + r, column : column + s]
                        signed = np.where(held[:, channel] > 0, window, -window)
                        out[first : first + len(held), row, column] += signed.sum((1, 2))
                        clock += 1
                        left -= 1
                    clock += max(0, left)
    if pending:
        clock += 1
    return out.reshape(n, -1).T, clock + max(1, leaving)  # the last sums are latched, or leave


def run_tables(x: Ints, codes: Ints, levels: Ints, unit: dict[str, int], skip: bool) -> tuple[Ints, int]:
    """Two sets of tables of products; x (m, k), codes (n, k) are places in `levels`."""
    m, k = x.shape
    n = len(codes)
    build = -(-len(levels) // unit["multipliers"])
    out = np.zeros((m, n), np.int64)
    rounds = []
    for row in range(m):
        taken = [at for at in range(k) if not skip or x[row, at] != 0]
        rounds += [(row, taken[i : i + unit["tables"]]) for i in range(0, len(taken), unit["tables"])]
    clock = made = 0
    table: dict[int, list[int]] = {}
    waiting: tuple[int, dict[int, list[int]]] | None = None
    row = first = 0
    while rounds or table or waiting:
        if not table and waiting:
            (row, table), waiting, first = waiting, None, 0
        if rounds and waiting is None:  # multipliers fill the other set
            made += 1
            if made == build:
                which, taken = rounds.pop(0)
                waiting, made = (which, {at: [int(x[which, at]) * int(v) for v in levels] for at in taken}), 0
        if table:
            if first < n:
                for j in range(first, min(n, first + unit["lanes"])):
                    out[row, j] += sum(entries[codes[j, at]] for at, entries in table.items())
            first += unit["lanes"]
            if first >= n:
                table = {}
        clock += 1
    return out, clock + 1  # the last sum is latched


def run_ternary(x: Ints, w: Ints, par_in: int, par_out: int, skip: bool) -> tuple[Ints, int]:
    """x (m, k), w (n, k) of -1, 0, 1: through registers of a tree of adders, of the sums, and of a comparison."""
    m, k = x.shape
    n = len(w)
    levels = max(1, (par_in - 1).bit_length())
    pipeline: list[tuple[int, int, Ints] | None] = [None] * (levels + 2)
    issue = []
    for first in range(0, n, par_out):
        for row in range(m):
            wanted = np.flatnonzero(x[row]) if skip else np.arange(k)
            issue += [(row, first, wanted[i : i + par_in]) for i in range(0, max(1, len(wanted)), par_in)]
    out = np.zeros((m, n), np.int64)
    clock = 0
    while issue or any(stage is not None for stage in pipeline):
        leaving = pipeline.pop()
        if leaving is not None:
            row, first, sums = leaving
            out[row, first : first + len(sums)] += sums
        entering = None
        if issue:
            row, first, taken = issue.pop(0)
            held = w[first : first + par_out][:, taken]
            entering = row, first, np.where(held > 0, x[row, taken], np.where(held < 0, -x[row, taken], 0)).sum(1)
        pipeline.insert(0, entering)
        clock += 1
    return out, clock - 1  # a result is there when it is in the last register


def run_lanes(x: Ints, w: Ints, lanes: int, stages: int, threshold: int) -> tuple[Ints, int, int]:
    """x (m, k), w (n, k); also how many products were formed. Small inputs keep a lane still."""
    m, k = x.shape
    n = len(w)
    pipe: list[tuple[int, int, int] | None] = [None] * stages
    issue = [(row, first, at) for row in range(m) for first in range(0, n, lanes) for at in range(k)]
    out = np.zeros((m, n), np.int64)
    clock = products = 0
    while issue or any(stage is not None for stage in pipe):
        entering = issue.pop(0) if issue else None
        pipe = [entering, *pipe[:-1]]
        clock += 1
        step = pipe[-1]
        if step is not None:
            row, first, at = step
            if abs(int(x[row, at])) >= threshold:
                for j in range(first, min(n, first + lanes)):
                    out[row, j] += int(x[row, at]) * int(w[j, at])
                    products += 1
    return out, clock, products


def run_reuse(x: Ints, w: Ints, pes: int, lanes: int, rule: tuple[int, int, int]) -> tuple[Ints, int]:
    """x (m, k), w (n, k): each PE walks its tables entry by entry, with one multiplier for each position.

    rule: filters of a table, inputs of a sum (0: any number), weights that an entry for skipping passes (0: free).
    Weights are never looked up: each filter has a pointer into the list of all, which steps with its groups.
    """
    share, limit, reach = rule
    (m, k), n = x.shape, len(w)
    positions = lanes // share
    listed = sorted(set(w.ravel().tolist()))
    out = np.zeros((m, n), np.int64)
    finish = []
    for pe in range(pes):
        clock = 0
        for table in list(range(0, n, share))[pe::pes]:
            filters = w[table : table + share]
            entries = [at for at in range(k) if filters[:, at].any()]
            entries.sort(key=lambda at: tuple(filters[:, at].tolist()))
            for low in range(0, m, positions):
                rows = slice(low, min(m, low + positions))
                sums = np.zeros((len(filters), len(x[rows])), np.int64)
                taken = [0] * len(filters)
                pointer = [-1] * len(filters)
                ended = [True] * len(filters)  # whose group ended with the entry before
                for number, at in enumerate(entries):
                    far = []  # weights that each filter has to pass before its own
                    for f in range(len(filters)):
                        if f and ended[f - 1]:
                            pointer[f] = -1
                        if ended[f]:
                            pointer[f] += 1
                        far.append(0)
                        while listed[pointer[f]] != filters[f, at]:
                            pointer[f] += 1
                            far[f] += 1
                    while reach and max(far) > 0:
                        far = [count - reach for count in far]
                        clock += 1
                    clock += 1
                    sums += x[rows, at]  # every filter's group takes it in; hardware hands inner sums outward
                    following = entries[number + 1] if number + 1 < len(entries) else None
                    used = 0
                    for f in range(len(filters)):
                        same = following is not None and (filters[: f + 1, at] == filters[: f + 1, following]).all()
                        ended[f] = not same
                        taken[f] += 1
                        if same and taken[f] != limit:
                            continue
                        if listed[pointer[f]] != 0:
                            out[rows, table + f] += sums[f] * listed[pointer[f]]
                            used += 1
                        sums[f] = taken[f] = 0
                    clock += max(0, used - 1)
                if not entries:
                    clock += 1
        finish.append(clock)
    return out, max(finish) + 1  # the last product is latched


def run_outliers(x: Ints, w: Ints, unit: dict[str, int], limits: tuple[int, int]) -> tuple[Ints, int]:
    """x (m, k) without sign, w (n, k) with: groups take jobs when free; `limits`: largest normal magnitudes."""
    m, k = x.shape
    n, lanes = len(w), unit["lanes"]
    out = np.zeros((m, n), np.int64)
    ends = []
    for wide in (False, True):
        jobs = [(first, row) for first in range(0, n, lanes) for row in range(m)]
        groups: list[list[tuple[int, int, int]]] = [[] for _ in range(unit["outlier_groups" if wide else "groups"])]
        clock = last = 0
        while jobs or any(groups):
            for group in groups:  # a free group takes jobs until one has something to do
                while not group and jobs:
                    first, row = jobs.pop(0)
                    for at in range(k):
                        if x[row, at] == 0 or (x[row, at] > limits[0]) != wide:
                            continue
                        held = w[first : first + lanes, at]
                        big = int(((held > limits[1]) | (held < -limits[1] - 1)).sum())
                        turns = 2 if big > 1 and not wide else 1
                        group += [(first, row, at if turn == turns - 1 else -1) for turn in range(turns)]
            for group in groups:
                if group:
                    first, row, at = group.pop(0)
                    if at >= 0:
                        out[row, first : first + lanes] += int(x[row, at]) * w[first : first + lanes, at]
                    last = clock + 1
            clock += 1
        ends.append(last)
    return out, max(ends)
