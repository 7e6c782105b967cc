"""The controller: which command each channel issues, and the loop that skips the clocks in between.

Order of precedence in a clock: a column command whose row was opened for it; refresh (while one waits,
nothing else begins); then reads, or writes while they are drained. Among the commands that are legal
now the oldest request wins (first ready, first come, first served: Rixner et al., ISCA 2000). The
variant `row_hit` does not close a row for a request while an older one still hits it.

A channel is looked at only in clocks in which something may be possible: after each look it is put off
to the first clock at which a bank on one of its lists may be ready; a request that does more than join
others in a list brings that forward.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.base.words import Table, Word, Words, part, rare_part
from accelsim.memory.dram_device import column_issue, command_ready, row_issue
from accelsim.memory.dram_layout import (
    ACT, BANK_WORDS, B_ACT, B_COLUMN, B_GROUP, B_HIT, B_INDEX, B_MISS, B_NEEDS, B_OPENED, B_PRE, B_RANK, B_ROW,
    CHANNEL_WORDS, CLOSES, C_ACT_CLOCKS, C_CHANNELS, C_CLOSED, C_DRAIN_BELOW, C_DUAL_BUS, C_RANKS, C_REFI,
    C_ROW_HIT_FIRST, E_BURST, E_COUNTED, E_NEXT, E_ROW, E_SEQUENCE, E_WRITE, G_ACT, G_COLUMN, HITS, H_ACTIVATES,
    H_AUTO_PRECHARGES, H_BUS, H_COMMAND, H_CONFLICTS, H_DRAINED, H_ENTRY, H_INDEX, H_MISSES, H_NEXT, H_OWED, H_PLACE,
    H_PRECHARGES, H_PRECHARGE_ALLS, H_QUEUED, H_RANK0, H_REFRESHES, H_REFRESH_AT, H_REFRESH_RANK, H_REFRESH_WAITS,
    H_WRITING, M_CHANNEL0, M_CLOCK, M_DONE_HEAD, M_FEED, M_LOGGED, M_TAKE, M_WORK, NEVER, OPENED, PRE,
    PREA, RANK_WORDS, RD, RDA, REF, R_ACT, R_BANK0, R_BANKS, R_COLUMN, R_COUNT, R_LISTS, R_OPEN, R_PRE, R_SOON,
    T_DONE,
)
from accelsim.memory.dram_lists import leave, next_hit, settle, toggle, turns
from accelsim.memory.dram_queue import complete, made_room, take_bursts

REACHED_LIMIT = 0
HAS_COMPLETION = 1
LOG_FULL = 2
COLUMN_BUS = 1
ROW_BUS = 2


@rare_part
def _choose_refresh(m: Words, channel: Word, clock: Word) -> Word:
    """Choose the next command of the refresh that waits; 1 if it is legal."""
    rank = m[channel + H_REFRESH_RANK]
    command = PREA if m[rank + R_OPEN] > 0 else REF
    if command == PREA and m[rank + R_COUNT + OPENED] > 0 or m[channel + H_BUS] > clock:
        return 0
    if command_ready(m, command, rank) > clock:
        return 0
    m[channel + H_COMMAND] = command
    m[channel + H_PLACE] = rank
    return 1


@part
def _choose_column(m: Words, channel: Word, clock: Word) -> Word:
    """Choose the oldest legal column command; its age, NEVER if there is none, -1 if its row was opened for it."""
    which, field = OPENED, B_OPENED
    while True:
        oldest, best = NEVER, 0
        rank = m[channel + H_RANK0]
        for _ in range(m[C_RANKS]):
            count = m[rank + R_COUNT + which]
            if count > 0 and m[rank + R_SOON + which] <= clock:
                soon = NEVER
                at = m[rank + R_LISTS] + which * m[rank + R_BANKS]
                for k in range(count):
                    bank = m[at + k]
                    entry = m[bank + field]
                    write = m[entry + E_WRITE] & 1
                    ready = max(m[bank + B_COLUMN + write], m[m[bank + B_GROUP] + G_COLUMN + write])
                    soon = min(soon, ready)
                    if ready <= clock and m[rank + R_COLUMN + write] <= clock and m[entry + E_SEQUENCE] < oldest:
                        oldest, best = m[entry + E_SEQUENCE], bank
                m[rank + R_SOON + which] = soon
            rank += RANK_WORDS
        if best != 0:
            entry = m[best + field]
            m[channel + H_ENTRY] = entry
            m[channel + H_PLACE] = best
            m[channel + H_COMMAND] = RD + m[entry + E_WRITE]
            return oldest if which != OPENED else -1
        if which != OPENED or m[channel + H_REFRESH_WAITS] > 0:
            return NEVER
        _direct(m, channel)
        kind = m[channel + H_WRITING] & 1
        which, field = HITS + kind, B_HIT + kind


@part
def _choose_row(m: Words, channel: Word, clock: Word, kind: Word, before: Word) -> Word:
    """Choose the oldest legal row command for a request older than `before`; its age, or `before`."""
    kind &= 1
    oldest, best = before, 0
    rank = m[channel + H_RANK0]
    for _ in range(m[C_RANKS]):
        for opens in range(2):
            which = CLOSES + 2 * opens + kind
            if m[rank + R_COUNT + which] == 0 or m[rank + R_SOON + which] > clock or m[rank + R_PRE - opens] > clock:
                continue
            soon = NEVER
            at = m[rank + R_LISTS] + which * m[rank + R_BANKS]
            for k in range(m[rank + R_COUNT + which]):
                bank = m[at + k]
                age = m[m[bank + B_MISS + kind] + E_SEQUENCE]
                if opens:
                    ready = max(m[bank + B_ACT], m[m[bank + B_GROUP] + G_ACT])
                else:
                    hit = m[bank + B_HIT + kind]
                    if hit != 0 and m[C_ROW_HIT_FIRST] and m[hit + E_SEQUENCE] < age:
                        continue  # `next_hit` brings it back
                    ready = m[bank + B_PRE]
                soon = min(soon, ready)
                if ready <= clock and age < oldest:
                    oldest, best = age, bank
            m[rank + R_SOON + which] = soon
        rank += RANK_WORDS
    if best != 0:
        m[channel + H_ENTRY] = m[best + B_MISS + kind]
        m[channel + H_PLACE] = best
        m[channel + H_COMMAND] = PRE if m[best + B_ROW] >= 0 else ACT
    return oldest


@part
def _choose(m: Words, channel: Word, clock: Word, buses: Word) -> Word:
    """Choose a command for one of `buses` at `clock`; 0 if none is legal."""
    busy = m[channel + H_BUS] > clock
    age = NEVER
    if buses & COLUMN_BUS and (buses & ROW_BUS == 0 or not busy):
        age = _choose_column(m, channel, clock)
        if age < 0:
            return 1
    if buses & ROW_BUS:
        if m[channel + H_REFRESH_WAITS] > 0:
            return _choose_refresh(m, channel, clock)
        if buses & COLUMN_BUS == 0 or busy:  # else the column commands have seen to it
            _direct(m, channel)
        if not busy:
            age = _choose_row(m, channel, clock, m[channel + H_WRITING], age)
    return int(age < NEVER)


@part
def _soonest(m: Words, channel: Word, clock: Word) -> Word:
    """The first clock after `clock` in which the channel must be looked at, if nothing arrives before."""
    if m[channel + H_REFRESH_WAITS] > 0 or turns(m, channel):
        return clock + 1
    kind = m[channel + H_WRITING] & 1
    row_bus = m[channel + H_BUS]
    column_bus = 0 if m[C_DUAL_BUS] else row_bus
    later = NEVER
    rank = m[channel + H_RANK0]
    for _ in range(m[C_RANKS]):
        if m[rank + R_COUNT + OPENED] > 0:
            gate = min(m[rank + R_COLUMN], m[rank + R_COLUMN + 1])
            later = min(later, max(column_bus, max(gate, m[rank + R_SOON + OPENED])))
        if m[rank + R_COUNT + HITS + kind] > 0:
            later = min(later, max(column_bus, max(m[rank + R_COLUMN + kind], m[rank + R_SOON + HITS + kind])))
        if m[rank + R_COUNT + CLOSES + kind] > 0:
            later = min(later, max(row_bus, max(m[rank + R_PRE], m[rank + R_SOON + CLOSES + kind])))
        if m[rank + R_COUNT + CLOSES + 2 + kind] > 0:
            later = min(later, max(row_bus, max(m[rank + R_ACT], m[rank + R_SOON + CLOSES + 2 + kind])))
        rank += RANK_WORDS
    return max(later, clock + 1)


@part
def _direct(m: Words, channel: Word) -> None:
    """Begin or end to drain writes where it is time to: whenever someone is chosen from the queues."""
    if turns(m, channel):
        if m[channel + H_WRITING] == 0:
            m[channel + H_WRITING] = 1
            m[channel + H_DRAINED] = 0
        else:
            m[channel + H_WRITING] = 0
            drained = m[channel + H_QUEUED + 1] < m[C_DRAIN_BELOW]
            m[channel + H_OWED] = 0 if drained else m[channel + H_QUEUED]


@part
def _column(m: Words, t: Words, channel: Word, clock: Word) -> Word:
    """H_ENTRY leaves the controller with its column command, which is returned."""
    bank, entry = m[channel + H_PLACE], m[channel + H_ENTRY]
    write = m[entry + E_WRITE] & 1
    if m[channel + H_QUEUED] > 0:
        m[channel + H_DRAINED] += write
    if entry == m[bank + B_OPENED]:
        m[bank + B_OPENED] = 0
        toggle(m, bank, OPENED, 0)
    else:
        after = m[entry + E_NEXT]
        leave(m, channel, bank, entry, write)
        next_hit(m, bank, write, after)
    command = RD + write
    if m[C_CLOSED] and m[bank + B_HIT] + m[bank + B_HIT + 1] + m[bank + B_OPENED] == 0:
        command = RDA + write
        m[channel + H_AUTO_PRECHARGES] += 1
    complete(m, t, channel, entry, clock)
    column_issue(m, command, bank, clock)
    rank = m[bank + B_RANK]
    if m[bank + B_HIT + write] != 0 and m[rank + R_COUNT + HITS + write] == 1:
        m[rank + R_SOON + HITS + write] = m[m[bank + B_GROUP] + G_COLUMN + write]
    return command


@part
def count_row(m: Words, channel: Word, clock: Word) -> None:
    """Count the row command that was chosen, and take its bus."""
    command, place, entry = m[channel + H_COMMAND], m[channel + H_PLACE], m[channel + H_ENTRY]
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
def _row(m: Words, channel: Word, clock: Word) -> None:
    """Issue the row command that was chosen; with ACT its request leaves the queue."""
    command, place, entry = m[channel + H_COMMAND], m[channel + H_PLACE], m[channel + H_ENTRY]
    count_row(m, channel, clock)
    row_issue(m, command, place, clock, m[entry + E_ROW])
    if command == ACT:
        write = m[entry + E_WRITE] & 1
        leave(m, channel, place, entry, write)
        m[place + B_OPENED] = entry
        toggle(m, place, OPENED, m[place + B_COLUMN + write])


@part
def _issue(m: Words, t: Words, channel: Word, clock: Word) -> Word:
    """Issue the command that was chosen, and put the banks that it concerns onto the lists where they belong now."""
    command, bank, banks = m[channel + H_COMMAND], m[channel + H_PLACE], 1
    if command >= RD:
        command = _column(m, t, channel, clock)
        hit = m[bank + B_HIT + (command & 1)]
        if hit != 0 and m[bank + B_MISS] + m[bank + B_MISS + 1] == 0 and m[bank + B_NEEDS] + m[bank + B_NEEDS + 1] == 1:
            banks = 0  # one hit of many, and nothing else waits there
    else:
        _row(m, channel, clock)
        if command >= PREA:
            banks = m[bank + R_BANKS] if command == PREA else 0
            bank = m[bank + R_BANK0]
    for _ in range(banks):
        settle(m, bank, command < RD or command >= RDA)
        bank += BANK_WORDS
    if command >= RD or command == ACT:
        made_room(m, clock)
    return command


@rare_part
def record(m: Words, log: Table, channel: Word, clock: Word, command: Word) -> None:
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


@part
def _next_clock(m: Words, limit: Word) -> Word:
    """The next clock in which a port or a channel is at work; time has come to `limit` if it is later."""
    clock = m[M_TAKE]
    channel = m[M_CHANNEL0]
    for _ in range(m[C_CHANNELS]):
        clock = min(clock, m[channel + H_NEXT])
        channel += CHANNEL_WORDS
    if clock > limit:
        m[M_CLOCK] = max(m[M_CLOCK], limit)
    return clock


@part
def _stops(m: Words, t: Words, first_done: Word, feed: Word) -> Word:
    """HAS_COMPLETION, or 2 where the scheduler has other reasons to stop; else 0."""
    head = m[M_DONE_HEAD]
    if head >= 0 and t[head + T_DONE] < first_done:
        return 1
    return 2 if m[M_FEED] < feed and (feed > 1 or m[M_WORK] == 0) else 0


@part
def begin_clock(m: Words, t: Words, log: Table, limit: Word, first_done: Word, feed: Word) -> Word:
    """The next clock in which a channel is at work, after the ports were; or -1 minus what `run` returns now."""
    code = _stops(m, t, first_done, feed)
    if code != 0:
        return -1 - (code & HAS_COMPLETION)
    clock = _next_clock(m, limit)
    if clock > limit:
        return -1 - REACHED_LIMIT
    if log.shape[0] > 0 and log.shape[0] - m[M_LOGGED] < 2 * m[C_CHANNELS]:
        return -1 - LOG_FULL
    if m[M_TAKE] <= clock:
        take_bursts(m, t, clock - 1)
    return clock


@part
def ask_for_refresh(m: Words, channel: Word, clock: Word) -> None:
    """All ranks wait for a refresh where one is due."""
    if m[channel + H_REFRESH_AT] == clock:
        m[channel + H_REFRESH_AT] += m[C_REFI]
        m[channel + H_REFRESH_WAITS] += m[C_RANKS]


@part
def _run(m: Words, t: Words, log: Table, limit: Word, first_done: Word, feed: Word) -> Word:
    """As `run`."""
    while True:
        clock = begin_clock(m, t, log, limit, first_done, feed)
        if clock < 0:
            return -1 - clock
        channel = m[M_CHANNEL0]
        for _ in range(m[C_CHANNELS]):
            if m[channel + H_NEXT] <= clock:
                ask_for_refresh(m, channel, clock)
                # the column bus first, then the row bus; a single bus is both in one pass
                buses = COLUMN_BUS if m[C_DUAL_BUS] else COLUMN_BUS + ROW_BUS
                while buses <= COLUMN_BUS + ROW_BUS:
                    if _choose(m, channel, clock, buses):
                        command = _issue(m, t, channel, clock)
                        if log.shape[0] > 0:
                            record(m, log, channel, clock, command)
                    buses = ROW_BUS if buses == COLUMN_BUS else 4
                m[channel + H_NEXT] = min(m[channel + H_REFRESH_AT], _soonest(m, channel, clock))
            channel += CHANNEL_WORDS
        m[M_CLOCK] = clock


@kernel(_nrt=False)
def run(m: Words, t: Words, log: Table, limit: Word, first_done: Word, feed: Word) -> Word:
    """Advance to the end of clock `limit`, or to the first reason to stop before.

    Parameters
    ----------
    m, t : int64 arrays
        State and transfers (see dram_layout).
    log : int64 array, (n, LOG_WORDS)
        Receives commands; n = 0 switches the log off.
    first_done : int
        Stop when a completion before this clock becomes known.
    feed : int
        Stop when fewer transfers than this have bursts to hand over; with 1, when no burst waits anywhere.

    Returns
    -------
    REACHED_LIMIT, HAS_COMPLETION or LOG_FULL.
    """
    return _run(m, t, log, limit, first_done, feed)


@run.warms_up_with
def _run_example() -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]:
    from accelsim.memory.dram_state import example_state

    return *example_state(), 100, NEVER, 0
