"""The tables that `accelsim run` prints: time, traffic, energy, totals; the parts of each sum to its last row."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from accelsim.base.units import human_bytes, si
from accelsim.report.grid import BYTES, JOULES_IN_PJ, OPS, SECONDS, Column, Grid, Line, Scale, scale_for
from accelsim.report.parts import CAUSE_LABELS, Part, assumed, buffers, causes, components, parts_of, whole
from accelsim.sim.passes import INTERNAL, WAITS
from accelsim.system.result import TRAFFIC, RunResult

DEFAULT_ALL = 30
DEFAULT_TOP = 20
PLAIN_WIDTH = 110

_OPERANDS = {"filter": "weights", "ifmap": "ifmap", "psum_in": "psum in", "ofmap": "ofmap", "psum_out": "psum out"}


def report_lines(
    result: RunResult,
    *,
    layers: str | int = "auto",
    width: int | None = None,
    inputs: Mapping[str, str] | None = None,
) -> list[Line]:
    """Everything that `accelsim run` prints.

    Parameters
    ----------
    result : RunResult
    layers : "auto", "all", "top", "none" or int
        Which layers get a row of their own: all; the `DEFAULT_TOP` (or n) longest and the sum of the
        others; none. "auto" is all up to `DEFAULT_ALL` layers, else top.
    width : int, optional
        Columns of the terminal; layer names are shortened to fit. None: nothing is shortened.
    inputs : mapping, optional
        More lines for the header, such as where weights and activations come from.
    """
    at_most = _how_many(layers, len(result.layers))
    lines = header_lines(result, inputs or {}, width or PLAIN_WIDTH)
    if at_most != 0:
        parts = parts_of(result, at_most)
        for grid in (time_grid(result, parts), traffic_grid(result, parts), energy_grid(result, parts)):
            lines += [[("", "")], *grid.lines(width)]
    return [*lines, [("", "")], *total_lines(result, width or PLAIN_WIDTH)]


def _how_many(layers: str | int, count: int) -> int | None:
    if layers == "auto":
        return None if count <= DEFAULT_ALL else DEFAULT_TOP
    if layers == "all":
        return None
    if layers == "top":
        return DEFAULT_TOP
    return 0 if layers == "none" else int(layers)


def header_lines(result: RunResult, inputs: Mapping[str, str], width: int) -> list[Line]:
    """What ran on what, and how much of it is assumed."""
    data = result.arch_data
    precision = {**dict(ifmap=8, filter=8, psum=32, ofmap=8), **(data.get("precision") or {})}
    bits = ", ".join(f"{name} {precision[o]}" for name, o in _PRECISIONS)
    facts = {
        "engine": _engine(data),
        "clock": f"{si(result.clock_hz, 'Hz')}, {data['technology']['node_nm']} nm",
        "precision": f"{bits} bits",
        "DRAM": f"{data['dram']['standard']}, {si(result.dram_bytes_per_cycle * result.clock_hz, 'B/s')}, "
        f"fidelity {result.dram_fidelity}",
        "trace": result.trace_hash,
        **inputs,
    }
    keys = assumed(result)
    if keys:
        facts["assumed"] = f"{', '.join(keys)} (accelsim show {result.arch})"
    title = f"{result.workload} on {result.arch}, batch {result.batch}"
    return [[(title, "bold"), (f"   accelsim {result.version}", "dim")], *_facts(facts, width)]


_PRECISIONS = (("weights", "filter"), ("ifmap", "ifmap"), ("psum", "psum"), ("ofmap", "ofmap"))


def _engine(data: Mapping[str, Any]) -> str:
    engine = dict(data["engine"])
    kind = str(engine.pop("kind"))
    size = f" {engine.pop('rows')} x {engine.pop('cols')}" if "rows" in engine and "cols" in engine else ""
    said = {key: _only_names(value) for key, value in engine.items() if not isinstance(value, dict)}
    return f"{kind}{size}" + "".join(f", {key} {value}" for key, value in said.items())


def _only_names(value: Any) -> Any:
    """Of a list of named parts their names; `accelsim show` has all that they are."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return " + ".join(str(item["name"]) for item in value)
    return value


def _facts(facts: Mapping[str, str], width: int) -> list[Line]:
    """`name   text`, wrapped under itself."""
    lines: list[Line] = []
    margin = max(len(name) for name in facts) + 4
    for name, text in facts.items():
        rows = textwrap.wrap(text, max(20, width - margin), break_long_words=False, break_on_hyphens=False) or [""]
        lines.append([(f"  {name}".ljust(margin), "dim"), (rows[0], "")])
        lines += [[(" " * margin + row, "")] for row in rows[1:]]
    return lines


def _names(parts: list[Part]) -> Column:
    return Column("layer", [part.name for part in parts], name=True)


def _scaled(
    head: str, parts: list[Part], scale: Scale, value: Callable[[Part], float | None], group: str = ""
) -> Column:
    """A column in one unit, which stands in its heading."""
    return Column(f"{head} {scale.unit}".strip(), [scale.text(value(part)) for part in parts], group)


