"""k-bit integers, k = 1..32, packed without gaps into 64-bit words, and back.

Element i occupies bits i*k to i*k + k - 1 of the stream; bit b of the stream is bit b % 64 of word b // 64
(little-endian bit order; hosts are little-endian). Negative numbers are in two's complement.

The kernels never touch single elements. A 64-bit word holds 8, 4 or 2 elements in lanes of 8, 16 or 32 bits
(the numpy array as it is); three steps, each two masks and a shift, push neighbouring lanes together until
the word's fields are adjacent. Unpacking runs the same steps backwards. Where the processor has an instruction
for that, it is one step.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.bits import has_quick_bits, pdep, pext
from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div

MAX_BITS = 32
_GROUP = 64  # elements that fill a whole number of words at every width

Words = NDArray[np.uint64]


def limits(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest k-bit integer."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def value_dtype(bits: int, signed: bool) -> np.dtype[Any]:
    """The narrowest numpy integer for a k-bit integer: int8, int16, int32, or their unsigned likes."""
    return np.dtype(f"{'i' if signed else 'u'}{_lane_bits(bits) // 8}")


def words_for(count: int, bits: int) -> int:
    """64-bit words that hold `count` integers of `bits` bits."""
    return ceil_div(count * bits, 64)


def pack(values: NDArray[Any], bits: int, out: Words | None = None) -> Words:
    """Pack integers.

    Parameters
    ----------
    values : ndarray of an integer dtype, any shape
        Must be in the range of `bits` bits, signed or unsigned; higher bits are dropped silently.
    bits : int
        1 to 32.
    out : ndarray of uint64, shape (words_for(values.size, bits),), optional
        Where to.

    Returns
    -------
    ndarray of uint64, shape (words_for(values.size, bits),)
        Unused bits of the last word are zero.
    """
    lane = _lane_bits(bits)
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.dtype.kind not in "iu" or flat.dtype.itemsize * 8 != lane:
        flat = flat.astype(f"i{lane // 8}")
    words: Words = np.empty(words_for(flat.size, bits), np.uint64) if out is None else out
    words[words.size - 1 :] = 0
    if bits == lane:
        words.view(flat.dtype)[: flat.size] = flat
        return words
    plan = _plan(bits)
    body = flat.size // _GROUP * _GROUP
    if body:
        pack_words(_as_words(flat[:body]), words, plan)
    if body < flat.size:
        rest = np.zeros(_GROUP, flat.dtype)
        rest[: flat.size - body] = flat[body:]
        tail: Words = np.zeros(bits, np.uint64)
        pack_words(rest.view(np.uint64), tail, plan)
        done = body * bits // 64
        words[done:] = tail[: words.size - done]
    return words


def pack_in_place(values: NDArray[Any], count: int, bits: int) -> Words:
    """As `pack` of the first `count` values, in their own memory if they fill their lanes.

    Parameters
    ----------
    values : ndarray of the integer type that `bits` bits need, one dimension, contiguous
        Whole 64-bit words; what is in it beyond `count` may be anything, and is cleared.
    """
    per_word = 8 // values.dtype.itemsize
    if bits != 8 * values.dtype.itemsize or values.size % per_word:
        return pack(values[:count], bits)
    words: Words = values.view(np.uint64)[: words_for(count, bits)]
    values[count : words.size * per_word] = 0
    return words


def unpack(words: Words, count: int, bits: int, signed: bool) -> NDArray[Any]:
    """Unpack `count` integers.

    Parameters
    ----------
    words : ndarray of uint64, shape (words_for(count, bits),)
    count, bits : int
    signed : bool

    Returns
    -------
    ndarray of `value_dtype(bits, signed)`, shape (count,)
        At 8, 16 and 32 bits a view of `words`, else a new array.

    Raises
    ------
    ValueError
        If there are more or fewer words than `count` integers need.
    """
    if words.dtype != np.uint64 or words.ndim != 1 or words.size != words_for(count, bits):
        raise ValueError(f"{count} integers of {bits} bits need {words_for(count, bits)} words, got {words.size}")
    dtype = value_dtype(bits, signed)
    if bits == _lane_bits(bits):
        return words.view(dtype)[:count]
    values = np.empty(ceil_div(count, 8) * 8, dtype)  # whole words, so that it can be seen as such
    plan, sign = _plan(bits), _sign_plan(bits, signed)
    if bits in (1, 2, 4):  # a field is 8, 16 or 32 bits: numpy finds it, and the loop becomes vector code
        lanes = values.view(np.uint64)
        spread_fields(words.view(f"u{bits}")[: lanes.size], lanes, plan, sign)
        return values[:count]
    body = count // _GROUP * _GROUP
    if body:
        unpack_words(words, values[:body].view(np.uint64), plan, sign)
    if body < count:
        done = body * bits // 64
        tail: Words = np.zeros(bits, np.uint64)
        tail[: words.size - done] = words[done:]
        rest = np.empty(_GROUP, dtype)
        unpack_words(tail, rest.view(np.uint64), plan, sign)
        values[body:count] = rest[: count - body]
    return values[:count]


def unused_bits_are_zero(words: Words, count: int, bits: int) -> bool:
    """Whether the last word holds nothing beyond the last integer."""
    used = count * bits % 64
    return used == 0 or not words.size or int(words[-1]) >> used == 0


def _lane_bits(bits: int) -> int:
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"bits must be 1 to {MAX_BITS}, got {bits}")
    return 8 if bits <= 8 else 16 if bits <= 16 else 32


def _as_words(flat: NDArray[Any]) -> Words:
    if flat.ctypes.data % 8:
        flat = flat.copy()
    return flat.view(np.uint64)


@lru_cache(maxsize=64)
def _plan(bits: int) -> Words:
    """For the kernels: three times (mask of even lanes, mask of odd lanes, shift), then the bits of a full word, and
    the mask of all lanes' integers."""
    plan: list[int] = []
    field, lane = bits, _lane_bits(bits)
    for step in (8, 16, 32):
        if step < lane:
            plan += [2**64 - 1, 0, 0]
            continue
        low = ((1 << field) - 1) * sum(1 << at for at in range(0, 64, 2 * step))
        plan += [low, low << step, step - field]
        field *= 2
    fields = ((1 << bits) - 1) * sum(1 << at for at in range(0, 64, lane))
    return np.array([*plan, field, fields], np.uint64)


