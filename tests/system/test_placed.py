"""Chips of crossbars: placement, refusals, rows that travel, and the player beside a plain twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.memory.bandwidth import BandwidthDram
from accelsim.sim.rowflow import Edge, Sink, Source, Stage, play_rows
from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Input, Linear, Pool, Reshape
from accelsim.workload.trace import synthetic_trace


def small(side: int = 16) -> Network:
    return Network(
        "small",
        [
            Node("x", Input((1, 8, side, side))),
            Node("c1", Conv(32, 3, 1, 1, bias=False), ("x",)),
            Node("r1", Activation("relu"), ("c1",)),
            Node("p1", Pool("max", 2, 2), ("r1",)),
            Node("c2", Conv(64, 3, 1, 1, bias=False), ("p1",)),
            Node("flat", Reshape((0, -1)), ("c2",)),
            Node("fc", Linear(10), ("flat",)),
        ],
    )


def run(*overrides: str, network: Network | None = None) -> RunResult:
    trace = synthetic_trace(network or small(), weight_bits=16, activation_bits=16)
    return simulate(load_arch("isaac", list(overrides)), trace)


def test_weights_that_do_not_fit_are_refused_with_crossbars() -> None:
    trace = synthetic_trace(load_network("vgg16"), weight_bits=16, activation_bits=16)
    message = r"the weights of vgg16 need 6\d{4} crossbars of 128 x 128, and there are 16128 \(42 cores of 384\)"
    with pytest.raises(ConfigError, match=message):
        simulate(load_arch("isaac"), trace)


def test_other_engines_have_no_places(tmp_path: Path) -> None:
    text = """
name: small
source: "assumed: for tests"
technology: {node_nm: 45}
clock_hz: 1e9
engine: {kind: vector_mac, lanes: 4, width: 4}
vector: {lanes: 4}
buffers: [{name: all, holds: [filter, ifmap, ofmap], capacity_bytes: 4096}]
dram: {standard: ddr3, bandwidth_bytes_per_s: 4e9}
cores: {count: 4, hubs: [0], resident_weights: true, schedule: placed}
noc: {topology: mesh, columns: 2, rows: 2, flit_bytes: 4}
"""
    (tmp_path / "small.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"needs an engine of crossbars, got 'vector_mac'"):
        simulate(load_arch(tmp_path / "small.yaml"), synthetic_trace(small()))


def test_early_layers_are_replicated_and_rows_overlap() -> None:
    result = run()
    by_name = {layer.name: layer for layer in result.layers}
    # a copy for each of the 16 positions of a row; two turns of 4 copies for half as many rows take as long
    assert by_name["c1"].info["copies"] == 16 and by_name["c2"].info["copies"] == 4
    assert result.cycles < sum(layer.cycles for layer in result.layers)
    assert by_name["c2"].start_cycle < by_name["c1"].start_cycle + by_name["c1"].cycles
    assert by_name["fc"].start_cycle >= by_name["c2"].start_cycle + by_name["c2"].cycles
    assert by_name["c1"].info["mvm_cycles"] == 22 * 128


def test_a_row_passes_22_stages() -> None:
    passes = run().timeline.passes
    first = passes[passes["layer"] == 0]
    assert set((first["done"] - first["start"]).tolist()) == {22 * 128}
    assert set((first["streamed"] - first["start"]).tolist()) == {16 * 128}


def test_without_copies_it_takes_longer_and_costs_the_same_conversions() -> None:
    one, many = run("engine.replicate=false"), run()
    assert one.cycles > 2 * many.cycles
    for key in (("adc", "convert"), ("crossbar", "read"), ("dac", "convert")):
        assert one.counts()[key] == many.counts()[key] > 0


def test_more_items_take_less_time_each() -> None:
    one, four = run(), run("cores.items=4")
    assert one.cycles < four.cycles < 3.5 * one.cycles
    assert four.macs == 4 * one.macs


def test_counts_by_hand() -> None:
    network = Network("n", [Node("x", Input((1, 130))), Node("fc", Linear(20, bias=False), ("x",))])
    counts = run(network=network).counts()
    # 130 rows are two arrays deep, 20 weights of 8 cells two arrays wide; 16 bits
    assert counts["crossbar", "read"] == 16 * 2 * 2
    assert counts["adc", "convert"] == 16 * 2 * 20 * 8
    assert counts["dac", "convert"] == 16 * 130 * 2
    assert ("cell", "write") not in counts


def test_an_update_of_the_weights_writes_every_cell_of_every_copy() -> None:
    layers = {layer.name: layer for layer in run().layers}
    assert layers["c1"].info["cells"] == 32 * 8 * 9 * 8 * layers["c1"].info["copies"]


class Wires:
    """Messages that take a time of their own, so that a plain recurrence can follow."""

    def __init__(self, delay: int) -> None:
        self.delay, self.waiting = delay, []  # type: ignore[var-annotated]

    def submit(self, now: int, message_id: int, src: Any, dst: Any, n_bytes: int, kind: Any = None) -> None:
        self.waiting.append((now + self.delay + n_bytes, message_id))
        self.waiting.sort()

    def advance(self, limit: int) -> tuple[int, int] | None:
        return self.waiting.pop(0) if self.waiting and self.waiting[0][0] <= limit else None


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 7)), min_size=1,
             max_size=4),
    st.integers(1, 3), st.integers(0, 20), st.integers(1, 30),
)  # fmt: skip
@settings(deadline=None, derandomize=True, max_examples=60)
def test_rows_flow_as_in_a_plain_recurrence(
    shapes: list[tuple[int, int, int, int]], items: int, delay: int, rate: int
) -> None:
    """A chain of stages: (rows, stream, extra latency, bytes of a row)."""
    stages = []
    before, size = 4, 5
    for index, (rows, stream, extra, n_bytes) in enumerate(shapes):
        need = [min(before, max(1, (b + 1) * before // rows)) for b in range(rows)]
        stage = Stage(f"s{index}", rows, stream, stream + extra)
        stage.edges.append(Edge(index - 1, need, [(index, (index + 1,), size)]))
        stages.append(stage)
        before, size = rows, n_bytes
    sink = Sink(len(stages) - 1, [(len(stages), (99,), size)], size, 1000)
    flow = play_rows(stages, [Source(4, 5, 0)], [sink], BandwidthDram(rate, 10), Wires(delay), items)
    # the memory's pipe: `rate` / 10 bytes a cycle, one row after another
    there = [-(-(n + 1) * 5 * 10 // rate) + delay + 5 for n in range(4 * items)]
    per_item, size = 4, 5
    for stage, (rows, stream, extra, n_bytes), times in zip(stages, shapes, flow.stages, strict=True):
        free, ends, starts = 0, [], []
        for item in range(items):
            for row in range(rows):
                start = max(free, there[item * per_item + stage.edges[0].need[row] - 1])
                free = start + stream
                starts.append(start)
                ends.append(start + stream + extra)
        assert times.start == starts[0] and times.end == ends[-1]
        assert times.waited == starts[-1] - starts[0] - stream * (len(starts) - 1)
        there, per_item = [end + delay + n_bytes for end in ends], rows
    assert flow.item_end[-1] >= there[-1] and len(flow.passes) == sum(s.rows for s in stages) * items
    assert flow.item_end == sorted(flow.item_end)
