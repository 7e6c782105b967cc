"""UNPU, binary, ternary, table, reuse and outlier engines beside their published figures.

    python benchmarks/validate_quantized_other.py

Rates are those of whole layers on the array (one tile, no memory in the way) or of whole runs, as each row says; a peak
is a layer that fills the array. Nothing is fitted: where a clock or a shape is assumed, the remark says so.
"""

from __future__ import annotations

import csv
from fractions import Fraction
from typing import Any

from validation_rows import Row, main, references

from accelsim.engines.base import ENGINES, Task
from accelsim.mapping.problem import Mapping, Room
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Op, Pool, Reshape
from accelsim.workload.trace import Trace, synthetic_trace

ALL = 2**20
WHOLE = Mapping(ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, "mnk")
ROOM = Room("all", 2**40, ("ifmap", "filter", "psum", "ofmap"), 2)
BITS = {"ifmap": 16, "filter": 16, "psum": 32, "ofmap": 16}


def published(accelerator: str, metric: str, condition: str, column: str = "") -> float:
    """A figure of the table of published results, by parts of its line."""
    with (references() / "published" / "results.csv").open() as file:
        for line in csv.reader(file):
            if line[0] == accelerator and line[3] == metric and condition in line[6] and column in line[1]:
                return float(line[4])
    raise SystemExit(f"results.csv has no {metric} of {accelerator} ({condition})")


def chain(shape: tuple[int, ...], ops: list[tuple[str, Op]]) -> Network:
    """A network of one layer after the other."""
    nodes = [Node("x", Input(shape))]
    for name, op in ops:
        nodes.append(Node(name, op, (nodes[-1].name,)))
    return Network("chain", nodes)


def on_array(arch: Architecture, trace: Trace, layer: str, fields: dict[str, Any] | None = None) -> int:
    """Cycles of a layer on the array alone."""
    engine = arch.engine
    if fields is not None:
        made = ENGINES.lookup(engine.kind)
        engine = made(made.Spec(**{**engine.spec.model_dump(), **fields}))
    task = Task(
        trace.network[layer], trace, BITS, (ROOM,), {"all": 64}, dram_bytes_per_cycle=Fraction(64), pinned=WHOLE
    )  # fmt: skip
    rows = engine.lower(task).rows
    return int(rows["stream_cycles"][:-1].sum() + rows["finish_cycles"][-1])


def gops(arch: Architecture, trace: Trace, layer: str, **fields: Any) -> float:
    """Operations (two for a MAC) per second of a layer on the array, in 1e9."""
    cycles = on_array(arch, trace, layer, fields or None)
    return 2 * trace.network[layer].macs * arch.spec.clock_hz / cycles / 1e9


