"""The tensor-train engine in whole runs: fully connected, recurrent and convolutional layers, dense ones, refusals."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.engines.kernels.train_stages import Machine, Train, contract
from accelsim.engines.tie import Tie
from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.cores import add_cores
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Recurrent
from accelsim.workload.trace import Trace, TraceWriter

Weights = dict[tuple[str, str], Train]

SMALL = Train((4, 4, 4), (2, 6, 4), (1, 3, 4, 1))


def cores_for(train: Train) -> dict[str, Any]:
    random = np.random.Generator(np.random.Philox(7))
    return {
        f"core{k}": random.integers(-9, 10, (train.ranks[k], m, n, train.ranks[k + 1]))
        for k, (m, n) in enumerate(zip(train.rows, train.columns, strict=True))
    }


def traced(folder: Path, network: Network, weights: Weights) -> Trace:
    with TraceWriter(folder / "net.trace", network, name=network.name) as writer:
        for (layer, role), train in weights.items():
            meta = {"row_modes": train.rows, "column_modes": train.columns, "ranks": train.ranks}
            kind = "ring" if train.closing > 1 else "tt"
            add_cores(
                writer, layer, role, kind, cores_for(train), {k: list(v) for k, v in meta.items()},
                shape=network[layer].weights[role], bits=16,
            )  # fmt: skip
    return Trace.open(folder / "net.trace")


def linear(rows: int, inputs: int, outputs: int) -> Network:
    return Network("linear", [Node("x", Input((rows, inputs))), Node("fc", Linear(outputs, bias=False), ("x",))])


def run(trace: Trace, *sets: str) -> RunResult:
    return simulate(load_arch("tie", sets), trace)


MACHINE = Machine(16, 16, 4, 16)


@pytest.mark.parametrize("train", [SMALL, Train((4, 6), (3, 8), (2, 3, 2)), Train((5,), (9,), (1, 1))])
@pytest.mark.parametrize("rows", [1, 5])
def test_fully_connected(tmp_path: Path, train: Train, rows: int) -> None:
    trace = traced(tmp_path, linear(rows, prod(train.columns), prod(train.rows)), {("fc", "filter"): train})
    layer = run(trace).layers[0]
    stages = contract(train, rows, MACHINE)
    assert layer.info["array_cycles"] == layer.cycles_by_cause["compute"] == sum(s.compute for s in stages)
    assert layer.cycles_by_cause["bank_conflict"] == sum(s.conflict for s in stages)
    inside = ("compute", "bank_conflict", "fill_drain")
    assert sum(layer.cycles_by_cause[cause] for cause in inside) == stages[-1].end
    assert layer.macs == rows * train.macs == layer.counts["mac", "mac_16x16"]
    assert layer.dram_bytes["filter"] == 2 * train.elements
    assert layer.dram_bytes["ifmap"] == 2 * rows * prod(train.columns)
    assert layer.dram_bytes["ofmap"] == 2 * rows * prod(train.rows)


def test_a_batch_is_cut_to_what_the_memory_holds(tmp_path: Path) -> None:
    trace = traced(tmp_path, linear(7, 48, 64), {("fc", "filter"): SMALL})
    words = MACHINE.words_of(SMALL, 4)
    assert words < MACHINE.words_of(SMALL, 5)
    layer = run(trace, f"buffers.working_sram.capacity_bytes={2 * 2 * 64 * words}").layers[0]
    assert layer.info["samples_per_tile"] == 4
    tiles = [4, 3]
    assert layer.info["array_cycles"] == sum(s.compute for m in tiles for s in contract(SMALL, m, MACHINE))
    assert layer.dram_bytes["filter"] == 2 * SMALL.elements  # the cores stay


def test_convolution(tmp_path: Path) -> None:
    train = Train((4, 4, 1), (2, 4, 9), (1, 4, 3, 1))
    network = Network("conv", [Node("x", Input((1, 8, 6, 6))), Node("conv", Conv(16, 3, 1, 1, bias=False), ("x",))])
    layer = run(traced(tmp_path, network, {("conv", "filter"): train})).layers[0]
    assert layer.macs == 36 * train.macs
    assert layer.info["array_cycles"] == sum(s.compute for s in contract(train, 36, MACHINE))
    assert layer.dram_bytes["ifmap"] == 2 * 8 * 36


def lstm(features: int = 24, hidden: int = 16, steps: int = 3, batch: int = 2) -> Network:
    return Network(
        "lstm", [Node("x", Input((batch, steps, features))), Node("rnn", Recurrent("lstm", hidden), ("x",))]
    )


def test_all_gates_of_an_lstm(tmp_path: Path) -> None:
    inputs, states = Train((4, 4, 4), (4, 2, 3), (1, 3, 2, 1)), Train((4, 4, 4), (4, 2, 2), (1, 2, 4, 1))
    trace = traced(tmp_path, lstm(), {("rnn", "filter"): inputs, ("rnn", "recurrent"): states})
    layer = run(trace).layers[0]
    assert layer.macs == 6 * (inputs.macs + states.macs)
    once = [sum(s.compute for s in contract(train, m, MACHINE)) for train, m in ((inputs, 6), (states, 2))]
    # the states' products run step after step; the element-wise part of a step follows them
    pointwise = 3 * -(-2 * 16 * trace.network["rnn"].work.unit_ops // 16)  # type: ignore[union-attr]
    assert layer.cycles_by_cause["compute"] == once[0] + 3 * once[1] + pointwise


def test_a_dense_recurrent_matrix_is_named(tmp_path: Path) -> None:
    inputs = Train((4, 4, 4), (4, 2, 3), (1, 3, 2, 1))
    trace = traced(tmp_path, lstm(), {("rnn", "filter"): inputs})
    with pytest.raises(ConfigError, match=r"layer rnn: recurrent: its weights are a matrix.*rnn/recurrent\)"):
        run(trace)
    layer = run(trace, "engine.dense=allow").layers[0]
    assert layer.macs == 6 * inputs.macs + 6 * 64 * 16


def test_dense_layers_run_if_they_may(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "d.trace", linear(20, 30, 40), name="dense") as writer:
        writer.add("fc", "filter", np.ones((40, 30), np.int64), bits=8)
    trace = Trace.open(tmp_path / "d.trace")
    message = r"layer fc: its weights are stored as dense.*step `decompose` with method tt.*dense=allow.*fc/filter"
    with pytest.raises(ConfigError, match=message):
        run(trace)
    layer = run(trace, "engine.dense=allow").layers[0]
    assert layer.macs == 20 * 30 * 40
    assert layer.cycles_by_cause["compute"] == 2 * 3 * 30


def test_a_reshape_that_the_banks_cannot_serve(tmp_path: Path) -> None:
    trace = traced(tmp_path, linear(1, 48, 64), {("fc", "filter"): SMALL})
    assert run(trace, "engine.conflicts=refuse").layers[0].cycles_by_cause["bank_conflict"] == 0
    few = ("engine.groups=1", "engine.chunks=16")
    assert run(trace, *few).layers[0].cycles_by_cause["bank_conflict"] > 0
    message = (
        r"layer fc: the reshape before core1 cannot be served in one read: 4 elements of a step lie in one bank "
        r"of 1 groups x 16 chunks"
    )
    with pytest.raises(ConfigError, match=message):
        run(trace, *few, "engine.conflicts=refuse")


def test_memories_that_are_too_small(tmp_path: Path) -> None:
    trace = traced(tmp_path, linear(1, 48, 64), {("fc", "filter"): SMALL})
    with pytest.raises(ConfigError, match=r"'working_sram' must hold the largest matrix .* but each half has 1"):
        run(trace, "buffers.working_sram.capacity_bytes=256")
    with pytest.raises(ConfigError, match=r"'weight_sram' must hold all cores: \d+ bytes, but it has 100"):
        run(trace, "buffers.weight_sram.capacity_bytes=100")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 4, 2, 3), (2, 4, 4, 1)], r"core0 ends with rank 3 and core1 begins with 2"),
        ([(1, 4, 2, 3), (3, 4, 5, 1)], r"modes must multiply to 16 rows and 8 columns, got 4x4 and 2x5"),
        ([(1, 4, 2, 3), (3, 4, 4, 2)], r"ranks must begin and end with the same, got \[1, 3, 2\]"),
        ([(2, 16, 8, 2)], r"a ring must have two cores or more"),
    ],
)
def test_cores_that_do_not_belong_together(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Train.of_cores(shapes, 16, 8)


def test_counts_of_modes_and_ranks() -> None:
    with pytest.raises(ConfigError, match=r"d row modes, d column modes and d \+ 1 ranks, got 2, 2 and 2"):
        Train((2, 2), (2, 2), (1, 1))
    with pytest.raises(ConfigError, match="modes and ranks must be >= 1"):
        Train((2, 0), (2, 2), (1, 2, 1))


def test_a_trace_refuses_modes_that_do_not_give_the_matrix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fc/filter: row_modes must multiply to 60"):
        traced(tmp_path, linear(1, 48, 60), {("fc", "filter"): SMALL})
    with pytest.raises(ConfigError, match=r"fc/filter: encoding must be one of cores, got dense"):
        with TraceWriter(tmp_path / "d.trace", linear(1, 8, 8), name="d") as writer:
            add_cores(writer, "fc", "filter", "dense", {}, {}, shape=(8, 8), bits=8)


def test_grouped_layers_are_refused(tmp_path: Path) -> None:
    network = Network(
        "net", [Node("x", Input((1, 8, 3, 3))), Node("conv", Conv(16, 1, groups=2, bias=False), ("x",))]
    )
    trace = traced(tmp_path, network, {("conv", "filter"): Train((4, 4), (2, 2), (1, 2, 1))})
    with pytest.raises(ConfigError, match=r"layer conv: a tensor train must be of one whole matrix, but .* groups"):
        run(trace)


def test_published_cycles() -> None:
    """FC6 and FC7 of VGG-16, UCF11 and Youtube: the rule's sums, without and with the last stage packed."""
    cases = {
        ((4,) * 6, (2, 7, 8, 8, 7, 4)): (14624, 14240), ((4,) * 6, (4,) * 6): (5376, 4608),
        ((4,) * 4, (8, 20, 20, 18)): (7568, 7472), ((4,) * 4, (4, 20, 20, 36)): (5584, 5536),
    }  # fmt: skip
    for (rows, columns), theirs in cases.items():
        train = Train(rows, columns, (1, *[4] * (len(rows) - 1), 1))
        for pack, cycles in zip((False, True), theirs, strict=True):
            stages = contract(train, 1, Machine(16, 16, 4, 16, pack))
            assert sum(stage.compute for stage in stages) == cycles
            assert all(stage.conflict == stage.wait == 0 for stage in stages)


def test_macs_are_those_of_the_closed_form() -> None:
    from accelsim.compress.decompose.complexity import tt_macs, tt_parameters

    train = Train((4, 3, 2, 5), (2, 3, 4, 2), (1, 3, 2, 4, 1))
    assert train.macs == tt_macs(train.rows, train.columns, train.ranks)
    sizes = [m * n for m, n in zip(train.rows, train.columns, strict=True)]
    assert train.elements == tt_parameters(sizes, train.ranks)
    assert Tie.kind == "tie"
