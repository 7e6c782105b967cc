"""Real numbers as k-bit integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelsim.base.errors import ConfigError
from accelsim.workload.packing import limits
from accelsim.workload.quantize import Integers, quantize, quantize_bias

TENSORS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    # nothing so small that its scale would have no exact float32
    elements=st.one_of(st.just(0.0), *(st.floats(*sorted((s * 2.0**-60, s * 2.0**20)), width=32) for s in (-1.0, 1.0))),
)


def real(integers: Integers) -> np.ndarray:
    scale = np.asarray(integers.scale)
    spread = scale.reshape(-1, *[1] * (integers.values.ndim - 1)) if scale.ndim else scale
    return integers.values.astype(np.float64) * spread


@settings(deadline=None, derandomize=True, max_examples=200)
@given(values=TENSORS, bits=st.integers(2, 16), per_channel=st.booleans())
def test_rounding(values: np.ndarray, bits: int, per_channel: bool) -> None:
    found = quantize(values, bits, per_channel=per_channel)
    low, high = limits(bits, found.signed)
    assert low <= found.values.min() and found.values.max() <= high
    assert not found.values[values == 0].any()
    step = np.asarray(found.scale).reshape(-1, *[1] * (values.ndim - 1)) if per_channel else found.scale
    assert (np.abs(real(found) - values) <= np.asarray(step) * (0.5 + 1e-3 * 2**bits / 256)).all()
    assert found.signed == (per_channel or bool((values < 0).any()))


def test_the_whole_range_is_used() -> None:
    assert quantize(np.array([-1.0, 2.0]), 8).values.tolist() == [-64, 127]
    assert quantize(np.array([0.0, 2.0]), 8).values.tolist() == [0, 255]
    assert quantize(np.array([[0.6, -1.0], [20.0, 5.0]]), 4, per_channel=True).values.tolist() == [[4, -7], [7, 2]]
    assert quantize(np.array([0.0, 3.0]), 1).values.tolist() == [0, 1]


def test_a_tensor_of_zeros_has_scale_one() -> None:
    assert quantize(np.zeros((2, 3)), 8, per_channel=True).scale == [1.0, 1.0]


def test_biases_are_in_units_of_the_accumulator() -> None:
    found = quantize_bias(np.array([1.0, -3.0]), [0.5, 0.25], 0.5)
    assert (found.values.tolist(), found.bits, found.scale) == ([4, -24], 32, [0.25, 0.125])


@pytest.mark.parametrize("bits", [0, 17, 2.0, True])
def test_widths(bits: object) -> None:
    with pytest.raises(ConfigError, match="bits must be an integer from 1 to 16"):
        quantize(np.ones(3), bits)  # type: ignore[arg-type]


def test_one_bit_holds_no_sign() -> None:
    with pytest.raises(ConfigError, match="at least 2 for negative numbers"):
        quantize(np.array([-1.0]), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_must_be_finite(bad: float) -> None:
    with pytest.raises(ConfigError, match="x: values must be finite"):
        quantize(np.array([1.0, bad]), 8, where="x")
