"""Transfers become bursts, bursts become queue entries, and entries become completions."""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.base.words import Word, Words, part, rare_part
from accelsim.memory.dram_device import hold
from accelsim.memory.dram_layout import (
    BANK_WORDS, B_CHANNEL, B_DEPTH, B_HEAD, B_HIT, B_MISS, B_OPENED, B_ROW, CHANNEL_WORDS, C_BANK_BITS,
    C_BANK_QUEUES, C_BL, C_BURST_SHIFT, C_CHANNELS, C_CL, C_CWL, C_PORTS, C_POSTED, C_READ_QUEUE, E_ARRIVED, E_BANK,
    E_BURST, E_COUNTED, E_NEXT, E_ROW, E_SEQUENCE, E_TRANSFER, E_WRITE, FILTER_SIZE, H_COLUMNS, H_FILTER,
    H_FORWARDED, H_FREE, H_HITS, H_LAST_READ_DATA, H_LAST_WRITE, H_LATENCY, H_LATENCY_MAX, H_MERGED, H_NEXT,
    H_QUEUED, H_STUCK, H_TAKEN, H_WAITING, MAP_TABLE, M_BANK0, M_CHANNEL0, M_CLOCK, M_DONE_HEAD, M_DONE_TAIL,
    M_FEED, M_MAP, M_PORT0, M_PROFILE, M_SEQUENCE, M_TAKE, M_TURN, M_WINDOW_SHIFT, M_WORK, NEVER, PORT_WORDS,
    PROFILE_WIDTH, PROFILE_WINDOWS, P_HEAD, P_TAIL, T_ARRIVES, T_BANK, T_BANK_ROW, T_BASE, T_BURST, T_DONE,
    T_EARLIER, T_FOLLOWER, T_ID, T_LAST, T_LATER, T_OPEN, T_PLANE, T_PLANES, T_PLANE_STRIDE, T_ROW, T_ROWS, T_ROW_BYTES,
    T_ROW_STRIDE, T_WAITS, TRANSFER_WORDS, T_WRITE,
)
from accelsim.memory.dram_lists import append, classify, turns

REFUSED = 0
QUEUED = 1
ANSWERED = 2  # by a queued write: a read takes its data, a write goes into it


@part
def _find(m: Words, entry: Word, kind: Word, burst: Word) -> Word:
    """The first entry for `burst` from `entry` on, or 0."""
    while entry != 0 and (m[entry + E_BURST] != burst or m[entry + E_WRITE] != kind):
        entry = m[entry + E_NEXT]
    return entry


@part
def finish_transfer(m: Words, t: Words, i: Word) -> None:
    """Enter transfer `i`, whose T_DONE is final, into the list of finished ones, which is ordered by time."""
    done = t[i + T_DONE]
    earlier = m[M_DONE_TAIL]
    later = -1
    while earlier >= 0 and t[earlier + T_DONE] > done:
        later = earlier
        earlier = t[earlier + T_EARLIER]
    t[i + T_EARLIER] = earlier
    t[i + T_LATER] = later
    if earlier >= 0:
        t[earlier + T_LATER] = i
    else:
        m[M_DONE_HEAD] = i
    if later >= 0:
        t[later + T_EARLIER] = i
    else:
        m[M_DONE_TAIL] = i


@part
def _count_read(m: Words, channel: Word, arrived: Word, clock: Word) -> None:
    """Statistics of a read that arrived and whose data ends at `clock`."""
    m[channel + H_LATENCY] += clock - arrived
    hold(m, channel + H_LATENCY_MAX, clock - arrived)
    hold(m, channel + H_LAST_READ_DATA, clock)


@rare_part
def _widen_windows(m: Words) -> None:
    """Windows of the profile double."""
    at = m[M_PROFILE]
    for i in range(PROFILE_WINDOWS * PROFILE_WIDTH):
        line, column = i // PROFILE_WIDTH, i % PROFILE_WIDTH
        value = 0
        if 2 * line < PROFILE_WINDOWS:
            first = at + 2 * line * PROFILE_WIDTH + column
            value = m[first] + m[first + PROFILE_WIDTH]
        m[at + i] = value
    m[M_WINDOW_SHIFT] += 1


