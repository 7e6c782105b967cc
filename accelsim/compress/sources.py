"""Where the numbers come from: an ONNX model, arrays, a trace, or a named random distribution.

A network that is shipped has shapes and no weights. `DrawnWeights` draws them: reproducible, element by element,
from the layer's name, with the spread that trained layers of that size start from. Such numbers are good for
sizes, densities, speeds and cycles; they say nothing about accuracy, and the report says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod, sqrt
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.kernels import kernel
from accelsim.compress.base import Context, Key, Source, original
from accelsim.compress.state import TensorState, affine_values
from accelsim.workload.generator import GeneratorSpec, _key, generate, random_words
from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Norm
from accelsim.workload.tensors import default_signed, signed_outputs
from accelsim.workload.trace import Trace
from accelsim.workload.trace_format import ROLES, role_shapes
from accelsim.workload.trained import Trained, has_shipped_weights, trained_network

Distribution = Literal["laplace", "gaussian", "uniform"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("laplace", "gaussian", "uniform")

Weights = Mapping[str, Mapping[str, NDArray[Any]]]

_CHUNK = 1 << 16
_MAGNITUDE_BITS = 11  # of the table from which magnitudes are drawn; random bits below fill in between


class GivenWeights(Source):
    """Weights that are there as arrays: layer -> role -> array, as the ONNX importer gives them.

    Where they hold a batch normalisation that is folded into the layer before it (`gamma`, `beta`, `mean`, `variance`,
    `epsilon` of a layer of that kind), filter and bias are those after the folding.

    Raises
    ------
    ConfigError
        If an array does not fit its layer, or holds NaN or infinity (names the tensor and says how many).
    """

    def __init__(
        self, network: Network, weights: Weights, label: str = "given arrays", trained: Trained | None = None
    ) -> None:
        self._network, self._weights, self.label, self.trained = network, weights, label, trained
        for layer in weights:
            if layer not in network:
                raise unknown_name("layer", layer, (item.name for item in network), "weights")
        self._normed = {la.name for la in network if "filter" in weights.get(la.name, {}) and self._norm(la)}
        self._keys = [(la.name, r) for la in network for r in ROLES if self._has(la.name, r)]
        for name, role in self._keys:
            if role in weights[name]:
                _check_shape(network[name], role, np.shape(weights[name][role]))

    @property
    def extras(self) -> dict[str, dict[str, NDArray[Any]]]:
        """What layers compute with beside operands: slopes, and normalisations that are not folded."""
        folded = {self._network.consumers[name][0] for name in self._normed}
        return {
            layer: {role: np.asarray(a) for role, a in roles.items() if role not in ROLES}
            for layer, roles in self._weights.items()
            if layer not in folded
        }

    def _has(self, layer: str, role: str) -> bool:
        return role in self._weights.get(layer, {}) or (role == "bias" and layer in self._normed)

    def _norm(self, layer: Layer) -> bool:
        """Whether a batch normalisation, whose numbers we have, is folded into this layer."""
        readers = self._network.consumers[layer.name]
        norm = self._network[readers[0]] if len(readers) == 1 else layer
        folded = isinstance(norm.op, Norm) and norm.op.mode == "batch" and norm.work is None
        return folded and "gamma" in self._weights.get(norm.name, {})

    @property
    def network(self) -> Network:
        return self._network

    def keys(self) -> list[Key]:
        return list(self._keys)

    def load(self, key: Key) -> TensorState:
        name, role = key
        array = self._weights[name].get(role)
        if name in self._normed and role in ("filter", "bias"):
            from accelsim.workload.capture import with_norm

            filters, bias = with_norm(self._network, self._network[name], self._weights[name], self._weights)
            array = filters if role == "filter" else bias
        array = np.ascontiguousarray(array, np.float32)
        check_finite(array, f"{name}/{role}")
        return original(self._network[name], role, array)


class TraceWeights(Source):
    """All operands of a trace, as the real numbers that they stand for."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self.label, self.source = trace, f"trace {trace.name}", trace.source
        self._keys = [(operand.layer, operand.role) for operand in trace]

    @property
    def network(self) -> Network:
        return self._trace.network

    def keys(self) -> list[Key]:
        return list(self._keys)

    def load(self, key: Key) -> TensorState:
        operand = self._trace.operand(*key)
        assert operand is not None
        layer = self._trace.network[key[0]]
        if operand.generator is not None:
            return TensorState(layer, key[1], operand.shape, None, signed=operand.signed, described=operand.generator)
        values = operand.values()
        if not operand.floating:
            values = affine_values(values, np.asarray(operand.scale, np.float32), np.asarray(operand.zero_point))
        return original(layer, key[1], values, signed=operand.signed)


