"""The step that runs the compressed network on real data and compares it with the original.

Weights are those that the operands stand for at this point of the recipe: fake-quantized, masked, multiplied out.
Activations pass through the recipe's own steps for object A on their way into each layer, with the batch of all samples
as one tensor; so a scale is that of the data evaluated. An activation that is only described stays as it is.
"""

from __future__ import annotations

from math import inf, log10, sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Context, Key, Source, Step, StepParams, original, run_step
from accelsim.compress.describe import Describe
from accelsim.compress.sources import DrawnWeights, GivenWeights, TraceWeights
from accelsim.workload.forward import Hook, forward
from accelsim.workload.network import Layer
from accelsim.workload.tensors import default_signed, signed_outputs
from accelsim.workload.trace_format import WEIGHT_ROLES
from accelsim.workload.trained import Samples, load_samples, trained_names

Array = NDArray[Any]

OWN = "own"
AGREES = 1e-3  # relative error up to which our arithmetic and onnxruntime's are the same computation
DRAWN = "drawn at random"  # in the source of a trace whose weights were


@STEPS.register("evaluate")
class Evaluate(Step):
    """Accuracy and output error at this point of the recipe; may stand between steps, more than once.

    `data`: own (of a network with trained weights), digits, or a .npz file with the inputs, and `labels` if known.
    """

    kind: ClassVar[str] = "evaluate"

    class Params(StepParams):
        """See the step."""

        data: str = OWN

    def choose(self, before: Source) -> list[Key]:
        return []

    def prepare(self, before: Source, chosen: list[Key]) -> None:
        self.context.measures.append({"step": self.label, **evaluation(before, self.context, self.params.data)})

    def rebuild(self, before: Source, chosen: list[Key]) -> Source:
        return before


def evaluation(compressed: Source, context: Context, data: str = OWN) -> dict[str, Any]:
    """What the compressed network makes of real data.

    Returns
    -------
    dict
        `data`, `samples`; `accuracy_original` and `accuracy` where there are labels; `agreement`: samples with the same
        answer as before; of all outputs together `relative_error` (||y - y'|| / ||y||), `sqnr_db` and `cosine`;
        `activations`: the steps that they passed through.

    Raises
    ------
    ConfigError
        The weights are not trained ones, the data do not fit, or the network cannot be computed.
    """
    start = context.start
    if start is None or not _real(start):
        name = compressed.network.name
        raise ConfigError(
            f"{name} has no trained weights, so its outputs mean nothing; give an .onnx model or a trace of one, or "
            f"take a network that has some (--weights trained): {', '.join(trained_names())}",
            "evaluate",
        )
    samples = _samples(start, data)
    before = forward(start.network, weights_of(start, start), samples.inputs)
    _check_reference(start, samples, before)
    quantizer = _Activations(compressed, context)
    after = forward(compressed.network, weights_of(compressed, start), samples.inputs, quantizer.hook)
    pairs = list(zip(before.values(), after.values(), strict=False))
    if len(before) != len(after) or any(a.shape != b.shape for a, b in pairs):
        raise ConfigError("the recipe changed the outputs of the network", "evaluate")
    place = list(before).index(samples.scores) if samples.scores else len(before) - 1
    found: dict[str, Any] = {"data": samples.credit, "samples": samples.count}
    answers, now = (_answers(pairs[place][i]) for i in (0, 1))
    if samples.labels is not None:
        found["accuracy_original"] = round(float(np.mean(answers == samples.labels)), 6)
        found["accuracy"] = round(float(np.mean(now == samples.labels)), 6)
    found["agreement"] = round(float(np.mean(answers == now)), 6)
    found.update(_errors([a for a, _ in pairs], [b for _, b in pairs]))
    return {**found, "activations": quantizer.label}


def weights_of(source: Source, start: Source) -> dict[str, dict[str, Array]]:
    """All weights as numbers, and what layers need beside them (of `start`)."""
    found: dict[str, dict[str, Array]] = {}
    if isinstance(start, GivenWeights):
        found = {layer: dict(roles) for layer, roles in start.extras.items()}
    for name, role in source.keys():
        if role in WEIGHT_ROLES[:-2] and source.network[name].kind != "matmul" or role in source.network[name].weights:
            found.setdefault(name, {})[role] = source.load((name, role)).values
    return found


class _Activations:
    """The steps of a recipe that are for activations, as a hook of `forward`."""

    def __init__(self, source: Source, context: Context) -> None:
        self._network = source.network
        self._signed = signed_outputs(source.network)
        self._steps: dict[Key, list[Step]] = {}
        names: dict[str, None] = {}
        for step, chosen in context.applied:
            if step.params.object == "A" and not isinstance(step, Describe):
                names[step.label] = None
                for key in chosen:
                    self._steps.setdefault(key, []).append(step)
        self.label = ", ".join(names) or "float32"

    @property
    def hook(self) -> Hook | None:
        """None if activations stay as they are."""
        return self._changed if self._steps else None

    def _changed(self, layer: Layer, role: str, values: Array) -> Array:
        steps = self._steps.get((layer.name, role))
        if not steps:
            return values
        signed = default_signed(self._network, layer, role, self._signed)
        state = original(layer, role, np.asarray(values, np.float32), signed=signed)
        for step in steps:
            run_step(step, state)
        return state.values


def _real(start: Source) -> bool:
    if isinstance(start, TraceWeights):
        return DRAWN not in start.source
    return not isinstance(start, DrawnWeights)


def _samples(start: Source, data: str) -> Samples:
    if data != OWN:
        return load_samples(data, start.network)
    trained = start.trained if isinstance(start, GivenWeights) else None
    if trained is None:
        raise ConfigError("data must be given for this network: digits or a .npz file", "evaluate")
    return trained.samples()


def _check_reference(start: Source, samples: Samples, ours: dict[str, Array]) -> None:
    """A network does not keep all of an ONNX model: make sure that nothing that matters is lost."""
    trained = start.trained if isinstance(start, GivenWeights) else None
    if trained is None or trained.reference is None:
        return
    for name, wanted in trained.reference(samples.inputs).items():
        if name in ours:
            error = _errors([wanted], [ours[name].reshape(wanted.shape)])["relative_error"]
            if not error <= AGREES:
                what = f"its output {name!r} as computed here differs from onnxruntime's by {error:.2g} relative"
                raise ConfigError(f"cannot be evaluated: {what}", start.network.name)


def _answers(scores: Array) -> Array:
    """The largest element of each sample."""
    return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1))


def _errors(before: list[Array], after: list[Array]) -> dict[str, float]:
    x, y = (np.concatenate([a.reshape(-1) for a in arrays]).astype(np.float64) for arrays in (before, after))
    signal, noise, other = float(x @ x), float((x - y) @ (x - y)), float(y @ y)
    if not np.isfinite(noise):
        raise ConfigError("the compressed network's outputs are not finite", "evaluate")
    product = sqrt(signal * other)
    return {
        "relative_error": float(f"{sqrt(noise / signal) if signal else inf:.6g}"),
        "sqnr_db": round(10 * log10(signal / noise), 3) if noise and signal else inf if not noise else -inf,
        "cosine": round(float(x @ y) / product, 6) if product else 0.0,
    }
