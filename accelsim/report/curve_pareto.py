"""The Pareto front: what can be had of one quantity for the other, and which designs give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.report.curve_parts import (
    MARKERS,
    SERIES_COLOURS,
    Choice,
    View,
    default_series,
    groups,
    set_axis,
    title_of,
)
from accelsim.report.drawing import COLUMN_WIDTH, TEXT_WIDTH, legend_above, new_figure
from accelsim.report.points import Points, column_of, differing, numbers, pareto, point_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 3
"""Points of the front that are named: its two ends, and the one nearest to the best of both."""
APART = 0.14
"""Inches between letters; of nearer ones only the first stands."""


def pareto_figure(table: Points, choice: Choice) -> Figure:
    """Energy against latency, area and (where it is known) accuracy: every point, and the front of all of them."""
    view = View(table)
    y = (choice.y or ["energy_pj"])[0]
    columns = choice.x or ["seconds", "area_mm2", *(["accuracy"] if _has_accuracy(view) else [])]
    series = choice.series or default_series(view, [*columns, y])
    width = COLUMN_WIDTH if len(columns) == 1 else TEXT_WIDTH
    figure, grid = new_figure(width, 2.9, ncols=len(columns), squeeze=False, sharey=len(columns) > 1)
    counts = []
    named: dict[int, str] = {}
    for axes, x in zip(grid[0], columns, strict=True):
        counts.append(_panel(axes, view, x, y, series, named))
        if axes is not grid[0][0]:
            axes.set_ylabel("")
    one = len(columns) == 1
    front = f"{counts[0]} of {len(view.rows):,} on the front" if one else f"{len(view.rows):,} points"
    room = 50 if one else 112
    _key_to_letters(figure, view, named, room + 20)
    legend_above(figure, grid[0][0], title_of(view, choice, front, room + 8), room=room)
    return figure


def _has_accuracy(view: Points) -> bool:
    return len({v for v in column_of(view, "accuracy") if v is not None}) > 1 if "accuracy" in view.columns else False


def _panel(axes: Axes, view: View, x_name: str, y_name: str, series: str, named: dict[int, str]) -> int:
    x, y = numbers(view, x_name), numbers(view, y_name)
    x_axis, y_axis = set_axis(axes, "x", x_name, x), set_axis(axes, "y", y_name, y)
    shown_x, shown_y = x_axis.of(x), y_axis.of(y)
    fronts = [_front(x, y, rows, x_axis.quantity.better, y_axis.quantity.better) for rows in _workloads(view)]
    on_front = np.zeros(len(x), bool)
    on_front[np.concatenate(fronts)] = True
    many = len(x) > 400
    for i, (name, rows) in enumerate(groups(view, series)):
        mine = np.array(rows, np.int64)
        behind, ahead = mine[~on_front[mine]], mine[on_front[mine]]
        look: dict[str, Any] = {"marker": MARKERS[i], "color": SERIES_COLOURS[i], "linewidths": 0}
        axes.scatter(
            shown_x[behind], shown_y[behind], 5 if many else 12, alpha=0.25 if many else 0.45, zorder=2,
            rasterized=len(x) > 2000, **look,
        )  # fmt: skip
        outlined = {**look, "edgecolors": "black", "linewidths": 0.5}
        axes.scatter(shown_x[ahead], shown_y[ahead], 20, zorder=5, label="_" + name, **outlined)
        axes.scatter([], [], 20, label=name or "points", **look)
    for number, front in enumerate(fronts):
        order = front[np.argsort(shown_x[front], kind="stable")]
        where: Any = "pre" if x_axis.quantity.better > 0 else "post"  # what is behind both neighbours can be had
        axes.step(
            shown_x[order], shown_y[order], where=where, color="black", linewidth=0.8, zorder=4,
            label="_front" if number else "Pareto front" if len(fronts) == 1 else "Pareto front of each workload",
        )  # fmt: skip
        _letters(axes, front, shown_x, shown_y, named)
    axes.grid(which="major")
    return int(on_front.sum())


def _workloads(view: View) -> list[NDArray[np.int64]]:
    """Rows of each workload: figures of different work are no choice, so that each has a front of its own."""
    names = [str(row.get("workload", "")) for row in view.rows]
    return [np.array([i for i, n in enumerate(names) if n == name], np.int64) for name in dict.fromkeys(names)]


def _front(x: NDArray[Any], y: NDArray[Any], rows: NDArray[np.int64], better_x: int, better_y: int) -> Any:
    return rows[pareto(x[rows], y[rows], better_x or -1, better_y or -1)]


def _letters(axes: Axes, front: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any], named: dict[int, str]) -> None:
    """Letters at the ends of the front and at its knee; the legend underneath says what they stand for."""
    chosen = list(dict.fromkeys(int(i) for i in (front[0], front[-1], _knee(front, x, y)))) if len(front) else []
    axes.get_xlim(), axes.get_ylim()  # what is drawn so far counts from now on
    kept: list[NDArray[Any]] = []
    for i in chosen[:NAMED]:
        at = axes.transData.transform((x[i], y[i])) / axes.figure.dpi
        if any(np.hypot(*(at - other)) < APART for other in kept):
            continue
        kept.append(at)
        if i not in named and len(named) < 26:
            named[i] = chr(ord("A") + len(named))
        axes.annotate(
            named.get(i, ""), (x[i], y[i]), xytext=(4, 4), fontsize=6.5, textcoords="offset points", fontweight="bold",
            zorder=6, bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
        )  # fmt: skip


def _key_to_letters(figure: Figure, view: View, named: dict[int, str], room: int) -> None:
    from matplotlib.lines import Line2D

    keys = differing(view.rows, [*(n for n in ("workload", "arch", "recipe") if n not in view.keys), *view.keys])
    if not named or not keys:
        return
    texts = [f"{letter}  {point_name(view.rows[i], keys, room - 4)}" for i, letter in named.items()]
    columns = max(1, min(len(texts), room // (max(map(len, texts)) + 3)))
    figure.legend(
        [Line2D([], [], linestyle="none")] * len(texts), texts, loc="outside lower left", ncols=columns, fontsize=6,
        handlelength=0, handletextpad=0, columnspacing=1.5, borderaxespad=0.1, labelspacing=0.3,
    )  # fmt: skip


def _knee(front: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any]) -> int:
    """The point of the front that is nearest to the corner of its two ends."""
    fx, fy = x[front], y[front]
    span_x, span_y = float(np.ptp(fx)) or 1.0, float(np.ptp(fy)) or 1.0
    distance = np.hypot((fx - fx[0]) / span_x, (fy - fy[-1]) / span_y)
    return int(front[int(np.argmin(distance))])
