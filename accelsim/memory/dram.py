"""A DRAM, cycle by cycle: channels, ranks, bank groups and banks behind one memory controller each.

Outside, time is core cycles and work is transfers; inside, DRAM clocks and bursts. A core cycle n
begins at time n / clock_hz and a DRAM clock d at d * tCK; both conversions round up, in exact integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.base.units import ceil_div
from accelsim.memory import dram_layout as lay
from accelsim.memory.dram_banks import run_banks
from accelsim.memory.dram_energy import energy_pj
from accelsim.memory.dram_kernel import HAS_COMPLETION, LOG_FULL, run
from accelsim.memory.dram_queue import exchange, hand_over
from accelsim.memory.dram_spec import DramConfig, find_standard, load_standard, resolve
from accelsim.memory.dram_state import DramParameters, build_state
from accelsim.memory.model import Completion, MemoryStats, Transfer

_FIRST_SLOTS = 64
_LOG_ROWS = 1 << 14
_TRACE_BATCH = 1 << 10
_FAR = lay.NEVER >> 1


class Dram:
    """The detailed memory model (`MemoryModel`).

    Transfers of a port begin in order and hand over at most one burst per clock to each channel; ports
    take turns. A read never overtakes an older write of the same burst, nor a write an older read.

    Parameters
    ----------
    parameters : DramParameters
        From `dram_spec.resolve`.
    clock_hz : int
        The core clock, in whose cycles the outside counts.
    record : bool
        Keep every command (see `commands`).

    Raises
    ------
    ConfigError
        If `clock_hz` is not positive.
    """

    def __init__(self, parameters: DramParameters, clock_hz: int, record: bool = False, where: str = "dram") -> None:
        if clock_hz < 1:
            raise ConfigError(f"clock_hz must be >= 1, got {clock_hz}", where)
        self.parameters = parameters
        self._where = where
        cycles_per_clock = Fraction(parameters.tCK_ps * clock_hz, 10**12)
        self._numerator, self._denominator = cycles_per_clock.numerator, cycles_per_clock.denominator
        self._m = build_state(parameters)
        self._t = np.zeros((_FIRST_SLOTS, lay.TRANSFER_WORDS), np.int64)
        self._free = list(range(_FIRST_SLOTS - 1, -1, -1))
        self._log = np.zeros((_LOG_ROWS if record else 0, lay.LOG_WORDS), np.int64)
        self._logged: list[np.ndarray] = []
        self._now = 0
        self._bytes_requested = 0

    @classmethod
    def from_config(cls, config: DramConfig, clock_hz: int, record: bool = False, where: str = "dram") -> Dram:
        """A DRAM as a user describes it.

        Raises
        ------
        ConfigError
            As `dram_spec.resolve`.
        """
        return cls(resolve(config, where=where), clock_hz, record, where)

    # --- time ---

    def clock_of(self, cycle: int) -> int:
        """The first DRAM clock at or after the beginning of core cycle `cycle`."""
        return min(ceil_div(cycle * self._denominator, self._numerator), _FAR)

    def cycle_of(self, clock: int) -> int:
        """The first core cycle at or after DRAM clock `clock`."""
        return ceil_div(clock * self._numerator, self._denominator)

    # --- the interface of all memories ---

    def submit(self, now: int, request_id: int, address: int, n_bytes: int, is_write: bool, port: int = 0) -> None:
        """See `MemoryModel.submit`."""
        self.submit_pattern(now, request_id, Transfer(address, n_bytes), is_write, port)

    def submit_pattern(self, now: int, request_id: int, transfer: Transfer, is_write: bool, port: int = 0) -> None:
        """See `MemoryModel.submit_pattern`.

        Raises
        ------
        ConfigError
            If the memory is too small for the address.
        SimulationBug
            For a time in the past or a port that there is not.
        """
        if now < self._now:
            raise SimulationBug(f"memory: transfer {request_id} comes at cycle {now}, but it is {self._now} already")
        if not 0 <= port < self.parameters.ports:
            raise SimulationBug(f"memory: there are {self.parameters.ports} ports, got port {port}")
        self._check_end(transfer.end)
        self._now = now
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._t[slot, :lay.T_PLANES + 1] = (
            transfer.base, is_write, self.clock_of(now), request_id, transfer.row_bytes, transfer.row_stride,
            transfer.rows, transfer.plane_stride, transfer.planes,
        )
        hand_over(self._m, self._t.reshape(-1), slot * lay.TRANSFER_WORDS, port)
        self._bytes_requested += transfer.n_bytes

    def submit_runs(self, now: int, request_id: int, runs: tuple[int, ...], is_write: bool, port: int = 0) -> None:
        """`submit_pattern` for the simulator, which knows no Transfer: its fields in order."""
        self.submit_pattern(now, request_id, Transfer(*runs), is_write, port)

    def advance(self, limit: int) -> Completion | None:
        """See `MemoryModel.advance`."""
        limit_clock = self.clock_of(limit)
        while True:
            done = self._first_done()
            stop = limit_clock
            if done < lay.NEVER:
                # what is known to be complete then ends the run, unless something earlier turns up
                stop = min(stop, self.clock_of(self.cycle_of(done)))
            if self._run(stop, done, 0) != HAS_COMPLETION:
                break
        if done < lay.NEVER and self.cycle_of(done) <= limit:
            self._now = max(self._now, self.cycle_of(done))
            return self.cycle_of(done), self._collect()
        self._now = max(self._now, limit)
        return None

    def finish(self) -> int:
        """See `MemoryModel.finish`."""
        self._run(_FAR, -1, 1)
        return self.cycle_of(self.last_data_clock())

    def settle(self, cycle: int) -> None:
        """Bring the counters up to core cycle `cycle`, unless someone still waits for a transfer."""
        if len(self._free) == len(self._t) and cycle > self._now:
            self.advance(cycle)

    def stats(self) -> MemoryStats:
        """See `MemoryModel.stats`; summed over channels."""
        p, h = self.parameters, lay
        total = np.sum(list(self._channels()), axis=0)
        columns = int(total[h.H_COLUMNS] + total[h.H_COLUMNS + 1])
        return MemoryStats(
            reads=int(total[h.H_COLUMNS]),
            writes=int(total[h.H_COLUMNS + 1]),
            row_hits=int(total[h.H_HITS]),
            row_misses=int(total[h.H_MISSES]),
            row_conflicts=int(total[h.H_CONFLICTS]),
            activates=int(total[h.H_ACTIVATES]),
            precharges=int(total[h.H_PRECHARGES] + total[h.H_PRECHARGE_ALLS] + total[h.H_AUTO_PRECHARGES]),
            refreshes=int(total[h.H_REFRESHES]),
            busy_clocks=columns * p.timing.tBL,
            clocks=int(self._m[h.M_CLOCK]),
            bytes_requested=self._bytes_requested,
            bytes_moved=columns * p.burst_bytes,
            forwarded_reads=int(total[h.H_FORWARDED]),
            merged_writes=int(total[h.H_MERGED]),
            read_latency_clocks=int(total[h.H_LATENCY]),
            read_latency_max_clocks=max(int(c[h.H_LATENCY_MAX]) for c in self._channels()),
        )

    def counts(self, until: int | None = None) -> ActionCounts:
        """Actions of `dram_energy.ACTIONS`; standby is counted to now, or to core cycle `until` if that is later."""
        stats, m = self.stats(), self._m
        clocks = int(m[lay.M_CLOCK])
        if until is not None:
            clocks = max(clocks, self.clock_of(until))
        ranks = self.parameters.channels * self.parameters.ranks
        open_clocks = 0
        first = int(m[m[lay.M_CHANNEL0] + lay.H_RANK0])
        for rank in range(first, first + ranks * lay.RANK_WORDS, lay.RANK_WORDS):
            so_far = int(m[rank + lay.R_OPEN_CLOCKS])
            if m[rank + lay.R_OPEN]:
                so_far += max(0, clocks - int(m[rank + lay.R_OPEN_SINCE]))
            open_clocks += min(so_far, clocks)
        result = ActionCounts()
        result.add("dram", "activate", stats.activates)
        result.add("dram", "read_burst", stats.reads)
        result.add("dram", "write_burst", stats.writes)
        result.add("dram", "refresh", stats.refreshes)
        result.add("dram", "active_standby_clock", open_clocks)
        result.add("dram", "precharge_standby_clock", ranks * clocks - open_clocks)
        return result

    # --- more to look at ---

    def last_data_clock(self) -> int:
        """The DRAM clock at which the last data so far left or reached the devices."""
        t = self.parameters.timing
        ends = [0]
        for channel in self._channels():
            ends.append(int(channel[lay.H_LAST_READ_DATA]))
            if channel[lay.H_COLUMNS + 1]:
                ends.append(int(channel[lay.H_LAST_WRITE]) + t.tCWL + t.tBL)
        return max(ends)

    def last_command_clock(self) -> int:
        """The clock of the last write command or the end of the last read data: where trace simulators stop."""
        return max(max(int(c[lay.H_LAST_READ_DATA]), int(c[lay.H_LAST_WRITE])) for c in self._channels())

    def profile(self) -> tuple[int, np.ndarray]:
        """Clocks per window, and (windows, 3) int64: data clocks of reads and of writes, and row hits, over time."""
        m = self._m
        shift = int(m[lay.M_WINDOW_SHIFT])
        used = (int(m[lay.M_CLOCK]) >> shift) + 1
        at = int(m[lay.M_PROFILE])
        table = m[at:at + lay.PROFILE_WINDOWS * lay.PROFILE_WIDTH].reshape(-1, lay.PROFILE_WIDTH)
        return 1 << shift, table[:min(used, lay.PROFILE_WINDOWS)].copy()

    def commands(self) -> np.ndarray:
        """All commands so far, (n, 6): clock, channel, command (`dram_layout.COMMAND_NAMES`), bank, row, burst.

        Raises
        ------
        SimulationBug
            If commands were not recorded.
        """
        if self._log.shape[0] == 0:
            raise SimulationBug("memory: commands are kept only with record=True")
        self._drain_log()
        empty = np.zeros((0, lay.LOG_WORDS), np.int64)
        return np.concatenate(self._logged) if self._logged else empty

    def run_trace(self, arrivals: np.ndarray, addresses: np.ndarray, writes: np.ndarray, n_bytes: int) -> np.ndarray:
        """Serve a whole trace on port 0, in DRAM clocks: what memory simulators are compared with.

        Parameters
        ----------
        arrivals, addresses, writes : integer arrays, (n,)
            DRAM clock before which a request is not offered (not falling), first byte, 1 for a write.
        n_bytes : int
            Bytes of each request.

        Returns
        -------
        int64 array, (n,)
            DRAM clock of completion of each request.

        Raises
        ------
        SimulationBug
            If this memory has been used before.
        ConfigError
            If the memory is too small.
        """
        if self._m[lay.M_CLOCK] or self._m[lay.M_FEED]:
            raise SimulationBug("memory: a trace needs a memory that has not been used")
        n = len(arrivals)
        if n == 0:
            return np.zeros(0, np.int64)
        self._check_end(int(np.max(addresses)) + n_bytes)
        self._bytes_requested += n * n_bytes
        # so many slots that some are free whenever more requests are wanted, however many wait in queues
        p = self.parameters
        hungry = _TRACE_BATCH + p.channels
        queued = p.channels * (p.read_queue + p.write_queue + p.banks * max(1, p.bank_queue_depth))
        self._t = np.zeros((min(n, 2 * hungry + queued), lay.TRANSFER_WORDS), np.int64)
        self._t[:, [lay.T_ROW_BYTES, lay.T_ROWS, lay.T_PLANES]] = n_bytes, 1, 1
        arrivals, addresses, writes = (np.ascontiguousarray(x, np.int64) for x in (arrivals, addresses, writes))
        done = np.zeros(n, np.int64)
        handed, left = 0, 1
        while left:
            handed = int(exchange(self._m, self._t.reshape(-1), arrivals, addresses, writes, done, handed))
            left = int(self._m[lay.M_FEED] + self._m[lay.M_WORK])
            self._run(_FAR, -1, hungry if handed < n else 1)
        self._free = list(range(len(self._t) - 1, -1, -1))
        return done

    # --- inside ---

    def _check_end(self, end: int) -> None:
        if end > self.parameters.capacity_bytes:
            what = f"has {self.parameters.capacity_bytes} bytes, but a transfer ends at byte {end}"
            raise ConfigError(f"the memory ({self.parameters.name}) {what}", self._where)

    def _first_done(self) -> int:
        head = int(self._m[lay.M_DONE_HEAD])
        return int(self._t[head // lay.TRANSFER_WORDS, lay.T_DONE]) if head >= 0 else lay.NEVER

    def _collect(self) -> int:
        """Take the first finished transfer off the list; its request id."""
        m, t = self._m, self._t
        slot = int(m[lay.M_DONE_HEAD]) // lay.TRANSFER_WORDS
        later = int(t[slot, lay.T_LATER])
        m[lay.M_DONE_HEAD] = later
        if later < 0:
            m[lay.M_DONE_TAIL] = -1
        else:
            t[later // lay.TRANSFER_WORDS, lay.T_EARLIER] = -1
        self._free.append(slot)
        return int(t[slot, lay.T_ID])

    def _run(self, limit: int, first_done: int, feed: int) -> int:
        kernel = run_banks if self.parameters.bank_queue_depth else run
        while True:
            code = int(kernel(self._m, self._t.reshape(-1), self._log, limit, first_done, feed))
            if code != LOG_FULL:
                return code
            self._drain_log()

    def _drain_log(self) -> None:
        n = int(self._m[lay.M_LOGGED])
        if n:
            self._logged.append(self._log[:n].copy())
            self._m[lay.M_LOGGED] = 0

    def _grow(self) -> None:
        old = len(self._t)
        self._t = np.concatenate([self._t, np.zeros_like(self._t)])
        self._free = list(range(2 * old - 1, old - 1, -1))

    def _channels(self) -> Iterator[np.ndarray]:
        first = int(self._m[lay.M_CHANNEL0])
        for c in range(self.parameters.channels):
            yield self._m[first + c * lay.CHANNEL_WORDS:first + (c + 1) * lay.CHANNEL_WORDS]


def energy_table(config: DramConfig, where: str = "dram") -> dict[str, float]:
    """Picojoules of each action that `Dram.counts` counts.

    Raises
    ------
    ConfigError
        If the standard has no public currents.
    """
    table = load_standard(find_standard(config.standard, f"{where}: standard"))
    return energy_pj(table, resolve(config, table, where).timing)
