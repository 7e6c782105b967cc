"""Integers as places in a table of levels: weight sharing, learned levels, any uneven quantizer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims, Part
from accelsim.workload.encodings.coded import Coded, Tables, look_up, row_shape


@ENCODINGS.register("codebook")
class Codebook(Coded):
    """value = levels[row or 0, code]; one table for the tensor, or one for each first index.

    Table `levels`: float32 (rows, size). Where zeros shall be left out by the inner encoding, level 0 is 0.0.
    """

    kind: ClassVar[str] = "codebook"
    widths: ClassVar[range] = range(1, 17)

    class Params(Coded.Params):
        """Nothing of its own: at most 2**bits different numbers can be encoded."""

    class Meta(Coded.Meta):
        """`rows`: 1, or the first dimension; `size`: levels in a table."""

        rows: int = pydantic.Field(ge=1)
        size: int = pydantic.Field(ge=1, le=1 << 16)

    def tables(self, meta: Any, shape: Dims, bits: int) -> dict[str, Part]:
        if meta.rows not in (1, row_shape(shape)[0]):
            raise ConfigError(f"rows of the code book must be 1 or {row_shape(shape)[0]}, got {meta.rows}")
        if meta.size > 1 << bits:
            raise ConfigError(f"size of the code book must be at most {1 << bits} at {bits} bits, got {meta.size}")
        return {"levels": Part("f4", (meta.rows, meta.size))}

    def real(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> NDArray[np.float32]:
        return look_up(codes, tables["levels"])

    def fit(self, values: NDArray[Any], bits: int, params: Any) -> tuple[NDArray[Any], Tables, dict[str, Any]]:
        levels, codes = np.unique(values, return_inverse=True)
        if levels.size > 1 << bits:
            raise ConfigError(f"values must be at most {1 << bits} different numbers at {bits} bits, got {levels.size}")
        # zero comes first, so that sparse encodings of the codes leave it out
        order = np.argsort(levels != 0, kind="stable")
        codes = np.argsort(order)[codes.reshape(values.shape)]
        return codes, {"levels": levels[order][None, :]}, {"rows": 1, "size": levels.size}

    def zero_code(self, tables: Tables, meta: Any, bits: int) -> int | None:
        zero = (tables["levels"] == 0).all(axis=0)
        # another level that is 0 in some row would be a zero without having the code
        return int(np.argmax(zero)) if zero.sum() == 1 and (tables["levels"] == 0).sum() == meta.rows else None

    def count_codes(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> int:
        none = not (tables["levels"] == 0).any()
        return codes.size if none else super().count_codes(codes, tables, meta, bits)

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        levels = np.unique(np.asarray(values, np.float32))[: 1 << bits]
        nearest = np.clip(np.searchsorted(levels, values), 0, levels.size - 1)
        return levels[nearest]
