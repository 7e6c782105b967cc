"""The systolic arrays in Amaranth compute what numpy computes, at the cycles that their description promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .bench import RtlRun, run_os_folds, run_ws_folds
from .cases import (Job, RUNNERS, SMALL_ARRAYS, described_completion, described_job, examples, fold_shapes, gemm, jobs,
                    telling_folds)
from .ports import Fold, Shape, drive_os, drive_ws, Window
from .register_level import run_os_registers, run_ws_registers
from .simulate import run_os_hdl, run_ws_hdl
from .systolic import OsArray, WsArray

seeds = st.integers(0, 2**32 - 1)


def _check(job: Job, seed: int, backend: str) -> RtlRun:
    rows, cols, dataflow, mode, edge, m, n, k = job
    a, b = gemm(np.random.default_rng(seed), m, n, k)
    run = RUNNERS[dataflow](a, b, rows, cols, mode, edge, backend=backend)
    assert np.array_equal(run.outputs, a @ b)
    assert run.clean, "a word at the edge is missing, or one too many is there"
    starts, completion = described_job(dataflow, mode, rows, fold_shapes(dataflow, rows, cols, edge, m, n, k))
    assert list(run.starts) == starts
    assert run.completion_cycles == completion
    return run


@given(job=jobs(st.sampled_from(SMALL_ARRAYS), longest=12), seed=seeds)
@examples(60)
def test_hardware_equals_numpy_and_its_description(job: Job, seed: int) -> None:
    _check(job, seed, "hdl")


wide = st.tuples(st.integers(6, 32), st.integers(6, 32))


@given(job=jobs(wide, longest=40, folds=2), seed=seeds)
@examples(40)
def test_large_arrays_equal_numpy_and_their_description(job: Job, seed: int) -> None:
    _check(job, seed, "registers")


# ---- whole timelines of single folds -------------------------------------------------------------------------------


def test_os_timeline_of_one_fold() -> None:
    fold = Fold(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 10], [1, 10], [1, 10]]))
    log = run_os_folds([fold], 3, 2, "serial").edge_log
    # T = 3, r = 2: column 0 loads at the end of cycle 3, column 1 a cycle later; row 1's sum follows row 0's.
    assert [tuple(row) for row in log.words[3:7] * log.valid[3:7]] == [(6, 0), (15, 60), (0, 150), (0, 0)]
    assert np.flatnonzero(log.busy).tolist() == [0, 1, 2, 3, 4]
    assert log.completion_cycles == 6


def test_ws_timeline_of_one_fold() -> None:
    fold = Fold(np.array([[1, 10], [2, 20]]), np.array([[1, 2], [3, 4]]))
    log = run_ws_folds([fold], 3, 2, "serial").edge_log
    # r = 2 loads, then T = 2; three physical rows: the first psum is held after cycle 2 + (3 - 1).
    assert [tuple(row) for row in log.words[4:8] * log.valid[4:8]] == [(31, 0), (62, 42), (0, 84), (0, 0)]
    assert np.flatnonzero(log.busy).tolist() == [2, 3, 4, 5]
    assert log.completion_cycles == 7


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_a_wide_fold_may_leave_after_the_narrow_one_that_follows_it(dataflow: str) -> None:
    # One step, 5 columns and then 1: the second fold enters a cycle later and is done four columns earlier.
    m, n, k = {"os": (1, 6, 1), "ws": (1, 6, 1), "is": (6, 1, 1)}[dataflow]
    mode = "pipelined" if dataflow == "os" else "double_buffered"
    run = _check((5, 5, dataflow, mode, "ragged", m, n, k), 1, "hdl")
    last = described_completion(dataflow, Shape(1, 1, 1), 5)
    assert run.completion_cycles > run.starts[-1] + last


def test_sums_wrap_at_the_width_of_the_psum_register() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(-8, 8, (4, 40)), rng.integers(-8, 8, (40, 3))
    a[:, ::2], b[::2] = -8, -8
    wrapped = (a @ b + 128) % 256 - 128
    assert (np.abs(a @ b) > 128).any()
    os_ports = drive_os([Fold(a, b)], [0], 4, 3)
    ws_ports = drive_ws([Fold(a[:, :4], b[:4])], [Window(0, 4)], 4, 3, wave=True)
    fewer = (a[:, :4] @ b[:4] + 128) % 256 - 128
    for log, want in [
        (run_os_hdl(os_ports, 4, 3, shadow=True, operand_bits=4, psum_bits=8), wrapped),
        (run_os_registers(os_ports, 4, 3, shadow=True, psum_bits=8), wrapped),
        (run_ws_hdl(ws_ports, 4, 3, double=True, wave=True, operand_bits=4, psum_bits=8), fewer),
        (run_ws_registers(ws_ports, 4, 3, double=True, wave=True, psum_bits=8), fewer),
    ]:
        for j in range(3):
            assert np.array_equal(log.words[log.valid[:, j], j], want[:, j])


# ---- the numpy twin ------------------------------------------------------------------------------------------------


def _same_registers(hdl: Any, twin: Any) -> None:
    for cycle, (want, got) in enumerate(zip(hdl, twin, strict=True)):
        assert want.keys() == got.keys()
        for name in want:
            assert np.array_equal(want[name], got[name]), f"{name} after cycle {cycle}"


def _same_logs(hdl: Any, twin: Any) -> None:
    assert np.array_equal(hdl.words, twin.words)
    assert np.array_equal(hdl.valid, twin.valid)
    assert np.array_equal(hdl.busy, twin.busy)


sizes = st.sampled_from(((1, 4), (3, 2), (4, 4)))
side = st.integers(1, 4)


@given(size=sizes, shadow=st.booleans(), seed=seeds,
       timed=st.lists(st.tuples(st.builds(Shape, side, side, st.integers(1, 6)), st.integers(0, 9)), min_size=1,
                      max_size=4))
@examples(15)
def test_os_twin_has_the_same_registers_on_any_schedule(size: tuple[int, int], shadow: bool, seed: int,
                                                        timed: list[Any]) -> None:
    """Legal or not: intervals are drawn at random, so words collide and chains are overwritten."""
    rows, cols = size
    shapes = [Shape(min(s.r, rows), min(s.c, cols), s.t) for s, _ in timed]
    folds = telling_folds(np.random.default_rng(seed), shapes, "os")
    ports = drive_os(folds, np.cumsum([wait for _, wait in timed]).tolist(), rows, cols)
    hdl: list[Any] = []
    twin: list[Any] = []
    _same_logs(run_os_hdl(ports, rows, cols, shadow=shadow, trace=hdl),
               run_os_registers(ports, rows, cols, shadow=shadow, trace=twin))
    _same_registers(hdl, twin)


@given(size=sizes, kind=st.sampled_from(((False, False), (False, True), (True, True), (True, False))), seed=seeds,
       timed=st.lists(st.tuples(st.builds(Shape, side, side, st.integers(1, 6)), st.integers(0, 9), st.integers(0, 9)),
                      min_size=1, max_size=4))
@examples(20)
def test_ws_twin_has_the_same_registers_on_any_schedule(size: tuple[int, int], kind: tuple[bool, bool], seed: int,
                                                        timed: list[Any]) -> None:
    rows, cols = size
    shapes = [Shape(min(s.r, rows), min(s.c, cols), s.t) for s, _, _ in timed]
    folds = telling_folds(np.random.default_rng(seed), shapes, "ws")
    loads, starts = np.cumsum([x for _, x, _ in timed]), np.cumsum([y for _, _, y in timed])
    windows = [Window(int(load), int(start)) for load, start in zip(loads, starts)]
    ports = drive_ws(folds, windows, rows, cols, wave=kind[1])
    hdl: list[Any] = []
    twin: list[Any] = []
    _same_logs(run_ws_hdl(ports, rows, cols, double=kind[0], wave=kind[1], trace=hdl),
               run_ws_registers(ports, rows, cols, double=kind[0], wave=kind[1], trace=twin))
    _same_registers(hdl, twin)


# ---- it is hardware ------------------------------------------------------------------------------------------------


ARRAYS: dict[str, Callable[[], OsArray | WsArray]] = {
    "os": lambda: OsArray(2, 3, shadow=False),
    "os_shadow": lambda: OsArray(2, 3, shadow=True),
    "ws": lambda: WsArray(2, 3, double=False, wave=False),
    "ws_wave": lambda: WsArray(2, 3, double=False, wave=True),
    "ws_double": lambda: WsArray(2, 3, double=True, wave=True),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_export_rtlil(name: str) -> None:
    from amaranth.back import rtlil

    text = rtlil.convert(ARRAYS[name]())
    assert text.count("cell \\top.pe_") == 6


def test_arrays_export_verilog() -> None:
    from amaranth._toolchain.yosys import YosysError, find_yosys
    from amaranth.back import verilog

    try:
        find_yosys(lambda version: version >= (0, 40))
    except YosysError as missing:           # amaranth[builtin-yosys] brings one
        pytest.skip(str(missing))
    for name in ("os_shadow", "ws_double"):
        text = verilog.convert(ARRAYS[name](), name=name)
        assert f"module {name}(" in text and "ofmap_valid" in text
