"""Many cores on one network: who sends what to whom, and when a layer of a core may begin.

Every core is a `CorePlayer`. Its transfers become messages between terminals:

- What a core fetches comes from a *hub*, a terminal where memory is attached; with `dram`, the hub fetches it
  from DRAM first. Cores that ask for the same tile (equal operand and address) in the same round share one
  fetch and one multicast, which starts when all of them have room for it.
- What a core stores goes to a hub, and with `dram` from there to DRAM; or it is a partial sum that goes to the
  next core of a chain, which adds it to its own before it sends on. The last core of the chain has the result.
- Handing something over between a core, a hub's memory and the network takes `bridge_cycles`.
- What is asked of the memory in one cycle, reads before writes, goes in turns: the first transfer of every core in its
  layer, then all second ones, and of equal ones that of the core with the lowest number; a tile that several cores
  share has the turn of the one with the lowest number. Messages of one cycle go in the order of their sources and
  targets, then likewise.
- Cores that share a recurrence (`Route.peers`) send what they make of the state in a time step to each other, in one
  multicast; the next step of a core waits for the parts of all others.
- A job (a layer of one input) begins on a core when all jobs that it needs are complete on all their cores.

Here SimPy's processes do all that, for any run. `manycore` has a kernel that does the same faster where no state is
shared; tests compare the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from accelsim.base.errors import DeadlockError, SimulationBug
from accelsim.sim.clocks import Models, Network, Turn
from accelsim.sim.corework import OFMAP, CoreWork, Job, ManyTimeline, Route, Tile, consistent
from accelsim.sim.passes import FETCHED, PassTable, fold_passes
from accelsim.sim.player import PASS_TIMES_DTYPE, CorePlayer, CountingEnvironment, LayerTimes
from accelsim.sim.port import Memory, Move


def _tiles(table: PassTable) -> list[Tile]:
    """What a core fetches for a table, in its loader's order."""
    rows = fold_passes(table)
    found = []
    for which, operand in enumerate(FETCHED):
        used = np.flatnonzero(rows[f"{operand}_{'in_' if operand == 'psum' else ''}bytes"])
        seen: Counter[int] = Counter()
        for row, address in zip(used.tolist(), rows[f"{operand}_address"][used].tolist(), strict=True):
            found.append((row, which, address, seen[address]))
            seen[address] += 1
    return [(which, address, turn) for _, which, address, turn in sorted(found)]


@dataclass
class _Asked:
    """A core that waits for a tile."""

    core: int
    turn: Turn
    n_bytes: int
    runs: tuple[int, ...]
    event: simpy.Event


