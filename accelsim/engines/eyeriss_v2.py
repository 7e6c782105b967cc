"""Eyeriss v2: clusters of PEs that walk compressed columns of both operands, on a hierarchical mesh.

A tile runs in rounds. In a round every PE holds the weights of a block of columns (taps of channels) and filters, and
works on a block of output positions; sums of PEs with other columns are added over the psum network. A round lasts as
long as its slowest PE, or as the routers of a cluster need to bring inputs and weights and to take sums, whichever is
longest. How many PEs split filters, columns and positions, in a cluster and among clusters, is searched for each tile;
streams that meet on a wire between clusters take turns (`cluster_mesh.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

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
from accelsim.engines.common.compressed import filter_nonzeros, ifmap_nonzeros, packed_bytes
from accelsim.engines.common.density import effectual_products
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, Tiles, TileTimes, WordTables
from accelsim.engines.eyeriss.cluster_mesh import Grid, placement_arrays, placements
from accelsim.engines.eyeriss.csc_work import columns_per_pe, entering, input_counts, pe_cycles, weight_counts
from accelsim.mapping.problem import Mapping
from accelsim.mapping.tiles import TILE_DTYPE
from accelsim.workload.shapes import ConvShape

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """PEs over blocks of filters (of all groups), of columns, and of positions; how their operands travel.

    `inputs`, `weights` and `sums` are the streams at the busiest port or wire, the copies clusters that each stream
    reaches on average, as a ratio of integers.
    """

    filters: int
    columns: int
    positions: int
    inputs: int = 1
    weights: int = 1
    sums: int = 1
    input_copies: tuple[int, int] = (1, 1)
    weight_copies: tuple[int, int] = (1, 1)
    sum_copies: tuple[int, int] = (1, 1)


#: Sums over the rounds of a tile: rounds; cycles, and of them busy ones and those that wait for routers; cycles of
#: all PEs together; products; inputs that PEs read, and that are written into them; words that leave the buffers;
#: and the number of the placement
FIELDS = (
    "rounds", "cycles", "busy_cycles", "supply_cycles", "pe_cycles", "products", "input_reads", "input_writes",
    "input_words", "weight_words", "column_rounds", "hops", "pes", "placement",
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
        grid_cols: int = pydantic.Field(default=1, ge=1, le=64, description="clusters side by side, the rest below")
        operand_bits: int = pydantic.Field(default=8, ge=1, le=16, description="width of the multipliers")
        hop_mm: float = pydantic.Field(default=0.5, gt=0, description="wire between clusters, mm")

        @pydantic.model_validator(mode="after")
        def _clusters_fill_the_grid(self) -> Self:
            if self.clusters % self.grid_cols:
                raise ValueError(f"grid_cols must divide clusters ({self.clusters}), got {self.grid_cols}")
            return self

    @property
    def grid(self) -> Grid:
        """Where the clusters and their PEs lie."""
        spec = self.spec
        return Grid(spec.grid_cols, spec.clusters // spec.grid_cols, spec.cluster_rows, spec.cluster_cols)

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
        number, split = self._split((outs, k_blocks, m), mean, block, size, n_blocks if groups > 1 else outs)
        cuts = np.arange(split.positions) * m // split.positions
        inputs = input_counts(part, tile, cuts, dense)
        work = pe_cycles(inputs, weights, size, spec.simd)
        starts = np.arange(0, k, size)
        stream = np.add.reduceat(inputs * entering(part, tile, size)[:, None], starts, axis=1)
        stream = np.repeat(stream, n_blocks, axis=0)
        stored = np.add.reduceat(weights, starts, axis=2).reshape(outs, k_blocks, 1)
        slowest = _by_round(work, split, "max")
        mean_pe = _by_round(work, split, "sum") // _by_round(np.ones_like(work), split, "sum")
        supply = np.maximum(
            -(-split.inputs * _by_round(stream, split, "max") // spec.input_words),
            -(-split.weights * _by_round(stored, split, "max") // spec.weight_words),
        )
        longest = int(np.diff(np.append(cuts, m)).max())
        supply = np.maximum(supply, ceil_div(split.sums * block * longest, spec.psum_words))
        column_rounds = ceil_div(k_blocks, split.columns)
        entered = int(stream.sum()) // min(split.filters, n_blocks)
        moved = ceil_div(entered * split.input_copies[0], split.input_copies[1])
        moved += ceil_div(int(stored.sum()) * split.weight_copies[0], split.weight_copies[1])
        moved += ceil_div(groups * n * m * column_rounds * split.sum_copies[0], split.sum_copies[1])
        return {
            "rounds": slowest.size,
            "cycles": int((np.maximum(slowest, supply) + spec.latency).sum()),
            "busy_cycles": int(mean_pe.sum()),
            "supply_cycles": int(np.maximum(0, supply - slowest).sum()),
            "pe_cycles": int(work.sum()),
            "products": int((inputs.sum(axis=2) * weights.sum(axis=1)).sum()),
            "input_reads": int(inputs.sum()) * n_blocks,
            "input_writes": int(stream.sum()),
            "input_words": entered,
            "weight_words": int(stored.sum()),
            "column_rounds": column_rounds,
            "hops": ceil_div(moved, 2),
            "pes": split.filters * split.columns * split.positions,
            "placement": number,
        }

    def _delivery(self, part: Part, tiles: Tiles) -> str:
        """How inputs and weights travel to the clusters in the longest tile."""
        way = placements(self.grid)[int(tiles["placement"][int(np.argmax(tiles["cycles"]))])].streams
        shares = not (isinstance(part.shape, ConvShape) and part.shape.depthwise)
        return f"inputs {way.input_mode if shares else 'unicast'}, weights {way.weight_mode}"

    def _split(self, parts: tuple[int, int, int], mean: int, block: int, size: int, shared: int) -> tuple[int, Split]:
        """The placement with the shortest estimated time; ties go to more positions, then columns, then fewer PEs.

        Parameters
        ----------
        parts : (int, int, int)
            Blocks of filters (of all groups), blocks of columns, positions.
        mean, block, size : int
            Cycles of a PE for a position; filters and columns of a PE.
        shared : int
            Blocks of filters that read the same inputs. Several groups in a round have their own each, so that many
            times the streams; where no two blocks share, they come as unicasts.
        """
        spec, table = self.spec, placement_arrays(self.grid)
        outs, k_blocks, m = parts
        used = np.minimum(table[:3], np.array(parts)[:, None])
        filters, columns, positions = used
        groups = -(-filters // shared)
        inputs = table[3] * groups if shared > 1 else np.minimum(table[6], filters * columns * positions)
        each = -(-m // positions)
        rounds = -(-outs // filters) * -(-k_blocks // columns)
        supply = np.maximum.reduce([
            -(-inputs * each * size // spec.input_words), -(-table[4] * size * block // spec.weight_words),
            -(-table[5] * block * each // spec.psum_words),
        ])  # fmt: skip
        cost = rounds * (np.maximum(each * mean, supply) + spec.latency)
        best = int(np.lexsort((filters, -columns, -positions, cost))[0])
        placed = placements(self.grid)[best]
        way = placed.streams
        whole = placed.filters * placed.columns * placed.positions
        copies = (way.input_copies, whole // placed.filters) if shared > 1 else (1, 1)
        return best, Split(
            int(filters[best]), int(columns[best]), int(positions[best]), int(inputs[best]), way.weights, way.sums,
            copies, (way.weight_copies, whole // placed.positions), (way.sum_copies, whole // placed.columns),
        )  # fmt: skip

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
            "delivery": self._delivery(part, tiles),
            "pe_cycles": int(tiles["pe_cycles"].sum()), "processing_cycles": int(tiles["cycles"].sum()),
        }  # fmt: skip


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
