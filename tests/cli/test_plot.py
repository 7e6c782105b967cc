"""`accelsim plot` and `accelsim report` on a store that a real sweep wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.report.curves import CURVES
from accelsim.sweep.run import sweep
from tests.cli.command import call

SWEEP = {
    "name": "small",
    "arch": "systolic_ws_32",
    "workload": "lenet5",
    "set": {"dram.fidelity": "ideal"},
    "sweep": {"engine.dataflow": ["ws", "os"], "engine.rows": [8, 16], "engine.cols": [8, 16]},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "results.db"
    sweep(SWEEP, path, workers=0)
    return path


@pytest.mark.parametrize("kind", CURVES)
def test_every_kind(kind: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.svg"
    done = call(capsys, "plot", store, kind, "-o", out)
    assert done.code == 0, done.err
    assert str(out) in done.err and "<svg" in out.read_text()


def test_choices_reach_the_figure(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(
        capsys, "plot", store, "lines", "--x", "engine.rows", "--y", "edp", "--series", "engine.dataflow",
        "--where", "engine.cols == 16", "--title", "all mine", "-o", tmp_path / "x.svg", "-o", tmp_path / "x.png",
        "--dpi", "80", "--quiet",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    text = (tmp_path / "x.svg").read_text()
    for shown in ("all mine", "energy-delay product", "engine.rows (PEs)", "<!-- os -->"):
        assert shown in text


def test_the_page(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "report", store, "--sweep", "small", "--where", "engine.rows == 8", "-o", tmp_path / "x.html")
    assert done.code == 0 and "4 points" in done.err
    assert "4 points, workload lenet5, arch systolic_ws_32" in (tmp_path / "x.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot", "STORE", "lnes"], "unknown kind of curve 'lnes'; did you mean lines"),
        (["plot", "STORE", "pareto", "-o", "x.gif"], "a figure's format must be one of pdf, svg, png, got 'gif'"),
        (["plot", "STORE", "pareto", "-o", "no/where.pdf"], "no/where.pdf: cannot be written: there is no"),
        (["plot", "STORE", "pareto", "--x", "area"], "unknown column 'area'; did you mean area_mm2"),
        (["plot", "STORE", "pareto", "--dpi", "3"], "--dpi: must be 50 to 1200, got 3"),
        (["plot", "STORE", "pareto", "--where", "area_mm2 < 0"], "no point of this sweep is done"),
        (["plot", "STORE", "pareto", "--where", "engine.row > 1"], "unknown column 'engine.row'"),
        (["plot", "STORE", "pareto", "--sweep", "smal"], "unknown sweep 'smal'; did you mean small"),
        (["plot", "nothing.db", "pareto"], "nothing.db: there is no such store"),
        (["report", "STORE", "-o", "x.txt"], "--out x.txt: must end in .html, got '.txt'"),
        (["report", "nothing.db"], "nothing.db: there is no such store"),
    ],
)
def test_bad_input(
    arguments: list[str], message: str, store: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = call(capsys, *(str(store) if word == "STORE" else word for word in arguments))
    assert done.code == 2 and message in done.err
    assert not list(tmp_path.iterdir())
