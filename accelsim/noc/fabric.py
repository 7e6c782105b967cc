"""Fabrics: wires, and which of them a message takes. What the burst model needs to know of a network.

A message is planned as stages: each is one passage over one wire, and starts when the stages that it
follows have reached it. Several followers make a multicast, several predecessors a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.noc.graph import RouterGraph
from accelsim.noc.model import Message
from accelsim.noc.plan import plan
from accelsim.noc.router import PacketSpec, RouterSpec


@dataclass(frozen=True)
class Wire:
    """Something that moves one flit at a time.

    `latency_cycles` from taking a flit to having it at the other end; the next one is taken
    `period_cycles` later. Heads of packets are taken `head_cycles` after they have come (a router's
    routing and allocation). A flit counts once for each of `actions`.
    """

    source: str
    target: str
    latency_cycles: int = 1
    period_cycles: int = 1
    actions: tuple[str, ...] = ("wire",)
    head_cycles: int = 0


class Stage(NamedTuple):
    """One passage of a message over a wire, `after` other stages (by index), or from its start.

    With `whole_packets` a packet goes on when all of it is there, otherwise flit by flit; with more
    than one predecessor it needs the n-th of each. `delay_cycles` come before that (an adder); `adds`
    is the number of additions per flit.
    """

    wire: int
    after: tuple[int, ...] = ()
    delivers: bool = False
    whole_packets: bool = False
    delay_cycles: int = 0
    adds: int = 0


class Fabric(Protocol):
    """Wires and plans; `where` names it in messages."""

    terminals: int
    wires: list[Wire]
    packets: PacketSpec
    place: NDArray[np.float64] | None

    def stages(self, message: Message) -> list[Stage]:
        """The stages of a message, predecessors before followers. The wires of stages that deliver take >= 1 cycle.

        Raises
        ------
        ConfigError
            If the fabric has no way for such a message.
        """

    def flits(self, message: Message) -> tuple[int, int, int]:
        """(flits, flits of a packet, flits of the last packet), headers included."""


class BaseFabric:
    """What simple fabrics share."""

    def __init__(self, terminals: int, packets: PacketSpec, where: str) -> None:
        self.terminals = terminals
        self.packets = packets
        self.where = where
        self.wires: list[Wire] = []
        self.place: NDArray[np.float64] | None = None

    def wire(self, *args: object, **kwargs: object) -> int:
        """Add a wire; returns its index."""
        self.wires.append(Wire(*args, **kwargs))  # type: ignore[arg-type]
        return len(self.wires) - 1

    def flits(self, message: Message) -> tuple[int, int, int]:
        """See `Fabric.flits`."""
        packets, size, last = self.packets.packets(message.n_bytes)
        return (packets - 1) * size + last, size if packets > 1 else last, last

    def no_way(self, message: Message, allowed: str) -> ConfigError:
        """The error for a message that cannot be carried."""
        ends = f"{_short(message.sources)} to {_short(message.targets)}"
        return ConfigError(f"messages must be {allowed}, got a {message.kind} from {ends}", self.where)


def _short(terminals: tuple[int, ...]) -> str:
    shown = ", ".join(str(t) for t in terminals[:4])
    return shown + (", ..." if len(terminals) > 4 else "")


class RoutedFabric(BaseFabric):
    """The wires of a router graph; a router's pipeline belongs to the wire behind it."""

    def __init__(self, graph: RouterGraph, spec: RouterSpec, where: str = "noc") -> None:
        super().__init__(graph.terminals, spec, where)
        self.graph = graph
        self.spec = spec
        self.place = graph.place
        through = spec.switch_allocation_cycles + spec.crossbar_cycles
        head = spec.pipeline_cycles - through
        for (a, b), link in zip(graph.link_names(), graph.links, strict=False):
            self.wire(a, b, through + link.latency_cycles, link.period_cycles, ("router", link.action), head)
        self._eject = len(self.wires)
        for a, b in graph.link_names()[self._eject :]:
            self.wire(a, b, through + graph.terminal_latency_cycles, 1, ("router",), head)
        self._inject = len(self.wires)
        for b, a in graph.link_names()[self._eject :]:
            self.wire(a, b, 1 + graph.terminal_latency_cycles, 1, ())

    def stages(self, message: Message) -> list[Stage]:
        """See `Fabric.stages`; the ways are those of the detailed model."""
        flows = plan(message, self.graph, self.spec.multicast == "tree", self.spec.reduction == "tree")
        children: dict[int, list[int]] = {}
        for n, flow in enumerate(flows):
            if flow.parent is not None:
                children.setdefault(flow.parent, []).append(n)
        stages: list[Stage] = []
        ends: dict[int, int] = {}  # flow -> its ejecting stage

        def grow(n: int) -> None:
            for child in children.get(n, ()):
                grow(child)
            after = tuple(ends[child] for child in children.get(n, ()))
            delay = self.spec.adder_cycles if after else 0
            stages.append(Stage(self._inject + flows[n].source, after, False, bool(after), delay, len(after)))
            self._spread(stages, flows[n].source, flows[n].targets, flows[n].parent is None)
            ends[n] = len(stages) - 1

        for n, flow in enumerate(flows):
            if flow.parent is None:
                grow(n)
        return stages

    def _spread(self, stages: list[Stage], source: int, targets: tuple[int, ...], delivers: bool) -> None:
        """Stages from the router of `source` on, along the union of the ways."""
        at: dict[int, int] = {-1: len(stages) - 1}  # link -> stage
        for target in targets:
            last = -1
            for link in self.graph.path(source, target):
                if link not in at:
                    stages.append(Stage(link, (at[last],)))
                    at[link] = len(stages) - 1
                last = link
            stages.append(Stage(self._eject + target, (at[last],), delivers))

    def flits(self, message: Message) -> tuple[int, int, int]:
        """See `Fabric.flits`; packets of a multicast tree fit into a virtual channel's buffer."""
        several = message.kind == "multicast" and len(message.targets) > 1 and self.spec.multicast == "tree"
        packets, size, last = self.spec.packets(message.n_bytes, self.spec.vc_buffer_flits if several else None)
        return (packets - 1) * size + last, size if packets > 1 else last, last
