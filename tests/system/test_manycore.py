"""Layers on many cores: shares cover the layer once, traffic is conserved, and laws of whole runs hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.sim.passes import ATTRIBUTION
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.partition import Partition, candidates, pieces, possible, split
from accelsim.system.placement import best_order
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Pool
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import Trace, synthetic_trace


def convolve(shape: ConvShape, ifmap: Any, filters: Any) -> Any:
    """(n, m, p, q), written as loops."""
    top, left, bottom, right = shape.pad
    padded = np.pad(ifmap, ((0, 0), (0, 0), (top, bottom), (left, right)))
    filters = filters.reshape(shape.m, shape.c // shape.g, shape.r, shape.s)
    out = np.zeros((shape.n, shape.m, shape.p, shape.q), np.int64)
    for m in range(shape.m):
        first = m // (shape.m // shape.g) * (shape.c // shape.g)
        for y in range(shape.p):
            for x in range(shape.q):
                top_left = y * shape.stride[0], x * shape.stride[1]
                for r in range(shape.r):
                    for s in range(shape.s):
                        at = top_left[0] + r * shape.dilation[0], top_left[1] + s * shape.dilation[1]
                        seen = padded[:, first : first + shape.c // shape.g, at[0], at[1]]
                        out[:, m, y, x] += seen @ filters[m, :, r, s]
    return out


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_shares_of_a_convolution_add_up_to_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    r, stride = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    pad = tuple(int(x) for x in rng.integers(0, r, 4))
    shape = ConvShape(
        int(rng.integers(1, 3)), groups * int(rng.integers(1, 4)), int(rng.integers(4, 9)), 5,
        groups * int(rng.integers(1, 4)), r, 2, (stride, 1), pad, (1, 1), groups,  # type: ignore[arg-type]
    )
    images, rows, outputs, channels = (int(x) for x in rng.integers(1, 4, 4))
    counts = {"images": images, "rows": rows, "outputs": outputs, "channels": channels}
    uneven = [loop for loop in counts if rng.integers(0, 2)]
    shares = tuple((loop, tuple(int(x) for x in rng.integers(1, 9, counts[loop]))) for loop in uneven)
    partition = Partition(**counts, shares=shares)
    if not possible(shape, partition):
        with pytest.raises(ConfigError, match="cannot cut the layer"):
            pieces(shape, partition)
        return
    ifmap = rng.integers(-3, 4, (shape.n, shape.c, shape.h, shape.w))
    filters = rng.integers(-3, 4, (shape.g, shape.m // shape.g, shape.c // shape.g, shape.r, shape.s))
    out = np.zeros((shape.n, shape.m, shape.p, shape.q), np.int64)
    macs = 0
    for piece in pieces(shape, partition):
        own, at = piece.shape, piece.share
        assert isinstance(own, ConvShape)
        per_c, per_m = shape.c // shape.g, shape.m // shape.g
        c0, m0 = at.group0 * per_c + at.channel0, at.group0 * per_m + at.output0
        mine = ifmap[at.image0 : at.image0 + own.n, c0 : c0 + own.c, at.in_row0 : at.in_row0 + own.h]
        weights = filters[
            at.group0 : at.group0 + own.g,
            at.output0 : at.output0 + own.m // own.g,
            at.channel0 : at.channel0 + own.c // own.g,
        ]
        part = convolve(own, mine, weights)
        out[at.image0 : at.image0 + own.n, m0 : m0 + own.m, at.row0 : at.row0 + own.p] += part
        macs += own.macs
    assert (out == convolve(shape, ifmap, filters)).all()
    assert macs == shape.macs


@given(st.integers(1, 60), st.lists(st.integers(1, 50), min_size=1, max_size=9))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_uneven_parts_cover_a_loop_once_and_follow_their_shares(extra: int, shares: list[int]) -> None:
    extent = len(shares) + extra
    found = split(extent, len(shares), tuple(shares))
    ends = [first + size for first, size in found]
    assert [first for first, _ in found] == [0, *ends[:-1]] and ends[-1] == extent
    assert all(size >= 1 for _, size in found)
    due = [extent * share / sum(shares) for share in shares]
    if min(due) >= 1:
        assert all(abs(size - d) < 1 for (_, size), d in zip(found, due, strict=True))
    if sum(shares) == extent:
        assert [size for _, size in found] == shares
    assert split(extent, len(shares), (1,) * len(shares)) == split(extent, len(shares))


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(1, 3), st.integers(1, 12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_candidates_can_be_cut_and_shares_of_a_product_cover_it(m: int, n: int, k: int, batch: int, cores: int) -> None:
    shape = GemmShape(m, n, k, batch)
    options = candidates(shape, cores)
    assert options
    for option in options:
        covered = np.zeros((batch, m, n, k), int)
        for piece in pieces(shape, option):
            own, at = piece.shape, piece.share
            assert isinstance(own, GemmShape)
            covered[
                at.group0 : at.group0 + own.batch,
                at.image0 : at.image0 + own.m,
                at.output0 : at.output0 + own.n,
                at.channel0 : at.channel0 + own.k,
            ] += 1
        assert (covered == 1).all()
        assert option.cores <= cores


NETWORK = Network(
    "small",
    [
        Node("x", Input((1, 8, 12, 12))),
        Node("conv", Conv(16, 3, pad=1, bias=False), ("x",)),
        Node("pool", Pool("max", 2, 2), ("conv",)),
        Node("wide", Conv(32, 3, pad=1, bias=False), ("pool",)),
        Node("fc", Linear(40), ("wide",)),
    ],
)

MANY = """
extends: systolic_ws_32
name: many
source: test
engine: {rows: 4, cols: 4}
dram: {fidelity: bandwidth}
cores:
  count: 8
  hubs: [8]
  shared_buffer: {name: global_buffer, capacity_bytes: 65536, word_bits: 64}
