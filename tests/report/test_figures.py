"""Figures show what the result says; same run, same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.report.activity import dram_rates, held_bytes
from accelsim.report.drawing import _columns, save
from accelsim.report.figure_bars import LABELLED, group_names, share
from accelsim.report.figures import draw, draw_all, figures_of
from accelsim.report.parts import CAUSE_COLOURS, buffers, component_colours, components
from accelsim.sim.passes import ATTRIBUTION
from accelsim.system.result import RunResult
from tests import results

RUNS = (results.lenet, results.kept, results.long, results.grouped)
EDGES = 50


def heights(axes: Any) -> np.ndarray:
    """Sum of the bars' heights of each collection."""
    found = []
    for bars in axes.collections:
        boxes = [path.get_extents() for path in bars.get_paths()]
        found.append(sum(box.height for box in boxes))
    return np.array(found)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("run", RUNS)
def test_cycles_add_up(run: Callable[[], RunResult]) -> None:
    result = run()
    figure = draw(result, "cycles")
    (axes,) = figure.axes
    by_cause = [count for count in result.cycles_by_cause().values() if count]
    assert heights(axes) == pytest.approx(by_cause)
    assert len(legend(figure)) == len(by_cause)
    assert "cycles per layer" in texts(figure)
    assert f"{result.cycles:,} cycles" in figure.legends[0].get_title().get_text()


@pytest.mark.parametrize("run", RUNS)
def test_energy_adds_up(run: Callable[[], RunResult]) -> None:
    result = run()
    figure = draw(result, "energy")
    (axes,) = figure.axes
    parts = result.energy_by_component()
    assert heights(axes) == pytest.approx([parts[name] * 1e-12 for name in components(result)])
    assert "energy per layer" in texts(figure)
    assert axes.yaxis.get_major_formatter()(2e-6, 0) == "2\N{NO-BREAK SPACE}\N{MICRO SIGN}J"


@pytest.mark.parametrize("run", RUNS)
def test_names_stay_legible(run: Callable[[], RunResult]) -> None:
    result = run()
    figure = draw(result, "cycles")
    (axes,) = figure.axes
    names = [tick.get_text() for tick in axes.get_xticklabels() if tick.get_text()] + [t.get_text() for t in axes.texts]
    assert 2 <= len(names) <= LABELLED
    assert all(len(name) <= 20 for name in names)
    if len(result.layers) <= LABELLED:
        assert len(names) == len(result.layers)
    else:
        assert "stage3" in names and not any(name.startswith("model/") for name in names)


@pytest.mark.parametrize("run", RUNS)
def test_roofline(run: Callable[[], RunResult]) -> None:
    result = run()
    axes = draw(result, "roofline").axes[0]
    named = [c for c in axes.collections if not c.get_label().startswith("_")]
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in named])
    layers = [layer for layer in result.layers if layer.macs]
    assert len(dots) == len(layers)
    assert sorted(dots[:, 1]) == pytest.approx(sorted(layer.macs / layer.cycles for layer in layers))
    # no layer is above the roof: the simulator moves every byte and does every MAC
    for layer in layers:
        roof = result.peak_macs_per_cycle
        if layer.total_dram_bytes:
            roof = min(roof, layer.macs / layer.total_dram_bytes * result.dram_bytes_per_cycle)
        assert layer.macs / layer.cycles <= roof * (1 + 1e-12)
    line = axes.lines[0].get_xydata()
    assert line[-1, 1] == result.peak_macs_per_cycle
    assert line[0, 1] / line[0, 0] == pytest.approx(result.dram_bytes_per_cycle)
    assert axes.get_xlabel() == "MACs per byte of DRAM traffic" and axes.get_ylabel() == "MACs per cycle"
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_roofline_without_traffic() -> None:
    result = results.kept()
    for layer in result.layers:
        assert layer.dram_bytes["ofmap"] == 0 or layer is result.layers[-1]
    quiet = [layer for layer in result.layers if layer.macs and not layer.total_dram_bytes]
    figure = draw(result, "roofline")
    assert bool(quiet) == any("no DRAM" in text for text in texts(figure))


@pytest.mark.parametrize("run", RUNS)
def test_dram_over_time(run: Callable[[], RunResult]) -> None:
    """Every byte is on the bus once, never faster than the bus."""
    result = run()
    edges = np.linspace(0, result.cycles, EDGES + 1)
    rates = dram_rates(result)
    moved = {name: float((steps.means(edges) * np.diff(edges)).sum()) for name, steps in rates.items()}
    wanted: dict[str, int] = {}
    for layer in result.layers:
        for operand, n_bytes in layer.dram_bytes.items():
            name = "psum" if operand == "psum_in" else operand
            wanted[name] = wanted.get(name, 0) + n_bytes
    assert moved == pytest.approx({name: n for name, n in wanted.items() if n}, rel=1e-9)
    together = sum(steps.means(edges) for steps in rates.values())
    assert together.max() <= result.dram_bytes_per_cycle * (1 + 1e-9)


