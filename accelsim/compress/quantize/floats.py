"""Floating point of fewer bits: FP16, BF16, FP8, and the 6- and 4-bit formats of MX without their blocks."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.base import STEPS
from accelsim.compress.parallel import BLOCK_ELEMENTS
from accelsim.compress.quantize.common import Granularity, Quantizer, extremes, rows
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.encodings.coded import power_above, rows_of
from accelsim.workload.encodings.minifloat import FORMATS, Format, float_codes, float_table
from accelsim.workload.packing import value_dtype


@STEPS.register("float")
class FloatingPoint(Quantizer):
    """The nearest number of a format, ties to even, or one of the two neighbours at random.

    `scale`: none; max brings the largest magnitude (of the tensor or of each first index) to the format's largest
    number; power_of_two does so up to a power of two. What is too large saturates.
    """

    kind: ClassVar[str] = "float"

    class Params(Quantizer.Params):
        """`format` is required."""

        format: Format
        scale: Literal["none", "max", "power_of_two"] = "none"
        granularity: Granularity = "tensor"
        rounding: Literal["nearest", "stochastic"] = "nearest"

    def apply(self, state: TensorState) -> None:
        params, item = self.params, FORMATS[self.params.format]
        values: FloatArray = state.values
        tables: dict[str, NDArray[np.float32]] = {}
        if params.scale != "none" and item.bits <= 16:
            low, high = extremes(rows(values, params.granularity))
            wanted = np.maximum(-low, high) / float_table(params.format)[item.largest]
            scale = np.where(wanted > 0, wanted, 1).astype(np.float32)
            tables["scales"] = power_above(scale) if params.scale == "power_of_two" else scale
            matrix = rows_of(values) if scale.size > 1 else values.reshape(1, -1)
            values = np.asarray(matrix / tables["scales"][:, None], np.float32).reshape(values.shape)
        flat = values.reshape(-1)
        codes = np.empty(flat.size, value_dtype(item.bits, False))
        for at in range(0, flat.size, BLOCK_ELEMENTS):
            part = flat[at : at + BLOCK_ELEMENTS]
            words = self.words(state, "rounding", at, part.size) if params.rounding == "stochastic" else None
            codes[at : at + BLOCK_ELEMENTS] = float_codes(part, params.format, words)
        meta = {"format": params.format, "rows": tables["scales"].size if tables else 0}
        state.quantize(Quantized(codes.reshape(values.shape), item.bits, False, "minifloat", tables, meta))
