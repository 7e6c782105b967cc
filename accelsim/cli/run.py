"""`accelsim run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.terminal import announce_compilation, pairs, progress_bar, say, shapes


def command_run(options: argparse.Namespace) -> int:
    """Check everything, simulate, print, write."""
    outputs = _outputs(options)
    layers = _layers(options.layers)
    from accelsim.api import load_arch, open_inputs, simulate

    overrides = list(options.overrides)
    if options.objective:
        overrides.append(f"mapping.objective={options.objective}")
    arch = load_arch(options.arch, overrides)
    single = len(options.workload) == 1
    if not single and options.inputs != 1:
        raise ConfigError("is for a network without a trace; several traces are several inputs", "--inputs")
    workload = options.workload[0] if single else options.workload
    traces, names = open_inputs(workload, options.inputs, **_workload_options(options))
    trace = traces[0]
    if len(traces) > 1:
        _refuse_single(outputs, options)
    if options.accuracy:
        _check_accuracy(arch, options.workload)
    announce_compilation(options.quiet)
    with progress_bar("simulating", options.quiet) as bar:
        results = [simulate(arch, one, progress=bar.update) for one in traces]
    if len(results) > 1:
        return _spread(results, names, trace, outputs, layers, options)
    result = results[0]
    if not options.quiet and "-" not in outputs.values():
        from accelsim.cli.describe import trace_facts
        from accelsim.report.grid import show, terminal_width
        from accelsim.report.tables import report_lines

        width = terminal_width(sys.stdout)
        show(report_lines(result, layers=layers, width=width, inputs=trace_facts(trace)), sys.stdout)
        sys.stdout.flush()
    if options.accuracy:
        say(_accuracy(arch, options.workload[0]))
    _write(result, outputs, options)
    return 0


def _check_accuracy(arch: Any, workloads: list[str]) -> None:
    """Refuse `--accuracy` before the run where there is none to be had."""
    from accelsim.engines.crossbar import Crossbar
    from accelsim.workload.trained import trained_network

    if not isinstance(arch.engine, Crossbar):
        raise ConfigError(f"needs an engine of crossbars, got {arch.engine.kind!r}", "--accuracy")
    if len(workloads) > 1:
        raise ConfigError("takes one network, by its name; several traces hold one input each", "--accuracy")
    trained_network(workloads[0])


def _accuracy(arch: Any, workload: str) -> str:
    """How many real inputs a trained network gets right when crossbars compute its products."""
    from accelsim.engines.crossbars.accuracy import accuracy
    from accelsim.workload.trained import trained_network

    trained, spec, bits = trained_network(workload), arch.engine.spec, arch.spec.bits()
    samples = trained.samples()
    weight_bits = min(spec.weight_bits, bits["filter"])
    cells = spec.cells(weight_bits, min(spec.input_bits, bits["ifmap"]), True)
    faults = None if spec.faults is None else spec.faults.non_ideal()
    right, error = accuracy(trained, samples, cells, faults)
    return (
        f"{100 * right:.2f}% of {samples.count} real inputs of {workload} right on {arch.name}'s crossbars "
        f"(products off by {100 * error:.3g}%)"
    )


def _refuse_single(outputs: dict[str, str], options: argparse.Namespace) -> None:
    """What shows one run cannot show several."""
    given = [f"--{kind}" for kind in ("timeline", "parquet") if kind in outputs]
    given += ["--plot"] if options.plot else []
    if given:
        raise ConfigError("shows one input; run it alone, or write --json or --csv", given[0])


def _spread(
    results: list[Any], names: tuple[str, ...], trace: Any, outputs: dict[str, str], layers: str | int,
    options: argparse.Namespace,
) -> int:  # fmt: skip
    """Print and write mean and spread over several inputs."""
    from accelsim.cli.describe import trace_facts
    from accelsim.report.grid import show, terminal_width
    from accelsim.report.places import write_text
    from accelsim.report.spread import spread_csv, spread_lines
    from accelsim.system.spread import Spread

    spread = Spread(tuple(results), names)
    if not options.quiet and "-" not in outputs.values():
        width = terminal_width(sys.stdout)
        show(spread_lines(spread, layers=layers, width=width, inputs=trace_facts(trace)), sys.stdout)
    for kind, place in outputs.items():
        text = spread.to_json() + "\n" if kind == "json" else spread_csv(spread)
        if place == "-":
            sys.stdout.write(text)
            continue
        write_text(Path(place), text)
        if not options.quiet:
            say(f"wrote {place}")
    return 0


def _outputs(options: argparse.Namespace) -> dict[str, str]:
    """What is to be written where; refused now if it cannot be."""
    from accelsim.report.places import check_directory, check_writable

    kinds = ("json", "csv", "parquet", "timeline")
    outputs = {kind: getattr(options, kind) for kind in kinds if getattr(options, kind) is not None}
    taken: dict[Path, str] = {}
    for kind, place in outputs.items():
        if place != "-":
            other = taken.setdefault(Path(place).resolve(), kind)
            if other != kind:
                raise ConfigError(f"--{other} already goes to this file", f"--{kind} {place}")
        if place == "-":
            if kind not in ("json", "csv"):
                raise ConfigError("only JSON and CSV can go to stdout", f"--{kind} -")
        else:
            check_writable(Path(place))
    if list(outputs.values()).count("-") > 1:
        raise ConfigError("only one of them can go to stdout", "--json - --csv -")
    if options.plot is not None:
        check_directory(Path(options.plot))
    elif options.format:
        raise ConfigError("is for figures; say --plot DIR too", "--format")
    if "parquet" in outputs:
        from accelsim.report.files import import_pyarrow

        import_pyarrow()
    return outputs


def _layers(text: str) -> str | int:
    if text in ("auto", "all", "top", "none"):
        return text
    if text.isdecimal() and text.isascii():
        return int(text)
    raise ConfigError(f"must be all, top, none or a number, got {text!r}", "--layers")


def _workload_options(options: argparse.Namespace) -> dict[str, Any]:
    from accelsim.base.yamlio import parse_yaml

    if not any(name.endswith(".onnx") for name in options.workload):
        for option, given in (("--input-shape", options.input_shape), ("--skip-unsupported", options.skip_unsupported)):
            if given:
                raise ConfigError("is for ONNX files", option)
    variables = {name: parse_yaml(value, f"--var {name}").data for name, value in pairs(options.var, "--var").items()}
    return {
        "batch": options.batch,
        "variables": variables or None,
        "input_shapes": shapes(options.input_shape) or None,
        "skip_unsupported": options.skip_unsupported,
        "seed": options.seed,
        "weight_density": options.weight_density,
        "activation_density": options.activation_density,
        "densities": options.densities,
        "only": [pattern for text in options.only for pattern in text.split(",")],
    }


def _write(result: Any, outputs: dict[str, str], options: argparse.Namespace) -> None:
    from accelsim.report import files

    writers = {"json": files.write_json, "csv": files.write_csv, "parquet": files.write_parquet}
    texts = {"json": files.json_text, "csv": files.csv_text}
    for kind, place in outputs.items():
        if place == "-":
            sys.stdout.write(texts[kind](result))
        elif kind == "timeline":
            from accelsim.report.timeline import write_timeline

            write_timeline(result, place)
        else:
            writers[kind](result, place)
        if place != "-" and not options.quiet:
            say(f"wrote {place}")
    if options.plot:
        from accelsim.report.figures import draw_all

        written = draw_all(result, options.plot, options.format or ("pdf", "png"))
        if not options.quiet:
            say(f"wrote {len(written)} figures in {options.plot}: {', '.join(path.name for path in written)}")
