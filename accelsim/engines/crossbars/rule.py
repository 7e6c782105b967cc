"""How long a crossbar takes: read steps, conversions beside them, and steps that zeros save.

A step drives `active_rows` wordlines with one digit of each input and converts `active_cols` bit lines. The columns'
sums are held (one sample-and-hold each), so the ADCs convert step s while the array reads step s + 1; a read can end
only when the held sums of the step before are converted:

    held(s) = max(held(s-1) + read, converted(s-1)),   converted(s) = held(s) + convert

hence a product of S steps takes read + (S - 1) max(read, convert) + convert, and stages before and after it. That is
ISAAC's pipeline (ISCA 2016, Section VI): 1 + 16 + 1 + 4 = 22 stages of 100 ns. Multiplying the array's time by the
ADC's sharing, as `pipelined=False` does, is the rule of simulators that do not overlap the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mvm:
    """Timing of one matrix-vector product.

    Attributes
    ----------
    steps : int
        Reads: digits x row groups x column groups.
    read, convert : int
        Cycles of a read (DAC and array), and of the conversions of its columns.
    before, after : int
        Cycles of the stages around it: fetching inputs; adding, activation and writing results.
    pipelined : bool
        The ADCs work beside the array.
    overlap : bool
        The next product's reads follow at once; else it waits for the results of this one.
    between : int
        Cycles from a result to the next product of a core that does one thing after another: vector instructions,
        accesses to the shared memory.
    """

    steps: int
    read: int
    convert: int
    before: int = 0
    after: int = 0
    pipelined: bool = True
    overlap: bool = True
    between: int = 0

    @property
    def step(self) -> int:
        """Cycles from one step to the next."""
        return max(self.read, self.convert) if self.pipelined else self.read + self.convert

    @property
    def latency(self) -> int:
        """Cycles from the start to the last result."""
        inside = self.steps * self.step
        if self.pipelined:
            inside += min(self.read, self.convert)
        return self.before + inside + self.after

    @property
    def interval(self) -> int:
        """Cycles from one product to the next on the same array."""
        return self.steps * self.step if self.overlap else self.latency + self.between

    @property
    def adc_stall(self) -> int:
        """Cycles of an interval in which the array stands still for the ADCs."""
        return self.steps * (self.step - self.read)


def kept_rows(levels: NDArray[Any], active_cols: int) -> NDArray[np.bool_]:
    """Rows that row compression keeps: (rows, column groups), True where a cell of the group is not zero.

    `levels` (rows, cells) are the digits in one crossbar (Sparse ReRAM Engine, Yang et al., ISCA 2019, Section IV).
    """
    rows, cells = levels.shape
    groups = -(-cells // active_cols)
    padded = np.zeros((rows, groups * active_cols), bool)
    padded[:, :cells] = levels != 0
    return np.asarray(padded.reshape(rows, groups, active_cols).any(2))


def operation_units(
    digits: NDArray[Any], kept: NDArray[np.bool_], active_rows: int, *, skip_weights: bool, skip_inputs: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Operation units that one crossbar needs.

    Parameters
    ----------
    digits : ndarray, (vectors, steps, rows)
        Digits of the inputs, in the order in which they are applied.
    kept : ndarray of bool, (rows, column groups)
        See `kept_rows`.
    active_rows : int
        Wordlines of a unit.
    skip_weights, skip_inputs : bool
        Leave out rows that compression removed, and rows whose digit is zero; both: a row must pass both.

    Returns
    -------
    (vectors,), (column groups,), (column groups,) of int64
        Units of each vector: sum over steps and column groups of ceil(live rows / active_rows). Units of each column
        group, and wordlines that they drive, over all vectors.
    """
    vectors, steps, rows = digits.shape
    live = (digits.reshape(-1, rows) != 0) if skip_inputs else np.ones((vectors * steps, rows), bool)
    masks = kept if skip_weights else np.ones_like(kept)
    driven = live.astype(np.float32) @ masks.astype(np.float32)  # exact: counts are small
    units = np.ceil(driven / active_rows).astype(np.int64)
    return units.sum(1).reshape(vectors, steps).sum(1), units.sum(0), driven.sum(0, np.float64).astype(np.int64)
