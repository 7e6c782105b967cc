"""Drives the flit-level model as BookSim 2 drives its own networks, so that curves compare number by number.

BookSim (Jiang et al., ISPASS 2013) creates packets by a Bernoulli test per node and cycle, warms up for
three sample periods, samples until latency and throughput settle, and lets measured packets drain. Here
are the same steps with the same random numbers (Knuth's lagged generators, The Art of Computer
Programming, vol. 2, 3.6), so that both networks see the same packets in the same cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.noc import flit_state as fs
from accelsim.noc.flit_events import queue_flow
from accelsim.noc.flit_kernel import no_rows, run_flits, run_trace
from accelsim.noc.flit_state import (
    ACTIVE,
    EVENTS,
    F_ANY,
    F_DELIVERIES,
    F_LAST_FLITS,
    F_MESSAGE,
    F_PACKET_FLITS,
    F_PACKETS,
    F_SENDABLE,
    F_SIZE,
    F_SOURCE,
    F_TARGET,
    F_VCS,
    NOW,
    SOURCES,
    T_HEAD,
)
from accelsim.noc.graph import IntArray, RouterGraph
from accelsim.noc.router import RouterSpec

LONG_LAG, SHORT_LAG, BLOCK = 100, 37, 1009
"""Of every `BLOCK` numbers the first `LONG_LAG` are used."""

SAMPLE_CYCLES, WARMUP_SAMPLES, MAX_SAMPLES = 1000, 3, 10
THRESHOLD = 0.05
LATENCY_LIMIT = 500.0

# of the driver's parameters
(
    MADE,  # packets so far
    FIRST_FLOW,
    FLITS,  # of a packet
    CHOICES,  # of which a packet's target is drawn; 0: none, each source has its own
    RECORDING,  # new packets count
    DRAIN_TIME,  # if they are created before this
    STOPPED,  # no new packets
    DRAINED,  # nodes that have made all packets up to DRAIN_TIME
    RECORDED,  # packets that count
    DELIVERED,  # of these
    NODES,
    N_PAR,
) = range(12)
MANY = 2**40


def knuth_state(seed: int, bits: int, adds: bool) -> list[int]:
    """The generator's 100 words after seeding: integers modulo 2 ** bits.

    The recurrence is x[n] = x[n - 100] - x[n - 37], or + with `adds` (the generator of fractions).
    Seeding multiplies a start polynomial by powers of z, modulo the recurrence's polynomial.
    """
    modulus = 1 << bits
    sign = 1 if adds else -1
    word = (2 * (seed + 2)) if adds else (seed + 2) & (modulus - 2)
    x = []
    for _ in range(LONG_LAG):
        x.append(word)
        word *= 2
        if word >= modulus:
            word -= modulus - 2
    x[1] += 1
    rest, turns = seed & ((1 << 30) - 1), 69
    while turns:
        x = _square(x, sign, modulus)
        if rest & 1:
            x = [x[-1], *x[:-1]]
            x[SHORT_LAG] = (x[SHORT_LAG] + sign * x[0]) % modulus
        if rest:
            rest >>= 1
        else:
            turns -= 1
    x = x[SHORT_LAG:] + x[:SHORT_LAG]
    for _ in range(10):
        x = _after(x, 2 * LONG_LAG - 1, sign, modulus)
    return x


def _square(x: list[int], sign: int, modulus: int) -> list[int]:
    wide = [0] * (2 * LONG_LAG - 1)
    wide[::2] = x
    for j in range(2 * LONG_LAG - 2, LONG_LAG - 1, -1):
        for lag in (LONG_LAG - SHORT_LAG, LONG_LAG):
            wide[j - lag] = (wide[j - lag] + sign * wide[j]) % modulus
    return wide[:LONG_LAG]


def _after(x: list[int], count: int, sign: int, modulus: int) -> list[int]:
    """The state `count` numbers later."""
    sequence = list(x)
    for _ in range(count):
        sequence.append((sequence[-LONG_LAG] + sign * sequence[-SHORT_LAG]) % modulus)
    return sequence[-LONG_LAG:]


def new_generator(seed: int, bits: int, adds: bool) -> IntArray:
    """Modulus - 1, sign, position in the block, then the block and the numbers that continue it."""
    state = np.zeros(3 + BLOCK + LONG_LAG, np.int64)
    state[:3] = (1 << bits) - 1, 1 if adds else -1, LONG_LAG
    state[3 + BLOCK :] = knuth_state(seed, bits, adds)
    return state


@kernel
def draw(g: Any) -> Any:
    """The generator's next number."""
    if g[2] == LONG_LAG:
        for j in range(LONG_LAG):
            g[3 + j] = g[3 + BLOCK + j]
        for j in range(3 + LONG_LAG, 3 + BLOCK + LONG_LAG):
            g[j] = (g[j - LONG_LAG] + g[1] * g[j - SHORT_LAG]) & g[0]
        g[2] = 0
    g[2] += 1
    return g[2 + g[2]]


