"""Double buffering: tiles are loaded into one slot while those in the others are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """When each tile is loaded and used (int64 arrays, cycles), and what waits for what.

    `waits_for_tile` is the time in which the array has nothing to use, the first load included;
    `waits_for_room` that in which the loader has tiles left and no slot.
    """

    load_start: Ints
    use_start: Ints
    cycles: int
    waits_for_tile: int
    waits_for_room: int


def overlap(load_cycles: Sequence[int], use_cycles: Sequence[int], slots: int = 2) -> Overlap:
    """Play tiles through `slots` slots: one loader, one user, both in order.

    A load begins when the one before it is complete and a slot is free; a slot is free again when its tile
    has been used. A use begins when its tile is loaded and the use before it is complete.

    Parameters
    ----------
    load_cycles, use_cycles : sequence of int
        Of each tile; equally many.
    slots : int
        1: nothing overlaps; 2: ping-pong.

    Raises
    ------
    ConfigError
        For no slot, or lists that differ in length.
    """
    if slots < 1:
        raise ConfigError(f"slots must be >= 1, got {slots}")
    if len(load_cycles) != len(use_cycles):
        raise ConfigError(f"as many loads as uses are needed, got {len(load_cycles)} and {len(use_cycles)}")
    load_start: list[int] = []
    use_start: list[int] = []
    used: list[int] = []
    loader = user = no_tile = no_room = 0
    for tile, (load, use) in enumerate(zip(load_cycles, use_cycles, strict=True)):
        begin = max(loader, used[tile - slots]) if tile >= slots else loader
        no_room += begin - loader
        loader = begin + load
        start = max(loader, user)
        no_tile += start - user
        user = start + use
        load_start.append(begin)
        use_start.append(start)
        used.append(user)
    return Overlap(np.array(load_start, np.int64), np.array(use_start, np.int64), user, no_tile, no_room)


def even_cycles(tiles: int, load_cycles: int, use_cycles: int, slots: int = 2) -> int:
    """`overlap(...).cycles` of equal tiles, in closed form."""
    if tiles == 0:
        return 0
    if slots == 1:
        return tiles * (load_cycles + use_cycles)
    return load_cycles + (tiles - 1) * max(load_cycles, use_cycles) + use_cycles
