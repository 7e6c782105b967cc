"""Transfers become bursts, bursts become queue entries, and entries become completions.

Every bank keeps its queued reads and its queued writes in order of arrival, and knows the oldest that
would hit the open row and the oldest that would not: no scheduler needs more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.memory.dram_device import Word, Words, hold, part
from accelsim.memory.dram_layout import (
    BANK_WORDS, B_CHANNEL, B_HEAD, B_HIT, B_MISS, B_NEEDS, B_OPENED, B_PLACE, B_RANK, B_ROW, CHANNEL_WORDS, CLOSES,
    C_BANK_QUEUES, C_BURST_SHIFT, C_CHANNELS, C_PORTS, C_POSTED, C_READ_QUEUE, E_ARRIVED, E_BANK, E_BURST,
    E_COUNTED, E_NEXT, E_PREVIOUS, E_ROW, E_SEQUENCE, E_TRANSFER, E_WRITE, FILTER_SIZE, HITS, H_FILTER, H_FORWARDED,
    H_FREE, H_LAST_READ_DATA, H_LATENCY, H_LATENCY_MAX, H_MERGED, H_NEXT, H_OWED, H_QUEUED, H_TAKEN, H_WAITING,
    INDEX, MAP_PART, MAP_PARTS, MAP_XOR, MAP_XORS, M_BANK0, M_CHANNEL0, M_CLOCK, M_DONE_HEAD, M_DONE_TAIL, M_FEED,
    M_PORT0, M_SEQUENCE, M_TAKE, M_TURN, M_WORK, NEVER, OPENS, PORT_WORDS, P_HEAD, P_TAIL, R_BANKS, R_COUNT,
    R_LISTS, T_ARRIVES, T_BANK, T_BANK_ROW, T_BASE, T_BURST, T_DONE, T_EARLIER, T_FOLLOWER, T_LAST, T_LATER, T_OPEN,
    T_PLANE, T_PLANES, T_PLANE_STRIDE, T_ROW, T_ROWS, T_ROW_BYTES, T_ROW_STRIDE, T_WAITS, T_WRITE,
)

Table = Any  # a two-dimensional int64 array

REFUSED = 0
QUEUED = 1
ANSWERED = 2  # by a queued write: a read takes its data, a write goes into it


@part
def enlist(m: Words, bank: Word, which: Word, wanted: Word) -> None:
    """Put `bank` on list `which` of its rank, or take it off; the last one then takes its place."""
    bank &= INDEX
    which &= 7
    place = m[bank + B_PLACE + which] & INDEX
    if (place != 0) == (wanted != 0):
        return
    rank = m[bank + B_RANK] & INDEX
    start = (m[rank + R_LISTS] + which * m[rank + R_BANKS]) & INDEX
    count = m[rank + R_COUNT + which] & INDEX
    if place == 0:
        m[start + count] = bank
        m[bank + B_PLACE + which] = count + 1
        m[rank + R_COUNT + which] = count + 1
    else:
        moved = m[(start + count - 1) & INDEX] & INDEX
        m[(start + place - 1) & INDEX] = moved
        m[moved + B_PLACE + which] = place
        m[bank + B_PLACE + which] = 0
        m[rank + R_COUNT + which] = count - 1


@part
def classify(m: Words, bank: Word, kind: Word) -> None:
    """Enter `bank` into the lists that its oldest hit and miss of `kind` call for."""
    bank &= INDEX
    kind &= 1
    needs = 1 if m[bank + B_HIT + kind] != 0 else 0
    if m[bank + B_MISS + kind] != 0:
        # a row that was opened for someone stays open until he has been served
        if m[bank + B_ROW] < 0:
            needs += 4
        elif m[bank + B_OPENED] == 0:
            needs += 2
    if needs != m[bank + B_NEEDS + kind]:
        m[bank + B_NEEDS + kind] = needs
        enlist(m, bank, HITS + kind, needs & 1)
        enlist(m, bank, CLOSES + kind, needs & 2)
        enlist(m, bank, OPENS + kind, needs & 4)


@part
def rescan(m: Words, bank: Word) -> None:
    """Find the oldest hits and misses again, after the row of `bank` has changed."""
    bank &= INDEX
    row = m[bank + B_ROW]
    for kind in range(2):
        entry = m[bank + B_HEAD + kind] & INDEX
        if entry == 0 and m[bank + B_NEEDS + kind] == 0:
            continue
        m[bank + B_HIT + kind] = 0
        m[bank + B_MISS + kind] = 0
        wanted = 2 if row >= 0 else 1
        while entry != 0 and wanted > 0:
            which = B_HIT + kind if m[entry + E_ROW] == row else B_MISS + kind
            if m[bank + which] == 0:
                m[bank + which] = entry
                wanted -= 1
            entry = m[entry + E_NEXT] & INDEX
        classify(m, bank, kind)


@part
def append(m: Words, head: Word, entry: Word) -> None:
    """Put `entry` at the end of the queue whose first entry stands in `head` and whose last two words after it."""
    head &= INDEX
    entry &= INDEX
    tail = m[head + 2] & INDEX
    m[entry + E_NEXT] = 0
    m[entry + E_PREVIOUS] = tail
    m[head + 2] = entry
    if tail != 0:
        m[tail + E_NEXT] = entry
    else:
        m[head] = entry


@part
def remove(m: Words, head: Word, entry: Word) -> None:
    """Take `entry` out of that queue."""
    head &= INDEX
    entry &= INDEX
    before, after = m[entry + E_PREVIOUS] & INDEX, m[entry + E_NEXT] & INDEX
    if before != 0:
        m[before + E_NEXT] = after
    else:
        m[head] = after
    if after != 0:
        m[after + E_PREVIOUS] = before
    else:
        m[head + 2] = before


@part
def _find(m: Words, entry: Word, kind: Word, burst: Word) -> Word:
    """The first entry for `burst` from `entry` on, or 0."""
    entry &= INDEX
    while entry != 0 and (m[entry + E_BURST] != burst or m[entry + E_WRITE] != kind):
        entry = m[entry + E_NEXT] & INDEX
    return entry


@part
def unlink(m: Words, channel: Word, bank: Word, entry: Word) -> None:
    """Take a queued entry out of its bank's queue."""
    channel &= INDEX
    bank &= INDEX
    entry &= INDEX
    kind = m[entry + E_WRITE] & 1
    after = m[entry + E_NEXT] & INDEX
    remove(m, bank + B_HEAD + kind, entry)
    m[channel + H_QUEUED + kind] -= 1
    if kind == 0:
        m[channel + H_OWED] = max(0, m[channel + H_OWED] - 1)
    hits = entry == m[bank + B_HIT + kind]
    if hits or entry == m[bank + B_MISS + kind]:
        row = m[bank + B_ROW]
        while after != 0 and (m[after + E_ROW] == row) != hits:
            after = m[after + E_NEXT] & INDEX
        m[bank + (B_HIT if hits else B_MISS) + kind] = after
        if after == 0:
            classify(m, bank, kind)


