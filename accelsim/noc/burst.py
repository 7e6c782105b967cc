"""The burst model: exact serialization on every wire, nothing else in the way.

A message is a burst of flits. A wire serves bursts one after the other, in the order in which their
first flits reach it (ties: by message id, then by stage); it takes a burst's flits as they come, one
per period, and heads of packets `head_cycles` after they have come. Between wires there is room for
everything. Flit k then leaves at the maximum over j <= k of (arrival of j) + (k - j) * period. Arrivals
are maxima of linear sequences, so that the maximum lies at an end: four flits tell all, the first,
the last of the first packet, the head of the last packet, and the last.

For networks without routers this is their exact timing; for routed ones it is the fidelity
`bandwidth`: hop latency and bandwidth of every link, but no virtual channels and no full buffers.
"""

from __future__ import annotations

import heapq

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import SimulationBug
from accelsim.noc.fabric import Fabric, Stage
from accelsim.noc.model import Completion, Kind, Message, NocStats, StagedNoc, Terminals


Times = tuple[int, int, int, int]
"""When the first flit, the last of the first packet, the last head and the last flit are somewhere."""


class _Plan:
    """Stages of messages with the same ends.

    `steps` has for each stage its wire, the wire's latency, period and head cycles, the followers that start when this
    one's flits come, those that wait for more than that, and whether it delivers.
    """

    __slots__ = ("adds", "deliveries", "roots", "stages", "steps", "wires")

    def __init__(self, stages: list[Stage], timing: list[tuple[int, int, int]]) -> None:
        self.stages = stages
        plain: list[list[int]] = [[] for _ in stages]
        joining: list[list[int]] = [[] for _ in stages]
        for n, stage in enumerate(stages):
            joins = len(stage.after) > 1 or stage.whole_packets or stage.delay_cycles
            for before in stage.after:
                (joining if joins else plain)[before].append(n)
        self.steps = [
            (stage.wire, *timing[stage.wire], plain[n], joining[n], stage.delivers) for n, stage in enumerate(stages)
        ]
        self.roots = [n for n, stage in enumerate(stages) if not stage.after]
        self.wires = [stage.wire for stage in stages]
        self.deliveries = sum(stage.delivers for stage in stages)
        self.adds = sum(stage.adds for stage in stages)


class _Burst:
    """A message under way."""

    __slots__ = ("deliveries", "end", "flits", "joins", "last_packet", "packet", "plan")

    def __init__(self, plan: _Plan, flits: tuple[int, int, int]) -> None:
        self.plan = plan
        self.flits, self.packet, self.last_packet = flits
        self.deliveries = plan.deliveries
        self.end = 0
        self.joins: dict[int, list[Times]] = {}  # stage with several predecessors -> what has come so far


