"""`accelsim sweep`."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.terminal import announce_compilation, progress_bar, say

SOME_FAILED = 1
"""Exit code: the sweep has ended, and some of its points have no figures."""

_FORMATS = ("csv", "parquet", "json")
_EVERY_SECONDS = 30.0  # between lines of progress where there is no terminal
_SHOWN_FAILURES = 5


def command_sweep(options: argparse.Namespace) -> int:
    """Check, then run what the store does not have."""
    outputs = table_outputs(options)
    from accelsim.sweep.run import default_store, estimate, sweep

    announce_compilation(options.quiet)
    told = None if options.quiet else say
    store = Path(options.store) if options.store else default_store(options.sweep)
    if options.dry_run:
        _print_estimate(estimate(options.sweep, store, told), options)
        return 0
    with progress_bar("sweep", options.quiet, remaining=True) as bar:
        table = sweep(
            options.sweep, store, workers=options.workers, cluster=options.cluster, retry_failed=options.retry_failed,
            progress=_Teller(bar, options.quiet), say=told,
        )  # fmt: skip
    write_table(table, outputs, options.quiet)
    failed = [row for row in table.rows if row["status"] == "failed"]
    if not options.quiet:
        _summarise(table, failed, store)
    for line in failure_lines(failed, table.keys):
        say(line)
    return SOME_FAILED if failed else 0


def table_outputs(options: argparse.Namespace) -> list[Path]:
    """Files that the table goes to; refused now if they cannot be written."""
    from accelsim.report.places import check_writable

    outputs = []
    for name in _FORMATS:
        place = getattr(options, name)
        if not place:
            continue
        if Path(place).suffix != f".{name}":
            raise ConfigError(f"the name must end in .{name}", f"--{name} {place}")
        check_writable(Path(place))
        outputs.append(Path(place))
    if options.parquet:
        from accelsim.report.files import import_pyarrow

        import_pyarrow()
    return outputs


def write_table(table: Any, outputs: list[Path], quiet: bool) -> None:
    """The table in each of these files."""
    for place in outputs:
        table.write(place)
        if not quiet:
            say(f"wrote {place}: {len(table):,} rows, {len(table.columns)} columns")


class _Teller:
    """Progress to a terminal as a bar; to a file as a line now and then."""

    def __init__(self, bar: Any, quiet: bool) -> None:
        self._bar, self._quiet = bar, quiet
        self._last = time.monotonic()

    def __call__(self, state: Any) -> None:
        failed = f", {state.failed} failed" if state.failed else ""
        rate = f"{state.rate:.3g}/s{failed}"
        self._bar.update(state.done, state.total, rate)
        now = time.monotonic()
        if self._bar.shown or self._quiet or now - self._last < _EVERY_SECONDS:
            return
        self._last = now
        left = f", {duration(state.seconds_left)} left" if state.seconds_left else ""
        say(f"{state.done:,} of {state.total:,} points, {rate}{left}")


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _print_estimate(found: Any, options: argparse.Namespace) -> None:
    from accelsim.sweep.executors import usable_cpus

    workers = 1 if options.workers == 0 else options.workers or usable_cpus()
    grid = f" of {found.grid:,} in the grid" if found.grid is not None and found.grid != found.points else ""
    print(f"points        {found.points:,}{grid}")
    print(f"traces        {found.traces:,}")
    print(f"simulations   {found.jobs:,}, of which the store has {found.stored:,}")
    if found.cpu_seconds_per_job is None:
        print("time          unknown: the points that were tried cannot be simulated")
        return
    source = "measured now on a few points" if found.measured else "mean of the results in the store"
    print(f"CPU time      {1000 * found.cpu_seconds_per_job:.3g} ms for each ({source})")
    if options.cluster is None:
        print(f"time          about {duration(found.seconds(workers))} on {workers} processor{'s' * (workers != 1)}")


def _summarise(table: Any, failed: list[Any], store: Path) -> None:
    done = [row for row in table.rows if row["status"] == "done"]
    print(f"{len(table):,} points: {len(done):,} done, {len(failed):,} failed; in {store}")
    feasible = [row for row in done if row.get("feasible") is not False]
    for name, text, unit in (("seconds", "fastest", "s"), ("energy_pj", "least energy", "pJ")):
        if feasible:
            best = min(feasible, key=lambda row: row[name])
            where = ", ".join(f"{key}={best.get(key)}" for key in table.keys)
            print(f"{text:<13} {best[name]:.4g} {unit}: {where}")
    _print_search(table)


def _print_search(table: Any) -> None:
    from accelsim.sweep.search import history

    for trials, volume in history(table.rows):
        print(f"hypervolume   {volume:.6g} after {trials:,} trials")


def failure_lines(failed: list[Any], keys: list[str]) -> list[str]:
    """Each message once, with how often it came and a point where it did."""
    counts = Counter(row["error"] for row in failed)
    lines = []
    for error, count in counts.most_common(_SHOWN_FAILURES):
        row = next(row for row in failed if row["error"] == error)
        point = ", ".join(f"{key}={row.get(key)}" for key in keys)
        lines.append(f"{count:,} point{'s' * (count != 1)} failed, as {point}: {error}")
    if len(counts) > _SHOWN_FAILURES:
        lines.append(f"and {len(counts) - _SHOWN_FAILURES} other messages: accelsim store ... --failures")
    return lines
