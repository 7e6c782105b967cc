"""Every command does its work, in-process."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from accelsim import __version__
from accelsim.base import kernels
from accelsim.base.errors import DeadlockError
from accelsim.cli.parser import COMMANDS, build_parser
from tests.cli.command import REPOSITORY, call


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_run_prints_tables_and_writes_files(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "teaching_4x4", "lenet5", "--activation-density", "0.5", "--seed", "3"]
    outcome = call(
        capsys, *arguments, "--json", "r.json", "--csv", "r.csv", "--timeline", "r.json.gz",
        "--plot", "deep/figures", "--format", "svg",
    )  # fmt: skip
    assert outcome.code == 0
    for words in ("lenet5 on teaching_4x4, batch 1", "\nTime\n", "\nTraffic\n", "\nEnergy\n", "\nTotal\n", "seed 3"):
        assert words in outcome.out
    assert "described, not real: density 0.5" in outcome.out
    assert [line for line in outcome.err.splitlines() if "kernels" not in line] == [
        "accelsim: wrote r.json",
        "accelsim: wrote r.csv",
        "accelsim: wrote r.json.gz",
        "accelsim: wrote 4 figures in deep/figures: cycles.svg, energy.svg, roofline.svg, activity.svg",
    ]
    data = json.loads(Path("r.json").read_text())
    assert f"{data['totals']['cycles']:,} cycles" in outcome.out
    assert len(Path("r.csv").read_text().splitlines()) == 1 + len(data["layers"])
    assert json.loads(gzip.decompress(Path("r.json.gz").read_bytes()))["otherData"]["trace_hash"] == data["trace_hash"]
    assert sorted(path.name for path in Path("deep/figures").iterdir()) == sorted(
        ["cycles.svg", "energy.svg", "roofline.svg", "activity.svg"]
    )
    assert sorted(path.name for path in Path().iterdir()) == ["deep", "r.csv", "r.json", "r.json.gz"]


def test_two_runs_print_and_write_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [call(capsys, "run", "teaching_4x4", "lenet5", "--json", f"{n}.json") for n in "ab"]
    assert outcomes[0].out == outcomes[1].out
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_quiet_and_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = call(capsys, "run", "teaching_4x4", "lenet5", "--quiet", "--csv", "x.csv")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "") and Path("x.csv").exists()
    data = call(capsys, "run", "teaching_4x4", "lenet5", "--json", "-")
    assert json.loads(data.out)["arch"] == "teaching_4x4"
    rows = list(csv.DictReader(io.StringIO(call(capsys, "run", "teaching_4x4", "lenet5", "--csv", "-").out)))
    assert sum(int(row["cycles"]) for row in rows) == json.loads(data.out)["totals"]["cycles"]


def test_options_reach_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    def cycles(*arguments: str) -> int:
        out = call(capsys, "run", "teaching_4x4", "lenet5", "--json", "-", *arguments).out
        found: int = json.loads(out)["totals"]["cycles"]
        return found

    plain = cycles()
    assert cycles("--batch", "2") > 1.5 * plain
    assert cycles("--set", "engine.rows=8", "--set", "engine.cols=8") < plain
    assert cycles("--set", "dram.fidelity=ideal") < plain
    assert cycles("--objective", "cycles") <= plain


def test_run_a_shipped_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """Real weights, a real photograph."""
    outcome = call(capsys, "run", "teaching_4x4", "mtcnn_pnet", "--layers", "none")
    assert outcome.code == 0
    assert "weights      stored, int8, int32 dense" in outcome.out and "nonzero" in outcome.out
    assert "\nTime\n" not in outcome.out
    path = REPOSITORY / "workloads" / "mtcnn_pnet.trace"
    assert call(capsys, "run", "teaching_4x4", path, "--layers", "none").out == outcome.out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    everything = call(capsys, "list")
    assert everything.code == 0 and everything.err == ""
    for words in ("tpu_v1", "resnet50", "mtcnn_pnet", "efficientnet_lite0", "systolic", "25,557,032"):
        assert words in everything.out
    archs = call(capsys, "list", "archs").out
    assert "tpu_v1" in archs and "resnet50" not in archs
    shipped = sorted(path.stem for path in (REPOSITORY / "arch_configs").glob("*.yaml"))
    assert [line.split()[0] for line in archs.splitlines()[3:]] == shipped
    assert "dense" in call(capsys, "list", "encodings").out
    assert "hierarchical_mesh  flit_bytes, columns, rows, pes" in call(capsys, "list", "topologies").out


def test_show_an_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "show", "tpu_v1", "--set", "engine.rows=128").out
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "--set engine.rows=128" in rows["engine.rows"] and " 128 " in rows["engine.rows"]
    assert "ISCA 2017, Section 2" in rows["engine.cols"]
    assert "ISCA 2017" in rows["precision.psum"]  # from the note on `precision`
    assert "assumed:" in rows["dram.latency_ns"]
    assert rows["mapping.prefetch"].endswith("default")
    assert "32,768 MACs per cycle" in out and "mm2 on chip" in out


def test_every_value_shown_has_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    """In every shipped architecture: a source, the word "assumed", or "default"."""
    for path in sorted((REPOSITORY / "arch_configs").glob("*.yaml")):
        out = call(capsys, "show", path.stem).out
        table = out[out.index("\nparameter") : out.index("\nfollows")].splitlines()[2:]
        for line in table:
            if line and not line.startswith(" "):
                assert len(line.split(None, 2)) == 3, (path.stem, line)


def test_show_costs_and_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    costs = call(capsys, "show", "teaching_4x4", "--costs").out
    assert "mac_8x8" in costs and " pJ" in costs and "mW of leakage" in costs
    Path("mine.yaml").write_text(call(capsys, "show", "teaching_4x4", "--yaml", "--set", "engine.rows=8").out)
    assert call(capsys, "validate", "mine.yaml").code == 0
    assert "128" not in call(capsys, "show", "mine.yaml").err
    ours = call(capsys, "run", "mine.yaml", "lenet5", "--csv", "-").out
    assert ours == call(capsys, "run", "teaching_4x4", "lenet5", "--csv", "-", "--set", "engine.rows=8").out


def test_show_networks_and_traces(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "show", "resnet50").out
    assert "25,557,032 parameters, 4,089,184,256 MACs" in out and "7x7/2 3->64" in out
    assert out == call(capsys, "show", REPOSITORY / "workloads" / "resnet50.yaml").out
    trace = call(capsys, "show", "mtcnn_pnet").out
    assert "U.S. Navy, public domain" in trace and "MIT" in trace and "filter" in trace
    for name in ("lstm_ptb_300", "bert_base", "mobilenet_v1"):
        assert call(capsys, "show", name).code == 0


def test_validate_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    files = [*sorted((REPOSITORY / "arch_configs").glob("*.yaml")), *sorted((REPOSITORY / "workloads").glob("*.trace"))]
    outcome = call(capsys, "validate", *files, REPOSITORY / "workloads" / "lenet5.yaml")
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out.count(": OK, ") == len(files) + 1


def test_capture_an_onnx_model(capsys: pytest.CaptureFixture[str]) -> None:
    np = pytest.importorskip("numpy")
    models = pytest.importorskip("tests.workload.onnx_models")
    nodes = [models.node("Conv", "x w", "c"), models.node("Relu", "c", "y")]
    model = models.build(nodes, {"x": (1, 2, 8, 8)}, ["y"], {"w": models.numbers("w", 4, 2, 3, 3)})
    Path("m.onnx").write_bytes(model.SerializeToString())
    np.save("x.npy", models.numbers("x", 1, 2, 8, 8))
    outcome = call(capsys, "capture", "m.onnx", "--input", "x=x.npy", "--out", "m.trace", "--source", "a test")
    assert outcome.code == 0, outcome.err
    assert "a test" in outcome.out and "wrote m.trace" in outcome.err and "normally" not in outcome.err
    assert call(capsys, "validate", "m.trace").code == 0
    assert call(capsys, "run", "teaching_4x4", "m.trace", "--quiet").code == 0
    synthetic = call(capsys, "capture", "m.onnx", "--out", "s.trace", "--weight-bits", "4", "--per-tensor")
    assert synthetic.code == 0 and "normally distributed" in synthetic.err and "int4" in synthetic.out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "version").out
    assert out.startswith(f"accelsim {__version__}\npython 3.") and "numpy " in out
    assert call(capsys, "--version").out == f"accelsim {__version__}\n"


def test_warmup(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(progress: object) -> int:
        assert callable(progress)
        progress("accelsim.a.kernel")
        return 7

    monkeypatch.setattr(kernels, "warmup", fake)
    assert call(capsys, "warmup").out.startswith("7 kernels are ready in ")
    assert call(capsys, "warmup", "--quiet").out == ""


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call(capsys)
    assert outcome.code == 2 and "first steps:" in outcome.err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call(capsys, command, "--help")
    assert outcome.code == 0 and max(map(len, outcome.out.splitlines())) <= 120
    if command not in ("version", "warmup"):
        assert f"  accelsim {command}" in outcome.out  # an example


def test_examples_of_the_help_parse() -> None:
    """Every command line that `--help` shows is one that the parser takes."""
    import shlex

    from accelsim.cli import parser as texts

    seen = 0
    for name in ("_MAIN", "_RUN", "_SHOW", "_LIST", "_VALIDATE", "_CAPTURE"):
        for line in getattr(texts, name).splitlines():
            command = line.strip().split("   ")[0].split(" > ")[0]
            if command.startswith("accelsim ") and "COMMAND" not in command:
                build_parser().parse_args(shlex.split(command)[1:])
                seen += 1
    assert seen > 15


def test_our_faults_ask_for_a_report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from accelsim import api

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    def stuck(*_: object, **__: object) -> None:
        raise DeadlockError("at cycle 7: loader waits for room")

    monkeypatch.setattr(api, "simulate", broken)
    outcome = call(capsys, "run", "teaching_4x4", "lenet5", "--json", "r.json")
    assert outcome.code == 70 and "ZeroDivisionError: oops" in outcome.err and "please report" in outcome.err
    monkeypatch.setattr(api, "simulate", stuck)
    outcome = call(capsys, "run", "teaching_4x4", "lenet5", "--json", "r.json")
    assert outcome.code == 70 and "in a deadlock: at cycle 7: loader waits for room" in outcome.err
    assert not Path("r.json").exists()


def test_kernels_being_compiled_are_announced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    monkeypatch.setattr(kernels, "_ON_COMPILE", said)
    assert call(capsys, "run", "teaching_4x4", "lenet5", "--layers", "none").code == 0
    assert len(said) == 1
    capsys.readouterr()
    said[0]("compiling kernels, once after an install")  # type: ignore[operator]
    assert capsys.readouterr().err == "accelsim: compiling kernels, once after an install\n"


def test_progress_is_for_terminals_and_the_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelsim.cli import terminal

    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with terminal.progress_bar("simulating", quiet=False) as bar:
        bar.update(1, 10, "conv1")
    assert stream.getvalue() == ""  # too quick to be worth a bar
    monkeypatch.setattr(terminal, "PATIENCE_SECONDS", 0.0)
    with terminal.progress_bar("simulating", quiet=False) as bar:
        bar.update(3, 10, "a [layer]")
    assert "3/10" in stream.getvalue() and "a [layer]" in stream.getvalue()
    for quiet, tty in ((True, True), (False, False)):
        stream.truncate(0)
        stream.isatty = lambda tty=tty: tty  # type: ignore[method-assign,misc]
        with terminal.progress_bar("simulating", quiet=quiet) as bar:
            bar.update(3, 10, "x")
        assert stream.getvalue() == ""
