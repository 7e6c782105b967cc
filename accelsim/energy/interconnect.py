"""Wires, links and routers.

Wires: CACTI's report of repeated global wires at 65, 45, 32 and 22 nm, energy per transition. Scaled
to a supply by its square (charging a capacitance); beyond 22 and 65 nm the capacitance per mm is held.
Routers: the pieces that Noxim lists at 65 nm, per flit. Published routers differ by far more than any
interpolation: per bit and hop at 65 nm 0.05 pJ (Noxim), 0.24 pJ (ISAAC's, scaled up from 32 nm).
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.energy.arithmetic import Arithmetic
from accelsim.energy.figures import Figure, composed
from accelsim.energy.scaling import Technology, default_vdd
from accelsim.energy.sram import DEVICES
from accelsim.energy.tableio import constant, loglog, pick, read_table

WIRES = ("fastest", "5% slower", "10% slower", "20% slower", "30% slower")
_NODES = (22.0, 32.0, 45.0, 65.0)
_DEPTHS = (2, 4, 8)
_FLITS = (16, 32, 64)


def wire(tech: Technology, activity: float | None = None, kind: str = "30% slower", device: str = "itrs-hp") -> Figure:
    """Energy of one bit over one mm, in pJ/bit/mm.

    Parameters
    ----------
    tech : Technology
    activity : float
        Transitions per bit moved, above 0 and at most 1; by default that of random data, 1/2.
    kind : str
        One of WIRES: how much slower than the fastest repeated wire, which takes the most energy.
    device : str
        CACTI device type of the repeaters.

    Raises
    ------
    ConfigError
    """
    if kind not in WIRES:
        raise unknown_name("kind of wire", kind, WIRES)
    if device not in DEVICES:
        raise unknown_name("device type of a wire", device, DEVICES)
    usual, why = constant("wire_activity")
    share = usual if activity is None else activity
    if not 0 < share <= 1:
        raise ConfigError(f"activity of a wire must be above 0 and at most 1, got {activity}")
    rows = [pick("wires", node_nm=int(n), device=device, wire=kind) for n in _NODES]
    node = min(max(tech.node_nm, _NODES[0]), _NODES[-1])
    energy = loglog(node, _NODES, [float(r["energy_pJ_per_mm"]) for r in rows])
    supply = default_vdd(node, device)
    source = f"{rows[0]['source']}: {kind} than the fastest" if kind != "fastest" else f"{rows[0]['source']}: {kind}"
    source += f"; {share:g} transitions per bit" + (f" ({why})" if activity is None else "")
    if node != tech.node_nm:
        source += f"; capacitance per mm of {node:g} nm"
    scaled = f"{node:g} nm, {supply:g} V, by the square of the supply" if supply != tech.vdd else ""
    return Figure(energy * share * (tech.vdd / supply) ** 2, "pJ/bit/mm", source, scaled)


def chip_link() -> Figure:
    """A die-to-die link within a package, in pJ/bit; not scaled."""
    row = pick("noc", item="chip_link")
    return Figure(float(row["value"]), "pJ/bit", row["source"])


def edram_bus(tech: Technology) -> Figure:
    """ISAAC's bus between a tile's eDRAM and its crossbars, in pJ/bit."""
    row = pick("noc", item="edram_bus")
    return tech.energy(float(row["value"]), row["source"], float(row["node_nm"]), unit="pJ/bit")


@dataclass(frozen=True)
class RouterCost:
    """One router: energy of each step for one flit, in pJ; area of the whole in mm2.

    A hop is push + pop + switch + control (routing and selection).
    """

    push: Figure
    pop: Figure
    switch: Figure
    control: Figure
    area: Figure

    @property
    def hop(self) -> Figure:
        """One flit through this router (its link is a wire of its own)."""
        return composed("router hop", (1, self.push), (1, self.pop), (1, self.switch), (1, self.control))


def router(tech: Technology, flit_bits: int, depth_flits: int = 4, ports: int = 5) -> RouterCost:
    """A wormhole router with a FIFO of `depth_flits` at each port.

    Between Noxim's points (16 to 64 bits, 2 to 8 flits) a power law. Wider flits are slices of 64
    bits, narrower ones cost in proportion; a FIFO outside of 2 to 8 flits costs as the nearest of
    these (a deeper one as banks of 8). The area is ours: flip-flop FIFOs, and a multiplexer tree
    for each output.

    Raises
    ------
    ConfigError
        Flit, depth or ports below 1.
    """
    for what, value in (("flit_bits", flit_bits), ("depth_flits", depth_flits), ("router ports", ports)):
        if value < 1:
            raise ConfigError(f"{what} must be at least 1, got {value}")
    depth = min(max(depth_flits, _DEPTHS[0]), _DEPTHS[-1])
    rows = read_table("noc")

    def points(item: str, column: str = "") -> list[float]:
        hits = [r for r in rows if r["item"] == item and (not column or r["depth_flits"] == column)]
        return [float(r["value"]) for r in sorted(hits, key=lambda r: int(r["flit_bits"]))]

    def scaled(value: float, item: str) -> Figure:
        row = next(r for r in rows if r["item"] == item)
        note = "" if depth == depth_flits or item not in ("push", "pop") else f"; as a FIFO of {depth} flits"
        return tech.energy(value, row["source"] + note, float(row["node_nm"]))

    steps = {}
    for item in ("push", "pop"):
        by_depth = [loglog(flit_bits, _FLITS, points(item, str(d)), linear_ends=True) for d in _DEPTHS]
        steps[item] = scaled(loglog(depth, _DEPTHS, by_depth), item)
    steps["switch"] = scaled(loglog(flit_bits, _FLITS, points("switch"), linear_ends=True), "switch")
    route, select = (scaled(float(pick("noc", item=item)["value"]), item) for item in ("route", "select"))
    control = composed("routing and selection", (1, route), (1, select))
    logic = Arithmetic(tech)
    area = composed(
        f"{ports} FIFOs of {depth_flits} x {flit_bits} bit and {ports} output multiplexers",
        (ports * depth_flits * flit_bits, logic.register(1, area=True)),
        (ports * max(1, ports - 1) * flit_bits, logic.mux(1, area=True)),
    )
    return RouterCost(steps["push"], steps["pop"], steps["switch"], control, area)
