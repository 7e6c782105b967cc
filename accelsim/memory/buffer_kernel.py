"""Kernels of the banked buffer; the rules are in `accelsim.memory.buffer`.

A stream is a row of FIELDS int64:
base, words, word_stride, step_stride, steps, is_write, is_dma, first bank, banks, words of a block,
steps after which it meets the same banks again, words of a step after which they repeat.
Parameters: banks, read ports, write ports, shared ports (0: separate), round robin, DMA first.
"""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel

FIELDS = 12


@kernel
def _gcd(a, b):  # type: ignore[no-untyped-def]
    while b:
        a, b = b, a % b
    return a


@kernel
def _joint_period(streams, begin, end):  # type: ignore[no-untyped-def]
    """Steps after which all array streams that are active from `begin` repeat; `end - begin` if none that short."""
    period = np.int64(1)
    for s in range(len(streams)):
        if streams[s, 6] == 0 and streams[s, 4] > begin:
            period = period // _gcd(period, streams[s, 10]) * streams[s, 10]
            if period >= end - begin:
                return end - begin
    return period


@kernel
def _segment_end(streams, begin):  # type: ignore[no-untyped-def]
    """The next step at which an array stream ends; 0 if none is active."""
    end = np.int64(0)
    for s in range(len(streams)):
        if streams[s, 6] == 0 and streams[s, 4] > begin and (end == 0 or streams[s, 4] < end):
            end = streams[s, 4]
    return end


@kernel
def _want(streams, s, step, counts, row):  # type: ignore[no-untyped-def]
    """Add the words that stream s wants in `step` to `counts[row]`, by bank; returns the largest count touched."""
    block, span = streams[s, 9], streams[s, 8] * streams[s, 9]
    address = streams[s, 0] + step * streams[s, 3]
    most = np.int64(0)
    rounds, rest = streams[s, 1] // streams[s, 11], streams[s, 1] % streams[s, 11]
    for i in range(min(streams[s, 1], streams[s, 11])):
        bank = streams[s, 7] + (address + i * streams[s, 2]) % span // block
        counts[row, bank] += rounds + (1 if i < rest else 0)
        most = max(most, counts[row, bank])
    return most


@kernel
def _serve_array(s, kind, is_write, free, left, refused, moved):  # type: ignore[no-untyped-def]
    """Serve what the free ports allow of one array stream; returns the words still wanted."""
    wanted = np.int64(0)
    for bank in range(left.shape[1]):
        taken = min(left[s, bank], free[kind, bank])
        left[s, bank] -= taken
        free[kind, bank] -= taken
        moved[bank, is_write] += taken
        wanted += left[s, bank]
    refused[s] += wanted
    return wanted


@kernel
def _serve_dma(streams, s, kind, free, done, refused, moved):  # type: ignore[no-untyped-def]
    """Serve words of one DMA stream in order until one is refused."""
    words, block, span = streams[s, 1], streams[s, 9], streams[s, 8] * streams[s, 9]
    window = min(words, words * streams[s, 4] - done[s])
    for i in range(window):
        address = streams[s, 0] + done[s] // words * streams[s, 3] + done[s] % words * streams[s, 2]
        bank = streams[s, 7] + address % span // block
        if free[kind, bank] == 0:
            refused[s] += window - i
            break
        free[kind, bank] -= 1
        moved[bank, streams[s, 5]] += 1
        done[s] += 1


@kernel
def _cycle(streams, params, cycle, free, left, done, refused, moved):  # type: ignore[no-untyped-def]
    """One cycle; returns the words that the array still wants of its step."""
    shared, round_robin, dma_first = params[3], params[4], params[5]
    for bank in range(params[0]):
        free[0, bank] = shared if shared > 0 else params[1]
        free[1, bank] = params[2]
    wanted = np.int64(0)
    for turn in range(2):
        dma = 1 - turn if dma_first > 0 else turn
        members = np.int64(0)
        for s in range(len(streams)):
            if streams[s, 6] == dma:
                members += 1
        first = cycle % members if round_robin > 0 and members > 0 else 0
        for wrap in range(2):  # from `first` on, then those before it
            number = np.int64(-1)
            for s in range(len(streams)):
                if streams[s, 6] == dma:
                    number += 1
                    if (number < first) == (wrap == 1):
                        kind = 0 if shared > 0 else streams[s, 5]
                        if dma == 0:
                            wanted += _serve_array(s, kind, streams[s, 5], free, left, refused, moved)
                        else:
                            _serve_dma(streams, s, kind, free, done, refused, moved)
    return wanted


