"""ONNX operators that move or rename data: reshapes, slices, concatenations, look-ups, padding, encodings."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from accelsim.workload import ops
from accelsim.workload.onnx_fold import resolved, slices, split_sizes, squeezed, unsqueezed
from accelsim.workload.onnx_graph import Act, Const, Graph, Unsupported, Value
from accelsim.workload.onnx_step import Step, concatenated, converts, sliced, transposed
from accelsim.workload.ops_windows import Padding
from accelsim.workload.shapes import Dims

MAX_PIECES = 256


def _seen(value: Act, dims: Dims) -> list[Value]:
    return [replace(value, shape=dims)]


@converts("Identity", "Cast", "CastLike", "Dropout")
def _same(step: Step) -> list[Value]:
    if step.used(1):
        raise Unsupported("the mask as an output")
    return [step.act(0)]


@converts("Reshape")
def _reshape(step: Step) -> list[Value]:
    x = step.act(0)
    target = step.known_ints("shape", 1)
    if target is None:
        raise Unsupported("its shape is missing")
    return _seen(x, resolved(target, x.shape, bool(step.attrs.get("allowzero", 0))))


@converts("Flatten")
def _flatten(step: Step) -> list[Value]:
    x = step.act(0)
    axis = int(step.attrs.get("axis", 1))
    axis = axis + len(x.shape) if axis < 0 else axis
    return _seen(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


@converts("Squeeze")
def _squeeze(step: Step) -> list[Value]:
    x = step.act(0)
    return _seen(x, squeezed(x.shape, step.known_ints("axes", 1)))


@converts("Unsqueeze")
def _unsqueeze(step: Step) -> list[Value]:
    x = step.act(0)
    return _seen(x, unsqueezed(x.shape, step.known_ints("axes", 1) or []))


@converts("Transpose")
def _transpose(step: Step) -> list[Value]:
    x = step.act(0)
    order = step.attrs.get("perm", range(len(x.shape))[::-1])
    return [transposed(step.graph, x, tuple(int(i) for i in order), suffix="")]


@converts("Concat")
def _concat(step: Step) -> list[Value]:
    parts = [step.act(i) for i, v in enumerate(step.values) if not (isinstance(v, Const) and v.array.size == 0)]
    axis = int(step.attrs.get("axis", 1)) % len(parts[0].shape)
    return [concatenated(step.graph, parts, axis)]


@converts("Slice")
def _slice(step: Step) -> list[Value]:
    x = step.act(0)
    for index, name in enumerate(("starts", "ends", "axes", "steps"), 1):
        step.known_ints(name, index)
    for axis, start, stop, stride in slices(step.call, x.shape):
        if stride < 0:
            raise Unsupported("a slice that runs backwards")
        if start >= stop:
            raise Unsupported(f"an empty slice {start}:{stop} of {x.shape}")
        x = sliced(step.graph, x, axis, start, stop, stride, suffix="")
    return [x]


@converts("Split")
def _split(step: Step) -> list[Value]:
    x, axis = step.act(0), int(step.attrs.get("axis", 0))
    step.known_ints("split", 1)
    ends = np.cumsum(split_sizes(step.call, x.shape[axis])).tolist()
    starts = [0, *ends[:-1]]
    used = [step.used(i) for i in range(len(ends))]
    parts = zip(starts, ends, used, strict=True)
    return [sliced(step.graph, x, axis, a, b, suffix="") if u else x for a, b, u in parts]


@converts("Gather")
def _gather(step: Step) -> list[Value]:
    graph, data, indices = step.graph, step.get(0), step.get(1)
    axis = int(step.attrs.get("axis", 0))
    if isinstance(indices, Act):
        if not isinstance(data, Const) or axis != 0 or len(data.shape) < 2:
            raise Unsupported("indices that are computed at run time, into anything but rows of a table")
        features = prod(data.shape[1:])
        table = ops.Embedding(data.shape[0], features)
        rows = graph.add(table, graph.plain(indices), shape=(*indices.shape, *data.shape[1:]))
        graph.set_weight(rows.layer, "value", data.array)
        return [rows]
    x, wanted = step.act(0), step.const(1, "indices").array
    axis %= len(x.shape)
    picked = [int(i) % x.shape[axis] for i in wanted.reshape(-1)]
    out = concatenated(graph, [sliced(graph, x, axis, *run) for run in _runs(picked)], axis)
    return _seen(out, (*x.shape[:axis], *map(int, wanted.shape), *x.shape[axis + 1 :]))


def _runs(indices: list[int]) -> list[tuple[int, int, int]]:
    """Indices as slices (start, stop, step) with step >= 1."""
    runs: list[tuple[int, int, int]] = []
    i = 0
    while i < len(indices):
        step = indices[i + 1] - indices[i] if i + 1 < len(indices) else 1
        j = i + 1
        while step > 0 and j < len(indices) and indices[j] - indices[j - 1] == step:
            j += 1
        runs.append((indices[i], indices[j - 1] + 1, step if j > i + 1 else 1))
        i = j
    if not runs or len(runs) > MAX_PIECES:
        raise Unsupported(f"a look-up of {len(runs)} separate pieces (at most {MAX_PIECES}, at least 1)")
    return runs


@converts("Expand")
def _expand(step: Step) -> list[Value]:
    x = step.act(0)
    target = np.broadcast_shapes(x.shape, tuple(int(d) for d in step.const(1, "shape").array))
    x = replace(x, shape=(1,) * (len(target) - len(x.shape)) + x.shape)
    return [_repeated(step.graph, x, [t // d for t, d in zip(target, x.shape, strict=True)])]


@converts("Tile")
def _tile(step: Step) -> list[Value]:
    return [_repeated(step.graph, step.act(0), [int(r) for r in step.const(1, "repeats").array])]


def _repeated(graph: Graph, x: Act, repeats: list[int]) -> Act:
    for axis, count in enumerate(repeats):
        if not 1 <= count <= ops.Concat.inputs_max:
            raise Unsupported(f"{count} copies along axis {axis}")
        x = concatenated(graph, [x] * count, axis)
    return x


@converts("Pad")
def _pad(step: Step) -> list[Value]:
    graph, x = step.graph, step.act(0)
    rank = len(x.shape)
    amounts = step.known_ints("pads", 1) or []
    axes = step.known_ints("axes", 3) or list(range(rank))
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis % rank], after[axis % rank] = amounts[i], amounts[len(axes) + i]
    for axis in range(rank):  # negative amounts cut off
        if before[axis] < 0 or after[axis] < 0:
            x = sliced(graph, x, axis, max(0, -before[axis]), x.shape[axis] - max(0, -after[axis]))
    before, after = [max(0, b) for b in before], [max(0, a) for a in after]
    if not any(before) and not any(after):
        return [x]
    value = step.option(2, "value")
    number = step.attrs.get("value", 0.0) if value is None else (value.array.reshape(-1)[:1] or [0.0])[0]
    zeros = step.attrs.get("mode", "constant") == "constant" and float(number) == 0.0
    return [graph.add(Padding(tuple(before), tuple(after), zeros), graph.plain(x))]


@converts("DepthToSpace")
def _depth_to_space(step: Step) -> list[Value]:
    x, b = step.act(0), int(step.attrs["blocksize"])
    n, c, h, w = x.shape
    if step.attrs.get("mode", "DCR") == "DCR":
        split, order = (n, b, b, c // (b * b), h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, c // (b * b), b, b, h, w), (0, 1, 4, 2, 5, 3)
    return _seen(transposed(step.graph, replace(x, shape=split), order), (n, c // (b * b), h * b, w * b))


@converts("SpaceToDepth")
def _space_to_depth(step: Step) -> list[Value]:
    x, b = step.act(0), int(step.attrs["blocksize"])
    n, c, h, w = x.shape
    moved = transposed(step.graph, replace(x, shape=(n, c, h // b, b, w // b, b)), (0, 3, 5, 1, 2, 4))
    return _seen(moved, (n, c * b * b, h // b, w // b))
