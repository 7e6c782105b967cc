"""Kernels of the flit-level network: what is under way, and what terminals do.

`m` is the memory described in `flit_state`; names such as `vc`, `out` and `flow` are addresses in it.
"""

from __future__ import annotations

from typing import Any

from accelsim.base.kernels import kernel
from accelsim.noc.flit_state import (
    ACTIVE,
    ADDER,
    ALL_VCS,
    AT_ACTIVE,
    AT_ARRIVE,
    AT_BID,
    AT_CLASSES,
    AT_CREDIT,
    AT_DONE,
    AT_EJECT,
    AT_LOG,
    AT_SEND,
    AT_SOURCES,
    BRANCHES,
    BUSY,
    BUSY_SINCE,
    B_ALLOWED,
    B_CHANNEL,
    B_READ,
    B_SIZE,
    CLASSES,
    C_CREDIT,
    C_HOLDER,
    C_PORT,
    C_SIZE,
    C_TARGET,
    DONE,
    ENDED,
    ENDED_BYTES,
    EVENTS,
    FLIT_BYTES,
    FREE_FLOW,
    F_AHEAD,
    F_ANY,
    F_ARRIVED,
    F_CHILD,
    F_CHILDREN,
    F_DELIVERIES,
    F_LAST_FLITS,
    F_MESSAGE,
    F_NEXT,
    F_PACKETS,
    F_PACKET_FLITS,
    F_PARENT,
    F_QUEUED,
    F_SENDABLE,
    F_SIBLING,
    F_SIZE,
    F_SOURCE,
    F_SUMMED,
    F_TARGET,
    F_VCS,
    HEADER_FLITS,
    INJECT,
    LANES,
    LOGGED,
    LOG_ROWS,
    LOG_SIZE,
    MOST_FLITS,
    O_LIMITED,
    O_PENDING,
    O_READY,
    O_SIZE,
    ROWS_DONE,
    ROW_BYTES,
    ROW_DONE,
    ROW_FLOW,
    ROW_ID,
    ROW_ORDER,
    ROW_SOURCE,
    ROW_TARGET,
    R_LISTED,
    R_NUMBER,
    R_OUTPUT,
    R_PENDING,
    R_READY,
    R_ROUTE,
    SLOTS,
    SOURCES,
    TO_VC_BID,
    T_FREE,
    T_HEAD,
    T_LAST,
    T_LEFT,
    T_LISTED,
    T_NUMBER,
    T_OUTPUT,
    T_TAIL,
    T_VC,
    UNDER_WAY,
    V_BIT,
    V_BRANCH,
    V_BUFFER,
    V_COPIES,
    V_FLOW,
    V_HELD,
    V_PENDING,
    V_READ,
    V_ROUTER,
    V_WROTE,
    WHEEL_MASK,
    WHEEL_ROOM,
)

ADDRESS = 2**40 - 1
"""Where an address is read it is masked by this, which tells the compiler that it is not negative: an index that
might be costs three instructions more in each access."""

INNER: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
"""Options of kernels that only kernels call: they compile faster without an entry for Python."""


@kernel(**INNER)
def push(m: Any, area: Any, at: Any, value: Any) -> None:
    """Enter an event into one area of the wheel, for cycle `at`."""
    slot = area + (at & m[WHEEL_MASK]) * m[WHEEL_ROOM] & ADDRESS
    count = m[slot] + 1
    m[slot] = count
    m[slot + count & ADDRESS] = value
    m[EVENTS] += 1


@kernel(**INNER)
def lowest(mask: Any) -> Any:
    """Number of the lowest bit of `mask`, which is not 0. (The compiler knows this loop: one instruction.)"""
    below = (mask & -mask) - 1
    number = 0
    while below:
        below &= below - 1
        number += 1
    return number


@kernel(**INNER)
def turn(mask: Any, start: Any) -> Any:
    """The lowest bit of `mask` at or above `start`, or else the lowest: round robin. `mask` is not 0."""
    above = mask >> start << start
    return lowest(above if above else mask)


@kernel(**INNER)
def enlist(m: Any, router: Any) -> None:
    """Put a router on the list of those that decide in this cycle."""
    router &= ADDRESS
    if m[router + R_LISTED] == 0:
        m[router + R_LISTED] = 1
        m[m[AT_ACTIVE] + m[ACTIVE]] = router
        m[ACTIVE] += 1