noc: {topology: reduction_and_broadcast}
"""


def many(tmp_path: Path, *overrides: str, noc: str = "mesh, columns: 3, rows: 3, flit_bytes: 8") -> Architecture:
    path = tmp_path / "many.yaml"
    path.write_text(MANY.replace("reduction_and_broadcast", noc))
    return load_arch(path, overrides)


def trace() -> Trace:
    return synthetic_trace(NETWORK)


def test_a_run_obeys_the_laws(tmp_path: Path) -> None:
    result = simulate(many(tmp_path), trace())
    assert result.macs == NETWORK.macs
    for layer in result.layers:
        assert set(layer.cycles_by_cause) == set(ATTRIBUTION)
        assert layer.energy_pj["noc"] > 0
        assert layer.info["cores"] >= 1 and 0 < layer.info["core_utilization"] <= 1
    # feature maps stay at the hub; weights are fetched once: no layer is cut by pixels here
    assert result.layers[0].dram_bytes["ifmap"] > 0 and result.layers[2].dram_bytes["ifmap"] == 0
    assert result.cycles == result.timeline.end
    again = simulate(many(tmp_path), trace())
    assert again.to_json() == result.to_json()


@pytest.mark.parametrize(
    "noc", ["mesh, columns: 3, rows: 3, flit_bytes: 8, fidelity: bandwidth", "switch, ports: 9, flit_bytes: 8"]
)
def test_any_network_will_do(tmp_path: Path, noc: str) -> None:
    result = simulate(many(tmp_path, noc=noc), trace())
    assert result.macs == NETWORK.macs


def test_many_cores_are_faster_than_one_and_an_ideal_network_is_fastest(tmp_path: Path) -> None:
    one = simulate(many(tmp_path, "cores.count=1"), trace()).cycles
    eight = simulate(many(tmp_path), trace()).cycles
    ideal = simulate(many(tmp_path, "noc.fidelity=ideal"), trace()).cycles
    assert ideal < eight < one


@pytest.mark.parametrize(
    "pin", ["outputs: 8", "channels: 4", "rows: 4", "rows: 2, outputs: 2, channels: 2"]
)
def test_a_pinned_partition_is_used(tmp_path: Path, pin: str) -> None:
    result = simulate(many(tmp_path, f"cores.partition=[{{layers: wide, {pin}}}]"), trace())
    wide = next(layer for layer in result.layers if layer.name == "wide")
    counts = dict(part.split(": ") for part in pin.split(", "))
    assert wide.info["partition"] == Partition(**{name: int(count) for name, count in counts.items()}).describe()
    assert wide.macs == NETWORK["wide"].macs
    if "channels" not in pin and "rows" not in pin:
        # distinct filters: everyone's ifmap is one multicast, so DRAM sees each weight once
        assert wide.dram_bytes["filter"] == NETWORK["wide"].params


def test_uneven_shares_are_pinned(tmp_path: Path) -> None:
    """Every MAC once; the core with twice the work takes twice the array's time."""
    pin = "cores.partition=[{layers: wide, outputs: 4, shares: {outputs: [4, 2, 1, 1]}}]"
    result = simulate(many(tmp_path, pin), trace())
    wide = next(layer for layer in result.layers if layer.name == "wide")
    assert wide.info["partition"] == "outputs 4 (4:2:1:1)"
    assert wide.macs == NETWORK["wide"].macs and wide.dram_bytes["filter"] == NETWORK["wide"].params
    even = simulate(many(tmp_path, "cores.partition=[{layers: wide, outputs: 4}]"), trace())
    layer = next(layer for layer in even.layers if layer.name == "wide")
    assert wide.cycles_by_cause["compute"] == 2 * layer.cycles_by_cause["compute"]


