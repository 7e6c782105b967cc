"""Figures of a run: cycles by cause, energy by component, the roofline, buffers and DRAM over time.

Drawn for print: 7 inches wide (the roofline: one column of 3.5), 7 point text, vector formats by default.
The same run gives the same bytes. The only room that imports matplotlib, and only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.base.errors import ConfigError
from accelsim.base.units import si
from accelsim.report.files import atomic, make_directory
from accelsim.report.parts import (
    CAUSE_COLOURS,
    CAUSE_LABELS,
    common_prefix,
    component_colours,
    components,
    shortened,
)
from accelsim.sim.passes import ATTRIBUTION, INTERNAL
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
TEXT_WIDTH, COLUMN_WIDTH = 7.0, 3.5  # inches
LABELLED = 45
"""Most layers whose names stand under the bars; of more, groups of layers are named."""

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that it looks the same everywhere
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "accelsim",
    "text.usetex": False,
}


def draw_all(result: RunResult, directory: str | Path, formats: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Write every figure into a directory, which is made if need be.

    Parameters
    ----------
    result : RunResult
    directory : str or Path
    formats : sequence of str
        Of FORMATS.

    Returns
    -------
    list of Path

    Raises
    ------
    ConfigError
        Unknown format, or a directory or file that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"a figure's format must be one of {', '.join(FORMATS)}, got {name!r}")
    folder = make_directory(Path(directory))
    written = []
    for name, draw in FIGURES.items():
        figure = styled(draw, result)
        for suffix in formats:
            path = folder / f"{name}.{suffix}"
            _save(figure, path)
            written.append(path)
    return written


def styled(draw: Callable[[RunResult], Figure], result: RunResult) -> Figure:
    """`draw(result)` in our style, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        return draw(result)


def _save(figure: Figure, path: Path) -> None:
    """Without the date, the producer's version or anything else that changes."""
    import matplotlib

    metadata = {
        "pdf": {"CreationDate": None, "Producer": "accelsim", "Creator": None},
        "svg": {"Date": None, "Creator": "accelsim"},
        "png": {"Software": "accelsim"},
    }[path.suffix[1:]]
    with matplotlib.rc_context(), atomic(path) as stream:
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure.savefig(stream, format=path.suffix[1:], metadata=metadata, bbox_inches="tight", pad_inches=0.03)


