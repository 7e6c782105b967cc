"""The controller: which command each channel issues, and the loop that skips the clocks in between.

Order of precedence in a clock: a column command whose row was opened for it; refresh (while one waits,
nothing else begins); then reads, or writes while they are drained. Among the commands that are legal
now the oldest request wins (first ready, first come, first served: Rixner et al., ISCA 2000). The
variant `row_hit` does not close a row for a request while an older one still hits it.
"""

from __future__ import annotations

from typing import Any

from accelsim.base.kernels import kernel
from accelsim.memory.dram_device import column_issue, command_ready, part, row_issue
from accelsim.memory.dram_layout import (
    ACT, BANK_WORDS, B_HIT, B_INDEX, B_MISS, B_OPENED, CHANNEL_WORDS, CLOSES, C_ACT_CLOCKS, C_BL, C_CHANNELS, C_CL,
    C_CLOSED, C_CWL, C_DRAIN_ABOVE, C_DRAIN_BELOW, C_DRAIN_CAP, C_DUAL_BUS, C_RANKS, C_REFI, C_ROW_HIT_FIRST,
    E_ARRIVED, E_BURST, E_COUNTED, E_NEXT, E_ROW, E_SEQUENCE, E_TRANSFER, E_WRITE, HITS, H_ACTIVATES,
    H_AUTO_PRECHARGES, H_BUS, H_COLUMNS, H_COMMAND, H_CONFLICTS, H_DRAINED, H_ENTRY, H_FREE, H_HITS, H_INDEX,
    H_LAST_WRITE, H_LATER, H_MISSES, H_NEXT, H_OLDEST, H_PLACE, H_PRECHARGES, H_PRECHARGE_ALLS, H_QUEUED, H_RANK0,
    H_REFRESHES, H_REFRESH_AT, H_REFRESH_RANK, H_REFRESH_WAITS, H_WRITING, M_CHANNEL0, M_CLOCK, M_DONE_HEAD, M_FEED,
    M_LOGGED, M_PROFILE, M_TAKE, M_WINDOW_SHIFT, M_WORK, NEVER, NONE, OPENED, OPENS, PRE, PREA, PROFILE_WIDTH,
    PROFILE_WINDOWS, RANK_WORDS, RD, RDA, REF, R_ACT, R_BANK0, R_BANKS, R_COUNT, R_LISTS, R_OPEN, R_PRE, T_DONE,
    T_OPEN, T_WAITS,
)
from accelsim.memory.dram_queue import classify, count_read, enlist, filter_slot, finish_transfer, rescan, take_bursts, unlink

Words = Any  # a one-dimensional int64 array
Table = Any  # a two-dimensional int64 array

REACHED_LIMIT = 0
HAS_COMPLETION = 1
LOG_FULL = 2
COLUMN_BUS = 1
ROW_BUS = 2


@part
def _choose_refresh(m: Words, channel: int, clock: int) -> None:
    """Choose the next command of the refresh that waits, if it is legal."""
    rank = m[channel + H_REFRESH_RANK]
    command = PREA if m[rank + R_OPEN] > 0 else REF
    if command == PREA and m[rank + R_COUNT + OPENED] > 0:
        return
    ready = max(command_ready(m, command, rank), m[channel + H_BUS])
    if ready > clock:
        m[channel + H_LATER] = min(m[channel + H_LATER], ready)
    else:
        m[channel + H_COMMAND] = command
        m[channel + H_PLACE] = rank
        m[channel + H_OLDEST] = 0


