"""Kernels of UCNN: what the tables cost that filters share."""

from __future__ import annotations

import numpy as np

from accelsim.base.kernels import kernel


@kernel
def mark(codes, seen):  # type: ignore[no-untyped-def]
    """1 for each code that occurs."""
    for i in range(codes.shape[0]):
        seen[codes[i]] = 1


@mark.warms_up_with
def _mark():  # type: ignore[no-untyped-def]
    return np.zeros(1, np.uint8), np.zeros(256, np.uint8)


@kernel
def sort_columns(places, distinct, keys, begin, order):  # type: ignore[no-untyped-def]
    """Columns of places (filters, k) in ascending order, the first filter deciding first; equal ones in any order.

    keys: room for k numbers. begin: room to count some numbers in. order: the columns, written.
    """
    k = places.shape[1]
    keys[:k] = 0
    room = np.int64(1)
    for f in range(places.shape[0]):
        if room > (1 << 62) // distinct:  # numbers in the order of those so far
            known = np.unique(keys[:k])
            keys[:k] = np.searchsorted(known, keys[:k])
            room = np.int64(known.shape[0])
        room *= distinct
        for i in range(k):
            keys[i] = keys[i] * distinct + places[f, i]
    if room >= min(begin.shape[0], 64 * k):
        order[:k] = np.argsort(keys[:k])
        return
    begin[: room + 1] = 0
    for i in range(k):
        begin[keys[i] + 1] += 1
    for key in range(room):
        begin[key + 1] += begin[key]
    for i in range(k):
        order[begin[keys[i]]] = i
        begin[keys[i]] += 1


@kernel
def factor_tables(weights, rank, rule, out):  # type: ignore[no-untyped-def]
    """Walk the tables of groups of filters entry by entry, as a lane does.

    weights: codes (groups, filters, k). rank: place of each code in the order of weights. rule: filters of a table,
    inputs of a sum (0: any number), weights that an entry for skipping passes (0: it is free), different weights,
    place of 0. out: (groups, tables, 5) entries, bubbles, products, sums, skips.
    """
    share, limit, reach, distinct, zero = rule
    k = weights.shape[2]
    places = np.zeros((share, k), np.int64)
    keys, order, begin = np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(1 << 14, np.int64)
    held, stand = np.zeros(share, np.int64), np.zeros(share, np.int64)
    for g in range(weights.shape[0]):
        for t in range(out.shape[1]):
            filters = weights[g, t * share : (t + 1) * share]
            count = filters.shape[0]
            entries = 0
            for i in range(k):
                live = False
                for f in range(count):
                    places[f, entries] = rank[filters[f, i]]
                    live |= places[f, entries] != zero
                entries += live
            sort_columns(places[:count, :entries], distinct, keys, begin, order)
            bubbles = 0
            products = 0
            sums = 0
            skips = 0
            held[:] = 0
            stand[:] = -1
            for number in range(entries):
                at = order[number]
                passed = 0
                moved = False
                for f in range(count):  # to this entry's weights; the filters inside of one that moves start again
                    before = np.int64(-1) if moved else stand[f]
                    moved = moved or places[f, at] != stand[f]
                    stand[f] = places[f, at]
                    passed = max(passed, stand[f] - before - 1)
                if reach:
                    skips += -(-passed // reach)
                used = 0
                same = number + 1 < entries
                for f in range(count):
                    same = same and stand[f] == places[f, order[number + 1]]
                    held[f] += 1
                    if same and held[f] != limit:
                        continue
                    used += stand[f] != zero
                    held[f] = 0
                    # an ended group is handed outward; an outer sum that is taken early has what is open inside
                    sums += (f + 1 < count) if same else (f > 0)
                products += used
                bubbles += max(0, used - 1)
            out[g, t, 0], out[g, t, 1], out[g, t, 2], out[g, t, 3] = entries, bubbles, products, sums
            out[g, t, 4] = skips


@factor_tables.warms_up_with
def _tables():  # type: ignore[no-untyped-def]
    rule = np.array([2, 2, 1, 2, 0], np.int64)
    return np.ones((1, 2, 3), np.uint8), np.arange(256), rule, np.zeros((1, 1, 5), np.int64)