def conv_of(channels: int, filters: int, kernel: int, size: int) -> Network:
    """One layer with as many outputs as inputs in each direction."""
    return chain((1, channels, size, size), [("conv", Conv(filters, kernel, 1, kernel // 2, bias=False))])


def unpu_rows() -> list[Row]:
    """Rates at every published width, on a layer that fills the tables, and on VGG-16's layers."""
    arch, found = load_arch("unpu"), []
    net = conv_of(144, 128, 3, 48)
    for bits, where in ((16, "16-bit"), (8, "8-bit"), (4, "4-bit"), (1, "1-bit")):
        trace = synthetic_trace(net, weight_bits=bits, activation_bits=16)
        theirs = published("UNPU", "throughput", where)
        found.append(
            Row("UNPU", f"{bits}-bit weights", "peak, a layer that fills the array", "GOPS",
                gops(arch, trace, "conv"), theirs, "JSSC 2019, abstract and figures", 2.0,
                "the first fill of the tables is in our cycles")
        )  # fmt: skip
    vgg = load_network("vgg16")
    for bits in (16, 1):
        trace = synthetic_trace(vgg, weight_bits=bits, activation_bits=16)
        theirs = published("UNPU", "throughput", f"{bits}-bit")
        cycles = sum(on_array(arch, trace, layer.name) for layer in vgg if layer.kind == "conv")
        macs = sum(layer.macs for layer in vgg if layer.kind == "conv")
        ours = 2 * macs * arch.spec.clock_hz / cycles / 1e9
        note = "against the peak: edges of the assumed 18 (24) channels x 64 outputs x 12 positions"
        found.append(
            Row("UNPU", f"VGG-16 convolutions, {bits} bit", "mean rate", "GOPS", ours, theirs, "JSSC 2019, peak",
                None, note)
        )  # fmt: skip
    return found


def yodann_rows() -> list[Row]:
    """The peak, rates with smaller kernels, and power."""
    arch = load_arch("yodann")
    theirs = published("YodaNN", "throughput", "1.2 V")
    streaming = 2 * 32 * 49 * arch.spec.clock_hz / 1e9
    found = [
        Row("YodaNN", "7 x 7 kernels", "peak, fills left out", "GOp/s", streaming, theirs, "TCAD 2018, abstract", 1.0,
            "480 MHz as recalled")
    ]  # fmt: skip
    for kernel, filters in ((7, 32), (5, 32), (3, 64)):
        net = conv_of(32, filters, kernel, 32)
        trace = synthetic_trace(net, weight_bits=1, activation_bits=12)
        note = "against the 7 x 7 peak; fills of windows and weights included"
        found.append(
            Row("YodaNN", f"{kernel} x {kernel}, 32 to {filters} maps of 32 x 32", "rate", "GOp/s",
                gops(arch, trace, "conv"), theirs, "TCAD 2018, abstract", None, note)
        )  # fmt: skip
    net = conv_of(32, 32, 7, 32)
    result = simulate(arch, synthetic_trace(net, weight_bits=1, activation_bits=12))
    parts = result.energy_by_component()
    core = sum(energy for part, energy in parts.items() if part != "dram") / result.seconds * 1e-9
    found.append(
        Row("YodaNN", "7 x 7 kernels", "power of the core, 1.2 V", "mW", core, published("YodaNN", "power", "1.2 V"),
            "ISVLSI 2016, abstract", None,
            "our operators and SRAM instead of its latches, DRAM left out; the array waits for its tiles in our run")
    )  # fmt: skip
    return found


def binary_rows() -> list[Row]:
    """XNE on ResNet-34, BRein's peak, BiNMAC's networks."""
    found = []
    arch = load_arch("xne")
    resnet = load_network("resnet34")
    trace = synthetic_trace(resnet, weight_bits=1, activation_bits=1)
    # the first layer sees 3 channels of more bits: not one for 128 XNOR gates
    compute = [layer.name for layer in resnet if layer.kind in ("conv", "linear")][1:]
    cycles = sum(on_array(arch, trace, name) for name in compute)
    rate, theirs = arch.spec.clock_hz / cycles, published("XNE", "frame_rate", "")
    where, note = "ResNet-34 without its first layer", "the clock, 250 MHz, is assumed from this figure: no check"
    found.append(Row("XNE", where, "frame rate", "frames/s", rate, theirs, "TCAD 2018, abstract", None, note))
    macs = sum(resnet[name].macs for name in compute)
    found.append(
        Row("XNE", where, "products a cycle", "", macs / cycles, 128.0, "TCAD 2018, 128 lanes as recalled", None,
            "the rest: loads of inputs, thresholds, sets of fewer than 128 inputs")
    )  # fmt: skip
    low = load_arch("xne", ["technology.vdd=0.4"])
    result = simulate(low, synthetic_trace(conv_of(512, 512, 3, 16), weight_bits=1, activation_bits=1))
    parts = result.energy_by_component()
    each = sum(energy for part, energy in parts.items() if part != "dram") / (2 * result.macs) * 1000
    theirs = published("XNE", "energy", "0.4 V")
    note = "our SRAM instead of its standard-cell memory; core and clock tree left out"
    what = "energy of an operation, 0.4 V"
    found.append(Row("XNE", "512 x 512 x 3 x 3", what, "fJ", each, theirs, "TCAD 2018, abstract", None, note))
    brein = load_arch("brein_memory")
    net = chain((64, 784), [("fc", Linear(1752, bias=False))])
    trace = synthetic_trace(net, weight_bits=1, activation_bits=1)
    theirs = published("BRein memory", "throughput", "")
    found.append(
        Row("BRein Memory", "64 x 784 to 1752", "rate of a binary layer", "TOPS", gops(brein, trace, "fc") / 1000,
            theirs, "VLSI 2017, abstract", None, "292 outputs a module follow from this figure: no independent check")
    )  # fmt: skip
    return found


def table_rows() -> list[Row]:
    """DNPU's rates and the Q-table's share of multiplications."""
    arch, found = load_arch("dnpu"), []
    net = conv_of(64, 64, 3, 48)
    for bits, where in ((16, "16-bit"), (4, "4-bit, 200 MHz")):
        trace = synthetic_trace(net, weight_bits=bits, activation_bits=16)
        found.append(
            Row("DNPU", f"convolution, {bits}-bit weights", "rate", "GOPS", gops(arch, trace, "conv"),
                published("DNPU", "throughput", where), "ISSCC 2017, as recalled", 3.0,
                "768 x 2 x 200 MHz are 307; the published figure is rounded")
        )  # fmt: skip
    lstm = load_network("lstm_ptb_650")
    rnn = load_arch("q_table_rnn")
    trace = synthetic_trace(lstm, weight_bits=4, activation_bits=16)
    layer = next(found for found in simulate(rnn, trace).layers if found.kind == "recurrent")
    saved = 100 * float(layer.info["multiplications_saved"])
    theirs = published("Q-table RNN", "multiplier_reduction", "")
    found.append(
        Row("Q-table RNN", "LSTM of 650, 4-bit weights", "multiplications saved", "%", saved, theirs,
            "A-SSCC 2017, abstract", None, "their network for image captioning is not published layer by layer")
    )  # fmt: skip
    return found


def minerva_rows() -> list[Row]:
    """Predictions per second of the network of the paper, on chip."""
    arch = load_arch("minerva")
    mlp = chain((1, 784), [("fc1", Linear(256)), ("fc2", Linear(256)), ("fc3", Linear(256)), ("fc4", Linear(10))])
    trace = synthetic_trace(mlp, weight_bits=8, activation_bits=6)
    cycles = sum(on_array(arch, trace, f"fc{number}") for number in (1, 2, 3, 4))
    theirs = published("Minerva", "throughput", "250 MHz")
    return [
        Row("Minerva", "MNIST, 784-256-256-256-10", "predictions", "1/s", arch.spec.clock_hz / cycles, theirs,
            "ISCA 2016, as recalled", 2.0, "weights on chip; what lies between layers beside the drain is not known")
    ]  # fmt: skip


def ternary_rows() -> list[Row]:
    """The stream with every layer on its own neurons: the slowest one sets the rate."""
    arch = load_arch("tnn_fpga")
    net = conv_of(128, 256, 3, 32)
    trace = synthetic_trace(net, weight_bits=2, activation_bits=2)
    theirs = published("TNN FPGA", "throughput", "13 W")
    found = [
        Row("TNN FPGA", "128 to 256 maps, 3 x 3", "rate", "TMAC/s", gops(arch, trace, "conv") / 2000, theirs,
            "FPL 2017, abstract", None, "neurons follow from this figure: no independent check")
    ]  # fmt: skip
    layers: list[tuple[str, Op]] = []
    for number, maps in enumerate((64, 128, 256)):
        layers += [(f"conv{number}a", Conv(maps, 3, 1, 1)), (f"conv{number}b", Conv(maps, 3, 1, 1))]
        layers.append((f"pool{number}", Pool("max", 2, 2)))
    layers += [("flat", Reshape((0, -1))), ("fc1", Linear(512)), ("fc2", Linear(512)), ("fc3", Linear(10))]
    vgg = chain((1, 3, 32, 32), layers)
    trace = synthetic_trace(vgg, weight_bits=2, activation_bits=2)
    slowest = 0
    for layer in vgg:
        if layer.kind in ("conv", "linear"):
            # each layer gets neurons in proportion to its products, a power of two, at one input in ...
            share = max(1, 33440 * layer.macs // vgg.macs)
            par_in = min(1 << (share.bit_length() - 1), 64)
            fields = {"par_in": par_in, "par_out": max(1, share // par_in)}
            slowest = max(slowest, on_array(arch, trace, layer.name, fields))
    found.append(
        Row("TNN FPGA", "CIFAR-size VGG-like network (2 x 64, 128, 256)", "frame rate of the pipeline", "frames/s",
            arch.spec.clock_hz / slowest, published("TNN FPGA", "throughput", "VC709", "CIFAR"),
            "FPL 2017, abstract", None, "widths of the layers and their parallelism are assumed; ~7 W point")
    )  # fmt: skip
    return found


def reuse_rows() -> list[Row]:
    """UCNN's energy on one layer against its own array with many different weights; a range is published."""
    net = conv_of(128, 128, 3, 14)
    arch, energies = load_arch("ucnn"), {}
    for bits in (2, 8):
        trace = synthetic_trace(net, weight_bits=bits, activation_bits=8, weight_density=0.9)
        energies[bits] = simulate(arch, trace).energy_pj
    return [
        Row("UCNN", "128 x 128 x 3 x 3, 4 weights against 256", "energy reduction", "x", energies[8] / energies[2], 4.0,
            "ISCA 2018, abstract: 1.2 to 4", None,
            "against the same array with tables of one filter, not their baseline; upper end of the published range")
    ]  # fmt: skip


def rows() -> list[Row]:
    """All comparisons; none without the published figures."""
    if not (references() / "published" / "results.csv").is_file():
        return []
    return [
        *unpu_rows(), *yodann_rows(), *binary_rows(), *table_rows(), *minerva_rows(), *ternary_rows(), *reuse_rows(),
    ]  # fmt: skip


if __name__ == "__main__":
    main("Quantized engines: tables, binary, ternary, reuse", rows)
