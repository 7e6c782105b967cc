"""`simulate` for chips whose layers live side by side: weights stay, rows of feature maps travel between layers.

Placement: layers get crossbars in the order of the network, one after another over the cores. While crossbars are
left, the layer that takes longest for an item gets another copy (ISAAC, ISCA 2016, Section V: early layers are
replicated so that all are equally fast); copies share the positions of an output row, so no layer has more of them
than a row has positions. Pooling and element-wise layers work where their first input is made.

Messages: the cores of a copy that hold columns of it each send their part of a row; a copy's core that holds only
part of the rows of its matrix sends its sums to the first core of the copy. A reader's copies each get the columns of
the row that their positions need. Inputs come from the memory at the first hub, results go there.

Rows wait in the buffer of the cores that need them (`row_buffers`): a layer whose readers have no room stands still.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from accelsim import __version__
from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.engines.base import Task
from accelsim.engines.crossbar import Crossbar
from accelsim.engines.crossbars.layers import Resident, error_of, item_counts, mvm_of, resident, row_cycles, with_rooms
from accelsim.memory.model import MemoryModel
from accelsim.sim.passes import ATTRIBUTION
from accelsim.sim.player import TRANSFER_DTYPE, LayerTimes, Timeline
from accelsim.sim.rowflow import Edge, Flow, FlowTimes, Send, Sink, Source, Stage, play_rows
from accelsim.system.archspec import Architecture
from accelsim.system.buffers import stored_bits
from accelsim.system.costs import Costs, energy_by_component
from accelsim.system.result import TRAFFIC, LayerResult, RunResult, peak_of
from accelsim.system.row_buffers import Rows, network_counts, share_out
from accelsim.system.schedule import Schedule, Step, schedule
from accelsim.workload.network import Network
from accelsim.workload.ops import Norm, Pool, explicit_pad
from accelsim.workload.shapes import ConvShape, GemmShape, VectorShape
from accelsim.workload.trace import Trace

Progress = Callable[[int, int, str], None]


@dataclass
class Placed:
    """A step with its place.

    Attributes
    ----------
    step : Step
    layer : Resident or None
        None: it has no weights.
    rows : int
        Output rows of an item.
    copies : int
    slices : list of list of int
        Copies that share a core are one slice: its terminals. Slices share the positions of a row.
    weights : list of int
        Copies of each slice.
    parts : int
        Cores of a slice hold different row blocks in so many parts.
    """

    step: Step
    layer: Resident | None
    rows: int
    copies: int = 1
    slices: list[list[int]] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    parts: int = 1

    @property
    def crossbars(self) -> int:
        """Of all copies."""
        return 0 if self.layer is None else self.layer.crossbars * self.copies

    @property
    def cores(self) -> list[int]:
        """All terminals, each once."""
        return list(dict.fromkeys(t for part in self.slices for t in part))


class _Plan:
    def __init__(self, arch: Architecture, trace: Trace, progress: Progress | None) -> None:
        assert arch.spec.cores is not None
        if not isinstance(arch.engine, Crossbar):
            raise ConfigError(f"cores.schedule: placed needs an engine of crossbars, got {arch.engine.kind!r}")
        self.arch, self.trace, self.spec, self.engine = arch, trace, arch.spec.cores, arch.engine
        self.schedule: Schedule = schedule(trace.network)
        if not self.schedule.steps:
            raise ConfigError("the network has no layer that takes time", trace.name)
        self.bits = arch.spec.bits()
        self.terminals = self.spec.terminals or list(range(self.spec.count))
        self.placed: list[Placed] = []
        self.limit: int = self.engine.spec.arrays  # crossbars of a core that layers may share
        steps = self.schedule.steps
        for index, step in enumerate(steps):
            if progress is not None:
                progress(index, len(steps), step.layer.name)
            self.placed.append(self._enter(step))
        self.maker = {p.step.writes: index for index, p in enumerate(self.placed)}
        self._replicate()
        self.inputs = sorted({t for s in steps for ts in s.reads for t in ts if t not in self.maker})

    def task(self, step: Step) -> Task:
        """As the engine reads it."""
        spec = self.arch.spec
        return with_rooms(
            Task(
                layer=step.layer, trace=self.trace, bits=stored_bits(spec, self.trace, step.layer), rooms=spec.rooms(),
                word_bits={b.name: b.word_bits for b in spec.buffers}, fused_ops=step.fused_ops,
                vector_lanes=spec.vector.lanes, layout=spec.dram.layout,
            )
        )  # fmt: skip

    def _enter(self, step: Step) -> Placed:
        if isinstance(step.layer.work, VectorShape):
            return Placed(step, None, _rows(step.layer.out_shape))
        layer = resident(self.engine, self.task(step))
        return Placed(step, layer, layer.rows)

    # --- placement ---

    def _replicate(self) -> None:
        """Copies for the slowest layers while crossbars are left.

        Raises
        ------
        ConfigError
            If one copy of each layer does not fit: how many crossbars that takes, and how many there are.
        """
        layers = [p for p in self.placed if p.layer is not None]
        there = self.spec.count * self.limit
        for place in layers:
            place.copies = 1
        needed = sum(p.crossbars for p in layers)
        if needed > there or not self._pack():
            size = f"{self.engine.spec.rows} x {self.engine.spec.cols}"
            why = "" if needed > there else ", too few once none is split between cores without need"
            raise ConfigError(
                f"the weights of {self.trace.name} need {needed} crossbars of {size}, and there are {there} "
                f"({self.spec.count} cores of {self.engine.spec.arrays}){why}; about "
                f"{max(self.spec.count + 1, ceil_div(needed, self.engine.spec.arrays))} cores would hold them"
            )
        queue = [(-self._item_cycles(p), index) for index, p in enumerate(layers)]
        heapq.heapify(queue)
        while queue and self.engine.spec.replicate:
            _, index = heapq.heappop(queue)
            place = layers[index]
            before, place.copies = place.copies, self._next_copies(place)
            if not place.copies or sum(p.crossbars for p in layers) > there or not self._pack():
                place.copies = before  # the slowest layer sets the pace: more copies of others gain nothing
                break
            heapq.heappush(queue, (-self._item_cycles(place), index))
        self._pack()

    def _next_copies(self, place: Placed) -> int:
        """The next number of copies that makes a row faster, or 0."""
        assert place.layer is not None
        turns = ceil_div(place.layer.positions, place.copies)
        return ceil_div(place.layer.positions, turns - 1) if turns > 1 else 0

    def _item_cycles(self, place: Placed) -> int:
        assert place.layer is not None
        return sum(row_cycles(self.engine, place.layer, place.copies)[0])

    def _pack(self) -> bool:
        """Give all layers their cores, first fit; layers without weights work beside what they read.

        A layer is spread over as many cores as it and its reader take together, so that its copies lie beside those
        that read their columns, and at least over so many that none sends more than half of what a link carries.
        """
        free = [self.engine.spec.arrays] * self.spec.count
        for place in self.placed:
            if place.layer is None:
                sources = [self.placed[self.maker[t]] for ts in place.step.reads for t in ts if t in self.maker]
                cores = sources[0].cores if sources else [self.terminals[0]]
                place.slices, place.weights = [[core] for core in cores], [1] * len(cores)
            elif place.layer.crossbars <= self.engine.spec.arrays:
                if not self._pack_small(place, free):
                    return False
            elif not self._pack_large(place, free):
                return False
        return True

    def _reader_crossbars(self, place: Placed) -> int:
        """Crossbars of the next layer with weights, if it may share cores."""
        later = self.placed[self.placed.index(place) + 1 :]
        reader = next((p for p in later if p.layer is not None), None)
        if reader is None or reader.layer is None or reader.layer.crossbars > self.engine.spec.arrays:
            return 0
        return reader.crossbars

    def _pack_small(self, place: Placed, free: list[int]) -> bool:
        assert place.layer is not None
        one, left = place.layer.crossbars, place.copies
        row = self._row_bytes(place.step.writes, "ofmap")
        stream = max(1, min(row_cycles(self.engine, place.layer, place.copies)[0]))
        flit = int(self.arch.data["noc"].get("flit_bytes", 1))
        beside = ceil_div(place.crossbars + self._reader_crossbars(place), self.engine.spec.arrays)
        wanted = max(beside, ceil_div(2 * row, flit * stream))
        most = ceil_div(place.copies, min(place.copies, self.spec.count, wanted))
        place.slices, place.weights, place.parts = [], [], 1
        for core in range(self.spec.count):
            count = min(left, most, (free[core] - self.engine.spec.arrays + max(one, self.limit)) // one)
            if count > 0:
                place.slices.append([self.terminals[core]])
                place.weights.append(count)
                free[core] -= count * one
                left -= count
            if not left:
                return True
        return False

    def _pack_large(self, place: Placed, free: list[int]) -> bool:
        """Copies larger than a core: neighbouring empty cores, and room for the rest in the next."""
        assert place.layer is not None
        arrays = self.engine.spec.arrays
        whole, rest = divmod(place.layer.crossbars, arrays)
        span, core = whole + (rest > 0), 0
        place.slices, place.weights = [], []
        while len(place.slices) < place.copies:
            if core + span > self.spec.count:
                return False
            if all(f == arrays for f in free[core : core + whole]) and (not rest or free[core + whole] >= rest):
                place.slices.append([self.terminals[c] for c in range(core, core + span)])
                free[core : core + whole] = [0] * whole
                if rest:
                    free[core + whole] -= rest
                core += whole
            else:
                core += 1
        place.weights = [1] * place.copies
        per = self.engine.arrays_per_unit({"filter": self.engine.spec.weight_bits})
        place.parts = min(span, ceil_div(place.layer.row_blocks, max(1, arrays // per)))
        return True

    # --- rows and messages ---

    def stages(self) -> tuple[list[Stage], list[Source], list[Sink]]:
        """What the player needs. Where rows that wait do not fit, layers are spread over more cores, if there are.

        Raises
        ------
        ConfigError
            If the rows that must wait do not fit the buffers.
        """
        arrays = self.engine.spec.arrays
        refused: ConfigError | None = None
        for share in (8, 6, 4, 3, 2, 1):
            self.limit = max(1, arrays * share // 8)
            try:
                if share < 8:
                    self._replicate()
                return self._stages()
            except ConfigError as error:
                refused = refused or error
        assert refused is not None
        raise refused

    def _stages(self) -> tuple[list[Stage], list[Source], list[Sink]]:
        stages, buffered = [], []
        for number, place in enumerate(self.placed):
            stream, finish = self._cycles(place)
            stage = Stage(place.step.layer.name, place.rows, stream, finish, place.step.layer.macs // place.rows)
            for index, tensors in enumerate(place.step.reads):
                for tensor in tensors:
                    edge, there = self._edge(place, tensor, index)
                    stage.edges.append(edge)
                    most = self._tensor_rows(tensor) * self.spec.items
                    buffered.append(Rows(number, tensor, edge, there, most))
            stage.gather = self._gather(place)
            stages.append(stage)
        sources, address = [], 0
        for name in self.inputs:
            row_bytes = self._row_bytes(name, "ifmap")
            sources.append(Source(self._tensor_rows(name), row_bytes, address))
            address += row_bytes * self._tensor_rows(name)
        sinks = []
        for index, place in enumerate(self.placed):
            if self.schedule.tensors[place.step.writes].is_output:
                row_bytes = self._row_bytes(place.step.writes, "ofmap")
                sends = self._from(place, [[self.spec.hubs[0]]], [row_bytes])
                sinks.append(Sink(index, sends, row_bytes, address))
                address += row_bytes * place.rows
        room = next(b for b in self.arch.spec.buffers if "ifmap" in b.holds)
        share_out(buffered, stages, sources, room.name, room.capacity_bytes)
        return stages, sources, sinks

    def _cycles(self, place: Placed) -> tuple[list[int], list[int]]:
        if place.layer is not None:
            return row_cycles(self.engine, place.layer, place.copies)
        work = place.step.layer.work
        assert isinstance(work, VectorShape)
        ops = ceil_div(work.outputs * (work.ops_per_output + place.step.fused_ops), place.rows)
        cycles = max(1, ceil_div(ops, self.arch.spec.vector.lanes * len(place.cores)))
        return [cycles] * place.rows, [cycles] * place.rows

    def _tensor_rows(self, name: str) -> int:
        return self.placed[self.maker[name]].rows if name in self.maker else _rows(self._input_shape(name))

    def _input_shape(self, name: str) -> tuple[int, ...]:
        network: Network = self.trace.network
        return tuple(network[name].out_shape)

    def _row_bytes(self, name: str, operand: str) -> int:
        return ceil_div(self.schedule.tensors[name].elements * self.bits[operand], 8 * self._tensor_rows(name))

    def _edge(self, place: Placed, tensor: str, operand: int) -> tuple[Edge, dict[int, int]]:
        """The edge, and the bytes of a row that come to each terminal."""
        rows = self._tensor_rows(tensor)
        size = self._row_bytes(tensor, "ifmap")
        work, total = place.step.layer.work, sum(place.weights)
        share = [ceil_div(size * weight, total) for weight in place.weights]
        if isinstance(work, ConvShape):  # windows at the border of two slices overlap
            spans = [
                (ceil_div(work.q * weight, total) - 1) * work.stride[1] + (work.s - 1) * work.dilation[1] + 1
                for weight in place.weights
            ]
            share = [ceil_div(size * min(work.w, span), work.w) for span in spans]
        targets = [list(s) for s in place.slices]
        if place.parts > 1:  # cores that hold different rows of the matrix get different channels
            targets = [[t] for s in place.slices for t in s]
            share = [ceil_div(b, place.parts) for b, s in zip(share, place.slices, strict=True) for _ in s]
        if tensor in self.maker:
            source, sends = self.maker[tensor], self._from(self.placed[self.maker[tensor]], targets, share)
        else:
            source = -1 - self.inputs.index(tensor)
            sends = [(self.spec.hubs[0], tuple(t), b) for t, b in zip(targets, share, strict=True)]
        there: dict[int, int] = {}
        for terminals, n_bytes in zip(targets, share, strict=True):
            for terminal in dict.fromkeys(terminals):
                there[terminal] = min(size, there.get(terminal, 0) + n_bytes)
        need, first = self._need(place, rows, operand)
        op = place.step.layer.op
        return Edge(source, need, sends, first, running=isinstance(op, Pool) and op.kernel == "global"), there

    @staticmethod
    def _from(maker: Placed, targets: list[list[int]], share: list[int]) -> list[Send]:
        """Messages of one row from its makers: each reader gets its columns from the slice that makes the middle."""
        sends, ends, total, at = [], np.cumsum(maker.weights), sum(share), 0
        for group, n_bytes in zip(targets, share, strict=True):
            middle = (2 * at + n_bytes) * int(ends[-1])
            cores = maker.slices[min(int(np.searchsorted(2 * total * ends, middle, "right")), len(ends) - 1)]
            at += n_bytes
            if maker.parts > 1:
                cores = cores[:1]
            for core in dict.fromkeys(cores):
                sends.append((core, tuple(dict.fromkeys(group)), ceil_div(n_bytes, len(cores))))
        return sends

    def _gather(self, place: Placed) -> list[Send]:
        if place.parts < 2 or place.layer is None:
            return []
        row = self._row_bytes(place.step.writes, "ofmap") * self.bits["psum"] // self.bits["ofmap"]
        share = ceil_div(row, len(place.slices) * max(1, len(place.slices[0]) // place.parts))
        return [(core, (cores[0],), share) for cores in place.slices for core in cores[1:]]

    def _need(self, place: Placed, rows: int, operand: int) -> tuple[list[int], list[int]]:
        """Rows of an input that there must be for each row, and the first it needs; all where shapes do not say."""
        op, work = place.step.layer.op, place.step.layer.work
        window: tuple[int, int, int, int] | None = None  # stride, padding, rows of a window and of an image
        images = 1
        if isinstance(work, ConvShape):
            window = work.stride[0], work.pad[0], (work.r - 1) * work.dilation[0] + 1, work.h
            images = work.n
        elif isinstance(op, Pool) and op.kernel != "global" and len(place.step.layer.out_shape) == 4:
            images, (kernel, stride) = place.step.layer.out_shape[0], _window(op)
            pad = explicit_pad(op.pad, (rows // images,) * 2, (kernel,) * 2, (stride,) * 2, (1, 1))[0]
            window = stride, pad, kernel, rows // images
        if window is not None and window[3] * images == rows:
            stride, pad, reach, height = window
            each = place.rows // images
            tops = [(b // each * height, b % each * stride - pad) for b in range(place.rows)]
            need = [image + min(height, max(1, top + reach)) for image, top in tops]
            return need, [image + min(height - 1, max(0, top)) for image, top in tops]
        same = rows == place.rows and not isinstance(work, ConvShape)
        if same and (isinstance(work, GemmShape) and operand == 0 or _row_wise(place.step)):
            return list(range(1, rows + 1)), list(range(rows))
        return [rows] * place.rows, [0] * place.rows


def _window(pool: Pool) -> tuple[int, int]:
    """Rows of a window, and from one to the next."""
    kernel = pool.kernel if isinstance(pool.kernel, int) else int(pool.kernel[0])
    if pool.stride is None:
        return kernel, kernel
    return kernel, pool.stride if isinstance(pool.stride, int) else pool.stride[0]


def _row_wise(step: Step) -> bool:
    """Whether a row of the result needs the same row of the input alone; of vectors, a row is a vector."""
    if isinstance(step.layer.op, Norm):
        return step.layer.op.mode != "group"  # the others look at one position, or one vector
    return step.layer.kind in ("eltwise", "activation", "softmax")


def _rows(shape: tuple[int, ...]) -> int:
    """Rows in which a feature map is made: of pixels, or vectors."""
    if len(shape) == 4:
        return shape[0] * shape[2]
    return max(1, prod(shape[:-1]))


def simulate_placed(arch: Architecture, trace: Trace, memory: MemoryModel, progress: Progress | None) -> RunResult:
    """Run a trace on a chip of crossbars; see `accelsim.system.simulate`."""
    plan = _Plan(arch, trace, progress)
    network = arch.build_noc()
    stages, sources, sinks = plan.stages()
    flow = play_rows(stages, sources, sinks, memory, network, plan.spec.items)
    return _result(plan, stages, flow, network_counts(network, flow.sent, flow.clock), arch, trace)


def _result(
    plan: _Plan, stages: list[Stage], flow: Flow, moved: dict[int, ActionCounts], arch: Architecture, trace: Trace
) -> RunResult:
    spec, costs, items = arch.spec, Costs(arch), plan.spec.items
    updates = [p.layer.update_cycles(plan.engine) for p in plan.placed if p.layer is not None and not p.layer.dynamic]
    end = max(flow.clock, 1) + plan.engine.spec.updates * max(updates, default=0)  # all arrays are written together
    traffic: list[dict[str, int]] = [dict.fromkeys(TRAFFIC, 0) for _ in stages]
    counts = [ActionCounts() for _ in stages]
    reader = [
        next(i for i, p in enumerate(plan.placed) if any(name in ts for ts in p.step.reads)) for name in plan.inputs
    ]
    for which, address, n_bytes in flow.read:
        _dram(counts[reader[which]], traffic[reader[which]], "ifmap", address, n_bytes, costs.burst_bytes)
    for maker, own in moved.items():  # messages are their maker's; those of an input its first reader's
        counts[maker if maker >= 0 else reader[-1 - maker]].merge(own)
    for writer, address, n_bytes in flow.written:
        _dram(counts[writer], traffic[writer], "ofmap", address, n_bytes, costs.burst_bytes)
    results = []
    for index, (place, stage, times) in enumerate(zip(plan.placed, stages, flow.stages, strict=True)):
        own = counts[index]
        cycles = times.end - times.start
        causes = _causes(plan, place, stage, times, cycles, items)
        _count(plan, place, own, items)
        step, peak = place.step, place.layer.peak_macs_per_cycle(plan.engine) if place.layer else 0
        results.append(
            LayerResult(
                name=step.layer.name, kind=step.layer.kind, fused=list(step.fused), start_cycle=times.start,
                cycles=cycles, cycles_by_cause=causes, macs=step.layer.macs * items,
                effectual_macs=step.layer.macs * items,
                peak_macs_per_cycle=peak * plan.spec.count,
                dram_bytes=traffic[index], counts=own,
                energy_pj=energy_by_component(costs.price(own, end / len(stages) / spec.clock_hz)),
                info=_info(plan, place, stage, times),
            )
        )  # fmt: skip
    timeline = _timeline(flow, results, end)
    result = RunResult(
        arch=arch.name, workload=trace.name, arch_data=arch.data, trace_hash=trace.content_hash, version=__version__,
        batch=trace.network.batch * items, clock_hz=spec.clock_hz, layers=results, area_mm2=costs.area_mm2(),
        peak_macs_per_cycle=peak_of(results, arch.engine.peak_macs_per_cycle(plan.bits) * plan.spec.count),
        dram_bytes_per_cycle=float(spec.dram_bytes_per_cycle()), timeline=timeline, overlapped_cycles=end,
    )  # fmt: skip
    result.check()
    return result


def _dram(
    counts: ActionCounts, traffic: dict[str, int], operand: str, address: int, n_bytes: int, burst: int
) -> None:
    bursts = (address + n_bytes - 1) // burst - address // burst + 1
    counts.add("dram", "read_byte" if operand == "ifmap" else "write_byte", bursts * burst)
    traffic[operand] += n_bytes


def _causes(
    plan: _Plan, place: Placed, stage: Stage, times: FlowTimes, cycles: int, items: int
) -> dict[str, int]:
    causes = dict.fromkeys(ATTRIBUTION, 0)
    stall, stream = 0, sum(stage.stream) * items
    if place.layer is not None and not place.layer.dynamic and place.layer.task.layer.kind != "recurrent":
        mvm = mvm_of(plan.engine, place.layer)
        stall = ceil_div(place.layer.positions, place.copies) * mvm.adc_stall * stage.rows
        if place.layer.units:
            stall = sum(stage.stream) // mvm.step * (mvm.step - mvm.read)
    causes["adc"] = stall * items
    causes["compute"] = stream - causes["adc"]
    causes["ifmap"] = times.waited
    causes["ofmap"] = times.held
    causes["fill_drain"] = cycles - stream - times.waited - times.held
    return causes


def _count(plan: _Plan, place: Placed, counts: ActionCounts, items: int) -> None:
    if place.layer is not None:
        share = place.crossbars / plan.engine.spec.arrays
        counts.merge(item_counts(plan.engine, place.layer, place.copies, share), items)
        if not place.layer.dynamic:
            counts.add("cell", "write", plan.engine.spec.updates * place.layer.cells(plan.engine) * place.copies)
        return
    work, spec = place.step.layer.work, plan.arch.spec
    assert isinstance(work, VectorShape)
    counts.add("vector_unit", "op", items * work.outputs * (work.ops_per_output + place.step.fused_ops))
    for operand, action, count in (("ifmap", "read", work.inputs), ("ofmap", "write", work.outputs)):
        buffer = next(b for b in spec.buffers if operand in b.holds)
        counts.add(buffer.name, action, items * ceil_div(count * plan.bits[operand], buffer.word_bits))


def _info(plan: _Plan, place: Placed, stage: Stage, times: FlowTimes) -> dict[str, Any]:
    info: dict[str, Any] = {"cores": len(place.cores), "waiting_rows": times.waiting_rows, "mapping": "in place"}
    info["buffered_rows"] = min(edge.slots for edge in stage.edges)
    layer = place.layer
    if layer is None:
        return info
    mvm = mvm_of(plan.engine, layer)
    held = sum(n * k * groups for _, (groups, k, n), _ in layer.products)
    bits = {"filter": plan.engine.spec.weight_bits}
    room = layer.crossbars // plan.engine.arrays_per_unit(bits) * plan.engine.spec.rows * plan.engine.columns(bits)
    return {
        **info,
        "mapping": f"{layer.crossbars} crossbars x {place.copies}",
        "crossbars": place.crossbars,
        "copies": place.copies,
        "cells": layer.cells(plan.engine) * place.copies,
        "update_cycles": 0 if layer.dynamic else layer.update_cycles(plan.engine),
        "mvm_cycles": mvm.latency,
        "mvm_interval_cycles": mvm.interval,
        "spatial_utilization": min(1.0, held / room) if room else 0.0,
        **error_of(plan.engine, layer),
    }


def _timeline(flow: Flow, results: list[LayerResult], end: int) -> Timeline:
    layers = [
        LayerTimes(r.name, r.start_cycle, r.start_cycle + r.cycles, r.cycles_by_cause, r.dram_bytes, {})
        for r in results
    ]
    order = np.lexsort((flow.passes["start"], flow.passes["layer"]))
    none = np.zeros(0, TRANSFER_DTYPE)
    return Timeline(layers, none, flow.passes[order], len(flow.passes) + flow.messages, end)
