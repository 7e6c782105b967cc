"""Crossbars for matrices that are mostly zero: what is left after removing lines, or per block of columns.

`lines`: rows and columns that are zero throughout leave the matrix (structured pruning; ReCom, DATE 2018).
`blocks`: every crossbar-wide block of columns keeps its own rows, and inputs are selected by an index for each
(SNrram, DAC 2018; crossbar-aware pruning, Liang et al., IEEE Access 2018, prunes so that such rows arise). Columns
without a nonzero are removed first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Packed:
    """A packed matrix.

    Attributes
    ----------
    units : int
        Crossbars (blocks of rows x columns weights).
    rows : int
        Inputs that are driven, over all blocks of columns.
    columns : int
        Column sums, over all blocks of rows: conversions of a slice and step.
    weights : int
        Weights that are stored.
    index_bits : int
        To select inputs: one bit for each row of the matrix and list of rows.
    deep : int
        The most crossbars whose sums are added.
    """

    units: int
    rows: int
    columns: int
    weights: int
    index_bits: int
    deep: int


def pack(w: NDArray[Any], rows: int, columns: int, how: str) -> Packed:
    """Pack weights (k, n) into units of rows x columns; `how`: "none", "lines" or "blocks"."""
    mask = np.asarray(w) != 0
    k, n = mask.shape
    if how != "none":
        mask = mask[:, mask.any(0)]
    if how == "lines":
        mask = mask[mask.any(1)]
    units = driven = sums = weights = lists = most = 0
    for first in range(0, mask.shape[1], columns):
        block = mask[:, first : first + columns]
        kept = int(block.any(1).sum()) if how == "blocks" else len(block)
        deep = -(-kept // rows)
        most = max(most, deep)
        units, driven, sums = units + deep, driven + kept, sums + deep * block.shape[1]
        weights, lists = weights + kept * block.shape[1], lists + 1
    index = {"none": 0, "lines": k + n, "blocks": k * lists + n}[how]
    return Packed(units, driven, sums, weights, index, most)
