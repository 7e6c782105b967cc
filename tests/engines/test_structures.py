"""Structures that recipes prune: what each engine makes of single weights, vectors, blocks, kernels and filters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from accelsim.compress.run import compress
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import _Plan, simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input
from accelsim.workload.trace import Trace, synthetic_trace

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="layers as wholes, a minute without the compiler"
)

ENGINES = ("cambricon_x", "cambricon_s", "column_combining", "eie", "scnn", "sparten", "sparse_tensor_core", "permdnn")
PRUNE: dict[str, Any] = {"step": "prune", "density": 0.25}
STEPS: dict[str, Any] = {
    "dense": None, "single": PRUNE, "vector": {**PRUNE, "grain": "block", "block": [1, 16, 1, 1]},
    "block": {**PRUNE, "grain": "block", "block": [16, 1, 1, 1]}, "filter": {**PRUNE, "grain": "filter"},
    "nm": {"step": "prune_nm", "n": 1, "m": 4}, "diagonal": {"step": "permuted_diagonal", "p": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Structure -> engine -> cycles over those of dense weights; a quarter of the weights stays."""
    network = Network("one", [Node("x", Input((1, 64, 6, 6))), Node("conv", Conv(128, (3, 3), 1, 1), ("x",))])
    folder, found = tmp_path_factory.mktemp("traces"), {}
    for name, step in STEPS.items():
        steps = [*([step] if step else []), {"step": "uniform", "bits": 8}, {"step": "describe", "only_missing": True}]
        path: Path = folder / f"{name}.trace"
        compress(network, "laplace", {"name": "s", "steps": steps}, path)
        trace = Trace.open(path)
        filters = trace.operand("conv", "filter")
        assert filters is not None and (name == "dense" or 0.22 < filters.density < 0.26)
        found[name] = {kind: _cycles(kind, trace) for kind in ENGINES}
    return {name: {kind: of[kind] / found["dense"][kind] for kind in ENGINES} for name, of in found.items()}


def _cycles(kind: str, trace: Trace) -> int:
    arch = load_arch(kind, ["dram.bandwidth_bytes_per_s=1e15", "engine.dense=allow"])
    return sum(int(t.rows["stream_cycles"].sum()) for t in _Plan(arch, trace, None).tables if t.macs)


@pytest.mark.parametrize(
    ("kind", "gains", "not_from"),
    [
        ("cambricon_x", ("single", "vector", "block", "nm", "diagonal"), ()),
        ("cambricon_s", ("block",), ("single", "filter", "nm", "diagonal")),
        ("column_combining", ("block",), ("filter",)),  # the step of that name makes room for the others
        ("eie", ("single", "vector", "block", "nm"), ()),
        ("scnn", ("single", "vector", "block", "filter", "nm"), ()),
        ("sparten", ("single", "vector", "block", "filter", "nm", "diagonal"), ()),
        ("sparse_tensor_core", ("nm",), ("single", "vector", "block", "filter")),
    ],
)
def test_what_an_engine_gains_from(
    kind: str, gains: tuple[str, ...], not_from: tuple[str, ...], shares: dict[str, dict[str, float]]
) -> None:
    share = {name: of[kind] for name, of in shares.items()}
    assert all(share[name] < 0.75 for name in gains), share
    assert all(share[name] > 0.9 for name in not_from), share


def test_coarse_blocks_suit_shared_indexes(shares: dict[str, dict[str, float]]) -> None:
    assert shares["block"]["cambricon_s"] <= shares["block"]["cambricon_x"] + 0.05
    assert shares["single"]["cambricon_x"] < 0.4 < 0.9 < shares["single"]["cambricon_s"]


def test_no_structure_is_slower_than_dense_weights(shares: dict[str, dict[str, float]]) -> None:
    assert all(of[kind] <= 1.0 for of in shares.values() for kind in ENGINES)


@pytest.mark.parametrize("node", [Conv(1, 1), Conv(3, 3, pad=1, groups=3), Conv(2, 1, groups=1)])
def test_weights_that_are_all_zero_have_blocks_no_larger_than_themselves(node: Conv) -> None:
    network = Network("one", [Node("x", Input((1, node.groups, 4, 4))), Node("conv", node, ("x",))])
    result = simulate(load_arch("permdnn"), synthetic_trace(network, weight_density=0.0))
    assert result.layers[0].info["block_side"] <= max(1, node.channels // node.groups)
