"""Compact models: the figures of Tables 2 and 3 of the survey, fits that are exact where they can be, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accelsim
from accelsim.base.errors import ConfigError
from accelsim.compress import compress
from accelsim.compress.base import STEPS, Context
from accelsim.compress.compact import compact
from accelsim.compress.compact.rewrite import CompactStep, pads_of
from accelsim.compress.recipe import load_recipe
from accelsim.compress.sources import GivenWeights
from accelsim.workload import ops
from accelsim.workload.forward import forward
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops_windows import Shift
from accelsim.workload.trace import Trace
from tests.compress.helpers import needs_speed

METHODS = [
    "stack_3x3", "stack_2x2", "asymmetric", "shift", "bottleneck", "group_conv", "depthwise_separable",
    "inverted_residual",
]  # fmt: skip


def one_conv(c: int, m: int, kernel: Any, *, size: int = 12, pad: Any = "same", **fields: Any) -> Network:
    conv = ops.Conv(m, kernel, pad=pad, **{"bias": False, **fields})
    nodes = [Node("x", ops.Input((1, c, size, size))), Node("conv", conv, ("x",))]
    return Network("one", [*nodes, Node("act", ops.Activation(), ("conv",))])


def test_every_method_is_here() -> None:
    assert {n for n in STEPS.names() if issubclass(STEPS.lookup(n), CompactStep)} == set(METHODS)


# --- Table 2: kernels with the same receptive field, for one input and one output feature map ---

TABLE_2 = [
    # kernel, method, parameters as printed, normalised to two C3x3
    ("C5x5", None, 25, 1.39),
    ("C3x3", "stack_3x3", 18, 1.00),
    ("C2x2", "stack_2x2", 16, 0.89),
    ("Asymmetric", "asymmetric", 10, 0.56),
    ("Shift", "shift", 1, 0.06),
]


@pytest.mark.parametrize(("kind", "method", "parameters", "normalised"), TABLE_2)
def test_table_2(kind: str, method: str | None, parameters: int, normalised: float) -> None:
    for n in (1, 8):
        network = one_conv(n, n, 5)
        found = compact(network, method, "conv") if method else network
        assert found.params == parameters * n * n
        assert round(found.params / (18 * n * n), 2) == normalised
        if kind != "C2x2":  # their feature maps in between are larger by the padding that others have at once
            assert found.macs == found.params * 12 * 12  # "#parameters is proportional to #MACs"


def test_table_2_saving_of_two_c3x3_and_of_two_c2x2() -> None:
    five, three = one_conv(4, 4, 5), one_conv(4, 4, 3)
    assert 1 - compact(five, "stack_3x3").params / five.params == pytest.approx(0.28)  # "28% fewer parameters"
    assert round(1 - compact(three, "stack_2x2").params / three.params, 2) == 0.11  # "only 11% saving"


def test_table_2_factorisations() -> None:
    kernels = {}
    for method in ("stack_3x3", "stack_2x2", "asymmetric", "shift"):
        net = compact(one_conv(4, 4, 5), method)
        kernels[method] = [(la.work.r, la.work.s) for la in net if la.kind == "conv"]  # type: ignore[union-attr]
    assert kernels["stack_3x3"] == [(3, 3)] * 2 and kernels["stack_2x2"] == [(2, 2)] * 4
    assert kernels["asymmetric"] == [(5, 1), (1, 5)] and kernels["shift"] == [(1, 1)]


# --- Table 3: 128 feature maps in, 128 out ---

TABLE_3: list[tuple[str, str | None, dict[str, Any], int, int, float, int]] = [
    # method, options, kernel, parameters, normalised, share of C1x1 in percent
    ("Standard", None, {}, 3, 147456, 100, 0),
    ("Group", "group_conv", {"groups": 4}, 3, 36864, 25, 0),
    ("Bottleneck", "bottleneck", {"reduction": 4}, 3, 17408, 11.8, 47),
    ("Depthwise", "depthwise_separable", {}, 3, 17536, 11.9, 93),
    ("Shift", "shift", {}, 5, 16384, 11.1, 100),
]


@pytest.mark.parametrize(("kind", "method", "options", "kernel", "parameters", "normalised", "pointwise"), TABLE_3)
def test_table_3(
    kind: str, method: str | None, options: dict[str, Any], kernel: int, parameters: int, normalised: float,
    pointwise: int,
) -> None:  # fmt: skip
    network = one_conv(128, 128, kernel)
    found = compact(network, method, **options) if method else network
    assert found.params == parameters
    assert round(100 * found.params / 147456, 1) == normalised
    ones = sum(la.params for la in found if isinstance(la.op, ops.Conv) and la.op.kernel in (1, (1, 1)))
    assert round(100 * ones / found.params) == pointwise
    assert found.macs == parameters * 12 * 12


def test_formulas_for_any_channels() -> None:
    for c, m, k in ((6, 12, 3), (12, 6, 5), (24, 24, 7)):
        net = one_conv(c, m, k)
        assert compact(net, "asymmetric", width=m).params == m * c * k + m * m * k
        assert compact(net, "depthwise_separable").params == c * k * k + c * m
        assert compact(net, "group_conv", groups=3).params == c * m * k * k // 3
        width = min(c, m) // 2
        assert compact(net, "bottleneck", reduction=2).params == c * width + width * width * k * k + width * m
        assert compact(net, "inverted_residual", expansion=4).params == 4 * c * c + 4 * c * k * k + 4 * c * m
        assert compact(net, "shift").params == c * m


def test_mobilenet_block_is_an_inverted_residual() -> None:
    # the last block of mobilenet_v2 of 160 channels: 6 times as many inside
    net = compact(one_conv(160, 160, 3, size=7), "inverted_residual")
    block = [la for la in load_network("mobilenet_v2") if la.kind == "conv" and la.in_shapes[0][1:] == (160, 7, 7)][0]
    assert net["conv.expand"].weights == block.weights
    assert [la.name for la in net] == [
        "x", "conv.expand", "conv.expand_relu6", "conv.depthwise", "conv.depthwise_relu6", "conv.project", "conv.add",
        "act",
    ]  # fmt: skip
    assert net["conv.add"].inputs == ("conv.project", "x") and net["act"].inputs == ("conv.add",)


# --- shapes ---


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.sampled_from(METHODS), st.sampled_from([3, 5, 7]), st.integers(1, 3), st.sampled_from(["same", "valid", "half"]),
    st.integers(8, 15), st.sampled_from([4, 8]), st.sampled_from([4, 12]),
)  # fmt: skip
def test_the_output_keeps_its_shape(method: str, kernel: int, stride: int, pad: str, size: int, c: int, m: int) -> None:
    network = one_conv(c, m, kernel, size=size, stride=stride, pad=kernel // 2 if pad == "half" else pad)
    try:
        found = compact(network, method, "conv")
    except ConfigError as error:
        assert method == "shift" or (method == "stack_3x3" and kernel == 3), error
        return
    assert found["act"].out_shape == network["act"].out_shape


def test_padding_of_a_chain() -> None:
    assert pads_of((2, 2, 2, 2), [(3, 3)] * 2) == [(1, 1, 1, 1)] * 2
    assert pads_of((1, 1, 1, 1), [(2, 2)] * 2) == [(1, 1, 0, 0), (0, 0, 1, 1)]
    assert pads_of((0, 0, 1, 1), [(2, 2)] * 2) == [(0, 0, 1, 1), (0, 0, 0, 0)]
    assert pads_of((4, 0, 0, 0), [(3, 3)] * 2) == [(2, 0, 0, 0), (2, 0, 0, 0)]
    assert pads_of((5, 0, 0, 0), [(3, 3)] * 2) == [(3, 0, 0, 0), (2, 0, 0, 0)]


# --- weights ---


def fitted(network: Network, filters: Any, method: str, **options: Any) -> tuple[Network, dict[str, Any], str]:
    given_ = {"conv": {"filter": filters}}
    if network["conv"].op.bias:  # type: ignore[attr-defined]
        given_["conv"]["bias"] = np.arange(filters.shape[0], dtype=np.float32)
    step = {"step": method, "layers": "conv", **options}
    chain = load_recipe([step]).chain(GivenWeights(network, given_), Context())
    found: dict[str, dict[str, Any]] = {}
    notes = ""
    for layer, role in chain.keys():
        state = chain.load((layer, role))
        assert state.layer is chain.network[layer]
        found.setdefault(layer, {})[role] = state.values
        notes += "; ".join(state.notes)
    return chain.network, found, notes


def outputs(network: Network, weights: Any, x: Any) -> Any:
    return next(iter(forward(network, weights, {"x": x}).values()))


RNG = np.random.default_rng(5)


def low_rank(kind: str, m: int, c: int, k: int) -> Any:
    def draw(*shape: int) -> Any:
        return RNG.standard_normal(shape).astype(np.float32)

    if kind == "asymmetric":
        return np.einsum("dcr,mds->mcrs", draw(2, c, k), draw(m, 2, k))
    if kind == "depthwise_separable":
        return np.einsum("mc,crs->mcrs", draw(m, c), draw(c, k, k))
    if kind == "bottleneck":
        return np.einsum("md,ders,ec->mcrs", draw(m, 2), draw(2, 2, k, k), draw(2, c))
    full = np.zeros((m, c, k, k), np.float32)
    if kind == "group_conv":
        for g in range(2):
            full[g * m // 2 : (g + 1) * m // 2, g * c // 2 : (g + 1) * c // 2] = draw(m // 2, c // 2, k, k)
    else:
        full.reshape(m, c, -1)[:, np.arange(c), Shift((k, k)).taps(c)] = draw(m, c)
    return full


FITTED: list[tuple[str, dict[str, Any]]] = [
    ("asymmetric", {"width": 2}), ("depthwise_separable", {}), ("bottleneck", {"reduction": 2}),
    ("group_conv", {"groups": 2}), ("shift", {}),
]  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("method", "options"), FITTED)
def test_what_has_the_form_is_reproduced(method: str, options: dict[str, Any], stride: int) -> None:
    network = one_conv(4, 6, 3, size=9, stride=stride, pad=1, bias=True)
    filters = low_rank(method, 6, 4, 3)
    found, weights, notes = fitted(network, filters, method, **options)
    x = RNG.standard_normal((2, 4, 9, 9)).astype(np.float32)
    bias = np.arange(6, dtype=np.float32)
    wanted = outputs(network, {"conv": {"filter": filters, "bias": bias}}, x)
    np.testing.assert_allclose(outputs(found, weights, x), wanted, atol=2e-4)
    assert "relative error of its filters 0.000" in notes


def test_dilated_kernels_are_reproduced() -> None:
    network = one_conv(4, 6, 3, size=9, pad=2, dilation=2)
    x = RNG.standard_normal((1, 4, 9, 9)).astype(np.float32)
    for method, options in FITTED:
        filters = low_rank(method, 6, 4, 3)
        found, weights, _ = fitted(network, filters, method, **options)
        wanted = outputs(network, {"conv": {"filter": filters}}, x)
        np.testing.assert_allclose(outputs(found, weights, x), wanted, atol=2e-4)


@pytest.mark.parametrize("method", ["asymmetric", "depthwise_separable", "group_conv", "shift"])
def test_no_other_weights_of_the_form_are_closer(method: str) -> None:
    network = one_conv(4, 6, 3)
    filters = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
    options = dict(FITTED)[method]
    _, weights, _ = fitted(network, filters, method, **options)
    step = make(method, **options)
    shape: Any = network["conv"].work
    parts = {name.removeprefix("conv."): roles["filter"] for name, roles in weights.items()}
    best = np.linalg.norm(step.composed(parts, shape) - filters)
    for trial in range(20):
        moved = {n: a + 0.02 * np.random.default_rng(trial).standard_normal(a.shape) for n, a in parts.items()}
        assert np.linalg.norm(step.composed(moved, shape) - filters) > best


def make(method: str, **options: Any) -> Any:
    kind = STEPS.lookup(method)
    return kind(kind.Params(**options), method, "test", Context())


def test_asymmetric_error_is_that_of_the_singular_values_left_out() -> None:
    filters = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
    _, _, notes = fitted(one_conv(4, 6, 3), filters, "asymmetric", width=5)
    values = np.linalg.svd(filters.transpose(1, 2, 0, 3).reshape(12, 18), compute_uv=False)
    error = np.sqrt((values[5:] ** 2).sum() / (values**2).sum())
    assert f"relative error of its filters {error:.3f}" in notes


def test_drawn_weights_are_said_to_be() -> None:
    filters = RNG.standard_normal((6, 4, 5, 5)).astype(np.float32)
    for method in ("stack_3x3", "stack_2x2", "inverted_residual"):
        found, weights, notes = fitted(one_conv(4, 6, 5), filters, method)
        assert "drawn" in notes
        assert {la.name for la in found if la.kind == "conv"} == set(weights)
    _, _, notes = fitted(one_conv(4, 6, 5), filters, "asymmetric", weights="drawn")
    assert "drawn" in notes


def test_activations_between_the_parts() -> None:
    def kinds(method: str, **options: Any) -> list[str]:
        return [la.kind for la in compact(one_conv(4, 4, 5), method, **options)]

    assert kinds("stack_3x3") == ["input", "conv", "activation", "conv", "activation"]
    assert kinds("depthwise_separable") == ["input", "conv", "conv", "activation"]
    assert kinds("depthwise_separable", activation="relu").count("activation") == 2
    assert kinds("depthwise_separable", weights="drawn").count("activation") == 2
    assert kinds("stack_3x3", activation="none").count("activation") == 1


# --- in recipes ---


@needs_speed
def test_resnet18_with_depthwise_separable_layers_runs(tmp_path: Path) -> None:
    out = tmp_path / "r.trace"
    recipe = [
        {"step": "depthwise_separable", "layers": ["layer4*conv2", "layer3.0.conv1"], "weights": "drawn"},
        {"step": "uniform", "bits": 8},
    ]
    report = compress("resnet18", None, recipe, out)
    trace, before = Trace.open(out), load_network("resnet18")
    saved = sum(before[name].params for name in ("layer4.0.conv2", "layer4.1.conv2", "layer3.0.conv1"))
    new = 2 * (512 * 9 + 512 * 512) + 128 * 9 + 128 * 256
    assert trace.network.params == before.params - saved + new
    assert any(row.layer == "layer4.1.conv2.depthwise" and row.bits == 8 for row in report.rows)
    result = accelsim.run("tpu_v1", str(out))
    assert result.macs == trace.network.macs < before.macs


def test_described_and_chained() -> None:
    net = load_network("lenet5")
    steps = [{"step": "stack_3x3", "layers": "conv*"}, {"step": "asymmetric", "layers": "conv*.3x3_2", "width": 4}]
    chain = load_recipe(steps).chain(GivenWeights(net, {}), Context())
    assert chain.keys() == [] and "conv1.3x3_2.3x1" in chain.network


@pytest.mark.parametrize(
    ("network", "method", "options", "message"),
    [
        (one_conv(4, 4, 3), "stack_3x3", {}, "cannot be rewritten: stack_3x3 needs a square kernel of 5, 7, 9"),
        (one_conv(4, 4, (3, 5)), "stack_2x2", {}, "needs a square kernel of 3, 4, 5, ... without groups or dilation"),
        (one_conv(4, 4, 1), "asymmetric", {}, "needs a kernel of at least 2 x 2"),
        (one_conv(4, 4, 3), "asymmetric", {"width": 13}, "width must be at most 12, the rank of the filters, got 13"),
        (one_conv(4, 4, 3, pad=0), "shift", {}, "needs an odd kernel, padded by half of it"),
        (one_conv(4, 4, 1), "bottleneck", {}, "needs a kernel larger than 1 x 1 without groups, got 1 x 1"),
        (one_conv(4, 4, 3), "bottleneck", {"reduction": 5}, "reduction must be at most 4, the channels, got 5"),
        (one_conv(4, 4, 3), "group_conv", {"groups": 3}, "needs channels that 3 groups divide, and no groups yet"),
        (one_conv(4, 4, 3), "depthwise_separable", {"multiplier": 5}, "multiplier must be at most 4, got 5"),
        (one_conv(4, 4, 3), "uniform", {}, "must be a step that rewrites convolutions, got 'uniform'"),
    ],
)
def test_what_cannot_be_done(network: Network, method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compact(network, method, "conv", **options)


def test_a_name_that_is_no_convolution_and_a_pattern_without_any() -> None:
    with pytest.raises(ConfigError, match="layer 'act' cannot be rewritten: shift needs a convolution, got activation"):
        compact(one_conv(4, 4, 3), "shift", "act")
    with pytest.raises(ConfigError, match="layers 'fc.' matches no layer; .*layers: conv"):
        compact(one_conv(4, 4, 3), "shift", "fc*")


def test_after_other_compressions_it_is_refused() -> None:
    filters = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
    source = GivenWeights(one_conv(4, 6, 3), {"conv": {"filter": filters}})
    for first in ({"step": "prune", "density": 0.5}, {"step": "uniform", "bits": 4}):
        chain = load_recipe([first, {"step": "depthwise_separable", "layers": "conv"}]).chain(source, Context())
        message = r"steps\[1\]: depthwise_separable: conv/filter: is compressed already: rewrite convolutions first"
        with pytest.raises(ConfigError, match=message):
            chain.load(chain.keys()[0])


def test_shift_moves_and_adds_nothing() -> None:
    shift = Shift((3, 3))
    assert shift.taps(11) == [*range(9), 4, 4]
    net = Network("s", [Node("x", ops.Input((1, 9, 4, 4))), Node("s", shift, ("x",))])
    assert net.params == net.macs == 0
    x = np.arange(144, dtype=np.float32).reshape(1, 9, 4, 4) + 1
    y = outputs(net, {}, x)
    assert (y[0, 4] == x[0, 4]).all()
    assert (y[0, 0, 1:, 1:] == x[0, 0, :-1, :-1]).all() and not y[0, 0, 0].any()
    assert (y[0, 8, :-1, :-1] == x[0, 8, 1:, 1:]).all() and not y[0, 8, :, 3].any()
    with pytest.raises(ConfigError, match="shift needs an .N, C, H, W. input and an odd kernel"):
        Network("s", [Node("x", ops.Input((1, 9, 4, 4))), Node("s", Shift((2, 3)), ("x",))])
