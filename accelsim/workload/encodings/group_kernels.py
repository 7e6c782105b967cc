"""Run-length coding, and the way back from masks, eight bytes at a time.

Elements are seen as unsigned lanes (uint8, uint16, uint32). A *group* is a word of 8, 4 or 2 of them. Which of these
become entries (the nonzeros, and the zeros that pad a run) is a set of at most 8 bits, and everything that follows
from the set is looked up: how far each lane moves so that the entries lie side by side (where the processor does not
gather bits by itself), the runs inside the group, and how many there are. What passes from group to group is the
number of zeros since the last entry. So the time does not depend on the density, and hardly a branch on the data.

Runs are made in bytes, or in two bytes where they may be longer, and then packed, a piece of the tensor at a time.

The kernels give up the interpreter lock: tensors can be encoded on several threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.bits import has_quick_bits, pdep, pext
from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.group_tables import SHORT, places_of, plan_for
from accelsim.workload.encodings.sparse_kernels import CHUNK, gather, mask_count, runs_of, scatter
from accelsim.workload.packing import Words, pack, value_dtype, words_for

_ELEMENTS = 1 << 17
"""Whose runs are made at a time, so that they stay in the caches."""


@dataclass(frozen=True)
class Entries:
    """`runs`: fields in whole words, zero after the last; `values`: lanes, room up to whole words after `count`."""

    runs: Words
    values: NDArray[Any]
    count: int
    nonzeros: int


def encode_runs(flat: NDArray[Any], top: int, field: int) -> Entries:
    """Entries (zeros before it, value) of flat lanes in whole; a run of more than `top` zeros gets a padding zero."""
    nonzeros = int(np.count_nonzero(flat))
    room = nonzeros + flat.size // (top + 1)
    lane = 8 * flat.itemsize
    if few(room, flat, top):
        found, taken, _ = runs_of(flat, flat.size, top.bit_length())
        whole = np.empty(words_for(taken.size, lane) * 64 // lane, flat.dtype)
        whole[: taken.size] = taken
        return Entries(pack(found, field), whole, taken.size, nonzeros)
    runs: Words = np.empty(words_for(room, field), np.uint64)
    values = np.empty(words_for(room, lane) + 1, np.uint64).view(flat.dtype)
    machine, part = Compactor(flat, top), np.empty(_ELEMENTS + 128, value_dtype(field, False))
    done = left = 0
    while machine.left:
        count = left + machine.run(_ELEMENTS // machine.lanes, part[left:], values[done + left :])
        whole_words = count // 64 * 64 if machine.left else count
        at = done * field // 64
        pack(part[:whole_words], field, runs[at : at + words_for(whole_words, field)])
        done, left = done + whole_words, count - whole_words
        part[:left] = part[whole_words:count]
    return Entries(runs[: words_for(done, field)], values[: words_for(done, lane) * 64 // lane], done, nonzeros)


def few(entries: int, flat: NDArray[Any], top: int) -> bool:
    """Whether going from nonzero to nonzero is quicker than from group to group (as measured)."""
    return (16 if top < SHORT else 5) * entries <= flat.nbytes


class Compactor:
    """Entries of a tensor, as many groups at a time as one likes.

    Attributes
    ----------
    lanes : int
        Elements of a group.
    left : int
        Groups that are still to be looked at: none beyond the last nonzero.
    """

    def __init__(self, flat: NDArray[Any], top: int) -> None:
        self._plan = plan_for(8 * flat.itemsize, top)
        self.lanes, size = self._plan.lanes, _used(flat)
        whole = max(0, size - 1) // self.lanes * self.lanes
        if flat.ctypes.data % 8:
            flat = flat.copy()
        last = np.zeros(self.lanes, flat.dtype)
        last[: size - whole] = flat[whole:size]
        self._groups, self._last, self._at = flat[:whole].view(np.uint64), last.view(np.uint64), 0
        self.left = self._groups.size + 1 if size else 0
        self._zeros = 0

    def run(self, groups: int, runs: NDArray[Any], values: NDArray[Any]) -> int:
        """Write the entries of the next groups, and return how many they are.

        runs : uint8, or uint16 for runs of more than 255; values : lanes. Both need room for a group's entries more.
        """
        part = self._groups[self._at : self._at + groups]
        count = self._write(part, self._plan.kept, runs, values)
        self._at += part.size
        self.left -= part.size
        if self.left == 1 and part.size < groups:
            count += self._write(self._last, self._plan.trimmed, runs[count:], values[count:])
            self.left = 0
        return count

    @np.errstate(over="ignore")  # products are cut off on purpose, which numpy, without the compiler, tells
    def _write(self, groups: Words, kept: NDArray[Any], runs: NDArray[Any], values: NDArray[Any]) -> int:
        plan, streams = self._plan, (runs, values.view(np.uint8))
        tables = kept, plan.counts, plan.sets, plan.params
        if plan.params[3] < SHORT:
            found = compact_short_runs(groups, self._zeros, *tables, *streams)
        else:
            found = compact_long_runs(groups, self._zeros, *tables, plan.more, *streams)
        self._zeros = int(found[1])
        return int(found[0])


def _used(flat: NDArray[Any]) -> int:
    """Elements up to the last nonzero."""
    end, step = flat.size, 64
    while end:
        begin = max(0, end - step)
        found = np.flatnonzero(flat[begin:end])
        if found.size:
            return begin + int(found[-1]) + 1
        end, step = begin, min(4 * step, CHUNK)
    return 0


@np.errstate(over="ignore")
def collect(flat: NDArray[Any], mask: Words) -> NDArray[Any]:
    """The nonzeros, in order; mask is `nonzero_mask(flat)`."""
    count = mask_count(mask)
    if flat.itemsize > 1 or 16 * count < flat.size:
        return gather(flat, mask, count)
    whole = flat.size // 8 * 8
    rest = flat[whole:]
    out: NDArray[Any] = np.empty(count + 8, flat.dtype)
    plan = plan_for(8, 1)
    groups = flat[:whole] if flat.ctypes.data % 8 == 0 else flat[:whole].copy()
    compact_bytes(groups.view(np.uint64), mask.view(np.uint8), plan.counts, plan.sets, out)
    out[count - np.count_nonzero(rest) : count] = rest[rest != 0]
    return out[:count]


@np.errstate(over="ignore")
def spread(mask: Words, nonzeros: NDArray[Any], count: int) -> NDArray[Any]:
    """`count` lanes with the nonzeros, in order, where the mask's bits are set; none are set beyond."""
    if nonzeros.itemsize > 1 or 8 * nonzeros.size <= count:
        out: NDArray[Any] = np.zeros(count, nonzeros.dtype)
        scatter(mask, nonzeros, out)
        return out
    room, words = np.empty(nonzeros.size + 8, np.uint8), np.empty(ceil_div(count, 8), np.uint64)
    room[: nonzeros.size] = nonzeros
    plan = plan_for(8, 1)
    expand_bytes(mask.view(np.uint8), room, plan.counts, plan.sets, words)
    return words.view(np.uint8)[:count]


