"""Sums that stop early: products in an order that shows soon which sums a ReLU will cut."""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel

#: What `early_stops` says of a sum: finished; known to be negative; taken for it, rightly; taken for it, but above 0.
FINISHED, KNOWN, RIGHT, WRONG = 0, 1, 2, 3


@kernel
def early_stops(inputs, weights, order, counts, begins, thresholds, made, verdict):  # type: ignore[no-untyped-def]
    """Products made of each sum until it is decided.

    inputs: not negative, int32 (weights of a filter, sums). weights, order: int32 (filters, weights) in the order of
    `sign_order`, and their places. counts: (filters, 3) speculative, positive, negative. begins, thresholds: int64
    (filters,): a sum begins with its bias; at or below the threshold behind the speculative products it is taken to be
    negative. made: int32, verdict: uint8 (filters, sums).
    """
    total = np.zeros(inputs.shape[1], np.int64)
    alive = np.zeros(inputs.shape[1], np.int64)
    for f in range(weights.shape[0]):
        ahead, positive, negative = counts[f, 0], counts[f, 1], counts[f, 2]
        total[:] = begins[f]
        alive[:] = 1
        verdict[f] = 0
        for i in range(ahead + positive):
            weight = np.int64(weights[f, i])
            seen = inputs[order[f, i]]
            for m in range(total.shape[0]):
                total[m] += weight * seen[m]
            if i == ahead - 1:
                for m in range(total.shape[0]):
                    alive[m] = total[m] > thresholds[f]
        for m in range(total.shape[0]):
            made[f, m] = ahead + positive if alive[m] else ahead
            if not alive[m]:
                verdict[f, m] = 2
        for i in range(ahead + positive, ahead + positive + negative):
            weight = np.int64(weights[f, i])
            seen = inputs[order[f, i]]
            left = np.int64(0)
            for m in range(total.shape[0]):
                total[m] += weight * seen[m]
                made[f, m] += alive[m]
                alive[m] &= total[m] >= 0
                left += total[m] >= 0
            if left == 0:
                break
        for m in range(total.shape[0]):
            if verdict[f, m] == 2:
                verdict[f, m] += total[m] > 0
            elif total[m] < 0 and negative:
                verdict[f, m] = 1


@early_stops.warms_up_with
def _stops():  # type: ignore[no-untyped-def]
    one = np.ones((1, 1), np.int32)
    counts, limits = np.array([[0, 1, 0]], np.int64), np.zeros(1, np.int64)
    return one, one, np.zeros((1, 1), np.int32), counts, limits, limits, one.copy(), np.zeros((1, 1), np.uint8)
