"""Kernels that work eight bytes at a time, each against a plain twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.workload.encodings import group_kernels as groups
from accelsim.workload.encodings import pair_kernels as pairs
from accelsim.workload.encodings.group_tables import plan_for
from accelsim.workload.encodings.sparse_kernels import nonzero_mask
from accelsim.workload.packing import pack
from tests.workload.test_encodings_packing import naive_pack
from tests.workload.test_encodings_sparse import plain_runs

LANES = (np.uint8, np.uint16, np.uint32)
DENSITIES = [0.0, 0.01, 0.1, 0.4, 0.8, 1.0]


def flat(seed: int, count: int, lane: Any, density: float) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, np.iinfo(lane).max, count, endpoint=True)
    return np.where(rng.random(count) < density, values, 0).astype(lane)


def by_groups(values: NDArray[Any], top: int, step: int) -> tuple[list[int], list[int]]:
    """Entries of the kernel whatever the density, `step` groups at a time."""
    runs = np.zeros(values.size + 16, np.uint8 if top < 256 else np.uint16)
    taken = np.zeros(values.size + 16, values.dtype)
    machine, count = groups.Compactor(values, top), 0
    while machine.left:
        count += machine.run(step, runs[count:], taken[count:])
    return runs[:count].tolist(), taken[:count].tolist()


@pytest.mark.parametrize("lane", LANES)
@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 999), count=st.integers(1, 150), run_bits=st.integers(1, 16), data=st.data())
def test_compact_runs_equals_a_plain_one(lane: Any, seed: int, count: int, run_bits: int, data: Any) -> None:
    values = flat(seed, count, lane, data.draw(st.sampled_from(DENSITIES)))
    top = (1 << run_bits) - 1
    runs, taken, _ = plain_runs(values, count, top)
    step = data.draw(st.sampled_from([1, 3, 1000]))
    assert by_groups(values, top, step) == (runs, taken)
    entries = groups.encode_runs(values, top, run_bits)
    assert entries.count == len(taken) and entries.nonzeros == np.count_nonzero(values)
    assert entries.runs.tolist() == naive_pack(runs, run_bits)
    assert entries.values[: entries.count].tolist() == taken and entries.values.nbytes % 8 == 0


@pytest.mark.parametrize("lane", LANES)
@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 999), count=st.integers(1, 400), run_bits=st.integers(1, 16), data=st.data())
def test_spread_runs_equals_a_plain_one(lane: Any, seed: int, count: int, run_bits: int, data: Any) -> None:
    """Any entries: of a tensor, or with one of them changed; places and refusals are those of a loop."""
    values = flat(seed, count, lane, data.draw(st.sampled_from(DENSITIES)))
    runs, taken, _ = plain_runs(values, count, (1 << run_bits) - 1)
    if runs and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(runs) - 1))
        runs[at], taken[at] = data.draw(st.sampled_from([(0, taken[at]), (runs[at], 0), ((1 << run_bits) - 1, 0)]))
    expected: list[int] | None = [0] * count
    place = 0
    for i, (run, value) in enumerate(zip(runs, taken, strict=True)):
        place += run + 1
        if place > count or (value == 0 and (run != (1 << run_bits) - 1 or i == len(runs) - 1)):
            expected = None
            break
        assert expected is not None
        expected[place - 1] = value
    out, lanes = np.zeros(count, lane), np.array(taken, lane)
    words = pack(np.array(runs, np.uint32), run_bits)
    wrong = groups.decode_runs(words, lanes, int(np.count_nonzero(lanes)), run_bits, out)
    assert (wrong < 0) == (expected is not None)
    if expected is not None:
        assert out.tolist() == expected
    else:
        assert i // 8 * 8 <= wrong + 7 and wrong <= i


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 999), st.integers(1, 300), st.sampled_from(DENSITIES), st.sampled_from(LANES))
def test_spread_equals_numpy(seed: int, count: int, density: float, lane: Any) -> None:
    values = flat(seed, count, lane, density)
    nonzeros = values[values != 0]
    assert np.array_equal(groups.spread(nonzero_mask(values), nonzeros, count), values)
    assert np.array_equal(groups.collect(values, nonzero_mask(values)), nonzeros)
    if count > 1:  # not where a word may begin
        assert np.array_equal(groups.collect(values[1:], nonzero_mask(values[1:])), values[1:][values[1:] != 0])


def test_expand_bytes_at_every_set() -> None:
    plan = plan_for(8, 1)
    octets = np.arange(256, dtype=np.uint8)
    kept = np.unpackbits(octets, bitorder="little").astype(bool)
    values = np.random.default_rng(0).integers(1, 256, int(kept.sum()) + 8).astype(np.uint8)
    out, expected = np.zeros(256, np.uint64), np.zeros(2048, np.uint8)
    groups.expand_bytes(octets, values, plan.counts, plan.sets, out)
    expected[kept] = values[:-8]
    assert np.array_equal(out.view(np.uint8), expected)


def test_fields_at_reads_the_stream() -> None:
    words = np.random.default_rng(1).integers(0, 2**63, 5).astype(np.uint64)
    stream = sum(int(word) << (64 * i) for i, word in enumerate(words))
    for bit in range(4 * 64):
        assert int(groups.fields_at(words, np.uint64(bit))) == (stream >> bit) & (2**64 - 1)


def plain_pairs(values: NDArray[Any], signed: bool) -> list[int]:
    """Eyeriss' words, from a loop over the entries."""
    runs, taken, _ = plain_runs(values.view(f"{'i' if signed else 'u'}{values.itemsize}"), values.size, 31)
    fields = [run | (value & 0xFFFF) << 5 for run, value in zip(runs, taken, strict=True)]
    return [sum(field << (21 * j) for j, field in enumerate(fields[i : i + 3])) for i in range(0, len(fields), 3)]


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    seed=st.integers(0, 999), count=st.integers(1, 300), density=st.sampled_from(DENSITIES),
    lane=st.sampled_from(LANES[:2]), signed=st.booleans(),
)  # fmt: skip
def test_pairs_equal_plain_ones(seed: int, count: int, density: float, lane: Any, signed: bool) -> None:
    values = flat(seed, count, lane, density)
    data, entries, nonzeros = pairs.words_of_pairs(values, signed)
    assert data.tolist() == plain_pairs(values, signed) and entries == len(plain_runs(values, count, 31)[0])
    out = np.zeros(count, lane)
    bits = 8 * values.itemsize
    assert nonzeros == np.count_nonzero(values)
    assert pairs.place_pairs(data, entries, nonzeros, bits, signed, out) == -1
    assert np.array_equal(out, values)


def test_pairs_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_ELEMENTS", 64)
    for lane in LANES[:2]:
        for density in (0.3, 0.9, 1.0):
            values = flat(7, 1000, lane, density)
            data, *_ = pairs.words_of_pairs(values, True)
            assert data.tolist() == plain_pairs(values, True)


def test_values_that_a_width_does_not_have_are_found() -> None:
    values = np.full(400, 1, np.uint16)
    for place in (0, 1, 2, 399):
        for value, bits, signed in ((128, 8, True), (0xFF7F, 8, True), (256, 8, False), (2, 2, True), (4, 2, False)):
            values[place] = value
            data, entries, _ = pairs.words_of_pairs(values, signed)
            out = np.zeros(400, np.uint16)
            assert pairs.place_pairs(data, entries, 400, bits, signed, out) == -3
            assert pairs.place_pairs(data, entries, 400, 16, signed, out) == -1
        values[place] = 1
