"""Speed of the engines that skip zeros of one operand: CPU seconds, warm, operands in memory.

    python benchmarks/sparse_speed_b.py

- VGG-16 at the densities of Han et al.: mappings searched, exact cycles of every tile, traffic and counts.
- Patterns: AND and popcount of two bitmaps, beside a copy of as many bytes in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sparse_networks import han_trace, in_memory
from timing import table

from accelsim.engines.kernels.match import match_segments
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("cambricon_x", {"activations": False}),
    ("cambricon_s", {}),
    ("cnvlutin", {"weights": False}),
    ("nullhop", {"weights": False}),
]
LIMIT_S = 2.0
PATTERN_BYTES = 1 << 27


def cpu_s(work: Callable[[], Any]) -> float:
    """The best of three: others use the machine, too."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def networks() -> list[list[str]]:
    """Seconds of each engine on VGG-16."""
    rows = []
    for name, settings in RUNS:
        arch, trace = load_arch(name), han_trace("vgg16", **settings)
        with in_memory():
            first = _Plan(arch, trace, None)  # decodes the operands, compiles the kernels
            seconds = cpu_s(lambda: _Plan(arch, trace, None))  # noqa: B023
        cycles = sum(int(t.rows["stream_cycles"].sum()) for t in first.tables if t.macs)
        rows.append([name, f"{cycles:,}", f"{seconds:.2f}", f"{LIMIT_S:g}", "kept" if seconds < LIMIT_S else "MISSED"])
    return rows


def patterns() -> list[list[str]]:
    """Bytes a second of both bitmaps, and of a copy (read and written)."""
    words = PATTERN_BYTES // 8
    rng = np.random.default_rng(0)
    left = rng.integers(0, 2**63, (1, words), np.int64).view(np.uint64)
    right = left[:, ::-1].copy()
    out = np.zeros((1, 1, 3), np.int64)
    target = np.empty_like(left)
    match_segments(left[:, :4], right[:, :4], 4, 16, out)
    copy_s = cpu_s(lambda: np.copyto(target, left))
    match_s = cpu_s(lambda: match_segments(left, right, 4, 16, out))
    rate, copied = 2 * PATTERN_BYTES / match_s / 1e9, 2 * PATTERN_BYTES / copy_s / 1e9
    share = rate / copied
    return [[f"{rate:.2f}", f"{copied:.2f}", f"{share:.2f}", "0.33", "kept" if share >= 1 / 3 else "MISSED"]]


def main() -> None:
    """Print both tables; fail where an aim is missed."""
    print("# Speed of engines that skip zeros\n")
    engines, bits = networks(), patterns()
    print(table(["engine", "cycles of VGG-16", "CPU s", "aim", ""], engines))
    print("\n## Patterns: two bitmaps in segments of 256 bits\n")
    print(table(["GB/s of both", "GB/s of a copy, read and written", "share", "aim", ""], bits))
    if any(row[-1] == "MISSED" for row in [*engines, *bits]):
        raise SystemExit("an aim is missed")


if __name__ == "__main__":
    main()
