"""Topology files of SCALE-Sim: convolution rows and GEMM rows.

Each row becomes an independent layer with an input of its own: the format says nothing of how layers
are joined, and leaves out padding, pooling, biases and activations.

Convolution rows give the height and width of the (already padded) ifmap and of the filter, channels,
filters, and one stride or two. SCALE-Sim's output size is `ceil((H - R + S) / S)`, where every framework
has the floor: if the stride does not divide, it counts one more row of outputs, whose window hangs over
the edge. We pad with zeros at the bottom and on the right by just what is missing, so that the floor
gives the same number and the layer the same GEMM. GEMM rows are `M, N, K`; they become linear layers
over an input of M rows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from accelsim.base.errors import ConfigError, nearest
from accelsim.base.units import ceil_div
from accelsim.base.yamlio import read_text
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Op

MAX_ROWS = 20_000
MAX_NAME = 100

# What a column may be called, in lower case without blanks and punctuation. SCALE-Sim itself goes by position.
_NAMES = {
    "Layer name": ("layername", "layer", "name"),
    "IFMAP Height": ("ifmapheight", "ifmaph", "inputheight"),
    "IFMAP Width": ("ifmapwidth", "ifmapw", "inputwidth"),
    "Filter Height": ("filterheight", "filterh", "filth"),
    "Filter Width": ("filterwidth", "filterw", "filtw"),
    "Channels": ("channels", "channel", "numchannels"),
    "Num Filter": ("numfilter", "numfilters", "filters"),
    "Strides": ("strides", "stride", "strideheight", "strideh"),
    "Stride Width": ("stridewidth", "stridew"),
    "Sparsity": ("sparsity", "sparsitysupport", "sparsityratio"),
    "M": ("m",),
    "N": ("n",),
    "K": ("k",),
}
_CONVOLUTION = tuple(_NAMES)[:8]
_GEMM = ("Layer name", "M", "N", "K")
_OPTIONAL = ("Stride Width", "Sparsity")
_WHOLE = re.compile(r"[0-9]{1,19}")
_DENSE = ("", "1:1", "dense", "no", "none")


@dataclass(frozen=True)
class _Row:
    """Cells of one line by column, and where it stands."""

    cells: dict[str, str]
    where: str

    def size(self, column: str) -> int:
        text = self.cells.get(column, "")
        if not _WHOLE.fullmatch(text) or int(text) < 1:
            raise ConfigError(f"column {column!r} must be an integer >= 1, got {text!r}", self.where)
        return int(text)


def load_scalesim_csv(path: Path) -> Network:
    """The layers of a topology file.

    Raises
    ------
    ConfigError
        Naming file, line and column: a missing or unknown column, a name that a spreadsheet would take for a
        formula or a terminal for a command, a dimension that is no positive
        integer, a filter larger than its ifmap, a product beyond 63 bits, an empty file, one of more
        than `MAX_ROWS` rows or 8 MiB, or a sparsity (which belongs into a trace, not into shapes).
    """
    nodes: list[Node] = []
    names: set[str] = set()
    for row in _rows(read_text(path, what="a topology file"), str(path)):
        name = _unique(row, len(names), names)
        shape, op = _gemm(row) if "M" in row.cells else _convolution(row)
        nodes.append(Node(f"{name}.input", Input(shape), (), row.where))
        nodes.append(Node(name, op, (f"{name}.input",), row.where))
    if not nodes:
        raise ConfigError("must have a header and at least one layer", str(path))
    return Network(path.stem, nodes, f"SCALE-Sim topology {path.name}")


def _convolution(row: _Row) -> tuple[tuple[int, ...], Op]:
    size = row.size("IFMAP Height"), row.size("IFMAP Width")
    kernel = row.size("Filter Height"), row.size("Filter Width")
    channels, filters, stride_h = row.size("Channels"), row.size("Num Filter"), row.size("Strides")
    stride = stride_h, row.size("Stride Width") if row.cells.get("Stride Width") else stride_h
    for side, z, k in zip(("Height", "Width"), size, kernel, strict=True):
        if k > z:
            raise ConfigError(f"column 'Filter {side}' must be at most the IFMAP {side} {z}, got {k}", row.where)
    # zeros that make the last, hanging window whole
    missing = [ceil_div(z - k, t) * t + k - z for z, k, t in zip(size, kernel, stride, strict=True)]
    conv = Conv(filters, kernel, stride, (0, 0, missing[0], missing[1]), bias=False)
    return (1, channels, *size), conv


def _gemm(row: _Row) -> tuple[tuple[int, ...], Op]:
    return (1, row.size("M"), row.size("K")), Linear(row.size("N"), bias=False)


def _unique(row: _Row, index: int, names: set[str]) -> str:
    """The row's name, numbered if it has been used, or its index if it has none."""
    plain = row.cells["Layer name"] or f"layer{index}"
    if not plain.isprintable() or len(plain) > MAX_NAME or plain[0] in "=+-@":
        what = f"must be at most {MAX_NAME} printable characters, not led by one of = + - @"
        raise ConfigError(f"column 'Layer name' {what}, got {plain[:MAX_NAME]!r}", row.where)
    name, count = plain, 1
    while name in names:
        count += 1
        name = f"{plain}_{count}"
    names.add(name)
    return name


