"""SCNN beside DNNsim's runs on the same values, and beside its paper's speedups over a dense twin.

    python benchmarks/validate_scnn.py

The dense twin (DCNN in the paper) has as many multipliers in as many PEs on the same blocks of the plane; a PE makes a
dot product of 16 pairs in a cycle. Networks run with synthetic masks of their densities, which for AlexNet and for most
layers of GoogLeNet are not public; VGG-16's are read from the paper's Figure 1 by others.
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from sparse_speed_a import task, vgg16
from validate_bitserial import cycles, engine, reference_layers
from validation_rows import Row, main, references

import accelsim
from accelsim.base.units import ceil_div
from accelsim.workload.load import load_network
from accelsim.workload.network import Network
from accelsim.workload.shapes import ConvShape
from accelsim.workload.trace import Trace, synthetic_trace

PAPER = "ISCA 2017"
NETWORK_NOTE = "masks drawn from densities that others read from the paper's figure; nonzeros are not clustered"
SWEEP_NOTE = "all 54 convolutions of GoogLeNet's nine modules, masks drawn"


def scnn(network: Network, trace: Trace, layer: str, fields: dict[str, Any]) -> int:
    """Cycles of a layer on SCNN."""
    return cycles(engine("scnn", fields), network, trace, layer)


def dense_twin(shape: ConvShape) -> int:
    """Cycles of the dense twin: blocks of outputs on 8 x 8 PEs, dot products of 16."""
    block = ceil_div(shape.p, 8) * ceil_div(shape.q, 8)
    return shape.n * block * shape.m * ceil_div(shape.c // shape.g * shape.r * shape.s, 16)


def dnnsim_rows() -> list[Row]:
    """One row for each configuration: strides of 1, without halos; and halos."""
    with (references() / "sparse_bit" / "dnnsim_scnn_runs.csv").open() as file:
        runs = list(csv.DictReader(file))
    found = []
    groups = defaultdict(list)
    for run in runs:
        groups[run["config"]].append(run)
    with tempfile.TemporaryDirectory() as folder:
        layers = reference_layers(Path(folder))
        for config, group in groups.items():
            given = {key: int(value) for key, value in (pair.split("=") for pair in group[0]["params"].split(";"))}
            fields: dict[str, Any] = {
                "pe_cols": given["Wt"], "pe_rows": given["Ht"], "inputs": given["I"], "weights": given["F"],
                "banks": given["banks"], "accumulators": given["out_acc_size"], "barrier": "channel", "split": "padded",
                "halo": False,
            }  # fmt: skip
            slots = given["Wt"] * given["Ht"] * given["I"] * given["F"]
            for strided in (False, True):
                kept = [run for run in group if (run["Layer"] in ("conv4", "conv6")) == strided]
                ours = [scnn(*layers[run["Layer"]], "layer", fields) for run in kept]
                theirs = [int(run["cycles"]) - int(run["idle_halo"]) // slots for run in kept]
                equal = sum(x == y for x, y in zip(ours, theirs, strict=True))
                note = f"{equal} of {len(kept)} layers equal"
                if strided:
                    note += "; it pairs phases of inputs and weights wrongly where the padding is odd"
                name = f"{config}, strides of {2 if strided else 1}"
                found.append(
                    Row("SCNN", name, "cycles without halos", "cycles", sum(ours), sum(theirs),
                        "isakedo/DNNsim, run on the same values", None if strided else 0.0, note)
                )  # fmt: skip
    return found


def network_rows() -> list[Row]:
    """VGG-16 over its dense twin, with each of the choices on which public simulators differ."""
    network, trace, layers = vgg16()
    works = (network[name].work for name in layers)
    dense = sum(dense_twin(work) for work in works if isinstance(work, ConvShape))
    found = []
    for barrier, queue, split in (
        ("channel", 0, "padded"), ("channel", 0, "plane"), ("group", 0, "plane"), ("layer", 0, "plane"),
        ("group", 16, "plane"),
    ):  # fmt: skip
        ours = 0
        for name in layers:
            built = engine("scnn", {"barrier": barrier, "accumulator_queue": queue, "split": split})
            ours += int(built.lower(task(network, trace, name)).rows["stream_cycles"].sum())
        found.append(
            Row("SCNN", f"VGG-16, barrier at each {barrier}, queues of {queue}, {split} split",
                "speedup over the dense twin", "x", dense / ours, 3.52, f"{PAPER}, recalled", None, NETWORK_NOTE)
        )  # fmt: skip
    return found


def other_network_rows() -> list[Row]:
    """AlexNet's convolutions, and the two modules of GoogLeNet whose densities are known; without and with queues."""
    found = []
    for network, densities, only, theirs in (
        ("alexnet", "han2015", "conv", 2.37), ("googlenet", "scnn", "inception_3a", 2.19),
        ("googlenet", "scnn", "inception_5b", 2.19),
    ):  # fmt: skip
        trace = accelsim.open_workload(network, densities=densities)
        layers = [la for la in trace.network if la.name.startswith(only) and isinstance(la.work, ConvShape)]
        dense = sum(dense_twin(la.work) for la in layers if isinstance(la.work, ConvShape))
        for queue in (0, 16):
            built = engine("scnn", {"accumulator_queue": queue})
            ours = sum(
                int(built.lower(task(trace.network, trace, la.name)).rows["stream_cycles"].sum()) for la in layers
            )
            note = f"densities of {densities}" + ("; the paper: all nine modules" if network == "googlenet" else "")
            found.append(
                Row("SCNN", f"{network} {only}, queues of {queue}", "speedup over the dense twin", "x", dense / ours,
                    theirs, f"{PAPER}, recalled", None, note)
            )  # fmt: skip
    return found


@cache
def sweep(queue: int = 0) -> dict[float, float]:
    """Density of both operands -> speedup over the dense twin, on the convolutions of GoogLeNet's nine modules."""
    network, found = load_network("googlenet"), {}
    works = {la.name: la.work for la in network if la.name.startswith("inception") and isinstance(la.work, ConvShape)}
    dense = sum(dense_twin(work) for work in works.values())
    for tenth in range(1, 11):
        trace = synthetic_trace(network, weight_density=tenth / 10, activation_density=tenth / 10)
        sparse = sum(scnn(network, trace, name, {"accumulator_queue": queue}) for name in works)
        found[tenth / 10] = dense / sparse
    return found


def sweep_rows() -> list[Row]:
    """The ends of the sweep, and where the twin is as fast."""
    found = []
    for queue in (0, 16):
        speed = sweep(queue)
        below, above = max(d for d in speed if speed[d] >= 1), min(d for d in speed if speed[d] < 1)
        share = (speed[below] - 1) / (speed[below] - speed[above])
        cross = below + share * (above - below)
        found += [
            (f"density 1.0, queues of {queue}", "performance over the dense twin", "", speed[1.0], 0.79),
            (f"density 0.1, queues of {queue}", "speedup over the dense twin", "x", speed[0.1], 24.0),
            (f"density sweep, queues of {queue}", "density at which both are as fast", "", cross, 0.85),
        ]
    return [Row("SCNN", *row, f"{PAPER}, Figure 7, recalled", None, SWEEP_NOTE) for row in found]


def rows() -> list[Row]:
    """All of them."""
    return [*dnnsim_rows(), *network_rows(), *other_network_rows(), *sweep_rows()]


if __name__ == "__main__":
    main("SCNN beside its paper and a public simulator", rows)
