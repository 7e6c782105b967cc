"""Engines that do not finish sums which a ReLU cuts, beside their papers' speed-ups.

    python benchmarks/validate_sparse_outputs.py

AlexNet's convolutions with described operands (Laplace weights around zero, inputs at the densities of Han et al.):
the papers run trained networks, so that an error remains. Cycles of the array, without waiting for memory; each figure
is the mean over seeds, its spread in the remark.
"""

from __future__ import annotations

from statistics import mean
from typing import Any

from sparse_networks import han_trace, in_memory
from validation_rows import Row, main

from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan
from accelsim.workload.trace import Trace

SEEDS = (0, 1)


def run(arch: str, trace: Trace, **overrides: Any) -> tuple[int, dict[str, int]]:
    """(cycles of the convolutions, sums of what their reports count)."""
    made = load_arch(arch, ["engine.dense=allow", *(f"engine.{k}={v}" for k, v in overrides.items())])
    tables = [t for t in _Plan(made, trace, None).tables if t.macs and t.layer.startswith("conv")]
    counts = {key: sum(int(t.info.get(key, 0)) for t in tables) for key in ("sums", "mispredicted")}
    return sum(int(t.rows["stream_cycles"].sum()) for t in tables), counts


def compared(arch: str, switch: str, theirs: float, source: str, why: str) -> Row:
    """Speed-up over the same array with `switch` off."""
    found, wrong = [], []
    for seed in SEEDS:
        trace = han_trace("alexnet", weights=False, seed=seed)
        fast, counts = run(arch, trace)
        found.append(run(arch, trace, **{switch: "false"})[0] / fast)
        wrong.append(100 * counts["mispredicted"] / max(1, counts["sums"]))
    note = (
        f"{len(found)} seeds, {min(found):.4g} to {max(found):.4g}; {mean(wrong):.2f}% of the sums are wrongly taken "
        f"for 0; {why}"
    )
    what = "alexnet, convolutions", "speed-up over all sums in full", "x"
    return Row(arch, *what, mean(found), theirs, source, None, note)


def rows() -> list[Row]:
    """All comparisons."""
    with in_memory():
        return [
            compared(
                "snapea", "early", 1.28, "ISCA 2018, exact mode, five networks on average",
                "half of the sums stop early, but neighbouring positions of drawn inputs are not alike: one of the "
                "four lanes of a PE nearly always goes on to the end; the twin is the same array, not Eyeriss",
            ),
            compared(
                "prediction", "predict", 2.5, "ISCA 2018, abstract",
                "8-bit inputs, 4 of them first; the paper also predicts pooling, and its array is not known",
            ),
        ]  # fmt: skip


if __name__ == "__main__":
    main("Engines that do not finish every sum", rows)
