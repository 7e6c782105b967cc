"""Kernels of engines that broadcast inputs to PEs with queues and compressed columns (EIE, ESE)."""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel


@kernel
def column_entries(mask, words, pes, index_bits, entries, nonzeros):  # type: ignore[no-untyped-def]
    """Stored entries of each column in each PE, rows dealt to the PEs in turn.

    mask: (n, k), 1 where a weight is not 0; words: the same memory, eight of them in each. An entry's index says a run
    of zeros of less than 2**index_bits; a longer one is broken by entries that hold a zero. entries, nonzeros:
    (pes, k), int32, zeros on entry.
    """
    n, k = mask.shape
    last = np.zeros(k, np.int32)
    for pe in range(pes):  # all rows of a PE, so that its counts stay in the cache
        for j in range(k):
            last[j] = -1
        stored, real = entries[pe], nonzeros[pe]
        for place in range((n - pe + pes - 1) // pes):
            row, eights = mask[place * pes + pe], words[place * pes + pe]
            for word in range(len(eights)):
                if eights[word]:
                    for j in range(8 * word, 8 * word + 8):
                        if row[j]:
                            stored[j] += 1 + ((place - last[j] - 1) >> index_bits)
                            real[j] += 1
                            last[j] = place


@column_entries.warms_up_with
def _entries():  # type: ignore[no-untyped-def]
    mask, out = np.ones((2, 8), np.uint8), np.zeros((2, 8), np.int32)
    return mask, mask.view(np.uint64), 2, 4, out, out.copy()


@kernel
def broadcast(live, entries, room, width, extra, out):  # type: ignore[no-untyped-def]
    """Times of inputs that are pushed to the queues of all PEs, one a cycle, and walked column by column.

    live: (rows, k), 1 where an input is not 0. entries: (k, pes), int32: cycles of a column (an empty one takes 1).
    room: entries that a queue holds. width: inputs that the scanner loads at a time, for which it takes a cycle,
    except when it has pushed the last one of those before; 0: it costs nothing. extra: (pes,) of a column
    that follows the inputs; empty: there is none. out: (rows, 2): cycles, and those in which a full queue held the
    scanner.
    """
    rows, k = live.shape
    pes = entries.shape[1]
    free = np.zeros(pes, np.int64)
    pops = np.zeros(room, np.int64)
    for row in range(rows):
        clock = np.int64(1 if width else 0)
        full = np.int64(0)
        pushed = 0
        for pe in range(pes):
            free[pe] = 0
        ready = False  # the scanner has moved on with the last push
        for j in range(k + (1 if extra.shape[0] else 0)):
            if width and j and (j % width == 0 or j == k):
                if not ready:
                    clock += 1
                ready = False
            if j < k and not live[row, j]:
                continue
            push = clock
            if pushed >= room:
                push = max(push, pops[pushed % room] + 1)
            full += push - clock
            latest = np.int64(0)
            if j < k:
                for pe in range(pes):
                    start = max(push + 1, free[pe])
                    latest = max(latest, start)
                    free[pe] = start + max(np.int64(1), np.int64(entries[j, pe]))
            else:
                for pe in range(pes):
                    start = max(push + 1, free[pe])
                    latest = max(latest, start)
                    free[pe] = start + max(np.int64(1), np.int64(extra[pe]))
            pops[pushed % room] = latest
            pushed += 1
            clock = push + 1
            ready = width > 0 and j % width == width - 1
        if width and not ready and extra.shape[0] == 0:
            clock += 1
        end = clock
        for pe in range(pes):
            end = max(end, free[pe])
        out[row, 0], out[row, 1] = end, full


@broadcast.warms_up_with
def _broadcast():  # type: ignore[no-untyped-def]
    live = np.ones((1, 3), np.uint8)
    return live, np.ones((3, 2), np.int32), 1, 2, np.ones(2, np.int32), np.zeros((1, 2), np.int64)
