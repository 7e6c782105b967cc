"""Published densities of the layers of networks: tables that are shipped, or a user's own.

A table is a YAML file:

    name: mine
    source: who measured it, and where it is printed
    networks:
      alexnet:
        conv2: {weights: 0.38, inputs: 0.88}

Layers that it does not name, and operands that it leaves out, keep what else is said of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.paths import find, shipped_names
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import read_yaml
from accelsim.workload.network import Network

FOLDER = "workloads/densities"


class LayerDensity(Spec):
    """Nonzeros over elements of a layer's weights and inputs; None: the table does not say."""

    weights: float | None = pydantic.Field(default=None, ge=0, le=1)
    inputs: float | None = pydantic.Field(default=None, ge=0, le=1)


class DensityTable(Spec):
    """One publication's densities: network -> layer -> densities."""

    name: str
    source: str
    note: str = ""
    networks: dict[str, dict[str, LayerDensity]]


def list_density_tables() -> list[str]:
    """Names of the tables that are shipped."""
    return shipped_names(FOLDER)


def load_density_table(name_or_path: str | Path) -> DensityTable:
    """The table called so: a shipped name, or a file.

    Raises
    ------
    ConfigError
        Unknown name (the nearest are offered), or whatever is wrong with the file.
    """
    return build(DensityTable, read_yaml(find(str(name_or_path), FOLDER, "density table")))


def published_densities(name_or_path: str | Path, network: Network) -> dict[str, dict[str, Any]]:
    """Settings of `synthetic_trace(per_layer=...)` for a network.

    Raises
    ------
    ConfigError
        If the table does not have the network, or names a layer that the network does not have.
    """
    table = load_density_table(name_or_path)
    if network.name not in table.networks:
        raise unknown_name(f"network in the density table {table.name!r}", network.name, table.networks)
    layers = {layer.name for layer in network if layer.is_compute}
    found: dict[str, dict[str, Any]] = {}
    for layer, of in table.networks[network.name].items():
        if layer not in layers:
            raise unknown_name("layer", layer, layers, f"density table {table.name!r}, {network.name}")
        given = {"weight_density": of.weights, "activation_density": of.inputs}
        found[layer] = {key: value for key, value in given.items() if value is not None}
    if not found:
        raise ConfigError("has no layer", f"density table {table.name!r}, {network.name}")
    return found
