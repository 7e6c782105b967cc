"""Small tensors and states for the tests of the compression front end."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from accelsim.compress.base import STEPS, Context, Step, original, run_step
from accelsim.compress.state import TensorState
from accelsim.workload import ops
from accelsim.workload.network import Layer, Network, Node

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
needs_speed = pytest.mark.skipif(not COMPILED, reason="half a million elements without compiled code")


def network() -> Network:
    """A convolution (4 filters of 3x3x3), a ReLU, a grouped convolution, two linear layers."""
    nodes = [
        Node("image", ops.Input((1, 3, 8, 8))),
        Node("conv1", ops.Conv(4, 3, pad=1), ("image",)),
        Node("relu", ops.Activation("relu"), ("conv1",)),
        Node("conv2", ops.Conv(6, 3, groups=2), ("relu",)),
        Node("flat", ops.Reshape((1, -1)), ("conv2",)),
        Node("fc1", ops.Linear(10), ("flat",)),
        Node("fc2", ops.Linear(5), ("fc1",)),
    ]
    return Network("tiny", nodes, "tests")


def weights(seed: int = 0, scale: float = 0.3) -> dict[str, dict[str, NDArray[Any]]]:
    """Normal weights for it."""
    rng = np.random.default_rng(seed)
    net = network()
    return {
        layer.name: {"filter": (rng.standard_normal(layer.weights["filter"]) * scale).astype(np.float32)}
        for layer in net
        if layer.weights
    }


def layer_for(shape: tuple[int, ...]) -> Layer:
    """Any layer; states do not look at it."""
    return network()["fc1"]


def state_of(values: Any, *, signed: bool = True, pruned: bool = False, role: str = "filter") -> TensorState:
    """A state with these numbers."""
    array = np.asarray(values, np.float32)
    state = original(layer_for(array.shape), role, array, signed=signed)
    state.pruned = pruned
    return state


def make_step(kind: str, context: Context | None = None, label: str = "", **params: Any) -> Step:
    """A step outside of a recipe."""
    cls = STEPS.lookup(kind)
    return cls(cls.Params(**params), label or kind, "recipe", context or Context(seed=7))


def applied(kind: str, values: Any, *, signed: bool = True, pruned: bool = False, **params: Any) -> TensorState:
    """The state after one step."""
    state = state_of(values, signed=signed, pruned=pruned)
    run_step(make_step(kind, **params), state)
    return state
