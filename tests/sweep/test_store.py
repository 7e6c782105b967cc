"""The store: what it keeps, what it refuses, and several writers."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from accelsim.base.errors import ConfigError
from accelsim.sweep.model import model_version
from accelsim.sweep.store import FORMAT, Outcome, Store, StoredPoint


def outcome(name: str, **changes: object) -> Outcome:
    record = {"cycles": len(name), "cycles_by_cause": {"compute": len(name)}, "energy_pj": 0.1 + 0.2}
    values = {"status": "done", "record": record, "trace_hash": "t", "model_version": model_version(), **changes}
    return Outcome(name, **values)  # type: ignore[arg-type]


def points(*names: str) -> list[StoredPoint]:
    return [StoredPoint(n, name, {"arch": "a", "k": n}, {"accuracy": None}) for n, name in enumerate(names)]


def test_what_is_put_in_comes_out(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db", create=True) as store:
        store.define("one", ["k"], {"any": "thing"}, points("x", "yy", "z"))
        store.put([outcome("x"), outcome("yy", status="failed", kind="input", error="no", record=None)])
    with Store.open(tmp_path / "s.db") as store:
        (info,) = store.sweeps()
        assert (info.name, info.points, info.done, info.failed, info.pending) == ("one", 3, 1, 1, 1)
        assert info.keys == ("k",)
        assert info.current and store.description("one") == {"any": "thing"}
        table = store.table("one")
    assert table.column("status") == ["done", "failed", "pending"]
    assert table.column("energy_pj") == [0.1 + 0.2, None, None], "numbers are kept to the last bit"
    assert table.column("cycles.compute") == [1, None, None]
    assert table.column("current") == [True, True, None]
    assert [row["index"] for row in table.where("k >= 0 and cycles == 1").rows] == [0]
    assert table.csv_text().startswith("sweep,index,status,error,arch,workload,recipe,k,cycles,seconds,")
    with pytest.raises(ConfigError, match="unknown column 'cycels'; did you mean cycles"):
        table.where("cycels > 1")
    with pytest.raises(ConfigError, match=r"unknown sweep 'onee'; did you mean one"):
        Store.open(tmp_path / "s.db").table("onee")


def test_a_result_stays_and_a_failure_gives_way(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db", create=True) as store:
        store.put([outcome("x"), outcome("y", status="failed", kind="died", record=None)])
        store.put([outcome("x", status="failed", kind="died", record=None), outcome("y")])
        found = store.results(["x", "y", "z"])
        assert {key: one.status for key, one in found.items()} == {"x": "done", "y": "done"}


def test_failures_that_may_be_chance_are_tried_again(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db", create=True) as store:
        store.put([outcome(k, status="failed", kind=k, record=None) for k in ("input", "bug", "died")])
        names = ["input", "bug", "died", "new"]
        assert store.finished(names) == {"input"}
        assert store.finished(names, with_failed=False) == set()


def test_forgetting_keeps_what_others_share(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db", create=True) as store:
        store.define("one", ["k"], {}, points("x", "y"))
        store.define("two", ["k"], {}, points("y", "z"))
        store.put([outcome("x"), outcome("y"), outcome("z")])
        assert len(store.table()) == 4 and store.names() == ["one", "two"]
        store.forget("one")
        assert store.names() == ["two"] and store.finished(["x", "y", "z"]) == {"y", "z"}


def test_results_of_another_model_say_so(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db", create=True) as store:
        store.define("one", ["k"], {}, points("x", "y"))
        store.put([outcome("x", model_version="0.0.1+old"), outcome("y")])
        assert store.table("one").column("current") == [False, True]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path / "s.db", create=True).close()
    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    what = rf"s\.db: was written by a newer accelsim \(format {FORMAT + 1}; this one reads up to {FORMAT}\)"
    with pytest.raises(ConfigError, match=what):
        Store.open(tmp_path / "s.db")


def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello, this is a text file that is long enough to be taken for a header" * 9)
    with pytest.raises(ConfigError, match=r"text\.db: must be a store of accelsim: file is not a database"):
        Store.open(tmp_path / "text.db", create=True)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(ConfigError, match=r"other\.db: must be a store of accelsim, but it is a database of another"):
        Store.open(tmp_path / "other.db", create=True)
    assert (tmp_path / "other.db").read_bytes() == before
    with pytest.raises(ConfigError, match=r"none\.db: there is no such store"):
        Store.open(tmp_path / "none.db")
    with pytest.raises(ConfigError, match="there is no directory"):
        Store.open(tmp_path / "no" / "s.db", create=True)


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db", create=True) as store:
        store.put([outcome("x")])
        # SQLite itself now finds no room for another page, as on a disk that is full
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ConfigError, match=r"s\.db: cannot be written: the disk is full; all results written"):
            store.put([outcome(f"much {n}", error="e" * 1000) for n in range(100)])
        assert store.finished(["x", "much 0"]) == {"x"}
        store._db.execute(f"PRAGMA max_page_count = {10 * pages + 1000}")
        store.put([outcome("y")])
        assert store.finished(["x", "y"]) == {"x", "y"}


def write_many(path: str, name: str, count: int) -> None:
    """One of several processes that make and fill the same store."""
    with Store.open(path, create=True) as store:
        store.define(name, ["k"], {}, points(*(f"{name}{n}" for n in range(count))))
        for n in range(count):
            store.put([outcome(f"{name}{n}"), outcome(f"shared{n}")])


def test_several_processes_write_one_store_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(path, name, 40)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with Store.open(path) as store:
        assert [(s.name, s.done, s.pending) for s in store.sweeps()] == [("a", 40, 0), ("b", 40, 0), ("c", 40, 0)]
        assert len(store.finished([f"shared{n}" for n in range(40)])) == 40
