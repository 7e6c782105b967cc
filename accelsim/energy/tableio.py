"""Reading the shipped cost tables (`accelsim/energy/tables/*.csv`): lazily, once, as text and numbers."""

from __future__ import annotations

import csv
import functools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from accelsim.base.errors import SimulationBug

TABLES = Path(__file__).resolve().parent / "tables"

Row = Mapping[str, str]


@functools.cache
def read_table(name: str) -> tuple[Row, ...]:
    """The rows of table `name` (without `.csv`), every field as text."""
    with (TABLES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(MappingProxyType(row) for row in csv.DictReader(file))


def pick(name: str, **fields: object) -> Row:
    """The one row of table `name` whose columns have these values.

    Raises
    ------
    SimulationBug
        If there is no such row, or more than one: the code asks for what is not shipped.
    """
    hits = [row for row in read_table(name) if all(row[key] == str(value) for key, value in fields.items())]
    if len(hits) != 1:
        raise SimulationBug(f"table {name!r} has {len(hits)} rows with {fields}, not one")
    return hits[0]


def constant(item: str) -> tuple[float, str]:
    """(value, source) of a row of `constants.csv`."""
    row = pick("constants", item=item)
    return float(row["value"]), row["source"]


def loglog(x: float, xs: Sequence[float], ys: Sequence[float], linear_ends: bool = False) -> float:
    """y at `x` on the lines through (xs, ys) in log-log space: a power law between two points.

    Exact at the points. Outside of them: with `linear_ends`, in proportion to x from the nearest
    end (cost per bit is constant); without, it refuses.

    Parameters
    ----------
    x : float
        > 0.
    xs, ys : sequences of float
        `xs` ascending, all > 0.
    linear_ends : bool
        What to do outside of `xs`.
    """
    index = bisect_left(xs, x)
    if index < len(xs) and xs[index] == x:
        return ys[index]
    if index in (0, len(xs)):
        if not linear_ends:
            raise SimulationBug(f"{x} lies outside of {xs[0]} to {xs[-1]}")
        end = 0 if index == 0 else -1
        return ys[end] * x / xs[end]
    x0, x1, y0, y1 = xs[index - 1], xs[index], ys[index - 1], ys[index]
    return y0 * math.exp(math.log(y1 / y0) * math.log(x / x0) / math.log(x1 / x0))
