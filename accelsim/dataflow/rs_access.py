"""Which words a row-stationary array wants in which cycle: its buses, as `accelsim.dataflow.row_stationary` times them.

Each bus moves what lies side by side in its buffer, one element after another, and holds a word until its last
element has gone: filter rows, groups of ifmap words, and the sums of a window, which come from and return to one place.
Channels and filters that a ragged pass does not have are as zeros that are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accelsim.base.units import ceil_div
from accelsim.dataflow.row_stationary import RsArray, RsPass, bus_times, load_cycles
from accelsim.sim.accesses import AccessPattern, Bursts, Ints, Place, runs


@dataclass(frozen=True)
class RsAccess(AccessPattern):
    """One pass; `loads`: its filters first; `adds`: earlier sums come in."""

    array: RsArray
    one: RsPass
    loads: bool
    adds: bool

    def bursts(self, places: Mapping[str, Place]) -> tuple[Bursts, Ints]:
        """See `AccessPattern`."""
        array, one = self.array, self.one
        times = bus_times(array, one, self.adds)
        group, window = one.group_words(), one.columns * one.p
        parts = [runs("ifmap", False, times.ifmap, np.arange(len(times.ifmap)) * group, group, array.ifmap_words)]
        for write, begins in ((False, times.psum_in), (True, times.psum_out)):
            parts.append(runs("psum", write, begins, np.arange(len(begins)) * window, window, array.psum_words))
        if self.loads:
            row = one.p * one.q * one.filter_cols
            rows = np.arange(one.depth * one.t)
            begin = rows * ceil_div(row, array.filter_words) - load_cycles(array, one)
            parts.append(runs("filter", False, begin, rows * row, row, array.filter_words))
        return np.concatenate(parts), np.zeros(0, np.int64)
