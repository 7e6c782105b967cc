"""The tiling problem: a layer seen as seven loops, and the buffers that its tiles must fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.shapes import ConvShape, GemmShape

OPERANDS = ("ifmap", "filter", "psum", "ofmap")
TILE_EXTENTS = ("groups", "images", "rows", "cols", "outputs", "channels", "taps_r", "taps_s")


@dataclass(frozen=True)
class Loops:
    """A convolution or a GEMM as groups x (images, rows, columns) x outputs x channels x window.

    A GEMM is a 1x1 convolution over `m` one-pixel images: m = images * p * q rows, n = outputs
    columns, k = channels * r * s.
    """

    groups: int
    images: int
    p: int
    q: int
    outputs: int
    channels: int
    h: int = 1
    w: int = 1
    r: int = 1
    s: int = 1
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad_top: int = 0
    pad_left: int = 0

    @classmethod
    def of(cls, shape: ConvShape | GemmShape) -> Loops:
        """The loops of a shape."""
        if isinstance(shape, GemmShape):
            return cls(shape.batch, shape.m, 1, 1, shape.n, shape.k)
        return cls(
            shape.g,
            shape.n,
            shape.p,
            shape.q,
            shape.m // shape.g,
            shape.c // shape.g,
            shape.h,
            shape.w,
            shape.r,
            shape.s,
            shape.stride,
            shape.dilation,
            shape.pad[0],
            shape.pad[1],
        )

    @property
    def window(self) -> int:
        """Taps of the filter."""
        return self.r * self.s

    def numbers(self) -> NDArray[np.int64]:
        """As the kernels read them."""
        extents = (self.groups, self.images, self.p, self.q, self.outputs, self.channels)
        return np.array(
            [*extents, self.h, self.w, self.r, self.s, *self.stride, *self.dilation, self.pad_top, self.pad_left],
            np.int64,
        )

    def ifmap_elements(self) -> int:
        """Elements of the input tensor, all groups."""
        return self.groups * self.images * self.channels * self.h * self.w

    def filter_elements(self) -> int:
        """Elements of the filter operand, all groups."""
        return self.groups * self.outputs * self.channels * self.window

    def ofmap_elements(self) -> int:
        """Elements of the output tensor, all groups."""
        return self.groups * self.outputs * self.images * self.p * self.q


@dataclass(frozen=True)
class Room:
    """A buffer as the tiler sees it.

    Attributes
    ----------
    name : str
    free_bytes : int
        Capacity less what is resident for other reasons.
    holds : tuple of str
        Operands (of OPERANDS) that live here.
    slots : int
        Tiles of an operand that it holds at a time (2: double buffering).
    row_bytes : int
        Not 0: sums and results take whole rows of this size, one for each GEMM row (an accumulator
        as wide as the array).
    lines : bool
        A kept ifmap needs no more room than the rows that a tile reads and those that are fetched meanwhile:
        tiles go down the feature map, and rows that no later tile reads give way.
    """

    name: str
    free_bytes: int
    holds: tuple[str, ...]
    slots: int = 2
    row_bytes: int = 0
    lines: bool = False


@dataclass(frozen=True)
class Problem:
    """What the search needs to know; hashable, so equal problems are solved once.

    Attributes
    ----------
    bits : tuple of int
        Bits of an element of each of OPERANDS.
    on_chip : tuple of bool
        (ifmap, ofmap, filter): the operand is or stays on chip, so it causes no traffic. An ifmap or
        ofmap then takes no room here; a filter (an activation, in a matmul) still passes its buffer.
    unit : tuple of int
        Least sensible extents of (m, n, k) tiles: the array's, where it has one in that direction. Only
        if nothing else fits are smaller tiles tried.
    keep : tuple of bool
        (ifmap, filter, psum): the operand may stay resident for the whole layer.
    step_rows : int
        Not 0: a recurrence. The images are time steps of this many rows; they run one after another.
    group_unit : int
        Least sensible number of groups in a tile: lanes that work on different groups.
    whole_taps : bool
        A tile has all taps of the window.
    powers : bool
        Extents are powers of two from `unit` on (or whole), the pixels of a tile are square, and all taps
        are in it.
    """

    loops: Loops
    rooms: tuple[Room, ...]
    bits: tuple[int, int, int, int]
    on_chip: tuple[bool, bool, bool] = (False, False, False)
    unit: tuple[int, int, int] = (1, 1, 1)
    keep: tuple[bool, bool, bool] = (True, True, True)
    step_rows: int = 0
    group_unit: int = 1
    whole_taps: bool = False
    powers: bool = False


def line_rows(loops: Loops, images: int, rows: int, slots: int) -> int:
    """Input rows that a line buffer holds for tiles of `rows` output rows of `images` images; see `Room.lines`."""
    span = (rows - 1) * loops.stride[0] + (loops.r - 1) * loops.dilation[0] + 1
    if images < loops.images:  # what is fetched meanwhile may be of other images
        return min(loops.h, span) * slots
    return min(loops.h, span + (slots - 1) * rows * loops.stride[0])


@dataclass(frozen=True)
class Mapping:
    """One concrete choice: tile extents, loop order (outermost first), and which operands stay resident.

    `taps_r` x `taps_s` taps of the window are in a tile: all of them, or one row, or one.
    """

    groups: int
    images: int
    rows: int
    cols: int
    outputs: int
    channels: int
    taps_r: int
    taps_s: int
    order: str  # a permutation of "mnk"
    keep_ifmap: bool = False
    keep_filter: bool = False
    keep_psum: bool = False

    def m(self) -> int:
        """GEMM rows of a full tile."""
        return self.images * self.rows * self.cols

    def k(self) -> int:
        """GEMM k of a full tile."""
        return self.channels * self.taps_r * self.taps_s

    def describe(self) -> str:
        """`m=2048 n=256 k=256 order=nmk keep=ifmap`, for tables."""
        keep = [operand for operand in ("ifmap", "filter", "psum") if getattr(self, f"keep_{operand}")]
        groups = f"g={self.groups} " if self.groups > 1 else ""
        kept = f" keep={'+'.join(keep)}" if keep else ""
        return f"{groups}m={self.m()} n={self.outputs} k={self.k()} order={self.order}{kept}"


def steps(extent: int, unit: int, fine: bool = False, limit: int = 12) -> NDArray[np.int64]:
    """Sensible tile extents: the whole, its even divisions rounded up to `unit`, unit x powers of two.

    None is below `unit`, unless `fine`: then all powers of two are in.
    """
    unit = 1 if fine else min(unit, extent)
    found = {extent}
    parts = 2
    while parts < 2 * extent and len(found) < limit:
        size = -(-extent // parts)
        found.add(min(extent, -(-size // unit) * unit))
        parts *= 2
    size = unit
    while size < extent:
        found.add(size)
        size *= 2
    return np.array(sorted(found), np.int64)


def tap_steps(loops: Loops) -> NDArray[np.int64]:
    """Taps of the window in one tile: all, a row of them, or one."""
    found = {(loops.r, loops.s), (1, loops.s), (1, 1)}
    return np.array(sorted(found, reverse=True), np.int64)


def m_steps(loops: Loops, unit: int, fine: bool = False) -> NDArray[np.int64]:
    """Candidate (images, rows, cols) tiles of the output pixels, from part of a row to all images."""
    least = 1 if fine else min(unit, loops.images * loops.p * loops.q)
    found: set[tuple[int, int, int]] = set()
    for cols in steps(loops.q, unit, fine):
        found.add((1, 1, int(cols)))
    for rows in steps(loops.p, max(1, unit // loops.q), fine):
        found.add((1, int(rows), loops.q))
    for images in steps(loops.images, max(1, unit // (loops.p * loops.q)), fine):
        found.add((int(images), loops.p, loops.q))
    kept = sorted((t for t in found if t[0] * t[1] * t[2] >= least), key=lambda t: (t[0] * t[1] * t[2], t))
    return np.array(kept, np.int64)


def power_steps(extent: int, unit: int = 1) -> NDArray[np.int64]:
    """Powers of two from `unit` on below `extent`, and the whole."""
    return np.array([*(2**i for i in range((extent - 1).bit_length()) if 2**i >= unit), extent], np.int64)


def square_steps(loops: Loops) -> NDArray[np.int64]:
    """Candidate (images, rows, cols) tiles: powers of two, as high as wide where the output allows it."""
    sides = power_steps(max(loops.p, loops.q))
    found = {(int(i), min(int(x), loops.p), min(int(x), loops.q)) for i in power_steps(loops.images) for x in sides}
    return np.array(sorted(found), np.int64)
