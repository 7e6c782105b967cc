"""Packed integers against bits written out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.workload.packing import limits, pack, unpack, unused_bits_are_zero, value_dtype, words_for


def naive_pack(values: list[int], bits: int) -> list[int]:
    """The stream as one long integer, cut into words of 64 bits."""
    stream = 0
    for i, value in enumerate(values):
        stream |= (value & ((1 << bits) - 1)) << (i * bits)
    return [stream >> (64 * w) & (2**64 - 1) for w in range(-(-len(values) * bits // 64))]


def naive_unpack(words: list[int], count: int, bits: int, signed: bool) -> list[int]:
    stream = sum(word << (64 * i) for i, word in enumerate(words))
    fields = [stream >> (i * bits) & ((1 << bits) - 1) for i in range(count)]
    return [f - (1 << bits) if signed and f >> (bits - 1) else f for f in fields]


def some(bits: int, signed: bool, count: int, seed: int = 0) -> NDArray[np.int64]:
    low, high = limits(bits, signed)
    values = np.random.default_rng([bits, signed, count, seed]).integers(low, high, count, endpoint=True)
    values[:2] = [low, high][:count]
    return values


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(1, 33))
def test_every_width_equals_the_bits_written_out(bits: int, signed: bool) -> None:
    for count in (1, 2, 7, 8, 9, 63, 64, 65, 130):
        values = some(bits, signed, count)
        words = pack(values, bits)
        assert words.dtype == np.uint64
        assert words.tolist() == naive_pack(values.tolist(), bits)
        back = unpack(words, count, bits, signed)
        assert back.dtype == value_dtype(bits, signed)
        assert back.tolist() == naive_unpack(words.tolist(), count, bits, signed) == values.tolist()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 32), st.booleans(), st.integers(0, 300), st.integers(0, 5))
def test_round_trip(bits: int, signed: bool, count: int, seed: int) -> None:
    values = some(bits, signed, count, seed).astype(value_dtype(bits, signed))
    words = pack(values, bits)
    assert words.size == words_for(count, bits)
    assert np.array_equal(unpack(words, count, bits, signed), values)
    assert unused_bits_are_zero(words, count, bits)


def test_input_of_any_layout() -> None:
    values = some(5, True, 240).reshape(4, 60)
    assert np.array_equal(pack(values[:, ::2], 5), pack(values[:, ::2].copy().reshape(-1), 5))
    odd = np.zeros(1 + 128, np.int8)[1:]  # not aligned to words
    odd[:] = some(5, True, 128)
    assert np.array_equal(pack(odd, 5), pack(odd.copy(), 5))


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_whole_bytes_are_views(bits: int) -> None:
    words = pack(some(bits, True, 10), bits)
    assert np.shares_memory(unpack(words, 10, bits, True), words)


def test_bits_after_the_last_element_are_noticed() -> None:
    words = pack(some(3, False, 5), 3)
    assert unused_bits_are_zero(words, 5, 3)
    assert not unused_bits_are_zero(words | np.uint64(1 << 15), 5, 3)
    assert unused_bits_are_zero(words, 64, 1)


def test_wrong_sizes_are_refused() -> None:
    words = pack(some(3, False, 50), 3)
    with pytest.raises(ValueError, match="50 integers of 3 bits need 3 words, got 2"):
        unpack(words[:2], 50, 3, False)
    with pytest.raises(ValueError, match="need 1 words, got 3"):
        unpack(words, 5, 3, False)
    for bits in (0, 33):
        with pytest.raises(ValueError, match="bits must be 1 to 32"):
            pack(words, bits)
