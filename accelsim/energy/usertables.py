"""Tables from outside: a user's own CSV, Accelergy's energy and area reference tables; counts for Accelergy.

CSV columns: `component, action, energy_pj, source`, and optionally `leakage_mw, area_mm2` (of all
instances; on any row of the component, or on a row without action).

Accelergy's tables (versions 0.3 and 0.4) name instances like `system.chip.pe[0..13].mac`: our component
is the last part, `mac`, and the ranges say how many there are. Of an action listed for several arguments
(such as address and data switching) the most expensive counts. Areas there are um2 of one instance;
an action `leak` is energy of one cycle and instance.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.units import INT63
from accelsim.base.yamlio import MAX_BYTES, Document, KeyPath, dump_yaml, parse_yaml, read_yaml
from accelsim.energy.costs import LEAKAGE, Component, ComponentCosts, CostRow

REQUIRED = ("component", "action", "energy_pj", "source")
OPTIONAL = ("leakage_mw", "area_mm2")
ACCELERGY_VERSIONS = ("0.3", "0.4")
_RANGE = re.compile(r"\[(\d{1,18})(?:\.\.(\d{1,18}))?\]")


@dataclass
class UserTable:
    """Rows that take the place of ours.

    Attributes
    ----------
    origin : str
        The file.
    actions : dict
        component -> action -> CostRow.
    leakage_mw, area_mm2 : dict
        component -> value of all instances.
    strict : bool
        Whether a component that the architecture does not have is an error (ours), or left out (Accelergy's).
    """

    origin: str
    actions: dict[str, dict[str, CostRow]] = field(default_factory=dict)
    leakage_mw: dict[str, float] = field(default_factory=dict)
    area_mm2: dict[str, float] = field(default_factory=dict)
    strict: bool = True

    def components(self) -> list[str]:
        """All components that the table says something of, sorted."""
        return sorted({*self.actions, *self.leakage_mw, *self.area_mm2})

    def replace_in(self, costs: ComponentCosts) -> ComponentCosts:
        """`costs` with these rows in place of its own; actions that it lacks are added.

        Raises
        ------
        ConfigError
            If a component of a strict table, or every component of another, is unknown to `costs`.
        """
        known = set(costs.names())
        ours = [name for name in self.components() if name in known]
        for name in self.components():
            if name not in known and (self.strict or not ours):
                raise unknown_name("component", name, known, self.origin)
        for name in ours:
            old = costs.component(name)
            static = name in self.leakage_mw or name in self.area_mm2
            costs = costs.changed(
                Component(
                    name,
                    {**old.actions, **self.actions.get(name, {})},
                    self.leakage_mw.get(name, old.leakage_mw),
                    self.area_mm2.get(name, old.area_mm2),
                    self.origin if static else old.static_source,
                )
            )
        return costs

    def _add(self, component: str, action: str, energy_pj: float, source: str, where: str) -> None:
        if action == LEAKAGE:
            raise ConfigError(f"{LEAKAGE!r} is not an action; give leakage_mw", where)
        actions = self.actions.setdefault(component, {})
        if action in actions:
            raise ConfigError(f"action {action!r} of component {component!r} is listed twice", where)
        actions[action] = CostRow(energy_pj, source)


def load_user_table(path: Path | str, *, cycle_seconds: float | None = None) -> UserTable:
    """Read a table: `.csv` as ours, `.yaml` or `.yml` as Accelergy's ERT, ART, or both in one file.

    Parameters
    ----------
    path : Path
    cycle_seconds : float, optional
        Clock period, with which Accelergy's `leak` becomes a power; needed unless the file states it.

    Raises
    ------
    ConfigError
        With file, line and key, for anything that is missing, not a number, negative or listed twice.
    """
    path = Path(path)
    if path.suffix == ".csv":
        return _from_csv(path)
    if path.suffix in (".yaml", ".yml"):
        return _from_accelergy(read_yaml(path), cycle_seconds)
    raise ConfigError(f"an energy table must be a .csv or .yaml file, got {path.suffix or 'no suffix'!r}", str(path))


def _number(text: Any, what: str, where: str) -> float:
    try:
        value = math.nan if isinstance(text, bool) else float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{what} must be a finite number >= 0, got {text!r}", where)
    return value


# Our CSV


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"an energy table must be at most {MAX_BYTES} bytes, got {size}", str(path))
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"must be UTF-8 text, but byte {error.start} is not", str(path)) from None


def _from_csv(path: Path) -> UserTable:
    table = UserTable(str(path))
    reader = csv.DictReader(io.StringIO(_read_text(path), newline=""), skipinitialspace=True)
    try:
        _check_header(list(reader.fieldnames or ()), str(path))
        for row in reader:
            _csv_row(table, row, f"{path}:{reader.line_num}")
    except csv.Error as error:
        raise ConfigError(f"not a valid CSV: {error}", f"{path}:{reader.line_num}") from None
    if not table.components():
        raise ConfigError("the table has no rows", str(path))
    return table


def _check_header(columns: list[str], where: str) -> None:
    for name in columns:
        if name not in (*REQUIRED, *OPTIONAL):
            raise unknown_name("column", name, (*REQUIRED, *OPTIONAL), where)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ConfigError(f"must have the columns {', '.join(REQUIRED)}; {', '.join(missing)} missing", where)
    if len(set(columns)) != len(columns):
        raise ConfigError(f"each column must appear once, got {', '.join(columns)}", where)


def _csv_row(table: UserTable, row: dict[str | None, Any], where: str) -> None:
    if None in row or any(value is None for value in row.values()):
        raise ConfigError("the row must have as many fields as the header", where)
    text = {str(key): value.strip() for key, value in row.items()}
    component, action, source = text["component"], text["action"], text["source"]
    if not component or not source:
        raise ConfigError(f"{'component' if not component else 'source'} must not be empty", where)
    if action:
        energy = _number(text["energy_pj"], "energy_pj", where)
        table._add(component, action, energy, source, where)
    elif text["energy_pj"]:
        raise ConfigError("a row with an energy must name an action", where)
    for column, target in (("leakage_mw", table.leakage_mw), ("area_mm2", table.area_mm2)):
        if text.get(column):
            value = _number(text[column], column, where)
            if target.setdefault(component, value) != value:
                raise ConfigError(f"{column} of component {component!r} is given twice, and differs", where)
    if not action and component not in table.components():
        raise ConfigError("the row gives neither an action nor leakage_mw nor area_mm2", where)


# Accelergy


def _from_accelergy(document: Document, cycle_seconds: float | None) -> UserTable:
    data = document.data
    if not isinstance(data, dict) or not set(data) & {"ERT", "ART"}:
        raise ConfigError("must be an Accelergy table: a mapping with the key ERT or ART", document.file)
    table = UserTable(document.file, strict=False)
    for kind in ("ERT", "ART"):
        if kind not in data:
            continue
        version = _get(document, (kind,), "version", (str, int, float))
        if str(version) not in ACCELERGY_VERSIONS:
            known = ", ".join(ACCELERGY_VERSIONS)
            raise ConfigError(f"must be one of {known}, got {version}", document.where((kind, "version")))
        entries = _get(document, (kind,), "tables", (list,))
        seen: dict[str, str] = {}
        source = f"Accelergy {kind} {version}"
        for index in range(len(entries)):
            _accelergy_entry(table, document, (kind, "tables", index), seen, source, cycle_seconds)
    return table


def _get(document: Document, path: KeyPath, key: str, kinds: tuple[type, ...]) -> Any:
    value = document.data
    for part in path:
        value = value[part]
    if not isinstance(value, dict):
        raise ConfigError(f"must be a mapping, got {value!r}", document.where(path))
    if key not in value:
        raise ConfigError(f"key {key!r} is required but missing", document.where(path))
    if not isinstance(value[key], kinds) or isinstance(value[key], bool):
        raise ConfigError(f"has the wrong type, got {value[key]!r}", document.where((*path, key)))
    return value[key]


def split_name(name: str) -> tuple[str, int]:
    """(component, instances) of an Accelergy name: `chip.pe[0..13].mac[0..1]` -> ("mac", 28)."""
    instances = 1
    for first, last in _RANGE.findall(name):
        instances *= int(last) - int(first) + 1 if last else 1
    return _RANGE.sub("", name).rsplit(".", 1)[-1], instances


def _accelergy_entry(
    table: UserTable, document: Document, path: KeyPath, seen: dict[str, str], source: str, cycle_seconds: float | None
) -> None:
    name = _get(document, path, "name", (str,))
    component, instances = split_name(name)
    where = document.where(path)
    if not 1 <= instances <= INT63:
        raise ConfigError(f"ranges must count upwards, to fewer than 2**63 instances, got {name!r}", where)
    if component in seen:
        raise ConfigError(f"{seen[component]!r} and {name!r} are both called {component!r} here", where)
    seen[component] = name
    if path[0] == "ART":
        area = _number(_get(document, path, "area", (int, float, str)), "area", document.where((*path, "area")))
        table.area_mm2[component] = area * 1e-6 * instances
        return
    dearest: dict[str, tuple[float, int]] = {}
    for index in range(len(_get(document, path, "actions", (list,)))):
        here = (*path, "actions", index)
        action = _get(document, here, "name", (str,))
        energy = _number(_get(document, here, "energy", (int, float, str)), "energy", document.where((*here, "energy")))
        if action == "leak":
            power = energy / _cycle(document, here, energy, cycle_seconds) * 1e-9 if energy else 0.0
            table.leakage_mw[component] = power * instances
            continue
        most, variants = dearest.get(action, (0.0, 0))
        dearest[action] = max(most, energy), variants + 1
    for action, (energy, variants) in dearest.items():
        note = f", the most expensive of {variants} variants" if variants > 1 else ""
        table._add(component, action, energy, f"{source}: {name}{note}", where)


def _cycle(document: Document, path: KeyPath, energy: float, cycle_seconds: float | None) -> float:
    if cycle_seconds is not None:
        return cycle_seconds
    entry = document.data
    for part in path:
        entry = entry[part]
    arguments = entry.get("arguments")
    stated = arguments.get("global_cycle_seconds") if isinstance(arguments, dict) else None
    if stated is None:
        what = f"leak of {energy} pJ per cycle needs the clock period: give cycle_seconds"
        raise ConfigError(what, document.where(path))
    value = _number(stated, "global_cycle_seconds", document.where(path))
    if value == 0:
        raise ConfigError("global_cycle_seconds must be above 0, got 0", document.where(path))
    return value


def export_action_counts(counts: Mapping[tuple[str, str], int], system: str = "system", version: str = "0.3") -> str:
    """YAML text in Accelergy's `action_counts` format: components are `{system}.{component}`, in sorted order."""
    local: dict[str, list[dict[str, Any]]] = {}
    for component, action in sorted(counts):
        local.setdefault(component, []).append({"name": action, "counts": int(counts[component, action])})
    parts = [{"name": f"{system}.{name}", "action_counts": actions} for name, actions in local.items()]
    return dump_yaml({"action_counts": {"version": version, "local": parts}})


def parse_action_counts(text: str, name: str = "<text>") -> dict[tuple[str, str], int]:
    """What `export_action_counts` wrote: (component, action) -> count; arguments are summed over.

    Raises
    ------
    ConfigError
        If it is not Accelergy's `local` form.
    """
    document = parse_yaml(text, name)
    counts: dict[tuple[str, str], int] = {}
    if not isinstance(document.data, dict):
        raise ConfigError("must be a mapping with the key action_counts", name)
    _get(document, (), "action_counts", (dict,))
    for index in range(len(_get(document, ("action_counts",), "local", (list,)))):
        path: KeyPath = ("action_counts", "local", index)
        component, _ = split_name(_get(document, path, "name", (str,)))
        for number in range(len(_get(document, path, "action_counts", (list,)))):
            here = (*path, "action_counts", number)
            key = component, _get(document, here, "name", (str,))
            count = _get(document, here, "counts", (int,))
            if count < 0:
                raise ConfigError(f"must be >= 0, got {count}", document.where((*here, "counts")))
            counts[key] = counts.get(key, 0) + count
    return counts
