"""Layers that run at the same time on their own cores, handing rows of feature maps to each other.

A *stage* is a layer with resident weights. It makes its output rows in order, item after item. Rules:

- Row b of a stage starts when the rows of its inputs that it needs are there, its cores are free for it, that is,
  have streamed the row before, and every reader has a slot for it.
- A reader has `slots` for rows of each of its inputs. A slot is taken from the start of the row's making (or from the
  request to the memory) until the reader has streamed the last row of its own that needs it; a reader that only keeps a
  running result (`running`) needs no row once it has come. Credits take no time.
- `finish` cycles after its start the row is at its cores' edges. Partial sums that other cores hold then travel to
  where they are added (`gather`); rows become complete in order.
- A complete row leaves at once, in messages, for every stage that reads it. It is there when the last has arrived;
  rows count as there in order. What stays in the same core takes no time.
- Rows of network inputs are asked of the memory in order, as slots for them come free; rows of results go there when
  they arrive at its terminal.
- In one cycle arrivals come before rows that are done, and those before slots that come free; among equals the lower
  stage, then the lower row.

With at least `fewest_slots` on every edge the flow cannot deadlock: then there is an order, the one on demand, in which
all rows can be made, and a flow of rows with bounded buffers completes in every order if it does in one.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import SimulationBug
from accelsim.sim.clocks import Network
from accelsim.sim.player import PASS_TIMES_DTYPE
from accelsim.sim.port import FOREVER, Memory

Send = tuple[int, tuple[int, ...], int]
"""(from terminal, to terminals, bytes)"""


@dataclass
class Edge:
    """Rows that one stage gets from another, or from the memory.

    Attributes
    ----------
    source : int
        Stage, or -1 - input for a network input.
    need : list of int
        For each of its own rows, how many rows of one item must be there.
    sends : list of Send
        Messages that carry one row.
    first : list of int
        For each of its own rows, the first row of an item that it, or one after it, needs; empty: 0 for all.
    slots : int
        Rows that there is room for; 0: for any number.
    running : bool
        A row is taken in as soon as it and all before it are there: global pooling.
    """

    source: int
    need: list[int]
    sends: list[Send]
    first: list[int] = field(default_factory=list)
    slots: int = 0
    running: bool = False

    def released(self, made: int, source_rows: int) -> int:
        """Rows of the source that are needed no more once the reader has streamed `made` rows."""
        item, row = divmod(made, len(self.need))
        return item * source_rows + (self.first[row] if row and self.first else 0)


@dataclass
class Stage:
    """One layer.

    Attributes
    ----------
    name : str
    rows : int
        Output rows of an item.
    stream, finish : list of int
        Cycles of each row of an item: from its start to the start of the next, and to its last result.
    macs : int
        Of a row.
    edges : list of Edge
    gather : list of Send
    """

    name: str
    rows: int
    stream: list[int]
    finish: list[int]
    macs: int = 0
    edges: list[Edge] = field(default_factory=list)
    gather: list[Send] = field(default_factory=list)


@dataclass
class Source:
    """A network input: rows of `row_bytes` at `address` of the memory."""

    rows: int
    row_bytes: int
    address: int


@dataclass
class Sink:
    """Results of a stage: a row's messages to a terminal with memory, and its bytes there."""

    stage: int
    sends: list[Send]
    row_bytes: int
    address: int


@dataclass
class FlowTimes:
    """What happened to one stage, all items.

    Attributes
    ----------
    start, end : int
        First start, last end.
    waited, held : int
        Cycles in which its cores stood still because an input was not there, or (once all were) because a reader had
        no slot.
    waiting_rows : int
        The most rows of an input that were there before the first that a row needs.
    """

    start: int = 0
    end: int = 0
    waited: int = 0
    held: int = 0
    waiting_rows: int = 0


@dataclass
class Flow:
    """A run.

    Attributes
    ----------
    stages : list of FlowTimes
    item_end : list of int
        When the last result of each item was in the memory.
    passes : array of PASS_TIMES_DTYPE
        One for each row, `layer` being the stage, in the order of start.
    read, written : list of (index of input or stage, address, bytes)
    sent : dict from (stage or -1 - input, send) to int
        How often each stage (or the memory, for an input) sent which message.
    clock : int
    """

    stages: list[FlowTimes]
    item_end: list[int]
    passes: NDArray[Any]
    read: list[tuple[int, int, int]]
    written: list[tuple[int, int, int]]
    sent: dict[tuple[int, Send], int]
    clock: int

    @property
    def messages(self) -> int:
        """All messages."""
        return sum(self.sent.values())


