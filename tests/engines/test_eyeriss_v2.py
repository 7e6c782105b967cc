"""Eyeriss v2: cycles of PEs against a walk over the nonzeros in plain Python, and laws of the rounds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.eyeriss.csc_work import columns_per_pe, entering, input_counts, pe_cycles, weight_counts
from accelsim.engines.eyeriss_v2 import EyerissV2
from accelsim.mapping.problem import Mapping, Room
from accelsim.sim.passes import PassTable
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import synthetic_trace

BITS = {"ifmap": 8, "filter": 8, "psum": 20, "ofmap": 8}


def engine(**more: Any) -> EyerissV2:
    values = {
        "clusters": 2, "cluster_rows": 2, "cluster_cols": 2, "columns": 4, "weight_spad": 16, "psum_spad": 4,
        "input_words": 4, "weight_words": 4, "psum_words": 4, **more,
    }  # fmt: skip
    built = ENGINES.lookup("eyeriss_v2")(EyerissV2.Spec(**values))
    assert isinstance(built, EyerissV2)
    return built


def task_of(network: Network, density: float, seed: int, pinned: Mapping | None = None) -> Task:
    trace = synthetic_trace(network, weight_density=density, activation_density=density, seed=seed)
    room = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)
    name = network.layers[-1].name
    return Task(network[name], trace, BITS, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(4), pinned=pinned)


@st.composite
def layers(draw: st.DrawFn) -> Network:
    """A convolution (stride, padding, groups, dilation) or a matrix product."""
    if draw(st.booleans()):
        n, c = draw(st.integers(1, 4)), draw(st.integers(1, 20))
        return Network("net", [Node("x", Input((n, c))), Node("fc", Linear(draw(st.integers(1, 12))), ("x",))])
    groups = draw(st.integers(1, 3))
    channels, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 6))
    kernel, pad = draw(st.integers(1, 3)), draw(st.integers(0, 1))
    shape = (draw(st.integers(1, 2)), channels, draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    conv = Conv(outputs, kernel, draw(st.integers(1, 2)), pad, groups=groups)
    return Network("net", [Node("x", Input(shape)), Node("conv", conv, ("x",))])


def naive_pe(
    shape: ConvShape | GemmShape, ifmap: Any, filters: Any, group: int, outputs: range, columns: range,
    positions: range, simd: int,
) -> int:  # fmt: skip
    """One PE: every position, every nonzero input of its window, its column's nonzero weights `simd` a cycle."""
    cycles = 0
    for position in positions:
        for column in columns:
            if isinstance(shape, GemmShape):
                value = ifmap[group, position, column]
                weights = [filters[group, o, column] for o in outputs]
            else:
                image, rest = divmod(position, shape.p * shape.q)
                y, x = divmod(rest, shape.q)
                c, tap = divmod(column, shape.r * shape.s)
                r, s = divmod(tap, shape.s)
                row = y * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
                col = x * shape.stride[1] + s * shape.dilation[1] - shape.pad[1]
                inside = 0 <= row < shape.h and 0 <= col < shape.w
                value = ifmap[image, group * (shape.c // shape.g) + c, row, col] if inside else 0
                weights = [filters[group, o, c, r, s] for o in outputs]
            if value:
                nonzero = sum(1 for w in weights if w)
                cycles += -(-nonzero // simd)
    return cycles


@given(network=layers(), density=st.sampled_from([0.2, 0.5, 0.9, 1.0]), seed=st.integers(0, 2**31), data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_cycles_of_every_pe_are_those_of_a_walk_over_the_nonzeros(
    network: Network, density: float, seed: int, data: st.DataObject
) -> None:
    task = task_of(network, density, seed)
    part = Part(task, task.layer.work)  # type: ignore[arg-type]
    _, tiles, _ = engine().tile(part)
    block, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    pieces, simd = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    ifmap, filters, shape = part.ifmap(), part.filters(), part.shape
    whole = max(tiles, key=lambda tile: int(tile["m"] * tile["k"]))
    if isinstance(shape, ConvShape):
        full = (shape.n, shape.p, shape.q) == tuple(int(whole[x]) for x in ("images", "rows", "cols"))
    else:
        full = True
    if not full:
        return
    m = int(whole["m"])
    pieces = min(pieces, m)
    cuts = np.arange(pieces) * m // pieces
    ends = [*cuts[1:].tolist(), m]
    work = pe_cycles(input_counts(part, whole, cuts, False), weight_counts(part, whole, block, False), size, simd)
    taps = int(whole["k"]) // int(whole["channels"])
    first = int(whole["channel0"]) * taps + int(whole["tap0"])
    index = 0
    for g in range(int(whole["group0"]), int(whole["group0"] + whole["groups"])):
        for o in range(0, int(whole["n"]), block):
            outputs = range(int(whole["output0"]) + o, int(whole["output0"]) + min(o + block, int(whole["n"])))
            for b in range(work.shape[1]):
                columns = range(first + b * size, first + min((b + 1) * size, int(whole["k"])))
                for piece in range(pieces):
                    positions = range(int(cuts[piece]), ends[piece])
                    if isinstance(shape, GemmShape):
                        positions = range(positions.start + int(whole["image0"]), positions.stop + int(whole["image0"]))
                    expect = naive_pe(shape, ifmap, filters, g, outputs, columns, positions, simd)
                    assert work[index, b, piece] == expect
            index += 1


@given(
    density=st.sampled_from([0.2, 0.6, 1.0]), seed=st.integers(0, 2**31), outputs=st.integers(1, 24),
    channels=st.integers(1, 16), side=st.integers(1, 4), grid=st.sampled_from([(1, 1, 2), (2, 2, 2), (3, 1, 4)]),
)  # fmt: skip
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_round_lasts_as_long_as_its_slowest_pe(
    density: float, seed: int, outputs: int, channels: int, side: int, grid: tuple[int, int, int]
) -> None:
    """Routers without limits: every round of every tile, PE by PE, by hand."""
    clusters, rows, cols = grid
    wide = {"input_words": 256, "weight_words": 256, "psum_words": 256}
    built = engine(clusters=clusters, cluster_rows=rows, cluster_cols=cols, **wide)
    network = Network("net", [Node("x", Input((1, channels, side, side))), Node("conv", Conv(outputs, 1), ("x",))])
    task = task_of(network, density, seed)
    part = Part(task, task.layer.work)  # type: ignore[arg-type]
    _, tiles, _ = built.tile(part)
    ifmap, filters = part.ifmap() != 0, part.filters() != 0
    for tile in tiles:
        n, m, k = int(tile["n"]), int(tile["m"]), int(tile["k"])
        block = -(-n // -(-n // 4))
        weights = weight_counts(part, tile, block, False)
        size = columns_per_pe(weights, 4, 16)
        outs, blocks = weights.shape[1], -(-k // size)
        mean = max(1, int((-(-weights // 2)).sum()) // (outs * blocks))
        _, split = built._split((outs, blocks, m), mean, block, size, outs)
        assert split.filters * split.columns * split.positions <= clusters * rows * cols
        cuts = [i * m // split.positions for i in range(split.positions)] + [m]
        first, here = int(tile["row0"]) * side + int(tile["col0"]), ifmap[0].reshape(channels, -1)
        cycles = 0
        for o0 in range(0, outs, split.filters):
            for b0 in range(0, blocks, split.columns):
                slowest = 0
                for o in range(o0, min(outs, o0 + split.filters)):
                    for b in range(b0, min(blocks, b0 + split.columns)):
                        for low, high in zip(cuts, cuts[1:], strict=False):
                            work = 0
                            for column in range(b * size, min(k, (b + 1) * size)):
                                c = int(tile["channel0"]) + column
                                met = int(here[c, first + low : first + high].sum())
                                at = int(tile["output0"]) + o * block
                                mine = filters[0, at : min(at + block, int(tile["output0"]) + n), c, 0, 0]
                                work += met * -(-int(mine.sum()) // 2)
                            slowest = max(slowest, work)
                cycles += slowest + 7
        least = int(tile["supply_cycles"])
        assert int(tile["cycles"]) - least == cycles


def lower(network: Network, density: float = 1.0, seed: int = 1, **more: Any) -> PassTable:
    table = engine(**more).lower(task_of(network, density, seed))
    table.check()
    return table


@given(network=layers(), density=st.sampled_from([0.3, 0.7, 1.0]), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_laws_of_the_rounds(network: Network, density: float, seed: int) -> None:
    sparse = lower(network, density, seed)
    layer = network.layers[-1]
    assert sparse.macs == layer.macs
    rows = sparse.rows
    parts = rows["busy_cycles"] + rows["imbalance_cycles"] + rows["bank_conflict_cycles"]
    latency = sparse.info["rounds"] * 7
    assert int((rows["finish_cycles"] - parts).sum()) == latency
    if sparse.info["mode"] == "sparse":  # depthwise runs dense
        assert sparse.counts.get(("mac", "mac_8x8"), 0) == sparse.effectual_macs
    # no PE does more than two products a cycle
    products = sparse.counts.get(("mac", "mac_8x8"), 0) + sparse.counts.get(("mac", "gated"), 0)
    assert products <= 2 * sparse.info["pe_cycles"]
    assert sparse.info["pe_cycles"] <= 8 * int(rows["finish_cycles"].sum())
    dense = lower(network, density, seed, mode="dense")
    assert dense.counts.get(("mac", "mac_8x8"), 0) + dense.counts.get(("mac", "gated"), 0) == layer.macs
    assert dense.info["pe_cycles"] >= sparse.info["pe_cycles"]


def test_dense_operands_take_the_same_pe_cycles_in_both_modes() -> None:
    network = Network("net", [Node("x", Input((1, 6, 5, 5))), Node("conv", Conv(8, 3), ("x",))])
    assert lower(network).info["pe_cycles"] == lower(network, mode="dense").info["pe_cycles"]


def test_depthwise_layers_run_dense() -> None:
    network = Network("net", [Node("x", Input((1, 6, 5, 5))), Node("conv", Conv(6, 3, groups=6), ("x",))])
    table = lower(network, 0.5)
    assert table.info["mode"] == "dense"
    # one filter for each input: the second multiplier has nothing to do
    assert table.info["pe_cycles"] == table.macs


def test_wider_routers_are_never_slower() -> None:
    network = Network("net", [Node("x", Input((1, 8, 6, 6))), Node("conv", Conv(16, 1), ("x",))])
    cycles = [
        int(lower(network, 0.6, input_words=w, weight_words=w, psum_words=w).rows["finish_cycles"].sum())
        for w in (1, 2, 4, 64)
    ]
    assert cycles[-1] == min(cycles) and cycles[0] == max(cycles) and cycles[0] > cycles[-1]


def test_compressed_traffic_follows_the_nonzeros() -> None:
    network = Network("net", [Node("x", Input((1, 64))), Node("fc", Linear(64), ("x",))])
    task = task_of(network, 0.25, 3)
    rows = engine().lower(task).rows
    filters = Part(task, task.layer.work).filters()  # type: ignore[arg-type]
    least = int(np.count_nonzero(filters)) * 12 // 8
    assert least <= int(rows["filter_bytes"].sum()) <= least + len(rows)  # each tile in whole bytes
    plain = engine(mode="dense").lower(task).rows
    assert int(plain["filter_bytes"].sum()) == 64 * 64


def test_a_pe_holds_as_many_columns_as_its_weights_allow() -> None:
    weights = np.array([[[4, 4, 4, 4, 1, 1, 1, 1]]])
    assert columns_per_pe(weights, 8, 20) == 8
    assert columns_per_pe(weights, 8, 19) == 7  # all but the last column
    assert columns_per_pe(weights, 8, 16) == 4
    assert columns_per_pe(weights, 8, 3) == 1


@pytest.mark.parametrize(("stride", "fresh"), [(1, [2, 5, 8]), (2, [1, 2, 4, 5, 7, 8]), (3, list(range(9)))])
def test_inputs_slide_along_a_filter_row(stride: int, fresh: list[int]) -> None:
    network = Network("net", [Node("x", Input((1, 1, 9, 9))), Node("conv", Conv(1, 3, stride), ("x",))])
    task = task_of(network, 1.0, 0)
    part = Part(task, task.layer.work)  # type: ignore[arg-type]
    _, tiles, _ = engine().tile(replace(part))
    assert np.flatnonzero(entering(part, tiles[0], 9)).tolist() == fresh
