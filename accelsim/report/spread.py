"""Tables of several inputs of one network: mean, standard deviation, least and most of cycles and energy."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from accelsim.report.grid import JOULES_IN_PJ, Column, Grid, Line, Scale, scale_for
from accelsim.report.tables import PLAIN_WIDTH, header_lines
from accelsim.system.spread import Spread, Summary

MOST_LAYERS = 30


def spread_lines(
    spread: Spread, *, layers: str | int = "auto", width: int | None = None, inputs: Mapping[str, str] | None = None
) -> list[Line]:
    """What `accelsim run` prints of several inputs; arguments as of `report_lines`."""
    first = spread.results[0]
    count = len(spread.results)
    names = ", ".join(spread.names)
    facts = {**(inputs or {}), "inputs": f"{count}: {names}" if len(names) < 200 else str(count)}
    lines = header_lines(first, facts, width or PLAIN_WIDTH)
    rows = [(name, spread.layer(index)) for index, name in enumerate(spread.layers)]
    rows = [*_shown(rows, layers), ("total", spread.total())]
    energy = scale_for(rows[-1][1]["energy_pj"].mean, JOULES_IN_PJ)
    columns = [Column("layer", [name for name, _ in rows], name=True)]
    columns += _columns([found["cycles"] for _, found in rows], Scale("", 1.0, 0), "cycles")
    columns += _columns([found["energy_pj"] for _, found in rows], energy, f"energy {energy.unit}")
    nonzero = [found["effectual_macs"] for _, found in rows]
    if any(row.std for row in nonzero):  # of described operands it is an expectation
        columns += _columns(nonzero, Scale("", 1.0, 0), "nonzero MACs")[:2]
    title = f"Over {count} inputs: mean, standard deviation in percent of it, least and most"
    return [*lines, [("", "")], *Grid(title, columns).lines(width)]


def _shown(
    rows: list[tuple[str, dict[str, Summary]]], layers: str | int
) -> list[tuple[str, dict[str, Summary]]]:
    """All layers, the longest, or none."""
    if layers == "none":
        return []
    most = {"auto": MOST_LAYERS, "all": len(rows), "top": 20}.get(str(layers), layers)
    if len(rows) <= int(most):
        return rows
    kept = sorted(range(len(rows)), key=lambda i: (-rows[i][1]["cycles"].mean, i))[: int(most)]
    return [rows[i] for i in sorted(kept)]


def _columns(found: list[Summary], scale: Scale, group: str) -> list[Column]:
    return [
        Column("mean", [scale.text(row.mean) for row in found], group),
        Column("std %", [f"{100 * row.std / row.mean:.2f}" if row.mean else "-" for row in found], group),
        Column("min", [scale.text(row.low) for row in found], group),
        Column("max", [scale.text(row.high) for row in found], group),
    ]


def spread_csv(spread: Spread) -> str:
    """One row for each layer and one for the total; units are in the columns' names."""
    records = spread.records()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
