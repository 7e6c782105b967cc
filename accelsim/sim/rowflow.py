"""Layers that run at the same time on their own cores, handing rows of feature maps to each other.

A *stage* is a layer with resident weights. It makes its output rows in order, item after item. Rules:

- Row b of a stage starts when the rows of its inputs that it needs are there and its cores are free for it, that is,
  have streamed the row before.
- `finish` cycles after its start the row is at its cores' edges. Partial sums that other cores hold then travel to
  where they are added (`gather`); rows become complete in order.
- A complete row leaves at once, in messages, for every stage that reads it. It is there when the last has arrived;
  rows count as there in order. What stays in the same core takes no time.
- Rows of network inputs come from the memory in order, all of them asked for at the start; rows of results go there.
- In one cycle arrivals come before rows that are done; among equals the lower stage, then the lower row.

Buffers are not bounded: the rows that wait are counted (`waiting_rows`), for the caller to judge.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import SimulationBug
from accelsim.sim.manycore import Network
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
    """

    source: int
    need: list[int]
    sends: list[Send]


@dataclass
class Stage:
    """One layer; cycles are those of one row.

    Attributes
    ----------
    name : str
    rows : int
        Output rows of an item.
    stream, finish : int
        From the start of a row to the start of the next, and to its last result.
    macs : int
        Of a row.
    edges : list of Edge
    gather : list of Send
    """

    name: str
    rows: int
    stream: int
    finish: int
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
    """What happened to one stage, all items: first start, last end, cycles waited for inputs, most rows that waited."""

    start: int = 0
    end: int = 0
    waited: int = 0
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
    messages, clock : int
    """

    stages: list[FlowTimes]
    item_end: list[int]
    passes: NDArray[Any]
    read: list[tuple[int, int, int]]
    written: list[tuple[int, int, int]]
    messages: int
    clock: int


class _Feed:
    """Rows of one edge on their way: how many have arrived in order."""

    def __init__(self, edge: Edge, source_rows: int) -> None:
        self.edge, self.source_rows = edge, source_rows
        self.there = 0
        self._left: dict[int, int] = {}

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
        self.complete = [0] * len(stages)
        self.gathering: dict[tuple[int, int], int] = {}
        self.times = [FlowTimes() for _ in stages]
        self.passes: list[tuple[int, int, int, int, int]] = []
        self.events: list[tuple[int, int, int, int]] = []  # (cycle, kind, stage, row); kind 0: arrival, 1: row done
        self.under_way: dict[int, tuple[str, Any, int, int]] = {}
        self.sunk: list[tuple[int, int, int]] = []  # (cycle, sink, row)
        self.messages = self.read_end = 0

    def play(self, memory: Memory, network: Network) -> Flow:
        self.network = network
        read = self._read_inputs(memory)
        for index in range(len(self.stages)):
            self._start(index, 0)
        while self.events or self.under_way:
            limit = self.events[0][0] if self.events else FOREVER
            done = network.advance(limit) if self.under_way else None
            if done is not None:
                cycle, message = done
                self._arrived(self.under_way.pop(message), cycle)
                continue
            if not self.events:
                raise SimulationBug(f"{len(self.under_way)} messages of rows will never arrive")
            cycle, kind, index, row = heapq.heappop(self.events)
            if kind == 0:
                self._send(cycle, -1 - index, row)
            else:
                self._done(cycle, index, row)
        for index, stage in enumerate(self.stages):
            if self.complete[index] != stage.rows * self.items:
                raise SimulationBug(f"{stage.name} made {self.complete[index]} of {stage.rows * self.items} rows")
        return self._flow(memory, read)

    def _read_inputs(self, memory: Memory) -> list[tuple[int, int, int]]:
        asked: list[tuple[int, int, int, int]] = []
        known = getattr(memory, "known_completion", None)
        for item in range(self.items):
            for which, source in enumerate(self.sources):
                for row in range(source.rows):
                    address = source.address + row * source.row_bytes
                    memory.submit(0, len(asked), address, source.row_bytes, False)
                    if known is not None:
                        heapq.heappush(self.events, (known(), 0, which, item * source.rows + row))
                    asked.append((which, address, source.row_bytes, item * source.rows + row))
        left = 0 if known is not None else len(asked)
        while left:
            done = memory.advance(FOREVER)
            if done is None:
                raise SimulationBug("the memory does not deliver the inputs")
            heapq.heappush(self.events, (done[0], 0, asked[done[1]][0], asked[done[1]][3]))
            self.read_end = done[0]
            left -= 1
        return [entry[:3] for entry in asked]

    def _start(self, index: int, now: int) -> None:
        """Start what can be started; a row may start in the future, when the cores are free."""
        stage, times = self.stages[index], self.times[index]
        while self.next[index] < stage.rows * self.items:
            item, row = divmod(self.next[index], stage.rows)
            if any(feed.there < feed.wants(item, row) for feed in self.feeds[index]):
                return
            start = max(now, self.free[index])
            if self.next[index] == 0:
                times.start = start
            else:
                times.waited += start - self.free[index]
            self.free[index] = start + stage.stream
            ahead = max((feed.there - feed.wants(item, row) for feed in self.feeds[index]), default=0)
            times.waiting_rows = max(times.waiting_rows, ahead)
            done = start + stage.finish
            self.passes.append((index, start, start + stage.stream, done, stage.macs))
            heapq.heappush(self.events, (done, 1, index, self.next[index]))
            self.next[index] += 1

    def _message(self, now: int, send: Send, what: tuple[str, Any, int, int]) -> None:
        source, targets, n_bytes = send
        self.network.submit(now, self.messages, source, targets[0] if len(targets) == 1 else targets, n_bytes)
        self.under_way[self.messages] = what
        self.messages += 1

    def _done(self, now: int, index: int, row: int) -> None:
        sends = _moving(self.stages[index].gather)
        self.gathering[index, row] = len(sends)
        for send in sends:
            self._message(now, send, ("sum", None, index, row))
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
                self._message(now, send, ("row", feed, index, row))
            feed.leaves(row, len(sends))
            if not sends:
                self._start(index, now)
        for number, sink in enumerate(self.sinks):
            if sink.stage == source:
                sends = _moving(sink.sends)
                self.gathering[-1 - number, row] = max(1, len(sends))
                for send in sends:
                    self._message(now, send, ("out", None, -1 - number, row))
                if not sends:
                    self._out(now, -1 - number, row)

    def _out(self, now: int, key: int, row: int) -> None:
        self.gathering[key, row] -= 1
        if not self.gathering[key, row]:
            self.sunk.append((now, -1 - key, row))

    def _arrived(self, what: tuple[str, Any, int, int], now: int) -> None:
        kind, feed, index, row = what
        if kind == "row":
            feed.arrives(row)
            self._start(index, now)
        elif kind == "sum":
            self.gathering[index, row] -= 1
            self._complete(now, index)
        else:
            self._out(now, index, row)

    def _flow(self, memory: Memory, read: list[tuple[int, int, int]]) -> Flow:
        """Write the results: the memory is free for them, for all inputs came before."""
        item_end = [0] * self.items
        written: list[tuple[int, int, int]] = []
        clock = max((t.end for t in self.times), default=0)
        known = getattr(memory, "known_completion", None)
        requests: dict[int, int] = {}
        for now, number, row in self.sunk:
            sink = self.sinks[number]
            rows = self.stages[sink.stage].rows
            address = sink.address + row % rows * sink.row_bytes
            request = len(read) + len(written)
            memory.submit(max(now, self.read_end), request, address, sink.row_bytes, True)
            written.append((sink.stage, address, sink.row_bytes))
            requests[request] = row // rows
            if known is not None:
                item_end[row // rows] = max(item_end[row // rows], known())
        while known is None and requests:
            done = memory.advance(FOREVER)
            if done is None:
                raise SimulationBug("the memory does not take the results")
            item = requests.pop(done[1])
            item_end[item] = max(item_end[item], done[0])
        passes = np.array(sorted(self.passes, key=lambda p: (p[1], p[0], p[2])), PASS_TIMES_DTYPE)
        clock = max(clock, *item_end)
        return Flow(self.times, item_end, passes, read, written, self.messages, clock)


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
