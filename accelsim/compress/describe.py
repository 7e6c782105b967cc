"""The step that adds operands without numbers: activations, errors, gradients or updates that are drawn at will.

Networks that are shipped as shapes have no activations. A trace may describe them instead (width, density,
distribution); readers draw the same ones. See `workload.generator`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import ROLES_OF, STEPS, Key, PerLayer, Source, Step, StepParams, operand_shape
from accelsim.compress.selectors import choose
from accelsim.compress.sources import in_order
from accelsim.compress.state import TensorState
from accelsim.workload.generator import GeneratorSpec
from accelsim.workload.network import Network
from accelsim.workload.synthetic import describe
from accelsim.workload.tensors import default_signed, signed_outputs

Density = Annotated[float, pydantic.Field(ge=0, le=1)]
Width = Annotated[int, pydantic.Field(ge=1, le=32)]


@STEPS.register("describe")
class Describe(Step):
    """Describe operands that are not there yet: of every chosen layer, those that `object` (A by default) means.

    `bits`, `density`: may be given per layer. An activation that several layers read has the settings of the first
    that reads it; what one layer writes (ofmap) and another reads (ifmap) is the same tensor. `only_missing`: keep
    operands that have numbers; otherwise finding one is an error.
    """

    kind: ClassVar[str] = "describe"
    objects: ClassVar[tuple[str, ...]] = ("A", "E", "G", "U", "BN")

    class Params(StepParams):
        """See the step; the rest is as in a generator."""

        object: Literal["A", "E", "G", "U", "BN"] = "A"
        bits: PerLayer[Width] = 8
        density: PerLayer[Density] = 1.0
        distribution: Literal["uniform", "laplace", "gaussian"] = "laplace"
        std: float = pydantic.Field(default=0.125, ge=1e-6, le=16)
        block: int = pydantic.Field(default=1, ge=1)
        clustering: float = pydantic.Field(default=1.0, ge=0, le=1)
        only_missing: bool = False

    def roles(self) -> tuple[str, ...]:
        """The roles that are described."""
        if self.params.roles:
            return tuple(self.params.roles)
        return ("ifmap", "state", "ofmap") if self.params.object == "A" else ROLES_OF[self.params.object]

    def choose(self, before: Source) -> list[Key]:
        network = before.network
        held = [la for la in network if la.is_compute and any(operand_shape(la, role) for role in self.roles())]
        names = choose(self.params.layers, held, self.where)
        keys = [(name, role) for name in names for role in self.roles() if operand_shape(network[name], role)]
        there = set(before.keys())
        if not self.params.only_missing and (clash := [key for key in keys if key in there]):
            raise ConfigError(f"{'/'.join(clash[0])} is there already (say only_missing: true)", self.where)
        return [key for key in keys if key not in there]

    def rebuild(self, before: Source, chosen: list[Key]) -> Source:
        if self.params.object == "A":
            made = self._activations(before.network, chosen)
        else:
            made = {key: self._other(before.network, key) for key in chosen}
        return Described(before, made)

    def _settings(self, layer: str) -> dict[str, Any]:
        params = self.params
        found: dict[str, Any] = {"bits": self.at(layer, params.bits), "density": self.at(layer, params.density)}
        return {**found, **{k: getattr(params, k) for k in ("distribution", "std", "block", "clustering")}}

    def _activations(self, network: Network, chosen: list[Key]) -> dict[Key, GeneratorSpec]:
        names = dict.fromkeys(name for name, _ in chosen)
        per_layer = {name: {f"activation_{k}": v for k, v in self._settings(name).items()} for name in names}
        found = describe(network, {}, per_layer, self.context.seed)
        wanted = set(chosen)
        made: dict[Key, GeneratorSpec] = {}
        for spec in found:
            if (spec.layer, spec.role) in wanted and spec.generator is not None:
                made[spec.layer, spec.role] = spec.generator
        return made

    def _other(self, network: Network, key: Key) -> GeneratorSpec:
        settings = self._settings(key[0])
        if settings["bits"] > 16 or settings["bits"] == 1:
            settings["distribution"] = "uniform"
        stream = f"{network.name}/{key[0]}/{key[1]}"
        return GeneratorSpec(seed=self.context.seed, stream=stream, signed=settings["bits"] > 1, **settings)


class Described(Source):
    """A source with described operands beside its own."""

    def __init__(self, before: Source, made: dict[Key, GeneratorSpec]) -> None:
        self._before, self._made = before, made
        self._signed = signed_outputs(before.network)

    @property
    def network(self) -> Network:
        return self._before.network

    def keys(self) -> list[Key]:
        return in_order(self.network, [*self._before.keys(), *self._made])

    def load(self, key: Key) -> TensorState:
        if key not in self._made:
            return self._before.load(key)
        layer, spec = self.network[key[0]], self._made[key]
        shape = operand_shape(layer, key[1])
        assert shape is not None
        signed = default_signed(self.network, layer, key[1], self._signed) and spec.signed
        return TensorState(layer, key[1], shape, None, signed=signed, described=spec)
