"""What a worker does: build the machine, map the trace, simulate, hand back figures."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.base.errors import AccelsimError, ConfigError
from accelsim.sweep.machines import Changes, machine
from accelsim.sweep.model import model_version
from accelsim.sweep.store import Outcome
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.trace import Trace


@dataclass(frozen=True)
class Job:
    """One simulation.

    Attributes
    ----------
    hash : str
        Of all below, contents instead of names.
    arch : str
        Name, or absolute path.
    stamp : str
        Hash of what the architecture's file said when the sweep began.
    changes : tuple
        Keys of the architecture, with values.
    trace_path, trace_hash : str
    model_version : str
        What the result must be made by.
    """

    hash: str
    arch: str
    stamp: str
    changes: Changes
    trace_path: str
    trace_hash: str
    model_version: str


def run_batch(jobs: Sequence[Job]) -> list[Outcome]:
    """Run jobs one after the other; whatever goes wrong with one is its outcome."""
    return [run_job(job) for job in jobs]


def run_job(job: Job) -> Outcome:
    """One simulation, or what kept it from being one."""
    begun = time.process_time()
    try:
        found = _run(job)
    except ConfigError as error:
        return _failed(job, "input", str(error))
    except _Elsewhere as error:
        return _failed(job, "setup", str(error))
    except AccelsimError as error:
        return _failed(job, "bug", f"{type(error).__name__}: {error}")
    except MemoryError:
        return _failed(job, "died", "out of memory")
    except Exception as error:  # one point must not end the sweep, whatever it hits
        return _failed(job, "bug", f"{type(error).__name__}: {error}")
    return Outcome(
        job.hash, "done", "", "", figures(found), job.trace_hash, job.model_version, time.process_time() - begun
    )


class _Elsewhere(Exception):
    """This worker is not set up as the process that sent the job."""


def _run(job: Job) -> RunResult:
    if model_version() != job.model_version:
        what = f"this worker has accelsim {model_version()}, the sweep was started with {job.model_version}"
        raise _Elsewhere(f"{what}; was it edited or upgraded meanwhile?")
    try:
        trace = _trace(job.trace_path, job.trace_hash)
    except ConfigError as error:
        raise _Elsewhere(f"the trace cannot be opened by this worker: {error}") from None
    return simulate(machine(job.arch, job.changes, None, job.stamp), trace)


@functools.lru_cache(maxsize=16)
def _trace(path: str, content_hash: str) -> Trace:
    trace = Trace.open(path)
    if trace.content_hash != content_hash:
        raise ConfigError("has changed since the sweep began", path)
    return trace


def _failed(job: Job, kind: str, error: str) -> Outcome:
    return Outcome(job.hash, "failed", kind, error, None, job.trace_hash, job.model_version)


def figures(result: RunResult) -> dict[str, Any]:
    """What the table keeps of a run; see `accelsim.sweep.table`."""
    totals = result.totals()
    return {
        "cycles": totals["cycles"],
        "seconds": totals["seconds"],
        "energy_pj": totals["energy_pj"],
        "power_w": totals["power_w"],
        "area_mm2": totals["area_mm2"],
        "tops": totals["tops"],
        "tops_per_watt": totals["tops_per_watt"],
        "inferences_per_second": totals["inferences_per_second"],
        "utilization": totals["mac_utilization"],
        "macs": totals["macs"],
        "effectual_macs": totals["effectual_macs"],
        "dram_bytes": totals["dram_bytes"],
        "batch": result.batch,
        "clock_hz": result.clock_hz,
        "peak_macs_per_cycle": result.peak_macs_per_cycle,
        "dram_bytes_per_cycle": result.dram_bytes_per_cycle,
        "cycles_by_cause": result.cycles_by_cause(),
        "energy_pj_by_component": result.energy_by_component(),
        "area_mm2_by_component": result.area_mm2,
    }
