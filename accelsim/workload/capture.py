"""A trace from a real run: an ONNX model computes on real input, and the operands of its layers are kept.

onnxruntime executes the model with the inputs of all compute layers exposed. Weights and activations become
k-bit integers; a batch normalisation that follows a convolution is folded into its weights first, as every
accelerator without floating point does. A quantized model keeps its own integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.workload.network import Layer, Network
from accelsim.workload.onnx_graph import Quantized, is_uniform
from accelsim.workload.onnx_import import Imported, import_model
from accelsim.workload.onnx_inputs import InputShapes
from accelsim.workload.onnx_read import Model, read_model, require_onnx
from accelsim.workload.onnx_run import Session
from accelsim.workload.ops import Norm, Recurrent
from accelsim.workload.quantize import Integers, check_bits, quantize, quantize_bias
from accelsim.workload.tensors import fused_output
from accelsim.workload.trace_writer import TraceWriter

MAX_RUN_BYTES = 2**28  # of exposed tensors at a time; more of them means another run
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Operand:
    """What became of one operand: elements, exact zeros before, and zeros after quantization."""

    layer: str
    role: str
    elements: int
    zeros: int
    stored_zeros: int
    bits: int

    @property
    def density(self) -> float:
        """Non-zeros over elements, as stored."""
        return 1 - self.stored_zeros / self.elements


@dataclass(frozen=True)
class Captured:
    """A written trace, and what is in it. `missing`: operands that no tensor of the model shows."""

    path: Path
    network: Network
    operands: tuple[Operand, ...]
    missing: tuple[str, ...]

    def zero_share(self, role: str, stored: bool = True) -> float:
        """Zeros over elements, of all operands of a role."""
        rows = [o for o in self.operands if o.role == role]
        return sum(o.stored_zeros if stored else o.zeros for o in rows) / max(1, sum(o.elements for o in rows))


def capture(
    onnx_path: str | Path,
    inputs: Mapping[str, np.ndarray] | None,
    out_path: str | Path,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    batch: int | None = None,
    input_shapes: InputShapes | None = None,
    skip_unsupported: bool = False,
    name: str | None = None,
    source: str = "",
    progress: Progress | None = None,
) -> Captured:
    """Run an ONNX model and write the trace of the run.

    Parameters
    ----------
    onnx_path : str or Path
    inputs : mapping or None
        Input name -> array. None: normally distributed numbers, the same in every run, which the trace
        says of itself.
    out_path : str or Path
        Written whole or not at all.
    weight_bits, activation_bits : int
        1 to 16.
    per_channel : bool
        One scale for each output channel of the weights, instead of one for the tensor.
    batch, input_shapes
        As in `import_onnx`; with `inputs` their shapes are taken.
    skip_unsupported : bool
        As in `import_onnx`.
    name, source : str
        What the trace is called, and where model and input come from, with attribution.
    progress : callable, optional
        Called with a line of text now and then.

    Raises
    ------
    ConfigError
        As `import_onnx`; wrong inputs; onnxruntime is missing or cannot run the model.
    """
    model = read_model(onnx_path)
    about = name or Path(onnx_path).stem
    return capture_model(
        model, inputs, out_path, weight_bits=weight_bits, activation_bits=activation_bits, per_channel=per_channel,
        batch=batch, input_shapes=input_shapes, skip_unsupported=skip_unsupported, name=about, source=source,
        progress=progress,
    )  # fmt: skip


def capture_model(
    model: Model,
    inputs: Mapping[str, np.ndarray] | None,
    out_path: str | Path,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    batch: int | None = None,
    input_shapes: InputShapes | None = None,
    skip_unsupported: bool = False,
    name: str,
    source: str = "",
    progress: Progress | None = None,
) -> Captured:
    """As `capture`, from an opened model."""
    check_bits(weight_bits, "weight_bits")
    check_bits(activation_bits, "activation_bits")
    say = progress or (lambda message: None)
    _name_states(model)
    known: dict[str, np.ndarray] = {}
    if inputs is not None:
        # single integers decide about the graph (a sampling rate): they are no data
        known = {k: np.asarray(v) for k, v in inputs.items() if np.ndim(v) == 0 and np.asarray(v).dtype.kind in "iub"}
        input_shapes = {key: np.shape(value) for key, value in inputs.items() if key not in known}
    found = import_model(
        model, skip_unsupported=skip_unsupported, batch=batch, input_shapes=input_shapes, input_values=known
    )
    found.network.name = name
    session = Session(model, found.flat, {**found.inputs, **dict.fromkeys(known, ())}, inputs)
    if inputs is None:
        source = f"{source}\nActivations of synthetic input: normally distributed numbers.".strip()
    run = _Run(found, session, weight_bits, activation_bits, per_channel)
    written: list[Operand] = []
    with TraceWriter(out_path, found.network, name=name, source=source) as writer:
        for layers in run.batches():
            say(f"running {name}: layers {layers[0].name} to {layers[-1].name}")
            for layer, role, integers, zeros in run.operands(layers):
                writer.add(
                    layer.name, role, integers.values, bits=integers.bits, signed=integers.signed,
                    scale=integers.scale, zero_point=integers.zero_point,
                )  # fmt: skip
                values = integers.values
                zero = np.asarray(integers.zero_point).reshape(-1, *[1] * (values.ndim - 1))
                stored = int(np.count_nonzero(values == zero))
                written.append(Operand(layer.name, role, values.size, zeros, stored, integers.bits))
    return Captured(Path(out_path), found.network, tuple(written), tuple(run.missing))


def _name_states(model: Model) -> None:
    """Give a name to the output of cells of which only the last state is used: the trace needs all states."""
    for index, node in enumerate(model.proto.graph.node):
        if node.op_type in ("LSTM", "GRU", "RNN") and (not node.output or not node.output[0]):
            node.output[:1] = [f"all states of cell {index}"]


class _Run:
    """Finds the operands of layers among the tensors of a run."""

    def __init__(
        self, found: Imported, session: Session, weight_bits: int, activation_bits: int, per_channel: bool
    ) -> None:
        self.found, self.session, self.network = found, session, found.network
        self.weight_bits, self.activation_bits, self.per_channel = weight_bits, activation_bits, per_channel
        self.missing: list[str] = []
        self.tensors: dict[str, np.ndarray] = {}

    def batches(self) -> Iterator[list[Layer]]:
        """Compute layers in groups whose exposed tensors fit `MAX_RUN_BYTES`; runs the model for each."""
        group: list[Layer] = []
        names: dict[str, int] = {}
        for layer in self.network:
            if not layer.is_compute:
                continue
            fresh = {n: s for n, s in self._needed(layer).items() if n not in names}
            if group and sum(names.values()) + sum(fresh.values()) > MAX_RUN_BYTES:
                self.tensors = self.session.run(list(names))
                yield group
                group, names, fresh = [], {}, self._needed(layer)
            group.append(layer)
            names.update(fresh)
        if not group:
            raise ConfigError("has no layer that computes, so there is nothing to capture", self.network.name)
        self.tensors = self.session.run(list(names))
        yield group

    def _needed(self, layer: Layer) -> dict[str, int]:
        """ONNX tensors that a layer's operands are made of, and their bytes as float32."""
        found: dict[str, int] = {}
        stack = [*layer.inputs, fused_output(self.network, layer).name]
        if layer.name in self.found.sequences:
            found[self.found.sequences[layer.name][0]] = 4 * prod(layer.out_shape)
        for position in range(len(layer.inputs)):
            quantized = self.found.operands.get((layer.name, position))
            if quantized is not None:
                found[quantized.tensor] = prod(layer.in_shapes[position])
        while stack:
            name = stack.pop()
            tensor = self.found.tensors.get(name)
            if tensor is not None:
                found[tensor] = 4 * prod(self.network[name].out_shape)
            elif self.network[name].kind in _VIEWS:
                stack.extend(self.network[name].inputs)
        return found

    def operands(self, layers: list[Layer]) -> Iterator[tuple[Layer, str, Integers, int]]:
        """(layer, role, integers, exact zeros) of everything that the trace keeps."""
        for layer in layers:
            ifmap = self._input(layer, 0)
            yield from self._weights(layer, ifmap[0] if ifmap else None)
            if layer.kind == "matmul":
                yield from self._kept(layer, "filter", self._input(layer, 1))
            yield from self._kept(layer, "ifmap", ifmap)
            if isinstance(layer.op, Recurrent):
                yield from self._kept(layer, "state", self._states(layer))
            last = fused_output(self.network, layer)
            yield from self._kept(layer, "ofmap", self._rounded(self._value(last.name), layer, "ofmap"))

    def _kept(
        self, layer: Layer, role: str, found: tuple[Integers, int] | None
    ) -> Iterator[tuple[Layer, str, Integers, int]]:
        if found is None:
            self.missing.append(f"{layer.name}/{role}")
        else:
            yield layer, role, *found

    def _input(self, layer: Layer, position: int) -> tuple[Integers, int] | None:
        """An activation that a layer reads: the model's own integers, or rounded numbers."""
        quantized = self.found.operands.get((layer.name, position))
        if quantized is not None and quantized.tensor in self.tensors:
            values = self.tensors[quantized.tensor].reshape(layer.in_shapes[position])
            integers = own_integers(values, quantized)
            return integers, int(np.count_nonzero(integers.values == integers.zero_point))
        role = "filter" if position else "ifmap"
        return self._rounded(self._value(layer.inputs[position]), layer, role)

    def _rounded(self, values: np.ndarray | None, layer: Layer, role: str) -> tuple[Integers, int] | None:
        if values is None:
            return None
        where = f"{self.network.name}: {layer.name}/{role}"
        return quantize(values, self.activation_bits, where=where), int(np.count_nonzero(values == 0))

    def _value(self, name: str) -> np.ndarray | None:
        """A layer's output in accelsim's shape, through views that the model does not have."""
        layer, tensor = self.network[name], self.found.tensors.get(name)
        if tensor is not None:
            return np.asarray(self.tensors[tensor]).reshape(layer.out_shape).astype(np.float32, copy=False)
        if layer.kind == "parameter":
            return self.found.weights[name]["value"].reshape(layer.out_shape).astype(np.float32)
        rule = _VIEWS.get(layer.kind)
        if rule is None:
            return None
        if layer.kind == "pad" and not getattr(layer.op, "zeros"):
            return None
        ins = [self._value(i) for i in layer.inputs]
        return None if any(i is None for i in ins) else np.asarray(rule(layer, ins)).reshape(layer.out_shape)

    def _weights(self, layer: Layer, ifmap: Integers | None) -> Iterator[tuple[Layer, str, Integers, int]]:
        given = self.found.weights.get(layer.name, {})
        own = self.found.quantized.get(layer.name, {})
        filters, bias = with_norm(self.network, layer, given, self.found.weights)
        stored: Integers | None = None
        for role, values in (("filter", filters), ("recurrent", given.get("recurrent"))):
            if values is None:
                continue
            known = own.get(role)
            if known is not None and known.stored is not None and values is given.get(role):
                integers = own_integers(known.stored, known)
            else:
                where = f"{self.network.name}: {layer.name}/{role}"
                integers = quantize(np.array(values), self.weight_bits, per_channel=self.per_channel, where=where)
            stored = stored or integers
            yield layer, role, integers, int(np.count_nonzero(values == 0))
        if bias is not None:
            step = ifmap.scale if ifmap is not None and isinstance(ifmap.scale, float) else 1.0
            scale = stored.scale if stored is not None else 1.0
            if isinstance(layer.op, Recurrent) and isinstance(scale, list):
                scale = min(scale)
            yield layer, "bias", quantize_bias(bias, scale, step), int(np.count_nonzero(bias == 0))

    def _states(self, layer: Layer) -> tuple[Integers, int] | None:
        """The hidden state that enters each time step: the outputs, one step later."""
        op, n = layer.op, layer.out_shape[0]
        assert isinstance(op, Recurrent)
        tensor, batch_first = self.found.sequences[layer.name]
        y = np.asarray(self.tensors[tensor], np.float32)  # (steps, directions, batch, hidden) in ONNX
        y = y if batch_first else y.transpose(2, 0, 1, 3)
        first = np.zeros((n, op.directions, op.hidden), np.float32)
        if len(layer.inputs) > 1 and (given := self._value(layer.inputs[1])) is not None:
            first = given.reshape(op.directions, n, op.hidden).transpose(1, 0, 2)
        states = np.empty_like(y)
        states[:, 1:, :1], states[:, 0, 0] = y[:, :-1, :1], first[:, 0]
        if op.directions == 2:  # the second direction starts at the end
            states[:, :-1, 1], states[:, -1, 1] = y[:, 1:, 1], first[:, 1]
        return self._rounded(states.reshape(layer.out_shape), layer, "state")


