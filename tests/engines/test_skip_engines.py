"""Engines that skip zeros: dense twins, effectual products, structured pruning, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.engines.common.density import effectual_products
from accelsim.engines.kernels.match import match_segments, ones, window_lines, wrapping
from accelsim.mapping.problem import Mapping
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Input, Linear
from accelsim.workload.trace import TraceWriter, synthetic_trace
from tests.engines.sparse_bench import cycles_of, engine, layer_of, task_of
from tests.rtl.skip_models import unrolled
from tests.rtl.test_early_rtl import lowered, with_relu

KINDS = ["cambricon_x", "cambricon_s", "cnvlutin", "nullhop", "column_combining"]


def conv(
    rng: Any, channels: int = 8, outputs: int = 16, density: float = 1.0, weight_density: float = 1.0
) -> tuple[Any, Any]:
    a = rng.integers(1, 20, (1, channels, 6, 6)) * (rng.random((1, channels, 6, 6)) < density)
    w = rng.integers(1, 20, (outputs, channels, 3, 3)) * (rng.random((outputs, channels, 3, 3)) < weight_density)
    return a, w


@given(seed=st.integers(0, 10**6), words=st.integers(1, 5), width=st.integers(1, 20))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_patterns_equal_numpy(seed: int, words: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.random((2, 3, 2, 64 * words)) < rng.choice([0.02, 0.5, 1.0])  # (side, lines, segments, bits)
    left, right = (np.packbits(b, axis=-1, bitorder="little").reshape(3, -1).view(np.uint64) for b in bits)
    out = np.zeros((3, 3, 3), np.int64)
    with wrapping():
        match_segments(left, right, words, width, out)
    shared = (bits[0][:, None] & bits[1][None]).sum(-1)
    assert (out[..., 0] == np.maximum(1, -(-shared // width)).sum(-1)).all()
    assert (out[..., 1] == (shared == 0).sum(-1)).all()
    assert (out[..., 2] == shared.sum(-1)).all()
    total = np.zeros((1, 3, 3), np.int64)
    with wrapping():
        match_segments(left, right, words, width, total)
    assert (total[0] == out.sum(0)).all()
    with wrapping():
        assert ones(left[0, 0]) == bits[0, 0, 0, :64].sum()


@given(seed=st.integers(0, 10**6), channels=st.integers(1, 130), stride=st.integers(1, 2), pad=st.integers(0, 1))
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_windows_of_bits_equal_numpy(seed: int, channels: int, stride: int, pad: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((1, channels, 4, 5)) < 0.4
    seen = unrolled(mask, np.zeros((1, channels, 2, 3)), stride, pad)[0][0]
    extra = np.zeros((1, 4, 5, -channels % 64), bool)
    pixels = np.packbits(np.concatenate([np.moveaxis(mask, 1, 3), extra], -1), axis=-1, bitorder="little")
    rows, cols = (4 + 2 * pad - 2) // stride + 1, (5 + 2 * pad - 3) // stride + 1
    place = np.array([0, 1, 0, rows, 0, cols, 0, 6, 3, stride, stride, 1, 1, pad, pad], np.int64)
    out = np.zeros((rows * cols, -(-6 * channels // 64)), np.uint64)
    window_lines(pixels.view(np.uint64), place, channels, out)
    found = np.unpackbits(out.view(np.uint8), axis=1, bitorder="little")[:, : 6 * channels]
    assert (found == seen).all()


@given(
    seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), density=st.sampled_from([0.1, 0.5, 1.0]),
    weight_density=st.sampled_from([0.1, 1.0]), size=st.integers(1, 8),
)  # fmt: skip
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_products_and_any_tiling(
    seed: int, kind: str, density: float, weight_density: float, size: int, tmp_path_factory: Any
) -> None:
    """Products are those that the masks say; tiles of any shape make the same ones."""
    a, w = conv(np.random.default_rng(seed), 5, 7, density, weight_density)
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w, bits=(8, 8), pad=1)
    tiles = Mapping(1, 1, 1 + size % 3, size, 16, 1 + size // 2, 3, 3, "mnk")
    tables = [engine(kind).lower(task_of(network, trace, pin)) for pin in (tiles, None)]
    every = np.ones_like(a, bool), np.ones_like(w, bool)
    nonzero = a != 0, w != 0
    by_kind = {
        "cambricon_x": (every[0], nonzero[1]), "nullhop": (nonzero[0], every[1]), "cnvlutin": (nonzero[0], every[1]),
        "cambricon_s": (nonzero[0], np.broadcast_to(nonzero[1].any(0), w.shape)),  # 7 outputs are one block
    }  # fmt: skip
    shape: Any = network.layers[-1].work
    for table in tables:
        table.check()
        assert table.effectual_macs == effectual_products(shape, *nonzero)
        if kind in by_kind:
            # at the border Cambricon-X selects padding, too, which numpy's masks do not hold
            count = effectual_products(shape, *by_kind[kind])
            found = sum(v for (part, action), v in actions(table) if part == "mac" and action.startswith("mac_"))
            assert found == (count if kind != "cambricon_x" else 36 * np.count_nonzero(w))


def actions(table: Any) -> list[tuple[tuple[str, str], int]]:
    return list(table.counts.items())


@pytest.mark.parametrize("outputs", [16, 40])
def test_all_dense_is_the_dense_twin(outputs: int, tmp_path: Path) -> None:
    """Where the numbers of channels and bricks divide, dense operands take a dense machine's cycles."""
    rng = np.random.default_rng(3)
    a, w = rng.integers(1, 20, (1, 64, 6, 6)), rng.integers(1, 20, (outputs, 64, 2, 2))
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(8, 8))
    task = task_of(network, trace)
    cycles = {kind: cycles_of(engine(kind).lower(task)) for kind in KINDS[:4]}
    dense = 25 * 64 * 4 // 16 * -(-outputs // 16)  # 16 multipliers for each of 16 outputs
    assert cycles["cambricon_x"] - 3 == cycles["cambricon_s"] - 3 == dense
    assert cycles["cnvlutin"] == cycles_of(engine("dadiannao").lower(task)) == 25 * 16
    sets = 8 // -(-outputs // 16)  # the 64 input maps have as much to do each
    assert cycles["nullhop"] - 3 == 25 * 64 * 4 // sets


