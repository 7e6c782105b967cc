"""Which words a systolic array wants in which cycle: the edges of the folds of `accelsim.dataflow.systolic`.

The array is fed at its edges, row i (column j) i (j) cycles after row 0. Where the buffer meets that skew:

- `registers`: a triangle of shift registers lies between. The buffer reads all words of a step at once; sums leave
  through such a triangle, too, and are written at once with that of the last column in use.
- `buffer`: nothing lies between. Every row and column has an access of its own, in its own cycle. (Stationary words are
  shifted into a `serial` array row by row, all columns at once.)

Sums that are added to (row folds after the first of a weight- or input-stationary job, and jobs that go on with the
sums of an earlier tile) are read in the cycle in which they are written. Every fold reads its words anew.

In the buffer lies a window of the feature map, with the padding of its borders and what strides leave out; the rows of
the product are found in it by im2col, in the order image, row, column and, with layout "nhwc", tap, channel (a pixel
is a line), or with "nchw" channel, tap (a channel of an image is a line). A matrix is a window of one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelsim.dataflow.base import Array, Dataflow
from accelsim.sim.accesses import BURST_DTYPE, OPERANDS, AccessPattern, Bursts, Ints, Place


@dataclass(frozen=True)
class WindowTile:
    """The rows m = images * rows * cols and the channels * taps k of a tile; a matrix has its rows in `cols`."""

    images: int
    rows: int
    cols: int
    channels: int
    taps: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    @property
    def m(self) -> int:
        """Rows of the product."""
        return self.images * self.rows * self.cols

    @property
    def k(self) -> int:
        """Length of the sums."""
        return self.channels * self.taps[0] * self.taps[1]

    def axes(self, place: Place) -> tuple[Ints, Ints]:
        """Address = first[m] + second[k]."""
        height, width = (
            (count - 1) * step + (taps - 1) * apart + 1
            for count, step, taps, apart in zip(
                (self.rows, self.cols), self.stride, self.taps, self.dilation, strict=True
            )
        )
        positions, taps = (
            np.add.outer(np.arange(rows) * apart[0] * width, np.arange(cols) * apart[1]).ravel().astype(np.int64)
            for rows, cols, apart in ((self.rows, self.cols, self.stride), (*self.taps, self.dilation))
        )
        image, channel = np.arange(self.images, dtype=np.int64), np.arange(self.channels, dtype=np.int64)
        if place.layout == "nchw":
            plane = place.pitch(height * width)
            return (
                np.add.outer(image * self.channels * plane, positions).ravel(),
                np.add.outer(channel * plane, taps).ravel(),
            )
        pixel = place.pitch(self.channels)
        return (
            np.add.outer(image * height * width, positions).ravel() * pixel,
            np.add.outer(taps * pixel, channel).ravel(),
        )


def matrix_axes(rows: int, cols: int, place: Place, along_cols: bool) -> tuple[Ints, Ints]:
    """Addresses of a matrix: `along_cols`, the columns of a row lie side by side."""
    over_rows, over_cols = np.arange(rows, dtype=np.int64), np.arange(cols, dtype=np.int64)
    if along_cols:
        return over_rows * place.pitch(cols), over_cols
    return over_rows, over_cols * place.pitch(rows)


@dataclass(frozen=True)
class SystolicAccess(AccessPattern):
    """One job m x n x k of a systolic array, as often as the tile has groups; `adds`: to sums of an earlier tile."""

    dataflow: type[Dataflow]
    array: Array
    window: WindowTile
    n: int
    adds: bool = False
    registers: bool = True
    jobs: int = field(default=1, compare=False)

    def bursts(self, places: Mapping[str, Place]) -> tuple[Bursts, Ints]:
        """See `AccessPattern`: the folds in their order, for each operand."""
        m, n, k = self.window.m, self.n, self.window.k
        name, (ifmap, filters, psum) = self.dataflow.name, (places[o] for o in ("ifmap", "filter", "psum"))
        ifmap_m, ifmap_k = self.window.axes(ifmap)
        by_outputs = filters.layout == "rscm" or (not filters.layout and name != "is")
        filter_k, filter_n = matrix_axes(k, n, filters, by_outputs)
        psum_m, psum_n = matrix_axes(m, n, psum, psum.layout == "nhwc" or (not psum.layout and name != "is"))
        tables = _Tables()
        folds = _Folds.of(self.dataflow, self.array, m, n, k)
        wait = folds.columns - 1 if self.registers else 0
        if name == "os":
            done = folds.start + k + folds.rows - 2 + wait
            parts = [
                self._burst("ifmap", False, folds.start, tables.row(ifmap_k), tables.lanes(ifmap_m, folds, 0)),
                self._burst("filter", False, folds.start, tables.row(filter_k), tables.lanes(filter_n, folds, 1)),
            ]
            out = tables.steps(psum_m, folds), tables.lanes(psum_n, folds, 1)
            adds = np.full(len(folds.start), self.adds)
        else:
            done = folds.start + self.array.rows - 1 + wait
            if name == "ws":
                held, moved, sums = (filter_k, filter_n), (ifmap_m, ifmap_k), (psum_m, psum_n)
            else:
                held, moved, sums = (ifmap_k, ifmap_m), (filter_n, filter_k), (psum_n, psum_m)
            fixed, moving = ("filter", "ifmap") if name == "ws" else ("ifmap", "filter")
            load = folds.load + folds.rows - folds.used_rows  # the lowest row first; rows not in use before it
            wave = self.array.overlap != "serial"
            parts = [
                self._burst(
                    fixed, False, load, tables.backward(held[0], folds), tables.lanes(held[1], folds, 1), wave
                ),
                self._burst(moving, False, folds.start, tables.row(moved[0]), tables.lanes(moved[1], folds, 0)),
            ]
            out = tables.row(sums[0]), tables.lanes(sums[1], folds, 1)
            adds = (folds.row_at > 0) | self.adds
        parts.append(self._burst("psum", True, done, *out))
        parts.append(self._burst("psum", False, done, *out)[adds])
        return np.concatenate(parts), tables.joined()

    def _burst(self, operand: str, write: bool, start: Ints, steps: Any, lanes: Any, skewed: bool = True) -> Bursts:
        out = np.zeros(len(start), BURST_DTYPE)
        out["operand"], out["write"], out["start"] = OPERANDS.index(operand), write, start
        out["step_at"], out["steps"] = steps
        out["lane_at"], out["lanes"], across = lanes
        out["stagger"] = across if skewed and not self.registers else 0
        out["per"] = 1
        return out


@dataclass(frozen=True)
class _Folds:
    """The folds of a job in their order: column folds outer, row folds inner.

    `rows`, `columns`: what the controller counts with; `used_rows`, `used_cols`: those with words, over all arrays.
    """

    start: Ints
    load: Ints
    rows: Ints
    columns: Ints
    row_at: Ints
    col_at: Ints
    used_rows: Ints
    used_cols: Ints
    array: Array

    @classmethod
    def of(cls, dataflow: type[Dataflow], array: Array, m: int, n: int, k: int) -> _Folds:
        over_rows, over_cols, length = dataflow.spatial(m, n, k)
        wide = array.cols * array.arrays
        row_at, col_at = np.arange(0, over_rows, array.rows), np.arange(0, over_cols, wide)
        row, col = np.tile(row_at, len(col_at)), np.repeat(col_at, len(row_at))
        used_rows, used_cols = np.minimum(array.rows, over_rows - row), np.minimum(wide, over_cols - col)
        rows, columns = used_rows, np.minimum(array.cols, used_cols)
        if array.edge == "full":
            rows, columns = np.full_like(rows, array.rows), np.full_like(rows, array.cols)
        start, load = dataflow.fold_starts(array, rows, columns, int(length))
        return cls(start, load, rows, columns, row, col, used_rows, used_cols, array)


class _Tables:
    """Tables of addresses, and where in them the steps and lanes of each fold are."""

    def __init__(self) -> None:
        self.parts: list[Ints] = []
        self.size = 0

    def _add(self, values: Ints) -> int:
        at = self.size
        self.parts.append(values)
        self.size += len(values)
        return at

    def joined(self) -> Ints:
        return np.concatenate(self.parts)

    def row(self, values: Ints) -> tuple[int, int]:
        """Every fold goes through all of them."""
        return self._add(values), len(values)

    def steps(self, values: Ints, folds: _Folds) -> tuple[Any, Any]:
        """A fold goes through those of its rows."""
        return self._add(values) + folds.row_at, folds.used_rows

    def backward(self, values: Ints, folds: _Folds) -> tuple[Any, Any]:
        """A fold goes through those of its rows, the last first."""
        return self._add(values[::-1]) + len(values) - folds.row_at - folds.used_rows, folds.used_rows

    def lanes(self, values: Ints, folds: _Folds, across: int) -> tuple[Any, Any, int]:
        """Those of the fold's rows (0) or columns (1), and how many of them one array has."""
        if across:
            return self._add(values) + folds.col_at, folds.used_cols, folds.array.cols
        return self._add(values) + folds.row_at, folds.used_rows, folds.array.rows
