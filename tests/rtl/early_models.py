"""Register-level models of engines that finish only some sums, or that combine columns; see `skip_models`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


def stream_of(filter_: Values, prefix: int) -> list[tuple[str, int, int]]:
    """(kind, place, weight) in SnaPEA's order: speculative, positive, negative, each by magnitude."""
    places = [(abs(int(w)), i) for i, w in enumerate(filter_) if w]
    rising = sorted(places)
    # of `prefix` equal groups of the nonzeros by magnitude, the largest of each
    count = min(prefix, len(rising))
    chosen = [rising[(j + 1) * len(rising) // count - 1][1] for j in range(count)]
    falling = [i for _, i in sorted(places, key=lambda p: (-p[0], p[1]))]
    ahead = [i for i in falling if i in chosen]
    rest = [i for i in falling if i not in chosen]
    positive, negative = [i for i in rest if filter_[i] > 0], [i for i in rest if filter_[i] < 0]
    named = (("ahead", ahead), ("positive", positive), ("negative", negative))
    return [(kind, i, int(filter_[i])) for kind, some in named for i in some]


class SnapeaPe:
    """A PE: a stream of weights for all lanes; a lane stops by its sum's sign, or after the prefix."""

    def __init__(self, jobs: list[Any]) -> None:
        self.jobs, self.at, self.step = jobs, 0, 0
        self.start()
        self.results: dict[Any, int] = {}

    def start(self) -> None:
        """Registers of the next job."""
        self.step = 0
        if self.at < len(self.jobs):
            count = len(self.jobs[self.at][0])
            self.sums, self.stopped = [self.jobs[self.at][4]] * count, [False] * count

    def clock(self) -> bool:
        """One edge; whether it worked."""
        if self.at == len(self.jobs):
            return False
        names, lanes, stream, limit, bias = self.jobs[self.at]
        if stream:
            kind, place, weight = stream[self.step]
            for k, seen in enumerate(lanes):
                if self.stopped[k]:
                    continue
                self.sums[k] += int(seen[place]) * weight
                if kind == "negative" and self.sums[k] < 0:
                    self.stopped[k] = True
                last = self.step + 1 == len(stream) or stream[self.step + 1][0] != "ahead"
                if kind == "ahead" and last and self.sums[k] - bias <= limit:
                    self.stopped[k], self.sums[k] = True, 0
            self.step += 1
        if self.step == len(stream) or all(self.stopped):
            for k, name in enumerate(names):
                self.results[name] = max(0, self.sums[k])
            self.at += 1
            self.start()
        return True


def snapea(
    layer: list[tuple[Values, Values]], rows: int, cols: int, lanes: int, prefix: int, limits: list[float], stages: int,
    bias: Values,
) -> tuple[dict[Any, int], int]:  # fmt: skip
    """(results after the ReLU of each (group, position, filter), clocks)."""
    filters = [(g, f) for g, (_, w) in enumerate(layer) for f in range(len(w))]
    array = []
    for r in range(rows):
        for c in range(cols):
            jobs = []
            for number, (g, f) in list(enumerate(filters))[c::cols]:
                stream = stream_of(layer[g][1][f], prefix)
                for m in range(r * lanes, len(layer[g][0]), rows * lanes):
                    here = range(m, min(m + lanes, len(layer[g][0])))
                    begin = int(bias[number])
                    jobs.append(([(g, i, f) for i in here], layer[g][0][m : m + lanes], stream, limits[number], begin))
            array.append(SnapeaPe(jobs))
    clocks = 0
    while any([pe.clock() for pe in array]):
        clocks += 1
    return {name: value for pe in array for name, value in pe.results.items()}, clocks + stages


def prediction(
    layer: list[tuple[Values, Values]], rows: int, cols: int, bits: int, high: int, threshold: int, signed: bool,
    bias: Values, pools: list[list[int]], by_rows: bool,
) -> tuple[dict[Any, int], int]:  # fmt: skip
    """(results after the ReLU, clocks): PEs add one input bit of one product a cycle, highest bits first.

    pools: positions of each window of a max pooling; of them the one with the largest predicted sum is executed.
    by_rows: the second step gives each row a filter and packs positions; else each column a position and packs filters.
    """
    results: dict[Any, int] = {}
    clocks = 0
    for g, (a, w) in enumerate(layer):
        sums = {(m, f): int(bias[g * len(w) + f]) for m in range(len(a)) for f in range(len(w))}
        sets = [range(m0, min(m0 + cols, len(a))) for m0 in range(0, len(a), cols)]
        for columns in sets:
            for f0 in range(0, len(w), rows):
                for bit in range(bits - 1, bits - 1 - high, -1):
                    for k in range(a.shape[1]):
                        clocks += 1
                        _add(sums, a, w, columns, range(f0, min(f0 + rows, len(w))), k, bit, bits, signed)
        chosen = {name for name, value in sums.items() if value > threshold}
        for f in range(len(w)):
            wins = {max(pool, key=lambda m: (sums[m, f], -m)) for pool in pools}
            chosen -= {(m, f) for pool in pools for m in pool if m not in wins}
        together, packed, count = (rows, cols, len(w)) if by_rows else (cols, rows, len(a))
        for first_pe in range(0, count, together):
            own = range(first_pe, min(first_pe + together, count))
            queues = {
                x: [(m, f) for (m, f) in sorted(chosen) if (f if by_rows else m) == x] for x in own
            }  # fmt: skip
            state = {x: (0, bits - 1 - high, 0) for x in own}  # first output of the round, bit, product
            while any(state[x][0] < len(queues[x]) for x in own):
                clocks += 1
                for x in own:
                    first, bit, k = state[x]
                    if first >= len(queues[x]):
                        continue
                    for m, f in queues[x][first : first + packed]:
                        _add(sums, a, w, [m], [f], k, bit, bits, signed)
                    k += 1
                    if k == a.shape[1]:
                        k, bit = 0, bit - 1
                    if bit < 0:
                        first, bit = first + packed, bits - 1 - high
                    state[x] = first, bit, k
        for m, f in sums:
            results[g, m, f] = max(0, sums[m, f]) if (m, f) in chosen else 0
    return results, clocks


def _add(
    sums: Any, a: Values, w: Values, columns: Any, filters: Any, k: int, bit: int, bits: int, signed: bool
) -> None:
    sign = -1 if signed and bit == bits - 1 else 1
    for m in columns:
        for f in filters:
            sums[m, f] += sign * ((int(a[m, k]) >> bit & 1) << bit) * int(w[f, k])


class SerialCell:
    """A cell: an input bit passes down, sums pass right; four serial multipliers and adders take turns."""

    def __init__(self, weight: int, lanes: int, bits: int) -> None:
        self.weight, self.bits = weight, bits
        self.partial, self.carry = [0] * lanes, [0] * lanes

    def add(self, lane: int, bit: int, x: int, above: int, last: bool) -> int:
        """One bit of a sum, from the product's next bit, the sum before and the carry."""
        if bit == 0:
            self.partial[lane], self.carry[lane] = 0, 0
        term = self.weight * x
        self.partial[lane] += (-term if last else term) if bit < self.bits else 0
        product = self.partial[lane] & 1
        self.partial[lane] >>= 1
        total = product + above + self.carry[lane]
        self.carry[lane] = total >> 1
        return total & 1


def serial_fold(
    inputs: Values, chosen: Values, weights: Values, cols: int, bits: int, sum_bits: int
) -> tuple[Values, int]:
    """(sums (words, rows), clocks) of one fold: `chosen` (rows, columns) says which input a cell multiplies.

    inputs: (words, channels). Bit b of word m reaches cell (i, j) in cycle m * bits + b + i + j.
    """
    rows, used = weights.shape
    lanes = sum_bits // bits
    cells = [[SerialCell(int(weights[i, j]) if j < used else 0, lanes, bits) for j in range(cols)] for i in range(rows)]
    count = len(inputs)
    sums = np.zeros((count, rows), np.int64)
    out = np.zeros((rows, cols, lanes), np.int64)  # registers behind the cells
    clock, left = 0, count * rows
    while left:
        new = out.copy()
        for i in range(rows):
            for j in range(cols):
                for word in range(max(0, (clock - i - j - sum_bits) // bits), count):
                    b = clock - i - j - word * bits
                    if not 0 <= b < sum_bits:
                        continue
                    x = int(inputs[word, chosen[i, j]]) >> min(b, bits - 1) & 1 if j < used else 0
                    above = int(out[i, j - 1, word % lanes]) if j else 0
                    bit = cells[i][j].add(word % lanes, b, x, above, b == bits - 1)
                    new[i, j, word % lanes] = bit
                    if j == cols - 1:
                        sums[word, i] |= bit << b
                        left -= b == sum_bits - 1
        out = new
        clock += 1
    half = 1 << (sum_bits - 1)
    return ((sums + half) & ((1 << sum_bits) - 1)) - half, clock
