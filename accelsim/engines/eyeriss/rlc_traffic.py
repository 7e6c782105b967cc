"""Feature maps that travel run-length coded: the 64-bit words that hold the rows of a tile (Eyeriss' code).

Every map (of a matrix product: every row) is a stream of its own, in the order of its elements: see
`accelsim.workload.encodings.rlc.EyerissRunLength`. A tile fetches the words that hold its rows, and writes those that
begin in them, so that a map's words are written once. Counted on the real values where the trace holds them, else
expected from the density.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.common.density import held
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiling import distinct
from accelsim.workload.encodings.rlc import EyerissRunLength
from accelsim.workload.shapes import ConvShape

Tiles = NDArray[Any]  # of TILE_DTYPE
Ints = NDArray[np.int64]

_PAIRS = EyerissRunLength.PAIRS
_REACH = 1 << EyerissRunLength.RUN_BITS  # zeros that a padding pair stands for


def pack_fmaps(part: Part, tiles: Tiles) -> tuple[str, ...]:
    """Overwrite `ifmap_bytes` and `ofmap_bytes` where the code is shorter than the plain map; names of those.

    A feature map is coded or not as a whole, so that the layer that reads it finds what was written.
    """
    return tuple(
        name for name, shape in (("ifmap", _ifmap_shape(part)), ("ofmap", _ofmap_shape(part)))
        if int(tiles[f"{name}_bytes"].sum()) and _pack(part, tiles, name, shape)
    )  # fmt: skip


def _ifmap_shape(part: Part) -> tuple[int, int, int, int]:
    s = part.shape
    return (s.n, s.c, s.h, s.w) if isinstance(s, ConvShape) else (s.batch, s.m, s.k, 1)


def _ofmap_shape(part: Part) -> tuple[int, int, int, int]:
    s = part.shape
    return (s.n, s.m, s.p, s.q) if isinstance(s, ConvShape) else (s.batch, s.m, s.n, 1)


def _pack(part: Part, tiles: Tiles, name: str, shape: tuple[int, int, int, int]) -> bool:
    task = part.task
    role = dict(part.roles).get(name, name)
    operand = task.trace.operand(task.layer.name, role)
    if operand is None or operand.floating:
        return False
    if held(operand) and operand.elements == int(np.prod(shape)):
        pairs = row_pairs(operand.values().reshape(shape))
        coded = 64 * int((-(-pairs.sum(2) // _PAIRS)).sum())
    else:
        each = expected_pairs(operand.density)
        coded = int(each * 64 / _PAIRS * int(np.prod(shape)))
        row = int(each * shape[3] * 2**20)  # in parts of 2**-20, so that sums stay whole numbers
        pairs = np.broadcast_to(np.int64(row), shape[:3])
    if coded >= int(np.prod(shape)) * task.bits[name]:
        return False
    scale = 1 if held(operand) and operand.elements == int(np.prod(shape)) else 2**20
    moved = tiles[f"{name}_bytes"] > 0
    tiles[f"{name}_bytes"][moved] = 8 * _words(part, tiles[moved], name, pairs, scale)
    return True


def row_pairs(values: NDArray[Any]) -> Ints:
    """Pairs that end in each row of (images, channels, rows, columns), padding among them: (images, channels, rows)."""
    n, c, h, w = values.shape
    at = np.flatnonzero(values.reshape(-1))
    which = at // (h * w)
    before = np.concatenate(([-1], at[:-1]))
    before = np.where(np.concatenate(([True], which[1:] != which[:-1])), which * (h * w) - 1, before)
    padding = (at - before - 1) // _REACH
    return np.bincount(at // w, weights=1 + padding, minlength=n * c * h).astype(np.int64).reshape(n, c, h)


def expected_pairs(density: float) -> Fraction:
    """Expected pairs for each element of a long map of independent zeros: d / (1 - (1 - d)**32)."""
    d = Fraction(density).limit_denominator(10**6)
    return d / (1 - (1 - d) ** _REACH) if d else Fraction(0)


def _words(part: Part, tiles: Tiles, name: str, pairs: Ints, scale: int) -> Ints:
    """Words of each tile: sums over its maps of the words between its first and its last pair."""
    conv = isinstance(part.shape, ConvShape)
    n, c, h = pairs.shape
    ends = np.zeros((n, c, h + 1), np.int64)
    np.cumsum(pairs, axis=2, out=ends[..., 1:])
    out = np.zeros(len(tiles), np.int64)
    if conv:
        groups = part.shape.g if isinstance(part.shape, ConvShape) else 1
        first, count = ("channel0", "channels") if name == "ifmap" else ("output0", "n")
        low, rows = ("in_row0", "in_rows") if name == "ifmap" else ("row0", "rows")
        maps0 = tiles["group0"] * (c // groups) + tiles[first]
        maps1, images0 = maps0 + tiles[count], tiles["image0"]
        images1, lows, highs = images0 + tiles["images"], tiles[low], np.minimum(h, tiles[low] + tiles[rows])
    else:  # the stream of a row of the matrix runs over its columns
        first, count = ("channel0", "channels") if name == "ifmap" else ("output0", "n")
        images0, maps0 = tiles["group0"], tiles["image0"]
        images1, maps1 = images0 + 1, maps0 + tiles["images"]
        lows, highs = tiles[first], tiles[first] + tiles[count]
    per = _PAIRS * scale
    strips, which = distinct([lows, highs])
    order = np.argsort(which, kind="stable")
    cuts = np.searchsorted(which[order], np.arange(len(strips) + 1))
    for number, (low_row, high_row) in enumerate(strips.tolist()):
        mine = order[cuts[number] : cuts[number + 1]]
        begin = ends[..., low_row] // per if name == "ifmap" else -(-ends[..., low_row] // per)
        each = -(-ends[..., high_row] // per) - begin
        table = np.zeros((n + 1, c + 1), np.int64)
        table[1:, 1:] = each.cumsum(0).cumsum(1)
        i0, i1, c0, c1 = images0[mine], images1[mine], maps0[mine], maps1[mine]
        out[mine] = table[i1, c1] - table[i0, c1] - table[i1, c0] + table[i0, c0]
    return out