class BurstNoc(StagedNoc):
    """Any fabric, with the timing of the module's text.

    Parameters
    ----------
    fabric : Fabric
    where : str
        Name in error messages.
    """

    def __init__(self, fabric: Fabric, where: str = "noc") -> None:
        super().__init__(fabric.terminals, where)
        self.fabric = fabric
        self._free_at = [0] * len(fabric.wires)
        self._flits = [0] * len(fabric.wires)
        self._events: list[tuple[int, int, int, int, int, int]] = []  # (first flit, message id, stage, other times)
        self._bursts: dict[int, _Burst] = {}
        self._ends: list[Completion] = []
        self._plans: dict[tuple[tuple[int, ...], tuple[int, ...], Kind], _Plan] = {}
        self._timing = [(w.latency_cycles, w.period_cycles, w.head_cycles) for w in fabric.wires]
        self._added = 0

    def _plan(self, message: Message) -> _Plan:
        key = (message.sources, message.targets, message.kind)
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = _Plan(self.fabric.stages(message), self._timing)
        return found

    def submit(
        self, now: int, message_id: int, src: Terminals, dst: Terminals, n_bytes: int, kind: Kind | None = None
    ) -> None:
        """See `NocModel.submit`; refuses messages for which the fabric has no way."""
        super().submit(now, message_id, src, dst, n_bytes, kind)
        try:
            self._plan(self._open[message_id])
        except Exception:
            self._withdraw(message_id)
            raise

    def _start(self, message: Message) -> None:
        burst = _Burst(self._plan(message), self.fabric.flits(message))
        self._bursts[message.id] = burst
        self._count(burst)
        now = message.now
        for n in burst.plan.roots:
            heapq.heappush(self._events, (now, message.id, n, now, now, now))

    def _count(self, burst: _Burst) -> None:
        for wire in burst.plan.wires:
            self._flits[wire] += burst.flits
        self._added += burst.plan.adds * burst.flits

    def _run(self, limit: int) -> tuple[int, list[int]]:
        events, ends, pop = self._events, self._ends, heapq.heappop
        while events and events[0][0] < limit and not (ends and ends[0][0] <= events[0][0]):
            self._pass(*pop(events))
        if not ends or ends[0][0] > limit:
            return limit, []
        cycle, ids = ends[0][0], []
        while ends and ends[0][0] == cycle:
            ids.append(heapq.heappop(ends)[1])
        return cycle, ids

    def _pass(self, first: int, message_id: int, n: int, mark: int, last_head: int, last: int) -> None:
        """Stage n has its wire next: reserve the wire, and tell the followers."""
        burst = self._bursts[message_id]
        wire, latency, period, head, plain, joining, delivers = burst.plan.steps[n]
        flits, packet, last_packet = burst.flits, burst.packet, burst.last_packet
        start, free = first + head, self._free_at[wire]
        if start < free:
            start = free
        mark = max(start + (packet - 1) * period, mark)
        last_head = max(start + (flits - last_packet) * period, last_head + head)
        last = max(start + (flits - 1) * period, last_head + (last_packet - 1) * period, last)
        self._free_at[wire] = last + period
        for follower in plain:
            event = (start + latency, message_id, follower, mark + latency, last_head + latency, last + latency)
            heapq.heappush(self._events, event)
        for follower in joining:
            times = start + latency, mark + latency, last_head + latency, last + latency
            self._join(message_id, burst, follower, times)
        if delivers:
            burst.end = max(burst.end, last + latency)
            burst.deliveries -= 1
            if burst.deliveries == 0:
                del self._bursts[message_id]
                heapq.heappush(self._ends, (burst.end, message_id))

    def _join(self, message_id: int, burst: _Burst, n: int, times: Times) -> None:
        """One predecessor of stage n has come; with the last of them the stage may start."""
        stage = burst.plan.stages[n]
        if stage.whole_packets:  # the flits of a packet are there together
            times = times[1], times[1], times[3], times[3]
        come = burst.joins.setdefault(n, [])
        come.append(times)
        if len(come) == len(stage.after):
            first, mark, last_head, last = (max(column) + stage.delay_cycles for column in zip(*come, strict=True))
            heapq.heappush(self._events, (first, message_id, n, mark, last_head, last))

    def stats(self) -> NocStats:
        """See `NocModel.stats`."""
        stats = super().stats()
        wires = self.fabric.wires
        stats.links = [(wire.source, wire.target) for wire in wires]
        stats.link_flits = np.array(self._flits, np.int64)
        stats.link_period_cycles = np.array([wire.period_cycles for wire in wires], np.int64)
        counts = self._action_flits()
        stats.router_flits = counts.get("router", 0)
        stats.flit_hops = counts.get("wire", 0) + counts.get("package_wire", 0)
        stats.place = self.fabric.place
        return stats

    def _action_flits(self) -> dict[str, int]:
        result: dict[str, int] = {}
        for wire, flits in zip(self.fabric.wires, self._flits, strict=True):
            for action in wire.actions:
                result[action] = result.get(action, 0) + flits
        return result

    def counts(self) -> ActionCounts:
        """See `NocModel.counts`: for every flit, the actions of the wires that it took."""
        result = ActionCounts()
        for action, flits in self._action_flits().items():
            result.add("noc", action, flits)
        result.add("noc", "add", self._added)
        return result


class IdealNoc(BurstNoc):
    """Messages take no time: complete in the cycle of submission. What they would move is still counted."""

    def submit(
        self, now: int, message_id: int, src: Terminals, dst: Terminals, n_bytes: int, kind: Kind | None = None
    ) -> None:
        """See `NocModel.submit`."""
        super().submit(now, message_id, src, dst, n_bytes, kind)
        message = self._open.pop(message_id)
        self._staged.clear()
        self._count(_Burst(self._plan(message), self.fabric.flits(message)))
        heapq.heappush(self._ends, (now, message_id))
        self._now = now
        self._stats.messages += 1
        self._stats.bytes_delivered += n_bytes * len(message.targets)
        self._last = max(self._last, now)

    def advance(self, limit: int) -> Completion | None:
        """See `NocModel.advance`."""
        if self._ends and self._ends[0][0] <= limit:
            return heapq.heappop(self._ends)
        self._now = max(self._now, limit)
        return None

    def finish(self) -> int:
        """See `NocModel.finish`."""
        return self._last

    def _run(self, limit: int) -> tuple[int, list[int]]:
        raise SimulationBug("an ideal network has nothing to run")