@np.errstate(over="ignore")
def decode_runs(runs: Words, values: NDArray[Any], nonzeros: int, field: int, out: NDArray[Any]) -> int:
    """The inverse, where the longest run fills its field: see `spread_runs`. `nonzeros` is the number in values."""
    entry, place = 0, 0
    if nonzeros == values.size == out.size and not runs.any():  # there is nothing to take apart
        out[:] = values
        return -1
    if field <= 2 and out.itemsize == 1:
        plan = plan_for(8, 1)
        tables = places_of(field), plan.counts, plan.sets, plan.params
        entry, place = spread_short_runs(runs.view(np.uint8), values, *tables, field, out)
        if place < 0:
            return int(entry)
    dense = 32 * values.size > 31 * out.size
    return int(spread_runs(runs, values, nonzeros < values.size, dense, field, entry, place, out))


@kernel
def nonzero_lanes(x, low, factor, shift):  # type: ignore[no-untyped-def]
    """The set of lanes of a group that are not zero."""
    return (((((x & low) + low) | x) & ~low) * factor) >> shift


@kernel
def bring_together(x, sets, chosen, by_one):  # type: ignore[no-untyped-def]
    """The lanes of a set, in order, in the lowest lanes, of `by_one` bits; above them anything."""
    by_two = min(np.uint64(63), by_one + by_one)  # nothing moves so far in wide lanes
    by_four = min(np.uint64(63), by_two + by_two)
    moved = x & sets[chosen]
    x = (x ^ moved) | (moved >> by_one)
    moved = x & sets[chosen + np.uint64(256)]
    x = (x ^ moved) | (moved >> by_two)
    moved = x & sets[chosen + np.uint64(512)]
    return (x ^ moved) | (moved >> by_four)


