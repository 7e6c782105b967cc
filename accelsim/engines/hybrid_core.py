"""A core for neurons and spikes: a vector MAC whose products become sums of weights where the inputs are spikes.

Tianjic's core (Pei et al., Nature 572, 2019; Deng et al., JSSC 55(8), 2020): axons give spikes or numbers, dendrites
integrate or multiply and add, somas put out numbers or spikes. Axon and soma are configured apart, so either kind of
layer can follow the other. An ifmap of one unsigned bit is spikes; results drive spiking neurons where the network has
a `spike` operator behind the layer.

Time is that of `vector_mac`: all axons are visited, so that a time step takes as long as a vector of numbers, 65,536
synapses on 16 units 4,096 cycles (assumed: phases are as long for spikes). Energy is of events: only axons with a spike
read their weights and add them, and nothing multiplies. A potential is read and written once in a time step. Assumed: a
weight is read at most once for a tile.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.live_inputs import live_products
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import Tiles, TileTimes, Words, WordTables
from accelsim.engines.vector_mac import VectorMac


@ENGINES.register("hybrid_core")
class HybridCore(VectorMac):
    """`lanes` x `width` synapses a cycle."""

    kind: ClassVar[str] = "hybrid_core"

    def depends_on_data(self, task: Task) -> bool:
        """How many spikes there are decides what is counted."""
        return spiking(Part(task, task.layer.work))  # type: ignore[arg-type]

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """As `vector_mac`, whose adders spikes use."""
        add = component("dendrite", {"add": model.op_pj("add", bits["psum"])})
        return [*super().costs(model, bits), add]

    def events(self, part: Part, tiles: Tiles) -> Words:
        """Synapses that a spike arrives at, for each tile."""
        return np.asarray(live_products(part, tiles, lambda values: values != 0) * tiles["n"])

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Spikes read their own weights only; potentials come and go with every step."""
        reads, writes = super().words(part, tiles)
        if spiking(part):
            reads["filter"] = np.minimum(reads["filter"], self.events(part, tiles))
        if part.task.neuron is not None:
            neurons = tiles["groups"] * tiles["m"] * tiles["n"] * tiles["last_k"]
            reads["psum"] = reads["psum"] + neurons
            writes["psum"] = writes["psum"] + neurons
        return reads, writes

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Sums of weights instead of products."""
        if not spiking(part):
            return super().actions(part, tiles, times)
        bits, counts = part.task.bits, ActionCounts()
        events, weights = int(self.events(part, tiles).sum()), int(self.words(part, tiles)[0]["filter"].sum())
        axons = int((tiles["groups"] * tiles["m"] * tiles["k"]).sum())
        counts.add("dendrite", "add", events)
        counts.add("weight_register", "write_bit", weights * self.spec.operand_bits)
        counts.add("weight_register", "read_bit", events * self.spec.operand_bits)
        counts.add("input_register", "write_bit", axons)
        counts.add("accumulator", "write_bit", events * bits["psum"])
        return counts


def spiking(part: Part) -> bool:
    """Whether the inputs are spikes."""
    return part.bits("ifmap") == 1 and not part.signed("ifmap")
