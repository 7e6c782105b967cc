"""Figures of a run: cycles by cause, energy by component, the roofline, buffers and DRAM over time.

A detailed DRAM has one more: its bandwidth and its row hits over time.

Drawn for print: 7 inches wide (the roofline: one column of 3.5), 7 point text. matplotlib is imported by this
room only, and only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.base.errors import ConfigError
from accelsim.report.drawing import FORMATS, lay_out, save, style
from accelsim.report.figure_activity import activity_figure
from accelsim.report.figure_bars import cycles_figure, energy_figure
from accelsim.report.figure_dram import dram_figure
from accelsim.report.figure_roofline import roofline_figure
from accelsim.report.places import make_directory
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: dict[str, Callable[[RunResult], Figure]] = {
    "cycles": cycles_figure,
    "energy": energy_figure,
    "roofline": roofline_figure,
    "activity": activity_figure,
}
"""Name of the file -> who draws it."""

DETAILED: dict[str, Callable[[RunResult], Figure]] = {"dram": dram_figure}
"""Those of runs whose DRAM was detailed."""


def figures_of(result: RunResult) -> list[str]:
    """The figures that this run has."""
    return [*FIGURES, *(DETAILED if result.dram is not None else ())]


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that we do not write.

    Raises
    ------
    ConfigError
    """
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"a figure's format must be one of {', '.join(FORMATS)}, got {name!r}")


def draw(result: RunResult, name: str) -> Figure:
    """One figure (of `figures_of`) as a matplotlib Figure."""
    with style():
        return lay_out({**FIGURES, **DETAILED}[name](result))


def draw_all(result: RunResult, directory: str | Path, formats: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Write every figure into a directory, which is made if need be.

    Parameters
    ----------
    result : RunResult
    directory : str or Path
    formats : sequence of str
        Of "pdf", "svg", "png".

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigError
        Unknown format, or a directory or file that cannot be written.
    """
    check_formats(formats)
    folder = make_directory(Path(directory))
    written = []
    for name in figures_of(result):
        figure = draw(result, name)
        for suffix in formats:
            path = folder / f"{name}.{suffix}"
            save(figure, path)
            written.append(path)
    return written