@bring_together.instead(has_quick_bits)
def _bring_together(x, sets, chosen, by_one):  # type: ignore[no-untyped-def]
    return pext(x, sets[chosen + np.uint64(768)])


@kernel
def bring_apart(x, sets, chosen):  # type: ignore[no-untyped-def]
    """The inverse, for lanes of 8 bits: the lowest ones to their places, zeros elsewhere."""
    one, two, four = np.uint64(8), np.uint64(16), np.uint64(32)
    x &= sets[chosen + np.uint64(1024)]
    moves = sets[chosen + np.uint64(512)]
    x = (x & ~(moves >> four)) | ((x << four) & moves)
    moves = sets[chosen + np.uint64(256)]
    x = (x & ~(moves >> two)) | ((x << two) & moves)
    moves = sets[chosen]
    return (x & ~(moves >> one)) | ((x << one) & moves)


@bring_apart.instead(has_quick_bits)
def _bring_apart(x, sets, chosen):  # type: ignore[no-untyped-def]
    return pdep(x, sets[chosen + np.uint64(768)])


@kernel
def put_entries(x, run, more, chosen, at, byte, runs, values):  # type: ignore[no-untyped-def]
    """The entries of a group, x their lanes, to place `at` of runs and `byte` of values, and beyond them anything."""
    for b in range(8):  # becomes one store
        values[byte + np.uint64(b)] = np.uint8(x >> np.uint64(8 * b))
    if more is None:  # which the compiler sees
        for b in range(8):
            runs[at + np.uint64(b)] = np.uint8(run >> np.uint64(8 * b))
    else:
        others = more[chosen]
        for b in range(4):
            runs[at + np.uint64(b)] = np.uint16(run >> np.uint64(16 * b))
        for b in range(4):
            runs[at + np.uint64(b + 4)] = np.uint16(others >> np.uint64(16 * b))


@kernel(nogil=True)
def compact_long_runs(groups, zeros, kept, counts, sets, params, more, runs, values):  # type: ignore[no-untyped-def]
    """The entries of groups, where a group is not longer than the longest run: padding is rare.

    groups : words of lanes; zeros : before them; kept, counts, sets, params, more : see `Plan`
    runs : uint8, or if there is more uint16, written; values : bytes of lanes, written
    Returns the number of entries and the zeros after the last of them.
    """
    low, factor, lanes, top, lane, scale = params[0], params[1], params[2], params[3], params[4], params[5]
    shift, state, at = np.uint64(64) - lanes, np.uint64(zeros), np.uint64(0)
    for i in range(groups.size):
        x = groups[i]
        chosen = np.uint64(nonzero_lanes(x, low, factor, shift))
        if state + np.uint64(counts[chosen]) > top:
            chosen = np.uint64(kept[(min(top - state, lanes) << np.uint64(8)) | chosen])
        if chosen == np.uint64(0):
            state += lanes
            continue
        x = np.uint64(bring_together(x, sets, chosen, lane))
        run = sets[chosen + np.uint64(1280)] + state
        put_entries(x, run, more, chosen, at, at << scale, runs, values)
        state = np.uint64(counts[chosen + np.uint64(256)])
        at += np.uint64(counts[chosen + np.uint64(512)])
    return np.int64(at), np.int64(state)


