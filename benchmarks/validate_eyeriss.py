"""Eyeriss (JSSC 2017) on AlexNet and VGG-16, layer by layer, beside its published tables.

    python benchmarks/validate_eyeriss.py

AlexNet runs with the published mapping (arch_configs/eyeriss_alexnet.yaml), every layer as a network of its own so
that its input and its output have the published densities. VGG-16's mapping is not published: the one used
(arch_configs/eyeriss_vgg16.yaml) is inferred from its active PEs and accesses, so these do not count as checks;
latencies and power do. Rows named "searched" use eyeriss' own search.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Any

from validation_rows import Row, main, references

from accelsim.system.archspec import load_arch
from accelsim.system.result import LayerResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Input
from accelsim.workload.trace import synthetic_trace

CLOCK_HZ = 200e6
ALEXNET = "Chen et al., JSSC 52(1), 2017, Table V"
VGG = "Chen et al., JSSC 52(1), 2017, Table VI"

#: Input and output densities: zeros in ifmaps of Table V; outputs as Sparseloop's setup of the same experiment has them
DENSITIES = {
    "conv1": (0.9999, 0.378), "conv2": (0.613, 0.169), "conv3": (0.275, 0.303), "conv4": (0.207, 0.304),
    "conv5": (0.224, 0.100),
}  # fmt: skip

#: Table VI, as scanned by the fodlam project (cucapra): power mW, total and processing latency ms, zeros in ifmap %,
#: global buffer MB, DRAM MB. Digits that the scan misread are restored; two cells of the
#: table that contradict its totals are corrected by them: CONV2-2 (810.8 ms) and CONV4-2 (28.6 MB).
VGG16 = {
    "conv1_1": (247, 76.2, 38.0, 1.6, 112.6, 15.4), "conv1_2": (218, 910.3, 810.6, 47.7, 2402.8, 54.0),
    "conv2_1": (242, 470.3, 405.3, 24.8, 1201.4, 33.4), "conv2_2": (231, 894.3, 810.8, 38.7, 2402.8, 48.5),
    "conv3_1": (254, 241.1, 204.0, 39.7, 607.4, 20.2), "conv3_2": (235, 460.9, 408.1, 58.1, 1214.8, 32.2),
    "conv3_3": (233, 457.7, 408.1, 58.7, 1214.8, 30.8), "conv4_1": (278, 135.8, 105.1, 64.3, 321.8, 17.8),
    "conv4_2": (261, 254.8, 210.0, 74.7, 643.7, 28.6), "conv4_3": (240, 246.3, 210.0, 85.4, 643.7, 22.8),
    "conv5_1": (258, 54.3, 48.3, 79.4, 90.0, 6.3), "conv5_2": (236, 53.7, 48.5, 87.4, 90.0, 5.7),
    "conv5_3": (230, 53.7, 48.5, 88.5, 90.0, 5.6),
}  # fmt: skip

#: ISCA 2016, Fig. 10: energy of ALU, RF and DRAM in 10^9 MACs; 256 PEs, batch 16, costs 1, 1 and 200 (as read from the
#: figure by the authors of nn_dataflow); 1 in RF stands for each of four accesses of a MAC
FIG10 = {
    "conv1": (1.69, 6.75, 2.46), "conv2": (3.58, 14.33, 2.27), "conv3": (2.39, 9.57, 2.02), "conv4": (1.79, 7.18, 1.57),
    "conv5": (1.20, 4.78, 1.05), "fc6": (0.60, 2.42, 7.78), "fc7": (0.27, 1.07, 3.39), "fc8": (0.07, 0.26, 0.84),
}  # fmt: skip

#: The array of that figure; nothing is compressed. assumed: 128 KiB and 16 KiB of buffers, chosen by traffic
FIG10_ARCH = (
    "engine.rows=16", "engine.cols=16", "buffers.global_buffer.capacity_bytes=131072",
    "buffers.filter_buffer.capacity_bytes=16384", "engine.rlc=false", "engine.zero_gating=false",
    "mapping.objective=traffic",
)  # fmt: skip

POWER = "control, clocks and idle wires are not priced"


@dataclass(frozen=True)
class Figures:
    """What Eyeriss' tables say of a layer, from a run."""

    processing_ms: float
    total_ms: float
    active_pes: int
    buffer_mb: float
    dram_mb: float
    power_mw: float
    energy_pj: dict[str, float]
    split_ms: tuple[float, ...]

    @classmethod
    def of(cls, layer: LayerResult) -> Figures:
        """Chip power without DRAM; `split_ms` is products, waits inside a pass, load and drain, waits for DRAM."""
        info, seconds = layer.info, layer.cycles / CLOCK_HZ
        chip = sum(pj for name, pj in layer.energy_pj.items() if not name.startswith("dram"))
        moved = info["array_ifmap_bytes"] + info["array_psum_bytes"]
        total = sum(layer.dram_bytes.values())
        return cls(
            info["processing_cycles"] / CLOCK_HZ * 1e3, seconds * 1e3, info["active_pes"], moved / 1e6, total / 1e6,
            chip * 1e-9 / seconds, dict(layer.energy_pj), _split(layer),
        )  # fmt: skip


