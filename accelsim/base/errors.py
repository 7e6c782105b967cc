"""The two kinds of failure: yours to fix (`ConfigError`), and ours (`SimulationBug`)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AccelsimError(Exception):
    """Root of everything that accelsim raises on purpose."""


class ConfigError(AccelsimError):
    """Input that the user can mend: a file, a key, a value, a name.

    The message reads `where: what must be ..., got ...`; the command line prints it
    as it is and ends with exit code 2.
    """

    def __init__(self, message: str, where: str | None = None) -> None:
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class SimulationBug(AccelsimError):
    """An invariant of accelsim does not hold: please report it, and do not use the result."""


class DeadlockError(AccelsimError):
    """The simulated machine cannot go on; the message says who waits for what."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `name`, best first (may be empty)."""
    lowered = {k.lower(): k for k in known}
    hits = difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.5)
    return [lowered[h] for h in hits]


def unknown_name(kind: str, name: str, known: Iterable[str], where: str | None = None) -> ConfigError:
    """The error for a name that nobody knows: offers the nearest, or lists all."""
    known = sorted(known)
    close = nearest(name, known)
    if close:
        hint = "did you mean " + " or ".join(close) + "?"
    elif known:
        hint = "known: " + ", ".join(known)
    else:
        hint = "there are none"
    return ConfigError(f"unknown {kind} {name!r}; {hint}", where)
