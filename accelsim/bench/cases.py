"""A case: one architecture, one workload, perhaps a recipe; and the traces that cases share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import pydantic

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.paths import shipped_dir
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import read_yaml
from accelsim.sweep.traces import Traces
from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.trace import Trace

SUITE = "benchmarks/regression"
"""Where the shipped suite is, for `shipped_dir`."""
CASES, EXPECTED, HISTORY = "cases.yaml", "expected.json", "history.jsonl"

Density = Annotated[float, pydantic.Field(gt=0, le=1)]


class Case(Spec):
    """What is run. A network without recipe gets described operands, as in `accelsim run`."""

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9_.+-]+$", description="unique in its suite")
    arch: str
    workload: str
    recipe: str = ""
    sets: list[str] = pydantic.Field(default=[], description="overrides of the architecture, key=value")
    batch: int | None = pydantic.Field(default=None, ge=1)
    seed: int | None = pydantic.Field(default=None, ge=0, description="of operands; with a recipe, instead of its own")
    weight_density: Density | None = None
    activation_density: Density | None = None
    why: str = pydantic.Field(default="", description="what this case watches")

    def options(self) -> dict[str, Any]:
        """Of the workload, as sweeps have them."""
        names = ("batch", "seed", "weight_density", "activation_density")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


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


class CaseTraces:
    """Traces of cases, each made once, in a folder that lives until the block ends; a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="accelsim-")
        self._made = Traces(Path(self._folder.name))

    def __enter__(self) -> CaseTraces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def of(self, case: Case) -> Trace:
        """The trace that `case` runs.

        Raises
        ------
        ConfigError
            Unknown workload or recipe, or an option that a trace or a recipe cannot obey.
        """
        return Trace.open(self._made.of(case.workload, case.recipe, case.options()).path)


def run_case(case: Case, traces: CaseTraces) -> RunResult:
    """The result of one case.

    Raises
    ------
    ConfigError
        For anything that is wrong in it.
    """
    return simulate(load_arch(case.arch, case.sets), traces.of(case))
