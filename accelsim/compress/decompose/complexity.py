"""Parameters and multiplications of decomposed weights, in closed form. Survey, Table 7.

A matrix is M x N; a tensor has modes m_k n_k that multiply to it. The counts are exact for given ranks; `table_7` gives
the survey's own expressions, which bound them with the largest mode and the largest rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from accelsim.workload.encodings.hierarchical import dimension_tree

Sizes = Sequence[int]


def full_rank_parameters(m: int, n: int, k: int) -> int:
    """W [M, k], H [k, N]; QR likewise."""
    return k * (m + n)


def svd_parameters(m: int, n: int, k: int) -> int:
    """U [M, k], S [k], V.T [k, N]."""
    return k * (m + n + 1)


def cur_parameters(m: int, n: int, k: int) -> int:
    """C [M, k], U [k, k], R [k, N]."""
    return k * (m + n + k)


def cp_parameters(sizes: Sizes, rank: int) -> int:
    """Weights, and a vector for each mode and term."""
    return rank * (sum(sizes) + 1)


def tucker_parameters(sizes: Sizes, ranks: Sizes) -> int:
    """Factors and kernel; HOSVD likewise."""
    return sum(n * r for n, r in zip(sizes, ranks, strict=True)) + prod(ranks)


def btd_parameters(sizes: Sizes, ranks: Sizes, blocks: int) -> int:
    """As many Tucker tensors as blocks."""
    return blocks * tucker_parameters(sizes, ranks)


def ht_parameters(sizes: Sizes, ranks: Sizes) -> int:
    """Leaves and transfer tensors; ranks in preorder of the tree."""
    total = 0
    for i, node in enumerate(dimension_tree(len(sizes))):
        total += ranks[i] * (sizes[node.low] if node.leaf else ranks[node.left] * ranks[node.right])
    return total


def tt_parameters(sizes: Sizes, ranks: Sizes) -> int:
    """Cores [r_{k-1}, n_k, r_k]; ranks r_0 to r_d; rings likewise."""
    return sum(ranks[k] * size * ranks[k + 1] for k, size in enumerate(sizes))


def low_rank_macs(m: int, n: int, k: int, method: str = "full_rank") -> int:
    """Multiplications of one matrix-vector product, core by core: full_rank, qr, svd or cur."""
    return k * (m + n) + {"full_rank": 0, "qr": 0, "svd": k, "cur": k * k}[method]


def tt_macs(row_modes: Sizes, column_modes: Sizes, ranks: Sizes) -> int:
    """Multiplications of one matrix-vector product, core by core from the last one.

    Step k multiplies a matrix [m_k r_{k-1}, n_k r_k], which is core k, by one of
    n_1 ... n_{k-1} m_{k+1} ... m_d columns, without the redundant products of the element-wise definition (Deng et al.,
    TIE, ISCA 2019, Section 3).
    """
    total = 0
    for k, (m, n) in enumerate(zip(row_modes, column_modes, strict=True)):
        columns = prod(column_modes[:k]) * prod(row_modes[k + 1 :])
        total += ranks[k] * m * n * ranks[k + 1] * columns
    return total


def tt_macs_element_wise(row_modes: Sizes, column_modes: Sizes, ranks: Sizes) -> int:
    """Multiplications if every element of the matrix is made from its train on demand, then used once.

    For each element r_{k-1} r_k for each core after the first, and one with the input. TIE, Section 3.
    """
    each = sum(ranks[k] * ranks[k + 1] for k in range(1, len(row_modes))) + 1
    return prod(row_modes) * prod(column_modes) * each


def tucker2_conv_macs(kernel: Sizes, ranks: Sizes, outputs: tuple[int, int], inputs: tuple[int, int]) -> int:
    """Multiplications of a convolution as three: C -> r_c of 1x1, R x S, r_m -> M of 1x1 (Kim et al., ICLR 2016).

    kernel (M, C, R, S), ranks (r_m, r_c), outputs and inputs (height, width).
    """
    m, c, r, s = kernel
    over_inputs, over_outputs = prod(inputs), prod(outputs)
    return c * ranks[1] * over_inputs + (ranks[1] * r * s + m) * ranks[0] * over_outputs


def table_7(method: str, *, m: int = 0, n: int = 0, d: int = 0, mode: int = 0, rank: int = 0) -> int:
    """The survey's expression for a method. `mode`: the largest m_k n_k; `rank`: the (largest) rank.

    Raises
    ------
    KeyError
        For a method that the table does not have.
    """
    k = rank
    found: dict[str, int] = {
        "full_rank": k * (m + n),
        "svd": k * (m + n + 1),
        "qr": k * (m + n),
        "cur": k * (m + n + k),
        "cp": k * (d * mode + 1),
        "tucker": d * mode * k + k**d,
        "hosvd": d * mode * k + k**d,
        "ht": d * mode * k + (d - 1) * k**3,
        "tt": d * mode * k**2,
        "ring": d * mode * k**2,
    }
    return found[method]
