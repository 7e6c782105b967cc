"""Subspaces of long matrices, without a singular value decomposition of the whole.

The leading left singular vectors of a matrix [p, q] are the eigenvectors of its Gram matrix of the shorter side,
which is summed up block by block. That squares the condition number: energies (squared singular values) are known to
about 1e-16 of the largest, so an error below `GRAM_FLOOR` asks for the exact way, a full decomposition. Large Gram
matrices are first made in float32 and again in float64 where little energy is left out.

BLAS is held to one thread (`single_blas`) and blocks are spread over our own, whose sums are added in order: results
are the same bits for any number of threads. Signs are fixed (the largest element of a vector is positive). Another
BLAS library or another processor may round differently; then results agree to rounding where singular values are
apart, and the error agrees in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.units import ceil_div
from accelsim.compress.parallel import over_blocks

Float = NDArray[np.float32]
Real = NDArray[Any]
"""float32 or float64"""

GRAM_FLOOR = 1e-5
"""Relative errors below are not found by way of a Gram matrix in float64: its energies are good to 1e-16 or so, times
the number of terms; a tenth of 1e-10 is kept clear."""

_COARSE_TAIL = 1e-2
"""Energy left out (of all) from which on a float32 Gram matrix is good to 1e-5 of it: its own error is near 1e-7."""

_LARGE = 1 << 30
"""Multiplications of a Gram matrix from which on float32 is tried first."""

_BLOCK = 1 << 21
_TOGETHER = 16
_DOUBLE = 1 << 24
"""Elements up to which work is done in float64."""


@contextmanager
def single_blas() -> Iterator[None]:
    """BLAS with one thread: sums do not depend on the machine's cores, and nothing spins while it waits."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def energy(values: Real) -> float:
    """Sum of squares, in float64, in blocks of a fixed size."""
    flat = values.reshape(-1)

    def work(i: int) -> float:
        part = flat[i * _BLOCK : (i + 1) * _BLOCK].astype(np.float64)
        return float(part @ part)

    return sum(over_blocks(work, ceil_div(flat.size, _BLOCK)))


def working(values: Real) -> Real:
    """In float64 if that is affordable, else as it is."""
    return values.astype(np.float64) if values.size <= _DOUBLE else values


