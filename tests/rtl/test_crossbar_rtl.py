"""The engine's pipeline and values equal registers stepped clock by clock, on random shapes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.yamlio import parse_yaml
from accelsim.engines.crossbar import Crossbar, CrossbarSpec
from accelsim.engines.crossbars.math import Cells, input_digits, product, program
from accelsim.engines.crossbars.rule import Mvm
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.trace import synthetic_trace

from .crossbar import CrossbarRegisters, Ports


def hardware(w: Any, cells: Cells, read: int, convert: int, adcs: int, active: tuple[int, int], pipelined: bool) -> Any:
    """Registers with these weights, slices of a weight in neighbouring columns; differential or one sign only."""
    levels = program(w, cells).levels[:, 0]  # one row group: (slices, rows, n)
    slices, _, n = levels.shape
    columns = levels.transpose(1, 2, 0).reshape(levels.shape[1], n * slices)[: w.shape[0]].astype(np.int64)
    factors = np.tile([2 ** (cells.cell_bits * s) for s in range(slices)], n)
    low, high = cells.codes
    return CrossbarRegisters(
        Ports(columns, np.repeat(np.arange(n), slices), factors, n, read, convert, adcs, *active, low, high, pipelined)
    )


@given(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3),
    st.integers(1, 6), st.booleans(), st.integers(0, 2**31),
)  # fmt: skip
@settings(deadline=None, derandomize=True, max_examples=40)
def test_cycles_and_values_of_products(
    rows: int, n: int, vectors: int, read: int, convert: int, adcs: int, adc_bits: int, pipelined: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    cells = Cells(rows, 2, 5, 4, 1, adc_bits, "differential", True, False)
    x, w = random.integers(-8, 8, (vectors, rows)), random.integers(-15, 16, (rows, n))
    columns = n * cells.slices
    machine = hardware(w, cells, read, convert, adcs, (rows, columns), pipelined)
    digits = np.stack([d for _, d in input_digits(x, cells)], 1)
    out, done = machine.run(digits, [f for f, _ in input_digits(x, cells)])
    mvm = Mvm(cells.digits, read, -(-columns // adcs) * convert, pipelined=pipelined)
    assert done == [mvm.latency + v * mvm.interval for v in range(vectors)]
    try:
        expected = product(x, w, cells)
    except Exception as error:  # every conversion saturates: only said where values are asked for
        assert "clips every output" in str(error)
        return
    assert np.array_equal(out, expected)
    if adc_bits >= cells.bits_needed:
        assert np.array_equal(out, x @ w)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**31))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_operation_units_take_turns(rows: int, n: int, active_rows: int, active_cols: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = Cells(rows, 2, 5, 3, 1, 12, "differential", False, False)
    x, w = random.integers(0, 8, (2, rows)), random.integers(-15, 16, (rows, n))
    machine = hardware(w, cells, 3, 1, 2, (active_rows, active_cols), True)
    digits = np.stack([d for _, d in input_digits(x, cells)], 1)
    out, done = machine.run(digits, [f for f, _ in input_digits(x, cells)])
    assert np.array_equal(out, x @ w)
    steps = cells.digits * -(-rows // active_rows) * -(-(n * cells.slices) // active_cols)
    full = Mvm(steps, 3, -(-active_cols // 2))
    assert done[-1] <= full.latency + full.interval  # the last unit of a row may be narrower than the others
    if (n * cells.slices) % active_cols == 0:
        assert done == [full.latency, full.latency + full.interval]


SPEC = "{rows: 8, cols: 12, arrays: 3, cell_bits: 2, weight_bits: 5, input_bits: 4, adc_bits: 8, "
SPEC += "encoding: differential, stages_after: 0, adc_rate_hz: 1000000.0, "


@given(
    st.integers(1, 8), st.integers(1, 3), st.integers(1, 7), st.integers(1, 9), st.integers(1, 3), st.integers(1, 12)
)
@settings(deadline=None, derandomize=True, max_examples=12)
def test_the_engine_takes_the_cycles_of_the_registers(
    k: int, n: int, m: int, read: int, convert: int, adcs: int
) -> None:
    arch = load_arch("sparse_reram")
    text = SPEC + f"read_cycles: {read}, convert_cycles: {convert}, adcs: {adcs}}}"
    engine = Crossbar(CrossbarSpec.model_validate(parse_yaml(text, "test").data))
    arch.engine = engine
    network = Network("one", [Node("x", Input((m, k))), Node("fc", Linear(n, bias=False), ("x",))])
    trace = synthetic_trace(network, weight_bits=5, activation_bits=4)
    layer = simulate(arch, trace).layers[0]
    # one block of weights, three copies of it, which share the vectors; all four columns of a weight are converted
    copies, columns = 3, n * 4
    assert layer.info["copies"] == copies
    cells = Cells(k, 2, 5, 4, 1, 8, "differential", False, False)
    machine = hardware(np.ones((k, n), int), cells, read, convert, adcs, (k, columns), True)
    machine.p = dataclasses.replace(
        machine.p, levels=np.ones((k, columns), np.int64), output_of=np.zeros(columns, int),
        factor_of=np.ones(columns, int), outputs=1,
    )  # fmt: skip
    _, done = machine.run(np.ones((-(-m // copies), 4, k)), [1, 2, 4, 8])
    inside = {"compute", "adc"}
    busy = sum(cycles for cause, cycles in layer.cycles_by_cause.items() if cause in inside)
    mvm = engine.mvm(k, n, 4, False, {"filter": 5})
    assert busy + mvm.latency - mvm.interval == done[-1]
    assert layer.cycles_by_cause["adc"] == -(-m // copies) * mvm.adc_stall


def test_published_latencies() -> None:
    isaac, puma = load_arch("isaac"), load_arch("puma")
    assert isinstance(isaac.engine, Crossbar) and isinstance(puma.engine, Crossbar)
    for arch, latency, stages in ((isaac, 22 * 128, 22), (puma, 2304, 18)):
        mvm = arch.engine.mvm(128, 128, 16, True, {"filter": 16})  # type: ignore[attr-defined]
        assert mvm.latency == latency == stages * mvm.step
    assert 22 * 128 / isaac.spec.clock_hz == pytest.approx(22 * 100e-9)


def test_the_adc_works_beside_the_array() -> None:
    """A rule that multiplies DAC and array by the ADC's sharing takes 128 times as long on ISAAC's shape."""
    mvm = Mvm(16, 128, 128)
    assert mvm.interval * 1e9 / 1.28e9 == pytest.approx(1600)  # ns
    shared = 16 * 128 * (3 + 3.16 + (8 + 2) / 1.28)  # ns: steps x columns per ADC x (DAC + array + ADC), MNSIM 2.0
    assert shared > 15 * mvm.latency / 1.28
    alone = dataclasses.replace(mvm, pipelined=False)
    assert alone.interval == 2 * mvm.interval
