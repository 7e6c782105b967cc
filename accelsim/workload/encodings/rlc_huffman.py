"""Run-length coding whose runs and values are Huffman coded, each with its own code: Deep Compression's last step.

Han, Mao, Dally, "Deep Compression", ICLR 2016, section 4 (distances and code-book indices are coded apart).
"""

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
from accelsim.workload.encodings.rlc import check_nonzeros, entries_of, tensor_of
from accelsim.workload.huffman import MAX_LENGTH, code_lengths, pack_symbols, stream_bits, unpack_symbols
from accelsim.workload.packing import pack, unused_bits_are_zero, value_dtype

LENGTH_BITS = 6
"""Of an entry of a table of code lengths, as hardware would store it."""


@ENCODINGS.register("rlc_huffman")
class RunLengthHuffman(Encoding):
    """As `rlc`, in code words. Arrays: `run_lengths` and `value_lengths`, uint8, the lengths of the code words of each
    run and each value (as an unsigned integer); `runs` and `values`, the streams."""

    kind: ClassVar[str] = "rlc_huffman"
    widths: ClassVar[range] = range(1, 17)

    class Params(Spec):
        """`run_bits`: the widest run is 2**run_bits - 1 zeros."""

        run_bits: int = pydantic.Field(default=5, ge=1, le=12)

    class Meta(Spec):
        """`entries`: stored pairs; `run_stream`, `value_stream`: bits."""

        run_bits: int = pydantic.Field(ge=1, le=12)
        entries: int = pydantic.Field(ge=0)
        nonzeros: int = pydantic.Field(ge=0)
        run_stream: int = pydantic.Field(ge=0, le=MAX_ELEMENTS * MAX_LENGTH)
        value_stream: int = pydantic.Field(ge=0, le=MAX_ELEMENTS * MAX_LENGTH)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        runs, taken = entries_of(values, params.run_bits)
        mask = taken.dtype.type((1 << bits) - 1)
        run_lengths, run_words, run_stream = _coded(runs, 1 << params.run_bits)
        value_lengths, value_words, value_stream = _coded(taken & mask, 1 << bits)
        meta = self.Meta(
            run_bits=params.run_bits, entries=runs.size, nonzeros=int(np.count_nonzero(taken)), run_stream=run_stream,
            value_stream=value_stream,
        )  # fmt: skip
        payload: Payload = {"run_lengths": run_lengths, "value_lengths": value_lengths}
        return {**payload, "runs": run_words, "values": value_words}, meta

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        if not meta.nonzeros <= meta.entries <= prod(shape):
            raise ConfigError(f"entries must be {meta.nonzeros} to {prod(shape)}, got {meta.entries}")
        return {
            "run_lengths": Part("u1", (1 << meta.run_bits,)),
            "value_lengths": Part("u1", (1 << bits,)),
            "runs": Part("u8", (ceil_div(meta.run_stream, 64),)),
            "values": Part("u8", (ceil_div(meta.value_stream, 64),)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        runs = _decoded(payload, "run", meta.entries, meta.run_stream, value_dtype(meta.run_bits, False))
        kind = value_dtype(bits, True)
        lanes = _decoded(payload, "value", meta.entries, meta.value_stream, value_dtype(bits, False))
        if signed:  # sign-extend within the lane
            shift = 8 * kind.itemsize - bits
            lanes = (lanes.view(kind) << kind.type(shift)) >> kind.type(shift)
        check_nonzeros(lanes, meta.nonzeros)
        out = tensor_of(pack(runs, meta.run_bits), lanes, meta.nonzeros, meta.run_bits, prod(shape))
        return out.view(value_dtype(bits, signed)).reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.value_stream)

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Runs, and both tables of lengths."""
        return int(meta.run_stream + LENGTH_BITS * ((1 << meta.run_bits) + (1 << bits)))

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        return int(meta.nonzeros)

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"run_bits": 2}]


def _coded(symbols: NDArray[Any], size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64], int]:
    """Lengths, stream, and its bits."""
    if not symbols.size:
        return np.zeros(size, np.uint8), np.zeros(0, np.uint64), 0
    counts = np.bincount(symbols, minlength=size)
    lengths = code_lengths(counts)
    total = stream_bits(counts, lengths)
    return lengths, pack_symbols(symbols, lengths, total), total


def _decoded(payload: Payload, name: str, count: int, total: int, dtype: Any) -> NDArray[Any]:
    words = payload[f"{name}s"]
    if not unused_bits_are_zero(words, total, 1):
        raise ConfigError(f"payload '{name}s' must be zero after its last code word")
    if not count:
        if total or payload[f"{name}_lengths"].any():
            raise ConfigError(f"payload '{name}s' must be empty where there are no entries")
        return np.zeros(0, dtype)
    return unpack_symbols(words, count, payload[f"{name}_lengths"], total, dtype)
