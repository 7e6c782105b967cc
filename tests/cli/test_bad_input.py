"""Input that the user can mend: exit code 2, one message, nothing on stdout, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import REPOSITORY, call

ARCHS, WORKLOADS = REPOSITORY / "arch_configs", REPOSITORY / "workloads"
Words = tuple[str, ...]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], arguments: list[object], words: Words) -> str:
    """Check all of the above; every one of `words` is in the message."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    outcome = call(capsys, *arguments)
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert "Traceback" not in outcome.err and "please report" not in outcome.err
    assert outcome.err.startswith("accelsim") and outcome.err.endswith("\n")
    for word in words:
        assert word in outcome.err, (word, outcome.err)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    return outcome.err


def run(*arguments: object) -> list[object]:
    """A run that would write everything."""
    outputs = ["--json", "o.json", "--csv", "o.csv", "--plot", "figures", "--timeline", "o.json.gz"]
    return ["run", *arguments, *outputs]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (run("tpu_v2", "lenet5"), ("unknown architecture 'tpu_v2'", "did you mean tpu_v1?")),
        (run("tpu_v1", "resnet51"), ("unknown workload 'resnet51'", "did you mean", "resnet50")),
        (run("tpu_v1", "mtcnn_pnt"), ("unknown workload 'mtcnn_pnt'", "mtcnn_pnet")),
        (run("nowhere/a.yaml", "lenet5"), ("nowhere/a.yaml: there is no such architecture file",)),
        (run("tpu_v1", "no.onnx"), ("no.onnx: there is no such workload file",)),
        (run("tpu_v1", "lenet5", "--batch", "0"), ("batch must be an integer >= 1, got 0",)),
        (run("tpu_v1", "mtcnn_pnet", "--batch", "2"), ("a trace holds its own shapes and operands; batch",)),
        (run("tpu_v1", "lenet5", "--weight-density", "1.5"), ("weight_density", "must be <= 1", "1.5")),
        (run("tpu_v1", "lenet5", "--batch", "two"), ("argument --batch: invalid int value: 'two'",)),
        (run("tpu_v1", "gpt2_decode", "--var", "pats=3"), ("unknown variable 'pats'", "did you mean past?")),
        (run("tpu_v1", "lenet5", "--var", "x"), ("--var x: must be NAME=VALUE",)),
        (run("tpu_v1", "m.onnx", "--input-shape", "x=a"), ("--input-shape: a shape must be integers",)),
        (run("tpu_v1", "lenet5", "--layers", "some"), ("--layers: must be all, top, none or a number, got 'some'",)),
        (run("tpu_v1", "lenet5", "--objective", "speed"), ("--objective: invalid choice: 'speed'",)),
        (run("tpu_v1", "lenet5", "--format", "jpg"), ("--format: invalid choice: 'jpg'",)),
        (["run", "tpu_v1", "lenet5", "--format", "pdf"], ("--format: is for figures; say --plot DIR too",)),
        (["run", "tpu_v1", "lenet5", "--json", "no/o.json"], ("no/o.json: cannot be written: there is no directory",)),
        (["run", "tpu_v1", "lenet5", "--json", "."], ("must be a file, but it is a directory",)),
        (["run", "tpu_v1", "lenet5", "--timeline", "-"], ("only JSON and CSV can go to stdout",)),
        (["run", "tpu_v1", "lenet5", "--json", "-", "--csv", "-"], ("only one of them can go to stdout",)),
        (["run", "tpu_v1"], ("the following arguments are required: WORKLOAD", "try: accelsim run --help")),
        (["run", "tpu_v1", "lenet5", "--jsn", "x"], ("unrecognized arguments: --jsn x",)),
        (["rnu", "tpu_v1"], ("unknown command 'rnu'; did you mean run",)),
        (["list", "chips"], ("invalid choice: 'chips'",)),
        (["show", "resnet05"], ("unknown architecture or workload 'resnet05'", "resnet50")),
        (["show", "resnet50", "--costs"], ("--set, --costs and --yaml are for architectures",)),
        (["show", "tpu_v1", "--set", "engine.rwos=3"], ("engine.rwos: unknown key; did you mean rows",)),
        (["capture", "lite0", "--out", "x.trace"], ("unknown real network 'lite0'", "efficientnet_lite0")),
        (["capture", "mtcnn_pnet", "--out", "x.bin"], ("the name of a trace must end in .trace",)),
        (["capture", "mtcnn_pnet", "--out", "x.trace", "--batch", "2"], ("--batch: is for ONNX files",)),
        (["capture", "m.onnx", "--out", "x.trace", "--image", "i.png"], ("--image: is for real networks",)),
    ],
)
def test_names_and_options(arguments: list[object], words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, arguments, words)
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("engine.rows", ("must be key=value",)),
        ("engine.rows=0", ("--set engine.rows=0", "must be >= 1, got 0")),
        ("engine.rows=many", ("engine.rows", "must be an integer", "'many'")),
        ("engine.dataflow=rs", ("engine.dataflow", "must be one of 'os', 'ws' or 'is'", "'rs'")),
        ("engine.dataflow=os", ("overlap 'double_buffered' does not exist for dataflow 'os'",)),
        ("engine.kind=systolc", ("unknown engine 'systolc'; did you mean systolic?",)),
        ("bufers.x.slots=2", ("unknown key bufers; did you mean buffers?",)),
        ("buffers.fifo.slots=2", ("buffers has no item 'fifo'; items: accumulators, weight_fifo",)),
        ("precision.psum=4", ("precision: psum must have at least the bits of its operands",)),
        ("technology.node_nm=500", ("technology.node_nm", "must be <= 180, got 500")),
        ("dram.standard=ddr9", ("ddr9",)),
        ("clock_hz=[1", ("not valid YAML",)),
    ],
)
def test_overrides(override: str, words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, run("tpu_v1", "lenet5", "--set", override), words)


