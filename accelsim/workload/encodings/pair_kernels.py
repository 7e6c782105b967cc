"""Eyeriss' words of three pairs, made from entries and taken apart: see `rlc.EyerissRunLength`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.group_kernels import Compactor, few
from accelsim.workload.encodings.sparse_kernels import runs_of
from accelsim.workload.packing import Words, value_dtype, words_for

TOP = 31
"""The longest run."""

_ELEMENTS = 1 << 16
"""Whose entries are made at a time, so that what is between stays in the caches."""


def words_of_pairs(flat: NDArray[Any], signed: bool) -> tuple[Words, int]:
    """Words of flat lanes of one or two bytes, without the mark of the last, and the number of entries."""
    room = int(np.count_nonzero(flat)) + flat.size // (TOP + 1)
    data: Words = np.empty(ceil_div(room, 3) + 1, np.uint64)
    wide, kind = np.int16 if signed else np.uint16, value_dtype(8 * flat.itemsize, signed)
    if few(room, flat, TOP):
        found, taken, _ = runs_of(flat, flat.size, TOP.bit_length())
        words = ceil_div(found.size, 3)
        run_list, numbers = np.zeros(3 * words, np.uint8), np.zeros(3 * words, wide)
        run_list[: found.size], numbers[: found.size] = found, taken.view(kind)
        pair_words(run_list, numbers.view(np.uint16), data[:words])
        return data[:words], found.size
    machine, groups = Compactor(flat, TOP, 8), _ELEMENTS * flat.itemsize // 8
    runs, values = np.empty(words_for(_ELEMENTS, 8) + 3, np.uint64), np.empty(words_for(_ELEMENTS, 16) + 3, np.uint64)
    run_list, value_list = runs.view(np.uint8), values.view(kind)
    made = left = 0
    while machine.left:
        machine.rewind(left)
        machine.run(groups, runs, values)
        entries = machine.entries
        if not machine.left:  # empty places of the last word
            run_list[entries : entries + 2] = 0
            value_list[entries : entries + 2] = 0
        words = entries // 3 if machine.left else ceil_div(entries, 3)
        numbers = value_list[: 3 * words].astype(wide, copy=False).view(np.uint16)
        pair_words(run_list, numbers, data[made : made + words])
        left = entries - 3 * words
        made += words
        if machine.left:
            run_list[:left], value_list[:left] = run_list[3 * words : entries], value_list[3 * words : entries]
    return data[:made], 3 * made + min(left, 0)


def place_pairs(data: Words, count: int, nonzeros: int, bits: int, signed: bool, out: NDArray[Any]) -> int:
    """The inverse, `out` being all zeros before, and `nonzeros` the number that is promised: see `spread_pairs`."""
    above = range(bits - 1, 15) if signed else range(bits, 16)  # equal to the next one up, or zero
    places = sum(1 << (21 * pair + 5 + at) for pair in range(3) for at in above)
    with np.errstate(over="ignore"):
        return int(spread_pairs(data, count, nonzeros < count, int(signed), np.uint64(places), out))


@kernel(nogil=True)
def pair_words(runs, values, data):  # type: ignore[no-untyped-def]
    """data[i] = three pairs: runs, 5 bits, each below its value, uint16."""
    for i in range(data.size):
        k = 3 * i
        first = np.uint64(runs[k]) | (np.uint64(values[k]) << np.uint64(5))
        second = np.uint64(runs[k + 1]) | (np.uint64(values[k + 1]) << np.uint64(5))
        third = np.uint64(runs[k + 2]) | (np.uint64(values[k + 2]) << np.uint64(5))
        data[i] = first | (second << np.uint64(21)) | (third << np.uint64(42))


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
    return np.zeros(3, np.uint8), np.zeros(3, np.uint16), np.zeros(1, np.uint64)


@spread_pairs.warms_up_with
def _spread_example() -> tuple[Any, ...]:
    return np.zeros(1, np.uint64), 0, False, 1, np.uint64(0), np.zeros(4, np.uint8)
