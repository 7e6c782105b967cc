"""Throughput and energy per inference against bit width, for all engines that make something of it.

    python benchmarks/bitwidth_plot.py [DIR]

Writes bitwidth.png into DIR (default: docs) and prints the figures. Weights and activations of one network have
1 to 16 bits; half of the activations are zero. All chips have their own shape and buffers, but one node, clock and
DRAM, so that the arithmetic is what differs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from timing import table

from accelsim.report.drawing import TEXT_WIDTH, new_figure, save, style
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import Trace, synthetic_trace

NETWORK = "resnet18"
BITS = range(1, 17)


@dataclass(frozen=True)
class Entry:
    """A curve: architecture file, label, widest operands, colour, marker, widths if not all."""

    arch: str
    label: str
    most: int
    colour: str
    marker: str
    only: tuple[int, ...] = ()


#: Colours: Okabe and Ito's, then Tol's muted ones. One line adds an architecture.
ENTRIES = (
    Entry("dadiannao", "DaDianNao, 16 bit", 16, "#000000", "s"),
    Entry("dadiannao_8", "DaDianNao, 8 bit", 8, "#777777", "D"),
    Entry("stripes", "Stripes", 16, "#E69F00", "o"),
    Entry("dynamic_stripes", "Dynamic Stripes", 16, "#56B4E9", "v"),
    Entry("pragmatic", "Bit-Pragmatic", 16, "#009E73", "^"),
    Entry("loom", "Loom", 16, "#D55E00", "<"),
    Entry("laconic", "Laconic", 16, "#CC79A7", ">"),
    Entry("bit_fusion", "Bit Fusion", 16, "#0072B2", "P"),
    Entry("unpu", "UNPU", 16, "#882255", "h"),
    Entry("dnpu", "DNPU", 4, "#332288", "p"),
    Entry("minerva", "Minerva", 8, "#999933", "d"),
    Entry("tnn_fpga", "TNN", 2, "#117733", "*"),
    Entry("ucnn", "UCNN", 16, "#DDCC77", "1"),
    Entry("olaccel", "OLAccel", 8, "#6699CC", "2", (4, 8)),  # its normal values, and with outliers
    Entry("q_table_rnn", "Q-table RNN", 4, "#661100", "3"),
    Entry("yodann", "YodaNN", 1, "#AA4499", "X"),
    Entry("xne", "XNE", 1, "#44AA99", "x"),
    Entry("xnorbin", "XNORBIN", 1, "#CC6677", "+"),
    Entry("brein_memory", "BRein Memory", 1, "#88CCEE", "H"),
    Entry("binmac", "BiNMAC", 1, "#AA4466", "8"),
)

#: One node, clock and DRAM for all.
COMMON = (
    "technology.node_nm=45",
    "clock_hz=500e6",
    "dram.standard=lpddr4",
    "dram.bandwidth_bytes_per_s=25600e6",
    "dram.latency_ns=100",
    "dram.burst_bytes=64",
)


def traces() -> dict[int, Trace]:
    """The network at each width."""
    network = load_network(NETWORK)
    return {
        bits: synthetic_trace(network, weight_bits=bits, activation_bits=bits, activation_density=0.5) for bits in BITS
    }


def curve(entry: Entry, by_bits: dict[int, Trace]) -> list[tuple[int, float, float]]:
    """(bits, inferences per second, mJ per inference) at each width that the design has."""
    arch = load_arch(entry.arch, COMMON)
    found = []
    for bits, trace in by_bits.items():
        if bits in (entry.only or range(1, entry.most + 1)):
            result = simulate(arch, trace)
            found.append((bits, result.batch / result.seconds, result.energy_pj / result.batch * 1e-9))
    return found


def draw(curves: dict[Entry, list[tuple[int, float, float]]], path: Path) -> None:
    """Two panels over the same axis of bits."""
    with style():
        figure, (left, right) = new_figure(TEXT_WIDTH, 3.3, ncols=2)
        for entry, points in curves.items():
            bits, rate, energy = zip(*points, strict=True)
            look = {"color": entry.colour, "marker": entry.marker, "markersize": 3.2, "label": entry.label}
            left.plot(bits, rate, **look)
            right.plot(bits, energy, **look)
        left.set_title(f"{NETWORK}, batch 1, all chips at 45 nm, 500 MHz and one DRAM", loc="left")
        left.set_ylabel("throughput (inferences/s)")
        right.set_ylabel("energy per inference (mJ)")
        for axes in (left, right):
            axes.set_xlabel("bits of weights and activations")
            axes.set_xticks(list(BITS))
            axes.set_yscale("log")
            axes.grid(True, axis="y", which="both")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        save(figure, path)


def main() -> None:
    """Draw and print."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "docs"
    by_bits = traces()
    curves = {entry: curve(entry, by_bits) for entry in ENTRIES}
    draw(curves, folder / "bitwidth.png")
    for number, what in ((1, "inferences/s"), (2, "mJ")):
        rows = []
        for entry, points in curves.items():
            known = {point[0]: point[number] for point in points}
            rows.append([entry.label, *(f"{known[b]:.4g}" if b in known else "" for b in BITS)])
        print(f"{NETWORK}, {what}\n{table(['bits', *map(str, BITS)], rows)}\n")


if __name__ == "__main__":
    main()
