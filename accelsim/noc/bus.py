"""X/Y multicast buses, as between Eyeriss' global buffer and its PEs (Chen et al., JSSC 2017, Section V-B).

Down: every flit on the Y bus carries a (row, column) tag. The row controllers whose tag matches pass
it on to their X bus, where the PEs whose tag matches take it, all in the same cycle. Up: one PE at a
time drives its X bus and the Y bus towards the buffer. Widths are those of one operand's network;
an architecture has one bus pair for each operand.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from accelsim.base.errors import ConfigError
from accelsim.noc.build import build_fabric
from accelsim.noc.fabric import BaseFabric, Stage
from accelsim.noc.model import Fidelity, Message, NocModel, topology
from accelsim.noc.router import PacketSpec


class MulticastBusSpec(PacketSpec):
    """Terminals: PE (row, column) is row * columns + column; the buffer is rows * columns."""

    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    max_packet_flits: int = Field(default=2**30, ge=1)
    """Nothing is gained by cutting messages: a bus is given to whole ones."""
    latency_cycles: int = Field(default=1, ge=1)
    """From the buffer to a PE and back."""
    row_tags: list[int] = []
    """Of the row controllers; empty: tags are set to suit every message, as between two layers."""
    column_tags: list[list[int]] = []
    """Of the PEs, one list per row."""

    @model_validator(mode="after")
    def _tags_fit(self) -> MulticastBusSpec:
        if bool(self.row_tags) != bool(self.column_tags):
            raise ValueError("row_tags and column_tags must be given together")
        if self.row_tags and len(self.row_tags) != self.rows:
            raise ValueError(f"row_tags must have one tag for each of {self.rows} rows, got {len(self.row_tags)}")
        wrong = [row for row in self.column_tags if len(row) != self.columns]
        if self.column_tags and (wrong or len(self.column_tags) != self.rows):
            raise ValueError(f"column_tags must have {self.rows} lists of {self.columns} tags")
        return self


class MulticastBus(BaseFabric):
    """The wires of one pair of buses: Y down, X down of each row, X up of each row, Y up."""

    def __init__(self, spec: MulticastBusSpec, where: str) -> None:
        super().__init__(spec.rows * spec.columns + 1, spec, where)
        self.spec = spec
        self.buffer = spec.rows * spec.columns
        self._y_down = self.wire("buffer", "y", 0, 1, ("y_bus",))
        self._x_down = [self.wire("y", f"x{r}", spec.latency_cycles, 1, ("x_bus",)) for r in range(spec.rows)]
        self._x_up = [self.wire(f"x{r}", "y", 0, 1, ("x_bus",)) for r in range(spec.rows)]
        self._y_up = self.wire("y", "buffer", spec.latency_cycles, 1, ("y_bus",))

    def stages(self, message: Message) -> list[Stage]:
        """See `Fabric.stages`."""
        if message.targets == (self.buffer,) and self.buffer not in message.sources:
            up: list[Stage] = []  # operands of a reduction are read one after the other
            for pe in message.sources:
                up += [Stage(self._x_up[pe // self.spec.columns]), Stage(self._y_up, (len(up),), True)]
            return up
        if message.sources != (self.buffer,) or self.buffer in message.targets:
            raise self.no_way(message, f"between the buffer ({self.buffer}) and PEs")
        stages: list[Stage] = []
        for group in self._groups(message):
            root = len(stages)
            stages.append(Stage(self._y_down))
            rows = sorted({pe // self.spec.columns for pe in group})
            stages += [Stage(self._x_down[row], (root,), True) for row in rows]
        return stages

    def receivers(self, row_tag: int, column_tag: int) -> list[int]:
        """The PEs that take a flit with this tag."""
        spec = self.spec
        return [
            row * spec.columns + column
            for row in range(spec.rows)
            for column in range(spec.columns)
            if spec.row_tags[row] == row_tag and spec.column_tags[row][column] == column_tag
        ]

    def _groups(self, message: Message) -> list[list[int]]:
        """The destinations, by tag: one passage over the Y bus for each."""
        if not self.spec.row_tags:
            return [list(message.targets)]
        tags = set()
        for pe in message.targets:
            row, column = divmod(pe, self.spec.columns)
            tags.add((self.spec.row_tags[row], self.spec.column_tags[row][column]))
        groups = [self.receivers(*tag) for tag in sorted(tags)]
        extra = sorted(set(sum(groups, [])) - set(message.targets))
        if extra:
            raise ConfigError(f"dst must be all PEs of a tag, but {extra[0]} shares one with them", self.where)
        return groups


@topology("multicast_bus", MulticastBusSpec)
def multicast_bus(spec: MulticastBusSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """X/Y multicast buses (Eyeriss)."""
    return build_fabric(MulticastBus(spec, where), fidelity, where)
