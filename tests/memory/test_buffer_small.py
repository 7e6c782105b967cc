"""Scratchpads, double buffering and line buffers against models that are stepped cycle by cycle."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pydantic
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.base.spec import build
from accelsim.base.yamlio import parse_yaml
from accelsim.memory.buffer_double import even_cycles, overlap
from accelsim.memory.buffer_scratchpad import Scratchpad
from accelsim.memory.linebuffer import LineBuffer

# --- scratchpads ---


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 3), st.integers(1, 3), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=80)
def test_a_step_takes_the_cycles_that_its_accesses_need(reads: int, writes: int, r: int, w: int, shared: bool) -> None:
    pad = (
        Scratchpad(words=16, word_bits=16, accesses_per_cycle=r)
        if shared
        else Scratchpad(words=16, word_bits=16, reads_per_cycle=r, writes_per_cycle=w)
    )
    cycles, left, queue = 0, Counter(read=reads, write=writes), ["read"] * reads + ["write"] * writes
    while cycles == 0 or left.total():
        cycles += 1
        free = {"read": r, "write": w}
        slots = r
        for kind in list(queue):
            if (slots if shared else free[kind]) > 0:
                slots -= 1
                free[kind] -= 1
                left[kind] -= 1
                queue.remove(kind)
    assert pad.step_cycles(reads, writes) == cycles
    assert pad.stall_cycles(10, np.array([reads]), writes).tolist() == [10 * (cycles - 1)]


def test_scratchpads_of_eyeriss() -> None:
    """One MAC a cycle reads an ifmap word, a filter word and a psum, and writes the psum back (JSSC 2017)."""
    psum = Scratchpad(words=24, word_bits=16)
    assert psum.step_cycles(1, 1) == 1
    assert Scratchpad(words=24, word_bits=16, accesses_per_cycle=1).step_cycles(1, 1) == 2
    psum.check(24, "psum scratchpad")
    with pytest.raises(ConfigError, match="psum scratchpad: must hold 25 words, has room for 24"):
        psum.check(25, "psum scratchpad")


def test_scratchpad_limits_must_not_contradict() -> None:
    with pytest.raises(ConfigError, match="accesses_per_cycle must not be given together with reads_per_cycle"):
        build(Scratchpad, parse_yaml("{words: 1, word_bits: 8, reads_per_cycle: 1, accesses_per_cycle: 1}", "pe.yaml"))
    with pytest.raises(ConfigError, match="words.* must be >= 1, got 0"):
        build(Scratchpad, parse_yaml("{words: 0, word_bits: 8}", "pe.yaml"))


# --- double buffering ---


def stepped_overlap(load: list[int], use: list[int], slots: int) -> tuple[list[int], list[int], int]:
    load_start, use_start = [-1] * len(load), [-1] * len(load)
    loaded = [False] * len(load)
    loading, using, held, cycle = 0, 0, 0, 0
    while using < len(use):
        moved = True
        while moved:  # everything that happens in this cycle
            moved = False
            if loading < len(load) and load_start[loading] < 0 and held < slots:
                load_start[loading], moved = cycle, True
                held += 1
            if loading < len(load) and load_start[loading] >= 0 and cycle == load_start[loading] + load[loading]:
                loaded[loading], moved = True, True
                loading += 1
            if using < len(use) and use_start[using] < 0 and loaded[using]:
                use_start[using], moved = cycle, True
            if using < len(use) and use_start[using] >= 0 and cycle == use_start[using] + use[using]:
                held, moved = held - 1, True
                using += 1
        cycle += 1
    return load_start, use_start, max(0, cycle - 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), st.integers(1, 4))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_double_buffering_equals_its_steps(tiles: list[tuple[int, int]], slots: int) -> None:
    load, use = [a for a, _ in tiles], [b for _, b in tiles]
    fast = overlap(load, use, slots)
    load_start, use_start, cycles = stepped_overlap(load, use, slots)
    assert (fast.load_start.tolist(), fast.use_start.tolist(), fast.cycles) == (load_start, use_start, cycles)
    assert fast.waits_for_tile == cycles - sum(use)
    assert fast.cycles <= overlap(load, use, max(1, slots - 1)).cycles


@given(st.integers(0, 12), st.integers(0, 9), st.integers(0, 9), st.integers(1, 3))
@settings(deadline=None, derandomize=True, max_examples=80)
def test_equal_tiles_have_a_closed_form(tiles: int, load: int, use: int, slots: int) -> None:
    assert even_cycles(tiles, load, use, slots) == overlap([load] * tiles, [use] * tiles, slots).cycles


def test_double_buffering_refuses() -> None:
    with pytest.raises(ConfigError, match="slots must be >= 1, got 0"):
        overlap([1], [1], 0)
    with pytest.raises(ConfigError, match="as many loads as uses are needed, got 1 and 2"):
        overlap([1], [1, 2])


# --- line buffers ---


@st.composite
def line_buffers(draw: st.DrawFn) -> LineBuffer:
    window = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    return LineBuffer(
        rows=window[0] + draw(st.integers(0, 4)),
        width=draw(st.integers(window[1], 9)),
        window=window,
        stride=(draw(st.integers(1, 5)), draw(st.integers(1, 5))),
        pad=(draw(st.integers(0, window[0] - 1)), draw(st.integers(0, window[1] - 1))),
        pixel_cycles=draw(st.integers(1, 4)),
        output_cycles=draw(st.integers(1, 6)),
    )


def stepped_lines(b: LineBuffer, height: int) -> tuple[int, list[int], int]:
    """Pixel by pixel and cycle by cycle: (first output, end of each row, cycles in which pixels are held back)."""
    (rw, sw), (sr, sc), (pr, pc) = b.window, b.stride, b.pad
    count, outputs = b.output_rows(height), b.outputs
    arrived: set[tuple[int, int]] = set()
    lines: dict[int, int] = {}  # line -> row that lies in it
    y = x = 0
    pixel_left = output_left = 0
    p = q = 0
    first, done, held, cycle = -1, [], 0, 0

    def needed(row: int) -> bool:
        return any(row in range(o * sr - pr, o * sr - pr + rw) for o in range(p, count))

    while p < count:
        if output_left == 0:
            window = [
                (i, j)
                for i in range(p * sr - pr, p * sr - pr + rw)
                for j in range(q * sc - pc, q * sc - pc + sw)
                if 0 <= i < height and 0 <= j < b.width
            ]
            if all(pixel in arrived for pixel in window):
                assert all(lines[i % b.rows] == i for i, _ in window)  # nothing has been overwritten
                first = cycle if first < 0 else first
                output_left = b.output_cycles
        if y < height and pixel_left == 0:
            if x == 0 and y >= b.rows and needed(y - b.rows):
                held += 1
            else:
                lines[y % b.rows] = y
                pixel_left = b.pixel_cycles
        cycle += 1
        if pixel_left:
            pixel_left -= 1
            if pixel_left == 0:
                arrived.add((y, x))
                y, x = (y, x + 1) if x + 1 < b.width else (y + 1, 0)
        if output_left:
            output_left -= 1
            if output_left == 0:
                q += 1
                if q == outputs:
                    done.append(cycle)
                    p, q = p + 1, 0
    return first, done, held


@given(line_buffers(), st.integers(1, 14))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_a_line_buffer_equals_its_steps(buffer: LineBuffer, height: int) -> None:
    assume(buffer.output_rows(height) >= 1)
    fast = buffer.timing(height)
    first, done, held = stepped_lines(buffer, height)
    assert fast.first_output == first
    assert fast.row_done.tolist() == done
    assert fast.cycles == done[-1]
    assert fast.output_wait == done[-1] - len(done) * buffer.outputs * buffer.output_cycles
    rows_before = (len(done) - 1) * buffer.stride[0] - buffer.pad[0] + buffer.window[0]
    if rows_before >= height:  # else pixels that nobody needs come after the last output
        assert fast.input_wait == held
    if height >= buffer.window[0] - buffer.pad[0]:
        assert buffer.fill_cycles() == first


@given(line_buffers())
@settings(deadline=None, derandomize=True, max_examples=150)
def test_the_steady_rate_is_that_of_the_long_run(buffer: LineBuffer) -> None:
    rate = buffer.steady_row_cycles()
    rows = 120
    done = buffer.timing(rows * buffer.stride[0] + buffer.window[0]).row_done
    # what an output row may be early or late by: all lines, once
    slack = rate + buffer.rows * buffer.width * buffer.pixel_cycles + buffer._row_span() + buffer.fill_cycles()
    assert abs(done[rows - 1] - rate * rows) <= slack
    more = buffer.model_copy(update={"rows": buffer.rows + 1})
    assert more.steady_row_cycles() <= rate


def test_line_buffer_by_hand() -> None:
    three = LineBuffer(rows=3, width=8, channels=4, pixel_cycles=1, output_cycles=1)
    assert three.bits == 3 * 8 * 4 * 8
    assert three.fill_cycles() == 2 * 8 + 3
    # without a spare line a row is filled after the outputs of the row before: 8 pixels, and one output after the last
    assert three.steady_row_cycles() == 9
    assert three.timing(6).row_done.tolist() == [25, 34, 43, 52]
    four = three.model_copy(update={"rows": 4})
    assert four.steady_row_cycles() == 8
    assert four.timing(6).row_done.tolist() == [25, 33, 41, 49]
    assert four.timing(6).input_wait == 0 and three.timing(6).input_wait == 3
    with pytest.raises(ValueError, match="a feature map of 2 rows is lower than the window"):
        three.timing(2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{rows: 2, width: 8}", "rows must be at least the 3 of the window, got 2"),
        ("{rows: 3, width: 2}", "width must be at least that of the window, 3, got 2"),
        ("{rows: 3, width: 8, pad: [3, 0]}", "pad must be >= 0 and smaller than the window"),
        ("{rows: 3, width: 8, stride: [0, 1]}", "window and stride must be >= 1"),
        ("{rows: 3, width: 8, capacity_bits: 191}", "capacity_bits must be at least the 192 of its lines, got 191"),
        ("{rows: 0, width: 8}", "rows.* must be >= 1, got 0"),
    ],
)
def test_line_buffers_that_cannot_work_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(LineBuffer, parse_yaml(text, "lines.yaml"))


def test_specs_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        LineBuffer(rows=3, width=8).rows = 4  # type: ignore[misc]
