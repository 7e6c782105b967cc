"""What a network computes: its layers in numpy, float32, with the weights of an import or a trace.

For judging what compression does to outputs, not for speed: convolutions are matrix products over windows. What a
`Network` does not know of its operators (bounds of a clip, say) an import may keep beside the weights; where it does
not, they cannot be computed, and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Norm, explicit_pad

Array = NDArray[Any]
Weights = Mapping[str, Mapping[str, Array]]
"""layer -> role -> array, as in `onnx_import.Imported`; roles that no trace has: gamma, beta, mean, variance, epsilon,
slope, alpha, tanh, constant, constant_first, value, axis."""

Hook = Callable[[Layer, str, Array], Array]
"""(layer, role ifmap or state, values) -> the values that the layer gets to see instead."""

Multiply = Callable[[Layer, Array, Array], Array]
"""(layer, inputs (m, k), weights (k, n)) -> (m, n): how a convolution's or linear layer's product is computed."""


def forward(
    network: Network,
    weights: Weights,
    inputs: Mapping[str, Array],
    hook: Hook | None = None,
    multiply: Multiply | None = None,
) -> dict[str, Array]:
    """The network's outputs, by the name of the layer that makes them, in the network's order.

    Parameters
    ----------
    network : Network
    weights : mapping
        A batch normalisation without `gamma` is taken to be folded into the layer before it.
    inputs : mapping
        Input layer -> array; its first dimension is any number of samples where the network keeps samples apart, else
        a multiple of the network's batch.
    hook : callable, optional
        Sees and may change what enters compute layers: a fake quantizer.
    multiply : callable, optional
        Computes the products of convolutions and linear layers in numpy's place: a crossbar. Depthwise layers come
        as products, too.

    Raises
    ------
    ConfigError
        An input is missing or of the wrong shape; a layer lacks weights, or cannot be computed.
    """
    arrays = {}
    for layer in network:
        if layer.kind == "input":
            if layer.name not in inputs:
                raise ConfigError(f"input {layer.name!r} is missing", network.name)
            arrays[layer.name] = array = np.asarray(inputs[layer.name])
            if array.shape[1:] != layer.out_shape[1:] or not len(array):
                wanted = ", ".join(map(str, ("any", *layer.out_shape[1:])))
                raise ConfigError(f"input {layer.name!r} must be of shape ({wanted}), got {array.shape}", network.name)
    counts = {len(a) for a in arrays.values()}
    if len(counts) != 1:
        raise ConfigError(f"inputs must have the same number of samples, got {sorted(counts)}", network.name)
    samples = counts.pop()
    if samples == network.batch or _keeps_samples_apart(network):
        return _run(network, weights, arrays, samples, hook, multiply)
    if samples % network.batch:
        raise ConfigError(f"the number of samples must be a multiple of {network.batch}, got {samples}", network.name)
    parts = []
    for at in range(0, samples, network.batch):
        part = {name: a[at : at + network.batch] for name, a in arrays.items()}
        parts.append(_run(network, weights, part, network.batch, hook, multiply))
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def outputs_of(network: Network) -> list[str]:
    """Layers that nothing reads."""
    return [layer.name for layer in network if not network.consumers[layer.name]]


def _keeps_samples_apart(network: Network) -> bool:
    """Whether the first dimension is the batch everywhere, and nothing moves, joins or orders it."""
    for layer in network:
        if layer.kind == "parameter":
            continue
        if layer.out_shape[0] != network.batch or layer.kind in ("expand", "spike"):
            return False
        if layer.kind == "transpose" and getattr(layer.op, "order")[0] != 0:
            return False
        if layer.kind in ("concat", "slice") and getattr(layer.op, "axis") % len(layer.out_shape) == 0:
            return False
    return True


def _run(
    network: Network,
    weights: Weights,
    inputs: Mapping[str, Array],
    samples: int,
    hook: Hook | None,
    multiply: Multiply | None,
) -> dict[str, Array]:
    values: dict[str, Array] = {}
    found: dict[str, Array] = {}
    for index, layer in enumerate(network):
        if layer.kind == "input":
            values[layer.name] = inputs[layer.name]
        else:
            ins = [values[name] for name in layer.inputs]
            if hook is not None and layer.is_compute:
                ins[0] = hook(layer, "ifmap", ins[0])
            values[layer.name] = _layer(network, layer, weights.get(layer.name, {}), ins, samples, hook, multiply)
        if not network.consumers[layer.name]:
            found[layer.name] = values[layer.name]
        for name in list(values):
            if network.last_use[name] <= index and name not in found:
                del values[name]
    return found


def _layer(
    network: Network,
    layer: Layer,
    w: Mapping[str, Array],
    ins: list[Array],
    samples: int,
    hook: Hook | None,
    multiply: Multiply | None,
) -> Array:
    where = f"{network.name}: {layer.name}"
    rule = _RULES.get(layer.kind)
    if rule is None:
        raise ConfigError(f"a layer of kind {layer.kind} cannot be computed here", where)
    try:
        if layer.kind == "recurrent":
            out = _recurrent(layer, w, ins, hook)
        elif multiply is not None and layer.kind in _MULTIPLIED:
            out = _MULTIPLIED[layer.kind](layer, w, ins, multiply)
        else:
            out = rule(layer, w, ins)
    except KeyError as error:
        raise ConfigError(f"cannot be computed: there is no {error.args[0]!r} among its weights", where) from None
    except NotImplementedError as error:
        raise ConfigError(f"cannot be computed: {error}", where) from None
    if layer.kind == "parameter" or samples == network.batch:
        return np.asarray(out).reshape(layer.out_shape)
    return np.asarray(out).reshape(samples, *layer.out_shape[1:])


def _windows(x: Array, kernel: Any, stride: Any, dilation: Any, pad: Any, fill: float) -> Array:
    """View (N, C, P, Q, R, S) of all windows."""
    x = np.pad(x, ((0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])), constant_values=fill)
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, span, (2, 3))  # type: ignore[call-overload]
    return np.asarray(view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]])


def _conv(layer: Layer, w: Mapping[str, Array], ins: list[Array], multiply: Multiply | None = None) -> Array:
    shape: Any = layer.work
    windows = _windows(ins[0], (shape.r, shape.s), shape.stride, shape.dilation, shape.pad, 0.0)
    n, _, p, q = windows.shape[:4]
    inner = shape.c // shape.g
    filters = w["filter"].reshape(shape.g, shape.m // shape.g, inner, shape.r, shape.s)
    if inner == 1 and shape.m == shape.g and multiply is None:  # depthwise: one product for each place of the filter
        out = np.zeros((n, shape.m, p, q), np.float32)
        for i in range(shape.r):
            for j in range(shape.s):
                out += windows[..., i, j] * filters[:, 0, 0, i, j].reshape(1, -1, 1, 1)
    else:
        parts = windows.reshape(n, shape.g, inner, p, q, shape.r, shape.s) if shape.g > 1 else windows[:, None]
        columns = parts.transpose(1, 0, 3, 4, 2, 5, 6).reshape(shape.g, n * p * q, -1)
        matrices = filters.reshape(shape.g, shape.m // shape.g, -1).transpose(0, 2, 1)
        if multiply is None:
            product = columns @ matrices
        else:
            product = np.stack([multiply(layer, a, b) for a, b in zip(columns, matrices, strict=True)])
        out = product.reshape(shape.g, n, p, q, -1).transpose(1, 0, 4, 2, 3).reshape(n, shape.m, p, q)
    return _biased(out, w, (1, -1, 1, 1))


def _biased(out: Array, w: Mapping[str, Array], spread: tuple[int, ...]) -> Array:
    return out + w["bias"].astype(np.float32).reshape(spread) if "bias" in w else out


def _linear(layer: Layer, w: Mapping[str, Array], ins: list[Array], multiply: Multiply | None = None) -> Array:
    x, filters = ins[0], w["filter"].T
    out = x @ filters if multiply is None else multiply(layer, x.reshape(-1, x.shape[-1]), filters)
    return _biased(out.reshape(*x.shape[:-1], -1), w, (-1,))


def _matmul(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    b = np.swapaxes(ins[1], -1, -2) if getattr(layer.op, "transpose_b") else ins[1]
    return np.asarray(ins[0] @ b)


def _pool(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    op, x = layer.op, ins[0]
    mode: str = getattr(op, "mode")
    if getattr(op, "kernel") == "global":
        return np.asarray((np.max if mode == "max" else np.mean)(x, axis=(2, 3), keepdims=True))
    kernel, stride, out = op._window([x.shape])  # type: ignore[attr-defined]
    pad = explicit_pad(getattr(op, "pad"), x.shape[2:], kernel, stride, (1, 1))
    more = [
        max(0, (o - 1) * t + k - z - lo)
        for o, t, k, z, lo in zip(out, stride, kernel, x.shape[2:], pad[:2], strict=True)
    ]
    around = (pad[0], pad[1], more[0], more[1])
    if mode == "max":
        found = _windows(x, kernel, stride, (1, 1), around, -np.inf).max((4, 5))
    else:  # of what lies inside the image
        inside = _windows(np.ones_like(x[:1, :1]), kernel, stride, (1, 1), around, 0.0).sum((4, 5))
        found = _windows(x, kernel, stride, (1, 1), around, 0.0).sum((4, 5)) / inside
    return np.asarray(found[:, :, : out[0], : out[1]])


def _shifted(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    op: Any = layer.op
    half = [d * (k // 2) for d, k in zip(op.dilation, op.kernel, strict=True)]
    windows = _windows(ins[0], op.kernel, (1, 1), op.dilation, (*half, *half), 0.0)
    flat = windows.reshape(*ins[0].shape, -1)
    return np.stack([flat[:, c, :, :, tap] for c, tap in enumerate(op.taps(ins[0].shape[1]))], axis=1)


_ELTWISE: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _eltwise(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    mode: str = getattr(layer.op, "mode")
    if len(ins) == 1:
        ins = [*([w["constant_first"]] if "constant_first" in w else []), ins[0],
               *([w["constant"]] if "constant" in w else [])]  # fmt: skip
    if len(ins) < 2 or mode not in _ELTWISE:
        raise NotImplementedError(f"the network does not keep the constant of this {mode}" if len(ins) < 2 else mode)
    out = ins[0]
    for other in ins[1:]:
        out = _ELTWISE[mode](out, other)
    return out


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), x.dtype)


def erf(x: Array) -> Array:
    """The error function, to 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26)."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1 - series * np.exp(-x * x)), x.dtype)


