"""DaDianNao, Thinker, Simba and Tianjic beside their published figures.

    python benchmarks/validate_manycore.py

Every parameter that the papers do not give is marked "assumed" in arch_configs/*.yaml, and listed below the table.
"""

from __future__ import annotations

from validation_rows import Row, main

from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear, Recurrent, Reshape
from accelsim.workload.trace import synthetic_trace

FC7_BATCH = 256
PHASES = 8


def fully_connected(batch: int, width: int, layers: int = 1) -> Network:
    """`layers` products of width x width, without biases."""
    nodes = [Node("x", Input((batch, width)))]
    for index in range(layers):
        nodes.append(Node(f"fc{index}", Linear(width, bias=False), (nodes[-1].name,)))
    return Network(f"fc{width}", nodes)


def run(
    arch: str, network: Network, *overrides: str, bits: int = 8, activation_bits: int | None = None
) -> RunResult:
    """One run with described operands, inputs of as many bits as weights if nothing else is said."""
    trace = synthetic_trace(network, weight_bits=bits, activation_bits=activation_bits or bits)
    return simulate(load_arch(arch, overrides), trace)


def dadiannao() -> list[Row]:
    """FC7 at a steady rate, and what the chip comes to."""
    source = "MICRO 2014"
    result = run("dadiannao_chip", fully_connected(FC7_BATCH, 4096), bits=16)
    busy = result.layers[0].cycles_by_cause["compute"]
    steady = f"{FC7_BATCH} vectors one after another, first fetch and last write-back included"
    rule = "rule: ceil(4096/16) x ceil(4096/256) steps"
    return [
        Row("dadiannao_chip", "FC7 4096 x 4096", "cycles a vector", "", result.cycles / FC7_BATCH, 4096, rule, 0.1,
            steady),
        Row("dadiannao_chip", "FC7 4096 x 4096", "array cycles a vector", "", busy / FC7_BATCH, 4096, rule, 0.0),
        Row("dadiannao_chip", "peak", "throughput", "TOPS",
            2 * result.peak_macs_per_cycle * result.clock_hz / 1e12, 5.58, f"{source}, abstract",
            note="ours: 256 products and sums in each tile; the published figure comes to 576 operations a tile and "
            "cycle, 64 more"),
        Row("dadiannao_chip", "chip", "area", "mm2", sum(result.area_mm2.values()), 67.73, f"{source}, Table 6",
            note="no HyperTransport, control or wires"),
        Row("dadiannao_chip", "peak over area", "throughput", "GOPS/mm2",
            2 * result.peak_macs_per_cycle * result.clock_hz / 1e9 / sum(result.area_mm2.values()), 63.5,
            "as ISAAC compares (ISCA 2016)", note="follows from the rows above; 5.58 TOPS on 67.73 mm2 would be 82.4"),
        Row("dadiannao_chip", "FC7 4096 x 4096", "power", "W", result.power_w, 15.97, f"{source}, Table 6",
            note="eDRAM is priced as SRAM without refresh; theirs is the chip's peak"),
    ]  # fmt: skip


def tianjic() -> list[Row]:
    """What a phase holds, with all 156 cores full and one layer on each; and the phase as the chip is triggered."""
    cores = 156
    assign = ", ".join(f"{{layers: fc{i}, cores: [{i}]}}" for i in range(cores))
    chain = fully_connected(1, 256, cores)
    free = run("tianjic", chain, "cores.items=1", f"cores.assign=[{assign}]", "cores.phase_cycles=1")
    products = max(layer.cycles_by_cause["compute"] for layer in free.layers)
    longest = max(layer.cycles for layer in free.layers)
    ends = [
        run("tianjic", chain, f"cores.items={items}", f"cores.assign=[{assign}]").cycles for items in (1, 1 + PHASES)
    ]
    phase = (ends[1] - ends[0]) / PHASES
    tops = 2 * chain.macs / (phase / free.clock_hz) / 1e12
    source = "IEEE CAS Magazine Q2 2022"
    return [
        Row("tianjic", "256 x 256 on each core", "products of a phase", "cycles", products, 4096,
            "rule: 256 x 256 synapses on 16 units", 0.0),
        Row("tianjic", "256 x 256 on each core", "phase from work alone", "cycles", longest, 5050, source,
            note="derived: products and the way to the next core or out, the slowest of 156; what axons, somas and "
            "routers need beside (a packet for each of 256 neurons) is not published cycle by cycle"),
        Row("tianjic", "256 x 256 on each core", "phase as triggered", "cycles", phase, 5050, source, 1.0,
            "not derived: cores.phase_cycles is the published period, at which the chip's cores are triggered; the row "
            "says that the work fits and that all 156 cores keep the period"),
        Row("tianjic", "256 x 256 on each core", "throughput", "TOPS", tops, 1.28 * 0.95, "Nature 2019, peak", 1.0,
            "steady state of the pipeline, two operations a product; theirs, which checks the phase: 1.28 TOPS/W at "
            "0.95 W"),
    ]  # fmt: skip


