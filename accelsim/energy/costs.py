"""The costs of one architecture, and what its action counts come to.

Energy = sum over (component, action) of count x cost, plus leakage power x time. A count without a
cost is an error, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from accelsim.base.errors import ConfigError, SimulationBug, nearest

LEAKAGE = "leakage"


@dataclass(frozen=True)
class CostRow:
    """What one action costs.

    Attributes
    ----------
    energy_pj : float
        >= 0; zero only where a user's table says so.
    source : str
    """

    energy_pj: float
    source: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.energy_pj) and self.energy_pj >= 0) or not self.source:
            raise SimulationBug(f"an action needs a finite energy and a source, got {self}")


@dataclass(frozen=True)
class Component:
    """One component: its actions, and what all its instances leak and cover.

    Attributes
    ----------
    name : str
        As in action counts: "mac", "dram", the name of a buffer.
    actions : mapping of str to CostRow
    leakage_mw, area_mm2 : float
        Of all instances together.
    static_source : str
        Where these two come from; needed if they are not zero.
    """

    name: str
    actions: Mapping[str, CostRow]
    leakage_mw: float = 0.0
    area_mm2: float = 0.0
    static_source: str = ""

    def __post_init__(self) -> None:
        for what, value in (("leakage", self.leakage_mw), ("area", self.area_mm2)):
            if not (math.isfinite(value) and value >= 0):
                raise SimulationBug(f"{what} of {self.name} must be finite and >= 0, got {value}")
        if (self.leakage_mw or self.area_mm2) and not self.static_source:
            raise SimulationBug(f"leakage and area of {self.name} need a source")
        if LEAKAGE in self.actions:
            raise SimulationBug(f"{self.name}: {LEAKAGE!r} is not an action")

    def joined(self, other: Component) -> Component:
        """Both halves of one component; an action belongs to one of them only."""
        both = set(self.actions) & set(other.actions)
        if both:
            raise SimulationBug(f"{self.name} has two costs for {sorted(both)}")
        sources = "; ".join(dict.fromkeys(s for s in (self.static_source, other.static_source) if s))
        return Component(
            self.name, {**self.actions, **other.actions},
            self.leakage_mw + other.leakage_mw, self.area_mm2 + other.area_mm2, sources,
        )


@dataclass(frozen=True)
class EnergyRow:
    """Energy of one (component, action); for leakage the action is "leakage" and the count 0."""

    component: str
    action: str
    count: int
    energy_pj: float


@dataclass(frozen=True)
class EnergyReport:
    """Energy of a layer or a run.

    Attributes
    ----------
    rows : tuple of EnergyRow
        Dynamic energy in the order of (component, action), then leakage in the order of components.
    seconds : float
        For which leakage was paid.
    """

    rows: tuple[EnergyRow, ...]
    seconds: float
    _by_component: dict[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sums: dict[str, float] = {}
        for row in self.rows:
            sums[row.component] = sums.get(row.component, 0.0) + row.energy_pj
        object.__setattr__(self, "_by_component", sums)
        parts, total = math.fsum(sums.values()), self.total_pj
        if not math.isclose(parts, total, rel_tol=1e-12, abs_tol=1e-12):
            raise SimulationBug(f"energy by component sums to {parts} pJ, by action to {total} pJ")

    @property
    def total_pj(self) -> float:
        """Everything."""
        return sum((row.energy_pj for row in self.rows), 0.0)

    @property
    def leakage_pj(self) -> float:
        """The static part."""
        return sum((row.energy_pj for row in self.rows if row.action == LEAKAGE), 0.0)

    @property
    def dynamic_pj(self) -> float:
        """The part that actions cause."""
        return sum((row.energy_pj for row in self.rows if row.action != LEAKAGE), 0.0)

    @property
    def power_w(self) -> float:
        """Mean power; 0 for no time."""
        return self.total_pj * 1e-12 / self.seconds if self.seconds else 0.0

    def by_component(self) -> dict[str, float]:
        """Component -> pJ, leakage included."""
        return dict(self._by_component)

    def by_action(self) -> dict[tuple[str, str], float]:
        """(component, action) -> pJ; leakage under (component, "leakage")."""
        return {(row.component, row.action): row.energy_pj for row in self.rows}

    @classmethod
    def total(cls, reports: Iterable[EnergyReport]) -> EnergyReport:
        """The sum of several, such as of all layers, in their order."""
        counts: dict[tuple[str, str], int] = {}
        energy: dict[tuple[str, str], float] = {}
        seconds = 0.0
        for report in reports:
            seconds += report.seconds
            for row in report.rows:
                key = row.component, row.action
                counts[key] = counts.get(key, 0) + row.count
                energy[key] = energy.get(key, 0.0) + row.energy_pj
        order = sorted(energy, key=lambda key: (key[1] == LEAKAGE, key))
        return cls(tuple(EnergyRow(*key, counts[key], energy[key]) for key in order), seconds)


class ComponentCosts:
    """(component, action) -> CostRow for one architecture.

    Parameters
    ----------
    components : iterable of Component
        Two of one name are joined: their actions must differ, their leakage and area add up.
    """

    def __init__(self, components: Iterable[Component]) -> None:
        self._components: dict[str, Component] = {}
        for part in components:
            known = self._components.get(part.name)
            self._components[part.name] = part if known is None else known.joined(part)

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components[name] for name in sorted(self._components))

    def __len__(self) -> int:
        return len(self._components)

    def names(self) -> list[str]:
        """All components, sorted."""
        return sorted(self._components)

    def component(self, name: str) -> Component:
        """One component.

        Raises
        ------
        ConfigError
            If the architecture has no cost for it.
        """
        if name not in self._components:
            raise ConfigError(_missing(f"no costs for component {name!r}", name, self._components))
        return self._components[name]

    def row(self, component: str, action: str) -> CostRow:
        """What one action costs.

        Raises
        ------
        ConfigError
            If there is no such row: names the rows that exist.
        """
        actions = self.component(component).actions
        if action not in actions:
            what = f"no energy for action {action!r} of component {component!r}"
            raise ConfigError(_missing(what, action, actions))
        return actions[action]

    def rows(self) -> list[tuple[str, str, float, str]]:
        """(component, action, energy in pJ, source), sorted."""
        names = self.names()
        return [
            (name, action, row.energy_pj, row.source)
            for name in names
            for action, row in sorted(self._components[name].actions.items())
        ]

    def leakage_mw(self) -> dict[str, float]:
        """Component -> mW, in the order of names."""
        return {name: self._components[name].leakage_mw for name in self.names()}

    def area_mm2(self) -> dict[str, float]:
        """Component -> mm2, in the order of names; components off the chip have 0."""
        return {name: self._components[name].area_mm2 for name in self.names()}

    def apply(self, counts: Mapping[tuple[str, str], int], seconds: float) -> EnergyReport:
        """Price `counts`, and leakage for `seconds`.

        Float64 sums in a fixed order, so that the same counts give the same bits.

        Raises
        ------
        ConfigError
            For a count without a cost.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise SimulationBug(f"energy is for a time >= 0, got {seconds} s")
        rows = []
        for component, action in sorted(counts):
            count = counts[component, action]
            if count < 0:
                raise SimulationBug(f"count of {component}.{action} must be >= 0, got {count}")
            rows.append(EnergyRow(component, action, count, count * self.row(component, action).energy_pj))
        for name in self.names():
            power = self._components[name].leakage_mw
            if power:
                rows.append(EnergyRow(name, LEAKAGE, 0, power * seconds * 1e9))
        return EnergyReport(tuple(rows), seconds)

    def changed(self, component: Component) -> ComponentCosts:
        """A copy in which `component` takes the place of the one of its name."""
        parts = {**self._components, component.name: component}
        return ComponentCosts(parts.values())

    def with_rows(self, name: str, actions: Mapping[str, CostRow]) -> ComponentCosts:
        """A copy in which these actions of `name` cost this."""
        known = self.component(name)
        return self.changed(replace(known, actions={**known.actions, **actions}))


def _missing(what: str, name: str, known: Iterable[str]) -> str:
    have = sorted(known)
    close = nearest(name, have)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{what}{hint} (there are: {', '.join(have) or 'none'})"
