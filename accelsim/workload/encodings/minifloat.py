"""Floating-point numbers of 4 to 32 bits, by their bit patterns, with an optional scale.

Formats: binary32 and binary16 (IEEE 754); bfloat16; the 8-bit E4M3 and E5M2 of Micikevicius et al., "FP8 Formats
for Deep Learning", arXiv 2209.05433, table 1 (as in OCP OFP8 1.0); E3M2, E2M3 and E2M1 of the OCP Microscaling
Formats specification 1.0, section 5.3. Numbers beyond the largest saturate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.workload.encodings.base import ENCODINGS, Dims, Part
from accelsim.workload.encodings.coded import Coded, Tables, look_up, row_shape, times_groups
from accelsim.workload.packing import value_dtype

Format = Literal["fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "fp6_e3m2", "fp6_e2m3", "fp4_e2m1"]


@dataclass(frozen=True)
class FloatFormat:
    """sign, `exponent` bits with `bias`, `mantissa` bits; `largest` is the code of the largest finite magnitude."""

    bits: int
    exponent: int
    mantissa: int
    bias: int
    largest: int

    @property
    def top(self) -> int:
        """Exponent of the largest finite number (emax)."""
        return (self.largest >> self.mantissa) - self.bias


FORMATS: dict[str, FloatFormat] = {
    "fp32": FloatFormat(32, 8, 23, 127, 0x7F7FFFFF),
    "fp16": FloatFormat(16, 5, 10, 15, 0x7BFF),
    "bf16": FloatFormat(16, 8, 7, 127, 0x7F7F),
    "fp8_e4m3": FloatFormat(8, 4, 3, 7, 0x7E),  # 448; S.1111.111 is NaN, there are no infinities
    "fp8_e5m2": FloatFormat(8, 5, 2, 15, 0x7B),  # 57344; as IEEE
    "fp6_e3m2": FloatFormat(6, 3, 2, 3, 0x1F),  # 28; no NaN, no infinity
    "fp6_e2m3": FloatFormat(6, 2, 3, 1, 0x1F),  # 7.5
    "fp4_e2m1": FloatFormat(4, 2, 1, 1, 0x07),  # 6
}


@ENCODINGS.register("minifloat")
class Minifloat(Coded):
    """value = scale * number with that bit pattern; there is no negative zero.

    Table `scales`, if `rows` is not 0: float32 (rows,), one for the tensor or for each first index.
    """

    kind: ClassVar[str] = "minifloat"
    widths: ClassVar[tuple[int, ...]] = (4, 6, 8, 16, 32)

    class Params(Coded.Params):
        """`format` None: by the width (fp4_e2m1, fp6_e2m3, fp8_e4m3, fp16, fp32)."""

        format: Format | None = None

    class Meta(Coded.Meta):
        """`rows`: scales that there are, 0, 1, or the first dimension."""

        format: Format
        rows: int = pydantic.Field(default=0, ge=0)

    def tables(self, meta: Any, shape: Dims, bits: int) -> dict[str, Part]:
        _check_width(meta.format, bits)
        if meta.rows not in (0, 1, row_shape(shape)[0]):
            raise ConfigError(f"rows must be 0, 1 or {row_shape(shape)[0]}, got {meta.rows}")
        return {"scales": Part("f4", (meta.rows,))} if meta.rows else {}

    def real(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> NDArray[np.float32]:
        values = float_values(codes, meta.format)
        if "scales" in tables:
            scales = tables["scales"]
            if scales.size == 1:
                values *= scales[0]
            else:
                times_groups(values, scales[:, None], row_shape(codes.shape)[1])
        return values

    def fit(self, values: NDArray[Any], bits: int, params: Any) -> tuple[NDArray[Any], Tables, dict[str, Any]]:
        default = {4: "fp4_e2m1", 6: "fp6_e2m3", 8: "fp8_e4m3", 16: "fp16", 32: "fp32"}
        name = params.format or default[bits]
        _check_width(name, bits)
        return float_codes(values, name), {}, {"format": name}

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{"format": name} for name, item in FORMATS.items() if item.bits == bits]


def _check_width(name: str, bits: int) -> None:
    if FORMATS[name].bits != bits:
        raise ConfigError(f"format {name} has {FORMATS[name].bits} bits, not {bits}")


def float_codes(values: NDArray[Any], name: str, words: NDArray[np.uint64] | None = None) -> NDArray[Any]:
    """Bit patterns of the nearest numbers of a format, ties to even; or rounded at random with one word each.

    Parameters
    ----------
    values : ndarray of float32, finite
    name : str
        In FORMATS.
    words : ndarray of uint64, of as many elements, optional

    Returns
    -------
    ndarray of value_dtype(bits, unsigned)
    """
    item = FORMATS[name]
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    out = np.empty(flat.size, value_dtype(item.bits, False))
    noise = np.empty(0, np.uint64) if words is None else words
    round_floats(flat.view(np.int32), noise, item.mantissa, item.bias, item.largest, item.bits - 1, out)
    return out.reshape(np.shape(values))


def float_values(codes: NDArray[Any], name: str) -> NDArray[np.float32]:
    """The numbers with these bit patterns; NaN or infinity where a pattern says so."""
    if name == "fp32":
        return np.ascontiguousarray(codes).view(np.float32).copy()
    return look_up(codes, float_table(name)[None, :])


@lru_cache(maxsize=16)
def float_table(name: str) -> NDArray[np.float32]:
    """All numbers of a format of at most 16 bits, by pattern."""
    item = FORMATS[name]
    code = np.arange(1 << item.bits, dtype=np.int64)
    magnitude = code & ((1 << (item.bits - 1)) - 1)
    exponent = np.maximum(magnitude >> item.mantissa, 1)
    fraction = np.where(magnitude >> item.mantissa > 0, 1 << item.mantissa, 0) + (
        magnitude & ((1 << item.mantissa) - 1)
    )
    number = fraction * 2.0 ** (exponent - item.bias - item.mantissa)
    number[magnitude > item.largest] = np.nan
    found: NDArray[np.float32] = np.where(code >> (item.bits - 1) & 1, -number, number).astype(np.float32)
    return found


@kernel(nogil=True)
def round_floats(patterns, noise, mantissa, bias, largest, sign_bit, out):  # type: ignore[no-untyped-def]
    """out = codes for float32 bit patterns (int32), in integers throughout.

    With the significand q of `mantissa` + 1 bits, (exponent + bias - 1) * 2**mantissa + q is the code of normal and
    subnormal numbers alike, and a q that rounds up to the next power of two carries into the exponent by itself.
    """
    least = 1 - bias
    for i in range(out.size):
        pattern = np.int64(patterns[i])
        magnitude = pattern & 0x7FFFFFFF
        field = magnitude >> 23
        significand = (magnitude & 0x7FFFFF) | (np.int64(field > 0) << 23)
        exponent = field + np.int64(field == 0) - 127
        shift = 23 - mantissa + max(0, least - exponent)
        at = max(exponent, least)
        if shift > 40:
            shift = 40
        if noise.size:
            q = (significand + np.int64(noise[i] & ((np.uint64(1) << np.uint64(shift)) - np.uint64(1)))) >> shift
        else:
            half = (np.int64(1) << shift) >> 1
            odd = (significand >> shift) & 1
            q = (significand + max(half - 1 + odd, 0)) >> shift
        code = min(((at + bias - 1) << mantissa) + q, largest)
        if pattern < 0 and code:
            code |= np.int64(1) << sign_bit
        out[i] = code


@round_floats.warms_up_with
def _round_example() -> tuple[Any, ...]:
    return np.zeros(4, np.int32), np.empty(0, np.uint64), 3, 7, 0x7E, 7, np.zeros(4, np.uint8)
