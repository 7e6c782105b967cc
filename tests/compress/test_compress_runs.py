"""Recipes, sources and whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.compress import compress, load_recipe
from accelsim.compress.base import Context
from accelsim.compress.recipe import describe_recipes, find_recipe, list_recipes
from accelsim.compress.sources import DrawnWeights, GivenWeights, smooth
from accelsim.workload import ops
from accelsim.workload.encodings.base import encoding
from accelsim.workload.encodings.coded import Coded
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.trace import Trace, TraceWriter
from tests.compress.helpers import needs_speed, network, weights

STEPS: list[dict[str, Any]] = [
    {"step": "prune", "layers": "fc*", "density": 0.5},
    {"step": "kmeans", "layers": "fc*", "bits": 3},
    {"step": "uniform", "layers": "conv*", "bits": {"conv1": 8, "else": 4}},
    {"step": "encode", "layers": "fc*", "format": "rlc", "options": {"run_bits": 3}},
    {"step": "describe", "bits": 6, "density": {"conv1": 1.0, "else": 0.5}},
]


def yaml_recipe(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# --- whole runs ---


def test_a_run_from_arrays_to_a_trace_and_back(tmp_path: Path) -> None:
    given, out = weights(), tmp_path / "t.trace"
    seen: list[tuple[int, int, str]] = []
    report = compress(network(), given, STEPS, out, progress=lambda *args: seen.append(args))
    trace = Trace.open(out)
    trace.verify()
    assert trace.content_hash == report.content_hash and report.path == str(out)
    assert trace.recipe is not None and trace.recipe[1:] == STEPS and trace.recipe[0]["recipe"] == "unnamed"
    conv = trace.operand("conv1", "filter")
    assert conv is not None and (conv.bits, conv.encoding, conv.shape) == (8, "dense", (4, 3, 3, 3))
    real = conv.values() * np.float32(conv.scale)  # type: ignore[arg-type]
    assert np.abs(real - given["conv1"]["filter"]).max() <= 0.51 * float(conv.scale)  # type: ignore[arg-type]
    fc = trace.operand("fc1", "filter")
    assert fc is not None and fc.encoding == "codebook" and fc.meta["inner"] == "rlc"
    values = fc.values()
    assert np.count_nonzero(values) == round(0.5 * values.size) and np.unique(values).size == 8
    codec = encoding("codebook")
    assert isinstance(codec, Coded)
    assert np.array_equal(codec.codes(fc.payload(), fc.meta, fc.shape, fc.bits) == 0, values == 0)
    ifmap = trace.operand("conv2", "ifmap")
    assert ifmap is not None and ifmap.generator is not None and (ifmap.bits, ifmap.signed) == (6, False)
    assert seen[-1][0] == len(report.rows) - 1 and {total for _, total, _ in seen} >= {len(report.rows)}


def test_the_report_counts_what_the_trace_holds(tmp_path: Path) -> None:
    out = tmp_path / "t.trace"
    report = compress(network(), weights(), STEPS, out)
    trace = Trace.open(out)
    for row in report.rows:
        operand = trace.operand(row.layer, row.role)
        assert operand is not None
        assert (row.bits, row.parameters) == (operand.bits, operand.elements)
        assert row.bytes_before == 4 * operand.elements
        assert row.payload_bytes == -(-operand.payload_bits // 8)
        if operand.generator is None:
            scale_bits = 32 if operand.encoding == "dense" else 0
            assert row.index_bytes == -(-(operand.index_bits + scale_bits) // 8)
            real = operand.values()
            if not operand.floating:
                real = real * np.float32(operand.scale)  # type: ignore[arg-type]
            exact = weights()[row.layer]["filter"].astype(np.float64)
            error = np.linalg.norm(real - exact) / np.linalg.norm(exact)
            assert row.relative_error == pytest.approx(error, rel=1e-6)
            assert row.sqnr_db == pytest.approx(-20 * np.log10(error), rel=1e-6)
            assert row.density == pytest.approx(np.count_nonzero(real) / real.size)
    total = report.total()
    filters = [r for r in report.rows if r.role == "filter"]
    assert total["parameters"] == sum(r.parameters for r in filters)
    assert total["ratio"] == pytest.approx(
        sum(r.bytes_before for r in filters) / sum(r.payload_bytes + r.index_bytes for r in filters)
    )
    assert total["ratio"] < total["ratio_without_index"]
    text = str(report)
    assert "given arrays" in text and "codebook/rlc" in text and text.count("\n") == len(report.rows) + 2
    assert report.to_dataframe().shape[0] == len(report.rows)


def test_the_same_run_twice_and_in_any_order_of_loading_is_the_same_file(tmp_path: Path) -> None:
    steps = [{"step": "uniform", "bits": 4, "rounding": "stochastic"}, *STEPS[4:]]
    first = compress(network(), weights(), steps, tmp_path / "a.trace")
    second = compress(network(), weights(), steps, tmp_path / "b.trace")
    assert (tmp_path / "a.trace").read_bytes() == (tmp_path / "b.trace").read_bytes()
    assert first.content_hash == second.content_hash
    other = compress(network(), weights(), steps, tmp_path / "c.trace", seed=1)
    assert other.content_hash != first.content_hash
    recipe, context = load_recipe(steps), Context()
    chain = recipe.chain(GivenWeights(network(), weights()), context)
    keys = [key for key in chain.keys() if key[1] == "filter"]
    forward = {key: chain.load(key).values for key in keys}
    backward = {key: chain.load(key).values for key in reversed(keys)}
    assert all(np.array_equal(forward[key], backward[key]) for key in keys)


def test_steps_in_any_order() -> None:
    prune, quantize = {"step": "prune", "density": 0.4}, {"step": "uniform", "bits": 8}
    one = compress(network(), weights(), [prune, quantize], None)
    other = compress(network(), weights(), [quantize, prune], None)
    assert all(row.density <= 0.41 for row in [*one.rows, *other.rows])
    assert all(row.bits == 8 for row in [*one.rows, *other.rows])
    assert one.path == "" and one.content_hash == ""


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    out = tmp_path / "t.trace"
    compress(network(), weights(), STEPS, out)
    before = out.read_bytes()
    broken = weights()
    broken["fc2"]["filter"][0, :2] = np.nan
    with pytest.raises(ConfigError, match="fc2/filter: weights must be finite, but 2 of 50 are NaN or infinite"):
        compress(network(), broken, [{"step": "uniform"}], out)
    assert out.read_bytes() == before
    with pytest.raises(ConfigError, match=r"recipe: steps\[1\]: binary: conv1/filter: is pruned"):
        compress(network(), weights(), [{"step": "prune", "density": 0.5}, {"step": "binary"}], out)
    assert out.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["t.trace"]
    with pytest.raises(ConfigError, match="cannot be written"):
        compress(network(), weights(), STEPS, tmp_path / "no" / "t.trace")


def test_a_trace_that_the_disk_cannot_hold_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage())
    with pytest.raises(ConfigError, match="cannot be written: the disk has 1 B, too little for a trace of 2,"):
        compress(network(), weights(), [{"step": "uniform"}], tmp_path / "t.trace")


class _Usage:
    free = 1


# --- sources ---


@needs_speed
def test_drawn_weights_are_named_not_numbered() -> None:
    net = load_network("lenet5")
    source = DrawnWeights(net, "laplace")
    first = source.load(("conv2", "filter")).values
    assert np.array_equal(first, DrawnWeights(net, "laplace").load(("conv2", "filter")).values)
    assert not np.array_equal(first, DrawnWeights(net, "laplace", 1).load(("conv2", "filter")).values)
    assert not np.array_equal(first[:, 0], source.load(("conv2", "filter")).values[:, 1])
    for distribution, kurtosis in (("laplace", 6.0), ("gaussian", 3.0), ("uniform", 1.8)):
        x = DrawnWeights(net, distribution).load(("fc1", "filter")).values.astype(np.float64)
        sigma = np.sqrt(2 / 800)
        assert np.std(x) == pytest.approx(sigma, rel=0.02) and abs(x.mean()) < 0.01 * sigma
        assert float((x**4).mean() / (x**2).mean() ** 2) == pytest.approx(kurtosis, rel=0.05)
        assert np.unique(x).size > 0.9 * x.size and np.count_nonzero(x) == x.size
    report = compress("lenet5", "gaussian", [{"step": "uniform"}], None)
    assert report.weights == "drawn at random (gaussian, seed 0): no trained weights"
    with pytest.raises(ConfigError, match="weights: unknown weight distribution 'laplac'; did you mean laplace"):
        compress("lenet5", "laplac", [{"step": "uniform"}], None)


def test_smooth_fills_the_gaps_of_the_table() -> None:
    magnitudes = np.array([1, -1, 2, -2048, 2048], np.int16)
    words = np.array([0, 4095, 5 + 4096, 4095, 4095], np.uint64)
    out = np.empty(5, np.float32)
    smooth(magnitudes, words, np.float32(2), out)
    assert out.tolist() == [1.0, -(2 * 4095 + 1), 2 * (4096 + 5) + 1, -(2 * 8388607 + 1), 2 * 8388607 + 1]


def test_a_chunk_of_drawn_weights_does_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelsim.compress import sources

    net = load_network("lenet5")
    whole = DrawnWeights(net).load(("conv2", "filter")).values
    monkeypatch.setattr(sources, "_CHUNK", 1000)
    assert np.array_equal(DrawnWeights(net).load(("conv2", "filter")).values, whole)


def test_a_trace_is_a_source_with_all_its_operands(tmp_path: Path) -> None:
    compress(network(), weights(), STEPS, tmp_path / "a.trace")
    report = compress(tmp_path / "a.trace", None, [{"step": "uniform", "bits": 8}], tmp_path / "b.trace")
    before, after = Trace.open(tmp_path / "a.trace"), Trace.open(tmp_path / "b.trace")
    assert [(o.layer, o.role) for o in before] == [(o.layer, o.role) for o in after]
    assert report.weights == "trace tiny, unnamed"
    row = next(r for r in report.rows if (r.layer, r.role) == ("fc1", "filter"))
    assert row.relative_error < 0.01
    ifmap = after.operand("fc2", "ifmap")
    assert ifmap is not None and ifmap.generator is not None and ifmap.bits == 6


def test_affine_operands_of_a_trace_become_numbers_again(tmp_path: Path) -> None:
    net = network()
    with TraceWriter(tmp_path / "a.trace", net, name="a") as writer:
        codes = np.arange(50, dtype=np.uint8).reshape(5, 10)
        writer.add("fc2", "filter", codes, bits=8, signed=False, scale=[0.5, 1, 1, 1, 2], zero_point=[3, 0, 0, 0, 1])
    source = compress(tmp_path / "a.trace", None, [{"step": "uniform", "bits": 16}], tmp_path / "b.trace")
    assert source.rows[0].relative_error < 1e-4
    operand = Trace.open(tmp_path / "b.trace").operand("fc2", "filter")
    assert operand is not None
    real = operand.values() * np.float32(operand.scale)  # type: ignore[arg-type]
    expected = (codes - np.array([3, 0, 0, 0, 1])[:, None]) * np.array([0.5, 1, 1, 1, 2])[:, None]
    assert np.allclose(real, expected, atol=2e-3)


def test_captured_activations_become_operands_or_calibration(tmp_path: Path) -> None:
    net, rng = network(), np.random.default_rng(0)
    captured = {
        ("conv2", "ifmap"): np.maximum(rng.standard_normal((1, 4, 8, 8)), 0).astype(np.float32),
        ("fc1", "ifmap"): rng.standard_normal((7, 216)).astype(np.float32),
    }
    steps = [{"step": "uniform"}, {"step": "uniform", "object": "A", "bits": 5}]
    report = compress(net, weights(), steps, tmp_path / "a.trace", activations=captured)
    assert [(r.layer, r.role) for r in report.rows if r.role == "ifmap"] == [("conv2", "ifmap")]
    operand = Trace.open(tmp_path / "a.trace").operand("conv2", "ifmap")
    assert operand is not None and (operand.bits, operand.signed) == (5, False)
    real = operand.values() * np.float32(operand.scale)  # type: ignore[arg-type]
    assert np.allclose(real, captured["conv2", "ifmap"], atol=0.1)
    with pytest.raises(ConfigError, match=r"fc1/ifmap: shape must be \[1, 216\], got \[7, 215\]"):
        compress(net, weights(), steps, None, activations={("fc1", "ifmap"): np.zeros((7, 215))})
    with pytest.raises(ConfigError, match="activations: unknown layer 'fc9'; did you mean"):
        compress(net, weights(), steps, None, activations={("fc9", "ifmap"): np.zeros((1, 216))})


def test_arrays_that_do_not_fit() -> None:
    for given, message in (
        ({"conv9": {"filter": np.zeros((4, 3, 3, 3))}}, "weights: unknown layer 'conv9'; did you mean conv"),
        ({"conv1": {"filter": np.zeros((4, 3, 3))}}, r"conv1/filter: shape must be \[4, 3, 3, 3\], got \[4, 3, 3\]"),
        ({"relu": {"filter": np.zeros((4, 3, 3))}}, "relu/filter: shape must be absent"),
    ):
        with pytest.raises(ConfigError, match=message):
            compress(network(), given, [{"step": "uniform"}], None)


def test_gammas_and_other_roles_of_an_importer_are_left_alone() -> None:
    given = weights()
    given["conv1"]["bias"] = np.zeros(4, np.float32)
    given["conv1"]["gamma"] = np.ones(4, np.float32)
    report = compress(network(), given, [{"step": "uniform"}], None)
    bias = next(row for row in report.rows if row.role == "bias")
    assert (bias.bits, bias.encoding) == (32, "float") and len(report.rows) == 5


def test_batch_normalisations_are_folded_first() -> None:
    nodes = [Node("image", ops.Input((1, 2, 4, 4))), Node("conv", ops.Conv(3, 1, bias=False), ("image",)),
             Node("norm", ops.Norm("batch"), ("conv",))]  # fmt: skip
    net, rng = Network("normed", nodes), np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 1, 1)).astype(np.float32)
    norm = {name: rng.random(3).astype(np.float32) + np.float32(0.5) for name in ("gamma", "beta", "mean", "variance")}
    given = {"conv": {"filter": x}, "norm": {**norm, "epsilon": np.float32(1e-5)}}
    source = GivenWeights(net, given)
    assert source.keys() == [("conv", "filter"), ("conv", "bias")]
    factor = norm["gamma"] / np.sqrt(norm["variance"] + 1e-5)
    assert np.allclose(source.load(("conv", "filter")).values, x * factor[:, None, None, None])
    assert np.allclose(source.load(("conv", "bias")).values, norm["beta"] - norm["mean"] * factor)


def test_an_onnx_model_brings_its_weights(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, arrays = onnx.helper, weights()
    made = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["y"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["z"], name="fc", transB=1),
    ]
    v = np.random.default_rng(0).standard_normal((5, 256)).astype(np.float32)
    values = [onnx.numpy_helper.from_array(arrays["conv1"]["filter"], "w"), onnx.numpy_helper.from_array(v, "v")]
    info = helper.make_tensor_value_info
    inputs, outputs = [info("x", 1, (1, 3, 8, 8))], [info("z", 1, (1, 5))]
    graph = helper.make_graph(made, "g", inputs, outputs, values)
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    report = compress(path, None, [{"step": "uniform", "bits": 8}], tmp_path / "a.trace")
    assert report.weights == "ONNX model m.onnx"
    operand = Trace.open(tmp_path / "a.trace").operand("fc", "filter")
    assert operand is not None
    assert np.allclose(operand.values() * np.float32(operand.scale), v, atol=0.02)  # type: ignore[arg-type]


# --- recipes ---


def test_recipe_errors_name_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    head = "name: r\nsteps:\n"
    for text, message in (
        ("  - {step: uniforn}\n", r"r.yaml:3:6: steps\[0\].step: unknown compression step 'uniforn'; did you"),
        ("  - {step: uniform, bit: 3}\n", r"r.yaml:3:21: steps\[0\].bit: unknown key; did you mean bits"),
        ("  - step: uniform\n    bits: 17\n", r"r.yaml:4:5: steps\[0\].bits: must be <= 16, got 17$"),
        ("  - step: uniform\n    bits: {fc: 17}\n", r"^[^\n]*steps\[0\].bits.fc: must be <= 16, got 17$"),
        ("  - step: uniform\n    bits: four\n", r"bits: must be an integer, got 'four'\n.*must be a mapping"),
        ("  - step: uniform\n    clip: never\n", r"r.yaml:4:5: steps\[0\].clip: must be one of 'none', 'percentile'"),
        ("  - uniform\n", r"r.yaml:3:5: steps\[0\]: must be a mapping, got 'uniform'"),
        ("  - {bits: 3}\n", r"must be a mapping with a key `step`"),
        ("  - step: float\n", r"r.yaml:3:5: steps\[0\]: key 'format' is required but missing"),
        ("  - {step: uniform, object: X}\n", r"steps\[0\].object: must be one of 'W', 'A'"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_recipe(yaml_recipe(file, head + text))
    with pytest.raises(ConfigError, match=r"r.yaml:3:5: steps\[0\]: layers 'conv9' matches no layer; did you mean"):
        compress(network(), weights(), yaml_recipe(file, head + "  - {step: uniform, layers: conv9}\n"), None)
    with pytest.raises(ConfigError, match=r"r.yaml:4:5: steps\[1\].bits: must say something about layer 'conv1'"):
        text = head + "  - {step: uniform}\n  - {step: kmeans, bits: {conv2: 3}}\n"
        compress(network(), weights(), yaml_recipe(file, text), None)
    with pytest.raises(ConfigError, match="r.yaml: must have `steps` or `networks`"):
        load_recipe(yaml_recipe(file, "name: r\n"))


def test_a_file_may_be_a_list_of_steps(tmp_path: Path) -> None:
    file = yaml_recipe(tmp_path / "mine.yaml", "- {step: prune, density: 0.5}\n- {step: uniform, bits: 3}\n")
    recipe = load_recipe(file)
    assert recipe.name == "mine"
    assert {row.bits for row in compress(network(), weights(), recipe, None).rows} == {3}
    yaml_recipe(file, "- {step: prune, density: 0.5}\n- {step: uniform, bits: 40}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:2:\d+: steps\[1\].bits: must be <= 16, got 40"):
        load_recipe(file)


def test_a_recipe_for_several_networks() -> None:
    steps = {"tiny": {"steps": [{"step": "uniform", "bits": 3}]}, "other": {"steps": [{"step": "uniform", "bits": 5}]}}
    recipe = load_recipe({"name": "r", "networks": steps})
    assert {row.bits for row in compress(network(), weights(), recipe, None).rows} == {3}
    both = load_recipe({"name": "r", "networks": {"other": steps["other"]}, "steps": [{"step": "uniform", "bits": 7}]})
    assert {row.bits for row in compress(network(), weights(), both, None).rows} == {7}
    with pytest.raises(ConfigError, match="unknown network for this recipe 'tiny'; did you mean tini"):
        compress(network(), weights(), {"name": "r", "networks": {"tini": steps["tiny"]}}, None)


def test_unknown_recipes_offer_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'deep_compresion'; did you mean deep_compression"):
        find_recipe("deep_compresion")
    with pytest.raises(ConfigError, match="there is no such recipe file"):
        find_recipe("nowhere/r.yaml")


# --- described operands ---


def test_describe_shares_tensors_between_writer_and_reader(tmp_path: Path) -> None:
    compress(network(), weights(), [{"step": "uniform"}, STEPS[4]], tmp_path / "a.trace")
    trace = Trace.open(tmp_path / "a.trace")
    written, read = trace.operand("conv1", "ofmap"), trace.operand("conv2", "ifmap")
    assert written is not None and read is not None
    assert np.array_equal(written.values(), read.values())
    assert abs(read.density - 0.5) < 1e-9
    image = trace.operand("conv1", "ifmap")
    assert image is not None and image.density == 1.0 and image.signed


def test_describe_training_operands_and_existing_ones() -> None:
    steps: list[dict[str, Any]] = [{"step": "uniform"}, {"step": "describe", "object": "E", "bits": 8}]
    steps.append({"step": "describe", "object": "U", "bits": 1})
    report = compress(network(), weights(), steps, None)
    assert {row.role for row in report.rows} == {"filter", "error", "update"}
    again = [*steps, {"step": "describe", "object": "E"}]
    with pytest.raises(ConfigError, match=r"steps\[3\]: conv1/error is there already \(say only_missing: true\)"):
        compress(network(), weights(), again, None)
    again[-1]["only_missing"] = True
    assert len(compress(network(), weights(), again, None).rows) == len(report.rows)


@needs_speed
def test_profiled_widths_of_a_network() -> None:
    steps = [{"step": "describe", "bits": 16}, {"step": "profiled", "roles": ["ifmap"]}]
    rows = {(r.layer, r.role): r for r in compress("lenet5", None, steps, None).rows}
    assert [rows[name, "ifmap"].bits for name in ("conv1", "conv2", "fc1")] == [3, 3, 16]
    assert rows["fc1", "ifmap"].notes == "no profiled width, left as it is"
    with pytest.raises(ConfigError, match="unknown network with profiled activation widths 'tiny'"):
        compress(network(), weights(), steps, None)
    with pytest.raises(ConfigError, match="none of the chosen layers has a profiled activation width"):
        compress("lenet5", None, [steps[0], {**steps[1], "layers": "fc*"}], None)


# --- shipped recipes ---


def test_every_shipped_recipe_has_a_source_and_known_steps() -> None:
    assert [name for name, _, source in describe_recipes() if source] == list_recipes()
    for name in list_recipes():
        assert load_recipe(name).name == name


@needs_speed
@pytest.mark.parametrize("name", [n for n in list_recipes() if n not in ("eie", "loom")])
def test_shipped_recipes_run(name: str, tmp_path: Path) -> None:
    networks = [n for n in load_recipe(name)._variants if n]
    chosen = "lenet5" if not networks or "lenet5" in networks else networks[0]
    if chosen in ("alexnet", "vgg16"):
        pytest.skip("needs a large network; see the benchmark")
    report = compress(chosen, None, name, tmp_path / "a.trace")
    assert report.total()["ratio"] > 1.9
    Trace.open(tmp_path / "a.trace").verify()


@needs_speed
@pytest.mark.parametrize(
    ("network_name", "recipe", "published"),
    [
        ("lenet_300_100", "deep_compression", 32),
        ("lenet_300_100", "deep_compression_huffman", 40),
        ("lenet5", "deep_compression", 33),
        ("lenet5", "deep_compression_huffman", 39),
    ],
)
def test_deep_compression_table_1_ratios(network_name: str, recipe: str, published: int) -> None:
    """Han et al. 2016, tables 1 to 3: ratios without and with Huffman coding.

    Ours are drawn weights, not trained ones: the shapes of the distributions move the last few per cent.
    """
    report = compress(network_name, None, recipe, None)
    assert report.total()["ratio"] == pytest.approx(published, rel=0.06)
