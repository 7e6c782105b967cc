"""Tensor trains and tensor rings (chains). Survey, eq. (21) and (22)."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims
from accelsim.workload.encodings.tensorized import Float, Tensorized, ranks_must_be


@ENCODINGS.register("tt")
class TensorTrain(Tensorized):
    """A(j_1, ..., j_d) = G_1[j_1] G_2[j_2] ... G_d[j_d], with matrices G_k[j_k] of r_{k-1} x r_k.

    Cores: core0 to core{d-1} [r_{k-1}, m_k, n_k, r_k]; ranks: r_0 = 1, ..., r_d = 1. Quantized trains (QTT) are those
    of prime modes. Oseledets, SIAM J. Sci. Comput. 33(5), 2011; survey, eq. (21).
    """

    kind: ClassVar[str] = "tt"

    def tensor_cores(self, meta: Any) -> dict[str, Dims]:
        self._check_ends(meta)
        ranks = meta.ranks
        modes = zip(meta.row_modes, meta.column_modes, strict=True)
        return {f"core{k}": (ranks[k], m, n, ranks[k + 1]) for k, (m, n) in enumerate(modes)}

    def _check_ends(self, meta: Any) -> None:
        ranks_must_be(len(meta.row_modes) + 1, meta, "one more than modes: 1, ..., 1")
        if meta.ranks[0] != 1 or meta.ranks[-1] != 1:
            raise ConfigError(f"ranks must begin and end with 1, got {meta.ranks}")

    def multiply(self, cores: list[Float], meta: Any) -> Float:
        if len(cores) == 1:
            return cores[0]
        half = _half(cores)
        left, right = chain(cores[:half]), chain(cores[half:])
        return left.reshape(-1, left.shape[2]) @ right.reshape(right.shape[0], -1)


@ENCODINGS.register("ring")
class TensorRing(TensorTrain):
    """A(j_1, ..., j_d) = trace(G_1[j_1] ... G_d[j_d]): a train whose ends meet with r_0 = r_d.

    Cores and ranks as of a train. Zhao et al., Tensor Ring Decomposition, arXiv 1606.05535; survey, eq. (22).
    """

    kind: ClassVar[str] = "ring"

    def _check_ends(self, meta: Any) -> None:
        ranks_must_be(len(meta.row_modes) + 1, meta, "one more than modes, the first and the last equal")
        if meta.ranks[0] != meta.ranks[-1]:
            raise ConfigError(f"ranks of a ring must begin and end with the same, got {meta.ranks}")

    def multiply(self, cores: list[Float], meta: Any) -> Float:
        if len(cores) == 1:
            return np.trace(chain(cores), axis1=0, axis2=2)  # type: ignore[no-any-return]
        half = _half(cores)
        left, right = chain(cores[:half]), chain(cores[half:])
        a = left.transpose(1, 0, 2).reshape(left.shape[1], -1)
        b = right.transpose(2, 0, 1).reshape(-1, right.shape[1])
        return a @ b


def chain(cores: list[Float]) -> Float:
    """The product of neighbouring cores: [first rank, all their modes, last rank]."""
    product = cores[0].reshape(cores[0].shape[0], -1, cores[0].shape[-1])
    for core in cores[1:]:
        first, _, rank = product.shape
        product = (product.reshape(-1, rank) @ core.reshape(rank, -1)).reshape(first, -1, core.shape[-1])
    return product


def _half(cores: list[Float]) -> int:
    """Where to cut so that both sides are about equally large; for two cores and more."""
    sizes = [core.shape[1] * core.shape[2] for core in cores]
    return min(range(1, len(cores)), key=lambda k: prod(sizes[:k]) + prod(sizes[k:]))
