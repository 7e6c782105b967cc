"""What compressed operands weigh, tile by tile: nonzeros of the real masks in each tile's box."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.common.part import Part
from accelsim.workload.shapes import ConvShape

Tiles = NDArray[Any]  # of TILE_DTYPE
Counts = NDArray[np.int64]


def filter_nonzeros(part: Part, tiles: Tiles, mask: NDArray[Any] | None = None) -> Counts:
    """Nonzero weights of each tile, shape (tiles,).

    Parameters
    ----------
    part : Part
    tiles : structured array of TILE_DTYPE
    mask : ndarray, optional
        Which weights count, in the shape of `Part.filters` (default: those that are not 0).
    """
    if mask is None:
        mask = part.filters() != 0
    if isinstance(part.shape, ConvShape):
        g, n, c, r, s = mask.shape
        mask = mask.reshape(g, n, c, r * s)
        taps = tiles["k"] // tiles["channels"]
        tap0 = tiles["tap0"]
    else:
        mask = mask[..., None]
        taps, tap0 = np.ones(len(tiles), np.int64), np.zeros(len(tiles), np.int64)
    starts = (tiles["group0"], tiles["output0"], tiles["channel0"], tap0)
    return box_sums(mask, starts, (tiles["groups"], tiles["n"], tiles["channels"], taps))


def ifmap_nonzeros(part: Part, tiles: Tiles, mask: NDArray[Any] | None = None) -> Counts:
    """Nonzero inputs that each tile fetches (0 where it fetches none), shape (tiles,); `mask` as `Part.ifmap`."""
    if mask is None:
        mask = part.ifmap() != 0
    fetched = tiles["ifmap_bytes"] > 0
    used = tiles[fetched]
    out = np.zeros(len(tiles), np.int64)
    if isinstance(part.shape, ConvShape):
        per_group = part.shape.c // part.shape.g
        whole = bool((used["channels"] == per_group).all())  # then a tile's groups lie beside each other
        total = np.zeros(len(used), np.int64)
        for group in range(1 if whole or not len(used) else int(used["groups"].max())):
            here = used["groups"] > group
            starts = (
                used["image0"],
                (used["group0"] + group) * per_group + used["channel0"],
                used["in_row0"],
                used["in_col0"],
            )
            channels = used["groups"] * per_group if whole else used["channels"]
            extents = (used["images"], np.where(here, channels, 0), used["in_rows"], used["in_cols"])
            total += box_sums(mask, starts, extents)
        out[fetched] = total
        return out
    else:
        mask = mask[..., None]
        starts = (used["group0"], used["image0"], used["channel0"], np.zeros(len(used), np.int64))
        extents = (used["groups"], used["images"], used["channels"], np.ones(len(used), np.int64))
    out[fetched] = box_sums(mask, starts, extents)
    return out


def box_sums(mask: NDArray[Any], starts: tuple[Any, ...], extents: tuple[Any, ...]) -> Counts:
    """Sums of a 4-D array over boxes; the boxes are few, and share their borders along each axis.

    The array is first summed between neighbouring borders along every axis, then over the cells of each box by
    differences of running sums.
    """
    bounds = []
    for axis, (start, extent) in enumerate(zip(starts, extents, strict=True)):
        begin = np.minimum(np.asarray(start, np.int64), mask.shape[axis])
        end = np.minimum(begin + np.asarray(extent, np.int64), mask.shape[axis])
        borders = np.unique(np.concatenate([begin, end]))
        bounds.append((borders, np.searchsorted(borders, begin), np.searchsorted(borders, end)))
    if any(borders[0] >= size for (borders, _, _), size in zip(bounds, mask.shape, strict=True)):
        return np.zeros(len(bounds[0][1]), np.int64)
    cells = mask
    # the axis that shrinks most goes first: the sums take eight times the mask's memory
    for axis in sorted(range(4), key=lambda a: (len(bounds[a][0]) / mask.shape[a], a)):
        borders = bounds[axis][0]
        cells = _between(cells, borders[borders < mask.shape[axis]], axis)
    low, high = [b[1] for b in bounds], [b[2] for b in bounds]
    table = np.zeros(tuple(n + 1 for n in cells.shape), np.int64)
    table[1:, 1:, 1:, 1:] = cells.cumsum(0).cumsum(1).cumsum(2).cumsum(3)
    total = np.zeros(len(low[0]), np.int64)
    for corner in range(16):
        picks = tuple(low[a] if corner >> a & 1 else high[a] for a in range(4))
        sign = -1 if bin(corner).count("1") % 2 else 1
        total += sign * table[picks]
    return total


def _between(cells: NDArray[Any], borders: Counts, axis: int) -> Counts:
    """Sums from each border to the next; those of a mask begin as bytes, which is ten times as fast."""
    if cells.dtype == bool:
        runs = np.union1d(borders, np.arange(borders[0], cells.shape[axis], 255))
        cells = np.add.reduceat(cells.view(np.uint8), runs, axis=axis, dtype=np.uint8)
        borders = np.searchsorted(runs, borders)
    return np.asarray(np.add.reduceat(cells, borders, axis=axis, dtype=np.int64))


def packed_bytes(
    nonzeros: Counts, elements: Counts, *, value_bits: int, index_bits: int = 0, mask: bool = False
) -> Counts:
    """Bytes of tiles that hold nonzeros only: each with `index_bits`, or with a bit for each element (`mask`)."""
    bits = nonzeros * (value_bits + index_bits) + (elements if mask else 0)
    return (bits + 7) // 8
