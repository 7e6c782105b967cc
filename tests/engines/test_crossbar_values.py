"""What crossbars compute: exact where nothing is lost, the predicted error where bits are missing, faults as stated."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.cli import main
from accelsim.engines.crossbars.math import Cells, NonIdeal, input_digits, product, program, wire_loss
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear
from accelsim.workload.trace import synthetic_trace


def naive(x: Any, w: Any, c: Cells) -> Any:
    """Cell by cell and conversion by conversion, in integers; offset encoding without inverted columns."""
    m, k = x.shape
    out = np.zeros((m, w.shape[1]))
    for i in range(m):
        for j in range(w.shape[1]):
            for r in range(0, k, c.rows):
                for factor, digit in input_digits(x, c):
                    d = digit[i, r : r + c.rows].astype(int)
                    for s in range(c.slices):
                        stored = w[r : r + c.rows, j] + 2 ** (c.weight_bits - 1)
                        levels = (stored >> (c.cell_bits * s)) % 2**c.cell_bits
                        code = min(max(round(float(d @ levels) / c.step), 0), 2**c.adc_bits - 1) * c.step
                        out[i, j] += factor * code * 2 ** (c.cell_bits * s)
                    out[i, j] -= factor * int(d.sum()) * 2 ** (c.weight_bits - 1)
    return out


@given(
    st.sampled_from(["offset", "differential"]), st.booleans(), st.booleans(), st.integers(1, 3), st.integers(1, 4),
    st.integers(2, 9), st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**31),
)  # fmt: skip
@settings(deadline=None, derandomize=True, max_examples=25)
def test_enough_adc_bits_give_the_integer_product(
    encoding: Any, signed: bool, flip: bool, dac: int, cell: int, wb: int, ib: int, rows: int, seed: int
) -> None:
    cells = Cells(rows, cell, wb, ib, dac, 1, encoding, signed, flip and encoding == "offset")
    cells = dataclasses.replace(cells, adc_bits=cells.bits_needed)
    random = np.random.default_rng(seed)
    low, high = (-(2 ** (ib - 1)), 2 ** (ib - 1)) if signed and ib > 1 else (0, 2**ib)
    x = random.integers(low, high, (5, 37))
    w = random.integers(-(2 ** (wb - 1)) + (encoding == "differential"), 2 ** (wb - 1), (37, 4))
    assert np.array_equal(product(x, w, cells), x @ w)


def test_binary_arrays_count_matches() -> None:
    random = np.random.default_rng(1)
    x, w = random.choice([-1, 1], (6, 100)), random.choice([-1, 1], (100, 9))
    cells = Cells(64, 1, 1, 1, 1, 7, "binary")
    assert cells.bits_needed == 7
    assert np.array_equal(product(x, w, cells), x @ w)
    # 3 bits over 64 rows: steps of 64 / 7 matches, so no output is off by more than a step in each row group
    coarse = product(x, w, dataclasses.replace(cells, adc_bits=3, range="scale"))
    assert 0 < np.abs(coarse - x @ w).max() <= 2 * 2 * (64 / 7 / 2) + 1


@pytest.mark.parametrize(("bits", "way"), [(4, "clip"), (5, "clip"), (4, "scale"), (3, "scale"), (9, "clip")])
def test_conversions_are_those_of_a_plain_count(bits: int, way: Any) -> None:
    random = np.random.default_rng(bits)
    cells = Cells(16, 2, 6, 5, 1, bits, "offset", True, False, way)
    x, w = random.integers(-16, 16, (4, 40)), random.integers(-32, 32, (40, 3))
    assert np.allclose(product(x, w, cells), naive(x, w, cells), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
def test_missing_bits_show_the_predicted_error(bits: int) -> None:
    cells = Cells(128, 2, 8, 8, 1, bits, "offset", True, True, "scale")
    random = np.random.default_rng(bits)
    x, w = random.integers(-128, 128, (300, 256)), random.integers(-128, 128, (256, 64))
    error = product(x, w, cells) - x @ w
    predicted = 2 * cells.error_variance()  # two row groups
    assert error.var() == pytest.approx(predicted, rel=0.2 if bits > 5 else 0.1)  # few integers between wide codes
    assert dataclasses.replace(cells, adc_bits=cells.bits_needed).error_variance() == 0


def test_isaac_needs_eight_bits_because_columns_are_inverted() -> None:
    assert Cells(128).bits_needed == 8
    assert Cells(128, flip=False).bits_needed == 9


def test_adcs_that_clip_everything_are_refused() -> None:
    cells = Cells(128, adc_bits=4)
    with pytest.raises(ConfigError, match=r"adc_bits=4 clips every output: .* 8 bits lose nothing"):
        cells.check()
    ones = np.full((3, 128), 2**14 - 1)
    small = Cells(128, weight_bits=2, input_bits=15, signed_inputs=False, adc_bits=5)
    with pytest.raises(ConfigError, match=r"adc_bits=5 clips every output: all \d+ column sums"):
        product(np.full((3, 128), 2**15 - 1), np.full((128, 4), 0), dataclasses.replace(small, flip=False))
    with pytest.raises(ConfigError, match=r"inputs must be -8 to 7 \(4 bits\)"):
        product(ones, np.zeros((128, 1), int), Cells(128, input_bits=4))
    with pytest.raises(ConfigError, match=r"weights must be -8 to 7 \(4 bits\), got -8 to 9"):
        program(np.array([[9], [-8]]), Cells(2, weight_bits=4))
    with pytest.raises(ConfigError, match=r"inputs must have 2 columns"):
        product(np.zeros((1, 3), int), np.zeros((2, 1), int), Cells(2))
    with pytest.raises(ConfigError, match="stuck_on must be >= 0 and < 1, got 2"):
        NonIdeal(stuck_on=2)


def test_faults_are_reproducible_and_as_large_as_asked() -> None:
    random = np.random.default_rng(3)
    x, w = random.integers(0, 256, (200, 128)), random.integers(-128, 128, (128, 50))
    cells = Cells(128, 2, 8, 8, 1, 9, "offset", False, False)
    exact = x @ w
    for faults in (NonIdeal(variation=0.1), NonIdeal(stuck_off=0.01, stuck_on=0.01), NonIdeal(read_noise=1.0)):
        first, again = (product(x, w, cells, faults, name="a") for _ in range(2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, product(x, w, cells, dataclasses.replace(faults, seed=1), name="a"))
        assert not np.array_equal(first, product(x, w, cells, faults, name="b"))
    # read noise: each of digits x slices sums is off by 1 and by what rounding adds
    error = product(x, w, cells, NonIdeal(read_noise=1.0)) - exact
    steps = sum(4.0 ** (d + 2 * s) for d in range(8) for s in range(4))
    assert error.var() == pytest.approx(steps * (1 + 1 / 12), rel=0.1)
    more = [
        np.abs(product(x, w, cells, NonIdeal(variation=v)) - exact).mean() for v in (0.0, 0.02, 0.05, 0.1, 0.2)
    ]
    assert more[0] == 0 and more == sorted(more)
    levels = program(np.zeros((5000, 1), int), Cells(5000, 1, 1, encoding="offset", flip=False),
                     NonIdeal(stuck_off=0.2)).levels  # fmt: skip
    assert (levels == 0).mean() == pytest.approx(0.2, abs=0.02)


def solved(g: Any, r: float, x: Any) -> Any:
    """Column currents of the whole resistor network, by nodal analysis: wordlines from the left, bit lines below."""
    rows, cols = g.shape
    n, wire = rows * cols, 1 / r
    a, b = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)

    def join(p: int, q: int | None, y: float, v: float = 0.0) -> None:
        a[p, p] += y
        if q is None:
            b[p] += y * v
        else:
            a[q, q] += y
            a[p, q] -= y
            a[q, p] -= y

    for i in range(rows):
        for j in range(cols):
            word, bit = i * cols + j, n + i * cols + j
            join(word, bit, g[i, j])
            join(word, word - 1 if j else None, wire, x[i])
            join(bit, bit + cols if i + 1 < rows else None, wire)
    v = np.linalg.solve(a, b)
    return np.array([v[n + (rows - 1) * cols + j] * wire for j in range(cols)])


def test_wire_loss_is_the_first_order_of_the_resistor_network() -> None:
    random = np.random.default_rng(5)
    g = random.integers(0, 4, (7, 6)).astype(float)
    x = np.array([1, 0, 1, 1, 0, 1, 1.0])
    errors = []
    for r in (1e-4, 1e-3):
        ours = x @ (g * (1 - r * wire_loss(g)))
        truth = solved(g, r, x)
        assert np.abs(x @ g - truth).max() > 5 * np.abs(ours - truth).max()
        errors.append(np.abs(ours - truth).max())
    assert errors[1] / errors[0] == pytest.approx(100, rel=0.2)  # what is left is of second order


def test_a_run_reports_how_far_its_products_are_off() -> None:
    network = Network("n", [Node("x", Input((1, 8, 9, 9))), Node("c", Conv(6, 3, 1, 1, bias=False), ("x",))])
    trace = synthetic_trace(network, weight_bits=8, activation_bits=8)

    def run(name: str, *sets: str) -> float | None:
        found = simulate(load_arch(name, list(sets)), trace).layers[0].info.get("output_error")
        return None if found is None else float(found)

    for name in ("isaac", "snrram"):  # in place, and one after another
        assert run(name) is None and run(name, "engine.faults={}") == 0.0
        few, many = (run(name, f"engine.faults={{variation: {sigma}}}") for sigma in (0.02, 0.1))
        assert few is not None and many is not None and 0 < few < many
        coarse = run(name, "engine.faults={}", "engine.adc_bits=6", "engine.flip=false")
        assert coarse is not None and coarse > 0


def test_the_error_of_a_run_is_that_of_the_products() -> None:
    network = Network("n", [Node("x", Input((5, 150))), Node("l", Linear(9, bias=False), ("x",))])
    trace = synthetic_trace(network, weight_bits=8, activation_bits=8)
    layer = simulate(load_arch("isaac", ["engine.faults={variation: 0.05, seed: 3}"]), trace).layers[0]
    x, w = (trace.operand("l", role) for role in ("ifmap", "filter"))
    assert x is not None and w is not None
    xs, ws = (o.values().astype(np.int64).reshape(-1, 150) for o in (x, w))
    ws = ws.T
    cells = Cells(128, 2, 8, 8, 1, 8, "offset", x.signed, True)
    out, exact = product(xs, ws, cells, NonIdeal(variation=0.05, seed=3), name="l"), xs @ ws
    assert layer.info["output_error"] == pytest.approx(np.sqrt(((out - exact) ** 2).sum() / (exact**2).sum()))


def test_accuracy_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    narrow = ["--set", "precision.filter=8", "--set", "precision.ifmap=8", "--set", "engine.faults={}"]
    assert main(["run", "isaac", "lenet_digits", "--accuracy", "--quiet", *narrow]) == 0
    told = "".join(capsys.readouterr())
    assert "of 360 real inputs of lenet_digits right on isaac's crossbars (products off by 0%)" in told
    assert main(["run", "tpu_v1", "lenet_digits", "--accuracy", "--quiet"]) == 2
    assert "--accuracy: needs an engine of crossbars, got 'systolic'" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ("{variation: -1}", "engine.faults.variation: must be >= 0.0, got -1"),
        ("{stuck_on: 0.7, stuck_off: 0.6}", r"stuck_on \+ stuck_off must be <= 1, got 1.3"),
        ("{stuck: 0.7}", "engine.faults.stuck"),
    ],
)
def test_faults_that_cannot_be(faults: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_arch("isaac", [f"engine.faults={faults}"])
