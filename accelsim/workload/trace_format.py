"""The header of a trace: what it must say about every operand, and which shape an operand may have.

The safetensors metadata holds `format`, `version`, `tool`, `content_hash` and `trace`. The last is one JSON
text with everything else (`TraceHeader`), written canonically: operands in the order of layers and roles,
keys sorted. The content hash is BLAKE2b of that text. As the text holds the hash of every payload array,
it covers all content, and neither the layout of the file nor the time or tool of its making.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim import __version__
from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document
from accelsim.workload.container import Container, canonical_json, parse_json
from accelsim.workload.encodings.base import Encoding, Part, check_shape, encoding
from accelsim.workload.generator import GeneratorSpec
from accelsim.workload.netjson import network_from_json, network_to_json
from accelsim.workload.network import Layer, Network
from accelsim.workload.ops import Conv, Linear, Recurrent
from accelsim.workload.ops_windows import OverlapAdd
from accelsim.workload.packing import MAX_BITS
from accelsim.workload.shapes import Dims, RecurrentShape

FORMAT = "accelsim-trace"
VERSION = 1

ROLES = {
    "filter": "weights; of a matmul, the second activation",
    "recurrent": "weights between the time steps of a cell",
    "expansion": "of a factorised cell, the second factor: from the vector between to the gates",
    "projection": "of a cell, from its units to what it feeds back and puts out",
    "bias": "what is added to each output channel, after folding a batch normalisation",
    "ifmap": "the first input",
    "ofmap": "the output as it is written back: after the batch normalisation and activation fused into the layer",
    "state": "of a cell, what enters each time step and meets the recurrent weights: (N, T, directions * state)",
    "error": "training: the loss' derivative by the output, which flows back into the layer",
    "gradient": "training: the loss' derivative by the filter",
    "update": "training: what is added to the filter",
    "norm_range": "training: each output channel's scaled range over the batch, which a range batch norm divides by",
}
"""Roles of operands, in the order in which a trace lists them."""

MATRIX_ROLES = ("filter", "recurrent", "expansion", "projection")
WEIGHT_ROLES = (*MATRIX_ROLES, "bias", "gradient", "update")

QUANTISATION = {"scale": "f8", "zero_point": "i4"}
"""Payload arrays of one number for each index of the first dimension; no encoding may use these names."""


class PartSpec(Spec):
    """One payload array: numpy dtype (`u8` is uint64), shape, BLAKE2b-128 of its bytes."""

    dtype: str
    shape: list[int]
    hash: str = pydantic.Field(pattern="^[0-9a-f]{32}$")


class OperandSpec(Spec):
    """One operand of one layer: either `encoding`, `meta`, `parts` and `nonzeros`, or a `generator`.

    `scale` and `zero_point` say what an integer q stands for: scale * (q - zero_point). Where there is one for
    each index of the first dimension, they are None here and payload arrays of that name (`QUANTISATION`).
    `nonzeros` counts q != 0.
    """

    layer: str
    role: str
    shape: list[int]
    bits: int = pydantic.Field(ge=1, le=MAX_BITS)
    signed: bool
    scale: float | None = pydantic.Field(default=1.0, gt=0)
    zero_point: int | None = pydantic.Field(default=0, ge=-(2**31), lt=2**31)
    encoding: str | None = None
    meta: dict[str, Any] = {}
    parts: dict[str, PartSpec] = {}
    nonzeros: int | None = None
    generator: GeneratorSpec | None = None


class TraceHeader(Spec):
    """Everything that a trace says."""

    name: str = pydantic.Field(min_length=1, max_length=500)
    source: str = pydantic.Field(default="", max_length=100_000)
    recipe: list[Any] | None = None
    network: dict[str, Any]
    operands: list[OperandSpec]


@dataclass(frozen=True)
class Contents:
    """A checked header with what was built from it."""

    header: TraceHeader
    network: Network
    content_hash: str
    tool: str


def hash_of(array: NDArray[Any]) -> str:
    """BLAKE2b-128 of an array's bytes (C-contiguous), in hexadecimal."""
    return hashlib.blake2b(array.reshape(-1).view("u1").data, digest_size=16).hexdigest()


def tensor_name(layer: str, role: str, part: str) -> str:
    """The name of a payload array in the container."""
    return f"{layer}/{role}/{part}"


