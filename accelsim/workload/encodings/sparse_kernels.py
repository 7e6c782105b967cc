"""Kernels that the sparse encodings share: masks, gathering and scattering of nonzeros, runs of zeros.

Elements are seen as unsigned lanes (uint8, uint16, uint32); what is tested is only whether they are zero. All
loops go over the set bits of a mask, 64 elements to a word, so their time follows the nonzeros and not the elements.
The kernels give up the interpreter lock: tensors can be encoded on several threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.workload.packing import Words, value_dtype

CHUNK = 1 << 16
"""Elements that are looked at at a time, so that what is between stays in the second-level cache."""


def lanes(values: NDArray[Any]) -> NDArray[Any]:
    """The elements in C order, flat, as unsigned integers of the same width (no copy if contiguous)."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(f"u{flat.dtype.itemsize}")


def nonzero_mask(flat: NDArray[Any]) -> Words:
    """Bit i % 64 of word i // 64 is set where element i is not zero; bits beyond the last element are clear."""
    mask: Words = np.zeros(ceil_div(flat.size, 64), np.uint64)
    octets = mask.view(np.uint8)
    for at in range(0, flat.size, CHUNK):
        part = np.packbits(flat[at : at + CHUNK] != 0, bitorder="little")
        octets[at >> 3 : (at >> 3) + part.size] = part
    return mask


def mask_count(mask: Words) -> int:
    """Number of set bits."""
    return sum(int(popcount(mask[at : at + CHUNK]).sum(dtype=np.int64)) for at in range(0, mask.size, CHUNK))


@np.errstate(over="ignore")  # a product of `lowest` is cut off on purpose, which numpy, without the compiler, tells
def gather(flat: NDArray[Any], mask: Words, count: int | None = None) -> NDArray[Any]:
    """The nonzeros, in order; mask is `nonzero_mask(flat)`, count its set bits if known."""
    if count is None:
        count = mask_count(mask)
    out: NDArray[Any] = np.empty(count + 1, flat.dtype)
    if 4 * count > flat.size:  # so many that looking at every element is quicker
        gather_nonzero(flat, out)
    else:
        gather_set(flat, mask, out)
    return out[:count]


@np.errstate(over="ignore")
def scatter(mask: Words, nonzeros: NDArray[Any], out: NDArray[Any]) -> None:
    """Put nonzeros, in order, where the mask's bits are set; all flat lanes of one width."""
    scatter_set(mask, nonzeros, out)