def test_searched_shares_give_distant_cores_less(tmp_path: Path) -> None:
    """Four cores in a row, the memory before the first, slow links: shares fall with the distance, the time too."""
    row = ("cores.count=4", "cores.terminals=[1, 2, 3, 4]", "cores.hubs=[0]", "cores.resident_weights=true",
           "cores.shared_buffer.capacity_bytes=1000000", "dram.fidelity=ideal", "cores.placement=order")  # fmt: skip
    network = Network("rows", [Node("x", Input((1, 8, 48, 12))), Node("conv", Conv(8, 3, pad=1, bias=False), ("x",))])
    pin = "cores.partition=[{rows: 4}]"
    even, uneven = (
        simulate(
            many(tmp_path, *row, *more, noc="mesh, columns: 5, rows: 1, flit_bytes: 64, link_cycles: 60"),
            synthetic_trace(network),
        ).layers[0]
        for more in ((pin,), ("cores.shares=searched", pin))
    )
    assert uneven.macs == even.macs == network.macs
    sizes = [int(x) for x in uneven.info["partition"].split("(")[1].rstrip(")").split(":")]
    assert sum(sizes) == 48 and sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    assert uneven.cycles < even.cycles
    assert uneven.info["note"] == f"alone {uneven.cycles} cycles, with even shares {even.cycles}"


def test_weights_that_must_be_resident_cause_no_traffic(tmp_path: Path) -> None:
    result = simulate(many(tmp_path, "cores.resident_weights=true"), trace())
    assert all(layer.dram_bytes["filter"] == 0 for layer in result.layers)


def test_a_pipeline_overlaps_layers(tmp_path: Path) -> None:
    assign = "cores.assign=[{layers: conv, cores: [0, 1, 2, 3]}, {layers: '*', cores: [4, 5, 6, 7]}]"
    options = ("cores.schedule=pipeline", "cores.resident_weights=true", assign)
    one, four = (simulate(many(tmp_path, *options, f"cores.items={n}"), trace()) for n in (1, 4))
    assert four.batch == 4 and four.macs == 4 * one.macs
    assert four.cycles < 4 * one.cycles
    assert four.cycles > max(layer.cycles for layer in one.layers) * 4


