"""What a compression did: a row for each operand, and the sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from math import inf, log10, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.kernels import kernel
from accelsim.base.units import bits_to_bytes, ceil_div, human_bytes
from accelsim.compress.parallel import BLOCK_ELEMENTS, over_blocks, row_blocks
from accelsim.compress.state import ORIGINAL_BITS, TensorState
from accelsim.compress.store import Stored
from accelsim.workload.encodings.coded import rows_of
from accelsim.workload.trace_format import MATRIX_ROLES


WEIGHTS = MATRIX_ROLES
"""Roles that the sum at the end of a table is over."""


@dataclass(frozen=True)
class Row:
    """One operand.

    Attributes
    ----------
    layer, role, kind : str
    parameters : int
        Elements before compression.
    bits : int
        Width of a stored element.
    encoding : str
    bytes_before : int
        At 32 bits an element.
    payload_bytes, index_bytes : int
        After: elements, and all else (positions, code books, scales).
    density : float
        Elements other than zero over elements, of the numbers that the operand stands for; of stored cores, for a
        decomposed one.
    relative_error : float
        ||x - x'|| / ||x||; nan for a described operand.
    sqnr_db : float
        10 log10(||x||^2 / ||x - x'||^2); inf if nothing changed.
    notes : str
    """

    layer: str
    role: str
    kind: str
    parameters: int
    bits: int
    encoding: str
    bytes_before: int
    payload_bytes: int
    index_bytes: int
    density: float
    relative_error: float
    sqnr_db: float
    notes: str = ""

    @property
    def ratio(self) -> float:
        """Bytes before over bytes after, index overhead included."""
        return _ratio(self.bytes_before, self.payload_bytes + self.index_bytes)

    @property
    def ratio_without_index(self) -> float:
        """Bytes before over bytes of elements only."""
        return _ratio(self.bytes_before, self.payload_bytes)


@dataclass
class CompressionReport:
    """All of it; `print(report)` shows the table, `rows` and `totals` are plain data.

    Attributes
    ----------
    network, recipe, weights : str
        Names; `weights` says where the numbers came from.
    rows : list of Row
        In the order of the network.
    measures : list of dict
        What measuring steps found (accuracy, output error).
    path : str
    content_hash : str
        Of the trace.
    """

    network: str
    recipe: str
    weights: str
    rows: list[Row] = field(default_factory=list)
    measures: list[dict[str, Any]] = field(default_factory=list)
    path: str = ""
    content_hash: str = ""

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries with the two ratios."""
        return [{**asdict(r), "ratio": r.ratio, "ratio_without_index": r.ratio_without_index} for r in self.rows]

    def total(self, roles: Iterable[str] = WEIGHTS) -> dict[str, float]:
        """Sums over operands of some roles: parameters, bytes, ratios, density."""
        rows = [row for row in self.rows if row.role in set(roles)]
        before, payload = sum(r.bytes_before for r in rows), sum(r.payload_bytes for r in rows)
        index, parameters = sum(r.index_bytes for r in rows), sum(r.parameters for r in rows)
        return {
            "parameters": parameters,
            "bytes_before": before,
            "payload_bytes": payload,
            "index_bytes": index,
            "density": sum(r.density * r.parameters for r in rows) / parameters if parameters else nan,
            "ratio": _ratio(before, payload + index),
            "ratio_without_index": _ratio(before, payload),
        }

    def to_dataframe(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas

        columns = [f.name for f in fields(Row)] + ["ratio", "ratio_without_index"]
        return pandas.DataFrame(self.records(), columns=columns)

    @property
    def title(self) -> str:
        """What was compressed, how, and whose numbers they are."""
        return f"{self.network}, {self.recipe}; weights: {self.weights}"

    def has_total(self, rows: list[Row]) -> bool:
        """Whether a table of these rows ends with the sum of the weights."""
        return sum(row.role in WEIGHTS for row in rows) > 1

    def table(self, rows: list[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and cells as text, with the sum of the weights as last row if `has_total`."""
        cells = [_cells(row) for row in rows]
        if self.has_total(rows):
            total = self.total()
            after = int(total["payload_bytes"] + total["index_bytes"])
            cells.append((
                "weights", "", f"{int(total['parameters']):,}", "", "", human_bytes(int(total["bytes_before"])),
                human_bytes(after), f"{total['ratio']:.2f}", f"{total['ratio_without_index']:.2f}",
                f"{total['density']:.3f}", "", "",
            ))  # fmt: skip
        return _HEAD, cells

    def remarks(self, rows: list[Row]) -> list[str]:
        """Lines below the table: notes of steps, and measures."""
        lines = [f"{row.layer}/{row.role}: {row.notes}" for row in rows if row.notes]
        return lines + [_measured_as(measure) for measure in self.measures]

    def __str__(self) -> str:
        heads, cells = self.table(self.rows)
        table = [heads, *cells]
        widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
        lines = [self.title]
        for row in table:
            marked = zip(row, widths, (i in (0, 1, 4) for i in range(len(row))), strict=True)
            lines.append("  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in marked).rstrip())
        return "\n".join([*lines, *self.remarks(self.rows)])


_HEAD = (
    "layer", "role", "parameters", "bits", "encoding", "before", "after", "ratio", "w/o index", "density",
    "rel. error", "SQNR dB",
)  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.layer, row.role, f"{row.parameters:,}", str(row.bits), row.encoding, human_bytes(row.bytes_before),
        human_bytes(row.payload_bytes + row.index_bytes), f"{row.ratio:.2f}", f"{row.ratio_without_index:.2f}",
        f"{row.density:.3f}", f"{row.relative_error:.4f}", f"{row.sqnr_db:.1f}",
    )  # fmt: skip


def _measured_as(measure: dict[str, Any]) -> str:
    """A measure in words: that of `evaluate`, or any other."""
    if "agreement" not in measure:
        return "  ".join(f"{key}={value}" for key, value in measure.items())
    step = f"{measure['step']}: " if "step" in measure else ""
    judged = ""
    if "accuracy" in measure:
        judged = f"accuracy {100 * measure['accuracy']:.2f}%, original {100 * measure['accuracy_original']:.2f}%; "
    same = f"same answer for {100 * measure['agreement']:.2f}% of {measure['samples']} samples ({measure['data']})"
    return (
        f"{step}{judged}{same}"
        f"\n  outputs: relative error {measure['relative_error']:.4g}, SQNR {measure['sqnr_db']:.1f} dB, cosine "
        f"{measure['cosine']:.5f}; activations: {measure['activations']}"
    )


def row_of(state: TensorState, kept: Stored) -> Row:
    """The row of a finished operand."""
    if state.described is not None:
        density, error, sqnr = state.described.density, nan, nan
    else:
        density, error, sqnr = _measured(state)
    notes = [*state.notes, *[f"{leaf.part}: {n}" for leaf in state.leaves() if leaf is not state for n in leaf.notes]]
    return Row(
        state.layer.name, state.role, state.layer.kind, state.elements, kept.spec.bits, _named(kept),
        bits_to_bytes(state.elements * ORIGINAL_BITS), bits_to_bytes(kept.payload_bits), bits_to_bytes(kept.index_bits),
        density, error, sqnr, "; ".join(notes),
    )  # fmt: skip


def _named(kept: Stored) -> str:
    """`codebook/csc`, `dense`, `tt`."""
    if kept.spec.generator is not None:
        return "described"
    inner = kept.spec.meta.get("inner")
    return f"{kept.spec.encoding}/{inner}" if inner else str(kept.spec.encoding)


def _measured(state: TensorState) -> tuple[float, float, float]:
    """Density, relative error and SQNR, by blocks of rows, so that no tensor of numbers is made for it."""
    first = state.original
    assert first is not None
    if state.factors is not None:
        cores = [leaf.values for leaf in state.leaves()]
        density = sum(int(np.count_nonzero(c)) for c in cores) / max(1, sum(c.size for c in cores))
        return (density, *errors(first, state.values))
    if first.ndim < 2:
        return (int(np.count_nonzero(state.values)) / first.size, *errors(first, state.values))
    blocks = row_blocks(*rows_of(first).shape)

    def work(i: int) -> tuple[float, float, int]:
        values = state.rows(blocks[i])
        signal, noise = squares(first[blocks[i]].reshape(-1), values.reshape(-1))
        return float(signal), float(noise), int(np.count_nonzero(values))

    found = over_blocks(work, len(blocks))
    ratio = _error(sum(f[0] for f in found), sum(f[1] for f in found))
    return (sum(f[2] for f in found) / first.size, *ratio)


def errors(original: NDArray[Any], values: NDArray[Any]) -> tuple[float, float]:
    """Relative error and SQNR in dB; sums in float64, block by block in a fixed order."""
    if original is values:
        return 0.0, inf
    x, y = original.reshape(-1), values.reshape(-1)
    step = BLOCK_ELEMENTS

    def work(i: int) -> tuple[float, float]:
        here = slice(i * step, (i + 1) * step)
        signal, noise = squares(x[here], y[here])
        return float(signal), float(noise)

    found = over_blocks(work, ceil_div(x.size, step))
    return _error(sum(f[0] for f in found), sum(f[1] for f in found))


def _error(signal: float, noise: float) -> tuple[float, float]:
    if noise == 0:
        return 0.0, inf
    if signal == 0:
        return inf, -inf
    return sqrt(noise / signal), 10 * log10(signal / noise)


@kernel(nogil=True)
def squares(x, y):  # type: ignore[no-untyped-def]
    """Sums of x**2 and (x - y)**2 in float64, in four interleaved parts that are added in order."""
    signal = np.zeros(4)
    noise = np.zeros(4)
    whole = x.size - x.size % 4
    for i in range(0, whole, 4):
        for j in range(4):
            a = np.float64(x[i + j])
            b = a - np.float64(y[i + j])
            signal[j] += a * a
            noise[j] += b * b
    for i in range(whole, x.size):
        a = np.float64(x[i])
        b = a - np.float64(y[i])
        signal[0] += a * a
        noise[0] += b * b
    return signal[0] + signal[1] + signal[2] + signal[3], noise[0] + noise[1] + noise[2] + noise[3]


@squares.warms_up_with
def _squares_example() -> tuple[Any, ...]:
    return np.zeros(4, np.float32), np.zeros(4, np.float32)


def _ratio(before: int | float, after: int | float) -> float:
    return before / after if after else inf
