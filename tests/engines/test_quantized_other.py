"""UNPU, binary, ternary, table, reuse and outlier engines: rates, brute-force counts, energy and bad input."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.kernels.reuse import factor_tables
from accelsim.engines.ucnn import ordered_codes
from accelsim.mapping.problem import Mapping, Room
from accelsim.sim.passes import PassTable
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear
from accelsim.workload.trace import Trace, TraceWriter, synthetic_trace

MUCH = 2**20
WHOLE = Mapping(MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, "mnk")
BITS = {"ifmap": 16, "filter": 16, "psum": 32, "ofmap": 16}
ROOM = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)

CLOSED = {
    "unpu": {}, "xnor": {"inputs": 8, "accumulators": 8}, "yodann": {}, "q_table": {"tables": 2, "lanes": 2}, "dnpu":
    {"tables": 2, "lanes": 2}, "ternary_stream": {"par_in": 2, "par_out": 2}, "minerva": {},
}  # fmt: skip


def lower(kind: str, fields: dict[str, Any], network: Network, trace: Trace, pin: Mapping | None = WHOLE) -> PassTable:
    made = ENGINES.lookup(kind)
    layer = network.layers[-1]
    task = Task(layer, trace, BITS, (ROOM,), {"all": 64}, dram_bytes_per_cycle=Fraction(4), pinned=pin)
    return made(made.Spec(**fields)).lower(task)


def conv(channels: int = 8, filters: int = 8, kernel: int = 3, size: int = 8) -> Network:
    op = Conv(filters, kernel, 1, kernel // 2, bias=False)
    return Network("net", [Node("x", Input((1, channels, size, size))), Node("c", op, ("x",))])


def stored(path: Path, network: Network, w: Any, bits: int, **how: Any) -> Trace:
    with TraceWriter(path, network, name="t") as writer:
        writer.add(network.layers[-1].name, "filter", w, bits=bits, **how)
    return Trace.open(path)


# --- rates ---


@pytest.mark.parametrize(("bits", "rate"), [(1, 18432), (2, 6912), (4, 3456), (8, 1728), (16, 864)])
def test_unpu_has_its_published_rates_at_every_width(bits: int, rate: int) -> None:
    net = conv(144, 64, 3, 24)
    trace = synthetic_trace(net, weight_bits=bits, activation_bits=16)
    table = lower("unpu", {}, net, trace)
    assert table.peak_macs_per_cycle == rate
    cycles = int(table.rows["stream_cycles"][0])
    # 24 x 24 positions, 144 = 8 x 18 channels (6 x 24 when binary) and 64 outputs fill it
    assert net.macs == cycles * rate


def test_kernels_of_yodann_fill_their_slots() -> None:
    busy = {}
    for kernel in (3, 5, 7):
        net = conv(32, 64, kernel, 16)
        trace = synthetic_trace(net, weight_bits=1, activation_bits=12)
        busy[kernel] = int(lower("yodann", {}, net, trace).rows["busy_cycles"][0])
    assert busy == {3: 32 * 256, 5: 2 * 32 * 256, 7: 2 * 32 * 256}


def test_xne_loads_inputs_between_rows_of_weights() -> None:
    net = conv(256, 200, 3, 4)
    table = lower(
        "xnor", {"inputs": 128, "accumulators": 128, "load_cycles": 1, "threshold_lanes": 16},
        net, synthetic_trace(net, weight_bits=1, activation_bits=1),
    )  # fmt: skip
    assert int(table.rows["stream_cycles"][0]) == 16 * (18 * (1 + 128) + 8 + 18 * (1 + 72) + 5)


def test_dnpu_splits_multipliers_for_convolutions_and_looks_up_in_matrices() -> None:
    net = conv(16, 16, 3, 8)
    fields = {"tables": 8, "lanes": 8, "positions": 48, "outputs": 16}
    cycles = [
        int(lower("dnpu", fields, net, synthetic_trace(net, weight_bits=bits)).rows["stream_cycles"][0])
        for bits in (16, 8, 4, 3)
    ]
    assert cycles == [2 * 9 * 16, 2 * 9 * 8, 2 * 9 * 4, 2 * 9 * 4]
    fc = Network("net", [Node("x", Input((1, 64))), Node("fc", Linear(80, bias=False), ("x",))])
    table = lower("dnpu", {**fields, "skip_zeros": False}, fc, synthetic_trace(fc, weight_bits=4))
    assert int(table.rows["stream_cycles"][0]) == 1 + 8 * 10


# --- brute force ---


def factored(w: np.ndarray, limit: int = 0, reach: int = 0) -> tuple[int, ...]:
    codes, rank, distinct, zero = ordered_codes(w)
    out = np.zeros((1, 1, 5), np.int64)
    factor_tables(codes[None], rank, np.array([len(w), limit, reach, distinct, zero]), out)
    return tuple(out[0, 0].tolist())


def test_products_of_reuse_equal_groups_counted_by_hand() -> None:
    rng = np.random.default_rng(2)
    for filters in (1, 2, 3, 4):
        w = rng.integers(-1, 3, (filters, 60))
        entries, bubbles, products, _, skips = factored(w)
        used = [tuple(column) for column in w.T.tolist() if any(column)]
        groups = [Counter(column[: f + 1] for column in used) for f in range(filters)]
        live = [sum(prefix[-1] != 0 for prefix in group) for group in groups]
        assert entries == len(used)
        assert products == sum(live)
        # products of groups that end at the same entry come after each other
        last = {prefix: max(c for c in set(used) if c[: len(prefix)] == prefix) for group in groups for prefix in group}
        ends = Counter(place for prefix, place in last.items() if prefix[-1] != 0)
        assert bubbles == sum(count - 1 for count in ends.values())
        assert skips == 0
    assert factored(np.zeros((2, 5), np.int64)) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32])
def test_long_groups_are_cut_and_absent_weights_are_passed(dtype: type) -> None:
    # 7 times -3, once 0, 4 times 5; the layer has -3 -2 -1 0 1 2 3 5
    w = np.array([[-3] * 7 + [0] + [5] * 4, [-3, -2, -1, 0, 1, 2, 3, 5, 0, 0, 0, 0]], dtype)
    codes, rank, distinct, zero = ordered_codes(w)
    assert (distinct, zero) == (8, 3)
    for limit, reach, products, skips in ((0, 0, 2, 0), (3, 0, 5, 0), (4, 1, 3, 6), (4, 4, 3, 2), (16, 9, 2, 1)):
        out = np.zeros((1, 2, 5), np.int64)
        factor_tables(codes[None], rank, np.array([1, limit, reach, distinct, zero]), out)
        assert out[0, 0].tolist() == [11, 0, products, 0, skips]


def test_many_weights_shared_by_many_filters() -> None:
    rng = np.random.default_rng(3)
    w = rng.integers(-30000, 30000, (7, 40)).astype(np.int16)  # more keys than fit a number
    w[:3] = 5
    entries, bubbles, products, sums, _ = factored(w)
    assert (entries, products, sums) == (40, 3 + 4 * 40, 40 * 4 + 2)
    assert bubbles == 40 * 3 + 3


def test_tables_are_shared_by_how_many_weights_differ(tmp_path: Path) -> None:
    net, shares = conv(), []
    for bits in (2, 4, 8):
        top = 2 ** (bits - 1)
        w = (np.arange(8 * 8 * 9) % (2 * top - 1) - top + 1).reshape(8, 8, 3, 3).astype(np.int8)
        with TraceWriter(tmp_path / f"{bits}.trace", net, name="t") as writer:
            writer.add("c", "filter", w, bits=bits, signed=True)
        shares.append(lower("ucnn", {}, net, Trace.open(tmp_path / f"{bits}.trace")).info["filters_per_table"])
    assert shares == [4, 2, 1]


def test_few_outliers_cost_few_cycles() -> None:
    net = conv(32, 32, 3, 12)
    fields = {"groups": 4, "outlier_groups": 2, "dense": "allow"}
    cycles = []
    for std in (0.02, 0.3):
        trace = synthetic_trace(
            net, activation_density=0.5, weight_distribution="gaussian", activation_distribution="gaussian",
            weight_std=std, activation_std=std,
        )  # fmt: skip
        table = lower("olaccel", fields, net, trace)
        found = (table.info[f"{kind}_products"] for kind in ("narrow", "outlier_weight", "outlier_activation"))
        assert sum(found) <= net.macs
        cycles.append(int(table.rows["stream_cycles"][0]))
    assert cycles[0] < cycles[1]


def test_tiles_add_up_to_the_layer() -> None:
    net = conv(16, 16, 3, 8)
    pin = Mapping(1, 1, 4, MUCH, 8, 8, MUCH, MUCH, "nkm")
    for kind, fields, bits in (
        ("unpu", {"cores": 2, "readers": 4, "pes": 1, "tables": 4, "inputs": 2, "update_cycles": 0}, 4),
        ("xnor", {"inputs": 8, "accumulators": 8}, 1), ("minerva", {"lanes": 4}, 4),
        ("ternary_stream", {"par_in": 8, "par_out": 4}, 2),
    ):  # fmt: skip
        trace = synthetic_trace(net, weight_bits=bits, activation_bits=bits)
        whole, parts = (lower(kind, fields, net, trace, p) for p in (WHOLE, pin))
        assert len(parts.rows) == 8
        assert int(parts.rows["stream_cycles"].sum()) == int(whole.rows["stream_cycles"].sum()), kind


# --- energy ---


def test_predication_saves_energy_and_no_time() -> None:
    net = load_network("lenet_300_100")
    arch = load_arch("minerva")
    dense, sparse = (
        simulate(arch, synthetic_trace(net, activation_density=density)) for density in (1.0, 0.25)
    )  # fmt: skip
    assert sparse.cycles == dense.cycles
    parts = [result.energy_by_component() for result in (dense, sparse)]
    assert parts[1]["weight_memory"] < parts[0]["weight_memory"] and parts[1]["mac"] < parts[0]["mac"]


def test_narrow_weights_need_less_energy_in_unpu() -> None:
    net = conv(36, 64, 3, 12)
    energies = [
        simulate(load_arch("unpu"), synthetic_trace(net, weight_bits=bits, activation_bits=8)).energy_pj
        for bits in (1, 2, 4, 8, 16)
    ]
    assert energies == sorted(energies)


# --- bad input ---


@pytest.mark.parametrize(("kind", "message"), [
    ("xnor", "layer c: ifmap has 8 bits, but engine 'xnor' computes with 1; the recipe step `binary`"),
    ("yodann", "layer c: filter has 8 bits, but engine 'yodann' computes with 1; the recipe step `binary` makes it so"),
    ("ternary_stream", "layer c: filter has 8 bits, but engine 'ternary_stream' computes with 1, 2; .*`ternary`"),
    ("q_table", "layer c: filter has 8 bits, but engine 'q_table' computes with 1, 2, 3, 4; the recipe step `kmeans`"),
])  # fmt: skip
def test_widths_that_cannot_be_say_which_step_helps(kind: str, message: str) -> None:
    net = conv()
    with pytest.raises(ConfigError, match=message):
        lower(kind, CLOSED[kind], net, synthetic_trace(net))


def test_matrices_of_dnpu_need_a_table() -> None:
    fc = Network("net", [Node("x", Input((1, 16))), Node("fc", Linear(8), ("x",))])
    message = "layer fc: filter has 8 bits, but the tables of engine 'dnpu' hold 1, 2, 3, 4; .*`kmeans`"
    with pytest.raises(ConfigError, match=message):
        lower("dnpu", CLOSED["dnpu"], fc, synthetic_trace(fc))


def test_a_missing_codebook_is_named(tmp_path: Path) -> None:
    net = conv()
    w = np.zeros((8, 8, 3, 3), np.int8)
    trace = stored(tmp_path / "t.trace", net, w, 4, signed=True)
    fields = {**CLOSED["q_table"], "codebook": "required", "skip_zeros": False}
    with pytest.raises(ConfigError, match="layer c: filter must have a codebook .*got dense; .*`kmeans`"):
        lower("q_table", fields, net, trace)
    levels = np.linspace(-1, 1, 16).astype(np.float32)
    coded = levels[np.arange(w.size) % 16].reshape(w.shape)
    trace = stored(tmp_path / "c.trace", net, coded, 4, encoding="codebook")
    assert lower("q_table", fields, net, trace).macs == net.macs


def test_two_bits_that_are_not_ternary_are_refused(tmp_path: Path) -> None:
    net = conv()
    w = np.full((8, 8, 3, 3), -2, np.int8)
    trace = stored(tmp_path / "t.trace", net, w, 2, signed=True)
    for kind, fields in (("ternary_stream", {}), ("xnor", {"ternary": True})):
        with pytest.raises(ConfigError, match="layer c: filter must be -1, 0 or 1 for engine .*`ternary` makes it so"):
            lower(kind, {**CLOSED[kind], **fields}, net, trace)
    # mixed signs: without one, 2 is not -1
    trace = stored(tmp_path / "u.trace", net, np.full((8, 8, 3, 3), 1, np.uint8), 2, signed=False)
    with pytest.raises(ConfigError, match="filter must be -1, 0 or 1 .*"):
        lower("xnor", {**CLOSED["xnor"], "ternary": True}, net, trace)


@pytest.mark.parametrize("kind", CLOSED)
def test_floating_point_is_refused(kind: str, tmp_path: Path) -> None:
    net = conv()
    trace = stored(tmp_path / "t.trace", net, np.ones((8, 8, 3, 3), np.float16), 16, encoding="float")
    with pytest.raises(ConfigError, match=f"layer c: filter holds floating-point numbers, but engine '{kind}'"):
        lower(kind, CLOSED[kind], net, trace)


def test_parameters_that_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="outputs must be at most accumulators"):
        lower("xnor", {"inputs": 8, "outputs": 9, "accumulators": 8}, conv(), synthetic_trace(conv()))
    with pytest.raises(ValueError, match="lanes must be a multiple of filters_per_table"):
        lower("ucnn", {"lanes": 8, "filters_per_table": 3}, conv(), synthetic_trace(conv()))
    net = conv()
    with pytest.raises(ConfigError, match="ifmap must be dense for engine 'ucnn'.*engine.dense"):
        lower("ucnn", {}, net, synthetic_trace(net, activation_density=0.5))
