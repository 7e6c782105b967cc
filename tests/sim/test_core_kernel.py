"""The kernel for many cores does what SimPy's processes do: every pass, every cause, every message, every count."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import DeadlockError
from accelsim.memory.bandwidth import BandwidthDram, IdealMemory
from accelsim.memory.dram import Dram
from accelsim.memory.dram_spec import DramConfig
from accelsim.noc.mesh import MeshSpec, mesh
from accelsim.sim.corework import OFMAP, CoreWork, Job, ManyTimeline, Route
from accelsim.sim.exchange import play_processes
from accelsim.sim.manycore import play_cores
from tests.sim.test_player import tables


class Logged:
    """A model that notes what it is told."""

    def __init__(self, model: Any) -> None:
        self.model, self.log = model, []  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def submit(self, *what: Any) -> None:
        self.log.append(what)
        self.model.submit(*what)

    def submit_runs(self, *what: Any) -> None:
        self.log.append(what)
        self.model.submit_runs(*what)


MEMORIES: dict[str, Callable[[], Any]] = {
    "ideal": IdealMemory,
    "pipe": lambda: BandwidthDram(7, 2, 5, 4),
    "slow": lambda: BandwidthDram(1, 3, 11, 1),
    "detailed": lambda: Dram.from_config(DramConfig(standard="ddr3_1600", ports=6), 10**9),
}


@st.composite
def machines(draw: Any) -> tuple[list[CoreWork], list[Job]]:
    """Up to four cores on a 3 x 2 mesh, up to four jobs; operands that some share, sums in chains, results anywhere."""
    count = draw(st.integers(1, 4))
    cores = [CoreWork(draw(st.integers(0, 5))) for _ in range(count)]
    phases = draw(st.booleans())
    jobs: list[Job] = []
    for job in range(draw(st.integers(1, 4))):
        needs = tuple(n for n in range(job) if draw(st.booleans()))
        jobs.append(Job(f"job{job}", needs, job if phases else -1))
        own = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True))
        first = draw(tables(6))
        dram = {operand: draw(st.booleans()) for operand in range(5)}
        hubs = tuple(draw(st.lists(st.integers(0, 5), min_size=1, max_size=2)))
        stripe, chained = draw(st.integers(1, 64)), draw(st.booleans())
        for place, core in enumerate(own):
            table = copy.deepcopy(first) if draw(st.booleans()) else draw(tables(6))
            rows = table.rows
            for operand in ("filter", "ifmap", "psum", "ofmap"):
                steps = [draw(st.integers(0, 2)) for _ in range(len(rows))]
                rows[f"{operand}_address"] = 64 * np.cumsum(steps) + draw(st.sampled_from([0, 0, 64, 4096]))
            if draw(st.booleans()):
                for part, n in (("row_bytes", 2), ("row_stride", 8), ("rows", 3), ("plane_stride", 64), ("planes", 1)):
                    rows[f"ifmap_{part}"], rows["ifmap_bytes"] = n, np.where(rows["ifmap_bytes"], 6, 0)
            routes = {operand: Route(hubs, dram[operand], stripe) for operand in range(5)}
            chain = own[place + 1] if chained and place + 1 < len(own) else -1
            routes[OFMAP] = Route(hubs, dram[OFMAP], stripe, chain, (4, 1))
            cores[core].tables.append(table)
            cores[core].jobs.append(job)
            cores[core].routes.append(routes)
    return cores, jobs


Machine = tuple[list[CoreWork], list[Job]]


def outcome(play: Any, machine: Machine, memory: str, fidelity: Any, how: dict[str, Any]) -> Any:
    """All that came of a run, or "deadlock"."""
    dram = Logged(MEMORIES[memory]())
    noc = Logged(mesh(MeshSpec(columns=3, rows=2, flit_bytes=8), fidelity))
    ends: list[tuple[int, dict[Any, int]]] = []
    try:
        found: ManyTimeline = play(*machine, dram, noc, watch=lambda job: ends.append((job, dict(noc.counts()))), **how)
    except DeadlockError:
        return "deadlock"
    times = [{core: (t.layer, t.start, t.end, t.cycles_by_cause, t.bytes_by_operand, t.slots) for core, t in r.items()}
             for r in found.cores]  # fmt: skip
    # jobs that are complete in one cycle may be told in any order
    told = [counts for _, counts in ends]
    return {
        "start": found.start, "end": found.end, "cores": times, "dram": sorted(found.dram), "clock": found.clock,
        "passes": found.passes.tolist(), "transfers": dram.log, "messages": noc.log, "ends": told,
        "jobs": sorted(job for job, _ in ends), "counts": (dict(dram.counts()), dict(noc.counts())),
    }  # fmt: skip


@given(
    machine=machines(),
    memory=st.sampled_from(list(MEMORIES)),
    fidelity=st.sampled_from(["ideal", "bandwidth", "detailed"]),
    bridge=st.integers(1, 5),
    prefetch=st.booleans(),
    phase=st.sampled_from([0, 60]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_kernel_equals_the_processes(
    machine: Machine, memory: str, fidelity: str, bridge: int, prefetch: bool, phase: int
) -> None:
    how = {"bridge_cycles": bridge, "prefetch": prefetch, "phase_cycles": phase}
    expected = outcome(play_processes, copy.deepcopy(machine), memory, fidelity, how)
    got = outcome(play_cores, machine, memory, fidelity, how)
    assert got == expected
