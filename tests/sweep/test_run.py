"""Whole sweeps: the same table on every executor and after every interruption; failures; who dies is found."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelsim
from accelsim.base.errors import ConfigError
from accelsim.compress.run import compress
from accelsim.sweep.execute import execute
from accelsim.sweep.executors import DaskCluster, Pool, ThisProcess
from accelsim.sweep.model import model_version
from accelsim.sweep.run import Progress, estimate, sweep
from accelsim.sweep.store import Outcome, Store
from accelsim.sweep.worker import run_job
from accelsim.workload.load import load_network
from tests.cli.command import REPOSITORY
from tests.sweep.examples import jobs_of, killer, small


def test_a_table_is_what_single_runs_give(tmp_path: Path) -> None:
    table = accelsim.sweep(small(), tmp_path / "s.db", workers=0)
    assert table.column("status") == (["done"] * 4 + ["failed"] * 4) * 2
    assert all("engine.cols: must be >= 1, got 0" in row["error"] for row in table.rows[4:8])
    row = table.rows[10]
    sets = [f"{key}={row[key]}" for key in table.keys]
    result = accelsim.run("teaching_4x4", "lenet_300_100", overrides=sets)
    assert row["cycles"] == result.cycles and row["energy_pj"] == result.energy_pj
    assert row["cycles_by_cause"] == result.cycles_by_cause()
    assert row["energy_pj_by_component"] == result.energy_by_component()
    assert row["trace_hash"] == result.trace_hash and row["model_version"] == model_version()
    assert sum(row["cycles_by_cause"].values()) == row["cycles"]
    assert row["accuracy"] is None


def test_every_executor_gives_the_same_bytes(tmp_path: Path) -> None:
    """In this process, on a pool, and on a Dask cluster of two workers."""
    pytest.importorskip("distributed")
    tables = {}
    for name, options in (("0", {"workers": 0}), ("2", {"workers": 2}), ("d", {"workers": 2, "cluster": "local"})):
        tables[name] = sweep(small(), tmp_path / f"{name}.db", **options).csv_text()  # type: ignore[arg-type]
    assert tables["0"] == tables["2"] == tables["d"]
    assert tables["0"].count(",done,") == 8


SWEEP = """
import json, sys
from accelsim.sweep.run import sweep
if __name__ == "__main__":
    sweep(json.loads(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]))
