"""The price list of one architecture, from its parts; energy and area of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.energy.costs import LEAKAGE, Component, ComponentCosts, CostRow, EnergyReport
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, dram_rows, noc_rows, sram_rows, vector_rows
from accelsim.energy.usertables import load_user_table
from accelsim.memory.dram_energy import ACTIONS, STANDBY, energy_pj
from accelsim.memory.dram_spec import load_standard, resolve
from accelsim.sim.passes import PassArray
from accelsim.system.archspec import Architecture, ArchSpec, Cores
from accelsim.system.bufferspec import Buffer

_READ = (("filter_address", "filter_bytes"), ("ifmap_address", "ifmap_bytes"), ("psum_address", "psum_in_bytes"))
_WRITTEN = (("ofmap_address", "ofmap_bytes"), ("psum_address", "psum_out_bytes"))


class _Priced:
    """An architecture, equal to another if they cost the same: what a price list is remembered by."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        spec = arch.spec
        table = (arch.path.parent if arch.path else Path()) / spec.energy.table if spec.energy.table else None
        stamp = table.stat().st_mtime_ns if table is not None and table.is_file() else 0
        chip = (spec.cores, arch.data.get("noc"), spec.dram.fidelity, spec.dram.detail)
        parts = (chip, spec.technology, spec.buffers, spec.vector, spec.precision, spec.dram.standard, spec.clock_hz)
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
    parts += [_buffer(model, b) for b in spec.buffers]
    # pooling takes maxima and sums, normalisation products
    parts.append(vector_rows(model, ("add", "max"), bits["psum"], lanes=spec.vector.lanes))
    if spec.cores is not None:
        count = spec.cores.count
        parts = [replace(c, leakage_mw=c.leakage_mw * count, area_mm2=c.area_mm2 * count) for c in parts]
        shared = spec.cores.shared_buffer
        if shared is not None:
            parts.append(sram_rows(model, shared.name, shared.capacity_bytes, shared.word_bits))
        parts.append(_network(arch, spec.cores, model, bits["psum"]))
    user = load_user_table(priced.table, cycle_seconds=1 / spec.clock_hz) if priced.table is not None else None
    by_command = None if user is not None and _by_byte(user.actions.get("dram", {})) else _dram_commands(spec)
    by_byte = dram_rows(model, spec.dram.standard)  # an unknown standard is refused, whatever is used
    parts.append(by_command or by_byte)
    costs = ComponentCosts(parts)
    return model, costs if user is None else user.replace_in(costs)


def _buffer(model: CostModel, buffer: Buffer) -> Component:
    """A buffer of SRAM or eDRAM; of crossbars: nothing, since the engine prices reads and programming."""
    each = -(-buffer.capacity_bytes // buffer.parts)
    if buffer.kind == "sram":
        return sram_rows(model, buffer.name, each, buffer.word_bits, count=buffer.parts)
    if buffer.kind == "edram":
        access = model.edram_pj(buffer.word_bits)
        area = model.edram_area_mm2(each)
        return component(buffer.name, {"read": access, "write": access}, area=area, count=buffer.parts)
    free = CostRow(0.0, "cells are read and programmed by the engine, which counts both")
    return Component(buffer.name, {"read": free, "write": free})


def _by_byte(actions: Mapping[str, CostRow]) -> bool:
    """A user's table prices the DRAM by the byte only."""
    return bool(actions) and not set(actions) & set(ACTIONS)


def _dram_commands(spec: ArchSpec) -> Component | None:
    """The DRAM priced by its commands and by the clocks that its ranks stand by, or None if that cannot be done.

    Core only, as its currents are: without what drivers and terminations of the data bus take.
    """
    if spec.dram.fidelity != "detailed" or spec.dram.detail is None or spec.cores is not None:
        return None
    table = load_standard(spec.dram.detail.standard)
    if not table.rails:
        return None
    source = f"{table.name}, IDD currents: {'; '.join(dict.fromkeys(rail.source for rail in table.rails))}"
    prices = energy_pj(table, resolve(spec.dram.detail, table, "dram.detail").timing)
    return Component("dram", {action: CostRow(energy, source) for action, energy in prices.items()})


def _network(arch: Architecture, cores: Cores, model: CostModel, psum_bits: int) -> Component:
    """The network between cores: all actions that any kind of network counts."""
    flit_bits = 8 * int(arch.data["noc"].get("flit_bytes", 1))
    noc = noc_rows(model, flit_bits, cores.hop_mm, routers=cores.count)
    wire = noc.actions["wire"]
    package = CostRow(flit_bits * cores.package_pj_per_bit, "cores.package_pj_per_bit of the architecture")
    adds = ceil_div(flit_bits, psum_bits)
    add = model.op_pj("add", psum_bits)
    more = {
        "package_wire": package,
        "x_bus": wire,
        "y_bus": wire,
        "add": CostRow(adds * float(add), f"{adds} x {add.source}"),
    }
    return replace(noc, actions={**noc.actions, **more})


class Costs:
    """Costs of every component of an architecture, with their sources.

    Raises
    ------
    ConfigError
        If a part lies outside the tables, or the user's table is not valid.
    """

    def __init__(self, arch: Architecture) -> None:
        self.model, self.table = _price_list(_Priced(arch))
        self.burst_bytes = arch.spec.dram.burst_bytes

    def dram_counts(self, rows: PassArray) -> ActionCounts:
        """Bytes that the DRAM moves for these passes, whole bursts."""
        counts = ActionCounts()
        for action, columns in (("read_byte", _READ), ("write_byte", _WRITTEN)):
            total = 0
            for address, n_bytes in columns:
                used = rows[n_bytes] > 0
                first = rows[address][used] // self.burst_bytes
                last = (rows[address][used] + rows[n_bytes][used] - 1) // self.burst_bytes
                total += int((last - first + 1).sum()) * self.burst_bytes
            counts.add("dram", action, total)
        return counts

    @property
    def by_command(self) -> bool:
        """Is the DRAM priced by its commands? Else by the byte."""
        return "activate" in self.table.component("dram").actions

    def dram_energy_pj(self, counts: ActionCounts) -> dict[str, float]:
        """Action -> picojoules of the DRAM's share in these counts."""
        report = self.price(counts, 0.0)
        return {row.action: row.energy_pj for row in report.rows if row.component == "dram"}

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
        elif row.component == "dram" and row.action in STANDBY:
            static["dram_standby"] += row.energy_pj
        else:
            parts[row.component] = parts.get(row.component, 0.0) + row.energy_pj
    return {**parts, **static}
