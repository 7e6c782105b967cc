"""Register-level models of engines that match masks: SparTen's inner joins and SIGMA's folds, with real products."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


class Unit:
    """Joins one chunk of inputs with the chunks of its filters, a product a cycle."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[int, Values, Values]] = deque()
        self.matches: deque[int] | None = None
        self.sums: dict[int, int] = {}
        self.busy = 0

    def clock(self) -> None:
        """One cycle: the join of a chunk shows its first match in the cycle in which it begins."""
        if not self.jobs:
            return
        number, a, b = self.jobs[0]
        if self.matches is None:
            self.matches = deque(int(i) for i in np.flatnonzero((a != 0) & (b != 0)))
        if self.matches:
            i = self.matches.popleft()
            self.sums[number] = self.sums.get(number, 0) + int(a[i]) * int(b[i])
        if not self.matches:
            self.jobs.popleft()
            self.matches = None
        self.busy += 1


def sparten(
    a: Values, w: Values, held: Any, *, chunk: int, clusters: int, each_chunk: bool
) -> tuple[Values, int]:
    """(m, k) x (n, k), k as it lies in memory: sums and cycles. held[chunk][set][unit]: filters of a unit."""
    m, n = len(a), len(w)
    short = -a.shape[1] % chunk
    a, w = np.pad(a, ((0, 0), (0, short))), np.pad(w, ((0, 0), (0, short)))
    out, block, longest = np.zeros((m, n), np.int64), -(-m // clusters), 0
    for first in range(0, m, block):
        cycle = 0
        for row in range(first, min(m, first + block)):
            units = [Unit() for _ in held[0][0]]
            for s in range(len(held[0])):
                for c in range(len(held)):
                    part = slice(c * chunk, (c + 1) * chunk)
                    for unit, own in zip(units, held[c][s], strict=True):
                        unit.jobs.extend((int(f), a[row, part], w[f, part]) for f in own if f >= 0)
                    if each_chunk or c == len(held) - 1:
                        while any(unit.jobs for unit in units):
                            for unit in units:
                                unit.clock()
                            cycle += 1
            for unit in units:
                for f, value in unit.sums.items():
                    out[row, f] += value
        longest = max(longest, cycle)
    return out, longest


def sigma(a: Values, w: Values, *, multipliers: int, bandwidth: int) -> tuple[Values, int]:
    """(m, k) x (n, k): sums and cycles without the reduction's depth."""
    out, cycle = np.zeros((len(a), len(w)), np.int64), 0
    waiting = deque((f, j) for f in range(len(w)) for j in range(w.shape[1]) if w[f, j] and a[:, j].any())
    while waiting:
        fold: list[tuple[int, int]] = []
        while waiting and len(fold) < multipliers:
            for _ in range(bandwidth):
                if waiting and len(fold) < multipliers:
                    fold.append(waiting.popleft())
            cycle += 1
        for i, row in enumerate(a):
            needed = deque(sorted({j for _, j in fold if row[j]}))
            while True:
                for _ in range(bandwidth):
                    if needed:
                        j = needed.popleft()
                        for f, at in fold:
                            if at == j:
                                out[i, f] += w[f, j] * row[j]
                cycle += 1
                if not needed:
                    break
    return out, cycle
