"""SCNN against its register-level model: cycles and sums, with and without queues, at each barrier."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.engines.kernels.cartesian import cartesian as steps_of
from accelsim.engines.kernels.cartesian import one_output
from tests.engines.sparse_bench import cycles_of, engine, layer_of, sparse, task_of
from tests.references import reference
from tests.rtl import cartesian


def convolved(a: Any, w: Any, stride: int, pad: int) -> Any:
    """Of one image."""
    padded = np.pad(a, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("cpqrs,ncrs->npq", windows, w)


@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    groups = draw(st.sampled_from([1, 1, 2]))
    channels, n = draw(st.integers(1, 2)), groups * draw(st.integers(1, 5))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 2)), groups * channels, draw(st.integers(3, 8)), draw(st.integers(3, 8)))
    density = st.sampled_from([0.0, 0.3, 0.7, 1.0])
    return {
        "a": sparse(rng, shape, draw(density), low=0), "w": sparse(rng, (n, channels, *kernel), draw(density)),
        "groups": groups, "stride": draw(st.integers(1, 3)), "pad": draw(st.integers(0, 1)),
        "pes": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "lanes": draw(st.sampled_from([(1, 1), (2, 2), (4, 4), (2, 8), (4, 5)])),
        "banks": draw(st.sampled_from([1, 8, 32])), "accumulators": draw(st.sampled_from([64, 128, 1024])),
        "depth": draw(st.sampled_from([0, 0, 1, 3])), "barrier": draw(st.sampled_from(["channel", "group", "layer"])),
        "split": draw(st.sampled_from(["plane", "padded"])),
    }  # fmt: skip


@given(case=convolutions())
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_scnn_equals_its_registers(case: dict[str, Any], tmp_path_factory: Any) -> None:
    a, w, groups = case["a"], case["w"], case["groups"]
    path = tmp_path_factory.mktemp("t") / "t.trace"
    network, trace = layer_of(path, a, w, stride=case["stride"], pad=case["pad"])
    built = engine(
        "scnn", pe_rows=case["pes"][0], pe_cols=case["pes"][1], inputs=case["lanes"][0], weights=case["lanes"][1],
        banks=case["banks"], accumulators=case["accumulators"], accumulator_queue=case["depth"],
        barrier=case["barrier"], split=case["split"], halo=False,
    )  # fmt: skip
    table = built.lower(task_of(network, trace))
    cycles = steps = 0
    per, each = a.shape[1] // groups, len(w) // groups
    fields = {x: case[x] for x in ("stride", "pad", "pes", "lanes", "banks", "accumulators", "depth", "split")}
    per_pe = []
    for group in range(groups):
        for image in a:
            own, weights = image[group * per : (group + 1) * per], w[group * each : (group + 1) * each]
            out, took, ran = cartesian.run(own, weights, barrier=case["barrier"], **fields)
            assert np.array_equal(out, convolved(own, weights, case["stride"], case["pad"]))
            cycles += took
            steps += ran
            per_pe.append(took)
    assert cycles_of(table) == cycles
    assert table.info["steps"] == steps
    assert table.info["products"] >= table.effectual_macs


def test_dense_operands_without_conflicts_take_all_products_over_the_multipliers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, w = sparse(rng, (1, 8, 16, 16), 1.0, low=0), sparse(rng, (16, 8, 1, 1), 1.0)
    network, trace = layer_of(tmp_path / "t.trace", a, w)
    # 2 x 2 PEs with 64 inputs each and 16 weights a channel: 4 x 4 at a time
    built = engine("scnn", pe_rows=2, pe_cols=2)
    table = built.lower(task_of(network, trace))
    rows = table.rows
    assert int(rows["busy_cycles"].sum()) == 8 * 16 * 4
    assert int(rows["finish_cycles"][-1]) == int(rows["busy_cycles"].sum() + rows["bank_conflict_cycles"].sum())


@pytest.mark.parametrize("barrier", ["channel", "group", "layer"])
def test_deeper_queues_are_never_slower(barrier: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    a, w = sparse(rng, (1, 4, 10, 10), 0.5, low=0), sparse(rng, (8, 4, 3, 3), 0.5)
    network, trace = layer_of(tmp_path / "t.trace", a, w, pad=1)
    fields: dict[str, Any] = {"pe_rows": 2, "pe_cols": 2, "barrier": barrier}
    cycles = [
        cycles_of(engine("scnn", **fields, accumulator_queue=depth).lower(task_of(network, trace)))
        for depth in (0, 1, 2, 4, 16)
    ]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]


def test_later_barriers_are_never_slower(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    a, w = sparse(rng, (1, 6, 12, 12), 0.4, low=0), sparse(rng, (9, 6, 3, 3), 0.4)
    network, trace = layer_of(tmp_path / "t.trace", a, w, pad=1)
    cycles = [
        cycles_of(engine("scnn", pe_rows=3, pe_cols=3, accumulators=64, barrier=b).lower(task_of(network, trace)))
        for b in ("channel", "group", "layer")
    ]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]


def test_seams_travel_to_the_neighbour(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    a, w = sparse(rng, (1, 2, 14, 14), 0.5, low=0), sparse(rng, (4, 2, 3, 3), 0.5)
    network, trace = layer_of(tmp_path / "t.trace", a, w, pad=1)
    with_halo, without = (
        cycles_of(engine("scnn", pe_rows=4, pe_cols=4, halo=h).lower(task_of(network, trace))) for h in (True, False)
    )
    assert with_halo - without == 4 * 4  # a seam of one sum along a block of 4 inputs, for 4 filters


def test_a_vector_is_a_plane_of_16_x_16(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    a, w = sparse(rng, (1, 300), 0.5, low=0), sparse(rng, (5, 300), 0.3)
    network, trace = layer_of(tmp_path / "t.trace", a, w)
    table = engine("scnn", pe_rows=2, pe_cols=2, halo=False, barrier="channel").lower(task_of(network, trace))
    plane = np.pad(a, ((0, 0), (0, 212))).reshape(2, 16, 16).swapaxes(1, 2)
    filters = np.pad(w, ((0, 0), (0, 212))).reshape(5, 2, 16, 16).swapaxes(2, 3)
    out, cycles, _ = cartesian.run(
        plane, filters, stride=1, pad=0, pes=(2, 2), lanes=(4, 4), banks=32, accumulators=1024, depth=0,
        barrier="channel",
    )  # fmt: skip
    assert np.array_equal(out[:, 0, 0], w @ a[0])
    assert cycles_of(table) == cycles


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), sides=st.tuples(st.integers(1, 6), st.integers(1, 6)))
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_outputs_of_one_position_take_a_short_cut(seed: int, n: int, sides: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    pes, lanes, span = rng.integers(1, 4, 2), rng.integers(1, 5, 2), int(rng.integers(1, n + 1))
    blocks = [-(-side // pe) for side, pe in zip(sides, pes, strict=True)]
    acts = (rng.random((2, *sides)) < rng.random()).astype(np.uint8)
    weights = (rng.random((2, *sides, n)) < rng.random()).astype(np.uint8)
    banks = int(rng.choice([1, 4, 32]))
    numbers = np.array([1, 1, 1, 1, *blocks, *pes, *lanes, banks, span, *sides, 0, 0], np.int64)
    found = np.zeros((2, -(-n // span), 2, int(pes.prod()), 3), np.int64)
    steps_of(acts, weights, numbers, found[0])
    one_output(acts, weights, numbers, found[1])
    assert np.array_equal(*found)


def test_planes_too_large_for_the_accumulators(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    a, w = sparse(rng, (1, 1, 9, 9), 0.5, low=0), sparse(rng, (2, 1, 1, 1), 1.0)
    network, trace = layer_of(tmp_path / "t.trace", a, w)
    task = task_of(network, trace)
    with pytest.raises(ConfigError, match="layer layer: engine.accumulators must be larger: 4 accumulators"):
        engine("scnn", pe_rows=1, pe_cols=2, accumulators=4).lower(task)
    # by strips of rows, as many as fit: 3 x 3 inputs of a strip at a time
    table = engine("scnn", pe_rows=1, pe_cols=1, accumulators=27, halo=False).lower(task)
    strips = [
        cartesian.run(
            a[0][:, i : i + 3], w, stride=1, pad=0, pes=(1, 1), lanes=(4, 4), banks=32, accumulators=27, depth=0,
            barrier="group",
        )[1]
        for i in (0, 3, 6)
    ]  # fmt: skip
    assert cycles_of(table) == sum(strips)


def test_dnnsim_takes_the_same_cycles(tmp_path: Path) -> None:
    """Strides of 1: with others it pairs inputs and weights of different phases where the padding is odd."""
    folder = reference("sparse_bit/dnnsim_traces")
    with reference("sparse_bit/dnnsim_scnn_runs.csv").open() as file:
        runs = [row for row in csv.DictReader(file) if row["config"] in ("scnn-4x4x4x4", "scnn-4x4x2x8")]
    same = 0
    for run in runs:
        name = run["Layer"]
        if name not in ("conv1", "conv3", "conv5", "fc8"):
            continue
        fields = dict(pair.split("=") for pair in run["params"].split(";"))
        a, w = (np.load(folder / f"{kind}-{name}.npy") for kind in ("act", "wgt"))
        if a.ndim == 4:
            a, w = a.swapaxes(2, 3), w.swapaxes(2, 3)
        pad = {"conv1": 1, "conv5": 2}.get(name, 0)
        network, trace = layer_of(tmp_path / f"{name}.trace", a, w, pad=pad, bits=(9, 9))
        built = engine(
            "scnn", pe_cols=int(fields["Wt"]), pe_rows=int(fields["Ht"]), inputs=int(fields["I"]),
            weights=int(fields["F"]), banks=int(fields["banks"]), barrier="channel", split="padded", halo=False,
        )  # fmt: skip
        halo = int(run["idle_halo"]) // built.peak_macs_per_cycle({})
        assert cycles_of(built.lower(task_of(network, trace))) == int(run["cycles"]) - halo
        same += 1
    assert same == 8
