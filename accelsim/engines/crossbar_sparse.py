"""Cycles of crossbars that leave out operation units: rows that are zero, and digits that are (ISCA 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.crossbar_math import Cells, input_digits
from accelsim.engines.crossbar_rule import kept_rows, operation_units
from accelsim.engines.part import Part
from accelsim.workload.shapes import ConvShape

if TYPE_CHECKING:
    from accelsim.engines.crossbar import Crossbar
    from accelsim.engines.tiled import Tiles


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


def units_of_product(
    x: NDArray[Any], w: NDArray[Any], cells: Cells, rows: int, columns: int, active: tuple[int, int], skip: str
) -> NDArray[np.int64]:
    """Operation units of each vector in each crossbar: (vectors, crossbars).

    x (vectors, k) and w (k, n) are integers; `rows`, `columns` the weights of a crossbar; `active` the operation
    unit's wordlines and bit lines; `skip` as in the engine's spec.
    """
    digits = np.stack([d for _, d in input_digits(x, cells)], 1)
    stored = levels(w, cells)
    found = []
    for r, c in blocks(w, rows, columns):
        kept = kept_rows(stored[r, c.start * cells.slices : c.stop * cells.slices], active[1])
        found.append(
            operation_units(
                digits[:, :, r], kept, active[0], skip_weights=skip in ("weights", "both"),
                skip_inputs=skip in ("inputs", "both"),
            )
        )  # fmt: skip
    return np.stack(found, 1)


def skipped_cycles(engine: Crossbar, part: Part, tiles: Tiles, turns: Any) -> tuple[Any, Any]:
    """(busy, waiting for ADCs) of every tile: each product takes as long as the crossbar with the most units.

    Copies take turns, so a tile's products are shared out evenly among them.
    """
    spec, bits = engine.spec, engine.bits_of(part)
    cells = spec.cells(bits["filter"], bits["ifmap"], part.signed("ifmap"))
    mvm = engine.mvm(1, 1, 1, False, bits)
    busy = np.zeros(len(tiles), np.int64)
    for index, tile in enumerate(tiles):
        total = 0
        for group in range(int(tile["group0"]), int(tile["group0"] + tile["groups"])):
            x, w = _operands(part, group, tile)
            # positive and negative cells lie beside each other, and are zero together only if both are
            columns = max(1, spec.active_cols * cells.slices // cells.cells_per_weight)
            active = spec.active_rows, columns
            found = units_of_product(x, w, cells, spec.rows, engine.columns(bits), active, spec.skip)
            total += int(np.maximum(found.max(1), 1).sum())
        copies = max(1, -(-int(tile["m"]) // max(1, int(turns[index]))))
        busy[index] = -(-total // copies)
    return busy * spec.read_cycles, busy * (mvm.step - mvm.read)


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


def _operands(part: Part, group: int, tile: Any) -> tuple[NDArray[Any], NDArray[Any]]:
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