@kernel(error_model="numpy", _nrt=False)
def queue_flow(m: Any, flow: Any) -> None:
    """A flow that has packets to send (F_SENDABLE) joins its terminal's queue, unless it stands there."""
    flow &= ADDRESS
    if m[flow + F_QUEUED]:
        return
    m[flow + F_QUEUED] = 1
    m[flow + F_NEXT] = 0
    terminal = m[flow + F_SOURCE] & ADDRESS
    if m[terminal + T_HEAD] == 0:
        m[terminal + T_HEAD] = flow
    else:
        m[m[terminal + T_TAIL] + F_NEXT] = flow
    m[terminal + T_TAIL] = flow
    if m[terminal + T_LISTED] == 0:
        m[terminal + T_LISTED] = 1
        m[m[AT_SOURCES] + m[SOURCES]] = terminal
        m[SOURCES] += 1


@kernel(error_model="numpy", _nrt=False)
def write_flow(m: Any, flow: Any, source: Any, target: Any, message: Any, packets: Any, size: Any, last: Any) -> None:
    """A fresh flow to one terminal (or, with a negative `target`, down a tree), free to use any virtual channel."""
    flow &= ADDRESS
    for n in range(F_SIZE):
        m[flow + n] = 0
    m[flow + F_SOURCE] = source
    m[flow + F_TARGET] = target
    m[flow + F_MESSAGE] = message
    m[flow + F_PACKETS] = packets
    m[flow + F_DELIVERIES] = packets
    m[flow + F_PACKET_FLITS] = size
    m[flow + F_LAST_FLITS] = last
    m[flow + F_VCS] = m[ALL_VCS]
    m[flow + F_ANY] = m[ALL_VCS]


@kernel(error_model="numpy", _nrt=False)
def release_flow(m: Any, flow: Any) -> None:
    """All packets of a flow may leave now."""
    m[flow + F_SENDABLE] = m[flow + F_PACKETS]
    queue_flow(m, flow)


@kernel(**INNER)
def release_row(m: Any, rows: Any, n: Any) -> None:
    """The message of row n starts: a unicast takes a free flow and queues its packets."""
    flow = m[FREE_FLOW]
    m[FREE_FLOW] = m[flow + F_NEXT]
    rows[n, ROW_FLOW] = flow
    room = m[MOST_FLITS] - m[HEADER_FLITS]
    payload = (rows[n, ROW_BYTES] + m[FLIT_BYTES] - 1) // m[FLIT_BYTES]
    packets = (payload + room - 1) // room
    last = payload - (packets - 1) * room + m[HEADER_FLITS]
    write_flow(m, flow, rows[n, ROW_SOURCE], rows[n, ROW_TARGET], -1 - n, packets, m[MOST_FLITS], last)
    if m[LANES]:  # one virtual channel of each class
        lane = rows[n, ROW_ID] % m[LANES]
        m[flow + F_ANY] = 1 << lane
        m[flow + F_VCS] = 1 << lane if m[CLASSES] == 1 else (1 << lane) | (1 << lane + m[LANES])
    release_flow(m, flow)


@kernel(**INNER)
def sum_packets(m: Any, flow: Any, t: Any) -> None:
    """A packet of `flow` has arrived where its parent adds it: send on what is complete."""
    parent = m[flow + F_PARENT]
    m[flow + F_ARRIVED] += 1
    if m[flow + F_ARRIVED] != m[parent + F_SUMMED] + 1:
        return
    m[parent + F_AHEAD] += 1
    while m[parent + F_AHEAD] == m[parent + F_CHILDREN]:
        m[parent + F_SUMMED] += 1
        push(m, m[AT_SEND], t + m[ADDER], parent)
        m[parent + F_AHEAD] = 0
        child = m[parent + F_CHILD]
        while child:
            if m[child + F_ARRIVED] > m[parent + F_SUMMED]:
                m[parent + F_AHEAD] += 1
            child = m[child + F_SIBLING]


@kernel(**INNER)
def end_row(m: Any, rows: Any, flow: Any, t: Any) -> None:
    """The message of a row is complete; its flow is free again, unless a log names it."""
    n = -1 - m[flow + F_MESSAGE] & ADDRESS
    rows[n, ROW_DONE] = t
    m[ENDED] += 1
    m[ENDED_BYTES] += rows[n, ROW_BYTES]
    place = m[ROWS_DONE] & ADDRESS
    m[ROWS_DONE] += 1
    while place:  # in one cycle by ascending id
        other = rows[place - 1, ROW_ORDER] & ADDRESS
        if rows[other, ROW_DONE] != t or rows[other, ROW_ID] < rows[n, ROW_ID]:
            break
        rows[place, ROW_ORDER] = other
        place -= 1
    rows[place, ROW_ORDER] = n
    m[UNDER_WAY] -= 1
    if m[UNDER_WAY] == 0:
        m[BUSY] += t - m[BUSY_SINCE]
    if m[LOG_ROWS] == 0:
        m[flow + F_NEXT] = m[FREE_FLOW]
        m[FREE_FLOW] = flow


