"""Register-transfer model of Bit Fusion: 2-bit bricks, fused into multipliers, in a systolic grid.

A unit has sixteen bricks. For operands of a and w bits (2, 4 or 8 each) they form (8 / a) x (8 / w) multipliers, whose
products all belong to one sum: each multiplies another input by its weight. Inputs move right, sums move down, one
register a hop; the last row's registers keep a column's sum. Operands of 16 bits come as two digits of 8; the
token that moves with the inputs says by how much the products of a pass are shifted.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

DIGITS = {2: 1, 4: 2, 8: 4}
PSUM_BITS = 48

TOKEN = data.StructLayout({
    "valid": unsigned(1),
    "first": unsigned(1),           # begins a sum
    "last": unsigned(1),            # ends it
    "shift": unsigned(5),           # of this pass of digits
    "a_signed": unsigned(1),        # the highest digit carries a sign
    "w_signed": unsigned(1),
})


class Brick(wiring.Component):
    """2 bits x 2 bits, each signed or not: a 3-bit signed multiplier."""

    def __init__(self) -> None:
        super().__init__({
            "x": In(2), "y": In(2), "x_signed": In(1), "y_signed": In(1), "product": Out(signed(6)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x = Cat(self.x, self.x[1] & self.x_signed).as_signed()
        y = Cat(self.y, self.y[1] & self.y_signed).as_signed()
        m.d.comb += self.product.eq(x * y)
        return m


class FusionUnit(wiring.Component):
    """Sixteen bricks, their shifters and adders, and the registers towards the next units."""

    def __init__(self, a_bits: int, w_bits: int, bottom: bool) -> None:
        self.a_digits, self.w_digits, self.bottom = DIGITS[a_bits], DIGITS[w_bits], bottom
        self.products = 16 // (self.a_digits * self.w_digits)
        super().__init__({
            "a_in": In(self.products * a_bits), "a_out": Out(self.products * a_bits),
            "token_in": In(TOKEN), "token_out": Out(TOKEN),
            "w": In(self.products * w_bits),
            "psum_in": In(signed(PSUM_BITS)), "psum": Out(signed(PSUM_BITS)),
            "done": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        terms = []
        for p in range(self.products):
            for i in range(self.a_digits):
                for j in range(self.w_digits):
                    m.submodules[f"brick_{p}_{i}_{j}"] = brick = Brick()
                    top_a, top_w = i == self.a_digits - 1, j == self.w_digits - 1
                    m.d.comb += [
                        brick.x.eq(self.a_in.word_select(p * self.a_digits + i, 2)),
                        brick.y.eq(self.w.word_select(p * self.w_digits + j, 2)),
                        brick.x_signed.eq(self.token_in.a_signed & top_a),
                        brick.y_signed.eq(self.token_in.w_signed & top_w),
                    ]
                    terms.append(brick.product << 2 * (i + j))
        total = Signal(signed(PSUM_BITS))
        m.d.comb += total.eq(Mux(self.token_in.valid, sum(terms, start=0) << self.token_in.shift, 0) + self.psum_in)
        m.d.sync += [self.a_out.eq(self.a_in), self.token_out.eq(self.token_in)]
        if self.bottom:
            with m.If(self.token_in.valid):
                m.d.sync += self.psum.eq(Mux(self.token_in.first, 0, self.psum) + total)
            m.d.sync += self.done.eq(self.token_in.valid & self.token_in.last)
        else:
            m.d.sync += self.psum.eq(total)
        return m


class FusionArray(wiring.Component):
    """`rows` x `cols` units; ports: an input and a token for each row, a weight for each unit, sums below."""

    def __init__(self, rows: int, cols: int, a_bits: int, w_bits: int) -> None:
        self.rows, self.cols = rows, cols
        self.units = [[FusionUnit(a_bits, w_bits, i == rows - 1) for _ in range(cols)] for i in range(rows)]
        self.products = self.units[0][0].products
        super().__init__({
            "a": In(data.ArrayLayout(unsigned(self.products * a_bits), rows)),
            "token": In(data.ArrayLayout(TOKEN, rows)),
            "w": In(data.ArrayLayout(unsigned(self.products * w_bits), rows * cols)),
            "psum": Out(data.ArrayLayout(signed(PSUM_BITS), cols)),
            "done": Out(cols),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for i, row in enumerate(self.units):
            for j, unit in enumerate(row):
                m.submodules[f"unit_{i}_{j}"] = unit
                m.d.comb += [
                    unit.a_in.eq(self.a[i] if j == 0 else row[j - 1].a_out),
                    unit.token_in.eq(self.token[i] if j == 0 else row[j - 1].token_out),
                    unit.w.eq(self.w[i * self.cols + j]),
                    unit.psum_in.eq(0 if i == 0 else self.units[i - 1][j].psum),
                ]
        for j, unit in enumerate(self.units[-1]):
            m.d.comb += [self.psum[j].eq(unit.psum), self.done[j].eq(unit.done)]
        return m