def _split(layer: LayerResult) -> tuple[float, ...]:
    causes, info = layer.cycles_by_cause, layer.info
    waits = causes["buffer_ports"] + info["first_window_cycles"]
    outside = sum(causes[cause] for cause in ("filter", "ifmap", "psum", "ofmap"))
    parts = (causes["compute"], waits, causes["fill_drain"] - info["first_window_cycles"], outside)
    return tuple(part / CLOCK_HZ * 1e3 for part in parts)


def alexnet_layer(name: str, arch: str = "eyeriss_alexnet", overrides: tuple[str, ...] = ()) -> Figures:
    """One convolution of AlexNet, batch 4, in a network of its own."""
    layer = load_network("alexnet", batch=4)[name]
    network = Network(
        f"alexnet_{name}",
        [
            Node("image", Input(layer.in_shapes[0])),
            Node(name, layer.op, ("image",)),
            Node("relu", Activation("relu"), (name,)),
        ],
    )
    density, out = DENSITIES[name]
    trace = synthetic_trace(
        network, weight_bits=16, activation_bits=16, activation_density=out, input_density=density
    )
    return Figures.of(simulate(load_arch(arch, overrides), trace).layers[0])


def convolutions(network: Network) -> Network:
    """The network up to its last convolution, with what is applied to that one's results."""
    last = max(i for i, layer in enumerate(network) if layer.kind == "conv")
    return Network(network.name, network.nodes[: last + 2], network.source)


def vgg16(arch: str = "eyeriss_vgg16", overrides: tuple[str, ...] = ()) -> dict[str, Figures]:
    """The convolutions of VGG-16, batch 3."""
    network = convolutions(load_network("vgg16", batch=3))
    layers = {name: {"activation_density": 1 - row[3] / 100} for name, row in VGG16.items()}
    trace = synthetic_trace(network, weight_bits=16, activation_bits=16, per_layer=layers)
    result = simulate(load_arch(arch, overrides), trace)
    return {layer.name: Figures.of(layer) for layer in result.layers if layer.name in VGG16}


