"""Figures of memory and network: bandwidth and row hits over time, links of a mesh, latency over traffic."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.noc.detailed import DetailedNoc
from accelsim.noc.mesh import grid_graph
from accelsim.noc.model import NocStats
from accelsim.noc.router import RouterSpec
from accelsim.report.figure_dram import POINTS, windows
from accelsim.report.figure_noc import LatencyLine, latency_figure, link_map_figure
from accelsim.report.figures import draw, figures_of
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace


def test_dram_over_time() -> None:
    trace = synthetic_trace(load_network("lenet5"))
    assert "dram" not in figures_of(simulate(load_arch("teaching_4x4"), trace))
    result = simulate(load_arch("teaching_4x4", ["dram.detail={standard: ddr3_1600}"]), trace)
    assert figures_of(result)[-1] == "dram" and result.dram is not None
    cycles, profile = windows(result.dram)
    assert len(profile) <= POINTS
    assert profile.sum(axis=0).tolist() == result.dram.profile.sum(axis=0).tolist()
    assert cycles * len(profile) == pytest.approx(result.dram.window_cycles * len(result.dram.profile), rel=0.05)
    figure = draw(result, "dram")
    above, below = figure.axes
    drawn = sum(np.diff(s.get_data().edges) @ (s.get_data().values - s.get_data().baseline) for s in above.patches)
    moved = (result.dram.stats.reads + result.dram.stats.writes) * result.dram.burst_bytes
    unit = {"time (ms)": 1e-3, "time (\N{MICRO SIGN}s)": 1e-6}[below.get_xlabel()]
    assert drawn * unit * 1e9 == pytest.approx(moved)
    assert np.nanmax(below.patches[0].get_data().values) <= 100


def test_links_of_a_mesh() -> None:
    noc = DetailedNoc(grid_graph(3, 2), RouterSpec(flit_bytes=8))
    noc.submit(0, 0, 0, 2, 80)  # along the upper row
    done = noc.advance(10**6)
    assert done is not None
    stats = noc.stats()
    figure = link_map_figure(stats, "a mesh")
    (collection,) = figure.axes[0].collections
    values = collection.get_array()
    assert len(values) == len(collection.get_paths()) == 2 * (2 * 2 + 3)
    assert np.count_nonzero(values) == 2
    assert values.max() == pytest.approx(100 * 10 / stats.cycles)
    with pytest.raises(ConfigError, match="a map of links needs a network of routers that have places"):
        link_map_figure(NocStats(), "nowhere")


def test_latency_over_traffic() -> None:
    lines = [LatencyLine("1 flit", [0.1, 0.2], [10, 12], 0.4, [(0.1, 10.0)]), LatencyLine("5 flits", [0.1], [20])]
    (axes,) = latency_figure(lines, "title", "theirs").axes
    assert [line.get_label() for line in axes.lines if not line.get_label().startswith("_")] == [
        "1 flit", "5 flits", "theirs",
    ]
    assert axes.lines[0].get_xydata().tolist() == [[0.1, 10], [0.2, 12]]
