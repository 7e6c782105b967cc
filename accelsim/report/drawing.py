"""What all figures share: style, size, saving. The same run gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.base.units import si
from accelsim.report.places import atomic
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
TEXT_WIDTH, COLUMN_WIDTH = 7.0, 3.5  # inches

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


@contextmanager
def style() -> Iterator[None]:
    """Our style, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new_figure(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    """A figure of this size in inches, and its axes (see `Figure.subplots`)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**grid)


def lay_out(figure: Figure) -> Figure:
    """Laid out once, and not again for every format; a `$` in a name is a dollar, not mathematics."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and "$" in text.get_text() and "\\mathdefault" not in text.get_text():
            text.set_parse_math(False)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure: Figure, path: Path, dpi: int = 300) -> None:
    """Without date, version or anything else that changes from one time to the next; `dpi` is of PNG files."""
    kind = path.suffix[1:]
    known: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "Producer": "accelsim", "Creator": None},
        "svg": {"Date": None, "Creator": "accelsim"},
        "png": {"Software": "accelsim"},
    }
    with style(), atomic(path) as stream:
        figure.savefig(stream, format=kind, metadata=known[kind], dpi=dpi)


def caption(result: RunResult, text: str) -> str:
    """What ran on what, and one fact."""
    return f"{result.workload} on {result.arch}, batch {result.batch}: {text}"


def legend_above(
    figure: Figure, axes: Axes, title: str, *, room: int = 112, handles: Sequence[tuple[Any, str]] | None = None
) -> None:
    """The title, and under it the legend in as few rows as fit into `room` characters.

    The legend is that of `axes`, or of (handle, label) pairs.
    """
    pairs = list(zip(*axes.get_legend_handles_labels(), strict=True)) if handles is None else list(handles)
    labels = [label for _, label in pairs]
    if not pairs:
        axes.set_title(title, loc="left")
        return
    figure.legend(
        [handle for handle, _ in pairs],
        labels,
        loc="outside upper left",
        ncols=_columns(labels, room),
        title=title,
        title_fontsize=7.5,
        alignment="left",
        handlelength=1.0,
        handleheight=0.8,
        handletextpad=0.4,
        columnspacing=1.1,
        borderaxespad=0.1,
        borderpad=0.2,
        labelspacing=0.35,
    )


def _columns(labels: Sequence[str], room: int) -> int:
    """Columns of the fewest rows that fit; matplotlib fills column by column, the first ones with one more."""
    count = len(labels)
    for rows in range(1, count + 1):
        columns = -(-count // rows)
        high, more = divmod(count, columns)
        starts = [i * high + min(i, more) for i in range(columns + 1)]
        widest = [max(len(label) for label in labels[a:b]) for a, b in zip(starts, starts[1:], strict=False)]
        if sum(widest) + 5 * columns <= room:
            return columns
    return 1


def prefixed(value: float, unit: str) -> str:
    """`si` as axes write it: a real micro sign."""
    return si(value, unit).replace(" u", " \N{MICRO SIGN}")
