"""State of a flit-level network: records in one int64 array, which kernels read and write.

An address is the index of a record's first word; a field is a constant that is added to it. Records
name each other by address. Port o or p of a router, virtual channel v; the local number i of an input
virtual channel is `p * vcs + v`, its bit in masks. A flow is a stream of packets from one terminal to
one or more others; a flit in flight is `4 * flow + 2 * is_head + is_tail`.

One array instead of one for each field, because every further array costs each kernel compile time
and each call unpacking; and a record lies on one or two cache lines.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.noc.graph import IntArray, RouterGraph
from accelsim.noc.router import MAX_VC_INPUTS, RouterSpec

# Words 0 to N_GLOBALS - 1: parameters, then state, then addresses of tables.
(
    NOW,
    PORTS,
    VCS,
    ALL_VCS,  # mask
    SLOTS,  # of a buffer - 1; their number is a power of two
    BUFFER,  # offset of the buffer in a V record
    V_SIZE,
    O_SIZE,
    TO_VC_BID,  # cycles from routing to the bid for a virtual channel
    SPECULATIVE,
    INJECT,  # cycles from terminal to router
    SOURCE_CREDIT,  # cycles from a switch grant to the credit at the terminal
    EJECT_CREDIT,  # cycles from ejection to the credit at the router
    ADDER,  # cycles
    WHEEL_MASK,  # slots of the event wheel - 1
    WHEEL_ROOM,  # words of a slot
    EVENTS,  # pending in the wheel
    ACTIVE,  # routers on the list
    SOURCES,  # terminals on the list
    DONE,  # messages on the list
    LOGGED,  # rows written (or dropped)
    LOG_ROWS,
    QUIET,  # cycles without an event after which nothing will move any more
    AT_CTZ,  # position of the only bit of a word, by the word modulo 67
    AT_CLASSES,  # masks of the virtual channels of each class
    AT_ROUTE,
    AT_ARRIVE,  # areas of the event wheel: in each slot a count, then that many events
    AT_CREDIT,
    AT_BID,
    AT_EJECT,
    AT_SEND,
    AT_ACTIVE,
    AT_SOURCES,
    AT_DONE,
    AT_SCRATCH,
    AT_LOG,
    N_GLOBALS,
) = range(37)
#: Router: input virtual channels that bid for an output virtual channel, or for the switch.
R_VC_BIDS, R_SW_BIDS, R_LISTED, R_INPUT, R_OUTPUT, R_ROUTE, R_NUMBER, R_SIZE = range(8)
#: Input port: C record behind its virtual channel 0, round-robin pointers, V record 0.
I_FEEDER, I_CREDIT_CYCLES, I_ACCEPT, I_TURN, I_VC, I_SIZE = range(6)
#: Input virtual channel: flits ever written and read; flow of the packet at the front, and whether it goes to
#: several outputs; outputs on which it wants, has, and can use a virtual channel. B records, buffer follow.
V_WROTE, V_READ, V_FLOW, V_COPIES, V_PENDING, V_HELD, V_READY, V_ACCEPT, V_ROUTER, V_BIT, V_BRANCH = range(11)
#: Branch of an input virtual channel: virtual channel held on that output, flits read, channels allowed.
B_VC, B_READ, B_ALLOWED, B_SIZE = range(4)
#: Output port: V record 0 of the input it feeds, or minus the T record. C records follow.
O_TARGET, O_CYCLES, O_PERIOD, O_FREE_AT, O_FREE, O_GRANT, O_FLITS, O_VC = range(8)
#: Output virtual channel (of a router or a terminal): credits, V record that holds it or 0, pointer, port.
C_CREDIT, C_HOLDER, C_GRANT, C_PORT, C_SIZE = range(5)
#: Terminal: V record 0 of its input; queue of flows; virtual channel of the packet on its way in, flits left.
T_INPUT, T_HEAD, T_TAIL, T_VC, T_LEFT, T_FREE, T_LAST, T_LISTED, T_NUMBER, T_OUTPUT = range(10)
(
    F_SOURCE,  # T record
    F_TARGET,  # number of the terminal, or minus the address of a multicast tree
    F_MESSAGE,  # address of the count of its flows that are not yet delivered
    F_PACKETS,  # not yet injected
    F_PACKET_FLITS,
    F_LAST_FLITS,  # of the last packet
    F_SENDABLE,  # packets that wait in the source queue
    F_NEXT,  # flow behind it in that queue, or 0
    F_QUEUED,
    F_DELIVERIES,  # packets yet to arrive, over all destinations
    F_VCS,  # virtual channels it may use where these have classes
    F_ANY,  # and where they have none
    F_PARENT,  # flow that adds this one to its own, or 0
    F_CHILD,  # first flow that this one adds, or 0
    F_SIBLING,
    F_ARRIVED,  # packets of this flow that its parent has
    F_CHILDREN,
    F_SUMMED,  # packets of which all children's are there
    F_AHEAD,  # children with more than F_SUMMED there
    F_SIZE,
) = range(20)
LOG_SIZE = 5  # cycle, terminal, 1 if ejected, flit, virtual channel
#: Areas of the scratch: bidders of each output; virtual channel by (input, output); grants to each input;
#: virtual channels granted to each bidder.
S_BIDDERS, S_VC, S_GRANTS, S_OFFERS, S_AREAS = range(5)
S_WIDTH = 64


class Layout:
    """Where things are in a fresh network; `memory` is the array itself.

    Raises
    ------
    ConfigError
        Too many ports x virtual channels, or classes of virtual channels that cannot be halved.
    """

    def __init__(self, graph: RouterGraph, spec: RouterSpec, log_rows: int = 0, where: str | None = None) -> None:
        _check_vcs(graph, spec, where)
        self.graph = graph
        self.spec = spec
        ports, vcs = graph.ports, spec.virtual_channels
        slots = 1 << (spec.vc_buffer_flits - 1).bit_length()
        self.v_size = V_BRANCH + B_SIZE * ports + slots
        self.o_size = O_VC + C_SIZE * vcs
        self.t_size = T_OUTPUT + C_SIZE * vcs
        self.wheel = 1 << self._reach().bit_length()
        room = 1 + max(graph.routers * ports * (vcs + 1), 2 * graph.terminals)
        self._end = N_GLOBALS
        at_ctz = self._area(67)
        at_classes, at_route = self._area(3), self._area(graph.route.size)
        wheels = [self._area(self.wheel * room) for _ in range(5)]
        at_active, at_sources, at_done = (self._area(n) for n in (graph.routers, graph.terminals, graph.terminals))
        at_scratch = self._area(S_AREAS * S_WIDTH)
        at_log = self._area(LOG_SIZE * log_rows)
        self.routers = self._area(R_SIZE * graph.routers)
        self.inputs = self._area(I_SIZE * graph.routers * ports)
        self.outputs = self._area(self.o_size * graph.routers * ports)
        self.terminals = self._area(self.t_size * graph.terminals)
        self.vcs = self._area(self.v_size * graph.routers * ports * vcs)
        self.memory: IntArray = np.zeros(self._end + 4096, np.int64)
        m = self.memory
        m[[PORTS, VCS, ALL_VCS, SLOTS]] = ports, vcs, (1 << vcs) - 1, slots - 1
        m[[BUFFER, V_SIZE, O_SIZE]] = V_BRANCH + B_SIZE * ports, self.v_size, self.o_size
        m[[TO_VC_BID, SPECULATIVE, ADDER]] = self._to_vc_bid, spec.speculative, spec.adder_cycles
        m[[INJECT, SOURCE_CREDIT, EJECT_CREDIT]] = self._inject, self._source_credit, self._eject_credit
        # virtual channels may be given out one after the other, and a link may rest, without anything moving
        m[QUIET] = 4 + vcs + max([1, *(link.period_cycles for link in graph.links)])
        m[[WHEEL_MASK, WHEEL_ROOM, LOG_ROWS]] = self.wheel - 1, room, log_rows
        m[[AT_CTZ, AT_CLASSES, AT_ROUTE]] = at_ctz, at_classes, at_route
        m[[AT_ARRIVE, AT_CREDIT, AT_BID, AT_EJECT, AT_SEND]] = wheels
        m[[AT_ACTIVE, AT_SOURCES, AT_DONE, AT_SCRATCH, AT_LOG]] = at_active, at_sources, at_done, at_scratch, at_log
        for bit in range(63):
            m[at_ctz + (1 << bit) % 67] = bit
        half = (1 << vcs // 2) - 1
        m[at_classes : at_classes + 3] = (1 << vcs) - 1, half, half << (vcs // 2)
        m[at_route : at_route + graph.route.size] = graph.route.ravel()
        self._write_records()

    def _area(self, words: int) -> int:
        at, self._end = self._end, self._end + words
        return at

    @property
    def end(self) -> int:
        """First word behind all records."""
        return self._end

    def input_vc(self, router: int, port: int) -> int:
        """V record of virtual channel 0."""
        return self.vcs + self.v_size * self.spec.virtual_channels * (router * self.graph.ports + port)

    def output(self, router: int, port: int) -> int:
        """O record."""
        return self.outputs + self.o_size * (router * self.graph.ports + port)

    def terminal(self, number: int) -> int:
        """T record."""
        return self.terminals + self.t_size * number

    @property
    def _to_vc_bid(self) -> int:
        return self.spec.routing_cycles + self.spec.vc_allocation_cycles - 1

    @property
    def _through(self) -> int:
        return self.spec.switch_allocation_cycles + self.spec.crossbar_cycles

    @property
    def _inject(self) -> int:
        return 1 + self.graph.terminal_latency_cycles

    @property
    def _source_credit(self) -> int:
        return self.spec.switch_allocation_cycles + self.graph.terminal_latency_cycles

    @property
    def _eject_credit(self) -> int:
        return 1 + self.graph.terminal_latency_cycles + self.spec.credit_cycles

    def _reach(self) -> int:
        """The longest time between an event's cause and itself."""
        longest = max([self.graph.terminal_latency_cycles, *(link.latency_cycles for link in self.graph.links)])
        ways = (self._through + longest + self._eject_credit, self.spec.switch_allocation_cycles + longest)
        return max(*ways, ways[1] + self.spec.credit_cycles, 1 + self._to_vc_bid, self._inject, self.spec.adder_cycles)

    def _write_records(self) -> None:
        m, graph, spec = self.memory, self.graph, self.spec
        ports, vcs, buffer = graph.ports, spec.virtual_channels, spec.vc_buffer_flits
        for r in range(graph.routers):
            router = self.routers + R_SIZE * r
            m[router + R_INPUT] = self.inputs + I_SIZE * ports * r
            m[router + R_OUTPUT] = self.output(r, 0)
            m[router + R_NUMBER] = r
            m[router + R_ROUTE] = m[AT_ROUTE] + r * graph.terminals
            for p in range(ports):
                out, vc = self.output(r, p), self.input_vc(r, p)
                m[out + O_FREE], m[out + O_PERIOD] = m[ALL_VCS], 1
                m[self.inputs + I_SIZE * (ports * r + p) + I_VC] = vc
                for v in range(vcs):
                    channel = out + O_VC + C_SIZE * v
                    m[[channel + C_CREDIT, channel + C_PORT]] = buffer, p
                    m[vc + self.v_size * v + V_ROUTER] = router
                    m[vc + self.v_size * v + V_BIT] = 1 << (p * vcs + v)
        for link in graph.links:
            out = self.output(link.source, link.source_port)
            self._connect(out, link.target, link.target_port, link.latency_cycles)
            m[out + O_PERIOD] = link.period_cycles
        for k, (r, p) in enumerate(zip(graph.terminal_router.tolist(), graph.terminal_port.tolist(), strict=True)):
            self._write_terminal(k, r, p)

    def _connect(self, out: int, router: int, port: int, latency: int) -> None:
        m, spec = self.memory, self.spec
        inp = self.inputs + I_SIZE * (self.graph.ports * router + port)
        m[[out + O_TARGET, out + O_CYCLES]] = self.input_vc(router, port), self._through + latency
        credit = spec.switch_allocation_cycles + latency + spec.credit_cycles
        m[[inp + I_FEEDER, inp + I_CREDIT_CYCLES]] = out + O_VC, credit

    def _write_terminal(self, number: int, router: int, port: int) -> None:
        m, terminal = self.memory, self.terminal(number)
        out, inp = self.output(router, port), self.inputs + I_SIZE * (self.graph.ports * router + port)
        m[[out + O_TARGET, out + O_CYCLES]] = -terminal, self._through + self.graph.terminal_latency_cycles
        m[[inp + I_FEEDER, inp + I_CREDIT_CYCLES]] = terminal + T_OUTPUT, self._source_credit
        m[[terminal + T_INPUT, terminal + T_NUMBER]] = self.input_vc(router, port), number
        m[[terminal + T_VC, terminal + T_LAST, terminal + T_FREE]] = -1, -1, m[ALL_VCS]
        for v in range(self.spec.virtual_channels):
            m[terminal + T_OUTPUT + C_SIZE * v + C_CREDIT] = self.spec.vc_buffer_flits


def _check_vcs(graph: RouterGraph, spec: RouterSpec, where: str | None) -> None:
    got = spec.virtual_channels
    if graph.ports * got > MAX_VC_INPUTS:
        limit = MAX_VC_INPUTS // graph.ports
        raise ConfigError(f"virtual_channels must be <= {limit} with {graph.ports} ports, got {got}", where)
    if int(graph.route.max()) >= 64 and got % 2:
        what = f"virtual_channels must be even for a {graph.name}, whose routing needs two classes"
        raise ConfigError(f"{what}, got {got}", where)
