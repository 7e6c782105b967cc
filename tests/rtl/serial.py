"""Register-transfer models of the bit-serial family: units that take their operands' bits in turn.

A `SerialGrid` has `columns` x `filters` units of `lanes` lanes under one step control. A step begins when the control
is `ready` and a brick for each column and filter is there (`valid`); it ends by what the kind of unit still has to
do. Sums stay in the units until a step with `first` begins new ones.

- ``stripes``: activation bits from the highest down, as many as the port `precision` says;
- ``dynamic``: as many as a leading-one detector over all lanes and columns finds;
- ``loom``: those, once for each bit of the weights;
- ``pragmatic``: each column's pending one bits, within `reach` of its lowest;
- ``parallel``: nothing, whole words are multiplied in one cycle;
- ``laconic``: in each lane of each unit, every pair of one bits of activation and weight.

`Turns` gives steps to single columns in turn, one a cycle; `Ahead` lets columns run ahead of the slowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

SUM_BITS = 40


def lowest_one(value: Value) -> Value:
    """The lowest set bit alone."""
    return (value & (~value + 1))[: len(value)]


def position(m: Module, one_hot: Value, name: str) -> Signal:
    """Index of the set bit of a one-hot value."""
    out = Signal(range(max(2, len(one_hot))), name=name)
    terms = [Mux(one_hot[i], i, 0) for i in range(len(one_hot))]
    m.d.comb += out.eq(reduce(or_, terms))
    return out


class SerialGrid(wiring.Component):
    """Units and their step control; see the module's text. `a_bits` counts a sign bit that is always there."""

    def __init__(
        self, kind: str, columns: int, filters: int, lanes: int, a_bits: int, w_bits: int, *,
        a_signed: bool = False, reach: int = 0,
    ) -> None:
        self.kind, self.columns, self.filters, self.lanes = kind, columns, filters, lanes
        self.a_bits, self.w_bits, self.a_signed, self.reach = a_bits, w_bits, a_signed, reach
        self.take, self.done, self.fresh = Signal(), Signal(), Signal()
        super().__init__({
            "seen": In(data.ArrayLayout(signed(a_bits), columns * lanes)),
            "held": In(data.ArrayLayout(signed(w_bits), filters * lanes)),
            "precision": In(6),
            "valid": In(1), "first": In(1),
            "ready": Out(1), "working": Out(1),
            "sums": Out(data.ArrayLayout(signed(SUM_BITS), columns * filters)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.a = [[Signal(signed(self.a_bits), name=f"a_{c}_{i}") for i in range(self.lanes)]
                  for c in range(self.columns)]
        self.w = [[Signal(signed(self.w_bits), name=f"w_{f}_{i}") for i in range(self.lanes)]
                  for f in range(self.filters)]
        m.d.comb += [self.ready.eq(~self.working | self.done), self.take.eq(self.ready & self.valid)]
        with m.If(self.take):
            m.d.sync += [self.working.eq(1), self.fresh.eq(self.first)]
            for c in range(self.columns):
                m.d.sync += [self.a[c][i].eq(self.seen[c * self.lanes + i]) for i in range(self.lanes)]
            for f in range(self.filters):
                m.d.sync += [self.w[f][i].eq(self.held[f * self.lanes + i]) for i in range(self.lanes)]
        with m.Elif(self.done):
            m.d.sync += self.working.eq(0)
        with m.If(self.working & ~self.take):
            m.d.sync += self.fresh.eq(0)
        terms = {"stripes": self._serial, "dynamic": self._serial, "loom": self._loom,
                 "pragmatic": self._pragmatic, "laconic": self._laconic, "parallel": self._parallel}[self.kind](m)
        with m.If(self.working):
            for c in range(self.columns):
                for f in range(self.filters):
                    at = c * self.filters + f
                    m.d.sync += self.sums[at].eq(Mux(self.fresh, 0, self.sums[at]) + terms[c][f])
        return m

    def _bits_needed(self, m: Module) -> Signal:
        """Leading-one detector over the bricks that wait; a sign takes one more bit."""
        whole = Signal(self.a_bits)
        words = [self.seen[i] for i in range(self.columns * self.lanes)]
        patterns = [(w ^ w[-1].replicate(self.a_bits)) if self.a_signed else w for w in words]
        m.d.comb += whole.eq(reduce(or_, patterns))
        needed = Signal(6)
        m.d.comb += needed.eq(1)
        for bit in range(self.a_bits):
            with m.If(whole[bit]):
                m.d.comb += needed.eq(bit + 1 + int(self.a_signed))
        return needed

    def _activation_bits(self, m: Module) -> tuple[Signal, Signal]:
        """(bits of the waiting step, bits of the running step)."""
        needed = self._bits_needed(m) if self.kind != "stripes" else self.precision
        count = Signal(6)
        with m.If(self.take):
            m.d.sync += count.eq(needed)
        return needed, count

    def _parallel(self, m: Module) -> list[list[Any]]:
        m.d.comb += self.done.eq(self.working)
        lanes = range(self.lanes)
        return [[sum((a[i] * w[i] for i in lanes), start=Const(0)) for w in self.w] for a in self.a]

    def _serial(self, m: Module) -> list[list[Any]]:
        needed, count = self._activation_bits(m)
        left = Signal(6)
        with m.If(self.take):
            m.d.sync += left.eq(needed)
        with m.Elif(self.working):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.done.eq(self.working & (left == 1))
        index = Signal(6)
        m.d.comb += index.eq(left - 1)
        negative = (left == count) & int(self.a_signed)
        terms = []
        for c in range(self.columns):
            row = []
            for f in range(self.filters):
                lanes = [Mux(Array(self.a[c][i])[index], self.w[f][i], 0) for i in range(self.lanes)]
                total = sum(lanes, start=Const(0)) << index
                row.append(Mux(negative, -total, total))
            terms.append(row)
        return terms

    def _loom(self, m: Module) -> list[list[Any]]:
        needed, count = self._activation_bits(m)
        left, weight = Signal(6), Signal(6)
        with m.If(self.take):
            m.d.sync += [left.eq(needed), weight.eq(self.w_bits)]
        with m.Elif(self.working):
            with m.If(left == 1):
                m.d.sync += [left.eq(count), weight.eq(weight - 1)]
            with m.Else():
                m.d.sync += left.eq(left - 1)
        m.d.comb += self.done.eq(self.working & (left == 1) & (weight == 1))
        i, j = Signal(6), Signal(6)
        m.d.comb += [i.eq(left - 1), j.eq(weight - 1)]
        negative = ((left == count) & int(self.a_signed)) ^ (weight == self.w_bits)
        terms = []
        for c in range(self.columns):
            row = []
            for f in range(self.filters):
                both = [Array(self.a[c][x])[i] & Array(self.w[f][x])[j] for x in range(self.lanes)]
                total = sum(both, start=Const(0)) << (i + j)[:6]
                row.append(Mux(negative, -total, total))
            terms.append(row)
        return terms

    def _pragmatic(self, m: Module) -> list[list[Any]]:
        terms, finished = [], []
        for c in range(self.columns):
            pending = [Signal(self.a_bits, name=f"pending_{c}_{i}") for i in range(self.lanes)]
            lowest = lowest_one(reduce(or_, pending))
            base = position(m, lowest, f"base_{c}")
            rest, shifts, active = [], [], []
            for i in range(self.lanes):
                own = lowest_one(pending[i])
                at = position(m, own, f"at_{c}_{i}")
                distance = Signal(6, name=f"distance_{c}_{i}")
                near = Signal(name=f"near_{c}_{i}")
                m.d.comb += [distance.eq(at - base), near.eq(pending[i].any() & (distance <= self.reach))]
                rest.append(Mux(near, pending[i] & ~own, pending[i]))
                shifts.append(distance)
                active.append(near)
                word = self.seen[c * self.lanes + i]
                with m.If(self.take):
                    m.d.sync += pending[i].eq(Mux(word[-1], -word, word))
                with m.Elif(self.working):
                    m.d.sync += pending[i].eq(rest[i])
            finished.append(~reduce(or_, rest).any())
            row = []
            for f in range(self.filters):
                first_stage = []
                for i in range(self.lanes):
                    limited = Signal(range(self.reach + 2), name=f"shift_{c}_{f}_{i}")
                    m.d.comb += limited.eq(shifts[i])
                    value = self.w[f][i] << limited
                    first_stage.append(Mux(active[i], Mux(self.a[c][i][-1], -value, value), 0))
                row.append(sum(first_stage, start=Const(0)) << base)
            terms.append(row)
        m.d.comb += self.done.eq(self.working & Cat(*finished).all())
        return terms

    def _laconic(self, m: Module) -> list[list[Any]]:
        terms, finished = [], []
        for c in range(self.columns):
            row = []
            for f in range(self.filters):
                total = []
                for i in range(self.lanes):
                    a = Signal(self.a_bits, name=f"pa_{c}_{f}_{i}")
                    w = Signal(self.w_bits, name=f"pw_{c}_{f}_{i}")
                    whole = Signal(self.w_bits, name=f"ww_{c}_{f}_{i}")
                    one_a, one_w = lowest_one(a), lowest_one(w)
                    at_a = position(m, one_a, f"xa_{c}_{f}_{i}")
                    at_w = position(m, one_w, f"xw_{c}_{f}_{i}")
                    next_w, next_a = w & ~one_w, a & ~one_a
                    seen, held = self.seen[c * self.lanes + i], self.held[f * self.lanes + i]
                    magnitude = Mux(held[-1], -held, held)
                    with m.If(self.take):
                        m.d.sync += [a.eq(Mux(seen[-1], -seen, seen)), w.eq(magnitude), whole.eq(magnitude)]
                    with m.Elif(self.working):
                        with m.If(next_w.any()):
                            m.d.sync += w.eq(next_w)
                        with m.Else():
                            m.d.sync += [w.eq(whole), a.eq(next_a)]
                    busy = a.any() & w.any()
                    sign = self.a[c][i][-1] ^ self.w[f][i][-1]
                    term = Const(1) << (at_a + at_w)[:6]
                    total.append(Mux(busy, Mux(sign, -term, term), 0))
                    finished.append(~busy | (~next_w.any() & ~next_a.any()))
                row.append(sum(total, start=Const(0)))
            terms.append(row)
        m.d.comb += self.done.eq(self.working & Cat(*finished).all())
        return terms


class Turns(wiring.Component):
    """Single columns that get steps in turn; `grids` are given, all of one kind and one column."""

    def __init__(self, grids: Sequence[SerialGrid]) -> None:
        self.grids = grids
        one = grids[0]
        super().__init__({
            "seen": In(data.ArrayLayout(signed(one.a_bits), one.lanes)),
            "held": In(data.ArrayLayout(signed(one.w_bits), one.filters * one.lanes)),
            "precision": In(6), "valid": In(1),
            "ready": Out(1), "turn": Out(range(max(2, len(grids)))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for number, grid in enumerate(self.grids):
            m.submodules[f"column_{number}"] = grid
            m.d.comb += [
                grid.seen.eq(self.seen), grid.held.eq(self.held), grid.precision.eq(self.precision), grid.first.eq(1),
                grid.valid.eq(self.valid & (self.turn == number)),
            ]
        m.d.comb += self.ready.eq(Array(grid.ready for grid in self.grids)[self.turn])
        with m.If(self.ready & self.valid):
            m.d.sync += self.turn.eq(Mux(self.turn == len(self.grids) - 1, 0, self.turn + 1))
        return m


class Ahead(wiring.Component):
    """Columns, each with its own step control, that run at most `registers` steps ahead of the slowest.

    Step s may start in a column when every column has finished step s - registers - 1. Ports: a brick and the
    weights of each column's next step, whose number is `started`.
    """

    def __init__(self, grids: Sequence[SerialGrid], registers: int) -> None:
        self.grids, self.registers = grids, registers
        one, count = grids[0], len(grids)
        super().__init__({
            "seen": In(data.ArrayLayout(data.ArrayLayout(signed(one.a_bits), one.lanes), count)),
            "held": In(data.ArrayLayout(data.ArrayLayout(signed(one.w_bits), one.filters * one.lanes), count)),
            "valid": In(count), "first": In(count), "taken": Out(count),
            "started": Out(data.ArrayLayout(16, count)),
        })
        self.finished = [Signal(16, name=f"finished_{c}") for c in range(count)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ended = []
        for number, grid in enumerate(self.grids):
            m.submodules[f"column_{number}"] = grid
            now = Signal(16, name=f"ended_{number}")
            m.d.comb += now.eq(self.finished[number] + grid.done)
            m.d.sync += self.finished[number].eq(now)
            ended.append(now)
        for number, grid in enumerate(self.grids):
            step = self.started[number]
            allowed = Cat(*(now + self.registers >= step for now in ended)).all()
            m.d.comb += [
                grid.seen.eq(self.seen[number]), grid.held.eq(self.held[number]), grid.first.eq(self.first[number]),
                grid.valid.eq(self.valid[number] & allowed), self.taken[number].eq(grid.take),
            ]
            with m.If(grid.take):
                m.d.sync += step.eq(step + 1)
        return m
