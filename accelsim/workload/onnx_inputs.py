"""Shapes of an ONNX model's inputs: what the model says, what the user gives, and what is still open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.workload.onnx_read import Model
from accelsim.workload.shapes import Dims

InputShapes = Mapping[str, Sequence[int]]


def input_dims(
    model: Model, batch: int | None, given: InputShapes, known: Mapping[str, Any] | None = None
) -> dict[str, Dims]:
    """Shapes of the inputs that are neither initialisers nor known numbers.

    Raises
    ------
    ConfigError
        If a dimension is not known, or what is given does not fit the model.
    """
    graph = model.proto.graph
    weights = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in weights]
    known = known or {}
    for what, names in (("shape", given), ("value", known)):
        unknown = sorted(set(names) - {i.name for i in inputs})
        if unknown:
            listed = ", ".join(i.name for i in inputs)
            raise ConfigError(f"there is no input {unknown[0]!r} to give a {what} for; inputs: {listed}", model.name)
    inputs = [i for i in inputs if i.name not in known]
    if batch is not None and batch < 1:
        raise ConfigError(f"batch must be >= 1, got {batch}", model.name)
    symbols: dict[str, int] = {}
    for item in inputs:
        declared = item.type.tensor_type.shape.dim
        for dim, value in zip(declared, given.get(item.name, ()), strict=False):
            if dim.dim_param:
                symbols.setdefault(dim.dim_param, int(value))
    return {i.name: _dims_of(model, i, batch, given.get(i.name), symbols, len(inputs) == 1) for i in inputs}


def _dims_of(
    model: Model, item: Any, batch: int | None, given: Sequence[int] | None, symbols: dict[str, int], alone: bool
) -> Dims:
    where, kind = f"{model.name}: input {item.name!r}", item.type.tensor_type
    if not item.type.HasField("tensor_type") or (given is None and not kind.HasField("shape")):
        raise ConfigError(f"must be a tensor of known rank; give input_shapes={{{item.name!r}: (...)}}", where)
    declared = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if given is not None:
        dims = tuple(int(d) for d in given)
        if kind.HasField("shape") and len(dims) != len(declared):
            raise ConfigError(f"has {len(declared)} dimensions, but the shape given, {dims}, has {len(dims)}", where)
        if min(dims, default=1) < 1:
            raise ConfigError(f"every dimension must be >= 1, got {dims}", where)
        return dims
    found = []
    for i, (value, dim) in enumerate(zip(declared, kind.shape.dim, strict=True)):
        if i == 0 and batch is not None and (value is None or value < 1 or alone):
            value = batch
        if value is None or value < 1:
            value = symbols.get(dim.dim_param)
        if value is None:
            raise ConfigError(_dynamic(item.name, i, dim.dim_param, len(declared)), where)
        found.append(int(value))
    return tuple(found)


def _dynamic(name: str, index: int, symbol: str, rank: int) -> str:
    called = f" ({symbol!r})" if symbol else ""
    example = ", ".join("..." if i != index else symbol or "?" for i in range(rank))
    by_batch = "batch=... (--batch), or " if index == 0 else ""
    shape = f"input_shapes={{{name!r}: ({example})}} (--input-shape {name}=...)"
    return f"dimension {index}{called} is left open by the model; give {by_batch}{shape}"
