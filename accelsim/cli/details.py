"""`accelsim list KIND NAME`: one recipe, step or encoding in full."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from accelsim.base.spec import Spec
from accelsim.report.grid import Line

_PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "nothing"}


def details(kind: str, name: str) -> list[Line]:
    """Lines for the terminal.

    Raises
    ------
    ConfigError
        For a name that is none, with the nearest ones.
    """
    return [[(text, "")] for text in DETAILS[kind](name)]


def _recipe(name: str) -> list[str]:
    from accelsim.compress.recipe import find_recipe

    return find_recipe(name).read_text(encoding="utf-8").rstrip().splitlines()


def _step(name: str) -> list[str]:
    from accelsim.compress.base import STEPS

    step = STEPS.lookup(name)
    head = [f"step: {name}", f"objects: {', '.join(step.objects)}", ""]
    return [*head, *_documented(step, step.Params, "Keys in a recipe")]


def _encoding(name: str) -> list[str]:
    from accelsim.workload.encodings.base import ENCODINGS

    encoding = ENCODINGS.lookup(name)
    widths = encoding.widths
    shown = f"{widths[0]} to {widths[-1]}" if isinstance(widths, range) else ", ".join(map(str, widths))
    head = [f"encoding: {name}", f"bits: {shown}", ""]
    return [*head, *_documented(encoding, encoding.Params, "Parameters of `encode`")]


def _documented(cls: type, params: type[Spec], title: str) -> list[str]:
    """What the class says of itself and of its parameters, then a line for each of these."""
    rows = [(key, type_text(field.annotation), _default(field)) for key, field in params.model_fields.items()]
    lines = inspect.cleandoc(cls.__doc__ or "").splitlines()
    if params.__doc__ and "Params" in cls.__dict__:
        lines += ["", *inspect.cleandoc(params.__doc__).splitlines()]
    if not rows:
        return [*lines, "", f"{title}: none"]
    wide = [max(len(row[i]) for row in rows) for i in (0, 2)]
    return [*lines, "", title, *(f"  {key:<{wide[0]}}  {default:<{wide[1]}}  {text}" for key, text, default in rows)]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def type_text(annotation: Any) -> str:
    """A type in words: Literal["a", "b"] is "a or b", a number or one for each layer is "number, or by layer"."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(args[0])
    if origin is Literal:
        words = [str(word) for word in args]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if origin in (Union, types.UnionType):
        parts = [arg for arg in args if arg is not type(None)]
        inner = [arg for arg in parts if get_origin(arg) is not dict]
        text = " or ".join(dict.fromkeys(type_text(arg) for arg in inner))
        return f"{text}, or by layer" if len(inner) < len(parts) else text
    if origin in (list, tuple):
        return f"list of {type_text(args[0])}"
    if origin is dict:
        return f"{type_text(args[1])} by name"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


DETAILS: dict[str, Callable[[str], list[str]]] = {"recipes": _recipe, "steps": _step, "encodings": _encoding}
