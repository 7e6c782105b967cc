"""Files of a run: JSON, CSV, Parquet. Whole or not at all, and the same bytes for the same run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from accelsim.base.errors import ConfigError
from accelsim.system.result import VIEWS, RunResult, layer_record


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A binary stream whose content appears at `path` when the block ends well, and nowhere otherwise.

    The content is written beside `path` under another name, and renamed when it is complete; an exception,
    Ctrl-C among them, removes it. A `path` that is no regular file (`/dev/stdout`) is written directly.

    Raises
    ------
    ConfigError
        If the place cannot be written.
    """
    target = path.resolve() if path.is_symlink() else path
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                yield stream
            return
        draft = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with draft.open("xb") as stream:
                yield stream
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", str(path)) from None


def check_writable(path: Path) -> None:
    """Refuse a place where no file can be written, before any work.

    Raises
    ------
    ConfigError
    """
    if path.is_dir():
        raise ConfigError("must be a file, but it is a directory", str(path))
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ConfigError(f"cannot be written: there is no directory {path.parent}", str(path))
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigError("cannot be written: permission denied", str(path))


def make_directory(path: Path) -> Path:
    """The directory `path`, made with its parents if need be.

    Raises
    ------
    ConfigError
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made a directory: {error.strerror or error}", str(path)) from None
    return path


def write_text(path: Path, text: str) -> None:
    """Text as UTF-8, atomically."""
    with atomic(path) as stream:
        stream.write(text.encode())


def write_json(result: RunResult, path: str | Path) -> None:
    """Totals, layers and the resolved architecture: see `RunResult.to_dict`."""
    write_text(Path(path), result.to_json() + "\n")


def layer_table(result: RunResult) -> tuple[list[str], list[dict[str, Any]]]:
    """(columns, one record for each layer); a number that a layer does not have is 0."""
    records = [layer_record(layer) for layer in result.layers]
    columns: dict[str, type] = {}
    for group in _ORDER:
        for record in records:
            columns.update({key: type(value) for key, value in record.items() if group(key) and key not in columns})
    for record in records:
        for name, kind in columns.items():
            record.setdefault(name, kind())
    return list(columns), [{name: record[name] for name in columns} for record in records]


def _is_count(key: str) -> bool:
    return key.startswith("count_")


def _is_energy(key: str) -> bool:
    return key.startswith("energy_")


_ORDER = (
    lambda key: not (_is_count(key) or _is_energy(key) or key == "mapping"),
    _is_count,
    lambda key: _is_energy(key) and key != "energy_pj",
    lambda key: key == "energy_pj",
    lambda key: key == "mapping",
)


def write_csv(result: RunResult, path: str | Path) -> None:
    """One row for each layer; units are in the columns' names."""
    columns, records = layer_table(result)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(Path(path), text.getvalue())


def write_parquet(result: RunResult, path: str | Path) -> None:
    """The same table as Parquet.

    Raises
    ------
    ConfigError
        If pandas or pyarrow is missing: says how to install them.
    """
    import_pyarrow()
    with atomic(Path(path)) as stream:
        to_pandas(result).to_parquet(stream, index=False)


@VIEWS.register("pandas")
def to_pandas(result: RunResult) -> Any:
    """One row for each layer, as a pandas DataFrame.

    Raises
    ------
    ConfigError
        If pandas is missing: says how to install it.
    """
    pandas = _need("pandas")
    columns, records = layer_table(result)
    return pandas.DataFrame(records, columns=columns)


def import_pyarrow() -> None:
    """Make sure, before any work, that Parquet can be written.

    Raises
    ------
    ConfigError
    """
    _need("pandas")
    _need("pyarrow")


def _need(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        what = f"needs {module}, which is not installed; install it with: pip install 'accelsim[table]'"
        raise ConfigError(what, "dataframes and Parquet") from None
