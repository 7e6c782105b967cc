"""Plays pass tables: a loader, an engine and a drainer contend for buffers and memory.

Rules, all of them:

- The loader asks for operands in the order of the passes, and within a pass in the order `FETCHED`;
  it does not overtake. A tile needs a free slot of its operand's buffer. A slot is free again when
  the pass before the next fetch of that operand has streamed (its tile is not needed any more).
- A pass starts when the array is free for it, its operands have arrived, its stationary operand has
  been shifted in, and a slot for its results is free. The load of the stationary operand needs
  nothing but that operand and the array's load path.
- Results leave for memory when the last of a pass, and of all passes before it, is at the array's
  edge; their slot is free when they have been written.
- A layer begins when everything of the layer before it is complete; with `prefetch`, filters may be
  fetched before that.

Waiting before a pass is charged to what ended it: the operand (or result slot) that came last;
on a tie to the first in the order filter, ifmap, psum, ofmap.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from accelsim.base.errors import DeadlockError, SimulationBug
from accelsim.sim.passes import (
    ATTRIBUTION,
    FETCHED,
    INTERNAL,
    PASS_DTYPE,
    PATTERN,
    WAITS,
    PassArray,
    PassTable,
    fold_passes,
)
from accelsim.sim.pipe import play_pipe
from accelsim.sim.port import Memory, MemoryPort, Move, Port

TRANSFER_DTYPE = np.dtype([(name, np.int64) for name in ("layer", "row", "operand", "bytes", "issued", "done")])
PASS_TIMES_DTYPE = np.dtype(
    [("layer", np.int64), ("start", np.int64), ("streamed", np.int64), ("done", np.int64), ("macs", np.int64)]
)
OPERANDS = (*FETCHED, "ofmap", "psum_out")


@dataclass
class LayerTimes:
    """When a layer ran and where its cycles went; the values of `cycles_by_cause` sum to end - start.

    (In a pipeline with several items a layer also pauses, or begins an item while the last one drains.)

    `slots` are those of its pass table: an operand without any keeps its place until the layer ends.
    """

    layer: str
    start: int
    end: int
    cycles_by_cause: dict[str, int]
    bytes_by_operand: dict[str, int]
    slots: dict[str, int] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """Length of the layer."""
        return self.end - self.start


@dataclass
class Timeline:
    """What happened when: one row per transfer and one per (folded) pass, and the layers.

    `row` of a transfer counts the passes of its layer: the pass that it is fetched for, or whose results it writes.
    """

    layers: list[LayerTimes]
    transfers: NDArray[Any]
    passes: NDArray[Any]
    events: int
    end: int = 0


@dataclass
class _Log:
    transfers: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    passes: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    layers: list[LayerTimes] = field(default_factory=list)


class Gate(Protocol):
    """Says when a layer may begin, where that depends on other cores."""

    def opens(self, layer: int) -> simpy.Event | None:
        """The event after which a layer of this core may begin; None: it may."""

    def leaves(self, layer: int) -> None:
        """This core has done its part of the layer, results written."""


class CorePlayer:
    """One core: plays a list of tables in order through one port.

    `foreign` names the operands that come over a network without touching DRAM, as (layer, operand): waiting
    for them is charged to the network. So is waiting for the ifmap of a pass with a barrier in the tables `gathered`:
    it is a state that other cores have a part in.
    """

    def __init__(
        self,
        env: simpy.Environment,
        port: Port,
        tables: Sequence[PassTable],
        prefetch: bool,
        gate: Gate | None = None,
        foreign: frozenset[tuple[int, int]] = frozenset(),
        watch: Callable[[int, int], None] | None = None,
        gathered: frozenset[int] = frozenset(),
    ) -> None:
        self.env = env
        self.watch = watch
        self.gathered = gathered
        self.gate = gate
        self.foreign = foreign
        self.port = port
        self.tables = tables
        self._rows = [fold_passes(table) for table in tables]
        self._result_runs = [_runs(rows, "ofmap") for rows in self._rows]
        self.prefetch = prefetch
        self.log = _Log()
        self.finished = False
        # per layer and operand: events of tiles that have been asked for, in order
        self._arrivals: list[dict[str, deque[simpy.Event]]] = [
            {operand: deque() for operand in FETCHED} for _ in tables
        ]
        self._held = {operand: 0 for operand in FETCHED}  # tiles in the buffer or on their way
        self._held_layer = 0
        self._results_held = 0
        self._layer_begun = 0 if gate is None else -1
        self._wakes: dict[str, simpy.Event] = {}
        self._state: dict[str, tuple[object, ...]] = {}
        env.process(self._load())
        env.process(self._compute())

    # --- who waits for whom ---

    def _wait(self, who: str, *why: object) -> simpy.Event:
        self._state[who] = why  # put into words only if it never ends
        event = self._wakes[who] = self.env.event()
        return event

    def _wake(self, who: str) -> None:
        event = self._wakes.pop(who, None)
        if event is not None:
            event.succeed()

    def blocked(self) -> str:
        """Who waits for what, for the message of a deadlock."""
        return "; ".join(
            f"{who} waits for {' '.join(map(str, why))}" for who, why in self._state.items() if who in self._wakes
        )

    # --- loader ---

    def _load(self) -> Generator[simpy.Event, Any, None]:
        for index, table in enumerate(self.tables):
            rows = self._rows[index]
            wanted = [rows[f"{operand}_{'in_' if operand == 'psum' else ''}bytes"].tolist() for operand in FETCHED]
            address = [rows[f"{operand}_address"].tolist() for operand in FETCHED]
            runs = _runs(rows, "ifmap")
            slots = [table.slots.get(operand, 0) for operand in FETCHED]
            if not (self.prefetch and table.prefetch):
                while self._layer_begun < index:
                    yield self._wait("loader", "layer", table.layer, "to begin")
            for row in range(len(rows)):
                for which, operand in enumerate(FETCHED):
                    n_bytes = wanted[which][row]
                    if not n_bytes:
                        continue
                    if operand != "filter":
                        while self._layer_begun < index:
                            yield self._wait("loader", "layer", table.layer, "to begin")
                    while slots[which] and self._held[operand] >= slots[which]:
                        yield self._wait("loader", "room for", operand, "of pass", row, "of", table.layer)
                    self._held[operand] += 1
                    pattern = runs[row] if which == 1 else ()
                    event = self.port.transfer(
                        Move(address[which][row], n_bytes, False, 0, pattern, (index, which))
                    )
                    self._record(event, index, row, which, n_bytes)
                    self._arrivals[index][operand].append(event)
                    self._wake("engine")

    def _record(self, event: simpy.Event, layer: int, row: int, operand: int, n_bytes: int) -> None:
        issued = int(self.env.now)
        log = self.log.transfers

        def done(finished: simpy.Event) -> None:
            log.append((layer, row, operand, n_bytes, issued, int(self.env.now)))

        assert event.callbacks is not None
        event.callbacks.append(done)

    # --- engine and drainer ---

    def _compute(self) -> Generator[simpy.Event, Any, None]:
        for index, table in enumerate(self.tables):
            if self.gate is not None:
                event = self.gate.opens(index)
                if event is not None:
                    self._state["engine"] = ("other cores, to begin", table.layer)
                    yield event
            self._layer_begun = index
            self._wake("loader")
            yield from self._play(index, table)
            if self.watch is not None:
                self.watch(index, int(self.env.now))
            if self.gate is not None:
                self.gate.leaves(index)
        self.finished = True

    def _play(self, index: int, table: PassTable) -> Generator[simpy.Event, Any, None]:
        env, begin = self.env, int(self.env.now)
        rows = self._rows[index]
        col = {name: rows[name].tolist() for name in PASS_DTYPE.names or ()}
        fetched = [col["filter_bytes"], col["ifmap_bytes"], col["psum_in_bytes"]]
        written = (rows["ofmap_bytes"] + rows["psum_out_bytes"]).tolist()
        renew = [_next_fetch(f) for f in fetched]
        result_slots = table.slots.get("ofmap", 0)
        stationary = FETCHED.index(table.stationary) if table.stationary else -1
        waits = dict.fromkeys(WAITS, 0)
        arrivals = self._arrivals[index]
        start = load_free = stream_free = last_done = begin
        for row in range(len(rows)):
            load = col["load_cycles"][row]
            loadable, streamable = load_free, stream_free
            if col["barrier"][row]:
                streamable = max(streamable, last_done)
                if stationary == 1:
                    loadable = max(loadable, last_done)
            ideal = max(loadable + load, streamable)
            start, cause = ideal, ""
            for which, operand in enumerate(FETCHED):
                if not fetched[which][row]:
                    continue
                while not arrivals[operand]:
                    yield self._wait("engine", operand, "of pass", row, "of", table.layer, "to be asked for")
                event = arrivals[operand].popleft()
                if not event.processed:
                    self._state["engine"] = (operand, "of pass", row, "of", table.layer)
                    yield event
                ready = int(event.value or 0) + (load if which == stationary else 0)
                if ready > start:
                    state = which == 1 and index in self.gathered and col["barrier"][row]
                    start, cause = ready, "noc" if state or (index, which) in self.foreign else operand
            if written[row]:
                waited = False
                while result_slots and self._results_held >= result_slots:
                    waited = True
                    yield self._wait("engine", "a slot for the results of pass", row, "of", table.layer)
                if waited and env.now > start:
                    start, cause = int(env.now), "ofmap"
                self._results_held += 1
            if cause:
                waits[cause] += start - ideal
            load_free = start + col["load_free_cycles"][row]
            stream_free = start + col["stream_cycles"][row]
            done = last_done = max(last_done, start + col["finish_cycles"][row])
            self.log.passes.append((index, start, stream_free, done, col["macs"][row]))
            now = int(env.now)
            if written[row]:
                event = env.timeout(done - now)
                assert event.callbacks is not None
                event.callbacks.append(self._drainer(index, row))
            if stream_free > now:
                yield env.timeout(stream_free - now)
            for which, operand in enumerate(FETCHED):
                if renew[which][row]:
                    self._held[operand] -= 1
                    self._wake("loader")
        if last_done > env.now:
            yield env.timeout(last_done - int(env.now))
        while self._results_held:
            yield self._wait("engine", "the results of", table.layer, "to be written")
        self.log.layers.append(_layer_times(table, rows, (begin, last_done, int(env.now)), waits))

    def _drainer(self, index: int, row: int) -> Callable[[simpy.Event], None]:
        return lambda _: self._drain(index, row)

    def _drain(self, index: int, row: int) -> None:
        """Write the results of one pass; its slot is free when all of them have arrived."""
        events = []
        values = self._rows[index][row]
        for which, name in ((3, "ofmap"), (4, "psum_out")):
            n_bytes = int(values[f"{name}_bytes"])
            if n_bytes:
                pattern = self._result_runs[index][row] if which == 3 else ()
                address = int(values[f"{name.removesuffix('_out')}_address"])
                event = self.port.transfer(Move(address, n_bytes, True, 0, pattern, (index, which)))
                self._record(event, index, row, which, n_bytes)
                events.append(event)
        left = len(events)

        def written(_: simpy.Event) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._results_held -= 1
                self._wake("engine")

        for event in events:
            assert event.callbacks is not None
            event.callbacks.append(written)


def _layer_times(
    table: PassTable, rows: PassArray, instants: tuple[int, int, int], waits: dict[str, int]
) -> LayerTimes:
    """Where a layer's cycles went; `instants`: begin, last result at the edge, end; `waits` by what was waited for."""
    begin, last_done, end = instants
    internal = {cause: int(rows[f"{cause}_cycles"].sum()) for cause in INTERNAL}
    busy = int(rows["busy_cycles"].sum())
    found = dict.fromkeys(ATTRIBUTION, 0) | waits | internal | {"compute": busy}
    found["fill_drain"] = last_done - begin - sum(waits.values()) - busy - sum(internal.values())
    found["ofmap"] += end - last_done
    if sum(found.values()) != end - begin or min(found.values()) < 0:
        raise SimulationBug(f"{table.layer}: attributed cycles {found} do not sum to {end - begin}")
    moved = {
        name: int(rows[f"{name}_bytes"].sum()) for name in ("filter", "ifmap", "psum_in", "ofmap", "psum_out")
    }
    return LayerTimes(table.layer, begin, end, found, moved, dict(table.slots))


