"""Block floating point and the MX formats: neighbours share an exponent (see the encoding `block_float`)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pydantic

from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.parallel import row_blocks
from accelsim.compress.quantize.common import Quantizer, width
from accelsim.compress.quantize.log2 import LogBits
from accelsim.compress.state import Quantized, TensorState
from accelsim.workload.encodings.block_float import shared_exponents
from accelsim.workload.encodings.coded import groups_of, rows_of
from accelsim.workload.encodings.minifloat import FORMATS
from accelsim.workload.packing import value_dtype

MX = {
    "mxint8": ("int", 8),
    "mxfp8_e4m3": ("fp8_e4m3", 8),
    "mxfp8_e5m2": ("fp8_e5m2", 8),
    "mxfp6_e3m2": ("fp6_e3m2", 6),
    "mxfp6_e2m3": ("fp6_e2m3", 6),
    "mxfp4": ("fp4_e2m1", 4),
}
"""The concrete formats of the OCP Microscaling specification 1.0, table 1: element and its bits; blocks of 32."""

MX_BLOCK = 32


class _Blocks(Quantizer):
    """What both steps do."""

    def share(self, state: TensorState, bits: int, block: int, element: str) -> None:
        """Quantize with `block` elements to an exponent."""
        values = state.values
        matrix = rows_of(values)
        codes = np.empty(matrix.shape, value_dtype(bits, element == "int"))
        exponents = np.empty(groups_of(values.shape, block), np.uint8)
        for part in row_blocks(*matrix.shape):
            piece = matrix[part]
            words = None
            if self.params.rounding == "stochastic":
                words = self.words(state, "rounding", part.start * matrix.shape[1], piece.size)
            found, exponents[part] = shared_exponents(piece, bits, block, element, words)
            codes[part] = found
        tables, meta = {"exponents": exponents}, {"block": block, "element": element}
        signed = element == "int"
        state.quantize(Quantized(codes.reshape(values.shape), bits, signed, "block_float", tables, meta))


@STEPS.register("block_float")
class BlockFloat(_Blocks):
    """Integers of `bits` bits with an 8-bit exponent for each `block` neighbours of one first index; `block` 0: all of
    them share one."""

    kind: ClassVar[str] = "block_float"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[LogBits] = 8
        block: int = pydantic.Field(default=16, ge=0)
        rounding: Literal["nearest", "stochastic"] = "nearest"

    def apply(self, state: TensorState) -> None:
        bits = width(self, state, self.params.bits, 2, 8)
        self.share(state, bits, self.params.block or rows_of(state.values).shape[1], "int")


@STEPS.register("mx")
class Microscaling(_Blocks):
    """One of the MX formats: mxint8, mxfp8_e4m3, mxfp8_e5m2, mxfp6_e3m2, mxfp6_e2m3, mxfp4."""

    kind: ClassVar[str] = "mx"

    class Params(Quantizer.Params):
        """`format` is required."""

        format: Literal["mxint8", "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4"]
        rounding: Literal["nearest", "stochastic"] = "nearest"

    def apply(self, state: TensorState) -> None:
        element, bits = MX[self.params.format]
        assert element == "int" or FORMATS[element].bits == bits
        self.share(state, bits, MX_BLOCK, element)
