"""Eyeriss v2 (JETCAS 2019) on MobileNet and AlexNet, beside its published throughput and efficiency.

    python benchmarks/validate_eyeriss_v2.py

The published figures have batch 1. Densities of sparse AlexNet: weights and inputs of convolutions as Sparseloop's
setup has them, of fully connected layers from Han et al. (2015); the pruned networks of the paper are not public, and
its pruning (energy-aware) leaves other densities. Of sparse MobileNet eight layers' densities are known (Sparseloop's
artefact); the others are assumed to have the mean of those. Zeros are independent, so clusters of them, which make
PEs uneven, are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from validation_rows import Row, main

from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Input, Linear, Pool, Reshape
from accelsim.workload.trace import synthetic_trace

ABSTRACT = "Chen et al., JETCAS 9(2), 2019, abstract"
TABLE = "Chen et al., JETCAS 9(2), 2019, Section V; recalled, unverified"

#: (inference/s, inference/J, source) as published: 65 nm, 200 MHz, batch 1, 8 bits
PUBLISHED = {
    "alexnet dense": (102.1, 174.8, TABLE),
    "alexnet sparse": (278.7, 664.6, TABLE),
    "mobilenet_v1 0.5-128 dense": (1282.1, 1969.8, TABLE),
    "mobilenet_v1 0.5-128 sparse": (1470.6, 2560.3, ABSTRACT),
}

#: Layer -> (weight density, input density)
ALEXNET = {
    "conv1": (0.710, 0.999), "conv2": (0.385, 0.600), "conv3": (0.346, 0.275), "conv4": (0.372, 0.207),
    "conv5": (0.369, 0.230), "fc6": (0.09, 0.100), "fc7": (0.09, 0.36), "fc8": (0.25, 0.40),
}  # fmt: skip

#: Channels and stride of MobileNet v1's thirteen pairs of layers (Howard et al., arXiv 1704.04861, Table 1)
PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]

#: Pair -> (weight density, input density) of its pointwise layer: L07, L09, L13, L19, L21, L23, L25, L27
POINTWISE = {
    3: (0.5203, 0.7281), 4: (0.8184, 0.8641), 6: (0.6443, 0.8329), 9: (0.5499, 0.6077), 10: (0.5997, 0.6412),
    11: (0.6988, 0.6084), 12: (0.6495, 0.6772), 13: (0.2999, 0.5829),
}  # fmt: skip


def mobilenet(width: float = 0.5, size: int = 128) -> Network:
    """MobileNet v1 of this width multiplier and input size."""
    nodes = [Node("image", Input((1, 3, size, size)))]
    last = "image"

    def add(name: str, op: Any) -> None:
        nonlocal last
        nodes.append(Node(name, op, (last,)))
        last = name

    add("conv0", Conv(int(32 * width), 3, 2, 1, bias=False))
    add("relu0", Activation("relu"))
    before = int(32 * width)
    for number, (channels, stride) in enumerate(PAIRS, 1):
        add(f"dw{number}", Conv(before, 3, stride, 1, groups=before, bias=False))
        add(f"dw{number}_relu", Activation("relu"))
        before = int(channels * width)
        add(f"pw{number}", Conv(before, 1, bias=False))
        add(f"pw{number}_relu", Activation("relu"))
    add("pool", Pool("avg", "global"))
    add("flat", Reshape((0, -1)))
    add("fc", Linear(1000))
    return Network("mobilenet_v1_0.5_128", nodes)


#: Pair -> (name in the artefact, input and output channels, side of the map)
SHAPES = {
    3: ("L07", 64, 64, 32), 4: ("L09", 64, 128, 16), 6: ("L13", 128, 256, 8), 9: ("L19", 256, 256, 8),
    10: ("L21", 256, 256, 8), 11: ("L23", 256, 256, 8), 12: ("L25", 256, 512, 4), 13: ("L27", 512, 512, 4),
}  # fmt: skip


def pe_rule() -> list[Row]:
    """One PE with one multiplier, on layers of the artefact's shapes and densities: the rule beside a plain count."""
    found = []
    for pair, (name, channels, outputs, side) in SHAPES.items():
        network = Network(
            name, [Node("x", Input((1, channels, side, side))), Node("pw", Conv(outputs, 1, bias=False), ("x",))]
        )
        weight, density = POINTWISE[pair]
        trace = synthetic_trace(network, weight_density=weight, activation_density=density, input_density=density)
        inputs, filters = (trace.operand("pw", role) for role in ("ifmap", "filter"))
        assert inputs is not None and filters is not None
        ones = ("simd", "clusters", "grid_cols", "cluster_rows", "cluster_cols")
        overrides = tuple(f"engine.{key}=1" for key in ones)
        layer = simulate(load_arch("eyeriss_v2", overrides), trace).layers[0]
        columns = [np.flatnonzero(column) for column in filters.values().reshape(outputs, channels).T]
        count = sum(
            len(columns[channel])
            for position in inputs.values().reshape(channels, -1).T
            for channel in np.flatnonzero(position).tolist()
        )
        found.append(
            Row("eyeriss_v2", f"mobilenet {name}, one PE", "cycles of the PE rule", "cycles", layer.info["pe_cycles"],
                count, "count of nonzero pairs, one after another", aim_pct=0.0, note="masks of the same density")
        )  # fmt: skip
    return found


