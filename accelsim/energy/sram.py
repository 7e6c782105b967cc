"""SRAM of any capacity and width, from a grid of CACTI 7.0 runs.

The grid: 512 B to 4 MiB by powers of two, 8 to 512 bits, nodes 65, 45, 32 and 22 nm, three device
types, one read/write port (and one read plus one write port at 45 and 65 nm, low standby power); at 90 nm
low standby power at 300 K only.

- Between grid points a power law: linear in log(capacity) and log(width); exact at the points.
- CACTI optimises each point by itself, so that a wider or larger memory sometimes reads for less.
  A memory may always be built as a wider or larger one of which a part is used: read and write
  energy are the least over all grid points at least as large and as wide. This makes them monotone,
  and changes 4% and 1% of the points. Points that CACTI cannot organise are filled in the same way.
- Below 512 B, or 8 bits: the smallest macro, an upper bound; register files are the alternative.
- Above 512 bits: slices of 512 bits, side by side. Above 4 MiB: banks of 4 MiB, and wires to them.
- Between nodes a power law; beyond 22 nm and 65 nm (low standby power: 90 nm) the logic scaling rule.

Measured by leaving grid points out and predicting them from neighbours, which are then a factor of
four apart instead of two. Along the capacity: off by 5% in the median, in 95% of the cases by at most
23% (read), 14% (write), 13% (area). Along the width: 6%, and 30%, 21%, 22%. These are CACTI's steps
from one organisation to the next; within the real grid expect less.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.energy.scaling import area_ratio, default_vdd, energy_factor
from accelsim.energy.tableio import constant, read_table

DEVICES = ("itrs-lstp", "itrs-hp", "itrs-lop")
NODES = (65, 45, 32, 22)
OLDEST = {"itrs-lstp": 90}
"""A node before those of all devices."""
CAPACITIES = tuple(512 << i for i in range(14))
WIDTHS = tuple(8 << i for i in range(7))
_SOURCE = "CACTI 7.0 (HewlettPackard/cacti@1ffd8df)"

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SramCost:
    """One memory.

    Attributes
    ----------
    read_pj, write_pj : float
        Per access of `width_bits`.
    leak_mw, area_mm2 : float
        Of the whole memory.
    banks : int
        Independent macros of which one is accessed at a time.
    source : str
    """

    read_pj: float
    write_pj: float
    leak_mw: float
    area_mm2: float
    banks: int
    source: str


@functools.cache
def _grid(node_nm: int, device: str, ports: str, temperature_k: int) -> Values:
    """log of (read, write, leak, area), shape (4, capacities, widths), float64; see the module's text."""
    grid = np.full((4, len(CAPACITIES), len(WIDTHS)), np.inf)
    leak = f"leak_{temperature_k}K_mW"
    wanted = (str(node_nm), device, ports)
    for row in read_table("sram"):
        if (row["node_nm"], row["device"], row["ports"]) == wanted:
            at = CAPACITIES.index(int(row["capacity_bytes"])), WIDTHS.index(int(row["width_bits"]))
            grid[:, at[0], at[1]] = [float(row[c] or "nan") for c in ("read_pJ", "write_pJ", leak, "area_mm2")]
    if np.isnan(grid[2]).any():  # as much more than at 300 K as at the next node
        hot, cold = (np.exp(_grid(NODES[0], device, ports, t)[2]) for t in (temperature_k, 300))
        grid[2] = np.exp(_grid(node_nm, device, ports, 300)[2]) * (hot / cold)
    grid = np.minimum.accumulate(grid[:, ::-1], axis=1)[:, ::-1]
    grid[:2] = np.minimum.accumulate(grid[:2, :, ::-1], axis=2)[:, :, ::-1]
    return np.asarray(np.log(grid))


