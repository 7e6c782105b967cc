"""Binary levels: equation (25) of the survey, deterministic and stochastic, and the scaled form of equation (27).

Courbariaux et al., BinaryConnect, NIPS 2015; Rastegari et al., XNOR-Net, ECCV 2016 (scale of a filter: the mean of
its magnitudes). In all of them sign(0) = +1.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS
from accelsim.compress.quantize.common import Granularity, Quantizer, affine, mean_magnitude, rows
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.encodings.coded import row_shape

_BLOCK = 1 << 20

Codes = NDArray[np.uint8]


@STEPS.register("binary")
class Binary(Quantizer):
    """Two levels, one bit.

    `mode`: deterministic (-1 below zero, else 1), stochastic (1 with probability clip((1 + x) / 2, 0, 1)), or xnor
    (sign(x) times the mean magnitude, for each first index or for the tensor as `granularity` says). `levels`: pm1 are
    -1 and 1; 01 are 0 and 1 (not with xnor).
    """

    kind: ClassVar[str] = "binary"

    class Params(Quantizer.Params):
        """See the step."""

        mode: Literal["deterministic", "stochastic", "xnor"] = "xnor"
        granularity: Granularity = "channel"
        levels: Literal["pm1", "01"] = "pm1"

    def apply(self, state: TensorState) -> None:
        values, params = state.values, self.params
        if state.pruned and params.levels == "01":
            raise ConfigError("is pruned, but no zero stays where sign(0) is 1")
        if params.mode == "stochastic":
            codes = self._at_random(state, values)
        else:
            codes = (values >= 0).view(np.uint8)
        if params.mode == "xnor":
            state.quantize(scaled(codes, mean_magnitude(rows(values, params.granularity))))
        elif params.levels == "01":
            state.quantize(affine(codes, 1, False, 1.0))
        else:
            state.quantize(scaled(codes, np.ones(1)))

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return 1, False

    def _at_random(self, state: TensorState, values: FloatArray) -> Codes:
        flat, codes = values.reshape(-1), np.empty(values.size, np.uint8)
        for at in range(0, flat.size, _BLOCK):
            part = flat[at : at + _BLOCK]
            codes[at : at + _BLOCK] = stochastic_sign(part, self.words(state, "sign", at, part.size))
        return codes.reshape(values.shape)


def stochastic_sign(values: FloatArray, words: NDArray[np.uint64]) -> Codes:
    """1 with probability clip((1 + x) / 2, 0, 1), else 0; by the upper 24 bits of a word for each element."""
    chance = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return np.asarray(chance < np.clip((values + np.float32(1)) / np.float32(2), 0, 1)).view(np.uint8)


def scaled(codes: Codes, alphas: NDArray[np.floating]) -> Quantized:
    """Code 1 stands for alpha, 0 for -alpha; one alpha, or one for each first index."""
    scales = (2 * alphas).astype(np.float32).reshape(-1, 1)
    length = row_shape(codes.shape)[1]
    meta = {"group": length, "twice_offset": 1, "single": scales.size == 1}
    return Quantized(codes, 1, False, "grouped", {"scales": scales}, meta)
