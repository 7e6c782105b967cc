"""The bit-serial family beside its authors' group's simulator (DNNsim), and Stripes' ideal speedups.

    python benchmarks/validate_bitserial.py
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from validation_rows import Row, main, references

from accelsim.base.units import ceil_div
from accelsim.compress.quantize.profiled import profiles
from accelsim.engines.base import ENGINES, Engine, Task
from accelsim.mapping.problem import Mapping, Room
from accelsim.sim.passes import PassTable
from accelsim.workload.load import load_network
from accelsim.workload.network import Layer, Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Op, Pool
from accelsim.workload.shapes import ConvShape
from accelsim.workload.trace import Trace, TraceWriter, synthetic_trace

ALL = 2**20
WHOLE = Mapping(ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, "mnk")
ROOM = Room("all", 2**40, ("ifmap", "filter", "psum", "ofmap"), 2)
BITS = {"ifmap": 16, "filter": 16, "psum": 32, "ofmap": 16}


def engine(kind: str, fields: dict[str, Any]) -> Engine:
    """An engine with these of its parameters."""
    made = ENGINES.lookup(kind)
    return made(made.Spec(**{k: v for k, v in fields.items() if k in made.Spec.model_fields}))


def cycles(built: Engine, network: Network, trace: Trace, layer: str) -> int:
    """Cycles of a layer on the array alone, as one tile."""
    task = Task(
        network[layer], trace, BITS, (ROOM,), {"all": 64}, dram_bytes_per_cycle=Fraction(64), pinned=WHOLE
    )  # fmt: skip
    table: PassTable = built.lower(task)
    return int(table.rows["stream_cycles"][:-1].sum() + table.rows["finish_cycles"][-1])


# --- DNNsim ---

KINDS = {
    "DaDianNao": "dadiannao", "Stripes": "stripes", "ShapeShifter": "dynamic_stripes", "Loom": "loom",
    "BitPragmatic": "pragmatic", "Laconic": "laconic",
}  # fmt: skip
ABSENT = {"tactical": "weight scheduling", "diffy": "differences", "booth_encoding": "Booth recoding"}


def reference_layers(folder: Path) -> dict[str, tuple[Network, Trace]]:
    """DNNsim's layers with its values; its x is the axis before the last."""
    source = references() / "sparse_bit" / "dnnsim_traces"
    made = {}
    with (source / "layers.csv").open() as file:
        listed = list(csv.DictReader(file))
    for row in listed:
        a, w = (np.load(source / f"{kind}-{row['layer']}.npy") for kind in ("act", "wgt"))
        if a.ndim == 4:
            a, w = a.swapaxes(2, 3), w.swapaxes(2, 3)
        stride, pad = int(row["stride"]), int(row["pad"])
        op: Op = Linear(w.shape[0])
        if a.ndim == 4:
            op = Conv(w.shape[0], w.shape[2:], stride, pad, groups=a.shape[1] // w.shape[1])
        network = Network(row["layer"], [Node("x", Input(a.shape)), Node("layer", op, ("x",))])
        path = folder / f"{row['layer']}.trace"
        with TraceWriter(path, network, name=row["layer"]) as writer:
            writer.add("layer", "ifmap", a, bits=int(row["act_prec"]), signed=False)
            writer.add("layer", "filter", w, bits=int(row["wgt_prec"]))
        made[row["layer"]] = network, Trace.open(path)
    return made


def dnnsim_rows() -> list[Row]:
    """One row for each configuration: cycles of its layers together; the note says how many are equal."""
    path = references() / "sparse_bit" / "dnnsim_bitserial_runs.csv"
    if not path.is_file():
        return []
    with path.open() as file:
        runs = list(csv.DictReader(file))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        layers = reference_layers(Path(folder))
        by_config = defaultdict(list)
        for run in runs:
            by_config[run["config"]].append(run)
        for config, group in by_config.items():
            fields: dict[str, Any] = dict(pair.split("=") for pair in group[0]["params"].split(";"))
            if any(fields.get(key) == "true" for key in ABSENT):
                continue
            fields["first_stage_bits"] = fields.pop("bits_first_stage", "2")
            fields = {k: v == "true" if v in ("true", "false") else int(v) for k, v in fields.items() if v.isalnum()}
            built = engine(KINDS[group[0]["arch"]], fields)
            kept = [run for run in group if run["compute_cycles_oracle"] == "exact"]
            ours = [cycles(built, *layers[run["Layer"]], "layer") for run in kept]
            theirs = [int(run["compute_cycles"]) for run in kept]
            equal = sum(x == y for x, y in zip(ours, theirs, strict=True))
            note = f"{equal} of {len(kept)} layers equal"
            if len(kept) < len(group):
                note += f"; {len(group) - len(kept)} left out: a known error of that simulator"
            found.append(
                Row(group[0]["arch"], config, "compute of its layers", "cycles", sum(ours), sum(theirs),
                    "isakedo/DNNsim, run on the same values", 0.0, note)
            )  # fmt: skip
    return found


# --- Stripes ---


def convnet() -> Network:
    """Caffe's quick CIFAR-10 network (Krizhevsky's cuda-convnet), convolutions only."""
    return _chain((1, 3, 32, 32), [
        ("conv1", Conv(32, 5, pad=2)), ("", Pool("max", 3, 2, ceil=True)), ("conv2", Conv(32, 5, pad=2)),
        ("", Pool("max", 3, 2, ceil=True)), ("conv3", Conv(64, 5, pad=2)),
    ])  # fmt: skip


def nin() -> Network:
    """Network in Network for ImageNet (Lin, Chen, Yan, ICLR 2014, the authors' Caffe model), 227 x 227."""
    blocks = [(96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1), (1024, 3, 1, 1)]
    nodes: list[tuple[str, Op]] = []
    number = 1
    for index, (channels, kernel, stride, pad) in enumerate(blocks):
        last = 1000 if index == 3 else channels
        for op in (Conv(channels, kernel, stride, pad), Conv(channels, 1), Conv(last, 1)):
            nodes.append((f"conv{number}", op))
            number += 1
        if index < 3:
            nodes.append(("", Pool("max", 3, 2, ceil=True)))
    return _chain((1, 3, 227, 227), nodes)


def vgg_small(slow: bool) -> Network:
    """CNN-M or CNN-S of Chatfield, Simonyan, Vedaldi, Zisserman, BMVC 2014, Table 1, convolutions only."""
    conv2 = Conv(256, 5) if slow else Conv(256, 5, 2, 1)
    pool2 = Pool("max", 2 if slow else 3, 2, ceil=True)
    first: list[tuple[str, Op]] = [("conv1", Conv(96, 7, 2)), ("", Pool("max", 3, 3 if slow else 2, ceil=True))]
    rest: list[tuple[str, Op]] = [(f"conv{i}", Conv(512, 3, pad=1)) for i in (3, 4, 5)]
    return _chain((1, 3, 224, 224), [*first, ("conv2", conv2), ("", pool2), *rest])


def _chain(shape: tuple[int, ...], ops: list[tuple[str, Op]]) -> Network:
    nodes = [Node("x", Input(shape))]
    for i, (name, op) in enumerate(ops):
        nodes.append(Node(name or f"pool{i}", op, (nodes[-1].name,)))
    return Network("chain", nodes)


#: Name in the results -> name in the table of precisions for 100% relative accuracy, our network.
STRIPES = {
    "LeNet": ("lenet5", lambda: load_network("lenet5")),
    "Convnet": ("convnet", convnet),
    "AlexNet": ("alexnet", lambda: load_network("alexnet")),
    "NiN": ("nin", nin),
    "GoogLeNet": ("googlenet", lambda: load_network("googlenet")),
    "VGG_M": ("vgg_m", lambda: vgg_small(False)),
    "VGG_S": ("vgg_s", lambda: vgg_small(True)),
    "VGG_19": ("vgg19", lambda: load_network("vgg19")),
}


def as_the_table_counts(layer: Layer) -> Network:
    """A layer as the published speedups weight it; found from the figures, for the paper does not say.

    Every layer passes all its channels before all its filters, groups or not; a first layer of stride s has windows
    of ceil(R / s) x ceil(S / s) taps, each of one brick. With the second part AlexNet's and NiN's first layers take 9
    steps for a window, less than the 27 of a grid with 16 lanes: this is the table's arithmetic, not a chip's.
    """
    shape = layer.work
    assert isinstance(shape, ConvShape)
    taps_r, taps_s = shape.r, shape.s
    if shape.c <= 3:
        taps_r, taps_s = ceil_div(taps_r, shape.stride[0]), ceil_div(taps_s, shape.stride[1])
    op = Conv(shape.m, (taps_r, taps_s))
    return Network(layer.name, [Node("x", Input((1, shape.c, shape.p + taps_r - 1, shape.q + taps_s - 1))),
                                Node("layer", op, ("x",))])  # fmt: skip


def precisions(network: Network, table: str, accuracy: int) -> dict[str, int]:
    """Bits of the activations of each convolution."""
    known = [
        row
        for row in profiles()
        if (row.network, row.operand, row.relative_accuracy_percent) == (table, "activation", accuracy)
        and "Stripes" in row.source
    ]
    found = {}
    for layer in network:
        fitting = [row.bits for row in known if layer.kind == "conv" and row.fits(layer)]
        if fitting:
            found[layer.name] = fitting[0]
    return found


def speedup(counted: dict[str, Network], bits: dict[str, int], columns: int) -> float:
    """Cycles of the bit-parallel engine over those of the serial one, of single layers.

    One column: both process one window after the other, and 16 of the serial one's take the time of one.
    """
    serial, parallel, base, ours = engine("stripes", {"columns": columns}), engine("dadiannao", {}), 0, 0
    for name, network in counted.items():
        layer = next(found.name for found in network if found.kind == "conv")
        trace = synthetic_trace(network, weight_bits=16, activation_bits=bits[name])
        base += cycles(parallel, network, trace, layer)
        ours += cycles(serial, network, trace, layer)
    return 16 / columns * base / ours


def alone(layer: Layer) -> Network:
    """A layer as it is."""
    shape, op = layer.work, layer.op
    assert isinstance(shape, ConvShape)
    image = Input((1, shape.c, shape.h, shape.w))
    return Network(layer.name, [Node("x", image), Node("layer", op, ("x",))])


def stripes_rows() -> list[Row]:
    """Speedups of the convolutions over the bit-parallel chip.

    `ideal`: 16 / p, the layers weighted as the published table does; on our chip: by the steps of the engine, and with
    16 windows at once, ragged edges included. For 99% of the accuracy the first only: other precisions, one rule.
    """
    path = references() / "published" / "results.csv"
    if not path.is_file():
        return []
    with path.open() as file:
        lines = [line for line in csv.reader(file) if "Stripes" in line and "ideal_speedup_16_over_p" in line]
    source = "MICRO 2016, precisions and speedup as recalled"
    found = []
    for accuracy in (100, 99):
        published = {line[1]: float(line[4]) for line in lines if f"{accuracy}%" in ",".join(line)}
        for name, theirs in published.items():
            table, build = STRIPES[name]
            network = build()
            bits = precisions(network, table, accuracy)
            ideal = speedup({layer: as_the_table_counts(network[layer]) for layer in bits}, bits, 1)
            where = name if accuracy == 100 else f"{name}, 99% of the accuracy"
            exact = 100 * 0.005 / theirs  # equal to the second decimal
            aim, note = (exact, "") if accuracy == 100 else (None, "the same rule on the other table of precisions")
            found.append(Row("Stripes", where, "ideal speedup", "x", ideal, theirs, source, aim, note))
            if accuracy == 100:
                ours = {layer: alone(network[layer]) for layer in bits}
                for what, columns in (("by steps of our grid", 1), ("16 windows at once", 16)):
                    value = speedup(ours, bits, columns)
                    found.append(Row("Stripes", where, f"speedup, {what}", "x", value, theirs, source))
    return found


def rows() -> list[Row]:
    """All comparisons."""
    return dnnsim_rows() + stripes_rows()


if __name__ == "__main__":
    main("Bit-serial engines, DNNsim and Stripes", rows)
