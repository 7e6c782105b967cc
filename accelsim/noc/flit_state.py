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
    BRANCHES,  # offset of a V record's branches for multicasts
    AT_PORT,  # input port of a local number
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
    FLIT_BYTES,  # of these and the next five, see `PacketSpec` and `RouterSpec`
    HEADER_FLITS,
    MOST_FLITS,
    LANES,  # virtual channels among which ordered messages are shared out; 0 without order
    CLASSES,
    FREE_FLOW,  # first of the flow records that nobody uses, a list by F_NEXT
    ROW,  # next row to be released
    ROWS,  # rows there are
    ROWS_DONE,
    PAUSE,  # stop when a row's message is complete
    UNDER_WAY,  # messages
    BUSY_SINCE,
    BUSY,  # cycles in which some message was under way, up to the last time when there was none
    ENDED,  # messages of rows that are complete, ever, and their bytes
    ENDED_BYTES,
    N_GLOBALS,
) = range(52)
#: Router: outputs for which some input virtual channel bids with a flit, or for a virtual channel.
R_READY, R_PENDING, R_LISTED, R_INPUT, R_OUTPUT, R_VC, R_ROUTE, R_NUMBER, R_SIZE = range(9)
#: Input port: round-robin pointers, cycles of its credits.
I_ACCEPT, I_TURN, I_CREDIT_CYCLES, I_SIZE = range(4)
#: Input virtual channel: flits ever written and read; flow of the packet at the front, and whether it goes to
#: several outputs; outputs on which it wants, and has, a virtual channel; pointer; router; bit; C record behind
#: it. The branch of a unicast and the buffer follow, then the branches of multicasts by output.
V_WROTE, V_READ, V_FLOW, V_COPIES, V_PENDING, V_HELD, V_ACCEPT, V_ROUTER, V_BIT, V_FEEDER, V_BRANCH = range(11)
#: Branch of an input virtual channel: C record that it holds, flits read, channels allowed (one, once it has it).
B_CHANNEL, B_READ, B_ALLOWED, B_SIZE = range(4)
V_BUFFER = V_BRANCH + B_SIZE
#: Output port: pointer as a local number; masks of the input virtual channels that have flit, virtual channel and
#: credit, and of those that want a virtual channel, and of the latter those that may not have every one. C records
#: follow.
O_FREE_AT, O_FREE, O_GRANT, O_READY, O_PENDING, O_LIMITED, O_FLITS, O_CYCLES, O_PERIOD, O_VC = range(10)
#: Output virtual channel (of a router or a terminal): credits, V record that holds it or 0, pointer, port; V record
#: that it feeds * 2 ** 36, or minus the T record.
C_CREDIT, C_HOLDER, C_GRANT, C_PORT, C_TARGET, C_SIZE = range(6)
#: Terminal: queue of flows; virtual channel of the packet on its way in, flits left.
T_HEAD, T_TAIL, T_VC, T_LEFT, T_FREE, T_LAST, T_LISTED, T_NUMBER, T_OUTPUT = range(9)
(
    F_TARGET,  # number of the terminal, or minus the address of a multicast tree
    F_VCS,  # virtual channels it may use where these have classes
    F_ANY,  # and where they have none
    F_SOURCE,  # T record
    F_MESSAGE,  # address of the count of its flows that are not yet delivered, or minus a row's number and 1
    F_PACKETS,  # not yet injected
    F_PACKET_FLITS,
    F_LAST_FLITS,  # of the last packet
    F_SENDABLE,  # packets that wait in the source queue
    F_NEXT,  # flow behind it in that queue, or 0
    F_QUEUED,
    F_DELIVERIES,  # packets yet to arrive, over all destinations
    F_PARENT,  # flow that adds this one to its own, or 0
    F_CHILD,  # first flow that this one adds, or 0
    F_SIBLING,
    F_ARRIVED,  # packets of this flow that its parent has
    F_CHILDREN,
    F_SUMMED,  # packets of which all children's are there
    F_AHEAD,  # children with more than F_SUMMED there
    F_SIZE,
) = range(20)
#: Message between two terminals that the kernel starts and completes itself: a row of its own array. ROW_DONE is the
#: cycle of its completion; ROW_ORDER of row n is the number of the message that was complete as the n-th.
ROW_NOW, ROW_ID, ROW_SOURCE, ROW_TARGET, ROW_BYTES, ROW_FLOW, ROW_DONE, ROW_ORDER, ROW_SIZE = range(9)
LAST_ID = 2**63 - 1
LOG_SIZE = 5  # cycle, terminal, 1 if ejected, flit, virtual channel
#: Areas of the scratch: grants to each input; virtual channels granted to each bidder; virtual channel by (input,
#: output).
S_GRANTS, S_OFFERS, S_VC = 0, 64, 128


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
        self.v_size = V_BUFFER + slots + B_SIZE * ports
        self.o_size = O_VC + C_SIZE * vcs
        self.t_size = T_OUTPUT + C_SIZE * vcs
        self.wheel = 1 << self._reach().bit_length()
        room = 1 + max(graph.routers * ports * (vcs + 1), 2 * graph.terminals)
        self._end = N_GLOBALS
        routes = self._packed_routes()
        at_port, at_classes, at_route = (self._area(n) for n in (ports * vcs, 3, routes.size))
        wheels = [self._area(self.wheel * room) for _ in range(5)]
        at_active, at_sources, at_done = (self._area(n) for n in (graph.routers, graph.terminals, graph.terminals))
        at_scratch = self._area(S_VC + ports * ports)
        at_log = self._area(LOG_SIZE * log_rows)
        self.routers = self._area(R_SIZE * graph.routers)
        self.inputs = self._area(I_SIZE * graph.routers * ports)
        self.outputs = self._area(self.o_size * graph.routers * ports)
        self.terminals = self._area(self.t_size * graph.terminals)
        self.vcs = self._area(self.v_size * graph.routers * ports * vcs)
        self.memory: IntArray = np.zeros(self._end + 4096, np.int64)
        m = self.memory
        m[[PORTS, VCS, ALL_VCS, SLOTS]] = ports, vcs, (1 << vcs) - 1, slots - 1
        m[[BRANCHES, V_SIZE, O_SIZE]] = V_BUFFER + slots, self.v_size, self.o_size
        m[[TO_VC_BID, SPECULATIVE, ADDER]] = self._to_vc_bid, spec.speculative, spec.adder_cycles
        m[[INJECT, SOURCE_CREDIT, EJECT_CREDIT]] = self._inject, self._source_credit, self._eject_credit
        # virtual channels may be given out one after the other, and a link may rest, without anything moving
        m[QUIET] = 4 + vcs + max([1, *(link.period_cycles for link in graph.links)])
        m[[WHEEL_MASK, WHEEL_ROOM, LOG_ROWS]] = self.wheel - 1, room, log_rows
        m[[AT_PORT, AT_CLASSES, AT_ROUTE]] = at_port, at_classes, at_route
        m[[AT_ARRIVE, AT_CREDIT, AT_BID, AT_EJECT, AT_SEND]] = wheels
        m[[AT_ACTIVE, AT_SOURCES, AT_DONE, AT_SCRATCH, AT_LOG]] = at_active, at_sources, at_done, at_scratch, at_log
        m[[FLIT_BYTES, HEADER_FLITS, MOST_FLITS]] = spec.flit_bytes, spec.header_flits, spec.max_packet_flits
        m[[LANES, CLASSES]] = vcs // graph.classes if spec.ordered else 0, graph.classes
        m[at_port : at_port + ports * vcs] = np.arange(ports * vcs) // vcs
        half = (1 << vcs // 2) - 1
        m[at_classes : at_classes + 3] = (1 << vcs) - 1, half, half << (vcs // 2)
        m[at_route : at_route + routes.size] = routes
        self._write_records(at_route, routes.size // graph.routers)

    def _packed_routes(self) -> IntArray:
        """The routing table, eight entries of eight bits in a word; each router's row begins with a new word."""
        table = np.zeros((self.graph.routers, -(-self.graph.terminals // 8) * 8), np.uint8)
        table[:, : self.graph.terminals] = self.graph.route
        packed: IntArray = table.astype("<u1").reshape(-1).view("<i8").astype(np.int64)
        return packed

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

    def input(self, router: int, port: int) -> int:
        """I record."""
        return self.inputs + I_SIZE * (router * self.graph.ports + port)

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

    def _write_records(self, at_route: int, route_words: int) -> None:
        m, graph, spec = self.memory, self.graph, self.spec
        ports, vcs, buffer = graph.ports, spec.virtual_channels, spec.vc_buffer_flits
        for r in range(graph.routers):
            router = self.routers + R_SIZE * r
            m[[router + R_INPUT, router + R_OUTPUT]] = self.input(r, 0), self.output(r, 0)
            m[router + R_VC] = self.input_vc(r, 0)
            m[[router + R_NUMBER, router + R_ROUTE]] = r, at_route + route_words * r
            for p in range(ports):
                out, vc = self.output(r, p), self.input_vc(r, p)
                m[out + O_FREE], m[out + O_PERIOD] = m[ALL_VCS], 1
                for v in range(vcs):
                    channel = out + O_VC + C_SIZE * v
                    m[[channel + C_CREDIT, channel + C_PORT]] = buffer, p
                    m[vc + self.v_size * v + V_ROUTER] = router
                    m[vc + self.v_size * v + V_BIT] = 1 << (p * vcs + v)
        for link in graph.links:
            out, inp = self.output(link.source, link.source_port), self.input(link.target, link.target_port)
            m[[out + O_CYCLES, out + O_PERIOD]] = self._through + link.latency_cycles, link.period_cycles
            credit = spec.switch_allocation_cycles + link.latency_cycles + spec.credit_cycles
            m[inp + I_CREDIT_CYCLES] = credit
            self._connect(out + O_VC, link.target, link.target_port)
        for k, (r, p) in enumerate(zip(graph.terminal_router.tolist(), graph.terminal_port.tolist(), strict=True)):
            self._write_terminal(k, r, p)

    def _connect(self, channels: int, router: int, port: int) -> None:
        """The C records at `channels` feed an input port."""
        for v in range(self.spec.virtual_channels):
            channel, vc = channels + C_SIZE * v, self.input_vc(router, port) + self.v_size * v
            self.memory[channel + C_TARGET], self.memory[vc + V_FEEDER] = vc << 36, channel

    def _write_terminal(self, number: int, router: int, port: int) -> None:
        m, terminal = self.memory, self.terminal(number)
        out = self.output(router, port)
        m[out + O_CYCLES] = self._through + self.graph.terminal_latency_cycles
        m[self.input(router, port) + I_CREDIT_CYCLES] = self._source_credit
        m[[terminal + T_NUMBER, terminal + T_VC, terminal + T_LAST, terminal + T_FREE]] = number, -1, -1, m[ALL_VCS]
        self._connect(terminal + T_OUTPUT, router, port)
        for v in range(self.spec.virtual_channels):
            m[out + O_VC + C_SIZE * v + C_TARGET] = -terminal
            m[terminal + T_OUTPUT + C_SIZE * v + C_CREDIT] = self.spec.vc_buffer_flits


def _check_vcs(graph: RouterGraph, spec: RouterSpec, where: str | None) -> None:
    got = spec.virtual_channels
    if graph.ports * got > MAX_VC_INPUTS:
        limit = MAX_VC_INPUTS // graph.ports
        raise ConfigError(f"virtual_channels must be <= {limit} with {graph.ports} ports, got {got}", where)
    if int(graph.route.max()) >= 64 and got % 2:
        what = f"virtual_channels must be even for a {graph.name}, whose routing needs two classes"
        raise ConfigError(f"{what}, got {got}", where)
