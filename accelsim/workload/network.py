"""A network is a graph of layers; residual adds and concatenations keep their tensors alive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.units import checked
from accelsim.workload.ops import Input, Op
from accelsim.workload.shapes import Dims, WorkShape


@dataclass(frozen=True)
class Node:
    """An operator with a name and the names of the layers that it reads, before shapes are known."""

    name: str
    op: Op
    inputs: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class Layer:
    """One operator of a network with its shapes.

    Attributes
    ----------
    name : str
        Unique in the network.
    op : Op
    inputs : tuple of str
        Names of the layers whose outputs it reads, in the operator's order.
    in_shapes, out_shape
        Tensor shapes, batch first.
    work : WorkShape or None
        What an engine has to do; None for inputs and views.
    params, macs : int
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    in_shapes: tuple[Dims, ...]
    out_shape: Dims
    work: WorkShape | None
    params: int
    weights: dict[str, Dims] = field(hash=False)

    @property
    def kind(self) -> str:
        """The operator's kind: conv, linear, matmul, recurrent, pool, ..."""
        return self.op.kind

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return self.work.macs if self.work else 0

    @property
    def is_compute(self) -> bool:
        """Runs on the array: convolution, linear, matmul, recurrent."""
        return self.macs > 0


class Network:
    """Layers in an order in which every layer stands after those it reads.

    Parameters
    ----------
    name : str
    nodes : iterable of Node
        In any order without cycles; the given order is kept where it is already valid.
    source : str
        Where the network comes from (paper, file).

    Raises
    ------
    ConfigError
        Duplicate or unknown names, a cycle, wrong number of inputs, or shapes that do not fit; the
        message names the node.
    """

    def __init__(self, name: str, nodes: Iterable[Node], source: str = "") -> None:
        self.name = name
        self.source = source
        self.nodes = _ordered(name, list(nodes))
        self.layers: list[Layer] = []
        self._index: dict[str, Layer] = {}
        for node in self.nodes:
            layer = self._infer(node)
            self.layers.append(layer)
            self._index[node.name] = layer

    def _infer(self, node: Node) -> Layer:
        op, where = node.op, node.where or f"{self.name}: {node.name}"
        if not op.inputs_min <= len(node.inputs) <= op.inputs_max:
            wanted = (
                str(op.inputs_min) if op.inputs_min == op.inputs_max else f"{op.inputs_min} to {op.inputs_max}"
            )
            raise ConfigError(f"{op.kind} needs {wanted} inputs, got {len(node.inputs)}", where)
        ins = [self._index[i].out_shape for i in node.inputs]
        try:
            out = op.output(ins)
            if not out or min(out) < 1:
                raise ConfigError(f"output shape {out} has a dimension below 1")
            checked(prod(out), "the number of output elements")
            layer = Layer(node.name, op, node.inputs, tuple(ins), out, op.work(ins), op.params(ins), op.weights(ins))
            checked(layer.macs, "the number of MACs")
        except ConfigError as error:
            raise ConfigError(str(error), where) from None
        except (IndexError, ValueError) as error:
            raise ConfigError(f"inputs {ins} do not fit {op.kind}: {error}", where) from None
        return layer

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> Layer:
        try:
            return self._index[name]
        except KeyError:
            raise unknown_name("layer", name, self._index, self.name) from None

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __repr__(self) -> str:
        return f"<Network {self.name}: {len(self)} layers, {self.params:,} parameters, {self.macs:,} MACs>"

    @property
    def params(self) -> int:
        """Trainable parameters of all layers."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run, convolution, linear, matmul and recurrent."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """For each layer the names of those that read its output, in order."""
        found: dict[str, list[str]] = {layer.name: [] for layer in self.layers}
        for layer in self.layers:
            for name in dict.fromkeys(layer.inputs):
                found[name].append(layer.name)
        return {name: tuple(readers) for name, readers in found.items()}

    @cached_property
    def last_use(self) -> dict[str, int]:
        """For each layer the index of the last layer that needs its data, through views; results live to the end."""
        last = {layer.name: i for i, layer in enumerate(self.layers)}
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            if not self.consumers[layer.name]:
                last[layer.name] = len(self.layers)
            until = last[layer.name] if layer.work is None else i
            for name in layer.inputs:
                last[name] = max(last[name], until, i)
        return last

    @property
    def batch(self) -> int:
        """First dimension of the first input."""
        for layer in self.layers:
            if isinstance(layer.op, Input):
                return layer.out_shape[0]
        return 1

    def with_batch(self, batch: int) -> Network:
        """The same network on inputs whose first dimension is `batch`."""
        nodes = [
            dataclasses.replace(n, op=dataclasses.replace(n.op, shape=(batch, *n.op.shape[1:])))
            if isinstance(n.op, Input)
            else n
            for n in self.nodes
        ]
        return Network(self.name, nodes, self.source)


def _ordered(network: str, nodes: list[Node]) -> list[Node]:
    index: dict[str, Node] = {}
    for node in nodes:
        if node.name in index:
            raise ConfigError(f"layer name {node.name!r} is used twice", node.where or network)
        index[node.name] = node
    for node in nodes:
        for name in node.inputs:
            if name not in index:
                raise unknown_name("input", name, index, node.where or f"{network}: {node.name}")
    done: dict[str, Node] = {}
    for root in nodes:
        stack: list[tuple[Node, Iterator[str]]] = []
        if root.name not in done:
            stack.append((root, iter(root.inputs)))
        path = {root.name}
        while stack:
            node, rest = stack[-1]
            for name in rest:
                if name in done:
                    continue
                if name in path:
                    raise ConfigError(f"layers form a cycle through {name!r}", node.where or network)
                path.add(name)
                stack.append((index[name], iter(index[name].inputs)))
                break
            else:
                stack.pop()
                path.discard(node.name)
                done[node.name] = node
    if not done:
        raise ConfigError("a network needs at least one layer", network)
    return list(done.values())