"""


def many() -> dict[str, Any]:
    return small(
        sweep={
            "engine.rows": {"linear": [2, 11], "step": 1},
            "engine.cols": [4, 0],
            "dram.bandwidth_bytes_per_s": {"log": [100_000_000, 800_000_000], "count": 10},
        }
    )


def test_killed_three_times_and_resumed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    script, path = tmp_path / "script.py", tmp_path / "s.db"
    script.write_text(SWEEP)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    chance = random.Random(7)
    kept = 0
    for workers in (0, 2, 0):
        command = [sys.executable, str(script), json.dumps(many()), str(path), str(workers)]
        process = subprocess.Popen(command, env=environment)
        goal = kept + chance.randint(1, 50)
        deadline = time.monotonic() + 120
        while (finished := done_in(path)) < goal:
            assert process.poll() is None and time.monotonic() < deadline, f"{finished} of {goal} before it ended"
            time.sleep(chance.uniform(0.001, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert done_in(path) >= finished >= kept, "what was there stays"
        kept = done_in(path)
    assert kept < 200, "the kills came before the end"
    resumed: list[int] = []
    table = sweep(many(), path, workers=0, progress=lambda state: resumed.append(state.total))
    assert resumed[0] == 200 - kept, "only what is missing runs"
    assert table.csv_text() == sweep(many(), tmp_path / "straight.db", workers=0).csv_text()
    assert table.column("status").count("done") == 100 and table.column("status").count("failed") == 100


def done_in(path: Path) -> int:
    """Results in a store that others write, or are just making."""
    if not path.is_file():
        return 0
    try:
        with Store.open(path) as store:
            return sum(s.done + s.failed for s in store.sweeps())
    except ConfigError:
        return 0


def test_a_second_sweep_runs_only_what_is_new(tmp_path: Path) -> None:
    counts: list[Progress] = []
    sweep(small(), tmp_path / "s.db", workers=0)
    wider = small(name="wider", sweep={**small()["sweep"], "engine.rows": [4, 8, 16]})
    table = sweep(wider, tmp_path / "s.db", workers=0, progress=counts.append)
    assert counts[-1].total == counts[-1].done == 8 and len(table) == 24
    sweep(wider, tmp_path / "s.db", workers=0, progress=lambda _: pytest.fail("nothing is left to do"))
    with Store.open(tmp_path / "s.db") as store:
        assert [(s.name, s.done, s.failed) for s in store.sweeps()] == [("small", 8, 8), ("wider", 12, 12)]
    again: list[int] = []
    sweep(wider, tmp_path / "s.db", workers=0, retry_failed=True, progress=lambda state: again.append(state.total))
    assert again[0] == 12


def test_traces_are_made_once(tmp_path: Path) -> None:
    """Two densities and a recipe: three files, whatever the number of points and runs."""
    said: list[str] = []
    plain = small(sweep={"options.activation_density": [0.5, 1.0], "engine.rows": [4, 8]})
    coded = small(name="coded", recipe=["int8"], sweep={"engine.rows": [4, 8]})
    for source in (plain, coded, coded):
        sweep(source, tmp_path / "s.db", workers=0, say=said.append)
    assert said == ["preparing lenet_300_100"] * 2 + ["preparing lenet_300_100, int8"]
    assert len(list((tmp_path / "s.traces").iterdir())) == 3
    with Store.open(tmp_path / "s.db") as store:
        rows = store.table("small").rows
        assert rows[0]["effectual_macs"] < rows[2]["effectual_macs"] == rows[2]["macs"]
        assert {row["recipe"] for row in store.table("coded").rows} == {"int8"}


def test_accuracy_is_a_column(tmp_path: Path) -> None:
    entry = {"workload": "lenet_300_100", "recipe": "int8", "value": 0.98, "source": "assumed: for this test"}
    source = small(recipe=[None, "int8"], sweep={"engine.rows": [4]}, accuracy=[entry])
    assert sweep(source, tmp_path / "s.db", workers=0).column("accuracy") == [None, 0.98]


def trained(**changes: Any) -> dict[str, Any]:
    return small(workload="lenet_digits", sweep={"engine.rows": [4, 8]}, evaluate="own", **changes)


def test_accuracy_is_measured_once_for_each_recipe(tmp_path: Path) -> None:
    """As `accelsim compress --evaluate` measures it; an entry of the list `accuracy` comes first."""
    said: list[str] = []
    entry = {"workload": "lenet_digits", "recipe": "int4", "value": 0.5, "source": "assumed: for this test"}
    source = trained(recipe=[None, "int8", "twn", "int4"], accuracy=[entry])
    for _ in range(2):
        found = sweep(source, tmp_path / "s.db", workers=0, say=said.append)
    assert sum(text.startswith("evaluating") for text in said) == 3
    accuracies = dict(zip(found.column("recipe"), found.column("accuracy"), strict=True))
    for recipe in ("int8", "twn"):
        (measures,) = compress("lenet_digits", None, recipe, None, evaluate="own").measures
        assert accuracies[recipe] == measures["accuracy"]
    assert accuracies == {**accuracies, "": measures["accuracy_original"], "int4": 0.5}
    assert 0.9 < accuracies["int8"] and accuracies["twn"] < 0.9 < accuracies[""]
    assert len(found.where("accuracy > 0.9")) == 4


def test_the_batch_of_a_sweep_is_that_of_the_trace_under_a_recipe(tmp_path: Path) -> None:
    """Also where the weights are shipped, whose network has a batch of its own; accuracy does not depend on it."""
    source = trained(recipe="int8")
    source["sweep"] = {"options.batch": [1, 3]}
    one, three = sweep(source, tmp_path / "s.db", workers=0).rows
    assert three["macs"] == 3 * one["macs"] and three["batch"] == 3
    assert one["accuracy"] == three["accuracy"]


def test_what_cannot_be_evaluated_is_refused_before_any_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="evaluate: lenet_300_100 has no trained weights"):
        sweep(small(recipe="int8", evaluate="own"), tmp_path / "s.db", workers=0)
    network = load_network("lenet_digits")
    np.savez(tmp_path / "x.npz", np.zeros((3, *network["image"].out_shape[1:]), np.float32))
    source = {**trained(recipe="int8"), "evaluate": str(tmp_path / "x.npz")}
    with pytest.raises(ConfigError, match="no accuracy without labels, which these data lack: file x.npz"):
        sweep(source, tmp_path / "s.db", workers=0)
    assert not (tmp_path / "s.db").exists()


def test_a_worker_that_dies_is_found_and_the_others_finish(tmp_path: Path) -> None:
    """One job kills its worker every time, another only once; the pool breaks as a whole each time."""
    # most have no columns, so that a fresh worker need not load kernels for them
    jobs = jobs_of(small(sweep={"engine.cols": [4, 0], "vector.lanes": [1, 2, 3, 4, 5]}), tmp_path)
    innocent, deadly = jobs[4:], killer(jobs[0], "deadly")
    once = killer(jobs[1], "once", str(tmp_path / "marker"))
    outcomes: list[Outcome] = []
    pool = Pool(2)
    try:
        execute(pool, [], [*innocent[1:3], deadly, innocent[0], once, *innocent[3:]], outcomes.extend)
    finally:
        pool.close(now=True)
    found = {outcome.hash: outcome for outcome in outcomes}
    assert len(found) == len(outcomes) == 8
    assert (found["deadly"].status, found["deadly"].kind) == ("failed", "died")
    assert "the worker that ran it died, 2 times in a row" in found["deadly"].error
    assert found["once"].status == "done" and (tmp_path / "marker").exists()
    assert found[innocent[0].hash].status == "done"
    assert [found[job.hash].kind for job in innocent[1:]] == ["input"] * 5


def test_a_worker_of_a_cluster_that_dies_is_retried_and_then_reported(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    jobs = jobs_of(small(sweep={"engine.cols": [4, 0]}), tmp_path)
    outcomes: list[Outcome] = []
    cluster = DaskCluster("local", 1)
    try:
        execute(cluster, [], [killer(jobs[0], "deadly"), jobs[1]], outcomes.extend)
    finally:
        cluster.close(now=True)
    assert {(outcome.hash, outcome.kind) for outcome in outcomes} == {("deadly", "died"), (jobs[1].hash, "input")}


def test_a_worker_with_another_accelsim_ends_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelsim.sweep.worker.model_version", lambda: "0.0.1+other")
    with pytest.raises(ConfigError, match=r"this worker has accelsim 0\.0\.1\+other, the sweep was started with"):
        sweep(small(), tmp_path / "s.db", workers=0)
    with Store.open(tmp_path / "s.db") as store:
        assert store.sweeps()[0].pending == 16, "nothing of it is kept"


def test_what_goes_wrong_in_a_job_is_its_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs_of(small(), tmp_path)[0]

    def raises(error: BaseException) -> Outcome:
        def simulate(*_: object) -> None:
            raise error

        monkeypatch.setattr("accelsim.sweep.worker.simulate", simulate)
        return run_job(job)

    assert raises(accelsim.SimulationBug("x")).kind == "bug"
    assert raises(ZeroDivisionError("y")).error == "ZeroDivisionError: y"
    assert (raises(MemoryError()).kind, raises(MemoryError()).error) == ("died", "out of memory")
    with pytest.raises(KeyboardInterrupt):
        raises(KeyboardInterrupt())


def test_nothing_that_can_be_built_is_refused_before_any_work(tmp_path: Path) -> None:
    source = small(sweep={"engine.rows": [0, -1]})
    with pytest.raises(ConfigError, match=r"none of the points can be built; the first says: .*must be >= 1, got 0"):
        sweep(source, tmp_path / "s.db", workers=0)
    with pytest.raises(ConfigError, match=r"unknown workload 'lenet_300'; did you mean"):
        sweep(small(workload="lenet_300"), tmp_path / "s.db", workers=0)
    with pytest.raises(ConfigError, match="synthetic trace: .*weight_densty: unknown key; did you mean weight_d"):
        sweep(small(options={"weight_densty": 0.5}), tmp_path / "s.db", workers=0)
    with pytest.raises(ConfigError, match=r"options\.weight_density is for workloads without a recipe"):
        sweep(small(recipe="int8", options={"weight_density": 0.5}), tmp_path / "s.db", workers=0)
    with pytest.raises(ConfigError, match="workers: must be an integer from 0 to 1024, got -1"):
        sweep(small(), tmp_path / "s.db", workers=-1)


def test_a_changed_architecture_file_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    sweeps = []
    for lanes in (4, 8):
        mine.write_text(f"extends: teaching_4x4\nname: mine\nvector: {{lanes: {lanes}}}\n")
        found = sweep(small(arch=str(mine)), tmp_path / "s.db", workers=0)
        sweeps.append(found.column("hash"))
    assert set(sweeps[0]).isdisjoint(sweeps[1])


def test_the_estimate_counts_and_keeps_nothing(tmp_path: Path) -> None:
    found = estimate(small(constraints=["engine.rows < 8"]), tmp_path / "s.db")
    assert (found.points, found.grid, found.jobs, found.stored, found.traces) == (8, 16, 8, 0, 1)
    assert found.measured and found.cpu_seconds_per_job and not list(tmp_path.iterdir())
    sweep(small(), tmp_path / "s.db", workers=0)
    after = estimate(small(), tmp_path / "s.db")
    assert (after.jobs, after.stored, after.measured) == (16, 16, False) and after.seconds(2) == 0.0


def test_a_cluster_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("accelsim.sweep.executors.CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match=r"--cluster tcp://127\.0\.0\.1:1: no Dask cluster with workers answers"):
        DaskCluster("tcp://127.0.0.1:1", 1)


def test_this_process_needs_no_rebuilding() -> None:
    here = ThisProcess()
    assert here.executor().submit(lambda: 3).result() == 3 and not here.is_death(ValueError())
    with pytest.raises(ZeroDivisionError):
        here.executor().submit(lambda: 1 // 0).result()
