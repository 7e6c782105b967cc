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
from accelsim.noc.flit_events import INNER, begin_packet, make_ready, push, turn, write_log
from accelsim.noc.flit_state import (
    ACTIVE,
    ALL_VCS,
    AT_ACTIVE,
    AT_ARRIVE,
    AT_CREDIT,
    AT_EJECT,
    AT_SCRATCH,
    BUFFER,
    B_ALLOWED,
    B_READ,
    B_SIZE,
    B_VC,
    C_CREDIT,
    C_GRANT,
    C_HOLDER,
    C_SIZE,
    EJECT_CREDIT,
    I_ACCEPT,
    I_CREDIT_CYCLES,
    I_FEEDER,
    I_SIZE,
    I_TURN,
    I_VC,
    LOG_ROWS,
    O_CYCLES,
    O_FLITS,
    O_FREE,
    O_FREE_AT,
    O_GRANT,
    O_PERIOD,
    O_SIZE,
    O_TARGET,
    O_VC,
    PORTS,
    R_INPUT,
    R_LISTED,
    R_OUTPUT,
    R_SW_BIDS,
    R_VC_BIDS,
    SLOTS,
    SPECULATIVE,
    S_BIDDERS,
    S_GRANTS,
    S_OFFERS,
    S_VC,
    S_WIDTH,
    VCS,
    V_ACCEPT,
    V_BIT,
    V_BRANCH,
    V_COPIES,
    V_FLOW,
    V_HELD,
    V_PENDING,
    V_READ,
    V_READY,
    V_SIZE,
    V_WROTE,
)


@kernel(**INNER)
def speculate(m: Any, router: Any, vc: Any) -> Any:
    """Outputs for which an input virtual channel still needs a virtual channel, and one is free with credit."""
    outs = 0
    pending = m[vc + V_PENDING]
    while pending:
        o = turn(m, pending, 0)
        pending &= pending - 1
        out = m[router + R_OUTPUT] + m[O_SIZE] * o
        free = m[out + O_FREE] & m[vc + V_BRANCH + B_SIZE * o + B_ALLOWED]
        for v in range(m[VCS]):
            if free >> v & 1 and m[out + O_VC + C_SIZE * v + C_CREDIT] > 0:
                outs |= 1 << o
    return outs


@kernel(**INNER)
def allocate_switch(m: Any, router: Any, t: Any) -> Any:
    """Outputs grant bids; returns a mask of the inputs with grants (S_GRANTS, S_VC say for what).

    An input port puts forward, for each output, the first of its virtual channels in turn, of
    speculative bids only where there is no other.
    """
    scratch = m[AT_SCRATCH]
    outs = 0
    for p in range(m[PORTS]):
        inp = m[router + R_INPUT] + I_SIZE * p
        asked = 0
        for speculative in range(1 + m[SPECULATIVE]):
            bits = (m[router + R_VC_BIDS] if speculative else m[router + R_SW_BIDS]) >> (p * m[VCS]) & m[ALL_VCS]
            start = m[inp + I_TURN]
            while bits:
                v = turn(m, bits, start)
                bits ^= 1 << v
                start = v
                vc = m[inp + I_VC] + m[V_SIZE] * v
                want = (speculate(m, router, vc) if speculative else m[vc + V_READY]) & ~asked
                asked |= want
                while want:
                    o = turn(m, want, 0)
                    want &= want - 1
                    m[scratch + S_WIDTH * S_BIDDERS + o] |= 1 << p
                    m[scratch + S_WIDTH * S_VC + p * m[PORTS] + o] = v
        outs |= asked
    inputs = 0
    while outs:
        o = turn(m, outs, 0)
        outs &= outs - 1
        out = m[router + R_OUTPUT] + m[O_SIZE] * o
        if m[out + O_FREE_AT] <= t:
            p = turn(m, m[scratch + S_WIDTH * S_BIDDERS + o], m[out + O_GRANT])
            m[scratch + S_WIDTH * S_GRANTS + p] |= 1 << o
            inputs |= 1 << p
        m[scratch + S_WIDTH * S_BIDDERS + o] = 0
    return inputs


