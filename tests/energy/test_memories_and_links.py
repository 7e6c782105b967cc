"""DRAM, wires, routers, converters, crossbars; and the order of the memory hierarchy."""

from __future__ import annotations

import math

import pytest

from accelsim.base.errors import ConfigError
from accelsim.energy.analog import _BITS
from accelsim.energy.dram import standards
from accelsim.energy.interconnect import WIRES, wire
from accelsim.energy.model import CostModel
from accelsim.energy.scaling import Technology
from accelsim.energy.tableio import read_table

AT65, AT45, AT32 = CostModel(65), CostModel(45), CostModel(32)


# Eyeriss, ISCA 2016, Table IV: RF 1, array 2, global buffer 6, DRAM 200, relative to one 16-bit MAC at 65 nm.
def test_the_hierarchy_has_the_order_of_eyeriss() -> None:
    mac = AT65.mac_pj(16, 16, 16)
    register_file = AT65.scratchpad(512, 16).read_pj
    glb = AT65.sram(108 * 1024, 64).read_pj / 4
    dram = AT65.dram("eyeriss").pj_per_bit_read * 16
    assert register_file == pytest.approx(mac, rel=0.35)
    assert 4 < glb / mac < 12
    assert 150 < dram / mac < 400
    # nn_dataflow's fit of JSSC 2017: 15 pJ per 16-bit word of a 108 kB buffer.
    assert glb == pytest.approx(15, rel=0.1)


def test_the_hierarchy_has_the_order_of_horowitz() -> None:
    # 45 nm: 8 kB SRAM 10 pJ, 1 MB 100 pJ, DRAM 1300 to 2600 pJ for 64 bits; int8 product 0.2 pJ.
    small, large = AT45.sram(8 * 1024, 64).read_pj, AT45.sram(2**20, 64).read_pj
    assert small == pytest.approx(10, rel=0.5) and large == pytest.approx(100, rel=0.5)
    low = AT45.dram("horowitz_low").pj_per_bit_read * 64
    assert AT45.multiply_pj(8, 8) < small < large < low
    assert low == pytest.approx(1300)


# DRAM


def test_dram_standards() -> None:
    assert AT45.dram("DDR3").pj_per_bit_read == 70
    assert AT45.dram("hbm2").pj_per_bit_read == 3.9
    assert AT45.dram("lpddr4-3200").standard == "lpddr4"
    core = AT45.dram("ddr4-2400")
    assert core.scope == "core" and core.standby_mw > 0 and "no I/O" in core.source
    total = AT45.dram("lpddr4")
    assert total.scope == "total" and total.standby_mw == 0
    assert AT45.dram("lpddr3").pj_per_bit_read == pytest.approx(5.711 + 3.7, abs=0.001)


def test_core_prices_are_the_idd_model() -> None:
    for name in standards():
        cost = AT45.dram(name)
        if cost.scope == "core":
            idd = AT45.dram_idd(cost.idd_config)
            amortised = idd.activate_pj / 16 / idd.burst_bits
            assert cost.pj_per_bit_read == pytest.approx(idd.read_burst_pj / idd.burst_bits + amortised, abs=1e-3)
            assert cost.pj_per_bit_write == pytest.approx(idd.write_burst_pj / idd.burst_bits + amortised, abs=1e-3)


def test_idd_by_standard_and_by_configuration() -> None:
    assert AT45.dram_idd("ddr4").config == AT45.dram_idd("DDR4_8Gb_x8_2400").config == "DDR4_8Gb_x8_2400"
    cost = AT45.dram_idd("HBM2_8Gb_x128")
    assert (cost.activate_pj, cost.read_burst_pj, cost.burst_bits) == (828, 804, 512)


@pytest.mark.parametrize("name", ["lpddr5", "ddr9", "ddr4-fast"])
def test_a_standard_without_a_source_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown DRAM standard"):
        AT45.dram(name)


def test_idd_of_a_standard_without_currents() -> None:
    with pytest.raises(ConfigError, match="unknown DRAM configuration 'hmc'"):
        AT45.dram_idd("hmc")


