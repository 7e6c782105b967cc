"""ONNX operators that run on the array: convolutions, matrix products, recurrent cells, attention."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from accelsim.workload import ops
from accelsim.workload.cells import CELLS
from accelsim.workload.onnx_graph import Act, Const, Graph, Unsupported, Value, is_uniform, reshaped
from accelsim.workload.onnx_step import Step, concatenated, converts, folded_reshape, relaid, sliced, transposed
from accelsim.workload.ops_windows import OverlapAdd, Padding
from accelsim.workload.shapes import Dims

Quad = tuple[int, int, int, int]
Pair = tuple[int, int]


def pair(values: list[int] | None, rank: int, fill: int = 1) -> Pair:
    """(vertical, horizontal) of an attribute with one number for each of `rank` spatial dimensions."""
    values = [1] * rank if not values else [int(v) for v in values]
    if len(values) != rank:
        raise Unsupported(f"an attribute with {len(values)} numbers for {rank} spatial dimensions")
    return (fill, values[0]) if rank == 1 else (values[0], values[1])


def window_pads(step: Step, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, rank: int) -> Quad:
    """(top, left, bottom, right), from `pads` or `auto_pad`."""
    mode = step.attrs.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        upper = ops.explicit_pad("same", size, kernel, stride, dilation)
        return upper if mode == "SAME_UPPER" else (upper[2], upper[3], upper[0], upper[1])
    pads = [0] * (2 * rank) if mode == "VALID" else [int(v) for v in step.attrs.get("pads", [0] * (2 * rank))]
    if len(pads) != 2 * rank or min(pads) < 0:
        raise Unsupported(f"pads {pads} for {rank} spatial dimensions")
    return (0, pads[0], 0, pads[1]) if rank == 1 else (pads[0], pads[1], pads[2], pads[3])


def scaled(array: np.ndarray, gain: float) -> np.ndarray:
    """array * gain, without writing out an array of one number."""
    if is_uniform(array):
        return np.broadcast_to(array[(0,) * array.ndim] * np.float32(gain), array.shape)
    return np.asarray(array * np.float32(gain))


def spatial_rank(value: Act) -> int:
    """1 or 2; 3-D windows cannot be expressed."""
    rank = len(value.shape) - 2
    if rank not in (1, 2):
        raise Unsupported(f"a window over {rank} spatial dimensions")
    return rank


def flat_image(graph: Graph, value: Act, rank: int) -> Act:
    """(N, C, L) as (N, C, 1, L)."""
    n, c, *space = value.shape
    return graph.seen_as(value, (n, c, 1, space[0]) if rank == 1 else (n, c, space[0], space[1]))


def _without_padding(graph: Graph, value: Act, rank: int) -> tuple[Act, Quad]:
    """Step over a layer that only adds zeros around the image: its reader can do that itself."""
    node = graph.index[value.layer]
    none = (0, 0, 0, 0)
    if not isinstance(node.op, Padding) or not node.op.zeros or value.shape != graph.dims[value.layer]:
        return value, none
    before, after = node.op.before, node.op.after
    if any(before[:2]) or any(after[:2]):
        return value, none
    quad = (0, before[2], 0, after[2]) if rank == 1 else (before[2], before[3], after[2], after[3])
    source = Act(node.inputs[0], tuple(d - b - a for d, b, a in zip(value.shape, before, after, strict=True)))
    return replace(source, quantized=graph.operands.get((value.layer, 0))), quad


def convolution(step: Step, x: Act, weights: Const, bias: Const | None) -> Act:
    """A Conv node with its operands found."""
    graph, rank = step.graph, spatial_rank(x)
    if len(weights.shape) != rank + 2:
        raise Unsupported(f"a filter of shape {weights.shape} for an input of shape {x.shape}")
    kernel = pair(list(weights.shape[2:]), rank)
    stride, dilation = pair(step.attrs.get("strides"), rank), pair(step.attrs.get("dilations"), rank)
    size = (x.shape[2], x.shape[3]) if rank == 2 else (1, x.shape[2])
    pad = window_pads(step, size, kernel, stride, dilation, rank)
    x, more = _without_padding(graph, x, rank)
    pad = (pad[0] + more[0], pad[1] + more[1], pad[2] + more[2], pad[3] + more[3])
    channels, groups = weights.shape[0], int(step.attrs.get("group", 1))
    op = ops.Conv(channels, kernel, stride, pad, dilation, groups, bias is not None)
    out = graph.add(op, flat_image(graph, x, rank))
    filter_dims = op.weights([graph.dims[graph.index[out.layer].inputs[0]]])["filter"]
    if prod(filter_dims) != prod(weights.shape):
        what = f"a filter of shape {weights.shape} for {x.shape[1]} channels in {groups} groups"
        raise Unsupported(what)
    graph.set_weight(out.layer, "filter", *relaid(weights, folded_reshape(filter_dims)))
    if bias is not None:
        graph.set_weight(out.layer, "bias", bias.array.reshape(-1))
    return out if rank == 2 else replace(out, shape=(*out.shape[:2], out.shape[3]))


@converts("Conv")
def _conv(step: Step) -> list[Value]:
    return [convolution(step, step.act(0), step.const(1, "filter"), step.option(2, "bias"))]


@converts("ConvTranspose")
def _conv_transpose(step: Step) -> list[Value]:
    # Every pixel times every filter (a 1 x 1 convolution), then overlapping windows are added up.
    graph, x, weights, bias = step.graph, step.act(0), step.const(1, "filter"), step.option(2, "bias")
    rank, groups = spatial_rank(x), int(step.attrs.get("group", 1))
    c, per_group = weights.shape[:2]
    if len(weights.shape) != rank + 2 or c != x.shape[1] or c % groups:
        raise Unsupported(f"a filter of shape {weights.shape} for an input of shape {x.shape}")
    kernel = pair(list(weights.shape[2:]), rank)
    stride, dilation = pair(step.attrs.get("strides"), rank), pair(step.attrs.get("dilations"), rank)
    extra = pair(step.attrs.get("output_padding") or [0] * rank, rank, fill=0)
    image = flat_image(graph, x, rank)
    crop = _crop(step, (image.shape[2], image.shape[3]), kernel, stride, dilation, extra, rank)
    taps = kernel[0] * kernel[1]

    def rearranged(array: np.ndarray) -> np.ndarray:
        split = reshaped(array, (groups, c // groups, per_group * taps))
        return reshaped(split.transpose(0, 2, 1), (groups * per_group * taps, c // groups, 1, 1))

    product = graph.add(ops.Conv(groups * per_group * taps, groups=groups, bias=False), image)
    graph.set_weight(product.layer, "filter", *relaid(weights, rearranged))
    add = OverlapAdd(groups * per_group, kernel, stride, dilation, crop, extra, bias is not None)
    out = graph.add(add, product, suffix="/overlap")
    if bias is not None:
        graph.set_weight(out.layer, "bias", bias.array.reshape(-1))
    return [out if rank == 2 else replace(out, shape=(*out.shape[:2], out.shape[3]))]


def _crop(step: Step, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, extra: Pair, rank: int) -> Quad:
    """What a transposed convolution cuts off, from pads, auto_pad or output_shape."""
    mode, wanted = step.attrs.get("auto_pad", "NOTSET"), step.attrs.get("output_shape")
    if not wanted and not mode.startswith("SAME"):
        return window_pads(step, size, kernel, stride, dilation, rank)
    full = [(z - 1) * t + d * (k - 1) + 1 + e for z, t, d, k, e in zip(size, stride, dilation, kernel, extra)]
    target = pair(wanted[-rank:], rank) if wanted else (size[0] * stride[0], size[1] * stride[1])
    total = [max(0, f - t) for f, t in zip(full, target)]
    if rank == 1:
        total[0] = 0
    low = [t - t // 2 if mode == "SAME_LOWER" else t // 2 for t in total]
    if wanted and mode == "NOTSET":
        low = [t - t // 2 for t in total]  # ONNX: the odd one is cut at the front unless SAME_UPPER
    return (low[0], low[1], total[0] - low[0], total[1] - low[1])


def linear(step: Step, x: Act, weights: Const, bias: np.ndarray | None, transpose: bool, gain: float = 1.0) -> Act:
    """x times constant weights of shape (..1, k, n), or (..1, n, k) if `transpose`, plus a bias of n numbers."""
    graph, matrix = step.graph, weights.shape[-2:]
    features, k = matrix if transpose else matrix[::-1]
    if not x.shape or x.shape[-1] != k:
        raise Unsupported(f"operands of shape {x.shape} and {weights.shape} do not fit")
    x = graph.plain(x)
    out = graph.add(ops.Linear(features, bias is not None), x)
    array, quantized = relaid(weights, lambda a: reshaped(a, matrix) if transpose else reshaped(a, matrix).T)
    if gain != 1:
        array, quantized = scaled(array, gain), None
    graph.set_weight(out.layer, "filter", array, quantized)
    if bias is not None:
        graph.set_weight(out.layer, "bias", bias)
    return out


@converts("Gemm", "com.microsoft:FusedGemm")
def _gemm(step: Step) -> list[Value]:
    graph, attrs = step.graph, step.attrs
    alpha, beta = float(attrs.get("alpha", 1.0)), float(attrs.get("beta", 1.0))
    b, c = step.get(1), step.get(2)
    a = step.act(0)
    if attrs.get("transA"):
        a = transposed(graph, a, (1, 0))
    if not isinstance(b, Const):
        out = graph.add(ops.Matmul(bool(attrs.get("transB"))), graph.plain(a), graph.plain(step.act(1)))
    else:
        bias = None
        if isinstance(c, Const) and c.array.size in (1, b.shape[0 if attrs.get("transB") else 1]) and beta != 0:
            features = b.shape[0 if attrs.get("transB") else 1]
            bias, c = np.broadcast_to(c.array.reshape(-1) * np.float32(beta), (features,)), None
        out = linear(step, a, b, bias, bool(attrs.get("transB")), alpha)
    if c is not None and beta != 0:
        known = Const(scaled(c.array, beta), c.learned) if isinstance(c, Const) else c
        term = graph.plain(graph.activation(known, step.names[2]))
        if isinstance(c, Act) and beta != 1:
            term = graph.add(ops.Eltwise("mul"), term, suffix="/beta")
        out = graph.add(ops.Eltwise("add"), out, term, suffix="/add")
    return [out]


@converts("MatMul", "com.microsoft:FusedMatMul")
def _matmul(step: Step) -> list[Value]:
    if step.attrs.get("transBatchA") or step.attrs.get("transBatchB"):
        raise Unsupported("a product that transposes its batch dimensions")
    return [product(step, step.get(0), step.get(1), float(step.attrs.get("alpha", 1.0)))]


def product(step: Step, a: Value | None, b: Value | None, gain: float = 1.0) -> Act:
    """numpy's matmul of two values, constant or not."""
    graph = step.graph
    turn_a, turn_b = bool(step.attrs.get("transA")), bool(step.attrs.get("transB"))
    if isinstance(b, Const) and not isinstance(a, Const) and prod(b.shape[:-2]) == 1 and len(b.shape) >= 2:
        left = turned(graph, step.act(0)) if turn_a else step.act(0)
        return linear(step, left, b, None, turn_b, gain)
    if isinstance(a, Const) and len(a.shape) == 2 and not isinstance(b, Const):
        # a . b = (b^T . a^T)^T, so that the constant is the filter
        right = step.act(1) if turn_b else turned(graph, step.act(1))
        return turned(graph, linear(step, right, a, None, not turn_a, gain))
    left, right = step.act(0), step.act(1)
    if turn_a:
        left = turned(graph, left)
    return _both_computed(graph, left, right, turn_b)


