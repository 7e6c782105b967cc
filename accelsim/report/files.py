"""Files of a run: JSON, CSV, Parquet. Whole or not at all, and the same bytes for the same run."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.report.places import atomic, write_text
from accelsim.system.result import VIEWS, RunResult, layer_record


def json_text(result: RunResult) -> str:
    """Totals, layers and the resolved architecture: see `RunResult.to_dict`."""
    return result.to_json() + "\n"


def write_json(result: RunResult, path: str | Path) -> None:
    """`json_text` as a file."""
    write_text(Path(path), json_text(result))


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


def csv_text(result: RunResult) -> str:
    """One row for each layer; units are in the columns' names."""
    columns, records = layer_table(result)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def write_csv(result: RunResult, path: str | Path) -> None:
    """`csv_text` as a file."""
    write_text(Path(path), csv_text(result))


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
    pandas = need("pandas")
    columns, records = layer_table(result)
    return pandas.DataFrame(records, columns=columns)


def import_pyarrow() -> None:
    """Make sure, before any work, that Parquet can be written.

    Raises
    ------
    ConfigError
    """
    need("pandas")
    need("pyarrow")


def need(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        what = f"needs {module}, which is not installed; install it with: pip install 'accelsim[table]'"
        raise ConfigError(what, "dataframes and Parquet") from None
