"""The roofline: what each layer reaches, against the array's peak and the DRAM's bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.report.drawing import COLUMN_WIDTH, new_figure
from accelsim.report.parts import CAUSE_COLOURS, CAUSE_LABELS, common_prefix, shortened_apart
from accelsim.sim.passes import ATTRIBUTION, WAITS
from accelsim.system.result import LayerResult, RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH = 2.57, 2.3
"""Inches of the axes; what surrounds them takes the rest of the figure."""
Box = tuple[float, float, float, float]
NAMED = 4
"""Most layers that are named: those that take the most cycles."""


def roofline_figure(result: RunResult) -> Figure:
    """A dot for each layer with MACs, its area by its share of the cycles, its colour by what takes most of them.

    Williams, Waterman and Patterson, CACM 2009, with MACs per byte of DRAM traffic as intensity. Layers
    without such traffic stand at the right edge.
    """
    figure, axes = new_figure(COLUMN_WIDTH, 2.9)
    layers = [layer for layer in result.layers if layer.macs]
    peak, bandwidth = result.peak_macs_per_cycle, result.dram_bytes_per_cycle
    ridge = peak / bandwidth
    intensity = np.array([x.macs / x.total_dram_bytes if x.total_dram_bytes else np.inf for x in layers])
    reached = np.array([x.macs / x.cycles for x in layers], np.float64)
    finite = intensity[np.isfinite(intensity)]
    low = min([*finite, ridge]) / 2.5
    high = max([*finite, ridge]) * 2.5
    edge = high * 1.6 if len(finite) < len(intensity) else high
    x = np.where(np.isfinite(intensity), intensity, edge)
    right = edge * 1.6
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, right)
    axes.set_ylim(min([*reached, peak]) / 3, peak * 2.2)
    if len(finite) < len(intensity):
        axes.axvspan(high * 1.1, right, color="#F0F0F0", linewidth=0, zorder=0)
        low_right: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "right", "va": "bottom"}
        axes.text(right, 0.02, "no DRAM\ntraffic ", fontsize=5.5, **low_right)
    axes.plot([low, ridge, right], [low * bandwidth, peak, peak], color="black", zorder=3, label="_roof")
    _roof_texts(axes, result, x, reached)
    _dots(axes, result, layers, x, reached)
    _names(axes, result, layers, x, reached)
    axes.set_xlabel("MACs per byte of DRAM traffic")
    axes.set_ylabel("MACs per cycle")
    axes.grid(which="major")
    tops = axes.secondary_yaxis("right", functions=_tops(result))
    tops.set_ylabel("TOPS")
    axes.set_title(f"{result.workload} on {result.arch}, batch {result.batch}", loc="left")
    if not layers:
        axes.text(0.5, 0.5, "no layer has MACs", transform=axes.transAxes, ha="center")
    return figure


def _tops(result: RunResult) -> tuple[Any, Any]:
    factor = 2 * result.clock_hz / 1e12
    return (lambda macs: macs * factor), (lambda tops: tops / factor)


def _roof_texts(axes: Axes, result: RunResult, x: Any, y: Any) -> None:
    peak, bandwidth = result.peak_macs_per_cycle, result.dram_bytes_per_cycle
    at_right: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
    axes.text(0.98, peak * 1.1, f"{peak:,} MACs per cycle", fontsize=6, **at_right)
    gigabytes = bandwidth * result.clock_hz / 1e9
    x0, y0 = _Page(axes).at(*_quietest(axes, result, x, y))
    axes.text(
        (x0 - 0.03) / WIDE,
        (y0 + 0.05) / HIGH,
        f"{gigabytes:.3g} GB/s",
        transform=axes.transAxes,
        rotation=_slope(axes),
        rotation_mode="anchor",
        ha="center",
        va="bottom",
        fontsize=6,
    )


def _quietest(axes: Axes, result: RunResult, x: Any, y: Any) -> tuple[float, float]:
    """A place on the slope of the roof, far from dots and from its ends."""
    peak, bandwidth = result.peak_macs_per_cycle, result.dram_bytes_per_cycle
    page = _Page(axes)
    low = max(axes.get_xlim()[0], axes.get_ylim()[0] / bandwidth)
    along = np.geomspace(low, peak / bandwidth, 41)[8:-8]
    px, py = page.at(along, along * bandwidth)
    if not len(x):
        return float(along[16]), float(along[16] * bandwidth)
    dx, dy = page.at(x, y)
    far = np.hypot(px[:, None] - dx[None, :], py[:, None] - dy[None, :]).min(axis=1)
    best = int(np.argmax(np.minimum(far, 0.5)))
    return float(along[best]), float(along[best] * bandwidth)


def _slope(axes: Axes) -> float:
    """Angle of a line of slope 1 on the page, in degrees."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    wide, high = WIDE / np.log10(x1 / x0), HIGH / np.log10(y1 / y0)  # inches of a decade
    return float(np.degrees(np.arctan2(high, wide)))


