"""The points of a sweep: axes, derived keys and constraints; all of them, or a sample."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.expr import Expression
from accelsim.base.yamlio import Document
from accelsim.sweep.axes import Axis, read_axis
from accelsim.sweep.machines import Changes, KeysOf, changed_document, machine, read_base
from accelsim.sweep.spec import SweepSpec, read_sweep

Point = dict[str, Any]
"""Swept and derived key -> value, in the order of the sweep; `arch`, `workload` and `recipe` always."""

MAX_POINTS = 1_000_000
_MAX_ROUNDS = 1000
_TOP = ("arch", "workload", "recipe")
_OPTION = "options."


class Space:
    """A checked sweep.

    Parameters
    ----------
    spec : SweepSpec
    document : Document
        Where it stands, for messages.

    Attributes
    ----------
    axes : list of Axis
        `arch`, `workload`, `recipe` (one value, if not swept), then those of `sweep`.
    keys : list of str
        Keys of a point that are swept or derived.
    """

    def __init__(self, spec: SweepSpec, document: Document) -> None:
        self.spec = spec
        self.document = document
        self.axes = [self._top(key) for key in _TOP]
        for key, data in spec.sweep.items():
            self.axes.append(read_axis(key, data, document.where(("sweep", key))))
        self._derived = {
            key: Expression(text, document.where(("derive", key))) for key, text in spec.derive.items()
        }
        self._constraints = [
            Expression(text, document.where(("constraints", n))) for n, text in enumerate(spec.constraints)
        ]
        swept = [axis.key for axis in self.axes if len(axis.values) != 1 or axis.key in spec.sweep]
        self.keys = [*swept, *self._derived]
        self._check()

    def _top(self, key: str) -> Axis:
        given = getattr(self.spec, key)
        axis = read_axis(key, given if isinstance(given, list) else [given], self.document.where((key,)))
        return Axis(key, tuple(value or "" for value in axis.values))

    # ---- points

    @property
    def grid_size(self) -> int | None:
        """Points of the full grid before constraints; None if an axis is an open range."""
        if any(axis.is_open for axis in self.axes):
            return None
        return prod(len(axis.values) for axis in self.axes)

    def points(self) -> Iterator[Point]:
        """The points that obey the constraints: of the grid, or of the sample.

        Raises
        ------
        ConfigError
            If the grid is too large or open, or the constraints leave nothing.
        """
        sample = self.spec.sample
        found = iter(self._grid() if sample is None else self._sampled(sample.method, sample.points, sample.seed))
        first = next(found, None)
        if first is None:
            raise ConfigError("no point obeys all constraints", self.document.where(("constraints",)))
        yield first
        yield from found

    def complete(self, values: Mapping[str, Any]) -> Point | None:
        """The point with these values on the axes; None if a constraint forbids it.

        Raises
        ------
        ConfigError
            If an expression cannot be evaluated there.
        """
        point = dict(values)
        names = _PointNames(self, point)
        for key, expression in self._derived.items():
            point[key] = expression.value(names)
        return point if all(c.value(names) for c in self._constraints) else None

    def _grid(self) -> Iterator[Point]:
        keys = [axis.key for axis in self.axes]
        for values in itertools.product(*(axis.values for axis in self.axes)):
            point = self.complete(dict(zip(keys, values, strict=True)))
            if point is not None:
                yield point

    def _sampled(self, method: str, count: int, seed: int) -> Iterator[Point]:
        """Distinct points, in rounds: those that a constraint forbids, or that were there before, are drawn anew."""
        seen: set[str] = set()
        for round_ in range(_MAX_ROUNDS):
            wanted = count - len(seen)
            size = max(wanted, min(count, 100))
            draws = [self.fractions(axis.key, method, size, seed, round_) for axis in self.axes]
            for fractions in zip(*draws, strict=True):
                point = self.complete({a.key: a.at(f) for a, f in zip(self.axes, fractions, strict=True)})
                mark = repr(point)
                if point is None or mark in seen:
                    continue
                seen.add(mark)
                yield point
                if len(seen) == count:
                    return
            if self.grid_size is not None and len(seen) >= self.grid_size:
                return
        if not seen:
            return
        what = f"only {len(seen)} of {count} different points were found in {_MAX_ROUNDS} rounds of drawing"
        raise ConfigError(f"{what}; ask for fewer, or relax the constraints", self.document.where(("sample",)))

    def fractions(self, key: str, method: str, size: int, seed: int, round_: int) -> list[float]:
        """Where on an axis the points of a round lie, as numbers from 0 to 1; the same on every machine."""
        name = f"accelsim.sweep/{seed}/{round_}/{key}".encode()
        counter = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "big")
        generator = np.random.Generator(np.random.Philox(key=counter))
        # Generator.random is uint64 >> 11 over 2**53: integers decide it
        within = generator.random(size)
        if method == "random":
            return [float(x) for x in within]
        # a permutation by sorting random words: one number in each of `size` equal parts of the axis
        strata = np.argsort(generator.integers(0, 2**63, size), kind="stable")
        return [float(x) for x in (strata + within) / size]

    # ---- what a point needs

    def changes(self, point: Point) -> Changes:
        """Keys of the architecture that differ from its file, `set` first."""
        own = tuple((k, v) for k, v in point.items() if k not in _TOP and not k.startswith(_OPTION))
        return (*self.spec.set.items(), *own)

    def options(self, point: Point) -> dict[str, Any]:
        """Options of the workload."""
        own = {k.removeprefix(_OPTION): v for k, v in point.items() if k.startswith(_OPTION)}
        return {**self.spec.options, **own}

    def accuracy(self, point: Point) -> float | None:
        """What the sweep says of this workload and recipe."""
        for entry in self.spec.accuracy:
            if entry.workload == point["workload"] and (entry.recipe or "") == point["recipe"]:
                return entry.value
        return None

    def places(self) -> dict[str, str]:
        """Key -> where in the sweep it is set, for messages."""
        own = {key: self.document.where(("sweep", key)) for key in self.spec.sweep}
        own.update({key: self.document.where(("derive", key)) for key in self.spec.derive})
        return {**own, **{key: self.document.where(("set", key)) for key in self.spec.set}}

    # ---- checks before any work

    def _check(self) -> None:
        size = self.grid_size
        if self.spec.sample is None and self.spec.search is None:
            if size is None:
                key = next(axis.key for axis in self.axes if axis.is_open)
                what = "needs a step or a count in a grid; without one it is for `sample` and `search`"
                raise ConfigError(what, self.document.where(("sweep", key)))
            if size > MAX_POINTS:
                what = f"the grid has {size:,} points, at most {MAX_POINTS:,} can be run; draw from it with `sample`"
                raise ConfigError(what, self.document.where(("sweep",)))
        self._check_entries()
        first = {axis.key: axis.values[0] if axis.values else axis.low for axis in self.axes}
        for arch in self.axes[0].values:
            self._check_arch({**first, "arch": arch})

    def _check_entries(self) -> None:
        for n, entry in enumerate(self.spec.accuracy):
            for key, value in (("workload", entry.workload), ("recipe", entry.recipe or "")):
                known = self.axes[_TOP.index(key)].values
                if value not in known:
                    raise unknown_name(key, value, known, self.document.where(("accuracy", n, key)))

    def _check_arch(self, first: Point) -> None:
        """Names in expressions exist, and so do the keys; whether the values can be is for each job to say."""
        read_base(first["arch"])
        machine(first["arch"], ())
        self.complete(first)
        places = self.places()
        for key, value in self.changes(first):
            try:
                machine(first["arch"], ((key, value),), places)
            except ConfigError as error:
                if "unknown key" in str(error) or "has no item" in str(error) or "has no keys" in str(error):
                    raise
                # a value that needs another key beside it, or is wrong: the point says so when it runs


class _PointNames(Mapping[str, Any]):
    """Names for expressions: the keys of a point, then those of its architecture."""

    def __init__(self, space: Space, point: Point) -> None:
        self._space = space
        self._point = point
        self._machine: KeysOf | None = None

    def _rest(self) -> KeysOf:
        # derived keys may change while they are computed; what they derive from stands in the point itself
        if self._machine is None:
            document, _ = changed_document(self._point["arch"], self._space.changes(self._point))
            self._machine = KeysOf(document.data)
        return self._machine

    def __getitem__(self, key: str) -> Any:
        return self._point[key] if key in self._point else self._rest()[key]

    def __contains__(self, key: object) -> bool:
        if key in self._point:
            return True
        return isinstance(key, str) and key in self._rest()

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._point, *self._rest()])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_space(source: Any) -> Space:
    """The checked space of a sweep's file, or of a mapping of the same form.

    Raises
    ------
    ConfigError
        Whatever is wrong, before any work.
    """
    return Space(*read_sweep(source))
