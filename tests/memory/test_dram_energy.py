"""Energy per action from supply currents, and the counts that it multiplies."""

from __future__ import annotations

import csv

import pytest

from accelsim.base.errors import ConfigError
from accelsim.memory.dram import Dram, energy_table
from accelsim.memory.dram_energy import ACTIONS, energy_pj
from accelsim.memory.dram_layout import COMMAND_NAMES
from accelsim.memory.dram_spec import DramConfig, load_standard, resolve, standard_names
from tests.references import reference


def test_the_formula_by_hand() -> None:
    """DDR3-1600, eight devices at 1.35 V: mA x V x ns = pJ."""
    pj = energy_table(DramConfig(standard="ddr3_1600"))
    assert pj["activate"] == pytest.approx(8 * 1.35 * 1.25 * (55 * 39 - 38 * 28 - 32 * 11))
    assert pj["read_burst"] == pytest.approx(8 * 1.35 * 1.25 * 4 * (157 - 38))
    assert pj["write_burst"] == pytest.approx(8 * 1.35 * 1.25 * 4 * (125 - 38))
    assert pj["refresh"] == pytest.approx(8 * 1.35 * 1.25 * 208 * (235 - 38))
    assert pj["active_standby_clock"] == pytest.approx(8 * 1.35 * 1.25 * 38)
    assert pj["precharge_standby_clock"] == pytest.approx(8 * 1.35 * 1.25 * 32)


@pytest.mark.parametrize(("standard", "config"), [("ddr3_1600", "DDR3_4Gb_x8_1600")])
def test_equals_the_reference_computation(standard: str, config: str) -> None:
    with reference("energy/dram_from_idd.csv").open() as file:
        row = next(r for r in csv.DictReader(file) if r["config"] == config)
    pj = energy_table(DramConfig(standard=standard))
    assert pj["activate"] == pytest.approx(float(row["act_pJ"]), rel=1e-4)
    assert pj["read_burst"] == pytest.approx(float(row["read_burst_pJ"]), rel=1e-4)
    assert pj["write_burst"] == pytest.approx(float(row["write_burst_pJ"]), rel=1e-4)


@pytest.mark.parametrize("standard", [n for n in standard_names() if n != "lpddr5_6400"])
def test_energies_are_positive_and_plausible(standard: str) -> None:
    config = DramConfig(standard=standard)
    pj = energy_pj(load_standard(standard), resolve(config).timing)
    assert list(pj) == list(ACTIONS) and all(value > 0 for value in pj.values())
    bits = 8 * resolve(config).burst_bytes
    # published core figures lie between HBM's 1 and DDR3's 15 pJ/bit
    assert 0.5 < pj["read_burst"] / bits < 15


def test_no_currents_no_energy() -> None:
    with pytest.raises(ConfigError, match="LPDDR5-6400: the table has no supply currents"):
        energy_table(DramConfig(standard="lpddr5_6400"))


def test_counts_are_those_of_the_log() -> None:
    dram = Dram.from_config(DramConfig(standard="ddr4_2400", ranks=2, row_policy="closed"), 10**9, record=True)
    for i in range(30):
        dram.submit(100 * i, i, 70_000 * i, 3000, i % 3 == 0)
        while dram.advance(100 * i + 100) is not None:
            pass
    dram.finish()
    names = [COMMAND_NAMES[row[2]] for row in dram.commands().tolist()]
    counts = dram.counts()
    assert counts["dram", "activate"] == names.count("ACT")
    assert counts["dram", "read_burst"] == names.count("RD") + names.count("RDA")
    assert counts["dram", "write_burst"] == names.count("WR") + names.count("WRA")
    assert counts.get(("dram", "refresh"), 0) == names.count("REF")
    clocks = dram.stats().clocks
    assert counts["dram", "active_standby_clock"] + counts["dram", "precharge_standby_clock"] == 2 * clocks
    later = dram.counts(until=100_000)
    total = later["dram", "active_standby_clock"] + later["dram", "precharge_standby_clock"]
    assert total == 2 * dram.clock_of(100_000)


def test_standby_follows_the_rows() -> None:
    """One row opened by one read and closed by the refresh: active from ACT to PREA."""
    dram = Dram.from_config(DramConfig(standard="ddr4_2400"), 10**12 // 833, record=True)
    dram.submit(0, 0, 0, 64, False)
    dram.advance(20_000)
    while dram.advance(20_000) is not None:
        pass
    rows = {COMMAND_NAMES[row[2]]: row[0] for row in dram.commands().tolist()[:3]}
    assert dram.counts()["dram", "active_standby_clock"] == rows["PREA"] - rows["ACT"]
