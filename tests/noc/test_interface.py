"""Every topology at every fidelity behind one interface; what a user may get wrong."""

from __future__ import annotations

from typing import Any

import pytest

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.base.yamlio import dump_yaml, parse_yaml
from accelsim.noc.build import build_noc
from accelsim.noc.model import FOREVER, TOPOLOGIES, NocModel

ROUTER = {"flit_bytes": 4, "virtual_channels": 2, "buffer_flits": 16}
CHIPS = {"chip_columns": 2, "chip_rows": 1, "columns": 2, "rows": 2, "package_link_cycles": 5}
#: topology -> its keys, and a unicast, a multicast and a reduction that it can carry
CASES: dict[str, tuple[dict[str, Any], list[tuple[Any, Any]]]] = {
    "mesh": ({**ROUTER, "columns": 3, "rows": 2}, [(0, 5), (0, [1, 5]), ([0, 1], 5)]),
    "torus": ({**ROUTER, "columns": 3, "rows": 2}, [(0, 5), (0, [1, 5]), ([0, 1], 5)]),
    "ring": ({**ROUTER, "nodes": 5}, [(0, 4), (0, [1, 4]), ([0, 1], 4)]),
    "package_mesh": ({**ROUTER, **CHIPS}, [(0, 7), (0, [1, 7]), ([0, 1], 7)]),
    "extended_mesh": ({**ROUTER, **CHIPS}, [(0, 7), (0, [1, 7]), ([0, 1], 7)]),
    "custom": (
        {**ROUTER, "routers": 5, "links": [[0, 1], [1, 2], [2, 3], [1, 4]]},
        [(0, 3), (3, [0, 4]), ([0, 4], 3)],
    ),
    "multicast_bus": ({"flit_bytes": 4, "rows": 2, "columns": 3}, [(6, 1), (6, [0, 5]), ([1, 2], 6)]),
    "systolic": ({"flit_bytes": 4, "rows": 2, "columns": 3}, [(6, 1), (6, [0, 2]), ([0, 3], 3)]),
    "broadcast_tree": ({"flit_bytes": 4, "leaves": 6}, [(6, 1), (6, [0, 5])]),
    "reduction_tree": ({"flit_bytes": 4, "leaves": 6}, [(1, 6), ([0, 5], 6)]),
    "htree": ({"flit_bytes": 4, "leaves": 8}, [(1, 8), (8, [0, 5]), ([0, 5], 8)]),
    "hierarchical_mesh": (
        {"flit_bytes": 4, "columns": 2, "rows": 2, "pes": 3, "lanes": 1},
        [(12, 1), (13, [0, 5, 11]), ([0, 4], 12)],
    ),
    "switch": ({"flit_bytes": 4, "ports": 4}, [(0, 1), (0, [1, 3]), ([0, 1], 2)]),
}


def make(topology: str, fidelity: str = "detailed", **changes: Any) -> NocModel:
    keys = {"topology": topology, "fidelity": fidelity, **CASES[topology][0], **changes}
    return build_noc(parse_yaml(dump_yaml({"noc": keys}), "chip.yaml"), ("noc",))


def test_every_topology_has_a_case() -> None:
    assert sorted(CASES) == TOPOLOGIES.names()


