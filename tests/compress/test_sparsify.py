"""Sparsification: selection, grains and criteria, and the general step (survey, Section III-E)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import Context, run_step
from accelsim.compress.recipe import load_recipe
from accelsim.compress.sources import GivenWeights, WithOperands
from accelsim.compress.sparsify.grains import grain
from accelsim.compress.sparsify.select import as_bits, kept_count, mark_below, smallest, smallest_of
from accelsim.compress.state import Factors, TensorState
from accelsim.workload.generator import GeneratorSpec
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Reshape

NETWORK = Network(
    "small",
    [
        Node("image", Input((2, 3, 8, 8))),
        Node("c1", Conv(8, 3, pad=1), ("image",)),
        Node("c2", Conv(6, 3), ("c1",)),
        Node("flat", Reshape((2, 216)), ("c2",)),
        Node("fc", Linear(10), ("flat",)),
    ],
)


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).laplace(size=shape).astype(np.float32)


WEIGHTS = {
    "c1": {"filter": numbers(8, 3, 3, 3, seed=1)},
    "c2": {"filter": numbers(6, 8, 3, 3, seed=2) * np.float32(0.1)},
    "fc": {"filter": numbers(10, 216, seed=3) * np.float32(0.5)},
}


def run(steps: list[dict[str, Any]], captured: Any = None, weights: Any = None) -> dict[str, TensorState]:
    """Apply a recipe; states by name (layer/role)."""
    context = Context(captured=captured or {})
    source = WithOperands(GivenWeights(NETWORK, weights or WEIGHTS), context)
    chain = load_recipe(steps).chain(source, context)
    found = [chain.load(key) for key in chain.keys()]
    return {state.name: state for state in found}


def density(state: TensorState) -> float:
    return np.count_nonzero(state.values) / state.elements


# --- selection ---


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=4),
    levels=st.sampled_from([2, 5, 10**6]),
    part=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_smallest_of_several_equals_one_sort(sizes: list[int], levels: int, part: float, seed: int) -> None:
    """With many ties and with none: exactly the first `count` of a stable sort."""
    rng = np.random.default_rng(seed)
    tensors = [(rng.integers(-levels, levels, n) / 7).astype(np.float32) for n in sizes]
    count = round(part * sum(sizes))
    cuts = smallest_of([lambda t=t: t for t in tensors], count)  # type: ignore[misc]
    got = np.concatenate([cut.mask(t) for cut, t in zip(cuts, tensors, strict=True)])
    order = np.argsort(np.abs(np.concatenate(tensors)), kind="stable")
    want = np.zeros(sum(sizes), np.bool_)
    want[order[:count]] = True
    assert np.array_equal(got, want)


def test_mark_below_equals_plain() -> None:
    scores = np.array([3, 1, 2, 2, 0, 2], np.float32)
    out = np.zeros(6, np.bool_)
    mark_below(as_bits(scores), int(np.float32(2).view(np.uint32)), 2, out)
    assert out.tolist() == [False, True, True, True, True, False]


def test_selection_over_chunks_finds_what_partition_finds() -> None:
    values = numbers(200_001)
    for count in (1, 1000, 180_000, 200_000):
        limit = np.partition(np.abs(values), count - 1)[count - 1]
        mask = smallest(values, count).mask(values)
        assert mask.sum() == count and np.abs(values)[mask].max() == limit


# --- grains, Fig. 18 ---


def plain_groups(shape: tuple[int, ...], view: tuple[int, ...], block: tuple[int, ...]) -> NDArray[np.int64]:
    """The number of the block in which each element lies."""
    places = np.indices(view)
    per = [-(-n // b) for n, b in zip(view, block, strict=True)]
    number = np.zeros(view, np.int64)
    for axis, step in enumerate(block):
        number = number * per[axis] + places[axis] // step
    return number.reshape(shape)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(view=st.lists(st.integers(1, 7), min_size=1, max_size=4), data=st.data())
def test_grains_equal_a_plain_grouping(view: list[int], data: Any) -> None:
    block = [data.draw(st.integers(1, 8)) for _ in view]
    values = numbers(*view, seed=1).astype(np.float64)
    cut = grain("block", tuple(view), block) if len(view) > 1 else None
    if cut is None:
        return
    number = plain_groups(tuple(view), tuple(view), tuple(min(b, n) for b, n in zip(block, view, strict=True)))
    sums = np.bincount(number.reshape(-1), values.reshape(-1))
    assert np.allclose(cut.reduce(values).reshape(-1), sums)
    assert cut.sizes().reshape(-1).tolist() == np.bincount(number.reshape(-1)).tolist()
    chosen = np.arange(cut.groups) % 2 == 0
    assert np.array_equal(cut.spread(chosen), chosen[number])
    assert np.array_equal(cut.spread(np.arange(cut.groups)), number)
    if cut.even:
        rows = cut.vectors(values)
        assert all(sorted(rows[g]) == sorted(values[number == g]) for g in range(cut.groups))


@pytest.mark.parametrize(
    ("name", "block", "groups", "size"),
    [
        ("element", None, 432, 1),
        ("filter", None, 6, 72),
        ("row", None, 6, 72),
        ("fiber", None, 72, 6),
        ("column", None, 72, 6),
        ("kernel", None, 48, 9),
        ("channel", None, 8, 54),
        ("layer", None, 1, 432),
        ("block", [2, 4], 54, 8),
        ("block", [2, 2, 3, 3], 12, 36),
        ("ou_row", [3], 144, 3),
    ],
)
def test_fig_18_structures(name: Any, block: Any, groups: int, size: int) -> None:
    """Every structure of Fig. 18 on a filter of 6 x 8 x 3 x 3: what is pruned is whole groups, as many as asked for."""
    cut = grain(name, (6, 8, 3, 3), block)
    assert cut.groups == groups and (cut.sizes() == size).all()
    options: dict[str, Any] = {"block": block} if block else {}
    options |= {"scope": "global"} if name == "layer" else {}  # of one layer, there is one group
    state = run([{"step": "prune", "layers": "c2", "grain": name, "density": 0.5, **options}])["c2/filter"]
    kept = cut.reduce((state.values != 0).astype(np.int64))
    assert set(np.unique(kept)) <= {0, size}
    assert np.count_nonzero(kept) == kept_count(0.5, groups)
    original = WEIGHTS["c2"]["filter"]
    assert np.array_equal(state.values[state.values != 0], original[state.values != 0])
    norms = cut.reduce(np.abs(original).astype(np.float64))
    if 0 < np.count_nonzero(kept) < groups:
        assert norms[kept == 0].max() <= norms[kept > 0].min()


def test_blocks_that_do_not_divide_are_cut_off_or_refused() -> None:
    cut = grain("block", (5, 7), [2, 4])
    assert cut.grid == (3, 2) and cut.sizes().tolist() == [[8, 6], [8, 6], [4, 3]]
    with pytest.raises(ConfigError, match=r"block \[2, 4\] must divide \[5, 7\]"):
        grain("block", (5, 7), [2, 4], edges="refuse")
    with pytest.raises(ConfigError, match=r"block must have 2 or 3 numbers for shape \[2, 3, 4\], got \[1\]"):
        grain("block", (2, 3, 4), [1])
    with pytest.raises(ConfigError, match=r"grain kernel must have a tensor with channels, got shape \[5, 7\]"):
        grain("kernel", (5, 7))
    with pytest.raises(ConfigError, match="block must not be given for grain filter"):
        grain("filter", (5, 7), [1, 2])
    with pytest.raises(ConfigError, match=r"grain ou_row must have block: \[outputs\], got None"):
        grain("ou_row", (5, 7))


# --- densities and thresholds ---


@settings(deadline=None, derandomize=True, max_examples=40)
@given(part=st.floats(0, 1))
def test_densities_are_met_to_the_element(part: float) -> None:
    states = run([{"step": "prune", "density": part}])
    for state in states.values():
        assert np.count_nonzero(state.values) == round(part * state.elements)


def test_density_per_layer_as_deep_compression_gives_it() -> None:
    states = run([{"step": "prune", "density": {"c1": 0.84, "c*": 0.38, "else": 0.09}}])
    want = {"c1/filter": 0.84, "c2/filter": 0.38, "fc/filter": 0.09}
    assert {n: np.count_nonzero(s.values) for n, s in states.items()} == {
        n: round(d * states[n].elements) for n, d in want.items()
    }


def test_global_threshold_equals_one_sort_over_the_network() -> None:
    states = run([{"step": "prune", "density": 0.2, "scope": "global"}])
    everything = np.abs(np.concatenate([WEIGHTS[n]["filter"].reshape(-1) for n in ("c1", "c2", "fc")]))
    limit = np.sort(everything)[::-1][round(0.2 * everything.size) - 1]
    for name, state in states.items():
        original = WEIGHTS[name.split("/")[0]]["filter"]
        assert np.array_equal(state.values, np.where(np.abs(original) >= limit, original, 0))
    assert density(states["c2/filter"]) < 0.2 < density(states["c1/filter"])


def test_global_groups_are_compared_by_their_means() -> None:
    states = run([{"step": "prune", "grain": "filter", "criterion": "l1", "density": 0.5, "scope": "global"}])
    means, owner = [], []
    for name in ("c1", "c2", "fc"):
        matrix = np.abs(WEIGHTS[name]["filter"]).reshape(len(WEIGHTS[name]["filter"]), -1)
        means += matrix.mean(axis=1, dtype=np.float64).tolist()
        owner += [(name, i) for i in range(len(matrix))]
    total, left = sum(s.elements for s in states.values()), 0
    kept = set()
    for i in np.argsort(-np.array(means), kind="stable"):
        name, row = owner[i]
        left += states[f"{name}/filter"].elements // NETWORK[name].weights["filter"][0]
        if left <= round(0.5 * total):
            kept.add(owner[i])
        else:
            break
    for name, row in owner:
        assert states[f"{name}/filter"].values[row].any() == ((name, row) in kept)


def test_zeros_that_are_there_go_first_and_stay() -> None:
    steps = [{"step": "prune", "density": 0.5}, {"step": "prune", "density": 0.7}]
    assert density(run(steps)["fc/filter"]) == 0.5


def test_thresholds() -> None:
    """Activation thresholding, and the fixed threshold of magnitude pruning: what is below goes."""
    captured = {("c2", "ifmap"): np.abs(numbers(2, 8, 8, 8, seed=9))}
    state = run([{"step": "prune", "object": "A", "threshold": 0.5}], captured)["c2/ifmap"]
    original = captured["c2", "ifmap"]
    assert np.array_equal(state.values, np.where(original < 0.5, 0, original))
    captured = {("c1", "error"): numbers(2, 8, 8, 8, seed=4)}
    state = run([{"step": "prune", "object": "E", "density": 0.05}], captured)["c1/error"]
    assert np.count_nonzero(state.values) == round(0.05 * 1024)


def test_feature_maps_of_every_sample_by_themselves() -> None:
    captured = {("c2", "ifmap"): np.abs(numbers(2, 8, 8, 8, seed=9))}
    state = run([{"step": "prune", "object": "A", "grain": "feature_map", "density": 0.25}], captured)["c2/ifmap"]
    maps = state.values.any(axis=(2, 3))
    assert maps.sum() == 4
    sums = captured["c2", "ifmap"].sum(axis=(2, 3))
    assert sums[~maps].max() <= sums[maps].min()


def test_quantized_tensors_are_pruned_in_their_codes() -> None:
    steps = [{"step": "uniform", "bits": 4}, {"step": "prune", "density": 0.3}]
    state = run(steps)["fc/filter"]
    assert state.quantized is not None and state.quantized.bits == 4
    assert np.count_nonzero(state.quantized.codes) <= round(0.3 * state.elements)


def test_quantization_after_pruning_raises_sparsity() -> None:
    """Section III-F: the small weights that pruning left round to zero; and what was zero stays zero."""
    pruned = run([{"step": "prune", "density": 0.6}])["fc/filter"]
    both = run([{"step": "prune", "density": 0.6}, {"step": "uniform", "bits": 4}])["fc/filter"]
    assert density(both) < density(pruned) == 0.6
    assert not both.values[pruned.values == 0].any()


def test_operands_that_are_only_described_get_a_lower_density() -> None:
    spec = GeneratorSpec(density=0.6)
    layer = NETWORK["c2"]

    def pruned(**step: Any) -> float:
        params = [{"step": "prune", "object": "A", **step}]
        state = TensorState(layer, "ifmap", layer.in_shapes[0], None, described=spec)
        load_recipe(params).steps("small", Context())[0].apply_described(state)
        assert state.described is not None
        return state.described.density

    assert pruned(density=0.25) == 0.25
    assert pruned(density=0.9) == 0.6
    with pytest.raises(ConfigError, match="it can be pruned to a density by elements only"):
        pruned(density=0.5, grain="feature_map")
    with pytest.raises(ConfigError, match="it can be pruned to a density by elements only"):
        pruned(threshold=0.5)


def test_cores_of_a_decomposed_weight_are_pruned_each_by_itself() -> None:
    """Section III-F2: the small tensors that a decomposition leaves can be pruned on."""
    state = GivenWeights(NETWORK, WEIGHTS).load(("fc", "filter"))
    left, right = numbers(10, 4, seed=5), numbers(4, 216, seed=6)
    parts = {"left": left, "right": right}
    cores = [TensorState(state.layer, "filter", a.shape, a, part=n) for n, a in parts.items()]
    state.decompose(Factors("svd", cores, {}, lambda arrays: np.asarray(arrays[0] @ arrays[1], np.float32)))
    step = load_recipe([{"step": "prune", "density": 0.5}]).steps("small", Context())[0]
    run_step(step, state)
    assert [np.count_nonzero(core.values) for core in state.leaves()] == [20, 432]
    zeroed = [np.where(core.values != 0, parts[core.part], 0) for core in state.leaves()]
    assert np.allclose(state.values, zeroed[0] @ zeroed[1])


# --- criteria ---


def test_taylor_equation_45() -> None:
    """|mean of w * dL/dw| of every filter; the smallest go."""
    gradient = numbers(6, 8, 3, 3, seed=8)
    captured = {("c2", "gradient"): gradient}
    steps = [{"step": "prune", "layers": "c2", "grain": "filter", "criterion": "taylor", "density": 0.5}]
    state = run(steps, captured)["c2/filter"]
    scores = np.abs((WEIGHTS["c2"]["filter"] * gradient).reshape(6, -1).mean(axis=1, dtype=np.float64))
    assert set(np.flatnonzero(~state.values.any(axis=(1, 2, 3)))) == set(np.argsort(scores)[:3])


def test_taylor_equation_44() -> None:
    gradient = numbers(6, 8, 3, 3, seed=8)
    steps = [{"step": "prune", "layers": "c2", "criterion": "taylor", "density": 0.25}]
    state = run(steps, {("c2", "gradient"): gradient})["c2/filter"]
    scores = np.abs(WEIGHTS["c2"]["filter"] * gradient).reshape(-1)
    assert set(np.flatnonzero(state.values.reshape(-1))) == set(np.argsort(-scores, kind="stable")[:108])
    with pytest.raises(ConfigError, match=r"criterion taylor must have captured gradients \(c2/gradient\), got none"):
        run(steps)
    gradient[0, 0, 0, :2] = np.nan
    with pytest.raises(ConfigError, match="c2/gradient: .*2 of 432 are NaN or infinite"):
        run(steps, {("c2", "gradient"): gradient})


def test_geometric_median() -> None:
    steps = [{"step": "prune", "layers": "c2", "grain": "filter", "criterion": "geometric", "density": 0.5}]
    state = run(steps)["c2/filter"]
    rows = WEIGHTS["c2"]["filter"].reshape(6, -1).astype(np.float64)
    total = [sum(float(np.linalg.norm(a - b)) for b in rows) for a in rows]
    assert set(np.flatnonzero(~state.values.any(axis=(1, 2, 3)))) == set(np.argsort(total)[:3])


def plain_likeness(rows: NDArray[np.float64], count: int) -> set[int]:
    left = list(range(len(rows)))
    gone: list[int] = []
    norms = [float(np.linalg.norm(r)) for r in rows]
    while len(gone) < count:
        pairs = [(abs(float(rows[i] @ rows[j])) / (norms[i] * norms[j]), i, j) for i in left for j in left if i < j]
        _, i, j = max(pairs)
        gone.append(i if norms[i] <= norms[j] else j)
        left.remove(gone[-1])
    return set(gone)


def test_similarity_removes_the_smaller_of_the_most_alike() -> None:
    rows = numbers(6, 8, 3, 3, seed=12)
    rows[4] = rows[1] * np.float32(-0.5)
    weights = {**WEIGHTS, "c2": {"filter": rows}}
    for count in (1, 2, 3, 4):
        part = (6 - count) / 6
        steps = [{"step": "prune", "layers": "c2", "grain": "filter", "criterion": "similarity", "density": part}]
        gone = set(np.flatnonzero(~run(steps, weights=weights)["c2/filter"].values.any(axis=(1, 2, 3))))
        assert gone == plain_likeness(rows.reshape(6, -1).astype(np.float64), count)
    assert 4 in gone


def test_random_is_reproducible_and_differs_by_step() -> None:
    step = {"step": "prune", "criterion": "random", "density": 0.5}
    first, again = run([step]), run([step])
    assert all(np.array_equal(first[n].values, again[n].values) for n in first)
    assert all(np.count_nonzero(s.values) == round(0.5 * s.elements) for s in first.values())
    twice = run([{**step, "density": 0.9}, step])
    assert not np.array_equal(first["fc/filter"].values, twice["fc/filter"].values)


@pytest.mark.parametrize(("criterion", "how"), [("max", np.max), ("mean", np.mean), ("l1", np.sum)])
def test_cambricon_s_blocks_shared_by_outputs(criterion: str, how: Any) -> None:
    """Coarse blocks over outputs (here two, of its 16): one decision for the same weight of all of them."""
    block = [2, 1, 1, 1]
    steps = [
        {"step": "prune", "layers": "c2", "grain": "block", "block": block, "criterion": criterion, "density": 0.25}
    ]
    state = run(steps)["c2/filter"]
    scores = how(np.abs(WEIGHTS["c2"]["filter"]).astype(np.float64).reshape(3, 2, 72), axis=1)
    kept = (state.values != 0).reshape(3, 2, 72)
    assert np.array_equal(kept[:, 0], kept[:, 1])
    assert set(np.flatnonzero(kept[:, 0])) == set(np.argsort(-scores.reshape(-1), kind="stable")[:54])


# --- bad input ---


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"density": 1.5}, "density must be 0 to 1, got 1.5"),
        ({"density": {"c1": -0.1, "else": 1.0}}, "density must be 0 to 1 for c1, got -0.1"),
        ({}, "must have either density or threshold"),
        ({"density": 0.5, "threshold": 0.1}, "must have either density or threshold"),
        ({"density": 0.5, "grain": "layer"}, "scope must be global for grain layer"),
        ({"density": {"else": 0.5}, "scope": "global"}, "density must be one number for scope global"),
        ({"density": 0.5, "grain": "filter", "criterion": "geometric", "scope": "global"}, "scope must be layer for"),
        ({"density": 0.5, "criterion": "geometric"}, "must have groups of more than one element"),
        ({"density": 0.5, "grain": "block", "block": [0, 4]}, r"must be numbers >= 1, got \[0, 4\]"),
        ({"density": 0.5, "grain": "block", "block": [4, 4], "edges": "refuse"}, "must divide"),
        ({"density": 0.5, "layers": "conv9"}, "matches no layer"),
        ({"density": 0.5, "grain": "blob"}, "grain"),
    ],
)
def test_bad_input(step: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        run([{"step": "prune", **step}])


def test_weights_that_are_no_numbers_are_named_and_counted() -> None:
    broken = WEIGHTS["c2"]["filter"].copy()
    broken[0, 0, 0, 0], broken[1, 0, 0, 0] = np.nan, np.inf
    with pytest.raises(ConfigError, match="c2/filter: .*2 of 432 are NaN or infinite"):
        run([{"step": "prune", "density": 0.5}], weights={**WEIGHTS, "c2": {"filter": broken}})
