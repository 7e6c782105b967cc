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
  accelsim bench --speed --record --reason "tiles of a layer are scored in numpy"        and keep it

A suite is a folder with cases.yaml, expected.json and history.jsonl; the shipped one is benchmarks/regression.
Cycles, bytes and counts must be equal, energies and areas to 12 digits. Ends with 1 if a figure moved, a case
cannot be run, or (--speed) a case takes more than 1.5 times its recorded ratio.
"""

_COMPARE = """
examples:
  accelsim compare tpu_v1 systolic_ws_32 --workload resnet18
  accelsim compare systolic_ws_32 systolic_os_32 systolic_is_32 --workload resnet18 --workload mobilenet_v2
  accelsim compare tpu_v1:engine.rows=128,engine.cols=128 tpu_v1 --workload vgg16
  accelsim compare tpu_v1+int8 tpu_v1+nm_2_4_int8 --workload resnet18       two recipes on one architecture
  accelsim compare tpu_v1 systolic_ws_32 --recipe none --recipe int8 --workload lenet5 --figure side_by_side.pdf

A design is ARCH, ARCH+RECIPE, ARCH:KEY=VALUE,KEY=VALUE or ARCH+RECIPE:KEY=VALUE. What is equal and what differs
(technology, area, bandwidth, multipliers, buffers, precision) stands above the table; speedup and energy gain are
relative to the first design, above 1 is better. --set KEY=VALUE changes every design, to make them equal in something.
"""

_PLOT = """
kinds, and what they take by default:
  pareto      energy over latency, area and (if known) accuracy: all points, the front, its ends and its knee
  lines       latency and energy over the first swept number, a line for each value of --series
  scaling     speedup and efficiency over --x (peak MACs per cycle), with the ideal
  breakdown   cycles by cause and energy by component (--by), stacked, a bar for each point (at most 40)
  roofline    the roof of every design, and its runs under it
  heatmap     --value over two keys (--x, --y); the best is framed
  parallel    a line for each point across its keys and figures (--columns A,B,C), coloured by --value

examples:
  accelsim plot results.db pareto -o front.pdf -o front.png
  accelsim plot results.db pareto --x area_mm2 --y seconds --series engine.dataflow
  accelsim plot results.db lines --x engine.rows --y energy_pj --y edp --where "engine.cols == 32"
  accelsim plot results.db breakdown --by energy --where "index < 8"
  accelsim plot results.db heatmap --x engine.rows --y engine.cols --value edp

Columns are those of `accelsim sweep ... --csv`: swept keys, seconds, energy_pj, area_mm2, tops, utilization, accuracy,
dram_bytes, ..., and edp. Figures are for print: vector files are .pdf or .svg; colours can be told apart by
colour-blind readers, and every series has a mark of its own.
"""

_REPORT = """
examples:
  accelsim report results.db -o report.html
  accelsim report results.db --sweep arrays --where "area_mm2 < 4" -o small.html

