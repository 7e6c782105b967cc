"""Ternary levels: equation (26) of the survey and its variants, and the optimum of equation (28).

Fixed thresholds; stochastic; scaled by the largest magnitude (TernGrad, Wen et al., NIPS 2017); with a threshold from
the mean magnitude and a scale from what is beyond it (TWN, Li, Zhang, Liu, 2016: threshold 0.7 E|W|, equations 5 and
6); with a scale for each sign (TTQ, Zhu et al., ICLR 2017: threshold 0.05 max|W|); with hysteresis (Esser et al.,
"Convolutional Networks for Fast, Energy-Efficient Neuromorphic Computing", PNAS 2016).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.compress.base import STEPS
from accelsim.compress.quantize.common import (
    Granularity,
    Quantizer,
    affine,
    by_row,
    extremes,
    mean_magnitude,
    moments,
    nearest,
    rows,
)
from accelsim.compress.state import FloatArray, Quantized, TensorState

_BLOCK = 1 << 20
_NAMES = np.array([[0, 1]])

Ints = NDArray[np.int8]


@STEPS.register("ternary")
class Ternary(Quantizer):
    """Three levels.

    `mode`
    - fixed: 1 above `threshold` (0.5), -1 below -`threshold`, else 0;
    - stochastic: sign(x) with probability clip(|x|, 0, 1), else 0;
    - terngrad: the same of x / max|x|, times max|x|;
    - twn: threshold `factor` (0.7) times the mean magnitude; the scale is the mean magnitude of what is beyond;
    - optimal: the threshold and scale of least squared error;
    - ttq: threshold `factor` (0.05) times the largest magnitude; a scale for each sign, initially the means (in TTQ
      they are then trained);
    - hysteresis: as fixed, but the state changes only beyond the threshold by `margin`, and else stays what it was: 0.

    `granularity` (twn, optimal): thresholds and scales for each first index, or for the tensor.
    """

    kind: ClassVar[str] = "ternary"

    class Params(Quantizer.Params):
        """See the step."""

        mode: Literal["fixed", "stochastic", "terngrad", "twn", "optimal", "ttq", "hysteresis"] = "twn"
        granularity: Granularity = "channel"
        threshold: float = pydantic.Field(default=0.5, gt=0)
        factor: float | None = pydantic.Field(default=None, gt=0)
        margin: float = pydantic.Field(default=0.1, ge=0)

    def apply(self, state: TensorState) -> None:
        values, params = state.values, self.params
        match params.mode:
            case "fixed":
                state.quantize(affine(beyond(values, np.array([params.threshold])), 2, True, 1.0))
            case "hysteresis":
                before = np.zeros(values.shape, np.int8)
                codes = with_hysteresis(values, before, params.threshold, params.margin)
                state.quantize(affine(codes, 2, True, 1.0))
            case "stochastic" | "terngrad":
                low, high = extremes(values.reshape(1, -1))
                largest = np.float32(max(-low[0], high[0])) if params.mode == "terngrad" else np.float32(1)
                state.quantize(self._at_random(state, values, largest or np.float32(1)))
            case "twn":
                matrix = rows(values, params.granularity)
                state.quantize(scaled(values, (params.factor or 0.7) * mean_magnitude(matrix), params.granularity))
            case "optimal":
                matrix = rows(values, params.granularity)
                state.quantize(scaled(values, by_row(matrix, best_thresholds), params.granularity))
            case "ttq":
                low, high = extremes(values.reshape(1, -1))
                threshold = (params.factor or 0.05) * max(-low[0], high[0])
                state.quantize(two_scales(values, float(threshold)))

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return 2, True

    def _at_random(self, state: TensorState, values: FloatArray, scale: np.float32) -> Quantized:
        codes = np.empty(values.size, np.int8)
        flat = values.reshape(-1)
        for at in range(0, flat.size, _BLOCK):
            part = flat[at : at + _BLOCK]
            codes[at : at + _BLOCK] = stochastic_ternary(part / scale, self.words(state, "level", at, part.size))
        return affine(codes.reshape(values.shape), 2, True, scale)


def beyond(values: FloatArray, thresholds: NDArray[np.floating]) -> Ints:
    """sign(x) where |x| > threshold, else 0; one threshold, or one for each first index."""
    return nearest(values, thresholds.reshape(-1, 1), _NAMES, 2, True, True)


def stochastic_ternary(values: FloatArray, words: NDArray[np.uint64]) -> Ints:
    """sign(x) with probability clip(|x|, 0, 1), else 0."""
    chance = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return np.where(chance < np.abs(values), np.where(values < 0, -1, 1), 0).astype(np.int8)


def with_hysteresis(values: FloatArray, before: Ints, threshold: float, margin: float) -> Ints:
    """A state moves to -1, 0 or 1 only where x is `margin` inside of that level's region; else it stays.

    Regions: below -`threshold`, between, above `threshold`.
    """
    found = before.copy()
    found[values >= threshold + margin] = 1
    found[values <= -threshold - margin] = -1
    found[np.abs(values) <= threshold - margin] = 0
    return found


def scaled(values: FloatArray, thresholds: NDArray[np.floating], granularity: str) -> Quantized:
    """Codes beyond the thresholds with the scale of least squared error: the mean magnitude there."""
    codes = beyond(values, thresholds)
    signs = np.add(codes, 1).view(np.uint8)
    counts, sums = moments(values, signs, (thresholds.size, 3))
    kept = counts[:, 0] + counts[:, 2]
    alphas = np.where(kept > 0, (sums[:, 2] - sums[:, 0]) / np.maximum(kept, 1), 1.0)
    return affine(codes, 2, True, alphas if granularity == "channel" else alphas[0])


def best_thresholds(matrix: FloatArray) -> NDArray[np.float64]:
    """Thresholds of equation (28): with the magnitudes in descending order, the best number k of them to keep
    maximises (sum of the first k)**2 / k."""
    size = np.sort(np.abs(matrix), axis=1)[:, ::-1]
    gain = np.cumsum(size, axis=1, dtype=np.float64) ** 2 / np.arange(1, size.shape[1] + 1)
    last = np.argmax(gain, axis=1)
    kept = size[np.arange(size.shape[0]), last]
    # just below the least magnitude that is kept
    return np.asarray(np.nextafter(kept, np.float32(0)), np.float64)


def two_scales(values: FloatArray, threshold: float) -> Quantized:
    """Levels 0, W_p and -W_n, the means of what is beyond the threshold on either side."""
    codes = beyond(values, np.array([threshold]))
    names = np.array([2, 0, 1], np.uint8)[codes + 1]
    counts, sums = moments(values, names, (1, 3))
    means = np.where(counts[0] > 0, sums[0] / np.maximum(counts[0], 1), [0.0, threshold, -threshold])
    levels = np.array([[0.0, means[1], means[2]]], np.float32)
    return Quantized(names, 2, False, "codebook", {"levels": levels}, {"rows": 1, "size": 3})
