"""A number that remembers where it comes from."""

from __future__ import annotations

import math
from typing import NamedTuple

from accelsim.base.errors import SimulationBug


class Figure(float):
    """A cost (an energy, a power, an area) with its unit and its provenance.

    It is a float: use it as one. Arithmetic gives a plain float, so that a provenance never
    sticks to something else.

    Attributes
    ----------
    unit : str
        "pJ", "mW", "mm2", "pJ/bit", "pJ/bit/mm".
    source : str
        Where the figure was published, and what was done to it.
    scaled_from : str
        Node and supply of the published figure, such as "45 nm, 0.9 V"; "" if it was not scaled.
    """

    __slots__ = ("unit", "source", "scaled_from")

    unit: str
    source: str
    scaled_from: str

    def __new__(cls, value: float, unit: str, source: str, scaled_from: str = "") -> Figure:
        if not (math.isfinite(value) and value > 0) or not source:
            raise SimulationBug(f"a cost must be positive and have a source, got {value} {unit} from {source!r}")
        figure = super().__new__(cls, value)
        figure.unit = unit
        figure.source = source
        figure.scaled_from = scaled_from
        return figure

    def __getnewargs__(self) -> tuple[float, str, str, str]:  # type: ignore[override]
        return float(self), self.unit, self.source, self.scaled_from

    def times(self, factor: float, how: str = "") -> Figure:
        """`factor` of these, `how` added to the source."""
        source = f"{self.source}; {how}" if how else self.source
        return Figure(float(self) * factor, self.unit, source, self.scaled_from)


def composed(how: str, *parts: tuple[float, Figure]) -> Figure:
    """The sum of (how many, Figure) pairs of one unit, as one figure whose source names the parts."""
    units = {figure.unit for _, figure in parts}
    if len(units) != 1:
        raise SimulationBug(f"{how}: cannot add {sorted(units)}")
    total = math.fsum(count * float(figure) for count, figure in parts)
    sources = "; ".join(dict.fromkeys(figure.source for _, figure in parts))
    origins = "; ".join(dict.fromkeys(figure.scaled_from for _, figure in parts if figure.scaled_from))
    return Figure(total, units.pop(), f"composed: {how}. {sources}", origins)


class Explanation(NamedTuple):
    """One row of `CostModel.explain()`."""

    component: str
    action: str
    value: float
    unit: str
    node_nm: float
    scaled_from: str
    source: str
