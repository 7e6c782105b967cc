"""Accuracy against compression ratio, for many methods on one trained network (survey, Section V-B).

    python benchmarks/sensitivity_curves.py [--out docs] [--seeds 3] [--only REGEX] [--draw-only]

Needs accelsim[train]. The network is lenet_digits, trained afresh with each seed (that of seed 0 is shipped); accuracy
is that on the 360 digits that no training has seen. The ratio is that of all filters at 32 bits to what is stored of
them, positions, scales and code books included. Writes sensitivity_curves.csv, .png and .pdf, in about five minutes.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.compress import compress
from accelsim.compress.sources import GivenWeights
from accelsim.compress.train.run import Plan, train
from accelsim.workload.load import load_network
from accelsim.workload.network import Network
from accelsim.workload.trained import Trained, digits, trained_network

NETWORK = "lenet_digits"
Weights = dict[str, dict[str, Any]]
Steps = list[dict[str, Any]]

SMALLEST = {"step": "encode", "format": ["dense", "bitmap", "csc", "rlc"]}
BUT_LAST = ["*", "!last"]
BATCH = 64
RETRAINED = 12  # epochs
TRAINED = 30  # epochs from the start


@dataclass(frozen=True)
class Point:
    """One network compressed one way."""

    panel: str
    method: str
    setting: str
    seed: int
    ratio: float
    ratio_without_index: float
    density: float
    accuracy: float


@dataclass(frozen=True)
class Curve:
    """A method: for each setting the recipe, and how the weights are trained for it."""

    panel: str
    method: str
    recipes: dict[str, Steps]
    weights: Callable[[Network, Weights, str, int], Weights] = lambda network, weights, setting, seed: weights


def pruned(density: float) -> Steps:
    """Magnitude, each layer alike; the first one, of 144 weights, is left at twice that."""
    return [{"step": "prune", "density": {"conv1": min(1.0, 2 * density), "else": density}}, SMALLEST]


def joint(density: float) -> Steps:
    """Pruning, then 4-bit code books, then Huffman codes."""
    return [*pruned(density)[:1], {"step": "kmeans", "bits": 4},
            {"step": "encode", "format": ["huffman", "bitmap", "csc", "rlc", "rlc_huffman"]}]  # fmt: skip


DENSITIES = (0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
HARD = (0.25, 0.12, 0.08, 0.05, 0.03)  # where retraining matters
ONE, QUANT, TRAIN = "sparse and low-rank", "quantized", "joint, and retrained"


def retrained(method: str, recipe: Callable[[float], Steps], **plan: Any) -> Callable[..., Weights]:
    """Weights after training towards the recipe without its encoding, and with its zeros fixed."""

    def make(network: Network, weights: Weights, setting: str, seed: int) -> Weights:
        steps = recipe(float(setting))[:1]
        found = weights
        if method == "admm":
            towards = Plan("admm", RETRAINED, BATCH, rate=0.03, seed=seed, recipe=steps, **plan)
            found = train(network, towards, found).weights
        return train(network, Plan("masks", RETRAINED, BATCH, rate=0.03, seed=seed, recipe=steps), found).weights

    return make


def straight_through(network: Network, weights: Weights, setting: str, seed: int) -> Weights:
    """Quantization-aware training."""
    plan = Plan("ste", RETRAINED, BATCH, rate=0.02, seed=seed, recipe=uniform(int(setting)))
    return train(network, plan, weights).weights


def regularised(method: str) -> Callable[..., Weights]:
    """From the start, with a penalty."""

    def make(network: Network, weights: Weights, setting: str, seed: int) -> Weights:
        plan: Any = Plan(method, TRAINED, BATCH, seed=seed, penalty=float(setting))  # type: ignore[arg-type]
        return train(network, plan).weights

    return make


def uniform(bits: int) -> Steps:
    """Even levels, a scale for each output channel."""
    return [{"step": "uniform", "bits": bits, "granularity": "channel"}]


def curves() -> list[Curve]:
    """All methods."""
    nm = [(4, 8), (2, 4), (2, 8), (1, 4), (1, 8)]
    found = [
        Curve(ONE, "magnitude, element", {str(d): pruned(d) for d in DENSITIES}),
        Curve(ONE, "random, element", {
            str(d): [{"step": "prune", "criterion": "random", "density": d, "layers": ["*", "!conv1"]}, SMALLEST]
            for d in (0.9, 0.8, 0.7, 0.5)
        }),
        Curve(ONE, "N:M", {
            f"{n}:{m}": [
                {"step": "prune_nm", "layers": ["*", "!first"], "n": n, "m": m},
                {"step": "encode", "layers": ["*", "!first"], "format": "nm", "options": {"n": n, "m": m}},
            ]
            for n, m in nm
        }),
        Curve(ONE, "filter, L1 norm", {
            str(d): [{"step": "prune", "layers": BUT_LAST, "grain": "filter", "density": d}, SMALLEST]
            for d in (0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
        }),
        Curve(QUANT, "uniform", {str(b): uniform(b) for b in (8, 6, 5, 4, 3, 2)}),
        Curve(QUANT, "k-means code book", {str(b): [{"step": "kmeans", "bits": b}] for b in (8, 6, 5, 4, 3, 2, 1)}),
        Curve(QUANT, "powers of two", {str(b): [{"step": "log2", "bits": b}] for b in (6, 5, 4, 3, 2)}),
        Curve(QUANT, "multi-bit binary", {str(b): [{"step": "multibit", "bits": b}] for b in (4, 3, 2, 1)}),
        Curve(QUANT, "ADMM levels, one projection", {str(b): [{"step": "admm", "bits": b}] for b in (5, 4, 3, 2)}),
        Curve(QUANT, "ternary (TWN)", {"twn": [{"step": "ternary", "mode": "twn", "granularity": "channel"}]}),
        Curve(QUANT, "binary (XNOR scale)", {"xnor": [{"step": "binary", "mode": "xnor", "granularity": "channel"}]}),
        Curve(TRAIN, "pruning, k-means, Huffman; not retrained", {str(d): joint(d) for d in DENSITIES}),
        Curve(TRAIN, "the same, retrained (Deep Compression)", {str(d): joint(d) for d in HARD},
              retrained("masks", joint)),
        Curve(TRAIN, "ADMM pruning, retrained", {str(d): pruned(d) for d in HARD}, retrained("admm", pruned)),
        Curve(TRAIN, "group lasso on filters (SSL)", {str(p): [SMALLEST] for p in (0.1, 0.2, 0.4, 0.8)},
              regularised("ssl")),
        Curve(TRAIN, "channel scales to zero (slimming)", {str(p): [SMALLEST] for p in (0.2, 0.4, 0.8, 1.1)},
              regularised("slimming")),
        Curve(TRAIN, "uniform, straight-through", {str(b): uniform(b) for b in (4, 3, 2)}, straight_through),
    ]  # fmt: skip
    return [*found, *decompositions()]


def decompositions() -> list[Curve]:
    """Of everything but the small first and last layer, to a given ratio of elements."""
    ratios = {"svd": (2, 3, 4, 6, 8), "tucker": (2, 3, 4, 6, 8), "tt": (2, 3, 4, 6, 8)}
    titles = {"svd": "low rank (SVD)", "tucker": "Tucker", "tt": "tensor train"}
    return [
        Curve(ONE, titles[method], {
            str(r): [{"step": "decompose", "layers": "middle", "method": method, "ratio": r}] for r in steps
        })
        for method, steps in ratios.items()
    ]  # fmt: skip


def networks(seeds: int) -> Iterator[tuple[int, Network, Weights]]:
    """The trained network of each seed; that of seed 0 is shipped."""
    network = load_network(NETWORK)
    for seed in range(seeds):
        if seed == 0:
            yield 0, network, {la: dict(roles) for la, roles in trained_network(NETWORK).weights.items()}
        else:
            yield seed, network, train(network, Plan(epochs=TRAINED, batch=BATCH, seed=seed)).weights


def measure(curve: Curve, setting: str, seed: int, network: Network, weights: Weights) -> Point:
    """Train if the method does, compress, evaluate."""
    made = curve.weights(network, weights, setting, seed)
    trained = Trained(network, made, lambda: digits(network), f"seed {seed}")
    report = compress(network, GivenWeights(network, made, "trained", trained), curve.recipes[setting], None,
                      seed=seed, evaluate="own")  # fmt: skip
    total = report.total()
    return Point(
        curve.panel, curve.method, setting, seed, total["ratio"], total["ratio_without_index"], total["density"],
        report.measures[-1]["accuracy"],
    )  # fmt: skip


def points(seeds: int, only: str = "") -> Iterator[Point]:
    """Everything, and the networks as they are; or the methods whose names match."""
    for seed, network, weights in networks(seeds):
        for curve in [Curve("", "float32", {"": []}), *curves()]:
            if not re.search(only, curve.method):
                continue
            for setting in curve.recipes:
                yield measure(curve, setting, seed, network, weights)


def write(found: list[Point], path: Path) -> None:
    """One row for each point."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(found[0])), lineterminator="\n")
        writer.writeheader()
        for point in found:
            values = {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(point).items()}
            writer.writerow(values)


