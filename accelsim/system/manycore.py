"""`simulate` for many cores: play the plan of `accelsim.system.manycore_plan` on all cores, and price the whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim import __version__
from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.memory.model import MemoryModel
from accelsim.sim.corework import OFMAP, CoreWork, Job, ManyTimeline
from accelsim.sim.manycore import busiest, play_cores
from accelsim.sim.passes import ATTRIBUTION, FETCHED
from accelsim.sim.player import TRANSFER_DTYPE, LayerTimes, Timeline
from accelsim.system.archspec import Architecture
from accelsim.system.costs import Costs, energy_by_component
from accelsim.system.manycore_plan import CoreLayer, Plan, Progress
from accelsim.system.result import TRAFFIC, LayerResult, RunResult, peak_of
from accelsim.workload.trace import Trace


def simulate_cores(arch: Architecture, trace: Trace, memory: MemoryModel, progress: Progress | None) -> RunResult:
    """Run a trace on an architecture of many cores; see `accelsim.system.simulate`."""
    plan = Plan(arch, trace, progress)
    spec = plan.cores
    cores = [CoreWork(terminal) for terminal in (spec.terminals or range(spec.count))]
    jobs = _jobs(plan)
    ways = [[plan.routes(layer, position) for position in range(len(layer.cores))] for layer in plan.layers]
    # a core does one input after another; where all advance in phases, one phase after another
    for job in sorted(range(len(jobs)), key=lambda j: (jobs[j].phase, j)):
        layer = plan.layers[job % len(plan.layers)]
        first = job // len(plan.layers) % plan.rows * len(layer.cores)
        for position, core in enumerate(layer.cores):
            cores[core].tables.append(layer.tables[first + position])
            cores[core].jobs.append(job)
            cores[core].routes.append(ways[layer.index][position])
    network = arch.build_noc()
    moved = _Snapshots(network)
    timeline = play_cores(
        cores,
        jobs,
        memory,
        network,
        bridge_cycles=spec.bridge_cycles,
        prefetch=arch.spec.mapping.prefetch,
        phase_cycles=spec.phase_cycles,
        watch=moved.take,
    )
    return _result(plan, timeline, moved, arch, trace)


def _jobs(plan: Plan) -> list[Job]:
    """Layers of all items: each after the one before it, or after what it reads, or after the phase before."""
    spec, count = plan.cores, len(plan.layers)
    maker = {layer.step.writes: layer.index for layer in plan.layers}
    depth = [0] * count
    reads_of = [sorted({maker[t] for ts in x.step.reads for t in ts if t in maker}) for x in plan.layers]
    for layer in plan.layers:
        depth[layer.index] = 1 + max((depth[r] for r in reads_of[layer.index]), default=-1)
    jobs = []
    for item in range(plan.items):
        for layer in plan.layers:
            own = item * count + layer.index
            reads = [item * count + r for r in reads_of[layer.index]]
            if spec.schedule == "layers":
                reads = [own - 1] if own else []
            phase = item + depth[layer.index] if spec.phase_cycles else -1
            jobs.append(Job(layer.step.layer.name, tuple(reads), phase))
    return jobs


class _Snapshots:
    """What the network did between the ends of jobs."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self._before: dict[tuple[str, str], int] = {}
        self.by_job: dict[int, ActionCounts] = {}

    def take(self, job: int) -> None:
        """Note the counts at the end of a job."""
        now = dict(self.network.counts())
        counts = ActionCounts()
        for (component, action), value in now.items():
            counts.add(component, action, value - self._before.get((component, action), 0))
        self._before = now
        self.by_job[job] = counts


_OPERAND = {FETCHED.index("filter"): "filter", FETCHED.index("ifmap"): "ifmap", FETCHED.index("psum"): "psum_in"}
_OPERAND |= {OFMAP: "ofmap", OFMAP + 1: "psum_out"}


def _result(plan: Plan, timeline: ManyTimeline, moved: _Snapshots, arch: Architecture, trace: Trace) -> RunResult:
    spec, costs, many = arch.spec, Costs(arch), plan.cores
    count, piped = len(plan.layers), plan.cores.schedule == "pipeline"
    traffic, bytes_of = _traffic(plan, timeline, costs.burst_bytes)
    results = []
    before = 0
    for layer in plan.layers:
        jobs = [item * count + layer.index for item in range(plan.items)]
        start, before, cycles, causes = _times(timeline, jobs, before, piped)
        counts = ActionCounts.total([t.counts for t in layer.tables] * many.items)
        for job in jobs:
            counts.merge(moved.by_job[job])
        counts.merge(traffic[layer.index])
        _shared_accesses(counts, plan, layer)
        seconds = (timeline.clock / count if piped else cycles) / spec.clock_hz
        results.append(
            LayerResult(
                name=layer.step.layer.name,
                kind=layer.step.layer.kind,
                fused=list(layer.step.fused),
                start_cycle=start,
                cycles=cycles,
                cycles_by_cause=causes,
                macs=sum(t.macs for t in layer.tables) * many.items,
                effectual_macs=sum(t.effectual_macs for t in layer.tables) * many.items,
                peak_macs_per_cycle=max(t.peak_macs_per_cycle for t in layer.tables) * many.count,
                dram_bytes=bytes_of[layer.index],
                counts=counts,
                energy_pj=energy_by_component(costs.price(counts, seconds)),
                info=_info(plan, layer, [timeline.cores[job] for job in jobs], max(1, cycles)),
            )
        )
    result = RunResult(
        arch=arch.name,
        workload=trace.name,
        arch_data=arch.data,
        trace_hash=trace.content_hash,
        version=__version__,
        batch=trace.network.batch * many.items,
        clock_hz=spec.clock_hz,
        layers=results,
        area_mm2=costs.area_mm2(),
        peak_macs_per_cycle=peak_of(results, arch.engine.peak_macs_per_cycle(spec.bits()) * many.count),
        dram_bytes_per_cycle=float(spec.dram_bytes_per_cycle()),
        timeline=_flat(plan, timeline, results),
        overlapped_cycles=timeline.clock if piped else None,
    )
    result.check()
    return result


