"""The scheduler with a command queue at every bank, as DRAMsim3 has it.

Requests wait in a read queue and a write queue; one of them in a clock moves to the queue of its bank,
reads unless a batch of writes is being drained. The queues take turns, beginning after the one that
issued last; in each the first legal command wins. A row is closed for the oldest request of its queue
when nobody there wants it, or when it has served `row_cap` accesses.
"""

from __future__ import annotations

from accelsim.memory.dram_device import Word, Words, command_ready, part
from accelsim.memory.dram_layout import (
    ACT, BANK_WORDS, B_ACCESSES, B_DEPTH, B_HEAD, B_RANK, B_ROW, C_BANKS, C_BANK_QUEUES, C_DRAIN_IDLE, C_DUAL_BUS,
    C_ROW_CAP, C_WRITE_QUEUE, E_BANK, E_NEXT, E_ROW, E_WRITE, H_BANK0, H_BUS, H_COMMAND, H_DRAINED, H_ENTRY,
    H_IN_BANKS, H_PLACE, H_QUEUED, H_REFRESH_RANK, H_REFRESH_WAITS, H_TURN, H_WAITING, INDEX, M_FEED, NEVER, NONE,
    PRE, RD, REF, R_BANK0, R_BANKS, R_OPEN,
)
from accelsim.memory.dram_queue import append, remove


@part
def move_to_bank(m: Words, channel: Word) -> Word:
    """Move one request to the queue of its bank; 1 if one was moved."""
    channel &= INDEX
    reads, writes = m[channel + H_QUEUED], m[channel + H_QUEUED + 1]
    if m[channel + H_DRAINED] == 0:
        idle = m[channel + H_IN_BANKS] == 0
        # the last clause: nothing else is left to do
        if writes >= m[C_WRITE_QUEUE] or idle and (
            writes > m[C_DRAIN_IDLE] or writes > 0 and reads == 0 and m[M_FEED] == 0
        ):
            m[channel + H_DRAINED] = writes
    kind = 1 if m[channel + H_DRAINED] > 0 else 0
    entry = m[channel + H_WAITING + kind] & INDEX
    while entry != 0 and m[(m[entry + E_BANK] & INDEX) + B_DEPTH] >= m[C_BANK_QUEUES]:
        entry = m[entry + E_NEXT] & INDEX
    if entry == 0:
        return NONE
    bank = m[entry + E_BANK] & INDEX
    remove(m, channel + H_WAITING + kind, entry)
    append(m, bank + B_HEAD, entry)
    m[bank + B_DEPTH] += 1
    m[channel + H_IN_BANKS] += 1
    m[channel + H_QUEUED + kind] -= 1
    m[channel + H_DRAINED] -= kind
    return NONE + 1


@part
def _in_queue(m: Words, bank: Word, clock: Word) -> Word:
    """The entry of the queue of `bank` whose next command is legal, or minus a clock before which none is."""
    bank &= INDEX
    entry = m[bank + B_HEAD] & INDEX
    if entry == 0:
        return -NEVER
    if m[bank + B_ROW] < 0:
        ready = command_ready(m, ACT, bank)
        return entry if ready <= clock else -ready
    row = m[bank + B_ROW]
    later, wanted, first = NEVER, m[bank + B_ACCESSES] < m[C_ROW_CAP], entry
    if m[entry + E_ROW] != row:
        other = m[entry + E_NEXT] & INDEX
        while wanted and other != 0 and m[other + E_ROW] != row:
            other = m[other + E_NEXT] & INDEX
        if not wanted or other == 0:
            ready = command_ready(m, PRE, bank)
            if ready <= clock:
                return first
            later = ready
    while entry != 0:
        if m[entry + E_ROW] == row:
            ready = command_ready(m, RD + m[entry + E_WRITE], bank)
            if ready <= clock:
                return entry
            later = min(later, ready)
        entry = m[entry + E_NEXT] & INDEX
    return -later


@part
def choose_from_banks(m: Words, channel: Word, clock: Word, bus: Word) -> Word:
    """Choose the next command in turn: -1 if there is one, else a clock before which there is none.

    `bus` is the first clock for row commands (with a single bus: for all).
    """
    channel &= INDEX
    later = NEVER
    for k in range(m[C_BANKS]):
        turn = m[channel + H_TURN] + 1 + k
        if turn >= m[C_BANKS]:
            turn -= m[C_BANKS]
        bank = (m[channel + H_BANK0] + turn * BANK_WORDS) & INDEX
        if m[channel + H_REFRESH_WAITS] > 0 and m[bank + B_RANK] == m[channel + H_REFRESH_RANK]:
            continue
        found = _in_queue(m, bank, clock)
        if found < 0:
            later = min(later, -found)
            continue
        entry = found & INDEX
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
        return NONE - 1
    return later


@part
def choose_refresh_by_banks(m: Words, channel: Word, clock: Word) -> Word:
    """The next command of the refresh that waits, closing one bank at a time; as `choose_from_banks`."""
    channel &= INDEX
    rank = m[channel + H_REFRESH_RANK] & INDEX
    later = NEVER
    bank = m[rank + R_BANK0] & INDEX
    for _ in range(m[rank + R_BANKS]):
        if m[bank + B_ROW] >= 0:
            ready = max(command_ready(m, PRE, bank), m[channel + H_BUS])
            if ready <= clock:
                m[channel + H_COMMAND] = PRE
                m[channel + H_PLACE] = bank
                m[channel + H_ENTRY] = 0
                return NONE - 1
            later = min(later, ready)
        bank += BANK_WORDS
    if m[rank + R_OPEN] == 0:
        later = max(command_ready(m, REF, rank), m[channel + H_BUS])
        if later <= clock:
            m[channel + H_COMMAND] = REF
            m[channel + H_PLACE] = rank
            return NONE - 1
    return later
