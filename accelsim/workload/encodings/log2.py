"""Powers of two: a multiplication becomes a shift."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims, Part
from accelsim.workload.encodings.coded import Coded, Tables, look_up, row_shape, rows_of


@ENCODINGS.register("log2")
class Log2(Coded):
    """value = sign(q) * scales[row or 0] * 2**((|q| - 1) / per_octave), and 0 for q = 0.

    `per_octave` 1 are powers of two, 2 those of sqrt(2). Table `scales`: float32 (rows,), the smallest magnitudes.
    """

    kind: ClassVar[str] = "log2"
    widths: ClassVar[range] = range(2, 9)

    class Params(Coded.Params):
        """`per_octave` as in Meta."""

        per_octave: int = pydantic.Field(default=1, ge=1, le=4)

    class Meta(Coded.Meta):
        """`rows`: 1, or the first dimension."""

        rows: int = pydantic.Field(ge=1)
        per_octave: int = pydantic.Field(default=1, ge=1, le=4)

    def codes_signed(self, meta: Any) -> bool:
        return True

    def tables(self, meta: Any, shape: Dims, bits: int) -> dict[str, Part]:
        if meta.rows not in (1, row_shape(shape)[0]):
            raise ConfigError(f"rows must be 1 or {row_shape(shape)[0]}, got {meta.rows}")
        return {"scales": Part("f4", (meta.rows,))}

    def levels(self, scales: NDArray[Any], meta: Any, bits: int) -> NDArray[np.float32]:
        """All levels, by code from -2**(bits-1) on."""
        top = 1 << (bits - 1)
        code = np.arange(-top, top)
        size = np.where(code == 0, 0.0, 2.0 ** ((np.abs(code) - 1) / meta.per_octave))
        found: NDArray[np.float32] = (np.sign(code) * size * scales[:, None].astype(np.float64)).astype(np.float32)
        return found

    def real(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            levels = self.levels(tables["scales"], meta, bits)
        return look_up(codes, levels, 1 << (bits - 1))

    def fit(self, values: NDArray[Any], bits: int, params: Any) -> tuple[NDArray[Any], Tables, dict[str, Any]]:
        top, octave = (1 << (bits - 1)) - 1, params.per_octave
        rows = rows_of(values)
        largest = max(float(np.abs(rows).max()), 2.0**-100)
        smallest = np.float32(2.0 ** max(-126.0, np.floor(np.log2(largest) + 1e-6) - (top - 1) / octave))
        with np.errstate(divide="ignore"):
            steps = np.rint(np.log2(np.abs(values).astype(np.float64) / smallest) * octave) + 1
        codes = np.sign(values) * np.clip(steps, 0, top)
        return codes, {"scales": np.array([smallest])}, {"rows": 1, "per_octave": octave}

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"per_octave": 2}]
