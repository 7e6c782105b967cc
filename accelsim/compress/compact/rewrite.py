"""What all compact models share: which convolutions can be rewritten, the new network, and where its weights come from.

A method says into which parts a convolution falls (`parts`), and, where it can, what their weights should be
(`fitted`). The first part reads what the convolution read, the last one is read by those who read it, so shapes
outside do not change. Names are the layer's with the part's behind a dot: `conv2.depthwise`, `conv2.pointwise`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.base.spec import build
from accelsim.base.yamlio import Document
from accelsim.compress.base import STEPS, Context, Key, Source, Step, StepParams, original
from accelsim.compress.selectors import Selector, choose
from accelsim.compress.sources import DrawnWeights, in_order
from accelsim.compress.state import FloatArray, TensorState
from accelsim.workload.network import Layer, Network, Node
from accelsim.workload.ops import Activation, Conv, Eltwise, Op
from accelsim.workload.shapes import ConvShape

Pads = tuple[int, int, int, int]
Kernel = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """One of the layers that replace a convolution; `adds_input`: an addition of the convolution's own input."""

    name: str
    op: Op
    adds_input: bool = False


class CompactStep(Step):
    """Base of the steps that rewrite convolutions. A subclass writes `parts`, `refusal` and perhaps `fitted`."""

    objects: ClassVar[Sequence[str]] = ("W",)

    class Params(StepParams):
        """`activation`: between the parts; None: as the method has it, and none where weights are fitted.

        `weights`: fitted to the convolution's as well as the form allows (least squares, if nothing else is said),
        or drawn at random.
        """

        object: Literal["W"] = "W"
        activation: Literal["none", "relu", "relu6"] | None = None
        weights: Literal["fitted", "drawn"] = "fitted"

    between: ClassVar[str] = "relu"
    """The activation that the method's paper has between the parts."""
    can_fit: ClassVar[bool] = False
    """Whether `fitted` exists."""

    # --- what a subclass writes ---

    def refusal(self, shape: ConvShape) -> str:
        """Why this convolution cannot be rewritten ("needs ..."), "" if it can."""
        raise NotImplementedError

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        """The layers that take the convolution's place, without activations between them."""
        raise NotImplementedError

    def fitted(self, filters: FloatArray, shape: ConvShape, parts: list[Part]) -> dict[str, FloatArray]:
        """Filters of the parts (by name) that come closest to these of shape (m, c, r, s)."""
        raise NotImplementedError

    def composed(self, filters: Mapping[str, FloatArray], shape: ConvShape) -> FloatArray:
        """The filters (m, c, r, s) that the parts' amount to, if nothing is between them."""
        raise NotImplementedError

    # --- the rest ---

    @property
    def fits(self) -> bool:
        """Whether new weights are made from the old."""
        return self.can_fit and self.params.weights == "fitted"

    def choose(self, before: Source) -> list[Key]:
        return [(name, "filter") for name in self.names(before.network)]

    def names(self, network: Network) -> list[str]:
        """Names of the chosen layers: a pattern means those that can be rewritten; a name that cannot is an error."""
        can: list[Layer] = []
        for layer in network:
            why = self._refusal(layer)
            if not why:
                can.append(layer)
            elif layer.name in _as_list(self.params.layers):
                raise ConfigError(f"layer {layer.name!r} cannot be rewritten: {why}", self.where)
        return choose(self.params.layers, can, self.where)

    def _refusal(self, layer: Layer) -> str:
        if not isinstance(layer.op, Conv) or not isinstance(layer.work, ConvShape):
            return f"{self.kind} needs a convolution, got {layer.kind}"
        return self.refusal(layer.work)

    def split(self, layer: Layer) -> list[Part]:
        """The parts of one convolution, activations included, the bias at the last that can have one."""
        op, shape = layer.op, layer.work
        assert isinstance(op, Conv) and isinstance(shape, ConvShape)
        parts = self.parts(op, shape)
        mode = self.params.activation or ("none" if self.fits else self.between)
        convs = [part.name for part in parts if isinstance(part.op, Conv)]
        found = []
        for part in parts:
            if isinstance(part.op, Conv):
                part = replace(part, op=replace(part.op, bias=op.bias and part.name == convs[-1]))
            found.append(part)
            if mode != "none" and part.name in convs[:-1]:
                found.append(Part(f"{part.name}_{mode}", Activation(mode)))
        return found

    def rebuild(self, before: Source, chosen: list[Key]) -> Source:
        return Rewritten(self, before, [name for name, _ in chosen])