@lru_cache(maxsize=64)
def _sign_plan(bits: int, signed: bool) -> Words:
    """The top bit of every lane, and the sign bit of every lane's integer (none if unsigned)."""
    lane = _lane_bits(bits)
    ones = sum(1 << at for at in range(0, 64, lane))
    return np.array([ones << (lane - 1), ones << (bits - 1) if signed else 0], np.uint64)


@kernel
def steps_of(plan):  # type: ignore[no-untyped-def]
    """A plan's numbers apart, so that they need not be read again whenever a word is written."""
    return plan[0], plan[1], plan[2], plan[3], plan[4], plan[5], plan[6], plan[7], plan[8], plan[10]


@kernel
def join_lanes(x, steps):  # type: ignore[no-untyped-def]
    """The integers of a word's lanes side by side, without what is above them."""
    low0, high0, shift0, low1, high1, shift1, low2, high2, shift2, _ = steps
    x = (x & low0) | ((x & high0) >> shift0)
    x = (x & low1) | ((x & high1) >> shift1)
    return (x & low2) | ((x & high2) >> shift2)


@join_lanes.instead(has_quick_bits)
def _join_lanes(x, steps):  # type: ignore[no-untyped-def]
    return pext(x, steps[9])


@kernel
def part_in_steps(x, steps):  # type: ignore[no-untyped-def]
    """The inverse; above the word's integers there may be anything."""
    low0, high0, shift0, low1, high1, shift1, low2, high2, shift2, _ = steps
    x = (x & low2) | ((x << shift2) & high2)
    x = (x & low1) | ((x << shift1) & high1)
    return (x & low0) | ((x << shift0) & high0)


@kernel
def part_lanes(x, steps):  # type: ignore[no-untyped-def]
    """As `part_in_steps`, which loops without branches prefer: they become vector code."""
    return part_in_steps(x, steps)


@part_lanes.instead(has_quick_bits)
def _part_lanes(x, steps):  # type: ignore[no-untyped-def]
    return pdep(x, steps[9])


@kernel
def pack_words(lanes, words, plan):  # type: ignore[no-untyped-def]
    """lanes: uint64[8g, 16g or 32g], a whole number of groups; words: uint64, the first g * bits are written."""
    steps, field = steps_of(plan), np.int64(plan[9])
    word, fill, at = np.uint64(0), np.int64(0), 0
    for i in range(lanes.size):
        x = join_lanes(lanes[i], steps)
        word |= x << np.uint64(fill)
        fill += field
        if fill >= 64:
            words[at] = word
            at += 1
            fill -= 64
            word = x >> np.uint64(field - fill) if fill else np.uint64(0)


@kernel
def unpack_words(words, lanes, plan, sign):  # type: ignore[no-untyped-def]
    """The inverse of `pack_words`, with sign extension; lanes are written, and say how much is read."""
    steps, field = steps_of(plan), np.int64(plan[9])
    top, minus = sign[0], sign[1]
    for i in range(lanes.size):
        start = i * field
        at, skip = start >> 6, start & 63
        x = words[at] >> np.uint64(skip)
        if skip + field > 64:
            x |= words[at + 1] << np.uint64(64 - skip)
        x = part_lanes(x, steps)
        # lane-wise (x ^ minus) - minus: the top bits keep a borrow from crossing lanes
        x ^= minus
        lanes[i] = ((x | top) - minus) ^ (~x & top)


@kernel
def spread_fields(fields, lanes, plan, sign):  # type: ignore[no-untyped-def]
    """As `unpack_words`, where every field is a whole uint8, uint16 or uint32."""
    steps = steps_of(plan)
    top, minus = sign[0], sign[1]
    for i in range(lanes.size):
        x = part_in_steps(np.uint64(fields[i]), steps)
        x ^= minus
        lanes[i] = ((x | top) - minus) ^ (~x & top)


@pack_words.warms_up_with
def _pack_example() -> tuple[Any, ...]:
    return np.zeros(8, np.uint64), np.zeros(4, np.uint64), _plan(4)


@unpack_words.warms_up_with
def _unpack_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint64), np.zeros(8, np.uint64), _plan(4), _sign_plan(4, True)


@spread_fields.warms_up_with
def _spread_example() -> tuple[Any, ...]:
    return np.zeros(2, np.uint32), np.zeros(2, np.uint64), _plan(4), _sign_plan(4, True)