@kernel(**INNER)
def deliver(m: Any, rows: Any, t: Any) -> None:
    """Count the packets whose tails have reached their terminals, and note which messages that completes."""
    slot = m[AT_EJECT] + (t & m[WHEEL_MASK]) * m[WHEEL_ROOM] & ADDRESS
    for n in range(1, m[slot] + 1):
        flow = m[slot + n] & ADDRESS
        if m[flow + F_PARENT]:
            sum_packets(m, flow, t)
        m[flow + F_DELIVERIES] -= 1
        if m[flow + F_DELIVERIES] == 0:
            message = m[flow + F_MESSAGE]
            if message < 0:
                end_row(m, rows, flow, t)
            else:
                m[message] -= 1
                if m[message] == 0:
                    m[m[AT_DONE] + m[DONE]] = message
                    m[DONE] += 1
    m[EVENTS] -= m[slot]
    m[slot] = 0


@kernel(**INNER)
def begin_packet(m: Any, vc: Any, t: Any) -> None:
    """The packet at the front of an input virtual channel is routed in cycle t."""
    vc &= ADDRESS
    router = m[vc + V_ROUTER] & ADDRESS
    at = m[vc + V_READ]
    flow = m[vc + V_BUFFER + (at & m[SLOTS]) & ADDRESS] >> 2 & ADDRESS
    m[vc + V_FLOW] = flow
    target = m[flow + F_TARGET]
    if target >= 0:
        route = m[m[router + R_ROUTE] + (target >> 3) & ADDRESS] >> (8 * (target & 7))
        klass = route >> 6 & 3
        m[vc + V_COPIES] = 0
        m[vc + V_PENDING] = 1 << (route & 63)
        m[vc + V_BRANCH + B_READ] = at
        m[vc + V_BRANCH + B_ALLOWED] = m[m[AT_CLASSES] + klass] & (m[flow + F_VCS] if klass else m[flow + F_ANY])
    else:
        tree = m[-target + m[router + R_NUMBER]]
        m[vc + V_COPIES] = 1
        outs = tree & 0xFFFF
        m[vc + V_PENDING] = outs
        while outs:
            o = lowest(outs)
            outs &= outs - 1
            branch = vc + m[BRANCHES] + B_SIZE * o
            klass = tree >> (16 + 2 * o) & 3
            m[branch + B_ALLOWED] = m[m[AT_CLASSES] + klass] & (m[flow + F_VCS] if klass else m[flow + F_ANY])
            m[branch + B_READ] = at
    push(m, m[AT_BID], t + m[TO_VC_BID], vc)


@kernel(**INNER)
def branch_to(m: Any, vc: Any, o: Any) -> Any:
    """B record of an input virtual channel's packet for output o."""
    return vc + m[BRANCHES] + B_SIZE * o & ADDRESS if m[vc + V_COPIES] else vc + V_BRANCH


@kernel(**INNER)
def make_ready(m: Any, vc: Any, o: Any) -> None:
    """If an input virtual channel has a flit and a credit for output o, it bids for the switch."""
    vc &= ADDRESS
    branch = branch_to(m, vc, o)
    if m[branch + B_READ] < m[vc + V_WROTE] and m[(m[branch + B_CHANNEL] & ADDRESS) + C_CREDIT] > 0:
        router = m[vc + V_ROUTER] & ADDRESS
        out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
        m[out + O_READY] |= m[vc + V_BIT]
        m[router + R_READY] |= 1 << o
        enlist(m, router)


@kernel(**INNER)
def bid(m: Any, vc: Any) -> None:
    """The packet at the front of an input virtual channel asks for virtual channels from now on."""
    vc &= ADDRESS
    router = m[vc + V_ROUTER] & ADDRESS
    outs = m[vc + V_PENDING]
    m[router + R_PENDING] |= outs
    while outs:
        o = lowest(outs)
        outs &= outs - 1
        out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
        m[out + O_PENDING] |= m[vc + V_BIT]
        if m[branch_to(m, vc, o) + B_ALLOWED] != m[ALL_VCS]:
            m[out + O_LIMITED] |= m[vc + V_BIT]
    enlist(m, router)


