"""Constant folding: the arithmetic on shapes and weights that ONNX exporters leave in the graph.

Plain numpy, for the operators that such arithmetic uses; what a result may allocate is bounded before
it is computed. `FOLDS[op_type](call)` gives the outputs of a node whose inputs are all known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, prod
from typing import Any

import numpy as np

from accelsim.workload.onnx_graph import Unsupported, is_uniform, reshaped

MAX_ELEMENTS = 2**27


@dataclass(frozen=True)
class Call:
    """One node: its attributes, operator set, known inputs (None where left out) and number of outputs."""

    op_type: str
    attrs: dict[str, Any]
    opset: int
    inputs: list[np.ndarray | None]
    outputs: int = 1

    def __getitem__(self, index: int) -> np.ndarray:
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise Unsupported(f"its input {index} is missing")
        return value

    def get(self, index: int) -> np.ndarray | None:
        """Input `index`, or None if it was left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def ints(self, attribute: str, index: int) -> list[int] | None:
        """A list of integers that older operator sets give as an attribute, newer ones as an input."""
        value = self.get(index)
        if value is not None:
            return [int(v) for v in value.reshape(-1)]
        found = self.attrs.get(attribute)
        return None if found is None else [int(v) for v in found]


Fold = Callable[[Call], list[np.ndarray]]
FOLDS: dict[str, Fold] = {}


def fold(*names: str, view: bool = False) -> Callable[[Fold], Fold]:
    """Decorator: enter a function for these operators. A `view` allocates nothing, however large its input."""

    def enter(function: Fold) -> Fold:
        def checked(call: Call) -> list[np.ndarray]:
            for array in call.inputs:
                if array is not None:
                    bounded(array.shape)
            return function(call)

        FOLDS.update(dict.fromkeys(names, function if view else checked))
        return function

    return enter


def bounded(dims: Any) -> tuple[int, ...]:
    """The dimensions of a result that is about to be allocated."""
    sizes = tuple(int(d) for d in dims)
    if any(d < 0 for d in sizes) or prod(sizes) > MAX_ELEMENTS:
        raise Unsupported(f"a constant of shape {sizes} is too large to fold (at most {MAX_ELEMENTS} elements)")
    return sizes


def _truncating_div(a: np.ndarray, b: np.ndarray) -> Any:
    if np.issubdtype(a.dtype, np.integer):
        if np.any(b == 0):
            raise Unsupported("a division of integers by zero")
        return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))
    return np.divide(a, b)


UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Erf": np.vectorize(erf),
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "Round": np.rint,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Sign": np.sign,
    "Sin": np.sin,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "And": np.logical_and,
    "Div": _truncating_div,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mod": np.mod,
    "Mul": np.multiply,
    "Or": np.logical_or,
    "Pow": np.power,
    "Sub": np.subtract,
    "Sum": np.add,
    "Xor": np.logical_xor,
}


@fold(*UNARY)
def _unary(call: Call) -> list[np.ndarray]:
    x = call[0]
    if call.op_type == "Erf" and x.size > 2**20 and not is_uniform(x):
        raise Unsupported("the error function of a large constant")
    with np.errstate(all="ignore"):
        if is_uniform(x) and x.size > 1:
            return [np.broadcast_to(np.asarray(UNARY[call.op_type](x[(0,) * x.ndim])), x.shape)]
        return [np.asarray(UNARY[call.op_type](x)).astype(x.dtype, copy=False)]


@fold(*BINARY)
def _binary(call: Call) -> list[np.ndarray]:
    result = call[0]
    if call.attrs.get("fmod") and call.op_type == "Mod":
        return [np.fmod(call[0], call[1])]
    with np.errstate(all="ignore"):
        for index in range(1, len(call.inputs)):
            bounded(np.broadcast_shapes(result.shape, call[index].shape))
            result = np.asarray(BINARY[call.op_type](result, call[index]))
    keep = result.dtype == np.bool_
    return [result if keep else result.astype(call[0].dtype, copy=False)]


@fold("Where")
def _where(call: Call) -> list[np.ndarray]:
    bounded(np.broadcast_shapes(call[0].shape, call[1].shape, call[2].shape))
    return [np.where(call[0], call[1], call[2])]


@fold("Clip")
def _clip(call: Call) -> list[np.ndarray]:
    low = call.attrs.get("min") if call.get(1) is None else call[1]
    high = call.attrs.get("max") if call.get(2) is None else call[2]
    return [call[0] if low is None and high is None else np.clip(call[0], low, high).astype(call[0].dtype)]


