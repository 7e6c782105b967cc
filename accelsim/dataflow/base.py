"""What a dataflow answers: how a GEMM lies on the array, and the exact cycles of a chain of folds.

A *fold* is one use of the array: `rows` x `cols` of its PEs for `length` temporal steps. A *job*
is a GEMM tile: its folds in order, column folds outer, row folds inner. All arguments of the
methods may be integers or equally shaped int64 arrays, so that a mapping search scores
thousands of tiles at once.

Every job is described by four instants, as offsets from the cycle in which its first operand
enters the array; the simulator chains jobs with them (see `engines.base`):

- `load`: cycles to bring in the stationary operand of its first fold, before that cycle;
- `load_free`: from when the array can take the stationary operand of the next job;
- `stream`: from when the array can take the first operand of the next job;
- `finish`: when the last result is held in the register at the array's edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.registry import Registry

Ints = Any  # int or NDArray[np.int64], all of one shape

DATAFLOWS: Registry[type[Dataflow]] = Registry("dataflow", "accelsim.dataflow")


@dataclass(frozen=True)
class Array:
    """A grid of PEs (or several that work in step, each on its own column fold).

    Parameters
    ----------
    rows, cols : int
    overlap : str
        How folds follow each other: see the dataflows.
    edge : str
        "ragged": the controller knows how many rows and columns of a fold are in use.
        "full": every fold takes the time of a full one.
    arrays : int
        Arrays that share the row operand and take consecutive column folds at the same time.
    """

    rows: int
    cols: int
    overlap: str = "serial"
    edge: str = "ragged"
    arrays: int = 1


@dataclass(frozen=True)
class JobTiming:
    """Cycles of one job or of an array of jobs; see the module's text. `busy` counts streaming steps."""

    load: Ints
    load_free: Ints
    stream: Ints
    finish: Ints
    busy: Ints
    folds: Ints


@dataclass(frozen=True)
class Accesses:
    """Words that cross the border between buffers and array, for one job."""

    ifmap_reads: Ints
    filter_reads: Ints
    psum_writes: Ints
    psum_reads: Ints


class Dataflow:
    """Which operand stays in the PEs; one subclass per dataflow, without state."""

    name: ClassVar[str] = ""
    stationary: ClassVar[str] = ""  # the operand that must be loaded before streaming: filter, ifmap or ""
    overlaps: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def spatial(m: Ints, n: Ints, k: Ints) -> tuple[Ints, Ints, Ints]:
        """(extent over rows, extent over columns, temporal length) of a GEMM."""
        raise NotImplementedError

    @classmethod
    def timing(cls, array: Array, m: Ints, n: Ints, k: Ints) -> JobTiming:
        """Exact cycles of the job m x n x k on `array`."""
        raise NotImplementedError

    @classmethod
    def accesses(cls, array: Array, m: Ints, n: Ints, k: Ints) -> Accesses:
        """Exact words moved between buffers and array by that job."""
        raise NotImplementedError

    @classmethod
    def gap(cls, array: Array, now: JobEdge, then: JobEdge) -> Ints:
        """Extra cycles beyond `stream` before a job with first fold `then` may follow a last fold `now`."""
        return np.zeros_like(as_int64(now.rows))

    @classmethod
    def fold_starts(cls, array: Array, rows: Ints, cols: Ints, length: int) -> tuple[Ints, Ints]:
        """(first operand, first word of the stationary one) of each fold of a job, in cycles from the first operand.

        `rows` and `cols` (int64 arrays) are those that the controller counts with, fold by fold.
        """
        raise NotImplementedError

    @classmethod
    def edges(cls, array: Array, m: Ints, n: Ints, k: Ints) -> tuple[JobEdge, JobEdge]:
        """The first and the last fold of a job."""
        g = grid(array, *cls.spatial(m, n, k))
        return JobEdge(g.first_rows, g.first_cols, g.length), JobEdge(g.last_rows, g.last_cols, g.length)


@dataclass(frozen=True)
class JobEdge:
    """A fold at the start or the end of a job: rows and columns in use, temporal length."""

    rows: Ints
    cols: Ints
    length: Ints


@dataclass(frozen=True)
class Grid:
    """The folds of a job: how many in each direction and how large the last ones are."""

    row_folds: Ints
    col_folds: Ints  # groups of `arrays` column folds that run at the same time
    last_rows: Ints
    last_cols: Ints
    first_rows: Ints
    first_cols: Ints
    sum_rows: Ints  # rows in use, summed over the row folds of one column fold
    sum_cols: Ints
    length: Ints


def grid(array: Array, extent_rows: Ints, extent_cols: Ints, length: Ints) -> Grid:
    """Cut the spatial extents into folds of the array's size."""
    sr, sc = np.asarray(extent_rows, np.int64), np.asarray(extent_cols, np.int64)
    rows, cols, wide = array.rows, array.cols, array.cols * array.arrays
    fr = -(-sr // rows)
    fc = -(-sc // wide)
    if array.edge == "full":
        last_r, first_r = np.full_like(sr, rows), np.full_like(sr, rows)
        last_c, first_c = np.full_like(sc, cols), np.full_like(sc, cols)
    else:
        last_r = sr - (fr - 1) * rows
        first_r = np.minimum(sr, rows)
        last_c = np.minimum(cols, sc - (fc - 1) * wide)
        first_c = np.minimum(sc, cols)
    return Grid(
        fr,
        fc,
        last_r,
        last_c,
        first_r,
        first_c,
        (fr - 1) * rows + last_r,
        (fc - 1) * cols + last_c,
        np.asarray(length, np.int64),
    )


def as_int64(value: Ints) -> NDArray[np.int64]:
    """The value as an int64 array (0-d for an integer)."""
    return np.asarray(value, dtype=np.int64)
