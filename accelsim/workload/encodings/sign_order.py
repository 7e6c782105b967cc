"""Weights in the order in which a sum shows early that it will be negative: SnaPEA's.

Akhlaghi et al., "SnaPEA: Predictive Early Activation for Reducing Computation in Deep Convolutional Neural Networks",
ISCA 2018. Behind a ReLU, a negative sum is worth no more than its sign. With inputs that are not negative, a sum whose
positive weights are done can only fall: once below zero it is decided (exact mode, Section III-A). A few weights that
stand for all may come first; if their sum is below the filter's threshold, it is taken to be negative (predictive mode,
Section III-B).
"""

from __future__ import annotations

from math import isfinite, prod
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.encodings.bitmap import unpacked
from accelsim.workload.packing import pack, value_dtype, words_for

SPECULATIVE, POSITIVE, NEGATIVE = 0, 1, 2
"""Columns of `counts`."""


def sign_order(rows: NDArray[Any], prefix: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of each filter's weights, and how many there are of each kind.

    Parameters
    ----------
    rows : ndarray of int, (filters, weights)
    prefix : int
        Speculative weights: the nonzeros by magnitude in that many equal groups, and of each the largest (Section
        III-B). Fewer where a filter has fewer nonzeros.

    Returns
    -------
    order : (filters, weights)
        Places of the speculative weights, of the other positive ones, of the other negative ones, each by falling
        magnitude (equal ones by place), and of the zeros.
    counts : (filters, 3)
        Speculative, other positive, other negative.
    """
    size = np.abs(rows.astype(np.int64))
    kind = np.where(rows > 0, POSITIVE, np.where(rows < 0, NEGATIVE, NEGATIVE + 1)).astype(np.int64)
    if prefix:
        nonzeros = np.count_nonzero(size, axis=1)
        rising = np.argsort(size, axis=1, kind="stable")
        chosen = np.minimum(prefix, nonzeros)
        for j in range(prefix):
            last = rows.shape[1] - nonzeros + (j + 1) * nonzeros // np.maximum(chosen, 1) - 1
            some = np.flatnonzero(j < chosen)
            kind[some, rising[some, last[some]]] = SPECULATIVE
    order = np.argsort((kind << 33) - size, axis=1, kind="stable")
    counts = np.stack([np.count_nonzero(kind == k, axis=1) for k in (SPECULATIVE, POSITIVE, NEGATIVE)], axis=1)
    return order, counts


@ENCODINGS.register("sign_order")
class SignOrder(Encoding):
    """Filters (first index) in the order of `sign_order`.

    Arrays: `values`, packed, filter by filter; `order`, the place of each in its filter, packed at just enough bits;
    `counts`, uint32 (filters, 3): speculative, positive, negative; with a prefix `thresholds`, float32 (filters,), of
    the sum of the speculative products, in units of the integers' products.
    """

    kind: ClassVar[str] = "sign_order"

    class Params(Spec):
        """`prefix`: speculative weights of a filter, 0: exact mode. `thresholds`: one, or one for each filter."""

        prefix: int = pydantic.Field(default=0, ge=0, le=4096)
        thresholds: float | list[float] = 0.0

    class Meta(Spec):
        """`prefix`."""

        prefix: int = pydantic.Field(ge=0, le=4096)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        filters, weights = _rows(values.shape)
        rows = values.reshape(filters, weights)
        order, counts = sign_order(rows, params.prefix)
        found: Payload = {"values": pack(np.take_along_axis(rows, order, 1), bits), "counts": counts.astype(np.uint32)}
        if width := _width(weights):
            found["order"] = pack(order.astype(value_dtype(width, False)), width)
        if params.prefix:
            given = np.atleast_1d(np.asarray(params.thresholds, np.float32))
            if given.size not in (1, filters) or not all(map(isfinite, given.tolist())):
                raise ConfigError(f"thresholds must be 1 or {filters} finite numbers, got {given.size}: {given[:4]}")
            found["thresholds"] = np.broadcast_to(given, (filters,)).copy()
        return found, self.Meta(prefix=params.prefix)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        filters, weights = _rows(shape)
        parts = {"values": Part("u8", (words_for(prod(shape), bits),)), "counts": Part("u4", (filters, 3))}
        if width := _width(weights):
            parts["order"] = Part("u8", (words_for(prod(shape), width),))
        if meta.prefix:
            parts["thresholds"] = Part("f4", (filters,))
        return parts

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        filters, weights = _rows(shape)
        places = np.zeros((filters, weights), np.int64)
        if width := _width(weights):
            places[:] = unpacked(payload, "order", prod(shape), width, False).reshape(places.shape)
        if places.max() >= weights or (np.sort(places, axis=1) != np.arange(weights)).any():
            raise ConfigError(f"payload 'order' must have each of {weights} places once in every filter")
        ordered = unpacked(payload, "values", prod(shape), bits, signed).reshape(places.shape)
        rows = np.empty((filters, weights), value_dtype(bits, signed))
        np.put_along_axis(rows, places, ordered, 1)
        order, counts = sign_order(rows, meta.prefix)
        if (order != places).any() or (counts != payload["counts"]).any():
            raise ConfigError("payload 'order' and 'counts' must be those of the values' signs and magnitudes")
        if meta.prefix and not np.isfinite(payload["thresholds"]).all():
            raise ConfigError("payload 'thresholds' must be finite")
        return rows.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return prod(shape) * bits

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Places, three counts of a filter in as many bits as its weights need, and 32 bits of threshold."""
        filters, weights = _rows(shape)
        return prod(shape) * _width(weights) + filters * (3 * weights.bit_length() + (32 if meta.prefix else 0))

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"prefix": 3, "thresholds": -2.5}]


def _rows(shape: Dims) -> tuple[int, int]:
    return (shape[0], prod(shape[1:])) if len(shape) > 1 else (1, shape[0])


def _width(weights: int) -> int:
    width = (weights - 1).bit_length()
    if width > 32:
        raise ConfigError(f"a filter must have at most {2**32} weights for encoding sign_order, got {weights}")
    return width
