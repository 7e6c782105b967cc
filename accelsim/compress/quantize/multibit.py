"""Multi-bit binary: a sum of scaled sign tensors, equations (31) and (32) of the survey.

Greedy: each bit is the best binary approximation of what is left (Guo et al., "Network Sketching", CVPR 2017, direct;
Tang et al., AAAI 2017). Refined: scales by least squares after every bit (sketching, refined). Alternating: scales by
least squares and codes by nearest level in turn, from the greedy start (Xu et al., "Alternating Multi-bit
Quantization for Recurrent Neural Networks", ICLR 2018). LQ-Nets (Zhang et al., ECCV 2018) learn the same basis by the
same two steps (their "quantization error minimization", section 3.2), also with bits 0 and 1 for activations.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, PerLayer
from accelsim.compress.parallel import over_rows
from accelsim.compress.quantize.common import Granularity, Quantizer, midpoints, moments, nearest, rows, width
from accelsim.compress.state import FloatArray, Quantized, TensorState
from accelsim.workload.encodings.binary_sum import sums as levels_of

SumBits = Annotated[int, pydantic.Field(ge=1, le=8)]
Table = NDArray[np.float64]


@STEPS.register("multibit")
class MultiBit(Quantizer):
    """`bits` sign tensors with a scale each, for each first index (channel) or the whole tensor.

    `method`: greedy, refined or alternating (`iterations` of it).
    """

    kind: ClassVar[str] = "multibit"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[SumBits] = 2
        method: Literal["greedy", "refined", "alternating"] = "alternating"
        granularity: Granularity = "channel"
        iterations: int = pydantic.Field(default=2, ge=0, le=100)

    def apply(self, state: TensorState) -> None:
        bits, params, values = width(self, state, self.params.bits, 1, 8), self.params, state.values
        matrix = rows(values, params.granularity)
        codes, alphas = greedy(matrix, bits, refine=params.method == "refined")
        if params.method == "alternating":
            for _ in range(params.iterations):
                alphas = fitted(matrix, codes, alphas, -1)
                codes = assigned(matrix, alphas, -1)
            alphas = fitted(matrix, codes, alphas, -1)
        state.quantize(as_sum(codes.reshape(values.shape), alphas, -1))

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return width(self, state, self.params.bits, 1, 8), False


@STEPS.register("lq")
class LearnedLevels(Quantizer):
    """Levels sum of v_j b_j whose basis v is learned from the tensor, as in LQ-Nets.

    From an even start (v_j proportional to 2**j), `iterations` times the nearest codes, then the best basis. Bits are
    -1 and 1; for operands that are never negative 0 and 1, which leaves a level for zero.
    """

    kind: ClassVar[str] = "lq"

    class Params(Quantizer.Params):
        """See the step."""

        bits: PerLayer[SumBits] = 2
        granularity: Granularity = "channel"
        iterations: int = pydantic.Field(default=20, ge=1, le=1000)

    def apply(self, state: TensorState) -> None:
        bits, values = width(self, state, self.params.bits, 1, 8), state.values
        low = -1 if state.signed else 0
        if low == 0 and float(values.min()) < 0:
            raise ConfigError("has negative elements, though the operand is said to have none")
        matrix = rows(values, self.params.granularity)
        spread = np.abs(matrix).mean(axis=1, dtype=np.float64)
        unit = spread / (2 ** (bits - 1) - 0.5 if low else (1 << bits) / 2)
        alphas = np.where(unit > 0, unit, 1.0)[:, None] * 2.0 ** np.arange(bits)
        codes = assigned(matrix, alphas, low)
        for _ in range(self.params.iterations):
            alphas = fitted(matrix, codes, alphas, low)
            before, codes = codes, assigned(matrix, alphas, low)
            if np.array_equal(before, codes):
                break
        state.quantize(as_sum(codes.reshape(values.shape), alphas, low))

    def described_codes(self, state: TensorState) -> tuple[int, bool]:
        return width(self, state, self.params.bits, 1, 8), False


def as_sum(codes: NDArray[np.uint8], alphas: Table, low: int) -> Quantized:
    """Codes whose bit j stands for alpha_j, or for low * alpha_j."""
    tables = {"alphas": alphas.astype(np.float32)}
    return Quantized(codes, alphas.shape[1], False, "binary_sum", tables, {"rows": alphas.shape[0], "low": low})


def greedy(matrix: FloatArray, bits: int, *, refine: bool = False) -> tuple[NDArray[np.uint8], Table]:
    """Equation (32) for each row: alpha_j = mean |r|, b_j = sign(r) of what the bits before leave over, r.

    `refine`: after each bit, all scales so far by least squares, which changes what is left.
    """
    codes = np.zeros(matrix.shape, np.uint8)

    def work(part: slice) -> Table:
        x = matrix[part]
        rest, alphas, code = x.astype(np.float64), np.zeros((len(x), bits)), codes[part]
        for j in range(bits):
            positive = rest >= 0
            code |= positive.view(np.uint8) << np.uint8(j)
            if refine:
                alphas[:, j] = np.abs(rest).mean(axis=1)
                alphas[:, : j + 1] = fitted(x, code, alphas[:, : j + 1], -1)
                table = levels_of64(alphas[:, : j + 1], -1)
                rest = x - np.take_along_axis(table, code.astype(np.int64), axis=1)
            else:
                alphas[:, j] = np.abs(rest).mean(axis=1)
                rest -= np.where(positive, alphas[:, j : j + 1], -alphas[:, j : j + 1])
        return alphas

    return codes, np.concatenate(over_rows(matrix, work))


def fitted(matrix: FloatArray, codes: NDArray[np.uint8], before: Table, low: int) -> Table:
    """Scales of least squared error for given codes: (B^T B) alpha = B^T x for each row, from sums by code.

    Where bits coincide, so that the scales are not determined, the row keeps those that it had.
    """
    bits = before.shape[1]
    counts, sums = moments(matrix, codes & np.uint8((1 << bits) - 1), (matrix.shape[0], 1 << bits))
    basis = np.where(np.arange(1 << bits)[:, None] >> np.arange(bits) & 1, 1.0, float(low))
    gram = np.einsum("rc,ci,cj->rij", counts.astype(np.float64), basis, basis)
    right = sums @ basis
    solvable = np.linalg.matrix_rank(gram, tol=1e-9 * max(1, matrix.shape[1])) == bits
    found = before.copy()
    if solvable.any():
        found[solvable] = np.linalg.solve(gram[solvable], right[solvable][..., None])[..., 0]
    return found


def assigned(matrix: FloatArray, alphas: Table, low: int) -> NDArray[np.uint8]:
    """The code of the nearest level for each element."""
    levels = levels_of(alphas.astype(np.float32), low)
    order = np.argsort(levels, axis=1, kind="stable")
    limits = midpoints(np.take_along_axis(levels, order, axis=1))
    return nearest(matrix, limits, order, 8, False, False)


def levels_of64(alphas: Table, low: int) -> Table:
    """As `binary_sum.sums`, in float64."""
    bits = alphas.shape[1]
    basis = np.where(np.arange(1 << bits)[:, None] >> np.arange(bits) & 1, 1.0, float(low))
    return np.asarray(alphas @ basis.T)
