"""The flit-level router network as a kernel: one call runs until a message is complete.

Within a cycle: ejected packets are counted; credits and flits arrive; terminals send; every active
router decides. All wires take at least one cycle, so routers do not see each other within a cycle, and
their order does not matter. Routers without a bid are not visited, cycles without anything are skipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.noc.flit_events import deliver, queue_flow, receive, release_flow, release_row, send, write_flow
from accelsim.noc.flit_router import decide
from accelsim.noc.graph import IntArray
from accelsim.noc.flit_state import (
    ACTIVE,
    BUSY_SINCE,
    DONE,
    EVENTS,
    FREE_FLOW,
    F_SENDABLE,
    F_SOURCE,
    LAST_ID,
    NOW,
    PAUSE,
    QUIET,
    ROW,
    ROWS,
    ROWS_DONE,
    ROW_ID,
    ROW_NOW,
    ROW_SIZE,
    SOURCES,
    UNDER_WAY,
    Layout,
)


@kernel(error_model="numpy", _nrt=False)
def release_rows(m: Any, rows: Any, t: Any, below: Any) -> Any:
    """Start the messages of rows that are due in cycle t and have an id less than `below`.

    Returns whether one could not, because there is no free flow.
    """
    while m[ROW] < m[ROWS]:
        n = m[ROW]
        if rows[n, ROW_NOW] != t or rows[n, ROW_ID] >= below:
            break
        if m[FREE_FLOW] == 0:
            return True
        m[ROW] += 1
        if m[UNDER_WAY] == 0:
            m[BUSY_SINCE] = t
        m[UNDER_WAY] += 1
        release_row(m, rows, n)
    return False


@kernel(error_model="numpy", _nrt=False)
def run_flits(m: Any, rows: Any, limit: Any) -> Any:
    """Decide all cycles before `limit`, or stop earlier.

    That is in the first cycle in which messages are complete that Python has started or, with m[PAUSE], any
    messages; and before a cycle in which a row is to be released for which there is no free flow.

    Parameters
    ----------
    m : int64 array
        See `flit_state.Layout`.
    rows : int64 array, shape (n, ROW_SIZE)
        Messages that start themselves; those from m[ROW] on by ascending (cycle, id).
    limit : int
        Not before m[NOW].

    Returns
    -------
    int
        How many messages that Python has started are complete in cycle m[NOW] (their addresses are at
        m[AT_DONE]).
    """
    t = m[NOW]
    m[DONE] = 0
    quiet = 0
    before = m[ROWS_DONE]
    while True:
        if m[EVENTS]:
            deliver(m, rows, t)
            over = m[UNDER_WAY] == 0 and m[ROW] == m[ROWS]
            if m[DONE] or (m[ROWS_DONE] > before and (m[PAUSE] or over)):
                break
        if t >= limit:
            break
        if m[ROW] < m[ROWS] and rows[m[ROW], ROW_NOW] == t:
            if release_rows(m, rows, t, LAST_ID):
                break
        if m[EVENTS] == 0:
            quiet += 1
            if quiet > m[QUIET] or (m[ACTIVE] == 0 and m[SOURCES] == 0):  # a deadlock, or idle
                t = limit
                if m[ROW] < m[ROWS]:
                    t = min(limit, rows[m[ROW], ROW_NOW])
                quiet = 0
                continue
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


@kernel(error_model="numpy", _nrt=False)
def run_trace(m: Any, rows: Any, cycles: Any, flows: Any) -> Any:
    """Queue one packet of flow flows[n] in cycle cycles[n] (ascending), for all n, and run until all is quiet.

    For measurements: no Python between the packets. Returns the cycle.
    """
    n = 0
    while n < len(cycles) or m[EVENTS] or m[ACTIVE] or m[SOURCES]:
        while n < len(cycles) and cycles[n] == m[NOW]:
            m[flows[n] + F_SENDABLE] += 1
            queue_flow(m, flows[n])
            n += 1
        run_flits(m, rows, cycles[n] if n < len(cycles) else m[NOW] + 1)
    return m[NOW]


def no_rows() -> IntArray:
    """For `run_flits` where Python starts all messages."""
    return np.zeros((0, ROW_SIZE), np.int64)


def tiny_network() -> Layout:
    """The smallest network, to compile with."""
    from accelsim.noc.mesh import grid_graph
    from accelsim.noc.router import RouterSpec

    layout = Layout(grid_graph(2, 1), RouterSpec(flit_bytes=1))
    layout.memory[layout.end + F_SOURCE] = layout.terminal(0)
    return layout


@run_flits.warms_up_with
def _example() -> tuple[Any, ...]:
    return tiny_network().memory, no_rows(), 1


@write_flow.warms_up_with
def _example_write() -> tuple[Any, ...]:
    layout = tiny_network()
    return layout.memory, layout.end, layout.terminal(0), 1, layout.end - 1, 1, 1, 1


@release_flow.warms_up_with
def _example_release() -> tuple[Any, int]:
    layout = tiny_network()
    return layout.memory, layout.end
