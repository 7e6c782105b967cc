"""Resolved DRAM parameters (integers only), and the int64 array that the kernels work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelsim.memory import dram_layout as lay

XorStep = tuple[int, int, int]
"""(source bit, target bit, bits): `bits` bits of the burst number are xored onto others."""
MapPart = tuple[int, int, str, int]
"""(low bit in the burst number, bits, field, low bit in the field)"""
NO_CAP = 1 << 40
"""More writes in a row than there will be."""


@dataclass(frozen=True)
class DramTimings:
    """JEDEC timing parameters in clocks; the names are those of the standards."""

    tBL: int
    tCL: int
    tCWL: int
    tRCDRD: int
    tRCDWR: int
    tRP: int
    tRPab: int
    tRAS: int
    tRC: int
    tCCD_S: int
    tCCD_L: int
    tRRD_S: int
    tRRD_L: int
    tFAW: int
    tWR: int
    tWTR_S: int
    tWTR_L: int
    tRTP: int
    tRFC: int
    tREFI: int
    tRTW: int
    tCS: int
    tPPD: int


@dataclass(frozen=True)
class DramParameters:
    """Everything that decides a cycle count; `dram_spec.resolve` makes one out of a table and a configuration."""

    name: str
    tCK_ps: int
    channels: int
    ranks: int
    bankgroups: int
    banks_per_group: int
    rows: int
    bursts_per_row: int
    burst_bytes: int
    timing: DramTimings
    map_parts: tuple[MapPart, ...]
    map_xors: tuple[XorStep, ...] = ()
    read_queue: int = 32
    write_queue: int = 32
    drain_above: int = 25
    drain_below: int = 7
    drain_cap: int = NO_CAP
    row_hit_first: bool = True
    bank_queue_depth: int = 0
    row_cap: int = 4
    drain_idle: int = 8
    closed_rows: bool = False
    dual_bus: bool = False
    activate_clocks: int = 1
    refresh: bool = True
    posted_writes: bool = True
    ports: int = 1
    energy_pj: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def banks(self) -> int:
        """Banks of one channel."""
        return self.ranks * self.bankgroups * self.banks_per_group

    @property
    def capacity_bytes(self) -> int:
        """Bytes that addresses can reach."""
        return self.channels * self.banks * self.rows * self.bursts_per_row * self.burst_bytes

    @property
    def peak_bytes_per_clock(self) -> tuple[int, int]:
        """Bandwidth of all channels, as a fraction of bytes per DRAM clock."""
        return self.channels * self.burst_bytes, self.timing.tBL


def build_state(p: DramParameters) -> np.ndarray:
    """The state of an idle DRAM at clock 0, all banks closed: see dram_layout."""
    t = p.timing
    # beside the queues: a row opened for someone at each bank, or the queues of the banks
    banks = p.banks
    entries = p.read_queue + p.write_queue + banks * max(1, p.bank_queue_depth)
    groups = p.ranks * p.bankgroups
    channel0 = lay.HEADER
    port0 = channel0 + p.channels * lay.CHANNEL_WORDS
    profile = port0 + p.ports * lay.PORT_WORDS
    rank0 = profile + lay.PROFILE_WINDOWS * lay.PROFILE_WIDTH
    group0 = rank0 + p.channels * p.ranks * lay.RANK_WORDS
    bank0 = group0 + p.channels * groups * lay.GROUP_WORDS
    list0 = bank0 + p.channels * banks * lay.BANK_WORDS
    filter0 = list0 + p.channels * lay.LISTS * banks
    entry0 = filter0 + p.channels * 2 * lay.FILTER_SIZE
    map0 = entry0 + p.channels * entries * lay.ENTRY_WORDS
    m = np.concatenate([np.zeros(map0, np.int64), map_tables(p)])

    _fill_header(m, p, t)
    m[lay.M_CHANNEL0], m[lay.M_PORT0], m[lay.M_PROFILE], m[lay.M_BANK0] = channel0, port0, profile, bank0
    m[lay.M_MAP], m[lay.C_BANK_BITS] = map0, (p.channels * banks).bit_length() - 1
    m[lay.M_TAKE], m[lay.M_DONE_HEAD], m[lay.M_DONE_TAIL] = lay.NEVER, -1, -1
    m[lay.M_WINDOW_SHIFT] = 6
    m[port0:profile] = -1
    for c in range(p.channels):
        channel = channel0 + c * lay.CHANNEL_WORDS
        first_rank = rank0 + c * p.ranks * lay.RANK_WORDS
        first_bank = bank0 + c * banks * lay.BANK_WORDS
        first_entry = entry0 + c * entries * lay.ENTRY_WORDS
        due = t.tREFI if p.refresh else lay.NEVER
        m[channel + lay.H_TURN] = 0
        m[channel + lay.H_INDEX] = c
        m[channel + lay.H_NEXT] = m[channel + lay.H_REFRESH_AT] = due
        m[channel + lay.H_REFRESH_RANK] = m[channel + lay.H_RANK0] = first_rank
        m[channel + lay.H_BANK0] = first_bank
        m[channel + lay.H_SOON] = list0 + c * lay.LISTS * banks  # the lists of banks are not used then
        m[list0 + c * lay.LISTS * banks:list0 + c * lay.LISTS * banks + banks] = lay.NEVER
        m[channel + lay.H_TAKEN] = -1
        m[channel + lay.H_FILTER] = filter0 + c * 2 * lay.FILTER_SIZE
        m[channel + lay.H_FREE] = first_entry
        for e in range(entries - 1):
            here = first_entry + e * lay.ENTRY_WORDS
            m[here + lay.E_NEXT] = here + lay.ENTRY_WORDS
        per_rank = p.bankgroups * p.banks_per_group
        for r in range(p.ranks):
            rank = first_rank + r * lay.RANK_WORDS
            m[rank + lay.R_BANK0] = first_bank + r * per_rank * lay.BANK_WORDS
            m[rank + lay.R_BANKS] = per_rank
            m[rank + lay.R_CHANNEL] = channel
            m[rank + lay.R_LISTS] = list0 + (c * p.ranks + r) * lay.LISTS * per_rank
            m[rank + lay.R_WINDOW:rank + lay.R_WINDOW + 4] = -lay.NEVER
        for b in range(banks):
            bank = first_bank + b * lay.BANK_WORDS
            m[bank + lay.B_ROW] = -1
            m[bank + lay.B_INDEX] = b
            m[bank + lay.B_CHANNEL] = channel
            m[bank + lay.B_RANK] = first_rank + b // per_rank * lay.RANK_WORDS
            m[bank + lay.B_GROUP] = group0 + (c * groups + b // p.banks_per_group) * lay.GROUP_WORDS
    return m


def _fill_header(m: np.ndarray, p: DramParameters, t: DramTimings) -> None:
    words: dict[int, Any] = {
        lay.C_CHANNELS: p.channels, lay.C_RANKS: p.ranks, lay.C_BANKS: p.banks, lay.C_PORTS: p.ports,
        lay.C_BURST_SHIFT: p.burst_bytes.bit_length() - 1, lay.C_READ_QUEUE: p.read_queue,
        lay.C_WRITE_QUEUE: p.write_queue, lay.C_DRAIN_ABOVE: p.drain_above, lay.C_DRAIN_BELOW: p.drain_below,
        lay.C_DRAIN_CAP: p.drain_cap, lay.C_ROW_HIT_FIRST: p.row_hit_first, lay.C_CLOSED: p.closed_rows,
        lay.C_DUAL_BUS: p.dual_bus, lay.C_ACT_CLOCKS: p.activate_clocks, lay.C_REFRESH: p.refresh,
        lay.C_POSTED: p.posted_writes, lay.C_BL: t.tBL, lay.C_CL: t.tCL, lay.C_CWL: t.tCWL, lay.C_RCD_RD: t.tRCDRD,
        lay.C_RCD_WR: t.tRCDWR, lay.C_RP: t.tRP, lay.C_RP_ALL: t.tRPab, lay.C_RAS: t.tRAS, lay.C_RC: t.tRC,
        lay.C_CCD_S: max(t.tBL, t.tCCD_S), lay.C_CCD_L: max(t.tBL, t.tCCD_L), lay.C_RRD_S: t.tRRD_S,
        lay.C_RRD_L: t.tRRD_L, lay.C_FAW: t.tFAW, lay.C_WR: t.tWR, lay.C_WTR_S: t.tWTR_S, lay.C_WTR_L: t.tWTR_L,
        lay.C_RTP: t.tRTP, lay.C_RFC: t.tRFC, lay.C_REFI: t.tREFI, lay.C_RTW: t.tRTW, lay.C_CS: t.tCS,
        lay.C_PPD: t.tPPD, lay.C_BANK_QUEUES: p.bank_queue_depth, lay.C_ROW_CAP: p.row_cap,
        lay.C_DRAIN_IDLE: p.drain_idle,
    }
    for index, value in words.items():
        m[index] = int(value)


def map_tables(p: DramParameters) -> np.ndarray:
    """The address map for each byte of a burst number; the words of a number's bytes are xored.

    A map moves and xors bits, so what it gives for a number is the xor of what it gives for its bits.
    A word is the number of the bank (channel most significant) and, above it, the row.
    """
    bits = max((low + width for low, width, _, _ in p.map_parts), default=0)
    each = np.int64(1) << np.arange(-(-bits // 8) * 8, dtype=np.int64)
    each[bits:] = 0
    mixed = each.copy()
    for source, target, width in p.map_xors:
        mixed ^= ((each >> source) & ((1 << width) - 1)) << target
    weights = {
        "bank": 1, "bankgroup": p.banks_per_group, "rank": p.bankgroups * p.banks_per_group, "channel": p.banks,
        "row": p.banks * p.channels, "col": 0,
    }
    words = np.zeros_like(each)
    for low, width, name, shift in p.map_parts:
        words += ((mixed >> low) & ((1 << width) - 1)) * (weights[name] << shift)
    tables = np.zeros((len(each) // 8, 1), np.int64)
    for bit in range(8):
        tables = np.concatenate([tables, tables ^ words[bit::8, None]], axis=1)
    return tables.reshape(-1)


def example_state() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """State, transfer table with one read, and an empty log of a small DRAM: what kernels are compiled with."""
    timing = DramTimings(4, 11, 8, 11, 11, 11, 11, 28, 39, 4, 4, 5, 5, 24, 12, 6, 6, 6, 208, 6240, 9, 2, 1)
    parts: tuple[MapPart, ...] = ((0, 7, "col", 0), (7, 3, "bank", 0), (10, 4, "row", 0))
    parameters = DramParameters("example", 1250, 1, 1, 1, 8, 16, 128, 64, timing, parts)
    t = np.zeros(lay.TRANSFER_WORDS, np.int64)
    t[[lay.T_ROW_BYTES, lay.T_ROWS, lay.T_PLANES, lay.T_FOLLOWER]] = 64, 1, 1, -1
    return build_state(parameters), t, np.zeros((0, lay.LOG_WORDS), np.int64)