class _Feed:
    """Rows of one edge on their way: how many have a slot, have arrived in order, and are needed no more."""

    def __init__(self, edge: Edge, source_rows: int) -> None:
        self.edge, self.source_rows = edge, source_rows
        self.there = self.taken = self.released = 0
        self._left: dict[int, int] = {}

    @property
    def has_slot(self) -> bool:
        return not self.edge.slots or self.taken + 1 - self.released <= self.edge.slots

    def leaves(self, row: int, messages: int) -> None:
        self._left[row] = messages
        self._advance()

    def arrives(self, row: int) -> None:
        self._left[row] -= 1
        self._advance()

    def _advance(self) -> None:
        while self._left.get(self.there) == 0:
            del self._left[self.there]
            self.there += 1

    def wants(self, item: int, row: int) -> int:
        return item * self.source_rows + self.edge.need[row]


ARRIVAL, DONE, FREED = range(3)


class _Player:
    def __init__(self, stages: Sequence[Stage], sources: Sequence[Source], sinks: Sequence[Sink], items: int) -> None:
        self.stages, self.sources, self.sinks, self.items = stages, sources, sinks, items
        rows = [s.rows for s in stages]
        self.feeds = [
            [_Feed(e, rows[e.source] if e.source >= 0 else sources[-1 - e.source].rows) for e in stage.edges]
            for stage in stages
        ]
        self.readers: dict[int, list[tuple[int, _Feed]]] = {}
        for index, feeds in enumerate(self.feeds):
            for feed in feeds:
                self.readers.setdefault(feed.edge.source, []).append((index, feed))
        self.next = [0] * len(stages)
        self.free = [0] * len(stages)
        self.ready = [-1] * len(stages)  # since when only a slot is missing
        self.asked = [0] * len(sources)
        self.complete = [0] * len(stages)
        self.gathering: dict[tuple[int, int], int] = {}
        self.times = [FlowTimes() for _ in stages]
        self.passes: list[tuple[int, int, int, int, int]] = []
        self.events: list[tuple[int, int, int, int]] = []  # (cycle, kind, stage, row)
        self.under_way: dict[int, tuple[str, Any, int, int]] = {}
        self.requests: dict[int, tuple[bool, int, int]] = {}  # at the memory: (write, input or item, row)
        self.read: list[tuple[int, int, int]] = []
        self.written: list[tuple[int, int, int]] = []
        self.item_end = [0] * items
        self.sent: dict[tuple[int, Send], int] = {}
        self.messages = 0

    def play(self, memory: Memory, network: Network) -> Flow:
        self.network, self.memory = network, memory
        self.known = getattr(memory, "known_completion", None)
        for which in range(len(self.sources)):
            self._ask(which, 0)
        for index in range(len(self.stages)):
            self._start(index, 0)
        now = 0
        while self.events or self.under_way or self.requests:
            now = self._step(now)
        for index, stage in enumerate(self.stages):
            if self.complete[index] != stage.rows * self.items:
                made = f"{self.complete[index]} of {stage.rows * self.items} rows"
                raise SimulationBug(f"{stage.name} made {made}: too few slots on an edge, or no input")
        passes = np.array(sorted(self.passes, key=lambda p: (p[1], p[0], p[2])), PASS_TIMES_DTYPE)
        clock = max([t.end for t in self.times] + self.item_end)
        return Flow(self.times, self.item_end, passes, self.read, self.written, self.sent, clock)

    def _step(self, now: int) -> int:
        """Handle what comes next; neither the memory nor the network is moved past what the other may ask of it."""
        limit = self.events[0][0] if self.events else FOREVER
        if self.requests and self.under_way:
            limit = min(limit, now + 1)
        if self.requests:
            done = self.memory.advance(limit)
            if done is not None:
                self._answered(*done)
                limit = done[0]
        if self.under_way:
            done = self.network.advance(limit)
            if done is not None:
                self._arrived(self.under_way.pop(done[1]), done[0])
                return done[0]
        if not self.events or self.events[0][0] > limit:
            if limit == FOREVER:
                left = f"{len(self.under_way)} messages and {len(self.requests)} transfers"
                raise SimulationBug(f"{left} of rows will never be complete")
            return limit
        cycle, kind, index, row = heapq.heappop(self.events)
        if kind == ARRIVAL:
            self._send(cycle, -1 - index, row)
        elif kind == DONE:
            self._done(cycle, index, row)
        else:
            self._freed(cycle, index, row)
        return cycle

    # --- memory ---

    def _ask(self, which: int, now: int) -> None:
        """Request rows of an input, as far as all its readers have slots."""
        source, readers = self.sources[which], self.readers.get(-1 - which, [])
        while self.asked[which] < source.rows * self.items and all(feed.has_slot for _, feed in readers):
            row = self.asked[which]
            self.asked[which] += 1
            for _, feed in readers:
                feed.taken += 1
            address = source.address + row % source.rows * source.row_bytes
            self.read.append((which, address, source.row_bytes))
            self._transfer(now, address, source.row_bytes, (False, which, row))

    def _transfer(self, now: int, address: int, n_bytes: int, what: tuple[bool, int, int]) -> None:
        request = len(self.read) + len(self.written)
        self.memory.submit(now, request, address, n_bytes, what[0])
        self.requests[request] = what
        if self.known is not None:
            self._answered(self.known(), request)

    def _answered(self, cycle: int, request: int) -> None:
        write, which, row = self.requests.pop(request)
        if write:
            self.item_end[which] = max(self.item_end[which], cycle)
        else:
            heapq.heappush(self.events, (cycle, ARRIVAL, which, row))

    def _out(self, now: int, number: int, row: int) -> None:
        """A message of a result has arrived at the memory's terminal."""
        self.gathering[-1 - number, row] -= 1
        if self.gathering[-1 - number, row]:
            return
        del self.gathering[-1 - number, row]
        sink = self.sinks[number]
        rows = self.stages[sink.stage].rows
        address = sink.address + row % rows * sink.row_bytes
        self.written.append((sink.stage, address, sink.row_bytes))
        self._transfer(now, address, sink.row_bytes, (True, row // rows, row))

    # --- rows ---

    def _start(self, index: int, now: int) -> None:
        """Start what can be started; a row may start in the future, when the cores are free."""
        stage, times, readers = self.stages[index], self.times[index], self.readers.get(index, [])
        while self.next[index] < stage.rows * self.items:
            number = self.next[index]
            item, row = divmod(number, stage.rows)
            if any(feed.there < feed.wants(item, row) for feed in self.feeds[index]):
                return
            start = max(now, self.free[index])
            if self.ready[index] < 0:
                self.ready[index] = start
            if not all(feed.has_slot for _, feed in readers):
                return
            for _, feed in readers:
                feed.taken += 1
            if number == 0:
                times.start = start
            else:
                times.waited += self.ready[index] - self.free[index]
                times.held += start - self.ready[index]
            streamed, done = start + stage.stream[row], start + stage.finish[row]
            self.free[index], self.ready[index] = streamed, -1
            ahead = max((feed.there - feed.wants(item, row) for feed in self.feeds[index]), default=0)
            times.waiting_rows = max(times.waiting_rows, ahead)
            self.passes.append((index, start, streamed, done, stage.macs))
            heapq.heappush(self.events, (done, DONE, index, number))
            self.next[index] += 1
            if any(f.edge.slots for f in self.feeds[index]):
                heapq.heappush(self.events, (streamed, FREED, index, self.next[index]))

    def _freed(self, now: int, index: int, made: int) -> None:
        """A stage has streamed so many rows: their inputs' slots are free for who makes the next."""
        for feed in self.feeds[index]:
            feed.released = max(feed.released, feed.edge.released(made, feed.source_rows))
        for source in dict.fromkeys(feed.edge.source for feed in self.feeds[index]):
            self._refill(source, now)

    def _refill(self, source: int, now: int) -> None:
        if source >= 0:
            self._start(source, now)
        else:
            self._ask(-1 - source, now)

    def _here(self, feed: _Feed, index: int, now: int) -> None:
        """Rows may have come to a reader."""
        if feed.edge.running and feed.released < feed.there:
            feed.released = feed.there
            self._refill(feed.edge.source, now)
        self._start(index, now)

    def _message(self, now: int, send: Send, what: tuple[str, Any, int, int], maker: int) -> None:
        source, targets, n_bytes = send
        self.network.submit(now, self.messages, source, targets[0] if len(targets) == 1 else targets, n_bytes)
        self.under_way[self.messages] = what
        self.messages += 1
        self.sent[maker, send] = self.sent.get((maker, send), 0) + 1

    def _done(self, now: int, index: int, row: int) -> None:
        sends = _moving(self.stages[index].gather)
        self.gathering[index, row] = len(sends)
        for send in sends:
            self._message(now, send, ("sum", None, index, row), index)
        self._complete(now, index)

    def _complete(self, now: int, index: int) -> None:
        while self.gathering.get((index, self.complete[index])) == 0:
            row = self.complete[index]
            del self.gathering[index, row]
            self.complete[index] += 1
            self.times[index].end = now
            self._send(now, index, row)

    def _send(self, now: int, source: int, row: int) -> None:
        """A complete row to all that read it."""
        for index, feed in self.readers.get(source, ()):
            sends = _moving(feed.edge.sends)
            for send in sends:
                self._message(now, send, ("row", feed, index, row), source)
            feed.leaves(row, len(sends))
            if not sends:
                self._here(feed, index, now)
        for number, sink in enumerate(self.sinks):
            if sink.stage == source:
                sends = _moving(sink.sends)
                self.gathering[-1 - number, row] = max(1, len(sends))
                for send in sends:
                    self._message(now, send, ("out", None, number, row), source)
                if not sends:
                    self._out(now, number, row)

    def _arrived(self, what: tuple[str, Any, int, int], now: int) -> None:
        kind, feed, index, row = what
        if kind == "row":
            feed.arrives(row)
            self._here(feed, index, now)
        elif kind == "sum":
            self.gathering[index, row] -= 1
            self._complete(now, index)
        else:
            self._out(now, index, row)


def _moving(sends: Sequence[Send]) -> list[Send]:
    """Messages that leave their core."""
    found = []
    for source, targets, n_bytes in sends:
        away = tuple(t for t in targets if t != source)
        if away:
            found.append((source, away, n_bytes))
    return found


def play_rows(
    stages: Sequence[Stage],
    sources: Sequence[Source],
    sinks: Sequence[Sink],
    memory: Memory,
    network: Network,
    items: int = 1,
) -> Flow:
    """Run all stages to their end; see the module's text.

    Raises
    ------
    SimulationBug
        If rows or messages are left over.
    """
    return _Player(stages, sources, sinks, items).play(memory, network)


def fewest_slots(stages: Sequence[Stage], sources: Sequence[Source]) -> list[list[int]]:
    """For each edge of each stage, slots with which the flow completes: what it takes when rows are made on demand.

    Where nothing forks that is the height of the reader's window; the short way around a block, as of a residual
    connection, also holds what the long way has begun and not finished.
    """
    made = dict.fromkeys(range(-len(sources), len(stages)), 0)
    most = [[1] * len(stage.edges) for stage in stages]
    readers: dict[int, list[tuple[int, int]]] = {}
    for index, stage in enumerate(stages):
        for number, edge in enumerate(stage.edges):
            readers.setdefault(edge.source, []).append((index, number))

    def rows_of(source: int) -> int:
        return stages[source].rows if source >= 0 else sources[-1 - source].rows

    def make(stage: int, rows: int) -> None:
        """Bring a stage or input to so many rows, and first those before it to what they take."""
        todo = [(stage, rows)]
        while todo:
            at, wanted = todo[-1]
            have = made[at]
            if have >= wanted:
                todo.pop()
                continue
            edges = stages[at].edges if at >= 0 else []
            missing = [(e.source, e.need[have]) for e in edges if made[e.source] < e.need[have]]
            if missing:
                todo.append(missing[0])
                continue
            made[at] += 1
            for reader, number in readers.get(at, ()):
                edge = stages[reader].edges[number]
                held = 1 if edge.running else have + 1 - edge.released(made[reader], rows_of(at))
                most[reader][number] = max(most[reader][number], held)

    last = [index for index in range(len(stages)) if index not in readers] or [len(stages) - 1]
    for turn in range(max(stages[index].rows for index in last)):
        for index in last:
            make(index, min(stages[index].rows, turn + 1))
    for index in reversed(range(-len(sources), len(stages))):  # rows that nobody needs
        make(index, rows_of(index))
    return most