@fold("Cast")
def _cast(call: Call) -> list[np.ndarray]:
    import onnx

    return [call[0].astype(onnx.helper.tensor_dtype_to_np_dtype(int(call.attrs["to"])), copy=False)]


@fold("CastLike")
def _cast_like(call: Call) -> list[np.ndarray]:
    return [call[0].astype(call[1].dtype, copy=False)]


@fold("Identity", view=True)
def _identity(call: Call) -> list[np.ndarray]:
    return [call[0]]


@fold("Dropout", view=True)
def _dropout(call: Call) -> list[np.ndarray]:
    return [call[0], np.broadcast_to(np.True_, call[0].shape)][: call.outputs]


@fold("Constant", view=True)
def _constant(call: Call) -> list[np.ndarray]:
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    for name, value in call.attrs.items():
        if name == "value":
            return [value]
        if name in kinds:
            return [np.asarray(value, kinds[name])]
    raise Unsupported("a constant that is no dense tensor of numbers")


@fold("ConstantOfShape", view=True)
def _constant_of_shape(call: Call) -> list[np.ndarray]:
    value = np.asarray(call.attrs.get("value", np.zeros(1, np.float32))).reshape(-1)
    dims = tuple(int(d) for d in call[0])
    if any(d < 0 for d in dims) or prod(dims) > 2**40 or value.size != 1:
        raise Unsupported(f"a constant of shape {dims}")
    return [np.broadcast_to(value[0], dims)]


@fold("Shape", view=True)
def _shape(call: Call) -> list[np.ndarray]:
    return [np.asarray(call[0].shape[call.attrs.get("start", 0) : call.attrs.get("end")], np.int64)]


@fold("Size", view=True)
def _size(call: Call) -> list[np.ndarray]:
    return [np.asarray(call[0].size, np.int64)]


@fold("Concat")
def _concat(call: Call) -> list[np.ndarray]:
    axis = int(call.attrs.get("axis", 1))
    parts = [call[i] for i in range(len(call.inputs))]
    bounded((sum(p.size for p in parts),))
    return [np.concatenate(parts, axis)]


@fold("Expand", view=True)
def _expand(call: Call) -> list[np.ndarray]:
    dims = np.broadcast_shapes(call[0].shape, tuple(int(d) for d in call[1]))
    if prod(dims) > 2**40:
        raise Unsupported(f"a constant of shape {dims}")
    return [np.broadcast_to(call[0], dims)]


@fold("Tile")
def _tile(call: Call) -> list[np.ndarray]:
    repeats = [int(r) for r in call[1]]
    bounded(d * r for d, r in zip(call[0].shape, repeats, strict=True))
    return [np.tile(call[0], repeats)]


@fold("Flatten", view=True)
def _flatten(call: Call) -> list[np.ndarray]:
    axis = int(call.attrs.get("axis", 1)) % (call[0].ndim + 1)
    dims = call[0].shape
    return [reshaped(call[0], (prod(dims[:axis]), prod(dims[axis:])))]


@fold("Reshape", view=True)
def _reshape(call: Call) -> list[np.ndarray]:
    target = [int(d) for d in (call[1] if call.get(1) is not None else call.attrs["shape"])]
    return [reshaped(call[0], resolved(target, call[0].shape, bool(call.attrs.get("allowzero", 0))))]


def resolved(target: list[int], dims: tuple[int, ...], allowzero: bool = False) -> tuple[int, ...]:
    """Reshape's rule: 0 copies a dimension, one -1 takes the rest."""
    out = [dims[i] if d == 0 and not allowzero and i < len(dims) else d for i, d in enumerate(target)]
    if out.count(-1) == 1:
        rest = prod(d for d in out if d != -1)
        out[out.index(-1)] = prod(dims) // rest if rest else 0
    if prod(out) != prod(dims) or min(out, default=1) < 0:
        raise Unsupported(f"a reshape of {dims} to {tuple(target)} changes the number of elements")
    return tuple(out)


@fold("Squeeze", view=True)
def _squeeze(call: Call) -> list[np.ndarray]:
    return [reshaped(call[0], squeezed(call[0].shape, call.ints("axes", 1)))]


def squeezed(dims: tuple[int, ...], axes: list[int] | None) -> tuple[int, ...]:
    """Dimensions without those of size 1 at `axes`, or without all of these."""
    drop = {i for i, d in enumerate(dims) if d == 1} if axes is None else {a % len(dims) for a in axes}
    return tuple(d for i, d in enumerate(dims) if i not in drop)


@fold("Unsqueeze", view=True)
def _unsqueeze(call: Call) -> list[np.ndarray]:
    return [reshaped(call[0], unsqueezed(call[0].shape, call.ints("axes", 1) or []))]


