"""Curves: what they show is what the table says, every axis has its unit, and the same table gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from accelsim.base.errors import ConfigError
from accelsim.report.curve_lines import envelope
from accelsim.report.curve_parts import Choice
from accelsim.report.curves import CURVES, draw_comparison, draw_curve, write_curve
from accelsim.report.drawing import style
from accelsim.report.parts import colours_of
from accelsim.report.points import axis, numbers, pareto, point_name, quantity, short_key, short_value
from accelsim.sweep.table import Table
from tests.results import kept, lenet
from tests.sweeps import KEYS, large, table

SQUARE = "engine.rows == engine.cols"


def drawn(kind: str, choice: Choice | None = None, points: Table | None = None) -> Figure:
    few = table().where(SQUARE) if kind == "breakdown" else table()
    return draw_curve(points or few, kind, choice)


@pytest.mark.parametrize("kind", CURVES)
def test_every_kind_in_every_format_and_the_same_twice(kind: str, tmp_path: Path) -> None:
    few = table().where(SQUARE).where("engine.dataflow != 'is'")
    write_curve(few, kind, [tmp_path / f"a.{suffix}" for suffix in ("pdf", "svg", "png")], dpi=60)
    if kind in ("heatmap", "lines"):
        write_curve(few, kind, [tmp_path / "b.svg"], dpi=60)  # which also is that of pictures in it
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    for suffix, head in (("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")):
        assert (tmp_path / f"a.{suffix}").read_bytes().startswith(head)


@pytest.mark.parametrize("kind", ["pareto", "lines", "scaling", "roofline"])
def test_every_axis_has_a_unit(kind: str) -> None:
    figure = drawn(kind)
    for axes in figure.axes:
        for text in (axes.get_xlabel(), axes.get_ylabel()):
            assert text.endswith(")") or text == "", text
    assert figure.axes[0].get_ylabel()


@pytest.mark.parametrize("kind", CURVES)
def test_nothing_is_cut_off(kind: str) -> None:
    figure = drawn(kind)
    with style():
        box = figure.get_tightbbox()
    wide, high = figure.get_size_inches()
    assert box.x0 >= -0.02 and box.y0 >= -0.02 and box.x1 <= wide + 0.02 and box.y1 <= high + 0.02


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=40), st.sampled_from([-1, 1]))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]], better: int) -> None:
    x, y = (np.array([p[i] for p in points], np.float64) for i in (0, 1))
    front = pareto(x, y, -1, better)

    def beaten(i: int) -> bool:
        return any(
            x[j] <= x[i] and better * y[j] >= better * y[i] and (x[j] < x[i] or y[j] != y[i]) for j in range(len(x))
        )

    first = {(a, b): i for i, (a, b) in reversed(list(enumerate(points)))}
    assert sorted(front.tolist()) == sorted(i for i in first.values() if not beaten(i))
    assert (np.diff(x[front]) > 0).all()


def test_points_without_figures_are_on_no_front() -> None:
    x, y = np.array([1.0, np.nan, 3.0]), np.array([5.0, 1.0, np.nan])
    assert pareto(x, y).tolist() == [0]
    assert pareto(np.zeros(0), np.zeros(0)).tolist() == []


def test_the_line_of_the_front() -> None:
    axes = drawn("pareto", Choice(x=["area_mm2"])).axes[0]
    line = next(line for line in axes.lines if line.get_label() == "Pareto front")
    area, energy = numbers(table(), "area_mm2"), numbers(table(), "energy_pj")
    front = pareto(area, energy)
    assert np.allclose(line.get_xdata(), area[front])
    scale = axis("energy_pj", energy)
    assert np.allclose(line.get_ydata(), energy[front] * 1e-12 / scale.scale)
    assert scale.text == axes.get_ylabel()


def test_each_workload_has_a_front_of_its_own() -> None:
    rows = [{**row, "workload": f"net{i % 2}"} for i, row in enumerate(table().rows)]
    axes = drawn("pareto", Choice(x=["area_mm2"]), Table(rows, KEYS)).axes[0]
    found = [np.array(line.get_xdata()) for line in axes.lines if "front" in str(line.get_label()).lower()]
    for which, line in enumerate(found):
        mine = Table([row for row in rows if row["workload"] == f"net{which}"], KEYS)
        area = numbers(mine, "area_mm2")
        assert np.allclose(line, area[pareto(area, numbers(mine, "energy_pj"))])
    assert len(found) == 2


def test_three_panels_where_accuracy_is_known() -> None:
    labels = [axes.get_xlabel() for axes in drawn("pareto").axes]
    assert [label.split(" (")[0] for label in labels] == ["latency", "area", "accuracy"]
    assert labels[2] == "accuracy (%)"
    rows = [{**row, "accuracy": None} for row in table().rows]
    assert len(drawn("pareto", points=Table(rows, KEYS)).axes) == 2


def test_lines_take_the_best_of_the_other_keys() -> None:
    axes = drawn("lines", Choice(x=["engine.rows"], y=["seconds"], series="engine.dataflow")).axes[0]
    for line in axes.lines:
        rows = [row for row in table().rows if row["engine.dataflow"] == line.get_label()]
        best = [min(row["seconds"] for row in rows if row["engine.rows"] == n) for n in (8, 16, 32)]
        assert np.allclose(line.get_xdata(), [8, 16, 32])
        assert np.allclose(np.array(line.get_ydata()) / line.get_ydata()[0], np.array(best) / best[0])


def test_envelope() -> None:
    x, y = np.array([2.0, 1.0, 2.0, np.nan]), np.array([5.0, 1.0, 4.0, 0.0])
    for better, wanted in ((-1, [1.0, 4.0]), (1, [1.0, 5.0])):
        at, best = envelope(x, y, better)
        assert at.tolist() == [1.0, 2.0] and best.tolist() == wanted


def test_scaling_starts_at_one_and_knows_the_ideal() -> None:
    left, right = drawn("scaling").axes
    for line in left.lines:
        assert np.isclose(line.get_ydata()[0], 1.0)
    ideal = next(line for line in left.lines if line.get_label() == "ideal")
    assert np.allclose(ideal.get_ydata(), np.array(ideal.get_xdata()) / ideal.get_xdata()[0])
    assert np.allclose([line.get_ydata()[0] for line in right.lines], 100.0)


def test_breakdowns_sum_to_the_whole() -> None:
    few = table().where(SQUARE)
    left, right = drawn("breakdown", points=few).axes
    paths = [[path for bars in axes.collections for path in bars.get_paths()] for axes in (left, right)]
    tops = [max(float(path.get_extents().y1) for path in found) for found in paths]
    cycles, energy = numbers(few, "cycles"), numbers(few, "energy_pj")
    assert np.isclose(tops[0], axis("cycles", cycles).of(cycles).max())
    assert np.isclose(tops[1], axis("energy_pj", energy).of(energy).max())
    assert [text.get_text() for text in left.get_xticklabels()][0] == "ws, rows 8, cols 8, bandwidth 1 GB/s"


def test_no_run_is_above_its_roof() -> None:
    axes = drawn("roofline", Choice(series="engine.dataflow")).axes[0]
    roofs = [(np.array(line.get_xdata()), np.array(line.get_ydata())) for line in axes.lines]
    assert len(roofs) == 10  # 5 sizes of array, 2 bandwidths
    highest = max(y.max() for _, y in roofs)
    for collection in axes.collections:
        for x, y in np.asarray(collection.get_offsets()):
            assert y <= highest and y <= 8.1e-3 * x  # 8 GB/s, in TB/s and TOPS


def test_heat_map_shows_the_best_and_frames_it() -> None:
    axes = drawn("heatmap", Choice(x=["engine.rows"], y=["engine.cols"], value="seconds")).axes[0]
    shown = np.asarray(axes.collections[0].get_array()).reshape(3, 3)
    cells: dict[tuple[int, int], list[float]] = {}
    for row in table().rows:
        cells.setdefault((row["engine.cols"], row["engine.rows"]), []).append(row["seconds"])
    best = [[min(cells[y, x]) for x in (8, 16, 32)] for y in (8, 16, 32)]
    assert np.allclose(shown / shown.min(), np.array(best) / np.min(best))
    frame = axes.patches[0].get_xy()
    assert (int(frame[1]), int(frame[0])) == np.unravel_index(int(np.argmin(best)), (3, 3))


def test_parallel_draws_every_point() -> None:
    axes = drawn("parallel").axes[0]
    assert len(axes.collections[0].get_segments()) == len(table())
    assert len(axes.get_xticks()) == 4 + 3 + 1


def test_thousands_of_points_are_drawn(tmp_path: Path) -> None:
    points = large(2_500)
    for kind in ("pareto", "parallel"):
        write_curve(points, kind, [tmp_path / f"{kind}.pdf"], dpi=60)
        assert (tmp_path / f"{kind}.pdf").stat().st_size < 500_000  # clouds are pictures in the vector file


def test_comparison_of_designs(tmp_path: Path) -> None:
    designs = {"teaching": [lenet()], "tpu": [kept()]}
    draw_comparison(designs, ["small"], tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert "teaching" in text and "tpu" in text


def test_colours_of_a_figure_are_different() -> None:
    names = ["mac", "pe_register", "a", "b", "c", "d", "e", "dram", "dram_standby", "leakage"]
    assert len(set(colours_of(names).values())) == len(names)


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        ("seconds", [1e-3, 2e-3], "latency (ms)"),
        ("energy_pj", [3e6, 5e6], "energy (\N{MICRO SIGN}J)"),
        ("cycles", [2_000_000, 3_000_000], "cycles (million)"),
        ("buffers.act.capacity_bytes", [65536, 131072], "buffers.act.capacity_bytes (KiB)"),
        ("dram.bandwidth_bytes_per_s", [19e9, 38e9], "dram.bandwidth_bytes_per_s (GB/s)"),
        ("engine.rows", [8, 16], "engine.rows (PEs)"),
        ("options.something", [1, 2], "options.something (count)"),
        ("accuracy", [0.7, 0.8], "accuracy (%)"),
        ("accuracy", [70.0, 80.0], "accuracy (%)"),
    ],
)
def test_units(column: str, values: list[float], text: str) -> None:
    assert axis(column, np.array(values, np.float64)).text == text


def test_logarithmic_where_it_helps() -> None:
    assert axis("engine.rows", np.array([8.0, 16.0, 32.0])).log
    assert axis("seconds", np.array([1.0, 100.0])).log
    assert not axis("seconds", np.array([1.0, 2.0])).log
    assert not axis("seconds", np.array([0.0, 100.0])).log
    assert quantity("accuracy", [0.5]).factor == 100 and quantity("accuracy", [50.0]).factor == 1


def test_names_of_points() -> None:
    row = {"engine.dataflow": "ws", "engine.rows": 8, "buffers.act_buffer.capacity_bytes": 65536, "recipe": ""}
    assert point_name(row, list(row)) == "ws, rows 8, act capacity 64 KiB, recipe none"
    assert short_key("dram.bandwidth_bytes_per_s") == "bandwidth"
    assert short_value("clock_hz", 1_500_000_000) == "1.5 GHz"


@pytest.mark.parametrize(
    ("kind", "choice", "message"),
    [
        ("fan", Choice(), "unknown kind of curve 'fan'; known: "),
        ("pareto", Choice(x=["area"]), "unknown column 'area'; did you mean area_mm2"),
        ("pareto", Choice(x=["workload"]), "column workload: must hold numbers to be drawn on this axis, got 'lenet5'"),
        ("pareto", Choice(series="index"), "--series index: has 54 values, and at most 8 can be told apart"),
        ("lines", Choice(x=["engine.row"]), "unknown column 'engine.row'; did you mean engine.rows"),
        ("heatmap", Choice(x=["seconds"], y=["engine.rows"]), "seconds: has [0-9]+ values, and a heat map"),
        ("parallel", Choice(columns=["seconds"]), "parallel: needs 2 to 12 axes, got 1"),
        ("breakdown", Choice(by=["watts"]), "unknown breakdown 'watts'"),
        ("scaling", Choice(x=["batch"]), "--x batch: needs two or more values above 0 to scale over"),
    ],
)
def test_bad_choices(kind: str, choice: Choice, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        drawn(kind, choice)


def test_bad_tables() -> None:
    with pytest.raises(ConfigError, match="no point of this sweep is done"):
        drawn("pareto", points=Table([{"status": "failed"}], KEYS))
    with pytest.raises(ConfigError, match="54 points are too many to stand side by side"):
        draw_curve(table(), "breakdown")
    rows = [{**row, "energy_pj": None} for row in table().rows]
    with pytest.raises(ConfigError, match="column energy_pj: has no value in any of these points"):
        drawn("pareto", points=Table(rows, KEYS))
    with pytest.raises(ConfigError, match="lines: no swept key has two or more numbers"):
        drawn("lines", points=Table(table().rows[:1], KEYS))
    with pytest.raises(ConfigError, match="needs two swept keys with several values"):
        drawn("heatmap", points=Table(table().rows[:1], KEYS))
    with pytest.raises(ConfigError, match="a figure's format must be one of pdf, svg, png, got 'gif'"):
        write_curve(table(), "pareto", [Path("x.gif")])
