"""Recurrent layers over several cores: the parts make the whole, and runs obey their laws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.result import LayerResult
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Recurrent
from accelsim.workload.shapes import RecurrentShape
from accelsim.workload.trace import synthetic_trace

MANY = """
extends: systolic_ws_32
name: many
source: test
engine: {rows: 4, cols: 4}
dram: {fidelity: bandwidth}
cores: {count: 4, hubs: [4]}
noc: {topology: mesh, columns: 5, rows: 1, flit_bytes: 16}
"""


def many(tmp_path: Path, *overrides: str) -> Architecture:
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    return load_arch(path, overrides)


def network(cell: str = "lstm", hidden: int = 12, **how: int) -> Network:
    return Network("net", [Node("x", Input((2, 5, 8))), Node("rnn", Recurrent(cell, hidden, **how), ("x",))])


def run(tmp_path: Path, net: Network, *overrides: str) -> LayerResult:
    return simulate(many(tmp_path, *overrides), synthetic_trace(net)).layers[0]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_parts_of_the_hidden_units_make_the_whole_recurrence(
    cores: int, units: int, features: int, steps: int, seed: int
) -> None:
    """h = tanh(x W + h U): every core has some columns of W and U, and all of h, which is exchanged."""
    rng = np.random.default_rng(seed)
    hidden = cores * units
    w, u, x = rng.normal(size=(features, hidden)), rng.normal(size=(hidden, hidden)), rng.normal(size=(steps, features))
    whole = np.zeros(hidden)
    parts = [np.zeros(hidden) for _ in range(cores)]  # what each core holds of the state: all of it
    for now in x:
        whole = np.tanh(now @ w + whole @ u)
        mine = [slice(core * units, (core + 1) * units) for core in range(cores)]
        made = [np.tanh(now @ w[:, mine[core]] + parts[core] @ u[:, mine[core]]) for core in range(cores)]
        parts = [np.concatenate(made) for _ in range(cores)]
        assert all(part == pytest.approx(whole) for part in parts)
    shape = RecurrentShape(1, steps, features, hidden, 1, hidden)
    own = replace(shape, hidden=units)
    assert cores * own.macs == shape.macs
    assert own.step_gemms["recurrent"].k == hidden and own.step_gemms["recurrent"].n == units


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("cores", [1, 2, 4])
def test_work_and_weights_are_divided_and_states_exchanged(tmp_path: Path, cell: str, cores: int) -> None:
    net = network(cell)
    layer = run(tmp_path, net, f"cores.partition=[{{outputs: {cores}}}]")
    assert layer.macs == net.macs and layer.info["cores"] == cores
    one = run(tmp_path, net, "cores.partition=[{outputs: 1}]")
    assert layer.dram_bytes["ofmap"] == one.dram_bytes["ofmap"]
    assert layer.dram_bytes["ifmap"] == one.dram_bytes["ifmap"]  # one fetch for all
    if cores > 1:
        assert layer.cycles_by_cause["compute"] < one.cycles_by_cause["compute"]
        assert layer.cycles_by_cause["noc"] > 0


def test_both_directions_run_and_a_slow_network_is_slower(tmp_path: Path) -> None:
    net = network("lstm", directions=2)
    pin = "cores.partition=[{outputs: 4}]"
    fast, slow = (
        run(tmp_path, net, pin, f"noc.link_cycles={cycles}", "dram.fidelity=ideal") for cycles in (1, 50)
    )
    assert fast.macs == slow.macs == net.macs
    assert slow.cycles > fast.cycles + 2 * 4 * 49  # two directions, four exchanges of each, at least a link


def test_the_number_of_cores_is_searched(tmp_path: Path) -> None:
    net = Network("net", [Node("x", Input((8, 6, 64))), Node("rnn", Recurrent("lstm", 64), ("x",))])
    quick = run(tmp_path, net, "dram.fidelity=ideal")
    assert quick.info["cores"] == 4
    assert quick.cycles < run(tmp_path, net, "dram.fidelity=ideal", "cores.partition=[{outputs: 1}]").cycles
    assert run(tmp_path, net, "noc.link_cycles=60000").info["cores"] == 1


def test_cells_without_a_product_of_the_state_exchange_nothing(tmp_path: Path) -> None:
    layer = run(tmp_path, network("qrnn"), "cores.partition=[{outputs: 4}]", "dram.fidelity=ideal")
    assert layer.macs == network("qrnn").macs and layer.info["cores"] == 4


@pytest.mark.parametrize(
    ("net", "pin", "message"),
    [
        (network(), "{outputs: 5}", "equal parts of its 12 hidden units"),
        (network(), "{channels: 2}", "cut by outputs alone"),
        (network(), "{outputs: 6}", "needs 6 cores, there are 4"),
        (network(projection=4), "{outputs: 2}", "cannot be cut into outputs 2"),
    ],
)
def test_parts_that_cannot_be_are_refused(tmp_path: Path, net: Network, pin: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"layer rnn: .*{message}"):
        run(tmp_path, net, f"cores.partition=[{pin}]")
