"""N:M: of every M neighbours at most N are other than zero; N values and their places are stored.

2:4 is the structured sparsity of NVIDIA's Ampere: 2 bits for each stored value (NVIDIA, "A100 tensor core GPU
architecture" white paper, 2020; Mishra et al., "Accelerating sparse deep neural networks", arXiv 2104.08378).
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.encodings.bitmap import unpacked
from accelsim.workload.encodings.sparse_kernels import lanes
from accelsim.workload.packing import pack, value_dtype, words_for


class Pattern(Spec):
    """`n` of `m` along `axis` (of a vector: along it). Default: 2:4 along the inputs (axis 1)."""

    n: int = pydantic.Field(default=2, ge=1, le=256)
    m: int = pydantic.Field(default=4, ge=2, le=256)
    axis: int = pydantic.Field(default=1, ge=0, le=7)

    @pydantic.model_validator(mode="after")
    def _n_of_m(self) -> Pattern:
        if self.n > self.m:
            raise ValueError(f"n must be at most m, got {self.n}:{self.m}")
        return self


def axis_of(shape: Dims, axis: int) -> int:
    """The axis along which groups lie.

    Raises
    ------
    ConfigError
        If there is none such.
    """
    if len(shape) == 1:
        return 0
    if axis >= len(shape):
        raise ConfigError(f"axis must be less than {len(shape)} for shape {list(shape)}, got {axis}")
    return axis


def grouped(values: NDArray[Any], m: int, axis: int) -> NDArray[Any]:
    """[groups, m], contiguous: neighbours along `axis` together, the last group of each line filled with zeros."""
    lined = np.moveaxis(values, axis, -1)
    length = lined.shape[-1]
    if length % m:
        padded = np.zeros((*lined.shape[:-1], ceil_div(length, m) * m), values.dtype)
        padded[..., :length] = lined
        lined = padded
    return np.ascontiguousarray(lined).reshape(-1, m)


def ungrouped(groups: NDArray[Any], shape: Dims, axis: int) -> NDArray[Any]:
    """The inverse of `grouped`: what fills the last groups is dropped."""
    others = [size for d, size in enumerate(shape) if d != axis]
    return np.moveaxis(groups.reshape(*others, -1)[..., : shape[axis]], -1, axis)


@ENCODINGS.register("nm")
class NOfM(Encoding):
    """Arrays: `values` and `places` (ceil(log2(m)) bits), n for each group, places ascending.

    A group with fewer nonzeros has its first zeros stored too. Where m does not divide the axis, the last group of
    each line is as if zeros followed; they cost what a group costs.
    """

    kind: ClassVar[str] = "nm"

    class Params(Pattern):
        """`n`, `m`, `axis`."""

    class Meta(Pattern):
        """As chosen."""

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        n, m = params.n, params.m
        groups = grouped(values, m, axis_of(values.shape, params.axis))
        stored = groups.shape[0] * n
        taken, places = np.empty(stored + 1, groups.dtype), np.empty(stored + 1, np.uint8)
        wrong = take_groups(lanes(groups), n, m, lanes(taken), places)
        if wrong >= 0:
            raise ConfigError(
                f"values must have at most {n} nonzeros in every {m} along axis {params.axis}, "
                f"got {np.count_nonzero(groups[wrong])} in group {wrong}"
            )
        meta = self.Meta(n=n, m=m, axis=params.axis)
        return {"values": pack(taken[:stored], bits), "places": pack(places[:stored], _width(m))}, meta

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        stored = self._stored(meta, shape)
        return {
            "values": Part("u8", (words_for(stored, bits),)),
            "places": Part("u8", (words_for(stored, _width(meta.m)),)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        stored, axis = self._stored(meta, shape), axis_of(shape, meta.axis)
        places = unpacked(payload, "places", stored, _width(meta.m), False)
        taken = unpacked(payload, "values", stored, bits, signed)
        groups = np.zeros((stored // meta.n, meta.m), value_dtype(bits, signed))
        if not place_groups(places, lanes(taken), meta.n, meta.m, lanes(groups)):
            raise ConfigError(f"payload 'places' must ascend in every group, and be less than {meta.m}")
        if shape[axis] % meta.m:
            tails = groups.reshape(-1, ceil_div(shape[axis], meta.m) * meta.m)[:, shape[axis] :]
            if tails.any():
                raise ConfigError("payload 'values' must be zero where groups reach beyond the axis")
        return np.ascontiguousarray(ungrouped(groups, shape, axis))

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return self._stored(meta, shape) * bits

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return self._stored(meta, shape) * _width(meta.m)

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"n": 1, "m": 3, "axis": 0}, {"n": 4, "m": 8}]

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        axis = axis_of(values.shape, params.axis)
        groups = grouped(values, params.m, axis).copy()
        groups[np.cumsum(groups != 0, axis=1) > params.n] = 0
        return ungrouped(groups, values.shape, axis)

    def _stored(self, meta: Any, shape: Dims) -> int:
        axis = axis_of(shape, meta.axis)
        groups = prod(shape) // shape[axis] * ceil_div(shape[axis], meta.m)
        return int(groups * meta.n)


def _width(m: int) -> int:
    return (m - 1).bit_length()


@kernel(nogil=True)
def take_groups(values, n, m, taken, places):  # type: ignore[no-untyped-def]
    """n elements of every m: the nonzeros, and the first zeros where there are fewer; in their order.

    values : flat lanes, groups of m; taken, places : n for each group, written, and room for one more
    Returns -1, or the first group with more than n nonzeros.
    """
    for g in range(values.size // m):
        spare = n
        for i in range(m):
            spare -= int(values[g * m + i] != 0)
        if spare < 0:
            return g
        at = g * n
        for i in range(m):  # without a branch: what is not kept is written over
            value = values[g * m + i]
            zero = int(value == 0)
            kept = (1 - zero) | int(spare > 0)
            spare -= zero & kept
            taken[at] = value
            places[at] = i
            at += kept
    return -1


@kernel(nogil=True)
def place_groups(places, taken, n, m, out):  # type: ignore[no-untyped-def]
    """The inverse of `take_groups`: out, all zeros before, has m lanes for every group.

    Returns False if a place is not below m, or not above the one before it in its group.
    """
    for g in range(out.size // m):
        last = -1
        for i in range(g * n, (g + 1) * n):
            place = int(places[i])
            if place <= last or place >= m:
                return False
            out[g * m + place] = taken[i]
            last = place
    return True


@place_groups.warms_up_with
def _place_example() -> tuple[Any, ...]:
    return np.array([0, 1], np.uint8), np.zeros(2, np.uint8), 2, 4, np.zeros(4, np.uint8)


@take_groups.warms_up_with
def _take_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint8), 2, 4, np.zeros(3, np.uint8), np.zeros(3, np.uint8)
