"""Trees between one root and many leaves: broadcast tree, reduction (adder) tree, H-tree.

Every level is a pipeline stage of given length that takes one flit per cycle, so a message of F flits
takes F - 1 cycles plus the levels' latencies when it has the tree for itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from accelsim.noc.build import build_fabric
from accelsim.noc.fabric import BaseFabric, Stage
from accelsim.noc.model import Fidelity, Message, NocModel, topology
from accelsim.noc.router import PacketSpec


class TreeSpec(PacketSpec):
    """Terminals: the leaves from 0 on, then the root."""

    leaves: int = Field(ge=1)
    fanout: int = Field(default=2, ge=2)
    max_packet_flits: int = Field(default=2**30, ge=1)
    level_cycles: int = Field(default=1, ge=1)
    """Latency of a level, its wires, switch or adder included."""


class HTreeSpec(PacketSpec):
    """Terminals: the leaves from 0 on, then the root. Wires halve in length every two levels."""

    leaves: int = Field(ge=2)
    max_packet_flits: int = Field(default=2**30, ge=1)
    level_cycles: list[int] = []
    """Latency of each level from the root on; empty: 1 each."""

    @model_validator(mode="after")
    def _levels_fit(self) -> HTreeSpec:
        if self.leaves & (self.leaves - 1):
            raise ValueError(f"leaves of an H-tree must be a power of two, got {self.leaves}")
        levels = self.leaves.bit_length() - 1
        if self.level_cycles and (len(self.level_cycles) != levels or min(self.level_cycles) < 1):
            raise ValueError(f"level_cycles must have {levels} latencies >= 1, got {self.level_cycles}")
        return self


def depth_of(leaves: int, fanout: int) -> int:
    """Levels of a tree with all leaves at the same depth, at least one."""
    depth, reach = 1, fanout
    while reach < leaves:
        depth, reach = depth + 1, reach * fanout
    return depth


class TreeFabric(BaseFabric):
    """A complete tree; node n of level l (level 0: the root) has the children n * fanout + i of level l + 1.

    Parameters
    ----------
    level_cycles : sequence of int
        Latency of each level, from the root on; its length is the depth.
    down, up : bool
        Which directions there are.
    adds : bool
        Nodes add what comes up in reductions; otherwise operands come up one after the other.
    """

    def __init__(
        self,
        leaves: int,
        fanout: int,
        level_cycles: Sequence[int],
        packets: PacketSpec,
        where: str,
        down: bool = True,
        up: bool = True,
        adds: bool = False,
    ) -> None:
        super().__init__(leaves + 1, packets, where)
        self.root = leaves
        self.fanout = fanout
        self.depth = len(level_cycles)
        self.adds = adds
        self._down: dict[tuple[int, int], int] = {}
        self._up: dict[tuple[int, int], int] = {}
        nodes = leaves
        for level in range(self.depth, 0, -1):
            for n in range(nodes):
                ends = f"n{level - 1}.{n // fanout}", f"n{level}.{n}"
                if down:
                    self._down[level, n] = self.wire(*ends, level_cycles[level - 1])
                if up:
                    self._up[level, n] = self.wire(*ends[::-1], level_cycles[level - 1])
            nodes = -(-nodes // fanout)

    def _ancestors(self, terminal: int) -> list[tuple[int, int]]:
        """(level, node) from the leaf up to the level below the root; none for the root itself."""
        if terminal == self.root:
            return []
        return [(level, terminal // self.fanout ** (self.depth - level)) for level in range(self.depth, 0, -1)]

    def stages(self, message: Message) -> list[Stage]:
        """See `Fabric.stages`."""
        if message.kind == "reduction" and len(message.sources) > 1 and self.adds:
            return self._sum(message)
        stages: list[Stage] = []
        for source in message.sources:
            self._spread(stages, source, message)
        return stages

    def _spread(self, stages: list[Stage], source: int, message: Message) -> None:
        """Up to the lowest node above all destinations, and down from there."""
        above = self._ancestors(source)
        ways = [self._ancestors(target) for target in message.targets]
        common = [place for place in above if all(place in way for way in ways)]
        rise = above[: len(above) - len(common)]
        fall = sorted({place for way in ways for place in way if place not in common})
        if source in message.targets or (rise and not self._up) or (fall and not self._down):
            allowed = " or ".join(["from the root down"] * bool(self._down) + ["up to the root"] * bool(self._up))
            raise self.no_way(message, allowed)
        last = -1
        for n, place in enumerate(rise):
            ends_here = n == len(rise) - 1 and (not fall or self.root in message.targets)
            stages.append(Stage(self._up[place], (last,) if n else (), ends_here))
            last = len(stages) - 1
        at: dict[tuple[int, int], int] = {}
        for level, n in fall:
            before = at.get((level - 1, n // self.fanout), last)
            stages.append(Stage(self._down[level, n], (before,) if before >= 0 else (), level == self.depth))
            at[level, n] = len(stages) - 1

    def _sum(self, message: Message) -> list[Stage]:
        """All ways to the root, joined where they meet."""
        if message.targets != (self.root,) or self.root in message.sources:
            raise self.no_way(message, "up to the root")
        places = sorted({place for source in message.sources for place in self._ancestors(source)}, reverse=True)
        stages: list[Stage] = []
        at: dict[tuple[int, int], int] = {}
        for level, n in places:
            children = ((level + 1, c) for c in range(n * self.fanout, (n + 1) * self.fanout))
            below = tuple(at[child] for child in children if child in at)
            stages.append(Stage(self._up[level, n], below, level == 1, adds=max(0, len(below) - 1)))
            at[level, n] = len(stages) - 1
        # the root adds what its children send: as many as there are, less one
        tops = sum(level == 1 for level, _ in places)
        stages[-1] = stages[-1]._replace(adds=stages[-1].adds + tops - 1)
        return stages


@topology("broadcast_tree", TreeSpec)
def broadcast_tree(spec: TreeSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """From the root to any leaves."""
    cycles = [spec.level_cycles] * depth_of(spec.leaves, spec.fanout)
    return build_fabric(TreeFabric(spec.leaves, spec.fanout, cycles, spec, where, up=False), fidelity, where)


@topology("reduction_tree", TreeSpec)
def reduction_tree(spec: TreeSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """Adders from the leaves to the root."""
    cycles = [spec.level_cycles] * depth_of(spec.leaves, spec.fanout)
    fabric = TreeFabric(spec.leaves, spec.fanout, cycles, spec, where, down=False, adds=True)
    return build_fabric(fabric, fidelity, where)


@topology("htree", HTreeSpec)
def htree(spec: HTreeSpec, fidelity: Fidelity, where: str = "noc") -> NocModel:
    """A binary tree laid out as an H, both ways."""
    cycles = spec.level_cycles or [1] * (spec.leaves.bit_length() - 1)
    return build_fabric(TreeFabric(spec.leaves, 2, cycles, spec, where), fidelity, where)
