"""What a name or a file is: an architecture, a network, a trace."""

from __future__ import annotations

from pathlib import Path

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.paths import find, shipped_names
from accelsim.base.yamlio import Document, read_yaml

ARCH, NETWORK, TRACE = "architecture", "network", "trace"
_YAML = (".yaml", ".yml")
_FILES = (".csv", ".onnx", ".trace", *_YAML)
_ARCH_KEYS = {"engine", "extends", "clock_hz", "technology", "buffers", "dram"}


def kind_of(name: str) -> tuple[str, Path]:
    """(kind, path) of a shipped name or of a file.

    Raises
    ------
    ConfigError
        If nothing is called so, or the file is none of ours.
    """
    path = Path(name)
    if path.suffix in _FILES or len(path.parts) > 1 or path.is_file():
        if not path.is_file():
            raise ConfigError("there is no such file", name)
        return _kind_of_file(path), path
    archs = shipped_names("arch_configs")
    networks, traces = shipped_names("workloads", _YAML), shipped_names("workloads", (".trace",))
    if name in archs:
        return ARCH, find(name, "arch_configs", ARCH)
    if name in networks:
        return NETWORK, find(name, "workloads", "workload")
    if name in traces:
        return TRACE, find(name, "workloads", "workload", (".trace",))
    raise unknown_name("architecture or workload", name, [*archs, *networks, *traces])


def _kind_of_file(path: Path) -> str:
    if path.suffix == ".trace":
        return TRACE
    if path.suffix in (".csv", ".onnx"):
        return NETWORK
    if path.suffix not in _YAML:
        raise ConfigError(f"a file must end in one of {', '.join(_FILES)}, got {path.suffix!r}", str(path))
    return _kind_of_yaml(read_yaml(path))


def _kind_of_yaml(document: Document) -> str:
    data = document.data
    if isinstance(data, dict):
        if "layers" in data or "blocks" in data:
            return NETWORK
        if _ARCH_KEYS & data.keys():
            return ARCH
    what = "must be an architecture (with the keys engine, buffers, dram, ...) or a network (with layers)"
    raise ConfigError(what, document.where(()))
