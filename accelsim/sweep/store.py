"""The store: one SQLite file that holds the results of any number of sweeps.

A result is keyed by the content hash of its job (trace, architecture, options, version of the model), so that two
sweeps that meet in a point share it. A sweep is a name, its description, and the list of its points with their
keys. The file is in write-ahead mode: results are written in one transaction for each batch as it finishes, readers
do not wait for writers, several processes may write at once, and a process that is killed leaves all that it had
committed.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.sweep.model import model_version
from accelsim.sweep.table import SweepInfo, Table, add_flat

FORMAT = 1
"""Version of the layout below; a file with a higher one is refused."""

APPLICATION = 0x61636373  # "accs": marks the file as ours, see SQLite's application_id
WAIT_SECONDS = 120.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    hash TEXT PRIMARY KEY, status TEXT NOT NULL, kind TEXT NOT NULL, error TEXT NOT NULL, record TEXT,
    trace_hash TEXT NOT NULL, model_version TEXT NOT NULL, cpu_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sweeps (
    name TEXT PRIMARY KEY, keys TEXT NOT NULL, description TEXT NOT NULL, model_version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS points (
    sweep TEXT NOT NULL, number INTEGER NOT NULL, hash TEXT NOT NULL, point TEXT NOT NULL, extra TEXT NOT NULL,
    PRIMARY KEY (sweep, number)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    hash : str
    status : str
        `done` or `failed`.
    kind : str
        Of a failure: `input` (the point cannot be simulated, and that stays so), `bug` or `died` (the next run tries
        again), `setup` (the worker is not as it should be: the sweep ends, and this is not kept); "" if done.
    error : str
    record : dict or None
        Figures, as in `Table`.
    cpu_s : float
        CPU time that it took, for estimates; in no table, since it differs from run to run.
    """

    hash: str
    status: str
    kind: str = ""
    error: str = ""
    record: dict[str, Any] | None = None
    trace_hash: str = ""
    model_version: str = ""
    cpu_s: float = 0.0


@dataclass(frozen=True)
class StoredPoint:
    """One point of a sweep as the store keeps it: its keys, the job that it needs, and what only the table wants."""

    number: int
    hash: str
    point: Mapping[str, Any]
    extra: Mapping[str, Any]


