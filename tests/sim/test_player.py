"""The player equals its cycle-stepped twin; laws; deadlock; events per tile."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import DeadlockError, SimulationBug
from accelsim.memory.bandwidth import BandwidthDram, IdealMemory
from accelsim.sim.passes import ATTRIBUTION, PassTable, empty_passes, fold_passes
from accelsim.sim.player import Timeline, play
from tests.sim.naive import Naive, Pipe


class Stepped(BandwidthDram):
    """The same pipe, through the interface of models whose completions can still change."""

    known_completion = None  # type: ignore[assignment]


@st.composite
def tables(draw: Any, most: int = 8) -> PassTable:
    count = draw(st.integers(1, most))
    rows = empty_passes(count)
    amount, time = st.integers(0, 40), st.integers(0, 12)
    for i in range(count):
        for name in ("filter_bytes", "ifmap_bytes", "psum_in_bytes", "ofmap_bytes", "psum_out_bytes"):
            rows[name][i] = draw(st.one_of(st.just(0), amount))
        load, busy = draw(time), draw(st.integers(1, 12))
        rows["load_cycles"][i] = load
        rows["busy_cycles"][i] = busy
        rows["imbalance_cycles"][i] = draw(st.integers(0, 3))
        rows["stream_cycles"][i] = busy + rows["imbalance_cycles"][i] + draw(time)
        rows["load_free_cycles"][i] = draw(st.integers(0, int(rows["stream_cycles"][i])))
        rows["finish_cycles"][i] = rows["stream_cycles"][i] + draw(time)
        rows["barrier"][i] = draw(st.integers(0, 4)) == 0
        rows["macs"][i] = busy
    slots = {o: draw(st.integers(0, 3)) for o in ("filter", "ifmap", "psum", "ofmap")}
    stationary = draw(st.sampled_from(["", "filter", "ifmap"]))
    return PassTable("layer", rows, stationary, slots, draw(st.booleans()), macs=int(rows["macs"].sum()))


def times(timeline: Timeline) -> list[tuple[int, int, dict[str, int]]]:
    return [(layer.start, layer.end, layer.cycles_by_cause) for layer in timeline.layers]


@given(
    st.lists(tables(), min_size=1, max_size=3),
    st.integers(1, 40),
    st.integers(1, 8),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_player_equals_its_twin(
    layers: list[PassTable], numerator: int, denominator: int, latency: int, prefetch: bool
) -> None:
    expected = Naive(layers, Pipe(Fraction(numerator, denominator), latency), prefetch).run()
    for model in (BandwidthDram, Stepped):
        assert times(play(layers, model(numerator, denominator, latency), prefetch=prefetch)) == expected


@given(st.lists(tables(20), min_size=1, max_size=2), st.integers(1, 20))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_laws(layers: list[PassTable], rate: int) -> None:
    timeline = play(layers, BandwidthDram(rate, 4, 5))
    end = 0
    for table, layer in zip(layers, timeline.layers, strict=True):
        assert layer.start == end
        assert sum(layer.cycles_by_cause.values()) == layer.cycles
        assert set(layer.cycles_by_cause) == set(ATTRIBUTION)
        assert layer.cycles >= int(table.rows["busy_cycles"].sum())
        moved = sum(layer.bytes_by_operand.values())
        assert layer.cycles >= moved * 4 // rate
        end = layer.end
    assert timeline.end == end
    assert timeline.transfers["bytes"].sum() == sum(sum(x.bytes_by_operand.values()) for x in timeline.layers)
    # one layer alone; a faster memory is never slower
    alone = layers[:1]
    slow = play(alone, BandwidthDram(rate, 4, 5)).end
    ideal = play(alone, IdealMemory()).end
    assert ideal <= slow


@given(tables(12))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_folding_changes_nothing(table: PassTable) -> None:
    """Passes that fetch and write nothing may be one event; the result is that of many."""
    for name in ("filter_bytes", "ifmap_bytes", "psum_in_bytes"):
        table.rows[name][1:] = 0
    for name in ("ofmap_bytes", "psum_out_bytes"):
        table.rows[name][:-1] = 0
    table.rows["barrier"][1:] = 0
    folded = fold_passes(table)
    assert len(folded) == 1
    expected = Naive([table], Pipe(Fraction(3), 4)).run()
    assert times(play([table], BandwidthDram(3, 1, 4))) == expected


def test_events_per_tile() -> None:
    """At most 12 SimPy events for a pass that fetches two operands and writes one back."""
    rows = empty_passes(1000)
    rows["filter_bytes"], rows["ifmap_bytes"], rows["ofmap_bytes"] = 64, 32, 16
    rows["load_cycles"], rows["stream_cycles"], rows["finish_cycles"], rows["busy_cycles"] = 4, 20, 30, 20
    table = PassTable("layer", rows, "filter", {"filter": 2, "ifmap": 2, "ofmap": 2})
    assert play([table], BandwidthDram(8, 1, 10)).events <= 12 * 1000


def test_a_run_repeats_itself() -> None:
    rows = empty_passes(50)
    rows["filter_bytes"] = np.arange(50) % 7 * 10
    rows["ofmap_bytes"] = np.arange(50) % 3 * 10
    rows["stream_cycles"] = rows["finish_cycles"] = rows["busy_cycles"] = 9
    table = PassTable("layer", rows, "", {"filter": 2, "ofmap": 1})
    first, second = (play([table], BandwidthDram(2, 1, 3)) for _ in range(2))
    assert times(first) == times(second)
    assert first.transfers.tobytes() == second.transfers.tobytes()


class _Broken:
    """A memory that loses what it is asked for."""

    def submit(self, now: int, request_id: int, address: int, n_bytes: int, is_write: bool, port: int = 0) -> None:
        return

    def advance(self, limit: int) -> None:
        return None


def test_a_lost_transfer_is_reported() -> None:
    rows = empty_passes(1)
    rows["filter_bytes"], rows["busy_cycles"], rows["finish_cycles"] = 8, 1, 1
    with pytest.raises(SimulationBug, match="1 transfers will never be complete"):
        play([PassTable("layer", rows)], _Broken())


def test_deadlock_says_who_waits_for_what() -> None:
    rows = empty_passes(1)
    rows["filter_bytes"], rows["busy_cycles"], rows["finish_cycles"] = 8, 1, 1

    class Silent(_Broken):
        def known_completion(self) -> int:
            return 10

    memory = Silent()
    table = PassTable("conv1", rows, slots={"filter": -1})  # a buffer without room for a single tile
    with pytest.raises(DeadlockError, match="loader waits for room for filter of pass 0 of conv1"):
        play([table], memory)


def test_contradicting_tables_are_refused() -> None:
    rows = empty_passes(1)
    rows["busy_cycles"] = 5
    with pytest.raises(SimulationBug, match="busy for longer than it lasts"):
        play([PassTable("layer", rows)], IdealMemory())
    rows["busy_cycles"] = 0
    with pytest.raises(SimulationBug, match="passes do 0 MACs, the layer has 7"):
        play([PassTable("layer", rows, macs=7)], IdealMemory())
