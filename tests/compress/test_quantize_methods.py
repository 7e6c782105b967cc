"""Quantizers that are defined by an algorithm or a format rather than by an equation; kernels and their plain twins."""

from __future__ import annotations

import itertools
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.quantize import clipping, kernels
from accelsim.compress.quantize.common import histogram_of
from accelsim.compress.quantize.profiled import profiles
from accelsim.compress.store import stored
from accelsim.workload.encodings.minifloat import FORMATS, float_codes, float_table, float_values
from accelsim.workload.huffman import check_lengths, code_lengths, pack_symbols, stream_bits, unpack_symbols
from tests.compress.helpers import applied, make_step, state_of

SEEDS = st.integers(0, 10_000)


def tensor(rows: int = 5, length: int = 60, seed: int = 0, scale: float = 0.5) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal((rows, length)) * scale).astype(np.float32)


# --- kernels against plain twins ---


@settings(deadline=None, derandomize=True, max_examples=30)
@given(rows=st.integers(1, 4), length=st.integers(1, 30), group=st.integers(1, 12), seed=SEEDS)
def test_round_groups_equals_numpy(rows: int, length: int, group: int, seed: int) -> None:
    x = tensor(rows, length, seed, 3.0)
    groups = -(-length // group)
    rng = np.random.default_rng(seed)
    scales = (rng.random((rows, groups)) + 0.1).astype(np.float32)
    offsets = rng.integers(0, 9, (rows, groups)).astype(np.float32)
    out = np.empty(x.shape, np.int8)
    kernels.round_groups(x, scales, offsets, group, np.float32(-7), np.float32(20), out)
    s, z = (np.repeat(t, group, axis=1)[:, :length] for t in (scales, offsets))
    assert np.array_equal(out, np.clip(np.rint(x / s) + z, -7, 20))


def test_round_groups_of_halves_go_to_even_and_large_numbers_clip() -> None:
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 3e38, -3e38, 1e10]], np.float32)
    one, zero = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    out = np.empty(x.shape, np.int16)
    kernels.round_groups(x, one, zero, 8, np.float32(-32767), np.float32(32767), out)
    assert out.tolist() == [[0, 2, 2, 0, -2, 32767, -32767, 32767]]


