"""A network of routers that the user wires: any connected graph, one terminal per router."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from accelsim.base.errors import ConfigError
from accelsim.noc.build import build_routed
from accelsim.noc.graph import IntArray, Link, RouterGraph
from accelsim.noc.model import Fidelity, NocModel, topology
from accelsim.noc.router import MAX_VC_INPUTS, RouterSpec


class CustomSpec(RouterSpec):
    """Routers 0 to `routers` - 1, wired both ways by `links`."""

    routers: int = Field(ge=1)
    links: list[list[int]]
    """Pairs of routers, each pair once."""
    link_cycles: int = Field(default=1, ge=1)
    routing: Literal["shortest", "tree"] = "shortest"
    """shortest: a shortest way, by the neighbour of lowest number (refused if that can deadlock);
    tree: along the breadth-first tree from router 0, which never can."""

    @model_validator(mode="after")
    def _links_are_pairs(self) -> CustomSpec:
        seen: set[tuple[int, int]] = set()
        for link in self.links:
            if len(link) != 2 or link[0] == link[1] or not all(0 <= r < self.routers for r in link):
                raise ValueError(f"links must be pairs of different routers from 0 to {self.routers - 1}, got {link}")
            pair = min(link), max(link)
            if pair in seen:
                raise ValueError(f"links must be there once, got {link} again")
            seen.add(pair)
        return self


def custom_graph(spec: CustomSpec, where: str) -> RouterGraph:
    """Port n of a router leads to its n-th neighbour in ascending order; the last port is the terminal's.

    Raises
    ------
    ConfigError
        If a router has too many neighbours, or one cannot be reached.
    """
    neighbours: list[list[int]] = [[] for _ in range(spec.routers)]
    for a, b in spec.links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    neighbours = [sorted(n) for n in neighbours]
    ports = max(map(len, neighbours)) + 1
    if ports > min(16, MAX_VC_INPUTS):  # a multicast tree keeps 16 outputs in a word
        busiest = max(range(spec.routers), key=lambda r: len(neighbours[r]))
        raise ConfigError(f"links must give a router at most 15 neighbours, but {busiest} has {ports - 1}", where)
    links = tuple(
        Link(a, port, b, neighbours[b].index(a), spec.link_cycles)
        for a in range(spec.routers)
        for port, b in enumerate(neighbours[a])
    )
    angle = 2 * np.pi * np.arange(spec.routers) / spec.routers
    return RouterGraph(
        name="custom",
        routers=spec.routers,
        ports=ports,
        links=links,
        terminal_router=np.arange(spec.routers),
        terminal_port=np.full(spec.routers, ports - 1),
        route=_route(neighbours, ports, spec.routing, where),
        place=np.stack([np.cos(angle), np.sin(angle)], axis=1),
    )


def _route(neighbours: list[list[int]], ports: int, routing: str, where: str) -> IntArray:
    routers = len(neighbours)
    usable = neighbours
    if routing == "tree":
        parent = _towards(0, neighbours, where)
        usable = [[b for b in neighbours[a] if parent[a] == b or parent[b] == a] for a in range(routers)]
    route = np.full((routers, routers), ports - 1, np.int64)
    for target in range(routers):
        for here, there in enumerate(_towards(target, usable, where)):
            if here != target:
                route[here, target] = neighbours[here].index(there)
    return route


def _towards(target: int, neighbours: list[list[int]], where: str) -> list[int]:
    """The next router on a shortest way to `target`, of lowest number, for every router."""
    distance = {target: 0}
    queue = deque([target])
    while queue:
        here = queue.popleft()
        for there in neighbours[here]:
            if there not in distance:
                distance[there] = distance[here] + 1
                queue.append(there)
    lost = [r for r in range(len(neighbours)) if r not in distance]
    if lost:
        raise ConfigError(f"links must connect all routers, but {lost[0]} cannot be reached from {target}", where)
    return [
        target if r == target else next(n for n in neighbours[r] if distance[n] == distance[r] - 1)
        for r in range(len(neighbours))
    ]


@topology("custom", CustomSpec)
def custom(spec: CustomSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """Routers wired as the user says."""
    return build_routed(custom_graph(spec, where), spec, fidelity, where)
