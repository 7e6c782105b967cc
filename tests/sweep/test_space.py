"""Spaces: grids, samples, derived keys, constraints, and what a sweep file must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accelsim.base.errors import ConfigError
from accelsim.sweep.space import Point, Space, read_space
from tests.sweep.examples import small


def space_of(text: str, tmp_path: Path) -> Space:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return read_space(path)


HEAD = "arch: teaching_4x4\nworkload: lenet5\n"


def points(**changes: Any) -> list[Point]:
    return list(read_space(small(**changes)).points())


def test_a_grid_varies_its_last_axis_fastest_and_obeys_constraints() -> None:
    sweep = {"engine.rows": [4, 8, 16], "engine.cols": {"powers_of_two": [4, 16]}}
    found = points(sweep=sweep, constraints=["engine.rows * engine.cols <= 64", "engine.rows >= 8"])
    assert [(p["engine.rows"], p["engine.cols"]) for p in found] == [(8, 4), (8, 8), (16, 4)]


def test_derived_keys_and_constraints_see_the_whole_architecture() -> None:
    found = points(
        sweep={"engine.rows": [4, 8, 16]},
        derive={
            "engine.cols": "2 * engine.rows",
            "buffers.ofmap_buffer.word_bits": "32 * min(engine.cols, 16)",
        },
        constraints=["engine.cols <= 16", "buffers.ifmap_buffer.capacity_bytes == 4096"],
    )
    assert [tuple(p.values())[3:] for p in found] == [(4, 8, 256), (8, 16, 512)]
    assert read_space(small()).keys == ["engine.rows", "engine.cols", "dram.bandwidth_bytes_per_s"]


def test_architectures_workloads_and_recipes_are_axes() -> None:
    found = points(
        arch=["teaching_4x4", "systolic_os_32"], workload=["lenet5", "lenet_300_100"], recipe=[None, "int8"],
        sweep={"options.batch": [1, 2]}, set={"dram.latency_ns": 50}, options={"seed": 3},
    )  # fmt: skip
    assert len(found) == 16
    assert found[0] == {"arch": "teaching_4x4", "workload": "lenet5", "recipe": "", "options.batch": 1}
    space = read_space(small(sweep={"options.batch": [1, 2]}, set={"dram.latency_ns": 50}, options={"seed": 3}))
    (first, _) = space.points()
    assert space.changes(first) == (("dram.latency_ns", 50),)
    assert space.options(first) == {"seed": 3, "batch": 1}


WIDE = {"engine.rows": {"linear": [1, 64]}, "dram.bandwidth_bytes_per_s": {"log": [1e8, 1e10]}, "engine.cols": [4, 8]}


@pytest.mark.parametrize("method", ["random", "latin_hypercube"])
def test_samples_are_distinct_repeatable_and_obey_constraints(method: str) -> None:
    def drawn(seed: int) -> list[Point]:
        sample = {"method": method, "points": 64, "seed": seed}
        return points(sweep=WIDE, sample=sample, constraints=["engine.rows * engine.cols <= 256"])

    first = drawn(0)
    assert first == drawn(0) and first != drawn(1)
    assert len({repr(p) for p in first}) == 64
    assert all(p["engine.rows"] * p["engine.cols"] <= 256 for p in first)
    # a longer sample of the same seed is not required to begin the same; that the axes are used in full is
    assert min(p["engine.rows"] for p in first) <= 8 and max(p["engine.rows"] for p in first) >= 48


def test_a_latin_hypercube_has_one_point_in_each_of_n_parts_of_each_axis() -> None:
    sample = {"method": "latin_hypercube", "points": 128, "seed": 5}
    found = points(sweep={"engine.rows": {"linear": [1, 128]}, "vector.lanes": {"linear": [1, 64]}}, sample=sample)
    assert sorted(p["engine.rows"] for p in found) == list(range(1, 129))
    assert sorted(p["vector.lanes"] for p in found) == sorted([*range(1, 65), *range(1, 65)])


def test_a_sample_larger_than_its_grid_ends() -> None:
    sample = {"points": 50}
    assert len(points(sweep={"engine.rows": [4, 8], "engine.cols": [4, 8]}, sample=sample)) == 4


def test_an_unknown_key_is_refused_with_file_line_and_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"s\.yaml:4:3: .*engine\.rosw: unknown key; did you mean rows"):
        space_of(HEAD + "sweep:\n  engine.rosw: [4, 8]\n", tmp_path)
    with pytest.raises(ConfigError, match="unknown key engin; did you mean engine"):
        space_of(HEAD + "sweep:\n  engin.rows: [4, 8]\n", tmp_path)
    with pytest.raises(ConfigError, match="buffers has no item 'ofmap'; items: ifmap_buffer"):
        space_of(HEAD + "set: {buffers.ofmap.slots: 1}\n", tmp_path)
    with pytest.raises(ConfigError, match="unknown architecture 'teaching_4x5'; did you mean teaching_4x4"):
        space_of("arch: teaching_4x5\nworkload: lenet5\n", tmp_path)


def test_what_is_no_arithmetic_is_refused(tmp_path: Path) -> None:
    for text, message in (
        ("__import__('os').system('true')", "Call is not allowed|Attribute|a dot may only join names|not allowed"),
        ("engine.rows <=", "is not an expression"),
        ("[r for r in 'abc']", "ListComp is not allowed in an expression"),
        ("engine.rosw < 8", "unknown name 'engine.rosw'; did you mean engine.rows"),
        ("9 ** 9 ** 9 > engine.rows", "too large"),
    ):
        constraint = f'constraints: ["{text}"]\n'
        with pytest.raises(ConfigError, match=rf"s\.yaml:3:\d+: constraints.*({message})"):
            space_of(HEAD + constraint + "sweep: {engine.rows: [4, 8]}\n", tmp_path)


def test_empty_and_endless_grids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"s\.yaml:4:3: sweep\.engine\.rows: must have at least one value"):
        space_of(HEAD + "sweep:\n  engine.rows: []\n", tmp_path)
    space = space_of(HEAD + "sweep: {engine.rows: [4, 8]}\nconstraints: [engine.rows > 8]\n", tmp_path)
    with pytest.raises(ConfigError, match="constraints: no point obeys all constraints"):
        list(space.points())
    million = "{linear: [1, 10000], step: 1}"
    huge = f"sweep: {{engine.rows: {million}, engine.cols: {million}, vector.lanes: {million}}}\n"
    with pytest.raises(ConfigError, match="the grid has 1,000,000,000,000 points, at most 1,000,000 can be run; draw"):
        space_of(HEAD + huge, tmp_path)
    assert len(list(space_of(HEAD + huge + "sample: {points: 5}\n", tmp_path).points())) == 5
    with pytest.raises(ConfigError, match="engine.rows: needs a step or a count in a grid"):
        space_of(HEAD + "sweep: {engine.rows: {linear: [1, 9]}}\n", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("swep: {}\n", "swep: unknown key; did you mean sweep"),
        ("sweep: {engine.rows: [1]}\nset: {engine.rows: 2}\n", "key engine.rows is given twice"),
        ("sweep: {workload: [lenet5]}\n", "workload is not a key of an architecture; a list of them stands at the top"),
        ("sample: {points: 0}\n", "sample.points: must be >= 1, got 0"),
        ("sample: {method: sobol, points: 2}\n", "sample.method: must be one of 'random' or 'latin_hypercube'"),
        ("accuracy: [{workload: lenet6, value: 0.9, source: x}]\n", "unknown workload 'lenet6'; did you mean lenet5"),
        ("derive: {engine.rows: engine.rows +}\n", "derive.engine.rows: 'engine.rows \\+' is not an expression"),
        ("name: a b\n", "name: .*should match pattern"),
    ],
)
def test_bad_sweep_files(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        space_of(HEAD + text, tmp_path)
