"""Many cores on one network, played to their end; the rules are those of `exchange`.

Cores that share no state are played by a kernel (`core_kernel`), cycle after cycle in which something happens; between
its calls the clocks of memory and network are moved on, by the rules of `clocks`. Cores that share one are SimPy
processes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import DeadlockError, SimulationBug
from accelsim.sim import core_kernel as k
from accelsim.sim.clocks import Network
from accelsim.sim.core_arrays import Arrays, build
from accelsim.sim.corework import CoreWork, Job, ManyTimeline
from accelsim.sim.exchange import play_processes
from accelsim.sim.passes import ATTRIBUTION, FETCHED, INTERNAL, WAITS
from accelsim.sim.player import PASS_TIMES_DTYPE, LayerTimes
from accelsim.sim.port import FOREVER, Memory

MEMORY, NETWORK = 0, 1


def play_cores(
    cores: Sequence[CoreWork],
    jobs: Sequence[Job],
    memory: Memory,
    network: Network,
    *,
    bridge_cycles: int = 1,
    prefetch: bool = False,
    phase_cycles: int = 0,
    watch: Callable[[int], None] | None = None,
) -> ManyTimeline:
    """Run all cores to their end.

    Parameters
    ----------
    cores : sequence of CoreWork
    jobs : sequence of Job
    memory, network
        Fresh models; their own statistics hold what they did afterwards.
    bridge_cycles : int
        At least 1.
    prefetch : bool
        Filters of a core's next table may be fetched early where its table allows it.
    phase_cycles : int
        Least length of a phase, where jobs have phases. Those are numbered from 0 on without a gap.
    watch : callable, optional
        Called with every job as it completes.

    Raises
    ------
    DeadlockError
        If nothing can happen any more before all cores are done; says who waits for what.
    """
    if bridge_cycles < 1:
        raise SimulationBug(f"bridge_cycles must be >= 1, got {bridge_cycles}")
    tables = {id(table): table for work in cores for table in work.tables}
    for table in tables.values():
        table.check()
    done = {job for work in cores for job in work.jobs}
    for index, job in enumerate(jobs):
        if index not in done:
            raise SimulationBug(f"no core does job {job.name}")
    play = play_processes if _shares_states(cores) else _play_kernel
    return play(
        cores, jobs, memory, network,
        bridge_cycles=bridge_cycles, prefetch=prefetch, phase_cycles=phase_cycles, watch=watch,
    )  # fmt: skip


def _shares_states(cores: Sequence[CoreWork]) -> bool:
    return any(route.peers for work in cores for routes in work.routes for route in routes.values())


def _play_kernel(
    cores: Sequence[CoreWork],
    jobs: Sequence[Job],
    memory: Memory,
    network: Network,
    *,
    bridge_cycles: int,
    prefetch: bool,
    phase_cycles: int,
    watch: Callable[[int], None] | None,
) -> ManyTimeline:
    arrays = build(cores, jobs, prefetch, phase_cycles)
    run = _Run(arrays, memory, network, bridge_cycles, watch)
    run.to_the_end()
    if arrays.io[k.IO_OPEN]:
        raise DeadlockError(f"at cycle {run.now}: {_stuck(arrays, cores)}")
    return _timeline(arrays, cores, jobs, run.events)


class _Run:
    """Time, and what is to happen at which cycle."""

    def __init__(
        self, arrays: Arrays, memory: Memory, network: Network, bridge: int, watch: Callable[[int], None] | None
    ) -> None:
        self.arrays, self.bridge, self.watch = arrays, bridge, watch
        self.models: tuple[Any, Any] = (memory, network)
        self._known = getattr(memory, "known_completion", None)
        self._kernel = k.step_cores.compiled()
        self._arguments = arrays.kernel()
        self.now = self.events = 0
        self._due: deque[tuple[int, list[int]]] = deque()  # cycle, what is handed to the models then
        self._done: list[tuple[int, int]] = []  # a heap: cycle of completion, what
        self._waiting: tuple[dict[int, int], dict[int, int]] = ({}, {})  # request -> what
        self._next = [0, 0]
        self._timer = 0  # when a core does something of itself; FOREVER: never
        self._advances = FOREVER

    def to_the_end(self) -> None:
        """Go from one cycle in which something happens to the next, until all jobs are complete or nothing can be."""
        io, due, done = self.arrays.io, self._due, self._done
        while io.item(k.IO_OPEN):
            now = min(self._timer, self._advances)
            if due and due[0][0] < now:
                now = due[0][0]
            if done and done[0][0] < now:
                now = done[0][0]
            if now == FOREVER:
                return
            self.now = now
            if self._timer == now or (done and done[0][0] == now):
                self._step(now)
            if due and due[0][0] == now:
                self._submit(now, due.popleft()[1])
                if done and done[0][0] == now:  # a memory that takes no time: the cores go on before clocks do
                    continue
            if self._advances == now and io.item(k.IO_OPEN):
                self._advance(now)

    def _step(self, now: int) -> None:
        """The cores' part of a cycle."""
        io, done = self.arrays.io, self._done
        fed = []
        while done and done[0][0] == now:
            fed.append(heapq.heappop(done)[1])
        at = io.item(k.IO_AT_FED)
        io[at : at + len(fed)] = fed
        io[k.IO_NOW], io[k.IO_FED] = now, len(fed)
        self._kernel(*self._arguments)
        then, asked, complete = io.item(k.IO_NEXT), io.item(k.IO_ASKED), io.item(k.IO_COMPLETE)
        self._timer = FOREVER if then < 0 else then
        self.events += len(fed) + 1
        if asked:
            at = io.item(k.IO_AT_ASKED)
            moves = io[at : at + asked].tolist()
            if self._due and self._due[-1][0] == now + self.bridge:
                self._due[-1][1].extend(moves)
            else:
                self._due.append((now + self.bridge, moves))
        if complete and self.watch is not None:
            at = io.item(k.IO_AT_COMPLETE)
            for job in io[at : at + complete].tolist():
                self.watch(job)

    def _submit(self, now: int, asked: list[int]) -> None:
        """What was asked for `bridge` cycles ago is handed over, in turn."""
        arrays = self.arrays
        memory, network = self.models
        if len(asked) > 1:
            turns = arrays.turns
            asked.sort(key=lambda what: (what & 1, turns[what & 1][what >> 1]))
        for what in asked:
            kind, move = what & 1, what >> 1
            request = self._next[kind]
            self._next[kind] += 1
            if kind == NETWORK:
                message = arrays.messages[move]
                assert message is not None
                network.submit(now, request, *message)
            else:
                address, n_bytes, is_write = arrays.transfers[move]
                if self._known is not None:
                    memory.submit(now, request, address, n_bytes, is_write)
                    heapq.heappush(self._done, (self._known(), what))
                    continue
                runs = arrays.runs[move].tolist()
                if runs[2]:
                    memory.submit_runs(now, request, (address, *runs), is_write)
                else:
                    memory.submit(now, request, address, n_bytes, is_write)
            self._waiting[kind][request] = what
        if self._advances == FOREVER and any(self._waiting):
            self._advances = now

    def _advance(self, now: int) -> None:
        """Move the clocks on, by the rule of `Models`."""
        waiting = self._waiting
        busy = [kind for kind in (MEMORY, NETWORK) if waiting[kind]]
        limit = self._peek()
        if len(busy) == 2:
            limit = min(limit, now + self.bridge)
        for kind in busy:
            under_way, advance = waiting[kind], self.models[kind].advance
            own = limit
            done = advance(own)
            while done is not None:
                cycle, request = done
                heapq.heappush(self._done, (cycle, under_way.pop(request)))
                # what this completion causes may reach the model `bridge` later
                own = min(own, cycle + self.bridge)
                done = advance(own)
            limit = own
        if limit == FOREVER:
            raise SimulationBug(f"{sum(map(len, waiting))} transfers or messages will never be complete")
        self._advances = max(now, min(limit, self._peek())) if any(waiting) else FOREVER

    def _peek(self) -> int:
        """The next cycle in which something else happens."""
        then = self._timer
        if self._due and self._due[0][0] < then:
            then = self._due[0][0]
        if self._done and self._done[0][0] < then:
            then = self._done[0][0]
        return then


