"""Effectual MACs: products without a zero operand, counted from the trace's real values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.network import Layer
from accelsim.workload.ops import Matmul
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import Operand, Trace


def effectual_macs(layer: Layer, trace: Trace) -> int:
    """MACs of `layer` whose operands are both nonzero.

    Exact where the trace holds both operands. Where one is only described by its density, the product
    of the densities stands in for the count (and equals it for dense operands).
    """
    work = layer.work
    ifmap, filters = trace.operand(layer.name, "ifmap"), trace.operand(layer.name, "filter")
    if ifmap is None or filters is None:
        return layer.macs
    if not (held(ifmap) and held(filters)) or not isinstance(work, ConvShape | GemmShape):
        return round(layer.macs * ifmap.density * filters.density)
    a, b = ifmap.values() != 0, filters.values() != 0
    if isinstance(layer.op, Matmul) and not layer.op.transpose_b:
        b = np.swapaxes(b, -1, -2)
    return effectual_products(work, a, b)


def effectual_products(shape: ConvShape | GemmShape, ifmap: NDArray[Any], filters: NDArray[Any]) -> int:
    """Products whose masks are both True.

    Parameters
    ----------
    shape : ConvShape or GemmShape
    ifmap, filters : bool arrays
        As `Part.ifmap` and `Part.filters` give them, or of other shapes with the same elements in order.
    """
    if isinstance(shape, ConvShape):
        return _conv(shape, ifmap, filters)
    a = ifmap.reshape(shape.batch, -1, shape.k).sum(1, dtype=np.int64)
    b = filters.reshape(shape.batch, -1, shape.k).sum(1, dtype=np.int64)
    return int((a * b).sum())


def held(operand: Operand) -> bool:
    """The trace has the operand's values, not only their description."""
    return operand.generator is None


def _conv(shape: ConvShape, ifmap: NDArray[Any], filters: NDArray[Any]) -> int:
    """Sum over taps of (nonzero inputs that the tap meets) x (nonzero weights at the tap)."""
    top, left, bottom, right = shape.pad
    padded = np.pad(ifmap.reshape(shape.n, shape.c, shape.h, shape.w), ((0, 0), (0, 0), (top, bottom), (left, right)))
    weights = filters.reshape(shape.g, shape.m // shape.g, shape.c // shape.g, shape.r, shape.s)
    per_tap = weights.sum(1, dtype=np.int64).reshape(shape.c, shape.r, shape.s)
    total = 0
    for r in range(shape.r):
        y = r * shape.dilation[0]
        rows = padded[:, :, y : y + (shape.p - 1) * shape.stride[0] + 1 : shape.stride[0]]
        for s in range(shape.s):
            x = s * shape.dilation[1]
            met = rows[..., x : x + (shape.q - 1) * shape.stride[1] + 1 : shape.stride[1]]
            total += int(met.sum((0, 2, 3), dtype=np.int64) @ per_tap[:, r, s])
    return total
