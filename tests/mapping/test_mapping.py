"""Tilings: walked tiles against a brute-force walk, the search against enumeration, refusals."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.mapping.problem import Loops, Mapping, Problem, Room, m_steps, steps
from accelsim.mapping.search import ORDERS, candidates, largest_read
from accelsim.mapping.spans import axis_sums
from accelsim.mapping.tiles import walk
from accelsim.workload.shapes import ConvShape, GemmShape

TRAFFIC = ("filter_bytes", "ifmap_bytes", "psum_in_bytes", "ofmap_bytes", "psum_out_bytes")


@st.composite
def shapes(draw: Any) -> ConvShape | GemmShape:
    small = st.integers(1, 6)
    if draw(st.integers(0, 3)) == 0:
        return GemmShape(draw(small), draw(small), draw(small), draw(st.integers(1, 3)))
    groups = draw(st.integers(1, 3))
    r, s = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilation = (draw(st.integers(1, 2)), 1)
    h, w = draw(st.integers(5, 8)), draw(st.integers(3, 8))
    pad = tuple(draw(st.integers(0, 2)) for _ in range(4))
    return ConvShape(
        draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 4)),
        h,
        w,
        groups * draw(st.integers(1, 4)),
        r,
        s,
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        pad,
        dilation,
        groups,
    )


def touched(loops: Loops, axis: int, first: int, count: int, tap0: int = 0, taps: int = 0) -> set[int]:
    """Input positions between the first and the last that these outputs read along one axis, through these taps."""
    size, whole = ((loops.h, loops.r), (loops.w, loops.s))[axis]
    pad = (loops.pad_top, loops.pad_left)[axis]
    low, high = None, None
    for out in range(first, first + count):
        for tap in range(tap0, tap0 + (taps or whole)):
            at = out * loops.stride[axis] - pad + tap * loops.dilation[axis]
            low = at if low is None else min(low, at)
            high = at if high is None else max(high, at)
    assert low is not None and high is not None
    if axis == 0:
        # whole rows are fetched, those between windows that do not touch are not
        reach = ((taps or whole) - 1) * loops.dilation[0] + 1
        wanted = {
            at
            for out in range(first, first + count)
            for at in range(out * loops.stride[0] - pad + tap0 * loops.dilation[0], size)
            if at < out * loops.stride[0] - pad + tap0 * loops.dilation[0] + reach
        }
        return {at for at in wanted if at >= 0}
    # within a row the DMA fetches the whole span between the first and the last position that is read
    return set(range(max(0, low), min(size - 1, high) + 1))


def blocks(extent: int, tile: int) -> list[tuple[int, int]]:
    return [(x, min(tile, extent - x)) for x in range(0, extent, tile)]


def naive_walk(problem: Problem, mapping: Mapping) -> list[dict[str, int]]:
    """One tile of every operand is held at a time; a kept operand's tiles are never given up."""
    loops, bits = problem.loops, problem.bits
    size = lambda elements, b: -(-elements * b // 8)  # noqa: E731
    rows: list[dict[str, int]] = []
    for group in blocks(loops.groups, mapping.groups):
        pixels = list(
            product(
                blocks(loops.images, mapping.images), blocks(loops.p, mapping.rows), blocks(loops.q, mapping.cols)
            )
        )
        parts = product(
            blocks(loops.channels, mapping.channels), blocks(loops.r, mapping.taps_r), blocks(loops.s, mapping.taps_s)
        )
        axes: dict[str, list[Any]] = {"m": pixels, "n": blocks(loops.outputs, mapping.outputs), "k": list(parts)}
        seen: dict[str, set[Any]] = {"filter": set(), "ifmap": set()}
        held: dict[str, Any] = {"filter": None, "ifmap": None}
        sums: Any = None
        begun: set[Any] = set()
        for choice in product(*(axes[x] for x in mapping.order)):
            at = dict(zip(mapping.order, choice, strict=True))
            (i0, ic), (p0, pc), (q0, qc) = at["m"]
            n, g = at["n"][1], group[1]
            (_, channels), (r0, rc), (s0, sc) = at["k"]
            m, k = ic * pc * qc, channels * rc * sc
            row = dict.fromkeys(TRAFFIC, 0) | {"macs": g * m * n * k}
            high, wide = touched(loops, 0, p0, pc, r0, rc), touched(loops, 1, q0, qc, s0, sc)
            if mapping.keep_ifmap:  # only what the neighbour before has not brought
                high -= touched(loops, 0, p0 - mapping.rows, mapping.rows, r0, rc) if p0 else set()
                wide -= touched(loops, 1, q0 - mapping.cols, mapping.cols, s0, sc) if q0 else set()
            keys = {"filter": (at["n"], at["k"]), "ifmap": (at["m"], at["k"])}
            elements = {
                "filter": g * n * k,
                "ifmap": g * ic * channels * len(high) * len(wide),
            }
            keep = {"filter": mapping.keep_filter, "ifmap": mapping.keep_ifmap}
            free = {"filter": problem.on_chip[2], "ifmap": problem.on_chip[0]}
            width = {"filter": bits[1], "ifmap": bits[0]}
            for operand, key in keys.items():
                new = key not in seen[operand] if keep[operand] else key != held[operand]
                if new and not free[operand]:
                    row[f"{operand}_bytes"] = size(elements[operand], width[operand])
                seen[operand].add(key)
                held[operand] = key
            tile = (at["m"], at["n"])
            if tile != sums:
                if sums is not None and not mapping.keep_psum and not rows[-1]["last"]:
                    rows[-1]["psum_out_bytes"] = size(rows[-1]["sums"], bits[2])
                if tile in begun and not mapping.keep_psum:
                    row["psum_in_bytes"] = size(g * m * n, bits[2])
            sums = tile
            begun.add(tile)
            last = at["k"] == axes["k"][-1]
            if last and not problem.on_chip[1]:
                row["ofmap_bytes"] = size(g * m * n, bits[3])
            rows.append(row | {"last": int(last), "sums": g * m * n})
    return rows


@given(shapes(), st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_walk_equals_brute_force(shape: ConvShape | GemmShape, data: st.DataObject) -> None:
    loops = Loops.of(shape)
    bits = tuple(data.draw(st.sampled_from([1, 3, 4, 8, 16])) for _ in range(4))
    problem = Problem(loops, (), bits, tuple(data.draw(st.booleans()) for _ in range(3)))  # type: ignore[arg-type]
    extents = (loops.groups, loops.images, loops.p, loops.q, loops.outputs, loops.channels)
    tile = [data.draw(st.integers(1, e)) for e in extents]
    tile += [data.draw(st.sampled_from([1, loops.r])), data.draw(st.sampled_from([1, loops.s]))]
    mapping = Mapping(*tile, data.draw(st.sampled_from(ORDERS)), *(data.draw(st.booleans()) for _ in range(3)))
    walked, expected = walk(problem, mapping), naive_walk(problem, mapping)
    assert len(walked) == len(expected)
    for name in TRAFFIC:
        assert walked[name].tolist() == [row[name] for row in expected], (name, mapping)
    macs = walked["groups"] * walked["m"] * walked["n"] * walked["k"]
    assert macs.tolist() == [row["macs"] for row in expected]
    assert macs.sum() == shape.macs


def room_needs(problem: Problem, mapping: Mapping, room: Room) -> int:
    """Bytes that a mapping takes in a buffer, counted from the walked tiles."""
    loops, tiles = problem.loops, walk(problem, mapping)
    once = mapping.groups >= loops.groups
    used = 0
    for o, operand in enumerate(("ifmap", "filter", "psum", "ofmap")):
        if operand not in room.holds or (operand == "ofmap" and "psum" in room.holds):
            continue
        if (operand == "ifmap" and problem.on_chip[0]) or (operand == "ofmap" and problem.on_chip[1]):
            continue
        g = mapping.groups
        tap_rows, tap_cols = blocks(loops.r, mapping.taps_r), blocks(loops.s, mapping.taps_s)
        rows = max(len(touched(loops, 0, *b, *t)) for b in blocks(loops.p, mapping.rows) for t in tap_rows)
        cols = max(len(touched(loops, 1, *b, *t)) for b in blocks(loops.q, mapping.cols) for t in tap_cols)
        m = mapping.m()
        tile = {
            "ifmap": g * mapping.images * mapping.channels * rows * cols,
            "filter": g * mapping.outputs * mapping.k(),
            "psum": g * m * mapping.outputs,
            "ofmap": g * m * mapping.outputs,
        }[operand]
        whole = {
            "ifmap": g * loops.images * loops.channels * loops.h * loops.w,
            "filter": g * loops.outputs * loops.channels * loops.window,
            "psum": g * loops.outputs * loops.images * loops.p * loops.q,
            "ofmap": 0,
        }[operand]
        keys = {
            "ifmap": ("image0", "row0", "col0", "channel0", "tap0"),
            "filter": ("output0", "channel0", "tap0"),
            "psum": ("image0", "row0", "col0", "output0"),
            "ofmap": ("image0", "row0", "col0", "output0"),
        }[operand]
        kept = getattr(mapping, f"keep_{operand}", False)
        distinct = len({tuple(int(t[k]) for k in keys) for t in tiles})
        single = once and (kept or distinct == 1)
        if operand == "ifmap" and kept and room.lines:
            assert mapping.order[0] == "m"
            whole = g * loops.channels * loops.w * most_lines(loops, mapping, room.slots)
        used += -(-(whole if kept else tile) * problem.bits[o] // 8) * (1 if single else room.slots)
    return used


def most_lines(loops: Loops, mapping: Mapping, slots: int) -> int:
    """Lines of all images at a time: what a tile reads, and what those after it read that is not there yet."""
    tiles = [
        {
            (image, y)
            for image in range(i, min(loops.images, i + mapping.images))
            for y in touched(loops, 0, *rows, 0, loops.r)
        }
        for i in range(0, loops.images, mapping.images)
        for rows in blocks(loops.p, mapping.rows)
    ]
    return max(len(set().union(*tiles[at : at + slots])) for at in range(len(tiles)))


@given(shapes(), st.integers(20, 2000), st.integers(20, 500), st.integers(1, 3), st.booleans())
@settings(max_examples=16, deadline=None, derandomize=True)
def test_search_fits_counts_and_is_best(
    shape: ConvShape | GemmShape, big: int, small: int, slots: int, lines: bool
) -> None:
    rooms = (Room("a", big, ("ifmap", "ofmap", "psum"), slots, lines=lines), Room("b", small, ("filter",), slots))
    problem = Problem(Loops.of(shape), rooms, (8, 8, 32, 8), unit=(2, 2, 2))
    try:
        options = candidates(problem, 10**9)
        traffic = options.traffic_bits
    except ConfigError:
        assume(False)
    assert (np.diff(traffic) >= 0).all()
    for index in range(0, len(options), max(1, len(options) // 12)):
        tiles = walk(problem, options[index])
        assert sum(int(tiles[name].sum()) for name in TRAFFIC) * 8 == traffic[index]
        for room in rooms:
            assert room_needs(problem, options[index], room) <= room.free_bytes, options[index]
    # every tile of the same lists that fits has been considered
    loops = problem.loops
    others = (
        Mapping(int(g), *(int(x) for x in px), int(n), int(c), loops.r, loops.s, order)
        for g in steps(loops.groups, 1)[-1:]
        for px in m_steps(loops, 2)
        for n in steps(loops.outputs, 2)
        for c in steps(loops.channels, 2)
        for order in ORDERS[::2]
    )
    for mapping in others:
        if all(room_needs(problem, mapping, room) <= room.free_bytes for room in rooms):
            moved = sum(int(walk(problem, mapping)[name].sum()) for name in TRAFFIC) * 8
            assert moved >= traffic[0], mapping


def test_a_layer_that_fits_no_buffer_is_refused_with_both_sizes() -> None:
    rooms = (Room("weights", 1, ("filter",), 2), Room("rest", 10**6, ("ifmap", "psum", "ofmap"), 2))
    problem = Problem(Loops.of(ConvShape(1, 3, 8, 8, 4, 3, 3)), rooms, (8, 8, 32, 8))
    with pytest.raises(ConfigError, match=r"buffer 'weights'.*needs 2 bytes \(filter 2 x 1 B\), but 1 bytes"):
        candidates(problem)


@given(
    taps=st.integers(1, 7), stride=st.integers(1, 6), dilation=st.integers(1, 3), pad=st.integers(0, 24),
    size=st.integers(1, 60), tile=st.integers(1, 9), taps_tile=st.integers(1, 7), skips=st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_no_tile_behind_the_padding_reads_more(
    taps: int, stride: int, dilation: int, pad: int, size: int, tile: int, taps_tile: int, skips: bool
) -> None:
    extent = (size + 2 * pad - (taps - 1) * dilation - 1) // stride + 1
    assume(extent >= 1)
    axis = min(tile, extent), size, taps, min(taps_tile, taps), stride, dilation, pad
    assert largest_read(extent, *axis, skips=skips) == axis_sums(extent, *axis, skips)[2]


def test_a_huge_layer_is_refused_without_a_look_at_every_row() -> None:
    assert largest_read(10**15, 1, 10**15, 3, 3, 1, 1, 1, skips=True) == 3


def test_an_accumulator_takes_whole_rows() -> None:
    """16 rows of 8 sums of 32 bits: a tile of one column and 17 rows does not fit, of 8 columns and 16 rows it does."""
    loops = Loops.of(GemmShape(17, 8, 4))
    rooms = (Room("acc", 16 * 32, ("psum",), 1, 32), Room("rest", 10**6, ("ifmap", "filter", "ofmap"), 2))
    options = candidates(Problem(loops, rooms, (8, 8, 32, 8)), 10**9)
    assert max(o.images for o in options) < 17
    assert max(o.images * -(-o.outputs // 8) for o in options) <= 16


def test_a_recurrence_walks_step_by_step() -> None:
    rooms = (Room("all", 10**6, ("ifmap", "filter", "psum", "ofmap"), 2),)
    problem = Problem(Loops(1, 12, 1, 1, 8, 8), rooms, (8, 8, 32, 8), unit=(1, 4, 4), step_rows=3)
    options = candidates(problem)
    for mapping in list(options)[:20]:
        tiles = walk(problem, mapping)
        assert (np.diff(tiles["image0"]) >= 0).all()
        assert set(tiles["m"]) == {3}
    # the filter is fetched once, not once for each step
    assert int(walk(problem, options[0])["filter_bytes"].sum()) == 64


def test_steps_contain_the_whole_and_multiples_of_the_unit() -> None:
    assert steps(100, 32).tolist()[-1] == 100
    assert set(steps(100, 32).tolist()) == {32, 64, 100}
    assert {1, 2, 4} <= set(steps(100, 32, fine=True).tolist())
    assert steps(1, 32).tolist() == [1]
