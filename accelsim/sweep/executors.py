"""Where jobs run: in this process, in a pool of processes, or on a Dask cluster. All are `concurrent.futures`.

Workers of a pool are spawned, never forked: a fork copies locks that other threads may hold. They end when the
process that started them does, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any, ParamSpec, Protocol, TypeVar

from accelsim.base.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")

LOCAL = "local"
CONNECT_SECONDS = 15


class Workers(Protocol):
    """Some workers behind an executor.

    Attributes
    ----------
    width : int
        Jobs that run at the same time.
    falls_as_one : bool
        Whether the death of one worker loses everything that is in flight.
    """

    width: int
    falls_as_one: bool

    def executor(self) -> Executor:
        """Where to submit; started if need be."""

    def is_death(self, error: BaseException) -> bool:
        """Whether this is how a future tells that its worker died."""

    def rebuild(self) -> None:
        """Start anew after a death, where that is needed."""

    def close(self, *, now: bool) -> None:
        """End the workers; with `now`, without waiting for what they are doing."""


class InProcess(Executor):
    """The interface of an executor, and no concurrency: `submit` does the work."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class ThisProcess:
    """One worker: this process."""

    width = 1
    falls_as_one = True

    def executor(self) -> Executor:
        """See `Workers`."""
        return InProcess()

    def is_death(self, error: BaseException) -> bool:
        """Nobody is left to see that."""
        return False

    def rebuild(self) -> None:
        """Nothing to do."""

    def close(self, *, now: bool) -> None:
        """Nothing to do."""


class Pool:
    """A pool of processes on this machine.

    Parameters
    ----------
    width : int
    """

    falls_as_one = True

    def __init__(self, width: int) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            what = "a script that starts a sweep must do so under `if __name__ == '__main__':`"
            raise ConfigError(f"{what}, since each worker imports it", "sweep")
        self.width = width
        self._pool: ProcessPoolExecutor | None = None

    def executor(self) -> Executor:
        """See `Workers`."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.width, mp_context=context, initializer=_begin_worker)
        return self._pool

    def is_death(self, error: BaseException) -> bool:
        """See `Workers`."""
        return isinstance(error, BrokenExecutor)

    def rebuild(self) -> None:
        """A pool with a dead worker takes no more work: make another."""
        self.close(now=True)

    def close(self, *, now: bool) -> None:
        """See `Workers`."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values()) if now else []
        for process in processes:
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C ends a worker without a word (the parent says it), and so does the end of the parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class DaskCluster:
    """A Dask cluster: one that is running, by the address of its scheduler, or `local` for one of our own.

    Raises
    ------
    ConfigError
        If dask.distributed is missing, or nobody answers.
    """

    falls_as_one = False

    def __init__(self, address: str, width: int) -> None:
        distributed = _import_distributed()
        self._cluster: Any = None
        self._client: Any = None
        try:
            if address == LOCAL:
                # port 0 and no dashboard: several sweeps may run side by side
                self._cluster = distributed.LocalCluster(
                    n_workers=width, threads_per_worker=1, dashboard_address=None, protocol="tcp://"
                )
                # who dies is found out here (see `execute`), not by Dask's trying a job four times
                self._cluster.scheduler.allowed_failures = 0
            self._client = distributed.Client(self._cluster or address, timeout=CONNECT_SECONDS, set_as_default=False)
            self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            self.close(now=True)
            what = f"no Dask cluster with workers answers ({type(error).__name__}: {error})"
            raise ConfigError(what, f"--cluster {address}") from None
        threads = self._client.scheduler_info(n_workers=-1)["workers"].values()
        self.width = sum(worker["nthreads"] for worker in threads)
        self._executor: Executor = self._client.get_executor(pure=False)

    def executor(self) -> Executor:
        """See `Workers`."""
        return self._executor

    def is_death(self, error: BaseException) -> bool:
        """See `Workers`."""
        return type(error).__name__ == "KilledWorker"

    def rebuild(self) -> None:
        """Dask itself starts workers anew."""

    def close(self, *, now: bool) -> None:
        """See `Workers`."""
        for part in (self._client, self._cluster):
            if part is not None:
                part.close()


def _import_distributed() -> Any:
    import importlib

    try:
        return importlib.import_module("distributed")
    except ImportError:
        what = "needs dask.distributed, which is not installed; install it with: pip install 'accelsim[dask]'"
        raise ConfigError(what, "--cluster") from None


def usable_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(workers: int | None) -> None:
    """Refuse a number of workers that cannot be.

    Raises
    ------
    ConfigError
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or not 0 <= workers <= 1024):
        raise ConfigError(f"must be an integer from 0 to 1024, got {workers!r}", "workers")


def choose_workers(workers: int | None, cluster: str | None) -> Workers:
    """The workers that a user asked for: `workers` processes (0: this one; default: one for each processor).

    Raises
    ------
    ConfigError
    """
    check_workers(workers)
    if cluster is not None:
        return DaskCluster(cluster, workers or usable_cpus())
    if workers == 0:
        return ThisProcess()
    return Pool(workers or usable_cpus())