def _times(
    timeline: ManyTimeline, jobs: list[int], before: int, piped: bool
) -> tuple[int, int, int, dict[str, int]]:
    """(start, end, cycles, cycles by cause) of a layer: those of its busiest core, over all items.

    In a pipeline an item's time on a layer begins when its busiest core does, else when the layer before has ended;
    what is after the core's own end (messages under way, the end of a phase) counts as draining.
    """
    causes, cycles, first = dict.fromkeys(ATTRIBUTION, 0), 0, before
    for job in jobs:
        record = timeline.cores[job]
        worst = record[busiest(record)]
        start = worst.start if piped else before
        first = start if job == jobs[0] else first
        spent = timeline.end[job] - start
        for cause, spent_on in worst.cycles_by_cause.items():
            causes[cause] += spent_on
        causes["fill_drain"] += spent - worst.cycles
        cycles += spent
    return first, timeline.end[jobs[-1]], cycles, causes


def _traffic(
    plan: Plan, timeline: ManyTimeline, burst_bytes: int
) -> tuple[list[ActionCounts], list[dict[str, int]]]:
    """Of each layer, over all items: bytes that the DRAM moves in whole bursts, and bytes asked for by operand."""
    count = len(plan.layers)
    counts = [ActionCounts() for _ in range(count)]
    asked = [dict.fromkeys(TRAFFIC, 0) for _ in range(count)]
    for job, which, address, n_bytes in timeline.dram:
        layer = job % count
        bursts = (address + n_bytes - 1) // burst_bytes - address // burst_bytes + 1
        counts[layer].add("dram", "write_byte" if which >= OFMAP else "read_byte", bursts * burst_bytes)
        asked[layer][_OPERAND[which]] += n_bytes
    return counts, asked


def _shared_accesses(counts: ActionCounts, plan: Plan, layer: CoreLayer) -> None:
    """Accesses of the buffer at the hubs: every feature map that passes is written once and read once."""
    shared = plan.cores.shared_buffer
    if shared is None:
        return
    tensors = plan.schedule.tensors
    reads = sum(tensors[t].elements for group in layer.step.reads for t in group) * plan.bits["ifmap"]
    writes = tensors[layer.step.writes].elements * plan.bits["ofmap"]
    counts.add(shared.name, "read", ceil_div(reads, shared.word_bits) * plan.cores.items)
    counts.add(shared.name, "write", ceil_div(writes, shared.word_bits) * plan.cores.items)


def _info(plan: Plan, layer: CoreLayer, records: list[dict[int, Any]], cycles: int) -> dict[str, Any]:
    busy = np.zeros(plan.cores.count)
    for record in records:
        for core, times in record.items():
            busy[core] += times.cycles_by_cause["compute"]
    info = {
        **layer.tables[0].info,
        "partition": layer.partition.describe(),
        "cores": len(layer.cores),
        "core_utilization": float(busy.sum()) / (cycles * plan.cores.count),
        "busiest_core": busiest(records[-1]),
    }
    if layer.note:
        info["note"] = layer.note
    return info


def _flat(plan: Plan, timeline: ManyTimeline, results: list[LayerResult]) -> Timeline:
    """The passes of all cores as one timeline, for reports."""
    passes = timeline.passes.copy()
    passes["layer"] %= len(plan.layers)
    order = np.lexsort((passes["start"], passes["layer"]))
    layers = []
    for layer, result in zip(plan.layers, results, strict=True):
        slots = dict(layer.tables[0].slots)
        end = timeline.end[(plan.items - 1) * len(plan.layers) + layer.index]  # of the last item
        layers.append(
            LayerTimes(result.name, result.start_cycle, end, result.cycles_by_cause, result.dram_bytes, slots)
        )
    none = np.zeros(0, TRANSFER_DTYPE)
    return Timeline(layers, none, passes[order], timeline.events, timeline.clock)
