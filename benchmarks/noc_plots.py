"""Plots of the flit-level network: link heat map of a mesh, latency over traffic beside BookSim 2.

    python benchmarks/noc_plots.py [DIR]

Writes noc_links.png and noc_latency.png into DIR (default: docs). The heat map shows an 8x8 mesh
whose left column feeds all routers, as memory at the edge does, and gathers their results. The curves are uniform
traffic as BookSim measures it; where its data are present (see noc_validation.py), its points are crosses.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from noc_validation import SIDE, references, router

from accelsim.noc.booksim import BookSim
from accelsim.noc.detailed import DetailedNoc
from accelsim.noc.mesh import grid_graph
from accelsim.noc.model import NocStats
from accelsim.noc.router import RouterSpec
from accelsim.report.drawing import save
from accelsim.report.figure_noc import LatencyLine, latency_figure, link_map_figure

PACKETS = (1, 5, 16)
RATES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


def memory_traffic() -> NocStats:
    """Every router's tile comes from the left end of its row in eight rounds; results go to the top left corner."""
    noc = DetailedNoc(grid_graph(SIDE, SIDE), RouterSpec(flit_bytes=8, virtual_channels=2, buffer_flits=16))
    message, now = 0, 0
    for _ in range(8):
        for target in range(SIDE * SIDE):
            noc.submit(now, message, SIDE * (target // SIDE), target, 256)
            noc.submit(now, message + 1, target, 0, 32)
            message += 2
        for _ in range(2 * SIDE * SIDE):
            done = noc.advance(10**9)
            assert done is not None
            now = done[0]
    return noc.stats()


def line(packet: int) -> LatencyLine:
    """Latency and saturation of uniform traffic in packets of so many flits, 4 channels of 8 flits."""
    graph, spec = grid_graph(SIDE, SIDE), router(packet=packet)
    offered, latency = [], []
    for rate in RATES:
        curve = BookSim(graph, spec, packet, rate).measure()
        if not curve.stable or curve.latency is None:
            break
        offered.append(rate)
        latency.append(curve.latency)
    saturation = BookSim(graph, spec, packet, 1.0).measure(latency=False).accepted
    name = f"{packet} flit{'s' if packet > 1 else ''} a packet"
    return LatencyLine(name, offered, latency, saturation, reference(packet))


def reference(packet: int) -> list[tuple[float, float]]:
    """BookSim's stable points of the same network."""
    path = references() / "noc" / "booksim2_mesh8x8_curves.csv"
    if not path.exists():
        return []
    wanted = {"traffic": "uniform", "num_vcs": "4", "vc_buf_size": "8", "packet_flits": str(packet), "unstable": "0"}
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[k] == v for k, v in wanted.items())]
    return [
        (float(row["offered_flits_node_cycle"]), float(row["pkt_lat_avg"]))
        for row in rows if row["sim_type"] == "latency" and row["pkt_lat_avg"]
    ]


def main() -> None:
    """Draw both."""
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return
    folder = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).resolve().parents[1] / "docs")
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "noc_links": link_map_figure(memory_traffic(), f"{SIDE} x {SIDE} mesh, memory at its left edge"),
        "noc_latency": latency_figure(
            [line(packet) for packet in PACKETS],
            f"{SIDE} x {SIDE} mesh, uniform traffic (dotted: accepted at full load)",
            "BookSim 2",
        ),
    }
    for name, figure in figures.items():
        save(figure, folder / f"{name}.png")
        print(f"wrote {folder / name}.png")


if __name__ == "__main__":
    main()
