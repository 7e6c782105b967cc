"""Mistakes of somebody who meets accelsim for the first time: each refused at once, in one message."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from accelsim.cli.parser import build_parser
from tests.cli.command import REPOSITORY, call
from tests.cli.test_bad_input import CSV, Words, refused, run

WORKLOADS = REPOSITORY / "workloads"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def documented() -> list[str]:
    """Every command of the guides: at the start of a line, indented, or in backticks."""
    found: set[str] = set()
    for page in REPOSITORY.glob("docs/*.md"):
        text = page.read_text().replace("\\\n", " ")
        found.update(re.findall(r"^(?:    )?(accelsim [a-z]+ [^\n]*)", text, re.MULTILINE))
        found.update(re.findall(r"`(accelsim [a-z]+ [^`\n]*)`", text))
    return sorted(re.split(r" #|  +", line)[0] for line in found)


def test_the_guides_name_commands_and_options_that_exist() -> None:
    commands = [line for line in documented() if "..." not in line and not re.search(r"\b[A-Z]{2,}\b", line)]
    assert len(commands) > 40
    for line in commands:
        options = shlex.split(line)[1:]
        if len(options) < 3 and options[0] in ("compress", "store", "train"):
            continue  # a word about a command, not a line to type
        try:
            build_parser().parse_args(options)
        except SystemExit as end:
            assert end.code in (0, None), line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "resnet50", "tpu_v1"], ("resnet50: must be an architecture, but is the name of a workload",)),
        (["run", "tpu_v1", "eyeriss"], ("eyeriss: must be a workload, but is the name of an architecture",)),
        (["run", "tpu_v1", "x" * 300], ("unknown workload",)),
        (["run", "tpu_v1", "x" * 300 + ".yaml"], ("there is no such workload file",)),
        (["run", "tpu_v1", "folder.trace"], ("folder.trace: must be a file, but it is a directory",)),
        (["run", "tpu_v1", "lenet5", "--json", ""], ("must be a file",)),
        (["run", "tpu_v1", "lenet5", "--json", "o", "--csv", "./o"], ("--csv ./o: --json already goes",)),
        (["run", "tpu_v1", "lenet5", "--input-shape", "x=1,2"], ("--input-shape: is for ONNX files",)),
        (["run", "tpu_v1", "lenet5", "--skip-unsupported"], ("--skip-unsupported: is for ONNX files",)),
        (["run", "tpu_v1", "lenet_digits", "--accuracy"], ("--accuracy: needs an engine of crossbars",)),
        (["run", "isaac", "lenet5", "--accuracy"], ("lenet5",)),
        (["run", "tpu_v1", "lenet5", "--set", "dram.bandwidth_bytes_per_s=1e30"], ("must be <= 10000",)),
        (run("teaching_4x4", "lenet5", "--set", "buffers=[]"), ("buffers: must have at least 1 items, got []",)),
        (run("teaching_4x4", "lenet5", "--set", "name=''"), ("name: must not be empty text, got ''",)),
        (run("simba", "lenet5", "--set", "noc.columns=100000"), ("must be <=", "columns", "rows")),
        (["compress", "lenet5", "int8", "--weights", str(WORKLOADS / "mtcnn_onet.trace"), "-o", "o.trace"],
         ("mtcnn_onet.trace: must hold the weights of lenet5, got those of mtcnn_onet (filters of one alone:",)),
    ],
)  # fmt: skip
def test_refused(arguments: list[object], words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.trace").mkdir()
    message = refused(capsys, arguments, words)
    assert message.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["folder.trace"]


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", '"a\tb"', "\x1b[31mred", "x" * 101])
def test_names_of_layers_that_another_program_would_obey(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("n.csv").write_text(CSV + f"{name}, 8, 8, 3, 3, 4, 4, 1,\n")
    refused(capsys, run("tpu_v1", "n.csv"), ("n.csv:2: column 'Layer name' must be at most 100 printable characters",))


def test_data_that_are_no_archive(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.npz").write_bytes(b"PK\3\4 but nothing else")
    evaluate = ["compress", "lenet_digits", "int8", "--evaluate", "x.npz"]
    refused(capsys, evaluate, ("x.npz: must be a .npz file of numbers",))
    np.savez("x.npz", wrong=np.zeros(3))
    refused(capsys, evaluate, ("lenet_digits: input 'image' must be of shape (any, 1, 8, 8), got (3,)",))


def test_a_key_of_a_list_item_is_named_where_the_user_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text(
        "extends: teaching_4x4\nname: a\nsource: me\nbuffers:\n"
        "  - {name: ofmap_buffer, slots: 2}\n  - {name: filter_buffer, capacity_bytes: 0}\n"
    )
    refused(capsys, run("a.yaml", "lenet5"), ("a.yaml:6:27: buffers[1].capacity_bytes: must be >= 1, got 0",))


@pytest.mark.parametrize("wrong", ["workload: nope", "recipe: nope", "constraints: ['engine.rows > 99']"])
def test_a_sweep_that_cannot_be_planned_makes_no_store(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = "" if wrong.startswith("workload") else "workload: lenet_300_100\n"
    Path("s.yaml").write_text(f"arch: teaching_4x4\n{first}sweep: {{engine.rows: [2]}}\n{wrong}\n")
    refused(capsys, ["sweep", "s.yaml", "--workers", "0", "--quiet"], ())
    refused(capsys, ["sweep", "s.yaml", "--workers", "-1", "--quiet"], ("workers: must be an integer from 0 to 1024",))
    assert not Path("s.db").exists()


def test_a_dollar_in_a_name_is_a_dollar(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a $\\frac{$ b"
    Path("a.yaml").write_text(f"extends: teaching_4x4\nname: '{name}'\nsource: me\n")
    Path("n.csv").write_text(CSV + "$a^$, 8, 8, 3, 3, 4, 4, 1,\n")
    outcome = call(capsys, "run", "a.yaml", "n.csv", "--quiet", "--plot", "out", "--format", "svg")
    assert outcome.code == 0, outcome
    assert len(list(Path("out").glob("*.svg"))) >= 4
