"""Structured sparsity of particular machines and methods: N:M, PermDNN, column combining, TETRIS, reconstruction."""

from __future__ import annotations

from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress import compress
from accelsim.compress.sparsify.admm import admm, project
from accelsim.compress.sparsify.column_combining import combine_columns, conflicts
from accelsim.compress.sparsify.grains import grain
from accelsim.compress.sparsify.nm import mark_beyond
from accelsim.compress.sparsify.permuted_diagonal import best_offsets, diagonals, kernel_energy
from accelsim.compress.sparsify.reconstruct import greedy_removal, lasso, lasso_removal
from accelsim.compress.sparsify.tetris import best_blocks, reorder
from accelsim.workload.encodings.base import encoding
from accelsim.workload.trace import Trace
from tests.compress.test_sparsify import NETWORK, WEIGHTS, density, numbers, run

# --- N:M ---


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 99), n=st.integers(0, 4), m=st.integers(2, 6), levels=st.sampled_from([2, 1000]))
def test_nm_kernel_equals_a_sort(seed: int, n: int, m: int, levels: int) -> None:
    n = min(n, m)
    groups = np.random.default_rng(seed).integers(-levels, levels, (9, m)).astype(np.float32)
    removed = np.zeros(groups.shape, np.bool_)
    mark_beyond(groups, n, removed)
    for row, gone in zip(groups, removed, strict=True):
        order = np.argsort(-np.abs(row), kind="stable")
        assert set(np.flatnonzero(~gone)) == set(order[:n])


def test_two_of_four_along_the_inputs() -> None:
    states = run([{"step": "prune_nm"}])
    for name, state in states.items():
        lined = np.moveaxis(state.values, 1, -1)
        full = lined[..., : lined.shape[-1] // 4 * 4].reshape(-1, 4)
        assert (np.count_nonzero(full, axis=1) == 2).all() or name == "c1/filter"
    assert density(states["c2/filter"]) == density(states["fc/filter"]) == 0.5
    # 3 inputs: one group of 3 and a zero beyond it, so 2 of 3 stay
    assert density(states["c1/filter"]) == pytest.approx(2 / 3)
    quantized = run([{"step": "prune_nm"}, {"step": "uniform", "bits": 8}])["fc/filter"].quantized
    assert quantized is not None
    encoding("nm").encode(quantized.codes, 8, True)  # fits


def test_more_than_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="n must be at most m, got 5:4"):
        run([{"step": "prune_nm", "n": 5}])
    with pytest.raises(ConfigError, match=r"axis must be less than 2 for shape \[10, 216\], got 2"):
        run([{"step": "prune_nm", "axis": 2, "layers": "fc"}])


# --- permuted diagonals ---


@pytest.mark.parametrize("offsets", ["natural", "random", "best"])
def test_permdnn_equation(offsets: str) -> None:
    """Of every block one place in each row and column, all on one cyclic diagonal: density 1/p."""
    state = run([{"step": "permuted_diagonal", "layers": "fc", "p": 2, "offsets": offsets}])["fc/filter"]
    assert density(state) == 0.5
    blocks = (state.values != 0).reshape(5, 2, 108, 2).transpose(0, 2, 1, 3)
    straight, crossed = np.eye(2, dtype=bool), np.eye(2, dtype=bool)[::-1]
    assert all((b == straight).all() or (b == crossed).all() for b in blocks.reshape(-1, 2, 2))
    if offsets == "natural":
        want = [[crossed if (i * 108 + j) % 2 else straight for j in range(108)] for i in range(5)]
        assert np.array_equal(blocks, np.array(want))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), p=st.integers(1, 5), seed=st.integers(0, 99))
