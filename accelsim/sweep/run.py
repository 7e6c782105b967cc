"""A sweep from its file to its table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.report.places import check_writable
from accelsim.sweep.execute import Crew, execute
from accelsim.sweep.executors import check_workers
from accelsim.sweep.plan import Plan, Planner, check_buildable, neighbours, split_scouts
from accelsim.sweep.space import Space, read_space
from accelsim.sweep.store import Outcome, Store
from accelsim.sweep.table import Table
from accelsim.sweep.traces import Traces
from accelsim.sweep.worker import Job, run_job

SUFFIX = ".db"
_SAMPLED = 3  # jobs that are timed for an estimate


@dataclass
class Progress:
    """How far a sweep is.

    Attributes
    ----------
    total, done, failed : int
        Jobs of this run; `done` includes `failed`.
    seconds : float
        Since the first job was sent.
    before : int
        Of `done`, those that were done before that.
    """

    total: int
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    before: int = 0

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return (self.done - self.before) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None before the first job has finished."""
        return (self.total - self.done) / self.rate if self.rate else None


@dataclass(frozen=True)
class Estimate:
    """What a sweep would take.

    Attributes
    ----------
    points : int
        That obey the constraints.
    grid : int or None
        Points of the grid before that; None for samples of an open space.
    jobs, stored : int
        Different simulations, and how many of them the store has.
    traces : int
    cpu_seconds_per_job : float or None
    measured : bool
        Whether that was measured now (on a few points), or is the mean of what the store has.
    """

    points: int
    grid: int | None
    jobs: int
    stored: int
    traces: int
    cpu_seconds_per_job: float | None
    measured: bool

    def seconds(self, workers: int) -> float | None:
        """Time on so many workers."""
        if self.cpu_seconds_per_job is None:
            return None
        return (self.jobs - self.stored) * self.cpu_seconds_per_job / max(workers, 1)


def default_store(source: str | Path | Mapping[str, Any]) -> Path:
    """`NAME.db` in the current directory, by the file's name or the sweep's."""
    name = str(source.get("name", "sweep")) if isinstance(source, Mapping) else Path(source).stem
    return Path(f"{name}{SUFFIX}")


def sweep(
    source: str | Path | Mapping[str, Any],
    store: str | Path | None = None,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Table:
    """Run a sweep, or what is left of it.

    Parameters
    ----------
    source : str, Path or mapping
        A file as in `accelsim.sweep.spec`, or the same as a mapping.
    store : str or Path, optional
        Where results are kept (default: `NAME.db`); traces are kept beside it, in `NAME.traces`.
    workers : int, optional
        Processes; 0: this process alone; default: one for each processor.
    cluster : str, optional
        Address of a Dask scheduler, or `local`.
    retry_failed : bool
        Run points again that failed for good.
    progress : callable, optional
        Called with a `Progress` after each batch.
    say : callable, optional
        Told in words what is being prepared.

    Returns
    -------
    Table

    Raises
    ------
    ConfigError
        For anything that is wrong in the input, before any work; points that fail are rows of the table.
    """
    space = read_space(source)
    path = default_store(source) if store is None else Path(store)
    check_workers(workers)
    if path.is_file():
        Store.open(path).close()
    else:
        check_writable(path)
    if space.spec.search is not None:
        from accelsim.sweep.search import search

        with Store.open(path, create=True) as opened:
            search(space, opened, workers=workers, cluster=cluster, progress=progress, say=say)
            return opened.table(space.spec.name)
    plan = Planner(space, traces_beside(path, say)).plan(space.points())
    check_buildable(list(plan.jobs.values()), space.document.file)
    with Store.open(path, create=True) as opened, Crew(workers, cluster) as crew:
        opened.define(space.spec.name, space.keys, space.document.data, plan.points)
        run_plan(plan, opened, crew, with_failed=not retry_failed, progress=progress)
        return opened.table(space.spec.name)


def traces_beside(store: Path, say: Callable[[str], None] | None = None) -> Traces:
    """The traces that belong to the store at this path."""
    return Traces(store.with_suffix(".traces"), say)


def run_plan(
    plan: Plan,
    store: Store,
    crew: Crew,
    *,
    with_failed: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Run what the store does not have."""
    if plan.hopeless:
        store.put(plan.hopeless.values())
    finished = store.finished(list(plan.jobs), with_failed=with_failed)
    left = neighbours(job for key, job in plan.jobs.items() if key not in finished)
    if not left:
        return
    state = Progress(len(left))
    workers = crew.workers()
    begun = time.monotonic()

    def deliver(outcomes: list[Outcome]) -> None:
        amiss = next((outcome for outcome in outcomes if outcome.kind == "setup"), None)
        if amiss is not None:
            raise ConfigError(amiss.error, "sweep")
        store.put(outcomes)
        state.done += len(outcomes)
        state.failed += sum(outcome.status == "failed" for outcome in outcomes)
        state.seconds = time.monotonic() - begun
        if progress is not None:
            progress(state)

    if progress is not None:
        progress(state)
    execute(workers, *split_scouts(left, crew.known), deliver)


def estimate(
    source: str | Path | Mapping[str, Any], store: str | Path | None = None, say: Callable[[str], None] | None = None
) -> Estimate:
    """Count points and jobs and estimate the time; no result is written.

    Raises
    ------
    ConfigError
        As `sweep`.
    """
    import tempfile

    space = read_space(source)
    path = default_store(source) if store is None else Path(store)
    with tempfile.TemporaryDirectory(prefix="accelsim-") as scratch:
        # an existing store is asked, none is made; traces go where nobody keeps them
        there = path.is_file()
        with Store.open(path if there else Path(scratch) / "none.db", create=not there) as opened:
            folder = path.with_suffix(".traces")
            traces = Traces(folder if folder.is_dir() else Path(scratch) / "traces", say)
            search = space.spec.search
            points = _some_of(space) if search is not None else space.points()
            plan = Planner(space, traces).plan(points)
            jobs = list(plan.jobs.values())
            check_buildable(jobs, space.document.file)
            stored = len(opened.finished(list(plan.jobs))) if search is None else 0
            mean = opened.cpu_seconds_per_job(plan.trace_hashes()) if jobs else None
        measured = mean is None
        if measured:
            mean = _measure(jobs)
    count = len(plan.points) if search is None else search.trials
    runs = len(jobs) if search is None else count
    return Estimate(count, space.grid_size, runs, stored, len(plan.trace_hashes()), mean, measured)


def _some_of(space: Space) -> list[dict[str, Any]]:
    """A few points of a space that is to be searched."""
    from itertools import islice

    from accelsim.sweep.spec import Sample

    sampled = space.spec.model_copy(update={"search": None, "sample": Sample(points=_SAMPLED)})
    return list(islice(Space(sampled, space.document).points(), _SAMPLED))


def _measure(jobs: list[Job]) -> float | None:
    """Mean CPU time of a few jobs, each run twice in this process: the first time compiles and loads."""
    chosen = [jobs[n * len(jobs) // _SAMPLED] for n in range(_SAMPLED)] if len(jobs) >= _SAMPLED else jobs
    times = []
    for job in chosen:
        run_job(job)
        begun = time.process_time()
        if run_job(job).status == "done":
            times.append(time.process_time() - begun)
    return sum(times) / len(times) if times else None
