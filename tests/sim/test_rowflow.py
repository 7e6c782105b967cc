"""Rows between layers that run side by side: the player beside plain recurrences, and buffers that never deadlock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import SimulationBug
from accelsim.memory.bandwidth import BandwidthDram
from accelsim.sim.rowflow import Edge, Flow, Sink, Source, Stage, fewest_slots, play_rows


class Wires:
    """Messages that take a time of their own, so that a plain recurrence can follow."""

    def __init__(self, delay: int) -> None:
        self.delay, self.waiting = delay, []  # type: ignore[var-annotated]

    def submit(self, now: int, message_id: int, src: Any, dst: Any, n_bytes: int, kind: Any = None) -> None:
        self.waiting.append((now + self.delay + n_bytes, message_id))
        self.waiting.sort()

    def advance(self, limit: int) -> tuple[int, int] | None:
        return self.waiting.pop(0) if self.waiting and self.waiting[0][0] <= limit else None


class ReadsAlone(BandwidthDram):
    """Results take no time at the memory, so that they are in nobody's way."""

    def submit(self, now: int, request_id: int, address: int, n_bytes: int, is_write: bool, port: int = 0) -> None:
        if is_write:
            self._done.append((now, request_id))
        else:
            super().submit(now, request_id, address, n_bytes, is_write, port)


class SlowMemory(BandwidthDram):
    """The same memory, but it does not say beforehand when it will be done."""

    known_completion = None  # type: ignore[assignment]