@kernel(nogil=True)
def compact_short_runs(groups, zeros, kept, counts, sets, params, runs, values):  # type: ignore[no-untyped-def]
    """As `compact_long_runs`, for runs of less than 16 zeros, without a branch."""
    low, factor, lanes, lane, scale = params[0], params[1], params[2], params[4], params[5]
    shift, state, at = np.uint64(64) - lanes, np.uint64(zeros << 8), np.uint64(0)
    for i in range(groups.size):
        x = groups[i]
        found = np.uint64(kept[state | np.uint64(nonzero_lanes(x, low, factor, shift))])
        chosen = found & np.uint64(255)
        x = np.uint64(bring_together(x, sets, chosen, lane))
        run = sets[chosen + np.uint64(1280)] + (state >> np.uint64(8))
        put_entries(x, run, None, chosen, at, at << scale, runs, values)
        state = found ^ chosen
        at += np.uint64(counts[chosen + np.uint64(512)])
    return np.int64(at), np.int64(state >> np.uint64(8))


@kernel(nogil=True)
def compact_bytes(groups, octets, counts, sets, out):  # type: ignore[no-untyped-def]
    """Append those bytes of groups[i] whose bits are set in octets[i]; `out` has a word to spare."""
    at = np.uint64(0)
    for i in range(groups.size):
        chosen = np.uint64(octets[i])
        x = np.uint64(bring_together(groups[i], sets, chosen, np.uint64(8)))
        for b in range(8):  # becomes one store
            out[at + np.uint64(b)] = np.uint8(x >> np.uint64(8 * b))
        at += np.uint64(counts[chosen + np.uint64(512)])


@kernel(nogil=True)
def expand_bytes(octets, values, counts, sets, out):  # type: ignore[no-untyped-def]
    """out[i] = eight bytes, those whose bits are set in octets[i] the next of `values`, which has a word to spare."""
    at = np.uint64(0)
    for i in range(out.size):
        chosen = np.uint64(octets[i])
        x = np.uint64(0)
        for b in range(8):  # becomes one load
            x |= np.uint64(values[at + np.uint64(b)]) << np.uint64(8 * b)
        at += np.uint64(counts[chosen + np.uint64(512)])
        out[i] = bring_apart(x, sets, chosen)


@kernel
def fields_at(words, bit):  # type: ignore[no-untyped-def]
    """64 bits of a stream from `bit` on, as far as there are words."""
    at, skip = bit >> np.uint64(6), bit & np.uint64(63)
    after = min(at + np.uint64(1), np.uint64(words.size - 1))
    return (words[at] >> skip) | ((words[after] << np.uint64(1)) << (np.uint64(63) - skip))


