"""Laconic: time only for pairs of one bits, of activation and weight (Sharify et al., ISCA 2019).

A lane takes a cycle for each pair of one bits of its two operands; a step lasts as long as the slowest lane of all
windows and filters in flight.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.figures import Figure, composed
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import (
    BrickEngine,
    GridSpec,
    StepTimes,
    Values,
    WholeOperands,
    narrow,
    set_bits,
)
from accelsim.engines.common.tiled import TileTimes, Tiles, Words
from accelsim.engines.kernels.pairs import lane_products


@ENGINES.register("laconic")
class Laconic(WholeOperands, BrickEngine):
    """Pairs of one bits of the operands' magnitudes."""

    kind: ClassVar[str] = "laconic"

    class Spec(GridSpec):
        """Parameters of Laconic."""

        pe_width: int = pydantic.Field(default=16, ge=1, le=16, description="bits of the widest operand")

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Units after the paper's Section IV: exponents are added, decoded, counted by their sum, and weighted.

        Each lane adds two bit positions and decodes the sum; for each possible sum the lanes that have it are
        counted; the counts are added with their weights into the sum.
        """
        spec = self.spec
        units = spec.columns * spec.rows * spec.tiles
        position = max(1, (spec.pe_width - 1).bit_length())
        sums = 2 * spec.pe_width - 1
        count_bits = spec.lanes.bit_length()
        wide = max(bits["psum"], sums)
        energy: list[tuple[float, Figure]] = [
            (spec.lanes, model.add_pj(position)),
            (spec.lanes, model.xnor_pj(sums)),
            (sums, model.popcount_pj(spec.lanes)),
            (1, model.add_pj(wide)),
            (1, model.register_pj(wide)),
        ]
        area: list[tuple[float, Figure]] = [
            (spec.lanes, model.op_area_mm2("add", position)),
            (spec.lanes, model.op_area_mm2("bitwise", sums)),
            (sums, model.popcount_area_mm2(spec.lanes)),
            (1, model.op_area_mm2("add", wide)),
            (1, model.register_area_mm2(wide)),
        ]
        if sums > 1:  # the counts overlap by all bits but one
            energy.append((sums - 1, model.add_pj(count_bits)))
            area.append((sums - 1, model.op_area_mm2("add", count_bits)))
        name = f"{spec.lanes} exponent adders and decoders, {sums} counters of equal exponents, weighted sum"
        whole = composed(name, *area)
        leak = model.logic_leak_mw(float(whole))
        return [
            component("serial_unit", {"step": composed(name, *energy)}, area=whole, leakage=leak, count=units),
            register_rows(model, "synapse_register", spec.lanes * spec.pe_width, count=units),
        ]

    def typical_step(self, part: Part) -> int:
        """Half of the bits of both are ones."""
        return -(-part.bits("ifmap") // 2) * -(-part.bits("filter") // 2)

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Exact, from the bits of both operands."""
        jobs, tile, bricks = self.jobs(part, tiles)
        values = narrow(self.planes(part), part.signed("ifmap"))
        if values.dtype.kind == "i":
            values = np.abs(values)  # the lowest number stays what it is, and is right as an unsigned one
        values = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
        tables: list[Values] = []
        known: dict[tuple[int, int], int] = {}
        size = 0
        for output0, n, index in zip(tiles["output0"].tolist(), tiles["n"].tolist(), range(len(tiles)), strict=True):
            if (output0, n) not in known:
                most, _ = self.filter_sets(part, tiles[index], count=True)
                known[output0, n] = size
                tables.append(most.reshape(-1, *most.shape[2:]))
                size += len(tables[-1])
        table = tables[0] if len(tables) == 1 else np.concatenate(tables)  # (sets, taps_y, taps_x, channels)
        first = [known[at] for at in zip(tiles["output0"].tolist(), tiles["n"].tolist(), strict=True)]
        jobs[:, 13] = np.array(first, np.int64)[tile] + self.groups(part, jobs, bricks) * jobs[:, 12]
        if self.grid(part).in_turn:
            return self.in_turn(part, tiles, jobs, tile, _pairs_in_turn(jobs, bricks, set_bits(values), table[:, 0, 0]))
        geometry = self.geometry(part, table.shape[2], table.shape[3])
        found = np.zeros((len(jobs), 3), np.int64)
        lane_products(values, table.reshape(len(table), -1, table.shape[3]), jobs, geometry, bricks, found)
        cycles, units, _ = self.sum_up(part, tiles, jobs, tile, found)
        none = np.zeros_like(cycles)
        return StepTimes(none, none, cycles, cycles, cycles, {}, unit_cycles=units, own_cycles=units)

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A step of a unit for each cycle; weights are clocked in once a step."""
        assert isinstance(times, StepTimes)
        counts = ActionCounts()
        counts.add("serial_unit", "step", times.unit_cycles)
        counts.add("synapse_register", "write", self.unit_steps(part, tiles))
        return counts


def _pairs_in_turn(jobs: Words, bricks: Words, ones: Values, table: Values) -> Words:
    """Costs of all steps of a matrix product with few rows, by row, set of filters, brick."""
    found: list[Any] = []
    for job in jobs:
        lanes = bricks[job[10] : job[10] + job[11]]
        low, end = lanes[0, 0], lanes[-1, 1]
        inputs = ones[job[0], low:end, 0, job[4] : job[4] + job[5]].T.astype(np.int64)
        weights = table[job[13] : job[13] + job[12], low:end].astype(np.int64)
        pairs = inputs[:, None, :] * weights[None]
        steps = np.maximum(1, np.maximum.reduceat(pairs, lanes[:, 0] - low, axis=2))
        found.append(steps.reshape(-1))
    return np.concatenate(found)
