"""DoReFa-Net: equations (29) for weights and (30) for errors, and clipping to [0, 1] for activations.

Zhou et al., "DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with Low Bitwidth Gradients", 2016,
equations 5 to 12. Q^k rounds a number of [0, 1] to the nearest of its 2**k even levels, equation (23).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.parallel import BLOCK_ELEMENTS
from accelsim.compress.quantize.common import Quantizer, affine, extremes, width
from accelsim.compress.quantize.uniform import Bits
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.encodings.coded import row_shape
from accelsim.workload.packing import value_dtype


@STEPS.register("dorefa")
class DoReFa(Quantizer):
    """2**bits even levels: for W through tanh onto [-1, 1], for A clipped to [0, 1], for E and G with noise.

    `rescale` (W): none, as the equation says: the network has to be trained with these weights; least_squares: one
    more factor that brings the levels to the size of the weights.
    """

    kind: ClassVar[str] = "dorefa"

    class Params(Quantizer.Params):
        """`noise`: the random term of equation (30)."""

        bits: PerLayer[Bits] = 2
        rescale: Literal["none", "least_squares"] = "none"
        noise: bool = True

    def apply(self, state: TensorState) -> None:
        bits, values, params = width(self, state, self.params.bits, 1, 16), state.values, self.params
        if params.object == "A":
            codes = _in_blocks(values, bits, lambda part, at: np.clip(part, 0, 1))
            state.quantize(affine(codes, bits, False, 1 / ((1 << bits) - 1)))
            return
        low, high = extremes(values.reshape(1, -1))
        largest = np.float32(max(-low[0], high[0])) or np.float32(1)
        if params.object == "W":
            bound = np.float32(2) * np.tanh(largest)
            codes = _in_blocks(values, bits, lambda part, at: np.tanh(part) / bound + np.float32(0.5))
            scale = 1.0 if params.rescale == "none" else _least_squares(values, codes, bits)
        else:
            level = np.float32(1 / ((1 << bits) - 1))

            def noisy(part: FloatArray, at: int) -> FloatArray:
                unit = part / (np.float32(2) * largest) + np.float32(0.5)
                if params.noise:
                    words = self.words(state, "noise", at, part.size)
                    chance = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
                    unit += (chance - np.float32(0.5)) * level
                return np.asarray(np.clip(unit, 0, 1), np.float32)

            codes = _in_blocks(values, bits, noisy)
            scale = float(largest)
        state.quantize(even_levels(codes, bits, scale))

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return width(self, state, self.params.bits, 1, 16), False


def unit_codes(unit: FloatArray, bits: int) -> NDArray[np.float32]:
    """Q^k as an integer: round((2**k - 1) * x) for x in [0, 1]."""
    found: NDArray[np.float32] = np.rint(unit * np.float32((1 << bits) - 1))
    return found


def even_levels(codes: NDArray[np.generic], bits: int, scale: float) -> Quantized:
    """Code i stands for scale * (2 * i / (2**bits - 1) - 1)."""
    top = (1 << bits) - 1
    meta = {"group": row_shape(codes.shape)[1], "twice_offset": top, "single": True}
    return Quantized(codes, bits, False, "grouped", {"scales": np.array([[2 * scale / top]], np.float32)}, meta)


def _in_blocks(values: FloatArray, bits: int, unit_of) -> NDArray[np.generic]:  # type: ignore[no-untyped-def]
    flat = values.reshape(-1)
    codes = np.empty(flat.size, value_dtype(bits, False))
    for at in range(0, flat.size, BLOCK_ELEMENTS):
        codes[at : at + BLOCK_ELEMENTS] = unit_codes(unit_of(flat[at : at + BLOCK_ELEMENTS], at), bits)
    return codes.reshape(values.shape)


def _least_squares(values: FloatArray, codes: NDArray[np.generic], bits: int) -> float:
    top = (1 << bits) - 1
    x, q = values.reshape(-1), codes.reshape(-1)
    dot = norm = 0.0
    for at in range(0, x.size, BLOCK_ELEMENTS):
        level = 2 * q[at : at + BLOCK_ELEMENTS].astype(np.float64) / top - 1
        dot += float(level @ x[at : at + BLOCK_ELEMENTS])
        norm += float(level @ level)
    return dot / norm if dot > 0 else 1.0
