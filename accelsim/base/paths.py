"""Where the shipped files are, after `pip install` as well as in a checkout."""

from __future__ import annotations

import os
from pathlib import Path

from accelsim.base.errors import ConfigError, unknown_name

PACKAGE = Path(__file__).resolve().parent.parent

_CALLED = {"arch_configs": "an architecture", "workloads": "a workload"}


def shipped_dir(folder: str) -> Path:
    """The folder `arch_configs` or `workloads`: inside the package if installed, else beside it."""
    installed = PACKAGE / "_data" / folder
    return installed if installed.is_dir() else PACKAGE.parent / folder


def shipped_names(folder: str, suffixes: tuple[str, ...] = (".yaml",)) -> list[str]:
    """Names (file stems) of what is shipped in `folder`."""
    return sorted(p.stem for p in shipped_dir(folder).iterdir() if p.suffix in suffixes)


def find(name: str, folder: str, kind: str, suffixes: tuple[str, ...] = (".yaml",)) -> Path:
    """The file called `name`: a path that exists, or the name of a shipped one.

    Raises
    ------
    ConfigError
        If neither exists; offers the nearest shipped names.
    """
    path = Path(name)
    if path.suffix or len(path.parts) > 1:
        if is_file(path):
            return path
        if len(path.parts) > 1 or path.suffix in suffixes:
            there = "must be a file, but it is a directory" if os.path.isdir(name) else f"there is no such {kind} file"
            raise ConfigError(there, name)
    for suffix in suffixes:
        candidate = shipped_dir(folder) / f"{name}{suffix}"
        if is_file(candidate):
            return candidate
    for other, called in _CALLED.items():
        if folder in _CALLED and other != folder and name in shipped_names(other, (".yaml", ".trace")):
            raise ConfigError(f"must be {_CALLED[folder]}, but is the name of {called}", name)
    raise unknown_name(kind, name, shipped_names(folder, suffixes))


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file can have (too long, with a null) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
