"""The flit-level router network as a kernel: one call runs until a message is complete.

Within a cycle: ejected packets are counted; credits and flits arrive; terminals send; every active
router decides. All wires take at least one cycle, so routers do not see each other within a cycle, and
their order does not matter. Routers without a bid are not visited, cycles without anything are skipped.
"""

from __future__ import annotations

from typing import Any

from accelsim.base.kernels import kernel
from accelsim.noc.flit_events import deliver, queue_flow, receive, release_flow, send, write_flow
from accelsim.noc.flit_router import decide
from accelsim.noc.flit_state import ACTIVE, DONE, EVENTS, F_SENDABLE, F_SOURCE, NOW, QUIET, SOURCES, Layout


@kernel(error_model="numpy")
def run_flits(m: Any, limit: Any) -> Any:
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
    quiet = 0
    while True:
        if m[EVENTS] and deliver(m, t):
            break
        if t >= limit:
            break
        if m[EVENTS] == 0:
            quiet += 1
            if quiet > m[QUIET] or (m[ACTIVE] == 0 and m[SOURCES] == 0):  # a deadlock, or idle
                t = limit
                break
        else:
            quiet = 0
            receive(m, t)
        if m[SOURCES]:
            send(m, t)
        if m[ACTIVE]:
            decide(m, t)
        t += 1
    m[NOW] = t
    return m[DONE]


@kernel(error_model="numpy")
def run_trace(m: Any, cycles: Any, flows: Any) -> Any:
    """Queue one packet of flow flows[n] in cycle cycles[n] (ascending), for all n, and run until all is quiet.

    For measurements: no Python between the packets. Returns the cycle.
    """
    n = 0
    while n < len(cycles) or m[EVENTS] or m[ACTIVE] or m[SOURCES]:
        while n < len(cycles) and cycles[n] == m[NOW]:
            m[flows[n] + F_SENDABLE] += 1
            queue_flow(m, flows[n])
            n += 1
        run_flits(m, cycles[n] if n < len(cycles) else m[NOW] + 1)
    return m[NOW]


def tiny_network() -> Layout:
    """The smallest network, to compile with."""
    from accelsim.noc.mesh import grid_graph
    from accelsim.noc.router import RouterSpec

    layout = Layout(grid_graph(2, 1), RouterSpec(flit_bytes=1))
    layout.memory[layout.end + F_SOURCE] = layout.terminal(0)
    return layout


@run_flits.warms_up_with
def _example() -> tuple[Any, int]:
    return tiny_network().memory, 1


@write_flow.warms_up_with
def _example_write() -> tuple[Any, ...]:
    layout = tiny_network()
    return layout.memory, layout.end, layout.terminal(0), 1, layout.end - 1, 1, 1, 1


@release_flow.warms_up_with
def _example_release() -> tuple[Any, int]:
    layout = tiny_network()
    return layout.memory, layout.end