@kernel(nogil=True)
def spread_short_runs(octets, values, places, counts, sets, params, field, out):  # type: ignore[no-untyped-def]
    """As `spread_runs`, for fields of 1 or 2 bits and bytes, as far as whole words of these can be read and written.

    octets : the runs, 8 // field in each; places : see `places_of`; counts, sets, params : see `Plan`, for bytes
    Returns the entries and elements done; or an entry, as `spread_runs` does, and -1.
    """
    byte, eight, few = np.uint64(255), np.uint64(8), np.uint64(8 // field)
    low, factor, shift = params[0], params[1], np.uint64(56)
    size, entries, mine = np.uint64(out.size), np.uint64(values.size), (np.uint64(1) << few) - np.uint64(1)
    place, e, i = np.uint64(0), np.uint64(0), np.uint64(0)
    while e + eight < entries and place + np.uint64(16) <= size:
        found, x = places[octets[i]], np.uint64(0)
        for b in range(8):  # becomes one load
            x |= np.uint64(values[e + np.uint64(b)]) << np.uint64(8 * b)
        nonzeros = np.uint64(nonzero_lanes(x, low, factor, shift))
        if mine & ~(nonzeros | (found >> np.uint64(16))) != np.uint64(0):
            return np.int64(e), -1
        first, other = found & byte, (found >> eight) & byte
        used = np.uint64(counts[first + np.uint64(512)]) & np.uint64(7)  # of 8 there are no others
        y = np.uint64(bring_apart(x, sets, first))
        x = np.uint64(bring_apart(x >> (used << np.uint64(3)), sets, other))
        for b in range(8):  # becomes one store
            out[place + np.uint64(b)] = np.uint8(y >> np.uint64(8 * b))
        for b in range(8):
            out[place + np.uint64(b + 8)] = np.uint8(x >> np.uint64(8 * b))
        place += found >> np.uint64(24)
        e += few
        i += np.uint64(1)
    return np.int64(e), np.int64(place)


@kernel(nogil=True)
def spread_runs(runs, values, padded, dense, field, entry, begin, out):  # type: ignore[no-untyped-def]
    """Put entries into `out`, flat lanes that are all zeros before.

    runs : words of fields of `field` bits, of which the longest run fills one; values : lanes
    padded : whether values may hold zeros; dense : whether to look for eight runs of nothing
    entry, begin : entries to leave out, and the elements they reach over

    Returns -1, or the first entry found (with others of its eight unseen) that no tensor has: it leads beyond the
    last element, or is zero without being a padding zero before another entry.
    """
    one, width = np.uint64(1), np.uint64(field)
    most = (one << width) - one
    size, entries, reach = np.uint64(out.size), np.uint64(values.size), np.uint64(8) << width
    half = np.uint64(64 - 4 * field)
    place, e = np.uint64(begin), np.uint64(entry)
    while e < entries:
        if e + np.uint64(8) < entries and place + reach <= size:
            first = fields_at(runs, e * width)
            other = fields_at(runs, (e + np.uint64(4)) * width)
            wrong, to = np.uint64(0), place
            if dense and (first | other) << half == np.uint64(0):
                for b in range(8):
                    value = values[e + np.uint64(b)]
                    out[to + np.uint64(b)] = value
                    wrong |= np.uint64(value) - one
                to += np.uint64(8)
            elif padded:
                for b in range(8):
                    run = (first if b < 4 else other) & most
                    first, other = (first >> width, other) if b < 4 else (first, other >> width)
                    value = values[e + np.uint64(b)]
                    to += run
                    out[to] = value
                    to += one
                    wrong |= (np.uint64(value) - one) & (run - most)  # the sign says: zero, and no longest run
            else:
                for b in range(8):
                    to += (first if b < 4 else other) & most
                    first, other = (first >> width, other) if b < 4 else (first, other >> width)
                    out[to] = values[e + np.uint64(b)]
                    to += one
            if wrong >> np.uint64(63):
                return np.int64(e)
            place = to
            e += np.uint64(8)
            continue
        bit = e * width
        skip = bit & np.uint64(63)
        run = runs[bit >> np.uint64(6)] >> skip
        if skip + width > np.uint64(64):
            run |= runs[(bit >> np.uint64(6)) + one] << (np.uint64(64) - skip)
        run &= most
        value = values[e]
        place += run
        if place >= size or (value == 0 and (run != most or e + one == entries)):
            return np.int64(e)
        out[place] = value
        place += one
        e += one
    return -1


@compact_long_runs.warms_up_with
def _long_example() -> tuple[Any, ...]:
    plan, room = plan_for(8, 31), np.zeros(16, np.uint8)
    return np.zeros(2, np.uint64), 0, plan.kept, plan.counts, plan.sets, plan.params, plan.more, room, room.copy()


@compact_short_runs.warms_up_with
def _short_example() -> tuple[Any, ...]:
    plan, room = plan_for(8, 15), np.zeros(16, np.uint8)
    return np.zeros(2, np.uint64), 0, plan.kept, plan.counts, plan.sets, plan.params, room, room.copy()


@compact_bytes.warms_up_with
def _compact_example() -> tuple[Any, ...]:
    plan = plan_for(8, 1)
    return np.ones(1, np.uint64), np.ones(1, np.uint8), plan.counts, plan.sets, np.ones(9, np.uint8)


@expand_bytes.warms_up_with
def _expand_example() -> tuple[Any, ...]:
    plan = plan_for(8, 1)
    return np.ones(1, np.uint8), np.ones(9, np.uint8), plan.counts, plan.sets, np.zeros(1, np.uint64)


@spread_short_runs.warms_up_with
def _short_runs_example() -> tuple[Any, ...]:
    plan, room = plan_for(8, 1), np.zeros(16, np.uint8)
    return np.zeros(2, np.uint8), room, places_of(1), plan.counts, plan.sets, plan.params, 1, room.copy()


@spread_runs.warms_up_with
def _spread_example() -> tuple[Any, ...]:
    return np.zeros(1, np.uint64), np.ones(1, np.uint8), False, False, 5, 0, 0, np.zeros(4, np.uint8)
