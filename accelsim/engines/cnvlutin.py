"""Cnvlutin: DaDianNao whose lanes run on their own through the nonzero inputs (Albericio et al., ISCA 2016).

Inputs lie in bricks of 16 consecutive channels, each nonzero with its offset. The bricks of a window are dealt to the
lanes in turn (assumed: by tap, then by channel); a lane takes a nonzero each cycle, and a cycle for a brick without
one. A window lasts as long as its slowest lane, for all filters of the chip at once. Layers that read an image
(`dense_channels`) and depthwise layers take DaDianNao's steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import register_rows
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import GridSpec, StepTimes, totals
from accelsim.engines.common.skip_tiles import check_skipped, pe_times
from accelsim.engines.common.tiled import Tiles, TileTimes, Words, WordTables
from accelsim.engines.dadiannao import DaDianNao
from accelsim.engines.kernels.match import lane_windows
from accelsim.mapping.problem import Problem
from accelsim.workload.shapes import ConvShape


@dataclass(frozen=True)
class Lanes:
    """What the lanes do in each tile: cycles of the slowest and of all, of these without a nonzero; products."""

    worst: Words
    work: Words
    empty: Words
    products: Words


@ENGINES.register("cnvlutin")
class Cnvlutin(DaDianNao):
    """Lanes that skip zero inputs."""

    kind: ClassVar[str] = "cnvlutin"
    skips: ClassVar[tuple[str, ...]] = ("ifmap",)

    class Spec(GridSpec):
        """Parameters of Cnvlutin."""

        columns: int = pydantic.Field(default=1, ge=1, le=1, description="windows at a time")
        threshold: int = pydantic.Field(
            default=0, ge=0, le=2**31, description="inputs of at most this magnitude count as zero"
        )
        dense_channels: int = pydantic.Field(
            default=3, ge=0, le=2**20, description="convolutions of at most so many input channels run dense"
        )
        dense: Literal["refuse", "allow"] = pydantic.Field(
            default="refuse", description="allow: sparse weights are computed with their zeros"
        )

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self._lanes: tuple[Part, Tiles, Lanes] | None = None

    def check_bits(self, task: Task) -> None:
        """As DaDianNao; weights that are sparse by description or encoding only if that is allowed."""
        super().check_bits(task)
        check_skipped(self.kind, self.skips, self.spec.dense, task)

    def runs_dense(self, part: Part) -> bool:
        """Inputs are not in bricks of nonzeros."""
        shape = part.shape
        return isinstance(shape, ConvShape) and (shape.depthwise or shape.c // shape.g <= self.spec.dense_channels)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """Whole windows, whose bricks are dealt to the lanes: parts of a window wait for each other more often."""
        unit = super().unit(part)
        return unit if self.runs_dense(part) else (unit[0], unit[1], part.loops.channels * part.loops.window)

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        problem = super()._problem(part, bits)
        return replace(problem, whole_taps=problem.whole_taps or not self.runs_dense(part))

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """And a register for a nonzero and its offset in each lane of each tile."""
        spec = self.spec
        width, lanes = spec.pe_width + _offset_bits(spec.lanes), spec.lanes * spec.tiles
        return [*super().costs(model, bits), register_rows(model, "lane_register", width, count=lanes)]

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Each lane's bricks, of as many nonzeros as on average: parts of a sum have fewer bricks to deal out."""
        if self.runs_dense(part):
            return super().interval(part, m, n, k)
        lanes = int(self.spec.lanes)
        brick = max(1, round(lanes * part.density("ifmap")))
        return m * -(-n // self.grid(part).filters) * -(-(-(-k // lanes)) // lanes) * brick

    def stored_bits(self, part: Part) -> dict[str, int]:
        """Every place of a brick has room for a value and its offset."""
        bits = dict(part.task.bits)
        if not self.runs_dense(part):
            bits["ifmap"] += _offset_bits(self.spec.lanes)
        return bits

    def lanes(self, part: Part, tiles: Tiles) -> Lanes:
        """Measured from the inputs."""
        if self._lanes is None or self._lanes[0] is not part or self._lanes[1] is not tiles:
            self._lanes = part, tiles, self._measured(part, tiles)
        return self._lanes[2]

    def _measured(self, part: Part, tiles: Tiles) -> Lanes:
        jobs, tile, bricks = self.jobs(part, tiles)
        pixels = self.pixels(part)
        mask = pixels != 0 if not self.spec.threshold else np.abs(pixels.astype(np.int64)) > self.spec.threshold
        counts = np.empty((len(bricks), *mask.shape[:3]), np.uint16)
        for brick, (first, end) in enumerate(bricks):
            np.sum(mask[..., first:end], axis=-1, dtype=np.uint16, out=counts[brick])
        grid = np.append(self.geometry(part)[:6], self.spec.lanes)
        out = np.zeros((len(jobs), 3), np.int64)
        lane_windows(counts, jobs, grid, out)
        products = (out[:, 1] - out[:, 2]) // jobs[:, 12] * tiles["n"][tile]
        return Lanes(*(totals(column, tile, len(tiles)) for column in (*out.T, products)))

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Exact, from the nonzeros."""
        if self.runs_dense(part):
            return super().times(part, tiles)
        found = self.lanes(part, tiles)
        lanes = np.full(len(tiles), self.spec.lanes, np.int64)
        plain = pe_times(found.worst, found.work, found.empty, lanes)
        return StepTimes(
            plain.load, plain.load_free, plain.stream, plain.finish, plain.busy, plain.stalls,
            unit_cycles=int((found.worst * tiles["n"] // self.steps(part, tiles)["filters"]).sum()),
            own_cycles=int(found.work.sum()),
        )  # fmt: skip

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Nonzeros, and a weight for each product; sums stay in the units over a window."""
        reads, writes = super().words(part, tiles)
        if not self.runs_dense(part):
            found = self.lanes(part, tiles)
            reads = {"ifmap": found.work, "filter": found.products}
        return reads, writes

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A product for each nonzero and filter; a sum for each unit and cycle."""
        if self.runs_dense(part):
            return super().actions(part, tiles, times)
        assert isinstance(times, StepTimes)
        found, counts = self.lanes(part, tiles), ActionCounts()
        width = self.spec.pe_width
        counts.add("mac", f"mac_{width}x{width}", int(found.products.sum()))
        counts.add("accumulator", "write", times.unit_cycles)
        counts.add("lane_register", "write", int(found.work.sum()) * self.spec.tiles)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Whether it ran dense, and inputs that a threshold has taken for zero."""
        info = {**super().info(part, tiles, times), "mode": "dense" if self.runs_dense(part) else "sparse"}
        if self.spec.threshold and info["mode"] == "sparse":
            size = np.abs(self.pixels(part).astype(np.int64))
            info["dropped_inputs"] = int(((size > 0) & (size <= self.spec.threshold)).sum())
        return info


def _offset_bits(lanes: int) -> int:
    return (lanes - 1).bit_length()
