"""The closed forms equal a walk over the folds, for every dataflow, overlap and edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.dataflow.base import DATAFLOWS, Array, JobEdge

CASES = [
    (name, overlap, edge)
    for name, flow in DATAFLOWS.items()
    for overlap in flow.overlaps
    for edge in ("ragged", "full")
]


def fold_list(extent_rows: int, extent_cols: int, array: Array) -> list[tuple[int, int]]:
    """(rows, columns) in use of every fold, column folds outer."""
    wide = array.cols * array.arrays
    return [
        (array.rows, array.cols)
        if array.edge == "full"
        else (min(array.rows, extent_rows - r), min(array.cols, extent_cols - c))
        for c in range(0, extent_cols, wide)
        for r in range(0, extent_rows, array.rows)
    ]


def interval(name: str, array: Array, t: int, now: tuple[int, int], then: tuple[int, int]) -> int:
    """Cycles between the starts of two folds of equal length, written fold by fold."""
    (r, c), r2 = now, then[0]
    if name == "os":
        operands = t + r + c - 2 if array.overlap == "serial" else t
        return max(operands, 2 * r - r2, r - 1)
    return {
        "serial": t + array.rows + c - 2 + r2,
        "overlap": t + r2 - 1,
        "double_buffered": max(t, r2),
    }[array.overlap]


def walked(name: str, array: Array, m: int, n: int, k: int) -> tuple[int, int]:
    """(start of the last fold, completion of the whole) after the first load."""
    rows, cols, t = (int(x) for x in DATAFLOWS.lookup(name).spatial(m, n, k))
    folds = fold_list(rows, cols, array)
    start = finish = 0
    for i, (r, c) in enumerate(folds):
        tail = t + r + c - 2 + r - 1 if name == "os" else t + array.rows + c - 2
        finish = max(finish, start + tail)
        if i + 1 < len(folds):
            start += interval(name, array, t, folds[i], folds[i + 1])
    return start, finish


@pytest.mark.parametrize(("name", "overlap", "edge"), CASES)
@given(data=st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_timing_equals_a_walk_over_the_folds(name: str, overlap: str, edge: str, data: st.DataObject) -> None:
    size, extent = st.integers(1, 6), st.integers(1, 20)
    array = Array(data.draw(size), data.draw(size), overlap, edge, data.draw(st.integers(1, 3)))
    m, n, k = data.draw(extent), data.draw(extent), data.draw(extent)
    flow = DATAFLOWS.lookup(name)
    timing = flow.timing(array, m, n, k)
    start, finish = walked(name, array, m, n, k)
    folds = fold_list(*(int(x) for x in flow.spatial(m, n, k)[:2]), array)
    assert timing.finish == finish
    assert timing.folds == len(folds)
    assert timing.busy == len(folds) * flow.spatial(m, n, k)[2]
    assert timing.load == (0 if name == "os" else folds[0][0])
    if overlap in ("pipelined", "overlap", "double_buffered"):
        assert timing.stream == start + flow.spatial(m, n, k)[2]


@pytest.mark.parametrize(("name", "overlap", "edge"), CASES)
def test_arrays_of_jobs_equal_single_jobs(name: str, overlap: str, edge: str) -> None:
    flow, array = DATAFLOWS.lookup(name), Array(4, 3, overlap, edge)
    rng = np.random.default_rng(1)
    m, n, k = rng.integers(1, 30, (3, 50))
    together = flow.timing(array, m, n, k)
    for i in range(50):
        alone = flow.timing(array, int(m[i]), int(n[i]), int(k[i]))
        for field in ("load", "load_free", "stream", "finish", "busy", "folds"):
            assert getattr(together, field)[i] == getattr(alone, field)


@pytest.mark.parametrize(("name", "overlap", "edge"), CASES)
@given(data=st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_two_jobs_in_a_chain_equal_one_list_of_folds(name: str, overlap: str, edge: str, data: st.DataObject) -> None:
    """The chain rule of starts (load_free, load, stream, gap) is what a walk over both jobs' folds gives."""
    size, extent = st.integers(1, 5), st.integers(1, 12)
    array = Array(data.draw(size), data.draw(size), overlap, edge)
    flow = DATAFLOWS.lookup(name)
    jobs = [tuple(data.draw(extent) for _ in range(3)) for _ in range(2)]
    first, second = (flow.timing(array, *job) for job in jobs)
    gap = flow.gap(array, flow.edges(array, *jobs[0])[1], flow.edges(array, *jobs[1])[0])
    chained = max(int(first.load_free + second.load), int(first.stream + gap))
    shapes = [flow.spatial(*job) for job in jobs]
    last = fold_list(int(shapes[0][0]), int(shapes[0][1]), array)[-1]
    then = fold_list(int(shapes[1][0]), int(shapes[1][1]), array)[0]
    t, t2 = int(shapes[0][2]), int(shapes[1][2])
    start, _ = walked(name, array, *jobs[0])
    (r, c), r2 = last, then[0]
    if name == "os":
        operands = t + r + c - 2 if overlap == "serial" else t
        expected = max(operands, t - t2 + 2 * r - r2, t - t2 + r - 1 if overlap == "pipelined" else 0)
    else:
        expected = interval(name, array, t, last, then)
    if name != "os" and overlap == "serial":
        # all psums of the first job must have left, also those of a wider column fold before its last
        assert chained >= start + expected
        assert chained == max(start + expected, int(first.finish) + r2)
    else:
        assert chained == start + expected


def test_accesses_count_every_operand_at_least_once() -> None:
    for name, flow in DATAFLOWS.items():
        array = Array(4, 4, flow.overlaps[0])
        access = flow.accesses(array, 10, 9, 7)
        assert access.ifmap_reads >= 70 and access.filter_reads >= 63, name
        assert access.psum_writes - access.psum_reads == 90, name


def test_a_gap_is_needed_only_after_taller_folds() -> None:
    flow, array = DATAFLOWS.lookup("os"), Array(8, 8, "pipelined")
    equal = JobEdge(8, 8, 20)
    assert flow.gap(array, equal, equal) == 0
    assert flow.gap(array, JobEdge(8, 8, 2), JobEdge(1, 8, 2)) == 13  # 2 * 8 - 1 - 2
