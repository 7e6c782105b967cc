"""Registries: a new engine, dataflow, encoding or topology is one file that registers itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Generic, TypeVar

from accelsim.base.errors import SimulationBug, unknown_name

T = TypeVar("T")


def normalise(name: str) -> str:
    """Names are compared in lower case, with '-' and '_' the same."""
    return name.strip().lower().replace("-", "_")


class Registry(Generic[T]):
    """A table of named things of one kind, filled by the files of one package.

    Parameters
    ----------
    kind : str
        What the things are, for messages: "engine", "dataflow".
    package : str
        The package whose modules are imported on first look-up.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._items: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: enter the decorated thing under `name` (normalised, and only once)."""
        key = normalise(name)

        def enter(item: T) -> T:
            known = self._items.get(key)
            if known is not None and known is not item:
                raise SimulationBug(f"{self.kind} {key!r} is registered twice")
            self._items[key] = item
            return item

        return enter

    def _discover(self) -> None:
        if self._discovered:
            return
        package = importlib.import_module(self.package)
        for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{self.package}.{module}")
        self._discovered = True

    def lookup(self, name: str, where: str | None = None) -> T:
        """The thing called `name`.

        Raises
        ------
        ConfigError
            With the nearest known names, if nothing is called so.
        """
        key = normalise(name)
        if key not in self._items and key.isidentifier() and find_spec(f"{self.package}.{key}"):
            importlib.import_module(f"{self.package}.{key}")  # a thing mostly lives in the file of its name
        if key not in self._items:
            self._discover()  # only now: importing a whole room takes longer than most look-ups save
        try:
            return self._items[key]
        except KeyError:
            raise unknown_name(self.kind, name, self._items, where) from None

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._discover()
        return sorted(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """(name, thing), in the order of the names."""
        for name in self.names():
            yield name, self._items[name]
