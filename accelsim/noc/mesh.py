"""Grids of routers: 2-D mesh, torus and ring, all with dimension-order routing, x first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import Field, model_validator

from accelsim.noc.build import build_routed
from accelsim.noc.graph import ANY, HIGH, LOW, IntArray, RouterGraph, grid_links, grid_places
from accelsim.noc.model import Fidelity, NocModel, topology
from accelsim.noc.router import RouterSpec

LOCAL = 4
"""Port of the terminal, after +x, -x, +y, -y."""


class MeshSpec(RouterSpec):
    """`columns` x `rows` routers, node = x + columns * y, one terminal each."""

    columns: int = Field(ge=1)
    rows: int = Field(ge=1)
    link_cycles: int = Field(default=1, ge=1)


class RingSpec(RouterSpec):
    """`nodes` routers in a bidirectional ring, one terminal each."""

    nodes: int = Field(ge=2)
    link_cycles: int = Field(default=1, ge=1)


class TorusSpec(MeshSpec):
    """A mesh whose rows and columns are rings."""

    @model_validator(mode="after")
    def _at_least_two(self) -> TorusSpec:
        if self.columns * self.rows < 2:
            raise ValueError(f"columns * rows must be >= 2, got {self.columns * self.rows}")
        return self


def step(here: int, there: int, size: int, wrap: bool) -> tuple[int, int]:
    """(direction, class) of the next hop in one dimension; direction 0 is up, 1 is down.

    In a ring the shorter way is taken; of two equal ways, up from even positions and down from odd
    ones, so that both directions carry the same load. A hop whose way still has to cross the link
    between the last and the first position uses the upper half of the virtual channels, all others
    the lower half: neither half's channels can then wait in a circle.
    """
    if not wrap:
        return (0 if there > here else 1), ANY
    distance = (there - here) % size
    up = 2 * distance < size or (2 * distance == size and here % 2 == 0)
    if up:
        return 0, HIGH if there < here else LOW
    return 1, HIGH if there > here else LOW


def xy_route(columns: int, rows: int, wrap: bool = False) -> IntArray:
    """Routing table of a grid, shape (nodes, nodes)."""
    nodes = columns * rows
    route = np.zeros((nodes, nodes), np.int64)
    for here in range(nodes):
        for there in range(nodes):
            x, y, tx, ty = here % columns, here // columns, there % columns, there // columns
            if x != tx:
                direction, klass = step(x, tx, columns, wrap)
                route[here, there] = direction + 64 * klass
            elif y != ty:
                direction, klass = step(y, ty, rows, wrap)
                route[here, there] = 2 + direction + 64 * klass
            else:
                route[here, there] = LOCAL
    return route


def grid_graph(
    columns: int,
    rows: int,
    wrap: bool = False,
    link: Callable[[int, int], tuple[int, int]] = lambda a, b: (1, 1),
    name: str = "",
) -> RouterGraph:
    """A mesh, or with `wrap` a torus; `link(a, b)` gives (latency, period) of the link from a to b."""
    nodes = columns * rows
    return RouterGraph(
        name=name or ("torus" if wrap else "mesh"),
        routers=nodes,
        ports=LOCAL + 1,
        links=tuple(grid_links(columns, rows, wrap, link)),
        terminal_router=np.arange(nodes),
        terminal_port=np.full(nodes, LOCAL),
        route=xy_route(columns, rows, wrap),
        place=grid_places(columns, rows),
    )


@topology("mesh", MeshSpec)
def mesh(spec: MeshSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """A 2-D mesh."""
    graph = grid_graph(spec.columns, spec.rows, False, lambda a, b: (spec.link_cycles, 1))
    return build_routed(graph, spec, fidelity, where)


@topology("torus", TorusSpec)
def torus(spec: TorusSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """A 2-D torus."""
    graph = grid_graph(spec.columns, spec.rows, True, lambda a, b: (spec.link_cycles, 1))
    return build_routed(graph, spec, fidelity, where)


@topology("ring", RingSpec)
def ring(spec: RingSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """A bidirectional ring."""
    graph = grid_graph(spec.nodes, 1, True, lambda a, b: (spec.link_cycles, 1), name="ring")
    return build_routed(graph, spec, fidelity, where)
