"""Small ONNX models for tests, and the check that an import means what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.workload.onnx_import import Imported, import_model
from accelsim.workload.onnx_read import read_model
from tests.workload import interpreter

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

Arrays = Mapping[str, np.ndarray]


def needs_opset(version: int) -> None:
    """Skip where the installed onnx is older than this operator set."""
    if onnx.defs.onnx_opset_version() < version:
        pytest.skip(f"the installed onnx {onnx.__version__} does not know operator set {version}")


def numbers(name: str, *dims: int, low: float = -1.0) -> np.ndarray:
    """Floats in [low, 1), the same in every run."""
    rng = np.random.default_rng([*map(ord, name), *dims])
    return rng.uniform(low, 1.0, dims).astype(np.float32)


def build(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Arrays | None = None,
    opset: int = 17,
    integers: Sequence[str] = (),
    domains: Sequence[str] = (),
    value_info: Sequence[Any] = (),
) -> Any:
    """A ModelProto from nodes, input shapes and initialisers."""
    h, kinds = onnx.helper, onnx.TensorProto
    infos = [h.make_tensor_value_info(n, kinds.INT64 if n in integers else kinds.FLOAT, d) for n, d in inputs.items()]
    outs = [onnx.ValueInfoProto(name=name) for name in outputs]
    weights = [onnx.numpy_helper.from_array(np.array(a, order="C"), n) for n, a in (constants or {}).items()]
    graph = h.make_graph(list(nodes), "test", infos, outs, weights, value_info=list(value_info))
    imports = [h.make_opsetid("", opset), *(h.make_opsetid(d, 1) for d in domains)]
    return h.make_model(graph, opset_imports=imports, ir_version=4 if opset < 10 else 8 if opset < 20 else 10)


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """`node("Conv", "x w", "y", strides=[2, 2])`; `-` leaves an input or output out."""
    names = [["" if n == "-" else n for n in text.split()] for text in (inputs, outputs)]
    return onnx.helper.make_node(op_type, *names, name=f"{op_type.lower()}_{names[1][0]}", **attributes)


def save(model: Any, folder: Path, name: str = "model.onnx") -> Path:
    """Write a ModelProto, or bytes."""
    path = folder / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def imported(model: Any, folder: Path, **options: Any) -> Imported:
    """Import through a file, as a user does."""
    return import_model(read_model(save(model, folder)), **options)


def onnxruntime_outputs(model: Any, feeds: Arrays) -> list[np.ndarray]:
    """What onnxruntime computes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # its rewrites round differently
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(o) for o in session.run(None, dict(feeds))]


def check_outputs(model: Any, feeds: Arrays, folder: Path, **options: Any) -> Imported:
    """Import, run the network in numpy with the imported weights, compare with onnxruntime."""
    found = imported(model, folder, **options)
    values = interpreter.run(found.network, found.weights, feeds)
    expected = onnxruntime_outputs(model, feeds)
    by_tensor = {tensor: layer for layer, tensor in found.tensors.items() if layer in values}
    for info, wanted in zip(model.graph.output, expected, strict=True):
        got = values[by_tensor[info.name]]
        assert got.shape == (wanted.shape or (1,))
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=2e-4, atol=2e-5)
    return found
