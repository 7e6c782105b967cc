"""A trained network whose products are computed in crossbars: what converters and cells cost in accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.crossbars.math import Cells, NonIdeal, Programmed, product, program
from accelsim.workload.forward import forward
from accelsim.workload.network import Layer
from accelsim.workload.trained import Samples, Trained

Array = NDArray[Any]


class Analog:
    """`forward`'s products through crossbars; see `accelsim.workload.forward.Multiply`.

    Weights are rounded to `cells.weight_bits` with one scale for a layer, so that the largest fits, and programmed
    once. Inputs are rounded to `cells.input_bits` with the scale of the largest in the call. Layers without negative
    inputs use unsigned digits.

    Attributes
    ----------
    squared_error, squared_signal : float
        Sums over all products: (crossbar - integer product)**2, and (integer product)**2.
    """

    def __init__(self, cells: Cells, faults: NonIdeal | None = None) -> None:
        self.cells, self.faults = cells, faults
        self.squared_error = self.squared_signal = 0.0
        self._stored: dict[tuple[str, bytes], tuple[Array, Programmed, float]] = {}

    @property
    def relative_error(self) -> float:
        """Root of error over signal, over all products so far."""
        return float(np.sqrt(self.squared_error / self.squared_signal)) if self.squared_signal else 0.0

    def __call__(self, layer: Layer, x: Array, w: Array) -> Array:
        cells = self._signed(bool((x < 0).any()))
        whole, stored, scale = self._program(layer.name, w)
        top = 2 ** (cells.input_bits - cells.signed_inputs) - 1
        step = float(np.abs(x).max()) / top or 1.0
        digits = np.rint(x / step).astype(np.int64)
        out = product(digits, stored, cells, self.faults, name=layer.name)
        exact = digits.astype(np.float64) @ whole
        self.squared_error += float(((out - exact) ** 2).sum())
        self.squared_signal += float((exact**2).sum())
        return np.asarray(out * (step * scale), np.float32)

    def _signed(self, signed: bool) -> Cells:
        from dataclasses import replace

        return replace(self.cells, signed_inputs=signed)

    def _program(self, name: str, w: Array) -> tuple[Array, Programmed, float]:
        key = name, np.ascontiguousarray(w).tobytes()[:64]
        if key not in self._stored:
            scale = float(np.abs(w).max()) / (2 ** (self.cells.weight_bits - 1) - 1) or 1.0
            whole = np.rint(w / scale).astype(np.int64)
            self._stored[key] = whole.astype(np.float64), program(whole, self.cells, self.faults, name), scale
        return self._stored[key]


def accuracy(trained: Trained, samples: Samples, cells: Cells, faults: NonIdeal | None = None) -> tuple[float, float]:
    """(share of samples that a network in crossbars gets right, relative error of its products).

    Raises
    ------
    ConfigError
        If the network cannot be computed, or every conversion of a layer saturates.
    """
    assert samples.labels is not None
    analog = Analog(cells, faults)
    outputs = forward(trained.network, trained.weights, samples.inputs, multiply=analog)
    scores = outputs[samples.scores] if samples.scores else list(outputs.values())[-1]
    right = scores.reshape(samples.count, -1).argmax(1) == samples.labels
    return float(right.mean()), analog.relative_error
