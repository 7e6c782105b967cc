"""Registers of the vector MAC PEs and of the output-parallel pool, clock by clock, with real products.

Written from the datapaths: what is latched at which edge. How long a tile takes comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]


class VectorPe:
    """`lanes` dot products of `width`; a product register, then an accumulator a lane."""

    def __init__(self, lanes: int, width: int) -> None:
        self.products = np.zeros((lanes, width), np.int64)
        self.valid = False
        self.last = False
        self.sums = np.zeros(lanes, np.int64)
        self.done: Ints | None = None

    def clock(self, inputs: Ints | None, weights: Ints | None, first: bool, last: bool) -> None:
        """One edge: the accumulators take the old products, the product registers take the new ones."""
        self.done = None
        if self.valid:
            dot = self.products.sum(1)
            self.sums = dot if self.first else self.sums + dot
            if self.last:
                self.done = self.sums.copy()
        self.valid = inputs is not None
        if inputs is not None and weights is not None:
            self.products = weights * inputs[None, :]
            self.first, self.last = first, last


def run_vector_tile(
    ifmap: Ints, filters: Ints, lanes: int, width: int, across: int, deep: int
) -> tuple[Ints, int, int]:
    """A tile on `across` x `deep` PEs: outputs (m, n), cycles until the next tile may start, until the last result.

    ifmap (m, taps, channels), filters (n, taps, channels). Loops: groups of lanes, positions, taps, channel vectors.
    """
    m, taps, channels = ifmap.shape
    n = filters.shape[0]
    pes = [[VectorPe(lanes, width) for _ in range(deep)] for _ in range(across)]
    out = np.zeros((m, n), np.int64)
    rounds = -(-channels // (width * deep))
    padded = np.zeros((m, taps, rounds * width * deep), np.int64)
    padded[..., :channels] = ifmap
    wide = -(-n // (lanes * across)) * lanes * across
    weights = np.zeros((wide, taps, rounds * width * deep), np.int64)
    weights[:n, :, :channels] = filters
    plan: list[tuple[int, int, int, int] | None] = [
        (turn, position, tap, vector)
        for turn in range(wide // (lanes * across))
        for position in range(m)
        for tap in range(taps)
        for vector in range(rounds)
    ]
    issued = len(plan)
    clock = finished = 0
    pending: list[tuple[int, int]] = []
    while len(pending) or clock < issued:
        step = plan[clock] if clock < issued else None
        for a in range(across):
            for b in range(deep):
                if step is None:
                    pes[a][b].clock(None, None, False, False)
                    continue
                turn, position, tap, vector = step
                low = (turn * across + a) * lanes
                piece = slice((vector * deep + b) * width, (vector * deep + b + 1) * width)
                first, last = tap == 0 and vector == 0, tap == taps - 1 and vector == rounds - 1
                pes[a][b].clock(padded[position, tap, piece], weights[low : low + lanes, tap, piece], first, last)
        clock += 1
        done = [pes[a][0].done is not None for a in range(across)]
        if any(done):
            turn, position = pending.pop(0)
            for a in range(across):
                low = (turn * across + a) * lanes
                total = np.sum([pes[a][b].sums for b in range(deep)], axis=0)
                out[position, low : min(n, low + lanes)] = total[: max(0, n - low)]
            finished = clock
        if step is not None and step[2] == taps - 1 and step[3] == rounds - 1:
            pending.append(step[:2])
    return out, issued, finished


def run_pool_tile(ifmap: Ints, filters: Ints, pes: int, products: int) -> tuple[Ints, int]:
    """A tile on a pool of PEs with one accumulator each: outputs (m, n) and cycles. ifmap (m, k), filters (n, k)."""
    m, k = ifmap.shape
    n = filters.shape[0]
    places = [(i, j) for i in range(m) for j in range(n)]
    out = np.zeros((m, n), np.int64)
    clock = 0
    while places:
        now, places = places[:pes], places[pes:]
        sums = dict.fromkeys(now, 0)
        at = 0
        while at < k:  # an edge: every PE adds up to `products` products
            for i, j in now:
                sums[i, j] += int(ifmap[i, at : at + products] @ filters[j, at : at + products])
            at += products
            clock += 1
        for (i, j), value in sums.items():
            out[i, j] = value
    return out, clock
