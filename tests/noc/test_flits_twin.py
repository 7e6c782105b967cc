"""The kernels equal their plain twin, completion by completion, on random networks and messages."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.noc.chips import ChipsSpec, PackageMeshSpec, extended_graph, package_graph
from accelsim.noc.detailed import DetailedNoc
from accelsim.noc.graph import RouterGraph
from accelsim.noc.mesh import grid_graph
from accelsim.noc.model import FOREVER, Message
from accelsim.noc.router import RouterSpec
from tests.noc.naive_flits import completions


def random_messages(rng: random.Random, terminals: int, count: int, span: int, most_bytes: int) -> list[Message]:
    """Unicasts, multicasts and reductions at random times."""
    messages = []
    for n in range(count):
        kind = rng.choice(("unicast", "unicast", "multicast", "reduction"))
        several = tuple(sorted(rng.sample(range(terminals), rng.randint(1, terminals))))
        one = (rng.randrange(terminals),)
        sources = several if kind == "reduction" else one
        targets = several if kind == "multicast" else (rng.randrange(terminals),)
        messages.append(Message(rng.randrange(span), n, sources, targets, rng.randint(1, most_bytes), kind))
    return messages


def ours(graph: RouterGraph, spec: RouterSpec, messages: list[Message]) -> list[tuple[Any, int]]:
    noc = DetailedNoc(graph, spec)
    for m in messages:
        noc.submit(m.now, m.id, m.sources if len(m.sources) > 1 else m.sources[0], m.targets, m.n_bytes, m.kind)
    done: list[tuple[Any, int]] = []
    while (one := noc.advance(FOREVER)) is not None:
        done.append(one)
    return [*done, ("moved", noc.stats().router_flits)]


def graphs() -> dict[str, RouterGraph]:
    chips = {"flit_bytes": 1, "package_link_cycles": 3, "package_link_period_cycles": 2}
    return {
        "mesh": grid_graph(3, 3),
        "line": grid_graph(4, 1, link=lambda a, b: (2, 1)),
        "torus": grid_graph(4, 3, wrap=True),
        "ring": grid_graph(5, 1, wrap=True),
        "package": package_graph(PackageMeshSpec(chip_columns=2, chip_rows=1, columns=2, rows=2, gate=1, **chips)),
        "extended": extended_graph(ChipsSpec(chip_columns=2, chip_rows=1, columns=2, rows=2, **chips)),
    }


routers = st.fixed_dictionaries(
    {
        "routing_cycles": st.integers(0, 2),
        "vc_allocation_cycles": st.integers(1, 2),
        "switch_allocation_cycles": st.integers(1, 2),
        "crossbar_cycles": st.integers(1, 2),
        "credit_cycles": st.integers(0, 2),
        "speculative": st.booleans(),
        "ordered": st.booleans(),
        "multicast": st.sampled_from(("tree", "unicast")),
        "reduction": st.sampled_from(("tree", "unicast")),
        "adder_cycles": st.integers(0, 3),
        "max_packet_flits": st.integers(2, 6),
        "header_flits": st.integers(0, 1),
    }
)


@pytest.mark.parametrize("name", graphs())
@settings(deadline=None, derandomize=True, max_examples=8)
@given(options=routers, vcs=st.integers(1, 2), buffer=st.integers(2, 5), seed=st.integers(0, 2**30))
def test_equals_the_plain_twin(name: str, options: dict[str, Any], vcs: int, buffer: int, seed: int) -> None:
    graph = graphs()[name]
    vcs *= graph.classes
    spec = RouterSpec(flit_bytes=1, virtual_channels=vcs, buffer_flits=vcs * buffer, **options)
    rng = random.Random(seed)
    messages = random_messages(rng, graph.terminals, rng.randint(1, 10), rng.choice((1, 40)), 14)
    assert ours(graph, spec, messages) == completions(graph, spec, messages)


@settings(deadline=None, derandomize=True, max_examples=5)
@given(vcs=st.sampled_from((1, 3, 4)), speculative=st.booleans(), seed=st.integers(0, 2**30))
def test_equals_the_plain_twin_under_load(vcs: int, speculative: bool, seed: int) -> None:
    graph = grid_graph(3, 3)
    spec = RouterSpec(
        flit_bytes=1, virtual_channels=vcs, buffer_flits=4 * vcs, max_packet_flits=4, speculative=speculative
    )
    rng = random.Random(seed)
    messages = [
        Message(rng.randrange(30), n, (rng.randrange(9),), (rng.randrange(9),), rng.randint(1, 8), "unicast")
        for n in range(60)
    ]
    assert ours(graph, spec, messages) == completions(graph, spec, messages)