class DrawnWeights(Source):
    """Weights drawn at random for every layer that has some.

    Standard deviation sqrt(2 / fan-in), that of He et al., "Delving Deep into Rectifiers", ICCV 2015, equation
    10; magnitudes up to eight times that (`uniform`: up to sqrt(3) times). Element i of a tensor depends on
    seed, network, layer, role and i only, and only integer arithmetic and one float32 product decide it.
    """

    def __init__(self, network: Network, distribution: str = "laplace", seed: int = 0) -> None:
        if distribution not in DISTRIBUTIONS:
            raise unknown_name("weight distribution", distribution, DISTRIBUTIONS, "weights")
        self._network, self._seed = network, seed
        self._distribution: Any = distribution
        self.label = f"drawn at random ({distribution}, seed {seed}): no trained weights"
        self._keys = [(la.name, r) for la in network for r in la.weights]

    @property
    def network(self) -> Network:
        return self._network

    def keys(self) -> list[Key]:
        return list(self._keys)

    def load(self, key: Key) -> TensorState:
        layer = self._network[key[0]]
        shape = layer.weights[key[1]]
        out = np.empty(prod(shape), np.float32)
        stream = f"weights/{self._network.name}/{key[0]}/{key[1]}"
        spec = GeneratorSpec(
            seed=self._seed, stream=stream, bits=_MAGNITUDE_BITS + 1, distribution=self._distribution, std=0.125
        )
        # in units of 2**-12 of a table entry; the uniform one has its largest magnitude at sqrt(3) deviations
        span = sqrt(3) if self._distribution == "uniform" else 8
        unit = np.float32(sqrt(2 / prod(shape[1:])) * span / 2**_MAGNITUDE_BITS / 4096)
        seed = _key(self._seed, stream, "fraction")
        words = np.empty(min(out.size, _CHUNK), np.uint64)
        for at in range(0, out.size, _CHUNK):
            part = out[at : at + _CHUNK]
            with np.errstate(over="ignore"):
                random_words(words[: part.size], seed, np.uint64(at))
                smooth(generate(spec, at, part.size), words, unit, part)
        return original(layer, key[1], out.reshape(shape))


class WithOperands(Source):
    """A source with more operands beside its own: captured activations, errors, gradients.

    A tensor of another batch than the network's is no operand; criteria may read it all the same.
    """

    def __init__(self, before: Source, context: Context) -> None:
        self._before, self._captured = before, context.captured
        network = before.network
        self._signed = signed_outputs(network)
        for name, role in self._captured:
            if name not in network:
                raise unknown_name("layer", name, (item.name for item in network), "activations")
            _check_shape(network[name], role, np.shape(self._captured[name, role]), any_batch=True)

    @property
    def network(self) -> Network:
        return self._before.network

    def keys(self) -> list[Key]:
        network, captured = self.network, self._captured
        own = [key for key in captured if np.shape(captured[key]) in role_shapes(network[key[0]], key[1])]
        return in_order(network, [*self._before.keys(), *own])

    def load(self, key: Key) -> TensorState:
        if key not in self._captured:
            return self._before.load(key)
        layer = self.network[key[0]]
        array = np.asarray(self._captured[key], np.float32)
        check_finite(array, "/".join(key))
        return original(layer, key[1], array, signed=default_signed(self.network, layer, key[1], self._signed))


