"""Bit planes: bit b of all elements together, and a plane that is zero throughout is left out.

What bit-serial engines read (Judd et al., "Stripes", MICRO 2016: as many planes as a layer's precision).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.encodings.sparse_kernels import CHUNK, mask_count
from accelsim.workload.packing import limits, unused_bits_are_zero, value_dtype, words_for

Form = Literal["twos_complement", "sign_magnitude"]


@ENCODINGS.register("bitplanes")
class BitPlanes(Encoding):
    """One array, `planes`: uint64[stored planes, words_for(elements, 1)], lowest plane first.

    `form`: sign_magnitude has the sign as its highest plane (set for negative numbers), and cannot hold
    -2**(bits - 1); unsigned integers are the same in both. Index: one bit for each plane, stored or not.
    """

    kind: ClassVar[str] = "bitplanes"

    class Params(Spec):
        """`form`."""

        form: Form = "twos_complement"

    class Meta(Spec):
        """`stored`: bit b is set if plane b is stored."""

        form: Form
        stored: int = pydantic.Field(ge=0, lt=2**32)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        flat = np.ascontiguousarray(values).reshape(-1)
        magnitude = params.form == "sign_magnitude" and signed
        if magnitude and flat.min() == limits(bits, True)[0]:
            raise ConfigError(f"values must be more than {limits(bits, True)[0]} in sign-magnitude form at {bits} bits")
        planes: NDArray[np.uint64] = np.zeros((bits, words_for(flat.size, 1)), np.uint64)
        octets = planes.view(np.uint8)
        for part in _chunks(flat.size):
            number = _to_form(flat[part], bits, magnitude)
            for b in range(bits):
                row = np.packbits((number >> number.dtype.type(b)) & number.dtype.type(1) != 0, bitorder="little")
                octets[b, part.start >> 3 : (part.start >> 3) + row.size] = row
        kept = [bool(plane.any()) for plane in planes]
        stored = sum(1 << b for b in range(bits) if kept[b])
        return {"planes": planes[kept]}, self.Meta(form=params.form, stored=stored)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        if meta.stored >> bits:
            raise ConfigError(f"stored must be less than 2**{bits}, got {meta.stored}")
        return {"planes": Part("u8", (meta.stored.bit_count(), words_for(prod(shape), 1)))}

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        planes, count = payload["planes"], prod(shape)
        for plane in planes:
            if not unused_bits_are_zero(plane, count, 1) or not mask_count(plane):
                raise ConfigError("payload 'planes' must be zero after the last element, and hold no empty plane")
        octets = np.ascontiguousarray(planes).view(np.uint8)
        numbers = [b for b in range(bits) if meta.stored >> b & 1]
        out = np.empty(count, value_dtype(bits, signed))
        magnitude = meta.form == "sign_magnitude" and signed
        for part in _chunks(count):
            size = part.stop - part.start
            number = np.zeros(size, value_dtype(bits, False))
            for row, b in enumerate(numbers):
                flags = np.unpackbits(octets[row, part.start >> 3 :], count=size, bitorder="little")
                number |= flags.astype(number.dtype) << number.dtype.type(b)
            out[part] = _from_form(number, bits, signed, magnitude)
        return out.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return prod(shape) * int(meta.stored.bit_count())

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return bits

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"form": "sign_magnitude"}]

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        if params.form == "sign_magnitude" and signed:
            return np.asarray(np.maximum(values, limits(bits, True)[0] + 1))
        return values


def _chunks(count: int) -> Iterator[slice]:
    return (slice(at, min(at + CHUNK, count)) for at in range(0, count, CHUNK))


def _to_form(values: NDArray[Any], bits: int, magnitude: bool) -> NDArray[Any]:
    """The bits of some integers, as unsigned ones (bits above the width may be set in two's complement)."""
    lane: NDArray[Any] = values.view(f"u{values.dtype.itemsize}")
    if not magnitude:
        return lane
    sign = (values < 0).astype(lane.dtype) << lane.dtype.type(bits - 1)
    result: NDArray[Any] = np.abs(values).view(lane.dtype) | sign
    return result


def _from_form(number: NDArray[Any], bits: int, signed: bool, magnitude: bool) -> NDArray[Any]:
    if not signed:
        return number
    kind = number.dtype.type
    top = kind(1 << (bits - 1))
    if magnitude:
        size = (number & ~top).view(value_dtype(bits, True))
        negative = (number & top) != 0
        if (negative & (size == 0)).any():
            raise ConfigError("payload 'planes' must hold no negative zero")
        found: NDArray[Any] = np.where(negative, -size, size)
        return found
    extended: NDArray[Any] = ((number ^ top) - top).view(value_dtype(bits, True))
    return extended
