"""PermDNN, ESE and sparse tensor cores against register-level models: cycles and sums; what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.trace import synthetic_trace
from tests.engines.sparse_bench import cycles_of, engine, layer_of, sparse, task_of
from tests.rtl import diagonals, queues

SOME = settings(max_examples=25, deadline=None, derandomize=True, database=None)


@given(seed=st.integers(0, 10**6), p=st.integers(2, 6), pes=st.integers(1, 4), multipliers=st.integers(1, 3))
@SOME
def test_permdnn_equals_its_registers(seed: int, p: int, pes: int, multipliers: int, tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    m, n, k = rng.integers(1, 4), rng.integers(p, 40), rng.integers(p, 20)
    w = diagonals.permuted_matrix(rng, int(n), int(k), p)
    a = sparse(rng, (m, k), float(rng.random()), low=0)
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w)
    table = engine("permdnn", pes=pes, multipliers=multipliers, block=p, latency=5).lower(task_of(network, trace))
    cycles = 0
    for row in a:
        sums, took = diagonals.PermutedDiagonals(w, p, pes, multipliers).run(row)
        assert np.array_equal(sums, w @ row)
        cycles += took
    assert cycles_of(table) == cycles + 5
    assert table.info["block_side"] == p


@pytest.mark.parametrize("seed", range(4))
def test_permdnn_runs_filters_tap_by_tap(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    p, n, c = (int(x) for x in rng.integers((2, 6, 5), (5, 14, 10)))
    taps = np.stack([diagonals.permuted_matrix(rng, n, c, p) for _ in range(4)], axis=-1)
    w, a = taps.reshape(n, c, 2, 2), sparse(rng, (1, c, 4, 3), 0.6, low=0)
    network, trace = layer_of(tmp_path / "t.trace", a, w)
    table = engine("permdnn", pes=2, multipliers=2, block=p, latency=5).lower(task_of(network, trace))
    cycles, out = 0, np.zeros((n, 3, 2), np.int64)
    for y, x, tap in np.ndindex(3, 2, 4):
        seen = a[0, :, y + tap // 2, x + tap % 2]
        sums, took = diagonals.PermutedDiagonals(taps[..., tap], p, 2, 2).run(seen)
        out[:, y, x] += sums
        cycles += took
    windows = np.lib.stride_tricks.sliding_window_view(a[0], (2, 2), axis=(1, 2))
    assert np.array_equal(out, np.einsum("cpqrs,ncrs->npq", windows, w))
    assert cycles_of(table) == cycles + 5


def test_permdnn_finds_the_blocks_and_runs_dense_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a = sparse(rng, (1, 24), 0.5, low=0)
    network, trace = layer_of(tmp_path / "a.trace", a, diagonals.permuted_matrix(rng, 36, 24, 6))
    assert engine("permdnn").lower(task_of(network, trace)).info["block_side"] == 6
    network, trace = layer_of(tmp_path / "b.trace", a, sparse(rng, (600, 24), 1.0))
    table = engine("permdnn").lower(task_of(network, trace))
    assert table.info["block_side"] == 1
    assert cycles_of(table) == int((a != 0).sum()) * 3 + 5  # 600 outputs on 256 multipliers


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("permdnn", {}, r"layer layer: filter has density 0\.\d+, and must be permuted diagonals in blocks of 2 to 64"),
        ("permdnn", {"block": 4}, r"must be permuted diagonals in blocks of 4 for this engine; set engine.dense"),
        ("nm_tensor_core", {}, r"filter has density 0\.\d+, and must have a pattern of 2:4 along its channels; set"),
    ],
)
def test_sparsity_of_another_kind_runs_only_if_allowed(kind: str, fields: Any, message: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    w = sparse(rng, (16, 32), 0.5)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (4, 32), 1.0, low=0), w)
    task = task_of(network, trace)
    with pytest.raises(ConfigError, match=message):
        engine(kind, **fields).lower(task)
    twin = engine(kind).lower(task_of(*layer_of(tmp_path / "e.trace", np.ones((4, 32)), np.ones((16, 32)))))
    assert cycles_of(engine(kind, dense="allow").lower(task)) == cycles_of(twin)


@pytest.mark.parametrize("kind", ["ese", "nm_tensor_core"])
def test_sparse_inputs_are_refused_where_zeros_take_time(kind: str) -> None:
    network = Network("net", [Node("x", Input((1, 8))), Node("fc", Linear(4), ("x",))])
    task = task_of(network, synthetic_trace(network, activation_density=0.5))
    with pytest.raises(ConfigError, match=f"layer fc: ifmap must be dense for engine '{kind}', which cannot skip"):
        engine(kind).lower(task)
    assert cycles_of(engine(kind, dense="allow").lower(task)) > 0


@given(seed=st.integers(0, 10**6), pes=st.integers(1, 6), depth=st.sampled_from([1, 2, 8]), index=st.integers(0, 4))
@SOME
def test_ese_equals_its_registers(seed: int, pes: int, depth: int, index: int, tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    m, n, k = (int(x) for x in rng.integers(1, (6, 40, 20)))
    a, w = sparse(rng, (m, k), 1.0, low=0), sparse(rng, (n, k), float(rng.random()))
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w)
    fields: dict[str, Any] = {"channels": 2, "pes": pes, "queue_depth": depth, "index_bits": index, "latency": 6}
    limit, ran = 2**index - 1, []
    for row in a:
        seen = queues.run(row, w, pes=pes, width=0, slots=depth, spare=False, limit=limit, skip=False)
        assert np.array_equal(seen.sums, w @ row)
        ran.append(seen.cycles)
    passes = -(-m // 2)
    assert len(set(ran)) == 1  # the channels keep step
    table = engine("ese", **fields, results=0).lower(task_of(network, trace))
    assert cycles_of(table) == passes * (ran[0] + 6)
    table = engine("ese", **fields, results=1).lower(task_of(network, trace))
    assert cycles_of(table) == passes * (max(n, ran[0]) + 6)


def test_balanced_weights_make_ese_faster(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    even, odd = np.zeros((32, 64), np.int64), np.zeros((32, 64), np.int64)
    even[:8], odd[::4] = 1, 1  # two weights for each of four PEs, or eight for one
    a = sparse(rng, (1, 64), 1.0, low=0)
    cycles = [
        cycles_of(engine("ese", pes=4, results=0).lower(task_of(*layer_of(tmp_path / f"{i}.trace", a, w))))
        for i, w in enumerate((even, odd))
    ]
    assert cycles == [1 + 64 * 2 + 6, 1 + 64 * 8 + 6]


@given(seed=st.integers(0, 10**6), pattern=st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]))
@SOME
def test_tensor_cores_equal_steps_on_stored_weights(seed: int, pattern: Any, tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    few, many = pattern
    m, n, k = (int(x) for x in rng.integers(1, (40, 20, 40)))
    w = np.zeros((n, k + -k % many), np.int64)
    for row in w:
        for group in range(0, len(row), many):
            row[group + rng.choice(many, few, replace=False)] = rng.integers(1, 9, few)
    w = w[:, :k]
    w[0, 0] = 0  # never dense
    a = sparse(rng, (m, k), 0.9, low=0)
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w)
    fields: dict[str, Any] = {"rows": 4, "cols": 3, "depth": 5}
    table = engine("nm_tensor_core", **fields, patterns=[f"{few}:{many}"], latency=8).lower(task_of(network, trace))
    sums, cycles = diagonals.compressed_steps(a, w, pattern=pattern, **fields)
    assert np.array_equal(sums, a @ w.T)
    assert cycles_of(table) == cycles + 8
    assert table.info["pattern"] == f"{few}:{many}"


def test_convolutions_have_the_pattern_along_their_channels(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    w = sparse(rng, (4, 8, 3, 3), 1.0)
    w[:, ::4], w[:, 1::4] = 0, 0
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (1, 8, 6, 6), 1.0, low=0), w, pad=1)
    table = engine("nm_tensor_core", rows=4, cols=4, depth=4, latency=0).lower(task_of(network, trace))
    assert table.info["pattern"] == "2:4"
    assert cycles_of(table) == 9 * 1 * 9  # 36 positions in fours, 4 filters, 9 taps of 4 stored weights


def test_bad_patterns_are_refused() -> None:
    with pytest.raises(ValueError, match="patterns must be N:M with 1 <= N <= M, got '4:2'"):
        engine("nm_tensor_core", patterns=["4:2"])


@given(seed=st.integers(0, 10**6), tile=st.sampled_from([4, 8]), cores=st.integers(1, 3))
@SOME
def test_dual_side_cores_equal_their_outer_products(seed: int, tile: int, cores: int, tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    m, n, k = (int(x) for x in rng.integers(1, (30, 30, 20)))
    a, w = sparse(rng, (m, k), float(rng.random()), low=0), sparse(rng, (n, k), float(rng.random()))
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w)
    built = engine("dual_tensor_core", cores=cores, tile=tile, step_rows=2, step_cols=3, latency=8)
    table = built.lower(task_of(network, trace))
    sums, cycles = diagonals.outer_products(a, w, tile=tile, rows=2, cols=3, cores=cores)
    assert np.array_equal(sums, a @ w.T)
    assert cycles_of(table) == cycles + 8
    assert table.info["products"] == table.effectual_macs == int(((a != 0).sum(0) * (w != 0).sum(0)).sum())


def test_dense_operands_fill_the_dual_side_cores(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (64, 10), 1.0, low=0), sparse(rng, (64, 10), 1.0))
    built = engine("dual_tensor_core", cores=4, latency=0)
    assert cycles_of(built.lower(task_of(network, trace))) == 64 * 64 * 10 // built.peak_macs_per_cycle({})
