"""Training: gradient descent on the cross entropy, and what each method adds to it.

Deterministic: initial weights and the order of samples come from counters, PyTorch works in one thread. Numbers may
still differ in their last bits between versions of PyTorch and processors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, pi, prod, sqrt
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import Key, Source
from accelsim.compress.quantize.admm import solve
from accelsim.compress.selectors import Selector, choose
from accelsim.compress.sources import GivenWeights
from accelsim.compress.sparsify.grains import GrainName, grain
from accelsim.compress.store import stored
from accelsim.compress.train import penalties
from accelsim.compress.train.data import training_digits
from accelsim.compress.train.project import Projection, nested
from accelsim.compress.train.torch_net import EPSILON, check_trainable, compute, require_torch
from accelsim.workload.forward import forward
from accelsim.workload.network import Network
from accelsim.workload.trace import TraceWriter
from accelsim.workload.trained import digits

Array = NDArray[Any]
Params = dict[Key, Array]

Method = Literal["plain", "masks", "ste", "ssl", "slimming", "admm"]
METHODS: dict[Method, str] = {
    "plain": "the loss alone",
    "masks": "fine-tuning: what the recipe (or the start) has at zero stays there",
    "ste": "the loss is that of the recipe's weights, its gradient is taken as that of the weights behind them",
    "ssl": "group lasso on filters, channels or other grains",
    "slimming": "L1 norm of the scales of batch normalisations, which are folded in the end",
    "admm": "weights drawn towards the recipe's, in rounds",
}
STARTS_FRESH: tuple[Method, ...] = ("plain", "ssl", "slimming")
"""Methods that need no trained weights to start from."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes
    ----------
    method : see `METHODS`
    epochs, batch : int
        Passes over the training samples in all; samples of a step.
    rate : float
        Of the first step; falls to zero along half a cosine.
    seed : int
    recipe : optional
        As for `compress`: what masks, ste and admm project onto.
    penalty : float
        Factor of the group lasso, or of the L1 norm.
    grain, layers
        Of the group lasso; the last layer, whose outputs are the classes, keeps them.
    rho : float
        ADMM's penalty, with (rho / 2) ||W - Z + Y'||^2.
    rounds : int
        Of ADMM, among which the epochs are divided.
    """

    method: Method = "plain"
    epochs: int = 30
    batch: int = 32
    rate: float = 0.05
    seed: int = 0
    recipe: Any = None
    penalty: float = 1e-3
    grain: GrainName = "filter"
    layers: Selector = field(default_factory=lambda: ["*", "!last"])
    rho: float = 0.01
    rounds: int = 10

    def check(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        ConfigError
        """
        if self.method not in get_args(Method):
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}", "train")
        for name in ("epochs", "batch", "rounds"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 100_000:
                raise ConfigError(f"{name} must be 1 to 100000, got {value!r}", "train")
        for name in ("rate", "rho"):
            if not 0 < getattr(self, name) < 1e6:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)!r}", "train")
        if not 0 <= self.penalty < 1e6:
            raise ConfigError(f"penalty must be >= 0, got {self.penalty!r}", "train")
        if self.method in ("ste", "admm") and self.recipe is None:
            raise ConfigError(f"method {self.method} must have a recipe to project weights onto", "train")
        if self.recipe is not None and self.method not in ("masks", "ste", "admm"):
            raise ConfigError(f"method {self.method} takes no recipe; compress with it afterwards", "train")
        if self.method == "admm" and self.epochs < self.rounds:
            raise ConfigError(f"epochs must be at least the {self.rounds} rounds of admm, got {self.epochs}", "train")


@dataclass(frozen=True)
class TrainingResult:
    """Weights (layer -> role -> array), and what they are worth.

    Attributes
    ----------
    losses : list of float
        Mean loss of each epoch.
    accuracy : float
        On the test split, of the recipe's weights where there is a recipe.
    accuracy_train : float
    density : float
        Nonzero weights over weights, likewise; of filters and recurrent matrices.
    """

    network: Network
    weights: dict[str, dict[str, Array]]
    losses: list[float]
    accuracy: float
    accuracy_train: float
    density: float


