"""From one technology node and supply voltage to another.

The rule is that of Stillmaker and Baas, "Scaling equations for the accurate prediction of CMOS
device performance from 180 nm to 7 nm", Integration 58 (2017) 74-81: energy and delay of a gate
are polynomials in the supply voltage for each node (their Table 5), area follows their Table 4.
Between two of their nodes we interpolate on log-log axes. It predicts an inverter: at 7 nm their
own simulated points lie 1.8 times off the polynomials, so treat figures below 16 nm with care.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from accelsim.base.errors import ConfigError
from accelsim.energy.figures import Figure
from accelsim.energy.tableio import loglog, read_table

MIN_NODE_NM = 7.0
MAX_NODE_NM = 90.0
# A supply far above the node's own is outside of any fit; the paper limits each node to its own range.
_OVERDRIVE = 1.5


@functools.cache
def _polynomials(flavour: str) -> dict[float, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Node -> (energy coefficients, delay coefficients), highest power first."""
    table = {}
    for row in read_table("scaling"):
        if row["flavour"] in (flavour, "bulk"):
            energy = tuple(float(row[f"energy_a{i}"]) for i in (2, 1, 0))
            delay = tuple(float(row[f"delay_a{i}"]) for i in (3, 2, 1, 0))
            table[float(row["node_nm"])] = (energy, delay)
    return table


def _horner(coefficients: tuple[float, ...], x: float) -> float:
    total = 0.0
    for coefficient in coefficients:
        total = total * x + coefficient
    return total


def _energy_at(node: float, vdd: float, flavour: str) -> float:
    a2, a1, a0 = _polynomials(flavour)[node][0]
    lowest = -a1 / (2 * a2) if a2 else -a0 / a1
    if vdd <= lowest:
        what = f"supply voltage of {node:g} nm must be above {lowest:.2f} V, where the energy curve turns, got {vdd} V"
        raise ConfigError(what)
    return _horner((a2, a1, a0), vdd)


def _delay_at(node: float, vdd: float, flavour: str) -> float:
    value = _horner(_polynomials(flavour)[node][1], vdd)
    if value <= 0:
        raise ConfigError(f"supply voltage of {node:g} nm: the delay curve does not hold at {vdd} V")
    return value


def _factor(at: Callable[[float, float, str], float], node: float, vdd: float, flavour: str) -> float:
    nodes = sorted(_polynomials(flavour))
    if not nodes[0] <= node <= nodes[-1]:
        raise ConfigError(f"technology node must be {nodes[0]:g} to {nodes[-1]:g} nm, got {node:g}")
    if node in _polynomials(flavour):
        return at(node, vdd, flavour)
    above = next(i for i, n in enumerate(nodes) if n > node)
    pair = nodes[above - 1 : above + 1]
    return loglog(node, pair, [at(n, vdd, flavour) for n in pair])


def energy_factor(node_nm: float, vdd: float, flavour: str = "hp") -> float:
    """Energy of a gate at this node and supply, in the arbitrary unit of the paper's Table 5.

    Raises
    ------
    ConfigError
        For a node outside of 7 to 180 nm, or a supply below the turning point of the fit.
    """
    return _factor(_energy_at, node_nm, vdd, flavour)


def delay_factor(node_nm: float, vdd: float, flavour: str = "hp") -> float:
    """As `energy_factor`, for the delay of a gate; refuses a supply where the fit is not positive."""
    return _factor(_delay_at, node_nm, vdd, flavour)


@functools.cache
def _area_table() -> tuple[list[float], dict[tuple[float, float], float]]:
    table = {}
    for row in read_table("scaling_area"):
        small, large = float(row["from_nm"]), float(row["to_nm"])
        # Two digits say more below 1 than above: take the entries that shrink, and invert them to grow.
        if small <= large:
            table[large, small] = float(row["area_from_over_area_to"])
            table[small, large] = 1 / table[large, small]
    return sorted({node for node, _ in table}), table


def area_ratio(from_nm: float, to_nm: float) -> float:
    """Area at `to_nm` over area at `from_nm` (Table 4; log-log between its nodes)."""
    if from_nm == to_nm:
        return 1.0
    nodes, table = _area_table()
    for node in (from_nm, to_nm):
        if not nodes[0] <= node <= nodes[-1]:
            raise ConfigError(f"technology node must be {nodes[0]:g} to {nodes[-1]:g} nm, got {node:g}")
    columns = [loglog(from_nm, nodes, [table[n, m] for n in nodes]) for m in nodes]
    return loglog(to_nm, nodes, columns)


@functools.cache
def _supplies(device: str) -> tuple[list[float], list[float]]:
    pairs = sorted((float(r["node_nm"]), float(r["vdd_V"])) for r in read_table("voltages") if r["device"] == device)
    return [n for n, _ in pairs], [v for _, v in pairs]


def default_vdd(node_nm: float, device: str = "logic") -> float:
    """The supply of `device` ("logic" or a CACTI device type) at this node; sources in `voltages.csv`.

    Between the listed nodes on log-log axes; outside of them that of the nearest.
    """
    nodes, supplies = _supplies(device)
    return loglog(min(max(node_nm, nodes[0]), nodes[-1]), nodes, supplies)


@dataclass(frozen=True)
class Technology:
    """A target node and supply, to which published figures are scaled.

    Attributes
    ----------
    node_nm : float
    vdd : float
        Supply of logic and wires in volts.
    """

    node_nm: float
    vdd: float

    @classmethod
    def of(cls, node_nm: float, vdd: float | None = None) -> Technology:
        """Check, and fill in the node's own supply.

        Raises
        ------
        ConfigError
            For a node outside of 7 to 90 nm, or a supply for which the scaling rule does not hold.
        """
        if not MIN_NODE_NM <= node_nm <= MAX_NODE_NM:
            raise ConfigError(f"technology node must be {MIN_NODE_NM:g} to {MAX_NODE_NM:g} nm, got {node_nm:g}")
        usual = default_vdd(node_nm)
        chosen = usual if vdd is None else vdd
        if not (math.isfinite(chosen) and 0 < chosen <= _OVERDRIVE * usual):
            what = f"supply voltage at {node_nm:g} nm must be above 0 and at most {_OVERDRIVE * usual:.2f} V, got {vdd}"
            raise ConfigError(what)
        energy_factor(node_nm, chosen)
        return cls(node_nm, chosen)

    def energy_ratio(self, node_nm: float, vdd: float | None = None) -> float:
        """Energy here over energy at (`node_nm`, `vdd`, or that node's own supply)."""
        origin = default_vdd(node_nm) if vdd is None else vdd
        if (node_nm, origin) == (self.node_nm, self.vdd):
            return 1.0
        return energy_factor(self.node_nm, self.vdd) / energy_factor(node_nm, origin)

    def energy(self, value: float, source: str, node_nm: float, vdd: float | None = None, unit: str = "pJ") -> Figure:
        """An energy published at (`node_nm`, `vdd`), scaled to here."""
        origin = default_vdd(node_nm) if vdd is None else vdd
        ratio = self.energy_ratio(node_nm, origin)
        return Figure(value * ratio, unit, source, f"{node_nm:g} nm, {origin:g} V" if ratio != 1 else "")

    def area(self, value_um2: float, source: str, node_nm: float) -> Figure:
        """An area in um2 published at `node_nm`, scaled to here, in mm2."""
        scaled = "" if node_nm == self.node_nm else f"{node_nm:g} nm"
        return Figure(value_um2 * 1e-6 * area_ratio(node_nm, self.node_nm), "mm2", source, scaled)