# Wires and routers


def test_wires_against_keckler() -> None:
    # IEEE Micro 2011, 40 nm: 0.24 pJ/mm per transition, 0.121 per bit moved.
    at40 = CostModel(40)
    assert at40.wire_pj_per_bit_mm(activity=1) == pytest.approx(0.24, rel=0.25)
    assert at40.wire_pj_per_bit_mm() == pytest.approx(0.121, rel=0.25)
    assert at40.wire_pj_per_bit_mm().unit == "pJ/bit/mm"


def test_slower_wires_take_less() -> None:
    values = [AT45.wire_pj_per_bit_mm(kind=kind) for kind in WIRES]
    assert values == sorted(values, reverse=True)


def test_wires_follow_the_square_of_the_supply() -> None:
    # CACTI's 45 nm ITRS-HP wires run at 1.0 V.
    at_one = wire(Technology.of(45, 1.0), activity=1)
    assert at_one == 0.24949 and at_one.scaled_from == ""
    assert wire(Technology.of(45, 0.8), activity=1) == pytest.approx(0.24949 * 0.64)
    # Below 22 nm the capacitance per mm stays.
    assert CostModel(16, 0.8).wire_pj_per_bit_mm() == pytest.approx(CostModel(22, 0.8).wire_pj_per_bit_mm())


