"""Bit Fusion beside its authors' simulator: compute cycles, totals with memory stalls, energy.

    python benchmarks/validate_bitfusion.py
"""

from __future__ import annotations

import csv

from bitfusion_networks import NETWORKS, authors_model, trace_of
from validation_rows import Row, main, references

from accelsim.system.simulate import simulate

SOURCE = "hsharma35/bitfusion, 16 x 32 units, 192 bits a cycle, batch 16"


def rows() -> list[Row]:
    """For each published layer the array's cycles (exact) and the total (5%); for each network cycles and energy."""
    path = references() / "sparse_bit" / "bitfusion_layers_16x32_bw192_b16.csv"
    if not path.is_file():
        return []
    with path.open() as file:
        published = list(csv.DictReader(file))
    arch, found = authors_model(), []
    for name in NETWORKS:
        theirs = [r for r in published if r["network"] == name]
        if not theirs:
            continue
        ours = {layer.name: layer for layer in simulate(arch, trace_of(name)).layers}
        for row in theirs:
            layer, total = ours[short(row["layer"])], int(row["cycles"])
            where, compute = f"{name} {row['layer']}", total - int(row["mem_stall_cycles"])
            found.append(_row(where, "compute", layer.cycles_by_cause["compute"], compute, 0.0))
            found.append(_row(where, "total", layer.cycles, total, 5.0))
        layers = [ours[short(r["layer"])] for r in theirs]
        cycles = sum(int(r["cycles"]) for r in theirs)
        found.append(_row(name, "total", sum(x.cycles for x in layers), cycles, 5.0))
        for what, column, note in (
            ("dram", "energy_dram_nJ", "15 pJ a bit in both"),
            ("fusion_unit", "energy_core_nJ", "every brick in every busy cycle; ours at their synthesis' price"),
        ):
            energy = sum(x.energy_pj[what] for x in layers) / 1e6
            published_uj = sum(float(r[column]) for r in theirs) / 1e3
            found.append(Row("Bit Fusion", name, f"{what} energy", "uJ", energy, published_uj, SOURCE, note=note))
    return found


def short(layer: str) -> str:
    """A layer's name without that of the module in which it is."""
    return layer.rpartition("/")[2]


def _row(workload: str, what: str, ours: int, theirs: int, aim: float) -> Row:
    return Row("Bit Fusion", workload, what, "cycles", ours, theirs, SOURCE, aim)


if __name__ == "__main__":
    main("Bit Fusion and its authors' simulator", rows)
