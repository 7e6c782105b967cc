"""The step that takes out what pruning has emptied: filters, channels, and branches that add nothing.

A smaller dense network of the same outputs: Li et al., ICLR 2017, Fig. 1 (filters); He et al. and Luo et al., both
ICCV 2017 (channels); survey, Section IV, "Transformation Into Compact Model".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Key, Source, Step, StepParams, operand_shape
from accelsim.compress.sparsify.channels import ZERO_TO_ZERO, Bools, Channels, index_of, keepers
from accelsim.compress.state import TensorState
from accelsim.workload.network import Layer, Network, Node
from accelsim.workload.ops import Activation, Conv, Eltwise, Linear, Norm
from accelsim.workload.shapes import ConvShape


@STEPS.register("shrink")
class Shrink(Step):
    """Remove filters and channels that are all zero, or that nothing reads, and rewrite the shapes around them.

    The outputs stay what they are; a bias that the weights do not hold is taken to be zero. Where channels are added to
    others they go only if all that are added can. A branch that adds only zeros goes as a whole. Put it behind pruning
    and before any quantization but `uniform`; captured activations that later criteria read are not cut.
    """

    kind: ClassVar[str] = "shrink"
    objects: ClassVar[Sequence[str]] = ("W",)

    class Params(StepParams):
        """`layers` may only be all: shapes depend on each other."""

        layers: Literal["*"] = "*"
        object: Literal["W"] = "W"

    def rebuild(self, before: Source, chosen: list[Key]) -> Source:
        network = before.network
        weights, biased = self._tables(before)
        alive = without_empty_branches(network, weights, biased)
        channels = Channels(alive, {name for name in weights if name in alive}, biased)
        by_channel = {name: channels.by_channel(name, table) for name, table in weights.items() if name in alive}
        kept = keepers(channels, by_channel, biased)
        return Shrunk(before, alive, channels, kept)

    def _tables(self, before: Source) -> tuple[dict[str, Bools], dict[str, Bools]]:
        """For each layer, which output depends on which input channel; and which outputs have a bias."""
        weights, biased = {}, {}
        for key in before.keys():
            layer, role = before.network[key[0]], key[1]
            if not isinstance(layer.op, Conv | Linear) or role not in ("filter", "bias"):
                continue
            state = before.load(key)
            if state.described is not None:
                continue
            if state.factors is not None or (state.quantized and state.quantized.meaning != "affine"):
                raise ConfigError("must be plain or uniform integers: shrink before other steps", "/".join(key))
            if role == "bias":
                biased[key[0]] = state.values.reshape(-1) != 0
            else:
                weights[key[0]] = _used(layer, state.values)
        return weights, biased


def _used(layer: Layer, values: NDArray[Any]) -> Bools:
    used = values != 0
    if used.ndim == 4:
        return np.asarray(used.any((2, 3)))
    return np.asarray(used)


def without_empty_branches(network: Network, weights: dict[str, Bools], biased: dict[str, Bools]) -> Network:
    """The network without what adds nothing but zeros to a sum, and without what then nobody reads."""
    zero: set[str] = set()
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    for node in network.nodes:
        layer = network[node.name]
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        if _is_zero(layer, zero, weights, biased):
            zero.add(node.name)
        adds = isinstance(node.op, Eltwise) and node.op.mode == "add" and len(set(layer.in_shapes)) == 1
        if adds and len(node.inputs) > 1 and network.consumers[node.name]:
            left = tuple(new for old, new in zip(node.inputs, inputs, strict=True) if old not in zero)
            if len(left) == 1:
                alias[node.name] = left[0]
                continue
            inputs = left or inputs
        nodes.append(replace(node, inputs=inputs))
    needed = {layer.name for layer in network if not network.consumers[layer.name]}
    for node in reversed(nodes):
        if node.name in needed or not node.inputs:
            needed |= {node.name, *node.inputs}
    return Network(network.name, [node for node in nodes if node.name in needed], network.source)


def _is_zero(layer: Layer, zero: set[str], weights: dict[str, Bools], biased: dict[str, Bools]) -> bool:
    """Whether a layer's output is zero whatever comes in."""
    op = layer.op
    if isinstance(op, Conv | Linear):
        empty = layer.name in weights and not weights[layer.name].any()
        return (empty or layer.inputs[0] in zero) and not biased.get(layer.name, np.zeros(1, bool)).any()
    if isinstance(op, Activation) and op.mode not in ZERO_TO_ZERO:
        return False
    if isinstance(op, Norm) and not (op.mode == "batch" and op.folded):
        return False
    passes = isinstance(op, Activation | Norm) or layer.kind == "pool" or (isinstance(op, Eltwise) and op.mode == "add")
    return passes and bool(layer.inputs) and all(name in zero for name in layer.inputs)


