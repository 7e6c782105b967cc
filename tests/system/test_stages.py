"""Stages of a pipeline: consecutive layers, balanced, side by side."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.manycore_plan import Plan
from accelsim.system.simulate import simulate
from accelsim.system.stages import _deal_out, consecutive
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Pool
from accelsim.workload.trace import Trace, synthetic_trace


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 8))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_the_longest_group_is_as_short_as_can_be(times: list[int], parts: int) -> None:
    groups = consecutive(times, parts)
    assert [i for group in groups for i in group] == list(range(len(times))) and len(groups) <= parts
    best = min(
        max(sum(times[a:b]) for a, b in zip((0, *cuts), (*cuts, len(times)), strict=True))
        for count in range(min(parts, len(times)))
        for cuts in combinations(range(1, len(times)), count)
    )
    assert max(sum(times[i] for i in group) for group in groups) == best


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 8))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_cores_go_to_the_slowest(work: list[int], free: int) -> None:
    """Against trying every way to deal them out, where a stage takes work / cores, rounded up."""
    counts = [1] * len(work)
    _deal_out(counts, free, lambda at, count: -(-work[at] // count))
    assert sum(counts) <= len(work) + free and min(counts) >= 1

    def slowest(deal: tuple[int, ...]) -> int:
        return max(-(-w // (1 + extra)) for w, extra in zip(work, deal, strict=True))

    def deals(stages: int, left: int) -> list[tuple[int, ...]]:
        if not stages:
            return [()]
        return [(n, *rest) for n in range(left + 1) for rest in deals(stages - 1, left - n)]

    assert slowest(tuple(c - 1 for c in counts)) == min(slowest(deal) for deal in deals(len(work), free))


MANY = """
extends: systolic_ws_32
name: many
source: test
engine: {rows: 4, cols: 4}
dram: {fidelity: ideal}
cores:
  count: 12
  hubs: [0]
  schedule: pipeline
  items: 6
  resident_weights: true
  shared_buffer: {name: global_buffer, capacity_bytes: 65536, word_bits: 64}
noc: {topology: mesh, columns: 4, rows: 3, flit_bytes: 16}
"""

NETWORK = Network(
    "small",
    [
        Node("x", Input((1, 8, 12, 12))), Node("conv", Conv(16, 3, pad=1, bias=False), ("x",)),
        Node("pool", Pool("max", 2, 2), ("conv",)), Node("wide", Conv(32, 3, pad=1, bias=False), ("pool",)),
        Node("fc", Linear(40), ("wide",)),
    ],
)  # fmt: skip


def many(tmp_path: Path, *overrides: str) -> Architecture:
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    return load_arch(path, overrides)


def trace() -> Trace:
    return synthetic_trace(NETWORK)


def test_layers_get_neighbours_of_their_own(tmp_path: Path) -> None:
    plan = Plan(many(tmp_path, "cores.assignment=searched"), trace(), None)
    assert plan.stages is not None
    by_name = dict(zip([s.layer.name for s in plan.schedule.steps], plan.stages, strict=True))
    assert by_name["pool"] == by_name["conv"]
    own = [by_name[name] for name in ("conv", "wide", "fc")]
    assert len({core for cores in own for core in cores}) == sum(map(len, own)) <= 12
    line = [0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11]
    at = [sorted(line.index(core) for core in cores) for cores in own]
    assert [i for places in at for i in places] == list(range(sum(map(len, own))))


def test_a_balanced_pipeline_is_faster_than_a_core_for_each_layer(tmp_path: Path) -> None:
    one = ", ".join(f"{{layers: '{name}', cores: [{core}]}}" for core, name in enumerate(("conv", "wide", "fc", "*")))
    searched = simulate(many(tmp_path, "cores.assignment=searched"), trace())
    single = simulate(many(tmp_path, f"cores.assign=[{one}]"), trace())
    assert searched.macs == single.macs == 6 * NETWORK.macs
    assert 2 * searched.cycles < single.cycles


def test_more_layers_than_cores_share_stages(tmp_path: Path) -> None:
    small = many(tmp_path, "cores.assignment=searched", "cores.count=2")
    plan = Plan(small, trace(), None)
    assert plan.stages is not None and {len(cores) for cores in plan.stages} == {1}
    assert [cores[0] for cores in plan.stages] == sorted(cores[0] for cores in plan.stages)
    assert simulate(small, trace()).macs == 6 * NETWORK.macs


def test_what_contradicts_is_refused(tmp_path: Path) -> None:
    message = "assignment: searched is for schedule: pipeline, without assign"
    for more in (("cores.schedule=layers", "cores.items=1"), ("cores.assign=[{cores: [0]}]",)):
        with pytest.raises(ConfigError, match=message):
            many(tmp_path, "cores.assignment=searched", *more)
