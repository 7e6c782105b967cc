"""A switch with a full crossbar between n inputs and n outputs (of wires; memristor crossbars are elsewhere).

Every input has a queue of messages, served first come, first served. The message at its head asks for
all its outputs at once, crosses when all of them are free, and keeps them until its last flit has
gone; its input is busy for as long. In every cycle requests are looked at in the order of the cycle in
which they came to the head of their queue, ties in turn from the input after the last winner. A
request that cannot be granted reserves its outputs against all that come after it, so that no
multicast starves.
"""

from __future__ import annotations

import heapq

import numpy as np
from pydantic import Field

from accelsim.base.counts import ActionCounts
from accelsim.noc.burst import IdealNoc
from accelsim.noc.fabric import BaseFabric, Stage
from accelsim.noc.model import Completion, Fidelity, Message, NocModel, NocStats, StagedNoc, topology
from accelsim.noc.router import PacketSpec


class SwitchSpec(PacketSpec):
    """Terminals: port p is input p and output p."""

    ports: int = Field(ge=2)
    latency_cycles: int = Field(default=1, ge=1)
    """From a flit's grant to its arrival."""
    max_packet_flits: int = Field(default=2**30, ge=1)


class SwitchFabric(BaseFabric):
    """Outputs as wires: what moves, without arbitration."""

    def __init__(self, spec: SwitchSpec, where: str) -> None:
        super().__init__(spec.ports, spec, where)
        for port in range(spec.ports):
            self.wire("switch", f"out{port}", spec.latency_cycles, 1, ("router",))

    def stages(self, message: Message) -> list[Stage]:
        """See `Fabric.stages`."""
        return [Stage(target, (), True) for _ in message.sources for target in message.targets]


class SwitchNoc(StagedNoc):
    """The switch of the module's text; operands of a reduction are messages of their own."""

    def __init__(self, spec: SwitchSpec, where: str = "noc") -> None:
        super().__init__(spec.ports, where)
        self.spec = spec
        self._queues: list[list[tuple[int, int]]] = [[] for _ in range(spec.ports)]  # (cycle of arrival, message id)
        self._head_since = [0] * spec.ports
        self._input_free_at = [0] * spec.ports
        self._output_free_at = [0] * spec.ports
        self._turn = 0
        self._next: int | None = None  # the next cycle in which a decision may fall
        self._parts: dict[int, int] = {}  # message id -> operands not yet through
        self._ends: list[Completion] = []
        self._end_of: dict[int, int] = {}
        self._flits = [0] * spec.ports

    def _start(self, message: Message) -> None:
        self._parts[message.id] = len(message.sources)
        self._end_of[message.id] = 0
        for source in message.sources:
            if not self._queues[source]:
                self._head_since[source] = max(message.now, self._input_free_at[source])
            self._queues[source].append((message.now, message.id))
        self._next = message.now if self._next is None else min(self._next, message.now)

    def _run(self, limit: int) -> tuple[int, list[int]]:
        while self._next is not None and self._next < limit and not (self._ends and self._ends[0][0] <= self._next):
            self._decide(self._next)
        if not self._ends or self._ends[0][0] > limit:
            return limit, []
        cycle, ids = self._ends[0][0], []
        while self._ends and self._ends[0][0] == cycle:
            ids.append(heapq.heappop(self._ends)[1])
        return cycle, ids

    def _decide(self, t: int) -> None:
        """Grant what can be granted in cycle t, and find the next cycle in which more may be."""
        ports = self.spec.ports
        free = (i for i in range(ports) if self._queues[i] and self._input_free_at[i] <= t)
        asking = [i for i in free if self._head_since[i] <= t]
        asking.sort(key=lambda i: (self._head_since[i], (i - self._turn) % ports))
        reserved: set[int] = set()
        before = self._turn
        for i in asking:
            message = self._open[self._queues[i][0][1]]
            if all(self._output_free_at[o] <= t and o not in reserved for o in message.targets):
                self._grant(i, message, t)
                self._turn = (i + 1) % ports
            else:
                reserved.update(message.targets)
        later = [x for x in (*self._input_free_at, *self._output_free_at) if x > t]
        if self._turn != before:
            later.append(t + 1)  # ties fall differently now
        self._next = min(later) if later and any(self._queues) else None

    def _grant(self, i: int, message: Message, t: int) -> None:
        packets, size, last = self.spec.packets(message.n_bytes)
        flits = (packets - 1) * size + last
        self._queues[i].pop(0)
        self._input_free_at[i] = self._head_since[i] = t + flits
        for o in message.targets:
            self._output_free_at[o] = t + flits
            self._flits[o] += flits
        self._end_of[message.id] = max(self._end_of[message.id], t + flits - 1 + self.spec.latency_cycles)
        self._parts[message.id] -= 1
        if self._parts[message.id] == 0:
            heapq.heappush(self._ends, (self._end_of.pop(message.id), message.id))
            del self._parts[message.id]

    def stats(self) -> NocStats:
        """See `NocModel.stats`; the links are the outputs."""
        stats = super().stats()
        stats.links = [("switch", f"t{o}") for o in range(self.spec.ports)]
        stats.link_flits = np.array(self._flits, np.int64)
        stats.link_period_cycles = np.ones(self.spec.ports, np.int64)
        stats.router_flits = sum(self._flits)
        return stats

    def counts(self) -> ActionCounts:
        """See `NocModel.counts`: `router`, for every flit that leaves through an output."""
        result = ActionCounts()
        result.add("noc", "router", sum(self._flits))
        return result


@topology("switch", SwitchSpec)
def switch(spec: SwitchSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """A switch with arbitration; `bandwidth` and `detailed` are the same."""
    return IdealNoc(SwitchFabric(spec, where), where) if fidelity == "ideal" else SwitchNoc(spec, where)
