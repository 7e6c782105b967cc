"""DRAM by standard: a flat price per bit, and the actions of the IDD model for detailed memories.

The flat price has a scope. "total": published energy of a whole access, I/O and background included,
so that no standby power is added to it. "core": from the IDD currents, no I/O; standby power comes
on top. No public figure was found for the I/O of DDR4, GDDR5X and GDDR6, and none at all for LPDDR5.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from accelsim.base.errors import unknown_name
from accelsim.energy.tableio import Row, read_table


@dataclass(frozen=True)
class DramCost:
    """A flat price.

    Attributes
    ----------
    standard : str
    pj_per_bit_read, pj_per_bit_write : float
    scope : str
        "total" or "core"; see the module's text.
    standby_mw : float
        Precharged standby power of the rank, to be added when `scope` is "core"; else 0.
    idd_config : str
        The configuration of `dram_idd` that stands for this standard, or "".
    source : str
    """

    standard: str
    pj_per_bit_read: float
    pj_per_bit_write: float
    scope: str
    standby_mw: float
    idd_config: str
    source: str


@dataclass(frozen=True)
class DramIddCost:
    """Actions of one rank, from the IDD currents of a DRAMsim3 configuration; core only, no I/O.

    Attributes
    ----------
    config : str
    activate_pj : float
        One activate and its precharge, all devices of the rank.
    read_burst_pj, write_burst_pj : float
        One burst of `burst_bits`.
    refresh_pj : float
        One REF command.
    active_standby_mw, precharge_standby_mw : float
    bus_bits, burst_bits : int
    clock_ns, vdd : float
    source : str
    """

    config: str
    activate_pj: float
    read_burst_pj: float
    write_burst_pj: float
    refresh_pj: float
    active_standby_mw: float
    precharge_standby_mw: float
    bus_bits: int
    burst_bits: int
    clock_ns: float
    vdd: float
    source: str


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_")


@functools.cache
def _standards() -> dict[str, Row]:
    return {row["standard"]: row for row in read_table("dram")}


@functools.cache
def _configs() -> dict[str, Row]:
    return {row["config"].lower(): row for row in read_table("dram_idd")}


def standards() -> list[str]:
    """Names that `dram` knows."""
    return sorted(_standards())


def dram(standard: str) -> DramCost:
    """The flat price of a standard: "ddr3", "lpddr4", "hbm2"...; a speed may follow ("ddr4-2400").

    A speed does not change the price per bit: the table has one for each standard.

    Raises
    ------
    ConfigError
        For a standard without a source; names those that have one.
    """
    key = _key(standard)
    family, _, speed = key.partition("_")
    row = _standards().get(key) or (_standards().get(family) if speed.isdigit() else None)
    if row is None:
        raise unknown_name("DRAM standard", standard, _standards())
    config = row["idd_config"]
    standby = float(_configs()[config.lower()]["precharge_standby_mW"]) if row["scope"] == "core" else 0.0
    return DramCost(
        row["standard"], float(row["read_pJ_per_bit"]), float(row["write_pJ_per_bit"]),
        row["scope"], standby, config, row["source"],
    )


def dram_idd(config: str) -> DramIddCost:
    """The actions of one configuration ("DDR4_8Gb_x8_2400"), or of the one that stands for a standard ("ddr4").

    Raises
    ------
    ConfigError
        For a name that is neither.
    """
    key = _key(config)
    flat = _standards().get(key)
    row = _configs().get(flat["idd_config"].lower() if flat else key)
    if row is None:
        known = [r["config"] for r in _configs().values()] + [n for n, r in _standards().items() if r["idd_config"]]
        raise unknown_name("DRAM configuration", config, known)
    return DramIddCost(
        row["config"], float(row["activate_pJ"]), float(row["read_burst_pJ"]), float(row["write_burst_pJ"]),
        float(row["refresh_pJ"]), float(row["active_standby_mW"]), float(row["precharge_standby_mW"]),
        int(row["bus_bits"]), int(row["burst_bits"]), float(row["clock_ns"]), float(row["vdd_V"]), row["source"],
    )
