"""AlexNet's convolutions as structured sparsity learning leaves them, on crossbars: what skipping and packing save.

Wen et al., NeurIPS 2016, Table 4 (recalled): shares of matrix rows (positions in all filters of a layer) and of whole
filters that are zero. Inputs are as dense as in Eyeriss's measurements (Chen et al., JSSC 2017). Values are drawn:
which rows are zero is random, so only how many are is published.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from accelsim.engines.crossbar import Crossbar
from accelsim.engines.crossbars.packing import pack
from accelsim.engines.crossbars.sparse import work_of_product
from accelsim.system.archspec import load_arch


@dataclass(frozen=True)
class Layer:
    """A convolution: groups, rows and filters of a group's matrix, output positions, densities."""

    groups: int
    k: int
    n: int
    positions: int
    rows: float
    filters: float
    inputs: float


LAYERS = (
    Layer(1, 3 * 121, 96, 55 * 55, 1.0, 0.906, 1.0),
    Layer(2, 48 * 25, 128, 27 * 27, 0.368, 0.871, 0.613),
    Layer(1, 256 * 9, 384, 13 * 13, 0.231, 0.594, 0.275),
    Layer(2, 192 * 9, 192, 13 * 13, 0.153, 0.531, 0.207),
    Layer(2, 192 * 9, 128, 13 * 13, 0.193, 1.0, 0.224),
)
VECTORS = 24


def matrices(seed: int = 3) -> list[np.ndarray]:
    """Weights (k, n) of one group of each layer."""
    random = np.random.default_rng(seed)
    found = []
    for layer in LAYERS:
        w = random.integers(1, 2**15, (layer.k, layer.n)) * random.choice((-1, 1), (layer.k, layer.n))
        w[random.permutation(layer.k)[ceil(layer.k * layer.rows) :]] = 0
        w[:, random.permutation(layer.n)[ceil(layer.n * layer.filters) :]] = 0
        found.append(w)
    return found


def skipping() -> dict[str, tuple[float, float, float]]:
    """By what is skipped: (speed-up of the convolutions, share of conversions saved, speed-up of the best layer).

    A product waits for the slowest of its crossbars, as on the engine. All layers have as many copies as make them
    equally fast, so that time is the sum of crossbars x positions x time of a product.
    """
    arch = load_arch("sparse_reram")
    assert isinstance(arch.engine, Crossbar)
    engine, random = arch.engine, np.random.default_rng(5)
    cells = engine.spec.cells(16, 16, False)
    columns = engine.spec.active_cols * cells.slices // cells.cells_per_weight
    cycles: dict[str, list[float]] = {}
    conversions: dict[str, float] = {}
    for layer, w in zip(LAYERS, matrices(), strict=True):
        x = np.minimum(np.abs(random.normal(0, 2**12, (VECTORS, layer.k))), 2**15).astype(np.int64)
        x *= random.random(x.shape) < layer.inputs
        for skip in ("none", "weights", "inputs", "both"):
            work = work_of_product(
                x, w, cells, engine.spec.rows, engine.columns({"filter": 16}), (engine.spec.active_rows, columns), skip
            )
            slowest = np.maximum(work.units.max(1), 1).sum() * layer.positions / VECTORS
            cycles.setdefault(skip, []).append(float(slowest) * layer.groups * work.units.shape[1])
            done = work.conversions * layer.groups * layer.positions / VECTORS
            conversions[skip] = conversions.get(skip, 0.0) + done
    none = cycles["none"]
    return {
        skip: (
            sum(none) / sum(cycles[skip]),
            1 - conversions[skip] / conversions["none"],
            max(a / b for a, b in zip(none, cycles[skip], strict=True)),
        )
        for skip in ("weights", "inputs", "both")
    }


def packing(design: str) -> tuple[float, float, float]:
    """Dense over packed convolutions: (crossbars, time of a chip whose layers are equally fast, conversions)."""
    arch = load_arch(design)
    assert isinstance(arch.engine, Crossbar)
    spec, columns = arch.engine.spec, arch.engine.columns({"filter": 16})
    units, time, sums = [0, 0], [0, 0], [0, 0]
    for layer, w in zip(LAYERS, matrices(), strict=True):
        for index, how in enumerate(("none", spec.pack)):
            packed = pack(w, spec.rows, columns, how)
            units[index] += layer.groups * packed.units
            time[index] += layer.groups * packed.units * layer.positions
            sums[index] += layer.groups * packed.columns * layer.positions
    return units[0] / units[1], time[0] / time[1], sums[0] / sums[1]


if __name__ == "__main__":
    for what, (speed, saved, best) in skipping().items():
        print(f"{what}: {speed:.2f} x, conversions saved {100 * saved:.1f} %, best layer {best:.2f} x")
    for name in ("snrram", "recom"):
        print(name, *(f"{value:.2f} x" for value in packing(name)))