@pytest.mark.parametrize("arguments, message", [
    ({"activity": 0.0}, "activity of a wire must be above 0 and at most 1, got 0"),
    ({"activity": 1.5}, "got 1.5"),
    ({"kind": "slow"}, "unknown kind of wire 'slow'"),
    ({"device": "itrs"}, "unknown device type of a wire"),
])
def test_bad_wires(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wire(Technology.of(45), **arguments)


def test_router_at_noxims_points() -> None:
    cost = AT65.router(64, 4)
    assert [float(cost.push), float(cost.pop), float(cost.switch)] == pytest.approx([1.5, 1.03, 0.4])
    assert cost.hop == pytest.approx(1.5 + 1.03 + 0.4 + 0.11)
    between = AT65.router(48, 6)
    assert AT65.router(32, 4).push < between.push < AT65.router(64, 8).push
    assert AT65.router(128, 4).push == pytest.approx(3.0)
    assert AT65.router(64, 16).push == AT65.router(64, 8).push and "as a FIFO of 8" in AT65.router(64, 16).push.source
    assert AT65.router(64, 16).area > AT65.router(64, 8).area
    assert AT32.router(64).hop < cost.hop


def test_bad_router() -> None:
    with pytest.raises(ConfigError, match="flit_bits must be at least 1, got 0"):
        AT45.router(0)


def test_links() -> None:
    assert AT45.chip_link_pj_per_bit() == 1.17
    assert AT32.edram_bus_pj_per_bit() == 0.054
    assert AT32.edram_pj(256) == pytest.approx(17.2)
    assert AT32.edram_area_mm2(65536) == pytest.approx(0.083)
    assert AT32.edram_area_mm2(2 * 65536) == pytest.approx(0.166)
    with pytest.raises(ConfigError, match="eDRAM width must be at least 1 bit, got 0"):
        AT32.edram_pj(0)


# Converters


def test_adc_grid_points_are_exact() -> None:
    for row in read_table("adc"):
        if row["node_nm"] not in ("65", "45", "32", "22", "16"):
            continue
        cost = CostModel(int(row["node_nm"])).adc(int(row["bits"]), float(row["rate_hz"]))
        assert cost.energy == pytest.approx(float(row["energy_pJ"]))
        assert cost.area == pytest.approx(float(row["area_um2"]) * 1e-6)


def test_adc_between_and_beyond_the_grid() -> None:
    low, mid, high = (AT32.adc(10, rate).energy for rate in (1e8, 3e8, 1e9))
    assert low < mid < high
    assert AT45.adc(8, 1e8).energy > CostModel(40).adc(8, 1e8).energy > AT32.adc(8, 1e8).energy
    two = AT32.adc(8, 1.28e9)
    assert "2 interleaved" in two.energy.source
    assert two.area == pytest.approx(2 * AT32.adc(8, 0.64e9).area)
    assert "as at 10 MS/s" in AT32.adc(8, 1e6).energy.source
    by_bits = [AT32.adc(b, 1e9).energy for b in range(1, _BITS[-1] + 1)]
    assert by_bits == sorted(by_bits)
    assert AT32.adc(2, 1e8).energy == pytest.approx(AT32.adc(4, 1e8).energy / 4, rel=1e-3)


def test_adc_between_rates_has_a_floor_and_a_slope() -> None:
    """As the regression has it: nothing changes below the corner of a resolution (10 bits: 114 MS/s), and all above."""
    energy = {rate: AT32.adc(10, rate).energy for rate in (1e7, 4e7, 1.1e8, 2e8, 4e8, 8e8, 1e9)}
    assert energy[4e7] == energy[1.1e8] == energy[1e7]
    steep = math.log2(energy[4e8] / energy[2e8])
    assert steep == pytest.approx(math.log2(energy[8e8] / energy[4e8])) == pytest.approx(0.6613, abs=1e-3)
    assert energy[1e9] / energy[8e8] == pytest.approx(1.25**steep)
    # 12 bits: the corner at 12.1 MS/s; the grid's points lie on the slope
    assert AT32.adc(12, 1e8 * (1 + 1e-9)).energy == pytest.approx(AT32.adc(12, 1e8).energy, rel=1e-4)
    assert AT32.adc(12, 1e8 * (1 + 1e-9)).area == pytest.approx(AT32.adc(12, 1e8).area, rel=1e-3)


def test_adc_against_isaac() -> None:
    # ISAAC, ISCA 2016: 8 bits at 1.28 GS/s take 2 mW at 32 nm, 1.56 pJ.
    assert AT32.adc(8, 1.28e9).energy == pytest.approx(1.5625, rel=0.2)
    assert AT32.converter("isaac_adc").energy == 1.6667


@pytest.mark.parametrize("bits, rate, message", [
    (0, 1e8, "1 to 12 bits, got 0"), (13, 1e8, "got 13"), (8, 0.0, "positive number of samples"),
    (8, math.inf, "got inf"),
])
def test_bad_adc(bits: int, rate: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AT45.adc(bits, rate)


def test_named_converters() -> None:
    assert AT45.converter("puma_adc", 4).energy == 0.3906
    with pytest.raises(ConfigError, match="bits of converter puma_adc must be one of 1, 2, .*, got 12"):
        AT45.converter("puma_adc", 12)
    with pytest.raises(ConfigError, match="unknown converter 'isaac_acd'; did you mean"):
        AT45.converter("isaac_acd")
    assert CostModel(28).sense_amplifier_pj() == 0.001629


def test_cells_and_crossbars() -> None:
    isaac = AT32.cell("isaac")
    # 0.3 V across 2 kOhm for 1 ns.
    assert isaac.read_on_pj == pytest.approx(0.3**2 / 2000 * 1e-9 * 1e12)
    assert isaac.area_mm2 == pytest.approx(1.49 * (32e-6) ** 2)
    assert AT32.cell("neurosim").area_mm2 is None
    with pytest.raises(ConfigError, match="unknown resistive cell 'isac'; did you mean isaac"):
        AT32.cell("isac")
    for size, energy in ((64, 7.5), (128, 30), (256, 120)):
        assert AT32.crossbar_read_pj(size, size) == pytest.approx(energy)
        assert AT32.crossbar_area_mm2(size, size) == pytest.approx(energy / 30 * 25e-6)
    with pytest.raises(ConfigError, match="at least 1 x 1 cells, got 0 x 4"):
        AT32.crossbar_read_pj(0, 4)
    with pytest.raises(ConfigError, match="unknown crossbar 'pumaa'"):
        AT32.crossbar_read_pj(4, 4, "pumaa")
