"""Which elements an array wants of its buffers in which cycle: what an engine says of a pass, for banked buffers.

A pass is a set of *bursts*. A burst is one operand, read or written, in `steps` cycles that follow each other from
`start` on (cycles of an array that nothing stops; 0: the first operand of the pass enters; loading comes before it).

- A burst of *lanes* touches, in its step t, the elements at `tables[step_at + t] + tables[lane_at + i]`, for all
  i < lanes. With `stagger` s (not 0), lane i is i mod s cycles later: then each lane has an access of its own. Without,
  elements in one word share one access; the lanes' table must ascend.
- A *run* (lanes 0) moves elements one after another: in its step t those from t * rate // per to (t + 1) * rate // per,
  not included, of `total`, counted from `first`. A word that a step reads in part is held for the next.

Addresses are elements from the beginning of the operand's tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.units import ceil_div

Ints = NDArray[np.int64]
OPERANDS = ("ifmap", "filter", "psum", "ofmap")

BURST_DTYPE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "operand", "write", "start", "steps", "lanes", "lane_at", "step_at", "stagger",
            "first", "total", "rate", "per",
        )
    ]
)  # fmt: skip
Bursts = NDArray[Any]  # of BURST_DTYPE


@dataclass(frozen=True)
class Place:
    """How a tile lies in its buffer.

    Attributes
    ----------
    layout : str
        ifmap, psum, ofmap: "nhwc" (a pixel's channels side by side) or "nchw" (a channel's pixels); filter: "rscm" (the
        filters side by side) or "mrsc" (the weights of a filter). "": as the array takes them.
    pad_words : int or None
        Words left empty after each line (what lies side by side), which then begins with a word; None: packed.
    per_word : int
        Elements of a word; 1, too, where an element takes several.
    """

    layout: str = ""
    pad_words: int | None = None
    per_word: int = 1

    def pitch(self, line: int) -> int:
        """Elements from the beginning of a line of `line` elements to that of the next."""
        if self.pad_words is None:
            return line
        return (ceil_div(line, self.per_word) + self.pad_words) * self.per_word


class AccessPattern:
    """What one pass does; subclasses are frozen dataclasses, so that equal passes are looked at once.

    `jobs` times the same, one after another.
    """

    jobs: int = 1

    def bursts(self, places: Mapping[str, Place]) -> tuple[Bursts, Ints]:
        """The bursts of one job, and the tables of addresses that they refer to."""
        raise NotImplementedError


@dataclass(frozen=True)
class EvenAccess(AccessPattern):
    """Words one after another, at an even rate from the first cycle to the last: an engine that does not say more.

    `moves`: (operand, whether it is written, elements).
    """

    moves: tuple[tuple[str, bool, int], ...]
    cycles: int

    def bursts(self, places: Mapping[str, Place]) -> tuple[Bursts, Ints]:
        """See `AccessPattern`."""
        out = np.zeros(len(self.moves), BURST_DTYPE)
        for row, (operand, write, elements) in zip(out, self.moves, strict=True):
            row["operand"], row["write"], row["steps"] = OPERANDS.index(operand), write, max(1, self.cycles)
            row["total"] = row["rate"] = elements
            row["per"] = max(1, self.cycles)
        return out[out["total"] > 0], np.zeros(0, np.int64)


def runs(operand: str, write: bool, start: Any, first: Any, total: Any, rate: int) -> Bursts:
    """Runs of `total` elements each from `first` on, `rate` a cycle, from `start` on (ints or arrays)."""
    start, first, total = np.broadcast_arrays(start, first, total)
    out = np.zeros(len(start), BURST_DTYPE)
    out["operand"], out["write"], out["start"] = OPERANDS.index(operand), write, start
    out["first"], out["total"], out["rate"], out["per"] = first, total, rate, 1
    out["steps"] = -(-out["total"] // rate)
    return out
