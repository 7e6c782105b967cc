"""DaDianNao: bit-parallel multipliers, the baseline of the bit-serial family (Chen et al., MICRO 2014).

A step takes one cycle, whatever the operands' bits.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import BrickEngine, GridSpec, StepTimes
from accelsim.engines.common.tiled import TileTimes, Tiles


@ENGINES.register("dadiannao")
class DaDianNao(BrickEngine):
    """Tiles of bit-parallel multipliers and adder trees."""

    kind: ClassVar[str] = "dadiannao"

    class Spec(GridSpec):
        """Parameters of the bit-parallel chip."""

        columns: int = pydantic.Field(default=1, ge=1, le=1024, description="windows at a time")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each multiplier; an operand that is too wide takes several."""
        spec = self.spec
        columns = spec.columns // -(-bits["ifmap"] // spec.pe_width)
        rows = spec.rows // -(-bits["filter"] // spec.pe_width)
        return int(spec.lanes * max(1, columns) * max(1, rows) * spec.tiles)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers with their share of the adders, and a register for each unit's sum."""
        spec = self.spec
        units = spec.columns * spec.rows * spec.tiles
        width = spec.pe_width
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=units * spec.lanes),
            register_rows(model, "accumulator", bits["psum"], count=units),
        ]

    def typical_step(self, part: Part) -> int:
        """Always 1."""
        return 1

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Steps."""
        return self.even(part, tiles, 1)

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A full-width product for each MAC and each part of a wide operand, a sum for each unit and step."""
        assert isinstance(times, StepTimes)
        width: Any = self.spec.pe_width
        parts = -(-part.bits("ifmap") // width) * -(-part.bits("filter") // width)
        counts = ActionCounts()
        macs = int((tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]).sum())
        counts.add("mac", f"mac_{width}x{width}", macs * parts)
        counts.add("accumulator", "write", times.unit_cycles * parts)
        return counts
