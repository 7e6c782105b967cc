"""PUMA's cores beside its public simulator's programs; words wait for their writers and readers."""

from __future__ import annotations

import csv

import pytest

from accelsim.base.errors import ConfigError, DeadlockError
from accelsim.engines.crossbars.puma_core import Instruction as I
from accelsim.engines.crossbars.puma_core import Timing, run
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Input, Linear
from accelsim.workload.trace import synthetic_trace
from tests.references import reference

PROGRAMS = {
    "halt": [I("halt")],
    "mvm1": [I("mvm"), I("halt")],
    "mvm2": [I("mvm"), I("halt")],
    "mvm_seq4": [I("mvm")] * 4 + [I("halt")],
    "alu128": [I("alu", 128), I("halt")],
    "sig128": [I("sigmoid", 128), I("halt")],
    "cp128": [I("copy", 128), I("halt")],
    "set10": [I("set")] * 10 + [I("halt")],
}


def test_programs_take_the_cycles_of_the_public_simulator() -> None:
    with reference("crossbar/puma_sim_microprograms.csv").open() as file:
        theirs = {row["program"]: int(row["cycles"]) for row in csv.DictReader(file)}
    assert {name: run([(0, code)])[0] for name, code in PROGRAMS.items()} == {n: theirs[n] for n in PROGRAMS}


def layer() -> list[tuple[int, list[I]]]:
    """Tile 0 sends 128 words, a core of tile 1 multiplies them, tile 2 gets the results."""
    out = [I("send", 16, 16 * i, tile=1) for i in range(8)]
    into = [I("receive", 16, 16 * i, tile=0) for i in range(8)]
    core = [I("set"), *[I("load", 16, 16 * i) for i in range(8)], I("mvm"), I("sigmoid", 128), I("set")]
    core += [I("store", 16, 500 + 16 * i) for i in range(8)]
    on = [I("send", 16, 500 + 16 * i, tile=2) for i in range(8)]
    last = [I("receive", 16, 16 * i, tile=1) for i in range(8)]
    fill = [I("store", 16, 16 * i) for i in range(8)]
    return [(0, [*fill, *out]), (1, [*into, *on]), (1, core), (2, last)]


def test_a_layer_over_three_tiles() -> None:
    with reference("crossbar/puma_sim_microprograms.csv").open() as file:
        theirs = {row["program"]: int(row["cycles"]) for row in csv.DictReader(file)}["fc_layer"]
    # who writes what, and in how many cycles packets follow each other, is not documented: within 5 %
    assert max(run(layer())) == pytest.approx(theirs, rel=0.05)


def test_loads_wait_for_valid_words_and_stores_for_their_readers() -> None:
    slow = [I("alu", 400), I("store", 16, 7, count=2)]
    reader = [I("load", 16, 7)]
    ends = run([(0, slow), (0, reader), (0, [*reader, I("store", 16, 8)])])
    assert ends == [3 + 100 + 2 + 1, 3 + 100 + 4 + 1, 3 + 100 + 8 + 1]
    again = run([(0, [I("store", 16, 7), I("store", 16, 7)]), (0, [I("alu", 400), I("load", 16, 7), I("load", 16, 7)])])
    assert again[0] == 3 + 100 + 2 + 2 + 1  # the second store waits for the load of the first


def test_programs_that_wait_for_ever_and_unknown_operations() -> None:
    with pytest.raises(DeadlockError, match="every program waits .tile 0: load, tile 1: receive"):
        run([(0, [I("load", 16, 0)]), (1, [I("receive", 16, 0, tile=0)])])
    with pytest.raises(ConfigError, match="op must be one of mvm, .*, got 'jump'"):
        run([(0, [I("jump")])])


def test_an_mvm_of_the_paper() -> None:
    assert run([(0, [I("mvm"), I("halt")])], Timing(mvm=2304)) == [2308]


def test_a_layer_on_the_engine_takes_what_the_program_of_its_core_takes() -> None:
    linear, relu = Node("l", Linear(256, bias=False), ("x",)), Node("r", Activation("relu"), ("l",))
    network = Network("n", [Node("x", Input((3, 200))), linear, relu])
    trace = synthetic_trace(network, weight_bits=16, activation_bits=16)
    layer = simulate(load_arch("puma"), trace).layers[0]
    # two units of 128 x 128: 256 inputs in 16 accesses, the sums of two row blocks added, then the activation
    one = [I("load", 16, 16 * i) for i in range(16)] + [I("mvm"), I("alu", 256), I("alu", 256)]
    one += [I("store", 16, 1000 + 16 * i) for i in range(16)]
    writers = [I("store", 16, 16 * i) for i in range(16)]
    alone, filled = run([(0, one), (0, writers)], Timing(mvm=2304))
    assert layer.info["mvm_cycles"] == 2304
    assert layer.info["mvm_interval_cycles"] == 2304 + 2 * 64 + 2 * (16 + 16)
    assert 0 < alone - layer.info["mvm_interval_cycles"] <= filled + 4  # and the words must be there first
    assert layer.cycles == 3 * layer.info["mvm_interval_cycles"]  # three inputs, one after another


def test_an_in_order_core_overlaps_nothing() -> None:
    with pytest.raises(ConfigError, match="in_order needs overlap: false"):
        load_arch("puma", ["engine.overlap=true"])
