"""The regression benchmark: it notices what moved, says by how much, and wants a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim import __version__
from accelsim.base.errors import ConfigError
from accelsim.bench.cases import CaseTraces, load_suite, run_case
from accelsim.bench.expected import Move, measured, moves, read_expected, read_history, update
from tests.cli.command import call

SUITE = """
cases:
  - {name: lenet5, arch: teaching_4x4, workload: lenet5}
  - {name: coded, arch: tpu_v1, workload: lenet_300_100, recipe: deep_compression}
speed:
  - {name: lenet5, case: lenet5}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "cases.yaml").write_text(SUITE)
    return tmp_path


def recorded(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "bench", "--suite", suite, "--update", "--reason", "first\n record", "--quiet")
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", [case.name for case in load_suite()[0].cases if case.name.startswith("quick_")])
def test_shipped_figures_hold(name: str) -> None:
    """The small cases of the shipped suite, exactly; `accelsim bench` runs them all."""
    suite, folder = load_suite()
    with CaseTraces() as traces:
        found = measured(run_case(suite.matching([name])[0], traces))
    assert moves(read_expected(folder)[name], found) == [], f"accelsim bench {name} says what moved"


def test_every_shipped_case_has_figures_and_a_purpose() -> None:
    suite, folder = load_suite()
    assert set(read_expected(folder)) == {case.name for case in suite.cases}
    assert all(case.why for case in suite.cases)
    assert read_history(folder)[0]["reason"]


def test_figures_sum(suite: Path) -> None:
    with CaseTraces() as traces:
        table = measured(run_case(load_suite(suite)[0].cases[0], traces))
    for total, prefix in (("cycles", "cycles."), ("dram_bytes", "dram_bytes.")):
        assert sum(int(value) for key, value in table.items() if key.startswith(prefix)) == table[total]
    layers = [int(value) for key, value in table.items() if key.startswith("layer.")]
    assert sum(layers) == table["cycles"]
    energies = [float(value) for key, value in table.items() if key.startswith("energy_pj.")]
    assert sum(energies) == pytest.approx(float(table["energy_pj"]), rel=1e-9)


