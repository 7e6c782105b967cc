"""`CostModel`: what any component costs at one technology node, with its provenance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from accelsim.base.errors import ConfigError
from accelsim.energy import analog, interconnect
from accelsim.energy import dram as dram_tables
from accelsim.energy.arithmetic import Arithmetic
from accelsim.energy.figures import Explanation, Figure, composed
from accelsim.energy.scaling import Technology, default_vdd
from accelsim.energy.sram import CAPACITIES, SramCost, SramModel

T = TypeVar("T")


class CostModel:
    """Costs at a node and a supply.

    Energies are `Figure`s: floats that carry unit and source. Every figure asked for is remembered:
    `explain()` lists them all.

    Parameters
    ----------
    node_nm : float
        7 to 90.
    vdd : float, optional
        Supply of logic and wires in volts; by default the node's own (`voltages.csv`). SRAM has the
        supply of its device type, and follows in proportion if `vdd` is given.
    sram_device : str
        "itrs-lstp", "itrs-hp" or "itrs-lop".
    temperature_k : int
        300 or 360: leakage of SRAM.

    Raises
    ------
    ConfigError
        A node, supply, device type or temperature outside of the tables.
    """

    def __init__(
        self, node_nm: float, vdd: float | None = None, *, sram_device: str = "itrs-lstp", temperature_k: int = 300
    ) -> None:
        self.tech = Technology.of(node_nm, vdd)
        relative = 1.0 if vdd is None else self.tech.vdd / default_vdd(node_nm)
        self._sram = SramModel(node_nm, sram_device, temperature_k, relative)
        self._logic = Arithmetic(self.tech)
        self._quotes: dict[tuple[str, str], object] = {}

    @property
    def node_nm(self) -> float:
        """The technology node."""
        return self.tech.node_nm

    @property
    def vdd(self) -> float:
        """Supply of logic and wires, in volts."""
        return self.tech.vdd

    def _quote(self, component: str, action: str, compute: Callable[[], T]) -> T:
        key = component, action
        if key not in self._quotes:
            self._quotes[key] = compute()
        return self._quotes[key]  # type: ignore[return-value]

    def explain(self) -> list[Explanation]:
        """Every figure that this model was asked for: component, action, value, unit, node, origin, source."""
        rows: list[Explanation] = []
        for (component, action), quote in self._quotes.items():
            for name, value, unit, origin, source in _parts(quote):
                what = f"{action} {name}".strip()
                rows.append(Explanation(component, what, value, unit, self.node_nm, origin, source))
        return rows

    # Arithmetic, in pJ per operation

    def add_pj(self, bits: int) -> Figure:
        """An integer addition."""
        return self._quote("logic", f"add {bits} bit", lambda: self._logic.add(bits))

    def multiply_pj(self, a_bits: int, b_bits: int) -> Figure:
        """An integer product."""
        return self._quote("logic", f"multiply {a_bits}x{b_bits} bit", lambda: self._logic.multiply(a_bits, b_bits))

    def mac_pj(self, a_bits: int, w_bits: int, acc_bits: int = 32) -> Figure:
        """An integer multiply-accumulate."""
        what = f"mac {a_bits}x{w_bits}+{acc_bits} bit"
        return self._quote("logic", what, lambda: self._logic.mac(a_bits, w_bits, acc_bits))

    def fp_mac_pj(self, number: str, acc: str | None = None) -> Figure:
        """A multiply-accumulate on "fp16", "bf16" or "fp32"; `acc` is the format of the sum."""

        def compute() -> Figure:
            parts = self._logic.floating("multiply", number), self._logic.floating("add", acc or number)
            return composed(f"{number} product + {acc or number} sum", (1, parts[0]), (1, parts[1]))

        return self._quote("logic", f"mac {number}+{acc or number}", compute)

    def gated_pj(self, a_bits: int) -> Figure:
        """A MAC that a zero operand keeps still."""
        return self._quote("logic", f"gated mac {a_bits} bit", lambda: self._logic.gated(a_bits))

    def op_pj(self, name: str, bits: int) -> Figure:
        """An operation by name: see `arithmetic.OPERATIONS`, and `fp16_add`, `bf16_multiply`..."""
        return self._quote("logic", f"{name} {bits} bit", lambda: self._logic.operation(name, bits))

    def register_pj(self, bits: int) -> Figure:
        """A write to a flip-flop register (see `register_read_pj` for its output)."""
        return self._quote("logic", f"register {bits} bit", lambda: self._logic.register(bits))

    def register_read_pj(self, bits: int) -> Figure:
        """The output of a flip-flop register, driven into logic."""
        return self._quote("logic", f"register output {bits} bit", lambda: self._logic.register_read(bits))

    def popcount_pj(self, bits: int) -> Figure:
        """Counting the ones among `bits` wires."""
        return self._quote("logic", f"popcount {bits} bit", lambda: self._logic.popcount(bits))

    def xnor_pj(self, bits: int) -> Figure:
        """`bits` XNOR gates."""
        return self._quote("logic", f"xnor {bits} bit", lambda: self._logic.per_bit("bitwise", bits))

    def adder_tree_pj(self, inputs: int, bits: int) -> Figure:
        """The sum of `inputs` words."""
        return self._quote("logic", f"adder tree {inputs}x{bits} bit", lambda: self._logic.adder_tree(inputs, bits))

    def bit_serial_step_pj(self, word_bits: int, lanes: int = 1, acc_bits: int = 32) -> Figure:
        """One serial bit in each of `lanes` against parallel words of `word_bits`."""
        what = f"serial step {lanes}x{word_bits}+{acc_bits} bit"
        return self._quote("logic", what, lambda: self._logic.bit_serial_step(word_bits, lanes, acc_bits))

    def bit_brick_pj(self) -> Figure:
        """One 2-bit brick of a Bit Fusion unit for one cycle."""
        return self._quote("logic", "bit brick", self._logic.bit_brick)

    def lookup_pj(self, entries: int, bits: int) -> Figure:
        """A read of a small table held in flip-flops."""
        what = f"look-up {entries}x{bits} bit"
        return self._quote("logic", what, lambda: self._logic.register_file(entries, bits)[0])

    # Areas, in mm2, and leakage, in mW

    def mac_area_mm2(self, a_bits: int, w_bits: int, acc_bits: int = 32) -> Figure:
        """Multiplier and adder."""
        what = f"mac {a_bits}x{w_bits}+{acc_bits} bit area"
        return self._quote("logic", what, lambda: self._logic.mac(a_bits, w_bits, acc_bits, area=True))

    def op_area_mm2(self, name: str, bits: int) -> Figure:
        """The unit for an operation by name."""
        return self._quote("logic", f"{name} {bits} bit area", lambda: self._logic.operation(name, bits, area=True))

    def register_area_mm2(self, bits: int) -> Figure:
        """A flip-flop register."""
        return self._quote("logic", f"register {bits} bit area", lambda: self._logic.register(bits, area=True))

    def popcount_area_mm2(self, bits: int) -> Figure:
        """A popcount tree."""
        return self._quote("logic", f"popcount {bits} bit area", lambda: self._logic.popcount(bits, area=True))

    def bit_serial_area_mm2(self, word_bits: int, lanes: int = 1, acc_bits: int = 32) -> Figure:
        """A serial inner-product unit."""
        what = f"serial unit {lanes}x{word_bits}+{acc_bits} bit area"
        return self._quote("logic", what, lambda: self._logic.bit_serial_step(word_bits, lanes, acc_bits, area=True))

    def bit_brick_area_mm2(self) -> Figure:
        """A 2-bit brick and its share of the fusion unit."""
        return self._quote("logic", "bit brick area", lambda: self._logic.bit_brick(area=True))

    def logic_leak_mw(self, area_mm2: float) -> Figure:
        """Leakage of logic of this area."""
        return self._quote("logic", f"leakage of {area_mm2:.6g} mm2", lambda: self._logic.leakage(area_mm2))

    # Memories

    def sram(self, capacity_bytes: int, width_bits: int, ports: int = 1, banks: int = 1) -> SramCost:
        """An SRAM: see `sram.SramModel.memory`."""
        what = f"{capacity_bytes} B x {width_bits} bit, {ports} port(s), {banks} bank(s)"

        def compute() -> SramCost:
            wire = float(self.wire_pj_per_bit_mm())
            return self._sram.memory(capacity_bytes, width_bits, ports, banks, wire)

        return self._quote("sram", what, compute)

    def register_file(self, capacity_bytes: int, width_bits: int) -> SramCost:
        """A memory of flip-flops: for scratchpads of a few words."""
        entries = capacity_bytes * 8 // width_bits if width_bits > 0 else 0
        if entries < 1:
            raise ConfigError(f"capacity must hold a word of {width_bits} bits, got {capacity_bytes} B")

        def compute() -> SramCost:
            read, write, area = self._logic.register_file(entries, width_bits)
            leak = float(self._logic.leakage(float(area)))
            return SramCost(float(read), float(write), leak, float(area), 1, read.source)

        return self._quote("register file", f"{entries} x {width_bits} bit", compute)

    def scratchpad(self, capacity_bytes: int, width_bits: int) -> SramCost:
        """A register file or an SRAM macro, whichever takes less energy for a read and a write; from 512 B an SRAM."""
        memory = self.sram(capacity_bytes, width_bits)
        if capacity_bytes >= CAPACITIES[0]:
            return memory
        flops = self.register_file(capacity_bytes, width_bits)
        return min(memory, flops, key=lambda c: c.read_pj + c.write_pj)

    def dram(self, standard: str) -> dram_tables.DramCost:
        """A flat price per bit: see `dram.dram`."""
        return self._quote("dram", standard, lambda: dram_tables.dram(standard))

    def dram_idd(self, config: str) -> dram_tables.DramIddCost:
        """Prices of activate, burst, refresh and standby: see `dram.dram_idd`."""
        return self._quote("dram", f"currents of {config}", lambda: dram_tables.dram_idd(config))

    def edram_pj(self, width_bits: int) -> Figure:
        """An access to a 64 KiB eDRAM macro."""
        return self._quote("edram", f"access {width_bits} bit", lambda: analog.edram(self.tech, width_bits))

    def edram_area_mm2(self, capacity_bytes: int) -> Figure:
        """Area of eDRAM."""
        return self._quote("edram", f"{capacity_bytes} B area", lambda: analog.edram_area(self.tech, capacity_bytes))

    # Interconnect

    def wire_pj_per_bit_mm(self, activity: float | None = None, kind: str = "30% slower") -> Figure:
        """One bit over one mm: see `interconnect.wire`."""
        what = f"{kind}, activity {activity or 'default'}"
        return self._quote("wire", what, lambda: interconnect.wire(self.tech, activity, kind))

    def router(self, flit_bits: int, depth_flits: int = 4, ports: int = 5) -> interconnect.RouterCost:
        """A NoC router: see `interconnect.router`."""
        what = f"{flit_bits} bit flit, depth {depth_flits}, {ports} ports"
        return self._quote("router", what, lambda: interconnect.router(self.tech, flit_bits, depth_flits, ports))

    def chip_link_pj_per_bit(self) -> Figure:
        """A link between dies of one package."""
        return self._quote("link", "die to die", interconnect.chip_link)

    def edram_bus_pj_per_bit(self) -> Figure:
        """ISAAC's eDRAM bus."""
        return self._quote("link", "eDRAM bus", lambda: interconnect.edram_bus(self.tech))

    # Analog

    def adc(self, bits: int, rate_hz: float) -> analog.ConverterCost:
        """An ADC by resolution and rate: see `analog.adc`."""
        return self._quote("adc", f"{bits} bit, {rate_hz:g}/s", lambda: analog.adc(self.tech, bits, rate_hz))

    def converter(self, design: str, bits: int | None = None) -> analog.ConverterCost:
        """A published converter at its own node: see `analog.converter`."""
        what = design if bits is None else f"{design} {bits} bit"
        return self._quote("converter", what, lambda: analog.converter(design, bits))

    def cell(self, device: str) -> analog.CellCost:
        """A resistive cell at its own node: see `analog.cell`."""
        return self._quote("cell", device, lambda: analog.cell(device))

    def crossbar_read_pj(self, rows: int, cols: int, design: str = "puma") -> Figure:
        """One input bit through a crossbar: see `analog.crossbar_read`."""
        what = f"{rows}x{cols} {design} read"
        return self._quote("crossbar", what, lambda: analog.crossbar_read(rows, cols, design))

    def crossbar_area_mm2(self, rows: int, cols: int, design: str = "puma") -> Figure:
        """Area of a crossbar without its converters."""
        what = f"{rows}x{cols} {design} area"
        return self._quote("crossbar", what, lambda: analog.crossbar_area(rows, cols, design))

    def sense_amplifier_pj(self) -> Figure:
        """A 1-bit decision at a bit line."""
        return self._quote("converter", "sense amplifier", lambda: analog.sense_amplifier(self.tech))


_UNITS = {"pj": "pJ", "mw": "mW", "mm2": "mm2"}


def _parts(quote: object) -> list[tuple[str, float, str, str, str]]:
    """(name, value, unit, scaled from, source) of each number in a quote."""
    if isinstance(quote, Figure):
        return [("", float(quote), quote.unit, quote.scaled_from, quote.source)]
    rows: list[tuple[str, float, str, str, str]] = []
    for name, value in vars(quote).items():
        if isinstance(value, Figure):
            rows.append((name, float(value), value.unit, value.scaled_from, value.source))
        elif isinstance(value, float):
            source = str(getattr(quote, "source"))
            unit = next((_UNITS[tail] for tail in name.split("_")[::-1] if tail in _UNITS), "")
            if unit:
                rows.append((name, value, f"{unit}/bit" if "_per_bit_" in name else unit, "", source))
    return rows
