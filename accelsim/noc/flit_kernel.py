"""The flit-level router network as kernels: one call runs until a message is complete.

Within a cycle: ejected packets are counted; credits and flits arrive; terminals send; every active
router decides. All wires take at least one cycle, so routers do not see each other within a cycle, and
their order does not matter. Routers without a bid are not visited, cycles without anything are skipped.

A router decides as BookSim 2 does with its round-robin iSLIP allocators of one iteration (McKeown,
IEEE/ACM Trans. Networking 1999): bids for the switch and for virtual channels are taken from the
state before the cycle; an output grants the bidder next after its pointer, an input accepts the grant
next after its pointer, pointers move past an accepted grant only. Before that, the virtual channels
of an input port that want one output take turns.

`m` is the memory described in `flit_state`; names such as `vc`, `out` and `flow` are addresses in it.
"""

from __future__ import annotations

from accelsim.base.errors import SimulationBug
from accelsim.base.kernels import kernel
from accelsim.noc.flit_state import (
    ACTIVE,
    ADDER,
    ALL_VCS,
    AT_ACTIVE,
    AT_CTZ,
    AT_DONE,
    AT_HELD,
    AT_LOG,
    AT_ROUTE,
    AT_SCRATCH,
    AT_SOURCES,
    AT_WHEEL,
    B_ALLOWED,
    B_READ,
    B_SIZE,
    B_VC,
    BUFFER,
    C_CREDIT,
    C_GRANT,
    C_HOLDER,
    C_PORT,
    C_SIZE,
    DONE,
    E_ARRIVE,
    E_BID,
    E_CREDIT,
    E_EJECT,
    E_SEND,
    EJECT_CREDIT,
    EVENTS,
    F_AHEAD,
    F_ARRIVED,
    F_CHILD,
    F_CHILDREN,
    F_DELIVERIES,
    F_LAST_FLITS,
    F_MESSAGE,
    F_NEXT,
    F_PACKET_FLITS,
    F_PACKETS,
    F_PARENT,
    F_QUEUED,
    F_SENDABLE,
    F_SIBLING,
    F_SOURCE,
    F_SUMMED,
    F_TARGET,
    F_VCS,
    I_ACCEPT,
    I_CREDIT_CYCLES,
    I_FEEDER,
    I_SIZE,
    I_TURN,
    I_VC,
    INJECT,
    LOG_ROWS,
    LOG_SIZE,
    LOGGED,
    N_KINDS,
    NOW,
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
    R_NUMBER,
    R_OUTPUT,
    R_ROUTE,
    R_SW_BIDS,
    R_VC_BIDS,
    S_BIDDERS,
    S_GRANTS,
    S_OFFERS,
    S_VC,
    S_WIDTH,
    SLOTS,
    SOURCES,
    SPECULATIVE,
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
    TO_VC_BID,
    V_ACCEPT,
    V_BIT,
    V_BRANCH,
    V_FLOW,
    V_HELD,
    V_OUT,
    V_PENDING,
    V_READ,
    V_READY,
    V_ROUTER,
    V_SIZE,
    V_WROTE,
    VCS,
    WHEEL_MASK,
    WHEEL_ROOM,
)


@kernel
def push(m, at, kind, value):
    """Enter an event for cycle `at`."""
    place = (at & m[WHEEL_MASK]) * N_KINDS + kind
    held = m[AT_HELD] + place
    m[m[AT_WHEEL] + place * m[WHEEL_ROOM] + m[held]] = value
    m[held] += 1
    m[EVENTS] += 1


@kernel
def only_bit(m, word):
    """Position of the only bit of `word`: powers of two below 2 ** 66 differ modulo 67."""
    return m[m[AT_CTZ] + word % 67]


@kernel
def turn(m, mask, start):
    """The lowest bit of `mask` at or above `start`, or else the lowest: round robin. `mask` is not 0."""
    above = mask >> start << start
    if above == 0:
        above = mask
    return only_bit(m, above & -above)


@kernel
def enlist(m, router):
    """Put a router on the list of those that decide in this cycle."""
    if m[router + R_LISTED] == 0:
        m[router + R_LISTED] = 1
        m[m[AT_ACTIVE] + m[ACTIVE]] = router
        m[ACTIVE] += 1


