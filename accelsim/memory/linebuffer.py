"""Line buffers: the last rows of a feature map, from which windows are taken while it streams in.

Pixels (all channels) arrive row by row, one every `pixel_cycles`. Row y lies in line y mod `rows`; its first
pixel may overwrite that line when the last output row that uses the line's old row is complete. An output
(p, q) can start when the last pixel of its window that is not padding has arrived; outputs are made one after
another, `output_cycles` each, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.spec import Spec

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LineTiming:
    """Cycles from the moment in which the first pixel begins to arrive.

    Attributes
    ----------
    first_output : int
        When the first output can start (fill latency).
    row_done : int64 array, one for each output row
    cycles : int
        When the last output is complete.
    input_wait : int
        Cycles in which pixels are held back because no line is free.
    output_wait : int
        Cycles, the fill included, in which no output is made.
    """

    first_output: int
    row_done: Ints
    cycles: int
    input_wait: int
    output_wait: int


class LineBuffer(Spec):
    """`rows` lines of `width` pixels of `channels` elements, for windows of R x S."""

    rows: int = pydantic.Field(ge=1, le=4096, description="lines; at least the window's rows")
    width: int = pydantic.Field(ge=1, le=2**20, description="pixels of a line")
    channels: int = pydantic.Field(default=1, ge=1, le=2**20, description="elements of a pixel")
    element_bits: int = pydantic.Field(default=8, ge=1, le=64)
    window: tuple[int, int] = pydantic.Field(default=(3, 3), strict=False, description="R, S")
    stride: tuple[int, int] = pydantic.Field(default=(1, 1), strict=False)
    pad: tuple[int, int] = pydantic.Field(default=(0, 0), strict=False, description="rows, columns, on both sides")
    pixel_cycles: int = pydantic.Field(default=1, ge=1, description="cycles from one pixel's arrival to the next")
    output_cycles: int = pydantic.Field(default=1, ge=1, description="cycles of one output position")
    capacity_bits: int | None = pydantic.Field(default=None, ge=1, description="of the memory that holds the lines")

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Any:
        if min(self.window) < 1 or min(self.stride) < 1:
            raise ValueError(f"window and stride must be >= 1, got {self.window} and {self.stride}")
        if min(self.pad) < 0 or self.pad[0] >= self.window[0] or self.pad[1] >= self.window[1]:
            raise ValueError(f"pad must be >= 0 and smaller than the window {self.window}, got {self.pad}")
        if self.rows < self.window[0]:
            raise ValueError(f"rows must be at least the {self.window[0]} of the window, got {self.rows}")
        if self.width + 2 * self.pad[1] < self.window[1]:
            raise ValueError(f"width must be at least that of the window, {self.window[1]}, got {self.width}")
        if self.capacity_bits is not None and self.capacity_bits < self.bits:
            raise ValueError(f"capacity_bits must be at least the {self.bits} of its lines, got {self.capacity_bits}")
        return self

    @property
    def bits(self) -> int:
        """Storage of all lines."""
        return self.rows * self.width * self.channels * self.element_bits

    @property
    def outputs(self) -> int:
        """Output positions of a row."""
        return (self.width + 2 * self.pad[1] - self.window[1]) // self.stride[1] + 1

    def output_rows(self, height: int) -> int:
        """Output rows of a feature map of `height` rows."""
        return (height + 2 * self.pad[0] - self.window[0]) // self.stride[0] + 1

    def _arrival(self, q: int) -> int:
        """Cycles from the begin of a window's last row until output q has all its pixels."""
        last = q * self.stride[1] - self.pad[1] + self.window[1] - 1
        return (min(last, self.width - 1) + 1) * self.pixel_cycles

    def _row_span(self) -> int:
        """From the begin of a window's last row to the end of its output row, if only pixels are waited for.

        The largest of arrival(q) + (outputs - q) x output_cycles, which is concave in q with one bend:
        where windows begin to reach into the padding.
        """
        bend = max(0, (self.width - 1 - (self.window[1] - 1 - self.pad[1])) // self.stride[1])
        found = {0, min(bend, self.outputs - 1), min(bend + 1, self.outputs - 1)}
        return max(self._arrival(q) + (self.outputs - q) * self.output_cycles for q in found)

    def fill_cycles(self) -> int:
        """When the first output can start, in a feature map of at least R - pad rows."""
        return (self.window[0] - 1 - self.pad[0]) * self.width * self.pixel_cycles + self._arrival(0)

    def steady_row_cycles(self) -> Fraction:
        """Cycles of an output row in the long run, away from top and bottom: the slowest of three loops.

        Pixels of `stride` rows; outputs of a row; and a line that is freed, filled and needed again, which
        brings `ahead` output rows.
        """
        row = self.width * self.pixel_cycles
        stride = self.stride[0]
        spare = self.rows - self.window[0] + 1
        ahead = -(-spare // stride)
        room = Fraction((ahead * stride - spare) * row + self._row_span(), ahead)
        return max(Fraction(stride * row), Fraction(self.outputs * self.output_cycles), room)

    def timing(self, height: int) -> LineTiming:
        """Exact times for a feature map of `height` rows (>= R - 2 pad).

        Raises
        ------
        ValueError
            If the map is lower than the window.
        """
        count = self.output_rows(height)
        if height < 1 or count < 1:
            raise ValueError(f"a feature map of {height} rows is lower than the window")
        r_window, stride, pad = self.window[0], self.stride[0], self.pad[0]
        row, span, made = self.width * self.pixel_cycles, self._row_span(), self.outputs * self.output_cycles
        done: list[int] = []
        first = held = end = 0
        for y in range(height):
            begin = end
            user = (y - self.rows + pad) // stride  # the last output row whose window reaches the old row
            if y >= self.rows and y - self.rows - (user * stride - pad) < r_window:
                begin = max(end, done[min(user, count - 1)])
            held += begin - end
            end = begin + row
            while len(done) < count and min(len(done) * stride - pad + r_window - 1, height - 1) == y:
                if not done:
                    first = begin + self._arrival(0)
                done.append(max((done[-1] if done else 0) + made, begin + span))
        return LineTiming(first, np.array(done, np.int64), done[-1], held, done[-1] - count * made)
