"""Pictures of crossbars: power by component, accuracy over ADC bits and cell variation, pipelines, skipped zeros.

    python benchmarks/crossbar_plots.py [FOLDER]

Writes crossbar_power.png, crossbar_accuracy.png, crossbar_pipeline.png and crossbar_sparsity.png (default folder:
docs), and prints the speed-ups by density. Accuracy is that of the shipped LeNet on the test digits of scikit-learn,
its products computed in crossbars.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from validate_crossbars import peak_power, sre_speedups

from accelsim.engines.crossbar import Crossbar
from accelsim.engines.crossbars.accuracy import accuracy
from accelsim.engines.crossbars.math import Cells, NonIdeal
from accelsim.report.drawing import TEXT_WIDTH, new_figure, save, style
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace
from accelsim.workload.trained import Samples, trained_network

#: Okabe and Ito
BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"
)  # fmt: skip


def power_figure() -> Any:
    """Power of the chips at their peak by component, the largest first."""
    figure, axes = new_figure(TEXT_WIDTH, 2.6, ncols=2)
    for ax, name in zip(axes, ("isaac", "puma"), strict=True):
        watts, _, _ = peak_power(load_arch(name))
        parts = sorted(watts.items(), key=lambda item: item[1])[-10:]
        rest = sum(watts.values()) - sum(v for _, v in parts)
        parts = [("others", rest), *parts]
        ax.barh([n.replace("_", " ") for n, _ in parts], [v for _, v in parts], color=BLUE)
        for row, (_, value) in enumerate(parts):
            ax.text(value, row, f" {value:.1f}", va="center", fontsize=6)
        ax.set_xlabel("power at peak, W")
        ax.set_xlim(0, max(v for _, v in parts) * 1.15)
        ax.set_title(f"{name}: {sum(watts.values()):.1f} W", loc="left")
    return figure


def accuracy_figure(samples: int = 180) -> Any:
    """Accuracy and error of products over ADC bits and over the cells' variation."""
    trained = trained_network("lenet_digits")
    found = trained.samples()
    assert found.labels is not None
    part = Samples({k: v[:samples] for k, v in found.inputs.items()}, found.labels[:samples], found.scores, "")
    figure, axes = new_figure(TEXT_WIDTH, 2.4, ncols=2, sharey=True)
    bits = [4, 5, 6, 7, 8]
    ways: tuple[tuple[Any, str, str, str], ...] = (
        ("clip", "large sums saturate", BLUE, "o"), ("scale", "codes span all sums", ORANGE, "s")
    )  # fmt: skip
    for way, label, color, marker in ways:
        results = [accuracy(trained, part, Cells(128, 2, 8, 8, 1, b, "offset", True, True, way)) for b in bits]
        axes[0].plot(bits, [100 * a for a, _ in results], color=color, marker=marker, markersize=3, label=label)
    sigmas = [0.0, 0.05, 0.1, 0.2, 0.3]
    for cell_bits, color, marker in ((2, BLUE, "o"), (1, GREEN, "^")):
        cells = Cells(128, cell_bits, 8, 8, 1, 8)
        results = [accuracy(trained, part, cells, NonIdeal(variation=s)) for s in sigmas]
        axes[1].plot(sigmas, [100 * a for a, _ in results], color=color, marker=marker, markersize=3,
                     label=f"{cell_bits}-bit cells")  # fmt: skip
    axes[0].set_xlabel("ADC resolution, bits")
    axes[0].set_xticks(bits)
    axes[0].set_ylabel("accuracy on digits, %")
    axes[1].set_xlabel("variation of cells (std of log conductance)")
    axes[0].set_title("LeNet, 8-bit operands, 128 rows, 2-bit cells", loc="left")
    axes[1].set_title("the same with an 8-bit ADC", loc="left")
    for ax in axes:
        ax.set_ylim(0, 102)
        ax.grid(axis="y")
        ax.legend(loc="lower right" if ax is axes[0] else "lower left")
    return figure