@kernel
def queue_packets(m, flow, count):
    """`count` more packets of a flow may leave; the flow joins its terminal's queue."""
    m[flow + F_SENDABLE] += count
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


@kernel
def sum_packets(m, flow, t):
    """A packet of `flow` has arrived where its parent adds it: send on what is complete."""
    parent = m[flow + F_PARENT]
    m[flow + F_ARRIVED] += 1
    if m[flow + F_ARRIVED] != m[parent + F_SUMMED] + 1:
        return
    m[parent + F_AHEAD] += 1
    while m[parent + F_AHEAD] == m[parent + F_CHILDREN]:
        m[parent + F_SUMMED] += 1
        if m[ADDER] == 0:
            queue_packets(m, parent, 1)
        else:
            push(m, t + m[ADDER], E_SEND, parent)
        m[parent + F_AHEAD] = 0
        child = m[parent + F_CHILD]
        while child:
            if m[child + F_ARRIVED] > m[parent + F_SUMMED]:
                m[parent + F_AHEAD] += 1
            child = m[child + F_SIBLING]


@kernel
def deliver(m, t):
    """Count the packets whose tails have reached their terminals; returns how many messages that completes."""
    place = (t & m[WHEEL_MASK]) * N_KINDS + E_EJECT
    count = m[m[AT_HELD] + place]
    events = m[AT_WHEEL] + place * m[WHEEL_ROOM]
    for n in range(count):
        flow = m[events + n]
        if m[flow + F_PARENT]:
            sum_packets(m, flow, t)
        m[flow + F_DELIVERIES] -= 1
        if m[flow + F_DELIVERIES] == 0:
            message = m[flow + F_MESSAGE]
            m[message] -= 1
            if m[message] == 0:
                m[m[AT_DONE] + m[DONE]] = message
                m[DONE] += 1
    m[m[AT_HELD] + place] = 0
    m[EVENTS] -= count
    return m[DONE]


@kernel
def begin_packet(m, vc, t):
    """The packet at the front of an input virtual channel is routed in cycle t."""
    flow = m[vc + m[BUFFER] + (m[vc + V_READ] & m[SLOTS])] >> 2
    halves, vcs = m[AT_ROUTE], m[flow + F_VCS]
    m[vc + V_FLOW] = flow
    target = m[flow + F_TARGET]
    if target >= 0:
        route = m[m[m[vc + V_ROUTER] + R_ROUTE] + target]
        o = route & 63
        m[vc + V_BRANCH + B_SIZE * o + B_ALLOWED] = m[halves + (route >> 6)] & vcs
        m[vc + V_OUT] = o
        m[vc + V_PENDING] = 1 << o
    else:
        tree = m[-target + m[m[vc + V_ROUTER] + R_NUMBER]]
        m[vc + V_OUT] = -1
        m[vc + V_PENDING] = tree & 0xFFFF
        for o in range(m[PORTS]):
            half = 2 if tree >> (16 + o) & 1 else tree >> (32 + o) & 1
            branch = vc + V_BRANCH + B_SIZE * o
            m[branch + B_ALLOWED] = m[halves + half] & vcs
            m[branch + B_READ] = m[vc + V_READ]
    push(m, t + m[TO_VC_BID], E_BID, vc)


@kernel
def make_ready(m, vc, o):
    """An input virtual channel has a flit and a credit for output o: it bids for the switch."""
    router = m[vc + V_ROUTER]
    m[vc + V_READY] |= 1 << o
    m[router + R_SW_BIDS] |= m[vc + V_BIT]
    enlist(m, router)


@kernel
def next_flit(m, vc, o):
    """Number of the flit that an input virtual channel sends next to output o."""
    return m[vc + V_READ] if m[vc + V_OUT] >= 0 else m[vc + V_BRANCH + B_SIZE * o + B_READ]


