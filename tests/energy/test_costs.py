"""Counts times costs: sums, leakage, missing rows, and the building blocks of an architecture."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.energy import Component, ComponentCosts, CostModel, CostRow, EnergyReport, EnergyRow
from accelsim.energy import rows as build

MODEL = CostModel(45)


def two_parts() -> ComponentCosts:
    return ComponentCosts([
        Component("mac", {"mac_8x8": CostRow(0.5, "a"), "gated": CostRow(0.25, "a")}, 2.0, 0.125, "b"),
        Component("dram", {"read_byte": CostRow(64.0, "c")}),
    ])


def test_energy_is_counts_times_costs_plus_leakage() -> None:
    counts = ActionCounts({("mac", "mac_8x8"): 1000, ("dram", "read_byte"): 10})
    report = two_parts().apply(counts, 1e-6)
    assert report.rows == (
        EnergyRow("dram", "read_byte", 10, 640.0),
        EnergyRow("mac", "mac_8x8", 1000, 500.0),
        EnergyRow("mac", "leakage", 0, 2.0 * 1e-6 * 1e9),
    )
    assert (report.dynamic_pj, report.leakage_pj) == (1140.0, pytest.approx(2000.0))
    assert report.total_pj == pytest.approx(3140.0)
    assert report.by_component() == {"dram": 640.0, "mac": pytest.approx(2500.0)}
    assert report.by_action()["mac", "mac_8x8"] == 500.0
    assert report.power_w == pytest.approx(3140e-12 / 1e-6)


def test_nothing_takes_nothing() -> None:
    report = two_parts().apply({}, 0.0)
    assert report.total_pj == report.power_w == 0.0


COUNTS = st.dictionaries(
    st.sampled_from([("mac", "mac_8x8"), ("mac", "gated"), ("dram", "read_byte")]), st.integers(0, 2**62)
)


@settings(deadline=None, derandomize=True)
@given(COUNTS, st.floats(0, 10))
def test_parts_sum_and_order_does_not_matter(counts: dict[tuple[str, str], int], seconds: float) -> None:
    costs = two_parts()
    report = costs.apply(counts, seconds)
    assert sum(report.by_component().values()) == pytest.approx(report.total_pj, rel=1e-12)
    assert report.dynamic_pj + report.leakage_pj == pytest.approx(report.total_pj, rel=1e-12)
    backwards = costs.apply(dict(reversed(counts.items())), seconds)
    assert backwards == report and backwards.total_pj == report.total_pj


def test_reports_add_up() -> None:
    costs = two_parts()
    a = costs.apply({("mac", "mac_8x8"): 3}, 1e-6)
    b = costs.apply({("mac", "gated"): 5, ("mac", "mac_8x8"): 4}, 2e-6)
    both = EnergyReport.total([a, b])
    assert both.by_action()["mac", "mac_8x8"] == 3.5
    assert both.total_pj == pytest.approx(a.total_pj + b.total_pj)
    assert both.seconds == 3e-6
    assert [r.action for r in both.rows] == ["gated", "mac_8x8", "leakage"]
    assert next(r.count for r in both.rows if r.action == "mac_8x8") == 7


def test_a_count_without_a_cost_is_an_error() -> None:
    costs = two_parts()
    message = r"no costs for component 'drum'; did you mean dram\? \(there are: dram, mac\)"
    with pytest.raises(ConfigError, match=message):
        costs.apply({("drum", "read_byte"): 1}, 0)
    message = r"no energy for action 'mac_8x4' of component 'mac'; did you mean mac_8x8\? \(there are: gated, mac_8x8\)"
    with pytest.raises(ConfigError, match=message):
        costs.apply({("mac", "mac_8x4"): 1}, 0)
    with pytest.raises(ConfigError, match="there are: none"):
        ComponentCosts([]).row("mac", "mac_8x8")


def test_nonsense_is_our_bug() -> None:
    costs = two_parts()
    with pytest.raises(SimulationBug, match="time >= 0, got nan"):
        costs.apply({}, float("nan"))
    with pytest.raises(SimulationBug, match="must be >= 0, got -1"):
        costs.apply({("mac", "gated"): -1}, 0)
    with pytest.raises(SimulationBug, match="finite energy and a source"):
        CostRow(float("inf"), "s")
    with pytest.raises(SimulationBug, match="finite energy and a source"):
        CostRow(1.0, "")
    with pytest.raises(SimulationBug, match="leakage of mac must be finite"):
        Component("mac", {}, -1.0)
    with pytest.raises(SimulationBug, match="need a source"):
        Component("mac", {}, 1.0)
    with pytest.raises(SimulationBug, match="is not an action"):
        Component("mac", {"leakage": CostRow(1.0, "s")})


def test_parts_of_one_name_are_joined() -> None:
    half = Component("mac", {"mac_4x4": CostRow(0.1, "d")}, 1.0, 0.5, "e")
    joined = ComponentCosts([*two_parts(), half])
    assert len(joined) == 2 and joined.names() == ["dram", "mac"]
    mac = joined.component("mac")
    assert sorted(mac.actions) == ["gated", "mac_4x4", "mac_8x8"]
    assert (mac.leakage_mw, mac.area_mm2, mac.static_source) == (3.0, 0.625, "b; e")
    assert joined.area_mm2() == {"dram": 0.0, "mac": 0.625} and joined.leakage_mw()["mac"] == 3.0
    with pytest.raises(SimulationBug, match=r"two costs for \['mac_4x4'\]"):
        ComponentCosts([half, half])


def test_rows_list_everything_and_can_be_changed() -> None:
    costs = two_parts()
    assert costs.rows()[0] == ("dram", "read_byte", 64.0, "c") and len(costs.rows()) == 3
    changed = costs.with_rows("dram", {"read_byte": CostRow(1.0, "mine")})
    assert changed.row("dram", "read_byte").energy_pj == 1.0
    assert costs.row("dram", "read_byte").energy_pj == 64.0


# Building blocks


def test_an_array_in_a_few_lines() -> None:
    costs = ComponentCosts([
        build.mac_rows(MODEL, [(8, 8), (4, 4)], count=1024),
        build.register_rows(MODEL, "pe_register", 48, count=1024),
        build.link_rows(MODEL, "array_link", 8, 0.05, count=2048),
        build.sram_rows(MODEL, "ifmap", 65536, 256),
        build.scratchpad_rows(MODEL, "spad", 24, 16, count=168),
        build.dram_rows(MODEL, "ddr4", burst_bytes=64),
        build.vector_rows(MODEL, ["add", "max", "relu"], 16, lanes=32),
        build.noc_rows(MODEL, 64, 1.0, routers=16),
    ])
    assert costs.row("mac", "mac_8x8").energy_pj == pytest.approx(0.3)
    assert costs.row("mac", "gated").energy_pj == MODEL.gated_pj(8)
    assert costs.area_mm2()["mac"] == pytest.approx(1024 * MODEL.mac_area_mm2(8, 8))
    assert costs.leakage_mw()["mac"] == pytest.approx(1024 * MODEL.logic_leak_mw(MODEL.mac_area_mm2(8, 8)))
    for way in ("read", "write"):
        word, bit = (costs.row("pe_register", action).energy_pj for action in (way, f"{way}_bit"))
        assert word == pytest.approx(48 * bit)
    assert costs.row("pe_register", "write_bit").energy_pj == MODEL.register_pj(1)
    # Only a write clocks flip-flops.
    assert costs.row("pe_register", "read").energy_pj < 0.1 * costs.row("pe_register", "write").energy_pj
    wire = 8 * 0.05 * MODEL.wire_pj_per_bit_mm()
    assert costs.row("array_link", "hop").energy_pj == pytest.approx(wire + MODEL.register_pj(8))
    assert costs.row("ifmap", "read").energy_pj == MODEL.sram(65536, 256).read_pj
    assert costs.component("spad").area_mm2 == pytest.approx(168 * MODEL.scratchpad(24, 16).area_mm2)
    assert costs.row("dram", "read_burst").energy_pj == pytest.approx(64 * costs.row("dram", "read_byte").energy_pj)
    assert costs.leakage_mw()["dram"] == MODEL.dram("ddr4").standby_mw > 0
    assert costs.row("vector_unit", "op").energy_pj == MODEL.op_pj("multiply", 16)
    assert costs.row("noc", "hop").energy_pj == pytest.approx(
        costs.row("noc", "router").energy_pj + costs.row("noc", "wire").energy_pj
    )
    assert all(source for *_, source in costs.rows())
    report = costs.apply({("mac", "mac_4x4"): 10**9, ("dram", "read_burst"): 10**6}, 1e-3)
    assert report.total_pj == pytest.approx(sum(report.by_component().values()))


def test_total_price_dram_has_no_standby_of_its_own() -> None:
    assert build.dram_rows(MODEL, "lpddr4").leakage_mw == 0
    idd = build.dram_idd_rows(MODEL, "ddr4", ranks=2)
    assert sorted(idd.actions) == ["activate", "read_burst", "refresh", "write_burst"]
    assert idd.leakage_mw == 2 * MODEL.dram_idd("ddr4").precharge_standby_mw


def test_floating_point_and_other_families() -> None:
    fp = build.fp_mac_rows(MODEL, "bf16", acc="fp32", count=4)
    assert fp.actions["mac_bf16"].energy_pj == MODEL.fp_mac_pj("bf16", "fp32")
    bare = build.link_rows(MODEL, "bus", 16, 1.0, registered=False)
    assert bare.area_mm2 == 0 and bare.actions["hop"].energy_pj == pytest.approx(16 * MODEL.wire_pj_per_bit_mm())
    counter = build.component(
        "popcount", {"count": MODEL.popcount_pj(256)}, area=MODEL.popcount_area_mm2(256),
        leakage=MODEL.logic_leak_mw(MODEL.popcount_area_mm2(256)), count=8,
    )
    assert counter.area_mm2 == pytest.approx(8 * MODEL.popcount_area_mm2(256))
    parts = ComponentCosts(build.crossbar_rows(MODEL, 128, 128, adc_bits=8, adc_rate_hz=1.28e9, arrays=96))
    assert parts.names() == ["adc", "crossbar", "dac", "sample_hold"]
    assert parts.area_mm2()["dac"] == pytest.approx(96 * 128 * MODEL.converter("puma_dac").area)
    serial = MODEL.bit_serial_area_mm2(16, 16)
    assert serial > MODEL.op_area_mm2("add", 32) and MODEL.bit_brick_area_mm2() > 0


@pytest.mark.parametrize("call, message", [
    (lambda: build.mac_rows(MODEL, []), "mac needs at least one pair of bit widths"),
    (lambda: build.link_rows(MODEL, "bus", 8, -1.0), "length of bus must be >= 0 mm, got -1"),
    (lambda: build.component("x", {"a": MODEL.mac_area_mm2(8, 8)}), "a of x must be in pJ, got mm2"),
    (lambda: build.component("x", {}, area=MODEL.add_pj(8)), "area of x must be in mm2, got pJ"),
    (lambda: build.component("x", {}, leakage=MODEL.add_pj(8)), "leakage of x must be in mW, got pJ"),
    (lambda: build.vector_rows(MODEL, ["sum"], 8), "unknown operation 'sum'"),
])
def test_bad_blocks(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()  # type: ignore[operator]
