"""A case: one architecture, one workload, perhaps a recipe; and the traces that cases share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import pydantic

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.paths import find, shipped_dir
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import read_yaml
from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import FOLDER, SUFFIXES, load_network
from accelsim.workload.trace import Trace, synthetic_trace

SUITE = "benchmarks/regression"
"""Where the shipped suite is, for `shipped_dir`."""
CASES, EXPECTED, HISTORY = "cases.yaml", "expected.json", "history.jsonl"
_NETWORK_SUFFIXES = (*SUFFIXES, ".trace")

Density = Annotated[float, pydantic.Field(gt=0, le=1)]


class Case(Spec):
    """What is run. A network without recipe gets described operands, as in `accelsim run`."""

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9_.+-]+$", description="unique in its suite")
    arch: str
    workload: str
    recipe: str = ""
    sets: list[str] = pydantic.Field(default=[], description="overrides of the architecture, key=value")
    batch: int | None = pydantic.Field(default=None, ge=1)
    seed: int = pydantic.Field(default=0, ge=0)
    weight_density: Density | None = None
    activation_density: Density | None = None
    why: str = pydantic.Field(default="", description="what this case watches")


class SpeedCase(Spec):
    """A case whose own cost is measured, `repeat` times in a row."""

    name: str
    case: str = pydantic.Field(description="name of a case of the same suite")
    repeat: int = pydantic.Field(default=1, ge=1, le=1000)


class Suite(Spec):
    """A file of cases."""

    cases: list[Case] = pydantic.Field(min_length=1)
    speed: list[SpeedCase] = []

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Suite:
        names = [case.name for case in self.cases]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"cases: name {name!r} is used twice")
        for case in self.speed:
            if case.case not in names:
                raise ValueError(f"speed: there is no case {case.case!r}")
        return self

    def matching(self, globs: list[str]) -> list[Case]:
        """The cases whose name matches one of the globs, in the file's order; all without globs.

        Raises
        ------
        ConfigError
            If a glob matches nothing; offers the nearest names.
        """
        from fnmatch import fnmatchcase

        for glob in globs:
            if not any(fnmatchcase(case.name, glob) for case in self.cases):
                raise unknown_name("case", glob, [case.name for case in self.cases])
        return [case for case in self.cases if not globs or any(fnmatchcase(case.name, glob) for glob in globs)]


def load_suite(folder: Path | None = None) -> tuple[Suite, Path]:
    """The suite in a folder, or the shipped one; and the folder.

    Raises
    ------
    ConfigError
        If there is none, or something in it is wrong.
    """
    place = folder or shipped_dir(SUITE)
    if not (place / CASES).is_file():
        raise ConfigError(f"there is no {CASES}", str(place))
    return build(Suite, read_yaml(place / CASES)), place


class Traces:
    """Traces of cases, each made once; a context manager, whose compressed ones live until it ends."""

    def __init__(self, progress: Callable[[int, int, str], None] | None = None) -> None:
        self._progress = progress
        self._folder = tempfile.TemporaryDirectory(prefix="accelsim-")
        self._made: dict[tuple[object, ...], Trace] = {}

    def __enter__(self) -> Traces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._made.clear()
        self._folder.cleanup()

    def of(self, case: Case) -> Trace:
        """The trace that `case` runs.

        Raises
        ------
        ConfigError
            Unknown workload or recipe, or a choice that a finished trace cannot obey.
        """
        key = (case.workload, case.recipe, case.batch, case.seed, case.weight_density, case.activation_density)
        if key not in self._made:
            self._made[key] = self._make(case)
        return self._made[key]

    def _make(self, case: Case) -> Trace:
        path = find(case.workload, FOLDER, "workload", _NETWORK_SUFFIXES)
        described: dict[str, Any] = {
            "seed": case.seed, "weight_density": case.weight_density, "activation_density": case.activation_density,
        }  # fmt: skip
        chosen = {name: value for name, value in described.items() if value is not None}
        if case.recipe:
            return self._compressed(case, path)
        if path.suffix == ".trace":
            if case.batch is not None or case.weight_density or case.activation_density:
                raise ConfigError("a trace holds its own shapes and operands", case.workload)
            return Trace.open(path)
        return synthetic_trace(load_network(path, case.batch), **chosen)

    def _compressed(self, case: Case, path: Path) -> Trace:
        from accelsim.compress.run import compress

        if case.weight_density or case.activation_density:
            raise ConfigError("densities are the recipe's own; choose one of them", f"{case.workload}, {case.recipe}")
        if path.suffix == ".trace" and case.batch is not None:
            raise ConfigError("a trace holds its own shapes and operands", case.workload)
        out = Path(self._folder.name) / f"{len(self._made)}.trace"
        network = path if path.suffix in (".trace", ".onnx") else load_network(path, case.batch)
        compress(network, None, case.recipe, out, seed=case.seed, progress=self._progress)
        return Trace.open(out)


def run_case(case: Case, traces: Traces) -> RunResult:
    """The result of one case.

    Raises
    ------
    ConfigError
        For anything that is wrong in it.
    """
    return simulate(load_arch(case.arch, case.sets), traces.of(case))
