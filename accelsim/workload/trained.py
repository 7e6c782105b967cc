"""Networks with trained weights, and real data to judge them by: shipped ones, and those that pip brings.

Shipped: LeNet and LSTM on the 8 x 8 digits of scikit-learn, made by `benchmarks/make_trained.py`. By pip: those of
`realdata`, seen here through the importer, so that every operand has a layer and a role.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.paths import shipped_dir
from accelsim.workload.forward import Weights
from accelsim.workload.network import Network

Array = NDArray[Any]

FOLDER = "trained"
SHIPPED = ("lenet_digits", "lstm_digits")
DIGITS = "digits"
MAX_FILE_BYTES = 2**31
Reference = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Inputs -> outputs by layer, computed by whoever made the network (onnxruntime)."""


@dataclass(frozen=True)
class Samples:
    """Real data.

    Attributes
    ----------
    inputs : dict
        Input layer -> array, samples first.
    labels : ndarray of int or None
        The class of each sample, where someone said so.
    scores : str
        The output layer whose largest element is the answer; "": the last output.
    credit : str
        What the data are and whose.
    """

    inputs: dict[str, Array]
    labels: Array | None
    scores: str
    credit: str

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class Trained:
    """A network, its weights as an import gives them, its data, and someone else who can compute it."""

    network: Network
    weights: Weights
    samples: Callable[[], Samples]
    label: str
    reference: Reference | None = None


def trained_names() -> list[str]:
    """Names of all networks whose trained weights are shipped or come with a package."""
    from accelsim.workload.realdata import NETWORKS

    return [*SHIPPED, *NETWORKS]


def trained_network(name: str) -> Trained:
    """The trained network called so.

    Raises
    ------
    ConfigError
        Unknown name, or a package is not installed (says how to install it).
    """
    from accelsim.workload.realdata import NETWORKS

    if name in SHIPPED:
        return _shipped(name)
    if name in NETWORKS:
        from accelsim.workload.trained_real import real_trained

        return real_trained(name)
    raise unknown_name("network with trained weights", name, trained_names())


def has_shipped_weights(name: str, network: Network) -> bool:
    """Whether this is a network whose weights are shipped: by name and by shapes."""
    if name not in SHIPPED or network.name != name:
        return False
    weights = _read(name)
    shapes = {(la.name, role): dims for la in network for role, dims in la.weights.items()}
    return all(role in weights.get(la, {}) and weights[la][role].shape == d for (la, role), d in shapes.items())


def _shipped(name: str) -> Trained:
    from accelsim.workload.load import load_network

    network = load_network(name)
    return Trained(network, _read(name), lambda: digits(network), f"trained on digits (shipped, {name})")


def _read(name: str) -> dict[str, dict[str, Array]]:
    from safetensors.numpy import load_file

    weights: dict[str, dict[str, Array]] = {}
    for key, array in load_file(shipped_dir("workloads") / FOLDER / f"{name}.safetensors").items():
        layer, role = key.rsplit("/", 1)
        weights.setdefault(layer, {})[role] = array
    return weights


def digits(network: Network) -> Samples:
    """The shipped test split of scikit-learn's digits: 360 images that no training has seen.

    Raises
    ------
    ConfigError
        If the network has not one input of 64 elements.
    """
    from safetensors.numpy import load_file

    found = load_file(shipped_dir("workloads") / FOLDER / "digits_test.safetensors")
    layer = _only_input(network, "digits")
    dims = layer[1][1:]
    if prod(dims) != 64:
        raise ConfigError(f"data digits must have a network with 64 input elements, got {list(dims)}", network.name)
    images = (found["images"].astype(np.float32) / 16).reshape(-1, *dims)
    return Samples({layer[0]: images}, found["labels"].astype(np.int64), "", "digits of scikit-learn, test split")


def load_samples(data: str, network: Network) -> Samples:
    """Data by name (digits) or from a .npz file: an array for each input layer, and `labels` if known.

    Raises
    ------
    ConfigError
        Unknown name; a file that cannot be read, lacks an input, or whose arrays do not fit the network.
    """
    if data == DIGITS:
        return digits(network)
    path = Path(data)
    if path.suffix != ".npz":
        raise ConfigError(f"data must be {DIGITS!r} or a .npz file, got {data!r}", "evaluate")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"must be at most {MAX_FILE_BYTES} bytes", data)
        with ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_FILE_BYTES:
                raise ConfigError(f"must hold at most {MAX_FILE_BYTES} bytes of arrays", data)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ConfigError(f"must be a .npz file of numbers: {error}", data) from None
    labels = arrays.pop("labels", None)
    names = [layer.name for layer in network if layer.kind == "input"]
    if len(names) == 1 and len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    if set(arrays) != set(names):
        raise ConfigError(f"must hold the inputs {', '.join(names)} (and labels), got {', '.join(arrays)}", data)
    inputs = {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    for name, array in inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ConfigError(f"input {name!r} holds NaN or infinity", data)
        if array.ndim == 0 or len(array) == 0:
            raise ConfigError(f"input {name!r} has no samples", data)
    count = len(next(iter(inputs.values())))
    if labels is not None and (labels.shape != (count,) or labels.dtype.kind not in "iu"):
        raise ConfigError(f"labels must be {count} integers, got {labels.dtype}{list(labels.shape)}", data)
    return Samples(inputs, labels, "", f"file {path.name}")


def _only_input(network: Network, what: str) -> tuple[str, tuple[int, ...]]:
    found = [(layer.name, layer.out_shape) for layer in network if layer.kind == "input"]
    if len(found) != 1:
        raise ConfigError(f"data {what} must have a network with one input, got {len(found)}", network.name)
    return found[0]