@pytest.mark.parametrize("run", RUNS)
def test_buffers_hold_no_more_than_fits(run: Callable[[], RunResult]) -> None:
    result = run()
    inside = held_bytes(result)
    assert inside.keys() == buffers(result).keys()
    edges = np.linspace(0, result.cycles, 20 * EDGES + 1)
    for name, parts in inside.items():
        capacity = buffers(result)[name]["capacity_bytes"]
        together = sum((steps.means(edges) for steps in parts.values()), np.zeros(20 * EDGES))
        assert together.max() <= capacity * (1 + 1e-9), name
        for what, steps in parts.items():
            _, level = steps.levels()
            assert level.min() >= 0 and level[-1] == pytest.approx(0), (name, what)


def test_activity_panels() -> None:
    result = results.lenet()
    figure = draw(result, "activity")
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == [*(f"{name} buffer\n% of 4.0 KiB" for name in ("ifmap", "filter", "ofmap")), "DRAM\nGB/s"]
    assert figure.axes[-1].get_xlabel() == "time (ms)"
    assert legend(figure) == ["weights", "ifmap", "psum", "ofmap"]
    assert [text.get_text() for text in figure.axes[0].texts] == [layer.name for layer in result.layers]
    right = figure.axes[-1].get_xlim()[1]
    assert right == pytest.approx(result.seconds * 1e3)


MAGIC = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_every_format_repeats_itself(suffix: str, tmp_path: Path) -> None:
    name = {"pdf": "activity", "svg": "roofline", "png": "cycles"}[suffix]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save(draw(results.lenet(), name), tmp_path / folder / f"{name}.{suffix}")
    first = (tmp_path / "a" / f"{name}.{suffix}").read_bytes()
    assert first == (tmp_path / "b" / f"{name}.{suffix}").read_bytes()
    assert first.startswith(MAGIC[suffix]) and len(first) > 4000


def test_all_figures_of_a_long_network(tmp_path: Path) -> None:
    written = draw_all(results.long(), tmp_path / "deep" / "one", ("pdf",))
    assert [path.name for path in written] == [f"{name}.pdf" for name in figures_of(results.long())]
    assert all(path.read_bytes().startswith(b"%PDF") and path.stat().st_size > 4000 for path in written)


def test_the_users_matplotlib_settings_do_not_matter(tmp_path: Path) -> None:
    import matplotlib

    save(draw(results.lenet(), "energy"), tmp_path / "before.svg")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "none"}):
        save(draw(results.lenet(), "energy"), tmp_path / "after.svg")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "before.svg").read_bytes() == (tmp_path / "after.svg").read_bytes()


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a figure's format must be one of pdf, svg, png, got 'jpeg'"):
        draw_all(results.lenet(), tmp_path / "x", ("jpeg",))
    assert not (tmp_path / "x").exists()


def test_colours_are_fixed_and_distinct() -> None:
    assert set(CAUSE_COLOURS) == set(ATTRIBUTION)
    assert len(set(CAUSE_COLOURS.values())) == len(ATTRIBUTION)
    for run in RUNS:
        colours = component_colours(run())
        shown = [colours[name] for name in components(run())]
        assert len(set(shown)) == len(shown)
    assert component_colours(results.lenet())["mac"] == component_colours(results.kept())["mac"]


def test_groups_of_names() -> None:
    assert group_names(["a.x", "a.y", "b/1", "c", "a.z"]) == [
        ("a", -0.5, 1.5), ("b", 1.5, 2.5), ("c", 2.5, 3.5), ("a", 3.5, 4.5),
    ]  # fmt: skip


def test_shares() -> None:
    assert [share(part, 1000) for part in (999, 99, 5, 0.1)] == ["99.9 %", "9.9 %", "0.5 %", "<0.1 %"]
    assert share(0, 0) == "<0.1 %"


@pytest.mark.parametrize("count", [1, 3, 7, 12])
def test_legends_fit(count: int) -> None:
    labels = ["x" * 20] * count
    columns = _columns(labels, 112)
    assert 1 <= columns <= count and columns * 25 <= 112
    assert _columns(["y" * 300], 112) == 1
