"""Laws of the flit-level model: nothing lost, nothing stuck, order kept, order of calls without effect."""

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
from accelsim.noc.booksim import BookSim
from accelsim.noc.chips import ChipsSpec, PackageMeshSpec, extended_graph, package_graph
from accelsim.noc.detailed import DetailedNoc
from accelsim.noc.flit_kernel import no_rows, run_flits
from accelsim.noc.graph import (
    HIGH,
    LOW,
    RouterGraph,
    channel_dependencies,
    check_connected,
    check_deadlock_free,
    find_cycle,
)
from accelsim.noc.mesh import grid_graph
from accelsim.noc.model import FOREVER
from accelsim.noc.router import RouterSpec
from tests.noc.marks import COMPILED, compiled_only

CHIPS = {"flit_bytes": 1, "package_link_cycles": 4, "package_link_period_cycles": 2}


def graphs() -> dict[str, RouterGraph]:
    package = PackageMeshSpec(chip_columns=2, chip_rows=2, columns=2, rows=2, gate=2, **CHIPS)
    return {
        "mesh": grid_graph(4, 4),
        "torus": grid_graph(5, 4, wrap=True),
        "torus of two": grid_graph(2, 2, wrap=True),
        "ring": grid_graph(7, 1, wrap=True),
        "package": package_graph(package),
        "extended": extended_graph(ChipsSpec(chip_columns=2, chip_rows=1, columns=2, rows=3, **CHIPS)),
    }


def tight(graph: RouterGraph, **options: Any) -> RouterSpec:
    """As few virtual channels and buffers as there can be."""
    return RouterSpec(
        **{
            "flit_bytes": 1,
            "virtual_channels": graph.classes,
            "buffer_flits": 2 * graph.classes,
            "max_packet_flits": 6,
            **options,
        }
    )


def collect(noc: DetailedNoc) -> list[tuple[int, int]]:
    end = noc.finish()
    done = []
    while (one := noc.advance(end)) is not None:
        done.append(one)
    return done


@pytest.mark.parametrize("name", graphs())
def test_random_traffic_drains(name: str) -> None:
    """Everybody sends more than fits, to everybody, with one virtual channel per class and two flits of buffer."""
    graph = graphs()[name]
    rng = random.Random(name)
    noc = DetailedNoc(graph, tight(graph))
    terminals = range(graph.terminals)
    count = 1500 if COMPILED else 100
    for n in range(count):
        kind = rng.choice(("unicast", "unicast", "unicast", "multicast", "reduction"))
        several = rng.sample(terminals, rng.randint(2, min(6, graph.terminals)))
        src: Any = several if kind == "reduction" else rng.choice(terminals)
        dst: Any = several if kind == "multicast" else rng.choice(terminals)
        noc.submit(rng.randrange(200), n, src, dst, rng.randint(1, 20))
    assert len(collect(noc)) == count
    assert noc.flits_inside() == 0
    # when the last credits have come home, everything is as in the beginning
    m, layout = noc.memory, noc.layout
    run_flits(m, no_rows(), m[fs.NOW] + 50)
    assert (m[fs.EVENTS], m[fs.ACTIVE], m[fs.SOURCES]) == (0, 0, 0)
    for r in range(graph.routers):
        for o in range(graph.ports):
            out = layout.output(r, o)
            channels = out + fs.O_VC + fs.C_SIZE * np.arange(m[fs.VCS])
            assert set(m[channels + fs.C_CREDIT]) == {noc.spec.vc_buffer_flits}
            assert set(m[channels + fs.C_HOLDER]) == {0}
            assert m[out + fs.O_FREE] == m[fs.ALL_VCS]
    for k in terminals:
        credits = layout.terminal(k) + fs.T_OUTPUT + fs.C_SIZE * np.arange(m[fs.VCS])
        assert set(m[credits + fs.C_CREDIT]) == {noc.spec.vc_buffer_flits}


