"""Tucker, HOSVD, CP and block terms of a tensor of any number of modes. Survey, eq. (19)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.decompose.linalg import Real, energy, leading, svd, working
from accelsim.workload.encodings.tensorized import contract
from accelsim.workload.encodings.tucker import khatri_rao, multilinear

Float = NDArray[np.float32]
Cores = dict[str, Float]


def unfold(tensor: Real, mode: int) -> Real:
    """The matrix whose rows are the mode's index: [n_mode, all others], C order."""
    return np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)


def hosvd(tensor: Float, ranks: Sequence[int] | None, delta2: float = 0.0, exact: bool = False) -> Cores:
    """Higher-order SVD: leading singular vectors of each unfolding. De Lathauwer et al., SIAM J. Matrix Anal. 21, 2000.

    Without ranks, each mode leaves out at most delta2 / d of the energy; together at most `delta2`.
    """
    d = tensor.ndim
    factors = [
        leading(unfold(tensor, k), None if ranks is None else ranks[k], delta2 / d, exact)[0] for k in range(d)
    ]
    return _named(_project(tensor, factors), factors)


def tucker(
    tensor: Float, ranks: Sequence[int] | None, delta2: float = 0.0, exact: bool = False, iterations: int = 25
) -> Cores:
    """Higher-order orthogonal iteration, which starts from the HOSVD. De Lathauwer et al., the same volume.

    Stops after `iterations`, or when the kernel gains less than 1e-7 of the energy.
    """
    start = hosvd(tensor, ranks, delta2, exact)
    factors = list(start.values())[1:]
    if all(f.shape[0] == f.shape[1] for f in factors) or tensor.ndim == 1:
        return start
    whole, before, kernel = energy(tensor), energy(start["kernel"]), start["kernel"]
    for _ in range(iterations):
        for k in range(tensor.ndim):
            rest = _project(tensor, [f if i != k else None for i, f in enumerate(factors)])
            factors[k] = leading(unfold(rest, k), factors[k].shape[1], 0.0, exact)[0]
        kernel = contract(rest, factors[-1], tensor.ndim - 1)
        now = energy(kernel)
        if now - before <= 1e-7 * whole:
            break
        before = now
    return _named(kernel, factors)


def _project(tensor: Float, factors: Sequence[Float | None]) -> Float:
    """tensor x_k factors[k].T for all k that have one; those that shrink most come first."""
    found = [k for k, f in enumerate(factors) if f is not None]
    for k in sorted(found, key=lambda k: (factors[k].shape[1] / factors[k].shape[0], k)):  # type: ignore[union-attr]
        tensor = contract(tensor, factors[k], k)  # type: ignore[arg-type]
    return tensor


def _named(kernel: Float, factors: Sequence[Float]) -> Cores:
    return {"kernel": kernel, **{f"factor{k}": f for k, f in enumerate(factors)}}


def block_terms(
    tensor: Float, ranks: Sequence[int], blocks: int, exact: bool = False, iterations: int = 25
) -> Cores:
    """A sum of `blocks` Tucker tensors, one after the other fitted to what the others leave.

    Starts from nothing, so that the first round takes the blocks off one by one; no round makes the error larger.
    """
    terms: list[Cores] = []
    parts: list[Float] = [np.zeros_like(tensor) for _ in range(blocks)]
    whole, before = energy(tensor), energy(tensor)
    residual = tensor.copy()
    for turn in range(iterations):
        for b in range(blocks):
            target = residual + parts[b]
            found = tucker(target, ranks, exact=exact, iterations=10)
            kernel, *factors = found.values()
            part = multilinear(kernel, factors)
            if turn and energy(target - part) > energy(residual):
                continue
            parts[b], residual = part, target - part
            terms[b:b + 1] = [found]
        now = energy(residual)
        if before - now <= 1e-7 * whole:
            break
        before = now
    return {name: np.stack([term[name] for term in terms]) for name in terms[0]}


def cp(tensor: Float, rank: int, noise: np.random.Generator, iterations: int = 100) -> Cores:
    """Alternating least squares. Kolda and Bader, SIAM Rev. 51(3), 2009, Section 3.4.

    Starts from the leading singular vectors of each unfolding, filled up by `noise`; for a matrix they are the answer,
    and at rank N / (largest mode) unit vectors are exact. Stops after `iterations`, or when the error falls by less
    than 1e-7 of the energy. Terms come by falling weight; all vectors but the first have positive largest elements.
    """
    sizes, d = tensor.shape, tensor.ndim
    if d == 1:
        return {"weights": np.ones(1, np.float32), "factor0": tensor.reshape(-1, 1).copy()}
    if d == 2:
        u, s, vt, _ = svd(tensor, rank)
        return _terms([u.astype(np.float64) * s, vt.T.astype(np.float64)])
    factors = _start(tensor, rank, noise)
    a, whole = working(tensor), energy(tensor)
    grams = [f.T @ f for f in factors]
    before = np.inf
    order = sorted(range(d), key=lambda k: (sizes[k] != max(sizes), k))  # the largest first: exact for unit vectors
    for _ in range(iterations):
        for k in order:
            others = [factors[i] for i in range(d) if i != k]
            product = unfold(a, k) @ khatri_rao(others).astype(a.dtype)  # type: ignore[arg-type]
            system = np.prod([grams[i] for i in range(d) if i != k], axis=0)
            factors[k] = product.astype(np.float64) @ np.linalg.pinv(system, rcond=1e-12, hermitian=True)
            grams[k] = factors[k].T @ factors[k]
        error = whole - 2 * float(np.sum(product * factors[k])) + float(np.sum(np.prod(grams, axis=0)))
        if before - error <= 1e-7 * whole:
            break
        before = error
    return _terms(factors)


def _start(tensor: Float, rank: int, noise: np.random.Generator) -> list[NDArray[np.float64]]:
    sizes = tensor.shape
    largest = sizes.index(max(sizes))
    rest = [k for k in range(len(sizes)) if k != largest]
    factors = []
    if rank >= prod(sizes[k] for k in rest):
        digits = np.unravel_index(np.arange(prod(sizes[k] for k in rest)), [sizes[k] for k in rest])
        units = dict(zip(rest, digits, strict=True))
        for k, size in enumerate(sizes):
            factors.append(np.eye(size)[units[k]].T if k in units else np.zeros((size, len(digits[0]))))
        return factors
    for k, size in enumerate(sizes):
        found = leading(unfold(tensor, k), min(rank, size))[0].astype(np.float64)
        factors.append(np.hstack([found, noise.random((size, rank - found.shape[1])) - 0.5]))
    return factors


def _terms(factors: list[NDArray[np.float64]]) -> Cores:
    """Unit vectors by falling weight."""
    lengths = [np.sqrt(np.einsum("ij,ij->j", f, f)) for f in factors]
    weights = np.prod(lengths, axis=0)
    order = np.argsort(-weights, kind="stable")
    units = [(f / np.where(n > 0, n, 1))[:, order] for f, n in zip(factors, lengths, strict=True)]
    for k in range(1, len(units)):
        largest = np.take_along_axis(units[k], np.argmax(np.abs(units[k]), axis=0)[None, :], axis=0)[0]
        signs = np.where(largest < 0, -1.0, 1.0)
        units[k] *= signs
        units[0] *= signs
    single = [np.ascontiguousarray(f, np.float32) for f in units]
    return {"weights": weights[order].astype(np.float32), **{f"factor{k}": f for k, f in enumerate(single)}}
