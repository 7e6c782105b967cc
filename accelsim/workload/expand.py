"""Expansion of a network file: blocks, repeats and `${...}` become a plain list of nodes (see `netfile`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.base.errors import ConfigError, nearest, unknown_name
from accelsim.base.expr import evaluate
from accelsim.base.spec import Spec
from accelsim.base.yamlio import Document, KeyPath
from accelsim.workload.fields import rules_of
from accelsim.workload.network import Node
from accelsim.workload.ops import OPS, Input, Op

MAX_STEPS = 20_000
"""Layers, instances of blocks and left-out layers that one file may expand to."""
MAX_NESTING = 12
MAX_TEXT = 300

Scalar = bool | int | float | str


class BlockSpec(Spec):
    """Layers that can be used several times."""

    needs: list[str] = []
    defaults: dict[str, Scalar | list[Scalar]] = {}
    inputs: list[str] = ["input"]
    layers: list[dict[str, Any]]
    output: str | None = None


@dataclass
class _Frame:
    """Where names are looked up while one list of layers is expanded.

    `scope` maps the names that a `from` may use to names of nodes; `values` those of `${...}`.
    """

    prefix: str
    values: dict[str, Any]
    scope: dict[str, str]
    previous: str | None
    blocks: tuple[str, ...]


_LETTERS = "of at most 100 letters, digits, _, /, + and -"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_/+-]{0,99}")
_WHOLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^{}]*)\})")
_PART = re.compile(r"\$\{([^{}]*)\}")
_COMMON = ("name", "from", "when")
_OF_USE = ("use", *_COMMON, "with", "repeat")
_INDEX = "i"


class Expander:
    """Turns the layers of one file into nodes.

    Parameters
    ----------
    document : Document
        The file, for the places of its keys.
    blocks : mapping of str to BlockSpec
    variables : mapping
        Values of the file's variables.
    """

    def __init__(self, document: Document, blocks: Mapping[str, BlockSpec], variables: Mapping[str, Any]) -> None:
        self.document = document
        self.blocks = blocks
        self.variables = dict(variables)
        self.nodes: list[Node] = []
        self.steps = 0
        self._ops: dict[str, type[Op]] = {}
        self._places: dict[KeyPath, str] = {}

    def expand(self, inputs: Mapping[str, Sequence[int | str]], layers: list[dict[str, Any]]) -> list[Node]:
        """All nodes, in the order of the file.

        Raises
        ------
        ConfigError
            With file, line, column and key.
        """
        frame = _Frame("", self.variables, {}, None, ())
        for name, dims in inputs.items():
            self._input(name, list(dims), ("inputs", name), frame)
        if len(frame.scope) != 1:
            frame.previous = None  # the first layer has to say which input it reads
        self._list(layers, ("layers",), frame)
        return self.nodes

    def _input(self, name: str, dims: list[int | str], path: KeyPath, frame: _Frame) -> None:
        rule = rules_of(Input)["shape"]
        shape = self._value(dims, path, frame)
        if not rule.accepts(shape):
            raise ConfigError(f"must be {rule.text}, got {_shown(shape)}", self._place(path))
        if not _NAME.fullmatch(name):
            raise ConfigError(f"must be a name {_LETTERS}", self._place(path))
        self.nodes.append(Node(name, Input(shape), (), f"{self._place(path)} ({name})"))
        self._bind(name, name, path, frame)

    def _list(self, items: list[dict[str, Any]], path: KeyPath, frame: _Frame) -> None:
        if not items:
            raise ConfigError("must have at least one layer", self.document.where(path))
        for index, item in enumerate(items):
            here = (*path, index)
            self._step(here, frame)
            if "use" in item:
                self._use(item, here, frame)
            elif "op" in item:
                self._op_layer(item, here, frame)
            else:
                hint = nearest(str(next(iter(item), "")), ("op", "use"))
                raise ConfigError(
                    "a layer needs the key 'op' (an operator) or 'use' (a block)"
                    + (f"; did you mean {hint[0]}?" if hint else f", got {', '.join(map(repr, item))}"),
                    self._where(here, frame),
                )

    def _step(self, path: KeyPath, frame: _Frame) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise ConfigError(f"the file must expand to at most {MAX_STEPS} layers", self._where(path, frame))

    # --- one operator ---

    def _op_layer(self, item: dict[str, Any], path: KeyPath, frame: _Frame) -> None:
        op = self._operator(item, path, frame)
        rules = rules_of(op)
        fields: dict[str, Any] = {}
        for key, value in item.items():
            if key in rules:
                value = self._value(value, (*path, key), frame)
                if not rules[key].accepts(value):
                    where = self._where((*path, key), frame)
                    raise ConfigError(f"must be {rules[key].text}, got {_shown(value)}", where)
                fields[key] = value
            elif key != "op" and key not in _COMMON:
                raise self._unknown_key(key, (*path, key), ["op", *_COMMON, *rules], frame)
        for key, rule in rules.items():
            if rule.required and key not in fields:
                raise ConfigError(f"key {key!r} is required but missing", self._where(path, frame))
        default = fields.get("mode", getattr(op, "mode", "")) if op.kind == "activation" else op.kind
        name = self._name(item, path, frame, str(default))
        inputs = self._inputs(item, path, frame, op.inputs_max)
        if self._left_out(item, path, frame, inputs):
            self._bind(name, inputs[0], path, frame)
            return
        full = frame.prefix + name
        self.nodes.append(Node(full, op(**fields), inputs, f"{self._place(path)} ({full})"))
        self._bind(name, full, path, frame)

    def _operator(self, item: dict[str, Any], path: KeyPath, frame: _Frame) -> type[Op]:
        kind = item["op"]
        if not isinstance(kind, str):
            raise ConfigError(f"must be the name of an operator, got {_shown(kind)}", self._where((*path, "op"), frame))
        if kind not in self._ops:
            self._ops[kind] = OPS.lookup(kind, self._where((*path, "op"), frame))
        return self._ops[kind]

    def _name(self, item: dict[str, Any], path: KeyPath, frame: _Frame, default: str) -> str:
        if "name" in item:
            name = item["name"]
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                where = self._where((*path, "name"), frame)
                raise ConfigError(f"must be a name {_LETTERS}, got {_shown(name)}", where)
            return name
        name, count = default, 1
        while name in frame.scope:
            count += 1
            name = f"{default}_{count}"
        return name

    def _bind(self, name: str, node: str, path: KeyPath, frame: _Frame) -> None:
        if name in frame.scope:
            where = self._where((*path, "name"), frame)
            raise ConfigError(f"the name {name!r} is used twice", where)
        frame.scope[name] = frame.previous = node

    def _inputs(self, item: dict[str, Any], path: KeyPath, frame: _Frame, most: int) -> tuple[str, ...]:
        if "from" not in item:
            if most == 0:
                return ()
            if frame.previous is None:
                raise ConfigError("key 'from' is required but missing: no single input", self._where(path, frame))
            return (frame.previous,)
        named = self._value(item["from"], (*path, "from"), frame)
        names = named if isinstance(named, tuple) else (named,)
        found = []
        for name in names:
            if not isinstance(name, str):
                what = f"must be the name of a layer or a list of names, got {_shown(name)}"
                raise ConfigError(what, self._where((*path, "from"), frame))
            if name not in frame.scope:
                raise unknown_name("layer", name, frame.scope, self._where((*path, "from"), frame))
            found.append(frame.scope[name])
        return tuple(found)

    def _left_out(self, item: dict[str, Any], path: KeyPath, frame: _Frame, inputs: tuple[str, ...]) -> bool:
        if "when" not in item:
            return False
        value = self._value(item["when"], (*path, "when"), frame)
        if not isinstance(value, bool):
            raise ConfigError(f"must be true or false, got {_shown(value)}", self._where((*path, "when"), frame))
        if not value and not inputs:
            raise ConfigError("only a layer that reads another can be left out", self._where((*path, "when"), frame))
        return not value

    # --- instances of a block ---

    def _use(self, item: dict[str, Any], path: KeyPath, frame: _Frame) -> None:
        for key in item:
            if key not in _OF_USE:
                raise self._unknown_key(key, (*path, key), list(_OF_USE), frame)
        kind = self._block_name(item, path, frame)
        name = self._name(item, path, frame, kind)
        inputs = self._inputs(item, path, frame, 1)
        if self._left_out(item, path, frame, inputs):
            self._bind(name, inputs[0], path, frame)
            return
        repeat = self._value(item.get("repeat", 1), (*path, "repeat"), frame)
        if type(repeat) is not int or repeat < 1:
            raise ConfigError(f"must be an integer >= 1, got {_shown(repeat)}", self._where((*path, "repeat"), frame))
        result = ""
        for index in range(repeat):
            self._step(path, frame)
            prefix = f"{frame.prefix}{name}." + (f"{index}." if "repeat" in item else "")
            result = self._instance(item, path, frame, prefix, index, inputs)
            inputs = (result, *inputs[1:])
            if "repeat" in item:
                frame.scope[f"{name}.{index}"] = result
        self._bind(name, result, path, frame)

    def _block_name(self, item: dict[str, Any], path: KeyPath, frame: _Frame) -> str:
        kind = item["use"]
        known = isinstance(kind, str) and kind in self.blocks
        if known and kind not in frame.blocks and len(frame.blocks) < MAX_NESTING:
            return str(kind)
        where = self._where((*path, "use"), frame)
        if not isinstance(kind, str):
            raise ConfigError(f"must be the name of a block, got {_shown(kind)}", where)
        if kind not in self.blocks:
            raise unknown_name("block", kind, self.blocks, where)
        chain = " > ".join((*frame.blocks, kind))
        raise ConfigError(f"blocks may not use themselves, nor nest more than {MAX_NESTING} deep: {chain}", where)

    def _instance(
        self, item: dict[str, Any], path: KeyPath, frame: _Frame, prefix: str, index: int, inputs: tuple[str, ...]
    ) -> str:
        kind: str = item["use"]
        block = self.blocks[kind]
        if len(inputs) != len(block.inputs):
            where = self._where((*path, "from" if "from" in item else "use"), frame)
            raise ConfigError(f"block {kind} reads {len(block.inputs)} layers, got {len(inputs)}", where)
        values = self._arguments(item, path, frame, index)
        scope = dict(zip(block.inputs, inputs, strict=True))
        inner = _Frame(prefix, values, scope, inputs[0] if inputs else None, (*frame.blocks, kind))
        self._list(block.layers, ("blocks", kind, "layers"), inner)
        if block.output is not None:
            if block.output not in scope:
                raise unknown_name("layer", block.output, scope, self._where(("blocks", kind, "output"), inner))
            return scope[block.output]
        assert inner.previous is not None
        return inner.previous

    def _arguments(self, item: dict[str, Any], path: KeyPath, frame: _Frame, index: int) -> dict[str, Any]:
        block = self.blocks[item["use"]]
        given = item.get("with") or {}
        if not isinstance(given, dict):
            raise ConfigError(f"must be a mapping, got {_shown(given)}", self._where((*path, "with"), frame))
        known = [*block.needs, *block.defaults]
        outer = _Frame(frame.prefix, frame.values, frame.scope, frame.previous, frame.blocks)
        if "repeat" in item:
            outer.values = {**frame.values, _INDEX: index}
        values = {**self.variables, _INDEX: index}
        for key, value in given.items():
            if key not in known:
                raise self._unknown_key(key, (*path, "with", key), known, frame)
            values[key] = self._value(value, (*path, "with", key), outer)
        for key in block.needs:
            if key not in given:
                raise ConfigError(f"block {item['use']} needs {key!r}", self._where((*path, "with"), frame))
        inner = _Frame(frame.prefix, values, {}, None, ())
        for key, value in block.defaults.items():
            if key not in given:
                values[key] = self._value(value, ("blocks", item["use"], "defaults", key), inner)
        return values

    # --- values and messages ---

    def _value(self, value: Any, path: KeyPath, frame: _Frame) -> Any:
        """`value` with every `$name` and `${...}` in it evaluated, lists as tuples."""
        if not isinstance(value, (str, list)):
            return value
        try:
            return _resolved(value, frame.values)
        except ConfigError as error:
            raise ConfigError(str(error), self._where(path, frame)) from None

    def _where(self, path: KeyPath, frame: _Frame) -> str:
        inside = f" (in {frame.prefix[:-1]})" if frame.prefix else ""
        return self._place(path) + inside

    def _place(self, path: KeyPath) -> str:
        if path not in self._places:
            self._places[path] = self.document.where(path)
        return self._places[path]

    def _unknown_key(self, key: Any, path: KeyPath, known: list[str], frame: _Frame) -> ConfigError:
        close = nearest(str(key), known)
        hint = f"did you mean {' or '.join(close)}?" if close else "known keys: " + ", ".join(known)
        return ConfigError(f"unknown key; {hint}", self._where(path, frame))


def _resolved(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_resolved(v, names) for v in value)
    if not isinstance(value, str) or "$" not in value:
        return value
    whole = _WHOLE.fullmatch(value)
    if whole:
        text = whole[1] if whole[1] is not None else whole[2].strip()
        return names[text] if text in names else evaluate(text, names)
    result = _PART.sub(lambda match: str(evaluate(match[1], names)), value)
    if len(result) > MAX_TEXT:
        raise ConfigError(f"text must be at most {MAX_TEXT} characters, got {len(result)}")
    return result


def _shown(value: Any) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else text[:57] + "..."
