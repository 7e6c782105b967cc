"""The controller of one channel, clock by clock and list by list: the twin of the event-driven kernels."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.memory.dram_map import locate
from accelsim.memory.dram_state import DramParameters
from tests.memory.jedec import JedecDevice


@dataclass
class Request:
    """A queued burst."""

    number: int
    burst: int
    write: bool
    bank: int
    row: int


Command = tuple[int, str, int, int]
"""(clock, name, bank, row)"""


class NaiveController:
    """First ready, first come, first served, as the text of `dram_kernel` says it, without any shortcut."""

    def __init__(self, p: DramParameters) -> None:
        self.p = p
        self.device = JedecDevice(p)
        self.queues: dict[bool, list[Request]] = {False: [], True: []}
        self.opened: list[Request] = []
        self.writing = False
        self.drained = 0
        self.owed = 0  # reads that go before the next write
        self.refreshes: list[int] = []
        self.log: list[Command] = []
        self.done: dict[int, int] = {}
        self.hits = self.misses = self.conflicts = 0
        self.counted: set[int] = set()

    def run(self, trace: list[tuple[int, int, bool]]) -> None:
        """Serve (arrival, burst, write) in order; one at most is taken in each clock."""
        waiting = list(enumerate(trace))
        clock = 0
        while waiting or self.opened or any(self.queues.values()):
            if waiting and waiting[0][1][0] <= clock and self.take(clock, waiting[0][0], *waiting[0][1][1:]):
                waiting.pop(0)
            clock += 1
            self.tick(clock)

    def take(self, clock: int, number: int, burst: int, write: bool) -> bool:
        """Accept a request, if there is room and no older one to the same burst is in the way."""
        place = locate(burst, self.p.map_parts, self.p.map_xors)
        bank = (place["rank"] * self.p.bankgroups + place["bankgroup"]) * self.p.banks_per_group + place["bank"]
        same = [r for r in self.queues[True] if r.burst == burst]
        active = [r for r in self.opened if r.burst == burst]
        if same or (not write and any(r.write for r in active)):
            self.done[number] = clock + 1
            return True
        if write and (any(r.burst == burst for r in self.queues[False]) or any(not r.write for r in active)):
            return False
        if len(self.queues[write]) >= (self.p.write_queue if write else self.p.read_queue):
            return False
        self.queues[write].append(Request(number, burst, write, bank, place["row"]))
        if write and self.p.posted_writes:
            self.done[number] = clock + 1
        return True

    def tick(self, clock: int) -> None:
        """One clock."""
        if self.p.refresh and clock % self.p.timing.tREFI == 0:
            self.refreshes += range(self.p.ranks)
        for columns, rows in ((True, False), (False, True)) if self.p.dual_bus else ((True, True),):
            self.slot(clock, columns, rows)

    def slot(self, clock: int, columns: bool, rows: bool) -> None:
        """At most one command of the wanted kinds."""
        if columns and (best := self.oldest([("column", r) for r in self.opened], clock)):
            return self.serve(clock, best[1])
        if self.refreshes:
            return self.maintain(clock) if rows else None
        self.direct()
        queue = self.queues[self.writing]
        wanted = [(self.need(r), r) for r in queue]
        wanted = [(n, r) for n, r in wanted if (columns if n == "column" else rows)]
        best = self.oldest([(n, r) for n, r in wanted if n != "PRE" or self.may_close(r, queue)], clock)
        if best is None:
            return None
        return self.serve(clock, best[1]) if best[0] == "column" else self.row_command(clock, *best)

    def direct(self) -> None:
        reads, writes = len(self.queues[False]), len(self.queues[True])
        if not self.writing and (not reads or writes > self.p.drain_above and not self.owed):
            self.writing, self.drained = True, 0
        elif self.writing and reads and (writes < self.p.drain_below or self.drained >= self.p.drain_cap):
            self.writing = False
            self.owed = 0 if writes < self.p.drain_below else reads

    def need(self, r: Request) -> str:
        row = self.device.row.get(r.bank)
        return "ACT" if row is None else "column" if row == r.row else "PRE"

    def may_close(self, r: Request, queue: list[Request]) -> bool:
        if any(o.bank == r.bank for o in self.opened):
            return False
        hits = [o for o in queue if o.bank == r.bank and self.need(o) == "column"]
        return not (self.p.row_hit_first and any(o.number < r.number for o in hits))

    def oldest(self, wanted: list[tuple[str, Request]], clock: int) -> tuple[str, Request] | None:
        legal = []
        for need, r in wanted:
            name = ("WR" if r.write else "RD") if need == "column" else need
            if self.device.broken_rule(name, r.bank, clock, r.row) is None:
                legal.append((need, r))
        return min(legal, key=lambda w: w[1].number, default=None)

    def count(self, r: Request, what: str) -> None:
        if r.number not in self.counted:
            self.counted.add(r.number)
            setattr(self, what, getattr(self, what) + 1)

    def serve(self, clock: int, r: Request) -> None:
        self.count(r, "hits")
        if self.queues[False]:
            self.drained += r.write
        if r in self.opened:
            self.opened.remove(r)
        else:
            self.leave(r)
        others = [o for o in self.queues[False] + self.queues[True] + self.opened if o.bank == r.bank]
        auto = "A" if self.p.closed_rows and not any(o.row == r.row for o in others) else ""
        self.issue(clock, ("WR" if r.write else "RD") + auto, r.bank, r.row)
        t = self.p.timing
        if not r.write:
            self.done[r.number] = clock + t.tCL + t.tBL
        elif not self.p.posted_writes:
            self.done[r.number] = clock + t.tCWL + t.tBL

    def row_command(self, clock: int, name: str, r: Request) -> None:
        self.count(r, "conflicts" if name == "PRE" else "misses")
        self.issue(clock, name, r.bank, r.row)
        if name == "ACT":
            self.leave(r)
            self.opened.append(r)

    def leave(self, r: Request) -> None:
        self.queues[r.write].remove(r)
        if not r.write:
            self.owed = max(0, self.owed - 1)

    def maintain(self, clock: int) -> None:
        rank = self.refreshes[0]
        banks = self.device.banks(rank)
        if any(b in self.device.row for b in banks):
            if any(o.bank in banks for o in self.opened):
                return
            if self.device.broken_rule("PREA", banks[0], clock) is None:
                self.issue(clock, "PREA", banks[0], -1)
        elif self.device.broken_rule("REF", banks[0], clock) is None:
            self.issue(clock, "REF", banks[0], -1)
            self.refreshes.pop(0)

    def issue(self, clock: int, name: str, bank: int, row: int) -> None:
        self.device.issue(name, bank, clock, row)
        self.log.append((clock, name, bank, row))
