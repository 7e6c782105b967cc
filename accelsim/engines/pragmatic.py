"""Bit-Pragmatic: only the one bits of activations take time (Albericio et al., MICRO 2017).

Each cycle a column looks for the lowest one bit that is pending in any lane; every lane whose own lowest pending
bit is at most 2**first_stage_bits - 1 above it is done with that bit. What is further away waits: the first
stage of shifters reaches no further, the second stage shifts all lanes together (Section V-C of the paper).
"""

from __future__ import annotations

from typing import ClassVar

import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.figures import Figure, composed
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import GridSpec, StepTimes, WholeOperands
from accelsim.engines.common.serial_measured import MeasuredEngine, Rules
from accelsim.engines.common.tiled import TileTimes, Tiles


@ENGINES.register("pragmatic")
class Pragmatic(WholeOperands, MeasuredEngine):
    """One bits of the activations' magnitudes, in turn."""

    kind: ClassVar[str] = "pragmatic"

    class Spec(GridSpec):
        """Parameters of Bit-Pragmatic."""

        pe_width: int = pydantic.Field(default=16, ge=1, le=16, description="bits of the widest operand")
        first_stage_bits: int = pydantic.Field(
            default=2, ge=0, le=4, description="a lane's own shifter reaches 2**this - 1 bits"
        )
        column_registers: int = pydantic.Field(
            default=0, ge=0, le=64, description="steps that a column may run ahead of the slowest"
        )

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Units: a shifter for each lane, an adder tree, a shifter for all, the sum and its register."""
        spec = self.spec
        units = spec.columns * spec.rows * spec.tiles
        width = spec.pe_width + 2**spec.first_stage_bits - 1
        acc = max(bits["psum"], width)
        parts: list[tuple[float, Figure]] = [(1, model.op_pj("shift", acc)), (1, model.add_pj(acc))]
        parts += [(1, model.register_pj(acc)), (spec.lanes, model.xnor_pj(spec.pe_width))]
        areas: list[tuple[float, Figure]] = [(1, model.op_area_mm2("shift", acc)), (1, model.op_area_mm2("add", acc))]
        areas += [(1, model.register_area_mm2(acc)), (spec.lanes, model.op_area_mm2("bitwise", spec.pe_width))]
        if spec.first_stage_bits:  # one row of multiplexers for each power of two that it shifts by
            stages = spec.lanes * spec.first_stage_bits
            parts.append((stages, model.op_pj("mux", width)))
            areas.append((stages, model.op_area_mm2("mux", width)))
        if spec.lanes > 1:
            parts.append((1, model.adder_tree_pj(spec.lanes, width)))
            areas.append((spec.lanes - 1, model.op_area_mm2("add", width)))
        name = f"{spec.lanes} lanes with shifters of {spec.first_stage_bits} stages, adder tree, common shifter, sum"
        area = composed(name, *areas)
        leak = model.logic_leak_mw(float(area))
        return [
            component("serial_unit", {"step": composed(name, *parts)}, area=area, leakage=leak, count=units),
            register_rows(model, "synapse_register", spec.lanes * spec.pe_width, count=units),
        ]

    def rules(self, part: Part) -> Rules:
        """One bits within the first stage's reach."""
        return Rules(reach=2**self.spec.first_stage_bits - 1, registers=self.spec.column_registers)

    def typical_step(self, part: Part) -> int:
        """Half of the bits are ones."""
        return -(-part.bits("ifmap") // 2)

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A step of a unit for each cycle that its column needs; one that waits for another column is still."""
        assert isinstance(times, StepTimes)
        counts = ActionCounts()
        counts.add("serial_unit", "step", times.own_cycles)
        counts.add("synapse_register", "write", self.unit_steps(part, tiles))
        return counts
