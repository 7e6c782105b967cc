"""Every shipped network against the counts that papers and reference implementations print."""

from __future__ import annotations

import csv
import functools
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import pytest

from accelsim.base.paths import shipped_dir
from accelsim.workload import ops
from accelsim.workload.load import list_networks
from accelsim.workload.load import load_network as load_afresh
from accelsim.workload.netfile import read_header
from accelsim.workload.network import Network
from accelsim.workload.published import Figure
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape
from tests.references import reference

WANTED = """
lenet_300_100 lenet5 alexnet alexnet_single vgg16 vgg19 googlenet inception_v3 resnet18 resnet34 resnet50 resnet152
densenet40 densenet121 mobilenet_v1 mobilenet_v2 shufflenet_v1 squeezenet squeezenet1_1 xception resnext50
efficientnet_lite0 lstm_ptb_300 lstm_ptb_650 lstm_ptb_1500 gru_ptb deepspeech2 recurrent_units
bert_base vit_b16 gpt2_prefill gpt2_decode
lenet_digits lstm_digits hybrid_snn
bitfusion_alexnet bitfusion_svhn bitfusion_cifar10 bitfusion_lenet5 bitfusion_vgg7 bitfusion_resnet18 bitfusion_rnn
bitfusion_lstm
""".split()

load_network = functools.cache(load_afresh)
FIGURES = [
    pytest.param(name, figure, id=f"{name}-{figure.what}-{figure.text.split(' + ')[0]}")
    for name in list_networks()
    for figure in read_header(shipped_dir("workloads") / f"{name}.yaml").published
]


def test_all_are_here() -> None:
    assert sorted(WANTED) == list_networks()


@pytest.mark.parametrize(("name", "figure"), FIGURES)
def test_published_counts(name: str, figure: Figure) -> None:
    count = figure.ours(load_network(name))
    if figure.differs:
        assert not figure.agrees(count), f"{figure.text} is our count: the reason why it differs can go"
    else:
        assert figure.agrees(count), f"{figure.what} {count}, published {figure.text} ({figure.error(count):+.2%})"


@pytest.mark.parametrize("name", list_networks())
def test_the_file_is_complete(name: str) -> None:
    header = read_header(shipped_dir("workloads") / f"{name}.yaml")
    assert header.name == name and len(header.source) > 40
    assert header.parameters and header.macs
    for what in ("parameters", "macs"):
        assert any(f.what == what and not f.differs for f in header.published), f"no published count of {what}"
    assert all(len(figure.source) > 8 for figure in header.published)


@pytest.mark.parametrize("name", list_networks())
def test_one_result_and_no_dead_ends(name: str) -> None:
    net = load_network(name)
    assert [layer.name for layer in net if not net.consumers[layer.name]] == [net.layers[-1].name]
    assert set(net.last_use) == {layer.name for layer in net}


@pytest.mark.parametrize("name", list_networks())
def test_a_larger_batch(name: str) -> None:
    one, four = load_network(name), load_network(name, batch=4)
    assert four.batch == 4 and four.macs == 4 * one.macs and four.params == one.params
    assert four.layers[-1].out_shape == (4, *one.layers[-1].out_shape[1:])


@pytest.mark.parametrize("name", list_networks())
def test_macs_are_those_of_the_gemms(name: str) -> None:
    for layer in load_network(name):
        if isinstance(layer.work, ConvShape):
            assert (
                layer.macs == layer.work.to_gemm().macs == prod(layer.out_shape) * prod(layer.weights["filter"][1:])
            )
        elif isinstance(layer.work, GemmShape) and layer.weights:
            assert layer.macs == prod(layer.out_shape) * layer.weights["filter"][1]
        elif isinstance(layer.work, RecurrentShape):
            assert layer.macs == sum(map(prod, layer.weights.values())) * layer.work.batch * layer.work.steps


# --- the same networks as graphs of another project: the weightless ones that the onnx package ships ---


def onnx_layers(name: str) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """(filter, output, groups) of each convolution and matrix of a graph, read without our importer."""
    onnx = pytest.importorskip("onnx")
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip(f"this version of onnx does not ship {path.name}")
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    shapes: dict[str, tuple[int, ...]] = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            groups: Any = {a.name: a.i for a in node.attribute}.get("group", 1)
            found.append((shapes[node.input[1]], shapes[node.output[0]], int(groups)))
    return found


