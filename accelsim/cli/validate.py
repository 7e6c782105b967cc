"""`accelsim validate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from accelsim.base.errors import ConfigError
from accelsim.cli.kinds import ARCH, TRACE, kind_of


def command_validate(options: argparse.Namespace) -> int:
    """One line for each file; 2 if any is wrong."""
    worst = 0
    for name in options.files:
        try:
            print(f"{name}: OK, {_checked(name)}", flush=True)
        except ConfigError as error:
            message = str(error)
            print(message if name in message else f"{name}: {message}", file=sys.stderr)
            worst = 2
    return worst


def _checked(name: str) -> str:
    """What the file is, after all of it has been checked."""
    kind, path = kind_of(name)
    if kind == ARCH:
        return _architecture(name)
    if kind == TRACE:
        from accelsim.workload.trace import Trace

        trace = Trace.open(path)
        trace.verify()
        return f"trace of {trace.name}, {len(list(trace))} operands, content hash {trace.content_hash}"
    return _network(path)


def _architecture(name: str) -> str:
    from accelsim.system.archspec import load_arch
    from accelsim.system.costs import Costs

    arch = load_arch(name)
    Costs(arch)  # everything in it has a price
    assumed = sum("assumed:" in note.lower() for note in arch.spec.notes.values())
    return f"architecture {arch.name}, {len(arch.spec.notes)} notes, {assumed} of them on what is assumed"


def _network(path: Path) -> str:
    from accelsim.workload.load import load_network

    network = load_network(path)
    return f"network {network.name}, {len(network)} layers, {network.params:,} parameters, {network.macs:,} MACs"
