"""Smaller kernels with the same receptive field (survey, Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS
from accelsim.compress.compact.rewrite import CompactStep, Part, pads_of
from accelsim.compress.state import FloatArray
from accelsim.workload.ops import Conv
from accelsim.workload.ops_windows import Shift
from accelsim.workload.shapes import ConvShape


class _Stack(CompactStep):
    """A chain of square convolutions of one size; the last one has the stride, so that the receptive field stays."""

    size: ClassVar[int]

    class Params(CompactStep.Params):
        """`width`: channels between the convolutions; None: as many as come out."""

        width: int | None = pydantic.Field(default=None, ge=1)

    def refusal(self, shape: ConvShape) -> str:
        step = self.size - 1
        if shape.r != shape.s or shape.r <= self.size or (shape.r - 1) % step or shape.g > 1 or max(shape.dilation) > 1:
            sizes = ", ".join(str(1 + step * count) for count in (2, 3, 4))
            return f"{self.kind} needs a square kernel of {sizes}, ... without groups or dilation, got {_said(shape)}"
        return ""

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        count = (shape.r - 1) // (self.size - 1)
        width = self.params.width or shape.m
        pads = pads_of(shape.pad, [(self.size, self.size)] * count)
        found = []
        for i, pad in enumerate(pads):
            last = i == count - 1
            channels, stride = (shape.m, shape.stride) if last else (width, (1, 1))
            name = f"{self.size}x{self.size}_{i + 1}"
            found.append(Part(name, Conv(channels, (self.size, self.size), stride, pad)))
        return found


@STEPS.register("stack_3x3")
class Stack3x3(_Stack):
    """C5x5 becomes two C3x3, C7x7 three, with a ReLU between (Simonyan and Zisserman, ICLR 2015, Section 2.3).

    There is no closed form for the weights: they are drawn.
    """

    kind: ClassVar[str] = "stack_3x3"
    size: ClassVar[int] = 3


@STEPS.register("stack_2x2")
class Stack2x2(_Stack):
    """C3x3 becomes two C2x2, C5x5 four (survey, Section III-B1a, Table 2).

    Padding of even kernels is asymmetric; it is put at the top left and at the bottom right in turn. Weights are drawn.
    """

    kind: ClassVar[str] = "stack_2x2"
    size: ClassVar[int] = 2


@STEPS.register("asymmetric")
class Asymmetric(CompactStep):
    """n x n becomes n x 1, then 1 x n (Szegedy et al., CVPR 2016, Section 3.2).

    Fitted: the best filters for a width are the leading singular vectors of the filters unfolded to (c r) x (m s)
    (Tai et al., ICLR 2016, theorem 1).
    """

    kind: ClassVar[str] = "asymmetric"
    can_fit: ClassVar[bool] = True

    class Params(CompactStep.Params):
        """`width`: channels between the two; None: as many as come out, or the full rank if that is less."""

        width: int | None = pydantic.Field(default=None, ge=1)

    def refusal(self, shape: ConvShape) -> str:
        if min(shape.r, shape.s) < 2 or shape.g > 1:
            return f"{self.kind} needs a kernel of at least 2 x 2 without groups, got {_said(shape)}"
        return ""

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        full = min(shape.c * shape.r, shape.m * shape.s)
        width = self.params.width or min(shape.m, full)
        if width > full:
            raise ConfigError(f"width must be at most {full}, the rank of the filters, got {width}", self.where)
        (sh, sw), (dh, dw), (top, left, bottom, right) = shape.stride, shape.dilation, shape.pad
        return [
            Part(f"{shape.r}x1", Conv(width, (shape.r, 1), (sh, 1), (top, 0, bottom, 0), (dh, 1))),
            Part(f"1x{shape.s}", Conv(shape.m, (1, shape.s), (1, sw), (0, left, 0, right), (1, dw))),
        ]

    def fitted(self, filters: FloatArray, shape: ConvShape, parts: list[Part]) -> dict[str, FloatArray]:
        m, c, r, s = filters.shape
        first = next(part.op for part in parts)
        assert isinstance(first, Conv)
        width = first.channels
        left, values, right = np.linalg.svd(filters.transpose(1, 2, 0, 3).reshape(c * r, m * s), full_matrices=False)
        root = np.sqrt(values[:width])
        columns = (left[:, :width] * root).reshape(c, r, width).transpose(2, 0, 1)[..., None]
        rows = (root[:, None] * right[:width]).reshape(width, m, s).transpose(1, 0, 2)[:, :, None, :]
        return {f"{r}x1": np.ascontiguousarray(columns), f"1x{s}": np.ascontiguousarray(rows)}

    def composed(self, filters: Mapping[str, FloatArray], shape: ConvShape) -> FloatArray:
        columns, rows = filters[f"{shape.r}x1"][..., 0], filters[f"1x{shape.s}"][:, :, 0]
        product: FloatArray = np.einsum("dcr,mds->mcrs", columns, rows, optimize=True)
        return product


@STEPS.register("shift")
class ShiftPointwise(CompactStep):
    """A k x k convolution becomes a shift of each feature map and a 1 x 1 convolution (Wu et al., CVPR 2018).

    Shifts need neither parameters nor MACs. Channels are dealt out evenly to the k x k directions, what is left over
    to the middle (there, Section 3.1). Fitted: each channel keeps the tap of its direction.
    """

    kind: ClassVar[str] = "shift"
    can_fit: ClassVar[bool] = True

    def refusal(self, shape: ConvShape) -> str:
        half = [d * (k // 2) for d, k in zip(shape.dilation, (shape.r, shape.s), strict=True)]
        odd = shape.r % 2 and shape.s % 2 and shape.r * shape.s > 1
        if not odd or shape.g > 1 or shape.pad[:2] != tuple(half):
            return f"{self.kind} needs an odd kernel, padded by half of it, without groups, got {_said(shape)}"
        outs = tuple(-(-size // step) for size, step in zip((shape.h, shape.w), shape.stride, strict=True))
        if outs != (shape.p, shape.q):
            return f"{self.kind} needs an output of ceil(size / stride) = {outs}, got {(shape.p, shape.q)}"
        return ""

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        return [
            Part("shift", Shift((shape.r, shape.s), shape.dilation)),
            Part("pointwise", Conv(shape.m, 1, shape.stride)),
        ]

    def fitted(self, filters: FloatArray, shape: ConvShape, parts: list[Part]) -> dict[str, FloatArray]:
        taps = np.asarray(Shift((shape.r, shape.s)).taps(shape.c))
        flat = filters.reshape(shape.m, shape.c, -1)
        kept = np.take_along_axis(flat, np.broadcast_to(taps[None, :, None], (shape.m, shape.c, 1)), 2)
        return {"pointwise": np.ascontiguousarray(kept[..., None])}

    def composed(self, filters: Mapping[str, FloatArray], shape: ConvShape) -> FloatArray:
        full = np.zeros((shape.m, shape.c, shape.r * shape.s), np.float32)
        taps = np.asarray(Shift((shape.r, shape.s)).taps(shape.c))
        full[:, np.arange(shape.c), taps] = filters["pointwise"][:, :, 0, 0]
        return full.reshape(shape.m, shape.c, shape.r, shape.s)


def _said(shape: ConvShape) -> str:
    dilation = f", dilation {shape.dilation}" if max(shape.dilation) > 1 else ""
    groups = f", {shape.g} groups" if shape.g > 1 else ""
    return f"{shape.r} x {shape.s}, pad {shape.pad}{dilation}{groups}"