def our_layers(net: Network) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    return [
        (layer.weights["filter"], layer.out_shape, layer.op.groups if isinstance(layer.op, ops.Conv) else 1)
        for layer in net
        if layer.weights
    ]


@pytest.mark.parametrize(
    ("name", "graph"),
    [
        ("vgg19", "vgg19"),
        ("resnet50", "resnet50"),
        ("densenet121", "densenet121"),
        ("squeezenet1_1", "squeezenet"),
    ],
)
def test_same_layers_as_onnx(name: str, graph: str) -> None:
    theirs = Counter(onnx_layers(graph))
    if name == "densenet121":  # its classifier is a 1 x 1 convolution there
        theirs = Counter({(f[:2], o[:2], g) if f[0] == 1000 else (f, o, g): n for (f, o, g), n in theirs.items()})
    assert Counter(our_layers(load_network(name))) == theirs


@pytest.mark.parametrize(("name", "graph"), [("alexnet", "bvlc_alexnet"), ("googlenet", "inception_v1")])
def test_same_filters_as_onnx(name: str, graph: str) -> None:
    # the sizes of images differ there: poolings round down, and AlexNet reads 224 x 224
    theirs = Counter((shape, groups) for shape, _, groups in onnx_layers(graph))
    assert Counter((shape, groups) for shape, _, groups in our_layers(load_network(name))) == theirs


# --- single networks ---


@pytest.mark.parametrize(
    ("name", "paper_name"), [("alexnet", "AlexNet"), ("vgg16", "VGG-16"), ("googlenet", "GoogLeNet")]
)
def test_layers_are_named_as_in_published_tables(name: str, paper_name: str) -> None:
    net = load_network(name)
    with reference("published/densities_precisions.csv").open(encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["network"] == paper_name and row["quantity"] == "weight_density"
        ]
    layers = {row["layer"].replace("/", ".") for row in rows if row["layer"].startswith(("conv", "fc", "inception_"))}
    assert len(layers) >= 5
    assert layers <= {layer.name for layer in net if layer.weights}


def test_depthwise_layers_have_one_channel_for_each_group() -> None:
    for name, count in (("mobilenet_v1", 13), ("mobilenet_v2", 17), ("shufflenet_v1", 16), ("xception", 34)):
        shapes = [layer.work for layer in load_network(name) if isinstance(layer.work, ConvShape)]
        assert sum(shape.depthwise for shape in shapes) == count, name


def test_one_step_of_decoding_reads_the_whole_cache() -> None:
    step = load_afresh("gpt2_decode", variables={"past": 255})
    assert step["decoder.0.all_k"].out_shape == (1, 12, 256, 64)
    assert step["decoder.0.scores"].work == GemmShape(1, 256, 64, 12)
    assert step["decoder.0.weighted"].work == GemmShape(1, 64, 256, 12)
    # all layers but attention do for one token what the prompt does for each
    prompt = load_afresh("gpt2_prefill", variables={"tokens": 256})
    for name in ("decoder.3.qkv", "decoder.3.mlp1", "output"):
        assert prompt[name].macs == 256 * step[name].macs and prompt[name].params == step[name].params
    assert prompt.params == step.params


def test_recurrent_layers_depend_on_each_other_in_time() -> None:
    work = load_network("lstm_ptb_1500")["lstm2"].work
    assert isinstance(work, RecurrentShape)
    assert work.steps == 35 and work.step_gemms["recurrent"] == GemmShape(1, 6000, 1500)


def test_attention_is_written_as_its_matmuls() -> None:
    bert = load_network("bert_base")
    assert bert["encoder.11.scores"].work == GemmShape(128, 128, 64, 12)
    assert bert["encoder.11.weighted"].work == GemmShape(128, 64, 128, 12)
    assert sum(layer.kind == "matmul" for layer in bert) == 24
    assert bert["encoder.0.add1"].inputs == ("encoder.0.attention_out", "embedding_norm")


def test_residual_adds_and_concatenations_keep_their_inputs_alive() -> None:
    resnet = load_network("resnet50")
    index = {layer.name: i for i, layer in enumerate(resnet)}
    assert resnet.last_use["layer1.block.0.relu3"] == index["layer1.block.1.add"]
    densenet = load_network("densenet121")
    index = {layer.name: i for i, layer in enumerate(densenet)}
    # a concatenation moves nothing: what it joins lives until the transition has normalised it
    assert densenet.last_use["block1.0.conv2"] == index["transition1.norm"]
