"""Fronts and hypervolumes against counting cells."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.sweep.pareto import front, hypervolume

SIDE = 6


def counted(vectors: list[tuple[int, ...]], reference: tuple[int, ...]) -> int:
    """Unit cells below the reference that some vector dominates."""
    cells = itertools.product(*(range(r) for r in reference))
    return sum(any(all(v <= c for v, c in zip(vector, cell, strict=True)) for vector in vectors) for cell in cells)


@given(data=st.data(), size=st.integers(1, 4))
@settings(deadline=None, derandomize=True, max_examples=80)
def test_hypervolume_counts_cells(data: st.DataObject, size: int) -> None:
    vectors = data.draw(st.lists(st.tuples(*[st.integers(0, SIDE)] * size), max_size=8))
    reference = data.draw(st.tuples(*[st.integers(1, SIDE)] * size))
    assert hypervolume(vectors, reference) == counted(vectors, reference)
    kept = front(vectors)
    assert hypervolume(kept, reference) == counted(vectors, reference)
    for vector in set(vectors):
        better = [o for o in vectors if o != vector and all(a <= b for a, b in zip(o, vector, strict=True))]
        assert (vector in kept) == (not better)


def test_hypervolume_of_two_steps() -> None:
    assert hypervolume([(1.0, 3.0), (2.0, 1.0)], (4.0, 4.0)) == pytest.approx(3 * 1 + 2 * 2)
    assert hypervolume([], (1.0,)) == 0.0
