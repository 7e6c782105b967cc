"""Architectures of points: the file is read once in each process, and changed for each point."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.base.yamlio import Document
from accelsim.system.archspec import Architecture, read_arch, set_key

Changes = tuple[tuple[str, Any], ...]
"""Dotted key -> plain value, in the order in which they are made."""


_BASES: dict[str, tuple[str, Document, Path]] = {}


def read_base(arch: str) -> str:
    """Read the file of an architecture anew; returns a hash of what it says.

    Raises
    ------
    ConfigError
        If there is none, or it cannot be read.
    """
    document, path = read_arch(arch)
    stamp = hashlib.blake2b(json.dumps(document.data, sort_keys=True).encode(), digest_size=8).hexdigest()
    _BASES[arch] = (stamp, document, path)
    return stamp


def _base(arch: str, stamp: str | None) -> tuple[Document, Path]:
    if arch not in _BASES or (stamp is not None and _BASES[arch][0] != stamp):
        found = read_base(arch)
        if stamp is not None and found != stamp:
            raise ConfigError("the file here is not the one that the sweep was started with", arch)
    return _BASES[arch][1:]


def changed_document(
    arch: str, changes: Changes, where: Mapping[str, str] | None = None, stamp: str | None = None
) -> tuple[Document, Path]:
    """The document of an architecture with some keys changed, not yet checked.

    Raises
    ------
    ConfigError
        Unknown architecture, or a key whose parents do not exist.
    """
    base, path = _base(arch, stamp)
    document = Document(copy.deepcopy(base.data), base.file, dict(base.marks))
    for key, value in changes:
        set_key(document, key, copy.deepcopy(value), (where or {}).get(key, f"{key}={value!r:.60}"))
    return document, path


def machine(
    arch: str, changes: Changes, where: Mapping[str, str] | None = None, stamp: str | None = None
) -> Architecture:
    """The architecture of a point; with `stamp` (of `read_base`), only from that very file.

    Raises
    ------
    ConfigError
        Whatever is wrong with it.
    """
    document, path = changed_document(arch, changes, where, stamp)
    return Architecture(document, path)


def machine_hash(document: Document, path: Path) -> str:
    """A hash of everything in an architecture that can change a result: all but prose, and the user's cost table."""
    data = {key: value for key, value in document.data.items() if key not in ("notes", "source", "description")}
    digest = hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=16)
    energy = data.get("energy")
    table = energy.get("table") if isinstance(energy, dict) else None
    if isinstance(table, str):
        digest.update(_content(path.parent / table))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the job itself says what is wrong with the file


class KeysOf(Mapping[str, Any]):
    """Dotted keys of an architecture's data, items of lists by their names: what expressions may refer to."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __getitem__(self, key: str) -> Any:
        found = self._data
        for part in key.split("."):
            if isinstance(found, list):
                found = {str(item.get("name")): item for item in found if isinstance(item, dict)}
            if not isinstance(found, dict) or part not in found:
                raise KeyError(key)
            found = found[part]
        if isinstance(found, (dict, list)):
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        yield from _leaves(self._data, "")

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _leaves(data: Any, prefix: str) -> Iterator[str]:
    if isinstance(data, list):
        data = {str(item.get("name")): item for item in data if isinstance(item, dict)}
    for key, value in data.items():
        if key == "notes" and not prefix:
            continue
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, (dict, list)):
            yield from _leaves(value, path)
        else:
            yield path
