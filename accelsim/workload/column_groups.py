"""Sparse columns of a matrix that can share one column of an array: what packs them, and what runs them.

Kung, McDanel and Zhang, ASPLOS 2019, section 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.encodings.sparse_kernels import popcount


def combine_columns(nonzero: NDArray[np.bool_], alpha: int, gamma: float) -> list[list[int]]:
    """Groups of columns.

    Densest columns first; each joins the group that becomes densest, among those of fewer than `alpha` columns that
    then have at most gamma * rows conflicts (weights that another of the group's columns has in the same row);
    otherwise it opens a group. Of equal ones the first.
    """
    rows, columns = nonzero.shape
    counts = nonzero.sum(axis=0)
    most, least = int(gamma * rows), int(counts.min(initial=rows))
    bits = _packed(nonzero)
    taken = np.zeros_like(bits)
    lost, filled = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    groups: list[list[int]] = []
    open_groups = np.zeros(0, np.int64)  # those that some column may still join
    for column in np.argsort(-counts, kind="stable").tolist():
        place = -1
        if len(open_groups):
            collisions = _ones(taken[open_groups] & bits[column])
            fits = lost[open_groups] + collisions <= most
            if fits.any():
                place = int(np.argmax(np.where(fits, filled[open_groups] + counts[column] - collisions, -1)))
        if place >= 0:
            group, shared = int(open_groups[place]), int(collisions[place])
            groups[group].append(column)
        else:
            group, shared = len(groups), 0
            groups.append([column])
        lost[group] += shared
        filled[group] += counts[column] - shared
        taken[group] |= bits[column]
        full = len(groups[group]) >= alpha or lost[group] + max(0, filled[group] + least - rows) > most
        if full and place >= 0:
            open_groups = np.delete(open_groups, place)
        elif place < 0 and not full:
            open_groups = np.append(open_groups, group)
    return groups


def _packed(nonzero: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The bits of each column in words, shape (columns, words)."""
    packed = np.packbits(nonzero.T, axis=1)
    padded = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)


def _ones(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many bits are set in each row."""
    return np.asarray(popcount(words).sum(axis=1, dtype=np.int64))
