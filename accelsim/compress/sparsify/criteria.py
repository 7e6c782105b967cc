"""How much a group matters. The least goes first."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import Step
from accelsim.compress.sources import check_finite
from accelsim.compress.sparsify.grains import Grain
from accelsim.compress.state import FloatArray, TensorState

Criterion = Literal["magnitude", "l1", "l2", "max", "mean", "random", "taylor", "geometric", "similarity"]
"""
magnitude   |w|, of a group the sum: Han et al., NIPS 2015; Li et al., "Pruning filters", ICLR 2017
l1, l2, max, mean
            of a group; max and mean are Cambricon-S' two (Zhou et al., MICRO 2018, section III)
random      counter-based, by names and seed
taylor      |mean of w * dL/dw| over the group: survey equations (44) and (45); Molchanov et al., ICLR 2017
geometric   sum of the distances to all other groups: He et al., "Filter pruning via geometric median", CVPR 2019
similarity  of the two groups most alike (cosine, without sign) the smaller goes, then of the rest, and so on
"""

WITHIN_ONE_TENSOR = ("geometric", "similarity")


def element_scores(step: Step, state: TensorState, criterion: Criterion) -> NDArray[Any]:
    """Scores of single elements for `select`: float32 >= 0, or uint32 below 2**31; of the tensor's shape.

    Raises
    ------
    ConfigError
        If gradients are needed and missing, or the criterion compares groups.
    """
    if criterion in WITHIN_ONE_TENSOR:
        raise ConfigError(f"criterion {criterion} must have groups of more than one element")
    if criterion == "random":
        words = step.words(state, "order", 0, state.elements)
        return np.asarray(words >> np.uint64(33), np.uint32).reshape(state.shape)
    values = state.values
    return np.abs(values * gradient(step, state)) if criterion == "taylor" else values


def group_scores(
    step: Step, state: TensorState, criterion: Criterion, grain: Grain, *, comparable: bool = False
) -> NDArray[np.float64]:
    """Scores of groups, of shape `grain.grid`.

    Parameters
    ----------
    comparable : bool
        Norms are divided by what size alone does to them (l1: elements, l2: their root), so that groups of
        different tensors can be compared.
    """
    values = state.values
    if criterion == "random":
        words = step.words(state, "order", 0, grain.groups)
        return np.asarray(words >> np.uint64(11), np.float64).reshape(grain.grid)
    if criterion == "taylor":
        products = np.multiply(values, gradient(step, state), dtype=np.float64)
        return np.asarray(np.abs(grain.reduce(products)) / grain.sizes())
    if criterion == "geometric":
        return _distances(grain.vectors(values).astype(np.float64)).reshape(grain.grid)
    if criterion == "similarity":
        return _likeness(grain.vectors(values).astype(np.float64)).reshape(grain.grid)
    if criterion == "l2":
        squares = np.sqrt(grain.reduce(np.square(values, dtype=np.float64)))
        return np.asarray(squares / np.sqrt(grain.sizes()) if comparable else squares)
    if criterion == "max":
        return grain.reduce(np.abs(values), np.maximum).astype(np.float64)
    sums = grain.reduce(np.abs(values).astype(np.float64))
    return sums / grain.sizes() if comparable or criterion == "mean" else sums


def gradient(step: Step, state: TensorState) -> FloatArray:
    """The captured derivative of the loss by this tensor: role gradient of its layer (error, for activations).

    Raises
    ------
    ConfigError
        If there is none, it has another shape, or holds NaN or infinity (names it and says how many).
    """
    role = "error" if state.role in ("ifmap", "ofmap", "state") else "gradient"
    found = step.context.numbers(state.layer.name, role)
    if found is None or state.part:
        raise ConfigError(f"criterion taylor must have captured gradients ({state.layer.name}/{role}), got none")
    check_finite(np.asarray(found), f"{state.layer.name}/{role}")
    if found.shape != state.shape:
        raise ConfigError(f"{state.layer.name}/{role} must have shape {list(state.shape)}, got {list(found.shape)}")
    return np.asarray(found, np.float32)


def _distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = np.einsum("ij,ij->i", rows, rows)
    gram = rows @ rows.T
    total: NDArray[np.float64] = np.sqrt(np.maximum(squares[:, None] + squares - 2 * gram, 0)).sum(axis=1)
    return total


def _likeness(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place of each row in the order of removal: 0 goes first."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit = rows / np.where(norms > 0, norms, 1)[:, None]
    alike = np.abs(unit @ unit.T)
    alike[norms == 0] = 2  # nothing at all: first of all
    np.fill_diagonal(alike, -1)
    order: NDArray[np.float64] = np.zeros(len(rows), np.float64)
    for place in range(len(rows) - 1):
        i, j = (int(n) for n in np.unravel_index(np.argmax(alike), alike.shape))
        gone = i if norms[i] <= norms[j] else j
        order[gone] = place
        alike[gone, :] = alike[:, gone] = -2
    order[np.flatnonzero(alike.max(axis=1) > -2)] = len(rows) - 1  # the last one left has its own -1
    return order
