"""Bit Fusion: what widths cost, how tiles count, and the authors' own simulator."""

from __future__ import annotations

import csv
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.energy.model import CostModel
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.bitfusion import BitFusion
from accelsim.engines.common.part import Part
from accelsim.mapping.problem import Mapping, Room
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Input, Linear
from accelsim.workload.trace import synthetic_trace
from tests.references import reference

MUCH = 2**20
BITS = {"ifmap": 16, "filter": 16, "psum": 32, "ofmap": 16}


def engine(**fields: Any) -> BitFusion:
    built = ENGINES.lookup("bit_fusion")(BitFusion.Spec(**{"rows": 16, "cols": 32, **fields}))
    assert isinstance(built, BitFusion)
    return built


def task_of(network: Network, name: str, bits: tuple[int, int] = (8, 8), free: int = 10**8, **more: Any) -> Task:
    trace = synthetic_trace(network, activation_bits=bits[0], weight_bits=bits[1])
    rooms = (
        Room("w", free, ("filter",), 2),
        Room("i", free, ("ifmap",), 2),
        Room("o", free, ("psum", "ofmap"), 2),
    )
    words = {"w": 64, "i": 64, "o": 64}
    return Task(network[name], trace, BITS, rooms, words, dram_bytes_per_cycle=Fraction(24), objective="cycles", **more)


@pytest.mark.parametrize(
    ("fusion", "bits", "expected"),
    [
        ("hybrid", (8, 8), (1, 1)),
        ("hybrid", (1, 1), (16, 1)),
        ("hybrid", (2, 8), (4, 1)),
        ("hybrid", (3, 5), (2, 1)),
        ("hybrid", (16, 8), (1, 2)),
        ("hybrid", (16, 2), (4, 2)),
        ("hybrid", (16, 16), (1, 4)),
        ("spatial", (4, 4), (4, 1)),
        ("temporal", (2, 2), (16, 1)),
        ("temporal", (8, 8), (16, 16)),
        ("temporal", (16, 4), (16, 16)),
    ],
)
def test_bricks_of_a_unit(fusion: str, bits: tuple[int, int], expected: tuple[int, int]) -> None:
    built = engine(fusion=fusion)
    assert built.fused(*bits) == expected
    # products and the cycles that they take: as many bricks as there are, all the time
    width = [max(2, 1 << (b - 1).bit_length()) for b in bits]
    assert built.bricks(*bits) * expected[0] == 16 * expected[1] == width[0] * width[1] // 4 * expected[0]


