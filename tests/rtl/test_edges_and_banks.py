"""Bank conflicts of systolic arrays, access by access, against the edges that drive the register-transfer models.

The bench's controller (`bench.os_starts`, `bench.ws_windows`) says when each fold begins and `drive_os`, `drive_ws` put
its operands on the ports; here an operand's value is its address in the buffer, so that the ports say which element
enters where in which cycle. Addresses come from numbering the elements of a whole window, not from formulas.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.dataflow.base import DATAFLOWS, Array
from accelsim.dataflow.systolic_access import SystolicAccess, WindowTile
from accelsim.memory.buffer import BufferSpec
from accelsim.memory.buffer_lockstep import lockstep_stalls
from accelsim.sim.accesses import Place

from ..memory.naive_lockstep import NaiveBuffer, naive_stalls
from .bench import os_starts, tiles, ws_windows
from .cases import DATAFLOW_MODES
from .ports import Fold, Shape, Window, drive_os, drive_ws

BITS = {"ifmap": 8, "filter": 8, "psum": 16, "ofmap": 8}
HOLDS = ("ifmap", "filter", "psum", "ofmap")


@dataclass(frozen=True)
class Case:
    """A job on an array, with its tiles laid out."""

    dataflow: str
    array: Array
    window: WindowTile
    n: int
    adds: bool
    registers: bool
    places: dict[str, Place]


def lines(count: int, length: int, place: Place) -> Any:
    """(count, length) addresses, each line in its place."""
    padded = length
    if place.pad_words is not None:
        padded = (-(-length // place.per_word) + place.pad_words) * place.per_word
    return np.arange(count * padded).reshape(count, padded)[:, :length]


def ifmap_addresses(w: WindowTile, place: Place) -> Any:
    """Of the element (m, k)."""
    height = (w.rows - 1) * w.stride[0] + (w.taps[0] - 1) * w.dilation[0] + 1
    width = (w.cols - 1) * w.stride[1] + (w.taps[1] - 1) * w.dilation[1] + 1
    if place.layout == "nchw":
        stored = lines(w.images * w.channels, height * width, place)
        stored = stored.reshape(w.images, w.channels, height, width).transpose(0, 2, 3, 1)
    else:
        stored = lines(w.images * height * width, w.channels, place).reshape(w.images, height, width, w.channels)
    out = []
    for i in range(w.images):
        for p in range(w.rows):
            for q in range(w.cols):
                ys = [p * w.stride[0] + r * w.dilation[0] for r in range(w.taps[0])]
                xs = [q * w.stride[1] + s * w.dilation[1] for s in range(w.taps[1])]
                seen = stored[i][ys][:, xs]  # taps, taps, channels
                out.append(seen.transpose(2, 0, 1).ravel() if place.layout == "nchw" else seen.ravel())
    return np.array(out)


def addresses(case: Case) -> tuple[Any, Any, Any]:
    """Of ifmap (m, k), filter (k, n), psum (m, n)."""
    m, n, k = case.window.m, case.n, case.window.k
    filters, psum = case.places["filter"], case.places["psum"]
    inputs_first = filters.layout == "mrsc" or (not filters.layout and case.dataflow == "is")
    b = lines(n, k, filters).T if inputs_first else lines(k, n, filters)
    channels_last = psum.layout == "nhwc" or (not psum.layout and case.dataflow != "is")
    c = lines(m, n, psum) if channels_last else lines(n, m, psum).T
    return ifmap_addresses(case.window, case.places["ifmap"]), b, c


def accesses(case: Case) -> dict[tuple[Any, ...], list[int]]:
    """(cycle, operand, write, what else keeps accesses apart) -> elements that share accesses."""
    a, b, c = addresses(case)
    array, moved, held = case.array, "ifmap", "filter"
    if case.dataflow == "is":
        a, b, c, moved, held = b.T, a.T, c.T, "filter", "ifmap"
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    over_rows, over_cols = (a.shape[0] if case.dataflow == "os" else a.shape[1]), b.shape[1]
    length = a.shape[1] if case.dataflow == "os" else a.shape[0]
    steps = [
        (r, tiles(over_cols, array.cols)[at : at + array.arrays])
        for at in range(0, len(tiles(over_cols, array.cols)), array.arrays)
        for r in tiles(over_rows, array.rows)
    ]
    shapes = [
        Shape(r.stop - r.start, max(x.stop - x.start for x in group), length) for r, group in steps
    ]
    if array.edge == "full":
        shapes = [Shape(array.rows, array.cols, length) for _ in shapes]
    if case.dataflow == "os":
        starts = os_starts(shapes, array.overlap)
        loads = [0] * len(starts)
    else:
        windows = ws_windows(shapes, array.rows, array.cols, array.overlap)
        starts, loads = [w.start for w in windows], [w.load for w in windows]

    def note(cycle: int, lane: Any, late: int | None, operand: str, write: bool, fold: int, address: int) -> None:
        if case.registers or late is None:  # those of one step come together
            found[cycle - (late or 0) - starts[0], operand, write, fold].append(address)
        else:
            found[cycle - starts[0], operand, write, fold, lane].append(address)

    wave = array.overlap != "serial"
    for number, (r, group) in enumerate(steps):
        shape, start = shapes[number], starts[number]
        for which, columns in enumerate(group):
            width = columns.stop - columns.start
            if case.dataflow == "os":
                fold = Fold(a[r] + 1, b[:, columns] + 1)
                ports = drive_os([fold], [start], array.rows, array.cols)
                out = [
                    (start + length - 1 + shape.r - 1 + i + j, j, r.start + i, columns.start + j)
                    for i in range(r.stop - r.start)
                    for j in range(width)
                ]
                reads = case.adds
            else:
                # rows that are not in use are shifted in as zeros, before those that are
                fold = Fold(a[:, r] + 1, np.pad(b[r, columns] + 1, ((0, shape.r - (r.stop - r.start)), (0, 0))))
                left = np.pad(a[:, r] + 1, ((0, 0), (0, shape.r - (r.stop - r.start))))
                window = Window(loads[number], start)
                ports = drive_ws([Fold(left, fold.top)], [window], array.rows, array.cols, wave)
                out = [
                    (start + t + array.rows - 1 + j, j, t, columns.start + j)
                    for t in range(length)
                    for j in range(width)
                ]
                reads = case.adds or r.start > 0
            streams = [(held if case.dataflow != "os" else "filter", ports.filter, ports.filter_valid, True)]
            if which == 0:  # the arrays share the row operand
                streams.append((moved, ports.ifmap, ports.ifmap_valid, False))
            for operand, words, valid, across in streams:
                for cycle, lane in np.argwhere(valid).tolist():
                    if words[cycle, lane]:
                        late = None if across and case.dataflow != "os" and not wave else lane
                        note(cycle, (lane, which), late, operand, False, number, int(words[cycle, lane]) - 1)
            for cycle, lane, row, column in out:
                late = lane - (shape.c - 1)
                for write in (False, True) if reads else (True,):
                    note(cycle, (lane, which), late, "psum", write, number, int(c[row, column]))
    return found


def reference(case: Case, spec: BufferSpec) -> tuple[int, int]:
    buffer = NaiveBuffer(spec, HOLDS, BITS)
    for (cycle, operand, write, *_), elements in accesses(case).items():
        buffer.want(cycle, operand, write, elements)
    return naive_stalls([buffer])


def stalls(case: Case, spec: BufferSpec) -> tuple[int, int]:
    pattern = SystolicAccess(
        DATAFLOWS.lookup(case.dataflow), case.array, case.window, case.n, case.adds, case.registers
    )
    return lockstep_stalls([(spec, HOLDS)], BITS, *pattern.bursts(case.places))


@st.composite
def cases(draw: st.DrawFn, word_bits: int) -> Case:
    dataflow = draw(st.sampled_from(["os", "ws", "is"]))
    overlap = draw(st.sampled_from(DATAFLOWS.lookup(dataflow).overlaps))
    array = Array(
        draw(st.integers(1, 5)), draw(st.integers(1, 5)), overlap, draw(st.sampled_from(["ragged", "full"])),
        draw(st.sampled_from([1, 1, 2])),
    )  # fmt: skip
    if draw(st.booleans()):
        step = st.sampled_from([1, 2, 3])
        window = WindowTile(
            draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 5)),
            (draw(st.integers(1, 2)), draw(st.integers(1, 3))), (draw(step), draw(step)), (draw(step), draw(step)),
        )  # fmt: skip
    else:
        window = WindowTile(1, 1, draw(st.integers(1, 12)), draw(st.integers(1, 16)))
    pads = st.sampled_from([None, None, 0, 1])
    places = {
        operand: Place(draw(st.sampled_from(layouts)), draw(pads), max(1, word_bits // BITS[operand]))
        for operand, layouts in (
            ("ifmap", ["nhwc", "nchw"]), ("filter", ["", "rscm", "mrsc"]), ("psum", ["", "nhwc", "nchw"]),
        )
    }  # fmt: skip
    return Case(dataflow, array, window, draw(st.integers(1, 9)), draw(st.booleans()), draw(st.booleans()), places)


@st.composite
def buffers_and_cases(draw: st.DrawFn) -> tuple[BufferSpec, Case]:
    word = draw(st.sampled_from([8, 16, 32]))
    ports: dict[str, Any] = {"read_write_ports": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        ports = {"read_ports": draw(st.integers(1, 2)), "write_ports": 1}
    kind = draw(st.sampled_from(["word", "block", "operand"]))
    banks = draw(st.one_of(st.integers(1, 32), st.sampled_from([2, 4, 8])))
    more: dict[str, Any] = {}
    if kind == "block":
        more = {"block_words": draw(st.sampled_from([2, 4]))}
    if kind == "operand":
        more = {"operand_banks": {operand: draw(st.integers(1, 8)) for operand in HOLDS}}
        banks = 32
    spec = BufferSpec(capacity_bytes=banks * 4096, word_bits=word, banks=banks, interleave=kind, **ports, **more)
    return spec, draw(cases(word))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(buffers_and_cases())
def test_stalls_are_those_of_the_edges(both: tuple[BufferSpec, Case]) -> None:
    spec, case = both
    assert stalls(case, spec) == reference(case, spec)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(cases(8))
def test_every_word_that_is_counted_is_asked_for(case: Case) -> None:
    dataflow, m, n, k = DATAFLOWS.lookup(case.dataflow), case.window.m, case.n, case.window.k
    pattern = SystolicAccess(dataflow, case.array, case.window, n, case.adds, case.registers)
    bursts, _ = pattern.bursts(case.places)
    words = {
        (operand, write): int((bursts["lanes"] * bursts["steps"])[
            (bursts["operand"] == HOLDS.index(operand)) & (bursts["write"] == write)
        ].sum())
        for operand, write in (("ifmap", False), ("filter", False), ("psum", False), ("psum", True))
    }  # fmt: skip
    counted = dataflow.accesses(case.array, m, n, k)
    assert words == {
        ("ifmap", False): counted.ifmap_reads,
        ("filter", False): counted.filter_reads,
        ("psum", False): counted.psum_reads + case.adds * m * n,
        ("psum", True): counted.psum_writes,
    }


@pytest.mark.parametrize(("dataflow", "overlap"), DATAFLOW_MODES)
def test_words_as_wide_as_the_array_never_conflict(dataflow: str, overlap: str) -> None:
    """Each operand in a bank of its own, lines that begin with a word as wide as the array, a port for each way."""
    banks = {"ifmap": 1, "filter": 1, "psum": 1, "ofmap": 1}
    spec = BufferSpec(
        capacity_bytes=2**16, word_bits=4 * 16, banks=4, interleave="operand", operand_banks=banks,
        read_ports=1, write_ports=1,
    )  # fmt: skip
    layout = {"os": "nchw", "ws": "nhwc", "is": "nchw"}[dataflow]
    places = {"ifmap": Place(layout, 0, 8), "filter": Place("", 0, 8), "psum": Place("", 0, 4)}
    window = WindowTile(1, 1, 12, 16)
    case = Case(dataflow, Array(4, 4, overlap), window, 8, True, True, places)
    assert stalls(case, spec) == reference(case, spec) == (0, 0)


@pytest.mark.parametrize(("pad", "free"), [(None, False), (0, False), (1, True), (2, False), (3, True)])
def test_a_power_of_two_between_lanes_and_its_padding(pad: int | None, free: bool) -> None:
    """Output stationary, rows of a matrix of 64 columns in 8 banks: all lanes in one bank, unless lines are padded."""
    spec = BufferSpec(capacity_bytes=2**16, word_bits=8, banks=8, read_ports=1, write_ports=8)
    places = {"ifmap": Place("nhwc", pad, 1), "filter": Place(), "psum": Place()}
    case = Case("os", Array(8, 1, "pipelined"), WindowTile(1, 1, 8, 64), 1, False, True, places)
    wide = BufferSpec(
        capacity_bytes=2**16, word_bits=8, banks=32, interleave="operand", read_ports=1, write_ports=1,
        operand_banks={"ifmap": 8, "filter": 8, "psum": 8, "ofmap": 8},
    )  # fmt: skip
    assert stalls(case, spec) == reference(case, spec)
    ports, conflicts = stalls(case, wide)
    assert (ports, conflicts) == reference(case, wide) and ports == 0
    assert conflicts == {None: 7 * 64, 0: 7 * 64, 1: 0, 2: 64, 3: 0}[pad] and (conflicts == 0) == free
