"""Tables 5, 6 and 7 of the survey: what follows from shapes and ranks.

The survey prints ratios and no shapes. Here are those whose shapes are known: one of Table 5 (with what its test says),
the four of Yang et al. in Table 6, and those that TIE and Novikov et al. give for single layers. Of the others (444x,
1300x, 14.85x, 500x and 82.87x in Table 5; 43.52x, 69.80x, 139.82x and 439.43x in Table 6) it says neither modes nor
ranks, nor whether whole networks are counted.
"""

from __future__ import annotations

import csv
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest

from accelsim.compress.base import Context
from accelsim.compress.decompose import complexity
from accelsim.compress.decompose.methods import Plan, decompose, parameter_count, resolve
from accelsim.compress.decompose.step import Decompose
from accelsim.compress.recipe import load_recipe
from accelsim.workload.load import load_network
from tests.references import reference

Published = tuple[tuple[int, ...], tuple[int, ...], int, str]


def train_ratio(row_modes: tuple[int, ...], column_modes: tuple[int, ...], rank: int) -> float:
    """Elements of the matrix over elements of a train of one rank, by the code that makes the cores."""
    shape = (prod(row_modes), prod(column_modes))
    plan = resolve(Plan("tt", row_modes=list(row_modes), column_modes=list(column_modes), rank=rank), shape)
    assert plan.ranks == [1, *[rank] * (len(row_modes) - 1), 1]
    return prod(shape) / parameter_count(plan, plan.ranks, shape)


def test_table_5_novikov_11_9x() -> None:
    """Fully connected part of the CIFAR-10 network of Novikov et al.: 1024 x 64 and 64 x 10 before.

    Instead of it stand trains of 1024 x 3125 and 3125 x 10, all ranks 8: 4^5 inputs and 5^5 outputs, then 5^5 inputs
    and 10 outputs. The survey prints the ratio alone, and none of these sizes; they were entered without the paper at
    hand. What it leaves open besides is where the 10 lie. Of all ways to write 10 as five factors in order, just
    those with all of them at one end give the printed digits. So this test says that the digits follow from these
    shapes, not that the paper has them. Biases are not counted, as nowhere in the table.
    """
    before = 1024 * 64 + 64 * 10
    wide, ranks = ([5] * 5, [4] * 5), [1, 8, 8, 8, 8, 1]
    assert train_ratio((5,) * 5, (4,) * 5, 8) == 1024 * 3125 / 4160
    first = complexity.tt_parameters([m * n for m, n in zip(*wide, strict=True)], ranks)
    last = complexity.tt_parameters([50, 5, 5, 5, 5], [1, 5, 8, 8, 5, 1])
    as_printed = complexity.tt_parameters([50, 5, 5, 5, 5], ranks)  # rank 8 even where 5 would do
    assert last < as_printed == 1400
    ways = [outputs for outputs in product((1, 2, 5, 10), repeat=5) if prod(outputs) == 10]
    after = [first + complexity.tt_parameters([5 * m for m in outputs], ranks) for outputs in ways]
    found = [outputs for outputs, count in zip(ways, after, strict=True) if f"{before / count:.1f}" == "11.9"]
    assert len(ways) == 25 and found == [(1, 1, 1, 1, 10), (10, 1, 1, 1, 1)]


TABLE_6: list[Published] = [
    ((16, 4, 4, 4), (8, 20, 20, 18), 4, "17554.3"),  # LSTM, UCF11: four gates on the first mode
    ((12, 4, 4, 4), (8, 20, 20, 18), 4, "13687.1"),  # GRU, UCF11: three gates
    ((16, 4, 4, 4), (10, 18, 13, 30), 4, "23158.8"),  # LSTM, Hollywood2
    ((12, 4, 4, 4), (10, 18, 13, 30), 4, "18313.0"),  # GRU, Hollywood2
]


@pytest.mark.parametrize(("rows", "columns", "rank", "printed"), TABLE_6)
def test_table_6_yang(rows: tuple[int, ...], columns: tuple[int, ...], rank: int, printed: str) -> None:
    assert f"{train_ratio(rows, columns, rank):.1f}" == printed


