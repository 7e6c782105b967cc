"""Words to people: progress on stderr when it is a terminal, and announcements."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from accelsim.base.errors import ConfigError

PATIENCE_SECONDS = 0.4
"""Work that takes no longer shows no progress."""


def say(message: str) -> None:
    """One line on stderr."""
    print(f"accelsim: {message}", file=sys.stderr, flush=True)


def announce_compilation(quiet: bool) -> None:
    """Say so if kernels must be compiled: it takes some seconds and happens once."""
    from accelsim.base import kernels

    if not quiet:
        kernels.on_compile(_announce)


def _announce(message: str) -> None:
    say(message)


class Bar:
    """A progress bar that appears only if the work takes a while."""

    def __init__(self, title: str, shown: bool, remaining: bool = False) -> None:
        self.title = title
        self.shown = shown
        self._remaining = remaining
        self._begun = time.monotonic()
        self._progress: Any = None
        self._task: Any = None

    def update(self, done: int, total: int, what: str) -> None:
        """`done` of `total` steps, `what` is next."""
        if not self.shown:
            return
        if self._progress is None:
            if time.monotonic() - self._begun < PATIENCE_SECONDS:
                return
            self._start(total)
        self._progress.update(self._task, completed=done, total=total, what=what)

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        what = TextColumn("{task.fields[what]}", markup=False)
        left = (TimeRemainingColumn(), TextColumn("left")) if self._remaining else ()
        columns = (TextColumn(escape(self.title)), BarColumn(), MofNCompleteColumn(), what, *left)
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._progress.start()
        self._task = self._progress.add_task(self.title, total=total, what="")

    def close(self) -> None:
        """Remove it from the screen."""
        if self._progress is not None:
            self._progress.stop()


@contextmanager
def progress_bar(title: str, quiet: bool, remaining: bool = False) -> Iterator[Bar]:
    """A bar for a block of work (`remaining`: with the time left); nothing if `quiet`, or if stderr is no terminal."""
    bar = Bar(title, not quiet and sys.stderr.isatty(), remaining)
    try:
        yield bar
    finally:
        bar.close()


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """`["a=1"]` -> `{"a": "1"}`.

    Raises
    ------
    ConfigError
    """
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise ConfigError("must be NAME=VALUE", f"{option} {text}")
        found[name] = value
    return found


def shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`["x=1,3,8,8"]` -> `{"x": (1, 3, 8, 8)}`.

    Raises
    ------
    ConfigError
    """
    found = {}
    for name, value in pairs(texts, "--input-shape").items():
        parts = value.replace("x", ",").split(",")
        if not all(part.strip().isdecimal() for part in parts):
            raise ConfigError(f"a shape must be integers with commas between them, got {value!r}", "--input-shape")
        found[name] = tuple(int(part) for part in parts)
    return found
