"""What a network's graph says about the tensors between its layers: their sign, and which are the same data."""

from __future__ import annotations

from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Activation, Eltwise, Norm
from accelsim.workload.spike import Spike
from accelsim.workload.trace_format import WEIGHT_ROLES

_NEVER_NEGATIVE = {"relu", "relu6", "sigmoid", "hard_sigmoid", "exp", "sqrt", "abs", "softplus", "not"}
_KEEP_SIGN = {"leaky_relu", "prelu", "tanh", "gelu", "silu", "hard_swish", "elu", "clip", "erf", "softsign", "mish"}
_KEEP_SIGN |= {"reciprocal", "sign", "round"}
_VIEWS = {"pool", "concat", "slice", "reshape", "transpose", "expand", "upsample", "pad", "shift"}
_ELTWISE = {"add", "mul", "div", "max", "min", "mean", "pow", "mod"}


def signed_outputs(network: Network) -> dict[str, bool]:
    """For each layer, whether its output may hold negative numbers.

    It does not after ReLU, ReLU6, sigmoid, softmax and the like, nor after pooling, joining, cutting, adding
    or multiplying such tensors. Network inputs, parameters and all else are taken to be signed.
    """
    signed: dict[str, bool] = {}
    for layer in network:
        signed[layer.name] = _signed(layer, [signed[name] for name in layer.inputs])
    return signed


def _signed(layer: Layer, ins: list[bool]) -> bool:
    op = layer.op
    if isinstance(op, Activation):
        return op.mode not in _NEVER_NEGATIVE and not (op.mode in _KEEP_SIGN and not ins[0])
    if isinstance(op, Eltwise):
        if op.mode in ("compare", "logic"):
            return False
        return op.mode not in _ELTWISE or len(ins) < 2 or any(ins)
    if isinstance(op, Norm):
        return op.mode != "local" or ins[0]
    if layer.kind in ("softmax", "spike"):
        return False
    return layer.kind not in _VIEWS or any(ins[:1] if layer.kind == "expand" else ins)


def fused_output(network: Network, layer: Layer) -> Layer:
    """The layer whose output is what `layer` writes back: through batch normalisation and activations that only
    it feeds."""
    while True:
        readers = network.consumers[layer.name]
        if len(readers) != 1:
            return layer
        reader = network[readers[0]]
        folded = isinstance(reader.op, Norm) and reader.work is None
        if not (folded or isinstance(reader.op, Activation | Spike)) or len(reader.inputs) != 1:
            return layer
        layer = reader


def same_data(network: Network, name: str) -> str:
    """The layer that made the output of `name`: through reshapes, which keep the order of the elements."""
    while network[name].kind == "reshape":
        name = network[name].inputs[0]
    return name


def carries_spikes(network: Network, name: str) -> bool:
    """Whether the output of a layer is 0 or 1 and nothing else: of spiking neurons, through what moves or picks."""
    layer = network[name]
    if layer.kind == "pool" and getattr(layer.op, "mode") != "max":
        return False
    if layer.kind in _VIEWS:
        return all(carries_spikes(network, source) for source in layer.inputs)
    return isinstance(layer.op, Spike)


def operand_tensor(network: Network, layer: Layer, role: str) -> str | None:
    """The layer whose output an operand is; None for weights, errors and states."""
    if role == "ifmap":
        return same_data(network, layer.inputs[0])
    if role == "filter" and layer.kind == "matmul":
        return same_data(network, layer.inputs[1])
    return fused_output(network, layer).name if role == "ofmap" else None


def default_signed(network: Network, layer: Layer, role: str, signed: dict[str, bool]) -> bool:
    """Whether an operand is signed unless one says otherwise; `signed` as from `signed_outputs`."""
    if role in WEIGHT_ROLES and layer.kind != "matmul":
        return True
    if role == "norm_range":
        return False
    tensor = operand_tensor(network, layer, role)
    return True if tensor is None else signed[tensor]