@kernel(**INNER)
def take_vc(m: Any, router: Any, i: Any, o: Any, v: Any) -> None:
    """Input virtual channel i of a router holds virtual channel v of output o from now on."""
    vc = m[m[router + R_INPUT] + I_VC] + m[V_SIZE] * i
    out = m[router + R_OUTPUT] + m[O_SIZE] * o
    channel = out + O_VC + C_SIZE * v
    m[channel + C_GRANT] = i + 1
    m[vc + V_ACCEPT] = o * m[VCS] + v + 1
    m[out + O_FREE] ^= 1 << v
    m[channel + C_HOLDER] = vc
    m[vc + V_BRANCH + B_SIZE * o + B_VC] = v
    m[vc + V_HELD] |= 1 << o
    m[vc + V_PENDING] ^= 1 << o
    if m[vc + V_PENDING] == 0:
        m[router + R_VC_BIDS] ^= 1 << i
    make_ready(m, vc, o)


@kernel(**INNER)
def allocate_vcs(m: Any, router: Any) -> None:
    """Match waiting packets of a router to free virtual channels of their outputs."""
    bidders, offers = m[AT_SCRATCH] + S_WIDTH * S_BIDDERS, m[AT_SCRATCH] + S_WIDTH * S_OFFERS
    first = m[m[router + R_INPUT] + I_VC]
    outs = 0
    bids = m[router + R_VC_BIDS]
    while bids:
        i = turn(m, bids, 0)
        bids &= bids - 1
        pending = m[first + m[V_SIZE] * i + V_PENDING]
        outs |= pending
        while pending:
            m[bidders + turn(m, pending, 0)] |= 1 << i
            pending &= pending - 1
    while outs:
        o = turn(m, outs, 0)
        outs &= outs - 1
        out = m[router + R_OUTPUT] + m[O_SIZE] * o
        # every free virtual channel is offered to the bidder next after its pointer
        everyone = m[bidders + o]
        winners = 0
        if everyone & (everyone - 1) == 0:
            i = turn(m, everyone, 0)
            m[offers + i] = m[out + O_FREE] & m[first + m[V_SIZE] * i + V_BRANCH + B_SIZE * o + B_ALLOWED]
            winners = everyone if m[offers + i] else 0
            everyone = 0
        for v in range(m[VCS]):
            if everyone and m[out + O_FREE] >> v & 1:
                able = everyone
                others = able
                while others:
                    i = turn(m, others, 0)
                    others &= others - 1
                    if m[first + m[V_SIZE] * i + V_BRANCH + B_SIZE * o + B_ALLOWED] >> v & 1 == 0:
                        able ^= 1 << i
                if able:
                    i = turn(m, able, m[out + O_VC + C_SIZE * v + C_GRANT])
                    m[offers + i] |= 1 << v
                    winners |= 1 << i
        m[bidders + o] = 0
        while winners:
            i = turn(m, winners, 0)
            winners &= winners - 1
            start = min(max(m[first + m[V_SIZE] * i + V_ACCEPT] - o * m[VCS], 0), m[VCS])
            v = turn(m, m[offers + i], start)
            m[offers + i] = 0
            take_vc(m, router, i, o, v)


@kernel(**INNER)
def cross(m: Any, router: Any, vc: Any, o: Any, t: Any) -> None:
    """The next flit of an input virtual channel for output o crosses the switch and leaves."""
    out = m[router + R_OUTPUT] + m[O_SIZE] * o
    branch = vc + V_BRANCH + B_SIZE * o
    v = m[branch + B_VC]
    channel = out + O_VC + C_SIZE * v
    flit = m[vc + m[BUFFER] + (m[branch + B_READ] & m[SLOTS])]
    m[branch + B_READ] += 1
    m[channel + C_CREDIT] -= 1
    m[out + O_FLITS] += 1
    m[out + O_FREE_AT] = t + m[out + O_PERIOD]
    arrival = t + m[out + O_CYCLES]
    target = m[out + O_TARGET]
    if target >= 0:
        push(m, m[AT_ARRIVE], arrival, (target + m[V_SIZE] * v) << 36 | flit)
    else:
        push(m, m[AT_CREDIT], arrival + m[EJECT_CREDIT], channel)
        if flit & 1:
            push(m, m[AT_EJECT], arrival, flit >> 2)
        if m[LOG_ROWS]:
            write_log(m, arrival, target, flit, v)
    if flit & 1:
        m[out + O_FREE] |= 1 << v
        m[channel + C_HOLDER] = 0
        m[vc + V_HELD] ^= 1 << o
        m[vc + V_READY] &= ~(1 << o)
    elif m[branch + B_READ] == m[vc + V_WROTE] or m[channel + C_CREDIT] == 0:
        m[vc + V_READY] &= ~(1 << o)


