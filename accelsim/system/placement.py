"""Which core gets which share: the order of the shares over the cores that costs the fewest byte-hops.

Shares come in an order of the partition's loops; every permutation of the loops that are cut is tried. Its cost is
the sum over messages of bytes x distance in the network's plane: a multicast counts half the perimeter of the
rectangle around its cores (the least that a tree needs), a partial sum the way to the next core of its chain.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.system.partition import Partition, Piece

Places = NDArray[np.float64]


def core_places(network: Any, terminals: list[int]) -> Places | None:
    """Where the cores are, shape (cores, 2); None in a network without a plane (a bus, a tree, a switch)."""
    graph = getattr(network, "graph", None) or getattr(getattr(network, "fabric", None), "graph", None)
    place = getattr(graph, "place", None)
    if graph is None or place is None:
        return None
    places: Places = np.asarray(place, np.float64)[graph.terminal_router[terminals]]
    return places


def best_order(
    found: list[Piece], partition: Partition, places: Places, bytes_of: tuple[int, int, int]
) -> list[int]:
    """For each share the number of its core among `places`.

    Parameters
    ----------
    found : list of Piece
        All shares, in the order of `pieces`.
    partition : Partition
    places : array, shape (cores, 2)
    bytes_of : (ifmap, filter, psum)
        Bytes of a share: what cores with equal inputs, with equal weights, and neighbours in a chain exchange.

    Returns
    -------
    list of int
        The plain order, unless another costs less.
    """
    counts = tuple(partition.counts.values())
    cut = [axis for axis, count in enumerate(counts) if count > 1]
    index = np.arange(len(found)).reshape(counts)
    best: list[int] = list(range(len(found)))
    least: float | None = None
    for order in permutations(cut):
        axes = (*(a for a in range(4) if a not in cut), *order)
        # position of each share when the loops run in this order
        position = np.empty(len(found), np.int64)
        position[index.transpose(axes).ravel()] = np.arange(len(found))
        cost = _cost(places[position].reshape(*counts, 2), bytes_of)
        if least is None or cost < least:
            best, least = position.tolist(), cost
    return best


def _cost(at: Places, bytes_of: tuple[int, int, int]) -> float:
    """Byte-hops of one arrangement; `at` has the places by (image, row, output, channel) part."""
    inputs, filters, sums = bytes_of
    spread = float(_half_perimeter(at, (2,)) * inputs + _half_perimeter(at, (0, 1)) * filters)
    steps = np.abs(np.diff(at, axis=3)).sum()
    return spread + float(steps) * sums


def _half_perimeter(at: Places, axes: tuple[int, ...]) -> float:
    """Summed over all groups of cores that differ in `axes` only."""
    if all(at.shape[a] == 1 for a in axes):
        return 0.0
    return float((at.max(axes) - at.min(axes)).sum())
