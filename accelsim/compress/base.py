"""What a compression step is. To add one, write one file anywhere under `compress/`: see README.md there.

A recipe becomes a chain of sources. Each step takes the source before it and gives the next; a tensor is
loaded through the whole chain, one at a time, when it is written, so memory holds the largest tensor and not
the network. A step that has to see all tensors first (a global threshold) reads them in `prepare`, which
costs one more pass through the steps before it: these are deterministic, so they give the same again.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_origin

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.registry import Registry
from accelsim.base.spec import Spec
from accelsim.compress.selectors import PerLayer, Selector, choose, per_layer
from accelsim.compress.state import FloatArray, TensorState
from accelsim.workload.generator import random_words
from accelsim.workload.network import Layer, Network
from accelsim.workload.trace_format import MATRIX_ROLES, role_shapes

__all__ = ["STEPS", "Context", "Key", "Object", "PerLayer", "Source", "Step", "StepParams", "run_step"]

Key = tuple[str, str]
"""(layer, role)"""

Object = Literal["W", "A", "E", "G", "U", "BN"]
"""The survey's data objects: weights, activations, errors, gradients, updates of weights, and the ranges that a batch
normalisation divides by (Section III-D1)."""

ROLES_OF: dict[str, tuple[str, ...]] = {
    "W": MATRIX_ROLES,
    "A": ("ifmap", "state"),
    "E": ("error",),
    "G": ("gradient",),
    "U": ("update",),
    "BN": ("norm_range",),
}


class _Steps(Registry["type[Step]"]):
    """Steps live in folders by family, at any depth."""

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in sorted(m.name for m in pkgutil.walk_packages(package.__path__, f"{self.package}.")):
            importlib.import_module(module)


STEPS: Registry[type[Step]] = _Steps("compression step", "accelsim.compress")


class StepParams(Spec):
    """Keys that every step has.

    Attributes
    ----------
    layers : selector
        See `selectors`. Default: every layer that has the operand.
    object : W, A, E, G, U or BN
    roles : list of str, optional
        Instead of those that `object` means (W: all matrices; A: ifmap and state).
    """

    layers: Selector = "*"
    object: Object = "W"
    roles: list[str] | None = None


class Source:
    """A network with its operands, produced one by one: the weights as given, or what a step makes of them."""

    @property
    def network(self) -> Network:
        """The network at this point of the recipe."""
        raise NotImplementedError

    def keys(self) -> list[Key]:
        """All operands, in the order of layers and roles."""
        raise NotImplementedError

    def load(self, key: Key) -> TensorState:
        """A fresh state of one operand; the caller may change it. Deterministic: every call gives the same."""
        raise NotImplementedError


@dataclass
class Context:
    """What a step may know beside the tensors.

    Attributes
    ----------
    seed : int
        Of the recipe; `words` mixes it with names.
    captured : mapping
        (layer, role) -> activations, errors or gradients of a real run, float32, batch first. They are
        operands too, unless the recipe has them described; criteria (Taylor, ThiNet) read them by `numbers`.
    report : callable
        `report(text)` shows progress.
    measures : list
        Rows that measuring steps leave for the report: plain data.
    start : Source, optional
        The tensors before any step, for steps that compare.
    applied : list
        (step, the operands chosen for it) of the steps so far.
    """

    seed: int = 0
    captured: Mapping[Key, NDArray[Any]] = field(default_factory=dict)
    report: Callable[[str], None] = lambda text: None
    measures: list[dict[str, Any]] = field(default_factory=list)
    start: Source | None = None
    applied: list[tuple[Step, list[Key]]] = field(default_factory=list)

    def numbers(self, layer: str, role: str) -> NDArray[Any] | None:
        """A captured tensor, or that of the trace the recipe begins with, if it holds its numbers; else None."""
        found = self.captured.get((layer, role))
        if found is None and self.start is not None and (layer, role) in self.start.keys():
            state = self.start.load((layer, role))
            found = None if state.described is not None else state.values
        return found


class Step:
    """Base of all steps. An instance belongs to one place in one recipe.

    A subclass is registered with `@STEPS.register("name")`, has its own `Params(StepParams)` and writes one or
    more of: `apply` (one tensor), `prepare` (look at everything first), `rebuild` (another network).

    Attributes
    ----------
    params : Params
    label : str
        `kmeans`, or `kmeans#2` for the second of its kind in the recipe: the name that seeds its randomness.
    where : str
        Prefix of its errors: file, line and place in the recipe.
    """

    kind: ClassVar[str] = ""
    objects: ClassVar[Sequence[str]] = ("W",)
    whole: ClassVar[bool] = False
    """Takes a decomposed operand as one; otherwise `apply` is called for each of its cores."""

    class Params(StepParams):
        """Keys of the step."""

    def __init__(self, params: Any, label: str, where: str, context: Context) -> None:
        self.params = params
        self.label = label
        self.where = where
        self.context = context
        if params.object not in self.objects:
            allowed = ", ".join(self.objects)
            raise ConfigError(f"object must be one of {allowed} for {self.kind}, got {params.object}", where)

    # --- what a subclass writes ---

    def apply(self, state: TensorState) -> None:
        """Change one tensor through the methods of `TensorState`.

        Called once for every chosen operand (for every core of a decomposed one unless `whole`), in any order,
        possibly more than once with the same input: everything it needs from other tensors must have been
        found in `prepare`.

        Raises
        ------
        ConfigError
            If this tensor cannot take the step; name and place are added by the caller.
        """
        raise NotImplementedError

    def apply_described(self, state: TensorState) -> None:
        """As `apply`, for an operand without values."""
        raise ConfigError("has no values, it is only described", state.name)

    def prepare(self, before: Source, chosen: list[Key]) -> None:
        """Look at operands (`before.load(key)`, one at a time) and remember what `apply` needs."""

    def rebuild(self, before: Source, chosen: list[Key]) -> Source:
        """The source after this step; override to change the network itself (layers, shapes)."""
        return Applied(self, before, chosen)

    def check_layers(self, chosen: list[Key]) -> None:
        """Refuse a parameter that is given per layer and says nothing about a chosen one."""
        for name, item in type(self.params).model_fields.items():
            value = getattr(self.params, name)
            if isinstance(value, dict) and get_origin(item.annotation) in (Union, UnionType):
                for layer in dict.fromkeys(layer for layer, _ in chosen):
                    per_layer(value, layer, f"{self.where}.{name}")

    # --- what it can use ---

    def at(self, state_or_layer: TensorState | Layer | str, value: PerLayer[Any]) -> Any:
        """A parameter that may be given per layer: its value for this one (see `selectors.per_layer`)."""
        layer = state_or_layer.layer if isinstance(state_or_layer, TensorState) else state_or_layer
        return per_layer(value, layer if isinstance(layer, str) else layer.name, self.where)

    def key(self, state: TensorState, purpose: str) -> np.uint64:
        """The key of the stream of random words for this step, tensor and purpose."""
        text = "/".join((str(self.context.seed), self.label, state.name, purpose)).encode()
        digest = hashlib.blake2b(text, digest_size=8, person=b"accelsim.step").digest()
        return np.uint64(int.from_bytes(digest, "little"))

    def words(self, state: TensorState, purpose: str, start: int, count: int) -> NDArray[np.uint64]:
        """64-bit random words `start` to `start + count - 1` of that stream."""
        words: NDArray[np.uint64] = np.empty(count, np.uint64)
        with np.errstate(over="ignore"):
            random_words(words, self.key(state, purpose), np.uint64(start))
        return words

    def choose(self, before: Source) -> list[Key]:
        """The operands that the step's `layers`, `object` and `roles` mean.

        Raises
        ------
        ConfigError
            If a selector matches nothing; lists the layers.
        """
        roles = tuple(self.params.roles or ROLES_OF[self.params.object])
        held = [key for key in before.keys() if key[1] in roles]
        layers = [before.network[name] for name in dict.fromkeys(layer for layer, _ in held)]
        names = set(choose(self.params.layers, layers, self.where))
        return [key for key in held if key[0] in names]


class Applied(Source):
    """A source with one step applied to the chosen operands."""

    def __init__(self, step: Step, before: Source, chosen: list[Key]) -> None:
        self._step, self._before, self._chosen = step, before, set(chosen)

    @property
    def network(self) -> Network:
        return self._before.network

    def keys(self) -> list[Key]:
        return self._before.keys()

    def load(self, key: Key) -> TensorState:
        state = self._before.load(key)
        if key in self._chosen:
            run_step(self._step, state)
        return state


def run_step(step: Step, state: TensorState) -> None:
    """Apply a step to an operand, or to its cores.

    Raises
    ------
    ConfigError
        With the step's place and the operand's name before what is wrong.
    """
    try:
        if state.described is not None:
            step.apply_described(state)
        elif step.whole:
            step.apply(state)
        else:
            for leaf in state.leaves():
                step.apply(leaf)
    except ConfigError as error:
        text = str(error)
        place = f"{step.where}: {step.kind}"
        where = place if text.startswith(state.name) else f"{place}: {state.name}"
        raise (error if text.startswith(step.where) else ConfigError(text, where)) from None


def operand_shape(layer: Layer, role: str) -> tuple[int, ...] | None:
    """The shape of an operand of a layer, None if it has none."""
    shapes = role_shapes(layer, role)
    return shapes[0] if shapes else None


def original(layer: Layer, role: str, values: FloatArray, *, signed: bool = True) -> TensorState:
    """The state from which an operand starts: float32, C order, read-only."""
    values = np.ascontiguousarray(values, np.float32).view()
    values.flags.writeable = False
    return TensorState(layer, role, tuple(values.shape), values, signed=signed)
