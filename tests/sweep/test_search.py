"""Search: what it finds, the same on any workers and after any interruption, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accelsim.base.errors import ConfigError
from accelsim.sweep.pareto import front, hypervolume
from accelsim.sweep.run import sweep
from accelsim.sweep.search import history
from accelsim.sweep.spec import Search
from accelsim.sweep.store import Store
from tests.sweep.examples import small

pytest.importorskip("optuna")

SPACE = {
    "engine.rows": {"linear": [1, 32]},
    "engine.cols": {"powers_of_two": [1, 32]},
    "engine.dataflow": ["os", "ws"],
    "dram.bandwidth_bytes_per_s": {"log": [100_000_000, 3_200_000_000]},
}
OBJECTIVES = {"energy_pj": "min", "seconds": "min"}


def source(**settings: Any) -> dict[str, Any]:
    search = {"trials": 40, "batch": 20, "objectives": OBJECTIVES, **settings}
    constraints = ["engine.rows * engine.cols <= 256"]
    return small(sweep=SPACE, set={"engine.overlap": "serial"}, constraints=constraints, search=search)


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_a_search_obeys_its_constraints_and_its_hypervolume_grows(method: str, tmp_path: Path) -> None:
    bounds = {"constraints": ["area_mm2 <= 0.12", "power_w < 0.05"]}
    found = sweep(source(method=method, batch=10, **bounds), tmp_path / "s.db", workers=0)
    assert len(found) == 40 and set(found.column("status")) == {"done"}
    assert all(row["engine.rows"] * row["engine.cols"] <= 256 for row in found.rows)
    for row in found.rows:
        assert row["feasible"] == (row["area_mm2"] <= 0.12 and row["power_w"] < 0.05)
    assert True in found.column("feasible") and False in found.column("feasible")
    volumes = [volume for _, volume in history(found.rows)]
    assert volumes == sorted(volumes) and len(set(volumes)) == len(volumes)
    # the last one from its definition
    first = [(row["energy_pj"], row["seconds"]) for row in found.rows[:10]]
    worst = [max(values) for values in zip(*first, strict=True)]
    good = [(row["energy_pj"] / worst[0], row["seconds"] / worst[1]) for row in found.rows if row["feasible"]]
    assert volumes[-1] == pytest.approx(hypervolume(front(good), (1.0, 1.0)))


def test_a_search_that_was_stopped_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """Stopped in the middle of a batch; resumed on other workers."""

    class Stop(Exception):
        pass

    def stop(state: Any) -> None:
        if state.done >= 27:
            raise Stop

    with pytest.raises(Stop):
        sweep(source(), tmp_path / "s.db", workers=0, progress=stop)
    with Store.open(tmp_path / "s.db") as store:
        assert store.sweeps()[0].points == 20
    ran: list[int] = []
    table = sweep(source(), tmp_path / "s.db", workers=2, progress=lambda state: ran.append(state.done))
    assert ran[0] == 20 and ran[-1] <= 33, "27 trials were there"
    assert table.csv_text() == sweep(source(), tmp_path / "straight.db", workers=0).csv_text()


def test_a_search_finds_more_than_chance(tmp_path: Path) -> None:
    """120 trials of NSGA-II, and 120 random points, against the same reference."""
    reference = {"energy_pj": 1e9, "seconds": 0.02}
    searched = sweep(source(trials=120, batch=20, reference=reference), tmp_path / "s.db", workers=0)
    drawn = {**source(), "search": None, "sample": {"points": 120}}
    sampled = sweep({k: v for k, v in drawn.items() if v is not None}, tmp_path / "r.db", workers=0)

    def volume(rows: list[Any]) -> float:
        scaled = [tuple(row[name] / reference[name] for name in OBJECTIVES) for row in rows]
        return hypervolume(scaled, (1.0, 1.0))

    assert history(searched.rows)[-1] == (120, pytest.approx(volume(searched.rows)))
    assert volume(searched.rows) > volume(sampled.rows)


def test_greatest_is_better_where_the_search_says_so(tmp_path: Path) -> None:
    found = sweep(source(objectives={"tops": "max"}, trials=20, batch=5), tmp_path / "s.db", workers=0)
    assert max(found.column("tops")[10:]) >= max(found.column("tops")[:5])
    volumes = [volume for _, volume in history(found.rows)]
    worst, best = min(found.column("tops")[:5]), max(found.column("tops"))
    assert volumes[-1] == pytest.approx((best - worst) / worst)


def test_accuracy_that_is_measured_steers_a_search(tmp_path: Path) -> None:
    bounds = {"trials": 16, "batch": 8, "constraints": ["accuracy >= 0.9"]}
    space = {"workload": "lenet_digits", "recipe": ["int8", "twn"], "evaluate": "own"}
    found = sweep({**source(**bounds), **space}, tmp_path / "s.db", workers=0)
    assert {(row["recipe"], row["feasible"]) for row in found.rows} == {("int8", True), ("twn", False)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objectives": {"enregy_pj": "min"}}, r"search: unknown objective 'enregy_pj'; did you mean energy_pj"),
        ({"objectives": {"energy_pj": "least"}}, "search.objectives.energy_pj: must be one of 'min' or 'max'"),
        ({"constraints": ["aera_mm2 < 1"]}, "search: unknown column 'aera_mm2'; did you mean area_mm2"),
        ({"constraints": ["area_mm2 <"]}, r"search.constraints\[0\]: 'area_mm2 <' is not an expression"),
        ({"constraints": ["accuracy > 0.5"]}, "search: accuracy is known only if the sweep has `evaluate` or a list"),
        ({"reference": {"energy_pj": 1.0}}, "reference must have a number for each of the objectives"),
        ({"trials": 0}, "search.trials: must be >= 1, got 0"),
    ],
)
def test_bad_searches(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(source(**settings), tmp_path / "s.db", workers=0)


def test_a_space_that_is_nearly_empty_is_refused(tmp_path: Path) -> None:
    empty = {**source(), "constraints": ["engine.rows * engine.cols == 31", "engine.cols > 1"]}
    with pytest.raises(ConfigError, match="the constraints forbid nearly all: 0 of 1000 proposals obey them"):
        sweep(empty, tmp_path / "s.db", workers=0)


def test_batches_by_default() -> None:
    objectives = {"objectives": {"energy_pj": "min"}}
    assert Search(trials=1, method="tpe", **objectives).batch_size == 8  # type: ignore[arg-type]
    assert Search(trials=1, **objectives).batch_size == 50  # type: ignore[arg-type]