@np.errstate(over="ignore")
def runs_of(flat: NDArray[Any], length: int, run_bits: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Runs, values and pointers of lines of `length` elements: see `take_runs`."""
    mask, top = nonzero_mask(flat), (1 << run_bits) - 1
    room = mask_count(mask) + flat.size // (top + 1)
    runs, taken = np.empty(room, value_dtype(run_bits, False)), np.empty(room, flat.dtype)
    pointers: NDArray[np.int64] = np.zeros(flat.size // length + 1, np.int64)
    count = take_runs(flat, mask, length, top, runs, taken, pointers)
    return runs[:count], taken[:count], pointers


_OCTET_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


def popcount(words: Words) -> NDArray[Any]:
    """Bits that are set in each word, or in each octet, whichever is quick: for sums."""
    count = getattr(np, "bitwise_count", None)  # numpy 2
    found: NDArray[Any]
    found = count(words) if count is not None else _OCTET_BITS[np.ascontiguousarray(words).view(np.uint8)]
    return found


@kernel
def lowest(word):  # type: ignore[no-untyped-def]
    """Place of the lowest set bit of a uint64 that is not zero, by counting the ones below it.

    The compiler knows this sum and replaces it by the machine's own instruction.
    """
    x = ~word & (word - np.uint64(1))
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel(nogil=True)
def gather_set(values, mask, out):  # type: ignore[no-untyped-def]
    """out[j] = the element under the j-th set bit of mask; returns their number. Set bits lie inside values."""
    at = 0
    for i in range(mask.size):
        word = mask[i]
        while word != np.uint64(0):
            out[at] = values[(i << 6) + lowest(word)]
            at += 1
            word &= word - np.uint64(1)
    return at


@kernel(nogil=True)
def gather_nonzero(values, out):  # type: ignore[no-untyped-def]
    """out[j] = the j-th nonzero; out has room for one element more than there are. Returns their number."""
    at = 0
    for i in range(values.size):
        value = values[i]
        out[at] = value
        at += int(value != 0)
    return at


@kernel(nogil=True)
def scatter_set(mask, nonzeros, out):  # type: ignore[no-untyped-def]
    """The element of out under the j-th set bit = nonzeros[j]; the others stay. Set bits lie inside out."""
    at = 0
    for i in range(mask.size):
        word = mask[i]
        while word != np.uint64(0):
            out[(i << 6) + lowest(word)] = nonzeros[at]
            at += 1
            word &= word - np.uint64(1)
    return at


@kernel(nogil=True)
def take_runs(values, mask, length, top, runs, taken, pointers):  # type: ignore[no-untyped-def]
    """Entries (zeros before it, value) of lines of `length` elements, with a padding zero where a run exceeds `top`.

    values : flat lanes, a whole number of lines; mask : their nonzeros
    runs, taken : written; room for nonzeros + elements // (top + 1) entries
    pointers : int64[lines + 1], written: entries of line s are pointers[s] to pointers[s + 1]
    Returns the number of entries. Zeros at the end of a line have no entry.
    """
    # unsigned throughout: an index that might be negative would be tested for it at every access
    one, most, step = np.uint64(1), np.uint64(top), np.uint64(length)
    at, base, after, end, line = np.uint64(0), np.uint64(0), np.uint64(0), step, 0
    pointers[0] = 0
    for word in mask:
        while word != np.uint64(0):
            place = base + np.uint64(lowest(word))
            word &= word - one
            while place >= end:
                line += 1
                pointers[line] = at
                after = end
                end += step
            run = place - after
            after = place + one
            while run > most:
                runs[at] = most
                taken[at] = 0
                at += one
                run -= most + one
            runs[at] = run
            taken[at] = values[place]
            at += one
        base += np.uint64(64)
    for s in range(line + 1, pointers.size):
        pointers[s] = at
    return np.int64(at)


@kernel(nogil=True)
def place_runs(runs, taken, pointers, length, top, out):  # type: ignore[no-untyped-def]
    """The inverse of `take_runs`: out, all zeros before, has pointers.size - 1 lines of `length` elements.

    Returns -1, or the entry that `take_runs` cannot have made: it leads out of its line, or is zero without being
    a padding zero before another entry. Pointers are ascending, and inside runs and taken.
    """
    for s in range(pointers.size - 1):
        place = s * length - 1
        end = place + length
        for e in range(pointers[s], pointers[s + 1]):
            place += np.int64(runs[e]) + 1
            if place > end:
                return e
            value = taken[e]
            if value == 0 and (np.int64(runs[e]) != top or e == pointers[s + 1] - 1):
                return e
            out[place] = value
    return -1


@gather_set.warms_up_with
def _gather_example() -> tuple[Any, ...]:
    return np.ones(64, np.uint8), np.ones(1, np.uint64), np.zeros(1, np.uint8)


@gather_nonzero.warms_up_with
def _gather_all_example() -> tuple[Any, ...]:
    return np.ones(64, np.uint8), np.zeros(65, np.uint8)


@scatter_set.warms_up_with
def _scatter_example() -> tuple[Any, ...]:
    return np.ones(1, np.uint64), np.ones(1, np.uint8), np.zeros(64, np.uint8)


@take_runs.warms_up_with
def _take_example() -> tuple[Any, ...]:
    byte = np.zeros(80, np.uint8)
    return byte, np.ones(1, np.uint64), 64, 15, byte.copy(), byte.copy(), np.zeros(2, np.int64)


@place_runs.warms_up_with
def _place_example() -> tuple[Any, ...]:
    return np.zeros(1, np.uint8), np.ones(1, np.uint8), np.array([0, 1]), 64, 15, np.zeros(64, np.uint8)