def weight_source(network: Network, weights: Any, seed: int = 0) -> Source:
    """What `weights` of `compress` may be: a Source, arrays, a Trace or its path, an .onnx path, `trained`, a
    distribution; None: the weights that are shipped with this network, else drawn ones.
    """
    if isinstance(weights, Source):
        return weights
    if isinstance(weights, Mapping):
        return GivenWeights(network, weights)
    if isinstance(weights, Trace):
        return TraceWeights(weights)
    if weights in ("trained", None) and has_shipped_weights(network.name, network):
        found = trained_network(network.name)
        return GivenWeights(network, found.weights, found.label, found)  # with this network's batch
    if weights == "trained":
        return trained_weights(network.name)
    if weights is None:
        return DrawnWeights(network, "laplace", seed)
    path = Path(str(weights))
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.suffix == ".trace":
        return TraceWeights(Trace.open(path))
    return DrawnWeights(network, str(weights), seed)


def trained_weights(name: str) -> GivenWeights:
    """The trained weights of a network, shipped or from a package.

    Raises
    ------
    ConfigError
        There are none of that name, or the package is not installed.
    """
    found = trained_network(name)
    return GivenWeights(found.network, found.weights, found.label, found)


def _onnx(path: Path) -> GivenWeights:
    from accelsim.workload.onnx_import import import_model
    from accelsim.workload.onnx_read import read_model
    from accelsim.workload.trained_real import no_samples, reference

    found = import_model(read_model(path))
    label = f"ONNX model {path.name}"
    trained = Trained(found.network, found.weights, no_samples, label, reference(found))
    return GivenWeights(found.network, found.weights, label, trained)


def check_same_filters(network: Network, source: Source, where: str) -> None:
    """Refuse a source whose filters have not this network's shapes, whatever layers are called and in what order.

    Raises
    ------
    ConfigError
        Another network's weights would silently be compressed in place of the one that was named.
    """
    own, other = (
        Counter(layer.weights["filter"] for layer in one if "filter" in layer.weights)
        for one in (network, source.network)
    )
    if own != other:
        lacks, has = (" x ".join(map(str, min(some, default=()))) or "none" for some in (own - other, other - own))
        what = f"must hold the weights of {network.name}, got those of {source.network.name}"
        raise ConfigError(f"{what} (filters of one alone: {lacks}; of the other: {has})", where)


def in_order(network: Network, keys: Any) -> list[Key]:
    """Keys by layer and role, each once."""
    wanted = set(keys)
    return [(layer.name, role) for layer in network for role in ROLES if (layer.name, role) in wanted]


def check_finite(array: NDArray[Any], name: str) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    ConfigError
        With the tensor's name and the number of such elements.
    """
    flat = array.reshape(-1)
    for at in range(0, flat.size, 1 << 20):
        part = flat[at : at + (1 << 20)]
        if not np.isfinite(part).all():
            count = sum(int((~np.isfinite(flat[i : i + (1 << 20)])).sum()) for i in range(at, flat.size, 1 << 20))
            raise ConfigError(f"weights must be finite, but {count} of {flat.size} are NaN or infinite", name)


def _check_shape(layer: Layer, role: str, shape: tuple[int, ...], any_batch: bool = False) -> None:
    if role not in ROLES:
        raise unknown_name("role", role, ROLES, f"weights of {layer.name}")
    allowed = role_shapes(layer, role)
    if shape not in allowed and not (any_batch and any(dims[1:] == shape[1:] for dims in allowed)):
        listed = " or ".join(str(list(dims)) for dims in allowed) or "absent"
        raise ConfigError(f"shape must be {listed}, got {list(shape)}", f"{layer.name}/{role}")


@kernel
def smooth(magnitudes, words, unit, out):  # type: ignore[no-untyped-def]
    """out = sign * (|magnitude| - 1 + fraction) * 4096 unit: the 12 low bits of a word fill the gaps of a table."""
    half = unit * np.float32(0.5)
    for i in range(out.size):
        m = np.int32(magnitudes[i])
        sign = np.int32(m >> np.int32(31)) | np.int32(1)  # -1 or 1; 32-bit integers become floats in vector code
        fine = np.int32((m * sign - np.int32(1)) << np.int32(12)) | np.int32(words[i] & np.uint64(4095))
        out[i] = np.float32(np.int32(sign * ((fine << np.int32(1)) | np.int32(1)))) * half


@smooth.warms_up_with
def _smooth_example() -> tuple[Any, ...]:
    return np.ones(4, np.int16), np.zeros(4, np.uint64), np.float32(1), np.zeros(4, np.float32)
