"""Reordering that clusters zeros, then pruning by blocks: the blocks lie in a permuted matrix.

Ji et al., "TETRIS: tile-matching the tremendous irregular sparsity", NeurIPS 2018: outputs and inputs are permuted in
turn, so that what the pruned blocks hold becomes small; the network computes the same, since the order of its channels
is free. They improve a permutation by swaps; so does this.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.units import ceil_div
from accelsim.compress.base import STEPS, Context, Step, StepParams
from accelsim.compress.selectors import PerLayer
from accelsim.compress.sparsify.permuted_diagonal import kernel_energy
from accelsim.compress.sparsify.prune import checked_density
from accelsim.compress.sparsify.select import kept_count
from accelsim.compress.state import TensorState


_PASSES = 64
_PAIRS = 1 << 22  # of places, looked at at a time


@STEPS.register("tetris")
class Tetris(Step):
    """Keep the blocks with the most energy of the best reordered matrix found (outputs by inputs; whole kernels).

    The tensor stays in its own order: its zeros form blocks in the order that the report's note counts, not here.
    Blocks at the edges are cut off. Density: of blocks, the nearest whole number.
    """

    kind: ClassVar[str] = "tetris"

    class Params(StepParams):
        """`block`: outputs, inputs; `rounds`: most times that both sides are reordered."""

        density: PerLayer[float]
        block: tuple[int, int] = (4, 4)
        rounds: int = pydantic.Field(default=4, ge=0, le=1000)

        @pydantic.field_validator("block", mode="before")
        @classmethod
        def _block(cls, block: Any) -> Any:
            numbers = isinstance(block, (list, tuple)) and len(block) == 2 and all(type(b) is int for b in block)
            if not numbers or min(block) < 1:
                raise ValueError(f"must be two numbers >= 1, got {block}")
            return tuple(block)

    def __init__(self, params: Any, label: str, where: str, context: Context) -> None:
        super().__init__(params, label, where, context)
        checked_density(params.density, where)

    def apply(self, state: TensorState) -> None:
        energy = kernel_energy(state.values)
        density = float(self.at(state, self.params.density))
        rows, columns, kept = reorder(energy, self.params.block, density, self.params.rounds)
        removed = np.zeros(energy.shape, np.bool_)
        removed[np.ix_(rows, columns)] = ~_spread(kept, self.params.block, energy.shape)
        broad = removed.reshape(*removed.shape, *[1] * (len(state.shape) - 2)) if len(state.shape) > 1 else removed[0]
        share = energy[removed].sum() / max(energy.sum(), np.finfo(float).tiny)
        blocks = f"{np.count_nonzero(kept)} of {kept.size} blocks kept after reordering"
        state.notes.append(f"{blocks}, {share:.4f} of energy lost")
        state.zero_out(np.broadcast_to(broad, state.shape))


Order = NDArray[np.int64]


def reorder(
    energy: NDArray[np.float64], block: tuple[int, int], density: float, rounds: int
) -> tuple[Order, Order, NDArray[np.bool_]]:
    """Orders of rows and columns, and which blocks of the matrix in that order stay.

    Each round keeps the best blocks, swaps rows while that lowers what the others hold, keeps the best blocks again,
    and does the same to columns; it never makes the loss larger. Ends when a round does not help. Swaps end at the
    next best place, so a second start has like rows and like columns together; the better end counts.
    """
    rows: Order = np.arange(energy.shape[0])
    columns: Order = np.arange(energy.shape[1])
    first = _improved(energy, block, density, rounds, rows, columns)
    if rounds == 0:
        return first
    rows = _clustered(energy, block[0])
    columns = _clustered(np.add.reduceat(energy[rows], np.arange(0, len(rows), block[0]), axis=0).T, block[1])
    second = _improved(energy, block, density, rounds, rows, columns)
    return min(first, second, key=lambda found: _lost(energy, block, *found))


def _clustered(energy: NDArray[np.float64], size: int) -> Order:
    """Rows in groups of `size`: of those left the one with most energy, and those most like it (by products)."""
    alike = energy @ energy.T
    left = np.ones(len(energy), np.bool_)
    order: list[int] = []
    while left.any():
        leader = int(np.argmax(np.where(left, np.diag(alike), -1)))
        left[leader] = False
        others = np.flatnonzero(left)
        group = others[np.argsort(-alike[leader, others], kind="stable")[: size - 1]]
        left[group] = False
        order += [leader, *group.tolist()]
    return np.array(order, np.int64)


def _lost(
    energy: NDArray[np.float64], block: tuple[int, int], rows: Order, columns: Order, kept: NDArray[np.bool_]
) -> float:
    return float(energy[np.ix_(rows, columns)][~_spread(kept, block, energy.shape)].sum())


def _improved(
    energy: NDArray[np.float64], block: tuple[int, int], density: float, rounds: int, rows: Order, columns: Order
) -> tuple[Order, Order, NDArray[np.bool_]]:
    kept = best_blocks(energy[np.ix_(rows, columns)], block, density)
    for _ in range(rounds):
        before = rows.copy(), columns.copy()
        rows = rows[_swaps(energy[np.ix_(rows, columns)], block, kept)]
        kept = best_blocks(energy[np.ix_(rows, columns)], block, density)
        columns = columns[_swaps(energy[np.ix_(rows, columns)].T, (block[1], block[0]), kept.T)]
        kept = best_blocks(energy[np.ix_(rows, columns)], block, density)
        if np.array_equal(before[0], rows) and np.array_equal(before[1], columns):
            break
    return rows, columns, kept


def best_blocks(energy: NDArray[np.float64], block: tuple[int, int], density: float) -> NDArray[np.bool_]:
    """The blocks with the most energy, as many as the density says; of equal ones the last."""
    bands = np.add.reduceat(energy, np.arange(0, energy.shape[0], block[0]), axis=0)
    sums = np.add.reduceat(bands, np.arange(0, energy.shape[1], block[1]), axis=1)
    kept: NDArray[np.bool_] = np.ones(sums.size, np.bool_)
    gone = sums.size - kept_count(density, sums.size)
    kept[np.argsort(sums.reshape(-1), kind="stable")[:gone]] = False
    return kept.reshape(sums.shape)


def _swaps(energy: NDArray[np.float64], block: tuple[int, int], kept: NDArray[np.bool_]) -> Order:
    """An order of the rows, found by swaps that help.

    A row's cost depends on its band alone, so what swaps of different places gain adds up: each pass looks for the
    best partner of every place, and makes all swaps that do not share a place, the most helpful first.
    """
    count = energy.shape[0]
    across = np.add.reduceat(energy, np.arange(0, energy.shape[1], block[1]), axis=1)
    costs = across @ (~kept).T.astype(np.float64)  # of each row in each band
    order: Order = np.arange(count)
    band = np.arange(count) // block[0]
    for _ in range(_PASSES):
        best, partner = _partners(costs[order], band)
        least = 1e-12 * max(float(costs[order, band].sum()), 1e-300)
        free = np.ones(count, np.bool_)
        for i in np.argsort(-best, kind="stable").tolist():
            j = int(partner[i])
            if best[i] <= least:
                break
            if free[i] and free[j]:
                free[i] = free[j] = False
                order[i], order[j] = order[j], order[i]
        if free.all():
            break
    return order


def _partners(mine: NDArray[np.float64], band: Order) -> tuple[NDArray[np.float64], Order]:
    """For each place the most that a swap gains, and with which; mine: [places, bands], costs of the rows there."""
    count = len(band)
    own = mine[np.arange(count), band]
    best, partner = np.empty(count), np.empty(count, np.int64)
    step = max(1, _PAIRS // count)
    for at in range(0, count, step):
        part = slice(at, min(at + step, count))
        # what the rows at two places cost now, less what they cost after a swap
        gain = own[part, None] + own - mine[part][:, band] - mine[:, band[part]].T
        partner[part] = np.argmax(gain, axis=1)
        best[part] = gain[np.arange(part.stop - part.start), partner[part]]
    return best, partner


def _spread(kept: NDArray[np.bool_], block: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    assert kept.shape == tuple(ceil_div(n, b) for n, b in zip(shape, block, strict=True))
    return kept.repeat(block[0], axis=0)[: shape[0]].repeat(block[1], axis=1)[:, : shape[1]]
