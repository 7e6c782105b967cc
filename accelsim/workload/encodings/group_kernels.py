"""Run-length coding, and the way back from masks, eight bytes at a time.

Elements are seen as unsigned lanes (uint8, uint16, uint32). A *group* is a word of 8, 4 or 2 of them. Which of these
become entries (the nonzeros, and the zeros that pad a run) is a set of at most 8 bits, and everything that follows
from the set is looked up: how far each lane moves so that the entries lie side by side, the runs inside the group,
and how long the streams become. What passes from group to group is the number of zeros since the last entry. So the
time does not depend on the density, and no branch on the data.

The kernels give up the interpreter lock: tensors can be encoded on several threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.sparse_kernels import CHUNK, runs_of, scatter
from accelsim.workload.packing import Words, pack, words_for

_SETS = 256


@dataclass(frozen=True)
class Plan:
    """What `compact_runs` looks up, for one width of lanes and of runs.

    Attributes
    ----------
    lanes : int
        Elements of a group.
    kept, trimmed : ndarray of uint8, shape ((lanes + 1) * 256,)
        For the zeros that the run may still take (at most `lanes` are told apart) and the set of nonzeros: the set of
        entries. `trimmed` has no padding after the last nonzero.
    counts : ndarray of uint8, shape (5 * 256,)
        For each set: zeros before the first and after the last entry; bytes of the values; bits of the runs, of the
        first half (or all) of the entries, and of the other half.
    sets : ndarray of uint64, shape (6 * 256,)
        For each set: lanes that move by 1, 2, 4; runs of the first half (or all) of the entries; runs of the other
        half; all bits of as many lanes.
    params : ndarray of uint64
        See `compact_runs`.
    """

    lanes: int
    kept: NDArray[np.uint8]
    trimmed: NDArray[np.uint8]
    counts: NDArray[np.uint8]
    sets: Words
    params: Words


@lru_cache(maxsize=32)
def plan_for(lane: int, top: int, field: int) -> Plan:
    """Lanes of `lane` bits; runs up to `top`, in fields of `field` bits (1 to 16)."""
    lanes = 64 // lane
    begun = 7 if field % 8 else 0  # bits of a byte that may be there already when runs are appended
    while min(lanes, 4) * field + begun > 64:
        lanes //= 2
    halves = lanes * field + begun > 64
    first = 4 if halves else lanes
    shape = (lanes + 1, _SETS)
    kept, trimmed = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    counts, sets = np.zeros((5, _SETS), np.uint8), np.zeros((6, _SETS), np.uint64)
    for chosen in range(1 << lanes):
        count, runs = chosen.bit_count(), _runs_inside(chosen, field, top)
        before = (chosen & -chosen).bit_length() - 1 if chosen else lanes
        counts[:, chosen] = [before, lanes - chosen.bit_length(), count * lane // 8, min(count, first) * field,
                             max(0, count - first) * field]  # fmt: skip
        sets[:, chosen] = [*_moves(chosen, lane), runs % (1 << first * field), runs >> first * field,
                           (1 << (lane * count)) - 1]  # fmt: skip
        for room in range(lanes + 1):
            for table, length in ((kept, lanes), (trimmed, chosen.bit_length())):
                table[room, chosen] = _padded(chosen, room if room < lanes else length, length, top)
    ones = sum(1 << at for at in range(0, 64, lane))
    gather = sum(1 << (64 - lanes + i - lane * (i + 1) + 1) for i in range(lanes))
    params = [ones * ((1 << (lane - 1)) - 1), gather, lanes, top, int(top < 2 * lanes), lane, int(halves)]
    flat = (kept.reshape(-1), trimmed.reshape(-1), counts.reshape(-1), sets.reshape(-1))
    return Plan(lanes, *flat, np.array(params, np.uint64))


def _padded(nonzeros: int, room: int, length: int, top: int) -> int:
    """The set of entries: nonzeros, and each zero that the run before it has no room for."""
    entries = nonzeros
    for i in range(length):
        if nonzeros >> i & 1:
            room = top
        elif room == 0:
            entries |= 1 << i
            room = top
        else:
            room -= 1
    return entries


def _runs_inside(entries: int, field: int, top: int) -> int:
    """Runs before each entry, those before the first counted from the group's begin, side by side."""
    runs, at, before = 0, 0, -1
    for i in range(entries.bit_length()):
        if entries >> i & 1:
            runs |= min(i - before - 1, top) << (field * at)
            at, before = at + 1, i
    return runs


