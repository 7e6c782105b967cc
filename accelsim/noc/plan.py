"""How a message becomes flows: streams of packets from one terminal to one or more others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from accelsim.noc.graph import RouterGraph
from accelsim.noc.model import Message


class Flow(NamedTuple):
    """From one terminal to one (or, as a tree, several); `parent` is the flow that adds this one to its own."""

    source: int
    targets: tuple[int, ...]
    parent: int | None = None


def plan(message: Message, graph: RouterGraph, multicast_tree: bool, reduction_tree: bool) -> list[Flow]:
    """The flows of a message, in the order in which a source sends them."""
    if message.kind == "reduction":
        return _reduction(message.sources, message.targets[0], graph, reduction_tree)
    source = message.sources[0]
    if multicast_tree or len(message.targets) == 1:
        return [Flow(source, message.targets)]
    return [Flow(source, (target,)) for target in message.targets]


def _reduction(sources: Sequence[int], target: int, graph: RouterGraph, tree: bool) -> list[Flow]:
    """Each source sends to the first other source on its way to the target, which adds and sends on.

    A target that is a source itself adds what arrives and sends nothing; alone it is done when its
    own operand has gone through its router.
    """
    senders = [s for s in sources if s != target] or [target]
    at = {int(graph.terminal_router[s]): n for n, s in enumerate(senders)}
    flows = []
    for sender in senders:
        parent = _first_on_way(sender, target, at, graph) if tree else None
        end = target if parent is None else senders[parent]
        flows.append(Flow(sender, (end,), parent))
    return flows


def _first_on_way(sender: int, target: int, at: dict[int, int], graph: RouterGraph) -> int | None:
    for link in graph.path(sender, target):
        router = graph.links[link].target
        if router in at and router != int(graph.terminal_router[target]):
            return at[router]
    return None
