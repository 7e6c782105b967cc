"""A layer as engines see it: one matrix product or convolution, with its real operands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.engines.base import Share, Task
from accelsim.mapping.problem import Loops
from accelsim.workload.ops import Matmul
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape
from accelsim.workload.trace import Operand, Trace


@dataclass(frozen=True)
class Part:
    """A layer, or one of the two products of a recurrent layer.

    Attributes
    ----------
    task : Task
    shape : ConvShape or GemmShape
    roles : dict
        Operand of the product ("ifmap", "filter") -> role of the trace's operand: those of a recurrent
        layer's second product are "state" and "recurrent". No role: a vector inside of a cell, which
        no trace holds.
    loops : Loops
        What is tiled.
    step_rows : int
        Not 0: rows of one time step, see `Problem`.
    """

    task: Task
    shape: ConvShape | GemmShape
    roles: tuple[tuple[str, str], ...] = (("ifmap", "ifmap"), ("filter", "filter"))
    step_rows: int = 0

    @property
    def where(self) -> str:
        """For error messages."""
        return f"layer {self.task.layer.name}"

    @cached_property
    def loops(self) -> Loops:
        """The shape as seven loops; the rows of a recurrence are images of one pixel, too."""
        return Loops.of(self.shape)

    def at(self, **changes: Any) -> Part:
        """The same part of a changed task."""
        return replace(self, task=replace(self.task, **changes))

    def operand(self, name: str) -> Operand | None:
        """What the trace says of "ifmap" or "filter" of this product."""
        return self._operands.get(name)

    @cached_property
    def _operands(self) -> dict[str, Operand | None]:
        return {name: self.task.trace.operand(self.task.layer.name, role) for name, role in self.roles}

    def bits(self, name: str) -> int:
        """Bits of an element as the trace has it; as the machine stores it where the trace says nothing."""
        operand = self.operand(name)
        return self.task.bits[name] if operand is None else operand.bits

    def signed(self, name: str) -> bool:
        """Whether the operand's integers carry a sign."""
        operand = self.operand(name)
        return name == "filter" if operand is None else operand.signed

    def density(self, name: str) -> float:
        """Nonzero elements over elements; 1 where the trace says nothing."""
        operand = self.operand(name)
        return 1.0 if operand is None else operand.density

    def ifmap(self) -> NDArray[Any]:
        """The real values: (images, channels, height, width) of a convolution, (batch, m, k) of a matrix product.

        Raises
        ------
        ConfigError
            If the trace has none, or if they do not have the layer's shape.
        """
        whole, at, own = self._whole()
        if isinstance(whole, ConvShape) and isinstance(own, ConvShape):
            values = self._values("ifmap", (whole.n, whole.c, whole.h, whole.w))
            channel = at.group0 * (whole.c // whole.g) + at.channel0
            rows = slice(at.in_row0, at.in_row0 + own.h)
            return values[at.image0 : at.image0 + own.n, channel : channel + own.c, rows]
        assert isinstance(whole, GemmShape) and isinstance(own, GemmShape)
        values = self._values("ifmap", (whole.batch, whole.m, whole.k))
        return values[
            at.group0 : at.group0 + own.batch, at.image0 : at.image0 + own.m, at.channel0 : at.channel0 + own.k
        ]

    def filters(self) -> NDArray[Any]:
        """The real values: (groups, filters, channels, r, s) of a convolution, (batch, n, k) of a matrix product.

        Raises
        ------
        ConfigError
            As `ifmap`.
        """
        whole, at, own = self._whole()
        if isinstance(whole, ConvShape) and isinstance(own, ConvShape):
            values = self._values("filter", (whole.g, whole.m // whole.g, whole.c // whole.g, whole.r, whole.s))
            groups, outputs, channels = own.g, own.m // own.g, own.c // own.g
        else:
            assert isinstance(whole, GemmShape) and isinstance(own, GemmShape)
            values = self._values("filter", (whole.batch, whole.n, whole.k))
            groups, outputs, channels = own.batch, own.n, own.k
        return values[
            at.group0 : at.group0 + groups, at.output0 : at.output0 + outputs, at.channel0 : at.channel0 + channels
        ]

    def _whole(self) -> tuple[ConvShape | GemmShape, Share, ConvShape | GemmShape]:
        """The shape of the trace's operands, and where this part lies in it."""
        share = self.task.share
        if share is None:
            return self.shape, Share(self.shape), self.shape
        return share.whole, share, self.shape

    def _values(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        role = dict(self.roles).get(name)
        if role is None:
            raise ConfigError(f"this engine needs the values of {name}, which no trace holds", self.where)
        values = operand_values(self.task.trace, self.task.layer.name, role)
        if name == "filter" and isinstance(self.task.layer.op, Matmul) and not self.task.layer.op.transpose_b:
            values = np.swapaxes(values, -1, -2)
        work = self.task.layer.work
        if name == "ifmap" and isinstance(work, RecurrentShape):
            values = _vectors(values, work, role == "state")
        if values.size != prod(shape):
            raise ConfigError(
                f"{role} must have {prod(shape)} elements {shape}, got {values.size} {values.shape}", self.where
            )
        return values.reshape(shape)


def _vectors(values: NDArray[Any], work: RecurrentShape, states: bool) -> NDArray[Any]:
    """What meets the matrices of a recurrent layer: (directions * groups, rows, k); states by step, then by sequence.

    Before the first step a window sees zeros.
    """
    n, steps, width = values.shape
    if states:
        parts = values.reshape(n, steps, work.directions, work.groups, -1).transpose(2, 3, 1, 0, 4)
        return parts.reshape(work.directions * work.groups, steps * n, -1)
    seen = [np.pad(values[:, : steps - back], ((0, 0), (back, 0), (0, 0))) for back in range(min(work.window, steps))]
    seen += [np.zeros_like(values)] * (work.window - len(seen))
    rows = np.concatenate(seen, axis=2).reshape(n * steps, work.groups, -1).transpose(1, 0, 2)
    return np.tile(rows, (work.directions, 1, 1))


@lru_cache(maxsize=4)
def operand_values(trace: Trace, layer: str, role: str) -> NDArray[Any]:
    """Decoded values of an operand; the last few are remembered, since a layer may be lowered more than once.

    Raises
    ------
    ConfigError
        If the trace has no such operand.
    """
    operand = trace.operand(layer, role)
    if operand is None:
        raise ConfigError(
            f"this engine's cycles depend on the values of {role}, but the trace holds none; add them in an "
            "encoding of integers (`dense`, `bitplanes`, `bitmap`, ...) by capturing or compressing the network, "
            "or give it a synthetic description",
            f"layer {layer}",
        )
    return operand.values()
