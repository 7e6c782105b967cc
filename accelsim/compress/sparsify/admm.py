"""Pruning by ADMM: weights that reproduce the layer's outputs, and weights that are sparse, are drawn together.

Survey, equations (34) to (36) with the constraint of Section III-E3 (any structure): f is the squared error of sampled
outputs, g says that no more groups than the density allows are other than zero. After Zhang et al., "A systematic DNN
weight pruning framework using ADMM", ECCV 2018, where f is the network's loss; here it is one layer's outputs, so that
the first subproblem is solved exactly, by linear equations.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS
from accelsim.compress.sparsify.grains import Grain, GrainName, grain
from accelsim.compress.sparsify.reconstruct import Reconstruct
from accelsim.compress.sparsify.select import kept_count
from accelsim.compress.state import TensorState

Array = NDArray[np.float64]

MAX_INPUTS = 8192
"""Most inputs of an output: their matrix of products is held in memory (512 MB), and factorised."""


@STEPS.register("prune_admm")
class PruneADMM(Reconstruct):
    """Needs captured inputs of the layer (role ifmap). Not for grouped convolutions."""

    kind: ClassVar[str] = "prune_admm"

    class Params(Reconstruct.Params):
        """Beside those of `Reconstruct` (density: of groups; refit: whether least squares ends it).

        Attributes
        ----------
        grain, block
            See `grains`.
        rho : number > 0
            Penalty, relative to the mean of the inputs' squares.
        iterations : int
        """

        grain: GrainName = "element"
        block: list[int] | None = None
        rho: float = pydantic.Field(default=1.0, gt=0)
        iterations: int = pydantic.Field(default=30, ge=1, le=10000)
        refit: bool = False

    def apply(self, state: TensorState) -> None:
        windows = self._windows(state)
        inputs = windows.reshape(len(windows), -1)
        if inputs.shape[1] > MAX_INPUTS:
            most = f"must have at most {MAX_INPUTS} inputs for each output"
            raise ConfigError(f"{most}, got {inputs.shape[1]}", state.name)
        gram = inputs.T @ inputs / len(inputs)
        cut = grain(self.params.grain, state.shape, self.params.block)
        weights = state.values.reshape(state.shape[0], -1).astype(np.float64)
        count = kept_count(float(self.at(state, self.params.density)), cut.groups)
        rho = self.params.rho * max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
        sparse = admm(weights, gram, cut, count, rho, self.params.iterations)
        kept = sparse != 0
        if self.params.refit:
            sparse = least_squares(weights, gram, kept)
        difference = sparse - weights
        before = max(float(np.sum(weights @ gram * weights)), np.finfo(float).tiny)
        error = np.sum(difference @ gram * difference) / before
        state.replace(sparse.astype(np.float32).reshape(state.shape))
        state.zero_out(~kept.reshape(state.shape))
        state.notes.append(f"relative squared error of outputs {error:.3e}")


def admm(weights: Array, gram: Array, cut: Grain, count: int, rho: float, iterations: int) -> Array:
    """Z of equation (36) after some iterations, from Z = the projection of the weights and Y' = 0.

    weights : [outputs, inputs]; gram : [inputs, inputs], mean products of inputs; count : groups that stay
    """
    inverse = np.linalg.inv(gram + rho * np.eye(len(gram)))
    fixed = weights @ gram
    sparse, dual = project(weights, cut, count), np.zeros_like(weights)
    for _ in range(iterations):
        dense = (fixed + rho * (sparse - dual)) @ inverse
        sparse = project(dense + dual, cut, count)
        dual += dense - sparse
    return sparse


def project(weights: Array, cut: Grain, count: int) -> Array:
    """The nearest matrix with at most `count` groups other than zero; of equal norms the later groups stay."""
    norms = cut.reduce(np.square(weights).reshape(cut.shape)).reshape(-1)
    kept = np.ones(norms.size, np.bool_)
    kept[np.argsort(norms, kind="stable")[: norms.size - count]] = False
    return np.where(cut.spread(kept).reshape(weights.shape), weights, 0.0)


def least_squares(weights: Array, gram: Array, kept: NDArray[np.bool_]) -> Array:
    """For each output the weights at the kept places that reproduce it best."""
    found = np.zeros_like(weights)
    for row, places in enumerate(kept):
        if places.any():
            inside = gram[np.ix_(places, places)]
            found[row, places] = np.linalg.lstsq(inside, gram[places] @ weights[row], rcond=None)[0]
    return found
