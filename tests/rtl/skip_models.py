"""Register-level models of engines that skip zeros: every loop pass is a clock edge, every attribute a register.

Written from the papers' descriptions, not from the engines. Inputs are values, outputs real sums and the number of
clocks until the last register has its value. `mac_stages`: registers that a product passes after its operands have
been selected (multiplier, sum, output).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


def unrolled(a: Values, w: Values, stride: int, pad: int) -> list[tuple[Values, Values]]:
    """For each group (inputs, filters): (positions, weights) and (filters, weights), by tap, then by channel."""
    if a.ndim == 2:
        return [(a, w)]
    groups = a.shape[1] // w.shape[1]
    n, c, r, s = w.shape
    image = np.pad(a, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, cols = (image.shape[2] - r) // stride + 1, (image.shape[3] - s) // stride + 1
    out = []
    for g in range(groups):
        seen = [
            image[i, g * c : (g + 1) * c, y * stride : y * stride + r, x * stride : x * stride + s]
            .transpose(1, 2, 0).ravel()
            for i in range(len(a)) for y in range(rows) for x in range(cols)
        ]  # fmt: skip
        kernels = w[g * n // groups : (g + 1) * n // groups].transpose(0, 2, 3, 1).reshape(n // groups, -1)
        out.append((np.array(seen), kernels))
    return out


class Stages:
    """Products on their way through the multiplier, the adder and the output register."""

    def __init__(self, count: int) -> None:
        self.held: deque[Any] = deque([None] * count)

    def clock(self, enters: Any) -> Any:
        """One edge; what leaves."""
        self.held.append(enters)
        return self.held.popleft()

    @property
    def empty(self) -> bool:
        return all(x is None for x in self.held)


class IndexedPe:
    """A PE of Cambricon-X with its index module: jobs are (output, inputs, weights), one after another."""

    def __init__(self, jobs: list[Any], segment: int, width: int, stages: int) -> None:
        self.jobs, self.segment, self.width = jobs, segment, width
        self.job, self.first = 0, 0
        self.pending: list[int] | None = None
        self.stages = Stages(stages)
        self.sums: dict[Any, int] = {}

    def clock(self) -> bool:
        """One edge; whether anything is left."""
        products = None
        if self.job < len(self.jobs):
            name, seen, held = self.jobs[self.job]
            here = range(self.first, min(self.first + self.segment, len(held)))
            pending = [k for k in here if held[k] != 0] if self.pending is None else self.pending
            now, rest = pending[: self.width], pending[self.width :]
            products = name, [(int(seen[k]), int(held[k])) for k in now]
            self.pending = rest or None
            if not rest:
                self.first += self.segment
                if self.first >= len(held):
                    self.job, self.first = self.job + 1, 0
        leaves = self.stages.clock(products)
        if leaves is not None:
            name, pairs = leaves
            self.sums[name] = self.sums.get(name, 0) + sum(x * y for x, y in pairs)
        return self.job < len(self.jobs) or not self.stages.empty


def cambricon_x(
    layer: list[tuple[Values, Values]], pes: int, segment: int, width: int, stages: int
) -> tuple[dict[Any, int], int]:
    """(sum of each (group, position, filter), clocks)."""
    outputs = [(g, f) for g, (_, w) in enumerate(layer) for f in range(len(w))]
    array = []
    for p in range(pes):
        jobs = [
            ((g, m, f), layer[g][0][m], layer[g][1][f]) for g, f in outputs[p::pes] for m in range(len(layer[g][0]))
        ]
        if jobs:
            array.append(IndexedPe(jobs, segment, width, stages))
    clocks = 0
    while True:
        clocks += 1
        if not any([pe.clock() for pe in array]):
            return {name: value for pe in array for name, value in pe.sums.items()}, clocks


def cambricon_s(
    layer: list[tuple[Values, Values]], pes: int, segment: int, width: int, stages: int
) -> tuple[dict[Any, int], int]:
    """As `cambricon_x`, with one selector: it ands the inputs' flags with the block's index."""
    blocks = [
        (g, m, list(range(f, min(f + pes, len(w)))))
        for g, (a, w) in enumerate(layer) for m in range(len(a)) for f in range(0, len(w), pes)
    ]  # fmt: skip
    sums: dict[Any, int] = {}
    pipe, clocks, at, first = Stages(stages), 0, 0, 0
    pending: list[int] | None = None
    while at < len(blocks) or not pipe.empty:
        clocks += 1
        selected = None
        if at < len(blocks):
            g, m, filters = blocks[at]
            seen, held = layer[g][0][m], layer[g][1][filters]
            if pending is None:
                here = range(first, min(first + segment, len(seen)))
                pending = [k for k in here if seen[k] != 0 and any(held[:, k] != 0)]
            now, pending = pending[:width], pending[width:] or None
            selected = g, m, filters, [(int(seen[k]), [int(x) for x in held[:, k]]) for k in now]
            if pending is None:
                first += segment
                if first >= len(seen):
                    at, first = at + 1, 0
        leaves = pipe.clock(selected)
        if leaves is not None:
            g, m, filters, pairs = leaves
            for i, f in enumerate(filters):
                sums[g, m, f] = sums.get((g, m, f), 0) + sum(a * w[i] for a, w in pairs)
    return sums, clocks


def cnvlutin(
    layer: list[tuple[Values, Values]], channels: int, lanes: int, filters: int, threshold: int
) -> tuple[dict[Any, int], int]:
    """(sums, clocks): each lane has a queue of bricks, in each the (value, weights' place) of its nonzeros."""
    sums: dict[Any, int] = {}
    clocks = 0
    for g, (a, w) in enumerate(layer):
        taps = a.shape[1] // channels
        for m in range(len(a)):
            for f0 in range(0, len(w), filters):
                queues: list[deque[list[Any]]] = [deque() for _ in range(lanes)]
                lane = 0
                for tap in range(taps):
                    for c in range(0, channels, lanes):
                        places = range(tap * channels + c, tap * channels + min(c + lanes, channels))
                        queues[lane].append([(int(a[m, k]), k) for k in places if abs(a[m, k]) > threshold])
                        lane = (lane + 1) % lanes
                held = w[f0 : f0 + filters]
                acc = [0] * len(held)
                while any(queues):
                    clocks += 1
                    for queue in queues:
                        if not queue:
                            continue
                        brick = queue[0]
                        if brick:
                            value, k = brick.pop(0)
                            acc = [x + value * int(held[i, k]) for i, x in enumerate(acc)]
                        if not brick:
                            queue.popleft()
                for i, x in enumerate(acc):
                    sums[g, m, f0 + i] = x
    return sums, clocks


def nullhop(
    a: Values, w: Values, stride: int, pad: int, controllers: int, macs: int, stages: int
) -> tuple[Values, int]:
    """(ofmap, clocks) of a convolution; each set of controllers has its own list of nonzero pixels."""
    n, c, r, s = w.shape
    groups = a.shape[1] // c
    each = n // groups
    needed = -(-each // macs)
    sets, passes = max(1, controllers // needed), -(-needed // controllers)
    rows, cols = (a.shape[2] + 2 * pad - r) // stride + 1, (a.shape[3] + 2 * pad - s) // stride + 1
    out = np.zeros((len(a), n, rows, cols), np.int64)
    clocks = 0
    for g in range(groups):
        for p in range(passes):
            first = g * each + p * controllers * macs
            maps = range(first, min(first + controllers * macs, (g + 1) * each))
            lists: list[deque[Any]] = [deque() for _ in range(sets)]
            for i, ch, y, x in zip(*np.nonzero(a[:, g * c : (g + 1) * c]), strict=True):
                lists[ch % sets].append((i, ch, y, x))
            todo: list[list[Any]] = [[] for _ in range(sets)]
            while any(lists) or any(todo):
                busy = False
                for k in range(sets):
                    while not todo[k] and lists[k]:  # a pixel that reaches no output takes no cycle
                        i, ch, y, x = lists[k].popleft()
                        todo[k] = [
                            (i, ch, y, x, ky, kx, (y + pad - ky) // stride, (x + pad - kx) // stride)
                            for ky in range(r) for kx in range(s)
                            if (y + pad - ky) % stride == 0 and 0 <= (y + pad - ky) // stride < rows
                            and (x + pad - kx) % stride == 0 and 0 <= (x + pad - kx) // stride < cols
                        ]  # fmt: skip
                    if todo[k]:
                        i, ch, y, x, ky, kx, py, px = todo[k].pop()
                        for f in maps:
                            out[i, f, py, px] += int(a[i, g * c + ch, y, x]) * int(w[f, ch, ky, kx])
                        busy = True
                clocks += busy
    return out, clocks + stages
