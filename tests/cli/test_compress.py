"""`accelsim compress`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from accelsim.cli import main
from accelsim.workload.trace import Trace

RECIPE = """name: small
steps:
  - {step: prune, layers: "fc*", density: 0.25}
  - {step: uniform, bits: 8}
  - {step: encode, layers: "fc*", format: bitmap}
  - {step: describe, bits: 8, density: 0.5}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_a_trace_a_table_and_files(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, rows, report = tmp_path / "a.trace", tmp_path / "a.csv", tmp_path / "a.json"
    code = main(["compress", "lenet5", str(recipe), "-o", str(out), "--csv", str(rows), "--json", str(report)])
    said = capsys.readouterr()
    assert code == 0 and f"wrote {out}" in said.err
    assert "lenet5, small; weights: drawn at random (laplace, seed 0): no trained weights" in said.out
    assert [line.split()[0] for line in said.out.splitlines() if line.startswith(("conv", "fc", "weights"))] == [
        "conv1", "conv2", "fc1", "fc2", "weights",
    ]  # fmt: skip
    trace = Trace.open(out)
    trace.verify()
    operand = trace.operand("fc1", "filter")
    assert operand is not None and operand.encoding == "bitmap" and operand.density <= 0.25
    with open(rows, newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(list(trace)) and {"ratio", "ratio_without_index", "sqnr_db"} <= set(table[0])
    data = json.loads(report.read_text(encoding="utf-8"))
    assert data["content_hash"] == trace.content_hash and data["weights_total"]["parameters"] == 430500
    assert main(["run", "tpu_v1", str(out), "--quiet"]) == 0


def test_without_out_nothing_is_written(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "lenet5", str(recipe), "--weights", "gaussian", "--rows", "all", "--seed", "3"]) == 0
    said = capsys.readouterr()
    assert "nothing is written without --out" in said.err
    assert "gaussian, seed 3" in said.out and "described" in said.out
    assert [p.name for p in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet5", "smal.yaml"], "there is no such recipe file"),
        (["lenet6", "int8"], "unknown workload 'lenet6'"),
        (["resnet18", "deep_compression"], "unknown network for this recipe 'resnet18'"),
        (["lenet5", "int8", "-o", "a.txt"], "the name of a trace must end in .trace"),
        (["lenet5", "int8", "-o", "no/where/a.trace"], "no/where"),
        (["lenet5", "int8", "--weights", "normal"], "unknown weight distribution 'normal'"),
        (["lenet5", "int8", "--weights", "no.trace"], "no.trace"),
        (["lenet5", "int8", "--seed", "-1"], "seed must be an integer from 0"),
    ],
)
def test_bad_input(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compress", *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err and not said.out and list(tmp_path.iterdir()) == []


def test_recipes_and_steps_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    assert "deep_compression_huffman" in capsys.readouterr().out
    assert main(["list", "steps"]) == 0
    assert "kmeans" in capsys.readouterr().out
