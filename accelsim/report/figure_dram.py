"""A detailed DRAM over time: the bandwidth that it gave, and how often its rows were open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelsim.report.drawing import TEXT_WIDTH, caption, legend_above, new_figure
from accelsim.report.figure_activity import time_unit
from accelsim.report.parts import BLUE, GREEN, VERMILION
from accelsim.system.dram_meter import DramReport
from accelsim.system.result import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 260
"""At most so many windows across the page; the model's own are joined until they are this few."""


def windows(report: DramReport) -> tuple[float, NDArray[np.int64]]:
    """(core cycles of a window, (windows, 3) bytes read, bytes written, row hits), at most POINTS windows."""
    profile, times = report.profile, 1
    while len(profile) > POINTS:
        profile = np.concatenate([profile, np.zeros((len(profile) % 2, 3), np.int64)])
        profile, times = profile[::2] + profile[1::2], 2 * times
    return report.window_cycles * times, profile


def dram_figure(result: RunResult) -> Figure:
    """Above: bytes per second read and written; below: the share of bursts that found their row open."""
    assert result.dram is not None
    cycles, profile = windows(result.dram)
    size, unit = time_unit(result)
    edges = np.arange(len(profile) + 1) * cycles / result.clock_hz / size
    rates = profile[:, :2] / (cycles / result.clock_hz) / 1e9
    bursts = profile[:, :2].sum(axis=1) / result.dram.burst_bytes
    hits = np.divide(100.0 * profile[:, 2], bursts, out=np.full(len(profile), np.nan), where=bursts > 0)
    figure, (above, below) = new_figure(
        TEXT_WIDTH, 2.9, nrows=2, sharex=True, gridspec_kw={"height_ratios": [1.25, 1.0]}
    )
    above.stairs(rates[:, 0], edges, fill=True, color=BLUE, linewidth=0, label="read")
    above.stairs(
        rates.sum(axis=1), edges, baseline=rates[:, 0], fill=True, color=VERMILION, linewidth=0, label="written"
    )
    peak = result.dram_bytes_per_cycle * result.clock_hz / 1e9
    above.axhline(peak, color="black", linewidth=0.7, linestyle=(0, (4, 2)))
    above.text(1.0, peak, f"peak {peak:.3g} ", transform=above.get_yaxis_transform(), ha="right", va="bottom")
    above.set_ylim(0, peak * 1.25)
    above.set_ylabel("bandwidth (GB/s)")
    # a hit is counted when its burst is chosen, the bytes when they move: over the edge of a window it may exceed 100
    below.stairs(np.minimum(hits, 100.0), edges, baseline=None, color=GREEN, linewidth=0.9, label="row hits")
    below.set_ylim(0, 105)
    below.set_ylabel("row hits (% of bursts)")
    below.set_xlabel(f"time ({unit})")
    below.set_xlim(0, max(edges[-1], result.seconds / size))
    for axes in (above, below):
        axes.grid(axis="y")
    stats = result.dram.stats
    served = max(1, stats.row_hits + stats.row_misses + stats.row_conflicts)
    told = f"{100 * stats.row_hits / served:.1f}% row hits, {stats.row_conflicts:,} conflicts of {served:,} bursts"
    legend_above(figure, above, caption(result, told))
    return figure
