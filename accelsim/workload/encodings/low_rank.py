"""A matrix as a product of smaller ones: encodings of the low-rank decompositions.

The operand is taken as a matrix of M rows (its first dimension) and N columns (all others; 1 for a vector). Survey,
Section III-C1 and Table 7.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.workload.encodings.base import ENCODINGS, Dims
from accelsim.workload.encodings.factored import Factored


def matrix_shape(shape: Dims) -> tuple[int, int]:
    """(M, N) of an operand."""
    return shape[0], prod(shape[1:])


class _Matrix(Factored):
    """Base: cores are multiplied from left to right."""

    class Meta(Factored.Meta):
        """`rank`: columns of the left core."""

        rank: int = pydantic.Field(ge=1)

    def rebuild(self, cores: list[NDArray[np.float32]], meta: Any, shape: Dims) -> NDArray[np.float32]:
        product: NDArray[np.float32] = cores[0] @ cores[-1]
        return product.reshape(shape)

    def fit(self, values: NDArray[np.float32], params: Any) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        matrix = values.reshape(matrix_shape(values.shape))
        rank = min(matrix.shape)
        one = np.eye(rank, dtype=np.float32)
        pair = (one, matrix) if matrix.shape[0] <= matrix.shape[1] else (matrix, one)
        return self._named(*pair), {"rank": rank}

    def _named(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {"left": left, "right": right}


@ENCODINGS.register("low_rank")
class LowRank(_Matrix):
    """A = left x right: full-rank factorisation and QR (there the left core has orthonormal columns).

    Cores: left [M, k], right [k, N].
    """

    kind: ClassVar[str] = "low_rank"

    def core_shapes(self, meta: Any, shape: Dims) -> dict[str, Dims]:
        rows, columns = matrix_shape(shape)
        return {"left": (rows, meta.rank), "right": (meta.rank, columns)}


@ENCODINGS.register("svd")
class SVD(_Matrix):
    """A = left x diag(sigma) x right; survey, eq. (18). Cores: left [M, k], sigma [k], right [k, N]."""

    kind: ClassVar[str] = "svd"

    def core_shapes(self, meta: Any, shape: Dims) -> dict[str, Dims]:
        rows, columns = matrix_shape(shape)
        return {"left": (rows, meta.rank), "sigma": (meta.rank,), "right": (meta.rank, columns)}

    def rebuild(self, cores: list[NDArray[np.float32]], meta: Any, shape: Dims) -> NDArray[np.float32]:
        return super().rebuild([cores[0] * cores[1], cores[2]], meta, shape)

    def _named(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {"left": left, "sigma": np.ones(left.shape[1], np.float32), "right": right}


@ENCODINGS.register("cur")
class CUR(_Matrix):
    """A = columns x middle x rows, where columns and rows are some of A's own.

    Cores: columns [M, k], middle [k, k], rows [k, N].
    """

    kind: ClassVar[str] = "cur"

    def core_shapes(self, meta: Any, shape: Dims) -> dict[str, Dims]:
        rows, columns = matrix_shape(shape)
        return {"columns": (rows, meta.rank), "middle": (meta.rank, meta.rank), "rows": (meta.rank, columns)}

    def rebuild(self, cores: list[NDArray[np.float32]], meta: Any, shape: Dims) -> NDArray[np.float32]:
        return super().rebuild([cores[0] @ cores[1], cores[2]], meta, shape)

    def _named(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {"columns": left, "middle": np.eye(left.shape[1], dtype=np.float32), "rows": right}
