"""`accelsim show`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.kinds import ARCH, kind_of
from accelsim.report.grid import Line, show, terminal_width


def command_show(options: argparse.Namespace) -> int:
    """An architecture, a network or a trace."""
    width = terminal_width(sys.stdout)
    kind, path = kind_of(options.name)
    if kind == ARCH:
        return _architecture(options, width)
    if options.overrides or options.costs or options.yaml:
        raise ConfigError("--set, --costs and --yaml are for architectures", options.name)
    from accelsim.cli.describe import network_lines, trace_lines
    from accelsim.workload.load import load_network
    from accelsim.workload.trace import Trace

    lines = trace_lines(Trace.open(path), width) if kind == "trace" else network_lines(load_network(path), width)
    show(lines, sys.stdout)
    return 0


def _architecture(options: argparse.Namespace, width: int | None) -> int:
    from accelsim.system.archspec import load_arch

    arch: Any = load_arch(options.name, options.overrides)
    if options.yaml:
        from accelsim.base.yamlio import dump_yaml

        sys.stdout.write(dump_yaml(arch.data))
        return 0
    from accelsim.cli.describe import WIDTH, architecture_lines, cost_lines

    lines: list[Line] = architecture_lines(arch, width or WIDTH, options.overrides)
    if options.costs:
        lines += [[("", "")], *cost_lines(arch, width or WIDTH)]
    show(lines, sys.stdout)
    return 0
