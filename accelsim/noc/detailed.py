"""The flit-level model: routers with virtual channels and credits, stepped by kernels."""

from __future__ import annotations

import numpy as np

from accelsim.noc import flit_state as fs
from accelsim.noc.flit_kernel import queue_packets, run_flits
from accelsim.noc.graph import IntArray, RouterGraph
from accelsim.noc.model import Message, NocStats, StagedNoc
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
        self._state = fs.new_state(graph, spec, log_rows, where)
        self._free_flows = list(range(len(self._state.flow)))[::-1]
        self._free_messages = list(range(len(self._state.message)))[::-1]
        self._ids: dict[int, tuple[int, list[int]]] = {}  # message slot -> (id, flows)
        self._trees: dict[tuple[int, tuple[int, ...]], int] = {}
        self._adds = 0

    def _start(self, message: Message) -> None:
        state = self._state
        if state.par[fs.NOW] < message.now:  # idle until now: only credits can be under way
            run_flits(state, message.now)
        flows = plan(message, self.graph, self.spec.multicast == "tree", self.spec.reduction == "tree")
        slot = self._take(self._free_messages, "message")
        rows = [self._take(self._free_flows, "flow") for _ in flows]
        self._ids[slot] = (message.id, rows)
        self._state.message[slot] = len(flows)
        for row, flow in zip(rows, flows, strict=True):
            self._write_flow(row, flow, message, slot, rows)
        table = self._state.flow
        for row, flow in zip(rows, flows, strict=True):
            if flow.parent is not None:
                self._adopt(rows[flow.parent], row)
        for row in rows:
            if table[row, fs.F_CHILDREN] == 0:
                queue_packets(self._state, row, int(table[row, fs.F_PACKETS]))

    def _take(self, free: list[int], field: str) -> int:
        """A free row of table `field`, which grows when there is none."""
        if not free:
            table: IntArray = getattr(self._state, field)
            size = len(table)
            self._state = self._state._replace(**{field: np.concatenate([table, np.zeros_like(table)])})
            free.extend(range(2 * size - 1, size - 1, -1))
        return free.pop()

    def _write_flow(self, row: int, flow: Flow, message: Message, slot: int, rows: list[int]) -> None:
        spec, entry = self.spec, self._state.flow[row]
        tree = len(flow.targets) > 1
        packets, size, last = spec.packets(message.n_bytes, spec.vc_buffer_flits if tree else 2**40)
        entry[:] = 0
        entry[fs.F_SOURCE] = flow.source
        entry[fs.F_TARGET] = -1 - self._tree(flow.source, flow.targets) if tree else flow.targets[0]
        entry[fs.F_MESSAGE] = slot
        entry[fs.F_PACKETS], entry[fs.F_SIZE], entry[fs.F_LAST_SIZE] = packets, size, last
        entry[fs.F_DELIVERIES] = packets * len(flow.targets)
        entry[fs.F_VCS] = self._lane(message) if spec.ordered or message.kind == "reduction" else self._state.halves[0]
        entry[fs.F_PARENT] = -1
        entry[fs.F_CHILD] = entry[fs.F_SIBLING] = -1

    def _lane(self, message: Message) -> int:
        """The one virtual channel (of each class) that a message keeps to."""
        vcs, classes = self.spec.virtual_channels, 2 if int(self.graph.route.max()) >= 64 else 1
        lane = message.id % (vcs // classes)
        return sum(1 << lane + c * (vcs // classes) for c in range(classes))

    def _adopt(self, parent: int, child: int) -> None:
        table = self._state.flow
        table[child, fs.F_PARENT] = parent
        table[child, fs.F_SIBLING] = table[parent, fs.F_CHILD]
        table[parent, fs.F_CHILD] = child
        table[parent, fs.F_CHILDREN] += 1
        self._adds += int(table[child, fs.F_PACKETS] - 1) * int(table[child, fs.F_SIZE]) + int(
            table[child, fs.F_LAST_SIZE]
        )

    def _tree(self, source: int, targets: tuple[int, ...]) -> int:
        """Row of the multicast tree from `source` to `targets`; trees are kept."""
        key = (source, targets)
        if key not in self._trees:
            row = len(self._trees)
            if row >= len(self._state.trees):
                grown = np.concatenate([self._state.trees, np.zeros_like(self._state.trees)])
                self._state = self._state._replace(trees=grown)
            self._state.trees[row] = self.graph.tree(source, targets)
            self._trees[key] = row
        return self._trees[key]

    def _run(self, limit: int) -> tuple[int, list[int]]:
        count = run_flits(self._state, limit)
        ids = []
        for slot in self._state.done[:count]:
            message_id, rows = self._ids.pop(int(slot))
            self._free_flows.extend(rows)
            self._free_messages.append(int(slot))
            ids.append(message_id)
        return int(self._state.par[fs.NOW]), ids

    def stats(self) -> NocStats:
        """See `NocModel.stats`."""
        stats = super().stats()
        graph, out = self.graph, self._state.out
        places = [link.source * graph.ports + link.source_port for link in graph.links]
        ejects = graph.terminal_router * graph.ports + graph.terminal_port
        stats.links = [(str(link.source), str(link.target)) for link in graph.links]
        stats.links += [(str(r), f"t{k}") for k, r in enumerate(graph.terminal_router)]
        stats.link_flits = np.concatenate([out[places, fs.FLITS], out[ejects, fs.FLITS]])
        stats.link_period_cycles = np.concatenate([out[places, fs.PERIOD], out[ejects, fs.PERIOD]])
        stats.flit_hops = int(out[places, fs.FLITS].sum())
        stats.router_flits = int(out[:, fs.FLITS].sum())
        stats.place = graph.place
        return stats

    def log(self) -> IntArray:
        """Rows (cycle, terminal, 1 if ejected, flow, is head, is tail, virtual channel), in no special order."""
        rows = self._state.log[: min(self._state.par[fs.LOGGED], len(self._state.log))]
        flit = rows[:, 3]
        return np.stack([rows[:, 0], rows[:, 1], rows[:, 2], flit >> 2, flit >> 1 & 1, flit & 1, rows[:, 4]], axis=1)
