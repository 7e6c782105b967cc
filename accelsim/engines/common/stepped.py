"""Base of engines whose tiles take a closed form of cycles: look-up tables, popcounts, select-and-add, lanes.

A subclass says how long a tile takes (`tile_cycles`); tiles follow each other without a gap, and the last result of
one is `tail` cycles late.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.engines.base import Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, Tiles, TileTimes

#: Role in the trace -> operand whose widths it must have.
ROLES = {"ifmap": "ifmap", "state": "ifmap", "filter": "filter", "recurrent": "filter"}
#: Encodings whose elements are places in a table, or bits with a scale: engines may work on the codes.
CODES = ("codebook", "grouped")


class StepEngine(TiledEngine):
    """Base of these engines."""

    #: operand -> what to do about one that is too wide, for error messages
    remedies: ClassVar[dict[str, str]] = {}
    #: operands that may be codes of a table or of a scaled sign
    coded: ClassVar[tuple[str, ...]] = ()

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """Cycles of one group's tile: m output positions, n outputs, `channels` inputs at each of `taps` taps."""
        raise NotImplementedError

    def tail(self, part: Part) -> int:
        """Cycles from the last step of a tile to its last result, in which the next tile may run."""
        return 0

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """`tile_cycles`, with as many taps as `k` allows."""
        m, n, k = (np.asarray(v, np.int64) for v in (m, n, k))
        loops, taps = part.loops, np.ones_like(k)
        for count in (loops.s, loops.window):
            taps = np.where((k % count == 0) & (k // count <= loops.channels), count, taps)
        return self.tile_cycles(part, m, n, k // taps, taps)

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """One tile after the other."""
        channels = tiles["channels"]
        cycles = tiles["groups"] * self.tile_cycles(part, tiles["m"], tiles["n"], channels, tiles["k"] // channels)
        return TileTimes.steps(cycles, latency=self.tail(part))

    def check_bits(self, task: Task) -> None:
        """Refuse what is too wide, and floating-point numbers that are no codes.

        Raises
        ------
        ConfigError
            Naming layer, operand, its bits, those that are supported, and what would give them.
        """
        check_operands(self.kind, self.supported_bits(), self.coded, self.remedies, task)


def check_operands(
    kind: str, supported: dict[str, tuple[int, ...]], coded: tuple[str, ...], remedies: dict[str, str], task: Task
) -> None:
    """See `StepEngine.check_bits`."""
    where = f"layer {task.layer.name}"
    for role, name in ROLES.items():
        operand = task.trace.operand(task.layer.name, role)
        if operand is None:
            continue
        remedy = f"; {remedies[name]}" if name in remedies else ""
        if operand.floating and not (name in coded and operand.encoding in CODES):
            what = f"{role} holds floating-point numbers, but engine {kind!r} computes with integers"
            raise ConfigError(f"{what}{remedy or '; quantize it first'}", where)
        if operand.bits not in supported[name]:
            listed = ", ".join(map(str, supported[name]))
            raise ConfigError(
                f"{role} has {operand.bits} bits, but engine {kind!r} computes with {listed}{remedy}", where
            )


def macs_of(tiles: Tiles) -> int:
    """MACs of all tiles."""
    return int((tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]).sum())
