"""Networks by name or file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.base.errors import ConfigError
from accelsim.base.paths import shipped_dir
from accelsim.workload.load import describe_networks, list_networks, load_network

TINY = "name: tiny\nsource: s\ninputs: {x: [1, 4]}\nvariables: {n: 2}\nlayers:\n  - {op: linear, features: $n}\n"


def test_by_name_and_by_path(tmp_path: Path) -> None:
    assert load_network("resnet50").params == 25557032
    assert load_network(shipped_dir("workloads") / "resnet50.yaml").params == 25557032
    for suffix in (".yaml", ".yml"):
        file = tmp_path / f"tiny{suffix}"
        file.write_text(TINY)
        assert load_network(str(file)).params == 10
        assert load_network(file, variables={"n": 3}).params == 15
        assert load_network(file, batch=7)["linear"].out_shape == (7, 2)


def test_shipped_networks_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_network("lenet5").name == "lenet5" and "vgg16" in list_networks()


def test_description_is_that_of_the_network() -> None:
    headers = describe_networks()
    assert [header.name for header in headers] == list_networks()
    for header in headers:
        if header.name in ("resnet50", "gpt2_decode", "lstm_ptb_650"):
            net = load_network(header.name)
            assert (header.parameters, header.macs, header.source) == (net.params, net.macs, net.source)


def test_listing_imports_no_numerical_library() -> None:
    code = (
        "import sys; from accelsim.workload.load import describe_networks; describe_networks();"
        "print([m for m in ('numpy', 'numba', 'onnx', 'simpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "unknown workload 'resnet5'; did you mean resnet50"),
        ("zzz", "unknown workload 'zzz'; known: alexnet, alexnet_single, bert_base"),
        ("nowhere.yaml", "nowhere.yaml: there is no such workload file"),
        ("nowhere.csv", "nowhere.csv: there is no such workload file"),
        ("nowhere/at.all", "there is no such workload file"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_network(name)


def test_other_faults(tmp_path: Path) -> None:
    other = tmp_path / "net.txt"
    other.write_text("x")
    with pytest.raises(ConfigError, match="net.txt: a workload must be one of .yaml, .yml, .csv, .onnx, got '.txt'"):
        load_network(other)
    topology = tmp_path / "net.csv"
    topology.write_text("Layer, M, N, K\na, 1, 2, 3\n")
    with pytest.raises(ConfigError, match="net.csv: only a YAML network has variables"):
        load_network(topology, variables={"n": 3})
    for batch in (0, -1, True, 1.0):
        with pytest.raises(ConfigError, match="lenet5: batch must be an integer >= 1, got"):
            load_network("lenet5", batch=batch)  # type: ignore[arg-type]


def test_onnx(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 6, 6])
    w = helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 3, 3, 3], [0.5] * 108)
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], "c")], "g", [x], [y], [w])
    file = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), file)
    net = load_network(file, batch=2)
    assert net.params == 108 and net.macs == 2 * 4 * 36 * 27
