"""Which banks of a rank need what: the lists from which the FR-FCFS scheduler chooses.

Every bank keeps its queued reads and its queued writes in order of arrival, and knows the oldest that
would hit the open row and the oldest that would not: the scheduler needs no more. Every list has a
clock before which none of its banks is ready (gates of the rank apart), so that most lists are passed
over without a look at their banks.
"""

from __future__ import annotations

from accelsim.base.words import Word, Words, part
from accelsim.memory.dram_layout import (
    B_COLUMN, B_HEAD, B_HIT, B_MISS, B_NEEDS, B_OPENED, B_PLACE, B_PRE, B_RANK, B_ROW, CLOSES, C_DRAIN_ABOVE,
    C_DRAIN_BELOW, C_DRAIN_CAP, E_NEXT, E_PREVIOUS, E_ROW, H_DRAINED, H_OWED, H_QUEUED, H_WRITING,
    R_BANKS, R_COUNT, R_LISTS, R_SOON,
)


@part
def toggle(m: Words, bank: Word, which: Word, ready: Word) -> None:
    """Put `bank`, which is ready at `ready`, on list `which` of its rank; or take it off: the last takes its place."""
    which &= 7
    place = m[bank + B_PLACE + which]
    rank = m[bank + B_RANK]
    start = m[rank + R_LISTS] + which * m[rank + R_BANKS]
    count = m[rank + R_COUNT + which]
    if place == 0:
        m[start + count] = bank
        m[bank + B_PLACE + which] = count + 1
        m[rank + R_COUNT + which] = count + 1
        if count == 0 or ready < m[rank + R_SOON + which]:
            m[rank + R_SOON + which] = ready
    else:
        moved = m[start + count - 1]
        m[start + place - 1] = moved
        m[moved + B_PLACE + which] = place
        m[bank + B_PLACE + which] = 0
        m[rank + R_COUNT + which] = count - 1


@part
def classify(m: Words, bank: Word, kind: Word) -> None:
    """Enter `bank` into the lists that its oldest hit and miss of `kind` call for."""
    kind &= 1
    needs = 1 if m[bank + B_HIT + kind] != 0 else 0
    if m[bank + B_MISS + kind] != 0:
        # a row that was opened for someone stays open until he has been served
        if m[bank + B_ROW] < 0:
            needs += 4
        elif m[bank + B_OPENED] == 0:
            needs += 2
    changed = needs ^ m[bank + B_NEEDS + kind]
    if changed == 0:
        return
    m[bank + B_NEEDS + kind] = needs
    which, gate = kind, B_COLUMN + kind  # lists in the order hits, closes, opens; gates column, precharge, activate
    while changed != 0:
        if changed & 1:
            toggle(m, bank, which, m[bank + gate])
        changed >>= 1
        gate = B_PRE if which < CLOSES else 0
        which += 2


@part
def settle(m: Words, bank: Word, new_row: Word) -> None:
    """Enter `bank` into its lists again; if its row has changed, after finding the oldest hits and misses again."""
    row = m[bank + B_ROW]
    for kind in range(2):
        if new_row:
            hit, miss = 0, m[bank + B_HEAD + kind]
            if row >= 0:
                hit = miss
                while hit != 0 and m[hit + E_ROW] != row:
                    hit = m[hit + E_NEXT]
                if hit == miss:
                    while miss != 0 and m[miss + E_ROW] == row:
                        miss = m[miss + E_NEXT]
            m[bank + B_HIT + kind] = hit
            m[bank + B_MISS + kind] = miss
        classify(m, bank, kind)


@part
def append(m: Words, head: Word, entry: Word) -> None:
    """Put `entry` at the end of the queue whose first entry stands in `head` and whose last two words after it."""
    tail = m[head + 2]
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
    before, after = m[entry + E_PREVIOUS], m[entry + E_NEXT]
    if before != 0:
        m[before + E_NEXT] = after
    else:
        m[head] = after
    if after != 0:
        m[after + E_PREVIOUS] = before
    else:
        m[head + 2] = before


@part
def leave(m: Words, channel: Word, bank: Word, entry: Word, kind: Word) -> None:
    """Take `entry`, whose turn has come, out of the queue of its bank."""
    kind &= 1
    remove(m, bank + B_HEAD + kind, entry)
    m[channel + H_QUEUED + kind] -= 1
    if kind == 0 and m[channel + H_OWED] > 0:
        m[channel + H_OWED] -= 1


@part
def next_hit(m: Words, bank: Word, kind: Word, entry: Word) -> None:
    """The oldest hit of `bank` has been served; its next one is `entry` or stands behind it."""
    kind &= 1
    row = m[bank + B_ROW]
    while entry != 0 and m[entry + E_ROW] != row:
        entry = m[entry + E_NEXT]
    m[bank + B_HIT + kind] = entry
    if m[bank + B_NEEDS + kind] & 2:
        # it may no longer keep the row open against an older miss
        rank = m[bank + B_RANK]
        m[rank + R_SOON + CLOSES + kind] = min(m[rank + R_SOON + CLOSES + kind], m[bank + B_PRE])


@part
def turns(m: Words, channel: Word) -> Word:
    """Whether the channel goes from reads to writes or back: 1 or 0.

    Writes are drained from above the high mark, or when nobody reads, to below the low mark or for so long
    at most.
    """
    reads, writes = m[channel + H_QUEUED], m[channel + H_QUEUED + 1]
    if m[channel + H_WRITING] == 0:
        return int(reads == 0 or writes > m[C_DRAIN_ABOVE] and m[channel + H_OWED] == 0)
    return int(reads != 0 and (writes < m[C_DRAIN_BELOW] or m[channel + H_DRAINED] >= m[C_DRAIN_CAP]))
