"""Operators beside `ops.Conv`: padding, shifting, and the overlap-add that ends a transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from accelsim.base.errors import ConfigError
from accelsim.workload.fields import limited
from accelsim.workload.ops import OPS, Op
from accelsim.workload.shapes import Dims, VectorShape, WorkShape


@OPS.register("pad")
@dataclass(frozen=True)
class Padding(Op):
    """Zeros (or copies of the edge) around a tensor: `before` and `after` for each dimension. A view."""

    kind: ClassVar[str] = "pad"
    before: Dims = limited(least=0)
    after: Dims = limited(least=0)
    zeros: bool = True

    def output(self, ins: list[Dims]) -> Dims:
        if not len(self.before) == len(self.after) == len(ins[0]):
            raise ConfigError(f"pad needs one number for each of the {len(ins[0])} dimensions, before and after")
        return tuple(a + d + b for a, d, b in zip(self.before, ins[0], self.after, strict=True))


@OPS.register("overlap_add")
@dataclass(frozen=True)
class OverlapAdd(Op):
    """The second half of a transposed convolution: adds overlapping windows into an image.

    Its input (N, channels*R*S, H, W) is the product of every pixel with every filter, a 1 x 1 convolution
    with as many MACs as the transposed one. The result is (N, channels, P, Q); `crop` (top, left, bottom,
    right) is cut off, and `extra` rows and columns are appended at the bottom and right.
    """

    kind: ClassVar[str] = "overlap_add"
    channels: int = limited(least=1)
    kernel: tuple[int, int] = limited(least=1)
    stride: tuple[int, int] = limited((1, 1), least=1)
    dilation: tuple[int, int] = limited((1, 1), least=1)
    crop: tuple[int, int, int, int] = limited((0, 0, 0, 0), least=0)
    extra: tuple[int, int] = limited((0, 0), least=0)
    bias: bool = False

    def output(self, ins: list[Dims]) -> Dims:
        if len(ins[0]) != 4 or ins[0][1] != self.channels * prod(self.kernel):
            wanted = self.channels * prod(self.kernel)
            raise ConfigError(f"overlap_add needs an (N, {wanted}, H, W) input, got {ins[0]}")
        n, _, h, w = ins[0]
        p, q = (
            (z - 1) * t + d * (k - 1) + 1 - lo - hi + extra
            for z, t, d, k, lo, hi, extra in zip(
                (h, w), self.stride, self.dilation, self.kernel, self.crop[:2], self.crop[2:], self.extra, strict=True
            )
        )
        return (n, self.channels, p, q)

    def work(self, ins: list[Dims]) -> WorkShape:
        outputs = prod(self.output(ins))
        return VectorShape(prod(ins[0]), outputs, -(-prod(ins[0]) // outputs))

    def params(self, ins: list[Dims]) -> int:
        return self.channels if self.bias else 0


@OPS.register("shift")
@dataclass(frozen=True)
class Shift(Op):
    """Each feature map moved by one of kernel[0] x kernel[1] displacements; zeros move in (Wu et al., CVPR 2018).

    No parameters, no MACs: data is moved, one move for each element. Channels are dealt out evenly to the displacements
    in the order of a filter's taps, and those that are left over stay where they are. A map of tap (u, v) has at
    (i, j) what was at (i + dilation * (u - kernel // 2), j + ...): what that tap of a filter would see.
    """

    kind: ClassVar[str] = "shift"
    kernel: tuple[int, int] = limited((3, 3), least=1)
    dilation: tuple[int, int] = limited((1, 1), least=1)

    def output(self, ins: list[Dims]) -> Dims:
        if len(ins[0]) != 4 or not all(k % 2 for k in self.kernel):
            raise ConfigError(f"shift needs an (N, C, H, W) input and an odd kernel, got {ins[0]} and {self.kernel}")
        return ins[0]

    def work(self, ins: list[Dims]) -> WorkShape:
        return VectorShape(prod(ins[0]), prod(ins[0]), 1)

    def taps(self, channels: int) -> list[int]:
        """The tap of each channel, u * kernel[1] + v."""
        count = prod(self.kernel)
        each = channels // count
        return [tap for tap in range(count) for _ in range(each)] + [count // 2] * (channels - each * count)
