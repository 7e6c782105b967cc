"""Designs side by side on the same workloads: what is equal, what differs, then the figures.

A comparison says something about a design only if what else could make the difference is controlled (Deng et al.,
"Model Compression and Hardware Acceleration for Neural Networks", Proc. IEEE 2020, Section V): technology, area,
bandwidth, multipliers, memory, precision. So these stand above the table, apart as equal or different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.base.units import human_bytes, si
from accelsim.bench.cases import Case, CaseTraces
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate

CONTROLLED = ("technology", "area", "peak MACs per cycle", "buffers", "DRAM", "precision", "recipe")
"""Facts that should be equal where the comparison is about something else."""
_TEXTS = ("name", "source", "description", "notes")


@dataclass
class Design:
    """An architecture, its overrides, and perhaps a recipe: one column of the comparison.

    Attributes
    ----------
    label : str
        As in tables and figures.
    arch : Architecture
    recipe : str
        "" for none.
    results : dict
        Workload -> what it ran like.
    """

    label: str
    arch: Architecture
    recipe: str = ""
    sets: tuple[str, ...] = ()
    results: dict[str, RunResult] = field(default_factory=dict)

    @cached_property
    def area_mm2(self) -> float:
        """On the chip, all that is priced."""
        from accelsim.system.costs import Costs

        return sum(Costs(self.arch).area_mm2().values())

    def facts(self) -> dict[str, str]:
        """What may make a difference, in words."""
        spec = self.arch.spec
        bits = spec.bits()
        peak = self.arch.engine.peak_macs_per_cycle(bits)
        model: str = spec.dram.fidelity
        if spec.dram.fidelity == "bandwidth":
            model += f", {spec.dram.latency_ns} ns"
        elif spec.dram.fidelity == "detailed" and spec.dram.detail is not None:
            model += f", {spec.dram.detail.standard}"
        dram = f"{spec.dram.standard}, {si(float(spec.dram_bytes_per_cycle()) * spec.clock_hz, 'B/s', 4)}"
        volts = f", {spec.technology.vdd:g} V" if spec.technology.vdd else ""
        return {
            "technology": f"{spec.technology.node_nm} nm{volts}",
            "clock": si(spec.clock_hz, "Hz", 4),
            "area": f"{self.area_mm2:.4g} mm2",
            "engine": spec.engine.kind,
            "peak MACs per cycle": f"{peak:,}",
            "peak throughput": f"{2 * peak * spec.clock_hz / 1e12:.4g} TOPS",
            "buffers": human_bytes(sum(buffer.capacity_bytes for buffer in spec.buffers)),
            "DRAM": dram,
            "DRAM model": model,
            "precision": ", ".join(f"{name} {n}" for name, n in bits.items())
            + (", follows the trace" if spec.precision.follow_trace else ""),
            "recipe": self.recipe or "none",
        }


def parse_design(text: str) -> tuple[str, str, tuple[str, ...]]:
    """(architecture, recipe, overrides) of `ARCH[+RECIPE][:KEY=VALUE[,KEY=VALUE]...]`.

    A name with a '+' or ':' in it is taken as it is if it is a file.

    Raises
    ------
    ConfigError
    """
    if Path(text).is_file():
        return text, "", ()
    head, colon, tail = text.partition(":")
    name, plus, recipe = head.partition("+")
    sets = tuple(part.strip() for part in tail.split(",")) if colon else ()
    if not name or (plus and not recipe) or (colon and not all("=" in part for part in sets)):
        raise ConfigError("must be ARCH, ARCH+RECIPE, ARCH:KEY=VALUE,... or ARCH+RECIPE:KEY=VALUE,...", text)
    return name, recipe, sets


def make_designs(texts: Sequence[str], recipes: Sequence[str] = (), sets: Sequence[str] = ()) -> list[Design]:
    """The designs of a comparison; each of `recipes` (may hold "none") with each architecture that names none.

    Raises
    ------
    ConfigError
        Fewer than two, two that are the same, or one that is wrong.
    """
    designs: list[Design] = []
    for text in texts:
        name, own, overrides = parse_design(text)
        for recipe in (own,) if own or not recipes else recipes:
            chosen = "" if recipe == "none" else recipe
            label = text if own or not recipes else text.replace(name, f"{name}+{recipe}", 1)
            designs.append(Design(label, load_arch(name, [*sets, *overrides]), chosen, (*sets, *overrides)))
    labels = [design.label for design in designs]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError("is given twice", label)
    if len(designs) < 2:
        raise ConfigError("a comparison needs at least two designs; see accelsim compare --help", labels[0])
    return designs


def run_designs(
    designs: Sequence[Design],
    workloads: Sequence[str],
    traces: CaseTraces,
    *,
    batch: int | None = None,
    seed: int | None = None,
    weight_density: float | None = None,
    activation_density: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Run every workload on every design; the results are in the designs.

    Raises
    ------
    ConfigError
    """
    total = len(designs) * len(workloads)
    for done, (workload, design) in enumerate((w, d) for w in workloads for d in designs):
        if progress is not None:
            progress(done, total, f"{workload} on {design.label}")
        plain = design.recipe == ""
        case = Case(
            name="compare", arch=design.arch.name, workload=workload, recipe=design.recipe, batch=batch, seed=seed,
            weight_density=weight_density if plain else None,
            activation_density=activation_density if plain else None,
        )  # fmt: skip
        design.results[workload] = simulate(design.arch, traces.of(case))


