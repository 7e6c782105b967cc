"""Factorising the sides of a matrix into modes, by itself."""

from __future__ import annotations

from math import prod

from accelsim.workload.encodings.base import Dims
from accelsim.workload.encodings.low_rank import matrix_shape

Modes = tuple[list[int], list[int]]


def primes(number: int) -> list[int]:
    """Prime factors, falling; of 1: none."""
    found, factor = [], 2
    while factor * factor <= number:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return sorted([*found, *([number] if number > 1 else [])], reverse=True)


def balanced(number: int, count: int) -> list[int]:
    """`count` factors of about equal size, rising: each prime, the largest first, goes to the least factor so far."""
    factors = [1] * count
    for prime in primes(number):
        factors[factors.index(min(factors))] *= prime
    return sorted(factors)


def matrix_modes(rows: int, columns: int, order: int) -> Modes:
    """Balanced modes of both sides; large row modes meet small column modes."""
    return balanced(rows, order), balanced(columns, order)[::-1]


def natural_modes(shape: Dims) -> Modes:
    """(M, C, R*S): the tensor of a convolution as it stands; without R*S where that is 1 (Kim et al., ICLR 2016)."""
    spatial = prod(shape[2:])
    rows, columns = [shape[0], 1], [1, shape[1]]
    return (rows, columns) if spatial == 1 else ([*rows, 1], [*columns, spatial])


def prime_modes(shape: Dims) -> Modes:
    """Of quantized trains: every mode a prime, short sides filled up with 1.

    The kernel positions of a convolution are the last mode. Oseledets, SIAM J. Matrix Anal. Appl. 31(4), 2010.
    """
    spatial = prod(shape[2:])
    rows, columns = primes(shape[0]) or [1], primes(matrix_shape(shape)[1] // spatial) or [1]
    longest = max(len(rows), len(columns))
    rows, columns = [1] * (longest - len(rows)) + rows[::-1], columns + [1] * (longest - len(columns))
    return (rows, columns) if spatial == 1 else ([*rows, 1], [*columns, spatial])


def chain_modes(shape: Dims, order: int) -> Modes:
    """Balanced modes; of a convolution, the kernel positions are the last mode (first in Garipov et al., 2016)."""
    spatial = prod(shape[2:])
    rows, columns = matrix_shape(shape)
    if spatial == 1:
        return matrix_modes(rows, columns, order)
    left, right = matrix_modes(rows, columns // spatial, max(1, order - 1))
    return [*left, 1], [*right, spatial]
