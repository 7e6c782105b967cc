"""Models that are damaged, hostile, open or beyond us end in one clear message, before any work."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload.load import load_network
from accelsim.workload.onnx_import import import_onnx
from tests.workload.onnx_models import build, imported, node, numbers, onnx, save


def conv_model(**kw: Any) -> Any:
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "y")]
    return build(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": numbers("w", 3, 2, 3, 3)}, **kw)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.onnx: cannot be read: No such file"):
        import_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"hello, this is text", b"\xff" * 5000])
def test_no_onnx_at_all(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no ONNX model, or is truncated"):
        import_onnx(save(data, tmp_path))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = conv_model().SerializeToString()
    whole = import_onnx(save(data, tmp_path))[0].macs
    for cut in range(0, len(data), 3):
        try:
            assert import_onnx(save(data[:cut], tmp_path))[0].macs == whole  # only the opset stood behind the cut
        except ConfigError:
            continue


def test_every_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    data = bytearray(conv_model().SerializeToString())
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0xFF
        try:
            import_onnx(save(bytes(broken), tmp_path))
        except ConfigError:
            continue


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no room
    with pytest.raises(ConfigError, match=r"at most 2147483647 bytes .* got 2147483648"):
        import_onnx(path)


def test_promised_terabytes_are_not_allocated(tmp_path: Path) -> None:
    model = conv_model()
    model.graph.initializer[0].dims[:] = [2**20, 2**20, 3, 3]
    tracemalloc.start()
    with pytest.raises(ConfigError, match=r"tensor 'w': dimensions .* too large"):
        imported(model, tmp_path)
    nodes = [node("ConstantOfShape", "s", "c"), node("Cast", "c", "d", to=1), node("Add", "x d", "y")]
    for shape in ([2**20, 2**20], [2**40, 2**40]):
        model = build(nodes, {"x": (1, 1)}, ["y"], {"s": np.asarray(shape, np.int64)})
        with pytest.raises(ConfigError, match="a constant of shape"):
            imported(model, tmp_path)
    wide = [node("Expand", "a s", "b"), node("Exp", "b", "c"), node("Add", "c k", "d"), node("Add", "x d", "y")]
    constants = {"a": numbers("a", 1, 1), "s": np.asarray([2**15, 1], np.int64), "k": numbers("k", 1, 2**15)}
    with pytest.raises(ConfigError, match="too large to fold"):
        imported(build(wide, {"x": (1, 1)}, ["y"], constants), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6


def test_data_that_do_not_fit_their_dimensions(tmp_path: Path) -> None:
    model = conv_model()
    model.graph.initializer[0].dims[:] = [3, 2, 3, 4]
    with pytest.raises(ConfigError, match="tensor 'w': its data do not fit its type and dimensions"):
        imported(model, tmp_path)


def test_dimensions_that_overflow(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="63 bits"):
        imported(conv_model(), tmp_path, input_shapes={"x": (2**31, 2, 2**20, 2**20)})


def test_operator_sets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"operator set must be 7 to \d+ .* got 6"):
        imported(conv_model(opset=6), tmp_path)
    with pytest.raises(ConfigError, match="got 999"):
        imported(conv_model(opset=999), tmp_path)


def unsupported_model() -> Any:
    nodes = [
        node("NonMaxSuppression", "x x", "boxes"), node("Relu", "x", "r"), node("Frob", "r", "f", domain="acme"),
        node("GridSample", "f r", "g"), node("Conv", "r k", "c"), node("TopK", "g n", "t -"), node("Sigmoid", "g", "y"),
    ]  # fmt: skip
    constants = {"n": np.asarray([1], np.int64)}
    return build(nodes, {"x": (1, 2, 5, 5), "k": (3, 2, 3, 3)}, ["y", "c", "boxes", "t"], constants, domains=["acme"])


def test_unsupported_operators_are_listed_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(unsupported_model(), tmp_path)
    text = str(caught.value)
    for line in (
        "'nonmaxsuppression_boxes' (NonMaxSuppression): there is no such operator here",
        "'frob_f' (acme:Frob): there is no such operator here",
        "'gridsample_g' (GridSample): there is no such operator here",
        "'conv_c' (Conv): its filter (input 1) is computed at run time",
        "'topk_t' (TopK): there is no such operator here",
    ):
        assert line in text
    assert "relu" not in text and "sigmoid" not in text


def test_unsupported_operators_are_skipped_on_demand(tmp_path: Path) -> None:
    nodes = [node("Frob", "x", "f", domain="acme"), node("Conv", "f w", "y")]
    model = build(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": numbers("w", 3, 2, 3, 3)}, domains=["acme"])
    with pytest.raises(ConfigError, match="'frob_f'"):
        imported(model, tmp_path)
    found = imported(model, tmp_path, skip_unsupported=True)
    assert found.network["conv_y"].inputs == ("x",)


def test_an_operator_that_changes_the_size_cannot_be_skipped(tmp_path: Path) -> None:
    nodes = [node("TopK", "x k", "y -", axis=1)]
    model = build(nodes, {"x": (1, 5)}, ["y"], {"k": np.asarray([2], np.int64)})
    with pytest.raises(ConfigError, match=r"'topk_y' \(TopK\) cannot be skipped: .*\(1, 5\).*\(1, 2\)"):
        imported(model, tmp_path, skip_unsupported=True)


@pytest.mark.parametrize("op, attributes, inputs, reason", [
    ("Conv", {}, {"x": (1, 2, 5, 5, 5)}, "a window over 3 spatial dimensions"),
    ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, {"x": (1, 2, 5, 5)}, "dilated pooling"),
    ("Resize", {}, {"x": (1, 2, 5, 5)}, "neither scales nor sizes are known"),
    ("Slice", {"starts": [4], "ends": [0], "steps": [-1]}, {"x": (5, 5)}, "runs backwards"),
])  # fmt: skip
def test_reasons(op: str, attributes: Any, inputs: Any, reason: str, tmp_path: Path) -> None:
    constants = {"w": numbers("w", 2, 2, 3, 3, 3)}
    model = build([node(op, "x w" if op == "Conv" else "x", "y", **attributes)], inputs, ["y"], constants, 9)
    with pytest.raises(ConfigError, match=f"{op}.*{reason}"):
        imported(model, tmp_path)


def open_model() -> Any:
    nodes = [node("MatMul", "x w", "m"), node("Add", "m z", "y")]
    inputs = {"x": ("N", "T", 6), "z": ("N", "T", 4)}
    return build(nodes, inputs, ["y"], {"w": numbers("w", 6, 4)})


def test_open_dimensions_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(open_model(), tmp_path)
    text = str(caught.value)
    assert "input 'x': dimension 0 ('N') is left open by the model; give batch=..." in text
    assert "input_shapes={'x': (N, ..., ...)}" in text
    with pytest.raises(ConfigError, match=r"dimension 1 \('T'\).*give input_shapes=\{'x': \(\.\.\., T, \.\.\.\)\}"):
        imported(open_model(), tmp_path, batch=2)


def test_open_dimensions_can_be_given(tmp_path: Path) -> None:
    # a name given once holds for every input
    found = imported(open_model(), tmp_path, input_shapes={"x": (2, 3, 6)})
    assert found.network["z"].out_shape == (2, 3, 4)
    assert found.network.macs == 2 * 3 * 6 * 4


def test_open_models_load_by_name_with_a_batch(tmp_path: Path) -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w", "y")]
    path = save(build(nodes, {"x": ("N", 2, 3)}, ["y"], {"w": numbers("w", 6, 4)}), tmp_path)
    assert load_network(path, batch=3).macs == 3 * 6 * 4
    with pytest.raises(ConfigError, match="batch"):
        load_network(path)


def test_batch(tmp_path: Path) -> None:
    assert imported(conv_model(), tmp_path, batch=4).network.macs == 4 * imported(conv_model(), tmp_path).network.macs
    with pytest.raises(ConfigError, match="batch must be >= 1, got 0"):
        imported(conv_model(), tmp_path, batch=0)


@pytest.mark.parametrize("shapes, message", [
    ({"q": (1,)}, "there is no input 'q' to give a shape for; inputs: x"),
    ({"x": (1, 2, 5)}, r"has 4 dimensions, but the shape given, \(1, 2, 5\), has 3"),
    ({"x": (1, 2, 0, 5)}, "every dimension must be >= 1"),
    ({"x": (1, 7, 5, 5)}, r"'conv_c' \(Conv\).*7 channels"),
])  # fmt: skip
def test_wrong_input_shapes(shapes: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        imported(conv_model(), tmp_path, input_shapes=shapes)


def test_a_tensor_that_nobody_writes(tmp_path: Path) -> None:
    model = conv_model()
    model.graph.node[1].input[0] = "ghost"
    with pytest.raises(ConfigError, match="tensor 'ghost' is read before it is written"):
        imported(model, tmp_path)


def external(tmp_path: Path, location: str, **more: Any) -> Path:
    model = conv_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    return save(model, folder)


def test_external_data(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin", offset=8, length=3 * 2 * 9 * 4)
    w = numbers("w", 3, 2, 3, 3)
    (path.parent / "w.bin").write_bytes(b"\0" * 8 + w.tobytes())
    assert np.array_equal(import_onnx(path)[1]["conv_c"]["filter"], w)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", ".", "link.bin", "a\0b"])
def test_external_data_stay_in_the_folder(location: str, tmp_path: Path) -> None:
    path = external(tmp_path, location)
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4096)
    (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ConfigError, match="external data must lie in the model's own directory"):
        import_onnx(path)


@pytest.mark.parametrize("more, message", [
    ({}, "needs 216 bytes at offset 0 .* has 100"), ({"offset": -4}, "at offset -4"),
    ({"offset": "x"}, "not valid"), ({"length": 5}, r"length 5"),
])  # fmt: skip
def test_external_data_of_the_wrong_size(more: Any, message: str, tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin", **more)
    (path.parent / "w.bin").write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match=message):
        import_onnx(path)


def test_missing_external_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'w.bin' is missing or empty"):
        import_onnx(external(tmp_path, "w.bin"))


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(conv_model(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r'pip install "accelsim\[onnx\]"'):
        import_onnx(path)


def test_the_importer_imports_onnx_only_when_used() -> None:
    import subprocess

    code = "import sys, accelsim.workload.onnx_import; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
