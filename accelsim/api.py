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

from accelsim.base.errors import AccelsimError, ConfigError, DeadlockError, SimulationBug
from accelsim.base.paths import find, shipped_names
from accelsim.report.figures import draw, draw_all
from accelsim.report.files import to_pandas, write_csv, write_json, write_parquet
from accelsim.report.grid import plain
from accelsim.report.tables import report_lines
from accelsim.report.timeline import write_timeline
from accelsim.system.archspec import Architecture, list_archs, load_arch
from accelsim.system.result import LayerResult, RunResult
from accelsim.system.simulate import Progress, simulate
from accelsim.workload.load import FOLDER, SUFFIXES, list_networks, load_network
from accelsim.workload.network import Network
from accelsim.workload.trace import Trace, synthetic_trace

__all__ = [
    "AccelsimError",
    "Architecture",
    "ConfigError",
    "DeadlockError",
    "LayerResult",
    "Network",
    "RunResult",
    "SimulationBug",
    "Trace",
    "draw",
    "draw_all",
    "list_archs",
    "list_networks",
    "list_traces",
    "load_arch",
    "load_network",
    "open_workload",
    "report_text",
    "run",
    "simulate",
    "synthetic_trace",
    "to_pandas",
    "write_csv",
    "write_json",
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
    seed: int = 0,
    weight_density: float = 1.0,
    activation_density: float = 1.0,
    settings: Mapping[str, Any] | None = None,
) -> Trace:
    """The trace of a workload: a trace file as it is; for a network one whose operands are described.

    Parameters
    ----------
    workload : str, Path, Network or Trace
        A shipped name (of a network or a trace), or a file: .trace, .yaml, .csv, .onnx.
    batch : int, optional
        First dimension of the network's inputs.
    seed : int
    weight_density, activation_density : float
        Non-zeros over elements, of operands that are described.
    settings : mapping, optional
        More settings of `synthetic_trace`.

    Raises
    ------
    ConfigError
        Unknown name (with the nearest), a damaged file, or an option that a trace cannot obey.
    """
    described = {"seed": seed, "weight_density": weight_density, "activation_density": activation_density}
    fixed = [name for name, value in described.items() if value != _DEFAULTS[name]]
    fixed += [*(settings or {}), *(["batch"] if batch is not None else [])]
    if isinstance(workload, Trace):
        return _as_it_is(workload, fixed)
    if not isinstance(workload, Network):
        path = find(str(workload), FOLDER, "workload", (*SUFFIXES, TRACE))
        if path.suffix == TRACE:
            return _as_it_is(Trace.open(path), fixed)
        workload = load_network(path, batch)
    elif batch is not None:
        workload = workload.with_batch(batch)
    chosen = {**described, **(settings or {})}
    return synthetic_trace(workload, **chosen)


_DEFAULTS: dict[str, Any] = {"seed": 0, "weight_density": 1.0, "activation_density": 1.0}


def _as_it_is(trace: Trace, fixed: Sequence[str]) -> Trace:
    if fixed:
        what = f"a trace holds its own operands; {', '.join(fixed)} can be chosen for networks only"
        raise ConfigError(what, str(trace.path or trace.name))
    return trace


def run(
    arch: str | Path | Architecture,
    workload: str | Path | Network | Trace,
    *,
    overrides: Sequence[str] = (),
    batch: int | None = None,
    seed: int = 0,
    weight_density: float = 1.0,
    activation_density: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Run a workload on an architecture.

    Parameters
    ----------
    arch : str, Path or Architecture
        A shipped name or a YAML file.
    workload, batch, seed, weight_density, activation_density, settings
        As in `open_workload`.
    overrides : sequence of str
        `key=value` in the words of the architecture's file: "engine.rows=64".
    progress : callable, optional
        Called with (layers lowered, layers in all, name).

    Raises
    ------
    ConfigError
        For anything that is wrong in the input, before any work.
    """
    if isinstance(arch, Architecture):
        if overrides:
            raise ConfigError("overrides are for architectures given by name; use load_arch(name, overrides)", arch.name)
        machine = arch
    else:
        machine = load_arch(arch, tuple(overrides))
    trace = open_workload(
        workload,
        batch=batch,
        seed=seed,
        weight_density=weight_density,
        activation_density=activation_density,
        settings=settings,
    )
    return simulate(machine, trace, progress=progress)


def report_text(result: RunResult, layers: str | int = "auto") -> str:
    """The tables that `accelsim run` prints, as text."""
    return plain(report_lines(result, layers=layers))
