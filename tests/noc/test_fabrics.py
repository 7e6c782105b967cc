"""Networks of wires: their laws, and their twin that moves every flit in every cycle."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.noc.build import build_routed
from accelsim.noc.burst import BurstNoc
from accelsim.noc.bus import MulticastBus, MulticastBusSpec
from accelsim.noc.chips import PackageMeshSpec, package_graph
from accelsim.noc.fabric import Fabric, RoutedFabric
from accelsim.noc.hierarchical import HierarchicalMesh, HierarchicalMeshSpec
from accelsim.noc.mesh import grid_graph
from accelsim.noc.model import FOREVER, Message, NocModel
from accelsim.noc.router import RouterSpec
from accelsim.noc.systolic import SystolicLinks, SystolicSpec
from accelsim.noc.tree import HTreeSpec, TreeFabric, TreeSpec, depth_of
from tests.noc.naive_bursts import completions


def fabrics() -> dict[str, Fabric]:
    small = {"flit_bytes": 2, "max_packet_flits": 3}
    router = {**small, "virtual_channels": 2, "buffer_flits": 8}
    package = PackageMeshSpec(
        chip_columns=2,
        chip_rows=1,
        columns=2,
        rows=2,
        package_link_cycles=5,
        package_link_period_cycles=3,
        gate=1,
        **router,
    )
    tree, htree = TreeSpec(leaves=7, fanout=3, level_cycles=2, **small), HTreeSpec(leaves=8, **small)
    return {
        "mesh": RoutedFabric(grid_graph(3, 2), RouterSpec(header_flits=1, **router)),
        "torus": RoutedFabric(grid_graph(3, 3, True), RouterSpec(adder_cycles=2, **router)),
        "package": RoutedFabric(package_graph(package), package),
        "bus": MulticastBus(MulticastBusSpec(rows=2, columns=3, latency_cycles=2, **small), "bus"),
        "systolic": SystolicLinks(SystolicSpec(rows=3, columns=3, **small), "links"),
        "broadcast": TreeFabric(7, 3, [2] * depth_of(7, 3), tree, "tree", up=False),
        "reduction": TreeFabric(7, 3, [2] * depth_of(7, 3), tree, "tree", down=False, adds=True),
        "htree": TreeFabric(8, 2, [4, 2, 1], htree, "htree"),
        "hierarchical": HierarchicalMesh(HierarchicalMeshSpec(columns=3, rows=2, pes=2, lanes=2, **small), "mesh"),
    }


def possible(rng: random.Random, fabric: Fabric, count: int) -> list[Message]:
    """Random messages for which the fabric has a way."""
    found: list[Message] = []
    everyone = range(fabric.terminals)
    for _ in range(4000):
        kind = rng.choice(("unicast", "multicast", "reduction"))
        several = tuple(sorted(rng.sample(everyone, rng.randint(1, min(4, fabric.terminals)))))
        sources = several if kind == "reduction" else (rng.choice(everyone),)
        targets = several if kind == "multicast" else (rng.choice(everyone),)
        message = Message(rng.randrange(12), len(found), sources, targets, rng.randint(1, 30), kind)
        try:
            fabric.stages(message)
        except ConfigError:
            continue
        found.append(message)
        if len(found) == count:
            break
    return found


def run(noc: NocModel, messages: list[Message]) -> list[tuple[int, int]]:
    for m in messages:
        src: Any = m.sources if m.kind == "reduction" else m.sources[0]
        noc.submit(m.now, m.id, src, m.targets, m.n_bytes, m.kind)
    done = []
    while (one := noc.advance(FOREVER)) is not None:
        done.append(one)
    return done


@pytest.mark.parametrize("name", fabrics())
@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 2**30))
def test_equals_every_flit_in_every_cycle(name: str, seed: int) -> None:
    fabric = fabrics()[name]
    rng = random.Random(seed)
    messages = possible(rng, fabric, rng.randint(1, 8))
    assert messages
    assert run(BurstNoc(fabric), messages) == completions(fabric, messages)


def last(noc: NocModel) -> int:
    """Cycle of the last completion."""
    return noc.finish()


def flits(n_bytes: int) -> int:
    return -(-n_bytes // 2)


WHOLE = {"flit_bytes": 2}


@pytest.mark.parametrize("n_bytes", [1, 2, 33])
def test_a_bus_serves_any_set_at_once(n_bytes: int) -> None:
    spec = MulticastBusSpec(rows=3, columns=4, latency_cycles=2, **WHOLE)
    noc = BurstNoc(MulticastBus(spec, "bus"))
    for i, targets in enumerate(([0], [0, 5, 11], range(12))):
        noc.submit(0, i, 12, targets, n_bytes)
    assert last(noc) == 3 * flits(n_bytes) - 1 + 2  # one after the other, however many receive
    rows = 1 + 3 + 3
    assert noc.counts() == {("noc", "y_bus"): 3 * flits(n_bytes), ("noc", "x_bus"): rows * flits(n_bytes)}
    up = BurstNoc(MulticastBus(spec, "bus"))
    up.submit(0, 0, range(12), 12, n_bytes)
    assert last(up) == 12 * flits(n_bytes) - 1 + 2


def test_tags_decide_who_listens() -> None:
    tags = {"row_tags": [0, 0], "column_tags": [[1, 2, 3], [2, 3, 4]]}
    bus = MulticastBus(MulticastBusSpec(rows=2, columns=3, **tags, **WHOLE), "bus")
    assert bus.receivers(0, 2) == [1, 3]
    assert bus.receivers(1, 2) == []
    one, two = BurstNoc(bus), BurstNoc(bus)
    one.submit(0, 0, 6, [1, 3], 20)
    two.submit(0, 0, 6, [1, 2, 3, 4], 20)  # two tags: twice over the Y bus
    assert (last(one), last(two)) == (10, 20)
    with pytest.raises(ConfigError, match="bus: dst must be all PEs of a tag, but 3 shares one with them"):
        one.submit(50, 1, 6, [1], 20)
    assert one.advance(100) == (10, 0)
    assert one.advance(100) is None


def test_systolic_links_pass_on_and_add() -> None:
    spec = SystolicSpec(rows=4, columns=5, hop_cycles=3, **WHOLE)
    feeder = 20 + 1
    for column in range(5):
        noc = BurstNoc(SystolicLinks(spec, "links"))
        noc.submit(0, 0, feeder, [5 + c for c in range(column + 1)], 40)
        assert last(noc) == 19 + 3 * (column + 1)
    sums = BurstNoc(SystolicLinks(spec, "links"))
    sums.submit(0, 0, [0, 5, 10, 15], 15, 40)
    assert last(sums) == 19 + 3 * 3
    assert sums.counts() == {("noc", "wire"): 60, ("noc", "add"): 60}
    # rows and columns do not meet, and a lane takes a flit per cycle
    both = BurstNoc(SystolicLinks(spec, "links"))
    for i, source in enumerate((feeder, feeder, 24)):
        both.submit(0, i, source, 5, 40)
    assert [both.advance(FOREVER) for _ in range(3)] == [(19 + 3, 0), (19 + 6, 2), (39 + 3, 1)]


@pytest.mark.parametrize(("leaves", "fanout", "depth"), [(1, 2, 1), (2, 2, 1), (9, 3, 2), (10, 3, 3), (16, 2, 4)])
def test_a_tree_takes_its_depth_and_the_flits(leaves: int, fanout: int, depth: int) -> None:
    spec = TreeSpec(leaves=leaves, fanout=fanout, level_cycles=2, **WHOLE)
    down = BurstNoc(TreeFabric(leaves, fanout, [2] * depth_of(leaves, fanout), spec, "tree", up=False))
    for i in range(3):
        down.submit(0, i, leaves, range(leaves), 40)
    assert last(down) == 3 * 20 - 1 + 2 * depth
    up = BurstNoc(TreeFabric(leaves, fanout, [2] * depth_of(leaves, fanout), spec, "tree", down=False, adds=True))
    for i in range(3):
        up.submit(0, i, range(leaves), leaves, 40)
    assert last(up) == 3 * 20 - 1 + 2 * depth
    assert up.counts().get(("noc", "add"), 0) == 3 * 20 * (leaves - 1)


def test_an_h_tree_gathers_through_its_root() -> None:
    levels = [4, 3, 2, 1]
    noc = BurstNoc(TreeFabric(16, 2, levels, HTreeSpec(leaves=16, **WHOLE), "htree"))
    for leaf in range(16):
        noc.submit(0, leaf, leaf, 16, 40)
    # both halves feed the root at a time: eight leaves each
    assert last(noc) == 8 * 20 - 1 + sum(levels)
    near = BurstNoc(TreeFabric(16, 2, levels, HTreeSpec(leaves=16, **WHOLE), "htree"))
    near.submit(0, 0, 4, 5, 40)  # siblings: one level up, one down
    assert last(near) == 19 + 2


def test_a_hierarchical_mesh_counts_routers() -> None:
    spec = HierarchicalMeshSpec(columns=4, rows=2, pes=3, lanes=2, hop_cycles=2, **WHOLE)
    bank = 24 + 2 * 5 + 1  # lane 1 of cluster 5, which is (1, 1)
    for cluster in range(8):
        noc = BurstNoc(HierarchicalMesh(spec, "mesh"))
        routers = abs(cluster % 4 - 1) + abs(cluster // 4 - 1) + 1
        noc.submit(0, 0, bank, [3 * cluster, 3 * cluster + 2], 40)
        assert last(noc) == 19 + 2 * routers
        noc.submit(100, 1, 3 * cluster, bank, 40)
        assert last(noc) == 100 + 19 + 2 * routers
    lanes = BurstNoc(HierarchicalMesh(spec, "mesh"))
    lanes.submit(0, 0, bank - 1, range(24), 40)
    lanes.submit(0, 1, bank, range(24), 40)  # the other lane: nothing in its way
    assert last(lanes) == 19 + 2 * (3 + 1)


@pytest.mark.parametrize("options", [{}, {"routing_cycles": 0, "speculative": True}, {"crossbar_cycles": 3}])
def test_bandwidth_and_detailed_agree_when_nothing_is_in_the_way(options: dict[str, Any]) -> None:
    """Single messages: same cycles for all but reductions of several packets, which keep to one virtual channel."""
    spec = RouterSpec(flit_bytes=2, virtual_channels=4, buffer_flits=64, max_packet_flits=6, **options)
    rng = random.Random(3)
    for graph in (grid_graph(4, 3), grid_graph(4, 4, True), grid_graph(6, 1, True)):
        nocs = [build_routed(graph, spec, fidelity, "noc") for fidelity in ("ideal", "bandwidth", "detailed")]
        now = 0
        for i, m in enumerate(possible(rng, RoutedFabric(graph, spec), 20)):
            n_bytes = min(m.n_bytes, 12) if m.kind == "reduction" else m.n_bytes
            ends = []
            for noc in nocs:
                src: Any = m.sources if m.kind == "reduction" else m.sources[0]
                noc.submit(now, i, src, m.targets, n_bytes, m.kind)
                ends.append(noc.finish())
            if m.kind != "reduction":
                assert ends[1] == ends[2]
            assert ends[0] == now and ends[1] <= ends[2]
            now = ends[2] + 50
        counts = [noc.counts() for noc in nocs]
        assert counts[0] == counts[1] == counts[2]


def test_a_narrow_link_between_chips_sets_the_pace() -> None:
    """Flits cross the package at one in four cycles, in both models."""
    spec = PackageMeshSpec(
        chip_columns=2,
        chip_rows=1,
        columns=2,
        rows=2,
        package_link_cycles=20,
        package_link_period_cycles=4,
        virtual_channels=2,
        buffer_flits=64,
        max_packet_flits=100,
        flit_bytes=2,
    )
    graph = package_graph(spec)
    for fidelity in ("bandwidth", "detailed"):
        noc = build_routed(graph, spec, fidelity, "noc")  # type: ignore[arg-type]
        noc.submit(0, 0, 3, 4, 2)
        noc.submit(0, 1, 3, 4, 2 * 100)
        one = noc.advance(FOREVER)
        # through cores 3, 2, 0, the chips' routers, 20 cycles apart, and core 4
        assert one == (2 + 6 * 5 + 19, 0)
        assert last(noc) - one[0] in range(4 * 100 - 8, 4 * 100 + 1)
        assert noc.counts() == {("noc", "router"): 101 * 6, ("noc", "wire"): 101 * 4, ("noc", "package_wire"): 101}


@pytest.mark.parametrize(
    ("name", "src", "dst", "match"),
    [
        ("bus", 0, 1, r"bus: messages must be between the buffer \(6\) and PEs, got a unicast from 0 to 1"),
        ("systolic", 4, 3, "links: messages must be along a row to the east or down a column"),
        ("systolic", [0, 6], 3, "down a column"),
        ("broadcast", 0, 7, "tree: messages must be from the root down, got a unicast from 0 to 7"),
        ("reduction", 7, 0, "must be up to the root"),
        ("reduction", [0, 1], 2, "must be up to the root, got a reduction from 0, 1 to 2"),
        ("htree", 3, 3, "from the root down or up to the root"),
        ("hierarchical", 0, 1, "between PEs and the banks of one lane"),
        ("hierarchical", 12, [13, 0], "between PEs and the banks of one lane"),
    ],
)
def test_messages_without_a_way_are_refused(name: str, src: Any, dst: Any, match: str) -> None:
    noc = BurstNoc(fabrics()[name])
    with pytest.raises(ConfigError, match=match):
        noc.submit(0, 0, src, dst, 8)
    assert noc.advance(10) is None
