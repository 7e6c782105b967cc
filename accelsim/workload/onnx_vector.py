"""ONNX operators without weights on the array: pooling, normalisation, activations, element-wise, reductions."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from accelsim.workload import ops
from accelsim.workload.onnx_graph import Act, Const, Graph, Unsupported, Value
from accelsim.workload.onnx_ops import flat_image, pair, spatial_rank, window_pads
from accelsim.workload.onnx_step import Step, as_image, converts, transposed
from accelsim.workload.ops_windows import OverlapAdd


@converts("MaxPool", "AveragePool", "LpPool")
def _pool(step: Step) -> list[Value]:
    graph, x = step.graph, step.act(0)
    rank = spatial_rank(x)
    if step.used(1):
        raise Unsupported("the positions of the maxima as an output")
    if any(d != 1 for d in step.attrs.get("dilations", [])):
        raise Unsupported("dilated pooling")
    kernel, stride = pair(step.attrs["kernel_shape"], rank), pair(step.attrs.get("strides"), rank)
    image = flat_image(graph, x, rank)
    pad = window_pads(step, (image.shape[2], image.shape[3]), kernel, stride, (1, 1), rank)
    mode = "max" if step.op_type == "MaxPool" else "avg"
    out = graph.add(ops.Pool(mode, kernel, stride, pad, bool(step.attrs.get("ceil_mode", 0))), image)
    return [out if rank == 2 else replace(out, shape=(*out.shape[:2], out.shape[3]))]


@converts("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(step: Step) -> list[Value]:
    x = step.act(0)
    mode = "max" if step.op_type == "GlobalMaxPool" else "avg"
    out = step.graph.add(ops.Pool(mode, "global"), as_image(step.graph, x))
    return [replace(out, shape=(*x.shape[:2], *[1] * (len(x.shape) - 2)))]


REDUCTIONS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip


@converts(*REDUCTIONS)
def _reduce(step: Step) -> list[Value]:
    axes = step.known_ints("axes", 1)
    if not axes and step.attrs.get("noop_with_empty_axes"):
        return [step.act(0)]
    mode = "max" if step.op_type in ("ReduceMax", "ReduceMin") else "avg"
    return [reduced(step.graph, step.act(0), axes, bool(step.attrs.get("keepdims", 1)), mode)]


@converts("ArgMax", "ArgMin")
def _arg(step: Step) -> list[Value]:
    axis, keep = int(step.attrs.get("axis", 0)), bool(step.attrs.get("keepdims", 1))
    return [reduced(step.graph, step.act(0), [axis], keep, "max")]


def reduced(graph: Graph, x: Act, axes: list[int] | None, keep: bool, mode: str) -> Act:
    """One number from all elements along `axes`: a global pooling, after a transposition if need be."""
    rank = len(x.shape)
    over = sorted({a % rank for a in axes}) if axes else list(range(rank))
    rest = [i for i in range(rank) if i not in over]
    dims = tuple((1 if i in over else d) for i, d in enumerate(x.shape) if keep or i not in over)
    inner, outer = prod(x.shape[i] for i in over), [x.shape[i] for i in rest]
    if inner == 1:
        return Act(x.layer, dims, x.quantized)
    if rank == 4 and over == [2, 3]:
        image = graph.plain(x)
    else:
        x = transposed(graph, x, (*rest, *over))
        batch = outer[0] if rest[:1] == [0] else 1
        image = graph.seen_as(x, (batch, prod(outer) // batch, 1, inner))
    return replace(graph.add(ops.Pool(mode, "global"), image), shape=dims)


@converts("BatchNormalization")
def _batch_norm(step: Step) -> list[Value]:
    if step.attrs.get("training_mode") or step.attrs.get("spatial", 1) == 0:
        raise Unsupported("batch normalisation in training mode, or one for each pixel")
    graph, x = step.graph, step.act(0)
    image = as_image(graph, x) if len(x.shape) > 2 else graph.plain(x)
    out = graph.add(ops.Norm("batch", folded=is_after_product(step, x, 0)), image)
    for index, role in enumerate(("gamma", "beta", "mean", "variance"), 1):
        graph.set_weight(out.layer, role, step.const(index, role).array)
    graph.set_weight(out.layer, "epsilon", np.asarray(step.attrs.get("epsilon", 1e-5)))
    return [replace(out, shape=x.shape)]


def is_after_product(step: Step, x: Act, index: int) -> bool:
    """Does a convolution or linear layer produce this input for this node only, so that a scale folds into it?"""
    return isinstance(step.graph.index[x.layer].op, ops.Conv | ops.Linear | OverlapAdd) and step.sole_reader(index)


@converts("LayerNormalization", "RMSNormalization", "com.microsoft:SimplifiedLayerNormalization",
          "com.microsoft:LayerNormalization")  # fmt: skip
def _layer_norm(step: Step) -> list[Value]:
    graph, x = step.graph, step.act(0)
    if step.used(1) or step.used(2):
        raise Unsupported("the mean or deviation as an output")
    axis = int(step.attrs.get("axis", -1)) % len(x.shape)
    rows = graph.seen_as(x, (*x.shape[:axis], prod(x.shape[axis:])))
    mode = "layer" if step.op_type == "LayerNormalization" else "rms"
    out = graph.add(ops.Norm(mode), rows, shape=x.shape)
    for index, role in enumerate(("gamma", "beta"), 1):
        if isinstance(known := step.get(index), Const):
            graph.set_weight(out.layer, role, known.array.reshape(-1))
    graph.set_weight(out.layer, "epsilon", np.asarray(step.attrs.get("epsilon", 1e-5)))
    return [out]


@converts("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization")
def _group_norm(step: Step) -> list[Value]:
    x = step.act(0)
    affine = step.op_type != "MeanVarianceNormalization"
    return [step.graph.add(ops.Norm("group", affine), as_image(step.graph, x), shape=x.shape)]


@converts("LRN")
def _lrn(step: Step) -> list[Value]:
    x = step.act(0)
    return [step.graph.add(ops.Norm("local", size=int(step.attrs["size"])), as_image(step.graph, x), shape=x.shape)]


@converts("LpNormalization")
def _lp_norm(step: Step) -> list[Value]:
    x = step.act(0)
    return [step.graph.add(ops.Norm("rms", affine=False), x, shape=x.shape)]


@converts("Softmax", "LogSoftmax", "Hardmax")
def _softmax(step: Step) -> list[Value]:
    x = step.act(0)
    out = step.graph.add(ops.Softmax(), step.graph.plain(x), shape=x.shape)
    axis = int(step.attrs.get("axis", -1 if step.opset >= 13 else 1)) % max(1, len(x.shape))
    alone = step.opset >= 13 or prod(x.shape[axis + 1 :]) == 1  # older ones are over all dimensions from there on
    if alone and axis != len(x.shape) - 1:  # cycles do not care, `forward` does
        step.graph.set_weight(out.layer, "axis", np.asarray(axis))
    return [out]


ACTIVATION_OF = {
    "Relu": "relu", "LeakyRelu": "leaky_relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_swish", "Gelu": "gelu", "Erf": "erf", "Exp": "exp", "Sqrt": "sqrt", "Elu": "elu",
    "Selu": "elu", "Celu": "elu", "Softplus": "softplus", "Softsign": "softsign", "Mish": "mish", "Swish": "silu",
    "ThresholdedRelu": "clip", "Shrink": "clip", "Log": "log", "Reciprocal": "reciprocal", "Abs": "abs",
    "Neg": "neg", "Sign": "sign", "Round": "round", "Floor": "round", "Ceil": "round", "Not": "not", "IsNaN": "not",
    "IsInf": "not", "Trilu": "clip", "com.microsoft:Gelu": "gelu", "com.microsoft:FastGelu": "gelu",
    "com.microsoft:QuickGelu": "gelu",
    **dict.fromkeys(("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
                    "trigonometric"),
}  # fmt: skip


@converts(*ACTIVATION_OF)
def _activation(step: Step) -> list[Value]:
    x = step.act(0)
    key = step.op_type if step.op_type in ACTIVATION_OF else f"com.microsoft:{step.op_type}"
    if step.op_type == "FastGelu" and step.get(1) is not None:
        raise Unsupported("a bias inside the activation")
    out = step.graph.add(ops.Activation(ACTIVATION_OF[key]), x, shape=x.shape)
    if step.op_type == "FastGelu" or step.attrs.get("approximate") in ("tanh", b"tanh"):  # for `forward`
        step.graph.set_weight(out.layer, "tanh", np.asarray(1))
    if step.op_type in ("LeakyRelu", "QuickGelu"):
        alpha = step.attrs.get("alpha", 0.01 if step.op_type == "LeakyRelu" else 1.702)
        step.graph.set_weight(out.layer, "alpha", np.asarray(alpha))
    return [out]


@converts("Clip")
def _clip(step: Step) -> list[Value]:
    x = step.act(0)
    bounds = []
    for index, name in ((1, "min"), (2, "max")):
        const = step.option(index, name)
        bounds.append(step.attrs.get(name) if const is None else float(const.array.reshape(-1)[0]))
    low, high = bounds
    if low is None and high is None:
        return [x]
    mode = "clip"
    if low == 0:
        mode = "relu6" if high == 6 else "relu" if high is None or high > 1e30 else "clip"
    return [step.graph.add(ops.Activation(mode), x, shape=x.shape)]


@converts("PRelu")
def _prelu(step: Step) -> list[Value]:
    x, slope = step.act(0), step.const(1, "slope")
    out = step.graph.add(ops.Activation("prelu", int(slope.array.size)), x, shape=x.shape)
    step.graph.set_weight(out.layer, "slope", slope.array)
    return [out]


ELTWISE_OF = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "max", "Min": "min", "Sum": "add", "Mean": "mean",
    "Pow": "pow", "Mod": "mod", "Where": "where", "And": "logic", "Or": "logic", "Xor": "logic", "Equal": "compare",
    "Greater": "compare", "GreaterOrEqual": "compare", "Less": "compare", "LessOrEqual": "compare",
}  # fmt: skip


@converts(*ELTWISE_OF)
def _eltwise(step: Step) -> list[Value]:
    merged = _into_the_layer_before(step)
    if merged is not None:
        return [merged]
    values = [v for v in step.values if v is not None]
    shape = np.broadcast_shapes(*(v.shape for v in values))
    indices = [i for i, v in enumerate(values) if isinstance(v, Act) or v.array.size > 1]
    graph, parts = step.graph, [step.act(i) for i in indices]
    if len(parts) == 1 and (len(values) == 1 or _does_nothing(step)) and parts[0].shape == shape:
        return [parts[0]]
    dims = {graph.dims[p.layer] for p in parts}
    if len(dims) > 1 or any(p.shape != shape for p in parts):
        parts = [graph.plain(p) for p in parts]
    out = graph.add(ops.Eltwise(ELTWISE_OF[step.op_type]), *parts, shape=shape)
    if len(parts) == 1 and len(values) == 2 and isinstance(number := values[1 - indices[0]], Const):
        graph.set_weight(out.layer, "constant" if indices[0] == 0 else "constant_first", number.array.reshape(-1)[0])
    return [out]


def _does_nothing(step: Step) -> bool:
    other = next((v for v in step.values if isinstance(v, Const)), None)
    if other is None or other.array.size != 1 or len(step.values) != 2:
        return False
    value, second = float(other.array.reshape(-1)[0]), isinstance(step.values[1], Const)
    neutral = {"Add": 0.0, "Sum": 0.0, "Mul": 1.0}
    if second:
        neutral |= {"Sub": 0.0, "Div": 1.0, "Pow": 1.0}
    return neutral.get(step.op_type) == value


def _into_the_layer_before(step: Step) -> Act | None:
    """A constant for each channel, added or multiplied: the bias of a product, or part of a batch normalisation."""
    if step.op_type not in ("Add", "Mul") or len(step.values) != 2:
        return None
    index = 1 if isinstance(step.values[0], Const) else 0
    x, other = step.values[index], step.values[1 - index]
    if not isinstance(x, Act) or not isinstance(other, Const) or not step.sole_reader(index):
        return None
    graph, op = step.graph, step.graph.index[x.layer].op
    channel = len(x.shape) - 1 if isinstance(op, ops.Linear) else 1
    spread = (1,) * (len(x.shape) - len(other.shape)) + other.shape
    if len(spread) != len(x.shape) or graph.dims[x.layer] != x.shape or channel >= len(x.shape):
        return None
    per_channel = tuple(x.shape[channel] if i == channel else 1 for i in range(len(spread)))
    if spread != per_channel or other.array.dtype.kind != "f":
        return None
    if isinstance(op, ops.Norm) and op.mode == "batch":
        _compose(graph, x.layer, step.op_type, other.array.reshape(-1))
        return x
    if step.op_type == "Add" and isinstance(op, ops.Conv | ops.Linear) and not op.bias:
        graph.replace(x.layer, bias=True)
        graph.set_weight(x.layer, "bias", other.array.reshape(-1))
        return x
    return None


def _compose(graph: Graph, layer: str, op_type: str, factor: np.ndarray) -> None:
    """Scale or shift a batch normalisation's own scale and shift."""
    weights = graph.weights[layer]
    for role in ("beta",) if op_type == "Add" else ("gamma", "beta"):
        weights[role] = weights[role] + factor if op_type == "Add" else weights[role] * factor


