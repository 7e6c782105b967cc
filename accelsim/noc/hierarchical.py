"""The hierarchical mesh of Eyeriss v2 (Chen et al., JETCAS 2019, Section III).

Clusters of PEs and global-buffer banks form a grid. Each cluster has one router per lane; the routers
of a lane form a mesh of their own, set up before a layer (no buffers, no arbitration for single
flits), and inside a cluster every router reaches every PE. A bank uses the lane of its number.
"""

from __future__ import annotations

from pydantic import Field

from accelsim.noc.build import build_fabric
from accelsim.noc.fabric import BaseFabric, Stage
from accelsim.noc.graph import grid_places
from accelsim.noc.model import Fidelity, Message, NocModel, topology
from accelsim.noc.router import PacketSpec


class HierarchicalMeshSpec(PacketSpec):
    """Terminals: PE i of cluster c is c * pes + i; then bank j of cluster c is clusters * pes + c * lanes + j."""

    columns: int = Field(ge=1)
    rows: int = Field(ge=1)
    pes: int = Field(ge=1)
    """Per cluster."""
    lanes: int = Field(default=1, ge=1)
    """Routers (and buffer banks) per cluster for this operand; Eyeriss v2: 3 iact, 3 weight, 4 psum."""
    max_packet_flits: int = Field(default=2**30, ge=1)
    hop_cycles: int = Field(default=1, ge=1)
    """Per router on the way."""


class HierarchicalMesh(BaseFabric):
    """Wires, per lane: bank to router, router to router, router to PEs, and the way back."""

    def __init__(self, spec: HierarchicalMeshSpec, where: str) -> None:
        clusters = spec.columns * spec.rows
        super().__init__(clusters * (spec.pes + spec.lanes), spec, where)
        self.spec = spec
        self.first_bank = clusters * spec.pes
        self.place = grid_places(spec.columns, spec.rows)
        self._in: dict[tuple[int, int, bool], int] = {}  # (cluster, lane, from a bank)
        self._out: dict[tuple[int, int, bool], int] = {}
        self._mesh: dict[tuple[int, int, int], int] = {}  # (cluster, cluster, lane)
        hop = spec.hop_cycles
        for c in range(clusters):
            for lane in range(spec.lanes):
                for bank in (True, False):
                    side = f"bank{c}.{lane}" if bank else f"pes{c}.{lane}"
                    # what enters a router waits for nothing; each router is paid for on its output
                    self._in[c, lane, bank] = self.wire(side, f"r{c}.{lane}", 0, 1, ())
                    self._out[c, lane, bank] = self.wire(f"r{c}.{lane}", side, hop, 1, ("router",))
                for n in self._neighbours(c):
                    self._mesh[c, n, lane] = self.wire(str(c), str(n), hop, 1, ("router", "wire"))

    def _neighbours(self, cluster: int) -> list[int]:
        y, x = divmod(cluster, self.spec.columns)
        around = [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
        return [a + self.spec.columns * b for a, b in around if 0 <= a < self.spec.columns and 0 <= b < self.spec.rows]

    def _home(self, terminal: int) -> tuple[int, int]:
        """(cluster, lane), with lane -1 for a PE."""
        if terminal < self.first_bank:
            return terminal // self.spec.pes, -1
        return divmod(terminal - self.first_bank, self.spec.lanes)

    def stages(self, message: Message) -> list[Stage]:
        """See `Fabric.stages`; operands of a reduction to a bank are sent one by one (PEs add before that)."""
        stages: list[Stage] = []
        for source in message.sources:
            cluster, lane = self._home(source)
            ends = {self._home(target) for target in message.targets}
            lanes = {lane, *(end for _, end in ends)} - {-1}
            if len(lanes) != 1 or (lane < 0) == (-1 in {end for _, end in ends}):
                raise self.no_way(message, "between PEs and the banks of one lane")
            self._spread(stages, cluster, sorted({c for c, _ in ends}), lanes.pop(), lane >= 0)
        return stages

    def _spread(self, stages: list[Stage], source: int, clusters: list[int], lane: int, from_bank: bool) -> None:
        at = {source: len(stages)}
        stages.append(Stage(self._in[source, lane, from_bank]))
        for cluster in clusters:
            here = source
            while here != cluster:
                there = self._step(here, cluster)
                if there not in at:
                    at[there] = len(stages)
                    stages.append(Stage(self._mesh[here, there, lane], (at[here],)))
                here = there
            stages.append(Stage(self._out[cluster, lane, not from_bank], (at[cluster],), True))

    def _step(self, here: int, there: int) -> int:
        """The next cluster on the way, along x first."""
        columns = self.spec.columns
        if here % columns != there % columns:
            return here + (1 if there % columns > here % columns else -1)
        return here + (columns if there > here else -columns)


@topology("hierarchical_mesh", HierarchicalMeshSpec)
def hierarchical_mesh(spec: HierarchicalMeshSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """Router clusters of Eyeriss v2."""
    return build_fabric(HierarchicalMesh(spec, where), fidelity, where)
