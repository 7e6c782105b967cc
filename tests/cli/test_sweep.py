"""`accelsim sweep` and `accelsim store` as they are typed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from accelsim.sweep.store import FORMAT
from tests.cli.command import REPOSITORY, call

SWEEP = """
name: tiny
arch: teaching_4x4
workload: lenet_300_100
sweep:
  engine.rows: [4, 8]
  engine.cols: [4, 0]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    return tmp_path


def test_a_sweep_is_run_queried_exported_and_forgotten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dry = call(capsys, "sweep", "tiny.yaml", "--dry-run", "--workers", 1)
    assert dry.code == 0 and "points        4" in dry.out and "of which the store has 0" in dry.out
    assert "measured now on a few points" in dry.out and "on 1 processor\n" in dry.out
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]

    done = call(capsys, "sweep", "tiny.yaml", "--workers", 0, "--csv", "tiny.csv")
    assert done.code == 1, "two points have no columns"
    assert "4 points: 2 done, 2 failed; in tiny.db" in done.out and "least energy" in done.out
    assert "2 points failed, as engine.rows=4, engine.cols=0:" in done.err and "must be >= 1, got 0" in done.err
    rows = list(csv.DictReader((folder / "tiny.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["done", "failed", "done", "failed"]
    assert int(rows[0]["cycles"]) == sum(int(v) for k, v in rows[0].items() if k.startswith("cycles."))

    listed = call(capsys, "store", "tiny.db")
    assert listed.code == 0 and "tiny" in listed.out and "engine.rows engine.cols" in listed.out
    least = call(capsys, "store", "tiny.db", "tiny", "--sort", "area_mm2", "--limit", 1, "--columns", "engine.rows")
    short, long = sorted((rows[0], rows[2]), key=lambda row: float(row["area_mm2"]))
    assert least.out.split()[-1] == short["engine.rows"] != long["engine.rows"]
    greatest = ("--sort", "area_mm2", "--reverse", "--limit", "1", "--columns", "engine.rows,cycles")
    most = call(capsys, "store", "tiny.db", *greatest)
    assert most.out.split()[-2:] == [long["engine.rows"], f"{int(long['cycles']):,}"]
    call(capsys, "store", "tiny.db", "--where", "engine.rows == 8 and cycles > 0", "--json", "eight.json")
    (eight,) = json.loads((folder / "eight.json").read_text())
    assert eight["cycles"] == int(rows[2]["cycles"]) and eight["energy_pj"] == float(rows[2]["energy_pj"])
    failures = call(capsys, "store", "tiny.db", "--failures")
    assert failures.out.startswith("2 points: ") and "engine.rows=8, engine.cols=0" in failures.out
    gone = call(capsys, "store", "tiny.db", "tiny", "--forget")
    assert gone.code == 0 and call(capsys, "store", "tiny.db").out == "the store is empty\n"


def test_a_table_as_parquet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    call(capsys, "sweep", "tiny.yaml", "--workers", 0, "--quiet", "--parquet", "t.parquet", "--csv", "t.csv")
    frame = pandas.read_parquet(folder / "t.parquet")
    assert list(frame.columns) == (folder / "t.csv").read_text().splitlines()[0].split(",")
    assert frame["cycles"].notna().tolist() == [True, False, True, False]
    assert frame["engine.rows"].tolist() == [4, 4, 8, 8]


def test_the_examples_of_the_docs_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, points in (("sweep_example", "72 of 96 in the grid"), ("search_example", "300")):
        shutil.copy(REPOSITORY / "docs" / f"{name}.yaml", folder)
        found = call(capsys, "sweep", f"{name}.yaml", "--dry-run", "--quiet")
        assert found.code == 0 and f"points        {points}\n" in found.out, found.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sweep", "none.yaml"), "none.yaml: cannot be read: No such file"),
        (("sweep", "tiny.yaml", "--workers", "-1"), "workers: must be an integer from 0 to 1024, got -1"),
        (("sweep", "tiny.yaml", "--csv", "table.txt"), r"--csv table.txt: the name must end in .csv"),
        (("sweep", "tiny.yaml", "--csv", "no/table.csv"), "cannot be written: there is no directory no"),
        (("sweep", "tiny.yaml", "--store", "no/s.db"), "no/s.db: cannot be written: there is no directory no"),
        (("store", "none.db"), "none.db: there is no such store; `accelsim sweep` makes one"),
        (("store", "tiny.yaml"), "tiny.yaml: must be a store of accelsim: file is not a database"),
        (("store", "tiny.db", "tyni"), "tiny.db: unknown sweep 'tyni'; did you mean tiny"),
        (("store", "tiny.db", "--where", "cycels > 1"), "unknown column 'cycels'; did you mean cycles"),
        (("store", "tiny.db", "--where", "import os"), "where import os: 'import os' is not an expression"),
        (("store", "tiny.db", "--sort", "engine.rosw"), "unknown column 'engine.rosw'; did you mean engine.rows"),
        (("store", "tiny.db", "--columns", "a,b"), "unknown column 'a'"),
        (("store", "tiny.db", "--limit", "0"), "--limit: must be at least 1, got 0"),
    ],
)
def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    if "tiny.db" in arguments:
        call(capsys, "sweep", "tiny.yaml", "--workers", 0, "--quiet")
    found = call(capsys, *arguments)
    assert found.code == 2 and found.out == "" and message in found.err


def test_a_newer_store_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    call(capsys, "sweep", "tiny.yaml", "--workers", 0, "--quiet")
    db = sqlite3.connect(folder / "tiny.db")
    db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    for command in (("store", "tiny.db"), ("sweep", "tiny.yaml")):
        found = call(capsys, *command)
        assert found.code == 2 and "tiny.db: was written by a newer accelsim" in found.err