def own_integers(values: np.ndarray, known: Quantized) -> Integers:
    """The integers of a quantized model, as they are."""
    name = values.dtype.name
    bits = int(name.lstrip("uint")) if name.lstrip("uint").isdigit() else 8 * values.dtype.itemsize
    kind: Any = np.uint8 if name.startswith("u") and bits < 8 else np.int8 if bits < 8 else values.dtype
    scale, zero = known.scale.astype(float).tolist(), known.zero_point.astype(int).tolist()
    many = len(scale) > 1
    return Integers(
        values.astype(kind), bits, not name.startswith("u"), scale if many else scale[0],
        (zero if len(zero) == len(scale) else zero * len(scale)) if many else zero[0],
    )  # fmt: skip


def with_norm(
    network: Network, layer: Layer, given: Mapping[str, np.ndarray], weights: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Filter and bias of a layer with the batch normalisation behind it folded in."""
    filters, bias = given.get("filter"), given.get("bias")
    readers = network.consumers[layer.name]
    norm = network[readers[0]] if len(readers) == 1 else layer
    if filters is None or not (isinstance(norm.op, Norm) and norm.op.mode == "batch" and norm.work is None):
        return filters, bias
    w = weights[norm.name]
    factor = w["gamma"] / np.sqrt(w["variance"] + w["epsilon"])
    shifted = w["beta"] + ((0 if bias is None else bias) - w["mean"]) * factor
    if is_uniform(filters) and filters.size > 2**20:
        filters = np.array(filters)
    return filters * factor.reshape(-1, *[1] * (filters.ndim - 1)), shifted


def _cut(layer: Layer, ins: list[Any]) -> np.ndarray:
    op: Any = layer.op
    index = [slice(None)] * ins[0].ndim
    index[op.axis] = slice(op.start, op.stop, op.step)
    return np.asarray(ins[0][tuple(index)])


def _padded(layer: Layer, ins: list[Any]) -> np.ndarray:
    op: Any = layer.op
    return np.pad(ins[0], list(zip(op.before, op.after, strict=True)))


_VIEWS: dict[str, Callable[[Layer, list[Any]], np.ndarray]] = {
    "reshape": lambda layer, ins: ins[0].reshape(layer.out_shape),
    "transpose": lambda layer, ins: ins[0].transpose(getattr(layer.op, "order")),
    "concat": lambda layer, ins: np.concatenate(ins, getattr(layer.op, "axis")),
    "slice": _cut,
    "pad": _padded,
}

__all__ = ["Captured", "Operand", "capture", "capture_model", "require_onnx"]
