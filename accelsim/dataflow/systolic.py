"""Output, weight and input stationary on a systolic array: closed forms, exact to the cycle.

The hardware is that of the register-transfer models in `tests/rtl/systolic.py`, against which
every formula here is tested: registered links, row i and column j skewed by i and j.

Output stationary (rows = m, columns = n, time = k). PE(i, j) does its t-th multiply in cycle
t + i + j. A column's results are captured by a drain chain when its last used row is ready and
leave over row 0, one word a cycle, while the next fold computes.

Whatever the mode, the chain of a column must be empty before it is loaded again, so a fold
(primed) starts at least T - T' + 2r - r' cycles after the one before it; for equal folds that is r.

- `serial`: the next fold enters after the last multiply of this one: T + r + c - 2 cycles later.
- `pipelined`: a shadow register keeps each finished sum until its column drains, so folds follow
  every T cycles, unless the chain, or a shadow register that still waits (T - T' + r - 1), forbids.

Weight stationary (rows = k, columns = n, time = m), input stationary the same with m and n
exchanged. Words are shifted in from the top, psums leave below the physical bottom row.

- `serial`: load r, stream T, wait until the last psum has left: r + T + R + c - 2 cycles a fold.
  This, with whole folds, is the array that SCALE-Sim models (2R + C + T - 2).
- `overlap`: one register, but the next words follow the last operand down the array as a wave:
  a fold every T + r' - 1 cycles.
- `double_buffered`: a shadow register takes the next words during streaming: max(T, r').
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from accelsim.dataflow.base import (
    DATAFLOWS,
    Accesses,
    Array,
    Dataflow,
    Ints,
    JobEdge,
    JobTiming,
    as_int64,
    grid,
)


@DATAFLOWS.register("os")
class OutputStationary(Dataflow):
    """Sums stay in the PEs; both operands stream."""

    name: ClassVar[str] = "os"
    overlaps: ClassVar[tuple[str, ...]] = ("serial", "pipelined")

    @staticmethod
    def spatial(m: Ints, n: Ints, k: Ints) -> tuple[Ints, Ints, Ints]:
        return m, n, k

    @classmethod
    def _interval(cls, array: Array, now: JobEdge, then: JobEdge) -> Ints:
        """Least distance between the starts of two folds that follow each other."""
        t, r, c = as_int64(now.length), as_int64(now.rows), as_int64(now.cols)
        chain = t - then.length + 2 * r - then.rows
        if array.overlap == "serial":
            return np.maximum(t + r + c - 2, chain)
        return np.maximum(np.maximum(t, chain), t - then.length + r - 1)

    @classmethod
    def timing(cls, array: Array, m: Ints, n: Ints, k: Ints) -> JobTiming:
        g = grid(array, *cls.spatial(m, n, k))
        folds, t, zero = g.row_folds * g.col_folds, g.length, np.zeros_like(g.row_folds)
        several, cols = g.row_folds > 1, as_int64(g.first_cols)
        first_row = JobEdge(np.where(several, g.first_rows, g.last_rows), cols, t)
        last_row = JobEdge(g.last_rows, cols, t)
        # starts within a column fold of c columns: full -> full ..., full -> last
        within, next_fold = [], cls._interval(array, last_row, first_row)
        for c in (g.first_cols, g.last_cols):
            full, last = JobEdge(g.first_rows, c, t), JobEdge(g.last_rows, c, t)
            inner = (g.row_folds - 2) * cls._interval(array, full, full) + cls._interval(array, full, last)
            within.append(np.where(several, inner, 0))
        start = (g.col_folds - 1) * (within[0] + next_fold) + within[1]  # of the last fold
        span = t + g.last_rows + g.last_cols - 2
        stream = start + (span if array.overlap == "serial" else t)
        finish = start + span + g.last_rows - 1
        # with few steps, the wider column fold before the last may be the last to drain
        before = start - within[1] - next_fold + t + g.last_rows + g.first_cols - 2 + g.last_rows - 1
        finish = np.where(g.col_folds > 1, np.maximum(finish, before), finish)
        return JobTiming(zero, zero, stream, finish, folds * t, folds)

    @classmethod
    def gap(cls, array: Array, now: JobEdge, then: JobEdge) -> Ints:
        t, r, c = as_int64(now.length), as_int64(now.rows), as_int64(now.cols)
        return cls._interval(array, now, then) - (t + r + c - 2 if array.overlap == "serial" else t)

    @classmethod
    def fold_starts(cls, array: Array, rows: Ints, cols: Ints, length: int) -> tuple[Ints, Ints]:
        now, then = JobEdge(rows[:-1], cols[:-1], length), JobEdge(rows[1:], cols[1:], length)
        start = np.concatenate(([0], np.cumsum(cls._interval(array, now, then), dtype=np.int64)))
        return start, start

    @classmethod
    def accesses(cls, array: Array, m: Ints, n: Ints, k: Ints) -> Accesses:
        m, n, k = as_int64(m), as_int64(n), as_int64(k)
        fr, fc = -(-m // array.rows), -(-n // (array.cols * array.arrays))
        return Accesses(fc * m * k, fr * k * n, m * n, np.zeros_like(m))


class _Stationary(Dataflow):
    """What weight and input stationary share."""

    overlaps: ClassVar[tuple[str, ...]] = ("serial", "overlap", "double_buffered")

    @classmethod
    def timing(cls, array: Array, m: Ints, n: Ints, k: Ints) -> JobTiming:
        g = grid(array, *cls.spatial(m, n, k))
        folds = g.row_folds * g.col_folds
        t, first, last, full = g.length, g.first_rows, g.last_rows, np.int64(array.rows)
        tail = t + array.rows + g.last_cols - 2  # from the start of the last fold to its last psum
        if array.overlap == "serial":
            # sum over folds of r + T + R + c - 2, less the first load
            stream = (
                folds * (t + array.rows - 2) + g.col_folds * g.sum_rows + g.row_folds * g.sum_cols - first
            )
            return JobTiming(first, stream, stream, stream, folds * t, folds)
        if array.overlap == "overlap":
            start = (folds - 1) * (t - 1) + g.col_folds * g.sum_rows - first
            last_col_fold = g.row_folds * (t - 1) + g.sum_rows
            free = start + t - 1
        else:
            # every fold but the first is entered after max(T, its rows)
            to_full = g.col_folds * (g.row_folds - 1) - np.where(g.row_folds > 1, 1, 0)
            to_last = folds - 1 - to_full
            start = to_full * np.maximum(t, full) + to_last * np.maximum(t, last)
            last_col_fold = (g.row_folds - 1) * np.maximum(t, full) + np.maximum(t, last)
            free = start
        # with few steps, the wider column fold before the last may be the last to leave
        before = start - last_col_fold + t + array.rows + g.first_cols - 2
        finish = np.where(g.col_folds > 1, np.maximum(start + tail, before), start + tail)
        return JobTiming(first, free, start + t, finish, folds * t, folds)

    @classmethod
    def fold_starts(cls, array: Array, rows: Ints, cols: Ints, length: int) -> tuple[Ints, Ints]:
        if array.overlap == "serial":
            after = length + array.rows + cols[:-1] - 2 + rows[1:]
        elif array.overlap == "overlap":
            after = length + rows[1:] - 1
        else:
            after = np.maximum(length, rows[1:])
        start = np.concatenate(([0], np.cumsum(after, dtype=np.int64)))
        if array.overlap == "double_buffered":  # the shadow registers are free as soon as the fold before begins
            return start, np.concatenate((-rows[:1], start[:-1]))
        return start, start - rows


@DATAFLOWS.register("ws")
class WeightStationary(_Stationary):
    """Filter words stay in the PEs; ifmap streams, psums flow through the columns."""

    name: ClassVar[str] = "ws"
    stationary: ClassVar[str] = "filter"

    @staticmethod
    def spatial(m: Ints, n: Ints, k: Ints) -> tuple[Ints, Ints, Ints]:
        return k, n, m

    @classmethod
    def accesses(cls, array: Array, m: Ints, n: Ints, k: Ints) -> Accesses:
        m, n, k = as_int64(m), as_int64(n), as_int64(k)
        fr, fc = -(-k // array.rows), -(-n // (array.cols * array.arrays))
        return Accesses(fc * m * k, k * n, fr * m * n, (fr - 1) * m * n)


@DATAFLOWS.register("is")
class InputStationary(_Stationary):
    """Ifmap words stay in the PEs; filter words stream, psums flow through the columns."""

    name: ClassVar[str] = "is"
    stationary: ClassVar[str] = "ifmap"

    @staticmethod
    def spatial(m: Ints, n: Ints, k: Ints) -> tuple[Ints, Ints, Ints]:
        return k, m, n

    @classmethod
    def accesses(cls, array: Array, m: Ints, n: Ints, k: Ints) -> Accesses:
        m, n, k = as_int64(m), as_int64(n), as_int64(k)
        fr, fc = -(-k // array.rows), -(-m // (array.cols * array.arrays))
        return Accesses(m * k, fc * k * n, fr * m * n, (fr - 1) * m * n)
