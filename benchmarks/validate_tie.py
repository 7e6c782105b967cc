"""TIE (ISCA 2019) on its benchmark layers: cycles by the published rule, throughput, and ratios to EIE.

    python benchmarks/validate_tie.py

Each layer is a network of its own with random cores of the published shape, run by the simulator; cycles are those of
the array, from its schedule with every bank access counted. EIE is not run here: its published times for VGG-16 are
scaled to TIE's node: clock in proportion to the node (1285 MHz), area with its square, power unchanged.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from validation_rows import Row, main

from accelsim.system.archspec import load_arch
from accelsim.system.result import LayerResult, RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.cores import add_cores
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.trace import Trace, TraceWriter

#: Workload -> (output modes, input modes, ranks, cycles, cycles with the last stage packed)
LAYERS = {
    "vgg16 fc6": ((4,) * 6, (2, 7, 8, 8, 7, 4), (1, 4, 4, 4, 4, 4, 1), 14_624, 14_240),
    "vgg16 fc7": ((4,) * 6, (4,) * 6, (1, 4, 4, 4, 4, 4, 1), 5_376, 4_608),
    "lstm ucf11 W_x": ((4,) * 4, (8, 20, 20, 18), (1, 4, 4, 4, 1), 7_568, 7_472),
    "lstm youtube W_x": ((4,) * 4, (4, 20, 20, 36), (1, 4, 4, 4, 1), 5_584, 5_536),
}

#: Published compression of the matrices (shapes of Novikov et al., NIPS 2015, and Yang et al., ICML 2017)
RATIOS = {"vgg16 fc6": 50_972, "vgg16 fc7": 14_564, "lstm ucf11 W_x": 4_954, "lstm youtube W_x": 4_608}

RULE = "Deng et al., ISCA 2019, by the rule of its stages"
RATIO = "ISCA 2019: 7.22 to 10.66 x by area, 3.03 to 4.48 x by energy, over EIE at 28 nm"
#: EIE at 45 nm, 800 MHz (Han et al., ISCA 2016, Tables II and IV: actual time), and its clock at 28 nm (800 x 45 / 28)
EIE_SECONDS, EIE_MHZ, EIE_AT_28_MHZ = {"vgg16 fc6": 34.4e-6, "vgg16 fc7": 8.7e-6}, 800.0, 1285.0
EIE_MM2, EIE_MW = 40.8, 590.0
#: ISCA 2019: area from the abstract, power recalled
TIE_MM2, TIE_MW = 1.74, 154.8


def trace_of(name: str, folder: Path, bits: int = 16) -> Trace:
    """One layer with random cores."""
    rows, columns, ranks, _, _ = LAYERS[name]
    m, n = int(np.prod(rows)), int(np.prod(columns))
    network = Network(name, [Node("x", Input((1, n))), Node("fc", Linear(m, bias=False), ("x",))])
    random = np.random.Generator(np.random.Philox(2019))
    cores = {
        f"core{k}": random.integers(-99, 100, (ranks[k], rows[k], columns[k], ranks[k + 1]))
        for k in range(len(rows))
    }
    path = folder / f"{name.replace(' ', '_')}.trace"
    with TraceWriter(path, network, name=name) as writer:
        meta = {"row_modes": list(rows), "column_modes": list(columns), "ranks": list(ranks)}
        add_cores(writer, "fc", "filter", "tt", cores, meta, shape=(m, n), bits=bits, scale=1e-3)
    return Trace.open(path)


def run(trace: Trace, *sets: str) -> tuple[RunResult, LayerResult]:
    """Whole run, and its only layer."""
    result = simulate(load_arch("tie", sets), trace)
    return result, result.layers[0]


def chip_pj(layer: LayerResult) -> float:
    """Energy without the DRAM."""
    return sum(pj for part, pj in layer.energy_pj.items() if not part.startswith("dram"))


def rows() -> list[Row]:
    """Cycles of both variants, sizes, rates, and what can be said about EIE."""
    found: list[Row] = []
    rates: dict[bool, list[float]] = {False: [], True: []}
    cycles: dict[str, dict[bool, int]] = {}
    power: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, _, _, plain, packed) in LAYERS.items():
            trace = trace_of(name, Path(folder))
            operand = trace.operand("fc", "filter")
            assert operand is not None
            cores = operand.payload_bits // operand.bits
            found.append(
                Row("tie", name, "compression", "x", operand.elements / cores, RATIOS[name], "ISCA 2019; recalled",
                    aim_pct=0.1)
            )  # fmt: skip
            for pack, theirs in ((False, plain), (True, packed)):
                result, layer = run(trace, f"engine.pack={str(pack).lower()}")
                busy = layer.info["array_cycles"]
                cycles.setdefault(name, {})[pack] = busy
                rates[pack].append(2 * layer.info["matrix_macs"] / busy / 1e3)
                how = "cycles, last stage packed" if pack else "cycles"
                lost = layer.cycles_by_cause
                note = f"+ {lost['fill_drain']} to drain, {lost['bank_conflict']} lost to banks"
                found.append(Row("tie", name, how, "cycles", busy, theirs, RULE, aim_pct=0.0, note=note))
                if not pack:
                    power.append(chip_pj(layer) / busy)  # mW at 1 GHz
                    area = sum(result.area_mm2.values())
    for pack, mean in rates.items():
        how = "throughput, mean" + (", last stage packed" if pack else "")
        found.append(
            Row("tie", "four layers", how, "TOPS dense-equivalent", float(np.mean(mean)), 7.64,
                "ISCA 2019; recalled", note="of the array alone; the paper's weighting is not known")
        )  # fmt: skip
    mean_power = float(np.mean(power))
    note = "MACs, registers, memories; no control, no clock tree"
    found += [
        Row("tie", "four layers", "power, mean", "mW", mean_power, TIE_MW, "ISCA 2019; recalled", note=note),
        Row("tie", "chip", "area", "mm2", area, TIE_MM2, "ISCA 2019, abstract", note=note),
        Row("tie", "four layers", "efficiency", "TOPS/W dense-equivalent",
            float(np.mean(rates[False])) / mean_power * 1e3, 72.9, "survey, Table 16",
            note=note + "; 72.9 goes with 104.8 mW, the paper's power in another table"),
    ]  # fmt: skip
    return [*found, *_against_eie(cycles, mean_power, area)]


def _against_eie(cycles: dict[str, dict[bool, int]], power_mw: float, area: float) -> list[Row]:
    """Ratios of rate per mm2 and per W. The two ends of a published range differ by 1.48 in both, so by speed alone.

    With the rule's cycles and the published power, FC7 gives exactly the upper end.
    """
    found: list[Row] = []
    area_28 = EIE_MM2 * (28 / 45) ** 2
    published: dict[str, Any] = {"vgg16 fc6": (7.22, 3.03), "vgg16 fc7": (10.66, 4.48)}
    for name, seconds in EIE_SECONDS.items():
        there = seconds * EIE_MHZ / EIE_AT_28_MHZ
        note = f"EIE scaled to {EIE_AT_28_MHZ:g} MHz, {area_28:.1f} mm2 and {EIE_MW:g} mW"
        if name.endswith("fc6"):
            note += "; the published end would need some 26,900 cycles, which the rule does not explain"
        for pack in (False, True):
            speed = there / (cycles[name][pack] * 1e-9)
            how = ", last stage packed" if pack else ""
            for per, theirs, ours, paper in (
                ("mm2", published[name][0], speed * area_28 / area, speed * area_28 / TIE_MM2),
                ("W", published[name][1], speed * EIE_MW / power_mw, speed * EIE_MW / TIE_MW),
            ):
                found += [
                    Row("tie", name, f"rate per {per} over EIE{how}", "x", ours, theirs, RATIO, note=note),
                    Row("tie", name, f"rate per {per} over EIE{how}, TIE's {per} as published", "x", paper, theirs,
                        RATIO, note=note),
                ]  # fmt: skip
    return found


if __name__ == "__main__":
    main("TIE beside its published figures", rows)