def test_best_diagonals_lose_least(rows: int, columns: int, p: int, seed: int) -> None:
    energy = np.square(np.random.default_rng(seed).normal(size=(rows, columns)))
    offsets = best_offsets(energy, p)
    kept = diagonals(energy.shape, p, offsets)
    plain = np.zeros(energy.shape, np.bool_)
    for i in range(rows):
        for j in range(columns):
            plain[i, j] = (i % p + offsets[i // p, j // p]) % p == j % p
    assert np.array_equal(kept, plain)
    for i, j in np.ndindex(*offsets.shape):
        part = np.s_[i * p : (i + 1) * p, j * p : (j + 1) * p]
        every = [energy[part][diagonals(energy[part].shape, p, np.array([[k]]))].sum() for k in range(p)]
        assert energy[part][kept[part]].sum() == pytest.approx(max(every))


def test_permuted_diagonal_of_kernels() -> None:
    """A filter keeps whole kernels: outputs and inputs are the two sides of its blocks."""
    state = run([{"step": "permuted_diagonal", "layers": "c2", "p": 2}])["c2/filter"]
    kernels = (state.values != 0).reshape(6, 8, 9)
    assert (kernels.all(axis=2) | ~kernels.any(axis=2)).all() and density(state) == 0.5
    assert np.allclose(kernel_energy(state.values), np.square(state.values).sum(axis=(2, 3)))


# --- column combining ---


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    seed=st.integers(0, 99),
    rows=st.integers(1, 12),
    columns=st.integers(1, 14),
    alpha=st.integers(1, 5),
    gamma=st.sampled_from([0.0, 0.25, 0.5, 3.0]),
)
def test_combined_columns_keep_the_rules(seed: int, rows: int, columns: int, alpha: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    sizes = np.where(rng.random((rows, columns)) < 0.3, np.abs(rng.normal(size=(rows, columns))), 0).astype(np.float32)
    groups = combine_columns(sizes != 0, alpha, gamma)
    assert sorted(c for g in groups for c in g) == list(range(columns))
    removed = conflicts(sizes, groups)
    for group in groups:
        assert len(group) <= alpha
        filled = np.count_nonzero(sizes[:, group], axis=1)
        assert np.maximum(filled - 1, 0).sum() <= gamma * rows
        left = np.where(removed, 0, sizes)[:, group]
        assert (np.count_nonzero(left, axis=1) <= 1).all()
        assert np.array_equal(left.max(axis=1), sizes[:, group].max(axis=1))
    if alpha == 1:
        assert len(groups) == columns and not removed[sizes != 0].any()


def test_columns_without_conflicts_are_packed_as_one() -> None:
    """Three columns that fill different rows take one column of the array, and nothing is lost."""
    matrix = np.zeros((6, 3), np.bool_)
    matrix[:2, 0] = matrix[2:4, 1] = matrix[4:, 2] = True
    assert combine_columns(matrix, 8, 0.0) == [[0, 1, 2]]
    states = run([{"step": "prune", "layers": "fc", "density": 0.1}, {"step": "column_combining", "layers": "fc"}])
    columns, groups = (int(word) for word in states["fc/filter"].notes[-1].split() if word.isdigit())
    assert columns == 216 and 216 / 8 <= groups < 216
    assert 0 < density(states["fc/filter"]) <= 0.1


# --- TETRIS ---


def test_reordering_finds_scattered_blocks() -> None:
    """A matrix of dense and empty blocks, shuffled: reordering finds blocks that lose nothing."""
    rng = np.random.default_rng(3)
    energy = np.zeros((12, 12))
    for i in range(3):
        energy[4 * i : 4 * i + 4, 4 * i : 4 * i + 4] = 1 + rng.random((4, 4))
    shuffled = energy[rng.permutation(12)][:, rng.permutation(12)]
    rows, columns, kept = reorder(shuffled, (4, 4), 1 / 3, 20)
    there = shuffled[np.ix_(rows, columns)]
    lost = there[~kept.repeat(4, axis=0).repeat(4, axis=1)].sum()
    plain = best_blocks(shuffled, (4, 4), 1 / 3)
    lost_before = shuffled[~plain.repeat(4, axis=0).repeat(4, axis=1)].sum()
    assert lost == 0 < lost_before


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 99), rows=st.integers(2, 11), columns=st.integers(2, 11), part=st.floats(0, 1))
def test_reordering_never_loses_more(seed: int, rows: int, columns: int, part: float) -> None:
    energy = np.random.default_rng(seed).random((rows, columns)) ** 4
    loss = []
    for rounds in (0, 1, 3):
        order, across, kept = reorder(energy, (2, 3), part, rounds)
        assert sorted(order) == list(range(rows)) and sorted(across) == list(range(columns))
        mask = kept.repeat(2, axis=0)[:rows].repeat(3, axis=1)[:, :columns]
        loss.append(energy[np.ix_(order, across)][~mask].sum())
        assert np.count_nonzero(kept) == round(part * kept.size)
    assert loss[1] <= loss[0] + 1e-9 and loss[2] <= loss[1] + 1e-9


