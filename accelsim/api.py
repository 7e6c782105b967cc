"""What `import accelsim` offers: the command line's verbs as functions.

    import accelsim
    result = accelsim.run("tpu_v1", "resnet50", overrides=["dram.bandwidth_bytes_per_s=68e9"])
    result.tops, result.energy_by_component()
    result.to_pandas()
    accelsim.draw_all(result, "figures/")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim import sweep
from accelsim.base.errors import AccelsimError, ConfigError, DeadlockError, SimulationBug
from accelsim.base.paths import find, shipped_names
from accelsim.report.curve_parts import Choice
from accelsim.report.curves import draw_curve, write_curve
from accelsim.report.figures import draw, draw_all
from accelsim.report.files import to_pandas, write_csv, write_json, write_parquet
from accelsim.report.grid import plain
from accelsim.report.page import write_page
from accelsim.report.tables import report_lines
from accelsim.report.timeline import write_timeline
from accelsim.system.archspec import Architecture, list_archs, load_arch
from accelsim.system.result import LayerResult, RunResult
from accelsim.system.simulate import Progress, simulate
from accelsim.system.spread import Spread
from accelsim.workload.densities import list_density_tables, published_densities
from accelsim.workload.load import FOLDER, SUFFIXES, list_networks, load_network
from accelsim.workload.network import Network
from accelsim.workload.selection import select_layers
from accelsim.workload.trace import Trace, synthetic_trace

__all__ = [
    "AccelsimError",
    "Architecture",
    "Choice",
    "ConfigError",
    "DeadlockError",
    "LayerResult",
    "Network",
    "RunResult",
    "SimulationBug",
    "Spread",
    "Trace",
    "draw",
    "draw_all",
    "draw_curve",
    "list_archs",
    "list_density_tables",
    "list_networks",
    "list_traces",
    "load_arch",
    "load_network",
    "open_workload",
    "report_text",
    "run",
    "run_inputs",
    "simulate",
    "sweep",
    "synthetic_trace",
    "to_pandas",
    "write_csv",
    "write_curve",
    "write_json",
    "write_page",
    "write_parquet",
    "write_timeline",
]

TRACE = ".trace"


def list_traces() -> list[str]:
    """Names of the traces that are shipped: real networks run on real input."""
    return shipped_names(FOLDER, (TRACE,))


def open_workload(
    workload: str | Path | Network | Trace,
    *,
    batch: int | None = None,
    variables: Mapping[str, Any] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    skip_unsupported: bool = False,
    only: Sequence[str] = (),
    densities: str | Path | None = None,
    **settings: Any,
) -> Trace:
    """The trace of a workload: a trace file as it is; for a network one whose operands are described.

    Parameters
    ----------
    workload : str, Path, Network or Trace
        A shipped name (of a network or a trace), or a file: .trace, .yaml, .csv, .onnx.
    batch : int, optional
        First dimension of the network's inputs.
    variables : mapping, optional
        Other values for the variables of a YAML file.
    input_shapes, skip_unsupported
        As in `import_onnx`.
    only : sequence of str
        Globs over layer names: these layers only; what they read of the others comes from memory.
    densities : str or Path, optional
        A table of published densities, by its name (`list_density_tables()`) or a file.
    **settings
        Of `synthetic_trace`: `seed`, `weight_density`, `activation_density`, ...

    Raises
    ------
    ConfigError
        Unknown name (with the nearest), a damaged file, or an option that a trace cannot obey.
    """
    if only:
        options = {
            "batch": batch, "variables": variables, "input_shapes": input_shapes, "densities": densities, **settings
        }  # fmt: skip
        return select_layers(open_workload(workload, skip_unsupported=skip_unsupported, **options), only)
    chosen = {
        "batch": batch, "variables": variables, "input_shapes": input_shapes, "densities": densities, **settings
    }  # fmt: skip
    fixed = [name for name, value in chosen.items() if value is not None and value != {}]
    if isinstance(workload, Trace):
        return _as_it_is(workload, fixed)
    if isinstance(workload, Network):
        network = workload if batch is None else workload.with_batch(batch)
    else:
        path = find(str(workload), FOLDER, "workload", (*SUFFIXES, TRACE))
        if path.suffix == TRACE:
            return _as_it_is(Trace.open(path), fixed)
        if path.suffix == ".onnx":
            from accelsim.workload.onnx_import import import_onnx

            network, _ = import_onnx(path, skip_unsupported=skip_unsupported, batch=batch, input_shapes=input_shapes)
        else:
            network = load_network(path, batch, variables)
    given = {name: value for name, value in settings.items() if value is not None}
    if densities is not None:
        own = given.pop("per_layer", {})
        table = published_densities(densities, network)
        given["per_layer"] = {name: {**table.get(name, {}), **own.get(name, {})} for name in {**table, **own}}
    return synthetic_trace(network, **given)


def _as_it_is(trace: Trace, fixed: Sequence[str]) -> Trace:
    if fixed:
        what = f"a trace holds its own shapes and operands; {', '.join(fixed)} can be chosen for networks only"
        raise ConfigError(what, str(trace.path or trace.name))
    return trace


def run(
    arch: str | Path | Architecture,
    workload: str | Path | Network | Trace,
    *,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Any,
) -> RunResult:
    """Run a workload on an architecture.

    Parameters
    ----------
    arch : str, Path or Architecture
        A shipped name or a YAML file.
    workload
        As in `open_workload`.
    overrides : sequence of str
        `key=value` in the words of the architecture's file: "engine.rows=64".
    progress : callable, optional
        Called with (layers lowered, layers in all, name).
    **options
        Of `open_workload`: `batch`, `seed`, `weight_density`, `activation_density`, ...

    Raises
    ------
    ConfigError
        For anything that is wrong in the input, before any work.
    """
    if isinstance(arch, Architecture):
        if overrides:
            what = "overrides are for architectures given by name; use load_arch(name, overrides)"
            raise ConfigError(what, arch.name)
        machine = arch
    else:
        machine = load_arch(arch, tuple(overrides))
    return simulate(machine, open_workload(workload, **options), progress=progress)


def run_inputs(
    arch: str | Path | Architecture,
    workload: str | Path | Network | Trace | Sequence[str | Path | Trace],
    inputs: int = 5,
    *,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Spread:
    """Run several inputs of one network: mean and spread of cycles, energy and traffic.

    Parameters
    ----------
    arch, overrides, progress, **options
        As of `run`.
    workload : str, Path, Network, Trace, or a sequence of traces
        Traces of the same network, one for each input; or a network whose operands are described: then its weights
        stay, and activations are drawn `inputs` times, with the seeds `seed`, `seed` + 1, ...
    inputs : int
        How often, for a network.

    Raises
    ------
    ConfigError
        As `run`; traces of different networks; a single trace, which holds one input.
    """
    machine = arch if isinstance(arch, Architecture) else load_arch(arch, tuple(overrides))
    if isinstance(arch, Architecture) and overrides:
        raise ConfigError("overrides are for architectures given by name; use load_arch(name, overrides)", arch.name)
    traces, names = open_inputs(workload, inputs, **options)
    results = tuple(simulate(machine, trace, progress=progress) for trace in traces)
    return Spread(results, names)


def open_inputs(
    workload: str | Path | Network | Trace | Sequence[str | Path | Trace], inputs: int, **options: Any
) -> tuple[list[Trace], tuple[str, ...]]:
    """The traces of `run_inputs`, and what each input is called."""
    if not isinstance(workload, str | Path | Network | Trace):
        traces = [open_workload(one, **options) for one in workload]
        return traces, tuple(str(one.path.stem if one.path else one.name) for one in traces)
    if inputs < 1:
        raise ConfigError(f"must be at least 1, got {inputs}", "inputs")
    first = open_workload(workload, **options)
    if inputs > 1 and all(operand.generator is None for operand in first):
        raise ConfigError("holds one input; name several traces of the network", str(first.path or first.name))
    seed = int(options.get("seed") or 0)
    seeds = range(seed, seed + inputs)
    traces = [first, *(open_workload(workload, **{**options, "activation_seed": s}) for s in seeds[1:])]
    return traces, tuple(f"seed {s}" for s in seeds)


def report_text(result: RunResult, layers: str | int = "auto") -> str:
    """The tables that `accelsim run` prints, as text."""
    return plain(report_lines(result, layers=layers))
