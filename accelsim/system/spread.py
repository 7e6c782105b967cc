"""Several inputs of one network on one architecture: mean and spread of what each layer costs.

Where zeros take no time, cycles and energy depend on the input. The runs are whole runs, each exact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.system.result import LayerResult, RunResult


@dataclass(frozen=True)
class Summary:
    """One figure over the inputs.

    Attributes
    ----------
    mean, low, high : float
    std : float
        Sample standard deviation (n - 1 in the denominator); 0 for a single input.
    """

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Of at least one value."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else 0.0, min(values), max(values))

    def as_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"mean": self.mean, "std": self.std, "min": self.low, "max": self.high}


#: What is summed up, by layer and in all; units are in the names
FIGURES: dict[str, Callable[[LayerResult], float]] = {
    "cycles": lambda layer: layer.cycles,
    "energy_pj": lambda layer: layer.total_energy_pj,
    "dram_bytes": lambda layer: layer.total_dram_bytes,
    "effectual_macs": lambda layer: layer.effectual_macs,
}


@dataclass(frozen=True)
class Spread:
    """Runs of the same layers with other operands; `names`: what each input is called."""

    results: tuple[RunResult, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        first = self.results[0]
        kinds = [(layer.name, layer.kind, layer.macs) for layer in first.layers]
        for name, result in zip(self.names, self.results, strict=True):
            if [(layer.name, layer.kind, layer.macs) for layer in result.layers] != kinds:
                what = f"must have the layers of the first input, {self.names[0]} ({first.workload}); they differ"
                raise ConfigError(what, f"input {name}")

    @property
    def layers(self) -> list[str]:
        """Names."""
        return [layer.name for layer in self.results[0].layers]

    def layer(self, index: int) -> dict[str, Summary]:
        """`FIGURES` of one layer."""
        rows = [result.layers[index] for result in self.results]
        return {name: Summary.of([figure(row) for row in rows]) for name, figure in FIGURES.items()}

    def total(self) -> dict[str, Summary]:
        """`FIGURES` of the whole run, where layers may overlap."""
        found = {"cycles": Summary.of([result.cycles for result in self.results])}
        for name, figure in FIGURES.items():
            if name != "cycles":
                found[name] = Summary.of([sum(figure(la) for la in result.layers) for result in self.results])
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the totals of each run."""
        first = self.results[0]
        runs = [
            {"input": name, "trace_hash": result.trace_hash, **result.totals()}
            for name, result in zip(self.names, self.results, strict=True)
        ]
        return {
            "format": "accelsim-spread", "version": first.version, "arch": first.arch, "workload": first.workload,
            "batch": first.batch, "clock_hz": first.clock_hz, "inputs": runs,
            "totals": {name: found.as_dict() for name, found in self.total().items()},
            "layers": [
                {"layer": name, **{key: found.as_dict() for key, found in self.layer(index).items()}}
                for index, name in enumerate(self.layers)
            ],
            "arch_data": first.arch_data,
        }  # fmt: skip

    def to_json(self) -> str:
        """`to_dict` as text, the same bytes for the same runs."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=False)

    def records(self) -> list[dict[str, Any]]:
        """One flat record for each layer, and one of the total, which is called so."""
        each = [(name, self.layer(index)) for index, name in enumerate(self.layers)]
        return [
            {"layer": name, "inputs": len(self.results)}
            | {f"{key}_{part}": value for key, found in row.items() for part, value in found.as_dict().items()}
            for name, row in [*each, ("total", self.total())]
        ]
