"""What a run gives: plain data, one record per layer, that tables, figures and files are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import SimulationBug
from accelsim.base.registry import Registry
from accelsim.sim.passes import ATTRIBUTION
from accelsim.sim.player import Timeline
from accelsim.system.dram_meter import DramReport

VIEWS: Registry[Callable[..., Any]] = Registry("view of a result", "accelsim.report")
"""Ways to show a result: `html`, `pandas`. They live above this room, and register themselves."""

TRAFFIC = ("filter", "ifmap", "psum_in", "ofmap", "psum_out")


@dataclass
class LayerResult:
    """One layer of a run.

    Attributes
    ----------
    name, kind : str
    fused : list of str
        Layers applied to the results on the way out.
    start_cycle, cycles : int
        Where the layers of several inputs overlap (a pipeline), cycles are summed over the inputs.
    cycles_by_cause : dict
        Keys of `ATTRIBUTION`; the values sum to `cycles`.
    macs, effectual_macs : int
    peak_macs_per_cycle : int
    dram_bytes : dict
        Operand (of TRAFFIC) -> bytes over the chip's border.
    counts : ActionCounts
    energy_pj : dict
        Component -> picojoules, leakage among them as `leakage`; sums to `total_energy_pj`.
    info : dict
        Mapping and utilization, as the engine says them.
    """

    name: str
    kind: str
    fused: list[str]
    start_cycle: int
    cycles: int
    cycles_by_cause: dict[str, int]
    macs: int
    effectual_macs: int
    peak_macs_per_cycle: int
    dram_bytes: dict[str, int]
    counts: ActionCounts
    energy_pj: dict[str, float]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def total_energy_pj(self) -> float:
        """Dynamic and static."""
        return sum(self.energy_pj.values())

    @property
    def mac_utilization(self) -> float:
        """MACs over what the PEs could have done in these cycles."""
        peak = self.peak_macs_per_cycle * self.cycles
        return self.macs / peak if peak else 0.0

    @property
    def total_dram_bytes(self) -> int:
        """Both directions."""
        return sum(self.dram_bytes.values())


def peak_of(layers: Iterable[LayerResult], machine: int) -> int:
    """MACs per cycle that a run could have reached: of its layers, which may have fewer bits than the machine has."""
    return max((layer.peak_macs_per_cycle for layer in layers if layer.macs), default=machine)


@dataclass
class RunResult:
    """A whole run: inputs by hash, layers, totals.

    Attributes
    ----------
    arch, workload : str
        Names.
    arch_data : dict
        The resolved architecture, every key.
    trace_hash, version : str
    batch : int
    clock_hz : int
    layers : list of LayerResult
    area_mm2 : dict
        Component -> mm2.
    peak_macs_per_cycle : int
        With operands of the bits that this trace has, where that matters: those of the layer with the most.
    dram_bytes_per_cycle : float
    timeline : Timeline
    overlapped_cycles : int or None
        Length of a run whose layers overlap (a pipeline of cores); None: they follow each other.
    dram : DramReport or None
        What a detailed DRAM has counted, and what that took.
    """

    arch: str
    workload: str
    arch_data: dict[str, Any]
    trace_hash: str
    version: str
    batch: int
    clock_hz: int
    layers: list[LayerResult]
    area_mm2: dict[str, float]
    peak_macs_per_cycle: int
    dram_bytes_per_cycle: float
    timeline: Timeline
    overlapped_cycles: int | None = None
    dram: DramReport | None = None

    @property
    def dram_fidelity(self) -> str:
        """Of the DRAM: "ideal", "bandwidth" or "detailed"."""
        dram = self.arch_data["dram"]
        return str(dram.get("fidelity") or ("detailed" if dram.get("detail") else "bandwidth"))

    @property
    def cycles(self) -> int:
        """From the first request to the last result."""
        if self.overlapped_cycles is not None:
            return self.overlapped_cycles
        return sum(layer.cycles for layer in self.layers)

    @property
    def seconds(self) -> float:
        """Cycles over clock."""
        return self.cycles / self.clock_hz

    @property
    def macs(self) -> int:
        """Issued multiply-accumulates."""
        return sum(layer.macs for layer in self.layers)

    @property
    def energy_pj(self) -> float:
        """Dynamic and static, all layers."""
        return sum(layer.total_energy_pj for layer in self.layers)

    @property
    def power_w(self) -> float:
        """Mean over the run."""
        return self.energy_pj * 1e-12 / self.seconds

    @property
    def tops(self) -> float:
        """Two operations for each MAC, in 10^12 per second, as achieved."""
        return 2 * self.macs / self.seconds / 1e12

    @property
    def tops_per_watt(self) -> float:
        """As achieved, all of the energy counted."""
        return 2 * self.macs / self.energy_pj if self.energy_pj else 0.0

    @property
    def mac_utilization(self) -> float:
        """MACs over what the PEs could have done."""
        return self.macs / (self.peak_macs_per_cycle * self.cycles)

    def cycles_by_cause(self) -> dict[str, int]:
        """Sum over layers; the values sum to `cycles`."""
        return {cause: sum(layer.cycles_by_cause[cause] for layer in self.layers) for cause in ATTRIBUTION}

    def energy_by_component(self) -> dict[str, float]:
        """Sum over layers, in the order of first appearance."""
        parts: dict[str, float] = {}
        for layer in self.layers:
            for name, value in layer.energy_pj.items():
                parts[name] = parts.get(name, 0.0) + value
        return parts

    def counts(self) -> ActionCounts:
        """Actions of all layers."""
        return ActionCounts.total(layer.counts for layer in self.layers)

    def check(self) -> None:
        """Laws that hold for every run.

        Raises
        ------
        SimulationBug
        """
        for layer in self.layers:
            if sum(layer.cycles_by_cause.values()) != layer.cycles:
                raise SimulationBug(f"{layer.name}: attributed cycles do not sum to {layer.cycles}")
        if self.layers and self.cycles != self.timeline.end:
            raise SimulationBug(f"layers take {self.cycles} cycles, the clock says {self.timeline.end}")
        total, parts = self.energy_pj, sum(self.energy_by_component().values())
        if abs(total - parts) > 1e-9 * max(total, 1.0):
            raise SimulationBug(f"energy parts {parts} do not sum to {total}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `--json` writes. Units are in the names."""
        detailed = {} if self.dram is None else {"dram": self.dram.as_dict()}
        return {
            "format": "accelsim-result",
            "version": self.version,
            "arch": self.arch,
            "workload": self.workload,
            "trace_hash": self.trace_hash,
            "batch": self.batch,
            "clock_hz": self.clock_hz,
            "totals": self.totals(),
            "cycles_by_cause": self.cycles_by_cause(),
            "energy_pj_by_component": self.energy_by_component(),
            "area_mm2_by_component": self.area_mm2,
            **detailed,
            "layers": [layer_record(layer) for layer in self.layers],
            "arch_data": self.arch_data,
        }

    def totals(self) -> dict[str, Any]:
        """One number each."""
        return {
            "cycles": self.cycles,
            "seconds": self.seconds,
            "macs": self.macs,
            "effectual_macs": sum(layer.effectual_macs for layer in self.layers),
            "mac_utilization": self.mac_utilization,
            "dram_bytes": sum(layer.total_dram_bytes for layer in self.layers),
            "energy_pj": self.energy_pj,
            "power_w": self.power_w,
            "tops": self.tops,
            "tops_per_watt": self.tops_per_watt,
            "area_mm2": sum(self.area_mm2.values()),
            "inferences_per_second": self.batch / self.seconds,
        }

    def to_json(self) -> str:
        """`to_dict` as text, the same bytes for the same run."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=False)

    def to_pandas(self) -> Any:
        """One row for each layer, as a pandas DataFrame (extra `table`)."""
        return VIEWS.lookup("pandas")(self)

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        text: str = VIEWS.lookup("html")(self)
        return text


def layer_record(layer: LayerResult) -> dict[str, Any]:
    """One layer as a flat record: a row of a CSV or a dataframe."""
    row: dict[str, Any] = {
        "layer": layer.name,
        "kind": layer.kind,
        "fused": " ".join(layer.fused),
        "start_cycle": layer.start_cycle,
        "cycles": layer.cycles,
        "macs": layer.macs,
        "effectual_macs": layer.effectual_macs,
        "mac_utilization": layer.mac_utilization,
        "spatial_utilization": layer.info.get("spatial_utilization", 0.0),
    }
    row.update({f"{cause}_cycles": layer.cycles_by_cause[cause] for cause in ATTRIBUTION})
    row.update({f"dram_{operand}_bytes": layer.dram_bytes[operand] for operand in TRAFFIC})
    row["dram_bytes"] = layer.total_dram_bytes
    row.update({f"count_{component}_{action}": n for (component, action), n in sorted(layer.counts.items())})
    row.update({f"energy_{component}_pj": value for component, value in layer.energy_pj.items()})
    row["energy_pj"] = layer.total_energy_pj
    row["mapping"] = layer.info.get("mapping", "")
    return row
