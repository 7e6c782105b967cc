"""Traces of the shipped trained networks on their own real data: one sample an input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.capture import Captured, Operand
from accelsim.workload.forward import forward
from accelsim.workload.network import Layer
from accelsim.workload.quantize import Integers, check_bits, quantize, quantize_bias
from accelsim.workload.trace_writer import TraceWriter
from accelsim.workload.trained import trained_network

Array = NDArray[Any]


def capture_trained(
    name: str,
    out: str | Path,
    sample: int = 0,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
) -> Captured:
    """Run a shipped trained network on one sample of its test data and write the trace.

    Parameters
    ----------
    name : str
        `lenet_digits`: see `trained.SHIPPED`.
    out : str or Path
    sample : int
        Counted from 0.
    weight_bits, activation_bits, per_channel
        As in `capture.capture`.

    Raises
    ------
    ConfigError
        Unknown name, no such sample, or a recurrent network, whose states this does not see.
    """
    check_bits(weight_bits, "weight_bits")
    check_bits(activation_bits, "activation_bits")
    trained = trained_network(name)
    network = trained.network
    if any(layer.kind == "recurrent" for layer in network):
        raise ConfigError("must be a network without recurrent layers", f"capture {name}")
    samples = trained.samples()
    if not 0 <= sample < samples.count:
        raise ConfigError(f"sample must be 0 to {samples.count - 1}, got {sample}", f"capture {name}")
    seen: dict[str, Array] = {}

    def hook(layer: Layer, role: str, values: Array) -> Array:
        seen[layer.name] = values
        return values

    forward(network, trained.weights, {key: a[sample : sample + 1] for key, a in samples.inputs.items()}, hook)
    written: list[Operand] = []
    source = f"Network: {trained.label}.\nInput: sample {sample} of {samples.credit}."
    with TraceWriter(out, network, name=name, source=source) as writer:

        def add(layer: Layer, role: str, made: Integers, values: Array) -> None:
            writer.add(layer.name, role, made.values, bits=made.bits, signed=made.signed, scale=made.scale)
            zeros, stored = (int(np.count_nonzero(array == 0)) for array in (values, made.values))
            written.append(Operand(layer.name, role, values.size, zeros, stored, made.bits))

        for layer in network:
            if not layer.is_compute:
                continue
            where = f"{name}: {layer.name}"
            given, values = trained.weights[layer.name], seen[layer.name].reshape(layer.in_shapes[0])
            ifmap = quantize(values, activation_bits, where=where)
            filters = quantize(given["filter"], weight_bits, per_channel=per_channel, where=where)
            add(layer, "filter", filters, given["filter"])
            if "bias" in given:
                assert isinstance(ifmap.scale, float)
                add(layer, "bias", quantize_bias(given["bias"], filters.scale, ifmap.scale), given["bias"])
            add(layer, "ifmap", ifmap, values)
    return Captured(Path(out), network, tuple(written), ())
