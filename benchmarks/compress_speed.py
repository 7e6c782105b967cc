"""Speed of the quantizers, GB of float32 per CPU second and against numpy doing the same; and of whole recipes.

    python benchmarks/compress_speed.py [--elements N] [--runs N] [--recipes]

One thread, medians, the tensor of 4096 columns. `back` is from integers to numbers again. The numpy column is the
plain way to the same result (for k-means: one of its up to 100 iterations on the elements). `--recipes`: Deep
Compression of AlexNet and VGG-16, every layer from drawn weights to the written trace, in a process of its own. The
aims: 1 GB/s; VGG-16 under 15 s of CPU time and 2.5 times the memory of its weights.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["ACCELSIM_THREADS"] = "1"

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from timing import PYTHON, median_cost, median_cpu_s, table  # noqa: E402

Array = NDArray[Any]

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("uniform", {"bits": 8}, "8 bits, tensor"),
    ("uniform", {"bits": 4, "granularity": "channel"}, "4 bits, channel"),
    ("uniform", {"bits": 4, "granularity": "group", "group": 64}, "4 bits, groups of 64"),
    ("uniform", {"bits": 8, "scheme": "affine"}, "8 bits, affine"),
    ("uniform", {"bits": 8, "rounding": "stochastic"}, "8 bits, stochastic"),
    ("binary", {}, "xnor, channel"),
    ("ternary", {}, "twn, channel"),
    ("ternary", {"mode": "optimal"}, "optimal, channel"),
    ("dorefa", {"bits": 2}, "2 bits"),
    ("log2", {"bits": 4}, "4 bits"),
    ("inq", {"bits": 5}, "5 bits"),
    ("admm", {"bits": 3}, "3 bits"),
    ("multibit", {"bits": 2}, "2 bits, alternating"),
    ("kmeans", {"bits": 4}, "4 bits, histogram"),
    ("kmeans", {"bits": 4, "exact": True, "iterations": 1}, "4 bits, exact, an iteration"),
    ("outlier", {}, "4 and 8 bits"),
    ("float", {"format": "fp16"}, "fp16"),
    ("float", {"format": "fp8_e4m3"}, "fp8 E4M3"),
    ("mx", {"format": "mxint8"}, "mxint8"),
    ("mx", {"format": "mxfp4"}, "mxfp4"),
]


def numpy_symmetric(x: Array, bits: int, axis: int | None) -> object:
    """Integers and scale."""
    top = (1 << (bits - 1)) - 1
    scale = np.abs(x).max(axis=axis, keepdims=True) / np.float32(top)
    return np.clip(np.rint(x / scale), -top, top).astype(np.int8), scale


def numpy_affine(x: Array) -> object:
    """Integers, scale and zero point."""
    low, high = x.min(), x.max()
    scale = (high - low) / np.float32(255)
    zero = np.rint(-low / scale)
    return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8), scale, zero


def numpy_groups(x: Array) -> object:
    """Integers and a scale for 64 neighbours."""
    return numpy_symmetric(x.reshape(-1, 64), 4, 1)


def numpy_stochastic(x: Array) -> object:
    """Integers and scale, rounded with numpy's own generator."""
    scale = np.abs(x).max() / np.float32(127)
    noise = np.random.default_rng(0).random(x.shape, np.float32)
    return np.clip(np.floor(x / scale + noise), -127, 127).astype(np.int8), scale


def numpy_xnor(x: Array) -> object:
    """Signs and scales."""
    return (x >= 0).view(np.uint8), np.abs(x).mean(axis=1)


def numpy_twn(x: Array) -> object:
    """Integers and scales."""
    size = np.abs(x)
    large = size > 0.7 * size.mean(axis=1, keepdims=True)
    return np.where(large, np.sign(x), 0).astype(np.int8), (size * large).sum(axis=1) / large.sum(axis=1)


def numpy_dorefa(x: Array) -> object:
    """Integers."""
    wide = np.tanh(x)
    return np.rint((wide / (2 * np.abs(wide).max()) + np.float32(0.5)) * 3).astype(np.uint8)


def numpy_log2(x: Array) -> object:
    """Integers."""
    with np.errstate(divide="ignore"):
        exponent = np.rint(np.log2(np.abs(x)))
    return (np.sign(x) * np.clip(exponent - exponent.max() + 7, 0, 7)).astype(np.int8)


def numpy_lloyd(x: Array) -> object:
    """One iteration: nearest centres, then means."""
    centres = np.linspace(x.min(), x.max(), 16)
    names = np.searchsorted((centres[1:] + centres[:-1]) / 2, x.reshape(-1))
    return np.bincount(names, x.reshape(-1), 16) / np.maximum(np.bincount(names, minlength=16), 1)


PLAIN: dict[str, Callable[[Array], object]] = {
    "8 bits, tensor": lambda x: numpy_symmetric(x, 8, None),
    "4 bits, channel": lambda x: numpy_symmetric(x, 4, 1),
    "4 bits, groups of 64": numpy_groups,
    "8 bits, affine": numpy_affine,
    "8 bits, stochastic": numpy_stochastic,
    "xnor, channel": numpy_xnor,
    "twn, channel": numpy_twn,
    "2 bits": numpy_dorefa,
    "4 bits": numpy_log2,
    "4 bits, histogram": numpy_lloyd,
    "4 bits, exact, an iteration": numpy_lloyd,
    "fp16": lambda x: x.astype(np.float16),
}


