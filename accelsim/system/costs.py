"""The price list of one architecture, from its parts; energy and area of a run."""

from __future__ import annotations

from pathlib import Path

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import LEAKAGE, ComponentCosts, EnergyReport
from accelsim.energy.model import CostModel
from accelsim.energy.rows import dram_rows, sram_rows, vector_rows
from accelsim.energy.usertables import load_user_table
from accelsim.sim.passes import PassArray
from accelsim.system.archspec import Architecture

_READ = (("filter_address", "filter_bytes"), ("ifmap_address", "ifmap_bytes"), ("psum_address", "psum_in_bytes"))
_WRITTEN = (("ofmap_address", "ofmap_bytes"), ("psum_address", "psum_out_bytes"))


class Costs:
    """Costs of every component of an architecture, with their sources.

    Raises
    ------
    ConfigError
        If a part lies outside the tables, or the user's table is not valid.
    """

    def __init__(self, arch: Architecture) -> None:
        spec = arch.spec
        self.model = CostModel(spec.technology.node_nm, spec.technology.vdd)
        bits = spec.bits()
        parts = arch.engine.costs(self.model, bits)
        parts += [sram_rows(self.model, b.name, b.capacity_bytes, b.word_bits) for b in spec.buffers]
        # pooling takes maxima and sums, normalisation products
        parts.append(vector_rows(self.model, ("add", "max"), bits["psum"], lanes=spec.vector.lanes))
        parts.append(dram_rows(self.model, spec.dram.standard))
        self.table = ComponentCosts(parts)
        if spec.energy.table:
            path = (arch.path.parent if arch.path else Path()) / spec.energy.table
            self.table = load_user_table(path, cycle_seconds=1 / spec.clock_hz).replace_in(self.table)
        self._burst_bytes = spec.dram.burst_bytes

    def dram_counts(self, rows: PassArray) -> ActionCounts:
        """Bytes that the DRAM moves for these passes, whole bursts."""
        counts = ActionCounts()
        for action, columns in (("read_byte", _READ), ("write_byte", _WRITTEN)):
            total = 0
            for address, n_bytes in columns:
                used = rows[n_bytes] > 0
                first = rows[address][used] // self._burst_bytes
                last = (rows[address][used] + rows[n_bytes][used] - 1) // self._burst_bytes
                total += int((last - first + 1).sum()) * self._burst_bytes
            counts.add("dram", action, total)
        return counts

    def price(self, counts: ActionCounts, seconds: float) -> EnergyReport:
        """Energy of these actions, and leakage for this time."""
        return self.table.apply(counts, seconds)

    def area_mm2(self) -> dict[str, float]:
        """Component -> mm2, those on the chip."""
        return {name: area for name, area in self.table.area_mm2().items() if area > 0}


def energy_by_component(report: EnergyReport) -> dict[str, float]:
    """Component -> pJ of its actions; then `leakage` of the chip, and `dram_standby`."""
    parts: dict[str, float] = {}
    static = {LEAKAGE: 0.0, "dram_standby": 0.0}
    for row in report.rows:
        if row.action == LEAKAGE:
            static["dram_standby" if row.component == "dram" else LEAKAGE] += row.energy_pj
        else:
            parts[row.component] = parts.get(row.component, 0.0) + row.energy_pj
    return {**parts, **static}
