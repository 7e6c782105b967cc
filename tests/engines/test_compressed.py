"""Nonzeros of tiles against plain slices."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engines.common.compressed import box_sums, packed_bytes


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_box_sums_are_sums_of_slices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 7, 4)
    mask = rng.random(shape) < 0.4
    count = int(rng.integers(1, 6))
    starts = tuple(rng.integers(0, n, count) for n in shape)
    extents = tuple(rng.integers(0, n + 2, count) for n in shape)
    found = box_sums(mask, starts, extents)
    for i in range(count):
        cut = tuple(slice(int(s[i]), int(s[i] + e[i])) for s, e in zip(starts, extents, strict=True))
        assert found[i] == mask[cut].sum()


def test_packed_bytes_round_up_to_whole_bytes() -> None:
    nonzeros, elements = np.array([3, 0]), np.array([10, 9])
    assert packed_bytes(nonzeros, elements, value_bits=8, index_bits=4).tolist() == [5, 0]
    assert packed_bytes(nonzeros, elements, value_bits=8, mask=True).tolist() == [5, 2]


def test_channels_of_several_groups_are_counted_in_each_group() -> None:
    """A tile of two groups that holds half of the channels of each."""
    from dataclasses import replace
    from fractions import Fraction

    from accelsim.engines.base import Task
    from accelsim.engines.common.compressed import ifmap_nonzeros
    from accelsim.engines.common.part import Part
    from accelsim.mapping.problem import Loops, Mapping, Problem, Room
    from accelsim.mapping.tiles import walk
    from accelsim.workload.network import Network, Node
    from accelsim.workload.ops import Conv, Input
    from accelsim.workload.shapes import ConvShape
    from accelsim.workload.trace import synthetic_trace

    net = Network("net", [Node("x", Input((1, 8, 5, 5))), Node("c", Conv(4, 3, groups=2, bias=False), ("x",))])
    room = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)
    bits = {"ifmap": 8, "filter": 8, "psum": 32, "ofmap": 8}
    trace = synthetic_trace(net, activation_density=0.5)
    task = Task(net["c"], trace, bits, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(4))
    shape = net["c"].work
    assert isinstance(shape, ConvShape)
    part = Part(replace(task), shape)
    tiles = walk(Problem(Loops.of(shape), (room,), (8, 8, 32, 8)), Mapping(2, 1, 3, 3, 2, 2, 3, 3, "mnk"))
    values = part.ifmap()[0] != 0
    expected = [values[[0, 1, 4, 5]].sum(), values[[2, 3, 6, 7]].sum()]
    assert ifmap_nonzeros(part, tiles).tolist() == expected
