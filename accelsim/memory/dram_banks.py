"""The scheduler with a command queue at every bank, as DRAMsim3 has it.

Requests wait in a read queue and a write queue; one of them in a clock moves to the queue of its bank,
reads unless a batch of writes is being drained. The queues take turns, beginning after the one that
issued last; in each the first legal command wins. A row is closed for the oldest request of its queue
when nobody there wants it, or when it has served `row_cap` accesses.

Of every bank a clock is known before which its queue has no legal command; only queues whose clock has
come are read.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.base.words import Table, Word, Words, part
from accelsim.memory.dram_device import column_issue, command_ready, row_issue
from accelsim.memory.dram_kernel import ask_for_refresh, begin_clock, count_row, record
from accelsim.memory.dram_layout import (
    ACT, BANK_WORDS, B_ACCESSES, B_DEPTH, B_HEAD, B_INDEX, B_RANK, B_ROW, CHANNEL_WORDS, C_BANKS, C_BANK_QUEUES,
    C_CHANNELS, C_CLOSED, C_DRAIN_IDLE, C_DUAL_BUS, C_ROW_CAP, C_WRITE_QUEUE, E_BANK, E_NEXT, E_ROW,
    E_WRITE, H_AUTO_PRECHARGES, H_BANK0, H_BUS, H_COMMAND, H_DRAINED, H_ENTRY, H_IN_BANKS, H_NEXT, H_PLACE, H_QUEUED,
    H_REFRESH_AT, H_REFRESH_RANK, H_REFRESH_WAITS, H_SOON, H_STUCK, H_TURN, H_WAITING, M_CHANNEL0, M_CLOCK,
    M_FEED, NEVER, PRE, RD, RDA, REF, R_BANK0, R_BANKS, R_OPEN, WR,
)
from accelsim.memory.dram_lists import append, remove
from accelsim.memory.dram_queue import complete, made_room


@part
def _move_to_bank(m: Words, channel: Word) -> Word:
    """Move one request to the queue of its bank; 1 if one was moved."""
    reads, writes = m[channel + H_QUEUED], m[channel + H_QUEUED + 1]
    if m[channel + H_DRAINED] == 0:
        idle = m[channel + H_IN_BANKS] == 0
        # the last clause: nothing else is left to do
        if writes >= m[C_WRITE_QUEUE] or idle and (
            writes > m[C_DRAIN_IDLE] or writes > 0 and reads == 0 and m[M_FEED] == 0
        ):
            m[channel + H_DRAINED] = writes
            m[channel + H_STUCK] = 0
    if m[channel + H_STUCK]:
        return 0
    kind = 1 if m[channel + H_DRAINED] > 0 else 0
    entry = m[channel + H_WAITING + kind]
    while entry != 0 and m[m[entry + E_BANK] + B_DEPTH] >= m[C_BANK_QUEUES]:
        entry = m[entry + E_NEXT]
    if entry == 0:
        m[channel + H_STUCK] = 1
        return 0
    bank = m[entry + E_BANK]
    remove(m, channel + H_WAITING + kind, entry)
    append(m, bank + B_HEAD, entry)
    m[bank + B_DEPTH] += 1
    m[channel + H_IN_BANKS] += 1
    m[channel + H_QUEUED + kind] -= 1
    m[channel + H_DRAINED] -= kind
    soon = m[channel + H_SOON] + m[bank + B_INDEX]
    if m[bank + B_DEPTH] == 1:
        m[soon] = 0
    elif m[entry + E_ROW] == m[bank + B_ROW]:
        m[soon] = min(m[soon], command_ready(m, RD + kind, bank))
    # else there are older ones for which the bank would do the same
    return 1


@part
def _in_queue(m: Words, bank: Word, clock: Word) -> Word:
    """The entry of the queue of `bank` whose next command is legal, or minus a clock before which none is."""
    entry = m[bank + B_HEAD]
    if entry == 0:
        return -NEVER
    row, first = m[bank + B_ROW], entry
    if row >= 0:
        while entry != 0 and m[entry + E_ROW] != row:
            entry = m[entry + E_NEXT]
    later = NEVER
    if row < 0 or entry == 0 or entry != first and m[bank + B_ACCESSES] >= m[C_ROW_CAP]:
        later = command_ready(m, ACT if row < 0 else PRE, bank)
        if later <= clock:
            return first
        if row < 0 or entry == 0:
            return -later
    read, write = command_ready(m, RD, bank), command_ready(m, WR, bank)
    if min(read, write) > clock:
        return -min(later, min(read, write))
    while entry != 0:
        if m[entry + E_ROW] == row:
            ready = write if m[entry + E_WRITE] else read
            if ready <= clock:
                return entry
            later = min(later, ready)
        entry = m[entry + E_NEXT]
    return -later


@part
def _choose_in_turn(m: Words, channel: Word, clock: Word, bus: Word) -> Word:
    """Choose the next command in turn: -1 if there is one, else a clock before which there is none.

    `bus` is the first clock for row commands (with a single bus: for all).
    """
    soon = m[channel + H_SOON]
    banks = m[C_BANKS]
    later = NEVER
    for k in range(banks):
        later = min(later, m[soon + k])
    if later > clock:
        return later
    later = NEVER
    turn = m[channel + H_TURN]
    for _ in range(banks):
        turn = turn + 1 if turn + 1 < banks else 0
        if m[soon + turn] > clock:
            later = min(later, m[soon + turn])
            continue
        bank = m[channel + H_BANK0] + turn * BANK_WORDS
        if m[channel + H_REFRESH_WAITS] > 0 and m[bank + B_RANK] == m[channel + H_REFRESH_RANK]:
            continue
        found = _in_queue(m, bank, clock)
        if found < 0:
            m[soon + turn] = -found
            later = min(later, -found)
            continue
        entry = found
        command = ACT
        if m[bank + B_ROW] >= 0:
            command = RD + m[entry + E_WRITE] if m[entry + E_ROW] == m[bank + B_ROW] else PRE
        if bus > clock and (command <= ACT or m[C_DUAL_BUS] == 0):
            later = min(later, bus)
            continue
        m[channel + H_COMMAND] = command
        m[channel + H_PLACE] = bank
        m[channel + H_ENTRY] = entry
        m[channel + H_TURN] = turn
        return -1
    return later


@part
def _choose_refresh(m: Words, channel: Word, clock: Word) -> Word:
    """The next command of the refresh that waits, closing one bank at a time; as `_choose_in_turn`."""
    rank = m[channel + H_REFRESH_RANK]
    place, command = m[rank + R_BANK0], PRE
    later = NEVER
    if m[rank + R_OPEN] == 0:
        place, command = rank, REF
    for _ in range(m[rank + R_BANKS]):
        if command == REF or m[place + B_ROW] >= 0:
            ready = max(command_ready(m, command, place), m[channel + H_BUS])
            if ready <= clock:
                m[channel + H_COMMAND] = command
                m[channel + H_PLACE] = place
                m[channel + H_ENTRY] = 0
                return -1
            later = min(later, ready)
        if command == REF:
            break
        place += BANK_WORDS
    return later


@part
def _choose(m: Words, channel: Word, clock: Word, first: Word) -> Word:
    """As `_choose_in_turn`: any command, or in a second pass one that is for the other bus than `first`."""
    later = NEVER
    if first < 0 and m[channel + H_REFRESH_WAITS] > 0:
        later = _choose_refresh(m, channel, clock)
        if later < 0:
            return later
    # in a second pass a bus that is taken still uses up the turn, as in DRAMsim3
    bus = 0 if 0 <= first < RD else m[channel + H_BUS]
    later = min(later, _choose_in_turn(m, channel, clock, bus))
    if later < 0 and first >= 0 and (first >= RD) == (m[channel + H_COMMAND] >= RD):
        return clock + 1
    return later


@part
def _issue(m: Words, t: Words, channel: Word, clock: Word) -> Word:
    """Issue the command that was chosen; returns it."""
    command, place, entry = m[channel + H_COMMAND], m[channel + H_PLACE], m[channel + H_ENTRY]
    if command != REF:
        m[m[channel + H_SOON] + m[place + B_INDEX]] = 0
    if command < RD:
        count_row(m, channel, clock)
        row_issue(m, command, place, clock, m[entry + E_ROW])
        if command == ACT:
            m[place + B_ACCESSES] = 0
            made_room(m, clock)
        return command
    remove(m, place + B_HEAD, entry)
    if m[place + B_DEPTH] == m[C_BANK_QUEUES]:
        m[channel + H_STUCK] = 0
    m[place + B_DEPTH] -= 1
    m[place + B_ACCESSES] += 1
    m[channel + H_IN_BANKS] -= 1
    if m[C_CLOSED]:
        wanted = m[place + B_HEAD]
        while wanted != 0 and m[wanted + E_ROW] != m[place + B_ROW]:
            wanted = m[wanted + E_NEXT]
        if wanted == 0:
            command += RDA - RD
            m[channel + H_AUTO_PRECHARGES] += 1
    complete(m, t, channel, entry, clock)
    column_issue(m, command, place, clock)
    made_room(m, clock)
    return command


@part
def _run_banks(m: Words, t: Words, log: Table, limit: Word, first_done: Word, feed: Word) -> Word:
    """As `run_banks`."""
    while True:
        clock = begin_clock(m, t, log, limit, first_done, feed)
        if clock < 0:
            return -1 - clock
        channel = m[M_CHANNEL0]
        for _ in range(m[C_CHANNELS]):
            if m[channel + H_NEXT] <= clock:
                ask_for_refresh(m, channel, clock)
                later = m[channel + H_REFRESH_AT]
                if _move_to_bank(m, channel):
                    later = clock + 1
                    made_room(m, clock)
                first = -1
                for _ in range(1 + m[C_DUAL_BUS]):
                    found = _choose(m, channel, clock, first)
                    if found >= 0:
                        later = min(later, found)
                        break
                    first = m[channel + H_COMMAND]
                    command = _issue(m, t, channel, clock)
                    if log.shape[0] > 0:
                        record(m, log, channel, clock, command)
                    later = clock + 1
                m[channel + H_NEXT] = later
            channel += CHANNEL_WORDS
        m[M_CLOCK] = clock


@kernel(_nrt=False)
def run_banks(m: Words, t: Words, log: Table, limit: Word, first_done: Word, feed: Word) -> Word:
    """As `dram_kernel.run`, with the scheduler of this file."""
    return _run_banks(m, t, log, limit, first_done, feed)


@run_banks.warms_up_with
def _run_example() -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]:
    from accelsim.memory.dram_state import example_state

    return *example_state(), 100, NEVER, 0
