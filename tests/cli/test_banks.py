"""The example of docs/buffers.md: a layout that costs, and what removes it, through the command line."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from tests.cli.command import REPOSITORY, call

PAGE = (REPOSITORY / "docs" / "buffers.md").read_text(encoding="utf-8")


def stalls(path: str) -> dict[str, int]:
    """Layer -> cycles lost to bank conflicts; and cycles in all."""
    rows = list(csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines()))
    found = {row["layer"]: int(row["bank_conflict_cycles"]) for row in rows}
    return {**{name: cycles for name, cycles in found.items() if cycles}, "all": sum(int(r["cycles"]) for r in rows)}


def test_the_example_of_the_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("banked_4x4.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.S)[0], encoding="utf-8")
    costly = call(capsys, "run", "banked_4x4.yaml", "lenet5", "--csv", "r.csv")
    assert costly.code == 0
    assert re.search(r"stalled by\n +bank\n.*conflict\n", costly.out)
    assert "31.0% stalled by bank conflict" in costly.out
    assert stalls("r.csv") == {"conv2": 104_000, "all": 335_708}
    layout, padding = re.findall(r"--set '(buffers[^']*)'", PAGE)
    for cure in (layout, "buffers.ifmap_buffer.fidelity=bandwidth"):
        cured = call(capsys, "run", "banked_4x4.yaml", "lenet5", "--csv", "r.csv", "--set", cure)
        assert cured.code == 0 and "conflict" not in cured.out
        assert stalls("r.csv") == {"all": 231_708}
    call(capsys, "run", "banked_4x4.yaml", "lenet5", "--csv", "r.csv", "--set", padding)
    assert stalls("r.csv") == {"conv1": 18_000, "all": 249_708}
    assert all(f"{cycles:,}" in PAGE for cycles in (335_708, 231_708, 249_708)) and "31.0%" in PAGE


def test_a_bad_layout_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    keys = ("--set", "buffers.ifmap_buffer.read_write_ports=1", "--set", "buffers.ifmap_buffer.layout={ifmap: chwn}")
    refused = call(capsys, "run", "teaching_4x4", "lenet5", *keys)
    assert refused.code != 0 and "layout.ifmap" in refused.err and "chwn" in refused.err
