"""What quantizers share: the tensor as rows, statistics of rows, and the kernels on all cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import Step, StepParams
from accelsim.compress.parallel import BLOCK_ELEMENTS, over_blocks, over_rows, row_blocks
from accelsim.compress.quantize import kernels
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.encodings.coded import rows_of
from accelsim.workload.generator import GeneratorSpec
from accelsim.workload.packing import value_dtype

T = TypeVar("T")

Granularity = Literal["tensor", "channel"]

HISTOGRAM_BINS = 1 << 16


class Quantizer(Step):
    """Base of all quantizers: any object, any tensor of finite numbers."""

    objects: ClassVar[tuple[str, ...]] = ("W", "A", "E", "G", "U", "BN")

    class Params(StepParams):
        """Keys of the quantizer."""

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        """Bits and sign of the integers by which a described operand is drawn after this step."""
        raise ConfigError("has no values, it is only described", state.name)

    def apply_described(self, state: TensorState) -> None:
        """A described operand is drawn anew, as integers of the new width; spikes stay what they are."""
        bits, signed = self.described_codes(state)
        assert state.described is not None
        if state.described.bits == 1 and not state.described.signed:
            return
        if bits == 1 and signed:
            raise ConfigError("bits must be at least 2 for operands that may be negative")
        state.describe(requantized(state.described, bits, signed))


def rows(values: FloatArray, granularity: str) -> FloatArray:
    """The tensor as (first dimension, rest), or as one row of everything."""
    matrix: FloatArray = rows_of(values) if granularity == "channel" else values.reshape(1, -1)
    return matrix


def by_row(matrix: FloatArray, measure: Callable[[FloatArray], Any], width: int = 0) -> NDArray[Any]:
    """`measure(block)` -> one number (or `width`) for each row; blocks of rows side by side on all cores.

    A single long row is handed over whole.
    """
    found = over_rows(matrix, lambda part: np.asarray(measure(matrix[part])))
    return np.concatenate([f.reshape(-1, width) if width else f.reshape(-1) for f in found])


def mean_magnitude(matrix: FloatArray) -> NDArray[np.float64]:
    """Mean of |x| of each row, in float64, summed by blocks in a fixed order."""
    count, length = matrix.shape
    if count > 1:
        return np.asarray(by_row(matrix, lambda part: np.abs(part).sum(axis=1, dtype=np.float64)) / length)
    pieces = split_row(matrix)
    sums = over_blocks(lambda i: float(np.abs(pieces[i]).sum(dtype=np.float64)), len(pieces))
    return np.array([sum(sums) / length])


def extremes(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least and largest element of each row."""
    pieces = [matrix[part] for part in row_blocks(*matrix.shape)] if matrix.shape[0] > 1 else split_row(matrix)
    found = over_blocks(lambda i: (pieces[i].min(axis=1), pieces[i].max(axis=1)), len(pieces))
    if matrix.shape[0] > 1:
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    return np.min([f[0] for f in found], axis=0), np.max([f[1] for f in found], axis=0)


def split_row(matrix: FloatArray) -> list[FloatArray]:
    """A matrix of one row in pieces of one row each."""
    return [matrix[:, at : at + BLOCK_ELEMENTS] for at in range(0, matrix.shape[1], BLOCK_ELEMENTS)]


Piece = Callable[[FloatArray, NDArray[Any], int, int], None]


def over_pieces(matrix: FloatArray, out: NDArray[Any], work: Piece) -> None:
    """`work(piece, piece of out, first row, first column)` for the matrix in pieces, on all cores."""
    if matrix.shape[0] > 1:
        parts = [(part, slice(None)) for part in row_blocks(*matrix.shape)]
    else:
        ends = range(0, matrix.shape[1], BLOCK_ELEMENTS)
        parts = [(slice(0, 1), slice(at, at + BLOCK_ELEMENTS)) for at in ends]
    over_blocks(lambda i: work(matrix[parts[i]], out[parts[i]], parts[i][0].start, parts[i][1].start or 0), len(parts))


def affine(
    codes: NDArray[Any], bits: int, signed: bool, scale: Any, zero_point: Any = 0
) -> Quantized:
    """Integers that stand for scale * (code - zero_point)."""
    tables = {"scale": np.asarray(scale, np.float32), "zero_point": np.asarray(zero_point, np.int32)}
    return Quantized(codes, bits, signed, "affine", tables)


def round_to(
    values: FloatArray,
    scales: FloatArray,
    offsets: FloatArray,
    group: int,
    limits: tuple[int, int],
    bits: int,
    signed: bool,
    key: np.uint64 | None = None,
) -> NDArray[Any]:
    """Codes clip(round(x / scale) + offset); at random if there is a `key`.

    Parameters
    ----------
    values : ndarray of float32, any shape
    scales, offsets : ndarray of float32, (1 or rows, groups)
        One row: the tensor is one row, groups run over all its elements (`group` of them each).
    group : int
    limits : (int, int)
    bits, signed
        Of the result's dtype.
    """
    matrix = rows_of(values) if scales.shape[0] > 1 else values.reshape(1, -1)
    out = np.empty(matrix.shape, value_dtype(bits, signed))
    low, high = np.float32(limits[0]), np.float32(limits[1])
    single, length = scales.size == 1, matrix.shape[1]

    def work(part: FloatArray, to: NDArray[Any], row: int, column: int) -> None:
        here = slice(row, row + part.shape[0])
        s, z = (scales[here], offsets[here]) if scales.shape[0] > 1 else (scales, offsets)
        size = part.shape[1] if single else group
        if key is None:
            kernels.round_groups(part, s, z, size, low, high, to)
        else:
            with np.errstate(over="ignore"):
                kernels.round_randomly(part, s, z, size, low, high, key, np.uint64(row * length + column), to)

    if matrix.shape[0] == 1 and not single:
        work(matrix, out, 0, 0)  # cutting it would cut groups
    else:
        over_pieces(matrix, out, work)
    return out.reshape(values.shape)


