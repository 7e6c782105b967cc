"""Traces of a sweep: each combination of workload, recipe and options is made once, and kept beside the store.

Workers only ever open files, which they map into memory: processes on one machine share the pages, and a cluster
needs a file system that its workers see.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.base.paths import find
from accelsim.sweep.model import front_end_version
from accelsim.workload.load import FOLDER, SUFFIXES
from accelsim.workload.trace import Trace

Say = Callable[[str], None]

WITH_RECIPE = ("batch", "variables", "weights", "seed")
"""Options that a workload with a recipe can have; without one all of `accelsim.api.open_workload`."""

_TRACE = ".trace"
_MEASURES = ".measures.json"


@dataclass(frozen=True)
class Prepared:
    """A trace as workers open it."""

    path: str
    content_hash: str


class Traces:
    """Makes traces in a folder, or finds them there from an earlier run.

    Parameters
    ----------
    folder : Path
        Made when it is first needed.
    say : callable, optional
        Told what is being done.
    """

    def __init__(self, folder: Path, say: Say | None = None) -> None:
        self.folder = folder
        self.made = 0
        self._say = say or (lambda _: None)
        self._found: dict[str, Prepared] = {}
        self._accuracies: dict[str, float] = {}

    def of(self, workload: str, recipe: str, options: Mapping[str, Any]) -> Prepared:
        """The trace of a workload under a recipe ("" for none).

        Raises
        ------
        ConfigError
            Whatever is wrong with one of them.
        """
        key = json.dumps([workload, recipe, dict(options)], sort_keys=True)
        if key not in self._found:
            self._found[key] = self._prepare(workload, recipe, dict(options))
        return self._found[key]

    def accuracy(self, workload: str, recipe: str, options: Mapping[str, Any], data: str) -> float:
        """What a network reaches under a recipe ("": as it is) on data as in the step `evaluate`; measured once.

        Raises
        ------
        ConfigError
            The network has no trained weights, the data do not fit, or nobody said which answers are right.
        """
        chosen = {name: options[name] for name in ("weights", "seed") if name in options}
        key = json.dumps([workload, recipe, chosen, data], sort_keys=True)
        if key not in self._accuracies:
            self._accuracies[key] = self._measured(workload, recipe, chosen, data)
        return self._accuracies[key]

    def _measured(self, workload: str, recipe: str, options: dict[str, Any], data: str) -> float:
        from accelsim.compress.run import measure
        from accelsim.report.places import make_directory, write_text

        path = find(workload, FOLDER, "workload", (*SUFFIXES, _TRACE))
        place = self.folder / f"{path.stem}-{self._key(path, recipe, options, data)}{_MEASURES}"
        if not place.is_file():
            self._say(f"evaluating {workload}" + (f", {recipe}" if recipe else ""))
            given = path if path.suffix in (_TRACE, ".onnx") else workload
            found = measure(given, options.get("weights"), recipe or [], data, seed=options.get("seed"))
            make_directory(self.folder)
            write_text(place, json.dumps(found) + "\n")
        measures = json.loads(place.read_text())
        if "accuracy" not in measures:
            what = f"there is no accuracy without labels, which these data lack: {measures['data']}"
            raise ConfigError(what, "evaluate")
        return float(measures["accuracy"])

    def _prepare(self, workload: str, recipe: str, options: dict[str, Any]) -> Prepared:
        path = find(workload, FOLDER, "workload", (*SUFFIXES, _TRACE))
        if path.suffix == _TRACE and not recipe:
            if options:
                given = ", ".join(options)
                what = f"a trace holds its own shapes and operands; {given} can be chosen for networks only"
                raise ConfigError(what, str(path))
            return Prepared(str(path.resolve()), Trace.open(path).content_hash)
        out = self.folder / f"{path.stem}-{self._key(path, recipe, options)}{_TRACE}"
        if not out.is_file():
            self._say(f"preparing {workload}" + (f", {recipe}" if recipe else ""))
            self._make(path, recipe, options, out)
            self.made += 1
        return Prepared(str(out.resolve()), Trace.open(out).content_hash)

    def _key(self, path: Path, recipe: str, options: Mapping[str, Any], data: str = "") -> str:
        digest = hashlib.blake2b(digest_size=8)
        files = [path]
        if recipe:
            from accelsim.compress.recipe import find_recipe

            files.append(find_recipe(recipe))
        weights = options.get("weights")
        files += [Path(name) for name in (weights, data) if isinstance(name, str) and Path(name).is_file()]
        version = [front_end_version(), dict(options), *([data] if data else [])]
        digest.update(json.dumps(version, sort_keys=True).encode())
        for file in files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
        return digest.hexdigest()

    def _make(self, path: Path, recipe: str, options: dict[str, Any], out: Path) -> None:
        from accelsim.report.places import make_directory

        if recipe:
            wrong = [name for name in options if name not in WITH_RECIPE]
            if wrong:
                what = f"options.{wrong[0]} is for workloads without a recipe; with one: {', '.join(WITH_RECIPE)}"
                raise ConfigError(what, f"{path.stem}, {recipe}")
            make_directory(self.folder)
            self._compress(path, recipe, options, out)
            return
        from accelsim.api import open_workload

        trace = _checked(open_workload, path, options)
        make_directory(self.folder)
        trace.write(out)

    def _compress(self, path: Path, recipe: str, options: dict[str, Any], out: Path) -> None:
        from accelsim.compress.run import compress
        from accelsim.workload.load import load_network

        batch, variables = options.get("batch"), options.get("variables")
        network: Any = path
        if path.suffix not in (_TRACE, ".onnx") or batch is not None or variables:
            if path.suffix == _TRACE:
                raise ConfigError("a trace holds its own shapes and operands", str(path))
            network = load_network(path, batch, variables)
        weights = options.get("weights")
        if weights is None and path.suffix == ".onnx":
            weights = path
        compress(network, weights, recipe, out, seed=options.get("seed"))


def _checked(make: Callable[..., Trace], path: Path, options: dict[str, Any]) -> Trace:
    """`make(path, **options)`; a value of a wrong type is a fault of the input as well."""
    try:
        return make(path, **options)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"options cannot be used: {error}", path.stem) from None
