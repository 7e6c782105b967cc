"""`accelsim plot` and `accelsim report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.terminal import say


def command_plot(options: argparse.Namespace) -> int:
    """Draw one curve of a store into files."""
    from accelsim.report.curve_parts import Choice
    from accelsim.report.curves import CURVES, write_curve
    from accelsim.report.figures import check_formats
    from accelsim.report.places import check_writable

    paths = [Path(path) for path in options.out or (f"{options.kind}.pdf", f"{options.kind}.png")]
    for path in paths:
        check_formats([path.suffix[1:]])
        check_writable(path)
    if not 50 <= options.dpi <= 1200:
        raise ConfigError(f"must be 50 to 1200, got {options.dpi}", "--dpi")
    if options.kind not in CURVES:
        from accelsim.base.errors import unknown_name

        raise unknown_name("kind of curve", options.kind, CURVES)
    choice = Choice(
        options.x, options.y, options.series or "", options.by, options.value or "",
        [name for text in options.columns for name in text.split(",")], options.title or "",
    )  # fmt: skip
    write_curve(_table(options), options.kind, paths, choice, options.dpi)
    if not options.quiet:
        say(f"wrote {', '.join(map(str, paths))}")
    return 0


def command_report(options: argparse.Namespace) -> int:
    """Write the page of a store."""
    from accelsim.report.page import write_page
    from accelsim.report.places import check_writable

    path = Path(options.out)
    if path.suffix not in (".html", ".htm"):
        raise ConfigError(f"must end in .html, got {path.suffix or 'no suffix'!r}", f"--out {options.out}")
    check_writable(path)
    table = _table(options)
    size = write_page(table, path, options.title or f"{Path(options.store).stem}: {options.sweep or 'all points'}")
    if not options.quiet:
        say(f"wrote {path}: {len(table.rows):,} points, {size / 1e6:.1f} MB; open it in any browser")
    return 0


def _table(options: argparse.Namespace) -> Any:
    from accelsim.sweep.store import Store

    with Store.open(options.store) as store:
        table = store.table(options.sweep)
    return table.where(options.where) if options.where else table