def gram(matrix: Real, dtype: Any = np.float64) -> NDArray[np.float64]:
    """matrix @ matrix.T for [p, q], summed in float64 over blocks of columns that are multiplied in `dtype`."""
    p, q = matrix.shape
    total = np.zeros((p, p))
    step = max(64, _BLOCK // p)
    count = ceil_div(q, step)

    def work(i: int) -> Real:
        block = np.ascontiguousarray(matrix[:, i * step : (i + 1) * step], dtype)
        product: Real = block @ block.T
        return product

    for first in range(0, count, _TOGETHER):  # few results are kept at once
        for part in over_blocks(lambda i, first=first: work(first + i), min(_TOGETHER, count - first)):  # type: ignore
            total += part
    return total


def projected(basis: Float, matrix: Float) -> Float:
    """basis.T @ matrix for [p, r] and [p, q]: [r, q], by blocks of columns."""
    p, q = matrix.shape
    step = max(64, _BLOCK // p)
    out: Float = np.empty((basis.shape[1], q), np.float32)
    turned = np.ascontiguousarray(basis.T)

    def work(i: int) -> None:
        here = slice(i * step, (i + 1) * step)
        out[:, here] = turned @ matrix[:, here]

    over_blocks(work, ceil_div(q, step))
    return out


def kept(energies: NDArray[np.float64], most: int, delta2: float) -> tuple[int, float]:
    """How many leading energies stay, and what the others sum up to: at most `delta2`, or all beyond `most`.

    A negative `delta2` asks for `most`.
    """
    tails = np.append(np.cumsum(np.maximum(energies, 0)[::-1])[::-1], 0.0)
    needed = int(np.argmax(tails <= delta2)) if delta2 >= 0 else most
    count = max(1, min(most, needed))
    return count, float(tails[count])


def leading(
    matrix: Real, rank: int | None = None, delta2: float = 0.0, exact: bool = False
) -> tuple[Float, float]:
    """Orthonormal basis [p, r] of the best r-dimensional column space, and the energy outside of it.

    Parameters
    ----------
    matrix : float array [p, q]
    rank : int, optional
        r; capped at min(p, q). None: the least that leaves out at most `delta2`.
    delta2 : float
    exact : bool
        By a full singular value decomposition in float64.
    """
    p, q = matrix.shape
    most = min(p, q)
    if rank is None:
        goal = delta2
    else:
        most, goal = min(rank, most), -1.0
    if exact:
        u, s, _ = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        count, tail = kept(s * s, most, goal)
        return _signed(u[:, :count]), tail
    count, tail, vectors = _eigen(matrix if p <= q else matrix.T, most, goal)
    if p > q:
        vectors = np.linalg.qr((matrix @ vectors.astype(matrix.dtype)).astype(np.float64))[0]
    return _signed(vectors), tail


def _eigen(matrix: Real, most: int, goal: float) -> tuple[int, float, NDArray[np.float64]]:
    """Leading eigenvectors of the Gram matrix of [p, q], p <= q; how many; the energy left out."""
    p, q = matrix.shape
    large = p * p * q >= _LARGE and matrix.dtype == np.float32
    for dtype in (np.float32, np.float64) if large else (np.float64,):
        energies, vectors = np.linalg.eigh(gram(matrix, dtype))
        energies, vectors = energies[::-1], vectors[:, ::-1]
        count, tail = kept(energies, most, goal)
        if tail >= _COARSE_TAIL * float(np.maximum(energies, 0).sum()):
            break
    return count, tail, vectors[:, :count]


def svd(
    matrix: Float, rank: int | None = None, delta2: float = 0.0, exact: bool = False
) -> tuple[Float, Float, Float, float]:
    """Truncated singular value decomposition: U [p, r], s [r] descending, V.T [r, q], and the energy left out."""
    if exact:
        u, s, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        count, tail = kept(s * s, *((len(s), delta2) if rank is None else (rank, -1.0)))
        signs = _signs(u[:, :count])
        return _single(u[:, :count] * signs), _single(s[:count]), _single(vt[:count] * signs[:, None]), tail
    if matrix.shape[0] > matrix.shape[1]:
        v, s, ut, tail = svd(np.asarray(matrix.T), rank, delta2)
        signs = _signs(ut.T)
        return _single(ut.T * signs), s, _single(v.T * signs[:, None]), tail
    u, tail = leading(matrix, rank, delta2)
    rows = projected(u, matrix).astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    order = np.argsort(-lengths, kind="stable")
    lengths, rows = lengths[order], rows[order]
    right = rows / np.where(lengths > 0, lengths, 1)[:, None]
    return _single(u[:, order]), _single(lengths), _single(right), tail


def pivots(matrix: Float, rank: int | None, delta2: float = 0.0) -> tuple[list[int], Float, Float]:
    """QR with column pivoting, stopped after `rank` columns or when at most `delta2` of the energy is left.

    Returns the chosen columns in order, Q [p, r] with orthonormal columns, and Q.T @ matrix [r, q]: the matrix is
    about Q times that. Of equal columns the first is taken. Businger and Golub, Numer. Math. 7, 1965.
    """
    a = working(matrix)
    left = np.einsum("ij,ij->j", a, a, dtype=np.float64)
    start, most = float(left.sum()), min(a.shape) if rank is None else rank
    goal = delta2 if rank is None else -1.0
    q, r = np.zeros((a.shape[0], most)), np.zeros((most, a.shape[1]))
    chosen: list[int] = []
    while len(chosen) < most and (not chosen or (left.sum() > goal and left.max() > 1e-30 * start)):
        j, k = int(np.argmax(left)), len(chosen)
        column = a[:, j].astype(np.float64)
        for _ in range(2):  # twice: once leaves rounding errors along the others
            column -= q[:, :k] @ (q[:, :k].T @ column)
        length = float(np.sqrt(column @ column))
        q[:, k] = column / length if length > 0 else 0.0
        r[k] = q[:, k].astype(a.dtype) @ a
        left = np.maximum(left - r[k] ** 2, 0)
        chosen.append(j)
        left[chosen] = 0
    count = len(chosen) if rank is None else most
    chosen += [j for j in range(a.shape[1]) if j not in set(chosen)][: count - len(chosen)]
    return chosen, _single(q[:, :count]), _single(r[:count])


def _signs(vectors: Real) -> Real:
    """1 or -1 for each column, so that its largest element (of equal ones the first) becomes positive."""
    largest = np.take_along_axis(vectors, np.argmax(np.abs(vectors), axis=0)[None, :], axis=0)[0]
    return np.where(largest < 0, -1.0, 1.0)


def _signed(vectors: Real) -> Float:
    return _single(vectors * _signs(vectors))


def _single(values: Real) -> Float:
    return np.ascontiguousarray(values, np.float32)
