"""PermDNN, ESE, sparse tensor cores, SparTen and SIGMA beside their published figures.

    python benchmarks/validate_sparse_other.py

Weights and inputs are drawn at the published densities. PermDNN and EIE are compared as its paper does: EIE projected
to 28 nm, 64 PEs at 1285 MHz.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sparse_networks import array_cycles
from validate_bitserial import BITS, ROOM, WHOLE, engine
from validation_rows import Row, main, references

import accelsim
from accelsim.base.units import ceil_div
from accelsim.engines.base import Task
from accelsim.sim.passes import PassTable
from accelsim.system.archspec import load_arch
from accelsim.workload.densities import published_densities
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.selection import select_layers
from accelsim.workload.trace import Trace, TraceWriter, synthetic_trace

Values = Any


def lowered(kind: str, fields: dict[str, Any], inputs: Values, weights: Values, folder: Path) -> PassTable:
    """A product (m, k) x (n, k) as one tile."""
    network = Network("net", [Node("x", Input(inputs.shape)), Node("fc", Linear(len(weights), bias=False), ("x",))])
    path = folder / f"{len(list(folder.iterdir()))}.trace"
    with TraceWriter(path, network, name="t") as writer:
        writer.add("fc", "ifmap", inputs.astype(np.int8), bits=8, signed=True)
        writer.add("fc", "filter", weights.astype(np.int8), bits=8, signed=True)
    task = Task(network["fc"], Trace.open(path), BITS, (ROOM,), {"all": 64}, pinned=WHOLE)
    return engine(kind, fields).lower(task)


def cycles(table: PassTable) -> int:
    """Of the array."""
    return int(table.rows["finish_cycles"].sum())


def drawn(rng: Any, shape: tuple[int, ...], density: float) -> Values:
    """0 and 1 at a density."""
    return (rng.random(shape) < density).astype(np.int8)


def diagonals(rng: Any, n: int, k: int, p: int) -> Values:
    """Ones on a random wrapped diagonal of each p x p block."""
    w = np.zeros((n, k), np.int8)
    offsets = rng.integers(0, p, (-(-n // p), -(-k // p)))
    for i in range(n):
        columns = np.arange(offsets.shape[1]) * p + (i + offsets[i // p]) % p
        w[i, columns[columns < k]] = 1
    return w


def table_of(name: str) -> dict[str, dict[str, Any]]:
    """Rows of a design in the densities' table: layer -> quantity -> value, and its shape."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    with (references() / "published" / "densities_precisions.csv").open() as file:
        for row in csv.DictReader(file):
            if row["source_work"] == name:
                found[row["layer"]][row["quantity"]] = float(row["value"])
                found[row["layer"]]["shape"] = row["layer_shape"]
    return dict(found)


# --- PermDNN ---


def permdnn_rows(folder: Path) -> list[Row]:
    """Speed over EIE, layer by layer; on EIE the unstructured layers of its own densities run, where they exist."""
    rng = np.random.default_rng(0)
    eie, made = table_of("EIE"), []
    for layer, own in table_of("PermDNN").items():
        if not layer.startswith("Alex"):
            continue
        k, n = (int(x) for x in own["shape"].split("->"))
        live = drawn(rng, (1, k), own["input_activation_density"] / 100)
        p = int(own["block_size_p"])
        ours = cycles(lowered("permdnn", {}, live, diagonals(rng, n, k, p), folder)) / 1.2e3
        other = eie[f"Alex-{layer[-1]}"]
        inputs = drawn(rng, (1, k), other["input_activation_density"] / 100)
        weights = drawn(rng, (n, k), other["weight_density"] / 100)
        theirs = cycles(lowered("eie", {}, inputs, weights, folder)) / 1.285e3
        note = f"{ours:.3g} us against {theirs:.3g} us; published: 3.3 to 4.8 over its layers; densities recalled"
        made.append(
            Row("PermDNN", layer, "speedup over EIE at 28 nm", "x", theirs / ours, 4.05,
                "MICRO 2018, middle of the range", None, note)
        )  # fmt: skip
    return made


def permdnn_peak() -> Row:
    """From the configuration alone."""
    arch = load_arch("permdnn")
    peak = 2 * arch.engine.peak_macs_per_cycle(arch.spec.bits()) * arch.spec.clock_hz / 1e9
    source = "MICRO 2018, as summaries quote it"
    return Row("PermDNN", "peak", "throughput on stored weights", "GOPS", peak, 614.4, source, 0.1)


# --- ESE ---

NOTES = {("W_ym", "real_time"): "the paper says nothing that would explain twice its lower bound"}


