"""The layers of a `Network` in PyTorch, so that gradients can be taken. PyTorch is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.compress.base import Key
from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import explicit_pad

Tensor = Any
Norms = Mapping[str, Mapping[str, Tensor]]
"""Layer -> gamma, beta, mean, variance of a batch normalisation behind it."""


def require_torch() -> Any:
    """The `torch` package.

    Raises
    ------
    ConfigError
        Naming the extra to install, if it is not there.
    """
    try:
        import torch
    except ImportError:
        raise ConfigError("training needs the torch package: pip install 'accelsim[train]'") from None
    return torch


def compute(
    network: Network, params: Mapping[Key, Tensor], x: Tensor, norms: Norms | None = None, training: bool = False
) -> Tensor:
    """The last layer's output (samples, classes); a softmax at the end is left to the loss.

    Raises
    ------
    ConfigError
        The network is no chain of layers that can be trained here.
    """
    torch = require_torch()
    for layer in network:
        if layer.kind == "input" or (layer.kind == "softmax" and not network.consumers[layer.name]):
            continue
        x = _layer(torch, layer, params, x)
        if norms and layer.name in norms:
            n = norms[layer.name]
            x = torch.nn.functional.batch_norm(
                x, n["mean"], n["variance"], n["gamma"], n["beta"], training=training, momentum=0.1, eps=EPSILON
            )
    return x.reshape(len(x), -1)


EPSILON = 1e-5


def check_trainable(network: Network) -> None:
    """Refuse what `compute` cannot do.

    Raises
    ------
    ConfigError
        Names layer and reason.
    """
    last = ""
    for layer in network:
        where = f"{network.name}: {layer.name}"
        if layer.kind != "input" and layer.inputs != (last,):
            raise ConfigError("can only be trained in a chain of layers, each with the one before as input", where)
        if layer.kind not in TRAINABLE:
            listed = ", ".join(TRAINABLE)
            raise ConfigError(f"must be one of {listed} to be trained, got {layer.kind}", where)
        op: Any = layer.op
        if layer.kind == "activation" and op.mode not in ("relu", "relu6", "tanh", "sigmoid"):
            raise ConfigError(f"mode must be relu, relu6, tanh or sigmoid to be trained, got {op.mode}", where)
        plain = {"filter", "recurrent"} == set(layer.weights)
        if layer.kind == "recurrent" and not (op.cell == "lstm" and op.directions == 1 and plain):
            raise ConfigError("must be a plain LSTM of one direction to be trained", where)
        if layer.kind == "pool" and op.kernel != "global" and (op.pad not in (0, "valid", (0, 0)) or op.ceil):
            raise ConfigError("must have neither padding nor ceil to be trained", where)
        last = layer.name


TRAINABLE = ("input", "conv", "linear", "pool", "activation", "reshape", "slice", "recurrent", "softmax")


def _layer(torch: Any, layer: Layer, params: Mapping[Key, Tensor], x: Tensor) -> Tensor:
    op: Any = layer.op
    functional = torch.nn.functional
    weight, bias = params.get((layer.name, "filter")), params.get((layer.name, "bias"))
    if layer.kind == "conv":
        shape: Any = layer.work
        top, left, bottom, right = explicit_pad(op.pad, (shape.h, shape.w), (shape.r, shape.s), shape.stride,
                                                shape.dilation)  # fmt: skip
        x = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, weight, bias, shape.stride, 0, shape.dilation, shape.g)
    if layer.kind == "linear":
        return functional.linear(x, weight, bias)
    if layer.kind == "pool":
        kernel, stride, _ = op._window([tuple(x.shape)])
        pool = functional.max_pool2d if op.mode == "max" else functional.avg_pool2d
        return pool(x, kernel, stride)
    if layer.kind == "activation":
        return {"relu": torch.relu, "relu6": functional.relu6, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[op.mode](x)
    if layer.kind == "reshape":
        return x.reshape(len(x), *layer.out_shape[1:])
    if layer.kind == "slice":
        index: list[Any] = [slice(None)] * x.ndim
        index[op.axis] = slice(op.start, op.stop, op.step)
        return x[tuple(index)]
    return _lstm(torch, x, weight, params[layer.name, "recurrent"], bias)


def _lstm(torch: Any, x: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """Gates in the order i o f c; see `workload.forward`."""
    hidden = recurrent.shape[1]
    h = c = x.new_zeros(len(x), hidden)
    from_input = x @ weight.T + (0 if bias is None else bias.sum(0))
    seen = []
    for t in range(x.shape[1]):
        i, o, f, g = (from_input[:, t] + h @ recurrent.T).split(hidden, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        seen.append(h)
    return torch.stack(seen, 1)
