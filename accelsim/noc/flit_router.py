"""Kernels of the flit-level network: what a router decides in a cycle.

It decides as BookSim 2 does with its round-robin iSLIP allocators of one iteration (McKeown, IEEE/ACM
Trans. Networking 1999): bids for the switch and for virtual channels are taken from the state before
the cycle; an output grants the bidder next after its pointer, an input accepts the grant next after
its pointer, pointers move past an accepted grant only. Before that, the virtual channels of an input
port that want one output take turns.

`m` is the memory described in `flit_state`; names such as `vc`, `out` and `flow` are addresses in it.
"""

from __future__ import annotations

from typing import Any

from accelsim.base.kernels import kernel
from accelsim.noc.flit_events import ADDRESS, INNER, begin_packet, branch_to, lowest, make_ready, push, turn, write_log
from accelsim.noc.flit_state import (
    ACTIVE,
    ALL_VCS,
    AT_ACTIVE,
    AT_ARRIVE,
    AT_CREDIT,
    AT_EJECT,
    AT_PORT,
    AT_SCRATCH,
    BRANCHES,
    B_ALLOWED,
    B_CHANNEL,
    B_READ,
    B_SIZE,
    C_CREDIT,
    C_GRANT,
    C_HOLDER,
    C_SIZE,
    C_TARGET,
    EJECT_CREDIT,
    I_ACCEPT,
    I_CREDIT_CYCLES,
    I_SIZE,
    I_TURN,
    LOG_ROWS,
    O_CYCLES,
    O_FLITS,
    O_FREE,
    O_FREE_AT,
    O_GRANT,
    O_LIMITED,
    O_PENDING,
    O_PERIOD,
    O_READY,
    O_SIZE,
    O_VC,
    PORTS,
    R_INPUT,
    R_LISTED,
    R_OUTPUT,
    R_PENDING,
    R_READY,
    R_VC,
    SLOTS,
    SPECULATIVE,
    S_GRANTS,
    S_OFFERS,
    S_VC,
    VCS,
    V_ACCEPT,
    V_BIT,
    V_BUFFER,
    V_COPIES,
    V_FEEDER,
    V_FLOW,
    V_HELD,
    V_PENDING,
    V_READ,
    V_SIZE,
    V_WROTE,
)


@kernel(**INNER)
def speculate(m: Any, router: Any, o: Any) -> Any:
    """Input virtual channels that want a virtual channel of output o and may have one that is free with credit."""
    router &= ADDRESS
    out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
    usable = 0
    free = m[out + O_FREE]
    while free:
        v = lowest(free)
        free &= free - 1
        if m[out + O_VC + C_SIZE * v + C_CREDIT] > 0:
            usable |= 1 << v
    if usable == 0:
        return 0
    able = m[out + O_PENDING]
    limited = m[out + O_LIMITED]
    while limited:
        i = lowest(limited)
        limited &= limited - 1
        if m[branch_to(m, m[router + R_VC] + m[V_SIZE] * i & ADDRESS, o) + B_ALLOWED] & usable == 0:
            able ^= 1 << i
    return able


@kernel(**INNER)
def allocate_switch(m: Any, router: Any, t: Any) -> Any:
    """Outputs grant bids; returns a mask of the inputs with grants (S_GRANTS, S_VC say for what).

    An input port puts forward, for each output, the first of its virtual channels in turn, of
    speculative bids only where there is no other.
    """
    router &= ADDRESS
    grants, labels = m[AT_SCRATCH] + S_GRANTS & ADDRESS, m[AT_SCRATCH] + S_VC & ADDRESS
    outs = m[router + R_READY]
    if m[SPECULATIVE]:
        outs |= m[router + R_PENDING]
    inputs = 0
    while outs:
        o = lowest(outs)
        outs &= outs - 1
        out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
        if m[out + O_FREE_AT] > t:
            continue
        ready = m[out + O_READY]
        hopeful = speculate(m, router, o) if m[SPECULATIVE] else 0
        if ready | hopeful:
            p = m[m[AT_PORT] + turn(ready | hopeful, m[out + O_GRANT]) & ADDRESS] & ADDRESS
            lanes = ready >> (p * m[VCS]) & m[ALL_VCS]
            if lanes == 0:
                lanes = hopeful >> (p * m[VCS]) & m[ALL_VCS]
            m[labels + p * m[PORTS] + o & ADDRESS] = turn(lanes, m[m[router + R_INPUT] + I_SIZE * p + I_TURN & ADDRESS])
            m[grants + p & ADDRESS] |= 1 << o
            inputs |= 1 << p
    return inputs