def test_tetris_step() -> None:
    by_blocks = {"grain": "block", "block": [2, 4], "criterion": "l2"}
    plain = run([{"step": "prune", "layers": "fc", "density": 0.5, **by_blocks}])
    found = run([{"step": "tetris", "layers": "fc", "block": [2, 4], "density": 0.5}])["fc/filter"]
    assert density(found) == 0.5
    assert np.square(found.values).sum() > np.square(plain["fc/filter"].values).sum()
    with pytest.raises(ConfigError, match="density must be 0 to 1, got 2.0"):
        run([{"step": "tetris", "density": 2.0}])
    with pytest.raises(ConfigError, match=r"must be two numbers >= 1, got \[0, 2\]"):
        run([{"step": "tetris", "density": 0.5, "block": [0, 2]}])


# --- equation (39) ---


@pytest.mark.parametrize("name", ["filter", "channel", "fiber", "kernel"])
def test_eq39_group_lasso(name: Any) -> None:
    """The answer beats every small change of itself, and groups vanish as their norm falls below the penalty."""
    original, penalty = WEIGHTS["c2"]["filter"].astype(np.float64), 1.0
    state = run([{"step": "group_lasso", "layers": "c2", "grain": name, "penalty": penalty}])["c2/filter"]
    cut = grain(name, original.shape)

    def loss(weights: NDArray[Any]) -> float:
        return float(np.square(weights - original).sum() / 2 + penalty * np.sqrt(cut.reduce(np.square(weights))).sum())

    norms = np.sqrt(cut.reduce(np.square(original)))
    assert np.array_equal(cut.reduce((state.values != 0).astype(int)) > 0, norms > penalty)
    best, rng = loss(state.values.astype(np.float64)), np.random.default_rng(0)
    for _ in range(50):
        assert loss(state.values + rng.normal(size=original.shape) * 10.0 ** -rng.integers(1, 4)) >= best - 1e-6
    with pytest.raises(ConfigError, match="penalty must be >= 0, got -1.0"):
        run([{"step": "group_lasso", "penalty": -1.0}])


# --- energy-aware order ---


def test_energy_goes_down_to_the_target_where_it_costs_most() -> None:
    states = run([{"step": "prune_energy", "energy": 0.3, "least": 0.2}])
    cost = {n: NETWORK[n].macs + 200 * states[f"{n}/filter"].elements for n in ("c1", "c2", "fc")}
    left = sum(cost[n] * density(states[f"{n}/filter"]) for n in cost)
    assert left / sum(cost.values()) == pytest.approx(0.3, abs=0.002)
    ranked = sorted(cost, key=lambda n: -cost[n])
    found = [density(states[f"{n}/filter"]) for n in ranked]
    assert found[0] == pytest.approx(0.2, abs=0.002) and found == sorted(found) and found[-1] == 1
    with pytest.raises(ConfigError, match="energy must be at least 0.2000 with these least densities, got 0.1"):
        run([{"step": "prune_energy", "energy": 0.1, "least": 0.2}])


# --- reconstruction, equation (41) ---


def images(*shape: int) -> NDArray[np.float32]:
    return np.maximum(numbers(*shape, seed=21), 0)


CAPTURED = {("c2", "ifmap"): images(2, 8, 8, 8), ("fc", "ifmap"): images(2, 216)}


