"""A few large integers among many small ones: the small in k bits side by side, the large apart.

As in Park, Kim, Yoo, "Energy-Efficient Neural Network Accelerator Based on Outlier-Aware Low-Precision
Computation" (OLAccel), ISCA 2018, section III: about 3 % of the weights keep more bits.
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
from accelsim.workload.packing import limits, pack, unpack, unused_bits_are_zero, value_dtype, words_for


@ENCODINGS.register("outlier")
class Outlier(Encoding):
    """Arrays: `small`, all elements in `normal` bits with 0 where an outlier stands; `large`, the outliers in the
    full width; `places`, their positions in the order of the elements, ascending, in `place_bits` bits each."""

    kind: ClassVar[str] = "outlier"
    widths: ClassVar[range] = range(2, 17)

    class Params(Spec):
        """`normal`: bits of what is no outlier; less than the width."""

        normal: int = pydantic.Field(default=4, ge=1, le=15)

    class Meta(Spec):
        """`count`: outliers."""

        normal: int = pydantic.Field(ge=1, le=15)
        count: int = pydantic.Field(ge=0)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        if params.normal >= bits:
            raise ConfigError(f"normal must be less than the {bits} bits of the tensor, got {params.normal}")
        low, high = limits(params.normal, signed)
        flat = values.reshape(-1)
        outlying = (flat < low) | (flat > high)
        places = np.flatnonzero(outlying)
        small = np.where(outlying, flat.dtype.type(0), flat).astype(value_dtype(params.normal, signed))
        payload = {
            "small": pack(small, params.normal),
            "large": pack(flat[places], bits),
            "places": pack(places.astype(np.uint32), _place_bits(flat.size)),
        }
        return payload, self.Meta(normal=params.normal, count=places.size)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        size = prod(shape)
        if meta.normal >= bits or meta.count > size:
            raise ConfigError(f"normal must be < {bits} and count at most {size}, got {meta.normal} and {meta.count}")
        return {
            "small": Part("u8", (words_for(size, meta.normal),)),
            "large": Part("u8", (words_for(meta.count, bits),)),
            "places": Part("u8", (words_for(meta.count, _place_bits(size)),)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        size = prod(shape)
        widths = {"small": (size, meta.normal), "large": (meta.count, bits), "places": (meta.count, _place_bits(size))}
        for name, (count, width) in widths.items():
            if not unused_bits_are_zero(payload[name], count, width):
                raise ConfigError(f"payload {name!r} must be zero after its last element")
        places = unpack(payload["places"], meta.count, _place_bits(size), False).astype(np.int64)
        if meta.count and (int(places.max()) >= size or (np.diff(places) <= 0).any()):
            raise ConfigError(f"payload 'places' must ascend and be less than {size}")
        values = unpack(payload["small"], size, meta.normal, signed).astype(value_dtype(bits, signed))
        large = unpack(payload["large"], meta.count, bits, signed)
        low, high = limits(meta.normal, signed)
        if values[places].any() or ((large >= low) & (large <= high)).any():
            raise ConfigError("payload 'small' must be 0 where an outlier stands, and outliers must not fit there")
        values[places] = large
        return values.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(prod(shape) * meta.normal + meta.count * bits)

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.count * _place_bits(prod(shape)))

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{"normal": normal} for normal in {1, bits // 2, bits - 1} if 0 < normal < bits]


def _place_bits(size: int) -> int:
    return max(1, (size - 1).bit_length())
