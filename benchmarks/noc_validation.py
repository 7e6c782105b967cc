"""The flit-level network beside BookSim 2: zero-load laws, packet logs, latency-throughput curves.

    python benchmarks/noc_validation.py [--every N] [--all]

The references are data of another simulator and not part of the project: the script looks for
`noc/booksim2_packet_logs.csv` and `noc/booksim2_mesh8x8_curves.csv` in the folder that
ACCELSIM_REFERENCES names, or in ../shared/refs beside the checkout, and leaves out what is not there.
All 236 points of the curves take about two minutes of CPU; --every N takes every N-th. With --all
each point is printed, otherwise those with any difference.

`laws()`, `logs(path)` and `curves(path)` give the rows to whoever wants to make a page of them.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from accelsim.noc.booksim import BookSim, Curve, replay
from accelsim.noc.mesh import grid_graph
from accelsim.noc.router import RouterSpec

if TYPE_CHECKING:
    from validation_rows import Row

SIDE = 8


class Law(NamedTuple):
    """Latency of single packets over every distance: the rule, and in how many cases it holds."""

    name: str
    rule: str
    cases: int
    exact: int


class Log(NamedTuple):
    """A run of BookSim, packet by packet: how many were injected and ejected in the same cycles, head and tail."""

    name: str
    packets: int
    exact: int
    worst_cycles: int


class Point(NamedTuple):
    """One point of a curve; figures by the reference's column names, ours and theirs (None: not measured)."""

    name: str
    ours: dict[str, float | None]
    theirs: dict[str, float | None]

    def error(self, column: str) -> float | None:
        """Relative error of ours, None where either has no figure."""
        ours, theirs = self.ours[column], self.theirs[column]
        return None if ours is None or theirs is None else abs(ours - theirs) / max(abs(theirs), 1e-12)


