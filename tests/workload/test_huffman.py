"""Canonical Huffman coding: round trips, lengths, and how far from the entropy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import encoding
from accelsim.workload.huffman import MAX_LENGTH, _reversed_codes, check_lengths, code_lengths, pack_symbols
from accelsim.workload.huffman import stream_bits, unpack_symbols

SYMBOLS = st.lists(st.integers(0, 40), min_size=1, max_size=300)
WEIGHTED = st.builds(
    lambda seed, size, power: np.minimum(np.random.default_rng(seed).zipf(power, size) - 1, 200),
    st.integers(0, 10**6), st.integers(1, 800), st.floats(1.2, 3.0),
)  # fmt: skip


def entropy(counts: Any) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def optimal_bits(counts: list[int]) -> int:
    """Bits of the best prefix code: the sum of all merged counts (Huffman's own argument), without a tree."""
    left = sorted(c for c in counts if c)
    if len(left) == 1:
        return left[0]
    total = 0
    while len(left) > 1:
        pair = left[0] + left[1]
        total += pair
        left = sorted([*left[2:], pair])
    return total


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.one_of(SYMBOLS.map(np.array), WEIGHTED))
def test_round_trip_payload_and_entropy(symbols: Any) -> None:
    counts = np.bincount(symbols, minlength=256)
    lengths = code_lengths(counts)
    total = stream_bits(counts, lengths)
    # payload bits are the sum of the code lengths of what is stored, and the least possible
    assert total == sum(int(lengths[s]) for s in symbols) == optimal_bits(counts.tolist())
    words = pack_symbols(symbols.astype(np.uint8), lengths, total)
    assert words.size == -(-total // 64)
    assert (unpack_symbols(words, symbols.size, lengths, total, np.uint8) == symbols).all()
    # Huffman 1952: H <= mean length < H + 1 (a single symbol has a bit all the same)
    h = entropy(counts)
    assert h - 1e-9 <= total / symbols.size < h + 1 + 1e-9


@settings(deadline=None, derandomize=True, max_examples=60)
@given(WEIGHTED)
def test_code_words_are_canonical_and_prefix_free(symbols: Any) -> None:
    lengths = code_lengths(np.bincount(symbols, minlength=256))
    check_lengths(lengths)
    used = np.flatnonzero(lengths)
    codes = _reversed_codes(lengths)
    words = {int(s): format(int(codes[s]), f"0{int(lengths[s])}b")[::-1] for s in used}
    for a in words.values():
        assert sum(b.startswith(a) for b in words.values()) == 1
    # Schwartz and Kallick 1964: by length, then by symbol, each word is the next number
    ranked = sorted(words, key=lambda s: (int(lengths[s]), s))
    for one, two in pairwise(ranked):
        step = int(words[one], 2) + 1 << int(lengths[two]) - int(lengths[one])
        assert int(words[two], 2) == step
    assert int(words[ranked[0]], 2) == 0


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(2, 12), st.booleans(), st.integers(0, 10**6), st.integers(1, 500))
def test_encoding_counts_its_bits(bits: int, signed: bool, seed: int, size: int) -> None:
    rng, codec = np.random.default_rng(seed), encoding("huffman")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = np.clip(np.round(rng.laplace(scale=(high - low) / 20, size=size)), low, high).astype(np.int32)
    found = codec.encode(values, bits, signed)
    assert (codec.decode(found.payload, found.meta, values.shape, bits, signed) == values).all()
    meta = codec.read_meta(found.meta)
    stored = found.payload["lengths"].astype(int)
    assert codec.payload_bits(meta, values.shape, bits) == int(stored[values - low].sum())
    counts = np.bincount(values - low)
    mean = codec.payload_bits(meta, values.shape, bits) / size
    assert entropy(counts) - 1e-9 <= mean < entropy(counts) + 1 + 1e-9
    assert codec.index_bits(meta, values.shape, bits) == 6 * 2**bits


def test_words_that_are_longer_than_the_look_up_table() -> None:
    # Fibonacci counts give the deepest tree
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    lengths = code_lengths(np.array(counts))
    assert lengths.max() == 23
    symbols = np.repeat(np.arange(24), np.minimum(counts, 50)).astype(np.uint8)
    total = int(lengths[symbols].sum())
    words = pack_symbols(symbols, lengths, total)
    assert (unpack_symbols(words, symbols.size, lengths, total, np.uint8) == symbols).all()


def test_ties_are_broken_by_the_order_of_the_symbols() -> None:
    assert code_lengths(np.array([1, 1, 1])).tolist() == [2, 2, 1] or code_lengths(np.array([1, 1, 1])).sum() == 5
    assert code_lengths(np.array([0, 5, 0])).tolist() == [0, 1, 0]
    assert code_lengths(np.array([4, 4, 4, 4])).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([0, 0], f"code lengths must be 1 to {MAX_LENGTH}"),
        ([61, 1], f"code lengths must be 1 to {MAX_LENGTH}"),
        ([1, 2, 0], "code lengths must be those of a complete prefix code"),
        ([1, 1, 1], "code lengths must be those of a complete prefix code"),
    ],
)
def test_lengths_that_are_no_code(lengths: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_lengths(np.array(lengths, np.uint8))


def test_a_stream_that_ends_too_early_or_too_late() -> None:
    lengths = np.array([1, 2, 2], np.uint8)
    symbols = np.array([0, 1, 2, 0], np.uint8)
    words = pack_symbols(symbols, lengths, 6)
    for count, bits in ((5, 6), (3, 6), (4, 5)):
        with pytest.raises(ConfigError, match=f"stream must hold {count} code words in {bits} bits"):
            unpack_symbols(words, count, lengths, bits, np.uint8)
