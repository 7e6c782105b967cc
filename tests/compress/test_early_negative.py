"""Early-negative information: order and counts of SnaPEA, what they save, and what a trace keeps of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.compress import compress
from accelsim.compress.sparsify.early_negative import _sampled, macs_until_decided
from accelsim.workload import ops
from accelsim.workload.encodings.base import encoding
from accelsim.workload.encodings.sign_order import sign_order
from accelsim.workload.network import Network, Node
from accelsim.workload.trace import Trace


def slow_order(row: list[int], prefix: int) -> tuple[list[int], list[int]]:
    """The same for one filter, by the paper's words."""
    rising = sorted((i for i, w in enumerate(row) if w), key=lambda i: (abs(row[i]), i))
    groups = min(prefix, len(rising))
    first = {rising[(j + 1) * len(rising) // groups - 1] for j in range(groups)}
    parts = [
        [i for i in range(len(row)) if i in first],
        [i for i, w in enumerate(row) if w > 0 and i not in first],
        [i for i, w in enumerate(row) if w < 0 and i not in first],
    ]
    falling = [sorted(part, key=lambda i: (-abs(row[i]), i)) for part in parts]
    zeros = [i for i, w in enumerate(row) if not w]
    return [i for part in falling for i in part] + zeros, [len(part) for part in falling]


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.lists(st.lists(st.integers(-8, 7), min_size=9, max_size=9), min_size=1, max_size=4), st.integers(0, 5))
def test_order_of_every_filter(rows: list[list[int]], prefix: int) -> None:
    order, counts = sign_order(np.array(rows, np.int8), prefix)
    for row, places, count in zip(rows, order.tolist(), counts.tolist(), strict=True):
        assert (places, count) == slow_order(row, prefix)


def test_a_filter_by_hand() -> None:
    order, counts = sign_order(np.array([[3, -5, 0, 1, -2, 7]], np.int8), 0)
    assert order.tolist() == [[5, 0, 3, 1, 4, 2]] and counts.tolist() == [[0, 3, 2]]
    # two groups of the nonzeros by magnitude: (1, -2) and (3, -5, 7)
    order, counts = sign_order(np.array([[3, -5, 0, 1, -2, 7]], np.int8), 2)
    assert order.tolist() == [[5, 4, 0, 3, 1, 2]] and counts.tolist() == [[2, 2, 1]]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 4))
def test_sums_are_decided_as_if_finished(seed: int, prefix: int) -> None:
    rng = np.random.default_rng(seed)
    inputs, row = rng.integers(0, 9, (20, 12)), rng.integers(-8, 8, (1, 12))
    order, counts = sign_order(row, 0)
    made = macs_until_decided(inputs, row[0].astype(float), order[0], counts[0], 0.0)
    for x, count in zip(inputs, made.tolist(), strict=True):
        partial = int((x[order[0][:count]] * row[0][order[0][:count]]).sum())
        total = int((x * row[0]).sum())
        # stopped early: negative for good; otherwise all nonzero weights were used
        assert total < 0 if count < counts[0].sum() else partial == total
        assert max(partial, 0) == max(total, 0)
    order, counts = sign_order(row, prefix)
    guessed = macs_until_decided(inputs, row[0].astype(float), order[0], counts[0], 3.0)
    ahead = int(counts[0, 0])
    for x, count in zip(inputs, guessed.tolist(), strict=True):
        low = ahead > 0 and (x[order[0][:ahead]] * row[0][order[0][:ahead]]).sum() <= 3
        assert (count == ahead) if low else (count > ahead or count == counts[0].sum())


def network() -> Network:
    return Network("net", [
        Node("x", ops.Input((1, 3, 6, 6))),
        Node("a", ops.Conv(4, 3, pad=1, bias=False), ("x",)), Node("relu", ops.Activation(), ("a",)),
        Node("b", ops.Conv(4, 3, stride=2, groups=2, bias=False), ("relu",)), Node("relu2", ops.Activation(), ("b",)),
        Node("flat", ops.Reshape(), ("relu2",)), Node("fc", ops.Linear(5, bias=False), ("flat",)),
    ])  # fmt: skip


