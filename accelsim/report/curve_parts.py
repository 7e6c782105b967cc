"""What curves share: marks of series, axes with units, one reading of what is to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.report.parts import BLUE, GREEN, INDIGO, ORANGE, PURPLE, SKY, VERMILION, WINE, shortened
from accelsim.report.points import Axis, Points, Values, axis, column_of, finished, short_key, short_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INDIGO, WINE)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
GREY = "#8C8C8C"
MOST_SERIES = len(SERIES_COLOURS)


@dataclass
class Choice:
    """What to draw of a table.

    Attributes
    ----------
    x, y : list of str
        Columns; several give several panels.
    series : str
        Column whose values get a colour and a mark each; "" for one series.
    by : list of str
        Breakdowns: cycles, energy, area.
    value : str
        Column that a colour stands for.
    columns : list of str
        Axes of parallel coordinates.
    title : str
    """

    x: list[str] = field(default_factory=list)
    y: list[str] = field(default_factory=list)
    series: str = ""
    by: list[str] = field(default_factory=list)
    value: str = ""
    columns: list[str] = field(default_factory=list)
    title: str = ""


class View:
    """The finished rows of a table, as a table."""

    def __init__(self, table: Points) -> None:
        self.rows = finished(table)
        self.keys = list(table.keys)
        self.columns = list(table.columns)


def numeric_keys(view: Points) -> list[str]:
    """Swept keys that hold numbers, with at least two values."""
    found = []
    for key in view.keys:
        values = {v for v in column_of(view, key) if v is not None}
        if len(values) > 1 and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            found.append(key)
    return found


def groups(view: Points, column: str, others: int = MOST_SERIES) -> list[tuple[str, list[int]]]:
    """(name, rows) for every value of a column, numbers in their order, texts as they come; "" for all in one.

    Raises
    ------
    ConfigError
        More values than there are marks that can be told apart.
    """
    if not column:
        return [("", list(range(len(view.rows))))]
    values = column_of(view, column)
    known = list(dict.fromkeys(values))
    if all(isinstance(value, (int, float)) for value in known):
        known = sorted(known)
    if len(known) > others:
        what = f"has {len(known)} values, and at most {others} can be told apart; narrow it with --where"
        raise ConfigError(what, f"--series {column}")
    return [(_name(column, value), [i for i, v in enumerate(values) if v == value]) for value in known]


def _name(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value or f"no {column}"
    return f"{short_key(column)} {short_value(column, value)}"


def default_series(view: Points, taken: Sequence[str]) -> str:
    """The first swept key that is not on an axis and has two values or more, few enough for colours; else ""."""
    for name in ("workload", "arch", "recipe", *view.keys):
        if name in taken or name not in view.columns:
            continue
        if 1 < len({repr(v) for v in column_of(view, name)}) <= MOST_SERIES:
            return name
    return ""


def set_axis(axes: Axes, which: str, column: str, values: Values, *, log: bool | None = None) -> Axis:
    """Scale and label of an axis; the values that it shows are `Axis.of(values)`."""
    found = axis(column, values)
    logarithmic = found.log if log is None else log
    getattr(axes, f"set_{which}label")(_wrapped(found.text))
    if logarithmic:
        set_log(axes, which, found.of(values))
    return found


def _wrapped(text: str) -> str:
    if len(text) <= 34:
        return text
    head, space, unit = text.rpartition(" (")
    return f"{shortened(head, 40)}\n({unit}" if space and len(text) > 40 else text


def set_log(axes: Axes, which: str, shown: Values) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5, or at powers of two where all values are such."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    known = np.unique(shown[np.isfinite(shown)])
    getattr(axes, f"set_{which}scale")("log")
    line = getattr(axes, f"{which}axis")
    exponents = np.log2(known[known > 0])
    if len(known) <= 10 and len(exponents) and np.allclose(exponents, np.round(exponents)):
        line.set_major_locator(_fixed(known))
        line.set_minor_locator(NullLocator())
    else:
        decades = float(np.log10(known.max() / known.min()))
        subs = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 0.7 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
        line.set_major_locator(LogLocator(base=10, subs=subs, numticks=20))
    line.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    line.set_minor_formatter(NullFormatter())


def _fixed(values: Values) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator([float(v) for v in values])


def title_of(view: Points, choice: Choice, text: str, room: int = 112) -> str:
    """The user's title, or what all points have in common, and what is drawn; lines of at most `room` characters."""
    import textwrap

    if choice.title:
        return "\n".join(textwrap.wrap(choice.title, room))
    common: list[str] = []
    for name, joint in (("workload", ""), ("arch", "on "), ("recipe", "with ")):
        values = {row.get(name) for row in view.rows}
        if len(values) == 1 and (value := values.pop()):
            common.append(f"{joint if common else ''}{shortened(str(value), 40)}")
    head = " ".join(common)
    return "\n".join(textwrap.wrap(f"{head}: {text}" if head else text, room, break_on_hyphens=False)[:3])


def names_of(keys: Sequence[str], most: int = 4) -> str:
    """`cols, bandwidth and 3 more` for people."""
    names = [short_key(key) for key in keys]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return ", ".join(names)
