"""Columns of text for terminals and files: numbers are never cut, names give way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from accelsim.report.parts import shortened_apart

Span = tuple[str, str]
"""Text and its style: "", "bold", "dim", "cyan"."""
Line = list[Span]

GAP = "  "
LEAST_NAME = 16
CONTINUED = ", continued"


@dataclass
class Column:
    """One column: heading, what stands above it (`group`), whether it holds names (left, may be shortened)."""

    head: str
    cells: list[str]
    group: str = ""
    name: bool = False
    styles: dict[int, str] = field(default_factory=dict)  # row -> style

    def __post_init__(self) -> None:
        self.heads = _broken(self.head, max((len(c) for c in self.cells), default=0))

    @property
    def width(self) -> int:
        """Widest of heading and cells."""
        return max(len(text) for text in (*self.heads, *self.cells))


def _broken(head: str, width: int) -> list[str]:
    """A heading that is wider than its cells on several lines: `unified_buffer` -> `unified`, `buffer`."""
    lines: list[str] = []
    for word in head.replace("_", " ").split(" ") if len(head) > width else [head]:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@dataclass
class Grid:
    """A table; its last row is the sum of the others if `has_total`."""

    title: str
    columns: list[Column]
    has_total: bool = True

    def lines(self, width: int | None) -> list[Line]:
        """As styled lines of at most `width` characters (None: as wide as needed).

        Names are shortened first, then columns move together, then the last ones move to a table below.
        """
        widths = [column.width for column in self.columns]
        self._room_for_groups(widths)
        if width is not None:
            self._give_way(widths, width)
            gap = 1 if self._total(widths, len(GAP)) > width else len(GAP)
            fits = self._fitting(widths, width, gap)
            if fits < len(widths):
                rest = [c for c in self.columns[:fits] if c.name][:1] + self.columns[fits:]
                first = Grid(self.title, self.columns[:fits], self.has_total)
                second = Grid(f"{self.title.removesuffix(CONTINUED)}{CONTINUED}", rest, self.has_total)
                return [*first.lines(width), [("", "")], *second.lines(width)]
            return self._lines(widths, " " * gap)
        return self._lines(widths, GAP)

    def _lines(self, widths: Sequence[int], gap: str) -> list[Line]:
        groups = self._group_line(widths, gap)
        out: list[Line] = [[(self.title, "bold")]] if self.title else []
        if groups:
            out.append([(groups, "dim")])
        high = max(len(column.heads) for column in self.columns)
        for level in range(high):
            heads = [("",) * (high - len(column.heads)) + tuple(column.heads) for column in self.columns]
            out.append([(self._row(widths, [head[level] for head in heads], gap), "bold")])
        rule: Line = [("-" * self._total(widths, len(gap)), "dim")]
        out.append(rule)
        cells = [shortened_apart(c.cells, w) if c.name else c.cells for c, w in zip(self.columns, widths, strict=True)]
        count = len(self.columns[0].cells)
        for row in range(count):
            last = self.has_total and row == count - 1
            if last and count > 1:
                out.append(rule)
            out.append(self._styled_row(widths, row, [own[row] for own in cells], "bold" if last else "", gap))
        return out

    @staticmethod
    def _total(widths: Sequence[int], gap: int) -> int:
        return sum(widths) + gap * (len(widths) - 1)

    def _groups(self) -> list[tuple[int, int]]:
        """(first column, one past the last column) of neighbours that share what stands above them."""
        found: list[tuple[int, int]] = []
        for i, column in enumerate(self.columns):
            if found and column.group and self.columns[i - 1].group == column.group:
                found[-1] = (found[-1][0], i + 1)
            else:
                found.append((i, i + 1))
        return found

    def _room_for_groups(self, widths: list[int]) -> None:
        """The last column of a group takes what the group's own heading needs."""
        for first, end in self._groups():
            missing = len(self.columns[first].group) - self._total(widths[first:end], 1)
            widths[end - 1] += max(0, missing)

    def _fitting(self, widths: Sequence[int], width: int, gap: int) -> int:
        """How many of the columns fit; at least the name and one number."""
        count = len(widths)
        while count > 2 and self._total(widths[:count], gap) > width:
            count -= 1
        return count

    def _give_way(self, widths: list[int], width: int) -> None:
        over = self._total(widths, len(GAP)) - width
        for i, column in enumerate(self.columns):
            if column.name and over > 0:
                taken = min(over, max(0, widths[i] - LEAST_NAME))
                widths[i] -= taken
                over -= taken

    def _group_line(self, widths: Sequence[int], gap: str) -> str:
        if not any(column.group for column in self.columns):
            return ""
        text = ""
        for first, end in self._groups():
            span = self._total(widths[first:end], len(gap))
            label = self.columns[first].group
            text += f" {label} ".center(span, "-") if label and len(label) + 2 < span else label.center(span)
            text += gap
        return text.rstrip()

    def _cell(self, column: Column, text: str, width: int) -> str:
        return text[:width].ljust(width) if column.name else text.rjust(width)

    def _row(self, widths: Sequence[int], cells: Sequence[str], gap: str) -> str:
        pairs = zip(self.columns, cells, widths, strict=True)
        return gap.join(self._cell(column, text, width) for column, text, width in pairs).rstrip()

    def _styled_row(self, widths: Sequence[int], row: int, cells: Sequence[str], style: str, gap: str) -> Line:
        line: Line = []
        for i, (column, text, width) in enumerate(zip(self.columns, cells, widths, strict=True)):
            if i:
                line.append((gap, ""))
            line.append((self._cell(column, text, width), column.styles.get(row) or style))
        return line


def plain(lines: Iterable[Line]) -> str:
    """Without any style, no blanks at the ends of lines."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def show(lines: Iterable[Line], stream: TextIO) -> None:
    """Print, with colour if `stream` is a terminal that has it."""
    if not stream.isatty():
        stream.write(plain(lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal (at least 80), or None for files and pipes: there nothing is cut."""
    if not stream.isatty():
        return None
    import shutil

    return max(80, shutil.get_terminal_size((100, 24)).columns)


@dataclass(frozen=True)
class Scale:
    """A unit that a whole column is written in, and its decimals."""

    unit: str
    size: float
    decimals: int

    def text(self, value: float | None, empty: str = "-") -> str:
        """`value` in this unit."""
        return empty if value is None else f"{value / self.size:,.{self.decimals}f}"


SECONDS = (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0))
JOULES_IN_PJ = (("pJ", 1.0), ("nJ", 1e3), ("uJ", 1e6), ("mJ", 1e9), ("J", 1e12))
BYTES = (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30), ("TiB", 2.0**40))
MACS = (("MACs", 1.0), ("k MACs", 1e3), ("M MACs", 1e6), ("G MACs", 1e9))
OPS = (("OPS", 1e-12), ("kOPS", 1e-9), ("MOPS", 1e-6), ("GOPS", 1e-3), ("TOPS", 1.0))


def scale_for(total: float, units: Sequence[tuple[str, float]], least: float = 1000.0) -> Scale:
    """The largest unit in which `total` is at least `least`, so that small parts still show; else the smallest."""
    fits = [(unit, size) for unit, size in units if total >= least * size] or [units[0]]
    unit, size = fits[-1]
    whole_numbers = (unit, size) == units[0] and float(size) == 1.0
    return Scale(unit, size, 0 if whole_numbers else 1 if total >= least * size else 3)
