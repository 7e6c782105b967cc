"""Engines that skip zeros against register-level models: outputs and cycles of whole layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.workload.network import Network
from accelsim.workload.trace import Trace
from tests.engines.sparse_bench import cycles_of, engine, layer_of, task_of

from . import skip_models as models

SEEDS = range(12)


def layer(rng: Any, path: Path, *, signed: bool = True) -> tuple[Any, Any, int, int, Network, Trace]:
    """A random layer: grouped, strided, padded; a matrix product now and then."""
    kind = rng.choice(["plain", "grouped", "matrix", "deep"])
    groups = 2 if kind == "grouped" else 1
    channels, outputs = int(rng.integers(4, 7)) * (5 if kind == "deep" else 1), int(rng.integers(1, 7))
    stride, pad = (int(x) for x in rng.integers((1, 0), (3, 2)))
    density, weight_density = rng.choice([0.1, 0.5, 0.9]), rng.choice([0.05, 0.4, 1.0])
    low = -15 if signed else 0
    shape: tuple[int, ...]
    filters: tuple[int, ...]
    if kind == "matrix":
        shape, stride, pad = (3, int(rng.integers(70, 300))), 1, 0
        filters = outputs, shape[1]
    else:
        kernel = rng.integers(1, 4, 2)
        shape = int(rng.integers(1, 3)), channels * groups, int(rng.integers(3, 6)), int(rng.integers(3, 6))
        filters = outputs * groups, channels, *(int(x) for x in kernel)
    a = rng.integers(low, 16, shape) * (rng.random(shape) < density)
    w = rng.integers(-15, 16, filters) * (rng.random(filters) < weight_density)
    network, trace = layer_of(path / "t.trace", a, w, bits=(8, 8), stride=stride, pad=pad, signed=signed)
    return a, w, stride, pad, network, trace


def sums_of(layer: Any) -> dict[Any, int]:
    """What numpy says."""
    return {
        (g, m, f): int(value)
        for g, (a, w) in enumerate(layer) for (m, f), value in np.ndenumerate(a.astype(np.int64) @ w.T.astype(np.int64))
    }  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["cambricon_x", "cambricon_s"])
def test_cambricon(kind: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    a, w, stride, pad, network, trace = layer(rng, tmp_path)
    pes, width, stages = (int(x) for x in rng.integers(1, (5, 9, 5)))
    unrolled = models.unrolled(a, w, stride, pad)
    sums, clocks = getattr(models, kind)(unrolled, pes, 64, width, stages)
    assert sums == sums_of(unrolled)
    fields = {"pes": pes, "segment": 64, "multipliers": width, "latency_cycles": stages}
    table = engine(kind, **fields).lower(task_of(network, trace))
    assert cycles_of(table) == clocks
    table.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_cnvlutin(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(100 + seed)
    a, w, stride, pad, network, trace = layer(rng, tmp_path)
    lanes, rows, tiles = (int(x) for x in rng.integers(1, (9, 3, 3)))
    threshold = int(rng.choice([0, 3]))
    unrolled = models.unrolled(a, w, stride, pad)
    channels = w.shape[1]
    sums, clocks = models.cnvlutin(unrolled, channels, lanes, rows * tiles, threshold)
    kept = np.where(abs(a) > threshold, a, 0)
    assert sums == sums_of(models.unrolled(kept, w, stride, pad))
    table = engine("cnvlutin", lanes=lanes, rows=rows, tiles=tiles, threshold=threshold).lower(task_of(network, trace))
    assert cycles_of(table) == clocks
    table.check()
    if threshold:
        assert table.info["dropped_inputs"] == np.count_nonzero(a) - np.count_nonzero(kept)


@pytest.mark.parametrize("seed", SEEDS)
def test_nullhop(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(200 + seed)
    a, w, stride, pad, network, trace = layer(rng, tmp_path)
    controllers, macs, stages = (int(x) for x in rng.integers(1, (5, 4, 4)))
    image, kernels = (a, w) if a.ndim == 4 else (a[:, :, None, None], w[:, :, None, None])
    out, clocks = models.nullhop(image, kernels, stride, pad, controllers, macs, stages)
    expected = sums_of(models.unrolled(a, w, stride, pad))
    groups, pixels = image.shape[1] // kernels.shape[1], out[0, 0].size
    each = out.shape[1] // groups
    for (g, m, f), value in expected.items():
        assert out[m // pixels, g * each + f].flat[m % pixels] == value
    made = engine("nullhop", controllers=controllers, macs=macs, latency_cycles=stages)
    table = made.lower(task_of(network, trace))
    assert cycles_of(table) == clocks
    table.check()
