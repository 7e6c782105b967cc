"""Stripes and its dynamic kin: activations bit by bit against parallel weights.

- `stripes` (Judd et al., MICRO 2016): a step takes the layer's activation precision in cycles.
- `dynamic_stripes` (Delmas et al., 2017; ShapeShifter, MICRO 2019): a step takes the bits that the highest one bit
  of its bricks asks for.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import BrickEngine, GridSpec, StepTimes, WholeOperands
from accelsim.engines.common.serial_measured import MeasuredEngine, Rules
from accelsim.engines.common.tiled import TileTimes, Tiles


def serial_units(engine: BrickEngine, model: CostModel, bits: dict[str, int], word_bits: int) -> list[Component]:
    """Serial inner-product units with the registers of their weights."""
    spec = engine.spec
    units = spec.columns * spec.rows * spec.tiles
    step = model.bit_serial_step_pj(word_bits, spec.lanes, bits["psum"])
    area = model.bit_serial_area_mm2(word_bits, spec.lanes, bits["psum"])
    leakage = model.logic_leak_mw(float(area))
    return [
        component("serial_unit", {"step": step}, area=area, leakage=leakage, count=units),
        register_rows(model, "synapse_register", spec.lanes * word_bits, count=units),
    ]


@ENGINES.register("stripes")
class Stripes(BrickEngine):
    """Activation bits in turn, as many as the layer's precision has."""

    kind: ClassVar[str] = "stripes"

    class Spec(GridSpec):
        """Parameters of Stripes."""

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Of units that are never idle, over the cycles of a step."""
        spec = self.spec
        cycles = min(bits["ifmap"], spec.pe_width)
        columns = spec.columns // -(-bits["ifmap"] // spec.pe_width)
        rows = spec.rows // -(-bits["filter"] // spec.pe_width)
        return int(-(-spec.lanes * max(1, columns) * max(1, rows) * spec.tiles // cycles))

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Serial units for weights of `pe_width`."""
        return serial_units(self, model, bits, self.spec.pe_width)

    def typical_step(self, part: Part) -> int:
        """The precision."""
        return min(part.bits("ifmap"), int(self.spec.pe_width))

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Steps x precision."""
        return self.even(part, tiles, self.typical_step(part))

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A serial step for each unit and cycle; weights are clocked in once a step."""
        assert isinstance(times, StepTimes)
        width = self.spec.pe_width
        parts = -(-part.bits("ifmap") // width) * -(-part.bits("filter") // width)
        counts = ActionCounts()
        counts.add("serial_unit", "step", times.unit_cycles * parts)
        counts.add("synapse_register", "write", self.unit_steps(part, tiles) * parts)
        return counts


@ENGINES.register("dynamic_stripes")
class DynamicStripes(WholeOperands, Stripes, MeasuredEngine):
    """Activation bits in turn, as many as the operands in flight have."""

    kind: ClassVar[str] = "dynamic_stripes"

    class Spec(GridSpec):
        """Parameters of Dynamic Stripes."""

        pe_width: int = pydantic.Field(default=16, ge=1, le=16, description="bits of the widest operand")
        minor_bit: bool = pydantic.Field(default=False, description="low zero bits are skipped, too")
        group_size: int = pydantic.Field(
            default=1, ge=1, le=1024, description="columns that share a range of bits, with minor_bit"
        )
        column_registers: int = pydantic.Field(
            default=0, ge=0, le=64, description="steps that a column may run ahead of the slowest"
        )

        @pydantic.model_validator(mode="after")
        def _one_way(self) -> Any:
            if self.column_registers and self.group_size > 1:
                raise ValueError("column_registers needs group_size 1: columns of a group cannot run apart")
            return self

    def rules(self, part: Part) -> Rules:
        """The highest bit of all lanes, the lowest too with `minor_bit`, and one for the sign."""
        spec = self.spec
        return Rules(
            sign=int(part.signed("ifmap")),
            minor=spec.minor_bit,
            group=spec.group_size,
            registers=spec.column_registers,
        )

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Exact, from the bits."""
        return MeasuredEngine.times(self, part, tiles)
