"""What CSR and CSC share: a matrix cut into lines, and for each line the places of its nonzeros."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.base import Dims, Encoding, Part, Payload
from accelsim.workload.encodings.bitmap import check_count, unpacked
from accelsim.workload.encodings.rlc import check_nonzeros
from accelsim.workload.encodings.sparse_kernels import CHUNK, lanes, place_runs, runs_of
from accelsim.workload.packing import pack, value_dtype, words_for

_LINES = 64  # at a time at least: a transposed column then uses whole cache lines


def matrix_shape(shape: Dims) -> tuple[int, int]:
    """A tensor as a matrix: the first dimension (outputs) by all others; a vector is one row."""
    return (1, shape[0]) if len(shape) == 1 else (shape[0], prod(shape[1:]))


def bits_for(count: int) -> int:
    """Bits that tell `count` things apart, at least 1."""
    return max(1, (count - 1).bit_length())


class Lines(Encoding):
    """Base of `csr` and `csc`.

    Entries are stored line by line, and in a line PE by PE: element i of a line belongs to PE i % pes, where it is
    number i // pes (Han et al., "EIE", ISCA 2016, section III-B and figure 3). Arrays: `values`; `indices`;
    `pointers`, uint32 (uint64 from 2**32 entries on), number of entries before each (line, PE), and in all.

    relative : an index is the number of zeros between a nonzero and the one before it in the same line and PE; a
        padding zero breaks longer runs, and counts as payload, as it does in EIE.
    absolute : an index is the place in the line and PE.
    """

    by_columns: ClassVar[bool] = False

    class Params(Spec):
        """EIE: relative, index_bits 4, pes 64, pointer_bits 16.

        Attributes
        ----------
        index : relative or absolute
        index_bits : int
            Of a relative index. Absolute ones are as wide as the line needs.
        pes : int
        pointer_bits : int, optional
            For `index_bits()`; each PE has one pointer more than there are lines. Default: as the fullest PE needs.
        """

        index: Literal["relative", "absolute"] = "relative"
        index_bits: int = pydantic.Field(default=4, ge=1, le=16)
        pes: int = pydantic.Field(default=1, ge=1, le=65536)
        pointer_bits: int | None = pydantic.Field(default=None, ge=1, le=64)

    class Meta(Spec):
        """As `Params`, with the number of entries."""

        index: Literal["relative", "absolute"]
        index_bits: int = pydantic.Field(ge=1, le=32)
        pes: int = pydantic.Field(ge=1, le=65536)
        pointer_bits: int = pydantic.Field(ge=1, le=64)
        entries: int = pydantic.Field(ge=0)
        nonzeros: int = pydantic.Field(ge=0)

    # --- the matrix as lines ---

    def lines(self, shape: Dims) -> tuple[int, int]:
        """Number of lines, and elements of each."""
        rows, columns = matrix_shape(shape)
        return (columns, rows) if self.by_columns else (rows, columns)

    def _chunks(self, shape: Dims) -> Iterator[slice]:
        count, length = self.lines(shape)
        step = max(_LINES, CHUNK // length)
        return (slice(at, min(at + step, count)) for at in range(0, count, step))

    def _segments(self, matrix: NDArray[Any], part: slice, pes: int) -> NDArray[Any]:
        """Some lines with their elements by PE: [lines, pes, elements of a PE], padded with zeros."""
        # a few whole columns side by side first: elements one below the other fall into one set of a cache
        block = np.ascontiguousarray(matrix[:, part]).T if self.by_columns else matrix[part]
        if pes == 1:
            return np.ascontiguousarray(block)[:, None, :]
        each = ceil_div(block.shape[1], pes)
        padded = np.zeros((block.shape[0], each * pes), block.dtype)
        padded[:, : block.shape[1]] = block
        return np.ascontiguousarray(padded.reshape(-1, each, pes).transpose(0, 2, 1))

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        matrix = values.reshape(matrix_shape(values.shape))
        count, length = self.lines(values.shape)
        relative, each = params.index == "relative", ceil_div(length, params.pes)
        index_bits = params.index_bits if relative else bits_for(each)
        pointers, found, done = np.zeros(count * params.pes + 1, np.int64), [], 0
        for part in self._chunks(values.shape):
            segments = self._segments(matrix, part, params.pes)
            take = _relative if relative else _absolute
            indices, taken, ends = take(lanes(segments), each, index_bits)
            pointers[part.start * params.pes + 1 : part.stop * params.pes + 1] = ends + done
            done += taken.size
            found.append((indices, taken))
        indices, taken = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
        of_pe = np.diff(pointers).reshape(count, params.pes).sum(axis=0)
        needed = max(1, int(of_pe.max()).bit_length())
        if params.pointer_bits is not None and needed > params.pointer_bits:
            most = f"{needed} for {of_pe.max()} entries"
            raise ConfigError(f"pointer_bits must be at least {most}, got {params.pointer_bits}")
        meta = self.Meta(
            index=params.index,
            index_bits=index_bits,
            pes=params.pes,
            pointer_bits=params.pointer_bits or needed,
            entries=done,
            nonzeros=int(np.count_nonzero(taken)),
        )
        payload = {"values": pack(taken, bits), "indices": pack(indices, index_bits)}
        return {**payload, "pointers": pointers.astype(_pointer_dtype(done))}, meta

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        check_count(meta.entries, prod(shape), "entries")
        check_count(meta.nonzeros, meta.entries, "nonzeros")
        count, length = self.lines(shape)
        wanted = meta.index_bits if meta.index == "relative" else bits_for(ceil_div(length, meta.pes))
        if meta.index_bits != wanted or (meta.index == "relative" and wanted > 16):
            raise ConfigError(f"index_bits must be {min(wanted, 16)}, got {meta.index_bits}")
        return {
            "values": Part("u8", (words_for(meta.entries, bits),)),
            "indices": Part("u8", (words_for(meta.entries, meta.index_bits),)),
            "pointers": Part(_pointer_dtype(meta.entries), (count * meta.pes + 1,)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        count, length = self.lines(shape)
        pes, each = meta.pes, ceil_div(length, meta.pes)
        pointers = payload["pointers"].astype(np.int64)
        if pointers[0] != 0 or pointers[-1] != meta.entries or (np.diff(pointers) < 0).any():
            raise ConfigError(f"payload 'pointers' must ascend from 0 to {meta.entries}")
        indices = unpacked(payload, "indices", meta.entries, meta.index_bits, False)
        values = unpacked(payload, "values", meta.entries, bits, signed)
        check_nonzeros(values, meta.nonzeros)
        out = np.zeros(matrix_shape(shape), value_dtype(bits, signed))
        top = (1 << meta.index_bits) - 1
        for part in self._chunks(shape):
            ends = pointers[part.start * pes : part.stop * pes + 1]
            mine = slice(int(ends[0]), int(ends[-1]))
            block = np.zeros((part.stop - part.start, pes, each), out.dtype)
            place = _place_relative if meta.index == "relative" else _place_absolute
            place(indices[mine], values[mine], ends - ends[0], each, top, block)
            whole = block.transpose(0, 2, 1).reshape(block.shape[0], -1)
            if whole[:, length:].any():
                raise ConfigError(f"payload 'indices' must lie inside lines of {length} elements")
            if self.by_columns:
                out[:, part] = np.ascontiguousarray(whole[:, :length].T)
            else:
                out[part] = whole[:, :length]
        return out.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.entries) * bits

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Indices, and the pointers of every PE."""
        return int(meta.entries * meta.index_bits + (self.lines(shape)[0] + 1) * meta.pes * meta.pointer_bits)

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        return int(meta.nonzeros)

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"index": "absolute"}, {"pes": 3, "index_bits": 2}, {"pes": 4, "index": "absolute"}]


