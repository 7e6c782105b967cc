"""What an engine is: it lowers a layer to a pass table whose cycles are exact, and says what it did.

To add an engine, write one file in this folder: a subclass of `Engine` with a nested `Spec`,
decorated with `@ENGINES.register("name")`. Tiling, residency, waiting and energy are shared; an
engine answers how long each tile takes, and which actions that costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

from accelsim.base.errors import ConfigError
from accelsim.base.registry import Registry
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.mapping.problem import OPERANDS, Loops, Mapping, Problem, Room
from accelsim.sim.passes import PassTable
from accelsim.workload.network import Layer
from accelsim.workload.shapes import ConvShape, GemmShape
from accelsim.workload.spike import Spike
from accelsim.workload.trace import Trace

ENGINES: Registry[type[Engine]] = Registry("engine", "accelsim.engines")


@dataclass(frozen=True)
class Share:
    """The part of a layer that one core does: where it begins in the whole layer's loops.

    Attributes
    ----------
    whole : ConvShape or GemmShape
    group0, image0, row0, output0, channel0 : int
        First group, image (row m of a matrix product), output row, output and input channel of a group.
    """

    whole: ConvShape | GemmShape
    group0: int = 0
    image0: int = 0
    row0: int = 0
    output0: int = 0
    channel0: int = 0

    @property
    def in_row0(self) -> int:
        """First input row."""
        if isinstance(self.whole, GemmShape):
            return 0
        return max(0, self.row0 * self.whole.stride[0] - self.whole.pad[0])


@dataclass(frozen=True)
class Task:
    """One layer as it meets a machine.

    Attributes
    ----------
    layer : Layer
    trace : Trace
        For engines whose cycles depend on the data.
    bits : dict
        Stored bits of an element of ifmap, filter, psum and ofmap.
    rooms : tuple of Room
        Buffers with the bytes that are free in this layer.
    word_bits : dict
        Buffer name -> bits that one access moves.
    on_chip : tuple of bool
        (ifmap, ofmap, filter) cause no traffic to DRAM.
    dram_bytes_per_cycle : Fraction
    burst_bytes : int
        These two are for scoring mappings only.
    addresses : dict
        Operand -> first byte in DRAM.
    objective : str
        "traffic" or "cycles": what a mapping is chosen by first.
    pinned : Mapping or None
    fused_ops : int
        Simple operations per output applied on the way out (activation, folded batch norm).
    vector_lanes : int
    layout : str
        Order of a feature map's dimensions in DRAM: "nhwc" or "nchw".
    tolerance : int
        Mappings whose estimated cycles are within 1/tolerance of the best count as equal.
    share : Share or None
        The layer is a part of a larger one, whose operands the trace holds.
    factors : str
        Decomposed weights: "multiply" them out, or "contract" them one after another (see `engines.common.factors`).
    neuron : Spike or None
        The spiking neurons that its results drive.
    """

    layer: Layer
    trace: Trace
    bits: dict[str, int]
    rooms: tuple[Room, ...]
    word_bits: dict[str, int]
    on_chip: tuple[bool, bool, bool] = (False, False, False)
    dram_bytes_per_cycle: Fraction = Fraction(1)
    burst_bytes: int = 1
    addresses: dict[str, int] = field(default_factory=dict)
    objective: str = "traffic"
    pinned: Mapping | None = None
    fused_ops: int = 0
    vector_lanes: int = 1
    layout: str = "nhwc"
    tolerance: int = 256
    share: Share | None = None
    factors: str = "multiply"
    neuron: Spike | None = None

    def problem(self, shape: ConvShape | GemmShape, unit: tuple[int, int, int]) -> Problem:
        """The tiling problem of `shape` on this machine."""
        bits = tuple(self.bits[o] for o in OPERANDS)
        return Problem(Loops.of(shape), self.rooms, bits, self.on_chip, unit)  # type: ignore[arg-type]

    def room_of(self, operand: str) -> Room:
        """The buffer that holds `operand`."""
        for room in self.rooms:
            if operand in room.holds:
                return room
        if operand == "psum":
            return self.room_of("ofmap")
        raise ConfigError(f"no buffer holds {operand}")

    def slots(self) -> dict[str, int]:
        """Tiles that each operand's buffer holds at a time."""
        return {operand: self.room_of(operand).slots for operand in OPERANDS}


class Engine:
    """Base of all engines.

    Parameters
    ----------
    spec : Spec
        An instance of the subclass' own `Spec`.
    """

    kind: ClassVar[str] = ""
    #: False: equal shapes and widths take equal cycles, so cores with equal shares need be lowered only once
    data_dependent: ClassVar[bool] = True
    #: operands whose layout in their buffers decides which banks the engine's accesses meet
    laid_out: ClassVar[tuple[str, ...]] = ()
    #: whether its tiles may leave operands where they are for the next ones (see `mapping.problem.Problem.keep`)
    keeps_operands: ClassVar[bool] = False

    class Spec(Spec):
        """Parameters of the engine; the subclass declares them."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    def meet(self, word_bits: dict[str, int], bits: dict[str, int]) -> None:
        """Told once, before anything else: bits of a word of each operand's buffer, and of an element."""

    def lower(self, task: Task) -> PassTable:
        """The pass table of a compute layer.

        Raises
        ------
        ConfigError
            If the layer cannot run here: says what does not fit.
        """
        raise NotImplementedError

    def depends_on_data(self, task: Task) -> bool:
        """Whether equal shares of this layer may differ in cycles or in what is counted."""
        return self.data_dependent

    def estimate(self, task: Task) -> int:
        """About how many cycles the array is busy with a layer, to compare partitions; at peak, unless overridden."""
        return ceil_div(task.layer.macs, self.peak_macs_per_cycle(task.bits))

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Multiply-accumulates per cycle if nothing is in the way."""
        raise NotImplementedError

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Bit widths that the engine computes with, for `ifmap` and `filter`."""
        raise NotImplementedError

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """The parts of the engine that cost energy and area, for all actions that `lower` counts."""
        raise NotImplementedError

    def check_bits(self, task: Task) -> None:
        """Refuse operands of the trace that the engine cannot represent.

        Raises
        ------
        ConfigError
            Naming the layer, the operand, its bits and those that are supported.
        """
        for role, widths in self.supported_bits().items():
            operand = task.trace.operand(task.layer.name, role)
            if operand is not None and operand.bits > max(widths):
                listed = ", ".join(map(str, widths))
                raise ConfigError(
                    f"{role} has {operand.bits} bits, but engine {self.kind!r} computes with {listed}",
                    f"layer {task.layer.name}",
                )
