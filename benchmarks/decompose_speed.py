"""Speed of decompositions, CPU seconds and error: Gram matrices against full singular value decompositions.

    python benchmarks/decompose_speed.py [--runs N] [--full] [--all]

The tensor train of the first fully connected layer of VGG-16 (25088 inputs, 4096 outputs, the modes of TIE), rank 16,
on a matrix that is a train of rank 16 and noise. Aim: under 5 s of CPU time (permuting into modes included, finding
the error not), error within 1e-4 of what full decompositions give. `--full`: the whole matrix by these too
(minutes, and several GB); without it these are compared on a sixteenth of the columns. `--all`: every method on a
4096 x 1024 matrix or a 512 x 512 x 3 x 3 kernel. Exit is 1 if the aim is missed.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import table

from accelsim.compress.decompose.methods import METHODS, Plan, decompose
from accelsim.workload.encodings.base import encoding

ROWS, COLUMNS = [4, 4, 4, 4, 4, 4], [2, 7, 8, 8, 7, 4]
RANK, NOISE = 16, 0.5
AIM_S, AIM_ERROR = 5.0, 1e-4

Matrix = NDArray[np.float32]


def matrix(columns: list[int], seed: int = 0) -> Matrix:
    """A train of rank 16 with normal cores, and normal noise of half its spread."""
    rng = np.random.default_rng(seed)
    ranks = [1, 8, *[RANK] * 4, 1]
    shapes = [(ranks[k], m, n, ranks[k + 1]) for k, (m, n) in enumerate(zip(ROWS, columns, strict=True))]
    cores = [rng.standard_normal(shape, np.float32) for shape in shapes]
    codec: Any = encoding("tt")
    core = {"name": "x", "encoding": "float", "shape": [1], "bits": 32, "signed": True}
    meta = codec.read_meta({"row_modes": ROWS, "column_modes": columns, "ranks": ranks, "cores": [core]})
    made: Matrix = codec.rebuild(cores, meta, (int(np.prod(ROWS)), int(np.prod(columns))))
    made /= made.std()
    for row in made:
        row += np.float32(NOISE) * rng.standard_normal(row.size, np.float32)
    return made


def train(values: Matrix, columns: list[int], runs: int, exact: bool = False) -> tuple[float, float]:
    """Median CPU seconds, and the error."""
    plan = Plan("tt", rank=RANK, row_modes=ROWS, column_modes=columns, exact=exact)
    times = []
    for _ in range(runs):
        begin = process_time()
        decompose(values, plan, measure=False)
        times.append(process_time() - begin)
    return median(times), decompose(values, plan).error


def everything(runs: int) -> str:
    """A row for each method."""
    rng = np.random.default_rng(1)
    fc, conv = rng.standard_normal((4096, 1024), np.float32), rng.standard_normal((512, 512, 3, 3), np.float32)
    rows = []
    for method in METHODS:
        values = conv if METHODS[method].encoding in ("tucker", "cp", "btd") else fc
        times = []
        for _ in range(runs):
            begin = process_time()
            found = decompose(values, Plan(method, rank=16, iterations=10), measure=False)
            times.append(process_time() - begin)
        shape = "x".join(map(str, values.shape))
        rows.append((method, shape, f"{median(times):.2f}", f"{found.parameters:,}", f"{found.ratio:.1f}"))
    return table(("method, rank 16", "shape", "CPU s", "elements", "ratio"), rows)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="full decompositions of the whole matrix")
    parser.add_argument("--all", action="store_true", help="every method")
    args = parser.parse_args()
    rows = []
    whole = matrix(COLUMNS)
    seconds, error = train(whole, COLUMNS, args.runs)
    rows.append(("25088 x 4096", "Gram", f"{seconds:.2f}", f"{error:.6f}"))
    if args.full:
        small, columns, name, fast = whole, COLUMNS, "25088 x 4096", error
    else:
        del whole
        columns, name = [2, 7, 8, 7, 2, 1], "1568 x 4096"
        small = matrix(columns)
        took, fast = train(small, columns, args.runs)
        rows.append((name, "Gram", f"{took:.2f}", f"{fast:.6f}"))
    took, slow = train(small, columns, 1, exact=True)
    rows.append((name, "full SVDs", f"{took:.2f}", f"{slow:.6f}"))
    print(table(("matrix", "way", "CPU s", "relative error"), rows))
    off = abs(fast - slow) / slow
    print(f"\naim: {seconds:.2f} s of {AIM_S:.0f} s; errors differ by {off:.1e} of {AIM_ERROR:.0e}")
    if args.all:
        print("\n" + everything(args.runs))
    return int(seconds > AIM_S or off > AIM_ERROR)


if __name__ == "__main__":
    sys.exit(main())
