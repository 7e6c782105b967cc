"""Uneven shares: cores that wait longer for their data get less of a layer (Simba, MICRO 2019, Section 5).

A core that works for `busy` cycles on an even share and has a `delay` of its own is done at busy + delay. With part i
of a loop in proportion to 1 + (mean delay - delay of the part) / busy all are done at the same time. Two guesses of the
delays are tried: the way to the hubs and back, in cycles of an unloaded network, and what each core waited in a
simulation of the layer alone with even shares. Of these candidates, full and halved, the one that is fastest in such
a simulation is taken, the first on a tie; and even shares, unless it gains 1/64 or more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.sim.corework import CoreWork, Job, ManyTimeline
from accelsim.sim.manycore import play_cores
from accelsim.system.partition import LOOPS, Partition, extents, split
from accelsim.workload.shapes import ConvShape, GemmShape

if TYPE_CHECKING:
    from accelsim.system.manycore_plan import CoreLayer, Plan

#: A share is at least a half and at most twice the even one.
_LEAST, _MOST = 0.5, 2.0

#: What uneven shares must gain, 1/64: in a run the layers before move a layer's own cycles by that much.
_GAIN = 64


def uneven(plan: Plan, even: CoreLayer, work: ConvShape | GemmShape) -> CoreLayer:
    """The layer with the fastest of the shares that are tried."""
    loops = [loop for loop in LOOPS[:3] if even.partition.counts[loop] > 1]
    first = _alone(plan, even)
    best, least = even, first.clock
    tried = {even.partition.shares}
    record = first.cores[0]
    busy = float(np.mean([record[core].cycles_by_cause["compute"] for core in even.cores]))
    waited = np.array([record[core].cycles - record[core].cycles_by_cause["compute"] for core in even.cores])
    for delays in (_distances(plan, even), waited):
        if delays is None or not loops or busy <= 0:
            continue
        for strength in (1.0, 0.5):
            option = _skewed(even.partition, work, delays * strength, busy, loops, _grain(plan, work))
            if option is None or option.shares in tried:
                continue
            tried.add(option.shares)
            try:
                layer = plan.cut(even.index, even.step, work, option, even.cores, even.cores)
            except ConfigError:  # the largest share may not fit
                continue
            clock = _alone(plan, layer).clock
            if clock < least:
                best, least = layer, clock
    if _GAIN * (first.clock - least) < first.clock:
        best, least = even, first.clock
    best.note = f"alone {least} cycles, with even shares {first.clock}"
    return best


def _alone(plan: Plan, layer: CoreLayer) -> ManyTimeline:
    """The layer on its cores, with memory and network to itself."""
    from accelsim.system.simulate import build_memory

    spec = plan.cores
    terminals = list(spec.terminals or range(spec.count))
    cores = [CoreWork(terminal) for terminal in terminals]
    for position, core in enumerate(layer.cores):
        cores[core].tables.append(layer.tables[position])
        cores[core].jobs.append(0)
        cores[core].routes.append(plan.routes(layer, position))
    jobs = [Job(layer.step.layer.name)]
    memory, network = build_memory(plan.arch.spec), plan.arch.build_noc()
    return play_cores(cores, jobs, memory, network, bridge_cycles=spec.bridge_cycles)


def _distances(plan: Plan, layer: CoreLayer) -> NDArray[Any] | None:
    """Cycles of an unloaded network between each core and the hubs: inputs there, results back; None without routers.

    Hubs count by how much of the feature map is there.
    """
    network = plan.arch.build_noc()
    graph = getattr(network, "graph", None) or getattr(getattr(network, "fabric", None), "graph", None)
    if graph is None:
        return None
    terminals = list(plan.cores.terminals or range(plan.cores.count))
    router = int(getattr(getattr(network, "spec", None), "pipeline_cycles", 1))

    def way(source: int, target: int) -> int:
        return sum(graph.links[link].latency_cycles + router for link in graph.path(source, target))

    reads, writes = (_homes(plan, layer, names) for names in (layer.step.reads[0], [layer.step.writes]))
    own = [terminals[core] for core in layer.cores]
    there = np.array([np.mean([way(hub, core) for hub in reads]) for core in own])
    back = np.array([np.mean([way(core, hub) for hub in writes]) for core in own])
    return np.asarray(there + back)


def _homes(plan: Plan, layer: CoreLayer, names: list[str]) -> list[int]:
    """The hub of every stripe of some tensors."""
    route = plan.routes(layer, 0)[1]
    found = []
    for name in names:
        begin = plan.addresses[name]
        size = plan.schedule.tensors[name].elements * plan.bits["ifmap"] // 8
        found += [route.hub(at) for at in range(begin, begin + max(1, size), route.stripe_bytes)]
    return found


def _grain(plan: Plan, work: ConvShape | GemmShape) -> dict[str, int]:
    """Least sensible steps of a share: outputs that the engine does at once, one row, one image."""
    spec = plan.arch.engine.spec
    return {"outputs": int(getattr(spec, "lanes", 1))}


def _skewed(
    even: Partition,
    work: ConvShape | GemmShape,
    delays: NDArray[Any],
    busy: float,
    loops: list[str],
    grain: dict[str, int],
) -> Partition | None:
    """The partition whose parts make up for the delays, in whole grains; None if no part changes."""
    found = []
    at = delays.reshape(tuple(even.counts.values()))
    for loop in loops:
        axis = LOOPS.index(loop)
        of_part = at.mean(tuple(a for a in range(4) if a != axis))
        weight = np.clip(1 + (of_part.mean() - of_part) / busy, _LEAST, _MOST)
        sizes = _in_grains(extents(work).counts[loop], weight, grain.get(loop, 1))
        if sizes is not None and sizes != tuple(size for _, size in split(sum(sizes), len(sizes))):
            found.append((loop, sizes))
    if not found:
        return None
    return replace(even, shares=tuple(found))


def _in_grains(extent: int, weight: NDArray[Any], grain: int) -> tuple[int, ...] | None:
    """Sizes in proportion to `weight`, multiples of `grain` where that leaves every part one; None if it cannot be."""
    parts = len(weight)
    if extent % grain or extent // grain < parts:
        grain = 1
    units = extent // grain
    # in thousandths, so that no float decides
    shares = np.maximum(1, np.round(1000 * weight)).astype(np.int64)
    sizes = np.maximum(1, units * shares // shares.sum())
    rest = units * shares % shares.sum()
    order = np.lexsort((np.arange(parts), -rest))
    left = int(units - sizes.sum())
    if left < 0 or left > parts:
        return None
    sizes[order[:left]] += 1
    return tuple(int(size) * grain for size in sizes)
