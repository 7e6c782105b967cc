"""Pictures of Eyeriss on AlexNet: who works on which row, and where time and energy go beside the published figures.

    python benchmarks/eyeriss_plots.py [FOLDER]

Writes eyeriss_mapping.png and eyeriss_alexnet.png (default folder: docs).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from validate_eyeriss import DENSITIES, FIG10, Figures, alexnet_layer, fig10, published

from accelsim.engines.eyeriss.rs_mapping import passes_of
from accelsim.engines.row_stationary import RowStationary
from accelsim.mapping.problem import Loops
from accelsim.report.drawing import TEXT_WIDTH, new_figure, save, style
from accelsim.report.figure_array import array_figure
from accelsim.system.archspec import load_arch
from accelsim.workload.load import load_network

#: Okabe and Ito
BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"
)  # fmt: skip


def mapping_figure() -> Any:
    """The first pass of each of AlexNet's convolutions under Table III (CONV4 and CONV5 are alike)."""
    engine = load_arch("eyeriss_alexnet").engine
    assert isinstance(engine, RowStationary)
    network = load_network("alexnet", batch=4)
    passes = []
    for pin in engine.spec.pinned[:4]:
        loops = Loops.of(network[pin.layers].work)  # type: ignore[arg-type]
        mapping = pin.mapping(loops, loops.r)
        tiles = engine_tiles(engine, loops, mapping)
        passes.append((pin.layers if pin.layers != "conv4" else "conv4, conv5", passes_of(loops, tiles)[0][-1]))
    return array_figure(passes, engine.array)


def engine_tiles(engine: RowStationary, loops: Loops, mapping: Any) -> Any:
    """The first pass of a layer, as the engine walks it."""
    from accelsim.engines.eyeriss.rs_mapping import RsProblem, walk

    room = 10**9
    problem = RsProblem(loops, engine.array, (16, 16, 16, 16), room, room, room, True, (False, False, False))
    return walk(problem, mapping)[:1]


LATENCY = (
    ("products", BLUE), ("first window, psum bus", SKY), ("filter load, drain", GREEN), ("waiting for DRAM", ORANGE)
)  # fmt: skip


def _latency(axes: Any, ours: dict[str, Figures], theirs: dict[str, dict[str, float]]) -> None:
    x = np.arange(len(ours))
    floor = np.zeros(len(ours))
    for number, (label, colour) in enumerate(LATENCY):
        values = np.array([figures.split_ms[number] for figures in ours.values()])
        axes.bar(x - 0.2, values, 0.36, floor, color=colour, label=label, edgecolor="white", linewidth=0.3)
        floor += values
    processing = np.array([theirs[name]["processing_latency"] for name in ours])
    total = np.array([theirs[name]["total_latency"] for name in ours])
    axes.bar(x + 0.2, processing, 0.36, color="#DDDDDD", edgecolor="black", linewidth=0.5,
             label="published: processing")  # fmt: skip
    axes.bar(x + 0.2, total - processing, 0.36, processing, color="white", edgecolor="black", linewidth=0.5,
             hatch="////", label="published: rest of the total")  # fmt: skip
    axes.set_xticks(x, list(ours))
    axes.set_ylabel("latency, ms for 4 images")
    axes.legend(fontsize=5.5)
    axes.set_title("Left ours, right published", loc="left")


ENERGY = (
    ("MACs", ("mac",), BLUE), ("scratch pads", ("ifmap_spad", "filter_spad", "psum_spad"), SKY),
    ("buses, psum links", ("ifmap_bus", "filter_bus", "psum_bus", "psum_link"), GREEN),
    ("global buffer", ("global_buffer", "filter_buffer"), ORANGE), ("leakage", ("leakage",), GREY),
)  # fmt: skip


def _energy(axes: Any, ours: dict[str, Figures], theirs: dict[str, dict[str, float]]) -> None:
    x = np.arange(len(ours))
    floor = np.zeros(len(ours))
    for label, parts, colour in ENERGY:
        values = np.array([sum(f.energy_pj.get(p, 0.0) for p in parts) * 1e-9 for f in ours.values()])
        axes.bar(x - 0.2, values, 0.36, floor, color=colour, label=label, edgecolor="white", linewidth=0.3)
        floor += values
    chip = np.array([theirs[name]["power"] * theirs[name]["total_latency"] * 1e-3 for name in ours])
    axes.bar(x + 0.2, chip, 0.36, color="#DDDDDD", edgecolor="black", linewidth=0.5, label="published: power x time")
    axes.set_xticks(x, list(ours))
    axes.set_ylabel("energy of the chip, mJ for 4 images")
    axes.legend(fontsize=5.5)
    axes.set_title("Ours without control, clocks", loc="left")


def _fig10(axes: Any) -> None:
    ours = fig10()
    x = np.arange(len(ours))
    for side, table in ((-0.2, ours), (0.2, FIG10)):
        floor = np.zeros(len(ours))
        for number, (label, colour) in enumerate((("ALU", BLUE), ("spads (RF)", SKY), ("DRAM", RED))):
            values = np.array([table[name][number] for name in ours])
            theirs = table is FIG10
            axes.bar(x + side, values, 0.36, floor, color=colour, edgecolor="black" if theirs else "white",
                     linewidth=0.5, hatch="////" if theirs else "", label=None if theirs else label)  # fmt: skip
            floor += values
    axes.bar([0], [0], color="white", edgecolor="black", hatch="////", label="published")
    axes.set_xticks(x, list(ours))
    axes.set_ylabel("energy, 10$^9$ MACs, 16 images")
    axes.legend(fontsize=5.5)
    axes.set_title("ISCA 2016, Fig. 10 (256 PEs)", loc="left")


def breakdown_figure() -> Any:
    """Latency, chip energy, and the breakdown of ISCA 2016."""
    theirs = published()
    ours = {name: alexnet_layer(name) for name in DENSITIES}
    figure, axes = new_figure(TEXT_WIDTH, 3.0, ncols=3)
    _latency(axes[0], ours, theirs)
    _energy(axes[1], ours, theirs)
    _fig10(axes[2])
    for one in axes:
        one.grid(axis="y")
        one.set_ylim(0, 1.6 * one.get_ylim()[1])  # room for the legend
        one.tick_params(axis="x", rotation=45)
    return figure


def shrink(path: Path) -> None:
    """A palette of 32 colours: a third of the bytes, for flat colours and text."""
    from PIL import Image  # comes with matplotlib

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(32, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description="Pictures of Eyeriss on AlexNet.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parents[1] / "docs")
    folder = parser.parse_args().folder
    with style():
        save(mapping_figure(), folder / "eyeriss_mapping.png", dpi=200)
        shrink(folder / "eyeriss_mapping.png")
        save(breakdown_figure(), folder / "eyeriss_alexnet.png", dpi=160)


if __name__ == "__main__":
    main()
