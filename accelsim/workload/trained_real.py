"""The real networks of `realdata` as layers and roles, with all photographs that are installed as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload import efficientnet
from accelsim.workload.onnx_import import Imported, import_model
from accelsim.workload.onnx_read import require_onnx
from accelsim.workload.onnx_run import Session
from accelsim.workload.photographs import PHOTOGRAPHS, load_photograph, package_file
from accelsim.workload.realdata import real_network
from accelsim.workload.trained import Reference, Samples, Trained

Array = NDArray[Any]

WINDOWS = {"mtcnn_pnet": 12, "mtcnn_rnet": 24, "mtcnn_onet": 48}  # pixels that each of MTCNN's networks looks at
FACES = 100  # of scikit-image's lfw_subset; as many other crops follow


def real_trained(name: str) -> Trained:
    """A real network, ready to be compressed and judged. The proposal network is seen on single windows.

    Raises
    ------
    ConfigError
        Its package, or onnx or onnxruntime, is not installed; says what to install.
    """
    model = real_network(name).open()
    shape = (1, WINDOWS[name], WINDOWS[name], 3) if name in WINDOWS else (1, 3, efficientnet.SIZE, efficientnet.SIZE)
    found = import_model(model, input_shapes={model.proto.graph.input[0].name: shape})
    found.network.name = name
    label = f"trained: {real_network(name).credit}"
    return Trained(found.network, found.weights, lambda: _samples(name, found), label, reference(found))


def reference(found: Imported) -> Reference:
    """Onnxruntime's outputs of an imported model, by layer."""

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        layers = {found.tensors[la.name]: la.name for la in found.network if la.name in found.tensors}
        names = [o.name for o in found.model.proto.graph.output if o.name in layers]
        batch, count = found.network.batch, len(next(iter(inputs.values())))
        session = Session(found.model, found.flat, found.inputs, {k: v[:batch] for k, v in inputs.items()})
        proto = type(session.proto)()
        proto.CopyFrom(session.proto)
        proto.graph.ClearField("output")
        proto.graph.output.extend(require_onnx().ValueInfoProto(name=name) for name in names)
        compiled = session.compiled(proto)
        parts = [compiled({k: v[i : i + batch] for k, v in inputs.items()}, names) for i in range(0, count, batch)]
        return {layers[name]: np.concatenate([part[name] for part in parts]) for name in names}

    return run


def no_samples() -> Samples:
    """Data of a model that a user brings."""
    raise ConfigError("data must be given for this network: digits or a .npz file", "evaluate")


def _samples(name: str, found: Imported) -> Samples:
    entry = next(iter(found.inputs))
    if name in WINDOWS:
        pixels, labels = _faces(WINDOWS[name])
        scores = found.network.consumers  # the class scores are what a softmax made
        softmax = next(la.name for la in found.network if la.kind == "softmax")
        last = next((r for r in scores[softmax] if not scores[r]), softmax)
        return Samples({entry: pixels}, labels, last, "lfw_subset of scikit-image: 100 faces, 100 other crops")
    images, names = [], []
    for photograph in PHOTOGRAPHS:
        try:
            image, _ = load_photograph(photograph)
        except ConfigError:
            continue  # its package is not installed
        images.append(efficientnet.preprocess(image))
        names.append(photograph)
    return Samples({entry: np.concatenate(images)}, None, "", f"photographs {', '.join(names)}")


def _faces(size: int) -> tuple[Array, Array]:
    """Crops as MTCNN wants them: (N, W, H, 3), about -1 to 1."""
    from PIL import Image

    path = package_file("skimage", "data/lfw_subset.npy", "pip install scikit-image")
    crops = np.load(path, allow_pickle=False)
    pixels = [np.asarray(Image.fromarray((crop * 255).astype(np.uint8)).resize((size, size))) for crop in crops]
    batch = (np.stack(pixels).astype(np.float32).transpose(0, 2, 1)[..., None].repeat(3, axis=3) - 127.5) / 128
    return batch.astype(np.float32), (np.arange(len(batch)) < FACES).astype(np.int64)
