"""`accelsim bench`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelsim.base.errors import AccelsimError, ConfigError
from accelsim.cli.terminal import announce_compilation, progress_bar, say

MOVED = 1
"""Exit code: a figure moved, or a case is much slower than recorded."""
_MOST_MOVES = 12


def command_bench(options: argparse.Namespace) -> int:
    """Run the cases, compare, print; with --update record; with --speed measure the simulator instead."""
    from accelsim.bench.cases import load_suite
    from accelsim.report.places import check_writable

    _check(options)
    suite, folder = load_suite(Path(options.suite) if options.suite else None)
    if options.json:
        check_writable(Path(options.json))
    if options.list:
        _list(suite.matching(options.cases), everything=not (options.cases or options.suite))
        return 0
    if options.history:
        _history(folder)
        return 0
    announce_compilation(options.quiet)
    return _speed(options, suite, folder) if options.speed else _regression(options, suite, folder)


def _check(options: argparse.Namespace) -> None:
    if options.reason is not None and not options.update and not options.record:
        raise ConfigError("goes with --update or --record", "--reason")
    if options.update and options.speed:
        raise ConfigError("is for figures of cases; speeds are kept with --record", "--update")
    if options.record and not options.speed:
        raise ConfigError("goes with --speed", "--record")
    if options.runs < 1:
        raise ConfigError(f"must be at least 1, got {options.runs}", "--runs")


def _list(cases: Any, everything: bool) -> None:
    from accelsim.report.grid import Column, Grid, show, terminal_width

    columns = [
        Column("case", [case.name for case in cases], name=True),
        Column("architecture", [case.arch for case in cases], name=True),
        Column("workload", [case.workload for case in cases], name=True),
        Column("recipe", [case.recipe or "-" for case in cases], name=True),
        Column("why", [case.why for case in cases], name=True),
    ]
    show(Grid("", columns, has_total=False).lines(terminal_width(sys.stdout)), sys.stdout)
    from accelsim.system.archspec import list_archs

    missing = sorted(set(list_archs()) - {case.arch for case in cases})
    if missing and everything:
        print(f"shipped architectures without a case: {', '.join(missing)}")


def _history(folder: Path) -> None:
    from accelsim.bench.expected import read_history

    for entry in read_history(folder):
        cases = len(entry["moved"]) + len(entry.get("dropped", ()))
        print(f"{entry['date']}  {entry['version']}  {cases} case{'s' * (cases != 1)}: {entry['reason']}")


def _regression(options: argparse.Namespace, suite: Any, folder: Path) -> int:
    from accelsim.bench.cases import CaseTraces, run_case
    from accelsim.bench.expected import check_update, measured, read_expected, update

    reason = check_update(folder, options.reason) if options.update else ""
    expected = read_expected(folder)
    cases = suite.matching(options.cases)
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    with progress_bar("bench", options.quiet) as bar, CaseTraces() as traces:
        for index, case in enumerate(cases):
            bar.update(index, len(cases), case.name)
            try:
                found[case.name] = measured(run_case(case, traces))
            except AccelsimError as error:
                failed[case.name] = str(error)
    moved = _print(found, failed, expected, options)
    if options.json:
        _write_json(Path(options.json), found)
    if failed:
        return MOVED
    if not options.update:
        return MOVED if moved else 0
    count = update(folder, found, [case.name for case in suite.cases], reason)
    if not options.quiet:
        say(f"recorded {count} case{'s' * (count != 1)} in {folder}" if count else "nothing moved; nothing recorded")
    return 0


def _print(
    found: Mapping[str, Any], failed: Mapping[str, str], expected: Mapping[str, Any], options: argparse.Namespace
) -> int:
    """What moved, case by case, and a line at the end; the number of cases that moved."""
    from accelsim.bench.expected import moves

    moved = 0
    for name, table in found.items():
        changed = moves(expected.get(name), table)
        moved += bool(changed)
        if not changed:
            continue
        if name not in expected:
            print(f"{name}: nothing is expected yet ({table['cycles']:,} cycles, {table['energy_pj']:.6g} pJ)")
            continue
        print(f"{name}: {len(changed)} of {len(table)} figures moved")
        _print_moves(changed, options.all)
    for name, text in failed.items():
        print(f"{name}: cannot be run: {text}")
    if not options.quiet:
        same = len(found) - moved
        print(f"{same} as expected, {moved} moved, {len(failed)} failed")
        if moved and not options.update:
            print('if the change is meant: accelsim bench --update --reason "why"')
    return moved


def _print_moves(changed: Any, everything: bool) -> None:
    from accelsim.report.grid import Column, Grid, plain

    shown = changed if everything else changed[:_MOST_MOVES]
    columns = [
        Column("figure", [f"  {move.key}" for move in shown], name=True),
        Column("expected", [_figure(move.old) for move in shown]),
        Column("now", [_figure(move.new) for move in shown]),
        Column("change", ["" if move.percent is None else f"{move.percent:+.4g} %" for move in shown]),
    ]
    sys.stdout.write(plain(Grid("", columns, has_total=False).lines(None)))
    if len(shown) < len(changed):
        print(f"  and {len(changed) - len(shown)} more (--all)")


def _figure(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.12g}" if isinstance(value, float) else f"{value[:12]}.."


def _write_json(path: Path, data: Any) -> None:
    from accelsim.report.places import write_text

    write_text(path, json.dumps(data, indent=1) + "\n")


def _speed(options: argparse.Namespace, suite: Any, folder: Path) -> int:
    from dataclasses import asdict
    from fnmatch import fnmatchcase

    from accelsim.base.errors import unknown_name
    from accelsim.bench.speed import SLOWER, check_record, last_recorded, measure, record

    cases = [c for c in suite.speed if not options.cases or any(fnmatchcase(c.name, g) for g in options.cases)]
    if not cases:
        raise unknown_name("speed case", " ".join(options.cases), [case.name for case in suite.speed])
    if options.record:
        check_record(folder)
    before = last_recorded(folder)
    speeds = []
    with progress_bar("measuring", options.quiet) as bar:
        for index, case in enumerate(cases):
            bar.update(index, len(cases), case.name)
            speeds.append(measure(case, folder, options.runs))
    _print_speeds(speeds, before)
    if options.json:
        _write_json(Path(options.json), [asdict(speed) for speed in speeds])
    if options.record:
        record(folder, speeds, options.reason or "")
        say(f"recorded in {folder}")
        return 0
    slower = [s.case for s in speeds if s.case in before and s.cpu_ratio > SLOWER * before[s.case]["cpu_ratio"]]
    if slower:
        print(f"over {SLOWER} times the recorded ratio: {', '.join(slower)}")
    return MOVED if slower else 0


def _print_speeds(speeds: Any, before: Mapping[str, Any]) -> None:
    from accelsim.report.grid import Column, Grid, show, terminal_width

    old = [before.get(speed.case) for speed in speeds]
    columns = [
        Column("case", [speed.case for speed in speeds], name=True),
        Column("ratio", [f"{speed.cpu_ratio:.2f}" for speed in speeds]),
        Column("recorded", [f"{row['cpu_ratio']:.2f}" if row else "-" for row in old]),
        Column("CPU s", [f"{speed.cpu_s:.4f}" for speed in speeds]),
        Column("reference s", [f"{speed.reference_cpu_s:.4f}" for speed in speeds]),
        Column("peak MB", [f"{speed.peak_mb:.0f}" for speed in speeds]),
        Column("base MB", [f"{speed.base_mb:.0f}" for speed in speeds]),
        Column("events", [f"{speed.events:,}" for speed in speeds]),
        Column("events / CPU s", [f"{speed.events / speed.cpu_s:,.0f}" for speed in speeds]),
    ]
    show(Grid("", columns, has_total=False).lines(terminal_width(sys.stdout)), sys.stdout)
