"""Steps written as LLVM's vectors against the same by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.base.vectors import SIXTEENS, largest_of_sixteens


@kernel
def _two_calls(values, kept, out):  # type: ignore[no-untyped-def]
    largest_of_sixteens(values, 3, kept, 1, out, 2)
    largest_of_sixteens(values, 3 + 16 * SIXTEENS, kept, 1, out, 2 + SIXTEENS)


def test_largest_of_sixteens() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, 3 + 2 * 16 * SIXTEENS).astype(np.uint8)
    kept = rng.choice(np.array([0, 255, 0x0F], np.uint8), 1 + 16 * SIXTEENS)
    expected = (values[3:].reshape(2, -1) & kept[1:]).reshape(-1, 16).max(axis=1)
    found: list[Any] = []
    for run in (_two_calls, _two_calls.py_func):
        out = np.full(2 + 2 * SIXTEENS + 1, 77, np.uint8)
        run(values, kept, out)
        assert out[[0, 1, -1]].tolist() == [77, 77, 77]
        found.append(out[2:-1])
    assert np.array_equal(found[0], expected) and np.array_equal(found[1], expected)
