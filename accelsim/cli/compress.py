"""`accelsim compress`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.terminal import announce_compilation, progress_bar, say

ROLES_SHOWN = {"weights": ("filter", "recurrent", "expansion", "projection", "bias"), "all": None}


def command_compress(options: argparse.Namespace) -> int:
    """Check everything, compress, print a table, write the trace."""
    from accelsim.report.places import check_writable, write_text

    if options.out is not None:
        if Path(options.out).suffix != ".trace":
            raise ConfigError("the name of a trace must end in .trace", f"--out {options.out}")
        check_writable(Path(options.out))
    for option in ("json", "csv"):
        if getattr(options, option):
            check_writable(Path(getattr(options, option)))
    from accelsim.compress.recipe import load_recipe
    from accelsim.compress.run import compress

    recipe = load_recipe(options.recipe)
    announce_compilation(options.quiet)
    with progress_bar("compressing", options.quiet) as bar:
        report = compress(
            options.network, options.weights, recipe, options.out, progress=bar.update, seed=options.seed,
            evaluate=options.evaluate,
        )  # fmt: skip
    if not options.quiet:
        _print(report, options.rows)
    if options.json:
        write_text(Path(options.json), json_text(report))
    if options.csv:
        write_text(Path(options.csv), csv_text(report))
    if not options.quiet:
        if options.out is None:
            say("nothing is written without --out FILE.trace")
        else:
            say(f"wrote {options.out}; run it: accelsim run tpu_v1 {options.out}")
    return 0


def json_text(report: Any) -> str:
    """Everything that the report knows."""
    import json
    from dataclasses import asdict

    plain = {**asdict(report), "rows": report.records(), "weights_total": report.total()}
    return json.dumps(_finite(plain), indent=1) + "\n"


def csv_text(report: Any) -> str:
    """One row for each operand."""
    import csv
    import io

    text = io.StringIO()
    records = report.records()
    writer = csv.DictWriter(text, list(records[0]) if records else ["layer"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _finite(value: Any) -> Any:
    """Plain data without NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _print(report: Any, which: str) -> None:
    from accelsim.report.grid import Column, Grid, show, terminal_width

    roles = ROLES_SHOWN[which]
    rows = [row for row in report.rows if roles is None or row.role in roles] or report.rows
    heads, cells = report.table(rows)
    names = ("layer", "role", "encoding")
    columns = [Column(head, [row[i] for row in cells], name=head in names) for i, head in enumerate(heads)]
    show(Grid(report.title, columns, has_total=report.has_total(rows)).lines(terminal_width(sys.stdout)), sys.stdout)
    for line in report.remarks(rows):
        print(line)