@part
def complete(m: Words, t: Words, channel: Word, entry: Word, clock: Word) -> None:
    """The column command of `entry` is issued at `clock`: counts, the transfer that waits, and the entry is free."""
    write = m[entry + E_WRITE] & 1
    hit = 1 - m[entry + E_COUNTED]
    m[channel + H_HITS] += hit
    m[channel + H_COLUMNS + write] += 1
    while (clock >> m[M_WINDOW_SHIFT]) >= PROFILE_WINDOWS:
        _widen_windows(m)
    window = m[M_PROFILE] + (clock >> m[M_WINDOW_SHIFT]) * PROFILE_WIDTH
    m[window + write] += m[C_BL]
    m[window + 2] += hit
    if write:
        m[channel + H_LAST_WRITE] = clock
        done = clock + m[C_CWL] + m[C_BL]
    else:
        done = clock + m[C_CL] + m[C_BL]
        _count_read(m, channel, m[entry + E_ARRIVED], done)
    i = m[entry + E_TRANSFER]
    if i >= 0:
        waits = t[i + T_WAITS] - 1
        t[i + T_WAITS] = waits
        t[i + T_DONE] = max(t[i + T_DONE], done)
        if waits == 0 and t[i + T_OPEN] == 0:
            finish_transfer(m, t, i)
    m[filter_slot(m, channel, m[entry + E_BURST]) + write] -= 1
    m[entry + E_NEXT] = m[channel + H_FREE]
    m[channel + H_FREE] = entry
    m[M_WORK] -= 1


@part
def filter_slot(m: Words, channel: Word, burst: Word) -> Word:
    """Where queued reads with the residue of `burst` are counted; behind it, writes."""
    return m[channel + H_FILTER] + 2 * ((burst ^ (burst >> 7)) & (FILTER_SIZE - 1))


@part
def _begin(m: Words, t: Words, i: Word, begin: Word) -> None:
    """The next piece of transfer `i` begins at byte `begin`."""
    t[i + T_BURST] = begin >> m[C_BURST_SHIFT]
    t[i + T_LAST] = (begin + t[i + T_ROW_BYTES] - 1) >> m[C_BURST_SHIFT]


@part
def _locate(m: Words, t: Words, i: Word) -> None:
    """Find the bank and the row of the next burst of transfer `i`, by the tables of the address map."""
    burst = t[i + T_BURST]
    at = m[M_MAP]
    word = 0
    while burst != 0:
        word ^= m[at + (burst & (MAP_TABLE - 1))]
        burst >>= 8
        at += MAP_TABLE
    row = word >> m[C_BANK_BITS]
    t[i + T_BANK] = m[M_BANK0] + (word - (row << m[C_BANK_BITS])) * BANK_WORDS
    t[i + T_BANK_ROW] = row


@part
def _step(m: Words, t: Words, i: Word) -> Word:
    """Go to the next burst of transfer `i`; 0 if there is none."""
    last = t[i + T_LAST]
    burst = t[i + T_BURST]
    if burst != last:
        t[i + T_BURST] = burst + 1
        return 1
    while t[i + T_LAST] == t[i + T_BURST]:
        row = t[i + T_ROW] + 1
        if row == t[i + T_ROWS]:
            row = 0
            t[i + T_PLANE] += 1
            if t[i + T_PLANE] == t[i + T_PLANES]:
                t[i + T_OPEN] = 0
                return 0
        t[i + T_ROW] = row
        _begin(m, t, i, t[i + T_BASE] + t[i + T_PLANE] * t[i + T_PLANE_STRIDE] + row * t[i + T_ROW_STRIDE])
        if t[i + T_BURST] != last:
            return 1
        # this piece begins in the burst that ended the one before: once is enough
    t[i + T_BURST] += 1
    return 1


@rare_part
def _look_closer(m: Words, channel: Word, bank: Word, burst: Word, write: Word) -> Word:
    """As `_admit`, where a queued burst may be the same; QUEUED if none is."""
    write &= 1
    opened = m[bank + B_OPENED]
    slot = filter_slot(m, channel, burst)
    for kind in range(1, -write, -1):  # writes; and reads, for a write
        if m[slot + kind] != 0:
            if m[C_BANK_QUEUES]:
                found = _find(m, m[bank + B_HEAD], kind, burst) + _find(m, m[channel + H_WAITING + kind], kind, burst)
            else:
                found = _find(m, m[bank + B_HEAD + kind], kind, burst)
            if found != 0:
                return ANSWERED if kind == 1 else REFUSED
            if opened != 0 and m[opened + E_BURST] == burst and m[opened + E_WRITE] == kind and kind != write:
                return ANSWERED if kind == 1 else REFUSED
    return QUEUED


