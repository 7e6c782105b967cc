"""Lines over a swept key, and how designs scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.report.curve_parts import (
    DASHES,
    GREY,
    MARKERS,
    SERIES_COLOURS,
    Choice,
    View,
    default_series,
    groups,
    names_of,
    numeric_keys,
    set_axis,
    set_log,
    title_of,
)
from accelsim.report.drawing import COLUMN_WIDTH, TEXT_WIDTH, legend_above, new_figure
from accelsim.report.points import Points, Values, differing, numbers, quantity, short_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def lines_figure(table: Points, choice: Choice) -> Figure:
    """One panel for each y over x, one line for each series; at each x the best point."""
    view = View(table)
    x = choice.x[0] if choice.x else _first_key(view)
    columns = choice.y or ["seconds", "energy_pj"]
    series = choice.series or default_series(view, [x])
    width = COLUMN_WIDTH if len(columns) == 1 else TEXT_WIDTH
    figure, grid = new_figure(width, 2.5, ncols=len(columns), squeeze=False)
    for axes, y in zip(grid[0], columns, strict=True):
        _panel(axes, view, x, y, series)
    others = [key for key in differing(view.rows, view.keys) if key not in (x, series)]
    text = f"{' and '.join(quantity(y).label for y in columns)} over {_called(x)}"
    if others:
        text += f", best over {names_of(others)}"
    room = 50 if len(columns) == 1 else 112
    legend_above(figure, grid[0][0], title_of(view, choice, text, room + 8), room=room)
    return figure


def _called(column: str) -> str:
    label = quantity(column).label
    return short_key(column) if label == column else label


def _first_key(view: View) -> str:
    keys = numeric_keys(view)
    if not keys:
        raise ConfigError("no swept key has two or more numbers; say --x COLUMN", "lines")
    return keys[0]


def _panel(axes: Axes, view: View, x_name: str, y_name: str, series: str) -> None:
    x, y = numbers(view, x_name), numbers(view, y_name)
    better = quantity(y_name).better or -1
    found = [(name, *envelope(x[rows], y[rows], better)) for name, rows in groups(view, series)]
    x_axis = set_axis(axes, "x", x_name, x)
    y_axis = set_axis(axes, "y", y_name, np.concatenate([best for _, _, best in found]))
    for i, (name, at, best) in enumerate(found):
        if not len(at):
            continue
        shown_x, shown = x_axis.of(at), y_axis.of(best)
        axes.plot(
            shown_x, shown, color=SERIES_COLOURS[i], marker=MARKERS[i], markersize=3.2,
            label=name or quantity(y_name).label, linestyle=DASHES[i % len(DASHES)], markeredgecolor="white",
            markeredgewidth=0.3, zorder=3,
        )  # fmt: skip
    if not y_axis.log:
        axes.set_ylim(bottom=0)
    axes.grid(which="major")


def envelope(x: Values, y: Values, better: int) -> tuple[Values, Values]:
    """(x, best y) for every different x in order; `better` is -1 where less is better."""
    usable = np.isfinite(x) & np.isfinite(y)
    at = np.unique(x[usable])
    best = np.min if better < 0 else np.max
    return at, np.array([best(y[usable & (x == value)]) for value in at], np.float64)


def scaling_figure(table: Points, choice: Choice) -> Figure:
    """Speedup over the smallest x, with the ideal line; beside it the efficiency, speedup over what was added."""
    view = View(table)
    x = choice.x[0] if choice.x else "peak_macs_per_cycle"
    y = choice.y[0] if choice.y else "seconds"
    series = choice.series or default_series(view, [x])
    figure, grid = new_figure(TEXT_WIDTH, 2.5, ncols=2, squeeze=False)
    left, right = grid[0]
    values, figures = numbers(view, x), numbers(view, y)
    if not (values[np.isfinite(values)] > 0).all() or len(np.unique(values[np.isfinite(values)])) < 2:
        raise ConfigError("needs two or more values above 0 to scale over", f"--x {x}")
    axis = set_axis(left, "x", x, values, log=True)
    set_axis(right, "x", x, values, log=True)
    better = quantity(y).better or -1
    most = 1.0
    for i, (name, rows) in enumerate(groups(view, series)):
        at, best = envelope(values[rows], figures[rows], better)
        if len(at) < 2:
            continue
        gain = best[0] / best if better < 0 else best / best[0]
        most = max(most, float(gain.max()))
        look: dict[str, Any] = {
            "color": SERIES_COLOURS[i], "marker": MARKERS[i], "markersize": 3.2, "markeredgecolor": "white",
            "markeredgewidth": 0.3, "linestyle": DASHES[i % len(DASHES)], "label": name or "speedup",
        }  # fmt: skip
        left.plot(axis.of(at), gain, **look)
        right.plot(axis.of(at), 100 * gain * at[0] / at, **look)
    _ideal(left, right, axis.of(np.unique(values[np.isfinite(values)])), most)
    what = "speedup" if y == "seconds" else f"gain in {quantity(y).label}"
    left.set_ylabel(f"{what} over the smallest (x)")
    right.set_ylabel("scaling efficiency (%)")
    text = f"{what} over {_called(x)}, each series against its own smallest"
    others = [key for key in differing(view.rows, view.keys) if key not in (x, series)]
    if others:
        text += f", best over {names_of(others)}"
    legend_above(figure, left, title_of(view, choice, text))
    return figure


def _ideal(left: Axes, right: Axes, x: NDArray[np.float64], most: float) -> None:
    ideal = x / x[0]
    set_log(left, "y", 2.0 ** np.arange(0, np.log2(max(most, float(ideal[-1]))) + 1)[:10])
    left.plot(x, ideal, color=GREY, linewidth=0.8, linestyle=(0, (6, 3)), label="ideal", zorder=1)
    right.axhline(100, color=GREY, linewidth=0.8, linestyle=(0, (6, 3)), zorder=1)
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(which="major")
