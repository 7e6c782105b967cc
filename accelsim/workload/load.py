"""A network by its name or its file, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from accelsim.base.errors import ConfigError
from accelsim.base.paths import find, shipped_dir, shipped_names
from accelsim.workload.netfile import Header, load_network_file, read_header
from accelsim.workload.network import Network

FOLDER = "workloads"
SUFFIXES = (".yaml", ".yml", ".csv", ".onnx")


def list_networks() -> list[str]:
    """Names of the networks that are shipped."""
    return shipped_names(FOLDER)


def describe_networks() -> list[Header]:
    """What each shipped network says of itself (name, source, parameters, MACs), read without its layers."""
    return [read_header(shipped_dir(FOLDER) / f"{name}.yaml") for name in list_networks()]


def load_network(
    name_or_path: str | Path,
    batch: int | None = None,
    variables: Mapping[str, bool | int | float | str] | None = None,
) -> Network:
    """The network called so: a shipped name, or a file (.yaml, SCALE-Sim topology .csv, .onnx).

    Parameters
    ----------
    name_or_path : str or Path
    batch : int, optional
        First dimension of every input, instead of the file's (1 in the shipped ones).
    variables : mapping, optional
        Other values for the variables of a YAML file, such as the length of a sequence.

    Raises
    ------
    ConfigError
        Unknown name (the nearest are offered), or whatever is wrong with the file.
    """
    if batch is not None and (type(batch) is not int or batch < 1):
        raise ConfigError(f"batch must be an integer >= 1, got {batch!r}", str(name_or_path))
    path = find(str(name_or_path), FOLDER, "workload", SUFFIXES)
    if variables and path.suffix not in (".yaml", ".yml"):
        raise ConfigError("only a YAML network has variables", str(path))
    if path.suffix == ".onnx":  # whose batch may be left open, and decides about constants in the graph
        from accelsim.workload.onnx_import import import_onnx

        return import_onnx(path, batch=batch)[0]
    network = _read(path, variables)
    return network if batch is None else network.with_batch(batch)


def _read(path: Path, variables: Mapping[str, bool | int | float | str] | None) -> Network:
    if path.suffix == ".csv":
        from accelsim.workload.scalesim_csv import load_scalesim_csv

        return load_scalesim_csv(path)
    if path.suffix in (".yaml", ".yml"):
        return load_network_file(path, variables)
    raise ConfigError(f"a workload must be one of {', '.join(SUFFIXES)}, got {path.suffix!r}", str(path))
