"""Everything that accelsim is compared with, on one page: docs/validation.md.

    python benchmarks/validation.py [--quick] [--only NAME]... [--output FILE]

Sections are the comparisons with other simulators and every `benchmarks/validate_*.py`. Reference data of
other simulators are not part of the project; they are looked for in the folder that ACCELSIM_REFERENCES
names, or in ../shared/refs beside the checkout. A section without its references says so. All of it takes
some minutes; --quick takes a part of the long tables, and --only the named sections, and both print the
page instead of writing it unless --output says where. Exit status 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

from validation_rows import Row, assumed, escaped, figure, markdown

from accelsim.base.errors import AccelsimError

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "validation.md"

PEERS = {
    "dram": ("dram_validation", "DRAM beside Ramulator 2.1 and DRAMsim3"),
    "noc": ("noc_validation", "Network on chip beside BookSim 2"),
    "scalesim": ("scalesim_compare", "Systolic array beside SCALE-Sim 3"),
}
"""Section -> (script, title)."""

LONG = 40
"""Tables of more rows are folded."""


@dataclass(frozen=True)
class Section:
    """One comparison; without rows, `why` says what is missing."""

    name: str
    title: str
    rows: list[Row]
    why: str = ""
    failed: bool = False

    @property
    def aims(self) -> list[Row]:
        """Rows that have an aim."""
        return [row for row in self.rows if row.kept is not None]

    @property
    def missed(self) -> list[Row]:
        """Rows that miss theirs."""
        return [row for row in self.rows if row.kept is False]


def names() -> dict[str, tuple[str, str]]:
    """Section -> (script, title), the peers first."""
    found = dict(PEERS)
    for path in sorted(HERE.glob("validate_*.py")):
        name = path.stem.removeprefix("validate_")
        first = (inspect.cleandoc(importlib.import_module(path.stem).__doc__ or name)).splitlines()[0]
        found[name] = (path.stem, first.rstrip(".:"))
    return found


def gather(name: str, script: str, title: str, quick: bool) -> Section:
    """Run one section."""
    rows = importlib.import_module(script).rows
    try:
        found = rows(quick=True) if quick and "quick" in inspect.signature(rows).parameters else rows()
    except AccelsimError as error:  # the other sections are worth having all the same
        return Section(name, title, [], f"it does not run: {error}", failed=True)
    return Section(name, title, found, "" if found else "its reference data are not here (ACCELSIM_REFERENCES)")


def summary(sections: Sequence[Section]) -> str:
    """One line for each section."""
    lines = [
        "| section | rows | equal | aims kept | largest error with an aim | largest error | where |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for section in sections:
        link = f"[{section.title}](#{anchor(section.title)})"
        if not section.rows:
            lines.append(f"| {link} | 0 | | | | | {section.why} |")
            continue
        worst = max(section.rows, key=lambda row: abs(row.error_pct))
        judged = max((abs(row.error_pct) for row in section.aims), default=None)
        equal = sum(row.equal for row in section.rows)
        where = f"{worst.design}, {worst.workload}: {worst.quantity}" if not worst.equal else ""
        cells = (
            link, f"{len(section.rows):,}", f"{equal:,}",
            f"{len(section.aims) - len(section.missed):,} of {len(section.aims):,}",
            "" if judged is None else f"{judged:.3g}%", f"{worst.error_pct:+.3g}%", escaped(where),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def anchor(title: str) -> str:
    """The name by which a heading is linked to."""
    kept = (c for c in title.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def body(section: Section) -> str:
    """Heading and tables of a section."""
    parts = [f"## {section.title}"]
    if not section.rows:
        return "\n\n".join([*parts, f"Nothing here: {section.why}."])
    unknown = assumed(section.rows)
    if len(section.rows) <= LONG:
        return "\n\n".join([*parts, markdown(section.rows), *([unknown] if unknown else [])])
    if section.missed:
        parts.append("Rows that miss their aim:\n\n" + markdown(section.missed))
    sources = "; ".join(dict.fromkeys(row.source for row in section.rows))
    notes = list(dict.fromkeys(row.note for row in section.rows if row.note))
    parts.append(f"Theirs: {escaped(sources)}.")
    if len(notes) == 1:
        parts.append(f"{notes[0]}.")
    for design in dict.fromkeys(row.design for row in section.rows):
        mine = [row for row in section.rows if row.design == design]
        equal = sum(row.equal for row in mine)
        worst = max(abs(row.error_pct) for row in mine)
        head = f"{design}: {len(mine)} rows, {equal} equal, largest error {worst:.3g}%"
        table = wide(mine) if len(notes) <= 1 else markdown(mine)
        parts.append(f"<details><summary>{head}</summary>\n\n{table}\n\n</details>")
    return "\n\n".join([*parts, *([unknown] if unknown else [])])


def wide(rows: Sequence[Row]) -> str:
    """One line for each workload, and for each quantity ours, theirs and the error."""
    quantities = list(dict.fromkeys((row.quantity, row.unit, row.aim_pct) for row in rows))
    head, rule = ["workload"], ["---"]
    for quantity, unit, aim in quantities:
        title = quantity + (f", {unit}" if unit else "")
        head += [f"{title}: ours", "theirs", "error" + (f" (aim {aim:g}%)" if aim is not None else "")]
        rule += ["---:"] * 3
    lines = ["| " + " | ".join(map(escaped, head)) + " |", "|" + "|".join(rule) + "|"]
    cells = {(row.workload, row.quantity, row.unit): row for row in rows}
    for workload in dict.fromkeys(row.workload for row in rows):
        line = [escaped(workload)]
        for quantity, unit, _ in quantities:
            row = cells.get((workload, quantity, unit))
            line += ["", "", ""] if row is None else [
                figure(row.ours), figure(row.theirs), "0" if row.equal else f"{row.error_pct:+.3g}%",
            ]
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def page(sections: Sequence[Section], quick: bool) -> str:
    """The whole page."""
    part = " This page shows a part of the long tables (`--quick`)." if quick else ""
    return "\n\n".join([
        "# Validation",
        "Made by `python benchmarks/validation.py`, which runs everything below; nothing is tuned to a figure."
        f"{part} An error is ours over theirs, less one; those of row hits, misses and conflicts are shares of all "
        "bursts. Equal are rows without a difference in the digits that are given. Rows without an aim are reported "
        "only: their remarks say why the error remains. Below each table are the parameters that nobody published.",
        summary(sections),
        *map(body, sections),
    ]) + "\n"


def main() -> None:
    """Gather, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = names()
    parser.add_argument("--quick", action="store_true", help="a part of the long tables")
    parser.add_argument("--only", action="append", metavar="NAME", choices=known, help=", ".join(known))
    parser.add_argument("--output", type=Path, help=f"where to write (default: {PAGE.relative_to(HERE.parent)})")
    args = parser.parse_args()
    sections = []
    for name in args.only or known:
        begin = process_time()
        sections.append(gather(name, *known[name], args.quick))
        last = sections[-1]
        print(f"{name}: {len(last.rows)} rows, {len(last.missed)} miss their aim, "
              f"{process_time() - begin:.1f} CPU s", file=sys.stderr)
    text = page(sections, args.quick)
    output = args.output or (None if args.quick or args.only else PAGE)
    if output is None:
        print(text)
    else:
        output.write_text(text, encoding="utf-8")
    missed = sum(len(section.missed) for section in sections)
    failed = [section.name for section in sections if section.failed]
    if missed or failed:
        raise SystemExit(f"{missed} rows miss their aim; sections that do not run: {', '.join(failed) or 'none'}")


if __name__ == "__main__":
    main()
