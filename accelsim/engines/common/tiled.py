"""What all engines share that cut a layer into tiles: search, traffic, recurrences, counts.

A subclass answers five questions; everything else is here.

- `unit(part)`: least sensible extents (m, n, k) of a tile.
- `interval(part, m, n, k)`: about how long a tile takes, to score mappings (arrays of extents).
- `times(part, tiles)`: exactly how long each tile takes, from the data where these matter.
- `words(part, tiles)`: elements that the array reads from and writes to each operand's buffer.
- `actions(part, tiles, times)`: what it does that costs energy, buffers excluded.

It may say more: `accesses(part, tiles)`, in which cycle the array wants which words, for conflicts in banked buffers.
An engine that keeps an operand compressed also says `stored_bits(part)` and `compress(part, tiles)`.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.engines.base import Engine, Task
from accelsim.engines.common.density import effectual_macs, effectual_products, held
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiling import buffer_counts, choose, passes_from_tiles
from accelsim.mapping.problem import OPERANDS, Loops, Mapping, Problem, line_rows
from accelsim.mapping.tiles import walk
from accelsim.sim.passes import PATTERN, PassArray, PassTable
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape

#: Bits per element beyond which no compressed operand can need more.
_MOST_BITS = 256

Words = NDArray[np.int64]
Tiles = NDArray[Any]  # of TILE_DTYPE
WordTables = tuple[dict[str, Words], dict[str, Words]]


@dataclass(frozen=True)
class TileTimes:
    """Cycles of every tile, as offsets from its start (see `accelsim.dataflow.base`); int64, one for each tile.

    `busy` counts cycles in which the array works; `stalls` those in which it stands still for a reason of
    its own (causes of `accelsim.sim.passes.INTERNAL`). What remains of `finish` is fill and drain.
    """

    load: Words
    load_free: Words
    stream: Words
    finish: Words
    busy: Words
    stalls: MappingOf[str, Words] = field(default_factory=dict)

    @classmethod
    def steps(
        cls, cycles: Words, *, latency: int = 0, stalls: MappingOf[str, Words] | None = None, load: Words | None = None
    ) -> TileTimes:
        """Tiles that follow each other without a gap: each takes `cycles`, its last result `latency` more.

        `stalls` are part of `cycles`. `load` is time to bring the stationary operand in before a tile, while
        the one before it still runs.
        """
        cycles = np.asarray(cycles, np.int64)
        lost = sum(stalls.values(), np.zeros_like(cycles)) if stalls else np.zeros_like(cycles)
        none = np.zeros_like(cycles)
        return cls(none if load is None else load, none, cycles, cycles + latency, cycles - lost, stalls or {})


class TiledEngine(Engine):
    """Base of the engines whose unit of work is a tile of a convolution or of a matrix product."""

    #: operand that must be in the PEs before a tile streams: "filter", "ifmap" or ""
    stationary: ClassVar[str] = ""
    keeps_operands: ClassVar[bool] = True
    _known: tuple[Part, dict[Any, Any]] | None = None

    # --- what a subclass answers ---

    def unit(self, part: Part) -> tuple[int, int, int]:
        """Least sensible extents (m, n, k) of a tile."""
        raise NotImplementedError

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Cycles from the start of a tile m x n x k of one group to the start of an equal one, for the search."""
        raise NotImplementedError

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Exact cycles of the tiles, all groups of each, in their order."""
        raise NotImplementedError

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """(reads, writes): operand -> elements between its buffer and the array, for each tile.

        Sums that an earlier tile left, and finished sums on their way to the ofmap's buffer, are added here
        in the base.
        """
        raise NotImplementedError

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Actions of the array that cost energy, over all tiles (buffers, vector unit and DRAM excluded)."""
        raise NotImplementedError

    def accesses(self, part: Part, tiles: Tiles) -> NDArray[Any] | None:
        """For each tile an `AccessPattern`: which elements its array reads and writes in which cycle.

        None: those that `words` counts, one after another, at an even rate while the tile streams.
        """
        return None

    def stored_bits(self, part: Part) -> dict[str, int]:
        """Bits per element that the tiler counts with; of a compressed operand, its mean rounded up."""
        return part.task.bits

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """Overwrite `filter_bytes`, `ifmap_bytes` or `ofmap_bytes` of operands that travel compressed; name them."""
        return ()

    def estimate(self, task: Task) -> int:
        """See `Engine.estimate`: the interval of one tile as large as the layer."""
        work = task.layer.work
        if not isinstance(work, ConvShape | GemmShape):
            return super().estimate(task)
        loops = Loops.of(work)
        sizes = (loops.images * loops.p * loops.q, loops.outputs, loops.channels * loops.window)
        m, n, k = (np.array([size], np.int64) for size in sizes)
        return int(np.asarray(self.interval(Part(task, work), m, n, k)).ravel()[0]) * loops.groups

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """What reports should say of the layer beside the mapping."""
        macs = int((tiles["m"] * tiles["n"] * tiles["k"] * tiles["groups"]).sum())
        busy = int(times.busy.sum())
        peak = self.peak_macs_per_cycle(self._compute_bits(part))
        return {"spatial_utilization": min(1.0, macs / (busy * peak)) if busy else 0.0}

    def remember(self, part: Part, key: Any, make: Any) -> Any:
        """`make()`, once for each key while one part is asked about."""
        if self._known is None or self._known[0] is not part:
            self._known = part, {}
        known = self._known[1]
        if key not in known:
            known[key] = make()
        return known[key]

    def effectual(self, part: Part) -> int:
        """MACs of the part without a zero operand; see `engines.common.density`. All, if a trace holds none."""
        if not part.roles:
            return part.shape.macs
        if part.task.share is None and not isinstance(part.task.layer.work, RecurrentShape):
            return effectual_macs(part.task.layer, part.task.trace)
        operands = part.operand("ifmap"), part.operand("filter")
        if part.task.share is not None and all(o is not None and held(o) for o in operands):
            return effectual_products(part.shape, part.ifmap() != 0, part.filters() != 0)
        return round(part.shape.macs * part.density("ifmap") * part.density("filter"))

    # --- lowering ---

    def lower(self, task: Task) -> PassTable:
        """See `Engine.lower`."""
        self.check_bits(task)
        if task.factors == "contract":
            from accelsim.engines.common.factors import lower_factors

            table = lower_factors(self, task)
            if table is not None:
                return table
        work = task.layer.work
        if isinstance(work, RecurrentShape):
            from accelsim.engines.common.recurrent import lower_recurrent

            return lower_recurrent(self, task, work)
        if not isinstance(work, ConvShape | GemmShape):
            raise ConfigError(f"engine {self.kind!r} cannot run {task.layer.kind}", f"layer {task.layer.name}")
        part = Part(task, work)
        mapping, tiles, packed = self.tile(part)
        times = self.times(part, tiles)
        rows = passes_from_tiles(tiles, task)
        fill_times(rows, times)
        one_run(rows, packed)
        return self.table(part, rows, tiles, times, mapping)

    def _compute_bits(self, part: Part) -> dict[str, int]:
        return {**part.task.bits, "ifmap": part.bits("ifmap"), "filter": part.bits("filter")}

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        stored = tuple(bits[o] for o in OPERANDS)
        task = part.task
        unit = self.unit(part)
        return Problem(
            part.loops, task.rooms, stored, task.on_chip, unit, step_rows=part.step_rows  # type: ignore[arg-type]
        )

    def tile(self, part: Part) -> tuple[Mapping, Tiles, tuple[str, ...]]:
        """The mapping, its tiles with their exact traffic, and the operands that are compressed.

        A compressed tile may be larger than the mean that the search has counted with: then it counts with more.
        """
        bits = dict(self.stored_bits(part))
        while True:
            problem = self._problem(part, bits)
            mapping = choose(part.task, problem, lambda m, n, k: self.interval(part, m, n, k))
            tiles = walk(problem, mapping)
            assumed = {o: int(tiles[f"{o}_bytes"].max()) for o in ("filter", "ifmap", "ofmap")}
            packed = self.compress(part, tiles)
            low = [o for o in packed if int(tiles[f"{o}_bytes"].max()) > assumed[o]]
            if not low or part.task.pinned is not None:
                return mapping, tiles, packed
            for operand in low:
                bits[operand] += 1
                if not assumed[operand] or bits[operand] > _MOST_BITS:
                    size = int(tiles[f"{operand}_bytes"].max())
                    raise SimulationBug(f"{self.kind}: {part.where}: {operand} tiles of {size} bytes are in no search")

    def table(self, part: Part, rows: PassArray, tiles: Tiles, times: TileTimes, mapping: Mapping) -> PassTable:
        """The pass table of one product, from its tiles and their times."""
        task = part.task
        reads, writes = self._words(part, tiles)
        table = PassTable(
            task.layer.name,
            rows,
            self.stationary,
            task.slots(),
            counts=self._counts(part, tiles, times, reads, writes),
            macs=int(rows["macs"].sum()),
            effectual_macs=self.effectual(part),
            peak_macs_per_cycle=self.peak_macs_per_cycle(self._compute_bits(part)),
            info={
                "mapping": mapping.describe(),
                "psum_tile_bytes": _psum_bytes(task, tiles, mapping),
                **self.info(part, tiles, times),
            },
            mapping=mapping,
            array_reads=reads,
            array_writes=writes,
        )
        accesses = self.accesses(part, tiles)
        if accesses is not None:
            table.accesses = accesses
        for operand in ("ifmap", "filter", "psum"):
            if getattr(mapping, f"keep_{operand}"):
                table.slots[operand] = 0
                room = task.room_of("ifmap")
                if operand == "ifmap" and room.lines and not task.on_chip[0]:
                    table.slots["ifmap"] = room.slots
                    table.info["line_buffer_rows"] = line_rows(part.loops, mapping.images, mapping.rows, room.slots)
                elif operand != "psum":  # of one group of filters: the next one replaces it
                    first = tiles["group0"] == tiles["group0"][0]
                    table.info[f"kept_{operand}_bytes"] = int(tiles[f"{operand}_bytes"][first].sum())
        return table

    def _words(self, part: Part, tiles: Tiles) -> WordTables:
        task, sums = part.task, tiles["groups"] * tiles["m"] * tiles["n"]
        reads, writes = self.words(part, tiles)
        # sums of an earlier k tile are read and added to
        reads["psum"] = reads.get("psum", np.zeros(len(tiles), np.int64)) + sums * (1 - tiles["first_k"])
        if task.room_of("psum").name != task.room_of("ofmap").name:
            final = sums * tiles["last_k"]
            reads["psum"] = reads["psum"] + final
            writes["ofmap"] = final
        return reads, writes

    def _counts(
        self, part: Part, tiles: Tiles, times: TileTimes, reads: dict[str, Words], writes: dict[str, Words]
    ) -> ActionCounts:
        totals = [{operand: int(words.sum()) for operand, words in table.items()} for table in (reads, writes)]
        counts = buffer_counts(part.task, tiles, *totals)
        counts.merge(self.actions(part, tiles, times))
        final = tiles["groups"] * tiles["m"] * tiles["n"] * tiles["last_k"]
        counts.add("vector_unit", "op", int(final.sum()) * part.task.fused_ops)
        return counts


def fill_times(rows: PassArray, times: TileTimes) -> None:
    """Write the cycles of the tiles into their passes."""
    rows["load_cycles"] = times.load
    rows["load_free_cycles"] = times.load_free
    rows["stream_cycles"] = times.stream
    rows["finish_cycles"] = times.finish
    rows["busy_cycles"] = times.busy
    for cause, cycles in times.stalls.items():
        rows[f"{cause}_cycles"] = cycles


def one_run(rows: PassArray, packed: tuple[str, ...]) -> None:
    """A compressed tile lies in one piece."""
    for operand in packed:
        if operand in ("ifmap", "ofmap"):
            for name in PATTERN:
                rows[f"{operand}_{name}"] = 0


def _psum_bytes(task: Task, tiles: Tiles, mapping: Mapping) -> int:
    """Bytes of the sums that are being added to: one tile, or all if they are kept."""
    sums = tiles["groups"] * tiles["m"] * tiles["n"]
    count = (sums * tiles["last_k"]).sum() if mapping.keep_psum else sums.max()
    return int(count) * task.bits["psum"] // 8
