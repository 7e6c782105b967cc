"""The max pooling behind a layer, window by window: which of a tile's outputs may be the largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.common.part import Part
from accelsim.workload.ops import Pool, explicit_pad
from accelsim.workload.shapes import ConvShape
from accelsim.workload.tensors import fused_output

Values = NDArray[Any]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PoolWindows:
    """Along rows and columns: extent of a window, step, zeros before the first, windows, and outputs of the layer."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    count: tuple[int, int]
    size: tuple[int, int]

    def bounds(self, axis: int) -> tuple[Ints, Ints]:
        """(first, end) of each window, cut to the layer's outputs."""
        begin = np.arange(self.count[axis]) * self.stride[axis] - self.pad[axis]
        return np.maximum(0, begin), np.minimum(self.size[axis], begin + self.kernel[axis])


def pool_behind(part: Part) -> PoolWindows | None:
    """Of a convolution whose activation only a max pooling reads; None for others, and for a core's share."""
    network, layer = part.task.trace.network, part.task.layer
    if part.task.share is not None or not isinstance(part.shape, ConvShape):
        return None
    last = fused_output(network, layer)
    readers = network.consumers[last.name]
    op = network[readers[0]].op if len(readers) == 1 else None
    if not isinstance(op, Pool) or op.mode != "max":
        return None
    kernel, stride, count = op._window([last.out_shape])
    size = part.loops.p, part.loops.q
    pad = (0, 0) if op.kernel == "global" else explicit_pad(op.pad, size, kernel, stride, (1, 1))[:2]
    return PoolWindows(kernel, stride, (pad[0], pad[1]), count, size)


@dataclass(frozen=True)
class TileWindows:
    """The windows that lie in a tile as a whole, and the outputs that other windows or none look at."""

    windows: PoolWindows
    first: tuple[int, int]
    extent: tuple[int, int]

    def whole(self, axis: int) -> Mask:
        """Of the windows along an axis."""
        begin, end = self.windows.bounds(axis)
        return np.asarray((begin >= self.first[axis]) & (end <= self.first[axis] + self.extent[axis]) & (end > begin))

    def places(self) -> Iterator[tuple[Ints, Ints, Mask]]:
        """For each place in a window: (rows, columns, inside), of the tile, for whole windows (along rows, columns)."""
        of = self.windows
        tops, lefts = (np.flatnonzero(self.whole(a)) * of.stride[a] - of.pad[a] for a in (0, 1))
        for dy in range(of.kernel[0]):
            for dx in range(of.kernel[1]):
                y, x = tops + dy, lefts + dx
                down, over = (np.asarray((z >= 0) & (z < size)) for z, size in ((y, of.size[0]), (x, of.size[1])))
                inside = down[:, None] & over
                y, x = np.clip(y, 0, of.size[0] - 1) - self.first[0], np.clip(x, 0, of.size[1] - 1) - self.first[1]
                # what is outside of the outputs may be outside of the tile, too
                y, x = np.clip(y, 0, self.extent[0] - 1), np.clip(x, 0, self.extent[1] - 1)
                yield y, x, inside

    def open(self) -> Mask:
        """(rows, columns) of the tile that a window across its border, or no window, looks at."""
        seen: list[Mask] = []
        across: list[Mask] = []
        for axis in (0, 1):
            begin, end = self.windows.bounds(axis)
            at = np.arange(self.first[axis], self.first[axis] + self.extent[axis])
            met = (at[:, None] >= begin) & (at[:, None] < end)
            seen.append(np.asarray(met.any(1)))
            across.append(np.asarray((met & ~self.whole(axis)).any(1)))
        partly = (across[0][:, None] & seen[1]) | (seen[0][:, None] & across[1])
        return np.asarray(partly | ~(seen[0][:, None] & seen[1]))

    def largest(self, values: Values) -> Values:
        """Largest of each whole window: (images, windows down, windows across, maps) from (images, rows, ...)."""
        best = None
        for y, x, inside in self.places():
            here = np.where(inside[None, :, :, None], values[:, y[:, None], x], -np.inf)
            best = here if best is None else np.maximum(best, here)
        assert best is not None
        return best

    def winners(self, values: Values) -> Mask:
        """True for the first largest of each whole window and for `open` outputs: (images, rows, columns, maps)."""
        keep = np.broadcast_to(self.open()[None, :, :, None], values.shape).copy()
        best, taken = self.largest(values), None
        for y, x, inside in self.places():
            mine = inside[None, :, :, None] & (values[:, y[:, None], x] == best)
            taken = np.zeros_like(mine) if taken is None else taken
            mine &= ~taken
            taken |= mine
            image, i, j, m = np.nonzero(mine)
            keep[image, y[i], x[j], m] = True
        return keep