@converts("Resize", "Upsample")
def _resize(step: Step) -> list[Value]:
    graph, x = step.graph, step.act(0)
    rank = len(x.shape)
    sizes = step.option(3, "sizes")
    at = 1 if step.op_type == "Upsample" or step.opset < 11 else 2
    scales = step.option(at, "scales")
    if sizes is not None and sizes.array.size:
        wanted = [int(s) for s in sizes.array]
    else:
        factors = step.attrs.get("scales") if scales is None else [float(s) for s in scales.array]
        if not factors:
            raise Unsupported("neither scales nor sizes are known")
        axes = _resized_axes(step, rank)
        wanted = [int(np.floor(x.shape[a] * f)) for a, f in zip(axes, factors, strict=True)]
    target = list(x.shape)
    for axis, size in zip(_resized_axes(step, rank), wanted, strict=True):
        target[axis] = size
    if tuple(target) == x.shape:
        return [x]
    if rank not in (3, 4) or tuple(target[:2]) != x.shape[:2]:
        raise Unsupported(f"resampling of {x.shape} to {tuple(target)}, which is not along the image")
    if step.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("resampling that keeps the aspect ratio")
    h, w = ([1, *target[2:]] if rank == 3 else target[2:])
    out = graph.add(ops.Upsample(size=(h, w)), as_image(graph, x))
    return [replace(out, shape=tuple(target))]


def _resized_axes(step: Step, rank: int) -> list[int]:
    return [int(a) % rank for a in step.attrs.get("axes", range(rank))]
