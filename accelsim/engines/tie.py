"""TIE: tensor trains and rings, contracted core by core without making the matrix. Deng et al., ISCA 2019.

PEs of `macs` multiply-accumulators each; in a step all PEs get the same column of a core's matrix, and each its own
element of the working memory. `train_stages` has the order of work, the banks and the time.

A layer's products are its samples: rows of a fully connected layer, output positions of a convolution (whose windows
are laid out in the working memory, taps as the last mode), steps of a recurrence. As many samples at a time as both
working memories hold are one tile. The cores of a layer stay in the weight memory.

A layer that is no train is refused, or, with `dense: allow`, runs as a matrix product on the same PEs: `macs` outputs x
`pes` samples, one input a step.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, WordTables
from accelsim.engines.kernels.train_stages import Machine, StageTimes, Train, contract, train_of
from accelsim.mapping.problem import Mapping
from accelsim.mapping.tiles import walk
from accelsim.sim.passes import PassArray, PassTable
from accelsim.workload.decomposed import decomposed
from accelsim.workload.shapes import RecurrentShape
from accelsim.workload.trace import Operand, Trace

TRAINS = ("tt", "ring")


def is_train(operand: Operand | None) -> bool:
    """Whether an operand is stored as a tensor train or ring."""
    return operand is not None and operand.encoding in TRAINS


@lru_cache(maxsize=64)
def _train_of(operand: Operand) -> Train:
    """Decoded once."""
    return train_of(decomposed(operand))


def not_trains(trace: Trace) -> list[str]:
    """Weight operands of a trace that are no trains, as layer/role; products of activations as the layer alone."""
    found = []
    for layer in trace.network:
        if layer.is_compute:
            roles = list(layer.weights)
            found += [f"{layer.name}/{role}" for role in roles if not is_train(trace.operand(layer.name, role))]
            found += [layer.name] if not roles else []
    return found


@ENGINES.register("tie")
class Tie(TiledEngine):
    """The tensor-train engine."""

    kind: ClassVar[str] = "tie"

    class Spec(Spec):
        """Parameters of the PEs and of the working memories' banks."""

        pes: int = pydantic.Field(default=16, ge=1, le=1024, description="PEs: columns of a block")
        macs: int = pydantic.Field(default=16, ge=1, le=1024, description="multipliers of a PE: rows of a block")
        groups: int = pydantic.Field(ge=1, le=1024, description="groups of each working memory: banks by row")
        chunks: int = pydantic.Field(ge=1, le=1024, description="chunks of a group: banks by column")
        conflicts: Literal["charge", "refuse"] = pydantic.Field(
            default="charge", description="reads of a step that meet in one bank: take more cycles, or are an error"
        )
        pack: bool = pydantic.Field(
            default=False, description="where few rows are live, the idle MACs take other columns"
        )
        dense: Literal["refuse", "allow"] = pydantic.Field(
            default="refuse", description="layers that are no trains: an error, or plain matrix products"
        )
        operand_bits: int = pydantic.Field(default=16, ge=1, le=32, description="width of the multipliers")

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.machine = Machine(spec.pes, spec.macs, spec.groups, spec.chunks, spec.pack)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each multiplier."""
        return int(self.spec.pes * self.spec.macs)

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multipliers' width."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers; in each PE an input, `macs` sums and as many on their way out; one column of a core."""
        spec, width = self.spec, self.spec.operand_bits
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=spec.pes * spec.macs),
            register_rows(model, "input_register", width, count=spec.pes),
            register_rows(model, "weight_register", width, count=spec.macs),
            register_rows(model, "accumulator", bits["psum"], count=spec.pes * spec.macs),
            register_rows(model, "output_register", bits["ofmap"], count=spec.pes * spec.macs),
        ]

    # --- trains ---

    def train(self, part: Part) -> Train | None:
        """The part's weights as a train; None if they are a matrix.

        Raises
        ------
        ConfigError
            If they can be run as neither.
        """
        operand = part.operand("filter")
        if operand is None or not is_train(operand):
            if self.spec.dense == "refuse":
                raise ConfigError(self._refusal(part), part.where)
            return None
        if part.loops.groups > 1 or part.task.share is not None:
            what = "groups or directions" if part.loops.groups > 1 else "parts of a layer"
            raise ConfigError(f"a tensor train must be of one whole matrix, but the layer has {what}", part.where)
        train = _train_of(operand)
        matrix = part.loops.outputs, part.loops.channels * part.loops.window
        if matrix != (prod(train.rows), prod(train.columns)):
            what = f"its train is {prod(train.rows)} x {prod(train.columns)}, but its product needs"
            raise ConfigError(f"{what} {matrix[0]} x {matrix[1]}", part.where)
        return train

    def _refusal(self, part: Part) -> str:
        others = not_trains(part.task.trace)
        listed = ", ".join(others[:12]) + (f" and {len(others) - 12} more" if len(others) > 12 else "")
        operand = part.operand("filter")
        kept = "a matrix" if operand is None else f"stored as {operand.encoding}"
        return (
            f"its weights are {kept}, but this engine contracts tensor trains: give them a step `decompose` with "
            "method tt or ring in the recipe, or let such layers run as matrix products with engine.dense=allow "
            f"(not trains in this trace: {listed})"
        )

    def samples(self, part: Part, train: Train) -> int:
        """Products that both working memories hold at a time.

        Raises
        ------
        ConfigError
            If they do not hold one.
        """
        room, count = part.task.room_of("ifmap"), prod((part.loops.images, part.loops.p, part.loops.q))
        width = part.task.bits["ifmap"]
        words = room.free_bytes * 8 // (2 * width * self.spec.groups * self.spec.chunks)
        needed = self.machine.words_of(train, 1)
        if needed > words:
            banks = f"{self.spec.groups} x {self.spec.chunks} banks"
            raise ConfigError(
                f"buffer {room.name!r} must hold the largest matrix between two stages twice: "
                f"{needed} words in each of {banks}, but each half has {words}", part.where,
            )  # fmt: skip
        low, high = 1, count
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.machine.words_of(train, middle) <= words else (low, middle - 1)
        return low

    def _check_cores(self, part: Part, train: Train) -> None:
        room = part.task.room_of("filter")
        needed = ceil_div(train.elements * part.task.bits["filter"], 8)
        if needed > room.free_bytes:
            raise ConfigError(
                f"buffer {room.name!r} must hold all cores: {needed} bytes, but it has {room.free_bytes}", part.where
            )

    def contraction(self, part: Part, train: Train, samples: int) -> tuple[StageTimes, ...]:
        """The stages of one tile.

        Raises
        ------
        ConfigError
            If a read meets a busy bank, and conflicts are refused.
        """
        found = contract(train, samples, self.machine)
        clash = next((t for t in found if t.worst > 1), None)
        if clash is not None and self.spec.conflicts == "refuse":
            raise ConfigError(
                f"the reshape before core{clash.stage.core} cannot be served in one read: {clash.worst} elements of a "
                f"step lie in one bank of {self.spec.groups} groups x {self.spec.chunks} chunks; "
                "use more of them, other modes, or engine.conflicts=charge", part.where,
            )  # fmt: skip
        return found

    # --- contract of a tiled engine ---

    def lower(self, task: Task) -> PassTable:
        """See `Engine.lower`; says at once which of a recurrent layer's matrices are no trains."""
        work = task.layer.work
        if isinstance(work, RecurrentShape) and self.spec.dense == "refuse":
            for role in work.weights:
                if not is_train(task.trace.operand(task.layer.name, role)):
                    raise ConfigError(
                        f"{role}: " + self._refusal(Part(task, work.input_gemm, (("filter", role),))),
                        f"layer {task.layer.name}",
                    )
        operand = task.trace.operand(task.layer.name, "filter") if task.layer.weights else None
        return super().lower(replace(task, factors="multiply") if is_train(operand) else task)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """One sample on each PE, one output on each of its MACs."""
        return self.spec.pes, self.spec.macs, 1

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Of a matrix product."""
        m, n, k = (np.asarray(x, np.int64) for x in (m, n, k))
        return -(-m // self.spec.pes) * -(-n // self.spec.macs) * k

    def tile(self, part: Part) -> tuple[Mapping, Tiles, tuple[str, ...]]:
        """Of a train: all outputs and inputs of some samples; the cores come with the first tile."""
        train = self.train(part)
        if train is None:
            return super().tile(part)
        self._check_cores(part, train)
        mapping = _tile_of(part, self.samples(part, train))
        tiles = walk(self._problem(part, part.task.bits), mapping)
        tiles["filter_bytes"] = 0
        tiles["filter_bytes"][0] = ceil_div(train.elements * part.task.bits["filter"], 8)
        return mapping, tiles, ("filter",)

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Tiles of a train follow each other when all of one is written; those of a matrix do not wait."""
        train = self.train(part)
        if train is None:
            cycles = self.interval(part, tiles["m"], tiles["n"], tiles["k"]) * tiles["groups"]
            return TileTimes.steps(cycles, latency=2)
        table = {m: self.contraction(part, train, m) for m in np.unique(tiles["m"]).tolist()}

        def of(value: Any) -> Any:
            return np.array([value(table[m]) for m in tiles["m"].tolist()], np.int64)

        end = of(lambda stages: stages[-1].end)
        busy = of(lambda stages: sum(s.compute for s in stages))
        conflict = of(lambda stages: sum(s.conflict for s in stages))
        return TileTimes(np.zeros_like(end), np.zeros_like(end), end, end, busy, {"bank_conflict": conflict})

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """A step reads a column of a core for all PEs, and an element of the working memory for each."""
        train = self.train(part)
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        if train is None:
            turns_m, turns_n = -(-m // self.spec.pes), -(-n // self.spec.macs)
            return {"filter": groups * n * k * turns_m, "ifmap": groups * m * k * turns_n}, {"psum": groups * m * n}
        columns, reads, writes = (np.zeros(len(tiles), np.int64) for _ in range(3))
        for stage in train.stages:
            width, _, row_blocks = self.machine.blocks(stage, 1)
            columns += -(-stage.columns * m // width) * stage.inner * row_blocks * self.spec.macs
            reads += stage.columns * m * stage.inner * row_blocks
            writes += stage.columns * m * stage.rows
        laid_out = m * k if part.loops.window > 1 else 0  # windows overlap: more is written than fetched
        return {"filter": columns, "ifmap": reads}, {"ofmap": writes, "ifmap": laid_out + 0 * m}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """MACs with live rows and columns; the others stand still."""
        train, width = self.train(part), self.spec.operand_bits
        if train is None:
            macs = int((tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]).sum())
            inputs, results = ceil_div(macs, self.spec.macs), int((tiles["groups"] * tiles["m"] * tiles["n"]).sum())
        else:
            samples = int(tiles["m"].sum())
            macs, inputs = samples * train.macs, 0
            for stage in train.stages:
                inputs += samples * stage.columns * stage.inner * self.machine.blocks(stage, 1)[2]
            results = samples * sum(stage.rows * stage.columns for stage in train.stages)
        counts, psum = ActionCounts(), part.task.bits["psum"]
        counts.add("mac", f"mac_{width}x{width}", macs)
        counts.add("input_register", "write", inputs)
        counts.add("weight_register", "write", int(times.busy.sum()) * self.spec.macs)
        counts.add("accumulator", "read_bit", macs * psum)
        counts.add("accumulator", "write_bit", macs * psum)
        counts.add("output_register", "write", results)
        return counts

    def effectual(self, part: Part) -> int:
        """Of a train all MACs: zeros are few after the first stage, and none is looked for."""
        train = self.train(part)
        return super().effectual(part) if train is None else train.macs * _samples(part)

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Beside utilization: cycles of the array by stage, of the first tile, and MACs of the matrix it stands for."""
        train = self.train(part)
        if train is None:
            return super().info(part, tiles, times)
        stages = self.contraction(part, train, int(tiles["m"][0]))
        busy = int(times.busy.sum())
        return {
            "spatial_utilization": train.macs * _samples(part) / (busy * self.spec.pes * self.spec.macs),
            "array_cycles": busy,
            "stage_cycles": [stage.compute for stage in stages],
            "matrix_macs": part.shape.macs,
            "samples_per_tile": int(tiles["m"][0]),
        }

    def table(self, part: Part, rows: PassArray, tiles: Tiles, times: TileTimes, mapping: Mapping) -> PassTable:
        """MACs are those of the contraction, not of the matrix."""
        train = self.train(part)
        if train is not None:
            rows["macs"] = tiles["m"] * train.macs
        return super().table(part, rows, tiles, times, mapping)


def _samples(part: Part) -> int:
    return prod((part.loops.images, part.loops.p, part.loops.q))


def _tile_of(part: Part, samples: int) -> Mapping:
    """At most so many samples of a layer, as images, rows or columns; of a recurrence within one time step."""
    loops = part.loops
    images, rows, cols = 1, 1, min(samples, loops.q)
    if samples >= loops.q:
        rows = min(samples // loops.q, loops.p)
    if samples >= loops.p * loops.q:
        images = min(samples // (loops.p * loops.q), loops.images)
    if part.step_rows:
        images = max(i for i in range(1, min(images, part.step_rows) + 1) if part.step_rows % i == 0)
    return Mapping(
        1, images, rows, cols, loops.outputs, loops.channels, loops.r, loops.s, "mnk", keep_filter=True
    )
