"""Sparse columns of a matrix that can share one column of an array: what packs them, and what runs them.

Kung, McDanel and Zhang, ASPLOS 2019, section 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def combine_columns(nonzero: NDArray[np.bool_], alpha: int, gamma: float) -> list[list[int]]:
    """Groups of columns.

    Densest columns first; each joins the group that becomes densest, among those of fewer than `alpha` columns that
    then have at most gamma * rows conflicts (weights that another of the group's columns has in the same row);
    otherwise it opens a group. Of equal ones the first.
    """
    rows, columns = nonzero.shape
    counts = nonzero.sum(axis=0)
    most = int(gamma * rows)
    taken = np.zeros((0, rows), np.bool_)
    lost = np.zeros(0, np.int64)
    groups: list[list[int]] = []
    for column in np.argsort(-counts, kind="stable").tolist():
        mine = nonzero[:, column]
        collisions = (taken & mine).sum(axis=1)
        fits = (lost + collisions <= most) & (np.array([len(g) for g in groups], np.int64) < alpha)
        if fits.any():
            filled = taken.sum(axis=1) + counts[column] - collisions
            best = int(np.argmax(np.where(fits, filled, -1)))
            groups[best].append(column)
            lost[best] += collisions[best]
            taken[best] |= mine
        else:
            groups.append([column])
            taken, lost = np.vstack([taken, mine]), np.append(lost, 0)
    return groups
