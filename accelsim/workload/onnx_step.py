"""One ONNX node on its way into the network, and the table of converters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from accelsim.workload import ops
from accelsim.workload.onnx_fold import Call
from accelsim.workload.onnx_graph import Act, Const, Graph, Quantized, Unsupported, Value, reshaped
from accelsim.workload.shapes import Dims


@dataclass
class Step:
    """A node with its inputs looked up.

    `keeps_tensor`: set by a converter whose result is another encoding of the same numbers, so that the
    layer's output is to be captured before, not after this node.
    """

    graph: Graph
    op_type: str
    attrs: dict[str, Any]
    opset: int
    names: list[str]
    values: list[Const | Act | None]
    outputs: list[str]
    keeps_tensor: bool = field(default=False)

    def get(self, index: int) -> Const | Act | None:
        """Input `index`, or None if it was left out."""
        return self.values[index] if index < len(self.values) else None

    def act(self, index: int) -> Act:
        """Input `index` as a layer's output (a constant becomes a parameter layer)."""
        value = self.get(index)
        if value is None:
            raise Unsupported(f"its input {index} is missing")
        return self.graph.activation(value, self.names[index])

    def const(self, index: int, what: str) -> Const:
        """Input `index`, which must be known before the run."""
        value = self.get(index)
        if isinstance(value, Const):
            return value
        raise Unsupported(f"its {what} (input {index}) {'is missing' if value is None else 'is computed at run time'}")

    def option(self, index: int, what: str) -> Const | None:
        """As `const`, or None if it was left out."""
        return None if self.get(index) is None else self.const(index, what)

    @property
    def call(self) -> Call:
        """The node with its known inputs only, for the helpers of `onnx_fold`."""
        known = [v.array if isinstance(v, Const) else None for v in self.values]
        return Call(self.op_type, self.attrs, self.opset, known, len(self.outputs))

    def known_ints(self, attribute: str, index: int) -> list[int] | None:
        """A list of integers, from the attribute or the constant input."""
        if self.get(index) is not None:
            self.const(index, attribute)
        return self.call.ints(attribute, index)

    def used(self, output: int) -> bool:
        """Does anything read output `output`?"""
        return output < len(self.outputs) and self.graph.consumers.get(self.outputs[output], 0) > 0

    def sole_reader(self, index: int) -> bool:
        """Is this node the only one that reads its input `index`?"""
        return self.graph.consumers.get(self.names[index], 0) == 1


Converter = Callable[[Step], list[Value]]
CONVERTERS: dict[str, Converter] = {}


def converts(*op_types: str) -> Callable[[Converter], Converter]:
    """Decorator: enter a converter for these operators (`domain:Name` outside the standard set)."""

    def enter(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(op_types, function))
        return function

    return enter


def transposed(graph: Graph, value: Act, order: tuple[int, ...], suffix: str = "/transpose") -> Act:
    """Permute the dimensions of `value`; nothing to do where only sizes of one move."""
    dims = tuple(value.shape[i] for i in order)
    moving = [i for i in order if value.shape[i] != 1]
    if moving == sorted(moving):
        return Act(value.layer, dims, value.quantized)
    return graph.add(ops.Transpose(order), graph.plain(value), suffix=suffix)


def sliced(
    graph: Graph, value: Act, axis: int, start: int, stop: int, step: int = 1, suffix: str = "/slice"
) -> Act:
    """Elements along one axis; nothing to do where that is all of them."""
    axis %= len(value.shape)
    if (start, stop, step) == (0, value.shape[axis], 1):
        return value
    return graph.add(ops.Slice(axis, start, stop, step), graph.plain(value), suffix=suffix)


def concatenated(graph: Graph, parts: list[Act], axis: int) -> Act:
    """Join along one axis."""
    if len(parts) == 1:
        return parts[0]
    return graph.add(ops.Concat(axis), *(graph.plain(p) for p in parts))


def as_image(graph: Graph, value: Act) -> Act:
    """(N, C, L) as (N, C, 1, L), and (N, C, D, H, W) as (N, C, D, H*W); (N, C, H, W) as it is."""
    n, c, *space = value.shape
    return graph.seen_as(value, (n, c, prod(space[:1]) if len(space) > 1 else 1, prod(space[1:] or space)))


def relaid(const: Const, rearrange: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, Quantized | None]:
    """A constant and the integers behind it, both rearranged in the same way."""
    array, quantized = rearrange(const.array), const.quantized
    if quantized is None or quantized.stored is None:
        return array, None
    return array, Quantized(quantized.scale, quantized.zero_point, stored=rearrange(quantized.stored))


def folded_reshape(dims: Dims) -> Callable[[np.ndarray], np.ndarray]:
    """A function that reshapes to `dims`."""
    return lambda array: reshaped(array, dims)
