"""A network as plain JSON data and back, without loss: the form in which a trace carries its network."""

from __future__ import annotations

from typing import Any

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.units import INT63
from accelsim.workload.fields import rules_of
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import OPS

MAX_NODES = 100_000
MAX_RANK = 16
"""Longest list that a field of an operator may hold; with 63-bit members its product stays below 2**1024."""
MAX_NAME = 500
MAX_SOURCE = 100_000

_NETWORK_KEYS = ("name", "source", "nodes")
_NODE_KEYS = ("name", "kind", "inputs", "fields")


def network_to_json(network: Network) -> dict[str, Any]:
    """`{"name", "source", "nodes": [{"name", "kind", "inputs", "fields"}, ...]}`, every field written out.

    Fields that have their default are written too, so that a later default cannot change an old file.
    """
    nodes = []
    for node in network.nodes:
        fields = {}
        for name in rules_of(type(node.op)):
            value = getattr(node.op, name)
            fields[name] = list(value) if isinstance(value, tuple) else value
        nodes.append({"name": node.name, "kind": node.op.kind, "inputs": list(node.inputs), "fields": fields})
    return {"name": network.name, "source": network.source, "nodes": nodes}


def network_from_json(data: Any, where: str = "network") -> Network:
    """The network that `network_to_json` wrote.

    Parameters
    ----------
    data
        What a JSON parser gave; nothing about it is taken for granted.
    where : str
        Prefix of every error message.

    Raises
    ------
    ConfigError
        Naming the node and the key of what is wrong.
    """
    _keys(data, _NETWORK_KEYS, where)
    name = _text(data["name"], f"{where}.name")
    source = data["source"]
    if not isinstance(source, str) or len(source) > MAX_SOURCE:
        raise ConfigError(f"must be text of at most {MAX_SOURCE} characters, got {_short(source)}", f"{where}.source")
    items = data["nodes"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_NODES:
        count = len(items) if isinstance(items, list) else _short(items)
        raise ConfigError(f"must be a list of 1 to {MAX_NODES} nodes, got {count}", f"{where}.nodes")
    return Network(name, [_node(item, f"{where}.nodes[{i}]") for i, item in enumerate(items)], source)


def _node(item: Any, where: str) -> Node:
    _keys(item, _NODE_KEYS, where)
    name = _text(item["name"], f"{where}.name")
    where = f"{where} ({name})"
    inputs = item["inputs"]
    if not isinstance(inputs, list):
        raise ConfigError(f"must be a list of names, got {_short(inputs)}", f"{where}.inputs")
    names = tuple(_text(n, f"{where}.inputs[{i}]") for i, n in enumerate(inputs))
    kind = OPS.lookup(_text(item["kind"], f"{where}.kind"), f"{where}.kind")
    rules, fields = rules_of(kind), item["fields"]
    if not isinstance(fields, dict):
        raise ConfigError(f"must be a mapping, got {_short(fields)}", f"{where}.fields")
    for key in fields:
        if key not in rules:
            raise unknown_name("field", key, rules, f"{where}.fields")
    for key, rule in rules.items():
        if rule.required and key not in fields:
            raise ConfigError(f"key {key!r} is required but missing", f"{where}.fields")
    values = {key: _value(value, f"{where}.fields.{key}") for key, value in fields.items()}
    try:
        return Node(name, kind(**values), names, where)
    except ConfigError as error:
        raise ConfigError(str(error), where) from None


def _value(value: Any, where: str) -> Any:
    if isinstance(value, list):
        if len(value) > MAX_RANK:
            raise ConfigError(f"must have at most {MAX_RANK} members, got {len(value)}", where)
        return tuple(_value(v, where) for v in value) if not any(isinstance(v, list) for v in value) else value
    if isinstance(value, int) and not -INT63 <= value <= INT63:
        raise ConfigError("must fit 63 bits", where)
    return value


def _keys(data: Any, wanted: tuple[str, ...], where: str) -> None:
    if not isinstance(data, dict):
        raise ConfigError(f"must be a mapping, got {_short(data)}", where)
    for key in data:
        if key not in wanted:
            raise unknown_name("key", key, wanted, where)
    for key in wanted:
        if key not in data:
            raise ConfigError(f"key {key!r} is required but missing", where)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise ConfigError(f"must be printable text of 1 to {MAX_NAME} characters, got {_short(value)}", where)
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
