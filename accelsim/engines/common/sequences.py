"""Values of recurrent layers in the order of their matrix products' rows: time step by time step, then the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.engines.common.part import Part, operand_values
from accelsim.workload.shapes import GemmShape, RecurrentShape


def inputs_of(part: Part) -> NDArray[Any]:
    """As `Part.ifmap`, for recurrent layers, too: (directions x groups, steps x batch, k) of their products.

    A second direction reads the steps from the last to the first. A product over a window of steps sees zeros
    before the first.

    Raises
    ------
    ConfigError
        If the trace has no such values (of the vectors inside of a cell none has).
    """
    work, shape = part.task.layer.work, part.shape
    if not isinstance(work, RecurrentShape) or part.task.share is not None:
        return part.ifmap()
    assert isinstance(shape, GemmShape)
    role = dict(part.roles).get("ifmap")
    if role is None:
        what = "this engine's cycles depend on the values of ifmap, but no trace holds the vectors inside of a cell"
        raise ConfigError(what, part.where)
    values = operand_values(part.task.trace, part.task.layer.name, role)
    steps = np.moveaxis(values.reshape(work.batch, work.steps, -1), 1, 0)  # (steps, batch, width)
    if role == "ifmap":
        each = [steps, steps[::-1]][: work.directions]
        window = work.window
    else:
        width = steps.shape[2] // work.directions
        each = [steps[..., d * width : (d + 1) * width] for d in range(work.directions)]
        window = 1
    found = []
    for rows in each:
        late = [np.concatenate([np.zeros_like(rows[:back]), rows[: len(rows) - back]]) for back in range(window)]
        grouped = np.stack(late[::-1], 2).reshape(*rows.shape[:2], window, work.groups, -1)
        found.append(np.moveaxis(grouped, 3, 0).reshape(work.groups, len(rows) * rows.shape[1], -1))
    whole = np.concatenate(found)
    expected = (shape.batch, shape.m, shape.k)
    if shape.batch < len(whole):  # one product stands for all directions and groups
        whole = whole[: shape.batch]
    if whole.shape != expected:
        raise ConfigError(f"{role} must give rows of shape {expected}, got {whole.shape}", part.where)
    return whole
