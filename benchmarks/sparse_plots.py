"""Pictures of imbalance and of what queues do about it.

    python benchmarks/sparse_plots.py [DIR]

Writes into DIR (default: docs) sparse_queue_depth.png, EIE's efficiency against its queues on the nine layers of its
paper; sparse_scnn_sweep.png, SCNN's speedup against density; sparse_pe_busy.png, which PEs of SCNN work in two layers
of VGG-16; sparse_work.png, how work differs between the columns of EIE's PEs and between SCNN's PEs. Masks are
synthetic, of published densities; prints the figures.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from sparse_speed_a import task, vgg16
from timing import table
from validate_bitserial import BITS, ROOM, WHOLE, engine
from validate_eie import NAMES, layers
from validate_scnn import sweep

from accelsim.engines.base import Task
from accelsim.engines.common.part import Part
from accelsim.report.drawing import TEXT_WIDTH, new_figure, save, style
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import synthetic_trace

DEPTHS = [2**i for i in range(9)]
#: Okabe and Ito's colours, and markers, so that no curve is told by its colour alone
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#777777")
MARKERS = "osv^D<>Px"


def eie_layer(name: str) -> Task:
    """A layer of EIE's paper."""
    k, n, weights, inputs = layers()[name]
    network = Network(name, [Node("x", Input((1, k))), Node("fc", Linear(n), ("x",))])
    trace = synthetic_trace(network, weight_density=weights, activation_density=inputs)
    return Task(network["fc"], trace, BITS, (ROOM,), {"all": 64}, pinned=WHOLE)


def efficiency(one: Task, depth: int) -> float:
    """Cycles in which the mean PE walks entries, over all cycles, percent."""
    found = engine("eie", {"queue_depth": depth, "full_ring": True}).lower(one)
    return float(100 * found.info["entries"] / 64 / int(found.rows["finish_cycles"].sum()))