def references() -> Path:
    """Where the reference data would be."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "refs"
    return Path(os.environ.get("ACCELSIM_REFERENCES", beside))


def router(vcs: int = 4, vc_buffer: int = 8, packet: int = 5, **other: int) -> RouterSpec:
    """A router of the references, one flit a byte."""
    return RouterSpec(
        flit_bytes=1,
        virtual_channels=vcs,
        buffer_flits=vcs * vc_buffer,
        max_packet_flits=packet,
        **other,  # type: ignore[arg-type]
    )


def laws() -> list[Law]:
    """Unloaded packets from one corner to every node, one at a time.

    head = 2 + R (routing + vc allocation + switch allocation + crossbar + link), R routers on the way,
    and the tail follows P - 1 later where buffers suffice (8 flits for the default pipeline).
    """
    rows = []
    cases: list[tuple[str, dict[str, int], int]] = [
        ("default pipeline", {}, 5),
        ("lookahead", {"routing_cycles": 0}, 4),
        ("lookahead and speculative", {"routing_cycles": 0, "speculative": True}, 3),
        ("routing 2", {"routing_cycles": 2}, 6),
        ("credit 2", {"credit_cycles": 2}, 5),
        ("vc allocation 2, switch allocation 2, crossbar 2", dict.fromkeys(_STAGES, 2), 8),
    ]
    graph = grid_graph(SIDE, SIDE)
    nodes = np.arange(SIDE * SIDE)
    for (name, other, per_router), packet in ((case, p) for case in cases for p in (1, 5)):
        eject = 2 + np.array([graph.hops(0, k) for k in nodes]) * per_router
        times = replay(graph, router(vc_buffer=16, packet=packet, **other), nodes * 500, 0 * nodes, nodes, packet)
        heads = times[:, 2] - times[:, 0] == eject
        tails = times[:, 3] - times[:, 0] == eject + packet - 1
        rule = f"2 + {per_router} R" + (f" + {packet - 1}" if packet > 1 else "")
        rows.append(Law(f"{name}, {packet} flits", rule, len(nodes), int(np.sum(heads & tails))))
    return rows


_STAGES = ("vc_allocation_cycles", "switch_allocation_cycles", "crossbar_cycles")


def logs(path: Path) -> list[Log]:
    """Every run of the packet log, replayed: same packets, same cycles of creation."""
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    rows = []
    for name in dict.fromkeys(row["run"] for row in table):
        packets = sorted((r for r in table if r["run"] == name), key=lambda r: (int(r["create"]), int(r["pid"])))
        first = packets[0]
        flits = int(first["packet_flits"])
        spec = router(int(first["num_vcs"]), int(first["vc_buf_size"]), flits, **settings(first["other"]))
        created, source, target = (np.array([int(r[c]) for r in packets]) for c in ("create", "src", "dst"))
        times = replay(grid_graph(SIDE, SIDE), spec, created, source, target, flits)
        columns = ("head_inject", "tail_inject", "head_eject", "tail_eject")
        off = np.abs(times - np.array([[int(r[c]) for c in columns] for r in packets])).max(axis=1)
        rows.append(Log(name, len(packets), int(np.sum(off == 0)), int(off.max())))
    return rows


def settings(text: str) -> dict[str, int]:
    """Keys of ours for settings of BookSim, written as key=value."""
    return {ROUTER_KEYS[key]: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}


#: BookSim's name of a setting of its routers -> ours.
ROUTER_KEYS = {
    "routing_delay": "routing_cycles",
    "vc_alloc_delay": "vc_allocation_cycles",
    "sw_alloc_delay": "switch_allocation_cycles",
    "st_final_delay": "crossbar_cycles",
    "credit_delay": "credit_cycles",
    "speculative": "speculative",
}

#: Column of the reference -> attribute of `Curve`.
COLUMNS = {
    "pkt_lat_avg": "latency",
    "pkt_lat_min": "latency_min",
    "pkt_lat_max": "latency_max",
    "net_lat_avg": "network_latency",
    "flit_lat_avg": "flit_latency",
    "inj_flit_rate": "injected",
    "acc_flit_rate": "accepted",
    "acc_min": "accepted_min",
    "acc_max": "accepted_max",
    "hops_avg": "hops",
}


def curves(path: Path, every: int = 1) -> Iterator[Point]:
    """Points of the reference's curves, with its procedure and its random numbers."""
    graph = grid_graph(SIDE, SIDE)
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))[::every]
    for row in table:
        vcs, buffer, packet = int(row["num_vcs"]), int(row["vc_buf_size"]), int(row["packet_flits"])
        rate = float(row["offered_flits_node_cycle"])
        run = BookSim(graph, router(vcs, buffer, packet), packet, rate, **traffic(row["traffic"]))
        curve = run.measure(latency=row["sim_type"] == "latency")
        kind = "saturation" if row["sim_type"] == "throughput" else f"at {rate}"
        yield point(f"{row['traffic']}, {vcs} x {buffer} buffers, {packet} flits, {kind}", curve, row)


def traffic(name: str) -> dict[str, list[int]]:
    """Where packets go, as arguments of `BookSim`."""
    nodes = [(x, y) for y in range(SIDE) for x in range(SIDE)]
    return {
        "uniform": {},
        "neighbor": {"targets": [(x + 1) % SIDE + SIDE * ((y + 1) % SIDE) for x, y in nodes]},
        "transpose": {"targets": [y + SIDE * x for x, y in nodes]},
        "hotspot_corners": {"choices": [0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1]},
    }[name]


def point(name: str, curve: Curve, row: dict[str, str]) -> Point:
    """Ours beside theirs; the reference gives no latencies where its run was not stable."""
    theirs = {column: float(row[column]) if row[column] else None for column in COLUMNS}
    ours = {column: getattr(curve, name) for column, name in COLUMNS.items()}
    ours["unstable"], theirs["unstable"] = float(not curve.stable), float(row["unstable"])
    if row["sim_cycles"]:
        ours["sim_cycles"], theirs["sim_cycles"] = float(curve.cycles), float(row["sim_cycles"])
    return Point(name, ours, theirs)


