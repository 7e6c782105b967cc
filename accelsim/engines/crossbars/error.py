"""How far a layer's products on a crossbar are from the integers they stand for, on the values of its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.engines.common.part import Part
from accelsim.engines.crossbars.math import product
from accelsim.engines.crossbars.sparse import operands_of
from accelsim.workload.shapes import ConvShape

if TYPE_CHECKING:
    from accelsim.engines.crossbar import Crossbar

#: Products that are computed, of each layer: the first of its vectors with the first of its outputs
VECTORS, OUTPUTS = 64, 64


def output_error(engine: Crossbar, part: Part) -> float:
    """Root of mean square error over that of the exact products, with the engine's converters and faults.

    Raises
    ------
    ConfigError
        If the trace has no values, or every conversion saturates.
    """
    bits = engine.bits_of(part)
    x, w = operands_of(part, 0, _some(part))
    if engine.spec.encoding == "binary":  # arrays see signs only
        x, w = np.where(x < 0, -1, 1), np.where(w < 0, -1, 1)
    cells = engine.spec.cells(bits["filter"], bits["ifmap"], part.signed("ifmap"))
    faults = None if engine.spec.faults is None else engine.spec.faults.non_ideal()
    out = product(x, w, cells, faults, name=part.task.layer.name)
    exact = x.astype(np.float64) @ w.astype(np.float64)
    signal = float((exact**2).sum())
    return float(np.sqrt(((out - exact) ** 2).sum() / signal)) if signal else 0.0


def _some(part: Part) -> dict[str, Any]:
    """A tile of a few products with all their inputs."""
    shape = part.shape
    if not isinstance(shape, ConvShape):
        return {
            "output0": 0, "n": min(OUTPUTS, shape.n), "channel0": 0, "k": shape.k, "image0": 0,
            "m": min(VECTORS, shape.m),
        }  # fmt: skip
    inner, cols = shape.c // shape.g, min(shape.q, VECTORS)
    middle = (shape.p - min(shape.p, max(1, VECTORS // cols))) // 2  # the border meets padding
    return {
        "output0": 0, "n": min(OUTPUTS, shape.m // shape.g), "channel0": 0, "channels": inner, "tap0": 0,
        "k": inner * shape.r * shape.s, "image0": 0, "images": 1, "row0": middle,
        "rows": min(shape.p, max(1, VECTORS // cols)), "col0": 0, "cols": cols,
    }  # fmt: skip
