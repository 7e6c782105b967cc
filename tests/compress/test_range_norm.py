"""The object BN: ranges of range batch normalisation, computed, described and quantized."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.compress.quantize.range_norm import batch_ranges, range_normalise, range_scale
from accelsim.compress.run import compress

from .helpers import network, weights


def outputs(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(3.0, 1.0, (32, 4, 5, 5)).astype(np.float32) * np.array([1, 2, 4, 8], np.float32)[:, None, None]


def test_scaled_range_is_near_the_standard_deviation_of_a_normal_batch() -> None:
    x = outputs()
    assert np.allclose(batch_ranges(x), x.std((0, 2, 3)), rtol=0.25)
    channel = x[:, 2].ravel()
    assert batch_ranges(x)[2] == pytest.approx((channel.max() - channel.min()) / 2 / np.sqrt(2 * np.log(channel.size)))


def test_normalised_channels_have_no_mean_and_about_unit_deviation() -> None:
    x = outputs(1)
    y = range_normalise(x, batch_ranges(x))
    assert np.allclose(y.mean((0, 2, 3)), 0, atol=1e-3) and np.allclose(y.std((0, 2, 3)), 1, atol=0.3)
    assert not range_normalise(np.ones((2, 3), np.float32), np.zeros(3)).any()


def test_eight_bits_of_range_move_the_normalised_outputs_by_little() -> None:
    x = outputs(2)
    exact = batch_ranges(x)
    step = exact.max() / 255
    rough = np.round(exact / step) * step
    error = np.abs(range_normalise(x, rough) / range_normalise(x, exact) - 1)
    assert np.nanmax(error) < 0.05


def test_object_bn_is_described_and_quantized_like_any_other() -> None:
    report = compress(network(), weights(), [{"step": "describe", "object": "BN", "bits": 8}], None)
    assert {row.role for row in report.rows} >= {"norm_range"}
    first = next(layer for layer in network() if layer.is_compute)
    ranges = np.linspace(0.5, 2.0, first.weights["filter"][0]).astype(np.float32)
    steps = [{"step": "uniform", "object": "BN", "bits": 4, "layers": first.name}]
    given = {(first.name, "norm_range"): ranges}
    row = next(r for r in compress(network(), weights(), steps, None, activations=given).rows if r.role == "norm_range")
    assert row.bits == 4 and 0 < row.relative_error < 0.1


def test_a_range_needs_two_values() -> None:
    with pytest.raises(ConfigError, match="at least 2 values for each channel, got 1"):
        range_scale(1)
