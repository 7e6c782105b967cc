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

from accelsim.compress.quantize.profiled import Profile, profiles
from accelsim.engines.base import ENGINES, Engine, Task
from accelsim.mapping.problem import Mapping, Room
from accelsim.sim.passes import PassTable
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Op, Pool
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


#: Why an error remains.
REMAINS = {
    "AlexNet": "with the recalled precisions 2.38 comes out only if the first layer is left out",
    "NiN": "by MACs 1.90: weightings of the recalled precisions lie on both sides",
}

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


def _precisions(network: str) -> list[Profile]:
    return [
        row
        for row in profiles()
        if (row.network, row.operand, row.relative_accuracy_percent) == (network, "activation", 100)
        and "Stripes" in row.source
    ]


def stripes_rows() -> list[Row]:
    """Speedup of the convolutions over the bit-parallel chip, by the engines' cycles and by MACs x 16 / p."""
    path = references() / "published" / "results.csv"
    if not path.is_file():
        return []
    with path.open() as file:
        lines = [line for line in csv.reader(file) if "Stripes" in line and "ideal_speedup_16_over_p" in line]
    published = {line[1]: float(line[4]) for line in lines if "100%" in ",".join(line)}
    found = []
    for name, (table, build) in STRIPES.items():
        network = build()
        bits = {}
        for layer in network:
            if layer.kind == "conv":
                known = [row for row in _precisions(table) if row.fits(layer)]
                if known:
                    bits[layer.name] = known[0].bits
        per_layer = {layer: {"activation_bits": p} for layer, p in bits.items()}
        trace = synthetic_trace(network, weight_bits=16, activation_bits=16, per_layer=per_layer)
        serial, parallel = engine("stripes", {}), engine("dadiannao", {})
        narrow = engine("stripes", {"columns": 1})
        base = sum(cycles(parallel, network, trace, layer) for layer in bits)
        ours = base / sum(cycles(serial, network, trace, layer) for layer in bits)
        ideal = 16 * base / sum(cycles(narrow, network, trace, layer) for layer in bits)
        macs = sum(network[layer].macs for layer in bits)
        weighted = 16 * macs / sum(network[layer].macs * p for layer, p in bits.items())
        exact = 100 * 0.005 / published[name]  # equal to the second decimal
        for what, value, aim in (
            ("ideal: steps x 16 / p", ideal, exact),
            ("MACs x 16 / p", weighted, None),
            ("16 windows at once", ours, None),
        ):
            note = REMAINS.get(name, "") if aim is not None else ""
            source = "MICRO 2016, precisions and speedup as recalled"
            found.append(Row("Stripes", name, f"speedup, {what}", "x", value, published[name], source, aim, note))
    return found


def rows() -> list[Row]:
    """All comparisons."""
    return dnnsim_rows() + stripes_rows()


if __name__ == "__main__":
    main("Bit-serial engines, DNNsim and Stripes", rows)
