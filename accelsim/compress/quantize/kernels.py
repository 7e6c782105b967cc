"""The inner loops of the quantizers. Matrices are float32 (rows, elements of a row); scales of groups of elements
of a row are (rows or 1, groups), tables of levels (rows or 1, ...)."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.base.kernels import kernel


@kernel(nogil=True)
def round_groups(values, scales, offsets, group, low, high, out):  # type: ignore[no-untyped-def]
    """out = clip(round(values / scale) + offset, low, high), ties to even; low, high and offsets are float32.

    Adding and subtracting 1.5 * 2**23 rounds a float32 below 2**22 to the nearest even integer, in vector code;
    the quotient is clipped before, so that it is one.
    """
    magic = np.float32(12582912.0)
    length = values.shape[1]
    for r in range(values.shape[0]):
        at = 0 if scales.shape[0] == 1 else r
        for g in range(scales.shape[1]):
            scale, offset = scales[at, g], offsets[at, g]
            least, most = low - offset, high - offset
            for i in range(g * group, min(length, (g + 1) * group)):
                x = min(max(values[r, i] / scale, least), most)
                out[r, i] = np.int32(((x + magic) - magic) + offset)


@kernel(nogil=True)
def round_randomly(values, scales, offsets, group, low, high, key, start, out):  # type: ignore[no-untyped-def]
    """As `round_groups`, up or down at random with the probability that makes the mean exact.

    Element i of row r uses the upper 24 bits of SplitMix64 output start + r * length + i of the stream `key`.
    """
    length = values.shape[1]
    for r in range(values.shape[0]):
        at = 0 if scales.shape[0] == 1 else r
        for g in range(scales.shape[1]):
            scale, offset = scales[at, g], offsets[at, g]
            least, most = low - offset, high - offset
            for i in range(g * group, min(length, (g + 1) * group)):
                z = key + (start + np.uint64(r * length + i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
                z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                z = z ^ (z >> np.uint64(31))
                chance = np.float32(np.int64(z >> np.uint64(40))) * np.float32(5.9604644775390625e-08)
                x = min(max(values[r, i] / scale, least), most)
                floor = np.floor(x)
                if chance < x - floor:
                    floor += np.float32(1)
                out[r, i] = np.int32(floor + offset)


@kernel(nogil=True)
def nearest_level(values, thresholds, names, symmetric, out):  # type: ignore[no-untyped-def]
    """out = names[row or 0, number of thresholds below the value].

    `symmetric`: thresholds are for magnitudes, and the name gets the sign of the value. Counting over a few hundred
    elements at a time is vector code, and faster than a search up to some hundred thresholds.
    """
    width = 256
    x = np.empty(width, np.float32)
    below = np.empty(width, np.int32)
    for r in range(values.shape[0]):
        row = thresholds[0 if thresholds.shape[0] == 1 else r]
        name = names[0 if names.shape[0] == 1 else r]
        for start in range(0, values.shape[1], width):
            count = min(width, values.shape[1] - start)
            for i in range(count):
                value = values[r, start + i]
                x[i] = abs(value) if symmetric else value
                below[i] = 0
            for j in range(row.size):
                threshold = row[j]
                for i in range(count):
                    below[i] += np.int32(x[i] > threshold)
            if symmetric:
                for i in range(count):
                    sign = 1 - 2 * np.int64(values[r, start + i] < 0)
                    out[r, start + i] = name[below[i]] * sign
            else:
                for i in range(count):
                    out[r, start + i] = name[below[i]]


@kernel(nogil=True)
def cluster_sums(values, codes, counts, sums):  # type: ignore[no-untyped-def]
    """Add, for each row (or all, if the tables have one) and code, how many elements there are and their sum."""
    for r in range(values.shape[0]):
        at = 0 if counts.shape[0] == 1 else r
        for i in range(values.shape[1]):
            code = np.int64(codes[r, i])
            counts[at, code] += 1
            sums[at, code] += np.float64(values[r, i])


@kernel(nogil=True)
def histogram(values, low, bins_per_unit, skip_zero, counts, sums):  # type: ignore[no-untyped-def]
    """Add numbers and sums of the elements in bins [low + j / bins_per_unit, ...); ends take what is beyond.

    All float32 but counts (int64) and sums (float64); with `skip_zero` exact zeros are left out.
    """
    last = counts.size - 1
    for r in range(values.shape[0]):
        for i in range(values.shape[1]):
            x = values[r, i]
            j = min(max(np.int64((x - low) * bins_per_unit), 0), last)
            if not (skip_zero and x == 0):
                counts[j] += 1
                sums[j] += np.float64(x)


@kernel(nogil=True)
def assign_bins(values, low, bins_per_unit, names, zero_name, out):  # type: ignore[no-untyped-def]
    """out = names[bin of the value], as in `histogram`; `zero_name` for exact zeros if it is not negative."""
    last = names.size - 1
    for r in range(values.shape[0]):
        for i in range(values.shape[1]):
            x = values[r, i]
            name = np.int64(names[min(max(np.int64((x - low) * bins_per_unit), 0), last)])
            if zero_name >= 0 and x == 0:
                name = zero_name
            out[r, i] = name


def _matrix() -> Any:
    return np.zeros((2, 4), np.float32)


@round_groups.warms_up_with
def _round_example() -> tuple[Any, ...]:
    one = np.ones((1, 1), np.float32)
    return _matrix(), one, one, 4, np.float32(-1), np.float32(1), np.zeros((2, 4), np.int8)


@round_randomly.warms_up_with
def _random_example() -> tuple[Any, ...]:
    one = np.ones((1, 1), np.float32)
    ends = np.float32(-1), np.float32(1)
    return _matrix(), one, one, 4, *ends, np.uint64(1), np.uint64(0), np.zeros((2, 4), np.int8)


@nearest_level.warms_up_with
def _nearest_example() -> tuple[Any, ...]:
    return _matrix(), np.zeros((1, 3), np.float32), np.zeros((1, 4), np.int64), False, np.zeros((2, 4), np.uint8)


@cluster_sums.warms_up_with
def _cluster_example() -> tuple[Any, ...]:
    return _matrix(), np.zeros((2, 4), np.uint8), np.zeros((1, 2), np.int64), np.zeros((1, 2), np.float64)


@histogram.warms_up_with
def _histogram_example() -> tuple[Any, ...]:
    return _matrix(), np.float32(0), np.float32(1), True, np.zeros(4, np.int64), np.zeros(4, np.float64)


@assign_bins.warms_up_with
def _assign_example() -> tuple[Any, ...]:
    return _matrix(), np.float32(0), np.float32(1), np.zeros(4, np.uint8), 0, np.zeros((2, 4), np.uint8)
