"""Systolic arrays, dense: output, weight or input stationary; timing proved against RTL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.dataflow.base import DATAFLOWS, Array, Dataflow
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES, Engine, Task
from accelsim.engines.density import effectual_macs
from accelsim.engines.tiling import buffer_counts, choose, passes_from_tiles
from accelsim.mapping.problem import Loops, Mapping
from accelsim.mapping.tiles import walk
from accelsim.sim.passes import PassArray, PassTable
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape


Words = NDArray[np.int64]


@ENGINES.register("systolic")
class Systolic(Engine):
    """A grid of multiply-accumulate PEs with registered links between neighbours."""

    kind: ClassVar[str] = "systolic"

    class Spec(Spec):
        """Parameters of a systolic array."""

        rows: int = pydantic.Field(ge=1, le=65536, description="PE rows")
        cols: int = pydantic.Field(ge=1, le=65536, description="PE columns")
        dataflow: Literal["os", "ws", "is"] = pydantic.Field(description="which operand stays in the PEs")
        overlap: Literal["serial", "pipelined", "overlap", "double_buffered"] = pydantic.Field(
            default="serial", description="how one fold follows another; see accelsim.dataflow.systolic"
        )
        edge: Literal["ragged", "full"] = pydantic.Field(
            default="ragged", description="whether a fold that uses part of the array is shorter"
        )
        arrays: int = pydantic.Field(default=1, ge=1, le=4096, description="arrays that share the row operand")
        operand_bits: int = pydantic.Field(default=8, ge=1, le=32, description="width of the multipliers")
        zero_gating: bool = pydantic.Field(
            default=False, description="a zero operand saves the energy of its MAC, never its time"
        )

        @pydantic.model_validator(mode="after")
        def _fits(self) -> Any:
            allowed = DATAFLOWS.lookup(self.dataflow).overlaps
            if self.overlap not in allowed:
                raise ValueError(
                    f"overlap {self.overlap!r} does not exist for dataflow {self.dataflow!r}; "
                    f"choose one of {', '.join(allowed)}"
                )
            return self

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.array = Array(spec.rows, spec.cols, spec.overlap, spec.edge, spec.arrays)
        self.dataflow: type[Dataflow] = DATAFLOWS.lookup(spec.dataflow)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each PE."""
        return self.array.rows * self.array.cols * self.array.arrays

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multipliers' width; narrower operands use a part of them."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """PEs: a multiplier with its adder, and registers for two operands and a sum, plus shadows."""
        pes = self.peak_macs_per_cycle(bits)
        width = self.spec.operand_bits
        shadow_bits = {"double_buffered": width, "pipelined": bits["psum"]}.get(self.spec.overlap, 0)
        register_bits = 2 * width + bits["psum"] + shadow_bits
        if self.dataflow.name == "os":
            register_bits += bits["psum"]  # the drain chain
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=pes),
            register_rows(model, "pe_register", register_bits, count=pes),
        ]

    # --- lowering ---

    def lower(self, task: Task) -> PassTable:
        """See `Engine.lower`."""
        self.check_bits(task)
        work = task.layer.work
        if isinstance(work, RecurrentShape):
            return self._recurrent(task, work)
        if not isinstance(work, ConvShape | GemmShape):
            raise ConfigError(f"engine 'systolic' cannot run {task.layer.kind}", f"layer {task.layer.name}")
        rows, tiles, mapping = self._passes(task, work)
        return self._table(task, rows, tiles, mapping)

    def _unit(self) -> tuple[int, int, int]:
        # a moving operand shorter than the array's edge would not pay for loading the other
        rows, cols = self.array.rows, self.array.cols * self.array.arrays
        return {"os": (rows, cols, 1), "ws": (rows, cols, rows), "is": (cols, rows, rows)}[self.dataflow.name]

    def _passes(self, task: Task, shape: ConvShape | GemmShape) -> tuple[PassArray, NDArray[Any], Mapping]:
        problem = task.problem(shape, self._unit())
        mapping = choose(task, problem, self._interval)
        tiles = walk(problem, mapping)
        rows = passes_from_tiles(tiles, task)
        self._time(rows, tiles)
        return rows, tiles, mapping

    def _interval(self, m: Any, n: Any, k: Any) -> Any:
        """Cycles from the start of one tile to the start of an equal one."""
        timing = self.dataflow.timing(self.array, m, n, k)
        first, last = self.dataflow.edges(self.array, m, n, k)
        gap = self.dataflow.gap(self.array, last, first)
        return np.maximum(timing.load_free + timing.load, timing.stream + gap)

    def _time(self, rows: PassArray, tiles: NDArray[Any]) -> None:
        """Fill in the cycles of every pass: `groups` jobs in a chain, then the gap to the next pass."""
        m, n, k, groups = tiles["m"], tiles["n"], tiles["k"], tiles["groups"]
        timing = self.dataflow.timing(self.array, m, n, k)
        first, last = self.dataflow.edges(self.array, m, n, k)
        step = self._interval(m, n, k)
        offset = (groups - 1) * step  # start of the last job of the pass
        gap = np.zeros(len(rows), np.int64)
        if len(rows) > 1:
            after = type(first)(first.rows[1:], first.cols[1:], first.length[1:])
            now = type(last)(last.rows[:-1], last.cols[:-1], last.length[:-1])
            gap[:-1] = self.dataflow.gap(self.array, now, after)
        rows["load_cycles"] = timing.load
        rows["load_free_cycles"] = offset + timing.load_free
        rows["stream_cycles"] = offset + timing.stream + gap
        rows["finish_cycles"] = offset + timing.finish
        rows["busy_cycles"] = groups * timing.busy

    def _table(self, task: Task, rows: PassArray, tiles: NDArray[Any], mapping: Mapping) -> PassTable:
        macs = int(rows["macs"].sum())
        effectual = effectual_macs(task.layer, task.trace)
        timing = self.dataflow.timing(self.array, tiles["m"], tiles["n"], tiles["k"])
        reads, writes = self._array_words(task, tiles)
        counts = self._counts(task, tiles, macs, effectual, reads, writes)
        pes = self.peak_macs_per_cycle(task.bits)
        folds = int((timing.folds * tiles["groups"]).sum())
        table = PassTable(
            task.layer.name,
            rows,
            self.dataflow.stationary,
            task.slots(),
            counts=counts,
            macs=macs,
            effectual_macs=effectual,
            peak_macs_per_cycle=pes,
            info={
                "mapping": mapping.describe(),
                "folds": folds,
                "spatial_utilization": self._spatial_utilization(tiles),
                "psum_tile_bytes": self._psum_bytes(task, tiles, mapping),
            },
            array_reads=reads,
            array_writes=writes,
        )
        for operand in ("ifmap", "filter", "psum"):
            if getattr(mapping, f"keep_{operand}"):
                table.slots[operand] = 0
                if operand != "psum":  # of one group of filters: the next one replaces it
                    first = tiles["group0"] == tiles["group0"][0]
                    table.info[f"kept_{operand}_bytes"] = int(tiles[f"{operand}_bytes"][first].sum())
        return table

    def _psum_bytes(self, task: Task, tiles: NDArray[Any], mapping: Mapping) -> int:
        """Bytes of the sums that are being added to: one tile, or all if they are kept."""
        sums = tiles["groups"] * tiles["m"] * tiles["n"]
        count = (sums * tiles["last_k"]).sum() if mapping.keep_psum else sums.max()
        return int(count) * task.bits["psum"] // 8

    def _spatial_utilization(self, tiles: NDArray[Any]) -> float:
        """PEs with work over PEs, averaged over the streaming steps."""
        busy = self.dataflow.timing(self.array, tiles["m"], tiles["n"], tiles["k"]).busy * tiles["groups"]
        macs = int((tiles["m"] * tiles["n"] * tiles["k"] * tiles["groups"]).sum())
        return macs / (int(busy.sum()) * self.array.rows * self.array.cols * self.array.arrays)

    def _array_words(self, task: Task, tiles: NDArray[Any]) -> tuple[dict[str, Words], dict[str, Words]]:
        """Elements of each operand that cross the border between buffers and array, for each pass."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        access = self.dataflow.accesses(self.array, m, n, k)
        later = groups * m * n * (1 - tiles["first_k"])  # sums of an earlier k tile are read and added to
        final = groups * m * n * tiles["last_k"]
        reads = {
            "ifmap": access.ifmap_reads * groups,
            "filter": access.filter_reads * groups,
            "psum": access.psum_reads * groups + later,
        }
        writes = {"psum": access.psum_writes * groups}
        if task.room_of("psum").name != task.room_of("ofmap").name:
            # finished sums move from the accumulators to the ofmap's buffer
            reads["psum"] = reads["psum"] + final
            writes["ofmap"] = final
        return reads, writes

    def _counts(
        self,
        task: Task,
        tiles: NDArray[Any],
        macs: int,
        effectual: int,
        reads: dict[str, Words],
        writes: dict[str, Words],
    ) -> ActionCounts:
        final = tiles["groups"] * tiles["m"] * tiles["n"] * tiles["last_k"]
        totals = [{operand: int(words.sum()) for operand, words in table.items()} for table in (reads, writes)]
        counts = buffer_counts(task, tiles, *totals)
        bits = task.bits
        width = self.spec.operand_bits
        active = effectual if self.spec.zero_gating else macs
        counts.add("mac", f"mac_{width}x{width}", active)
        counts.add("mac", "gated", macs - active)
        # per MAC: both operands and the sum are read, the moving operand(s) and the sum are written
        moving = 2 if self.dataflow.name == "os" else 1
        counts.add("pe_register", "read_bit", macs * (2 * width + bits["psum"]))
        counts.add("pe_register", "write_bit", macs * (moving * width + bits["psum"]))
        counts.add("vector_unit", "op", int(final.sum()) * task.fused_ops)
        return counts

    # --- recurrent cells ---

    def _recurrent(self, task: Task, shape: RecurrentShape) -> PassTable:
        """Input products of all steps first, then one dependent product for each step.

        The input products stay in the sums' buffer if they fit into half of it, else they travel to
        DRAM and back. The state never leaves the chip.
        """
        gates = shape.gates * shape.hidden
        room = task.room_of("psum")
        kept = shape.directions * shape.batch * shape.steps * gates * task.bits["psum"] // 8 <= room.free_bytes // 2
        ifmap_here, ofmap_here, _ = task.on_chip
        inputs = replace(task, on_chip=(ifmap_here, True, False))
        problem = inputs.problem(shape.input_gemm, self._unit())
        first = choose(inputs, problem, self._interval)
        tiles_in = walk(problem, first)
        steps_task = replace(task, on_chip=(True, True, False))
        loops = Loops(shape.directions, shape.batch * shape.steps, 1, 1, gates, shape.state)
        problem = replace(steps_task.problem(shape.input_gemm, self._unit()), loops=loops, step_rows=shape.batch)
        second = choose(steps_task, problem, self._interval)
        tiles = walk(problem, second)
        sums = (tiles["groups"] * tiles["m"] * tiles["n"] * task.bits["psum"] + 7) // 8
        if not kept:
            out = (tiles_in["groups"] * tiles_in["m"] * tiles_in["n"] * task.bits["psum"] + 7) // 8
            tiles_in["psum_out_bytes"] += out * tiles_in["last_k"]
            tiles["psum_in_bytes"] += sums * tiles["first_k"]
        begins = np.ones(len(tiles), bool)
        begins[1:] = (np.diff(tiles["image0"]) != 0) | (np.diff(tiles["group0"]) != 0)
        ends = np.append(begins[1:], True)
        if not ofmap_here:
            state = tiles["groups"] * shape.batch * shape.hidden * task.bits["ofmap"]
            tiles["ofmap_bytes"] = np.where(ends, (state + 7) // 8, 0)
        rows_in, rows = passes_from_tiles(tiles_in, inputs), passes_from_tiles(tiles, steps_task)
        self._time(rows_in, tiles_in)
        self._time(rows, tiles)
        rows["barrier"] = begins
        ops = tiles["groups"] * shape.batch * shape.hidden * CELL_OPS[shape.gates]
        pointwise = np.where(ends, -(-ops // task.vector_lanes), 0)
        rows["finish_cycles"] += pointwise
        rows["busy_cycles"] += pointwise
        table = self._table(task, np.concatenate([rows_in, rows]), np.concatenate([tiles_in, tiles]), second)
        table.slots = task.slots()  # the two parts share the filter's buffer: no tile has a place for good
        table.counts.add("vector_unit", "op", int(ops[ends].sum()))
        table.info["mapping"] = f"input: {first.describe()}; step: {second.describe()}"
        return table


#: Simple operations per hidden unit and step: LSTM 3 sigmoid, 2 tanh, 3 products, 1 sum; GRU 2 sigmoid,
#: 1 tanh, 3 products, 3 sums; a plain cell 1 tanh.
CELL_OPS = {4: 9, 3: 9, 1: 1}
