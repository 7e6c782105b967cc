"""Each method against the equation that defines it in the survey (Section III-D), by a plain twin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.compress.quantize import admm, inq, multibit, ternary
from tests.compress.helpers import applied, make_step, state_of

RNG = np.random.default_rng(11)
ROWS = st.integers(1, 4)
LENGTHS = st.integers(1, 40)
SEEDS = st.integers(0, 10_000)


def tensor(rows: int = 5, length: int = 60, seed: int = 0, scale: float = 0.5) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal((rows, length)) * scale).astype(np.float32)


def unit_randoms(step_words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Numbers in [0, 1) with 24 bits, as the steps make them."""
    return (step_words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


# --- (23) and (24): the nearest level ---


@settings(deadline=None, derandomize=True, max_examples=40)
@given(rows=ROWS, length=LENGTHS, seed=SEEDS, bits=st.integers(2, 12))
def test_eq23_uniform_is_step_times_round(rows: int, length: int, seed: int, bits: int) -> None:
    x = tensor(rows, length, seed)
    state = applied("uniform", x, bits=bits)
    top = 2 ** (bits - 1) - 1 if x.min() < 0 else 2**bits - 1
    step = np.float32(np.abs(x).max() / np.float32(top))
    assert np.array_equal(state.values, np.rint(x / step) * step)
    assert np.abs(state.values - x).max() <= 0.5001 * step


def test_eq23_with_unit_range_has_all_levels() -> None:
    """Delta = 1 / (2^k - 1) gives 2^k levels over [0, 1]."""
    state = applied("dorefa", np.linspace(0, 1, 999, dtype=np.float32)[None], object="A", bits=3)
    assert np.allclose(np.unique(state.values), np.arange(8) / 7)


def test_eq23_by_channel_and_by_group() -> None:
    x = tensor(4, 10)
    by_channel = applied("uniform", x, bits=4, granularity="channel").values
    by_group = applied("uniform", x, bits=4, granularity="group", group=4).values
    for r in range(4):
        step = np.float32(np.abs(x[r]).max() / np.float32(7))
        assert np.array_equal(by_channel[r], np.rint(x[r] / step) * step)
        for start in (0, 4, 8):
            part = x[r, start : start + 4]
            step = np.float32(np.abs(part).max() / np.float32(7))
            assert np.array_equal(by_group[r, start : start + 4], np.rint(part / step) * step)


def test_eq23_affine_keeps_zero_and_covers_the_range() -> None:
    x = tensor(3, 50) + np.float32(0.4)
    x[0, :3] = 0
    state = applied("uniform", x, bits=5, scheme="affine")
    low, high = min(x.min(), 0), max(x.max(), 0)
    step = np.float32((np.float64(high) - low) / 31)
    zero = np.rint(-np.float64(low) / step)
    codes = np.clip(np.rint(x / step) + zero, 0, 31)
    assert state.quantized is not None
    assert np.array_equal(state.quantized.codes, codes)
    assert np.array_equal(state.values, ((codes - zero) * step).astype(np.float32))
    assert not state.values[0, :3].any()


@pytest.mark.parametrize(
    ("kind", "params"), [("uniform", {"bits": 4}), ("kmeans", {"bits": 3}), ("admm", {}), ("lq", {})]
)
def test_eq24_projection_takes_the_nearest_of_its_own_levels(kind: str, params: dict[str, int]) -> None:
    x = tensor(1, 400)
    found = applied(kind, x, **params).values
    levels = np.unique(found)
    best = np.abs(x[..., None] - levels).min(axis=-1)
    # k-means decides by bins of 1/65536 of the range
    assert np.allclose(np.abs(x - found), best, atol=np.ptp(x) / 65536 if kind == "kmeans" else 1e-6)


# --- (25): binary ---


def test_eq25_deterministic_binary() -> None:
    x = np.array([[-0.7, -0.0, 0.0, 1e-9, 3.0]], np.float32)
    assert applied("binary", x, mode="deterministic").values.tolist() == [[-1, 1, 1, 1, 1]]
    assert applied("binary", x, mode="deterministic", levels="01").values.tolist() == [[0, 1, 1, 1, 1]]


def test_eq25_stochastic_binary() -> None:
    x = np.linspace(-1.5, 1.5, 2001, dtype=np.float32)[None]
    step = make_step("binary", mode="stochastic")
    state = state_of(x)
    step.apply(state)
    chance = unit_randoms(step.words(state, "sign", 0, x.size)).reshape(x.shape)
    probability = np.clip((1 + x) / 2, 0, 1)
    assert np.array_equal(state.values, np.where(chance < probability, 1, -1))
    many = applied("binary", np.full((100, 400), 0.4), mode="stochastic").values
    assert abs(float((many == 1).mean()) - 0.7) < 4 * np.sqrt(0.7 * 0.3 / many.size)


# --- (26): ternary ---


def test_eq26_deterministic_ternary() -> None:
    x = np.array([[-0.6, -0.5, -0.2, 0.0, 0.5, 0.50001]], np.float32)
    assert applied("ternary", x, mode="fixed").values.tolist() == [[-1, 0, 0, 0, 0, 1]]


def test_eq26_stochastic_ternary() -> None:
    x = np.linspace(-1.3, 1.3, 3001, dtype=np.float32)[None]
    step = make_step("ternary", mode="stochastic")
    state = state_of(x)
    step.apply(state)
    chance = unit_randoms(step.words(state, "level", 0, x.size)).reshape(x.shape)
    assert np.array_equal(state.values, np.where(chance < np.clip(np.abs(x), 0, 1), np.where(x >= 0, 1, -1), 0))
    many = applied("ternary", np.full((100, 400), -0.3), mode="stochastic").values
    assert abs(float((many == -1).mean()) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / many.size)
    assert not (many == 1).any()


def test_eq26_terngrad_scales_by_the_largest_and_is_unbiased() -> None:
    x = tensor(40, 50)
    levels = np.unique(applied("ternary", x, mode="terngrad").values)
    assert set(levels.tolist()) <= {-float(np.abs(x).max()), 0.0, float(np.abs(x).max())}
    runs = [applied_with_label(x, f"ternary#{i}") for i in range(200)]
    error = np.mean(runs, axis=0) - x
    assert np.abs(error).mean() < 0.1 * np.abs(x).max()


def applied_with_label(x: NDArray[np.float32], label: str) -> NDArray[np.float32]:
    state = state_of(x)
    make_step("ternary", label=label, mode="terngrad").apply(state)
    return state.values


def test_eq26_hysteresis_moves_only_beyond_the_margin() -> None:
    x = np.array([-0.65, -0.55, -0.45, -0.35, 0.0, 0.35, 0.45, 0.55, 0.65], np.float32)
    for before in (-1, 0, 1):
        found = ternary.with_hysteresis(x, np.full(x.shape, before, np.int8), 0.5, 0.1)
        assert found.tolist() == [-1, before, before, 0, 0, 0, before, before, 1]
    assert applied("ternary", x[None], mode="hysteresis").values.tolist() == [[-1, 0, 0, 0, 0, 0, 0, 0, 1]]


# --- (27): scaled binary ---


@settings(deadline=None, derandomize=True, max_examples=30)
@given(length=st.integers(1, 9), seed=SEEDS)
def test_eq27_no_sign_tensor_and_scale_is_better_than_xnor(length: int, seed: int) -> None:
    x = tensor(1, length, seed)
    found = applied("binary", x, mode="xnor").values
    assert np.allclose(found, np.where(x >= 0, 1, -1) * np.abs(x).mean(), rtol=1e-6)
    best = np.inf
    for signs in itertools.product((-1, 1), repeat=length):
        alpha = max(0.0, float(np.dot(x[0], signs)) / length)
        best = min(best, float(((x[0] - alpha * np.array(signs)) ** 2).sum()))
    assert float(((x - found) ** 2).sum()) <= best + 1e-6


def test_eq27_a_scale_for_each_filter_or_one() -> None:
    x = tensor(6, 27).reshape(6, 3, 3, 3)
    by_filter = applied("binary", x, mode="xnor").values
    assert np.allclose(np.abs(by_filter).reshape(6, -1)[:, 0], np.abs(x).reshape(6, -1).mean(axis=1))
    single = applied("binary", x, mode="xnor", granularity="tensor").values
    assert np.allclose(np.abs(single), np.abs(x).mean())


# --- (28): scaled ternary ---


@settings(deadline=None, derandomize=True, max_examples=25)
@given(length=st.integers(1, 8), seed=SEEDS)
def test_eq28_optimal_ternary_is_the_minimum(length: int, seed: int) -> None:
    x = tensor(1, length, seed)
    found = applied("ternary", x, mode="optimal").values
    best = float((x**2).sum())
    for q in itertools.product((-1, 0, 1), repeat=length):
        norm = sum(v * v for v in q)
        if norm:
            alpha = float(np.dot(x[0], q)) / norm
            best = min(best, float(((x[0] - alpha * np.array(q)) ** 2).sum()))
    assert float(((x - found) ** 2).sum()) <= best * (1 + 1e-5) + 1e-9


def test_eq28_twn_threshold_and_scale() -> None:
    x = tensor(5, 80)
    found = applied("ternary", x, mode="twn").values
    for r in range(5):
        threshold = 0.7 * np.abs(x[r]).mean(dtype=np.float64)
        large = np.abs(x[r]) > threshold
        alpha = np.abs(x[r][large]).mean(dtype=np.float64)
        assert np.allclose(found[r], np.where(large, np.sign(x[r]) * alpha, 0), rtol=1e-5)


def test_eq28_ttq_has_a_scale_for_each_sign() -> None:
    x = tensor(5, 80)
    found = applied("ternary", x, mode="ttq").values
    threshold = np.float32(0.05) * np.abs(x).max()
    positive, negative = x[x > threshold].mean(dtype=np.float64), x[x < -threshold].mean(dtype=np.float64)
    expected = np.where(x > threshold, positive, np.where(x < -threshold, negative, 0))
    assert np.allclose(found, expected, rtol=1e-5)


# --- (29) and (30): DoReFa-Net ---


def q_k(x: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Equation (23) on [0, 1]."""
    return np.rint(x * (2**bits - 1)) / (2**bits - 1)


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_eq29_dorefa_weights(bits: int) -> None:
    x = tensor(4, 90)
    wide = np.tanh(x.astype(np.float64))
    unit = wide / (2 * np.abs(wide).max()) + 0.5
    found = applied("dorefa", x, bits=bits).values
    # where float32 and float64 round to different sides the element lies half-way between two levels
    clear = np.abs((unit * (2**bits - 1)) % 1 - 0.5) > 1e-4
    assert clear.mean() > 0.9
    assert np.allclose(found[clear], (2 * q_k(unit, bits) - 1)[clear], atol=1e-6)
    assert set(np.round(np.unique(found) * (2**bits - 1)).tolist()) <= set(range(-(2**bits) + 1, 2**bits, 2))


def test_eq29_one_bit_is_the_sign() -> None:
    x = tensor(3, 30)
    assert np.array_equal(applied("dorefa", x, bits=1).values, np.where(x >= 0, 1, -1))


@pytest.mark.parametrize("bits", [2, 6])
def test_eq30_dorefa_errors_with_noise(bits: int) -> None:
    x = tensor(4, 90, scale=0.02)
    step = make_step("dorefa", object="E", bits=bits)
    state = state_of(x)
    step.apply(state)
    sigma = (unit_randoms(step.words(state, "noise", 0, x.size)).reshape(x.shape) - 0.5) / (2**bits - 1)
    largest = np.abs(x).max()
    unit = np.clip(x.astype(np.float64) / (2 * largest) + 0.5 + sigma, 0, 1)
    expected = 2 * largest * (q_k(unit, bits) - 0.5)
    clear = np.abs((unit * (2**bits - 1)) % 1 - 0.5) > 1e-3
    assert clear.mean() > 0.9
    assert np.allclose(state.values[clear], expected[clear], rtol=1e-4)
    quiet = applied("dorefa", x, object="E", bits=bits, noise=False).values
    assert np.abs(quiet - x).max() <= 1.001 * largest / (2**bits - 1)


def test_eq29_balanced_equalises_the_histogram() -> None:
    x = tensor(8, 512)
    for bits in (1, 2, 3):
        state = applied("balanced", x, bits=bits)
        assert state.quantized is not None
        counts = np.bincount(state.quantized.codes.reshape(-1), minlength=2**bits)
        assert counts.max() - counts.min() <= 1
        levels = np.unique(state.values)
        assert np.allclose(levels, np.abs(x).max() * (2 * np.arange(2**bits) / (2**bits - 1) - 1), rtol=1e-5)
        order = np.argsort(x.reshape(-1), kind="stable")
        assert (np.diff(state.quantized.codes.reshape(-1)[order].astype(int)) >= 0).all()


def test_eq29_balanced_by_means_splits_at_means() -> None:
    x = tensor(8, 512)
    state = applied("balanced", x, bits=2, split="mean")
    assert state.quantized is not None
    codes = state.quantized.codes
    middle = x.mean(dtype=np.float64)
    width = np.ptp(x) / 65536 * 2
    for part, halves in ((x <= middle, (0, 1)), (x > middle, (2, 3))):
        inner = x[part].mean(dtype=np.float64)
        clear = part & (np.abs(x - inner) > width) & (np.abs(x - middle) > width)
        assert np.array_equal(codes[clear], np.where(x[clear] <= inner, *halves))


# --- (31) and (32): multi-bit binary ---


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_eq32_greedy_takes_the_best_of_what_is_left(bits: int) -> None:
    x = tensor(3, 70)
    codes, alphas = multibit.greedy(x, bits)
    for r in range(3):
        rest = x[r].astype(np.float64)
        for j in range(bits):
            signs = np.where(rest >= 0, 1.0, -1.0)
            assert alphas[r, j] == pytest.approx(np.abs(rest).mean())
            assert np.array_equal(codes[r] >> j & 1, signs > 0)
            rest -= alphas[r, j] * signs


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=SEEDS, bits=st.integers(1, 4))
def test_eq31_refinement_never_makes_it_worse(seed: int, bits: int) -> None:
    x = tensor(3, 64, seed)
    errors = [
        float(((applied("multibit", x, bits=bits, method=method, iterations=n).values - x) ** 2).sum())
        for method, n in (("greedy", 0), ("alternating", 0), ("alternating", 1), ("alternating", 4))
    ]
    assert all(later <= earlier * (1 + 1e-5) for earlier, later in itertools.pairwise(errors))


def test_eq31_scales_solve_the_normal_equations() -> None:
    x = tensor(4, 50)
    codes, alphas = multibit.greedy(x, 3)
    found = multibit.fitted(x, codes, alphas, -1)
    for r in range(4):
        basis = np.where(codes[r][:, None] >> np.arange(3) & 1, 1.0, -1.0)
        expected = np.linalg.lstsq(basis, x[r].astype(np.float64), rcond=None)[0]
        assert np.allclose(found[r], expected)


def test_eq31_codes_are_the_nearest_level() -> None:
    x = tensor(2, 80)
    alphas = np.array([[0.5, 0.3, 0.1], [0.9, 0.2, 0.05]])
    codes = multibit.assigned(x, alphas, -1)
    basis = np.where(np.arange(8)[:, None] >> np.arange(3) & 1, 1.0, -1.0)
    for r in range(2):
        levels = basis @ alphas[r]
        assert np.allclose(np.abs(x[r] - levels[codes[r]]), np.abs(x[r][:, None] - levels).min(axis=1), atol=1e-6)


def test_eq31_learned_levels_of_activations_have_a_zero() -> None:
    x = np.abs(tensor(2, 200))
    state = applied("lq", x, signed=False, bits=2)
    assert state.quantized is not None and state.quantized.zeros() is not None
    signed = applied("lq", x - x.mean(), bits=2)
    assert signed.quantized is not None and signed.quantized.zeros() is None


# --- (34) to (36): ADMM ---


def test_eq34_levels_are_zero_and_powers_of_two() -> None:
    x = tensor(4, 100)
    for bits in (2, 3, 4):
        state = applied("admm", x, bits=bits)
        assert state.quantized is not None
        alpha = float(state.quantized.tables["scales"][0])
        ratio = np.abs(state.values[state.values != 0]) / alpha
        exponents = np.log2(ratio)
        assert np.allclose(exponents, np.rint(exponents)) and exponents.max() <= 2 ** (bits - 1) - 2


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=SEEDS)
def test_eq36_projection_is_near_the_best_scale(seed: int) -> None:
    """Second subproblem of (36): against a fine search over alpha."""
    x = tensor(1, 60, seed)
    units = np.array([0.0, 1.0, 2.0, 4.0])
    best = np.inf
    for alpha in np.linspace(0.005, np.abs(x).max(), 1000):
        levels = alpha * np.concatenate([-units, units])
        best = min(best, float((np.abs(x[0][:, None] - levels).min(axis=1) ** 2).sum()))
    found = float(((admm.project(x, 3).values() - x) ** 2).sum())
    assert found <= best * 1.005


def test_eq35_eq36_iteration_solves_a_quadratic_problem() -> None:
    """f(W) = ||A W - b||^2 / 2 with W in {-1, 1}: the iterates follow (36), and end in the constraint set."""
    rng = np.random.default_rng(2)
    a = rng.standard_normal((40, 12))
    target = np.where(rng.standard_normal(12) >= 0, 1.0, -1.0)
    b = a @ target + 0.01 * rng.standard_normal(40)
    rho = 5.0

    def minimise(goal: NDArray[np.float32]) -> NDArray[np.float32]:
        # argmin of f(W) + rho / 2 ||W - goal||^2, the augmented Lagrangian (35) in W
        return np.linalg.solve(a.T @ a + rho * np.eye(12), a.T @ b + rho * goal).astype(np.float32)

    def onto(v: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(v >= 0, 1, -1).astype(np.float32)

    found = admm.solve(minimise, onto, np.zeros(12, np.float32), 60)
    assert np.array_equal(found.z, target)
    assert np.allclose(found.w, found.z, atol=0.05)
    w, z, y = np.zeros(12, np.float32), onto(np.zeros(12, np.float32)), np.zeros(12, np.float32)
    for _ in range(60):  # (36), line by line
        w = minimise(z - y)
        z = onto(w + y)
        y = y + w - z
    assert np.array_equal(found.w, w) and np.array_equal(found.y, y)


# --- methods that the survey describes in words ---


@pytest.mark.parametrize("bits", [3, 5])
def test_inq_projects_as_its_equation_4_says(bits: int) -> None:
    x = tensor(4, 300)
    n1 = int(np.floor(np.log2(4 * np.abs(x).max() / 3)))
    n2 = n1 + 1 - 2 ** (bits - 1) // 2
    assert inq.exponents(float(np.abs(x).max()), bits) == (n1, n2)
    levels = [0.0] + [2.0**e for e in range(n2, n1 + 1)]
    expected = np.zeros(x.shape)
    for alpha, beta in itertools.pairwise(levels):
        inside = (np.abs(x) >= (alpha + beta) / 2) & (np.abs(x) < 3 * beta / 2)
        expected[inside] = np.sign(x[inside]) * beta
    assert np.array_equal(applied("inq", x, bits=bits).values, expected)


def test_inq_quantizes_the_larger_half_first() -> None:
    x = tensor(4, 25)
    found = applied("inq", x, portion=0.5).values
    whole = applied("inq", x).values
    large = np.abs(x) >= np.sort(np.abs(x).reshape(-1))[50]
    assert np.array_equal(found[large], whole[large]) and np.array_equal(found[~large], x[~large])
    words = np.arange(100, dtype=np.uint64)[::-1].copy()
    assert np.flatnonzero(inq.partition(x, 0.2, words)).tolist() == list(range(80, 100))


@pytest.mark.parametrize("base", ["2", "sqrt2"])
def test_log2_rounds_the_exponent(base: str) -> None:
    x = tensor(3, 100)
    state = applied("log2", x, bits=4, base=base)
    octave = 1 if base == "2" else 2
    with np.errstate(divide="ignore"):
        steps = np.log2(np.abs(x).astype(np.float64)) * octave
    top = np.rint(np.log2(np.abs(x).max()) * octave)
    rounded = np.rint(steps)
    expected = np.where(rounded > top - 7, np.sign(x) * 2.0 ** (rounded / octave), 0)
    clear = np.abs(steps % 1 - 0.5) > 1e-5
    assert np.allclose(state.values[clear], expected[clear], rtol=1e-6)


def test_log2_linear_rounding_takes_the_nearest_power() -> None:
    x = tensor(1, 300)
    state = applied("log2", x, bits=4, rounding="linear")
    assert state.quantized is not None
    powers = float(state.quantized.tables["scales"][0]) * 2.0 ** np.arange(7)
    levels = np.concatenate([-powers, [0], powers])
    assert np.allclose(np.abs(state.values - x), np.abs(x[..., None] - levels).min(axis=-1), atol=1e-7)


def test_wage_equations_3_to_12() -> None:
    x = tensor(4, 50)
    sigma = 2.0**-1
    assert np.array_equal(applied("wage", x).values, np.clip(np.rint(x / sigma), -1, 1) * sigma)
    activations = applied("wage", x, object="A", divisor=4.0).values
    assert np.array_equal(activations, np.clip(np.rint(x / 4 * 128), -127, 127) / 128)
    shift = 2.0 ** np.rint(np.log2(np.abs(x).max()))
    errors = applied("wage", x, object="E").values
    assert np.array_equal(errors, (np.clip(np.rint(x / shift * 128), -127, 127) / 128).astype(np.float32))
    gradients = applied("wage", x, object="G", rate=8.0).values * 128
    scaled = 8 * x / shift
    assert ((gradients == np.floor(scaled)) | (gradients == np.floor(scaled) + 1)).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_stochastic_projection_is_unbiased_and_uses_neighbours_only(bits: int) -> None:
    """Fig. 16(b): up or down with the probability of the distance."""
    x = np.full((200, 300), 0.37, np.float32)
    x[0, 0] = 1.0
    state = applied("uniform", x, bits=bits, rounding="stochastic", scheme="affine")
    assert state.quantized is not None
    step = float(state.quantized.tables["scale"])
    below = np.floor(0.37 / step) * step
    found = state.values[1:]
    assert np.isin(np.round(found / step), [round(below / step), round(below / step) + 1]).all()
    share = 0.37 / step - np.floor(0.37 / step)
    assert abs(float(found.mean()) - 0.37) < 4 * step * np.sqrt(share * (1 - share) / found.size)
    assert not np.array_equal(found[0], found[1])
