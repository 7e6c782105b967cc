"""The picture of a row-stationary pass says of each PE what the array in registers does there."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.dataflow.row_stationary import RsArray, RsPass
from accelsim.report.drawing import save, style
from accelsim.report.figure_array import array_figure, owners

ARRAY = RsArray(12, 14, 12, 224, 24)
PASSES = {
    "conv1": RsPass(1, 7, 55, 11, 11, 16, 1, 1, 2, (4, 4)),
    "conv2": RsPass(1, 27, 27, 5, 5, 16, 2, 1, 1),
    "conv4": RsPass(4, 13, 13, 3, 3, 16, 3, 2, 2),
    "dilated": RsPass(1, 5, 5, 3, 3, 4, 1, 2, 2, (1, 1), (2, 2)),
}


@pytest.mark.parametrize("name", PASSES)
def test_every_pe_in_use_has_one_owner(name: str) -> None:
    one = PASSES[name]
    found = owners(ARRAY, one)
    assert len(found) == one.active == len({(o.row, o.col) for o in found})
    assert all(0 <= o.row < 12 and 0 <= o.col < 14 for o in found)
    work = {(o.stack, o.part, o.filter_row, o.output_row) for o in found}
    assert len(work) == one.active  # no row of filter and output twice
    for o in found:
        assert o.ifmap_row == o.output_row * one.stride[0] + o.filter_row * one.dilation[0]


def test_ifmap_rows_lie_on_diagonals_and_sums_go_up() -> None:
    found = {(o.row, o.col): o for o in owners(ARRAY, PASSES["conv4"])}
    for (row, col), owner in found.items():
        above = found.get((row - 1, col + 1))
        if above and owner.filter_row and (above.stack, above.part) == (owner.stack, owner.part):
            assert above.ifmap_row == owner.ifmap_row
        below = found.get((row + 1, col))
        if below and below.stack == owner.stack:
            assert below.output_row == owner.output_row


def test_the_picture_is_the_same_every_time(tmp_path: Path) -> None:
    with style():
        for number in range(2):
            save(array_figure(list(PASSES.items())[:3], ARRAY), tmp_path / f"{number}.svg")
    first, second = (path.read_text() for path in sorted(tmp_path.iterdir()))
    assert first == second
