"""Energy and area of arithmetic, registers and small logic, for any bit width.

Where the published points end, rules extend them; each is written at the function that uses it:

- integer adder: per bit, from the nearest point (a ripple of full adders);
- integer multiplier: by the number of partial-product bits a x b, one full adder each. Horowitz'
  points obey this within 5%: 0.0031 pJ per partial-product bit at 8 x 8 and 0.0030 at 32 x 32;
- a factor of one bit needs no adder: a row of AND gates;
- floating point: by the bits of the significand, a power law through fp16 and fp32;
- counting ones: n wires become ceil(log2(n + 1)) wires, and a full adder removes one wire.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.energy.figures import Figure, composed
from accelsim.energy.scaling import Technology
from accelsim.energy.tableio import Row, constant, loglog, pick, read_table

MAX_BITS = 64
SIGNIFICAND_BITS = {"fp16": 11, "bf16": 8, "fp32": 24}
_PER_BIT = ("bitwise", "compare", "count")
_TABLED = ("sigmoid", "alu")
OPERATIONS = ("add", "multiply", "shift", "max", "mux", "relu", *_PER_BIT, *_TABLED)


def check_bits(bits: int, what: str = "bits", most: int = MAX_BITS) -> int:
    """`bits`, an integer of 1 to `most`.

    Raises
    ------
    ConfigError
    """
    if isinstance(bits, bool) or int(bits) != bits or not 1 <= bits <= most:
        raise ConfigError(f"{what} must be an integer from 1 to {most}, got {bits}")
    return int(bits)


def _points(op: str, kind: str, column: str) -> tuple[list[int], list[float], Row]:
    rows = sorted(
        (r for r in read_table("arithmetic") if (r["op"], r["type"]) == (op, kind) and r[column]),
        key=lambda r: int(r["bits"]),
    )
    return [int(r["bits"]) for r in rows], [float(r[column]) for r in rows], rows[0]


class Arithmetic:
    """Costs of operators at one technology. Energies are Figures in pJ per operation, areas in mm2.

    Parameters
    ----------
    tech : Technology
        Where the operators are built.
    """

    def __init__(self, tech: Technology) -> None:
        self.tech = tech

    def _scaled(self, value: float, row: Row, rule: str, area: bool) -> Figure:
        source = f"{row['source']}; {rule}" if rule else row["source"]
        if area:
            return self.tech.area(value, source, float(row["node_nm"]))
        vdd = float(row["vdd_V"]) if row["vdd_V"] else None
        return self.tech.energy(value, source, float(row["node_nm"]), vdd)

    def _curve(self, x: float, xs: Sequence[float], ys: list[float], row: Row, area: bool) -> Figure:
        rule = "" if x in xs else "between its points" if xs[0] < x < xs[-1] else "in proportion beyond its points"
        return self._scaled(loglog(x, xs, ys, linear_ends=True), row, rule, area)

    def add(self, bits: int, area: bool = False) -> Figure:
        """One integer addition of two words of `bits`; or the adder's area."""
        xs, ys, row = _points("add", "int", "area_um2" if area else "energy_pJ")
        return self._curve(check_bits(bits), xs, ys, row, area)

    def multiply(self, a_bits: int, b_bits: int, area: bool = False) -> Figure:
        """One integer product of `a_bits` x `b_bits`; or the multiplier's area."""
        check_bits(a_bits)
        check_bits(b_bits)
        if min(a_bits, b_bits) == 1:
            return self.per_bit("bitwise", max(a_bits, b_bits), area)
        xs, ys, row = _points("multiply", "int", "area_um2" if area else "energy_pJ")
        return self._curve(a_bits * b_bits, [x * x for x in xs], ys, row, area)

    def mac(self, a_bits: int, w_bits: int, acc_bits: int, area: bool = False) -> Figure:
        """A product, added to a sum of `acc_bits`; or the area of multiplier and adder (no registers)."""
        parts = (1, self.multiply(a_bits, w_bits, area)), (1, self.add(acc_bits, area))
        return composed(f"{a_bits} x {w_bits} bit product + {acc_bits} bit sum", *parts)

    def gated(self, a_bits: int) -> Figure:
        """A MAC that is kept from toggling because its operand of `a_bits` is zero.

        The operand is compared with zero, and a flag bit holds the operand registers.
        """
        parts = (1, self.per_bit("compare", a_bits)), (1, self.register(1))
        return composed(f"zero test of {a_bits} bits + a flag register", *parts)

    def floating(self, op: str, number: str, area: bool = False) -> Figure:
        """`op` ("add", "multiply") on "fp16", "bf16" or "fp32", by significand bits."""
        if number not in SIGNIFICAND_BITS:
            raise unknown_name("number format", number, SIGNIFICAND_BITS)
        if op not in ("add", "multiply"):
            raise unknown_name("floating-point operation", op, ("add", "multiply"))
        _, (half, single), row = _points(op, "fp", "area_um2" if area else "energy_pJ")
        low, high, here = SIGNIFICAND_BITS["fp16"], SIGNIFICAND_BITS["fp32"], SIGNIFICAND_BITS[number]
        power = math.log(single / half) / math.log(high / low)
        rule = "" if number != "bf16" else "derived: power law in significand bits through fp16 and fp32"
        value = {"fp16": half, "fp32": single}.get(number) or half * (here / low) ** power
        return self._scaled(value, row, rule, area)

    def per_bit(self, op: str, bits: int, area: bool = False) -> Figure:
        """`bitwise` (AND, OR, XOR, XNOR), `compare`, `count` (increment) of `bits`: in proportion to bits."""
        check_bits(bits, most=4096)
        row = pick("arithmetic", op=op, type="int")
        whole, rule = int(row["bits"]), "" if bits == int(row["bits"]) else "in proportion to bits"
        return self._scaled(float(row["area_um2" if area else "energy_pJ"]) * bits / whole, row, rule, area)

    def shift(self, bits: int, area: bool = False) -> Figure:
        """A shift by any distance: a barrel shifter, bits x log2(bits)."""
        check_bits(bits)
        row = pick("arithmetic", op="shift", type="int")
        whole = int(row["bits"])
        scale = bits * max(1.0, math.log2(bits)) / (whole * math.log2(whole))
        rule = "" if bits == whole else "in proportion to bits x log2(bits)"
        return self._scaled(float(row["area_um2" if area else "energy_pJ"]) * scale, row, rule, area)

    def mux(self, bits: int, area: bool = False) -> Figure:
        """A choice of one of two words: three gates for each bit."""
        return composed("2:1 multiplexer, 3 gates per bit", (3, self.per_bit("bitwise", bits, area)))

    def operation(self, op: str, bits: int, area: bool = False) -> Figure:
        """Any of OPERATIONS on words of `bits` (multiply: bits x bits); `fp16_add`, `bf16_multiply`... too.

        `relu` looks at the sign and gates the word; `max` compares and chooses.

        Raises
        ------
        ConfigError
            Unknown operation (nearest names), or a width outside of 1 to 64.
        """
        number, _, float_op = op.partition("_")
        if number in SIGNIFICAND_BITS and float_op in ("add", "multiply"):
            return self.floating(float_op, number, area)
        if op in _PER_BIT:
            return self.per_bit(op, check_bits(bits), area)
        if op in _TABLED:
            check_bits(bits)
            row = pick("arithmetic", op=op, type="int")
            rule = "" if bits == int(row["bits"]) else "in proportion to bits"
            value = float(row["area_um2" if area else "energy_pJ"]) * bits / int(row["bits"])
            return self._scaled(value, row, rule, area)
        check_bits(bits)
        if op == "max":
            return composed("compare + choose", (1, self.per_bit("compare", bits, area)), (1, self.mux(bits, area)))
        if op == "multiply":
            return self.multiply(bits, bits, area)
        simple = {"add": self.add, "shift": self.shift, "mux": self.mux, "relu": self._relu}
        if op not in simple:
            floats = [f"{n}_{o}" for n in SIGNIFICAND_BITS for o in ("add", "multiply")]
            raise unknown_name("operation", op, [*OPERATIONS, *floats])
        return simple[op](bits, area)

    def _relu(self, bits: int, area: bool = False) -> Figure:
        return composed("sign gates the word", (1, self.per_bit("bitwise", bits, area)))

    def register(self, bits: int, area: bool = False) -> Figure:
        """Clocking a word of `bits` into a flip-flop register; or the register's area."""
        return self.per_bit("register", bits, area)

    def register_read(self, bits: int) -> Figure:
        """A word that a register drives into logic: nothing is clocked, one gate's worth of output for each bit."""
        return composed(f"register output of {bits} bits, one gate per bit", (1, self.per_bit("bitwise", bits)))

    def register_file(self, entries: int, bits: int) -> tuple[Figure, Figure, Figure]:
        """(read, write, area) of `entries` words of flip-flops.

        A write clocks one word. A read clocks an output register of one word and toggles the tree
        of `entries` - 1 multiplexers; when addresses advance in turn, the select line of level l
        changes once in 2**l reads, so that two thirds of the tree's muxes see a change.
        """
        check_bits(bits, "width in bits", 4096)
        if entries < 1:
            raise ConfigError(f"entries of a register file must be at least 1, got {entries}")
        register = self.register(bits)
        muxes = 2 * (entries - 1) / 3
        read = composed(
            f"register file of {entries} x {bits} bit, output register + 2/3 of its multiplexers",
            (1, register), (muxes * bits, self.mux(1)),
        )
        area = composed(
            f"register file of {entries} x {bits} bit",
            (entries + 1, self.register(bits, area=True)), ((entries - 1) * bits, self.mux(1, area=True)),
        )
        return read, register, area

    def popcount(self, bits: int, area: bool = False) -> Figure:
        """Number of ones among `bits` wires, by full adders (see the module's text)."""
        check_bits(bits, most=65536)
        adders = bits - (bits).bit_length()
        if adders <= 0:
            return self.add(1, area)
        return composed(f"popcount of {bits}, {adders} full adders", (adders, self.add(1, area)))

    def adder_tree(self, inputs: int, bits: int, area: bool = False) -> Figure:
        """The sum of `inputs` words of `bits`: a binary tree whose words grow by one bit for each level."""
        check_bits(bits)
        if inputs < 2:
            raise ConfigError(f"inputs of an adder tree must be at least 2, got {inputs}")
        parts = []
        width, left = bits, inputs
        while left > 1:
            parts.append((left // 2, self.add(width, area)))
            left -= left // 2
            width = min(width + 1, MAX_BITS)
        return composed(f"adder tree of {inputs} x {bits} bit", *parts)

    def bit_serial_step(self, word_bits: int, lanes: int, acc_bits: int, area: bool = False) -> Figure:
        """One bit of each of `lanes` serial operands against words of `word_bits`, shifted into the sum.

        AND gates for each lane, a tree that adds the lanes, and an accumulator with its register:
        the serial inner-product unit of Stripes (MICRO 2016, Section 4), from our operators.
        """
        parts = [(lanes, self.per_bit("bitwise", word_bits, area))]
        if lanes > 1:
            parts.append((1, self.adder_tree(lanes, word_bits, area)))
        parts += [(1, self.add(acc_bits, area)), (1, self.register(acc_bits, area))]
        return composed(f"serial step of {lanes} lanes x {word_bits} bit", *parts)

    def bit_brick(self, area: bool = False) -> Figure:
        """A 2-bit x 2-bit brick of a Bit Fusion unit for one cycle, its share of shifters and sums included."""
        row = pick("arithmetic", op="bit_brick", type="int")
        return self._scaled(float(row["area_um2" if area else "energy_pJ"]), row, "", area)

    def leakage(self, area_mm2: float) -> Figure:
        """Leakage of logic of this area, in mW."""
        density, source = constant("logic_leakage")
        return Figure(density * area_mm2 * 1e6, "mW", source)
