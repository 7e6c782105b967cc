"""Column combining: sparse columns share a column of the array, and where they collide the largest weight stays.

Kung, McDanel and Zhang, "Packing sparse convolutional neural networks for efficient systolic array implementations:
column combining under joint optimization", ASPLOS 2019, sections 3 and 4.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.compress.base import STEPS, Step, StepParams
from accelsim.compress.state import TensorState
from accelsim.workload.column_groups import combine_columns
from accelsim.workload.encodings.sparse_lines import matrix_shape

__all__ = ["ColumnCombining", "combine_columns", "conflicts"]


@STEPS.register("column_combining")
class ColumnCombining(Step):
    """Group the columns of the matrix (outputs by inputs), then let one weight of each row and group live.

    Works on the zeros that are there: put a `prune` before it. The report's note says how many columns are left.
    """

    kind: ClassVar[str] = "column_combining"

    class Params(StepParams):
        """`alpha`: most columns in a group; `gamma`: most conflicts in a group, per row, on average."""

        alpha: int = pydantic.Field(default=8, ge=1, le=65536)
        gamma: float = pydantic.Field(default=0.5, ge=0, le=65536)

    def apply(self, state: TensorState) -> None:
        matrix = state.values.reshape(matrix_shape(state.shape))
        groups = combine_columns(matrix != 0, self.params.alpha, self.params.gamma)
        state.zero_out(conflicts(np.abs(matrix), groups).reshape(state.shape))
        state.notes.append(f"{matrix.shape[1]} columns combined into {len(groups)}")


def conflicts(sizes: NDArray[np.float32], groups: list[list[int]]) -> NDArray[np.bool_]:
    """True for all but the largest magnitude of each row within a group; of equal ones the group's first stays."""
    removed: NDArray[np.bool_] = np.zeros(sizes.shape, np.bool_)
    for group in groups:
        winner = np.argmax(sizes[:, group], axis=1)
        removed[:, group] = np.arange(len(group)) != winner[:, None]
    return removed
