"""Laconic's kernel against counting the pairs of every window, by all its ways to the largest of a set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engines.kernels.pairs import lane_products, read_in_place
from accelsim.engines.kernels.serial import count_ones


def pairs(values: Any, ones: Any, job: Any, grid: Any) -> tuple[int, int]:
    """Cycles of all steps, and cycles x windows: step by step, of all channels as one brick."""
    stride_y, stride_x, dilation, _, pad_y, pad_x, columns, taps, _ = grid
    images, y0, rows, x0, cols, ky0, kys, kx0, kxs = job[1:10]
    factor = job[12]
    height, width = values.shape[2:]
    counted = np.vectorize(lambda v: int(v).bit_count())(values)
    windows = [((y0 + w // cols) * stride_y, (x0 + w % cols) * stride_x) for w in range(rows * cols)]
    total = held = 0
    for image in range(images):
        for ky in range(ky0, ky0 + kys):
            for kx in range(kx0, kx0 + kxs):
                down, right = ky * dilation - pad_y, kx * dilation - pad_x
                for first in range(0, len(windows), columns):
                    most = np.zeros(values.shape[1], np.int64)
                    taken = windows[first : first + columns]
                    for y, x in taken:
                        if 0 <= y + down < height and 0 <= x + right < width:
                            most = np.maximum(most, counted[image, :, y + down, x + right])
                    for f in range(factor):
                        worst = max(1, int((most * ones[f, ky * taps + kx]).max()))
                        total += worst
                        held += worst * len(taken)
    return total, held


def check(values: Any, job: Any, grid: Any, seed: int) -> None:
    lanes, taps = values.shape[1], grid[7]
    ones = np.random.default_rng(seed).integers(0, 9, (2, taps * taps, lanes)).astype(np.uint8)
    out = np.zeros((1, 2), np.int64)
    lane_products(values, ones, job[None], grid, np.array([[0, lanes]], np.int64), out)
    assert tuple(out[0]) == pairs(values, ones, job, grid)


def drawn(shape: tuple[int, ...], dtype: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 1 << 8 * np.dtype(dtype).itemsize, shape) * (rng.random(shape) < 0.4)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "width, height, taps, dilation, pad, y0, rows, in_place",
    [
        (32, 15, 3, 1, (1, 1), 0, 8, True),
        (16, 20, 3, 1, (0, 1), 2, 16, True),
        (16, 9, 3, 1, (2, 1), 3, 8, True),
        (32, 8, 1, 1, (0, 0), 0, 8, True),
        (16, 10, 2, 1, (1, 0), 0, 8, False),  # 15 windows in a row
        (16, 10, 2, 2, (1, 1), 0, 8, True),
        (48, 8, 3, 2, (2, 2), 0, 8, True),
        (112, 34, 3, 1, (1, 1), 1, 33, True),  # masks repeat after 32 rows
        (56, 24, 3, 1, (1, 1), 0, 24, True),  # sets cross the ends of rows
        (14, 9, 3, 1, (1, 1), 0, 9, True),
        (32, 40, 5, 7, (14, 14), 0, 12, True),  # taps that see nothing of some sets
        (32, 9, 3, 17, (17, 17), 0, 9, False),  # too far beside
        (17, 8, 2, 1, (1, 0), 0, 8, False),
    ],
)  # fmt: skip
def test_steps_last_as_long_as_the_slowest_pair(
    width: int, height: int, taps: int, dilation: int, pad: tuple[int, int], y0: int, rows: int, in_place: bool,
    dtype: Any,
) -> None:  # fmt: skip
    values = drawn((2, 6, height, width), dtype, width + taps)
    cols = width + 2 * pad[1] - (taps - 1) * dilation
    job = np.array([0, 2, y0, rows, 0, cols, 0, taps, 0, taps, 0, 1, 2, 0], np.int64)
    grid = np.array([1, 1, dilation, dilation, *pad, 16, taps, 6], np.int64)
    assert bool(read_in_place(job, grid, width)) == in_place
    check(values, job, grid, width)


@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_parts_of_layers_with_strides(data: Any) -> None:
    def between(low: int, high: int) -> int:
        return int(data.draw(st.integers(low, high)))

    taps, stride_y, stride_x = between(1, 3), between(1, 3), between(1, 3)
    pad_y, pad_x, dilation = between(0, 2), between(0, 2), between(1, 2)
    reach = (taps - 1) * dilation
    height, width = between(1 + reach, 12 + reach), between(1 + reach, 40 + reach)
    high, wide = (height + 2 * pad_y - reach - 1) // stride_y + 1, (width + 2 * pad_x - reach - 1) // stride_x + 1
    y0, x0, ky0, kx0 = between(0, high - 1), between(0, wide - 1), between(0, taps - 1), between(0, taps - 1)
    rows, cols = between(1, high - y0), between(1, wide - x0)
    job = np.array([0, 1, y0, rows, x0, cols, ky0, taps - ky0, kx0, taps - kx0, 0, 1, 2, 0], np.int64)
    columns = data.draw(st.sampled_from([16, 16, 8, 5]))
    grid = np.array([stride_y, stride_x, dilation, dilation, pad_y, pad_x, columns, taps, 3], np.int64)
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    check(drawn((1, 3, height, width), dtype, height * width), job, grid, height)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_bits_are_counted(dtype: Any) -> None:
    values = np.arange(1 << 8 * np.dtype(dtype).itemsize).astype(dtype)[::7].copy()
    out = np.zeros(values.nbytes, np.uint8)
    count_ones(values.view(np.uint8), values.itemsize, out)
    assert out[: values.size].tolist() == [int(v).bit_count() for v in values]
