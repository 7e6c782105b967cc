"""A mask with one bit for every element, and the nonzeros packed.

The form in which SparTen (Gondimalla et al., MICRO 2019, section 3), NVDLA and others keep sparse tensors.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.encodings.group_kernels import collect, spread
from accelsim.workload.encodings.sparse_kernels import lanes, mask_count, nonzero_mask
from accelsim.workload.packing import pack, unpack, unused_bits_are_zero, value_dtype, words_for


class Counted(Spec):
    """How many values are stored."""

    nonzeros: int = pydantic.Field(ge=0)


def check_count(count: int, most: int, what: str) -> None:
    """Refuse a meta that promises more stored values than there can be."""
    if count > most:
        raise ConfigError(f"{what} must be at most {most}, got {count}")


def unpacked(payload: Payload, name: str, count: int, bits: int, signed: bool) -> NDArray[Any]:
    """The integers of one packed array of a payload; refuses bits after the last one."""
    check_end(payload, name, count, bits)
    return unpack(payload[name], count, bits, signed)


def check_end(payload: Payload, name: str, count: int, bits: int) -> None:
    """Refuse bits after the last integer of a packed array of a payload."""
    if not unused_bits_are_zero(payload[name], count, bits):
        raise ConfigError(f"payload {name!r} must be zero after its last element")


def unpacked_nonzeros(payload: Payload, count: int, bits: int, signed: bool) -> NDArray[Any]:
    """The array `values`, all of which must be other than zero."""
    values = unpacked(payload, "values", count, bits, signed)
    if np.count_nonzero(values) != count:
        raise ConfigError("payload 'values' must hold no zeros")
    return values


@ENCODINGS.register("bitmap")
class Bitmap(Encoding):
    """Arrays: `mask`, uint64[words_for(elements, 1)], lowest bit first; `values`, the nonzeros at `bits` bits."""

    kind: ClassVar[str] = "bitmap"

    class Meta(Counted):
        """`nonzeros`."""

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        flat = lanes(values)
        mask = nonzero_mask(flat)
        nonzeros = collect(flat, mask)
        return {"mask": mask, "values": pack(nonzeros, bits)}, self.Meta(nonzeros=nonzeros.size)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        check_count(meta.nonzeros, prod(shape), "nonzeros")
        return {
            "mask": Part("u8", (words_for(prod(shape), 1),)),
            "values": Part("u8", (words_for(meta.nonzeros, bits),)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        mask, count = payload["mask"], prod(shape)
        if not unused_bits_are_zero(mask, count, 1):
            raise ConfigError("payload 'mask' must be zero after its last element")
        found = mask_count(mask)
        if found != meta.nonzeros:
            raise ConfigError(f"payload 'mask' must have {meta.nonzeros} bits set, got {found}")
        values = unpacked_nonzeros(payload, meta.nonzeros, bits, signed)
        return spread(mask, lanes(values), count).view(value_dtype(bits, signed)).reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.nonzeros) * bits

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return prod(shape)

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        return int(meta.nonzeros)
