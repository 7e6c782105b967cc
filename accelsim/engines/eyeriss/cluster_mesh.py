"""How operands reach clusters of PEs on a hierarchical mesh of circuits, and what of it meets on one wire.

Eyeriss v2 (Chen, Yang, Emer, Sze, JETCAS 9(2), 2019, section III) sets up its routers before a round: a stream goes to
one cluster (unicast), to all (broadcast), to neighbours (grouped multicast) or to clusters apart (interleaved
multicast). Routers of inputs are wired to all neighbours, those of weights only along a row of clusters, since weights
come from outside into every row, and those of sums only along a column. A wire is as wide as a cluster's own port, so
one stream more on the busiest wire costs as much as one more into a cluster: the larger of both decides.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Grid(NamedTuple):
    """Clusters, row by row, and PEs of one; sums run down the PEs' columns."""

    columns: int
    rows: int
    pe_rows: int
    pe_columns: int


class Layout(NamedTuple):
    """Streams of one way to lay out parts of a layer over clusters.

    Attributes
    ----------
    inputs, weights, sums : int
        Different ones at the busiest port of a cluster or wire between clusters.
    input_copies, weight_copies, sum_copies : int
        Clusters that receive (of sums: send) each stream, added up over the streams.
    input_mode, weight_mode : str
        How they travel, in the paper's words.
    """

    inputs: int
    weights: int
    sums: int
    input_copies: int
    weight_copies: int
    sum_copies: int
    input_mode: str
    weight_mode: str


class Placement(NamedTuple):
    """PEs over blocks of filters, of columns, and of positions; and the streams of that, as of a `Layout`."""

    filters: int
    columns: int
    positions: int
    streams: Layout
    inside: int
    """PEs of a cluster."""


@functools.lru_cache(maxsize=64)
def placements(grid: Grid) -> tuple[Placement, ...]:
    """What a round may look like: splits among clusters times splits among the PEs of one.

    Columns that add up lie below each other in a cluster, so there are at most as many of them as rows of PEs. Of equal
    splits those are left out that are worse at no wire than another one.
    """
    found: dict[tuple[int, int, int], list[Placement]] = {}
    for f1, c1, p1 in _triples(grid.columns * grid.rows, grid.rows):
        for layout in layouts(f1, c1, p1, grid.columns, grid.rows):
            for f0, c0, p0 in _triples(grid.pe_rows * grid.pe_columns, grid.pe_rows):
                streams = Layout(
                    c0 * p0 * layout.inputs, f0 * c0 * layout.weights, f0 * p0 * layout.sums,
                    c0 * p0 * layout.input_copies, f0 * c0 * layout.weight_copies, f0 * p0 * layout.sum_copies,
                    layout.input_mode, layout.weight_mode,
                )  # fmt: skip
                placed = Placement(f0 * f1, c0 * c1, p0 * p1, streams, f0 * c0 * p0)
                found.setdefault(placed[:3], []).append(placed)
    return tuple(itertools.chain.from_iterable(_undominated(found[key]) for key in sorted(found)))


@functools.lru_cache(maxsize=64)
def placement_arrays(grid: Grid) -> Ints:
    """Filters, columns, positions, streams of inputs, weights and sums, PEs of a cluster: a row each."""
    table = [(*p[:3], *p.streams[:3], p.inside) for p in placements(grid)]
    return np.array(table, np.int64).T


def counts(most: int) -> list[int]:
    """Powers of two and three times those, up to `most`, and `most`."""
    found = {most} | {c for i in range(12) for c in (2**i, 3 * 2**i) if c <= most}
    return sorted(found)


