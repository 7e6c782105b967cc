"""Fewer connections between channels: bottleneck, groups, depthwise, inverted residual (survey, Fig. 6 and Table 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS
from accelsim.compress.compact.rewrite import CompactStep, Part, residual
from accelsim.compress.state import FloatArray
from accelsim.workload.ops import Conv
from accelsim.workload.shapes import ConvShape


class _Spatial(CompactStep):
    """Methods for any convolution with a window and without groups."""

    def refusal(self, shape: ConvShape) -> str:
        if shape.r * shape.s < 2 or shape.g > 1:
            return f"{self.kind} needs a kernel larger than 1 x 1 without groups, got {shape.r} x {shape.s}"
        return ""


def _like(op: Conv, shape: ConvShape, channels: int, groups: int = 1) -> Conv:
    """A convolution with the same window, stride and padding."""
    return Conv(channels, (shape.r, shape.s), shape.stride, shape.pad, shape.dilation, groups)


@STEPS.register("bottleneck")
class Bottleneck(_Spatial):
    """1 x 1 down to a part of the channels, the window there, 1 x 1 up again (He et al., CVPR 2016, Fig. 5).

    Fitted: factors of the filters' two channel modes by HOSVD (De Lathauwer et al., 2000): not the least squares, but
    within a factor of sqrt(2) of it.
    """

    kind: ClassVar[str] = "bottleneck"
    can_fit: ClassVar[bool] = True

    class Params(CompactStep.Params):
        """`reduction`: how many times fewer channels, of the fewer of inputs and outputs."""

        reduction: int = pydantic.Field(default=4, ge=1)

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        width = min(shape.c, shape.m) // self.params.reduction
        if width < 1:
            least = min(shape.c, shape.m)
            what = f"reduction must be at most {least}, the channels, got {self.params.reduction}"
            raise ConfigError(what, self.where)
        return [
            Part("reduce", Conv(width)), Part("window", _like(op, shape, width)), Part("expand", Conv(shape.m)),
        ]  # fmt: skip

    def fitted(self, filters: FloatArray, shape: ConvShape, parts: list[Part]) -> dict[str, FloatArray]:
        first = parts[0].op
        assert isinstance(first, Conv)
        out_mode, in_mode = (_leading(filters, axis, first.channels) for axis in (0, 1))
        core = np.einsum("mcrs,md,ce->ders", filters, out_mode, in_mode, optimize=True)
        return {
            "reduce": np.ascontiguousarray(in_mode.T[:, :, None, None], np.float32),
            "window": np.ascontiguousarray(core, np.float32),
            "expand": np.ascontiguousarray(out_mode[:, :, None, None], np.float32),
        }

    def composed(self, filters: Mapping[str, FloatArray], shape: ConvShape) -> FloatArray:
        down, up = filters["reduce"][:, :, 0, 0], filters["expand"][:, :, 0, 0]
        product: FloatArray = np.einsum("md,ders,ec->mcrs", up, filters["window"], down, optimize=True)
        return product


def _leading(filters: FloatArray, axis: int, count: int) -> FloatArray:
    """Leading left singular vectors of the filters unfolded along an axis, (size, count), from the Gram matrix."""
    rows = np.moveaxis(filters, axis, 0).reshape(filters.shape[axis], -1).astype(np.float64)
    vectors: FloatArray = np.linalg.eigh(rows @ rows.T)[1][:, ::-1][:, :count]
    return vectors


@STEPS.register("group_conv")
class GroupConv(CompactStep):
    """Inputs and outputs are split into groups that do not see each other (survey, equation 10).

    Fitted: each group keeps its own filters, which is the least squares.
    """

    kind: ClassVar[str] = "group_conv"
    can_fit: ClassVar[bool] = True

    class Params(CompactStep.Params):
        """`groups`: how many."""

        groups: int = pydantic.Field(default=4, ge=2)

    def refusal(self, shape: ConvShape) -> str:
        groups = self.params.groups
        if shape.g > 1 or shape.c % groups or shape.m % groups:
            found = f"{shape.c} -> {shape.m}, {shape.g} groups"
            return f"{self.kind} needs channels that {groups} groups divide, and no groups yet, got {found}"
        return ""

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        return [Part("group", _like(op, shape, shape.m, self.params.groups))]

    def fitted(self, filters: FloatArray, shape: ConvShape, parts: list[Part]) -> dict[str, FloatArray]:
        groups = self.params.groups
        blocks = filters.reshape(groups, shape.m // groups, groups, shape.c // groups, shape.r, shape.s)
        own = np.stack([blocks[i, :, i] for i in range(groups)])
        return {"group": own.reshape(shape.m, shape.c // groups, shape.r, shape.s)}

    def composed(self, filters: Mapping[str, FloatArray], shape: ConvShape) -> FloatArray:
        groups = self.params.groups
        full = np.zeros((groups, shape.m // groups, groups, shape.c // groups, shape.r, shape.s), np.float32)
        own = filters["group"].reshape(groups, shape.m // groups, shape.c // groups, shape.r, shape.s)
        for i in range(groups):
            full[i, :, i] = own[i]
        return full.reshape(shape.m, shape.c, shape.r, shape.s)


@STEPS.register("depthwise_separable")
class DepthwiseSeparable(_Spatial):
    """A window for each channel, then 1 x 1 over channels (Howard et al., MobileNets, 2017, Section 3.1).

    Fitted: for each input channel, the leading singular vectors of its filters as an m x (r s) matrix: least squares.
    """

    kind: ClassVar[str] = "depthwise_separable"
    can_fit: ClassVar[bool] = True

    class Params(CompactStep.Params):
        """`multiplier`: windows for each channel."""

        multiplier: int = pydantic.Field(default=1, ge=1)

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        most = min(shape.m, shape.r * shape.s)
        if self.params.multiplier > most:
            raise ConfigError(f"multiplier must be at most {most}, got {self.params.multiplier}", self.where)
        depthwise = _like(op, shape, shape.c * self.params.multiplier, shape.c)
        return [Part("depthwise", depthwise), Part("pointwise", Conv(shape.m))]

    def fitted(self, filters: FloatArray, shape: ConvShape, parts: list[Part]) -> dict[str, FloatArray]:
        m, c, r, s = filters.shape
        count = self.params.multiplier
        left, values, right = np.linalg.svd(filters.transpose(1, 0, 2, 3).reshape(c, m, r * s), full_matrices=False)
        root = np.sqrt(values[:, :count])
        windows = (root[..., None] * right[:, :count]).reshape(c * count, 1, r, s)
        mixing = (left[..., :count] * root[:, None, :]).transpose(1, 0, 2).reshape(m, c * count, 1, 1)
        return {"depthwise": np.ascontiguousarray(windows), "pointwise": np.ascontiguousarray(mixing)}

    def composed(self, filters: Mapping[str, FloatArray], shape: ConvShape) -> FloatArray:
        count = self.params.multiplier
        windows = filters["depthwise"].reshape(shape.c, count, shape.r, shape.s)
        mixing = filters["pointwise"].reshape(shape.m, shape.c, count)
        product: FloatArray = np.einsum("mck,ckrs->mcrs", mixing, windows, optimize=True)
        return product


@STEPS.register("inverted_residual")
class InvertedResidual(_Spatial):
    """1 x 1 up to several times the channels, depthwise there, 1 x 1 down again without an activation behind it, and
    the input added where the shapes allow (Sandler et al., MobileNetV2, CVPR 2018, Section 3.3). Weights are drawn.
    """

    kind: ClassVar[str] = "inverted_residual"
    between: ClassVar[str] = "relu6"

    class Params(CompactStep.Params):
        """`expansion`: the factor t. `shortcut`: add the input if stride is 1 and the channels are as many."""

        expansion: int = pydantic.Field(default=6, ge=1)
        shortcut: bool = True

    def parts(self, op: Conv, shape: ConvShape) -> list[Part]:
        wide = shape.c * self.params.expansion
        found = [Part("expand", Conv(wide))] if self.params.expansion > 1 else []
        found += [Part("depthwise", _like(op, shape, wide, wide)), Part("project", Conv(shape.m))]
        same = (shape.c, shape.h, shape.w) == (shape.m, shape.p, shape.q)
        return [*found, residual()] if same and self.params.shortcut else found