@part
def finish_transfer(m: Words, t: Table, i: Word) -> None:
    """Enter transfer `i`, whose T_DONE is final, into the list of finished ones, which is ordered by time."""
    i &= INDEX
    done = t[i, T_DONE]
    earlier = m[M_DONE_TAIL]
    later = m[M_DONE_TAIL] * 0 - 1
    while earlier >= 0 and t[earlier, T_DONE] > done:
        later = earlier
        earlier = t[earlier, T_EARLIER]
    t[i, T_EARLIER] = earlier
    t[i, T_LATER] = later
    if earlier >= 0:
        t[earlier, T_LATER] = i
    else:
        m[M_DONE_HEAD] = i
    if later >= 0:
        t[later, T_EARLIER] = i
    else:
        m[M_DONE_TAIL] = i


@part
def count_read(m: Words, channel: Word, arrived: Word, clock: Word) -> None:
    """Statistics of a read that arrived and whose data ends at `clock`."""
    channel &= INDEX
    m[channel + H_LATENCY] += clock - arrived
    hold(m, channel + H_LATENCY_MAX, clock - arrived)
    hold(m, channel + H_LAST_READ_DATA, clock)


@part
def locate(m: Words, t: Table, i: Word) -> None:
    """Find the bank and the row of the next burst of transfer `i`, by the address map."""
    i &= INDEX
    burst = t[i, T_BURST]
    mixed = burst
    at = MAP_XOR
    for _ in range(m[MAP_XORS]):
        mixed ^= ((burst >> m[at]) & m[at + 2]) << m[at + 1]
        at += 3
    bank, row = 0, 0
    at = MAP_PART
    for _ in range(m[MAP_PARTS]):
        value = (mixed >> m[at]) & m[at + 1]
        bank += value * m[at + 2]
        row += value * m[at + 3]
        at += 4
    t[i, T_BANK] = m[M_BANK0] + bank * BANK_WORDS
    t[i, T_BANK_ROW] = row