def turned(graph: Graph, value: Act) -> Act:
    """The last two dimensions exchanged."""
    rank = len(value.shape)
    if rank < 2:
        return value
    return transposed(graph, value, (*range(rank - 2), rank - 1, rank - 2))


def _both_computed(graph: Graph, a: Act, b: Act, transpose_b: bool) -> Act:
    # vectors become matrices of one row or column, which the result loses again
    row, column = len(a.shape) == 1, len(b.shape) == 1
    if row:
        a = replace(a, shape=(1, *a.shape))
    if column:
        b, transpose_b = replace(b, shape=(1, *b.shape)), True
    n = b.shape[-2] if transpose_b else b.shape[-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    result: Dims = (*lead, *(() if row else (a.shape[-2],)), *(() if column else (n,)))
    if prod(b.shape[:-2]) == 1:  # one matrix for all: more rows of one product
        a = replace(a, shape=(prod(a.shape[:-1]), a.shape[-1]))
        b = replace(b, shape=b.shape[-2:])
    rank = max(len(a.shape), len(b.shape))
    a, b = (graph.seen_as(v, (1,) * (rank - len(v.shape)) + v.shape) for v in (a, b))
    return graph.add(ops.Matmul(transpose_b), a, b, shape=result)


@converts("Einsum")
def _einsum(step: Step) -> list[Value]:
    graph, equation = step.graph, step.attrs["equation"].replace(" ", "")
    left, _, out = equation.partition("->")
    terms = left.split(",")
    if len(terms) != 2 or not out or "." in equation or any(len(set(t)) != len(t) for t in terms):
        raise Unsupported(f"the equation {equation!r}")
    a, b = terms
    both = [i for i in a if i in b]
    batch, inner = [i for i in both if i in out], [i for i in both if i not in out]
    free_a, free_b = [i for i in a if i not in b], [i for i in b if i not in a]
    if not inner or set(out) != {*batch, *free_a, *free_b}:
        raise Unsupported(f"the equation {equation!r}, which is no matrix product")
    x, y = step.act(0), step.act(1)
    size = dict(zip(a + b, x.shape + y.shape, strict=True))

    def total(letters: list[str]) -> int:
        return prod(size[i] for i in letters)

    x = transposed(graph, x, tuple(a.index(i) for i in batch + free_a + inner))
    y = transposed(graph, y, tuple(b.index(i) for i in batch + inner + free_b))
    x = replace(x, shape=(total(batch), total(free_a), total(inner)))
    y = replace(y, shape=(total(batch), total(inner), total(free_b)))
    made = batch + free_a + free_b
    result = replace(_both_computed(graph, x, y, False), shape=tuple(size[i] for i in made))
    return [transposed(graph, result, tuple(made.index(i) for i in out))]


@converts("LSTM", "GRU", "RNN")
def _recurrent(step: Step) -> list[Value]:
    graph, cell = step.graph, step.op_type.lower()
    x, w, r, bias = step.act(0), step.const(1, "weights"), step.const(2, "recurrent weights"), step.option(3, "bias")
    if step.get(4) is not None:
        step.const(4, "sequence lengths")
    if step.get(7) is not None:
        raise Unsupported("peephole weights")
    batch_first = bool(step.attrs.get("layout", 0))
    directions, rows, features = w.shape
    hidden = r.shape[-1]
    if rows != CELLS[cell].gates * hidden or r.shape != (directions, rows, hidden) or x.shape[-1] != features:
        raise Unsupported(f"weights of shape {w.shape} and {r.shape} for an input of shape {x.shape}")
    x = x if batch_first else transposed(graph, x, (1, 0, 2))
    states = [graph.plain(step.act(i)) for i in (5, 6) if isinstance(step.get(i), Act)]
    y = graph.add(ops.Recurrent(cell, hidden, directions, bias is not None), graph.plain(x), *states)
    layer = y.layer
    graph.sequences[layer] = (step.outputs[0], batch_first)
    graph.set_weight(layer, "filter", *relaid(w, folded_reshape((directions * rows, features))))
    graph.set_weight(layer, "recurrent", *relaid(r, folded_reshape((directions * rows, hidden))))
    if bias is not None:
        both = reshaped(bias.array, (directions, 2, rows)).transpose(1, 0, 2)
        graph.set_weight(layer, "bias", reshaped(both, (2, directions * rows)))
    n, steps, _ = y.shape
    split = replace(y, shape=(n, steps, directions, hidden))
    results: list[Value] = [split if batch_first else transposed(graph, split, (1, 2, 0, 3))]
    for output in (1, 2)[: len(step.outputs) - 1]:
        results.append(_last_state(step, split, batch_first) if step.used(output) else y)
    return results


def _last_state(step: Step, y: Act, batch_first: bool) -> Act:
    """The state after the last step. An LSTM's cell state is taken to be as large, and to live as long."""
    graph, (_, steps, directions, _) = step.graph, y.shape
    ends = []
    for d in range(directions):
        backward = d == 1 or step.attrs.get("direction") == "reverse"
        one = sliced(graph, y, 2, d, d + 1)
        ends.append(sliced(graph, one, 1, 0, 1) if backward else sliced(graph, one, 1, steps - 1, steps))
    last = concatenated(graph, ends, 2)  # (N, 1, directions, hidden)
    n, _, _, hidden = last.shape
    last = replace(last, shape=(n, directions, hidden))
    return last if batch_first else transposed(graph, last, (1, 0, 2))


@converts("Attention")
def _attention(step: Step) -> list[Value]:
    graph = step.graph
    if any(step.get(i) is not None for i in (4, 5)) or step.used(1) or step.used(2) or step.used(3):
        raise Unsupported("a cache of past keys and values, or its intermediate products as outputs")
    heads = [step.attrs.get("q_num_heads"), *[step.attrs.get("kv_num_heads")] * 2]
    q, k, v = (_by_head(graph, step.act(i), heads[i]) for i in range(3))
    n, heads_q, rows, depth = q.shape
    group = heads_q // k.shape[1]  # query heads that share a key head are more rows of one product
    q = replace(q, shape=(n, k.shape[1], group * rows, depth))
    scores = graph.add(ops.Matmul(True), graph.plain(q), graph.plain(k), suffix="/scores")
    if step.get(3) is not None:
        mask = graph.plain(step.act(3))
        full = graph.seen_as(scores, (n, heads_q, rows, k.shape[2]))
        scores = graph.add(ops.Eltwise("add"), full, mask, suffix="/mask")
        scores = replace(scores, shape=(n, k.shape[1], group * rows, k.shape[2]))
    weights = graph.add(ops.Softmax(), graph.plain(scores), suffix="/softmax")
    out = graph.add(ops.Matmul(), weights, graph.plain(v))
    out = replace(out, shape=(n, heads_q, rows, v.shape[3]))
    if len(step.act(0).shape) == 4:
        return [out]
    merged = transposed(graph, out, (0, 2, 1, 3))
    return [replace(merged, shape=(n, rows, heads_q * v.shape[3]))]


def _by_head(graph: Graph, value: Act, heads: int | None) -> Act:
    """(N, L, heads * depth) as (N, heads, L, depth)."""
    if len(value.shape) == 4:
        return value
    n, length, width = value.shape
    if not heads or width % heads:
        raise Unsupported(f"an input of shape {value.shape} for {heads} heads")
    return transposed(graph, replace(value, shape=(n, length, heads, width // heads)), (0, 2, 1, 3))
