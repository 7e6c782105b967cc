"""Crossbars and in-memory arithmetic beside their published figures.

    python benchmarks/validate_crossbars.py

Peaks come from the configuration files alone: all arrays busy, no network run. Nothing is fitted. ISAAC's and PUMA's
figures partly rest on recalled tables (see the notes of the files). What papers give only over other machines (PRIME,
SNrram, ReCom) cannot be compared without those machines, and is not.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from validation_rows import Row, main

from accelsim.base.counts import ActionCounts
from accelsim.engines.crossbar import Crossbar
from accelsim.engines.crossbar_math import Cells
from accelsim.engines.crossbar_rule import Mvm
from accelsim.engines.crossbar_sparse import units_of_product
from accelsim.engines.insitu import InSitu, add_cycles, multiply_cycles
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.costs import Costs

ISAAC = "Shafiee et al., ISCA 2016"
PUMA = "Ankit et al., ASPLOS 2019"
SIM = "PUMA's public simulator"


def peak_counts(arch: Architecture) -> tuple[ActionCounts, int]:
    """What a core does in one product on all its units, and how many cycles that takes from start to start."""
    engine, bits = arch.engine, arch.spec.bits()
    assert isinstance(engine, Crossbar)
    spec, units = engine.spec, engine.units(bits)
    mvm = engine.mvm(spec.rows, spec.cols, spec.input_bits, True, bits)
    columns = engine.columns(bits)
    counts = ActionCounts()
    arrays = units * engine.arrays_per_unit(bits)
    conversions = arrays * mvm.steps * columns * (engine.cells_of(bits["filter"]) // engine.arrays_per_unit(bits))
    counts.add("crossbar", "read", arrays * mvm.steps)
    counts.add("dac", "convert", arrays * mvm.steps * spec.rows)
    counts.add("sample_hold", "sample", conversions)
    counts.add("adc", "convert", conversions)
    counts.add("shift_add", "op", conversions)
    for item in spec.parts:
        counts.add(item.name, "busy_cycle", mvm.interval * (ceil(spec.arrays / item.arrays) if item.arrays else 1))
    store = next(b for b in arch.spec.buffers if "ifmap" in b.holds)
    counts.add(store.name, "read", ceil(units * spec.rows * bits["ifmap"] / store.word_bits))
    counts.add(store.name, "write", ceil(units * columns * bits["ofmap"] / store.word_bits))
    return counts, mvm.interval


def peak_power(arch: Architecture) -> tuple[dict[str, float], dict[str, float], float]:
    """(watts by component, mm2 by component, TOPS) of the chip at its peak."""
    counts, cycles = peak_counts(arch)
    assert arch.spec.cores is not None and isinstance(arch.engine, Crossbar)
    costs = Costs(arch)
    seconds = cycles / arch.spec.clock_hz
    report = costs.price(counts, 0.0)
    watts = {name: pj * 1e-12 / seconds * arch.spec.cores.count for name, pj in report.by_component().items()}
    for name, mw in costs.table.leakage_mw().items():
        if name != "dram" and mw:
            watts[name] = watts.get(name, 0.0) + mw * 1e-3
    tops = 2 * float(arch.engine.peak(arch.spec.bits())) * arch.spec.cores.count * arch.spec.clock_hz / 1e12
    return watts, costs.area_mm2(), tops


def _peaks(name: str, published: dict[str, tuple[float, str, str]]) -> list[Row]:
    watts, area, tops = peak_power(load_arch(name))
    power, size = sum(watts.values()), sum(area.values())
    ours = {
        "peak throughput": (tops, "TOPS"), "power at peak": (power, "W"), "area": (size, "mm2"),
        "peak throughput by area": (1e3 * tops / size, "GOPS/mm2"),
        "peak throughput by power": (1e3 * tops / power, "GOPS/W"),
    }  # fmt: skip
    return [
        Row(name, "all arrays busy", what, ours[what][1], ours[what][0], theirs, source, note=note)
        for what, (theirs, source, note) in published.items()
    ]


def _isaac() -> list[Row]:
    arch = load_arch("isaac")
    assert isinstance(arch.engine, Crossbar)
    mvm = arch.engine.mvm(128, 128, 16, True, {"filter": 16})
    rows = [
        Row("isaac", "128 x 128 product", "pipeline, read to write-back", "cycles of 100 ns", mvm.latency / mvm.step,
            22, ISAAC, aim_pct=0.0),
        Row("isaac", "128 x 128 product", "from one product to the next", "ns", mvm.interval / 1.28, 1600, ISAAC,
            aim_pct=0.0),
        Row("isaac", "converter", "ADC bits that lose nothing", "bits", Cells(128).bits_needed, 8,
            f"{ISAAC}: columns stored inverted", aim_pct=0.0),
    ]  # fmt: skip
    rows += _peaks("isaac", {
        "peak throughput": (41.3, f"{ISAAC}, derived from Table 1", ""),
        "power at peak": (65.8, f"{ISAAC}, Table 1", "routers by our tables; the ADC runs at 1.28 GS/s, priced at 1.2"),
        "area": (85.4, f"{ISAAC}, Table 1", "routers by our tables (0.151 mm2 for 4 tiles in the paper)"),
        "peak throughput by area": (479, ISAAC, ""),
        "peak throughput by power": (627, f"{ISAAC}, recalled", ""),
    })  # fmt: skip
    watts, area, _ = peak_power(arch)
    tile = {
        "adc": (192.0, 0.1152), "dac": (48.0, 0.00204), "crossbar": (28.8, 0.0024), "sample_hold": (0.12, 0.00048),
        "shift_add": (2.45, 0.00294), "edram": (20.7, 0.083),
    }  # fmt: skip
    for part, (mw, mm2) in tile.items():
        note = "by the reads and writes of products; the paper's is at full port rate" if part == "edram" else ""
        rows.append(Row("isaac", "one tile", f"power of {part}", "mW", watts[part] * 1e3 / 168, mw, f"{ISAAC}, Table 1",
                        note=note))  # fmt: skip
        rows.append(Row("isaac", "one tile", f"area of {part}", "mm2", area[part] / 168, mm2, f"{ISAAC}, Table 1"))
    return rows


def _puma() -> list[Row]:
    arch = load_arch("puma")
    assert isinstance(arch.engine, Crossbar)
    mvm = arch.engine.mvm(128, 128, 16, True, {"filter": 16})
    at_100 = Mvm(16, 100, 100, after=100, overlap=False)
    counts, _ = peak_counts(arch)
    analog = {k: v for k, v in counts.items() if k[0] in ("crossbar", "dac", "sample_hold", "adc", "shift_add")}
    unit = sum(r.energy_pj for r in Costs(arch).price(analog, 0.0).rows) / arch.engine.units(arch.spec.bits())
    rows = [
        Row("puma", "128 x 128 product", "latency", "ns", mvm.latency, 2304, PUMA, aim_pct=0.0),
        Row("puma", "128 x 128 product", "latency at 100 cycles for 8 bits", "cycles", at_100.latency, 1800, SIM,
            aim_pct=0.0),
        Row("puma", "four products in a row", "cycles at 100 for 8 bits", "cycles",
            3 * at_100.interval + at_100.latency, 7200, f"{SIM}: 7204 with fetch and halt", aim_pct=0.0),
        Row("puma", "128 x 128 product", "energy", "nJ", unit / 1e3, 43.97, PUMA,
            note="converters and arrays; the public simulator's program comes to 106 nJ"),
        Row("puma", "vector of 128", "ALU", "cycles", ceil(128 / 4), 32, f"{SIM}: 36 with fetch and halt", aim_pct=0.0),
    ]  # fmt: skip
    return rows + _peaks("puma", {
        "peak throughput": (52.31, PUMA, "52.31 TOPS take a product every 1383 ns; a unit's latency is 2304 ns"),
        "power at peak": (62.5, PUMA, "the tiles' control units are not in our sum"),
        "area": (90.6, PUMA, "recalled parts, as in the file's notes"),
        "peak throughput by area": (577, PUMA, ""),
        "peak throughput by power": (837, PUMA, ""),
    })  # fmt: skip


DENSITIES = ((1.0, 1.0), (0.5, 0.5), (0.3, 0.5), (0.1, 0.5), (0.1, 0.1))


def sre_speedups(weight: float, activation: float, structured: bool = False) -> dict[str, float]:
    """Speed-up of one 128 x 128 crossbar of 16-bit weights and inputs over no skipping, by what is skipped."""
    random = np.random.default_rng(7)
    mask = random.random((128, 16)) < weight
    if structured:  # whole rows, as structured sparsity learning leaves them
        mask = np.repeat(random.random((128, 1)) < weight, 16, 1)
    w = random.integers(1, 2**15, (128, 16)) * mask
    # magnitudes as trained networks have them: half-normal, far below the largest
    x = np.minimum(np.abs(random.normal(0, 2**12, (64, 128))), 2**15).astype(np.int64)
    x *= random.random((64, 128)) < activation
    cells = Cells(16, 2, 17, 16, 1, 6, "differential", False)
    cycles = {
        skip: int(units_of_product(x, w, cells, 128, 16, (16, 16), skip).sum())
        for skip in ("none", "weights", "inputs", "both")
    }
    return {skip: cycles["none"] / cycles[skip] for skip in ("weights", "inputs", "both")}


def _sre() -> list[Row]:
    rows = []
    source = "Yang et al., ISCA 2019, average and best over SSL-pruned networks"
    best = sre_speedups(0.1, 0.3, structured=True)["both"]
    mean = sre_speedups(0.3, 0.5, structured=True)["both"]
    note = "weights {}% of rows, activations {}%, assumed: the pruned networks are not public"
    rows.append(Row("sparse_reram", "random structured masks", "joint speed-up, average case", "x", mean, 13.1, source,
                    note=note.format(30, 50)))  # fmt: skip
    rows.append(Row("sparse_reram", "random structured masks", "joint speed-up, best case", "x", best, 42.3, source,
                    note=note.format(10, 30)))  # fmt: skip
    cells = Cells(16, 2, 17, 16, 1, 6, "differential", False)
    dense = units_of_product(np.ones((1, 128), int), np.ones((128, 16), int), cells, 128, 16, (16, 16), "none")
    rows.append(Row("sparse_reram", "one crossbar, nothing skipped", "operation units", "units", int(dense.sum()),
                    16 * 8 * 8, "rule: 16 bits x 8 column groups x 128 / 16 rows", aim_pct=0.0))  # fmt: skip
    return rows


def _others() -> list[Row]:
    rows = []
    xnor = load_arch("xnor_rram")
    assert isinstance(xnor.engine, Crossbar)
    bits = {"ifmap": 1, "filter": 1, "psum": 16, "ofmap": 8}
    gops = 2 * float(xnor.engine.peak(bits)) * xnor.spec.clock_hz / 1e9
    rows.append(Row("xnor_rram", "all rows", "peak throughput", "GOPS", gops, 158, "Yin et al., arXiv 1909.07514",
                    note="the clock of 77 MHz follows from this figure and 8 columns a cycle"))  # fmt: skip
    chip = load_arch("mixed_signal_bnn")
    assert isinstance(chip.engine, Crossbar)
    rows.append(Row("mixed_signal_bnn", "2 x 2 x 256 patch", "binary products a cycle", "MAC",
                    float(chip.engine.peak(bits)), 65536,
                    "Bankman et al., JSSC 2019: 64 neurons of 1024 inputs", aim_pct=0.0))  # fmt: skip
    cache = load_arch("neural_cache")
    assert isinstance(cache.engine, InSitu)
    rows += [
        Row("neural_cache", "8 bits", "addition", "cycles", add_cycles("neural_cache", 8), 9,
            "Eckert et al., ISCA 2018", aim_pct=0.0),
        Row("neural_cache", "8 bits", "product", "cycles", multiply_cycles("neural_cache", 8), 102,
            "Eckert et al., ISCA 2018", aim_pct=0.0),
        Row("neural_cache", "Inception v3 Conv2d_2b", "a round of windows", "cycles",
            9 * cache.engine.mac_cycles(8, 24) + 5 * (24 + 25), 2784, "Eckert et al., ISCA 2018, recalled",
            note="32 channels, sums of 24 bits; the paper's reduction of 660 cycles is not explained by its adder"),
        Row("scope", "8 bits", "AND of two streams", "row cycles", multiply_cycles("scope", 8) / 256, 3,
            "Li et al., MICRO 2018", aim_pct=0.0),
    ]  # fmt: skip
    return rows


def rows() -> list[Row]:
    """All comparisons."""
    return _isaac() + _puma() + _sre() + _others()


if __name__ == "__main__":
    main("Crossbars and in-memory arithmetic beside their published figures", rows)
