"""Networks that go beyond one chip.

`package_mesh`: chips in a grid, a mesh of cores on each, and a router per chip on the package, reached
through one core (Simba: Shao et al., MICRO 2019, Section III: network on chip and network on package).
`extended_mesh`: one mesh of cores over all chips, whose links between chips are longer and narrower
(Tianjic: Pei et al., Nature 2019).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field, model_validator

from accelsim.noc.build import build_routed
from accelsim.noc.graph import ANY, HIGH, LOW, IntArray, Link, RouterGraph, grid_links, grid_places
from accelsim.noc.mesh import LOCAL, grid_graph, step
from accelsim.noc.model import Fidelity, NocModel, topology
from accelsim.noc.router import RouterSpec

GATE = LOCAL + 1
"""Port between a chip's gate core and its router on the package."""


class ChipsSpec(RouterSpec):
    """`chip_columns` x `chip_rows` chips of `columns` x `rows` cores each."""

    chip_columns: int = Field(ge=1)
    chip_rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    rows: int = Field(ge=1)
    link_cycles: int = Field(default=1, ge=1)
    package_link_cycles: int = Field(ge=1)
    """Latency of a link between chips, in cycles of the cores' clock."""
    package_link_period_cycles: int = Field(default=1, ge=1)
    """Cycles per flit on such a link."""


class PackageMeshSpec(ChipsSpec):
    """Core (x, y) of chip c is c * columns * rows + x + columns * y."""

    gate: int = Field(default=0, ge=0)
    """The core of each chip that is wired to the package."""

    @model_validator(mode="after")
    def _gate_is_a_core(self) -> PackageMeshSpec:
        if self.gate >= self.columns * self.rows:
            raise ValueError(f"gate must be < columns * rows ({self.columns * self.rows}), got {self.gate}")
        return self


def package_graph(spec: PackageMeshSpec) -> RouterGraph:
    """Routers of all cores, then one per chip on the package.

    On the chip it leaves a packet uses the upper half of the virtual channels, on the chip where it
    ends the lower half: what leaves never waits for what has come in.
    """
    cores, chips = spec.columns * spec.rows, spec.chip_columns * spec.chip_rows
    links: list[Link] = []
    for chip in range(chips):
        for link in grid_links(spec.columns, spec.rows, link=lambda a, b: (spec.link_cycles, 1)):
            links.append(link.shifted(chip * cores))
        gate, router = chip * cores + spec.gate, chips * cores + chip
        links += [Link(gate, GATE, router, GATE, spec.link_cycles), Link(router, GATE, gate, GATE, spec.link_cycles)]
    timing = spec.package_link_cycles, spec.package_link_period_cycles
    for link in grid_links(spec.chip_columns, spec.chip_rows, link=lambda a, b: timing):
        links.append(replace(link.shifted(chips * cores), action="package_wire"))
    chip_places, core_places = grid_places(spec.chip_columns, spec.chip_rows), grid_places(spec.columns, spec.rows)
    spread = chip_places[:, None, :] * [spec.columns + 1, spec.rows + 1]
    place = np.concatenate([(spread + core_places[None]).reshape(-1, 2), spread[:, 0] + [spec.columns, spec.rows]])
    return RouterGraph(
        name="package_mesh",
        routers=chips * (cores + 1),
        ports=GATE + 1,
        links=tuple(links),
        terminal_router=np.arange(chips * cores),
        terminal_port=np.full(chips * cores, LOCAL),
        route=_package_route(spec),
        place=place.astype(np.float64),
    )


def _package_route(spec: PackageMeshSpec) -> IntArray:
    cores, chips = spec.columns * spec.rows, spec.chip_columns * spec.chip_rows
    on_chip = _grid_steps(spec.columns, spec.rows)
    on_package = _grid_steps(spec.chip_columns, spec.chip_rows)
    route = np.zeros((chips * (cores + 1), chips * cores), np.int64)
    for target in range(chips * cores):
        chip, core = divmod(target, cores)
        for here in range(chips):
            rows = slice(here * cores, (here + 1) * cores)
            if here == chip:
                route[rows, target] = on_chip[:, core] + 64 * LOW
                route[target, target] = LOCAL
                route[chips * cores + here, target] = GATE
            else:
                route[rows, target] = on_chip[:, spec.gate] + 64 * HIGH
                route[here * cores + spec.gate, target] = GATE
                route[chips * cores + here, target] = on_package[here, chip] + 64 * ANY
    return route


def _grid_steps(columns: int, rows: int) -> IntArray:
    """Output port from node to node, x first, shape (nodes, nodes); 0 on the diagonal."""
    nodes = columns * rows
    ports = np.zeros((nodes, nodes), np.int64)
    for here in range(nodes):
        for there in range(nodes):
            if here % columns != there % columns:
                ports[here, there] = step(here % columns, there % columns, columns, False)[0]
            elif here != there:
                ports[here, there] = 2 + step(here // columns, there // columns, rows, False)[0]
    return ports


@topology("package_mesh", PackageMeshSpec)
def package_mesh(spec: PackageMeshSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """A mesh on each chip, and a mesh of chips (Simba)."""
    return build_routed(package_graph(spec), spec, fidelity, where)


def extended_graph(spec: ChipsSpec) -> RouterGraph:
    """One mesh over all chips, node = x + columns * chip_columns * y."""
    width = spec.columns * spec.chip_columns
    inside = spec.link_cycles, 1
    between = spec.package_link_cycles, spec.package_link_period_cycles

    def chip(node: int) -> tuple[int, int]:
        return node % width // spec.columns, node // width // spec.rows

    graph = grid_graph(
        width,
        spec.rows * spec.chip_rows,
        link=lambda a, b: inside if chip(a) == chip(b) else between,
        name="extended_mesh",
    )
    actions = ("wire" if chip(link.source) == chip(link.target) else "package_wire" for link in graph.links)
    links = tuple(replace(link, action=action) for link, action in zip(graph.links, actions, strict=True))
    return replace(graph, links=links)


@topology("extended_mesh", ChipsSpec)
def extended_mesh(spec: ChipsSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """One mesh over several chips (Tianjic)."""
    return build_routed(extended_graph(spec), spec, fidelity, where)
