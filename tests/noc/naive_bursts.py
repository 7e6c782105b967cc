"""Fabrics flit by flit and cycle by cycle, for the reader: what the burst model computes with four numbers."""

from __future__ import annotations

from collections import defaultdict

from accelsim.noc.fabric import Fabric, Stage
from accelsim.noc.model import Message


class StageFlits:
    """One stage of one message: which of its flits are there, and when they went on."""

    def __init__(self, message: Message, number: int, stage: Stage, flits: tuple[int, int, int]) -> None:
        self.message, self.number, self.stage = message, number, stage
        self.flits, self.packet, self.last_packet = flits
        self.there: dict[int, int] = {}  # flit -> cycle from which it may be taken
        self.reached: dict[int, int] = defaultdict(int)  # flit -> how many predecessors' are there
        self.taken = 0
        self.since = -1  # the cycle in which its first flit came

    def is_head(self, k: int) -> bool:
        """Packets are of equal length, the last one of its own."""
        last_head = self.flits - self.last_packet
        return k == last_head if k >= last_head else k % self.packet == 0

    def packet_of(self, k: int) -> range:
        last_head = self.flits - self.last_packet
        if k >= last_head:
            return range(last_head, self.flits)
        return range(k - k % self.packet, k - k % self.packet + self.packet)


def completions(fabric: Fabric, messages: list[Message], limit: int = 20_000) -> list[tuple[int, int]]:
    """(cycle, id), in order."""
    stages: dict[tuple[int, int], StageFlits] = {}
    queues: dict[int, list[StageFlits]] = defaultdict(list)
    rests_until: dict[int, int] = defaultdict(int)
    arrivals: dict[int, list[tuple[StageFlits, int]]] = defaultdict(list)
    open_ends: dict[int, int] = {}
    done: list[tuple[int, int]] = []
    for t in range(limit):
        for message in sorted(m for m in messages if m.now == t):
            plan = fabric.stages(message)
            open_ends[message.id] = sum(s.delivers for s in plan) * fabric.flits(message)[0]
            for n, stage in enumerate(plan):
                stages[message.id, n] = StageFlits(message, n, stage, fabric.flits(message))
                if not stage.after:
                    for k in range(stages[message.id, n].flits):
                        _appear(stages[message.id, n], k, t, fabric, queues)
        # wires of latency 0 pass things on within the cycle: go on until nothing changes
        ended = set()
        changed = True
        while changed:
            changed = False
            for flits, k in arrivals.pop(t, []):
                changed = True
                if flits is None:
                    open_ends[k] -= 1
                    ended.add(k)
                else:
                    _reach(flits, k, t, fabric, queues)
            for wire in sorted(queues):
                changed |= _take(wire, t, fabric, queues, rests_until, stages, arrivals)
        done += sorted((t, m) for m in ended if open_ends[m] == 0)
        if len(done) == len(messages):
            return done
    raise AssertionError("not drained")


def _reach(flits: StageFlits, k: int, t: int, fabric: Fabric, queues: dict[int, list[StageFlits]]) -> None:
    """Flit k has come from one predecessor."""
    flits.reached[k] += 1
    if flits.reached[k] < len(flits.stage.after):
        return
    if not flits.stage.whole_packets:
        _appear(flits, k, t + flits.stage.delay_cycles, fabric, queues)
    elif all(flits.reached[n] == len(flits.stage.after) for n in flits.packet_of(k)):
        for n in flits.packet_of(k):
            _appear(flits, n, t + flits.stage.delay_cycles, fabric, queues)


def _appear(flits: StageFlits, k: int, t: int, fabric: Fabric, queues: dict[int, list[StageFlits]]) -> None:
    wire = fabric.wires[flits.stage.wire]
    flits.there[k] = t + (wire.head_cycles if flits.is_head(k) else 0)
    if flits.since < 0:
        flits.since = t
        queues[flits.stage.wire].append(flits)


def _take(wire_number, t, fabric, queues, rests_until, stages, arrivals) -> bool:
    """The wire takes the next flit of the burst that it serves; a burst is served to its end."""
    queue = queues[wire_number]
    wire = fabric.wires[wire_number]
    waiting = [q for q in queue if q.since <= t]
    if not waiting or rests_until[wire_number] > t:
        return False
    serving = [q for q in waiting if q.taken]
    burst = serving[0] if serving else min(waiting, key=lambda q: (q.since, q.message.id, q.number))
    if burst.there.get(burst.taken, t + 1) > t:
        return False
    k, burst.taken = burst.taken, burst.taken + 1
    rests_until[wire_number] = t + wire.period_cycles
    if burst.taken == burst.flits:
        queue.remove(burst)
    for n, other in [(n, s) for (m, n), s in stages.items() if m == burst.message.id]:
        if burst.number in other.stage.after:
            arrivals[t + wire.latency_cycles].append((other, k))
    if burst.stage.delivers:
        arrivals[t + wire.latency_cycles].append((None, burst.message.id))
    return True
