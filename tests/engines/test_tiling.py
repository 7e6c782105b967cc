"""Estimates of the mapping search."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from accelsim.engines.common.tiling import cycles_at


@pytest.mark.parametrize(
    "rate", [Fraction(34_123_456_789, 700_000_001), Fraction(8 * 10**18, 700_000_001), Fraction(341, 7), Fraction(1)]
)
def test_cycles_are_exact_beyond_63_bits(rate: Fraction) -> None:
    """A clock and a bandwidth without a common factor: bits x denominator exceed an int64, the quotient does not."""
    bits = np.array([0, 1, 10**10, 3 * 10**12], np.int64)
    assert cycles_at(bits, rate).tolist() == [int(b) * rate.denominator // rate.numerator for b in bits]
    assert cycles_at(np.array([2**62]), Fraction(1, 10**9)).tolist() == [2**62], "no number wraps around"
