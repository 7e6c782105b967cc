"""Which layer is pruned first, and how far: those that cost the most energy."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import ROLES_OF, STEPS, Context, Key, Source, Step, StepParams
from accelsim.compress.selectors import PerLayer
from accelsim.compress.sparsify.prune import checked_density
from accelsim.compress.sparsify.select import kept_count, smallest
from accelsim.compress.state import TensorState
from accelsim.workload.network import Layer


@STEPS.register("prune_energy")
class PruneEnergy(Step):
    """Prune by magnitude, layer after layer in the order of their energy, until the network's energy is down to a part.

    Yang, Chen and Sze, "Designing energy-efficient convolutional neural networks using energy-aware pruning", CVPR
    2017, section 4: layers that need more energy are pruned first, since later ones can be pruned less. Energy of a
    layer: MACs * mac + weights * weight, both proportional to the density; what does not change with it is left out.
    """

    kind: ClassVar[str] = "prune_energy"

    class Params(StepParams):
        """How far.

        Attributes
        ----------
        energy : 0 to 1
            Of the chosen layers together, after over before.
        least : 0 to 1, may be given per layer
            Density below which a layer is not pruned.
        mac, weight : number
            Relative energies. Default: 1 and 200, a MAC and an access to DRAM in Eyeriss (Chen et al., ISCA 2016,
            Table IV), each weight being fetched once.
        """

        energy: float = pydantic.Field(ge=0, le=1)
        least: PerLayer[float] = 0.1
        mac: float = pydantic.Field(default=1.0, ge=0)
        weight: float = pydantic.Field(default=200.0, ge=0)

    def __init__(self, params: Any, label: str, where: str, context: Context) -> None:
        super().__init__(params, label, where, context)
        checked_density(params.least, where, "least")
        self.densities: dict[Key, float] = {}

    def prepare(self, before: Source, chosen: list[Key]) -> None:
        costs = {key: self._energy(before.network[key[0]], key[1]) for key in chosen}
        total = sum(costs.values())
        excess = total * (1 - self.params.energy)
        for key in sorted(chosen, key=lambda key: -costs[key]):  # equal ones: in the network's order
            can = costs[key] * (1 - float(self.at(key[0], self.params.least)))
            saved = min(can, max(excess, 0.0))
            self.densities[key] = 1 - saved / costs[key] if costs[key] else 1.0
            excess -= saved
        if excess > 1e-9 * total:
            lowest = (total * self.params.energy + excess) / total
            what = f"energy must be at least {lowest:.4f} with these least densities"
            raise ConfigError(f"{what}, got {self.params.energy}")

    def apply(self, state: TensorState) -> None:
        density = self.densities[state.layer.name, state.role]
        removed = smallest(state.values, state.elements - kept_count(density, state.elements)).mask(state.values)
        state.zero_out(removed)
        state.notes.append(f"density {density:.4f} by energy")

    def _energy(self, layer: Layer, role: str) -> float:
        sizes = {name: prod(shape) for name, shape in layer.weights.items() if name in ROLES_OF["W"]}
        share = sizes.get(role, 0) / max(1, sum(sizes.values()))
        return float(layer.macs * share * self.params.mac + sizes.get(role, 0) * self.params.weight)
