"""What goes together: every grain of the survey's Fig. 18 is a block of the tensor, or of the tensor as a matrix.

Filters are [outputs, inputs, rows, columns], matrices [outputs, inputs]; as a matrix a tensor is its first dimension
by all others. Blocks lie next to each other from the first element on. At the far edges they are cut off: such a block
has fewer elements, and is judged by these (`edges: refuse` makes it an error instead).
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.sparse_lines import matrix_shape
from accelsim.workload.shapes import Dims

GrainName = Literal[
    "element", "row", "column", "kernel", "fiber", "filter", "channel", "feature_map", "layer", "block", "ou_row"
]


class Grain:
    """A tensor cut into blocks.

    Attributes
    ----------
    shape : tuple of int
        Of the tensor.
    view : tuple of int
        Shape in which it is cut: its own, or the matrix.
    block : tuple of int
        Of the view's dimensions.
    grid : tuple of int
        Number of blocks along each of these.
    """

    def __init__(self, shape: Dims, view: Dims, block: Dims) -> None:
        self.shape, self.view = shape, view
        self.block = tuple(min(b, n) for b, n in zip(block, view, strict=True))
        self.grid = tuple(ceil_div(n, b) for n, b in zip(view, self.block, strict=True))

    @property
    def groups(self) -> int:
        """Number of blocks."""
        return prod(self.grid)

    @property
    def single(self) -> bool:
        """Whether a block is one element."""
        return prod(self.block) == 1

    @property
    def even(self) -> bool:
        """Whether no block is cut off."""
        return all(n % b == 0 for n, b in zip(self.view, self.block, strict=True))

    def reduce(self, values: NDArray[Any], how: Any = np.add) -> NDArray[Any]:
        """One number for each block: `how` (a numpy ufunc) over its elements; of shape `grid`."""
        found = values.reshape(self.view)
        for axis, (size, step) in enumerate(zip(self.view, self.block, strict=True)):
            if step == size:
                found = how.reduce(found, axis=axis, keepdims=True)
            elif step > 1:
                found = how.reduceat(found, np.arange(0, size, step), axis=axis)
        result: NDArray[Any] = found
        return result

    def sizes(self) -> NDArray[np.int64]:
        """Elements of each block; of shape `grid`."""
        found: NDArray[np.int64] = np.ones(self.grid, np.int64)
        for axis, (size, step) in enumerate(zip(self.view, self.block, strict=True)):
            along = np.minimum(step, size - step * np.arange(self.grid[axis]))
            found = found * along.reshape([-1 if d == axis else 1 for d in range(len(self.view))])
        return found

    def spread(self, chosen: NDArray[Any]) -> NDArray[Any]:
        """What each block has (a mask, a number; of `grid`'s shape) for each of its elements (of shape `shape`)."""
        found = chosen.reshape(self.grid)
        for axis, (size, step) in enumerate(zip(self.view, self.block, strict=True)):
            if step == size:
                found = np.broadcast_to(found, tuple(size if d == axis else n for d, n in enumerate(found.shape)))
            elif step > 1:
                found = np.repeat(found, step, axis=axis).take(np.arange(size), axis=axis)
        return np.ascontiguousarray(found).reshape(self.shape)

    def vectors(self, values: NDArray[Any]) -> NDArray[Any]:
        """The blocks as rows: [groups, elements of a block].

        Raises
        ------
        ConfigError
            If a block is cut off.
        """
        if not self.even:
            raise ConfigError(f"blocks of {list(self.block)} must divide {list(self.view)} to be compared")
        rank = len(self.view)
        parts = values.reshape([n for pair in zip(self.grid, self.block, strict=True) for n in pair])
        parts = parts.transpose([*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)])
        return np.ascontiguousarray(parts).reshape(self.groups, -1)


def grain(name: GrainName, shape: Dims, block: list[int] | None = None, *, edges: str = "cut") -> Grain:
    """A grain of a tensor.

    element; row and filter: all weights of one output; column and fiber: the weights of all outputs at one place of
    their inputs (a column of the matrix); kernel: one filter's weights of one input channel; channel: all filters'
    weights of one input channel; feature_map: one channel of one sample (activations); layer: all; block: `block`
    elements of each dimension of the tensor, or, if two numbers are given, of the matrix; ou_row: one input of
    `block[0]` outputs, the row of an operation unit of a crossbar.

    Raises
    ------
    ConfigError
        If the tensor has too few dimensions, or `block` is missing or does not fit.
    """
    matrix, whole = matrix_shape(shape), tuple(shape)
    if name in ("kernel", "channel", "feature_map") and len(shape) < (2 if name == "channel" else 3):
        raise ConfigError(f"grain {name} must have a tensor with channels, got shape {list(shape)}")
    if name == "block":
        found = _blocks(shape, block)
    elif name == "ou_row":
        if block is None or len(block) != 1:
            raise ConfigError(f"grain ou_row must have block: [outputs], got {block}")
        found = Grain(whole, matrix, (block[0], 1))
    elif name == "element":
        found = Grain(whole, (prod(shape),), (1,))
    elif name in ("row", "filter"):
        found = Grain(whole, matrix, (1, matrix[1]))
    elif name in ("column", "fiber"):
        found = Grain(whole, matrix, (matrix[0], 1))
    elif name in ("kernel", "feature_map"):
        found = Grain(whole, whole, (1, 1, *whole[2:]))
    elif name == "channel":
        found = Grain(whole, whole, (whole[0], 1, *whole[2:]))
    else:
        found = Grain(whole, whole, whole)
    if block is not None and name not in ("block", "ou_row"):
        raise ConfigError(f"block must not be given for grain {name}")
    if edges == "refuse" and not found.even:
        raise ConfigError(f"block {list(found.block)} must divide {list(found.view)}")
    return found


def _blocks(shape: Dims, block: list[int] | None) -> Grain:
    if block is None or len(block) not in (2, len(shape)):
        raise ConfigError(f"block must have 2 or {len(shape)} numbers for shape {list(shape)}, got {block}")
    view = tuple(shape) if len(block) == len(shape) else matrix_shape(shape)
    return Grain(tuple(shape), view, tuple(block))
