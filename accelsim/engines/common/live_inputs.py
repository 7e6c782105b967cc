"""How many inputs of each output position are of some kind (not zero, large...), from the real values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import group_inputs, window_places

Ints = NDArray[np.int64]
Chosen = Callable[[NDArray[Any]], NDArray[np.bool_]]


def live_counts(part: Part, tile: Any, chosen: Chosen, group: int) -> Ints:
    """Inputs that are `chosen`, for each output position and tap of a tile's group: int64 (m, taps).

    Channels are summed first, so that this takes little more than one look at the tile's pixels. What a window sees
    outside of the feature map is not chosen.

    Raises
    ------
    ConfigError
        If the trace has no values (of the vectors inside of a recurrent cell none has).
    """
    inputs = group_inputs(part, tile, group)
    images = slice(int(tile["image0"]), int(tile["image0"]) + int(tile["images"]))
    counts = np.count_nonzero(chosen(inputs[images]), axis=3)
    y, x, inside = window_places(part, tile)
    seen = np.where(inside, counts[:, y, x], 0)
    return seen.reshape(-1, inside.shape[1])


def live_products(part: Part, tiles: Any, chosen: Chosen) -> Ints:
    """Chosen inputs, summed over the positions, taps and groups of each tile: int64 (tiles,)."""
    known: dict[tuple[int, ...], int] = {}
    out = np.zeros(len(tiles), np.int64)
    fields = (
        "group0", "groups", "image0", "images", "row0", "rows", "col0", "cols", "channel0", "channels", "tap0", "k",
    )  # fmt: skip
    for at, tile in enumerate(tiles):
        key = tuple(int(tile[name]) for name in fields)
        if key not in known:
            groups = range(int(tile["groups"]))
            known[key] = sum(int(live_counts(part, tile, chosen, group).sum()) for group in groups)
        out[at] = known[key]
    return out