One file that needs no network: a scatter of all points with their Pareto front, whose axes can be chosen and whose
points open their breakdown, and a table that sorts and filters.
"""


def add_results(commands: Any, command: Callable[[Any, str, str, str], argparse.ArgumentParser]) -> None:
    """Add these commands; `command(commands, name, help, epilog)` makes a parser."""
    p = command(commands, "bench", "run the regression benchmark, or measure the simulator's own speed", _BENCH)
    p.add_argument("cases", nargs="*", metavar="CASE", help="names or globs of cases (default: all)")
    p.add_argument("--suite", metavar="DIR", help="folder of another suite (default: the shipped one)")
    p.add_argument("--list", action="store_true", help="print the cases and what each watches")
    p.add_argument("--history", action="store_true", help="print what was recorded when, and why")
    p.add_argument("--update", action="store_true", help="record the figures of these cases as expected")
    p.add_argument("--reason", metavar="TEXT", help="why they may move; required with --update, kept with --record too")
    p.add_argument("--all", action="store_true", help="print every figure that moved, not the first twelve of a case")
    p.add_argument("--json", metavar="FILE", help="write what was measured")
    p.add_argument("--speed", action="store_true", help="measure CPU time, memory and events of the simulator")
    p.add_argument("--record", action="store_true", help="add these speeds to the history")
    p.add_argument("--runs", type=int, default=5, metavar="N", help="runs of which the median is taken (default: 5)")
    p.add_argument("--quiet", action="store_true", help="print only what moved")

    p = command(commands, "compare", "set architectures or recipes side by side on the same workloads", _COMPARE)
    p.add_argument("designs", nargs="+", metavar="DESIGN", help="ARCH[+RECIPE][:KEY=VALUE,...], the first is the base")
    p.add_argument(
        "--workload", action="append", required=True, metavar="W",
        help="name or file of a network or trace (repeatable)",
    )  # fmt: skip
    p.add_argument(
        "--recipe", action="append", default=[], metavar="R",
        help="with every architecture that names no recipe of its own; none: without (repeatable)",
    )  # fmt: skip
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override a key of every architecture (repeatable)",
    )  # fmt: skip
    p.add_argument("--batch", type=int, metavar="N", help="first dimension of the inputs")
    p.add_argument("--seed", type=int, metavar="N", help="of operands; with a recipe, instead of its own")
    p.add_argument("--weight-density", type=float, metavar="D", help="of designs without recipe (default: 1)")
    p.add_argument("--activation-density", type=float, metavar="D", help="the same of activations (default: 1)")
    p.add_argument("--all", action="store_true", help="print every key that differs")
    p.add_argument("--figure", metavar="FILE", help="stacked cycles and energy side by side: .pdf, .svg or .png")
    p.add_argument("--json", metavar="FILE", help="facts and figures")
    p.add_argument("--csv", metavar="FILE", help="one row for each design and workload")
    p.add_argument("--quiet", action="store_true", help="print nothing")

    p = command(commands, "plot", "draw curves of a sweep: Pareto fronts, lines, rooflines, heat maps", _PLOT)
    _add_store(p)
    kinds = "pareto, lines, scaling, breakdown, roofline, heatmap, parallel"
    p.add_argument("kind", metavar="KIND", help=kinds)
    p.add_argument(
        "-o", "--out", action="append", metavar="FILE",
        help=".pdf, .svg or .png (repeatable; default: KIND.pdf and KIND.png)",
    )  # fmt: skip
    p.add_argument("--x", action="append", default=[], metavar="COLUMN", help="of pareto: repeat for several panels")
    p.add_argument("--y", action="append", default=[], metavar="COLUMN", help="of lines: repeat for several panels")
    p.add_argument("--series", metavar="COLUMN", help="a colour and a mark for each of its values (at most 8)")
    p.add_argument("--by", action="append", default=[], metavar="WHAT", help="breakdown of cycles, energy or area")
    p.add_argument("--value", metavar="COLUMN", help="what a colour stands for (default: energy_pj)")
    p.add_argument("--columns", action="append", default=[], metavar="A,B,C", help="axes of parallel coordinates")
    p.add_argument("--title", metavar="TEXT", help="instead of what the points have in common")
    p.add_argument("--dpi", type=int, default=300, metavar="N", help="resolution of .png (default: 300)")
    p.add_argument("--quiet", action="store_true", help="print nothing")

    p = command(commands, "report", "write one self-contained HTML page of a sweep", _REPORT)
    _add_store(p)
    p.add_argument("-o", "--out", default="report.html", metavar="FILE", help="default: report.html")
    p.add_argument("--title", metavar="TEXT", help="of the page")
    p.add_argument("--quiet", action="store_true", help="print nothing")


def _add_store(p: argparse.ArgumentParser) -> None:
    p.add_argument("store", metavar="STORE", help="file of results that `accelsim sweep` wrote")
    p.add_argument("--sweep", metavar="NAME", help="one of its sweeps (default: all)")
    p.add_argument("--where", metavar="EXPR", help='only these points: "engine.rows >= 16 and area_mm2 < 4"')
