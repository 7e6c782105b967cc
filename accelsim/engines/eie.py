"""EIE: nonzero inputs broadcast to PEs that hold interleaved, compressed columns behind queues.

Han et al., EIE: Efficient Inference Engine on Compressed Deep Neural Network, ISCA 2016. Rows of the matrix are dealt
to the PEs in turn. A PE stores, column by column, the codes of its nonzero weights, each with the zeros before it; a
longer run takes padding. A scanner finds the nonzero inputs, `scan_width` at a time, and pushes each to the queues of
all PEs, unless one of them is full. A PE takes a column from its queue when it has finished the one before, and an
entry of it each cycle. After the inputs comes a 1 with the column of biases, where the layer has them.

Convolutions run as one matrix product for each output position, which the authors suggest for 1 x 1 windows only.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows, scratchpad_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import ProductEngine, input_rows, splits, weight_key, weight_mask
from accelsim.engines.common.tiled import Tiles, TileTimes
from accelsim.engines.kernels.queue import broadcast, column_entries
from accelsim.workload.ops import Linear

Columns = tuple[NDArray[np.int32], NDArray[np.int32]]


class QueueEngine(ProductEngine):
    """What EIE and its kin share: entries of compressed columns, and queues."""

    @property
    def room(self) -> int:
        """Entries that a queue holds; a ring tells full from empty by a slot that stays free."""
        depth = int(self.spec.queue_depth)
        return depth if self.spec.full_ring else max(1, depth - 1)

    @property
    def run_limit(self) -> int:
        """Longest run of zeros that an entry's index can say."""
        return int(2**self.spec.index_bits - 1)

    @property
    def entry_bits(self) -> int:
        """A code and a run."""
        return int(self.spec.code_bits + self.spec.index_bits)

    def stored_bits(self, part: Part) -> dict[str, int]:
        """Nonzeros as entries; about as many again as padding where runs are long."""
        density = max(part.density("filter"), 1 / (self.run_limit + 1))
        return {**part.task.bits, "filter": max(1, ceil_div(round(density * 1000) * self.entry_bits, 1000))}

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """Entries of the tile, padding included."""
        for row in np.flatnonzero(tiles["filter_bytes"]):
            entries, _ = self.columns(part, tiles[row])
            tiles["filter_bytes"][row] = max(1, ceil_div(int(entries.sum()) * self.entry_bits, 8))
        return ("filter",)

    def columns(self, part: Part, tile: Any) -> Columns:
        """(entries, nonzeros) of each column in each PE, int32 (groups, pes, k).

        Raises
        ------
        ConfigError
            If the pointers to the columns of a PE cannot count its entries.
        """
        found: Columns = self.remember(part, weight_key(tile), lambda: self._measured_columns(part, tile))
        entries, nonzeros = found
        most = int(entries.sum(axis=2, dtype=np.int64).max())
        if most >= 2**self.spec.pointer_bits:
            what = f"pointers of {self.spec.pointer_bits} bits cannot express a matrix with {most} entries in one PE"
            raise ConfigError(f"{what}; engine.pointer_bits must be larger, or the filters' buffer smaller", part.where)
        return entries, nonzeros

    def _measured_columns(self, part: Part, tile: Any) -> Columns:
        mask = weight_mask(part, tile)
        k = mask.shape[2]
        mask = np.pad(mask, ((0, 0), (0, 0), (0, -k % 8))) if k % 8 else mask
        shape = (len(mask), int(self.spec.pes), mask.shape[2])
        entries, nonzeros = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for rows, stored, real in zip(mask, entries, nonzeros, strict=True):
            column_entries(rows, rows.view(np.uint64), self.spec.pes, self.spec.index_bits, stored, real)
        return entries[..., :k], nonzeros[..., :k]


