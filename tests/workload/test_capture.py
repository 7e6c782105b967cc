"""Traces of real runs: what stands in them is what onnxruntime computed, in the layout that the network states."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload import capture as capture_module
from accelsim.workload.capture import Captured, capture
from accelsim.workload.network import Layer
from accelsim.workload.tensors import fused_output
from accelsim.workload.trace import Operand, Trace
from tests.workload import interpreter
from tests.workload.onnx_models import build, node, numbers, onnx, onnxruntime_outputs, save
from tests.workload.test_onnx_quant import QDQ_CONV, qdq_constants
from tests.workload.test_onnx_views import batch_norm_constants


def captured(model: Any, inputs: Any, folder: Path, **options: Any) -> tuple[Captured, Trace]:
    result = capture(save(model, folder), inputs, folder / "out.trace", **options)
    trace = Trace.open(result.path)
    trace.verify()
    return result, trace


def real(operand: Operand | None) -> np.ndarray:
    """The numbers that an operand stands for."""
    assert operand is not None
    scale, zero = (np.asarray(v, np.float64) for v in (operand.scale, operand.zero_point))
    shape = (-1, *[1] * (len(operand.shape) - 1))
    values = operand.values().astype(np.float64)
    return (values - (zero.reshape(shape) if zero.ndim else zero)) * (scale.reshape(shape) if scale.ndim else scale)


def step(operand: Operand | None) -> float:
    assert operand is not None
    return float(np.max(operand.scale))


def check_layer(trace: Trace, layer: Layer) -> None:
    """ofmap = activation(filter x ifmap + bias), up to the rounding of the four."""
    parts = {role: trace.operand(layer.name, role) for role in ("filter", "ifmap", "bias", "ofmap")}
    filters, ifmap, ofmap = (real(parts[r]) for r in ("filter", "ifmap", "ofmap"))
    bias = real(parts["bias"]) if parts["bias"] else np.zeros(layer.out_shape[1 if layer.kind == "conv" else -1])
    rule = interpreter.RULES[layer.kind]
    unbiased = {"filter": filters, "bias": bias * 0}
    spread = bias.reshape(1, -1, 1, 1) if layer.kind == "conv" else bias
    out = rule(layer, unbiased, [ifmap]) + spread
    # every product is off by at most half a step of either operand
    half = {role: np.full(parts[role].shape, step(parts[role]) / 2) for role in ("filter", "ifmap")}
    slack = rule(layer, {"filter": np.abs(filters), "bias": bias * 0}, [half["ifmap"]])
    slack += rule(layer, {"filter": half["filter"], "bias": bias * 0}, [np.abs(ifmap)])
    for name in _fused(trace, layer):
        out = interpreter.RULES["activation"](trace.network[name], {}, [out])
    assert ofmap.shape == out.shape
    assert (np.abs(out - ofmap) <= 1.01 * slack + step(parts["ofmap"]) / 2 + 1e-5).all()
    assert np.abs(ofmap).max() > 3 * np.median(slack), "the tolerance would hide anything"


def _fused(trace: Trace, layer: Layer) -> list[str]:
    names, last = [], fused_output(trace.network, layer)
    while last.name != layer.name:
        if last.kind == "activation":
            names.insert(0, last.name)
        last = trace.network[last.inputs[0]]
    return names


def small_network() -> Any:
    nodes = [
        node("Conv", "x w", "c1", pads=[1, 1, 1, 1]), node("BatchNormalization", "c1 g b m v", "n1", epsilon=0.001),
        node("Relu", "n1", "r1"), node("Conv", "r1 d e", "c2", group=8, strides=[2, 2], auto_pad="SAME_UPPER"),
        node("Clip", "c2", "r2", min=0.0, max=6.0), node("Pad", "r2", "p", pads=[0, 0, 1, 0, 0, 0, 0, 1]),
        node("Conv", "p f", "c3"), node("Relu", "c3", "r3"), node("Add", "r3 r2", "sum"),
        node("GlobalAveragePool", "sum", "avg"), node("Flatten", "avg", "flat"), node("MatMul", "flat u", "mm"),
        node("Add", "mm t", "y"),
    ]  # fmt: skip
    constants = {
        **batch_norm_constants(8), "w": numbers("w", 8, 3, 3, 3), "d": numbers("d", 8, 1, 3, 3), "e": numbers("e", 8),
        "f": numbers("f", 8, 8, 2, 2), "u": numbers("u", 8, 5), "t": numbers("t", 5),
    }  # fmt: skip
    return build(nodes, {"x": ("N", 3, 12, 12)}, ["y"], constants, 9)


IMAGE = {"x": numbers("image", 2, 3, 12, 12)}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [8, 12])
def test_every_layer_is_consistent(per_channel: bool, bits: int, tmp_path: Path) -> None:
    result, trace = captured(
        small_network(), IMAGE, tmp_path, weight_bits=bits, activation_bits=bits, per_channel=per_channel
    )
    compute = [layer for layer in trace.network if layer.is_compute]
    assert [layer.kind for layer in compute] == ["conv", "conv", "conv", "linear"]
    for layer in compute:
        check_layer(trace, layer)
    assert not result.missing
    assert trace.network.macs == result.network.macs


def test_batch_normalisation_is_folded(tmp_path: Path) -> None:
    model = small_network()
    _, trace = captured(model, IMAGE, tmp_path, weight_bits=16)
    c = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    factor = c["g"] / np.sqrt(c["v"] + 0.001)
    filters = real(trace.operand("conv_c1", "filter"))
    np.testing.assert_allclose(filters, c["w"] * factor.reshape(-1, 1, 1, 1), atol=2e-4)
    np.testing.assert_allclose(real(trace.operand("conv_c1", "bias")), c["b"] - c["m"] * factor, atol=1e-5)


def test_zeros_stay_zeros(tmp_path: Path) -> None:
    model = small_network()
    model.graph.output.append(onnx.ValueInfoProto(name="r1"))
    relu = onnxruntime_outputs(model, IMAGE)[1]
    result, trace = captured(small_network(), IMAGE, tmp_path)
    ifmap = trace.operand("conv_c2", "ifmap")
    assert ifmap is not None and not ifmap.signed
    assert not ifmap.values()[relu == 0].any()
    row = next(o for o in result.operands if (o.layer, o.role) == ("conv_c2", "ifmap"))
    assert row.zeros == np.count_nonzero(relu == 0) > 0
    assert row.stored_zeros == row.elements - ifmap.nonzeros >= row.zeros
    assert row.density == ifmap.density


def test_padding_is_not_part_of_the_ifmap(tmp_path: Path) -> None:
    _, trace = captured(small_network(), IMAGE, tmp_path)
    ifmap, ofmap = trace.operand("conv_c3", "ifmap"), trace.operand("conv_c2", "ofmap")
    assert ifmap is not None and ofmap is not None
    assert ifmap.shape == (2, 8, 6, 6)
    assert np.array_equal(ifmap.values(), ofmap.values())


def test_two_runs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = captured(small_network(), IMAGE, tmp_path)
    data = first.path.read_bytes()
    monkeypatch.setattr(capture_module, "MAX_RUN_BYTES", 5000)  # several runs, each with a few tensors
    lines: list[str] = []
    second, _ = captured(small_network(), IMAGE, tmp_path, progress=lines.append)
    assert len(lines) > 2
    assert second.path.read_bytes() == data


def test_a_models_own_integers_are_kept(tmp_path: Path) -> None:
    model = build(QDQ_CONV, {"x": (1, 2, 6, 6)}, ["y"], qdq_constants((3, 2, 3, 3)), 13)
    feeds = {"x": numbers("x", 1, 2, 6, 6)}
    model.graph.output.append(onnx.ValueInfoProto(name="xq"))
    codes = onnxruntime_outputs(model, feeds)[1]
    del model.graph.output[1]
    _, trace = captured(model, feeds, tmp_path)
    ifmap, filters = trace.operand("conv_y", "ifmap"), trace.operand("conv_y", "filter")
    assert ifmap is not None and filters is not None
    assert np.array_equal(ifmap.values(), codes) and not ifmap.signed
    assert (ifmap.scale, ifmap.zero_point) == (pytest.approx(0.02), 3)
    assert np.array_equal(filters.values(), qdq_constants((3, 2, 3, 3))["w"])


def test_one_dimensional_and_matrix_products(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1]), node("Transpose", "c", "q", perm=[0, 2, 1]), node("MatMul", "q c", "s"),
        node("Softmax", "s", "a"), node("MatMul", "a q", "y"),
    ]  # fmt: skip
    model = build(nodes, {"x": (2, 3, 9)}, ["y"], {"w": numbers("w", 4, 3, 3)}, 13)
    feeds = {"x": numbers("x", 2, 3, 9)}
    result, trace = captured(model, feeds, tmp_path, activation_bits=16)
    assert not result.missing
    conv = trace.operand("conv_c", "ifmap")
    assert conv is not None and conv.shape == (2, 3, 1, 9)
    np.testing.assert_allclose(real(conv)[:, :, 0], feeds["x"], atol=2e-5)
    scores, mixed = (
        real(trace.operand(n, "ifmap")) @ real(trace.operand(n, "filter")) for n in ("matmul_s", "matmul_y")
    )
    np.testing.assert_allclose(scores, real(trace.operand("matmul_s", "ofmap")), atol=2e-3)
    np.testing.assert_allclose(mixed, onnxruntime_outputs(model, feeds)[0], atol=2e-3)


@pytest.mark.parametrize("direction, directions", [("forward", 1), ("bidirectional", 2)])
@pytest.mark.parametrize("outputs, read", [("y", "y"), ("- h", "h")])
@pytest.mark.parametrize("batch", [1, 3])
def test_states_of_cells(
    direction: str, directions: int, outputs: str, read: str, batch: int, tmp_path: Path
) -> None:
    constants = {
        "w": numbers("w", directions, 16, 3), "r": numbers("r", directions, 16, 4), "b": numbers("b", directions, 32),
    }  # fmt: skip
    cell = node("LSTM", "x w r b", outputs, hidden_size=4, direction=direction)
    model = build([cell], {"x": (6, batch, 3)}, [read], constants, 14)
    feeds = {"x": numbers("x", 6, batch, 3)}
    result, trace = captured(model, feeds, tmp_path, activation_bits=16)
    layer = next(item for item in trace.network if item.kind == "recurrent")
    weights = {r: constants[n].reshape(-1, constants[n].shape[-1]) for r, n in (("filter", "w"), ("recurrent", "r"))}
    weights["bias"] = constants["b"].reshape(directions, 2, 16).transpose(1, 0, 2).reshape(2, -1)
    y = interpreter.recurrent(layer, weights, [feeds["x"].transpose(1, 0, 2)])
    state = real(trace.operand(layer.name, "state"))
    assert state.shape == (batch, 6, 4 * directions)
    np.testing.assert_allclose(state[:, 1:, :4], y[:, :-1, :4], atol=1e-4)
    assert not state[:, 0, :4].any()
    if directions == 2:
        np.testing.assert_allclose(state[:, :-1, 4:], y[:, 1:, 4:], atol=1e-4)
        assert not state[:, -1, 4:].any()
    np.testing.assert_allclose(real(trace.operand(layer.name, "ifmap")), feeds["x"].transpose(1, 0, 2), atol=1e-4)
    recurrent = trace.operand(layer.name, "recurrent")
    assert recurrent is not None and recurrent.shape == (directions * 16, 4)
    np.testing.assert_allclose(real(trace.operand(layer.name, "bias")), weights["bias"], atol=1e-5)


def test_the_initial_state_is_the_first(tmp_path: Path) -> None:
    constants = {"w": numbers("w", 1, 12, 3), "r": numbers("r", 1, 12, 4)}
    cell = node("GRU", "x w r - - h", "y", hidden_size=4)
    model = build([cell], {"x": (5, 1, 3), "h": (1, 1, 4)}, ["y"], constants, 14)
    feeds = {"x": numbers("x", 5, 1, 3), "h": numbers("h", 1, 1, 4)}
    _, trace = captured(model, feeds, tmp_path, activation_bits=16)
    states = real(trace.operand("gru_y", "state"))
    np.testing.assert_allclose(states[0, 0], feeds["h"][0, 0], atol=1e-4)
    np.testing.assert_allclose(states[0, 1:], onnxruntime_outputs(model, feeds)[0][:-1, 0, 0], atol=1e-4)


def test_branches_are_captured_too(tmp_path: Path) -> None:
    def branch(kind: str, out: str) -> Any:
        nodes = [node("Conv", "x w", f"c{out}"), node(kind, f"c{out}", out)]
        return onnx.helper.make_graph(nodes, out, [], [onnx.ValueInfoProto(name=out)])

    nodes = [
        node("Equal", "rate sixteen", "is"),
        node("If", "is", "y", then_branch=branch("Relu", "a"), else_branch=branch("Sigmoid", "b")),
        node("Conv", "y v", "z"),
    ]
    constants = {"w": numbers("w", 4, 2, 3, 3), "v": numbers("v", 2, 4, 1, 1), "sixteen": np.asarray(16, np.int64)}
    inputs = {"x": (1, 2, 6, 6), "rate": ()}
    model = build(nodes, inputs, ["z"], constants, 13, integers=["rate"])
    feeds = {"x": numbers("x", 1, 2, 6, 6), "rate": np.asarray(16, np.int64)}
    _, trace = captured(model, feeds, tmp_path)
    for layer in trace.network:
        if layer.is_compute:
            check_layer(trace, layer)
    with pytest.raises(ConfigError, match="condition is computed at run time"):
        captured(model, None, tmp_path)


def test_external_data(tmp_path: Path) -> None:
    model = small_network()
    path = tmp_path / "outside.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    inside, _ = captured(small_network(), IMAGE, tmp_path, name="a")
    outside = capture(path, IMAGE, tmp_path / "outside.trace", name="a")
    ours, theirs = Trace.open(inside.path), Trace.open(outside.path)
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.values(), other.values())


def test_synthetic_input_says_so(tmp_path: Path) -> None:
    _, trace = captured(small_network(), None, tmp_path, batch=1, source="by hand")
    assert trace.source == "by hand\nActivations of synthetic input: normally distributed numbers."
    assert trace.name == trace.network.name == "model"
    _, trace = captured(small_network(), IMAGE, tmp_path, source="by hand", name="mine")
    assert (trace.source, trace.name, trace.network.name) == ("by hand", "mine", "mine")


@pytest.mark.parametrize("inputs, message", [
    ({}, r"input 'x': dimension 0 \('N'\) is left open"),
    ({"q": np.zeros(3)}, "there is no input 'q'"),
    ({"x": np.zeros((2, 3, 12))}, "has 4 dimensions"),
    ({"x": np.full((1, 3, 12, 12), np.nan, np.float32)}, "values must be finite"),
    ({"x": np.zeros((1, 3, 12, 12), np.complex64)}, "input 'x': must be float32, got complex64"),
    ({"x": np.zeros((1, 4, 12, 12), np.float32)}, "4 channels"),
])  # fmt: skip
def test_wrong_inputs(inputs: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        captured(small_network(), inputs, tmp_path)
    assert not (tmp_path / "out.trace").exists()


def test_an_input_that_is_missing(tmp_path: Path) -> None:
    model = build([node("MatMul", "a b", "y")], {"a": (2, 3), "b": (3, 2)}, ["y"])
    with pytest.raises(ConfigError, match="input 'b': is missing among the given inputs"):
        captured(model, {"a": np.zeros((2, 3), np.float32)}, tmp_path)


def test_integers_cannot_be_made_up(tmp_path: Path) -> None:
    nodes = [node("Gather", "t i", "e"), node("MatMul", "e w", "y")]
    constants = {"t": numbers("t", 10, 4), "w": numbers("w", 4, 4)}
    model = build(nodes, {"i": (1, 5)}, ["y"], constants, integers=["i"])
    with pytest.raises(ConfigError, match="is of type int64, for which no input can be made up"):
        captured(model, None, tmp_path)


def test_nothing_to_capture(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no layer that computes"):
        captured(build([node("Relu", "x", "y")], {"x": (2, 3)}, ["y"]), None, tmp_path)


@pytest.mark.parametrize("which", ["weight_bits", "activation_bits"])
def test_widths(which: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{which} must be an integer from 1 to 16, got 0"):
        captured(small_network(), IMAGE, tmp_path, **{which: 0})


def test_onnxruntime_refuses(tmp_path: Path) -> None:
    nodes = [node("Frob", "x", "f", domain="acme"), node("Conv", "f w", "y")]
    model = build(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": numbers("w", 3, 2, 3, 3)}, domains=["acme"])
    with pytest.raises(ConfigError, match=r"onnxruntime cannot run the model: .*Frob"):
        captured(model, None, tmp_path, skip_unsupported=True)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_an_interrupt_leaves_no_file(tmp_path: Path) -> None:
    def interrupt(message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        captured(small_network(), IMAGE, tmp_path, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'pip install "accelsim\[onnx\]"'):
        captured(small_network(), IMAGE, tmp_path)
