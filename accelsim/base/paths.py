"""Where the shipped files are, after `pip install` as well as in a checkout."""

from __future__ import annotations

from pathlib import Path

from accelsim.base.errors import ConfigError, unknown_name

PACKAGE = Path(__file__).resolve().parent.parent


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
        if path.is_file():
            return path
        if len(path.parts) > 1 or path.suffix in suffixes:
            raise ConfigError(f"there is no such {kind} file", name)
    for suffix in suffixes:
        candidate = shipped_dir(folder) / f"{name}{suffix}"
        if candidate.is_file():
            return candidate
    raise unknown_name(kind, name, shipped_names(folder, suffixes))
