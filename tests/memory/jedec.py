"""JEDEC's rules in plain Python, written as "so long since", apart from the kernels' "not before".

`JedecDevice` knows when each command last happened and says which rule a further one would break. It
checks command logs, and it is what the naive controller asks.
"""

from __future__ import annotations

from collections import defaultdict

from accelsim.memory.dram_layout import COMMAND_NAMES
from accelsim.memory.dram_state import DramParameters

NEVER = -(10**9)


class JedecDevice:
    """One channel."""

    def __init__(self, p: DramParameters) -> None:
        self.p, self.t = p, p.timing
        self.row: dict[int, int] = {}
        self.act: dict[int, int] = defaultdict(lambda: NEVER)  # last clock of the last ACT of a bank
        self.acts: dict[int, list[tuple[int, int]]] = defaultdict(list)  # (first clock, bank) by rank
        self.closed: dict[int, int] = defaultdict(lambda: NEVER)
        self.column: dict[tuple[str, int], int] = defaultdict(lambda: NEVER)  # last RD or WR of a bank
        self.precharge: dict[int, int] = defaultdict(lambda: NEVER)  # last PRE or PREA of a rank
        self.all_closed: dict[int, int] = defaultdict(lambda: NEVER)
        self.refresh: dict[int, int] = defaultdict(lambda: NEVER)
        self.data: list[tuple[int, int, int]] = []  # (begin, end, rank)
        self.bus_free = {"row": 0, "column": 0}

    def rank(self, bank: int) -> int:
        return bank // (self.p.bankgroups * self.p.banks_per_group)

    def group(self, bank: int) -> int:
        return bank // self.p.banks_per_group

    def banks(self, rank: int) -> range:
        per = self.p.bankgroups * self.p.banks_per_group
        return range(rank * per, (rank + 1) * per)

    def broken_rule(self, name: str, bank: int, clock: int, row: int = -1) -> str | None:
        """The rule that command `name` at `clock` would break; PREA and REF: `bank` is the first of the rank."""
        side = "column" if name[:2] in ("RD", "WR") else "row"
        if clock < (self.bus_free[side] if self.p.dual_bus else max(self.bus_free.values())):
            return "command bus"
        rank = self.rank(bank)
        if name == "ACT":
            return self._act(bank, rank, clock)
        if side == "column":
            return self._column(name[:2], bank, rank, clock, row)
        if name in ("PRE", "PREA"):
            return self._pre(name, [bank] if name == "PRE" else list(self.banks(rank)), rank, clock)
        return self._ref(rank, clock)

    def _act(self, bank: int, rank: int, clock: int) -> str | None:
        t, last = self.t, clock + self.p.activate_clocks - 1
        recent = self.acts[rank]
        since = {
            "tRC": clock - (self.act[bank] - self.p.activate_clocks + 1) >= t.tRC,
            "tRP": last - self.closed[bank] >= t.tRP,
            "tRPab": last - self.all_closed[rank] >= t.tRPab,
            "tRFC": last - self.refresh[rank] >= t.tRFC,
            "tRRD_S": not recent or clock - recent[-1][0] >= t.tRRD_S,
            "tRRD_L": all(clock - c >= t.tRRD_L for c, b in recent if self.group(b) == self.group(bank)),
            "tFAW": len(recent) < 4 or clock - recent[-4][0] >= t.tFAW,
            "row already open": bank not in self.row,
        }
        return next((rule for rule, holds in since.items() if not holds), None)

    def _column(self, kind: str, bank: int, rank: int, clock: int, row: int) -> str | None:
        t = self.t
        if self.row.get(bank) != row:
            return "row not open"
        if clock - self.act[bank] < (t.tRCDRD if kind == "RD" else t.tRCDWR):
            return "tRCD"
        for other in self.banks(rank):
            same_group = self.group(other) == self.group(bank)
            if clock - self.column[kind, other] < (t.tCCD_L if same_group else t.tCCD_S):
                return "tCCD"
            written = self.column["WR", other] + t.tCWL + t.tBL
            if kind == "RD" and clock - written < (t.tWTR_L if same_group else t.tWTR_S):
                return "tWTR"
            if kind == "WR" and clock - self.column["RD", other] < t.tRTW:
                return "tRTW"
        begin = clock + (t.tCL if kind == "RD" else t.tCWL)
        for b, e, r in self.data[-8:]:
            # the data of two ranks keep the order of their commands, and a gap
            if begin < e + t.tCS if r != rank else begin < e and b < begin + t.tBL:
                return "data bus"
        return None

    def _pre(self, name: str, banks: list[int], rank: int, clock: int) -> str | None:
        t = self.t
        if clock - self.precharge[rank] < t.tPPD:
            return "tPPD"
        if name == "PREA" and clock - self.refresh[rank] < t.tRFC:
            return "tRFC"
        for bank in banks:
            # also of a bank that will close by itself: until then its row is active
            if clock - self.act[bank] < t.tRAS:
                return "tRAS"
            if bank in self.row:
                if clock - self.column["RD", bank] < t.tRTP:
                    return "tRTP"
                if clock - (self.column["WR", bank] + t.tCWL + t.tBL) < t.tWR:
                    return "tWR"
            elif name == "PRE":
                return "row not open"
        return None

    def _ref(self, rank: int, clock: int) -> str | None:
        t = self.t
        if any(bank in self.row for bank in self.banks(rank)):
            return "row open"
        if any(clock - self.closed[bank] < t.tRP for bank in self.banks(rank)):
            return "tRP"
        if clock - self.all_closed[rank] < t.tRPab:
            return "tRPab"
        if any(clock - self.act[bank] < t.tRC for bank in self.banks(rank)):
            return "tRC"
        if clock - self.refresh[rank] < t.tRFC:
            return "tRFC"
        return None

    def issue(self, name: str, bank: int, clock: int, row: int = -1) -> None:
        """Record a command."""
        t, rank = self.t, self.rank(bank)
        side = "column" if name[:2] in ("RD", "WR") else "row"
        self.bus_free[side] = clock + (self.p.activate_clocks if name == "ACT" else 1)
        if name == "ACT":
            self.row[bank] = row
            self.act[bank] = clock + self.p.activate_clocks - 1
            self.acts[rank].append((clock, bank))
        elif side == "column":
            kind = name[:2]
            self.column[kind, bank] = clock
            begin = clock + (t.tCL if kind == "RD" else t.tCWL)
            self.data.append((begin, begin + t.tBL, rank))
            if name.endswith("A"):
                wait = clock + t.tRTP if kind == "RD" else begin + t.tBL + t.tWR
                earlier = self.column["WR", bank] + t.tCWL + t.tBL + t.tWR, self.column["RD", bank] + t.tRTP
                self.closed[bank] = max(self.act[bank] + t.tRAS, wait, *earlier)
                del self.row[bank]
        elif name == "PRE":
            self.closed[bank] = self.precharge[rank] = clock
            del self.row[bank]
        elif name == "PREA":
            self.precharge[rank] = self.all_closed[rank] = clock
            for other in self.banks(rank):
                if self.row.pop(other, None) is not None:
                    self.closed[other] = clock
        else:
            self.refresh[rank] = clock


def check_log(p: DramParameters, log: list[list[int]]) -> None:
    """Assert that no command of a log (rows of `Dram.commands`) breaks a rule."""
    devices = [JedecDevice(p) for _ in range(p.channels)]
    for clock, channel, command, bank, row, _ in log:
        name = COMMAND_NAMES[command]
        rule = devices[channel].broken_rule(name, bank, clock, row)
        assert rule is None, f"{name} of bank {bank} at clock {clock} breaks {rule}"
        devices[channel].issue(name, bank, clock, row)
