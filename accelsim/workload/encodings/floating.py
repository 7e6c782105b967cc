"""Tensors that stay in floating point: binary16, bfloat16 or binary32, as they are."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload

Format = Literal["fp16", "bf16", "fp32"]
_DEFAULT: dict[int, Format] = {16: "fp16", 32: "fp32"}
_BITS = {"fp16": 16, "bf16": 16, "fp32": 32}
_DTYPE = {"fp16": "f2", "bf16": "u2", "fp32": "f4"}  # numpy has no bfloat16: its bits


@ENCODINGS.register("float")
class Floating(Encoding):
    """One array, `data`, with all elements. `format`: fp16 (the default at 16 bits), bf16 or fp32."""

    kind: ClassVar[str] = "float"
    widths: ClassVar[tuple[int, ...]] = (16, 32)
    floating: ClassVar[bool] = True

    class Params(Spec):
        """`format` None: by the width."""

        format: Format | None = None

    class Meta(Spec):
        """The format in which the elements are stored."""

        format: Format

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        name = _format(params.format, bits)
        data = _to_bits(values, name)
        if not np.isfinite(_from_bits(data, name)).all():
            raise ConfigError(f"values must fit {name}, but the largest is {np.abs(values).max():.3e}")
        return {"data": data.reshape(-1)}, self.Meta(format=name)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        return {"data": Part(_DTYPE[_format(meta.format, bits)], (prod(shape),))}

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        values = _from_bits(payload["data"], meta.format).reshape(shape)
        if not np.isfinite(values).all():
            raise ConfigError("payload 'data' must be finite numbers, got NaN or infinity")
        return values

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return prod(shape) * bits

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        return int(np.count_nonzero(_from_bits(payload["data"], meta.format)))

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"format": "bf16"}] if bits == 16 else [{}]

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        name = _format(params.format, bits)
        return _from_bits(_to_bits(values, name), name)


def _format(name: Format | None, bits: int) -> Format:
    name = name or _DEFAULT[bits]
    if _BITS[name] != bits:
        raise ConfigError(f"format {name} has {_BITS[name]} bits, not {bits}")
    return name


def _to_bits(values: NDArray[Any], name: Format) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        if name != "bf16":
            return np.ascontiguousarray(values, _DTYPE[name])
        single = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # round to nearest, ties to even, on the upper half of the binary32
    half = (single >> np.uint32(16)) & np.uint32(1)
    return ((single + np.uint32(0x7FFF) + half) >> np.uint32(16)).astype(np.uint16)


def _from_bits(data: NDArray[Any], name: Format) -> NDArray[Any]:
    if name == "bf16":
        return (data.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return data.astype(np.float32, copy=False)
