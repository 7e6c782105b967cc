"""Which layers a step is for.

A selector is one item or a list of items, whose union it means; an item that begins with `!` takes away.

    layers: conv2                  a name
    layers: "conv*"                a pattern (*, ?, [..])
    layers: kind:linear            all layers of a kind
    layers: [first, last]          the first and the last layer that has the operand
    layers: middle                 all but these two
    layers: ["*", "!fc8"]          all but fc8

A layer that is really called `first`, `last` or `middle` wins over the word.

A parameter that may differ from layer to layer is one value, or a mapping from selectors to values:

    density: {conv1: 0.84, "conv*": 0.36, else: 0.1}

The first item that is the layer's very name counts, then the first pattern in the order written, then `else`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, Union

from accelsim.base.errors import ConfigError, nearest
from accelsim.workload.network import Layer

T = TypeVar("T")

Selector: TypeAlias = str | list[str]
PerLayer: TypeAlias = Union[T, dict[str, T]]

_PLACES: dict[str, Callable[[int, int], bool]] = {
    "first": lambda i, n: i == 0,
    "last": lambda i, n: i == n - 1,
    "middle": lambda i, n: 0 < i < n - 1,
}
_WILD = "*?["


def choose(selector: Selector, layers: Sequence[Layer], where: str) -> list[str]:
    """Names of the chosen layers, in the network's order.

    Parameters
    ----------
    selector : str or list of str
    layers : sequence of Layer
        Those that have the operand in question.
    where : str
        Prefix of errors.

    Raises
    ------
    ConfigError
        If an item matches no layer: offers the nearest name and lists what there is.
    """
    items = [selector] if isinstance(selector, str) else list(selector)
    positive = [item for item in items if not item.startswith("!")]
    chosen = {layer.name for layer in layers} if items and not positive else set()
    for item in items:
        found = matches(item.removeprefix("!"), layers)
        if not found:
            raise _nothing(item, layers, where)
        if item.startswith("!"):
            chosen -= set(found)
        else:
            chosen |= set(found)
    if not chosen:
        raise ConfigError(f"layers {selector!r} chooses nothing", where)
    return [layer.name for layer in layers if layer.name in chosen]


def matches(item: str, layers: Sequence[Layer]) -> list[str]:
    """Names that one item (without `!`) means."""
    names = [layer.name for layer in layers]
    if item in names:
        return [item]
    if item in _PLACES:
        return [name for i, name in enumerate(names) if _PLACES[item](i, len(names))]
    if item.startswith("kind:"):
        return [layer.name for layer in layers if fnmatch.fnmatchcase(layer.kind, item.removeprefix("kind:"))]
    return [name for name in names if any(c in item for c in _WILD) and fnmatch.fnmatchcase(name, item)]


def per_layer(value: Any, layer: str, where: str) -> Any:
    """The value of a parameter for one layer.

    Raises
    ------
    ConfigError
        If it is a mapping that says nothing about this layer.
    """
    if not isinstance(value, Mapping):
        return value
    if layer in value:
        return value[layer]
    for pattern, found in value.items():
        if any(c in pattern for c in _WILD) and fnmatch.fnmatchcase(layer, pattern):
            return found
    if "else" in value:
        return value["else"]
    raise ConfigError(f"must say something about layer {layer!r} (or have `else`); has {', '.join(value)}", where)


def _nothing(item: str, layers: Sequence[Layer], where: str) -> ConfigError:
    names = [layer.name for layer in layers]
    close = nearest(item, names)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    listed = ", ".join(names[:60]) + (f" and {len(names) - 60} more" if len(names) > 60 else "")
    return ConfigError(f"layers {item!r} matches no layer; {hint}layers: {listed or 'none has this operand'}", where)