@kernel(**INNER)
def take_vc(m: Any, router: Any, i: Any, o: Any, offered: Any) -> None:
    """Input virtual channel i of a router takes, in turn, one of the virtual channels that output o offers it."""
    router &= ADDRESS
    vc = m[router + R_VC] + m[V_SIZE] * i & ADDRESS
    out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
    v = turn(offered, min(max(m[vc + V_ACCEPT] - o * m[VCS], 0), m[VCS]))
    channel = out + O_VC + C_SIZE * v & ADDRESS
    m[channel + C_GRANT] = i + 1
    m[channel + C_HOLDER] = vc
    m[vc + V_ACCEPT] = o * m[VCS] + v + 1
    m[vc + V_HELD] |= 1 << o
    m[vc + V_PENDING] ^= 1 << o
    branch = branch_to(m, vc, o)
    m[branch + B_CHANNEL] = channel
    m[branch + B_ALLOWED] = 1 << v
    m[out + O_FREE] ^= 1 << v
    m[out + O_LIMITED] &= ~(1 << i)
    m[out + O_PENDING] ^= 1 << i
    if m[out + O_PENDING] == 0:
        m[router + R_PENDING] ^= 1 << o
    make_ready(m, vc, o)


@kernel(**INNER)
def offer_vcs(m: Any, router: Any, o: Any) -> None:
    """Every free virtual channel of an output is offered to the bidder next after its pointer; all then take one."""
    router &= ADDRESS
    offers = m[AT_SCRATCH] + S_OFFERS & ADDRESS
    out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
    winners = 0
    free = m[out + O_FREE]
    while free:
        v = lowest(free)
        free &= free - 1
        able = m[out + O_PENDING]
        others = m[out + O_LIMITED]
        while others:
            i = lowest(others)
            others &= others - 1
            if m[branch_to(m, m[router + R_VC] + m[V_SIZE] * i & ADDRESS, o) + B_ALLOWED] >> v & 1 == 0:
                able ^= 1 << i
        if able:
            i = turn(able, m[out + O_VC + C_SIZE * v + C_GRANT & ADDRESS])
            m[offers + i & ADDRESS] |= 1 << v
            winners |= 1 << i
    while winners:
        i = lowest(winners)
        winners &= winners - 1
        offered = m[offers + i & ADDRESS]
        m[offers + i & ADDRESS] = 0
        take_vc(m, router, i, o, offered)


@kernel(**INNER)
def allocate_vcs(m: Any, router: Any) -> None:
    """Match waiting packets of a router to free virtual channels of their outputs."""
    router &= ADDRESS
    outs = m[router + R_PENDING]
    while outs:
        o = lowest(outs)
        outs &= outs - 1
        out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
        free, bidders = m[out + O_FREE], m[out + O_PENDING]
        if free and bidders & (bidders - 1):
            offer_vcs(m, router, o)
        elif free:
            i = lowest(bidders)
            free &= m[branch_to(m, m[router + R_VC] + m[V_SIZE] * i & ADDRESS, o) + B_ALLOWED]
            if free:
                take_vc(m, router, i, o, free)


@kernel(**INNER)
def cross(m: Any, router: Any, vc: Any, branch: Any, o: Any, t: Any) -> None:
    """The next flit of an input virtual channel for output o crosses the switch and leaves."""
    router &= ADDRESS
    out = m[router + R_OUTPUT] + m[O_SIZE] * o & ADDRESS
    vc &= ADDRESS
    channel = m[branch + B_CHANNEL] & ADDRESS
    at = m[branch + B_READ]
    flit = m[vc + V_BUFFER + (at & m[SLOTS]) & ADDRESS]
    credit = m[channel + C_CREDIT] - 1
    m[branch + B_READ] = at + 1
    m[channel + C_CREDIT] = credit
    m[out + O_FLITS] += 1
    m[out + O_FREE_AT] = t + m[out + O_PERIOD]
    arrival = t + m[out + O_CYCLES]
    target = m[channel + C_TARGET]
    if target >= 0:
        push(m, m[AT_ARRIVE], arrival, target | flit)
    else:
        push(m, m[AT_CREDIT], arrival + m[EJECT_CREDIT], channel)
        if flit & 1:
            push(m, m[AT_EJECT], arrival, flit >> 2)
        if m[LOG_ROWS]:
            write_log(m, arrival, target, flit, lowest(m[branch + B_ALLOWED]))
    if flit & 1:
        m[out + O_FREE] |= m[branch + B_ALLOWED]
        m[channel + C_HOLDER] = 0
        m[vc + V_HELD] ^= 1 << o
    elif at + 1 < m[vc + V_WROTE] and credit > 0:
        return
    m[out + O_READY] &= ~m[vc + V_BIT]
    if m[out + O_READY] == 0:
        m[router + R_READY] &= ~(1 << o)


