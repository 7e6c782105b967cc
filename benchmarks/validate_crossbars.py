"""Crossbars and in-memory arithmetic beside their published figures.

    python benchmarks/validate_crossbars.py

Peaks come from the configuration files alone: all arrays busy, no network run. Nothing is fitted. ISAAC's and PUMA's
figures partly rest on recalled tables (see the notes of the files). Where a paper gives a ratio over another machine,
ours is the ratio over the same arrays without what the paper adds, on AlexNet pruned by structures (`ssl_alexnet.py`).
"""

from __future__ import annotations

from math import ceil

import numpy as np
from ssl_alexnet import packing, skipping
from validation_rows import Row, main

from accelsim.base.counts import ActionCounts
from accelsim.engines.crossbar import Crossbar
from accelsim.engines.crossbars.math import Cells
from accelsim.engines.crossbars.rule import Mvm
from accelsim.engines.crossbars.sparse import units_of_product
from accelsim.engines.insitu import InSitu, add_cycles, multiply_cycles
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.costs import Costs
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace

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
    kinds = ("crossbar", "dac", "sample_hold", "adc", "shift_add")
    analog = ActionCounts({k: v for k, v in counts.items() if k[0] in kinds})
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
    rows += _to_isaac()
    return rows + _peaks("puma", {
        "peak throughput": (
            52.31, PUMA, "52.31 TOPS take a product every 1383 ns, its simulator starts one every latency; see the "
            "ratios to ISAAC above, which do not depend on how operations are counted",
        ),
        "power at peak": (62.5, PUMA, "the tiles' control units are not in our sum"),
        "area": (90.6, PUMA, "recalled parts, as in the file's notes"),
        "peak throughput by area": (577, PUMA, ""),
        "peak throughput by power": (837, PUMA, ""),
    })  # fmt: skip


def _to_isaac() -> list[Row]:
    """PUMA over ISAAC; by PUMA's table ISAAC has 1055 GOPS/W and 815 GOPS/mm2, not 627 and 479: it counts otherwise."""
    ours = []
    for name in ("puma", "isaac"):
        watts, area, tops = peak_power(load_arch(name))
        ours.append((tops / sum(watts.values()), tops / sum(area.values())))
    (power, size), (isaac_power, isaac_size) = ours
    note = "837 and 577 over ISAAC's by the same table are 1.68 and 1.70 x what ISAAC's paper says"
    return [
        Row("puma", "all arrays busy", "peak throughput by power over ISAAC's", "x", power / isaac_power, 1 - 0.207,
            PUMA, note=note),
        Row("puma", "all arrays busy", "peak throughput by area over ISAAC's", "x", size / isaac_size, 1 - 0.292,
            PUMA, note=note),
    ]  # fmt: skip


def sre_speedups(weight: float, activation: float, structured: bool = False) -> dict[str, float]:
    """Speed-up of one crossbar of the Sparse ReRAM Engine over no skipping, by what is skipped, at these densities."""
    engine = load_arch("sparse_reram").engine
    assert isinstance(engine, Crossbar)
    spec, wide = engine.spec, engine.columns({"filter": 16})
    cells = spec.cells(16, 16, False)
    random = np.random.default_rng(7)
    mask = random.random((spec.rows, wide)) < weight
    if structured:  # whole rows, as structured sparsity learning leaves them
        mask = np.repeat(random.random((spec.rows, 1)) < weight, wide, 1)
    w = random.integers(1, 2**15, (spec.rows, wide)) * mask
    # magnitudes as trained networks have them: half-normal, far below the largest
    x = np.minimum(np.abs(random.normal(0, 2**12, (64, spec.rows))), 2**15).astype(np.int64)
    x *= random.random(x.shape) < activation
    active = spec.active_rows, spec.active_cols * cells.slices // cells.cells_per_weight
    cycles = {
        skip: int(units_of_product(x, w, cells, spec.rows, wide, active, skip).sum())
        for skip in ("none", "weights", "inputs", "both")
    }
    return {skip: cycles["none"] / max(1, cycles[skip]) for skip in ("weights", "inputs", "both")}


def _sre() -> list[Row]:
    source = "Yang et al., ISCA 2019, {} over SSL-pruned networks"
    drawn = "rows by the published shares, which of them drawn"
    found = skipping()["both"]
    cells = Cells(16, 2, 17, 16, 1, 6, "differential", False)
    dense = units_of_product(np.ones((1, 128), int), np.ones((128, 16), int), cells, 128, 16, (16, 16), "none")
    rows = [
        Row("sparse_reram", "alexnet by SSL, convolutions", "joint speed-up", "x", found[0], 13.1,
            source.format("average"), note=f"{drawn}; one network of several, whose densities are not public"),
        Row("sparse_reram", "alexnet by SSL, convolutions", "conversions saved", "%", 100 * found[1], 85.3,
            source.format("average energy saved"), note=f"{drawn}; conversions are most of the energy"),
        Row("sparse_reram", "alexnet by SSL, best layer", "joint speed-up", "x", found[2], 42.3,
            source.format("best"), note="conv4, 15.3% of rows; a layer of 5% of rows and 10% of inputs would reach it"),
        Row("sparse_reram", "one crossbar, nothing skipped", "operation units", "units", int(dense.sum()), 16 * 8 * 8,
            "rule: 16 bits x 8 column groups x 128 / 16 rows", aim_pct=0.0),
    ]  # fmt: skip
    return rows + _packed()


