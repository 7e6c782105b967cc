"""Some layers of a trace, as a trace: what an accelerator that cannot run the others is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from accelsim.base.errors import ConfigError
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input
from accelsim.workload.trace import Trace
from accelsim.workload.trace_format import make_header


def select_layers(trace: Trace, patterns: Sequence[str]) -> Trace:
    """The layers whose names match any pattern; what they read of the others becomes an input.

    Parameters
    ----------
    trace : Trace
    patterns : sequence of str
        Globs over layer names: "fc*".

    Raises
    ------
    ConfigError
        If no layer with work matches: lists those that have some.
    """
    network = trace.network
    chosen = [layer for layer in network if any(fnmatchcase(layer.name, p) for p in patterns)]
    if not any(layer.work is not None for layer in chosen):
        names = ", ".join(layer.name for layer in network if layer.is_compute)
        raise ConfigError(f"no layer matches {', '.join(patterns)}; layers with MACs: {names}", trace.name)
    kept = {layer.name for layer in chosen}
    nodes: list[Node] = []
    for layer in chosen:
        for name in layer.inputs:
            if name not in kept and all(node.name != name for node in nodes):
                nodes.append(Node(name, Input(network[name].out_shape)))
        nodes.append(Node(layer.name, layer.op, layer.inputs))
    part = Network(network.name, nodes, network.source)
    operands = [spec for spec in trace.specs if spec.layer in kept]
    where = f"{trace.name}, layers {', '.join(patterns)}"
    header = make_header(part, operands, name=trace.name, recipe=trace.recipe, source=trace.source, where=where)
    return trace.of_header(header, part)
