"""What the simulator asks of any memory, however exactly it is modelled.

A memory takes *transfers* (a tile, as a DMA would fetch it) and says when each is complete. Time
outside is an integer count of core-clock cycles; a model with a clock of its own converts by exact
integer ratios. A model never runs ahead of what it has been told: `advance(limit)` leaves every
decision at `limit` and later open, so a transfer that arrives at `limit` is seen in time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import SimulationBug

Completion = tuple[int, int]
"""(core cycle, request id)"""


@dataclass(frozen=True)
class Transfer:
    """A strided address pattern: `planes` x `rows` pieces of `row_bytes` contiguous bytes.

    Piece (p, r) begins at `base + p * plane_stride + r * row_stride`, and pieces are fetched in that
    order, each as the whole bursts that cover it. A burst that ends one piece and begins the next is
    fetched once. A contiguous tensor is one row.

    Raises
    ------
    SimulationBug
        If there is nothing to transfer or an address is negative.
    """

    base: int
    row_bytes: int
    row_stride: int = 0
    rows: int = 1
    plane_stride: int = 0
    planes: int = 1

    def __post_init__(self) -> None:
        if self.row_bytes < 1 or self.rows < 1 or self.planes < 1:
            raise SimulationBug(f"a transfer moves at least one byte, got {self}")
        if self.base < 0 or self.row_stride < 0 or self.plane_stride < 0:
            raise SimulationBug(f"addresses and strides of a transfer must be >= 0, got {self}")

    @property
    def n_bytes(self) -> int:
        """Bytes asked for (without what burst alignment adds)."""
        return self.row_bytes * self.rows * self.planes

    @property
    def end(self) -> int:
        """One past the last byte touched."""
        return self.base + (self.planes - 1) * self.plane_stride + (self.rows - 1) * self.row_stride + self.row_bytes

    def bursts(self, burst_bytes: int) -> int:
        """How many aligned bursts of `burst_bytes` the pattern takes."""
        if self.rows == 1 and self.planes == 1:
            return (self.base + self.row_bytes - 1) // burst_bytes - self.base // burst_bytes + 1
        planes = self.plane_stride * np.arange(self.planes, dtype=np.int64)
        rows = self.row_stride * np.arange(self.rows, dtype=np.int64)
        begin = (self.base + planes[:, None] + rows[None, :]).ravel()
        first, last = begin // burst_bytes, (begin + self.row_bytes - 1) // burst_bytes
        return int((last - first + 1).sum() - (first[1:] == last[:-1]).sum())


@dataclass
class MemoryStats:
    """What a memory has done so far; a burst is the smallest piece it moves.

    `row_hits + row_misses + row_conflicts` counts each burst once, by the state of its bank when it
    was first served: its row open, no row open, another row open (all zero in models without rows).
    """

    reads: int = 0
    writes: int = 0
    row_hits: int = 0
    row_misses: int = 0
    row_conflicts: int = 0
    activates: int = 0
    precharges: int = 0
    refreshes: int = 0
    busy_clocks: int = 0
    """Clocks in which the data bus moved data, over all channels."""
    clocks: int = 0
    """Clocks that have passed in the memory's own clock."""
    bytes_requested: int = 0
    bytes_moved: int = 0
    """With what alignment to bursts adds."""
    forwarded_reads: int = 0
    """Reads answered out of the write queue."""
    merged_writes: int = 0
    """Writes absorbed by a queued write to the same burst."""
    read_latency_clocks: int = 0
    """Over all reads, acceptance to last data; `read_latency_clocks / (reads + forwarded_reads)` is the mean."""
    read_latency_max_clocks: int = 0

    def as_dict(self) -> dict[str, int]:
        """Plain data, for reports."""
        return asdict(self)


class MemoryModel(Protocol):
    """One memory behind one interface, shared by everyone who has a request id."""

    def submit(self, now: int, request_id: int, address: int, n_bytes: int, is_write: bool, port: int = 0) -> None:
        """Hand over a contiguous transfer at core cycle `now` (never before an earlier `now` or limit)."""

    def submit_pattern(self, now: int, request_id: int, transfer: Transfer, is_write: bool, port: int = 0) -> None:
        """The same for a strided pattern. Transfers of one port begin in order; ports take turns."""

    def submit_runs(self, now: int, request_id: int, runs: tuple[int, ...], is_write: bool, port: int = 0) -> None:
        """`submit_pattern` for the simulator, which knows no `Transfer`: its fields in order."""

    def advance(self, limit: int) -> Completion | None:
        """The next completion at or before core cycle `limit`, or None; afterwards time stands there."""

    def finish(self) -> int:
        """Run until nothing is left to do, posted writes included; the core cycle of the last data.

        Completions not yet collected can still be collected with `advance`.
        """

    def stats(self) -> MemoryStats:
        """Counts so far."""

    def counts(self) -> ActionCounts:
        """Counts so far, as actions that cost energy."""
