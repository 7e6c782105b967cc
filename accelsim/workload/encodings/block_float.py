"""Block floating point: neighbours share an exponent; the OCP Microscaling (MX) formats are of this kind.

OCP Microscaling Formats (MX) specification 1.0, sections 5 and 6: blocks of 32 with an E8M0 scale; elements FP8,
FP6, FP4, or INT8 with an implied factor 2**-6. Other block sizes and integer widths are block floating point as
in Drumond et al., NeurIPS 2018, and in the MSFP formats of Rouhani et al., NeurIPS 2020.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims, Part
from accelsim.workload.encodings.coded import Coded, Tables, groups_of, rows_of, times_groups
from accelsim.workload.encodings.minifloat import FORMATS, float_codes, float_values

Element = Literal["int", "fp8_e4m3", "fp8_e5m2", "fp6_e3m2", "fp6_e2m3", "fp4_e2m1"]

BIAS = 127
"""Of the shared exponent (E8M0); 255 is NaN."""


@ENCODINGS.register("block_float")
class BlockFloat(Coded):
    """value = 2**(exponents[row, i // block] - 127) * element for element i of a row (all of one first index).

    Integer elements of k bits are code * 2**-(k - 2). Table `exponents`: uint8 (rows, blocks).
    """

    kind: ClassVar[str] = "block_float"
    widths: ClassVar[range] = range(2, 17)

    class Params(Coded.Params):
        """`block` elements share an exponent (32: MX)."""

        block: int = pydantic.Field(default=32, ge=1)
        element: Element = "int"

    class Meta(Coded.Meta):
        """As chosen."""

        block: int = pydantic.Field(ge=1)
        element: Element

    def codes_signed(self, meta: Any) -> bool:
        return bool(meta.element == "int")

    def tables(self, meta: Any, shape: Dims, bits: int) -> dict[str, Part]:
        if meta.element != "int" and FORMATS[meta.element].bits != bits:
            raise ConfigError(f"elements {meta.element} have {FORMATS[meta.element].bits} bits, not {bits}")
        return {"exponents": Part("u1", groups_of(shape, meta.block))}

    def real(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> NDArray[np.float32]:
        exponents = tables["exponents"].astype(np.int32) - BIAS
        if (exponents == 255 - BIAS).any():
            raise ConfigError("payload 'exponents' must be 0 to 254, got 255 (NaN)")
        if meta.element == "int":
            values = codes.astype(np.float32)
            exponents -= bits - 2
        else:
            values = float_values(codes, meta.element)
        # exact for any exponent of E8M0; float32 holds no smaller power of two than 2**-149
        times_groups(values, np.ldexp(np.float32(1), exponents), meta.block)
        return values

    def fit(self, values: NDArray[Any], bits: int, params: Any) -> tuple[NDArray[Any], Tables, dict[str, Any]]:
        codes, exponents = shared_exponents(values, bits, params.block, params.element)
        return codes, {"exponents": exponents}, {"block": params.block, "element": params.element}

    def examples(self, bits: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{}, {"block": 5}]
        return found + [{"element": name} for name, item in FORMATS.items() if item.bits == bits and bits <= 8]


def shared_exponents(
    values: NDArray[Any], bits: int, block: int, element: str, words: NDArray[np.uint64] | None = None
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Codes and exponents of the nearest numbers (MX specification, section 6.3); at random with a word each.

    The shared exponent is that of the block's largest magnitude less the largest of the element format; what is
    then too large saturates, symmetrically.
    """
    rows = rows_of(np.asarray(values, np.float32))
    count, groups = groups_of(np.shape(values), block)
    largest = np.maximum.reduceat(np.abs(rows), np.arange(0, rows.shape[1], block), axis=1)
    top = 0 if element == "int" else FORMATS[element].top
    _, exponent = np.frexp(largest)
    shared = np.where(largest > 0, exponent - 1 - top, -BIAS).clip(-BIAS, BIAS).astype(np.int32)
    scaled = rows.copy()
    # in two factors: a single one may not be a float32
    times_groups(scaled, np.ldexp(np.float32(1), -(shared // 2)), block)
    times_groups(scaled, np.ldexp(np.float32(1), -(shared - shared // 2)), block)
    if element != "int":
        codes = float_codes(scaled, element, words)
    else:
        scaled *= np.float32(2.0 ** (bits - 2))
        most = (1 << (bits - 1)) - 1
        if words is None:
            np.rint(scaled, out=scaled)
        else:
            uniform = (words >> np.uint64(40)).astype(np.float32).reshape(scaled.shape) * np.float32(2.0**-24)
            np.floor(scaled + uniform, out=scaled)
        codes = np.clip(scaled, -most, most, out=scaled)
    return codes.reshape(np.shape(values)), (shared + BIAS).astype(np.uint8)
