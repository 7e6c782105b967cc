"""From points to jobs: what must be simulated, what the store has already, and what cannot be built at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.base.paths import find
from accelsim.sweep.machines import changed_document, machine, machine_hash, read_base
from accelsim.sweep.model import model_version
from accelsim.sweep.space import Point, Space
from accelsim.sweep.store import Outcome, StoredPoint
from accelsim.sweep.traces import Traces
from accelsim.sweep.worker import Job

_NOT_FOR_MAPPINGS = ("dram.", "clock_hz", "technology.", "energy.")
"""Keys that change no mapping: points that differ in these only are run one after the other."""

_TRIED = 20  # points that are built before the first is run


@dataclass
class Plan:
    """Points of a sweep with their jobs.

    Attributes
    ----------
    points : list of StoredPoint
    jobs : dict
        Hash -> job; points that mean the same share one.
    hopeless : dict
        Hash -> outcome of points whose architecture cannot even be put together.
    """

    points: list[StoredPoint] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    hopeless: dict[str, Outcome] = field(default_factory=dict)

    def trace_hashes(self) -> list[str]:
        """Of all jobs, without repeats."""
        return sorted({job.trace_hash for job in self.jobs.values()})


class Planner:
    """Makes the jobs of points.

    Parameters
    ----------
    space : Space
    traces : Traces
    """

    def __init__(self, space: Space, traces: Traces) -> None:
        self._space = space
        self._traces = traces
        self._version = model_version()
        self._archs: dict[str, tuple[str, str]] = {}

    def plan(self, points: Iterable[Point], first: int = 0) -> Plan:
        """Jobs of these points, numbered from `first`.

        Raises
        ------
        ConfigError
            An unknown workload or recipe, or options that it cannot have.
        """
        plan = Plan()
        for number, point in enumerate(points, first):
            self._add(plan, number, point)
        return plan

    def _add(self, plan: Plan, number: int, point: Point) -> None:
        options = self._space.options(point)
        trace = self._traces.of(point["workload"], point["recipe"], options)
        arch, stamp = self._arch(point["arch"])
        changes = self._space.changes(point)
        try:
            content = machine_hash(*changed_document(arch, changes))
            error = ""
        except ConfigError as fault:
            content, error = json.dumps([arch, stamp, changes]), str(fault)
        key = hashlib.blake2b(f"{trace.content_hash} {content} {self._version}".encode(), digest_size=16).hexdigest()
        plan.points.append(StoredPoint(number, key, point, {"accuracy": self._accuracy(point, options)}))
        if error:
            plan.hopeless[key] = Outcome(key, "failed", "input", error, None, trace.content_hash, self._version)
        elif key not in plan.jobs:
            plan.jobs[key] = Job(key, arch, stamp, changes, trace.path, trace.content_hash, self._version)

    def _accuracy(self, point: Point, options: Mapping[str, Any]) -> float | None:
        """What the sweep says of this workload and recipe, or else what is measured."""
        said, data = self._space.accuracy(point), self._space.spec.evaluate
        if said is not None or data is None:
            return said
        return self._traces.accuracy(point["workload"], point["recipe"], options, data)

    def _arch(self, name: str) -> tuple[str, str]:
        """What workers open (files by their whole path), and the stamp of what it says."""
        if name not in self._archs:
            path = Path(name)
            own = path.is_file() and (path.suffix or len(path.parts) > 1)
            opened = str(find(name, "arch_configs", "architecture").resolve()) if own else name
            self._archs[name] = (opened, read_base(opened))
        return self._archs[name]


def check_buildable(jobs: Sequence[Job], where: str) -> None:
    """Refuse a sweep of which, as far as some points show, nothing can be built: the key is wrong, not the point.

    Raises
    ------
    ConfigError
        The first point's fault.
    """
    fault: ConfigError | None = None
    for n in range(min(_TRIED, len(jobs))):
        job = jobs[n * len(jobs) // min(_TRIED, len(jobs))]
        try:
            machine(job.arch, job.changes, None, job.stamp)
            return
        except ConfigError as error:
            fault = fault or error
    if fault is not None:
        raise ConfigError(f"none of the points can be built; the first says: {fault}", where)


def neighbours(jobs: Iterable[Job]) -> list[Job]:
    """The jobs, so that those of one trace follow each other, and among these those with the same mappings."""
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        shared = [change for change in job.changes if not change[0].startswith(_NOT_FOR_MAPPINGS)]
        groups.setdefault((job.trace_path, job.arch, json.dumps(shared)), []).append(job)
    traces: dict[str, list[Job]] = {}
    for (trace, _, _), members in groups.items():
        traces.setdefault(trace, []).extend(members)
    return [job for members in traces.values() for job in members]


def split_scouts(jobs: Sequence[Job], known: set[str]) -> tuple[list[Job], list[Job]]:
    """(one job for each kind of machine that is not `known`, the others): kinds that need different kernels."""
    scouts: dict[str, Job] = {}
    for job in jobs:
        kind = _kind(job)
        if kind not in known:
            scouts.setdefault(kind, job)
    known.update(scouts)
    first = {job.hash for job in scouts.values()}
    return list(scouts.values()), [job for job in jobs if job.hash not in first]


_KINDS_DEPEND_ON = ("engine.kind", "engine.dataflow", "dram.fidelity", "mapping.objective", "noc.topology")


def _kind(job: Job) -> str:
    changes: Mapping[str, Any] = dict(job.changes)
    return json.dumps([job.arch, *(changes.get(key) for key in _KINDS_DEPEND_ON)])