def read(path: Path) -> list[Point]:
    """What `write` wrote."""
    kinds: dict[str, Callable[[str], Any]] = {"panel": str, "method": str, "setting": str, "seed": int}
    with path.open(newline="") as file:
        return [Point(**{k: kinds.get(k, float)(v) for k, v in row.items()}) for row in csv.DictReader(file)]


def draw(found: list[Point], folder: Path) -> None:
    """Three panels with one scale: mean over seeds, bars from the least to the most."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    from accelsim.report.curve_parts import DASHES, MARKERS, SERIES_COLOURS
    from accelsim.report.drawing import new_figure, save, style

    with style():
        figure, axes = new_figure(7.0, 4.3, nrows=1, ncols=3, sharey=True, sharex=True)
        whole = [100 * p.accuracy for p in found if p.method == "float32"]
        for axis, panel, letter in zip(axes, (ONE, QUANT, TRAIN), "abc", strict=True):
            axis.axhline(float(np.mean(whole)), color="#8C8C8C", linewidth=0.8, linestyle=(0, (1, 1)), zorder=1)
            for i, method in enumerate(dict.fromkeys(p.method for p in found if p.panel == panel)):
                own = [p for p in found if p.method == method and p.panel == panel]
                groups = [[p for p in own if p.setting == s] for s in dict.fromkeys(p.setting for p in own)]
                groups.sort(key=lambda g: np.mean([p.ratio for p in g]))
                x = [float(np.mean([p.ratio for p in g])) for g in groups]
                y = [[100 * p.accuracy for p in g] for g in groups]
                mean = [float(np.mean(v)) for v in y]
                spread = [[m - min(v) for m, v in zip(mean, y, strict=True)],
                          [max(v) - m for m, v in zip(mean, y, strict=True)]]  # fmt: skip
                axis.errorbar(
                    x, mean, yerr=spread, label=method, color=SERIES_COLOURS[i], marker=MARKERS[i], markersize=4,
                    linestyle=DASHES[i % len(DASHES)], linewidth=1.0, elinewidth=0.7, capsize=1.5, capthick=0.7,
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_xlim(0.95, 110)
            axis.xaxis.set_major_locator(FixedLocator([1, 2, 4, 8, 16, 32, 64]))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_ylim(0, 102)
            axis.grid(axis="y")
            axis.set_title(f"({letter}) {panel}", loc="left")
            axis.set_xlabel("compression ratio, 32-bit weights / stored")
            axis.legend(loc="upper left", bbox_to_anchor=(-0.03, -0.2), handlelength=2.6, labelspacing=0.35)
        axes[0].set_ylabel("accuracy on test digits, %")
        axes[0].annotate(f"float32: {np.mean(whole):.1f} %", (14, float(np.mean(whole)) - 5), color="#555555",
                         fontsize=6.5)  # fmt: skip
    save(figure, folder / "sensitivity_curves.png", dpi=200)
    save(figure, folder / "sensitivity_curves.pdf")


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="REGEX", help="measure these methods, keep the CSV's others")
    parser.add_argument("--draw-only", action="store_true", help="from the CSV that is there")
    options = parser.parse_args()
    path = options.out / "sensitivity_curves.csv"
    if not options.draw_only:
        found = [p for p in read(path) if not re.search(options.only, p.method)] if options.only else []
        for point in points(options.seeds, options.only):
            found.append(point)
            print(f"{point.method:45s} {point.setting:>6s} seed {point.seed}  ratio {point.ratio:7.2f}  "
                  f"accuracy {point.accuracy:.4f}", flush=True)  # fmt: skip
        write(found, path)
    draw(read(path), options.out)


if __name__ == "__main__":
    main()