def simba() -> list[Row]:
    """ResNet-50, batch 1, with even and with uneven shares of the chiplets."""
    network = load_network("resnet50")
    even, uneven = run("simba", network), run("simba", network, "cores.shares=searched")
    free = [run("simba", network, "dram.fidelity=ideal", f"cores.shares={how}") for how in ("even", "searched")]
    gains = {x.name: x.cycles / y.cycles - 1 for x, y in zip(even.layers, uneven.layers, strict=True) if "(" in
             y.info["partition"]}  # fmt: skip
    most = max(gains, key=lambda name: gains[name])
    source, note = "MICRO 2019, abstract", "clock derived from the published peak; links and buffers partly assumed"
    found = []
    for result, shares in ((even, "even shares"), (uneven, "uneven shares")):
        workload = f"resnet50, {shares}"
        found += [
            Row("simba", workload, "throughput", "images/s", 1 / result.seconds, 1988, source, note=note),
            Row("simba", workload, "latency", "ms", result.seconds * 1e3, 0.50, source, note=note),
            Row("simba", workload, "efficiency", "TOPS/W", result.tops_per_watt, 6.1, source,
                note="theirs is the best of the package, at the lowest supply; ours includes DRAM"),
        ]  # fmt: skip
    found += [
        Row("simba", "resnet50, uneven shares", "throughput", "images/s", 1 / uneven.seconds, 1903,
            "JSSC 2020, recalled, unverified", note=note),
        Row("simba", "peak", "throughput", "TOPS", 2 * uneven.peak_macs_per_cycle * uneven.clock_hz / 1e12, 128, source,
            note="not derived: it gives the clock"),
    ]  # fmt: skip
    gain = "ours: over the even partition that the search takes; theirs: at most, of uneven shares, placement and " \
        "pipelining together"
    return [
        *found,
        Row("simba", f"resnet50 {most}", "gain from uneven shares", "%", 100 * gains[most], 16, source, note=gain),
        Row("simba", "resnet50", "gain from uneven shares", "%", 100 * (even.seconds / uneven.seconds - 1), 16, source,
            note=f"{gain}; ours is bound by the assumed DRAM in most layers"),
        Row("simba", "resnet50, DRAM without cost", "gain from uneven shares", "%",
            100 * (free[0].seconds / free[1].seconds - 1), 16, source, note=gain),
    ]  # fmt: skip


def lrcn() -> Network:
    """A hybrid network: AlexNet as far as fc6, and an LSTM of 256 units (Donahue et al., CVPR 2015, Section 4)."""
    alexnet = load_network("alexnet")
    last = [node.name for node in alexnet.nodes].index("relu6")
    tail = [Node("sequence", Reshape((1, 1, 4096)), ("relu6",)), Node("lstm", Recurrent("lstm", 256), ("sequence",))]
    return Network("lrcn", [*alexnet.nodes[: last + 1], *tail])


def thinker() -> list[Row]:
    """The peak at 8 bits from the configuration alone; a hybrid network, layer by layer and side by side."""
    arch = load_arch("thinker")
    assert arch.spec.cores is not None
    bits = {**arch.spec.bits(), "filter": 8}
    peak = 2 * arch.engine.peak_macs_per_cycle(bits) * arch.spec.cores.count * arch.spec.clock_hz / 1e9
    network, alone = lrcn(), ("cores.schedule=layers", "cores.items=1", "cores.assign=[]")
    wide, narrow = (run("thinker", network, *alone, bits=bits, activation_bits=16) for bits in (16, 8))
    one, two = (run("thinker", network, f"cores.items={items}", activation_bits=16) for items in (1, 2))
    chip_pj = sum(pj for layer in narrow.layers for part, pj in layer.energy_pj.items() if not part.startswith("dram"))
    source, unknown = "JSSC 2018, abstract", "theirs: the mean of hybrid networks, which the abstract does not name"
    what = "lrcn (AlexNet to fc6, LSTM of 256)"
    return [
        Row("thinker", "peak", "throughput at 8 bits", "GOPS", peak, 409.6, "VLSI 2017, abstract", 0.1),
        Row("thinker", what, "gain of PE utilization, jobs side by side", "%",
            100 * (narrow.cycles / (two.cycles - one.cycles) - 1), 13.7, source,
            note=f"{unknown}; ours: a quarter of each array's rows for fc6 and the LSTM, over all rows for one layer "
            "after another; how fast weights reach the rows is assumed, and decides it"),
        Row("thinker", what, "throughput, 8 over 16-bit weights", "x", wide.cycles / narrow.cycles, 1.91, source,
            note=f"{unknown}, nor which of their layers have 8 bits; ours: all layers"),
        Row("thinker", what, "efficiency at 8 bits, without DRAM", "TOPS/W", 2 * narrow.macs / chip_pj, 1.06,
            "VLSI 2017, title: 1.06 to 5.09", note="ours at one supply voltage; theirs: the lower end of the range"),
    ]  # fmt: skip


def rows() -> list[Row]:
    """All comparisons."""
    return [*dadiannao(), *tianjic(), *simba(), *thinker()]


if __name__ == "__main__":
    main("Accelerators of many tiles", rows)
