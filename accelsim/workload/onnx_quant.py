"""ONNX's quantized forms: Quantize/Dequantize pairs, and operators on integers with scales.

A quantize or dequantize node renames data. The integers of the model are kept beside the real values, so
that a trace can hold exactly what the model computes with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelsim.workload import ops
from accelsim.workload.onnx_fold import bounded
from accelsim.workload.onnx_graph import Act, Const, Quantized, Unsupported, Value
from accelsim.workload.onnx_ops import convolution, linear, product
from accelsim.workload.onnx_step import Step, as_image, concatenated, converts


def _along(array: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """One number for each index of `axis`, ready to broadcast; a single number as it is."""
    return array.reshape([-1 if i == axis % rank else 1 for i in range(rank)]) if array.size > 1 else array.reshape(())


def _zero(scale: np.ndarray) -> np.ndarray:
    return np.zeros(scale.shape, np.int64)


def dequantized(step: Step, stored: Const, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> Const:
    """Real values of constant integers, with these beside them."""
    integers = stored.array
    bounded(integers.shape)
    zero = _zero(scale) if zero is None else zero
    block = int(step.attrs.get("block_size", 0))
    if block or scale.ndim > 1:
        if not block:
            raise Unsupported("scales for blocks without a block size")
        wide = np.repeat(scale.astype(np.float32), block, axis)
        shift = np.repeat(zero.astype(np.int64), block, axis)
        part = tuple(slice(0, d) for d in integers.shape)
        return Const((integers.astype(np.int64) - shift[part]).astype(np.float32) * wide[part], True)
    rank = integers.ndim
    centred = integers.astype(np.int64) - _along(zero.astype(np.int64), axis, rank)
    real = centred.astype(np.float32) * _along(scale.astype(np.float32), axis, rank)
    return Const(real, True, Quantized(scale.reshape(-1), zero.reshape(-1), stored=integers))


@converts("QuantizeLinear")
def _quantize(step: Step) -> list[Value]:
    x, scale, zero = step.get(0), step.const(1, "scale").array, step.option(2, "zero point")
    if isinstance(x, Act):
        step.keeps_tensor = True
        return [x]
    if not isinstance(x, Const):
        raise Unsupported("its input 0 is missing")
    if step.attrs.get("block_size") or (zero is not None and zero.array.dtype.kind not in "iu"):
        raise Unsupported("blocks or floating-point codes")
    axis, rank = int(step.attrs.get("axis", 1)), x.array.ndim
    target = np.dtype(np.uint8) if zero is None else zero.array.dtype
    shift = _along(_zero(scale) if zero is None else zero.array.astype(np.int64), axis, rank)
    bounded(x.shape)
    limits = np.iinfo(target)
    codes = np.rint(x.array / _along(scale, axis, rank)) + shift
    return [Const(np.clip(codes, limits.min, limits.max).astype(target), x.learned)]


@converts("DequantizeLinear")
def _dequantize(step: Step) -> list[Value]:
    x, scale, zero = step.get(0), step.const(1, "scale").array, step.option(2, "zero point")
    if isinstance(x, Const):
        return [dequantized(step, x, scale, None if zero is None else zero.array, int(step.attrs.get("axis", 1)))]
    if not isinstance(x, Act):
        raise Unsupported("its input 0 is missing")
    step.keeps_tensor = True
    if scale.size > 1 or (zero is not None and zero.array.dtype.kind not in "iu"):
        return [x]
    shift = _zero(scale) if zero is None else zero.array.astype(np.int64)
    return [replace(x, quantized=Quantized(scale.reshape(-1), shift.reshape(-1), step.names[0]))]


@converts("DynamicQuantizeLinear")
def _dynamic(step: Step) -> list[Value]:
    # Scale and zero point are found at run time; they enter arithmetic as single numbers.
    step.keeps_tensor = True
    return [step.act(0), Const(np.full((), np.nan, np.float32)), Const(np.zeros((), np.uint8))]


def _operand(step: Step, index: int, scale: int | None, zero: int) -> Act:
    """An activation that arrives as integers."""
    step.keeps_tensor = True  # the result is stored as codes too, or as raw sums
    act = step.act(index)
    steps = np.ones(1, np.float32) if scale is None else step.const(scale, "scale").array
    shift = step.get(zero)
    known = np.zeros(1, np.int64) if not isinstance(shift, Const) else shift.array.astype(np.int64)
    if steps.size > 1 or (shift is not None and not isinstance(shift, Const)):
        return act
    return replace(act, quantized=Quantized(steps.reshape(-1), known.reshape(-1), step.names[index]))


def _filter(step: Step, index: int, scale: int | None, zero: int, axis: int) -> Const:
    """Weights that are constant integers."""
    stored = step.const(index, "filter")
    steps = np.ones(1, np.float32) if scale is None else step.const(scale, "filter scale").array
    shift = step.option(zero, "filter zero point")
    return dequantized(step, stored, steps, None if shift is None else shift.array, axis)


@converts("QLinearConv")
def _qlinear_conv(step: Step) -> list[Value]:
    weights, codes = _filter(step, 3, 4, 5, 0), step.option(8, "bias")
    x = _operand(step, 0, 1, 2)
    bias = None
    if codes is not None and weights.quantized is not None:
        scale = step.const(1, "scale").array.reshape(-1) * weights.quantized.scale
        bias = Const(codes.array.reshape(-1).astype(np.float32) * scale.astype(np.float32), True)
    return [convolution(step, x, weights, bias)]


@converts("ConvInteger")
def _conv_integer(step: Step) -> list[Value]:
    return [convolution(step, _operand(step, 0, None, 2), _filter(step, 1, None, 3, 0), None)]


@converts("QLinearMatMul")
def _qlinear_matmul(step: Step) -> list[Value]:
    a = _operand(step, 0, 1, 2)
    b = _filter(step, 3, 4, 5, -1) if isinstance(step.get(3), Const) else _operand(step, 3, 4, 5)
    step.values, step.names = [a, b], [step.names[0], step.names[3]]
    return [product(step, a, b)]


@converts("MatMulInteger")
def _matmul_integer(step: Step) -> list[Value]:
    a = _operand(step, 0, None, 2)
    b = _filter(step, 1, None, 3, -1) if isinstance(step.get(1), Const) else _operand(step, 1, None, 3)
    step.values = [a, b]
    return [product(step, a, b)]


@converts("com.microsoft:QGemm")
def _qgemm(step: Step) -> list[Value]:
    transpose = bool(step.attrs.get("transB"))
    if step.attrs.get("transA"):
        raise Unsupported("a transposed input")
    weights, codes = _filter(step, 3, 4, 5, 0 if transpose else 1), step.option(6, "bias")
    bias = None
    if codes is not None and weights.quantized is not None:
        scale = step.const(1, "scale").array.reshape(-1) * weights.quantized.scale
        bias = codes.array.reshape(-1).astype(np.float32) * scale.astype(np.float32)
    return [linear(step, _operand(step, 0, 1, 2), weights, bias, transpose, float(step.attrs.get("alpha", 1.0)))]


@converts("com.microsoft:QLinearAdd", "com.microsoft:QLinearMul")
def _qlinear_eltwise(step: Step) -> list[Value]:
    graph, a, b = step.graph, step.act(0), step.act(3)
    mode = "add" if step.op_type == "QLinearAdd" else "mul"
    return [graph.add(ops.Eltwise(mode), graph.plain(a), graph.plain(b))]


@converts("com.microsoft:QLinearSigmoid", "com.microsoft:QLinearLeakyRelu")
def _qlinear_activation(step: Step) -> list[Value]:
    x = step.act(0)
    mode = "sigmoid" if step.op_type == "QLinearSigmoid" else "leaky_relu"
    return [step.graph.add(ops.Activation(mode), x, shape=x.shape)]


@converts("com.microsoft:QLinearGlobalAveragePool")
def _qlinear_pool(step: Step) -> list[Value]:
    x = step.act(0)
    if step.attrs.get("channels_last"):
        raise Unsupported("channels that come last")
    out = step.graph.add(ops.Pool("avg", "global"), as_image(step.graph, x))
    return [replace(out, shape=(*x.shape[:2], *[1] * (len(x.shape) - 2)))]


@converts("com.microsoft:QLinearConcat")
def _qlinear_concat(step: Step) -> list[Value]:
    parts = [step.act(i) for i in range(2, len(step.values), 3)]
    return [concatenated(step.graph, parts, int(step.attrs["axis"]))]
