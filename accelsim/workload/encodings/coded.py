"""Integers that stand for numbers by a rule: base of the encodings codebook, grouped, log2 and their like.

Where the integers lie is another encoding's business (`inner`: dense, bitmap, csc, huffman, ...): its arrays
are stored under `codes.`, beside the tables that say what an integer stands for. An engine that works on the
integers takes `codes()`; decoding gives float32.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document
from accelsim.workload.encodings.base import Dims, Encoded, Encoding, Part, Payload, encoding
from accelsim.workload.packing import value_dtype

PREFIX = "codes."

Tables = dict[str, NDArray[Any]]


class Coded(Encoding):
    """Base of encodings that say what integers stand for. `meta` and `tables` are the subclass' own."""

    floating: ClassVar[bool] = True
    signed_codes: ClassVar[bool] = False

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
        within = codec.encode(codes, bits, self.signed_codes, **options)
        payload = {**tables, **{PREFIX + name: array for name, array in within.payload.items()}}
        whole = self.read_meta({**meta, "inner": codec.kind, "inner_meta": within.meta})
        zero = self.zero_code(tables, whole, bits)
        nonzeros = within.nonzeros if zero == 0 else self._count(codes, tables, whole, bits)
        return Encoded(payload, whole.model_dump(), nonzeros)

    def codes(self, payload: Payload, meta: Any, shape: Dims, bits: int) -> NDArray[Any]:
        """The integers of a payload, in `value_dtype(bits, signed_codes)` and the operand's shape."""
        meta = self.read_meta(meta)
        within = {name.removeprefix(PREFIX): a for name, a in payload.items() if name.startswith(PREFIX)}
        return _inner(meta.inner).decode(within, meta.inner_meta, shape, bits, self.signed_codes)

    def encode(self, values: NDArray[Any], bits: int, signed: bool = True, **params: Any) -> Encoded:
        self.check_width(bits, signed)
        chosen = build(self.Params, Document(params, f"encoding {self.kind}"))
        checked = self._checked_values(values, bits, signed).astype(np.float32)
        codes, tables, meta = self.fit(checked, bits, chosen)
        codes = codes.astype(value_dtype(bits, self.signed_codes), copy=False)
        return self.assemble(codes, bits, tables, meta, chosen.inner, chosen.options)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        codec = _inner(meta.inner)
        codec.check_width(bits, self.signed_codes)
        within = codec.layout(codec.read_meta(meta.inner_meta), shape, bits, self.signed_codes)
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

    def _count(self, codes: NDArray[Any], tables: Tables, meta: Any, bits: int) -> int:
        return int(np.count_nonzero(self.real(codes, tables, meta, bits)))

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        codes, tables, meta = self.fit(np.asarray(values, np.float32), bits, params)
        codes = codes.astype(value_dtype(bits, self.signed_codes), copy=False)
        return self.real(codes, tables, self.read_meta(meta), bits).reshape(np.shape(values))


def _inner(name: str) -> Encoding:
    codec = encoding(name)
    if codec.floating:
        raise ConfigError(f"inner encoding must hold integers, got {name}")
    return codec
