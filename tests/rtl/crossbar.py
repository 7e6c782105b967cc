"""Registers of a crossbar's pipeline: DAC and array, sample-and-hold, shared ADCs, shift and add, clock by clock.

Written from the papers' descriptions, not from the engine: every step of the array drives a group of wordlines with
one digit of the inputs; when the read is done and the held sums of the step before have all been converted, the
columns' sums are sampled, and the array goes on. Each ADC converts one held column in `convert` clocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Ports:
    """What the hardware is built for: levels (rows, columns) and how a column's code counts in its output."""

    levels: Array
    output_of: Array  # column -> output
    factor_of: Array  # column -> weight of its code
    outputs: int
    read: int
    convert: int
    adcs: int
    active_rows: int
    active_cols: int
    low: int
    high: int
    pipelined: bool = True


class CrossbarRegisters:
    """One array with its converters; `run` feeds it vectors of digits and returns outputs and the clock of each."""

    def __init__(self, ports: Ports) -> None:
        self.p = ports
        self.clock = 0
        self.reading: tuple[int, int, int, int] | None = None  # vector, digit, first row, first column
        self.left = 0
        self.held: Array | None = None
        self.held_for: tuple[int, int, int] = (0, 0, 0)  # vector, digit, first column
        self.column = 0
        self.converting = 0
        self.done: dict[int, int] = {}

    def run(self, digits: Array, factors: list[int]) -> tuple[Array, list[int]]:
        """digits (vectors, steps, rows), factor of each step -> (outputs (vectors, outputs), clocks)."""
        p = self.p
        rows, cols = p.levels.shape
        work = deque(
            (v, d, r, c)
            for v in range(len(digits))
            for d in range(digits.shape[1])
            for r in range(0, rows, p.active_rows)
            for c in range(0, cols, p.active_cols)
        )
        left = {v: digits.shape[1] * -(-rows // p.active_rows) * -(-cols // p.active_cols) for v in range(len(digits))}
        self.acc = np.zeros((len(digits), p.outputs), np.int64)
        while work or self.reading or self.held is not None:
            if self.reading is None and work and (p.pipelined or self.held is None):
                self.reading, self.left = work.popleft(), p.read
            self._edge(digits, factors, left)
        return self.acc, [self.done[v] for v in range(len(digits))]

    def _edge(self, digits: Array, factors: list[int], left: dict[int, int]) -> None:
        """One clock edge: converters first, so that a hold register freed now is free now."""
        p = self.p
        self.clock += 1
        if self.held is not None:
            self.converting += 1
            if self.converting == p.convert:
                self.converting = 0
                vector, digit, first = self.held_for
                for column in range(self.column, min(self.column + p.adcs, len(self.held))):
                    code = min(max(int(self.held[column]), p.low), p.high)
                    at = first + column
                    self.acc[vector, p.output_of[at]] += code * int(p.factor_of[at]) * factors[digit]
                self.column += p.adcs
                if self.column >= len(self.held):
                    self.held, self.column = None, 0
                    left[vector] -= 1
                    if not left[vector]:
                        self.done[vector] = self.clock
        if self.reading is not None:
            self.left = max(0, self.left - 1)
            if self.left == 0 and self.held is None:
                vector, digit, row, column = self.reading
                rows, cols = slice(row, row + p.active_rows), slice(column, column + p.active_cols)
                self.held = digits[vector, digit, rows].astype(np.int64) @ p.levels[rows, cols]
                self.held_for, self.reading = (vector, digit, column), None
