"""Bit-serial engines whose steps last as long as the actual bits say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accelsim.engines.common.part import Part
from accelsim.engines.common.serial_grid import (
    BrickEngine,
    StepTimes,
    Values,
    bit_lengths,
    chained,
    narrow,
    set_bits,
)
from accelsim.engines.common.tiled import Tiles, Words
from accelsim.engines.kernels.essential import FAR, NEAR, essential_bits, essential_masks
from accelsim.engines.kernels.places import LANES
from accelsim.engines.kernels.serial import brick_table, grouped_cycles, row_steps, run_ahead, window_cycles


@dataclass(frozen=True)
class Rules:
    """How the cost of a step follows from the bricks of its columns.

    Attributes
    ----------
    reach : int or None
        Only one bits cost, and lanes reach so far above the lowest pending one; None: all bits to the highest cost.
    sign : int
        1: one more bit for the sign.
    minor : bool
        Low bits that are zero in all lanes are skipped, too.
    group : int
        Columns that share one range of bits, with `minor`.
    serial : int
        Bits that a cycle takes.
    registers : int
        Steps that a column may run ahead of the slowest.
    """

    reach: int | None = None
    sign: int = 0
    minor: bool = False
    group: int = 1
    serial: int = 1
    registers: int = 0


class MeasuredEngine(BrickEngine):
    """Base of engines that read the inputs' bits (and perhaps the filters')."""

    def rules(self, part: Part) -> Rules:
        """How a step's cycles follow from the inputs."""
        raise NotImplementedError

    def factors(self, part: Part, tiles: Tiles, jobs: Words, tile: Words, bricks: Words) -> Words:
        """Cycles for each bit of the inputs: may write the jobs' `factor` and `table`; returns the tables.

        A table has a place for each brick and tap; in turn for each set of filters and brick.
        """
        return np.zeros(1, np.int64)

    def brick_map(self, part: Part, bricks: Words, rules: Rules) -> Values:
        """Cycles of all bricks: (bricks, images, rows, columns), uint8; with groups the or of their bits, uint16."""
        values = narrow(self.planes(part), part.signed("ifmap"))
        signed = values.dtype.kind == "i"
        shape = len(bricks), values.shape[0], *values.shape[2:]
        grouped = self.grouped(part, rules)
        if signed and rules.reach is not None:
            values = np.abs(values)  # the lowest number stays what it is, and is right as an unsigned one
        elif signed and rules.minor:
            values = values ^ (values >> (8 * values.dtype.itemsize - 1))
        unsigned = values.view(f"u{values.dtype.itemsize}").reshape(*values.shape[:2], -1)
        out = np.empty((*shape[:2], unsigned.shape[2]), np.uint16 if grouped else np.uint8)
        if rules.reach:
            if rules.reach in NEAR + FAR and self.grid(part).lanes <= LANES:
                two = None if unsigned.itemsize == 1 else True
                far = True if rules.reach in FAR else None
                octets = np.ascontiguousarray(unsigned).view(np.uint8)
                essential_masks(octets, bricks, rules.reach, far, two, out)
            else:
                essential_bits(unsigned, bricks, part.bits("ifmap"), rules.reach, out)
        else:
            spread = signed and rules.reach is None and not rules.minor
            table = _costs(8 * unsigned.dtype.itemsize, None if grouped else rules, spread)
            brick_table(unsigned, bricks, table, int(spread), out)
        return out.reshape(shape)

    def grouped(self, part: Part, rules: Rules) -> bool:
        """Whether the cost of a brick depends on that of its neighbours."""
        return rules.minor and rules.group > 1 and not self.grid(part).in_turn

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Exact, from the bits."""
        rules, grid = self.rules(part), self.grid(part)
        jobs, tile, bricks = self.jobs(part, tiles)
        costs = self.brick_map(part, bricks, rules)
        factors = self.factors(part, tiles, jobs, tile, bricks)
        if grid.in_turn:
            return self.in_turn(part, tiles, jobs, tile, row_steps(costs, jobs, factors))
        geometry = self.geometry(part, rules.reach is not None)
        found = np.zeros((len(jobs), 3), np.int64)
        if self.grouped(part, rules):
            grouped_cycles(costs, jobs, geometry, np.array([rules.group, rules.sign, rules.serial], np.int64), found)
        else:
            window_cycles(costs, jobs, geometry, factors, found)
        cycles, units, own = self.sum_up(part, tiles, jobs, tile, found)
        if rules.reach is None:
            own = units
        if rules.registers:
            spans = np.zeros((2, len(tiles) + 1), np.int64)
            run_ahead(costs, jobs, tile, geometry, rules.registers, grid.depthwise, spans)
            return chained(spans, units, own)
        none = np.zeros(len(tiles), np.int64)
        return StepTimes(none, none, cycles, cycles, cycles, {}, unit_cycles=units, own_cycles=own)


@lru_cache(maxsize=16)
def _costs(width: int, rules: Rules | None, spread: bool) -> Values:
    """Cycles of a brick by the or of its values, each of `width` bits; without rules, the or itself (uint16)."""
    merged = np.arange(1 << width)
    if rules is None:
        return merged.astype(np.uint16)
    high = bit_lengths(merged)
    if rules.reach is not None:
        cost = set_bits(merged).astype(np.int64)
    elif rules.minor:
        cost = high - bit_lengths(merged & -merged) + 1 + rules.sign
    else:
        high = np.maximum(0, high - int(spread))
        cost = high + rules.sign * (high > 0)
    cost = np.where(merged > 0, cost, 0)
    return np.asarray(-(-np.maximum(1, cost) // rules.serial), np.uint8)
