"""Laconic's kernel against counting the pairs of every window, where its sets of windows are even and where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelsim.engines.kernels.pairs import even_sets, lane_products
from accelsim.engines.kernels.serial import count_ones

COLUMNS = 16


def pairs(values: Any, ones: Any, job: Any, grid: Any) -> tuple[int, int]:
    """Cycles of all steps, and cycles x windows: step by step, of all channels as one brick."""
    dilation, pad_y, pad_x, taps = grid[2], grid[4], grid[5], grid[7]
    images, y0, rows, cols, factor = job[1], job[2], job[3], job[5], job[12]
    height, width = values.shape[2:]
    counted = np.vectorize(lambda v: int(v).bit_count())(values)
    windows = [(y0 + w // cols, w % cols) for w in range(rows * cols)]
    total = held = 0
    for image in range(images):
        for tap in range(taps * taps):
            down, right = tap // taps * dilation - pad_y, tap % taps * dilation - pad_x
            for first in range(0, len(windows), COLUMNS):
                most = np.zeros(values.shape[1], np.int64)
                taken = windows[first : first + COLUMNS]
                for y, x in taken:
                    if 0 <= y + down < height and 0 <= x + right < width:
                        most = np.maximum(most, counted[image, :, y + down, x + right])
                for f in range(factor):
                    worst = max(1, int((most * ones[f, tap]).max()))
                    total += worst
                    held += worst * len(taken)
    return total, held


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "width, height, taps, dilation, pad, y0, rows, even",
    [
        (32, 15, 3, 1, (1, 1), 0, 8, True),
        (16, 20, 3, 1, (0, 1), 2, 16, True),
        (16, 9, 3, 1, (2, 1), 3, 8, True),
        (32, 8, 1, 1, (0, 0), 0, 8, True),
        (16, 10, 2, 1, (1, 0), 0, 8, False),  # 15 windows in a row
        (16, 10, 2, 2, (1, 1), 0, 8, True),
        (16, 9, 3, 1, (1, 1), 0, 9, True),
        (48, 8, 3, 2, (2, 2), 0, 8, True),
        (112, 34, 3, 1, (1, 1), 1, 33, True),  # masks repeat after 32 rows
        (32, 40, 5, 7, (14, 14), 0, 12, True),  # taps that see nothing of some sets
        (32, 9, 3, 17, (17, 17), 0, 9, False),  # too far beside
        (17, 8, 2, 1, (1, 0), 0, 8, False),  # even sets in rows of the results, not of the inputs
        (14, 8, 3, 1, (1, 1), 0, 8, False),
    ],
)  # fmt: skip
def test_steps_last_as_long_as_the_slowest_pair(
    width: int, height: int, taps: int, dilation: int, pad: tuple[int, int], y0: int, rows: int, even: bool, dtype: Any
) -> None:
    rng = np.random.default_rng(width + taps)
    shape = 2, 6, height, width
    values = (rng.integers(0, 1 << 8 * np.dtype(dtype).itemsize, shape) * (rng.random(shape) < 0.4)).astype(dtype)
    ones = rng.integers(0, 9, (2, taps * taps, 6)).astype(np.uint8)
    cols = width + 2 * pad[1] - (taps - 1) * dilation
    job = np.array([[0, 2, y0, rows, 0, cols, 0, taps, 0, taps, 0, 1, 2, 0]], np.int64)
    grid = np.array([1, 1, dilation, dilation, *pad, COLUMNS, taps, 6], np.int64)
    assert bool(even_sets(job[0], grid, width)) == even
    out = np.zeros((1, 2), np.int64)
    lane_products(values, ones, job, grid, np.array([[0, 6]], np.int64), out)
    assert tuple(out[0]) == pairs(values, ones, job[0], grid)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_bits_are_counted(dtype: Any) -> None:
    values = np.arange(1 << 8 * np.dtype(dtype).itemsize).astype(dtype)[::7].copy()
    out = np.zeros(values.nbytes, np.uint8)
    count_ones(values.view(np.uint8), values.itemsize, out)
    assert out[: values.size].tolist() == [int(v).bit_count() for v in values]
