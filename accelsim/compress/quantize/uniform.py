"""Uniform levels: Q(x) = step * round(x / step), equation (23) of the survey, with every choice of range.

Symmetric: q = 0 is 0, the range is +-(2**(bits-1) - 1) steps, or 0 to 2**bits - 1 for operands that are never negative.
Affine: 0 to 2**bits - 1 steps over the range from the least to the largest element, zero included, with the integer
that stands for zero beside the scale (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 2.1).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize import clipping
from accelsim.compress.quantize.common import Quantizer, affine, extremes, round_to, rows, width
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.encodings.coded import groups_of, power_above, rows_of

Bits = Annotated[int, pydantic.Field(ge=1, le=16)]
Positive = Annotated[float, pydantic.Field(gt=0)]


@STEPS.register("uniform")
class Uniform(Quantizer):
    """Uniform quantization.

    `bits`; `scheme`: symmetric or affine; `granularity`: a scale for the tensor, for each first index (channel), or for
    each `group` of neighbouring elements of one first index. `clip`: none, or a threshold by `percentile` (with
    `percent`), least squares (`mse`) or Kullback-Leibler (`kl`; whole tensors). `range`: a threshold that is given.
    `power_of_two`: fixed point; the scale is rounded up to a power of two. `rounding`: nearest (ties to even) or
    stochastic.
    """

    kind: ClassVar[str] = "uniform"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[Bits] = 8
        scheme: Literal["symmetric", "affine"] = "symmetric"
        granularity: Literal["tensor", "channel", "group"] = "tensor"
        group: int = pydantic.Field(default=64, ge=1)
        clip: Literal["none", "percentile", "mse", "kl"] = "none"
        percent: float = pydantic.Field(default=99.9, gt=0, le=100)
        range: PerLayer[Positive] | None = None
        power_of_two: bool = False
        rounding: Literal["nearest", "stochastic"] = "nearest"

    def __init__(self, params: Any, label: str, where: str, context: Any) -> None:
        super().__init__(params, label, where, context)
        if params.clip != "none" and params.range is not None:
            raise ConfigError("clip and range cannot both be given", where)
        if params.clip != "none" and params.granularity == "group":
            raise ConfigError("clip needs granularity tensor or channel, got group", where)
        if params.clip == "kl" and params.granularity != "tensor":
            raise ConfigError("clip kl needs granularity tensor", where)
        if params.power_of_two and params.scheme == "affine":
            raise ConfigError("power_of_two needs scheme symmetric", where)

    def bits_of(self, state: TensorState) -> int:
        """The width for a tensor."""
        return width(self, state, self.params.bits, 1, 16)

    def apply(self, state: TensorState) -> None:
        bits, params = self.bits_of(state), self.params
        values = state.values
        low, high = self._range(state, values, bits)
        key = self.key(state, "rounding") if params.rounding == "stochastic" else None
        if params.scheme == "symmetric":
            state.quantize(symmetric(values, bits, low, high, params, key))
        else:
            state.quantize(asymmetric(values, bits, low, high, params, key))

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return self.bits_of(state), state.signed and self.params.scheme == "symmetric"

    def _range(self, state: TensorState, values: FloatArray, bits: int) -> tuple[FloatArray, FloatArray]:
        """Ends of the range of each row (or group), clipped."""
        params = self.params
        if params.granularity == "group":
            low, high = group_extremes(values, params.group)
        else:
            low, high = extremes(rows(values, params.granularity))
        if params.range is not None:
            most = np.float32(self.at(state, params.range))
            return np.maximum(low, -most) * 0 - most * (low < 0), np.full_like(high, most)
        if params.clip != "none":
            steps = (1 << (bits - 1)) - 1 if low.min() < 0 else (1 << bits) - 1
            matrix = rows(values, params.granularity)
            found = clipping.thresholds(matrix, params.clip, params.percent, max(1, steps))
            return np.maximum(low, -found), np.minimum(high, found)
        return low, high


def group_extremes(values: FloatArray, group: int) -> tuple[FloatArray, FloatArray]:
    """Least and largest element of each group of neighbours, (rows, groups)."""
    matrix = rows_of(values)
    count, groups = groups_of(values.shape, group)
    whole = matrix.shape[1] // group * group
    low, high = np.empty((count, groups), np.float32), np.empty((count, groups), np.float32)
    body = matrix[:, :whole].reshape(count, -1, group)
    low[:, : body.shape[1]], high[:, : body.shape[1]] = body.min(axis=2), body.max(axis=2)
    if whole < matrix.shape[1]:
        low[:, -1], high[:, -1] = matrix[:, whole:].min(axis=1), matrix[:, whole:].max(axis=1)
    return low, high


def symmetric(
    values: FloatArray, bits: int, low: FloatArray, high: FloatArray, params: Any, key: np.uint64 | None = None
) -> Quantized:
    """Codes around zero; `low` and `high` are the ends of the range of each row, or of each group of each row."""
    signed = bool(low.min() < 0)
    if signed and bits == 1:
        raise ConfigError("bits must be at least 2 for negative numbers (or use binary), got 1")
    top = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
    size = np.maximum(-low, high).astype(np.float32)
    step = np.where(size > 0, size / np.float32(top), np.float32(1)).astype(np.float32)
    step = np.where(step > 0, step, np.float32(2.0**-126))  # a quotient that underflows
    if params.power_of_two:
        step = power_above(step)
    ends = (-top if signed else 0, top)
    if params.granularity == "group":
        group = min(params.group, rows_of(values).shape[1])
        codes = round_to(values, step, np.zeros_like(step), group, ends, bits, signed, key)
        return Quantized(codes, bits, signed, "grouped", {"scales": step}, {"group": group, "signed": signed})
    column = step.reshape(-1, 1)
    codes = round_to(values, column, np.zeros_like(column), values.size, ends, bits, signed, key)
    return affine(codes, bits, signed, step if params.granularity == "channel" else step[0])


def asymmetric(
    values: FloatArray, bits: int, low: FloatArray, high: FloatArray, params: Any, key: np.uint64 | None = None
) -> Quantized:
    """Unsigned codes over the range, zero included; zero has a code of its own."""
    top = (1 << bits) - 1
    low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    step = ((high.astype(np.float64) - low) / top).astype(np.float32)
    step = np.where(step > 0, step, np.float32(1))
    zero = np.clip(np.rint(-low.astype(np.float64) / step), 0, top).astype(np.float32)
    if params.granularity == "group":
        group = min(params.group, rows_of(values).shape[1])
        codes = round_to(values, step, zero, group, (0, top), bits, False, key)
        tables = {"scales": step, "offsets": zero.astype(np.int32)}
        return Quantized(codes, bits, False, "grouped", tables, {"group": group, "twice_offset": None})
    codes = round_to(values, step.reshape(-1, 1), zero.reshape(-1, 1), values.size, (0, top), bits, False, key)
    single = params.granularity == "tensor"
    return affine(codes, bits, False, step[0] if single else step, zero[0] if single else zero)