@kernel(**INNER)
def receive(m: Any, t: Any) -> None:
    """Credits, flits, packets whose routing is done, and sums that may leave."""
    offset = (t & m[WHEEL_MASK]) * m[WHEEL_ROOM] & ADDRESS
    credits, arrivals = m[AT_CREDIT] + offset & ADDRESS, m[AT_ARRIVE] + offset & ADDRESS
    bids, sends = m[AT_BID] + offset & ADDRESS, m[AT_SEND] + offset & ADDRESS
    for n in range(1, m[credits] + 1):
        channel = m[credits + n] & ADDRESS
        m[channel + C_CREDIT] += 1
        if m[channel + C_CREDIT] == 1 and m[channel + C_HOLDER]:
            make_ready(m, m[channel + C_HOLDER], m[channel + C_PORT])
    for n in range(1, m[arrivals] + 1):
        vc = m[arrivals + n] >> 36 & ADDRESS
        wrote = m[vc + V_WROTE]
        m[vc + V_BUFFER + (wrote & m[SLOTS]) & ADDRESS] = m[arrivals + n] & 0xFFFFFFFFF
        m[vc + V_WROTE] = wrote + 1
        if m[vc + V_FLOW] == 0:
            begin_packet(m, vc, t)
        outs = m[vc + V_HELD]
        while outs:
            o = lowest(outs)
            outs &= outs - 1
            if m[branch_to(m, vc, o) + B_READ] == wrote:  # else it has been ready, or lacks a credit
                make_ready(m, vc, o)
    for n in range(1, m[bids] + 1):  # with lookahead, begin_packet has just added some
        bid(m, m[bids + n])
    for n in range(1, m[sends] + 1):
        m[m[sends + n] + F_SENDABLE] += 1
        queue_flow(m, m[sends + n])
    m[EVENTS] -= m[credits] + m[arrivals] + m[bids] + m[sends]
    m[credits] = 0
    m[arrivals] = 0
    m[bids] = 0
    m[sends] = 0


@kernel(**INNER)
def write_log(m: Any, t: Any, end: Any, flit: Any, v: Any) -> None:
    """One row of the log, while it has room; `end` is a terminal, or minus one that ejects."""
    if m[LOGGED] < m[LOG_ROWS]:
        row = m[AT_LOG] + LOG_SIZE * m[LOGGED]
        m[row] = t
        m[row + 1] = m[abs(end) + T_NUMBER]
        m[row + 2] = end < 0
        m[row + 3] = flit
        m[row + 4] = v
    m[LOGGED] += 1


@kernel(**INNER)
def send(m: Any, t: Any) -> None:
    """Every terminal with something to send sends one flit, if it has a virtual channel and a credit.

    For a head that is a free one with credit, in turn.
    """
    n = 0
    while n < m[SOURCES]:
        terminal = m[m[AT_SOURCES] + n & ADDRESS] & ADDRESS
        flow = m[terminal + T_HEAD] & ADDRESS
        v = m[terminal + T_VC]
        head = v < 0
        if head:
            free = m[terminal + T_FREE] & m[flow + F_ANY]
            others = free
            while others:
                w = lowest(others)
                others &= others - 1
                if m[terminal + T_OUTPUT + C_SIZE * w + C_CREDIT] == 0:
                    free ^= 1 << w
            if free:
                v = turn(free, m[terminal + T_LAST] + 1)
                m[terminal + T_VC] = v
                m[terminal + T_LAST] = v
                m[terminal + T_FREE] ^= 1 << v
                m[terminal + T_LEFT] = m[flow + F_PACKET_FLITS] if m[flow + F_PACKETS] > 1 else m[flow + F_LAST_FLITS]
        channel = terminal + T_OUTPUT + C_SIZE * v & ADDRESS
        if v >= 0 and m[channel + C_CREDIT] > 0:
            m[channel + C_CREDIT] -= 1
            m[terminal + T_LEFT] -= 1
            tail = m[terminal + T_LEFT] == 0
            flit = flow * 4 + 2 * head + tail
            push(m, m[AT_ARRIVE], t + m[INJECT], m[channel + C_TARGET] | flit)
            if m[LOG_ROWS]:
                write_log(m, t, terminal, flit, v)
            if tail:
                m[terminal + T_FREE] |= 1 << v
                m[terminal + T_VC] = -1
                m[flow + F_PACKETS] -= 1
                m[flow + F_SENDABLE] -= 1
                if m[flow + F_SENDABLE] == 0:
                    m[flow + F_QUEUED] = 0
                    m[terminal + T_HEAD] = m[flow + F_NEXT]
        if m[terminal + T_HEAD] == 0:
            m[terminal + T_LISTED] = 0
            m[SOURCES] -= 1
            m[m[AT_SOURCES] + n] = m[m[AT_SOURCES] + m[SOURCES]]
        else:
            n += 1
