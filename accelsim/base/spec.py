"""Specs: what a user writes, declared once, checked before the first cycle, frozen afterwards."""

from __future__ import annotations

from typing import Any, TypeVar

import pydantic

from accelsim.base.errors import ConfigError, nearest
from accelsim.base.yamlio import Document, KeyPath, dotted

S = TypeVar("S", bound="Spec")


class Spec(pydantic.BaseModel):
    """Base of all specs: no unknown keys, no coercion between text and numbers, immutable."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def build(model: type[S], document: Document, path: KeyPath = (), data: Any = None) -> S:
    """Validate `document.data` at `path` (or `data`, which stands there) as `model`.

    Raises
    ------
    ConfigError
        One message that lists every fault with file, line, key, what it must be and what it is.
    """
    value = _at(document.data, path) if data is None else data
    if not isinstance(value, dict):
        raise ConfigError(f"must be a mapping, got {_short(value)}", document.where(path))
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        faults = _without_other_branches(value, error.errors())
        raise ConfigError("\n".join(_explain(model, document, path, value, e) for e in faults)) from None


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


_SAYS = {
    "missing": "is required but missing",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "none_required": "must be empty",
    "string_too_short": "must not be empty text",
    "invalid_key": "keys must be text",
    "finite_number": "must be a finite number",
}


def _explain(model: type[Spec], document: Document, prefix: KeyPath, value: Any, error: Any) -> str:
    loc = _location(value, error)
    path = (*prefix, *loc)
    where = document.where(path)
    if where.find(dotted(path)) < 0:
        where += f": {dotted(path)}"
    kind, ctx, got = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "extra_forbidden":
        known = _keys_at(model, loc[:-1])
        close = nearest(str(loc[-1]), known)
        hint = f"did you mean {' or '.join(close)}?" if close else "known keys: " + ", ".join(known)
        return f"{where}: unknown key; {hint}"
    if kind == "missing":
        return f"{document.where(path[:-1])}: key {loc[-1]!r} is required but missing"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        sign = {"greater_than_equal": ">=", "greater_than": ">", "less_than_equal": "<=", "less_than": "<"}[kind]
        limit = next(iter(ctx.values()))
        return f"{where}: must be {sign} {limit}, got {_short(got)}"
    if kind in ("literal_error", "enum"):
        return f"{where}: must be one of {ctx.get('expected')}, got {_short(got)}"
    if kind == "value_error":
        return f"{where}: {ctx['error']}"
    if kind == "too_short" or kind == "too_long":
        bound = f"at least {ctx['min_length']}" if kind == "too_short" else f"at most {ctx['max_length']}"
        return f"{where}: must have {bound} items, got {_short(got)}"
    text = _SAYS.get(kind, error["msg"][0].lower() + error["msg"][1:])
    return f"{where}: {text}, got {_short(got)}"


def _without_other_branches(value: Any, errors: list[Any]) -> list[Any]:
    """The errors without those of a union's branches that were not meant: "must be a mapping" of a number too large."""
    at = [_location(value, e) for e in errors]
    meant = [not e["type"].endswith("_type") for e in errors]

    def other(i: int) -> bool:
        return not meant[i] and any(
            found[: len(at[i])] == at[i] and (len(found) > len(at[i]) or meant[j]) for j, found in enumerate(at)
        )

    return [e for i, e in enumerate(errors) if not other(i)]


def _location(value: Any, error: Any) -> KeyPath:
    """The keys that lead to the fault; pydantic puts branches of unions ("int", "list[int]") between them."""
    kept: list[str | int] = []
    for part in error["loc"]:
        if isinstance(value, (dict, list)) and (part in value if isinstance(value, dict) else isinstance(part, int)):
            kept.append(part)
            value = value[part]
    if error["type"] == "missing":
        kept.append(error["loc"][-1])
    return tuple(kept)


def _keys_at(model: Any, path: KeyPath) -> list[str]:
    for part in path:
        if isinstance(part, int):
            continue
        fields = getattr(_model_in(model), "model_fields", None)
        # a key of a plain mapping of models leads to the model itself
        if fields is None or part in fields:
            model = fields[part].annotation if fields else None
    fields = getattr(_model_in(model), "model_fields", {})
    return [f.alias or name for name, f in fields.items()]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    for arg in getattr(annotation, "__args__", ()):
        found = _model_in(arg)
        if found is not None:
            return found
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
