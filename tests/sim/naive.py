"""The player's rules, stepped cycle by cycle in plain Python: slow, obvious, and without SimPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from accelsim.sim.passes import ATTRIBUTION, FETCHED, INTERNAL, PassTable


@dataclass
class Pipe:
    """First come, first served: bytes per cycle as a fraction, then a latency."""

    rate: Fraction
    latency: int
    free: Fraction = Fraction(0)

    def submit(self, now: int, n_bytes: int) -> int:
        self.free = max(self.free, Fraction(now)) + n_bytes / self.rate
        return -(-self.free.numerator // self.free.denominator) + self.latency


@dataclass
class Naive:
    """All layers on one core; `run` returns (start, end, cycles by cause) of each."""

    tables: list[PassTable]
    pipe: Pipe
    prefetch: bool = False
    now: int = 0
    begun: int = -1
    results: list[tuple[int, int, dict[str, int]]] = field(default_factory=list)

    def run(self) -> list[tuple[int, int, dict[str, int]]]:
        self.held = dict.fromkeys(FETCHED, 0)
        self.arrived: dict[tuple[int, int, str], int] = {}
        self.flying: list[tuple[int, Any]] = []
        self.results_held = 0
        self.todo = [
            (i, r, o)
            for i, table in enumerate(self.tables)
            for r in range(len(table.rows))
            for o in FETCHED
            if size(table, r, o)
        ]
        self.engine_layer, self.row, self.phase = 0, 0, "begin"
        while len(self.results) < len(self.tables):
            for done, what in [f for f in self.flying if f[0] == self.now]:
                self.flying.remove((done, what))
                self.complete(what)
            reads: list[tuple[int, int, str]] = []
            writes: list[Any] = []
            while self.engine(writes) | self.loader(reads):
                pass
            for item in reads:
                done = self.pipe.submit(self.now, size(self.tables[item[0]], item[1], item[2]))
                self.fly(done, ("load", item))
            for item in writes:
                table = self.tables[item[0]]
                parts = [int(table.rows[f"{o}_bytes"][item[1]]) for o in ("ofmap", "psum_out")]
                ends = [self.pipe.submit(self.now, p) for p in parts if p]
                self.fly(max(ends), ("write", item))
            self.now += 1
        return self.results

    def fly(self, done: int, what: Any) -> None:
        assert done > self.now, "the twin knows memories that take time only"
        self.flying.append((done, what))

    def complete(self, what: Any) -> None:
        if what[0] == "load":
            self.arrived[what[1]] = self.now
        else:
            self.results_held -= 1

    def loader(self, reads: list[Any]) -> bool:
        if not self.todo:
            return False
        layer, row, operand = self.todo[0]
        table = self.tables[layer]
        early = self.prefetch and table.prefetch and operand == "filter"
        if self.begun < layer and not early:
            return False
        slots = table.slots.get(operand, 0)
        if slots and self.held[operand] >= slots:
            return False
        self.todo.pop(0)
        self.held[operand] += 1
        reads.append((layer, row, operand))
        return True

    def engine(self, writes: list[Any]) -> bool:
        if self.engine_layer == len(self.tables):
            return False
        table = self.tables[self.engine_layer]
        rows = table.rows
        if self.phase == "begin":
            self.begun = self.engine_layer
            self.begin = self.load_free = self.stream_free = self.last_done = self.now
            self.waits = dict.fromkeys(ATTRIBUTION, 0)
            self.pending: list[tuple[int, int]] = []
            self.row, self.phase = 0, "decide"
            return True
        for done, row in [p for p in self.pending if p[0] == self.now]:
            self.pending.remove((done, row))
            writes.append((self.engine_layer, row))
        if self.phase == "decide":
            return self.decide(table, rows[self.row])
        if self.phase == "stream" and self.now >= self.stream_free:
            for operand in FETCHED:
                if ends_here(table, self.row, operand):
                    self.held[operand] -= 1
            self.row += 1
            self.phase = "decide" if self.row < len(rows) else "drain"
            return True
        if self.phase == "drain" and self.now >= self.last_done and not self.results_held and not self.pending:
            self.finish(table)
            return True
        return False

    def decide(self, table: PassTable, row: Any) -> bool:
        index = (self.engine_layer, self.row)
        fetched = [o for o in FETCHED if size(table, self.row, o)]
        if any((*index, o) not in self.arrived for o in fetched):
            return False
        writes = row["ofmap_bytes"] + row["psum_out_bytes"] > 0
        slots = table.slots.get("ofmap", 0)
        full = bool(writes and slots and self.results_held >= slots)
        if full:
            self.was_full = True
            return False
        loadable, streamable = self.load_free, self.stream_free
        if row["barrier"]:
            streamable = max(streamable, self.last_done)
            if table.stationary == "ifmap":
                loadable = max(loadable, self.last_done)
        ideal = max(loadable + int(row["load_cycles"]), streamable)
        start, cause = ideal, ""
        for operand in fetched:
            ready = self.arrived[(*index, operand)]
            ready += int(row["load_cycles"]) if operand == table.stationary else 0
            if ready > start:
                start, cause = ready, operand
        if getattr(self, "was_full", False) and self.now > start:
            start, cause = self.now, "ofmap"
        self.was_full = False
        if cause:
            self.waits[cause] += start - ideal
        self.results_held += int(writes)
        self.load_free = start + int(row["load_free_cycles"])
        self.stream_free = start + int(row["stream_cycles"])
        done = self.last_done = max(self.last_done, start + int(row["finish_cycles"]))
        if writes:
            self.pending.append((done, self.row))
        self.phase = "stream"
        return True

    def finish(self, table: PassTable) -> None:
        stalls = sum(self.waits.values())
        self.waits["ofmap"] += self.now - self.last_done
        self.waits["compute"] = int(table.rows["busy_cycles"].sum())
        inner = 0
        for cause in INTERNAL:
            self.waits[cause] = int(table.rows[f"{cause}_cycles"].sum())
            inner += self.waits[cause]
        self.waits["fill_drain"] = self.last_done - self.begin - stalls - self.waits["compute"] - inner
        self.results.append((self.begin, self.now, dict(self.waits)))
        self.engine_layer += 1
        self.phase = "begin"


def size(table: PassTable, row: int, operand: str) -> int:
    name = "psum_in_bytes" if operand == "psum" else f"{operand}_bytes"
    return int(table.rows[name][row])


def ends_here(table: PassTable, row: int, operand: str) -> bool:
    """Is a fetched tile of `operand` in use, and is this the last pass that uses it?"""
    if not any(size(table, r, operand) for r in range(row + 1)):
        return False
    return row == len(table.rows) - 1 or size(table, row + 1, operand) > 0