@kernel
def make_packets(
    m: Any, par: Any, probability: float, generators: Any, queue_time: Any, targets: Any, made: Any
) -> None:
    """Nodes with an empty source queue toss for each cycle up to now, until a packet comes of it."""
    now = m[NOW]
    for node in range(par[NODES]):
        terminal = targets[1, node]
        if m[terminal + T_HEAD]:
            continue
        while queue_time[node] <= now:
            created = queue_time[node]
            queue_time[node] += 1
            if draw(generators[1]) / 4503599627370496.0 >= probability:
                continue
            target = targets[3, draw(generators[0]) % par[CHOICES]] if par[CHOICES] else targets[0, node]
            draw(generators[0])  # for the choice of one out of one subnetwork
            recorded = par[RECORDING] and created < par[DRAIN_TIME]
            made[par[MADE], 0] = created
            made[par[MADE], 1] = recorded
            flow = par[FIRST_FLOW] + F_SIZE * par[MADE]
            par[MADE] += 1
            par[RECORDED] += recorded
            m[flow + F_SOURCE] = terminal
            m[flow + F_TARGET] = target
            m[flow + F_MESSAGE] = par[FIRST_FLOW] - 2 + recorded
            m[flow + F_PACKETS] = 1
            m[flow + F_PACKET_FLITS] = par[FLITS]
            m[flow + F_LAST_FLITS] = par[FLITS]
            m[flow + F_SENDABLE] = 1
            m[flow + F_DELIVERIES] = 1
            m[flow + F_VCS] = -1
            m[flow + F_ANY] = -1
            queue_flow(m, flow)
            break
        if par[RECORDING] and queue_time[node] > par[DRAIN_TIME] and targets[2, node] == 0:
            targets[2, node] = 1
            par[DRAINED] += 1


@kernel
def drive(
    m: Any,
    rows: Any,
    par: Any,
    probability: float,
    generators: Any,
    queue_time: Any,
    targets: Any,
    made: Any,
    cycles: int,
) -> Any:
    """Up to `cycles` cycles; fewer when all that is recorded has drained (or with STOPPED, when all is quiet)."""
    for n in range(cycles):
        if par[STOPPED]:
            if m[EVENTS] + m[ACTIVE] + m[SOURCES] == 0:
                return n
        else:
            if par[RECORDED] == par[DELIVERED] and par[DRAINED] == par[NODES]:
                return n
            make_packets(m, par, probability, generators, queue_time, targets, made)
        # the last step has counted the arrivals of this cycle too: they matter one cycle later
        par[DELIVERED] = MANY - m[par[FIRST_FLOW] - 1]
        until = m[NOW] + 1
        while m[NOW] < until:
            run_flits(m, rows, until)
    return cycles


