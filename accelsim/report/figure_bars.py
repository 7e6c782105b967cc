"""Stacked bars, one for each layer: cycles by cause, energy by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.report.drawing import TEXT_WIDTH, caption, legend_above, new_figure, prefixed
from accelsim.report.parts import (
    CAUSE_COLOURS,
    CAUSE_LABELS,
    common_prefix,
    component_colours,
    components,
    shortened_apart,
)
from accelsim.sim.passes import ATTRIBUTION, INTERNAL, WAITS
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELLED = 45
"""Most layers whose names stand under their bars; of more, groups of layers are named."""
MOST_GROUPS = 40
_BARS_INCHES = 6.3
_CHARACTER_INCHES = 0.062


@dataclass
class Series:
    """One colour of the stack: a value for each layer."""

    label: str
    colour: str
    values: NDArray[np.float64]
    hatch: str = ""


def cycles_figure(result: RunResult) -> Figure:
    """Cycles of each layer, stacked by cause; the legend says each cause's share."""
    by_cause = result.cycles_by_cause()
    series = []
    for cause in ATTRIBUTION:
        if by_cause[cause]:
            name = f"wait: {CAUSE_LABELS[cause]}" if cause in WAITS else CAUSE_LABELS[cause]
            label = f"{name} {share(by_cause[cause], result.cycles)}"
            values = np.array([layer.cycles_by_cause[cause] for layer in result.layers], np.float64)
            series.append(Series(label, CAUSE_COLOURS[cause], values, "////" if cause in INTERNAL else ""))
    figure, axes = new_figure(TEXT_WIDTH, 2.5)
    stack(axes, series)
    name_layers(axes, [layer.name for layer in result.layers])
    scale(axes, "cycles per layer", "")
    legend_above(figure, axes, caption(result, f"{result.cycles:,} cycles, {prefixed(result.seconds, 's')}"))
    return figure


def energy_figure(result: RunResult) -> Figure:
    """Energy of each layer, stacked by component; the legend says each component's share."""
    total = result.energy_by_component()
    colours = component_colours(result)
    series = [
        Series(
            f"{name.replace('_', ' ')} {share(total[name], result.energy_pj)}",
            colours[name],
            np.array([layer.energy_pj.get(name, 0.0) * 1e-12 for layer in result.layers]),
        )
        for name in components(result)
    ]
    figure, axes = new_figure(TEXT_WIDTH, 2.5)
    stack(axes, series)
    name_layers(axes, [layer.name for layer in result.layers])
    scale(axes, "energy per layer", "J")
    text = f"{prefixed(result.energy_pj * 1e-12, 'J')}, {result.tops_per_watt:.3g} TOPS/W"
    legend_above(figure, axes, caption(result, text))
    return figure


def share(part: float, total: float) -> str:
    """`12.3 %`, `<0.1 %`."""
    percent = 100 * part / total if total else 0.0
    return f"{percent:.1f} %" if percent >= 0.05 else "<0.1 %"


def stack(axes: Axes, series: Sequence[Series]) -> None:
    """Bars at 0, 1, 2..., one series on top of the other."""
    from matplotlib.collections import PolyCollection

    count = len(series[0].values)
    half = 0.4 if count <= LABELLED else 0.45 if count <= 2 * LABELLED else 0.5
    x = np.arange(count, dtype=np.float64)
    floor = np.zeros(count)
    for one in series:
        top = floor + one.values
        corners = [(x - half, floor), (x - half, top), (x + half, top), (x + half, floor)]
        vertices = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
        edge = "white" if one.hatch else "none"
        bars = PolyCollection(
            list(vertices[one.values > 0]),
            facecolors=one.colour,
            edgecolors=edge,
            linewidths=0,
            hatch=one.hatch or None,
            label=one.label,
        )
        axes.add_collection(bars, autolim=False)
        floor = top
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_ylim(0, (float(floor.max()) or 1.0) * 1.04)


def scale(axes: Axes, label: str, unit: str) -> None:
    """The vertical axis with SI prefixes."""
    from matplotlib.ticker import EngFormatter

    axes.yaxis.set_major_formatter(EngFormatter(unit=unit, sep="\N{NO-BREAK SPACE}" if unit else ""))
    axes.set_ylabel(label)
    axes.grid(axis="y")


def name_layers(axes: Axes, names: Sequence[str]) -> None:
    """Names under few bars; under many, what the names of neighbours have in common; else their numbers."""
    count = len(names)
    start = len(common_prefix(names))
    names = [name[start:] or name for name in names]
    if count <= LABELLED:
        texts = shortened_apart(names, 20)
        flat = max(len(text) for text in texts) * _CHARACTER_INCHES < _BARS_INCHES / count
        axes.set_xticks(range(count), texts, rotation=0 if flat else 90)
        axes.tick_params(axis="x", length=0, pad=2 if flat else 1, labelsize=6.5 if count <= 32 else 5.5)
        return
    groups = group_names(names)
    if not 2 <= len(groups) <= MOST_GROUPS:
        axes.set_xlabel("layer, in order of execution")
        return
    name_groups(axes, groups, count)


def name_groups(axes: Axes, groups: Sequence[tuple[str, float, float]], extent: float, *, above: bool = False) -> None:
    """Bands of alternate grey over (name, begin, end), with the names underneath (or above).

    A name too long for its band stands upright, or is left out if not even that has room.
    """
    if not above:
        axes.set_xticks([])
    blended: Any = axes.get_xaxis_transform()
    free = -1.0  # where the last upright name ends
    texts = shortened_apart([label for label, *_ in groups], 18)
    for i, (text, (_, begin, end)) in enumerate(zip(texts, groups, strict=True)):
        if i % 2 and not above:
            axes.axvspan(begin, end, color="#F0F0F0", linewidth=0, zorder=0)
        inches = (end - begin) / extent * _BARS_INCHES
        flat = inches > _CHARACTER_INCHES * len(text)
        middle = (begin + end) / 2
        if not flat:
            at = middle / extent * _BARS_INCHES
            if at - free < 0.085:
                continue
            free = at
        axes.text(
            middle,
            1.03 if above else -0.02,
            text,
            transform=blended,
            ha="center",
            va="bottom" if above else "top",
            rotation=0 if flat else 90,
            fontsize=6 if flat else 5.5,
        )


def group_names(names: Sequence[str]) -> list[tuple[str, float, float]]:
    """Runs of names with the same first part (up to '.' or '/'): (part, left edge, right edge of its bars)."""
    found: list[tuple[str, float, float]] = []
    for i, name in enumerate(names):
        part = name.replace("/", ".").split(".")[0] or name
        if found and found[-1][0] == part:
            found[-1] = (part, found[-1][1], i + 0.5)
        else:
            found.append((part, i - 0.5, i + 0.5))
    return found
