"""Engines that do not finish sums which a ReLU cuts, beside their papers' speed-ups.

    python benchmarks/validate_sparse_outputs.py

What such an engine saves depends on how far below zero the sums of a trained network lie: drawn operands have sums
around zero, which are known to be negative only at the very end. So EfficientNet-Lite0 runs on photographs where its
package is installed (`accelsim list real`), and a LeNet on digits; AlexNet, drawn, shows what is left without training.
Cycles of the array, without waiting for memory; each figure is the mean over inputs, its spread in the remark.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

from sparse_networks import array_tables, in_memory
from validation_rows import Row, main

import accelsim
from accelsim.base.errors import ConfigError
from accelsim.compress.run import compress
from accelsim.workload.realdata import make_real_trace
from accelsim.workload.trace import Trace
from accelsim.workload.trained_capture import capture_trained

SEEDS = (0,)
DIGITS = range(4)
PHOTOGRAPHS = ("grace_hopper", "chelsea", "coffee", "flower")
ALLOW = "engine.dense=allow"
PREFIX = 3
SPECULATED = "efficientnet_lite0, predictive"
SNAPEA = "ISCA 2018, exact mode, five networks on average"
USPE = "ISCA 2018, abstract"


def ordered(captured: Path, layers: Any, prefix: int = 0) -> Trace:
    """A captured trace whose weights are in SnaPEA's order, after `prefix` speculative ones of a filter."""
    out = captured.with_name(f"ordered_{prefix}_{captured.name}")
    steps = [
        {"step": "uniform", "bits": 8, "granularity": "channel"}, {"step": "uniform", "object": "A", "bits": 8},
        {"step": "early_negative", "layers": layers, "prefix": prefix},
    ]  # fmt: skip
    compress(captured, None, {"name": "early", "steps": steps}, out)
    return Trace.open(out)


@contextmanager
def traces() -> Iterator[dict[str, list[Trace]]]:
    """What runs: name -> one trace for each input."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        found: dict[str, list[Trace]] = {"lenet_digits": []}
        for sample in DIGITS:
            capture_trained("lenet_digits", here / f"digit{sample}.trace", sample)
            found["lenet_digits"].append(ordered(here / f"digit{sample}.trace", ["conv1", "conv2", "fc1"]))
        photographs = []
        for name in PHOTOGRAPHS:
            try:
                make_real_trace("efficientnet_lite0", here / f"{name}.trace", name)
            except ConfigError:
                continue  # its package is not installed
            photographs.append(here / f"{name}.trace")
        if photographs:
            found["efficientnet_lite0"] = [ordered(path, "*") for path in photographs]
            found[SPECULATED] = [ordered(path, "*", PREFIX) for path in photographs[:1]]
        found["alexnet"] = [accelsim.open_workload("alexnet", densities="eyeriss", seed=seed) for seed in SEEDS]
        yield found


def measured(arch: str, trace: Trace, mode: str, *overrides: str) -> dict[str, float]:
    """Cycles, MACs and counts of the convolutions that the engine can do something about."""
    tables = [t for t in array_tables(arch, trace, ALLOW, *overrides, only="") if t.info.get("mode") == mode]
    tables = [t for t in tables if trace.network[t.layer].kind == "conv"]
    names = {t.layer for t in tables}
    sums = {key: sum(int(t.info.get(key, 0)) for t in tables) for key in ("sums", "mispredicted", "products")}
    sums["cycles"] = sum(int(t.rows["stream_cycles"].sum()) for t in tables)
    plain = array_tables(arch, trace, ALLOW, *overrides, TWIN[arch], only="")
    twin = [t for t in plain if t.layer in names]
    sums["plain"] = sum(int(t.rows["stream_cycles"].sum()) for t in twin)
    sums["macs"] = sum(t.macs for t in twin)
    return dict(sums)


TWIN = {"snapea": "engine.early=false", "prediction": "engine.predict=false"}


REMARKS = {
    "lenet_digits": "two convolutions of a LeNet on 8 x 8 digits: its planes are too small to level the PEs out",
    "efficientnet_lite0": "its 16 depthwise layers, the only ones with a ReLU before and behind; real photographs",
    "alexnet": "drawn operands",
}


def snapea(found: dict[str, list[Trace]]) -> list[Row]:
    """MACs that are left, and cycles where the lanes of a PE wait for each other and where a PE is one lane."""
    rows = []
    for name, inputs in found.items():
        if name == SPECULATED:
            continue
        each = [measured("snapea", trace, "early") for trace in inputs]
        alone = [measured("snapea", trace, "early", "engine.lanes=1", "engine.rows=32") for trace in inputs]
        cases = (
            ("MACs of all sums over those made", [x["macs"] / x["products"] for x in each], ""),
            ("speed-up over all sums in full", [x["plain"] / x["cycles"] for x in each],
             "; lanes of a PE wait for the slowest, PEs at the end of a tile"),
            ("speed-up, PEs of one lane", [x["plain"] / x["cycles"] for x in alone],
             "; as many multipliers, none of which waits for a neighbour"),
        )  # fmt: skip
        for quantity, values, why in cases:
            note = f"{len(values)} inputs, {min(values):.4g} to {max(values):.4g}; {REMARKS[name]}{why}"
            rows.append(Row("SnaPEA", name, quantity, "x", mean(values), 1.28, SNAPEA, None, note))
    for trace in found.get(SPECULATED, []):
        x = measured("snapea", trace, "early")
        note = (
            f"its depthwise layers, {PREFIX} weights first, threshold 0, one photograph; "
            f"{100 * x['mispredicted'] / x['sums']:.0f}% of the sums are wrongly taken for 0; the paper searches both "
            "numbers for each filter, for at most 3% of accuracy"
        )
        source = "ISCA 2018, predictive mode, the layers in it on average"
        for what, value in (("MACs of all sums over those made", x["macs"] / x["products"]),
                            ("speed-up over all sums in full", x["plain"] / x["cycles"])):  # fmt: skip
            rows.append(Row("SnaPEA", SPECULATED, what, "x", value, 2.02, source, None, note))
    return rows


def prediction(found: dict[str, list[Trace]]) -> list[Row]:
    """Half of the bits first, or a quarter; the paper's number of bits is not known."""
    rows = []
    nets = {name: found[name] for name in ("lenet_digits", "alexnet")}
    for name, inputs in nets.items():
        for bits in (4, 2):
            each = [measured("prediction", trace, "predicted", f"engine.high_bits={bits}") for trace in inputs]
            values = [x["plain"] / x["cycles"] for x in each]
            wrong = 100 * mean(x["mispredicted"] / x["sums"] for x in each)
            note = (
                f"{len(values)} inputs, {min(values):.4g} to {max(values):.4g}; {bits} of 8 input bits first; "
                f"{wrong:.2f}% of the outputs are wrong; the paper's bits and array are not known"
            )
            what = "speed-up over all bits of all outputs"
            rows.append(Row("prediction", name, what, "x", mean(values), 2.5, USPE, None, note))
    return rows


def rows() -> list[Row]:
    """All comparisons."""
    with in_memory(), traces() as found:
        return [*snapea(found), *prediction(found)]


if __name__ == "__main__":
    main("Engines that do not finish every sum", rows)
