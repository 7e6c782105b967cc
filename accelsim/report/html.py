"""How a result shows itself in a notebook: totals, and bars of cycles and energy as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from accelsim.base.units import human_bytes, si
from accelsim.report.parts import (
    CAUSE_COLOURS,
    CAUSE_LABELS,
    Part,
    causes,
    component_colours,
    components,
    parts_of,
    shortened_apart,
)
from accelsim.system.result import VIEWS, RunResult

ROWS = 24
"""Most layers with a bar of their own: the longest; the others are summed."""
_BAR, _NAME, _LINE = 260, 150, 15

Band = tuple[str, str, float]
"""What, colour, amount."""


@VIEWS.register("html")
def result_html(result: RunResult) -> str:
    """A table of totals, and for each layer a bar of cycles by cause and one of energy by component."""
    parts = parts_of(result, ROWS)
    shown, energies = causes(result), components(result)
    colours = component_colours(result)
    cycles = [[(CAUSE_LABELS[c], CAUSE_COLOURS[c], float(p.cycles_by_cause[c])) for c in shown] for p in parts]
    energy = [[(n, colours[n], p.energy_pj.get(n, 0.0)) for n in energies] for p in parts]
    drawn = _svg(parts, cycles, energy)
    by_cause = _legend([(CAUSE_LABELS[c], CAUSE_COLOURS[c]) for c in shown])
    by_component = _legend([(n, colours[n]) for n in energies])
    title = f"{result.workload} on {result.arch}, batch {result.batch}"
    return (
        f'<div style="font-size:12px;line-height:1.4"><b>{escape(title)}</b>{_totals(result)}'
        f"<div>cycles: {by_cause}</div><div>energy: {by_component}</div>{drawn}</div>"
    )


def _totals(result: RunResult) -> str:
    moved = result.totals()["dram_bytes"]
    cells = {
        "cycles": f"{result.cycles:,}",
        "time": si(result.seconds, "s"),
        "MACs": f"{result.macs:,}",
        "utilization": f"{100 * result.mac_utilization:.1f} %",
        "throughput": f"{result.tops:.3g} TOPS",
        "DRAM": human_bytes(moved),
        "energy": si(result.energy_pj * 1e-12, "J"),
        "efficiency": f"{result.tops_per_watt:.3g} TOPS/W",
        "area": f"{sum(result.area_mm2.values()):.3g} mm2",
    }
    style = 'style="text-align:right;padding:1px 8px"'
    head = "".join(f"<th {style}>{escape(name)}</th>" for name in cells)
    row = "".join(f"<td {style}>{escape(value)}</td>" for value in cells.values())
    return f'<table style="border-collapse:collapse;margin:4px 0"><tr>{head}</tr><tr>{row}</tr></table>'


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    box = '<span style="display:inline-block;width:9px;height:9px;background:{};margin:0 3px 0 8px"></span>{}'
    return "".join(box.format(colour, escape(name)) for name, colour in entries)


def _svg(parts: Sequence[Part], cycles: Sequence[Sequence[Band]], energy: Sequence[Sequence[Band]]) -> str:
    height = _LINE * len(parts) + 18
    width = _NAME + 2 * (_BAR + 20)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-size="10" font-family="sans-serif" fill="currentColor">'
    ]
    for column, (title, rows, unit) in enumerate((("cycles", cycles, ""), ("energy", energy, "pJ"))):
        left = _NAME + column * (_BAR + 20)
        most = max((sum(amount for _, _, amount in row) for row in rows), default=0.0) or 1.0
        out.append(f'<text x="{left}" y="11">{title}</text>')
        for i, row in enumerate(rows):
            out += _bar(row, left, 16 + i * _LINE, _BAR / most, unit)
    names = shortened_apart([part.name for part in parts], 24)
    for i, part in enumerate(parts):
        name = escape(names[i])
        full = escape(part.name)
        text = f'<text x="{_NAME - 6}" y="{16 + i * _LINE + 10}" text-anchor="end">{name}<title>{full}</title></text>'
        out.append(text)
    return "".join(out) + "</svg>"


def _bar(row: Sequence[Band], left: int, top: int, scale: float, unit: str) -> list[str]:
    out, x = [], float(left)
    for name, colour, amount in row:
        if amount > 0:
            what = f"{name}: {amount:,.0f} {unit}".strip()
            out.append(
                f'<rect x="{x:.2f}" y="{top}" width="{amount * scale:.2f}" height="{_LINE - 3}" fill="{colour}">'
                f"<title>{escape(what)}</title></rect>"
            )
            x += amount * scale
    return out