def _runs(rows: Any, operand: str) -> list[tuple[int, ...]]:
    """For each pass how the operand's bytes lie; () for a single run."""
    columns = [rows[f"{operand}_{part}"].tolist() for part in PATTERN]
    return [runs if runs[2] else () for runs in zip(*columns, strict=True)]


def _next_fetch(n_bytes: list[int]) -> list[bool]:
    """For each pass: does its tile end with it (the next pass fetches another, or the layer ends)?"""
    last = len(n_bytes) - 1
    held, ends = False, []
    for row, size in enumerate(n_bytes):
        held = held or size > 0
        ends.append(held and (row == last or n_bytes[row + 1] > 0))
    return ends


def play(
    tables: Sequence[PassTable],
    memory: Memory,
    *,
    prefetch: bool = False,
    watch: Callable[[int, int], None] | None = None,
) -> Timeline:
    """Run the tables one after another on one core.

    Parameters
    ----------
    tables : sequence of PassTable
    memory : Memory
        A fresh model; its own statistics hold what it did afterwards.
    prefetch : bool
        Fetch filters of the next layer while this one still computes.
    watch : callable, optional
        Called with (layer, cycle) when a layer has ended.

    Returns
    -------
    Timeline

    Raises
    ------
    DeadlockError
        If nothing can happen any more before all layers are done; says who waits for what.
    """
    for table in tables:
        table.check()
    if watch is None and getattr(memory, "known_completion", None) is not None:
        timeline = _play_through_pipe(tables, memory, prefetch)
        if timeline is not None:
            return timeline
    env = CountingEnvironment()
    port = MemoryPort(env, memory)
    core = CorePlayer(env, port, tables, prefetch, watch=watch)
    env.run_while(lambda: not core.finished)
    if not core.finished:
        raise DeadlockError(f"at cycle {env.now}: {core.blocked() or 'nothing is left to do'}")
    return Timeline(
        core.log.layers,
        np.array(core.log.transfers, TRANSFER_DTYPE),
        np.array(core.log.passes, PASS_TIMES_DTYPE),
        env.events,
        int(env.now),
    )


