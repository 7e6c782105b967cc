"""Column combining: sparse columns of the filter matrix that share one column of a bit-serial systolic array.

Kung, McDanel and Zhang, ASPLOS 2019. A cell holds one weight and the number of its input among up to `alpha` that pass
the combined column; rows are filters. Inputs come bit by bit, `word_bits` cycles each; sums are longer, so a cell has
several serial adders that take turns, and the array keeps the rate of its inputs. Weights of the next fold are shifted
in behind those at work. Zeros of a combined column take a cell, others take nothing.

Columns are combined without conflicts, by the greedy of the step `column_combining`, which makes room for it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseEngine, SparseSpec, SparseTimes, group_filters, places
from accelsim.engines.common.tiled import Tiles, TileTimes, Words, WordTables
from accelsim.workload.column_groups import combine_columns


@ENGINES.register("column_combining")
class ColumnCombining(SparseEngine):
    """Bit-serial cells with multiplexed inputs."""

    kind: ClassVar[str] = "column_combining"
    skips: ClassVar[tuple[str, ...]] = ("filter",)
    masked: ClassVar[tuple[str, ...]] = ("filter",)
    stationary: ClassVar[str] = "filter"

    class Spec(SparseSpec):
        """Parameters of the array."""

        operand_bits: int = pydantic.Field(default=8, ge=1, le=16, description="bits of an input word, and of a weight")
        rows: int = pydantic.Field(default=32, ge=1, le=1024, description="filters at a time")
        cols: int = pydantic.Field(default=32, ge=1, le=1024, description="combined columns at a time")
        alpha: int = pydantic.Field(default=8, ge=1, le=64, description="columns that may share one; 1: none do")
        sum_bits: int = pydantic.Field(default=32, ge=8, le=64, description="bits of a sum on its way along a row")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All cells, `operand_bits` cycles each, of combined columns that are full."""
        cells = self.spec.rows * self.spec.cols * self.spec.alpha
        return max(1, int(cells) // int(self.spec.operand_bits))

    def unit(self, part: Part) -> tuple[int, int, int]:
        """Filters of the array, all columns that may come together."""
        return 1, int(self.spec.rows), int(self.spec.cols * self.spec.alpha)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Serial multipliers with their adders, multiplexers, and registers of a weight and its number, twice."""
        spec, cells = self.spec, self.spec.rows * self.spec.cols
        step = model.bit_serial_step_pj(spec.operand_bits, 1, spec.sum_bits)
        area = model.bit_serial_area_mm2(spec.operand_bits, 1, spec.sum_bits)
        leak = model.logic_leak_mw(float(area))
        parts = [
            component("serial_unit", {"step": step}, area=area, leakage=leak, count=cells),
            register_rows(model, "weight_register", 2 * (spec.operand_bits + self._number), count=cells),
        ]
        if spec.alpha > 1:
            mux, size = model.op_pj("mux", spec.alpha), model.op_area_mm2("mux", spec.alpha)
            leak = model.logic_leak_mw(float(size))
            parts.append(component("input_mux", {"step": mux}, area=size, leakage=leak, count=cells))
        return parts

    @property
    def _number(self) -> int:
        return (int(self.spec.alpha) - 1).bit_length()

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Columns combined as far as their density lets hope."""
        spec = self.spec
        together = min(spec.alpha, max(1, int(1 / max(part.density("filter"), 1e-3))))
        columns = -(-k // together)
        return -(-n // spec.rows) * -(-columns // spec.cols) * np.maximum(m * spec.operand_bits, self._load)

    @property
    def _load(self) -> int:
        """Cycles in which a fold's weights and their numbers are shifted into the array, down its rows."""
        return int(self.spec.rows) * (int(self.spec.operand_bits) + self._number)

    def combined(self, part: Part, tiles: Tiles) -> Words:
        """(folds along the columns, combined columns) of each tile, all its groups."""
        fields = ("groups", "group0", "n", "output0", "channels", "channel0", "k", "tap0")
        first, kind = places(tiles, fields)
        known = self.remember(part, "combined", dict)
        counts = []
        for at in first:
            tile = tiles[at]
            found = []
            for group in range(int(tile["groups"])):
                key = (*(int(tile[x]) for x in fields[1:]), group)
                if key not in known:
                    matrix = group_filters(part, tile, group).reshape(int(tile["n"]), -1) != 0
                    live = matrix[:, matrix.any(0)]
                    known[key] = max(1, len(combine_columns(live, int(self.spec.alpha), 0.0)))
                found.append(known[key])
            counts.append([sum(-(-c // self.spec.cols) for c in found), sum(found)])
        return np.array(counts, np.int64)[kind]

    def times(self, part: Part, tiles: Tiles) -> SparseTimes:
        """Folds, each as long as its inputs last, or as the next weights need."""
        spec = self.spec
        found = self.combined(part, tiles)
        folds = found[:, 0] * -(-tiles["n"] // spec.rows)
        inputs = tiles["m"] * spec.operand_bits
        last = (folds - 1) * np.maximum(inputs, self._load)  # when the last fold starts
        rows = tiles["n"] - (tiles["n"] - 1) // spec.rows * spec.rows
        skew = rows + spec.cols - 2 + spec.sum_bits - spec.operand_bits
        return SparseTimes(
            np.full(len(tiles), self._load, np.int64), last, last + inputs, last + inputs + skew, folds * inputs,
            products=int((found[:, 1] * tiles["n"] * tiles["m"]).sum()),
        )  # fmt: skip

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs of live columns once for each fold of rows, a combined weight once, sums once a fold of columns."""
        spec, found = self.spec, self.combined(part, tiles)
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        reads = {"ifmap": groups * m * k * -(-n // spec.rows), "filter": found[:, 1] * n}
        sums = found[:, 0] * m * n
        reads["psum"] = sums - groups * m * n
        return reads, {"psum": sums}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Each cell in use takes a step for each bit of each input."""
        assert isinstance(times, SparseTimes)
        counts, found = ActionCounts(), self.combined(part, tiles)
        counts.add("serial_unit", "step", times.products * self.spec.operand_bits)
        counts.add("weight_register", "write", int((found[:, 1] * tiles["n"]).sum()))
        if self.spec.alpha > 1:
            counts.add("input_mux", "step", times.products * self.spec.operand_bits)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Columns before and after, and folds."""
        found = self.combined(part, tiles)
        folds = found[:, 0] * -(-tiles["n"] // self.spec.rows)
        return {
            **super().info(part, tiles, times), "combined_columns": int(found[:, 1].sum()),
            "columns": int((tiles["groups"] * tiles["k"]).sum()), "folds": int(folds.sum()),
        }  # fmt: skip