ENGINES: list[Published] = [
    ((4,) * 6, (2, 7, 8, 8, 7, 4), 4, "50972"),  # TIE, VGG-16 fc6
    ((4,) * 6, (2, 7, 8, 8, 7, 4), 2, "194622"),  # Novikov, fc6
    ((4,) * 6, (2, 7, 8, 8, 7, 4), 1, "713614"),
    ((4,) * 6, (4,) * 6, 4, "14564"),  # TIE, fc7
    ((4,) * 4, (4, 20, 20, 36), 4, "4608"),  # TIE, LSTM of Youtube faces
]


@pytest.mark.parametrize(("rows", "columns", "rank", "printed"), ENGINES)
def test_table_5_and_6_engines(rows: tuple[int, ...], columns: tuple[int, ...], rank: int, printed: str) -> None:
    assert f"{train_ratio(rows, columns, rank):.0f}" == printed


def test_table_6_lstm_of_tie_is_cut_not_rounded() -> None:
    ratio = train_ratio((4,) * 4, (8, 20, 20, 18), 4)  # printed 4954x; 4954.8
    assert int(ratio) == 4954


def test_tables_5_and_6_reference_rows() -> None:
    """Every train of the reference table, parameters and ratio."""
    trains: list[dict[str, str]] = []
    with open(reference("published/densities_precisions.csv"), encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["quantity"] == "tt_input_modes":
                trains.append({})
            ratio = row["quantity"] == "compression_ratio" and trains and len(trains[-1]) == 4
            if row["quantity"].startswith("tt_") or ratio:
                trains[-1][row["quantity"]] = row["value"]
    assert len(trains) == 10
    for train in trains:
        columns, rows = ([int(n) for n in train[f"tt_{side}_modes"].split("x")] for side in ("input", "output"))
        ranks = [int(r) for r in train["tt_ranks"].split("-")]
        count = complexity.tt_parameters([m * n for m, n in zip(rows, columns, strict=True)], ranks)
        assert count == int(train["tt_parameters"])
        assert f"{prod(rows) * prod(columns) / count:.1f}" == f"{float(train['compression_ratio']):.1f}"


@pytest.mark.parametrize(("layer", "elements"), [("fc6", 2016), ("fc7", 1152)])
def test_table_5_recipe_tt_4bit_has_the_published_trains(layer: str, elements: int) -> None:
    step = load_recipe("tt_4bit").steps("vgg16", Context())[0]
    shape = load_network("vgg16")[layer].weights["filter"]
    assert isinstance(step, Decompose)
    plan = resolve(step.plan(layer, 0), shape)
    assert plan.ranks == [1, 4, 4, 4, 4, 4, 1] and parameter_count(plan, plan.ranks, shape) == elements


SIZES = [4, 6, 5]
RANKS: dict[str, Any] = {
    "full_rank": [3], "svd": [3], "qr": [3], "cur": [3], "cp": [5], "tucker": [2, 3, 4], "hosvd": [2, 3, 4],
    "btd": [2, 3, 2], "ht": [1, 4, 3, 2, 4], "tt": [1, 3, 4, 1], "ring": [2, 2, 3, 2],
}  # fmt: skip


@pytest.mark.parametrize("method", RANKS)
def test_table_7_counts_are_those_of_the_arrays(method: str) -> None:
    rows, columns = [2, 3, 1], [2, 2, 5]
    values = np.random.default_rng(0).standard_normal((6, 20)).astype(np.float32)
    ranks: list[int] = RANKS[method]
    matrix = method in ("full_rank", "svd", "qr", "cur")
    modes: dict[str, Any] = {} if matrix else {"row_modes": rows, "column_modes": columns}
    found = decompose(values, Plan(method, ranks=ranks, **modes))
    exact = {
        "full_rank": lambda: complexity.full_rank_parameters(6, 20, 3),
        "qr": lambda: complexity.full_rank_parameters(6, 20, 3),
        "svd": lambda: complexity.svd_parameters(6, 20, 3),
        "cur": lambda: complexity.cur_parameters(6, 20, 3),
        "cp": lambda: complexity.cp_parameters(SIZES, 5),
        "tucker": lambda: complexity.tucker_parameters(SIZES, ranks),
        "hosvd": lambda: complexity.tucker_parameters(SIZES, ranks),
        "btd": lambda: complexity.btd_parameters(SIZES, ranks, 2),
        "ht": lambda: complexity.ht_parameters(SIZES, ranks),
        "tt": lambda: complexity.tt_parameters(SIZES, ranks),
        "ring": lambda: complexity.tt_parameters(SIZES, ranks),
    }[method]()
    assert found.parameters == exact == sum(core.size for core in found.cores.values())
    if method != "btd":  # the table has no row for it
        bound = complexity.table_7(method, m=6, n=20, d=3, mode=6, rank=max(ranks))
        assert exact <= bound
        assert not matrix or exact == bound


def test_table_7_is_reached_by_equal_modes_and_ranks() -> None:
    assert complexity.cp_parameters([5] * 4, 3) == complexity.table_7("cp", d=4, mode=5, rank=3)
    assert complexity.tucker_parameters([5] * 4, [3] * 4) == complexity.table_7("tucker", d=4, mode=5, rank=3)
    # the root of a tree has rank 1 and the ends of a train too: the table counts them as r
    root = 3**3 - 3**2
    assert complexity.ht_parameters([5] * 4, [1, *[3] * 6]) == complexity.table_7("ht", d=4, mode=5, rank=3) - root
    ends = 2 * (5 * 3 * 3 - 5 * 3)
    assert complexity.tt_parameters([5] * 4, [1, 3, 3, 3, 1]) == complexity.table_7("tt", d=4, mode=5, rank=3) - ends
    assert complexity.tt_parameters([5] * 4, [3] * 5) == complexity.table_7("ring", d=4, mode=5, rank=3)


def test_table_7_multiplications_of_a_train_are_counted_by_running_it() -> None:
    """Core by core on a vector, every step a matrix product whose multiplications are counted."""
    rows, columns, ranks = [2, 3, 4], [5, 2, 3], [1, 4, 3, 1]
    rng = np.random.default_rng(1)
    cores = [rng.standard_normal((ranks[k], rows[k], columns[k], ranks[k + 1])) for k in range(3)]
    x, counted = rng.standard_normal(columns), 0
    state = x[..., None]  # n_1 ... n_k, m_{k+1} ... m_d, r_k
    state = np.moveaxis(state, -1, 0)  # r, n_1, ..., n_k, m...
    for k in reversed(range(3)):
        moved = np.moveaxis(state, k + 1, 1)  # r_k, n_k, others
        others = moved.shape[2:]
        left = cores[k].transpose(0, 1, 3, 2).reshape(ranks[k] * rows[k], -1)
        right = moved.reshape(-1, prod(others))
        counted += left.shape[0] * left.shape[1] * right.shape[1]
        state = np.moveaxis((left @ right).reshape(ranks[k], rows[k], *others), 1, k + 1)
    matrix = np.einsum("aipb,bjqc,ckrd->ijkpqr", *cores)
    assert np.allclose(state[0], np.einsum("ijkpqr,pqr->ijk", matrix, x))
    assert counted == complexity.tt_macs(rows, columns, ranks)
    assert complexity.tt_macs_element_wise(rows, columns, ranks) == 24 * 30 * (4 * 3 + 3 * 1 + 1)


def test_table_7_multiplications_of_matrices() -> None:
    assert complexity.low_rank_macs(10, 20, 3) == complexity.low_rank_macs(10, 20, 3, "qr") == 90
    assert complexity.low_rank_macs(10, 20, 3, "svd") == 93 and complexity.low_rank_macs(10, 20, 3, "cur") == 99
    # 1x1 over the inputs, 3x3 over the outputs, 1x1 over the outputs
    assert complexity.tucker2_conv_macs((8, 6, 3, 3), (4, 2), (5, 5), (7, 7)) == 49 * 12 + 25 * (8 * 9) + 25 * 32
