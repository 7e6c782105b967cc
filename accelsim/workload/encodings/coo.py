"""Coordinates: each nonzero with its index in every dimension."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.encodings.bitmap import Counted, check_count, unpacked, unpacked_nonzeros
from accelsim.workload.encodings.sparse_kernels import CHUNK, gather, lanes, nonzero_mask
from accelsim.workload.packing import pack, value_dtype, words_for


@ENCODINGS.register("coo")
class Coordinates(Encoding):
    """Arrays: `values`; for dimension d with more than one index `index<d>`, packed at just enough bits. C order."""

    kind: ClassVar[str] = "coo"

    class Meta(Counted):
        """`nonzeros`."""

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        flat = lanes(values)
        mask = nonzero_mask(flat)
        nonzeros = gather(flat, mask)
        # 32-bit places are divided by vector instructions
        places = np.empty(nonzeros.size, np.uint32 if flat.size < 2**32 else np.uint64)
        done = 0
        for at in range(0, flat.size, CHUNK):
            found = np.flatnonzero(flat[at : at + CHUNK] != 0)  # quicker for truth values
            np.add(found, at, out=places[done : done + found.size], casting="unsafe")
            done += found.size
        payload = {"values": pack(nonzeros, bits)}
        for d in range(values.ndim - 1, -1, -1):
            size = values.shape[d]
            width = _width(size)
            if width:
                above = places // size if d else np.zeros_like(places)
                payload[f"index{d}"] = pack((places - above * size).astype(value_dtype(width, False)), width)
                places = above
        return payload, self.Meta(nonzeros=int(nonzeros.size))

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        check_count(meta.nonzeros, prod(shape), "nonzeros")
        parts = {"values": Part("u8", (words_for(meta.nonzeros, bits),))}
        for d, size in enumerate(shape):
            if _width(size):
                parts[f"index{d}"] = Part("u8", (words_for(meta.nonzeros, _width(size)),))
        return parts

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        # as wide as the largest index that damaged coordinates can lead to
        places = np.zeros(meta.nonzeros, np.uint32 if prod(shape) < 2**32 else np.uint64)
        for d, size in enumerate(shape):
            places *= size
            if _width(size):
                index = unpacked(payload, f"index{d}", meta.nonzeros, _width(size), False)
                if (index >= size).any():
                    raise ConfigError(f"payload 'index{d}' must be less than {size}")
                places += index
        if (places[1:] <= places[:-1]).any():
            raise ConfigError("coordinates must ascend")
        out = np.zeros(prod(shape), value_dtype(bits, signed))
        out[places] = unpacked_nonzeros(payload, meta.nonzeros, bits, signed)
        return out.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.nonzeros) * bits

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.nonzeros) * sum(_width(size) for size in shape)


def _width(size: int) -> int:
    width = (size - 1).bit_length()
    if width > 32:
        raise ConfigError(f"a dimension must have at most {2**32} indices for encoding coo, got {size}")
    return width
