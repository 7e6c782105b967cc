"""`simulate(arch, trace)`: schedule, place, map, lower, play, price."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from accelsim import __version__
from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.engines.base import Task
from accelsim.engines.common.vector import lower_vector
from accelsim.mapping.problem import Room
from accelsim.memory.bandwidth import BandwidthDram, IdealMemory
from accelsim.memory.model import MemoryModel
from accelsim.sim.passes import PassTable
from accelsim.sim.player import Timeline, play
from accelsim.system.archspec import ArchSpec, Architecture
from accelsim.system.buffers import limit_ports, stored_bits
from accelsim.system.costs import Costs, energy_by_component
from accelsim.system.dram_meter import DramMeter
from accelsim.system.residency import Residency
from accelsim.system.result import LayerResult, RunResult, peak_of
from accelsim.system.schedule import Schedule, Step, lay_out, schedule
from accelsim.system.tasks import task_of
from accelsim.workload.ops import Matmul
from accelsim.workload.shapes import VectorShape
from accelsim.workload.trace import Trace

Progress = Callable[[int, int, str], None]


def simulate(arch: Architecture, trace: Trace, *, progress: Progress | None = None) -> RunResult:
    """Run a trace on an architecture.

    Parameters
    ----------
    arch : Architecture
        See `load_arch`.
    trace : Trace
        See `Trace.open` and `synthetic_trace`.
    progress : callable, optional
        Called with (layers lowered, layers in all, name).

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        If a layer does not fit the machine.
    DeadlockError, SimulationBug
        If accelsim itself fails; never a wrong number.
    """
    if arch.spec.cores is not None and arch.spec.cores.schedule == "placed":
        from accelsim.system.placed import simulate_placed

        return simulate_placed(arch, trace, build_memory(arch.spec), progress)
    if arch.spec.cores is not None:
        from accelsim.system.manycore import simulate_cores

        return simulate_cores(arch, trace, build_memory(arch.spec), progress)
    plan = _Plan(arch, trace, progress)
    memory = build_memory(arch.spec)
    meter = DramMeter(memory) if arch.spec.dram.fidelity == "detailed" else None  # type: ignore[arg-type]
    watch = None if meter is None else meter.layer_ends
    timeline = play(plan.tables, memory, prefetch=arch.spec.mapping.prefetch, watch=watch)
    if meter is not None:
        meter.run_ends(timeline.end)
    costs = Costs(arch)
    layers = _layers(plan, timeline, costs, arch.spec, meter)
    result = RunResult(
        arch=arch.name,
        workload=trace.name,
        arch_data=arch.data,
        trace_hash=trace.content_hash,
        version=__version__,
        batch=trace.network.batch,
        clock_hz=arch.spec.clock_hz,
        layers=layers,
        area_mm2=costs.area_mm2(),
        peak_macs_per_cycle=peak_of(layers, arch.engine.peak_macs_per_cycle(arch.spec.bits())),
        dram_bytes_per_cycle=float(arch.spec.dram_bytes_per_cycle()),
        timeline=timeline,
    )
    if meter is not None:
        result.dram = meter.report(arch.spec.clock_hz)
        if costs.by_command:
            result.dram.energy_pj = costs.dram_energy_pj(result.counts())
    result.check()
    return result


def build_memory(spec: ArchSpec) -> MemoryModel:
    """The DRAM model that the architecture asks for."""
    if spec.dram.fidelity == "ideal":
        return IdealMemory()
    if spec.dram.fidelity == "detailed" and spec.dram.detail is not None:
        from accelsim.memory.dram import Dram

        detail = spec.dram.detail
        if spec.cores is not None:  # every hub is a port
            detail = detail.model_copy(update={"ports": max(detail.ports, 1 + max(spec.cores.hubs))})
        return Dram.from_config(detail, spec.clock_hz, where="dram.detail")
    rate = spec.dram_bytes_per_cycle()
    return BandwidthDram(rate.numerator, rate.denominator, spec.dram_latency_cycles(), spec.dram.burst_bytes)


class _Plan:
    """Lowers all layers, sending feature maps to DRAM one by one while a layer has no room for its tiles."""

    def __init__(self, arch: Architecture, trace: Trace, progress: Progress | None) -> None:
        self.arch = arch
        self.trace = trace
        self.schedule: Schedule = schedule(trace.network)
        if not self.schedule.steps:
            raise ConfigError("the network has no layer that takes time", trace.name)
        self.rooms = arch.spec.rooms()
        keeper = next((b for b in arch.spec.buffers if b.keep_activations), None)
        self.keeper = keeper.name if keeper else ""
        capacity = keeper.capacity_bytes if keeper else 0
        self.bits = arch.spec.bits()
        self.residency = Residency(self.schedule, capacity, self.bits["ofmap"])
        self.addresses = lay_out(self.schedule, self.bits)
        self.tables: list[PassTable] = []
        steps = self.schedule.steps
        index = 0
        while index < len(steps):
            if progress is not None:
                progress(index, len(steps), steps[index].layer.name)
            try:
                table = self._lower(index)
            except ConfigError as error:
                if self.residency.spill(index):
                    # an earlier layer may have written or read the tensor that has just left
                    self.tables.clear()
                    index = 0
                    continue
                where = f"layer {steps[index].layer.name}"
                text = str(error)
                raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from None
            limit_ports(table, arch.spec, self.rooms, stored_bits(arch.spec, trace, steps[index].layer))
            self.tables.append(table)
            index += 1
        if arch.spec.mapping.prefetch:
            self._allow_prefetch()

    def _task(self, index: int) -> Task:
        step = self.schedule.steps[index]
        resident = self.residency.resident
        here = [all(t in resident for t in tensors) for tensors in step.reads]
        return task_of(
            self.arch.spec,
            self.trace,
            step,
            self.addresses,
            rooms=tuple(self._room(r, index) for r in self.rooms),
            on_chip=(bool(here) and here[0], step.writes in resident, isinstance(step.layer.op, Matmul) and here[1]),
        )

    def _room(self, room: Room, index: int) -> Room:
        if room.name != self.keeper:
            return room
        return dataclasses.replace(room, free_bytes=room.free_bytes - self.residency.held_bytes(index))

    def _lower(self, index: int) -> PassTable:
        step = self.schedule.steps[index]
        task = self._task(index)
        if isinstance(step.layer.work, VectorShape):
            return lower_vector(task, step.layer.work, self._off_chip_elements(step))
        return self.arch.engine.lower(task)

    def _off_chip_elements(self, step: Step) -> int:
        names = dict.fromkeys(t for tensors in step.reads for t in tensors)
        return sum(self.schedule.tensors[n].elements for n in names if n not in self.residency.resident)

    def _allow_prefetch(self) -> None:
        """A layer's first filter tiles may come early if no operand but tiles in slots is in their buffer."""
        room = next(r for r in self.rooms if "filter" in r.holds)
        for before, table in zip(self.tables, self.tables[1:], strict=False):
            both_streamed = before.slots.get("filter", 0) > 0 and table.slots.get("filter", 0) > 0
            largest = max(int(before.rows["filter_bytes"].max()), int(table.rows["filter_bytes"].max()))
            table.prefetch = room.holds == ("filter",) and both_streamed and largest * room.slots <= room.free_bytes


def _layers(
    plan: _Plan, timeline: Timeline, costs: Costs, spec: ArchSpec, meter: DramMeter | None
) -> list[LayerResult]:
    results = []
    for index, (step, table, times) in enumerate(zip(plan.schedule.steps, plan.tables, timeline.layers, strict=True)):
        counts = ActionCounts(table.counts)
        counts.merge(meter.layer_counts(index) if meter and costs.by_command else costs.dram_counts(table.rows))
        rows = {} if meter is None else meter.layer_rows(index)
        results.append(
            LayerResult(
                name=step.layer.name,
                kind=step.layer.kind,
                fused=list(step.fused),
                start_cycle=times.start,
                cycles=times.cycles,
                cycles_by_cause=times.cycles_by_cause,
                macs=table.macs,
                effectual_macs=table.effectual_macs,
                peak_macs_per_cycle=table.peak_macs_per_cycle,
                dram_bytes=times.bytes_by_operand,
                counts=counts,
                energy_pj=energy_by_component(costs.price(counts, times.cycles / spec.clock_hz)),
                info={**table.info, "kept_bytes": plan.residency.held_bytes(index), **rows},
            )
        )
    return results