def role_shapes(layer: Layer, role: str) -> tuple[Dims, ...]:
    """The shapes that an operand of this role may have in this layer; empty if the layer has none."""
    if role in ("filter", "gradient", "update"):
        if layer.kind == "matmul":
            return (layer.in_shapes[1],) if role == "filter" else ()
        return (layer.weights["filter"],) if "filter" in layer.weights else ()
    if role in MATRIX_ROLES:
        return (layer.weights[role],) if role in layer.weights else ()
    if role == "norm_range":
        return ((layer.weights["filter"][0],),) if layer.kind in ("conv", "linear") else ()
    if role == "bias":
        return _bias_shapes(layer)
    if role == "ifmap":
        return layer.in_shapes[:1]
    if role == "state":
        work = layer.work
        if not isinstance(work, RecurrentShape) or not work.gates_fed_back:
            return ()
        return ((work.batch, work.steps, work.directions * work.state),)
    return (layer.out_shape,)  # ofmap, error


def _bias_shapes(layer: Layer) -> tuple[Dims, ...]:
    op = layer.op
    if isinstance(op, Recurrent):
        vectors, rows = op.bias_shape()
        return ((rows,), (vectors, rows))
    if isinstance(op, (Conv, OverlapAdd)):
        return ((op.channels,),)
    return ((op.features,),) if isinstance(op, Linear) else ()


def check_role(network: Network, layer: str, role: str, where: str) -> Layer:
    """The layer called `layer`, if both names are known.

    Raises
    ------
    ConfigError
        With the nearest names.
    """
    if role not in ROLES:
        raise unknown_name("role", role, ROLES, where)
    if layer not in network:
        raise unknown_name("layer", layer, (item.name for item in network), where)
    return network[layer]


def check_fit(spec: OperandSpec, network: Network, where: str) -> None:
    """Refuse an operand whose shape does not fit its layer.

    Raises
    ------
    ConfigError
        Naming the operand and what is wrong.
    """
    layer = check_role(network, spec.layer, spec.role, where)
    shape, allowed = tuple(spec.shape), role_shapes(layer, spec.role)
    try:
        check_shape(shape)
        if not allowed:
            raise ConfigError(f"a layer of kind {layer.kind} has no operand {spec.role}")
        if shape not in allowed:
            listed = " or ".join(str(list(dims)) for dims in allowed)
            raise ConfigError(f"shape must be {listed}, as the network says, got {spec.shape}")
    except ConfigError as error:
        raise ConfigError(str(error), f"{where}: {spec.layer}/{spec.role}") from None


def check_operand(spec: OperandSpec, network: Network, where: str) -> None:
    """As `check_fit`, and its generator, or its encoding and the arrays that it promises."""
    check_fit(spec, network, where)
    try:
        if spec.generator is not None:
            _check_generated(spec, spec.generator)
        else:
            _check_stored(spec)
    except ConfigError as error:
        raise ConfigError(str(error), f"{where}: {spec.layer}/{spec.role}") from None


def _check_generated(spec: OperandSpec, generator: GeneratorSpec) -> None:
    if spec.encoding is not None or spec.parts or spec.meta or spec.nonzeros is not None:
        raise ConfigError("must have either a generator or an encoding, and not both")
    if spec.scale is None or spec.zero_point is None:
        raise ConfigError("scale and zero_point of a generated operand must be numbers")
    if (spec.bits, spec.signed) != (generator.bits, generator.signed):
        raise ConfigError(
            f"bits and signed must be the generator's, {generator.bits} and {generator.signed}, "
            f"got {spec.bits} and {spec.signed}"
        )


def _check_stored(spec: OperandSpec) -> None:
    if spec.encoding is None:
        raise ConfigError("must have an encoding or a generator")
    codec, elements = encoding(spec.encoding), prod(spec.shape)
    if spec.nonzeros is None or not 0 <= spec.nonzeros <= elements:
        raise ConfigError(f"nonzeros must be 0 to {elements}, got {spec.nonzeros}")
    codec.check_width(spec.bits, spec.signed)
    parts = {name: Part(part.dtype, tuple(part.shape)) for name, part in spec.parts.items()}
    for name, dtype in QUANTISATION.items():
        found, wanted = parts.pop(name, None), Part(dtype, (spec.shape[0],))
        if found != (wanted if getattr(spec, name) is None else None):
            raise ConfigError(f"{name} must be one number, or {spec.shape[0]}, one for each first index")
    codec.check_parts(parts, codec.read_meta(spec.meta), tuple(spec.shape), spec.bits, spec.signed)


def check_quantisation(name: str, array: NDArray[Any]) -> None:
    """Refuse scales that are not positive, and zero points beyond 32 bits.

    Raises
    ------
    ConfigError
    """
    if name == "scale" and not (np.isfinite(array).all() and array.min() > 0):
        raise ConfigError(f"scale must be finite and > 0, got {array.min()}")
    if name == "zero_point" and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
        raise ConfigError(f"zero_point must fit 32 bits, got {array.min()} to {array.max()}")


def codec_of(spec: OperandSpec) -> Encoding:
    """The encoding of a stored operand; that of a generated one is dense."""
    return encoding(spec.encoding or "dense")