def test_dense_layers_of_cnvlutin(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for channels, groups in ((3, 1), (6, 6)):
        a = rng.integers(0, 9, (1, channels, 6, 6)) * (rng.random((1, channels, 6, 6)) < 0.3)
        w = rng.integers(1, 9, (6, channels // groups, 3, 3))
        network, trace = layer_of(tmp_path / f"{channels}.trace", a, w, bits=(8, 8))
        task = task_of(network, trace)
        table = engine("cnvlutin").lower(task)
        assert cycles_of(table) == cycles_of(engine("dadiannao").lower(task))
        assert table.info["mode"] == "dense"


def pruned(w: Any, grain: str) -> Any:
    """A quarter of the weights left: single ones, vectors of four channels, blocks of 16 outputs, or filters."""
    rng = np.random.default_rng(9)
    n, c, r, s = w.shape
    shape = {"fine": (n, c, r, s), "vector": (n, c // 4, r, s), "block": (n // 16, c, r, s), "filter": (n, 1, 1, 1)}
    size = shape[grain]
    keep = np.zeros(int(np.prod(size)), bool)
    keep[rng.permutation(keep.size)[: keep.size // 4]] = True
    mask = keep.reshape(size)
    for axis in range(4):
        mask = np.repeat(mask, w.shape[axis] // mask.shape[axis], axis)
    return w * mask


def test_structure_decides(tmp_path: Path) -> None:
    """At one density: Cambricon-X likes any grain but whole filters, Cambricon-S needs blocks."""
    a, w = conv(np.random.default_rng(1), 64, 64)
    cycles: dict[str, dict[str, int]] = {}
    for grain in ("fine", "vector", "block", "filter"):
        network, trace = layer_of(tmp_path / f"{grain}.trace", a, pruned(w, grain), bits=(8, 8))
        task = task_of(network, trace)
        cycles[grain] = {kind: cycles_of(engine(kind).lower(task)) for kind in ("cambricon_x", "cambricon_s")}
    x, s = ({g: c[k] for g, c in cycles.items()} for k in ("cambricon_x", "cambricon_s"))
    assert s["block"] < s["vector"] <= s["fine"]
    assert s["block"] <= x["block"]
    assert max(x["fine"], x["vector"]) < x["filter"]
    dense = 16 * 576 // 16 * 4
    assert s["fine"] > 0.9 * dense and s["block"] < 0.4 * dense


# --- what is refused ---


@pytest.mark.parametrize(("kind", "role"), [
    ("cambricon_x", "ifmap"), ("cnvlutin", "filter"), ("nullhop", "filter"), ("column_combining", "ifmap"),
    ("snapea", "ifmap"), ("prediction", "filter"),
])  # fmt: skip
def test_sparsity_that_is_not_skipped(kind: str, role: str) -> None:
    network = Network("net", [Node("x", Input((1, 4, 5, 5))), Node("layer", Conv(4, (3, 3)), ("x",))])
    density: dict[str, Any] = {"weight_density" if role == "filter" else "activation_density": 0.5}
    task = task_of(network, synthetic_trace(network, **density))
    match = f"layer: {role} must be dense for engine '{kind}'.*density 0.5.*dense to allow"
    with pytest.raises(ConfigError, match=match):
        engine(kind).lower(task)
    assert engine(kind, dense="allow").lower(task).macs == network.macs


def test_sparse_encodings_ask_for_skipping(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    a, w = conv(rng, density=0.5)
    for encoding in ("bitmap", "dense"):
        network = Network("net", [Node("x", Input(a.shape)), Node("layer", Conv(16, (3, 3)), ("x",))])
        with TraceWriter(tmp_path / f"{encoding}.trace", network, name="t") as writer:
            writer.add("layer", "ifmap", a.astype(np.int16), bits=8, signed=False, encoding=encoding)
            writer.add("layer", "filter", w.astype(np.int16), bits=8, signed=True)
        from accelsim.workload.trace import Trace

        task = task_of(network, Trace.open(tmp_path / f"{encoding}.trace"))
        if encoding == "dense":  # zeros that a ReLU has left, nothing more
            assert engine("cambricon_x").lower(task).macs == network.macs
            continue
        with pytest.raises(ConfigError, match="ifmap must be dense for engine 'cambricon_x'"):
            engine("cambricon_x").lower(task)


def test_masks_of_another_shape(tmp_path: Path) -> None:
    a, w = conv(np.random.default_rng(2))
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(8, 8))
    other = Network("net", [Node("x", Input((1, 8, 7, 7))), Node("layer", Conv(16, (3, 3)), ("x",))])
    for kind in ("cambricon_s", "cnvlutin", "nullhop"):
        with pytest.raises(ConfigError, match=r"ifmap must have 392 elements \(1, 8, 7, 7\), got 288"):
            engine(kind).lower(task_of(other, trace))


def test_snapea_needs_its_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    a, w = conv(rng)
    w = w * rng.choice([-1, 1], w.shape)
    network, trace = with_relu(tmp_path, a, w, 8)
    with pytest.raises(ConfigError, match="filter must have encoding sign_order.*'dense'; add {step: early_negative}"):
        lowered(engine("snapea"), network, trace)
    full = lowered(engine("snapea", early=False), network, trace)
    assert full.info["mode"] == "full" and cycles_of(full) == 1 * 2 * 72 + 3
    network, trace = with_relu(tmp_path, a - 10, w, 8, encoding="sign_order", signed=True)
    with pytest.raises(ConfigError, match="ifmap must not be negative for sums that stop early"):
        lowered(engine("snapea"), network, trace)


def test_snapea_positive_weights_are_the_dense_twin(tmp_path: Path) -> None:
    a, w = conv(np.random.default_rng(4))
    network, trace = with_relu(tmp_path, a, w, 8, encoding="sign_order")
    early, full = (lowered(engine("snapea", early=x), network, trace) for x in (True, False))
    assert cycles_of(early) == cycles_of(full)
    assert early.info["finished"] == early.info["sums"] == 16 * 16


def test_prediction_without_a_relu_takes_all_bits(tmp_path: Path) -> None:
    a, w = conv(np.random.default_rng(4))
    network, trace = with_relu(tmp_path, a, w, 8, relu=False)
    table = lowered(engine("prediction"), network, trace)
    assert table.info["mode"] == "full" and cycles_of(table) == 1 * 72 * 8


def test_thresholds_are_counted(tmp_path: Path) -> None:
    a, w = conv(np.random.default_rng(6), density=0.6)
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(8, 8))
    small = int(((a > 0) & (a <= 4)).sum())
    for kind in ("cnvlutin", "nullhop"):
        exact, loose = (engine(kind, threshold=t).lower(task_of(network, trace)) for t in (0, 4))
        assert loose.info["dropped_inputs"] == small > 0
        assert cycles_of(loose) < cycles_of(exact)


def test_fields() -> None:
    with pytest.raises(Exception, match="multiple of 64"):
        engine("cambricon_x", segment=100)


@pytest.mark.parametrize(("kind", "mode"), [("snapea", "early"), ("prediction", "predicted")])
def test_sums_that_may_stop_are_cut_only_where_they_do_not_fit(kind: str, mode: str) -> None:
    nodes = [
        Node("x", Input((1, 512))), Node("before", Activation("relu"), ("x",)), Node("layer", Linear(64), ("before",)),
        Node("after", Activation("relu"), ("layer",)),
    ]  # fmt: skip
    trace = synthetic_trace(Network("net", nodes))
    for kib, wanted in ((64, mode), (8, mode), (0.5, "full")):  # room for 32, 4 filters, half of one
        arch = load_arch(kind, [f"buffers.weight_buffer.capacity_bytes={int(2 * kib * 512)}"])
        table = next(t for t in _Plan(arch, trace, None).tables if t.macs)
        assert table.info["mode"] == wanted
