"""The networks and widths that Bit Fusion's authors measure with (workloads/bitfusion_*.yaml)."""

from __future__ import annotations

from accelsim.system.archspec import Architecture, load_arch
from accelsim.workload.load import load_network
from accelsim.workload.trace import Trace, synthetic_trace

BATCH = 16

#: Name in the authors' data -> (workload, bits of activations and weights, layers of other widths).
NETWORKS: dict[str, tuple[str, tuple[int, int], dict[str, tuple[int, int]]]] = {
    "AlexNet": ("bitfusion_alexnet", (4, 4), {"conv1_a": (8, 8), "conv1_b": (8, 8), "fc3": (8, 8)}),
    "SVHN": ("bitfusion_svhn", (1, 1), {"conv0": (8, 1)}),
    "CIFAR10": ("bitfusion_cifar10", (2, 2), {"conv0": (8, 8)}),
    "LeNet-5": ("bitfusion_lenet5", (2, 2), {}),
    "VGG-7": ("bitfusion_vgg7", (2, 2), {}),
    "RESNET-18": ("bitfusion_resnet18", (4, 4), {"conv1_a": (8, 8)}),
    "RNN": ("bitfusion_rnn", (4, 4), {}),
    "LSTM": ("bitfusion_lstm", (4, 4), {}),
}


def trace_of(name: str) -> Trace:
    """A batch of 16 of one of the networks, with its widths."""
    workload, (activation, weight), others = NETWORKS[name]
    per_layer = {layer: {"activation_bits": a, "weight_bits": w} for layer, (a, w) in others.items()}
    network = load_network(workload, batch=BATCH)
    # no operand is negative: one-bit activations stand for -1 and 1, and widths alone matter here
    return synthetic_trace(
        network,
        activation_bits=activation,
        weight_bits=weight,
        activation_signed=False,
        weight_signed=False,
        per_layer=per_layer,
    )


def authors_model() -> Architecture:
    """The shipped architecture with the accounting of the authors' simulator."""
    return load_arch("bit_fusion", ["engine.accounting=authors", "engine.fill=false"])
