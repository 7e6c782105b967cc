"""Networks as JSON: nothing is lost, and nothing that a stranger wrote gets through unchecked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accelsim.base.errors import ConfigError
from accelsim.base.paths import find, shipped_names
from accelsim.workload import ops, ops_windows
from accelsim.workload.netfile import load_network_file
from accelsim.workload.netjson import network_from_json, network_to_json
from accelsim.workload.network import Network, Node


def copy(network: Network) -> Network:
    return network_from_json(json.loads(json.dumps(network_to_json(network))))


def small() -> Network:
    return Network("small", [Node("x", ops.Input((1, 2, 5, 5))), Node("c", ops.Conv(3, (3, 1)), ("x",))], "here")


@pytest.mark.parametrize("name", ["lenet5", "googlenet", "densenet40", "resnet50"])
def test_shipped_networks_survive(name: str) -> None:
    if name not in shipped_names("workloads"):
        pytest.skip(f"{name} is not shipped")
    network = load_network_file(find(name, "workloads", "workload"))
    back = copy(network)
    assert (back.name, back.source) == (network.name, network.source)
    assert back.layers == network.layers
    assert (back.params, back.macs) == (network.params, network.macs)


def test_every_kind_of_field_survives() -> None:
    x = Node("x", ops.Input((2, 4, 8, 8)))
    nodes = [
        x,
        Node("c", ops.Conv(4, 3, pad="same", dilation=(1, 2), groups=2, bias=False), ("x",)),
        Node("p", ops.Pool("avg", "global"), ("c",)),
        Node("q", ops.Pool(kernel=2, stride=None, pad=(0, 1), ceil=True), ("c",)),
        Node("z", ops_windows.Padding((0, 0, 1, 0), (0, 0, 0, 2)), ("c",)),
        Node("r", ops.Reshape((0, -1)), ("p",)),
        Node("l", ops.Linear(6, tied=True), ("r",)),
        Node("up", ops.Upsample(size=(9, 9)), ("q",)),
        Node("name/with: ünicode", ops.Activation("relu6"), ("l",)),
    ]
    network = Network("fields", nodes)
    assert copy(network).layers == network.layers


def changed(**changes: Any) -> dict[str, Any]:
    data = network_to_json(small())
    data["nodes"][1].update(changes)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"network: must be a mapping, got \[\]"),
        ({"name": "x"}, "key 'source' is required but missing"),
        ({**network_to_json(small()), "nodez": 1}, "unknown key 'nodez'; did you mean nodes"),
        ({**network_to_json(small()), "nodes": []}, "nodes: must be a list of 1 to 100000 nodes, got 0"),
        ({**network_to_json(small()), "name": "a\nb"}, "name: must be printable text"),
        ({**network_to_json(small()), "source": 5}, "source: must be text"),
        (changed(kind="convv"), r"nodes\[1\] \(c\).kind: unknown operator 'convv'; did you mean conv"),
        (changed(kind=["conv"]), "kind: must be printable text"),
        (changed(name=""), r"nodes\[1\].name: must be printable text"),
        (changed(inputs="x"), "inputs: must be a list of names, got 'x'"),
        (changed(inputs=["y"]), "unknown input 'y'"),
        (changed(fields=[]), r"fields: must be a mapping, got \[\]"),
        (changed(fields={"chanels": 3}), "unknown field 'chanels'; did you mean channels"),
        (changed(fields={}), "key 'channels' is required but missing"),
        (changed(fields={"channels": "3"}), r"\(c\): conv: channels must be an integer >= 1, got '3'"),
        (changed(fields={"channels": 2**70}), "fields.channels: must fit 63 bits"),
        (changed(fields={"channels": 3, "kernel": [1] * 17}), "must have at most 16 members, got 17"),
        (changed(fields={"channels": 3, "kernel": [[1], 1]}), "kernel must be an integer"),
        (changed(fields={"channels": 2**62, "kernel": 2**62}), r"nodes\[1\] \(c\)"),
    ],
)
def test_bad_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network_from_json(data)