def _triples(most: int, chain: int) -> list[tuple[int, int, int]]:
    """Counts of filters, columns (at most `chain`) and positions with a product up to `most`."""
    return [
        (f, c, p) for f in counts(most) for c in counts(min(chain, most // f)) for p in counts(most // (f * c))
    ]  # fmt: skip


def _undominated(found: list[Placement]) -> list[Placement]:
    """Those that no other equals or beats in all of inputs, weights, sums and PEs of a cluster."""
    kept: list[tuple[tuple[int, ...], Placement]] = []
    ranked = sorted((_key(p), p.streams[3] + p.streams[4] + p.streams[5], n, p) for n, p in enumerate(found))
    for key, _, _, placed in ranked:
        if not any(all(a <= b for a, b in zip(other, key, strict=True)) for other, _ in kept):
            kept.append((key, placed))
    return [placed for _, placed in kept]


def _key(placed: Placement) -> tuple[int, ...]:
    return (*placed.streams[:3], placed.inside)


@functools.lru_cache(maxsize=4096)
def layouts(filters: int, columns: int, positions: int, grid_columns: int, grid_rows: int) -> tuple[Layout, ...]:
    """All ways to give one cluster to each combination, in some order of the three, along rows or columns of the grid.

    Cluster (f, c, p) reads the inputs (c, p) and the weights (f, c), and adds to the sums (f, p) on their way along a
    column of clusters. Ways in which sums would have to change the column are left out.
    """
    sizes = {"f": filters, "c": columns, "p": positions}
    found = []
    several = [o for o in "fcp" if sizes[o] > 1] or ["f"]  # the order of the others changes nothing
    for order in itertools.permutations(several):
        grids = np.indices([sizes[o] for o in order]).reshape(len(order), -1)
        f, c, p = (grids[order.index(o)] if o in order else np.zeros_like(grids[0]) for o in "fcp")
        number = np.arange(filters * columns * positions)
        for y, x in (np.divmod(number, grid_columns), np.divmod(number, grid_rows)[::-1]):
            sums = f * positions + p
            column = np.zeros(filters * positions, np.int64)
            column[sums] = x
            if np.all(column[sums] == x):
                found.append(_layout(c * positions + p, f * columns + c, sums, y, x, (grid_rows, grid_columns)))
    return tuple(dict.fromkeys(found))


def _layout(inputs: Ints, weights: Ints, sums: Ints, y: Ints, x: Ints, grid: tuple[int, int]) -> Layout:
    """Counts of one layout; y and x are the cluster that each entry has."""
    rows = weights * grid[0] + y  # in every row anew
    loads = [max(1, busiest_wire(ids, y, x, grid)) for ids in (inputs, rows, sums)]
    modes = _mode(inputs, y, x), _mode(weights, y, x)
    return Layout(loads[0], loads[1], loads[2], len(inputs), len(weights), len(sums), *modes)


def busiest_wire(ids: Ints, y: Ints, x: Ints, grid: tuple[int, int]) -> int:
    """Streams on the busiest wire between clusters of a grid (rows, columns), one wire for each direction.

    A stream starts at the first of its clusters (row by row) and goes along that row, then along columns.
    """
    right, left = np.zeros((2, grid[0], grid[1] + 1), np.int64)
    down, up = np.zeros((2, grid[0] + 1, grid[1]), np.int64)
    for stream in np.unique(ids):
        ys, xs = y[ids == stream], x[ids == stream]
        first = np.lexsort((xs, ys))[0]
        y0, x0 = int(ys[first]), int(xs[first])
        _span(right[y0], x0, int(xs.max()))
        _span(left[y0], int(xs.min()), x0)
        for column in np.unique(xs).tolist():
            _span(down[:, column], y0, int(ys[xs == column].max()))
            _span(up[:, column], int(ys[xs == column].min()), y0)
    along = (np.cumsum(wires, axis=1) for wires in (right, left))
    across = (np.cumsum(wires, axis=0) for wires in (down, up))
    return max(int(wires.max()) for wires in (*along, *across))


def _span(marks: Ints, start: int, end: int) -> None:
    """One stream more on the wires from place `start` to place `end`; adding the marks up gives the streams."""
    if end > start:
        marks[start] += 1
        marks[end] -= 1


def _mode(ids: Ints, y: Ints, x: Ints) -> str:
    """How the streams travel, all together."""
    streams = np.unique(ids)
    receivers = len(ids) // len(streams)
    if receivers == 1:
        return "unicast"
    if receivers == len(ids):
        return "broadcast"
    for stream in streams:
        ys, xs = y[ids == stream], x[ids == stream]
        if (np.ptp(ys) + 1) * (np.ptp(xs) + 1) > receivers:
            return "interleaved multicast"
    return "grouped multicast"
