"""From a description to a network."""

from __future__ import annotations

from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.base.spec import build
from accelsim.base.yamlio import Document, KeyPath
from accelsim.noc.burst import BurstNoc, IdealNoc
from accelsim.noc.fabric import Fabric, RoutedFabric
from accelsim.noc.graph import RouterGraph, check_connected, check_deadlock_free
from accelsim.noc.model import TOPOLOGIES, Fidelity, NocModel
from accelsim.noc.router import RouterSpec


def build_routed(graph: RouterGraph, spec: RouterSpec, fidelity: Fidelity, where: str) -> NocModel:
    """A network of routers at the wanted fidelity, after its graph has been checked.

    Raises
    ------
    ConfigError
        Unconnected, liable to deadlock, or with too few virtual channels for its routing.
    """
    check_connected(graph, where)
    check_deadlock_free(graph, where)
    if fidelity == "detailed":
        from accelsim.noc.detailed import DetailedNoc

        return DetailedNoc(graph, spec, where)
    return build_fabric(RoutedFabric(graph, spec, where), fidelity, where)


def build_fabric(fabric: Fabric, fidelity: Fidelity, where: str) -> NocModel:
    """A network of wires; without routers its burst timing is exact, so that `detailed` means the same."""
    return IdealNoc(fabric, where) if fidelity == "ideal" else BurstNoc(fabric, where)


FIDELITIES = ("ideal", "bandwidth", "detailed")


def build_noc(document: Document, path: KeyPath = (), data: Any = None) -> NocModel:
    """The network described at `path` of a YAML document (or by `data`, which stands there).

    `topology` names its kind, `fidelity` (default: detailed) how exactly it is modelled; the other
    keys are those of the topology's own spec.

    Raises
    ------
    ConfigError
        With the file, the line and the key: unknown names (the nearest are offered) and keys,
        values out of range, contradictions.
    """
    value: Any = document.data
    for part in path:
        value = value[part]
    value = value if data is None else data
    if not isinstance(value, dict) or "topology" not in value:
        raise ConfigError("must be a mapping with the key 'topology'", document.where(path))
    rest = {key: v for key, v in value.items() if key not in ("topology", "fidelity")}
    kind = TOPOLOGIES.lookup(str(value["topology"]), document.where((*path, "topology")))
    fidelity = value.get("fidelity", "detailed")
    if fidelity not in FIDELITIES:
        what = f"must be one of {', '.join(FIDELITIES)}, got {fidelity!r}"
        raise ConfigError(what, document.where((*path, "fidelity")))
    spec = build(kind.spec, document, path, rest)
    return kind.build(spec, fidelity, document.where(path))
