"""The speed suite: figures that mean what they say, and a history that is read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim.base.errors import ConfigError
from accelsim.bench.cases import load_suite
from accelsim.bench.speed import Speed, in_turn, last_recorded, measure, record, reference
from tests.bench.test_regression import SUITE
from tests.cli.command import call


def test_the_reference_is_the_same_work_every_time() -> None:
    assert reference() == reference()


def test_a_ratio_grows_with_the_work() -> None:
    def thrice() -> None:
        for _ in range(3):
            reference()

    work, kernel = in_turn(thrice, 3)
    assert 2.0 < work / kernel < 4.5


def test_a_case_is_measured_in_its_own_process(tmp_path: Path) -> None:
    (tmp_path / "cases.yaml").write_text(SUITE)
    speed = measure(load_suite(tmp_path)[0].speed[0], tmp_path, 1)
    assert speed.case == "lenet5" and speed.events > 100 and speed.cycles > speed.events
    assert speed.cpu_ratio == pytest.approx(speed.cpu_s / speed.reference_cpu_s)
    assert 0 < speed.base_mb <= speed.peak_mb


def test_history(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cases.yaml").write_text(SUITE)
    ratios = iter((2.0, 2.5, 3.1))
    monkeypatch.setattr(
        "accelsim.bench.speed.measure", lambda case, *_: Speed(case.name, next(ratios), 0.1, 0.05, 90.0, 50.0, 7, 9)
    )
    assert call(capsys, "bench", "--suite", tmp_path, "--speed", "--record", "--quiet").code == 0
    assert last_recorded(tmp_path)["lenet5"]["cpu_ratio"] == 2.0
    assert json.loads((tmp_path / "speed.jsonl").read_text())["python"]
    within = call(capsys, "bench", "--suite", tmp_path, "--speed", "--quiet")
    assert within.code == 0 and "2.50" in within.out and "2.00" in within.out
    slower = call(capsys, "bench", "--suite", tmp_path, "--speed", "--quiet")
    assert slower.code == 1 and "over 1.5 times the recorded ratio: lenet5" in slower.out


def test_the_latest_entry_counts_and_earlier_ones_stay(tmp_path: Path) -> None:
    for date, ratio in (("2026-01-01", 1.0), ("2026-02-01", 2.0)):
        record(tmp_path, [Speed("x", ratio, 1.0, 1.0, 1.0, 1.0, 1, 1)], date=date)
    assert len((tmp_path / "speed.jsonl").read_text().splitlines()) == 2
    assert last_recorded(tmp_path)["x"]["date"] == "2026-02-01"
    (tmp_path / "speed.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="is not a history of speeds"):
        last_recorded(tmp_path)
