"""Permuted diagonals: of every p x p block one (cyclic) diagonal stays, so that a place needs no index.

Deng et al., "PermDNN: efficient compressed DNN architecture with permuted diagonal matrices", MICRO 2018, section III:
with k the block's offset, element (c, d) of a block may be other than zero only if (c + k) mod p = d.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.units import ceil_div
from accelsim.compress.base import STEPS, Step, StepParams
from accelsim.compress.state import FloatArray, TensorState


@STEPS.register("permuted_diagonal")
class PermutedDiagonal(Step):
    """Project onto block-permuted diagonals of outputs and inputs (of a filter: whole kernels stay or go).

    Blocks at the edges are cut off, as in the paper's padding with zeros. Density 1/p where p divides both sides.
    """

    kind: ClassVar[str] = "permuted_diagonal"

    class Params(StepParams):
        """The blocks.

        Attributes
        ----------
        p : int
            Side of a block, and the compression.
        offsets : natural, random or best
            Of the l-th block, row by row: l mod p (the paper's natural indexing), a random number (its other
            choice), or the diagonal with the most energy, which is the nearest such matrix.
        """

        p: int = pydantic.Field(ge=1, le=65536)
        offsets: Literal["natural", "random", "best"] = "natural"

    def apply(self, state: TensorState) -> None:
        energy = kernel_energy(state.values)
        down, across = (ceil_div(n, self.params.p) for n in energy.shape)
        p, kind = self.params.p, self.params.offsets
        if kind == "best":
            offsets = best_offsets(energy, p)
        elif kind == "random":
            words = self.words(state, "offsets", 0, down * across)
            offsets = (words % np.uint64(p)).astype(np.int64).reshape(down, across)
        else:
            offsets = np.arange(down * across).reshape(down, across) % p
        kept = diagonals(energy.shape, p, offsets)
        broad = kept.reshape(*kept.shape, *[1] * (len(state.shape) - kept.ndim)) if len(state.shape) > 1 else kept[0]
        state.zero_out(np.broadcast_to(~broad, state.shape))


def kernel_energy(values: FloatArray) -> NDArray[np.float64]:
    """Sum of squares of each kernel: [outputs, inputs]; of a matrix its squared elements, of a vector one row."""
    squares = np.square(values, dtype=np.float64)
    if squares.ndim == 1:
        return squares[None, :]
    found: NDArray[np.float64] = squares.reshape(*squares.shape[:2], -1).sum(axis=2)
    return found


def diagonals(shape: tuple[int, ...], p: int, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where (row + offset of the block) mod p = column mod p; offsets of shape (blocks down, blocks across)."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    kept: NDArray[np.bool_] = (rows + offsets[rows // p, columns // p]) % p == columns % p
    return kept


def best_offsets(energy: NDArray[np.float64], p: int) -> NDArray[np.int64]:
    """For each block the offset whose diagonal has the most energy; of equal ones the smallest."""
    down, across = (ceil_div(n, p) for n in energy.shape)
    padded = np.zeros((down * p, across * p))
    padded[: energy.shape[0], : energy.shape[1]] = energy
    blocks = padded.reshape(down, p, across, p)
    inside = np.arange(p)
    sums = [blocks[:, inside, :, (inside + k) % p].sum(axis=0) for k in range(p)]
    return np.asarray(np.argmax(np.stack(sums), axis=0), np.int64)
