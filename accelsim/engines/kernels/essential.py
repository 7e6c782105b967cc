"""What a brick costs Bit-Pragmatic, by itself.

`essential_bits` says it for any brick and any reach of the lanes' own shifters, lane by lane. `essential_masks` is
many times as fast for bricks of at most `LANES` lanes and shifters of one, two, three or all places' bits: it holds the
lanes side by side as bits, 32 bricks beside each other; see `accelsim.engines.kernels.places`.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.engines.kernels.places import BRICKS, LANES, BrickEnds

NEAR, FAR = (1, 3), (7, 15)
"""Reaches of `essential_masks`; beyond the places of the operands all are alike."""

_ends_1, _ends_1_of_two = BrickEnds(1, 1), BrickEnds(1, 2)
_ends_3, _ends_3_of_two = BrickEnds(3, 1), BrickEnds(3, 2)
_ends_7_of_two = BrickEnds(7, 2)
_ends_all, _ends_all_of_two = BrickEnds(15, 1), BrickEnds(15, 2)


@kernel
def essential_bits(values, bricks, bits, reach, out):  # type: ignore[no-untyped-def]
    """Cycles of Bit-Pragmatic for each brick by itself.

    A lane's one bit at place p is done at the earliest one cycle after its last one, and after all lanes are done
    with the places below p - reach, which is what the shifters' reach says from the other side. So place by place:
    end(lane) = max(end(lane), ends(p - reach)) + bit; ends(p + 1) = the latest of them.

    values: unsigned (images, channels, pixels). bits: of the widest. out: (bricks, images, pixels).
    """
    size = values.shape[2]
    chunk = 512
    most = 0
    for b in range(bricks.shape[0]):
        most = max(most, bricks[b, 1] - bricks[b, 0])
    end = np.zeros((most, chunk), np.uint8)
    byte = np.zeros((most, chunk), np.uint8)
    ends = np.zeros((bits + 1, chunk), np.uint8)
    for b in range(bricks.shape[0]):
        first, lanes = bricks[b, 0], bricks[b, 1] - bricks[b, 0]
        for n in range(values.shape[0]):
            for start in range(0, size, chunk):
                count = min(chunk, size - start)
                end[:lanes, :count] = 0
                for p in range(bits):
                    if p % 8 == 0:
                        for lane in range(lanes):
                            row = values[n, first + lane, start : start + count]
                            low = byte[lane]
                            for i in range(count):
                                low[i] = row[i] >> p
                    gate = ends[max(0, p - reach)]
                    last = ends[p + 1]
                    last[:count] = 0
                    for lane in range(lanes):
                        low = byte[lane]
                        mine = end[lane]
                        for i in range(count):
                            value = max(mine[i], gate[i]) + (low[i] & 1)
                            mine[i] = value
                            low[i] = low[i] >> 1
                            last[i] = max(last[i], np.uint8(value))
                out[b, n, start : start + count] = ends[bits, :count]


@essential_bits.warms_up_with
def _essential():  # type: ignore[no-untyped-def]
    return np.array([[[1, 2], [3, 0]]], np.uint8), np.array([[0, 2]], np.int64), 2, 1, np.zeros((1, 1, 2), np.uint8)


@kernel
def _ends(values, at, apart, reach, far, two, line, first):  # type: ignore[no-untyped-def]
    """Of `BRICKS` bricks. `far` and `two` are None or not, so that only what is wanted is compiled."""
    if two is None:
        if far is not None:
            _ends_all(values, at, apart, line, first)
        elif reach == 1:
            _ends_1(values, at, apart, line, first)
        else:
            _ends_3(values, at, apart, line, first)
    elif far is not None:
        if reach == 7:
            _ends_7_of_two(values, at, apart, line, first)
        else:
            _ends_all_of_two(values, at, apart, line, first)
    elif reach == 1:
        _ends_1_of_two(values, at, apart, line, first)
    else:
        _ends_3_of_two(values, at, apart, line, first)


@kernel
def essential_masks(values, bricks, reach, far, two, out):  # type: ignore[no-untyped-def]
    """As `essential_bits`, for bricks of `LANES` at most.

    values: their bytes (images, channels, pixels x bytes of one), C-contiguous. reach: one of `NEAR`, or of `FAR` if
    `far` is not None. two: None for values of one byte, else anything.
    """
    images, channels, size = values.shape
    each = 1 if two is None else 2
    pixels = size // each
    count, flat = min(pixels, BRICKS), values.reshape(-1)
    room = np.zeros(LANES * BRICKS * each, np.uint8)
    ends = np.zeros(BRICKS, np.uint8)
    for b in range(bricks.shape[0]):
        first, lanes = bricks[b, 0], bricks[b, 1] - bricks[b, 0]
        whole = lanes == LANES and count == BRICKS
        room[:] = 0
        for n in range(images):
            for begin in range(0, pixels, BRICKS):
                start = max(0, min(begin, pixels - BRICKS))  # the last ones overlap those before
                source = (n * channels + first) * size + start * each
                if whole:
                    seen, at, apart, line, to = flat, source, size, out[b, n], start
                else:
                    for lane in range(lanes):
                        for i in range(count * each):
                            room[lane * BRICKS * each + i] = flat[source + lane * size + i]
                    seen, at, apart, line, to = room, 0, BRICKS * each, ends, 0
                _ends(seen, at, apart, reach, far, two, line, to)
                if not whole:
                    for i in range(count):
                        out[b, n, start + i] = ends[i]


@essential_masks.warms_up_with
def _masks():  # type: ignore[no-untyped-def]
    return np.ones((1, 2, 8), np.uint8), np.array([[0, 2]], np.int64), 3, None, None, np.zeros((1, 1, 8), np.uint8)
