"""Bit-serial engines whose steps last as long as the actual bits say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.engines.part import Part
from accelsim.engines.serial_grid import (
    BrickEngine,
    StepTimes,
    Values,
    bit_lengths,
    chained,
    totals,
)
from accelsim.engines.serial_kernels import HIGHEST, OR, brick_costs, run_ahead, window_cycles
from accelsim.engines.tiled import Tiles, Words


@dataclass(frozen=True)
class Rules:
    """How the cost of a step follows from the bricks of its columns.

    Attributes
    ----------
    kind : int
        What a brick's cost is: see `serial_kernels`.
    reach : int
        Of ONES_OFFSETS.
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

    kind: int = HIGHEST
    reach: int = 0
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

    def inputs(self, part: Part) -> Values:
        """Non-negative bit patterns that the lanes see (images, rows, columns, channels), int32."""
        raise NotImplementedError

    def factors(self, part: Part, tiles: Tiles, jobs: Words, tile: Words, bricks: Words) -> Words:
        """Cycles for each bit of the inputs: may write the jobs' `factor` and `table`; returns the tables."""
        return np.zeros(1, np.int64)

    def set_factors(self, part: Part, tile: Any, group: int, bricks: Words) -> Words:
        """As `factors`, of one tile of a matrix product: (sets of filters, bricks)."""
        sets = -(-int(tile["n"]) // self.grid(part).filters)
        return np.ones((sets, len(bricks)), np.int64)

    def brick_map(self, part: Part, bricks: Words, rules: Rules) -> Values:
        """Costs of all bricks: (bricks, images, rows, columns), int32."""
        values = self.inputs(part)
        out = np.empty((len(bricks), *values.shape[:3]), np.int32)
        brick_costs(values, bricks, OR if rules.minor else rules.kind, rules.reach, out)
        if rules.minor and (rules.group == 1 or self.grid(part).in_turn):
            low = bit_lengths(out & -out)
            out = np.where(out > 0, bit_lengths(out) - low + 1 + rules.sign, 1).astype(np.int32)
        elif rules.sign and not rules.minor:
            out += out > 0
        return out

    def times(self, part: Part, tiles: Tiles) -> StepTimes:
        """Exact, from the bits."""
        rules, grid = self.rules(part), self.grid(part)
        jobs, tile, bricks = self.jobs(part, tiles)
        costs = self.brick_map(part, bricks, rules)
        if grid.in_turn:
            steps, own = self._steps_in_turn(part, tiles, jobs, tile, bricks, costs, rules)
            return self.in_turn(part, tiles, steps, own)
        factors = self.factors(part, tiles, jobs, tile, bricks)
        minor = rules.minor and rules.group > 1
        numbers = [*self.geometry(part), rules.group, int(minor), rules.sign, rules.serial]
        geometry = np.array(numbers, np.int64)
        out = np.zeros((len(jobs), 3), np.int64)
        window_cycles(costs, jobs, geometry, factors, out)
        filters = self._filters(part, tiles, tile)
        units, own = int((out[:, 1] * filters).sum()), int((out[:, 2] * filters).sum())
        if not rules.registers:
            cycles = totals(out[:, 0], tile, len(tiles))
            none = np.zeros_like(cycles)
            return StepTimes(none, none, cycles, cycles, cycles, {}, unit_cycles=units, own_cycles=own)
        if grid.depthwise:  # all taps of one brick of groups, then the next
            count = jobs[:, 11]
            tile, each = np.repeat(tile, count), np.repeat(np.arange(len(jobs)), count)
            jobs = jobs[each]
            jobs[:, 10] += np.arange(len(jobs)) - np.repeat(np.cumsum(count) - count, count)
            jobs[:, 11] = 1
        spans = np.zeros((len(jobs), 2), np.int64)
        run_ahead(costs, jobs, geometry, rules.registers, rules.serial, spans)
        return chained(spans[:, 0], spans[:, 1], tile, len(tiles), units, own)

    def _filters(self, part: Part, tiles: Tiles, tile: Words) -> Any:
        """Filters in a step of each job, on average."""
        if self.grid(part).depthwise:
            return 1
        return tiles["n"][tile] / -(-tiles["n"][tile] // self.grid(part).filters)

    def _steps_in_turn(
        self, part: Part, tiles: Tiles, jobs: Words, tile: Words, bricks: Words, costs: Values, rules: Rules
    ) -> tuple[Words, int]:
        """Costs of all steps of a matrix product with few rows: by row, set of filters, brick."""
        found, own = [], 0
        for job, index in zip(jobs, tile, strict=True):
            image, x0, cols, b0, count = job[0], job[4], job[5], job[10], job[11]
            inputs = np.maximum(1, costs[b0 : b0 + count, image, 0, x0 : x0 + cols].T)  # (rows, bricks)
            inputs = -(-inputs.astype(np.int64) // rules.serial)
            weights = self.set_factors(part, tiles[index], int(image), bricks[b0 : b0 + count])
            steps = inputs[:, None, :] * weights[None]
            own += int(steps.sum()) * int(tiles["n"][index]) // len(weights)
            found.append(steps.reshape(-1))
        return np.concatenate(found), own
