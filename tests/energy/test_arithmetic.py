"""Arithmetic at any width: published points, the rules between and beyond them, and published MACs."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.energy.arithmetic import OPERATIONS
from accelsim.energy.figures import Figure, composed
from accelsim.energy.model import CostModel

AT45 = CostModel(45)


def test_horowitz_points_are_exact_at_their_node() -> None:
    assert [float(AT45.add_pj(b)) for b in (8, 16, 32)] == [0.03, 0.05, 0.1]
    assert [float(AT45.multiply_pj(b, b)) for b in (8, 16, 32)] == [0.2, 0.79, 3.1]
    floats = ("fp16_add", 0.4), ("fp32_add", 0.9), ("fp16_multiply", 1.1), ("fp32_multiply", 3.7)
    for name, value in floats:
        assert AT45.op_pj(name, 16) == value
    assert AT45.mac_pj(8, 8, 32) == pytest.approx(0.3)
    assert AT45.mac_area_mm2(8, 8, 32) == pytest.approx(419e-6)


def test_rules_below_the_points() -> None:
    assert [AT45.add_pj(b) for b in (1, 2, 4)] == pytest.approx([0.00375, 0.0075, 0.015])
    assert [AT45.multiply_pj(b, b) for b in (2, 4)] == pytest.approx([0.0125, 0.05])
    # One bit needs no adder, only AND gates (0.0181 pJ for 32 of them at 40 nm).
    assert AT45.multiply_pj(1, 8) == AT45.xnor_pj(8) == pytest.approx(8 / 32 * 0.0181 * AT45.tech.energy_ratio(40))
    assert CostModel(40).xnor_pj(32) == 0.0181
    assert AT45.multiply_pj(1, 8) < AT45.multiply_pj(2, 8)
    assert AT45.add_pj(64) == pytest.approx(0.2)


def test_sixteen_bit_product_is_the_geometric_mean() -> None:
    assert AT45.multiply_pj(16, 16) == pytest.approx((0.2 * 3.1) ** 0.5, rel=0.005)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 20))
def test_more_bits_never_take_less(a: int, b: int, more: int) -> None:
    wide = min(a + more, 64)
    assert AT45.add_pj(a) <= AT45.add_pj(wide)
    assert AT45.multiply_pj(a, b) <= AT45.multiply_pj(wide, b) * (1 + 1e-12)
    assert AT45.multiply_pj(a, b) == AT45.multiply_pj(b, a)
    assert AT45.mac_area_mm2(a, b) <= AT45.mac_area_mm2(wide, b) * (1 + 1e-12)
    assert AT45.popcount_pj(a) <= AT45.popcount_pj(wide)
    assert AT45.register_pj(a) <= AT45.register_pj(wide)
    assert AT45.bit_serial_step_pj(8, a) <= AT45.bit_serial_step_pj(8, wide)
    for op in ("max", "shift", "sigmoid"):
        assert AT45.op_pj(op, a) <= AT45.op_pj(op, wide)


def test_bf16_lies_below_fp16() -> None:
    for op in ("multiply", "add"):
        values = [AT45.op_pj(f"{n}_{op}", 16) for n in ("bf16", "fp16", "fp32")]
        assert values == sorted(values)
        assert "derived" in values[0].source and "derived" not in values[1].source
    assert AT45.fp_mac_pj("bf16", "fp32") == pytest.approx(AT45.op_pj("bf16_multiply", 16) + 0.9)


# Published multiply-accumulates that the tables do not contain.
@pytest.mark.parametrize(
    "node, bits, acc, published, within",
    [
        # Bit Fusion's synthesis at 45 nm, fixed-width array cells (8: 148845 nW, 16: 473688 nW, 4: 60101.7 nW, 500 MHz)
        (45, 4, 32, 0.1202, 0.30),
        (45, 8, 32, 0.2977, 0.05),
        (45, 16, 32, 0.9474, 0.10),
        # nn_dataflow's fit of Eyeriss (JSSC 2017), 65 nm
        (65, 16, 16, 2.0, 0.20),
        # Timeloop's Eyeriss-like reference at 32 nm: 8 x 8 into 16 bits
        (32, 8, 16, 0.2077, 0.25),
    ],
)
def test_published_macs(node: int, bits: int, acc: int, published: float, within: float) -> None:
    assert CostModel(node).mac_pj(bits, bits, acc) == pytest.approx(published, rel=within)


def test_published_areas() -> None:
    # Timeloop's Simba-like reference gives 417 um2 to its 8-bit MAC at 45 nm; Bit Fusion's cell, registers
    # included, takes 687.6 um2.
    registers = AT45.register_area_mm2(8 + 8 + 32)
    assert AT45.mac_area_mm2(8, 8, 32) == pytest.approx(417e-6, rel=0.02)
    assert AT45.mac_area_mm2(8, 8, 32) + registers == pytest.approx(687.6e-6, rel=0.2)


def test_bit_brick_is_a_share_of_a_fusion_unit() -> None:
    # 3.7583 mW at 500 MHz for 16 units of 16 bricks.
    assert AT45.bit_brick_pj() == pytest.approx(3.7583e-3 / 500e6 * 1e12 / 256, rel=1e-4)
    # The authors' simulator charges 235.1 pJ per busy cycle of 16 x 32 units.
    assert AT45.bit_brick_pj() * 16 * 512 == pytest.approx(235.1, rel=0.03)


def test_popcount_counts_full_adders() -> None:
    full_adder = float(AT45.add_pj(1))
    for bits, adders in ((3, 1), (7, 4), (15, 11), (255, 247)):
        assert AT45.popcount_pj(bits) == pytest.approx(adders * full_adder)
    assert AT45.popcount_pj(1) == full_adder


def test_adder_tree_sums_its_levels() -> None:
    by_hand = 4 * AT45.add_pj(8) + 2 * AT45.add_pj(9) + AT45.add_pj(10)
    assert AT45.adder_tree_pj(8, 8) == pytest.approx(by_hand)
    odd = AT45.add_pj(8) + AT45.add_pj(9)
    assert AT45.adder_tree_pj(3, 8) == pytest.approx(odd)


def test_a_binary_dot_product_takes_far_less_than_an_integer_one() -> None:
    binary = AT45.xnor_pj(256) + AT45.popcount_pj(256)
    integer = 256 * AT45.mac_pj(8, 8)
    assert 20 < integer / binary < 200


def test_gated_mac_takes_a_small_part() -> None:
    assert 0 < AT45.gated_pj(8) < 0.1 * AT45.mac_pj(8, 8)


def test_every_operation_has_energy_and_area() -> None:
    for op in OPERATIONS:
        assert AT45.op_pj(op, 16) > 0 and AT45.op_area_mm2(op, 16) > 0
        assert AT45.op_pj(op, 16).source


def test_lookups_grow_with_the_table() -> None:
    values = [AT45.lookup_pj(n, 16) for n in (1, 2, 4, 16, 64)]
    assert values == sorted(values) and values[0] == AT45.register_pj(16)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.add_pj(0), "bits must be an integer from 1 to 64, got 0"),
        (lambda m: m.add_pj(65), "got 65"),
        (lambda m: m.multiply_pj(8, 2.5), "got 2.5"),
        (lambda m: m.op_pj("multiplyy", 8), "unknown operation 'multiplyy'; did you mean multiply"),
        (lambda m: m.op_pj("max", 100), "got 100"),
        (lambda m: m.fp_mac_pj("fp61"), "unknown number format 'fp61'; did you mean fp16"),
        (lambda m: m.op_pj("fp16_divide", 16), "unknown operation 'fp16_divide'"),
        (lambda m: m.adder_tree_pj(1, 8), "inputs of an adder tree must be at least 2, got 1"),
        (lambda m: m.lookup_pj(0, 8), "entries of a register file must be at least 1, got 0"),
    ],
)
def test_bad_operators(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(AT45)  # type: ignore[operator]


def test_figures_carry_their_source() -> None:
    figure = CostModel(28).mac_pj(8, 8)
    assert figure.unit == "pJ" and "Horowitz" in figure.source and figure.scaled_from == "45 nm, 0.9 V"
    assert type(figure * 2) is float and type(float(figure)) is float
    again = pickle.loads(pickle.dumps(figure))
    assert (again, again.source, again.unit) == (figure, figure.source, figure.unit)
    double = figure.times(2, "both halves")
    assert double == 2 * figure and double.source.endswith("both halves")
    for value, source in ((0.0, "s"), (float("nan"), "s"), (1.0, "")):
        with pytest.raises(SimulationBug, match="must be positive and have a source"):
            Figure(value, "pJ", source)
    with pytest.raises(SimulationBug, match="cannot add"):
        composed("nonsense", (1, Figure(1, "pJ", "s")), (1, Figure(1, "mm2", "s")))


def test_explain_lists_what_was_asked_for() -> None:
    model = CostModel(28)
    model.mac_pj(8, 8)
    model.sram(65536, 64)
    model.dram("lpddr4")
    model.router(64)
    rows = model.explain()
    assert [r.component for r in rows if r.action == "mac 8x8+32 bit"] == ["logic"]
    assert {r.unit for r in rows} >= {"pJ", "mW", "mm2", "pJ/bit", "pJ/bit/mm"}
    assert all(r.source and r.node_nm == 28 for r in rows)
    assert len(model.explain()) == len(rows)


def test_voltage_scales_logic() -> None:
    assert CostModel(45, 0.8).mac_pj(8, 8) < AT45.mac_pj(8, 8) < CostModel(45, 1.1).mac_pj(8, 8)
    assert CostModel(45).node_nm == 45 and CostModel(45, 0.8).vdd == 0.8
