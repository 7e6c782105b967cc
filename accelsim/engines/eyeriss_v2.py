"""Eyeriss v2: clusters of PEs that walk compressed columns of both operands, on a hierarchical mesh.

A tile runs in rounds. In a round every PE holds the weights of a block of columns (taps of channels) and filters, and
works on a block of output positions; sums of PEs with other columns are added over the psum network. A round lasts as
long as its slowest PE, or as the routers of a cluster need to bring inputs and weights and to take sums, whichever is
longest. How many PEs split filters, columns and positions is searched for each tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, noc_rows, scratchpad_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.compressed import filter_nonzeros, ifmap_nonzeros, packed_bytes
from accelsim.engines.csc_work import columns_per_pe, entering, input_counts, pe_cycles, weight_counts
from accelsim.engines.density import effectual_products
from accelsim.engines.part import Part
from accelsim.engines.tiled import TiledEngine, Tiles, TileTimes, WordTables
from accelsim.mapping.problem import Mapping
from accelsim.mapping.tiles import TILE_DTYPE
from accelsim.workload.shapes import ConvShape

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """PEs over blocks of filters (of all groups), of columns, and of positions."""

    filters: int
    columns: int
    positions: int


#: Sums over the rounds of a tile: rounds; cycles, and of them busy ones and those that wait for routers; cycles of
#: all PEs together; products; inputs that PEs read, and that are written into them; words that leave the buffers
FIELDS = (
    "rounds", "cycles", "busy_cycles", "supply_cycles", "pe_cycles", "products", "input_reads", "input_writes",
    "input_words", "weight_words", "column_rounds", "hops", "pes",
)  # fmt: skip
V2_TILE_DTYPE = np.dtype([*TILE_DTYPE.descr, *((name, np.int64) for name in FIELDS)])


@ENGINES.register("eyeriss_v2")
class EyerissV2(TiledEngine):
    """Clusters of row-stationary-plus PEs with CSC in both operands."""

    kind: ClassVar[str] = "eyeriss_v2"
    data_dependent: ClassVar[bool] = True

    class Spec(Spec):
        """Parameters of the clusters, their PEs and routers."""

        clusters: int = pydantic.Field(ge=1, le=1024, description="clusters of PEs, each with its buffer banks")
        cluster_rows: int = pydantic.Field(ge=1, le=64, description="PE rows of a cluster")
        cluster_cols: int = pydantic.Field(ge=1, le=64, description="PE columns of a cluster")
        simd: int = pydantic.Field(default=2, ge=1, le=16, description="weights that an input meets in a cycle")
        mode: Literal["sparse", "dense"] = pydantic.Field(
            default="sparse", description="sparse: CSC in both operands, zeros take no time (depthwise runs dense)"
        )
        columns: int = pydantic.Field(ge=1, le=256, description="columns of a PE: addresses of its input spad")
        weight_spad: int = pydantic.Field(ge=1, le=2**16, description="weights in a PE")
        psum_spad: int = pydantic.Field(ge=1, le=2**16, description="sums in a PE, so filters in a block")
        count_bits: int = pydantic.Field(default=4, ge=0, le=16, description="bits of a CSC entry's run count")
        latency: int = pydantic.Field(default=7, ge=0, le=100, description="stages of the PE's pipeline")
        input_words: int = pydantic.Field(ge=1, le=256, description="inputs a cycle, all routers of a cluster")
        weight_words: int = pydantic.Field(ge=1, le=256, description="weights a cycle, all routers of a cluster")
        psum_words: int = pydantic.Field(ge=1, le=256, description="sums a cycle, all routers of a cluster")
        operand_bits: int = pydantic.Field(default=8, ge=1, le=16, description="width of the multipliers")
        hop_mm: float = pydantic.Field(default=0.5, gt=0, description="wire between clusters, mm")

    @property
    def pes(self) -> int:
        """PEs in all."""
        return int(self.spec.clusters * self.spec.cluster_rows * self.spec.cluster_cols)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """`simd` for each PE."""
        return self.pes * int(self.spec.simd)

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multipliers' width."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """PEs' MACs and scratch pads, and the routers."""
        spec, width = self.spec, self.spec.operand_bits
        entry = width + (spec.count_bits if spec.mode == "sparse" else 0)
        pairs = spec.simd * entry
        parts = [mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=self.pes * spec.simd)]
        for name, capacity, word in (
            ("input_spad", 2 * spec.columns * entry, entry),
            ("weight_spad", spec.weight_spad * entry, pairs),
            ("psum_spad", spec.psum_spad * bits["psum"], bits["psum"]),
        ):
            parts.append(scratchpad_rows(model, name, ceil_div(capacity, 8), word, count=self.pes))
        # circuit-switched: no buffers worth the name
        routers = spec.clusters * ceil_div(spec.input_words + spec.weight_words + spec.psum_words, 2)
        parts.append(noc_rows(model, 2 * entry, spec.hop_mm, routers=routers, depth_flits=1))
        return parts

    # --- tiles ---

    def _dense(self, part: Part) -> bool:
        """Depthwise layers have one filter for an input: compressing gains nothing, and they run dense."""
        shape = part.shape
        return self.spec.mode == "dense" or (isinstance(shape, ConvShape) and shape.depthwise)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A position, a block of filters, the columns of a PE."""
        return 1, int(self.spec.psum_spad), int(self.spec.columns)

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Products that are not skipped over the PEs that have any, and the pipeline once a round."""
        density = 1.0 if self._dense(part) else part.density("ifmap") * part.density("filter")
        share = max(1, round(density * 1024))
        blocks = -(-n // self.spec.psum_spad) * -(-k // self.spec.columns)
        pes = np.minimum(self.pes, m * blocks)
        return -(-m * n * k * share // (1024 * self.spec.simd * pes)) + -(-blocks // self.pes) * self.spec.latency

    def stored_bits(self, part: Part) -> dict[str, int]:
        """A nonzero travels with its count; where that would be longer, the operand travels dense."""
        bits = dict(part.task.bits)
        for operand in self._packed(part):
            bits[operand] = max(1, ceil_div(round(1000 * part.density(operand)) * (bits[operand] + self._count), 1000))
        return bits

    @property
    def _count(self) -> int:
        return int(self.spec.count_bits)

    def _packed(self, part: Part) -> tuple[str, ...]:
        if self._dense(part):
            return ()
        bits = part.task.bits
        return tuple(
            o for o in ("filter", "ifmap") if part.density(o) * (bits[o] + self._count) < bits[o]
        )  # fmt: skip

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """Nonzeros of each tile with their counts; runs beyond the count's range are not padded here."""
        packed = self._packed(part)
        for operand, count in (("filter", filter_nonzeros), ("ifmap", ifmap_nonzeros)):
            column = f"{operand}_bytes"
            if operand in packed and tiles[column].any():
                bits = part.task.bits[operand]
                sizes = packed_bytes(count(part, tiles), tiles[column], value_bits=bits, index_bits=self._count)
                tiles[column] = np.where(tiles[column] > 0, np.maximum(1, sizes), 0)
        return packed

    # --- rounds ---

    def tile(self, part: Part) -> tuple[Mapping, Tiles, tuple[str, ...]]:
        """As of any engine; then the rounds of each tile, from the real masks."""
        mapping, tiles, packed = super().tile(part)
        found = np.zeros(len(tiles), V2_TILE_DTYPE)
        for name in TILE_DTYPE.names or ():
            found[name] = tiles[name]
        for row in found:
            for name, value in self.rounds(part, row).items():
                row[name] = value
        return mapping, found, packed

    def rounds(self, part: Part, tile: Any) -> dict[str, int]:
        """One tile: see `FIELDS`."""
        spec, dense = self.spec, self._dense(part)
        n, m = int(tile["n"]), int(tile["m"])
        block = ceil_div(n, ceil_div(n, spec.psum_spad))
        weights = weight_counts(part, tile, block, dense)
        groups, n_blocks, k = weights.shape
        size = columns_per_pe(weights, spec.columns, spec.weight_spad)
        outs, k_blocks = groups * n_blocks, ceil_div(k, size)
        mean = max(1, int((-(-weights // spec.simd)).sum()) // (outs * k_blocks))
        split = self._split(outs, k_blocks, m, mean, block, size)
        cuts = np.arange(split.positions) * m // split.positions
        inputs = input_counts(part, tile, cuts, dense)
        work = pe_cycles(inputs, weights, size, spec.simd)
        starts = np.arange(0, k, size)
        stream = np.add.reduceat(inputs * entering(part, tile, size)[:, None], starts, axis=1)
        stream = np.repeat(stream, n_blocks, axis=0)
        stored = np.add.reduceat(weights, starts, axis=2).reshape(outs, k_blocks, 1)
        slowest = _by_round(work, split, "max")
        mean_pe = _by_round(work, split, "sum") // _by_round(np.ones_like(work), split, "sum")
        # each router brings its cluster one word of two entries at a time
        across = self._streams(split.columns * split.positions)
        supply = np.maximum(
            -(-across * _by_round(stream, split, "max") // spec.input_words),
            -(-self._streams(split.filters * split.columns, split.positions) * _by_round(stored, split, "max")
              // spec.weight_words),
        )  # fmt: skip
        # sums leave once for each column of PEs that add up
        longest = int(np.diff(np.append(cuts, m)).max())
        sums = self._streams(split.filters * split.positions, split.columns) * block * longest
        supply = np.maximum(supply, ceil_div(sums, spec.psum_words))
        column_rounds = ceil_div(k_blocks, split.columns)
        moved = int(stream.sum()) // max(1, self._cluster // across) + int(stored.sum()) * split.positions
        return {
            "rounds": slowest.size,
            "cycles": int((np.maximum(slowest, supply) + spec.latency).sum()),
            "busy_cycles": int(mean_pe.sum()),
            "supply_cycles": int(np.maximum(0, supply - slowest).sum()),
            "pe_cycles": int(work.sum()),
            "products": int((inputs.sum(axis=2) * weights.sum(axis=1)).sum()),
            "input_reads": int(inputs.sum()) * n_blocks,
            "input_writes": int(stream.sum()),
            "input_words": int(stream.sum()) // min(split.filters, n_blocks),
            "weight_words": int(stored.sum()),
            "column_rounds": column_rounds,
            "hops": ceil_div(moved + groups * n * m * column_rounds, 2),
            "pes": split.filters * split.columns * split.positions,
        }

    @property
    def _cluster(self) -> int:
        return int(self.spec.cluster_rows * self.spec.cluster_cols)

    def _streams(self, count: int, sharers: int = 1) -> int:
        """Different streams that one cluster receives, if `sharers` neighbouring PEs share each."""
        return min(count, ceil_div(self._cluster, sharers))

    def _split(self, outs: int, k_blocks: int, m: int, mean: int, block: int, size: int) -> Split:
        """The split with the shortest estimated time; ties go to more positions, then to more columns."""
        best, found = None, Split(1, 1, 1)
        chain = int(self.spec.cluster_rows) * int(self.spec.clusters)
        for columns in _counts(min(k_blocks, chain, self.pes)):
            for positions in _counts(min(m, self.pes // columns)):
                filters = min(outs, self.pes // (columns * positions))
                rounds = ceil_div(outs, filters) * ceil_div(k_blocks, columns)
                each = ceil_div(m, positions)
                supply = max(
                    ceil_div(self._streams(columns * positions) * each * size, self.spec.input_words),
                    ceil_div(self._streams(filters * columns, positions) * size * block, self.spec.weight_words),
                    ceil_div(self._streams(filters * positions, columns) * block * each, self.spec.psum_words),
                )
                cost = (rounds * (max(each * mean, supply) + self.spec.latency), -positions, -columns)
                if best is None or cost < best:
                    best, found = cost, Split(filters, columns, positions)
        return found

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Rounds follow each other; what a round waits for its slowest PE or for its routers is a stall."""
        filling = tiles["rounds"] * self.spec.latency
        imbalance = tiles["cycles"] - tiles["busy_cycles"] - tiles["supply_cycles"] - filling
        none = np.zeros(len(tiles), np.int64)
        stalls = {"imbalance": imbalance, "bank_conflict": tiles["supply_cycles"].copy()}
        return TileTimes(none, none, tiles["cycles"], tiles["cycles"], tiles["busy_cycles"], stalls)

    def effectual(self, part: Part) -> int:
        """Counted from the values, which sparse mode needs anyway."""
        if self._dense(part):
            return super().effectual(part)
        return effectual_products(part.shape, part.ifmap() != 0, part.filters() != 0)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs and weights that leave the buffers for PEs; sums of every round of columns, there and back."""
        sums = tiles["groups"] * tiles["m"] * tiles["n"]
        reads = {
            "ifmap": tiles["input_words"], "filter": tiles["weight_words"],
            "psum": sums * (tiles["column_rounds"] - 1),
        }  # fmt: skip
        return reads, {"psum": sums * tiles["column_rounds"]}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A hop is two entries that a cluster receives, or two sums that it sends."""
        total = {name: int(tiles[name].sum()) for name in FIELDS}
        width, products = self.spec.operand_bits, total["products"]
        active = min(products, self.effectual(part)) if self._dense(part) else products
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", active)
        counts.add("mac", "gated", products - active)
        counts.add("input_spad", "read", total["input_reads"])
        counts.add("input_spad", "write", total["input_writes"])
        counts.add("weight_spad", "read", total["pe_cycles"])  # as many weights as an input meets in a cycle
        counts.add("weight_spad", "write", ceil_div(total["weight_words"], self.spec.simd))
        counts.add("psum_spad", "read", products)
        counts.add("psum_spad", "write", products)
        counts.add("noc", "hop", total["hops"])
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Mode, rounds, PEs in use, and cycles of all PEs together."""
        mode = "dense" if self._dense(part) else "sparse"
        return {
            **super().info(part, tiles, times),
            "mode": mode, "rounds": int(tiles["rounds"].sum()), "active_pes": int(tiles["pes"].max()),
            "pe_cycles": int(tiles["pe_cycles"].sum()), "processing_cycles": int(tiles["cycles"].sum()),
        }  # fmt: skip


def _counts(most: int) -> list[int]:
    """Powers of two and three times those, up to `most`, and `most`."""
    found = {most} | {c for i in range(9) for c in (2**i, 3 * 2**i) if c <= most}
    return sorted(found)


def _padded(work: Ints, split: Split) -> Ints:
    """(rounds over filters, filters, rounds over columns, columns, positions)."""
    outs, blocks, positions = work.shape
    a, b = ceil_div(outs, split.filters), ceil_div(blocks, split.columns)
    full = np.pad(work, ((0, a * split.filters - outs), (0, b * split.columns - blocks), (0, 0)))
    return full.reshape(a, split.filters, b, split.columns, positions)


def _by_round(work: Ints, split: Split, how: str) -> Ints:
    """The largest, or the sum, over the PEs of each round."""
    grid = _padded(work, split)
    return np.asarray(grid.max(axis=(1, 3, 4)) if how == "max" else grid.sum(axis=(1, 3, 4)))