def make_header(
    network: Network, operands: Iterable[OperandSpec], *, name: str, recipe: Any, source: str, where: str
) -> TraceHeader:
    """A header with its operands in canonical order.

    Raises
    ------
    ConfigError
        If the name, the recipe or the source cannot stand in a header.
    """
    position = {layer.name: i for i, layer in enumerate(network)}
    ranks = {role: i for i, role in enumerate(ROLES)}
    ordered = sorted(operands, key=lambda spec: (position[spec.layer], ranks[spec.role]))
    if recipe is not None:
        try:
            recipe = parse_json(canonical_json(recipe), f"{where}: recipe")
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"must be a list of plain JSON data: {error}", f"{where}: recipe") from None
    given = {"name": name, "source": source, "recipe": recipe, "network": network_to_json(network), "operands": []}
    return build(TraceHeader, Document(given, where)).model_copy(update={"operands": ordered})


def header_text(header: TraceHeader) -> str:
    """The canonical JSON text."""
    data = {key: getattr(header, key) for key in ("name", "source", "recipe", "network")}
    return canonical_json({**data, "operands": [_plain(spec) for spec in header.operands]})


def _plain(spec: OperandSpec) -> dict[str, Any]:
    """All keys but those that an operand of its kind does not have."""
    absent = {"generator"} if spec.generator is None else {"encoding", "meta", "parts", "nonzeros"}
    return spec.model_dump(exclude=absent)


def hash_of_text(text: str) -> str:
    """The content hash: BLAKE2b-256 of the header's text, in hexadecimal."""
    return hashlib.blake2b(text.encode("utf-8"), digest_size=32, person=b"accelsim.trace").hexdigest()


def to_metadata(header: TraceHeader) -> dict[str, str]:
    """The safetensors metadata."""
    text = header_text(header)
    return {
        "format": FORMAT,
        "version": str(VERSION),
        "tool": f"accelsim {__version__}",
        "content_hash": hash_of_text(text),
        "trace": text,
    }


def from_container(container: Container) -> Contents:
    """Check the metadata and everything that they promise against the network and the tensors.

    Raises
    ------
    ConfigError
        Naming the key or the operand.
    """
    where, metadata = str(container.path), container.metadata
    if metadata.get("format") != FORMAT:
        found = repr(metadata.get("format"))
        raise ConfigError(f"is no trace: metadata key 'format' must be {FORMAT!r}, got {found:.60}", where)
    _check_version(metadata, where)
    for key in ("content_hash", "trace"):
        if key not in metadata:
            raise ConfigError(f"metadata key {key!r} is required but missing", where)
    content_hash = hash_of_text(metadata["trace"])
    if content_hash != metadata["content_hash"]:
        what = "header does not have the hash that it states: the file is damaged or was tampered with"
        raise ConfigError(what, where)
    data = parse_json(metadata["trace"], f"{where}: header")
    header = build(TraceHeader, Document(data, where))
    network = network_from_json(header.network, f"{where}: network")
    _check_operands(header, network, container)
    return Contents(header, network, content_hash, metadata.get("tool", ""))


def _check_version(metadata: Mapping[str, str], where: str) -> None:
    text = metadata.get("version", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < 1:
        raise ConfigError(f"metadata key 'version' must be a positive integer, got {text!r:.60}", where)
    if int(text) > VERSION:
        tool = f" ({metadata['tool']:.60})" if metadata.get("tool", "").isprintable() and metadata.get("tool") else ""
        raise ConfigError(
            f"trace version {text} was written by a newer accelsim{tool}; this one, {__version__}, reads "
            f"up to version {VERSION}",
            where,
        )


def _check_operands(header: TraceHeader, network: Network, container: Container) -> None:
    where, seen, expected = str(container.path), set(), 0
    for spec in header.operands:
        check_operand(spec, network, where)
        if (spec.layer, spec.role) in seen:
            raise ConfigError("is described twice", f"{where}: {spec.layer}/{spec.role}")
        seen.add((spec.layer, spec.role))
        for part, promise in spec.parts.items():
            name = tensor_name(spec.layer, spec.role, part)
            tensor = container.tensors.get(name)
            if tensor is None:
                raise ConfigError(f"tensor {name!r} is missing", where)
            if (tensor.dtype, tensor.shape) != (promise.dtype, tuple(promise.shape)):
                raise ConfigError(
                    f"tensor {name!r} must be {promise.dtype}{promise.shape}, as the header says, "
                    f"got {tensor.dtype}{list(tensor.shape)}",
                    where,
                )
        expected += len(spec.parts)
    if expected != len(container.tensors):
        raise ConfigError(f"has {len(container.tensors)} tensors, but its header describes {expected}", where)