def _moves(entries: int, lane: int) -> list[int]:
    """Lanes that move down by 1, then by 2, then by 4 lanes until the entries are the lowest ones."""
    places = [i for i in range(entries.bit_length()) if entries >> i & 1]
    moves = [0, 0, 0]
    for step in range(3):
        for j, place in enumerate(places):
            if (place - j) >> step & 1:
                moves[step] |= ((1 << lane) - 1) << (place * lane)
                places[j] -= 1 << step
    return moves


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
    runs, values = np.empty(words_for(room, field) + 2, np.uint64), np.empty(words_for(room, lane) + 2, np.uint64)
    machine = Compactor(flat, top, field)
    while machine.left:
        machine.run(machine.left, runs, values)
    count = machine.entries
    used, words = ceil_div(count * field, 8), words_for(count, field)
    runs.view(np.uint8)[used : 8 * words] = 0
    return Entries(runs[:words], values.view(flat.dtype)[: words_for(count, lane) * 64 // lane], count, nonzeros)


def few(entries: int, flat: NDArray[Any], top: int) -> bool:
    """Whether going from nonzero to nonzero is quicker than from group to group (as measured)."""
    return top >= 7 and 7 * entries <= 2 * flat.nbytes


class Compactor:
    """Entries of a tensor, as many groups at a time as one likes.

    Attributes
    ----------
    left : int
        Groups that are still to be looked at: none beyond the last nonzero.
    """

    def __init__(self, flat: NDArray[Any], top: int, field: int) -> None:
        self._plan = plan_for(8 * flat.itemsize, top, field)
        self._itemsize = flat.itemsize
        lanes, size = self._plan.lanes, _used(flat)
        whole = max(0, size - 1) // lanes * lanes
        if flat.ctypes.data % 8:
            flat = flat.copy()
        word = f"u{lanes * flat.itemsize}"
        last = np.zeros(lanes, flat.dtype)
        last[: size - whole] = flat[whole:size]
        self._groups, self._last, self._at = flat[:whole].view(word), last.view(word), 0
        self.left = self._groups.size + 1 if size else 0
        self._progress = np.zeros(5, np.uint64)

    @property
    def entries(self) -> int:
        """In the streams so far."""
        return int(self._progress[1]) // self._itemsize

    def rewind(self, entries: int) -> None:
        """Write on behind so many entries; for runs of one byte."""
        self._progress[1], self._progress[2] = entries * self._itemsize, entries

    @np.errstate(over="ignore")  # products are cut off on purpose, which numpy, without the compiler, tells
    def run(self, groups: int, runs: Words, values: Words) -> None:
        """Append the entries of the next groups; the streams need room for them, and a word more."""
        plan = self._plan
        part = self._groups[self._at : self._at + groups]
        tables = plan.counts, plan.sets, plan.params, self._progress, runs.view(np.uint8), values.view(np.uint8)
        compact_runs(part, plan.kept, *tables)
        self._at += part.size
        self.left -= part.size
        if self.left == 1 and part.size < groups:
            compact_runs(self._last, plan.trimmed, *tables)
            self.left = 0


def _used(flat: NDArray[Any]) -> int:
    """Elements up to the last nonzero."""
    for end in range(flat.size, 0, -CHUNK):
        begin = max(0, end - CHUNK)
        found = np.flatnonzero(flat[begin:end])
        if found.size:
            return begin + int(found[-1]) + 1
    return 0


@np.errstate(over="ignore")
def spread(mask: Words, nonzeros: NDArray[Any], count: int) -> NDArray[Any]:
    """`count` lanes with the nonzeros, in order, where the mask's bits are set; none are set beyond."""
    out = np.zeros(ceil_div(count, 8) * 8, nonzeros.dtype)
    if nonzeros.itemsize > 1 or 2 * nonzeros.size <= count:
        scatter(mask, nonzeros, out)
    else:
        room = np.empty(nonzeros.size + 8, np.uint8)
        room[: nonzeros.size] = nonzeros
        plan = plan_for(8, 1, 1)
        expand_bytes(mask.view(np.uint8), room, plan.counts, plan.sets, out.view(np.uint64))
    return out[:count]


@np.errstate(over="ignore")
def decode_runs(runs: Words, values: NDArray[Any], nonzeros: int, field: int, out: NDArray[Any]) -> int:
    """The inverse, where the longest run fills its field: see `spread_runs`. `nonzeros` is the number in values."""
    return int(spread_runs(runs, values, nonzeros < values.size, 32 * values.size > 31 * out.size, field, out))


@kernel(nogil=True)
def compact_runs(groups, kept, counts, sets, params, progress, runs, values):  # type: ignore[no-untyped-def]
    """Append the entries of groups to two streams of bytes.

    groups : lanes, 16 to 64 bits of them; kept, counts, sets : see `Plan`
    params : mask of all bits of a lane but the top one; factor that collects the top bits; lanes of a group; longest
        run; whether padding is so usual that it is looked up for every group; bits of a lane; whether runs are appended
        in two halves
    progress : read and written: zeros since the last entry; bytes of values; whole bytes of runs, and what is to
        follow them, and its bits
    """
    one, eight = np.uint64(1), np.uint64(8)
    low, factor, lanes, top = params[0], params[1], params[2], params[3]
    always, by_one, halves = params[4] != np.uint64(0), params[5], params[6] != np.uint64(0)
    by_two = min(np.uint64(63), by_one + by_one)  # nothing moves so far in wide lanes
    by_four = min(np.uint64(63), by_two + by_two)
    shift = np.uint64(64) - lanes
    state, at, end, word, fill = progress[0], progress[1], progress[2], progress[3], progress[4]
    for i in range(groups.size):
        x = np.uint64(groups[i])
        chosen = (((((x & low) + low) | x) & ~low) * factor) >> shift
        if always or state + np.uint64(counts[chosen]) > top:
            chosen = np.uint64(kept[(min(top - state, lanes) << eight) | chosen])
        if chosen == np.uint64(0):
            state += lanes
            continue
        run = sets[chosen + np.uint64(768)] + state
        state = np.uint64(counts[chosen + np.uint64(256)])
        moved = x & sets[chosen]
        x = (x ^ moved) | (moved >> by_one)
        moved = x & sets[chosen + np.uint64(256)]
        x = (x ^ moved) | (moved >> by_two)
        moved = x & sets[chosen + np.uint64(512)]
        x = (x ^ moved) | (moved >> by_four)
        for b in range(8):  # becomes one store
            values[at + np.uint64(b)] = np.uint8(x >> np.uint64(8 * b))
        at += np.uint64(counts[chosen + np.uint64(512)])
        word |= run << fill
        for b in range(8):
            runs[end + np.uint64(b)] = np.uint8(word >> np.uint64(8 * b))
        used = fill + np.uint64(counts[chosen + np.uint64(768)])
        fill = used & np.uint64(7)
        end += used >> np.uint64(3)
        word = (word >> (used & np.uint64(56))) & ((one << fill) - one)
        if halves:
            word |= sets[chosen + np.uint64(1024)] << fill
            for b in range(8):
                runs[end + np.uint64(b)] = np.uint8(word >> np.uint64(8 * b))
            used = fill + np.uint64(counts[chosen + np.uint64(1024)])
            fill = used & np.uint64(7)
            end += used >> np.uint64(3)
            word = (word >> (used & np.uint64(56))) & ((one << fill) - one)
    progress[0], progress[1], progress[2], progress[3], progress[4] = state, at, end, word, fill


@kernel(nogil=True)
def expand_bytes(octets, values, counts, sets, out):  # type: ignore[no-untyped-def]
    """out[i] = eight bytes, those whose bits are set in octets[i] the next of `values`, which has a word to spare."""
    one, two, four = np.uint64(8), np.uint64(16), np.uint64(32)
    at = np.uint64(0)
    for i in range(out.size):
        chosen = np.uint64(octets[i])
        x = np.uint64(0)
        for b in range(8):  # becomes one load
            x |= np.uint64(values[at + np.uint64(b)]) << np.uint64(8 * b)
        x &= sets[chosen + np.uint64(1280)]
        at += np.uint64(counts[chosen + np.uint64(512)])
        moves = sets[chosen + np.uint64(512)]
        x = (x & ~(moves >> four)) | ((x << four) & moves)
        moves = sets[chosen + np.uint64(256)]
        x = (x & ~(moves >> two)) | ((x << two) & moves)
        moves = sets[chosen]
        out[i] = (x & ~(moves >> one)) | ((x << one) & moves)


@kernel
def fields_at(words, bit):  # type: ignore[no-untyped-def]
    """64 bits of a stream from `bit` on, as far as there are words."""
    at, skip = bit >> np.uint64(6), bit & np.uint64(63)
    after = min(at + np.uint64(1), np.uint64(words.size - 1))
    return (words[at] >> skip) | ((words[after] << np.uint64(1)) << (np.uint64(63) - skip))


@kernel(nogil=True)
def spread_runs(runs, values, padded, dense, field, out):  # type: ignore[no-untyped-def]
    """Put entries into `out`, flat lanes that are all zeros before.

    runs : words of fields of `field` bits, of which the longest run fills one; values : lanes
    padded : whether values may hold zeros; dense : whether to look for eight runs of nothing

    Returns -1, or the first entry found (with others of its eight unseen) that no tensor has: it leads beyond the
    last element, or is zero without being a padding zero before another entry.
    """
    one, width = np.uint64(1), np.uint64(field)
    most = (one << width) - one
    size, entries, reach = np.uint64(out.size), np.uint64(values.size), np.uint64(8) << width
    half = np.uint64(64 - 4 * field)
    place, e = np.uint64(0), np.uint64(0)
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


@compact_runs.warms_up_with
def _compact_example() -> tuple[Any, ...]:
    plan = plan_for(8, 31, 5)
    zeros = np.zeros(2, np.uint64)
    streams = np.zeros(16, np.uint8), np.zeros(16, np.uint8)
    return zeros, plan.kept, plan.counts, plan.sets, plan.params, np.zeros(5, np.uint64), *streams


@expand_bytes.warms_up_with
def _expand_example() -> tuple[Any, ...]:
    plan = plan_for(8, 1, 1)
    return np.ones(1, np.uint8), np.ones(9, np.uint8), plan.counts, plan.sets, np.zeros(1, np.uint64)


@spread_runs.warms_up_with
def _spread_example() -> tuple[Any, ...]:
    return np.zeros(1, np.uint64), np.ones(1, np.uint8), False, False, 5, np.zeros(4, np.uint8)
