"""What lies in each buffer, and what the DRAM moves, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from accelsim.base.units import human_bytes
from accelsim.report.activity import HELD, MOVED, Floats, Steps, dram_rates, held_bytes
from accelsim.report.drawing import TEXT_WIDTH, caption, legend_above, new_figure, prefixed
from accelsim.report.figure_bars import group_names, name_groups
from accelsim.report.parts import OPERAND_COLOURS, OPERAND_LABELS, buffers, common_prefix
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 420
"""Points across the page, each the exact mean over its time."""

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s"), (1e-9, "ns"))


def activity_figure(result: RunResult) -> Figure:
    """One panel for each buffer, stacked by what lies in it; below them the DRAM, stacked by what it moves."""
    held = {name: inside for name, inside in held_bytes(result).items() if inside}
    edges = np.linspace(0, max(result.cycles, 1), BINS + 1)
    size, unit = time_unit(result)
    time = edges / result.clock_hz / size
    count = len(held) + 1
    figure, grid = new_figure(
        TEXT_WIDTH, 0.75 + 0.72 * count, nrows=count, sharex=True, squeeze=False,
        gridspec_kw={"height_ratios": [1.0] * len(held) + [1.25]},
    )
    panels: list[Axes] = list(grid[:, 0])
    for axes, (name, inside) in zip(panels, held.items(), strict=False):
        _buffer_panel(axes, result, name, inside, time, edges)
    _dram_panel(panels[-1], result, time, edges)
    _layers(panels, result, size)
    panels[-1].set_xlabel(f"time ({unit})")
    panels[-1].set_xlim(0, time[-1])
    _one_legend(figure, panels, result)
    return figure


def time_unit(result: RunResult) -> tuple[float, str]:
    """(seconds, name) of the unit in which a run's time is drawn."""
    return next(((s, u) for s, u in _UNITS if result.seconds >= 2 * s), _UNITS[-1])


def _stack(axes: Axes, time: Floats, series: Mapping[str, Floats]) -> Floats:
    """Steps on steps; returns their sum."""
    floor = np.zeros(len(time) - 1)
    for what, values in series.items():
        top = floor + values
        colour, label = OPERAND_COLOURS[what], OPERAND_LABELS[what]
        axes.stairs(top, time, baseline=floor, fill=True, color=colour, linewidth=0, label=label)
        floor = top
    return floor


def _buffer_panel(
    axes: Axes, result: RunResult, name: str, inside: Mapping[str, Steps], time: Floats, edges: Floats
) -> None:
    capacity = int(buffers(result)[name]["capacity_bytes"])
    used = {what: steps.means(edges) / capacity * 100 for what, steps in inside.items()}
    top = float(_stack(axes, time, used).max(initial=0.0))
    axes.set_ylim(0, max(100.0, top * 1.02) if top > 20 else max(top * 1.3, 0.5))
    _label(axes, f"{name.replace('_', ' ')}\n% of {human_bytes(capacity)}")
    axes.grid(axis="y")


def _label(axes: Axes, text: str) -> None:
    """Upright labels of neighbouring panels would run into each other."""
    axes.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=4)


def _dram_panel(axes: Axes, result: RunResult, time: Floats, edges: Floats) -> None:
    factor = result.clock_hz / 1e9
    rates = dram_rates(result)
    moved: dict[str, Floats] = {}
    for name in MOVED:
        if name in rates:
            what = "psum" if name.startswith("psum") else name
            moved[what] = moved.get(what, 0.0) + rates[name].means(edges) * factor
    order = [what for what in HELD if what in moved]
    _stack(axes, time, {what: moved[what] for what in order})
    peak = result.dram_bytes_per_cycle * factor
    axes.axhline(peak, color="black", linewidth=0.7, linestyle=(0, (4, 2)))
    axes.text(1.0, peak, f"peak {peak:.3g} ", transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=6)
    axes.set_ylim(0, peak * 1.25)
    _label(axes, "DRAM\nGB/s")
    axes.grid(axis="y")


def _layers(panels: Sequence[Axes], result: RunResult, size: float) -> None:
    """Grey bands behind, for every second layer or group of layers."""
    start = len(common_prefix([layer.name for layer in result.layers]))
    names = [layer.name[start:] or layer.name for layer in result.layers]
    ends = np.cumsum([0, *(layer.cycles for layer in result.layers)]) / result.clock_hz / size
    if len(names) <= 20:
        groups = [(name, float(ends[i]), float(ends[i + 1])) for i, name in enumerate(names)]
    else:
        edges = [(name, round(a + 0.5), round(b + 0.5)) for name, a, b in group_names(names)]
        groups = [(name, float(ends[first]), float(ends[last])) for name, first, last in edges]
    if len(groups) < 2:
        return
    for axes in panels:
        for i, (_, begin, end) in enumerate(groups):
            if i % 2:
                axes.axvspan(begin, end, color="#EDEDED", linewidth=0, zorder=0)
    name_groups(panels[0], groups, float(ends[-1]), above=True)


def _one_legend(figure: Figure, panels: Sequence[Axes], result: RunResult) -> None:
    seen: dict[str, object] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            seen.setdefault(label, handle)
    order = [OPERAND_LABELS[what] for what in HELD if OPERAND_LABELS[what] in seen]
    moved = sum(layer.total_dram_bytes for layer in result.layers)
    rate = prefixed(moved / result.seconds, "B/s")
    title = caption(result, f"{human_bytes(moved)} of DRAM traffic, {rate} on average")
    legend_above(figure, panels[0], title, handles=[(seen[label], label) for label in order])
