"""What the command line understands of many results: bench, compare, plot, report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

_BENCH = """
examples:
  accelsim bench                              every case: what moved against the recorded figures, and by how much
  accelsim bench 'quick_*' resnet50_tpu       only these
  accelsim bench --update --reason "psums of a fold are now added in the buffer"
  accelsim bench --history                    every recorded change with its date, version and reason
  accelsim bench --speed                      what the simulator itself costs, in ratios to a reference kernel
  accelsim bench --speed --record             and keep it

A suite is a folder with cases.yaml, expected.json and history.jsonl; the shipped one is benchmarks/regression.
Cycles, bytes and counts must be equal, energies and areas to 12 digits. Ends with 1 if a figure moved, a case
cannot be run, or (--speed) a case takes more than 1.5 times its recorded ratio.
"""


def add_results(commands: Any, command: Callable[[Any, str, str, str], argparse.ArgumentParser]) -> None:
    """Add these commands; `command(commands, name, help, epilog)` makes a parser."""
    p = command(commands, "bench", "run the regression benchmark, or measure the simulator's own speed", _BENCH)
    p.add_argument("cases", nargs="*", metavar="CASE", help="names or globs of cases (default: all)")
    p.add_argument("--suite", metavar="DIR", help="folder of another suite (default: the shipped one)")
    p.add_argument("--list", action="store_true", help="print the cases and what each watches")
    p.add_argument("--history", action="store_true", help="print what was recorded when, and why")
    p.add_argument("--update", action="store_true", help="record the figures of these cases as expected")
    p.add_argument("--reason", metavar="TEXT", help="why they may move; required with --update, and kept")
    p.add_argument("--all", action="store_true", help="print every figure that moved, not the first twelve of a case")
    p.add_argument("--json", metavar="FILE", help="write what was measured")
    p.add_argument("--speed", action="store_true", help="measure CPU time, memory and events of the simulator")
    p.add_argument("--record", action="store_true", help="add these speeds to the history")
    p.add_argument("--runs", type=int, default=5, metavar="N", help="runs of which the median is taken (default: 5)")
    p.add_argument("--quiet", action="store_true", help="print only what moved")
