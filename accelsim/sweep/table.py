"""The table of a sweep: what figures, pages and exports are made of.

    from accelsim.sweep.store import Store
    with Store.open("results.db") as store:
        store.sweeps()                     # [SweepInfo(name, points, done, failed, pending, keys, model_version), ...]
        table = store.table("my_sweep")    # Table; without a name: the store's only sweep, or all of them
    table.keys                             # swept keys, in the sweep's order: ["arch", "engine.rows", ...]
    table.columns                          # names of all flat columns, in the order of the CSV
    table.rows                             # list of dict, one for each job, in the order of the sweep's points
    table.column("energy_pj")              # one column as a list
    table.where("energy_pj < 1e9 and engine.rows >= 16")   # another Table; see `accelsim.base.expr`

Every row has these entries (None where a job has not finished, or failed):

| entry | what |
|---|---|
| `sweep`, `index`, `hash` | name of the sweep, number of the point in it, content hash of the job |
| `status`, `error` | `done`, `failed` or `pending`; the message of a failure, else "" |
| `arch`, `workload`, `recipe` | as the sweep names them; recipe is "" without one |
| swept keys | dotted, as written in the sweep: `engine.rows`, `buffers.act.capacity_bytes`, `options.batch` |
| `cycles`, `seconds`, `macs`, `effectual_macs`, `dram_bytes` | whole run |
| `energy_pj`, `power_w`, `tops`, `tops_per_watt`, `area_mm2`, `inferences_per_second` | whole run |
| `utilization` | MACs over what the PEs could have done |
| `batch`, `clock_hz`, `peak_macs_per_cycle`, `dram_bytes_per_cycle` | what a roofline needs |
| `accuracy` | of workload and recipe: what the sweep's list `accuracy` says, or `evaluate` measured; or None |
| `feasible`, `hypervolume` | searches only: constraints met; hypervolume when this batch of trials had ended |
| `model_version`, `current` | version of the model that made the row; False if this accelsim's is another |
| `trace_hash` | content hash of the trace |
| `cycles_by_cause` | dict: cause -> cycles; sums to `cycles` (None if not done) |
| `energy_pj_by_component` | dict: component -> pJ; sums to `energy_pj` |
| `area_mm2_by_component` | dict: component -> mm2; sums to `area_mm2` |

`columns` leaves the three dicts out and has one flat column for each of their entries instead (`cycles.compute`,
`energy_pj.dram`, `area_mm2.array`), which rows hold as well.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.expr import Expression

NAMES = ("sweep", "index", "status", "error", "arch", "workload", "recipe")
FIGURES = (
    "cycles", "seconds", "energy_pj", "power_w", "area_mm2", "tops", "tops_per_watt", "inferences_per_second",
    "utilization", "macs", "effectual_macs", "dram_bytes", "batch", "clock_hz", "peak_macs_per_cycle",
    "dram_bytes_per_cycle", "accuracy",
)  # fmt: skip
OF_SEARCHES = ("feasible", "hypervolume")
LAST = ("hash", "trace_hash", "model_version", "current")
BREAKDOWNS = {
    "cycles_by_cause": "cycles",
    "energy_pj_by_component": "energy_pj",
    "area_mm2_by_component": "area_mm2",
}
"""Entry of a row -> prefix of the flat columns that it becomes."""


@dataclass(frozen=True)
class SweepInfo:
    """One sweep of a store, at a glance."""

    name: str
    points: int
    done: int
    failed: int
    pending: int
    keys: tuple[str, ...]
    model_version: str
    current: bool


class Table:
    """Rows of one sweep, or of several; see the module's text.

    Parameters
    ----------
    rows : sequence of dict
    keys : sequence of str
        Swept keys, in their order.
    """

    def __init__(self, rows: Iterable[dict[str, Any]], keys: Sequence[str]) -> None:
        self.rows = list(rows)
        self.keys = list(keys)
        parts: dict[str, None] = {}
        for name in BREAKDOWNS:
            for row in self.rows:
                parts.update(dict.fromkeys(flat_names(name, row.get(name))))
        swept = [key for key in self.keys if key not in NAMES]
        searched = [name for name in OF_SEARCHES if any(name in row for row in self.rows)]
        self.columns = [*NAMES, *swept, *FIGURES, *searched, *parts, *LAST]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[Any]:
        """One value for each row.

        Raises
        ------
        ConfigError
            If there is no such column; the nearest are offered.
        """
        if name not in self.columns and name not in BREAKDOWNS:
            raise unknown_name("column", name, [*self.columns, *BREAKDOWNS])
        return [row.get(name) for row in self.rows]

    def where(self, condition: str) -> Table:
        """The rows for which an expression over the columns is true; one that lacks a value it names is left out.

        Raises
        ------
        ConfigError
            If it is no expression, or names what is no column.
        """
        expression = Expression(condition, f"where {condition}")
        for name in expression.names:
            self.column(name)
        kept = []
        for row in self.rows:
            names = {name: row.get(name) for name in expression.names}
            if all(value is not None for value in names.values()) and expression.value(names):
                kept.append(row)
        return Table(kept, self.keys)

    def records(self) -> list[dict[str, Any]]:
        """Rows with the flat columns only."""
        return [{name: row.get(name) for name in self.columns} for row in self.rows]

    def csv_text(self) -> str:
        """The flat columns as CSV, the same bytes for the same results."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow(["" if row.get(name) is None else _cell(row[name]) for name in self.columns])
        return text.getvalue()

    def to_pandas(self) -> Any:
        """The flat columns as a pandas DataFrame (extra `table`).

        Raises
        ------
        ConfigError
            If pandas is missing: says how to install it.
        """
        from accelsim.report.files import need

        return need("pandas").DataFrame(self.records(), columns=self.columns)

    def write(self, path: str | Path) -> None:
        """As CSV, Parquet or JSON by the file's suffix; whole or not at all.

        Raises
        ------
        ConfigError
            Another suffix, or a place that cannot be written.
        """
        from accelsim.report.files import import_pyarrow
        from accelsim.report.places import atomic, write_text

        path = Path(path)
        check_suffix(path)
        if path.suffix == ".csv":
            write_text(path, self.csv_text())
        elif path.suffix == ".json":
            write_text(path, json.dumps(self.records(), indent=1) + "\n")
        else:
            import_pyarrow()
            with atomic(path) as stream:
                self.to_pandas().to_parquet(stream, index=False)


def check_suffix(path: Path) -> None:
    """Refuse a file whose kind is not known."""
    if path.suffix not in (".csv", ".json", ".parquet"):
        raise ConfigError(f"must end in .csv, .parquet or .json, got {path.suffix or 'no suffix'!r}", str(path))


def flat_names(breakdown: str, parts: Mapping[str, Any] | None) -> list[str]:
    """Names of the flat columns of a breakdown."""
    return [f"{BREAKDOWNS[breakdown]}.{part}" for part in parts or ()]


def add_flat(row: dict[str, Any]) -> dict[str, Any]:
    """Put the entries of a row's breakdowns beside the others."""
    for name, prefix in BREAKDOWNS.items():
        for part, value in (row.get(name) or {}).items():
            row[f"{prefix}.{part}"] = value
    return row


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (list, dict)) else value