def equal_and_different(designs: Sequence[Design]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """(fact -> what all share, fact -> one text for each design)."""
    facts = [design.facts() for design in designs]
    equal, differ = {}, {}
    for name in facts[0]:
        texts = [fact[name] for fact in facts]
        if len(set(texts)) == 1:
            equal[name] = texts[0]
        else:
            differ[name] = texts
    return equal, differ


def different_keys(designs: Sequence[Design]) -> dict[str, list[str]]:
    """Keys of the architectures' files with different values: dotted key -> one text for each design."""
    flat = [_flat({k: v for k, v in design.arch.data.items() if k not in _TEXTS}) for design in designs]
    keys = dict.fromkeys(key for one in flat for key in one)
    found = {key: [_text(one.get(key)) for one in flat] for key in keys}
    return {key: texts for key, texts in found.items() if len(set(texts)) > 1}


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(data, dict):
        pairs = [(str(key), value) for key, value in data.items()]
    elif isinstance(data, list) and data and all(isinstance(item, dict) and "name" in item for item in data):
        pairs = [(str(item["name"]), {k: v for k, v in item.items() if k != "name"}) for item in data]
    else:
        return {prefix: data}
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.update(_flat(value, f"{prefix}.{key}" if prefix else key))
    return found


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def record(design: Design, workload: str, first: RunResult) -> dict[str, Any]:
    """One row of the comparison as plain data; ratios are to the first design (above 1 is better)."""
    result = design.results[workload]
    return {
        "workload": workload,
        "design": design.label,
        "cycles": result.cycles,
        "seconds": result.seconds,
        "energy_pj": result.energy_pj,
        "edp_js": result.energy_pj * 1e-12 * result.seconds,
        "area_mm2": design.area_mm2,
        "mac_utilization": result.mac_utilization,
        "tops": result.tops,
        "tops_per_watt": result.tops_per_watt,
        "dram_bytes": sum(layer.total_dram_bytes for layer in result.layers),
        "speedup": first.seconds / result.seconds,
        "energy_gain": first.energy_pj / result.energy_pj,
    }


def records(designs: Sequence[Design], workloads: Sequence[str]) -> list[dict[str, Any]]:
    """All rows, workload by workload."""
    return [record(design, workload, designs[0].results[workload]) for workload in workloads for design in designs]


def mean_records(rows: Sequence[Mapping[str, Any]], designs: Sequence[Design]) -> list[dict[str, Any]]:
    """Geometric means of the ratios over workloads, one row for each design."""
    means = []
    for design in designs:
        mine = [row for row in rows if row["design"] == design.label]
        row = {"workload": "geometric mean", "design": design.label}
        means.append({**row, **{name: _mean([r[name] for r in mine]) for name in ("speedup", "energy_gain")}})
    return means


def _mean(values: Sequence[float]) -> float:
    from math import exp, fsum, log

    return exp(fsum(log(value) for value in values) / len(values))
