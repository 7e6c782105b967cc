"""Tucker, its sums (block terms) and its diagonal (CP). Survey, eq. (19)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims
from accelsim.workload.encodings.tensorized import Float, Tensorized, contract, mode_sizes, ranks_must_be


@ENCODINGS.register("tucker")
class Tucker(Tensorized):
    """A kernel tensor, multiplied along each mode by a factor; HOSVD is the one with orthonormal factors.

    Cores: kernel [r_1, ..., r_d], factor0 to factor{d-1} [m_k n_k, r_k]; ranks: r_1, ..., r_d, at most 8 of them.
    """

    kind: ClassVar[str] = "tucker"
    trivial = {"ranks": [1]}
    most_modes: ClassVar[int] = 8

    def tensor_cores(self, meta: Any) -> dict[str, Dims]:
        sizes = mode_sizes(meta.row_modes, meta.column_modes)
        if len(sizes) > self.most_modes:
            raise ConfigError(f"modes must be at most {self.most_modes} for {self.kind}, got {len(sizes)}")
        ranks_must_be(len(sizes), meta, "one for each mode")
        factors = {f"factor{k}": (size, meta.ranks[k]) for k, size in enumerate(sizes)}
        return {"kernel": tuple(meta.ranks), **factors}

    def multiply(self, cores: list[Float], meta: Any) -> Float:
        return multilinear(cores[0], cores[1:])


@ENCODINGS.register("btd")
class BlockTerm(Tucker):
    """A sum of Tucker tensors of equal ranks.

    Cores: kernel [blocks, r_1, ..., r_d], factor0 to factor{d-1} [blocks, m_k n_k, r_k]; ranks as of Tucker, at most
    7. De Lathauwer, SIAM J. Matrix Anal. Appl. 30(3), 2008; Ye et al., CVPR 2018.
    """

    kind: ClassVar[str] = "btd"
    trivial = {"ranks": [1], "blocks": 1}
    most_modes: ClassVar[int] = 7

    class Meta(Tensorized.Meta):
        """`blocks`: how many are added."""

        blocks: int = pydantic.Field(ge=1)

    def tensor_cores(self, meta: Any) -> dict[str, Dims]:
        return {name: (meta.blocks, *shape) for name, shape in super().tensor_cores(meta).items()}

    def multiply(self, cores: list[Float], meta: Any) -> Float:
        total = multilinear(cores[0][0], [core[0] for core in cores[1:]])
        for b in range(1, meta.blocks):
            total = total + multilinear(cores[0][b], [core[b] for core in cores[1:]])
        return total


@ENCODINGS.register("cp")
class CP(Tensorized):
    """A sum of products of vectors: sum over q of weights[q] a_q o b_q o c_q ...

    Cores: weights [r], factor0 to factor{d-1} [m_k n_k, r]; ranks: r. Kolda and Bader, SIAM Rev. 51(3), 2009.
    """

    kind: ClassVar[str] = "cp"
    trivial = {"ranks": [1]}

    def tensor_cores(self, meta: Any) -> dict[str, Dims]:
        ranks_must_be(1, meta, "the number of terms")
        sizes = mode_sizes(meta.row_modes, meta.column_modes)
        return {"weights": (meta.ranks[0],), **{f"factor{k}": (n, meta.ranks[0]) for k, n in enumerate(sizes)}}

    def multiply(self, cores: list[Float], meta: Any) -> Float:
        weights, first, *others = cores
        if not others:
            return first @ weights
        half = min(range(1, len(others) + 1), key=lambda k: _rows([first, *others[: k - 1]]) + _rows(others[k - 1 :]))
        return khatri_rao([first * weights, *others[: half - 1]]) @ khatri_rao(others[half - 1 :]).T


def multilinear(kernel: Float, factors: list[Float]) -> Float:
    """kernel x_1 factors[0].T x_2 ...; factors [n_k, r_k]."""
    for axis, factor in enumerate(factors):
        kernel = contract(kernel, factor.T, axis)
    return kernel


def khatri_rao(factors: list[Float]) -> Float:
    """All products of one row of each factor, the last fastest: [n_1 n_2 ..., r]."""
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return product


def _rows(factors: list[Float]) -> int:
    return int(np.prod([factor.shape[0] for factor in factors]))
