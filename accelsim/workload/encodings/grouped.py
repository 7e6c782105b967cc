"""Uniform levels with a scale for each group of neighbouring elements; also the levels without a zero.

Binary weights with a scale for each filter (XNOR-Net) are one bit, offset 1/2; the 2**k levels of DoReFa-Net,
which are even around zero, have offset (2**k - 1) / 2.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims, Part
from accelsim.workload.encodings.coded import Coded, Tables, groups_of, power_above, row_shape, rows_of, times_groups
from accelsim.workload.packing import limits


@ENCODINGS.register("grouped")
class Grouped(Coded):
    """value = scales[row, i // group] * (code - offset) for element i of a row.

    A row is everything with the same first index. Tables: `scales`, float32 (rows, groups), or (1, 1) for one in
    all; and, where each group has an offset of its own, `offsets`, int32 of the same shape.
    """

    kind: ClassVar[str] = "grouped"
    widths: ClassVar[range] = range(1, 17)

    class Params(Coded.Params):
        """`group` elements share a scale; 0: a whole row."""

        group: int = pydantic.Field(default=0, ge=0)

    class Meta(Coded.Meta):
        """`twice_offset`: 2 * offset, which may be odd; None: the offsets are a table. `single`: one scale in all."""

        group: int = pydantic.Field(ge=1)
        signed: bool = False
        twice_offset: int | None = pydantic.Field(default=0, ge=-(1 << 17), le=1 << 17)
        single: bool = False

    def codes_signed(self, meta: Any) -> bool:
        return bool(meta.signed)

    def tables(self, meta: Any, shape: Dims, bits: int) -> dict[str, Part]:
        if meta.group > row_shape(shape)[1]:
            raise ConfigError(f"group must be at most {row_shape(shape)[1]}, the elements of a row, got {meta.group}")
        size = (1, 1) if meta.single else groups_of(shape, meta.group)
        found = {"scales": Part("f4", size)}
        if meta.twice_offset is None:
            found["offsets"] = Part("i4", size)
        return found

    def real(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> NDArray[np.float32]:
        scales, offsets = tables["scales"], tables.get("offsets")
        group = rows_of(codes).shape[1] if meta.single else meta.group
        values = codes.astype(np.float32)
        if offsets is not None:
            low, high = limits(bits + 1, True)
            if not low <= int(offsets.min()) <= int(offsets.max()) <= high:
                raise ConfigError(f"offsets must be {low} to {high}, got {offsets.min()} to {offsets.max()}")
            by_element = np.repeat(offsets, group, axis=1)[:, : rows_of(codes).shape[1]]
            values -= by_element.reshape(values.shape) if by_element.size == values.size else by_element[0, 0]
        elif meta.twice_offset:
            values -= np.float32(meta.twice_offset / 2)
        if meta.single:
            values *= scales[0, 0]
        else:
            times_groups(values, scales, group)
        return values

    def fit(self, values: NDArray[Any], bits: int, params: Any) -> tuple[NDArray[Any], Tables, dict[str, Any]]:
        rows = rows_of(values)
        group = min(params.group or rows.shape[1], rows.shape[1])
        rows_count, groups = groups_of(values.shape, group)
        padded = np.zeros((rows_count, groups * group), np.float32)
        padded[:, : rows.shape[1]] = rows
        top = max(1, (1 << (bits - 1)) - 1)
        largest = np.abs(padded.reshape(rows_count, groups, group)).max(axis=2)
        if bits == 1:
            scales = np.where(largest > 0, 2 * largest, np.float32(1))
            return (values >= 0), {"scales": scales}, {"group": group, "twice_offset": 1}
        scales = power_above(largest / np.float32(top))
        each = np.repeat(scales, group, axis=1)[:, : rows.shape[1]]
        codes = np.clip(np.rint(rows / each), -top, top).reshape(values.shape)
        return codes, {"scales": scales}, {"group": group, "signed": True}

    def zero_code(self, tables: Tables, meta: Any, bits: int) -> int | None:
        twice = meta.twice_offset
        if twice is None:
            offsets = np.unique(tables["offsets"])
            twice = 2 * int(offsets[0]) if offsets.size == 1 else 1
        low, high = limits(bits, meta.signed)
        return twice // 2 if twice % 2 == 0 and low <= twice // 2 <= high else None

    def count_codes(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> int:
        none = bool((meta.twice_offset or 0) % 2 and (tables["scales"] != 0).all())
        return codes.size if none else super().count_codes(codes, tables, meta, bits)

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"group": 3}]