def nearest(
    values: FloatArray, thresholds: NDArray[Any], names: NDArray[Any], bits: int, signed: bool, symmetric: bool
) -> NDArray[Any]:
    """Codes names[row or 0, number of thresholds below the value]; see `kernels.nearest_level`."""
    matrix = rows_of(values) if max(thresholds.shape[0], names.shape[0]) > 1 else values.reshape(1, -1)
    out = np.empty(matrix.shape, value_dtype(bits, signed))
    thresholds = np.ascontiguousarray(thresholds, np.float32)
    names = np.ascontiguousarray(names, np.int64)

    def work(part: FloatArray, to: NDArray[Any], row: int, column: int) -> None:
        here = slice(row, row + part.shape[0])
        t = thresholds if thresholds.shape[0] == 1 else thresholds[here]
        n = names if names.shape[0] == 1 else names[here]
        kernels.nearest_level(part, t, n, symmetric, to)

    over_pieces(matrix, out, work)
    return out.reshape(values.shape)


def midpoints(levels: NDArray[Any]) -> FloatArray:
    """Between neighbouring levels, in ascending rows: thresholds of the nearest one."""
    wide = np.asarray(levels, np.float64)
    found: FloatArray = ((wide[..., 1:] + wide[..., :-1]) / 2).astype(np.float32)
    return found


def moments(values: FloatArray, codes: NDArray[Any], table: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Number and sum of the elements with each code, by row if `table` (rows, codes) has several."""
    matrix = rows_of(values) if table[0] > 1 else values.reshape(1, -1)
    names = codes.reshape(matrix.shape)
    pieces: list[tuple[FloatArray, NDArray[Any], int]] = []
    if table[0] > 1:
        pieces = [(matrix[part], names[part], part.stop - part.start) for part in row_blocks(*matrix.shape)]
    else:
        ends = range(0, matrix.shape[1], BLOCK_ELEMENTS)
        pieces = [(matrix[:, a : a + BLOCK_ELEMENTS], names[:, a : a + BLOCK_ELEMENTS], 1) for a in ends]

    def work(i: int) -> tuple[NDArray[Any], NDArray[Any]]:
        part, name, count = pieces[i]
        counts, sums = np.zeros((count, table[1]), np.int64), np.zeros((count, table[1]))
        kernels.cluster_sums(part, name, counts, sums)
        return counts, sums

    found = over_blocks(work, len(pieces))
    if table[0] > 1:
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    counts, sums = found[0]
    for more, further in found[1:]:  # in order, so that the float64 sums do not depend on the threads
        counts, sums = counts + more, sums + further
    return counts, sums


@dataclass(frozen=True)
class Histogram:
    """Elements by value: bin j holds [low + j / bins_per_unit, ...); the last takes the largest value too.

    `counts` int64, `sums` float64 (bins,); `centres` are the means of the elements in each bin.
    """

    low: np.float32
    bins_per_unit: np.float32
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]

    @property
    def used(self) -> NDArray[np.int64]:
        """Bins that hold something."""
        return np.flatnonzero(self.counts)


def histogram_of(values: FloatArray, bins: int = HISTOGRAM_BINS, *, skip_zero: bool = False) -> Histogram:
    """The histogram of a tensor between its least and its largest element."""
    row = values.reshape(1, -1)
    least, most = (float(e[0]) for e in extremes(row))
    low = np.float32(least)
    span = most - least
    scale = np.float32(bins / span) if span > 0 and np.isfinite(np.float32(bins / span)) else np.float32(1)
    pieces = split_row(row)

    def work(i: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        counts, sums = np.zeros(bins, np.int64), np.zeros(bins)
        kernels.histogram(pieces[i], low, scale, skip_zero, counts, sums)
        return counts, sums

    counts, sums = np.zeros(bins, np.int64), np.zeros(bins)
    for at in range(0, len(pieces), 16):  # a few at a time: a table of 64k bins is as large as half a block
        for more, further in over_blocks(partial(_shifted, work, at), min(16, len(pieces) - at)):
            counts += more
            sums += further
    return Histogram(low, scale, counts, sums)


def _shifted(work: Callable[[int], T], start: int, i: int) -> T:
    return work(start + i)


def requantized(spec: GeneratorSpec, bits: int, signed: bool) -> GeneratorSpec:
    """The description of the same tensor at another width."""
    changed: dict[str, Any] = {**spec.model_dump(), "bits": bits, "signed": signed}
    if bits > 16 or (bits == 1 and signed):
        changed["distribution"] = "uniform"
    return GeneratorSpec(**changed)


def width(step: Step, state: TensorState, value: Any, low: int, high: int) -> int:
    """The bits for a tensor, checked once more, as a per-layer mapping may hold anything.

    Raises
    ------
    ConfigError
    """
    bits = step.at(state, value)
    if not isinstance(bits, int) or isinstance(bits, bool) or not low <= bits <= high:
        raise ConfigError(f"bits must be {low} to {high} for {step.kind}, got {bits!r}")
    return bits
