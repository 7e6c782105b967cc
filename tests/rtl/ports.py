"""What the controller puts on the edges of a systolic array in every cycle, and what leaves it.

A schedule (when each fold's first word enters) is turned into one value per port and cycle. Both register models, the
one in Amaranth and the one in numpy, are driven by these arrays, and both return an ``EdgeLog``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EdgeLog", "Fold", "OsPorts", "Shape", "WsPorts", "Window", "drive_os", "drive_ws", "shape_of"]

Words = NDArray[np.int64]
Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """One fold's operands. OS: `left` is (r, T), `top` is (T, c). WS: `left` is (T, r), `top` is (r, c)."""

    left: Words
    top: Words


@dataclass(frozen=True)
class Shape:
    """Rows used, columns used, temporal length."""

    r: int
    c: int
    t: int


def shape_of(fold: Fold, stationary: str) -> Shape:
    """The shape of an ``os`` or ``ws`` fold."""
    if stationary == "os":
        return Shape(fold.left.shape[0], fold.top.shape[1], fold.top.shape[0])
    return Shape(fold.top.shape[0], fold.top.shape[1], fold.left.shape[0])


@dataclass(frozen=True)
class EdgeLog:
    """The edge registers after each cycle: `words` and `valid` (cycles, cols), and `busy` (cycles,) during it."""

    words: Words
    valid: Bits
    busy: Bits

    @property
    def completion_cycles(self) -> int:
        """Cycles until the last valid word is held at the edge."""
        return int(np.flatnonzero(self.valid.any(axis=1))[-1]) + 1 if self.valid.any() else 0


@dataclass(frozen=True)
class OsPorts:
    """Port values of an ``OsArray``: ifmap fields (cycles, rows), filter fields (cycles, cols)."""

    ifmap: Words
    ifmap_valid: Bits
    first: Bits
    last: Bits
    tail: Bits
    filter: Words
    filter_valid: Bits

    @property
    def cycles(self) -> int:
        return len(self.ifmap)


@dataclass(frozen=True)
class WsPorts:
    """Port values of a ``WsArray``: ifmap fields (cycles, rows), filter fields (cycles, cols), controls (cycles,)."""

    ifmap: Words
    ifmap_valid: Bits
    swap: Bits
    filter: Words
    filter_valid: Bits
    filter_end: Bits
    shift: Bits
    head: Bits

    @property
    def cycles(self) -> int:
        return len(self.ifmap)


@dataclass(frozen=True)
class Window:
    """When a WS fold's first weight word enters above PE(0, 0), and when its first operand reaches that PE."""

    load: int
    start: int


def _ports(kind: type, cycles: int, rows: int, cols: int, filters: Sequence[str],
           controls: Sequence[str]) -> dict[str, Any]:
    """Idle ports of `kind`: every field zero."""
    out: dict[str, Any] = {}
    for field in fields(kind):
        shape = (cycles,) if field.name in controls else (cycles, cols if field.name in filters else rows)
        out[field.name] = np.zeros(shape, dtype=np.int64 if field.name in ("ifmap", "filter") else np.bool_)
    return out


def drive_os(folds: Sequence[Fold], starts: Sequence[int], rows: int, cols: int) -> OsPorts:
    """Skewed operand streams: ifmap row i and filter column j begin i and j cycles after their fold's start.

    Where two folds claim one port in one cycle, the later fold's word is what the wire carries.
    """
    length = max(s + fold.top.shape[0] for s, fold in zip(starts, folds, strict=True)) + 3 * rows + cols + 2
    p = _ports(OsPorts, length, rows, cols, ("filter", "filter_valid"), ())
    for fold, start in zip(folds, starts, strict=True):
        r, t = fold.left.shape
        for i in range(r):
            now = np.arange(start + i, start + i + t)
            p["ifmap"][now, i], p["ifmap_valid"][now, i] = fold.left[i], True
            p["first"][now, i], p["last"][now, i], p["tail"][now, i] = False, False, False
            p["first"][now[0], i], p["last"][now[-1], i], p["tail"][now[-1], i] = True, True, i == r - 1
        for j in range(fold.top.shape[1]):
            now = np.arange(start + j, start + j + t)
            p["filter"][now, j], p["filter_valid"][now, j] = fold.top[:, j], True
    return OsPorts(**p)


def drive_ws(folds: Sequence[Fold], windows: Sequence[Window], rows: int, cols: int, wave: bool) -> WsPorts:
    """Weight words, the lowest row's first (column j delayed by j if `wave`), and skewed ifmap streams.

    Where two folds claim one port in one cycle, the later fold's word is what the wire carries.
    """
    ends = [max(w.start + len(fold.left), w.load + len(fold.top)) for w, fold in zip(windows, folds, strict=True)]
    length = max(ends) + 2 * rows + cols + 2
    p = _ports(WsPorts, length, rows, cols, ("filter", "filter_valid", "filter_end"), ("shift", "head"))
    for fold, window in zip(folds, windows, strict=True):
        (t, r), c = fold.left.shape, fold.top.shape[1]
        now = np.arange(window.load, window.load + r)
        p["shift"][now], p["head"][now], p["head"][now[0]] = True, False, True
        for j in range(cols):
            late = now + (j if wave else 0)
            p["filter"][late, j] = fold.top[::-1, j] if j < c else 0
            p["filter_valid"][late, j], p["filter_end"][late, j] = j < c, j == c - 1
        for i in range(r):
            now_i = np.arange(window.start + i, window.start + i + t)
            p["ifmap"][now_i, i], p["ifmap_valid"][now_i, i], p["swap"][now_i, i] = fold.left[:, i], True, False
            p["swap"][now_i[0], i] = True
    return WsPorts(**p)