def published() -> dict[str, dict[str, float]]:
    """Layer -> metric -> value of Table V."""
    found: dict[str, dict[str, float]] = {}
    with (references() / "published" / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["accelerator"] == "Eyeriss v1" and row["workload"] == "AlexNet" and row["layer"].startswith("CONV"):
                found.setdefault(row["layer"].lower(), {})[row["metric"]] = float(row["value"])
    return found


def _row(workload: str, quantity: str, unit: str, ours: float, theirs: float, source: str, **more: Any) -> Row:
    return Row("eyeriss", workload, quantity, unit, ours, theirs, source, **more)


def alexnet_rows() -> list[Row]:
    """Table V."""
    found, theirs = [], published()
    sums = dict.fromkeys(("processing", "total"), 0.0)
    for name in DENSITIES:
        ours, paper, workload = alexnet_layer(name), theirs[name], f"alexnet {name}"
        plain = alexnet_layer(name, overrides=("engine.rlc=false",))
        sums["processing"] += ours.processing_ms
        sums["total"] += ours.total_ms
        fmaps = "DRAM compression, all operands"
        found += [
            _row(workload, "processing latency", "ms", ours.processing_ms, paper["processing_latency"], ALEXNET,
                 aim_pct=8.0),
            _row(workload, "active PEs", "", ours.active_pes, paper["active_PEs"], ALEXNET, aim_pct=0.0),
            _row(workload, "total latency", "ms", ours.total_ms, paper["total_latency"], ALEXNET,
                 note="assumed: link at 90 MHz, layer alone"),
            _row(workload, "global buffer accesses", "MB", ours.buffer_mb, paper["global_buffer_accesses"], ALEXNET,
                 note="50.2 MB are the accesses of q=3 r=2 t=2, not of Table III" if name == "conv3" else ""),
            _row(workload, "DRAM accesses", "MB", ours.dram_mb, paper["dram_accesses"], ALEXNET),
            _row(workload, "power", "mW", ours.power_mw, paper["power"], ALEXNET, note=POWER),
            _row(workload, fmaps, "x", plain.dram_mb / ours.dram_mb, paper["dram_compression_ratio_RLC"],
                 "JSSC 2017, Fig. 10; recalled, unverified", note="independent zeros, not those of a real network"),
        ]  # fmt: skip
    pin = "engine.pinned=[{layers: conv3, m: 64, n: 4, e: 13, p: 16, q: 3, r: 2, t: 2}]"
    other = alexnet_layer("conv3", overrides=(pin,))
    paper = theirs["conv3"]
    note = "with q=3 r=2 t=2 instead of Table III's q=4 r=1 t=4"
    found += [
        _row("alexnet conv3", "global buffer accesses", "MB", other.buffer_mb, paper["global_buffer_accesses"],
             ALEXNET, note=note),
        _row("alexnet conv3", "processing latency", "ms", other.processing_ms, paper["processing_latency"], ALEXNET,
             note=note),
        _row("alexnet conv1-5", "processing latency", "ms", sums["processing"], 103.5, ALEXNET),
        _row("alexnet conv1-5", "total latency", "ms", sums["total"], 115.3, ALEXNET),
    ]  # fmt: skip
    for name in DENSITIES:
        ours = alexnet_layer(name, "eyeriss")
        found.append(
            _row(f"alexnet {name}", "processing latency, searched", "ms", ours.processing_ms,
                 theirs[name]["processing_latency"], ALEXNET, note="another mapping than the paper's")
        )  # fmt: skip
    return found


def vgg_rows() -> list[Row]:
    """Table VI."""
    found, ours = [], vgg16()
    note = "mapping inferred, see eyeriss_vgg16.yaml"
    for name, (power, total, processing, _, buffer, dram) in VGG16.items():
        mine, workload = ours[name], f"vgg16 {name}"
        pes = 168 if name >= "conv4" else 156
        found += [
            _row(workload, "processing latency", "ms", mine.processing_ms, processing, VGG, note=note),
            _row(workload, "active PEs", "", mine.active_pes, pes, VGG, note="part of the inference"),
            _row(workload, "total latency", "ms", mine.total_ms, total, VGG),
            _row(workload, "global buffer accesses", "MB", mine.buffer_mb, buffer, VGG, note="part of the inference"),
            _row(workload, "DRAM accesses", "MB", mine.dram_mb, dram, VGG, note="part of the inference"),
            _row(workload, "power", "mW", mine.power_mw, power, VGG, note=POWER),
        ]  # fmt: skip
    total_ms = sum(f.processing_ms for f in ours.values())
    found.append(_row("vgg16 convolutions", "processing latency", "ms", total_ms, 3755.2, VGG, note=note))
    searched = sum(f.processing_ms for f in vgg16("eyeriss").values())
    found.append(
        _row("vgg16 convolutions", "processing latency, searched", "ms", searched, 3755.2, VGG,
             note="the search finds mappings that are not bound by the psum bus")
    )  # fmt: skip
    return found


def fig10() -> dict[str, tuple[float, float, float]]:
    """Energy of ALU, spads and DRAM of AlexNet's layers in 10^9 MACs, with the prices of ISCA 2016."""
    trace = synthetic_trace(load_network("alexnet", batch=16), weight_bits=16, activation_bits=16)
    found = {}
    for layer in simulate(load_arch("eyeriss", FIG10_ARCH), trace).layers:
        if layer.name in FIG10:
            spads = sum(count for (part, _), count in layer.counts.items() if part.endswith("_spad"))
            words = sum(layer.dram_bytes.values()) / 2
            found[layer.name] = (layer.macs / 1e9, spads / 1e9, 200 * words / 1e9)
    return found


def fig10_rows() -> list[Row]:
    """ISCA 2016, Fig. 10."""
    source = "Chen et al., ISCA 2016, Fig. 10, as read by nn_dataflow"
    found = []
    for name, ours in fig10().items():
        for part, mine, paper in zip(("ALU", "RF", "DRAM"), ours, FIG10[name], strict=True):
            note = "an ifmap word is read once for all filters of a PE here" if part == "RF" else "searched mapping"
            found.append(
                _row(f"alexnet {name}, 256 PEs", f"energy of {part}", "1e9 MACs", mine, paper, source,
                     note=note if part != "ALU" else "")
            )  # fmt: skip
    return found


def rows() -> list[Row]:
    """All comparisons."""
    return [*alexnet_rows(), *vgg_rows(), *fig10_rows()]


if __name__ == "__main__":
    main("Eyeriss beside its published tables", rows)
