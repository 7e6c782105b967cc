"""Incremental network quantization: part of the weights become powers of two or zero, the rest stays to be retrained.

Zhou et al., "Incremental Network Quantization", ICLR 2017: levels 0, +-2**n2 .. +-2**n1 (equations 3 and 4), n1 from
the largest magnitude, and the projection of equation 4. Survey, Section III-D3.
"""

from __future__ import annotations

from math import floor, log2
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.quantize.common import Quantizer, extremes, nearest, width
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.packing import value_dtype

InqBits = Annotated[int, pydantic.Field(ge=3, le=8)]


@STEPS.register("inq")
class IncrementalQuantization(Quantizer):
    """Quantize a `portion` of the weights: the largest (`partition: magnitude`, that paper's best), or at random.

    `bits` counts as in the paper: one code for zero and 2**(bits-2) exponents with two signs. With portion 1 all
    weights are integers; below that they stay numbers, of which some are powers of two already: for training, which
    moves the others and calls again with a larger portion.
    """

    kind: ClassVar[str] = "inq"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[InqBits] = 5
        portion: float = pydantic.Field(default=1.0, gt=0, le=1)
        partition: Literal["magnitude", "random"] = "magnitude"

    def apply(self, state: TensorState) -> None:
        bits, values, params = width(self, state, self.params.bits, 3, 8), state.values, self.params
        found = inq(values, bits)
        if params.portion == 1:
            state.quantize(found)
            return
        words = None if params.partition == "magnitude" else self.words(state, "partition", 0, values.size)
        chosen = partition(values, params.portion, words)
        state.replace(np.where(chosen, found.values(), values))
        state.notes.append(f"{int(chosen.sum()):,} of {values.size:,} quantized to {bits} bits, the rest not")


def exponents(largest: float, bits: int) -> tuple[int, int]:
    """(n1, n2) for the largest magnitude: n1 = floor(log2(4 s / 3)), n2 = n1 + 1 - 2**(bits-1) / 2."""
    n1 = floor(log2(4 * largest / 3)) if largest > 0 else 0
    return n1, n1 + 1 - (1 << (bits - 2))


def inq(values: FloatArray, bits: int) -> Quantized:
    """All elements projected: to the level beta with (alpha + beta) / 2 <= |x| < 3 beta / 2, alpha the level below."""
    low, high = extremes(values.reshape(1, -1))
    n1, n2 = exponents(float(max(-low[0], high[0])), bits)
    levels = 2.0 ** np.arange(n2, n1 + 1)
    edges = ((levels + np.concatenate([[0], levels[:-1]])) / 2).astype(np.float32)
    limits = np.nextafter(edges, np.float32(0))  # the edge itself belongs to the upper level
    codes = nearest(values, limits[None], np.arange(levels.size + 1)[None], bits, True, True)
    scales = levels[:1].astype(np.float32)
    return Quantized(codes.astype(value_dtype(bits, True)), bits, True, "log2", {"scales": scales}, {"rows": 1})


def partition(values: FloatArray, portion: float, words: NDArray[np.uint64] | None = None) -> NDArray[np.bool_]:
    """True for round(portion * size) elements: the largest magnitudes, or those with the least random words.

    Ties go to the element that stands first.
    """
    count = round(portion * values.size)
    rank = -np.abs(values.reshape(-1)) if words is None else words
    chosen = np.zeros(values.size, np.bool_)
    if count:
        edge = np.partition(rank, count - 1)[count - 1]
        chosen |= rank < edge
        ties = np.flatnonzero(rank == edge)
        chosen[ties[: count - int(chosen.sum())]] = True
    return chosen.reshape(values.shape)
