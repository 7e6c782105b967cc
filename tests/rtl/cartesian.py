"""Register-level model of an SCNN PE: Cartesian products scattered to accumulator banks, clock by clock.

A step puts the products of some inputs and some weights into the queues of the banks; each cycle every bank adds one
product to one of its sums. The next step goes once no queue holds more than `depth`. Real products; the sums of all
PEs together are the convolution's.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray


def bank(k: int, x: int, y: int, banks: int) -> int:
    """DNNsim's choice, written with bits: k2^x1^y1, x0, y0, k1, k0."""
    bits = [(k >> 2 ^ x >> 1 ^ y >> 1) & 1, x & 1, y & 1, k >> 1 & 1, k & 1]
    return int("".join(map(str, bits)), 2) % banks


class Pe:
    """Queues and banks of one PE."""

    def __init__(self, banks: int, depth: int) -> None:
        self.queues: list[deque[tuple[Any, int]]] = [deque() for _ in range(banks)]
        self.depth, self.cycle, self.steps = depth, 0, 0
        self.sums: dict[Any, int] = {}

    def clock(self, products: list[tuple[int, Any, int]] | None) -> bool:
        """One cycle, with a step if there is room; returns whether it was taken."""
        taken = products is not None and all(len(q) <= self.depth for q in self.queues)
        if taken:
            self.steps += 1
            for number, place, value in products or []:
                self.queues[number].append((place, value))
        for queue in self.queues:
            if queue:
                place, value = queue.popleft()
                self.sums[place] = self.sums.get(place, 0) + value
        self.cycle += 1
        return taken

    def drain(self) -> None:
        """Until all queues are empty."""
        while any(self.queues):
            self.clock(None)


def run(
    a: NDArray[Any], w: NDArray[Any], *, stride: int, pad: int, pes: tuple[int, int], lanes: tuple[int, int],
    banks: int, accumulators: int, depth: int, barrier: str, split: str = "padded",
) -> tuple[NDArray[np.int64], int, int]:  # fmt: skip
    """One image (channels, h, w) and filters (n, channels, r, s): (sums (n, p, q), cycles without halos, steps)."""
    channels, _, _ = a.shape
    n, _, r, s = w.shape
    padded = np.pad(a, ((0, 0), (pad, pad), (pad, pad)))
    p, q = (padded.shape[1] - r) // stride + 1, (padded.shape[2] - s) // stride + 1
    high, wide = (p - 1) * stride + r, (q - 1) * stride + s  # what lies beyond is not read
    x0, y0, x1, y1 = 0, 0, wide, high
    if split == "plane":  # blocks cut what lies between the padding
        x0, y0, x1, y1 = pad, pad, min(wide, pad + a.shape[2]), min(high, pad + a.shape[1])
    rows, cols = -(-(y1 - y0) // pes[0]), -(-(x1 - x0) // pes[1])
    span = min(n, max(1, accumulators // (-(-p // pes[0]) * -(-q // pes[1]))))
    made = {(i, j): Pe(banks, depth) for i in range(pes[0]) for j in range(pes[1])}
    total = 0
    for first in range(0, n, span):
        for c in range(channels):
            for (i, j), pe in made.items():
                for phase in np.ndindex(stride, stride):
                    xs = range(x0 + j * cols, min(x1, x0 + (j + 1) * cols))
                    ys = range(y0 + i * rows, min(y1, y0 + (i + 1) * rows))
                    inputs = [
                        (x, y, int(padded[c, y, x])) for x in xs for y in ys
                        if padded[c, y, x] and (x % stride, y % stride) == phase
                    ]
                    weights = [
                        (k, x, y, int(w[k, c, y, x]))
                        for x in range(s) for y in range(r) for k in range(first, min(n, first + span))
                        if w[k, c, y, x] and (x % stride, y % stride) == phase
                    ]
                    for a0 in range(0, len(inputs), lanes[0]):
                        for w0 in range(0, len(weights), lanes[1]):
                            products = []
                            for x, y, value in inputs[a0 : a0 + lanes[0]]:
                                for k, dx, dy, weight in weights[w0 : w0 + lanes[1]]:
                                    at = (x - dx) // stride, (y - dy) // stride
                                    if 0 <= at[0] < q and 0 <= at[1] < p:
                                        products.append((bank(k, *at, banks), (k, *at), value * weight))
                            while not pe.clock(products):
                                pass
                if barrier == "channel":
                    pe.drain()
            if barrier == "channel":
                total += _meet(made)
        for pe in made.values():
            pe.drain()
        if barrier == "group":
            total += _meet(made)
    if barrier == "layer":
        total += _meet(made)
    out = np.zeros((n, p, q), np.int64)
    for pe in made.values():
        for (k, x, y), value in pe.sums.items():
            out[k, y, x] += value
    return out, total, sum(pe.steps for pe in made.values())


def _meet(made: dict[tuple[int, int], Pe]) -> int:
    """The slowest PE's time since the last meeting."""
    slowest = max(pe.cycle for pe in made.values())
    for pe in made.values():
        pe.cycle = 0
    return slowest