def _rows(text: str, file: str) -> Iterator[_Row]:
    reader = csv.reader(text.splitlines())
    columns: list[str] | None = None
    count = 0
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            where = f"{file}:{reader.line_num}"
            if columns is None:
                columns = _columns(cells, where)
                continue
            count += 1
            if count > MAX_ROWS:
                raise ConfigError(f"a topology must have at most {MAX_ROWS} layers", where)
            yield _row(cells, columns, where)
    except csv.Error as error:
        raise ConfigError(f"not a valid CSV line: {error}", f"{file}:{reader.line_num}") from None


def _row(cells: list[str], columns: list[str], where: str) -> _Row:
    extra = [cell for cell in cells[len(columns) :] if cell]
    known = dict(zip(columns, cells, strict=False))
    if len(extra) == 1 and columns[-1] == "Strides":
        known["Stride Width"] = extra[0]  # many files name one stride column and fill two
    elif extra:
        raise ConfigError(f"must have {len(columns)} columns ({', '.join(columns)}), got {len(cells)}", where)
    if known.get("Sparsity", "").lower() not in _DENSE:
        got = known["Sparsity"]
        raise ConfigError(f"column 'Sparsity' must be empty or 1:1: a density belongs into a trace, got {got!r}", where)
    return _Row(known, where)


def _columns(header: list[str], where: str) -> list[str]:
    """The standard name of each column."""
    found: list[str] = []
    while header and not header[-1]:
        header = header[:-1]
    for cell in header:
        key = re.sub(r"[^a-z0-9]", "", cell.lower())
        name = next((standard for standard, names in _NAMES.items() if key in names), None)
        if name == "Strides" and "Strides" in found:
            name = "Stride Width"
        if name is None:
            close = nearest(cell, _NAMES)
            hint = f"did you mean {' or '.join(close)}?" if close else "known: " + ", ".join(_NAMES)
            raise ConfigError(f"unknown column {cell!r}; {hint}", where)
        if name in found:
            raise ConfigError(f"column {name!r} stands twice", where)
        found.append(name)
    wanted = _GEMM if set(found) & {"M", "N", "K"} else _CONVOLUTION
    for name in wanted:
        if name not in found:
            raise ConfigError(f"column {name!r} is missing; there are {', '.join(found)}", where)
    stray = [name for name in found if name not in wanted and name not in _OPTIONAL]
    if stray:
        raise ConfigError(f"column {stray[0]!r} does not belong beside {', '.join(wanted)}", where)
    return found
