"""What a suite expects, what has moved, and why it was allowed to.

`expected.json` holds a flat table for each case: cycles by cause and by layer, DRAM bytes by operand, every action
count, energy by component, area. Integers are compared as they are; energies and areas to 12 significant digits,
since their last bits depend on the machine's mathematical library.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim import __version__
from accelsim.base.errors import ConfigError
from accelsim.bench.cases import EXPECTED, HISTORY
from accelsim.report.places import check_writable, write_text
from accelsim.system.result import RunResult

Value = int | float | str
Table = dict[str, Value]
DIGITS = 12


@dataclass(frozen=True)
class Move:
    """One figure that is not what was expected; None: there was none, or there is none any more."""

    key: str
    old: Value | None
    new: Value | None

    @property
    def percent(self) -> float | None:
        """Change over the old figure."""
        if isinstance(self.old, str) or isinstance(self.new, str) or not self.old or self.new is None:
            return None
        return 100.0 * (self.new - self.old) / abs(self.old)


def measured(result: RunResult) -> Table:
    """All figures of a result that the benchmark watches; totals first, layers last."""
    table: Table = {
        "cycles": result.cycles,
        "dram_bytes": sum(layer.total_dram_bytes for layer in result.layers),
        "energy_pj": _rounded(result.energy_pj),
        "area_mm2": _rounded(sum(result.area_mm2.values())),
        "macs": result.macs,
        "effectual_macs": sum(layer.effectual_macs for layer in result.layers),
    }
    table.update({f"cycles.{cause}": cycles for cause, cycles in result.cycles_by_cause().items() if cycles})
    moved: dict[str, int] = {}
    for layer in result.layers:
        for operand, n_bytes in layer.dram_bytes.items():
            moved[operand] = moved.get(operand, 0) + n_bytes
    table.update({f"dram_bytes.{operand}": n_bytes for operand, n_bytes in moved.items() if n_bytes})
    counts = sorted(result.counts().items())
    table.update({f"count.{component}.{action}": n for (component, action), n in counts if n})
    table.update({f"energy_pj.{name}": _rounded(value) for name, value in result.energy_by_component().items()})
    table.update({f"area_mm2.{name}": _rounded(value) for name, value in result.area_mm2.items()})
    table.update({f"layer.{layer.name}.cycles": layer.cycles for layer in result.layers})
    table["trace"] = result.trace_hash
    return table


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def moves(old: Mapping[str, Value] | None, new: Mapping[str, Value]) -> list[Move]:
    """What differs, in the order of `new`, then what has gone. Without `old`: everything."""
    before = old or {}
    changed = [Move(key, before.get(key), value) for key, value in new.items() if not _same(before.get(key), value)]
    return [*changed, *(Move(key, value, None) for key, value in before.items() if key not in new)]


def _same(old: Value | None, new: Value) -> bool:
    if isinstance(old, float) or isinstance(new, float):
        return isinstance(old, (int, float)) and isinstance(new, (int, float)) and _rounded(old) == _rounded(new)
    return old == new


def read_expected(folder: Path) -> dict[str, Table]:
    """Case -> its table; empty if nothing was ever recorded.

    Raises
    ------
    ConfigError
    """
    path = folder / EXPECTED
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", str(path)) from None
    if not isinstance(data, dict) or not all(_is_table(value) for value in data.values()):
        raise ConfigError("must be a mapping of cases to figures", str(path))
    return data


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(figure, (int, float, str)) and not isinstance(figure, bool) for figure in value.values()
    )


def check_update(folder: Path, reason: str | None) -> str:
    """The reason in one line; refused before any work if there is none, or if nothing can be written.

    Raises
    ------
    ConfigError
    """
    text = " ".join((reason or "").split())
    if not text:
        raise ConfigError("must say why the figures may move, for example 'psums are kept in two banks'", "--reason")
    for name in (EXPECTED, HISTORY):
        check_writable(folder / name)
    return text


def update(
    folder: Path, found: Mapping[str, Table], known: Sequence[str], reason: str, *, date: str | None = None
) -> int:
    """Record new figures, with the reason, date and version, and what they were before.

    Parameters
    ----------
    folder : Path
    found : mapping
        Case -> figures, of the cases that were run.
    known : sequence of str
        All cases of the suite: what is expected of others is dropped.
    reason : str
        See `check_update`.
    date : str, optional
        ISO 8601, UTC; now.

    Returns
    -------
    int
        Cases that moved; with none, nothing is written.
    """
    expected = read_expected(folder)
    gone = [name for name in expected if name not in known]
    moved = {name: changed for name, table in found.items() if (changed := moves(expected.get(name), table))}
    if not moved and not gone:
        return 0
    merged = {name: found.get(name, expected.get(name)) for name in known}
    tables = {name: table for name, table in merged.items() if table is not None}
    entry = {
        "date": date or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": __version__,
        "reason": reason,
        "moved": {name: _summary(expected.get(name), tables[name], changed) for name, changed in moved.items()},
        "dropped": gone,
    }
    history = folder / HISTORY
    before = history.read_text(encoding="utf-8") if history.exists() else ""
    write_text(folder / EXPECTED, json.dumps(tables, indent=1) + "\n")
    write_text(history, before + json.dumps(entry) + "\n")
    return len(moved) + len(gone)


TOTALS = ("cycles", "dram_bytes", "energy_pj", "area_mm2")


def _summary(old: Mapping[str, Value] | None, new: Mapping[str, Value], changed: Sequence[Move]) -> dict[str, Any]:
    """Totals before and after, and how many figures moved."""
    before = old or {}
    totals = {key: [before.get(key), new[key]] for key in TOTALS if not _same(before.get(key), new[key])}
    return {"figures": len(changed), **totals}


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Every update so far, oldest first."""
    path = folder / HISTORY
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", str(path)) from None
