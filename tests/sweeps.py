"""Tables of design points for tests of curves and pages: real runs of a small network, made once."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

from accelsim.sweep.table import Table, add_flat
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace

KEYS = ["engine.dataflow", "engine.rows", "engine.cols", "dram.bandwidth_bytes_per_s"]


@lru_cache
def table() -> Table:
    """54 points of LeNet-5; the accuracy is made up, since these points have none."""
    trace = synthetic_trace(load_network("lenet5"))
    rows = []
    grid = product(("ws", "os", "is"), (8, 16, 32), (8, 16, 32), (1_000_000_000, 8_000_000_000))
    for index, values in enumerate(grid):
        sets = [f"{key}={value}" for key, value in zip(KEYS, values, strict=True)]
        result = simulate(load_arch("systolic_ws_32", ["dram.fidelity=bandwidth", *sets]), trace)
        totals = result.totals()
        row: dict[str, Any] = {
            "sweep": "small", "index": index, "status": "done", "error": "", "hash": f"{index:064x}",
            "arch": "systolic_ws_32", "workload": "lenet5", "recipe": "", **dict(zip(KEYS, values, strict=True)),
            **{name: value for name, value in totals.items() if name != "mac_utilization"},
            "utilization": totals["mac_utilization"], "batch": result.batch, "clock_hz": result.clock_hz,
            "peak_macs_per_cycle": result.peak_macs_per_cycle, "dram_bytes_per_cycle": result.dram_bytes_per_cycle,
            "accuracy": 0.95 + 0.0005 * (index * 7 % 11), "model_version": result.version, "current": True,
            "trace_hash": result.trace_hash, "cycles_by_cause": result.cycles_by_cause(),
            "energy_pj_by_component": result.energy_by_component(), "area_mm2_by_component": result.area_mm2,
        }  # fmt: skip
        rows.append(add_flat(row))
    return Table(rows, KEYS)


def large(count: int) -> Table:
    """That many points: those of `table`, again and again, each time a little different."""
    small = table().rows
    rows = []
    for index in range(count):
        row = dict(small[index % len(small)])
        factor = 1 + (index * 2654435761 % 1000003) / 1000003
        for name, value in list(row.items()):
            if isinstance(value, float) and name != "accuracy":
                row[name] = value * factor
        for name in ("cycles_by_cause", "energy_pj_by_component", "area_mm2_by_component"):
            row[name] = {k: int(v * factor) if name.startswith("cycles") else v * factor for k, v in row[name].items()}
        row.update({"index": index, "hash": f"{index:064x}", "cycles": sum(row["cycles_by_cause"].values())})
        row["engine.rows"] = 4 + index % 61
        rows.append(add_flat(row))
    return Table(rows, KEYS)
