"""The step that prepares filters for predicting zeros of a ReLU before their sums are finished (SnaPEA, ISCA 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Key, PerLayer, Source, Step, StepParams, operand_shape
from accelsim.compress.selectors import choose
from accelsim.compress.state import Storage, TensorState
from accelsim.workload.encodings.sign_order import NEGATIVE, POSITIVE, SPECULATIVE, sign_order
from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Activation, Conv, Linear
from accelsim.workload.shapes import ConvShape
from accelsim.workload.tensors import fused_output, signed_outputs

WINDOWS = 256
"""Sums of a layer that are looked at, evenly spread, to count what stays."""


@STEPS.register("early_negative")
class EarlyNegative(Step):
    """Order each filter's weights so that sums which a ReLU will cut show it early; store order and counts.

    Survey, Section III-E, sparsity of activations, and Fig. 32(a). `prefix` speculative weights come first, with a
    `threshold` of their sum in the layer's own units; 0 is the exact mode, whose outputs do not change. A pattern
    means layers with a ReLU behind them and inputs that are not negative; a layer that is named needs only the ReLU.
    Weights must be uniform integers without a zero point. With captured inputs the report says how many MACs stay.
    """

    kind: ClassVar[str] = "early_negative"
    objects: ClassVar[Sequence[str]] = ("W",)

    class Params(StepParams):
        """`prefix`, `threshold`: may be given per layer."""

        object: Literal["W"] = "W"
        prefix: PerLayer[int] = 0
        threshold: PerLayer[float] = 0.0

    def choose(self, before: Source) -> list[Key]:
        network, signed = before.network, signed_outputs(before.network)
        given = [self.params.layers] if isinstance(self.params.layers, str) else self.params.layers
        held = set(before.keys())
        can = []
        for layer in network:
            if not isinstance(layer.op, Conv | Linear) or (layer.name, "filter") not in held:
                continue
            if not _cut_by_relu(network, layer):
                if layer.name in given:
                    raise ConfigError(f"layer {layer.name!r} must have a ReLU behind it, and only that", self.where)
            elif layer.name in given or not signed[layer.inputs[0]]:
                can.append(layer)
        return [(name, "filter") for name in choose(self.params.layers, can, self.where)]

    def apply(self, state: TensorState) -> None:
        prefix, threshold = self.at(state, self.params.prefix), self.at(state, self.params.threshold)
        weights = int(np.prod(state.shape[1:]))
        if not 0 <= prefix <= min(weights, 4096):
            raise ConfigError(f"prefix must be 0 to {min(weights, 4096)}, got {prefix}", state.name)
        quantized = state.quantized
        if quantized is None or quantized.meaning != "affine" or quantized.tables["zero_point"].any():
            raise ConfigError("must be uniform integers without a zero point: quantize first", state.name)
        scale = np.broadcast_to(quantized.tables["scale"].astype(np.float64).reshape(-1), (state.shape[0],))
        options: dict[str, Any] = {"prefix": prefix}
        if prefix:
            options["thresholds"] = (threshold / scale).tolist()
        state.storage = Storage("sign_order", options)
        captured = self.context.numbers(state.layer.name, "ifmap")
        if captured is not None:
            share = self._share(state, captured, prefix, threshold)
            state.notes.append(f"{share:.4f} of its MACs stay with early negatives")

    def _share(self, state: TensorState, ifmap: NDArray[Any], prefix: int, threshold: float) -> float:
        """Part of the MACs that are left, on a sample of captured inputs; biases are taken to be zero."""
        inputs = _sampled(state.layer, np.asarray(ifmap, np.float32))
        assert state.quantized is not None
        rows = state.quantized.codes.reshape(state.shape[0], -1)
        order, counts = sign_order(rows, prefix)
        values = state.values.reshape(rows.shape)
        per_group = state.shape[0] // len(inputs)
        done = 0
        for f in range(len(rows)):
            done += int(macs_until_decided(inputs[f // per_group], values[f], order[f], counts[f], threshold).sum())
        return float(done / (inputs.shape[1] * rows.size))


def macs_until_decided(
    inputs: NDArray[Any], filters: NDArray[Any], order: NDArray[Any], counts: NDArray[Any], threshold: float
) -> NDArray[np.int64]:
    """How many products of each sum are made until its sign is known (zero weights are never multiplied).

    Parameters
    ----------
    inputs : (sums, weights), not negative
    filters : (weights,)
    order, counts
        One row each of `sign_order`.
    threshold : float
        Of the sum of the speculative products: at or below it the sum is taken to be negative (with a prefix).
    """
    nonzeros = int(counts.sum())
    sums = np.cumsum(inputs[:, order[:nonzeros]] * filters[order[:nonzeros]].astype(np.float64), axis=1)
    made = np.full(len(inputs), nonzeros, np.int64)
    first = int(counts[SPECULATIVE] + counts[POSITIVE])
    if counts[NEGATIVE]:
        below = sums[:, first:] < 0
        made = np.where(below.any(1), first + below.argmax(1) + 1, made)
    if counts[SPECULATIVE]:
        ahead = int(counts[SPECULATIVE])
        made = np.where(sums[:, ahead - 1] <= threshold, ahead, made)
    return made


def _cut_by_relu(network: Network, layer: Layer) -> bool:
    last = fused_output(network, layer)
    return isinstance(last.op, Activation) and last.op.mode in ("relu", "relu6")


def _sampled(layer: Layer, ifmap: NDArray[Any]) -> NDArray[Any]:
    """(groups, sums, weights of a filter): what meets the filters, for some of the sums."""
    work = layer.work
    if not isinstance(work, ConvShape):
        rows = ifmap.reshape(-1, ifmap.shape[-1])
        return np.asarray(rows[np.linspace(0, len(rows) - 1, min(WINDOWS, len(rows))).astype(int)][None])
    wanted = operand_shape(layer, "ifmap")
    if wanted is None or ifmap.shape[1:] != wanted[1:]:
        raise ConfigError(f"captured ifmap must be of shape {wanted}, got {ifmap.shape}", layer.name)
    top, left, bottom, right = work.pad
    padded = np.pad(ifmap, ((0, 0), (0, 0), (top, bottom), (left, right)))
    total = len(ifmap) * work.p * work.q
    at = np.linspace(0, total - 1, min(WINDOWS, total)).astype(int)
    image, row, col = np.unravel_index(at, (len(ifmap), work.p, work.q))
    i = row[:, None] * work.stride[0] + np.arange(work.r) * work.dilation[0]
    j = col[:, None] * work.stride[1] + np.arange(work.s) * work.dilation[1]
    found = padded[image[:, None, None], :, i[:, :, None], j[:, None, :]]  # (sums, r, s, c)
    found = found.transpose(0, 3, 1, 2).reshape(len(at), work.g, -1)
    return np.ascontiguousarray(found.transpose(1, 0, 2))
