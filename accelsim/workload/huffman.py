"""Canonical Huffman codes over small integers: lengths from counts, a bit stream, and back.

Huffman, "A method for the construction of minimum-redundancy codes", Proc. IRE 1952; the canonical assignment of
Schwartz and Kallick, CACM 1964, needs only the lengths to be stored. Symbols are 0 to size - 1. The first bit of a
code word comes first in the stream; bit b of the stream is bit b % 64 of word b // 64.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div

MAX_LENGTH = 60
"""Longest code word; counts would have to add up to more than 2**41 to reach it."""

_PEEK = 11  # bits that are decoded by one look-up

IntArray = NDArray[np.int64]


def code_lengths(counts: NDArray[Any]) -> NDArray[np.uint8]:
    """Lengths of an optimal prefix code.

    Parameters
    ----------
    counts : ndarray of int, shape (size,)
        How often each symbol occurs; at least one must.

    Returns
    -------
    ndarray of uint8, shape (size,)
        0 where a symbol does not occur; 1 if there is only one. Ties are broken by the order of the symbols.
    """
    symbols = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.uint8)
    if symbols.size == 1:
        lengths[symbols[0]] = 1
        return lengths
    # (count, order of making, leaf or pair): merging in that order is deterministic
    heap: list[tuple[int, int, Any]] = [(int(counts[s]), i, int(s)) for i, s in enumerate(symbols)]
    heapq.heapify(heap)
    made = len(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (first[0] + second[0], made, (first[2], second[2])))
        made += 1
    stack = [(heap[0][2], 0)] if heap else []
    while stack:
        node, depth = stack.pop()
        if isinstance(node, int):
            lengths[node] = depth
        else:
            stack += [(node[0], depth + 1), (node[1], depth + 1)]
    return lengths


def stream_bits(counts: NDArray[Any], lengths: NDArray[np.uint8]) -> int:
    """Bits of a stream in which symbols occur so often."""
    return int(np.dot(np.asarray(counts, np.int64), lengths.astype(np.int64)))


def pack_symbols(symbols: NDArray[Any], lengths: NDArray[np.uint8], total_bits: int) -> NDArray[np.uint64]:
    """The stream of all symbols, one word longer than needed if `total_bits` fills the last."""
    codes = _reversed_codes(lengths)
    words = np.zeros(ceil_div(total_bits, 64) + 1, np.uint64)
    write_codes(np.ascontiguousarray(symbols).reshape(-1), codes, lengths.astype(np.int64), words)
    return words[: ceil_div(total_bits, 64)]


def unpack_symbols(
    words: NDArray[np.uint64], count: int, lengths: NDArray[np.uint8], total_bits: int, dtype: Any
) -> NDArray[Any]:
    """`count` symbols of a stream.

    Raises
    ------
    ConfigError
        If the lengths are no prefix code, or the stream does not hold exactly `count` code words.
    """
    table, order = _decoding_tables(lengths)
    look = _look_up_table(lengths)
    out = np.empty(count, dtype)
    padded = np.concatenate([words, np.zeros(2, np.uint64)])
    used = read_codes(padded, total_bits, look, table, order, out)
    if used != total_bits:
        raise ConfigError(f"stream must hold {count} code words in {total_bits} bits, but does not")
    return out


def check_lengths(lengths: NDArray[np.uint8]) -> None:
    """Refuse lengths that are not those of a complete prefix code (or of a single symbol).

    Raises
    ------
    ConfigError
    """
    used = lengths[lengths > 0].astype(np.int64)
    if not used.size or used.max() > MAX_LENGTH:
        raise ConfigError(f"code lengths must be 1 to {MAX_LENGTH}")
    if not (used.size == 1 and used[0] == 1) and sum(1 << (MAX_LENGTH - int(n)) for n in used) != 1 << MAX_LENGTH:
        raise ConfigError("code lengths must be those of a complete prefix code")


def _first_codes(lengths: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """For each length the first code word, and how many there are."""
    counts = np.bincount(lengths, minlength=MAX_LENGTH + 2).tolist()
    counts[0] = 0
    first, code = [0] * (MAX_LENGTH + 2), 0
    for n in range(1, MAX_LENGTH + 2):
        code = (code + counts[n - 1]) << 1
        first[n] = code
    return first, counts


def _reversed_codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint64]:
    first, _ = _first_codes(lengths)
    codes = np.zeros(lengths.size, np.uint64)
    for s in np.flatnonzero(lengths):
        n = int(lengths[s])
        codes[s] = int(f"{first[n]:0{n}b}"[::-1], 2)
        first[n] += 1
    return codes


def _decoding_tables(lengths: NDArray[np.uint8]) -> tuple[IntArray, IntArray]:
    """Per length: first code, count, place of its first symbol; and the symbols in canonical order."""
    check_lengths(lengths)
    first, counts = _first_codes(lengths)
    table = np.zeros((MAX_LENGTH + 1, 3), np.int64)
    place = 0
    for n in range(1, int(lengths.max()) + 1):
        table[n] = first[n], counts[n], place
        place += counts[n]
    used = np.flatnonzero(lengths)
    return table, used[np.argsort(lengths[used], kind="stable")].astype(np.int64)


def _look_up_table(lengths: NDArray[np.uint8]) -> IntArray:
    """For each value of the next bits: symbol * 64 + length, 0 if the code word is longer."""
    table = np.zeros(1 << _PEEK, np.int64)
    codes = _reversed_codes(lengths)
    for s in np.flatnonzero((lengths > 0) & (lengths <= _PEEK)):
        n = int(lengths[s])
        table[int(codes[s]) :: 1 << n] = int(s) * 64 + n
    return table


@kernel(nogil=True)
def write_codes(symbols, codes, lengths, words):  # type: ignore[no-untyped-def]
    """Append the (reversed) code word of each symbol to the stream."""
    word = np.uint64(0)
    at = 0
    fill = 0
    for i in range(symbols.size):
        s = np.int64(symbols[i])
        code, n = codes[s], lengths[s]
        word |= code << np.uint64(fill)
        fill += n
        if fill >= 64:
            words[at] = word
            at += 1
            fill -= 64
            word = code >> np.uint64(n - fill) if fill else np.uint64(0)
    if fill:
        words[at] = word


@kernel(nogil=True)
def read_codes(words, total_bits, look, table, order, out):  # type: ignore[no-untyped-def]
    """Decode out.size symbols; returns the bits used, or -1 if the stream ends before or holds no code word."""
    peek = look.size - 1
    at = 0
    for i in range(out.size):
        if at >= total_bits:
            return -1
        skip = np.uint64(at & 63)
        word = words[at >> 6] >> skip
        if skip:
            word |= words[(at >> 6) + 1] << (np.uint64(64) - skip)
        entry = look[np.int64(word & np.uint64(peek))]
        if entry:
            out[i] = entry >> 6
            at += entry & 63
            continue
        code = np.int64(0)
        found = False
        for n in range(1, table.shape[0]):
            code = (code << 1) | np.int64((word >> np.uint64(n - 1)) & np.uint64(1))
            inside = code - table[n, 0]
            if table[n, 1] and 0 <= inside < table[n, 1]:
                out[i] = order[table[n, 2] + inside]
                at += n
                found = True
                break
        if not found:
            return -1
    return at


@write_codes.warms_up_with
def _write_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint8), np.zeros(2, np.uint64), np.ones(2, np.int64), np.zeros(2, np.uint64)


@read_codes.warms_up_with
def _read_example() -> tuple[Any, ...]:
    lengths = np.ones(2, np.uint8)
    return (np.zeros(3, np.uint64), 4, _look_up_table(lengths), *_decoding_tables(lengths), np.zeros(4, np.uint8))
