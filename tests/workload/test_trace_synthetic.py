"""Synthetic traces: descriptions only, the same tensor wherever the network has the same tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload import ops
from accelsim.workload.network import Network, Node
from accelsim.workload.trace import Operand, Trace, synthetic_trace
from tests.workload.traces import network


def get(trace: Trace, layer: str, role: str) -> Operand:
    found = trace.operand(layer, role)
    assert found is not None
    return found


def test_every_compute_layer_has_its_operands() -> None:
    trace = synthetic_trace(network(), weight_bits=4, activation_bits=6, weight_density=0.5, activation_density=0.25)
    found = {(o.layer, o.role): (o.bits, o.signed, o.density) for o in trace}
    weights, image, relu = (4, True, 0.5), (6, True, 0.25), (6, False, 0.25)
    assert found == {
        ("block/conv", "filter"): weights,
        ("block/conv", "ifmap"): image,
        ("block/conv", "ofmap"): relu,
        ("fc", "filter"): weights,
        ("fc", "ifmap"): relu,
        ("fc", "ofmap"): image,
        ("scores", "filter"): image,  # a matmul's second operand is an activation
        ("scores", "ifmap"): image,
        ("scores", "ofmap"): image,
        ("cell", "filter"): weights,
        ("cell", "recurrent"): weights,
        ("cell", "ifmap"): image,
        ("cell", "ofmap"): image,
        ("cell", "state"): image,
    }
    assert all(o.generator is not None and o.payload() == {} for o in trace)


def test_values_have_the_shapes_of_the_network() -> None:
    trace, net = synthetic_trace(network()), network()
    for operand in trace:
        assert operand.values().shape == operand.shape
    assert get(trace, "fc", "ifmap").shape == net["fc"].in_shapes[0]
    assert get(trace, "scores", "filter").shape == net["scores"].in_shapes[1]


def test_writing_changes_nothing(tmp_path: Path) -> None:
    trace = synthetic_trace(network(), activation_density=0.4, seed=5)
    trace.write(tmp_path / "a.trace")
    back = Trace.open(tmp_path / "a.trace")
    assert (tmp_path / "a.trace").stat().st_size < 12_000
    assert back.content_hash == trace.content_hash
    assert (back.name, back.recipe, back.source) == ("small", None, "by hand")
    for operand in trace:
        other = get(back, operand.layer, operand.role)
        assert other.generator == operand.generator
        assert np.array_equal(other.values(), operand.values())
    back.verify()


def test_the_same_tensor_has_the_same_values() -> None:
    nodes = [
        Node("x", ops.Input((1, 8, 4, 4))),
        Node("a", ops.Conv(8), ("x",)),
        Node("relu", ops.Activation(), ("a",)),
        Node("b", ops.Conv(8), ("relu",)),
        Node("c", ops.Conv(8), ("relu",)),
        Node("flat", ops.Reshape((0, -1)), ("relu",)),
        Node("d", ops.Linear(3), ("flat",)),
    ]
    trace = synthetic_trace(Network("fork", nodes), activation_density=0.5, per_layer={"b": {"activation_bits": 5}})
    written, first = get(trace, "a", "ofmap"), get(trace, "b", "ifmap")
    assert written.bits == first.bits == 5  # a tensor is what its first reader says
    assert np.array_equal(written.values(), first.values())
    second, third = get(trace, "c", "ifmap"), get(trace, "d", "ifmap")
    assert second.bits == 8
    assert np.array_equal(second.values().reshape(-1), third.values().reshape(-1))
    assert np.array_equal(second.values() != 0, first.values() != 0)
    assert not np.array_equal(get(trace, "b", "filter").values(), get(trace, "c", "filter").values())


def test_settings_for_one_layer() -> None:
    changes = {"fc": {"weight_density": 0.1, "weight_bits": 3, "activation_signed": True, "activation_density": 0.9}}
    trace = synthetic_trace(network(), per_layer=changes, weight_distribution="gaussian", input_density=0.75)
    filters, ifmap = get(trace, "fc", "filter"), get(trace, "fc", "ifmap")
    assert (filters.bits, filters.density) == (3, 0.1)
    assert (ifmap.signed, ifmap.density) == (True, 0.9)
    assert get(trace, "block/conv", "filter").bits == 8
    assert get(trace, "block/conv", "ifmap").density == 0.75
    assert filters.generator is not None and filters.generator.distribution == "gaussian"


def test_extreme_widths() -> None:
    for bits in (1, 16, 32):
        trace = synthetic_trace(network(), weight_bits=bits, activation_bits=bits, activation_density=0.5)
        assert all(o.values().any() for o in trace if o.elements > 20)


def test_names_and_seeds_decide() -> None:
    first, same = synthetic_trace(network()), synthetic_trace(network())
    assert first.content_hash == same.content_hash
    for other in (synthetic_trace(network(), seed=1), synthetic_trace(network(), name="other")):
        assert other.content_hash != first.content_hash
    # a name for the trace is no reason for other values
    renamed = synthetic_trace(network(), name="other")
    assert np.array_equal(get(renamed, "fc", "filter").values(), get(first, "fc", "filter").values())
    reseeded = synthetic_trace(network(), seed=1)
    assert not np.array_equal(get(reseeded, "fc", "filter").values(), get(first, "fc", "filter").values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 0}, "synthetic trace: weight_bits: must be >= 1, got 0"),
        ({"activation_density": 1.5}, "synthetic trace: activation_density: must be <= 1.0, got 1.5"),
        ({"weight_densty": 0.5}, "weight_densty: unknown key; did you mean weight_density"),
        ({"weight_distribution": "zipf"}, "weight_distribution: must be one of 'uniform', 'laplace' or 'gaussian'"),
        ({"weight_std": 99.0}, "synthetic trace: std: must be <= 16.0, got 99.0"),
        ({"per_layer": {"fd": {}}}, "synthetic trace: unknown layer 'fd'; did you mean fc"),
        ({"per_layer": {"fc": {"bits": 3}}}, "synthetic trace: layer fc: bits: unknown key"),
        ({"per_layer": {"fc": 3}}, "synthetic trace: layer fc: must be a mapping of settings, got 3"),
        ({"seed": -1}, "seed: must be >= 0, got -1"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        synthetic_trace(network(), **options)
