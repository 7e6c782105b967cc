"""Training for compression: each method does what its definition says. Skipped where PyTorch is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.cli import main
from accelsim.compress import compress
from accelsim.compress.sparsify.grains import grain
from accelsim.compress.train.penalties import group_lasso, group_norms, l1, shrink, shrink_groups
from accelsim.compress.train.project import Projection
from accelsim.compress.train.run import METHODS, Plan, TrainingResult, drawn, train
from accelsim.compress.train.torch_net import EPSILON, check_trainable, compute
from accelsim.workload import ops
from accelsim.workload.forward import forward
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.trained import trained_network

PRUNED = [{"step": "prune", "density": 0.2}]
RNG = np.random.default_rng(11)


def small() -> Network:
    """A classifier of digits that trains in a second."""
    nodes = [
        Node("image", ops.Input((1, 1, 8, 8))),
        Node("conv", ops.Conv(6, 3, stride=2), ("image",)),
        Node("relu", ops.Activation("relu"), ("conv",)),
        Node("flat", ops.Reshape((0, -1)), ("relu",)),
        Node("fc1", ops.Linear(16), ("flat",)),
        Node("relu2", ops.Activation("relu"), ("fc1",)),
        Node("fc2", ops.Linear(10), ("relu2",)),
    ]
    return Network("small", nodes)


# --- without PyTorch ---


def test_eq39_group_lasso() -> None:
    """The sum over filters of the roots of the sums of squares."""
    w = RNG.normal(size=(4, 3, 3, 3))
    cut = grain("filter", w.shape)
    want = sum(np.sqrt(sum(v * v for v in filters.reshape(-1))) for filters in w)
    assert group_lasso([(w, cut), (w, cut)]) == pytest.approx(2 * want)
    assert group_norms(w, grain("channel", w.shape)).shape == (1, 3, 1, 1)


def test_shrinking_solves_the_proximal_problem() -> None:
    """argmin over v of |v - w|**2 / 2 + t |v|: no point nearby is better; small groups are zero."""
    w = RNG.normal(size=(5, 7)).astype(np.float64)
    w[2] *= 0.05
    cut, t = grain("filter", w.shape), 0.4
    v = w.copy()
    shrink_groups(v, cut, t)
    assert not v[2].any() and v[[0, 1, 3, 4]].any(1).all()

    def cost(x: Any) -> float:
        return float(np.sum((x - w) ** 2) / 2 + t * group_lasso([(x, cut)]))

    for _ in range(50):
        assert cost(v) <= cost(v + 1e-3 * RNG.normal(size=v.shape)) + 1e-12


def test_the_l1_norm_and_its_shrinking() -> None:
    scales = np.array([0.5, -0.02, 0.03, -1.0])
    assert l1([scales, scales]) == pytest.approx(3.1)
    shrink(scales, 0.1)
    np.testing.assert_allclose(scales, [0.4, 0, 0, -0.9])


def test_a_recipe_as_projection() -> None:
    network = small()
    weights = drawn(network, 1)
    projected = Projection(network, PRUNED)(weights)
    for key, array in weights.items():
        if key[1] == "bias":
            assert np.array_equal(projected[key], array)
        else:
            kept = projected[key] != 0
            assert kept.sum() == round(0.2 * array.size) and np.array_equal(projected[key][kept], array[kept])
            assert np.abs(array[kept]).min() >= np.abs(array[~kept]).max()
    again = Projection(network, PRUNED)(projected)
    assert all(np.array_equal(again[key], projected[key]) for key in weights)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"method": "magic"}, r"train: method must be one of plain, masks, .*, got 'magic'"),
        ({"epochs": 0}, r"epochs must be 1 to 100000, got 0"),
        ({"rate": -1.0}, r"rate must be > 0, got -1\.0"),
        ({"penalty": -1.0}, r"penalty must be >= 0"),
        ({"method": "ste"}, r"method ste must have a recipe to project weights onto"),
        ({"method": "ssl", "recipe": PRUNED}, r"method ssl takes no recipe"),
        ({"method": "admm", "recipe": PRUNED, "epochs": 3}, r"epochs must be at least the 10 rounds of admm, got 3"),
    ],
)
def test_plans_that_cannot_be(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan(**plan).check()


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node("a", ops.Conv(2, 3), ("x",)), Node("b", ops.Eltwise("add"), ("a", "a"))], r"n: b: can only be trained"),
        ([Node("a", ops.Norm("batch"), ("x",))], r"n: a: must be one of input, conv, .* to be trained, got norm"),
        ([Node("a", ops.Pool("max", 3, 2, 1), ("x",))], r"n: a: must have neither padding nor ceil to be trained"),
        ([Node("a", ops.Activation("gelu"), ("x",))], r"n: a: mode must be relu, .*, got gelu"),
    ],
)
def test_networks_that_cannot_be_trained(nodes: list[Node], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_trainable(Network("n", [Node("x", ops.Input((1, 1, 8, 8))), *nodes]))


def test_without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"training needs the torch package: pip install 'accelsim\[train\]'"):
        train(small(), Plan(epochs=1))
    assert main(["train", "lenet_digits", "-o", str(tmp_path / "a.trace")]) == 2
    assert "pip install 'accelsim[train]'" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert main(["train", "lenet_digits", "-o", "a.onnx"]) == 2
    assert "must end in .trace" in capsys.readouterr().err


# --- with it ---


def trained(**plan: Any) -> TrainingResult:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    given = plan.pop("start", None)
    return train(small(), Plan(**{"epochs": 6, "batch": 64, **plan}), given)


def test_torch_computes_what_numpy_computes() -> None:
    torch = pytest.importorskip("torch")
    for network in (small(), load_network("lstm_digits"), load_network("lenet_digits")):
        params = {key: array + np.float32(0.1) for key, array in drawn(network, 3).items()}
        x = RNG.random((5, *network.layers[0].out_shape[1:])).astype(np.float32)
        weights: dict[str, dict[str, Any]] = {}
        for (layer, role), array in params.items():
            weights.setdefault(layer, {})[role] = array
        want = list(forward(network, weights, {network.layers[0].name: x}).values())[-1].reshape(5, -1)
        got = compute(network, {key: torch.tensor(a) for key, a in params.items()}, torch.tensor(x))
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)


def test_it_learns_and_the_same_seed_gives_the_same_weights() -> None:
    first, again, other = trained(seed=1), trained(seed=1), trained(seed=2)
    assert first.accuracy > 0.85 and first.losses[-1] < first.losses[0] / 3
    for layer, roles in first.weights.items():
        for role, array in roles.items():
            assert np.array_equal(array, again.weights[layer][role])
    assert not np.array_equal(first.weights["fc1"]["filter"], other.weights["fc1"]["filter"])


def test_masks_keep_zeros() -> None:
    first = trained()
    pruned = compress_weights(first)
    tuned = trained(method="masks", recipe=PRUNED, start=first.weights, epochs=4)
    for layer, roles in tuned.weights.items():
        assert not roles["filter"][pruned[layer, "filter"] == 0].any()
        assert not np.array_equal(roles["filter"], pruned[layer, "filter"])
    assert tuned.density == pytest.approx(0.2, abs=0.01)
    before = accuracy(first, pruned)
    assert tuned.accuracy > before + 0.1  # what retraining is for


def compress_weights(found: TrainingResult) -> dict[Any, Any]:
    flat = {(layer, role): a for layer, roles in found.weights.items() for role, a in roles.items()}
    return Projection(found.network, PRUNED)(flat)


def accuracy(found: TrainingResult, params: dict[Any, Any]) -> float:
    from accelsim.compress.train.run import _accuracy
    from accelsim.workload.trained import digits

    data = digits(found.network)
    return _accuracy(found.network, params, data.inputs["image"], data.labels)


def test_straight_through_is_the_projection_forward_and_the_identity_backward() -> None:
    torch = pytest.importorskip("torch")
    from accelsim.compress.train.run import straight_through

    w = torch.tensor([0.3, -0.7, 1.2], requires_grad=True)
    q = torch.tensor([0.5, -0.5, 1.0])
    seen = straight_through(w, q)
    np.testing.assert_allclose(seen.detach().numpy(), q.numpy())
    (seen**2).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * q.numpy())  # d(q**2)/dq, passed on to w


def test_quantization_aware_training_beats_quantization_after() -> None:
    first, recipe = trained(epochs=10), [{"step": "ternary", "mode": "twn", "granularity": "channel"}]
    flat = {(layer, role): a for layer, roles in first.weights.items() for role, a in roles.items()}
    after = accuracy(first, Projection(first.network, recipe)(flat))
    aware = trained(method="ste", recipe=recipe, start=first.weights, epochs=5, rate=0.02)
    assert aware.accuracy > after and aware.accuracy > 0.85
    assert len(np.unique(aware.weights["fc1"]["filter"])) > 3  # the weights behind are not ternary


def test_ssl_removes_whole_filters_the_more_the_larger_the_penalty() -> None:
    left = []
    for penalty in (0.0, 1.0, 50.0):
        found = trained(method="ssl", penalty=penalty, epochs=8)
        alive = [int(found.weights[la]["filter"].reshape(len(w), -1).any(1).sum()) for la, w in
                 ((la, found.weights[la]["filter"]) for la in ("conv", "fc1"))]  # fmt: skip
        left.append(sum(alive))
        assert found.weights["fc2"]["filter"].any(1).all()  # the classes keep theirs
    assert left[0] == 22 and left[0] > left[1] > left[2] == 0


def test_slimming_zeroes_channels_and_folds_the_normalisation() -> None:
    torch = pytest.importorskip("torch")
    from accelsim.compress.train import run
    from accelsim.compress.train.data import training_digits

    pytest.importorskip("sklearn")
    torch.set_num_threads(1)
    network, plan = small(), Plan("slimming", 3, 64, penalty=2.0)
    samples, labels = training_digits(network)
    loop = run._Loop(network, plan, drawn(network, 0), samples, labels, None)
    raw: dict[str, Any] = {}
    normal_epochs = loop.epochs

    def epochs(count: int, **more: Any) -> None:
        normal_epochs(count, **more)
        raw.update({key: p.detach().clone() for key, p in loop.params.items()})  # before the folding

    loop.epochs = epochs  # type: ignore[method-assign]
    run._slimming(loop)
    x = torch.from_numpy(samples[:20])
    with torch.no_grad():
        want = compute(network, raw, x, loop.norms)
        got = compute(network, loop.params, x)
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-3, atol=1e-4)
    gone = {name: (norm["gamma"] == 0).numpy() for name, norm in loop.norms.items()}
    assert sum(g.sum() for g in gone.values()) > 0
    for name, mask in gone.items():
        rows = loop.arrays()[name, "filter"].reshape(len(mask), -1)
        assert np.array_equal(~rows.any(1), mask)
    assert EPSILON == 1e-5


def test_admm_draws_weights_to_the_constraint() -> None:
    first = trained(epochs=8)
    far = distance(first)
    near = trained(method="admm", recipe=PRUNED, start=first.weights, epochs=10, rounds=10, rho=0.2, rate=0.05)
    assert distance(near) < far / 2
    assert near.density == pytest.approx(0.2, abs=0.01)
    assert near.accuracy > accuracy(first, compress_weights(first))


def distance(found: TrainingResult) -> float:
    """From the weights to the nearest pruned ones."""
    pruned = compress_weights(found)
    return float(np.sqrt(sum(
        np.sum((a - pruned[layer, role]) ** 2) for layer, roles in found.weights.items() for role, a in roles.items()
    )))  # fmt: skip


def test_the_command_writes_what_compress_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    recipe, out = tmp_path / "pruned.yaml", tmp_path / "a.trace"
    recipe.write_text("name: pruned\nsteps:\n  - {step: prune, density: 0.3}\n")
    arguments = ["train", "lenet_digits", str(recipe), "-o", str(out), "--method", "masks", "--epochs", "1"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "accuracy 0.9" in said.out and "density 0.300" in said.out and f"wrote {out}" in said.err
    measured = compress(out, None, str(recipe), None, evaluate="digits").measures[0]
    assert measured["accuracy"] > 0.9 and measured["accuracy"] == measured["accuracy_original"]
    assert main(["train", "lenet5", str(recipe), "-o", str(out), "--method", "masks"]) == 2
    assert "method masks must start from trained weights" in capsys.readouterr().err
    assert main(["train", "lenet5", "-o", str(out)]) == 2
    assert "must have one input of 64 elements and 10 outputs" in capsys.readouterr().err


def test_the_shipped_weights_are_a_start() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    found = trained_network("lenet_digits")
    one = train(found.network, Plan("masks", 1, rate=1e-6), found.weights)
    assert one.accuracy == pytest.approx(355 / 360) and set(METHODS) >= {"ste", "admm"}
    with pytest.raises(ConfigError, match=r"conv1/filter: must be given in shape \[16, 1, 3, 3\] .*, got none"):
        train(found.network, Plan(epochs=1), {})
