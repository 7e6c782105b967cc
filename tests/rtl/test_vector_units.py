"""Vector MAC and output-parallel engines against their registers: cycles and outputs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.mapping.problem import Mapping, Room
from accelsim.memory.bandwidth import IdealMemory
from accelsim.sim.player import play
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import synthetic_trace

from .vector_units import run_pool_tile, run_vector_tile

small = st.integers(1, 9)


def task(network: Network, name: str, bits: int = 8) -> Task:
    room = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)
    widths = {"ifmap": bits, "filter": bits, "psum": 32, "ofmap": bits}
    trace = synthetic_trace(network, weight_bits=bits, activation_bits=bits)
    return Task(network[name], trace, widths, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(4))


def engine(kind: str, **parameters: Any) -> Any:
    made = ENGINES.lookup(kind)
    return made(made.Spec(**parameters))


@given(small, small, small, st.integers(1, 3), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_vector_tile(m: int, n: int, channels: int, window: int, pes: int, lanes: int, width: int) -> None:
    network = Network(
        "net", [Node("x", Input((1, channels, window, m + window - 1))), Node("c", Conv(n, window, bias=False), ("x",))]
    )
    built = engine("vector_mac", pes=pes, lanes=lanes, width=width)
    job = task(network, "c")
    shape = network["c"].work
    assert isinstance(shape, ConvShape)
    pin = Mapping(1, 1, 1, m, n, channels, window, window, "mnk")
    part = Part(replace(job, pinned=pin), shape)
    _, tiles, _ = built.tile(part)
    assert len(tiles) == 1
    times = built.times(part, tiles)
    image, filters = part.ifmap()[0].astype(np.int64), part.filters()[0].astype(np.int64)
    taps = [(r, s) for r in range(window) for s in range(window)]
    seen = np.stack([np.stack([image[:, r, x + s] for r, s in taps]) for x in range(m)])
    weights = np.stack([filters[:, :, r, s] for r, s in taps], 1)
    _, groups = built.steps(m, n, channels, window * window)
    deep = int(groups)
    out, issued, finished = run_vector_tile(seen, weights, lanes, width, pes // deep, deep)
    assert (out == np.einsum("ptc,ntc->pn", seen, weights)).all()
    assert int(times.stream[0]) == issued and int(times.finish[0]) == finished
    table = built.lower(replace(job, pinned=pin))
    table.slots = {}
    assert play([table], IdealMemory()).end == finished and table.macs == network.macs


@given(small, small, st.integers(1, 20), st.integers(1, 12), st.sampled_from([4, 8, 16]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_pool_tile(m: int, n: int, k: int, pes: int, bits: int) -> None:
    network = Network("net", [Node("x", Input((m, k))), Node("fc", Linear(n, bias=False), ("x",))])
    built = engine("output_parallel", pes=pes, operand_bits=16, split=2)
    job = task(network, "fc", bits)
    shape = network["fc"].work
    assert isinstance(shape, GemmShape)
    pin = Mapping(1, m, 1, 1, n, k, 1, 1, "mnk")
    part = Part(replace(job, pinned=pin), shape)
    _, tiles, _ = built.tile(part)
    out, cycles = run_pool_tile(
        part.ifmap()[0].astype(np.int64), part.filters()[0].astype(np.int64), pes, 2 if bits <= 8 else 1
    )
    assert (out == part.ifmap()[0].astype(np.int64) @ part.filters()[0].astype(np.int64).T).all()
    assert int(built.times(part, tiles).stream[0]) == cycles


def test_the_arrangement_with_the_fewest_steps_is_taken() -> None:
    built = engine("vector_mac", pes=16, lanes=8, width=8)
    assert built.steps(1, 128, 8, 1) == (1, 1)  # 16 groups of outputs
    assert built.steps(1, 8, 128, 1) == (1, 16)  # 16 groups of channels
    assert built.steps(1, 32, 32, 1) == (1, 4)


@pytest.mark.parametrize("kind", ["vector_mac", "output_parallel"])
def test_operands_that_are_too_wide_are_refused(kind: str) -> None:
    network = Network("net", [Node("x", Input((1, 4))), Node("fc", Linear(4), ("x",))])
    parameters = {"vector_mac": {"lanes": 2, "width": 2}, "output_parallel": {"pes": 4, "operand_bits": 8}}[kind]
    with pytest.raises(ConfigError, match="layer fc: ifmap has 16 bits, but engine '.*' computes with 1, 2"):
        engine(kind, **parameters).lower(task(network, "fc", 16))