def unsqueezed(dims: tuple[int, ...], axes: list[int]) -> tuple[int, ...]:
    """Dimensions with ones at `axes` of the result."""
    rank = len(dims) + len(axes)
    ones, rest = {a % rank for a in axes}, iter(dims)
    if len(ones) != len(axes):
        raise Unsupported(f"axes {axes}, of which two are the same")
    return tuple(1 if i in ones else next(rest) for i in range(rank))


@fold("Transpose", view=True)
def _transpose(call: Call) -> list[np.ndarray]:
    return [call[0].transpose(call.attrs.get("perm"))]


@fold("Gather", view=True)
def _gather(call: Call) -> list[np.ndarray]:
    axis = int(call.attrs.get("axis", 0)) % max(1, call[0].ndim)
    bounded((*call[0].shape[:axis], *call[1].shape, *call[0].shape[axis + 1 :]))
    return [np.asarray(np.take(call[0], call[1], axis))]


@fold("ScatterND")
def _scatter_nd(call: Call) -> list[np.ndarray]:
    result = call[0].copy()
    result[tuple(np.moveaxis(call[1], -1, 0))] = call[2]
    return [result]


@fold("Range")
def _range(call: Call) -> list[np.ndarray]:
    start, limit, delta = (call[i].reshape(()) for i in range(3))
    if delta == 0:
        raise Unsupported("a range whose step is zero")
    bounded((max(0, int(np.ceil((float(limit) - float(start)) / float(delta)))),))
    return [np.asarray(np.arange(start.item(), limit.item(), delta.item()), start.dtype)]


@fold("Slice", view=True)
def _slice(call: Call) -> list[np.ndarray]:
    cut: list[slice] = [slice(None)] * call[0].ndim
    for axis, start, stop, step in slices(call, call[0].shape):
        cut[axis] = slice(start, stop if stop >= 0 else None, step)
    return [call[0][tuple(cut)]]


def slices(call: Call, dims: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """(axis, start, stop, step) of a Slice node, clamped to the dimensions as ONNX says (stop -1: to the front)."""
    starts, stops = call.ints("starts", 1) or [], call.ints("ends", 2) or []
    axes = call.ints("axes", 3) or list(range(len(starts)))
    steps = call.ints("steps", 4) or [1] * len(starts)
    found = []
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        axis %= len(dims)
        if step == 0:
            raise Unsupported("a slice whose step is zero")
        found.append((axis, *slice(start, stop, step).indices(dims[axis])))
    return found


@fold("Split", view=True)
def _split(call: Call) -> list[np.ndarray]:
    axis = int(call.attrs.get("axis", 0))
    sizes = split_sizes(call, call[0].shape[axis])
    return np.split(call[0], np.cumsum(sizes)[:-1], axis)


def split_sizes(call: Call, total: int) -> list[int]:
    """Sizes of the parts of a Split node."""
    sizes = call.ints("split", 1)
    if sizes is None:
        part = -(-total // call.outputs)
        sizes = [min(part, total - i * part) for i in range(call.outputs)]
    if sum(sizes) != total or min(sizes) < 0 or len(sizes) != call.outputs:
        raise Unsupported(f"a split of {total} into {sizes} for {call.outputs} outputs")
    return sizes


REDUCE: dict[str, Callable[..., Any]] = {
    "ReduceMax": np.max,
    "ReduceMean": np.mean,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
}


@fold(*REDUCE)
def _reduce(call: Call) -> list[np.ndarray]:
    axes = call.ints("axes", 1)
    if axes is None and call.attrs.get("noop_with_empty_axes"):
        return [call[0]]
    over = tuple(axes) if axes else None
    result = REDUCE[call.op_type](call[0], axis=over, keepdims=bool(call.attrs.get("keepdims", 1)))
    return [np.asarray(result, call[0].dtype)]


@fold("Trilu")
def _trilu(call: Call) -> list[np.ndarray]:
    k = 0 if call.get(1) is None else int(call[1])
    return [np.triu(call[0], k) if call.attrs.get("upper", 1) else np.tril(call[0], k)]


@fold("NonZero")
def _non_zero(call: Call) -> list[np.ndarray]:
    return [np.asarray(np.nonzero(call[0]), np.int64)]


@fold("CumSum")
def _cum_sum(call: Call) -> list[np.ndarray]:
    if call.attrs.get("reverse") or call.attrs.get("exclusive"):
        raise Unsupported("a reverse or exclusive CumSum")
    return [np.cumsum(call[0], int(call[1]), dtype=call[0].dtype)]