@pytest.mark.parametrize("name", graphs())
def test_no_flit_is_lost_or_doubled_or_overtaken_in_its_packet(name: str) -> None:
    graph = graphs()[name]
    rng = random.Random(name)
    noc = DetailedNoc(graph, tight(graph, virtual_channels=2, buffer_flits=8), log_rows=200_000)
    terminals = range(graph.terminals)
    wanted: dict[int, tuple[int, int]] = {}
    for n in range(120):
        several = rng.choice((True, False))
        dst: Any = rng.sample(terminals, rng.randint(1, 4)) if several else rng.choice(terminals)
        n_bytes = rng.randint(1, 20)
        noc.submit(rng.randrange(100), n, rng.choice(terminals), dst, n_bytes)
        wanted[n] = n_bytes, len(dst) if isinstance(dst, list) else 1
    assert len(collect(noc)) == len(wanted)
    log = noc.log()
    assert len(log) < 200_000
    for flow, (message, _) in noc.logged_flows.items():
        rows = log[log[:, 3] == flow]
        sent, read = rows[rows[:, 2] == 0], rows[rows[:, 2] == 1]
        n_bytes, receivers = wanted[message]
        assert len(sent) == n_bytes
        assert len(read) == n_bytes * receivers
        for terminal in set(read[:, 1].tolist()):
            mine = read[read[:, 1] == terminal]
            assert len(mine) == n_bytes
            assert len(set(mine[:, 0].tolist())) == n_bytes  # one flit a cycle
            assert (mine[:, 4].sum(), mine[:, 5].sum()) == (sent[:, 4].sum(), sent[:, 5].sum())
    # within a virtual channel of a terminal packets do not mix: heads and tails alternate
    ejected = log[log[:, 2] == 1]
    for terminal, vc in {(int(r[1]), int(r[6])) for r in ejected}:
        lane = ejected[(ejected[:, 1] == terminal) & (ejected[:, 6] == vc)]
        lane = lane[np.argsort(lane[:, 0])]
        inside = None
        for row in lane:
            assert (inside is None) == bool(row[4])
            assert inside in (None, row[3])
            inside = None if row[5] else row[3]
        assert inside is None


@pytest.mark.parametrize("name", graphs())
def test_order_is_kept_on_a_virtual_channel(name: str) -> None:
    """Messages of one pair on one virtual channel arrive as they were sent, and so do their packets."""
    graph = graphs()[name]
    rng = random.Random(name)
    noc = DetailedNoc(graph, tight(graph, ordered=True, virtual_channels=4, buffer_flits=8), log_rows=50_000)
    lanes = 4 // graph.classes
    pair = {n: (rng.randrange(graph.terminals), rng.randrange(graph.terminals)) for n in range(300)}
    for n, (src, dst) in pair.items():
        noc.submit(n // 10, n, src, dst, rng.randint(1, 20))
    collect(noc)
    log = noc.log()
    log = log[np.argsort(log[:, 0], kind="stable")]
    streams: dict[tuple[int, int, int], list[list[int]]] = {}
    for cycle, terminal, ejected, flow, *_, vc in log.tolist():
        message = noc.logged_flows[flow][0]
        lane = (*pair[message], message % lanes)
        sides = streams.setdefault(lane, [[], []])
        sides[ejected].append(message)
        assert vc == message % lanes
    assert all(sent == read for sent, read in streams.values())


def test_bytes_and_hops_are_conserved() -> None:
    graph = grid_graph(4, 3)
    rng = random.Random(5)
    noc = DetailedNoc(graph, RouterSpec(flit_bytes=4, header_flits=1, max_packet_flits=5))
    hops = routers = total = 0
    for n in range(200):
        src, dst, n_bytes = rng.randrange(12), rng.randrange(12), rng.randint(1, 100)
        packets, size, last = noc.spec.packets(n_bytes)
        assert (packets * (size - 1) - (size - last)) * 4 - n_bytes in range(4)
        flits = (packets - 1) * size + last
        noc.submit(rng.randrange(50), n, src, dst, n_bytes)
        hops += flits * (graph.hops(src, dst) - 1)
        routers += flits * graph.hops(src, dst)
        total += n_bytes
    done = collect(noc)
    stats = noc.stats()
    assert (stats.messages, stats.bytes_delivered) == (200, total)
    assert (stats.flit_hops, stats.router_flits) == (hops, routers)
    assert noc.counts() == {("noc", "wire"): hops, ("noc", "router"): routers}
    assert stats.link_flits.sum() == routers
    assert stats.busy_cycles <= done[-1][0]
    assert stats.utilisation().max() <= 1
    matrix = stats.utilisation_matrix()
    assert matrix.shape == (12, 12)
    assert matrix.sum() == pytest.approx(hops / stats.cycles)
    assert np.all(matrix[0, 2:4] == 0)  # no link between these


def test_order_of_calls_in_a_cycle_has_no_effect() -> None:
    graph = grid_graph(3, 3)
    rng = random.Random(9)
    orders = [(rng.randrange(5), n, rng.randrange(9), rng.randrange(9), rng.randint(1, 30)) for n in range(80)]
    results = []
    for turn in range(3):
        noc = DetailedNoc(graph, RouterSpec(flit_bytes=2))
        done = []
        for now in range(5):
            mine = [o for o in orders if o[0] == now]
            rng.shuffle(mine)
            for order in mine if turn else reversed(mine):
                noc.submit(*order)
            while (one := noc.advance(now + 1)) is not None:
                done.append(one)
        results.append(done + collect(noc))
    assert results[0] == results[1] == results[2]
    assert results[0] == sorted(results[0])  # ties by id


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.integers(0, 2**30), st.integers(1, 30))
def test_limits_have_no_effect(seed: int, step: int) -> None:
    rng = random.Random(seed)
    orders = sorted((rng.randrange(60), n, rng.randrange(6), rng.randrange(6), rng.randint(1, 9)) for n in range(20))
    whole = DetailedNoc(grid_graph(3, 2), RouterSpec(flit_bytes=1, virtual_channels=2, buffer_flits=6))
    pieces = DetailedNoc(grid_graph(3, 2), RouterSpec(flit_bytes=1, virtual_channels=2, buffer_flits=6))
    for order in orders:
        whole.submit(*order)
    expected = collect(whole)
    seen, limit = [], 0
    while len(seen) < len(orders):
        for order in [o for o in orders if limit <= o[0] < limit + step]:
            pieces.submit(*order)
        limit += step
        while (one := pieces.advance(limit)) is not None:
            assert limit - step < one[0] <= limit
            seen.append(one)
    assert seen == expected


