"""Precisions that were found layer by layer for published networks: Stripes' and Loom's profiles.

The table is `profiled.csv`: network, layer (a selector's item), operand, relative accuracy, bits, source, and how far
the figure has been checked. Fixed point: the scale is a power of two.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.registry import normalise
from accelsim.compress.base import STEPS, Key, Source
from accelsim.compress.quantize.uniform import Uniform
from accelsim.compress.state import TensorState
from accelsim.workload.network import Layer

OPERANDS = {"A": "activation", "W": "weight"}


@dataclass(frozen=True)
class Profile:
    """One row of the table."""

    network: str
    layer: str
    operand: str
    relative_accuracy_percent: int
    bits: int
    source: str
    provenance: str
    confidence: str

    def fits(self, layer: Layer) -> bool:
        """Whether the row is for this layer."""
        if self.layer.startswith("kind:"):
            return layer.kind == self.layer.removeprefix("kind:")
        return fnmatchcase(layer.name, self.layer)


@lru_cache(maxsize=1)
def profiles() -> tuple[Profile, ...]:
    """The whole table."""
    with open(Path(__file__).with_name("profiled.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        data: dict[str, Any] = dict(row)
        for name in ("relative_accuracy_percent", "bits"):
            data[name] = int(data[name])
        found.append(Profile(**data))
    return tuple(found)


@STEPS.register("profiled")
class Profiled(Uniform):
    """Uniform fixed point with the published width of each layer (`object` W or A).

    `accuracy`: 100 or 99 % of the original's. `network`: the table's name, if the network here is called otherwise.
    Layers of which the table says nothing stay as they are; the report notes it.
    """

    kind: ClassVar[str] = "profiled"
    objects: ClassVar[tuple[str, ...]] = ("W", "A")

    class Params(Uniform.Params):
        """See the step; `bits` is the table's business."""

        object: Literal["W", "A"] = "A"
        accuracy: Literal[100, 99] = 100
        network: str | None = None
        power_of_two: bool = True

    def prepare(self, before: Source, chosen: list[Key]) -> None:
        name = normalise(self.params.network or before.network.name)
        operand = OPERANDS[self.params.object]
        known = [row for row in profiles() if row.operand == operand]
        names = {row.network for row in known}
        if name not in names:
            raise unknown_name(f"network with profiled {operand} widths", name, names, self.where)
        self._rows = [r for r in known if r.network == name and r.relative_accuracy_percent == self.params.accuracy]
        if not any(self._row(before.network[layer]) for layer, _ in chosen):
            raise ConfigError(f"none of the chosen layers has a profiled {operand} width", self.where)

    def _row(self, layer: Layer) -> Profile | None:
        return next((row for row in self._rows if row.fits(layer)), None)

    def bits_of(self, state: TensorState) -> int:
        row = self._row(state.layer)
        assert row is not None
        return row.bits

    def apply(self, state: TensorState) -> None:
        self._if_known(state, super().apply)

    def apply_described(self, state: TensorState) -> None:
        self._if_known(state, super().apply_described)

    def _if_known(self, state: TensorState, action: Any) -> None:
        if self._row(state.layer) is None:
            state.notes.append("no profiled width, left as it is")
        else:
            action(state)
