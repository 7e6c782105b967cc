"""The DRAM devices behind one channel: which command may come when, and what it changes.

`command_ready` gives the first clock at which a command meets every constraint of JEDEC's tables;
`row_issue` and `column_issue` record one. Nothing here knows queues or schedules, so a test can drive a device by
hand and probe each gate on both sides.

A command that takes several clocks on its bus (the activate of HBM) is named by its first clock;
constraints count from its last.
"""

from __future__ import annotations

from accelsim.base.words import Word, Words, part
from accelsim.memory.dram_layout import (
    ACT, BANK_WORDS, B_ACT, B_COLUMN, B_GROUP, B_PRE, B_RANK, B_ROW, C_ACT_CLOCKS, C_BL, C_CCD_L, C_CCD_S, C_CL,
    C_CS, C_CWL, C_FAW, C_PPD, C_RANKS, C_RAS, C_RC, C_RCD_RD, C_RCD_WR, C_RFC, C_RP, C_RP_ALL, C_RRD_L, C_RRD_S,
    C_RTP, C_RTW, C_WR, C_WTR_L, C_WTR_S, G_ACT, G_COLUMN, H_RANK0, PRE, PREA, RANK_WORDS, RD, RDA, REF,
    R_ACT, R_BANK0, R_BANKS, R_CHANNEL, R_CLOSED_AT, R_COLUMN, R_OPEN, R_OPEN_CLOCKS, R_OPEN_SINCE, R_PRE,
    R_PRE_ALL, R_REFRESH, R_WINDOW, R_WINDOW_AT,
)


@part
def command_ready(m: Words, command: Word, place: Word) -> Word:
    """First clock for `command` at a bank (PREA and REF: at a rank).

    ACT: tRC and tRP of the bank, tRRD_L of its group, tRRD_S, tFAW and tRFC of its rank. RD, WR: tRCD of
    the bank, tCCD_L and tWTR_L of the group, tCCD_S and bus turnaround of the rank. PRE: tRAS, tRTP and
    tWR of the bank, tPPD of the rank; PREA the same for every bank. REF: tRP, tRC and tRFC of the rank.
    """
    if command >= RD:
        kind = command & 1
        ready = max(m[place + B_COLUMN + kind], m[m[place + B_GROUP] + G_COLUMN + kind])
        return max(ready, m[m[place + B_RANK] + R_COLUMN + kind])
    if command == ACT:
        ready = max(m[place + B_ACT], m[m[place + B_GROUP] + G_ACT])
        return max(ready, m[m[place + B_RANK] + R_ACT])
    if command == PRE:
        return max(m[place + B_PRE], m[m[place + B_RANK] + R_PRE])
    if command == PREA:
        return max(m[place + R_PRE_ALL], m[place + R_PRE])
    return m[place + R_REFRESH]


@part
def hold(m: Words, at: Word, clock: Word) -> None:
    """The gate `at` opens no earlier than `clock`."""
    if m[at] < clock:
        m[at] = clock


@part
def _close(m: Words, bank: Word, clock: Word) -> None:
    """The row of `bank` closes at `clock`: what then waits for tRP."""
    rank = m[bank + B_RANK]
    m[bank + B_ROW] = -1
    hold(m, bank + B_ACT, clock + m[C_RP] - m[C_ACT_CLOCKS] + 1)
    hold(m, rank + R_REFRESH, clock + m[C_RP])
    hold(m, rank + R_CLOSED_AT, clock)
    m[rank + R_OPEN] -= 1
    if m[rank + R_OPEN] == 0:
        m[rank + R_OPEN_CLOCKS] += m[rank + R_CLOSED_AT] - m[rank + R_OPEN_SINCE]


@part
def column_issue(m: Words, command: Word, bank: Word, clock: Word) -> None:
    """RD or WR of the open row; RDA and WRA close it as soon as tRAS, tRTP and tWR allow."""
    rank, group, write = m[bank + B_RANK], m[bank + B_GROUP], command & 1
    m[group + G_COLUMN + write] = clock + m[C_CCD_L]
    m[rank + R_COLUMN + write] = clock + m[C_CCD_S]
    if write:
        data = clock + m[C_CWL]
        end = data + m[C_BL]
        hold(m, group + G_COLUMN, end + m[C_WTR_L])
        hold(m, rank + R_COLUMN, end + m[C_WTR_S])
        closes = end + m[C_WR]
    else:
        data = clock + m[C_CL]
        hold(m, rank + R_COLUMN + 1, clock + m[C_RTW])
        closes = clock + m[C_RTP]
    hold(m, bank + B_PRE, closes)
    if command >= RDA:
        _close(m, bank, m[bank + B_PRE])
    else:
        hold(m, rank + R_PRE_ALL, closes)
    if m[C_RANKS] == 1:
        return
    # the data bus changes hands: tCS clocks between the data of two ranks
    free = data + m[C_BL] + m[C_CS]
    other = m[m[rank + R_CHANNEL] + H_RANK0]
    for _ in range(m[C_RANKS]):
        if other != rank:
            hold(m, other + R_COLUMN, free - m[C_CL])
            hold(m, other + R_COLUMN + 1, free - m[C_CWL])
        other += RANK_WORDS


@part
def row_issue(m: Words, command: Word, place: Word, clock: Word, row: Word) -> None:
    """ACT of `row` (its first clock at `clock`) or PRE of the bank `place`; PREA or REF of the rank `place`."""
    ahead = clock - m[C_ACT_CLOCKS] + 1
    if command == ACT:
        rank, group = m[place + B_RANK], m[place + B_GROUP]
        last = clock + m[C_ACT_CLOCKS] - 1
        m[place + B_ROW] = row
        m[place + B_ACT] = clock + m[C_RC]
        m[place + B_PRE] = last + m[C_RAS]
        m[place + B_COLUMN] = last + m[C_RCD_RD]
        m[place + B_COLUMN + 1] = last + m[C_RCD_WR]
        m[group + G_ACT] = clock + m[C_RRD_L]
        at = m[rank + R_WINDOW_AT] & 3
        m[rank + R_WINDOW + at] = clock
        at = (at + 1) & 3
        m[rank + R_WINDOW_AT] = at
        m[rank + R_ACT] = max(m[rank + R_WINDOW + at] + m[C_FAW], clock + m[C_RRD_S])
        hold(m, rank + R_PRE_ALL, last + m[C_RAS])
        hold(m, rank + R_REFRESH, last + m[C_RC])
        if m[rank + R_OPEN] == 0:
            m[rank + R_OPEN_SINCE] = max(clock, m[rank + R_CLOSED_AT])
        m[rank + R_OPEN] += 1
    elif command == PRE:
        _close(m, place, clock)
        hold(m, m[place + B_RANK] + R_PRE, clock + m[C_PPD])
    elif command == PREA:
        bank = m[place + R_BANK0]
        for _ in range(m[place + R_BANKS]):
            if m[bank + B_ROW] >= 0:
                _close(m, bank, clock)
            bank += BANK_WORDS
        hold(m, place + R_PRE, clock + m[C_PPD])
        hold(m, place + R_ACT, ahead + m[C_RP_ALL])
        hold(m, place + R_REFRESH, clock + m[C_RP_ALL])
    elif command == REF:
        hold(m, place + R_ACT, ahead + m[C_RFC])
        hold(m, place + R_REFRESH, clock + m[C_RFC])
        hold(m, place + R_PRE_ALL, clock + m[C_RFC])