@kernel(**INNER)
def drop_front(m: Any, inp: Any, vc: Any, v: Any, t: Any) -> None:
    """Remove the front flit of an input virtual channel, if all branches have it; a credit goes upstream."""
    at = m[vc + V_READ]
    if m[vc + V_COPIES]:
        outs = m[vc + V_HELD] | m[vc + V_PENDING]
        while outs:
            if m[vc + V_BRANCH + B_SIZE * turn(m, outs, 0) + B_READ] <= at:
                return
            outs &= outs - 1
    m[vc + V_READ] = at + 1
    push(m, m[AT_CREDIT], t + m[inp + I_CREDIT_CYCLES], m[inp + I_FEEDER] + C_SIZE * v)
    if m[vc + m[BUFFER] + (at & m[SLOTS])] & 1:
        m[vc + V_FLOW] = 0
        if at + 1 < m[vc + V_WROTE]:
            begin_packet(m, vc, t + 1)


@kernel(**INNER)
def accept(m: Any, router: Any, p: Any, t: Any) -> None:
    """Input p takes one of its grants, and with it the same flit's other copies; they cross the switch."""
    inp = m[router + R_INPUT] + I_SIZE * p
    given = m[AT_SCRATCH] + S_WIDTH * S_GRANTS + p
    labels = m[AT_SCRATCH] + S_WIDTH * S_VC + p * m[PORTS]
    o = turn(m, m[given], m[inp + I_ACCEPT])
    v = m[labels + o]
    m[inp + I_ACCEPT] = o + 1
    m[inp + I_TURN] = v + 1
    vc = m[inp + I_VC] + m[V_SIZE] * v
    place = m[vc + V_BRANCH + B_SIZE * o + B_READ]
    grants = m[given] if m[vc + V_COPIES] else 1 << o
    m[given] = 0
    moved = False
    while grants:
        to = turn(m, grants, 0)
        grants &= grants - 1
        branch = vc + V_BRANCH + B_SIZE * to
        if m[labels + to] == v and m[branch + B_READ] == place:
            out = m[router + R_OUTPUT] + m[O_SIZE] * to
            m[out + O_GRANT] = p + 1
            # a speculative bid may have won the switch without a virtual channel, or one without credit
            if m[vc + V_HELD] >> to & 1 and m[out + O_VC + C_SIZE * m[branch + B_VC] + C_CREDIT] > 0:
                cross(m, router, vc, to, t)
                moved = True
    if moved:
        drop_front(m, inp, vc, v, t)
    if m[vc + V_READY] == 0:
        m[router + R_SW_BIDS] &= ~m[vc + V_BIT]


@kernel(**INNER)
def decide(m: Any, t: Any) -> None:
    """Every active router: switch allocation, virtual-channel allocation, switch traversal."""
    n = 0
    while n < m[ACTIVE]:
        router = m[m[AT_ACTIVE] + n]
        inputs = allocate_switch(m, router, t)
        if m[router + R_VC_BIDS]:
            allocate_vcs(m, router)
        while inputs:
            accept(m, router, turn(m, inputs, 0), t)
            inputs &= inputs - 1
        if m[router + R_SW_BIDS] | m[router + R_VC_BIDS]:
            n += 1
        else:
            m[router + R_LISTED] = 0
            m[ACTIVE] -= 1
            m[m[AT_ACTIVE] + n] = m[m[AT_ACTIVE] + m[ACTIVE]]
