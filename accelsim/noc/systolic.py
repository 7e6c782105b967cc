"""Links between neighbouring PEs of a systolic array: east along the rows, south along the columns.

Data enter at the west and north edges and pass from PE to PE, one hop in `hop_cycles`; each PE on the
way may keep a copy, and a sum may pick up one operand in every PE of a column.
"""

from __future__ import annotations

from pydantic import Field

from accelsim.noc.build import build_fabric
from accelsim.noc.fabric import BaseFabric, Stage
from accelsim.noc.model import Fidelity, Message, NocModel, topology
from accelsim.noc.router import PacketSpec


class SystolicSpec(PacketSpec):
    """Terminals: PE (row, column) is row * columns + column; then one feeder per row, then one per column."""

    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    max_packet_flits: int = Field(default=2**30, ge=1)
    hop_cycles: int = Field(default=1, ge=1)
    """From one PE's register to the next one's, an addition included."""


class SystolicLinks(BaseFabric):
    """`_east[row][column]` leads into PE (row, column) from the west, `_south` from the north."""

    def __init__(self, spec: SystolicSpec, where: str) -> None:
        rows, columns = spec.rows, spec.columns
        super().__init__(rows * columns + rows + columns, spec, where)
        self.spec = spec
        self.first_row_feeder = rows * columns
        self.first_column_feeder = rows * columns + rows

        def name(row: int, column: int) -> str:
            return f"west{row}" if column < 0 else f"north{column}" if row < 0 else f"pe{row}.{column}"

        self._east = [
            [self.wire(name(r, c - 1), name(r, c), spec.hop_cycles) for c in range(columns)] for r in range(rows)
        ]
        self._south = [
            [self.wire(name(r - 1, c), name(r, c), spec.hop_cycles) for c in range(columns)] for r in range(rows)
        ]

    def _place(self, terminal: int) -> tuple[int, int]:
        """(row, column); feeders stand at column -1 or row -1."""
        if terminal >= self.first_column_feeder:
            return -1, terminal - self.first_column_feeder
        if terminal >= self.first_row_feeder:
            return terminal - self.first_row_feeder, -1
        return divmod(terminal, self.spec.columns)

    def stages(self, message: Message) -> list[Stage]:
        """See `Fabric.stages`."""
        row, column = min(self._place(s) for s in message.sources)
        ends = {self._place(t) for t in message.targets}
        passed = {self._place(s) for s in message.sources}
        if message.kind != "reduction" and row >= 0 and all(r == row and c > column for r, c in ends):
            last = max(c for _, c in ends)
            way = [(self._east[row][c], (row, c)) for c in range(column + 1, last + 1)]
        elif column >= 0 and all(c == column and r > row for r, c in ends) and {c for _, c in passed} == {column}:
            last = max(r for r, _ in ends)
            way = [(self._south[r][column], (r, column)) for r in range(row + 1, last + 1)]
            if max(passed)[0] > last:
                raise self.no_way(message, "down a column")
        else:
            raise self.no_way(message, "along a row to the east or down a column")
        stages: list[Stage] = []
        for n, (wire, place) in enumerate(way):
            after = (n - 1,) if n else ()
            stages.append(Stage(wire, after, place in ends, adds=int(message.kind == "reduction" and place in passed)))
        return stages


@topology("systolic", SystolicSpec)
def systolic(spec: SystolicSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """Links of a systolic array."""
    return build_fabric(SystolicLinks(spec, where), fidelity, where)