@pytest.mark.parametrize("topology", CASES)
def test_contract(topology: str) -> None:
    """Deterministic, ordered, counted the same at every fidelity, and never faster when modelled more exactly."""
    ends = []
    for fidelity in ("ideal", "bandwidth", "detailed"):
        runs = []
        for order in (1, -1):
            noc = make(topology, fidelity)
            messages = list(enumerate(CASES[topology][1]))[::order]
            for n, (src, dst) in messages:
                noc.submit(7, n, src, dst, 50)
            done = []
            while (one := noc.advance(FOREVER)) is not None:
                done.append(one)
            assert done == sorted(done)
            assert {n for _, n in done} == {n for n, _ in messages}
            stats = noc.stats()
            assert stats.messages == len(messages)
            assert stats.bytes_delivered == sum(
                50 * (len(dst) if isinstance(dst, list) else 1) for _, (_, dst) in messages
            )
            assert len(stats.links) == len(stats.link_flits) == len(stats.link_period_cycles)
            assert stats.busy_cycles == done[-1][0] - 7
            assert stats.utilisation().min() >= 0
            runs.append((done, noc.counts(), stats.flit_hops, stats.router_flits))
        assert runs[0] == runs[1]
        ends.append(runs[0])
    assert ends[0][1:] == ends[1][1:] == ends[2][1:]
    assert ends[0][0][-1][0] == 7
    assert 7 < ends[1][0][-1][0] <= ends[2][0][-1][0]


@pytest.mark.parametrize("topology", CASES)
def test_one_byte_is_slower_than_none_and_a_megabyte_slower_still(topology: str) -> None:
    src, dst = CASES[topology][1][0]
    ends = []
    for n_bytes in (1, 4, 5, 4000):
        noc = make(topology)
        noc.submit(0, 0, src, dst, n_bytes)
        ends.append(noc.finish())
    assert 1 <= ends[0] == ends[1] < ends[2] < ends[3]
    assert ends[3] >= 1000


@pytest.mark.parametrize("fidelity", ["ideal", "bandwidth", "detailed"])
def test_time_stands_at_the_limit(fidelity: str) -> None:
    noc = make("mesh", fidelity)
    assert noc.advance(10) is None
    with pytest.raises(SimulationBug, match="chip.yaml:1:1: noc: message 1 comes at cycle 9, it is 10 already"):
        noc.submit(9, 1, 0, 1, 1)
    noc.submit(10, 1, 0, 5, 4)
    if fidelity == "ideal":
        assert noc.advance(10) == (10, 1)
        return
    with pytest.raises(SimulationBug, match="message 1 is under way already"):
        noc.submit(10, 1, 0, 1, 1)
    end = 10 + 2 + 5 * 4
    assert noc.advance(end - 1) is None
    assert noc.advance(end) == (end, 1)
    assert noc.advance(10**9) is None
    noc.submit(10**9, 1, 0, 5, 4)
    assert noc.finish() == 10**9 + end - 10
    assert noc.advance(10**9 + 1) is None
    assert noc.advance(2 * 10**9) == (10**9 + end - 10, 1)


@pytest.mark.parametrize(
    ("src", "dst", "n_bytes", "kind", "match"),
    [
        (0, 6, 4, None, "noc: dst must be one of 6 terminals from 0 on, got .6,."),
        (-1, 0, 4, None, "src must be one of 6 terminals from 0 on, got .-1,."),
        (0, [], 4, None, "dst must be one of 6 terminals from 0 on, got none"),
        (0, 1, 0, None, "n_bytes of message 3 must be >= 1, got 0"),
        ([0, 1], [2, 3], 4, None, "src must be one terminal unless the message is a reduction to one dst"),
        ([0, 1], 2, 4, "unicast", "src must be one terminal unless"),
        (0, [1, 2], 4, "unicast", "dst must be one terminal in a unicast, got 2"),
    ],
)
def test_bad_messages(src: Any, dst: Any, n_bytes: int, kind: Any, match: str) -> None:
    for fidelity in ("ideal", "bandwidth", "detailed"):
        noc = make("mesh", fidelity)
        with pytest.raises(ConfigError, match=match):
            noc.submit(0, 3, src, dst, n_bytes, kind)
        assert noc.advance(100) is None
        assert noc.stats().messages == 0


