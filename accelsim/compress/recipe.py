"""Recipes: a validated list of steps, from YAML or from Python.

    name: my_recipe
    source: where it is described
    seed: 0
    steps:
      - {step: uniform, layers: middle, bits: 4}
      - {step: encode, format: csc, index_bits: 4}

A file with nothing but the list of steps is a recipe with the name of the file. A published recipe differs from
network to network: then `networks` has the steps for each (and `steps`, if it is there too, those for all others):

    networks:
      alexnet: {steps: [...]}
      vgg16: {steps: [...]}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.paths import find, shipped_dir
from accelsim.base.registry import normalise
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document, KeyPath, read_yaml
from accelsim.compress.base import STEPS, Context, Source, Step

FOLDER = "workloads/recipes"

StepData = dict[str, Any]


class NetworkSteps(Spec):
    """Steps for one network."""

    steps: list[StepData]
    source: str = ""


class RecipeSpec(Spec):
    """A recipe file."""

    name: str = pydantic.Field(min_length=1, max_length=200)
    source: str = ""
    notes: str = ""
    seed: int = pydantic.Field(default=0, ge=0, lt=2**63)
    steps: list[StepData] | None = None
    networks: dict[str, NetworkSteps] = {}


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: every step exists and its parameters are right by themselves.

    Attributes
    ----------
    name, source, notes : str
    seed : int
    document : Document
        The data with the place of every key.
    """

    name: str
    source: str
    notes: str
    seed: int
    document: Document
    _variants: dict[str, KeyPath] = field(default_factory=dict)

    def path_for(self, network: str) -> KeyPath:
        """Where the steps for a network stand.

        Raises
        ------
        ConfigError
            If there are none; names those that there are.
        """
        for name, path in self._variants.items():
            if name and normalise(name) == normalise(network):
                return path
        if "" in self._variants:
            return self._variants[""]
        raise unknown_name("network for this recipe", network, self._variants, self.document.file)

    def data(self, network: str) -> list[Any]:
        """The steps as plain data, for the header of a trace: first an entry with name, source and seed."""
        about = {"recipe": self.name, "source": self.source, "seed": self.seed}
        steps: list[Any] = _at(self.document.data, self.path_for(network))
        return [about, *steps]

    def steps(self, network: str, context: Context) -> list[Step]:
        """Fresh steps for one run."""
        path, counts, found = self.path_for(network), Counter[str](), []
        for i in range(len(_at(self.document.data, path))):
            kind, params, where = _step(self.document, (*path, i))
            counts[kind.kind] += 1
            label = kind.kind if counts[kind.kind] == 1 else f"{kind.kind}#{counts[kind.kind]}"
            found.append(kind(params, label, where, context))
        return found

    def chain(self, start: Source, context: Context) -> Source:
        """Prepare all steps, in their order, and put them behind one another.

        Raises
        ------
        ConfigError
            What does not fit the network or its tensors, with the place in the recipe.
        """
        source = start
        for step in self.steps(start.network.name, context):
            context.report(f"{step.label}: choosing")
            try:
                chosen = step.choose(source)
                step.check_layers(chosen)
                step.prepare(source, chosen)
                source = step.rebuild(source, chosen)
                context.applied.append((step, chosen))
            except ConfigError as error:
                text = str(error)
                raise (error if text.startswith(self.document.file) else ConfigError(text, step.where)) from None
        return source


def load_recipe(recipe: str | Path | Sequence[Any] | Mapping[str, Any] | Recipe) -> Recipe:
    """A recipe by its name or file, from a mapping as in the file, or from a list of steps (which a file may be, too).

    Raises
    ------
    ConfigError
        Unknown recipe, step or key, or a value that cannot be; file, line and place are named.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, (str, Path)):
        path = find_recipe(recipe)
        document = read_yaml(path)
        return _checked(_named(document, path.stem) if isinstance(document.data, list) else document)
    if isinstance(recipe, Mapping):
        return _checked(Document(dict(recipe), "recipe"))
    return _checked(Document({"name": "unnamed", "steps": list(recipe)}, "recipe"))


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a shipped one."""
    return find(str(name), FOLDER, "recipe", (".yaml", ".yml"))


def list_recipes() -> list[str]:
    """Names of the shipped recipes."""
    folder = shipped_dir("workloads") / "recipes"
    return sorted(p.stem for p in folder.glob("*.yaml"))


def describe_recipes() -> list[tuple[str, list[str], str]]:
    """Name, networks that it is written for (none: any), and source of each shipped recipe; steps are not looked up."""
    found = []
    for name in list_recipes():
        spec = build(RecipeSpec, read_yaml(find_recipe(name)))
        found.append((name, [] if spec.steps is not None else list(spec.networks), spec.source))
    return found


def _named(steps: Document, name: str) -> Document:
    """A list of steps as a recipe; places in the file stay known."""
    marks = {("steps", *path): mark for path, mark in steps.marks.items()}
    return Document({"name": name, "steps": steps.data}, steps.file, {**marks, (): steps.mark(())})


def _checked(document: Document) -> Recipe:
    spec = build(RecipeSpec, document)
    variants: dict[str, KeyPath] = {name: ("networks", name, "steps") for name in spec.networks}
    if spec.steps is not None:
        variants[""] = ("steps",)
    if not variants:
        raise ConfigError("must have `steps` or `networks`", document.file)
    for path in variants.values():
        steps = _at(document.data, path)
        for i in range(len(steps)):
            _step(document, (*path, i))
    return Recipe(spec.name, spec.source, spec.notes, spec.seed, document, variants)


def _step(document: Document, path: KeyPath) -> tuple[type[Step], Any, str]:
    data, where = _at(document.data, path), document.where(path)
    if not isinstance(data, dict) or not isinstance(data.get("step"), str):
        raise ConfigError(f"must be a mapping with a key `step`, got {data!r:.60}", where)
    kind = STEPS.lookup(data["step"], document.where((*path, "step")))
    params = build(kind.Params, document, path, {key: value for key, value in data.items() if key != "step"})
    return kind, params, where


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data
