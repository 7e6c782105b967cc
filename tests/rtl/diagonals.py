"""Register-level models, clock by clock and with real products, of engines that need little control.

- `PermutedDiagonals`: PermDNN's PEs, which take several blocks of rows a cycle for one input;
- `outer_products`: a dual-side tensor core's condensed outer products;
- `compressed_steps`: a tensor core's steps on N:M weights with their indexes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


def permuted_matrix(rng: Any, n: int, k: int, p: int) -> Values:
    """Random weights on one wrapped diagonal of each p x p block."""
    w = np.zeros((n, k), np.int64)
    for i0 in range(0, n, p):
        for j0 in range(0, k, p):
            offset = int(rng.integers(p))
            for i in range(p):
                if i0 + i < n and j0 + (i + offset) % p < k:
                    w[i0 + i, j0 + (i + offset) % p] = int(rng.integers(1, 9))
    return w


class PermutedDiagonals:
    """Each PE has blocks of rows in turn; its memory gives the weights of some blocks at one column a cycle."""

    def __init__(self, w: Values, p: int, pes: int, multipliers: int) -> None:
        self.w, self.p, self.multipliers = w, p, multipliers
        blocks = -(-len(w) // p)
        self.blocks = [list(range(pe, blocks, pes)) for pe in range(pes)]
        self.sums = np.zeros(len(w), np.int64)
        self.cycle = 0

    def run(self, inputs: Values) -> tuple[Values, int]:
        """Sums and cycles of one vector; the detector of nonzeros is ahead."""
        for j in np.flatnonzero(inputs):
            waiting = [list(own) for own in self.blocks]
            while any(waiting):
                for own in waiting:
                    for _ in range(min(self.multipliers, len(own))):
                        self._multiply(own.pop(0), int(j), int(inputs[j]))
                self.cycle += 1
        return self.sums, self.cycle

    def _multiply(self, block: int, j: int, value: int) -> None:
        """The permutation value of the block says which row the column's weight belongs to."""
        rows = self.w[block * self.p : (block + 1) * self.p, j]
        held = np.flatnonzero(rows)
        assert len(held) <= 1
        for i in held:
            self.sums[block * self.p + i] += rows[i] * value


def outer_products(a: Values, w: Values, *, tile: int, rows: int, cols: int, cores: int) -> tuple[Values, int]:
    """(m, k) x (n, k): sums and cycles. Each core takes its tiles one after another, a step a cycle."""
    m, n = len(a), len(w)
    sums = np.zeros((m, n), np.int64)
    queue: list[list[tuple[int, int]]] = [[] for _ in range(cores)]
    places = [(i, j) for i in range(0, m, tile) for j in range(0, n, tile)]
    for number, place in enumerate(places):
        queue[number % cores].append(place)
    finished = []
    for own in queue:
        cycle = 0
        for i, j in own:
            for k in range(a.shape[1]):
                left = i + np.flatnonzero(a[i : i + tile, k])
                right = j + np.flatnonzero(w[j : j + tile, k])
                for x in range(0, len(left), rows):
                    for y in range(0, len(right), cols):
                        at = np.ix_(left[x : x + rows], right[y : y + cols])
                        sums[at] += np.outer(a[left[x : x + rows], k], w[right[y : y + cols], k])
                        cycle += 1
        finished.append(cycle)
    return sums, max(finished)


def compressed_steps(
    a: Values, w: Values, *, pattern: tuple[int, int], rows: int, cols: int, depth: int
) -> tuple[Values, int]:
    """(m, k) x (n, k): sums and cycles on stored weights, `depth` a step, each picking its input by index."""
    few, many = pattern
    short = -a.shape[1] % many
    a, w = np.pad(a, ((0, 0), (0, short))), np.pad(w, ((0, 0), (0, short)))
    stored: list[list[tuple[int, int]]] = []
    for row in w:
        entries = []
        for group in range(0, len(row), many):
            found = [group + int(i) for i in np.flatnonzero(row[group : group + many])]
            assert len(found) <= few
            entries += [(j, int(row[j])) for j in found] + [(group, 0)] * (few - len(found))
        stored.append(entries)
    sums, cycle = np.zeros((len(a), len(w)), np.int64), 0
    for i in range(0, len(a), rows):
        for j in range(0, len(w), cols):
            for k in range(0, len(stored[0]), depth):
                for y in range(j, min(len(w), j + cols)):
                    for index, value in stored[y][k : k + depth]:
                        sums[i : i + rows, y] += a[i : i + rows, index] * value
                cycle += 1
    return sums, cycle
