"""Runs of bytes against the set of addresses that a tile really has."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engines.common.streams import LAYOUTS, Box, TensorPlace, runs


def addresses(place: TensorPlace, box: Box) -> set[int]:
    found = set()
    for n, c, y, x in product(range(box.images), range(box.channels), range(box.rows), range(box.cols)):
        n, c, y, x = n + box.image0, c + box.channel0, y * box.row_step + box.row0, x + box.col0
        if place.layout == "nhwc":
            found.add(((n * place.height + y) * place.width + x) * place.channels + c)
        else:
            found.add(((n * place.channels + c) * place.height + y) * place.width + x)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_runs_cover_a_tile_exactly(layout: str, data: st.DataObject) -> None:
    size = [data.draw(st.integers(1, 5)) for _ in range(4)]
    place = TensorPlace(*size, 8, layout)
    box_of = []
    for extent in size:
        first = data.draw(st.integers(0, extent - 1))
        box_of += [first, data.draw(st.integers(1, extent - first))]
    # tiles have part of the rows or columns of one image, or whole images
    if data.draw(st.booleans()):
        box_of[1] = 1
    else:
        box_of[4:] = [0, size[2], 0, size[3]]
    step = 1
    if box_of[1] == 1 and data.draw(st.booleans()):
        step = 2
        box_of[5] = (box_of[5] + 1) // 2
    box = Box(*box_of, step)
    pattern = [int(x) for x in runs(place, box)]
    base, row_bytes, row_stride, rows, plane_stride, planes = pattern
    covered = [
        base + p * plane_stride + r * row_stride + b
        for p, r, b in product(range(planes), range(rows), range(row_bytes))
    ]
    assert len(covered) == len(set(covered))
    assert set(covered) == addresses(place, box)


def test_whole_tensors_are_one_run() -> None:
    for layout in LAYOUTS:
        pattern = runs(TensorPlace(2, 3, 4, 5, 8, layout), Box(0, 2, 0, 3, 0, 4, 0, 5))
        assert (int(pattern.row_bytes), int(pattern.rows), int(pattern.planes)) == (120, 1, 1)


def test_many_tiles_at_once_equal_single_tiles() -> None:
    place = TensorPlace(1, 8, 6, 6, 8)
    rows0, channels = np.array([0, 2, 4]), np.array([8, 4, 2])
    many = runs(place, Box(0, 1, 0, channels, rows0, 2, 0, 6))
    for i in range(3):
        one = runs(place, Box(0, 1, 0, int(channels[i]), int(rows0[i]), 2, 0, 6))
        assert [int(x) for x in one] == [int(x[i]) for x in many]
