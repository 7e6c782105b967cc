"""The flit-level network once more, for the reader: objects, lists and dictionaries, every cycle, every router.

The rules are those of `accelsim.noc.flit_router`; nothing is skipped and nothing is packed into bits.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

from accelsim.noc.graph import HIGH, LOW, RouterGraph
from accelsim.noc.model import Message
from accelsim.noc.plan import plan
from accelsim.noc.router import RouterSpec


@dataclass
class Stream:
    """A flow: packets from one terminal."""

    source: int
    ways: dict[int, dict[int, int]]  # router -> output -> class
    message: int
    sizes: list[int]
    lanes: list[int]  # virtual channels where these have classes
    any_lanes: list[int]  # and where they have none
    deliveries: int
    parent: Stream | None = None
    children: list[Stream] = field(default_factory=list)
    ready: int = 0  # packets that may leave
    sent: int = 0
    arrived: int = 0
    summed: int = 0


@dataclass
class Flit:
    stream: Stream
    head: bool
    tail: bool


@dataclass
class InputVc:
    router: int
    port: int
    vc: int
    flits: list[Flit] = field(default_factory=list)
    popped: int = 0  # flits ever removed
    stream: Stream | None = None
    bids_from: int = 0
    pending: set[int] = field(default_factory=set)
    held: dict[int, int] = field(default_factory=dict)  # output -> virtual channel
    sent: dict[int, int] = field(default_factory=dict)  # output -> number of the next flit
    accept: int = 0

    def next_flit(self, o: int) -> Flit | None:
        at = self.sent[o] - self.popped
        return self.flits[at] if at < len(self.flits) else None


class NaiveNoc:
    """Messages in, completions out, as `DetailedNoc`."""

    def __init__(self, graph: RouterGraph, spec: RouterSpec) -> None:
        self.graph, self.spec = graph, spec
        self.vcs, self.buffer = spec.virtual_channels, spec.vc_buffer_flits
        ports, routers = range(graph.ports), range(graph.routers)
        self.inputs = {(r, p, v): InputVc(r, p, v) for r in routers for p in ports for v in range(self.vcs)}
        self.credits = {(r, o, v): self.buffer for r in routers for o in ports for v in range(self.vcs)}
        self.owner: dict[tuple[int, int, int], InputVc | None] = dict.fromkeys(self.credits)
        self.vc_grant = dict.fromkeys(self.credits, 0)
        self.switch_grant = {(r, o): 0 for r in routers for o in ports}
        self.switch_accept = {(r, p): 0 for r in routers for p in ports}
        self.vc_turn = {(r, p): 0 for r in routers for p in ports}
        self.rests_until = {(r, o): 0 for r in routers for o in ports}
        self.out_link = {(link.source, link.source_port): link for link in graph.links}
        self.in_link = {(link.target, link.target_port): link for link in graph.links}
        homes = zip(graph.terminal_router.tolist(), graph.terminal_port.tolist(), strict=True)
        self.terminal_at = {home: k for k, home in enumerate(homes)}
        self.home = {k: home for home, k in self.terminal_at.items()}
        self.queues: dict[int, deque[Stream]] = {k: deque() for k in self.home}
        self.source_credits = {(k, v): self.buffer for k in self.home for v in range(self.vcs)}
        self.source_free = {(k, v): True for k in self.home for v in range(self.vcs)}
        self.source_last = dict.fromkeys(self.home, -1)
        self.sending: dict[int, tuple[int, int, int]] = {}  # terminal -> (virtual channel, flits left, size)
        self.events: dict[int, list[tuple]] = defaultdict(list)
        self.open: dict[int, int] = {}
        self.moved = 0

    # messages

    def start(self, message: Message) -> None:
        flows = plan(message, self.graph, self.spec.multicast == "tree", self.spec.reduction == "tree")
        streams = []
        for flow in flows:
            several = len(flow.targets) > 1
            packets, size, last = self.spec.packets(message.n_bytes, self.buffer if several else None)
            lanes = any_lanes = list(range(self.vcs))
            if self.spec.ordered or message.kind == "reduction":
                each = self.vcs // self.graph.classes
                lanes = [v for v in lanes if v % each == message.id % each]
                any_lanes = lanes[:1]
            ways = self._ways(flow.source, flow.targets)
            sizes = [size] * (packets - 1) + [last]
            streams.append(Stream(flow.source, ways, message.id, sizes, lanes, any_lanes, packets * len(flow.targets)))
        for stream, flow in zip(streams, flows, strict=True):
            if flow.parent is not None:
                stream.parent = streams[flow.parent]
                stream.parent.children.append(stream)
        self.open[message.id] = len(streams)
        for stream in streams:
            if not stream.children:
                stream.ready = len(stream.sizes)
                self.queues[stream.source].append(stream)

    def _ways(self, source: int, targets: tuple[int, ...]) -> dict[int, dict[int, int]]:
        ways: dict[int, dict[int, int]] = defaultdict(dict)
        for target in targets:
            r = self.home[source][0]
            while True:
                o, klass = self.graph.out_port(r, target), self.graph.vc_class(r, target)
                ways[r][o] = max(ways[r].get(o, 0), klass)
                if (r, o) not in self.out_link:
                    assert self.terminal_at[r, o] == target
                    break
                r = self.out_link[r, o].target
        return ways

    # one cycle

    def deliver(self, t: int) -> list[int]:
        """Messages complete in cycle t."""
        done = []
        for kind, *what in [e for e in self.events[t] if e[0] == "eject"]:
            stream: Stream = what[0]
            if stream.parent is not None:
                self._sum(stream, t)
            stream.deliveries -= 1
            if stream.deliveries == 0:
                self.open[stream.message] -= 1
                if self.open[stream.message] == 0:
                    done.append(stream.message)
                    del self.open[stream.message]
        self.events[t] = [e for e in self.events[t] if e[0] != "eject"]
        return sorted(done)

    def _sum(self, stream: Stream, t: int) -> None:
        stream.arrived += 1
        parent = stream.parent
        assert parent is not None
        while min(child.arrived for child in parent.children) > parent.summed:
            parent.summed += 1
            self.events[t + self.spec.adder_cycles].append(("send", parent))

    def cycle(self, t: int) -> None:
        self._receive(t)
        self._send(t)
        for r in range(self.graph.routers):
            self._route_and_allocate(r, t)

    def _receive(self, t: int) -> None:
        for kind, *what in self.events.pop(t, []):
            if kind == "credit":
                self.credits[what[0]] += 1
            elif kind == "source credit":
                self.source_credits[what[0]] += 1
            elif kind == "flit":
                vc = self.inputs[what[0]]
                vc.flits.append(what[1])
                assert len(vc.flits) <= self.buffer
                if vc.stream is None:
                    self._begin(vc, t)
            elif kind == "send":
                what[0].ready += 1
                if what[0] not in self.queues[what[0].source]:
                    self.queues[what[0].source].append(what[0])

    def _begin(self, vc: InputVc, t: int) -> None:
        stream = vc.flits[0].stream
        assert vc.flits[0].head
        vc.stream = stream
        vc.pending = set(stream.ways[vc.router])
        vc.sent = dict.fromkeys(vc.pending, vc.popped)
        vc.bids_from = t + self.spec.routing_cycles + self.spec.vc_allocation_cycles - 1

    def _send(self, t: int) -> None:
        for k, queue in self.queues.items():
            if not queue:
                continue
            stream = queue[0]
            head = k not in self.sending
            if head:
                turns = [(self.source_last[k] + 1 + i) % self.vcs for i in range(self.vcs)]
                free = [v for v in turns if self.source_free[k, v] and self.source_credits[k, v]]
                usable = [v for v in free if v in stream.any_lanes]
                if not usable:
                    continue
                self.source_last[k] = usable[0]
                self.source_free[k, usable[0]] = False
                self.sending[k] = usable[0], stream.sizes[stream.sent], 0
            v, left, _ = self.sending[k]
            if not self.source_credits[k, v]:
                continue
            self.source_credits[k, v] -= 1
            tail = left == 1
            arrival = t + 1 + self.graph.terminal_latency_cycles
            self.events[arrival].append(("flit", (*self.home[k], v), Flit(stream, head, tail)))
            self.sending[k] = v, left - 1, 0
            if tail:
                del self.sending[k]
                self.source_free[k, v] = True
                stream.sent += 1
                stream.ready -= 1
                if stream.ready == 0:
                    queue.popleft()

    def _allowed(self, vc: InputVc, o: int) -> list[int]:
        assert vc.stream is not None
        half = self.vcs // 2
        klass = vc.stream.ways[vc.router][o]
        if klass not in (LOW, HIGH):
            return vc.stream.any_lanes
        return [v for v in vc.stream.lanes if v // half == (klass == HIGH)]

    def _route_and_allocate(self, r: int, t: int) -> None:
        ports, all_vcs = range(self.graph.ports), range(self.vcs)
        mine = [self.inputs[r, p, v] for p in ports for v in all_vcs]
        waiting = [vc for vc in mine if vc.stream is not None and vc.pending and vc.bids_from <= t]
        grants = self._switch_grants(r, t, waiting)
        taken = self._vc_grants(r, waiting)
        for vc, o, v in taken:
            vc.pending.discard(o)
            vc.held[o] = v
            self.owner[r, o, v] = vc
        for p in ports:
            if p in grants:
                self._cross(r, p, grants[p], t)

    def _switch_grants(self, r: int, t: int, waiting: list[InputVc]) -> dict[int, dict[int, int]]:
        """Input port -> output -> virtual channel, as the outputs grant."""
        ports = range(self.graph.ports)
        best: dict[tuple[int, int], int] = {}
        for p in ports:
            turns = [(self.vc_turn[r, p] + i) % self.vcs for i in range(self.vcs)]
            for v in turns:
                vc = self.inputs[r, p, v]
                for o, w in vc.held.items():
                    if vc.next_flit(o) is not None and self.credits[r, o, w] > 0:
                        best.setdefault((p, o), v)
            if self.spec.speculative:
                for v in turns:
                    vc = self.inputs[r, p, v]
                    for o in vc.pending if vc in waiting else ():
                        if any(self.owner[r, o, w] is None and self.credits[r, o, w] for w in self._allowed(vc, o)):
                            best.setdefault((p, o), v)
        grants: dict[int, dict[int, int]] = defaultdict(dict)
        for o in ports:
            if self.rests_until[r, o] > t:
                continue
            for p in [(self.switch_grant[r, o] + i) % self.graph.ports for i in ports]:
                if (p, o) in best:
                    grants[p][o] = best[p, o]
                    break
        return grants

    def _vc_grants(self, r: int, waiting: list[InputVc]) -> list[tuple[InputVc, int, int]]:
        count = self.graph.ports * self.vcs
        taken = []
        for o in range(self.graph.ports):
            offers: dict[int, list[int]] = defaultdict(list)
            for v in range(self.vcs):
                if self.owner[r, o, v] is not None:
                    continue
                for i in [(self.vc_grant[r, o, v] + n) % count for n in range(count)]:
                    vc = self.inputs[r, i // self.vcs, i % self.vcs]
                    if vc in waiting and o in vc.pending and v in self._allowed(vc, o):
                        offers[i].append(v)
                        break
            for i, offered in offers.items():
                vc = self.inputs[r, i // self.vcs, i % self.vcs]
                v = min(offered, key=lambda v: (o * self.vcs + v - vc.accept) % count)
                vc.accept = (o * self.vcs + v + 1) % count
                self.vc_grant[r, o, v] = (i + 1) % count
                taken.append((vc, o, v))
        return taken

    def _cross(self, r: int, p: int, grants: dict[int, int], t: int) -> None:
        ports = self.graph.ports
        o = next(o for o in [(self.switch_accept[r, p] + i) % ports for i in range(ports)] if o in grants)
        v = grants[o]
        vc = self.inputs[r, p, v]
        self.switch_accept[r, p] = (o + 1) % ports
        self.vc_turn[r, p] = (v + 1) % self.vcs
        place = vc.sent[o]
        moved = False
        assert vc.stream is not None
        several = len(vc.stream.ways[r]) > 1
        for other, w in sorted(grants.items()):
            if other == o or (several and w == v and vc.sent.get(other) == place):
                self.switch_grant[r, other] = (p + 1) % ports
                if other in vc.held and self.credits[r, other, vc.held[other]] > 0:
                    self._leave(vc, other, t)
                    moved = True
        if moved and all(vc.sent[x] > vc.popped for x in vc.sent):
            self._drop(vc, t)

    def _leave(self, vc: InputVc, o: int, t: int) -> None:
        r, v = vc.router, vc.held[o]
        flit = vc.next_flit(o)
        assert flit is not None
        vc.sent[o] += 1
        self.moved += 1
        self.credits[r, o, v] -= 1
        through = self.spec.switch_allocation_cycles + self.spec.crossbar_cycles
        link = self.out_link.get((r, o))
        if link is not None:
            self.rests_until[r, o] = t + link.period_cycles
            there = (link.target, link.target_port, v)
            self.events[t + through + link.latency_cycles].append(("flit", there, flit))
        else:
            arrival = t + through + self.graph.terminal_latency_cycles
            if flit.tail:
                self.events[arrival].append(("eject", flit.stream))
            back = arrival + 1 + self.graph.terminal_latency_cycles + self.spec.credit_cycles
            self.events[back].append(("credit", (r, o, v)))
        if flit.tail:
            self.owner[r, o, v] = None
            del vc.held[o]

    def _drop(self, vc: InputVc, t: int) -> None:
        flit = vc.flits.pop(0)
        vc.popped += 1
        link = self.in_link.get((vc.router, vc.port))
        back = t + self.spec.switch_allocation_cycles
        if link is not None:
            back += link.latency_cycles + self.spec.credit_cycles
            self.events[back].append(("credit", (link.source, link.source_port, vc.vc)))
        else:
            back += self.graph.terminal_latency_cycles
            self.events[back].append(("source credit", (self.terminal_at[vc.router, vc.port], vc.vc)))
        if flit.tail:
            vc.stream, vc.sent = None, {}
            if vc.flits:
                self._begin(vc, t + 1)


def completions(graph: RouterGraph, spec: RouterSpec, messages: list[Message], limit: int = 20_000) -> list[tuple]:
    """(cycle, id) of all messages, and the flits moved through switches."""
    noc = NaiveNoc(graph, spec)
    todo = deque(sorted(messages))
    done = []
    for t in range(limit):
        done += [(t, m) for m in noc.deliver(t)]
        while todo and todo[0].now == t:
            noc.start(todo.popleft())
        if not todo and not noc.open:
            return [*done, ("moved", noc.moved)]
        noc.cycle(t)
    raise AssertionError("not drained")
