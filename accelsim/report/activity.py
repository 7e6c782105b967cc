"""Buffers and DRAM over time, computed from a run's timeline of transfers and passes.

A fetched tile holds its place from the moment it is asked for until the pass before the next fetch of its
operand has streamed; of an operand that is kept, until the pass before the next group's first fetch has.
Results hold theirs from the start of their pass until they are written. Sums being added to, and feature
maps that stay on chip, are known by layer only.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.report.parts import buffers
from accelsim.sim.passes import FETCHED
from accelsim.sim.player import OPERANDS
from accelsim.system.result import RunResult

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: What may lie in a buffer, in the order in which it is stacked.
HELD = ("resident", "filter", "ifmap", "psum", "ofmap")
READS = ("filter", "ifmap", "psum")
#: What crosses the chip's border, as `Timeline.transfers` numbers it.
MOVED = OPERANDS


@dataclass
class Steps:
    """A level that changes by `change` at `at` (cycles, ascending)."""

    at: Ints
    change: Floats

    def means(self, edges: Floats) -> Floats:
        """The exact mean level between each two edges."""
        level = np.concatenate(([0.0], np.cumsum(self.change)))
        weighted = np.concatenate(([0.0], np.cumsum(self.change * self.at)))
        seen = np.searchsorted(self.at, edges)
        integral = level[seen] * edges - weighted[seen]
        return np.maximum(np.diff(integral) / np.diff(edges), 0.0)

    def levels(self) -> tuple[Ints, Floats]:
        """(cycle, level from there on), one entry for each cycle at which it changes."""
        last = np.append(np.diff(self.at) > 0, True) if len(self.at) else np.zeros(0, bool)
        return self.at[last], np.cumsum(self.change)[last]


def steps_of(begin: Ints, end: Ints, size: NDArray[Any]) -> Steps:
    """The sum of rectangles."""
    at = np.concatenate((begin, end))
    change = np.concatenate((size, -size)).astype(np.float64)
    order = np.argsort(at, kind="stable")
    return Steps(at[order], change[order])


def on_the_bus(result: RunResult) -> tuple[Ints, Ints, Ints]:
    """For each transfer, in the order of completion: (index into `transfers`, first cycle, last cycle).

    As late as completions allow when the bus carries one after another at its full rate; the time before
    that is queueing and latency.
    """
    transfers = result.timeline.transfers
    order = np.argsort(transfers["done"], kind="stable").astype(np.int64)
    done = transfers["done"][order]
    if result.dram_fidelity == "ideal" or not len(done):
        return order, done, done
    rate = Fraction(result.dram_bytes_per_cycle).limit_denominator(result.clock_hz)
    taken = np.maximum(1, -(-transfers["bytes"][order] * rate.denominator // rate.numerator))
    # end[i] = min(done[i], end[i + 1] - taken[i + 1]), from the last to the first
    before = np.cumsum(taken)
    end = before + np.minimum.accumulate((done - before)[::-1])[::-1]
    begin = np.maximum(end - taken, np.minimum(transfers["issued"][order], end - 1))
    return order, np.maximum(begin, 0), end


def dram_rates(result: RunResult) -> dict[str, Steps]:
    """Operand (of MOVED) -> bytes per cycle on the DRAM bus."""
    transfers = result.timeline.transfers
    order, begin, end = on_the_bus(result)
    end = np.maximum(end, begin + 1)
    operand, rate = transfers["operand"][order], transfers["bytes"][order] / (end - begin)
    found = {}
    for which, name in enumerate(MOVED):
        mine = operand == which
        if mine.any():
            found[name] = steps_of(begin[mine], end[mine], rate[mine])
    return found


def held_bytes(result: RunResult) -> dict[str, dict[str, Steps]]:
    """Buffer -> what lies in it (of HELD) -> bytes over time."""
    found: dict[str, dict[str, Steps]] = {}
    for name, buffer in buffers(result).items():
        inside: dict[str, Steps] = {}
        for operand in buffer["holds"]:
            steps = _operand_steps(result, operand)
            if steps is not None:
                inside[operand] = steps
        if not _someone_holds_psum(result) and "ofmap" in buffer["holds"]:
            steps = _operand_steps(result, "psum")
            if steps is not None:
                inside["psum"] = steps
        if buffer.get("keep_activations"):
            kept = _by_layer(result, "kept_bytes")
            if kept is not None:
                inside["resident"] = kept
        found[name] = {what: inside[what] for what in HELD if what in inside}
    return found


def _someone_holds_psum(result: RunResult) -> bool:
    return any("psum" in buffer["holds"] for buffer in buffers(result).values())


def _operand_steps(result: RunResult, operand: str) -> Steps | None:
    if operand == "psum":
        return _by_layer(result, "psum_tile_bytes")
    transfers = result.timeline.transfers
    mine = transfers[transfers["operand"] == MOVED.index(operand)]
    if not len(mine):
        return None
    begin, end = _writes(result, mine) if operand == "ofmap" else _fetches(result, mine, operand)
    return steps_of(begin, np.maximum(begin, end), mine["bytes"])


def _first_pass(result: RunResult) -> Ints:
    """Index of each layer's first pass in the timeline."""
    return np.searchsorted(result.timeline.passes["layer"], np.arange(len(result.layers) + 1)).astype(np.int64)


