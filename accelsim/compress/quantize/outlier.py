"""Outlier-aware quantization: most elements in few bits, the few large ones in more, all on one grid.

Park, Kim, Yoo, "Energy-Efficient Neural Network Accelerator Based on Outlier-Aware Low-Precision Computation"
(OLAccel), ISCA 2018: 4 bits for about 97 % of weights and activations, 8 or 16 for the rest.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize.clipping import BINS, magnitudes, percentile
from accelsim.compress.quantize.common import Quantizer, affine, round_to
from accelsim.compress.state import Storage, TensorState


@STEPS.register("outlier")
class OutlierAware(Quantizer):
    """The step is chosen so that all but `ratio` of the elements fit `normal` bits; the others get `bits`.

    Stored as `outlier` (see that encoding) unless a later step says otherwise.
    """

    kind: ClassVar[str] = "outlier"

    class Params(Quantizer.Params):
        """See the step."""

        normal: int = pydantic.Field(default=4, ge=2, le=15)
        bits: int = pydantic.Field(default=8, ge=3, le=16)
        ratio: PerLayer[Annotated[float, pydantic.Field(ge=0, lt=1)]] = 0.03

    def __init__(self, params, label, where, context):  # type: ignore[no-untyped-def]
        super().__init__(params, label, where, context)
        if params.normal >= params.bits:
            raise ConfigError(f"normal must be less than bits, got {params.normal} and {params.bits}", where)

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return int(self.params.bits), state.signed

    def apply(self, state: TensorState) -> None:
        values, params = state.values, self.params
        signed = state.signed or bool(values.min() < 0)
        counts, largest = magnitudes(values, BINS)
        threshold = percentile(counts, largest, 100 * (1 - self.at(state, params.ratio)), 0) if largest else 1.0
        top = (1 << (params.normal - 1)) - 1 if signed else (1 << params.normal) - 1
        most = (1 << (params.bits - 1)) - 1 if signed else (1 << params.bits) - 1
        step = np.full((1, 1), threshold / top, np.float32)
        ends = (-most if signed else 0, most)
        codes = round_to(values, step, np.zeros_like(step), values.size, ends, params.bits, signed)
        state.quantize(affine(codes, params.bits, signed, step[0, 0]))
        state.storage = Storage("outlier", {"normal": params.normal})
