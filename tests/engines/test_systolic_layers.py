"""Whole layers on the systolic engine: every pass and fold in one chain, against a walk in plain Python."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.dataflow.base import Array
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.systolic import Systolic
from accelsim.mapping.problem import Mapping, Room
from accelsim.memory.bandwidth import BandwidthDram, IdealMemory
from accelsim.sim.player import play
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Recurrent
from accelsim.workload.shapes import ConvShape
from accelsim.workload.trace import Trace, synthetic_trace
from tests.dataflow.test_systolic import CASES, fold_list

BITS = {"ifmap": 8, "filter": 8, "psum": 32, "ofmap": 8}


def engine(rows: int, cols: int, dataflow: str, overlap: str, edge: str, **more: Any) -> Systolic:
    spec = Systolic.Spec(rows=rows, cols=cols, dataflow=dataflow, overlap=overlap, edge=edge, **more)
    built = ENGINES.lookup("systolic")(spec)
    assert isinstance(built, Systolic)
    return built


def task_of(network: Network, name: str, free_bytes: int = 10**9, trace: Trace | None = None) -> Task:
    room = Room("all", free_bytes, ("ifmap", "filter", "psum", "ofmap"), 2)
    trace = trace or synthetic_trace(network)
    return Task(network[name], trace, BITS, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(4))


def conv_network(**fields: Any) -> Network:
    shape = fields.pop("shape")
    return Network("net", [Node("x", Input(shape)), Node("conv", Conv(**fields), ("x",))])


def chain(name: str, array: Array, jobs: list[tuple[int, int, int]], spatial: Any) -> int:
    """Completion of a list of jobs, fold by fold: starts by the hardware's rules, the latest last word."""
    folds: list[tuple[int, int, int]] = []
    for job in jobs:
        rows, cols, t = (int(x) for x in spatial(*job))
        folds += [(r, c, t) for r, c in fold_list(rows, cols, array)]
    serial = array.overlap == "serial"
    start = 0 if name == "os" else folds[0][0]
    free = finish = 0
    for i, (r, c, t) in enumerate(folds):
        tail = t + r + c - 2 + r - 1 if name == "os" else t + array.rows + c - 2
        finish = max(finish, start + tail)
        if i + 1 == len(folds):
            break
        r2, _, t2 = folds[i + 1]
        if name == "os":
            own = t + r + c - 2 if serial else t
            waits = [own, t - t2 + 2 * r - r2] + ([] if serial else [t - t2 + r - 1])
            start += max(waits)
        else:
            free = {"serial": finish, "overlap": start + t - 1, "double_buffered": start}[array.overlap]
            start = max(free + r2, start + t)
    return finish