def _gelu(x: Array, w: Mapping[str, Array]) -> Array:
    """By the error function, by tanh, or by the sigmoid of `alpha` x, as the model says."""
    if "alpha" in w:
        return x * sigmoid(np.asarray(w["alpha"] * x, x.dtype))
    if "tanh" in w:
        return np.asarray(0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))), x.dtype)
    return np.asarray(0.5 * x * (1 + erf(x / np.float32(sqrt(2)))), x.dtype)


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6), "sigmoid": sigmoid, "tanh": np.tanh,
    "exp": np.exp, "erf": erf, "sqrt": np.sqrt, "abs": np.abs, "silu": lambda x: x * sigmoid(x),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}  # fmt: skip


def _activation(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    mode, x = getattr(layer.op, "mode"), ins[0]
    if mode == "prelu":
        return np.where(x > 0, x, x * w["slope"])
    if mode == "gelu":
        return _gelu(x, w)
    if mode == "leaky_relu" and "alpha" in w:
        return np.where(x > 0, x, x * np.float32(w["alpha"]))
    if mode not in _ACTIVATIONS:
        raise NotImplementedError(f"the network does not keep all that defines this {mode}")
    return _ACTIVATIONS[mode](x)


def _spike(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    op: Any = layer.op
    return np.asarray(op.spikes(ins[0]))


def _norm(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    x, op = ins[0], layer.op
    assert isinstance(op, Norm)
    if op.mode in ("layer", "rms") and "epsilon" in w:
        centred = x - x.mean(-1, keepdims=True) if op.mode == "layer" else x
        scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(w["epsilon"]))
        return np.asarray(scaled * w.get("gamma", np.float32(1)) + w.get("beta", np.float32(0)), x.dtype)
    if op.mode != "batch":
        raise NotImplementedError(f"the network does not keep all that defines this {op.mode} normalisation")
    if op.folded and "gamma" not in w:
        return x
    spread = (1, -1, 1, 1) if x.ndim == 4 else (-1,)
    factor = w["gamma"] / np.sqrt(w["variance"] + w["epsilon"])
    return np.asarray(x * factor.reshape(spread) + (w["beta"] - w["mean"] * factor).reshape(spread))


def _softmax(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    axis = int(w["axis"]) if "axis" in w else -1
    e = np.exp(ins[0] - ins[0].max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def _recurrent(layer: Layer, w: Mapping[str, Array], ins: list[Array], hook: Hook | None) -> Array:
    """LSTM (gates i o f c), GRU (z r h; the reset gate acts on the product) and the plain cell."""
    op: Any = layer.op
    if op.cell not in ("lstm", "gru", "rnn") or len(ins) > 1 or set(layer.weights) != {"filter", "recurrent"}:
        raise NotImplementedError(f"cell {op.cell} with its options")
    x = ins[0]
    n, steps, _ = x.shape
    rows = w["filter"].shape[0] // op.directions
    bias = np.zeros((2, op.directions * rows), np.float32)
    if "bias" in w:
        bias[: len(w["bias"])] = w["bias"]
    outs = []
    for d in range(op.directions):
        part = slice(d * rows, (d + 1) * rows)
        wx, wh = w["filter"][part], w["recurrent"][part]
        h = c = np.zeros((n, op.hidden), np.float32)
        seen: dict[int, Array] = {}
        for t in range(steps) if d == 0 else range(steps - 1, -1, -1):
            state = h if hook is None else hook(layer, "state", h[:, None])[:, 0]
            a, b = x[:, t] @ wx.T + bias[0, part], state @ wh.T + bias[1, part]
            h, c = _CELLS[op.cell](a, b, h, c)
            seen[t] = h
        outs.append(np.stack([seen[t] for t in range(steps)], 1))
    return np.concatenate(outs, 2)


def _lstm(a: Array, b: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, o, f, g = np.split(a + b, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def _gru(a: Array, b: Array, h: Array, c: Array) -> tuple[Array, Array]:
    (za, ra, ga), (zb, rb, gb) = np.split(a, 3, axis=1), np.split(b, 3, axis=1)
    z = sigmoid(za + zb)
    return (1 - z) * np.tanh(ga + sigmoid(ra + rb) * gb) + z * h, c


_CELLS: dict[str, Callable[[Array, Array, Array, Array], tuple[Array, Array]]] = {
    "lstm": _lstm, "gru": _gru, "rnn": lambda a, b, h, c: (np.tanh(a + b), c),
}  # fmt: skip


def _cut(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    op: Any = layer.op
    index: list[Any] = [slice(None)] * ins[0].ndim
    index[op.axis] = slice(op.start, op.stop, op.step)
    return np.asarray(ins[0][tuple(index)])


def _padded(layer: Layer, w: Mapping[str, Array], ins: list[Array]) -> Array:
    op: Any = layer.op
    if not op.zeros:
        raise NotImplementedError("padding that is not of zeros")
    return np.asarray(np.pad(ins[0], list(zip(op.before, op.after, strict=True))))


_MULTIPLIED: dict[str, Callable[[Layer, Mapping[str, Array], list[Array], Multiply], Array]] = {
    "conv": _conv, "linear": _linear,
}  # fmt: skip

Rule = Callable[[Layer, Mapping[str, Array], list[Array]], Array]
_RULES: dict[str, Rule] = {
    "conv": _conv, "linear": _linear, "matmul": _matmul, "pool": _pool, "eltwise": _eltwise, "norm": _norm,
    "shift": _shifted, "activation": _activation, "softmax": _softmax, "spike": _spike, "slice": _cut, "pad": _padded,
    "recurrent": lambda layer, w, ins: _recurrent(layer, w, ins, None),
    "embedding": lambda layer, w, ins: w["value"][ins[0].astype(int)],
    "parameter": lambda layer, w, ins: w["value"],
    "concat": lambda layer, w, ins: np.concatenate(ins, getattr(layer.op, "axis")),
    "reshape": lambda layer, w, ins: ins[0],
    "transpose": lambda layer, w, ins: ins[0].transpose(getattr(layer.op, "order")),
}  # fmt: skip
