"""Many cores on one network: who waits for whom, what is sent once, and where sums go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import DeadlockError
from accelsim.memory.bandwidth import BandwidthDram, IdealMemory
from accelsim.sim.corework import OFMAP, CoreWork, Job, Route
from accelsim.sim.manycore import busiest, play_cores
from accelsim.sim.passes import ATTRIBUTION, PassTable, empty_passes

BRIDGE = 2


@dataclass
class Wire:
    """A network in which every message takes `latency` cycles, whatever else there is; keeps what it was told."""

    latency: int = 5
    log: list[tuple[int, int, Any, int]] = field(default_factory=list)
    flying: list[tuple[int, int]] = field(default_factory=list)

    def submit(self, now: int, message_id: int, src: Any, dst: Any, n_bytes: int, kind: Any = None) -> None:
        self.log.append((now, src, dst, n_bytes))
        self.flying.append((now + self.latency, message_id))

    def advance(self, limit: int) -> tuple[int, int] | None:
        self.flying.sort()
        return self.flying.pop(0) if self.flying and self.flying[0][0] <= limit else None


def table(
    name: str, cycles: list[int], filter_at: int = 0, ifmap_at: int = 0, ofmap_at: int = 0, macs: int = 1
) -> PassTable:
    """Passes that fetch 8 bytes of filter and 4 of ifmap and write 2 bytes each."""
    rows = empty_passes(len(cycles))
    step = np.arange(len(cycles))
    rows["filter_bytes"], rows["filter_address"] = 8, filter_at + 8 * step
    rows["ifmap_bytes"], rows["ifmap_address"] = 4, ifmap_at + 4 * step
    rows["ofmap_bytes"], rows["ofmap_address"] = 2, ofmap_at + 2 * step
    for column in ("stream_cycles", "finish_cycles", "busy_cycles"):
        rows[column] = cycles
    rows["macs"] = macs
    slots = {"filter": 2, "ifmap": 2, "psum": 2, "ofmap": 2}
    return PassTable(name, rows, "", slots, macs=macs * len(cycles), peak_macs_per_cycle=1)


def routes(dram: bool = False, chain: int = -1, hub: int = 9) -> dict[int, Route]:
    plain = Route((hub,), dram)
    return {0: plain, 1: plain, 2: plain, OFMAP: Route((hub,), dram, chain=chain, scale=(4, 1)), OFMAP + 1: plain}


def work(terminal: int, job: int, *tables: PassTable, **how: Any) -> CoreWork:
    return CoreWork(terminal, list(tables), [job + i for i in range(len(tables))], [routes(**how) for _ in tables])


def test_places_of_a_feature_map() -> None:
    """Interleaved over all hubs; or an equal part each, in every time step anew."""
    assert [Route((5, 6), False, 10).hub(at) for at in (0, 9, 10, 19, 20)] == [5, 5, 6, 6, 5]
    spread = Route((5, 6, 7), False, 4, base=100, period=10)
    assert [spread.hub(100 + at) for at in (0, 3, 4, 7, 8, 9, 10, 13, 14)] == [5, 5, 6, 6, 7, 7, 5, 5, 6]


def test_one_core_by_hand() -> None:
    """Asked at 0, handed over at 2, there at 7; computes until 17, sent at 19, at the hub at 24."""
    wire = Wire()
    done = play_cores([work(0, 0, table("a", [10]))], [Job("a")], IdealMemory(), wire, bridge_cycles=BRIDGE)
    assert done.clock == 24
    assert sorted(wire.log) == [(2, 9, 0, 4), (2, 9, 0, 8), (19, 0, 9, 2)]
    causes = done.cores[0][0].cycles_by_cause
    assert causes["compute"] == 10 and causes["noc"] == 7 and causes["ofmap"] == 7
    assert sum(causes.values()) == 24


def test_dram_comes_before_the_network() -> None:
    """8 + 4 bytes at one a cycle, 3 cycles latency: the ifmap leaves the DRAM at 2 + 12 + 3, and arrives at 24."""
    done = play_cores(
        [work(0, 0, table("a", [10]), dram=True)], [Job("a")], BandwidthDram(1, 1, 3), Wire(), bridge_cycles=BRIDGE
    )
    times = done.cores[0][0]
    assert times.cycles_by_cause["ifmap"] + times.cycles_by_cause["filter"] == 24
    # results: 10 cycles later, 2 + 5 over the network, 2 + 2 + 3 into the DRAM
    assert done.clock == 24 + 10 + 7 + 7
    assert sorted(done.dram) == [(0, 0, 0, 8), (0, 1, 0, 4), (0, OFMAP, 0, 2)]


def test_cores_that_want_the_same_tile_share_one_fetch() -> None:
    """Two cores with different filters and the same ifmap: one multicast, when both have asked."""
    wire = Wire()
    cores = [work(c, 0, table("a", [4 + 6 * c], filter_at=100 * c, ofmap_at=50 * c)) for c in (0, 1)]
    play_cores(cores, [Job("a")], IdealMemory(), wire, bridge_cycles=BRIDGE)
    sent = [(dst, n) for _, src, dst, n in wire.log if src == 9]
    assert sorted(sent, key=str) == [((0, 1), 4), (0, 8), (1, 8)]


@given(
    st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=3), min_size=2, max_size=4),
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=40, deadline=None, derandomize=True)
def test_steps_of_a_shared_state_wait_for_all_parts(
    steps: list[list[int]], latency: int, bridge: int, directions: int
) -> None:
    """Each core's own time for each step; a step begins when its core is free and all parts of the state are there."""
    count, wire, cores = 3 * directions, Wire(latency), []
    for core, cycles in enumerate(steps):
        one = table("rnn", [5, *cycles * directions], filter_at=10_000 * core, ofmap_at=1_000 * core)
        one.slots["ofmap"] = count  # results never wait for room
        rows = one.rows
        rows["ifmap_bytes"][1:], rows["filter_bytes"][1:], rows["ofmap_bytes"][0] = 0, 0, 0
        rows["barrier"][1:] = 1
        for step in range(count):
            if step % 3:
                rows["ifmap_bytes"][1 + step], rows["ifmap_address"][1 + step] = 7, 2**60 + step - 1
        own = routes()
        peers = tuple(c for c in range(len(steps)) if c != core)
        for operand in (1, OFMAP):
            own[operand] = Route((9,), False, peers=peers, state_at=2**60, steps=3)
        cores.append(CoreWork(core, [one], [0], [own]))
    done = play_cores(cores, [Job("rnn")], IdealMemory(), wire, bridge_cycles=bridge)

    way = bridge + latency
    ends = [way + 5] * len(steps)  # the first operands have come, and the input products are done
    starts: list[list[int]] = [[] for _ in steps]
    for step in range(count):
        gathered = [max(ends[p] for p in range(len(steps)) if p != core) + way for core in range(len(steps))]
        for core, cycles in enumerate(steps):
            starts[core].append(max(ends[core], gathered[core] if step % 3 else 0))
        ends = [starts[core][-1] + cycles[step % 3] for core, cycles in enumerate(steps)]
    found = sorted(done.passes["start"].tolist())
    assert found == sorted([way] * len(steps) + [s for row in starts for s in row])
    assert done.clock == max(ends) + way
    states = [(src, dst) for _, src, dst, _ in wire.log if src != 9 and dst != 9]
    assert len(states) == len(steps) * 2 * directions  # no part of the last state of a direction is sent
    for core, times in done.cores[0].items():
        waited = sum(max(0, s - e) for s, e in zip(starts[core][1:], _ends(starts[core], steps[core]), strict=False))
        assert times.cycles_by_cause["noc"] == way + waited


