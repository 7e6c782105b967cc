"""Stacked breakdowns side by side: cycles by cause, energy and area by component, a bar for each design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.report.curve_parts import Choice, View, title_of
from accelsim.report.drawing import TEXT_WIDTH, new_figure
from accelsim.report.figure_bars import Series, stack
from accelsim.report.parts import CAUSE_COLOURS, CAUSE_LABELS, array_first, colours_of, shortened
from accelsim.report.points import Points, axis, differing, point_name
from accelsim.sim.passes import ATTRIBUTION, INTERNAL, WAITS
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 40
BREAKDOWNS = {
    "cycles": ("cycles_by_cause", "cycles"),
    "energy": ("energy_pj_by_component", "energy_pj"),
    "area": ("area_mm2_by_component", "area_mm2"),
}
"""Name -> (entry of a row, column whose axis it has)."""


def breakdown_figure(table: Points, choice: Choice) -> Figure:
    """One panel for each breakdown, one bar for each point, named by what differs."""
    view = View(table)
    kinds = choice.by or ["cycles", "energy"]
    for kind in kinds:
        if kind not in BREAKDOWNS:
            raise unknown_name("breakdown", kind, BREAKDOWNS)
    if len(view.rows) > MOST_BARS:
        what = f"{len(view.rows):,} points are too many to stand side by side (at most {MOST_BARS}); use --where"
        raise ConfigError(what, "breakdown")
    keys = differing(view.rows, [*(n for n in ("workload", "arch", "recipe") if n not in view.keys), *view.keys])
    names = [point_name(row, keys, 40) if keys else str(row.get("arch", "")) for row in view.rows]
    return bars_figure(names, view.rows, kinds, title_of(view, choice, " and ".join(kinds)))


def comparison_figure(designs: Mapping[str, Sequence[RunResult]], workloads: Sequence[str]) -> Figure:
    """Cycles and energy of designs side by side, workload by workload."""
    rows, names = [], []
    for index, workload in enumerate(workloads):
        for label, results in designs.items():
            result = results[index]
            names.append(f"{workload}\n{label}" if len(workloads) > 1 else label)
            rows.append({"cycles_by_cause": result.cycles_by_cause(),
                         "energy_pj_by_component": result.energy_by_component()})  # fmt: skip
    if len(rows) > MOST_BARS:
        what = f"{len(rows)} bars are too many to stand side by side (at most {MOST_BARS})"
        raise ConfigError(what, "--figure")
    title = f"{', '.join(workloads)}: cycles by cause, energy by component"
    return bars_figure(names, rows, ["cycles", "energy"], title)


def bars_figure(names: Sequence[str], rows: Sequence[Mapping[str, Any]], kinds: Sequence[str], title: str) -> Figure:
    """Panels of stacked bars, each with its own legend."""
    upright = max(len(part) for name in names for part in name.split("\n")) * 0.062 > 6.3 / len(kinds) / len(names)
    figure, grid = new_figure(TEXT_WIDTH, 3.6 if upright else 2.9, ncols=len(kinds), squeeze=False)
    for axes, kind in zip(grid[0], kinds, strict=True):
        entry, column = BREAKDOWNS[kind]
        parts = [row.get(entry) or {} for row in rows]
        series, text = _series(kind, column, parts)
        stack(axes, series)
        axes.set_ylabel(text)
        axes.grid(axis="y")
        axes.set_xticks(range(len(names)), [_lines(name) for name in names], rotation=90 if upright else 0)
        axes.tick_params(axis="x", length=0, labelsize=6 if len(names) <= 16 else 5)
        _legend(axes, series)
    figure.suptitle(title, x=0.01, ha="left", fontsize=7.5)
    return figure


def _lines(name: str) -> str:
    return "\n".join(shortened(part, 40) for part in name.split("\n"))


def _series(kind: str, column: str, parts: Sequence[Mapping[str, float]]) -> tuple[list[Series], str]:
    """Stacked series in one order for all bars, and the text of the axis."""
    found = dict.fromkeys(name for part in parts for name, value in part.items() if value)
    if kind == "cycles":
        order = [cause for cause in ATTRIBUTION if cause in found]
        colours: Mapping[str, str] = CAUSE_COLOURS
        labels = {c: f"wait: {CAUSE_LABELS[c]}" if c in WAITS else CAUSE_LABELS[c] for c in order}
    else:
        order = array_first(found)
        colours = colours_of(order)
        labels = {name: name.replace("_", " ") for name in order}
    totals = np.array([sum(part.values()) for part in parts], np.float64)
    scale = axis(column, totals)
    series = [
        Series(
            labels[name], colours[name], scale.of(np.array([float(part.get(name, 0)) for part in parts])),
            "////" if kind == "cycles" and name in INTERNAL else "",
        )
        for name in order
    ]  # fmt: skip
    return series or [Series("none", "#BBBBBB", np.zeros(len(parts)))], scale.text


def _legend(axes: Axes, series: Sequence[Series]) -> None:
    columns = 3 if len(series) > 4 else 2
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, handlelength=1.0, handleheight=0.8,
        handletextpad=0.4, columnspacing=0.9, labelspacing=0.3, fontsize=6, reverse=False,
    )  # fmt: skip
