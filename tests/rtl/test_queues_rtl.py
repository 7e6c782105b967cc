"""EIE against its register-level model: cycles, padding and sums, at queues of 1 to 256 slots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from tests.engines.sparse_bench import cycles_of, engine, layer_of, part_of, sparse, task_of
from tests.rtl import queues


@st.composite
def products(draw: Any) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    m, n, k = draw(st.integers(1, 3)), draw(st.integers(1, 60)), draw(st.integers(1, 24))
    a = sparse(rng, (m, k), draw(st.sampled_from([0.0, 0.2, 0.5, 1.0])), low=0)
    w = sparse(rng, (n, k), draw(st.sampled_from([0.02, 0.1, 0.4, 1.0])))
    return {
        "a": a, "w": w, "bias": draw(st.booleans()),
        "pes": draw(st.sampled_from([1, 2, 4, 8])), "scan_width": draw(st.sampled_from([1, 3, 8, 64])),
        "queue_depth": draw(st.sampled_from([1, 2, 3, 4, 8, 16, 64, 256])), "full_ring": draw(st.booleans()),
        "index_bits": draw(st.sampled_from([0, 1, 2, 4])),
    }  # fmt: skip


@given(case=products())
@settings(max_examples=120, deadline=None, derandomize=True, database=None)
def test_eie_equals_its_registers(case: dict[str, Any], tmp_path_factory: Any) -> None:
    a, w = case["a"], case["w"]
    network, trace = layer_of(tmp_path_factory.mktemp("t") / "t.trace", a, w, bias=case["bias"])
    fields = {x: case[x] for x in ("pes", "scan_width", "queue_depth", "full_ring", "index_bits")}
    table = engine("eie", **fields, latency=6).lower(task_of(network, trace))
    biases = np.ones(len(w), np.int64) if case["bias"] else None
    ran = [
        queues.run(
            row, w, pes=case["pes"], width=case["scan_width"], slots=case["queue_depth"],
            spare=not case["full_ring"], limit=2 ** case["index_bits"] - 1, biases=biases,
        )
        for row in a
    ]  # fmt: skip
    for row, seen in zip(a, ran, strict=True):
        assert np.array_equal(seen.sums, w @ row + (0 if biases is None else 1))
    assert cycles_of(table) == sum(r.cycles + 6 for r in ran)
    assert table.info["padding"] if any(r.padded for r in ran) else True
    assert table.info.get("padding", 0) == sum(r.padded for r in ran)
    assert table.info.get("entries", 0) == sum(sum(r.worked) for r in ran)
    effectual = int(((a != 0).sum(0) * (w != 0).sum(0)).sum())
    assert table.effectual_macs == effectual
    assert table.info["products"] == effectual + (len(w) * len(a) if case["bias"] else 0)


def test_work_of_pes_is_what_the_registers_did(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    a, w = sparse(rng, (2, 40), 0.4, low=0), sparse(rng, (50, 40), 0.1)
    network, trace = layer_of(tmp_path / "t.trace", a, w)
    built = engine("eie", pes=4)
    task = task_of(network, trace)
    part = part_of(task)
    work = built.work_of_pes(part, built.tile(part)[1][0])
    ran = [queues.run(row, w, pes=4, width=64, slots=8) for row in a]
    assert work.tolist() == np.sum([r.worked for r in ran], 0).tolist()


def test_a_deeper_queue_is_never_slower(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (1, 200), 0.5, low=0), sparse(rng, (64, 200), 0.1))
    task = task_of(network, trace)
    depths = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    cycles = [cycles_of(engine("eie", pes=8, queue_depth=d).lower(task)) for d in depths]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]


def test_dense_operands_take_a_cycle_for_each_weight_of_the_fullest_pe(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (1, 128), 1.0, low=0), sparse(rng, (96, 128), 1.0))
    # a load of the scanner and the way through a queue, then 96 / 8 weights of each column, and the pipeline
    assert cycles_of(engine("eie", pes=8).lower(task_of(network, trace))) == 2 + 128 * 12 + 6


def test_convolutions_are_products_of_their_windows(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    a, w = sparse(rng, (1, 4, 5, 5), 0.5, low=0), sparse(rng, (6, 2, 3, 3), 0.4)
    network, trace = layer_of(tmp_path / "t.trace", a, w, pad=1, stride=2)
    table = engine("eie", pes=4, queue_depth=4).lower(task_of(network, trace))
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = 0
    for group in range(2):
        for y in range(3):
            for x in range(3):
                window = padded[0, 2 * group : 2 * group + 2, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3].reshape(-1)
                matrix = w[3 * group : 3 * group + 3].reshape(3, -1)
                expected += queues.run(window, matrix, pes=4, width=64, slots=4).cycles + 6
    assert cycles_of(table) == expected


def test_pointers_that_cannot_count_the_entries_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (1, 64), 1.0, low=0), sparse(rng, (8, 64), 1.0))
    with pytest.raises(ConfigError, match="layer layer: pointers of 6 bits cannot express a matrix with 128 entries"):
        engine("eie", pes=4, pointer_bits=6).lower(task_of(network, trace))


def test_masks_of_another_shape_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    network, trace = layer_of(tmp_path / "t.trace", sparse(rng, (1, 8), 1.0, low=0), sparse(rng, (4, 8), 1.0))
    wrong = trace.operand("layer", "filter")
    trace.operand = lambda layer, role: wrong  # type: ignore[method-assign,assignment]
    with pytest.raises(ConfigError, match=r"ifmap must have 8 elements \(1, 1, 8\), got 32"):
        engine("eie").lower(task_of(network, trace))
