"""Messages in bulk: the same completions as one by one, whatever else is under way; bookkeeping of the rows."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError, DeadlockError, SimulationBug
from accelsim.noc import flit_state as fs
from accelsim.noc.custom import CustomSpec, custom_graph
from accelsim.noc.detailed import DetailedNoc
from accelsim.noc.mesh import grid_graph
from accelsim.noc.model import FOREVER, Message, NocModel
from accelsim.noc.router import RouterSpec
from tests.noc.marks import COMPILED
from tests.noc.naive_flits import completions
from tests.noc.test_flits_twin import graphs, ours
from tests.noc.test_interface import CASES, make

Done = list[tuple[int, int]]


def drain(noc: NocModel, limit: int = FOREVER) -> Done:
    done = []
    while (one := noc.advance(limit)) is not None:
        done.append(one)
    return done


def in_bulk(noc: NocModel, limit: int = FOREVER) -> Done:
    cycles, ids = noc.advance_all(limit)
    return list(zip(cycles.tolist(), ids.tolist(), strict=True))


def seen(noc: DetailedNoc) -> tuple[Any, ...]:
    stats = noc.stats()
    moved = stats.messages, stats.bytes_delivered, stats.busy_cycles, stats.flit_hops, stats.link_flits.tolist()
    return moved, noc.counts()


@pytest.mark.parametrize("name", graphs())
@settings(deadline=None, derandomize=True, max_examples=5)
@given(ordered=st.booleans(), header=st.integers(0, 1), seed=st.integers(0, 2**30))
def test_bulk_is_one_by_one(name: str, ordered: bool, header: int, seed: int) -> None:
    """Unicasts in two batches and single ones, multicasts and reductions between them, time in three steps."""
    graph, rng = graphs()[name], random.Random(seed)
    spec = RouterSpec(
        flit_bytes=2, virtual_channels=2, buffer_flits=6, max_packet_flits=3, ordered=ordered, header_flits=header
    )
    ids = rng.sample(range(1000), 90 if COMPILED else 20)
    plain = [(rng.randrange(60), i, rng.randrange(graph.terminals), rng.randrange(graph.terminals)) for i in ids]
    sizes = [rng.randint(1, 9) for _ in plain]
    several = [rng.sample(range(graph.terminals), rng.randint(1, graph.terminals)) for _ in range(6)]
    one, bulk = DetailedNoc(graph, spec), DetailedNoc(graph, spec)
    for (now, i, src, dst), n_bytes in zip(plain, sizes, strict=True):
        one.submit(now, i, src, dst, n_bytes)
    table = np.array([(*p, n) for p, n in zip(plain, sizes, strict=True)])
    third = len(table) // 3
    bulk.submit_many(*table[:third].T)
    for row in table[third : third + 5].tolist():
        bulk.submit(*row)
    for n, members in enumerate(several):
        for noc in (one, bulk):
            noc.submit(7 * n, 2000 - n, members if n % 2 else 0, 0 if n % 2 else members, 5)
    bulk.submit_many(*table[third + 5 :].T)
    expected = drain(one)
    middle = expected[len(expected) // 2][0]
    done = in_bulk(bulk, 10) + in_bulk(bulk, middle) + in_bulk(bulk)
    assert done == expected
    assert seen(bulk) == seen(one)


@pytest.mark.parametrize("topology", CASES)
@pytest.mark.parametrize("fidelity", ["ideal", "bandwidth", "detailed"])
def test_every_topology_takes_batches(topology: str, fidelity: str) -> None:
    src, dst = CASES[topology][1][0]
    one, bulk = make(topology, fidelity), make(topology, fidelity)
    for n in range(8):
        one.submit(3 * n, n, src, dst, 10 + n)
    bulk.submit_many(3 * np.arange(8), np.arange(8), np.array(src), np.array(dst), 10 + np.arange(8))
    half = in_bulk(bulk, 14)
    assert half + in_bulk(bulk) == drain(one)
    assert all(cycle <= 14 for cycle, _ in half)


def test_answers_reuse_rows_and_flows() -> None:
    """A thousand messages, a handful of them at a time: neither the rows nor the memory grow with them."""
    noc = DetailedNoc(grid_graph(3, 3), RouterSpec(flit_bytes=1))
    for n in range(8):
        noc.submit(0, n, n, 8 - n, 1 + n)
    size, count = len(noc.memory), 1000 if COMPILED else 200
    for n in range(8, count):
        done = noc.advance(FOREVER)
        assert done is not None
        noc.submit(done[0] + n % 3, n, n % 9, n * 5 % 9, 1 + n % 7)
    assert len(drain(noc)) == 8
    assert noc.stats().messages == count
    assert len(noc.memory) == size
    assert len(noc._rows.table) <= 128


def test_collected_completions_come_first() -> None:
    noc = DetailedNoc(grid_graph(2, 1), RouterSpec(flit_bytes=1))
    noc.submit_many(np.array([0, 40]), np.array([4, 3]), np.array([0, 0]), np.array([1, 1]), np.array([1, 1]))
    assert noc.finish() == 52
    assert in_bulk(noc, 12) == [(12, 4)]
    assert in_bulk(noc, 60) == [(52, 3)]
    noc.submit_many(60, 3, 1, 0, 1)  # numbers stand for one message
    assert noc.advance(100) == (72, 3)


BAD: list[tuple[list[Any], type[Exception], str]] = [
    ([[0, 0], [1, 2], [0, 6], [1, 1], [1, 1]], ConfigError, "src must be one of 6 terminals from 0 on, got 6"),
    ([[0, 0], [1, 2], [0, 1], [-1, 1], [1, 1]], ConfigError, "dst must be one of 6 terminals from 0 on, got -1"),
    ([[0, 0], [1, 2], [0, 1], [1, 1], [1, 0]], ConfigError, "n_bytes of message 2 must be >= 1, got 0"),
    ([[9, 2], [1, 2], [0, 1], [1, 1], [1, 1]], SimulationBug, "message 2 comes at cycle 2, it is 5 already"),
    ([[9, 9], [2, 2], [0, 1], [1, 1], [1, 1]], SimulationBug, "message 2 is under way already"),
    ([[9, 9], [7, 2], [0, 1], [1, 1], [1, 1]], SimulationBug, "message 7 is under way already"),
]


@pytest.mark.parametrize("fidelity", ["bandwidth", "detailed"])
@pytest.mark.parametrize(("columns", "error", "match"), BAD)
def test_bad_batches_are_refused_as_a_whole(
    fidelity: str, columns: list[Any], error: type[Exception], match: str
) -> None:
    noc = make("mesh", fidelity)
    assert noc.advance(5) is None
    noc.submit(9, 7, 0, 1, 1)
    columns[0] = [max(5, c) if error is ConfigError else c for c in columns[0]]
    with pytest.raises(error, match=match):
        noc.submit_many(*(np.array(c) for c in columns))
    assert [i for _, i in drain(noc)] == [7]


def test_a_batch_with_no_way_is_refused_as_a_whole() -> None:
    noc = make("broadcast_tree")
    with pytest.raises(ConfigError, match="messages must be from the root down, got a unicast from 1 to 6"):
        noc.submit_many(np.zeros(2), np.arange(2), np.array([6, 1]), np.array([1, 6]), np.ones(2))
    assert drain(noc) == []


def test_a_known_id_is_refused_after_a_batch() -> None:
    noc = DetailedNoc(grid_graph(2, 1), RouterSpec(flit_bytes=1))
    noc.submit_many(np.zeros(3), np.arange(3), np.zeros(3), np.ones(3), np.ones(3))
    with pytest.raises(SimulationBug, match="message 1 is under way already"):
        noc.submit(0, 1, 0, 1, 1)
    assert noc.advance(12) == (12, 0)
    noc.submit(12, 0, 0, 1, 1)  # complete, so its id may come again
    assert [i for _, i in drain(noc)] == [1, 2, 0]


def test_a_deadlock_in_bulk_is_told() -> None:
    ring = grid_graph(6, 1, wrap=True)
    graph = replace(ring, route=ring.route % 64)
    noc = DetailedNoc(graph, RouterSpec(flit_bytes=1, virtual_channels=1, buffer_flits=2))
    noc.submit_many(np.zeros(6), np.arange(6), np.arange(6), (np.arange(6) + 2) % 6, np.full(6, 8))
    with pytest.raises(DeadlockError, match="noc: message 0 never arrives; flits: "):
        noc.finish()


@pytest.mark.parametrize("speculative", [False, True])
def test_routers_with_many_ports_equal_the_plain_twin(speculative: bool) -> None:
    """Twelve ports: masks and tables of a router are wider than a mesh needs them."""
    links = [[0, n] for n in range(1, 12)] + [[n, n + 11] for n in range(1, 12)]
    spec = CustomSpec(
        routers=23, links=links, flit_bytes=1, virtual_channels=4, buffer_flits=16, max_packet_flits=4,
        speculative=speculative,
    )
    graph, rng = custom_graph(spec, "noc"), random.Random(3)
    messages = [
        Message(rng.randrange(30), n, (rng.randrange(23),), (rng.randrange(23),), rng.randint(1, 8), "unicast")
        for n in range(60)
    ]
    messages.append(Message(5, 60, (0,), tuple(range(23)), 8, "multicast"))
    assert ours(graph, spec, messages) == completions(graph, spec, messages)
    layout = fs.Layout(graph, spec)
    assert layout.memory[fs.PORTS] == 12
