"""Recurrent units on the systolic engine: what waits for what, what travels, and that nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from accelsim.mapping.problem import Room
from accelsim.sim.player import play
from accelsim.workload.cells import CELLS
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Recurrent
from tests.engines.test_systolic_layers import IdealMemory, engine, task_of

STEPS, BATCH, WIDTH = 5, 2, 8


def lowered(cell: str, rooms: tuple[Room, ...] = (), on_chip: tuple[bool, ...] = (), **fields: Any) -> Any:
    unit = Recurrent(cell, WIDTH, bias_vectors=1, **fields)
    network = Network("net", [Node("x", Input((BATCH, STEPS, WIDTH))), Node("unit", unit, ("x",))])
    task = task_of(network, "unit")
    if rooms:
        task = replace(task, rooms=rooms, word_bits={room.name: 64 for room in rooms})
    if on_chip:
        task = replace(task, on_chip=on_chip)
    built = engine(4, 4, "ws", "double_buffered", "ragged")
    table = built.lower(task)
    table.check()
    return table, network["unit"], built, task


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((cell, {}) for cell in CELLS),
    ("lstm", {"projection": 4}),
    ("lstm", {"rank": 4}),
    ("lstm", {"groups": 2}),
    ("lstm", {"rank": 4, "projection": 4, "groups": 2, "directions": 2}),
    ("gru", {"directions": 2}),
    ("qrnn", {"directions": 2, "window": 3}),
    ("sru", {"groups": 2}),
]


@pytest.mark.parametrize(("cell", "fields"), VARIANTS)
def test_work_traffic_and_barriers(cell: str, fields: dict[str, Any]) -> None:
    table, layer, _, task = lowered(cell, **fields)
    rows, work = table.rows, layer.work
    assert table.macs == layer.macs == int(rows["macs"].sum())
    assert int(rows["filter_bytes"].sum()) == sum(int(np.prod(shape)) for shape in layer.weights.values())
    assert int(rows["ofmap_bytes"].sum()) == int(np.prod(layer.out_shape))
    # one for each dependent product of each step; element-wise steps wait for one another, too
    products = max(1, len(work.step_gemms))
    blocks = work.directions * (work.groups if work.fed_back else 1)
    fewest = STEPS * products
    assert fewest <= int(rows["barrier"].sum()) <= STEPS * products * blocks
    assert table.counts["vector_unit", "op"] >= work.directions * STEPS * BATCH * WIDTH * work.unit_ops
    end = play([table], IdealMemory()).end
    pointwise = -(-BATCH * WIDTH * work.unit_ops // task.vector_lanes)
    assert end >= STEPS * pointwise
    assert end * table.peak_macs_per_cycle >= table.macs


def test_products_of_a_step_wait_for_one_another() -> None:
    table, layer, built, task = lowered("lstm", projection=4)
    work = layer.work
    gates = built.dataflow.timing(built.array, BATCH, 32, 4)
    projected = built.dataflow.timing(built.array, BATCH, 4, 8)
    pointwise = -(-BATCH * WIDTH * work.unit_ops // task.vector_lanes)
    assert play([table], IdealMemory()).end >= STEPS * (int(gates.finish) + pointwise + int(projected.finish))
    starts = np.flatnonzero(table.rows["barrier"])
    macs = np.add.reduceat(table.rows["macs"], starts)
    assert macs.tolist() == [BATCH * 32 * 4, BATCH * 4 * 8] * STEPS


def test_without_products_of_the_state_steps_are_short() -> None:
    ends = {}
    for cell in ("lstm", "qrnn", "sru", "indrnn"):
        _, _, built, task = lowered(cell)
        ends[cell] = play([built.lower(replace(task, vector_lanes=16))], IdealMemory()).end
    assert ends["indrnn"] < ends["sru"] < ends["lstm"] and ends["qrnn"] < ends["lstm"]


@pytest.mark.parametrize("cell", ["lstm", "sru"])
def test_input_sums_that_do_not_fit_go_to_dram_and_back(cell: str) -> None:
    rooms = (Room("w", 10**6, ("filter",), 2), Room("i", 10**6, ("ifmap",), 2), Room("s", 1200, ("psum", "ofmap"), 2))
    table, layer, *_ = lowered(cell, rooms=rooms)
    sums = BATCH * STEPS * layer.work.in_rows * 4
    assert int(table.rows["psum_out_bytes"].sum()) == sums
    assert int(table.rows["psum_in_bytes"].sum()) == sums


def test_matrices_of_several_products_share_the_filter_buffer() -> None:
    small = (Room("w", 120, ("filter",), 2), Room("a", 10**6, ("ifmap", "psum", "ofmap"), 2))
    table, layer, *_ = lowered("lstm", rooms=small, projection=4)
    weights = sum(int(np.prod(shape)) for shape in layer.weights.values())
    assert int(table.rows["filter_bytes"].sum()) > weights  # what does not fit is fetched in every step
    assert int(table.rows["filter_bytes"].max()) <= 120


def test_results_that_stay_are_not_written() -> None:
    for cell in ("lstm", "indrnn"):
        table, *_ = lowered(cell, on_chip=(True, True, False))
        assert int(table.rows["ofmap_bytes"].sum()) == 0 and int(table.rows["ifmap_bytes"].sum()) == 0


def test_vectors_that_meet_the_matrices_of_both_directions_and_groups() -> None:
    from accelsim.engines.common.part import _vectors
    from accelsim.workload.shapes import RecurrentShape

    x = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    work = RecurrentShape(2, 3, 4, 8, 4, 8, directions=2, groups=2)
    inputs = _vectors(x, work, False)
    assert inputs.shape == (4, 6, 2) and (inputs[:2] == inputs[2:]).all()
    assert (inputs[0] == x.reshape(6, 4)[:, :2]).all() and (inputs[1] == x.reshape(6, 4)[:, 2:]).all()
    state = np.arange(2 * 3 * 16).reshape(2, 3, 16)
    states = _vectors(state, work, True)
    assert states.shape == (4, 6, 4)
    for block in range(4):
        for t in range(3):
            assert (states[block, 2 * t : 2 * t + 2] == state[:, t, 4 * block : 4 * block + 4]).all()


def test_windows_begin_with_zeros() -> None:
    from accelsim.engines.common.part import _vectors
    from accelsim.workload.shapes import RecurrentShape

    x = np.arange(1, 7).reshape(1, 3, 2)
    found = _vectors(x, RecurrentShape(1, 3, 2, 8, 3, 8, fed_back=0, window=2), False)
    assert found.tolist() == [[[1, 2, 0, 0], [3, 4, 1, 2], [5, 6, 3, 4]]]
