"""UNPU, binary, ternary, table, reuse and outlier engines beside their published figures.

    python benchmarks/validate_quantized_other.py

Rates are those of whole layers on the array (one tile, no memory in the way) or of whole runs, as each row says; a peak
is a layer that fills the array. Nothing is fitted: where a clock or a shape is assumed, the remark says so.
"""

from __future__ import annotations

import csv
from fractions import Fraction
from typing import Any

from validate_bitserial import STRIPES, precisions
from validation_rows import Row, main, references

from accelsim.compress.quantize.profiled import profiles
from accelsim.engines.base import ENGINES, Task
from accelsim.mapping.problem import Mapping, Room
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.result import RunResult
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
    trace = synthetic_trace(vgg, weight_bits=16, activation_bits=16)
    theirs = published("UNPU", "throughput", "16-bit")
    for layer in vgg:
        if layer.kind == "conv":
            note = "against the peak: edges of the assumed 18 channels x 64 outputs x 12 positions"
            found.append(
                Row("UNPU", f"VGG-16 {layer.name}, 16 bit", "rate", "GOPS", gops(arch, trace, layer.name), theirs,
                    "JSSC 2019, peak", None, note)
            )  # fmt: skip
    return found


#: GOp/s at 0.6 V by the size of the kernel; the sum for 7 x 7 is in the abstracts' table, the smaller ones as recalled.
YODANN_LOW = {7: 55.0, 3: 20.1}


