"""Nonzeros of tiles against plain slices."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engines.compressed import box_sums, packed_bytes


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_box_sums_are_sums_of_slices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 7, 4)
    mask = rng.random(shape) < 0.4
    count = int(rng.integers(1, 6))
    starts = tuple(rng.integers(0, n, count) for n in shape)
    extents = tuple(rng.integers(0, n + 2, count) for n in shape)
    found = box_sums(mask, starts, extents)
    for i in range(count):
        cut = tuple(slice(int(s[i]), int(s[i] + e[i])) for s, e in zip(starts, extents, strict=True))
        assert found[i] == mask[cut].sum()


def test_packed_bytes_round_up_to_whole_bytes() -> None:
    nonzeros, elements = np.array([3, 0]), np.array([10, 9])
    assert packed_bytes(nonzeros, elements, value_bits=8, index_bits=4).tolist() == [5, 0]
    assert packed_bytes(nonzeros, elements, value_bits=8, mask=True).tolist() == [5, 2]
