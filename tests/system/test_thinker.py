"""Thinker: rows for convolutions and rows for FC and recurrent layers work side by side, at 8 or 16 bits."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Pool, Recurrent, Reshape
from accelsim.workload.trace import synthetic_trace

HYBRID = Network(
    "hybrid",
    [
        Node("x", Input((1, 8, 16, 16))), Node("conv", Conv(32, 3, pad=1, bias=False), ("x",)),
        Node("pool", Pool("max", 4, 4), ("conv",)), Node("seq", Reshape((1, 16, 32)), ("pool",)),
        Node("lstm", Recurrent("lstm", 64), ("seq",)),
    ],
)  # fmt: skip


def run(*overrides: str, bits: int = 8) -> RunResult:
    trace = synthetic_trace(HYBRID, weight_bits=bits, activation_bits=16)
    return simulate(load_arch("thinker", overrides), trace)


def test_a_convolution_runs_beside_a_recurrent_layer() -> None:
    four, one = run("cores.items=4"), run("cores.items=1")
    assert four.macs == 4 * HYBRID.macs
    lstm = next(index for index, layer in enumerate(four.layers) if layer.name == "lstm")
    assert four.layers[lstm].info["cores"] > 1 and four.layers[0].info["cores"] > 8
    passes = four.timeline.passes
    recurrent = passes[passes["layer"] == lstm]
    convolution = passes[passes["layer"] == 0]
    # while the first input's states go round, later inputs' convolutions run on the other rows
    begun, ended = recurrent["start"].min(), recurrent["done"].max()
    beside = (convolution["start"] > begun) & (convolution["done"] < ended)
    assert np.count_nonzero(beside) > len(convolution) // 4
    assert four.cycles < 4 * one.cycles


@pytest.mark.parametrize(("bits", "products"), [(8, 2), (16, 1)])
def test_products_a_cycle(bits: int, products: int) -> None:
    """Channels of the window in products, rounds of 16 outputs on every row."""
    result = run("cores.items=1", "cores.partition=[{layers: conv, outputs: 8}]", bits=bits)
    conv = result.layers[0]
    assert conv.cycles_by_cause["compute"] == 32 * 256 // (8 * 16) * 8 * 9 // products