class Trace:
    """Given packets, each `flits` long, to be sent through an idle network.

    Parameters
    ----------
    created, source, target : int arrays, shape (packets,)
        In ascending order of `created`; packets of one cycle and source leave in the order given.
    logs : bool
        Keep what `times` needs.
    """

    def __init__(
        self,
        graph: RouterGraph,
        spec: RouterSpec,
        created: IntArray,
        source: IntArray,
        target: IntArray,
        flits: int,
        logs: bool = True,
    ) -> None:
        packets = len(created)
        self.created = created
        self.layout = layout = fs.Layout(graph, spec, log_rows=2 * flits * packets if logs else 0)
        self.first = layout.end + 1
        m = np.concatenate([layout.memory[: self.first], np.zeros(fs.F_SIZE * packets, np.int64)])
        self.memory: IntArray = m
        m[self.first - 1] = MANY
        flows = m[self.first :].reshape(packets, fs.F_SIZE)
        flows[:, F_SOURCE], flows[:, F_TARGET] = layout.terminals + layout.t_size * source, target
        flows[:, F_MESSAGE], flows[:, [F_VCS, F_ANY]] = self.first - 1, m[fs.ALL_VCS]
        flows[:, F_PACKETS] = flows[:, F_DELIVERIES] = 1
        flows[:, F_PACKET_FLITS] = flows[:, F_LAST_FLITS] = flits

    def run(self) -> int:
        """Send them all; the cycle in which the network is idle again."""
        flows = self.first + fs.F_SIZE * np.arange(len(self.created))
        return int(run_trace(self.memory, no_rows(), self.created, flows))

    def switched(self, graph: RouterGraph) -> tuple[int, int]:
        """Flits over links between routers, and flits through switches."""
        layout, m = self.layout, self.memory
        links = sum(int(m[layout.output(link.source, link.source_port) + fs.O_FLITS]) for link in graph.links)
        ends = zip(graph.terminal_router.tolist(), graph.terminal_port.tolist(), strict=True)
        return links, links + sum(int(m[layout.output(r, p) + fs.O_FLITS]) for r, p in ends)

    def times(self) -> IntArray:
        """Cycles in which head and tail were injected, and head and tail ejected, shape (packets, 4)."""
        m = self.memory
        rows = m[m[fs.AT_LOG] :][: fs.LOG_SIZE * m[fs.LOGGED]].reshape(-1, fs.LOG_SIZE)
        times = np.full((len(self.created), 4), -1)
        for column, (ejected, mark) in enumerate(((0, 2), (0, 1), (1, 2), (1, 1))):
            these = rows[(rows[:, 2] == ejected) & (rows[:, 3] & mark > 0)]
            times[((these[:, 3] >> 2) - self.first) // fs.F_SIZE, column] = these[:, 0]
        return times


def replay(
    graph: RouterGraph, spec: RouterSpec, created: IntArray, source: IntArray, target: IntArray, flits: int
) -> IntArray:
    """`Trace.times` of these packets."""
    trace = Trace(graph, spec, created, source, target, flits)
    trace.run()
    return trace.times()


@dataclass(frozen=True)
class Curve:
    """One point of a latency-throughput curve, as BookSim defines it.

    Latencies are in cycles, rates in flits per node and cycle.
    `latency` counts from the packet's creation, `network_latency` from its head's injection; None where
    nothing was measured. `stable` is False if the mean latency passed 500 cycles.
    """

    stable: bool
    cycles: int
    latency: float | None
    latency_min: int | None
    latency_max: int | None
    network_latency: float | None
    flit_latency: float | None
    injected: float
    accepted: float
    accepted_min: float
    accepted_max: float
    hops: float | None


class BookSim:
    """A network under synthetic traffic, measured as BookSim measures.

    Parameters
    ----------
    graph, spec : RouterGraph, RouterSpec
        One terminal for each router.
    packet_flits : int
    rate : float
        Offered flits per node and cycle.
    targets : sequence of int, optional
        Destination of each source.
    choices : sequence of int, optional
        Without `targets`: nodes of which each packet's destination is drawn with equal chance, its source included;
        all, unless it is given.
    """

    def __init__(
        self,
        graph: RouterGraph,
        spec: RouterSpec,
        packet_flits: int,
        rate: float,
        targets: Sequence[int] | None = None,
        seed: int = 42,
        choices: Sequence[int] | None = None,
    ) -> None:
        nodes = graph.terminals
        drawn = [] if targets is not None else list(range(nodes) if choices is None else choices)
        self.graph = graph
        self.flits = packet_flits
        self.rate = rate
        self.layout = fs.Layout(graph, spec, log_rows=2 * (SAMPLE_CYCLES + 8) * nodes)
        self.memory = self.layout.memory
        self.first = self.layout.end + 2
        self.par = np.zeros(N_PAR, np.int64)
        self.par[[FIRST_FLOW, FLITS, CHOICES, NODES]] = self.first, packet_flits, len(drawn), nodes
        self.par[DRAIN_TIME] = 2**62
        self.memory[self.first - 2 : self.first] = MANY
        self.generators = np.stack([new_generator(seed, 30, False), new_generator(seed, 52, True)])
        self.queue_time = np.zeros(nodes, np.int64)
        own = [self.layout.terminal(k) for k in range(nodes)]
        self.targets = np.zeros((4, max(nodes, len(drawn))), np.int64)
        self.targets[0, :nodes], self.targets[1, :nodes] = 0 if targets is None else list(targets), own
        self.targets[3, : len(drawn)] = drawn
        self.made = np.zeros((0, 2), np.int64)
        self._rows: list[IntArray] = []

    @property
    def now(self) -> int:
        """Cycles that have passed."""
        return int(self.memory[fs.NOW])

    def steps(self, cycles: int) -> int:
        """Run; returns the cycles used (see `drive`)."""
        used = 0
        while used < cycles:
            piece = min(cycles - used, SAMPLE_CYCLES)
            self._make_room(piece)
            ran = drive(
                self.memory,
                no_rows(),
                self.par,
                self.rate / self.flits,
                self.generators,
                self.queue_time,
                self.targets,
                self.made,
                piece,
            )
            used += ran
            at, rows = self.memory[fs.AT_LOG], self.memory[fs.LOGGED]
            self._rows.append(self.memory[at : at + fs.LOG_SIZE * rows].reshape(-1, fs.LOG_SIZE).copy())
            self.memory[fs.LOGGED] = 0
            if ran < piece:
                break
        return used

    def _make_room(self, cycles: int) -> None:
        made = int(self.par[MADE])
        need = made + len(self.queue_time) * (cycles // self.flits + 2)
        if need > len(self.made):
            size = max(need, 2 * len(self.made))
            self.made = np.concatenate([self.made, np.zeros((size - len(self.made), 2), np.int64)])
            words = self.first + fs.F_SIZE * size - len(self.memory)
            self.memory = np.concatenate([self.memory, np.zeros(max(0, words), np.int64)])

    def events(self) -> tuple[IntArray, IntArray]:
        """Injected and ejected flits so far: rows (cycle, terminal, packet, is head, is tail)."""
        rows = np.concatenate([*self._rows, np.zeros((0, fs.LOG_SIZE), np.int64)])
        packet = ((rows[:, 3] >> 2) - self.first) // fs.F_SIZE
        table = np.stack([rows[:, 0], rows[:, 1], packet, rows[:, 3] >> 1 & 1, rows[:, 3] & 1], axis=1)
        return table[rows[:, 2] == 0], table[rows[:, 2] == 1]

    def measure(self, latency: bool = True) -> Curve:
        """The whole procedure; without `latency` only throughput has to settle, and nothing drains."""
        reset, previous, settled, warm, clear = 0, (0.0, 0.0), 0, False, False
        warm_until = 2**62
        for sample in range(MAX_SAMPLES):
            if clear or (not warm and sample % 2 == 0):
                reset, clear = self.now, False
            self.steps(SAMPLE_CYCLES)
            mean, accepted, waiting = self._sample(reset, warm_until)
            if latency and waiting > LATENCY_LIMIT:
                return self._curve(reset, warm_until, self.now, self.now, stable=False)
            change = abs(1 - previous[0] / mean), abs(1 - previous[1] / accepted) if accepted else 1.0
            previous = mean, accepted
            if not warm and sample + 1 >= WARMUP_SAMPLES:
                warm = clear = True
                warm_until = self.now
                self.par[RECORDING] = 1
            elif warm:
                settled = settled + 1 if change[1] <= THRESHOLD and (not latency or change[0] <= THRESHOLD) else 0
                if settled == 3:
                    break
        return self._drain(reset, warm_until, latency)

    def _drain(self, reset: int, warm_until: int, latency: bool) -> Curve:
        end = int(self.now)
        self.par[DRAIN_TIME] = end
        while latency and self.steps(SAMPLE_CYCLES) == SAMPLE_CYCLES:
            if self._sample(reset, warm_until)[2] > LATENCY_LIMIT:
                return self._curve(reset, warm_until, end, end, stable=False)  # as it stood before draining
        self.par[STOPPED] = 1
        while self.steps(SAMPLE_CYCLES) == SAMPLE_CYCLES:
            pass
        return self._curve(reset, warm_until, end, self.now, stable=True)

    def _sample(self, reset: int, warm_until: int) -> tuple[float, float, float]:
        """(mean packet latency, accepted rate, mean latency with the ages of flits that still wait)."""
        _, ejected = self.events()
        now = self.now
        tails = self._counted(ejected, reset, warm_until, now)
        spans = tails[:, 0] - self.made[tails[:, 2], 0]
        flits = int(np.sum((ejected[:, 0] >= reset) & (ejected[:, 0] < now)))
        left = np.full(int(self.par[MADE]), self.flits)
        np.subtract.at(left, ejected[ejected[:, 0] < now, 2], 1)
        ages = (now - self.made[: len(left), 0]) * left
        total = len(spans) + int(left.sum())
        mean = float(spans.mean()) if len(spans) else float("nan")
        return mean, flits / (now - reset) / len(self.queue_time), float(spans.sum() + ages.sum()) / max(1, total)

    def _counted(self, ejected: IntArray, reset: int, warm_until: int, until: int) -> IntArray:
        """Tails whose packets enter the statistics: all while warming up, then the recorded ones."""
        tails = ejected[(ejected[:, 4] == 1) & (ejected[:, 0] >= reset) & (ejected[:, 0] < until)]
        counted: IntArray = tails[(tails[:, 0] < warm_until) | (self.made[tails[:, 2], 1] == 1)]
        return counted

    def _curve(self, reset: int, warm_until: int, end: int, until: int, stable: bool) -> Curve:
        injected, ejected = self.events()
        tails = self._counted(ejected, reset, warm_until, until)
        packets = int(self.par[MADE])
        head_in = np.zeros(packets, np.int64)
        head_in[injected[injected[:, 3] == 1, 2]] = injected[injected[:, 3] == 1, 0]
        flit_spans = self._flit_spans(injected, ejected)[(ejected[:, 0] >= reset) & (ejected[:, 0] < until)]
        nodes, span = len(self.queue_time), end - reset
        window = (ejected[:, 0] >= reset) & (ejected[:, 0] < end)
        per_node = np.bincount(ejected[window, 1], minlength=nodes) / span
        sent = int(np.sum((injected[:, 0] >= reset) & (injected[:, 0] < end)))
        spans = tails[:, 0] - self.made[tails[:, 2], 0]
        hops = self._hops(tails[:, 2])
        some = len(tails) > 0
        return Curve(
            stable=stable,
            cycles=until,
            latency=float(spans.mean()) if some else None,
            latency_min=int(spans.min()) if some else None,
            latency_max=int(spans.max()) if some else None,
            network_latency=float((tails[:, 0] - head_in[tails[:, 2]]).mean()) if some else None,
            flit_latency=float(flit_spans.mean()) if len(flit_spans) else None,
            injected=sent / span / nodes,
            accepted=float(per_node.mean()),
            accepted_min=float(per_node.min()),
            accepted_max=float(per_node.max()),
            hops=float(hops.mean()) if some else None,
        )

    @staticmethod
    def _flit_spans(injected: IntArray, ejected: IntArray) -> IntArray:
        """From injection to ejection, for every ejected flit; the n-th flit of a packet is also ejected n-th."""
        born = injected[np.lexsort((injected[:, 0], injected[:, 2]))]
        order = np.lexsort((ejected[:, 0], ejected[:, 2]))
        gone = ejected[order]
        number = np.arange(len(gone)) - np.searchsorted(gone[:, 2], gone[:, 2])
        spans = np.zeros(len(ejected), np.int64)
        spans[order] = gone[:, 0] - born[np.searchsorted(born[:, 2], gone[:, 2]) + number, 0]
        return spans

    def _hops(self, packets: IntArray) -> IntArray:
        """Routers on each packet's way."""
        at = self.first + fs.F_SIZE * packets
        source = (self.memory[at + F_SOURCE] - self.layout.terminals) // self.layout.t_size
        table = np.array(
            [[self.graph.hops(a, b) for b in range(self.graph.terminals)] for a in range(self.graph.terminals)]
        )
        found: IntArray = table[source, self.memory[at + F_TARGET]]
        return found