def splitmix(key: int, index: int) -> int:
    mask = 2**64 - 1
    z = (key + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_round_randomly_equals_its_twin() -> None:
    x = tensor(3, 11, 4, 3.0)
    scales, offsets = np.full((3, 2), 0.7, np.float32), np.full((3, 2), 2, np.float32)
    out = np.empty(x.shape, np.int8)
    with np.errstate(over="ignore"):
        kernels.round_randomly(x, scales, offsets, 6, np.float32(-7), np.float32(7), np.uint64(99), np.uint64(5), out)
    for r, i in itertools.product(range(3), range(11)):
        q = np.float32(min(max(x[r, i] / np.float32(0.7), np.float32(-9)), np.float32(5)))
        chance = np.float32(splitmix(99, 5 + r * 11 + i) >> 40) * np.float32(2.0**-24)
        assert out[r, i] == np.floor(q) + (chance < q - np.floor(q)) + 2


@settings(deadline=None, derandomize=True, max_examples=30)
@given(rows=st.integers(1, 3), length=st.integers(1, 600), levels=st.integers(1, 20), shared=st.booleans(), seed=SEEDS)
def test_nearest_level_equals_searchsorted(rows: int, length: int, levels: int, shared: bool, seed: int) -> None:
    x = tensor(rows, length, seed)
    rng = np.random.default_rng(seed)
    thresholds = np.sort(rng.random((1 if shared else rows, levels)), axis=1).astype(np.float32)
    names = np.arange(levels + 1)[None]
    out, signed = np.empty(x.shape, np.uint8), np.empty(x.shape, np.int8)
    kernels.nearest_level(x, thresholds, names, False, out)
    kernels.nearest_level(x, thresholds, names, True, signed)
    for r in range(rows):
        row = thresholds[0 if shared else r]
        assert np.array_equal(out[r], np.searchsorted(row, x[r], side="left"))
        assert np.array_equal(signed[r], np.where(x[r] < 0, -1, 1) * np.searchsorted(row, np.abs(x[r]), side="left"))


def test_sums_and_histograms_equal_numpy() -> None:
    x = tensor(4, 50)
    x[0, :7] = 0
    codes = np.random.default_rng(1).integers(0, 5, x.shape).astype(np.uint8)
    counts, sums = np.zeros((4, 5), np.int64), np.zeros((4, 5))
    kernels.cluster_sums(x, codes, counts, sums)
    for r, c in itertools.product(range(4), range(5)):
        assert counts[r, c] == (codes[r] == c).sum()
        assert sums[r, c] == pytest.approx(x[r][codes[r] == c].sum(dtype=np.float64))
    found = histogram_of(x, 64, skip_zero=True)
    places = np.clip(((x - found.low) * found.bins_per_unit).astype(int), 0, 63)
    assert np.array_equal(found.counts, np.bincount(places[x != 0], minlength=64))
    assert np.allclose(found.sums, np.bincount(places[x != 0], weights=x[x != 0], minlength=64))
    names = np.arange(64, dtype=np.uint8)
    out = np.empty(x.shape, np.uint8)
    kernels.assign_bins(x, found.low, found.bins_per_unit, names, 77, out)
    assert np.array_equal(out, np.where(x == 0, 77, places))


# --- clipping ---


def test_percentile_is_the_quantile_up_to_a_bin() -> None:
    x = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    for percent in (50.0, 99.0, 99.9, 100.0):
        counts, largest = clipping.magnitudes(x, clipping.BINS)
        found = clipping.percentile(counts, largest, percent, 0)
        assert found == pytest.approx(float(np.quantile(np.abs(x), percent / 100)), abs=2 * largest / clipping.BINS)


def test_least_squares_clipping_beats_the_whole_range() -> None:
    x = np.random.default_rng(0).laplace(size=(1, 20_000)).astype(np.float32)
    plain = float(((applied("uniform", x, bits=3).values - x) ** 2).mean())
    best = min(
        float(((np.clip(np.rint(x / (t / 3)), -3, 3) * (t / 3) - x) ** 2).mean())
        for t in np.linspace(0.02, 1, 50) * np.abs(x).max()
    )
    clipped = float(((applied("uniform", x, bits=3, clip="mse").values - x) ** 2).mean())
    assert clipped < 0.5 * plain and clipped <= 1.02 * best


def kl_twin(counts: NDArray[np.int64], levels: int) -> int:
    """The number of bins kept, by the description in Migacz's slides, with loops."""
    best, kept = np.inf, 0
    for i in range(levels, counts.size + 1):
        p = counts[:i].astype(float)
        p[-1] += counts[i:].sum()
        q = np.zeros(i)
        for k in range(levels):
            part = range(k * i // levels, (k + 1) * i // levels)
            filled = [j for j in part if counts[j]]
            for j in filled:
                q[j] = sum(counts[m] for m in part) / len(filled)
        p, q = p / p.sum(), q / q.sum()
        divergence = sum(a * np.log(a / max(b, 1e-6 * p.max())) for a, b in zip(p, q, strict=True) if a)
        if divergence < best:
            best, kept = divergence, i
    return kept


def test_kl_equals_its_twin() -> None:
    x = np.abs(np.random.default_rng(3).laplace(size=2000))
    counts, _ = np.histogram(x, 60, (0, x.max()))
    found = clipping.kullback_leibler(counts, 60.0, 0, 8)
    assert round(found) == kl_twin(counts, 8)


# --- k-means ---


def lloyd_twin(x: NDArray[np.float64], centres: NDArray[np.float64], iterations: int) -> NDArray[np.float64]:
    for _ in range(iterations):
        names = np.abs(x[:, None] - centres).argmin(axis=1)
        moved = np.array([x[names == k].mean() if (names == k).any() else c for k, c in enumerate(centres)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


@pytest.mark.parametrize("exact", [False, True])
def test_kmeans_follows_lloyd(exact: bool) -> None:
    x = tensor(20, 200, 5)
    state = applied("kmeans", x, bits=3, exact=exact, zero=False)
    start = np.linspace(float(x.min()), float(x.max()), 8)
    centres = lloyd_twin(x.reshape(-1).astype(np.float64), start, 100)
    assert np.allclose(np.unique(state.values), centres, atol=1e-4 * np.ptp(x))


def test_kmeans_centres_are_the_means_of_their_elements() -> None:
    x = tensor(20, 200, 6)
    state = applied("kmeans", x, bits=4)
    assert state.quantized is not None
    for code, level in enumerate(state.quantized.tables["levels"][0]):
        assert level == pytest.approx(float(x[state.quantized.codes == code].mean(dtype=np.float64)), rel=1e-5)


def test_kmeans_after_pruning_keeps_code_zero_for_zero() -> None:
    x = tensor(10, 100)
    x[np.abs(x) < 0.4] = 0
    state = applied("kmeans", x, bits=3, pruned=True)
    quantized = state.quantized
    assert quantized is not None and quantized.tables["levels"][0, 0] == 0
    assert np.array_equal(quantized.codes == 0, x == 0)
    assert np.unique(quantized.codes).size == 8  # zero and seven centres


def test_kmeans_of_few_different_numbers_is_exact() -> None:
    x = np.random.default_rng(0).choice(np.array([-0.5, 0.1, 0.7], np.float32), (6, 30))
    assert np.array_equal(applied("kmeans", x, bits=4).values, x)
    assert np.array_equal(applied("kmeans", np.full((3, 4), 2.5), bits=2).values, np.full((3, 4), 2.5))


@pytest.mark.parametrize("start", ["linear", "density", "random"])
def test_kmeans_is_better_than_uniform(start: str) -> None:
    x = np.random.default_rng(1).laplace(size=(50, 200)).astype(np.float32)
    uniform = ((applied("uniform", x, bits=4).values - x) ** 2).mean()
    assert ((applied("kmeans", x, bits=4, start=start).values - x) ** 2).mean() < 0.5 * uniform


# --- small floating-point formats ---


def float_twin(value: float, name: str) -> float:
    """The nearest number of a format by trying all, ties to the even code."""
    table = float_table(name).astype(np.float64)
    half = 1 << (FORMATS[name].bits - 1)
    positive = table[: FORMATS[name].largest + 1]
    distance = np.abs(positive - min(abs(value), float(positive[-1])))
    candidates = np.flatnonzero(distance == distance.min())
    code = int(candidates[0]) if candidates.size == 1 else next(int(c) for c in candidates if c % 2 == 0)
    return float(table[code + (half if value < 0 and code else 0)])


@pytest.mark.parametrize("name", [n for n, item in FORMATS.items() if item.bits <= 8])
def test_minifloats_round_to_the_nearest(name: str) -> None:
    rng = np.random.default_rng(0)
    numbers = np.concatenate([
        rng.standard_normal(100) * 2.0 ** rng.integers(-12, 10, 100), float_table(name)[: FORMATS[name].largest + 1],
        [0.0, -0.0, 1e30, -1e30, 1e-30],
    ]).astype(np.float32)  # fmt: skip
    halves = float_table(name)[: FORMATS[name].largest + 1].astype(np.float64)
    numbers = np.concatenate([numbers, ((halves[1:] + halves[:-1]) / 2).astype(np.float32)])
    found = float_values(float_codes(numbers, name), name)
    assert found.tolist() == [float_twin(float(v), name) for v in numbers]
    assert not np.signbit(found[found == 0]).any()


def test_minifloats_of_16_bits_are_numpys_and_truncations() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(5000) * 2.0 ** rng.integers(-30, 15, 5000)).astype(np.float32)
    assert np.array_equal(float_values(float_codes(x, "fp16"), "fp16"), x.astype(np.float16).astype(np.float32))
    bits = x.view(np.uint32).astype(np.uint64)
    nearest = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    assert np.array_equal(float_values(float_codes(x, "bf16"), "bf16"), nearest)
    assert np.array_equal(float_values(float_codes(x, "fp32"), "fp32"), x)


def test_largest_numbers_of_the_formats() -> None:
    """OCP OFP8 1.0 and MX 1.0: 448, 57344, 28, 7.5, 6; IEEE: 65504."""
    largest = {"fp8_e4m3": 448, "fp8_e5m2": 57344, "fp6_e3m2": 28, "fp6_e2m3": 7.5, "fp4_e2m1": 6, "fp16": 65504}
    for name, value in largest.items():
        assert float_values(float_codes(np.array([1e6], np.float32), name), name)[0] == value
    smallest = {"fp8_e4m3": 2.0**-9, "fp8_e5m2": 2.0**-16, "fp6_e3m2": 2.0**-4, "fp6_e2m3": 0.125, "fp4_e2m1": 0.5}
    for name, value in smallest.items():
        assert float_table(name)[1] == value


def test_stochastic_floats_are_unbiased() -> None:
    x = np.full((100, 200), 1.3, np.float32)
    found = applied("float", x, format="fp8_e4m3", rounding="stochastic").values
    assert set(np.unique(found).tolist()) == {1.25, 1.375}
    assert float(found.mean()) == pytest.approx(1.3, abs=4 * 0.0625 / np.sqrt(found.size))


@pytest.mark.parametrize("name", ["mxint8", "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4"])
def test_mx_shares_an_exponent_in_blocks_of_32(name: str) -> None:
    """MX specification, section 6.3: X = 2**(floor(log2 max) - emax), elements V / X of the format."""
    x = tensor(3, 70, 2)
    found = applied("mx", x, format=name).values
    element = {"mxint8": None, "mxfp4": "fp4_e2m1"}.get(name, name.removeprefix("mx"))
    top = {"mxint8": 0, "mxfp8_e4m3": 8, "mxfp8_e5m2": 15, "mxfp6_e3m2": 4, "mxfp6_e2m3": 2, "mxfp4": 2}[name]
    for r, start in itertools.product(range(3), (0, 32, 64)):
        block = x[r, start : start + 32].astype(np.float64)
        scale = 2.0 ** (np.floor(np.log2(np.abs(block).max())) - top)
        if element is None:
            expected = np.clip(np.rint(block / scale * 64), -127, 127) / 64 * scale
        else:
            expected = np.array([float_twin(v, element) for v in block / scale]) * scale
        assert np.array_equal(found[r, start : start + 32], expected.astype(np.float32))


def test_block_float_loses_at_most_half_a_step() -> None:
    x = tensor(4, 45)
    found = applied("block_float", x, bits=6, block=9).values
    for start in range(0, 45, 9):
        block = x[:, start : start + 9]
        step = 2.0 ** np.floor(np.log2(np.abs(block).max(axis=1, keepdims=True))) / 2**4
        assert (np.abs(found[:, start : start + 9] - block) <= step * 1.0001).all()  # a full one where it saturates


# --- outliers, profiles ---


def test_outliers_share_the_grid_and_are_as_many_as_said() -> None:
    x = np.random.default_rng(0).standard_normal((40, 500)).astype(np.float32)
    state = applied("outlier", x, normal=4, bits=8, ratio=0.03)
    assert state.quantized is not None and state.storage is not None
    large = np.abs(state.quantized.codes.astype(int)) > 7
    assert 0.01 < large.mean() < 0.03
    step = float(state.quantized.tables["scale"])
    assert np.array_equal(state.values, np.clip(np.rint(x / np.float32(step)), -127, 127) * np.float32(step))
    kept = stored(state)
    # -8 fits 4 bits too
    outliers = int((state.quantized.codes > 7).sum() + (state.quantized.codes < -8).sum())
    assert kept.payload_bits == x.size * 4 + outliers * 8
    with pytest.raises(ConfigError, match="normal must be less than bits, got 8 and 8"):
        make_step("outlier", normal=8, bits=8)


def test_profiles_have_sources_and_sensible_widths() -> None:
    rows = profiles()
    assert {row.network for row in rows} >= {"alexnet", "googlenet", "lenet5", "vgg19"}
    assert all(1 <= row.bits <= 16 and row.source and row.provenance and row.confidence for row in rows)
    alexnet = [r.bits for r in rows if r.network == "alexnet" and r.operand == "activation" and r.layer != "kind:conv"]
    assert alexnet[:5] == [9, 8, 5, 5, 7]  # Stripes, table of 100 % accuracy


# --- Huffman ---


@settings(deadline=None, derandomize=True, max_examples=40)
@given(counts=st.lists(st.integers(0, 500), min_size=1, max_size=40).filter(any))
def test_huffman_lengths_are_optimal(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    check_lengths(lengths)
    assert [n > 0 for n in lengths] == [c > 0 for c in counts]
    total, number = sum(counts), sum(c > 0 for c in counts)
    entropy = -sum(c * log2(c / total) for c in counts if c)
    bits = stream_bits(np.array(counts), lengths)
    assert entropy <= bits + 1e-6 and bits <= entropy + total
    # the cost of Huffman's construction is the sum of all merged weights
    heap, cost = sorted(c for c in counts if c), 0
    while len(heap) > 1:
        merged = heap[0] + heap[1]
        cost += merged
        heap = sorted([*heap[2:], merged])
    assert bits == (cost if number > 1 else total)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(size=st.integers(1, 300), count=st.integers(1, 400), seed=SEEDS)
def test_huffman_streams_come_back(size: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = np.minimum(rng.geometric(0.2, count) - 1, size - 1).astype(np.uint16)
    counts = np.bincount(symbols, minlength=size)
    lengths = code_lengths(counts)
    bits = stream_bits(counts, lengths)
    words = pack_symbols(symbols, lengths, bits)
    assert words.size == -(-bits // 64)
    assert np.array_equal(unpack_symbols(words, count, lengths, bits, np.uint16), symbols)
    if bits > 1:
        with pytest.raises(ConfigError, match="stream must hold"):
            unpack_symbols(words, count, lengths, bits - 1, np.uint16)


def test_huffman_code_words_longer_than_a_look_up() -> None:
    """Fibonacci counts make the longest code words."""
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    lengths = code_lengths(np.array(counts))
    assert lengths.max() == 23
    symbols = np.repeat(np.arange(24), [min(c, 3) for c in counts]).astype(np.uint8)
    few = np.bincount(symbols, minlength=24)
    bits = stream_bits(few, lengths)
    words = pack_symbols(symbols, lengths, bits)
    assert np.array_equal(unpack_symbols(words, symbols.size, lengths, bits, np.uint8), symbols)


@pytest.mark.parametrize("lengths", [[0, 0], [1, 1, 1], [2, 2, 2], [2], [61, 61]])
def test_huffman_refuses_lengths_that_are_no_code(lengths: list[int]) -> None:
    with pytest.raises(ConfigError, match="code lengths must be"):
        check_lengths(np.array(lengths, np.uint8))


# --- bad input ---


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("uniform", {"clip": "mse", "range": 1.0}, "clip and range cannot both be given"),
        ("uniform", {"clip": "mse", "granularity": "group"}, "clip needs granularity tensor or channel, got group"),
        ("uniform", {"clip": "kl", "granularity": "channel"}, "clip kl needs granularity tensor"),
        ("uniform", {"power_of_two": True, "scheme": "affine"}, "power_of_two needs scheme symmetric"),
        ("profiled", {"object": "W", "layers": "*", "accuracy": 99}, None),
    ],
)
def test_parameters_that_contradict_each_other(kind: str, params: dict[str, object], message: str | None) -> None:
    if message is None:
        make_step(kind, **params)
        return
    with pytest.raises(ConfigError, match=f"recipe: {message}"):
        make_step(kind, **params)


def test_one_bit_is_for_operands_without_negative_numbers() -> None:
    with pytest.raises(ConfigError, match="fc1/filter: bits must be at least 2 for negative numbers"):
        applied("uniform", tensor(), bits=1)
    found = applied("uniform", np.abs(tensor()), bits=1, signed=False)
    assert np.unique(found.values).size == 2


def test_bits_of_a_layer_are_checked_when_they_are_used() -> None:
    step = make_step("kmeans")
    object.__setattr__(step, "params", step.params.model_copy(update={"bits": {"fc1": 99}}))
    with pytest.raises(ConfigError, match="bits must be 1 to 10 for kmeans, got 99"):
        step.apply(state_of(tensor()))