@pytest.mark.parametrize(("name", "overlap", "edge"), CASES)
@given(data=st.data())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_layer_takes_the_cycles_of_its_folds(name: str, overlap: str, edge: str, data: st.DataObject) -> None:
    small = st.integers(1, 5)
    groups = data.draw(st.integers(1, 3))
    network = conv_network(
        shape=(data.draw(st.integers(1, 2)), groups * data.draw(small), data.draw(st.integers(3, 7)), 5),
        channels=groups * data.draw(small),
        kernel=(data.draw(st.integers(1, 3)), 2),
        stride=data.draw(st.integers(1, 2)),
        groups=groups,
    )
    built = engine(data.draw(small), data.draw(small), name, overlap, edge)
    shape = network["conv"].work
    assert isinstance(shape, ConvShape)
    pin = Mapping(
        data.draw(st.integers(1, groups)),
        1,
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(1, 4)),
        data.draw(small),
        data.draw(small),
        data.draw(st.sampled_from([1, 9])),
        9,
        data.draw(st.sampled_from(["mnk", "nmk", "kmn", "nkm"])),
    )
    table = built.lower(replace(task_of(network, "conv"), pinned=pin))
    jobs = []
    tiles = built.tile(Part(replace(task_of(network, "conv"), pinned=pin), shape))[1]
    for tile in tiles:
        jobs += [(int(tile["m"]), int(tile["n"]), int(tile["k"]))] * int(tile["groups"])
    expected = chain(name, built.array, jobs, built.dataflow.spatial)
    # operands that are there at once, results that leave at once, and room for all of them
    table.slots = {}
    assert play([table], IdealMemory()).end == expected
    assert table.macs == network.macs


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(100, 3000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_searched_layers_obey_the_laws(m: int, n: int, k: int, free_bytes: int) -> None:
    network = Network("net", [Node("x", Input((m, k))), Node("fc", Linear(n), ("x",))])
    built = engine(4, 4, "ws", "double_buffered", "ragged")
    try:
        table = built.lower(task_of(network, "fc", free_bytes))
    except ConfigError:
        assume(False)
    rows = table.rows
    assert table.macs == m * n * k == int(rows["macs"].sum())
    assert int(rows["filter_bytes"].sum()) >= n * k
    assert int(rows["ifmap_bytes"].sum()) >= m * k
    assert int(rows["ofmap_bytes"].sum()) == m * n
    assert int(rows["psum_in_bytes"].sum()) == int(rows["psum_out_bytes"].sum())
    slow, fast = (play([table], BandwidthDram(rate, 1, 3)).end for rate in (1, 8))
    ideal = play([table], IdealMemory()).end
    assert slow >= max(ideal, sum(int(rows[f"{o}_bytes"].sum()) for o in ("filter", "ifmap", "psum_in", "ofmap")))
    assert slow >= fast >= ideal
    assert ideal * table.peak_macs_per_cycle >= table.macs


def test_a_recurrence_is_never_faster_than_its_dependent_steps() -> None:
    network = Network("net", [Node("x", Input((2, 6, 8))), Node("rnn", Recurrent("lstm", 8), ("x",))])
    built = engine(4, 4, "ws", "double_buffered", "ragged")
    table = built.lower(task_of(network, "rnn"))
    assert table.macs == network.macs
    barriers = int(table.rows["barrier"].sum())
    assert barriers == 6  # one for each time step
    alone = built.dataflow.timing(built.array, 2, 32, 8)
    pointwise = 2 * 8 * 9
    least = 6 * (int(alone.finish) + pointwise)
    assert play([table], IdealMemory()).end >= least
    # the recurrent weights fit, so they are fetched once
    assert int(table.rows["filter_bytes"].sum()) == 2 * 32 * 8


def test_a_recurrence_whose_weights_do_not_fit_fetches_them_every_step() -> None:
    network = Network("net", [Node("x", Input((1, 5, 16))), Node("rnn", Recurrent("gru", 16), ("x",))])
    built = engine(4, 4, "ws", "double_buffered", "ragged")
    rooms = (Room("w", 200, ("filter",), 2), Room("a", 10**6, ("ifmap", "psum", "ofmap"), 2))
    task = replace(task_of(network, "rnn"), rooms=rooms, word_bits={"w": 64, "a": 64})
    table = built.lower(task)
    assert int(table.rows["filter_bytes"].sum()) >= 48 * 16 + 5 * 48 * 16


def test_zero_gating_saves_energy_and_no_cycle() -> None:
    network = Network("net", [Node("x", Input((16, 16))), Node("fc", Linear(16), ("x",))])
    trace = synthetic_trace(network, weight_density=0.5, activation_density=0.5)
    tables = [
        engine(4, 4, "os", "pipelined", "ragged", zero_gating=gated).lower(task_of(network, "fc", trace=trace))
        for gated in (False, True)
    ]
    assert (tables[0].rows == tables[1].rows).all()
    assert tables[0].effectual_macs == 1024
    assert tables[0].counts["mac", "mac_8x8"] == 4096
    assert tables[1].counts["mac", "mac_8x8"] == 1024
    assert tables[1].counts["mac", "gated"] == 3072


def test_effectual_macs_of_real_values_are_counted(tmp_path: Any) -> None:
    from accelsim.workload.trace import TraceWriter

    network = conv_network(shape=(2, 4, 7, 6), channels=6, kernel=3, stride=2, pad=(1, 0, 2, 1), groups=2)
    rng = np.random.default_rng(3)
    a = rng.integers(-3, 4, (2, 4, 7, 6)) * (rng.random((2, 4, 7, 6)) < 0.4)
    w = rng.integers(-3, 4, (6, 2, 3, 3)) * (rng.random((6, 2, 3, 3)) < 0.6)
    with TraceWriter(tmp_path / "t.trace", network, name="t") as writer:
        writer.add("conv", "ifmap", a.astype(np.int8), bits=8)
        writer.add("conv", "filter", w.astype(np.int8), bits=8)
    table = engine(4, 4, "os", "serial", "full").lower(
        task_of(network, "conv", trace=Trace.open(tmp_path / "t.trace"))
    )
    padded = np.pad(a, ((0, 0), (0, 0), (1, 2), (0, 1)))
    expected = 0
    _, m, p, q = network["conv"].out_shape
    for n in range(2):
        for out in range(m):
            for y in range(p):
                for x in range(q):
                    first = out // 3 * 2
                    window = padded[n, first : first + 2, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
                    expected += int(((window != 0) & (w[out] != 0)).sum())
    assert table.effectual_macs == expected


def test_operands_wider_than_the_multipliers_are_refused() -> None:
    network = Network("net", [Node("x", Input((4, 4))), Node("fc", Linear(4), ("x",))])
    trace = synthetic_trace(network, weight_bits=16)
    with pytest.raises(ConfigError, match="layer fc: filter has 16 bits, but engine 'systolic' computes with 1, 2"):
        engine(4, 4, "os", "serial", "full").lower(task_of(network, "fc", trace=trace))
