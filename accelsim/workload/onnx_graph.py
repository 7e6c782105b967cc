"""The graph under construction while an ONNX model is imported: values, layers, weights.

A *value* is what an ONNX tensor name stands for: a `Const` (known numbers), an `Act` (a layer's output,
seen under a shape) or `Lost` (the result of an operator that we cannot express).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.workload import ops
from accelsim.workload.network import Network, Node
from accelsim.workload.shapes import Dims


@dataclass(frozen=True)
class Quantized:
    """Integers behind a dequantized value: `real = (stored - zero_point) * scale`.

    `tensor` names the ONNX tensor with the integers of an activation; a constant has them in `stored`.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    tensor: str = ""
    stored: np.ndarray | None = None
    axis: int = 0


@dataclass(frozen=True)
class Const:
    """Known numbers. `learned`: trained (a float initialiser, or a view of one)."""

    array: np.ndarray
    learned: bool = False
    quantized: Quantized | None = None

    @property
    def shape(self) -> Dims:
        return tuple(map(int, self.array.shape))


@dataclass(frozen=True)
class Act:
    """The output of layer `layer`, whose elements in memory order have the ONNX shape `shape`.

    The layer's own shape may differ (a 1-D convolution is a 2-D one of height 1): reshapes cost nothing
    and become layers only where a reader insists on other dimensions.
    """

    layer: str
    shape: Dims
    quantized: Quantized | None = None


@dataclass(frozen=True)
class Lost:
    """Stands for the result of an operator that cannot be expressed."""

    because: str


Value = Const | Act | Lost
MAX_NAME = 400  # of a layer; a trace's header allows a little more


class Unsupported(Exception):
    """This node cannot be expressed; the text says why."""


@dataclass
class Graph:
    """Layers so far, and what capture needs to know about them.

    Attributes
    ----------
    nodes : list of Node
    dims : dict
        Output shape of each layer.
    weights : dict
        layer -> role -> array, in accelsim's layout.
    quantized : dict
        layer -> role -> Quantized, for weights that the model stores as integers.
    tensors : dict
        layer -> ONNX tensor that holds the layer's output.
    operands : dict
        (layer, input index) -> Quantized, where the model gives the integers of an operand.
    sequences : dict
        cell -> (ONNX tensor with its outputs of all steps, whether the batch comes first there).
    """

    name: str
    consumers: dict[str, int]
    nodes: list[Node] = field(default_factory=list)
    dims: dict[str, Dims] = field(default_factory=dict)
    weights: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    quantized: dict[str, dict[str, Quantized]] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    operands: dict[tuple[str, int], Quantized] = field(default_factory=dict)
    sequences: dict[str, tuple[str, bool]] = field(default_factory=dict)
    where: str = ""
    stem: str = ""
    index: dict[str, Node] = field(default_factory=dict)

    def add(self, op: ops.Op, *inputs: Act, shape: Dims | None = None, suffix: str = "") -> Act:
        """A new layer on these inputs; its ONNX shape is `shape`, or what the operator says.

        Raises
        ------
        ConfigError
            If the shapes do not fit, naming the ONNX node.
        """
        name = self._free_name(self.stem + suffix)
        try:
            out = op.output([self.dims[i.layer] for i in inputs])
        except ConfigError as error:
            raise ConfigError(str(error), self.where) from None
        except (ValueError, IndexError) as error:
            raise ConfigError(f"{op.kind} does not fit its inputs: {error}", self.where) from None
        shape = out if shape is None else shape
        if min(out, default=1) < 1 or prod(out) != prod(shape):
            raise ConfigError(f"an output of shape {out} was expected to be {shape}", self.where)
        node = Node(name, op, tuple(i.layer for i in inputs), self.where)
        self.nodes.append(node)
        self.index[name] = node
        self.dims[name] = out
        for position, value in enumerate(inputs):
            if value.quantized is not None:
                self.operands[name, position] = value.quantized
        return Act(name, shape)

    def _free_name(self, stem: str) -> str:
        stem = "".join(c if c.isprintable() else "_" for c in stem[:MAX_NAME]) or "layer"
        name, count = stem, 1
        while name in self.index:
            count += 1
            name = f"{stem}_{count}"
        return name

    def replace(self, layer: str, **fields: Any) -> None:
        """Change hyper-parameters of a layer that keep its shape (a bias found later)."""
        node = self.index[layer]
        fresh = dataclasses.replace(node, op=dataclasses.replace(node.op, **fields))
        self.index[layer] = fresh
        self.nodes[next(i for i in range(len(self.nodes) - 1, -1, -1) if self.nodes[i] is node)] = fresh

    def seen_as(self, value: Act, dims: Dims) -> Act:
        """The same elements with exactly these dimensions in the network; a reshape layer if need be."""
        if self.dims[value.layer] == dims:
            return dataclasses.replace(value, shape=dims)
        if prod(dims) != prod(value.shape):
            raise ConfigError(f"{value.shape} cannot be seen as {dims}", self.where)
        made = self.add(ops.Reshape(dims), dataclasses.replace(value, quantized=None), suffix="/reshape")
        return dataclasses.replace(made, quantized=value.quantized)

    def plain(self, value: Act) -> Act:
        """The value with its ONNX shape as dimensions (a scalar has one)."""
        return self.seen_as(value, value.shape or (1,))

    def activation(self, value: Value, name: str) -> Act:
        """The value as a layer's output: constants become parameters that enter the graph."""
        if isinstance(value, Act):
            return value
        if isinstance(value, Lost):
            raise SimulationBug(f"{self.where}: a lost value is read")
        shape = value.shape
        if 0 in shape:
            raise Unsupported(f"its input {name!r} has no elements")
        stem, self.stem = self.stem, name
        act = self.add(ops.Parameter(shape or (1,), learned=value.learned), shape=shape)
        self.set_weight(act.layer, "value", value.array)
        self.stem = stem
        return act

    def set_weight(self, layer: str, role: str, array: np.ndarray, quantized: Quantized | None = None) -> None:
        """Record the weights of a layer; `quantized.stored` has the same layout as `array`."""
        self.weights.setdefault(layer, {})[role] = array
        if quantized is not None:
            self.quantized.setdefault(layer, {})[role] = quantized

    def finish(self, outputs: list[Act], source: str) -> Network:
        """The network of all layers that the outputs need, and the model's inputs."""
        wanted = {a.layer for a in outputs}
        kept = []
        for node in reversed(self.nodes):
            if node.name in wanted or isinstance(node.op, ops.Input):
                kept.append(node)
                wanted.update(node.inputs)
        kept.reverse()
        for table in (self.weights, self.quantized, self.tensors):
            for layer in [name for name in table if name not in wanted]:
                del table[layer]
        return Network(self.name, kept, source)


def is_uniform(array: np.ndarray) -> bool:
    """One number seen many times (no strides): how graphs without weights come."""
    return array.size > 0 and not any(s for s, d in zip(array.strides, array.shape, strict=True) if d > 1)


def reshaped(array: np.ndarray, dims: Dims) -> np.ndarray:
    """Reshape that does not write out an array of one number."""
    if is_uniform(array) and prod(dims) == array.size:
        return np.broadcast_to(array[(0,) * array.ndim], dims)
    return array.reshape(dims)
