"""Bit Fusion: an array of fusion units, each of 2-bit bricks that work together or apart (Sharma et al., ISCA 2018).

A unit has (max_bits / min_bits)**2 bricks. How they are put together (`fusion`):

- `spatial`: the bricks of a unit form as many multipliers of the operands' widths as fit; wider operands are refused.
- `temporal`: every brick works for itself and takes the digits of its operands in turn.
- `hybrid` (the paper's): spatial up to `max_bits`; wider operands digit by digit of `max_bits`.

Widths between powers of two take the next one's bricks. Operands may be signed or not, each for itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import check_integers
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, Words, WordTables
from accelsim.engines.common.tiling import choose, cycles_at, pinned_mapping
from accelsim.mapping.problem import TILE_EXTENTS, Mapping, Problem
from accelsim.mapping.search import Candidates, candidates
from accelsim.mapping.tiles import walk
from accelsim.sim.passes import PassTable
from accelsim.workload.ops import Input


@ENGINES.register("bit_fusion")
class BitFusion(TiledEngine):
    """Fusion units in a grid: inputs along the rows, sums down the columns, weights in the units' own buffers."""

    kind: ClassVar[str] = "bit_fusion"

    class Spec(Spec):
        """Parameters of a Bit Fusion array."""

        rows: int = pydantic.Field(ge=1, le=1024, description="units along a column: inputs at a time")
        cols: int = pydantic.Field(ge=1, le=1024, description="columns: outputs at a time")
        max_bits: Literal[2, 4, 8, 16] = pydantic.Field(default=8, description="widest product of a unit in a cycle")
        min_bits: Literal[1, 2, 4, 8] = pydantic.Field(default=2, description="width of a brick's operands")
        fusion: Literal["spatial", "temporal", "hybrid"] = pydantic.Field(
            default="hybrid", description="how bricks share the digits of wide operands"
        )
        im2col: Literal["first", "never", "always", "wins"] = pydantic.Field(
            default="first",
            description="layers whose windows are unrolled before they come, so that taps share a step with channels; "
            "wins: where this saves steps",
        )
        edge: Literal["ragged", "full"] = pydantic.Field(
            default="ragged", description="full: the last tile of a dimension takes the time of a whole one"
        )
        fill: bool = pydantic.Field(default=True, description="the last sums of a tile are late by the way to the edge")
        accounting: Literal["exact", "authors"] = pydantic.Field(
            default="exact",
            description="authors: traffic as their simulator counts it, in whole tiles with padding and idle columns; "
            "results leave as full sums, and a tile begins by fetching those before it",
        )

        @pydantic.model_validator(mode="after")
        def _holds_bricks(self) -> Any:
            if self.min_bits > self.max_bits:
                raise ValueError(f"min_bits must be at most max_bits ({self.max_bits}), got {self.min_bits}")
            return self

    # --- widths ---

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Up to `max_bits`, or 16 bits if digits may follow each other."""
        widest = self.spec.max_bits if self.spec.fusion == "spatial" else 16
        return dict.fromkeys(("ifmap", "filter"), tuple(range(1, widest + 1)))

    def check_bits(self, task: Task) -> None:
        """Refuse what is too wide, and floating-point numbers."""
        check_integers(self.kind, task)
        super().check_bits(task)

    def width(self, bits: int) -> int:
        """Bits that the bricks take for an operand of `bits`."""
        width = int(self.spec.min_bits)
        while width < bits:
            width *= 2
        return width

    def fused(self, ifmap: int, filter_: int) -> tuple[int, int]:
        """(products of a unit at a time, cycles that they take) for operands of these bits."""
        low, high = self.spec.min_bits, self.spec.max_bits
        a, w = self.width(ifmap), self.width(filter_)
        if self.spec.fusion == "temporal":
            return (high // low) ** 2, (a // low) * (w // low)
        return (high // min(a, high)) * (high // min(w, high)), max(1, a // high) * max(1, w // high)

    def bricks(self, ifmap: int, filter_: int) -> int:
        """Brick cycles of one product."""
        return self.width(ifmap) * self.width(filter_) // int(self.spec.min_bits) ** 2

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Products of all units, over the cycles that they take."""
        products, cycles = self.fused(bits["ifmap"], bits["filter"])
        return int(-(-self.spec.rows * self.spec.cols * products // cycles))

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Bricks with their shifters and adders, as synthesised, and a register for each column's sum."""
        spec = self.spec
        count = spec.rows * spec.cols * (spec.max_bits // spec.min_bits) ** 2
        area = model.bit_brick_area_mm2()
        leakage = model.logic_leak_mw(float(area))
        if spec.min_bits != 2:
            raise ConfigError(f"costs are known for bricks of 2 bits only, got min_bits={spec.min_bits}", "engine")
        return [
            component("fusion_unit", {"brick": model.bit_brick_pj()}, area=area, leakage=leakage, count=count),
            register_rows(model, "accumulator", bits["psum"], count=spec.cols),
        ]

    # --- tiles ---

    def unrolled(self, part: Part) -> bool:
        """Whether the taps of a window share steps with the channels."""
        loops = part.loops
        if self.spec.im2col == "wins":
            _, _, wide = self.unit(part)
            return bool(-(-loops.channels * loops.window // wide) < -(-loops.channels // wide) * loops.window)
        if self.spec.im2col != "first":
            return bool(self.spec.im2col == "always")
        inputs = part.task.layer.inputs
        return bool(inputs) and isinstance(part.task.trace.network[inputs[0]].op, Input) and loops.window > 1

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A step's outputs and inputs."""
        products, _ = self.fused(part.bits("ifmap"), part.bits("filter"))
        return 1, self.spec.cols, self.spec.rows * products

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        """Tiles, and operands that stay, have one of a buffer's equal parts: the others are being filled or drained."""
        problem = super()._problem(part, bits)
        parts = tuple(replace(r, free_bytes=r.free_bytes // r.slots, slots=1) for r in problem.rooms)
        return replace(problem, rooms=parts, powers=True)

    def cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """Cycles of a tile: outputs' pixels x column groups x steps along the inputs."""
        products, serial = self.fused(part.bits("ifmap"), part.bits("filter"))
        wide = self.spec.rows * products
        depth = -(-(channels * taps) // wide) if self.unrolled(part) else -(-channels // wide) * taps
        return m * -(-n // self.spec.cols) * depth * serial

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Exact; a tile has all taps of the window."""
        window = part.loops.window
        return self.cycles(part, m, n, k // window, window)

    def tile(self, part: Part) -> tuple[Mapping, Tiles, tuple[str, ...]]:
        """Powers of two, square tiles, all taps; chosen by the authors' estimate of the time."""
        problem = self._problem(part, dict(part.task.bits))
        mapping = pinned_mapping(part.task, problem.loops) or self._choose(part, problem)
        tiles = walk(problem, mapping)
        if self.spec.accounting == "exact":
            return mapping, tiles, ()
        sizes = self._whole_tiles(part, {name: getattr(mapping, name) for name in TILE_EXTENTS})
        here = {"filter_bytes": tiles["filter_bytes"] > 0, "ifmap_bytes": tiles["ifmap_bytes"] > 0}
        if not part.task.on_chip[1]:
            begins = (tiles["first_k"] > 0) | (tiles["psum_in_bytes"] > 0)
            here |= {"psum_in_bytes": begins, "ofmap_bytes": tiles["last_k"] > 0}
            here["psum_out_bytes"] = tiles["psum_out_bytes"] > 0
        for name, used in here.items():
            operand = name.removesuffix("_bytes").removesuffix("_in").removesuffix("_out")
            tiles[name] = np.where(used, -(-int(sizes[operand]) // 8), 0)
        return mapping, tiles, ("ifmap", "ofmap")

    def _whole_tiles(self, part: Part, extent: dict[str, Any]) -> dict[str, Any]:
        """Bits that the authors' model moves for a tile of these extents: halo, padding and idle columns included.

        Where windows are unrolled, they come from DRAM as such: every pixel as often as windows see it.
        """
        loops, bits = part.loops, part.task.bits
        high = (extent["rows"] - 1) * loops.stride[0] + loops.r
        wide = (extent["cols"] - 1) * loops.stride[1] + loops.s
        pixels = extent["groups"] * extent["images"] * extent["rows"] * extent["cols"]
        sums = pixels * (-(-extent["outputs"] // self.spec.cols) * self.spec.cols) * bits["psum"]
        step = self.unit(part)[2]  # weights are stored in whole steps
        depth = -(-(extent["channels"] * loops.window) // step) * step
        weights = extent["groups"] * extent["outputs"] * depth
        inputs = extent["groups"] * extent["images"] * extent["channels"] * high * wide
        if self.unrolled(part):
            inputs = pixels * extent["channels"] * loops.window
        return {"filter": weights * bits["filter"], "ifmap": inputs * bits["ifmap"], "psum": sums, "ofmap": sums}

    def _choose(self, part: Part, problem: Problem) -> Mapping:
        """The tiling with the least max(compute, traffic / bandwidth); then compute, traffic, number of tiles.

        With the authors' accounting all of that is of whole tiles.
        """
        if self.spec.accounting == "exact" and self.spec.edge == "ragged":
            return choose(part.task, problem, lambda m, n, k: self.interval(part, m, n, k))
        options = self._options(part, problem)
        loops = problem.loops
        extent = {name: options.column(name) for name in TILE_EXTENTS}
        tiles = [
            -(-loops.images // extent["images"]) * -(-loops.p // extent["rows"]) * -(-loops.q // extent["cols"]),
            -(-loops.outputs // extent["outputs"]),
            -(-loops.channels // extent["channels"]),
        ]
        groups = -(-loops.groups // extent["groups"])
        pixels = extent["images"] * extent["rows"] * extent["cols"]
        busy = self.cycles(part, pixels, extent["outputs"], extent["channels"], loops.window) * extent["groups"]
        busy = busy * tiles[0] * tiles[1] * tiles[2] * groups
        traffic = options.traffic_bits
        if self.spec.accounting == "authors":
            sizes = self._whole_tiles(part, extent)
            fetched = [options.fetches(tiles, operand) * groups for operand in ("ifmap", "filter", "psum")]
            here = [not x for x in (problem.on_chip[0], problem.on_chip[2], problem.on_chip[1])]
            traffic = fetched[0] * sizes["ifmap"] * here[0] + fetched[1] * sizes["filter"] * here[1]
            traffic = traffic + 2 * fetched[2] * sizes["psum"] * here[2]
        rate = part.task.dram_bytes_per_cycle * 8
        cycles = np.maximum(busy, cycles_at(traffic, rate))
        keys = (np.arange(len(options)), options.passes, traffic, busy, cycles)
        return options[int(np.lexsort(keys)[0])]

    def _options(self, part: Part, problem: Problem) -> Candidates:
        """Tilings to choose from; with the authors' accounting, unrolled windows must fit (one pixel's do)."""
        if self.spec.accounting == "exact" or not self.unrolled(part):
            return candidates(problem, 2048)
        options = candidates(problem, 1 << 20)
        sizes = self._whole_tiles(part, {name: options.column(name) for name in TILE_EXTENTS})
        fits = np.ones(len(options), bool)
        for room in problem.rooms:
            held = sum(sizes[operand] for operand in room.holds if operand != "ofmap")  # sums and results take turns
            if "ifmap" in room.holds:
                fits &= held <= 8 * room.free_bytes
        return Candidates(options.rows[fits])

    def lower(self, task: Task) -> PassTable:
        """As `TiledEngine.lower`; the authors' results have the bits of sums."""
        if self.spec.accounting == "authors":
            task = replace(task, bits={**task.bits, "ofmap": task.bits["psum"]})
        return super().lower(task)

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Tiles follow each other without a gap; all columns and rows must be passed before the last sum is out."""
        m, n, channels = tiles["m"], tiles["n"], tiles["channels"]
        taps = tiles["k"] // channels
        if self.spec.edge == "full":
            whole = tiles["images"].max() * tiles["rows"].max() * tiles["cols"].max()
            m, n, channels = np.full_like(m, whole), np.full_like(n, n.max()), np.full_like(channels, channels.max())
        cycles = tiles["groups"] * self.cycles(part, m, n, channels, taps)
        latency = self.spec.rows + self.spec.cols - 2 if self.spec.fill else 0
        return TileTimes.steps(cycles, latency=latency)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs once for each group of columns, weights for every product, sums once for each tile."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        reads: dict[str, Words] = {"ifmap": groups * m * k * -(-n // self.spec.cols), "filter": groups * m * n * k}
        return reads, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Bricks that multiply (authors: all, in every busy cycle); accumulators are clocked once a step."""
        spec, counts = self.spec, ActionCounts()
        bricks = int((tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]).sum())
        bricks *= self.bricks(part.bits("ifmap"), part.bits("filter"))
        if spec.accounting == "authors":
            bricks = int(times.busy.sum()) * spec.rows * spec.cols * (spec.max_bits // spec.min_bits) ** 2
        counts.add("fusion_unit", "brick", bricks)
        m, channels, one = tiles["m"], tiles["channels"], np.ones_like(tiles["n"])
        steps = self.cycles(part, m, one, channels, tiles["k"] // channels)
        counts.add("accumulator", "write", int((tiles["groups"] * tiles["n"] * steps).sum()))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Beside utilization: how bricks were fused."""
        products, cycles = self.fused(part.bits("ifmap"), part.bits("filter"))
        return {"products_per_unit": products, "cycles_per_product": cycles, **super().info(part, tiles, times)}
