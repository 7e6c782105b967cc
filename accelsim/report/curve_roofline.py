"""The roofline of many designs: each design's roof, and where its runs come to under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from accelsim.report.curve_parts import (
    GREY,
    MARKERS,
    SERIES_COLOURS,
    Choice,
    View,
    default_series,
    groups,
    set_log,
    title_of,
)
from accelsim.report.drawing import COLUMN_WIDTH, legend_above, new_figure
from accelsim.report.points import Points, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROOFS = 60
"""Most different roofs that are drawn one by one; of more, only the highest and the lowest."""


def roofline_points_figure(table: Points, choice: Choice) -> Figure:
    """TOPS over operations per DRAM byte. Williams, Waterman and Patterson, CACM 2009; two operations for each MAC."""
    view = View(table)
    series = choice.series or default_series(view, [])
    clock, macs = numbers(view, "clock_hz"), numbers(view, "macs")
    peak = 2 * numbers(view, "peak_macs_per_cycle") * clock / 1e12
    bandwidth = numbers(view, "dram_bytes_per_cycle") * clock / 1e12  # TB/s
    moved, seconds = numbers(view, "dram_bytes"), numbers(view, "seconds")
    x = 2 * macs / np.maximum(moved, 1.0)
    y = 2 * macs / seconds / 1e12
    figure, axes = new_figure(COLUMN_WIDTH, 2.9)
    ridge = peak / bandwidth
    low, high = min(x.min(), ridge.min()) / 2.5, max(x.max(), ridge.max()) * 3
    bottom, top = y.min() / 2.5, peak.max() * 1.8
    set_log(axes, "x", np.array([low, high]))
    set_log(axes, "y", np.array([bottom, top]))
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    found = groups(view, series)
    _roofs(axes, [{(float(peak[i]), float(bandwidth[i])) for i in rows} for _, rows in found], low, high)
    for i, (name, rows) in enumerate(found):
        axes.scatter(
            x[rows], y[rows], 14 if len(x) < 400 else 5, marker=MARKERS[i], color=SERIES_COLOURS[i],
            edgecolors="white", linewidths=0.3, alpha=0.9 if len(x) < 400 else 0.5, zorder=4, label=name or "runs",
            rasterized=len(x) > 2000,
        )  # fmt: skip
    axes.set_xlabel("operations per byte of DRAM traffic (OP/B)")
    axes.set_ylabel("throughput (TOPS)")
    axes.grid(which="major")
    roofs = len(np.unique(np.stack([peak, bandwidth], 1), axis=0))
    text = f"{len(x):,} runs under {roofs:,} roof{'s' * (roofs != 1)}"
    legend_above(figure, axes, title_of(view, choice, text, 58), room=50)
    return figure


def _roofs(axes: Axes, roofs: list[set[tuple[float, float]]], low: float, high: float) -> None:
    """Each roof once: in its series' colour, or grey if several have it."""
    every = sorted(set().union(*roofs))
    if len(every) > MOST_ROOFS:
        every = [min(every, key=lambda r: (r[0] * r[1], r)), max(every, key=lambda r: (r[0] * r[1], r))]
    for roof in every:
        owners = [i for i, mine in enumerate(roofs) if roof in mine]
        colour = SERIES_COLOURS[owners[0]] if len(owners) == 1 and len(roofs) > 1 else GREY
        peak, bandwidth = roof
        axes.plot(
            [low, peak / bandwidth, high], [low * bandwidth, peak, peak], color=colour, linewidth=0.8,
            alpha=0.9 if len(every) <= 12 else 0.4, zorder=2,
        )  # fmt: skip
