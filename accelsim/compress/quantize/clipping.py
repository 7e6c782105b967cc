"""Where to clip before uniform quantization: thresholds found from a histogram of magnitudes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.parallel import BLOCK_ELEMENTS
from accelsim.compress.quantize import kernels

BINS = 16384
ROW_BINS = 1024
CANDIDATES = 100
"""Thresholds tried between 0 and the largest magnitude by `least_squares`."""
KL_BINS = 2048
"""As in Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 30 to 38."""

Counts = NDArray[np.int64]


def magnitudes(row: NDArray[np.float32], bins: int) -> tuple[Counts, float]:
    """Histogram of |x| from 0 to its maximum, and that maximum."""
    flat, counts, sums = row.reshape(-1), np.zeros(bins, np.int64), np.zeros(bins)
    largest = float(max(-flat.min(), flat.max()))
    if largest == 0:
        return counts, 0.0
    scale = np.float32(min(bins / largest, 3e38))
    for at in range(0, flat.size, BLOCK_ELEMENTS):
        size = np.abs(flat[None, at : at + BLOCK_ELEMENTS])
        kernels.histogram(size, np.float32(0), scale, False, counts, sums)
    return counts, largest


def percentile(counts: Counts, largest: float, percent: float, levels: int) -> float:
    """The magnitude below which `percent` of the elements lie, up to the width of a bin."""
    total = int(counts.sum())
    place = int(np.searchsorted(np.cumsum(counts), total * percent / 100))
    return largest * min(place + 1, counts.size) / counts.size


def least_squares(counts: Counts, largest: float, percent: float, levels: int) -> float:
    """The threshold with the least squared error of `levels` steps from 0 to it, of those tried."""
    centres = (np.arange(counts.size) + 0.5) / counts.size * largest
    weights = counts.astype(np.float64)
    best, found = np.inf, largest
    for i in range(CANDIDATES, 0, -1):  # ties go to the larger threshold
        threshold = largest * i / CANDIDATES
        step = threshold / levels
        error = centres - np.minimum(np.rint(centres / step), levels) * step
        loss = float(weights @ (error * error))
        if loss < best:
            best, found = loss, threshold
    return found


def kullback_leibler(counts: Counts, largest: float, percent: float, levels: int) -> float:
    """The threshold whose quantized distribution diverges least from the clipped one.

    For every number i of bins that are kept, P is the histogram of i bins with everything beyond added to the last, and
    Q spreads each of `levels` equal parts of the i bins over its bins that are not empty.
    """
    best, kept = np.inf, counts.size
    tail = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])
    for i in range(min(levels, counts.size), counts.size + 1):
        p = counts[:i].astype(np.float64)
        q_source = p.copy()
        p[-1] += tail[i]
        starts = np.arange(levels) * i // levels
        sums = np.add.reduceat(q_source, starts)
        filled = np.add.reduceat((q_source > 0).astype(np.float64), starts)
        sizes = np.diff(np.append(starts, i))
        q = np.repeat(np.divide(sums, filled, out=np.zeros_like(sums), where=filled > 0), sizes)
        q[q_source == 0] = 0
        divergence = _divergence(p, q)
        if divergence < best:
            best, kept = divergence, i
    return largest * kept / counts.size


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """KL(P || Q) in nats; what Q does not hold counts as one part in a million, so that it stays finite."""
    if not q.any():
        return np.inf
    p, q = p / p.sum(), q / q.sum()
    here = p > 0
    return float(np.sum(p[here] * np.log(p[here] / np.maximum(q[here], 1e-6 * p[here].max()))))


Threshold = Callable[[Counts, float, float, int], float]

METHODS: dict[str, Threshold] = {"percentile": percentile, "mse": least_squares, "kl": kullback_leibler}


def thresholds(matrix: NDArray[np.float32], method: str, percent: float, levels: int) -> NDArray[np.float32]:
    """A threshold for each row.

    Parameters
    ----------
    matrix : ndarray of float32, (rows, elements)
    method : str
        In METHODS.
    percent : float
    levels : int
        Steps from zero to the threshold.
    """
    bins = KL_BINS if method == "kl" else (BINS if matrix.shape[0] == 1 else ROW_BINS)
    found = []
    for row in matrix:
        counts, largest = magnitudes(row, bins)
        found.append(METHODS[method](counts, largest, percent, levels) if largest > 0 else 0.0)
    return np.array(found, np.float32)