@kernel
def _repeats(streams, params, now, saved):  # type: ignore[no-untyped-def]
    """Whether two instants can only be followed by the same (the array's step aside)."""
    count = len(streams)
    members = np.zeros(2, np.int64)
    for s in range(count):
        members[streams[s, 6]] += 1
        if streams[s, 6] and (now[2 + s] - saved[2 + s]) % (streams[s, 1] * streams[s, 10]):
            return False
    for kind in range(2):
        if params[4] > 0 and members[kind] > 0 and (now[1] - saved[1]) % members[kind]:
            return False
    for i in range(2 + 2 * count, len(now) - 2 * params[0]):  # words left of the step
        if now[i] != saved[i]:
            return False
    return True


@kernel
def _jumps(streams, end, now, saved):  # type: ignore[no-untyped-def]
    """How often what happened since the saved instant may be repeated before a stream comes to its end."""
    times = np.int64(2**62)
    if now[0] > saved[0]:
        times = (end - 1 - now[0]) // (now[0] - saved[0])
    for s in range(len(streams)):
        if streams[s, 6] and now[2 + s] > saved[2 + s]:
            left = streams[s, 1] * streams[s, 4] - now[2 + s] - streams[s, 1]
            times = min(times, left // (now[2 + s] - saved[2 + s]))
    return times


@kernel
def _next_step(streams, step, left):  # type: ignore[no-untyped-def]
    """Put down what the array wants in `step`."""
    for s in range(len(streams)):
        for bank in range(left.shape[1]):
            left[s, bank] = 0
        if streams[s, 6] == 0 and streams[s, 4] > step:
            _want(streams, s, step, left, s)


@kernel
def _dma_words(streams, done):  # type: ignore[no-untyped-def]
    """Words that the DMA streams still have to move."""
    words = np.int64(0)
    for s in range(len(streams)):
        if streams[s, 6]:
            words += streams[s, 1] * streams[s, 4] - done[s]
    return words


@kernel
def contend_kernel(streams, params, finish, refused, served):  # type: ignore[no-untyped-def]
    """Play all streams to their end; returns (cycles of the array, cycles stepped through).

    Fills finish and refused (for each stream) and served (bank, read / write). Brent's method finds the
    period: the present is compared with one saved instant, which moves up at powers of two. Everything that
    changes lies in one vector, so that repeating what happened is adding a multiple of a difference.
    """
    count, banks = len(streams), params[0]
    at = 2 + 2 * count
    now = np.zeros(at + (count + 2) * banks, np.int64)
    done, turned_down = now[2 : 2 + count], now[2 + count : at]
    left = now[at : at + count * banks].reshape(count, banks)
    moved = now[at + count * banks :].reshape(banks, 2)
    saved, free = np.zeros(len(now), np.int64), np.zeros((2, banks), np.int64)
    stepped, array_end = np.int64(0), np.int64(0)
    while True:
        end = _segment_end(streams, now[0])
        tail = end == 0  # the array has ended: every cycle is a step without words
        if tail and _dma_words(streams, done) == 0:
            break
        period = np.int64(1) if tail else _joint_period(streams, now[0], end)
        end = np.int64(2**62) if tail else end
        begin = now[0]
        since, power = np.int64(0), np.int64(0)  # power 0: nothing is saved yet
        _next_step(streams, begin, left)
        while now[0] < end and not (tail and _dma_words(streams, done) == 0):
            if power > 0 and (now[0] - saved[0]) % period == 0:
                if _repeats(streams, params, now, saved):
                    times = _jumps(streams, end, now, saved)
                    if times > 0:
                        for i in range(len(now)):
                            now[i] += times * (now[i] - saved[i])
                        power = np.int64(0)
            if since == power or power == 0:
                power, since = 2 * power if power > 0 else np.int64(1), np.int64(0)
                for i in range(len(now)):
                    saved[i] = now[i]
            wanted = _cycle(streams, params, now[1], free, left, done, turned_down, moved)
            now[1] += 1
            stepped += 1
            since += 1
            for s in range(count):
                if finish[s] == 0 and streams[s, 6] and done[s] == streams[s, 1] * streams[s, 4] and done[s] > 0:
                    finish[s] = now[1]
            if wanted == 0:
                now[0] += 1
                _next_step(streams, now[0], left)
        if not tail:
            array_end = now[1]
        for s in range(count):
            if streams[s, 6] == 0 and streams[s, 4] == end:
                finish[s] = now[1]
    for s in range(count):
        refused[s] += turned_down[s]
    for bank in range(banks):
        served[bank, 0] += moved[bank, 0]
        served[bank, 1] += moved[bank, 1]
    return array_end, stepped


@contend_kernel.warms_up_with
def _example():  # type: ignore[no-untyped-def]
    stream = np.array([[0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1]], np.int64)
    params = np.array([1, 1, 1, 0, 0, 0], np.int64)
    return stream, params, np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((1, 2), np.int64)