@part
def _step(m: Words, t: Table, i: Word) -> None:
    """Go to the next burst of transfer `i`; clears T_OPEN if there is none."""
    i &= INDEX
    last = t[i, T_LAST]
    while t[i, T_BURST] == t[i, T_LAST]:
        t[i, T_ROW] += 1
        if t[i, T_ROW] == t[i, T_ROWS]:
            t[i, T_ROW] = 0
            t[i, T_PLANE] += 1
            if t[i, T_PLANE] == t[i, T_PLANES]:
                t[i, T_OPEN] = 0
                return
        begin = t[i, T_BASE] + t[i, T_PLANE] * t[i, T_PLANE_STRIDE] + t[i, T_ROW] * t[i, T_ROW_STRIDE]
        t[i, T_BURST] = begin >> m[C_BURST_SHIFT]
        t[i, T_LAST] = (begin + t[i, T_ROW_BYTES] - 1) >> m[C_BURST_SHIFT]
        if t[i, T_BURST] != last:
            t[i, T_BURST] -= 1
            break
        # this piece begins in the burst that ended the one before: once is enough
    t[i, T_BURST] += 1


@part
def filter_slot(m: Words, channel: Word, kind: Word, burst: Word) -> Word:
    """Where queued bursts of `kind` with the residue of `burst` are counted."""
    channel &= INDEX
    return (m[channel + H_FILTER] & INDEX) + (kind & 1) * FILTER_SIZE + ((burst ^ (burst >> 7)) & (FILTER_SIZE - 1))


@part
def _admit(m: Words, t: Table, i: Word) -> Word:
    """What would happen to the next burst of transfer `i`: REFUSED, QUEUED or ANSWERED.

    A read never overtakes an older write of the same burst, nor a write an older read.
    """
    i &= INDEX
    bank, burst, write = t[i, T_BANK] & INDEX, t[i, T_BURST], t[i, T_WRITE] & 1
    channel = m[bank + B_CHANNEL] & INDEX
    opened = m[bank + B_OPENED] & INDEX
    for kind in range(1, -write, -1):  # writes; and reads, for a write
        if m[filter_slot(m, channel, kind, burst)] != 0:
            if m[C_BANK_QUEUES]:
                found = _find(m, m[bank + B_HEAD], kind, burst) + _find(m, m[channel + H_WAITING + kind], kind, burst)
            else:
                found = _find(m, m[bank + B_HEAD + kind], kind, burst)
            if found != 0:
                return ANSWERED if kind == 1 else REFUSED
            if opened != 0 and m[opened + E_BURST] == burst and m[opened + E_WRITE] == kind and kind != write:
                return ANSWERED if kind == 1 else REFUSED
    return QUEUED if m[channel + H_QUEUED + write] < m[C_READ_QUEUE + write] else REFUSED


@part
def _enter(m: Words, t: Table, i: Word, clock: Word, how: Word) -> None:
    """Take the next burst of transfer `i` at `clock`."""
    i &= INDEX
    bank, row, write = t[i, T_BANK] & INDEX, t[i, T_BANK_ROW], t[i, T_WRITE] & 1
    channel = m[bank + B_CHANNEL] & INDEX
    waits = how == QUEUED and not (write and m[C_POSTED])
    if waits:
        t[i, T_WAITS] += 1
    else:
        t[i, T_DONE] = max(t[i, T_DONE], clock + 1)
    if how == ANSWERED:
        if write:
            m[channel + H_MERGED] += 1
        else:
            m[channel + H_FORWARDED] += 1
            count_read(m, channel, clock, clock + 1)
        return
    entry = m[channel + H_FREE] & INDEX
    m[channel + H_FREE] = m[entry + E_NEXT]
    m[M_SEQUENCE] += 1
    m[M_WORK] += 1
    m[entry + E_ROW] = row
    m[entry + E_BURST] = t[i, T_BURST]
    m[entry + E_SEQUENCE] = m[M_SEQUENCE]
    m[entry + E_TRANSFER] = i if waits else -1
    m[entry + E_COUNTED] = 0
    m[entry + E_ARRIVED] = clock
    m[entry + E_WRITE] = write
    m[entry + E_BANK] = bank
    m[channel + H_QUEUED + write] += 1
    m[filter_slot(m, channel, write, t[i, T_BURST])] += 1
    if m[C_BANK_QUEUES]:
        append(m, channel + H_WAITING + write, entry)
        return
    append(m, bank + B_HEAD + write, entry)
    which = B_HIT if row == m[bank + B_ROW] else B_MISS
    if m[bank + which + write] == 0:
        m[bank + which + write] = entry
        classify(m, bank, write)


