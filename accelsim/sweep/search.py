"""Search with Optuna (Akiba et al., KDD 2019) over the space of a sweep.

Trials are proposed in batches of a fixed size, run, and told in their order. What is proposed depends on seed and
results alone, so a search that was killed is resumed by proposing the same again: whatever the store has costs
nothing. The same holds for any number of workers.

A point that the sweep's `constraints` forbid is not simulated and counts as no trial; the search's own constraints
are over columns of the table, known only afterwards, and steer the search by how far they are missed.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.expr import Expression
from accelsim.sweep.axes import Axis
from accelsim.sweep.execute import Crew
from accelsim.sweep.machines import KeysOf, changed_document
from accelsim.sweep.pareto import front, hypervolume
from accelsim.sweep.plan import Planner, check_buildable
from accelsim.sweep.run import Progress, run_plan, traces_beside
from accelsim.sweep.space import Point, Space
from accelsim.sweep.spec import Search
from accelsim.sweep.store import Outcome, Store, StoredPoint
from accelsim.sweep.table import BREAKDOWNS, FIGURES, add_flat

_TRIED = 20
_MISSES = 50
"""Proposals in a row that the sweep's constraints may forbid, for each trial of a batch."""


def search(
    space: Space,
    store: Store,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Run the search of a sweep, or go on with it; rows of the table have `feasible` and `hypervolume` too.

    Raises
    ------
    ConfigError
        Unknown columns, Optuna missing, or a space that the constraints leave (almost) empty.
    """
    settings = space.spec.search
    assert settings is not None
    goals = _Goals(space, settings)
    study = _study(settings)
    planner = Planner(space, traces_beside(store.path, say))
    first = planner.plan(_some_points(space))
    check_buildable(list(first.jobs.values()), space.document.file)
    store.define(space.spec.name, space.keys, space.document.data, [])
    done = 0
    with Crew(workers, cluster) as crew:
        while done < settings.trials:
            size = min(settings.batch_size, settings.trials - done)
            trials, points = _propose(study, space, size)
            plan = planner.plan(points, done)
            run_plan(plan, store, crew, progress=_shifted(progress, done, settings.trials))
            results = store.results([point.hash for point in plan.points])
            kept = [goals.tell(study, t, p, results[p.hash]) for t, p in zip(trials, plan.points, strict=True)]
            goals.end_batch()
            volume = goals.hypervolume()
            store.add_points(space.spec.name, (_with(p, feasible, volume) for p, feasible in kept))
            done += size


def _with(point: StoredPoint, feasible: bool | None, volume: float) -> StoredPoint:
    extra = {**point.extra, "feasible": feasible, "hypervolume": volume}
    return StoredPoint(point.number, point.hash, point.point, extra)


def _some_points(space: Space) -> list[Point]:
    """A few points all over the space, whether a constraint forbids them or not."""
    columns = [space.fractions(axis.key, "latin_hypercube", _TRIED, 0, 0) for axis in space.axes]
    points = ({a.key: a.at(f) for a, f in zip(space.axes, row, strict=True)} for row in zip(*columns, strict=True))
    return [space.complete(point) or point for point in points]


def _shifted(
    progress: Callable[[Progress], None] | None, before: int, total: int
) -> Callable[[Progress], None] | None:
    """Progress of a batch as that of the whole search."""
    if progress is None:
        return None
    return lambda state: progress(Progress(total, before + state.done, state.failed, state.seconds, before))


def _import_optuna() -> Any:
    import importlib

    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        what = "needs optuna, which is not installed; install it with: pip install 'accelsim[search]'"
        raise ConfigError(what, "search") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(settings: Search) -> Any:
    optuna = _import_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if settings.method == "nsga2":
            sampler = optuna.samplers.NSGAIISampler(population_size=settings.batch_size, seed=settings.seed)
        else:
            sampler = optuna.samplers.TPESampler(seed=settings.seed, constant_liar=True, multivariate=True)
    directions = ["minimize" if end == "min" else "maximize" for end in settings.objectives.values()]
    return optuna.create_study(directions=directions, sampler=sampler)


def _propose(study: Any, space: Space, size: int) -> tuple[list[Any], list[Point]]:
    """Trials whose points obey the sweep's constraints."""
    import optuna

    distributions = {axis.key: _distribution(axis) for axis in space.axes}
    trials: list[Any] = []
    points: list[Point] = []
    for _ in range(_MISSES * size):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask(distributions)
        point = space.complete({axis.key: _value(axis, trial.params[axis.key]) for axis in space.axes})
        if point is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        trials.append(trial)
        points.append(point)
        if len(points) == size:
            return trials, points
    what = f"the constraints forbid nearly all: {len(points)} of {_MISSES * size} proposals obey them"
    raise ConfigError(what, space.document.where(("constraints",)))


def _distribution(axis: Axis) -> Any:
    """Numbers in order by their place in the list, so that neighbours are known as such; others as categories."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.is_open:
        if axis.is_whole:
            return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in axis.values)
    if numbers and list(axis.values) == sorted(axis.values):
        return IntDistribution(0, len(axis.values) - 1)
    return CategoricalDistribution(list(range(len(axis.values))))


def _value(axis: Axis, chosen: Any) -> Any:
    if not axis.is_open:
        return axis.values[chosen]
    return chosen if axis.is_whole else float(f"{chosen:.12g}")


class _Goals:
    """Objectives and constraints over the columns of the table."""

    def __init__(self, space: Space, settings: Search) -> None:
        self._space = space
        self._settings = settings
        where = space.document.where(("search",))
        for name in settings.objectives:
            if name not in FIGURES and not name.startswith(tuple(f"{p}." for p in BREAKDOWNS.values())):
                raise unknown_name("objective", name, FIGURES, where)
        self._constraints = [
            _Constraint(text, space.document.where(("search", "constraints", n)))
            for n, text in enumerate(settings.constraints)
        ]
        names = {name for constraint in self._constraints for name in constraint.names}
        known = [*FIGURES, *(axis.key for axis in space.axes), *space.keys]
        arch = space.axes[0].values[0]
        machine = KeysOf(changed_document(arch, tuple(space.spec.set.items()))[0].data)
        for name in sorted(names):
            if name not in known and name not in machine:
                raise unknown_name("column", name, [*known, *machine], where)
        measured = space.spec.accuracy or space.spec.evaluate
        if "accuracy" in {*names, *settings.objectives} and not measured:
            raise ConfigError("accuracy is known only if the sweep has `evaluate` or a list `accuracy`", where)
        self._signs = [1.0 if end == "min" else -1.0 for end in settings.objectives.values()]
        self._vectors: list[tuple[float, ...]] = []
        self._first: list[tuple[float, ...]] = []
        self._reference: tuple[float, ...] | None = None
        if settings.reference is not None:
            values = (settings.reference[name] for name in settings.objectives)
            self._reference = tuple(s * v for s, v in zip(self._signs, values, strict=True))

    def tell(self, study: Any, trial: Any, point: StoredPoint, outcome: Outcome) -> tuple[StoredPoint, bool | None]:
        """Tell the study; whether the constraints are met (None if the simulation failed)."""
        import optuna

        values: list[float] = []
        if outcome.record is not None:
            row = add_flat({**outcome.record, **point.extra})
            values = [row[name] for name in self._settings.objectives if row.get(name) is not None]
        if outcome.record is None or len(values) < len(self._signs):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return point, None
        document, _ = changed_document(point.point["arch"], self._space.changes(dict(point.point)))
        names = _Row({**row, **point.point}, KeysOf(document.data))
        missed = [constraint.missed(names) for constraint in self._constraints]
        for n, amount in enumerate(missed):
            trial.set_constraint(str(n), amount)
        study.tell(trial, values)
        feasible = not any(amount > 0 for amount in missed)
        vector = tuple(sign * float(value) for sign, value in zip(self._signs, values, strict=True))
        if self._reference is None:
            self._first.append(vector)
        if feasible:
            self._vectors = front([*self._vectors, vector])
        return point, feasible

    def end_batch(self) -> None:
        """After the first batch the worst point is known."""
        if self._reference is None and self._first:
            self._reference = tuple(max(values) for values in zip(*self._first, strict=True))

    def hypervolume(self) -> float:
        """Of the feasible points so far, each objective in units of the reference point's."""
        if self._reference is None:
            return 0.0
        units = [abs(value) or 1.0 for value in self._reference]
        scaled = ([value / unit for value, unit in zip(v, units, strict=True)] for v in self._vectors)
        return hypervolume(scaled, [value / unit for value, unit in zip(self._reference, units, strict=True)])


class _Row(Mapping[str, Any]):
    """Columns of a row, then keys of its architecture."""

    def __init__(self, row: Mapping[str, Any], machine: KeysOf) -> None:
        self._row, self._machine = row, machine

    def __getitem__(self, key: str) -> Any:
        return self._row[key] if key in self._row else self._machine[key]

    def __iter__(self) -> Any:
        yield from self._row
        yield from self._machine

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Constraint:
    """`left <= right` and its like, with how far it is missed; any other expression is met or not."""

    def __init__(self, text: str, where: str) -> None:
        whole = Expression(text, where)
        self.names: Iterable[str] = whole.names
        self._whole = whole
        self._sides: tuple[Expression, Expression] | None = None
        root = ast.parse(text.strip(), mode="eval").body
        if isinstance(root, ast.Compare) and len(root.ops) == 1:
            sides = [ast.unparse(root.left), ast.unparse(root.comparators[0])]
            if isinstance(root.ops[0], (ast.Gt, ast.GtE)):
                sides.reverse()
            if isinstance(root.ops[0], (ast.Gt, ast.GtE, ast.Lt, ast.LtE)):
                self._sides = Expression(sides[0], where), Expression(sides[1], where)

    def missed(self, names: Mapping[str, Any]) -> float:
        """0 if it is met; else by how much, as a share of the bound."""
        if self._whole.value(names):
            return 0.0
        if self._sides is None:
            return 1.0
        less, more = (side.value(names) for side in self._sides)
        if isinstance(less, str) or isinstance(more, str):
            return 1.0
        amount = (less - more) / (abs(more) or 1.0)
        return amount if amount > 0 and math.isfinite(amount) else 1e-9


def history(rows: Iterable[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Hypervolume over time: (trials so far, hypervolume) at each batch's end, from the rows of a table."""
    found: list[tuple[int, float]] = []
    for row in rows:
        volume = row.get("hypervolume")
        if volume is None:
            continue
        if found and found[-1][1] == volume:
            found[-1] = (row["index"] + 1, volume)
        else:
            found.append((row["index"] + 1, volume))
    return found
