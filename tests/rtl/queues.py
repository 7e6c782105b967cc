"""Register-level models of engines that broadcast inputs to queued PEs (EIE, ESE), clock by clock, with real products.

Every attribute below is a register or a memory; `clock` is one edge. Written from the rule in words: a scanner with a
bank of inputs, rings of slots with a read and a write pointer, PEs that walk (code, run) entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


def encode(column: Values, limit: int) -> list[tuple[int, int]]:
    """(run of zeros, value) entries of the rows of one PE; a run that no index can say is broken by zeros."""
    entries, run = [], 0
    for value in column:
        if value == 0:
            run += 1
            continue
        while run > limit:
            entries.append((limit, 0))
            run -= limit + 1
        entries.append((run, int(value)))
        run = 0
    return entries


@dataclass
class Queue:
    """A ring of slots; without a count, a ring is empty where the pointers agree, so one slot stays free."""

    slots: int
    spare: bool
    ring: list[Any] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.ring) >= max(1, self.slots - self.spare)


class Pe:
    """A column decoder, a multiplier and the sums of this PE's rows."""

    def __init__(self, columns: list[list[tuple[int, int]]], rows: int, queue: Queue) -> None:
        self.columns, self.queue = columns, queue
        self.sums = [0] * rows
        self.left: list[tuple[int, int]] = []
        self.value, self.place, self.busy, self.worked, self.padded = 0, 0, False, 0, 0

    @property
    def idle(self) -> bool:
        return not self.busy and not self.queue.ring

    def clock(self, waiting: bool) -> None:
        """One cycle; `waiting`: the queue had something when it began."""
        if not self.busy and waiting:
            self.value, column = self.queue.ring.pop(0)
            self.left, self.place, self.busy = list(self.columns[column]), 0, True
        if not self.busy:
            return
        if self.left:
            run, weight = self.left.pop(0)
            self.place += run
            self.sums[self.place] += weight * self.value
            self.place += 1
            self.worked += 1
            self.padded += weight == 0
        self.busy = bool(self.left)


@dataclass
class Outcome:
    """What a run shows."""

    sums: Values
    cycles: int
    worked: list[int]
    padded: int
    held: int


def run(
    inputs: Values, weights: Values, *, pes: int, width: int, slots: int, spare: bool = True, limit: int = 15,
    biases: Values | None = None, skip: bool = True,
) -> Outcome:  # fmt: skip
    """One vector (k,) against a matrix (n, k). `width` 0: no scanner, an input is there each cycle."""
    n, k = weights.shape
    whole = weights if biases is None else np.concatenate([weights, biases[:, None]], 1)
    made = []
    for first in range(pes):
        rows = whole[first::pes]
        made.append(Pe([encode(rows[:, j], limit) for j in range(rows.shape[1])], len(rows), Queue(slots, spare)))
    step = width or 1
    banks = [[(int(inputs[j]), j) for j in range(g, min(k, g + step))] for g in range(0, k, step)]
    if biases is not None:
        banks.append([(1, k)])
    bank: list[tuple[int, int]] = []
    at, group, cycle, held = 0, 0, 0, 0
    if not width:
        bank, group = banks[0], 1
    while True:
        if bank == [] and group == len(banks) and all(pe.idle for pe in made):
            break
        waiting = [bool(pe.queue.ring) for pe in made]
        full = any(pe.queue.full for pe in made)
        # what is pushed is seen by the PEs in the next cycle
        find = next((i for i in range(at, len(bank)) if not skip or bank[i][0] != 0), None)
        push, load = None, find is None
        if find is not None and not full:
            push = bank[find]
            at = find + 1
            load = find == step - 1 or not width
        held += find is not None and full
        if load:
            bank, at = (banks[group], 0) if group < len(banks) else ([], 0)
            group = min(len(banks), group + 1)
        for pe, ready in zip(made, waiting, strict=True):
            pe.clock(ready)
            if push is not None:
                pe.queue.ring.append(push)
        cycle += 1
    sums = np.zeros(n, np.int64)
    for i, pe in enumerate(made):
        sums[i::pes] = pe.sums
    return Outcome(sums, cycle, [pe.worked for pe in made], sum(pe.padded for pe in made), held)
