"""Designs side by side: what is equal, what differs, and ratios to the first."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import geometric_mean

import pytest

from accelsim.base.errors import ConfigError
from accelsim.bench.cases import CaseTraces
from accelsim.bench.compare import (
    Design,
    different_keys,
    equal_and_different,
    make_designs,
    mean_records,
    parse_design,
    records,
    run_designs,
)
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace
from tests.cli.command import call


@pytest.fixture(scope="module")
def designs() -> list[Design]:
    found = make_designs(["teaching_4x4", "teaching_4x4:engine.rows=8,engine.cols=8"])
    with CaseTraces() as traces:
        run_designs(found, ["lenet5", "lenet_300_100"], traces)
    return found


def test_what_differs_and_what_is_equal(designs: list[Design]) -> None:
    equal, differ = equal_and_different(designs)
    assert set(equal) | set(differ) == set(designs[0].facts()) and not set(equal) & set(differ)
    assert differ["peak MACs per cycle"] == ["16", "64"]
    assert {"area", "peak throughput"} <= set(differ)
    assert {"technology", "clock", "buffers", "DRAM", "precision", "engine", "recipe"} <= set(equal)
    assert different_keys(designs) == {"engine.rows": ["4", "8"], "engine.cols": ["4", "8"]}


def test_equal_areas_are_called_equal() -> None:
    equal, differ = equal_and_different(make_designs(["tpu_v1+int8", "tpu_v1+nm_2_4_int8"]))
    assert list(differ) == ["recipe"] and "area" in equal and "DRAM" in equal


def test_ratios_are_to_the_first_and_figures_are_the_runs_own(designs: list[Design]) -> None:
    rows = records(designs, ["lenet5", "lenet_300_100"])
    assert [(row["workload"], row["speedup"]) for row in rows[::2]] == [("lenet5", 1.0), ("lenet_300_100", 1.0)]
    alone = simulate(load_arch("teaching_4x4", ["engine.rows=8", "engine.cols=8"]),
                     synthetic_trace(load_network("lenet5")))  # fmt: skip
    assert rows[1]["cycles"] == alone.cycles and rows[1]["energy_pj"] == alone.energy_pj
    assert rows[1]["speedup"] == rows[0]["seconds"] / rows[1]["seconds"] > 1
    assert rows[1]["edp_js"] == pytest.approx(alone.energy_pj * 1e-12 * alone.seconds)
    assert rows[1]["area_mm2"] == pytest.approx(sum(alone.area_mm2.values()))
    means = mean_records(rows, designs)
    assert means[0]["speedup"] == 1.0
    assert means[1]["speedup"] == pytest.approx(geometric_mean([rows[1]["speedup"], rows[3]["speedup"]]))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", tmp_path / "x.json", "--csv", tmp_path / "x.csv", "--figure", tmp_path / "x.png"]
    done = call(capsys, "compare", "teaching_4x4", "teaching_4x4:engine.rows=8", "--workload", "lenet5", *files)
    assert done.code == 0, done.err
    head, table = done.out.split("lenet5, batch 1")
    assert head.startswith("equal  technology") and "peak MACs per cycle" in head and "not controlled:" in head
    assert "1.000x" in table and "EDP" in table
    data = json.loads((tmp_path / "x.json").read_text())
    assert data["differs"]["peak MACs per cycle"] == {"teaching_4x4": "16", "teaching_4x4:engine.rows=8": "32"}
    assert data["keys"] == {"engine.rows": {"teaching_4x4": "4", "teaching_4x4:engine.rows=8": "8"}}
    with (tmp_path / "x.csv").open() as stream:
        assert [row["design"] for row in csv.DictReader(stream)] == ["teaching_4x4", "teaching_4x4:engine.rows=8"]
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_recipes_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(
        capsys, "compare", "tpu_v1", "--recipe", "none", "--recipe", "deep_compression", "--workload", "lenet_300_100"
    )
    assert done.code == 0, done.err
    assert "tpu_v1+deep_compression" in done.out and "not controlled" not in done.out
    assert "geometric mean" not in done.out


def test_means_over_several_workloads(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(
        capsys, "compare", "teaching_4x4", "teaching_4x4:engine.rows=8", "--workload", "lenet5",
        "--workload", "lenet_300_100", "--set", "clock_hz=5e8",
    )  # fmt: skip
    assert done.code == 0 and "geometric mean" in done.out and "clock 500 MHz" in done.out


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a", "", ())),
        ("a+r", ("a", "r", ())),
        ("a:x.y=1,z=2", ("a", "", ("x.y=1", "z=2"))),
        ("a+r:x=1", ("a", "r", ("x=1",))),
    ],
)
def test_designs_are_read(text: str, parts: tuple[str, str, tuple[str, ...]]) -> None:
    assert parse_design(text) == parts


@pytest.mark.parametrize("text", ["", "+r", "a+", "a:x", "a:", ":x=1"])
def test_bad_designs(text: str) -> None:
    with pytest.raises(ConfigError, match="must be ARCH, ARCH.RECIPE"):
        parse_design(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tpu_v1", "--workload", "lenet5"], "tpu_v1: a comparison needs at least two designs"),
        (["tpu_v1", "tpu_v1", "--workload", "lenet5"], "tpu_v1: is given twice"),
        (["tpu_v1", "tpu_v9", "--workload", "lenet5"], "unknown architecture 'tpu_v9'; did you mean tpu_v1"),
        (["tpu_v1", "teaching_4x4", "--workload", "lenet"], "unknown workload 'lenet'; did you mean lenet5"),
        (["tpu_v1", "tpu_v1+int9", "--workload", "lenet5"], "unknown recipe 'int9'"),
        (["tpu_v1", "teaching_4x4", "--workload", "lenet5", "--batch", "0"], "--batch: must be at least 1, got 0"),
        (["tpu_v1", "tpu_v1+int8", "--workload", "lenet5", "--weight-density", "2"], "--weight-density: must be above"),
        (["tpu_v1", "teaching_4x4", "--workload", "lenet5", "--figure", "x.gif"], "must be one of pdf, svg, png"),
    ],
)
def test_bad_comparisons(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    done = call(capsys, "compare", *arguments)
    assert done.code == 2 and message in done.err and not done.out
