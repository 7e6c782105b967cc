"""Where files go: checked before any work, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from accelsim.base.errors import ConfigError


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A binary stream whose content appears at `path` when the block ends well, and nowhere otherwise.

    The content is written beside `path` under another name, and renamed when it is complete; an exception,
    Ctrl-C among them, removes it. A `path` that is no regular file (`/dev/stdout`) is written directly.

    Raises
    ------
    ConfigError
        If the place cannot be written.
    """
    target = path.resolve() if path.is_symlink() else path
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                yield stream
            return
        draft = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with draft.open("xb") as stream:
                yield stream
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", str(path)) from None


def check_writable(path: Path) -> None:
    """Refuse a place where no file can be written, before any work.

    Raises
    ------
    ConfigError
    """
    if path.is_dir():
        raise ConfigError("must be a file, but it is a directory", str(path))
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ConfigError(f"cannot be written: there is no directory {path.parent}", str(path))
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigError("cannot be written: permission denied", str(path))


def check_directory(path: Path) -> None:
    """Refuse a place where no directory with files can be, before any work; makes nothing.

    Raises
    ------
    ConfigError
    """
    nearest = path.resolve()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ConfigError(f"cannot be a directory: {nearest} is a file", str(path))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError("cannot be written: permission denied", str(path))


def make_directory(path: Path) -> Path:
    """The directory `path`, made with its parents if need be.

    Raises
    ------
    ConfigError
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made a directory: {error.strerror or error}", str(path)) from None
    return path


def write_text(path: Path, text: str) -> None:
    """Text as UTF-8, atomically."""
    with atomic(path) as stream:
        stream.write(text.encode())
