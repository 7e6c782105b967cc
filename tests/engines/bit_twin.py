"""The bit-serial family in plain Python: every step of a layer, its bricks bit by bit. Nothing here is fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Brick = list[int]
Step = tuple[list[Brick], list[Brick]]  # of the windows, of the filters


@dataclass(frozen=True)
class Chip:
    lanes: int
    columns: int
    rows: int
    tiles: int


def conv_steps(a: NDArray[Any], w: NDArray[Any], stride: int, pad: int, groups: int, chip: Chip) -> Iterator[Step]:
    """Steps of a convolution: a (images, channels, y, x), w (filters, channels, ky, kx)."""
    padded = np.pad(a, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    high = (padded.shape[2] - w.shape[2]) // stride + 1
    wide = (padded.shape[3] - w.shape[3]) // stride + 1
    depthwise = groups == a.shape[1] and groups > 1
    if a.shape[1] == 3 and stride > 1 and groups == 1:
        padded, w, stride = *blocks(padded, w, stride), 1
    per, out = w.shape[1], w.shape[0] // groups
    lanes = min(chip.lanes, chip.rows) if depthwise else chip.lanes
    at_once = 1 if depthwise else chip.rows * chip.tiles
    windows = [(y, x) for y in range(high) for x in range(wide)]
    for image in padded:
        for group in range(1 if depthwise else groups):
            for first in range(0, len(windows), chip.columns):
                for f in range(0, out, at_once):
                    for ky in range(w.shape[2]):
                        for kx in range(w.shape[3]):
                            for c in range(0, a.shape[1] if depthwise else per, lanes):
                                span = range(c, min(c + lanes, a.shape[1] if depthwise else per))
                                seen = [
                                    [int(image[group * per + ch, y * stride + ky, x * stride + kx]) for ch in span]
                                    for y, x in windows[first : first + chip.columns]
                                ]
                                if depthwise:
                                    held = [[int(w[ch * out + f, 0, ky, kx]) for ch in span]]
                                else:
                                    held = [
                                        [int(w[group * out + n, ch, ky, kx]) for ch in span]
                                        for n in range(f, min(f + at_once, out))
                                    ]
                                yield seen, held


def blocks(a: NDArray[Any], w: NDArray[Any], s: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """A strided layer of three channels as one of stride 1 with 3 s^2 channels: y, x, colour within a block."""
    reach = [-(-k // s) * s for k in w.shape[2:]]
    size = [(z - k) // s * s + r for z, k, r in zip(a.shape[2:], w.shape[2:], reach)]
    b = np.zeros((a.shape[0], 3 * s * s, size[0] // s, size[1] // s), a.dtype)
    v = np.zeros((w.shape[0], 3 * s * s, reach[0] // s, reach[1] // s), w.dtype)
    for out, source in ((b, a), (v, w)):
        for y in range(min(source.shape[2], out.shape[2] * s)):
            for x in range(min(source.shape[3], out.shape[3] * s)):
                for c in range(3):
                    out[:, (y % s * s + x % s) * 3 + c, y // s, x // s] = source[:, c, y, x]
    return b, v


def matrix_steps(a: NDArray[Any], w: NDArray[Any], chip: Chip) -> Iterator[Step]:
    """Steps of a matrix product with few rows: one window each."""
    at_once = chip.rows * chip.tiles
    for row in a:
        for f in range(0, len(w), at_once):
            for c in range(0, a.shape[1], chip.lanes):
                span = slice(c, c + chip.lanes)
                yield [row[span].tolist()], [x.tolist() for x in w[f : f + at_once, span]]


# --- how long a step lasts ---


def bits_of(value: int, signed: bool) -> int:
    """Bits of two's complement without repeated signs."""
    return (value if value >= 0 else ~value).bit_length() + (1 if signed and value not in (0, -1) else 0)


def dynamic(signed: bool) -> Callable[[Step], int]:
    return lambda step: max(1, max(bits_of(v, signed) for brick in step[0] for v in brick))


def minor(group: int) -> Callable[[Step], int]:
    def cost(step: Step) -> int:
        worst = 1
        for first in range(0, len(step[0]), group):
            positions = [
                bit for brick in step[0][first : first + group] for v in brick for bit in range(16) if v >> bit & 1
            ]
            worst = max(worst, max(positions) - min(positions) + 1 if positions else 1)
        return worst

    return cost


def loom(weight_bits: int, serial: int, signed: bool, dynamic_weights: bool) -> Callable[[Step], int]:
    def cost(step: Step) -> int:
        inputs = -(-dynamic(signed)(step) // serial)
        if not dynamic_weights:
            return inputs * weight_bits
        return inputs * max(1, max(bits_of(v, True) for brick in step[1] for v in brick))

    return cost


def loom_with_fixed_inputs(input_bits: int, serial: int) -> Callable[[Step], int]:
    """Only the weights' bits are those in flight; a brick of padding takes as long as any other."""
    return lambda step: -(-input_bits // serial) * max(1, max(bits_of(v, True) for brick in step[1] for v in brick))


def pragmatic_column(brick: Brick, reach: int) -> int:
    """Cycles of one column: sets of pending bit positions, lane by lane."""
    lanes = [sorted(bit for bit in range(17) if abs(v) >> bit & 1) for v in brick]
    cycles = 0
    while any(lanes):
        lowest = min(lane[0] for lane in lanes if lane)
        for lane in lanes:
            if lane and lane[0] <= lowest + reach:
                lane.pop(0)
        cycles += 1
    return max(1, cycles)


def pragmatic(first_stage_bits: int) -> Callable[[Step], int]:
    return lambda step: max(pragmatic_column(brick, 2**first_stage_bits - 1) for brick in step[0])


def laconic(step: Step) -> int:
    ones = lambda v: bin(abs(v)).count("1")  # noqa: E731
    return max(1, max(ones(v) * ones(u) for brick in step[0] for held in step[1] for v, u in zip(brick, held)))


def in_turn(costs: list[int], columns: int) -> int:
    """End of steps that are issued one a cycle, each to the next column once that is free."""
    free = [0] * columns
    clock = -1
    for i, cost in enumerate(costs):
        clock = max(clock + 1, free[i % columns])
        free[i % columns] = clock + cost
    return max(free)


def ahead(costs: list[list[int]], columns: int, registers: int) -> int:
    """End of steps whose columns may run `registers` steps ahead of the slowest one."""
    ends: list[list[int]] = []
    for i, row in enumerate(costs):
        gate = max(ends[i - registers - 1]) if i > registers else 0
        before = ends[-1] if ends else [0] * columns
        ends.append([max(b, gate) + c for b, c in zip(before, row)])
    return max(ends[-1])
