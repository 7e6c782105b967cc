"""Channel selection by what the layer's outputs lose: ThiNet's greedy choice, and channel pruning by LASSO.

Both minimise, over sets of input channels, the squared error of sampled outputs: survey, equation (41). They need
captured inputs of the layer (role ifmap).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Context, Step, StepParams
from accelsim.compress.selectors import PerLayer
from accelsim.compress.sources import check_finite
from accelsim.compress.sparsify.prune import checked_density
from accelsim.compress.sparsify.select import kept_count
from accelsim.compress.state import TensorState
from accelsim.workload.ops import Conv
from accelsim.workload.shapes import ConvShape

Array = NDArray[np.float64]


class Reconstruct(Step):
    """Base of steps that select input channels of a convolution (not grouped) or linear layer."""

    class Params(StepParams):
        """What both have.

        Attributes
        ----------
        density : 0 to 1, may be given per layer
            Of input channels: the nearest whole number.
        samples : int
            Output places that are looked at, of all images together, drawn by names and seed.
        refit : bool
            Whether the weights that stay are fitted to the outputs by least squares.
        """

        density: PerLayer[float]
        samples: int = pydantic.Field(default=1000, ge=1, le=10**7)
        refit: bool = True

    def __init__(self, params: Any, label: str, where: str, context: Context) -> None:
        super().__init__(params, label, where, context)
        checked_density(params.density, where)

    def removed_channels(self, contributions: Array, count: int) -> NDArray[np.int64]:
        """The `count` channels that go; contributions: [sampled outputs, channels], whose row sums are the outputs."""
        raise NotImplementedError

    def refitted(self, windows: Array, weights: Array, kept: NDArray[np.int64]) -> Array:
        """New weights [outputs, kept channels, kernel elements]; windows: [places, channels, kernel elements]."""
        raise NotImplementedError

    def apply(self, state: TensorState) -> None:
        windows = self._windows(state)
        channels = windows.shape[1]
        weights = state.values.reshape(state.shape[0], channels, -1).astype(np.float64)
        parts = np.einsum("pck,fck->pfc", windows, weights, optimize=True).reshape(-1, channels)
        gone = self.removed_channels(parts, channels - kept_count(float(self.at(state, self.params.density)), channels))
        kept = np.setdiff1d(np.arange(channels), gone)
        changed = weights.copy()
        if self.params.refit and kept.size:
            changed[:, kept] = self.refitted(windows, weights, kept)
        removed = np.zeros(weights.shape, np.bool_)
        removed[:, gone] = True
        left = np.einsum("pck,fck->pf", windows, np.where(removed, 0, changed), optimize=True)
        outputs = parts.sum(axis=1).reshape(left.shape)
        error = np.square(left - outputs).sum() / max(float(np.square(outputs).sum()), np.finfo(float).tiny)
        if self.params.refit:
            state.replace(changed.astype(np.float32).reshape(state.shape))
        state.zero_out(removed.reshape(state.shape))
        state.notes.append(f"{kept.size} of {channels} input channels, relative squared error of outputs {error:.3e}")

    def _windows(self, state: TensorState) -> Array:
        name = state.layer.name
        found = self.context.numbers(name, "ifmap")
        if found is None:
            how = "compress a trace of `accelsim capture`, or give `activations`"
            raise ConfigError(f"must have captured activations ({name}/ifmap), got none: {how}", state.name)
        inputs = np.asarray(found, np.float32)
        check_finite(inputs, f"{name}/ifmap")
        work = state.layer.work
        if isinstance(work, ConvShape) and isinstance(state.layer.op, Conv):
            if work.g != 1:
                raise ConfigError(f"must be a convolution of one group, got {work.g} groups", state.name)
            return self._conv_windows(state, inputs, work)
        if state.layer.kind != "linear":
            raise ConfigError(f"must be a convolution or linear layer, got {state.layer.kind}", state.name)
        rows = inputs.reshape(-1, state.shape[1])
        return rows[self._drawn(state, len(rows))].astype(np.float64)[:, :, None]

    def _conv_windows(self, state: TensorState, inputs: NDArray[np.float32], work: ConvShape) -> Array:
        top, left, bottom, right = work.pad
        padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
        span = [(k - 1) * d + 1 for k, d in zip(state.shape[2:], work.dilation, strict=True)]
        views = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
        views = views[:, :, :: work.stride[0], :: work.stride[1], :: work.dilation[0], :: work.dilation[1]]
        n, _, down, across = views.shape[:4]
        image, place = np.divmod(self._drawn(state, n * down * across), down * across)
        chosen = views[image, :, place // across, place % across]
        return chosen.reshape(len(image), state.shape[1], -1).astype(np.float64)

    def _drawn(self, state: TensorState, count: int) -> NDArray[np.int64]:
        if count <= self.params.samples:
            return np.arange(count)
        words = self.words(state, "samples", 0, count)
        return np.sort(np.argsort(words, kind="stable")[: self.params.samples])


@STEPS.register("thinet")
class ThiNet(Reconstruct):
    """Remove channels one by one, each time the one whose removal loses least; then one scale for each channel.

    Luo, Wu and Lin, "ThiNet: a filter level pruning method for deep neural network compression", ICCV 2017, algorithm
    1 and equation 7 (scales by ordinary least squares).
    """

    kind: ClassVar[str] = "thinet"

    class Params(Reconstruct.Params):
        """As `Reconstruct`."""

    def removed_channels(self, contributions: Array, count: int) -> NDArray[np.int64]:
        return greedy_removal(contributions.T @ contributions, count)

    def refitted(self, windows: Array, weights: Array, kept: NDArray[np.int64]) -> Array:
        parts = np.einsum("pck,fck->pfc", windows, weights, optimize=True).reshape(-1, weights.shape[1])
        scales = np.linalg.lstsq(parts[:, kept], parts.sum(axis=1), rcond=None)[0]
        found: Array = weights[:, kept] * scales[None, :, None]
        return found


@STEPS.register("lasso_channels")
class LassoChannels(Reconstruct):
    """Choose channels by a LASSO on one factor for each, raised until few enough are left; then fit all weights.

    He, Zhang and Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017, section 3.1: the
    penalty grows until the number of factors other than zero is small enough, then least squares on the outputs.
    """

    kind: ClassVar[str] = "lasso_channels"

    class Params(Reconstruct.Params):
        """As `Reconstruct`."""

    def removed_channels(self, contributions: Array, count: int) -> NDArray[np.int64]:
        return lasso_removal(contributions.T @ contributions, count)

    def refitted(self, windows: Array, weights: Array, kept: NDArray[np.int64]) -> Array:
        outputs = np.einsum("pck,fck->pf", windows, weights, optimize=True)
        inputs = windows[:, kept].reshape(len(windows), -1)
        solved = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
        return np.asarray(solved.T.reshape(weights.shape[0], kept.size, -1))


def greedy_removal(gram: Array, count: int) -> NDArray[np.int64]:
    """`count` channels, one after the other: each makes |sum of what all removed ones contribute|**2 least.

    gram : [channels, channels], products of contributions summed over samples. Of equal ones the first.
    """
    with_removed = np.zeros(len(gram))
    left = np.ones(len(gram), np.bool_)
    removed: list[int] = []
    for _ in range(count):
        added = np.where(left, np.diag(gram) + 2 * with_removed, np.inf)
        best = int(np.argmin(added))
        removed.append(best)
        left[best] = False
        with_removed += gram[:, best]
    return np.array(removed, np.int64)


def lasso_removal(gram: Array, count: int) -> NDArray[np.int64]:
    """`count` channels whose factor a LASSO of the outputs on the contributions makes zero first, by bisection.

    Factors at zero go, those nearest to it first if there are more than `count` of them to choose from.
    """
    target = gram.sum(axis=1)  # the outputs are the sum of all contributions
    low, high = 0.0, float(np.abs(target).max()) * (1 + 1e-12)
    factors, strongest = np.ones(len(gram)), np.zeros(len(gram))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        factors = lasso(gram, target, middle, factors)
        zeros = int(np.count_nonzero(factors == 0))
        if zeros >= count:
            high, strongest = middle, factors
        else:
            low = middle
        if zeros == count:
            break
    # more zeros than asked for (several vanish together): those that explain least go
    strength = np.abs(strongest) * np.sqrt(np.diag(gram))
    order = np.lexsort((np.arange(len(gram)), np.diag(gram), strength))
    return order[:count].astype(np.int64)


def lasso(gram: Array, target: Array, penalty: float, start: Array) -> Array:
    """Minimise b' gram b / 2 - target' b + penalty * sum|b| by coordinate descent from `start`."""
    factors = start.copy()
    reached = gram @ factors
    limit = 1e-9 * max(1e-300, float(np.abs(target).max()))
    for _ in range(_SWEEPS):
        largest = 0.0
        for j in range(len(factors)):
            own = gram[j, j]
            if own <= 0:
                factors[j] = 0.0
                continue
            rest = target[j] - reached[j] + own * factors[j]
            new = np.sign(rest) * max(abs(rest) - penalty, 0.0) / own
            change = new - factors[j]
            if change:
                reached += gram[:, j] * change
                factors[j] = new
                largest = max(largest, abs(change) * own)
        if largest <= limit:
            break
    return factors


_BISECTIONS = 50
_SWEEPS = 200
