"""Register-transfer models of the systolic arrays: the hardware whose clock edges the fast engine must reproduce.

Two grids of `rows` x `cols` processing elements (PEs). Every link between neighbours is a register, so a word moves
one hop a cycle; tokens (one bit each) travel with the words they describe, and nothing in the grid counts cycles or
knows how large a fold is. Whoever drives the edges decides *when* things happen (see `bench.py`).

``OsArray``, output stationary: PE(i, j) keeps one output's sum. The ifmap moves right, the filter moves down, and a
chain of registers in every column shifts finished sums up to row 0, whose chain register is the array's edge.

``WsArray``, weight stationary: PE(i, j) keeps one filter word. The ifmap moves right, psums move down and leave below
the last physical row, whose psum register is the edge. Exchange the operands and it is the input-stationary array.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["OsArray", "OsPe", "WsArray", "WsPe", "link"]


def link(word_bits: int, *tokens: str) -> data.StructLayout:
    """A signed word, its valid bit and named one-bit tokens, as they move together over one link."""
    return data.StructLayout({"word": signed(word_bits), "valid": unsigned(1)} | {name: unsigned(1) for name in tokens})


class OsPe(wiring.Component):
    """One output-stationary PE: multiplier, accumulator, (shadow register,) and one link of the drain chain.

    Tokens on the ifmap link: ``first`` starts a new sum, ``last`` marks a fold's last product, ``tail`` marks the last
    product of the fold's last row, at which the whole column loads its drain chain.

    Parameters
    ----------
    ifmap_bits, filter_bits, psum_bits : widths of the signed operands and of the sum.
    shadow : whether a finished sum moves to a register of its own, which frees the accumulator for the next fold.
    """

    def __init__(self, ifmap_bits: int, filter_bits: int, psum_bits: int, shadow: bool) -> None:
        self.shadow = shadow
        moving = link(ifmap_bits, "first", "last", "tail")
        super().__init__({
            "ifmap_in": In(moving), "ifmap_out": Out(moving),
            "filter_in": In(link(filter_bits)), "filter_out": Out(link(filter_bits)),
            "load": In(1),                      # column wire: load the drain chain now
            "tail": Out(1),                     # this PE asks for that load
            "busy": Out(1),                     # this PE multiplies in this cycle
            "chain_in": In(link(psum_bits)), "chain": Out(link(psum_bits)),
        })
        self.acc = Signal(signed(psum_bits))
        self.held = Signal(signed(psum_bits)) if shadow else self.acc
        self.held_valid = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        active = self.ifmap_in.valid & self.filter_in.valid
        total = Signal.like(self.acc)
        ready = active & self.ifmap_in.last
        m.d.comb += [
            total.eq(Mux(self.ifmap_in.first, 0, self.acc) + self.ifmap_in.word * self.filter_in.word),
            self.busy.eq(active),
            self.tail.eq(ready & self.ifmap_in.tail),
        ]
        m.d.sync += [self.ifmap_out.eq(self.ifmap_in), self.filter_out.eq(self.filter_in)]
        with m.If(active):
            m.d.sync += self.acc.eq(total)
        if self.shadow:
            with m.If(ready & ~self.ifmap_in.tail):
                m.d.sync += self.held.eq(total)
        with m.If(ready & ~self.ifmap_in.tail):
            m.d.sync += self.held_valid.eq(1)
        with m.Elif(self.load):
            m.d.sync += self.held_valid.eq(0)
        # The tail row's sum is not held anywhere yet: it bypasses into the chain.
        with m.If(self.tail):
            m.d.sync += [self.chain.word.eq(total), self.chain.valid.eq(1)]
        with m.Elif(self.load):
            m.d.sync += [self.chain.word.eq(self.held), self.chain.valid.eq(self.held_valid)]
        with m.Else():
            m.d.sync += self.chain.eq(self.chain_in)
        return m


class OsArray(wiring.Component):
    """The output-stationary grid.

    Ports: ``ifmap[rows]`` at the left edge, ``filter[cols]`` at the top edge, ``ofmap[cols]`` and ``ofmap_valid``
    (one bit per column) from the drain chain's row 0, ``busy`` while any PE multiplies.
    """

    def __init__(self, rows: int, cols: int, *, shadow: bool, ifmap_bits: int = 8, filter_bits: int = 8,
                 psum_bits: int = 32) -> None:
        self.rows, self.cols, self.shadow, self.psum_bits = rows, cols, shadow, psum_bits
        super().__init__({
            "ifmap": In(data.ArrayLayout(link(ifmap_bits, "first", "last", "tail"), rows)),
            "filter": In(data.ArrayLayout(link(filter_bits), cols)),
            "ofmap": Out(data.ArrayLayout(signed(psum_bits), cols)),
            "ofmap_valid": Out(cols),
            "busy": Out(1),
        })
        self.pes = [[OsPe(ifmap_bits, filter_bits, psum_bits, shadow) for _ in range(cols)] for _ in range(rows)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for j in range(self.cols):
            column = [self.pes[i][j] for i in range(self.rows)]
            load = Signal(name=f"load_{j}")
            m.d.comb += [
                load.eq(reduce(or_, (pe.tail for pe in column))),
                self.ofmap[j].eq(column[0].chain.word),
                self.ofmap_valid[j].eq(column[0].chain.valid),
            ]
            for i, pe in enumerate(column):
                m.submodules[f"pe_{i}_{j}"] = pe
                m.d.comb += [
                    pe.ifmap_in.eq(self.ifmap[i] if j == 0 else self.pes[i][j - 1].ifmap_out),
                    pe.filter_in.eq(self.filter[j] if i == 0 else column[i - 1].filter_out),
                    pe.load.eq(load),
                ]
                if i + 1 < self.rows:
                    m.d.comb += pe.chain_in.eq(column[i + 1].chain)
        m.d.comb += self.busy.eq(Cat(pe.busy for row in self.pes for pe in row).any())
        return m


class WsPe(wiring.Component):
    """One weight-stationary PE: weight register(s), multiplier, adder, psum register.

    Weights shift down from PE to PE while ``shift`` is high in their column. A load begins with ``head``: in that cycle
    row 0 alone takes a word, and every row starts one cycle after the row above, so that a row's weight survives until
    its own first new word arrives. All rows stop together when ``shift`` falls.

    A weight with the token ``end`` sits in the last column that the fold uses: operands are of no use beyond it and
    stop there, lest they meet the next fold's weights in columns that their own fold leaves empty.

    Parameters
    ----------
    double : two weight registers. The chain shifts through the shadow; the token ``swap`` on an operand makes the PE
        use the shadow in that very cycle and copy it to the active register.
    top : this PE is in row 0, where the load enters.
    """

    def __init__(self, ifmap_bits: int, filter_bits: int, psum_bits: int, double: bool, top: bool) -> None:
        self.double, self.top = double, top
        super().__init__({
            "ifmap_in": In(link(ifmap_bits, "swap")), "ifmap_out": Out(link(ifmap_bits, "swap")),
            "filter_in": In(link(filter_bits, "end")),
            "shift": In(1), "head": In(1),
            "above": In(1),                     # the PE above took a word in the last cycle
            "psum_in": In(link(psum_bits)), "psum": Out(link(psum_bits)),
            "live": Out(1),                     # multiplies an operand with a weight that belongs to the fold
        })
        self.weight = Signal(link(filter_bits, "end"))
        self.shadow = Signal(link(filter_bits, "end")) if double else self.weight
        self.took = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        take, used = Signal(), Signal.like(self.weight)
        swap = self.ifmap_in.valid & self.ifmap_in.swap
        m.d.comb += [
            take.eq(self.shift if self.top else self.shift & self.above & ~self.head),
            used.eq(self.weight),
            self.live.eq(self.ifmap_in.valid & used.valid),
        ]
        if self.double:
            with m.If(swap):
                m.d.comb += used.eq(self.shadow)
        m.d.sync += [
            self.took.eq(take),
            self.ifmap_out.eq(self.ifmap_in),
            self.psum.word.eq(self.psum_in.word + Mux(self.live, self.ifmap_in.word * used.word, 0)),
            self.psum.valid.eq(self.psum_in.valid),
        ]
        with m.If(used.end):
            m.d.sync += self.ifmap_out.valid.eq(0)
        if self.double:
            with m.If(swap):
                m.d.sync += self.weight.eq(self.shadow)
        with m.If(take):
            m.d.sync += self.shadow.eq(self.filter_in)
        return m


class WsArray(wiring.Component):
    """The weight-stationary grid (input stationary with the operands exchanged).

    Ports: ``ifmap[rows]`` at the left edge; ``filter[cols]``, ``shift`` and ``head`` at the load input above row 0;
    ``ofmap[cols]`` and ``ofmap_valid`` (one bit per column) from the psum registers of the last physical row.

    Parameters
    ----------
    double : two weight registers per PE.
    wave : the load's control bits move right one column a cycle; otherwise they reach all columns at once.
    """

    def __init__(self, rows: int, cols: int, *, double: bool, wave: bool, ifmap_bits: int = 8, filter_bits: int = 8,
                 psum_bits: int = 32) -> None:
        self.rows, self.cols, self.double, self.wave, self.psum_bits = rows, cols, double, wave, psum_bits
        super().__init__({
            "ifmap": In(data.ArrayLayout(link(ifmap_bits, "swap"), rows)),
            "filter": In(data.ArrayLayout(link(filter_bits, "end"), cols)),
            "shift": In(1), "head": In(1),
            "ofmap": Out(data.ArrayLayout(signed(psum_bits), cols)),
            "ofmap_valid": Out(cols),
            "busy": Out(1),
        })
        self.pes = [[WsPe(ifmap_bits, filter_bits, psum_bits, double, top=i == 0) for _ in range(cols)]
                    for i in range(rows)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shift, head = self.shift, self.head
        for j in range(self.cols):
            if self.wave and j > 0:
                before = shift, head
                shift, head = Signal(name=f"shift_{j}"), Signal(name=f"head_{j}")
                m.d.sync += [shift.eq(before[0]), head.eq(before[1])]
            column = [self.pes[i][j] for i in range(self.rows)]
            m.d.comb += [
                # A psum is worth collecting when row 0, which every fold uses, starts it.
                column[0].psum_in.valid.eq(column[0].live),
                self.ofmap[j].eq(column[-1].psum.word),
                self.ofmap_valid[j].eq(column[-1].psum.valid),
            ]
            for i, pe in enumerate(column):
                m.submodules[f"pe_{i}_{j}"] = pe
                m.d.comb += [
                    pe.ifmap_in.eq(self.ifmap[i] if j == 0 else self.pes[i][j - 1].ifmap_out),
                    pe.filter_in.eq(self.filter[j] if i == 0 else column[i - 1].shadow),
                    pe.shift.eq(shift), pe.head.eq(head),
                ]
                if i > 0:
                    m.d.comb += [pe.psum_in.eq(column[i - 1].psum), pe.above.eq(column[i - 1].took)]
        m.d.comb += self.busy.eq(Cat(pe.live for row in self.pes for pe in row).any())
        return m