def _writes(result: RunResult, mine: NDArray[Any]) -> tuple[Ints, Ints]:
    passes = result.timeline.passes
    first = _first_pass(result)
    return passes["start"][first[mine["layer"]] + mine["row"]], mine["done"]


def _fetches(result: RunResult, mine: NDArray[Any], operand: str) -> tuple[Ints, Ints]:
    """Sorts `mine` by layer and row in place."""
    assert operand in FETCHED
    mine.sort(order=("layer", "row"))
    layer = mine["layer"]
    first = _first_pass(result)
    begins = first[layer] + mine["row"]  # the pass that a tile is fetched for
    # a place is free for the next fetch, or for the next group's first one
    opens = np.ones(len(mine), bool)
    kept = _kept_bytes(result, operand)[layer]
    before = np.cumsum(mine["bytes"]) - mine["bytes"]
    before -= before[np.searchsorted(layer, layer)]  # bytes of the layer that came before
    opens[1:] = (layer[1:] != layer[:-1]) | (kept[1:] == 0) | (before[1:] % np.maximum(kept[1:], 1) == 0)
    # for each tile the next one that opens a place, in its layer
    openers = np.flatnonzero(opens)
    following = np.searchsorted(openers, np.arange(len(mine)), side="right")
    next_one = np.minimum(openers[np.minimum(following, len(openers) - 1)], len(mine) - 1)
    here = (following < len(openers)) & (layer[next_one] == layer)
    last = np.where(here, begins[next_one], first[layer + 1]) - 1
    return mine["issued"].astype(np.int64), result.timeline.passes["streamed"][last]


def _kept_bytes(result: RunResult, operand: str) -> Ints:
    """For each layer the bytes of the operand that stay together until the next group replaces them, or 0."""
    layers = zip(result.layers, result.timeline.layers, strict=True)
    kept = [0 if t.slots.get(operand, 0) else int(x.info.get(f"kept_{operand}_bytes", 2**62)) for x, t in layers]
    return np.array(kept, np.int64)


def _by_layer(result: RunResult, key: str) -> Steps | None:
    """What each layer's record says it holds from its first to its last cycle."""
    layers = zip(result.layers, result.timeline.layers, strict=True)
    rows = [(t.start, t.end, int(x.info.get(key, 0))) for x, t in layers]
    table = np.array([row for row in rows if row[2]], np.int64).reshape(-1, 3)
    return steps_of(table[:, 0], table[:, 1], table[:, 2]) if len(table) else None
