"""`accelsim capture`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.terminal import pairs, say, shapes


def command_capture(options: argparse.Namespace) -> int:
    """Run a model, write its trace, print what is in it."""
    from accelsim.report.places import check_writable

    out = Path(options.out)
    if out.suffix != ".trace":
        raise ConfigError("the name of a trace must end in .trace", f"--out {options.out}")
    check_writable(out)
    common: dict[str, Any] = {
        "weight_bits": options.weight_bits,
        "activation_bits": options.activation_bits,
        "per_channel": not options.per_tensor,
        "progress": None if options.quiet else say,
    }
    found = _onnx(options, out, common) if options.model.endswith(".onnx") else _real(options, out, common)
    if not options.quiet:
        _print(found, options.out)
    return 0


def _real(options: argparse.Namespace, out: Path, common: dict[str, Any]) -> Any:
    from accelsim.workload.trained import SHIPPED

    if options.model in SHIPPED:
        return _shipped(options, out, common)
    from accelsim.workload.photographs import DEFAULT
    from accelsim.workload.realdata import make_real_trace, real_network

    real_network(options.model)
    _refuse_onnx(options)
    return make_real_trace(options.model, out, options.image or DEFAULT, **common)


def _refuse_onnx(options: argparse.Namespace) -> None:
    given = {
        "--input": options.input, "--input-shape": options.input_shape, "--batch": options.batch,
        "--skip-unsupported": options.skip_unsupported, "--name": options.name, "--source": options.source,
    }  # fmt: skip
    for option, value in given.items():
        if value:
            raise ConfigError("is for ONNX files; a real network knows its own", option)


def _shipped(options: argparse.Namespace, out: Path, common: dict[str, Any]) -> Any:
    from accelsim.workload.trained_capture import capture_trained

    _refuse_onnx(options)
    text = options.image or "0"
    if not (text.isdecimal() and text.isascii()):
        raise ConfigError(f"must be the number of a sample of the test data, got {text!r}", "--image")
    settings = {key: common[key] for key in ("weight_bits", "activation_bits", "per_channel")}
    return capture_trained(options.model, out, int(text), **settings)


def _onnx(options: argparse.Namespace, out: Path, common: dict[str, Any]) -> Any:
    if options.image:
        raise ConfigError("is for real networks; an ONNX file takes --input NAME=FILE.npy", "--image")
    from accelsim.workload.capture import capture

    inputs = {name: _array(path) for name, path in pairs(options.input, "--input").items()}
    if not inputs and not options.quiet:
        say("no --input: the activations will be those of normally distributed numbers")
    return capture(
        options.model, inputs or None, out, batch=options.batch, input_shapes=shapes(options.input_shape) or None,
        skip_unsupported=options.skip_unsupported, name=options.name, source=options.source, **common,
    )  # fmt: skip


def _array(path: str) -> Any:
    import numpy as np

    from zipfile import BadZipFile

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ConfigError(f"must be a .npy file of numbers: {error}", path) from None
    if not isinstance(array, np.ndarray):
        raise ConfigError("must be a .npy file with one array", path)
    return array


def _print(found: Any, path: str) -> None:
    from accelsim.report.grid import show, terminal_width

    _trace_table(path, terminal_width(sys.stdout), show)
    for name in found.missing:
        say(f"no tensor of the model shows {name}")
    say(f"wrote {path}; run it: accelsim run tpu_v1 {path}")


def _trace_table(path: str, width: int | None, show: Any) -> None:
    from accelsim.cli.describe import trace_lines
    from accelsim.workload.trace import Trace

    show(trace_lines(Trace.open(path), width), sys.stdout)
