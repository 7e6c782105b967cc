"""Windows, strides, padding, groups: the shapes of operators against what numpy's windows give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from accelsim.base.errors import ConfigError
from accelsim.workload import ops
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape, VectorShape

quick = settings(deadline=None, derandomize=True, max_examples=150)


def windows(x: np.ndarray, shape: ConvShape) -> np.ndarray:
    """(N, C, P, Q, R, S) windows of the padded input, cut by numpy."""
    top, left, bottom, right = shape.pad
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [d * (k - 1) + 1 for d, k in zip(shape.dilation, (shape.r, shape.s), strict=True)]
    view = sliding_window_view(padded, reach, axis=(2, 3))
    return view[:, :, :: shape.stride[0], :: shape.stride[1], :: shape.dilation[0], :: shape.dilation[1]]


def convolve(x: np.ndarray, w: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Direct convolution, group by group."""
    cut = windows(x, shape)
    per_in, per_out = shape.c // shape.g, shape.m // shape.g
    out = [
        np.einsum("ncpqrs,mcrs->nmpq", cut[:, g * per_in : (g + 1) * per_in], w[g * per_out : (g + 1) * per_out])
        for g in range(shape.g)
    ]
    return np.concatenate(out, axis=1)


@st.composite
def conv_shapes(draw: st.DrawFn) -> ConvShape:
    groups = draw(st.integers(1, 3))
    r, s = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pad = tuple(draw(st.integers(0, 3)) for _ in range(4))
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    assume(h + pad[0] + pad[2] > dilation[0] * (r - 1) and w + pad[1] + pad[3] > dilation[1] * (s - 1))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n, c, m = draw(st.integers(1, 2)), groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    return ConvShape(n, c, h, w, m, r, s, stride, pad, dilation, groups)  # type: ignore[arg-type]