def plain_conv(inputs: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Stride 1, no padding."""
    n, _, h, w = inputs.shape
    out = np.zeros((n, weights.shape[0], h - 2, w - 2))
    for y in range(h - 2):
        for x in range(w - 2):
            out[:, :, y, x] = np.einsum("ncrs,mcrs->nm", inputs[:, :, y : y + 3, x : x + 3], weights)
    return out


def output_error(weights: NDArray[Any]) -> float:
    inputs = CAPTURED["c2", "ifmap"].astype(np.float64)
    want = plain_conv(inputs, WEIGHTS["c2"]["filter"].astype(np.float64))
    return float(np.square(plain_conv(inputs, weights.astype(np.float64)) - want).sum() / np.square(want).sum())


def test_thinet_is_greedy_on_equation_41() -> None:
    """Each removed channel is the one that a plain search over all left ones would take."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(50, 7)) + rng.normal(size=(50, 1))
    removed: list[int] = []
    for _ in range(4):
        left = [c for c in range(7) if c not in removed]
        removed.append(min(left, key=lambda c: np.square(parts[:, [*removed, c]].sum(axis=1)).sum()))
    assert greedy_removal(parts.T @ parts, 4).tolist() == removed
    assert greedy_removal(parts.T @ parts, 0).tolist() == []


def test_thinet_on_a_convolution() -> None:
    steps = [{"step": "thinet", "layers": "c2", "density": 0.5, "refit": False}]
    state = run(steps, CAPTURED)["c2/filter"]
    gone = np.flatnonzero(~state.values.any(axis=(0, 2, 3)))
    assert gone.size == 4
    noted = float(state.notes[-1].split()[-1])
    assert noted == pytest.approx(output_error(state.values), rel=1e-3)
    # greedy over real outputs
    inputs, weights = CAPTURED["c2", "ifmap"].astype(np.float64), WEIGHTS["c2"]["filter"].astype(np.float64)
    parts = [plain_conv(inputs[:, [c]], weights[:, [c]]) for c in range(8)]
    plain: list[int] = []
    for _ in range(4):
        left = [c for c in range(8) if c not in plain]
        plain.append(min(left, key=lambda c: np.square(sum(parts[i] for i in [*plain, c])).sum()))
    assert sorted(plain) == gone.tolist()
    refit = run([{"step": "thinet", "layers": "c2", "density": 0.5}], CAPTURED)["c2/filter"]
    assert output_error(refit.values) <= output_error(state.values)


def test_lasso_meets_its_conditions() -> None:
    """Subgradients: |rest| <= penalty where the factor is zero, rest = penalty * sign elsewhere."""
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(60, 8))
    gram, target = parts.T @ parts, parts.T @ parts.sum(axis=1)
    for penalty in (0.0, 10.0, 40.0, 1e4):
        found = lasso(gram, target, penalty, np.ones(8))
        rest = target - gram @ found
        assert np.allclose(rest[found != 0], penalty * np.sign(found[found != 0]), atol=1e-5)
        assert (np.abs(rest[found == 0]) <= penalty + 1e-5).all()
    assert np.allclose(lasso(gram, target, 0.0, np.zeros(8)), 1)


def test_lasso_keeps_what_the_outputs_depend_on() -> None:
    rng = np.random.default_rng(2)
    parts = rng.normal(size=(80, 6)) * np.array([5, 0.01, 4, 0.02, 3, 0.0])
    assert sorted(lasso_removal(parts.T @ parts, 3).tolist()) == [1, 3, 5]
    for count in range(7):
        assert len(set(lasso_removal(parts.T @ parts, count).tolist())) == count


def test_channel_pruning_by_lasso_and_least_squares() -> None:
    """Section III-E3: for the channels that stay, no other weights give smaller errors."""
    state = run([{"step": "lasso_channels", "layers": "c2", "density": 0.75}], CAPTURED)["c2/filter"]
    kept = np.flatnonzero(state.values.any(axis=(0, 2, 3)))
    assert kept.size == 6
    best = output_error(state.values)
    original = WEIGHTS["c2"]["filter"].copy()
    original[:, np.setdiff1d(np.arange(8), kept)] = 0
    assert best < output_error(original)
    rng = np.random.default_rng(3)
    for _ in range(5):
        other = state.values + np.where(state.values != 0, rng.normal(size=state.shape) * 1e-2, 0)
        assert output_error(other) > best
    linear = run([{"step": "lasso_channels", "layers": "fc", "density": 0.5}], CAPTURED)["fc/filter"]
    assert np.count_nonzero(linear.values.any(axis=0)) == 108


def test_reconstruction_needs_activations() -> None:
    with pytest.raises(ConfigError, match=r"must have captured activations \(c2/ifmap\), got none"):
        run([{"step": "thinet", "layers": "c2", "density": 0.5}])


def test_small_cases_of_equation_41_by_trying_everything() -> None:
    """The greedy choice of one channel is the best there is; of more it is no better than the best."""
    rng = np.random.default_rng(4)
    parts = rng.normal(size=(30, 6))
    for count in (1, 2, 3):
        best = min(np.square(parts[:, list(s)].sum(axis=1)).sum() for s in combinations(range(6), count))
        found = np.square(parts[:, greedy_removal(parts.T @ parts, count)].sum(axis=1)).sum()
        assert found >= best - 1e-9
        if count == 1:
            assert found == pytest.approx(best)


