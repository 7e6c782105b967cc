"""The validation page: what it says of rows, and that every comparison can be put on it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("validation")


def test_errors_and_aims(page: ModuleType) -> None:
    row = page.Row("d", "w", "q", "pJ", 99.0, 100.0, "paper", 1.0)
    assert row.error_pct == -1.0 and row.kept and not row.equal
    assert not page.Row("d", "w", "q", "pJ", 98.9, 100.0, "paper", 1.0).kept
    share = page.Row("d", "w", "row hits", "", 2, 1, "s", 1.0, scale=1000)
    assert share.error_pct == 0.1 and share.kept and not share.equal
    assert page.Row("d", "w", "q", "", 217.7510, 217.7507, "s").equal  # six digits
    assert not page.Row("d", "w", "q", "", 1_000_001, 1_000_000, "s").equal  # a whole number is exact


def test_the_page_counts_folds_and_names_what_is_missed(page: ModuleType) -> None:
    good = [page.Row("x|y", f"layer {i}", "cycles", "", 10, 10, "theirs", 0.0) for i in range(50)]
    bad = page.Row("z", "layer", "cycles", "", 11, 10, "theirs", 3.0)
    sections = [
        page.Section("a", "A: b, c.d", [*good, bad]),
        page.Section("n", "None", [], "its reference data are not here"),
    ]
    text = page.page(sections, quick=False)
    assert "| [A: b, c.d](#a-b-cd) | 51 | 50 | 50 of 51 | 10% | +10% | z, layer: cycles |" in text
    assert "x\\|y: 50 rows, 50 equal" not in text and "<summary>x|y: 50 rows, 50 equal" in text
    assert "Rows that miss their aim:" in text and "3% MISSED" in text
    assert "Nothing here: its reference data are not here." in text


def test_what_nobody_published_is_listed_below_the_table(page: ModuleType) -> None:
    from accelsim.system.archspec import load_arch

    designs = ("simba", "eyeriss", "Cambricon-X", "no such design")
    rows = [page.Row(design, "w", "q", "", 1, 1, "s") for design in designs]
    text = page.body(page.Section("a", "A", rows))
    for name in ("simba", "eyeriss", "cambricon_x"):
        line = next(line for line in text.splitlines() if line.startswith(f"- {name}: "))
        for key, note in load_arch(name).spec.notes.items():
            assert (f"`{key}`" in line) == ("assumed" in note)
    assert "- eyeriss_vgg16: `engine.pinned`" in text and "- no such design" not in text
    assert "Assumed" not in page.body(page.Section("a", "A", rows[3:]))


def test_sections_without_references_say_so(
    page: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELSIM_REFERENCES", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["validation.py", "--only", "dram", "--only", "scalesim"])
    page.main()
    assert capsys.readouterr().out.count("its reference data are not here") == 4


def test_every_comparison_has_rows(page: ModuleType) -> None:
    for script, title in page.names().values():
        assert callable(importlib.import_module(script).rows), script
        assert title
