"""Kernels of SCNN: all products of nonzero inputs and nonzero weights of a channel, and the banks that they hit.

Inputs come as 0/1 in (channels, x, y), padding included, weights in (channels, x, y, outputs). PEs own blocks of
`block_x` x `block_y` inputs. numbers: W H stride_x stride_y block_x block_y pes_x pes_y inputs weights banks outputs,
the last being output channels of a group. A bank is told by the lowest bits of channel, x and y, as in DNNsim.
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
def cartesian(acts, weights, numbers, out):  # type: ignore[no-untyped-def]
    """Steps without queues before the banks: each lasts as long as its busiest bank, at least 1 cycle.

    At most 16 products a step and 32 banks. out: (groups of outputs, channels, PEs, 3): cycles, steps, products.

    Inputs whose products all lie inside the output hit banks by their lowest two bits alone. So for each set of
    weights and each class of inputs the hits are counted once, four bits a bank.
    """
    channels, size_x, size_y = acts.shape
    wide, high, step_x, step_y, block_x, block_y, pes_x, pes_y, lanes_a, lanes_w, banks, span = numbers
    taps_x, taps_y = -(-weights.shape[1] // step_x), -(-weights.shape[2] // step_y)
    classes_y = 4 + 2 * taps_y
    classes = (4 + 2 * taps_x) * classes_y
    low_table, high_table = np.zeros(classes, np.uint64), np.zeros(classes, np.uint64)
    stamps = np.zeros(classes, np.int64)
    places = np.zeros((classes, 2), np.int64)
    kinds = np.zeros(size_x * size_y, np.int64)
    starts = np.zeros(pes_x * pes_y + 1, np.int64)
    listed = np.zeros((weights.shape[1] * weights.shape[2] * span, 3), np.int64)
    eights = np.uint64(0x8888888888888888)
    ones = np.uint64(0x1111111111111111)
    stamp = 0
    outputs = weights.shape[3]
    for c in range(channels):
        for phase_x in range(step_x):
            for phase_y in range(step_y):
                count = 0
                for px in range(pes_x):
                    for py in range(pes_y):
                        starts[px * pes_y + py] = count
                        for x in range(px * block_x, min(size_x, (px + 1) * block_x)):
                            if x % step_x != phase_x:
                                continue
                            qx = x // step_x
                            kx = qx & 3
                            if qx < taps_x - 1:
                                kx = 4 + qx
                            elif qx >= wide:
                                kx = 4 + taps_x + min(qx - wide, taps_x - 1)
                            for y in range(py * block_y, min(size_y, (py + 1) * block_y)):
                                if y % step_y == phase_y and acts[c, x, y]:
                                    qy = y // step_y
                                    ky = qy & 3
                                    if qy < taps_y - 1:
                                        ky = 4 + qy
                                    elif qy >= high:
                                        ky = 4 + taps_y + min(qy - high, taps_y - 1)
                                    kind = kx * classes_y + ky
                                    kinds[count] = kind
                                    places[kind, 0], places[kind, 1] = qx, qy
                                    count += 1
                starts[pes_x * pes_y] = count
                for b in range(-(-outputs // span)):
                    held = list_weights(
                        weights, c, phase_x, phase_y, (step_x, step_y), b * span, min(outputs, (b + 1) * span), listed
                    )
                    for w0 in range(0, held, lanes_w):
                        used = min(lanes_w, held - w0)
                        stamp += 1
                        for pe in range(pes_x * pes_y):
                            cycles = np.int64(0)
                            begin, end = starts[pe], starts[pe + 1]
                            for a0 in range(begin, end, lanes_a):
                                low, top, flags = np.uint64(0), np.uint64(0), np.uint64(0)
                                for i in range(a0, min(end, a0 + lanes_a)):
                                    kind = kinds[i]
                                    if stamps[kind] != stamp:
                                        stamps[kind] = stamp
                                        hits, more = np.uint64(0), np.uint64(0)
                                        for j in range(w0, w0 + used):
                                            x, y = places[kind, 0] - listed[j, 1], places[kind, 1] - listed[j, 2]
                                            if 0 <= x < wide and 0 <= y < high:
                                                bank = bank_of(listed[j, 0], x, y, banks)
                                                if bank < 16:
                                                    hits += np.uint64(1) << np.uint64(4 * bank)
                                                else:
                                                    more += np.uint64(1) << np.uint64(4 * bank - 64)
                                        low_table[kind], high_table[kind] = hits, more
                                    flags |= low | top
                                    low += low_table[kind]
                                    top += high_table[kind]
                                flags |= low | top
                                longest = np.int64(1)
                                if flags & eights:  # eight or more hits somewhere: count bank by bank
                                    for bank in range(banks):
                                        found = np.int64(0)
                                        for i in range(a0, min(end, a0 + lanes_a)):
                                            word = low_table[kinds[i]] if bank < 16 else high_table[kinds[i]]
                                            found += np.int64((word >> np.uint64(4 * (bank % 16))) & np.uint64(15))
                                        longest = max(longest, found)
                                else:
                                    add = np.uint64(0x6666666666666666)
                                    while ((low + add) | (top + add)) & eights:
                                        longest += 1
                                        add -= ones
                                cycles += longest
                            steps = -(-(end - begin) // lanes_a)
                            out[b, c, pe, 0] += cycles
                            out[b, c, pe, 1] += steps
                            out[b, c, pe, 2] += (end - begin) * used


@cartesian.warms_up_with
def _cartesian():  # type: ignore[no-untyped-def]
    numbers = np.array([2, 2, 1, 1, 2, 2, 1, 1, 4, 4, 32, 1], np.int64)
    out = np.zeros((1, 1, 1, 3), np.int64)
    return np.ones((1, 2, 2), np.uint8), np.ones((1, 1, 1, 1), np.uint8), numbers, out


@kernel
def queued(acts, weights, numbers, depth, drains, out):  # type: ignore[no-untyped-def]
    """Steps with a queue before each bank: one may begin when no bank has more than `depth` products left to add.

    A bank adds one a cycle. The queues run empty at the end of each group of outputs, and, with `drains`, of each
    channel. out as in `cartesian`.
    """
    channels, size_x, size_y = acts.shape
    wide, high, step_x, step_y, block_x, block_y, pes_x, pes_y, lanes_a, lanes_w, banks, span = numbers
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
                    for x in range(px * block_x, min(size_x, (px + 1) * block_x)):
                        for y in range(py * block_y, min(size_y, (py + 1) * block_y)):
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
