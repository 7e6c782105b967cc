"""Laws of the engines that skip zeros of both operands: effectual products, tiles that add up, operands refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.mapping.problem import Mapping
from accelsim.sim.passes import INTERNAL
from tests.engines.sparse_bench import MUCH, WHOLE, engine, layer_of, part_of, sparse, task_of

SMALL: dict[str, dict[str, Any]] = {
    "eie": {"pes": 4}, "ese": {"pes": 4, "dense": "allow"}, "scnn": {"pe_rows": 2, "pe_cols": 2},
    "sparten": {"clusters": 2, "units": 2, "chunk": 64}, "sigma": {"multipliers": 32, "bandwidth": 4},
    "dual_tensor_core": {"cores": 2, "tile": 8}, "permdnn": {"pes": 2, "multipliers": 2, "dense": "allow"},
    "nm_tensor_core": {"rows": 4, "cols": 4, "depth": 4, "dense": "allow"},
}  # fmt: skip
#: Engines that make no product with a zero
EXACT = ("eie", "sparten", "dual_tensor_core")


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("pin", [
    WHOLE, Mapping(2, 1, 2, MUCH, 2, 2, MUCH, MUCH, "nkm"), Mapping(1, 1, MUCH, MUCH, 3, 1, MUCH, MUCH, "mnk"),
])  # fmt: skip
def test_tiles_do_all_effectual_products_and_lose_no_cycle(kind: str, pin: Mapping, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, w = sparse(rng, (2, 6, 7, 6), 0.5, low=0), sparse(rng, (8, 3, 3, 3), 0.4)
    network, trace = layer_of(tmp_path / "t.trace", a, w, pad=1)
    built = engine(kind, **SMALL[kind])
    table = built.lower(replace(task_of(network, trace), pinned=pin))
    table.check()
    padded = np.pad(a != 0, ((0, 0), (0, 0), (1, 1), (1, 1)))
    effectual = 0
    for group in range(2):
        seen = np.lib.stride_tricks.sliding_window_view(padded[:, 3 * group : 3 * group + 3], (3, 3), axis=(2, 3))
        per_tap = (w[4 * group : 4 * group + 4] != 0).sum(0)
        effectual += int((seen.sum((0, 2, 3)) * per_tap).sum())
    assert table.effectual_macs == effectual
    if kind in EXACT:
        assert table.info["products"] == effectual
    else:
        assert table.info["products"] >= effectual
    rows = table.rows
    lost = sum(rows[f"{cause}_cycles"] for cause in INTERNAL)
    assert np.all(rows["busy_cycles"] + lost <= rows["finish_cycles"])
    assert np.all(rows["busy_cycles"] >= 0)


@pytest.mark.parametrize("kind", SMALL)
def test_operands_without_a_nonzero_take_next_to_no_time(kind: str, tmp_path: Path) -> None:
    network, trace = layer_of(tmp_path / "t.trace", np.zeros((2, 16), int), np.zeros((8, 16), int))
    table = engine(kind, **SMALL[kind]).lower(task_of(network, trace))
    if kind in EXACT:
        assert table.info["products"] == 0
    assert int(table.rows["finish_cycles"].sum()) < 300


@pytest.mark.parametrize("kind", ["eie", "scnn", "sparten", "sigma", "dual_tensor_core"])
def test_fewer_nonzeros_take_fewer_cycles(kind: str, tmp_path: Path) -> None:
    cycles = []
    for density in (0.1, 0.5, 1.0):
        rng = np.random.default_rng(2)
        a, w = sparse(rng, (4, 128), density, low=0), sparse(rng, (32, 128), density)
        network, trace = layer_of(tmp_path / f"{density}.trace", a, w)
        cycles.append(int(engine(kind, **SMALL[kind]).lower(task_of(network, trace)).rows["finish_cycles"].sum()))
    assert cycles[0] < cycles[1] < cycles[2]


def test_compressed_tiles_are_as_large_as_their_entries(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    w = sparse(rng, (40, 24), 0.2)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (1, 24), 0.5, low=0), w)
    built = engine("eie", pes=4)
    task = task_of(network, trace)
    entries = built.columns(part_of(task), built.tile(part_of(task))[1][0])[0]
    assert int(built.lower(task).rows["filter_bytes"].sum()) == int(entries.sum())  # 4 + 4 bits each
