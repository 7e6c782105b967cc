"""DaDianNao, Stripes and their kin against a walk over every step, bit by bit."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.engines.base import ENGINES
from accelsim.engines.kernels.essential import FAR, NEAR, essential_bits, essential_masks
from accelsim.mapping.problem import Mapping
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.trace import Trace, TraceWriter, synthetic_trace
from tests.engines import bit_twin as twin
from tests.engines.sparse_bench import MUCH, WHOLE, cycles_of, engine, layer_of, task_of
from tests.references import reference


@st.composite
def layers(draw: Any) -> dict[str, Any]:
    kind = draw(st.sampled_from(["plain", "grouped", "depthwise", "colour", "matrix"]))
    small = st.integers(1, 7)
    groups = 2 if kind == "grouped" else 1
    channels = {"colour": 3, "depthwise": draw(st.integers(2, 7))}.get(kind, groups * draw(small))
    groups = channels if kind == "depthwise" else groups
    bits = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    signed = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = draw(st.integers(3, 6)), draw(st.integers(3, 6))
    shape = (draw(st.integers(1, 2)), channels, *size)
    filters = (groups * draw(small), channels // groups, *kernel)
    if kind == "matrix":
        shape, filters = (draw(st.integers(1, 5)), draw(st.integers(1, 20))), (draw(st.integers(1, 9)), 0)
        filters = (filters[0], shape[1])
    low = -(2 ** (bits[0] - 1)) + 1 if signed else 0
    high = 2 ** (bits[0] - 1) if signed else 2 ** bits[0]
    a = rng.integers(low, high, shape) * (rng.random(shape) < 0.5)
    w = rng.integers(-(2 ** (bits[1] - 1)) + 1, 2 ** (bits[1] - 1), filters) * (rng.random(filters) < 0.6)
    chip = {"lanes": draw(st.integers(1, 5)), "columns": draw(st.integers(1, 5)), "rows": draw(st.integers(1, 3))}
    return {
        "a": a, "w": w, "bits": bits, "signed": signed, "chip": {**chip, "tiles": draw(st.integers(1, 2))},
        "stride": draw(st.integers(2, 3)) if kind == "colour" else draw(st.integers(1, 2)),
        "pad": draw(st.integers(0, 1)),
    }  # fmt: skip


def steps_of(case: dict[str, Any]) -> tuple[list[twin.Step], bool]:
    """All steps, and whether columns take turns."""
    chip = twin.Chip(**case["chip"])
    a, w = case["a"], case["w"]
    if a.ndim == 4:
        groups = a.shape[1] // w.shape[1]
        return list(twin.conv_steps(a, w, case["stride"], case["pad"], groups, chip)), False
    if len(a) < chip.columns:
        return list(twin.matrix_steps(a, w, chip)), True
    as_image = a.T[None, :, None, :]
    return list(twin.conv_steps(as_image, w[:, :, None, None], 1, 0, 1, chip)), False


ENGINES_OF_ONE_COST: list[tuple[str, dict[str, Any], Any]] = [
    ("dadiannao", {}, lambda case: lambda step: 1),
    ("stripes", {}, lambda case: lambda step: case["bits"][0]),
    ("dynamic_stripes", {}, lambda case: twin.dynamic(case["signed"])),
    ("loom", {"pe_serial_bits": 2}, lambda case: twin.loom(case["bits"][1], 2, case["signed"], False)),
    ("loom", {"dynamic_weights": True}, lambda case: twin.loom(0, 1, case["signed"], True)),
    (
        "loom", {"pe_serial_bits": 3, "dynamic_weights": True, "dynamic_activations": False},
        lambda case: twin.loom_with_fixed_inputs(case["bits"][0], 3),
    ),
    ("pragmatic", {"first_stage_bits": 0}, lambda case: twin.pragmatic(0)),
    ("pragmatic", {"first_stage_bits": 1}, lambda case: twin.pragmatic(1)),
    ("pragmatic", {"first_stage_bits": 2}, lambda case: twin.pragmatic(2)),
    ("pragmatic", {"first_stage_bits": 4}, lambda case: twin.pragmatic(4)),
    ("laconic", {}, lambda case: twin.laconic),
]


@pytest.mark.parametrize(("kind", "fields", "rule"), ENGINES_OF_ONE_COST)
@given(case=layers())
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_cycles_equal_a_walk_over_the_bits(
    kind: str, fields: dict[str, Any], rule: Any, case: dict[str, Any], tmp_path_factory: Any
) -> None:
    network, trace = layer_of(
        tmp_path_factory.mktemp("t") / "t.trace", case["a"], case["w"], bits=case["bits"],
        stride=case["stride"], pad=case["pad"], signed=case["signed"],
    )  # fmt: skip
    steps, turns = steps_of(case)
    costs = [rule(case)(step) for step in steps]
    table = engine(kind, **case["chip"], **fields).lower(task_of(network, trace))
    assert cycles_of(table) == (twin.in_turn(costs, case["chip"]["columns"]) if turns else sum(costs))
    assert table.info["steps"] == len(steps)
    assert table.macs == network.macs


@given(
    lanes=st.integers(1, 16), pixels=st.integers(1, 70), reach=st.sampled_from(NEAR + FAR),
    dtype=st.sampled_from([np.uint8, np.uint16]), seed=st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_lanes_as_bits_of_a_word_cost_what_they_cost_one_by_one(
    lanes: int, pixels: int, reach: int, dtype: Any, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 1 << 16, (2, lanes + 3, pixels)).astype(dtype)
    bricks = np.array([[0, 3], [3, lanes + 3]])
    costs, others = np.zeros((2, 2, 2, pixels), np.uint8)  # each (bricks, images, pixels)
    two = None if dtype is np.uint8 else True
    essential_masks(values.view(np.uint8), bricks, reach, True if reach in FAR else None, two, costs)
    essential_bits(values, bricks, 8 * values.itemsize, reach, others)
    assert np.array_equal(costs, others)
    walked = [twin.pragmatic_column(brick, reach) for brick in values[1, 3:].T.tolist()]
    assert np.maximum(1, costs[1, 1]).tolist() == walked


@given(case=layers(), group=st.integers(1, 3))
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_low_zero_bits_are_skipped_in_groups(case: dict[str, Any], group: int, tmp_path_factory: Any) -> None:
    a = np.abs(case["a"])
    path = tmp_path_factory.mktemp("t") / "t.trace"
    network, trace = layer_of(path, a, case["w"], bits=case["bits"], stride=case["stride"], pad=case["pad"])
    steps, turns = steps_of({**case, "a": a})
    costs = [twin.minor(1 if turns else group)(step) for step in steps]
    built = engine("dynamic_stripes", **case["chip"], minor_bit=True, group_size=group)
    expected = twin.in_turn(costs, case["chip"]["columns"]) if turns else sum(costs)
    assert cycles_of(built.lower(task_of(network, trace))) == expected


@given(case=layers(), registers=st.integers(1, 3))
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_columns_run_ahead_of_the_slowest(case: dict[str, Any], registers: int, tmp_path_factory: Any) -> None:
    a, w = case["a"][:1], case["w"]
    # one image and one group: a single sequence of steps
    assume(a.ndim == 4 and a.shape[1] == w.shape[1])
    case = {**case, "a": a}
    path = tmp_path_factory.mktemp("t") / "t.trace"
    signed = case["signed"]
    network, trace = layer_of(path, a, w, bits=case["bits"], stride=case["stride"], pad=case["pad"], signed=signed)
    columns = case["chip"]["columns"]
    costs = []
    for seen, _ in steps_of(case)[0]:
        own = [max(1, max(twin.bits_of(v, signed) for v in brick)) for brick in seen]
        costs.append(own + [0] * (columns - len(own)))
    built = engine("dynamic_stripes", **case["chip"], column_registers=registers)
    assert cycles_of(built.lower(task_of(network, trace))) == twin.ahead(costs, columns, registers)


@pytest.mark.parametrize("kind", ["dadiannao", "stripes", "dynamic_stripes", "pragmatic", "loom", "laconic"])
def test_tiles_that_lie_on_the_grid_of_steps_add_up_to_the_layer(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    a, w = rng.integers(0, 100, (2, 16, 8, 8)), rng.integers(-50, 50, (12, 16, 3, 3))
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(8, 8), pad=1)
    built = engine(kind, lanes=4, columns=4, rows=2, tiles=2)
    task = task_of(network, trace)
    whole = cycles_of(built.lower(task))
    for pin in (
        Mapping(1, 1, 2, MUCH, 4, 8, MUCH, MUCH, "nkm"),
        Mapping(1, 1, 1, 4, 8, 4, 1, MUCH, "mkn"),
        Mapping(1, 2, MUCH, MUCH, 4, 12, 1, 1, "knm"),
    ):
        table = built.lower(replace(task, pinned=pin))
        assert len(table.rows) > 4
        assert cycles_of(table) == whole


def test_steps_in_turn_go_on_across_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    a, w = rng.integers(0, 2, (1, 64)), rng.integers(-50, 50, (16, 64))
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(7, 8))
    built = engine("stripes", lanes=4, columns=8, rows=2, tiles=2)
    for pin in (WHOLE, Mapping(1, 1, 1, 1, 4, 32, 1, 1, "nkm")):
        assert cycles_of(built.lower(task_of(network, trace, pin))) == 16 * 4 + 7 - 1


def test_wide_operands_take_units_side_by_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    a, w = rng.integers(0, 200, (1, 8, 4, 4)), rng.integers(-100, 100, (8, 8, 1, 1))
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(8, 8))
    built = engine("stripes", lanes=8, columns=4, rows=4, tiles=1, pe_width=4)
    # two columns for a window, two rows for a filter: 8 sets of windows x 4 sets of filters x 4 bits
    assert cycles_of(built.lower(task_of(network, trace))) == 8 * 4 * 4


# --- energy ---


def test_a_unit_steps_once_for_each_bit_of_each_brick(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    a, w = rng.integers(0, 16, (1, 8, 4, 4)), rng.integers(-8, 8, (6, 8, 3, 3))
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(4, 4), pad=1)
    grid = {"lanes": 4, "columns": 4, "rows": 2, "tiles": 1}
    task = task_of(network, trace)
    stripes = engine("stripes", **grid).lower(task)
    bricks = 16 * 6 * 9 * 2
    assert stripes.counts["serial_unit", "step"] == 4 * bricks
    assert stripes.counts["synapse_register", "write"] == bricks
    assert engine("dadiannao", **grid).lower(task).counts["mac", "mac_16x16"] == network.macs
    own = sum(
        twin.pragmatic_column(brick, 3) * len(held)
        for seen, held in twin.conv_steps(a, w, 1, 1, 1, twin.Chip(**grid))
        for brick in seen
    )
    assert engine("pragmatic", **grid).lower(task).counts["serial_unit", "step"] == own


# --- bad input ---


def test_widths_that_a_unit_cannot_hold_are_refused() -> None:
    network = Network("net", [Node("x", Input((1, 8))), Node("fc", Linear(4), ("x",))])
    trace = synthetic_trace(network, activation_bits=9, weight_bits=5)
    with pytest.raises(ConfigError, match="layer fc: ifmap has 9 bits, but engine 'laconic' computes with 1, 2, 3, 4"):
        engine("laconic", pe_width=4).lower(task_of(network, trace))
    with pytest.raises(ConfigError, match="filter has 5 bits, but engine 'dadiannao' computes with 1, 2, 3, 4"):
        engine("dadiannao", pe_width=4, columns=4, rows=1).lower(task_of(network, trace))


@pytest.mark.parametrize("kind", ["dynamic_stripes", "pragmatic", "loom", "laconic"])
def test_engines_that_read_bits_say_how_to_get_them(kind: str) -> None:
    network = Network("net", [Node("x", Input((1, 8))), Node("fc", Linear(4), ("x",))])
    trace = synthetic_trace(network)
    trace.operand = lambda layer, role: None  # type: ignore[method-assign,assignment]
    with pytest.raises(ConfigError, match="fc: .*values of ifmap.*an encoding of integers.*synthetic description"):
        engine(kind).lower(task_of(network, trace))


def test_floating_point_is_refused(tmp_path: Path) -> None:
    network = Network("net", [Node("x", Input((1, 8))), Node("fc", Linear(4), ("x",))])
    with TraceWriter(tmp_path / "t.trace", network, name="t") as writer:
        writer.add("fc", "filter", np.ones((4, 8), np.float16), bits=16, encoding="float")
    trace = Trace.open(tmp_path / "t.trace")
    with pytest.raises(ConfigError, match="layer fc: filter holds floating-point numbers.*'stripes'.*quantize"):
        engine("stripes").lower(task_of(network, trace))


def test_groups_of_columns_cannot_run_apart() -> None:
    with pytest.raises(ValueError, match="column_registers needs group_size 1"):
        engine("dynamic_stripes", column_registers=1, group_size=4)


def test_a_rearranged_first_layer_cannot_be_cut_by_taps(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    a, w = rng.integers(0, 100, (1, 3, 8, 8)), rng.integers(-50, 50, (4, 3, 3, 3))
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=(8, 8), stride=2)
    pin = Mapping(1, 1, MUCH, MUCH, MUCH, MUCH, 1, 1, "mnk")
    with pytest.raises(ConfigError, match="layer layer: a pinned mapping of a first layer needs taps: all"):
        engine("stripes").lower(task_of(network, trace, pin))


# --- the authors' group's simulator ---

KINDS = {
    "DaDianNao": "dadiannao", "Stripes": "stripes", "ShapeShifter": "dynamic_stripes", "Loom": "loom",
    "BitPragmatic": "pragmatic", "Laconic": "laconic",
}  # fmt: skip
NOT_HERE = ("tactical", "diffy", "booth_encoding")


def test_layers_equal_the_published_simulator(tmp_path: Path) -> None:
    with reference("sparse_bit/dnnsim_bitserial_runs.csv").open() as file:
        runs = [r for r in csv.DictReader(file) if r["compute_cycles_oracle"] == "exact"]
    with reference("sparse_bit/dnnsim_traces/layers.csv").open() as file:
        listed = {r["layer"]: r for r in csv.DictReader(file)}
    made = {}
    for name, row in listed.items():
        a, w = (np.load(reference(f"sparse_bit/dnnsim_traces/{x}-{name}.npy")) for x in ("act", "wgt"))
        if a.ndim == 4:  # its x is the axis before the last
            a, w = a.swapaxes(2, 3), w.swapaxes(2, 3)
        bits = int(row["act_prec"]), int(row["wgt_prec"])
        stride, pad = int(row["stride"]), int(row["pad"])
        made[name] = layer_of(tmp_path / f"{name}.trace", a, w, bits=bits, stride=stride, pad=pad)
    compared = 0
    for run in runs:
        given_fields = dict(pair.split("=") for pair in run["params"].split(";"))
        if any(given_fields.get(name) == "true" for name in NOT_HERE):
            continue
        given_fields["first_stage_bits"] = given_fields.pop("bits_first_stage", "2")
        known = ENGINES.lookup(KINDS[run["arch"]]).Spec.model_fields
        fields = {k: v == "true" if v in ("true", "false") else int(v) for k, v in given_fields.items() if k in known}
        table = engine(KINDS[run["arch"]], **fields).lower(task_of(*made[run["Layer"]]))
        assert cycles_of(table) == int(run["compute_cycles"]), (run["config"], run["Layer"])
        compared += 1
    assert compared == 230
