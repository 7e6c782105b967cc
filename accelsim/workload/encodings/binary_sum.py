"""Sums of scaled bits: multi-bit binary weights (ABC-Net, network sketching, LQ-Nets, alternating)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims, Part
from accelsim.workload.encodings.coded import Coded, Tables, look_up, power_above, row_shape


@ENCODINGS.register("binary_sum")
class BinarySum(Coded):
    """value = sum over j of alphas[row or 0, j] * (1 if bit j of the code, else low), with low -1 or 0.

    Table `alphas`: float32 (rows, bits). An engine computes one binary product for each bit.
    """

    kind: ClassVar[str] = "binary_sum"
    widths: ClassVar[range] = range(1, 9)

    class Params(Coded.Params):
        """Nothing of its own."""

    class Meta(Coded.Meta):
        """`rows`: 1, or the first dimension; `low`: what a bit of 0 stands for."""

        rows: int = pydantic.Field(ge=1)
        low: int = pydantic.Field(default=-1, ge=-1, le=0)

    def tables(self, meta: Any, shape: Dims, bits: int) -> dict[str, Part]:
        if meta.rows not in (1, row_shape(shape)[0]):
            raise ConfigError(f"rows must be 1 or {row_shape(shape)[0]}, got {meta.rows}")
        return {"alphas": Part("f4", (meta.rows, bits))}

    def real(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> NDArray[np.float32]:
        return look_up(codes, sums(tables["alphas"], meta.low))

    def fit(self, values: NDArray[Any], bits: int, params: Any) -> tuple[NDArray[Any], Tables, dict[str, Any]]:
        top = (1 << bits) - 1
        half = power_above(np.abs(values).max() / top)
        codes = np.clip(np.rint((values / half + top) / 2), 0, top)
        alphas = half * 2 ** np.arange(bits, dtype=np.float32)[None, :]
        return codes, {"alphas": alphas}, {"rows": 1, "low": -1}

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        found = super().representable(values, bits, signed, params)
        top = (1 << bits) - 1
        found.reshape(-1)[0] = top * power_above(np.abs(values).max() / top)  # the largest level fixes the scale
        return found

    def zero_code(self, tables: Tables, meta: Any, bits: int) -> int | None:
        if (1 << bits) * tables["alphas"].shape[0] > 1 << 24:
            return None
        levels = sums(tables["alphas"], meta.low)
        zero = (levels == 0).all(axis=0)
        return int(np.argmax(zero)) if zero.sum() == 1 and (levels == 0).sum() == levels.shape[0] else None

    def count_codes(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> int:
        none = not (sums(tables["alphas"], meta.low) == 0).any()
        return codes.size if none else super().count_codes(codes, tables, meta, bits)


def sums(alphas: NDArray[Any], low: int) -> NDArray[np.float32]:
    """The 2**bits levels of each row, (rows, 2**bits), added in the order of the bits in float32."""
    bits = alphas.shape[1]
    codes = np.arange(1 << bits)
    levels = np.zeros((alphas.shape[0], codes.size), np.float32)
    for j in range(bits):
        levels += alphas[:, j : j + 1] * np.where(codes >> j & 1, np.float32(1), np.float32(low))
    return levels
