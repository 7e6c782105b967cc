"""Matrices as tensors of many modes: base of the encodings tt, ring, ht, tucker, cp and btd.

An operand is a matrix of M rows (its first dimension) and N columns (all others). Its d modes are pairs: mode k runs
over m_k x n_k, where the m_k multiply to M and the n_k to N; rows count fastest in the last m, columns in the last n;
within a mode the n digit is the faster one. (Novikov et al., Tensorizing Neural Networks, NIPS 2015; survey,
Section III-C2c.) With row modes [M, 1, 1] and column modes [1, C, R*S] the tensor of a convolution is (M, C, R*S), as
it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import Dims
from accelsim.workload.encodings.factored import Factored
from accelsim.workload.encodings.low_rank import matrix_shape

MAX_MODES = 32
"""A rebuilt tensor has two numpy dimensions (of at most 64) for each mode."""

Size = Annotated[int, pydantic.Field(ge=1, le=2**33)]
Sizes = Annotated[list[Size], pydantic.Field(min_length=1, max_length=MAX_MODES)]
Ranks = Annotated[list[Size], pydantic.Field(min_length=1, max_length=2 * MAX_MODES)]
Float = NDArray[np.float32]


def check_modes(row_modes: Sequence[int], column_modes: Sequence[int], shape: Dims) -> None:
    """Refuse modes that do not multiply to the matrix.

    Raises
    ------
    ConfigError
        With the products that there are and those that there must be.
    """
    rows, columns = matrix_shape(shape)
    if len(row_modes) != len(column_modes):
        many = f"{len(row_modes)} and {len(column_modes)}"
        raise ConfigError(f"row_modes and column_modes must be equally many (use 1 to fill up), got {many}")
    if len(row_modes) > MAX_MODES:
        raise ConfigError(f"modes must be at most {MAX_MODES}, got {len(row_modes)}")
    for name, modes, size in (("row_modes", row_modes, rows), ("column_modes", column_modes, columns)):
        if prod(modes) != size or min(modes) < 1:
            shown = "x".join(map(str, modes))
            raise ConfigError(f"{name} must multiply to {size} for shape {list(shape)}, got {shown} = {prod(modes)}")


def tensorize(values: NDArray[Any], row_modes: Sequence[int], column_modes: Sequence[int]) -> NDArray[Any]:
    """The tensor of a matrix (or of an operand of its size): shape (m_1 n_1, ..., m_d n_d), C order."""
    d = len(row_modes)
    apart = values.reshape([*row_modes, *column_modes])
    order = [axis for k in range(d) for axis in (k, d + k)]
    return np.ascontiguousarray(apart.transpose(order)).reshape(mode_sizes(row_modes, column_modes))


def untensorize(tensor: NDArray[Any], row_modes: Sequence[int], column_modes: Sequence[int]) -> NDArray[Any]:
    """The matrix [M, N] of a tensor, C order."""
    d = len(row_modes)
    pairs = tensor.reshape([s for pair in zip(row_modes, column_modes, strict=True) for s in pair])
    order = [*range(0, 2 * d, 2), *range(1, 2 * d, 2)]
    return np.ascontiguousarray(pairs.transpose(order)).reshape(prod(row_modes), prod(column_modes))


def mode_sizes(row_modes: Sequence[int], column_modes: Sequence[int]) -> list[int]:
    """m_k n_k of every mode."""
    return [m * n for m, n in zip(row_modes, column_modes, strict=True)]


def contract(tensor: Float, matrix: Float, axis: int) -> Float:
    """Mode product: sum over index `axis` of `tensor` and the first index of `matrix`, whose second takes its place."""
    return np.ascontiguousarray(np.moveaxis(np.tensordot(tensor, matrix, ([axis], [0])), -1, axis))


class Tensorized(Factored):
    """Base: `tensor_cores` and `multiply` are the subclass' own."""

    class Meta(Factored.Meta):
        """Modes of rows and columns, and the ranks, whose number and meaning depend on the encoding."""

        row_modes: Sizes
        column_modes: Sizes
        ranks: Ranks

    def tensor_cores(self, meta: Any) -> dict[str, Dims]:
        """Names and shapes of the cores; ConfigError if the ranks do not fit the modes."""
        raise NotImplementedError

    def multiply(self, cores: list[Float], meta: Any) -> Float:
        """The tensor, its modes in order, in any shape."""
        raise NotImplementedError

    def core_shapes(self, meta: Any, shape: Dims) -> dict[str, Dims]:
        check_modes(meta.row_modes, meta.column_modes, shape)
        return self.tensor_cores(meta)

    def rebuild(self, cores: list[Float], meta: Any, shape: Dims) -> Float:
        return untensorize(self.multiply(cores, meta), meta.row_modes, meta.column_modes).reshape(shape)

    def fit(self, values: Float, params: Any) -> tuple[dict[str, Float], dict[str, Any]]:
        rows, columns = matrix_shape(values.shape)
        meta = {"row_modes": [rows], "column_modes": [columns], **self.trivial}
        shapes = self.tensor_cores(self.read_meta({**meta, "cores": [_NO_CORE]}))
        *others, last = shapes
        cores = {name: np.ones(shapes[name], np.float32) for name in others}
        return {**cores, last: values.reshape(shapes[last])}, meta

    trivial: dict[str, Any] = {"ranks": [1, 1]}
    """Ranks (and more) of a tensor of one mode."""


def ranks_must_be(count: int, meta: Any, what: str) -> None:
    """Refuse another number of ranks."""
    if len(meta.ranks) != count:
        raise ConfigError(f"ranks must be {count} numbers ({what}), got {len(meta.ranks)}: {meta.ranks}")


_NO_CORE: dict[str, Any] = {"name": "x", "encoding": "float", "shape": [1], "bits": 32, "signed": True}
