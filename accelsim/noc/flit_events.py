"""Kernels of the flit-level network: what is under way, and what terminals do.

`m` is the memory described in `flit_state`; names such as `vc`, `out` and `flow` are addresses in it.
"""

from __future__ import annotations

from typing import Any

from accelsim.base.kernels import kernel
from accelsim.noc.flit_state import (
    ALL_VCS,
    ACTIVE,
    ADDER,
    AT_ACTIVE,
    AT_ARRIVE,
    AT_BID,
    AT_CLASSES,
    AT_CREDIT,
    AT_CTZ,
    AT_DONE,
    AT_EJECT,
    AT_LOG,
    AT_SEND,
    AT_SOURCES,
    BUFFER,
    B_ALLOWED,
    B_READ,
    B_SIZE,
    B_VC,
    C_CREDIT,
    C_HOLDER,
    C_PORT,
    C_SIZE,
    DONE,
    EVENTS,
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
    INJECT,
    LOGGED,
    LOG_ROWS,
    LOG_SIZE,
    O_SIZE,
    O_VC,
    PORTS,
    R_LISTED,
    R_NUMBER,
    R_OUTPUT,
    R_ROUTE,
    R_SW_BIDS,
    R_VC_BIDS,
    SLOTS,
    SOURCES,
    TO_VC_BID,
    T_FREE,
    T_HEAD,
    T_INPUT,
    T_LAST,
    T_LEFT,
    T_LISTED,
    T_NUMBER,
    T_OUTPUT,
    T_TAIL,
    T_VC,
    VCS,
    V_BIT,
    V_BRANCH,
    V_COPIES,
    V_FLOW,
    V_HELD,
    V_PENDING,
    V_READ,
    V_READY,
    V_ROUTER,
    V_SIZE,
    V_WROTE,
    WHEEL_MASK,
    WHEEL_ROOM,
)

INNER: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of kernels that only kernels call: they compile faster without an entry for Python."""


@kernel(**INNER)
def push(m: Any, area: Any, at: Any, value: Any) -> None:
    """Enter an event into one area of the wheel, for cycle `at`."""
    slot = area + (at & m[WHEEL_MASK]) * m[WHEEL_ROOM]
    m[slot] += 1
    m[slot + m[slot]] = value
    m[EVENTS] += 1


@kernel(**INNER)
def turn(m: Any, mask: Any, start: Any) -> Any:
    """The lowest bit of `mask` at or above `start`, or else the lowest: round robin. `mask` is not 0.

    (Powers of two below 2 ** 66 differ modulo 67, which finds the number of a bit.)
    """
    above = mask >> start << start
    if above == 0:
        above = mask
    return m[m[AT_CTZ] + (above & -above) % 67]


@kernel(**INNER)
def enlist(m: Any, router: Any) -> None:
    """Put a router on the list of those that decide in this cycle."""
    if m[router + R_LISTED] == 0:
        m[router + R_LISTED] = 1
        m[m[AT_ACTIVE] + m[ACTIVE]] = router
        m[ACTIVE] += 1


@kernel(error_model="numpy")
def queue_flow(m: Any, flow: Any) -> None:
    """A flow that has packets to send (F_SENDABLE) joins its terminal's queue, unless it stands there."""
    if m[flow + F_QUEUED]:
        return
    m[flow + F_QUEUED] = 1
    m[flow + F_NEXT] = 0
    terminal = m[flow + F_SOURCE]
    if m[terminal + T_HEAD] == 0:
        m[terminal + T_HEAD] = flow
    else:
        m[m[terminal + T_TAIL] + F_NEXT] = flow
    m[terminal + T_TAIL] = flow
    if m[terminal + T_LISTED] == 0:
        m[terminal + T_LISTED] = 1
        m[m[AT_SOURCES] + m[SOURCES]] = terminal
        m[SOURCES] += 1


@kernel(error_model="numpy")
def write_flow(m: Any, flow: Any, source: Any, target: Any, message: Any, packets: Any, size: Any, last: Any) -> None:
    """A fresh flow to one terminal (or, with a negative `target`, down a tree), free to use any virtual channel."""
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


@kernel(error_model="numpy")
def release_flow(m: Any, flow: Any) -> None:
    """All packets of a flow may leave now."""
    m[flow + F_SENDABLE] = m[flow + F_PACKETS]
    queue_flow(m, flow)


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
def deliver(m: Any, t: Any) -> Any:
    """Count the packets whose tails have reached their terminals; returns how many messages that completes."""
    slot = m[AT_EJECT] + (t & m[WHEEL_MASK]) * m[WHEEL_ROOM]
    for n in range(1, m[slot] + 1):
        flow = m[slot + n]
        if m[flow + F_PARENT]:
            sum_packets(m, flow, t)
        m[flow + F_DELIVERIES] -= 1
        if m[flow + F_DELIVERIES] == 0:
            message = m[flow + F_MESSAGE]
            m[message] -= 1
            if m[message] == 0:
                m[m[AT_DONE] + m[DONE]] = message
                m[DONE] += 1
    m[EVENTS] -= m[slot]
    m[slot] = 0
    return m[DONE]