def test_an_answer_can_leave_in_the_cycle_of_the_question() -> None:
    """Completions are reported before anything of their cycle is decided."""
    noc = DetailedNoc(grid_graph(4, 4), RouterSpec(flit_bytes=1))
    one_way = 2 + 5 * 7
    noc.submit(0, 0, 0, 15, 1)
    for n in range(6):
        assert noc.advance(FOREVER if n % 2 else one_way * (n + 1)) == (one_way * (n + 1), n)
        noc.submit(one_way * (n + 1), n + 1, *((15, 0) if n % 2 == 0 else (0, 15)), 1)
    assert noc.stats().busy_cycles == 6 * one_way


def test_idle_cycles_cost_nothing() -> None:
    """Messages a million billion cycles apart: stepping through these would take years."""
    noc = DetailedNoc(grid_graph(8, 8), RouterSpec(flit_bytes=1))
    for n in range(50):
        noc.submit(n * 10**15, n, 0, 63, 1)
    assert collect(noc) == [(n * 10**15 + 2 + 5 * 15, n) for n in range(50)]
    assert noc.advance(10**17) is None


def test_a_slow_link_is_not_a_deadlock() -> None:
    """A link that rests for 100 cycles between flits, while nothing else happens anywhere."""
    noc = DetailedNoc(grid_graph(2, 1, link=lambda a, b: (1, 100)), RouterSpec(flit_bytes=1))
    noc.submit(0, 0, 0, 1, 4)
    # the head waits 2 cycles more than the flits behind it in the second router, but these come late
    assert noc.finish() == 2 + 5 + 3 * 100 + 3


@compiled_only
def test_transpose_saturates_by_its_busiest_link() -> None:
    """Seven sources of a row share the link into the diagonal: 1/7 flit per node and cycle."""
    turned = [y + 8 * x for y in range(8) for x in range(8)]
    spec = RouterSpec(flit_bytes=1, virtual_channels=4, buffer_flits=32)
    below, above = (BookSim(grid_graph(8, 8), spec, 5, rate, turned).measure() for rate in (0.12, 0.17))
    assert below.stable and below.latency is not None and below.latency < 60
    assert above.latency is None or above.latency > 2 * below.latency


def test_a_multicast_takes_the_farthest_way_once() -> None:
    graph = grid_graph(8, 8)
    spec = RouterSpec(flit_bytes=1, virtual_channels=4, buffer_flits=32)
    tree, copies = DetailedNoc(graph, spec), DetailedNoc(graph, spec.model_copy(update={"multicast": "unicast"}))
    for noc in (tree, copies):
        noc.submit(0, 0, 27, range(64), 8)
    assert tree.finish() == 2 + 5 * max(graph.hops(27, t) for t in range(64)) + 7
    assert tree.stats().flit_hops == 8 * 63  # a spanning tree
    assert copies.stats().flit_hops == 0
    assert copies.finish() >= 64 * 8  # through one injection port
    assert copies.stats().flit_hops == 8 * sum(graph.hops(27, t) - 1 for t in range(64))


