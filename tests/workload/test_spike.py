"""Spiking neurons as an operator: the steps of a sample in order, samples apart, in networks, files and traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.compress import compress
from accelsim.workload.forward import forward
from accelsim.workload.netfile import load_network_file
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear, Reshape
from accelsim.workload.spike import Spike, integrate
from accelsim.workload.tensors import carries_spikes
from accelsim.workload.trace import Trace, synthetic_trace


def neuron(currents: list[float], threshold: int, leak: int, reset: str) -> tuple[list[int], list[float]]:
    """One neuron, one step after another."""
    potential, fired, after = 0.0, [], []
    for current in currents:
        potential = potential - (potential / 2**leak if leak else 0) + current
        fired.append(int(potential >= threshold))
        if fired[-1]:
            potential = 0.0 if reset == "zero" else potential - threshold
        after.append(potential)
    return fired, after


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(0, 3),
       st.sampled_from(["subtract", "zero"]), st.integers(0, 10**6))  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_neuron_integrates_for_itself(
    steps: int, samples: int, neurons: int, threshold: int, leak: int, reset: str, seed: int
) -> None:
    currents = np.random.default_rng(seed).normal(2, 4, (samples * steps, neurons))
    op = Spike(steps, threshold, leak, reset)
    found = op.spikes(currents)
    for sample in range(samples):
        rows = slice(sample * steps, (sample + 1) * steps)
        fired, after = integrate(currents[rows], threshold, leak, reset)
        for n in range(neurons):
            expected = neuron(currents[rows, n].tolist(), threshold, leak, reset)
            assert found[rows, n].tolist() == fired[:, n].tolist() == expected[0]
            assert after[:, n] == pytest.approx(expected[1])


def test_without_steps_all_images_are_of_one_sample() -> None:
    currents = np.array([[3], [3], [3], [3]])
    assert Spike(0, 6).spikes(currents).tolist() == Spike(4, 6).spikes(currents).tolist() == [[0], [1], [0], [1]]
    assert Spike(1, 6).spikes(currents).tolist() == [[0]] * 4


def test_integers_leak_by_a_shift() -> None:
    fired, after = integrate(np.array([7, 0, 0, -3, 20]), threshold=10, leak=1)
    assert after.tolist() == [7, 4, 2, -2, 9] and fired.tolist() == [False] * 4 + [True]


FILE = """
name: hybrid
source: test
inputs: {x: [4, 6]}
layers:
  - {name: a, op: linear, features: 5, bias: false}
  - {name: spikes, op: spike, steps: 4, threshold: 1, leak: 2, reset: zero}
  - {name: b, op: linear, features: 3, bias: false}
"""


def test_a_network_file_says_that_a_layer_spikes(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.yaml"
    path.write_text(FILE)
    network = load_network_file(path)
    assert network["spikes"].op == Spike(4, 1, 2, "zero")
    rng = np.random.default_rng(1)
    weights: dict[str, dict[str, Any]] = {n: {"filter": rng.normal(size=network[n].weights["filter"])} for n in "ab"}
    for samples in (1, 3):
        x = rng.normal(size=(4 * samples, 6))
        out = forward(network, weights, {"x": x})["b"]
        spikes = Spike(4, 1, 2, "zero").spikes(x @ weights["a"]["filter"].T)
        assert 0 < spikes.sum() < spikes.size
        assert out == pytest.approx(spikes @ weights["b"]["filter"].T)
    trace = synthetic_trace(network, activation_density=0.5)
    ifmap, ofmap = trace.operand("b", "ifmap"), trace.operand("a", "ofmap")
    assert ifmap is not None and ofmap is not None
    assert (ifmap.bits, ifmap.signed, ofmap.bits) == (1, False, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 4", "steps: 3", r"spike needs a first dimension of samples x 3 steps, got \(4, 5\)"),
        ("steps: 4", "steps: some", "steps: must be an integer >= 0, got 'some'"),
        ("threshold: 1", "threshold: 0", "threshold: must be an integer >= 1, got 0"),
        ("reset: zero", "reset: half", r'reset: must be one of "subtract", "zero", got'),
    ],
)
def test_wrong_neurons_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "hybrid.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_network_file(path)


def test_a_recipe_leaves_spikes_one_bit(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.yaml"
    path.write_text(FILE)
    compress(load_network_file(path), None, "int8", tmp_path / "hybrid.trace")
    trace = Trace.open(tmp_path / "hybrid.trace")
    found = {(layer, role): trace.operand(layer, role) for layer in "ab" for role in ("ifmap", "ofmap")}
    bits = {key: operand.bits for key, operand in found.items() if operand is not None}
    assert bits == {("a", "ifmap"): 8, ("a", "ofmap"): 1, ("b", "ifmap"): 1, ("b", "ofmap"): 8}


def test_spikes_stay_spikes_where_they_are_only_moved() -> None:
    network = Network(
        "net",
        [
            Node("x", Input((2, 4))), Node("s", Spike(2), ("x",)), Node("r", Reshape((0, 2, 2)), ("s",)),
            Node("fc", Linear(3), ("r",)),
        ],
    )  # fmt: skip
    assert [carries_spikes(network, name) for name in ("x", "s", "r", "fc")] == [False, True, True, False]
