"""Tensor trains and rings: the engine's stages equal registers that compute, in values and in every cycle."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.engines.kernels.train_stages import Machine, Train, contract
from accelsim.workload.encodings.base import encoding
from accelsim.workload.encodings.tensorized import Tensorized, untensorize
from tests.rtl.tensor_train import TrainRtl


def random_cores(train: Train, seed: int) -> list[NDArray[Any]]:
    random = np.random.Generator(np.random.Philox(seed))
    return [
        random.integers(-3, 4, (train.ranks[k], m, n, train.ranks[k + 1]))
        for k, (m, n) in enumerate(zip(train.rows, train.columns, strict=True))
    ]


def matrix(train: Train, cores: list[NDArray[Any]]) -> NDArray[Any]:
    """The matrix that the trace's decoder makes of the cores."""
    codec = encoding("ring")
    assert isinstance(codec, Tensorized)
    tensor = codec.multiply([core.astype(np.float32) for core in cores], None)
    found: NDArray[Any] = np.rint(untensorize(tensor, train.rows, train.columns)).astype(np.int64)
    return found


def check(train: Train, samples: int, machine: Machine, seed: int = 1) -> TrainRtl:
    cores = random_cores(train, seed)
    random = np.random.Generator(np.random.Philox(seed + 1))
    vectors = random.integers(-9, 10, (samples, prod(train.columns)))
    rtl = TrainRtl(cores, vectors, machine.pes, machine.macs, machine.groups, machine.chunks, machine.pack)
    assert np.array_equal(rtl.run(), vectors @ matrix(train, cores).T)
    stages = contract(train, samples, machine)
    assert sum(s.compute for s in stages) == rtl.steps
    assert sum(s.conflict for s in stages) == rtl.conflicts
    assert sum(s.wait for s in stages) == rtl.waits
    assert stages[-1].end == rtl.cycle
    return rtl


@st.composite
def trains(draw: st.DrawFn) -> Train:
    d = draw(st.integers(1, 4))
    sizes = st.integers(1, 4 if d > 3 else 6)
    rows, columns = (tuple(draw(sizes) for _ in range(d)) for _ in range(2))
    inside = [draw(st.integers(1, 4)) for _ in range(d - 1)]
    closing = draw(st.integers(1, 3)) if d > 1 else 1
    return Train(rows, columns, (closing, *inside, closing))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    trains(), st.integers(1, 3), st.integers(1, 8), st.integers(1, 8), st.integers(1, 6), st.integers(1, 6),
    st.booleans(),
)  # fmt: skip
def test_values_and_cycles(
    train: Train, samples: int, pes: int, macs: int, groups: int, chunks: int, pack: bool
) -> None:
    check(train, samples, Machine(pes, macs, groups, chunks, pack))


@pytest.mark.parametrize("pack", [False, True])
def test_the_published_machine(pack: bool) -> None:
    """16 x 16 MACs on a train of the published kind, small enough to step through: no conflict, no wait."""
    rtl = check(Train((4, 4, 4), (2, 7, 8), (1, 4, 4, 1)), 1, Machine(16, 16, 4, 16, pack))
    assert rtl.conflicts == 0


def test_too_few_banks_cost_cycles() -> None:
    train = Train((4, 4, 4), (4, 4, 4), (1, 4, 4, 1))
    assert check(train, 1, Machine(16, 16, 4, 4)).conflicts > 0
    assert check(train, 1, Machine(16, 16, 1, 16)).conflicts > 0
    assert check(train, 1, Machine(16, 16, 4, 16)).conflicts == 0
