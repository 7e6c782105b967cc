"""Which channels of a network are the same ones, and which of them nothing would miss.

Channels that are added to each other, pass through a pooling or are filtered one by one (depthwise) stand or fall
together: they are one set. A channel can go if everything that makes it is zero and stays zero on its way, or if
nothing that reads it has a weight for it. Sets that reach an input, an output or an operator whose channels mean
something else (a matrix product, groups, a softmax, ...) keep all of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Activation, Concat, Conv, Eltwise, Linear, Norm, Reshape
from accelsim.workload.shapes import ConvShape

Bools = NDArray[np.bool_]

ZERO_TO_ZERO = {"relu", "relu6", "leaky_relu", "tanh", "gelu", "silu", "hard_swish", "elu", "sqrt", "erf", "abs", "neg",
                "softsign", "mish", "sign", "round"}  # fmt: skip
"""Activations of which 0 is 0."""

Axis = list[tuple[int, int]]
"""The channels of a tensor: (number of a set, elements for each of its channels) side by side."""


@dataclass
class ChannelSet:
    """Channels of one or more tensors that stand or fall together."""

    size: int
    pinned: bool = False
    keeps_zero: bool = True
    makers: list[str] = field(default_factory=list)
    readers: list[tuple[str, int]] = field(default_factory=list)  # (layer, its first column in units of channels)


class Channels:
    """The sets of channels of a network.

    Parameters
    ----------
    network : Network
    held : set of str
        Layers whose filters' values are known; others keep their shapes.
    biased : mapping
        Layer -> (outputs,): True where its bias is not zero.
    """

    def __init__(self, network: Network, held: set[str], biased: Mapping[str, Bools]) -> None:
        self.network, self._held, self._biased = network, held, biased
        self._sets: list[ChannelSet] = []
        self._parent: list[int] = []
        self.axes: dict[str, Axis] = {}
        for layer in network:
            self.axes[layer.name] = self._axis(layer)
        for layer in network:
            if not network.consumers[layer.name]:
                self._pin(self.axes[layer.name])

    def find(self, number: int) -> int:
        """The set that a set has become part of."""
        while self._parent[number] != number:
            number = self._parent[number]
        return number

    def of(self, number: int) -> ChannelSet:
        """A set by its number."""
        return self._sets[self.find(number)]

    def numbers(self) -> list[int]:
        """All sets."""
        return [i for i in range(len(self._sets)) if self._parent[i] == i]

    def by_channel(self, name: str, used: Bools) -> Bools:
        """(outputs, columns) of a layer's weights by input channels: a flattened image has several columns for each."""
        if isinstance(self.network[name].op, Conv) and used.shape[1] != self.network[name].in_shapes[0][1]:
            return used  # groups: not looked at by channels
        parts, at = [], 0
        for number, each in self.axes[self.network[name].inputs[0]]:
            size = self.of(number).size
            parts.append(used[:, at : at + size * each].reshape(len(used), size, each).any(2))
            at += size * each
        return np.concatenate(parts, axis=1)

    def _new(self, size: int, pinned: bool = False) -> Axis:
        self._sets.append(ChannelSet(size, pinned))
        self._parent.append(len(self._sets) - 1)
        return [(len(self._sets) - 1, 1)]

    def _pin(self, axis: Axis) -> None:
        for number, _ in axis:
            self.of(number).pinned = True

    def _join(self, a: Axis, b: Axis) -> None:
        sizes = [[(self.of(n).size, each) for n, each in axis] for axis in (a, b)]
        if sizes[0] != sizes[1]:
            self._pin(a)
            self._pin(b)
            return
        for (x, _), (y, _) in zip(a, b, strict=True):
            x, y = self.find(x), self.find(y)
            if x != y:
                one, two = self._sets[x], self._sets[y]
                self._parent[y] = x
                one.pinned |= two.pinned
                one.keeps_zero &= two.keeps_zero
                one.makers += two.makers
                one.readers += two.readers

    def _reads(self, layer: Layer, axis: Axis) -> None:
        at = 0
        for number, _ in axis:
            self.of(number).readers.append((layer.name, at))
            at += self.of(number).size

    def _axis(self, layer: Layer) -> Axis:
        op, ins = layer.op, [self.axes[name] for name in layer.inputs]
        size = layer.out_shape[1] if len(layer.out_shape) == 4 else layer.out_shape[-1]
        if isinstance(op, Conv | Linear) and layer.name in self._held and not getattr(op, "tied", False):
            if isinstance(op, Linear) or op.groups == 1:
                self._reads(layer, ins[0])
                made = self._new(size)
                self.of(made[0][0]).makers.append(layer.name)
                return made
            work = layer.work
            if isinstance(work, ConvShape) and work.depthwise and work.m == work.c:
                for number, _ in ins[0]:
                    self.of(number).keeps_zero &= not self._biased.get(layer.name, np.zeros(1, bool)).any()
                return ins[0]
        if isinstance(op, Norm) and op.mode == "batch" and op.folded:
            return ins[0]
        if isinstance(op, Activation) and not op.slopes:
            for number, _ in ins[0]:
                self.of(number).keeps_zero &= op.mode in ZERO_TO_ZERO
            return ins[0]
        if layer.kind in ("pool", "upsample"):
            return ins[0]
        if isinstance(op, Reshape) and len(layer.in_shapes[0]) == 4 and len(layer.out_shape) == 2 and -1 in op.shape:
            each = prod(layer.in_shapes[0][2:])
            if layer.out_shape[0] == layer.in_shapes[0][0] and op.shape[-1] == -1:
                return [(number, each * times) for number, times in ins[0]]
        if isinstance(op, Concat) and op.axis % len(layer.out_shape) == 1 and all(len(s) == 4 for s in layer.in_shapes):
            return [part for axis in ins for part in axis]
        if isinstance(op, Eltwise) and op.mode in ("add", "sub", "max", "min", "mul") and len(ins) > 1:
            if len(set(layer.in_shapes)) == 1:
                for axis in ins[1:]:
                    self._join(ins[0], axis)
                return ins[0]
        for axis in ins:
            self._pin(axis)
        return self._new(size, pinned=True)


