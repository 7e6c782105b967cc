"""Table, popcount, sign-select, lane, reuse and outlier engines against their registers: cycles and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.engines.base import ENGINES, Task
from accelsim.mapping.problem import Mapping, Room
from accelsim.sim.passes import PassTable
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Op
from accelsim.workload.trace import Trace, TraceWriter

from . import quantized as rtl

MUCH = 2**20
WHOLE = Mapping(MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, "mnk")
small = st.integers(1, 7)
checked = settings(max_examples=15, deadline=None, derandomize=True, database=None)
Ints = NDArray[np.int64]


@dataclass
class Case:
    """A layer with its operands: as the trace holds them, as windows (m, taps, c) and as weights (n, taps, c)."""

    a: Ints
    w: Ints
    pad: int

    @property
    def x(self) -> Ints:
        """What each output position sees."""
        if self.a.ndim == 2:
            return self.a[:, None, :]
        whole = np.pad(self.a, ((0, 0), (0, 0), (self.pad,) * 2, (self.pad,) * 2))
        r, s = self.w.shape[2:]
        p, q = whole.shape[2] - r + 1, whole.shape[3] - s + 1
        seen = [whole[:, :, i : i + p, j : j + q] for i in range(r) for j in range(s)]
        return np.stack(seen, 1).transpose(0, 3, 4, 1, 2).reshape(-1, r * s, self.a.shape[1])

    @property
    def weights(self) -> Ints:
        """Filters with taps before channels."""
        if self.a.ndim == 2:
            return self.w[:, None, :]
        return self.w.reshape(*self.w.shape[:2], -1).swapaxes(1, 2)

    @property
    def flat(self) -> tuple[Ints, Ints]:
        """Both as matrices, channels before taps."""
        x, w = self.x, self.weights
        return x.swapaxes(1, 2).reshape(len(x), -1), w.swapaxes(1, 2).reshape(len(w), -1)


@st.composite
def cases(draw: Any, most: int = 3) -> dict[str, Any]:
    """Extents of a layer; `values` makes its operands."""
    return {
        "matrix": draw(st.booleans()), "m": draw(small), "n": draw(st.integers(1, 9)), "c": draw(st.integers(1, 9)),
        "kernel": (draw(st.integers(1, most)), draw(st.integers(1, most))), "pad": draw(st.integers(0, 1)),
        "seed": draw(st.integers(0, 10**6)),
    }  # fmt: skip


def values(case: dict[str, Any], low: tuple[int, int], high: tuple[int, int], zeros: float = 0.0) -> Case:
    """Operands from low to high (ifmap, filter), some of the inputs zero."""
    rng = np.random.default_rng(case["seed"])
    r, s = case["kernel"]
    shapes: Any = ((case["m"], case["c"]), (case["n"], case["c"]))
    if not case["matrix"]:
        shapes = ((1, case["c"], r + case["m"] % 3, s + case["m"]), (case["n"], case["c"], r, s))
    a, w = (rng.integers(low[i], high[i] + 1, shapes[i]) for i in range(2))
    return Case(a * (rng.random(a.shape) >= zeros), w, 0 if case["matrix"] else case["pad"])


def lowered(
    path: Path, case: Case, kind: str, fields: dict[str, Any], bits: tuple[int, int], signed: tuple[bool, bool],
    stored: tuple[Ints, Ints] | None = None,
) -> PassTable:  # fmt: skip
    """The layer as one tile; `stored`: what the trace holds, if not the operands themselves."""
    op: Op = Linear(len(case.w), bias=False)
    if case.a.ndim == 4:
        op = Conv(len(case.w), case.w.shape[2:], 1, case.pad, bias=False)
    network = Network("net", [Node("x", Input(case.a.shape)), Node("layer", op, ("x",))])
    a, w = stored or (case.a, case.w)
    with TraceWriter(path / "t.trace", network, name="t") as writer:
        writer.add("layer", "ifmap", a.astype(np.int32), bits=bits[0], signed=signed[0])
        writer.add("layer", "filter", w.astype(np.int32), bits=bits[1], signed=signed[1])
    made = ENGINES.lookup(kind)
    room = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)
    widths = {"ifmap": 16, "filter": 16, "psum": 32, "ofmap": 16}
    trace = Trace.open(path / "t.trace")
    task = Task(
        network["layer"], trace, widths, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(4), pinned=WHOLE
    )  # fmt: skip
    table = made(made.Spec(**fields)).lower(task)
    assert len(table.rows) == 1 and table.macs == network.macs
    return table


def finish(table: PassTable) -> int:
    return int(table.rows["finish_cycles"][0])


def products(case: Case) -> Ints:
    return np.asarray(np.einsum("mtc,ntc->mn", case.x, case.weights))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Any:
    return lambda: tmp_path_factory.mktemp("t")


@given(
    cases(), st.integers(1, 8), st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 5),
)  # fmt: skip
@checked
def test_unpu(folder: Any, extents: dict[str, Any], bits: int, shape: tuple[int, ...], update: int) -> None:
    fields = dict(zip(("cores", "pes", "tables", "readers"), shape, strict=True))
    high = 1 if bits == 1 else 2 ** (bits - 1) - 1
    case = values(extents, (-128, 0 if bits == 1 else -high - 1), (127, high))
    codes, case.w = case.w, case.w if bits > 1 else 2 * case.w - 1
    table = lowered(
        folder(), case, "unpu", {**fields, "update_cycles": update}, (8, bits), (True, bits > 1), (case.a, codes)
    )  # fmt: skip
    stored = Case(case.a, codes, case.pad).weights
    out, clocks = rtl.run_unpu(case.x, stored, bits, {**fields, "inputs": 3, "binary_inputs": 4}, update)
    assert (out == products(case)).all()
    assert finish(table) == clocks


UNITS = st.fixed_dictionaries({
    "inputs": st.integers(1, 5), "outputs": st.integers(1, 3), "accumulators": st.integers(3, 6),
    "units": st.integers(1, 3), "window_row": st.booleans(), "load_cycles": st.integers(0, 2),
    "step_cycles": st.integers(1, 2), "threshold_lanes": st.integers(0, 2),
})  # fmt: skip


@given(cases(), UNITS, st.booleans())
@checked
def test_xnor(folder: Any, extents: dict[str, Any], unit: dict[str, Any], ternary: bool) -> None:
    case = values({**extents, "pad": 0}, (-1, -1) if ternary else (0, 0), (1, 1))
    stored = case.a, case.w
    if not ternary:
        case.a, case.w = 2 * case.a - 1, 2 * case.w - 1
    fields = {**unit, "ternary": ternary}
    bits = 2 if ternary else 1
    table = lowered(folder(), case, "xnor", fields, (bits, bits), (ternary, ternary), stored)
    row = 1 if case.a.ndim == 2 else case.w.shape[3]
    out, clocks = rtl.run_xnor(case.x, case.weights, row, unit, ternary)
    assert (out == products(case)).all()
    assert finish(table) == clocks


@given(cases(most=7), st.integers(1, 6), st.integers(1, 12), st.integers(1, 4), st.integers(0, 3))
@checked
def test_yodann(
    folder: Any, extents: dict[str, Any], sops: int, weight_bits: int, channels: int, results: int
) -> None:  # fmt: skip
    case = values({**extents, "matrix": False, "c": min(extents["c"], 6)}, (-2048, 0), (2047, 1))
    codes, case.w = case.w, 2 * case.w - 1
    fields = {"sops": sops, "channels": channels, "weight_bits_per_cycle": weight_bits, "results_per_cycle": results}
    table = lowered(folder(), case, "yodann", fields, (12, 1), (True, False), (case.a, codes))
    side = max(case.w.shape[2:])
    slot, outputs = next(s for s in ((3, 2), (5, 1), (7, 1)) if s[0] >= side)
    out, clocks = rtl.run_yodann(case.a[0], case.w, case.pad, fields, slot, outputs)
    assert (out == products(case)).all()
    assert table.info["slot"] == slot
    assert finish(table) == clocks


def test_a_large_kernel_is_cut_into_pieces(folder: Any) -> None:
    case = values({"matrix": False, "m": 4, "n": 3, "c": 2, "kernel": (11, 11), "pad": 0, "seed": 1}, (0, 0), (9, 1))
    table = lowered(folder(), case, "yodann", {"sops": 2}, (12, 1), (False, False))
    positions = case.x.shape[0]
    # two sets of outputs, four pieces of at most 7 x 7 each
    assert int(table.rows["busy_cycles"][0]) == 2 * 4 * 2 * positions


@given(cases(), st.integers(1, 4), st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5)), st.booleans())
@checked
def test_tables(folder: Any, extents: dict[str, Any], bits: int, shape: tuple[int, ...], skip: bool) -> None:
    fields: dict[str, Any] = dict(zip(("tables", "lanes", "multipliers"), shape, strict=True))
    case = values({**extents, "pad": 0}, (-100, 0), (100, 2**bits - 1), zeros=0.5)
    levels = np.random.default_rng(extents["seed"]).integers(-99, 100, 2**bits)
    x, codes = case.flat
    table = lowered(folder(), case, "q_table", {**fields, "skip_zeros": skip}, (8, bits), (True, False))
    out, clocks = rtl.run_tables(x, codes, levels, fields, skip)
    assert (out == x @ levels[codes].T).all()
    if out.any():
        assert finish(table) == clocks


@given(cases(), st.integers(1, 5), st.integers(1, 4), st.booleans())
@checked
def test_ternary(folder: Any, extents: dict[str, Any], par_in: int, par_out: int, skip: bool) -> None:
    case = values(extents, (-1, -1), (1, 1), zeros=0.3)
    fields = {"par_in": par_in, "par_out": par_out, "zeros": "skip" if skip else "gate"}
    table = lowered(folder(), case, "ternary_stream", fields, (2, 2), (True, True))
    x, w = case.flat
    out, clocks = rtl.run_ternary(x, w, par_in, par_out, skip)
    assert (out == products(case)).all()
    assert finish(table) == clocks
    adds = int(((x != 0).astype(int) @ (w != 0).astype(int).T).sum())
    assert not adds or table.counts["neuron", "add"] == adds


@given(cases(), st.integers(1, 5), st.integers(1, 6), st.integers(0, 60))
@checked
def test_minerva(folder: Any, extents: dict[str, Any], lanes: int, stages: int, threshold: int) -> None:
    case = values(extents, (-100, -100), (100, 100), zeros=0.3)
    fields = {"lanes": lanes, "stages": stages, "threshold": threshold}
    table = lowered(folder(), case, "minerva", fields, (8, 8), (True, True))
    x, w = case.flat
    out, clocks, formed = rtl.run_lanes(x, w, lanes, stages, threshold)
    kept = np.where(np.abs(x) >= threshold, x, 0)
    assert (out == kept @ w.T).all()
    assert finish(table) == clocks
    assert table.counts["mac", "mac_8x8"] == formed
    assert table.info["predicated"] == pytest.approx(1 - formed / table.macs)


@given(cases(), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
@checked
def test_ucnn(
    folder: Any, extents: dict[str, Any], share: int, pes: int, most: int, limit: int, reach: int
) -> None:  # fmt: skip
    case = values(extents, (-100, -most), (100, most))
    fields = {"pes": pes, "lanes": 4, "filters_per_table": share, "group_limit": limit, "skip_reach": reach}
    table = lowered(folder(), case, "ucnn", {**fields, "dense": "allow"}, (8, 8), (True, True))
    x, w = case.flat
    out, clocks = rtl.run_reuse(x, w, pes, 4, (share, limit, reach))
    assert (out == products(case)).all()
    assert finish(table) == clocks


@given(cases(), st.integers(1, 3), st.integers(1, 2), st.integers(1, 4))
@checked
def test_olaccel(folder: Any, extents: dict[str, Any], groups: int, outlier_groups: int, lanes: int) -> None:
    case = values(extents, (0, -20), (25, 20), zeros=0.4)
    unit = {"groups": groups, "outlier_groups": outlier_groups, "lanes": lanes}
    table = lowered(folder(), case, "olaccel", {**unit, "dense": "allow"}, (16, 8), (False, True))
    x, w = case.flat
    out, clocks = rtl.run_outliers(x, w, unit, (15, 7))
    assert (out == products(case)).all()
    assert finish(table) == clocks + 1  # a sum's register
