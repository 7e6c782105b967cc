"""Spiking neurons: leaky integrate and fire, in time steps of one sample after another."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.fields import limited
from accelsim.workload.ops import OPS, Op
from accelsim.workload.shapes import Dims, VectorShape, WorkShape

RESETS = ("subtract", "zero")


@OPS.register("spike")
@dataclass(frozen=True)
class Spike(Op):
    """Neurons, one for each element: what enters is the current of a time step, what leaves are spikes, 0 or 1.

    The first dimension is samples x `steps`, the steps of a sample one after another (0: all of it is one sample), and
    the potentials of each begin at 0. See `integrate`. Fused into the layer that makes the currents.
    Tianjic's neurons (Pei et al., Nature 572, 2019) as IEEE Circuits and Systems Magazine Q2 2022, equation 23, gives
    them, with a resting potential of 0.
    """

    kind: ClassVar[str] = "spike"
    steps: int = limited(0, least=0)
    threshold: int = limited(1, least=1)
    leak: int = limited(0, least=0)  # a potential V loses V / 2**leak in a step; 0: nothing
    reset: str = limited("subtract", choices=RESETS)

    def output(self, ins: list[Dims]) -> Dims:
        if self.steps and ins[0][0] % self.steps:
            raise ConfigError(f"spike needs a first dimension of samples x {self.steps} steps, got {ins[0]}")
        return ins[0]

    def work(self, ins: list[Dims]) -> WorkShape:
        return VectorShape(prod(ins[0]), prod(ins[0]), self.ops)

    @property
    def ops(self) -> int:
        """Simple operations of a neuron in a step: leak (shift, subtraction), sum, comparison, reset."""
        return 3 + 2 * (self.leak > 0)

    def spikes(self, currents: NDArray[Any]) -> NDArray[Any]:
        """0 or 1 for every current, of the same type; shape (samples * steps, ...)."""
        x = currents.reshape(-1, self.steps or len(currents), *currents.shape[1:])
        found = [integrate(sample, self.threshold, self.leak, self.reset)[0] for sample in x]
        return np.concatenate(found).astype(currents.dtype)


def integrate(
    currents: NDArray[Any], threshold: int, leak: int = 0, reset: str = "subtract"
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Spikes and potentials after every step, shape (steps, ...), of neurons that begin at 0.

    V <- V - V / 2**leak + I; if V >= threshold: a spike, and V <- V - threshold, or 0. Integers leak by an arithmetic
    shift to the right.
    """
    potential = np.zeros(currents.shape[1:], currents.dtype)
    fired, after = np.zeros(currents.shape, bool), np.zeros_like(currents)
    whole = np.issubdtype(currents.dtype, np.integer)
    for step, current in enumerate(currents):
        if leak:
            potential = potential - (potential >> leak if whole else potential / 2**leak)
        potential = potential + current
        fired[step] = potential >= threshold
        potential = np.where(fired[step], 0 if reset == "zero" else potential - threshold, potential)
        after[step] = potential
    return fired, after
