"""SnaPEA, prediction and column combining against register-level models: outputs and cycles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.workload.column_groups import combine_columns
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Input, Linear, Pool
from accelsim.workload.trace import Trace, TraceWriter
from tests.engines.sparse_bench import cycles_of, engine, layer_of, task_of

from . import early_models as models
from .skip_models import unrolled

SEEDS = range(10)


def with_relu(
    path: Path, a: Any, w: Any, bits: int, *, stride: int = 1, pad: int = 0, encoding: str = "dense",
    signed: bool = False, relu: bool = True, bias: Any = None, pool: Pool | None = None, **options: Any,
) -> tuple[Network, Trace]:  # fmt: skip
    """A layer of non-negative inputs with a ReLU behind it."""
    if a.ndim == 2:
        op: Any = Linear(w.shape[0])
    else:
        op = Conv(w.shape[0], w.shape[2:], stride, pad, 1, a.shape[1] // w.shape[1])
    nodes = [Node("x", Input(a.shape)), Node("before", Activation("relu"), ("x",)), Node("layer", op, ("before",))]
    if relu:
        nodes.append(Node("after", Activation("relu"), ("layer",)))
    if pool is not None:
        nodes.append(Node("pool", pool, ("after",)))
    network = Network("net", nodes)
    with TraceWriter(path / "t.trace", network, name="t") as writer:
        writer.add("layer", "ifmap", a.astype(np.int16), bits=bits, signed=signed)
        writer.add("layer", "filter", w.astype(np.int16), bits=8, signed=True, encoding=encoding, **options)
        if bias is not None:
            writer.add("layer", "bias", bias.astype(np.int32), bits=32, signed=True)
    return network, Trace.open(path / "t.trace")


def random_layer(rng: Any) -> tuple[Any, Any, int, int]:
    kind = rng.choice(["plain", "grouped", "matrix"])
    groups, outputs = (2 if kind == "grouped" else 1), int(rng.integers(1, 5))
    stride, pad = (int(x) for x in rng.integers((1, 0), (3, 2)))
    shape: tuple[int, ...] = 3, int(rng.integers(5, 40))
    filters: tuple[int, ...] = outputs, shape[1]
    if kind == "matrix":
        stride, pad = 1, 0
    else:
        channels = int(rng.integers(1, 5))
        shape = 1, channels * groups, int(rng.integers(3, 6)), int(rng.integers(3, 6))
        filters = outputs * groups, channels, *(int(x) for x in rng.integers(1, 4, 2))
    a = rng.integers(0, 16, shape) * (rng.random(shape) < 0.7)
    w = rng.integers(-15, 16, filters) * (rng.random(filters) < 0.7)
    return a, w, stride, pad


def relu_of(layer: Any, bias: Any) -> dict[Any, int]:
    return {
        (g, m, f): max(0, int(value + bias[g * len(w) + f]))
        for g, (a, w) in enumerate(layer) for (m, f), value in np.ndenumerate(a.astype(np.int64) @ w.T.astype(np.int64))
    }  # fmt: skip


def pool_windows(p: int, q: int, kernel: int, stride: int, pad: int) -> list[list[int]]:
    """Positions of each window of a max pooling over p x q outputs."""
    count = [(size + 2 * pad - kernel) // stride + 1 for size in (p, q)]
    return [
        [
            y * q + x
            for y in range(i * stride - pad, i * stride - pad + kernel)
            for x in range(j * stride - pad, j * stride - pad + kernel)
            if 0 <= y < p and 0 <= x < q
        ]
        for i in range(count[0]) for j in range(count[1])
    ]  # fmt: skip


def lowered(made: Any, network: Network, trace: Trace) -> Any:
    task = task_of(network, trace)
    return made.lower(type(task)(**{**vars(task), "layer": network["layer"]}))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("prefix", [0, 2, 5])
def test_snapea(seed: int, prefix: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    a, w, stride, pad = random_layer(rng)
    prefix = min(prefix, w[0].size)
    limits = [float(x) for x in rng.integers(-40, 60, len(w)) + 0.25]
    options: dict[str, Any] = {"prefix": prefix, "thresholds": limits} if prefix else {}
    bias = rng.integers(-60, 60, len(w)) * int(seed % 2)
    network, trace = with_relu(
        tmp_path, a, w, 8, stride=stride, pad=pad, encoding="sign_order", bias=bias if seed % 2 else None, **options
    )  # fmt: skip
    rows, cols, lanes, stages = (int(x) for x in rng.integers(1, 4, 4))
    layer = unrolled(a, w, stride, pad)
    # the encoding breaks ties by place in (channel, tap), so the model walks the filters in that order
    taps = w[0, 0].size if w.ndim == 4 else 1
    turned = [tuple(x.reshape(len(x), taps, -1).swapaxes(1, 2).reshape(len(x), -1) for x in pair) for pair in layer]
    results, clocks = models.snapea(turned, rows, cols, lanes, prefix, limits, stages, bias)  # type: ignore[arg-type]
    table = lowered(engine("snapea", rows=rows, cols=cols, lanes=lanes, latency_cycles=stages), network, trace)
    assert cycles_of(table) == clocks
    table.check()
    truth = relu_of(layer, bias)
    wrong = [name for name in truth if truth[name] != results[name]]
    assert table.info["mispredicted"] == len(wrong)
    assert all(results[name] == 0 for name in wrong)
    if not prefix:
        assert not wrong
    assert table.info["sums"] == len(truth)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("signed", [False, True])
def test_prediction(seed: int, signed: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(50 + seed)
    a, w, stride, pad = random_layer(rng)
    bits, high = 5, int(rng.integers(0, 5))
    if signed:
        a = a - 8 * (a > 0)
    threshold = int(rng.choice([0, 20]))
    bias, pools, pool = rng.integers(-60, 60, len(w)), [], None
    if a.ndim == 4 and seed % 2:
        kernel, step, edge = 2, int(rng.integers(1, 3)), int(rng.integers(0, 2))
        p, q = ((size + 2 * pad - r) // stride + 1 for size, r in zip(a.shape[2:], w.shape[2:], strict=True))
        if min(p, q) + 2 * edge >= kernel:
            pool, pools = Pool("max", kernel, step, edge), pool_windows(p, q, kernel, step, edge)
    network, trace = with_relu(tmp_path, a, w, bits, stride=stride, pad=pad, signed=signed, bias=bias, pool=pool)
    rows, cols = (int(x) for x in rng.integers(1, 4, 2))
    layer = unrolled(a, w, stride, pad)
    results, clocks = models.prediction(
        layer, rows, cols, bits, high or 3, threshold, signed, bias, pools, pool is not None
    )  # fmt: skip
    table = lowered(engine("prediction", rows=rows, cols=cols, high_bits=high, threshold=threshold), network, trace)
    assert cycles_of(table) == clocks
    table.check()
    truth = relu_of(layer, bias)
    lost = sum(truth[name] > 0 and results[name] == 0 for name in truth)
    if pools:
        in_pool = {m for window in pools for m in window}
        lost = sum(truth[g, m, f] > 0 and not results[g, m, f] for g, m, f in truth if m not in in_pool)
        lost += sum(
            max(truth[g, m, f] for m in window) > max(results[g, m, f] for m in window)
            for window in pools for g, (_, w_) in enumerate(layer) for f in range(len(w_))
        )  # fmt: skip
    assert table.info["mispredicted"] == lost
    assert all(results[name] in (0, truth[name]) for name in truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_column_combining(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(80 + seed)
    rows, cols, alpha = (int(x) for x in rng.integers(1, 5, 3))
    n, k, words = (int(x) for x in rng.integers((1, 2, 1), (7, 12, 9)))
    a = rng.integers(-128, 128, (words, k))
    w = rng.integers(-128, 128, (n, k)) * (rng.random((n, k)) < 0.3)
    w[0, 0] = 7
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(8, 8), signed=True)
    groups = combine_columns((w != 0)[:, (w != 0).any(0)], alpha, 0.0)
    live = np.flatnonzero((w != 0).any(0))
    load = rows * (8 + (alpha - 1).bit_length())
    total, start, end = np.zeros((words, n), np.int64), 0, 0
    for c in range(0, len(groups), cols):
        for r in range(0, n, rows):
            held = w[r : r + rows]
            some = groups[c : c + cols]
            chosen = np.zeros((len(held), len(some)), np.int64)
            weights = np.zeros((len(held), len(some)), np.int64)
            for j, group in enumerate(some):
                for i in range(len(held)):
                    own = [live[x] for x in group if held[i, live[x]]]
                    assert len(own) <= 1
                    chosen[i, j] = own[0] if own else live[group[0]]
                    weights[i, j] = held[i, chosen[i, j]]
            sums, clocks = models.serial_fold(a, chosen, weights, cols, 8, 32)
            total[:, r : r + rows] += sums
            end = start + clocks
            start += max(8 * words, load)
    assert (total == a @ w.T).all()
    table = engine("column_combining", rows=rows, cols=cols, alpha=alpha).lower(task_of(network, trace))
    assert cycles_of(table) == end
    assert table.info["combined_columns"] == len(groups)
    table.check()