def queue_depths(folder: Path) -> None:
    """One curve for each layer."""
    figure, axes = new_figure(TEXT_WIDTH * 0.7, 2.9)
    rows = []
    for name, colour, marker in zip(NAMES, COLOURS, MARKERS, strict=True):
        one = eie_layer(name)
        values = [efficiency(one, depth) for depth in DEPTHS]
        axes.plot(DEPTHS, values, color=colour, marker=marker, markersize=3.5, label=NAMES[name])
        rows.append([NAMES[name], *(f"{value:.1f}" for value in values)])
    axes.set_xscale("log", base=2)
    axes.set_xticks(DEPTHS, [str(depth) for depth in DEPTHS])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.grid(axis="y")
    axes.set_xlabel("entries of a PE's queue")
    axes.set_ylabel("cycles in which the mean PE works (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, folder / "sparse_queue_depth.png", dpi=150)
    print(table(["EIE", *(f"queue {depth}" for depth in DEPTHS)], rows))


#: Parashar et al., ISCA 2017, Figure 7, recalled: density of both operands -> speedup over the dense twin
SCNN_PUBLISHED = {0.1: 24.0, 0.85: 1.0, 1.0: 0.79}


def scnn_sweep(folder: Path) -> None:
    """Speedup over the dense twin at each density, with and without queues, and what is known of the paper's curve."""
    figure, axes = new_figure(TEXT_WIDTH * 0.55, 2.6)
    rows = []
    for queue, colour, marker in ((0, "#0072B2", "o"), (16, "#009E73", "s")):
        found = sweep(queue)
        label = f"queues of {queue}" if queue else "no queues before the banks"
        axes.plot(list(found), list(found.values()), color=colour, marker=marker, markersize=3.5, label=label)
        rows.append([label, *(f"{value:.2f}" for value in found.values())])
    paper = list(SCNN_PUBLISHED.items())
    axes.plot(*zip(*paper, strict=True), color="#D55E00", marker="x", linestyle="none", label="paper")
    axes.axhline(1, color="#777777", linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.set_xlabel("density of inputs and weights")
    axes.set_ylabel("speedup over the dense twin (x)")
    axes.legend(loc="upper right")
    save(figure, folder / "sparse_scnn_sweep.png", dpi=150)
    print(table(["SCNN, density", *(f"{tenth / 10:.1f}" for tenth in range(1, 11))], rows))


def scnn_counts(layer: str) -> Any:
    """(groups of outputs, channels, PE rows, PE columns) of SCNN's PEs in a layer of VGG-16: cycles; and of steps."""
    network, trace, _ = vgg16()
    one = task(network, trace, layer)
    work = one.layer.work
    assert isinstance(work, ConvShape)
    part = Part(one, work)
    built = engine("scnn", {})
    tile = built.tile(part)[1][0]  # type: ignore[attr-defined]
    counts = np.concatenate([found for found, _ in built.pe_counts(part, tile)])  # type: ignore[attr-defined]
    # PEs are counted column by column
    grid = counts.reshape(*counts.shape[:2], 8, 8, 3).swapaxes(2, 3)
    return grid[..., 0], grid[..., 1]


def pe_busy(folder: Path) -> None:
    """Heat maps of the share of a layer's cycles in which a PE multiplies."""
    figure, axes = new_figure(TEXT_WIDTH * 0.85, 3.0, ncols=2)
    image = None
    for plot, layer in zip(axes, ("conv3_2", "conv5_3"), strict=True):
        cycles, _ = scnn_counts(layer)
        total = cycles.sum(1).max((1, 2)).sum()
        share = 100 * cycles.sum((0, 1)) / total
        image = plot.imshow(share, cmap="viridis", vmin=0, vmax=100, aspect="equal")
        for y, x in np.ndindex(share.shape):
            colour = "white" if share[y, x] < 60 else "black"
            plot.text(x, y, f"{share[y, x]:.0f}", ha="center", va="center", fontsize=5.5, color=colour)
        plot.set_title(f"VGG-16 {layer}: mean {share.mean():.0f}%")
        plot.set_xlabel("PE column")
        plot.set_ylabel("PE row")
        plot.spines[:].set_visible(False)
        print(f"SCNN, {layer}: PEs are busy {share.min():.0f} to {share.max():.0f}%, {share.mean():.1f}% in the mean")
    assert image is not None
    figure.colorbar(image, ax=axes, label="cycles in which the PE is busy (%)", shrink=0.85)
    save(figure, folder / "sparse_pe_busy.png", dpi=150)


def work(folder: Path) -> None:
    """Histograms: entries of EIE's PEs over their mean; cycles of SCNN's PEs between two meetings over theirs."""
    figure, (left, right) = new_figure(TEXT_WIDTH * 0.9, 2.5, ncols=2)
    curves = (("Alex-6", "#0072B2", ""), ("VGG-6", "#E69F00", "//"), ("NT-We", "#009E73", ".."))
    for place, (name, colour, hatch) in enumerate(curves):
        one = eie_layer(name)
        shape = one.layer.work
        assert isinstance(shape, GemmShape)
        part = Part(one, shape)
        built = engine("eie", {})
        tile = built.tile(part)[1][0]  # type: ignore[attr-defined]
        entries, busy = built.columns(part, tile)[0], built.work_of_pes(part, tile)  # type: ignore[attr-defined]
        shares = np.bincount(entries.ravel(), minlength=14)[:14] * 100 / entries.size
        left.bar(np.arange(14) + 0.28 * (place - 1), shares, 0.28, color=colour, edgecolor="black", linewidth=0.4,
                 hatch=hatch, label=f"{NAMES[name]}: mean {entries.mean():.2f}")  # fmt: skip
        ratio = busy / busy.mean()
        print(f"EIE, {NAMES[name]}: work of PEs {ratio.min():.2f} to {ratio.max():.2f} of the mean")
    left.set_xlabel("entries of a column in one PE")
    left.set_ylabel("columns and PEs (%)")
    left.set_title("EIE, column by column")
    left.legend(loc="upper right")
    bins = np.linspace(0, 1.5, 31)
    for layer, colour, hatch in (("conv3_2", "#0072B2", ""), ("conv5_3", "#E69F00", "//")):
        cycles, _ = scnn_counts(layer)
        groups = cycles.sum(1).reshape(len(cycles), -1)
        ratio = (groups / groups.mean(1, keepdims=True)).ravel()
        right.hist(ratio, bins, weights=np.full(ratio.size, 100 / ratio.size), histtype="stepfilled", alpha=0.55,
                   color=colour, edgecolor="black", linewidth=0.6, hatch=hatch,
                   label=f"VGG-16 {layer}: largest {ratio.max():.2f}")  # fmt: skip
    right.set_xlabel("cycles of a PE in a group of outputs, over the mean")
    right.set_ylabel("PEs and groups (%)")
    right.set_title("SCNN, between two barriers")
    right.set_ylim(top=1.35 * right.get_ylim()[1])  # room for the legend
    right.legend(loc="upper left")
    save(figure, folder / "sparse_work.png", dpi=150)


def main() -> None:
    """All four."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    with style():
        queue_depths(folder)
        scnn_sweep(folder)
        pe_busy(folder)
        work(folder)


if __name__ == "__main__":
    main()