def test_a_layer_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """Says which layer, buffer and operand, how much it needs and how much there is."""
    small = run("teaching_4x4", "lenet5", "--set", "buffers.filter_buffer.capacity_bytes=1")
    words = ("layer conv1", "filter_buffer", "filter 2 x 1 B", "needs 2 bytes", "1 bytes are available")
    refused(capsys, small, words)


ARCH = (ARCHS / "teaching_4x4.yaml").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("clock_hz:", "clock_herz:"), ("clock_herz", "did you mean clock_hz?")),
        (lambda text: text.replace("rows: 4", "rows: four"), ("a.yaml:9:", "engine.rows: must be an integer", "four")),
        (lambda text: text.replace("lanes: 4", "lanes: -4"), ("vector.lanes", "must be >= 1, got -4")),
        (lambda text: text.replace("holds: [filter]", "holds: [ifmap]"), ("exactly one must hold ifmap",)),
        (lambda text: text.replace("  clock_hz:", "  clock:"), ("note about 'clock', but there is no such key",)),
        (lambda text: text.rstrip() + "\nclock_hz: 5\n", ("a.yaml:38:1: not valid YAML", "duplicate key")),
        (lambda text: text + "x: " + "[" * 60 + "]" * 60 + "\n", ("nested more than 40 levels deep",)),
        (lambda text: text.replace("name: teaching_4x4", "name: &a x\nsource2: *a"), ("YAML aliases",)),
        (lambda text: "- 1\n- 2\n", ("an architecture must be a mapping",)),
        (lambda text: "", ("the file is empty",)),
        (lambda text: "a: [", ("not valid YAML",)),
        (lambda text: "extends: tpu_v9\n", ("unknown architecture 'tpu_v9'",)),
    ],
)
def test_architecture_files(change: Callable[[str], str], words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text(change(ARCH))
    refused(capsys, run("a.yaml", "lenet5"), words)


def test_files_too_large_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A gigabyte is refused by its size, unread (a sparse file: it takes no room)."""
    for name in ("a.yaml", "n.csv"):
        with open(name, "wb") as stream:
            stream.truncate(2**30)
        arguments = run("a.yaml", "lenet5") if name == "a.yaml" else run("tpu_v1", name)
        before = Path(name).stat()
        outcome = call(capsys, *arguments)
        assert outcome.code == 2 and "must be at most 8388608 bytes, got 1073741824" in outcome.err
        assert Path(name).stat() == before and not Path("o.json").exists()
        Path(name).unlink()


NETWORK = """
name: net
source: a test
inputs: {{image: [1, 3, 32, 32]}}
layers:
  - {layer}
"""


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("{name: c, op: cnov, channels: 4}", ("unknown operator 'cnov'", "did you mean conv")),
        ("{name: c, op: conv, chanels: 4}", ("chanels", "did you mean channels?")),
        ("{name: c, op: conv, channels: -4}", ("channels", "must be an integer >= 1, got -4")),
        ("{name: c, op: conv, channels: 4, kernel: 99}", ("larger than the padded input",)),
        ("{name: c, op: conv, channels: 4, groups: 3, from: nobody}", ("nobody",)),
        ("{name: c, op: conv, channels: 9000000000000000000}", ("63 bits",)),
        ("{name: c, op: linear, features: 4611686018427387904}", ("63 bits",)),
    ],
)
def test_network_files(layer: str, words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    Path("n.yaml").write_text(NETWORK.format(layer=layer))
    refused(capsys, run("tpu_v1", "n.yaml"), words)


CSV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CSV.replace(" Channels,", "") + "conv1, 8, 8, 3, 3, 4, 1,\n", ("column 'Channels' is missing",)),
        (CSV + "conv1, 8, -8, 3, 3, 4, 4, 1,\n", ("n.csv:2: column 'IFMAP Width' must be an integer >= 1, got '-8'",)),
        (CSV + "conv1, 8, 8, 3, 3, four, 4, 1,\n", ("column 'Channels' must be an integer >= 1, got 'four'",)),
        (CSV + "conv1, 8, 8, 9, 3, 4, 4, 1,\n", ("column 'Filter Height' must be at most the IFMAP Height 8, got 9",)),
        (CSV, ("must have a header and at least one layer",)),
        ("Layer, M, N, K,\nfc, 4000000000, 4000000000, 4000000000,\n", ("overflows 63 bits",)),
    ],
)
def test_topologies(text: str, words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    Path("n.csv").write_text(text)
    refused(capsys, run("tpu_v1", "n.csv"), words)


def truncated(data: bytes) -> bytes:
    return data[: len(data) - 100]


def beheaded(data: bytes) -> bytes:
    return data[:7]


def tampered_tensor(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def tampered_header(data: bytes) -> bytes:
    at = data.index(b"mtcnn_pnet")
    return data[:at] + b"mtcnn_qnet" + data[at + 10 :]


def terabytes(data: bytes) -> bytes:
    return (2**42).to_bytes(8, "little") + data[8:]


def text(data: bytes) -> bytes:
    return b"this is not a trace, it is text\n" * 10


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, ("t.trace",)),
        (beheaded, ("is not a trace: it has only 7 bytes",)),
        (tampered_header, ("t.trace",)),
        (terabytes, ("header must be at most", "but promises 4398046511104")),
        (text, ("t.trace",)),
    ],
)
def test_traces(damage: Callable[[bytes], bytes], words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.trace").write_bytes(damage((WORKLOADS / "mtcnn_pnet.trace").read_bytes()))
    refused(capsys, run("tpu_v1", "t.trace"), words)


def test_a_tampered_tensor_is_found_by_validate(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.trace").write_bytes(tampered_tensor((WORKLOADS / "mtcnn_pnet.trace").read_bytes()))
    outcome = call(capsys, "validate", "t.trace")
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("t.trace: tensor ") and "does not have the hash" in outcome.err


def test_validate_goes_on_after_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ARCHS / "tpu_v1.yaml", "good.yaml")
    Path("bad.yaml").write_text(ARCH.replace("rows: 4", "rows: 0"))
    Path("other.yaml").write_text("colour: blue\n")
    Path("read.me").write_text("")
    outcome = call(capsys, "validate", "bad.yaml", "good.yaml", "none.csv", "other.yaml", "read.me")
    assert outcome.code == 2
    assert outcome.out.startswith("good.yaml: OK, architecture tpu_v1") and outcome.out.count("\n") == 1
    lines = outcome.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["bad.yaml", "none.csv", "other.yaml", "read.me"]
    assert "must be >= 1, got 0" in lines[0] and "there is no such file" in lines[1]
    assert "must be an architecture" in lines[2]


def onnx_model(kind: str) -> Any:
    models = pytest.importorskip("tests.workload.onnx_models")
    node, build = models.node, models.build
    weights = {"w": models.numbers("w", 3, 2, 3, 3)}
    if kind == "unsupported":
        nodes = [node("Conv", "x w", "c"), node("NonMaxSuppression", "c", "n"), node("Relu", "n", "y")]
        return build(nodes, {"x": (1, 2, 5, 5)}, ["y"], weights)
    dims = ("batch", 2, "height", 5) if kind == "dynamic" else (1, 2, 5, 5)
    return build([node("Conv", "x w", "c"), node("Relu", "c", "y")], {"x": dims}, ["y"], weights)


def test_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.onnx").write_bytes(onnx_model("unsupported").SerializeToString())
    refused(capsys, run("tpu_v1", "m.onnx"), ("nonmaxsuppression_n", "NonMaxSuppression"))
    Path("m.onnx").write_bytes(onnx_model("dynamic").SerializeToString())
    refused(capsys, run("tpu_v1", "m.onnx"), ("input 'x'",))
    refused(capsys, run("tpu_v1", "m.onnx", "--batch", "2"), ("input 'x'", "height"))
    shaped = call(capsys, "run", "teaching_4x4", "m.onnx", "--input-shape", "x=1,2,5,5")
    assert shaped.code == 0 and "m on teaching_4x4" in shaped.out or "test on teaching_4x4" in shaped.out
    Path("m.onnx").write_bytes(b"hello")
    refused(capsys, run("tpu_v1", "m.onnx"), ("is no ONNX model, or is truncated",))
    refused(capsys, ["capture", "m.onnx", "--out", "x.trace", "--quiet"], ("is no ONNX model, or is truncated",))
    refused(capsys, ["capture", "m.onnx", "--out", "x.trace", "--input", "x=n.npy"], ("n.npy: must be a .npy file",))
