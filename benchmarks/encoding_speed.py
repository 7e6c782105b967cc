"""Speed of the encodings: GB of dense input per CPU second, both ways, and against numpy doing the same; and of the
selection of the smallest weights, against numpy.partition.

    python benchmarks/encoding_speed.py [--elements N] [--runs N] [--bits 8] [--density 0.1 0.35 ...]

One thread; medians. Aim: 1 GB/s for bitmaps and run lengths. An element counts as the whole bytes that hold it in
numpy: one at 8 bits, two at 16 (eyeriss_rlc makes 16-bit values of it all the same: its own width is 16). The
numpy column is the plain way to the same arrays, for the formats where there is one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import median_cpu_s, table

FORMATS: dict[str, dict[str, Any]] = {
    "dense": {},
    "bitmap": {},
    "rlc": {"run_bits": 5},
    "rlc of 1 bit": {"run_bits": 1},
    "rlc of 4 bits": {"run_bits": 4},
    "rlc of 12 bits": {"run_bits": 12},
    "eyeriss_rlc": {},
    "csr": {"index_bits": 4},
    "csc": {"index_bits": 4},
    "csc of 64 PEs": {"index_bits": 4, "pes": 64},
    "coo": {},
    "nm": {"n": 2, "m": 4},
    "block": {"rows": 1, "columns": 16},
    "bitplanes": {},
    "huffman": {},
}


AIMED = ("bitmap", "rlc", "eyeriss_rlc")


def numpy_bitmap(values: NDArray[Any]) -> object:
    """Mask and nonzeros."""
    kept = values != 0
    return np.packbits(kept, bitorder="little"), values[kept]


def numpy_bitmap_back(values: NDArray[Any]) -> Callable[[], object]:
    """From mask and nonzeros."""
    mask, nonzeros = np.packbits(values != 0, bitorder="little"), values[values != 0]

    def work() -> object:
        out = np.zeros(values.shape, values.dtype)
        out[np.unpackbits(mask, count=values.size, bitorder="little").reshape(values.shape).view(bool)] = nonzeros
        return out

    return work


def numpy_runs(values: NDArray[Any], top: int = 31) -> object:
    """Runs and values with padding zeros, by whole-array operations."""
    flat = values.reshape(-1)
    places = np.flatnonzero(flat)
    gaps = np.diff(places, prepend=-1) - 1
    padding = gaps // (top + 1)
    ends = np.cumsum(padding + 1) - 1
    runs, taken = np.full(ends[-1] + 1, top, np.uint8), np.zeros(ends[-1] + 1, flat.dtype)
    runs[ends], taken[ends] = gaps % (top + 1), flat[places]
    return runs, taken


def numpy_runs_back(values: NDArray[Any]) -> Callable[[], object]:
    """From runs and values."""
    runs, taken = numpy_runs(values)  # type: ignore[misc]

    def work() -> object:
        out = np.zeros(values.size, values.dtype)
        out[np.cumsum(runs.astype(np.int64) + 1) - 1] = taken
        return out

    return work


def measure(name: str, bits: int, density: float, elements: int, runs: int) -> list[object]:
    """One row of the table."""
    from accelsim.workload.encodings.base import encoding
    from accelsim.workload.packing import value_dtype

    rng = np.random.default_rng(0)
    values = rng.integers(1, 1 << (bits - 1), elements).astype(value_dtype(bits, True))
    values[rng.random(elements) >= density] = 0
    values = values.reshape(-1, 4096)
    kind = name.split()[0]
    codec, options = encoding(kind), FORMATS[name]
    if kind == "nm":
        values = np.ascontiguousarray(codec.representable(values, bits, True, codec.Params(**options)))
    encoded = codec.encode(values, bits, True, **options)
    size = values.nbytes / 1e9
    there = median_cpu_s(lambda: codec.encode(values, bits, True, **options), runs)
    back = median_cpu_s(lambda: codec.decode(encoded.payload, encoded.meta, values.shape, bits, True), runs)
    row: list[object] = [name, bits, density, f"{size / there:.2f}", f"{size / back:.2f}"]
    plain: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "bitmap": (lambda: numpy_bitmap(values), numpy_bitmap_back(values)),
        "rlc": (lambda: numpy_runs(values), numpy_runs_back(values)),
    }
    if name not in plain:
        return [*row, "", ""]
    encode_s, decode_s = (median_cpu_s(work, max(3, runs // 3)) for work in plain[kind])
    return [*row, f"{encode_s / there:.1f}", f"{decode_s / back:.1f}"]


def selection(elements: int, runs: int) -> list[object]:
    """CPU seconds for the threshold below which 90 % of the weights lie, exactly."""
    from accelsim.compress.sparsify.select import smallest

    weights = np.random.default_rng(0).laplace(scale=0.02, size=elements).astype(np.float32)
    count = elements * 9 // 10
    limit = np.partition(np.abs(weights), count - 1)[count - 1]
    cut = smallest(weights, count)
    assert cut.bits == int(limit.view(np.uint32)) and int(cut.mask(weights).sum()) == count
    ours = median_cpu_s(lambda: smallest(weights, count), runs)
    plain = median_cpu_s(lambda: np.partition(np.abs(weights), count - 1), runs)
    masked = median_cpu_s(lambda: smallest(weights, count).mask(weights), runs)
    return [elements, f"{ours:.4f}", f"{masked:.4f}", f"{plain:.4f}", f"{plain / ours:.1f}"]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1 << 24)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--density", type=float, nargs="+", default=[0.1, 0.35])
    parser.add_argument("--format", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    args = parser.parse_args()
    header = ["format", "bits", "density", "encode GB/s", "decode GB/s", "x numpy enc.", "x numpy dec."]
    cases = [(f, b, d) for f in args.format for b in args.bits for d in args.density]
    rows = [measure(f, b, d, args.elements, args.runs) for f, b, d in cases]
    print(table(header, rows))
    aimed = [row for row in rows if str(row[0]).split()[0] in AIMED]
    below = [" ".join(map(str, row[:5])) for row in aimed if min(float(str(row[3])), float(str(row[4]))) < 1]
    if aimed:
        aim = "aim, for bitmaps and run lengths: 1 GB/s both ways"
        print(f"\n{aim}; {len(below)} of {len(aimed)} rows below", *below, sep="\n  ")
    print()
    header = ["selection of", "threshold s", "and mask s", "numpy.partition s", "x numpy"]
    print(table(header, [selection(25_000_000, args.runs)]))


if __name__ == "__main__":
    main()