Taken = tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]


def _relative(flat: NDArray[Any], length: int, index_bits: int) -> Taken:
    runs, taken, pointers = runs_of(flat, length, index_bits)
    return runs, taken, pointers[1:]


def _absolute(flat: NDArray[Any], length: int, index_bits: int) -> Taken:
    places = np.flatnonzero(flat)
    ends = np.searchsorted(places, np.arange(1, flat.size // length + 1) * length)
    return (places % length).astype(value_dtype(index_bits, False)), flat[places], ends


def _place_relative(
    indices: NDArray[Any], values: NDArray[Any], ends: NDArray[np.int64], length: int, top: int, out: NDArray[Any]
) -> None:
    wrong = place_runs(indices, lanes(values), ends, length, top, lanes(out))
    if wrong >= 0:
        raise ConfigError(f"payload 'indices' must lie inside lines of {length} elements, and zeros only pad runs")


def _place_absolute(
    indices: NDArray[Any], values: NDArray[Any], ends: NDArray[np.int64], length: int, top: int, out: NDArray[Any]
) -> None:
    places = indices.astype(np.int64) + np.repeat(np.arange(ends.size - 1) * length, np.diff(ends))
    if (indices >= length).any() or (np.diff(places) <= 0).any():
        raise ConfigError(f"payload 'indices' must ascend inside lines of {length} elements")
    if not values.all():
        raise ConfigError("payload 'values' must hold no zeros")
    out.reshape(-1)[places] = values


def _pointer_dtype(entries: int) -> str:
    return "u4" if entries < 2**32 else "u8"