def _area(layer: LayerResult, result: RunResult) -> float:
    """Square points of a layer's dot."""
    return 8 + 260 * layer.cycles / result.cycles


def _dots(axes: Axes, result: RunResult, layers: list[LayerResult], x: Any, y: Any) -> None:
    area = np.array([_area(layer, result) for layer in layers])
    main = [max(ATTRIBUTION, key=lambda cause: layer.cycles_by_cause[cause]) for layer in layers]
    for cause in ATTRIBUTION:
        mine = np.array([i for i in np.argsort(-area, kind="stable") if main[i] == cause], np.int64)
        if len(mine):
            axes.scatter(
                x[mine],
                y[mine],
                area[mine],
                color=CAUSE_COLOURS[cause],
                edgecolors="white",
                linewidths=0.3,
                alpha=0.85,
                zorder=4,
                label=f"waiting for {CAUSE_LABELS[cause]}" if cause in WAITS else CAUSE_LABELS[cause],
            )
    if layers:
        legend = axes.legend(
            loc="lower right",
            title="most cycles go to",
            title_fontsize=6,
            alignment="left",
            handletextpad=0.1,
            borderpad=0.2,
            labelspacing=0.25,
            fontsize=6,
        )
        for handle in legend.legend_handles:
            handle.set_sizes([16])  # type: ignore[union-attr]


@dataclass
class _Page:
    """The axes in inches from their lower left corner, near enough to place names."""

    axes: Axes

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Inches of data points."""
        (x0, x1), (y0, y1) = self.axes.get_xlim(), self.axes.get_ylim()
        return np.log10(x / x0) / np.log10(x1 / x0) * WIDE, np.log10(y / y0) / np.log10(y1 / y0) * HIGH


def _names(axes: Axes, result: RunResult, layers: list[LayerResult], x: Any, y: Any) -> None:
    """Names beside the longest layers, one for dots that lie on each other, each where it covers least."""
    if not layers:
        return
    page = _Page(axes)
    px, py = page.at(x, y)
    low, right = axes.get_xlim()
    peak, bandwidth = result.peak_macs_per_cycle, result.dram_bytes_per_cycle
    along = np.geomspace(low, right, 200)
    roof_x, roof_y = page.at(along, np.minimum(along * bandwidth, peak))
    full: list[Box] = [(WIDE - 1.1, 0.0, WIDE, 0.55)]  # the legend's corner
    start = len(common_prefix([layer.name for layer in layers]))
    names = shortened_apart([layer.name[start:] or layer.name for layer in layers], 22)
    named: list[tuple[float, float]] = []
    for i in sorted(range(len(layers)), key=lambda i: (-layers[i].cycles, i)):
        if len(named) == NAMED:
            break
        if any(np.hypot(px[i] - a, py[i] - b) < 0.25 for a, b in named):
            continue
        named.append((px[i], py[i]))
        text = names[i]
        gap = float(np.sqrt(_area(layers[i], result) / np.pi)) / 72 + 0.03
        side, box = min(_boxes(px[i], py[i], len(text), gap), key=lambda b: _cost(b[1], px, py, roof_x, roof_y, full))
        full.append(box)
        at = {"left": box[0], "right": box[2], "center": (box[0] + box[2]) / 2}[side]
        axes.text(
            at / WIDE,
            (box[1] + box[3]) / 2 / HIGH,
            text,
            transform=axes.transAxes,
            ha=side,
            va="center",
            fontsize=5.5,
            zorder=5,
        )


def _boxes(x: float, y: float, letters: int, gap: float) -> list[tuple[str, Box]]:
    """Places for a text around a point: its alignment, and (left, bottom, right, top)."""
    wide, high = 0.045 * letters, 0.09
    corners = [
        ("left", x + gap, y - high / 2),
        ("right", x - gap - wide, y - high / 2),
        ("left", x + gap, y - high - gap / 2),
        ("right", x - gap - wide, y + gap / 2),
        ("center", x - wide / 2, y - high - gap),
        ("center", x - wide / 2, y + gap),
    ]
    return [(side, (left, bottom, left + wide, bottom + high)) for side, left, bottom in corners]


def _cost(box: Box, px: Any, py: Any, roof_x: Any, roof_y: Any, full: list[Box]) -> float:
    left, bottom, right, top = box
    if left < 0 or bottom < 0 or right > WIDE or top > HIGH:
        return 1000.0
    covered = sum(left < r and right > a and bottom < t and top > b for a, b, r, t in full)
    dots = ((px > left) & (px < right) & (py > bottom) & (py < top)).sum()
    roof = ((roof_x > left) & (roof_x < right) & (roof_y > bottom) & (roof_y < top)).any()
    return float(100 * covered + 2 * dots + 5 * roof)