@kernel
def receive(m, t):
    """Credits, flits, and packets whose routing is done."""
    place = (t & m[WHEEL_MASK]) * N_KINDS
    room, held = m[WHEEL_ROOM], m[AT_HELD] + place
    events = m[AT_WHEEL] + (place + E_CREDIT) * room
    for n in range(m[held + E_CREDIT]):
        channel = m[events + n]
        m[channel + C_CREDIT] += 1
        vc = m[channel + C_HOLDER]
        if vc:
            o = m[channel + C_PORT]
            if next_flit(m, vc, o) < m[vc + V_WROTE]:
                make_ready(m, vc, o)
    events = m[AT_WHEEL] + (place + E_ARRIVE) * room
    for n in range(m[held + E_ARRIVE]):
        vc = m[events + n] >> 36
        at = m[vc + V_WROTE]
        m[vc + m[BUFFER] + (at & m[SLOTS])] = m[events + n] & 0xFFFFFFFFF
        m[vc + V_WROTE] = at + 1
        if m[vc + V_FLOW] == 0:
            begin_packet(m, vc, t)
            continue
        outs = m[vc + V_HELD]
        while outs:
            low = outs & -outs
            outs ^= low
            o = only_bit(m, low)
            if next_flit(m, vc, o) == at:
                out = m[m[vc + V_ROUTER] + R_OUTPUT] + m[O_SIZE] * o
                if m[out + O_VC + C_SIZE * m[vc + V_BRANCH + B_SIZE * o + B_VC] + C_CREDIT] > 0:
                    make_ready(m, vc, o)
    events = m[AT_WHEEL] + (place + E_BID) * room
    for n in range(m[held + E_BID]):  # with lookahead, begin_packet has just added some
        router = m[m[events + n] + V_ROUTER]
        m[router + R_VC_BIDS] |= m[m[events + n] + V_BIT]
        enlist(m, router)
    events = m[AT_WHEEL] + (place + E_SEND) * room
    for n in range(m[held + E_SEND]):
        queue_packets(m, m[events + n], 1)
    for kind in (E_CREDIT, E_ARRIVE, E_BID, E_SEND):
        m[EVENTS] -= m[held + kind]
        m[held + kind] = 0


@kernel
def write_log(m, t, terminal, ejected, flit, v):
    """One row of the log, while it has room."""
    if m[LOGGED] < m[LOG_ROWS]:
        row = m[AT_LOG] + LOG_SIZE * m[LOGGED]
        m[row] = t
        m[row + 1] = m[terminal + T_NUMBER]
        m[row + 2] = ejected
        m[row + 3] = flit
        m[row + 4] = v
    m[LOGGED] += 1


@kernel
def choose_vc(m, terminal, flow):
    """A free virtual channel with credit for the next packet of `flow`, in turn, or -1."""
    free = m[terminal + T_FREE] & m[flow + F_VCS]
    v = m[terminal + T_LAST]
    for _ in range(m[VCS]):
        v = v + 1 if v + 1 < m[VCS] else 0
        if free >> v & 1 and m[terminal + T_OUTPUT + C_SIZE * v + C_CREDIT] > 0:
            return v
    return -1


@kernel
def send(m, t):
    """Every terminal with something to send sends one flit, if it has a virtual channel and a credit."""
    n = 0
    while n < m[SOURCES]:
        terminal = m[m[AT_SOURCES] + n]
        flow = m[terminal + T_HEAD]
        v = m[terminal + T_VC]
        head = 0
        if v < 0:
            v = choose_vc(m, terminal, flow)
            if v >= 0:
                head = 2
                m[terminal + T_VC] = v
                m[terminal + T_LAST] = v
                m[terminal + T_FREE] ^= 1 << v
                m[terminal + T_LEFT] = m[flow + F_PACKET_FLITS] if m[flow + F_PACKETS] > 1 else m[flow + F_LAST_FLITS]
        credit = terminal + T_OUTPUT + C_SIZE * v + C_CREDIT
        if v >= 0 and m[credit] > 0:
            m[credit] -= 1
            m[terminal + T_LEFT] -= 1
            tail = 1 if m[terminal + T_LEFT] == 0 else 0
            flit = flow * 4 + head + tail
            push(m, t + m[INJECT], E_ARRIVE, (m[terminal + T_INPUT] + m[V_SIZE] * v) << 36 | flit)
            if m[LOG_ROWS]:
                write_log(m, t, terminal, 0, flit, v)
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