SIX_DIGITS = 1e-5
"""BookSim prints six significant digits."""


def same(p: Point) -> bool:
    """All figures equal, as far as the reference prints them."""
    return all((p.error(column) or 0.0) <= SIX_DIGITS for column in p.theirs)


def rows(quick: bool = False) -> list[Row]:
    """Rows of the validation page; `quick` takes every tenth point of the curves."""
    from validation_rows import Row

    mesh = f"{SIDE} x {SIDE} mesh"
    found = []
    for law in laws():
        source = "BookSim 2's pipeline, as a rule"
        quantity = f"targets reached after {law.rule} cycles"
        found.append(Row(f"{mesh}, unloaded", law.name, quantity, "", law.exact, law.cases, source, 0.0))
    path = references() / "noc" / "booksim2_packet_logs.csv"
    for log in logs(path) if path.exists() else ():
        quantity = "packets with equal cycles, head and tail, in and out"
        found.append(Row(f"{mesh}, packet logs", log.name, quantity, "", log.exact, log.packets, "BookSim 2", 0.0))
    path = references() / "noc" / "booksim2_mesh8x8_curves.csv"
    for p in curves(path, 10 if quick else 1) if path.exists() else ():
        traffic, _, rest = p.name.partition(", ")
        for column, quantity, unit in (
            ("pkt_lat_avg", "packet latency", "cycles"),
            ("acc_flit_rate", "accepted", "flits/node/cycle"),
        ):
            ours, theirs = p.ours[column], p.theirs[column]
            if ours is not None and theirs is not None:
                found.append(Row(f"{mesh}, {traffic}", rest, quantity, unit, ours, theirs, "BookSim 2", 3.0))
    return found


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every N-th point of the curves")
    parser.add_argument("--all", action="store_true", help="print points without differences too")
    args = parser.parse_args()
    print(f"{'unloaded packets':<58} {'cycles':<14} exact")
    for law in laws():
        print(f"{law.name:<58} {law.rule:<14} {law.exact} of {law.cases}")
    path = references() / "noc" / "booksim2_packet_logs.csv"
    if path.exists():
        print(f"\n{'packet log of BookSim 2':<58} {'exact':<16} worst")
        for log in logs(path):
            print(f"{log.name:<58} {f'{log.exact} of {log.packets}':<16} {log.worst_cycles} cycles")
    path = references() / "noc" / "booksim2_mesh8x8_curves.csv"
    if path.exists():
        print_curves(path, args.every, args.all)


def print_curves(path: Path, every: int, everything: bool) -> None:
    """Points and their errors, and how many agree in every figure."""
    shown = ("pkt_lat_avg", "acc_flit_rate")
    head = f"{'curve of BookSim 2':<52} {'latency ours':>13} {'theirs':>9}"
    print(f"\n{head} {'accepted ours':>14} {'theirs':>9} {'error':>8}")
    count = equal = 0
    worst = dict.fromkeys(shown, 0.0)
    for p in curves(path, every):
        count, equal = count + 1, equal + same(p)
        for column in shown:
            worst[column] = max(worst[column], p.error(column) or 0.0)
        if everything or not same(p):
            latency = [f"{x:.6g}" if x is not None else "-" for x in (p.ours[shown[0]], p.theirs[shown[0]])]
            rate = [f"{x:.6g}" for x in (p.ours[shown[1]] or 0.0, p.theirs[shown[1]] or 0.0)]
            error = max(p.error(column) or 0.0 for column in shown)
            print(f"{p.name:<52} {latency[0]:>13} {latency[1]:>9} {rate[0]:>14} {rate[1]:>9} {error:>8.1e}")
    print(f"{equal} of {count} points equal in all {len(COLUMNS) + 2} figures, to the six digits that BookSim prints")
    print("worst errors: " + ", ".join(f"{column} {error:.1e}" for column, error in worst.items()))


if __name__ == "__main__":
    main()
