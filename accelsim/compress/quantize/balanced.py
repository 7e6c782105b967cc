"""Balanced quantization: as many elements at each level as at any other, on evenly spaced levels.

Zhou et al., "Balanced Quantization: An Effective and Efficient Approach to Quantized Neural Networks", 2017: the
range is split into 2**k parts of equal numbers (by medians, or cheaper by means), and part i becomes level i of an
even grid over [-max|x|, max|x|]. Survey, Section III-D3 (histogram equalisation before Q^k).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize.common import Histogram, Quantizer, extremes, histogram_of, nearest, width
from accelsim.compress.quantize.dorefa import even_levels
from accelsim.compress.quantize.multibit import SumBits
from accelsim.compress.state import FloatArray, TensorState


@STEPS.register("balanced")
class Balanced(Quantizer):
    """Equal numbers at 2**bits even levels.

    `split`: median (exact), or mean (each part at the mean of its elements, recursively, from a histogram of 64k
    bins). `scale`: max, as in the paper; least_squares fits the grid to the tensor.
    """

    kind: ClassVar[str] = "balanced"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[SumBits] = 2
        split: Literal["median", "mean"] = "median"
        scale: Literal["max", "least_squares"] = "max"

    def apply(self, state: TensorState) -> None:
        bits, values = width(self, state, self.params.bits, 1, 8), state.values
        limits = medians(values, bits) if self.params.split == "median" else means(histogram_of(values), bits)
        codes = nearest(values, limits[None], np.arange(1 << bits)[None], bits, False, False)
        if self.params.scale == "max":
            low, high = extremes(values.reshape(1, -1))
            scale = float(max(-low[0], high[0])) or 1.0
        else:
            level = 2 * codes.astype(np.float64) / ((1 << bits) - 1) - 1
            scale = max(float(np.vdot(level, values) / np.vdot(level, level)), 1e-30)
        state.quantize(even_levels(codes, bits, scale))


def medians(values: FloatArray, bits: int) -> NDArray[np.float32]:
    """Thresholds between parts of equal size: the last element of each part but the last."""
    flat = values.reshape(-1)
    places = np.arange(1, 1 << bits) * flat.size // (1 << bits) - 1
    found: NDArray[np.float32] = np.partition(flat, np.unique(np.maximum(places, 0)))[np.maximum(places, 0)]
    return found


def means(histogram: Histogram, bits: int) -> NDArray[np.float32]:
    """Thresholds at the mean of everything, then at the means of both halves, and so on."""
    edges = [0, histogram.counts.size]
    count = np.concatenate([[0], np.cumsum(histogram.counts)])
    total = np.concatenate([[0.0], np.cumsum(histogram.sums)])
    for _ in range(bits):
        inner = []
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            number = count[b] - count[a]
            mean = (total[b] - total[a]) / number if number else 0.0
            place = int(np.ceil((mean - histogram.low) * histogram.bins_per_unit)) if number else a
            inner.append(min(max(place, a), b))
        edges = sorted([*edges, *inner])
    inside = np.array(edges[1:-1], np.float64)
    return (float(histogram.low) + inside / float(histogram.bins_per_unit)).astype(np.float32)