def _percent(head: str, parts: list[Part], value: Callable[[Part], float | None], group: str = "") -> Column:
    def text(part: Part) -> str:
        ratio = value(part)
        return "-" if ratio is None else f"{100 * ratio:.1f}"

    return Column(head, [text(part) for part in parts], group)


def time_grid(result: RunResult, parts: list[Part]) -> Grid:
    """Cycles, time and utilization, and where the cycles went."""
    total = whole(result)
    rows = [*parts, total]
    time = scale_for(result.seconds, SECONDS)
    speeds = [part.tops(result.clock_hz) or 0.0 for part in rows]
    ops = scale_for(max(speeds), OPS, 1.0)
    columns = [
        _names(rows),
        Column("cycles", [f"{part.cycles:,}" for part in rows]),
        _percent("%", rows, lambda part: part.cycles / total.cycles if total.cycles else None),
        _scaled("", rows, time, lambda part: part.cycles / result.clock_hz),
        _scaled("", rows, Scale(ops.unit, ops.size, 2), lambda part: part.tops(result.clock_hz)),
        _percent("MAC", rows, lambda part: part.mac_utilization, "utilization %"),
        _percent("spatial", rows, lambda part: part.spatial_utilization, "utilization %"),
    ]
    if any(part.effectual_macs != part.macs for part in rows):
        columns.append(_percent("nonzero %", rows, lambda p: p.effectual_macs / p.macs if p.macs else None))
    shown = causes(result)
    for cause in shown:
        group = "waiting for" if cause in WAITS else "stalled by" if cause in INTERNAL else "running"
        column = Column(CAUSE_LABELS[cause], [f"{part.cycles_by_cause[cause]:,}" for part in rows], group)
        for row, part in enumerate(parts):
            if part.cycles and part.cycles_by_cause[cause] == max(part.cycles_by_cause[c] for c in shown):
                column.styles[row] = "cyan"
        columns.append(column)
    return Grid("Time", columns)


def traffic_grid(result: RunResult, parts: list[Part]) -> Grid:
    """Bytes over the chip's border by operand, through each buffer, and in the registers of the array."""
    total = whole(result)
    rows = [*parts, total]
    dram = scale_for(total.total_dram_bytes, BYTES)
    columns = [_names(rows)]
    for operand in TRAFFIC:
        if total.dram_bytes[operand]:
            columns.append(_scaled(_OPERANDS[operand], rows, dram, _operand_bytes(operand), "DRAM"))
    columns.append(_scaled("all", rows, dram, lambda part: part.total_dram_bytes, "DRAM"))
    used = [name for name in buffers(result) if total.buffer_bytes.get(name)]
    if used:
        scale = scale_for(max(total.buffer_bytes[name] for name in used), BYTES)
        columns += [_scaled(name, rows, scale, _buffer_bytes(name), "on-chip buffers") for name in used]
    if total.array_bytes:
        scale = scale_for(total.array_bytes, BYTES)
        columns.append(_scaled("registers", rows, scale, lambda part: part.array_bytes, "array"))
    return Grid("Traffic", _units_in_groups(columns))


def _operand_bytes(operand: str) -> Callable[[Part], float]:
    return lambda part: part.dram_bytes[operand]


def _buffer_bytes(name: str) -> Callable[[Part], float]:
    return lambda part: part.buffer_bytes.get(name, 0.0)


def _component_energy(name: str) -> Callable[[Part], float]:
    return lambda part: part.energy_pj.get(name, 0.0)


def _units_in_groups(columns: list[Column]) -> list[Column]:
    """The unit that all columns of a group have moves from their headings into the group's."""
    moved = []
    for column in columns:
        if column.group:
            head, unit = column.head.rsplit(" ", 1)
            column = Column(head, column.cells, f"{column.group}, {unit}")
        moved.append(column)
    return moved


def energy_grid(result: RunResult, parts: list[Part]) -> Grid:
    """Energy by component, and operations per joule."""
    total = whole(result)
    rows = [*parts, total]
    scale = scale_for(total.total_energy_pj, JOULES_IN_PJ)
    columns = [_names(rows), _scaled("all", rows, scale, lambda part: part.total_energy_pj, "energy")]
    columns += [_scaled(name, rows, scale, _component_energy(name), "energy") for name in components(result)]
    columns = _units_in_groups(columns)
    efficiency = Scale("TOPS/W", 1.0, 3)
    columns.insert(1, _scaled("", rows, efficiency, lambda part: part.tops_per_watt))
    all_of_it = total.total_energy_pj
    columns.insert(2, _percent("%", rows, lambda part: part.total_energy_pj / all_of_it if all_of_it else None))
    return Grid("Energy", columns)