@kernel
def speculate(m, router, vc):
    """Outputs for which an input virtual channel still needs a virtual channel, and one is free with credit."""
    outs = 0
    pending = m[vc + V_PENDING]
    while pending:
        low = pending & -pending
        pending ^= low
        o = only_bit(m, low)
        out = m[router + R_OUTPUT] + m[O_SIZE] * o
        free = m[out + O_FREE] & m[vc + V_BRANCH + B_SIZE * o + B_ALLOWED]
        for v in range(m[VCS]):
            if free >> v & 1 and m[out + O_VC + C_SIZE * v + C_CREDIT] > 0:
                outs |= low
    return outs


@kernel
def bid_port(m, router, p, bits, speculative, taken):
    """The virtual channels in `bits` of input port p bid for outputs, in turn; returns all outputs bid for.

    `taken` are outputs for which a better bid of this port stands already.
    """
    inp = m[router + R_INPUT] + I_SIZE * p
    scratch = m[AT_SCRATCH]
    outs = taken
    now = bits >> m[inp + I_TURN] << m[inp + I_TURN]
    later = bits ^ now
    while now | later:
        if now == 0:
            now, later = later, 0
        low = now & -now
        now ^= low
        v = only_bit(m, low)
        vc = m[inp + I_VC] + m[V_SIZE] * v
        want = (speculate(m, router, vc) if speculative else m[vc + V_READY]) & ~outs
        outs |= want
        while want:
            low = want & -want
            want ^= low
            o = only_bit(m, low)
            m[scratch + S_WIDTH * S_BIDDERS + o] |= 1 << p
            m[scratch + S_WIDTH * S_VC + p * m[PORTS] + o] = v
    return outs


@kernel
def allocate_switch(m, router, t):
    """Outputs grant bids; returns a mask of the inputs with grants (S_GRANTS, S_VC say for what)."""
    scratch, vcs = m[AT_SCRATCH], m[VCS]
    firm = m[router + R_SW_BIDS]
    maybe = m[router + R_VC_BIDS] if m[SPECULATIVE] else 0
    outs = 0
    for p in range(m[PORTS]):
        asked = 0
        bits = firm >> (p * vcs) & m[ALL_VCS]
        if bits:
            asked = bid_port(m, router, p, bits, 0, 0)
        bits = maybe >> (p * vcs) & m[ALL_VCS]
        if bits:
            asked = bid_port(m, router, p, bits, 1, asked)
        outs |= asked
    inputs = 0
    while outs:
        low = outs & -outs
        outs ^= low
        o = only_bit(m, low)
        out = m[router + R_OUTPUT] + m[O_SIZE] * o
        bidders = scratch + S_WIDTH * S_BIDDERS + o
        if m[out + O_FREE_AT] <= t:
            p = turn(m, m[bidders], m[out + O_GRANT])
            m[scratch + S_WIDTH * S_GRANTS + p] |= low
            inputs |= 1 << p
        m[bidders] = 0
    return inputs


@kernel
def take_vc(m, router, i, o, v):
    """Input virtual channel i of a router holds virtual channel v of output o from now on."""
    vc = m[m[router + R_INPUT] + I_VC] + m[V_SIZE] * i
    out = m[router + R_OUTPUT] + m[O_SIZE] * o
    channel = out + O_VC + C_SIZE * v
    inputs = m[PORTS] * m[VCS]
    m[channel + C_GRANT] = i + 1 if i + 1 < inputs else 0
    m[vc + V_ACCEPT] = o * m[VCS] + v + 1 if o * m[VCS] + v + 1 < inputs else 0
    m[out + O_FREE] ^= 1 << v
    m[channel + C_HOLDER] = vc
    m[vc + V_BRANCH + B_SIZE * o + B_VC] = v
    m[vc + V_HELD] |= 1 << o
    m[vc + V_PENDING] ^= 1 << o
    if m[vc + V_PENDING] == 0:
        m[router + R_VC_BIDS] ^= 1 << i
    if m[channel + C_CREDIT] > 0:  # its head is in the buffer
        m[vc + V_READY] |= 1 << o
        m[router + R_SW_BIDS] |= 1 << i


