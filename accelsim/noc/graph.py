"""Router graphs: which router is wired to which, and the way from every router to every terminal.

A `RouterGraph` is what the flit-level model, the burst model and the deadlock check have in common.
Routing is a table: from a router and a destination it gives the output port and the class of virtual
channels that may be used on it. Tables keep the models free of any knowledge of meshes and rings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError, SimulationBug

IntArray = NDArray[np.int64]

ANY, LOW, HIGH = 0, 1, 2
"""Classes of virtual channels: all of them, the lower half, the upper half."""

NOT_WIRED = -(2**40)


@dataclass(frozen=True)
class Link:
    """A directed wire between two router ports.

    `latency_cycles` is its length in pipeline stages; it takes a flit every `period_cycles`, and each
    flit counts as one `action`.
    """

    source: int
    source_port: int
    target: int
    target_port: int
    latency_cycles: int = 1
    period_cycles: int = 1
    action: str = "wire"

    def shifted(self, by: int) -> Link:
        """The same link between routers whose numbers are higher by `by`."""
        return replace(self, source=self.source + by, target=self.target + by)


@dataclass(frozen=True)
class RouterGraph:
    """Routers, links, terminals and the routing table.

    Attributes
    ----------
    name : str
    routers, ports : int
        Every router has `ports` inputs and outputs; some may be unwired.
    links : tuple of Link
    terminal_router, terminal_port : int arrays, shape (terminals,)
        Where each terminal injects and ejects (same port number on both sides).
    route : int array, shape (routers, terminals)
        Output port + 64 * class of virtual channels.
    place : float array, shape (routers, 2)
        x and y of each router, for drawing.
    terminal_latency_cycles : int
        Of the links between terminals and routers.
    """

    name: str
    routers: int
    ports: int
    links: tuple[Link, ...]
    terminal_router: IntArray
    terminal_port: IntArray
    route: IntArray
    place: NDArray[np.float64]
    terminal_latency_cycles: int = 1
    link_at: dict[tuple[int, int], int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = {(link.source, link.source_port): i for i, link in enumerate(self.links)}
        into = {(link.target, link.target_port) for link in self.links}
        if len(at) != len(self.links) or len(into) != len(self.links):
            raise SimulationBug(f"{self.name}: two links share a port")
        object.__setattr__(self, "link_at", at)

    @property
    def terminals(self) -> int:
        """How many there are."""
        return len(self.terminal_router)

    @property
    def classes(self) -> int:
        """Classes into which virtual channels are divided: 1 or 2."""
        return 2 if int(self.route.max()) >= 64 else 1

    def link_names(self) -> list[tuple[str, str]]:
        """From where to where: the links, then the wires to the terminals (`tN`)."""
        wires = [(str(r), f"t{k}") for k, r in enumerate(self.terminal_router.tolist())]
        return [(str(link.source), str(link.target)) for link in self.links] + wires

    def out_port(self, router: int, terminal: int) -> int:
        """The output port towards `terminal`."""
        return int(self.route[router, terminal]) % 64

    def vc_class(self, router: int, terminal: int) -> int:
        """ANY, LOW or HIGH on that output."""
        return int(self.route[router, terminal]) // 64

    def path(self, source: int, target: int) -> list[int]:
        """Indices of the links from terminal to terminal, in order.

        Raises
        ------
        SimulationBug
            If the table leads in a circle or into an unwired port.
        """
        router, end = int(self.terminal_router[source]), int(self.terminal_router[target])
        way: list[int] = []
        while router != end:
            link = self.link_at.get((router, self.out_port(router, target)))
            if link is None or len(way) > self.routers:
                raise SimulationBug(f"{self.name}: the routing table does not lead from {source} to {target}")
            way.append(link)
            router = self.links[link].target
        if self.out_port(router, target) != self.terminal_port[target]:
            raise SimulationBug(f"{self.name}: router {router} does not eject to terminal {target}")
        return way

    def hops(self, source: int, target: int) -> int:
        """Routers on the way, the first and the last included."""
        return len(self.path(source, target)) + 1

    def tree(self, source: int, targets: Iterable[int]) -> IntArray:
        """The union of the ways to `targets`, for multicast, as one word per router.

        Returns
        -------
        int array, shape (routers,)
            Bit o: a copy leaves through output o, on virtual channels of the class in bits 16 + 2 o and
            17 + 2 o. A branch that serves destinations of both classes takes the upper half, which
            comes first on any way.
        """
        classes: dict[tuple[int, int], int] = {}
        for target in targets:
            router = int(self.terminal_router[source])
            for link in [*self.path(source, target), -1]:
                port = self.out_port(router, target)
                classes[router, port] = max(classes.get((router, port), 0), self.vc_class(router, target))
                router = self.links[link].target
        words = np.zeros(self.routers, np.int64)
        for (router, port), klass in classes.items():
            words[router] |= 1 << port | klass << 16 + 2 * port
        return words


def check_connected(graph: RouterGraph, where: str | None = None) -> None:
    """Every terminal must reach every other over the links, whatever the routing table says.

    Raises
    ------
    ConfigError
        Naming a terminal that cannot be reached.
    """
    targets: list[list[int]] = [[] for _ in range(graph.routers)]
    sources: list[list[int]] = [[] for _ in range(graph.routers)]
    for link in graph.links:
        targets[link.source].append(link.target)
        sources[link.target].append(link.source)
    start = int(graph.terminal_router[0])
    for neighbours, text in ((targets, "cannot be reached from"), (sources, "cannot reach")):
        reached = _reachable(start, neighbours)
        lost = [k for k, r in enumerate(graph.terminal_router) if int(r) not in reached]
        if lost:
            raise ConfigError(f"links must connect all terminals, but {lost[0]} {text} 0", where)


def _reachable(start: int, neighbours: Sequence[Sequence[int]]) -> set[int]:
    seen = {start}
    stack = [start]
    while stack:
        for n in neighbours[stack.pop()]:
            if n not in seen:
                seen.add(n)
                stack.append(n)
    return seen


Channel = tuple[int, int]
"""(link, class of virtual channels)"""


def channel_dependencies(graph: RouterGraph) -> dict[Channel, set[Channel]]:
    """Which channels a packet may hold while it waits for which others, over all pairs of terminals.

    A link without classes is one channel (any of its virtual channels may wait for any other's turn);
    a link with classes is two. A multicast's copy for a LOW destination may travel as HIGH as long as
    it shares the way with a copy that must; these dependencies are included.
    """
    edges: dict[Channel, set[Channel]] = {}
    for target in range(graph.terminals):
        for router in range(graph.routers):
            here = graph.link_at.get((router, graph.out_port(router, target)))
            if here is None:
                continue
            after = graph.links[here].target
            there = graph.link_at.get((after, graph.out_port(after, target)))
            follow = edges.setdefault((here, graph.vc_class(router, target)), set())
            if there is not None:
                follow.add((there, graph.vc_class(after, target)))
    for link, klass in sorted(edges):
        if klass == LOW and (link, HIGH) in edges:
            edges[link, HIGH] |= edges[link, LOW]
    return _spread_any(edges)


def _spread_any(edges: dict[Channel, set[Channel]]) -> dict[Channel, set[Channel]]:
    """Where a link is used both with and without a class, ANY stands for both halves."""
    classes: dict[int, set[int]] = {}
    for link, klass in [*edges, *(c for out in edges.values() for c in out)]:
        classes.setdefault(link, set()).add(klass)

    def halves(channel: Channel) -> list[Channel]:
        link, klass = channel
        return [(link, LOW), (link, HIGH)] if klass == ANY and len(classes[link]) > 1 else [channel]

    spread: dict[Channel, set[Channel]] = {}
    for channel, out in edges.items():
        for half in halves(channel):
            spread.setdefault(half, set()).update(h for c in out for h in halves(c))
    return spread


def find_cycle(edges: dict[Channel, set[Channel]]) -> list[Channel]:
    """A circle of channels that wait for each other, or an empty list: then routing cannot deadlock.

    (Dally and Seitz, IEEE Trans. Computers 1987: wormhole routing is free of deadlock if its
    channel dependency graph has no circle.)
    """
    state: dict[Channel, int] = {}
    for root in sorted(edges):
        if root in state:
            continue
        way = [root]
        iterators = [iter(sorted(edges[root]))]
        state[root] = 1
        while way:
            step = next(iterators[-1], None)
            if step is None:
                state[way.pop()] = 2
                iterators.pop()
            elif state.get(step) == 1:
                return way[way.index(step) :]
            elif step not in state:
                state[step] = 1
                way.append(step)
                iterators.append(iter(sorted(edges.get(step, ()))))
    return []


def check_deadlock_free(graph: RouterGraph, where: str | None = None) -> None:
    """Refuse a routing table whose channels can wait for each other in a circle.

    Raises
    ------
    ConfigError
        Showing the circle as routers.
    """
    circle = find_cycle(channel_dependencies(graph))
    if circle:
        names = " -> ".join(str(graph.links[link].source) for link, _ in circle[:8])
        raise ConfigError(f"routing must be free of deadlock, but channels wait in a circle: routers {names}", where)


def grid_links(
    columns: int,
    rows: int,
    wrap: bool = False,
    link: Callable[[int, int], tuple[int, int]] = lambda a, b: (1, 1),
) -> list[Link]:
    """Links of a grid with ports 0 (+x), 1 (-x), 2 (+y), 3 (-y), node = x + columns * y.

    `link(a, b)` gives (latency, period) of the link from router a to router b.
    """
    result = []
    for y in range(rows):
        for x in range(columns):
            here = x + columns * y
            for port, (dx, dy) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
                nx, ny = x + dx, y + dy
                if wrap:
                    nx, ny = nx % columns, ny % rows
                there = nx + columns * ny
                if 0 <= nx < columns and 0 <= ny < rows and there != here:
                    result.append(Link(here, port, there, port ^ 1, *link(here, there)))
    return result


def grid_places(columns: int, rows: int) -> NDArray[np.float64]:
    """x and y of the routers of a grid."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    return np.stack([x, y], axis=1).astype(np.float64)