def total_lines(result: RunResult, width: int) -> list[Line]:
    """One number each, with what it is to be compared with."""
    totals = result.totals()
    peak = 2 * result.peak_macs_per_cycle * result.clock_hz
    nonzero = totals["effectual_macs"] / result.macs if result.macs else 0.0
    moved = totals["dram_bytes"]
    limit = result.dram_bytes_per_cycle * result.clock_hz
    each = sorted(result.area_mm2.items(), key=lambda item: (-item[1], item[0]))
    areas = ", ".join(f"{name} {area:.3g}" for name, area in each)
    facts = {
        "time": f"{result.cycles:,} cycles, {si(result.seconds, 's')} at {si(result.clock_hz, 'Hz')}; "
        f"{si(totals['inferences_per_second'], 'inferences/s')}",
        "cycles": _shares(result),
        "work": f"{result.macs:,} MACs, {100 * nonzero:.1f}% of them without a zero operand",
        "throughput": f"{_digits(result.tops)} TOPS, {100 * result.mac_utilization:.1f}% of the peak "
        f"of {_digits(peak / 1e12)} TOPS{_beyond(result)}",
        "DRAM": f"{moved:,} bytes ({human_bytes(moved)}), {si(moved / result.seconds, 'B/s')}, "
        f"{100 * moved / result.seconds / limit:.1f}% of its bandwidth",
        **_dram_facts(result),
        **_cell_facts(result),
        "energy": f"{si(result.energy_pj * 1e-12, 'J')}, {si(result.power_w, 'W')} on average",
        "efficiency": f"{_digits(result.tops_per_watt)} TOPS/W",
        "area": f"{sum(result.area_mm2.values()):.4g} mm2 on chip: {areas}",
    }
    return [[("Total", "bold")], *_facts(facts, width)]


def _cell_facts(result: RunResult) -> dict[str, str]:
    """Crossbars that keep their weights: cells, their writes, and how long they last in training."""
    off = [(float(x.info["output_error"]), x.name) for x in result.layers if "output_error" in x.info]
    found = {}
    if off:
        (least, best), (most, worst) = min(off), max(off)
        span = f"{100 * least:.3g}% ({best}) to {100 * most:.3g}% ({worst})"
        found["values"] = f"products are off by {span}, root mean square over that of the exact ones"
    cells = sum(int(layer.info.get("cells", 0)) for layer in result.layers)
    if not cells:
        return found
    engine = result.arch_data["engine"]
    written = result.counts().get(("cell", "write"), 0)
    program = max(int(layer.info.get("update_cycles", 0)) for layer in result.layers) / result.clock_hz
    facts = f"{cells:,} hold weights, {written:,} were written"
    facts += f"; an update in training writes each once, in {si(program, 's')}"
    if endurance := float(engine.get("endurance_writes", 0)):
        run = result.seconds - int(engine.get("updates", 0)) * program
        facts += f"; at {endurance:g} writes a cell lasts {endurance:g} updates, "
        facts += f"{si(endurance * (run + program), 's')} with one after each run"
    return {**found, "cells": facts}


_DRAM_ACTIONS = {
    "activate": "activates",
    "read_burst": "reads",
    "write_burst": "writes",
    "refresh": "refresh",
    "active_standby_clock": "standby with open rows",
    "precharge_standby_clock": "standby without",
}


def _dram_facts(result: RunResult) -> dict[str, str]:
    """What a detailed DRAM counts: rows, latency, energy by command."""
    if result.dram is None:
        return {}
    stats, energy = result.dram.stats, result.dram.energy_pj
    bursts = max(1, stats.row_hits + stats.row_misses + stats.row_conflicts)
    rows = ((stats.row_hits, "hits"), (stats.row_misses, "misses"), (stats.row_conflicts, "conflicts"))
    facts = {
        "DRAM rows": f"{', '.join(f'{100 * count / bursts:.1f}% {name}' for count, name in rows)} of "
        f"{bursts:,} bursts; {stats.activates:,} activates, {stats.refreshes:,} refreshes"
    }
    total = sum(energy.values())
    if total:
        shares = ", ".join(f"{name} {100 * energy.get(a, 0.0) / total:.1f}%" for a, name in _DRAM_ACTIONS.items())
        facts["DRAM energy"] = f"{si(total * 1e-12, 'J')}, I/O drivers left out: {shares}"
    return facts


def _beyond(result: RunResult) -> str:
    """Why more than the peak is no mistake."""
    if max((layer.mac_utilization for layer in result.layers), default=0.0) <= 1.0:
        return ""
    return "; MACs that are skipped count as done, so that a layer may have more than 100%"


def _shares(result: RunResult) -> str:
    by_cause = result.cycles_by_cause()
    order = sorted(causes(result), key=lambda cause: -by_cause[cause])
    spent = sum(by_cause.values())  # more than the run's where layers run at the same time
    shares = ((100 * by_cause[cause] / max(1, spent), cause) for cause in order)
    text = ", ".join(f"{share:.1f}% {_spoken(cause)}" for share, cause in shares if share >= 0.05)
    if result.overlapped_cycles is None:
        return text
    return f"{text}; of {spent:,} in all layers, {'which overlap' if spent > result.cycles else 'with pauses between'}"


def _spoken(cause: str) -> str:
    if cause in ("compute", "fill_drain"):
        return CAUSE_LABELS[cause]
    return f"{'waiting for' if cause in WAITS else 'stalled by'} {CAUSE_LABELS[cause]}"


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
