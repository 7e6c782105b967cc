"""Where a tile lies in DRAM: tensor layout, strides, and the runs of bytes that a DMA engine fetches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LAYOUTS = ("nhwc", "nchw")

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TensorPlace:
    """A feature map in DRAM: (images, channels, height, width), bits of an element, and the order of dimensions.

    Elements are packed, `nhwc` with channels innermost, `nchw` with columns innermost.
    """

    images: int
    channels: int
    height: int
    width: int
    bits: int
    layout: str = "nhwc"


class Pattern(NamedTuple):
    """Runs of one tile, for arrays of tiles; piece (p, r) begins at base + p * plane_stride + r * row_stride."""

    base: Ints
    row_bytes: Ints
    row_stride: Ints
    rows: Ints
    plane_stride: Ints
    planes: Ints


class Box(NamedTuple):
    """Corners and extents of tiles in a tensor; `row_step` > 1 leaves rows out between those that are fetched."""

    image0: Any
    images: Any
    channel0: Any
    channels: Any
    row0: Any
    rows: Any
    col0: Any
    cols: Any
    row_step: int = 1


def runs(place: TensorPlace, box: Box) -> Pattern:
    """The runs of bytes that hold each box, neighbouring ones joined, in at most two levels of stride.

    A box of three strided levels (part of the channels, columns and rows of several images) has its
    images one after another as if they were more rows: exact where whole rows or one image are fetched.
    """
    nhwc = place.layout == "nhwc"
    # levels from the innermost: (count in the box, size in the tensor, distance in elements)
    count = {
        "c": np.asarray(box.channels, np.int64),
        "w": np.asarray(box.cols, np.int64),
        "h": np.asarray(box.rows, np.int64),
        "n": np.asarray(box.images, np.int64),
    }
    first = {"c": box.channel0, "w": box.col0, "h": box.row0, "n": box.image0}
    size = {"c": place.channels, "w": place.width, "h": place.height, "n": place.images}
    order = "cwhn" if nhwc else "whcn"
    distance: dict[str, int] = {}
    step = 1
    for level in order:
        distance[level] = step
        step *= size[level]
    base = sum(np.asarray(first[level], np.int64) * distance[level] for level in order)
    distance["h"] *= box.row_step
    shape = np.broadcast_shapes(*(c.shape for c in count.values()), np.shape(base))
    run = np.broadcast_to(count[order[0]], shape).copy()
    levels = [(np.ones(shape, np.int64), np.zeros(shape, np.int64)) for _ in range(2)]
    for level in order[1:]:
        n = np.broadcast_to(count[level], shape)
        _append(run, levels, n, np.full(shape, distance[level], np.int64))
    (rows, row_stride), (planes, plane_stride) = levels

    def to_bytes(elements: Ints) -> Ints:
        return -(-elements * place.bits // 8)

    return Pattern(
        np.broadcast_to(base, shape) * place.bits // 8,
        to_bytes(run),
        to_bytes(row_stride),
        rows,
        to_bytes(plane_stride),
        planes,
    )


def _append(run: Ints, levels: list[tuple[Ints, Ints]], count: Ints, distance: Ints) -> None:
    """Add a level of `count` pieces at `distance`, joining it with the levels inside it where they touch."""
    (rows, row_stride), (planes, plane_stride) = levels
    one = count == 1
    contiguous = ~one & (rows == 1) & (distance == run)
    run[contiguous] *= count[contiguous]
    left = ~one & ~contiguous
    fresh = left & (rows == 1)
    rows[fresh], row_stride[fresh] = count[fresh], distance[fresh]
    left &= ~fresh
    joined = left & (planes == 1) & (distance == rows * row_stride)
    rows[joined] *= count[joined]
    left &= ~joined
    outer = left & (planes == 1)
    planes[outer], plane_stride[outer] = count[outer], distance[outer]
    left &= ~outer
    planes[left] *= count[left]
