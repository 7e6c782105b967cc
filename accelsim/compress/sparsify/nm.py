"""N:M: of every M neighbours the N largest stay."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.kernels import kernel
from accelsim.compress.base import STEPS, Step, StepParams
from accelsim.compress.state import TensorState
from accelsim.workload.encodings.nm import axis_of, grouped, ungrouped


@STEPS.register("prune_nm")
class PruneNM(Step):
    """Keep the n largest magnitudes of every m along an axis; of equal ones the first.

    Mishra et al., "Accelerating sparse deep neural networks", arXiv 2104.08378: 2:4 along the inputs. Where m does not
    divide the axis, the last group of a line is as if zeros followed: it keeps n of what it has.
    """

    kind: ClassVar[str] = "prune_nm"
    objects: ClassVar[tuple[str, ...]] = ("W", "A", "E", "G")

    class Params(StepParams):
        """`n` of `m` along `axis` (of a vector: along it). Default: 2:4 along axis 1, the inputs of a filter."""

        n: int = pydantic.Field(default=2, ge=0, le=256)
        m: int = pydantic.Field(default=4, ge=2, le=256)
        axis: int = pydantic.Field(default=1, ge=0, le=7)

        @pydantic.model_validator(mode="after")
        def _n_of_m(self) -> PruneNM.Params:
            if self.n > self.m:
                raise ValueError(f"n must be at most m, got {self.n}:{self.m}")
            return self

    def apply(self, state: TensorState) -> None:
        n, m, axis = self.params.n, self.params.m, axis_of(state.shape, self.params.axis)
        groups = grouped(state.values, m, axis)
        removed = np.empty(groups.shape, np.bool_)
        mark_beyond(groups, n, removed)
        state.zero_out(np.ascontiguousarray(ungrouped(removed, state.shape, axis)))


@kernel(nogil=True)
def mark_beyond(groups, n, removed):  # type: ignore[no-untyped-def]
    """removed = False for the n largest magnitudes of each row of groups (of equal ones the first), else True."""
    count, m = groups.shape
    for g in range(count):
        for i in range(m):
            size, above = abs(groups[g, i]), 0
            for j in range(m):
                other = abs(groups[g, j])
                above += int(other > size) + int(other == size and j < i)
            removed[g, i] = above >= n


@mark_beyond.warms_up_with
def _mark_example() -> tuple[Any, ...]:
    return np.zeros((1, 4), np.float32), 2, np.zeros((1, 4), np.bool_)