def _packed() -> list[Row]:
    note = "against the same arrays unpacked; the paper's networks and baseline are not public at this level"
    where = "alexnet by SSL, convolutions"
    crossbars, _, _ = packing("snrram")
    _, time, conversions = packing("recom")
    dac = "Wang et al., DAC 2018, abstract"
    date = "Ji et al., DATE 2018, abstract"
    return [
        Row("snrram", where, "crossbars saved", "%", 100 * (1 - 1 / crossbars), 69.8, dac, note=note),
        Row("snrram", where, "speed-up with as many crossbars", "x", packing("snrram")[1], 2.49, dac, note=note),
        Row("recom", where, "speed-up with as many crossbars", "x", time, 3.37, date, note=note),
        Row("recom", where, "conversions saved", "x", conversions, 2.41, f"{date}: energy", note=note),
    ]


def macro_efficiency(arch: Architecture) -> float:
    """TOPS/W of arrays and converters alone, binary, all arrays busy."""
    engine = arch.engine
    assert isinstance(engine, Crossbar)
    spec, counts = engine.spec, ActionCounts()
    counts.add("crossbar", "read", spec.arrays)
    counts.add("dac", "convert", spec.rows * spec.arrays)
    for part, action in (("sample_hold", "sample"), ("adc", "convert"), ("shift_add", "op")):
        counts.add(part, action, spec.cols * spec.arrays)
    pj = sum(row.energy_pj for row in Costs(arch).price(counts, 0.0).rows)
    return float(2 * spec.rows * spec.cols * spec.arrays / pj)


def _dram_arrays() -> float:
    """SCOPE's peak by area over DRISA's."""
    found = []
    for name in ("scope", "drisa"):
        arch = load_arch(name)
        found.append(arch.engine.peak_macs_per_cycle(arch.spec.bits()) / sum(Costs(arch).area_mm2().values()))
    return found[0] / found[1]


def _inception() -> float:
    trace = synthetic_trace(load_network("inception_v3"))
    return 1e3 * simulate(load_arch("neural_cache"), trace).seconds


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
    rows += [
        Row("xnor_rram", "macro", "peak throughput by power", "TOPS/W", macro_efficiency(xnor), 24,
            "Yin et al., arXiv 1909.07514", note="arrays and converters by our tables; decoders, drivers and control "
            "of the silicon are not in them"),
        Row("mixed_signal_bnn", "neurons", "peak throughput by power", "TOPS/W", macro_efficiency(chip), 772,
            "Deng et al. 2020, Table 16", note="priced as converters of 10 bits and drivers; the chip only compares"),
        Row("scope", "8 bits, sums of 24", "peak throughput by area over DRISA's", "x", _dram_arrays(), 2.3,
            "Li et al., MICRO 2018, abstract", note="equal arrays assumed for both: SCOPE's are not published"),
    ]  # fmt: skip
    cache = load_arch("neural_cache")
    assert isinstance(cache.engine, InSitu)
    rows += [
        Row("neural_cache", "8 bits", "addition", "cycles", add_cycles("neural_cache", 8), 9,
            "Eckert et al., ISCA 2018", aim_pct=0.0),
        Row("neural_cache", "8 bits", "product", "cycles", multiply_cycles("neural_cache", 8), 102,
            "Eckert et al., ISCA 2018", aim_pct=0.0),
        Row("neural_cache", "Inception v3 Conv2d_2b", "a round of windows", "cycles",
            9 * cache.engine.mac_cycles(8, 24) + 5 * (24 + 25), 2784, "Eckert et al., ISCA 2018, recalled",
            note="products 9 x 236 on both sides; 5 halvings are 245 cycles here and 660 there. Sums of 32 bits would "
            "add 80 cycles; the other 335 are 67 a halving, as if moving a bit took three cycles and not one"),
        Row("neural_cache", "inception_v3", "latency", "ms", _inception(), 4.72, "Eckert et al., ISCA 2018, recalled",
            note="not simulated: loading filters through the transposing units (about half of the paper's time, "
            "recalled), input streaming beside the arithmetic, quantization by the smallest and largest value"),
        Row("scope", "8 bits", "AND of two streams", "row cycles", multiply_cycles("scope", 8) / 256, 3,
            "Li et al., MICRO 2018", aim_pct=0.0),
    ]  # fmt: skip
    return rows


def rows() -> list[Row]:
    """All comparisons."""
    return _isaac() + _puma() + _sre() + _others()


if __name__ == "__main__":
    main("Crossbars and in-memory arithmetic beside their published figures", rows)
