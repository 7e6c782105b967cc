"""`accelsim list`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from accelsim.base.errors import ConfigError
from accelsim.report.grid import Column, Grid, Line, show, terminal_width

_NUMBERS = ("parameters", "MACs")
Rows = list[tuple[str, ...]]


def command_list(options: argparse.Namespace) -> int:
    """One table for each kind, or one thing in full."""
    width = terminal_width(sys.stdout)
    if options.name is not None:
        from accelsim.cli.details import DETAILS, details

        if options.kind not in DETAILS:
            raise ConfigError(f"NAME is for {', '.join(DETAILS)}; try: accelsim show {options.name}", options.kind)
        show(details(options.kind, options.name), sys.stdout)
        return 0
    kinds = [options.kind] if options.kind else [kind for kind in _KINDS if kind not in ("encodings", "steps")]
    lines: list[Line] = []
    for kind in kinds:
        title, heads, rows = _KINDS[kind][0], _KINDS[kind][1], _KINDS[kind][2]()
        columns = [Column(head, [row[i] for row in rows], name=head not in _NUMBERS) for i, head in enumerate(heads)]
        if rows:
            lines += [*([[("", "")]] if lines else []), *Grid(title, columns, has_total=False).lines(width)]
    show(lines, sys.stdout)
    return 0


def _archs() -> Rows:
    from accelsim.base.paths import find
    from accelsim.base.yamlio import read_yaml
    from accelsim.system.archspec import list_archs

    rows: Rows = []
    for name in list_archs():
        data = read_yaml(find(name, "arch_configs", "architecture")).data
        rows.append((name, str(data.get("description") or data.get("source") or "")))
    return rows


def _workloads() -> Rows:
    from accelsim.api import list_traces
    from accelsim.base.paths import find
    from accelsim.workload.load import FOLDER, describe_networks
    from accelsim.workload.trace import Trace

    rows: Rows = []
    for header in describe_networks():
        rows.append((header.name, "network", _number(header.parameters), _number(header.macs), _first(header.source)))
    for name in list_traces():
        trace = Trace.open(find(name, FOLDER, "workload", (".trace",)))
        network = trace.network
        rows.append((name, "real run", f"{network.params:,}", f"{network.macs:,}", _first(trace.source)))
    return rows


def _densities() -> Rows:
    from accelsim.workload.densities import list_density_tables, load_density_table

    tables = [load_density_table(name) for name in list_density_tables()]
    return [(t.name, ", ".join(f"{net} {len(of)}" for net, of in t.networks.items()), t.source) for t in tables]


def _real() -> Rows:
    from accelsim.workload.realdata import NETWORKS

    return [(name, network.install, network.credit) for name, network in NETWORKS.items()]


def _engines() -> Rows:
    from accelsim.engines.base import ENGINES

    return [(name, _first(engine.__doc__ or "")) for name, engine in ENGINES.items()]


def _dataflows() -> Rows:
    from accelsim.dataflow.base import DATAFLOWS

    return [(name, _first(dataflow.__doc__ or "")) for name, dataflow in DATAFLOWS.items()]


def _topologies() -> Rows:
    from accelsim.noc.model import TOPOLOGIES

    rows: Rows = []
    for name, kind in TOPOLOGIES.items():
        keys = [key for key, field in kind.spec.model_fields.items() if field.is_required()]
        rows.append((name, ", ".join(keys), _first(kind.build.__doc__ or "")))
    return rows


def _encodings() -> Rows:
    from accelsim.workload.encodings.base import ENCODINGS

    return [(name, _first(encoding.__doc__ or "")) for name, encoding in ENCODINGS.items()]


def _recipes() -> Rows:
    from accelsim.compress.recipe import describe_recipes

    return [(name, ", ".join(networks) or "any", _first(source)) for name, networks, source in describe_recipes()]


def _steps() -> Rows:
    from accelsim.compress.base import STEPS

    return [(name, ", ".join(step.objects), _first(step.__doc__ or "")) for name, step in STEPS.items()]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _first(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


_KINDS: dict[str, tuple[str, tuple[str, ...], Callable[[], Rows]]] = {
    "archs": ("Architectures", ("name", "description"), _archs),
    "workloads": ("Workloads", ("name", "kind", "parameters", "MACs", "source"), _workloads),
    "densities": ("Published densities for `accelsim run --densities`", ("name", "layers", "source"), _densities),
    "real": ("Real networks for `accelsim capture`", ("name", "install", "what"), _real),
    "recipes": ("Recipes for `accelsim compress`", ("name", "networks", "source"), _recipes),
    "engines": ("Engines", ("name", "description"), _engines),
    "dataflows": ("Dataflows of the systolic engine", ("name", "description"), _dataflows),
    "topologies": ("Networks on chip (`noc.topology`)", ("name", "keys that it needs", "description"), _topologies),
    "steps": ("Steps of a recipe", ("name", "objects", "description"), _steps),
    "encodings": ("Encodings of operands in a trace", ("name", "description"), _encodings),
}