@kernel(**INNER)
def drop_front(m: Any, inp: Any, vc: Any, t: Any) -> None:
    """Remove the front flit of an input virtual channel, if all branches have it; a credit goes upstream."""
    vc &= ADDRESS
    at = m[vc + V_READ]
    if m[vc + V_COPIES]:
        outs = m[vc + V_HELD] | m[vc + V_PENDING]
        while outs:
            if m[vc + m[BRANCHES] + B_SIZE * lowest(outs) + B_READ] <= at:
                return
            outs &= outs - 1
    m[vc + V_READ] = at + 1
    push(m, m[AT_CREDIT], t + m[(inp & ADDRESS) + I_CREDIT_CYCLES], m[vc + V_FEEDER])
    if m[vc + V_BUFFER + (at & m[SLOTS]) & ADDRESS] & 1:
        m[vc + V_FLOW] = 0
        if at + 1 < m[vc + V_WROTE]:
            begin_packet(m, vc, t + 1)


@kernel(**INNER)
def accept(m: Any, router: Any, p: Any, t: Any) -> None:
    """Input p takes one of its grants, and with it the same flit's other copies; they cross the switch."""
    router &= ADDRESS
    inp = m[router + R_INPUT] + I_SIZE * p & ADDRESS
    given = m[AT_SCRATCH] + S_GRANTS + p & ADDRESS
    labels = m[AT_SCRATCH] + S_VC + p * m[PORTS] & ADDRESS
    o = turn(m[given], m[inp + I_ACCEPT])
    v = m[labels + o & ADDRESS]
    m[inp + I_ACCEPT] = o + 1
    m[inp + I_TURN] = v + 1
    i = p * m[VCS] + v
    vc = m[router + R_VC] + m[V_SIZE] * i & ADDRESS
    place = m[branch_to(m, vc, o) + B_READ]
    grants = m[given] if m[vc + V_COPIES] else 1 << o
    m[given] = 0
    moved = False
    while grants:
        to = lowest(grants)
        grants &= grants - 1
        branch = branch_to(m, vc, to)
        if m[labels + to & ADDRESS] == v and m[branch + B_READ] == place:
            m[m[router + R_OUTPUT] + m[O_SIZE] * to + O_GRANT & ADDRESS] = (p + 1) * m[VCS]
            # a speculative bid may have won the switch without a virtual channel, or one without credit
            if m[vc + V_HELD] >> to & 1 and m[(m[branch + B_CHANNEL] & ADDRESS) + C_CREDIT] > 0:
                cross(m, router, vc, branch, to, t)
                moved = True
    if moved:
        drop_front(m, inp, vc, t)


@kernel(**INNER)
def decide(m: Any, t: Any) -> None:
    """Every active router: switch allocation, virtual-channel allocation, switch traversal."""
    n = 0
    while n < m[ACTIVE]:
        router = m[m[AT_ACTIVE] + n & ADDRESS] & ADDRESS
        inputs = allocate_switch(m, router, t)
        if m[router + R_PENDING]:
            allocate_vcs(m, router)
        while inputs:
            accept(m, router, lowest(inputs), t)
            inputs &= inputs - 1
        if m[router + R_READY] | m[router + R_PENDING]:
            n += 1
        else:
            m[router + R_LISTED] = 0
            m[ACTIVE] -= 1
            m[m[AT_ACTIVE] + n] = m[m[AT_ACTIVE] + m[ACTIVE]]
