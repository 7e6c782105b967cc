"""A row-stationary array in registers: one call of `step` is one clock, with real products and real words on buses.

Written from the machine's description in `accelsim/dataflow/row_stationary.py` and not from its formulas: buses count
words, PEs count products, and every register that is read must hold what the reader expects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.dataflow.row_stationary import RsArray, RsPass

Words = NDArray[np.int64]

EMPTY = -1


@dataclass
class PassRun:
    """What a pass gave: cycles of the filter bus and of the rest, sums (images, p * t, e, f), products of each PE."""

    load: int
    finish: int
    sums: Words
    products: Words
    ifmap_words: int
    psum_words_in: int
    psum_words_out: int


class RsRegisters:
    """All registers of the array during one pass.

    Parameters
    ----------
    array : RsArray
    one : RsPass
    ifmap : (images, q * r, rows, cols)
        Rows and columns that some output reads, padding included.
    filters : (p * t, q * r, filter rows, filter cols)
    earlier : (images, p * t, e, f) or None
        Sums of earlier passes.
    """

    def __init__(self, array: RsArray, one: RsPass, ifmap: Words, filters: Words, earlier: Words | None) -> None:
        self.array, self.one, self.ifmap, self.earlier = array, one, ifmap, earlier
        self.filters = filters
        self.shape = (one.t, one.e, one.depth)
        self.rows = sorted({j * one.stride[0] + i * one.dilation[0] for j in range(one.e)
                            for i in range(one.filter_rows)})
        self.cols = sorted({f * one.stride[1] + s * one.dilation[1] for f in range(one.f)
                            for s in range(one.filter_cols)})
        self.filter_spad = np.zeros((*self.shape, one.p * one.q * one.filter_cols), np.int64)
        self.ifmap_spad = np.zeros((*self.shape, array.ifmap_spad), np.int64)
        self.tags = np.full((*self.shape, array.ifmap_spad), EMPTY)
        self.psum_spad = np.zeros((*self.shape, one.p), np.int64)
        self.chain = np.zeros(self.shape, np.int64)
        self.fifo_in = np.zeros((one.t, one.e, one.p), np.int64)
        self.full_in = np.zeros((one.t, one.e, one.p), bool)
        self.fifo_out = np.zeros((one.t, one.e, one.p), np.int64)
        self.full_out = np.zeros((one.t, one.e, one.p), bool)
        self.products = np.zeros(self.shape, np.int64)
        self.results = np.zeros((one.images, one.p * one.t, one.e, one.f), np.int64)
        self.counts = {"ifmap": 0, "in": 0, "out": 0}
        assert one.p * one.q * one.filter_cols <= array.filter_spad and one.p <= array.psum_spad

    # --- filter bus ---

    def channel(self, height: int, c: int) -> int:
        """Channel c of the PE at this height above the bottom."""
        return (height // self.one.filter_rows) * self.one.q + c

    def filter_row(self, height: int) -> int:
        """The filter's last row is at the bottom."""
        return self.one.filter_rows - 1 - height % self.one.filter_rows

    def load(self) -> int:
        """Bring all filter rows into the spads; returns clocks."""
        one, clocks = self.one, 0
        for stack in range(one.t):
            for height in range(one.depth):
                row = [self.filters[stack * one.p + j, self.channel(height, c), self.filter_row(height), s]
                       for s in range(one.filter_cols) for c in range(one.q) for j in range(one.p)]
                for at in range(0, len(row), self.array.filter_words):
                    words = row[at:at + self.array.filter_words]
                    self.filter_spad[stack, :, height, at:at + len(words)] = words  # multicast over the columns
                    clocks += 1
        return clocks

    # --- the stream ---

    def run(self) -> int:
        """All windows; returns clocks until the last sum has left."""
        one = self.one
        self.groups = [(n, x, c) for n in range(one.images) for x in range(len(self.cols)) for c in range(one.q)]
        at = {x: i for i, x in enumerate(self.cols)}
        self.steps: list[tuple[int, int, int, bool, bool]] = []  # group, tap, window, first, last
        self.uses = [0] * len(self.groups)
        for n in range(one.images):
            for f in range(one.f):
                for s in range(one.filter_cols):
                    for c in range(one.q):
                        group = (n * len(self.cols) + at[f * one.stride[1] + s * one.dilation[1]]) * one.q + c
                        first = s == 0 and c == 0
                        last = s == one.filter_cols - 1 and c == one.q - 1
                        self.steps.append((group, s * one.q + c, n * one.f + f, first, last))
                        self.uses[group] += 1
        windows = one.images * one.f
        self.issued: dict[int, tuple[int, int]] = {}  # clock -> step, filter
        self.sent_group = self.sent_words = 0
        self.next_step = self.step_begin = 0
        self.running = False
        self.came: dict[int, int] = {}  # window -> clock of its last step, at the bottom
        self.in_window, self.in_word, self.in_begun = 0, 0, False
        self.in_begin: dict[int, int] = {}
        self.out_begin: dict[int, int] = {}
        self.out_window = self.out_word = self.out_free = 0
        clock = 0
        while self.out_window < windows:
            self.clock(clock)
            clock += 1
            assert clock < 10**6
        return clock

    def clock(self, now: int) -> None:
        """One clock: all reads before all writes."""
        self.arrived = self.sent_group  # groups that were complete before this clock
        delivered = self._ifmap_bus()
        came_in = self._psum_in_bus(now)
        self._psum_out_bus(now)
        self._issue(now)
        self._pes(now)
        for where, words in delivered:
            self.ifmap_spad[where] = words
            self.tags[where] = self.sent_tag
        for place, word in came_in:
            assert not self.full_in[place], "a sum would be overwritten"
            self.fifo_in[place], self.full_in[place] = word, True

    def _ifmap_bus(self) -> list[tuple[Any, int]]:
        """Words of one group; the group begins when the one in its place is not needed any more."""
        one, out = self.one, []
        if self.sent_group == len(self.groups):
            return []
        old = self.sent_group - self.array.ifmap_spad
        if self.sent_words == 0 and old >= 0 and self.uses[old] > 0:
            return []
        n, x, c = self.groups[self.sent_group]
        words = [(block, y) for block in range(one.r) for y in range(len(self.rows))]
        place = self.sent_group % self.array.ifmap_spad
        self.sent_tag = self.sent_group
        for block, y in words[self.sent_words:self.sent_words + self.array.ifmap_words]:
            value = self.ifmap[n, block * one.q + c, y, x]
            self.counts["ifmap"] += 1
            for j in range(one.e):
                for height in range(block * one.filter_rows, (block + 1) * one.filter_rows):
                    if j * one.stride[0] + self.filter_row(height) * one.dilation[0] == self.rows[y]:
                        out.append(((slice(None), j, height, place), value))
            self.sent_words += 1
        if self.sent_words == len(words):
            self.sent_group, self.sent_words = self.sent_group + 1, 0
        return out

    def _place(self, word: int) -> tuple[int, int, int]:
        """(stack, column, filter) of a word of a window on a psum bus: filter by filter."""
        j, column = divmod(word, self.one.columns)
        return column // self.one.e, column % self.one.e, j

    def _window_words(self) -> int:
        return self.one.columns * self.one.p

    def _psum_in_bus(self, now: int) -> list[tuple[Any, int]]:
        """Sums for one window; a transfer begins when it will find every place free without a pause."""
        one, width = self.one, self.array.psum_words
        if self.earlier is None or self.in_window == one.images * one.f:
            return []
        if not self.in_begun:
            if self.in_window:
                if self.in_window - 1 not in self.came:
                    return []
                came = self.came[self.in_window - 1]
                if any(now + j * one.columns // width <= came + j for j in range(one.p)):
                    return []
            self.in_begun, self.in_word = True, 0
            self.in_begin[self.in_window] = now
        image, f = divmod(self.in_window, one.f)
        out = []
        for word in range(self.in_word, min(self.in_word + width, self._window_words())):
            stack, j, filter_ = self._place(word)
            out.append(((stack, j, filter_), self.earlier[image, stack * one.p + filter_, j, f]))
            self.counts["in"] += 1
        self.in_word += len(out)
        if self.in_word == self._window_words():
            self.in_window, self.in_begun = self.in_window + 1, False
        return out

    def _psum_out_bus(self, now: int) -> None:
        """Sums of one window, from the cycle on that was reserved for them."""
        if self.out_window not in self.out_begin or now < self.out_begin[self.out_window]:
            return
        image, f = divmod(self.out_window, self.one.f)
        for word in range(self.out_word, min(self.out_word + self.array.psum_words, self._window_words())):
            place = self._place(word)
            assert self.full_out[place], "a sum is not there yet"
            self.full_out[place] = False
            self.results[image, place[0] * self.one.p + place[2], place[1], f] = self.fifo_out[place]
            self.counts["out"] += 1
        self.out_word += self.array.psum_words
        if self.out_word >= self._window_words():
            self.out_window, self.out_word = self.out_window + 1, 0

    def _issue(self, now: int) -> None:
        """The controller: goes on with a step, or begins the next one if nothing is missing."""
        one = self.one
        if self.running and now < self.step_begin + one.p:
            self.issued[now] = (self.next_step - 1, now - self.step_begin)
            return
        self.running = False
        if self.next_step == len(self.steps):
            return
        group, _, window, _, last = self.steps[self.next_step]
        if self.arrived <= group:
            return
        if last and not self._sums_in_time(now, window):
            return
        self.step_begin, self.running = now, True
        self.next_step += 1
        self.issued[now] = (self.next_step - 1, 0)
        if last:
            self.came[window] = now
            begin = self.out_free
            while any(begin + j * one.columns // self.array.psum_words < now + one.depth + j for j in range(one.p)):
                begin += 1
            self.out_begin[window] = begin
            self.out_free = begin - (-self._window_words() // self.array.psum_words)

    def _sums_in_time(self, now: int, window: int) -> bool:
        """Every sum that this step adds comes before its product, and finds its place at the top empty."""
        one, width = self.one, self.array.psum_words
        last = [((j + 1) * one.columns - 1) // width for j in range(one.p)]
        if self.earlier is not None:
            if window not in self.in_begin:
                return False
            if any(self.in_begin[window] + last[j] >= now + j for j in range(one.p)):
                return False
        if window:
            begin = self.out_begin[window - 1]
            return all(begin + last[j] <= now + one.depth - 1 + j for j in range(one.p))
        return True

    def _pes(self, now: int) -> None:
        """Rows of PEs from the top down, so that each reads the register of the row below before it changes."""
        one = self.one
        for height in reversed(range(one.depth)):
            if now - height not in self.issued:
                continue
            step, j = self.issued[now - height]
            group, tap, _, first, last = self.steps[step]
            place = group % self.array.ifmap_spad
            assert (self.tags[:, :, height, place] == group).all(), "an ifmap word is not there"
            word = self.ifmap_spad[:, :, height, place]
            product = word * self.filter_spad[:, :, height, tap * one.p + j]
            self.products[:, :, height] += 1
            total = product + (0 if first else self.psum_spad[:, :, height, j])
            self.psum_spad[:, :, height, j] = total
            if last:
                self.chain[:, :, height] = total + self._below(height, j)
                if height == one.depth - 1:
                    assert not self.full_out[:, :, j].any(), "a finished sum would be overwritten"
                    self.fifo_out[:, :, j], self.full_out[:, :, j] = self.chain[:, :, height], True
            if height == one.depth - 1 and j == one.p - 1:
                self.uses[group] -= 1

    def _below(self, height: int, j: int) -> Any:
        if height:
            return self.chain[:, :, height - 1]
        if self.earlier is None:
            return 0
        assert self.full_in[:, :, j].all(), "an earlier sum is not there"
        self.full_in[:, :, j] = False
        return self.fifo_in[:, :, j]


def run_pass(array: RsArray, one: RsPass, ifmap: Words, filters: Words, earlier: Words | None) -> PassRun:
    """One pass, filters loaded first."""
    registers = RsRegisters(array, one, ifmap, filters, earlier)
    load = registers.load()
    finish = registers.run()
    counts = registers.counts
    return PassRun(load, finish, registers.results, registers.products, counts["ifmap"], counts["in"], counts["out"])
