"""ONNX operators that move data or work element by element: the same values, or at least shapes, as onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from tests.workload.onnx_models import build, check_outputs, imported, node, numbers, onnxruntime_outputs

I64 = np.int64


def ints(*values: int) -> np.ndarray:
    return np.asarray(values, I64)


VIEWS: list[tuple[str, dict[str, Any], tuple[int, ...], dict[str, np.ndarray], int]] = [
    ("Reshape", {}, (2, 3, 4), {"s": ints(0, -1)}, 13),
    ("Reshape", {}, (2, 3, 4), {"s": ints(4, 6)}, 7),
    ("Flatten", {"axis": 2}, (2, 3, 4, 5), {}, 7),
    ("Flatten", {"axis": 0}, (2, 3), {}, 9),
    ("Flatten", {"axis": -1}, (2, 3, 4), {}, 11),
    ("Squeeze", {"axes": [1]}, (2, 1, 4, 1), {}, 7),
    ("Squeeze", {}, (2, 1, 4, 1), {"a": ints(-1)}, 13),
    ("Squeeze", {}, (2, 1, 4, 1), {}, 13),
    ("Unsqueeze", {"axes": [0, 3]}, (2, 4), {}, 7),
    ("Unsqueeze", {}, (2, 4), {"a": ints(1, -1)}, 13),
    ("Transpose", {}, (2, 3, 4), {}, 7),
    ("Transpose", {"perm": [0, 3, 1, 2]}, (2, 3, 4, 5), {}, 13),
    ("Transpose", {"perm": [0, 2, 3, 1]}, (2, 3, 1, 1), {}, 13),
    ("Slice", {"starts": [1, -3], "ends": [9, -1], "axes": [1, 3]}, (2, 3, 4, 5), {}, 7),
    ("Slice", {}, (2, 9, 4), {"s": ints(1), "e": ints(8), "a": ints(-2), "t": ints(3)}, 10),
    ("Slice", {}, (4, 9), {"s": ints(1, 0), "e": ints(2**62, 4)}, 13),
    ("Gather", {"axis": 1}, (2, 5, 3), {"i": np.asarray(2, I64)}, 7),
    ("Gather", {"axis": -1}, (2, 5), {"i": ints(4, 0, 1, 2, 2, -5)}, 13),
    ("Gather", {"axis": 1}, (2, 6, 3), {"i": np.asarray([[0, 2, 4], [1, 3, 5]], I64)}, 13),
    ("Expand", {}, (3, 1), {"s": ints(2, 1, 4)}, 8),
    ("Tile", {}, (2, 3), {"r": ints(2, 2)}, 7),
    ("Pad", {"pads": [0, 1, 2, 0, 0, 1]}, (2, 3, 4), {}, 7),
    ("Pad", {}, (2, 3), {"p": ints(1, -1, 0, 2)}, 13),
    ("Pad", {}, (2, 3), {"p": ints(2, 1), "v": np.zeros((), np.float32), "a": ints(1)}, 18),
    ("DepthToSpace", {"blocksize": 2}, (1, 12, 2, 3), {}, 7),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, (1, 12, 2, 3), {}, 11),
    ("SpaceToDepth", {"blocksize": 2}, (1, 3, 4, 6), {}, 7),
    ("Identity", {}, (2, 3), {}, 7),
    ("Dropout", {}, (2, 3), {}, 7),
    ("Dropout", {}, (2, 3), {"r": np.asarray(0.5, np.float32)}, 13),
    ("Cast", {"to": 1}, (2, 3), {}, 13),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}, (1, 2, 7, 8), {}, 7),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, (1, 2, 8, 8), {}, 11),
    ("MaxPool", {"kernel_shape": [3], "auto_pad": "SAME_UPPER", "strides": [2]}, (1, 2, 8), {}, 11),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}, (1, 2, 6, 6), {}, 7),
    ("GlobalAveragePool", {}, (2, 3, 4, 5), {}, 7),
    ("GlobalAveragePool", {}, (2, 3, 5), {}, 13),
    ("GlobalMaxPool", {}, (2, 3, 4, 5), {}, 13),
    ("ReduceMean", {"axes": [2, 3]}, (2, 3, 4, 5), {}, 7),
    ("ReduceMean", {"axes": [-1], "keepdims": 0}, (2, 3, 4, 5), {}, 13),
    ("ReduceMean", {"axes": [1]}, (2, 3, 4), {}, 13),
    ("ReduceMean", {"keepdims": 0}, (2, 3), {}, 13),
    ("ReduceMax", {"axes": [0, 2]}, (2, 3, 4), {}, 13),
    ("ReduceMean", {}, (2, 3, 4), {"a": ints(1, 2)}, 18),
    ("Softmax", {"axis": -1}, (2, 3, 4), {}, 13),
    ("Relu", {}, (2, 3), {}, 7),
    ("Sigmoid", {}, (2, 3), {}, 7),
    ("Tanh", {}, (2, 3), {}, 7),
    ("Exp", {}, (2, 3), {}, 13),
    ("Abs", {}, (2, 3), {}, 13),
    ("Clip", {"min": 0.0, "max": 6.0}, (2, 3), {}, 7),
    ("Clip", {}, (2, 3), {"a": np.asarray(0, np.float32), "b": np.asarray(6, np.float32)}, 13),
    ("PRelu", {}, (2, 3, 4), {"s": numbers("s", 3, 1)}, 9),
    ("LayerNormalization", {}, (2, 3, 8), {"g": numbers("g", 8), "b": numbers("b", 8)}, 17),
    ("LayerNormalization", {"axis": 1}, (2, 3, 4), {"g": numbers("g", 3, 4)}, 17),
    ("Add", {}, (2, 3, 4), {"b": numbers("b", 3, 1)}, 7),
    ("Mul", {}, (3, 1), {"b": numbers("b", 2, 1, 4)}, 13),
    ("Add", {}, (2, 3), {"b": np.zeros((), np.float32)}, 13),
    ("Div", {}, (2, 3), {"b": np.ones(1, np.float32)}, 13),
    ("Resize", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
     (1, 2, 3, 4), {"roi": np.zeros(0, np.float32), "s": np.asarray([1, 1, 2, 3], np.float32)}, 11),
    ("Upsample", {"mode": "nearest"}, (1, 2, 3, 4), {"s": np.asarray([1, 1, 2, 2], np.float32)}, 9),
    ("Upsample", {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 2.0]}, (1, 2, 3, 4), {}, 7),
]  # fmt: skip


@pytest.mark.parametrize("op, attributes, x, constants, opset", VIEWS, ids=[f"{v[0]}{i}" for i, v in enumerate(VIEWS)])
def test_values(op: str, attributes: Any, x: Any, constants: Any, opset: int, tmp_path: Path) -> None:
    model = build([node(op, " ".join(["x", *constants]), "y", **attributes)], {"x": x}, ["y"], constants, opset)
    check_outputs(model, {"x": numbers("x", *x)}, tmp_path)


SHAPES: list[tuple[str, dict[str, Any], tuple[int, ...], dict[str, np.ndarray], int]] = [
    ("LRN", {"size": 5}, (1, 8, 4, 4), {}, 7),
    ("LpPool", {"kernel_shape": [2, 2]}, (1, 2, 6, 6), {}, 11),
    ("InstanceNormalization", {}, (1, 3, 4, 4), {"g": numbers("g", 3), "b": numbers("b", 3)}, 7),
    ("LpNormalization", {}, (2, 3), {}, 7),
    ("LogSoftmax", {"axis": 1}, (2, 3, 4), {}, 11),
    ("ArgMax", {"axis": 1}, (2, 3, 4), {}, 13),
    ("ArgMax", {"axis": -1, "keepdims": 0}, (2, 3, 4), {}, 13),
    ("ReduceSum", {}, (2, 3, 4), {"a": ints(1)}, 13),
    ("ReduceL2", {"axes": [0]}, (2, 3, 4), {}, 11),
    ("Resize", {"mode": "linear"}, (1, 2, 4, 6),
     {"r": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "z": ints(1, 2, 6, 3)}, 13),
    ("Pow", {}, (2, 3), {"e": np.asarray(2, np.float32)}, 13),
    ("Add", {}, (3,), {"b": np.full((1, 1), 2, np.float32)}, 13),
    ("Greater", {}, (2, 3), {"b": np.asarray(0, np.float32)}, 13),
    ("Clip", {"min": -1.0, "max": 1.0}, (2, 3), {}, 7),
    *[(name, {}, (2, 3), {}, opset) for name, opset in (
        ("LeakyRelu", 7), ("HardSigmoid", 7), ("HardSwish", 14), ("Elu", 7), ("Selu", 7), ("Softplus", 7),
        ("Softsign", 7), ("Erf", 13), ("Sqrt", 7), ("Log", 7), ("Neg", 7), ("Floor", 7), ("Sin", 7), ("Mish", 18),
        ("Gelu", 20), ("Reciprocal", 7), ("Sign", 9), ("ThresholdedRelu", 10), ("Celu", 12), ("Round", 11))],
]  # fmt: skip


@pytest.mark.parametrize("op, attributes, x, constants, opset", SHAPES, ids=[f"{s[0]}{s[-1]}" for s in SHAPES])
def test_shapes(op: str, attributes: Any, x: Any, constants: Any, opset: int, tmp_path: Path) -> None:
    model = build([node(op, " ".join(["x", *constants]), "y", **attributes)], {"x": x}, ["y"], constants, opset)
    wanted = onnxruntime_outputs(model, {"x": numbers("x", *x, low=0.1)})[0]
    found = imported(model, tmp_path)
    last = found.network.layers[-1]
    assert last.out_shape == wanted.shape
    assert any(layer.work is not None and layer.work.ops >= wanted.size for layer in found.network if layer.work)


@pytest.mark.parametrize("opset, attributes, constants, sizes", [
    (7, {"axis": 1, "split": [1, 2, 3]}, {}, [1, 2, 3]), (11, {"axis": 1}, {}, [2, 2, 2]),
    (13, {"axis": -2}, {"s": ints(3, 1, 2)}, [3, 1, 2]), (18, {"axis": 1, "num_outputs": 3}, {}, [2, 2, 2]),
])  # fmt: skip
def test_split(opset: int, attributes: Any, constants: Any, sizes: list[int], tmp_path: Path) -> None:
    split = node("Split", " ".join(["x", *constants]), "a b c", **attributes)
    model = build([split], {"x": (2, 6, 3)}, ["a", "b", "c"], constants, opset)
    found = check_outputs(model, {"x": numbers("x", 2, 6, 3)}, tmp_path)
    assert [layer.out_shape[1] for layer in found.network if layer.kind == "slice"] == sizes


def test_concatenation_with_a_constant(tmp_path: Path) -> None:
    concat = node("Concat", "t x x", "y", axis=1)
    model = build([concat], {"x": (1, 3, 4)}, ["y"], {"t": numbers("t", 1, 1, 4)})
    found = check_outputs(model, {"x": numbers("x", 1, 3, 4)}, tmp_path)
    assert found.network.params == 4


def test_embedding(tmp_path: Path) -> None:
    model = build([node("Gather", "t i", "y")], {"i": (2, 5)}, ["y"], {"t": numbers("t", 10, 4)}, integers=["i"])
    found = check_outputs(model, {"i": np.arange(10, dtype=I64).reshape(2, 5)}, tmp_path)
    assert [layer.kind for layer in found.network] == ["input", "embedding"]
    assert found.network.params == 40


def batch_norm_constants(channels: int) -> dict[str, np.ndarray]:
    return {n: numbers(n, channels, low=0.5) for n in "gbmv"}


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
@pytest.mark.parametrize("x", [(2, 3, 4, 5), (2, 3, 6), (2, 3)])
def test_batch_normalisation(x: tuple[int, ...], opset: int, tmp_path: Path) -> None:
    nodes = [node("BatchNormalization", "x g b m v", "y", epsilon=0.01)]
    model = build(nodes, {"x": x}, ["y"], batch_norm_constants(3), opset)
    found = check_outputs(model, {"x": numbers("x", *x)}, tmp_path)
    assert found.network.params == 6
    norm = next(layer for layer in found.network if layer.kind == "norm")
    assert norm.work is not None, "nothing stands before it that it could fold into"


def test_a_scale_layer_belongs_to_the_batch_normalisation(tmp_path: Path) -> None:
    # Caffe's batch normalisation has no scale and shift: exporters add a multiplication and an addition
    nodes = [
        node("Conv", "x w", "c"), node("BatchNormalization", "c g b m v", "n"),
        node("Unsqueeze", "s", "s2", axes=[1, 2]), node("Mul", "n s2", "k"), node("Add", "t k", "y"),
    ]  # fmt: skip
    constants = {"w": numbers("w", 4, 2, 1, 1), "s": numbers("s", 4), "t": numbers("t", 4, 1, 1)}
    constants |= batch_norm_constants(4)
    model = build(nodes, {"x": (1, 2, 3, 3)}, ["y"], constants, 9)
    found = check_outputs(model, {"x": numbers("x", 1, 2, 3, 3)}, tmp_path)
    assert [layer.kind for layer in found.network] == ["input", "conv", "norm"]
    assert found.network.layers[-1].work is None
    assert found.network.params == 8 + 8


def test_shape_arithmetic_is_folded(tmp_path: Path) -> None:
    # What PyTorch exports for x.view(x.shape[0], -1), flattened by hand
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n axes", "n1"),
        node("Mul", "h w", "hw0"), node("Div", "hw0 two", "hw1"), node("Floor", "hwf", "unused"),
        node("Cast", "hw1", "hwc", to=7), node("Unsqueeze", "hwc axes", "hw"),
        node("Concat", "n1 hw", "target", axis=0), node("Reshape", "x target", "y"),
    ]  # fmt: skip
    constants = {"zero": np.asarray(0, I64), "axes": ints(0), "two": np.asarray(2, I64), "h": np.asarray(6, I64),
                 "w": np.asarray(5, I64), "hwf": np.asarray(1.5, np.float32)}  # fmt: skip
    model = build(nodes, {"x": (2, 3, 5)}, ["y"], constants)
    found = check_outputs(model, {"x": numbers("x", 2, 3, 5)}, tmp_path)
    assert found.network.layers[-1].out_shape == (2, 15)
    assert found.network.params == 0


CHAIN: list[tuple[str, str, dict[str, Any]]] = [
    ("Neg", "", {}), ("Floor", "", {}), ("Sqrt", "", {}), ("Exp", "", {}), ("Relu", "", {}), ("Sigmoid", "", {}),
    ("Tanh", "", {}), ("Erf", "", {}), ("Add", "c", {}), ("Sub", "c", {}), ("Mul", "c", {}), ("Div", "c", {}),
    ("Max", "c", {}), ("Min", "c", {}), ("Pow", "two", {}), ("Transpose", "", {"perm": [1, 0]}),
    ("Unsqueeze", "zero", {}), ("ReduceMean", "", {"axes": [0], "keepdims": 1}), ("Slice", "zero one zero", {}),
    ("Concat", "-SELF-", {"axis": 0}), ("Tile", "reps", {}), ("ReduceSum", "zero", {}), ("Abs", "", {}),
    ("Cast", "", {"to": 1}), ("Clip", "low high", {}), ("Identity", "", {}), ("ReduceMax", "", {"axes": [-1]}),
    ("Flatten", "", {}), ("Sign", "", {}), ("Reciprocal", "", {}), ("Round", "", {}), ("Trilu", "", {}),
    ("CumSum", "axis0", {}), ("Softplus", "", {}), ("Ceil", "", {}), ("Log", "", {}), ("Cos", "", {}),
]  # fmt: skip
FIXED = {
    "c": numbers("c", 1, 3, low=0.5), "two": np.asarray(2, np.float32), "zero": ints(0), "one": ints(1),
    "reps": ints(2, 1), "low": np.asarray(-1, np.float32), "high": np.asarray(2, np.float32),
    "axis0": np.asarray(0, I64),
}  # fmt: skip


def random_chain(seed: int) -> Any:
    """Five operators on constants, then an addition to the input."""
    rng = np.random.default_rng(seed)
    nodes, last = [], "k"
    for i in range(5):
        op, more, attributes = CHAIN[rng.integers(len(CHAIN))]
        nodes.append(node(op, f"{last} {last}" if more == "-SELF-" else f"{last} {more}", f"t{i}", **attributes))
        last = f"t{i}"
        if op == "Unsqueeze":
            nodes.append(node("Squeeze", f"{last} zero", f"u{i}"))
            last = f"u{i}"
    nodes.append(node("Add", f"x {last}", "y"))
    return build(nodes, {"x": (1, 3)}, ["y"], {**FIXED, "k": numbers(f"k{seed}", 3, 3, low=0.25)}, 17)


def test_folding_agrees_with_onnxruntime(tmp_path: Path) -> None:
    x, compared = numbers("x", 1, 3), 0
    for seed in range(80):
        model = random_chain(seed)
        try:
            wanted = onnxruntime_outputs(model, {"x": x})[0]
        except Exception as error:  # this chain's shapes do not broadcast
            assert "broadcast" in str(error).lower() or "shape" in str(error).lower()
            continue
        found = imported(model, tmp_path)
        assert found.network.layers[-1].out_shape == wanted.shape
        values = [w["value"] for w in found.weights.values() if "value" in w]
        if values and np.isfinite(wanted).all():
            np.testing.assert_allclose(x + values[0], wanted, rtol=1e-5, atol=1e-5)
            compared += 1
    assert compared >= 40


def test_a_branch_with_a_known_condition_is_taken(tmp_path: Path) -> None:
    import onnx

    def branch(name: str, kind: str) -> Any:
        out = onnx.ValueInfoProto(name=name)
        return onnx.helper.make_graph([node(kind, "x", name)], name, [], [out])

    nodes = [
        node("Shape", "x", "s"), node("Size", "s", "rank"), node("Equal", "rank four", "c"),
        node("If", "c", "y", then_branch=branch("a", "Relu"), else_branch=branch("b", "Sigmoid")),
        node("Tanh", "y", "z"),
    ]  # fmt: skip
    model = build(nodes, {"x": (1, 2, 3, 3)}, ["z"], {"four": np.asarray(4, I64)}, 13)
    found = check_outputs(model, {"x": numbers("x", 1, 2, 3, 3)}, tmp_path)
    assert [getattr(layer.op, "mode", "") for layer in found.network] == ["", "relu", "tanh"]


def test_layers_that_no_output_needs_are_left_out(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "y"), node("Conv", "x w", "z")]
    found = imported(build(nodes, {"x": (1, 2, 4, 4)}, ["y"], {"w": numbers("w", 3, 2, 1, 1)}), tmp_path)
    assert [layer.kind for layer in found.network] == ["input", "activation"]
    assert "conv_z" not in found.weights


def test_an_empty_slice_is_refused(tmp_path: Path) -> None:
    model = build([node("Slice", "x", "y", starts=[3], ends=[3])], {"x": (4, 4)}, ["y"], {}, 9)
    with pytest.raises(ConfigError, match=r"'slice_y' \(Slice\): an empty slice 3:3 of \(4, 4\)"):
        imported(model, tmp_path)
