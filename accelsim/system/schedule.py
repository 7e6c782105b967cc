"""From a network's graph to the order of work: fusion, tensors behind views, and how long they live."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from accelsim.base.units import ceil_div
from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Activation, Input, Norm, Parameter
from accelsim.workload.shapes import VectorShape
from accelsim.workload.spike import Spike

_FUSABLE = (Activation, Norm, Spike)


@dataclass
class Tensor:
    """A feature map that some layer produces and others read, through any number of views."""

    name: str
    elements: int
    produced: int  # index of the step; -1 for network inputs and parameters
    last_read: int = -1
    is_output: bool = False
    together: int = -1  # tensors of one concatenation share their fate: the index of their set


@dataclass
class Step:
    """A layer that takes time, with what is applied to its results on the way out.

    Attributes
    ----------
    layer : Layer
    fused : list of str
        Activations and folded normalisations, in order.
    fused_ops : int
        Their simple operations per output element.
    reads : list of list of str
        For each input of the layer the tensors that it stands for.
    writes : str
        The tensor that it produces.
    neuron : Spike or None
        The spiking neurons that its results drive.
    """

    layer: Layer
    fused: list[str] = field(default_factory=list)
    fused_ops: int = 0
    reads: list[list[str]] = field(default_factory=list)
    writes: str = ""
    neuron: Spike | None = None


@dataclass
class Schedule:
    """Steps in order, and all tensors by name."""

    steps: list[Step]
    tensors: dict[str, Tensor]

    def live(self, index: int) -> list[Tensor]:
        """Tensors whose data is needed during step `index` (what it reads, writes, and what others will read)."""
        return [t for t in self.tensors.values() if t.produced <= index <= t.last_read]


def schedule(network: Network) -> Schedule:
    """Order the work of a network.

    An activation or a folded batch normalisation joins the layer before it if nobody else reads that
    layer's output: it is applied as results leave, and costs operations but no time of its own.
    """
    steps: list[Step] = []
    tensors: dict[str, Tensor] = {}
    behind: dict[str, list[str]] = {}  # layer -> tensors that its output stands for
    maker: dict[str, Step] = {}  # tensor -> step that writes it
    sets = 0
    for layer in network:
        sources = [behind[name] for name in layer.inputs]
        flat = list(dict.fromkeys(t for group in sources for t in group))
        if isinstance(layer.op, Input | Parameter):
            tensors[layer.name] = Tensor(layer.name, prod(layer.out_shape), -1)
            behind[layer.name] = [layer.name]
            continue
        if _can_fuse(network, layer, flat, maker):
            step = maker[flat[0]]
            step.fused.append(layer.name)
            step.neuron = layer.op if isinstance(layer.op, Spike) else step.neuron
            if isinstance(layer.work, VectorShape):
                step.fused_ops += layer.work.ops_per_output
            behind[layer.name] = flat
            continue
        if layer.work is None:
            behind[layer.name] = flat
            if len(flat) > 1:
                for name in flat:
                    tensors[name].together = sets
                sets += 1
            continue
        step = Step(layer, reads=sources, writes=layer.name)
        index = len(steps)
        for name in flat:
            tensors[name].last_read = index
        tensors[layer.name] = Tensor(layer.name, prod(layer.out_shape), index, index)
        maker[layer.name] = step
        behind[layer.name] = [layer.name]
        steps.append(step)
    for layer in network:
        if not network.consumers[layer.name]:
            for name in behind[layer.name]:
                tensors[name].is_output = True
    return Schedule(steps, tensors)


def _can_fuse(network: Network, layer: Layer, flat: list[str], maker: dict[str, Step]) -> bool:
    if not isinstance(layer.op, _FUSABLE) or len(layer.inputs) != 1 or len(flat) != 1:
        return False
    if isinstance(layer.op, Norm) and layer.op.mode != "batch":
        return False
    # the whole chain from the tensor to here must have no other reader
    name = layer.inputs[0]
    return flat[0] in maker and network.consumers[name] == (layer.name,)


def lay_out(plan: Schedule, bits: dict[str, int]) -> dict[str, int]:
    """First DRAM byte of every weight operand ("filter:LAYER"), feature map and of sums, 4 KiB apart at least."""
    addresses: dict[str, int] = {}
    cursor = 0
    for step in plan.steps:
        addresses[f"filter:{step.layer.name}"] = cursor
        for dims in step.layer.weights.values():
            cursor += _aligned(ceil_div(prod(dims) * bits["filter"], 8))
    for tensor in plan.tensors.values():
        addresses[tensor.name] = cursor
        cursor += _aligned(ceil_div(tensor.elements * max(bits["ofmap"], bits["ifmap"]), 8))
    addresses["psum"] = cursor
    return addresses


def _aligned(n_bytes: int) -> int:
    return ceil_div(n_bytes, 4096) * 4096