class _Exchange:
    """Finds for every transfer of a core its messages; see the module's text."""

    def __init__(self, models: Models, cores: Sequence[CoreWork]) -> None:
        self.models, self.cores = models, cores
        self._members: dict[tuple[int, ...], list[int]] = {}
        self._round: list[Counter[tuple[int, ...]]] = [Counter() for _ in cores]
        self._asked: dict[tuple[int, ...], list[_Asked]] = {}
        self._fetched: Counter[tuple[int, int]] = Counter()
        self._chained: dict[tuple[int, ...], list[int]] = {}
        self._stores: Counter[tuple[int, int]] = Counter()
        self._serial: Counter[tuple[int, int]] = Counter()  # of stores, spilled sums counted
        # (core, table, ordinal) -> sums that have arrived there, and the store that waits for them
        self._arrived: Counter[tuple[int, int, int]] = Counter()
        self._held: dict[tuple[int, int, int], Callable[[], None]] = {}
        self._expected: Counter[tuple[int, int]] = Counter()
        # (core, job, step) -> parts of the state that have arrived there, and who waits for all of them
        self._parts: Counter[tuple[int, int, int]] = Counter()
        self._gathers: dict[tuple[int, int, int], simpy.Event] = {}
        self.dram: list[tuple[int, int, int, int]] = []
        self._table_of = [{job: index for index, job in enumerate(work.jobs)} for work in cores]
        self._class: dict[tuple[int, int], int] = {}
        self._count()

    def _count(self) -> None:
        """Who asks for which tile in which round."""
        by_job: dict[int, list[tuple[int, int, list[Tile]]]] = {}
        for core, work in enumerate(self.cores):
            for index, table in enumerate(work.tables):
                by_job.setdefault(work.jobs[index], []).append((core, index, _tiles(table)))
                chain = work.routes[index][OFMAP].chain if OFMAP in work.routes[index] else -1
                if chain >= 0:
                    self._expected[chain, self._table_of[chain][work.jobs[index]]] += 1
        for job, parts in by_job.items():
            # cores that would wait for each other's turn share only with those that fetch exactly alike
            alike = consistent([tiles for *_, tiles in parts])
            classes: dict[tuple[Tile, ...], int] = {}
            for core, index, tiles in parts:
                group = 0 if alike else classes.setdefault(tuple(tiles), len(classes))
                self._class[core, index] = group
                for which, address, turn in tiles:
                    key = (job, which, address, turn, -1 - core if which == 2 else group)
                    self._members.setdefault(key, []).append(core)

    def fetch(
        self, core: int, table: int, which: int, address: int, n_bytes: int, runs: tuple[int, ...]
    ) -> simpy.Event:
        """A tile for a core; complete when its last byte is there."""
        work = self.cores[core]
        job, route = work.jobs[table], work.routes[table][which]
        if route.peers and which != OFMAP and address >= route.state_at:
            return self._gather((core, job, address - route.state_at), len(route.peers))
        private = -1 - core if which == 2 else self._class[core, table]
        round_key = (job, which, address)
        key = (job, which, address, self._round[core][round_key], private)
        self._round[core][round_key] += 1
        event = self.models.env.event()
        waiting = self._asked.setdefault(key, [])
        turn = self._fetched[core, table]
        waiting.append(_Asked(core, (turn, core, table, turn), n_bytes, runs, event))
        self._fetched[core, table] += 1
        if len(waiting) == len(self._members[key]):
            self._start(key, route, address)
        return event

    def _start(self, key: tuple[int, ...], route: Route, address: int) -> None:
        waiting = sorted(self._asked.pop(key), key=lambda asked: asked.core)
        targets = tuple(dict.fromkeys(self.cores[asked.core].terminal for asked in waiting))
        hub, turn = route.hub(address), waiting[0].turn
        largest = max(waiting, key=lambda asked: asked.n_bytes)
        n_bytes, runs = largest.n_bytes, largest.runs

        def arrived(event: simpy.Event) -> None:
            for asked in waiting:
                asked.event.succeed(event.value)

        def fetched(_: simpy.Event) -> None:
            _then(self.models.send(hub, targets, n_bytes, turn), arrived)

        if route.dram:
            self.dram.append((key[0], key[1], address, n_bytes))
            _then(self.models.read_or_write(address, n_bytes, False, runs, turn), fetched)
        else:
            _then(self.models.send(hub, targets, n_bytes, turn), arrived)

    def store(
        self, core: int, table: int, which: int, address: int, n_bytes: int, runs: tuple[int, ...]
    ) -> simpy.Event:
        """Results or sums of a core; complete when the core may forget them."""
        work = self.cores[core]
        route = work.routes[table][which]
        event = self.models.env.event()
        what = which, address, n_bytes, runs
        ordinal = self._stores[core, table]
        turn = ordinal, core, table, self._serial[core, table]
        self._serial[core, table] += 1
        if which != OFMAP:
            self._to_hub(work, table, what, turn, event)
            return event
        self._stores[core, table] += 1
        slot = (core, table, ordinal)
        if route.peers and (ordinal + 1) % route.steps:
            self._spread(work, (core, work.jobs[table], ordinal), route.peers, n_bytes)

        def go() -> None:
            if route.chain < 0:
                self._to_hub(work, table, what, turn, event)
                return
            other = self.cores[route.chain]
            there = (route.chain, self._table_of[route.chain][work.jobs[table]], ordinal)
            wide = -(-n_bytes * route.scale[0] // route.scale[1])

            def arrived(message: simpy.Event) -> None:
                event.succeed(message.value)
                self._arrived[there] += 1
                self._try(there)

            _then(self.models.send(work.terminal, (other.terminal,), wide, turn), arrived)

        self._held[slot] = go
        self._try(slot)
        return event

    def _spread(self, work: CoreWork, part: tuple[int, int, int], peers: tuple[int, ...], n_bytes: int) -> None:
        """Send a part of the state to all that read it."""
        core, job, step = part

        def arrived(message: simpy.Event) -> None:
            for peer in peers:
                there = (peer, job, step)
                self._parts[there] += 1
                waits = self._gathers.get(there)
                if waits is not None and self._parts[there] == len(peers):
                    self._gathers.pop(there).succeed(message.value)

        targets = tuple(self.cores[peer].terminal for peer in peers)
        _then(self.models.send(work.terminal, targets, n_bytes, (step, core, job, step)), arrived)

    def _gather(self, there: tuple[int, int, int], parts: int) -> simpy.Event:
        """Complete when all parts of a state are there."""
        event = self.models.env.event()
        if self._parts[there] == parts:
            event.succeed(int(self.models.env.now))
        else:
            self._gathers[there] = event
        return event

    def _try(self, slot: tuple[int, int, int]) -> None:
        """Let a store go when the sums that it adds have all come."""
        if slot in self._held and self._arrived[slot] == self._expected[slot[:2]]:
            self._held.pop(slot)()

    def _to_hub(
        self,
        work: CoreWork,
        table: int,
        what: tuple[int, int, int, tuple[int, ...]],
        turn: Turn,
        event: simpy.Event,
    ) -> None:
        which, address, n_bytes, runs = what
        route = work.routes[table][which]
        hub = route.hub(address)

        def arrived(message: simpy.Event) -> None:
            if not route.dram:
                event.succeed(message.value)
                return
            self.dram.append((work.jobs[table], which, address, n_bytes))
            written = self.models.read_or_write(address, n_bytes, True, runs, turn)
            _then(written, lambda done: event.succeed(done.value))

        _then(self.models.send(work.terminal, (hub,), n_bytes, turn), arrived)


def _then(event: simpy.Event, action: Callable[[simpy.Event], Any]) -> None:
    assert event.callbacks is not None
    event.callbacks.append(action)


class _CorePort:
    """A core's port: its transfers go through the exchange."""

    def __init__(self, exchange: _Exchange, core: int) -> None:
        self.exchange, self.core = exchange, core

    def transfer(self, move: Move) -> simpy.Event:
        """See `Port.transfer`."""
        go = self.exchange.store if move.is_write else self.exchange.fetch
        return go(self.core, move.tag[0], move.tag[1], move.address, move.n_bytes, move.runs)


class _Jobs:
    """Which jobs are complete, and who waits for them."""

    def __init__(
        self,
        env: simpy.Environment,
        jobs: Sequence[Job],
        cores: Sequence[CoreWork],
        phase_cycles: int,
        watch: Callable[[int], None] | None,
    ) -> None:
        self.env, self.jobs, self.phase_cycles, self.watch = env, jobs, phase_cycles, watch
        self._left = Counter(job for work in cores for job in work.jobs)
        self._complete = [env.event() for _ in jobs]
        self._in_phase = Counter(job.phase for job in jobs if job.phase >= 0)
        self._phase_begins: dict[int, simpy.Event] = {phase: env.event() for phase in self._in_phase}
        if 0 in self._phase_begins:
            self._phase_begins[0].succeed()
        self._phase_began = 0
        self.open = len(jobs)
        self.end = [0] * len(jobs)
        for index in range(len(jobs)):
            if not self._left[index]:
                raise SimulationBug(f"no core does job {jobs[index].name}")

    def opens(self, job: int) -> simpy.Event | None:
        """The event after which the job may begin, or None."""
        pending = [self._complete[n] for n in self.jobs[job].needs if not self._complete[n].processed]
        phase = self.jobs[job].phase
        if phase >= 0 and not self._phase_begins[phase].processed:
            pending.append(self._phase_begins[phase])
        return simpy.AllOf(self.env, pending) if pending else None

    def leaves(self, job: int) -> None:
        """One core more is done with it."""
        self._left[job] -= 1
        if self._left[job]:
            return
        now = int(self.env.now)
        self.end[job] = now
        self.open -= 1
        self._complete[job].succeed()
        if self.watch is not None:
            self.watch(job)
        phase = self.jobs[job].phase
        if phase < 0:
            return
        self._in_phase[phase] -= 1
        if not self._in_phase[phase] and phase + 1 in self._phase_begins:
            begin = max(now, self._phase_began + self.phase_cycles)
            self._phase_began = begin
            event = self._phase_begins[phase + 1]
            event._ok, event._value = True, None
            self.env.schedule(event, delay=begin - now)


@dataclass
class _CoreGate:
    jobs: _Jobs
    work: CoreWork

    def opens(self, layer: int) -> simpy.Event | None:
        return self.jobs.opens(self.work.jobs[layer])

    def leaves(self, layer: int) -> None:
        self.jobs.leaves(self.work.jobs[layer])


def play_processes(
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
    """See `manycore.play_cores`."""
    env = CountingEnvironment()
    models = Models(env, memory, network, bridge_cycles)
    exchange = _Exchange(models, cores)
    ledger = _Jobs(env, jobs, cores, phase_cycles, watch)
    players = []
    for core, work in enumerate(cores):
        foreign = frozenset(
            (index, which)
            for index, routes in enumerate(work.routes)
            for which, route in routes.items()
            if not route.dram
        )
        gathered = frozenset(index for index, routes in enumerate(work.routes) if any(r.peers for r in routes.values()))
        gate = _CoreGate(ledger, work)
        port = _CorePort(exchange, core)
        players.append(CorePlayer(env, port, work.tables, prefetch, gate, foreign, gathered=gathered))
    env.run_while(lambda: ledger.open)
    waiting = ((core, player.blocked()) for core, player in enumerate(players) if not player.finished)
    stuck = [f"core {core}: {why or 'nothing is left to do'}" for core, why in waiting]
    if stuck:
        raise DeadlockError(f"at cycle {env.now}: {'; '.join(stuck[:4])}")
    records: list[dict[int, LayerTimes]] = [{} for _ in jobs]
    passes = []
    for core, (work, player) in enumerate(zip(cores, players, strict=True)):
        for job, times in zip(work.jobs, player.log.layers, strict=True):
            records[job][core] = times
        passes += [(work.jobs[layer], *rest) for layer, *rest in player.log.passes]
    start = [min(t.start for t in record.values()) for record in records]
    log = np.array(sorted(passes), PASS_TIMES_DTYPE)
    return ManyTimeline(start, ledger.end, records, exchange.dram, log, env.events, max(ledger.end, default=0))
