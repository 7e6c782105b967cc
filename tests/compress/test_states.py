"""The rules by which steps compose: states, selectors, parameters per layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.compress.base import STEPS, Step, StepParams, run_step
from accelsim.compress.report import errors
from accelsim.compress.selectors import choose, per_layer
from accelsim.compress.state import Factors, Quantized, Storage, TensorState, affine_values
from accelsim.compress.store import stored
from accelsim.workload.encodings.base import encoding
from accelsim.workload.generator import GeneratorSpec
from tests.compress.helpers import applied, layer_for, make_step, network, state_of

X = (np.random.default_rng(0).standard_normal((4, 30)) * 0.5).astype(np.float32)


def test_the_original_is_never_written() -> None:
    state = state_of(X)
    with pytest.raises(ValueError, match="read-only"):
        state.values[0, 0] = 1
    state.zero_out(np.abs(X) < 0.3)
    assert np.array_equal(state.original, X)  # type: ignore[arg-type]
    assert state.pruned and not state.values[np.abs(X) < 0.3].any()


def test_pruning_a_quantized_tensor_changes_its_integers_too() -> None:
    for kind, params in (("uniform", {"bits": 6}), ("uniform", {"scheme": "affine", "granularity": "channel"}),
                         ("log2", {}), ("kmeans", {"zero": True}), ("float", {"format": "fp8_e4m3"})):  # fmt: skip
        state = applied(kind, X, **params)
        before = state.values.copy()
        removed = np.abs(X) < 0.4
        state.zero_out(removed)
        assert state.quantized is not None
        assert np.array_equal(state.values, np.where(removed, 0, before)), kind
        assert np.array_equal(state.quantized.values(), state.values)


@pytest.mark.parametrize(("kind", "params"), [("binary", {}), ("dorefa", {}), ("balanced", {}), ("multibit", {})])
def test_what_has_no_zero_can_neither_be_pruned_nor_quantize_what_is(kind: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"fc1/filter: cannot be pruned: its .* levels have no zero; prune first"):
        applied(kind, X, **params).zero_out(np.abs(X) < 0.3)
    with pytest.raises(ConfigError, match=r"fc1/filter: is pruned, but its new .* levels have no zero"):
        applied(kind, X, pruned=True, **params)


def test_quantization_after_pruning_makes_more_zeros() -> None:
    """Survey, Section III-F and Fig. 20: the fewer bits, the more."""
    pruned = np.where(np.abs(X) < 0.05, 0, X)
    kept = [np.count_nonzero(applied("uniform", pruned, pruned=True, bits=b).values) for b in (8, 4, 3, 2)]
    assert np.count_nonzero(X) > np.count_nonzero(pruned) >= kept[0] > kept[1] > kept[2] > kept[3] > 0


def test_a_second_quantizer_takes_the_values_of_the_first() -> None:
    state = applied("uniform", X, bits=3)
    first = state.values.copy()
    run_step(make_step("kmeans", bits=4), state)
    assert state.quantized is not None and state.quantized.meaning == "codebook"
    assert np.allclose(state.values, first, atol=1e-6)


def test_replacing_values_forgets_the_integers() -> None:
    state = applied("uniform", X)
    state.replace(X * np.float32(2))
    assert state.quantized is None and state.bits == 32
    with pytest.raises(SimulationBug, match="values must be float32"):
        state.replace(X[:2])


def test_states_refuse_integers_of_another_shape_or_width() -> None:
    tables = {"scale": np.float32(1), "zero_point": np.int32(0)}
    for codes in (np.zeros((4, 29), np.int8), np.zeros((4, 30), np.int16)):
        with pytest.raises(SimulationBug, match="codes must be"):
            state_of(X).quantize(Quantized(codes, 8, True, "affine", tables))


def test_affine_values_by_row() -> None:
    codes = np.array([[1, 2], [3, 250]], np.uint8)
    found = affine_values(codes, np.array([0.5, 2.0]), np.array([1, 3]))
    assert found.tolist() == [[0.0, 0.5], [0.0, 494.0]]
    assert affine_values(codes, np.float32(0.5), np.int32(0)).tolist() == [[0.5, 1.0], [1.5, 125.0]]


# --- cores ---


def factored(state: TensorState) -> TensorState:
    """A rank-2 product standing for the tensor."""
    u, s, vt = np.linalg.svd(np.asarray(state.original), full_matrices=False)
    arrays = {"left": (u[:, :2] * s[:2]).astype(np.float32), "right": vt[:2].astype(np.float32)}
    cores = [TensorState(state.layer, state.role, a.shape, a, part=n) for n, a in arrays.items()]
    state.decompose(Factors("two", cores, {}, lambda found: found[0] @ found[1]))
    return state


def test_steps_after_a_decomposition_apply_to_the_cores() -> None:
    state = factored(state_of(X))
    assert [leaf.name for leaf in state.leaves()] == ["fc1/filter.left", "fc1/filter.right"]
    before = state.values.copy()
    run_step(make_step("uniform", bits=8), state)
    assert all(leaf.quantized is not None and leaf.bits == 8 for leaf in state.leaves())
    assert state.bits == 8
    left, right = (core.values for core in state.factors.cores)  # type: ignore[union-attr]
    assert np.array_equal(state.values, left @ right)
    assert 0 < np.abs(state.values - before).max() < 0.1


def test_a_step_may_want_the_whole() -> None:
    class Whole(Step):
        whole = True
        seen: list[str] = []

        def apply(self, state: TensorState) -> None:
            self.seen.append(state.name)

    step = Whole(StepParams(), "whole", "recipe", make_step("uniform").context)
    run_step(step, factored(state_of(X)))
    assert Whole.seen == ["fc1/filter"]


# --- described operands ---


def test_described_operands_change_width_but_have_no_values() -> None:
    spec = GeneratorSpec(bits=8, signed=False, density=0.5, distribution="laplace")
    state = TensorState(layer_for((1,)), "ifmap", (1, 144), None, signed=False, described=spec)
    run_step(make_step("uniform", bits=3, object="A"), state)
    assert state.described is not None and (state.described.bits, state.described.density) == (3, 0.5)
    assert state.bits == 3
    for kind, params, codes in (("binary", {}, (1, False)), ("ternary", {}, (2, True)), ("log2", {}, (4, True)),
                                ("multibit", {"bits": 3}, (3, False)), ("outlier", {}, (8, False)),
                                ("wage", {}, (8, True)), ("dorefa", {"bits": 2}, (2, False))):  # fmt: skip
        state.describe(spec)
        run_step(make_step(kind, object="A", **params), state)
        assert (state.described.bits, state.described.signed) == codes
    with pytest.raises(ConfigError, match="recipe: kmeans: fc1/ifmap: has no values, it is only described"):
        run_step(make_step("kmeans", object="A"), state)
    with pytest.raises(ConfigError, match="fc1/ifmap: has no values: it is only described"):
        _ = state.values
    signed = TensorState(layer_for((1,)), "ifmap", (1, 144), None, described=spec)
    with pytest.raises(ConfigError, match="fc1/ifmap: bits must be at least 2"):
        run_step(make_step("uniform", bits=1, object="A"), signed)


# --- storage ---


def test_a_quantizer_goes_with_any_encoding_of_integers() -> None:
    x = np.where(np.abs(X) < 0.6, 0, X)
    for kind, params in (("uniform", {}), ("kmeans", {}), ("log2", {}), ("float", {"format": "fp16"})):
        for storage in ("dense", "huffman", "bitmap", "rlc", "csc"):
            if kind == "float" and storage == "csc":
                continue
            state = applied(kind, x, pruned=True, **params)
            state.storage = Storage(storage)
            kept = stored(state)
            codec = encoding(str(kept.spec.encoding))
            arrays = {k: a for k, a in kept.payload.items() if k not in ("scale", "zero_point")}
            back = codec.decode(arrays, kept.spec.meta, x.shape, kept.spec.bits, kept.spec.signed)
            assert state.quantized is not None
            expected = state.values if codec.floating else state.quantized.codes
            assert np.array_equal(back, expected), (kind, storage)


def test_pruned_numbers_that_are_not_quantized_can_be_sparse_too() -> None:
    x = np.where(np.abs(X) < 0.6, 0, X)
    state = state_of(x)
    state.storage = Storage("bitmap")
    kept = stored(state)
    assert kept.spec.encoding == "minifloat" and kept.spec.bits == 32
    assert kept.payload_bits == 32 * np.count_nonzero(x)
    back = encoding("minifloat").decode(kept.payload, kept.spec.meta, x.shape, 32, True)
    assert np.array_equal(back, x)


def test_encodings_of_numbers_do_not_take_integers() -> None:
    state = applied("uniform", X)
    state.storage = Storage("float")
    with pytest.raises(ConfigError, match="fc1/filter: encoding float holds numbers, but the tensor is quantized"):
        stored(state)


def test_the_smallest_of_several_formats() -> None:
    sparse, dense = np.where(np.abs(X) < 1.0, 0, X), X
    for values, expected in ((sparse, {"rlc", "bitmap"}), (dense, {"dense"})):
        state = applied("uniform", values)
        run_step(make_step("encode", format=["dense", "bitmap", "rlc"], options={"rlc": {"run_bits": 4}}), state)
        sizes = {}
        for name in ("dense", "bitmap", "rlc"):
            other = applied("uniform", values)
            other.storage = Storage(name, {"run_bits": 4} if name == "rlc" else {})
            kept = stored(other)
            sizes[name] = kept.payload_bits + kept.index_bits
        assert state.storage is not None and state.storage.encoding in expected
        assert sizes[state.storage.encoding] == min(sizes.values())
        assert state.notes == [f"stored as {state.storage.encoding}, the smallest"]


def test_no_format_of_several_fits() -> None:
    with pytest.raises(ConfigError, match="fc1/filter: no format can hold it: nm: "):
        run_step(make_step("encode", format=["nm", "float"], options={"nm": {"n": 1, "m": 4}}), applied("uniform", X))
    with pytest.raises(ConfigError, match="unknown encoding 'bitmapp'; did you mean bitmap"):
        make_step("encode", format="bitmapp")


# --- selectors ---

LAYERS = [network()[name] for name in ("conv1", "conv2", "fc1", "fc2")]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("*", ["conv1", "conv2", "fc1", "fc2"]),
        ("fc1", ["fc1"]),
        ("conv*", ["conv1", "conv2"]),
        ("kind:linear", ["fc1", "fc2"]),
        ("kind:*", ["conv1", "conv2", "fc1", "fc2"]),
        ("first", ["conv1"]),
        (["last", "first"], ["conv1", "fc2"]),
        ("middle", ["conv2", "fc1"]),
        (["*", "!fc?"], ["conv1", "conv2"]),
        (["!first"], ["conv2", "fc1", "fc2"]),
        (["fc2", "conv1"], ["conv1", "fc2"]),
    ],
)
def test_selectors(selector: Any, names: list[str]) -> None:
    assert choose(selector, LAYERS, "here") == names


@pytest.mark.parametrize("selector", ["conv9", ["*", "!fc9"], "kind:recurrent", "x*"])
def test_a_selector_that_matches_nothing_lists_the_layers(selector: Any) -> None:
    with pytest.raises(ConfigError, match="here: layers .* matches no layer; .*layers: conv1, conv2, fc1, fc2"):
        choose(selector, LAYERS, "here")


def test_selectors_offer_the_nearest_name_and_refuse_to_choose_nothing() -> None:
    with pytest.raises(ConfigError, match="did you mean conv1"):
        choose("conv_1", LAYERS, "here")
    with pytest.raises(ConfigError, match="chooses nothing"):
        choose(["fc1", "!fc*"], LAYERS, "here")
    with pytest.raises(ConfigError, match="none has this operand"):
        choose("*", [], "here")


def test_parameters_per_layer() -> None:
    value = {"fc*": 3, "conv1": 8, "f*": 4, "else": 5}
    assert [per_layer(value, name, "here") for name in ("conv1", "conv2", "fc1", "f1")] == [8, 5, 3, 4]
    assert per_layer(7, "anything", "here") == 7
    with pytest.raises(ConfigError, match="here: must say something about layer 'conv2' .*has conv1"):
        per_layer({"conv1": 8}, "conv2", "here")


# --- random words ---


def test_words_depend_on_names_and_seed_and_on_nothing_else() -> None:
    state, step = state_of(X), make_step("uniform")
    words = step.words(state, "a", 0, 100)
    assert np.array_equal(words[40:], step.words(state, "a", 40, 60))
    assert not np.array_equal(words, step.words(state, "b", 0, 100))
    assert not np.array_equal(words, make_step("uniform", label="uniform#2").words(state, "a", 0, 100))
    assert not np.array_equal(words, step.words(state_of(X, role="recurrent"), "a", 0, 100))


def test_every_step_says_what_it_does_and_where_it_applies() -> None:
    for name, kind in STEPS.items():
        assert kind.kind == name and kind.__doc__ and set(kind.objects) <= {"W", "A", "E", "G", "U", "BN"}
        assert issubclass(kind.Params, StepParams)
    with pytest.raises(ConfigError, match="recipe: object must be one of A, E, G, U, BN for describe, got W"):
        step = STEPS.lookup("describe")
        step(StepParams(), "describe", "recipe", make_step("uniform").context)


def test_errors_of_a_tensor() -> None:
    a = np.array([[3.0, 4.0]], np.float32)
    assert errors(a, a) == (0.0, np.inf)
    relative, sqnr = errors(a, np.array([[3.0, 4.5]], np.float32))
    assert relative == pytest.approx(0.1) and sqnr == pytest.approx(20.0)
    assert errors(np.zeros((1, 2), np.float32), a) == (np.inf, -np.inf)
