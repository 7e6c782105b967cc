"""Logarithmic levels: zero and powers of two, so that a product becomes a shift.

Miyashita, Lee, Murmann, "Convolutional Neural Networks using Logarithmic Data Representation", 2016 (rounding of
log2|x|, base 2 or its root); survey, Section III-D2b and Fig. 15(b).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize.common import Granularity, Quantizer, extremes, nearest, rows, width
from accelsim.compress.state import FloatArray, Quantized, TensorState

LogBits = Annotated[int, pydantic.Field(ge=2, le=8)]


@STEPS.register("log2")
class Log2(Quantizer):
    """0 and +-scale * base**j with 2**(bits-1) - 1 exponents, the largest of them at the largest magnitude.

    `base`: 2, or sqrt2. `rounding`: log (to the nearest exponent) or linear (to the nearest level).
    """

    kind: ClassVar[str] = "log2"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[LogBits] = 4
        base: Literal["2", "sqrt2"] = "2"
        rounding: Literal["log", "linear"] = "log"
        granularity: Granularity = "tensor"

    def apply(self, state: TensorState) -> None:
        bits, params = width(self, state, self.params.bits, 2, 8), self.params
        values = state.values
        low, high = extremes(rows(values, params.granularity))
        largest = np.maximum(-low, high).astype(np.float64)
        octave = 1 if params.base == "2" else 2
        top = largest_exponent(largest, octave, params.rounding)
        state.quantize(powers(values, top, bits, octave, params.rounding))

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return width(self, state, self.params.bits, 2, 8), True


def largest_exponent(largest: NDArray[np.float64], octave: int, rounding: str) -> NDArray[np.float64]:
    """The exponent (in steps of 1 / octave) of the level that the largest magnitude of each row gets."""
    safe = np.where(largest > 0, largest, 1.0)
    if rounding == "log":
        return np.asarray(np.rint(np.log2(safe) * octave))
    # the level below and above meet half-way: x goes up from (1 + base) / 2 times the lower one
    middle = (1 + 2 ** (1 / octave)) / 2
    return np.asarray(np.floor(np.log2(safe / middle) * octave) + 1)


def powers(values: FloatArray, top: NDArray[np.float64], bits: int, octave: int, rounding: str) -> Quantized:
    """Codes of sign(x) * base**e with the largest exponent `top` (in steps of 1 / octave), a row or all at a time."""
    count = (1 << (bits - 1)) - 1
    exponents = (top[:, None] - np.arange(count - 1, -1, -1)) / octave
    levels = 2.0**exponents
    scales = levels[:, 0].astype(np.float32)
    if rounding == "log":
        limits = 2.0 ** (exponents - 0.5 / octave)  # below the lowest by more than half a step: zero
    else:
        limits = (levels + np.concatenate([np.zeros((len(levels), 1)), levels[:, :-1]], axis=1)) / 2
    codes = nearest(values, limits, np.arange(count + 1)[None], bits, True, True)
    return Quantized(codes, bits, True, "log2", {"scales": scales}, {"rows": scales.size, "per_octave": octave})
