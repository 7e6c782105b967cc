"""What a brick costs Bit-Pragmatic, by itself.

`essential_bits` says it for any brick and any reach of the lanes' own shifters, lane by lane. `essential_masks` is
several times as fast for bricks of at most 16 lanes and the shifters that the paper builds (of one and two stages):
it holds the lanes side by side as bits of two bytes, one pair of bytes for each place of the operands, and 32 bricks
beside each other in the processor's vectors.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel
from accelsim.engines.kernels.transpose import transpose

#: Most lanes of `essential_masks`, and its reaches.
MASK_LANES, MASK_REACHES = 16, (1, 3)
_CHUNK = 2048  # bytes of each lane at a time: few calls, and all that is written stays in the cache
_EACH = 0x0101010101010101
#: Of `transpose`: bit l of byte i of line p becomes bit p of byte i of lane l
_BITS = (
    np.uint64(4), np.uint64(0x0F * _EACH), np.uint64(2), np.uint64(0x33 * _EACH), np.uint64(1), np.uint64(0x55 * _EACH),
)  # fmt: skip
_START = (np.int8(0),) * 14


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


@kernel(forceinline=True)
def _later(t1, t2, t3, t4, gone, bit):  # type: ignore[no-untyped-def]
    """Lanes that end at least 1, 2, 3, 4 cycles above the gate: after it has `gone` up by one, and then their bit."""
    stay = np.int8(~gone)
    t1, t2, t3 = np.int8(t2 | (t1 & stay)), np.int8(t3 | (t2 & stay)), np.int8(t4 | (t3 & stay))
    return np.int8(t1 | bit), np.int8(t2 | (t1 & bit)), np.int8(t3 | (t2 & bit)), np.int8(t3 & bit)


@kernel(forceinline=True)
def _some(x, y):  # type: ignore[no-untyped-def]
    """All ones if a lane is in one of the masks, which counts as -1."""
    return np.int8(-1) if (x | y) != 0 else np.int8(0)


@kernel(forceinline=True)
def _place(state, x, y, near, far):  # type: ignore[no-untyped-def]
    """One place of the operands: the lanes that have a bit there are x and y.

    The gate, which all lanes have passed, is where the slowest lane ended `reach` places ago: it goes up with what
    that end did one place earlier (near: reach 1, far: reach 3). No lane is more than `reach` above it.
    State: lanes by their height above the gate (a: eight, b: the others), the last four steps of the slowest lane's
    end, its negative height above the gate, and its end.
    """
    a1, a2, a3, a4, b1, b2, b3, b4, up1, up2, up3, up4, above, end = state
    gone = np.int8((up2 & near) | (up4 & far))
    a1, a2, a3, a4 = _later(a1, a2, a3, a4, gone, x)
    b1, b2, b3, b4 = _later(b1, b2, b3, b4, gone, y)
    now = np.int8(np.int8(_some(a1, b1) + _some(a2, b2)) + np.int8(_some(a3, b3) + _some(a4, b4)))
    up = np.int8(np.int8(now - above) + gone)
    return a1, a2, a3, a4, b1, b2, b3, b4, up, up1, up2, up3, now, np.int8(end - up)


@kernel(forceinline=True)
def _byte(state, rows, i, near, far):  # type: ignore[no-untyped-def]
    """The eight places of one byte; written out, since the vectoriser sees no loop in a loop."""
    state = _place(state, rows[0, i], rows[8, i], near, far)
    state = _place(state, rows[1, i], rows[9, i], near, far)
    state = _place(state, rows[2, i], rows[10, i], near, far)
    state = _place(state, rows[3, i], rows[11, i], near, far)
    state = _place(state, rows[4, i], rows[12, i], near, far)
    state = _place(state, rows[5, i], rows[13, i], near, far)
    state = _place(state, rows[6, i], rows[14, i], near, far)
    return _place(state, rows[7, i], rows[15, i], near, far)


@kernel
def _ends(rows, two, near, far, out):  # type: ignore[no-untyped-def]
    """Cycles of bricks beside each other, of one byte a lane or (`two` is not None) of two."""
    for i in range(out.shape[0]):
        if two is None:
            out[i] = _byte(_START, rows, i, near, far)[13]
        else:
            out[i] = _byte(_byte(_START, rows, 2 * i, near, far), rows, 2 * i + 1, near, far)[13]


@kernel
def _lane(values, n, channel, end, start, words, none):  # type: ignore[no-untyped-def]
    if channel >= end:
        return none
    return values[n, channel, start : start + 8 * words].view(np.uint64)


@kernel
def essential_masks(values, bricks, reach, two, out):  # type: ignore[no-untyped-def]
    """As `essential_bits`, for bricks of `MASK_LANES` at most and a reach out of `MASK_REACHES`.

    values: their bytes (images, channels, pixels x bytes of one), at least eight in a row. two: None for values of
    one byte, else anything.
    """
    size = values.shape[2]
    each = 1 if two is None else 2
    rows = np.zeros((MASK_LANES, _CHUNK), np.int8)
    words = rows.view(np.uint64)
    low, high = words[:8], words[8:]
    none = np.zeros(_CHUNK // 8, np.uint64)
    ends = np.zeros(_CHUNK, np.uint8)
    near, far = np.int8(-1 if reach == 1 else 0), np.int8(-1 if reach == 3 else 0)
    for b in range(bricks.shape[0]):
        c, end = bricks[b]
        for n in range(values.shape[0]):
            start = 0
            while start < size:
                w = max(1, min(_CHUNK, size - start) // 8)
                s = min(start, size - 8 * w)  # the last word overlaps the one before
                start = s + 8 * w
                transpose(
                    _lane(values, n, c, end, s, w, none), _lane(values, n, c + 1, end, s, w, none),
                    _lane(values, n, c + 2, end, s, w, none), _lane(values, n, c + 3, end, s, w, none),
                    _lane(values, n, c + 4, end, s, w, none), _lane(values, n, c + 5, end, s, w, none),
                    _lane(values, n, c + 6, end, s, w, none), _lane(values, n, c + 7, end, s, w, none),
                    _BITS, low, w,
                )  # fmt: skip
                transpose(
                    _lane(values, n, c + 8, end, s, w, none), _lane(values, n, c + 9, end, s, w, none),
                    _lane(values, n, c + 10, end, s, w, none), _lane(values, n, c + 11, end, s, w, none),
                    _lane(values, n, c + 12, end, s, w, none), _lane(values, n, c + 13, end, s, w, none),
                    _lane(values, n, c + 14, end, s, w, none), _lane(values, n, c + 15, end, s, w, none),
                    _BITS, high, w,
                )  # fmt: skip
                count = 8 * w // each
                _ends(rows, two, near, far, ends[: (count + 31) // 32 * 32])  # whole vectors
                line = out[b, n, s // each : s // each + count]
                for i in range(count):
                    line[i] = ends[i]


@essential_masks.warms_up_with
def _masks():  # type: ignore[no-untyped-def]
    return np.ones((1, 2, 8), np.uint8), np.array([[0, 2]], np.int64), 1, None, np.zeros((1, 1, 8), np.uint8)
