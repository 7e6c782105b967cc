"""Design points of a sweep as figures see them: quantities with their units, directions, and Pareto fronts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError, unknown_name

Values = NDArray[np.float64]
_SI = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "\N{MICRO SIGN}"),
       (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))  # fmt: skip
_BINARY = ((2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
LOG_FROM = 8.0
"""Axes whose largest value is more than this many times the smallest are logarithmic."""


class Points(Protocol):
    """A table of design points: what `accelsim.sweep.table.Table` is."""

    rows: list[dict[str, Any]]
    keys: list[str]
    columns: list[str]


@dataclass(frozen=True)
class Quantity:
    """How a column is called on an axis.

    Attributes
    ----------
    column, label, unit : str
        `unit` without prefix; "" for none.
    factor : float
        From the column's own unit to `unit`.
    prefixes : str
        "si", "binary" or "none".
    better : int
        -1: less is better; +1: more; 0: neither.
    """

    column: str
    label: str
    unit: str
    factor: float = 1.0
    prefixes: str = "si"
    better: int = 0


_KNOWN = {
    q.column: q
    for q in (
        Quantity("cycles", "cycles", "cycles", better=-1),
        Quantity("seconds", "latency", "s", better=-1),
        Quantity("energy_pj", "energy", "J", 1e-12, better=-1),
        Quantity("edp", "energy-delay product", "Js", better=-1),
        Quantity("power_w", "mean power", "W", better=-1),
        Quantity("area_mm2", "area", "mm\N{SUPERSCRIPT TWO}", prefixes="none", better=-1),
        Quantity("tops", "throughput", "OPS", 1e12, better=1),
        Quantity("tops_per_watt", "efficiency", "OPS/W", 1e12, better=1),
        Quantity("inferences_per_second", "inferences per second", "1/s", prefixes="none", better=1),
        Quantity("utilization", "MAC utilization", "%", 100.0, "none", better=1),
        Quantity("dram_bytes", "DRAM traffic", "B", prefixes="binary", better=-1),
        Quantity("macs", "MACs", "MACs"),
        Quantity("effectual_macs", "effectual MACs", "MACs"),
        Quantity("peak_macs_per_cycle", "peak MACs per cycle", "MACs/cycle", prefixes="none"),
        Quantity("dram_bytes_per_cycle", "DRAM bytes per cycle", "B/cycle", prefixes="none"),
        Quantity("accuracy", "accuracy", "%", prefixes="none", better=1),
        Quantity("batch", "batch", "inputs", prefixes="none"),
        Quantity("clock_hz", "clock", "Hz"),
    )
}
_SUFFIXES = (
    ("bytes_per_s", "B/s", 1.0, "si"),
    ("_bytes", "B", 1.0, "binary"),
    ("_hz", "Hz", 1.0, "si"),
    ("_ns", "s", 1e-9, "si"),
    ("_pj", "J", 1e-12, "si"),
    ("_mm2", "mm\N{SUPERSCRIPT TWO}", 1.0, "none"),
    ("_bits", "bit", 1.0, "none"),
    ("_nm", "nm", 1.0, "none"),
    ("vdd", "V", 1.0, "none"),
    ("density", "fraction", 1.0, "none"),
    ("rows", "PEs", 1.0, "none"),
    ("cols", "PEs", 1.0, "none"),
    ("lanes", "lanes", 1.0, "none"),
    ("batch", "inputs", 1.0, "none"),
)
_PREFIXED = (("cycles.", "cycles", 1.0, "si"), ("energy_pj.", "J", 1e-12, "si"), ("area_mm2.", "mm2", 1.0, "none"))


def quantity(column: str, values: Sequence[Any] = ()) -> Quantity:
    """What is known of a column: a figure of a run, or a swept key, whose unit its name tells.

    Accuracies that are all at most 1 are fractions, and shown in percent.
    """
    if column == "accuracy" and values and max(values) <= 1:
        return Quantity("accuracy", "accuracy", "%", 100.0, "none", better=1)
    if column in _KNOWN:
        return _KNOWN[column]
    for prefix, unit, factor, prefixes in _PREFIXED:
        if column.startswith(prefix):
            kind = {"cycles.": "cycles", "energy_pj.": "energy", "area_mm2.": "area"}[prefix]
            return Quantity(column, f"{kind}: {column[len(prefix):]}", unit, factor, prefixes, -1)
    for suffix, unit, factor, prefixes in _SUFFIXES:
        if column.endswith(suffix):
            return Quantity(column, column, unit, factor, prefixes)
    return Quantity(column, column, "count" if all(isinstance(v, int) for v in values) else "", prefixes="none")


def edp(row: dict[str, Any]) -> float | None:
    """Energy times latency of a row, in joule seconds."""
    if row.get("energy_pj") is None or row.get("seconds") is None:
        return None
    return float(row["energy_pj"]) * 1e-12 * float(row["seconds"])


_DERIVED: dict[str, Callable[[dict[str, Any]], Any]] = {"edp": edp}
"""Columns that every table has beside its own."""


def cell(row: dict[str, Any], column: str) -> Any:
    """The entry of a row, derived ones too."""
    return _DERIVED[column](row) if column in _DERIVED else row.get(column)


def column_of(table: Points, name: str) -> list[Any]:
    """One entry for each row.

    Raises
    ------
    ConfigError
        No such column (offers the nearest).
    """
    if name not in table.columns and name not in _DERIVED:
        raise unknown_name("column", name, [*table.columns, *_DERIVED])
    return [cell(row, name) for row in table.rows]


def numbers(table: Points, name: str) -> Values:
    """A column of numbers; NaN where there is none.

    Raises
    ------
    ConfigError
        If it holds text, or nothing at all.
    """
    found = column_of(table, name)
    wrong = next((v for v in found if v is not None and not isinstance(v, (int, float))), None)
    if wrong is not None:
        raise ConfigError(f"must hold numbers to be drawn on this axis, got {wrong!r}", f"column {name}")
    values = np.array([np.nan if v is None else float(v) for v in found], np.float64)
    if not np.isfinite(values).any():
        raise ConfigError("has no value in any of these points", f"column {name}")
    return values


def finished(table: Points) -> list[dict[str, Any]]:
    """The rows that have figures.

    Raises
    ------
    ConfigError
        If there are none.
    """
    rows = [row for row in table.rows if row.get("status", "done") == "done"]
    if not rows:
        raise ConfigError("no point of this sweep is done (or --where leaves none), so there is nothing to draw")
    return rows


@dataclass(frozen=True)
class Axis:
    """A quantity in the unit that suits its values: what is divided, and what the axis says."""

    quantity: Quantity
    scale: float
    text: str
    log: bool

    def of(self, values: Values) -> Values:
        """Values of the column as the axis shows them."""
        return values * self.quantity.factor / self.scale


def axis(column: str, values: Values) -> Axis:
    """The axis for these values of a column (NaN are left out)."""
    known = values[np.isfinite(values)]
    whole = [int(v) if float(v).is_integer() else float(v) for v in known]
    q = quantity(column, whole)
    size = np.abs(known[known != 0]) * q.factor
    middle = float(np.sqrt(size.min() * size.max())) if len(size) else 1.0
    table = {"si": _SI, "binary": _BINARY, "none": ((1.0, ""),)}[q.prefixes]
    scale, prefix = next(((s, p) for s, p in table if middle >= s), table[-1])
    if q.unit in ("cycles", "MACs", "count") and prefix:
        unit = {"k": "thousand", "M": "million", "G": "billion"}.get(prefix, f"10^{round(np.log10(scale))}")
        text = f"{q.label} ({unit})" if q.label == q.unit else f"{q.label} ({unit} {q.unit})"
    elif q.label == q.unit or not q.unit:
        text = q.label
    else:
        text = f"{q.label} ({prefix}{q.unit})"
    log = bool(len(size)) and bool((known > 0).all()) and (size.max() / size.min() > LOG_FROM or _geometric(size))
    return Axis(q, scale, text, log)


def _geometric(values: Values) -> bool:
    """Three or more powers of two and nothing else: what a sweep doubles."""
    exponents = np.log2(np.unique(values))
    return len(exponents) > 2 and bool((exponents == np.round(exponents)).all())


def pareto(x: Values, y: Values, better_x: int = -1, better_y: int = -1) -> NDArray[np.int64]:
    """Indices of the points that no other is better than in one and as good as in the other, along x.

    Parameters
    ----------
    x, y : float64 arrays
        NaN never is on the front.
    better_x, better_y : int
        -1: less is better; +1: more.

    Returns
    -------
    int64 array
        From the best x to the best y; of equal points the first.
    """
    a, b = np.asarray(x) * -(better_x or -1), np.asarray(y) * -(better_y or -1)
    usable = np.flatnonzero(np.isfinite(a) & np.isfinite(b))
    order = usable[np.lexsort((usable, b[usable], a[usable]))]
    if not len(order):
        return np.zeros(0, np.int64)
    best_before = np.concatenate(([np.inf], np.minimum.accumulate(b[order])[:-1]))
    return order[b[order] < best_before].astype(np.int64)


def differing(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[str]:
    """The keys that do not have the same value in all rows."""
    return [key for key in keys if len({repr(row.get(key)) for row in rows}) > 1]


def point_name(row: dict[str, Any], keys: Sequence[str], most: int = 60) -> str:
    """A point by the values of some keys: `ws, rows 32, cols 64, bandwidth 8 GB/s`."""
    from accelsim.report.parts import shortened

    texts = []
    for key in keys:
        value = row.get(key)
        named = short_value(key, value)
        texts.append(named if isinstance(value, str) and value else f"{short_key(key)} {named}")
    return shortened(", ".join(texts), most)


_UNITS_IN_NAMES = ("_bytes_per_s", "_per_s", "_bytes", "_hz", "_ns", "_pj", "_mm2", "_bits")


def short_key(key: str) -> str:
    """A dotted key without its room and its unit: `buffers.act.capacity_bytes` -> `act capacity`."""
    parts = key.split(".")
    last = parts[-1]
    for suffix in _UNITS_IN_NAMES:
        last = last.removesuffix(suffix)
    if parts[0] == "buffers" and len(parts) > 2:
        return f"{parts[1].removesuffix('_buffer')} {last}"
    return last.replace("_", " ")


def short_value(key: str, value: Any) -> str:
    """A value with the unit of its key: `8 GB/s`, `64 KiB`; `none` for an empty text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "none" if value in ("", None) else str(value)
    known = quantity(key)
    if known.unit in ("B", "B/s", "Hz", "s", "J"):
        size = value * known.factor
        table = _BINARY if known.prefixes == "binary" else _SI
        scale, prefix = next(((s, p) for s, p in table if abs(size) >= s), table[-1])
        return f"{size / scale:.4g} {prefix}{known.unit}"
    return short_number(value) + (f" {known.unit}" if known.unit in ("V", "nm", "bit") else "")


def short_number(value: Any) -> str:
    """`1e9` -> `1G`, `4096` -> `4096`: for names of points."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if abs(value) < 1e5:
        return str(value) if isinstance(value, int) else f"{value:.4g}"
    scale, prefix = next((s, p) for s, p in _SI if abs(value) >= s)
    return f"{value / scale:.4g}{prefix}"
