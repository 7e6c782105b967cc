"""Decompositions: exactness, bounds, targets, traces, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress import compress
from accelsim.compress.base import run_step
from accelsim.compress.decompose import linalg, modes, networks
from accelsim.compress.decompose.methods import METHODS, Plan, decompose, resolve
from accelsim.workload.decomposed import decomposed
from accelsim.workload.encodings.tensorized import mode_sizes, tensorize, untensorize
from accelsim.workload.trace import Trace
from tests.compress.helpers import make_step, network, state_of, weights

Float = NDArray[np.float32]

MATRIX = ["full_rank", "svd", "qr", "cur"]
SHAPES = st.one_of(
    st.tuples(st.integers(2, 12), st.integers(2, 12)),
    st.tuples(st.integers(2, 8), st.integers(2, 8), st.integers(1, 3), st.integers(1, 3)),
)


def normal(shape: tuple[int, ...], seed: int = 0) -> Float:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b.astype(np.float64)))


def full(method: str, shape: tuple[int, ...]) -> Plan:
    """The largest possible ranks."""
    plan = resolve(Plan(method, rank=1, order=3), shape)
    sizes = mode_sizes(plan.row_modes, plan.column_modes) if plan.row_modes and plan.column_modes else None
    best = METHODS[method].possible(sizes or [shape[0], prod(shape[1:])], prod(shape))
    return Plan(method, ranks=best, order=3)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, derandomize=True, max_examples=12)
@given(shape=SHAPES, seed=st.integers(0, 99), exact=st.booleans())
def test_full_rank_is_exact(method: str, shape: tuple[int, ...], seed: int, exact: bool) -> None:
    values = normal(shape, seed)
    plan = full(method, shape)
    found = decompose(values, Plan(method, ranks=plan.ranks, order=3, exact=exact))
    # CUR multiplies pseudo-inverses of C and R: rounding grows with the square of the condition number
    assert found.error < (2e-2 if method == "cur" else 2e-5)
    assert found.values().shape == shape and found.error == pytest.approx(relative(found.values(), values), abs=1e-6)


@pytest.mark.parametrize("method", ["full_rank", "svd", "qr", "cur", "hosvd", "tucker", "tt", "qtt", "ht"])
@settings(deadline=None, derandomize=True, max_examples=8)
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_error_falls_with_rank(method: str, shape: tuple[int, ...], seed: int) -> None:
    values = normal(shape, seed)
    top = max(full(method, shape).ranks or [])
    errors = [decompose(values, Plan(method, rank=r, order=3)).error for r in range(1, top + 1)]
    # rank by rank for what projects on nested spaces; greedy cuts may lose a little on the way
    slack = 1e-5 if method in (*MATRIX, "hosvd") else 0.02
    assert all(b <= a + slack for a, b in zip(errors, errors[1:], strict=False))
    assert errors[-1] < 2e-2 and errors[-1] <= errors[0]


@settings(deadline=None, derandomize=True, max_examples=15)
@given(shape=st.tuples(st.integers(2, 16), st.integers(2, 16)), seed=st.integers(0, 99), rank=st.integers(1, 6))
def test_svd_is_the_best_and_its_error_is_the_discarded_energy(shape: tuple[int, int], seed: int, rank: int) -> None:
    values, rank = normal(shape, seed), min(rank, *shape)
    s = np.linalg.svd(values.astype(np.float64), compute_uv=False)
    best = sqrt(float((s[rank:] ** 2).sum() / (s**2).sum()))
    for method in ("svd", "full_rank"):
        for exact in (False, True):
            assert decompose(values, Plan(method, rank=rank, exact=exact)).error == pytest.approx(best, abs=2e-6)
    assert all(decompose(values, Plan(m, rank=rank)).error >= best - 1e-6 for m in ("qr", "cur"))
    cores = decompose(values, Plan("svd", rank=rank)).cores
    assert np.allclose(cores["left"].T @ cores["left"], np.eye(rank), atol=1e-5)
    assert np.allclose(cores["sigma"], s[:rank], rtol=1e-4)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(rows=st.lists(st.integers(1, 4), min_size=2, max_size=4), seed=st.integers(0, 99), rank=st.integers(1, 4))
def test_trains_and_trees_stay_within_the_discarded_singular_values(rows: list[int], seed: int, rank: int) -> None:
    """Squared error at most the sum over cuts of energy beyond the rank (Oseledets 2011, Theorem 2.2; Grasedyck)."""
    sizes = [m * n for m, n in zip(rows, [2, 3, 2, 2], strict=False)]
    tensor = normal(tuple(sizes), seed)
    ranks = METHODS["tt"].possible(sizes, rank)
    cores, lost = networks.train(tensor, ranks)
    product = cores[0]
    for core in cores[1:]:
        product = np.tensordot(product, core, 1)
    error2 = float(((product.reshape(sizes) - tensor).astype(np.float64) ** 2).sum())
    bound = 0.0
    for k in range(1, len(sizes)):
        s = np.linalg.svd(tensor.reshape(prod(sizes[:k]), -1).astype(np.float64), compute_uv=False)
        bound += float((s[ranks[k] :] ** 2).sum())
    whole = float((tensor.astype(np.float64) ** 2).sum())
    assert error2 <= bound + 1e-5 * whole and error2 == pytest.approx(lost, abs=1e-5 * whole)
    tree, lost = networks.hierarchical(tensor, METHODS["ht"].possible(sizes, rank))
    assert len(tree) == 2 * len(sizes) - 1 and lost <= whole * (1 + 1e-6)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, derandomize=True, max_examples=6)
@given(shape=SHAPES, seed=st.integers(0, 99), error=st.sampled_from([0.7, 0.4, 0.1]))
def test_ranks_for_an_error_meet_it(method: str, shape: tuple[int, ...], seed: int, error: float) -> None:
    values = normal(shape, seed)
    found = decompose(values, Plan(method, error=error, order=2, iterations=30 if method in ("cp", "btd") else None))
    assert found.error <= error and relative(found.values(), values) <= error + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_ranks_for_a_ratio_are_the_largest_that_meet_it(method: str) -> None:
    values = normal((16, 12, 3, 3))
    found = decompose(values, Plan(method, ratio=3.0))
    assert found.ratio >= 3
    larger = max(found.meta.get("ranks") or [found.meta["rank"]]) + 1
    assert decompose(values, Plan(method, rank=larger)).ratio < 3


def test_what_was_built_of_few_terms_is_found_again() -> None:
    rng = np.random.default_rng(3)
    a, b, c = (rng.standard_normal((n, 3)) for n in (8, 7, 9))
    rank3 = np.einsum("ir,jr,kr->ijk", a, b, c).astype(np.float32).reshape(8, 7, 3, 3)
    assert decompose(rank3, Plan("cp", rank=3, iterations=500)).error < 1e-2
    assert decompose(rank3, Plan("tucker", ranks=[3, 3, 3])).error < 1e-5
    assert decompose(rank3, Plan("hosvd", error=1e-3)).meta["ranks"] == [3, 3, 3]
    train = Plan("tt", error=1e-3, row_modes=[8, 1, 1], column_modes=[1, 7, 9])
    assert decompose(rank3, train).meta["ranks"] == [1, 3, 3, 1]
    g = [rng.standard_normal(s) for s in ((2, 4, 2), (2, 5, 2), (2, 6, 2))]
    loop = np.einsum("aib,bjc,cka->ijk", *g).astype(np.float32).reshape(4, 30)
    plan = Plan("ring", ranks=[2, 2, 2, 2], row_modes=[4, 1, 1], column_modes=[1, 5, 6])
    assert decompose(loop, plan).values().shape == (4, 30)


def test_cur_keeps_columns_and_rows_of_the_matrix_itself() -> None:
    values = normal((10, 14))
    cores = decompose(values, Plan("cur", rank=4)).cores
    assert all(any(np.array_equal(c, v) for v in values.T) for c in cores["columns"].T)
    assert all(any(np.array_equal(r, v) for v in values) for r in cores["rows"])


def test_tucker_is_at_least_as_good_as_hosvd() -> None:
    values = normal((12, 10, 3, 3), 5)
    found = {m: decompose(values, Plan(m, ranks=[4, 3, 5])) for m in ("tucker", "hosvd")}
    assert found["tucker"].error < found["hosvd"].error
    for factor in list(found["hosvd"].cores.values())[1:]:
        assert np.allclose(factor.T @ factor, np.eye(factor.shape[1]), atol=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_gram_matrices_give_the_error_of_full_decompositions(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linalg, "_LARGE", 1)  # float32 first, as for large matrices
    rng = np.random.default_rng(2)
    values = (normal((64, 96)) @ np.diag(10.0 ** -(spread * rng.random(96)))).astype(np.float32)
    for method, rank in (("svd", 8), ("tt", 8), ("ht", 6), ("hosvd", 4), ("ring", 4)):
        fast, slow = (decompose(values, Plan(method, rank=rank, exact=exact)).error for exact in (False, True))
        assert fast == pytest.approx(slow, rel=1e-4)


def test_small_errors_go_the_exact_way() -> None:
    exact = normal((40, 3), 1) @ normal((3, 50), 2)
    values = (exact + 1e-3 * normal((40, 50), 3)).astype(np.float32)
    fast, slow = (decompose(values, Plan("svd", rank=3, exact=e)).error for e in (False, True))
    assert fast == pytest.approx(slow, rel=1e-4) and fast < 2e-3


# --- modes ---


@settings(deadline=None, derandomize=True, max_examples=30)
@given(number=st.integers(1, 5000), count=st.integers(1, 6))
def test_balanced_factors_multiply_back(number: int, count: int) -> None:
    found = modes.balanced(number, count)
    assert prod(found) == number and len(found) == count and found == sorted(found)
    assert prod(modes.primes(number)) == number


def test_modes_of_layers() -> None:
    assert modes.balanced(4096, 6) == [4] * 6 and modes.balanced(25088, 6) == [4, 4, 4, 7, 7, 8]
    assert modes.natural_modes((64, 32, 3, 3)) == ([64, 1, 1], [1, 32, 9])
    assert modes.natural_modes((64, 32, 1, 1)) == ([64, 1], [1, 32])
    assert modes.prime_modes((4, 12)) == ([1, 2, 2], [3, 2, 2])
    rows, columns = modes.chain_modes((64, 16, 3, 3), 4)
    assert (rows, columns) == ([4, 4, 4, 1], [4, 2, 2, 9])


def test_tensorizing_is_the_digits_of_row_and_column() -> None:
    matrix = np.arange(24 * 10).reshape(24, 10)
    tensor = tensorize(matrix, [2, 3, 4], [5, 1, 2])
    assert tensor.shape == (10, 3, 8)
    for i, j in ((0, 0), (17, 9), (23, 3)):
        (a, b, c), (p, q, r) = np.unravel_index(i, (2, 3, 4)), np.unravel_index(j, (5, 1, 2))
        assert tensor[a * 5 + p, b + q, c * 2 + r] == matrix[i, j]
    assert np.array_equal(untensorize(tensor, [2, 3, 4], [5, 1, 2]), matrix)
    kernel = np.arange(4 * 3 * 9).reshape(4, 3, 3, 3)
    assert np.array_equal(tensorize(kernel, *modes.natural_modes(kernel.shape)), kernel.reshape(4, 3, 9))


# --- recipes and traces ---


@pytest.mark.parametrize("method", METHODS)
def test_every_method_survives_a_trace(method: str, tmp_path: Path) -> None:
    out = tmp_path / "a.trace"
    report = compress(network(), weights(), [{"step": "decompose", "method": method, "rank": 2, "order": 3}], out)
    trace = Trace.open(out)
    trace.verify()
    for layer, roles in weights().items():
        operand = trace.operand(layer, "filter")
        assert operand is not None and operand.encoding == METHODS[method].encoding
        row = next(row for row in report.rows if row.layer == layer)
        assert row.relative_error == pytest.approx(relative(operand.values(), roles["filter"]), rel=1e-4)
        found = decomposed(operand)
        assert sum(core.size for core in found.cores.values()) * 4 == row.payload_bytes
        assert prod(found.row_modes) * prod(found.column_modes) == operand.elements
        assert method in row.notes
    again = compress(network(), weights(), [{"step": "decompose", "method": method, "rank": 2, "order": 3}], None)
    assert [row.relative_error for row in again.rows] == [row.relative_error for row in report.rows]


def test_cores_are_quantized_by_later_steps_and_read_by_engines(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        {"step": "decompose", "layers": "fc1", "method": "tt", "ranks": [1, 3, 1],
         "row_modes": [2, 5], "column_modes": [12, 18]},
        {"step": "uniform", "layers": "fc1", "bits": 4, "granularity": "channel"},
        {"step": "kmeans", "layers": "fc2", "bits": 3},
    ]  # fmt: skip
    out = tmp_path / "a.trace"
    compress(network(), weights(), steps, out)
    operand = Trace.open(out).operand("fc1", "filter")
    assert operand is not None and operand.bits == 4
    found = decomposed(operand)
    assert (found.kind, found.ranks) == ("tt", (1, 3, 1))
    assert (found.row_modes, found.column_modes) == ((2, 5), (12, 18))
    assert [core.shape for core in found.cores.values()] == [(1, 2, 12, 3), (3, 5, 18, 1)]
    core = found.integers("core1")
    assert (core.bits, core.meaning, core.signed) == (4, "affine", True) and core.scale.shape == (3,)
    scaled = core.codes * np.asarray(core.scale, np.float32).reshape(-1, 1, 1, 1)
    assert np.array_equal(scaled, found.cores["core1"]) and found.bits == {"core0": 4, "core1": 4}
    product = np.einsum("aipb,bjqc->ijpq", *found.cores.values()).reshape(10, -1)
    assert np.allclose(product, operand.values(), atol=1e-6)
    with pytest.raises(ConfigError, match="core must be one of core0, core1, got 'core9'"):
        found.integers("core9")
    other = Trace.open(out).operand("fc2", "filter")
    assert other is not None
    with pytest.raises(ConfigError, match="fc2/filter: must be decomposed .* got encoding codebook"):
        decomposed(other)


def test_engines_see_codes_of_code_books_and_no_integers_of_floats(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        {"step": "decompose", "layers": "fc*", "method": "svd", "rank": 2},
        {"step": "kmeans", "layers": "fc1", "bits": 3},
    ]
    compress(network(), weights(), steps, tmp_path / "a.trace")
    trace = Trace.open(tmp_path / "a.trace")
    one, two = trace.operand("fc1", "filter"), trace.operand("fc2", "filter")
    assert one is not None and two is not None
    core = decomposed(one).integers("left")
    assert core.meaning == "codebook" and core.codes.shape == (10, 2) and core.codes.max() < 8
    assert decomposed(one).row_modes == (10,) and decomposed(one).ranks == (2,)
    with pytest.raises(ConfigError, match="core left must be quantized to have integers, but is stored as float"):
        decomposed(two).integers("left")


def test_the_number_of_blas_threads_changes_no_bit() -> None:
    script = (
        "import hashlib, numpy as np\n"
        "from accelsim.compress.decompose.methods import METHODS, Plan, decompose\n"
        "w = np.random.default_rng(0).standard_normal((256, 512)).astype(np.float32)\n"
        "h = hashlib.sha256()\n"
        "for m in METHODS:\n"
        "    if m != 'cur':\n"
        "        for c in decompose(w, Plan(m, rank=4, iterations=3), False).cores.values(): h.update(c.tobytes())\n"
        "print(h.hexdigest())\n"
    )
    hashes = set()
    for threads in ("1", "4"):
        env = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "ACCELSIM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        hashes.add(done.stdout)
    assert len(hashes) == 1 and len(hashes.pop()) == 65


# --- refusals ---


@pytest.mark.parametrize(
    ("shape", "plan", "message"),
    [
        ((8, 6), Plan("svd", rank=7), "rank must be at most 6 for svd of 8x6, got 7"),
        ((8, 6), Plan("svd", ranks=[7]), "rank must be at most 6, the shorter side of 8 x 6, got 7"),
        ((8, 6), Plan("svd", ranks=[2, 2]), r"ranks must be 1 numbers \(the rank\), got 2"),
        ((8, 6), Plan("svd", rank=2, row_modes=[8], column_modes=[6]), "row_modes .* must not be given for svd"),
        ((8, 6), Plan("tt", rank=2, row_modes=[2, 3], column_modes=[2, 3]), "row_modes must .* got 2x3 = 6"),
        ((8, 6), Plan("tt", rank=2, row_modes=[2, 4], column_modes=[2, 2]), "column_modes must .* to 6 .* 2x2 = 4"),
        ((8, 6), Plan("tt", rank=2, row_modes=[2, 4], column_modes=[6]), "must be equally many .* got 2 and 1"),
        ((8, 6), Plan("tt", rank=2, row_modes=[2, 4]), "must be given both, or neither"),
        ((8, 6), Plan("tt", ranks=[1, 2, 1], row_modes=[2, 2, 2], column_modes=[1, 2, 3]), "ranks must be 4 numbers"),
        ((8, 6), Plan("tt", ranks=[2, 2, 1], row_modes=[2, 4], column_modes=[2, 3]), "begin and end with 1, got"),
        ((8, 6), Plan("tt", ranks=[1, 5, 1], row_modes=[2, 4], column_modes=[2, 3]), r"ranks\[1\] must be at most 4"),
        ((8, 6), Plan("tt", ranks=[1, 1, 5, 1], row_modes=[2, 2, 2], column_modes=[1, 2, 3]), "behind rank 1, got 5"),
        ((8, 6), Plan("ring", ranks=[2, 2, 1], row_modes=[2, 4], column_modes=[2, 3]), "begin and end with the same"),
        ((8, 6), Plan("ring", ranks=[3, 2, 3], row_modes=[2, 4], column_modes=[2, 3]), r"ranks\[0\] \* ranks\[1\]"),
        ((8, 6), Plan("ht", ranks=[2, 2, 2], row_modes=[2, 4], column_modes=[2, 3]), "must begin with 1, the root"),
        ((8, 6), Plan("ht", ranks=[1, 5, 2], row_modes=[2, 4], column_modes=[2, 3]), r"ranks\[1\] must be at most 4"),
        ((8, 6, 3, 3), Plan("tucker", ranks=[9, 2, 2]), r"ranks\[0\] must be at most 8, the size of mode 0, got 9"),
        ((8, 6, 3, 3), Plan("tucker", ranks=[8, 2, 2]), "must be at most 4, the product of the other ranks, got 8"),
        ((8, 6, 3, 3), Plan("tucker", ranks=[2, 2]), "one for each mode"),
        ((8, 6, 3, 3), Plan("cp", rank=60), "rank must be at most 48 for cp of 8x6x9, got 60"),
        ((8, 6, 3, 3), Plan("cp", ranks=[60]), "rank must be at most 48, the elements over the largest mode"),
        ((512, 512), Plan("tucker", rank=2, order=9), "modes must be at most 8 for tucker, got 9"),
        ((512, 512), Plan("btd", rank=2, order=8), "modes must be at most 7 for btd, got 8"),
        ((8, 6), Plan("tt", rank=0), "rank must be >= 1, got 0"),
        ((8, 6), Plan("tt", ranks=[1, 0, 1]), "ranks must be >= 1"),
        ((8, 6), Plan("tt", error=0.0), "error must be above 0 and below 1, got 0.0"),
        ((8, 6), Plan("tt", ratio=-1.0), "ratio must be above 0, got -1.0"),
        ((8, 6), Plan("svd", ratio=100.0), "ratio must be at most 3.2, that of rank 1, got 100.0"),
        ((8, 6), Plan("tt"), "one of rank, ranks, error and ratio must be given, got none"),
        ((8, 6), Plan("tt", rank=2, error=0.1), "got rank and error"),
        ((8, 6), Plan("ttt", rank=2), "unknown method 'ttt'; did you mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(shape: tuple[int, ...], plan: Plan, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decompose(normal(shape), plan)


def test_numbers_that_are_none_are_refused() -> None:
    values = normal((4, 4))
    values[1, :2] = np.nan, np.inf
    with pytest.raises(ConfigError, match="values must be finite, but 2 of 16 are NaN or infinite"):
        decompose(values, Plan("svd", rank=1))
    given = weights()
    given["fc1"]["filter"][0, 0] = np.nan
    with pytest.raises(ConfigError, match="fc1/filter: weights must be finite, but 1 of"):
        compress(network(), given, [{"step": "decompose", "method": "svd", "rank": 1}], None)


def test_an_error_out_of_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match="error must be at least .* which svd reaches here, got 1e-12"):
        decompose(normal((6, 7)), Plan("svd", error=1e-12))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "svd", "rank": 99}, "decompose: conv1/filter: rank must be at most 4"),
        ({"method": "tt", "layers": "fc1", "rank": 2, "row_modes": [3], "column_modes": [2]}, "fc1/filter: row_modes"),
        ({"method": "svd"}, "needs one of rank, ranks, error and ratio, got none"),
        ({"method": "svd", "rank": 1, "ratio": 2.0}, "got rank and ratio"),
        ({"method": "tensor", "rank": 1}, "method: must be one of"),
        ({"method": "tt", "rank": {"fc1": 2}}, "rank: must say something about layer 'conv1'"),
    ],
)  # fmt: skip
def test_a_recipe_that_does_not_fit_is_refused_before_any_work(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compress(network(), weights(), [{"step": "decompose", **params}], None)


def test_order_of_steps() -> None:
    state = state_of(normal((6, 8)))
    run_step(make_step("decompose", method="svd", rank=2), state)
    with pytest.raises(ConfigError, match="is decomposed already"):
        run_step(make_step("decompose", method="svd", rank=1), state)
    run_step(make_step("prune", density=0.5), state)
    assert all(core.pruned for core in state.factors.cores)  # type: ignore[union-attr]
    state = state_of(normal((6, 8)))
    run_step(make_step("uniform", bits=8), state)
    with pytest.raises(ConfigError, match="is quantized, .* decompose first"):
        run_step(make_step("decompose", method="svd", rank=1), state)
    with pytest.raises(ConfigError, match="is pruned, .* decompose first"):
        run_step(make_step("decompose", method="svd", rank=1), state_of(normal((6, 8)), pruned=True))
