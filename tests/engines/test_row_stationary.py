"""The row-stationary engine: published mapping, search, refusals, run-length coded traffic, laws."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.eyeriss.rlc_traffic import expected_pairs, row_pairs
from accelsim.engines.eyeriss.rs_mapping import RsMapping, processing_cycles
from accelsim.engines.row_stationary import RowStationary
from accelsim.mapping.problem import Room
from accelsim.sim.passes import PassTable
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.encodings.base import ENCODINGS
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Input, Linear, Recurrent
from accelsim.workload.trace import Trace, synthetic_trace
from accelsim.workload.trace_writer import TraceWriter

BITS = {"ifmap": 16, "filter": 16, "psum": 16, "ofmap": 16}
SPADS = {"rows": 12, "cols": 14, "ifmap_spad": 12, "filter_spad": 224, "psum_spad": 24}


def engine(**more: Any) -> RowStationary:
    built = ENGINES.lookup("row_stationary")(RowStationary.Spec(**{**SPADS, **more}))
    built.meet({"psum": 64}, BITS)
    assert isinstance(built, RowStationary)
    return built


def conv(shape: tuple[int, ...], channels: int, kernel: Any, **more: Any) -> Network:
    nodes = [Node("x", Input(shape)), Node("conv", Conv(channels, kernel, **more), ("x",))]
    return Network("net", [*nodes, Node("relu", Activation("relu"), ("conv",))])


def task_of(network: Network, name: str = "conv", trace: Trace | None = None, **changes: Any) -> Task:
    trace = trace or synthetic_trace(network, weight_bits=16, activation_bits=16)
    fmaps = Room("glb", changes.pop("glb", 102400), ("ifmap", "psum", "ofmap"), 1)
    filters = Room("filters", changes.pop("filters", 8192), ("filter",), 1)
    return Task(
        network[name], trace, BITS, (fmaps, filters), {"glb": 64, "filters": 64},
        dram_bytes_per_cycle=Fraction(18, 5), **changes,
    )  # fmt: skip


def lower(task: Task, **more: Any) -> PassTable:
    table = engine(**more).lower(task)
    table.check()
    return table


# --- the published mapping ---

TABLE_V = {"conv1": 154, "conv2": 135, "conv3": 156, "conv4": 156, "conv5": 156}
TABLE_III = {"conv1": 72.2, "conv2": 91.1, "conv3": 84.5, "conv4": 84.5, "conv5": 84.5}


def test_the_pinned_mapping_is_the_published_one() -> None:
    """Active PEs of JSSC 2017, Table V; KiB of sums in the buffer of Table III; 4 images of AlexNet."""
    network = load_network("alexnet", batch=4)
    trace = synthetic_trace(network, weight_bits=16, activation_bits=16)
    built = load_arch("eyeriss_alexnet").engine
    for name, pes in TABLE_V.items():
        table = built.lower(task_of(network, name, trace))
        assert table.info["active_pes"] == pes
        assert round(table.info["psum_tile_bytes"] / 1024, 1) == TABLE_III[name]
    assert table.info["mapping"] == "m=64 n=4 e=13 p=16 q=3 r=2 t=2"


def test_the_search_finds_the_published_mapping_of_conv5() -> None:
    network = load_network("alexnet", batch=4)
    table = lower(task_of(network, "conv5"))
    assert table.info["mapping"] == "m=64 n=4 e=13 p=16 q=3 r=2 t=2"


def test_the_search_is_not_slower_than_the_published_mapping() -> None:
    network = load_network("alexnet", batch=4)
    pinned = load_arch("eyeriss_alexnet").engine
    for name in TABLE_V:
        searched = lower(task_of(network, name, objective="cycles"))
        published = pinned.lower(task_of(network, name))
        assert searched.info["processing_cycles"] <= published.info["processing_cycles"]


# --- refusals ---


@pytest.mark.parametrize(
    ("network", "more", "message"),
    [
        (
            conv((1, 1, 20, 20), 1, (1, 13)), {},
            r"a filter row of 13 columns needs 13 words of the ifmap spad, but it has 12, 1 too few; "
            r"up to 12 columns fit",
        ),
        (
            conv((1, 1, 20, 20), 1, (1, 5)), {"filter_spad": 3},
            "a filter row of 5 columns needs as many words of the filter spad, but it has 3, 2 too few",
        ),
        (
            conv((1, 1, 20, 20), 1, (15, 1)), {"fold_rows": False},
            r"the filter has 15 rows, but the array has 12, 3 too few, and filter rows are not folded; "
            r"engine.rows >= 15 or engine.fold_rows: true would do",
        ),
    ],
)  # fmt: skip
def test_filters_that_do_not_fit_are_refused(network: Network, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lower(task_of(network), **more)


def test_a_buffer_without_room_says_what_is_missing() -> None:
    network = conv((1, 1, 20, 200), 1, 3, pad=1)
    with pytest.raises(ConfigError, match=r"one row of outputs needs 1612 bytes \(ifmap 1212 each slot, psums 400\), "
                                          r"but the buffer has 1000, 612 too few"):
        lower(task_of(network, glb=1000))
    with pytest.raises(ConfigError, match="one filter of one channel takes 18 bytes, but the filter's buffer has 17"):
        lower(task_of(network, filters=17))


PIN = {"layers": "*", "m": 8, "n": 1, "e": 4, "p": 4, "q": 2, "r": 1, "t": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q": 5}, r"ifmap spad \(q filter rows\): needs 15 words, 3 more than the 12 there are"),
        ({"p": 40}, r"filter spad \(p x q filter rows\): needs 240 words, 16 more than the 224"),
        ({"p": 25}, r"psum spad \(p\): needs 25 words, 1 more than the 24"),
        ({"r": 5, "q": 1}, r"array \(r x filter rows\): needs 15 rows of PEs, 3 more than the 12"),
        ({"t": 13}, r"array \(stacks of 3 x 4 PEs\): needs 13 stacks, 1 more than the 12"),
        ({"m": 500, "p": 24, "q": 1, "t": 12, "n": 4, "e": 14}, "array"),
    ],
)
def test_a_pin_that_does_not_fit_is_refused(changes: dict[str, int], message: str) -> None:
    network = conv((4, 8, 14, 14), 512, 3, pad=1)
    with pytest.raises(ConfigError, match=message):
        lower(task_of(network), pinned=[{**PIN, **changes}])


def test_a_pin_of_another_kind_is_refused() -> None:
    from accelsim.mapping.problem import Mapping

    pinned = Mapping(1, 1, 1, 1, 1, 1, 1, 1, "mnk")
    with pytest.raises(ConfigError, match="does not say m, n, e, p, q, r, t; pin under engine.pinned"):
        lower(task_of(conv((1, 1, 5, 5), 1, 3), pinned=pinned))


def test_filters_taller_than_the_array_run_in_parts() -> None:
    network = conv((1, 2, 20, 20), 3, (15, 2))
    table = lower(task_of(network))
    assert table.macs == network["conv"].macs
    assert int(table.rows["filter_bytes"].sum()) == 2 * 15 * 2 * 2 * 3  # every filter once


# --- traffic ---


@given(density=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]), seed=st.integers(0, 2**31), wide=st.integers(1, 80))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_pairs_of_a_map_are_those_of_the_encoding(density: float, seed: int, wide: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 99, (2, 3, 4, wide)) * (rng.random((2, 3, 4, wide)) < density)
    values = values.astype(np.uint16)
    pairs = row_pairs(values)
    codec = ENCODINGS.lookup("eyeriss_rlc")
    for n in range(2):
        for c in range(3):
            _, meta = codec().pack(values[n, c], 16, False, codec.Params())
            assert int(pairs[n, c].sum()) == meta.entries  # type: ignore[attr-defined]


def held_trace(network: Network, density: float, folder: Path) -> Trace:
    """A trace that holds its values."""
    described = synthetic_trace(network, weight_bits=16, activation_bits=16, activation_density=density,
                                activation_signed=False)
    path = folder / "held.trace"
    with TraceWriter(path, network, name="held") as writer:
        for operand in described:
            writer.add(operand.layer, operand.role, operand.values(), bits=operand.bits, signed=operand.signed)
    return Trace.open(path)


def test_feature_maps_travel_as_long_as_their_code(tmp_path: Path) -> None:
    """One strip of one block: every map's words once each way, exactly; and close to what the density promises."""
    network = conv((2, 6, 16, 16), 8, 3, pad=1)
    trace = held_trace(network, 0.3, tmp_path)
    table = lower(task_of(network, trace=trace, glb=10**6))
    for role, column in (("ifmap", "ifmap_bytes"), ("ofmap", "ofmap_bytes")):
        operand = trace.operand("conv", role)
        assert operand is not None
        values = operand.values()
        codec = ENCODINGS.lookup("eyeriss_rlc")
        words = sum(
            codec().pack(values[n, c], 16, False, codec.Params())[0]["data"].size
            for n in range(values.shape[0]) for c in range(values.shape[1])
        )  # fmt: skip
        assert int(table.rows[column].sum()) == 8 * words
        expected = float(expected_pairs(operand.density)) * values.size * 8 / 3
        assert abs(8 * words - expected) < 0.1 * expected
    plain = lower(task_of(network, trace=trace, glb=10**6), rlc=False)
    assert int(plain.rows["ifmap_bytes"].sum()) == 2 * 6 * 16 * 16 * 2
    assert np.array_equal(plain.rows["finish_cycles"], table.rows["finish_cycles"])


