"""Row-stationary passes and whole layers against the array in registers: cycles, outputs, owners, traffic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.dataflow.row_stationary import (
    RsArray,
    RsPass,
    load_cycles,
    pass_timing,
    place_sets,
    stacks_that_fit,
    window_groups,
)
from accelsim.dataflow.rs_access import RsAccess
from accelsim.engines.eyeriss.rs_mapping import RsMapping, RsProblem, check_pin, passes_of, processing_cycles, walk
from accelsim.engines.eyeriss.rs_search import search
from accelsim.mapping.problem import Loops
from accelsim.memory.buffer import BufferSpec
from accelsim.memory.buffer_lockstep import lockstep_stalls

from ..memory.naive_lockstep import NaiveBuffer, naive_stalls
from .row_stationary import RsRegisters, run_pass

Words = NDArray[np.int64]


@st.composite
def passes(draw: st.DrawFn) -> tuple[RsArray, RsPass, bool]:
    """A pass and an array whose spads and PEs just hold it, or have some room."""
    one = RsPass(
        draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 3)),
        draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 2)), draw(st.integers(1, 2)),
        draw(st.integers(1, 3)), (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
    )
    least = window_groups(one.q, one.filter_cols, one.f, one.stride[1], one.dilation[1])
    array = RsArray(
        16, 16, least + draw(st.integers(0, 5)), one.p * one.q * one.filter_cols, one.p + draw(st.integers(0, 2)),
        draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4)),
    )
    return array, one, draw(st.booleans())


@given(case=passes(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_a_pass_takes_the_cycles_of_the_registers_and_computes_its_sums(
    case: tuple[RsArray, RsPass, bool], seed: int
) -> None:
    array, one, adds = case
    rng = np.random.default_rng(seed)
    rows = sorted({j * one.stride[0] + i * one.dilation[0] for j in range(one.e) for i in range(one.filter_rows)})
    cols = sorted({f * one.stride[1] + s * one.dilation[1] for f in range(one.f) for s in range(one.filter_cols)})
    ifmap = rng.integers(-9, 10, (one.images, one.q * one.r, len(rows), len(cols)))
    filters = rng.integers(-9, 10, (one.p * one.t, one.q * one.r, one.filter_rows, one.filter_cols))
    earlier = rng.integers(-99, 100, (one.images, one.p * one.t, one.e, one.f)) if adds else None
    run = run_pass(array, one, ifmap, filters, earlier)
    timing = pass_timing(array, one, adds)
    assert run.load == timing.load == load_cycles(array, one)
    assert run.finish == timing.finish
    assert timing.busy + timing.fill + timing.bus <= timing.finish
    expect = np.zeros_like(run.sums) if earlier is None else earlier.copy()
    for e in range(one.e):
        for f in range(one.f):
            y = [rows.index(e * one.stride[0] + i * one.dilation[0]) for i in range(one.filter_rows)]
            x = [cols.index(f * one.stride[1] + s * one.dilation[1]) for s in range(one.filter_cols)]
            expect[:, :, e, f] += np.einsum("ncyx,mcyx->nm", ifmap[:, :, y][..., x], filters)
    assert np.array_equal(run.sums, expect)
    # every PE does as many products as every other, and the words are those that the engine counts
    assert (run.products == timing.busy).all() and run.products.sum() == one.macs
    assert run.ifmap_words == one.ifmap_words()
    assert run.psum_words_out == one.psum_words()
    assert run.psum_words_in == (one.psum_words() if adds else 0)


@st.composite
def layers(draw: st.DrawFn) -> tuple[RsArray, Loops]:
    """Small convolutions with stride, padding, dilation, groups and filters taller than the array."""
    r, s = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    stride = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    p, q = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pad_top, pad_left = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    h = max(1, (p - 1) * stride[0] + (r - 1) * dilation[0] + 1 - pad_top)
    w = max(1, (q - 1) * stride[1] + (s - 1) * dilation[1] + 1 - pad_left)
    loops = Loops(
        draw(st.integers(1, 2)), draw(st.integers(1, 2)), p, q, draw(st.integers(1, 5)), draw(st.integers(1, 4)),
        h, w, r, s, stride, dilation, pad_top, pad_left,
    )
    words = window_groups(1, s, q, stride[1], dilation[1])
    array = RsArray(
        draw(st.integers(2, 4)), draw(st.integers(2, 4)), words * draw(st.integers(1, 3)), s * draw(st.integers(1, 6)),
        draw(st.integers(1, 4)), 1, draw(st.integers(1, 4)), draw(st.integers(1, 4)),
    )
    return array, loops


def reference(loops: Loops, ifmap: Words, filters: Words) -> Words:
    """Outputs (groups, images, outputs, p, q) by definition; ifmap is padded."""
    out = np.zeros((loops.groups, loops.images, loops.outputs, loops.p, loops.q), np.int64)
    for y in range(loops.r):
        for x in range(loops.s):
            top, left = y * loops.dilation[0], x * loops.dilation[1]
            met = ifmap[..., top:top + (loops.p - 1) * loops.stride[0] + 1:loops.stride[0],
                        left:left + (loops.q - 1) * loops.stride[1] + 1:loops.stride[1]]
            out += np.einsum("gnchw,gmc->gnmhw", met, filters[..., y, x])
    return out


@given(case=layers(), seed=st.integers(0, 2**32 - 1), small=st.booleans(), goal=st.sampled_from(["cycles", "traffic"]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_layer_takes_the_cycles_of_the_registers_and_every_mac_has_one_owner(
    case: tuple[RsArray, Loops], seed: int, small: bool, goal: str
) -> None:
    array, loops = case
    room = 400 if small else 10**6
    problem = RsProblem(loops, array, (16, 16, 16, 16), room, room, 10**6, True, (False, False, False))
    mapping = search(problem, goal, Fraction(4))
    check_layer(problem, mapping, seed)


def check_layer(problem: RsProblem, mapping: RsMapping, seed: int) -> None:
    loops, array = problem.loops, problem.array
    rng = np.random.default_rng(seed)
    high = loops.pad_top + loops.h + (loops.r - 1) * loops.dilation[0] + loops.stride[0]
    wide = loops.pad_left + loops.w + (loops.s - 1) * loops.dilation[1] + loops.stride[1]
    ifmap = np.zeros((loops.groups, loops.images, loops.channels, high, wide), np.int64)
    inner = ifmap[..., loops.pad_top:loops.pad_top + loops.h, loops.pad_left:loops.pad_left + loops.w]
    inner[...] = rng.integers(-9, 10, inner.shape)
    filters = rng.integers(-9, 10, (loops.groups, loops.outputs, loops.channels, loops.r, loops.s))
    tiles = walk(problem, mapping)
    found, which = passes_of(loops, tiles)
    sums = np.zeros((loops.groups, loops.images, loops.outputs, loops.p, loops.q), np.int64)
    owners = np.zeros((loops.groups, loops.images, loops.outputs, loops.p, loops.channels, loops.r), np.int64)
    cycles, loaded = 0, None
    words = 0
    for tile, number in zip(tiles, which, strict=True):
        one = found[number]
        g, image, row, out, ch = (int(tile[x]) for x in ("group0", "image0", "row0", "output0", "channel0"))
        top = int(tile["tap0"]) // loops.s
        n_out, n_ch = int(tile["n"]), int(tile["channels"])
        rows = sorted({j * one.stride[0] + i * one.dilation[0] for j in range(one.e) for i in range(one.filter_rows)})
        cols = sorted({f * one.stride[1] + s * one.dilation[1] for f in range(one.f) for s in range(one.filter_cols)})
        first = row * loops.stride[0] + top * loops.dilation[0]
        images = slice(image, image + one.images)
        block = np.zeros((one.images, one.q * one.r, len(rows), len(cols)), np.int64)
        block[:, :n_ch] = ifmap[g, images, ch:ch + n_ch][:, :, [first + y for y in rows]][..., cols]
        weights = np.zeros((one.p * one.t, one.q * one.r, one.filter_rows, one.filter_cols), np.int64)
        weights[:n_out, :n_ch] = filters[g, out:out + n_out, ch:ch + n_ch, top:top + one.filter_rows]
        here = (g, images, slice(out, out + n_out), slice(row, row + one.e))
        earlier = np.zeros((one.images, one.p * one.t, one.e, one.f), np.int64)
        earlier[:, :n_out] = sums[here]
        run = run_pass(array, one, block, weights, None if tile["first_k"] else earlier)
        key = (g, out, ch, top)
        cycles += run.finish + (run.load if key != loaded else 0)
        loaded = key
        sums[here] = run.sums[:, :n_out]
        words += run.sums[:, :n_out].size
        # the PE of stack a, column e and height h holds filters a * p..., channels of its set, and one filter row
        for stack in range(one.t):
            outs = range(out + stack * one.p, min(out + (stack + 1) * one.p, out + n_out))
            for height in range(one.depth):
                part, y = height // one.filter_rows, one.filter_rows - 1 - height % one.filter_rows
                channels = range(ch + part * one.q, min(ch + (part + 1) * one.q, ch + n_ch))
                for j in range(one.e):
                    for o in outs:
                        for c in channels:
                            owners[g, images, o, row + j, c, top + y] += 1
    assert cycles == processing_cycles(problem, mapping)
    assert (owners == 1).all()
    assert np.array_equal(sums, reference(loops, ifmap, filters))
    # sums conserved: what the passes write back and the words that the tiles say are the same
    assert words == int((tiles["m"] * tiles["n"]).sum())
    assert int((tiles["m"] * tiles["n"] * tiles["last_k"]).sum()) == sums.size
    assert int((tiles["m"] * tiles["n"] * tiles["first_k"]).sum()) == sums.size


@given(seed=st.integers(0, 2**31))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_the_search_is_as_good_as_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r, s, u = (int(rng.integers(1, 4)) for _ in range(3))
    e, f = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    outputs, channels = int(rng.integers(1, 7)), int(rng.integers(1, 6))
    loops = Loops(1, int(rng.integers(1, 3)), e, f, outputs, channels, (e - 1) * u + r, (f - 1) * u + s, r, s, (u, u))
    room = int(rng.choice([300, 800, 10**6]))
    array = RsArray(4, 5, 6, 24, 6)
    problem = RsProblem(loops, array, (16, 16, 16, 16), room, room, 10**6, True, (False, False, False))
    found = processing_cycles(problem, search(problem, "cycles", Fraction(1000)))
    ranges = (range(1, loops.images + 1), range(1, e + 1), range(1, outputs + 1), range(1, channels + 1),
              range(1, 5), range(1, 6), range(1, outputs + 1))
    best = None
    for n, rows, p, q, sets, t, m in product(*ranges):
        if (m != outputs and m % (p * t)) or (t - 1) * p >= outputs or (sets - 1) * q >= channels:
            continue
        mapping = RsMapping(1, n, rows, f, p * t, q * sets, r, s, "mkn", m_block=m, p=p, q=q, r=sets, t=t)
        try:
            check_pin(problem, mapping)
        except ConfigError:
            continue
        cycles = processing_cycles(problem, mapping)
        best = cycles if best is None else min(best, cycles)
    assert best is not None and found <= best + best // 64


@given(seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_legal_mapping_does_every_mac_once(seed: int) -> None:
    """Not only what the search takes: n, e, p, q, r, t and m at random, as far as spads, array and buffer allow."""
    rng = np.random.default_rng(seed)
    r, s, u = (int(rng.integers(1, 4)) for _ in range(3))
    e, f, outputs, channels = (int(rng.integers(1, high)) for high in (7, 6, 9, 7))
    loops = Loops(1, int(rng.integers(1, 4)), e, f, outputs, channels, (e - 1) * u + r, (f - 1) * u + s, r, s, (u, u))
    problem = RsProblem(loops, RsArray(6, 7, 9, 24, 6), (16, 16, 16, 16), 10**6, 10**6, 10**6, True, (False,) * 3)
    for _ in range(1000):
        n, rows, p, q, sets, t = (int(rng.integers(1, high + 1)) for high in (loops.images, e, outputs, channels, 4, 5))
        blocks = [m for m in range(p * t, outputs, p * t)] + [outputs]
        if (t - 1) * p >= outputs or (sets - 1) * q >= channels:
            continue
        mapping = RsMapping(
            1, n, rows, f, p * t, q * sets, r, s, "mkn", m_block=int(rng.choice(blocks)), p=p, q=q, r=sets, t=t
        )
        try:
            check_pin(problem, mapping)
        except ConfigError:
            continue
        check_layer(problem, mapping, seed)
        return
    raise AssertionError("no legal mapping was drawn")


@given(rows=st.integers(1, 12), cols=st.integers(1, 14), depth=st.integers(1, 12), e=st.integers(1, 40))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_sets_lie_on_the_array_without_touching(rows: int, cols: int, depth: int, e: int) -> None:
    array = RsArray(rows, cols, 12, 224, 24)
    t = stacks_that_fit(array, depth, e)
    grid = np.zeros((rows, cols), np.int64)
    held = set()
    for segment in place_sets(array, depth, e, t):
        area = grid[segment.top:segment.top + depth, segment.left:segment.left + segment.width]
        assert area.shape == (depth, segment.width)
        area += 1
        held |= {(segment.stack, segment.row0 + j) for j in range(segment.width)}
    assert grid.max(initial=0) <= 1
    assert held == {(stack, row) for stack in range(t) for row in range(e)}


def test_a_slower_bus_is_never_faster() -> None:
    one = RsPass(2, 4, 6, 3, 3, 4, 2, 1, 2)
    wide = RsArray(12, 14, 12, 224, 24)
    for name in ("ifmap_words", "filter_words", "psum_words"):
        cycles = []
        for words in (1, 2, 4, 8):
            timing = pass_timing(replace(wide, **{name: words}), one, True)
            cycles.append(timing.load + timing.finish)
        assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("adds", [False, True])
def test_a_pass_by_hand(adds: bool) -> None:
    """2 x 2 outputs, a 1 x 1 filter, one PE of each column: two groups of two words, then one product each."""
    timing = pass_timing(RsArray(1, 2, 1, 1, 1, 1, 1, 1), RsPass(1, 2, 2, 1, 1, 1, 1, 1, 1), adds)
    # group 0 is in after 2 cycles; its sum is at the top one later, and takes 2 cycles of the bus. The place of
    # group 0 is free at cycle 3, group 1 is in at 5, and its sums leave at 6 and 7
    assert (timing.load, timing.busy, timing.fill, timing.finish) == (1, 2, 2, 8)


class _Watched(RsRegisters):
    """The array in registers, with a note of every word on a bus: (clock, operand, written, place in its tile)."""

    def __init__(self, array: RsArray, one: RsPass, adds: bool) -> None:
        rng = np.random.default_rng(0)
        shape = (one.images, one.p * one.t, one.e, one.f)
        super().__init__(
            array, one, rng.integers(-9, 10, (one.images, one.q * one.r, one.rows_in(), one.cols_in())),
            rng.integers(-9, 10, (one.p * one.t, one.q * one.r, one.filter_rows, one.filter_cols)),
            rng.integers(-9, 10, shape) if adds else None,
        )  # fmt: skip
        self.seen: list[tuple[int, str, bool, range, int]] = []

    def clock(self, now: int) -> None:
        before = dict(self.counts)
        group, word_in, word_out = self.sent_group, self.in_window, self.out_window
        super().clock(now)
        for name, operand, write, run in (
            ("ifmap", "ifmap", False, group), ("in", "psum", False, word_in), ("out", "psum", True, word_out),
        ):  # fmt: skip
            if self.counts[name] > before[name]:
                self.seen.append((now, operand, write, range(before[name], self.counts[name]), run))


@given(
    case=passes(), banks=st.sampled_from([1, 2, 5, 8, 25]), word=st.sampled_from([16, 64]), single=st.booleans(),
    loads=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_bank_conflicts_are_those_of_the_buses(
    case: tuple[RsArray, RsPass, bool], banks: int, word: int, single: bool, loads: bool
) -> None:
    array, one, adds = case
    ports = {"read_write_ports": 1} if single else {"read_ports": 1, "write_ports": 1}
    spec = BufferSpec(capacity_bytes=banks * 1024, word_bits=word, banks=banks, **ports)  # type: ignore[arg-type]
    bits, holds = dict.fromkeys(("ifmap", "filter", "psum", "ofmap"), 16), ("ifmap", "filter", "psum", "ofmap")
    naive = NaiveBuffer(spec, holds, bits)
    watched = _Watched(array, one, adds)
    watched.load()
    watched.run()
    runs: dict[tuple[str, bool, int], set[int]] = {}  # words that a bus has read or written for this group or window
    for clock, operand, write, moved, run in watched.seen:
        known = runs.setdefault((operand, write, run), set())
        for w in dict.fromkeys(w for element in moved for w in naive.words(operand, element)):
            if w not in known:
                naive.wanted[clock].append((operand, write, w))
                known.add(w)
    if loads:
        clock, row = -load_cycles(array, one), one.p * one.q * one.filter_cols
        for at in range(0, one.depth * one.t * row, row):
            known = set()
            for first in range(0, row, array.filter_words):
                moved = range(at + first, at + min(row, first + array.filter_words))
                for w in dict.fromkeys(w for element in moved for w in naive.words("filter", element)):
                    if w not in known:
                        naive.wanted[clock].append(("filter", False, w))
                        known.add(w)
                clock += 1
        assert clock == 0
    pattern = RsAccess(array, one, loads, adds)
    assert lockstep_stalls([(spec, holds)], bits, *pattern.bursts({})) == naive_stalls([naive])