def chain(shapes: list[tuple[int, int, int, int]], slots: list[int]) -> tuple[list[Stage], list[Sink]]:
    """Stages (rows, stream, extra latency, bytes of a row) in a row; `slots` beyond the fewest, -1: unbounded."""
    stages = []
    before, size = 4, 5
    for index, (rows, stream, extra, n_bytes) in enumerate(shapes):
        need = [min(before, max(1, (b + 1) * before // rows)) for b in range(rows)]
        first = [min(before - 1, b * before // rows) for b in range(rows)]
        stage = Stage(f"s{index}", rows, [stream + b % 2 for b in range(rows)], [stream + 1 + extra] * rows)
        stage.edges.append(Edge(index - 1, need, [(index, (index + 1,), size)], first))
        stages.append(stage)
        before, size = rows, n_bytes
    for stage, own, more in zip(stages, fewest_slots(stages, [Source(4, 5, 0)]), slots, strict=False):
        stage.edges[0].slots = own[0] + more if more >= 0 else 0
    return stages, [Sink(len(stages) - 1, [(len(stages), (99,), size)], size, 1000)]


def by_hand(stages: list[Stage], size: int, items: int, delay: int, rate: int) -> tuple[list[list[int]], list[int]]:
    """(starts of every stage's rows, when the last messages arrive), by repeating all rules until nothing moves."""
    starts = [[0] * (s.rows * items) for s in stages]
    asked = [0] * (4 * items)
    while True:
        before = [list(s) for s in starts], list(asked)

        def freed(index: int, row: int) -> int:
            """When the reader of a row's stage has room for it."""
            stage = stages[index]
            edge, rows = stage.edges[0], 4 if index == 0 else stages[index - 1].rows
            if not edge.slots:
                return 0
            made = next(n for n in range(stage.rows * items + 1) if edge.released(n, rows) >= row + 1 - edge.slots)
            return 0 if not made else starts[index][made - 1] + stage.stream[(made - 1) % stage.rows]

        asked = [freed(0, n) for n in range(4 * items)]
        pipe, there = 0, []
        for n in range(4 * items):
            asked[n] = max(asked[n], asked[n - 1] if n else 0)
            pipe = max(pipe, asked[n] * rate) + 5 * 10
            there.append(-(-pipe // rate) + delay + 5)
        for index, stage in enumerate(stages):
            rows, free, ends = 4 if index == 0 else stages[index - 1].rows, 0, []
            for n in range(stage.rows * items):
                item, row = divmod(n, stage.rows)
                start = max(free, there[item * rows + stage.edges[0].need[row] - 1])
                if index + 1 < len(stages):
                    start = max(start, freed(index + 1, n))
                starts[index][n] = start
                free = start + stage.stream[row]
                ends.append(start + stage.finish[row])
            ends = [max(ends[: n + 1]) for n in range(len(ends))]
            n_bytes = stages[index + 1].edges[0].sends[0][2] if index + 1 < len(stages) else size
            there = [end + delay + n_bytes for end in ends]
        if before == (starts, asked):
            return starts, there


SHAPES = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 7)), min_size=1, max_size=4
)


@given(SHAPES, st.lists(st.integers(-1, 2), min_size=4, max_size=4), st.integers(1, 3), st.integers(0, 20),
       st.integers(1, 30))  # fmt: skip
@settings(deadline=None, derandomize=True, max_examples=80)
def test_rows_flow_as_in_a_plain_recurrence(
    shapes: list[tuple[int, int, int, int]], slots: list[int], items: int, delay: int, rate: int
) -> None:
    stages, sinks = chain(shapes, slots)
    flow = play_rows(stages, [Source(4, 5, 0)], sinks, ReadsAlone(rate, 10), Wires(delay), items)
    starts, there = by_hand(stages, shapes[-1][3], items, delay, rate)
    for index, (stage, times) in enumerate(zip(stages, flow.stages, strict=True)):
        passes = flow.passes[flow.passes["layer"] == index]
        assert passes["start"].tolist() == starts[index]
        assert times.start == starts[index][0]
        alive = starts[index][-1] - starts[index][0]
        assert times.waited + times.held == alive - sum(stage.stream) * items + stage.stream[-1]
        assert times.held == 0 or slots[index + 1] >= 0
    assert flow.item_end[-1] == there[-1] and flow.item_end == sorted(flow.item_end)


@given(SHAPES, st.lists(st.integers(-1, 2), min_size=4, max_size=4), st.integers(1, 3), st.integers(0, 20),
       st.integers(1, 30))  # fmt: skip
@settings(deadline=None, derandomize=True, max_examples=40)
def test_a_memory_that_must_be_asked_gives_the_same(
    shapes: list[tuple[int, int, int, int]], slots: list[int], items: int, delay: int, rate: int
) -> None:
    stages, sinks = chain(shapes, slots)
    flows: list[Flow] = [
        play_rows(stages, [Source(4, 5, 0)], sinks, memory, Wires(delay), items)
        for memory in (BandwidthDram(rate, 10), SlowMemory(rate, 10))
    ]
    assert flows[0].item_end == flows[1].item_end
    assert flows[0].passes.tolist() == flows[1].passes.tolist()


def test_the_window_is_the_fewest_rows_of_a_chain() -> None:
    stage = Stage("conv", 8, [1] * 8, [1] * 8)
    stage.edges.append(Edge(-1, [min(8, b + 2) for b in range(8)], [], [max(0, b - 1) for b in range(8)]))
    assert fewest_slots([stage], [Source(8, 1, 0)]) == [[3]]


def block(slots: list[int]) -> list[Stage]:
    """A residual block: two 3 x 3 convolutions of 8 rows, and their sum with the block's input."""
    no_sends: list[tuple[int, tuple[int, ...], int]] = []
    window = [min(8, b + 2) for b in range(8)], no_sends, [max(0, b - 1) for b in range(8)]
    same = [b + 1 for b in range(8)], no_sends, list(range(8))
    stages = [Stage(name, 8, [3] * 8, [5] * 8) for name in ("c0", "c1", "c2", "sum")]
    for index, (need, sends, first) in enumerate((same, window, window)):
        stages[index].edges.append(Edge(index - 1, need, sends, first, slots[index]))
    stages[3].edges += [Edge(0, *same, slots[3]), Edge(2, *same, slots[4])]
    return stages


def test_the_short_way_around_a_block_needs_room_for_the_lag_of_the_long_one() -> None:
    found = fewest_slots(block([0] * 5), [Source(8, 1, 0)])
    # the sum's row b waits for c2's b, that for c1's b + 1, that for c0's b + 2: three rows, of c0 and of its reader
    assert found == [[1], [3], [3], [3, 1]]
    fewest = [slots for edges in found for slots in edges]
    flow = play_rows(block(fewest), [Source(8, 1, 0)], [], BandwidthDram(8, 1), Wires(0), 2)
    assert len(flow.passes) == 64 and any(t.held for t in flow.stages)
    fewest[3] -= 1
    with pytest.raises(SimulationBug, match="of 16 rows: too few slots on an edge"):
        play_rows(block(fewest), [Source(8, 1, 0)], [], BandwidthDram(8, 1), Wires(0), 2)


@given(st.data())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_fewest_slots_never_deadlock(data: Any) -> None:
    """Random graphs of windows that fork and join."""
    count, items = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 2))
    rows = [data.draw(st.integers(1, 7)) for _ in range(count)]
    stages: list[Stage] = []
    for index in range(count):
        stage = Stage(f"s{index}", rows[index], [data.draw(st.integers(1, 5))] * rows[index], [6] * rows[index])
        sources = data.draw(st.sets(st.integers(-1, index - 1), min_size=1, max_size=3))
        for source in sorted(sources):
            have = rows[source] if source >= 0 else 5
            ahead, behind = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 7))
            middle = [b * have // rows[index] for b in range(rows[index])]
            need = [min(have, m + 1 + ahead) for m in middle]
            stage.edges.append(Edge(source, need, [(0, (1,), 3)], [max(0, m - behind) for m in middle]))
        stages.append(stage)
    for stage, slots in zip(stages, fewest_slots(stages, [Source(5, 1, 0)]), strict=True):
        for edge, fewest in zip(stage.edges, slots, strict=True):
            edge.slots = fewest
    flow = play_rows(stages, [Source(5, 1, 0)], [], BandwidthDram(3, 1), Wires(2), items)
    assert len(flow.passes) == sum(rows) * items


def test_a_running_result_needs_one_row_at_a_time() -> None:
    stages = [Stage("conv", 6, [4] * 6, [4] * 6), Stage("pool", 1, [2], [2])]
    stages[0].edges.append(Edge(-1, [1, 2, 3, 4, 5, 6], [], list(range(6))))
    stages[1].edges.append(Edge(0, [6], [(0, (1,), 1)], [0], running=True))
    assert fewest_slots(stages, [Source(6, 1, 0)]) == [[1], [1]]
    stages[1].edges[0].slots = 1
    flow = play_rows(stages, [Source(6, 1, 0)], [], ReadsAlone(1, 1), Wires(3), 1)
    # each row is 4 cycles away in the making and 4 more on its way before the next may begin
    assert [int(p["start"]) for p in flow.passes] == [1, 9, 17, 25, 33, 41, 49]
