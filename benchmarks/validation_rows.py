"""Rows of the validation tables: our figure beside the published one, with its source and the error that remains."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    design, workload, quantity, unit : str
        `workload` may name a layer: "alexnet conv3".
    ours, theirs : float
    source : str
        Paper and table or figure, or the simulator that made the figure.
    aim_pct : float or None
        Largest error that this comparison must keep; None: it is only reported.
    note : str
        Why the error remains, and which parameters are assumed.
    scale : float or None
        What the error is a share of, where that is not `theirs`: a count of row hits, say, is judged by all bursts.
    """

    design: str
    workload: str
    quantity: str
    unit: str
    ours: float
    theirs: float
    source: str
    aim_pct: float | None = None
    note: str = ""
    scale: float | None = None

    @property
    def error_pct(self) -> float:
        """Signed error of ours, percent."""
        of = abs(self.theirs) if self.scale is None else self.scale
        return 100.0 * (self.ours - self.theirs) / of if of else 100.0 * (self.ours != 0)

    @property
    def equal(self) -> bool:
        """No difference, as far as the six digits go that published decimals have at most."""
        return abs(self.error_pct) <= (0 if float(self.theirs).is_integer() else 1e-3)

    @property
    def kept(self) -> bool | None:
        """Is the error within the aim? None without one."""
        return None if self.aim_pct is None else abs(self.error_pct) <= self.aim_pct


def references() -> Path:
    """Where reference data would be: ACCELSIM_REFERENCES, or ../shared/refs beside the checkout."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "refs"
    return Path(os.environ.get("ACCELSIM_REFERENCES", beside))


def markdown(rows: Iterable[Row]) -> str:
    """A Markdown table of the rows."""
    lines = [
        "| design | workload | quantity | ours | published | error | aim | source | remark |",
        "|---|---|---|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        aim = "" if row.aim_pct is None else f"{row.aim_pct:g}% {'kept' if row.kept else 'MISSED'}"
        cells = (
            row.design,
            row.workload,
            f"{row.quantity}, {row.unit}" if row.unit else row.quantity,
            figure(row.ours),
            figure(row.theirs),
            f"{row.error_pct:+.2f}%",
            aim,
            row.source,
            row.note,
        )
        lines.append("| " + " | ".join(map(escaped, cells)) + " |")
    return "\n".join(lines)


def assumed(rows: Iterable[Row]) -> str:
    """What the notes of the rows' architectures call assumed, a line for each; "" for designs without a file.

    A design's file has its name in small letters ("Cambricon-X": `cambricon_x`). Files that extend an architecture and
    add to its name (`eyeriss_vgg16`) are listed by what they assume beside.
    """
    from accelsim.system.archspec import list_archs, load_arch

    notes: dict[str, dict[str, str]] = {}
    for design in dict.fromkeys(row.design.lower().replace(" ", "_").replace("-", "_") for row in rows):
        names = [name for name in list_archs() if name == design or name.startswith(f"{design}_")]
        if design not in names:
            continue
        own = load_arch(design).spec.notes
        notes[design] = own
        for name in names:
            more = load_arch(name).spec.notes
            if name != design and own.keys() <= more.keys():
                notes.setdefault(name, {key: note for key, note in more.items() if own.get(key) != note})
    lines = []
    for name, found in notes.items():
        keys = [f"`{key}`" for key, note in found.items() if "assumed" in note.lower()]
        if keys:
            lines.append(f"- {name}: {', '.join(keys)}")
    if not lines:
        return ""
    head = "Assumed, in whole or in part, since nobody published it (`accelsim show NAME` says why):"
    return "\n".join([head, "", *lines])


def escaped(cell: str) -> str:
    """A bar inside a cell would end it."""
    return cell.replace("|", "\\|")


def figure(value: float) -> str:
    """Five significant digits, whole numbers in full."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.5g}"


def main(title: str, rows: Callable[[], list[Row]]) -> None:
    """The command line of a validation script: prints its table, fails if an aim is missed."""
    parser = argparse.ArgumentParser(description=title, epilog="Exit status 1 if an aim is missed.")
    parser.parse_args()
    try:
        found = rows()
    except FileNotFoundError as error:
        if Path(str(error.filename)).is_relative_to(references()):
            sys.exit(f"there is no {error.filename}: set ACCELSIM_REFERENCES to the folder of the reference data")
        raise
    print("\n\n".join(part for part in (f"# {title}", markdown(found), assumed(found)) if part))
    missed = [row for row in found if row.kept is False]
    if missed:
        raise SystemExit(f"{len(missed)} of {len(found)} rows miss their aim")
