"""Bank conflicts of an array that moves in lockstep with its buffers: exact, cycle by cycle.

Between buffer and array there is no queue. All accesses that a pass wants in one cycle (`accelsim.sim.accesses`) must
be served before the array, all of it, goes on: the cycle lasts as long as the busiest bank needs,

    max over banks of ceil(accesses / ports),

reads and writes apart or, where they share ports, together. Of what it lasts longer than one cycle, the part that the
same accesses would take if they were spread evenly over the banks of their operands is the limit of the *ports*; the
rest is *bank conflict*.

Accesses are words. Elements are packed into words and never lie across two; an element wider than a word takes several
words that follow each other. Operands that share banks begin at banks that are evenly apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.memory.buffer import BankedMemory
from accelsim.sim.accesses import OPERANDS, Bursts

Ints = NDArray[np.int64]

#: Columns of a burst as the kernel reads it: where it is, what it wants, and in which banks.
_FIELDS = (
    "start", "steps", "lanes", "lane_at", "step_at", "stagger", "first", "total", "rate", "per",
    "kind", "bank", "banks", "block", "per_word", "words", "base",
)  # fmt: skip
_CELLS = 2**18  # of the table of accesses by cycle and bank


def lockstep_stalls(
    buffers: Sequence[tuple[BankedMemory, Sequence[str]]], bits: Mapping[str, int], bursts: Bursts, tables: Ints
) -> tuple[int, int]:
    """Cycles that buffers add to a pass: (for their ports, for conflicts of their banks).

    Parameters
    ----------
    buffers : sequence of (BankedMemory with ports, operands that live there)
        A cycle lasts as long as the slowest of them needs; bursts of other operands are left out.
    bits : mapping
        Operand -> bits of an element.
    bursts, tables
        See `accelsim.sim.accesses`.
    """
    rows = np.zeros((len(bursts), len(_FIELDS)), np.int64)
    for column, name in enumerate(_FIELDS[:10]):
        rows[:, column] = bursts[name]
    here = np.zeros(len(bursts), bool)
    groups: dict[int, tuple[int, int, int]] = {}
    period, before = 1, 0  # banks of the buffers before
    for spec, holds in buffers:
        for order, operand in enumerate(holds):
            own = bursts["operand"] == OPERANDS.index(operand)
            bank, banks, block = spec.group_of(operand)
            per_word = max(1, spec.word_bits // bits[operand])
            base = 0 if spec.operand_banks is not None else order * banks // len(holds) * block
            shared = spec.read_write_ports
            groups[before + bank] = (banks, shared or spec.read_ports or 1, shared or spec.write_ports or 1)
            rows[own, 10] = 0 if shared else bursts["write"][own]
            rows[own, 11:] = before + bank, banks, block, per_word, ceil_div(bits[operand], spec.word_bits), base
            here |= own
            if own.any():
                period = max(period, banks * block * per_word)
        before += spec.banks
    rows = rows[here]
    if not len(rows):
        return 0, 0
    ends = rows[:, 0] + rows[:, 1] + np.maximum(0, np.minimum(rows[:, 2], rows[:, 5]) - 1)
    size = max(64, min(4096, _CELLS // (2 * before)))
    params = np.array([int(rows[:, 0].min()), int(ends.max()), size, period, before], np.int64)
    places = np.array([(bank, *rest) for bank, rest in sorted(groups.items())], np.int64)
    found = np.zeros(2, np.int64)
    lockstep_kernel(rows, np.ascontiguousarray(tables, np.int64), params, places, found)
    return int(found[0]), int(found[1])


@kernel
def _count(burst, element, counts):  # type: ignore[no-untyped-def]
    """Add the words of one element (counted in the buffer) to `counts`, by bank."""
    bank, span, block, words = burst[11], burst[12] * burst[13], burst[13], burst[15]
    word = burst[16] + element // burst[14] * words
    for i in range(words):
        counts[bank + (word + i) % span // block] += 1


@kernel
def _staggered(burst, tables, low, counts, places, bank_of):  # type: ignore[no-untyped-def]
    """Lanes one after another: each has an access of its own.

    `places`: scratch, where each step is modulo the banks. `bank_of`: bank of the element at such a place.
    """
    period = burst[12] * burst[13] * burst[14]
    first = max(0, low - burst[0] - min(burst[2], burst[5]) + 1)
    for t in range(first, min(burst[1], low + len(counts) - burst[0])):
        places[t - first] = tables[burst[4] + t] % period
    for i in range(burst[2]):
        late, lane = burst[0] + i % burst[5], tables[burst[3] + i] % period
        for t in range(max(0, low - late), min(burst[1], low + len(counts) - late)):
            at = places[t - first] + lane
            at -= period if at >= period else 0
            if burst[15] == 1:
                counts[late + t - low, burst[10], bank_of[at]] += 1
            else:
                _count(burst, at, counts[late + t - low, burst[10]])


@kernel
def _together(burst, tables, low, counts, seen, known):  # type: ignore[no-untyped-def]
    """Lanes in one cycle: steps at the same place modulo the banks want the same banks, and are counted once."""
    period = burst[12] * burst[13] * burst[14]
    used = 0
    steps = range(max(0, low - burst[0]), min(burst[1], low + len(counts) - burst[0]))
    for t in steps:
        phase = tables[burst[4] + t] % period
        at = seen[phase]
        if at < 0:
            at = used
            used += 1
            seen[phase] = at
            known[at, :] = 0
            last = np.int64(-1)
            for i in range(burst[2]):
                element = phase + tables[burst[3] + i]
                if element // burst[14] != last:
                    last = element // burst[14]
                    _count(burst, element, known[at])
        wanted, here = known[at], counts[burst[0] + t - low, burst[10]]
        for bank in range(burst[11], burst[11] + burst[12]):
            here[bank] += wanted[bank]
    for t in steps:
        seen[tables[burst[4] + t] % period] = -1


@kernel
def _run(burst, low, counts):  # type: ignore[no-untyped-def]
    """Elements one after another: a word counts in the step that comes to it."""
    bank, span, block, per_word, words = burst[11], burst[12] * burst[13], burst[13], burst[14], burst[15]
    for t in range(max(0, low - burst[0]), min(burst[1], low + len(counts) - burst[0])):
        begin, end = burst[8] * t // burst[9], min(burst[7], burst[8] * (t + 1) // burst[9])
        if end > begin:
            begin, end = burst[6] + begin, burst[6] + end
            word = begin // per_word if begin == burst[6] else (begin - 1) // per_word + 1
            here = counts[burst[0] + t - low, burst[10]]
            more = ((end - 1) // per_word + 1 - word) * words
            word = burst[16] + word * words
            for i in range(burst[12]):
                here[bank + i] += more // span * block
            for i in range(more % span):
                here[bank + (word + i) % span // block] += 1


@kernel
def lockstep_kernel(bursts, tables, params, groups, out):  # type: ignore[no-untyped-def]
    """Adds up, over all cycles, what `lockstep_stalls` gives; in blocks of cycles, so that memory stays small.

    params: first cycle, cycle after the last, cycles of a block, largest period, banks. groups: first bank, banks, and
    ports of the first and of the second kind of access.
    """
    size, banks = params[2], params[4]
    counts = np.zeros((size, 2, banks), np.int64)
    seen = np.full(params[3], -1, np.int64)
    known = np.zeros((min(size, params[3]), banks), np.int64)
    places = np.zeros(size + max(1, bursts[:, 5].max()), np.int64)
    bank_of, same = np.zeros(params[3], np.int64), np.int64(-1)  # the banks of burst `same`
    for low in range(params[0], params[1], size):
        counts[:] = 0
        for b in range(len(bursts)):
            burst = bursts[b]
            late = max(0, min(burst[2], burst[5]) - 1)
            if burst[0] < low + size and burst[0] + burst[1] + late > low:
                if burst[2] == 0:
                    _run(burst, low, counts)
                elif burst[5] > 0:
                    if same < 0 or (bursts[same, 11:] != burst[11:]).any():
                        same, span = np.int64(b), burst[12] * burst[13]
                        for at in range(span * burst[14]):
                            word = burst[16] + at // burst[14]
                            bank_of[at] = burst[11] + word % span // burst[13]
                    _staggered(burst, tables, low, counts, places, bank_of)
                else:
                    _together(burst, tables, low, counts, seen, known)
        for c in range(min(size, params[1] - low)):
            lasts, even = np.int64(1), np.int64(1)
            for kind in range(2):
                here = counts[c, kind]
                for g in range(len(groups)):
                    most, total = np.int64(0), np.int64(0)
                    for bank in range(groups[g, 0], groups[g, 0] + groups[g, 1]):
                        most = max(most, here[bank])
                        total += here[bank]
                    if most > 1:
                        lasts = max(lasts, -(-most // groups[g, 2 + kind]))
                        even = max(even, -(-total // (groups[g, 2 + kind] * groups[g, 1])))
            out[0] += even - 1
            out[1] += lasts - even


@lockstep_kernel.warms_up_with
def _example():  # type: ignore[no-untyped-def]
    burst = np.array([[0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0]], np.int64)
    params = np.array([0, 1, 64, 1, 1], np.int64)
    return burst, np.zeros(1, np.int64), params, np.array([[0, 1, 1, 1]], np.int64), np.zeros(2, np.int64)
