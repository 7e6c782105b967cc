"""What every registered quantizer has to do; a new file is tested here on arrival."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS
from accelsim.compress.parallel import thread_count
from accelsim.compress.quantize.common import Quantizer
from accelsim.compress.store import stored
from accelsim.workload.encodings.base import encoding
from accelsim.workload.encodings.minifloat import FORMATS
from accelsim.workload.packing import limits
from tests.compress.helpers import applied

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "float": [{"format": f} for f in FORMATS]
    + [{"format": "fp8_e4m3", "scale": "max", "granularity": "channel", "rounding": "stochastic"}],
    "mx": [{"format": f} for f in ("mxint8", "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4")],
    "uniform": [
        {}, {"bits": 3}, {"bits": 16}, {"scheme": "affine", "granularity": "channel"},
        {"granularity": "group", "group": 5}, {"scheme": "affine", "granularity": "group", "group": 7},
        {"clip": "mse", "granularity": "channel"},
        {"clip": "kl"}, {"clip": "percentile", "percent": 95}, {"range": 0.5}, {"power_of_two": True},
        {"rounding": "stochastic"},
    ],
    "binary": [{}, {"mode": "deterministic"}, {"mode": "stochastic"}, {"mode": "deterministic", "levels": "01"}],
    "ternary": [{"mode": m} for m in ("fixed", "stochastic", "terngrad", "twn", "optimal", "ttq", "hysteresis")],
    "dorefa": [{}, {"bits": 1}, {"bits": 5, "rescale": "least_squares"}, {"object": "A"}, {"object": "E", "bits": 4}],
    "log2": [{}, {"base": "sqrt2", "bits": 6}, {"rounding": "linear", "granularity": "channel"}],
    "inq": [{}, {"bits": 3}],
    "multibit": [{"method": m, "bits": 3} for m in ("greedy", "refined", "alternating")] + [{"granularity": "tensor"}],
    "lq": [{}, {"bits": 3, "granularity": "tensor"}],
    "balanced": [{}, {"split": "mean", "bits": 3, "scale": "least_squares"}],
    "kmeans": [{}, {"bits": 2, "exact": True}, {"start": "density", "zero": True}, {"start": "random", "bits": 6}],
    "block_float": [{}, {"bits": 3, "block": 0}, {"rounding": "stochastic", "block": 5}],
    "wage": [{}, {"object": "A"}, {"object": "E"}, {"object": "G"}],
    "profiled": [],
}  # fmt: skip

QUANTIZERS = [name for name, kind in STEPS.items() if issubclass(kind, Quantizer)]
CASES = [(name, params) for name in QUANTIZERS for params in EXAMPLES.get(name, [{}])]
CASES_IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in params.items())}" for name, params in CASES]
SHAPES = [(1,), (9,), (1, 1), (4, 6), (6, 2, 3, 3), (3, 40)]
each = pytest.mark.parametrize(("name", "params"), CASES, ids=CASES_IDS)


def tensor(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.4).astype(np.float32)


@each
def test_values_are_those_of_the_codes_and_the_trace(name: str, params: dict[str, Any]) -> None:
    for i, shape in enumerate(SHAPES):
        state = applied(name, tensor(shape, i), **params)
        quantized = state.quantized
        assert quantized is not None and quantized.codes.shape == shape
        low, high = limits(quantized.bits, quantized.signed)
        assert low <= int(quantized.codes.min()) and int(quantized.codes.max()) <= high
        assert state.values.dtype == np.float32 and state.values.shape == shape
        assert np.isfinite(state.values).all()
        kept = stored(state)
        codec = encoding(str(kept.spec.encoding))
        arrays = {k: a for k, a in kept.payload.items() if k not in ("scale", "zero_point")}
        back = codec.decode(arrays, kept.spec.meta, shape, kept.spec.bits, kept.spec.signed)
        if codec.floating:
            assert np.array_equal(back, state.values)
        else:
            assert np.array_equal(back, quantized.codes)
        assert kept.spec.nonzeros == np.count_nonzero(back)
        assert kept.payload_bits > 0 and kept.index_bits >= 0


@each
def test_the_same_again(name: str, params: dict[str, Any]) -> None:
    values = tensor((5, 31))
    first, second = applied(name, values, **params), applied(name, values, **params)
    assert first.quantized is not None and second.quantized is not None
    assert np.array_equal(first.quantized.codes, second.quantized.codes)
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.original, values)  # type: ignore[arg-type]


@each
def test_one_row_at_a_time_stands_for_the_same_numbers(name: str, params: dict[str, Any]) -> None:
    state = applied(name, tensor((6, 2, 3, 3)), **params)
    whole = state.values.copy()
    assert state.quantized is not None
    for part in (slice(0, 2), slice(2, 3), slice(3, 6)):
        assert np.array_equal(state.quantized.rows(part).values(), whole[part])


@each
def test_zeros_of_a_pruned_tensor_stay_or_the_step_refuses(name: str, params: dict[str, Any]) -> None:
    values = tensor((6, 30))
    values[np.abs(values) < 0.3] = 0
    try:
        state = applied(name, values, pruned=True, **params)
    except ConfigError as error:
        assert "no zero" in str(error)
        return
    assert not state.values[values == 0].any()
    assert state.quantized is not None and state.quantized.zeros() is not None


@each
def test_nothing_but_zeros(name: str, params: dict[str, Any]) -> None:
    for pruned in (False, True):
        try:
            state = applied(name, np.zeros((4, 8), np.float32), pruned=pruned, **params)
        except ConfigError as error:
            assert pruned and "no zero" in str(error)
            continue
        assert np.isfinite(state.values).all()
        stored(state)


@each
def test_large_and_tiny_numbers(name: str, params: dict[str, Any]) -> None:
    for scale in (1e-30, 1e30):
        try:
            state = applied(name, tensor((4, 9)) * np.float32(scale), **params)
        except ConfigError:
            continue
        assert np.isfinite(state.values).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_gives_the_same(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelsim.compress import parallel

    monkeypatch.setattr(parallel, "BLOCK_ELEMENTS", 64)
    values = tensor((40, 33))
    cases = [("uniform", {"rounding": "stochastic"}), ("kmeans", {"exact": True}), ("ternary", {}), ("multibit", {})]
    cases.append(("multibit", {"method": "refined"}))  # blocks within blocks
    expected = [applied(name, values, **params).values.copy() for name, params in cases]
    monkeypatch.setenv("ACCELSIM_THREADS", str(threads))
    thread_count.cache_clear()
    parallel._pool.cache_clear()
    try:
        for (name, params), wanted in zip(cases, expected, strict=True):
            assert np.array_equal(applied(name, values, **params).values, wanted)
    finally:
        monkeypatch.undo()
        thread_count.cache_clear()
        parallel._pool.cache_clear()
