"""What is added to the loss for structure: the group LASSO of SSL and the L1 norm of network slimming.

Both have corners at zero, where gradients do not lead. So after each step of gradient descent on the loss alone the
penalty's proximal operator is applied with the step's size (proximal gradient descent; Parikh and Boyd, "Proximal
Algorithms", 2014, Section 4.2): what is to vanish becomes exactly zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.sparsify.grains import Grain

Array = NDArray[Any]


def group_norms(weights: Array, cut: Grain) -> Array:
    """Euclidean norm of each group."""
    return np.asarray(np.sqrt(cut.reduce(np.square(weights, dtype=np.float64))))


def group_lasso(tensors: Iterable[tuple[Array, Grain]]) -> float:
    """Sum over all groups of their norms: the second term of equation (39) of the survey without its factor.

    Wen et al., "Learning structured sparsity in deep neural networks", NIPS 2016, equation 2.
    """
    return sum(float(group_norms(w, cut).sum()) for w, cut in tensors)


def shrink_groups(weights: Array, cut: Grain, amount: float) -> None:
    """In place: every group shortened by `amount`, those not longer than that become zero."""
    norms = group_norms(weights, cut)
    factor = np.maximum(0.0, 1 - amount / np.where(norms > 0, norms, 1.0))
    weights *= cut.spread(factor).astype(weights.dtype)


def l1(scales: Iterable[Array]) -> float:
    """Sum of magnitudes. Liu et al., "Learning efficient convolutional networks through network slimming", ICCV 2017,
    equation 1."""
    return sum(float(np.abs(s).sum(dtype=np.float64)) for s in scales)


def shrink(scales: Array, amount: float) -> None:
    """In place: every number drawn towards zero by `amount`."""
    scales[...] = np.sign(scales) * np.maximum(0, np.abs(scales) - amount)
