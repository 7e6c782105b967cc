"""Networks of spiking and other layers on a chip of many cores: phases, events, and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Input, Linear, Recurrent
from accelsim.workload.spike import Spike
from accelsim.workload.trace import synthetic_trace

STEPS, PHASE = 5, 5050


def network(last: Any = Linear(32, bias=False)) -> Network:
    """Numbers in, spikes between, numbers out."""
    return Network(
        "hybrid",
        [
            Node("x", Input((STEPS, 64))), Node("a", Linear(128, bias=False), ("x",)),
            Node("s", Spike(STEPS, 50, 3), ("a",)), Node("b", Linear(96, bias=False), ("s",)),
            Node("t", Spike(STEPS, 50), ("b",)), Node("c", last, ("t",)), Node("relu", Activation("relu"), ("c",)),
        ],
    )  # fmt: skip


def run(density: float, *overrides: str) -> RunResult:
    options = ("cores.items=1", "cores.assign=[{layers: a, cores: [0]}, {layers: b, cores: [1, 2]}, {cores: [3]}]")
    trace = synthetic_trace(network(), activation_density=density, input_density=1.0)
    return simulate(load_arch("tianjic", (*options, *overrides)), trace)


def test_every_time_step_takes_a_phase_on_every_layer() -> None:
    result = run(0.25)
    assert result.macs == network().macs and result.batch == STEPS
    last = result.timeline.layers[-1]
    # three layers, five steps: the last layer runs from the third phase to the seventh
    assert last.start == (3 - 1) * PHASE and (STEPS + 3 - 2) * PHASE < last.end < (STEPS + 3 - 1) * PHASE
    assert result.overlapped_cycles == last.end
    twice = run(0.25, "cores.items=2")
    assert twice.timeline.layers[-1].end == last.end + STEPS * PHASE
    for layer, again in zip(result.layers, twice.layers, strict=True):
        assert again.cycles == 2 * layer.cycles and again.macs == 2 * layer.macs, "of all inputs"
        assert again.mac_utilization == layer.mac_utilization


def test_cycles_know_nothing_of_spikes_and_energy_counts_them() -> None:
    few, many = run(0.1), run(0.6)
    assert [x.cycles for x in few.layers] == [x.cycles for x in many.layers]
    for result, density in ((few, 0.1), (many, 0.6)):
        trace = synthetic_trace(network(), activation_density=density, input_density=1.0)
        for name, width in (("b", 96), ("c", 32)):
            layer = next(x for x in result.layers if x.name == name)
            operand = trace.operand(name, "ifmap")
            assert operand is not None
            events = int(np.count_nonzero(operand.values())) * width  # each spike visits every neuron of its layer
            assert layer.counts["dendrite", "add"] == events
            assert ("mac", "mac_8x8") not in layer.counts
    first = few.layers[0]
    assert first.counts["mac", "mac_8x8"] == STEPS * 64 * 128 and ("dendrite", "add") not in first.counts
    more = [x.energy_pj["synapse_memory"] + x.energy_pj["dendrite"] for x in (few.layers[1], many.layers[1])]
    assert more[1] > 4 * more[0]


def test_spikes_take_an_eighth_of_the_bytes() -> None:
    spikes, numbers = run(0.25), run(0.25, "precision.follow_trace=false")
    hops = [sum(v for (part, _), v in r.layers[1].counts.items() if part == "noc") for r in (spikes, numbers)]
    assert hops[0] < hops[1]


def test_recurrent_layers_have_no_time_steps_of_a_pipeline() -> None:
    nodes = [
        Node("x", Input((4, 3, 16))), Node("s", Spike(4), ("x",)), Node("lstm", Recurrent("lstm", 8), ("s",)),
    ]  # fmt: skip
    trace = synthetic_trace(Network("net", nodes))
    with pytest.raises(ConfigError, match="layer lstm: a pipeline takes 4 time steps .* recurrent cannot"):
        simulate(load_arch("tianjic"), trace)
