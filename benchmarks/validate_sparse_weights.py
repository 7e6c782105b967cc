"""Engines that skip zeros of weights or inputs beside their papers' speed-ups.

    python benchmarks/validate_sparse_weights.py

Networks run at published densities (`accelsim list densities`), zeros placed at random; the papers use more networks,
and real feature maps, whose zeros lie in clusters. Cycles of the array, without waiting for memory, unless it is said.
Each figure is the mean over seeds, its spread in the remark.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from sparse_networks import HAN, UNBOUND, array_cycles, array_tables, in_memory, published
from validation_rows import Row, main

import accelsim
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.densities import published_densities
from accelsim.workload.load import load_network
from accelsim.workload.network import Layer, Network, Node
from accelsim.workload.ops import Conv, Input, Linear
from accelsim.workload.shapes import ConvShape
from accelsim.workload.trace import Trace, TraceWriter, synthetic_trace

SEEDS = (0, 1)
#: Mean share of nonzero inputs of convolutions that Cnvlutin's authors measured: 44% zeros, as Shi and Chu (arXiv
#: 1704.07724) quote them
CNVLUTIN_DENSITY = 0.56


def over_seeds(work: Callable[[int], float]) -> tuple[float, str]:
    """Mean, and what the remark says of the spread."""
    found = [work(seed) for seed in SEEDS]
    return mean(found), f"{len(found)} seeds, {min(found):.4g} to {max(found):.4g}"


def at_density(network: str, density: float, seed: int) -> Trace:
    """Inputs of one density, but for the image."""
    return synthetic_trace(load_network(network), activation_density=density, input_density=1.0, seed=seed)


# --- inputs ---


def cnvlutin() -> list[Row]:
    """Zero skipping over DaDianNao, convolutions."""

    def ratio(trace: Trace, only: str = "conv") -> float:
        return array_cycles("dadiannao", trace, only=only) / array_cycles("cnvlutin", trace, only=only)

    source, rows = "ISCA 2016, abstract: 1.24 to 1.55, 1.37 on average", []
    for network in ("alexnet", "vgg16"):
        value, spread = over_seeds(lambda s, n=network: ratio(accelsim.open_workload(n, densities="eyeriss", seed=s)))
        note = f"{spread}; inputs of the unpruned network as Eyeriss' authors measured them, sparser than 44% zeros"
        rows.append(Row("Cnvlutin", network, "speed-up over DaDianNao", "x", value, 1.37, source, None, note))
    names = ("alexnet", "googlenet", "vgg19")
    each = [over_seeds(lambda s, n=n: ratio(at_density(n, CNVLUTIN_DENSITY, s), ""))[0] for n in names]
    found = ", ".join(f"{name} {value:.3g}" for name, value in zip(names, each, strict=True))
    note = (
        f"{found}: three of the paper's six networks, all at its mean of 44% zeros, spread over the inputs at "
        "random, which real maps are not; bricks dealt in turn: assumed; aim: a tenth, for the other three networks"
    )
    what = "three networks at 44% zeros", "speed-up over DaDianNao", "x"
    return [*rows, Row("Cnvlutin", *what, mean(each), 1.37, source, 10.0, note)]


def nullhop() -> list[Row]:
    """Utilization and throughput, at measured densities and at the one that its two figures give."""

    def measured(trace: Trace) -> tuple[float, float]:
        tables = array_tables("nullhop", trace)
        peak = sum(int(t.rows["stream_cycles"].sum()) for t in tables) * 128
        return 100 * sum(t.info["products"] for t in tables) / peak, 100 * sum(t.macs for t in tables) / peak

    implied = 0.98 / 3.68
    cases: list[tuple[str, Callable[[int], Trace], str]] = [
        (
            "vgg16", lambda s: accelsim.open_workload("vgg16", densities="eyeriss", seed=s),
            "VGG-16 for VGG-19, at the densities that Eyeriss' authors measured: the paper's maps are sparser",
        ),
        (
            f"vgg19, density {implied:.3f}", lambda s: at_density("vgg19", implied, s),
            "a check of the rule, not of the network: the density at which 98% utilization gives 368%",
        ),
    ]  # fmt: skip
    rows = []
    for name, made, why in cases:
        found = [measured(made(seed)) for seed in SEEDS]
        for i, (quantity, theirs) in enumerate((("MAC utilization", 98.0), ("throughput over dense peak", 368.0))):
            each = [f[i] for f in found]
            note = f"{len(each)} seeds, {min(each):.4g} to {max(each):.4g}; {why}"
            if not i:
                note += "; theirs: at least; three input maps on two sets of controllers keep 75% busy"
            source = "TNNLS 2019, abstract"
            rows.append(Row("NullHop", f"{name}, convolutions", quantity, "%", mean(each), theirs, source, None, note))
        rate = mean(f[1] for f in found) * 1.28  # 128 MACs at 500 MHz, two operations each
        rows.append(
            Row("NullHop", f"{name}, convolutions", "throughput", "GOp/s", rate, 450.0, source, None,
                f"theirs: more than this on VGG-19; {why}")
        )  # fmt: skip
    return rows


# --- weights ---


def single(layer: Layer, folder: Path, rng: Any, kept: float, inputs: float, block: tuple[int, int]) -> Trace:
    """A layer whose weights are kept or not for blocks of (outputs, inputs) together."""
    work, path = layer.work, folder / f"{layer.name}_{block[0]}.trace"
    if isinstance(work, ConvShape):
        shape: tuple[int, ...] = (work.n, work.c, work.h, work.w)
        filters: tuple[int, ...] = (work.m, work.c // work.g, work.r, work.s)
        op: Any = Conv(work.m, (work.r, work.s), work.stride, work.pad, work.dilation, work.g)
    else:
        assert isinstance(layer.op, Linear)
        filters = layer.weights["filter"]
        shape, op = (1, filters[1]), Linear(filters[0])
    network = Network("one", [Node("x", Input(shape)), Node(layer.name, op, ("x",))])
    mask = rng.random((-(-filters[0] // block[0]), -(-filters[1] // block[1]), *filters[2:])) < kept
    mask = np.repeat(np.repeat(mask, block[0], axis=0), block[1], axis=1)[: filters[0], : filters[1]]
    with TraceWriter(path, network, name="t") as writer:
        writer.add(layer.name, "ifmap", (rng.random(shape) < inputs).astype(np.int8), bits=8, signed=False)
        writer.add(layer.name, "filter", mask.astype(np.int8), bits=8, signed=True)
    return Trace.open(path)


def blocks(layer: Layer) -> tuple[int, int]:
    """(outputs, inputs) that Cambricon-S prunes together in AlexNet."""
    if layer.name.startswith("conv"):
        return 16, 1
    return (32, 32) if layer.name in ("fc6", "fc7") else (16, 16)


def cambricon_s() -> list[Row]:
    """Cambricon-S with coarse blocks over Cambricon-X with single weights, at equal densities."""
    kept, out = (published(HAN, "AlexNet", x) for x in ("weight_density", "output_activation_density"))
    layers = [layer for layer in load_network("alexnet") if layer.is_compute]

    def speedup(seed: int) -> float:
        rng, before, total = np.random.default_rng(seed), 1.0, [0, 0]
        with tempfile.TemporaryDirectory() as folder:
            for layer in layers:
                for i, (name, block) in enumerate((("cambricon_x", (1, 1)), ("cambricon_s", blocks(layer)))):
                    trace = single(layer, Path(folder), rng, kept[layer.name], before, block)
                    total[i] += array_cycles(name, trace, only=layer.name)
                before = out[layer.name]
        return total[0] / total[1]

    value, spread = over_seeds(speedup)
    note = (
        f"{spread}; all layers of AlexNet at Han's densities for both, in blocks as published; the paper prunes "
        "blocks to densities of its own, averages over seven networks, and counts the wait for memory"
    )
    source = "MICRO 2018: 1.71 over Cambricon-X"
    return [Row("Cambricon-S", "alexnet", "speed-up over Cambricon-X", "x", value, 1.71, source, None, note)]


def cambricon_x() -> list[Row]:
    """Cambricon-X over the same multipliers without indexes, which is DianNao's array."""
    source, rows = "MICRO 2016, abstract: 7.23 over DianNao, seven networks", []
    for network in ("alexnet", "vgg16"):
        net = load_network(network)
        table = published_densities("han2015", net)
        kept = {layer: {"weight_density": of["weight_density"]} for layer, of in table.items()}
        dense, sparse = synthetic_trace(net), synthetic_trace(net, per_layer=kept)
        for only, what in (("", "all layers"), ("conv", "convolutions"), ("fc", "fully connected layers")):
            value = array_cycles("cambricon_x", dense, only=only) / array_cycles("cambricon_x", sparse, only=only)
            note = (
                "weights at Han's densities; dense weights on the same array stand for DianNao; the paper's seven "
                "networks have densities of their own, and fully connected layers weigh more in some of them"
            )
            rows.append(
                Row("Cambricon-X", f"{network}, {what}", "speed-up over dense weights", "x", value, 7.23, source, None,
                    note)
            )  # fmt: skip
    return rows


