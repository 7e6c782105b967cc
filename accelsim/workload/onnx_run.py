"""Running an ONNX model with onnxruntime, any of its tensors as outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.workload.onnx_read import Model, require_onnx
from accelsim.workload.shapes import Dims

MAX_LOADED_BYTES = 2**31 - 2**20  # a model in memory is one protobuf message


def require_onnxruntime() -> Any:
    """The `onnxruntime` package.

    Raises
    ------
    ConfigError
        Naming the extra to install, if it is not there.
    """
    try:
        import onnxruntime
    except ImportError:
        what = 'running a model needs the onnxruntime package: pip install "accelsim[onnx]"'
        raise ConfigError(what) from None
    return onnxruntime


class Session:
    """A model with its inputs; one thread, so that a run is as repeatable as the machine allows.

    Parameters
    ----------
    model : Model
    proto
        The `ModelProto` to run, of the same model.
    shapes : mapping
        Shape of each input.
    inputs : mapping or None
        Input name -> array; None for normally distributed numbers.

    Raises
    ------
    ConfigError
        An input is missing or of the wrong type; onnxruntime is missing.
    """

    def __init__(
        self, model: Model, proto: Any, shapes: Mapping[str, Dims], inputs: Mapping[str, np.ndarray] | None
    ) -> None:
        self.ort = require_onnxruntime()
        self.model = model
        self.feeds = _feeds(model, shapes, inputs)
        self.proto = _loaded(model, proto)

    def run(self, names: list[str]) -> dict[str, np.ndarray]:
        """The values of these tensors.

        Raises
        ------
        ConfigError
            If onnxruntime refuses the model or fails in it.
        """
        onnx = require_onnx()
        found = {name: self.feeds[name] for name in names if name in self.feeds}
        wanted = [name for name in names if name not in found]
        if not wanted:
            return found
        proto = type(self.proto)()
        proto.CopyFrom(self.proto)
        proto.graph.ClearField("output")
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        found.update(self.compiled(proto)(self.feeds, wanted))
        return found

    def compiled(self, proto: Any = None) -> Callable[[Mapping[str, np.ndarray], list[str] | None], dict[str, Any]]:
        """The model (or another) ready to run: a function of inputs and names of outputs (None: all)."""
        options = self.ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = self.ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            data = (self.proto if proto is None else proto).SerializeToString()
            session = self.ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each kind of failure
            raise self._refused(error) from None
        inputs = {i.name for i in session.get_inputs()}
        outputs = [o.name for o in session.get_outputs()]

        def run(feeds: Mapping[str, np.ndarray], names: list[str] | None) -> dict[str, Any]:
            names = outputs if names is None else names
            try:
                values = session.run(names, {k: v for k, v in feeds.items() if k in inputs})
            except Exception as error:
                raise self._refused(error) from None
            return dict(zip(names, map(np.asarray, values), strict=True))

        return run

    def _refused(self, error: Exception) -> ConfigError:
        return ConfigError(f"onnxruntime cannot run the model: {str(error)[:500]}", self.model.name)


def _feeds(
    model: Model, shapes: Mapping[str, Dims], inputs: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    onnx = require_onnx()
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.proto.graph.input}
    feeds = {}
    for number, (name, dims) in enumerate(shapes.items()):
        where, dtype = f"{model.name}: input {name!r}", np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kinds[name]))
        if inputs is None:
            rng = np.random.Generator(np.random.Philox(key=number))
            if dtype.kind != "f":
                raise ConfigError(f"is of type {dtype}, for which no input can be made up: give one", where)
            feeds[name] = rng.standard_normal(dims).astype(dtype)
        elif name not in inputs:
            raise ConfigError("is missing among the given inputs", where)
        else:
            value = np.asarray(inputs[name])
            if value.dtype != dtype and not np.can_cast(value.dtype, dtype, "same_kind"):
                raise ConfigError(f"must be {dtype}, got {value.dtype}", where)
            feeds[name] = np.ascontiguousarray(value, dtype)
    return feeds


def _loaded(model: Model, given: Any) -> Any:
    """The model with its external data inside."""
    onnx = require_onnx()
    outside = [t for t in given.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        return given
    arrays = [model.array(t) for t in outside]
    total = sum(a.nbytes for a in arrays) + given.ByteSize()
    if total > MAX_LOADED_BYTES:
        raise ConfigError(f"with its weights must be below {MAX_LOADED_BYTES} bytes to be run, got {total}", model.name)
    proto = type(given)()
    proto.CopyFrom(given)
    inside = {t.name: t for t in proto.graph.initializer}
    for tensor, array in zip(outside, arrays, strict=True):
        inside[tensor.name].CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    return proto
