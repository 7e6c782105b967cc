"""Engines that skip zeros of both operands of matrix products: their rows and weights, tile by tile, and their figures.

An engine of this kind answers `measure(part, tile)`: what one tile costs, from the real masks. Convolutions are seen
as matrix products: a row holds the inputs of one output position, channel by channel, the window's taps together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.engines.common.part import Part
from accelsim.engines.common.sequences import inputs_of
from accelsim.engines.common.skip_tiles import SparseEngine
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables
from accelsim.engines.eyeriss.csc_work import weights_of
from accelsim.mapping.problem import Mapping
from accelsim.mapping.tiles import TILE_DTYPE
from accelsim.sim.passes import INTERNAL
from accelsim.workload.shapes import ConvShape

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: What `measure` says of a tile (absent: 0). `cycles` and, of them, stalls by cause and those of filling and draining;
#: what says which weights a tile has
WEIGHTS = ("group0", "groups", "output0", "n", "channel0", "channels", "tap0", "k")
#: products issued; stored entries that are walked, and padding among them; words between buffers and array
FIELDS = ("cycles", *INTERNAL, "drain", "products", "entries", "padding", "ifmap_words", "filter_words", "psum_words")
MEASURED_DTYPE = np.dtype([*TILE_DTYPE.descr, *((name, np.int64) for name in FIELDS)])


class ProductEngine(SparseEngine):
    """Base of these engines."""

    skips: ClassVar[tuple[str, ...]] = ("ifmap", "filter")

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """One tile, all groups: see `FIELDS`."""
        raise NotImplementedError

    def refuse(self, part: Part) -> None:
        """Raise ConfigError where the operands have a structure that the engine cannot run."""

    def tail(self, part: Part) -> int:
        """Cycles from the last step of a tile to its last result, during which the next tile may run."""
        return 0

    def tile(self, part: Part) -> tuple[Mapping, Tiles, tuple[str, ...]]:
        """As of any engine; then the cost of each tile."""
        self.refuse(part)
        mapping, tiles, packed = super().tile(part)
        found = np.zeros(len(tiles), MEASURED_DTYPE)
        for name in TILE_DTYPE.names or ():
            found[name] = tiles[name]
        for row in found:
            for name, value in self.measure(part, row).items():
                row[name] = value
        return mapping, found, packed

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Tiles follow each other."""
        stalls = {cause: tiles[cause].copy() for cause in INTERNAL if tiles[cause].any()}
        plain = TileTimes.steps(tiles["cycles"].copy(), latency=self.tail(part), stalls=stalls)
        return replace(plain, busy=plain.busy - tiles["drain"])

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """As measured."""
        reads = {"ifmap": tiles["ifmap_words"].copy(), "filter": tiles["filter_words"].copy()}
        return reads, {"psum": tiles["psum_words"].copy()}

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Products issued; where entries are stored, how many are walked, and padding among them."""
        found = {**super().info(part, tiles, times), "products": int(tiles["products"].sum())}
        if tiles["entries"].any():
            found |= {"entries": int(tiles["entries"].sum()), "padding": int(tiles["padding"].sum())}
        return found


def splits(cycles: int, causes: dict[str, int]) -> dict[str, int]:
    """`causes` cut, in their order, so that together they are at most `cycles`."""
    left, found = cycles, {}
    for cause, lost in causes.items():
        found[cause] = max(0, min(left, lost))
        left -= found[cause]
    return found


def input_rows(part: Part, tile: Any) -> Mask:
    """Nonzero inputs of a tile's rows: (groups, m, k).

    Rows run over images, output rows and columns; k over channels, then taps.
    """
    groups, channels = int(tile["groups"]), int(tile["channels"])
    g0, i0, c0 = int(tile["group0"]), int(tile["image0"]), int(tile["channel0"])
    images = slice(i0, i0 + int(tile["images"]))
    shape = part.shape
    if not isinstance(shape, ConvShape):
        return np.ascontiguousarray(inputs_of(part)[g0 : g0 + groups, images, c0 : c0 + channels] != 0)
    top, left, bottom, right = shape.pad
    mask = tile_inputs(part, tile) != 0
    mask = np.pad(mask, ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right)))
    rows, cols, taps = int(tile["rows"]), int(tile["cols"]), int(tile["k"]) // channels
    y0, x0 = int(tile["row0"]) * shape.stride[0], int(tile["col0"]) * shape.stride[1]
    out = np.zeros((groups, mask.shape[1], rows, cols, channels, taps), bool)
    for tap in range(taps):
        r, s = divmod(int(tile["tap0"]) + tap, shape.s)
        y, x = y0 + r * shape.dilation[0], x0 + s * shape.dilation[1]
        met = mask[
            ..., y : y + (rows - 1) * shape.stride[0] + 1 : shape.stride[0],
            x : x + (cols - 1) * shape.stride[1] + 1 : shape.stride[1],
        ]  # fmt: skip
        out[..., tap] = met.transpose(0, 1, 3, 4, 2)
    return out.reshape(groups, -1, channels * taps)


def tile_inputs(part: Part, tile: Any) -> NDArray[Any]:
    """Inputs of a tile of a convolution: (groups, images, channels, height, width), all of the plane."""
    g0, i0, c0 = int(tile["group0"]), int(tile["image0"]), int(tile["channel0"])
    values = part.ifmap()[i0 : i0 + int(tile["images"])]
    by_group = values.reshape(len(values), part.loops.groups, -1, *values.shape[2:]).swapaxes(0, 1)
    return by_group[g0 : g0 + int(tile["groups"]), :, c0 : c0 + int(tile["channels"])]


def weight_mask(part: Part, tile: Any) -> NDArray[np.uint8]:
    """1 where a weight of a tile is not 0: (groups, n, k), k as in `input_rows`; contiguous."""
    mask = np.ascontiguousarray(weights_of(part, tile) != 0)
    return mask.view(np.uint8).reshape(int(tile["groups"]), int(tile["n"]), -1)


def weight_key(tile: Any) -> tuple[int, ...]:
    """Equal for tiles with the same weights."""
    return tuple(int(tile[x]) for x in WEIGHTS)


def structured(holds: bool, what: str, part: Part, allowed: bool) -> bool:
    """Whether the engine may use a structure: `holds`; if it does not hold, dense where the user allows it.

    Raises
    ------
    ConfigError
        With `what` the operand must have, and how to run the layer nevertheless.
    """
    if not holds and not allowed:
        raise ConfigError(f"{what}; set engine.dense to allow to run such layers dense", part.where)
    return holds