# --- the chips ---


def chips() -> list[Row]:
    """Peak rates and areas, from the configurations alone."""
    network, rows = load_network("lenet5"), []
    published = (
        ("Cambricon-X", 544.0, 6.38, "MICRO 2016, abstract",
         "theirs: 34 operations a cycle in each of 16 PEs, two more than 16 products and as many sums"),
        ("Cambricon-S", 512.0, 6.73, "MICRO 2018", ""),
        ("NullHop", 128.0, 6.3, "TNNLS 2019: 471 GOp/s at 368% of the dense peak; area: abstract", ""),
    )  # fmt: skip
    for name, gops, mm2, source, why in published:
        trace = synthetic_trace(network)
        arch = load_arch(name.lower().replace("-", "_"), [*UNBOUND])
        peak = 2 * arch.engine.peak_macs_per_cycle(arch.spec.bits()) * arch.spec.clock_hz / 1e9
        area = sum(simulate(arch, trace).area_mm2.values())
        rows.append(Row(name, "peak", "throughput", "GOP/s", peak, gops, source, None, why))
        rows.append(Row(name, "chip", "area", "mm2", area, mm2, source, None, "without control, pads and wires"))
    return rows


def rows() -> list[Row]:
    """All comparisons."""
    with in_memory():
        return [*cnvlutin(), *nullhop(), *cambricon_s(), *cambricon_x(), *chips()]


if __name__ == "__main__":
    main("Engines that skip zeros of one operand", rows)
