"""Engines that skip zeros of weights or inputs beside their papers' speed-ups.

    python benchmarks/validate_sparse_weights.py

Networks are AlexNet and VGG-16 at the densities of Han et al. (NIPS 2015), zeros placed at random; the papers use
others as well, and real feature maps, so that an error remains. Cycles of the array without waiting for memory.
Each figure is the mean over seeds, its spread in the remark.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from sparse_networks import HAN, han_trace, in_memory, published
from validation_rows import Row, main

from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan
from accelsim.workload.load import load_network
from accelsim.workload.network import Layer, Network, Node
from accelsim.workload.ops import Conv, Input
from accelsim.workload.shapes import ConvShape
from accelsim.workload.trace import Trace, TraceWriter

SEEDS = (0, 1)


def cycles(arch: str, trace: Trace) -> int:
    """Of the array, convolutions only."""
    plan = _Plan(load_arch(arch), trace, None)
    tables = [t for t in plan.tables if t.macs and t.layer.startswith("conv")]
    return sum(int(t.rows["stream_cycles"].sum()) for t in tables)


def over_seeds(work: Any) -> tuple[float, str]:
    """Mean, and what the remark says of the spread."""
    found = [work(seed) for seed in SEEDS]
    return mean(found), f"{len(found)} seeds, {min(found):.4g} to {max(found):.4g}"


def cnvlutin() -> list[Row]:
    """Zero skipping over DaDianNao, convolutions."""

    def speedup(seed: int) -> float:
        trace = han_trace("alexnet", weights=False, seed=seed)
        return cycles("dadiannao", trace) / cycles("cnvlutin", trace)

    value, spread = over_seeds(speedup)
    note = (
        f"{spread}; AlexNet with the densities of pruned weights' feature maps instead of six networks' own; "
        "bricks are assumed to be dealt to the lanes in turn"
    )
    source = "ISCA 2016, abstract: 1.24 to 1.55, 1.37 on average"
    return [Row("Cnvlutin", "alexnet, convolutions", "speed-up over DaDianNao", "x", value, 1.37, source, None, note)]


def single(layer: Layer, folder: Path, rng: Any, kept: float, inputs: float, block: int) -> Trace:
    """A convolution whose weights are kept or not for `block` outputs together."""
    work = layer.work
    assert isinstance(work, ConvShape)
    shape, filters = (work.n, work.c, work.h, work.w), (work.m, work.c // work.g, work.r, work.s)
    op = Conv(work.m, (work.r, work.s), work.stride, work.pad, work.dilation, work.g)
    network = Network("one", [Node("x", Input(shape)), Node("conv", op, ("x",))])
    mask = rng.random((-(-work.m // block), *filters[1:])) < kept
    mask = np.repeat(mask, block, axis=0)[: work.m]
    path = folder / f"{layer.name}_{block}.trace"
    with TraceWriter(path, network, name="t") as writer:
        writer.add("conv", "ifmap", (rng.random(shape) < inputs).astype(np.int8), bits=8, signed=False)
        writer.add("conv", "filter", mask.astype(np.int8), bits=8, signed=True)
    return Trace.open(path)


def cambricon() -> list[Row]:
    """Cambricon-S with blocks of 16 outputs over Cambricon-X with single weights, at equal densities."""
    kept, out = (published(HAN, "AlexNet", x) for x in ("weight_density", "output_activation_density"))
    layers = [layer for layer in load_network("alexnet") if layer.name.startswith("conv")]

    def speedup(seed: int) -> float:
        rng, total, before = np.random.default_rng(seed), [0, 0], 1.0
        with tempfile.TemporaryDirectory() as folder:
            for layer in layers:
                for i, (name, block) in enumerate((("cambricon_x", 1), ("cambricon_s", 16))):
                    trace = single(layer, Path(folder), rng, kept[layer.name], before, block)
                    total[i] += cycles(name, trace)
                before = out[layer.name]
        return total[0] / total[1]

    value, spread = over_seeds(speedup)
    note = (
        f"{spread}; AlexNet's convolutions at Han's densities for both; the paper prunes coarse blocks to densities of "
        "its own, averages over seven networks, and counts fully connected layers and memory"
    )
    source = "MICRO 2018: 1.71 over Cambricon-X"
    what = "Cambricon-S", "alexnet, convolutions", "speed-up over Cambricon-X", "x"
    return [Row(*what, value, 1.71, source, None, note)]


def nullhop() -> list[Row]:
    """Utilization on VGG-16 in place of VGG-19."""
    arch, rows = load_arch("nullhop"), []

    def measured(seed: int) -> tuple[float, float]:
        trace = han_trace("vgg16", weights=False, seed=seed)
        tables = [t for t in _Plan(arch, trace, None).tables if t.macs and t.layer.startswith("conv")]
        total = sum(int(t.rows["stream_cycles"].sum()) for t in tables)
        return (
            100 * sum(t.info["products"] for t in tables) / (total * 128),
            100 * sum(t.macs for t in tables) / (total * 128),
        )

    found = [measured(seed) for seed in SEEDS]
    for i, (quantity, theirs) in enumerate((("MAC utilization", 98.0), ("throughput over dense peak", 368.0))):
        each = [f[i] for f in found]
        note = (
            f"{len(each)} seeds, {min(each):.4g} to {max(each):.4g}; VGG-16 at Han's densities; "
            "the paper: VGG-19's own maps, which are sparser"
        )
        source = "TNNLS 2019, abstract"
        rows.append(Row("NullHop", "vgg16, convolutions", quantity, "%", mean(each), theirs, source, None, note))
    return rows


def rows() -> list[Row]:
    """All comparisons."""
    with in_memory():
        return [*cnvlutin(), *cambricon(), *nullhop()]


if __name__ == "__main__":
    main("Engines that skip zeros of one operand", rows)
