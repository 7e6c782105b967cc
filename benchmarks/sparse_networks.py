"""Networks at their published densities, for the scripts on sparse engines; operands that stay in memory."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

from validation_rows import references

from accelsim.engines.common import part
from accelsim.engines.common import sequences as steps
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan
from accelsim.workload.load import load_network
from accelsim.workload.trace import Trace, synthetic_trace

HAN = "Deep Compression / Han 2015"


@cache
def published(source: str, network: str, quantity: str) -> dict[str, float]:
    """Layer -> density, of densities_precisions.csv."""
    found = {}
    with (references() / "published" / "densities_precisions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["source_work"], row["network"], row["quantity"]) == (source, network, quantity):
                scale = 100 if row["unit"] == "%" else 1
                found[row["layer"]] = float(row["value"]) / scale
    return found


def han_trace(
    network: str, *, weights: bool = True, activations: bool = True, only: str = "", seed: int = 0, **settings: Any
) -> Trace:
    """AlexNet or VGG-16 as Han et al. (NIPS 2015, Tables 4 and 5) have pruned them.

    The inputs of a layer have the density of the outputs of the one before; those of the first are dense. Where
    `weights` or `activations` is false, these are dense. `only`: keep layers whose names begin so.
    """
    net = load_network(network)
    name = {"alexnet": "AlexNet", "vgg16": "VGG-16"}[network]
    kept, out = published(HAN, name, "weight_density"), published(HAN, name, "output_activation_density")
    layers = [layer.name for layer in net if layer.is_compute]
    per_layer: dict[str, dict[str, Any]] = {}
    before = 1.0
    for layer in layers:
        per_layer[layer] = {
            "weight_density": kept[layer] if weights else 1.0,
            "activation_density": before if activations else 1.0,
        }  # fmt: skip
        before = out[layer]
    return synthetic_trace(net, per_layer=per_layer, seed=seed, **settings)


#: Arrays are compared as the papers do, with operands that are there in time: so nothing waits for memory, and no
#: mapping is chosen to hide such a wait
UNBOUND = ("dram.bandwidth_bytes_per_s=1e15", "dram.fidelity=bandwidth")


def array_tables(arch: str, trace: Trace, *overrides: str, only: str = "conv") -> list[Any]:
    """Pass tables of the layers whose names begin with `only`."""
    plan = _Plan(load_arch(arch, [*UNBOUND, *overrides]), trace, None)
    return [table for table in plan.tables if table.macs and table.layer.startswith(only)]


def array_cycles(arch: str, trace: Trace, *overrides: str, only: str = "conv") -> int:
    """Cycles of the array in these layers."""
    return sum(int(t.rows["stream_cycles"].sum()) for t in array_tables(arch, trace, *overrides, only=only))


@contextmanager
def in_memory() -> Iterator[None]:
    """Operands are decoded once, however often a layer is lowered: what is left is the engine's own time."""
    kept = cache(part.operand_values.__wrapped__)
    with mock.patch.object(part, "operand_values", kept), mock.patch.object(steps, "operand_values", kept):
        yield
