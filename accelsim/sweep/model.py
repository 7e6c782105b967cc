"""Which model made a result: the version of accelsim, and a hash of everything in it that decides a figure."""

from __future__ import annotations

import functools
import hashlib

import accelsim
from accelsim.base.paths import PACKAGE

ROOMS = ("base", "workload", "sim", "memory", "noc", "mapping", "dataflow", "energy", "engines", "system")
"""Rooms whose code or tables can change a figure; those above only ask and show."""

_SUFFIXES = (".py", ".csv", ".yaml")


FRONT_END = ("base", "workload", "compress")
"""Rooms that decide what a recipe makes of a network."""


def model_version() -> str:
    """`0.1.0+5f3a...`: equal texts mean equal figures for equal inputs.

    An edit of a comment changes it as well: a few jobs run again needlessly, but no stale figure is ever taken for
    a fresh one.
    """
    return f"{accelsim.__version__}+{_hash_of(ROOMS)}"


def front_end_version() -> str:
    """The same for traces."""
    return f"{accelsim.__version__}+{_hash_of(FRONT_END)}"


@functools.lru_cache(maxsize=2)
def _hash_of(rooms: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for room in rooms:
        for path in sorted((PACKAGE / room).rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                content = path.read_bytes()
                digest.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()