def _at(grid: Values, capacity: float, width: float) -> Values:
    """exp of the bilinear interpolation; the caller keeps both inside of the grid."""
    x = math.log2(capacity / CAPACITIES[0])
    y = math.log2(width / WIDTHS[0])
    i, j = min(int(x), len(CAPACITIES) - 2), min(int(y), len(WIDTHS) - 2)
    u, v = x - i, y - j
    low = grid[:, i, j] * (1 - v) + grid[:, i, j + 1] * v if v else grid[:, i, j]
    if not u:
        return np.asarray(np.exp(low))
    high = grid[:, i + 1, j] * (1 - v) + grid[:, i + 1, j + 1] * v if v else grid[:, i + 1, j]
    return np.asarray(np.exp(low * (1 - u) + high * u))


@dataclass(frozen=True)
class SramModel:
    """SRAM at one node, with one kind of transistor.

    Attributes
    ----------
    node_nm : float
    device : str
        CACTI's transistors: "itrs-lstp" (low standby power), "itrs-hp", "itrs-lop".
    temperature_k : int
        300 or 360; changes leakage only.
    relative_vdd : float
        Supply over the device's own: energy follows the scaling rule's curve, leakage the voltage.
    """

    node_nm: float
    device: str = "itrs-lstp"
    temperature_k: int = 300
    relative_vdd: float = 1.0

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise unknown_name("SRAM device type", self.device, DEVICES)
        if self.temperature_k not in (300, 360):
            raise ConfigError(f"SRAM temperature must be 300 or 360 K, got {self.temperature_k}")

    def macro(self, capacity_bytes: float, width_bits: float, ports: int = 1) -> SramCost:
        """One macro inside of the grid (512 B to 4 MiB, 8 to 512 bits), at this node and supply."""
        values = self._node(capacity_bytes, width_bits)
        if ports == 2:
            values = values * self._two_ports(capacity_bytes, width_bits)
        own = default_vdd(max(self.node_nm, NODES[-1]), self.device)
        if self.relative_vdd != 1:
            factor = energy_factor(self.node_nm, own * self.relative_vdd) / energy_factor(self.node_nm, own)
            values = values * np.array([factor, factor, self.relative_vdd, 1.0])
        read, write, leak, area = (float(v) for v in values)
        return SramCost(read, write, leak, area, 1, _SOURCE)

    def _nodes(self) -> tuple[int, ...]:
        return (OLDEST[self.device], *NODES) if self.device in OLDEST else NODES

    def _node(self, capacity: float, width: float) -> Values:
        nodes = self._nodes()
        node = min(max(self.node_nm, nodes[-1]), nodes[0])
        if node in nodes:
            values = _at(_grid(int(node), self.device, "1RW", self.temperature_k), capacity, width)
        else:
            below = next(n for n in nodes if n < node)
            above = nodes[nodes.index(below) - 1]
            share = math.log(node / below) / math.log(above / below)
            low, high = (_at(_grid(n, self.device, "1RW", self.temperature_k), capacity, width) for n in (below, above))
            values = np.asarray(low ** (1 - share) * high**share)
        return values if node == self.node_nm else values * self._beyond(node, capacity, values[3])

    def _beyond(self, node: float, capacity: float, area: float) -> Values:
        supply = default_vdd(node, self.device)
        energy = energy_factor(self.node_nm, supply) / energy_factor(node, supply)
        shrink = area_ratio(node, self.node_nm)
        floor = constant("sram_bit_cell_floor")[0] * 8 * capacity * 1e-6
        return np.array([energy, energy, shrink, max(shrink, floor / area)])

    def _two_ports(self, capacity: float, width: float) -> Values:
        node = 45 if self.node_nm <= 45 else 65
        both = (_at(_grid(node, "itrs-lstp", ports, 300), capacity, width) for ports in ("1R1W", "1RW"))
        two, one = both
        return np.asarray(two / one)

    def memory(
        self, capacity_bytes: int, width_bits: int, ports: int = 1, banks: int = 1, wire_pj_per_bit_mm: float = 0.0
    ) -> SramCost:
        """Any memory; see the module's text for what happens outside of the grid.

        Parameters
        ----------
        capacity_bytes : int
            Of all banks together.
        width_bits : int
            Of one access.
        ports : int
            1 (read or write), or 2 (one read and one write).
        banks : int
            At least so many; one is accessed at a time.
        wire_pj_per_bit_mm : float
            Of the wires that lead to the banks: data and address travel 3/4 of the side of the square
            (mean Manhattan distance from the middle of an edge), less that within a bank, which CACTI has.

        Raises
        ------
        ConfigError
            Capacity below one word, ports other than 1 or 2, banks below 1.
        """
        _check(capacity_bytes, width_bits, ports, banks)
        slices = max(1.0, width_bits / WIDTHS[-1])
        per_bank = capacity_bytes / banks
        large = max(1.0, per_bank / slices / CAPACITIES[-1])
        wanted = per_bank / slices / large, width_bits / slices
        inside = max(wanted[0], CAPACITIES[0]), max(wanted[1], WIDTHS[0])
        one = self.macro(*inside, ports=ports)
        count = banks * large
        length = 0.75 * (math.sqrt(count) - 1) * math.sqrt(one.area_mm2 * slices)
        bits = width_bits + max(1, math.ceil(math.log2(capacity_bytes * 8 / width_bits)))
        wires = length * bits * wire_pj_per_bit_mm
        return SramCost(
            one.read_pj * slices + wires, one.write_pj * slices + wires,
            one.leak_mw * slices * count, one.area_mm2 * slices * count,
            math.ceil(count), self._source(capacity_bytes, width_bits, ports, slices, count, wanted),
        )

    def _source(
        self, capacity: int, width: int, ports: int, slices: float, count: float, wanted: tuple[float, float]
    ) -> str:
        notes = [f"{capacity} B x {width} bit, {self.device}, {'1RW' if ports == 1 else '1R1W'}"]
        if ports == 2 and (self.node_nm not in (45, 65) or self.device != "itrs-lstp"):
            notes.append("port ratio of 45 or 65 nm itrs-lstp")
        if wanted[0] < CAPACITIES[0] or wanted[1] < WIDTHS[0]:
            notes.append(f"smallest macro, {CAPACITIES[0]} B or {WIDTHS[0]} bit")
        if slices > 1:
            notes.append(f"{slices:.4g} slices of {WIDTHS[-1]} bit")
        if count > 1:
            notes.append(f"{count:.4g} banks and wires to them")
        inside = max(wanted[0], CAPACITIES[0]), max(wanted[1], WIDTHS[0])
        if not (inside[0] in CAPACITIES and inside[1] in WIDTHS):
            notes.append("between grid points")
        nodes = self._nodes()
        if self.node_nm < nodes[-1] or self.node_nm > nodes[0]:
            end = nodes[-1] if self.node_nm < nodes[-1] else nodes[0]
            notes.append(f"scaled from {end} nm by Stillmaker & Baas 2017")
        elif self.node_nm not in nodes:
            notes.append("between grid nodes")
        return f"{_SOURCE}: " + ", ".join(notes)


def _check(capacity_bytes: int, width_bits: int, ports: int, banks: int) -> None:
    if width_bits < 1 or int(width_bits) != width_bits:
        raise ConfigError(f"SRAM width in bits must be an integer of at least 1, got {width_bits}")
    if ports not in (1, 2):
        raise ConfigError(f"SRAM ports must be 1 (read or write) or 2 (one read, one write), got {ports}")
    if banks < 1 or int(banks) != banks:
        raise ConfigError(f"SRAM banks must be an integer of at least 1, got {banks}")
    if capacity_bytes * 8 < width_bits * banks:
        least = f"{width_bits} bits in each of {banks} bank(s)"
        raise ConfigError(f"SRAM capacity must be at least one word of {least}, got {capacity_bytes} B")


def scaled_instances(cost: SramCost, count: int) -> SramCost:
    """`count` equal memories: leakage and area of all, energy of one access."""
    return replace(cost, leak_mw=cost.leak_mw * count, area_mm2=cost.area_mm2 * count)
