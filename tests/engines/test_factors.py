"""Decomposed layers on dense engines: the chain of products computes the layer, and costs what its products cost."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.engines.common.factors import products
from accelsim.engines.kernels.train_stages import Train
from accelsim.system.archspec import load_arch
from accelsim.system.result import LayerResult
from accelsim.system.simulate import simulate
from accelsim.workload.cores import add_cores
from accelsim.workload.decomposed import Decomposed, decomposed
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Recurrent
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.trace import Trace, TraceWriter

CONV = Network("conv", [Node("x", Input((1, 6, 8, 8))), Node("fc", Conv(8, 3, 1, 1, bias=False), ("x",))])


def linear(rows: int = 3, inputs: int = 48, outputs: int = 64) -> Network:
    return Network("linear", [Node("x", Input((rows, inputs))), Node("fc", Linear(outputs, bias=False), ("x",))])


GROUPED = Network("grouped", [Node("x", Input((1, 6, 8, 8))), Node("fc", Conv(8, 3, 1, 1, groups=2), ("x",))])

CASES: dict[str, tuple[Network, str, dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "svd": (linear(), "svd", {"left": (64, 5), "sigma": (5,), "right": (5, 48)}, {"rank": 5}),
    "cur": (linear(), "cur", {"columns": (64, 5), "middle": (5, 5), "rows": (5, 48)}, {"rank": 5}),
    "svd conv, groups": (GROUPED, "svd", {"left": (8, 4), "sigma": (4,), "right": (4, 27)}, {"rank": 4}),
    "tucker conv, groups": (
        GROUPED, "tucker", {"kernel": (5, 2, 9), "factor0": (8, 5), "factor1": (3, 2), "factor2": (9, 9)},
        {"row_modes": [8, 1, 1], "column_modes": [1, 3, 9], "ranks": [5, 2, 9]},
    ),
    "cp conv, groups": (
        GROUPED, "cp", {"weights": (7,), "factor0": (8, 7), "factor1": (3, 7), "factor2": (9, 7)},
        {"row_modes": [8, 1, 1], "column_modes": [1, 3, 9], "ranks": [7]},
    ),
    "svd conv": (CONV, "svd", {"left": (8, 4), "sigma": (4,), "right": (4, 54)}, {"rank": 4}),
    "tucker conv": (
        CONV, "tucker", {"kernel": (5, 3, 9), "factor0": (8, 5), "factor1": (6, 3), "factor2": (9, 9)},
        {"row_modes": [8, 1, 1], "column_modes": [1, 6, 9], "ranks": [5, 3, 9]},
    ),
    "cp conv": (
        CONV, "cp", {"weights": (7,), "factor0": (8, 7), "factor1": (6, 7), "factor2": (9, 7)},
        {"row_modes": [8, 1, 1], "column_modes": [1, 6, 9], "ranks": [7]},
    ),
    "tt": (
        linear(), "tt", {"core0": (1, 4, 2, 3), "core1": (3, 4, 6, 4), "core2": (4, 4, 4, 1)},
        {"row_modes": [4, 4, 4], "column_modes": [2, 6, 4], "ranks": [1, 3, 4, 1]},
    ),
    "ring": (
        linear(), "ring", {"core0": (2, 8, 6, 3), "core1": (3, 8, 8, 2)},
        {"row_modes": [8, 8], "column_modes": [6, 8], "ranks": [2, 3, 2]},
    ),
    "tt conv": (
        CONV, "tt", {"core0": (1, 2, 2, 3), "core1": (3, 4, 3, 2), "core2": (2, 1, 9, 1)},
        {"row_modes": [2, 4, 1], "column_modes": [2, 3, 9], "ranks": [1, 3, 2, 1]},
    ),
}  # fmt: skip


def traced(folder: Path, case: str, other: Network | None = None) -> Trace:
    network, kind, shapes, meta = CASES[case]
    network = other or network
    random = np.random.Generator(np.random.Philox(5))
    cores = {name: random.integers(-3, 4, shape) for name, shape in shapes.items()}
    with TraceWriter(folder / "net.trace", network, name=case) as writer:
        add_cores(writer, "fc", "filter", kind, cores, meta, shape=network["fc"].weights["filter"], bits=8)
    return Trace.open(folder / "net.trace")


def weights_of(trace: Trace) -> Decomposed:
    operand = trace.operand("fc", "filter")
    assert operand is not None
    return decomposed(operand)


def run(trace: Trace, arch: str = "systolic_os_32", *sets: str) -> LayerResult:
    ideal = ("dram.fidelity=ideal", *sets)
    return simulate(load_arch(arch, ideal), trace).layers[0]


@pytest.mark.parametrize("case", CASES)
def test_macs_and_weights_are_those_of_the_factors(tmp_path: Path, case: str) -> None:
    trace = traced(tmp_path, case)
    work = trace.network["fc"].work
    assert isinstance(work, ConvShape | GemmShape)
    chain = products(weights_of(trace), work)
    layer = run(trace, "systolic_os_32", "mapping.factors=contract")
    assert layer.macs == sum(product.shape.macs for product in chain)
    assert layer.counts["mac", "mac_8x8"] == layer.macs
    assert chain[-1].results == work.m * work.n if isinstance(work, GemmShape) else 8 * 64
    moved = sum(product.moved for product in chain)
    assert layer.info["moved_elements"] == moved
    assert layer.counts.get(("vector_unit", "op"), 0) == moved
    # a product's weights come once or more, its data stay
    assert layer.dram_bytes["filter"] >= sum(product.weights for product in chain)
    assert layer.dram_bytes["psum_out"] == layer.dram_bytes["psum_in"] == 0
    whole = run(trace)
    assert whole.macs == trace.network["fc"].macs


def test_cycles_are_those_of_the_products_alone(tmp_path: Path) -> None:
    """Each product as a layer of its own takes the same array cycles; the moves take one lane and cycle an element."""
    trace = traced(tmp_path, "tt")
    layer = run(trace, "systolic_os_32", "mapping.factors=contract")
    work = trace.network["fc"].work
    assert isinstance(work, GemmShape)
    for product, cycles in zip(products(weights_of(trace), work), layer.info["product_cycles"], strict=True):
        assert isinstance(product.shape, GemmShape)
        alone = linear(product.shape.m, product.shape.k, product.shape.n)
        with TraceWriter(tmp_path / "one.trace", alone, name="one") as writer:
            writer.add("fc", "filter", np.ones((product.shape.n, product.shape.k), np.int64), bits=8)
        assert run(Trace.open(tmp_path / "one.trace")).cycles_by_cause["compute"] == cycles
    lanes = sum(-(-product.moved // 32) for product in products(weights_of(trace), work))
    assert layer.cycles_by_cause["compute"] == sum(layer.info["product_cycles"]) + lanes


def conv(x: NDArray[Any], w: NDArray[Any], pad: int, groups: int = 1) -> NDArray[Any]:
    """(C, H, W) with (M, C / groups, R, S) at stride 1."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    (m, c, r, s), (p, q) = w.shape, (x.shape[1] - w.shape[2] + 1, x.shape[2] - w.shape[3] + 1)
    out = np.zeros((m, p, q))
    for f in range(m):
        base = f // (m // groups) * c
        for ch, i, j in np.ndindex(c, r, s):
            out[f] += w[f, ch, i, j] * x[base + ch, i : i + p, j : j + q]
    return out