@part
def _scan(m: Words, channel: int, rank: int, which: int, base: int, field: int, clock: int) -> None:
    """Among the banks on list `which`, each with its request in `field`, find the oldest whose command is legal.

    `base` is the command, or RD for the column command of the request's kind.
    """
    at = m[rank + R_LISTS] + which * m[rank + R_BANKS]
    oldest = m[channel + H_OLDEST]
    for _ in range(m[rank + R_COUNT + which]):
        bank = m[at]
        at += 1
        entry = m[bank + field]
        command = RD + m[entry + E_WRITE] if base == RD else base
        if base == PRE and m[C_ROW_HIT_FIRST]:
            hit = m[bank + field - B_MISS + B_HIT]
            if hit != 0 and m[hit + E_SEQUENCE] < m[entry + E_SEQUENCE]:
                continue
        ready = command_ready(m, command, bank)
        if ready > clock:
            m[channel + H_LATER] = min(m[channel + H_LATER], ready)
        elif m[entry + E_SEQUENCE] < oldest:
            oldest = m[entry + E_SEQUENCE]
            m[channel + H_COMMAND] = command
            m[channel + H_PLACE] = bank
            m[channel + H_ENTRY] = entry
    m[channel + H_OLDEST] = oldest


@part
def _choose(m: Words, channel: int, clock: int, buses: int) -> None:
    """Choose a command for one of `buses` at `clock`; H_OLDEST tells whether there is one, H_LATER when one may be."""
    bus = m[channel + H_BUS]
    m[channel + H_OLDEST] = NEVER
    m[channel + H_LATER] = NEVER
    if buses == COLUMN_BUS + ROW_BUS and bus > clock:
        m[channel + H_LATER] = bus
        return
    kind = m[channel + H_WRITING]
    end = m[channel + H_RANK0] + m[C_RANKS] * RANK_WORDS
    if buses & COLUMN_BUS:
        for rank in range(m[channel + H_RANK0], end, RANK_WORDS):
            _scan(m, channel, rank, OPENED, RD, B_OPENED + NONE, clock)
        if m[channel + H_OLDEST] < NEVER:
            return
    if m[channel + H_REFRESH_WAITS] > 0:
        if buses & ROW_BUS:
            _choose_refresh(m, channel, clock)
        return
    for rank in range(m[channel + H_RANK0], end, RANK_WORDS):
        if buses & COLUMN_BUS:
            _scan(m, channel, rank, HITS + kind, RD, B_HIT + kind, clock)
        if buses & ROW_BUS:
            if max(bus, m[rank + R_PRE]) <= clock:
                _scan(m, channel, rank, CLOSES + kind, PRE, B_MISS + kind, clock)
            elif m[rank + R_COUNT + CLOSES + kind] > 0:
                m[channel + H_LATER] = min(m[channel + H_LATER], max(bus, m[rank + R_PRE]))
            if max(bus, m[rank + R_ACT]) <= clock:
                _scan(m, channel, rank, OPENS + kind, ACT, B_MISS + kind, clock)
            elif m[rank + R_COUNT + OPENS + kind] > 0:
                m[channel + H_LATER] = min(m[channel + H_LATER], max(bus, m[rank + R_ACT]))


@part
def _direct(m: Words, channel: int) -> None:
    """Drain writes from above the high mark, or when nobody reads, to below the low mark."""
    reads, writes = m[channel + H_QUEUED], m[channel + H_QUEUED + 1]
    if m[channel + H_WRITING] == 0:
        if writes > m[C_DRAIN_ABOVE] or reads == 0:
            m[channel + H_WRITING] = 1
            m[channel + H_DRAINED] = 0
    elif reads != 0 and (writes < m[C_DRAIN_BELOW] or m[channel + H_DRAINED] >= m[C_DRAIN_CAP]):
        m[channel + H_WRITING] = 0


@part
def _profile(m: Words, clock: int, write: int, hit: int) -> None:
    """Count data clocks and hits by window of time; windows double when time runs out of them."""
    while (clock >> m[M_WINDOW_SHIFT]) >= PROFILE_WINDOWS:
        half = PROFILE_WINDOWS // 2
        for i in range(PROFILE_WINDOWS):
            for k in range(PROFILE_WIDTH):
                at = m[M_PROFILE] + k
                value = NONE
                if i < half:
                    value = m[at + 2 * i * PROFILE_WIDTH] + m[at + (2 * i + 1) * PROFILE_WIDTH]
                m[at + i * PROFILE_WIDTH] = value
        m[M_WINDOW_SHIFT] += 1
    at = m[M_PROFILE] + (clock >> m[M_WINDOW_SHIFT]) * PROFILE_WIDTH
    m[at + write] += m[C_BL]
    m[at + 2] += hit


