"""The plan of a run on many cores: layers cut into shares, their cores, pass tables, and the ways of their operands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.engines.base import Task
from accelsim.engines.common.factors import factor_elements, factored
from accelsim.engines.common.vector import lower_vector
from accelsim.sim.corework import OFMAP, Route
from accelsim.sim.passes import FETCHED, PassTable
from accelsim.system.archspec import Architecture
from accelsim.system.buffers import limit_ports, stored_bits
from accelsim.system.partition import Partition, Piece, candidates, extents, largest, pieces, split
from accelsim.system.placement import best_order, core_places
from accelsim.system.recurrence import STATE_AT, estimate, spread
from accelsim.system.residency import Residency
from accelsim.system.schedule import Schedule, Step, lay_out, schedule
from accelsim.system.stages import stages
from accelsim.system.tasks import task_of
from accelsim.workload.ops import Matmul
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape, VectorShape
from accelsim.workload.spike import Spike
from accelsim.workload.trace import Trace

Progress = Callable[[int, int, str], None]

#: Mappings estimated within 1/16 of the best count as equal, and the one with the fewest passes wins: what many
#: cores wait for each other is not in the estimate, and every pass takes messages.
_TOLERANCE = 16

#: Bytes of DRAM from where a core keeps what goes from factor to factor to where the next one does.
_APART = 2**30


@dataclass
class CoreLayer:
    """A step of the schedule on its cores.

    `tables` are the cores', for each time step of a spiking network that a pipeline takes step by step.
    """

    step: Step
    index: int
    partition: Partition
    cores: list[int]
    tables: list[PassTable]
    chains: list[int]  # position in `cores` of the core that gets this one's sums, or -1
    weights: list[int] = dataclasses.field(default_factory=list)  # elements in each core
    note: str = ""
    recurrent: bool = False  # its cores share a state, and exchange it after every time step


class Plan:
    """Partitions, tables and routes of all layers."""

    def __init__(self, arch: Architecture, trace: Trace, progress: Progress | None) -> None:
        assert arch.spec.cores is not None
        self.arch, self.trace, self.cores = arch, trace, arch.spec.cores
        self.schedule: Schedule = schedule(trace.network)
        if not self.schedule.steps:
            raise ConfigError("the network has no layer that takes time", trace.name)
        self.bits = arch.spec.bits()
        self.residency = Residency(self.schedule, self._map_bytes(), self.bits["ofmap"])
        self.rooms = arch.spec.rooms()
        if self.cores.resident_weights:  # they have their place: no second tile waits behind
            self.rooms = tuple(dataclasses.replace(r, slots=1) if "filter" in r.holds else r for r in self.rooms)
        self.addresses = lay_out(self.schedule, self.bits)
        self.network_rate = int(arch.data["noc"].get("flit_bytes", 1)) * len(self.cores.hubs)
        terminals = list(self.cores.terminals or range(self.cores.count))
        self.places = core_places(arch.build_noc(), terminals)
        self.layers: list[CoreLayer] = []
        self._homes: dict[tuple[str, int], Route] = {}
        steps = self.schedule.steps
        if self.cores.resident_weights:
            self._check_total_weights()
        self.rows = self._time_steps() if self.cores.schedule == "pipeline" else 1
        self.stages = stages(self) if self.cores.assignment == "searched" else None
        for index, step in enumerate(steps):
            if progress is not None:
                progress(index, len(steps), step.layer.name)
            self.layers.append(self._layer(index, step))
        if self.cores.resident_weights:
            self._check_weights()

    def _map_bytes(self) -> int:
        """Bytes for feature maps between layers."""
        shared = self.cores.shared_buffer
        if self.cores.feature_maps == "cores":
            return self.cores.count * next(b.capacity_bytes for b in self.arch.spec.buffers if "ofmap" in b.holds)
        return shared.capacity_bytes if shared else 0

    def _time_steps(self) -> int:
        """In how many parts a pipeline takes the batch: images of a spiking network are time steps, one after another.

        Raises
        ------
        ConfigError
            If a layer of a spiking network cannot be done one image after another.
        """
        if not any(isinstance(layer.op, Spike) for layer in self.trace.network):
            return 1
        batch = self.trace.network.batch
        for step in self.schedule.steps:
            work = step.layer.work
            size = work.n if isinstance(work, ConvShape) else work.m if isinstance(work, GemmShape) else 0
            if isinstance(work, VectorShape):
                size = work.outputs
            if size % batch or not size:
                what = f"a pipeline takes {batch} time steps of a spiking network one by one; {step.layer.kind} cannot"
                raise ConfigError(what, f"layer {step.layer.name}")
        return batch

    @property
    def items(self) -> int:
        """Inputs that follow each other in a pipeline, time steps counted."""
        return self.cores.items * self.rows

    # --- one layer ---

    def allowed(self, step: Step) -> list[int]:
        """The cores that may work on a layer."""
        for entry in self.cores.assign:
            if fnmatchcase(step.layer.name, entry.layers) and (not entry.kinds or step.layer.kind in entry.kinds):
                return list(entry.cores)
        return list(range(self.cores.count))

    def _layer(self, index: int, step: Step) -> CoreLayer:
        allowed = self.allowed(step) if self.stages is None else self.stages[index]
        work = step.layer.work
        if isinstance(work, VectorShape):
            return self._vector(index, step, work, allowed)
        if not isinstance(work, ConvShape | GemmShape):
            assert isinstance(work, RecurrentShape)
            return spread(self, index, step, work, allowed)
        why: ConfigError | None = None
        one = self._one_row(work)
        for partition in self._ranked(step, one, len(allowed)):
            try:
                even = self.cut(index, step, work, partition, allowed)
            except ConfigError as error:
                why = why or error
                continue
            if self.cores.shares == "searched" and not partition.shares:
                from accelsim.system.shares import uneven

                return uneven(self, even, work)
            return even
        text, where = str(why), f"layer {step.layer.name}"
        raise ConfigError(text if text.startswith(where) else f"{where}: {text}")

    def _one_row(self, work: ConvShape | GemmShape) -> ConvShape | GemmShape:
        """The layer in one time step of a pipeline."""
        if isinstance(work, ConvShape):
            return dataclasses.replace(work, n=work.n // self.rows)
        return dataclasses.replace(work, m=work.m // self.rows)

    def _ranked(self, step: Step, work: ConvShape | GemmShape, cores: int) -> Iterable[Partition]:
        for pin in self.cores.partition:
            if fnmatchcase(step.layer.name, pin.layers):
                shares = tuple((loop, tuple(sizes)) for loop, sizes in pin.shares.items())
                pinned = Partition(pin.images, pin.rows, pin.outputs, pin.channels, shares)
                if pinned.cores > cores:
                    raise ConfigError(
                        f"the pinned partition {pinned.describe()} needs {pinned.cores} cores, there are {cores}",
                        f"layer {step.layer.name}",
                    )
                return [pinned]
        options = self._options(step, work, cores)
        scores = [(self._score(step, work, option), option.cores, index) for index, option in enumerate(options)]
        return [options[index] for *_, index in sorted(scores)]

    def _options(self, step: Step, work: ConvShape | GemmShape, cores: int) -> list[Partition]:
        if self.contracted(step):  # the chain of products is every core's own, and all have equal parts of the images
            return [Partition(images) for images in range(1, cores + 1) if extents(work).images % images == 0]
        return [o for o in candidates(work, cores) if self.rows == 1 or o.images == 1]

    def best_score(self, step: Step, cores: int) -> int:
        """About how many cycles a layer with products takes on so many cores."""
        work = step.layer.work
        if isinstance(work, RecurrentShape):
            return estimate(self, step, work, list(range(cores)))
        assert isinstance(work, ConvShape | GemmShape)
        one = self._one_row(work)
        return min(self._score(step, one, option) for option in self._options(step, one, cores))

    def _score(self, step: Step, work: ConvShape | GemmShape, option: Partition) -> int:
        """About how many cycles the layer takes: the largest share's array, or what must move, and the chain."""
        first = largest(work, option)
        task = self.task(step, first)
        busy = self.arch.engine.estimate(task)
        own = first.shape
        bits, here = task.bits, self.here(step)
        inside, weights, sums = elements(own)
        in_bytes = inside * bits["ifmap"] // 8
        weight_bytes = 0 if self.cores.resident_weights else weights * bits["filter"] // 8
        out_bytes = sums * bits["ofmap"] // 8
        flit = max(1, self.network_rate // len(self.cores.hubs))
        # what is shared is sent once; each core's own link carries all that it needs
        inputs = in_bytes * option.images * option.rows * option.channels
        filters = weight_bytes * option.outputs * option.channels
        sent, off_chip = inputs + filters, (0 if here["ifmap"] else inputs) + filters
        gathered = out_bytes * option.cores // option.channels
        rate = self.arch.spec.dram_bytes_per_cycle()
        moving = max(
            sent // self.network_rate,
            gathered // self.network_rate,
            (in_bytes + weight_bytes) // flit,
            off_chip * rate.denominator // rate.numerator,
        )
        chain = 0 if option.channels == 1 else sums * bits["psum"] // 8 // flit + 8 * option.channels
        return max(busy, moving) + chain

    def here(self, step: Step) -> dict[str, bool]:
        """Which operands need no DRAM."""
        resident = self.residency.resident
        reads = [all(t in resident for t in tensors) for tensors in step.reads]
        second = isinstance(step.layer.op, Matmul) and len(reads) > 1
        return {
            "ifmap": bool(reads) and reads[0],
            "filter": reads[1] if second else self.cores.resident_weights,
            "ofmap": step.writes in resident,
        }

    def task(self, step: Step, piece: Piece | None = None) -> Task:
        return task_of(
            self.arch.spec,
            self.trace,
            step,
            self.addresses,
            layer=step.layer if piece is None else dataclasses.replace(step.layer, work=piece.shape),
            rooms=self.rooms,
            on_chip=(False, False, self.cores.resident_weights and not isinstance(step.layer.op, Matmul)),
            dram_bytes_per_cycle=self._rate(step),
            tolerance=_TOLERANCE,
            share=None if piece is None else piece.share,
        )

    def contracted(self, step: Step) -> bool:
        """Whether a layer runs as one product for each of the factors of its weights."""
        return factored(self.task(step))

    def _rate(self, step: Step) -> Fraction:
        """Bytes per cycle that mappings are scored with: of the DRAM, or of the network where all stays on chip."""
        network = Fraction(self.network_rate)
        return network if all(self.here(step).values()) else min(network, self.arch.spec.dram_bytes_per_cycle())

    def lower(self, task: Task) -> PassTable:
        table = self.arch.engine.lower(task)
        limit_ports(table, self.arch.spec, self.rooms, task.bits)
        return table

    def cut(
        self,
        index: int,
        step: Step,
        work: ConvShape | GemmShape,
        partition: Partition,
        allowed: list[int],
        placed: list[int] | None = None,
    ) -> CoreLayer:
        """A layer's shares as pass tables, on the cores of `placed` if they are known.

        Raises
        ------
        ConfigError
            If a share does not fit a core, or the layer cannot be cut like this.
        """
        found = pieces(work, dataclasses.replace(partition, images=self.rows * partition.images))
        cores = placed or self._placed(found[: partition.cores], partition, allowed)
        tables: list[PassTable] = []
        known: dict[tuple[Any, ...], tuple[PassTable, Piece]] = {}
        # all cores cut their shares alike, so that they can share what they fetch
        mapping = self.lower(self.task(step, largest(work, partition))).mapping if partition.shares else None
        filters, alone = self._filter_offsets(found), self.contracted(step)
        for piece in found:
            key = (piece.shape,)
            offset = filters[piece.place[2:]]
            if key in known and not alone and not self.arch.engine.depends_on_data(self.task(step, piece)):
                tables.append(self._moved(*known[key], piece, offset - filters[known[key][1].place[2:]], step))
                continue
            task = self.task(step, piece)
            task.addresses["filter"] += offset
            if alone:  # what goes from factor to factor by way of the DRAM is every core's own
                task.addresses["psum"] += len(tables) * _APART
            if mapping is not None:
                task = dataclasses.replace(task, pinned=mapping)  # type: ignore[arg-type]
            table = self.lower(task)
            mapping = mapping or table.mapping
            known[key] = table, piece
            tables.append(table)
        found = found[: partition.cores]
        chains = [-1] * len(found)
        for position, piece in enumerate(found):
            if piece.place[3] + 1 < partition.channels:
                chains[position] = position + 1
        weights = [elements(p.shape)[1] for p in found] if step.layer.weights else []
        if alone:
            weights = [factor_elements(self.task(step))] * len(found)
        return CoreLayer(step, index, partition, cores, tables, chains, weights)

    def _placed(self, found: list[Piece], partition: Partition, allowed: list[int]) -> list[int]:
        """The core of each share."""
        if self.places is None or len(found) == 1 or self.cores.placement == "order":
            return allowed[: len(found)]
        inputs, filters, sums = elements(found[0].shape)
        bits = self.bits
        own = inputs * bits["ifmap"] // 8, filters * bits["filter"] // 8, sums * bits["psum"] // 8
        order = best_order(found, partition, self.places[allowed[: len(found)]], own)
        return [allowed[position] for position in order]

    def _filter_offsets(self, found: list[Piece]) -> dict[tuple[int, ...], int]:
        """Where the weights of each (output, channel) part begin, one after another."""
        offsets: dict[tuple[int, ...], int] = {}
        cursor = 0
        for piece in found:
            if piece.place[2:] in offsets:
                continue
            offsets[piece.place[2:]] = cursor
            cursor += ceil_div(elements(piece.shape)[1] * self.bits["filter"], 8)
        return offsets

    def _moved(self, table: PassTable, old: Piece, new: Piece, filter_shift: int, step: Step) -> PassTable:
        """The same passes for another core: operands lie elsewhere."""
        rows = table.rows.copy()
        rows["filter_address"] += filter_shift
        bits = stored_bits(self.arch.spec, self.trace, step.layer)
        for operand in ("ifmap", "ofmap"):
            moved = self._origin(new, operand, bits[operand]) - self._origin(old, operand, bits[operand])
            used = rows[f"{operand}_bytes"] > 0
            rows[f"{operand}_address"] = np.where(used, rows[f"{operand}_address"] + moved, 0)
        return dataclasses.replace(table, rows=rows, counts=ActionCounts(table.counts), info=table.info)

    def _origin(self, piece: Piece, operand: str, bits: int) -> int:
        """Byte of the first element of a share in the whole tensor."""
        whole, at = piece.share.whole, piece.share
        if isinstance(whole, GemmShape):
            columns = whole.k if operand == "ifmap" else whole.n
            first = at.channel0 if operand == "ifmap" else at.output0
            return ((at.group0 * whole.m + at.image0) * columns + first) * bits // 8
        if operand == "ifmap":
            c, h, w, row = whole.c, whole.h, whole.w, at.in_row0
            channel = at.group0 * (whole.c // whole.g) + at.channel0
        else:
            c, h, w, row = whole.m, whole.p, whole.q, at.row0
            channel = at.group0 * (whole.m // whole.g) + at.output0
        if self.arch.spec.dram.layout == "nhwc":
            return ((at.image0 * h + row) * w * c + channel) * bits // 8
        return ((at.image0 * c + channel) * h * w + row * w) * bits // 8

    def _vector(self, index: int, step: Step, work: VectorShape, allowed: list[int]) -> CoreLayer:
        cores = allowed[: work.outputs // self.rows]
        parts = self.rows * len(cores)
        names = dict.fromkeys(t for tensors in step.reads for t in tensors)
        inputs = sum(self.schedule.tensors[n].elements for n in names)
        tables = []
        shares = zip(split(work.outputs, parts), split(max(inputs, parts), parts), strict=True)
        for (out0, outputs), (in0, size) in shares:
            task = self.task(step)
            task.addresses["ifmap"] += in0 * self.bits["ifmap"] // 8
            task.addresses["ofmap"] += out0 * self.bits["ofmap"] // 8
            tables.append(lower_vector(task, VectorShape(size, outputs, work.ops_per_output), size))
        return CoreLayer(step, index, Partition(outputs=len(cores)), cores, tables, [-1] * len(cores))

    def _check_total_weights(self) -> None:
        """Resident weights fit all cores together, however they are cut: known before any layer is mapped.

        Raises
        ------
        ConfigError
            Says how much they need, how much there is, and what would hold them.
        """
        room, total = next(r for r in self.rooms if "filter" in r.holds), 0
        for step in self.schedule.steps:
            work = step.layer.work
            if isinstance(work, VectorShape) or not step.layer.weights:
                continue
            own = sum(int(np.prod(dims)) for dims in step.layer.weights.values())
            if isinstance(work, ConvShape | GemmShape) and self.contracted(step):
                own = factor_elements(self.task(step))
            total += ceil_div(own * self.bits["filter"], 8)
        there = room.free_bytes * self.cores.count
        if total > there:
            least = ceil_div(total, self.cores.count)
            raise ConfigError(
                f"the weights of {self.trace.name} must be resident, but are {total} bytes, and the {room.name!r} of "
                f"{self.cores.count} cores have {there}: {total - there} too few; at least "
                f"{ceil_div(total, room.free_bytes)} cores would hold them, or {least} bytes in each, "
                "or set cores.resident_weights=false"
            )

    def _check_weights(self) -> None:
        """Resident weights fit every core.

        Raises
        ------
        ConfigError
            Says how much they need and how much there is.
        """
        room = next(r for r in self.rooms if "filter" in r.holds)
        need = [0] * self.cores.count
        for layer in self.layers:
            for core, own in zip(layer.cores, layer.weights):
                need[core] += ceil_div(own * self.bits["filter"], 8)
        worst = max(range(len(need)), key=lambda core: need[core])
        if need[worst] > room.free_bytes:
            total, there = sum(need), room.free_bytes * self.cores.count
            fit = ceil_div(self.cores.count * need[worst], room.free_bytes)
            raise ConfigError(
                f"the weights of {self.trace.name} must be resident, but core {worst} would hold {need[worst]} bytes "
                f"and its {room.name!r} has {room.free_bytes} ({total} bytes on all cores, {there} there are); "
                f"about {fit} cores would hold them, or set cores.resident_weights=false"
            )

    # --- what the player needs ---

    def routes(self, layer: CoreLayer, position: int) -> dict[int, Route]:
        """How the operands of one core's share travel."""
        here = self.here(layer.step)
        hubs, stripe = tuple(self.cores.hubs), self.cores.stripe_bytes
        bits = stored_bits(self.arch.spec, self.trace, layer.step.layer)
        found = {FETCHED.index(name): Route(hubs, not here[name], stripe) for name in ("filter", "ifmap")}
        for name, tensors in zip(("ifmap", "filter"), layer.step.reads, strict=False):
            if self.cores.feature_maps == "cores" and here[name] and tensors:
                found[FETCHED.index(name)] = self._home(tensors[0], bits[name])
        found[FETCHED.index("psum")] = found[OFMAP + 1] = Route(hubs, True, stripe)
        chain = layer.chains[position]
        next_core = layer.cores[chain] if chain >= 0 else -1
        if self.cores.feature_maps == "cores" and here["ofmap"]:
            hubs = (self._terminal(layer.cores[position]),)
        found[OFMAP] = Route(hubs, not here["ofmap"], stripe, next_core, (bits["psum"], bits["ofmap"]))
        work = layer.step.layer.work
        if layer.recurrent and isinstance(work, RecurrentShape):
            peers = tuple(core for core in layer.cores if core != layer.cores[position])
            for operand in (FETCHED.index("ifmap"), OFMAP):
                found[operand] = dataclasses.replace(
                    found[operand], peers=peers, state_at=STATE_AT, steps=work.steps
                )
        return found

    def _terminal(self, core: int) -> int:
        return self.cores.terminals[core] if self.cores.terminals else core

    def _home(self, tensor: str, bits: int) -> Route:
        """The cores that have made a feature map and keep it: an equal part each, in the order of addresses.

        In a pipeline of time steps, of each step's part of it.
        """
        if (tensor, bits) in self._homes:
            return self._homes[tensor, bits]
        maker = next(layer for layer in self.layers if layer.step.writes == tensor)
        own = [core for core, chain in zip(maker.cores, maker.chains, strict=True) if chain < 0]
        period = max(1, self.schedule.tensors[tensor].elements * bits // 8 // self.rows)
        stripe = ceil_div(period, len(own))
        terminals = tuple(self._terminal(core) for core in own)
        route = Route(terminals, False, stripe, base=self.addresses[tensor], period=period)
        return self._homes.setdefault((tensor, bits), route)


def elements(own: ConvShape | GemmShape) -> tuple[int, int, int]:
    """Inputs, weights and sums of a share."""
    if isinstance(own, GemmShape):
        return own.batch * own.m * own.k, own.batch * own.n * own.k, own.batch * own.m * own.n
    weights = own.m * own.c // own.g * own.r * own.s
    return own.n * own.c * own.h * own.w, weights, own.n * own.m * own.p * own.q
