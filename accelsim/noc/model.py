"""What the simulator asks of any network on chip: messages go in, completions come out.

A model never runs ahead of what it has been told: `advance(limit)` leaves every decision at `limit`
and later open, and returns as soon as a message is complete, so that an answer to it can be
submitted in that very cycle.

Ties. Messages that are submitted in one cycle enter in ascending order of their ids, in whatever
order `submit` was called; messages that are complete in one cycle are returned in ascending order
of their ids. Everything else is arbitration, written down in each model.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError, DeadlockError, SimulationBug
from accelsim.base.registry import Registry
from accelsim.base.spec import Spec

Kind = Literal["unicast", "multicast", "reduction"]
Fidelity = Literal["ideal", "bandwidth", "detailed"]
Terminals = int | Iterable[int]
Completion = tuple[int, int]
"""(core cycle, message id)"""

FOREVER = 2**62

IntArray = NDArray[np.int64]
Column = IntArray | Sequence[int] | int
"""One number for each of many messages, or one for all."""


class Message(NamedTuple):
    """One transfer between terminals; `sources` has more than one element in reductions only."""

    now: int
    id: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    n_bytes: int
    kind: Kind


@dataclass
class NocStats:
    """What a network has done so far.

    Attributes
    ----------
    links : list of (str, str)
        From where to where, one per entry of `link_flits`; routers are named by number, terminals `tN`.
    link_flits, link_period_cycles : int arrays, shape (links,)
        Flits that went over each link, and cycles that each of them occupied it.
    flit_hops : int
        Flits over links between routers (those to and from terminals excluded).
    router_flits : int
        Flits through switches.
    busy_cycles : int
        Cycles in which at least one message was under way.
    cycles : int
        Cycles that have passed.
    place : float array, shape (routers, 2), or None
        Where the routers are, for a heat map.
    """

    messages: int = 0
    bytes_delivered: int = 0
    flit_hops: int = 0
    router_flits: int = 0
    busy_cycles: int = 0
    cycles: int = 0
    links: list[tuple[str, str]] = field(default_factory=list)
    link_flits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    link_period_cycles: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    place: NDArray[np.float64] | None = None

    def utilisation(self) -> NDArray[np.float64]:
        """Share of the cycles so far in which each link was occupied, shape (links,)."""
        return self.link_flits * self.link_period_cycles / max(1, self.cycles)

    def utilisation_matrix(self) -> NDArray[np.float64]:
        """The same between routers, shape (routers, routers): row from, column to; 0 where there is no link."""
        routers = 0 if self.place is None else len(self.place)
        matrix = np.zeros((routers, routers))
        for (a, b), value in zip(self.links, self.utilisation(), strict=True):
            if a.isdigit() and b.isdigit():
                matrix[int(a), int(b)] += value
        return matrix


class NocModel(Protocol):
    """One network behind one interface."""

    terminals: int

    def submit(
        self, now: int, message_id: int, src: Terminals, dst: Terminals, n_bytes: int, kind: Kind | None = None
    ) -> None:
        """Hand over a message at core cycle `now` (never before an earlier `now` or limit).

        One source and one destination are a unicast, a set of destinations a multicast, a set of
        sources a reduction (all of them send `n_bytes`, and the destination gets their sum).

        Raises
        ------
        ConfigError
            Terminal out of range, no byte to send, or a set where there must be one.
        SimulationBug
            If `now` lies in the past or the id is under way already.
        """

    def submit_many(self, now: Column, ids: Column, src: Column, dst: Column, n_bytes: Column) -> None:
        """Hand over unicasts: entry n of each array (or a number, which stands for all) is one `submit`.

        All are refused where one is.
        """

    def advance(self, limit: int) -> Completion | None:
        """The next completion at or before core cycle `limit`, or None; afterwards time stands there."""

    def advance_all(self, limit: int) -> tuple[IntArray, IntArray]:
        """All completions at or before core cycle `limit` that were not collected: (cycles, ids).

        In the order of `advance`, which takes far longer; for callers that answer none of them on the way.
        Afterwards time stands at `limit`.
        """

    def finish(self) -> int:
        """Run until nothing is under way; the core cycle of the last completion (these can still be collected)."""

    def stats(self) -> NocStats:
        """Counts so far."""

    def counts(self) -> ActionCounts:
        """Counts so far, as actions of the component `noc` that cost energy.

        Per flit: `router` (through a switch), `wire` (over a link to a neighbour), `package_wire` (over
        one between chips), `x_bus`, `y_bus`, `add` (added to another).
        """


class StagedNoc:
    """What all models share: checks, the order of entry, the order of completions, and the clock.

    A model adds `_start(message)`, called in the order of entry when time stands at `message.now`,
    and `_run(limit)`, which decides all cycles before `limit` but stops at the first cycle in which
    messages are complete, and returns (that cycle, their ids), or (limit, []).
    """

    def __init__(self, terminals: int, where: str = "noc") -> None:
        self.terminals = terminals
        self.where = where
        self._now = 0
        self._staged: list[Message] = []
        self._open: dict[int, Message] = {}
        self._under_way = 0
        self._busy_since = 0
        self._done: deque[Completion] = deque()
        self._collected: deque[Completion] = deque()
        self._last = 0
        self._stats = NocStats()

    def _start(self, message: Message) -> None:
        raise NotImplementedError

    def _run(self, limit: int) -> tuple[int, list[int]]:
        raise NotImplementedError

    def _waiting_for(self) -> str:
        return ""

    def submit(
        self, now: int, message_id: int, src: Terminals, dst: Terminals, n_bytes: int, kind: Kind | None = None
    ) -> None:
        """See `NocModel.submit`."""
        if now < self._now:
            raise SimulationBug(f"{self.where}: message {message_id} comes at cycle {now}, it is {self._now} already")
        if message_id in self._open:
            raise SimulationBug(f"{self.where}: message {message_id} is under way already")
        message = Message(now, message_id, *self._members(src, dst, kind), n_bytes, kind or _kind(src, dst))
        if n_bytes < 1:
            raise ConfigError(f"n_bytes of message {message_id} must be >= 1, got {n_bytes}", self.where)
        self._open[message_id] = message
        heapq.heappush(self._staged, message)

    def submit_many(self, now: Column, ids: Column, src: Column, dst: Column, n_bytes: Column) -> None:
        """See `NocModel.submit_many`."""
        columns = self._checked_columns(now, ids, src, dst, n_bytes)
        taken: list[int] = []
        try:
            for values in zip(*(column.tolist() for column in columns), strict=True):
                self.submit(*values)
                taken.append(values[1])
        except ConfigError:  # there may be no way from one to another
            for message_id in taken:
                self._withdraw(message_id)
            raise

    def _checked_columns(self, *columns: Column) -> list[IntArray]:
        """Cycles, ids, sources, targets and bytes as arrays of one length, of messages that `submit` would take."""
        now, ids, src, dst, n_bytes = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, np.int64)) for c in columns))
        if len(now) and now.min() < self._now:
            n = int(np.argmin(now))
            text = f"message {ids[n]} comes at cycle {now[n]}, it is {self._now} already"
            raise SimulationBug(f"{self.where}: {text}")
        for key, ends in (("src", src), ("dst", dst)):
            if len(ends) and (ends.min() < 0 or ends.max() >= self.terminals):
                got = int(ends[(ends < 0) | (ends >= self.terminals)][0])
                raise ConfigError(f"{key} must be one of {self.terminals} terminals from 0 on, got {got}", self.where)
        if len(n_bytes) and n_bytes.min() < 1:
            n = int(np.argmin(n_bytes))
            raise ConfigError(f"n_bytes of message {ids[n]} must be >= 1, got {n_bytes[n]}", self.where)
        ordered = ids if bool(np.all(ids[1:] > ids[:-1])) else np.sort(ids)
        twice = ordered[1:][ordered[1:] == ordered[:-1]].tolist()
        known = self._open_ids()
        twice += sorted(known.intersection(ids.tolist())) if known else []
        if twice:
            raise SimulationBug(f"{self.where}: message {twice[0]} is under way already")
        return [now, ids, src, dst, n_bytes]

    def _open_ids(self) -> set[int]:
        """Ids of messages that are not complete."""
        return set(self._open)

    def _withdraw(self, message_id: int) -> None:
        """Take back a message just submitted."""
        self._staged.remove(self._open.pop(message_id))
        heapq.heapify(self._staged)

    def _members(self, src: Terminals, dst: Terminals, kind: Kind | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        ends = []
        for key, value in (("src", src), ("dst", dst)):
            members = (value,) if isinstance(value, int) else tuple(sorted(set(value)))
            if not members or members[0] < 0 or members[-1] >= self.terminals:
                got = members if members else "none"
                raise ConfigError(f"{key} must be one of {self.terminals} terminals from 0 on, got {got}", self.where)
            ends.append(members)
        if len(ends[0]) > 1 and (len(ends[1]) > 1 or kind not in (None, "reduction")):
            raise ConfigError("src must be one terminal unless the message is a reduction to one dst", self.where)
        if len(ends[1]) > 1 and kind not in (None, "multicast"):
            raise ConfigError(f"dst must be one terminal in a {kind}, got {len(ends[1])}", self.where)
        return ends[0], ends[1]

    def advance(self, limit: int) -> Completion | None:
        """See `NocModel.advance`."""
        if self._collected:
            return self._collected.popleft() if self._collected[0][0] <= limit else None
        return self._advance(limit)

    def _advance(self, limit: int) -> Completion | None:
        while not self._done:
            due = self._staged[0].now if self._staged else limit
            stop = min(limit, due)
            cycle, ids = (stop, []) if self._idle() else self._run(stop)
            for message_id in sorted(ids):
                self._complete(cycle, message_id)
            self._now = max(self._now, cycle)
            if ids:
                break
            if due >= limit:
                self._now = max(self._now, limit)
                return None
            self._start_all(due)
        return self._done.popleft() if self._done[0][0] <= limit else None

    def _start_all(self, due: int) -> None:
        """Start all messages of this cycle."""
        while self._staged and self._staged[0].now == due:
            message = heapq.heappop(self._staged)
            if self._under_way == 0:
                self._busy_since = due
            self._under_way += 1
            self._start(message)

    def _idle(self) -> bool:
        """Whether no message is under way."""
        return self._under_way == 0

    def advance_all(self, limit: int) -> tuple[IntArray, IntArray]:
        """See `NocModel.advance_all`."""
        done = []
        while (one := self.advance(limit)) is not None:
            done.append(one)
        table = np.array(done, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def _complete(self, cycle: int, message_id: int) -> None:
        message = self._open.pop(message_id)
        self._done.append((cycle, message_id))
        self._last = max(self._last, cycle)
        self._under_way -= 1
        if self._under_way == 0:
            self._stats.busy_cycles += cycle - self._busy_since
        self._stats.messages += 1
        self._stats.bytes_delivered += message.n_bytes * len(message.targets)

    def finish(self) -> int:
        """See `NocModel.finish`."""
        while self._open or self._done:
            done = self._advance(FOREVER)
            if done is None:
                first = min(self._open)
                raise DeadlockError(f"{self.where}: message {first} never arrives{self._waiting_for()}")
            self._collected.append(done)
        return self._last

    def stats(self) -> NocStats:
        """See `NocModel.stats`."""
        self._stats.cycles = max(self._now, self._last) if self._now < FOREVER else self._last
        return self._stats

    def counts(self) -> ActionCounts:
        """See `NocModel.counts`."""
        raise NotImplementedError


def _kind(src: Terminals, dst: Terminals) -> Kind:
    if isinstance(src, int):
        return "unicast" if isinstance(dst, int) else "multicast"
    return "reduction"


@dataclass(frozen=True)
class Topology:
    """A kind of network: what a user may write about it, and how it is built.

    `build(spec, fidelity, where)` raises ConfigError where values contradict each other.
    """

    spec: type[Spec]
    build: Callable[[Any, Fidelity, str], NocModel]


TOPOLOGIES: Registry[Topology] = Registry("topology", "accelsim.noc")

Build = TypeVar("Build", bound=Callable[..., NocModel])


def topology(name: str, spec: type[Spec]) -> Callable[[Build], Build]:
    """Decorator: register the decorated function (see `Topology.build`) as the topology `name`."""

    def enter(build: Build) -> Build:
        TOPOLOGIES.register(name)(Topology(spec, build))
        return build

    return enter