def _ends(starts: list[int], cycles: list[int]) -> list[int]:
    return [start + cycles[step % 3] for step, start in enumerate(starts)]


def test_a_multicast_waits_for_room_in_the_slowest_core() -> None:
    wire = Wire(latency=1)
    slow, fast = [50] * 4, [1] * 4
    cores = [work(c, 0, table("a", cycles, filter_at=100 * c)) for c, cycles in enumerate((slow, fast))]
    done = play_cores(cores, [Job("a")], IdealMemory(), wire, bridge_cycles=1)
    times = [now for now, src, dst, n in wire.log if n == 4]
    # two tiles have room at once; the third is asked for when the slow core has streamed its first
    assert times[:2] == [1, 1] and times[2] >= 50
    assert done.cores[0][1].cycles_by_cause["noc"] > 40


def test_partial_sums_are_added_along_the_chain() -> None:
    """Core 0 sends sums (4 times as wide) to core 1, which sends its results when these have come."""
    wire = Wire()
    cores = [work(0, 0, table("a", [30]), chain=1), work(1, 0, table("a", [10], filter_at=64))]
    done = play_cores(cores, [Job("a")], IdealMemory(), wire, bridge_cycles=BRIDGE)
    start = 7
    assert (start + 30 + BRIDGE, 0, 1, 8) in wire.log
    arrived = start + 30 + BRIDGE + 5
    assert (arrived + BRIDGE, 1, 9, 2) in wire.log
    assert done.clock == arrived + BRIDGE + 5
    assert busiest(done.cores[0]) == 1


