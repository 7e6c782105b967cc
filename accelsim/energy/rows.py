"""Building blocks for the costs of an architecture: each function prices one kind of component.

`ComponentCosts([mac_rows(model, [(8, 8)], count=1024), sram_rows(model, "ifmap", 65536, 64), ...])`.

The actions, which engines and memories count:

- `mac`: `mac_{a}x{w}` (or `mac_fp16`...), `gated`
- a register (`pe_register`, `accumulator`): `read`, `write` of one word, `read_bit`, `write_bit`
- a buffer, by its name: `read`, `write`, of one access
- `dram`: `read_byte`, `write_byte`, and on request `read_burst`, `write_burst`; by IDD data `activate`,
  `read_burst`, `write_burst`, `refresh`
- a link (`array_link`): `hop`; `noc`: `hop` (a flit through a router and the wire after it), `router`, `wire`
- `vector_unit`: the operations' own names, and `op` for one that is not named
- anything else: `component(...)` with named figures
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accelsim.base.errors import ConfigError
from accelsim.energy.costs import Component, CostRow
from accelsim.energy.figures import Figure, composed
from accelsim.energy.model import CostModel
from accelsim.energy.sram import SramCost


def component(
    name: str,
    actions: Mapping[str, Figure],
    *,
    area: Figure | None = None,
    leakage: Figure | None = None,
    count: int = 1,
) -> Component:
    """A component of `count` instances from figures: energies in pJ, area in mm2 and leakage in mW of one instance."""
    rows = {action: CostRow(float(figure), figure.source) for action, figure in actions.items()}
    for action, figure in actions.items():
        _unit(name, action, figure, "pJ")
    if area is not None:
        _unit(name, "area", area, "mm2")
    if leakage is not None:
        _unit(name, "leakage", leakage, "mW")
    sources = "; ".join(dict.fromkeys(f.source for f in (leakage, area) if f is not None))
    return Component(name, rows, count * float(leakage or 0.0), count * float(area or 0.0), sources)


def _unit(name: str, what: str, figure: Figure, unit: str) -> None:
    if figure.unit != unit:
        raise ConfigError(f"{what} of {name} must be in {unit}, got {figure.unit}")


def _logic(model: CostModel, name: str, actions: Mapping[str, Figure], area: Figure, count: int) -> Component:
    return component(name, actions, area=area, leakage=model.logic_leak_mw(float(area)), count=count)


def mac_rows(
    model: CostModel, pairs: Iterable[tuple[int, int]], *, acc_bits: int = 32, count: int = 1, name: str = "mac"
) -> Component:
    """`count` integer MAC units; `pairs` are the (activation, weight) bits in which they work.

    The unit has the area of its widest pair; `gated` is a MAC with a zero operand of the widest activation.
    """
    widths = sorted(set(pairs))
    if not widths:
        raise ConfigError(f"{name} needs at least one pair of bit widths")
    actions = {f"mac_{a}x{w}": model.mac_pj(a, w, acc_bits) for a, w in widths}
    actions["gated"] = model.gated_pj(max(a for a, _ in widths))
    widest = max(widths, key=lambda pair: (pair[0] * pair[1], pair))
    return _logic(model, name, actions, model.mac_area_mm2(*widest, acc_bits), count)


def fp_mac_rows(
    model: CostModel, number: str, *, acc: str | None = None, count: int = 1, name: str = "mac"
) -> Component:
    """`count` floating-point MAC units: `mac_fp16`, `mac_bf16` or `mac_fp32`, and `gated`."""
    bits = 32 if number == "fp32" else 16
    actions = {f"mac_{number}": model.fp_mac_pj(number, acc), "gated": model.gated_pj(bits)}
    areas = model.op_area_mm2(f"{number}_multiply", bits), model.op_area_mm2(f"{acc or number}_add", bits)
    area = composed(f"{number} multiplier + {acc or number} adder", (1, areas[0]), (1, areas[1]))
    return _logic(model, name, actions, area, count)


def register_rows(model: CostModel, name: str, bits: int, *, count: int = 1) -> Component:
    """`count` flip-flop registers of `bits`: `read` and `write` of the word, `read_bit` and `write_bit` of a part.

    A write clocks the word in; a read only drives the output, which is always there.
    """
    actions = {
        "read": model.register_read_pj(bits), "write": model.register_pj(bits),
        "read_bit": model.register_read_pj(1), "write_bit": model.register_pj(1),
    }
    return _logic(model, name, actions, model.register_area_mm2(bits), count)


def memory_component(name: str, cost: SramCost, count: int = 1) -> Component:
    """`count` equal memories of this cost: `read`, `write`."""
    actions = {"read": CostRow(cost.read_pj, cost.source), "write": CostRow(cost.write_pj, cost.source)}
    return Component(name, actions, count * cost.leak_mw, count * cost.area_mm2, cost.source)


def sram_rows(
    model: CostModel, name: str, capacity_bytes: int, width_bits: int, *, ports: int = 1, banks: int = 1, count: int = 1
) -> Component:
    """`count` SRAMs of `capacity_bytes`: `read` and `write` of `width_bits`."""
    return memory_component(name, model.sram(capacity_bytes, width_bits, ports, banks), count)


def scratchpad_rows(model: CostModel, name: str, capacity_bytes: int, width_bits: int, *, count: int = 1) -> Component:
    """`count` small memories, of flip-flops or SRAM, whichever takes less energy: `read`, `write`."""
    return memory_component(name, model.scratchpad(capacity_bytes, width_bits), count)


def dram_rows(
    model: CostModel, standard: str, *, burst_bytes: int | None = None, ranks: int = 1, name: str = "dram"
) -> Component:
    """DRAM at a flat price: `read_byte`, `write_byte`; standby power where the price leaves it out. No area.

    With `burst_bytes`, also `read_burst` and `write_burst` of that many bytes.
    """
    cost = model.dram(standard)
    source = f"{cost.source} ({cost.scope})"
    actions = {
        "read_byte": CostRow(8 * cost.pj_per_bit_read, source),
        "write_byte": CostRow(8 * cost.pj_per_bit_write, source),
    }
    if burst_bytes is not None:
        for way in ("read", "write"):
            actions[f"{way}_burst"] = CostRow(burst_bytes * actions[f"{way}_byte"].energy_pj, source)
    standby = ranks * cost.standby_mw
    return Component(name, actions, standby, 0.0, f"precharged standby of {cost.idd_config}" if standby else "")


def dram_idd_rows(model: CostModel, config: str, *, ranks: int = 1, name: str = "dram") -> Component:
    """DRAM by its commands: `activate`, `read_burst`, `write_burst`, `refresh`, and standby power of `ranks`."""
    cost = model.dram_idd(config)
    energies = {
        "activate": cost.activate_pj, "read_burst": cost.read_burst_pj,
        "write_burst": cost.write_burst_pj, "refresh": cost.refresh_pj,
    }
    actions = {action: CostRow(energy, f"{cost.config}: {cost.source}") for action, energy in energies.items()}
    return Component(name, actions, ranks * cost.precharge_standby_mw, 0.0, f"precharged standby of {cost.config}")


def link_rows(
    model: CostModel, name: str, bits: int, length_mm: float, *, registered: bool = True, count: int = 1
) -> Component:
    """`count` links of `bits` between neighbours, `length_mm` long, with a register at the end: `hop`."""
    if not length_mm >= 0:
        raise ConfigError(f"length of {name} must be >= 0 mm, got {length_mm}")
    wire = model.wire_pj_per_bit_mm()
    register = model.register_pj(bits)
    energy = bits * length_mm * float(wire) + (float(register) if registered else 0.0)
    source = f"{bits} bit over {length_mm:.4g} mm: {wire.source}" + (f"; {register.source}" if registered else "")
    if not registered:
        return Component(name, {"hop": CostRow(energy, source)})
    area = model.register_area_mm2(bits)
    leak = model.logic_leak_mw(float(area))
    statics = f"{area.source}; {leak.source}"
    return Component(name, {"hop": CostRow(energy, source)}, count * float(leak), count * float(area), statics)


def noc_rows(
    model: CostModel,
    flit_bits: int,
    hop_mm: float,
    *,
    routers: int = 1,
    depth_flits: int = 4,
    ports: int = 5,
    name: str = "noc",
) -> Component:
    """A network of `routers`: `hop` is a flit through a router and `hop_mm` of wire; `router`, `wire` its parts."""
    cost = model.router(flit_bits, depth_flits, ports)
    wire = model.wire_pj_per_bit_mm()
    over = flit_bits * hop_mm * float(wire)
    actions = {
        "hop": CostRow(float(cost.hop) + over, f"{cost.hop.source}; {hop_mm:.4g} mm of {wire.source}"),
        "router": CostRow(float(cost.hop), cost.hop.source),
        "wire": CostRow(over, f"{hop_mm:.4g} mm of {wire.source}"),
    }
    leak = model.logic_leak_mw(float(cost.area))
    statics = f"{cost.area.source}; {leak.source}"
    return Component(name, actions, routers * float(leak), routers * float(cost.area), statics)


def vector_rows(
    model: CostModel,
    operations: Iterable[str],
    bits: int,
    *,
    lanes: int = 1,
    unnamed: str = "multiply",
    name: str = "vector_unit",
) -> Component:
    """A unit of `lanes` with these operations on words of `bits`; an action is one operation on one word.

    The action `op` stands for an operation that is not named and costs as `unnamed`: by default a
    product, as requantisation and batch normalisation need it; additions, maxima and ReLU take less.
    """
    ops = sorted({*operations, unnamed})
    area = sum(float(model.op_area_mm2(op, bits)) for op in ops)
    sources = "; ".join(dict.fromkeys(model.op_area_mm2(op, bits).source for op in ops))
    whole = Figure(area, "mm2", sources)
    actions = {op: model.op_pj(op, bits) for op in ops}
    actions["op"] = actions[unnamed]
    return _logic(model, name, actions, whole, lanes)


def crossbar_rows(
    model: CostModel, rows: int, cols: int, *, adc_bits: int, adc_rate_hz: float, dac: str = "puma_dac",
    sample_hold: str = "puma_sample_hold", arrays: int = 1, adcs_per_array: int = 1,
) -> list[Component]:
    """Crossbars and their converters.

    `crossbar.read` (one input bit through one array), `dac.convert` (one row), `sample_hold.sample` (one
    column), `adc.convert`. Areas are of all `arrays`; the published energies include leakage.
    """
    adc = model.adc(adc_bits, adc_rate_hz)
    inlet, hold = model.converter(dac), model.converter(sample_hold)
    array = model.crossbar_area_mm2(rows, cols)
    return [
        component("crossbar", {"read": model.crossbar_read_pj(rows, cols)}, area=array, count=arrays),
        component("dac", {"convert": inlet.energy}, area=inlet.area, count=arrays * rows),
        component("sample_hold", {"sample": hold.energy}, area=hold.area, count=arrays * cols),
        component("adc", {"convert": adc.energy}, area=adc.area, count=arrays * adcs_per_array),
    ]
