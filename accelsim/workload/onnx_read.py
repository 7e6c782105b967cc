"""Opening ONNX files that strangers wrote: bounded size, no code, no file outside the model's own directory.

The only file that reads tensors and attributes out of protobuf messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError

MAX_MODEL_BYTES = 2**31 - 1  # protobuf's own limit for one message
MAX_EXTERNAL_BYTES = 64 * 2**30
MAX_NODES = 200_000
MAX_TENSOR_ELEMENTS = 2**32
OLDEST_OPSET = 7


def require_onnx() -> Any:
    """The `onnx` package.

    Raises
    ------
    ConfigError
        Naming the extra to install, if it is not there.
    """
    try:
        import onnx
    except ImportError:
        what = 'reading ONNX needs the onnx package: pip install "accelsim[onnx]"'
        raise ConfigError(what) from None
    return onnx


@dataclass
class Model:
    """A checked model.

    Attributes
    ----------
    proto
        The `onnx.ModelProto`, local functions inlined, external data not loaded.
    name : str
        The file's name, for messages.
    folder : Path
        Where external data lie.
    opset : int
        Version of the standard operator set.
    """

    proto: Any
    name: str
    folder: Path
    opset: int
    _mapped: dict[Path, np.memmap] = field(default_factory=dict)

    def array(self, tensor: Any) -> np.ndarray:
        """The values of a TensorProto, memory-mapped where they lie in an external file."""
        onnx = require_onnx()
        where = f"{self.name}: tensor {tensor.name!r}"
        if any(d < 0 for d in tensor.dims) or prod(tensor.dims) > MAX_TENSOR_ELEMENTS:
            raise ConfigError(f"dimensions {list(tensor.dims)} are negative or too large", where)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return self._external(tensor, where)
        try:
            return np.asarray(onnx.numpy_helper.to_array(tensor))
        except Exception as error:  # whatever numpy or protobuf think of hostile bytes
            raise ConfigError(f"its data do not fit its type and dimensions: {error}", where) from None

    def _external(self, tensor: Any, where: str) -> np.ndarray:
        onnx = require_onnx()
        info = {entry.key: entry.value for entry in tensor.external_data}
        path = _inside(self.folder, info.get("location", ""), where)
        try:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
            offset, length = int(info.get("offset", 0)), int(info.get("length", -1))
        except (KeyError, ValueError, TypeError):
            raise ConfigError("offset, length or type of its external data is not valid", where) from None
        needed = prod(tensor.dims) * dtype.itemsize
        if path not in self._mapped:
            if path.stat().st_size > MAX_EXTERNAL_BYTES:
                raise ConfigError(f"external data must be at most {MAX_EXTERNAL_BYTES} bytes", where)
            self._mapped[path] = np.memmap(path, np.uint8, "r")
        data = self._mapped[path]
        if offset < 0 or offset + needed > data.size or length not in (-1, needed):
            what = f"needs {needed} bytes at offset {offset} (length {length}) of {path.name}, which has {data.size}"
            raise ConfigError(what, where)
        return np.frombuffer(data.data, dtype, prod(tensor.dims), offset).reshape(tuple(tensor.dims))


def _inside(folder: Path, location: str, where: str) -> Path:
    """The external file `location`, which must lie in the model's folder, links followed."""
    root = folder.resolve()
    path = (root / location).resolve() if location and "\0" not in location else root
    if path == root or not path.is_relative_to(root):
        raise ConfigError(f"external data must lie in the model's own directory, got {location!r}", where)
    if not path.is_file() or path.stat().st_size == 0:
        raise ConfigError(f"external data file {location!r} is missing or empty", where)
    return path


def read_model(path: str | Path) -> Model:
    """Open an ONNX file and check its outline; tensors are not touched.

    Raises
    ------
    ConfigError
        The file is missing, too large, truncated or no ONNX; its operator set is too old or unknown.
    """
    onnx = require_onnx()
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            what = f"an ONNX file must be at most {MAX_MODEL_BYTES} bytes (larger weights go to external data)"
            raise ConfigError(f"{what}, got {size}", str(path))
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", str(path)) from None
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception:  # protobuf's DecodeError, of which there are several classes
        raise ConfigError("is no ONNX model, or is truncated", str(path)) from None
    return checked_model(proto, str(path), path.parent)


def checked_model(proto: Any, name: str, folder: Path) -> Model:
    """A `Model` from a ModelProto; raises as `read_model`."""
    onnx = require_onnx()
    if not proto.graph.node and not proto.graph.output:
        raise ConfigError("is no ONNX model, or is truncated: it has no graph", name)
    if len(proto.graph.node) > MAX_NODES:
        raise ConfigError(f"must have at most {MAX_NODES} nodes, got {len(proto.graph.node)}", name)
    _check_names(proto.graph, name)
    versions = {o.domain: o.version for o in proto.opset_import}
    opset = int(versions.get("", versions.get("ai.onnx", 0)))
    newest = int(onnx.defs.onnx_opset_version())
    if not OLDEST_OPSET <= opset <= newest:
        what = f"operator set must be {OLDEST_OPSET} to {newest} (installed: onnx {onnx.__version__}), got {opset}"
        raise ConfigError(what, name)
    if proto.graph.sparse_initializer:
        first = proto.graph.sparse_initializer[0].values.name
        raise ConfigError(f"sparse initialisers (the first is {first!r}) are not supported; store them densely", name)
    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    return Model(proto, name, folder, opset)


def all_nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph and of the graphs in its nodes' attributes."""
    stack = list(graph.node)
    while stack:
        node = stack.pop()
        yield node
        for item in node.attribute:
            for inner in [item.g, *item.graphs]:
                stack.extend(inner.node)


def _check_names(graph: Any, name: str) -> None:
    """protobuf hands out text that is no UTF-8 as bytes."""
    texts: list[Any] = [t.name for t in graph.initializer]
    texts += [i.name for i in [*graph.input, *graph.output]]
    texts += [d.dim_param for i in graph.input for d in i.type.tensor_type.shape.dim]
    for node in all_nodes(graph):
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    bad = next((t for t in texts if not isinstance(t, str)), None)
    if bad is not None:
        raise ConfigError(f"is damaged: the name {bad!r} is no UTF-8 text", name)


def attributes(node: Any, model: Model) -> dict[str, Any]:
    """A node's attributes as plain Python: int, float, str, lists of these, arrays; subgraphs as they are."""
    onnx = require_onnx()
    kinds = onnx.AttributeProto
    found: dict[str, Any] = {}
    for item in node.attribute:
        if item.type == kinds.TENSOR:
            found[item.name] = model.array(item.t)
        elif item.type == kinds.STRING:
            found[item.name] = item.s.decode("utf-8", "replace")
        elif item.type == kinds.STRINGS:
            found[item.name] = [s.decode("utf-8", "replace") for s in item.strings]
        elif item.type in (kinds.INTS, kinds.FLOATS):
            found[item.name] = list(item.ints if item.type == kinds.INTS else item.floats)
        elif item.type in (kinds.INT, kinds.FLOAT):
            found[item.name] = item.i if item.type == kinds.INT else item.f
        elif item.type == kinds.GRAPH:
            found[item.name] = item.g
    return found