def test_a_layer_begins_when_the_one_before_is_complete_on_all_cores() -> None:
    cores = [work(c, 0, table("a", [5 + 20 * c]), table("b", [5])) for c in (0, 1)]
    done = play_cores(cores, [Job("a"), Job("b", (0,))], IdealMemory(), Wire(), bridge_cycles=BRIDGE)
    assert done.start[1] == done.end[0] == 7 + 25 + 7
    assert done.cores[1][0].start == done.cores[1][1].start == done.end[0]


def test_a_pipeline_overlaps_inputs() -> None:
    """Two layers of 40 cycles on two cores, four inputs: the second core lags by one input."""
    jobs, cores = [], [CoreWork(0), CoreWork(1)]
    for item in range(4):
        for layer in (0, 1):
            job = len(jobs)
            jobs.append(Job(f"{layer}", (job - 1,) if layer else ()))
            cores[layer].tables.append(table(f"{layer}", [40]))
            cores[layer].jobs.append(job)
            cores[layer].routes.append(routes())
    done = play_cores(cores, jobs, IdealMemory(), Wire(), bridge_cycles=BRIDGE)
    assert done.clock < 6 * 60 < 8 * 54
    assert all(done.start[2 * i + 1] >= done.end[2 * i] for i in range(4))


def test_phases_have_a_least_length() -> None:
    cores = [work(0, 0, table("a", [5]), table("b", [5])), work(1, 2, table("c", [300]))]
    jobs = [Job("a", (), 0), Job("b", (), 1), Job("c", (), 0)]
    done = play_cores(cores, jobs, IdealMemory(), Wire(), bridge_cycles=BRIDGE, phase_cycles=200)
    assert done.start[1] == done.end[2] > 300  # the slowest core holds all
    quick = play_cores(
        [work(0, 0, table("a", [5]), table("b", [5]))],
        [Job("a", (), 0), Job("b", (), 1)],
        IdealMemory(),
        Wire(),
        bridge_cycles=BRIDGE,
        phase_cycles=200,
    )
    assert quick.start[1] == 200


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=4), st.integers(1, 9))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_laws(shapes: list[list[int]], bridge: int) -> None:
    """Causes sum to each core's time, every byte arrives, and nothing depends on the order of the cores' numbers."""
    cores = [
        work(c, 0, table("a", cycles, filter_at=1000 * c, ifmap_at=5000 * c, ofmap_at=300 * c), dram=True)
        for c, cycles in enumerate(shapes)
    ]
    wire = Wire()
    done = play_cores(cores, [Job("a")], BandwidthDram(3, 2, 4), wire, bridge_cycles=bridge)
    for times in done.cores[0].values():
        assert sum(times.cycles_by_cause.values()) == times.end - times.start
        assert set(times.cycles_by_cause) == set(ATTRIBUTION)
    passes = sum(map(len, shapes))
    assert sum(n for *_, n in done.dram) == 14 * passes
    assert sum(n for *_, n in wire.log) == 14 * passes
    assert len(done.passes) == passes
    assert done.clock >= max(sum(cycles) for cycles in shapes)


def test_cores_that_wait_for_each_other_are_reported() -> None:
    """A chain without an end: each waits for the sums of the other."""
    cores = [work(c, 0, table("a", [3], filter_at=8 * c), chain=1 - c) for c in (0, 1)]
    with pytest.raises(DeadlockError, match="core 0"):
        play_cores(cores, [Job("a")], IdealMemory(), Wire(), bridge_cycles=BRIDGE)


def test_cores_that_fetch_in_different_orders_do_not_wait_in_a_circle() -> None:
    """Filters 0, 64 and the ifmap 0 of one core come in another order in the other: each fetches its own."""
    one, two = table("a", [5, 5, 5]), table("a", [5, 5, 5])
    for rows, order in ((one.rows, [0, 8, 16]), (two.rows, [16, 8, 0])):
        rows["filter_address"] = order
        rows["ifmap_address"] = order
    for one_table in (one, two):
        one_table.slots = {"filter": 1, "ifmap": 1, "psum": 1, "ofmap": 1}
    wire = Wire()
    play_cores([work(0, 0, one), work(1, 0, two)], [Job("a")], IdealMemory(), wire, bridge_cycles=BRIDGE)
    assert sum(n for _, src, _, n in wire.log if src == 9) == 2 * 3 * 12
