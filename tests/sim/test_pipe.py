"""The kernel for pipes does what the player does: every transfer, every pass, every statistic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import DeadlockError
from accelsim.memory.bandwidth import BandwidthDram, IdealMemory
from accelsim.sim import player
from accelsim.sim.passes import PassTable, empty_passes
from accelsim.sim.player import Timeline, play
from tests.sim.test_player import tables, times


class Evented(BandwidthDram):
    """The same pipe, played by SimPy."""

    pipe = None  # type: ignore[assignment]


class EventedIdeal(IdealMemory):
    """The same."""

    pipe = None  # type: ignore[assignment]


def same(by_kernel: Timeline, by_events: Timeline) -> None:
    assert times(by_kernel) == times(by_events)
    assert by_kernel.end == by_events.end
    assert [layer.bytes_by_operand for layer in by_kernel.layers] == [x.bytes_by_operand for x in by_events.layers]
    assert by_kernel.transfers.dtype == by_events.transfers.dtype
    assert by_kernel.transfers.tolist() == by_events.transfers.tolist()
    assert by_kernel.passes.tolist() == by_events.passes.tolist()


@given(
    layers=st.lists(tables(14), min_size=1, max_size=4),
    numbers=st.tuples(st.integers(1, 40), st.integers(1, 8), st.integers(0, 9), st.sampled_from([1, 4, 16])),
    addresses=st.integers(0, 100),
    prefetch=st.booleans(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_kernel_equals_the_player(
    layers: list[PassTable], numbers: tuple[int, int, int, int], addresses: int, prefetch: bool
) -> None:
    for table in layers:
        for n, operand in enumerate(("filter", "ifmap", "psum", "ofmap")):
            table.rows[f"{operand}_address"] = (np.arange(len(table.rows)) * (7 + n) + addresses) % 64
    fast, slow = BandwidthDram(*numbers), Evented(*numbers)
    same(play(layers, fast, prefetch=prefetch), play(layers, slow, prefetch=prefetch))
    assert fast.counts() == slow.counts() and fast.finish() == slow.finish()
    got, expected = fast.stats(), slow.stats()
    got.clocks = expected.clocks = 0  # the last thing that the model was told; the kernel tells it at the end
    assert got == expected


@given(layers=st.lists(tables(10), min_size=1, max_size=3), prefetch=st.booleans())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_kernel_equals_the_player_without_time(layers: list[PassTable], prefetch: bool) -> None:
    same(play(layers, IdealMemory(), prefetch=prefetch), play(layers, EventedIdeal(), prefetch=prefetch))


def one_pass(**values: Any) -> PassTable:
    rows = empty_passes(1)
    rows["filter_bytes"], rows["busy_cycles"], rows["finish_cycles"] = 8, 1, 1
    return PassTable("conv1", rows, **values)


def test_a_deadlock_is_explained_as_ever() -> None:
    with pytest.raises(DeadlockError, match="loader waits for room for filter of pass 0 of conv1"):
        play([one_pass(slots={"filter": -1})], BandwidthDram(1))


def test_numbers_that_the_kernel_cannot_hold_are_played_by_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte of 2**61 numerators of a cycle: the same cycles, by Python's integers."""
    used: list[object] = []
    real = player.play_pipe
    monkeypatch.setattr(player, "play_pipe", lambda *args: used.append(real(*args)) or used[-1])
    small, large = BandwidthDram(3, 2), BandwidthDram(3 * 2**60, 2 * 2**60)
    assert times(play([one_pass()], small)) == times(play([one_pass()], large))
    assert used[0] is not None and used[1] is None


def test_the_kernel_is_used() -> None:
    """By default, and not if someone watches the layers."""
    table = one_pass()
    assert play([table], BandwidthDram(1)).events == 3  # a transfer, a pass, a layer
    ends: list[tuple[int, int]] = []
    timeline = play([table], BandwidthDram(1), watch=lambda layer, cycle: ends.append((layer, cycle)))
    assert ends == [(0, timeline.end)] and timeline.events > 3