def pipeline_figure() -> Any:
    """Left: stages of one product. Right: layers of a network over time, rows handed on."""
    figure, axes = new_figure(TEXT_WIDTH, 2.8, ncols=2, width_ratios=[1, 1.1])
    engine = load_arch("isaac").engine
    assert isinstance(engine, Crossbar)
    mvm = engine.mvm(128, 128, 16, True, {"filter": 16})
    lanes = [("eDRAM to registers", 0, 1), ("DAC and array, 16 bits", 1, 16), ("ADC", 2, 16), ("shift and add", 3, 16),
             ("output register", 19, 1), ("activation", 20, 1), ("eDRAM write", 21, 1)]  # fmt: skip
    assert lanes[-1][1] + 1 == mvm.latency // mvm.step
    left = axes[0]
    for product, color in ((0, BLUE), (1, SKY)):
        for row, (_, start, length) in enumerate(lanes):
            for step in range(length):
                at = start + step + product * mvm.interval // mvm.step
                left.barh(row, 1, left=at, color=color, edgecolor="white", linewidth=0.3, height=0.8)
    left.set_yticks(range(len(lanes)), [n for n, *_ in lanes])
    left.invert_yaxis()
    left.axvline(22, color="black", linewidth=0.6, linestyle="--")
    left.text(22.3, 0.1, "22", fontsize=6)
    left.set_xlabel("cycles of 100 ns")
    left.set_title("isaac: a product and the next (light)", loc="left")
    network = load_network("lenet5")
    result = simulate(load_arch("isaac"), synthetic_trace(network, weight_bits=16, activation_bits=16))
    right = axes[1]
    passes, clock = result.timeline.passes, result.clock_hz / 1e6
    for index, layer in enumerate(result.layers):
        own = passes[passes["layer"] == index]
        color = BLUE if layer.macs else ORANGE
        for start, end in zip(own["start"], own["done"], strict=True):
            right.barh(index, (end - start) / clock, left=start / clock, color=color, alpha=0.55, height=0.8)
    names = [f"{la.name} x{la.info['copies']}" if "copies" in la.info else la.name for la in result.layers]
    right.set_yticks(range(len(names)), names)
    right.invert_yaxis()
    right.set_xlabel("time, us")
    right.set_title("lenet5: rows of layers (x copies); dark: two at once", loc="left")
    return figure


def sparsity_figure() -> Any:
    """Speed-up of a crossbar by what it leaves out, over the density of weights and of activations."""
    figure, axes = new_figure(TEXT_WIDTH, 2.3, ncols=2, sharey=True)
    densities = np.array([1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05])
    kinds = (("weights", "weight rows", BLUE, "o"), ("inputs", "input bits", ORANGE, "s"), ("both", "both", GREEN, "^"))
    for ax, structured in zip(axes, (False, True), strict=True):
        results = [sre_speedups(d, d, structured) for d in densities]
        for skip, label, color, marker in kinds:
            ax.plot(densities, [r[skip] for r in results], color=color, marker=marker, markersize=3, label=label)
        ax.set_xlabel("density of weights and of activations")
        ax.set_title("whole rows pruned" if structured else "single weights pruned", loc="left")
        ax.set_yscale("log", base=2)
        ax.set_yticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
        ax.grid(axis="y")
    axes[0].set_ylabel("speed-up over no skipping, x")
    axes[0].legend(title="left out", loc="upper right")
    return figure


def density_table() -> str:
    """Speed-ups of a crossbar by the densities of weights (single ones, or whole rows) and inputs, as Markdown."""
    lines = ["| weights, inputs, % | weights left out | input bits left out | both | both, whole rows pruned |",
             "|---|---:|---:|---:|---:|"]  # fmt: skip
    for weight, activation in ((100, 100), (50, 50), (30, 50), (10, 50), (10, 10), (5, 10)):
        single, rows = (sre_speedups(weight / 100, activation / 100, s) for s in (False, True))
        found = (single["weights"], single["inputs"], single["both"], rows["both"])
        lines.append(f"| {weight}, {activation} | " + " | ".join(f"{value:.2f} x" for value in found) + " |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", default=str(Path(__file__).resolve().parents[1] / "docs"))
    folder = Path(parser.parse_args().folder)
    figures = {"power": power_figure, "pipeline": pipeline_figure, "sparsity": sparsity_figure,
               "accuracy": accuracy_figure}  # fmt: skip
    with style():
        for name, make in figures.items():
            path = folder / f"crossbar_{name}.png"
            save(make(), path, dpi=200)
            print(path)
    print(density_table())


if __name__ == "__main__":
    main()