@kernel(**INNER)
def begin_packet(m: Any, vc: Any, t: Any) -> None:
    """The packet at the front of an input virtual channel is routed in cycle t."""
    router = m[vc + V_ROUTER]
    flow = m[vc + m[BUFFER] + (m[vc + V_READ] & m[SLOTS])] >> 2
    m[vc + V_FLOW] = flow
    target = m[flow + F_TARGET]
    if target >= 0:  # as a tree with one branch
        route = m[m[router + R_ROUTE] + target]
        tree = 1 << (route & 63) | (route >> 6) << (16 + 2 * (route & 63))
    else:
        tree = m[-target + m[router + R_NUMBER]]
    m[vc + V_PENDING] = tree & 0xFFFF
    m[vc + V_COPIES] = tree & 0xFFFF & ((tree & 0xFFFF) - 1)
    for o in range(m[PORTS]):
        if tree >> o & 1:
            branch = vc + V_BRANCH + B_SIZE * o
            klass = tree >> (16 + 2 * o) & 3
            m[branch + B_ALLOWED] = m[m[AT_CLASSES] + klass] & (m[flow + F_VCS] if klass else m[flow + F_ANY])
            m[branch + B_READ] = m[vc + V_READ]
    push(m, m[AT_BID], t + m[TO_VC_BID], vc)


@kernel(**INNER)
def make_ready(m: Any, vc: Any, o: Any) -> None:
    """If an input virtual channel has a flit and a credit for output o, it bids for the switch."""
    router = m[vc + V_ROUTER]
    branch = vc + V_BRANCH + B_SIZE * o
    channel = m[router + R_OUTPUT] + m[O_SIZE] * o + O_VC + C_SIZE * m[branch + B_VC]
    if m[branch + B_READ] < m[vc + V_WROTE] and m[channel + C_CREDIT] > 0:
        m[vc + V_READY] |= 1 << o
        m[router + R_SW_BIDS] |= m[vc + V_BIT]
        enlist(m, router)


@kernel(**INNER)
def receive(m: Any, t: Any) -> None:
    """Credits, flits, packets whose routing is done, and sums that may leave."""
    offset = (t & m[WHEEL_MASK]) * m[WHEEL_ROOM]
    credits, arrivals = m[AT_CREDIT] + offset, m[AT_ARRIVE] + offset
    bids, sends = m[AT_BID] + offset, m[AT_SEND] + offset
    for n in range(1, m[credits] + 1):
        channel = m[credits + n]
        m[channel + C_CREDIT] += 1
        if m[channel + C_HOLDER] and m[channel + C_CREDIT] == 1:
            make_ready(m, m[channel + C_HOLDER], m[channel + C_PORT])
    for n in range(1, m[arrivals] + 1):
        vc = m[arrivals + n] >> 36
        m[vc + m[BUFFER] + (m[vc + V_WROTE] & m[SLOTS])] = m[arrivals + n] & 0xFFFFFFFFF
        m[vc + V_WROTE] += 1
        if m[vc + V_FLOW] == 0:
            begin_packet(m, vc, t)
        outs = m[vc + V_HELD] & ~m[vc + V_READY]
        while outs:
            make_ready(m, vc, turn(m, outs, 0))
            outs &= outs - 1
    for n in range(1, m[bids] + 1):  # with lookahead, begin_packet has just added some
        router = m[m[bids + n] + V_ROUTER]
        m[router + R_VC_BIDS] |= m[m[bids + n] + V_BIT]
        enlist(m, router)
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
        terminal = m[m[AT_SOURCES] + n]
        flow = m[terminal + T_HEAD]
        v = m[terminal + T_VC]
        head = v < 0
        if head:
            free = m[terminal + T_FREE] & m[flow + F_ANY]
            for w in range(m[VCS]):
                if m[terminal + T_OUTPUT + C_SIZE * w + C_CREDIT] == 0:
                    free &= ~(1 << w)
            if free:
                v = turn(m, free, m[terminal + T_LAST] + 1)
                m[terminal + T_VC] = v
                m[terminal + T_LAST] = v
                m[terminal + T_FREE] ^= 1 << v
                m[terminal + T_LEFT] = m[flow + F_PACKET_FLITS] if m[flow + F_PACKETS] > 1 else m[flow + F_LAST_FLITS]
        if v >= 0 and m[terminal + T_OUTPUT + C_SIZE * v + C_CREDIT] > 0:
            m[terminal + T_OUTPUT + C_SIZE * v + C_CREDIT] -= 1
            m[terminal + T_LEFT] -= 1
            tail = m[terminal + T_LEFT] == 0
            flit = flow * 4 + 2 * head + tail
            push(m, m[AT_ARRIVE], t + m[INJECT], (m[terminal + T_INPUT] + m[V_SIZE] * v) << 36 | flit)
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