def test_feature_maps_go_from_core_to_core(tmp_path: Path) -> None:
    """Two layers on neighbours far from the hub: maps take one hop instead of the way there and back."""
    network = Network("two", [Node("x", Input((1, 64))), Node("a", Linear(64), ("x",)), Node("b", Linear(64), ("a",))])
    options = (
        "cores.schedule=pipeline", "cores.resident_weights=true", "cores.count=9", "cores.hubs=[0]",
        "cores.assign=[{layers: a, cores: [8]}, {layers: b, cores: [7]}]", "cores.shared_buffer=null",
    )  # fmt: skip
    hubs = simulate(many(tmp_path, *options[:-1]), synthetic_trace(network))
    cores = simulate(many(tmp_path, *options, "cores.feature_maps=cores"), synthetic_trace(network))
    for result in (hubs, cores):
        assert result.layers[0].dram_bytes["ofmap"] == result.layers[1].dram_bytes["ifmap"] == 0
    there = [sum(v for (part, _), v in r.counts().items() if part == "noc") for r in (hubs, cores)]
    assert there[1] < there[0] and cores.cycles < hubs.cycles
    assert not any(part == "global_buffer" for part, _ in cores.counts())
    # without a place for them on the chip they go to DRAM
    off = simulate(many(tmp_path, *options), synthetic_trace(network))
    assert off.layers[1].dram_bytes["ifmap"] == 64


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("cores.hubs=[9]",), "9 terminals, from 0 on, but cores and hubs use number 9"),
        (("cores.items=2",), "belong to schedule: pipeline"),
        (("cores.feature_maps=cores",), "feature_maps: cores needs no shared_buffer"),
        (("cores.partition=[{outputs: 16}]",), "needs 16 cores, there are 8"),
        (("cores.partition=[{rows: 8, layers: fc}]",), "cannot cut the layer into rows 8"),
        (("cores.partition=[{outputs: 4, shares: {outputs: [1, 2]}}]",), "shares of outputs must be 4 numbers, got 2"),
        (("cores.partition=[{outputs: 2, shares: {outputs: [1, 0]}}]",), r"shares.outputs\[1\]: must be >= 1, got 0"),
        (("cores.terminals=[0, 1]",), "must name 8 different terminals, got 2"),
        (
            ("cores.resident_weights=true", "buffers.filter_buffer.capacity_bytes=1024", "cores.partition=[{rows: 1}]"),
            r"must be resident, but core 0 would hold \d+ bytes and its 'filter_buffer' has 1024",
        ),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(many(tmp_path, *overrides), trace())


def test_weights_too_many_for_all_cores_are_refused_before_any_layer_is_mapped(tmp_path: Path) -> None:
    """By how much they do not fit 8 x 100 bytes, and what would hold them."""
    arch = many(tmp_path, "cores.resident_weights=true", "buffers.filter_buffer.capacity_bytes=100")
    mapped: list[str] = []
    need = 6000
    message = (
        rf"are {need} bytes, and the 'filter_buffer' of 8 cores have 800: {need - 800} too few; at least "
        rf"{-(-need // 100)} cores would hold them, or {-(-need // 8)} bytes in each"
    )
    with pytest.raises(ConfigError, match=message):
        simulate(arch, trace(), progress=lambda done, of, name: mapped.append(name))
    assert not mapped


def test_shares_are_placed_where_their_messages_are_short() -> None:
    """4 x 4 cores, four chains of four: sums along rows or columns of the mesh, never across it."""
    shape = GemmShape(8, 4, 4)
    partition = Partition(images=4, channels=4)
    found = pieces(shape, partition)
    places = np.array([(x, y) for y in range(4) for x in range(4)], np.float64)
    heavy_sums = best_order(found, partition, places, (1, 1, 1000))
    chains = np.array(heavy_sums).reshape(4, 4)
    assert np.abs(np.diff(places[chains], axis=1)).sum() == 12  # neighbours
    assert sorted(heavy_sums) == list(range(16))
    heavy_weights = best_order(found, partition, places, (1, 1000, 1))
    sharing = places[np.array(heavy_weights).reshape(4, 4)]  # (image part, channel part)
    assert (sharing.max(0) - sharing.min(0)).sum() == 12  # equal weights in one row or column


def test_placement_never_costs_correctness(tmp_path: Path) -> None:
    pin = "cores.partition=[{layers: wide, rows: 2, outputs: 2, channels: 2}]"
    searched, plain = (
        simulate(many(tmp_path, pin, f"cores.placement={how}"), trace()) for how in ("searched", "order")
    )
    assert searched.macs == plain.macs
    assert [x.dram_bytes for x in searched.layers] == [x.dram_bytes for x in plain.layers]
