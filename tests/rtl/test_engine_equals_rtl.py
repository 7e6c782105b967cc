"""The closed forms of `accelsim.dataflow` against the register-transfer models, cycle for cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.dataflow.base import DATAFLOWS, Array, Dataflow, JobTiming

from .bench import RtlRun, os_starts, run_os_folds, run_ws_folds, tiles, ws_windows
from .cases import DATAFLOW_MODES, MODES, SMALL_ARRAYS, Job, examples, gemm, jobs, spatial
from .ports import Fold, Shape, shape_of

seeds = st.integers(0, 2**32 - 1)

Gemm = tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """What the arrays of a machine do at the same time: a fold each, on neighbouring column folds."""

    folds: list[Fold]

    def shape(self, stationary: str, array: Array) -> Shape:
        """The fold that the common controller sees: the widest of them."""
        if array.edge == "full":
            return Shape(array.rows, array.cols, shape_of(self.folds[0], stationary).t)
        own = [shape_of(fold, stationary) for fold in self.folds]
        return Shape(own[0].r, max(shape.c for shape in own), own[0].t)


def steps_of(dataflow: str, array: Array, job: Gemm, rng: np.random.Generator) -> list[Step]:
    """A GEMM of random words in folds: column folds outer, `array.arrays` of them at a time, row folds inner."""
    a, b = gemm(rng, *job)
    if dataflow == "is":
        a, b = b.T, a.T
    over_rows, over_cols, _ = spatial(dataflow, *job)
    columns = tiles(over_cols, array.cols)
    out = []
    for at in range(0, len(columns), array.arrays):
        for r in tiles(over_rows, array.rows):
            group = columns[at:at + array.arrays]
            out.append(Step([Fold(a[r], b[:, c]) if dataflow == "os" else Fold(a[:, r], b[r, c]) for c in group]))
    return out


def run_steps(dataflow: str, array: Array, steps: list[Step], backend: str) -> list[RtlRun]:
    """Every array's own run under the common controller; outputs checked against numpy."""
    stationary = "os" if dataflow == "os" else "ws"
    shapes = [step.shape(stationary, array) for step in steps]
    runs = []
    for which in range(array.arrays):
        mine = [n for n, step in enumerate(steps) if which < len(step.folds)]
        folds = [steps[n].folds[which] for n in mine]
        if not folds:
            continue
        common = {"edge": array.edge, "backend": backend}
        if stationary == "os":
            starts = os_starts(shapes, array.overlap)
            run = run_os_folds(folds, array.rows, array.cols, array.overlap, starts=[starts[n] for n in mine], **common)
        else:
            windows = ws_windows(shapes, array.rows, array.cols, array.overlap)
            run = run_ws_folds(folds, array.rows, array.cols, array.overlap, windows=[windows[n] for n in mine],
                               **common)
        assert run.clean
        assert all(np.array_equal(out, fold.left @ fold.top) for out, fold in zip(run.outputs, folds, strict=True))
        runs.append(run)
    return runs


def completion(runs: list[RtlRun]) -> int:
    return max(run.completion_cycles for run in runs)


def whole(timing: JobTiming) -> int:
    """Cycles of a job on its own, the first load included."""
    return int(timing.load + timing.finish)


def check_job(job: Job, arrays: int, seed: int, backend: str) -> None:
    rows, cols, dataflow, mode, edge, *_ = job
    sizes = job[5:]
    array = Array(rows, cols, mode, edge, arrays)
    steps = steps_of(dataflow, array, sizes, np.random.default_rng(seed))
    timing = DATAFLOWS.lookup(dataflow).timing(array, *sizes)
    assert int(timing.folds) == len(steps)
    assert int(timing.busy) == sum(step.shape("os" if dataflow == "os" else "ws", array).t for step in steps)
    assert whole(timing) == completion(run_steps(dataflow, array, steps, backend))


@given(job=jobs(st.sampled_from(SMALL_ARRAYS), longest=12), seed=seeds)
@examples(40)
def test_job_cycles_equal_the_hardware(job: Job, seed: int) -> None:
    check_job(job, 1, seed, "hdl")


@given(job=jobs(st.tuples(st.integers(1, 8), st.integers(1, 8)), longest=16, folds=4), arrays=st.integers(1, 3),
       seed=seeds)
@examples(120)
def test_job_cycles_equal_the_registers_on_one_or_more_arrays(job: Job, arrays: int, seed: int) -> None:
    check_job(job, arrays, seed, "registers")


