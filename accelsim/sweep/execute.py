"""Jobs through an executor: in batches, the dead retried, results handed over as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait

from accelsim.base.errors import ConfigError
from accelsim.sweep.executors import Workers, choose_workers
from accelsim.sweep.store import Outcome
from accelsim.sweep.worker import Job, run_batch

Deliver = Callable[[list[Outcome]], None]

BATCH_SECONDS = 0.5
"""CPU time of a batch: long beside the cost of sending it, short beside what a `kill -9` may lose."""

MAX_BATCH = 64
TRIES = 2
"""Times that a job may take its worker with it before it is reported."""

_IN_FLIGHT = 2  # batches for each worker: one runs, one waits


class Crew:
    """Workers that are started when the first job comes, and kept for more; a context manager."""

    def __init__(self, workers: int | None, cluster: str | None) -> None:
        self._asked = workers, cluster
        self._workers: Workers | None = None
        self.known: set[str] = set()
        """Kinds of machines whose kernels are compiled."""

    def workers(self) -> Workers:
        """Started, if they are not yet.

        Raises
        ------
        ConfigError
            If there can be none.
        """
        if self._workers is None:
            self._workers = choose_workers(*self._asked)
        return self._workers

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._workers is not None:
            self._workers.close(now=kind is not None)


def execute(workers: Workers, scouts: Sequence[Job], jobs: Iterable[Job], deliver: Deliver) -> None:
    """Run all jobs.

    Parameters
    ----------
    workers : Workers
    scouts : sequence of Job
        Run first, one at a time, so that kernels are compiled once and not by every worker.
    jobs : iterable of Job
        The others; neighbours share work, so batches are cut from the order given.
    deliver : callable
        Called with the outcomes of each batch, in the order in which they finish.

    Raises
    ------
    ConfigError
        If a cluster is lost; what was delivered stays so.
    """
    run = _Run(workers, deliver)
    run.all(deque([job] for job in scouts), deque())
    run.all(deque(), deque(jobs))


class _Run:
    def __init__(self, workers: Workers, deliver: Deliver) -> None:
        self._workers = workers
        self._deliver = deliver
        self._flying: dict[Future[list[Outcome]], list[Job]] = {}
        self._alone: deque[list[Job]] = deque()
        self._deaths: dict[str, int] = {}
        self._seconds = 0.0  # of a job, as a running mean

    def all(self, alone: deque[list[Job]], fresh: deque[Job]) -> None:
        """`alone`: batches that run while nothing else does, then the rest."""
        self._alone = alone
        while self._alone or fresh or self._flying:
            self._fill(fresh)
            done, _ = wait(self._flying, return_when=FIRST_COMPLETED)
            lost = [batch for future in done if (batch := self._take(future)) is not None]
            if lost:
                self._recover(lost)

    def _fill(self, fresh: deque[Job]) -> None:
        """Submit while there is room; suspects wait until they are alone."""
        limit = _IN_FLIGHT * self._workers.width
        while len(self._flying) < limit:
            if self._alone:
                if self._flying:
                    return
                self._submit(self._alone.popleft())
                return
            if not fresh:
                return
            size = self._batch_size(len(fresh))
            self._submit([fresh.popleft() for _ in range(size)])

    def _batch_size(self, left: int) -> int:
        if not self._seconds:
            return 1
        fair = -(-left // (_IN_FLIGHT * self._workers.width))
        return max(1, min(round(BATCH_SECONDS / self._seconds), MAX_BATCH, fair, left))

    def _submit(self, batch: list[Job]) -> None:
        for attempt in (1, 2):
            try:
                self._flying[self._workers.executor().submit(run_batch, batch)] = batch
                return
            except Exception as error:
                # a worker may have died between two jobs: then the pool is broken before anything is lost
                if attempt == 2 or not self._workers.is_death(error):
                    raise ConfigError(f"the workers cannot be reached any more: {error}", "sweep") from error
                lost = list(self._flying.values())
                self._flying.clear()
                self._workers.rebuild()
                self._alone.extend(lost)

    def _take(self, future: Future[list[Outcome]]) -> list[Job] | None:
        """Deliver what a future brings; the batch, if its worker died."""
        batch = self._flying.pop(future)
        try:
            outcomes = future.result()
        except CancelledError:
            raise ConfigError("the workers cannot be reached any more", "sweep") from None
        except Exception as error:
            if not self._workers.is_death(error):
                raise
            return batch
        seconds = sum(outcome.cpu_s for outcome in outcomes) / len(outcomes)
        self._seconds = seconds if not self._seconds else 0.7 * self._seconds + 0.3 * seconds
        self._deliver(outcomes)
        return None

    def _recover(self, lost: list[list[Job]]) -> None:
        """Find out who kills workers: halve what was lost, run it alone, and report a job that does it twice."""
        if self._workers.falls_as_one:
            lost += self._flying.values()
            self._flying.clear()
            self._workers.rebuild()
        jobs = [job for batch in lost for job in batch]
        if len(jobs) == 1:
            (job,) = jobs
            self._deaths[job.hash] = self._deaths.get(job.hash, 0) + 1
            if self._deaths[job.hash] >= TRIES:
                what = f"the worker that ran it died, {TRIES} times in a row (out of memory, or a crash of native code)"
                gone = Outcome(job.hash, "failed", "died", what, None, job.trace_hash, job.model_version)
                self._deliver([gone])
                return
        for batch in lost:
            middle = len(batch) // 2
            self._alone.extend(part for part in (batch[:middle], batch[middle:]) if part)