@pytest.mark.parametrize("case", [name for name in CASES if "conv" in name and not name.startswith("tt")])
def test_the_chain_is_the_convolution(tmp_path: Path, case: str) -> None:
    trace = traced(tmp_path, case)
    weights, x = weights_of(trace), np.random.Generator(np.random.Philox(3)).integers(-4, 5, (6, 8, 8))
    operand, cores = trace.operand("fc", "filter"), {k: v.astype(float) for k, v in weights.cores.items()}
    assert operand is not None
    work = trace.network["fc"].work
    assert isinstance(work, ConvShape)
    chain = [p.shape for p in products(weights, work)]
    if case.startswith("svd"):
        filters = [cores["right"], cores["left"] * cores["sigma"]]
    elif case.startswith("cp"):
        filters = [cores["factor1"].T, cores["factor2"].T, cores["factor0"] * cores["weights"]]
    else:
        filters = [cores["factor1"].T, np.tensordot(cores["kernel"], cores["factor2"], (2, 1)), cores["factor0"]]
    value = x.astype(float)
    for shape, matrix in zip(chain, filters, strict=True):
        assert isinstance(shape, ConvShape)
        # all groups use the same factors, but for the last one, whose rows are outputs
        every = np.tile(matrix, (shape.m // matrix.shape[0], *[1] * (matrix.ndim - 1)))
        value = conv(value, every.reshape(shape.m, shape.c // shape.g, shape.r, shape.s), shape.pad[0], shape.g)
    assert np.array_equal(value, conv(x, operand.values(), 1, work.g))


@pytest.mark.parametrize("case", ["tt", "ring"])
def test_the_chain_of_a_train_is_its_product(tmp_path: Path, case: str) -> None:
    """Products with the elements in the places that `Stage.sources` gives; the moves are what lies between them."""
    trace = traced(tmp_path, case)
    weights, operand = weights_of(trace), trace.operand("fc", "filter")
    assert operand is not None
    train = Train(weights.row_modes, weights.column_modes, weights.ranks)
    x = np.random.Generator(np.random.Philox(3)).integers(-4, 5, prod(train.columns))
    modes, d = train.columns, len(train.columns)
    value = x.reshape(modes).transpose([d - 1, *reversed(range(d - 1))]).reshape(modes[-1], -1).astype(float)
    for stage in train.stages:
        row, column = stage.sources(1)
        inputs = value[row, column].T
        core = weights.cores[f"core{stage.core}"].astype(float)
        if stage.core == d - 1:
            matrix = core.transpose(0, 3, 1, 2)
        elif stage.core == 0:
            matrix = core.transpose(1, 2, 0, 3)
        else:
            matrix = core
        value = matrix.reshape(stage.rows, stage.inner) @ inputs
    found = value.reshape(train.rows[0], *reversed(train.rows[1:])).transpose([0, *reversed(range(1, d))]).ravel()
    assert np.array_equal(found, operand.values() @ x)


def test_what_does_not_fit_goes_to_dram(tmp_path: Path) -> None:
    trace = traced(tmp_path, "tt")
    here = run(trace, "systolic_os_32", "mapping.factors=contract")
    assert here.dram_bytes["ifmap"] == 3 * 48 and here.dram_bytes["ofmap"] == 3 * 64
    small = run(trace, "systolic_os_32", "mapping.factors=contract", "buffers.ofmap_buffer.capacity_bytes=700")
    assert small.dram_bytes["ofmap"] > 3 * 64 and small.dram_bytes["ifmap"] > 3 * 48


def test_every_dense_engine(tmp_path: Path) -> None:
    trace = traced(tmp_path, "tt")
    macs = run(trace, "systolic_os_32", "mapping.factors=contract").macs
    for arch in ("systolic_ws_32", "systolic_is_32", "tpu_v1", "eyeriss"):
        assert run(trace, arch, "mapping.factors=contract").macs == macs


def lstm(folder: Path, directions: int = 1) -> Trace:
    """Inputs of rank 2; states as a train in one direction, a matrix in two."""
    rows = 16 * directions
    network = Network("lstm", [Node("x", Input((2, 3, 8))), Node("rnn", Recurrent("lstm", 4, directions), ("x",))])
    with TraceWriter(folder / "lstm.trace", network, name="lstm") as writer:
        ones = {"left": np.ones((rows, 2), int), "sigma": np.ones(2, int), "right": np.ones((2, 8), int)}
        add_cores(writer, "rnn", "filter", "svd", ones, {"rank": 2}, shape=(rows, 8), bits=8)
        if directions == 1:
            meta = {"row_modes": [4, 4], "column_modes": [2, 2], "ranks": [1, 3, 1]}
            cores = {"core0": np.ones((1, 4, 2, 3), int), "core1": np.ones((3, 4, 2, 1), int)}
            add_cores(writer, "rnn", "recurrent", "tt", cores, meta, shape=(16, 4), bits=8)
    return Trace.open(folder / "lstm.trace")


def test_gates_of_an_lstm(tmp_path: Path) -> None:
    trace = lstm(tmp_path)
    layer = run(trace, "systolic_os_32", "mapping.factors=contract")
    train = Train((4, 4), (2, 2), (1, 3, 1))
    assert layer.macs == 6 * (2 * 8 + 2 * 16) + 6 * train.macs
    assert layer.counts["mac", "mac_8x8"] == layer.macs
    moved = sum(6 * stage.rows * stage.columns for stage in train.stages)
    assert layer.info["moved_elements"] == moved
    ops = trace.network["rnn"].work.unit_ops * 2 * 4 * 3  # type: ignore[union-attr]
    assert layer.counts["vector_unit", "op"] == moved + ops
    # the factors come once, the states leave once; 6 x 2 results of `right` go round, as the buffers are apart
    assert layer.dram_bytes["filter"] == 2 * (8 + 16) + train.elements
    assert layer.dram_bytes["ofmap"] == 2 * 3 * 4 + 12 and layer.dram_bytes["psum_in"] == 0
    small = run(trace, "systolic_os_32", "mapping.factors=contract", "buffers.psum_buffer.capacity_bytes=384")
    assert small.dram_bytes["psum_in"] == 2 * 3 * 16
    assert small.dram_bytes["ofmap"] == 2 * 3 * 4 + 12 + 2 * 3 * 16
    # without enough room for all factors they come in every step
    tight = run(trace, "systolic_os_32", "mapping.factors=contract", "buffers.filter_buffer.capacity_bytes=40")
    assert tight.dram_bytes["filter"] == 2 * (8 + 16) + 3 * train.elements
    alone = run(trace)
    assert alone.macs == 6 * 16 * (8 + 4)


MANY = """
extends: systolic_os_32
name: many
source: test
engine: {rows: 2, cols: 2}
dram: {fidelity: ideal}
cores: {count: 4, hubs: [4]}
noc: {topology: mesh, columns: 5, rows: 1, flit_bytes: 64}
"""


@pytest.mark.parametrize("case", ["svd", "tt", "cp conv"])
def test_images_are_divided_among_cores(tmp_path: Path, case: str) -> None:
    """Every core contracts its own images; factors come once for all of them."""
    images = 6 if case != "cp conv" else 1
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    trace = traced(tmp_path, case, linear(images) if images > 1 else None)
    one = run(trace, "systolic_os_32", "mapping.factors=contract")
    layer = simulate(load_arch(path, ("mapping.factors=contract",)), trace).layers[0]
    assert layer.macs == one.macs
    assert layer.info["cores"] == (3 if images > 1 else 1)  # equal parts of six images
    assert layer.dram_bytes["filter"] == one.dram_bytes["filter"]
    assert layer.info.get("moved_elements", 0) * layer.info["cores"] == one.info.get("moved_elements", 0)
    pin = "cores.partition=[{outputs: 2}]"
    with pytest.raises(ConfigError, match="layer fc: mapping.factors=contract divides a layer among cores by images"):
        simulate(load_arch(path, ("mapping.factors=contract", pin)), trace)


def test_refusals(tmp_path: Path) -> None:
    weights = weights_of(traced(tmp_path, "tt"))
    with pytest.raises(ConfigError, match="layer x: a tt of a layer of 2 groups cannot be run core by core"):
        products(weights, GemmShape(1, 64, 48, 2), "layer x")
    tucker = replace(weights_of(traced(tmp_path, "tucker conv")), row_modes=(8, 1, 1), column_modes=(2, 3, 9))
    with pytest.raises(ConfigError, match=r"layer x: factors of tucker with modes .* cannot be run as products"):
        products(tucker, ConvShape(1, 6, 8, 8, 8, 3, 3), "layer x")
    with pytest.raises(ConfigError, match="layer rnn: mapping.factors=contract runs recurrent layers of one direction"):
        run(lstm(tmp_path, directions=2), "systolic_os_32", "mapping.factors=contract")
