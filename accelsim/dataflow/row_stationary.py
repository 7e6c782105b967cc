"""Row stationary: how a pass lies on the array, and the exact cycles that it takes.

A *pass* is what the PEs do with one set of filter rows in their spads (Chen, Krishna, Emer, Sze, JSSC 52(1),
2017, section III): `n` images, `e` rows of `p * t` output maps, from `q * r` input channels. A PE holds `p` filters
x `q` channels of one filter row, and works on one ifmap row; a *set* is `filter_rows` x `e` PEs (filter rows
across, psums up, ifmap rows on diagonals). `r` sets with other channels stand on each other in one column of
sums, `t` such stacks have other filters. A set wider than the array is folded into segments.

The machine, clock by clock; where the paper does not say it, it is assumed:

- Load: the filter bus brings `filter_words` of one filter row a cycle, to all PEs that hold the row.
- Then the ifmap bus brings `ifmap_words` a cycle. A *group* is one column of one channel of every set in the stack,
  all its rows, padding included: GLB and buses carry padding like data. A PE keeps groups in a ring of its ifmap
  spad; a group is sent when the last PE is done with the one in its place.
- PEs work in step, each row of PEs one cycle after the row below it. A *step* is one group with `p` filters: `p`
  products, one a cycle, when the group has come. `filter_cols * q` steps make a *window*, one column of outputs.
- With the last product of a window, the sum from below is added and sent up. The lowest PE of a column adds what
  came from the buffer over the psum-in bus, the highest sends to it over the psum-out bus, `psum_words` a cycle
  each, filter by filter. Both have a FIFO of one window in every column; a step waits until the words are there,
  or the places free.
- A pass ends when its last sum has left; then the next loads its filters ("loaded between passes").

tests/rtl/row_stationary.py is that machine in registers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from accelsim.base.units import ceil_div


@dataclass(frozen=True)
class RsArray:
    """The array's fixed parameters: PEs, words of each spad in a PE, and words a cycle of each bus."""

    rows: int
    cols: int
    ifmap_spad: int
    filter_spad: int
    psum_spad: int
    ifmap_words: int = 1
    filter_words: int = 4
    psum_words: int = 4


@dataclass(frozen=True)
class RsPass:
    """The extents of one pass.

    Attributes
    ----------
    images, e, f : int
        Images, output rows, and output columns.
    filter_rows, filter_cols : int
        Rows and columns of the filter (of a folded filter: the rows of this fold).
    p, q, r, t : int
        Filters and channels in a PE, channels and filters over PEs. `p * t` and `q * r` may exceed what a ragged
        pass has: `outputs` and `channels` say how many there are.
    outputs, channels : int
    stride, dilation : tuple of int
    """

    images: int
    e: int
    f: int
    filter_rows: int
    filter_cols: int
    p: int
    q: int
    r: int
    t: int
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    def rows_in(self) -> int:
        """Ifmap rows that some PE reads."""
        return len(_used(self.e, self.filter_rows, self.stride[0], self.dilation[0]))

    def cols_in(self) -> int:
        """Ifmap columns that some output reads."""
        return len(_used(self.f, self.filter_cols, self.stride[1], self.dilation[1]))

    @property
    def depth(self) -> int:
        """PEs in a column of sums."""
        return self.filter_rows * self.r

    @property
    def columns(self) -> int:
        """Columns of sums."""
        return self.e * self.t

    @property
    def active(self) -> int:
        """PEs in use."""
        return self.depth * self.columns

    @property
    def macs(self) -> int:
        """Products, padding included."""
        return self.active * self.images * self.f * self.filter_cols * self.p * self.q

    def group_words(self) -> int:
        """Words of a group on the ifmap bus."""
        return self.r * self.rows_in()

    def ifmap_words(self) -> int:
        """Words on the ifmap bus in the whole pass."""
        return self.images * self.cols_in() * self.q * self.group_words()

    def filter_words(self) -> int:
        """Words of filters in the whole pass."""
        return self.depth * self.t * self.p * self.q * self.filter_cols

    def psum_words(self) -> int:
        """Sums that leave the array."""
        return self.images * self.f * self.columns * self.p


@dataclass(frozen=True)
class RsTiming:
    """Cycles of a pass: `load`, then offsets from the first cycle of its ifmap stream.

    `busy` products follow each other; `fill` steps wait for the first window, `bus` later for a bus of the buffer;
    `finish` is when the last sum has left.
    """

    load: int
    finish: int
    busy: int
    fill: int
    bus: int


def _used(outputs: int, taps: int, stride: int, dilation: int) -> list[int]:
    return sorted({o * stride + s * dilation for o in range(outputs) for s in range(taps)})