def test_blocked_branches_do_not_block_the_others() -> None:
    """Two multicasts that cross each other's branches with buffers of one packet each: no deadlock."""
    graph = grid_graph(6, 1)
    spec = RouterSpec(flit_bytes=1, virtual_channels=1, buffer_flits=4, max_packet_flits=16)
    noc = DetailedNoc(graph, spec)
    for n in range(200):
        noc.submit(0, n, n % 6, range(6), 12)
    assert len(collect(noc)) == 200


def test_a_reduction_moves_each_partial_sum_once() -> None:
    graph = grid_graph(4, 4)
    spec = RouterSpec(flit_bytes=1, adder_cycles=3)
    tree, copies = DetailedNoc(graph, spec), DetailedNoc(graph, spec.model_copy(update={"reduction": "unicast"}))
    for noc in (tree, copies):
        noc.submit(0, 0, range(16), 0, 8)
        noc.finish()
    # every source sends to its neighbour: 15 links of 8 flits, and 12 + 2 of the additions on the way
    assert tree.stats().flit_hops == 15 * 8
    assert tree.counts()["noc", "add"] == (15 - 2) * 8
    assert copies.stats().flit_hops == 8 * sum(graph.hops(s, 0) - 1 for s in range(16))
    assert ("noc", "add") not in copies.counts()
    chain = DetailedNoc(grid_graph(4, 1), spec)
    chain.submit(0, 0, range(4), 0, 1)
    hop = 2 + 5 * 2
    assert chain.finish() == 3 * hop + 2 * 3


@pytest.mark.parametrize("name", graphs())
def test_channels_never_wait_in_a_circle(name: str) -> None:
    graph = graphs()[name]
    assert find_cycle(channel_dependencies(graph)) == []
    check_deadlock_free(graph)
    check_connected(graph)


def without_classes(graph: RouterGraph) -> RouterGraph:
    return replace(graph, route=graph.route % 64)


def test_a_ring_without_classes_is_refused_because_it_does_deadlock() -> None:
    graph = without_classes(grid_graph(6, 1, wrap=True))
    with pytest.raises(ConfigError, match="net: routing must be free of deadlock, but channels wait in a circle"):
        check_deadlock_free(graph, "net")
    circle = find_cycle(channel_dependencies(graph))
    assert len(circle) == 6
    noc = DetailedNoc(graph, RouterSpec(flit_bytes=1, virtual_channels=1, buffer_flits=2))
    for n in range(6):
        noc.submit(0, n, n, (n + 2) % 6, 8)
    with pytest.raises(DeadlockError, match="noc: message 0 never arrives; flits: "):
        noc.finish()
    # the same with classes drains
    fine = DetailedNoc(grid_graph(6, 1, wrap=True), RouterSpec(flit_bytes=1, virtual_channels=2, buffer_flits=4))
    for n in range(6):
        fine.submit(0, n, n, (n + 2) % 6, 8)
    assert len(collect(fine)) == 6


def test_mixed_classes_on_a_link_are_both_halves() -> None:
    """A link that some use as LOW and some as any class counts as both."""
    graph = grid_graph(3, 1)
    route = graph.route.copy()
    route[0, 1] += 64 * LOW
    edges = channel_dependencies(replace(graph, route=route))
    first = graph.link_at[0, 0]
    assert {klass for link, klass in edges if link == first} == {LOW, HIGH}


def test_an_unconnected_graph_is_refused() -> None:
    graph = grid_graph(3, 1)
    with pytest.raises(ConfigError, match="chip: links must connect all terminals, but 1 cannot be reached from 0"):
        check_connected(replace(graph, links=()), "chip")
    one_way = tuple(link for link in graph.links if link.source < link.target)
    with pytest.raises(ConfigError, match="links must connect all terminals, but 1 cannot reach 0"):
        check_connected(replace(graph, links=one_way))


def test_a_wrong_table_is_a_bug() -> None:
    graph = grid_graph(3, 1)
    route = graph.route.copy()
    route[1, 2] = 1  # back
    with pytest.raises(SimulationBug, match="the routing table does not lead from 0 to 2"):
        replace(graph, route=route).path(0, 2)
    with pytest.raises(SimulationBug, match="two links share a port"):
        replace(graph, links=(*graph.links, graph.links[0]))
