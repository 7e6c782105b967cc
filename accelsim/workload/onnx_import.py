"""ONNX in: a `Network` and its weights.

The graph is walked once. Everything that is known before the run (shapes, shape arithmetic, weights) is
folded to constants; every other node becomes layers whose shapes follow from the inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.workload import onnx_ops, onnx_quant, onnx_vector, onnx_views, ops
from accelsim.workload.network import Network
from accelsim.workload.onnx_fold import FOLDS
from accelsim.workload.onnx_graph import Act, Const, Graph, Lost, Quantized, Unsupported, Value
from accelsim.workload.onnx_inputs import InputShapes, input_dims
from accelsim.workload.onnx_read import Model, all_nodes, attributes, read_model, require_onnx
from accelsim.workload.onnx_step import CONVERTERS, Step
from accelsim.workload.shapes import Dims

_CONVERTER_FILES = (onnx_ops, onnx_quant, onnx_vector, onnx_views)  # importing them fills CONVERTERS
_OWN_FOLDING = {"QuantizeLinear", "DequantizeLinear"}
MAX_BRANCHES = 64
NO_OPERATOR = "there is no such operator here"


@dataclass(frozen=True)
class Imported:
    """An ONNX model as accelsim sees it.

    Attributes
    ----------
    model : Model
    network : Network
    weights : dict
        layer -> role -> array: `filter` as (M, C/G, R, S), (features, in) or (directions*gates*hidden,
        features), gates in ONNX's order; `recurrent`; `bias` (cells: input and recurrent biases, in two
        rows). A normalisation has `gamma` and `beta`, a batch normalisation `mean`, `variance` and `epsilon`
        too; PReLU a `slope`; parameters and embedding tables a `value`.
    quantized : dict
        layer -> role -> Quantized, for weights that the model stores as integers.
    tensors : dict
        layer -> ONNX tensor with the layer's output, elements in the same order.
    operands : dict
        (layer, input index) -> Quantized, where an operand arrives as integers.
    sequences : dict
        cell -> (ONNX tensor with its outputs of all steps, whether the batch comes first there).
    inputs : dict
        Shapes of the model's inputs.
    flat
        The `ModelProto` with every branch that is taken written out.
    """

    model: Model
    network: Network
    weights: dict[str, dict[str, np.ndarray]]
    quantized: dict[str, dict[str, Quantized]]
    tensors: dict[str, str]
    operands: dict[tuple[str, int], Quantized]
    sequences: dict[str, tuple[str, bool]]
    inputs: dict[str, Dims]
    flat: Any


def import_onnx(
    path: str | Path,
    *,
    skip_unsupported: bool = False,
    batch: int | None = None,
    input_shapes: InputShapes | None = None,
    input_values: Mapping[str, Any] | None = None,
) -> tuple[Network, dict[str, dict[str, np.ndarray]]]:
    """Read an ONNX model (operator set 7 or newer).

    Parameters
    ----------
    path : str or Path
    skip_unsupported : bool
        Let data pass unchanged through operators that cannot be expressed, where shapes allow.
    batch : int, optional
        First dimension of the inputs, where the model leaves it open.
    input_shapes : mapping, optional
        Input name -> shape, where the model leaves dimensions open, or instead of what it says.
    input_values : mapping, optional
        Input name -> value, for inputs that decide about the graph (a sampling rate); they are no inputs of
        the network then.

    Returns
    -------
    network : Network
    weights : dict
        layer -> role -> array; see `Imported`. Arrays may be read-only views.

    Raises
    ------
    ConfigError
        A damaged file; a dynamic shape (names input and dimension, says how to give it); unsupported
        operators (one message with all of them); the onnx package is missing.
    """
    found = import_model(
        read_model(path), skip_unsupported=skip_unsupported, batch=batch, input_shapes=input_shapes,
        input_values=input_values,
    )  # fmt: skip
    return found.network, found.weights


def import_model(
    model: Model,
    *,
    skip_unsupported: bool = False,
    batch: int | None = None,
    input_shapes: InputShapes | None = None,
    input_values: Mapping[str, Any] | None = None,
) -> Imported:
    """As `import_onnx`, from an opened model, with what `capture` needs beside it."""
    return _Importer(model, skip_unsupported).run(batch, input_shapes or {}, input_values or {})


class _Importer:
    def __init__(self, model: Model, skip: bool) -> None:
        self.model, self.skip = model, skip
        self.proto_graph = model.proto.graph
        self.constants = {t.name: t for t in self.proto_graph.initializer}
        self.values: dict[str, Value] = {}
        self.graph = Graph(Path(model.name).stem, _consumers(self.proto_graph))
        self.faults: list[str] = []
        self.flat: list[Any] = []
        self.branches: list[Any] = []
        self.inferred: dict[str, Dims] | None = None

    def run(self, batch: int | None, given: InputShapes, known: Mapping[str, Any]) -> Imported:
        shapes = input_dims(self.model, batch, given, known)
        self.values.update({name: Const(np.asarray(value)) for name, value in known.items()})
        for name, dims in shapes.items():
            self.graph.where, self.graph.stem = f"{self.model.name}: input {name!r}", name
            self.values[name] = self.graph.add(ops.Input(dims or (1,)), shape=dims)
            self.graph.tensors[name] = name
        self._walk(self.proto_graph.node, 0)
        if self.faults:
            what = "cannot express these operators (skipped if you say so, where shapes allow):"
            raise ConfigError("\n  ".join([what, *self.faults]), self.model.name)
        outputs = [self._output(o.name) for o in self.proto_graph.output]
        network = self.graph.finish([o for o in outputs if o is not None], f"ONNX: {Path(self.model.name).name}")
        graph = self.graph
        return Imported(
            self.model, network, graph.weights, graph.quantized, graph.tensors, graph.operands,
            graph.sequences, shapes, self._flattened(),
        )  # fmt: skip

    def _flattened(self) -> Any:
        if not self.branches:
            return self.model.proto
        flat = type(self.model.proto)()
        flat.CopyFrom(self.model.proto)
        flat.graph.ClearField("node")
        flat.graph.node.extend(self.flat)
        for branch in self.branches:
            flat.graph.initializer.extend(branch.initializer)
        return flat

    def _output(self, name: str) -> Act | None:
        """A result of the network, under its ONNX shape; None if it is a constant."""
        value = self._value(name)
        if not isinstance(value, Act):
            return None
        self.graph.where, self.graph.stem = f"{self.model.name}: output {name!r}", name
        out = self.graph.plain(value)
        self.graph.tensors.setdefault(out.layer, name)
        return out

    def _value(self, name: str) -> Value | None:
        if not name:
            return None
        if name not in self.values:
            tensor = self.constants.get(name)
            if tensor is None:
                raise ConfigError(f"tensor {name!r} is read before it is written", self.model.name)
            array = self.model.array(tensor)
            self.values[name] = Const(array, _is_float(array))
        return self.values[name]

    def _walk(self, nodes: Any, depth: int) -> None:
        for node in nodes:
            results = self._convert(node, depth)
            if _key(node) != "If":
                self.flat.append(node)
            for i, name in enumerate(node.output):
                if name:
                    self.values[name] = results[i] if i < len(results) else Lost(f"output {i} of {_label(node)}")

    def _convert(self, node: Any, depth: int) -> list[Value]:
        graph, label = self.graph, _label(node)
        graph.where, graph.stem = f"{self.model.name}: node {label}", _stem(node)
        values: list[Const | Act | None] = []
        for name in node.input:
            value = self._value(name)
            if isinstance(value, Lost):
                return self._after_loss(node, value)
            values.append(value)
        try:
            attrs = attributes(node, self.model)
            if _key(node) == "If":
                return self._branch(node, values, attrs, depth)
            step = Step(graph, node.op_type, attrs, self.model.opset, list(node.input), values, list(node.output))
            results = self._apply(node, step)
        except Unsupported as reason:
            return self._unsupported(node, values, str(reason))
        except ConfigError:
            raise
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError) as error:
            what = f"its attributes and inputs do not fit: {type(error).__name__}: {error}"
            raise ConfigError(what, graph.where) from None
        for value, name in zip(results, node.output, strict=False):
            if not isinstance(value, Act):
                continue
            if prod(value.shape) != prod(graph.dims[value.layer]):
                what = f"its output {name!r} of shape {value.shape} has another number of elements"
                raise ConfigError(what, graph.where)
            if name and not step.keeps_tensor:
                graph.tensors[value.layer] = name
        return results

    def _after_loss(self, node: Any, lost: Lost) -> list[Value]:
        """A node behind one that cannot be expressed: only say whether it could be."""
        if _key(node) not in CONVERTERS and _key(node) not in FOLDS and node.op_type != "If":
            self.faults.append(f"{_label(node)}: {NO_OPERATOR}")
        elif not self.faults:
            self.faults.append(f"{_label(node)}: reads {lost.because}, which is not computed")
        return [lost] * len(node.output)

    def _apply(self, node: Any, step: Step) -> list[Value]:
        standard = _key(node) == node.op_type
        known = [v for v in step.values if v is not None]
        if standard and node.op_type in ("Shape", "Size") and isinstance(step.values[0], Act):
            dims = step.values[0].shape
            if node.op_type == "Size":
                return [Const(np.asarray(prod(dims), np.int64))]
            part = slice(step.attrs.get("start", 0), step.attrs.get("end"))
            return [Const(np.asarray(dims[part], np.int64))]
        if standard and all(isinstance(v, Const) for v in known) and node.op_type not in _OWN_FOLDING:
            fold = FOLDS.get(node.op_type)
            if fold is not None:
                arrays = [np.asarray(a) for a in fold(step.call)]
                learned = any(isinstance(v, Const) and v.learned for v in known) or node.op_type == "Constant"
                return [Const(a, learned and _is_float(a)) for a in arrays]
        converter = CONVERTERS.get(_key(node))
        if converter is None:
            raise Unsupported(NO_OPERATOR)
        return converter(step)

    def _branch(self, node: Any, values: list[Const | Act | None], attrs: dict[str, Any], depth: int) -> list[Value]:
        """An If whose condition is known: the branch taken becomes part of the graph."""
        condition = values[0]
        if not isinstance(condition, Const) or condition.array.size != 1:
            raise Unsupported("its condition is computed at run time")
        if depth >= MAX_BRANCHES:
            raise Unsupported("branches are nested too deeply")
        taken = attrs["then_branch" if bool(condition.array.reshape(-1)[0]) else "else_branch"]
        self.constants.update({t.name: t for t in taken.initializer})
        self.graph.consumers.update(_consumers(taken))
        self.branches.append(taken)
        self._walk(taken.node, depth + 1)
        make = require_onnx().helper.make_node
        self.flat += [make("Identity", [a.name], [b]) for a, b in zip(taken.output, node.output, strict=False) if b]
        return [self._value(o.name) or Lost(f"an output of {_label(node)}") for o in taken.output]

    def _unsupported(self, node: Any, values: list[Const | Act | None], reason: str) -> list[Value]:
        label = _label(node)
        source = next((v for v in values if isinstance(v, Act)), None)
        if not self.skip or source is None:
            self.faults.append(f"{label}: {reason}")
            return [Lost(f"the result of {label}")] * len(node.output)
        results: list[Value] = []
        for name in node.output:
            dims = self._inferred_shape(name) or source.shape
            if prod(dims) == prod(source.shape):
                results.append(Act(source.layer, dims))
                self.graph.tensors[source.layer] = name
            elif self.graph.consumers.get(name, 0):
                what = f"{label} cannot be skipped: its input has shape {source.shape}, its output {name!r} {dims}"
                raise ConfigError(what, self.model.name)
            else:
                results.append(Lost(f"output {name!r} of {label}"))
        return results

    def _inferred_shape(self, name: str) -> Dims | None:
        """What the model, or onnx's own inference, says about a tensor's shape."""
        if self.inferred is None:
            onnx = require_onnx()
            graph = self.proto_graph
            try:
                graph = onnx.shape_inference.infer_shapes(self.model.proto).graph
            except Exception:  # the model has operators that onnx does not know either
                pass
            infos = [*graph.value_info, *graph.output]
            self.inferred = {i.name: d for i in infos if (d := _static(i.type.tensor_type)) is not None}
        return self.inferred.get(name)


def _static(tensor_type: Any) -> Dims | None:
    if not tensor_type.HasField("shape"):
        return None
    dims = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor_type.shape.dim]
    return tuple(dims) if all(d > 0 for d in dims) else None


def _consumers(graph: Any) -> dict[str, int]:
    count: Counter[str] = Counter(o.name for o in graph.output)
    for node in all_nodes(graph):
        count.update(name for name in node.input if name)
        for attribute in node.attribute:
            count.update(o.name for inner in (attribute.g, *attribute.graphs) for o in inner.output)
    return count


def _key(node: Any) -> str:
    """The operator's name in CONVERTERS: with its domain, unless that is the standard one."""
    return str(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}")


def _label(node: Any) -> str:
    return f"{node.name!r} ({_key(node)})" if node.name else f"of output {_stem(node)!r} ({_key(node)})"


def _stem(node: Any) -> str:
    return str(node.name or next((o for o in node.output if o), node.op_type))


def _is_float(array: np.ndarray) -> bool:
    return array.size > 0 and array.dtype.kind == "f" or array.dtype.name == "bfloat16"
