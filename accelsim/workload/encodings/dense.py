"""Dense k-bit integers: every element stored, zeros too."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.packing import pack, unpack, unused_bits_are_zero, words_for


@ENCODINGS.register("dense")
class Dense(Encoding):
    """Packed without gaps in the order of the elements (last dimension fastest), lowest bit first.

    One array, `data`: uint64[words_for(elements, bits)].
    """

    kind: ClassVar[str] = "dense"

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        return {"data": pack(values, bits)}, self.Meta()

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        return {"data": Part("u8", (words_for(prod(shape), bits),))}

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        words, count = payload["data"], prod(shape)
        if not unused_bits_are_zero(words, count, bits):
            raise ConfigError("payload 'data' must be zero after its last element")
        return unpack(words, count, bits, signed).reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return prod(shape) * bits
