"""Integers that stand for numbers by a rule: base of the encodings codebook, grouped, log2 and their like.

Where the integers lie is another encoding's business (`inner`: dense, bitmap, csc, huffman, ...): its arrays
are stored under `codes.`, beside the tables that say what an integer stands for. An engine that works on the
integers takes `codes()`; decoding gives float32.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.base.spec import Spec, build
from accelsim.base.units import ceil_div
from accelsim.base.yamlio import Document
from accelsim.workload.encodings.base import Dims, Encoded, Encoding, Part, Payload, encoding
from accelsim.workload.packing import value_dtype

PREFIX = "codes."

Tables = dict[str, NDArray[Any]]


class Coded(Encoding):
    """Base of encodings that say what integers stand for. `meta` and `tables` are the subclass' own."""

    floating: ClassVar[bool] = True

    class Params(Spec):
        """Where the integers lie: an encoding that is not floating, and its parameters."""

        inner: str = "dense"
        options: dict[str, Any] = {}

    class Meta(Spec):
        """The inner encoding with its own meta."""

        inner: str = "dense"
        inner_meta: dict[str, Any] = {}

    # --- what a subclass writes ---

    def tables(self, meta: Any, shape: Dims, bits: int) -> dict[str, Part]:
        """The tables that `meta` and `shape` promise; ConfigError if these contradict each other."""
        raise NotImplementedError

    def table_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Bits of the tables, as hardware would store them."""
        return sum(8 * part.nbytes for part in self.tables(meta, shape, bits).values())

    def real(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> NDArray[np.float32]:
        """The numbers that codes of any shape (for grouped tables: of the operand's shape) stand for.

        Raises
        ------
        ConfigError
            If a code or a table entry is not one that can be.
        """
        raise NotImplementedError

    def fit(self, values: NDArray[Any], bits: int, params: Any) -> tuple[NDArray[Any], Tables, dict[str, Any]]:
        """Codes, tables and own meta for real numbers; used by `encode`, which the compressors do not need."""
        raise NotImplementedError

    def codes_signed(self, meta: Any) -> bool:
        """Whether the integers may be negative."""
        return False

    def zero_code(self, tables: Tables, meta: Any, bits: int) -> int | None:
        """The code that stands for 0.0 everywhere; None if there is none."""
        return 0

    # --- what everybody calls ---

    def assemble(
        self, codes: NDArray[Any], bits: int, tables: Tables, meta: dict[str, Any], inner: str, options: dict[str, Any]
    ) -> Encoded:
        """Encode codes that are there already.

        Raises
        ------
        ConfigError
            As `Encoding.encode` of the inner encoding.
        """
        codec = _inner(inner)
        within = codec.encode(codes, bits, self.codes_signed(self.read_meta(meta)), **options)
        payload = {**tables, **{PREFIX + name: array for name, array in within.payload.items()}}
        whole = self.read_meta({**meta, "inner": codec.kind, "inner_meta": within.meta})
        zero = self.zero_code(tables, whole, bits)
        nonzeros = within.nonzeros if zero == 0 else self.count_codes(codes, tables, whole, bits)
        return Encoded(payload, whole.model_dump(), nonzeros)

    def codes(self, payload: Payload, meta: Any, shape: Dims, bits: int) -> NDArray[Any]:
        """The integers of a payload, in `value_dtype(bits, codes_signed(meta))` and the operand's shape."""
        meta = self.read_meta(meta)
        within = {name.removeprefix(PREFIX): a for name, a in payload.items() if name.startswith(PREFIX)}
        return _inner(meta.inner).decode(within, meta.inner_meta, shape, bits, self.codes_signed(meta))

    def encode(self, values: NDArray[Any], bits: int, signed: bool = True, **params: Any) -> Encoded:
        self.check_width(bits, signed)
        chosen = build(self.Params, Document(params, f"encoding {self.kind}"))
        checked = self._checked_values(values, bits, signed).astype(np.float32)
        codes, tables, meta = self.fit(checked, bits, chosen)
        codes = codes.astype(value_dtype(bits, self.codes_signed(self.read_meta(meta))), copy=False)
        return self.assemble(codes, bits, tables, meta, chosen.inner, chosen.options)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        codec, signed = _inner(meta.inner), self.codes_signed(meta)
        codec.check_width(bits, signed)
        within = codec.layout(codec.read_meta(meta.inner_meta), shape, bits, signed)
        return {**self.tables(meta, shape, bits), **{PREFIX + name: part for name, part in within.items()}}

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        tables = {name: a for name, a in payload.items() if not name.startswith(PREFIX)}
        values = self.real(self.codes(payload, meta, shape, bits), tables, meta, bits)
        if not np.isfinite(values).all():
            raise ConfigError("payload must stand for finite numbers, got NaN or infinity")
        return values.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        codec = _inner(meta.inner)
        return codec.payload_bits(codec.read_meta(meta.inner_meta), shape, bits)

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        codec = _inner(meta.inner)
        return self.table_bits(meta, shape, bits) + codec.index_bits(codec.read_meta(meta.inner_meta), shape, bits)

    def count_codes(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> int:
        """How many codes stand for other numbers than 0. Override where a look at the tables can tell."""
        return int(np.count_nonzero(self.real(codes, tables, meta, bits)))

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        codes, tables, meta = self.fit(np.asarray(values, np.float32), bits, params)
        whole = self.read_meta(meta)
        codes = codes.astype(value_dtype(bits, self.codes_signed(whole)), copy=False)
        return self.real(codes, tables, whole, bits).reshape(np.shape(values))


def rows_of(array: NDArray[Any]) -> NDArray[Any]:
    """The array as a matrix: first dimension by all others (one row if there is only one)."""
    return array.reshape(1, -1) if array.ndim < 2 else array.reshape(array.shape[0], -1)


def row_shape(shape: Dims) -> tuple[int, int]:
    """The shape that `rows_of` gives."""
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


def groups_of(shape: Dims, group: int) -> tuple[int, int]:
    """(rows, groups in a row) for groups of consecutive elements within each row; the last may be short."""
    rows, length = row_shape(shape)
    return rows, ceil_div(length, group)


def power_above(size: Any) -> NDArray[np.float32]:
    """The least power of two that is not below each of `size`; 1 for 0."""
    size = np.asarray(size, np.float32)
    with np.errstate(divide="ignore"):
        exponent = np.where(size > 0, np.ceil(np.log2(size, dtype=np.float64)), 0)
    return np.asarray(2.0 ** np.clip(exponent, -126, 127), np.float32)


def look_up(codes: NDArray[Any], table: NDArray[np.float32], bias: int = 0) -> NDArray[np.float32]:
    """table[row or 0, code + bias] for every code; table of one row, or one for each first index.

    Raises
    ------
    ConfigError
        If a code is outside the table.
    """
    matrix = rows_of(codes)
    if matrix.size and not 0 <= int(matrix.min()) + bias <= int(matrix.max()) + bias < table.shape[1]:
        low, high = -bias, table.shape[1] - 1 - bias
        raise ConfigError(f"codes must be {low} to {high}, got {matrix.min()} to {matrix.max()}")
    out = np.empty(matrix.shape, np.float32)
    take_levels(matrix, np.ascontiguousarray(table, np.float32), bias, out)
    return out.reshape(codes.shape)


def times_groups(values: NDArray[np.float32], scales: NDArray[Any], group: int) -> None:
    """Multiply each group of a row, in place, by its scale; scales of shape (rows, groups)."""
    scale_groups(rows_of(values), np.ascontiguousarray(scales, np.float32), group)


@kernel(nogil=True)
def take_levels(codes, table, bias, out):  # type: ignore[no-untyped-def]
    """out[r, i] = table[r if it has rows, codes[r, i] + bias]."""
    single = table.shape[0] == 1
    for r in range(codes.shape[0]):
        level = table[0 if single else r]
        for i in range(codes.shape[1]):
            out[r, i] = level[np.int64(codes[r, i]) + bias]


@kernel(nogil=True)
def scale_groups(values, scales, group):  # type: ignore[no-untyped-def]
    """values[r, i] *= scales[r, i // group]."""
    length = values.shape[1]
    for r in range(values.shape[0]):
        for g in range(scales.shape[1]):
            scale = scales[r, g]
            for i in range(g * group, min(length, (g + 1) * group)):
                values[r, i] *= scale


@take_levels.warms_up_with
def _take_example() -> tuple[Any, ...]:
    return np.zeros((2, 4), np.uint8), np.zeros((1, 4), np.float32), 0, np.zeros((2, 4), np.float32)


@scale_groups.warms_up_with
def _scale_example() -> tuple[Any, ...]:
    return np.zeros((2, 4), np.float32), np.zeros((2, 2), np.float32), 2


def _inner(name: str) -> Encoding:
    codec = encoding(name)
    if codec.floating:
        raise ConfigError(f"inner encoding must hold integers, got {name}")
    return codec