def _figure(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(**grid)
    return figure, axes


def _title(axes: Axes, result: RunResult, text: str) -> None:
    axes.set_title(f"{result.workload} on {result.arch}, batch {result.batch}: {text}", loc="left")


# --- bars over layers ---


def cycles_figure(result: RunResult) -> Figure:
    """Cycles of each layer, stacked by cause; the legend says each cause's share."""
    by_cause = result.cycles_by_cause()
    shown = [cause for cause in ATTRIBUTION if by_cause[cause]]
    series = [
        (
            f"{CAUSE_LABELS[cause]} {_share(by_cause[cause], result.cycles)}",
            CAUSE_COLOURS[cause],
            "////" if cause in INTERNAL else "",
            [layer.cycles_by_cause[cause] for layer in result.layers],
        )
        for cause in shown
    ]
    figure, axes = _figure(TEXT_WIDTH, 2.4)
    _bars(axes, result, series, "cycles")
    _title(axes, result, f"{result.cycles:,} cycles, {si(result.seconds, 's')}")
    _legend(figure, axes, "running, or waiting for" if len(shown) > 2 else "")
    return figure


def energy_figure(result: RunResult) -> Figure:
    """Energy of each layer, stacked by component; the legend says each component's share."""
    total = result.energy_by_component()
    colours = component_colours(result)
    series = [
        (
            f"{name} {_share(total[name], result.energy_pj)}",
            colours[name],
            "",
            [layer.energy_pj.get(name, 0.0) * 1e-12 for layer in result.layers],
        )
        for name in components(result)
    ]
    figure, axes = _figure(TEXT_WIDTH, 2.4)
    _bars(axes, result, series, "energy", "J")
    _title(axes, result, f"{si(result.energy_pj * 1e-12, 'J')}, {result.tops_per_watt:.3g} TOPS/W")
    _legend(figure, axes, "")
    return figure


def _share(part: float, total: float) -> str:
    share = 100 * part / total if total else 0.0
    return f"{share:.0f} %" if share >= 9.95 else f"{share:.1f} %" if share >= 0.05 else "<0.1 %"


def _bars(
    axes: Axes, result: RunResult, series: Sequence[tuple[str, str, str, Sequence[float]]], what: str, unit: str = ""
) -> None:
    """Stacked bars, one for each layer, with names or groups of names under them."""
    import numpy as np
    from matplotlib.ticker import EngFormatter

    count = len(result.layers)
    x = np.arange(count)
    width = 0.8 if count <= LABELLED else 1.0
    floor = np.zeros(count)
    for label, colour, hatch, values in series:
        height = np.asarray(values, np.float64)
        edge = "white" if hatch else colour
        axes.bar(x, height, width, floor, color=colour, edgecolor=edge, linewidth=0, hatch=hatch, label=label)
        floor += height
    top = float(floor.max()) or 1.0
    axes.set_ylim(0, top * 1.04)
    axes.set_xlim(-0.6, count - 0.4)
    axes.yaxis.set_major_formatter(EngFormatter(unit=unit, sep="\N{NO-BREAK SPACE}" if unit else ""))
    axes.set_ylabel(f"{what} of a layer")
    axes.grid(axis="y")
    _name_layers(axes, [layer.name for layer in result.layers])


def _name_layers(axes: Axes, names: Sequence[str]) -> None:
    """Names under few bars; under many, brackets with what the names of neighbours have in common."""
    count = len(names)
    start = len(common_prefix(names))
    if count <= LABELLED:
        axes.set_xticks(range(count), [shortened(name[start:], 20) for name in names], rotation=90)
        axes.tick_params(axis="x", length=0, pad=1, labelsize=6.5 if count <= 32 else 5.5)
        return
    groups = _groups([name[start:] for name in names])
    axes.set_xlabel("layer, in order of execution")
    if len(groups) > 40 or len(groups) < 2:
        return
    axes.xaxis.set_major_locator(_no_ticks())
    for i, (label, first, last) in enumerate(groups):
        if i % 2:
            axes.axvspan(first - 0.5, last + 0.5, color="#F0F0F0", linewidth=0, zorder=0)
        wide = (last - first + 1) / count * 6.0 > 0.062 * len(label)  # inches under the bars, inches of text
        axes.text(
            (first + last) / 2, -0.02, shortened(label, 18), transform=axes.get_xaxis_transform(),
            ha="center", va="top", rotation=0 if wide else 90, fontsize=6 if wide else 5.5,
        )
    axes.xaxis.labelpad = 2 + 3.4 * max((len(shortened(g, 18)) for g, a, b in groups if not _wide(g, a, b, count)), default=2)


def _wide(label: str, first: int, last: int, count: int) -> bool:
    return (last - first + 1) / count * 6.0 > 0.062 * len(label)


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _groups(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of names with the same first part (up to '.' or '/'): (part, first index, last index)."""
    found: list[tuple[str, int, int]] = []
    for i, name in enumerate(names):
        part = name.replace("/", ".").split(".")[0]
        if found and found[-1][0] == part:
            found[-1] = (part, found[-1][1], i)
        else:
            found.append((part, i, i))
    return found


def _legend(figure: Figure, axes: Axes, title: str) -> None:
    """Below the title, above the bars: one row if it fits."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 1
    room = 118  # characters of a row
    for columns in range(len(labels), 0, -1):
        rows = [labels[i::1] for i in range(0)] or [labels[i : i + columns] for i in range(0, len(labels), columns)]
        widest = [max(len(row[c]) for row in rows if c < len(row)) for c in range(columns)]
        if sum(widest) + 5 * columns <= room:
            break
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, title=title or None, alignment="left",
        handlelength=1.0, handleheight=0.8, handletextpad=0.4, columnspacing=1.1, borderaxespad=0.1,
    )


FIGURES: dict[str, Callable[[RunResult], Figure]] = {
    "cycles": cycles_figure,
    "energy": energy_figure,
}
