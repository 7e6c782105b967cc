"""Eyeriss' words of three pairs, made from entries and taken apart: see `rlc.EyerissRunLength`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.bits import has_quick_bits, pdep
from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.group_kernels import Compactor, few
from accelsim.workload.encodings.sparse_kernels import runs_of
from accelsim.workload.packing import Words, value_dtype

TOP = 31
"""The longest run."""

_ELEMENTS = 1 << 16
"""Whose entries are made at a time, so that what is between stays in the caches."""


def words_of_pairs(flat: NDArray[Any], signed: bool) -> tuple[Words, int, int]:
    """Words of flat lanes of one or two bytes, without the mark of the last; numbers of entries and of nonzeros."""
    nonzeros = int(np.count_nonzero(flat))
    room = nonzeros + flat.size // (TOP + 1)
    data: Words = np.empty(ceil_div(room, 3) + 1, np.uint64)
    wide, kind = np.int16 if signed else np.uint16, value_dtype(8 * flat.itemsize, signed)
    if few(room, flat, TOP):
        found, taken, _ = runs_of(flat, flat.size, TOP.bit_length())
        words = ceil_div(found.size, 3)
        run_list, numbers = np.zeros(3 * words + 1, np.uint8), np.zeros(3 * words + 1, wide)
        run_list[: found.size], numbers[: found.size] = found, taken.view(kind)
        pair_words(run_list, numbers.view(np.uint16), data[:words])
        return data[:words], found.size, nonzeros
    machine = Compactor(flat, TOP)
    run_list, taken = np.empty(_ELEMENTS + 16, np.uint8), np.empty(_ELEMENTS + 16, flat.dtype)
    made = left = 0
    while machine.left:
        entries = left + machine.run(_ELEMENTS // machine.lanes, run_list[left:], taken[left:])
        if not machine.left:  # empty places of the last word
            run_list[entries : entries + 2] = 0
            taken[entries : entries + 2] = 0
        words = entries // 3 if machine.left else ceil_div(entries, 3)
        numbers = taken[: 3 * words + 1].view(kind).astype(wide, copy=False).view(np.uint16)
        pair_words(run_list, numbers, data[made : made + words])
        left = entries - 3 * words
        made += words
        if machine.left:
            run_list[:left], taken[:left] = run_list[3 * words : entries], taken[3 * words : entries]
    return data[:made], 3 * made + min(left, 0), nonzeros


def place_pairs(data: Words, count: int, nonzeros: int, bits: int, signed: bool, out: NDArray[Any]) -> int:
    """The inverse, `out` being all zeros before, and `nonzeros` the number that is promised: see `spread_pairs`."""
    above = range(bits - 1, 15) if signed else range(bits, 16)  # equal to the next one up, or zero
    places = sum(1 << (21 * pair + 5 + at) for pair in range(3) for at in above)
    with np.errstate(over="ignore"):
        return int(spread_pairs(data, count, nonzeros < count, int(signed), np.uint64(places), out))


@kernel
def three_pairs(runs, values):  # type: ignore[no-untyped-def]
    """A word of three pairs, from the three lowest bytes of `runs` and the three lowest uint16 of `values`."""
    byte, number = np.uint64(0xFF), np.uint64(0xFFFF)
    first = (runs & byte) | ((values & number) << np.uint64(5))
    second = ((runs >> np.uint64(8)) & byte) | (((values >> np.uint64(16)) & number) << np.uint64(5))
    third = ((runs >> np.uint64(16)) & byte) | (((values >> np.uint64(32)) & number) << np.uint64(5))
    return first | (second << np.uint64(21)) | (third << np.uint64(42))


@three_pairs.instead(has_quick_bits)
def _three_pairs(runs, values):  # type: ignore[no-untyped-def]
    at_runs = np.uint64(0xFF << 42 | 0xFF << 21 | 0xFF)
    at_values = np.uint64(0xFFFF << 47 | 0xFFFF << 26 | 0xFFFF << 5)
    return pdep(runs, at_runs) | pdep(values, at_values)


@kernel(nogil=True)
def pair_words(runs, values, data):  # type: ignore[no-untyped-def]
    """data[i] = three pairs: runs, 5 bits, each below its value, uint16. Both have an element to spare."""
    for i in range(data.size):
        k = np.uint64(3 * i)
        some, others = np.uint64(0), np.uint64(0)
        for b in range(4):  # become one load each
            some |= np.uint64(runs[k + np.uint64(b)]) << np.uint64(8 * b)
        for b in range(4):
            others |= np.uint64(values[k + np.uint64(b)]) << np.uint64(16 * b)
        data[i] = three_pairs(some, others)


@kernel(nogil=True)
def spread_pairs(data, count, padded, signed, above, out):  # type: ignore[no-untyped-def]
    """Put the `count` pairs of data into `out`, flat lanes of one or two bytes that are all zeros before.

    padded : whether to look at values of zero: where false, it is for the caller to see that there are none
    signed, above : bits of a word that must be zero, or, if signed is 1, equal to the next one up

    Returns -1; the first entry found (with others of its word unseen) that leads beyond the last element, or is
    zero without being a padding zero before another entry; -2 where a word before the last is marked; -3 where a
    value has bits that must not be.
    """
    one, five, pair = np.uint64(1), np.uint64(5), np.uint64(21)
    most, number, up = np.uint64(31), np.uint64(0xFFFF), np.uint64(signed)
    lane = (one << np.uint64(8 * out.itemsize)) - one
    size, place = np.uint64(out.size), np.uint64(0)
    marks, wide, i = np.uint64(0), np.uint64(0), 0
    while i < data.size - 1 and place + np.uint64(96) <= size:
        word, wrong = data[i], np.uint64(0)
        marks |= word
        wide |= word ^ ((word >> one) * up)
        for _ in range(3):
            value = (word >> five) & number
            run = word & most
            place += run
            out[place] = value & lane
            place += one
            word >>= pair
            if padded:
                wrong |= (value - one) & (run - most)  # the sign says: zero, and no longest run
        if wrong >> np.uint64(63):
            return np.int64(3 * i)
        i += 1
    for e in range(3 * i, count):
        at = e // 3
        word = data[at]
        if at < data.size - 1:
            marks |= word
        wide |= word ^ ((word >> one) * up)
        word >>= np.uint64(21 * (e % 3))
        value, run = (word >> five) & number, word & most
        place += run
        if place >= size or (value == np.uint64(0) and (run != most or e == count - 1)):
            return np.int64(e)
        out[place] = value & lane
        place += one
    if marks >> np.uint64(63):
        return -2
    return -3 if wide & above else -1


@pair_words.warms_up_with
def _pair_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint8), np.zeros(4, np.uint16), np.zeros(1, np.uint64)


@spread_pairs.warms_up_with
def _spread_example() -> tuple[Any, ...]:
    return np.zeros(1, np.uint64), 0, False, 1, np.uint64(0), np.zeros(4, np.uint8)
