"""The k smallest of very many scores, exactly, and over several tensors that are never in memory together.

Scores are float32 >= 0, or any integers below 2**31: as integers their bits have the same order, so a count over
the upper 16 of the 31 bits finds the bin in which the k-th lies, and only that bin's members need a second look.
Of equal scores those that come first go first: a density is met to the element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import SimulationBug
from accelsim.base.kernels import kernel

_BINS = 1 << 16
_LOW_BITS = 15

Bits = NDArray[np.uint32]


@dataclass(frozen=True)
class Cut:
    """What goes from one tensor: every score below `bits` (of a float32, as an integer), and `ties` equal to it."""

    bits: int
    ties: int

    def mask(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """True where an element goes; in the scores' shape."""
        out = np.empty(scores.size, np.bool_)
        mark_below(as_bits(scores), self.bits, self.ties, out)
        return out.reshape(scores.shape)


def as_bits(scores: NDArray[Any]) -> Bits:
    """Float32 scores, or integers below 2**31, as flat uint32; the sign is not looked at."""
    flat = np.ascontiguousarray(scores).reshape(-1)
    if flat.dtype.itemsize != 4:
        raise SimulationBug(f"scores must be float32 or 32-bit integers, got {flat.dtype}")
    return flat.view(np.uint32)


def kept_count(density: float, count: int) -> int:
    """Elements that a density leaves of `count`: the nearest integer, of two the even one."""
    return round(density * count)


def smallest(scores: NDArray[Any], count: int) -> Cut:
    """The cut that takes `count` elements from one tensor."""
    return smallest_of([lambda: scores], count)[0]


def smallest_of(tensors: Sequence[Callable[[], NDArray[Any]]], count: int) -> list[Cut]:
    """The cuts that together take the `count` smallest elements of all tensors.

    Parameters
    ----------
    tensors : sequence of functions that give a tensor's scores
        Called twice each, one at a time. Of equal scores those of earlier tensors go first.
    count : int
        0 to the number of all elements.
    """
    counts: NDArray[np.int64] = np.zeros(_BINS, np.int64)
    for load in tensors:
        count_upper(as_bits(load()), counts)
    ends = np.cumsum(counts)
    if not 0 <= count <= int(ends[-1]):
        raise SimulationBug(f"count must be 0 to {int(ends[-1])}, got {count}")
    if count == 0:
        return [Cut(0, 0) for _ in tensors]
    chosen = int(np.searchsorted(ends, count))
    rank = count - int(ends[chosen] - counts[chosen])  # the how manieth of its bin is the last to go
    members = [_members(as_bits(load()), chosen) for load in tensors]
    together = np.concatenate(members)
    limit = int(np.partition(together, rank - 1)[rank - 1])
    return list(_shared(members, limit, rank - int(np.count_nonzero(together < limit))))


def _shared(members: Iterable[Bits], limit: int, ties: int) -> Iterable[Cut]:
    for found in members:
        mine = min(ties, int(np.count_nonzero(found == limit)))
        ties -= mine
        yield Cut(limit, mine)


def _members(bits: Bits, chosen: int) -> Bits:
    found: list[Bits] = []
    out: Bits = np.empty((1 << 16) + 1, np.uint32)
    for at in range(0, bits.size, 1 << 16):
        number = take_bin(bits[at : at + (1 << 16)], chosen, out)
        if number:
            found.append(out[:number].copy())
    return np.concatenate(found) if found else np.zeros(0, np.uint32)


@kernel(nogil=True)
def count_upper(bits, counts):  # type: ignore[no-untyped-def]
    """counts[upper 16 of the lower 31 bits] += 1 for every element. bits: uint32; counts: int64[2**16]."""
    for i in range(bits.size):
        counts[(bits[i] & np.uint32(0x7FFFFFFF)) >> np.uint32(15)] += 1


@kernel(nogil=True)
def take_bin(bits, chosen, out):  # type: ignore[no-untyped-def]
    """The lower 31 bits of all elements whose upper 16 of these are `chosen`; returns their number.

    out : room for one more than there are elements
    """
    at = 0
    for i in range(bits.size):
        value = bits[i] & np.uint32(0x7FFFFFFF)
        out[at] = value
        at += int((value >> np.uint32(15)) == chosen)
    return at


@kernel(nogil=True)
def mark_below(bits, limit, ties, out):  # type: ignore[no-untyped-def]
    """out = lower 31 bits < limit, and True for the first `ties` elements that equal it."""
    left = ties
    for i in range(bits.size):
        value = np.int64(bits[i] & np.uint32(0x7FFFFFFF))
        out[i] = value < limit
        if value == limit and left > 0:
            out[i] = True
            left -= 1


@count_upper.warms_up_with
def _count_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint32), np.zeros(_BINS, np.int64)


@take_bin.warms_up_with
def _take_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint32), 0, np.zeros(5, np.uint32)


@mark_below.warms_up_with
def _mark_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint32), 1, 1, np.zeros(4, np.bool_)
