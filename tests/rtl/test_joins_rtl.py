"""SparTen and SIGMA against register-level models: cycles and sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.sparse_bench import cycles_of, engine, layer_of, sparse, task_of
from tests.rtl import joins

SOME = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def paired(w: Any, units: int, chunk: int, by_chunk: bool) -> Any:
    """Filters of units as SparTen's greedy balancing says: sorted by density, first with last of each set."""
    starts = range(0, w.shape[1], chunk)
    held = []
    for c in starts:
        counts = [int(np.count_nonzero(row[c : c + chunk] if by_chunk else row)) for row in w]
        order = sorted(range(len(w)), key=lambda f: -counts[f])
        sets = []
        for first in range(0, len(w), 2 * units):
            own = order[first : first + 2 * units] + [-1] * (2 * units)
            sets.append([[own[u], own[2 * units - 1 - u]] for u in range(units)])
        held.append(sets)
    return held


@given(seed=st.integers(0, 10**6), balance=st.sampled_from(["none", "filter", "chunk"]), each=st.booleans())
@SOME
def test_sparten_equals_its_registers(seed: int, balance: str, each: bool, tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    m, n, k, units, clusters = (int(x) for x in rng.integers(1, (6, 12, 200, 5, 4)))
    a, w = sparse(rng, (m, k), float(rng.random()), low=0), sparse(rng, (n, k), float(rng.random()))
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w)
    barrier = "chunk" if each else "position"
    built = engine("sparten", clusters=clusters, units=units, chunk=64, balance=balance, barrier=barrier, latency=4)
    if balance == "none" or n <= units:
        rows = [[[f] if f < n else [-1] for f in range(s, s + units)] for s in range(0, n, units)]
        held = [rows] * -(-k // 64)
    else:
        held = paired(w, units, 64, balance == "chunk")
    table = built.lower(task_of(network, trace))
    sums, cycles = joins.sparten(a, w, held, chunk=64, clusters=clusters, each_chunk=each)
    assert np.array_equal(sums, a @ w.T)
    assert cycles_of(table) == cycles + 4
    assert table.info["products"] == table.effectual_macs == int(((a != 0).sum(0) * (w != 0).sum(0)).sum())


def test_sparten_takes_the_taps_of_a_window_one_after_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, w = sparse(rng, (1, 5, 4, 4), 0.5, low=0), sparse(rng, (3, 5, 3, 3), 0.5)
    network, trace = layer_of(tmp_path / "t.trace", a, w)
    table = engine("sparten", clusters=2, units=4, chunk=64, latency=0).lower(task_of(network, trace))
    windows = np.lib.stride_tricks.sliding_window_view(a[0], (3, 3), axis=(1, 2))
    rows = windows.transpose(1, 2, 3, 4, 0).reshape(4, -1)
    matrix = w.transpose(0, 2, 3, 1).reshape(3, -1)
    held = [[[[0], [1], [2], [-1]]]]
    sums, cycles = joins.sparten(rows, matrix, held, chunk=64, clusters=2, each_chunk=True)
    assert np.array_equal(sums, rows @ matrix.T)
    assert cycles_of(table) == cycles


@pytest.mark.parametrize("barrier", ["chunk", "position"])
def test_dense_operands_take_a_cycle_for_each_product_of_a_unit(barrier: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (8, 256), 1.0, low=0), sparse(rng, (8, 256), 1.0))
    built = engine("sparten", clusters=4, units=4, barrier=barrier, latency=0)
    assert cycles_of(built.lower(task_of(network, trace))) == 8 * 8 * 256 // 16


@given(seed=st.integers(0, 10**6), multipliers=st.sampled_from([1, 4, 16, 64]), bandwidth=st.sampled_from([1, 3, 8]))
@SOME
def test_sigma_equals_its_registers(seed: int, multipliers: int, bandwidth: int, tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    m, n, k = (int(x) for x in rng.integers(1, (6, 10, 30)))
    a, w = sparse(rng, (m, k), float(rng.random()), low=0), sparse(rng, (n, k), float(rng.random()))
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w)
    built = engine("sigma", multipliers=multipliers, bandwidth=bandwidth)
    table = built.lower(task_of(network, trace))
    sums, cycles = joins.sigma(a, w, multipliers=multipliers, bandwidth=bandwidth)
    assert np.array_equal(sums, a @ w.T)
    assert cycles_of(table) == cycles + (multipliers - 1).bit_length()
    assert table.info["products"] == table.effectual_macs == int(((a != 0).sum(0) * (w != 0).sum(0)).sum())


def test_dense_operands_fill_all_multipliers_of_sigma(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (20, 8), 1.0, low=0), sparse(rng, (16, 8), 1.0))
    # two folds of 64 weights: loaded 8 a cycle, then a row a cycle
    built = engine("sigma", multipliers=64, bandwidth=8)
    assert cycles_of(built.lower(task_of(network, trace))) == 2 * (8 + 20) + 6