@ENGINES.register("eie")
class Eie(QueueEngine):
    """Scanner, queues and PEs on compressed columns."""

    kind: ClassVar[str] = "eie"

    class Spec(SparseSpec):
        """Parameters of the PEs and their queues."""

        pes: int = pydantic.Field(default=64, ge=1, le=4096, description="PEs; rows are dealt to them in turn")
        scan_width: int = pydantic.Field(default=64, ge=1, le=4096, description="inputs that the scanner loads at once")
        queue_depth: int = pydantic.Field(default=8, ge=1, le=4096, description="slots of a PE's queue")
        full_ring: bool = pydantic.Field(
            default=False, description="all slots are used; else one stays free to tell full from empty"
        )
        code_bits: int = pydantic.Field(default=4, ge=1, le=16, description="bits of a stored weight: its codebook's")
        index_bits: int = pydantic.Field(default=4, ge=0, le=16, description="bits of the run of zeros before it")
        pointer_bits: int = pydantic.Field(default=17, ge=1, le=32, description="bits of a column's pointer")
        latency: int = pydantic.Field(default=6, ge=0, le=100, description="stages from the queue to the result")
        pointer_bytes: int = pydantic.Field(default=32768, ge=1, description="pointer memory of a PE")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each PE."""
        return int(self.spec.pes)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Arithmetic, queues, pointers, codebooks and sums of the PEs."""
        spec = self.spec
        width = spec.operand_bits
        slot = width + 16  # a value and its column
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=spec.pes),
            register_rows(model, "input_queue", slot * spec.queue_depth, count=spec.pes),
            scratchpad_rows(model, "pointers", spec.pointer_bytes, 2 * spec.pointer_bits, count=spec.pes),
            register_rows(model, "codebook", 2**min(8, spec.code_bits) * width, count=spec.pes),
            register_rows(model, "accumulator", bits["psum"], count=spec.pes),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A row of inputs against rows of weights for all PEs, and a scanner's load."""
        return 1, int(self.spec.pes), int(self.spec.scan_width)

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """The longer of pushing the inputs and of the mean PE's walk, row by row."""
        live = max(1, round(part.density("ifmap") * 1024))
        held = max(1, round(part.density("filter") * 1024))
        pushes = k * live // 1024 + -(-k // self.spec.scan_width)
        walks = n * k * live // 1024 * held // (1024 * self.spec.pes)
        return m * (np.maximum(pushes, walks) + self.spec.latency)

    def _biases(self, part: Part, tile: Any) -> NDArray[np.int32]:
        """Entries of the bias column in each PE, with the last inputs."""
        op = part.task.layer.op
        pes = int(self.spec.pes)
        if not (isinstance(op, Linear) and op.bias and tile["last_k"]):
            return np.zeros(0, np.int32)
        return np.array([max(0, ceil_div(int(tile["n"]) - pe, pes)) for pe in range(pes)], np.int32)

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Row by row, from the real masks of both operands."""
        spec = self.spec
        entries, nonzeros = self.columns(part, tile)
        live = input_rows(part, tile)
        biases = self._biases(part, tile)
        rows = live.shape[0] * live.shape[1]
        cycles = held = walked = useful = 0
        for group in range(len(live)):
            out = np.zeros((live.shape[1], 2), np.int64)
            by_column = np.ascontiguousarray(entries[group].T)
            broadcast(live[group].view(np.uint8), by_column, self.room, spec.scan_width, biases, out)
            cycles += int(out[:, 0].sum())
            held += int(out[:, 1].sum())
            times = live[group].sum(0, dtype=np.int64)
            walked += int(times @ entries[group].sum(0, dtype=np.int64))
            useful += int(times @ nonzeros[group].sum(0, dtype=np.int64))
        biased = int(biases.sum()) * rows
        compute = (useful + biased) // spec.pes
        lost = splits(cycles - compute, {
            "index_matching": (walked - useful) // spec.pes, "queue_full": held, "imbalance": cycles,
        })  # fmt: skip
        return {
            "cycles": cycles + rows * spec.latency, "drain": rows * spec.latency, **lost,
            "products": useful + biased,
            "entries": walked + biased, "padding": walked - useful,
            "ifmap_words": int(tile["groups"] * tile["m"] * tile["k"]), "filter_words": walked,
            "psum_words": int(tile["groups"] * tile["m"] * tile["n"]),
        }  # fmt: skip

    def work_of_pes(self, part: Part, tile: Any) -> NDArray[np.int64]:
        """Entries that each PE walks in a tile, int64 (pes,)."""
        entries, _ = self.columns(part, tile)
        live = input_rows(part, tile).sum(1, dtype=np.int64)
        return np.asarray((entries * live[:, None]).sum((0, 2)), np.int64)

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Padding is multiplied, too; a pushed input is written to all queues, and looks up a column in every PE."""
        spec = self.spec
        entries, padding = int(tiles["entries"].sum()), int(tiles["padding"].sum())
        pushed = round(int(tiles["ifmap_words"].sum()) * part.density("ifmap"))
        counts = ActionCounts()
        counts.add("mac", f"mac_{spec.operand_bits}x{spec.operand_bits}", entries - padding)
        counts.add("mac", "gated", padding)
        slot = spec.operand_bits + 16
        counts.add("input_queue", "write_bit", pushed * spec.pes * slot)
        counts.add("input_queue", "read_bit", pushed * spec.pes * slot)
        counts.add("pointers", "read", pushed * spec.pes)
        counts.add("codebook", "read_bit", entries * spec.operand_bits)
        for way in ("read", "write"):
            counts.add("accumulator", way, entries)
        return counts