def keepers(channels: Channels, weights: Mapping[str, Bools], biased: Mapping[str, Bools]) -> dict[int, Bools]:
    """For each set, True where a channel has to stay; at least one always does.

    Parameters
    ----------
    channels : Channels
    weights : mapping
        Layer -> (outputs, input channels): True where any weight between the two is not zero.
    biased : mapping
        Layer -> (outputs,): True where its bias is not zero.
    """
    kept = {n: np.ones(channels.of(n).size, bool) for n in channels.numbers()}
    left = {name: table.copy() for name, table in weights.items()}
    while True:
        changed = False
        for n, stays in kept.items():
            part = channels.of(n)
            if part.pinned or not part.readers or not part.makers:
                continue
            read = np.zeros(part.size, bool)
            for name, at in part.readers:
                read |= left[name][:, at : at + part.size].any(0)
            made = np.zeros(part.size, bool)
            for name in part.makers:
                made |= left[name].any(1) | biased.get(name, np.zeros(part.size, bool))
            needed = read & made if part.keeps_zero else read
            if not needed.any():
                needed[int(np.flatnonzero(stays)[0])] = True
            if (needed < stays).any():
                changed = True
                stays &= needed
                for name, at in part.readers:
                    left[name][:, at : at + part.size] &= stays
                for name in part.makers:
                    left[name] &= stays[:, None]
        if not changed:
            return kept


def index_of(channels: Channels, kept: Mapping[int, Bools], axis: Axis) -> NDArray[Any]:
    """Places that stay, in a tensor's channels."""
    parts = [np.repeat(kept[channels.find(number)], each) for number, each in axis]
    return np.flatnonzero(np.concatenate(parts))
