"""Quantized models: the integers that the model computes with are kept beside the real values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.workload.onnx_import import import_model
from accelsim.workload.onnx_read import read_model
from tests.workload.onnx_models import (
    build,
    check_outputs,
    imported,
    needs_opset,
    node,
    numbers,
    onnx,
    onnxruntime_outputs,
    save,
)


def scalar(value: float, kind: Any = np.float32) -> np.ndarray:
    return np.asarray(value, kind)


def codes(name: str, *dims: int) -> np.ndarray:
    return np.rint(numbers(name, *dims) * 127).astype(np.int8)


def qdq_constants(filters: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"w": codes("w", *filters), "ws": scalar(0.01), "wz": scalar(0, np.int8), "xs": scalar(0.02),
            "xz": scalar(3, np.uint8)}  # fmt: skip


QDQ_CONV = [
    node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "xd"),
    node("DequantizeLinear", "w ws wz", "wd"), node("Conv", "xd wd", "y"),
]  # fmt: skip


def test_quantize_dequantize_pairs_keep_the_models_integers(tmp_path: Path) -> None:
    constants = qdq_constants((3, 2, 3, 3))
    model = build(QDQ_CONV, {"x": (1, 2, 6, 6)}, ["y"], constants, 13)
    found = imported(model, tmp_path)
    assert [layer.kind for layer in found.network] == ["input", "conv"]
    weights = found.quantized["conv_y"]["filter"]
    assert np.array_equal(weights.stored, constants["w"])
    assert (weights.scale.item(), weights.zero_point.item()) == (np.float32(0.01), 0)
    np.testing.assert_allclose(found.weights["conv_y"]["filter"], constants["w"] * np.float32(0.01))
    operand = found.operands["conv_y", 0]
    assert (operand.tensor, operand.scale.item(), operand.zero_point.item()) == ("xq", np.float32(0.02), 3)


def test_values_on_the_grid_give_the_outputs_of_onnxruntime(tmp_path: Path) -> None:
    x = np.rint(numbers("x", 1, 2, 6, 6, low=-0.06) * 50).astype(np.float32) * np.float32(0.02)
    model = build(QDQ_CONV, {"x": (1, 2, 6, 6)}, ["y"], qdq_constants((3, 2, 3, 3)), 13)
    check_outputs(model, {"x": x}, tmp_path)


@pytest.mark.parametrize("axis, scales", [(0, 3), (1, 2)])
def test_weights_with_a_scale_for_each_channel(axis: int, scales: int, tmp_path: Path) -> None:
    constants = {"w": codes("w", 3, 2, 3, 3), "s": numbers("s", scales, low=0.1), "z": np.zeros(scales, np.int8)}
    nodes = [node("DequantizeLinear", "w s z", "d", axis=axis), node("Conv", "x d", "y")]
    model = build(nodes, {"x": (1, 2, 6, 6)}, ["y"], constants, 13)
    check_outputs(model, {"x": numbers("x", 1, 2, 6, 6)}, tmp_path)


def test_weights_with_a_scale_for_each_block(tmp_path: Path) -> None:
    needs_opset(23)  # older onnxruntimes have no blocks
    constants = {"w": codes("w", 8, 5), "s": numbers("s", 2, 5, low=0.1), "z": np.zeros((2, 5), np.int8)}
    nodes = [node("DequantizeLinear", "w s z", "d", axis=0, block_size=4), node("MatMul", "x d", "y")]
    model = build(nodes, {"x": (3, 8)}, ["y"], constants, 21)
    check_outputs(model, {"x": numbers("x", 3, 8)}, tmp_path)


def test_weights_quantized_in_the_graph_are_folded(tmp_path: Path) -> None:
    # quantization-aware training leaves float weights behind a quantize / dequantize pair
    constants = {"w": numbers("w", 6, 5), "s": scalar(0.05), "z": scalar(0, np.int8)}
    nodes = [node("QuantizeLinear", "w s z", "q"), node("DequantizeLinear", "q s z", "d"), node("MatMul", "x d", "y")]
    found = check_outputs(build(nodes, {"x": (3, 6)}, ["y"], constants, 13), {"x": numbers("x", 3, 6)}, tmp_path)
    stored = found.quantized["matmul_y"]["filter"].stored
    assert np.array_equal(stored, np.rint(constants["w"].T / np.float32(0.05)))


def test_integer_convolution_and_product(tmp_path: Path) -> None:
    needs_opset(23)  # older onnxruntimes have no ConvInteger for these types
    constants = {"w": codes("w", 3, 2, 3, 3), "wz": scalar(0, np.int8), "xz": scalar(7, np.uint8),
                 "v": codes("v", 48, 4), "vz": scalar(2, np.int8)}  # fmt: skip
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"), node("ConvInteger", "q w z wz", "i"), node("Cast", "i", "f", to=1),
        node("Mul", "f s", "c"), node("Reshape", "c shape", "r"), node("DynamicQuantizeLinear", "r", "q2 s2 z2"),
        node("MatMulInteger", "q2 v z2 vz", "j"), node("Cast", "j", "g", to=1), node("Mul", "g s2", "y"),
    ]  # fmt: skip
    constants["shape"] = np.asarray([1, -1], np.int64)
    model = build(nodes, {"x": (1, 2, 6, 6)}, ["y"], constants, 13)
    found = imported(model, tmp_path)
    assert [layer.kind for layer in found.network] == ["input", "conv", "eltwise", "reshape", "linear", "eltwise"]
    assert found.network.layers[-1].out_shape == onnxruntime_outputs(model, {"x": numbers("x", 1, 2, 6, 6)})[0].shape
    assert found.operands["convinteger_i", 0].tensor == "q"
    assert np.array_equal(found.weights["matmulinteger_j"]["filter"], constants["v"].T.astype(int) - 2)


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("Conv", "r v", "d"),
        node("Add", "d d", "e"), node("GlobalAveragePool", "e", "p"), node("Flatten", "p", "f"),
        node("Gemm", "f u t", "y", transB=1),
    ]  # fmt: skip
    constants = {"w": numbers("w", 4, 3, 3, 3), "b": numbers("b", 4), "v": numbers("v", 5, 4, 1, 1),
                 "u": numbers("u", 6, 5), "t": numbers("t", 6)}  # fmt: skip
    model = build(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants, 13)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 6)))
    return save(model, tmp_path_factory.mktemp("float"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_models_quantized_by_onnxruntime(form: str, per_channel: bool, float_model: Path, tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Samples(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.samples = iter([{"x": numbers("x", 1, 3, 8, 8)}])

        def get_next(self) -> Any:
            return next(self.samples, None)

    out = tmp_path / "quantized.onnx"
    quantization.quantize_static(
        float_model, out, Samples(), quant_format=quantization.QuantFormat[form], per_channel=per_channel
    )
    found, plain = import_model(read_model(out)), import_model(read_model(float_model))
    assert found.network.macs == plain.network.macs
    compute = [layer.name for layer in found.network if layer.is_compute]
    for name, reference in zip(compute, [layer.name for layer in plain.network if layer.is_compute], strict=True):
        got, wanted = found.weights[name]["filter"], plain.weights[reference]["filter"]
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() <= np.abs(wanted).max() / 127
        assert found.quantized[name]["filter"].stored.dtype == np.int8
        assert (name, 0) in found.operands