def train(
    network: Network,
    plan: Plan,
    start: Mapping[str, Mapping[str, Array]] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> TrainingResult:
    """Train on the training split of scikit-learn's digits.

    Parameters
    ----------
    network : Network
        A chain of layers with an input of 64 elements and 10 outputs.
    plan : Plan
    start : mapping, optional
        Weights to start from; None: drawn (He et al. 2015; recurrent ones evenly, to 1 / sqrt(hidden)).
    progress : callable, optional
        `progress(epochs done, epochs in all, text)`.

    Raises
    ------
    ConfigError
        PyTorch or scikit-learn is not installed; the network or the plan cannot be trained; weights that do not fit.
    """
    plan.check()
    torch = require_torch()
    check_trainable(network)
    samples, labels = training_digits(network)
    params = drawn(network, plan.seed) if start is None else _given(network, start)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        loop = _Loop(network, plan, params, samples, labels, progress)
        _METHODS[plan.method](loop)
        final = loop.arrays()
    finally:
        torch.set_num_threads(threads)
    judged = final if plan.recipe is None else Projection(network, plan.recipe, plan.seed)(final)
    test = digits(network)
    accuracy = _accuracy(network, judged, next(iter(test.inputs.values())), test.labels)
    matrices = [w for (_, role), w in judged.items() if role != "bias"]
    density = sum(int(np.count_nonzero(w)) for w in matrices) / sum(w.size for w in matrices)
    return TrainingResult(
        network, nested(final), loop.losses, accuracy, _accuracy(network, judged, samples, labels), density
    )


def drawn(network: Network, seed: int) -> Params:
    """Weights to start from, by layer and role, with biases of zero."""
    found: Params = {}
    for number, layer in enumerate(network):
        rng = np.random.Generator(np.random.Philox(key=(seed << 16) + number))
        for role, dims in layer.weights.items():
            if layer.kind == "recurrent":
                hidden: int = getattr(layer.op, "hidden")
                found[layer.name, role] = (rng.uniform(-1, 1, dims) / sqrt(hidden)).astype(np.float32)
            else:
                found[layer.name, role] = (rng.standard_normal(dims) * sqrt(2 / prod(dims[1:]))).astype(np.float32)
        if layer.weights and getattr(layer.op, "bias"):
            op: Any = layer.op
            dims = op.bias_shape() if layer.kind == "recurrent" else (layer.weights["filter"][0],)
            found[layer.name, "bias"] = np.zeros(dims, np.float32)
    return found


def _given(network: Network, start: Mapping[str, Mapping[str, Array]]) -> Params:
    found = drawn(network, 0)
    for key, array in found.items():
        given = start.get(key[0], {}).get(key[1])
        if given is None or given.shape != array.shape:
            got = "none" if given is None else list(given.shape)
            raise ConfigError(f"must be given in shape {list(array.shape)} to start from, got {got}", "/".join(key))
        found[key] = np.array(given, np.float32)
    return found


def _accuracy(network: Network, params: Params, samples: Array, labels: Array | None) -> float:
    outputs = list(forward(network, nested(params), {network.layers[0].name: samples}).values())[-1]
    return float(np.mean(outputs.reshape(len(samples), -1).argmax(1) == labels))


def weights_of_source(source: Source) -> dict[str, dict[str, Array]]:
    """Weights and biases of a source, to start from."""
    return nested({key: source.load(key).values for key in source.keys() if key[1] in ("filter", "recurrent", "bias")})


def write_weights(found: TrainingResult, out: str | Path, plan: Plan) -> None:
    """The weights as a trace of float32 operands: what `compress` takes as network or weights.

    Raises
    ------
    ConfigError
        The file cannot be written; nothing is left behind.
    """
    network = found.network
    about = f"trained on the digits of scikit-learn ({plan.method}, {plan.epochs} epochs, seed {plan.seed})"
    source = GivenWeights(network, found.weights)
    with TraceWriter(out, network, name=network.name, source=f"{network.source}; weights: {about}") as writer:
        for key in source.keys():
            kept = stored(source.load(key))
            writer.add_spec(kept.spec, kept.payload)


class _Loop:
    """Stochastic gradient descent with momentum 0.9 (Nesterov), gradients cut to norm 5."""

    def __init__(
        self, network: Network, plan: Plan, params: Params, samples: Array, labels: Array,
        progress: Callable[[int, int, str], None] | None,
    ) -> None:  # fmt: skip
        self.torch = torch = require_torch()
        self.network, self.plan, self.progress = network, plan, progress
        self.params: dict[Key, Any] = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
        self.samples, self.labels = torch.from_numpy(np.ascontiguousarray(samples)), torch.from_numpy(labels)
        self.norms: dict[str, dict[str, Any]] = {}
        self.losses: list[float] = []
        self.steps_in_all = plan.epochs * -(-len(labels) // plan.batch)
        self.steps_done = 0
        self.optimizer: Any = None

    def start(self) -> None:
        """Make the optimizer, when all parameters are there."""
        scales = [n[role] for n in self.norms.values() for role in ("gamma", "beta")]
        parameters = [*self.params.values(), *scales]
        self.optimizer = self.torch.optim.SGD(parameters, lr=self.plan.rate, momentum=0.9, nesterov=True)
        self.parameters = parameters

    def arrays(self) -> Params:
        """The weights now."""
        return {key: np.array(p.detach().numpy()) for key, p in self.params.items()}

    def rate(self) -> float:
        """Of the next step."""
        return self.plan.rate * 0.5 * (1 + cos(pi * self.steps_done / self.steps_in_all))

    def epochs(
        self, count: int, *, seen: Callable[[], dict[Key, Any]] | None = None, more: Callable[[], Any] | None = None,
        after: Callable[[float], None] | None = None,
    ) -> None:  # fmt: skip
        """Passes over the data.

        seen : the weights that the network computes with; more : what is added to the loss; after : what is done to
        the weights after each step, given its rate
        """
        torch = self.torch
        if self.optimizer is None:
            self.start()
        for _ in range(count):
            epoch, total = len(self.losses), 0.0
            rng = np.random.Generator(np.random.Philox(key=(self.plan.seed << 32) + epoch))
            order = torch.from_numpy(rng.permutation(len(self.labels)))
            for batch in order.split(self.plan.batch):
                rate = self.rate()
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                params = self.params if seen is None else seen()
                scores = compute(self.network, params, self.samples[batch], self.norms, training=True)
                loss = torch.nn.functional.cross_entropy(scores, self.labels[batch])
                total += float(loss.detach()) * len(batch)
                self.optimizer.zero_grad()
                (loss if more is None else loss + more()).backward()
                torch.nn.utils.clip_grad_norm_(self.parameters, 5.0)
                self.optimizer.step()
                self.steps_done += 1
                if after is not None:
                    with torch.no_grad():
                        after(rate)
            self.losses.append(total / len(self.labels))
            if self.progress is not None:
                self.progress(epoch + 1, self.plan.epochs, f"loss {self.losses[-1]:.4f}")


def _plain(loop: _Loop) -> None:
    loop.epochs(loop.plan.epochs)


def _masks(loop: _Loop) -> None:
    """Han et al., "Learning both weights and connections", NIPS 2015: removed weights stay removed."""
    if loop.plan.recipe is not None:
        for key, array in Projection(loop.network, loop.plan.recipe, loop.plan.seed)(loop.arrays()).items():
            if key[1] != "bias":
                loop.params[key].data[loop.torch.from_numpy(array == 0)] = 0.0
    masks = {key: (p.detach() != 0) for key, p in loop.params.items() if key[1] != "bias"}

    def after(rate: float) -> None:
        for key, mask in masks.items():
            loop.params[key] *= mask

    loop.epochs(loop.plan.epochs, after=after)


def _ste(loop: _Loop) -> None:
    """Straight through: the gradient of the projection is taken to be one (Bengio et al., arXiv:1308.3432, 2013)."""
    project = Projection(loop.network, loop.plan.recipe, loop.plan.seed)

    def seen() -> dict[Key, Any]:
        projected = project(loop.arrays())
        return {key: straight_through(p, loop.torch.from_numpy(projected[key])) for key, p in loop.params.items()}

    loop.epochs(loop.plan.epochs, seen=seen)


def straight_through(weights: Any, projected: Any) -> Any:
    """`projected` going forward, the identity going backward."""
    return weights + (projected - weights).detach()


def _ssl(loop: _Loop) -> None:
    """Group lasso, Wen et al., NIPS 2016: equation (39) of the survey with the network's loss."""
    held = [layer for layer in loop.network if "filter" in layer.weights]
    chosen = choose(loop.plan.layers, held, "train: layers")
    cuts = [((name, "filter"), grain(loop.plan.grain, loop.network[name].weights["filter"])) for name in chosen]

    def after(rate: float) -> None:
        for key, cut in cuts:
            penalties.shrink_groups(loop.params[key].numpy(), cut, rate * loop.plan.penalty)

    loop.epochs(loop.plan.epochs, after=after)


def _slimming(loop: _Loop) -> None:
    """Network slimming, Liu et al., ICCV 2017: channels whose scale becomes zero are not needed."""
    torch = loop.torch
    hidden = [la for la in loop.network if la.kind in ("conv", "linear")][:-1]
    for layer in hidden:
        count = layer.weights["filter"][0]
        loop.norms[layer.name] = {
            "gamma": torch.ones(count, requires_grad=True), "beta": torch.zeros(count, requires_grad=True),
            "mean": torch.zeros(count), "variance": torch.ones(count),
        }  # fmt: skip

    def after(rate: float) -> None:
        for norm in loop.norms.values():
            penalties.shrink(norm["gamma"].detach().numpy(), rate * loop.plan.penalty)

    loop.epochs(loop.plan.epochs, after=after)
    for name, norm in loop.norms.items():
        n = {role: tensor.detach() for role, tensor in norm.items()}
        factor = n["gamma"] / torch.sqrt(n["variance"] + EPSILON)
        weight, bias = loop.params[name, "filter"].data, loop.params[name, "bias"].data
        weight *= factor.reshape(-1, *[1] * (weight.ndim - 1))
        bias.copy_((bias - n["mean"]) * factor + n["beta"])


def _admm(loop: _Loop) -> None:
    """Equation (36) of the survey; the first subproblem by epochs / rounds of gradient descent from where W was.

    Zhang et al., ECCV 2018 (pruning); Leng et al., AAAI 2018 (quantization); Ren et al., ASPLOS 2019 (both).
    """
    plan, torch = loop.plan, loop.torch
    project = Projection(loop.network, plan.recipe, plan.seed)
    keys = [key for key in loop.params if key[1] != "bias"]
    sizes = [loop.params[key].numel() for key in keys]

    def flat(arrays: Mapping[Key, Array]) -> Array:
        return np.concatenate([arrays[key].reshape(-1) for key in keys])

    def apart(vector: Array) -> dict[Key, Array]:
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return {key: part.reshape(loop.params[key].shape) for key, part in zip(keys, parts, strict=True)}

    def onto(vector: Array) -> Array:
        return flat(project(apart(vector)))

    share = iter([plan.epochs // plan.rounds + (i < plan.epochs % plan.rounds) for i in range(plan.rounds)])

    def minimise(target: Array) -> Array:
        targets = {key: torch.from_numpy(np.ascontiguousarray(part)) for key, part in apart(target).items()}
        loop.epochs(
            next(share), more=lambda: plan.rho / 2 * sum(((loop.params[k] - t) ** 2).sum() for k, t in targets.items())
        )
        return flat(loop.arrays())

    solve(minimise, onto, flat(loop.arrays()), plan.rounds)


_METHODS: dict[Method, Callable[[_Loop], None]] = {
    "plain": _plain, "masks": _masks, "ste": _ste, "ssl": _ssl, "slimming": _slimming, "admm": _admm,
}  # fmt: skip
