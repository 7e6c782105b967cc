"""Kernels of SCNN: all products of nonzero inputs and nonzero weights of a channel, and the banks that they hit.

Inputs come as 0/1 in (channels, x, y), padding included, weights in (channels, x, y, outputs). PEs own blocks of
`block_x` x `block_y` inputs from (first_x, first_y) on. numbers: W H stride_x stride_y block_x block_y pes_x pes_y
inputs weights banks outputs taps_x taps_y first_x first_y, where `outputs` are channels of a group, and taps those of
the phase of the stride that has the most. A bank is told by the lowest bits of channel, x and y, as in DNNsim.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel


@kernel
def bank_of(k, x, y, banks):  # type: ignore[no-untyped-def]
    """Bank of an output."""
    high = ((k & 4) << 2) ^ ((x & 2) << 3) ^ ((y & 2) << 3)
    return (high + ((x & 1) << 3) + ((y & 1) << 2) + (k & 3)) % banks


@kernel
def list_weights(weights, c, phase_x, phase_y, steps, first, end, out):  # type: ignore[no-untyped-def]
    """Nonzero weights of a channel and a phase of the stride, as (output, x, y) in strides; returns how many."""
    step_x, step_y = steps
    count = 0
    for r in range(phase_x, weights.shape[1], step_x):
        for s in range(phase_y, weights.shape[2], step_y):
            for k in range(first, end):
                if weights[c, r, s, k]:
                    out[count, 0], out[count, 1], out[count, 2] = k, r // step_x, s // step_y
                    count += 1
    return count


@kernel
def side_class(q, taps, size):  # type: ignore[no-untyped-def]
    """Along one axis: the lowest two bits of an input all of whose products are inside; others one by one."""
    if q < taps - 1:
        return 4 + q
    if q >= size:
        return 4 + taps + min(q - size, taps - 1)
    return q & 3


@kernel
def list_chunks(acts, c, phase_x, phase_y, numbers, kinds, places, chunks):  # type: ignore[no-untyped-def]
    """Classes of the nonzero inputs of a channel and a phase, PE by PE, and their chunks (PE, first, end); how many."""
    wide, high, step_x, step_y, block_x, block_y, pes_x, pes_y, lanes = numbers[:9]
    taps_x, taps_y, first_x, first_y = numbers[12:]
    _, size_x, size_y = acts.shape
    classes_y = 4 + 2 * taps_y
    count = 0
    made = 0
    for px in range(pes_x):
        for py in range(pes_y):
            begin = count
            for x in range(first_x + px * block_x, min(size_x, first_x + (px + 1) * block_x)):
                if x % step_x != phase_x:
                    continue
                kx = side_class(x // step_x, taps_x, wide) * classes_y
                for y in range(first_y + py * block_y, min(size_y, first_y + (py + 1) * block_y)):
                    if acts[c, x, y] and y % step_y == phase_y:
                        kind = kx + side_class(y // step_y, taps_y, high)
                        kinds[count] = kind
                        places[kind, 0], places[kind, 1] = x // step_x, y // step_y
                        count += 1
            for first in range(begin, count, lanes):
                chunks[made, 0], chunks[made, 1], chunks[made, 2] = px * pes_y + py, first, min(count, first + lanes)
                made += 1
    return made


@kernel
def worst_bank(table, kinds, first, end):  # type: ignore[no-untyped-def]
    """Most products in one bank, for counts of eight and more; table: hits of each class, four bits a bank."""
    longest = np.int64(1)
    for bank in range(32):
        found = np.int64(0)
        for i in range(first, end):
            word = table[kinds[i], bank // 16]
            found += np.int64((word >> np.uint64(4 * (bank % 16))) & np.uint64(15))
        longest = max(longest, found)
    return longest


@kernel
def set_hits(table, used, listed, places, hits, known, sizes):  # type: ignore[no-untyped-def]
    """Hits of a set of weights with each class of inputs that is there (`used`). sizes: W H banks taps_x taps_y.

    `hits` keeps the bit of a weight's place (its channel's lowest three bits) and a class, once `known`; if it has
    one row only, there is no room, and bits are made anew.
    """
    wide, high, banks, taps_x, taps_y = sizes
    keeps = len(hits) > 1
    for u in range(len(used)):
        kind = used[u]
        first, second = np.uint64(0), np.uint64(0)
        for j in range(len(listed)):
            k, r, s = listed[j, 0], listed[j, 1], listed[j, 2]
            at, of = 0, 0
            if keeps:
                at, of = ((k & 7) * taps_x + r) * taps_y + s, kind
            if not (keeps and known[at, of]):
                known[at, of] = 1
                hits[at, of, 0] = hits[at, of, 1] = 0
                x, y = places[kind, 0] - r, places[kind, 1] - s
                if 0 <= x < wide and 0 <= y < high:
                    bank = bank_of(k, x, y, banks)
                    hits[at, of, bank // 16] = np.uint64(1) << np.uint64(4 * (bank % 16))
            first += hits[at, of, 0]
            second += hits[at, of, 1]
        table[kind, 0], table[kind, 1] = first, second


@kernel
def add_steps(table, kinds, chunks, lasts):  # type: ignore[no-untyped-def]
    """Add to `lasts` the cycles of each chunk of inputs (PE, first, end) with one set of weights."""
    eights = np.uint64(0x8888888888888888)
    ones = np.uint64(0x1111111111111111)
    for i in range(len(chunks)):
        a, b, flags = np.uint64(0), np.uint64(0), np.uint64(0)
        for j in range(chunks[i, 1], chunks[i, 2]):
            flags |= a | b
            a += table[kinds[j], 0]
            b += table[kinds[j], 1]
        longest = np.int64(1)
        if (flags | a | b) & eights:  # eight or more somewhere, and perhaps a carry
            longest = worst_bank(table, kinds, chunks[i, 1], chunks[i, 2])
        else:
            add = np.uint64(0x6666666666666666)
            while ((a + add) | (b + add)) & eights:
                longest += 1
                add -= ones
        lasts[i] += longest


@kernel
def cartesian(acts, weights, numbers, out):  # type: ignore[no-untyped-def]
    """Steps without queues before the banks: each lasts as long as its busiest bank, at least 1 cycle.

    At most 16 products a step and 32 banks. out: (groups of outputs, channels, PEs, 3): cycles, steps, products.

    Inputs whose products all lie inside the output hit banks by their lowest two bits alone. So for each set of
    weights and each class of inputs the hits are counted once, four bits a bank.
    """
    channels, size_x, size_y = acts.shape
    wide, high, step_x, step_y, _, _, pes_x, pes_y, _, lanes_w, banks, span, taps_x, taps_y = numbers[:14]
    classes = (4 + 2 * taps_x) * (4 + 2 * taps_y)
    table, places = np.zeros((classes, 2), np.uint64), np.zeros((classes, 2), np.int64)
    kinds = np.zeros(size_x * size_y, np.uint32)
    chunks = np.zeros((size_x * size_y + pes_x * pes_y, 3), np.uint32)
    lasts = np.zeros(len(chunks), np.int64)
    listed = np.zeros((weights.shape[1] * weights.shape[2] * span, 3), np.int64)
    small = taps_x * taps_y * classes <= 2**15
    hits = np.zeros((8 * taps_x * taps_y if small else 1, classes if small else 1, 2), np.uint64)
    known = np.zeros((hits.shape[0], hits.shape[1]), np.uint8)
    sizes = (wide, high, banks, taps_x, taps_y)
    outputs = weights.shape[3]
    for c in range(channels):
        for phase in range(step_x * step_y):
            phase_x, phase_y = phase // step_y, phase % step_y
            made = list_chunks(acts, c, phase_x, phase_y, numbers, kinds, places, chunks)
            if made == 0:
                continue
            there = np.zeros(classes, np.uint8)
            for i in range(chunks[made - 1, 2]):
                there[kinds[i]] = 1
            used = np.flatnonzero(there)
            for b in range(-(-outputs // span)):
                held = list_weights(
                    weights, c, phase_x, phase_y, (step_x, step_y), b * span, min(outputs, (b + 1) * span), listed
                )
                lasts[:made] = 0
                for w0 in range(0, held, lanes_w):
                    set_hits(table, used, listed[w0 : min(held, w0 + lanes_w)], places, hits, known, sizes)
                    add_steps(table, kinds, chunks[:made], lasts)
                for i in range(made):
                    pe = chunks[i, 0]
                    out[b, c, pe, 0] += lasts[i]
                    out[b, c, pe, 1] += -(-held // lanes_w)
                    out[b, c, pe, 2] += held * np.int64(chunks[i, 2] - chunks[i, 1])


@kernel
def one_output(acts, weights, numbers, out):  # type: ignore[no-untyped-def]
    """As `cartesian`, for a stride of 1 and an output of one position, as of a matrix product.

    A weight's product counts only with the input at its own place, so that one chunk of inputs is looked at for each
    weight, and every other one takes a cycle for a set of weights.
    """
    channels, size_x, size_y = acts.shape
    block_x, block_y, pes_x, pes_y, lanes_a, lanes_w, banks, span = numbers[4:12]
    first_x, first_y = numbers[14:]
    outputs = weights.shape[3]
    chunk_at = np.zeros((size_x, size_y), np.int64)
    chunks = np.zeros((size_x * size_y, 2), np.int64)  # PE, inputs
    longer = np.zeros(len(chunks), np.int64)
    listed = np.zeros((weights.shape[1] * weights.shape[2] * span, 3), np.int64)
    there = np.zeros(lanes_w, np.int64)
    hits = np.zeros(lanes_w, np.int64)
    for c in range(channels):
        made = 0
        chunk_at[:] = -1
        for pe in range(pes_x * pes_y):
            left = 0
            for x in range(first_x + pe // pes_y * block_x, min(size_x, first_x + (pe // pes_y + 1) * block_x)):
                for y in range(first_y + pe % pes_y * block_y, min(size_y, first_y + (pe % pes_y + 1) * block_y)):
                    if acts[c, x, y]:
                        if left == 0:
                            chunks[made, 0], chunks[made, 1] = pe, 0
                            made += 1
                            left = lanes_a
                        left -= 1
                        chunks[made - 1, 1] += 1
                        chunk_at[x, y] = made - 1
        for b in range(-(-outputs // span)):
            held = list_weights(weights, c, 0, 0, (1, 1), b * span, min(outputs, (b + 1) * span), listed)
            sets = -(-held // lanes_w)
            longer[:made] = 0
            for w0 in range(0, held, lanes_w):
                for j in range(min(held - w0, lanes_w)):
                    at = chunk_at[listed[w0 + j, 1], listed[w0 + j, 2]]
                    there[j], hits[j] = at, 1
                    if at < 0:
                        continue
                    most = 1
                    for i in range(j):  # those that meet the same inputs
                        if there[i] == at:
                            most = max(most, hits[i])
                            same = bank_of(listed[w0 + i, 0], 0, 0, banks) == bank_of(listed[w0 + j, 0], 0, 0, banks)
                            hits[j] += same
                    longer[at] += max(0, hits[j] - most)
            for i in range(made):
                pe = chunks[i, 0]
                out[b, c, pe, 0] += sets + longer[i]
                out[b, c, pe, 1] += sets
                out[b, c, pe, 2] += held * chunks[i, 1]


@one_output.warms_up_with
def _one_output():  # type: ignore[no-untyped-def]
    numbers = np.array([1, 1, 1, 1, 1, 1, 2, 2, 4, 4, 32, 1, 2, 2, 0, 0], np.int64)
    return np.ones((1, 2, 2), np.uint8), np.ones((1, 2, 2, 1), np.uint8), numbers, np.zeros((1, 1, 4, 3), np.int64)


@cartesian.warms_up_with
def _cartesian():  # type: ignore[no-untyped-def]
    numbers = np.array([2, 2, 1, 1, 2, 2, 1, 1, 4, 4, 32, 1, 1, 1, 0, 0], np.int64)
    out = np.zeros((1, 1, 1, 3), np.int64)
    return np.ones((1, 2, 2), np.uint8), np.ones((1, 1, 1, 1), np.uint8), numbers, out


@kernel
def queued(acts, weights, numbers, depth, drains, out):  # type: ignore[no-untyped-def]
    """Steps with a queue before each bank: one may begin when no bank has more than `depth` products left to add.

    A bank adds one a cycle. The queues run empty at the end of each group of outputs, and, with `drains`, of each
    channel. out as in `cartesian`.
    """
    channels, size_x, size_y = acts.shape
    wide, high, step_x, step_y, block_x, block_y, pes_x, pes_y, lanes_a, lanes_w, banks, span = numbers[:12]
    first_x, first_y = numbers[14:]
    outputs = weights.shape[3]
    listed = np.zeros((weights.shape[1] * weights.shape[2] * span, 3), np.int64)
    found = np.zeros((block_x * block_y, 2), np.int64)
    left = np.zeros(banks, np.int64)
    for b in range(-(-outputs // span)):
        for pe in range(pes_x * pes_y):
            px, py = pe // pes_y, pe % pes_y
            for bank in range(banks):
                left[bank] = 0
            worst = np.int64(0)
            for c in range(channels):
                for phase in range(step_x * step_y):
                    phase_x, phase_y = phase // step_y, phase % step_y
                    count = 0
                    for x in range(first_x + px * block_x, min(size_x, first_x + (px + 1) * block_x)):
                        for y in range(first_y + py * block_y, min(size_y, first_y + (py + 1) * block_y)):
                            if x % step_x == phase_x and y % step_y == phase_y and acts[c, x, y]:
                                found[count, 0], found[count, 1] = x // step_x, y // step_y
                                count += 1
                    if count == 0:
                        continue
                    held = list_weights(
                        weights, c, phase_x, phase_y, (step_x, step_y), b * span, min(outputs, (b + 1) * span), listed
                    )
                    out[b, c, pe, 1] += -(-count // lanes_a) * -(-held // lanes_w)
                    out[b, c, pe, 2] += count * held
                    for a0 in range(0, count, lanes_a):
                        for w0 in range(0, held, lanes_w):
                            wait = max(np.int64(0), worst - depth)
                            for bank in range(banks):
                                left[bank] = max(np.int64(0), left[bank] - wait)
                            for i in range(a0, min(count, a0 + lanes_a)):
                                for j in range(w0, min(held, w0 + lanes_w)):
                                    x, y = found[i, 0] - listed[j, 1], found[i, 1] - listed[j, 2]
                                    if 0 <= x < wide and 0 <= y < high:
                                        left[bank_of(listed[j, 0], x, y, banks)] += 1
                            worst = np.int64(0)
                            for bank in range(banks):
                                left[bank] = max(np.int64(0), left[bank] - 1)
                                worst = max(worst, left[bank])
                            out[b, c, pe, 0] += wait + 1
                if drains or c == channels - 1:
                    out[b, c, pe, 0] += worst
                    for bank in range(banks):
                        left[bank] = 0
                    worst = np.int64(0)


@queued.warms_up_with
def _queued():  # type: ignore[no-untyped-def]
    acts, weights, numbers, out = _cartesian()
    return acts, weights, numbers, 1, False, out