def weights() -> dict[str, dict[str, Any]]:
    rng, held = np.random.default_rng(3), [layer for layer in network() if layer.weights]
    return {la.name: {"filter": rng.standard_normal(la.weights["filter"]).astype(np.float32)} for la in held}


INT8 = {"step": "uniform", "bits": 8, "granularity": "channel"}


def test_a_trace_holds_order_counts_and_thresholds(tmp_path: Any) -> None:
    out = tmp_path / "e.trace"
    step = {"step": "early_negative", "prefix": 2, "threshold": -0.5}
    compress(network(), weights(), [INT8, step], out)
    trace = Trace.open(out)
    found = {name: trace.operand(name, "filter") for name in ("a", "b", "fc")}
    assert [o.encoding for o in found.values() if o] == ["dense", "sign_order", "dense"]
    operand = found["b"]
    assert operand is not None
    rows = operand.values().reshape(4, -1)
    order, counts = sign_order(rows, 2)
    payload = operand.payload()
    assert (payload["counts"] == counts).all()
    np.testing.assert_allclose(payload["thresholds"], -0.5 / np.asarray(operand.scale), rtol=1e-6)
    assert operand.index_bits == rows.size * 5 + 4 * (3 * 5 + 32)
    compress(network(), weights(), [INT8], tmp_path / "d.trace")
    dense = Trace.open(tmp_path / "d.trace").operand("b", "filter")
    assert dense is not None and (dense.values() == operand.values()).all()
    trace.verify()


def test_captured_inputs_tell_what_stays(tmp_path: Any) -> None:
    ifmap = np.abs(np.random.default_rng(4).standard_normal((1, 4, 6, 6))).astype(np.float32)
    captured = {("b", "ifmap"): ifmap}
    report = compress(
        network(), weights(), [INT8, {"step": "early_negative", "layers": "b"}], None, activations=captured
    )
    notes = [row.notes for row in report.rows if "early negatives" in row.notes]
    assert len(notes) == 1 and 0.3 < float(notes[0].split()[0]) < 1


def test_windows_are_those_of_the_convolution() -> None:
    layer = network()["b"]
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)
    found = _sampled(layer, x)
    assert found.shape == (2, 2 * 2 * 2, 18)
    assert (found[1, 3] == x[0, 2:, 2:5, 2:5].reshape(-1)).all()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"step": "early_negative"}], "b/filter.*must be uniform integers without a zero point: quantize first"),
        ([INT8, {"step": "early_negative", "layers": "fc"}], "layer 'fc' must have a ReLU behind it, and only that"),
        ([INT8, {"step": "early_negative", "layers": "z*"}], "layers 'z.' matches no layer; .*layers: b"),
        ([INT8, {"step": "early_negative", "prefix": 40}], "prefix must be 0 to 18, got 40"),
    ],
)
def test_what_cannot_be_prepared(steps: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compress(network(), weights(), steps, None)


def test_damaged_order_is_refused() -> None:
    codec = encoding("sign_order")
    values = np.array([[3, -5, 0, 1], [1, 1, -1, 2]], np.int8)
    found = codec.encode(values, 8, prefix=1)
    for part, change, message in (
        ("counts", 1, "payload 'order' and 'counts' must be those of the values"),
        ("order", 3, "payload 'order' must have each of 4 places once"),
    ):
        payload = {name: array.copy() for name, array in found.payload.items()}
        payload[part].reshape(-1)[0] ^= payload[part].dtype.type(change)
        with pytest.raises(ConfigError, match=message):
            codec.decode(payload, found.meta, values.shape, 8, True)
    with pytest.raises(ConfigError, match="thresholds must be 1 or 2 finite numbers, got 3"):
        codec.encode(values, 8, prefix=1, thresholds=[1.0, 2.0, 3.0])