def numpy_pack(codes: Array, bits: int) -> object:
    """Bytes of consecutive fields."""
    return np.packbits((codes.reshape(-1, 1) >> np.arange(bits, dtype=np.uint8)) & np.uint8(1), bitorder="little")


def measure(kind: str, params: dict[str, Any], title: str, x: Array, runs: int) -> list[object]:
    """One row of the table."""
    from accelsim.compress.base import STEPS, Context, original
    from accelsim.workload import ops
    from accelsim.workload.network import Network, Node

    nodes = [Node("in", ops.Input((1, x.shape[1]))), Node("fc", ops.Linear(x.shape[0]), ("in",))]
    layer = Network("one layer", nodes)["fc"]
    step_type = STEPS.lookup(kind)
    step = step_type(step_type.Params(**params), kind, "benchmark", Context())
    state = original(layer, "filter", x)

    def there() -> None:
        state.factors = state.quantized = state._values = None
        step.apply(state)

    there_s = median_cpu_s(there, runs)
    quantized = state.quantized
    assert quantized is not None
    back_s = median_cpu_s(quantized.values, runs)
    size = x.nbytes / 1e9
    row: list[object] = [kind, title, f"{size / there_s:.2f}", f"{size / back_s:.2f}"]
    plain = PLAIN.get(title)
    return [*row, f"{median_cpu_s(lambda: plain(x), max(3, runs // 2)) / there_s:.1f}" if plain else ""]


def packing(x: Array, runs: int) -> list[list[object]]:
    """Packing of integers; the rate counts the float32 weights that they stand for, as above."""
    from accelsim.workload.packing import pack, unpack

    rows: list[list[object]] = []
    for bits in (1, 2, 4, 5):
        codes = np.random.default_rng(0).integers(0, 1 << bits, x.shape).astype(np.uint8)
        words = pack(codes, bits)
        there_s = median_cpu_s(partial(pack, codes, bits), runs)
        back_s = median_cpu_s(partial(unpack, words, x.size, bits, False), runs)
        plain_s = median_cpu_s(partial(numpy_pack, codes, bits), 3)
        gb = x.nbytes / 1e9
        rows.append(["pack", f"{bits} bits", f"{gb / there_s:.2f}", f"{gb / back_s:.2f}", f"{plain_s / there_s:.1f}"])
    return rows


FOUR_BITS = "Deep Compression's densities, 4 bits everywhere"


def four_bits(network: str, path: Path) -> str:
    """Write the recipe that the aim is about: deep_compression with code books of 16 entries in every layer."""
    import yaml

    from accelsim.compress.base import Context
    from accelsim.compress.recipe import load_recipe

    plan = load_recipe("deep_compression")
    assert plan.steps(network, Context())
    _, prune, kmeans, *rest = plan.data(network)
    path.write_text(yaml.safe_dump({"name": "four_bits", "steps": [prune, {**kmeans, "bits": 4}, *rest]}))
    return str(path)


def recipes(runs: int) -> list[list[object]]:
    """CPU seconds and memory of whole processes, the import of Python and numpy included."""
    from accelsim.workload.load import load_network

    rows: list[list[object]] = []
    for network in ("alexnet", "vgg16"):
        elements = sum(int(np.prod(dims)) for layer in load_network(network) for dims in layer.weights.values())
        for recipe in ("int8", "twn", "deep_compression", "deep_compression_huffman", FOUR_BITS):
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "a.trace"
                if recipe == FOUR_BITS:
                    recipe = four_bits(network, Path(folder) / "four_bits.yaml")
                command = [PYTHON, "-m", "accelsim", "compress", network, recipe, "-o", str(out), "--quiet"]
                cost = median_cost(command, runs, {"ACCELSIM_THREADS": "1"})
                size = out.stat().st_size
            rows.append([
                network, Path(recipe).stem, f"{cost.cpu_s:.1f}", f"{cost.peak_mb * 2**20 / (4 * elements):.2f}",
                f"{size / 1e6:.1f}", f"{4 * elements / size:.1f}",
            ])  # fmt: skip
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1 << 24)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--recipes", action="store_true", help="whole recipes too (a minute)")
    args = parser.parse_args()
    x = np.random.default_rng(0).laplace(scale=0.02, size=(args.elements // 4096, 4096)).astype(np.float32)
    rows = [measure(*case, x, args.runs) for case in CASES]
    print(table(["step", "", "GB/s", "back GB/s", "x numpy"], [*rows, *packing(x, args.runs)]))
    sys.stdout.flush()
    if args.recipes:
        print()
        head = ["network", "recipe", "CPU s", "memory / weights", "trace MB", "float32 / trace"]
        print(table(head, recipes(max(1, args.runs // 2))))


if __name__ == "__main__":
    main()
