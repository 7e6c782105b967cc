"""The weightless graphs that the onnx package ships: MACs, parameters and every shape."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

import numpy as np
import pytest

from accelsim.workload.onnx_import import import_model, import_onnx
from accelsim.workload.onnx_read import read_model

onnx = pytest.importorskip("onnx")
FOLDER = Path(os.path.dirname(onnx.__file__)) / "backend" / "test" / "data" / "light"

# Computed before this importer was written, by walking the graphs with onnx's own shape inference
# (giga-MACs and millions of filter weights, two to four figures), and agreeing with the papers.
LIGHT = {
    "bvlc_alexnet": (0.65, 61.0),
    "densenet121": (2.83, 7.9),
    "inception_v1": (1.43, 7.0),
    "inception_v2": (2.02, 11.2),
    "resnet50": (4.09, 25.5),
    "shufflenet": (0.12, 1.4),
    "squeezenet": (0.35, 1.2),
    "vgg19": (19.6, 144.0),
    "zfnet512": (1.48, 87.0),
}


def light(name: str) -> Path:
    path = FOLDER / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this onnx package ships no light models")
    return path


def rounded_like(value: float, figure: float) -> float:
    """`value` with as many decimals as `figure` was written with."""
    return round(value, 0 if figure > 50 else len(str(figure).partition(".")[2]))


@pytest.mark.parametrize("name", LIGHT)
def test_macs_and_weights(name: str) -> None:
    network, weights = import_onnx(light(name))
    gigamacs, megaweights = LIGHT[name]
    filters = sum(roles["filter"].size for roles in weights.values() if "filter" in roles)
    assert rounded_like(network.macs / 1e9, gigamacs) == gigamacs
    assert rounded_like(filters / 1e6, megaweights) == megaweights


@pytest.mark.parametrize("name, params", [("resnet50", 25_557_032), ("vgg19", 143_667_240), ("densenet121", 7_978_856)])
def test_parameters_equal_those_of_the_published_models(name: str, params: int) -> None:
    # as counted by torchvision for the same architectures, biases, scales and shifts included
    assert import_onnx(light(name))[0].params == params


@pytest.mark.parametrize("name", LIGHT)
def test_every_shape_is_the_one_that_onnx_infers(name: str) -> None:
    found = import_model(read_model(light(name)))
    graph = onnx.shape_inference.infer_shapes(found.model.proto).graph
    shapes = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in [*graph.value_info, *graph.output]
    }
    compared = 0
    for layer, tensor in found.tensors.items():
        if tensor in shapes:
            assert prod(shapes[tensor]) == prod(found.network[layer].out_shape), layer
            compared += 1
    assert compared > 0.9 * sum(layer.kind != "reshape" for layer in found.network) - 2


def test_a_graph_without_weights_takes_no_memory() -> None:
    _, weights = import_onnx(light("vgg19"))
    assert all(not any(np.trim_zeros(a.strides)) for roles in weights.values() for a in roles.values() if a.size > 4096)