def window_groups(q: int, taps: int, outputs: int, stride: int, dilation: int) -> int:
    """Places of the ifmap spad that a window takes: its columns, and those between them that others read."""
    outputs = min(outputs, 2 + (taps - 1) * dilation // stride)  # later windows repeat these
    used = _used(outputs, taps, stride, dilation)
    return q * max(
        sum(1 for x in used if o * stride <= x <= o * stride + (taps - 1) * dilation) for o in range(outputs)
    )


def load_cycles(array: RsArray, one: RsPass) -> int:
    """Cycles of the filter bus."""
    return one.depth * one.t * ceil_div(one.p * one.q * one.filter_cols, array.filter_words)


def psum_cycles(array: RsArray, one: RsPass) -> int:
    """Cycles in which a psum bus carries the sums of one window."""
    return ceil_div(one.columns * one.p, array.psum_words)


@lru_cache(maxsize=65536)
def pass_timing(array: RsArray, one: RsPass, adds: bool) -> RsTiming:
    """Exact cycles of a pass; `adds`: earlier sums come in from the buffer.

    All passes of a layer have one of a few shapes.
    """
    return _play(array, one, adds, None)


@dataclass
class BusTimes:
    """When the buses begin: with each group of ifmap words, and with the sums of each window, in and out."""

    ifmap: list[int] = field(default_factory=list)
    psum_in: list[int] = field(default_factory=list)
    psum_out: list[int] = field(default_factory=list)


def bus_times(array: RsArray, one: RsPass, adds: bool) -> BusTimes:
    """What the buses of a pass do in which cycle; from the first cycle of its ifmap stream on."""
    found = BusTimes()
    _play(array, one, adds, found)
    return found


def _play(array: RsArray, one: RsPass, adds: bool, log: BusTimes | None) -> RsTiming:
    """A recurrence over steps: when the group has come, when the step before is done and, before the last step of a
    window, when sums have come in and room for sums is free.
    """
    p, cols, depth = one.p, one.columns, one.depth
    used = _used(one.f, one.filter_cols, one.stride[1], one.dilation[1])
    place = {x: i for i, x in enumerate(used)}
    groups = len(used) * one.q
    group_cycles = ceil_div(one.group_words(), array.ifmap_words)
    window = psum_cycles(array, one)
    # in a window of p words for each column, filter j is the words j * cols to (j + 1) * cols - 1 on a psum bus
    lead = max(j - j * cols // array.psum_words for j in range(p))
    lag = max(((j + 1) * cols - 1) // array.psum_words - j for j in range(p))
    last_use = [0] * groups  # window that reads the group last
    for f in range(one.f):
        for s in range(one.filter_cols):
            first = place[f * one.stride[1] + s * one.dilation[1]] * one.q
            for c in range(one.q):
                last_use[first + c] = f
    released: list[int] = []  # by group: when its place is free
    sent: list[int] = []
    bus = ready = fill = waits = 0
    came = -(10**9)  # last step of the window before, at the lowest row
    in_free = out_free = 0
    out_start = 0
    for image in range(one.images):
        base = image * groups
        released += [0] * groups
        for f in range(one.f):
            for s in range(one.filter_cols):
                first = base + place[f * one.stride[1] + s * one.dilation[1]] * one.q
                for k in range(first, first + one.q):
                    while len(sent) <= k:
                        over = len(sent) - array.ifmap_spad
                        bus = max(bus, released[over] if over >= 0 else 0) + group_cycles
                        sent.append(bus)
                        if log is not None:
                            log.ifmap.append(bus - group_cycles)
                    start = max(ready, sent[k])
                    last = s == one.filter_cols - 1 and k == first + one.q - 1
                    if last:
                        window_index = image * one.f + f
                        if adds:
                            begin = max(in_free, came + 1 + lead) if window_index else 0
                            start = max(start, begin + lag + 1)
                            in_free = begin + window
                            if log is not None:
                                log.psum_in.append(begin)
                        if window_index:
                            start = max(start, out_start + lag - depth + 1)
                        came = start
                        out_start = max(out_free, start + depth + lead)
                        out_free = out_start + window
                        if log is not None:
                            log.psum_out.append(out_start)
                    if image == 0 and f == 0:
                        fill += start - ready
                    else:
                        waits += start - ready
                    if last_use[k - base] == f:
                        released[k] = start + p + depth - 1
                    ready = start + p
    busy = one.images * one.f * one.filter_cols * one.q * p
    return RsTiming(load_cycles(array, one), out_free, busy, fill, waits)


@dataclass(frozen=True)
class Segment:
    """A rectangle of PEs: output rows `row0` to `row0 + width - 1` of stack `stack`; `top`, `left` are its corner."""

    stack: int
    row0: int
    width: int
    top: int
    left: int


def segment_width(array: RsArray, e: int) -> int:
    """Columns of the widest segment of a folded set."""
    return ceil_div(e, ceil_div(e, array.cols))


def stacks_that_fit(array: RsArray, depth: int, e: int) -> int:
    """How many stacks of `depth` x `e` PEs the array holds; 0: not one."""
    segments = ceil_div(e, array.cols)
    places = (array.rows // depth) * (array.cols // segment_width(array, e))
    return places // segments


def place_sets(array: RsArray, depth: int, e: int, t: int) -> list[Segment]:
    """Where the segments of `t` stacks lie: left to right, then top to bottom.

    A column's lowest PE, where sums enter, is the last row of its segment.
    """
    segments, width = ceil_div(e, array.cols), segment_width(array, e)
    across = array.cols // width
    found = []
    for number in range(t * segments):
        stack, part = divmod(number, segments)
        row0 = part * width
        down, right = divmod(number, across)
        found.append(Segment(stack, row0, min(width, e - row0), down * depth, right * width))
    return found
