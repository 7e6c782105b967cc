"""What the command line understands of sweeps and their store."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

_SWEEP = """
examples:
  accelsim sweep arrays.yaml --dry-run              how many points, and how long it will take
  accelsim sweep arrays.yaml                        results go to arrays.db; killed or not, run it again to go on
  accelsim sweep arrays.yaml --store all.db --workers 8
  accelsim sweep arrays.yaml --cluster tcp://head:8786
  accelsim sweep arrays.yaml --csv arrays.csv
  accelsim store arrays.db --sort energy_pj --limit 10

A sweep file:
  arch: systolic_ws_32              or a list of names or files; so for workload and recipe
  workload: resnet18
  set: {dram.fidelity: bandwidth}   for all points
  sweep:
    engine.rows: {powers_of_two: [8, 64]}
    engine.dataflow: [ws, os]
    dram.bandwidth_bytes_per_s: {log: [2e9, 64e9], count: 6}
  derive: {engine.cols: engine.rows}
  constraints: ["engine.rows * engine.cols <= 4096"]
docs/sweeps.md has the rest: samples, options of workloads, recipes, searches.

Points that cannot be simulated are rows with a message and do not stop the sweep: it then ends with 1.
"""

_STORE = """
examples:
  accelsim store arrays.db                                    the sweeps that it holds
  accelsim store arrays.db arrays                             the table of one
  accelsim store arrays.db arrays --where "area_mm2 < 10 and engine.rows >= 16" --sort energy_pj --limit 20
  accelsim store arrays.db arrays --columns engine.rows,cycles,energy_pj,energy_pj.dram
  accelsim store arrays.db arrays --csv arrays.csv --parquet arrays.parquet
  accelsim store arrays.db arrays --failures                  messages, and how many points have each
  accelsim store arrays.db arrays --forget

Without --columns the terminal shows the swept keys and the main figures; files hold every column.
"""


def add_sweep(commands: Any, command: Callable[[Any, str, str, str], argparse.ArgumentParser]) -> None:
    """Add these commands; `command(commands, name, help, epilog)` makes a parser."""
    p = command(commands, "sweep", "simulate a whole design space, or search it", _SWEEP)
    p.add_argument("sweep", metavar="SWEEP", help="a YAML file")
    p.add_argument("--store", metavar="FILE", help="where results are kept (default: SWEEP.db in this directory)")
    p.add_argument("--workers", type=int, metavar="N", help="processes; 0: this one (default: one for each processor)")
    p.add_argument(
        "--cluster", metavar="ADDRESS",
        help="a Dask scheduler (tcp://host:port), or local to start one here (extra: pip install 'accelsim[dask]')",
    )  # fmt: skip
    p.add_argument("--dry-run", action="store_true", help="count points and estimate the time; keep nothing")
    p.add_argument("--retry-failed", action="store_true", help="run points again that failed before")
    _add_files(p)
    p.add_argument("--quiet", action="store_true", help="print nothing but failures")

    p = command(commands, "store", "query and export results of sweeps", _STORE)
    p.add_argument("store", metavar="STORE", help="file of a store")
    p.add_argument("sweep", nargs="?", metavar="SWEEP", help="name of a sweep (may be left out if there is one)")
    p.add_argument("--where", metavar="EXPR", help="only rows for which this is true")
    p.add_argument("--sort", metavar="COLUMN", help="least first")
    p.add_argument("--reverse", action="store_true", help="greatest first")
    p.add_argument("--limit", type=int, metavar="N", help="only so many rows")
    p.add_argument("--columns", metavar="A,B,...", help="only these columns")
    p.add_argument("--failures", action="store_true", help="print what went wrong, with an example of each")
    p.add_argument("--forget", action="store_true", help="drop the sweep, and results that no other has")
    _add_files(p)


def _add_files(p: argparse.ArgumentParser) -> None:
    p.add_argument("--csv", metavar="FILE", help="the table: one row for each point")
    p.add_argument("--parquet", metavar="FILE", help="the same (extra: pip install 'accelsim[table]')")
    p.add_argument("--json", metavar="FILE", help="the same")
