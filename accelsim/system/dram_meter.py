"""What a detailed DRAM did in a run and in each of its layers, from the model's own counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.memory.model import MemoryStats

if TYPE_CHECKING:
    from accelsim.memory.dram import Dram

ROWS = ("row_hits", "row_misses", "row_conflicts")


@dataclass
class DramReport:
    """A detailed DRAM, after a run.

    Attributes
    ----------
    stats : MemoryStats
    window_cycles : float
        Core cycles of a row of `profile`.
    profile : int64 array, (windows, 3)
        Bytes read, bytes written and row hits, over time.
    burst_bytes : int
    energy_pj : dict
        Action -> picojoules of the run; empty where it is priced by the byte.
    """

    stats: MemoryStats
    window_cycles: float
    profile: NDArray[np.int64]
    burst_bytes: int
    energy_pj: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for files."""
        return {**self.stats.as_dict(), "energy_pj_by_action": self.energy_pj}


@dataclass(frozen=True)
class _Mark:
    counts: ActionCounts
    rows: tuple[int, ...]


class DramMeter:
    """Reads the counters at the end of every layer.

    A layer is charged with the commands that were issued between its first and last cycle, and with standby for
    its length. A posted write is issued when the controller drains it, which may be in the next layer; what is
    left at the end of the run belongs to the last. So the layers always sum to the memory's totals.
    """

    def __init__(self, memory: Dram) -> None:
        self.memory = memory
        self._marks = [_Mark(ActionCounts(), (0,) * len(ROWS))]

    def layer_ends(self, layer: int, cycle: int) -> None:
        """A layer has ended in core cycle `cycle`."""
        self.memory.settle(cycle)
        self._marks.append(self._read(cycle))

    def run_ends(self, cycle: int) -> None:
        """The run has ended in core cycle `cycle`: write what is still queued."""
        self.memory.finish()
        self.memory.settle(cycle)
        self._marks[-1] = self._read(cycle)

    def _read(self, cycle: int) -> _Mark:
        stats = self.memory.stats()
        return _Mark(self.memory.counts(until=cycle), tuple(getattr(stats, name) for name in ROWS))

    def layer_counts(self, layer: int) -> ActionCounts:
        """Actions of `dram` in a layer."""
        before, after = self._marks[layer].counts, self._marks[layer + 1].counts
        counts = ActionCounts()
        for (component, action), total in after.items():
            counts.add(component, action, total - before.get((component, action), 0))
        return counts

    def layer_rows(self, layer: int) -> dict[str, int]:
        """Row hits, misses and conflicts of a layer's bursts."""
        before, after = self._marks[layer].rows, self._marks[layer + 1].rows
        return {f"dram_{name}": b - a for name, a, b in zip(ROWS, before, after, strict=True)}

    def report(self, clock_hz: int) -> DramReport:
        """The whole run."""
        p = self.memory.parameters
        window, profile = self.memory.profile()
        in_bytes = profile.copy()
        # a burst keeps the bus for tBL clocks; a clock of the profile is `burst_bytes` / tBL bytes
        in_bytes[:, :2] = profile[:, :2] * p.burst_bytes // p.timing.tBL
        return DramReport(
            self.memory.stats(), window * p.tCK_ps * clock_hz / 10**12, in_bytes, p.burst_bytes
        )