class Rewritten(Source):
    """A source in whose network convolutions have been replaced."""

    def __init__(self, step: CompactStep, before: Source, names: list[str]) -> None:
        self._step, self._before = step, before
        self._split = {name: step.split(before.network[name]) for name in names}
        self._network = rewritten(before.network, self._split)
        self._drawn = DrawnWeights(self._network, "laplace", step.context.seed)
        self._last: tuple[Key, dict[str, FloatArray], float] | None = None  # parts are asked for one after another
        self._from: dict[Key, tuple[Key, str]] = {}  # new operand -> (the old one, name of the part)
        kept = []
        for key in before.keys():
            if key[0] not in self._split:
                kept.append(key)
                continue
            for new, part in self._operands(key):
                self._from[new] = (key, part)
        self._keys = in_order(self._network, [*kept, *self._from])

    def _operands(self, key: Key) -> list[tuple[Key, str]]:
        name, role = key
        convs = [part.name for part in self._split[name] if isinstance(part.op, Conv)]
        if role == "filter":
            return [((f"{name}.{part}", "filter"), part) for part in convs]
        # results are those of the last part, inputs those of the first, if that computes
        part = convs[-1] if role == "bias" else convs[0] if convs[0] == self._split[name][0].name else ""
        return [((f"{name}.{part}", role), part)] if role in ("bias", "ifmap") and part else []

    @property
    def network(self) -> Network:
        return self._network

    def keys(self) -> list[Key]:
        return list(self._keys)

    def load(self, key: Key) -> TensorState:
        if key not in self._from:
            state = self._before.load(key)
            state.layer = self._network[key[0]]
            return state
        old, part = self._from[key]
        layer = self._network[key[0]]
        state = self._before.load(old)
        if key[1] != "filter":
            state.layer = layer
            return state
        if state.pruned or state.quantized is not None or state.factors is not None:
            place = f"{self._step.where}: {self._step.kind}: {'/'.join(old)}"
            raise ConfigError("is compressed already: rewrite convolutions first", place)
        shape = layer.weights["filter"]
        if state.described is not None:
            spec = replace_stream(state.described, f"{state.described.stream}/{part}")
            return TensorState(layer, "filter", shape, None, signed=state.signed, described=spec)
        if not self._step.fits:
            made = self._drawn.load(key)
            text = "drawn"
        else:
            filters, error = self._fitted(old, state)
            made = original(layer, "filter", filters[part])
            text = f"fitted, relative error of its filters {error:.3f}"
        if part == next(p.name for p in self._split[old[0]] if isinstance(p.op, Conv)):  # said once
            made.notes.append(f"{self._step.kind} in place of {old[0]}: {text}")
        return made

    def _fitted(self, old: Key, state: TensorState) -> tuple[dict[str, FloatArray], float]:
        if self._last is None or self._last[0] != old:
            filters = self._fit(old, state)
            error = relative_error(self._step.composed(filters, self._work(old[0])), state.values)
            self._last = old, filters, error
        return self._last[1:]

    def _fit(self, old: Key, state: TensorState) -> dict[str, FloatArray]:
        filters = self._step.fitted(state.values, self._work(old[0]), self._split[old[0]])
        for name, array in filters.items():
            wanted = self._network[f"{old[0]}.{name}"].weights["filter"]
            if array.shape != wanted:
                raise SimulationBug(f"{old[0]}.{name}: fitted filters of shape {array.shape}, not {wanted}")
        return filters

    def _work(self, name: str) -> ConvShape:
        work = self._before.network[name].work
        assert isinstance(work, ConvShape)
        return work


