"""Figures of networks on chip: how busy each link of a mesh is, and latency over offered traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.noc.model import NocStats
from accelsim.report.drawing import COLUMN_WIDTH, legend_above, new_figure, style
from accelsim.report.parts import BLUE, GREEN, INDIGO, ORANGE, PURPLE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = (
    (BLUE, "-", "o"), (VERMILION, "-", "s"), (GREEN, "-", "^"),
    (ORANGE, "-", "D"), (PURPLE, "-", "v"), (INDIGO, "-", "P"),
)
_OFFSET = 0.13
"""By which the two directions of a link lie beside each other, in distances of routers."""


def link_map_figure(stats: NocStats, title: str) -> Figure:
    """Every link between routers as an arrow, coloured by the share of cycles in which it was busy.

    Parameters
    ----------
    stats : NocStats
        Of a network whose routers have places.
    title : str

    Raises
    ------
    ConfigError
        If the routers have no places to be drawn at.
    """
    from matplotlib.collections import PolyCollection

    if stats.place is None:
        raise ConfigError("a map of links needs a network of routers that have places (a mesh, a torus, a ring)")
    busy = 100.0 * stats.utilisation()
    shapes, values = [], []
    for (source, target), value in zip(stats.links, busy, strict=True):
        if source.startswith("t") or target.startswith("t"):
            continue
        shapes.append(_arrow(stats.place[int(source)], stats.place[int(target)]))
        values.append(value)
    with style():
        figure, axes = new_figure(COLUMN_WIDTH, 2.95)
        drawn = PolyCollection(shapes, array=np.array(values), cmap="cividis_r", edgecolors="none")
        drawn.set_clim(0, max(values, default=1.0) or 1.0)
        axes.add_collection(drawn)
        axes.plot(*stats.place.T, "s", color="#444444", markersize=4.5, linestyle="none")
        axes.set_aspect("equal")
        axes.margins(0.06)
        axes.set_xticks(np.unique(stats.place[:, 0]))
        axes.set_yticks(np.unique(stats.place[:, 1]))
        axes.invert_yaxis()
        axes.set_xlabel("column of routers")
        axes.set_ylabel("row of routers")
        axes.set_title(title, loc="left")
        figure.colorbar(drawn, ax=axes, shrink=0.8, label="link busy (% of cycles)")
        return figure


def _arrow(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """A slender triangle on the right-hand side of the way from a to b, so that both directions are seen."""
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    aside = np.array([-along[1], along[0]])
    begin, end = a + 0.16 * along + _OFFSET * aside, b - 0.16 * along + _OFFSET * aside
    return np.array([begin - 0.09 * aside, begin + 0.09 * aside, end])


@dataclass(frozen=True)
class LatencyLine:
    """One curve: flits offered per node and cycle, mean packet latency (nan: saturated), accepted rate at the end.

    `reference` are (offered, latency) points of another simulator, drawn as crosses.
    """

    name: str
    offered: Sequence[float]
    latency: Sequence[float]
    saturation: float | None = None
    reference: Sequence[tuple[float, float]] = ()


def latency_figure(lines: Sequence[LatencyLine], title: str, reference: str = "") -> Figure:
    """Mean packet latency over offered traffic; a dotted line where the network takes no more.

    Parameters
    ----------
    lines : sequence of LatencyLine
    title : str
    reference : str
        Who made the reference points.
    """
    with style():
        figure, axes = new_figure(COLUMN_WIDTH, 2.6)
        for line, (colour, dash, marker) in zip(lines, _LINES * len(lines), strict=False):
            axes.plot(
                line.offered, line.latency, color=colour, linestyle=dash, marker=marker, markersize=3, label=line.name
            )
            if line.saturation is not None:
                axes.axvline(line.saturation, color=colour, linewidth=0.8, linestyle=":")
        points = [point for line in lines for point in line.reference]
        if points:
            axes.plot(*zip(*points, strict=True), "x", color="black", markersize=5, linestyle="none", label=reference)
        axes.set_xlabel("offered (flits per node and cycle)")
        axes.set_ylabel("mean packet latency (cycles)")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid()
        legend_above(figure, axes, title, room=58)
        return figure