@quick
@given(shape=conv_shapes(), seed=st.integers(0, 2**31))
def test_convolution_is_the_gemm_that_it_lowers_to(shape: ConvShape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 9, (shape.n, shape.c, shape.h, shape.w))
    w = rng.integers(-9, 9, (shape.m, shape.c // shape.g, shape.r, shape.s))
    direct = convolve(x, w, shape)
    assert direct.shape == (shape.n, shape.m, shape.p, shape.q)
    gemm = shape.to_gemm()
    cut, per_in = windows(x, shape), shape.c // shape.g
    for g in range(shape.g):
        # rows over images and outputs; columns r, then s, then c, c fastest
        left = cut[:, g * per_in : (g + 1) * per_in].transpose(0, 2, 3, 4, 5, 1).reshape(gemm.m, gemm.k)
        right = w[g * gemm.n : (g + 1) * gemm.n].transpose(2, 3, 1, 0).reshape(gemm.k, gemm.n)
        product = (left @ right).reshape(shape.n, shape.p, shape.q, gemm.n).transpose(0, 3, 1, 2)
        assert (product == direct[:, g * gemm.n : (g + 1) * gemm.n]).all()
    assert gemm.batch == shape.g
    assert gemm.macs == shape.macs == direct.size * shape.r * shape.s * per_in


@quick
@given(shape=conv_shapes())
def test_conv_operator_agrees_with_its_shape(shape: ConvShape) -> None:
    op = ops.Conv(shape.m, (shape.r, shape.s), shape.stride, shape.pad, shape.dilation, shape.g)
    ins = [(shape.n, shape.c, shape.h, shape.w)]
    assert op.work(ins) == shape
    assert op.output(ins) == (shape.n, shape.m, shape.p, shape.q)
    assert op.weights(ins) == {"filter": (shape.m, shape.c // shape.g, shape.r, shape.s)}
    assert op.params(ins) == shape.m * (shape.c // shape.g * shape.r * shape.s + 1)


@quick
@given(size=st.integers(1, 40), kernel=st.integers(1, 7), stride=st.integers(1, 5), dilation=st.integers(1, 3))
def test_same_padding_gives_ceil_of_size_over_stride(size: int, kernel: int, stride: int, dilation: int) -> None:
    conv = ops.Conv(1, kernel, stride, "same", dilation)
    assert conv.output([(1, 1, size, size)]) == (1, 1, -(-size // stride), -(-size // stride))
    top, left, bottom, right = conv.shape([(1, 1, size, size)]).pad
    assert (top, bottom) == (left, right)
    assert bottom - top in (0, 1)  # the odd zero at the bottom
    if top + bottom:
        # no zero is superfluous: with one less there would be one output less
        less = (size + top + bottom - 1 - dilation * (kernel - 1) - 1) // stride + 1
        assert less < -(-size // stride)


@pytest.mark.parametrize(
    ("pad", "quadruple"),
    [
        (0, (0, 0, 0, 0)),
        (2, (2, 2, 2, 2)),
        ((1, 3), (1, 3, 1, 3)),
        ((0, 1, 2, 3), (0, 1, 2, 3)),
        ("valid", (0, 0, 0, 0)),
    ],
)
def test_ways_to_write_padding(pad: Any, quadruple: tuple[int, ...]) -> None:
    assert ops.explicit_pad(pad, (9, 9), (3, 3), (1, 1), (1, 1)) == quadruple


def test_asymmetric_padding_and_dilation_by_hand() -> None:
    # 5 rows, one zero above, two below: 8 rows, windows of 5 at 0 and 2; 7 columns, two zeros left: 9, one of 9
    conv = ops.Conv(6, (3, 5), 2, (1, 2, 2, 0), (2, 2), bias=False)
    assert conv.output([(2, 4, 5, 7)]) == (2, 6, 2, 1)
    assert conv.work([(2, 4, 5, 7)]).macs == 2 * 6 * 2 * 1 * 4 * 15


def test_depthwise_is_one_channel_for_each_group() -> None:
    conv = ops.Conv(8, 3, pad=1, groups=8, bias=False)
    shape = conv.shape([(1, 8, 5, 5)])
    assert shape.depthwise and shape.to_gemm() == GemmShape(25, 1, 9, 8)
    assert conv.params([(1, 8, 5, 5)]) == 72
    assert ops.Conv(16, 3, groups=8).shape([(1, 8, 5, 5)]).depthwise  # two filters for each channel
    assert not ops.Conv(8, 3, groups=4).shape([(1, 8, 5, 5)]).depthwise
    assert not ops.Conv(8, 3).shape([(1, 1, 5, 5)]).depthwise


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ConvShape(1, 4, 5, 5, 6, 3, 3, g=3),
            "groups must divide input and output channels, got groups=3, c=4",
        ),
        (lambda: ConvShape(1, 4, 5, 5, 6, 3, 3, g=4), "groups must divide"),
        (lambda: ConvShape(1, 1, 2, 9, 1, 3, 3), "filter .3x3.* is larger than the padded input .2x9"),
        (lambda: ConvShape(1, 1, 9, 9, 1, 3, 3, dilation=(1, 5)), "larger than the padded input"),
        (lambda: ConvShape(1, 1, 9, 9, 1, 3, 3, pad=(0, -1, 0, 0)), "pad must be >= 0"),
        (lambda: ConvShape(0, 1, 9, 9, 1, 3, 3), "n must be an integer >= 1, got 0"),
        (lambda: ConvShape(1, 1, 9, 9, 1, 3, 3, stride=(1, 0)), "stride_w must be an integer >= 1, got 0"),
        (lambda: ConvShape(1, 2**20, 2**20, 2**20, 2**20, 1, 1), "overflows 63 bits"),
        (lambda: GemmShape(2**31, 2**31, 2**31), "product of m, n, k, batch overflows 63 bits"),
        (lambda: GemmShape(4, True, 4), "n must be an integer >= 1, got True"),
        (lambda: RecurrentShape(1, 5, 0, 8, 4, 8), "features must be an integer >= 1"),
    ],
)
def test_impossible_shapes(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


# --- pooling ---


def pooled(size: int, lo: int, hi: int, kernel: int, stride: int, ceil: bool) -> int:
    """Outputs of a pooling, window by window: each starts inside the image or the padding before it."""
    count, start = 0, 0
    while start + kernel <= size + lo + hi or (
        ceil and start < size + lo and start - stride + kernel < size + lo + hi
    ):
        count, start = count + 1, start + stride
    return count


@quick
@given(
    size=st.integers(1, 20),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 5),
    lo=st.integers(0, 2),
    hi=st.integers(0, 2),
    ceil=st.booleans(),
)
def test_pooling_counts_its_windows(size: int, kernel: int, stride: int, lo: int, hi: int, ceil: bool) -> None:
    assume(max(lo, hi) < kernel)
    expected = pooled(size, lo, hi, kernel, stride, ceil)
    pool = ops.Pool("max", kernel, stride, (lo, lo, hi, hi), ceil)
    if size + lo + hi < kernel and not (ceil and expected):
        with pytest.raises(ConfigError, match="pool kernel .* is larger than the padded input"):
            pool.output([(1, 3, size, size)])
        return
    assert pool.output([(1, 3, size, size)]) == (1, 3, expected, expected)
    assert pool.work([(1, 3, size, size)]) == VectorShape(3 * size**2, 3 * expected**2, kernel**2)


def test_pooling_rounds_up_only_if_told_to() -> None:
    # GoogLeNet's first pooling (Caffe rounds up), 112 to 56; PyTorch and ONNX round down, 55
    assert ops.Pool("max", 3, 2, ceil=True).output([(1, 64, 112, 112)])[2:] == (56, 56)
    assert ops.Pool("max", 3, 2).output([(1, 64, 112, 112)])[2:] == (55, 55)
    # the window that would start in the padding after the image is dropped
    assert ops.Pool("max", 2, 2, 1, ceil=True).output([(1, 1, 3, 3)])[2:] == (2, 2)


def test_stride_of_a_pooling_is_its_kernel() -> None:
    assert ops.Pool("avg", (3, 2)).output([(1, 1, 9, 8)])[2:] == (3, 4)


def test_global_pooling() -> None:
    pool = ops.Pool("avg", "global")
    assert pool.output([(2, 5, 7, 9)]) == (2, 5, 1, 1)
    assert pool.work([(2, 5, 7, 9)]) == VectorShape(2 * 5 * 63, 10, 63)


# --- recurrence ---


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_recurrent_cells(cell: str, gates: int) -> None:
    op, ins = ops.Recurrent(cell, 6, directions=2), [(3, 5, 4)]
    assert op.output(ins) == (3, 5, 12)
    shape = op.work(ins)
    assert isinstance(shape, RecurrentShape)
    assert shape.input_gemm == GemmShape(15, gates * 6, 4, 2)
    assert shape.step_gemms == {"recurrent": GemmShape(3, gates * 6, 6)}
    # twice over 5 steps of 3 sequences: 4 inputs and 6 states for each of gates * 6 rows
    assert shape.macs == 2 * 5 * 3 * gates * 6 * (4 + 6)
    assert op.params(ins) == 2 * gates * 6 * (4 + 6 + 2)
    assert ops.Recurrent(cell, 6, bias_vectors=1).params(ins) == gates * 6 * (4 + 6 + 1)
    assert ops.Recurrent(cell, 6, bias=False).params(ins) == gates * 6 * (4 + 6)
    assert op.weights(ins) == {"filter": (2 * gates * 6, 4), "recurrent": (2 * gates * 6, 6)}
