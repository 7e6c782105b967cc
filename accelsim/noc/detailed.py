"""The flit-level model: routers with virtual channels and credits, stepped by kernels."""

from __future__ import annotations

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.noc import flit_state as fs
from accelsim.noc.flit_events import release_flow, write_flow
from accelsim.noc.flit_kernel import run_flits
from accelsim.noc.graph import IntArray, RouterGraph
from accelsim.noc.model import Kind, Message, NocStats, StagedNoc
from accelsim.noc.plan import Flow, plan
from accelsim.noc.router import RouterSpec


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
        self._logs = log_rows > 0
        self._free: dict[int, list[int]] = {}
        self._ids: dict[int, tuple[int, list[int]]] = {}  # count of its open flows -> (message id, flows)
        self._plans: dict[tuple[tuple[int, ...], tuple[int, ...], Kind], list[Flow]] = {}
        self._trees: dict[tuple[int, tuple[int, ...]], int] = {}
        self._added_flits = 0
        self.logged_flows: dict[int, tuple[int, int]] = {}  # flow in the log -> (message id, number in its plan)

    def _allocate(self, words: int) -> int:
        """Address of a record, to be written in full; the memory grows when it must."""
        free = self._free.setdefault(words, [])
        if free:
            return free.pop()
        at, self._end = self._end, self._end + words
        if self._end > len(self.memory):
            self.memory = np.concatenate([self.memory, np.zeros(max(words, len(self.memory)), np.int64)])
        return at

    def _start(self, message: Message) -> None:
        if self.memory[fs.NOW] < message.now:  # idle until now: only credits can be under way
            run_flits(self.memory, message.now)
        flows = self._plan(message)
        count = self._allocate(1)
        rows = [self._allocate(fs.F_SIZE) for _ in flows]
        self._ids[count] = (message.id, rows)
        if self._logs:
            self.logged_flows.update((row, (message.id, n)) for n, row in enumerate(rows))
        m = self.memory
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

    def _run(self, limit: int) -> tuple[int, list[int]]:
        m = self.memory
        count = run_flits(m, limit)
        ids = []
        for at in m[m[fs.AT_DONE] : m[fs.AT_DONE] + count].tolist():
            message_id, rows = self._ids.pop(at)
            if not self._logs:  # the log names flows, so they keep their addresses
                self._free[fs.F_SIZE].extend(rows)
                self._free[1].append(at)
            ids.append(message_id)
        return int(m[fs.NOW]), ids

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