@part
def _serve(m: Words, t: Table, channel: int, clock: int) -> int:
    """H_ENTRY leaves the controller with its column command, which is returned."""
    bank, entry = m[channel + H_PLACE], m[channel + H_ENTRY]
    write = m[entry + E_WRITE]
    hit = 1 - m[entry + E_COUNTED]
    m[channel + H_HITS] += hit
    if entry == m[bank + B_OPENED]:
        m[bank + B_OPENED] = 0
        enlist(m, bank, OPENED, NONE)
        classify(m, bank, NONE)
        classify(m, bank, NONE + 1)
    else:
        if m[channel + H_QUEUED] > 0:
            m[channel + H_DRAINED] += write
        unlink(m, channel, bank, entry)
    command = RD + write
    if m[C_CLOSED] and m[bank + B_HIT] == 0 and m[bank + B_HIT + 1] == 0 and m[bank + B_OPENED] == 0:
        command = RDA + write
        m[channel + H_AUTO_PRECHARGES] += 1
    m[channel + H_COLUMNS + write] += 1
    _profile(m, clock, write, hit)
    if write:
        m[channel + H_LAST_WRITE] = clock
        done = clock + m[C_CWL] + m[C_BL]
    else:
        done = clock + m[C_CL] + m[C_BL]
        count_read(m, channel, m[entry + E_ARRIVED], done)
    i = m[entry + E_TRANSFER]
    if i >= 0:
        t[i, T_WAITS] -= 1
        t[i, T_DONE] = max(t[i, T_DONE], done)
        if t[i, T_WAITS] == 0 and t[i, T_OPEN] == 0:
            finish_transfer(m, t, i)
    m[entry + E_NEXT] = m[channel + H_FREE]
    m[channel + H_FREE] = entry
    m[M_WORK] -= 1
    m[filter_slot(m, channel, write, m[entry + E_BURST])] -= 1
    return command


@part
def _before_row(m: Words, channel: int, clock: int) -> None:
    """Account for the row command that was chosen; with ACT its request leaves the queue."""
    command, place, entry = m[channel + H_COMMAND], m[channel + H_PLACE], m[channel + H_ENTRY]
    m[channel + H_BUS] = clock + 1
    if command == PRE:
        m[channel + H_CONFLICTS] += 1 - m[entry + E_COUNTED]
        m[channel + H_PRECHARGES] += 1
        m[entry + E_COUNTED] = 1
    elif command == ACT:
        m[channel + H_MISSES] += 1 - m[entry + E_COUNTED]
        m[channel + H_ACTIVATES] += 1
        m[entry + E_COUNTED] = 1
        m[channel + H_BUS] = clock + m[C_ACT_CLOCKS]
        unlink(m, channel, place, entry)
        m[place + B_OPENED] = entry
        enlist(m, place, OPENED, entry)
    elif command == PREA:
        m[channel + H_PRECHARGE_ALLS] += 1
    else:
        m[channel + H_REFRESHES] += 1
        m[channel + H_REFRESH_WAITS] -= 1
        rank = place + RANK_WORDS
        if rank == m[channel + H_RANK0] + m[C_RANKS] * RANK_WORDS:
            rank = m[channel + H_RANK0]
        m[channel + H_REFRESH_RANK] = rank