@part
def _admit(m: Words, channel: Word, bank: Word, burst: Word, write: Word) -> Word:
    """What would happen to a burst: REFUSED, QUEUED or ANSWERED.

    A read never overtakes an older write of the same burst, nor a write an older read.
    """
    write &= 1
    slot = filter_slot(m, channel, burst)
    if m[slot + 1] != 0 or write != 0 and m[slot] != 0:
        how = _look_closer(m, channel, bank, burst, write)
        if how != QUEUED:
            return how
    return QUEUED if m[channel + H_QUEUED + write] < m[C_READ_QUEUE + write] else REFUSED


@part
def _enter(m: Words, t: Words, i: Word, clock: Word, how: Word) -> None:
    """Take the next burst of transfer `i` at `clock`, and wake its channel if that changes what can be done."""
    bank, row, write = t[i + T_BANK], t[i + T_BANK_ROW], t[i + T_WRITE] & 1
    channel = m[bank + B_CHANNEL]
    waits = how == QUEUED and (write == 0 or m[C_POSTED] == 0)
    if waits:
        t[i + T_WAITS] += 1
    else:
        t[i + T_DONE] = max(t[i + T_DONE], clock + 1)
    if how == ANSWERED:
        if write:
            m[channel + H_MERGED] += 1
        else:
            m[channel + H_FORWARDED] += 1
            _count_read(m, channel, clock, clock + 1)
        return
    entry = m[channel + H_FREE]
    burst, sequence = t[i + T_BURST], m[M_SEQUENCE] + 1
    m[channel + H_FREE] = m[entry + E_NEXT]
    m[M_SEQUENCE] = sequence
    m[M_WORK] += 1
    m[entry + E_ROW] = row
    m[entry + E_BURST] = burst
    m[entry + E_SEQUENCE] = sequence
    m[entry + E_TRANSFER] = i if waits else -1
    m[entry + E_COUNTED] = 0
    m[entry + E_ARRIVED] = clock
    m[entry + E_WRITE] = write
    m[channel + H_QUEUED + write] += 1
    m[filter_slot(m, channel, burst) + write] += 1
    if m[C_BANK_QUEUES]:
        m[entry + E_BANK] = bank
        append(m, channel + H_WAITING + write, entry)
        if m[bank + B_DEPTH] < m[C_BANK_QUEUES]:
            m[channel + H_STUCK] = 0
        m[channel + H_NEXT] = min(m[channel + H_NEXT], clock + 1)
        return
    append(m, bank + B_HEAD + write, entry)
    which = (B_HIT if row == m[bank + B_ROW] else B_MISS) + write
    first = m[bank + which] == 0
    if first:
        m[bank + which] = entry
        classify(m, bank, write)
    if first or turns(m, channel):
        m[channel + H_NEXT] = min(m[channel + H_NEXT], clock + 1)


@part
def take_bursts(m: Words, t: Words, clock: Word) -> None:
    """Ports hand over bursts at `clock`: in order within a port, at most one to each channel, ports in turn.

    Leaves in M_TAKE the clock after the next in which one can be taken; a port that waits for a place in a
    queue is woken by whoever frees one.
    """
    again = NEVER
    taken = False
    ports = m[C_PORTS]
    for k in range(ports):
        turn = m[M_TURN] + k
        port = m[M_PORT0] + PORT_WORDS * (turn if turn < ports else turn - ports)
        while m[port + P_HEAD] >= 0:
            i = m[port + P_HEAD]
            if t[i + T_ARRIVES] > clock:
                again = min(again, t[i + T_ARRIVES] + 1)
                break
            bank = t[i + T_BANK]
            channel = m[bank + B_CHANNEL]
            how = _admit(m, channel, bank, t[i + T_BURST], t[i + T_WRITE])
            if how == REFUSED:
                break
            if m[channel + H_TAKEN] == clock:
                again = min(again, clock + 2)
                break
            m[channel + H_TAKEN] = clock
            _enter(m, t, i, clock, how)
            taken = True
            if _step(m, t, i) == 0:
                m[M_FEED] -= 1
                if t[i + T_WAITS] == 0:
                    finish_transfer(m, t, i)
                i = t[i + T_FOLLOWER]
                m[port + P_HEAD] = i
                if i < 0:
                    m[port + P_TAIL] = -1
                    break
                _begin(m, t, i, t[i + T_BASE])
            _locate(m, t, i)
    if taken:
        if m[C_BANK_QUEUES] and m[M_FEED] == 0:
            # channels may now drain what they would have kept for company
            for c in range(m[C_CHANNELS]):
                at = m[M_CHANNEL0] + c * CHANNEL_WORDS + H_NEXT
                m[at] = min(m[at], clock + 1)
        if ports > 1:
            m[M_TURN] = m[M_TURN] + 1 if m[M_TURN] + 1 < ports else 0
    m[M_TAKE] = again


