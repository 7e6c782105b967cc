"""Loom: both operands bit by bit (Sharify et al., DAC 2018).

A step takes (activation bits / `pe_serial_bits`) x weight bits: activations as many as the bricks in flight have,
weights as many as the layer has, or with `dynamic_weights` as the filters in flight have.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import GridSpec, StepTimes, Values, WholeOperands, bit_lengths
from accelsim.engines.common.serial_measured import MeasuredEngine, Rules
from accelsim.engines.common.tiled import TileTimes, Tiles, Words
from accelsim.engines.stripes import serial_units


@ENGINES.register("loom")
class Loom(WholeOperands, MeasuredEngine):
    """Bits of activations and of weights in turn."""

    kind: ClassVar[str] = "loom"

    class Spec(GridSpec):
        """Parameters of Loom."""

        pe_width: int = pydantic.Field(default=16, ge=1, le=16, description="bits of the widest operand")
        pe_serial_bits: int = pydantic.Field(default=1, ge=1, le=16, description="activation bits a cycle")
        dynamic_activations: bool = pydantic.Field(
            default=True, description="activation bits are those of the bricks in flight, not the layer's"
        )
        dynamic_weights: bool = pydantic.Field(
            default=False, description="weight bits are those of the filters in flight, not the layer's"
        )

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """With one group of activation bits, and the weights' bits unless they too are dynamic."""
        spec = self.spec
        macs = spec.lanes * spec.columns * spec.rows * spec.tiles
        weights = 1 if spec.dynamic_weights else bits["filter"]
        inputs = 1 if spec.dynamic_activations else -(-bits["ifmap"] // spec.pe_serial_bits)
        return int(-(-macs // (weights * inputs)))

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Units of one weight bit a lane, `pe_serial_bits` of them side by side."""
        return serial_units(self, model, bits, self.spec.pe_serial_bits)

    def rules(self, part: Part) -> Rules:
        """The highest bit of all lanes, and one for the sign."""
        return Rules(sign=int(part.signed("ifmap")), serial=self.spec.pe_serial_bits)

    def typical_step(self, part: Part) -> int:
        """Both precisions."""
        return -(-part.bits("ifmap") // int(self.spec.pe_serial_bits)) * part.bits("filter")

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Exact, from the bits; closed forms if both precisions are the layer's."""
        if not self.spec.dynamic_activations and not self.spec.dynamic_weights:
            return self.even(part, tiles, self.typical_step(part))
        return super().times(part, tiles)

    def brick_map(self, part: Part, bricks: Words, rules: Rules) -> Values:
        """If activations are not dynamic 1 for all, padding too: the layer's cycles are among the factors."""
        if self.spec.dynamic_activations:
            return super().brick_map(part, bricks, rules)
        images, _, rows, columns = self.planes(part).shape
        return np.ones((len(bricks), images, rows, columns), np.uint8)

    def _fixed(self, part: Part) -> int:
        """Cycles for each weight bit, where they are the same for all activations."""
        return 1 if self.spec.dynamic_activations else -(-part.bits("ifmap") // int(self.spec.pe_serial_bits))

    # --- weights ---

    def factors(self, part: Part, tiles: Tiles, jobs: Words, tile: Words, bricks: Words) -> Words:
        """Weight bits; of the sets of filters that follow each other for one set of windows their sum."""
        in_turn = self.grid(part).in_turn
        if not self.spec.dynamic_weights:
            if in_turn:
                jobs[:, 13] = 0
                return np.full(int((jobs[:, 11] * jobs[:, 12]).max()), part.bits("filter"))
            jobs[:, 12] *= part.bits("filter")
            return np.zeros(1, np.int64)
        fixed = self._fixed(part)
        tables: list[Any] = []
        known: dict[tuple[int, ...], int] = {}
        sets: dict[tuple[int, int], Values] = {}
        places, size = [], 0
        groups = self.groups(part, jobs, bricks).tolist()
        for job, index, group in zip(jobs.tolist(), tile.tolist(), groups, strict=True):
            at = int(tiles["output0"][index]), int(tiles["n"][index])
            key = (group, *at, *job[6:12])
            if key not in known:
                if at not in sets:
                    sets[at] = self._lane_bits(part, tiles[index])
                lanes = sets[at][group, :, job[6] : job[6] + job[7], job[8] : job[8] + job[9]]
                each = _brick_bits(lanes, bricks[job[10] : job[10] + job[11]])  # (sets, taps_y, taps_x, bricks)
                known[key] = size
                tables.append((each if in_turn else np.moveaxis(each.sum(0), 2, 0)).reshape(-1) * fixed)
                size += tables[-1].size
            places.append(known[key])
        jobs[:, 13] = places
        return np.concatenate(tables)

    def _lane_bits(self, part: Part, tile: Any) -> Values:
        """Bits of the widest weight in flight: (groups, sets of filters, taps_y, taps_x, channels), at least 1."""
        merged, above = self.filter_sets(part, tile, count=False)
        bits = np.maximum(0, bit_lengths(merged) - above)
        return np.asarray(np.maximum(1, bits + (bits > 0) * int(part.signed("filter"))))

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A serial step for each unit and cycle; a bit of each weight is clocked in for all activation bits."""
        assert isinstance(times, StepTimes)
        counts = ActionCounts()
        counts.add("serial_unit", "step", times.unit_cycles)
        counts.add("synapse_register", "write", self.unit_steps(part, tiles) * part.bits("filter"))
        return counts


def _brick_bits(lanes: Values, bricks: Words) -> Words:
    """The widest of each brick: (sets of filters, taps_y, taps_x, bricks), of which `bricks` follow each other."""
    low = bricks[:, 0] % lanes.shape[3]
    end = low[-1] + bricks[-1, 1] - bricks[-1, 0]
    return np.asarray(np.maximum.reduceat(lanes[..., :end], low, axis=3), np.int64)
