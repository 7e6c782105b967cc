"""Runs a `Network` with the weights of an import, in plain numpy, layer by layer: the oracle of the importer's tests.

Written from the definitions of the operators, with the weight layouts that accelsim promises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import explicit_pad

Weights = Mapping[str, Mapping[str, np.ndarray]]


def run(network: Network, weights: Weights, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every layer's output by name."""
    values: dict[str, np.ndarray] = {}
    for layer in network:
        if layer.kind == "input":
            out = np.asarray(feeds[layer.name])
        else:
            out = RULES[layer.kind](layer, weights.get(layer.name, {}), [values[i] for i in layer.inputs])
        values[layer.name] = np.asarray(out).reshape(layer.out_shape)
        assert np.asarray(out).size == values[layer.name].size
    return values


def _windows(x: np.ndarray, kernel: Any, stride: Any, dilation: Any, pad: Any, fill: float) -> np.ndarray:
    """(N, C, P, Q, R, S) of all windows."""
    x = np.pad(x, ((0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])), constant_values=fill)
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    view = np.lib.stride_tricks.sliding_window_view(x, span, (2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def conv(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    shape, x = layer.work, ins[0]
    windows = _windows(x, (shape.r, shape.s), shape.stride, shape.dilation, shape.pad, 0.0)
    n, _, p, q = windows.shape[:4]
    split = windows.reshape(n, shape.g, shape.c // shape.g, p, q, shape.r, shape.s)
    filters = w["filter"].reshape(shape.g, shape.m // shape.g, shape.c // shape.g, shape.r, shape.s)
    out = np.einsum("ngcpqrs,gmcrs->ngmpq", split, filters).reshape(n, shape.m, p, q)
    return out + w["bias"].reshape(1, -1, 1, 1) if layer.op.bias else out


def linear(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    out = ins[0] @ w["filter"].T
    return out + w["bias"] if layer.op.bias else out


def matmul(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    return ins[0] @ (np.swapaxes(ins[1], -1, -2) if layer.op.transpose_b else ins[1])


def pool(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    op, x = layer.op, ins[0]
    if op.kernel == "global":
        return (np.max if op.mode == "max" else np.mean)(x, axis=(2, 3), keepdims=True)
    kernel, stride, out = op._window([x.shape])
    pad = explicit_pad(op.pad, x.shape[2:], kernel, stride, (1, 1))
    more = [max(0, (o - 1) * t + k - z - lo) for o, t, k, z, lo in zip(out, stride, kernel, x.shape[2:], pad[:2])]
    pad = (pad[0], pad[1], more[0], more[1])
    if op.mode == "max":
        return _windows(x, kernel, stride, (1, 1), pad, -np.inf).max((4, 5))[:, :, : out[0], : out[1]]
    total = _windows(x, kernel, stride, (1, 1), pad, 0.0).sum((4, 5))
    count = _windows(np.ones_like(x), kernel, stride, (1, 1), pad, 0.0).sum((4, 5))
    return (total / count)[:, :, : out[0], : out[1]]


def eltwise(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    call = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum,
            "min": np.minimum}[layer.op.mode]  # fmt: skip
    assert len(ins) > 1, "the constant of a one-input element-wise layer is not kept"
    out = ins[0]
    for other in ins[1:]:
        out = call(out, other)
    return out


def activation(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    x = ins[0]
    if layer.op.mode == "prelu":
        return np.where(x > 0, x, x * w["slope"])
    return {
        "relu": lambda: np.maximum(x, 0), "relu6": lambda: np.clip(x, 0, 6), "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "tanh": lambda: np.tanh(x), "exp": lambda: np.exp(x), "sqrt": lambda: np.sqrt(x), "abs": lambda: np.abs(x),
    }[layer.op.mode]()  # fmt: skip


def norm(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    x, op = ins[0], layer.op
    if op.mode == "batch":
        spread = (1, -1, 1, 1) if x.ndim == 4 else (-1,)
        mean, variance, gamma, beta = (w[r].reshape(spread) for r in ("mean", "variance", "gamma", "beta"))
        return (x - mean) / np.sqrt(variance + w["epsilon"]) * gamma + beta
    assert op.mode == "layer"
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w["gamma"] + w.get("beta", 0)


def softmax(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    e = np.exp(ins[0] - ins[0].max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def recurrent(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    op, x = layer.op, ins[0]
    n, steps, _ = x.shape
    size = op.hidden
    gates = w["filter"].shape[0] // (op.directions * size)
    rows = gates * size
    bias = w["bias"] if op.bias else np.zeros((2, op.directions * rows))
    outs = []
    for d in range(op.directions):
        part = slice(d * rows, (d + 1) * rows)
        wx, wh, bx, bh = w["filter"][part], w["recurrent"][part], bias[0, part], bias[1, part]
        h, c, seen = np.zeros((n, size)), np.zeros((n, size)), {}
        for t in range(steps) if d == 0 else range(steps - 1, -1, -1):
            a, b = x[:, t] @ wx.T + bx, h @ wh.T + bh
            if op.cell == "lstm":  # gates in ONNX's order: i o f c
                i, o, f = (_sigmoid((a + b)[:, k * size : (k + 1) * size]) for k in range(3))
                c = f * c + i * np.tanh((a + b)[:, 3 * size :])
                h = o * np.tanh(c)
            elif op.cell == "gru":  # z r h, with linear_before_reset = 1
                z, r = (_sigmoid((a + b)[:, k * size : (k + 1) * size]) for k in range(2))
                h = (1 - z) * np.tanh(a[:, 2 * size :] + r * b[:, 2 * size :]) + z * h
            else:
                h = np.tanh(a + b)
            seen[t] = h
        outs.append(np.stack([seen[t] for t in range(steps)], 1))
    return np.concatenate(outs, 2)


def overlap_add(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    op, (n, _, h, wide) = layer.op, ins[0].shape
    _, m, p, q = layer.out_shape
    crop, (r, s) = op.crop, op.kernel
    out = np.zeros((n, m, p + crop[0] + crop[2] + 64, q + crop[1] + crop[3] + 64))
    taps = ins[0].reshape(n, m, r, s, h, wide)
    for i in range(r):
        for j in range(s):
            a, b = i * op.dilation[0], j * op.dilation[1]
            rows = slice(a, a + op.stride[0] * (h - 1) + 1, op.stride[0])
            out[:, :, rows, b : b + op.stride[1] * (wide - 1) + 1 : op.stride[1]] += taps[:, :, i, j]
    out = out[:, :, crop[0] : crop[0] + p, crop[1] : crop[1] + q]
    return out + w["bias"].reshape(1, -1, 1, 1) if op.bias else out


def cut(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    op = layer.op
    index = [slice(None)] * ins[0].ndim
    index[op.axis] = slice(op.start, op.stop, op.step)
    return ins[0][tuple(index)]


def pad(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    assert layer.op.zeros
    return np.pad(ins[0], list(zip(layer.op.before, layer.op.after)))


def upsample(layer: Layer, w: Any, ins: list[np.ndarray]) -> np.ndarray:
    h, wide = (o // i for o, i in zip(layer.out_shape[2:], ins[0].shape[2:]))
    return ins[0].repeat(h, 2).repeat(wide, 3)


Rule = Callable[[Layer, Any, list[np.ndarray]], np.ndarray]
RULES: dict[str, Rule] = {
    "conv": conv, "linear": linear, "matmul": matmul, "pool": pool, "eltwise": eltwise, "activation": activation,
    "norm": norm, "softmax": softmax, "recurrent": recurrent, "overlap_add": overlap_add, "slice": cut, "pad": pad,
    "upsample": upsample,
    "embedding": lambda layer, w, ins: w["value"][ins[0].astype(int)],
    "parameter": lambda layer, w, ins: w["value"],
    "concat": lambda layer, w, ins: np.concatenate(ins, layer.op.axis),
    "reshape": lambda layer, w, ins: ins[0].reshape(layer.out_shape),
    "transpose": lambda layer, w, ins: ins[0].transpose(layer.op.order),
}  # fmt: skip
