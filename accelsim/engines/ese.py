"""ESE: channels of PEs with compressed columns, one sequence of a batch each; inputs broadcast through short queues.

Han et al., ESE: Efficient Speech Recognition Engine with Sparse LSTM on FPGA, FPGA 2017. All channels hold the same
weights, rows dealt to a channel's PEs in turn, as in EIE; inputs are dense, so the channels keep step. A pass of as
many sequences as channels takes as long as the queues' recurrence says, or as its results need to leave: one of each
channel a cycle fills the memory interface (32 x 16 bits of 512). Load-balanced pruning is the weights' affair.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import splits
from accelsim.engines.common.tiled import Tiles, TileTimes
from accelsim.engines.eie import QueueEngine
from accelsim.engines.kernels.queue import broadcast


@ENGINES.register("ese")
class Ese(QueueEngine):
    """Channels of queued PEs."""

    kind: ClassVar[str] = "ese"
    skips: ClassVar[tuple[str, ...]] = ("filter",)

    class Spec(SparseSpec):
        """Parameters of the channels."""

        channels: int = pydantic.Field(default=32, ge=1, le=1024, description="channels, one sequence each")
        pes: int = pydantic.Field(default=32, ge=1, le=1024, description="PEs of a channel; rows dealt in turn")
        queue_depth: int = pydantic.Field(default=8, ge=1, le=4096, description="slots of a PE's queue")
        full_ring: bool = pydantic.Field(default=True, description="all slots are used; else one stays free")
        code_bits: int = pydantic.Field(default=12, ge=1, le=16, description="bits of a stored weight")
        index_bits: int = pydantic.Field(default=4, ge=0, le=16, description="bits of the run of zeros before it")
        pointer_bits: int = pydantic.Field(default=16, ge=1, le=32, description="bits of a column's pointer")
        results: int = pydantic.Field(
            default=1, ge=0, le=1024, description="results of each channel that leave in a cycle; 0: any number"
        )
        latency: int = pydantic.Field(default=6, ge=0, le=100, description="stages from the queue to the result")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each PE."""
        return int(self.spec.channels * self.spec.pes)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Arithmetic, queues and sums."""
        spec, pes = self.spec, self.peak_macs_per_cycle({})
        width = spec.operand_bits
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=pes),
            register_rows(model, "input_queue", width * spec.queue_depth, count=pes),
            register_rows(model, "accumulator", bits["psum"], count=pes),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A row for each channel, a row of weights for each PE."""
        return int(self.spec.channels), int(self.spec.pes), 1

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """The mean PE's walk, or pushing the inputs, or the results' way out."""
        held = max(1, round(1024 * part.density("filter")))
        leave = -(-n // self.spec.results) if self.spec.results else 0
        walk = np.maximum(k, n * k * held // (1024 * self.spec.pes))
        return -(-m // self.spec.channels) * (np.maximum(walk, leave) + self.spec.latency)

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Passes of as many rows as channels, all of equal length."""
        spec, m, n = self.spec, int(tile["m"]), int(tile["n"])
        entries, nonzeros = self.columns(part, tile)
        passes, live = ceil_div(m, spec.channels), np.ones((1, int(tile["k"])), np.uint8)
        cycles = held = leaving = 0
        for group in entries:
            out = np.zeros((1, 2), np.int64)
            broadcast(live, np.ascontiguousarray(group.T), self.room, 0, np.zeros(0, np.int32), out)
            wait = max(0, ceil_div(n, spec.results) - int(out[0, 0])) if spec.results else 0
            cycles += passes * (int(out[0, 0]) + wait)
            leaving += passes * wait
            held += passes * int(out[0, 1])
        walked, useful = int(entries.sum()), int(nonzeros.sum())
        compute = passes * useful // spec.pes
        lost = splits(cycles - compute, {
            "bank_conflict": leaving, "index_matching": passes * (walked - useful) // spec.pes,
            "queue_full": held, "imbalance": cycles,
        })  # fmt: skip
        drain = passes * len(entries) * spec.latency
        return {
            "cycles": cycles + drain, "drain": drain, **lost, "products": useful * m, "entries": walked * m,
            "padding": (walked - useful) * m, "ifmap_words": int(tile["groups"] * m * tile["k"]),
            "filter_words": walked * passes, "psum_words": int(tile["groups"]) * m * n,
        }  # fmt: skip

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """An input is written to the queues of its channel's PEs."""
        spec, width = self.spec, self.spec.operand_bits
        entries, padding = int(tiles["entries"].sum()), int(tiles["padding"].sum())
        pushed = int(tiles["ifmap_words"].sum()) * spec.pes * width
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", entries - padding)
        counts.add("mac", "gated", padding)
        counts.add("input_queue", "write_bit", pushed)
        counts.add("input_queue", "read_bit", pushed)
        counts.add("accumulator", "read", entries)
        counts.add("accumulator", "write", entries)
        return counts