def rewritten(network: Network, split: Mapping[str, list[Part]]) -> Network:
    """The network with layers replaced by their parts.

    Raises
    ------
    ConfigError
        If a part's name is taken, or the last part's output has not the layer's shape.
    """
    last = {name: f"{name}.{parts[-1].name}" for name, parts in split.items()}
    nodes: list[Node] = []
    for node in network.nodes:
        inputs = tuple(last.get(name, name) for name in node.inputs)
        if node.name not in split:
            nodes.append(replace(node, inputs=inputs))
            continue
        reads = inputs
        for part in split[node.name]:
            reads = (*reads, *inputs) if part.adds_input else reads
            nodes.append(Node(f"{node.name}.{part.name}", part.op, reads, node.where))
            reads = (nodes[-1].name,)
    found = Network(network.name, nodes, network.source)
    for name, new in last.items():
        if found[new].out_shape != network[name].out_shape:
            was, now = network[name].out_shape, found[new].out_shape
            raise ConfigError(f"the output must keep its shape {was}, but would be {now}", f"layer {name}")
    return found


def compact(network: Network, method: str, layers: Selector = "*", **options: Any) -> Network:
    """The network with convolutions rewritten.

    Parameters
    ----------
    network : Network
    method : str
        Name of a step: stack_3x3, stack_2x2, asymmetric, shift, bottleneck, group_conv, depthwise_separable,
        inverted_residual.
    layers : selector
        See `selectors`; a pattern means those among its layers that can be rewritten.
    **options
        The step's parameters.

    Raises
    ------
    ConfigError
    """
    kind = STEPS.lookup(method, "compact")
    if not issubclass(kind, CompactStep):
        raise ConfigError(f"must be a step that rewrites convolutions, got {method!r}", "compact")
    params = build(kind.Params, Document({"layers": layers, **options}, f"compact {method}"))
    step = kind(params, kind.kind, f"compact {method}", Context())
    return rewritten(network, {name: step.split(network[name]) for name in step.names(network)})


# --- what methods use ---


def pads_of(pad: Pads, kernels: Sequence[Kernel]) -> list[Pads]:
    """The padding of one convolution, spread over a chain of others.

    Kernels of even size get theirs in turn at the top left and at the bottom right, where there is some, so that the
    shift of half a pixel that each brings does not add up; what is left over comes first.
    """
    rest = list(pad)
    found = []
    for i, kernel in enumerate(kernels):
        mine = [0, 0, 0, 0]
        for axis in (0, 1):
            need, first, second = kernel[axis] - 1, axis, axis + 2
            if i % 2:
                first, second = second, first
            mine[first] = min(rest[first], (need + 1) // 2)
            mine[second] = min(rest[second], need - mine[first])
        rest = [r - m for r, m in zip(rest, mine, strict=True)]
        found.append(mine)
    found[0] = [a + b for a, b in zip(found[0], rest, strict=True)]
    return [(a, b, c, d) for a, b, c, d in found]


def relative_error(found: FloatArray, wanted: FloatArray) -> float:
    """Frobenius norm of the difference over that of what is wanted; 0 if both are zero."""
    norm = float(np.linalg.norm(wanted.astype(np.float64)))
    error = float(np.linalg.norm(found.astype(np.float64) - wanted))
    return error / norm if norm else float(error > 0)


def replace_stream(spec: Any, stream: str) -> Any:
    """The same generator with another stream of random words."""
    return type(spec)(**{**spec.model_dump(), "stream": stream})


def residual() -> Part:
    """The addition of the convolution's input."""
    return Part("add", Eltwise("add"), adds_input=True)


def _as_list(selector: Selector) -> list[str]:
    return [selector] if isinstance(selector, str) else list(selector)
