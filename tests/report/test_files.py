"""Files say what the result says, are whole or absent, and are the same for the same run."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import pytest

from accelsim.base.errors import ConfigError
from accelsim.report import files
from accelsim.report.places import atomic, check_directory, check_writable
from accelsim.sim.passes import ATTRIBUTION
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace
from tests import results


def test_json_round_trip(tmp_path: Path) -> None:
    result = results.lenet()
    files.write_json(result, tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    assert data == json.loads(json.dumps(result.to_dict()))
    assert data["totals"]["cycles"] == sum(layer["cycles"] for layer in data["layers"])
    assert sum(data["cycles_by_cause"].values()) == data["totals"]["cycles"]
    assert sum(data["energy_pj_by_component"].values()) == pytest.approx(data["totals"]["energy_pj"], rel=1e-12)
    assert data["trace_hash"] == result.trace_hash and data["arch_data"]["engine"]["kind"] == "systolic"


def test_csv_round_trip(tmp_path: Path) -> None:
    result = results.lenet()
    files.write_csv(result, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["layer"] for row in rows] == [layer.name for layer in result.layers]
    for row, layer in zip(rows, result.layers, strict=True):
        assert int(row["cycles"]) == layer.cycles == sum(int(row[f"{cause}_cycles"]) for cause in ATTRIBUTION)
        assert float(row["energy_pj"]) == layer.total_energy_pj
        assert {key: int(row[f"count_{'_'.join(key)}"]) for key in layer.counts} == dict(layer.counts)
        assert float(row["energy_dram_pj"]) == layer.energy_pj.get("dram", 0.0)


def test_every_column_says_its_unit() -> None:
    columns, _ = files.layer_table(results.lenet())
    plain = {"layer", "kind", "fused", "mapping", "cycles", "macs", "effectual_macs"}
    for column in columns:
        assert column in plain or column.endswith(("_cycle", "_cycles", "_bytes", "_pj", "_utilization")) or (
            column.startswith("count_")
        ), column


def test_parquet_and_dataframe(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    result = results.lenet()
    files.write_parquet(result, tmp_path / "r.parquet")
    read = pandas.read_parquet(tmp_path / "r.parquet")
    assert read.equals(result.to_pandas())
    assert read["cycles"].sum() == result.cycles and str(read["cycles"].dtype) == "int64"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    def again() -> dict[str, bytes]:
        result = simulate(load_arch("teaching_4x4"), synthetic_trace(load_network("lenet5"), activation_density=0.5))
        files.write_json(result, tmp_path / "r.json")
        files.write_csv(result, tmp_path / "r.csv")
        files.write_parquet(result, tmp_path / "r.parquet")
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    pytest.importorskip("pyarrow")
    assert again() == again()


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"needs pandas, which is not installed; .*pip install 'accelsim\[table\]'"):
        files.write_parquet(results.lenet(), tmp_path / "r.parquet")
    with pytest.raises(ConfigError, match="needs pandas"):
        results.lenet().to_pandas()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    old = tmp_path / "old.txt"
    old.write_text("old")
    for path in (old, tmp_path / "new.txt"):
        with pytest.raises(error), atomic(path) as stream:
            stream.write(b"half")
            stream.flush()
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"] and old.read_text() == "old"


def test_a_link_keeps_being_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with atomic(tmp_path / "link.txt") as stream:
        stream.write(b"new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"


def test_devices_are_written_directly() -> None:
    with atomic(Path(os.devnull)) as stream:
        stream.write(b"gone")
    assert not Path(os.devnull).is_file()


def test_bad_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a file, but it is a directory"):
        check_writable(tmp_path)
    with pytest.raises(ConfigError, match="cannot be written: there is no directory"):
        check_writable(tmp_path / "missing" / "r.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be a directory: .*file is a file"):
        check_directory(tmp_path / "file" / "figures")
    check_directory(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match="cannot be written: No such file"), atomic(tmp_path / "no" / "x") as stream:
        stream.write(b"")