def balanced(rng: Any, n: int, k: int, density: float, pes: int) -> Values:
    """As many weights in the rows of each PE: load-balance-aware pruning."""
    w = np.zeros((n, k), np.int8)
    for pe in range(pes):
        own = np.zeros(len(range(pe, n, pes)) * k, np.int8)
        own[rng.choice(len(own), round(density * len(own)), replace=False)] = 1
        w[pe::pes] = own.reshape(-1, k)
    return w


def ese_times() -> dict[tuple[str, str], float]:
    """(matrix, metric) -> value."""
    with (references() / "published" / "results.csv").open() as file:
        return {
            (row["layer"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file)
            if row["accelerator"] == "ESE" and row["layer"]
        }


def ese_rows(folder: Path) -> list[Row]:
    """Lower bound and time of the LSTM's nine matrices, for 32 sequences."""
    rng, theirs, made = np.random.default_rng(0), ese_times(), []
    total, entries, size = 0.0, 0, 0
    for layer, own in table_of("ESE").items():
        n, k = (int(x) for x in own["shape"].split("x"))
        weights = balanced(rng, n, k, own["weight_density"] / 100, 32)
        table = lowered("ese", {}, np.ones((32, k), np.int8), weights, folder)
        bound, time = table.info["entries"] / 32 / 32 / 200, cycles(table) / 200
        total, entries, size = total + time, entries + table.info["entries"], size + n * k
        for quantity, ours in (("theoretical_time", bound), ("real_time", time)):
            note = NOTES.get((layer, quantity), "")
            if quantity == "theoretical_time":
                note = "published densities count padding zeros, which come on top here"
            elif n > bound * 200:
                note = "bound by results that leave one a cycle (assumed)"
            made.append(
                Row("ESE", layer, quantity.replace("_", " "), "us", ours, theirs[layer, quantity],
                    "FPGA 2017, Table 5, recalled", None, note)
            )  # fmt: skip
    note, source = "sum over the matrices; the paper's own nine rows add to 77.35 us", "FPGA 2017, Table 5"
    made.append(Row("ESE", "speech LSTM", "real time", "us", total, theirs["Total", "real_time"], source, None, note))
    rates = (
        ("throughput, stored weights", 2 * entries / total / 1e3, theirs["Total", "throughput"]),
        ("throughput, all weights", 2 * 32 * size / total / 1e3, 2520.0),
    )
    for what, ours, rate in rates:
        note = "32 sequences, two operations a weight; the error of the time, and padding zeros in the first row"
        made.append(Row("ESE", "speech LSTM", what, "GOPS", ours, rate, "FPGA 2017, abstract", None, note))
    return made


# --- tensor cores ---


def dual_rows(folder: Path) -> list[Row]:
    """Latency over that of dense operands, on a 1024 x 1024 x 1024 product with the published densities."""
    rng, side, made = np.random.default_rng(0), 1024, []
    fields = {"cores": 320}
    dense = cycles(lowered("dual_tensor_core", fields, *(np.ones((side, side), np.int8),) * 2, folder))
    with (references() / "sparse_bit" / "sparseloop_fig13_dstc.csv").open() as file:
        for row in csv.DictReader(file):
            a, b = float(row["A_density"]), float(row["B_density"])
            operands = drawn(rng, (side, side), a), drawn(rng, (side, side), b)
            ours = cycles(lowered("dual_tensor_core", fields, *operands, folder)) / dense
            chart = row["sparseloop_norm_latency_read_from_chart"]
            note = f"Sparseloop: {chart}" if chart else ""
            made.append(
                Row("dual-side tensor core", f"densities {a:g} and {b:g}", "latency over dense", "", ours,
                    float(row["published_norm_latency"]), "ISCA 2021, as quoted by Sparseloop (MICRO 2022)", None, note)
            )  # fmt: skip
    return made


def stc_rows(folder: Path) -> list[Row]:
    """2:4 cores beside Sparseloop's model of one, on the layers of its Figure 15: half, a third, a quarter of weights.

    Those of density 1 run dense on both.
    """
    made = []
    with (references() / "sparse_bit" / "sparseloop_fig15_stc.csv").open() as file:
        listed = [row for row in csv.DictReader(file) if row["design"].split("-")[0] in ("STC", "TC")]
    totals: dict[str, list[int]] = {"STC": [0, 0, 0, 0], "TC": [0, 0, 0, 0]}
    for row in listed:
        kind = row["design"].split("-")[0]
        # a matrix of M filters of K weights, N columns of inputs
        n, k, m = int(row["M"]), int(row["K"]), int(row["N"])
        weights = np.ones((n, k), np.int8)
        if kind == "STC" and float(row["weight_density"]) <= 0.5:
            weights[:, ::4], weights[:, 1::4] = 0, 0
        table = lowered("nm_tensor_core", {"latency": 0}, np.ones((m, k), np.int8), weights, folder)
        ours, theirs, total = cycles(table), int(float(row["cycles"])), totals[kind]
        totals[kind] = [total[0] + ours, total[1] + theirs, total[2] + (ours == theirs), total[3] + 1]
        for path in folder.iterdir():
            path.unlink()
    for kind, (ours, theirs, equal, count) in totals.items():
        name = "2:4 or dense weights" if kind == "STC" else "dense weights"
        made.append(
            Row("sparse tensor core", f"{count} layers, {name}", "cycles", "cycles", ours, theirs,
                "Sparseloop (MICRO 2022), Figure 15 data", 0.0, f"{equal} of {count} equal; 1024 products a cycle")
        )  # fmt: skip
    return made


# --- SparTen ---


def sparten_rows() -> list[Row]:
    """Over as many dense multipliers, over itself without sparse weights, and over SCNN: convolutions."""
    paper, rows = "MICRO 2019, abstract", []
    for network, densities in (("alexnet", "han2015"), ("vgg16", "scnn")):
        net = load_network(network)
        table = published_densities(densities, net)
        inputs = {layer: {"activation_density": of["activation_density"]} for layer, of in table.items()}
        both = accelsim.open_workload(network, densities=densities, only=["conv*"])
        one = select_layers(synthetic_trace(net, per_layer=inputs), ["conv*"])
        ours = array_cycles("sparten", both)
        dense = sum(ceil_div(layer.macs, 1024) for layer in net if layer.name.startswith("conv"))
        for other, theirs, cycles in (
            ("a dense array of 1024 multipliers, fully busy", 4.7, dense),
            ("the same with dense weights", 1.8, array_cycles("sparten", one)),
            ("SCNN of 1024 multipliers", 3.0, array_cycles("scnn", both)),
        ):
            note = f"densities of {densities}; the paper: AlexNet, VGG and GoogLeNet on average; its dense array waits"
            rows.append(
                Row("SparTen", network, f"speedup over {other}", "x", cycles / ours, theirs, paper, None, note)
            )
    return rows


# --- SIGMA ---

#: (m, n, k) of GNMT, DeepBench, Transformer and NCF, HPCA 2020, Figure 1; recalled, unverified. The two with more than
#: 50 000 columns are left out or cut
GEMMS = (
    (128, 2048, 4096), (2048, 4096, 32), (35, 8457, 2560), (84, 1024, 84), (2048, 1, 128), (256, 256, 2048),
    (1024, 16, 50000),
)  # fmt: skip


def systolic_cycles(m: int, n: int, k: int) -> int:
    """Of a 128 x 128 array that holds either operand: each fold is loaded, streamed and drained."""
    return min(ceil_div(k, 128) * ceil_div(held, 128) * (moved + 3 * 128 - 2) for held, moved in ((n, m), (m, n)))


def sigma_rows() -> list[Row]:
    """Over a systolic array of as many multipliers: geometric means."""
    rows = []
    for name, weights, inputs, theirs in (("dense", 1.0, 1.0, 2.0), ("sparse", 0.2, 0.7, 5.7)):
        logs = []
        for m, n, k in GEMMS:
            network = Network("gemm", [Node("x", Input((m, k))), Node("fc", Linear(n, bias=False), ("x",))])
            trace = synthetic_trace(network, weight_density=weights, activation_density=inputs)
            logs.append(math.log(systolic_cycles(m, n, k) / array_cycles("sigma", trace, only="fc")))
        note = (
            f"{len(GEMMS)} products, {math.exp(min(logs)):.3g} to {math.exp(max(logs)):.3g}; their shapes and "
            f"densities ({weights:g} and {inputs:g}) are recalled, unverified"
        )
        value = math.exp(sum(logs) / len(logs))
        source = "HPCA 2020, abstract" if name == "sparse" else "HPCA 2020, as A. Reid's notes on it say"
        what = "SIGMA", f"{name} products", "speedup over a systolic array", "x"
        rows.append(Row(*what, value, theirs, source, None, note))
    return rows


def rows() -> list[Row]:
    """All of them."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        first = [*permdnn_rows(here), permdnn_peak(), *ese_rows(here)]
        return [*first, *dual_rows(here), *stc_rows(here), *sparten_rows(), *sigma_rows()]


if __name__ == "__main__":
    main("PermDNN, ESE, sparse tensor cores, SparTen and SIGMA beside their published figures", rows)
