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
    if not (_held(ifmap) and _held(filters)) or not isinstance(work, ConvShape | GemmShape):
        return round(layer.macs * ifmap.density * filters.density)
    if isinstance(work, ConvShape):
        return _conv(work, ifmap.values() != 0, filters.values() != 0)
    a, b = ifmap.values() != 0, filters.values() != 0
    if isinstance(layer.op, Matmul):
        b = b if layer.op.transpose_b else np.swapaxes(b, -1, -2)
        return int((a.sum(-2, dtype=np.int64) * b.sum(-2, dtype=np.int64)).sum())
    per_input = a.reshape(-1, work.k).sum(0, dtype=np.int64)
    return int(per_input @ b.reshape(-1, work.k).sum(0, dtype=np.int64))


def _held(operand: Operand) -> bool:
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