class Shrunk(Source):
    """A source with channels taken out."""

    def __init__(self, before: Source, alive: Network, channels: Channels, kept: dict[int, Bools]) -> None:
        self._before, self._channels, self._kept, self._alive = before, channels, kept, alive
        self._network = Network(alive.name, [self._smaller(node) for node in alive.nodes], alive.source)
        self._keys = [key for key in before.keys() if key[0] in self._network]

    def _index(self, name: str) -> NDArray[Any]:
        return index_of(self._channels, self._kept, self._channels.axes[name])

    def _smaller(self, node: Node) -> Node:
        op = node.op
        if isinstance(op, Conv | Linear):
            count = len(self._index(node.name))
            if isinstance(op, Linear):
                return replace(node, op=replace(op, features=count))
            work = self._alive[node.name].work
            depthwise = isinstance(work, ConvShape) and work.depthwise and work.m == work.c
            return replace(node, op=replace(op, channels=count, groups=count if depthwise else op.groups))
        return node

    @property
    def network(self) -> Network:
        return self._network

    def keys(self) -> list[Key]:
        return list(self._keys)

    def load(self, key: Key) -> TensorState:
        state, layer = self._before.load(key), self._network[key[0]]
        state.layer = layer
        old = self._alive[key[0]]
        shape = operand_shape(layer, key[1])
        if shape is None or prod(shape) == state.elements:
            return state
        if state.described is not None:
            return replace(state, shape=shape)
        return _cut(state, self._selection(old, key[1], state.shape))

    def _selection(self, layer: Layer, role: str, shape: tuple[int, ...]) -> list[NDArray[Any]]:
        """Places that stay along each dimension."""
        every = [np.arange(size) for size in shape]
        if role in ("ifmap", "ofmap", "error"):
            name = layer.inputs[0] if role == "ifmap" else layer.name
            axis = 1 if len(shape) == 4 else len(shape) - 1
            every[axis] = self._index(name)
        elif role == "bias":
            every[-1] = self._index(layer.name)
        else:  # filters, their gradients and updates
            every[0] = self._index(layer.name)
            if getattr(layer.op, "groups", 1) == 1:
                every[1] = self._index(layer.inputs[0])
        return every


def _cut(state: TensorState, places: list[NDArray[Any]]) -> TensorState:
    """A state of which only some places along each dimension are left."""
    grid = np.ix_(*places)
    shape = tuple(len(p) for p in places)
    first = getattr(state, "original")
    source = np.ascontiguousarray(first[grid])
    source.flags.writeable = False
    quantized = state.quantized
    if quantized is not None:
        rows = state.shape[0]
        tables = {n: t[places[0]] if t.ndim and t.shape[0] == rows > 1 else t for n, t in quantized.tables.items()}
        quantized = replace(quantized, codes=np.ascontiguousarray(quantized.codes[grid]), tables=tables)
    values = None if quantized is not None else np.ascontiguousarray(state.values[grid])
    text = f"shrunk from {' x '.join(map(str, state.shape))} to {' x '.join(map(str, shape))}"
    return replace(
        state, shape=shape, original=source, quantized=quantized, notes=[*state.notes, text], _values=values
    )
