"""What many cores do: tables, the jobs that these are parts of, how operands travel; and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from accelsim.sim.passes import FETCHED, PassTable
from accelsim.sim.player import LayerTimes

OFMAP = len(FETCHED)  # index of results among the operands of a tag; spilled sums come after it


@dataclass(frozen=True)
class Route:
    """How one operand of a core's layer travels.

    Attributes
    ----------
    hubs : tuple of int
        Terminals where it comes from or goes to; several share it, interleaved by address in `stripe_bytes`, from
        address `base` on and in every `period` anew.
    dram : bool
        It comes from DRAM to the hub, or goes on to DRAM.
    chain : int
        Core (not terminal) to which partial results go instead, or -1.
    scale : (int, int)
        A message to the next core has bytes x scale[0] / scale[1]: sums are wider than results.
    peers : tuple of int
        Cores that make the other parts of a state, of which every step makes a part and the next one reads all.
    state_at : int
        What is fetched from an address `state_at` + n on is the state of which the n-th results are parts.
    steps : int
        After so many steps another direction begins, which reads no state at first.
    """

    hubs: tuple[int, ...]
    dram: bool
    stripe_bytes: int = 4096
    chain: int = -1
    scale: tuple[int, int] = (1, 1)
    peers: tuple[int, ...] = ()
    state_at: int = 0
    steps: int = 1
    base: int = 0
    period: int = 2**62

    def hub(self, address: int) -> int:
        """The hub of an address."""
        return self.hubs[(address - self.base) % self.period // self.stripe_bytes % len(self.hubs)]


@dataclass
class CoreWork:
    """What one core does.

    Attributes
    ----------
    terminal : int
    tables : list of PassTable
        In the order of execution.
    jobs : list of int
        For each table, the job that it is a part of.
    routes : list of dict
        For each table, operand index (of `FETCHED`, then ofmap, then spilled sums) -> Route.
    """

    terminal: int
    tables: list[PassTable] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    routes: list[dict[int, Route]] = field(default_factory=list)


@dataclass
class Job:
    """A layer of one input.

    Attributes
    ----------
    name : str
    needs : tuple of int
        Jobs that must be complete before any core begins it.
    phase : int
        Where all cores advance together: the phase in which it runs; -1: they do not.
    """

    name: str
    needs: tuple[int, ...] = ()
    phase: int = -1


@dataclass
class ManyTimeline:
    """What happened.

    Attributes
    ----------
    start, end : list of int
        For each job.
    cores : list of dict
        For each job, core -> LayerTimes.
    dram : list of (job, operand, address, bytes)
        What went over the chip's border; operands as in a tag.
    passes : array of PASS_TIMES_DTYPE
        Of all cores, `layer` being the job; in the order of start.
    events, clock : int
    """

    start: list[int]
    end: list[int]
    cores: list[dict[int, LayerTimes]]
    dram: list[tuple[int, int, int, int]]
    passes: NDArray[Any]
    events: int
    clock: int


Tile = tuple[int, int, int]
"""(operand, address, how often it has been fetched before)"""


def consistent(orders: list[list[Tile]]) -> bool:
    """Whether one order of all tiles agrees with the order of every core: then none can wait in a circle."""
    first = orders[0]
    if all(order == first for order in orders):
        return True
    after: dict[Tile, list[Tile]] = {}
    before: Counter[Tile] = Counter()
    for order in orders:
        for tile, then in zip(order, order[1:], strict=False):
            after.setdefault(tile, []).append(then)
            before[then] += 1
    tiles = {tile for order in orders for tile in order}
    free = [tile for tile in tiles if not before[tile]]
    done = 0
    while free:
        done += 1
        for then in after.get(free.pop(), ()):
            before[then] -= 1
            if not before[then]:
                free.append(then)
    return done == len(tiles)
