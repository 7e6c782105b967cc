"""Curves of many runs: every kind takes the table of a sweep and a choice of columns, and gives a figure.

Drawn as the figures of a single run are: for print, in colours that colour-blind readers can tell apart, every
series with a mark of its own too, and every axis with its unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.base.errors import unknown_name
from accelsim.report.curve_bars import breakdown_figure, comparison_figure
from accelsim.report.curve_grid import heatmap_figure, parallel_figure
from accelsim.report.curve_lines import lines_figure, scaling_figure
from accelsim.report.curve_pareto import pareto_figure
from accelsim.report.curve_parts import Choice
from accelsim.report.curve_roofline import roofline_points_figure
from accelsim.report.drawing import lay_out, save, style
from accelsim.report.figures import check_formats
from accelsim.report.points import Points
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES: dict[str, Callable[[Points, Choice], Figure]] = {
    "pareto": pareto_figure,
    "lines": lines_figure,
    "breakdown": breakdown_figure,
    "roofline": roofline_points_figure,
    "heatmap": heatmap_figure,
    "parallel": parallel_figure,
    "scaling": scaling_figure,
}
"""Name on the command line -> who draws it."""


def draw_curve(table: Points, kind: str, choice: Choice | None = None) -> Figure:
    """One curve as a matplotlib Figure.

    Parameters
    ----------
    table : Points
        For example `Store.open("results.db").table()`.
    kind : str
        Of CURVES.
    choice : Choice, optional

    Raises
    ------
    ConfigError
        Unknown kind or column, nothing finished to draw, or more than can be told apart.
    """
    if kind not in CURVES:
        raise unknown_name("kind of curve", kind, CURVES)
    with style():
        return lay_out(CURVES[kind](table, choice or Choice()))


def write_curve(table: Points, kind: str, paths: Sequence[Path], choice: Choice | None = None, dpi: int = 300) -> None:
    """Draw one curve into files of the kinds that their suffixes say: .pdf, .svg, .png (with this resolution).

    Raises
    ------
    ConfigError
    """
    check_formats([path.suffix[1:] for path in paths])
    figure = draw_curve(table, kind, choice)
    for path in paths:
        save(figure, path, dpi)


def draw_comparison(designs: Mapping[str, Sequence[RunResult]], workloads: Sequence[str], path: Path) -> None:
    """Cycles by cause and energy by component of designs side by side, as a file.

    Parameters
    ----------
    designs : mapping
        Label -> results, one for each workload.
    workloads : sequence of str
    path : Path
        .pdf, .svg or .png.

    Raises
    ------
    ConfigError
    """
    check_formats([path.suffix[1:]])
    with style():
        figure = lay_out(comparison_figure(designs, workloads))
    save(figure, path)
