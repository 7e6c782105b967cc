"""`accelsim store`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.sweep import table_outputs, write_table
from accelsim.cli.terminal import say

_MAIN = ("status", "cycles", "seconds", "energy_pj", "area_mm2", "utilization", "dram_bytes")
_ALWAYS_SHOWN = 40
"""Rows that a terminal is given without --limit."""


def command_store(options: argparse.Namespace) -> int:
    """List the sweeps of a store, or query one."""
    from accelsim.sweep.store import Store

    outputs = table_outputs(options)
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"must be at least 1, got {options.limit}", "--limit")
    with Store.open(options.store) as store:
        asked = (options.where, options.sort, options.limit, options.columns, outputs, options.failures, options.forget)
        if options.sweep is None and not any(asked):
            _list(store)
            return 0
        name = _name(store, options)
        if options.forget:
            store.forget(name)
            say(f"{name} is gone from {options.store}")
            return 0
        table = store.table(name)
    if options.failures:
        _failures(table)
        return 0
    table = _chosen(table, options)
    if outputs:
        write_table(table, outputs, False)
    else:
        _print(table, options)
    return 0


def _name(store: Any, options: argparse.Namespace) -> str:
    names = store.names()
    if options.sweep is not None:
        store.check_name(options.sweep)
        return str(options.sweep)
    if len(names) != 1:
        raise ConfigError(f"holds {len(names)} sweeps; say which: {', '.join(names)}", options.store)
    return str(names[0])


def _list(store: Any) -> None:
    from accelsim.report.grid import Column, Grid, show, terminal_width

    sweeps = store.sweeps()
    if not sweeps:
        print("the store is empty")
        return
    columns = [
        Column("sweep", [s.name for s in sweeps], name=True),
        Column("points", [f"{s.points:,}" for s in sweeps]),
        Column("done", [f"{s.done:,}" for s in sweeps]),
        Column("failed", [f"{s.failed:,}" for s in sweeps]),
        Column("pending", [f"{s.pending:,}" for s in sweeps]),
        Column("made by", [s.model_version + ("" if s.current else " (older)") for s in sweeps], name=True),
        Column("keys", [" ".join(s.keys) for s in sweeps], name=True),
    ]
    show(Grid("", columns, has_total=False).lines(terminal_width(sys.stdout)), sys.stdout)


def _chosen(table: Any, options: argparse.Namespace) -> Any:
    from accelsim.sweep.table import Table

    if options.where:
        table = table.where(options.where)
    rows = table.rows
    if options.sort:
        values = dict(zip(map(id, rows), table.column(options.sort), strict=True))
        rows = [row for row in rows if values[id(row)] is not None]
        try:
            rows.sort(key=lambda row: values[id(row)], reverse=options.reverse)
        except TypeError:
            raise ConfigError("this column holds both text and numbers", f"--sort {options.sort}") from None
    rows = rows[: options.limit] if options.limit else rows
    chosen = Table(rows, table.keys)
    # rows that are left may have fewer breakdowns; a file has the columns of the whole sweep
    chosen.columns = table.columns
    if options.columns:
        names = [name.strip() for name in options.columns.split(",")]
        for name in names:
            chosen.column(name)
        chosen.columns = names
    return chosen


def _print(table: Any, options: argparse.Namespace) -> None:
    from accelsim.report.grid import Column, Grid, show, terminal_width

    if not table.rows:
        print("no rows")
        return
    shown = table.rows if options.limit else table.rows[:_ALWAYS_SHOWN]
    if options.columns:
        names = table.columns
    else:
        swept = [key for key in table.keys if key in table.columns]
        searched = [name for name in ("feasible",) if name in table.columns]
        names = ["index", *swept, *searched, *(name for name in _MAIN if name not in swept)]
    columns = []
    for name in names:
        cells = [_cell(row.get(name)) for row in shown]
        text = any(isinstance(row.get(name), str) for row in shown)
        columns.append(Column(name, cells, name=text))
    show(Grid("", columns, has_total=False).lines(terminal_width(sys.stdout)), sys.stdout)
    old = sum(row["current"] is False for row in table.rows)
    if old:
        say(f"{old:,} of {len(table):,} rows were made by another version of the model; the same sweep runs them again")
    if len(shown) < len(table):
        say(f"{len(table) - len(shown):,} more rows (--limit, --where, --csv)")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _failures(table: Any) -> None:
    failed = [row for row in table.rows if row["status"] == "failed"]
    found: dict[str, list[Any]] = {}
    for row in failed:
        found.setdefault(row["error"], []).append(row)
    for error, rows in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"{len(rows):,} point{'s' * (len(rows) != 1)}: {error}")
        for row in rows[:3]:
            print("    " + ", ".join(f"{key}={row.get(key)}" for key in table.keys))
    if not failed:
        print("no point failed")