def _timeline(arrays: Arrays, cores: Sequence[CoreWork], jobs: Sequence[Job], events: int) -> ManyTimeline:
    records: list[dict[int, LayerTimes]] = [{} for _ in jobs]
    times = iter(_layer_times(arrays, cores))
    for core, work in enumerate(cores):
        for job in work.jobs:
            records[job][core] = next(times)
    start = [min(t.start for t in record.values()) for record in records]
    ends = arrays.jobs[:, k.J_END].tolist()
    rows = arrays.rows
    passes = np.zeros(len(rows), PASS_TIMES_DTYPE)
    passes["layer"] = arrays.tables[arrays.table_of, k.L_JOB]
    for name, column in (("start", k.R_START), ("streamed", k.R_STREAMED), ("done", k.R_DONE)):
        passes[name] = rows[:, column]
    passes["macs"] = arrays.folded["macs"]
    order = np.lexsort([passes[name] for name in reversed(PASS_TIMES_DTYPE.names or ())])
    return ManyTimeline(start, ends, records, arrays.dram, passes[order], events + len(rows), max(ends, default=0))


def _layer_times(arrays: Arrays, cores: Sequence[CoreWork]) -> list[LayerTimes]:
    """Where the cycles of every table went."""
    tables, first = arrays.tables, arrays.tables[:, k.L_FIRST]
    moved = {
        name: np.add.reduceat(arrays.folded[f"{name}_bytes"], first)
        for name in ("filter", "ifmap", "psum_in", "ofmap", "psum_out")
    }
    causes: dict[str, NDArray[np.int64]] = {c: np.zeros(len(tables), np.int64) for c in ATTRIBUTION}
    for n, cause in enumerate(WAITS):
        causes[cause] = tables[:, k.L_WAITS + n].copy()
    for cause in INTERNAL:
        causes[cause] = np.add.reduceat(arrays.folded[f"{cause}_cycles"], first)
    causes["compute"] = np.add.reduceat(arrays.folded["busy_cycles"], first)
    begin, done, end = tables[:, k.L_BEGIN], tables[:, k.L_DONE], tables[:, k.L_END]
    causes["fill_drain"] = done - begin - sum(causes.values())
    causes["ofmap"] += end - done
    values = np.stack(list(causes.values()), axis=1)
    names = [table.layer for work in cores for table in work.tables]
    wrong = np.flatnonzero((values.sum(axis=1) != end - begin) | (values.min(axis=1) < 0))
    if len(wrong):
        n = int(wrong[0])
        found = dict(zip(causes, values[n].tolist(), strict=True))
        raise SimulationBug(f"{names[n]}: attributed cycles {found} do not sum to {int((end - begin)[n])}")
    slots = [table.slots for work in cores for table in work.tables]
    bytes_of = np.stack(list(moved.values()), axis=1).tolist()
    return [
        LayerTimes(name, a, b, dict(zip(causes, cycles)), dict(zip(moved, n_bytes)), dict(own))
        for name, a, b, cycles, n_bytes, own in zip(
            names, begin.tolist(), end.tolist(), values.tolist(), bytes_of, slots, strict=True
        )
    ]


