"""Heat maps over two keys, and parallel coordinates over many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.report.curve_parts import Choice, View, names_of, numeric_keys, title_of
from accelsim.report.drawing import COLUMN_WIDTH, TEXT_WIDTH, new_figure
from accelsim.report.parts import shortened
from accelsim.report.points import Axis, Points, Values, axis, column_of, differing, numbers, quantity, short_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "cividis"
"""Made for readers with and without colour vision deficiency, and rises in lightness (Nunez et al., PLOS ONE 2018)."""
MOST_CELLS = 48
WRITTEN = 12
MOST_AXES = 12


def heatmap_figure(table: Points, choice: Choice) -> Figure:
    """The best value for every pair of two keys; the best of all is framed."""
    view = View(table)
    keys = [key for key in differing(view.rows, view.keys) if key not in choice.x + choice.y]
    chosen = [*choice.x[:1], *choice.y[:1], *keys]
    if len(chosen) < 2:
        raise ConfigError("needs two swept keys with several values each; say --x KEY --y KEY", "heatmap")
    x_name = choice.x[0] if choice.x else keys.pop(0)
    y_name = choice.y[0] if choice.y else keys.pop(0)
    value = choice.value or "energy_pj"
    values = numbers(view, value)
    columns, rows = _levels(view, x_name), _levels(view, y_name)
    better = quantity(value).better or -1
    cells = np.full((len(rows), len(columns)), np.nan)
    counts = np.zeros_like(cells)
    for x, y, v in zip(column_of(view, x_name), column_of(view, y_name), values, strict=True):
        at = rows.index(y), columns.index(x)
        counts[at] += 1
        if np.isfinite(v) and not (better * v <= better * cells[at]):
            cells[at] = v
    figure, axes = new_figure(COLUMN_WIDTH, 2.9)
    scale = axis(value, values)
    _cells(figure, axes, scale.of(cells), scale, better)
    _ticks(axes, "x", x_name, columns)
    _ticks(axes, "y", y_name, rows)
    others = [key for key in differing(view.rows, view.keys) if key not in (x_name, y_name)]
    text = scale.quantity.label + (f", best over {names_of(others)}" if counts.max() > 1 and others else "")
    axes.set_title(title_of(view, choice, text, 46), loc="left")
    return figure


def _levels(view: View, name: str) -> list[Any]:
    found = list(dict.fromkeys(column_of(view, name)))
    if len(found) > MOST_CELLS:
        raise ConfigError(f"has {len(found)} values, and a heat map shows at most {MOST_CELLS}; use --where", name)
    return sorted(found) if all(isinstance(v, (int, float)) for v in found) else found


def _cells(figure: Figure, axes: Axes, shown: Values, scale: Axis, better: int) -> None:
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.patches import Rectangle

    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    norm = LogNorm(low, high) if scale.log else Normalize(low, high if high > low else low + 1)
    mesh = axes.pcolormesh(shown, cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.3)
    _colour_bar(figure, axes, mesh, scale, low, high)
    row, column = divmod(int(np.nanargmin(-better * shown)), shown.shape[1])
    axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#D55E00", linewidth=1.6, zorder=4))
    if max(shown.shape) > WRITTEN:
        return
    for (y, x), value in np.ndenumerate(shown):
        if np.isfinite(value):
            light = norm(value) > 0.55
            axes.text(x + 0.5, y + 0.5, _digits(value), ha="center", va="center", fontsize=5.5,
                      color="black" if light else "white")  # fmt: skip


def _colour_bar(figure: Figure, axes: Axes, mappable: Any, scale: Axis, low: float, high: float) -> None:
    """Beside the axes, with plain numbers also where colours are logarithmic."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    bar = figure.colorbar(mappable, ax=axes, pad=0.02, aspect=28)
    bar.set_label(scale.text)
    bar.outline.set_linewidth(0)  # type: ignore[operator]
    if not scale.log:
        return
    wide = high / low > 30
    places = LogLocator(subs=(1.0, 2.0, 5.0)).tick_values(low, high) if wide else MaxNLocator(7).tick_values(low, high)
    bar.set_ticks([float(v) for v in places if low <= v <= high])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _ticks(axes: Axes, which: str, name: str, levels: list[Any]) -> None:
    step = -(-len(levels) // 16)
    at = [i + 0.5 for i in range(0, len(levels), step)]
    texts = [shortened(short_value(name, level), 16) for level in levels[::step]]
    rotated = which == "x" and max(map(len, texts)) * len(texts) > 44
    getattr(axes, f"set_{which}ticks")(at, texts, rotation=90 if rotated else 0)
    axes.tick_params(length=0)
    unit = quantity(name, [v for v in levels if not isinstance(v, str)]).unit if not isinstance(levels[0], str) else ""
    label = shortened(name, 40)
    getattr(axes, f"set_{which}label")(f"{label} ({unit})" if unit and unit not in texts[0] else label)
    axes.spines[["left", "bottom"]].set_visible(False)


def parallel_figure(table: Points, choice: Choice) -> Figure:
    """A line for each point across axes of swept keys and figures; colour is one of the figures, the best on top."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm, Normalize

    view = View(table)
    value = choice.value or "energy_pj"
    names = choice.columns or _default_axes(view, value)
    if not 2 <= len(names) <= MOST_AXES:
        raise ConfigError(f"needs 2 to {MOST_AXES} axes, got {len(names)}; say --columns A,B,C", "parallel")
    values = numbers(view, value)
    scale = axis(value, values)
    shown = scale.of(values)
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    norm = LogNorm(low, high) if scale.log else Normalize(low, high if high > low else low + 1)
    figure, axes = new_figure(TEXT_WIDTH, 3.0)
    heights = np.stack([_height(axes, view, name, i) for i, name in enumerate(names)], axis=1)
    better = scale.quantity.better or -1
    usable = np.isfinite(shown) & np.isfinite(heights).all(axis=1)
    order = np.flatnonzero(usable)[np.argsort(better * shown[usable], kind="stable")]
    segments = np.stack([np.broadcast_to(np.arange(len(names), dtype=float), heights.shape), heights], axis=2)[order]
    many = len(order)
    lines = LineCollection(
        list(segments), array=shown[order], cmap=colormaps[COLOURS], norm=norm, zorder=2, capstyle="round",
        linewidths=0.9 if many < 200 else 0.4, alpha=0.8 if many < 200 else 0.35 if many < 3000 else 0.15,
        rasterized=many > 2000,
    )  # fmt: skip
    axes.add_collection(lines)
    axes.plot(range(len(names)), heights[order[-1]], color="#D55E00", linewidth=1.6, zorder=4)
    axes.set_xlim(-0.15, len(names) - 0.85)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    _colour_bar(figure, axes, ScalarMappable(norm, COLOURS), scale, low, high)
    best = "lowest" if better < 0 else "highest"
    axes.set_title(title_of(view, choice, f"{many:,} points; the one with the {best} {scale.quantity.label} in red"),
                   loc="left", pad=4)  # fmt: skip
    return figure


def _default_axes(view: View, value: str) -> list[str]:
    keys = differing(view.rows, view.keys)
    figures = [name for name in ("seconds", "area_mm2", "utilization", "dram_bytes", "energy_pj") if name != value]
    if "accuracy" in view.columns and len(set(column_of(view, "accuracy"))) > 1 and value != "accuracy":
        figures.insert(2, "accuracy")
    room = MOST_AXES - 4
    return [*(keys or numeric_keys(view))[:room], *(n for n in figures[:3] if n in view.columns), value]


def _height(axes: Axes, view: View, name: str, at: int) -> Values:
    """Place of every point on an axis from 0 to 1; draws the axis with its ticks and its unit."""
    found = column_of(view, name)
    axes.axvline(at, color="black", linewidth=0.6, zorder=3)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found if v is not None):
        values = numbers(view, name)
        scale = axis(name, values)
        shown = scale.of(values)
        low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
        levels = np.unique(shown[np.isfinite(shown)])
        if len(levels) <= 8:
            ticks = [float(v) for v in levels]
        elif scale.log:
            ticks = [float(v) for v in np.geomspace(low, high, 5)]
        else:
            ticks = [float(v) for v in np.linspace(low, high, 5)]
        place = _placed(scale.log, low, high)
        heights, texts, label = place(shown), [f"{v:.3g}" if v < 1000 else f"{v:.0f}" for v in ticks], scale.text
        places = [float(place(np.float64(v))) for v in ticks]
    else:
        kinds = list(dict.fromkeys(map(str, found)))
        places = [i / max(1, len(kinds) - 1) for i in range(len(kinds))]
        heights, texts, label = np.array([places[kinds.index(str(v))] for v in found]), kinds, name
    for height, text in zip(places, texts, strict=True):
        axes.text(at + 0.03, height, shortened(text or "none", 14), fontsize=5, va="center", zorder=5,
                  bbox={"boxstyle": "square,pad=0.08", "fc": "white", "ec": "none", "alpha": 0.75})  # fmt: skip
    head, _, unit = label.rpartition(" (") if label.endswith(")") else (label, "", "")
    parts = shortened(head.replace("buffers.", ""), 22)
    ticks_now = list(axes.get_xticks()) if at else []
    labels_now = [t.get_text() for t in axes.get_xticklabels()] if at else []
    axes.set_xticks([*ticks_now[:at], at], [*labels_now[:at], f"{parts}\n({unit}" if unit else parts], fontsize=5.5)
    axes.tick_params(axis="x", length=0)
    return np.asarray(heights, np.float64)


def _placed(log: bool, low: float, high: float) -> Any:
    if high <= low:
        return lambda v: v * 0 + 0.5
    if log:
        return lambda v: np.log(v / low) / np.log(high / low)
    return lambda v: (v - low) / (high - low)