@pytest.mark.parametrize(
    ("topology", "changes", "match"),
    [
        ("mesh", {"columns": 0}, "chip.yaml:7:3: noc.columns: must be >= 1, got 0"),
        ("mesh", {"flit_bytes": 0}, "noc.flit_bytes: must be >= 1, got 0"),
        ("mesh", {"rows": 2.5}, "noc.rows: must be an integer, got 2.5"),
        ("mesh", {"virtual_chanels": 2}, "unknown key; did you mean virtual_channels"),
        ("mesh", {"virtual_channels": 17}, r"must be <= buffer_flits \(16\), so that each has a buffer, got 17"),
        ("mesh", {"virtual_channels": 3}, r"buffer_flits must be a multiple of virtual_channels \(3\), got 16"),
        ("mesh", {"virtual_channels": 16}, "virtual_channels must be <= 12 with 5 ports, got 16"),
        ("mesh", {"header_flits": 8}, r"header_flits must be < max_packet_flits \(8\), got 8"),
        ("mesh", {"header_flits": 3, "buffer_flits": 4}, r"must be > header_flits \(3\) with multicast trees"),
        ("mesh", {"multicast": "magic"}, "noc.multicast: must be one of 'tree' or 'unicast', got 'magic'"),
        ("torus", {"virtual_channels": 1}, "must be even for a torus, whose routing needs two classes, got 1"),
        ("torus", {"columns": 1, "rows": 1}, r"columns \* rows must be >= 2, got 1"),
        ("ring", {"nodes": 1}, "noc.nodes: must be >= 2, got 1"),
        ("package_mesh", {"gate": 4}, r"gate must be < columns \* rows \(4\), got 4"),
        ("package_mesh", {"package_link_cycles": 0}, "noc.package_link_cycles: must be >= 1, got 0"),
        ("custom", {"links": [[0, 1], [2, 3]]}, "noc: links must connect all routers, but 2 cannot be reached from 0"),
        ("custom", {"links": [[0, 5]]}, r"must be pairs of different routers from 0 to 4, got \[0, 5\]"),
        ("custom", {"links": [[0, 1], [1, 0]]}, r"links must be there once, got \[1, 0\] again"),
        (
            "custom",
            {"links": [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]]},
            "routing must be free of deadlock, but channels wait in a circle: routers ",
        ),
        (
            "custom",
            {"routers": 17, "links": [[0, n] for n in range(1, 17)]},
            "must give a router at most 15 neighbours, but 0 has 16",
        ),
        ("htree", {"leaves": 6}, "leaves of an H-tree must be a power of two, got 6"),
        ("htree", {"level_cycles": [1, 0, 1]}, r"level_cycles must have 3 latencies >= 1, got \[1, 0, 1\]"),
        ("multicast_bus", {"row_tags": [0, 1]}, "row_tags and column_tags must be given together"),
        ("multicast_bus", {"row_tags": [0], "column_tags": [[0]]}, "must have one tag for each of 2 rows, got 1"),
        ("multicast_bus", {"row_tags": [0, 1], "column_tags": [[0]]}, "column_tags must have 2 lists of 3 tags"),
        ("switch", {"ports": 1}, "noc.ports: must be >= 2, got 1"),
    ],
)
def test_bad_networks(topology: str, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make(topology, **changes)


def test_a_custom_ring_may_route_along_a_tree() -> None:
    ring = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]]
    noc = make("custom", links=ring, routing="tree")
    noc.submit(0, 0, 2, 3, 4)  # not over the link 2-3, which is not in the tree
    assert noc.finish() == 2 + 5 * 5


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="chip.yaml:2:3: noc.topology: unknown topology 'mehs'; did you mean mesh"):
        build_noc(parse_yaml("noc:\n  topology: mehs", "chip.yaml"), ("noc",))
    with pytest.raises(ConfigError, match="noc.fidelity: must be one of ideal, bandwidth, detailed, got 'exact'"):
        make("mesh", "exact")
    with pytest.raises(ConfigError, match="chip.yaml:1:1: noc: must be a mapping with the key 'topology'"):
        build_noc(parse_yaml("noc: {columns: 3}", "chip.yaml"), ("noc",))