@kernel
def allocate_vcs(m, router):
    """Match waiting packets of a router to free virtual channels of their outputs."""
    bidders, offers = m[AT_SCRATCH] + S_WIDTH * S_BIDDERS, m[AT_SCRATCH] + S_WIDTH * S_OFFERS
    first = m[m[router + R_INPUT] + I_VC]
    outs = 0
    bids = m[router + R_VC_BIDS]
    while bids:
        low = bids & -bids
        bids ^= low
        pending = m[first + m[V_SIZE] * only_bit(m, low) + V_PENDING]
        outs |= pending
        while pending:
            one = pending & -pending
            pending ^= one
            m[bidders + only_bit(m, one)] |= low
    while outs:
        low = outs & -outs
        outs ^= low
        o = only_bit(m, low)
        out = m[router + R_OUTPUT] + m[O_SIZE] * o
        rest = m[bidders + o]
        m[bidders + o] = 0
        # what each bidder is offered: every free channel goes to the bidder next after its pointer
        free = m[out + O_FREE]
        winners = 0
        while free:
            one = free & -free
            free ^= one
            able = 0
            others = rest
            while others:
                bit = others & -others
                others ^= bit
                if m[first + m[V_SIZE] * only_bit(m, bit) + V_BRANCH + B_SIZE * o + B_ALLOWED] & one:
                    able |= bit
            if able:
                i = turn(m, able, m[out + O_VC + C_SIZE * only_bit(m, one) + C_GRANT])
                m[offers + i] |= one
                winners |= 1 << i
        while winners:
            one = winners & -winners
            winners ^= one
            i = only_bit(m, one)
            start = min(max(m[first + m[V_SIZE] * i + V_ACCEPT] - o * m[VCS], 0), m[VCS])
            v = turn(m, m[offers + i], start)
            m[offers + i] = 0
            take_vc(m, router, i, o, v)


@kernel
def cross(m, router, vc, o, t):
    """The next flit of an input virtual channel for output o crosses the switch and leaves."""
    out = m[router + R_OUTPUT] + m[O_SIZE] * o
    branch = vc + V_BRANCH + B_SIZE * o
    v = m[branch + B_VC]
    channel = out + O_VC + C_SIZE * v
    at = next_flit(m, vc, o)
    flit = m[vc + m[BUFFER] + (at & m[SLOTS])]
    m[branch + B_READ] = at + 1
    m[channel + C_CREDIT] -= 1
    m[out + O_FLITS] += 1
    m[out + O_FREE_AT] = t + m[out + O_PERIOD]
    arrival = t + m[out + O_CYCLES]
    target = m[out + O_TARGET]
    if target >= 0:
        push(m, arrival, E_ARRIVE, (target + m[V_SIZE] * v) << 36 | flit)
    else:
        push(m, arrival + m[EJECT_CREDIT], E_CREDIT, channel)
        if flit & 1:
            push(m, arrival, E_EJECT, flit >> 2)
        if m[LOG_ROWS]:
            write_log(m, arrival, -target, 1, flit, v)
    if flit & 1:
        m[out + O_FREE] |= 1 << v
        m[channel + C_HOLDER] = 0
        m[vc + V_HELD] ^= 1 << o
        m[vc + V_READY] &= ~(1 << o)
    elif at + 1 == m[vc + V_WROTE] or m[channel + C_CREDIT] == 0:
        m[vc + V_READY] &= ~(1 << o)


@kernel
def drop_front(m, inp, vc, v, t):
    """Remove the front flit of an input virtual channel, if all branches have it; a credit goes upstream."""
    at = m[vc + V_READ]
    if m[vc + V_OUT] < 0:
        outs = m[vc + V_HELD] | m[vc + V_PENDING]
        while outs:
            low = outs & -outs
            outs ^= low
            if m[vc + V_BRANCH + B_SIZE * only_bit(m, low) + B_READ] <= at:
                return
    m[vc + V_READ] = at + 1
    push(m, t + m[inp + I_CREDIT_CYCLES], E_CREDIT, m[inp + I_FEEDER] + C_SIZE * v)
    if m[vc + m[BUFFER] + (at & m[SLOTS])] & 1:
        m[vc + V_FLOW] = 0
        if at + 1 < m[vc + V_WROTE]:
            begin_packet(m, vc, t + 1)


