"""What the fields of an operator may hold, declared where the field is, checked in Python and in YAML alike.

`channels: int = limited(least=1)` in an operator's dataclass says that the key `channels` is required
and an integer of at least 1; the type says the rest. One message for both uses: "must be ..., got ...".
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_DIMENSIONS = 16
_REQUIRED: Any = dataclasses.MISSING


def limited(default: Any = _REQUIRED, *, least: int | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field whose integers are at least `least` and whose text is one of `choices`."""
    return dataclasses.field(default=default, metadata={"least": least, "choices": choices})


@dataclass(frozen=True)
class Rule:
    """What one field accepts, and how to say so."""

    text: str
    accepts: Callable[[Any], bool]
    required: bool


_RULES: dict[type, dict[str, Rule]] = {}


def rules_of(owner: type) -> dict[str, Rule]:
    """For each field of a dataclass its rule, from its type and its `limited(...)`."""
    found = _RULES.get(owner)
    if found is None:
        found = _RULES[owner] = _rules(owner)
    return found


def _rules(owner: type) -> dict[str, Rule]:
    hints = typing.get_type_hints(owner)
    found = {}
    for item in dataclasses.fields(owner):
        branches = _branches(hints[item.name])
        least, choices = item.metadata.get("least"), item.metadata.get("choices", ())
        parts = [_part(branch, least, choices) for branch in branches]
        texts = [text for text, _ in parts]
        text = texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " or " + texts[-1]
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        found[item.name] = Rule(text, _either([accepts for _, accepts in parts]), required)
    return found


def _either(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def _branches(hint: Any) -> tuple[Any, ...]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return typing.get_args(hint)
    return (hint,)


def _part(hint: Any, least: int | None, choices: tuple[str, ...]) -> tuple[str, Callable[[Any], bool]]:
    above = "" if least is None else f" >= {least}"
    if hint is bool:
        return "true or false", lambda value: isinstance(value, bool)
    if hint is int:
        return f"an integer{above}", lambda value: _is_int(value, least)
    if hint is str and choices:
        quoted = [f'"{choice}"' for choice in choices]
        text = quoted[0] if len(quoted) == 1 else "one of " + ", ".join(quoted)
        return text, lambda value: isinstance(value, str) and value in choices
    if hint is str:
        return "text", lambda value: isinstance(value, str)
    if hint is type(None):
        return "empty", lambda value: value is None
    if typing.get_origin(hint) is tuple:
        sizes = typing.get_args(hint)
        count = -1 if sizes[-1] is Ellipsis else len(sizes)
        text = f"a list of {f'at most {MAX_DIMENSIONS}' if count < 0 else count} integers{above}"
        return text, lambda value: _is_list(value, count, least)
    raise TypeError(f"no rule for a field of type {hint}")


def _is_int(value: Any, least: int | None) -> bool:
    return type(value) is int and (least is None or value >= least)


def _is_list(value: Any, count: int, least: int | None) -> bool:
    if not isinstance(value, tuple) or count not in (-1, len(value)) or len(value) > MAX_DIMENSIONS:
        return False
    return all(_is_int(v, least) for v in value)
