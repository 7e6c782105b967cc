"""Every timing gate on both sides: refused one clock before, accepted on the clock. Times are spelled by parameter."""

from __future__ import annotations

import dataclasses

import pytest

from accelsim.memory.dram_spec import DramConfig, resolve, standard_names
from accelsim.memory.dram_state import DramParameters
from tests.memory.device import DeviceUnderTest

START = 1000


def two_ranks(standard: str) -> DramParameters:
    return resolve(DramConfig(standard=standard, channels=1, ranks=2))


@pytest.fixture(params=standard_names())
def dut(request: pytest.FixtureRequest) -> DeviceUnderTest:
    return DeviceUnderTest(two_ranks(request.param))


def other_group(p: DramParameters) -> int:
    """A bank of another group in rank 0 (another bank where there are no groups)."""
    return p.banks_per_group if p.bankgroups > 1 else 1


def other_rank(p: DramParameters) -> int:
    return p.bankgroups * p.banks_per_group


def settle(dut: DeviceUnderTest, *banks: int) -> int:
    """Open the banks far apart; a clock at which nothing holds any more but what comes next."""
    for i, bank in enumerate(banks):
        dut.issue("ACT", bank, START + 500 * i)
    return START + 500 * len(banks) + 1000


def last_clock(p: DramParameters, clock: int) -> int:
    """Constraints count from the last clock of an activate, and to it."""
    return clock + p.activate_clocks - 1


def test_an_idle_bank_takes_a_row_at_once(dut: DeviceUnderTest) -> None:
    assert dut.probe("ACT", 0, 0)


def test_trcd(dut: DeviceUnderTest) -> None:
    t = dut.p.timing
    dut.issue("ACT", 0, START)
    dut.earliest_is("RD", 0, last_clock(dut.p, START) + t.tRCDRD)
    dut.earliest_is("WR", 0, last_clock(dut.p, START) + t.tRCDWR)


def test_tras_trp_trc(dut: DeviceUnderTest) -> None:
    t = dut.p.timing
    dut.issue("ACT", 0, START)
    closes = last_clock(dut.p, START) + t.tRAS
    dut.earliest_is("PRE", 0, closes)
    dut.issue("PRE", 0, closes)
    dut.earliest_is("ACT", 0, max(START + t.tRC, closes + t.tRP - dut.p.activate_clocks + 1))


def test_trc_when_it_is_longer_than_its_parts() -> None:
    p = two_ranks("ddr4_2400")
    p = dataclasses.replace(p, timing=dataclasses.replace(p.timing, tRC=p.timing.tRAS + p.timing.tRP + 5))
    dut = DeviceUnderTest(p)
    dut.issue("ACT", 0, START)
    dut.issue("PRE", 0, START + p.timing.tRAS)
    dut.earliest_is("ACT", 0, START + p.timing.tRC)


def test_trp_after_a_late_precharge(dut: DeviceUnderTest) -> None:
    late = settle(dut, 0)
    dut.issue("PRE", 0, late)
    dut.earliest_is("ACT", 0, late + dut.p.timing.tRP - dut.p.activate_clocks + 1)


def test_trrd(dut: DeviceUnderTest) -> None:
    t, far = dut.p.timing, other_group(dut.p)
    dut.issue("ACT", 0, START)
    dut.earliest_is("ACT", far, START + (t.tRRD_S if dut.p.bankgroups > 1 else t.tRRD_L))
    dut.earliest_is("ACT", 1, START + t.tRRD_L)
    assert dut.probe("ACT", other_rank(dut.p), START + 1)


def test_tfaw(dut: DeviceUnderTest) -> None:
    t = dut.p.timing
    step = max(t.tRRD_L, dut.p.activate_clocks)
    for i in range(4):
        dut.issue("ACT", i, START + step * i)
    fifth = max(START + t.tFAW, START + 3 * step + (t.tRRD_S if dut.p.bankgroups > 1 else t.tRRD_L))
    dut.earliest_is("ACT", 4, fifth)


def test_tfaw_binds() -> None:
    p = two_ranks("ddr4_2400")
    p = dataclasses.replace(p, timing=dataclasses.replace(p.timing, tFAW=100))
    dut = DeviceUnderTest(p)
    for i, clock in enumerate((0, 10, 20, 30)):
        dut.issue("ACT", 4 * i, START + clock)
    dut.earliest_is("ACT", 1, START + p.timing.tFAW)
    dut.issue("ACT", 1, START + p.timing.tFAW)
    dut.earliest_is("ACT", 5, START + 10 + p.timing.tFAW)
    assert dut.probe("ACT", other_rank(p), START + 31)


def test_tccd(dut: DeviceUnderTest) -> None:
    t, far = dut.p.timing, other_group(dut.p)
    for kind in ("RD", "WR"):
        dut = DeviceUnderTest(dut.p)
        clock = settle(dut, 0, 1, far) if far != 1 else settle(dut, 0, 1)
        dut.issue(kind, 0, clock)
        dut.earliest_is(kind, 0, clock + t.tCCD_L)
        dut.earliest_is(kind, 1, clock + t.tCCD_L)
        dut.earliest_is(kind, far, clock + (t.tCCD_S if dut.p.bankgroups > 1 else t.tCCD_L))