@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_cycles_equal_a_walk_over_steps(data: st.DataObject) -> None:
    small = st.integers(1, 9)
    groups = data.draw(st.integers(1, 2))
    bits = data.draw(st.sampled_from([2, 4, 8, 16])), data.draw(st.sampled_from([1, 2, 4, 8, 16]))
    first = data.draw(st.booleans())
    shape = (data.draw(st.integers(1, 2)), groups * data.draw(small), data.draw(st.integers(3, 6)), 4)
    conv = Conv(groups * data.draw(small), data.draw(st.integers(1, 3)), pad=1, groups=groups)
    nodes = [Node("x", Input(shape)), Node("relu", Activation("relu"), ("x",))]
    network = Network("net", [*nodes[: 1 if first else 2], Node("conv", conv, ("x" if first else "relu",))])
    built = engine(rows=data.draw(st.integers(1, 3)), cols=data.draw(st.integers(1, 3)), fill=False)
    pin = Mapping(
        groups, 1, data.draw(st.integers(1, 4)), MUCH, data.draw(small), MUCH, MUCH, MUCH,
        data.draw(st.sampled_from(["mnk", "nmk"])),
    )  # fmt: skip
    table = built.lower(task_of(network, "conv", bits, pinned=pin))
    work = network["conv"].work
    products, serial = built.fused(*bits)
    wide = built.spec.rows * products
    taps = work.r * work.s
    channels = work.c // groups
    unrolled = first and taps > 1
    steps = 0
    for _ in range(groups * work.n * work.p * work.q):  # every output pixel on its own, whatever the tiles
        for low in range(0, work.m // groups, min(pin.outputs, work.m // groups)):
            here = min(pin.outputs, work.m // groups - low)
            for _ in range(0, here, built.spec.cols):
                runs = [channels * taps] if unrolled else [channels] * taps
                steps += sum(len(range(0, length, wide)) for length in runs)
    assert int(table.rows["stream_cycles"].sum()) == steps * serial
    assert table.counts["fusion_unit", "brick"] == network.macs * built.bricks(*bits)


@pytest.mark.parametrize(("channels", "wins"), [(16, False), (20, True), (32, False), (40, True), (3, True)])
def test_windows_are_unrolled_where_it_saves_steps(channels: int, wins: bool) -> None:
    # 16 rows: 9 taps of 20 channels are 12 steps unrolled, 18 apart
    network = Network("net", [
        Node("x", Input((1, 8, 6, 6))), Node("a", Conv(channels, 1), ("x",)), Node("c", Conv(32, 3), ("a",)),
    ])  # fmt: skip
    steps = {}
    for im2col in ("always", "never", "wins"):
        table = engine(im2col=im2col, fill=False).lower(task_of(network, "c"))
        steps[im2col] = int(table.rows["stream_cycles"].sum())
    assert (steps["always"] < steps["never"]) is wins
    assert steps["wins"] == min(steps.values())


def test_the_last_tile_may_take_the_time_of_a_whole_one() -> None:
    network = Network("net", [Node("x", Input((1, 16, 1, 13))), Node("conv", Conv(33, (1, 1)), ("x",))])
    pin = Mapping(1, 1, 1, 4, MUCH, MUCH, MUCH, MUCH, "mnk")
    task = task_of(network, "conv", pinned=pin)
    assert int(engine(edge="ragged", fill=False).lower(task).rows["stream_cycles"].sum()) == 13 * 2
    assert int(engine(edge="full", fill=False).lower(task).rows["stream_cycles"].sum()) == 16 * 2
    last = engine(edge="ragged").lower(task).rows[-1]
    assert last["finish_cycles"] - last["stream_cycles"] == 16 + 32 - 2


def test_tiles_are_powers_of_two_in_half_of_each_buffer() -> None:
    network = Network("net", [Node("x", Input((4, 48, 9, 9))), Node("conv", Conv(48, 3, pad=1), ("x",))])
    built = engine()
    task = task_of(network, "conv", (4, 4), free=16384)
    narrow = replace(task, bits={"ifmap": 4, "filter": 4, "psum": 32, "ofmap": 4})
    mapping, tiles, _ = built.tile(Part(narrow, network["conv"].work))
    for name, extent in (("rows", 9), ("cols", 9), ("images", 4), ("outputs", 48), ("channels", 48)):
        assert getattr(mapping, name) in {1, 2, 4, 8, 16, 32, extent}
    assert mapping.rows == mapping.cols
    assert int((tiles["m"] * tiles["n"]).max()) * 4 <= 8192
    assert int((tiles["n"] * tiles["k"]).max()) // 2 <= 8192


# --- bad input ---


def test_widths_that_no_bricks_hold_are_refused() -> None:
    network = Network("net", [Node("x", Input((1, 8))), Node("fc", Linear(4), ("x",))])
    with pytest.raises(ConfigError, match=r"filter has 16 bits, but engine 'bit_fusion' computes with 1, .* 8$"):
        engine(fusion="spatial").lower(task_of(network, "fc", (8, 16)))
    with pytest.raises(ConfigError, match="layer fc: ifmap has 20 bits.*computes with 1, .*16$"):
        engine().lower(task_of(network, "fc", (20, 8)))


def test_bricks_wider_than_a_unit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"min_bits must be at most max_bits \(2\), got 8"):
        engine(max_bits=2, min_bits=8)


def test_bricks_without_known_costs_are_refused() -> None:
    with pytest.raises(ConfigError, match="bricks of 2 bits only, got min_bits=4"):
        engine(min_bits=4).costs(CostModel(45), BITS)


# --- the authors' simulator ---


def published_layer(row: dict[str, str]) -> Network:
    """One layer of the reference table as a network of its own."""
    batch, channels, outputs, kernel, stride, size, out = (
        int(row[x]) for x in ("batch", "in_ch", "out_ch", "kernel", "stride", "in_hw", "out_hw")
    )
    if row["type"] == "fc":
        return Network("net", [Node("x", Input((batch, channels))), Node("layer", Linear(outputs), ("x",))])
    pad = max(0, (out - 1) * stride + kernel - size)
    nodes = [Node("x", Input((batch, channels, size, size)))]
    if row["im2col"] == "0":  # not the first layer of its network
        nodes.append(Node("before", Activation("relu"), ("x",)))
    conv = Conv(outputs, kernel, stride, (pad // 2, pad // 2, pad - pad // 2, pad - pad // 2))
    return Network("net", [*nodes, Node("layer", conv, (nodes[-1].name,))])


def test_layers_equal_the_published_simulator() -> None:
    with reference("sparse_bit/bitfusion_layers_16x32_bw192_b16.csv").open() as file:
        published = {(r["network"], r["layer"]): r for r in csv.DictReader(file)}
    with reference("sparse_bit/bitfusion_networks.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if (r["network"], r["layer"]) in published]
    arch = load_arch("bit_fusion", ["engine.accounting=authors", "engine.fill=false"])
    assert len(rows) == len(published) == 30
    for row in rows:
        theirs = published[row["network"], row["layer"]]
        network = published_layer(row)
        trace = synthetic_trace(network, weight_bits=int(row["wgt_bits"]), activation_bits=int(row["act_bits"]))
        layer = next(x for x in simulate(arch, trace).layers if x.name == "layer")
        total, stalls = int(theirs["cycles"]), int(theirs["mem_stall_cycles"])
        assert layer.cycles_by_cause["compute"] == total - stalls, (row["network"], row["layer"])
        assert abs(layer.cycles - total) <= 0.05 * total, (row["network"], row["layer"])


def test_unrolled_windows_come_as_such_in_the_authors_accounting() -> None:
    """AlexNet's first layer: 363 inputs for each output pixel; tiles of them must fit half a buffer."""
    nodes = [Node("x", Input((16, 3, 227, 227))), Node("layer", Conv(96, 11, 4), ("x",))]
    trace = synthetic_trace(Network("net", nodes), weight_bits=8, activation_bits=8)
    arch = load_arch("bit_fusion", ["engine.accounting=authors", "engine.fill=false"])
    layer = simulate(arch, trace).layers[0]
    pixels, groups = 16 * 55 * 55, 3
    assert layer.cycles_by_cause["compute"] == pixels * groups * 23  # 363 inputs, 16 at a time; single pixels divide 55
    assert abs(layer.cycles - 3_746_423) < 0.01 * 3_746_423  # hsharma35/bitfusion, results, 192 bits a cycle


def test_counts_of_bricks_do_not_depend_on_tiles() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        m, n, k = (int(v) for v in rng.integers(1, 60, 3))
        network = Network("net", [Node("x", Input((m, k))), Node("fc", Linear(n), ("x",))])
        for free in (10**8, 4096):
            table = engine().lower(task_of(network, "fc", (4, 2), free))
            assert table.counts["fusion_unit", "brick"] == 2 * m * n * k
