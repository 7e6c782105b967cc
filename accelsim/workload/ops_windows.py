"""Two operators beside `ops.Conv`: padding, and the overlap-add that ends a transposed convolution."""

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