class Store:
    """An open store; `Store.open` makes one, `with` closes it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    @classmethod
    def open(cls, path: str | Path, *, create: bool = False) -> Store:
        """Open a store; with `create`, make one if there is none.

        Raises
        ------
        ConfigError
            If there is none, the file is something else, or a newer accelsim wrote it.
        """
        path = Path(path)
        if not create and not path.is_file():
            raise ConfigError("there is no such store; `accelsim sweep` makes one", str(path))
        if not path.resolve().parent.is_dir():
            raise ConfigError(f"cannot be written: there is no directory {path.parent}", str(path))
        with _explained(path):
            connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
            try:
                _prepare(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the file; what was put in is already there."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.path}>"

    # ---- writing

    def put(self, outcomes: Iterable[Outcome]) -> None:
        """Keep results, all in one transaction; a result that is there already stays, a failure gives way.

        Raises
        ------
        ConfigError
            If the disk is full or the file cannot be written: what was put in before is kept.
        """
        rows = [
            (o.hash, o.status, o.kind, o.error, None if o.record is None else json.dumps(o.record), o.trace_hash,
             o.model_version, o.cpu_s)
            for o in outcomes
        ]  # fmt: skip
        with self._transaction():
            self._db.executemany(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET "
                "status = excluded.status, kind = excluded.kind, error = excluded.error, record = excluded.record, "
                "cpu_s = excluded.cpu_s WHERE results.status = 'failed'",
                rows,
            )

    def define(self, name: str, keys: Sequence[str], description: Any, points: Iterable[StoredPoint]) -> None:
        """Write down a sweep and all of its points, in place of what the name meant before; results stay."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO sweeps VALUES (?, ?, ?, ?)",
                (name, json.dumps(list(keys)), json.dumps(description), model_version()),
            )
            self._db.execute("DELETE FROM points WHERE sweep = ?", (name,))
            self._insert(name, points)

    def add_points(self, name: str, points: Iterable[StoredPoint]) -> None:
        """More points of a sweep (a search finds them one by one)."""
        with self._transaction():
            self._insert(name, points)

    def _insert(self, name: str, points: Iterable[StoredPoint]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)",
            ((name, p.number, p.hash, json.dumps(dict(p.point)), json.dumps(dict(p.extra))) for p in points),
        )

    def forget(self, name: str) -> None:
        """Drop a sweep, and the results that no other sweep has."""
        self.check_name(name)
        with self._transaction():
            self._db.execute("DELETE FROM sweeps WHERE name = ?", (name,))
            self._db.execute("DELETE FROM points WHERE sweep = ?", (name,))
            self._db.execute("DELETE FROM results WHERE hash NOT IN (SELECT hash FROM points)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # ---- reading

    def names(self) -> list[str]:
        """Names of the sweeps, in alphabetical order."""
        return [name for (name,) in self._all("SELECT name FROM sweeps ORDER BY name")]

    def check_name(self, name: str) -> None:
        """Refuse the name of no sweep.

        Raises
        ------
        ConfigError
            Offers the nearest.
        """
        if name not in self.names():
            raise unknown_name("sweep", name, self.names(), str(self.path))

    def description(self, name: str) -> Any:
        """The sweep as it was written, as plain data."""
        self.check_name(name)
        return json.loads(self._all("SELECT description FROM sweeps WHERE name = ?", name)[0][0])

    def sweeps(self) -> list[SweepInfo]:
        """All sweeps, in alphabetical order."""
        found = []
        for name, keys, made_by in self._all("SELECT name, keys, model_version FROM sweeps ORDER BY name"):
            counts = dict(
                self._all(
                    "SELECT coalesce(status, 'pending'), count(*) FROM points LEFT JOIN results USING (hash) "
                    "WHERE sweep = ? GROUP BY 1",
                    name,
                )
            )
            done, failed, pending = (counts.get(status, 0) for status in ("done", "failed", "pending"))
            total = done + failed + pending
            current = made_by == model_version()
            found.append(SweepInfo(name, total, done, failed, pending, tuple(json.loads(keys)), made_by, current))
        return found

    def finished(self, hashes: Sequence[str], *, with_failed: bool = True) -> set[str]:
        """Which of these jobs need not run again: done, or (`with_failed`) failed for good."""
        kinds = " AND kind IN ('', 'input')" if with_failed else " AND status = 'done'"
        found: set[str] = set()
        for begin in range(0, len(hashes), 500):
            part = hashes[begin : begin + 500]
            marks = ",".join("?" * len(part))
            found.update(h for (h,) in self._all(f"SELECT hash FROM results WHERE hash IN ({marks}){kinds}", *part))
        return found

    def results(self, hashes: Sequence[str]) -> dict[str, Outcome]:
        """The results of these jobs, as far as there are any."""
        found = {}
        for begin in range(0, len(hashes), 500):
            part = hashes[begin : begin + 500]
            marks = ",".join("?" * len(part))
            for row in self._all(f"SELECT * FROM results WHERE hash IN ({marks})", *part):
                key, status, kind, error, record, trace_hash, made_by, cpu_s = row
                figures = None if record is None else json.loads(record)
                found[key] = Outcome(key, status, kind, error, figures, trace_hash, made_by, cpu_s)
        return found

    def cpu_seconds_per_job(self, trace_hashes: Sequence[str]) -> float | None:
        """Mean CPU time of the finished jobs on these traces with this model, or None if there is none."""
        marks = ",".join("?" * len(trace_hashes))
        row = self._all(
            f"SELECT avg(cpu_s) FROM results WHERE status = 'done' AND model_version = ? AND trace_hash IN ({marks})",
            model_version(), *trace_hashes,
        )[0]  # fmt: skip
        return None if row[0] is None else float(row[0])

    def table(self, sweep: str | None = None) -> Table:
        """One row for each point of a sweep; without a name, of all sweeps (often there is only one).

        Raises
        ------
        ConfigError
            If there is no such sweep.
        """
        if sweep is not None:
            self.check_name(sweep)
        names = self.names() if sweep is None else [sweep]
        keys: dict[str, None] = {}
        rows: list[dict[str, Any]] = []
        for name in names:
            keys.update(dict.fromkeys(json.loads(self._all("SELECT keys FROM sweeps WHERE name = ?", name)[0][0])))
            rows.extend(self._rows(name))
        return Table(rows, list(keys))

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        query = (
            "SELECT number, hash, point, extra, status, error, record, trace_hash, model_version "
            "FROM points LEFT JOIN results USING (hash) WHERE sweep = ? ORDER BY number"
        )
        version = model_version()
        for number, key, point, extra, status, error, record, trace_hash, made_by in self._all(query, name):
            row: dict[str, Any] = {
                "sweep": name, "index": number, "hash": key, "status": status or "pending", "error": error or "",
                "trace_hash": trace_hash, "model_version": made_by, "current": made_by == version if made_by else None,
            }  # fmt: skip
            row.update(json.loads(point))
            row.update(json.loads(extra))
            if record is not None:
                row.update(json.loads(record))
            yield add_flat(row)

    def _all(self, query: str, *values: Any) -> list[Any]:
        with _explained(self.path):
            return self._db.execute(query, values).fetchall()


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN")  # another process may be making the same file: all three from one moment
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    db.execute("COMMIT")
    if application != APPLICATION and (tables or version or application):
        raise ConfigError("must be a store of accelsim, but it is a database of another program", str(path))
    if version > FORMAT:
        what = f"was written by a newer accelsim (format {version}; this one reads up to {FORMAT}); upgrade accelsim"
        raise ConfigError(what, str(path))
    _write_ahead(db)
    db.execute("PRAGMA synchronous = NORMAL")
    if not tables:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute("COMMIT")


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to write-ahead mode; SQLite does not wait by itself if another process is just doing the same."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's complaints in our words."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "full" in text:
            what = "the disk is full; all results written before are kept: free some space and run the same again"
            raise ConfigError(f"cannot be written: {what}", str(path)) from None
        if "not a database" in text or "malformed" in text:
            raise ConfigError(f"must be a store of accelsim: {text}", str(path)) from None
        raise ConfigError(f"cannot be used: {text}", str(path)) from None
