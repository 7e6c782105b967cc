"""WAGE: all data of training as integers of a power-of-two step.

Wu, Li, Chen, Shi, "Training and Inference with Integers in Deep Neural Networks", ICLR 2018: step sigma(k) = 2**(1-k),
Q(x, k) = clip(sigma round(x / sigma), -1 + sigma, 1 - sigma), Shift(x) = 2**round(log2 x) (equations 3 to 5); weights
as they are (8), activations divided by a power of two (9), errors by the Shift of their largest magnitude (10),
gradients likewise, times the learning rate and rounded at random (11, 12). Survey, Section III-D3.
"""

from __future__ import annotations

from math import log2
from typing import ClassVar

import numpy as np
import pydantic

from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize.common import Quantizer, affine, extremes, round_to, width
from accelsim.compress.quantize.multibit import SumBits
from accelsim.compress.state import FloatArray, TensorState

DEFAULT_BITS = {"W": 2, "A": 8, "E": 8, "G": 8, "U": 8}
"""Table 1 of the paper: 2888, with updates at the width of gradients."""


@STEPS.register("wage")
class Wage(Quantizer):
    """Q(x, k) of an object, after the scaling that the paper gives it.

    `bits` by default 2 for W, 8 for the others. `divisor` (A): the layer's power of two. `rate` (G): the learning
    rate. For E and G only the direction is kept: the stored numbers are those after scaling.
    """

    kind: ClassVar[str] = "wage"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[SumBits] | None = None
        divisor: PerLayer[float] = pydantic.Field(default=1.0)
        rate: float = pydantic.Field(default=1.0, gt=0)

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        default = DEFAULT_BITS[self.params.object]
        return default if self.params.bits is None else width(self, state, self.params.bits, 2, 8), True

    def apply(self, state: TensorState) -> None:
        of, values = self.params.object, state.values
        bits, _ = self.described_codes(state)
        sigma = np.float32(2.0 ** (1 - bits))
        unit, key = sigma, None
        if of == "A":
            unit = sigma * np.float32(self.at(state, self.params.divisor))
        elif of == "E":
            unit = sigma * shift_of(values)
        elif of == "G":
            unit = shift_of(values) / np.float32(self.params.rate)
            key = self.key(state, "rounding")
        top = (1 << (bits - 1)) - 1
        step = np.full((1, 1), unit, np.float32)
        codes = round_to(values, step, np.zeros_like(step), values.size, (-top, top), bits, True, key)
        state.quantize(affine(codes, bits, True, sigma))


def shift_of(values: FloatArray) -> np.float32:
    """Shift(max |x|) = 2**round(log2 max |x|); 1 for a tensor of zeros."""
    low, high = extremes(values.reshape(1, -1))
    largest = float(max(-low[0], high[0]))
    return np.float32(2.0 ** round(log2(largest))) if largest > 0 else np.float32(1)
