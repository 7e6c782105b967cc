"""Shrinking a pruned network: smaller layers, the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.compress import compress
from accelsim.compress.base import Context
from accelsim.compress.recipe import load_recipe
from accelsim.compress.sources import GivenWeights
from accelsim.workload import ops
from accelsim.workload.forward import forward
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.trace import Trace
from tests.compress.helpers import needs_speed


def chain() -> Network:
    return Network("chain", [
        Node("x", ops.Input((1, 3, 8, 8))),
        Node("a", ops.Conv(6, 3, pad=1), ("x",)), Node("a_relu", ops.Activation(), ("a",)),
        Node("pool", ops.Pool(), ("a_relu",)),
        Node("dw", ops.Conv(6, 3, pad=1, groups=6, bias=False), ("pool",)),
        Node("b", ops.Conv(5, 3), ("dw",)), Node("b_relu", ops.Activation(), ("b",)),
        Node("flat", ops.Reshape(), ("b_relu",)),
        Node("fc1", ops.Linear(7), ("flat",)), Node("fc1_relu", ops.Activation(), ("fc1",)),
        Node("fc2", ops.Linear(4), ("fc1_relu",)),
    ])  # fmt: skip


def residual() -> Network:
    return Network("residual", [
        Node("x", ops.Input((1, 3, 6, 6))),
        Node("stem", ops.Conv(8, 3, pad=1), ("x",)), Node("r0", ops.Activation(), ("stem",)),
        Node("c1", ops.Conv(6, 3, pad=1), ("r0",)), Node("r1", ops.Activation(), ("c1",)),
        Node("c2", ops.Conv(8, 3, pad=1), ("r1",)),
        Node("sum", ops.Eltwise("add"), ("c2", "r0")), Node("r2", ops.Activation(), ("sum",)),
        Node("side", ops.Conv(4, 1), ("r2",)), Node("main", ops.Conv(5, 3, pad=1), ("r2",)),
        Node("cat", ops.Concat(), ("side", "main")),
        Node("out", ops.Conv(3, 1), ("cat",)),
    ])  # fmt: skip


def weights_for(network: Network, seed: int) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, Any]] = {}
    for layer in network:
        if layer.weights:
            shape = layer.weights["filter"]
            found[layer.name] = {"filter": rng.standard_normal(shape).astype(np.float32)}
            if layer.op.bias:  # type: ignore[attr-defined]
                found[layer.name]["bias"] = rng.standard_normal(shape[0]).astype(np.float32)
    return found


def shrunk(network: Network, weights: Any, before: tuple[dict[str, Any], ...] = ()) -> tuple[Network, Any, str]:
    source = load_recipe([*before, {"step": "shrink"}]).chain(GivenWeights(network, weights), Context())
    found: dict[str, Any] = {}
    notes = []
    for layer, role in source.keys():
        state = source.load((layer, role))
        found.setdefault(layer, {})[role] = state.values
        assert state.layer is source.network[layer] and state.original is not None
        assert state.original.shape == state.shape == state.values.shape
        notes += state.notes
    return source.network, found, "; ".join(notes)


def check(network: Network, weights: Any) -> Network:
    """Same outputs; returns the smaller network."""
    found, smaller, _ = shrunk(network, weights)
    x = np.random.default_rng(9).standard_normal(network["x"].out_shape).astype(np.float32)
    before, after = (forward(n, w, {"x": x}) for n, w in ((network, weights), (found, smaller)))
    assert list(before) == list(after)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-4)
    return found


def kill(weights: Any, layer: str, rows: list[int], bias: bool = True) -> None:
    weights[layer]["filter"][rows] = 0
    if bias and "bias" in weights[layer]:
        weights[layer]["bias"][rows] = 0


def test_filters_that_are_zero_take_the_next_layers_channels_along() -> None:
    network = chain()
    weights = weights_for(network, 1)
    kill(weights, "a", [0, 4])
    kill(weights, "b", [2])
    kill(weights, "fc1", [1, 2, 3])
    found = check(network, weights)
    assert found["a"].weights["filter"] == (4, 3, 3, 3)
    assert found["dw"].weights["filter"] == (4, 1, 3, 3) and found["dw"].op.groups == 4  # type: ignore[attr-defined]
    assert found["b"].weights["filter"] == (4, 4, 3, 3)
    assert found["fc1"].weights["filter"] == (4, 4 * 4) and found["fc2"].weights["filter"] == (4, 4)


def test_channels_that_nothing_reads_take_their_filters_along() -> None:
    network = chain()
    weights = weights_for(network, 2)
    weights["b"]["filter"][:, [1, 3, 5]] = 0  # channel pruning (He et al., ThiNet)
    weights["fc1"]["filter"].reshape(7, 5, 4)[:, 2] = 0
    found = check(network, weights)
    assert found["a"].weights["filter"][0] == 3 and found["b"].weights["filter"][:2] == (4, 3)
    assert found["fc1"].weights["filter"] == (7, 16)


def test_a_bias_keeps_its_channel() -> None:
    network = chain()
    weights = weights_for(network, 3)
    kill(weights, "a", [0, 4], bias=False)
    assert check(network, weights)["a"].weights["filter"][0] == 6


def test_added_channels_go_only_together() -> None:
    network = residual()
    weights = weights_for(network, 4)
    kill(weights, "stem", [1, 2])
    assert check(network, weights)["stem"].weights["filter"][0] == 8
    kill(weights, "c2", [2, 3])
    found = check(network, weights)
    assert found["stem"].weights["filter"][0] == found["c2"].weights["filter"][0] == 7
    assert found["side"].weights["filter"][1] == 7 and found["c1"].weights["filter"][1] == 7


def test_joined_channels_keep_their_places() -> None:
    network = residual()
    weights = weights_for(network, 5)
    kill(weights, "side", [0, 3])
    kill(weights, "main", [2])
    found = check(network, weights)
    assert found["cat"].out_shape[1] == 2 + 4 and found["out"].weights["filter"][1] == 6


def test_what_only_dead_channels_needed_dies_too() -> None:
    network = residual()
    weights = weights_for(network, 6)
    weights["c2"]["filter"][:, [0, 1, 2]] = 0
    kill(weights, "c1", [3])
    assert check(network, weights)["c1"].weights["filter"][0] == 2


def test_an_empty_branch_goes_as_a_whole() -> None:
    network = residual()
    weights = weights_for(network, 7)
    kill(weights, "c2", list(range(8)))
    found = check(network, weights)
    assert "c1" not in found and "c2" not in found and "sum" not in found
    assert found["r2"].inputs == ("r0",)


def test_one_channel_stays_and_outputs_keep_all() -> None:
    network = chain()
    weights = weights_for(network, 8)
    kill(weights, "a", list(range(6)))
    kill(weights, "fc2", [0, 1])
    found = check(network, weights)
    assert found["a"].weights["filter"][0] == 1 and found["fc2"].weights["filter"][0] == 4


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.sampled_from([chain, residual]), st.integers(0, 10**6), st.floats(0, 1))
def test_outputs_never_change(make: Any, seed: int, share: float) -> None:
    network = make()
    weights, rng = weights_for(network, seed), np.random.default_rng(seed + 1)
    for roles in weights.values():
        rows = np.flatnonzero(rng.random(len(roles["filter"])) < share)
        roles["filter"][rows] = 0
        if "bias" in roles and rng.random() < 0.7:
            roles["bias"][rows] = 0
        if roles["filter"].shape[1] > 1:
            roles["filter"][:, rng.random(roles["filter"].shape[1]) < share / 2] = 0
    assert check(network, weights).params <= network.params


def test_integers_are_cut_with_their_scales() -> None:
    network = chain()
    weights = weights_for(network, 1)
    steps = ({"step": "prune", "layers": ["a", "b"], "grain": "filter", "density": 0.5},)
    for name in ("a", "b"):
        weights[name]["bias"][:] = 0
    plain, floats, notes = shrunk(network, weights, steps)
    found, integers, _ = shrunk(network, weights, (*steps, {"step": "uniform", "bits": 8, "granularity": "channel"}))
    assert plain["a"].weights == found["a"].weights == {"filter": (3, 3, 3, 3)}
    np.testing.assert_allclose(integers["a"]["filter"], floats["a"]["filter"], atol=0.03)
    assert "shrunk from 6 x 3 x 3 x 3 to 3 x 3 x 3 x 3" in notes


@needs_speed
def test_a_pruned_network_shrinks_and_runs(tmp_path: Any) -> None:
    out = tmp_path / "s.trace"
    recipe = [
        {"step": "prune", "layers": ["conv*", "fc1"], "grain": "filter", "density": 0.5},
        {"step": "shrink"},
        {"step": "uniform", "bits": 8},
        {"step": "describe", "bits": 8},
    ]
    compress("lenet5", None, recipe, out)
    network, before = Trace.open(out).network, load_network("lenet5")
    assert network.params < 0.35 * before.params and network.layers[-1].out_shape == before.layers[-1].out_shape


def test_after_a_code_book_it_is_refused() -> None:
    network = chain()
    with pytest.raises(ConfigError, match="a/filter: must be plain or uniform integers: shrink before other steps"):
        shrunk(network, weights_for(network, 1), ({"step": "kmeans", "bits": 4},))
    with pytest.raises(ConfigError, match="layers"):
        load_recipe([{"step": "shrink", "layers": "a"}])
