"""What `group_kernels` look up: everything that follows from which lanes of a word become entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.packing import Words

_SETS = 256
SHORT = 16
"""Runs of fewer zeros: padding is so usual that it is looked up for every group."""


@dataclass(frozen=True)
class Plan:
    """What the kernels look up, for one width of lanes and one longest run.

    Attributes
    ----------
    lanes : int
        Elements of a group.
    kept, trimmed : ndarray of uint16, shape (rows * 256,)
        The set of entries, for a set of nonzeros. A row for the zeros that the run may still take (at most `lanes` are
        told apart); for short runs, a row for the zeros that it has, and 256 times those after the group in the
        result. `trimmed` has no padding after the last nonzero.
    counts : ndarray of uint8, shape (3 * 256,)
        For each set: zeros before the first and after the last entry; entries.
    sets : ndarray of uint64, shape (6 * 256,)
        For each set: lanes that move by 1, 2, 4; all bits of its lanes; all bits of as many lanes; runs, in bytes, or
        of the first four entries in two bytes.
    more : ndarray of uint64, shape (256,), or None
        For each set: runs of the other four entries, if they take two bytes.
    params : ndarray of uint64
        Mask of all bits of a lane but the top one; factor that collects the top bits; lanes of a group; longest run;
        bits of a lane; binary logarithm of its bytes.
    """

    lanes: int
    kept: NDArray[np.uint16]
    trimmed: NDArray[np.uint16]
    counts: NDArray[np.uint8]
    sets: Words
    more: Words | None
    params: Words


@lru_cache(maxsize=32)
def plan_for(lane: int, top: int) -> Plan:
    """Lanes of `lane` bits; runs up to `top`, in two bytes if one is not enough."""
    lanes, short, field = 64 // lane, top < SHORT, 8 if top < 256 else 16
    counts, sets = np.zeros((3, _SETS), np.uint8), np.zeros((7, _SETS), np.uint64)
    rows = top + 1 if short else lanes + 1
    kept, trimmed = np.zeros((rows, _SETS), np.uint16), np.zeros((rows, _SETS), np.uint16)
    for chosen in range(1 << lanes):
        count, runs = chosen.bit_count(), _runs_inside(chosen, field, top)
        before = (chosen & -chosen).bit_length() - 1 if chosen else lanes
        every = sum(((1 << lane) - 1) << (i * lane) for i in range(lanes) if chosen >> i & 1)
        counts[:, chosen] = [before, lanes - chosen.bit_length(), count]
        sets[:, chosen] = [*_moves(chosen, lane), every, (1 << (lane * count)) - 1, runs % (1 << 64), runs >> 64]
        for row in range(rows):
            for table, length in ((kept, lanes), (trimmed, chosen.bit_length())):
                if short:
                    entries, zeros = _padded(chosen, top - row, length, top)
                    table[row, chosen] = entries | zeros << 8
                else:
                    table[row, chosen], _ = _padded(chosen, row if row < lanes else length, length, top)
    ones = sum(1 << at for at in range(0, 64, lane))
    gather = sum(1 << (64 - lanes + i - lane * (i + 1) + 1) for i in range(lanes))
    params = [ones * ((1 << (lane - 1)) - 1), gather, lanes, top, lane, (lane // 8).bit_length() - 1]
    flat = kept.reshape(-1), trimmed.reshape(-1), counts.reshape(-1), sets[:6].reshape(-1)
    return Plan(lanes, *flat, sets[6] if field == 16 else None, np.array(params, np.uint64))


def _padded(nonzeros: int, room: int, length: int, top: int) -> tuple[int, int]:
    """The set of entries: nonzeros, and each zero that the run before it has no room for; zeros of the last run."""
    entries = nonzeros
    for i in range(length):
        if nonzeros >> i & 1:
            room = top
        elif room == 0:
            entries |= 1 << i
            room = top
        else:
            room -= 1
    return entries, top - room


def _runs_inside(entries: int, field: int, top: int) -> int:
    """Runs before each entry, those before the first counted from the group's begin, side by side."""
    runs, at, before = 0, 0, -1
    for i in range(entries.bit_length()):
        if entries >> i & 1:
            runs |= min(i - before - 1, top) << (field * at)
            at, before = at + 1, i
    return runs


def _moves(entries: int, lane: int) -> list[int]:
    """Lanes that move down by 1, then by 2, then by 4 lanes until the entries are the lowest ones."""
    places = [i for i in range(entries.bit_length()) if entries >> i & 1]
    moves = [0, 0, 0]
    for step in range(3):
        for j, place in enumerate(places):
            if (place - j) >> step & 1:
                moves[step] |= ((1 << lane) - 1) << (place * lane)
                places[j] -= 1 << step
    return moves


@lru_cache(maxsize=2)
def places_of(field: int) -> Words:
    """For the 8 or 4 runs in a byte: bits of the places of their entries; 2**16 times those of the longest runs among
    them; 2**24 times the elements they reach over."""
    top, table = (1 << field) - 1, []
    for octet in range(256):
        at = places = longest = 0
        for i in range(8 // field):
            run = octet >> (i * field) & top
            places |= 1 << (at + run)
            longest |= int(run == top) << i
            at += run + 1
        table.append(places | longest << 16 | at << 24)
    return np.array(table, np.uint64)