@part
def take_bursts(m: Words, t: Table, clock: Word) -> None:
    """Ports hand over bursts at `clock`: in order within a port, at most one to each channel, ports in turn.

    Leaves in M_TAKE the clock after the next in which one can be taken; a port that waits for a place in a
    queue is woken by whoever frees one.
    """
    again = NEVER
    taken = False
    ports = m[C_PORTS]
    for k in range(ports):
        turn = m[M_TURN] + k
        port = (m[M_PORT0] + PORT_WORDS * (turn if turn < ports else turn - ports)) & INDEX
        while m[port + P_HEAD] >= 0:
            i = m[port + P_HEAD] & INDEX
            if t[i, T_ARRIVES] > clock:
                again = min(again, t[i, T_ARRIVES] + 1)
                break
            how = _admit(m, t, i)
            if how == REFUSED:
                break
            channel = m[(t[i, T_BANK] & INDEX) + B_CHANNEL] & INDEX
            if m[channel + H_TAKEN] == clock:
                again = min(again, clock + 2)
                break
            _enter(m, t, i, clock, how)
            m[channel + H_TAKEN] = clock
            m[channel + H_NEXT] = min(m[channel + H_NEXT], clock + 1)
            taken = True
            _step(m, t, i)
            if t[i, T_OPEN] != 0:
                locate(m, t, i)
            else:
                m[M_FEED] -= 1
                if m[M_FEED] == 0:
                    # channels may now drain what they would have kept for company
                    for c in range(m[C_CHANNELS]):
                        at = (m[M_CHANNEL0] + c * CHANNEL_WORDS + H_NEXT) & INDEX
                        m[at] = min(m[at], clock + 1)
                m[port + P_HEAD] = t[i, T_FOLLOWER]
                if t[i, T_FOLLOWER] < 0:
                    m[port + P_TAIL] = -1
                if t[i, T_WAITS] == 0:
                    finish_transfer(m, t, i)
    if taken and ports > 1:
        m[M_TURN] = m[M_TURN] + 1 if m[M_TURN] + 1 < ports else 0
    m[M_TAKE] = again


@kernel(_nrt=False)
def hand_over(m: Words, t: Table, first: Word, count: Word, port: Word) -> None:
    """Append transfers `first`, `first + 1`... of the table to a port, in that order; their arrivals must not fall."""
    at = (m[M_PORT0] + PORT_WORDS * port) & INDEX
    for k in range(count):
        i = (first + k) & INDEX
        t[i, T_PLANE] = 0
        t[i, T_ROW] = 0
        t[i, T_WAITS] = 0
        t[i, T_OPEN] = 1
        t[i, T_DONE] = 0
        t[i, T_FOLLOWER] = -1
        t[i, T_BURST] = t[i, T_BASE] >> m[C_BURST_SHIFT]
        t[i, T_LAST] = (t[i, T_BASE] + t[i, T_ROW_BYTES] - 1) >> m[C_BURST_SHIFT]
        locate(m, t, i)
        tail = m[at + P_TAIL]
        if tail < 0:
            m[at + P_HEAD] = i
            m[M_TAKE] = min(m[M_TAKE], max(t[i, T_ARRIVES], m[M_CLOCK]) + 1)
        else:
            t[tail & INDEX, T_FOLLOWER] = i
        m[at + P_TAIL] = i
    m[M_FEED] += count


@hand_over.warms_up_with
def _hand_over_example() -> tuple[np.ndarray, np.ndarray, int, int, int]:
    from accelsim.memory.dram_state import example_state

    m, t, _ = example_state()
    return m, t, 0, 1, 0
