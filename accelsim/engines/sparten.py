"""SparTen-like: inner joins of bit masks, chunk by chunk, in clusters of units that share an input.

Gondimalla et al., SparTen: A Sparse Tensor Accelerator for Convolutional Neural Networks, MICRO 2019. Inputs and
weights lie as nonzeros with a mask, channels of a tap next to each other, in chunks. A unit ANDs the masks of an input
chunk and of its filter's chunk, and makes a product a cycle; a chunk without a match takes a cycle, too. The units of
a cluster get the same input chunk, and wait for each other after each chunk, or after each output position.
Greedy balancing puts a dense and a sparse filter into one unit: by whole filters, or anew for each chunk.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows, scratchpad_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import Ints, ProductEngine, input_rows, splits, weight_mask
from accelsim.engines.common.tiled import Tiles, TileTimes
from accelsim.engines.kernels.match import ones, wrapping

Lines = NDArray[np.uint64]


@kernel
def inner_joins(inputs, filters, held, each_chunk, out):  # type: ignore[no-untyped-def]
    """Cycles of a cluster for each row of inputs.

    inputs: (rows, chunks, words), filters: (filters, chunks, words): masks. held: (chunks, sets, units, filters of a
    unit), -1: none. each_chunk: units wait after each chunk, else after each set. out: (rows, 3): cycles; products;
    cycles of all units in which they found no match.
    """
    chunks, sets, units, several = held.shape
    words = inputs.shape[2]
    total = np.zeros(units, np.int64)
    for row in range(inputs.shape[0]):
        for s in range(sets):
            total[:] = 0
            for c in range(chunks):
                worst = np.int64(0)
                for u in range(units):
                    mine = np.int64(0)
                    for i in range(several):
                        f = held[c, s, u, i]
                        if f >= 0:
                            found = np.int64(0)
                            for w in range(words):
                                found += ones(inputs[row, c, w] & filters[f, c, w])
                            out[row, 1] += found
                            if found == 0:
                                found = np.int64(1)
                                out[row, 2] += 1
                            mine += found
                    total[u] += mine
                    worst = max(worst, mine)
                if each_chunk:
                    out[row, 0] += worst
            if not each_chunk:
                out[row, 0] += total.max()


@inner_joins.warms_up_with
def _joins():  # type: ignore[no-untyped-def]
    lines = np.ones((1, 1, 1), np.uint64)
    return lines, lines, np.zeros((1, 1, 1, 1), np.int64), True, np.zeros((1, 3), np.int64)


@ENGINES.register("sparten")
class SparTen(ProductEngine):
    """Clusters of units that join masks."""

    kind: ClassVar[str] = "sparten"
    masked: ClassVar[tuple[str, ...]] = ("ifmap", "filter")

    class Spec(SparseSpec):
        """Parameters of the clusters."""

        clusters: int = pydantic.Field(default=32, ge=1, le=4096, description="clusters; output positions are split")
        units: int = pydantic.Field(default=32, ge=1, le=1024, description="units of a cluster, each with its filters")
        chunk: int = pydantic.Field(default=128, ge=64, le=4096, multiple_of=64, description="elements of a chunk")
        balance: Literal["none", "filter", "chunk"] = pydantic.Field(
            default="filter", description="pairs of filters in a unit: by the density of filters, or of each chunk"
        )
        barrier: Literal["chunk", "position"] = pydantic.Field(default="chunk", description="where units wait")
        latency: int = pydantic.Field(default=4, ge=0, le=100, description="stages of the join")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each unit."""
        return int(self.spec.clusters * self.spec.units)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers, chunks and their masks, sums."""
        spec, units, width = self.spec, self.peak_macs_per_cycle({}), self.spec.operand_bits
        chunk = ceil_div(2 * spec.chunk * (width + 1), 8)  # of input and filter, with masks
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=units),
            scratchpad_rows(model, "chunk_buffer", chunk, width, count=units),
            register_rows(model, "join", spec.chunk, count=units),
            register_rows(model, "accumulator", bits["psum"], count=units),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A position for each cluster, a filter for each unit, a chunk."""
        return int(self.spec.clusters), int(self.spec.units), int(self.spec.chunk)

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Chunks of mean density."""
        share = max(1, round(1024 * part.density("ifmap") * part.density("filter")))
        each = max(1, self.spec.chunk * share // 1024)
        return -(-m // self.spec.clusters) * -(-n // self.spec.units) * -(-k // self.spec.chunk) * each

    def tail(self, part: Part) -> int:
        """The join's pipeline."""
        return int(self.spec.latency)

    def lines(self, mask: Any, channels: int) -> Lines:
        """Masks (rows, k) as (rows, chunks, words): taps one after another, channels next to each other."""
        by_tap = mask.reshape(len(mask), channels, -1).swapaxes(1, 2).reshape(len(mask), -1)
        short = -by_tap.shape[1] % self.spec.chunk
        packed = np.packbits(np.pad(by_tap, ((0, 0), (0, short))), axis=1, bitorder="little")
        return packed.view(np.uint64).reshape(len(mask), -1, self.spec.chunk // 64)

    def held(self, mask: Any, channels: int) -> Ints:
        """Filters of each unit: (chunks, sets, units, filters of a unit), -1 where there is none."""
        n, units = len(mask), int(self.spec.units)
        by_tap = mask.reshape(n, channels, -1).swapaxes(1, 2).reshape(n, -1)
        starts = np.arange(0, by_tap.shape[1], self.spec.chunk)
        if self.spec.balance == "none" or n <= units:
            sets = ceil_div(n, units)
            order = np.full(sets * units, -1, np.int64)
            order[:n] = np.arange(n)
            return np.broadcast_to(order.reshape(sets, units, 1), (len(starts), sets, units, 1)).copy()
        weight = np.add.reduceat(by_tap, starts, axis=1, dtype=np.int64).T  # (chunks, filters)
        if self.spec.balance == "filter":
            weight = np.broadcast_to(weight.sum(0), weight.shape)
        sets = ceil_div(n, 2 * units)
        # the densest first; a set's first half runs down, its second half back up
        order = np.full((len(starts), sets * 2 * units), -1, np.int64)
        order[:, :n] = np.argsort(-weight, axis=1, kind="stable")
        halves = order.reshape(len(starts), sets, 2, units)
        return np.stack([halves[:, :, 0], halves[:, :, 1, ::-1]], axis=3)

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Positions are dealt to the clusters in blocks; all groups one after another."""
        spec = self.spec
        inputs, weights, channels = input_rows(part, tile), weight_mask(part, tile), int(tile["channels"])
        found = dict.fromkeys(("cycles", "products", "entries", "ifmap_words", "filter_words", "imbalance"), 0)
        compute = empty = 0
        for a, b in zip(inputs, weights, strict=True):
            held = self.held(b, channels)
            out = np.zeros((len(a), 3), np.int64)
            with wrapping():
                inner_joins(self.lines(a, channels), self.lines(b, channels), held, spec.barrier == "chunk", out)
            block = ceil_div(len(a), spec.clusters)
            found["cycles"] += int(np.add.reduceat(out[:, 0], np.arange(0, len(a), block)).max())
            found["products"] += int(out[:, 1].sum())
            found["entries"] += len(a) * held.shape[0] * len(b)
            found["ifmap_words"] += int(a.sum()) * held.shape[1]
            found["filter_words"] += int(b.sum()) * len(a)
            compute += int(out[:, 1].sum())
            empty += int(out[:, 2].sum())
        units = self.peak_macs_per_cycle({})
        lost = splits(
            found["cycles"] - compute // units, {"index_matching": empty // units, "imbalance": found["cycles"]}
        )
        return {**found, **lost, "psum_words": int(tile["groups"] * tile["m"] * tile["n"])}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Masks are joined for each chunk; each product reads its operands."""
        width, products = self.spec.operand_bits, int(tiles["products"].sum())
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", products)
        counts.add("chunk_buffer", "read", 2 * products)
        counts.add("chunk_buffer", "write", int(tiles["filter_words"].sum()))
        counts.add("join", "write", int(tiles["entries"].sum()))
        counts.add("accumulator", "write", products)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Joins of chunks, too."""
        found = super().info(part, tiles, times)
        found["joins"] = found.pop("entries", 0)
        found.pop("padding", None)
        return found
