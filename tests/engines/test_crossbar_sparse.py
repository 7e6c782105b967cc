"""Operation units that are left out, packed matrices, and arithmetic in memory arrays, against plain counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.engines.base import Task
from accelsim.engines.common.part import Part
from accelsim.engines.crossbars.math import Cells
from accelsim.engines.crossbars.packing import pack
from accelsim.engines.crossbars.sparse import units_of_product, work_of_product, work_of_tile
from accelsim.engines.insitu import add_cycles, multiply_cycles, nor_add, reduce_cycles
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Recurrent
from accelsim.workload.trace import synthetic_trace


def counted(x: Any, w: Any, bits: int, wbits: int, rows: int, columns: int, active: tuple[int, int], skip: str) -> Any:
    """Units one after another: every crossbar, vector, bit, column group; rows are collected in groups as they live."""
    slices = -(-(wbits - 1) // 2)
    found = []
    for vector in x:
        line = []
        for r0 in range(0, w.shape[0], rows):
            for c0 in range(0, w.shape[1], columns):
                cells = [
                    [(abs(int(v)) >> (2 * s)) & 3 for v in row[c0 : c0 + columns] for s in range(slices)]
                    for row in w[r0 : r0 + rows]
                ]
                units = 0
                for bit in range(bits):
                    for g in range(0, len(cells[0]), active[1]):
                        group = 0
                        for i, row in enumerate(cells):
                            dead_w = skip in ("weights", "both") and not any(row[g : g + active[1]])
                            dead_x = skip in ("inputs", "both") and not (int(vector[r0 + i]) >> bit) & 1
                            group += not (dead_w or dead_x)
                        units += -(-group // active[0])
                line.append(units)
        found.append(line)
    return np.array(found)


@given(
    st.integers(1, 20), st.integers(1, 6), st.integers(1, 9), st.integers(1, 3), st.integers(1, 5), st.integers(1, 6),
    st.sampled_from(["none", "weights", "inputs", "both"]), st.floats(0, 1), st.integers(0, 2**31),
)  # fmt: skip
@settings(deadline=None, derandomize=True, max_examples=60)
def test_units_are_those_of_a_plain_count(
    k: int, n: int, rows: int, columns: int, active_rows: int, active_cols: int, skip: str, density: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    w = random.integers(-15, 16, (k, n)) * (random.random((k, n)) < density)
    x = random.integers(0, 16, (3, k)) * (random.random((3, k)) < density)
    cells = Cells(active_rows, 2, 5, 4, 1, 8, "differential", False)
    ours = units_of_product(x, w, cells, rows, columns, (active_rows, active_cols), skip)
    assert np.array_equal(ours, counted(x, w, 4, 5, rows, columns, (active_rows, active_cols), skip))
    work = work_of_product(x, w, cells, rows, columns, (active_rows, active_cols), skip)
    assert work.reads == ours.sum() and work.driven <= work.reads * active_rows
    assert work.conversions <= 2 * work.reads * active_cols
    if skip == "none":  # every row drives every column group, and every column is converted for every group of rows
        blocks_ = [(min(rows, k - r), 2 * min(columns, n - c)) for r in range(0, k, rows) for c in range(0, n, columns)]
        assert work.driven == 3 * 4 * sum(r * -(-c // active_cols) for r, c in blocks_)
        assert work.conversions == 3 * 4 * sum(-(-r // active_rows) * 2 * c for r, c in blocks_)


def test_skipping_never_takes_longer_and_both_is_best() -> None:
    network = Network("n", [Node("x", Input((1, 16, 6, 6))), Node("c", Conv(24, 3, 1, 1, bias=False), ("x",))])
    cycles: dict[tuple[str, float], int] = {}
    for density in (1.0, 0.5, 0.1):
        trace = synthetic_trace(network, weight_density=density, activation_density=density, input_density=density)
        for skip in ("none", "weights", "inputs", "both"):
            layer = simulate(load_arch("sparse_reram", [f"engine.skip={skip}"]), trace).layers[0]
            cycles[skip, density] = layer.cycles_by_cause["compute"]
    for density in (1.0, 0.5, 0.1):
        assert cycles["both", density] <= min(cycles["weights", density], cycles["inputs", density])
        assert max(cycles["weights", density], cycles["inputs", density]) <= cycles["none", density]
    for skip in ("weights", "inputs", "both"):
        assert cycles[skip, 0.1] <= cycles[skip, 0.5] <= cycles[skip, 1.0]
    assert cycles["none", 0.1] == cycles["none", 1.0]


def test_skipping_saves_energy_as_it_saves_time() -> None:
    network = Network("n", [Node("x", Input((1, 16, 6, 6))), Node("c", Conv(24, 3, 1, 1, bias=False), ("x",))])
    trace = synthetic_trace(network, weight_density=0.2, activation_density=0.3, input_density=0.3)
    none, both = (simulate(load_arch("sparse_reram", [f"engine.skip={s}"]), trace) for s in ("none", "both"))
    for key in (("adc", "convert"), ("crossbar", "read"), ("dac", "convert"), ("shift_add", "op")):
        assert 0 < 2 * both.counts()[key] < none.counts()[key]


@pytest.mark.parametrize("skip", ["weights", "inputs", "both"])
def test_recurrent_layers_skip_too(skip: str) -> None:
    network = Network("n", [Node("x", Input((2, 5, 24))), Node("l", Recurrent("lstm", 16), ("x",))])
    trace = synthetic_trace(network, weight_density=0.1, activation_density=0.3, input_density=0.3)
    none, some = (simulate(load_arch("sparse_reram", [f"engine.skip={s}"]), trace) for s in ("none", skip))
    assert some.layers[0].cycles_by_cause["compute"] < 0.9 * none.layers[0].cycles_by_cause["compute"]
    assert some.counts()["adc", "convert"] < 0.9 * none.counts()["adc", "convert"]


def test_crossbars_without_room_take_further_rounds() -> None:
    """Four crossbars of a layer in a core of two: each product waits for the slowest of either round."""
    network = Network("n", [Node("x", Input((3, 256))), Node("l", Linear(32, bias=False), ("x",))])
    trace = synthetic_trace(network, weight_bits=16, activation_bits=16, weight_density=0.1, input_density=0.2)
    arch = load_arch("sparse_reram", ["engine.arrays=2"])
    task = Task(trace.network["l"], trace, dict(arch.spec.bits()), arch.spec.rooms(), {})
    part = Part(task, trace.network["l"].work)  # type: ignore[arg-type]
    tile = {"group0": 0, "groups": 1, "output0": 0, "n": 32, "channel0": 0, "k": 256, "image0": 0, "m": 3}
    two, _ = work_of_tile(arch.engine, part, tile)  # type: ignore[arg-type]
    x, w = part.ifmap()[0], part.filters()[0].T
    cells = arch.engine.spec.cells(16, 16, part.signed("ifmap"))
    units = units_of_product(x, w, cells, 128, 8, (16, 8), "both")
    assert units.shape == (3, 8)  # 8 weights of 16 cells are as wide as a crossbar
    assert two.tolist() == sum(np.maximum(units[:, a : a + 2].max(1), 1) for a in range(0, 8, 2)).tolist()


@given(
    st.integers(1, 30), st.integers(1, 12), st.integers(1, 8), st.integers(1, 4), st.floats(0, 1), st.integers(0, 99)
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_packed_matrices_hold_every_nonzero(
    k: int, n: int, rows: int, columns: int, density: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    w = (random.random((k, n)) < density).astype(int)
    w[random.random(k) < 0.3] = 0
    dense, lines, blocks = (pack(w, rows, columns, how) for how in ("none", "lines", "blocks"))
    assert dense.units == -(-k // rows) * -(-n // columns) and dense.weights == k * n
    kept = w[w.any(1)][:, w.any(0)]
    assert lines.weights == kept.size
    assert lines.units == -(-kept.shape[0] // rows) * -(-kept.shape[1] // columns)
    live = w[:, w.any(0)]
    plain = [int(live[:, c : c + columns].any(1).sum()) for c in range(0, live.shape[1], columns)]
    assert blocks.units == sum(-(-r // rows) for r in plain) and blocks.rows == sum(plain)
    assert np.count_nonzero(w) <= blocks.weights <= lines.weights <= dense.weights
    assert blocks.units <= lines.units <= dense.units


def test_packing_takes_fewer_crossbars_and_programs_fewer_cells() -> None:
    network = Network("n", [Node("x", Input((1, 64, 6, 6))), Node("c", Conv(64, 3, 1, 1, bias=False), ("x",))])
    sparse = synthetic_trace(network, weight_density=0.002, weight_bits=16, activation_bits=16)
    found = {
        pack_: simulate(load_arch(name, [f"engine.pack={pack_}"]), sparse).layers[0]
        for name, pack_ in (("recom", "none"), ("recom", "lines"), ("snrram", "blocks"))
    }
    writes = [found[p].counts["cell", "write"] for p in ("none", "lines", "blocks")]
    assert writes[0] == 64 * 64 * 9 * 8 and writes == sorted(writes, reverse=True) and writes[2] < writes[1]
    bars = [found[p].info["crossbars"] / found[p].info["copies"] for p in ("none", "lines", "blocks")]
    assert found["blocks"].info["copies"] > found["none"].info["copies"], bars


@given(st.integers(1, 12), st.integers(0, 2**31))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_nor_rows_add(bits: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 2**bits, (2, 20))
    planes = [np.array([(v >> i) & 1 for i in range(bits)], bool) for v in (a, b)]
    total, rows = nor_add(*planes)
    assert np.array_equal(sum(p.astype(int) << i for i, p in enumerate(total)), a + b)
    assert rows == add_cycles("drisa", bits) == 9 * bits


def test_published_row_cycles() -> None:
    assert add_cycles("neural_cache", 8) == 9
    assert multiply_cycles("neural_cache", 8) == 102
    assert add_cycles("scope", 32) == 4 and multiply_cycles("scope", 8) == 3 * 256
    assert reduce_cycles("neural_cache", 24, 1) == 0
    assert reduce_cycles("neural_cache", 24, 256) == 8 * (24 + 25)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.adc_bits=4", r"adc_bits=4 clips every output: a column of 128 rows sums to 96 on average"),
        ("engine.active_rows=200", r"active_rows and active_cols must be <= rows and cols \(128, 128\), got 200"),
        ("engine.skip=inputs", "skip needs operation units: give active_rows and active_cols"),
        ("engine.skip=both", "skipping weights needs encoding: differential, whose zero weights are zero cells"),
        ("engine.encoding=binary", "binary needs weight_bits, input_bits and cell_bits of 1"),
        ("engine.cols=4", "a weight of 16 bits takes 8 cells, which must fit 4 columns of one array"),
        ("engine.rows=0", "engine.rows: must be >= 1, got 0"),
        ("cores.resident_weights=false", "schedule: placed needs resident_weights: true"),
        ("cores.phase_cycles=5", "schedule: placed finds its own places"),
    ],
)
def test_wrong_parameters_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_arch("isaac", [override])


def test_units_that_span_slices_need_slices_in_columns() -> None:
    with pytest.raises(ConfigError, match="skip needs slicing: columns"):
        load_arch("sparse_reram", ["engine.slicing=arrays"])


def test_skip_and_pack_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="two ways of leaving out zero weights: choose one"):
        load_arch("sparse_reram", ["engine.pack=lines"])
