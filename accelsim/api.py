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
    "Trace",
    "draw",
    "draw_all",
    "draw_curve",
    "list_archs",
    "list_networks",
    "list_traces",
    "load_arch",
    "load_network",
    "open_workload",
    "report_text",
    "run",
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
    **settings
        Of `synthetic_trace`: `seed`, `weight_density`, `activation_density`, ...

    Raises
    ------
    ConfigError
        Unknown name (with the nearest), a damaged file, or an option that a trace cannot obey.
    """
    if only:
        options = {"batch": batch, "variables": variables, "input_shapes": input_shapes, **settings}
        return select_layers(open_workload(workload, skip_unsupported=skip_unsupported, **options), only)
    chosen = {"batch": batch, "variables": variables, "input_shapes": input_shapes, **settings}
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
    return synthetic_trace(network, **{name: value for name, value in settings.items() if value is not None})


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


def report_text(result: RunResult, layers: str | int = "auto") -> str:
    """The tables that `accelsim run` prints, as text."""
    return plain(report_lines(result, layers=layers))