def test_read_to_write_turnaround(dut: DeviceUnderTest) -> None:
    clock = settle(dut, 0, 1)
    dut.issue("RD", 0, clock)
    dut.earliest_is("WR", 1, clock + dut.p.timing.tRTW)


def test_twtr(dut: DeviceUnderTest) -> None:
    t, far = dut.p.timing, other_group(dut.p)
    clock = settle(dut, 0, 1, far) if far != 1 else settle(dut, 0, 1)
    dut.issue("WR", 0, clock)
    end = clock + t.tCWL + t.tBL
    dut.earliest_is("RD", 1, end + t.tWTR_L)
    dut.earliest_is("RD", far, end + (t.tWTR_S if dut.p.bankgroups > 1 else t.tWTR_L))


def test_trtp_and_twr(dut: DeviceUnderTest) -> None:
    t = dut.p.timing
    clock = settle(dut, 0, 1)
    dut.issue("RD", 0, clock)
    dut.earliest_is("PRE", 0, clock + t.tRTP)
    assert dut.probe("PRE", 1, clock)
    late = clock + 200
    dut.issue("WR", 0, late)
    dut.earliest_is("PRE", 0, late + t.tCWL + t.tBL + t.tWR)


def test_tppd(dut: DeviceUnderTest) -> None:
    clock = settle(dut, 0, 1, other_rank(dut.p))
    dut.issue("PRE", 0, clock)
    dut.earliest_is("PRE", 1, clock + dut.p.timing.tPPD)
    assert dut.probe("PRE", other_rank(dut.p), clock)


@pytest.mark.parametrize("kind", ["RD", "WR"])
def test_auto_precharge(dut: DeviceUnderTest, kind: str) -> None:
    t = dut.p.timing
    clock = settle(dut, 0)
    dut.issue(kind + "A", 0, clock)
    closes = clock + t.tRTP if kind == "RD" else clock + t.tCWL + t.tBL + t.tWR
    dut.earliest_is("ACT", 0, closes + t.tRP - dut.p.activate_clocks + 1)
    dut.earliest_is("REF", 0, closes + t.tRP)


def test_auto_precharge_waits_for_tras(dut: DeviceUnderTest) -> None:
    t = dut.p.timing
    dut.issue("ACT", 0, START)
    column = last_clock(dut.p, START) + t.tRCDRD
    dut.issue("RDA", 0, column)
    closes = max(last_clock(dut.p, START) + t.tRAS, column + t.tRTP)
    dut.earliest_is("ACT", 0, max(START + t.tRC, closes + t.tRP - dut.p.activate_clocks + 1))


@pytest.mark.parametrize(("first", "second"), [("RD", "RD"), ("RD", "WR"), ("WR", "RD"), ("WR", "WR")])
def test_the_data_bus_changes_ranks(dut: DeviceUnderTest, first: str, second: str) -> None:
    t, far = dut.p.timing, other_rank(dut.p)
    clock = settle(dut, 0, far)
    dut.issue(first, 0, clock)
    delay = {"RD": t.tCL, "WR": t.tCWL}
    free = clock + delay[first] + t.tBL + t.tCS - delay[second]
    if free > clock:
        dut.earliest_is(second, far, free)
    else:
        assert dut.probe(second, far, clock + 1)


def test_refresh(dut: DeviceUnderTest) -> None:
    t = dut.p.timing
    clock = settle(dut, 0)
    dut.issue("PRE", 0, clock)
    dut.earliest_is("REF", 0, clock + t.tRP)
    dut.issue("REF", 0, clock + t.tRP)
    dut.earliest_is("ACT", 3, clock + t.tRP + t.tRFC - dut.p.activate_clocks + 1)
    dut.earliest_is("REF", 0, clock + t.tRP + t.tRFC)
    dut.earliest_is("PREA", 0, clock + t.tRP + t.tRFC)
    assert dut.probe("ACT", other_rank(dut.p), clock + t.tRP + 1)


def test_refresh_after_an_activate(dut: DeviceUnderTest) -> None:
    dut.issue("ACT", 0, START)
    dut.earliest_is("REF", 0, last_clock(dut.p, START) + dut.p.timing.tRC)


def test_precharge_all(dut: DeviceUnderTest) -> None:
    t = dut.p.timing
    clock = settle(dut, 0, 1)
    dut.issue("RD", 1, clock)
    dut.earliest_is("PREA", 0, clock + t.tRTP)
    late = clock + 300
    dut.issue("WR", 0, late)
    closes = late + t.tCWL + t.tBL + t.tWR
    dut.earliest_is("PREA", 0, closes)
    dut.issue("PREA", 0, closes)
    dut.earliest_is("ACT", 1, closes + t.tRPab - dut.p.activate_clocks + 1)
    dut.earliest_is("REF", 0, closes + t.tRPab)
    dut.earliest_is("PREA", 0, closes + t.tPPD)


def test_precharge_all_waits_for_tras(dut: DeviceUnderTest) -> None:
    dut.issue("ACT", 2, START)
    dut.earliest_is("PREA", 0, last_clock(dut.p, START) + dut.p.timing.tRAS)