@given(job=jobs(st.tuples(st.integers(16, 32), st.integers(16, 32)), longest=60, folds=2), seed=seeds)
@examples(20)
def test_job_cycles_equal_the_registers_on_large_arrays(job: Job, seed: int) -> None:
    check_job(job, 1, seed, "registers")


@pytest.mark.parametrize("backend", ["hdl", "registers"])
@pytest.mark.parametrize("job", [
    (5, 4, "os", "serial", "ragged", 6, 1, 1),              # one row after five: the drain chain is still full
    (5, 4, "os", "pipelined", "ragged", 6, 3, 2),
    (5, 4, "os", "pipelined", "ragged", 8, 8, 1),           # five rows after three: the shadow register still waits
    (5, 4, "os", "pipelined", "ragged", 2, 5, 1),           # four columns, then one: the first is the last to drain
    (5, 4, "ws", "double_buffered", "ragged", 1, 5, 1),     # the same, psums
    (5, 4, "ws", "overlap", "ragged", 1, 5, 6),
    (5, 4, "is", "double_buffered", "ragged", 9, 1, 11),
], ids=lambda job: "-".join(map(str, job)))
def test_jobs_of_few_steps_where_the_bounds_meet(job: Job, backend: str) -> None:
    check_job(job, 1, 11, backend)


# ---- jobs in a row -------------------------------------------------------------------------------------------------


def chained(dataflow: type[Dataflow], array: Array, chain: list[Gemm]) -> int:
    """Completion of jobs that follow each other as soon as their instants allow (see `accelsim.dataflow.base`)."""
    timings = [dataflow.timing(array, *job) for job in chain]
    start = int(timings[0].load)
    done = start + int(timings[0].finish)
    for n in range(1, len(chain)):
        before, now = timings[n - 1], timings[n]
        last, first = dataflow.edges(array, *chain[n - 1])[1], dataflow.edges(array, *chain[n])[0]
        enters = int(before.stream) + int(dataflow.gap(array, last, first))
        start += max(enters, int(before.load_free) + int(now.load))
        done = max(done, start + int(now.finish))
    return done


extent = st.integers(1, 9)


@pytest.mark.parametrize("dataflow, mode", DATAFLOW_MODES)
@given(size=st.tuples(st.integers(1, 5), st.integers(1, 5)), edge=st.sampled_from(("ragged", "full")),
       arrays=st.integers(1, 2), chain=st.lists(st.tuples(extent, extent, extent), min_size=2, max_size=4), seed=seeds)
@examples(25)
def test_chained_jobs_equal_one_long_run(dataflow: str, mode: str, size: tuple[int, int], edge: str, arrays: int,
                                         chain: list[Gemm], seed: int) -> None:
    array = Array(*size, mode, edge, arrays)
    rng = np.random.default_rng(seed)
    steps = [step for job in chain for step in steps_of(dataflow, array, job, rng)]
    runs = run_steps(dataflow, array, steps, "registers")
    assert chained(DATAFLOWS.lookup(dataflow), array, chain) == completion(runs)


# ---- words over the border -----------------------------------------------------------------------------------------


@given(job=jobs(st.tuples(st.integers(1, 6), st.integers(1, 6)), longest=12), arrays=st.integers(1, 2), seed=seeds)
@examples(60)
def test_accesses_equal_the_valid_words_on_the_ports(job: Job, arrays: int, seed: int) -> None:
    rows, cols, dataflow, mode, *_ = job
    sizes = job[5:]
    array = Array(rows, cols, mode, "ragged", arrays)
    steps = steps_of(dataflow, array, sizes, np.random.default_rng(seed))
    runs = run_steps(dataflow, array, steps, "registers")
    # the row operand is shared: the first array, which has a part in every step, stands for all
    left = int(runs[0].ports.ifmap_valid.sum())
    top = sum(int(run.ports.filter_valid.sum()) for run in runs)
    got = DATAFLOWS.lookup(dataflow).accesses(array, *sizes)
    want = (top, left) if dataflow == "is" else (left, top)
    assert (int(got.ifmap_reads), int(got.filter_reads)) == want
    words = sum(int(run.edge_log.valid.sum()) for run in runs)
    assert int(got.psum_writes) == words
    # all but the first word of an output meet an earlier partial sum
    assert int(got.psum_reads) == words - sizes[0] * sizes[1]


@pytest.mark.parametrize("name", MODES)
def test_every_overlap_of_a_dataflow_is_modelled_in_hardware(name: str) -> None:
    assert DATAFLOWS.lookup(name).overlaps == MODES[name]
