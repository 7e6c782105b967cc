"""Cycles of crossbars that leave out operation units: rows that are zero, and digits that are (ISCA 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TileTimes
from accelsim.engines.crossbars.math import Cells, input_digits
from accelsim.engines.crossbars.rule import kept_rows, operation_units
from accelsim.workload.shapes import ConvShape

if TYPE_CHECKING:
    from accelsim.engines.crossbar import Crossbar
    from accelsim.engines.common.tiled import Tiles

#: Elements of the windows that are looked at together
_ELEMENTS = 1 << 21


def levels(w: NDArray[Any], cells: Cells) -> NDArray[np.int64]:
    """Magnitudes of weights (k, n) as digits, (k, n x slices), slices of a weight beside each other.

    Row compression needs a zero weight to be zero cells, so signs are kept apart (sign and magnitude).
    """
    size = np.abs(np.asarray(w, np.int64))
    digits = [(size >> (cells.cell_bits * s)) & (2**cells.cell_bits - 1) for s in range(cells.slices)]
    return np.stack(digits, 2).reshape(w.shape[0], -1)


def blocks(w: NDArray[Any], rows: int, columns: int) -> list[tuple[slice, slice]]:
    """The units of a matrix (k, n): row and column ranges, row blocks first."""
    k, n = w.shape
    return [
        (slice(a, min(k, a + rows)), slice(b, min(n, b + columns)))
        for a in range(0, k, rows)
        for b in range(0, n, columns)
    ]


@dataclass(frozen=True)
class Work:
    """What products do when operation units are left out.

    Attributes
    ----------
    units : ndarray of int64, (vectors, crossbars)
        Operation units of each crossbar.
    reads, driven, conversions : int
        Over all vectors and crossbars: units, wordlines that they drive, bit lines that they convert.
    """

    units: NDArray[np.int64]
    reads: int
    driven: int
    conversions: int


def work_of_product(
    x: NDArray[Any], w: NDArray[Any], cells: Cells, rows: int, columns: int, active: tuple[int, int], skip: str
) -> Work:
    """Operation units of each vector in each crossbar.

    x (vectors, k) and w (k, n) are integers; `rows`, `columns` the weights of a crossbar; `active` the operation
    unit's wordlines and bit lines (of one sign); `skip` as in the engine's spec.
    """
    digits = np.stack([d for _, d in input_digits(x, cells)], 1)
    stored = levels(w, cells)
    signs = cells.cells_per_weight // cells.slices
    found, reads, driven, conversions = [], 0, 0, 0
    for r, c in blocks(w, rows, columns):
        width = (c.stop - c.start) * cells.slices
        kept = kept_rows(stored[r, c.start * cells.slices : c.stop * cells.slices], active[1])
        units, groups, lines = operation_units(
            digits[:, :, r], kept, active[0], skip_weights=skip in ("weights", "both"),
            skip_inputs=skip in ("inputs", "both"),
        )  # fmt: skip
        found.append(units)
        widths = np.minimum(active[1], width - active[1] * np.arange(len(groups)))
        reads, driven = reads + int(groups.sum()), driven + int(lines.sum())
        conversions += signs * int((groups * widths).sum())
    return Work(np.stack(found, 1), reads, driven, conversions)


def units_of_product(
    x: NDArray[Any], w: NDArray[Any], cells: Cells, rows: int, columns: int, active: tuple[int, int], skip: str
) -> NDArray[np.int64]:
    """`work_of_product`, the units alone."""
    return work_of_product(x, w, cells, rows, columns, active, skip).units


@dataclass(frozen=True)
class SkippedTimes(TileTimes):
    """Times of tiles, and what arrays and converters did meanwhile."""

    counts: ActionCounts = field(default_factory=ActionCounts)


def work_of_tile(engine: Crossbar, part: Part, tile: Any) -> tuple[NDArray[np.int64], ActionCounts]:
    """(operation units in a row that each vector takes, what they do): a vector waits for its slowest crossbar.

    All groups' crossbars work at the same time; those for which there is no room come in further rounds.
    """
    spec, bits = engine.spec, engine.bits_of(part)
    cells = spec.cells(bits["filter"], bits["ifmap"], part.signed("ifmap"))
    # positive and negative cells lie beside each other, and are zero together only if both are
    columns = max(1, spec.active_cols * cells.slices // cells.cells_per_weight)
    found, counts = [], ActionCounts()
    for group in range(int(tile["group0"]), int(tile["group0"]) + int(tile["groups"])):
        x, w = operands_of(part, group, tile)
        work = work_of_product(
            x, w, cells, spec.rows, engine.columns(bits), (spec.active_rows, columns), spec.skip
        )
        found.append(work.units)
        counts.add("crossbar", "read", work.reads)
        counts.add("dac", "convert", work.driven)
        for name, action in (("sample_hold", "sample"), ("adc", "convert"), ("shift_add", "op")):
            counts.add(name, action, work.conversions)
    units = np.concatenate(found, 1)
    room = engine.units(bits)
    turns = sum(np.maximum(units[:, a : a + room].max(1), 1) for a in range(0, units.shape[1], room))
    return np.asarray(turns, np.int64), counts


def skipped_times(engine: Crossbar, part: Part, tiles: Tiles, turns: Any, between: Any) -> SkippedTimes:
    """Times of all tiles but for programming before them; copies take turns, so products are shared out evenly."""
    step = engine.mvm(1, 1, 1, False, engine.bits_of(part))
    units, counts = np.zeros(len(tiles), np.int64), ActionCounts()
    for index, tile in enumerate(tiles):
        rows, did = work_of_tile(engine, part, tile)
        copies = max(1, -(-int(tile["m"]) // max(1, int(turns[index]))))
        units[index] = -(-int(rows.sum()) // copies)
        counts.merge(did)
    busy, adc = units * engine.spec.read_cycles, units * (step.step - step.read)
    none = np.zeros_like(busy)
    return SkippedTimes(none, none, busy + adc + between, busy + adc + between, busy, {"adc": adc}, counts)


def work_of_rows(engine: Crossbar, part: Part, rows: int) -> tuple[NDArray[np.int64], ActionCounts]:
    """(operation units in a row of each row of outputs, what one item's products do) of a layer whose weights stay."""
    shape, counts = part.shape, ActionCounts()
    found = []
    if not isinstance(shape, ConvShape):
        tile = {
            "group0": 0, "groups": shape.batch, "output0": 0, "n": shape.n, "channel0": 0, "k": shape.k, "image0": 0,
            "m": shape.m,
        }  # fmt: skip
        units, counts = work_of_tile(engine, part, tile)
        return units.reshape(rows, -1).sum(1), counts
    inner = shape.c // shape.g
    some = max(1, _ELEMENTS // max(1, shape.q * inner * shape.r * shape.s))  # rows of outputs at once
    for image in range(shape.n):
        for row in range(0, shape.p, some):
            tile = {
                "group0": 0, "groups": shape.g, "output0": 0, "n": shape.m // shape.g, "channel0": 0,
                "channels": inner, "tap0": 0, "k": inner * shape.r * shape.s, "image0": image, "images": 1,
                "row0": row, "rows": min(some, shape.p - row), "col0": 0, "cols": shape.q,
            }  # fmt: skip
            units, did = work_of_tile(engine, part, tile)
            found.append(units.reshape(-1, shape.q).sum(1))
            counts.merge(did)
    return np.concatenate(found), counts


def weights_of(part: Part, group: int, tile: Any) -> NDArray[Any]:
    """Weights (k, n) of a tile and group."""
    filters, n = part.filters(), slice(int(tile["output0"]), int(tile["output0"] + tile["n"]))
    if not isinstance(part.shape, ConvShape):
        c = slice(int(tile["channel0"]), int(tile["channel0"] + tile["k"]))
        return np.asarray(filters[group, n, c].T)
    c = slice(int(tile["channel0"]), int(tile["channel0"] + tile["channels"]))
    first, taps = int(tile["tap0"]), int(tile["k"]) // int(tile["channels"])
    found = filters[group, n, c].reshape(n.stop - n.start, c.stop - c.start, -1)[..., first : first + taps]
    return np.asarray(found.reshape(n.stop - n.start, -1).T)


def operands_of(part: Part, group: int, tile: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """(inputs (m, k), weights (k, n)) of a tile and group."""
    shape, w = part.shape, weights_of(part, group, tile)
    if not isinstance(shape, ConvShape):
        c = slice(int(tile["channel0"]), int(tile["channel0"] + tile["k"]))
        m = slice(int(tile["image0"]), int(tile["image0"] + tile["m"]))
        return part.ifmap()[group][m, c], w
    c = slice(int(tile["channel0"]), int(tile["channel0"] + tile["channels"]))
    inner = shape.c // shape.g
    images = slice(int(tile["image0"]), int(tile["image0"] + tile["images"]))
    x = part.ifmap()[images, group * inner + c.start : group * inner + c.stop]
    top, left, bottom, right = shape.pad
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    spans = [d * (t - 1) + 1 for d, t in zip(shape.dilation, (shape.r, shape.s), strict=True)]
    view: Any = np.lib.stride_tricks.sliding_window_view(x, spans, (2, 3))  # type: ignore[call-overload]
    view = view[:, :, :: shape.stride[0], :: shape.stride[1], :: shape.dilation[0], :: shape.dilation[1]]
    rows = slice(int(tile["row0"]), int(tile["row0"] + tile["rows"]))
    cols = slice(int(tile["col0"]), int(tile["col0"] + tile["cols"]))
    view = view[:, :, rows, cols]
    first, taps = int(tile["tap0"]), int(tile["k"]) // int(tile["channels"])
    flat = view.reshape(*view.shape[:4], -1)[..., first : first + taps]
    return flat.transpose(0, 2, 3, 1, 4).reshape(-1, int(tile["k"])), w
