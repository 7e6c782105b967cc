"""Energy of DRAM actions from supply currents: the IDD model of Micron's TN-41-01 and of DRAMPower.

Core only: what drivers and terminations of the data bus take is not in the currents (LPDDR's VDDQ
rail excepted).
"""

from __future__ import annotations

from accelsim.base.errors import ConfigError
from accelsim.memory.dram_spec import Rail, Table
from accelsim.memory.dram_state import DramTimings

ACTIONS = (
    "activate", "read_burst", "write_burst", "refresh", "active_standby_clock", "precharge_standby_clock",
)

STANDBY = ACTIONS[4:]


def energy_pj(table: Table, timing: DramTimings) -> dict[str, float]:
    """Picojoules of each of `ACTIONS`, for all devices of a rank.

    activate: an ACT and its PRE, beyond standby; read_burst, write_burst, refresh: beyond active standby;
    the standby actions: one rank for one clock, with a row open and with none.

    Raises
    ------
    ConfigError
        If the table has no currents.
    """
    if not table.rails:
        raise ConfigError("the table has no supply currents (no public source), so there is no energy", table.name)
    sums = dict.fromkeys(ACTIONS, 0.0)
    for rail in table.rails:
        for action, value in _rail(rail, timing).items():
            sums[action] += value
    # mA x V x ps = fJ
    scale = table.tCK_ps.value * table.organisation.devices.value * 1e-3
    return {action: value * scale for action, value in sums.items()}


def _rail(r: Rail, t: DramTimings) -> dict[str, float]:
    activate = r.idd0_ma * t.tRC - r.idd3n_ma * t.tRAS - r.idd2n_ma * (t.tRC - t.tRAS)
    return {
        "activate": r.vdd_v * activate,
        "read_burst": r.vdd_v * (r.idd4r_ma - r.idd3n_ma) * t.tBL,
        "write_burst": r.vdd_v * (r.idd4w_ma - r.idd3n_ma) * t.tBL,
        "refresh": r.vdd_v * (r.idd5b_ma - r.idd3n_ma) * t.tRFC,
        "active_standby_clock": r.vdd_v * r.idd3n_ma,
        "precharge_standby_clock": r.vdd_v * r.idd2n_ma,
    }
