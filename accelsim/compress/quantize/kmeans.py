"""Weight sharing: k-means clusters of the weights of a tensor, and a code book of their centres.

Han, Mao, Dally, "Deep Compression", ICLR 2016, section 3: one-dimensional k-means for each layer, centres started
evenly over the range (its best of three ways). After pruning, only what is left is clustered, and code 0 stays zero.

Lloyd's iteration works on a histogram of 64k bins, each with the exact number and sum of its elements: a cluster is a
range of bins, its centre the exact mean of their elements. `exact` iterates over the elements themselves.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize import kernels
from accelsim.compress.quantize.common import (
    Histogram,
    Quantizer,
    histogram_of,
    midpoints,
    moments,
    nearest,
    over_pieces,
    width,
)
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.packing import value_dtype

BookBits = Annotated[int, pydantic.Field(ge=1, le=10)]
Centres = NDArray[np.float64]


@STEPS.register("kmeans")
class KMeans(Quantizer):
    """A code book of 2**bits levels, of which one is zero if the tensor is pruned (or `zero: true`).

    `start`: linear (even over the range), density (even over the distribution), or random elements.
    """

    kind: ClassVar[str] = "kmeans"

    class Params(Quantizer.Params):
        """`zero`: reserve code 0 for zero; by default if the tensor is pruned."""

        bits: PerLayer[BookBits] = 4
        start: Literal["linear", "density", "random"] = "linear"
        iterations: int = pydantic.Field(default=100, ge=0, le=10_000)
        exact: bool = False
        zero: bool | None = None

    def apply(self, state: TensorState) -> None:
        bits, params, values = width(self, state, self.params.bits, 1, 10), self.params, state.values
        zero = state.pruned if params.zero is None else params.zero
        count = (1 << bits) - int(zero)
        histogram = histogram_of(values, skip_zero=zero)
        if not histogram.used.size:
            levels = np.zeros((1, 1), np.float32)
            codes = np.zeros(values.shape, value_dtype(bits, False))
        else:
            centres = self._start(state, histogram, count)
            centres, ends = lloyd(histogram, centres, params.iterations)
            if params.exact:
                levels, codes = exact_lloyd(values, centres, params.iterations, zero, bits)
            else:
                levels, codes = from_bins(values, histogram, centres, ends, zero, bits)
        state.quantize(Quantized(codes, bits, False, "codebook", {"levels": levels}, {"rows": 1, "size": levels.size}))

    def _start(self, state: TensorState, histogram: Histogram, count: int) -> Centres:
        used = histogram.used
        means = histogram.sums[used] / histogram.counts[used]
        if self.params.start == "linear":
            return np.linspace(means[0], means[-1], count)
        share = np.cumsum(histogram.counts[used]) / histogram.counts.sum()
        if self.params.start == "density":
            places = (np.arange(count) + 0.5) / count
        else:
            places = np.sort((self.words(state, "start", 0, count) >> np.uint64(11)).astype(np.float64) / 2.0**53)
        return np.asarray(means[np.minimum(np.searchsorted(share, places), used.size - 1)])


def lloyd(histogram: Histogram, centres: Centres, iterations: int) -> tuple[Centres, NDArray[np.int64]]:
    """Lloyd's iteration on bins.

    Returns
    -------
    centres : ndarray of float64, ascending
        Means of their clusters; a centre without elements stays where it was.
    ends : ndarray of int64
        For each bin that is used, its cluster.
    """
    used = histogram.used
    counts, sums = histogram.counts[used], histogram.sums[used]
    means = sums / counts
    count_to = np.concatenate([[0], np.cumsum(counts)])
    sum_to = np.concatenate([[0.0], np.cumsum(sums)])
    centres = np.sort(centres)
    cuts = np.searchsorted(means, (centres[1:] + centres[:-1]) / 2, side="right")
    for _ in range(iterations):
        edges = np.concatenate([[0], cuts, [used.size]])
        number = np.diff(count_to[edges])
        centres = np.sort(np.where(number > 0, np.diff(sum_to[edges]) / np.maximum(number, 1), centres))
        again = np.searchsorted(means, (centres[1:] + centres[:-1]) / 2, side="right")
        if np.array_equal(again, cuts):
            break
        cuts = again
    names = np.searchsorted(cuts, np.arange(used.size), side="right")
    return centres, names.astype(np.int64)


def from_bins(
    values: FloatArray, histogram: Histogram, centres: Centres, names: NDArray[np.int64], zero: bool, bits: int
) -> tuple[FloatArray, NDArray[np.generic]]:
    """Levels and codes: every element belongs to the cluster of its bin. Clusters without elements get no code."""
    number = np.bincount(names, weights=histogram.counts[histogram.used], minlength=centres.size)
    total = np.bincount(names, weights=histogram.sums[histogram.used], minlength=centres.size)
    alive = number > 0
    levels = _distinct((total[alive] / number[alive]).astype(np.float32), zero)
    place = np.cumsum(alive) - 1 + int(zero)
    table = np.zeros(histogram.counts.size, value_dtype(bits, False))
    table[histogram.used] = place[names]
    codes = np.empty(values.shape, table.dtype)
    flat, out = values.reshape(1, -1), codes.reshape(1, -1)
    low, scale, zero_name = histogram.low, histogram.bins_per_unit, 0 if zero else -1

    def work(part: FloatArray, to: NDArray[np.generic], row: int, column: int) -> None:
        kernels.assign_bins(part, low, scale, table, zero_name, to)

    over_pieces(flat, out, work)
    return np.concatenate([np.zeros(int(zero), np.float32), levels])[None], codes


def exact_lloyd(
    values: FloatArray, centres: Centres, iterations: int, zero: bool, bits: int
) -> tuple[FloatArray, NDArray[np.generic]]:
    """Lloyd's iteration on the elements, from centres that are good already."""
    count, shift = centres.size, int(zero)
    for _ in range(max(1, iterations)):
        codes = _codes_of(values, centres, shift, bits)
        counts, sums = moments(values, codes, (1, count + shift))
        number, total = counts[0, shift:], sums[0, shift:]
        changed = np.sort(np.where(number > 0, total / np.maximum(number, 1), centres))
        if np.array_equal(changed, centres):
            break
        centres = changed
    codes = _codes_of(values, centres, shift, bits)
    return np.concatenate([np.zeros(shift, np.float32), centres.astype(np.float32)])[None], codes


def _codes_of(values: FloatArray, centres: Centres, shift: int, bits: int) -> NDArray[np.generic]:
    limits = midpoints(centres[None]) if centres.size > 1 else np.full((1, 1), np.inf, np.float32)
    names = np.minimum(np.arange(limits.shape[1] + 1), centres.size - 1) + shift
    codes = nearest(values, limits, names[None], bits, False, False)
    if shift:
        codes[values == 0] = 0
    return codes


def _distinct(levels: FloatArray, zero: bool) -> FloatArray:
    if zero and (levels == 0).any():
        raise ConfigError("has elements so small that their mean is 0 in float32")
    return levels
