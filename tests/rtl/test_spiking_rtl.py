"""Spiking layers of the hybrid core against its registers: cycles of every time step, spikes and potentials."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.mapping.problem import Mapping, Room
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.shapes import GemmShape
from accelsim.workload.spike import Spike
from accelsim.workload.trace import synthetic_trace

from .spiking_core import SpikingCore

small = st.integers(1, 7)


def clocked(core: SpikingCore, trains: NDArray[Any]) -> tuple[list[list[int]], list[list[int]], list[tuple[int, int]]]:
    """Spikes and potentials after every time step; cycles in which axons are visited, and until all is written."""
    fired, potentials, cycles = [], [], []

    async def bench(ctx: Any) -> None:
        for axons in trains:
            ctx.set(core.axons, sum(int(bit) << a for a, bit in enumerate(axons)))
            ctx.set(core.start, 1)
            clock = busy = written = 0
            while written < -(-core.neurons // core.lanes):
                busy += ctx.get(core.busy)
                await ctx.tick()
                ctx.set(core.start, 0)
                clock += 1
                written += ctx.get(core.written)
            bits = ctx.get(core.fired)
            fired.append([bits >> n & 1 for n in range(core.neurons)])
            potentials.append([ctx.get(p) for p in core.potential])
            cycles.append((busy, clock))

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return fired, potentials, cycles


def model(trains: NDArray[Any], weights: NDArray[Any], op: Spike) -> tuple[list[list[int]], list[list[int]]]:
    """The neurons in plain Python, one by one."""
    potential = [0] * len(weights)
    fired, after = [], []
    for spikes in trains:
        row = []
        for n, synapses in enumerate(weights):
            v = potential[n]
            v -= v // 2**op.leak if op.leak else 0
            v += sum(int(w) for w, s in zip(synapses, spikes, strict=True) if s)
            row.append(int(v >= op.threshold))
            if row[-1]:
                v = 0 if op.reset == "zero" else v - op.threshold
            potential[n] = v
        fired.append(row)
        after.append(list(potential))
    return fired, after


@given(small, small, st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 200), st.integers(0, 3),
       st.sampled_from(["subtract", "zero"]), st.integers(0, 10**6))  # fmt: skip
@settings(max_examples=12, deadline=None, derandomize=True)
def test_time_steps(
    axons: int, neurons: int, steps: int, lanes: int, width: int, threshold: int, leak: int, reset: str, seed: int
) -> None:
    op = Spike(steps, threshold, leak, reset)
    network = Network(
        "net",
        [
            Node("x", Input((steps, axons))), Node("s", Spike(steps), ("x",)),
            Node("fc", Linear(neurons, bias=False), ("s",)), Node("out", op, ("fc",)),
        ],
    )  # fmt: skip
    trace = synthetic_trace(network, activation_density=0.5, seed=seed)
    made = ENGINES.lookup("hybrid_core")
    engine = made(made.Spec(lanes=lanes, width=width))
    room = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)
    bits = {"ifmap": 1, "filter": 8, "psum": 24, "ofmap": 1}
    task = Task(network["fc"], trace, bits, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(4), neuron=op)
    shape = network["fc"].work
    assert isinstance(shape, GemmShape)
    part = Part(replace(task, pinned=Mapping(1, 1, 1, 1, neurons, axons, 1, 1, "mnk")), shape)
    trains, weights = part.ifmap()[0], part.filters()[0].astype(np.int64)
    assert set(np.unique(trains).tolist()) <= {0, 1}

    core = SpikingCore(weights.tolist(), lanes, width, threshold, leak, reset == "zero")
    fired, potentials, cycles = clocked(core, trains)
    assert (fired, potentials) == model(trains, weights, op)
    currents = trains.astype(np.int64) @ weights.T
    assert fired == op.spikes(currents).tolist()

    _, tiles, _ = engine.tile(part)
    times = engine.times(part, tiles)
    assert list(zip(times.stream.tolist(), times.finish.tolist(), strict=True)) == cycles
    table = engine.lower(part.task)
    assert table.counts.get(("dendrite", "add"), 0) == int(trains.sum()) * neurons
    assert ("mac", "mac_8x8") not in table.counts
    counted = int(table.array_reads["psum"].sum()), int(table.array_writes["psum"].sum())
    plain = engine.lower(replace(part.task, neuron=None))
    assert counted[0] - int(plain.array_reads["psum"].sum()) == steps * neurons  # a potential, read and written
    assert counted[1] - int(plain.array_writes["psum"].sum()) == steps * neurons
