"""The flit-level model: routers with virtual channels and credits, stepped by kernels."""

from __future__ import annotations

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import DeadlockError, SimulationBug
from accelsim.noc import flit_state as fs
from accelsim.noc.flit_events import release_flow, write_flow
from accelsim.noc.flit_kernel import release_rows, run_flits
from accelsim.noc.graph import IntArray, RouterGraph
from accelsim.noc.model import FOREVER, Column, Completion, Kind, Message, NocStats, StagedNoc, Terminals
from accelsim.noc.plan import Flow, plan
from accelsim.noc.router import RouterSpec
from accelsim.noc.rows import Rows


class DetailedNoc(StagedNoc):
    """Messages are cut into packets, packets into flits; see `flit_kernel` for what happens to these.

    A terminal sends the packets of its messages first come, first served, one flit in a cycle. A
    multicast tree's packets are no longer than a virtual channel's buffer: a copy that is blocked in
    one branch then fits into the buffer before the fork and cannot hold up the other branches for
    ever. Packets of a reduction stay on one virtual channel, so that the n-th of every operand meet.

    Parameters
    ----------
    graph : RouterGraph
    spec : RouterSpec
    log_rows : int
        Room for a log of injected and ejected flits (`log()`), for tests and comparisons.

    Raises
    ------
    ConfigError
        If `spec` does not suit the graph.
    """

    def __init__(self, graph: RouterGraph, spec: RouterSpec, where: str = "noc", log_rows: int = 0) -> None:
        super().__init__(graph.terminals, where)
        self.graph = graph
        self.spec = spec
        self.layout = fs.Layout(graph, spec, log_rows, where)
        self.memory: IntArray = self.layout.memory
        self._end = self.layout.end
        self._rows = Rows()
        self._row_ids: set[int] | None = set()  # open messages of the rows; None: not known without a look
        self._fresh: list[tuple[int, int, int, int, int]] = []  # on their way into the rows
        self._counts: list[int] = []  # free words for counts
        self._ids: dict[int, tuple[int, list[int]]] = {}  # count of its open flows -> (message id, flows)
        self._plans: dict[tuple[tuple[int, ...], tuple[int, ...], Kind], list[Flow]] = {}
        self._trees: dict[tuple[int, tuple[int, ...]], int] = {}
        self._added_flits = 0
        self._others = self._others_bytes = 0  # complete messages that were not in the rows, and their bytes
        self._flows = 0
        self._logs = log_rows > 0
        self.logged_flows: dict[int, tuple[int, int]] = {}  # flow in the log -> (message id, number in its plan)

    def submit(
        self, now: int, message_id: int, src: Terminals, dst: Terminals, n_bytes: int, kind: Kind | None = None
    ) -> None:
        """See `NocModel.submit`."""
        if self._row_ids is None:
            self._row_ids = self._rows.open_ids(self.memory)
        if message_id in self._row_ids:
            raise SimulationBug(f"{self.where}: message {message_id} is under way already")
        if (
            isinstance(src, int)
            and isinstance(dst, int)
            and kind in (None, "unicast")
            and now >= self._now
            and message_id not in self._open
            and 0 <= src < self.terminals
            and 0 <= dst < self.terminals
            and n_bytes > 0
        ):
            self._row_ids.add(message_id)
            self._fresh.append((now, message_id, self.layout.terminal(src), dst, n_bytes))
        else:
            super().submit(now, message_id, src, dst, n_bytes, kind)

    def submit_many(self, now: Column, ids: Column, src: Column, dst: Column, n_bytes: Column) -> None:
        """See `NocModel.submit_many`."""
        cycles, names, sources, targets, sizes = self._checked_columns(now, ids, src, dst, n_bytes)
        self._enter_fresh()
        sources = self.layout.terminals + self.layout.t_size * sources
        self._rows.append(self.memory, (cycles, names, sources, targets, sizes))
        self._row_ids = None

    def _open_ids(self) -> set[int]:
        self._enter_fresh()
        return self._rows.open_ids(self.memory) | set(self._open)

    def _enter_fresh(self) -> None:
        """What was submitted one by one goes into the rows."""
        fresh = self._fresh
        if len(fresh) < 4:
            for message in fresh:
                self._rows.add(self.memory, *message)
        else:
            columns = np.array(fresh, np.int64).T
            self._rows.append(self.memory, (columns[0], columns[1], columns[2], columns[3], columns[4]))
        fresh.clear()

    def _allocate(self, words: int) -> int:
        """Address of a record of zeros; the memory grows when it must."""
        at, self._end = self._end, self._end + words
        if self._end > len(self.memory):
            self.memory = np.concatenate([self.memory, np.zeros(max(words, len(self.memory)), np.int64)])
        return at

    def _add_flows(self) -> None:
        """Double the number of flow records."""
        self._flows = max(64, 2 * self._flows)
        first = self._allocate(fs.F_SIZE * self._flows)
        records = self.memory[first : first + fs.F_SIZE * self._flows].reshape(-1, fs.F_SIZE)
        records[:, fs.F_NEXT] = first + fs.F_SIZE * np.arange(1, self._flows + 1)
        records[-1, fs.F_NEXT] = self.memory[fs.FREE_FLOW]
        self.memory[fs.FREE_FLOW] = first

    def _take_flow(self) -> int:
        if self.memory[fs.FREE_FLOW] == 0:
            self._add_flows()
        flow = int(self.memory[fs.FREE_FLOW])
        self.memory[fs.FREE_FLOW] = self.memory[flow + fs.F_NEXT]
        return flow

    def _start(self, message: Message) -> None:
        self._release_rows(message)
        flows = self._plan(message)
        count = self._counts.pop() if self._counts else self._allocate(1)
        rows = [self._take_flow() for _ in flows]
        self._ids[count] = (message.id, rows)
        if self._logs:
            self.logged_flows.update((row, (message.id, n)) for n, row in enumerate(rows))
        m = self.memory
        if m[fs.UNDER_WAY] == 0:
            m[fs.BUSY_SINCE] = message.now
        m[fs.UNDER_WAY] += 1
        m[count] = len(flows)
        for row, flow in zip(rows, flows, strict=True):
            self._write_flow(row, flow, message, count)
        if message.kind == "reduction":
            for row, flow in zip(rows, flows, strict=True):
                if flow.parent is not None:
                    self._adopt(rows[flow.parent], row)
            rows = [row for row in rows if m[row + fs.F_CHILDREN] == 0]
        for row in rows:
            release_flow(m, row)

    def _release_rows(self, message: Message) -> None:
        """Time comes to the message's start, and messages of the same cycle with lower ids start."""
        self._enter_fresh()
        if self.memory[fs.NOW] < message.now:  # idle until now: only credits can be under way
            run_flits(self.memory, self._rows.table, message.now)
        while release_rows(self.memory, self._rows.table, message.now, message.id):
            self._add_flows()

    def _plan(self, message: Message) -> list[Flow]:
        key = (message.sources, message.targets, message.kind)
        flows = self._plans.get(key)
        if flows is None:
            flows = plan(message, self.graph, self.spec.multicast == "tree", self.spec.reduction == "tree")
            for flow in flows:
                if len(flow.targets) > 1:
                    self._tree(flow.source, flow.targets)
            self._plans[key] = flows
        return flows

    def _write_flow(self, row: int, flow: Flow, message: Message, count: int) -> None:
        spec, several = self.spec, len(flow.targets) > 1
        packets, size, last = spec.packets(message.n_bytes, spec.vc_buffer_flits if several else None)
        target = -self._tree(flow.source, flow.targets) if several else flow.targets[0]
        m = self.memory
        write_flow(m, row, self.layout.terminal(flow.source), target, count, packets, size, last)
        if several:
            m[row + fs.F_DELIVERIES] = packets * len(flow.targets)
        if spec.ordered or message.kind == "reduction":  # one virtual channel of each class
            each = spec.virtual_channels // self.graph.classes
            lane = message.id % each
            m[row + fs.F_VCS] = sum(1 << lane + c * each for c in range(self.graph.classes))
            m[row + fs.F_ANY] = 1 << lane

    def _adopt(self, parent: int, child: int) -> None:
        m = self.memory
        m[child + fs.F_PARENT] = parent
        m[child + fs.F_SIBLING] = m[parent + fs.F_CHILD]
        m[parent + fs.F_CHILD] = child
        m[parent + fs.F_CHILDREN] += 1
        whole = (m[child + fs.F_PACKETS] - 1) * m[child + fs.F_PACKET_FLITS]
        self._added_flits += int(whole + m[child + fs.F_LAST_FLITS])

    def _tree(self, source: int, targets: tuple[int, ...]) -> int:
        """Address of the multicast tree from `source` to `targets`; trees are kept."""
        key = (source, targets)
        if key not in self._trees:
            at = self._allocate(self.graph.routers)
            self.memory[at : at + self.graph.routers] = self.graph.tree(source, targets)
            self._trees[key] = at
        return self._trees[key]

    def _idle(self) -> bool:
        m = self.memory
        return not self._fresh and m.item(fs.UNDER_WAY) == 0 and m.item(fs.ROW) == m.item(fs.ROWS)

    def _run(self, limit: int) -> tuple[int, list[int]]:
        if self._fresh:
            self._enter_fresh()
        self.memory[fs.PAUSE] = 1
        before = self.memory.item(fs.ROWS_DONE)
        while True:
            others = self._step(limit)
            m = self.memory
            now, done = m.item(fs.NOW), m.item(fs.ROWS_DONE)
            if others or done > before or now >= limit:
                break
            self._add_flows()
        ids: list[int] = []
        if done > before:
            one = done == before + 1 and not self._logs
            ids = [self._rows.id_of(before)] if one else self._ended_rows(before)[1].tolist()
            if self._row_ids is not None:
                self._row_ids.difference_update(ids)
        return now, ids + self._ended_others() if others else ids

    def _step(self, limit: int) -> bool:
        """Run the kernel; whether messages are complete that are not in the rows."""
        return bool(run_flits(self.memory, self._rows.table, limit))

    def _ended_rows(self, before: int) -> tuple[IntArray, IntArray]:
        """Cycles and ids of rows complete since there were `before` of them."""
        table, these = self._rows.table, self._rows.since(self.memory, before)
        ids = table[these, fs.ROW_ID]
        if self._logs:
            flows = table[these, fs.ROW_FLOW].tolist()
            self.logged_flows.update((flow, (i, 0)) for flow, i in zip(flows, ids.tolist(), strict=True))
        return table[these, fs.ROW_DONE], ids

    def _ended_others(self) -> list[int]:
        """Ids of the messages that are complete in this cycle and not in the rows; counts them."""
        m, ids = self.memory, []
        for at in m[m[fs.AT_DONE] : m[fs.AT_DONE] + m[fs.DONE]].tolist():
            message_id, flows = self._ids.pop(at)
            if not self._logs:  # the log names flows, so they keep their addresses
                for flow in flows:
                    m[flow + fs.F_NEXT] = m[fs.FREE_FLOW]
                    m[fs.FREE_FLOW] = flow
            self._counts.append(at)
            ids.append(message_id)
            m[fs.UNDER_WAY] -= 1
            message = self._open.pop(message_id)
            self._others += 1
            self._others_bytes += message.n_bytes * len(message.targets)
        if ids and m[fs.UNDER_WAY] == 0:
            m[fs.BUSY] += m[fs.NOW] - m[fs.BUSY_SINCE]
        return ids

    def _complete(self, cycle: int, message_id: int) -> None:
        self._done.append((cycle, message_id))
        self._last = max(self._last, cycle)

    def advance_all(self, limit: int) -> tuple[IntArray, IntArray]:
        """See `NocModel.advance_all`."""
        early = []
        for queue in (self._collected, self._done):
            while queue and queue[0][0] <= limit:
                early.append(queue.popleft())
        pieces = [_columns(early)]
        while True:
            due = min(self._staged[0].now, limit) if self._staged else limit
            while not self._idle() and self.memory[fs.NOW] < due:
                pieces += self._run_on(due)
            if due == limit:
                break
            self._now = due
            self._start_all(due)
        cycles, ids = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
        if len(cycles):
            self._last = max(self._last, int(cycles[-1]))
        self._now = max(self._now, self._last if limit == FOREVER else limit)
        return cycles, ids

    def _run_on(self, limit: int) -> list[tuple[IntArray, IntArray]]:
        """Run without a stop at messages of the rows; pieces of completions, in order."""
        self._enter_fresh()
        m, before = self.memory, int(self.memory[fs.ROWS_DONE])
        m[fs.PAUSE] = 0
        others = self._ended_others() if self._step(limit) else []
        cycles, ids = self._ended_rows(before)
        self._row_ids = None
        now = int(m[fs.NOW])
        if others:  # these and rows of the same cycle mix
            first = int(np.searchsorted(cycles, now))
            mixed = sorted(others + ids[first:].tolist())
            return [(cycles[:first], ids[:first]), _columns([(now, i) for i in mixed])]
        if now < limit and self._rows.due(m):  # all flows were in use
            self._add_flows()
        return [(cycles, ids)]

    def finish(self) -> int:
        """See `NocModel.finish`."""
        cycles, ids = self.advance_all(FOREVER)
        self._collected.extend(zip(cycles.tolist(), ids.tolist(), strict=True))
        if not self._idle():
            raise DeadlockError(f"{self.where}: message {min(self._open_ids())} never arrives{self._waiting_for()}")
        return self._last

    def _waiting_for(self) -> str:
        m = self.memory
        return f"; flits: {self.flits_inside()}, events pending: {m[fs.EVENTS]}, terminals sending: {m[fs.SOURCES]}"

    def flits_inside(self) -> int:
        """Flits in buffers of routers."""
        at = self.layout.vcs + self.layout.v_size * np.arange(
            self.graph.routers * self.graph.ports * self.spec.virtual_channels
        )
        return int((self.memory[at + fs.V_WROTE] - self.memory[at + fs.V_READ]).sum())

    def stats(self) -> NocStats:
        """See `NocModel.stats`."""
        stats = super().stats()
        stats.busy_cycles = int(self.memory[fs.BUSY])
        stats.messages = self._others + int(self.memory[fs.ENDED])
        stats.bytes_delivered = self._others_bytes + int(self.memory[fs.ENDED_BYTES])
        graph, m = self.graph, self.memory
        outs = [self.layout.output(link.source, link.source_port) for link in graph.links]
        ends = zip(graph.terminal_router.tolist(), graph.terminal_port.tolist(), strict=True)
        outs += [self.layout.output(r, p) for r, p in ends]
        at = np.array(outs)
        stats.links = graph.link_names()
        stats.link_flits = m[at + fs.O_FLITS]
        stats.link_period_cycles = m[at + fs.O_PERIOD]
        stats.flit_hops = int(stats.link_flits[: len(graph.links)].sum())
        stats.router_flits = int(stats.link_flits.sum())
        stats.place = graph.place
        return stats

    def counts(self) -> ActionCounts:
        """See `NocModel.counts`."""
        stats = self.stats()
        result = ActionCounts()
        result.add("noc", "router", stats.router_flits)
        for link, flits in zip(self.graph.links, stats.link_flits.tolist(), strict=False):
            result.add("noc", link.action, flits)
        result.add("noc", "add", self._added_flits)
        return result

    def log(self) -> IntArray:
        """Rows (cycle, terminal, 1 if ejected, flow, is head, is tail, virtual channel), in no special order."""
        m = self.memory
        rows = m[m[fs.AT_LOG] : m[fs.AT_LOG] + fs.LOG_SIZE * min(m[fs.LOGGED], m[fs.LOG_ROWS])].reshape(-1, fs.LOG_SIZE)
        flit = rows[:, 3]
        return np.stack([*rows.T[:3], flit >> 2, flit >> 1 & 1, flit & 1, rows[:, 4]], axis=1)


def _columns(done: list[Completion]) -> tuple[IntArray, IntArray]:
    table = np.array(done, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
