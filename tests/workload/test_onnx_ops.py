"""Each ONNX operator that runs on the array: the imported layer, computed in numpy, equals onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workload.onnx_models import build, check_outputs, needs_opset, node, numbers

SETTINGS = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def the(found: Any, kind: str) -> Any:
    """The only layer of that kind."""
    layers = [layer for layer in found.network if layer.kind == kind]
    assert len(layers) == 1, [layer.kind for layer in found.network]
    return layers[0]


@pytest.mark.parametrize("opset", [7, 11, 13, 17, 21])
@pytest.mark.parametrize(
    "attributes, w",
    [
        ({}, (6, 4, 3, 3)),
        ({"strides": [2, 1], "pads": [1, 0, 2, 3]}, (6, 4, 3, 2)),
        ({"group": 2, "dilations": [2, 3], "pads": [2, 2, 2, 2]}, (6, 2, 3, 2)),
        ({"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, (8, 1, 3, 4)),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (5, 4, 4, 2)),
        ({"auto_pad": "VALID"}, (5, 4, 1, 1)),
    ],
)
def test_convolution(opset: int, attributes: dict[str, Any], w: tuple[int, ...], tmp_path: Path) -> None:
    constants = {"w": numbers("w", *w), "b": numbers("b", w[0])}
    model = build([node("Conv", "x w b", "y", **attributes)], {"x": (2, 4, 9, 10)}, ["y"], constants, opset)
    found = check_outputs(model, {"x": numbers("x", 2, 4, 9, 10)}, tmp_path)
    layer = the(found, "conv")
    assert found.weights[layer.name]["filter"].shape == w
    assert layer.params == np.prod(w) + w[0]


@SETTINGS
@given(
    n=st.integers(1, 2), c=st.integers(1, 3), m=st.integers(1, 3), groups=st.integers(1, 3), h=st.integers(5, 9),
    w=st.integers(5, 9), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4), bias=st.booleans(),
)  # fmt: skip
def test_convolutions_of_any_shape(
    n: int, c: int, m: int, groups: int, h: int, w: int, kernel: Any, stride: Any, dilation: Any, pads: Any,
    bias: bool, tmp_path: Path,
) -> None:  # fmt: skip
    constants = {"w": numbers("w", m * groups, c, *kernel), **({"b": numbers("b", m * groups)} if bias else {})}
    attributes = {"group": groups, "strides": stride, "dilations": dilation, "pads": pads}
    conv = node("Conv", "x w b" if bias else "x w", "y", **attributes)
    dims = (n, c * groups, h, w)
    check_outputs(build([conv], {"x": dims}, ["y"], constants), {"x": numbers("x", *dims)}, tmp_path)


def test_one_dimensional_convolutions_need_no_reshape_between_them(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "a", pads=[1, 2], strides=[2]),
        node("Relu", "a", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2]),
        node("Conv", "p v", "y", group=3),
    ]
    constants = {"w": numbers("w", 6, 4, 3), "v": numbers("v", 3, 2, 2)}
    model = build(nodes, {"x": (2, 4, 20)}, ["y"], constants)
    found = check_outputs(model, {"x": numbers("x", 2, 4, 20)}, tmp_path)
    assert [layer.kind for layer in found.network].count("reshape") == 2  # in at the front, out at the end
    assert found.weights["conv_a"]["filter"].shape == (6, 4, 1, 3)


def test_zero_padding_merges_into_the_convolution(tmp_path: Path) -> None:
    nodes = [node("Pad", "x", "p", pads=[0, 0, 1, 2, 0, 0, 3, 0]), node("Conv", "p w", "y", pads=[1, 1, 0, 0])]
    model = build(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": numbers("w", 3, 2, 3, 3)}, 9)
    found = check_outputs(model, {"x": numbers("x", 1, 2, 5, 5)}, tmp_path)
    assert the(found, "conv").work.pad == (2, 3, 3, 0)
    assert "pad" not in [layer.kind for layer in found.network]


@pytest.mark.parametrize("how", [{"mode": "edge"}, {"value": 1.0}, {"pads": [0, 1, 0, 0, 0, 0, 0, 0]}])
def test_other_padding_stays_a_layer(how: dict[str, Any], tmp_path: Path) -> None:
    pads = {"pads": [0, 0, 1, 1, 0, 0, 1, 1], **how}
    channels = 2 + pads["pads"][1]
    nodes = [node("Pad", "x", "p", **pads), node("Conv", "p w", "y")]
    model = build(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": numbers("w", 3, channels, 3, 3)}, 9)
    from tests.workload.onnx_models import imported

    found = imported(model, tmp_path)
    assert the(found, "conv").work.pad == (0, 0, 0, 0)
    assert the(found, "pad").op.zeros is ("mode" not in how and "value" not in how)


@pytest.mark.parametrize(
    "attributes, w, x",
    [
        ({"strides": [2, 2]}, (4, 3, 2, 2), (1, 4, 5, 6)),
        ({"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 0]}, (4, 3, 3, 4), (2, 4, 5, 6)),
        ({"group": 2, "dilations": [2, 1]}, (4, 3, 3, 2), (1, 4, 5, 6)),
        ({"strides": [2, 2], "auto_pad": "SAME_UPPER"}, (4, 3, 3, 3), (1, 4, 5, 6)),
        ({"strides": [2, 2], "output_shape": [9, 12]}, (4, 3, 3, 3), (1, 4, 5, 6)),
        ({"strides": [3], "pads": [1, 2]}, (4, 3, 4), (1, 4, 7)),
    ],
)
def test_transposed_convolution(attributes: Any, w: tuple[int, ...], x: tuple[int, ...], tmp_path: Path) -> None:
    groups = attributes.get("group", 1)
    constants = {"w": numbers("w", *w), "b": numbers("b", w[1] * groups)}
    model = build([node("ConvTranspose", "x w b", "y", **attributes)], {"x": x}, ["y"], constants, 11)
    found = check_outputs(model, {"x": numbers("x", *x)}, tmp_path)
    pixels = int(np.prod(x[2:])) * x[0]
    assert found.network.macs == pixels * int(np.prod(w))
    assert found.network.params == int(np.prod(w)) + w[1] * groups


@pytest.mark.parametrize("opset", [7, 9, 11, 13])
@pytest.mark.parametrize("trans_a, trans_b", [(0, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,), (4, 5), None])
def test_gemm(opset: int, trans_a: int, trans_b: int, bias: Any, tmp_path: Path) -> None:
    x, w = ((6, 4) if trans_a else (4, 6)), ((5, 6) if trans_b else (6, 5))
    constants = {"w": numbers("w", *w), "b": numbers("b", *(bias or (1,)))}
    given_bias = bias is not None or opset < 11
    gemm = node("Gemm", "x w b" if given_bias else "x w", "y", transA=trans_a, transB=trans_b, alpha=0.5, beta=2.0)
    model = build([gemm], {"x": x}, ["y"], constants, opset)
    found = check_outputs(model, {"x": numbers("x", *x)}, tmp_path)
    layer = the(found, "linear")
    assert layer.macs == 4 * 5 * 6
    assert found.weights[layer.name]["filter"].shape == (5, 6)


def test_gemm_of_two_activations(tmp_path: Path) -> None:
    model = build([node("Gemm", "a b c", "y", transB=1)], {"a": (4, 6), "b": (5, 6), "c": (4, 5)}, ["y"])
    feeds = {"a": numbers("a", 4, 6), "b": numbers("b", 5, 6), "c": numbers("c", 4, 5)}
    assert check_outputs(model, feeds, tmp_path).network.macs == 120


@pytest.mark.parametrize("a, b", [
    ((4, 6), (6, 5)), ((2, 3, 4, 6), (6, 5)), ((2, 3, 4, 6), (2, 3, 6, 5)), ((2, 1, 4, 6), (1, 3, 6, 5)),
    ((4, 6), (3, 6, 5)), ((6,), (6, 5)), ((3, 4, 6), (6,)), ((2, 4, 6), (1, 6, 5)),
])  # fmt: skip
@pytest.mark.parametrize("constant", ["", "a", "b"])
def test_matmul(a: tuple[int, ...], b: tuple[int, ...], constant: str, tmp_path: Path) -> None:
    dims = {"a": a, "b": b}
    constants = {constant: numbers(constant, *dims[constant])} if constant else {}
    inputs = {n: d for n, d in dims.items() if n != constant}
    model = build([node("MatMul", "a b", "y")], inputs, ["y"], constants)
    found = check_outputs(model, {n: numbers(n, *d) for n, d in inputs.items()}, tmp_path)
    macs = int(np.prod(np.matmul(np.zeros(a), np.zeros(b)).shape)) * a[-1]
    assert found.network.macs == macs
    assert found.network.params == (int(np.prod(dims[constant])) if constant else 0)


def test_matmul_and_its_bias_become_one_linear_layer(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "m"), node("Add", "b m", "y")]
    constants = {"w": numbers("w", 6, 5), "b": numbers("b", 5)}
    found = check_outputs(build(nodes, {"x": (2, 3, 6)}, ["y"], constants), {"x": numbers("x", 2, 3, 6)}, tmp_path)
    assert [layer.kind for layer in found.network] == ["input", "linear"]
    assert found.network.params == 35
    assert found.tensors["matmul_m"] == "y"


def test_a_bias_stays_apart_when_others_read_the_product(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "m"), node("Add", "m b", "y"), node("Relu", "m", "z")]
    constants = {"w": numbers("w", 6, 5), "b": numbers("b", 5)}
    found = check_outputs(build(nodes, {"x": (3, 6)}, ["y", "z"], constants), {"x": numbers("x", 3, 6)}, tmp_path)
    assert [layer.kind for layer in found.network].count("eltwise") == 1


@pytest.mark.parametrize("opset", [7, 14, 17])
@pytest.mark.parametrize("cell, gates", [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("direction, directions", [("forward", 1), ("bidirectional", 2)])
def test_recurrent_cells(cell: str, gates: int, direction: str, directions: int, opset: int, tmp_path: Path) -> None:
    steps, n, features, hidden = 5, 2, 3, 4
    constants = {
        "w": numbers("w", directions, gates * hidden, features),
        "r": numbers("r", directions, gates * hidden, hidden),
        "b": numbers("b", directions, 2 * gates * hidden),
    }
    more = {"linear_before_reset": 1} if cell == "GRU" else {}
    nodes = [node(cell, "x w r b", "y h", hidden_size=hidden, direction=direction, **more)]
    model = build(nodes, {"x": (steps, n, features)}, ["y", "h"], constants, opset)
    found = check_outputs(model, {"x": numbers("x", steps, n, features)}, tmp_path)
    layer = the(found, "recurrent")
    assert layer.macs == directions * steps * n * gates * hidden * (features + hidden)
    assert layer.params == sum(a.size for a in constants.values())
    assert found.weights[layer.name]["recurrent"].shape == (directions * gates * hidden, hidden)


def test_initial_states_keep_their_tensors_alive(tmp_path: Path) -> None:
    from tests.workload.onnx_models import imported

    constants = {"w": numbers("w", 1, 16, 3), "r": numbers("r", 1, 16, 4)}
    nodes = [node("LSTM", "x w r - - h c", "- h2 c2", hidden_size=4)]
    inputs = {"x": (1, 1, 3), "h": (1, 1, 4), "c": (1, 1, 4)}
    found = imported(build(nodes, inputs, ["h2", "c2"], constants), tmp_path)
    assert the(found, "recurrent").inputs == ("x", "h", "c")
    assert found.network.params == 16 * 7


@pytest.mark.parametrize("equation, a, b", [
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 6, 3, 5)),
    ("ij,jk->ik", (3, 4), (4, 5)), ("ij,jk->ki", (3, 4), (4, 5)), ("bijk,kl->bijl", (2, 3, 4, 5), (5, 6)),
])  # fmt: skip
def test_einsum(equation: str, a: tuple[int, ...], b: tuple[int, ...], tmp_path: Path) -> None:
    model = build([node("Einsum", "a b", "y", equation=equation)], {"a": a, "b": b}, ["y"])
    found = check_outputs(model, {"a": numbers("a", *a), "b": numbers("b", *b)}, tmp_path)
    letters = dict(zip(equation.replace(",", "").split("->")[0], a + b))
    assert found.network.macs == int(np.prod(list(letters.values())))


@pytest.mark.parametrize("heads, shared", [(4, 4), (4, 2), (4, 1)])
def test_attention(heads: int, shared: int, tmp_path: Path) -> None:
    needs_opset(23)
    dims = {"q": (2, heads, 5, 8), "k": (2, shared, 6, 8), "v": (2, shared, 6, 3)}
    model = build([node("Attention", "q k v", "y", scale=1.0)], dims, ["y"], opset=23)
    model.ir_version = 11
    check = {n: numbers(n, *d) for n, d in dims.items()}
    from onnx.reference import ReferenceEvaluator

    from tests.workload import interpreter
    from tests.workload.onnx_models import imported

    found = imported(model, tmp_path)
    values = interpreter.run(found.network, found.weights, check)
    wide = {n: np.repeat(a, heads // a.shape[1], 1) for n, a in check.items()}
    scores = np.exp(wide["q"] @ wide["k"].swapaxes(2, 3))
    wanted = scores / scores.sum(-1, keepdims=True) @ wide["v"]
    np.testing.assert_allclose(values[list(values)[-1]].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ReferenceEvaluator(model).run(None, check)[0], wanted, rtol=1e-4, atol=1e-5)
    assert found.network.macs == 2 * heads * 5 * 6 * (8 + 3)
