"""What PEs do that walk compressed columns (Eyeriss v2): cycles from the real masks of both operands.

A *column* is one tap of one channel: the weights of several filters there, and the inputs that the tap meets, one for
each output position. A PE takes the nonzero inputs one after another, and for each the nonzero weights of its column,
`simd` a cycle (Chen, Yang, Emer, Sze, JETCAS 9(2), 2019, section IV). So a column costs nnz(inputs over positions) x
ceil(nnz(weights) / simd) cycles, and a PE the sum over its columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.common.part import Part
from accelsim.workload.shapes import ConvShape

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """The columns of one tile.

    Attributes
    ----------
    inputs : int64 array (groups, k, positions' blocks)
        Nonzero inputs that each column meets.
    enters : bool array (k,)
        The column's inputs are new to a PE; those of the others have slid along its window.
    weights : int64 array (groups, filters' blocks, k)
        Nonzero weights of each column in each block of filters.
    """

    inputs: Ints
    enters: NDArray[np.bool_]
    weights: Ints


def input_counts(part: Part, tile: Any, cuts: Ints, dense: bool) -> Ints:
    """Nonzero inputs that each column meets, by blocks of output positions that begin at `cuts`.

    Positions run over images, rows and columns of the tile, in this order. `dense`: zeros count too.
    """
    shape, groups, channels = part.shape, int(tile["groups"]), int(tile["channels"])
    g0, i0, c0 = int(tile["group0"]), int(tile["image0"]), int(tile["channel0"])
    images = slice(i0, i0 + int(tile["images"]))
    if dense:
        sizes = np.diff(np.append(cuts, int(tile["m"])))
        return np.broadcast_to(sizes, (groups, int(tile["k"]), len(cuts)))
    if not isinstance(shape, ConvShape):
        mask = part.ifmap()[g0 : g0 + groups, images, c0 : c0 + channels] != 0
        return np.asarray(np.add.reduceat(mask.swapaxes(1, 2), cuts, axis=2, dtype=np.int64))
    top, left, bottom, right = shape.pad
    per_group = shape.c // shape.g
    # of every group of the tile the same channels
    mask = part.ifmap()[images, g0 * per_group : (g0 + groups) * per_group] != 0
    mask = mask.reshape(len(mask), groups, per_group, *mask.shape[2:])[:, :, c0 : c0 + channels]
    mask = mask.reshape(len(mask), groups * channels, *mask.shape[3:])
    mask = np.pad(mask, ((0, 0), (0, 0), (top, bottom), (left, right)))
    taps = int(tile["k"]) // channels
    out = np.empty((groups, channels, taps, len(cuts)), np.int64)
    y0, x0 = int(tile["row0"]) * shape.stride[0], int(tile["col0"]) * shape.stride[1]
    rows, cols = int(tile["rows"]), int(tile["cols"])
    for tap in range(taps):
        r, s = divmod(int(tile["tap0"]) + tap, shape.s)
        y, x = y0 + r * shape.dilation[0], x0 + s * shape.dilation[1]
        met = mask[
            :, :, y : y + (rows - 1) * shape.stride[0] + 1 : shape.stride[0],
            x : x + (cols - 1) * shape.stride[1] + 1 : shape.stride[1],
        ]  # fmt: skip
        flat = met.swapaxes(0, 1).reshape(groups, channels, -1)
        out[:, :, tap] = np.add.reduceat(flat, cuts, axis=2, dtype=np.int64)
    return out.reshape(groups, channels * taps, len(cuts))


def weights_of(part: Part, tile: Any) -> NDArray[Any]:
    """Weights of a tile: (groups, n, channels) of a matrix product, (groups, n, channels, taps) of a convolution."""
    groups, n, channels = int(tile["groups"]), int(tile["n"]), int(tile["channels"])
    g0, n0, c0 = int(tile["group0"]), int(tile["output0"]), int(tile["channel0"])
    filters = part.filters()[g0 : g0 + groups, n0 : n0 + n, c0 : c0 + channels]
    if not isinstance(part.shape, ConvShape):
        return filters
    flat = filters.reshape(*filters.shape[:3], -1)
    return flat[..., int(tile["tap0"]) : int(tile["tap0"]) + int(tile["k"]) // channels]


def weight_counts(part: Part, tile: Any, block: int, dense: bool) -> Ints:
    """Nonzero weights of each column in blocks of `block` filters: (groups, blocks, k). `dense`: zeros count too."""
    groups, n = int(tile["groups"]), int(tile["n"])
    starts = np.arange(0, n, block)
    if dense:
        sizes = np.diff(np.append(starts, n))
        return np.broadcast_to(sizes[:, None], (groups, len(starts), int(tile["k"])))
    mask = (weights_of(part, tile) != 0).reshape(groups, n, -1)
    return np.asarray(np.add.reduceat(mask, starts, axis=1, dtype=np.int64))


def entering(part: Part, tile: Any, block: int) -> NDArray[np.bool_]:
    """Columns whose inputs are new to a PE that holds `block` neighbouring columns.

    Taps of one filter row share their inputs, which slide along by the stride: the last ones bring the new inputs.
    """
    k = int(tile["k"])
    shape = part.shape
    if not isinstance(shape, ConvShape):
        return np.ones(k, bool)
    taps = k // int(tile["channels"])
    column = np.arange(k)
    row = (column // taps) * shape.r + (int(tile["tap0"]) + column % taps) // shape.s
    run = row + (column // block) * (int(row.max()) + 1)
    ends = np.append(np.flatnonzero(np.diff(run)), k - 1)
    last = ends[np.searchsorted(ends, column)]
    return np.asarray(last - column < shape.stride[1])


def columns_per_pe(weights: Ints, most: int, room: int) -> int:
    """The most columns, at most `most`, of which every PE's nonzero weights fit `room`; at least 1."""
    for size in range(min(most, weights.shape[2]), 1, -1):
        starts = np.arange(0, weights.shape[2], size)
        if int(np.add.reduceat(weights, starts, axis=2).max()) <= room:
            return size
    return 1


def pe_cycles(inputs: Ints, weights: Ints, block: int, simd: int) -> Ints:
    """Cycles of every PE: (groups * filters' blocks, columns' blocks, positions' blocks).

    A PE holds `block` neighbouring columns of one block of filters, and works on one block of positions.
    """
    groups, n_blocks, k = weights.shape
    blocks = -(-k // block)
    padding = ((0, 0), (0, 0), (0, blocks * block - k))
    steps = np.pad(-(-weights // simd), padding).reshape(groups, n_blocks, blocks, block).swapaxes(1, 2)
    met = np.pad(inputs, (padding[0], padding[2], (0, 0))).reshape(groups, blocks, block, -1)
    # products of counts: far below 2**53, so exact in floating point, where numpy multiplies matrices quickly
    work = np.matmul(steps.astype(np.float64), met.astype(np.float64))
    return np.asarray(np.rint(work.swapaxes(1, 2)).astype(np.int64).reshape(groups * n_blocks, blocks, -1))