@part
def _perform(m: Words, t: Table, channel: int, clock: int) -> int:
    """Issue the chosen command, and let ports try again if it made room; returns what was issued."""
    command, place = m[channel + H_COMMAND], m[channel + H_PLACE]
    if command >= RD:
        command = _serve(m, t, channel, clock)
        column_issue(m, command, place, clock)
        if command >= RDA:
            rescan(m, place)
    else:
        _before_row(m, channel, clock)
        row_issue(m, command, place, clock, m[m[channel + H_ENTRY] + E_ROW])
        if command <= ACT:
            rescan(m, place)
        else:
            bank = m[place + R_BANK0]
            for _ in range(m[place + R_BANKS]):
                rescan(m, bank)
                bank += BANK_WORDS
    if m[M_FEED] > 0 and (command >= RD or command == ACT):
        m[M_TAKE] = min(m[M_TAKE], clock + 1)
    return command


@part
def _record(m: Words, log: Table, channel: int, clock: int, command: int) -> None:
    """Write the command that was issued into the log."""
    n, place, entry = m[M_LOGGED], m[channel + H_PLACE], m[channel + H_ENTRY]
    whole_rank = command == PREA or command == REF
    log[n, 0] = clock
    log[n, 1] = m[channel + H_INDEX]
    log[n, 2] = command
    log[n, 3] = m[m[place + R_BANK0] + B_INDEX] if whole_rank else m[place + B_INDEX]
    log[n, 4] = -1 if whole_rank else m[entry + E_ROW]
    log[n, 5] = -1 if whole_rank else m[entry + E_BURST]
    m[M_LOGGED] = n + 1


@kernel(_nrt=False)
def run(m: Words, t: Table, log: Table, limit: int, first_done: int, until_idle: int) -> int:
    """Advance to the end of clock `limit`, or to the first reason to stop before.

    Parameters
    ----------
    m, t : int64 arrays
        State (see dram_layout) and transfer table (rows of TRANSFER_WORDS).
    log : int64 array, (n, LOG_WORDS)
        Receives commands; n = 0 switches the log off.
    first_done : int
        Stop when a completion before this clock becomes known.
    until_idle : int
        Stop when no burst waits anywhere.

    Returns
    -------
    REACHED_LIMIT, HAS_COMPLETION or LOG_FULL.
    """
    channels = m[C_CHANNELS]
    dual = m[C_DUAL_BUS]
    while True:
        head = m[M_DONE_HEAD]
        if head >= 0 and t[head, T_DONE] < first_done:
            return HAS_COMPLETION
        if until_idle and m[M_WORK] == 0 and m[M_FEED] == 0:
            return REACHED_LIMIT
        clock = m[M_TAKE]
        channel = m[M_CHANNEL0]
        for _ in range(channels):
            clock = min(clock, m[channel + H_NEXT])
            channel += CHANNEL_WORDS
        if clock > limit:
            m[M_CLOCK] = max(m[M_CLOCK], limit)
            return REACHED_LIMIT
        if log.shape[0] > 0 and log.shape[0] - m[M_LOGGED] < 2 * channels:
            return LOG_FULL
        if m[M_TAKE] <= clock:
            take_bursts(m, t, clock - 1)
        channel = m[M_CHANNEL0] - CHANNEL_WORDS
        for _ in range(channels):
            channel += CHANNEL_WORDS
            if m[channel + H_NEXT] > clock:
                continue
            if m[channel + H_REFRESH_AT] == clock:
                m[channel + H_REFRESH_AT] += m[C_REFI]
                m[channel + H_REFRESH_WAITS] += m[C_RANKS]
            later = m[channel + H_REFRESH_AT]
            # the column bus first, then the row bus; a single bus is both in one pass
            buses = COLUMN_BUS if dual else COLUMN_BUS + ROW_BUS
            while buses <= COLUMN_BUS + ROW_BUS:
                _direct(m, channel)
                _choose(m, channel, clock, buses)
                if m[channel + H_OLDEST] < NEVER:
                    command = _perform(m, t, channel, clock)
                    if log.shape[0] > 0:
                        _record(m, log, channel, clock, command)
                    later = clock + 1
                else:
                    later = min(later, m[channel + H_LATER])
                buses = ROW_BUS if buses == COLUMN_BUS else 4
            m[channel + H_NEXT] = later
        m[M_CLOCK] = clock