@kernel
def accept(m, router, p, t):
    """Input p takes one of its grants, and with it the same flit's other copies; they cross the switch."""
    inp = m[router + R_INPUT] + I_SIZE * p
    scratch = m[AT_SCRATCH]
    given = scratch + S_WIDTH * S_GRANTS + p
    labels = scratch + S_WIDTH * S_VC + p * m[PORTS]
    grants = m[given]
    m[given] = 0
    o = turn(m, grants, m[inp + I_ACCEPT])
    v = m[labels + o]
    m[inp + I_ACCEPT] = o + 1 if o + 1 < m[PORTS] else 0
    m[inp + I_TURN] = v + 1 if v + 1 < m[VCS] else 0
    vc = m[inp + I_VC] + m[V_SIZE] * v
    place = next_flit(m, vc, o)
    if m[vc + V_OUT] >= 0:
        grants = 1 << o
    moved = 0
    while grants:
        low = grants & -grants
        grants ^= low
        to = only_bit(m, low)
        out = m[router + R_OUTPUT] + m[O_SIZE] * to
        if to == o or (m[labels + to] == v and next_flit(m, vc, to) == place):
            m[out + O_GRANT] = p + 1 if p + 1 < m[PORTS] else 0
            # a speculative bid may have won the switch without a virtual channel, or one without credit
            if m[vc + V_HELD] & low:
                if m[out + O_VC + C_SIZE * m[vc + V_BRANCH + B_SIZE * to + B_VC] + C_CREDIT] > 0:
                    cross(m, router, vc, to, t)
                    moved = 1
    if moved:
        drop_front(m, inp, vc, v, t)
    if m[vc + V_READY] == 0:
        m[router + R_SW_BIDS] &= ~m[vc + V_BIT]


@kernel
def decide(m, t):
    """Every active router: switch allocation, virtual-channel allocation, switch traversal."""
    n = 0
    while n < m[ACTIVE]:
        router = m[m[AT_ACTIVE] + n]
        inputs = allocate_switch(m, router, t)
        if m[router + R_VC_BIDS]:
            allocate_vcs(m, router)
        while inputs:
            low = inputs & -inputs
            inputs ^= low
            accept(m, router, only_bit(m, low), t)
        if m[router + R_SW_BIDS] | m[router + R_VC_BIDS]:
            n += 1
        else:
            m[router + R_LISTED] = 0
            m[ACTIVE] -= 1
            m[m[AT_ACTIVE] + n] = m[m[AT_ACTIVE] + m[ACTIVE]]


@kernel
def run_flits(m, limit):
    """Decide all cycles before `limit`, or stop in the first cycle in which messages are complete.

    Parameters
    ----------
    m : int64 array
        See `flit_state.Layout`.
    limit : int
        Not before m[NOW].

    Returns
    -------
    int
        How many messages are complete in cycle m[NOW] (their addresses are at m[AT_DONE]); if none, that
        cycle is `limit`.
    """
    t = m[NOW]
    m[DONE] = 0
    while True:
        if m[EVENTS] and deliver(m, t):
            break
        if t >= limit:
            break
        if m[EVENTS] == 0 and m[ACTIVE] == 0 and m[SOURCES] == 0:
            t = limit
            break
        if m[EVENTS]:
            receive(m, t)
        if m[SOURCES]:
            send(m, t)
        if m[ACTIVE]:
            decide(m, t)
        t += 1
    m[NOW] = t
    return m[DONE]


@kernel
def run_trace(m, cycles, flows):
    """Queue one packet of flow flows[n] in cycle cycles[n] (ascending), for all n, and run until all is quiet.

    For measurements: no Python between the packets.
    """
    n = 0
    while n < len(cycles) or m[EVENTS] or m[ACTIVE] or m[SOURCES]:
        while n < len(cycles) and cycles[n] == m[NOW]:
            queue_packets(m, flows[n], 1)
            n += 1
        run_flits(m, cycles[n] if n < len(cycles) else m[NOW] + 1)
    return m[NOW]
