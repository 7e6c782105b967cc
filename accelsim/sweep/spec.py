"""What a sweep file may say.

    name: resnet18_arrays
    arch: systolic_ws_32                # or a list: then it is swept too
    workload: resnet18                  # likewise
    recipe: [null, int8]                # likewise; null: as it is
    set: {dram.latency_ns: 100}         # for all points
    options: {batch: 1}                 # of the workload: batch, seed, weight_density, ...
    sweep:
      engine.rows: {powers_of_two: [8, 64]}
      dram.bandwidth_bytes_per_s: {log: [2e9, 64e9], count: 6}
      options.activation_density: [0.3, 1.0]
    derive: {engine.cols: engine.rows}  # computed from other keys
    constraints: ["engine.rows * engine.cols <= 4096"]
    sample: {method: latin_hypercube, points: 200, seed: 0}
    evaluate: own                       # accuracy of each recipe on the workload's own data, as a column

Ranges are in `accelsim.sweep.axes`, expressions in `accelsim.base.expr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document, Mark, read_yaml

Names = str | list[str]
Positive = Annotated[int, pydantic.Field(ge=1)]


class Sample(Spec):
    """Points drawn from the space instead of all of them."""

    method: Literal["random", "latin_hypercube"] = "random"
    points: int = pydantic.Field(ge=1, le=1_000_000, description="how many")
    seed: int = pydantic.Field(default=0, ge=0)


class Accuracy(Spec):
    """What a network reaches after a recipe, measured elsewhere; `evaluate` measures it here."""

    workload: str
    recipe: str | None = None
    value: float
    source: str = pydantic.Field(min_length=1, description="paper, or where it was measured")


class Search(Spec):
    """A search with Optuna over the same space."""

    method: Literal["nsga2", "tpe"] = "nsga2"
    trials: int = pydantic.Field(ge=1, le=1_000_000)
    objectives: dict[str, Literal["min", "max"]] = pydantic.Field(
        min_length=1, max_length=6, description="columns of the table, and their better end"
    )
    constraints: list[str] = pydantic.Field(default=[], description="over columns: area_mm2 <= 10, power_w < 2")
    seed: int = pydantic.Field(default=0, ge=0, le=2**32 - 1)
    batch: int | None = pydantic.Field(
        default=None, ge=2, le=10_000, description="trials proposed at a time (default: nsga2 50, tpe 8)"
    )
    reference: dict[str, float] | None = pydantic.Field(
        default=None, description="worst point of the hypervolume (default: the worst of the first batch)"
    )

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Any:
        if self.reference is not None and set(self.reference) != set(self.objectives):
            raise ValueError("search: reference must have a number for each of the objectives, and nothing else")
        return self

    @property
    def batch_size(self) -> int:
        """Trials that are proposed, run and told together: so any number of workers sees the same search."""
        return self.batch or (50 if self.method == "nsga2" else 8)


class SweepSpec(Spec):
    """One sweep; see the module's text."""

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9_.+-]+$", description="names it in the store")
    description: str = ""
    arch: Names
    workload: Names
    recipe: str | None | list[str | None] = None
    set: dict[str, Any] = {}
    options: dict[str, Any] = {}
    sweep: dict[str, Any] = {}
    derive: dict[str, str] = {}
    constraints: list[str] = []
    sample: Sample | None = None
    accuracy: list[Accuracy] = []
    evaluate: str | None = pydantic.Field(
        default=None,
        min_length=1,
        description="measure the accuracy of each compressed network, where `accuracy` does not say it: own, digits "
        "or a .npz file, as the step of that name",
    )
    search: Search | None = None

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Any:
        if self.sample is not None and self.search is not None:
            raise ValueError("a sweep has `sample` or `search`, not both")
        keys = [*self.sweep, *self.derive]
        for key in keys:
            if key in self.set or keys.count(key) > 1:
                raise ValueError(f"key {key} is given twice: in set, sweep or derive")
            if key in ("arch", "workload", "recipe"):
                raise ValueError(f"{key} is not a key of an architecture; a list of them stands at the top: {key}: []")
        for key in self.options:
            if f"options.{key}" in self.sweep:
                raise ValueError(f"options.{key} is given twice: in options and in sweep")
        return self


def read_sweep(source: str | Path | Mapping[str, Any]) -> tuple[SweepSpec, Document]:
    """A sweep from its file, or from a mapping of the same form.

    Raises
    ------
    ConfigError
        Whatever is wrong, with file, line and key.
    """
    if isinstance(source, Mapping):
        document = Document(dict(source), "sweep", {(): Mark("sweep", 0, 0)})
    else:
        document = read_yaml(Path(source))
        if not isinstance(document.data, dict):
            raise ConfigError("a sweep must be a mapping", document.where(()))
        document.data.setdefault("name", Path(source).stem)
    return build(SweepSpec, document), document