def _play_through_pipe(tables: Sequence[PassTable], memory: Memory, prefetch: bool) -> Timeline | None:
    """`play` by a kernel; None if this memory is no pipe, or the kernel cannot do it."""
    describe = getattr(memory, "pipe", None)
    if describe is None or not tables:
        return None
    folded = [fold_passes(table) for table in tables]
    played = play_pipe(tables, folded, describe(), prefetch)
    if played is None:
        return None
    layers = []
    for table, rows, (begin, end, last_done, *stalls) in zip(tables, folded, played.layers.tolist(), strict=True):
        waits = dict.fromkeys(WAITS, 0) | dict(zip((*FETCHED, "ofmap"), stalls, strict=False))
        layers.append(_layer_times(table, rows, (begin, last_done, end), waits))
    transfers = played.transfers.view(TRANSFER_DTYPE).reshape(-1)
    passes = played.passes.view(PASS_TIMES_DTYPE).reshape(-1)
    requested = int(transfers["bytes"].sum())
    last = int(transfers["done"].max(initial=0))
    memory.account(requested, played.moved, played.bursts, last)  # type: ignore[attr-defined]
    return Timeline(layers, transfers, passes, len(transfers) + len(passes) + len(layers), layers[-1].end)


class CountingEnvironment(simpy.Environment):
    """An environment that counts its events."""

    events = 0

    def run_while(self, condition: Any) -> None:
        """Step until the condition fails or no event is left."""
        step = self.step
        collecting = gc.isenabled()
        gc.disable()  # events die by reference count; looking for cycles among them only costs time
        try:
            while condition():
                step()
                self.events += 1
        except simpy.core.EmptySchedule:
            pass
        finally:
            if collecting:
                gc.enable()
