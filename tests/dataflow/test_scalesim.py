"""SCALE-Sim's array, row for row.

Where our array is the one that SCALE-Sim models (serial folds, full edges), compute cycles are
equal. What differs, and why:

| # | quantity | SCALE-Sim | ours | reason |
|---|---|---|---|---|
| 1 | total of a layer | F x tau - 1 | F x tau | theirs is the index of the last cycle (their issue 125) |
| 2 | OS, after the last fold | nothing | r - 1 more cycles | a column's sums leave one by one; `finish` has them |
| 3 | OS ofmap writes | M x N + F (R + C) | M x N | theirs adds R + C for each fold, which no array writes |
| 4 | WS / IS psums | written Fr times, never read | read back Fr - 1 times | sums of several row folds must be added |
"""

from __future__ import annotations

import csv

import pytest

from accelsim.dataflow.base import DATAFLOWS, Array
from tests.references import reference


def rows() -> list[dict[str, str]]:
    with reference("scalesim/scalesim_layers.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["compute_cycles"]]


def test_compute_cycles_equal_on_every_row() -> None:
    checked = 0
    for row in rows():
        flow = DATAFLOWS.lookup(row["dataflow"])
        array = Array(int(row["array_rows"]), int(row["array_cols"]), "serial", "full")
        timing = flow.timing(array, int(row["M"]), int(row["N"]), int(row["K"]))
        ours = int(timing.load + timing.stream)
        assert ours - 1 == int(row["compute_cycles"]), row
        if flow.name == "os":
            assert timing.finish == timing.stream + array.rows - 1
        else:
            assert timing.finish == timing.stream
        checked += 1
    assert checked > 400


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_sram_counts_equal_up_to_the_listed_differences(dataflow: str) -> None:
    flow, checked = DATAFLOWS.lookup(dataflow), 0
    for row in rows():
        if row["dataflow"] != dataflow or not row["ifmap_sram_reads"]:
            continue
        m, n, k = (int(row[x]) for x in "MNK")
        array = Array(int(row["array_rows"]), int(row["array_cols"]), "serial", "full")
        access = flow.accesses(array, m, n, k)
        assert access.ifmap_reads == int(row["ifmap_sram_reads"])
        assert access.filter_reads == int(row["filter_sram_reads"])
        writes = int(access.psum_writes)
        if dataflow == "os":  # difference 3
            writes += int(flow.timing(array, m, n, k).folds) * (array.rows + array.cols)
        assert writes == int(row["ofmap_sram_writes"]), row
        checked += 1
    assert checked > 20