def yodann_rows() -> list[Row]:
    """The peak, rates by kernel and of the layers of a network, and power."""
    arch = load_arch("yodann")
    theirs = published("YodaNN", "throughput", "1.2 V")
    streaming = 2 * 32 * 49 * arch.spec.clock_hz / 1e9
    found = [
        Row("YodaNN", "7 x 7 kernels", "peak, fills left out", "GOp/s", streaming, theirs, "TCAD 2018, abstract", 1.0,
            "480 MHz as recalled")
    ]  # fmt: skip
    clock = 1e9 * YODANN_LOW[7] / (2 * 32 * 49)  # 0.6 V
    low = clock / arch.spec.clock_hz
    for kernel, filters in ((7, 32), (3, 64)):
        net = conv_of(32, filters, kernel, 32)
        trace = synthetic_trace(net, weight_bits=1, activation_bits=12)
        note = "the clock follows from the 7 x 7 peak; fills of windows and weights are in our cycles"
        where = f"{kernel} x {kernel}, 32 to {filters} maps of 32 x 32, 0.6 V"
        ours = low * gops(arch, trace, "conv")
        found.append(Row("YodaNN", where, "rate", "GOp/s", ours, YODANN_LOW[kernel], "TCAD 2018, recalled", None, note))
    maps = (3, 128, 128, 256, 256, 512, 512)
    for number in range(6):  # BinaryConnect for CIFAR-10
        net = conv_of(maps[number], maps[number + 1], 3, 32 >> number // 2)
        trace = synthetic_trace(net, weight_bits=1, activation_bits=12)
        # the paper's rule: the kernel's peak x the share of 32 input channels that a block has
        rule = YODANN_LOW[3] * min(1.0, maps[number] / 32)
        ours = low * gops(arch, trace, "conv")
        found.append(
            Row("YodaNN", f"BinaryConnect conv{number + 1}, 0.6 V", "rate", "GOp/s", ours, rule,
                "TCAD 2018, its rule for idle channels as recalled", None, "our cycles hold fills of windows, weights")
        )  # fmt: skip
    net = conv_of(32, 32, 7, 32)
    result = simulate(arch, synthetic_trace(net, weight_bits=1, activation_bits=12))
    found.append(
        Row("YodaNN", "7 x 7 kernels", "power of the core, 1.2 V", "mW", 1000 * core_j(result) / result.seconds,
            published("YodaNN", "power", "1.2 V"), "ISVLSI 2016, abstract", None,
            "our operators and SRAM instead of its latches, DRAM left out; the array waits for its tiles in our run")
    )  # fmt: skip
    return found


def core_j(result: RunResult) -> float:
    """Energy without the DRAM, joule."""
    return sum(energy for part, energy in result.energy_by_component().items() if part != "dram") * 1e-12


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
    for name in ("layer1.0.conv1", "layer2.0.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1", "fc"):
        layer = next(each for each in resnet if each.name == name)
        rate_of = layer.macs / on_array(arch, trace, name)
        found.append(
            Row("XNE", f"ResNet-34 {name}", "products a cycle", "", rate_of, 128.0, "TCAD 2018, 128 lanes as recalled",
                None, "against the peak; no rates of layers known to us")
        )  # fmt: skip
    low = load_arch("xne", ["technology.vdd=0.4"])
    result = simulate(low, synthetic_trace(conv_of(512, 512, 3, 16), weight_bits=1, activation_bits=1))
    each = core_j(result) / (2 * result.macs) * 1e15
    note = "our SRAM instead of its standard-cell memory; core and clock tree left out"
    what = "energy of an operation, 0.4 V"
    theirs = published("XNE", "energy", "0.4 V")
    found.append(Row("XNE", "512 x 512 x 3 x 3", what, "fJ", each, theirs, "TCAD 2018, abstract", None, note))
    binary = synthetic_trace(conv_of(256, 256, 3, 16), weight_bits=1, activation_bits=1)
    result = simulate(load_arch("xnorbin"), binary)
    each = 2e-12 * result.macs / core_j(result)
    found.append(
        Row("XNORBIN", "256 x 256 x 3 x 3", "efficiency of the core", "TOp/s/W", each, 95.0, "COOL CHIPS 2018, title",
            None, "sizes of the units and memories are assumed; DRAM left out")
    )  # fmt: skip
    result = simulate(load_arch("binmac"), resnet20())
    found.append(
        Row("BiNMAC", "ResNet-20, binary convolutions", "energy", "mJ", 1000 * core_j(result),
            published("BiNMAC (survey spells BiMAC)", "energy", "64 clusters", "ResNet-20"), "GLSVLSI 2018, abstract",
            None, "a manycore: instructions, routers and clocks are most of its 16 W and not in our energy")
    )  # fmt: skip
    brein = load_arch("brein_memory")
    net = chain((64, 784), [("fc", Linear(1752, bias=False))])
    trace = synthetic_trace(net, weight_bits=1, activation_bits=1)
    theirs = published("BRein memory", "throughput", "")
    found.append(
        Row("BRein Memory", "64 x 784 to 1752", "rate of a binary layer", "TOPS", gops(brein, trace, "fc") / 1000,
            theirs, "VLSI 2017, abstract", None, "292 outputs a module follow from this figure: no independent check")
    )  # fmt: skip
    return found


def resnet20() -> Trace:
    """The convolutions of ResNet-20 for CIFAR-10 one after the other, the first left out."""
    layers: list[tuple[str, Op]] = []
    for stage, maps in enumerate((16, 32, 64)):
        for number in range(6):
            layers.append((f"conv{stage}_{number}", Conv(maps, 3, 2 if stage and not number else 1, 1, bias=False)))
    return synthetic_trace(chain((1, 16, 32, 32), layers), weight_bits=1, activation_bits=1)


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
    pruned = synthetic_trace(mlp, weight_bits=8, activation_bits=6, activation_density=0.25)
    return [
        Row("Minerva", "MNIST, 784-256-256-256-10", "predictions", "1/s", arch.spec.clock_hz / cycles, theirs,
            "ISCA 2016, as recalled", 2.0, "weights on chip; what lies between layers beside the drain is not known"),
        Row("Minerva", "MNIST, a quarter of the activations live", "energy of a prediction", "uJ",
            1e6 * core_j(simulate(arch, pruned)), 1.3, "ISCA 2016, as recalled", None,
            "the paper's SRAMs run at low voltage (2.7 x less power, not modelled); density as recalled"),
    ]  # fmt: skip


def loom_rows() -> list[Row]:
    """Loom's ideal gain on convolutions from published precisions, beside its published mean over whole networks."""
    gains = []
    for name, (table, build) in STRIPES.items():
        network = build()
        activations = precisions(network, table, 100)
        weights = [row.bits for row in profiles() if row.network == table and row.operand == "weight"
                   and row.layer == "kind:conv" and row.relative_accuracy_percent == 100]  # fmt: skip
        if weights:
            macs = {layer: network[layer].macs for layer in activations}
            spent = sum(count * activations[layer] * weights[0] for layer, count in macs.items())
            gains.append(256 * sum(macs.values()) / spent)
    mean = len(gains) / sum(1 / gain for gain in gains)
    return [
        Row("Loom", f"convolutions of {len(gains)} networks, profiled precisions", "ideal speedup", "x", mean, 4.38,
            "arXiv 1706.07853, abstract: mean of all layers", None,
            "the published mean also trims precisions at run time, from activations that are not public")
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
        *unpu_rows(), *yodann_rows(), *binary_rows(), *table_rows(), *minerva_rows(), *loom_rows(), *ternary_rows(),
        *reuse_rows(),
    ]  # fmt: skip


if __name__ == "__main__":
    main("Quantized engines: tables, binary, ternary, reuse", rows)
