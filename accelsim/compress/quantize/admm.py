"""ADMM: weights drawn towards levels alpha * {0, +-1, +-2, +-4, ...}, equations (34) to (36) of the survey.

Leng et al., "Extremely Low Bit Neural Network: Squeeze the Last Bit Out with ADMM", AAAI 2018. `project` solves the
second subproblem, alpha and levels in turn; `solve` is the whole iteration for any first subproblem, which in training
is a few steps of gradient descent on the loss plus (rho / 2) ||W - Z + Y'||^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize.common import Quantizer, histogram_of, moments, nearest, width
from accelsim.compress.quantize.log2 import LogBits
from accelsim.compress.state import FloatArray, Quantized, TensorState

_BINS, _STARTS, _IMPROVED = 8192, 60, 5


@STEPS.register("admm")
class Admm(Quantizer):
    """The nearest tensor with levels alpha * {0, +-2**0, ..., +-2**(2**(bits-1) - 2)}, alpha found for the tensor.

    Two bits are ternary, three bits 0, +-1, +-2, +-4. This is one projection; training (another step) iterates it.
    """

    kind: ClassVar[str] = "admm"

    class Params(Quantizer.Params):
        """`iterations`: of alpha and levels in turn, at most."""

        bits: PerLayer[LogBits] = 3
        iterations: int = pydantic.Field(default=30, ge=1, le=1000)

    def apply(self, state: TensorState) -> None:
        bits = width(self, state, self.params.bits, 2, 8)
        state.quantize(project(state.values, bits, self.params.iterations))


def project(values: FloatArray, bits: int, iterations: int = 30) -> Quantized:
    """Levels and scale of least squared error, found by turns from several starts.

    The turns work on a histogram of 8k bins with the exact mean of each; the last scale is that of least squares
    over the elements themselves.
    """
    histogram = histogram_of(values, _BINS)
    used = histogram.used
    centres = histogram.sums[used] / histogram.counts[used]
    alpha = best_alpha(centres, histogram.counts[used].astype(np.float64), bits, iterations)
    codes = level_codes(values, alpha, bits)
    names = (codes.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8)
    counts, sums = moments(values, names, (1, 1 << bits))
    alpha = _least_squares(counts[0].astype(np.float64), sums[0], bits) or alpha
    return Quantized(codes, bits, True, "log2", {"scales": np.array([alpha], np.float32)}, {"rows": 1})


def level_codes(values: FloatArray, alpha: float, bits: int) -> NDArray[np.int8]:
    """sign(x) * (index + 1) of the nearest level of alpha * {0, 1, 2, 4, ...}."""
    levels = alpha * 2.0 ** np.arange((1 << (bits - 1)) - 1)
    limits = (levels + np.concatenate([[0], levels[:-1]])) / 2
    return nearest(values, limits[None], np.arange(levels.size + 1)[None], bits, True, True)


def best_alpha(centres: NDArray[np.float64], counts: NDArray[np.float64], bits: int, iterations: int) -> float:
    """The scale with the least error: the best of a geometric grid of starts, each improved by turns."""
    size, top = np.abs(centres), (1 << (bits - 1)) - 1
    largest = float(size.max(initial=0))
    if largest == 0:
        return 1.0
    units = np.concatenate([[0.0], 2.0 ** np.arange(top)])
    edges = (units[1:] + units[:-1]) / 2

    def nearest_units(alpha: float) -> NDArray[np.float64]:
        return np.asarray(units[np.searchsorted(edges * alpha, size)])

    def error(alpha: float) -> float:
        rest = size - alpha * nearest_units(alpha)
        return float(counts @ (rest * rest))

    # from the largest level at twice the largest number down to a sixteenth of it
    starts = 2 * largest / units[-1] / 2.0 ** (np.arange(_STARTS) / _STARTS * 5)
    best, found = np.inf, largest
    for start in sorted(starts.tolist(), key=error)[:_IMPROVED]:
        alpha = start
        for _ in range(iterations):
            q = nearest_units(alpha)
            norm = float(counts @ (q * q))
            changed = float(counts @ (size * q)) / norm if norm else alpha
            if changed == alpha:
                break
            alpha = changed
        if error(alpha) < best:
            best, found = error(alpha), alpha
    return found


def _least_squares(counts: NDArray[np.float64], sums: NDArray[np.float64], bits: int) -> float:
    """<x, q> / <q, q> from number and sum of the elements with each code."""
    code = np.arange(1 << bits) - (1 << (bits - 1))
    q = np.where(code == 0, 0.0, np.sign(code) * 2.0 ** (np.abs(code) - 1.0))
    norm = float(counts @ (q * q))
    return float(sums @ q) / norm if norm else 0.0


@dataclass
class Iterate:
    """W, Z and the scaled multiplier Y' of equation (36)."""

    w: FloatArray
    z: FloatArray
    y: FloatArray


def solve(
    minimise: Callable[[FloatArray], FloatArray],
    project_onto: Callable[[FloatArray], FloatArray],
    start: FloatArray,
    iterations: int,
) -> Iterate:
    """Equation (36), `iterations` times.

    Parameters
    ----------
    minimise : callable
        target = Z - Y' -> argmin over W of f(W) + (rho / 2) ||W - target||^2; knows f, rho and where W was.
    project_onto : callable
        V = W + Y' -> the nearest point of the constraint set.
    start : ndarray of float32
    iterations : int
    """
    state = Iterate(start.copy(), project_onto(start), np.zeros_like(start))
    for _ in range(iterations):
        state.w = minimise(state.z - state.y)
        state.z = project_onto(state.w + state.y)
        state.y = state.y + state.w - state.z
    return state