def test_nothing_moves_twice(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(suite, capsys)
    done = call(capsys, "bench", "--suite", suite)
    assert (done.code, done.out) == (0, "2 as expected, 0 moved, 0 failed\n")
    again = call(capsys, "bench", "--suite", suite, "--update", "--reason", "no reason")
    assert again.code == 0 and len(read_history(suite)) == 1  # nothing moved, so nothing is recorded


def test_a_moved_figure_is_named_with_its_change(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(suite, capsys)
    path = suite / "expected.json"
    tables = json.loads(path.read_text())
    now = tables["lenet5"]["cycles"]
    tables["lenet5"]["cycles"] = now * 2
    tables["lenet5"]["count.mac.gone"] = 7
    path.write_text(json.dumps(tables))
    done = call(capsys, "bench", "--suite", suite, "lenet*")
    assert done.code == 1
    row = next(line.split() for line in done.out.splitlines() if line.startswith("  cycles "))
    assert row == ["cycles", f"{now * 2:,}", f"{now:,}", "-50", "%"]
    assert any(line.split() == ["count.mac.gone", "7", "-"] for line in done.out.splitlines())
    assert "0 as expected, 1 moved" in done.out and "--reason" in done.out


def test_a_change_of_the_machine_is_noticed(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(suite, capsys)
    sets = "[dram.fidelity=bandwidth, dram.bandwidth_bytes_per_s=1e8]"
    text = SUITE.replace("workload: lenet5}", f"workload: lenet5, sets: {sets}}}")
    (suite / "cases.yaml").write_text(text)
    done = call(capsys, "bench", "--suite", suite)
    assert done.code == 1 and "1 as expected, 1 moved" in done.out
    assert call(capsys, "bench", "--suite", suite, "--update", "--reason", "slower memory", "--quiet").code == 0
    entry = read_history(suite)[-1]
    assert (entry["reason"], entry["version"], list(entry["moved"])) == ("slower memory", __version__, ["lenet5"])
    assert entry["date"].endswith("Z")
    before, after = entry["moved"]["lenet5"]["cycles"]
    assert after > before
    listed = call(capsys, "bench", "--suite", suite, "--history").out.splitlines()
    assert listed[0].endswith("2 cases: first record") and listed[1].endswith("1 case: slower memory")


def test_updating_some_leaves_the_others(suite: Path) -> None:
    old = {"a": {"cycles": 1, "dram_bytes": 2, "energy_pj": 1.0, "area_mm2": 1.0}}
    update(suite, {**old, "b": dict(old["a"])}, ["a", "b"], "one", date="2026-01-01T00:00:00Z")
    count = update(suite, {"b": {**old["a"], "cycles": 5}}, ["a", "b", "c"], "two", date="2026-01-02T00:00:00Z")
    assert count == 1
    assert read_expected(suite)["a"] == old["a"] and read_expected(suite)["b"]["cycles"] == 5
    assert read_history(suite)[-1]["moved"] == {"b": {"figures": 1, "cycles": [1, 5]}}
    assert update(suite, {}, ["b"], "a is gone", date="2026-01-03T00:00:00Z") == 1
    assert list(read_expected(suite)) == ["b"] and read_history(suite)[-1]["dropped"] == ["a"]


def test_energies_are_compared_to_twelve_digits() -> None:
    old = {"energy_pj": 1234.56789012}
    assert moves(old, {"energy_pj": 1234.56789012 * (1 + 1e-15)}) == []
    assert moves(old, {"energy_pj": 1234.56789013}) != []
    assert moves({"cycles": 10**15}, {"cycles": 10**15 + 1}) != []  # integers in full
    assert Move("x", 4, 5).percent == 25.0 and Move("x", None, 5).percent is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--update"], "--reason: must say why the figures may move"),
        (["--update", "--reason", "  "], "--reason: must say why the figures may move"),
        (["--reason", "why"], "--reason: goes with --update or --record"),
        (["--record"], "--record: goes with --speed"),
        (["--update", "--reason", "x", "--speed"], "--update: is for figures of cases"),
        (["--runs", "0"], "--runs: must be at least 1, got 0"),
        (["lenet"], "unknown case 'lenet'; did you mean lenet5"),
        (["--speed", "lenet"], "unknown speed case 'lenet'; did you mean lenet5"),
    ],
)
def test_bad_options(suite: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    done = call(capsys, "bench", "--suite", suite, *options)
    assert done.code == 2 and message in done.err
    assert sorted(p.name for p in suite.iterdir()) == ["cases.yaml"]


def test_bad_suites(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no cases.yaml"):
        load_suite(tmp_path)
    twice = "cases: [{name: a, arch: x, workload: y}, {name: a, arch: x, workload: y}]"
    for text, message in (
        (twice, "name 'a' is used twice"),
        ("cases: [{name: a, arch: x, workload: y, speed: 3}]", "speed"),
        ("cases: [{name: a, arch: x, workload: y}]\nspeed: [{name: s, case: b}]", "there is no case 'b'"),
    ):
        (tmp_path / "cases.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_suite(tmp_path)
    (tmp_path / "expected.json").write_text("{")
    with pytest.raises(ConfigError, match="expected.json: cannot be read"):
        read_expected(tmp_path)
    (tmp_path / "expected.json").write_text('{"a": {"cycles": [1]}}')
    with pytest.raises(ConfigError, match="must be a mapping of cases to figures"):
        read_expected(tmp_path)


def test_a_case_that_cannot_be_run_fails_alone(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(suite, capsys)
    (suite / "cases.yaml").write_text(SUITE.replace("arch: tpu_v1", "arch: tpu_v9"))
    done = call(capsys, "bench", "--suite", suite)
    assert done.code == 1
    assert "coded: cannot be run: unknown architecture 'tpu_v9'" in done.out
    assert "1 as expected, 0 moved, 1 failed" in done.out


def test_recipes_cannot_be_mixed_with_densities(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SUITE.replace("recipe: deep_compression", "recipe: deep_compression, weight_density: 0.5")
    (suite / "cases.yaml").write_text(text)
    done = call(capsys, "bench", "--suite", suite, "coded")
    assert "options.weight_density is for workloads without a recipe" in done.out and done.code == 1
