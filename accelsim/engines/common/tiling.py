"""What engines share when they lower a layer: choosing a mapping, walking it, counting buffer accesses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.engines.base import Share, Task
from accelsim.engines.common.streams import Box, Pattern, TensorPlace, runs
from accelsim.mapping.problem import TILE_EXTENTS, Loops, Mapping, Problem
from accelsim.mapping.search import Candidates, candidates
from accelsim.sim.passes import PATTERN, PassArray, empty_passes
from accelsim.workload.shapes import ConvShape, GemmShape

Cycles = Callable[[Any, Any, Any], Any]


def choose(task: Task, problem: Problem, interval: Cycles, *, full_edges: bool = False) -> Mapping:
    """The best mapping of a layer by the task's objective, or the pinned one.

    `interval(m, n, k)` gives, for int64 arrays of tile extents, the cycles that the array is taken by
    one tile. A layer's time is estimated as max(compute, traffic / bandwidth), plus what cannot
    overlap: the way in of the first tile and the way out of the last. Among equals the one that keeps
    the array busy for the shortest time wins, then the one with the fewest passes. With `full_edges` the
    last tile of a dimension takes the time of a whole one.

    Raises
    ------
    ConfigError
        If no tile fits the buffers.
    """
    pinned = pinned_mapping(task, problem.loops)
    if pinned is not None:
        return pinned
    options = candidates(problem)
    if task.objective == "traffic":
        options = Candidates(options.rows[options.traffic_bits == options.traffic_bits[0]])
    if len(options) == 1:
        return options[0]
    # estimates within the tolerance of the best count as equal, then the array's own cycles within 1/64
    cycles, busy = _estimate(task, problem, options, interval, full_edges)
    near = np.flatnonzero(cycles <= cycles.min() + cycles.min() // task.tolerance)
    near = near[busy[near] <= busy[near].min() + busy[near].min() // 64]
    keys = (near, options.traffic_bits[near], cycles[near], options.passes[near])
    return options[int(near[np.lexsort(keys)[0]])]


def _estimate(
    task: Task, problem: Problem, options: Candidates, interval: Cycles, full_edges: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(cycles of the layer, cycles of the array alone) of each option."""
    loops = problem.loops
    column = {name: options.column(name) for name in TILE_EXTENTS}
    extent = {"images": loops.images, "rows": loops.p, "cols": loops.q}
    # an option is ragged in at most one of images, rows and columns: the others divide or are whole
    full_m = column["images"] * column["rows"] * column["cols"]
    counts_m = prod(-(-extent[x] // column[x]) for x in extent)
    edge_m = np.maximum(1, full_m - (counts_m * full_m - loops.images * loops.p * loops.q))
    total = np.zeros(len(options), np.int64)
    trips_n = -(-loops.outputs // column["outputs"])
    taps = column["taps_r"] * column["taps_s"]
    trips_c = -(-loops.channels // column["channels"])
    tap_tiles = loops.window // taps
    edge_n = loops.outputs - (trips_n - 1) * column["outputs"]
    edge_c = loops.channels - (trips_c - 1) * column["channels"]
    if full_edges:
        edge_m, edge_n, edge_c = full_m, column["outputs"], column["channels"]
    # what a pass fetches cannot overlap with more than its own time: a filter tile's share of the traffic
    rate = task.dram_bytes_per_cycle * 8
    filters = loops.groups * loops.outputs * loops.channels * loops.window * problem.bits[1] * counts_m
    moved = np.minimum(options.traffic_bits, filters)
    busy = np.zeros(len(options), np.int64)
    for m, times_m in ((full_m, counts_m - 1), (edge_m, 1)):
        for n, times_n in ((column["outputs"], trips_n - 1), (edge_n, 1)):
            for c, times_c in ((column["channels"], trips_c - 1), (edge_c, 1)):
                times = times_m * times_n * times_c * tap_tiles
                cycles = interval(m, n, c * taps)
                fetch = cycles_at(n * c * taps * problem.bits[1] * moved // filters, rate)
                busy += cycles * times
                total += np.maximum(cycles, fetch) * times
    busy, total = busy * loops.groups, total * loops.groups
    # transfers move whole bursts: half a burst more than asked for, on average
    in_flight = cycles_at(options.traffic_bits + options.passes * (task.burst_bytes * 4), rate)
    groups, burst = column["groups"], task.burst_bytes * 8
    exposed = np.zeros(len(options), np.int64)
    for here, bits in (
        (problem.on_chip[2], groups * column["outputs"] * column["channels"] * taps * problem.bits[1]),
        (problem.on_chip[0], groups * full_m * column["channels"] * problem.bits[0]),
        (problem.on_chip[1], groups * full_m * column["outputs"] * problem.bits[3]),
    ):
        if not here:
            exposed += -(-bits // burst) * burst
    return np.maximum(total, in_flight) + cycles_at(exposed, rate), busy


def cycles_at(bits: NDArray[Any], rate: Fraction) -> NDArray[np.int64]:
    """Whole cycles that `bits` take at `rate` bits per cycle; exact also where bits x denominator exceed 63 bits."""
    if int(bits.max(initial=0)) * rate.denominator < 2**63 and rate.numerator < 2**63:
        return np.asarray(bits * rate.denominator // rate.numerator, np.int64)
    exact = bits.astype(object) * rate.denominator // rate.numerator
    return np.asarray(np.minimum(exact, 2**62), np.int64)


def pinned_mapping(task: Task, loops: Loops) -> Mapping | None:
    """The pinned mapping, cut to the layer's extents (None: the mapping is searched)."""
    if task.pinned is None:
        return None
    extents = (loops.groups, loops.images, loops.p, loops.q, loops.outputs, loops.channels, loops.r, loops.s)
    pin = task.pinned
    if pin.groups < loops.groups and (pin.keep_ifmap or pin.keep_filter):
        what = f"a pinned mapping that keeps operands must hold all {loops.groups} groups in a tile, got {pin.groups}"
        raise ConfigError(what, f"layer {task.layer.name}")
    cut = {name: min(getattr(pin, name), extent) for name, extent in zip(TILE_EXTENTS, extents, strict=True)}
    return replace(pin, **cut)


def distinct(columns: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that differ, in order, and for each row which of them it is; columns are >= 0."""
    if prod(int(column.max(initial=0)) + 1 for column in columns) >= 2**62:
        found, which = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        return found, which.ravel()
    key = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        key = key * (int(column.max(initial=0)) + 1) + column
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return np.stack([column[first] for column in columns], axis=1), which.ravel()


def passes_from_tiles(tiles: NDArray[Any], task: Task) -> PassArray:
    """Copy traffic from a tile table, and lay the tiles out in DRAM."""
    rows = empty_passes(len(tiles))
    for name in ("filter_bytes", "ifmap_bytes", "psum_in_bytes", "ofmap_bytes", "psum_out_bytes"):
        rows[name] = tiles[name]
    rows["macs"] = tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]
    _addresses(rows, tiles, task)
    return rows


def _addresses(rows: PassArray, tiles: NDArray[Any], task: Task) -> None:
    """Filters lie tile by tile in the order of first use; feature maps as their layout says."""
    base, work = task.addresses, task.layer.work
    window = work.r * work.s if isinstance(work, ConvShape) else 1
    key = (tiles["group0"] << 42) + (tiles["output0"] << 21) + tiles["channel0"] * window + tiles["tap0"]
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    size = (tiles["groups"] * tiles["n"] * tiles["k"] * task.bits["filter"] + 7) // 8
    by_use = np.argsort(first, kind="stable")
    offset = np.zeros(len(first), np.int64)
    offset[by_use] = np.concatenate(([0], np.cumsum(size[first[by_use]])[:-1]))
    rows["filter_address"] = base.get("filter", 0) + offset[inverse]
    rows["psum_address"] = base.get("psum", 0)
    at = task.share or Share(work) if isinstance(work, ConvShape | GemmShape) else None
    if at is None:
        return
    whole = at.whole
    if isinstance(whole, ConvShape):
        groups, per_group, out_per_group = whole.g, whole.c // whole.g, whole.m // whole.g
        sources = TensorPlace(whole.n, whole.c, whole.h, whole.w, task.bits["ifmap"], task.layout)
        results = TensorPlace(whole.n, whole.m, whole.p, whole.q, task.bits["ofmap"], task.layout)
        step = whole.stride[0] if whole.stride[0] > (whole.r - 1) * whole.dilation[0] + 1 else 1
        matrix, out_matrix = 0, 0
    else:  # rows of a matrix are images of one pixel; products follow each other
        groups, per_group, out_per_group = 1, whole.k, whole.n
        sources = TensorPlace(whole.m, whole.k, 1, 1, task.bits["ifmap"])
        results = TensorPlace(whole.m, whole.n, 1, 1, task.bits["ofmap"])
        step = 1
        matrix = whole.m * whole.k * task.bits["ifmap"] // 8
        out_matrix = whole.m * whole.n * task.bits["ofmap"] // 8
    images, outputs = tiles["images"], tiles["n"]
    channels = tiles["channels"]
    fetched = tiles["ifmap_bytes"] > 0
    several = tiles["groups"] if groups > 1 else 1
    group, image = tiles["group0"] + at.group0, tiles["image0"] + at.image0
    channel, output = tiles["channel0"] + at.channel0, tiles["output0"] + at.output0
    box = Box(
        image, images, group * per_group * (groups > 1) + channel, several * channels,
        tiles["in_row0"] + at.in_row0, tiles["in_rows"], tiles["in_col0"], tiles["in_cols"], step,
    )
    _set_runs(rows, "ifmap", runs(sources, box), base.get("ifmap", 0) + group * matrix, fetched)
    box = Box(
        image, images, group * out_per_group * (groups > 1) + output, several * outputs,
        tiles["row0"] + at.row0, tiles["rows"], tiles["col0"], tiles["cols"],
    )
    written = tiles["ofmap_bytes"] > 0
    _set_runs(rows, "ofmap", runs(results, box), base.get("ofmap", 0) + group * out_matrix, written)


def _set_runs(rows: PassArray, operand: str, pattern: Pattern, base: Any, used: NDArray[Any]) -> None:
    rows[f"{operand}_address"] = np.where(used, base + pattern.base, 0)
    several = used & (pattern.rows * pattern.planes > 1)
    for part in PATTERN:
        rows[f"{operand}_{part}"] = np.where(several, getattr(pattern, part), 0)


def buffer_counts(task: Task, tiles: NDArray[Any], reads: dict[str, int], writes: dict[str, int]) -> ActionCounts:
    """Accesses of the buffers: by the array (`reads`, `writes` in words of each operand), and by DMA.

    A buffer moves `word_bits` with each access, so narrow operands share one.
    """
    bits_read: dict[str, int] = {}
    bits_written: dict[str, int] = {}

    def note(table: dict[str, int], operand: str, bits: int) -> None:
        name = task.room_of(operand).name
        table[name] = table.get(name, 0) + bits

    for operand, words in reads.items():
        note(bits_read, operand, words * task.bits[operand])
    for operand, words in writes.items():
        note(bits_written, operand, words * task.bits[operand])
    for operand, column in (("filter", "filter_bytes"), ("ifmap", "ifmap_bytes"), ("psum", "psum_in_bytes")):
        note(bits_written, operand, 8 * int(tiles[column].sum()))
    for operand, column in (("ofmap", "ofmap_bytes"), ("psum", "psum_out_bytes")):
        note(bits_read, operand, 8 * int(tiles[column].sum()))
    counts = ActionCounts()
    for name, bits in bits_read.items():
        counts.add(name, "read", ceil_div(bits, task.word_bits[name]))
    for name, bits in bits_written.items():
        counts.add(name, "write", ceil_div(bits, task.word_bits[name]))
    return counts
