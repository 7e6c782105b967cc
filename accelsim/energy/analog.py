"""Converters, resistive cells, crossbars and eDRAM: what crossbar and in-memory engines are made of.

ADCs of any resolution and rate come from the regression of Andrulis et al. (arXiv 2404.06553) on the
Murmann survey, evaluated on a grid: 4 to 12 bits, 10 MS/s to 1 GS/s, 130 to 7 nm. Between its nodes
a power law, between its rates the form of the regression: the energy of a conversion is a floor for the
resolution or, where that is more, a power of the rate, and the area a product of powers of rate and
energy. Other converters are named designs at their own node: nothing scales an analog circuit.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.energy.figures import Figure
from accelsim.energy.scaling import Technology
from accelsim.energy.tableio import Row, constant, loglog, pick, read_table

_NODES = (7, 16, 22, 32, 45, 65, 130)
_BITS = tuple(range(4, 13))
_RATES = (1e7, 1e8, 1e9)


@dataclass(frozen=True)
class ConverterCost:
    """One converter: energy of a conversion in pJ, area in mm2."""

    energy: Figure
    area: Figure


@dataclass(frozen=True)
class CellCost:
    """One resistive cell of a device technology.

    Attributes
    ----------
    device : str
    read_on_pj, read_off_pj : float
        Reading a cell in its low and high resistance: V**2 / R x pulse, access device ignored.
    set_pj : float
        Programming it.
    area_mm2 : float or None
        None where the source gives no node.
    node_nm : float or None
    source : str
    """

    device: str
    read_on_pj: float
    read_off_pj: float
    set_pj: float
    area_mm2: float | None
    node_nm: float | None
    source: str


@functools.cache
def _adc_grid() -> npt.NDArray[np.float64]:
    """(energy pJ, area um2), shape (2, nodes, bits, rates), float64."""
    grid = np.full((2, len(_NODES), len(_BITS), len(_RATES)), np.nan)
    for row in read_table("adc"):
        at = _NODES.index(int(row["node_nm"])), _BITS.index(int(row["bits"])), _RATES.index(float(row["rate_hz"]))
        grid[(slice(None), *at)] = float(row["energy_pJ"]), float(row["area_um2"])
    return grid


@functools.cache
def _adc_powers() -> tuple[float, float, float]:
    """Powers of the rate in the energy above its floor, of the rate in the area, and of the energy in the area.

    The regression has the same ones for all: read off where the energy is on its slope (12 bits), and its floor (4).
    """
    grid = np.log10(_adc_grid()[:, 0])  # (energy and area, bits, rates); the rates are a factor of ten apart
    (slope, by_both), (_, by_rate) = grid[:, -1, 2] - grid[:, -1, 1], grid[:, 0, 2] - grid[:, 0, 1]
    return float(slope), float(by_rate), float((by_both - by_rate) / slope)


def _at_rate(energies: npt.NDArray[np.float64], areas: npt.NDArray[np.float64], rate: float) -> tuple[float, float]:
    """Energy and area at `rate`, from those at the rates of the grid."""
    if rate in _RATES:
        return float(energies[_RATES.index(rate)]), float(areas[_RATES.index(rate)])
    slope, by_rate, by_energy = _adc_powers()
    energy = max(energies[0], energies[-1] * (rate / _RATES[-1]) ** slope)
    area = areas[0] * (rate / _RATES[0]) ** by_rate * (energy / energies[0]) ** by_energy
    return float(energy), float(area)


def adc(tech: Technology, bits: int, rate_hz: float) -> ConverterCost:
    """An ADC of `bits` at `rate_hz` samples per second.

    Above 1 GS/s: interleaved ADCs, each at an equal share of the rate. Below 10 MS/s: as at 10 MS/s.
    Below 4 bits: the 4-bit ADC, times the ratio of PUMA's ADCs (energy grows with the square of bits).

    Raises
    ------
    ConfigError
        Bits outside of 1 to 12, or a rate that is not positive.
    """
    if not 1 <= bits <= _BITS[-1] or int(bits) != bits:
        raise ConfigError(f"ADC resolution must be an integer of 1 to {_BITS[-1]} bits, got {bits}")
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ConfigError(f"ADC rate must be a positive number of samples per second, got {rate_hz}")
    ways = max(1, math.ceil(rate_hz / _RATES[-1]))
    rate = min(max(rate_hz / ways, _RATES[0]), _RATES[-1])
    grid, level = _adc_grid(), max(bits, _BITS[0]) - _BITS[0]
    by_node = [_at_rate(grid[0, node, level], grid[1, node, level], rate) for node in range(len(_NODES))]
    values = [loglog(tech.node_nm, _NODES, column) for column in zip(*by_node, strict=True)]
    source = read_table("adc")[0]["source"]
    low = 1.0
    if bits < _BITS[0]:
        rows = {int(r["bits"]): float(r["energy_pJ"]) for r in read_table("converters") if r["design"] == "puma_adc"}
        low = rows[bits] / rows[_BITS[0]]
        source += f"; {_BITS[0]}-bit energy times the {bits}-bit to {_BITS[0]}-bit ratio of PUMA's ADC"
    if ways > 1:
        source += f"; {ways} interleaved"
    elif rate_hz < _RATES[0]:
        source += "; energy per sample as at 10 MS/s"
    energy = Figure(values[0] * low, "pJ", source)
    return ConverterCost(energy, Figure(values[1] * 1e-6 * ways, "mm2", source))


def _designs() -> list[str]:
    return sorted({row["design"] for row in read_table("converters")})


def converter(design: str, bits: int | None = None) -> ConverterCost:
    """A published converter, sample-and-hold or shift-and-add ("isaac_adc", "puma_dac"...), at its own node.

    Raises
    ------
    ConfigError
        Unknown design, or a resolution that it is not published for.
    """
    rows = [row for row in read_table("converters") if row["design"] == design]
    if not rows:
        raise unknown_name("converter", design, _designs())
    if bits is None and len(rows) == 1:
        row = rows[0]
    else:
        fitting = [r for r in rows if r["bits"] == str(bits)]
        if not fitting:
            choices = ", ".join(r["bits"] for r in rows)
            raise ConfigError(f"bits of converter {design} must be one of {choices}, got {bits}")
        row = fitting[0]
    source = f"{row['source']} ({row['node_nm']} nm)"
    area = Figure(float(row["area_um2"]) * 1e-6, "mm2", source)
    return ConverterCost(Figure(float(row["energy_pJ"]), "pJ", source), area)


def cell(device: str) -> CellCost:
    """One resistive cell ("isaac", "prime", "neurram", "mnsim"...).

    Raises
    ------
    ConfigError
        Unknown device.
    """
    rows = {row["device"]: row for row in read_table("cells")}
    if device not in rows:
        raise unknown_name("resistive cell", device, rows)
    row = rows[device]
    node = float(row["node_nm"]) if row["node_nm"] else None
    return CellCost(
        device, float(row["read_on_fJ"]) * 1e-3, float(row["read_off_fJ"]) * 1e-3, float(row["set_pJ"]),
        None if node is None else float(row["area_f2"]) * (node * 1e-6) ** 2, node, row["source"],
    )


def _crossbar(rows: int, cols: int, design: str) -> tuple[Row, float, str]:
    tabled = {row["design"]: row for row in read_table("crossbars")}
    if design not in tabled:
        raise unknown_name("crossbar", design, tabled)
    if rows < 1 or cols < 1:
        raise ConfigError(f"a crossbar must have at least 1 x 1 cells, got {rows} x {cols}")
    row = tabled[design]
    share = rows * cols / (int(row["rows"]) * int(row["cols"]))
    where = f"{row['rows']} x {row['cols']} at {row['node_nm']} nm, in proportion to cells"
    return row, share, f"{row['source']} ({where})"


def crossbar_read(rows: int, cols: int, design: str = "puma") -> Figure:
    """One input bit through an array of `rows` x `cols`, without converters, in pJ.

    The published arrays (64, 128 and 256 square) cost the same for each cell; others in proportion.
    """
    row, share, source = _crossbar(rows, cols, design)
    return Figure(float(row["read_pJ"]) * share, "pJ", source)


def crossbar_area(rows: int, cols: int, design: str = "puma") -> Figure:
    """Area of an array of `rows` x `cols`, without converters, in mm2."""
    row, share, source = _crossbar(rows, cols, design)
    return Figure(float(row["area_um2"]) * 1e-6 * share, "mm2", source)


def edram(tech: Technology, width_bits: int) -> Figure:
    """One access of `width_bits` to a 64 KiB eDRAM macro (32 nm, scaled), in pJ."""
    value, source = constant("edram_access")
    if width_bits < 1:
        raise ConfigError(f"eDRAM width must be at least 1 bit, got {width_bits}")
    return tech.energy(value * width_bits / 256, source, 32, 0.9)


def edram_area(tech: Technology, capacity_bytes: int) -> Figure:
    """Area of `capacity_bytes` of eDRAM, as 64 KiB macros (32 nm, scaled), in mm2."""
    value, source = constant("edram_area")
    return tech.area(value * 1e6 * max(1.0, capacity_bytes / 65536), source, 32)


def sense_amplifier(tech: Technology) -> Figure:
    """A 1-bit decision at a bit line (28 nm, scaled as logic), in pJ."""
    row = pick("converters", design="sense_amplifier")
    return tech.energy(float(row["energy_pJ"]), row["source"], float(row["node_nm"]))
