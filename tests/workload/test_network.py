"""Graphs: order, faults, liveness; and the operators that are neither convolutions nor poolings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.workload import ops
from accelsim.workload.network import Layer, Network, Node
from accelsim.workload.shapes import GemmShape, VectorShape

quick = settings(deadline=None, derandomize=True, max_examples=100)
X = Node("x", ops.Input((1, 4, 6, 6)))


def residual() -> Network:
    nodes = [
        X,
        Node("a", ops.Conv(4, 3, pad=1), ("x",)),
        Node("bn", ops.Norm(), ("a",)),
        Node("relu", ops.Activation(), ("bn",)),
        Node("b", ops.Conv(8, 3, pad=1), ("relu",)),
        Node("cat", ops.Concat(), ("x", "b")),
        Node("flat", ops.Reshape(), ("cat",)),
        Node("fc", ops.Linear(10), ("flat",)),
    ]
    return Network("residual", nodes, "by hand")


def test_shapes_follow_the_graph() -> None:
    net = residual()
    assert [layer.out_shape for layer in net] == [
        (1, 4, 6, 6),
        (1, 4, 6, 6),
        (1, 4, 6, 6),
        (1, 4, 6, 6),
        (1, 8, 6, 6),
        (1, 12, 6, 6),
        (1, 432),
        (1, 10),
    ]
    assert net["cat"].in_shapes == ((1, 4, 6, 6), (1, 8, 6, 6))
    assert [layer.name for layer in net if layer.is_compute] == ["a", "b", "fc"]
    assert net.params == (4 * 36 + 4) + 8 + (8 * 36 + 8) + (432 * 10 + 10)
    assert net.macs == 36 * 4 * 36 + 36 * 8 * 36 + 4320
    assert net.consumers["x"] == ("a", "cat") and net.consumers["fc"] == ()
    assert len(net) == 8 and "bn" in net and "nothing" not in net
    assert "8 layers" in repr(net)


def test_liveness_passes_through_views() -> None:
    net = residual()
    # x is read by a, and through cat and flat, which are views, by fc
    assert net.last_use == {"x": 7, "a": 3, "bn": 3, "relu": 4, "b": 7, "cat": 7, "flat": 7, "fc": 8}


def test_a_result_lives_to_the_end_through_views_too() -> None:
    nodes = [
        X,
        Node("a", ops.Activation(), ("x",)),
        Node("t", ops.Transpose((0, 2, 3, 1)), ("a",)),
        Node("b", ops.Activation(), ("x",)),
    ]
    assert Network("n", nodes).last_use == {"x": 3, "a": 4, "t": 4, "b": 4}


def needed(net: Network, name: str) -> set[int]:
    """Indices at which somebody needs the data of `name`: naive twin of `last_use`."""
    places = {layer.name: i for i, layer in enumerate(net)}
    readers = [layer for layer in net if name in layer.inputs]
    found = {places[name]} if readers else {places[name], len(net)}
    for reader in readers:
        found.add(places[reader.name])
        if reader.work is None:
            found |= needed(net, reader.name)
    return found


@st.composite
def graphs(draw: st.DrawFn) -> Network:
    nodes = [X]
    for i in range(draw(st.integers(1, 9))):
        first = draw(st.integers(0, len(nodes) - 1))
        second = draw(st.integers(0, len(nodes) - 1))
        op, ins = draw(
            st.sampled_from(
                [
                    (ops.Activation(), (first,)),
                    (ops.Norm(), (first,)),
                    (ops.Eltwise(), (first, second)),
                    (ops.Norm(folded=False), (first,)),
                    (ops.Transpose((0, 1, 3, 2)), (first,)),
                ]
            )
        )
        nodes.append(Node(f"n{i}", op, tuple(nodes[j].name for j in ins)))
    return Network("random", nodes)


@quick
@given(net=graphs())
def test_liveness_agrees_with_its_naive_twin(net: Network) -> None:
    assert net.last_use == {layer.name: max(needed(net, layer.name)) for layer in net}


@quick
@given(net=graphs(), data=st.data())
def test_order_of_the_nodes_does_not_matter(net: Network, data: st.DataObject) -> None:
    shuffled = Network("random", data.draw(st.permutations(net.nodes)))
    places = {layer.name: i for i, layer in enumerate(shuffled)}
    assert all(places[name] < places[layer.name] for layer in shuffled for name in layer.inputs)
    assert {layer.name: layer for layer in shuffled} == {layer.name: layer for layer in net}


def test_a_valid_order_is_kept() -> None:
    net = residual()
    assert [layer.name for layer in net] == ["x", "a", "bn", "relu", "b", "cat", "flat", "fc"]


def test_batch() -> None:
    net = residual()
    three = net.with_batch(3)
    assert (net.batch, three.batch) == (1, 3)
    assert three.macs == 3 * net.macs and three.params == net.params
    assert three["cat"].out_shape == (3, 12, 6, 6) and three.source == net.source


def test_deep_networks_do_not_recurse() -> None:
    nodes = [X] + [Node(f"n{i}", ops.Activation(), (f"n{i - 1}" if i else "x",)) for i in range(5000)]
    net = Network("deep", reversed(nodes))
    assert net.layers[-1].name == "n4999" and net.last_use["n0"] == 2


def a(name: str, *inputs: str) -> Node:
    return Node(name, ops.Activation(), inputs)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([X, a("a", "x"), a("a", "x")], "n: layer name 'a' is used twice"),
        ([X, a("a", "y")], "n: a: unknown input 'y'"),
        ([X, a("conv1", "x"), a("b", "conv")], "unknown input 'conv'; did you mean conv1"),
        ([X, a("a", "b"), a("b", "c"), a("c", "a")], "layers form a cycle through 'a'"),
        ([X, a("a", "a")], "layers form a cycle through 'a'"),
        ([], "n: a network needs at least one layer"),
        ([X, a("a")], "n: a: activation needs 1 inputs, got 0"),
        ([X, Node("m", ops.Matmul(), ("x",))], "n: m: matmul needs 2 inputs, got 1"),
        ([X, Node("c", ops.Conv(4, 9), ("x",))], "n: c: ConvShape: the filter .9x9"),
        ([X, Node("c", ops.Conv(4, 9), ("x",), "net.yaml:7:5")], "^net.yaml:7:5: ConvShape: the filter"),
        ([Node("x", ops.Input((2**40, 2**40)))], "number of output elements overflows 63 bits"),
        ([X, Node("r", ops.Recurrent("lstm", 4), ("x",))], "recurrent needs an .N, T, features. input"),
        (
            [Node("x", ops.Input((2, 3))), Node("p", ops.Pool(), ("x",))],
            "pool needs an .N, C, H, W. input, got .2, 3.",
        ),
    ],
)
def test_faults_name_the_node(nodes: list[Node], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Network("n", nodes)


def test_unknown_layer() -> None:
    with pytest.raises(ConfigError, match="residual: unknown layer 'fcc'; did you mean fc"):
        residual()["fcc"]


# --- operators, one by one ---


def layer(op: ops.Op, *shapes: tuple[int, ...]) -> Layer:
    nodes = [Node(f"i{k}", ops.Input(shape)) for k, shape in enumerate(shapes)]
    return Network("one", [*nodes, Node("op", op, tuple(n.name for n in nodes))])["op"]


dims = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@quick
@given(shape=dims, keep=st.lists(st.booleans(), min_size=4, max_size=4), drop=st.integers(0, 3))
def test_broadcast_is_numpys(shape: tuple[int, ...], keep: list[bool], drop: int) -> None:
    other = tuple(d if k else 1 for d, k in zip(shape, keep, strict=False))[min(drop, len(shape) - 1) :]
    added = layer(ops.Eltwise(), shape, other)
    assert added.out_shape == (np.zeros(shape) + np.zeros(other)).shape
    assert added.work == VectorShape(np.zeros(shape).size + np.zeros(other).size, np.zeros(shape).size, 1)


def test_eltwise_of_three_needs_two_operations_for_each_result() -> None:
    assert layer(ops.Eltwise("mul"), (2, 3), (2, 3), (1, 3)).work == VectorShape(15, 6, 2)


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (ops.Eltwise(), [(2, 3), (2, 4)], "do not broadcast: .2, 3., .2, 4."),
        (ops.Concat(2), [(1, 2, 3), (1, 3, 3)], "concat inputs differ outside axis 2"),
        (ops.Concat(), [(1, 2), (1, 2, 3)], "concat inputs differ|do not fit"),
        (ops.Concat(3), [(1, 2, 3)], "no axis 3"),
        (ops.Slice(1, 2, 5), [(1, 4)], "slice 2:5 is outside axis 1"),
        (ops.Reshape((0, 5)), [(2, 4)], "changes the number of elements"),
        (ops.Reshape((3, -1)), [(2, 4)], "changes the number of elements"),
        (ops.Transpose((0, 0, 1)), [(1, 2, 3)], "no permutation"),
        (ops.Matmul(), [(2, 3, 4), (2, 5, 6)], "matmul operands do not fit"),
        (ops.Matmul(), [(2, 3, 4), (3, 4, 6)], "matmul operands do not fit"),
        (ops.Expand(), [(2, 3), (4, 3)], "expand needs size 1 along axis 0"),
    ],
)
def test_inputs_that_do_not_fit(op: ops.Op, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=f"one: op: .*({message})"):
        layer(op, *shapes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.Conv(0), "conv: channels must be an integer >= 1, got 0"),
        (lambda: ops.Conv(True), "conv: channels must be an integer >= 1, got True"),
        (
            lambda: ops.Conv(4, (3, 0)),
            r"conv: kernel must be an integer >= 1 or a list of 2 integers >= 1, got \(3, 0\)",
        ),
        (
            lambda: ops.Conv(4, pad="full"),
            'pad must be an integer >= 0, one of "same", "valid", a list of 2 integers >= 0 or a list of 4',
        ),
        (lambda: ops.Conv(4, pad=(1, 2, 3)), r"pad must be .*, got \(1, 2, 3\)"),
        (lambda: ops.Conv(4, bias=1), "bias must be true or false, got 1"),
        (lambda: ops.Pool("mean"), 'pool: mode must be one of "max", "avg", got \'mean\''),
        (lambda: ops.Pool(kernel="all"), 'kernel must be an integer >= 1, "global" or a list of 2'),
        (lambda: ops.Activation("swish"), "activation: mode must be one of \"relu\", .*, got 'swish'"),
        (lambda: ops.Norm("batchnorm"), 'norm: mode must be one of "batch", "layer"'),
        (lambda: ops.Recurrent("ran", 3), 'recurrent: cell must be one of "lstm", "lstm_peephole", .*, got \'ran\''),
        (lambda: ops.Input(()), None),
        (lambda: ops.Input((1, -3)), "input: shape must be a list of at most 16 integers >= 1"),
        (lambda: ops.Input((1,) * 17), "at most 16 integers"),
    ],
)
def test_fields_of_operators_are_checked(make: Any, message: str | None) -> None:
    if message is None:
        with pytest.raises(ConfigError, match="output shape .. has a dimension below 1"):
            Network("n", [Node("x", make())])
        return
    with pytest.raises(ConfigError, match=message):
        make()


def test_linear_and_matmul_are_gemms() -> None:
    linear = layer(ops.Linear(7), (2, 5, 3))
    assert linear.out_shape == (2, 5, 7) and linear.work == GemmShape(10, 7, 3)
    assert linear.params == 7 * 4 and linear.weights == {"filter": (7, 3)}
    product = layer(ops.Matmul(), (2, 4, 5, 3), (2, 4, 3, 6))
    assert product.out_shape == (2, 4, 5, 6) and product.work == GemmShape(5, 6, 3, 8)
    assert product.params == 0 and product.weights == {}
    assert layer(ops.Matmul(transpose_b=True), (2, 4, 5, 3), (2, 4, 6, 3)).work == GemmShape(5, 6, 3, 8)


def test_a_tied_filter_is_moved_but_not_counted_again() -> None:
    tied = layer(ops.Linear(7, bias=False, tied=True), (2, 3))
    assert tied.params == 0 and tied.weights == {"filter": (7, 3)} and tied.macs == 42
    assert layer(ops.Linear(7, tied=True), (2, 3)).params == 7


def test_views_have_no_work() -> None:
    assert layer(ops.Concat(), (1, 2, 3), (1, 5, 3)).out_shape == (1, 7, 3)
    assert layer(ops.Concat(-1), (1, 2, 3), (1, 2, 4)).out_shape == (1, 2, 7)
    assert layer(ops.Slice(-1, 1, 3), (2, 5)).out_shape == (2, 2)
    assert layer(ops.Reshape((0, 2, -1)), (3, 4, 5)).out_shape == (3, 2, 10)
    assert layer(ops.Reshape(), (3, 4, 5)).out_shape == (3, 20)
    assert layer(ops.Transpose((2, 0, 1)), (3, 4, 5)).out_shape == (5, 3, 4)
    assert layer(ops.Expand(), (1, 1, 8), (6, 9, 8)).out_shape == (6, 1, 8)
    assert layer(ops.Expand(-2), (4, 1, 8), (6, 9, 3)).out_shape == (4, 9, 8)
    for op in (ops.Concat(), ops.Slice(1, 0, 1), ops.Reshape(), ops.Norm()):
        assert layer(op, (1, 4, 3, 3)).work is None


def test_normalisations() -> None:
    image, tokens = (2, 6, 3, 3), (2, 9, 8)
    assert layer(ops.Norm(), image).params == 12
    assert layer(ops.Norm(affine=False), image).params == 0
    assert layer(ops.Norm(folded=False), image).work == VectorShape(108, 108, 2)
    assert layer(ops.Norm("layer"), tokens).params == 16
    assert layer(ops.Norm("layer"), tokens).work == VectorShape(144, 144, 5)
    local = layer(ops.Norm("local", size=5), image)
    assert local.params == 0 and local.work == VectorShape(108, 108, 7)


def test_embedding_and_parameter() -> None:
    table = layer(ops.Embedding(100, 8), (2, 5))
    assert table.out_shape == (2, 5, 8) and table.params == 800 and table.macs == 0
    token = Network("n", [Node("t", ops.Parameter((1, 1, 8)))])["t"]
    assert token.params == 8 and token.work is None


def test_activation_with_slopes_and_softmax() -> None:
    assert layer(ops.Activation("prelu", slopes=6), (2, 6, 3, 3)).params == 6
    assert layer(ops.Softmax(), (2, 10)).work == VectorShape(20, 20, 4)
    assert layer(ops.Upsample((2, 3)), (1, 4, 5, 6)).out_shape == (1, 4, 10, 18)