@part
def made_room(m: Words, clock: Word) -> None:
    """Ports may try again in the next clock."""
    if m[M_FEED] > 0:
        m[M_TAKE] = min(m[M_TAKE], clock + 1)


@part
def _append_to_port(m: Words, t: Words, i: Word, port: Word) -> None:
    """Transfer `i` is the last that `port` will hand over."""
    at = m[M_PORT0] + PORT_WORDS * port
    t[i + T_PLANE] = 0
    t[i + T_ROW] = 0
    t[i + T_WAITS] = 0
    t[i + T_OPEN] = 1
    t[i + T_DONE] = 0
    t[i + T_FOLLOWER] = -1
    tail = m[at + P_TAIL]
    if tail < 0:
        _begin(m, t, i, t[i + T_BASE])
        _locate(m, t, i)
        m[at + P_HEAD] = i
        m[M_TAKE] = min(m[M_TAKE], max(t[i + T_ARRIVES], m[M_CLOCK]) + 1)
    else:
        t[tail + T_FOLLOWER] = i
    m[at + P_TAIL] = i
    m[M_FEED] += 1


@kernel(_nrt=False)
def hand_over(m: Words, t: Words, i: Word, port: Word) -> None:
    """Append transfer `i` to a port; it must not arrive before those that are there."""
    _append_to_port(m, t, i, port)


@hand_over.warms_up_with
def _hand_over_example() -> tuple[np.ndarray, np.ndarray, int, int]:
    from accelsim.memory.dram_state import example_state

    m, t, _ = example_state()
    return m, t, 0, 0


@part
def _exchange(m: Words, t: Words, arrivals: Words, addresses: Words, writes: Words, done: Words, handed: Word) -> Word:
    """As `exchange`."""
    m[M_DONE_HEAD] = -1
    m[M_DONE_TAIL] = -1
    n = addresses.shape[0]
    i = 0
    while i < t.shape[0]:
        if t[i + T_OPEN] == 0 and t[i + T_WAITS] == 0:
            done[t[i + T_ID]] = t[i + T_DONE]
            if handed < n:
                t[i + T_BASE] = addresses[handed]
                t[i + T_WRITE] = writes[handed]
                t[i + T_ARRIVES] = arrivals[handed]
                t[i + T_ID] = handed
                _append_to_port(m, t, i, 0)
                handed += 1
        i += TRANSFER_WORDS
    return handed


@kernel(_nrt=False)
def exchange(m: Words, t: Words, arrivals: Words, addresses: Words, writes: Words, done: Words, handed: Word) -> Word:
    """Take finished requests of a trace out of the transfer table, and hand over the next ones to port 0.

    Parameters
    ----------
    arrivals, addresses, writes : int64 arrays, (n,)
        The whole trace. All other fields of the transfers are those of the table.
    done : int64 array, (n,)
        Receives the clocks of completion.
    handed : int
        Requests that have been handed over so far.

    Returns
    -------
    How many have been handed over now.
    """
    return _exchange(m, t, arrivals, addresses, writes, done, handed)


@exchange.warms_up_with
def _exchange_example() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    from accelsim.memory.dram_state import example_state

    m, t, _ = example_state()
    one = np.zeros(1, np.int64)
    return m, t, one, one, one, one.copy(), 0