def _densities(network: Network) -> dict[str, dict[str, float]]:
    weight, inputs = (sum(pair[i] for pair in POINTWISE.values()) / len(POINTWISE) for i in (0, 1))
    found = {}
    for layer in network:
        if layer.is_compute:
            pair = (weight, inputs)
            if layer.name.startswith("pw"):
                pair = POINTWISE.get(int(layer.name[2:]), pair)
            if layer.name.startswith("dw"):
                pair = (1.0, inputs)  # depthwise layers run dense
            found[layer.name] = {"weight_density": pair[0], "activation_density": pair[1], "input_density": 1.0}
    return found


def run(workload: str) -> RunResult:
    """One of the published cases."""
    name, mode = workload.rsplit(" ", 1)
    network = load_network("alexnet", batch=1) if name == "alexnet" else mobilenet()
    layers: dict[str, dict[str, float]] = {}
    if mode == "sparse":
        pairs = {k: {"weight_density": w, "activation_density": a} for k, (w, a) in ALEXNET.items()}
        layers = pairs if name == "alexnet" else _densities(network)
    trace = synthetic_trace(network, per_layer=layers)
    return simulate(load_arch("eyeriss_v2", (f"engine.mode={mode}",)), trace)


def rows() -> list[Row]:
    """Throughput from the array's own time and from whole runs, efficiency of the chip."""
    found, rates = [], {}
    for workload, (rate, efficiency, source) in PUBLISHED.items():
        result = run(workload)
        layers = [layer for layer in result.layers if "processing_cycles" in layer.info]
        array = sum(layer.info["processing_cycles"] for layer in layers)
        chip = sum(
            pj for layer in layers for part, pj in layer.energy_pj.items() if not part.startswith("dram")
        )
        rates[workload] = 200e6 / array
        note = "densities assumed, independent zeros" if workload.endswith("sparse") else ""
        found += [
            Row("eyeriss_v2", workload, "throughput, array alone", "inference/s", 200e6 / array, rate, source,
                note=note),
            Row("eyeriss_v2", workload, "throughput, DRAM and pooling too", "inference/s", 200e6 / result.cycles, rate,
                source, note="the paper's memory is not known"),
            Row("eyeriss_v2", workload, "efficiency", "inference/J", 1e12 / chip, efficiency, source,
                note="control, clocks and idle wires are not priced; DRAM excluded"),
        ]  # fmt: skip
    for name, theirs in (("alexnet", 278.7 / 102.1), ("mobilenet_v1 0.5-128", 1470.6 / 1282.1)):
        ours = rates[f"{name} sparse"] / rates[f"{name} dense"]
        found.append(Row("eyeriss_v2", name, "sparse over dense, array alone", "x", ours, theirs, TABLE))
    for name, times in (("alexnet", 42.5), ("mobilenet_v1 0.5-128", 12.6)):
        network = load_network("alexnet", batch=1) if name == "alexnet" else mobilenet()
        first = simulate(load_arch("eyeriss"), synthetic_trace(network))
        cycles = sum(layer.info.get("processing_cycles", 0) for layer in first.layers)
        source = ABSTRACT if name != "alexnet" else TABLE
        found.append(
            Row("eyeriss_v2", f"{name} sparse", "speed over Eyeriss v1, arrays alone", "x",
                rates[f"{name} sparse"] * cycles / 200e6, times, source,
                note="v1 as built, 168 PEs, batch 1, mapping searched; the paper does not say how it ran v1")
        )  # fmt: skip
    return [*found, *pe_rule()]


if __name__ == "__main__":
    main("Eyeriss v2 beside its published figures", rows)
