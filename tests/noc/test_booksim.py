"""Beside BookSim 2, packet by packet and point by point (where its data are present), and its generators."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from accelsim.noc import flit_state as fs
from accelsim.noc.booksim import LONG_LAG, MADE, SHORT_LAG, BookSim, knuth_state, replay
from accelsim.noc.mesh import grid_graph
from accelsim.noc.router import RouterSpec
from tests.noc.marks import compiled_only
from tests.references import reference

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import noc_validation  # noqa: E402


@compiled_only
def test_every_logged_packet_moves_in_the_same_cycles() -> None:
    """Head and tail, injected and ejected: 9656 packets of six runs, four of them with contention."""
    logs = noc_validation.logs(reference("noc/booksim2_packet_logs.csv"))
    assert [log.name for log in logs if log.exact != log.packets] == []
    assert sum(log.packets for log in logs) == 9656


@compiled_only
@pytest.mark.parametrize("name", ["h_p5_v2_b8_r03", "u_p5_v4_b8_r20"])
def test_the_logged_packets_are_made_by_the_same_random_numbers(name: str) -> None:
    """Created when, where, and for whom: to one of the corners, and to anyone."""
    with reference("noc/booksim2_packet_logs.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["run"] == name]
    first = rows[0]
    flits, rate = int(first["packet_flits"]), float(first["offered_flits_node_cycle"])
    spec = noc_validation.router(int(first["num_vcs"]), int(first["vc_buf_size"]), flits)
    run = BookSim(grid_graph(8, 8), spec, flits, rate, **noc_validation.traffic(first["traffic"]))
    run.steps(2000)
    flows = run.memory[run.first :].reshape(-1, fs.F_SIZE)[: run.par[MADE]]
    sources = (flows[:, fs.F_SOURCE] - run.layout.terminals) // run.layout.t_size
    ours = set(zip(run.made[: len(flows), 0].tolist(), sources.tolist(), flows[:, fs.F_TARGET].tolist(), strict=True))
    assert {(int(row["create"]), int(row["src"]), int(row["dst"])) for row in rows} <= ours


@compiled_only
def test_hot_spots_and_transposition_are_bound_by_their_busiest_link() -> None:
    graph = grid_graph(8, 8)
    spec = noc_validation.router()
    corners = BookSim(graph, spec, 5, 1.0, **noc_validation.traffic("hotspot_corners")).measure(latency=False)
    assert 0.97 * 4 / 64 < corners.accepted <= 4 / 64  # a corner takes a flit a cycle
    below, above = (
        BookSim(graph, spec, 5, rate, **noc_validation.traffic("transpose")).measure().latency for rate in (0.1, 0.16)
    )
    assert below is not None and above is not None and below < 45 and above > 1.3 * below  # seven sources on a link


def test_settings_of_the_references_are_ours() -> None:
    assert noc_validation.settings("") == {}
    assert noc_validation.settings("routing_delay=0;speculative=1") == {"routing_cycles": 0, "speculative": 1}
    assert noc_validation.settings("credit_delay=2") == {"credit_cycles": 2}


@compiled_only
def test_points_of_the_curves_are_equal() -> None:
    """Twelve points from all corners of the table, in all figures that BookSim prints."""
    path = reference("noc/booksim2_mesh8x8_curves.csv")
    points = list(noc_validation.curves(path, every=20))
    assert len(points) == 12
    assert [p.name for p in points if not noc_validation.same(p)] == []
    assert {p.theirs["unstable"] for p in points} == {0.0, 1.0}


@compiled_only
def test_bands_hold_for_other_random_numbers() -> None:
    """What must hold even if traffic differs: 3 % in latency below half of saturation, 3 % in saturation."""
    path = reference("noc/booksim2_mesh8x8_curves.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {"traffic": "uniform", "num_vcs": "4", "vc_buf_size": "8", "packet_flits": "5"}
    rows = [row for row in rows if all(row[k] == v for k, v in wanted.items())]
    spec = RouterSpec(flit_bytes=1, virtual_channels=4, buffer_flits=32)
    for row in rows:
        rate = float(row["offered_flits_node_cycle"])
        if rate not in (0.1, 0.2, 1.0):
            continue
        curve = BookSim(grid_graph(8, 8), spec, 5, rate, seed=7).measure(row["sim_type"] == "latency")
        if row["sim_type"] == "latency":
            assert curve.latency == pytest.approx(float(row["pkt_lat_avg"]), rel=0.03)
        else:
            assert curve.accepted == pytest.approx(float(row["acc_flit_rate"]), rel=0.03)


@compiled_only
def test_zero_load_laws() -> None:
    laws = noc_validation.laws()
    assert len(laws) == 12
    assert [law for law in laws if law.exact != law.cases] == []


@pytest.mark.parametrize(("buffer", "packet", "credit"), [(4, 5, 0), (4, 16, 0), (3, 9, 1), (8, 16, 2), (2, 5, 0)])
def test_tight_buffers_follow_the_recurrence(buffer: int, packet: int, credit: int) -> None:
    """S(k, i) >= S(k, i-1) + 1, arrival, and S(k+1, i - buffer) + 2 + credit; head waits two cycles.

    The rule of the reference notes (memory and network rules, 2.2), solved by plain iteration.
    """
    graph = grid_graph(8, 1)
    spec = RouterSpec(
        flit_bytes=1, virtual_channels=1, buffer_flits=buffer, max_packet_flits=packet, credit_cycles=credit
    )
    targets = np.arange(8)
    times = replay(graph, spec, 1000 * targets, 0 * targets, targets, packet)
    for target in targets:
        # rows 0: the terminal's sends; rows 1..: switch grants in the routers; the last: reads at the end
        routers = int(target) + 1
        s = [[0] * packet for _ in range(routers + 2)]
        for _ in range(packet * (routers + 2)):
            for i in range(packet):
                for k in range(routers + 1):
                    bounds = [s[k][i - 1] + 1 if i else 0]
                    if k:
                        bounds.append(s[k - 1][i] + (2 if k == 1 else 3) + (2 if i == 0 else 0))
                    if i >= buffer:
                        later = s[k + 1][i - buffer]
                        bounds.append(later + 2 + (credit if k else 0))
                    s[k][i] = max(bounds)
                s[routers + 1][i] = s[routers][i] + 3
        expected = [s[0][0], s[0][-1], s[-1][0], s[-1][-1]]
        assert list(times[target] - 1000 * target) == expected


def test_generators_follow_their_recurrences() -> None:
    """And skipping ahead by one's seed is what seeding does: no two seeds give the same state."""
    for bits, adds in ((30, False), (52, True)):
        state = knuth_state(42, bits, adds)
        assert len(state) == LONG_LAG and SHORT_LAG < LONG_LAG
        assert all(0 <= x < 1 << bits for x in state)
        assert any(x % 2 for x in state)
        assert knuth_state(43, bits, adds) != state


def test_the_integer_generator_is_knuths() -> None:
    """The check that the book prescribes: after seeding with 310952, the number 1009 * 2009 + 1 is 995235265."""
    state = knuth_state(310952, 30, False)
    modulus = 1 << 30
    for _ in range(2010):
        block = list(state)
        for _ in range(1009):
            block.append((block[-LONG_LAG] - block[-SHORT_LAG]) % modulus)
        first, state = block[0], block[-LONG_LAG:]
    assert first == 995235265
