"""Fronts and hypervolumes: how good a set of designs is in several respects at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Vector = tuple[float, ...]


def front(vectors: Iterable[Sequence[float]]) -> list[Vector]:
    """The vectors that no other is at least as good as everywhere and better somewhere (less is better).

    Sorted, without repeats.
    """
    kept: list[Vector] = []
    # in lexicographic order nothing is dominated by what comes after it
    for vector in sorted({tuple(v) for v in vectors}):
        if not any(all(a <= b for a, b in zip(other, vector, strict=True)) for other in kept):
            kept.append(vector)
    return kept


def hypervolume(vectors: Iterable[Sequence[float]], reference: Sequence[float]) -> float:
    """Volume of what the vectors dominate, up to the reference point (less is better).

    Slices along the last coordinate, each a hypervolume of one dimension less (While et al., "A Faster Algorithm
    for Calculating Hypervolume", IEEE Trans. Evol. Comp. 10(1), 2006: "hypervolume by slicing objectives").
    """
    inside = [tuple(v) for v in vectors if all(a < r for a, r in zip(v, reference, strict=True))]
    return _volume(front(inside), tuple(reference))


def _volume(points: list[Vector], reference: Vector) -> float:
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in points)
    if len(reference) == 2:
        return _area(points, reference)
    total = 0.0
    ordered = sorted(points, key=lambda point: point[-1])
    bounds = [point[-1] for point in ordered] + [reference[-1]]
    for n in range(len(ordered)):
        depth = bounds[n + 1] - bounds[n]
        if depth > 0:
            total += depth * _volume(front(point[:-1] for point in ordered[: n + 1]), reference[:-1])
    return total


def _area(points: list[Vector], reference: Vector) -> float:
    """A staircase: `points` is a front, so the second coordinate falls while the first rises."""
    total, last = 0.0, reference[1]
    for x, y in sorted(points):
        total += (reference[0] - x) * (last - y)
        last = y
    return total
