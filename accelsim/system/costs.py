"""The price list of one architecture, from its parts; energy and area of a run."""

from __future__ import annotations

from functools import lru_cache
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


class _Priced:
    """An architecture, equal to another if they cost the same: what a price list is remembered by."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        spec = arch.spec
        table = (arch.path.parent if arch.path else Path()) / spec.energy.table if spec.energy.table else None
        stamp = table.stat().st_mtime_ns if table is not None and table.is_file() else 0
        parts = (spec.technology, spec.buffers, spec.vector, spec.precision, spec.dram.standard, spec.clock_hz)
        self.table = table
        self.key = f"{arch.engine.kind} {arch.engine.spec!r} {parts!r} {table} {stamp}"

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Priced) and other.key == self.key


@lru_cache(maxsize=256)
def _price_list(priced: _Priced) -> tuple[CostModel, ComponentCosts]:
    arch, spec = priced.arch, priced.arch.spec
    model = CostModel(spec.technology.node_nm, spec.technology.vdd)
    bits = spec.bits()
    parts = arch.engine.costs(model, bits)
    parts += [sram_rows(model, b.name, b.capacity_bytes, b.word_bits) for b in spec.buffers]
    # pooling takes maxima and sums, normalisation products
    parts.append(vector_rows(model, ("add", "max"), bits["psum"], lanes=spec.vector.lanes))
    parts.append(dram_rows(model, spec.dram.standard))
    costs = ComponentCosts(parts)
    if priced.table is not None:
        costs = load_user_table(priced.table, cycle_seconds=1 / spec.clock_hz).replace_in(costs)
    return model, costs


class Costs:
    """Costs of every component of an architecture, with their sources.

    Raises
    ------
    ConfigError
        If a part lies outside the tables, or the user's table is not valid.
    """

    def __init__(self, arch: Architecture) -> None:
        self.model, self.table = _price_list(_Priced(arch))
        self._burst_bytes = arch.spec.dram.burst_bytes

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