def test_small_reorderings_by_trying_everything() -> None:
    """Rows alone, blocks of two rows and all columns but one: never better than the best permutation."""
    energy = np.random.default_rng(5).random((4, 4)) ** 3
    best = np.inf
    for rows in permutations(range(4)):
        for columns in permutations(range(4)):
            there = energy[np.ix_(rows, columns)]
            kept = best_blocks(there, (2, 2), 0.5).repeat(2, axis=0).repeat(2, axis=1)
            best = min(best, float(there[~kept].sum()))
    rows_found, columns_found, blocks = reorder(energy, (2, 2), 0.5, 10)
    there = energy[np.ix_(rows_found, columns_found)]
    lost = float(there[~blocks.repeat(2, axis=0).repeat(2, axis=1)].sum())
    before = energy[~best_blocks(energy, (2, 2), 0.5).repeat(2, axis=0).repeat(2, axis=1)].sum()
    assert best - 1e-12 <= lost <= before + 1e-12


# --- equations (34) to (36) ---


def test_eq34_to_eq36_admm_prunes() -> None:
    """Every iteration: W minimises the augmented Lagrangian, Z is the nearest sparse matrix, Y' adds W - Z."""
    rng = np.random.default_rng(6)
    inputs, weights, rho, count = rng.normal(size=(40, 6)), rng.normal(size=(3, 6)), 0.7, 7
    gram, cut = inputs.T @ inputs / 40, grain("element", (3, 6))
    sparse, dual = project(weights, cut, count), np.zeros_like(weights)
    for steps in range(1, 6):

        def lagrangian(dense: NDArray[Any], sparse: Any = sparse, dual: Any = dual) -> float:
            change = dense - weights
            loss = np.sum(change @ gram * change) / 2
            return float(loss + rho / 2 * np.square(dense - sparse + dual).sum() - rho / 2 * np.square(dual).sum())

        dense = np.linalg.solve(gram + rho * np.eye(6), (weights @ gram + rho * (sparse - dual)).T).T
        for _ in range(20):
            assert lagrangian(dense) <= lagrangian(dense + rng.normal(size=dense.shape) * 1e-3)
        order = np.argsort(-np.abs(dense + dual).reshape(-1), kind="stable")[:count]
        sparse = np.zeros(18)
        sparse[order] = (dense + dual).reshape(-1)[order]
        sparse = sparse.reshape(3, 6)
        dual = dual + dense - sparse
        assert np.allclose(admm(weights, gram, cut, count, rho, steps), sparse)


def test_admm_loses_less_than_magnitude_at_the_same_density() -> None:
    magnitude = run([{"step": "prune", "layers": "c2", "density": 0.3}])["c2/filter"]
    steps = [{"step": "prune_admm", "layers": "c2", "density": 0.3}]
    found = run(steps, CAPTURED)["c2/filter"]
    assert np.count_nonzero(found.values) == np.count_nonzero(magnitude.values) == round(0.3 * 432)
    assert output_error(found.values) < output_error(magnitude.values)
    fitted = run([{**steps[0], "refit": True}], CAPTURED)["c2/filter"]
    assert output_error(fitted.values) < output_error(found.values)
    filters = run([{**steps[0], "grain": "kernel", "density": 0.5}], CAPTURED)["c2/filter"]
    assert np.count_nonzero(filters.values.any(axis=(2, 3))) == 24


def test_a_captured_trace_brings_its_own_activations(tmp_path: Path) -> None:
    """What `accelsim capture` writes is enough; the numbers are then those that were given by hand."""
    ifmap = np.random.default_rng(5).integers(0, 128, (1, 20, 12, 12)).astype(np.float32)
    ifmap[0, 0, 0, 0] = 127
    captured = {("conv2", "ifmap"): ifmap}  # whole numbers, so that 8 bits hold them
    recipe = [{"step": "thinet", "layers": "conv2", "density": 0.5}]
    bare, found, given = (tmp_path / f"{name}.trace" for name in ("bare", "found", "given"))
    compress("lenet5", None, [{"step": "float", "object": "A", "format": "fp16"}], bare, activations=captured)
    compress(bare, None, recipe, found)
    compress("lenet5", None, recipe, given, activations=captured)
    filters = [Trace.open(path).operand("conv2", "filter") for path in (found, given)]
    values = [operand.values() for operand in filters if operand is not None]
    assert len(values) == 2 and np.array_equal(values[0], values[1])
    assert np.count_nonzero(values[0].any(axis=(0, 2, 3))) == 10