def _stuck(arrays: Arrays, cores: Sequence[CoreWork]) -> str:
    """Who waits for what, for the message of a deadlock."""
    found = []
    table_of, tables = arrays.table_of.tolist(), [table for work in cores for table in work.tables]
    for number, core in enumerate(arrays.cores.tolist()):
        if core[k.C_PHASE] == k.END:
            continue
        name = tables[core[k.C_TABLE]].layer
        own = f"of pass {core[k.C_ROW] - int(arrays.tables[core[k.C_TABLE], k.L_FIRST])} of {name}"
        why = {
            k.BEGIN: f"other cores, to begin {name}",
            k.OPERANDS: f"{FETCHED[min(core[k.C_OPERAND], 2)]} {own}",
            k.RESULTS: f"a slot for the results {own}",
        }.get(core[k.C_PHASE], f"the results of {name} to be written")
        text = f"core {number}: engine waits for {why}"
        if core[k.C_LOADING] <= core[k.C_LAST] and core[k.C_BEGUN] >= core[k.C_LOADING]:
            table = tables[table_of[core[k.C_LOAD_ROW]]].layer
            row = core[k.C_LOAD_ROW] - int(arrays.tables[core[k.C_LOADING], k.L_FIRST])
            text += f"; loader waits for room for {FETCHED[core[k.C_LOAD_OPERAND]]} of pass {row} of {table}"
        found.append(text)
    return "; ".join(found[:4])


def busiest(record: dict[int, LayerTimes]) -> int:
    """The core that finished last; of several, the first."""
    return min(record, key=lambda core: (-record[core].end, core))


def utilisation(record: dict[int, LayerTimes], cores: int, cycles: int) -> NDArray[np.float64]:
    """Share of the job's cycles in which each core computed, shape (cores,)."""
    out = np.zeros(cores)
    for core, times in record.items():
        out[core] = times.cycles_by_cause["compute"] / max(1, cycles)
    return out
