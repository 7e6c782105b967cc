"""Values of recurrent layers, in the order in which their products' rows come."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.engines.base import Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.sequences import inputs_of
from accelsim.mapping.problem import Room
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear, Recurrent
from accelsim.workload.shapes import GemmShape
from accelsim.workload.trace import synthetic_trace

BATCH, STEPS, WIDTH = 2, 3, 4
STATE = (("ifmap", "state"), ("filter", "recurrent"))


def task_of(op: Any, name: str = "unit") -> Task:
    network = Network("net", [Node("x", Input((BATCH, STEPS, WIDTH))), Node(name, op, ("x",))])
    room = Room("all", 10**6, ("ifmap", "filter", "psum", "ofmap"))
    bits = {"ifmap": 8, "filter": 8, "psum": 32, "ofmap": 8}
    return Task(network[name], synthetic_trace(network), bits, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(1))


def test_rows_are_steps_then_batch_and_the_second_direction_reads_backwards() -> None:
    task = task_of(Recurrent("lstm", 4, directions=2))
    work = task.layer.work
    x = task.trace.operand("unit", "ifmap").values()  # type: ignore[union-attr]
    found = inputs_of(Part(task, work.input_gemm))  # type: ignore[union-attr, arg-type]
    assert found.shape == (2, STEPS * BATCH, WIDTH)
    for step in range(STEPS):
        for image in range(BATCH):
            assert (found[0, step * BATCH + image] == x[image, step]).all()
            assert (found[1, step * BATCH + image] == x[image, STEPS - 1 - step]).all()


def test_each_direction_has_its_half_of_the_state() -> None:
    task = task_of(Recurrent("gru", 4, directions=2))
    state = task.trace.operand("unit", "state").values()  # type: ignore[union-attr]
    part = Part(task, GemmShape(STEPS * BATCH, 12, 4, 2), STATE, step_rows=BATCH)
    found = inputs_of(part)
    for step in range(STEPS):
        for image in range(BATCH):
            row = np.asarray(state).reshape(BATCH, STEPS, 8)[image, step]
            assert (found[0, step * BATCH + image] == row[:4]).all()
            assert (found[1, step * BATCH + image] == row[4:]).all()


def test_a_window_of_steps_begins_with_zeros() -> None:
    task = task_of(Recurrent("qrnn", 4, window=2))
    x = task.trace.operand("unit", "ifmap").values()  # type: ignore[union-attr]
    found = inputs_of(Part(task, task.layer.work.input_gemm))  # type: ignore[union-attr, arg-type]
    assert found.shape == (1, STEPS * BATCH, 2 * WIDTH)
    assert (found[0, :BATCH, :WIDTH] == 0).all()
    assert (found[0, 1 * BATCH + 1, :WIDTH] == x[1, 0]).all()
    assert (found[0, 1 * BATCH + 1, WIDTH:] == x[1, 1]).all()


def test_other_layers_are_as_they_are() -> None:
    task = task_of(Linear(5))
    part = Part(task, task.layer.work)  # type: ignore[arg-type]
    assert (inputs_of(part) == part.ifmap()).all()


def test_vectors_inside_of_a_cell_are_in_no_trace() -> None:
    task = task_of(Recurrent("lstm", 4))
    part = replace(Part(task, GemmShape(STEPS * BATCH, 4, 4)), roles=(("filter", "filter"),))
    with pytest.raises(ConfigError, match="layer unit: .*no trace holds the vectors inside of a cell"):
        inputs_of(part)