def test_strips_write_every_word_of_a_map_once(tmp_path: Path) -> None:
    network = conv((1, 3, 24, 24), 5, 3, pad=1)
    trace = held_trace(network, 0.25, tmp_path)
    whole = lower(task_of(network, trace=trace, glb=10**6))
    strips = lower(task_of(network, trace=trace, glb=3000))
    assert strips.info["passes"] > whole.info["passes"]
    assert int(strips.rows["ofmap_bytes"].sum()) == int(whole.rows["ofmap_bytes"].sum())
    # strips overlap, and the word at a border is fetched for both
    assert int(strips.rows["ifmap_bytes"].sum()) > int(whole.rows["ifmap_bytes"].sum())
    assert not strips.rows["ifmap_row_bytes"].any()  # in one piece


def test_dense_maps_stay_plain() -> None:
    network = conv((1, 4, 8, 8), 4, 3)
    table = lower(task_of(network))
    assert int(table.rows["ifmap_bytes"].sum()) == 4 * 8 * 8 * 2
    assert int(table.rows["ofmap_bytes"].sum()) == 4 * 6 * 6 * 2


# --- laws ---


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A convolution or matrix product of any kind the engine runs."""
    if draw(st.booleans()):
        matrix = (draw(st.integers(1, 5)), draw(st.integers(1, 60)))
        return Network("net", [Node("x", Input(matrix)), Node("conv", Linear(draw(st.integers(1, 60))), ("x",))])
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    shape = (draw(st.integers(1, 3)), groups * draw(st.integers(1, 6)), draw(st.integers(6, 18)),
             draw(st.integers(6, 18)))
    return conv(
        shape, groups * draw(st.integers(1, 9)), draw(st.integers(1, 5)), stride=draw(st.integers(1, 3)),
        pad=draw(st.integers(0, 2)), groups=groups,
    )  # fmt: skip


@given(network=networks(), glb=st.sampled_from([3000, 20000, 10**6]), goal=st.sampled_from(["traffic", "cycles"]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_laws_of_layers(network: Network, glb: int, goal: str) -> None:
    layer = network["conv"]
    task = task_of(network, glb=glb, objective=goal)
    table = lower(task)
    rows = table.rows
    assert table.macs == layer.macs
    assert int(rows["filter_bytes"].sum()) >= 2 * int(np.prod(layer.weights["filter"]))
    assert int(rows["ofmap_bytes"].sum()) == 2 * int(np.prod(layer.out_shape))
    # sums conserved: each is written once more than it is read again
    written, read = int(table.array_writes["psum"].sum()), int(table.array_reads["psum"].sum())
    assert written - read == int(np.prod(layer.out_shape))
    # the array is never faster than its PEs
    assert int(rows["busy_cycles"].sum()) * 168 >= layer.macs
    assert np.all(rows["busy_cycles"] + rows["buffer_ports_cycles"] <= rows["finish_cycles"])
    mapping = table.mapping
    assert isinstance(mapping, RsMapping)
    problem = engine().problem(Part(task, layer.work))  # type: ignore[arg-type]
    assert processing_cycles(problem, mapping) == table.info["processing_cycles"]


def test_zeros_save_energy_and_no_time() -> None:
    network = conv((1, 4, 12, 12), 8, 3, pad=1)
    dense, sparse = (
        lower(task_of(network, trace=synthetic_trace(network, weight_bits=16, activation_bits=16,
                                                     activation_density=d)))
        for d in (1.0, 0.25)
    )  # fmt: skip
    assert np.array_equal(dense.rows["finish_cycles"], sparse.rows["finish_cycles"])
    macs = network["conv"].macs
    assert sparse.counts["mac", "mac_16x16"] == round(macs / 4)
    assert sparse.counts["mac", "gated"] == macs - round(macs / 4)
    assert dense.counts["filter_spad", "read"] == macs


def test_a_recurrent_layer_runs_as_its_products() -> None:
    network = Network("net", [Node("x", Input((2, 5, 12))), Node("conv", Recurrent("lstm", 8), ("x",))])
    table = lower(task_of(network))
    assert table.macs == network["conv"].macs and table.rows["barrier"].sum() == 5


def test_pins_and_searches_of_a_whole_run() -> None:
    pin = "engine.pinned=[{layers: conv1, m: 4, n: 1, e: 7, p: 2, q: 1, r: 1, t: 2}]"
    network = load_network("lenet5")
    names = [layer.name for layer in network if layer.kind == "conv"]
    result = simulate(load_arch("eyeriss", (pin.replace("conv1", names[0]),)), synthetic_trace(network))
    by_name = {layer.name: layer for layer in result.layers}
    assert by_name[names[0]].info["mapping"] == "m=4 n=1 e=7 p=2 q=1 r=1 t=2"
