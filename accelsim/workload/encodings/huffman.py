"""Entropy coding: frequent integers in short code words."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.base import ENCODINGS, MAX_ELEMENTS, Dims, Encoding, Part, Payload
from accelsim.workload.huffman import MAX_LENGTH, code_lengths, pack_symbols, stream_bits, unpack_symbols
from accelsim.workload.packing import limits, unused_bits_are_zero, value_dtype

_CHUNK = 1 << 22


@ENCODINGS.register("huffman")
class Huffman(Encoding):
    """Canonical Huffman code over all elements. Zeros get a short word, not an index.

    Arrays: `lengths`, uint8, of the code word of each integer from the smallest of the width on; `data`, the stream.
    """

    kind: ClassVar[str] = "huffman"
    widths: ClassVar[range] = range(1, 17)

    class Meta(Spec):
        """`stream_bits`: length of the stream."""

        stream_bits: int = pydantic.Field(ge=1, le=MAX_ELEMENTS * MAX_LENGTH)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        low, _ = limits(bits, signed)
        flat = values.reshape(-1)
        symbols = np.empty(flat.size, value_dtype(bits, False))
        counts = np.zeros(1 << bits, np.int64)
        for at in range(0, flat.size, _CHUNK):
            part = flat[at : at + _CHUNK].astype(np.int32) - low
            counts += np.bincount(part, minlength=counts.size)
            symbols[at : at + _CHUNK] = part
        lengths = code_lengths(counts)
        total = stream_bits(counts, lengths)
        return {"lengths": lengths, "data": pack_symbols(symbols, lengths, total)}, self.Meta(stream_bits=total)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        if meta.stream_bits < prod(shape):
            what = f"stream_bits must be at least {prod(shape)}, one for each element, got {meta.stream_bits}"
            raise ConfigError(what)
        return {"lengths": Part("u1", (1 << bits,)), "data": Part("u8", (ceil_div(meta.stream_bits, 64),))}

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        words, low = payload["data"], limits(bits, signed)[0]
        if not unused_bits_are_zero(words, meta.stream_bits, 1):
            raise ConfigError("payload 'data' must be zero after its last code word")
        kind = value_dtype(bits, False)
        symbols = unpack_symbols(words, prod(shape), payload["lengths"], meta.stream_bits, kind)
        symbols += np.asarray(low).astype(kind)  # wraps around, and the view below makes it signed
        return symbols.view(value_dtype(bits, signed)).reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.stream_bits)

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """The table of lengths, in 6 bits each."""
        return (1 << bits) * 6
