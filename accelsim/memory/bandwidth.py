"""Memories without banks: none at all (`ideal`), or a pipe of given width and length (`bandwidth`)."""

from __future__ import annotations

from collections import deque

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.base.units import ceil_div
from accelsim.memory.model import Completion, MemoryStats, Transfer
from accelsim.sim.pipe import Pipe


class BandwidthDram:
    """First come, first served; exact rational bandwidth, then a fixed latency that overlaps.

    A transfer occupies the pipe for `bytes / bandwidth` cycles and is complete `latency_cycles` after
    its last byte has entered. The pipe's time is carried as an exact fraction; only the completion is
    rounded up to a whole cycle, so rounding does not accumulate.

    Parameters
    ----------
    bytes_numerator, bytes_denominator : int
        Bytes per core cycle, as a fraction.
    latency_cycles : int
        Core cycles from the last byte's entry to its arrival.
    burst_bytes : int
        Transfers are rounded out to aligned bursts of this size (1: none).

    Raises
    ------
    ConfigError
        For a bandwidth or burst below 1 or a negative latency.
    """

    def __init__(
        self,
        bytes_numerator: int,
        bytes_denominator: int = 1,
        latency_cycles: int = 0,
        burst_bytes: int = 1,
        where: str = "dram",
    ) -> None:
        if bytes_numerator < 1 or bytes_denominator < 1:
            got = f"{bytes_numerator}/{bytes_denominator}"
            raise ConfigError(f"bandwidth must be a positive fraction of bytes per cycle, got {got}", where)
        if latency_cycles < 0:
            raise ConfigError(f"latency_cycles must be >= 0, got {latency_cycles}", where)
        if burst_bytes < 1:
            raise ConfigError(f"burst_bytes must be >= 1, got {burst_bytes}", where)
        self._numerator = bytes_numerator
        self._denominator = bytes_denominator
        self._latency = latency_cycles
        self._burst_bytes = burst_bytes
        # in units of 1/numerator cycle, in which a byte takes `denominator`
        self._free_at = 0
        self._busy = 0
        self._now = 0
        self._last = 0
        self._done: deque[Completion] = deque()
        self._stats = MemoryStats()
        self._read_bytes = 0
        self._written_bytes = 0

    def submit(self, now: int, request_id: int, address: int, n_bytes: int, is_write: bool, port: int = 0) -> None:
        """See `MemoryModel.submit`."""
        bursts = (address + n_bytes - 1) // self._burst_bytes - address // self._burst_bytes + 1
        self._enter(now, request_id, n_bytes, bursts, is_write)

    def submit_pattern(self, now: int, request_id: int, transfer: Transfer, is_write: bool, port: int = 0) -> None:
        """See `MemoryModel.submit_pattern`; ports share one queue."""
        self._enter(now, request_id, transfer.n_bytes, transfer.bursts(self._burst_bytes), is_write)

    def submit_runs(self, now: int, request_id: int, runs: tuple[int, ...], is_write: bool, port: int = 0) -> None:
        """`submit_pattern` for the simulator, which knows no Transfer: its fields in order."""
        self.submit_pattern(now, request_id, Transfer(*runs), is_write, port)

    def _enter(self, now: int, request_id: int, n_bytes: int, bursts: int, is_write: bool) -> None:
        if now < self._now:
            raise SimulationBug(f"memory: transfer {request_id} comes at cycle {now}, but it is {self._now} already")
        self._now = now
        moved = bursts * self._burst_bytes if self._burst_bytes > 1 else n_bytes
        occupied = moved * self._denominator
        self._free_at = max(self._free_at, now * self._numerator) + occupied
        self._busy += occupied
        self._last = ceil_div(self._free_at, self._numerator) + self._latency
        self._done.append((self._last, request_id))
        self._stats.bytes_requested += n_bytes
        self._stats.bytes_moved += moved
        if is_write:
            self._stats.writes += bursts
            self._written_bytes += moved
        else:
            self._stats.reads += bursts
            self._read_bytes += moved

    def advance(self, limit: int) -> Completion | None:
        """See `MemoryModel.advance`."""
        if self._done and self._done[0][0] <= limit:
            completion = self._done.popleft()
            self._now = max(self._now, completion[0])
            return completion
        self._now = max(self._now, limit)
        return None

    def known_completion(self) -> int:
        """When the transfer submitted last will be complete: nothing that comes later can change it.

        The caller takes the completion over; `advance` will not report it.
        """
        return self._done.pop()[0]

    def pipe(self) -> Pipe:
        """What a kernel needs to play transfers through this model without asking it for each."""
        return Pipe(self._numerator, self._denominator, self._latency, self._burst_bytes)

    def account(self, requested: int, moved: tuple[int, int], bursts: tuple[int, int], last: int) -> None:
        """Take over what a kernel did: bytes asked for, (read, written) bytes and bursts, the last completion."""
        self._stats.bytes_requested += requested
        self._stats.bytes_moved += sum(moved)
        self._stats.reads += bursts[0]
        self._stats.writes += bursts[1]
        self._read_bytes += moved[0]
        self._written_bytes += moved[1]
        self._busy += sum(moved) * self._denominator
        self._now = self._last = last

    def finish(self) -> int:
        """See `MemoryModel.finish`."""
        return self._last

    def stats(self) -> MemoryStats:
        """Counts so far; a `read` or `write` is a burst."""
        self._stats.busy_clocks = ceil_div(self._busy, self._numerator)
        self._stats.clocks = self._now
        return self._stats

    def counts(self) -> ActionCounts:
        """`dram.read_byte` and `dram.write_byte`: a pipe has no rows to activate."""
        result = ActionCounts()
        result.add("dram", "read_byte", self._read_bytes)
        result.add("dram", "write_byte", self._written_bytes)
        return result


class IdealMemory(BandwidthDram):
    """A memory that takes no time: every transfer is complete in the cycle in which it is submitted."""

    def __init__(self) -> None:
        super().__init__(1)

    def pipe(self) -> Pipe:
        """See `BandwidthDram.pipe`."""
        return Pipe(1, ideal=True)

    def account(self, requested: int, moved: tuple[int, int], bursts: tuple[int, int], last: int) -> None:
        """See `BandwidthDram.account`; no time passes."""
        super().account(requested, moved, bursts, last)
        self._busy = 0

    def _enter(self, now: int, request_id: int, n_bytes: int, bursts: int, is_write: bool) -> None:
        super()._enter(now, request_id, n_bytes, bursts, is_write)
        self._done[-1] = (now, request_id)
        self._free_at, self._busy, self._last = 0, 0, now
