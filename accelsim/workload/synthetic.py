"""Operands that are described rather than captured: for every compute layer of a network, from a few settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document
from accelsim.workload.generator import GeneratorSpec
from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Input
from accelsim.workload.packing import MAX_BITS
from accelsim.workload.tensors import carries_spikes, default_signed, operand_tensor, same_data, signed_outputs
from accelsim.workload.trace_format import MATRIX_ROLES, OperandSpec, role_shapes

Distribution = Literal["uniform", "laplace", "gaussian"]


_CHOICES = ("bits", "density", "distribution", "std", "block", "clustering")


class Settings(Spec):
    """What a described operand may be; `weight_*` for weights, `activation_*` for all else.

    The terms are those of `GeneratorSpec`. `activation_signed` None: unsigned after ReLU and its like.
    `input_density`: of tensors that are inputs of the network; None: `activation_density`.
    Assumed: values of both kinds are Laplace-distributed (activations, if unsigned, its positive half).
    """

    weight_bits: int = pydantic.Field(default=8, ge=1, le=MAX_BITS)
    weight_density: float = pydantic.Field(default=1.0, ge=0, le=1)
    weight_distribution: Distribution = "laplace"
    weight_std: float = 0.125
    weight_block: int = 1
    weight_clustering: float = 1.0
    weight_signed: bool = True
    activation_bits: int = pydantic.Field(default=8, ge=1, le=MAX_BITS)
    activation_density: float = pydantic.Field(default=1.0, ge=0, le=1)
    activation_distribution: Distribution = "laplace"
    activation_std: float = 0.125
    activation_block: int = 1
    activation_clustering: float = 1.0
    activation_signed: bool | None = None
    input_density: float | None = pydantic.Field(default=None, ge=0, le=1)


def describe(
    network: Network,
    common: Mapping[str, Any],
    per_layer: Mapping[str, Mapping[str, Any]],
    seed: int,
    activation_seed: int | None = None,
) -> list[OperandSpec]:
    """Operands of all compute layers; `activation_seed`: of all that are not weights (None: `seed`).

    Raises
    ------
    ConfigError
        Unknown layer or setting, or a value out of range.
    """
    settings = _all_settings(network, common, per_layer)
    signed = signed_outputs(network)
    readers = _first_readers(network)
    moving = seed if activation_seed is None else activation_seed
    found = []
    for layer in network:
        if not layer.is_compute:
            continue
        for role in (*MATRIX_ROLES, "ifmap", "ofmap", "state"):
            shapes = role_shapes(layer, role)
            if not shapes:
                continue
            tensor = operand_tensor(network, layer, role)
            of = settings[layer.name]
            if role == "ofmap" and tensor is not None:
                of = settings[readers.get(tensor, layer.name)]
            is_weight = role in MATRIX_ROLES and tensor is None
            is_input = tensor is not None and isinstance(network[tensor].op, Input)
            stream = f"{layer.name}/{role}" if tensor is None else f"{tensor}/output"
            if tensor is not None and carries_spikes(network, tensor):
                of = of.model_copy(update={"activation_bits": 1, "activation_signed": False})
            generator = _generator(
                of, seed if is_weight else moving, f"{network.name}/{stream}", is_weight, is_input,
                default_signed(network, layer, role, signed),
            )  # fmt: skip
            found.append(_operand(layer, role, shapes[0], generator))
    return found


def _operand(layer: Layer, role: str, shape: tuple[int, ...], generator: GeneratorSpec) -> OperandSpec:
    return OperandSpec(
        layer=layer.name,
        role=role,
        shape=list(shape),
        bits=generator.bits,
        signed=generator.signed,
        generator=generator,
    )


def _all_settings(
    network: Network, common: Mapping[str, Any], per_layer: Mapping[str, Mapping[str, Any]]
) -> dict[str, Settings]:
    base = build(Settings, Document(dict(common), "synthetic trace"))
    found = {layer.name: base for layer in network}
    for name, changes in per_layer.items():
        if name not in found:
            raise unknown_name("layer", name, found, "synthetic trace")
        if not isinstance(changes, Mapping):
            raise ConfigError(f"must be a mapping of settings, got {changes!r:.60}", f"synthetic trace: layer {name}")
        found[name] = build(Settings, Document({**common, **changes}, f"synthetic trace: layer {name}"))
    return found


def _first_readers(network: Network) -> dict[str, str]:
    """For each tensor the first compute layer that reads it as it is."""
    found: dict[str, str] = {}
    for layer in network:
        if layer.is_compute:
            found.setdefault(same_data(network, layer.inputs[0]), layer.name)
    return found


def _generator(of: Settings, seed: int, stream: str, is_weight: bool, is_input: bool, signed: bool) -> GeneratorSpec:
    kind = "weight" if is_weight else "activation"
    chosen = {key: getattr(of, f"{kind}_{key}") for key in _CHOICES}
    if is_input and of.input_density is not None:
        chosen["density"] = of.input_density
    given = of.weight_signed if is_weight else of.activation_signed
    chosen["signed"] = signed if given is None else given
    if chosen["bits"] > 16 or (chosen["bits"] == 1 and chosen["signed"]):
        chosen["distribution"] = "uniform"  # there is no other, see GeneratorSpec
    return build(GeneratorSpec, Document({**chosen, "seed": seed, "stream": stream}, "synthetic trace"))
