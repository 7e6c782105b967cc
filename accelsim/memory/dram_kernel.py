"""The controller: which command each channel issues, and the loop that skips the clocks in between.

Order of precedence in a clock: a column command whose row was opened for it; refresh (while one waits,
nothing else begins); then reads, or writes while they are drained. Among the commands that are legal
now the oldest request wins (first ready, first come, first served: Rixner et al., ISCA 2000). The
variant `row_hit` does not close a row for a request while an older one still hits it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.memory.dram_banks import choose_from_banks, choose_refresh_by_banks, move_to_bank
from accelsim.memory.dram_device import Word, Words, column_issue, command_ready, part, row_issue
from accelsim.memory.dram_layout import (
    ACT, BANK_WORDS, B_ACCESSES, B_DEPTH, B_HEAD, B_HIT, B_INDEX, B_MISS, B_OPENED, B_ROW, CHANNEL_WORDS, CLOSES,
    C_ACT_CLOCKS, C_BANK_QUEUES, C_BL, C_CHANNELS, C_CL, C_CLOSED, C_CWL, C_DRAIN_ABOVE, C_DRAIN_BELOW, C_DRAIN_CAP,
    C_DUAL_BUS, C_RANKS, C_REFI, C_ROW_HIT_FIRST, E_ARRIVED, E_BURST, E_COUNTED, E_NEXT, E_ROW, E_SEQUENCE,
    E_TRANSFER, E_WRITE, HITS, H_ACTIVATES, H_AUTO_PRECHARGES, H_BUS, H_COLUMNS, H_COMMAND, H_CONFLICTS, H_DRAINED,
    H_ENTRY, H_FREE, H_HITS, H_INDEX, H_IN_BANKS, H_LAST_WRITE, H_MISSES, H_NEXT, H_OWED, H_PLACE, H_PRECHARGES,
    H_PRECHARGE_ALLS, H_QUEUED, H_RANK0, H_REFRESHES, H_REFRESH_AT, H_REFRESH_RANK, H_REFRESH_WAITS, H_WRITING,
    INDEX, M_CHANNEL0, M_CLOCK, M_DONE_HEAD, M_FEED, M_LOGGED, M_PROFILE, M_TAKE, M_WINDOW_SHIFT, M_WORK, NEVER,
    NONE, OPENED, OPENS, PRE, PREA, PROFILE_WIDTH, PROFILE_WINDOWS, RANK_WORDS, RD, RDA, REF, R_ACT, R_BANK0,
    R_BANKS, R_COUNT, R_LISTS, R_OPEN, R_PRE, T_DONE, T_OPEN, T_WAITS,
)
from accelsim.memory.dram_queue import (
    classify, count_read, enlist, filter_slot, finish_transfer, remove, rescan, take_bursts, unlink,
)

Table = Any  # a two-dimensional int64 array

REACHED_LIMIT = 0
HAS_COMPLETION = 1
LOG_FULL = 2
COLUMN_BUS = 1
ROW_BUS = 2


@part
def _choose_refresh(m: Words, channel: Word, clock: Word) -> Word:
    """The next command of the refresh that waits: -1 if it is chosen, else the clock at which it may be."""
    channel &= INDEX
    rank = m[channel + H_REFRESH_RANK] & INDEX
    command = PREA if m[rank + R_OPEN] > 0 else REF
    if command == PREA and m[rank + R_COUNT + OPENED] > 0:
        return NEVER
    ready = max(command_ready(m, command, rank), m[channel + H_BUS])
    if ready > clock:
        return ready
    m[channel + H_COMMAND] = command
    m[channel + H_PLACE] = rank
    return -1


@part
def _choose_column(m: Words, channel: Word, clock: Word, which: Word, field: Word) -> Word:
    """Choose the oldest legal column command among list `which`, whose requests stand in `field`; as `_choose`."""
    channel &= INDEX
    which &= 7
    field &= INDEX
    later, oldest, best = NEVER, NEVER, NONE
    rank = m[channel + H_RANK0] & INDEX
    for _ in range(m[C_RANKS]):
        at = m[rank + R_LISTS] + which * m[rank + R_BANKS]
        for k in range(m[rank + R_COUNT + which]):
            bank = m[(at + k) & INDEX] & INDEX
            entry = m[bank + field] & INDEX
            ready = command_ready(m, RD + m[entry + E_WRITE], bank)
            if ready > clock:
                later = min(later, ready)
            elif m[entry + E_SEQUENCE] < oldest:
                oldest, best = m[entry + E_SEQUENCE], bank
        rank += RANK_WORDS
    if best == 0:
        return later
    entry = m[best + field] & INDEX
    m[channel + H_ENTRY] = entry
    m[channel + H_PLACE] = best
    m[channel + H_COMMAND] = RD + m[entry + E_WRITE]
    return -1


@part
def _choose_row(m: Words, channel: Word, clock: Word, kind: Word, before: Word) -> Word:
    """Choose the oldest legal row command for a request older than `before`; as `_choose`."""
    channel &= INDEX
    kind &= 1
    later, oldest, best = NEVER, before, NONE
    bus = m[channel + H_BUS]
    rank = m[channel + H_RANK0] & INDEX
    for _ in range(m[C_RANKS]):
        count = m[rank + R_COUNT + CLOSES + kind]
        gate = max(bus, m[rank + R_PRE])
        if count > 0 and gate > clock:
            later = min(later, gate)
        elif count > 0:
            at = m[rank + R_LISTS] + (CLOSES + kind) * m[rank + R_BANKS]
            for k in range(count):
                bank = m[(at + k) & INDEX] & INDEX
                age = m[(m[bank + B_MISS + kind] & INDEX) + E_SEQUENCE]
                hit = m[bank + B_HIT + kind] & INDEX
                if hit != 0 and m[C_ROW_HIT_FIRST] and m[hit + E_SEQUENCE] < age:
                    continue
                ready = command_ready(m, PRE, bank)
                if ready > clock:
                    later = min(later, ready)
                elif age < oldest:
                    oldest, best = age, bank
        count = m[rank + R_COUNT + OPENS + kind]
        gate = max(bus, m[rank + R_ACT])
        if count > 0 and gate > clock:
            later = min(later, gate)
        elif count > 0:
            at = m[rank + R_LISTS] + (OPENS + kind) * m[rank + R_BANKS]
            for k in range(count):
                bank = m[(at + k) & INDEX] & INDEX
                ready = command_ready(m, ACT, bank)
                age = m[(m[bank + B_MISS + kind] & INDEX) + E_SEQUENCE]
                if ready > clock:
                    later = min(later, ready)
                elif age < oldest:
                    oldest, best = age, bank
        rank += RANK_WORDS
    if best == 0:
        return later
    m[channel + H_ENTRY] = m[best + B_MISS + kind]
    m[channel + H_PLACE] = best
    m[channel + H_COMMAND] = PRE if m[best + B_ROW] >= 0 else ACT
    return -1


@part
def _choose(m: Words, channel: Word, clock: Word, buses: Word) -> Word:
    """Choose a command for one of `buses` at `clock`: -1 if there is one, else a clock before which there is none."""
    channel &= INDEX
    if buses == COLUMN_BUS + ROW_BUS and m[channel + H_BUS] > clock:
        return m[channel + H_BUS]
    later, found = NEVER, NEVER
    if buses & COLUMN_BUS:
        later = _choose_column(m, channel, clock, OPENED, B_OPENED + NONE)
        if later < 0:
            return later
    if m[channel + H_REFRESH_WAITS] > 0:
        return min(later, _choose_refresh(m, channel, clock)) if buses & ROW_BUS else later
    kind = m[channel + H_WRITING] & 1
    oldest = NEVER
    if buses & COLUMN_BUS:
        found = _choose_column(m, channel, clock, HITS + kind, B_HIT + kind)
        if found < 0:
            oldest = m[(m[channel + H_ENTRY] & INDEX) + E_SEQUENCE]
        later = min(later, found)
    if buses & ROW_BUS:
        later = min(later, _choose_row(m, channel, clock, kind, oldest))
    return later


@part
def _next_of_banks(m: Words, channel: Word, clock: Word, first: Word) -> Word:
    """As `_choose`, with bank queues: any command, or in the second pass one that is for the other bus than `first`."""
    channel &= INDEX
    later = NEVER
    if first < 0 and m[channel + H_REFRESH_WAITS] > 0:
        later = choose_refresh_by_banks(m, channel, clock)
        if later < 0:
            return later
    # in a second pass a bus that is taken still uses up the turn, as in DRAMsim3
    bus = NONE if 0 <= first < RD else m[channel + H_BUS]
    later = min(later, choose_from_banks(m, channel, clock, bus))
    if later < 0 and first >= 0 and (first >= RD) == (m[channel + H_COMMAND] >= RD):
        return clock + 1
    return later


@part
def _direct(m: Words, channel: Word) -> None:
    """Drain writes from above the high mark, or when nobody reads, to below the low mark or for so long at most."""
    channel &= INDEX
    reads, writes = m[channel + H_QUEUED], m[channel + H_QUEUED + 1]
    if m[channel + H_WRITING] == 0:
        if reads == 0 or writes > m[C_DRAIN_ABOVE] and m[channel + H_OWED] == 0:
            m[channel + H_WRITING] = 1
            m[channel + H_DRAINED] = 0
    elif reads != 0 and (writes < m[C_DRAIN_BELOW] or m[channel + H_DRAINED] >= m[C_DRAIN_CAP]):
        m[channel + H_WRITING] = 0
        m[channel + H_OWED] = 0 if writes < m[C_DRAIN_BELOW] else reads


@part
def _profile(m: Words, clock: Word, write: Word, hit: Word) -> None:
    """Count data clocks and hits by window of time; windows double when time runs out of them."""
    while (clock >> m[M_WINDOW_SHIFT]) >= PROFILE_WINDOWS:
        half = PROFILE_WINDOWS // 2
        for i in range(PROFILE_WINDOWS):
            for k in range(PROFILE_WIDTH):
                at = (m[M_PROFILE] & INDEX) + k
                value = NONE
                if i < half:
                    value = m[at + 2 * i * PROFILE_WIDTH] + m[at + (2 * i + 1) * PROFILE_WIDTH]
                m[at + i * PROFILE_WIDTH] = value
        m[M_WINDOW_SHIFT] += 1
    at = (m[M_PROFILE] + (clock >> m[M_WINDOW_SHIFT]) * PROFILE_WIDTH) & INDEX
    m[at + write] += m[C_BL]
    m[at + 2] += hit


@part
def _serve(m: Words, t: Table, channel: Word, clock: Word) -> Word:
    """H_ENTRY leaves the controller with its column command, which is returned."""
    channel &= INDEX
    bank, entry = m[channel + H_PLACE] & INDEX, m[channel + H_ENTRY] & INDEX
    write = m[entry + E_WRITE] & 1
    hit = 1 - m[entry + E_COUNTED]
    m[channel + H_HITS] += hit
    wanted = NONE
    if m[C_BANK_QUEUES]:
        remove(m, bank + B_HEAD, entry)
        m[bank + B_DEPTH] -= 1
        m[bank + B_ACCESSES] += 1
        m[channel + H_IN_BANKS] -= 1
        wanted = m[bank + B_HEAD] & INDEX
        while wanted != 0 and m[wanted + E_ROW] != m[bank + B_ROW]:
            wanted = m[wanted + E_NEXT] & INDEX
    else:
        if m[channel + H_QUEUED] > 0:
            m[channel + H_DRAINED] += write
        if entry == m[bank + B_OPENED]:
            m[bank + B_OPENED] = 0
            enlist(m, bank, OPENED, NONE)
            classify(m, bank, NONE)
            classify(m, bank, NONE + 1)
        else:
            unlink(m, channel, bank, entry)
        wanted = m[bank + B_HIT] + m[bank + B_HIT + 1] + m[bank + B_OPENED]
    command = RD + write
    if m[C_CLOSED] and wanted == 0:
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
        i &= INDEX
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
def _before_row(m: Words, channel: Word, clock: Word) -> None:
    """Account for the row command that was chosen; with ACT its request leaves the queue."""
    channel &= INDEX
    command, place, entry = m[channel + H_COMMAND], m[channel + H_PLACE] & INDEX, m[channel + H_ENTRY] & INDEX
    m[channel + H_BUS] = clock + 1
    if command == PRE:
        m[channel + H_PRECHARGES] += 1
        if entry != 0:  # else for a refresh
            m[channel + H_CONFLICTS] += 1 - m[entry + E_COUNTED]
            m[entry + E_COUNTED] = 1
    elif command == ACT:
        m[channel + H_MISSES] += 1 - m[entry + E_COUNTED]
        m[channel + H_ACTIVATES] += 1
        m[entry + E_COUNTED] = 1
        m[channel + H_BUS] = clock + m[C_ACT_CLOCKS]
        if m[C_BANK_QUEUES]:
            m[place + B_ACCESSES] = 0
        else:
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
def _made_room(m: Words, clock: Word) -> None:
    """Ports may try again in the next clock."""
    if m[M_FEED] > 0:
        m[M_TAKE] = min(m[M_TAKE], clock + 1)


@part
def _perform(m: Words, t: Table, channel: Word, clock: Word) -> Word:
    """Issue the chosen command, and let ports try again if it made room; returns what was issued."""
    channel &= INDEX
    command, place = m[channel + H_COMMAND], m[channel + H_PLACE] & INDEX
    if command >= RD:
        command = _serve(m, t, channel, clock)
        column_issue(m, command, place, clock)
        if command >= RDA and m[C_BANK_QUEUES] == 0:
            rescan(m, place)
    else:
        _before_row(m, channel, clock)
        row_issue(m, command, place, clock, m[(m[channel + H_ENTRY] & INDEX) + E_ROW])
        if m[C_BANK_QUEUES] == 0 and command <= ACT:
            rescan(m, place)
        elif command == PREA:
            bank = m[place + R_BANK0]
            for _ in range(m[place + R_BANKS]):
                rescan(m, bank)
                bank += BANK_WORDS
    if command >= RD or command == ACT:
        _made_room(m, clock)
    return command


@part
def _record(m: Words, log: Table, channel: Word, clock: Word, command: Word) -> None:
    """Write the command that was issued into the log."""
    n, place, entry = m[M_LOGGED], m[channel + H_PLACE], m[channel + H_ENTRY]
    whole_rank = command == PREA or command == REF
    log[n, 0] = clock
    log[n, 1] = m[channel + H_INDEX]
    log[n, 2] = command
    log[n, 3] = m[m[place + R_BANK0] + B_INDEX] if whole_rank else m[place + B_INDEX]
    log[n, 4] = -1
    log[n, 5] = -1
    if entry != 0 and not whole_rank:
        log[n, 4] = m[entry + E_ROW]
        log[n, 5] = m[entry + E_BURST]
    m[M_LOGGED] = n + 1


@kernel(_nrt=False)
def run(m: Words, t: Table, log: Table, limit: Word, first_done: Word, until_idle: Word) -> Word:
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
        if head >= 0 and t[head & INDEX, T_DONE] < first_done:
            return HAS_COMPLETION
        if until_idle and m[M_WORK] == 0 and m[M_FEED] == 0:
            return REACHED_LIMIT
        clock = m[M_TAKE]
        channel = m[M_CHANNEL0] & INDEX
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
        for c in range(channels):
            channel = (m[M_CHANNEL0] + c * CHANNEL_WORDS) & INDEX
            if m[channel + H_NEXT] > clock:
                continue
            if m[channel + H_REFRESH_AT] == clock:
                m[channel + H_REFRESH_AT] += m[C_REFI]
                m[channel + H_REFRESH_WAITS] += m[C_RANKS]
            later = m[channel + H_REFRESH_AT]
            if m[C_BANK_QUEUES] and move_to_bank(m, channel):
                later = clock + 1
                _made_room(m, clock)
            # the column bus first, then the row bus; a single bus is both in one pass
            buses = COLUMN_BUS if dual else COLUMN_BUS + ROW_BUS
            first = NONE - 1
            while buses <= COLUMN_BUS + ROW_BUS:
                if m[C_BANK_QUEUES]:
                    found = _next_of_banks(m, channel, clock, first)
                    first = m[channel + H_COMMAND]
                else:
                    _direct(m, channel)
                    found = _choose(m, channel, clock, buses)
                if found < 0:
                    command = _perform(m, t, channel, clock)
                    if log.shape[0] > 0:
                        _record(m, log, channel, clock, command)
                    later = clock + 1
                else:
                    later = min(later, found)
                    if m[C_BANK_QUEUES]:
                        break
                buses = ROW_BUS if buses == COLUMN_BUS else 4
            m[channel + H_NEXT] = later
        m[M_CLOCK] = clock


@run.warms_up_with
def _run_example() -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]:
    from accelsim.memory.dram_state import example_state

    return *example_state(), 100, NEVER, 0
