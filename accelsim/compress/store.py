"""From a finished `TensorState` to what a trace holds: header entry and arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.compress.state import ORIGINAL_BITS, Quantized, Storage, TensorState
from accelsim.workload.encodings.base import Encoded, Encoding, Payload, encoding
from accelsim.workload.encodings.factored import Factored, StoredCore
from accelsim.workload.trace_format import OperandSpec


@dataclass(frozen=True)
class Stored:
    """One operand, encoded, with the sizes that a report wants.

    `index_bits` is everything that is not the value of an element: positions, code books, scales.
    """

    spec: OperandSpec
    payload: Payload
    payload_bits: int
    index_bits: int


def stored(state: TensorState) -> Stored:
    """Encode an operand.

    Raises
    ------
    ConfigError
        If its storage cannot hold it (names the operand).
    """
    try:
        return _stored(state)
    except ConfigError as error:
        raise ConfigError(str(error), state.name) from None


def _stored(state: TensorState) -> Stored:
    about: dict[str, Any] = {"layer": state.layer.name, "role": state.role, "shape": list(state.shape)}
    if state.described is not None:
        made = state.described
        spec = OperandSpec(**about, bits=made.bits, signed=made.signed, generator=made)
        return Stored(spec, {}, made.bits * state.elements, 0)
    if state.factors is not None:
        return _factored(state, about)
    core = encode_core(state)
    codec = encoding(core.encoding)
    header, arrays = _affine(core)
    spec = OperandSpec(
        **about, bits=core.bits, signed=core.signed, encoding=core.encoding, meta=core.encoded.meta,
        nonzeros=core.encoded.nonzeros, **header,
    )  # fmt: skip
    payload_bits, index_bits = sizes(codec, core.encoded, state.shape, core.bits)
    index_bits += sum(32 * a.size for a in arrays.values()) or _single_scale(state)
    return Stored(spec, {**core.encoded.payload, **arrays}, payload_bits, index_bits)


def _single_scale(state: TensorState) -> int:
    """One scale of 32 bits for an affine tensor; the zero point counts where it is used."""
    if state.quantized is None or state.quantized.meaning != "affine":
        return 0
    return 64 if state.quantized.tables["zero_point"].any() else 32


def encode_core(state: TensorState) -> StoredCore:
    """Encode a tensor that is not decomposed, in the storage chosen for it."""
    storage, quantized = state.storage or Storage(), state.quantized
    where: dict[str, Any] = {"name": state.part, "shape": state.shape}
    if quantized is None:
        return StoredCore(**where, **_floats(state, storage), bits=ORIGINAL_BITS, signed=True)
    codec = encoding(storage.encoding)
    if codec.floating:
        raise ConfigError(f"encoding {codec.kind} holds numbers, but the tensor is quantized to {quantized.bits} bits")
    if quantized.meaning != "affine":
        return StoredCore(**where, **_coded(quantized, storage), bits=quantized.bits, signed=True)
    encoded = codec.encode(quantized.codes, quantized.bits, quantized.signed, **storage.options)
    return StoredCore(
        state.part, codec.kind, encoded, state.shape, quantized.bits, quantized.signed,
        _plain(quantized.tables["scale"]), _plain(quantized.tables["zero_point"]),
    )  # fmt: skip


def _floats(state: TensorState, storage: Storage) -> dict[str, Any]:
    """Numbers that no step quantized: float32, plain, or their bit patterns in an encoding of integers."""
    codec = encoding("float" if storage.encoding == "dense" else storage.encoding)
    options = storage.options
    if not codec.floating:
        options = {"format": "fp32", "inner": codec.kind, "options": options}
        codec = encoding("minifloat")
    return {"encoding": codec.kind, "encoded": codec.encode(state.values, ORIGINAL_BITS, **options)}


def _coded(quantized: Quantized, storage: Storage) -> dict[str, Any]:
    coder = quantized.coder
    encoded = coder.assemble(
        quantized.codes, quantized.bits, quantized.tables, quantized.meta, storage.encoding, storage.options
    )
    return {"encoding": coder.kind, "encoded": encoded}


def _factored(state: TensorState, about: dict[str, Any]) -> Stored:
    """Cores, each encoded by itself, put together by the encoding of the decomposition (`Factored`)."""
    factors = state.factors
    assert factors is not None
    codec = encoding(factors.kind)
    if not isinstance(codec, Factored):
        raise SimulationBug(f"encoding {codec.kind} does not hold factors")
    cores = [encode_core(core) for core in factors.cores]
    bits = max(core.bits for core in cores)
    encoded = codec.assemble(cores, factors.meta, state.shape)
    spec = OperandSpec(
        **about, bits=bits, signed=True, encoding=codec.kind, meta=encoded.meta, nonzeros=encoded.nonzeros
    )
    payload_bits, index_bits = sizes(codec, encoded, state.shape, bits)
    return Stored(spec, encoded.payload, payload_bits, index_bits)


def sizes(codec: Encoding, encoded: Encoded, shape: tuple[int, ...], bits: int) -> tuple[int, int]:
    """Payload and index bits of an encoded tensor."""
    meta = codec.read_meta(encoded.meta)
    return codec.payload_bits(meta, shape, bits), codec.index_bits(meta, shape, bits)


def _affine(core: StoredCore) -> tuple[dict[str, Any], Payload]:
    """Header entries and arrays of scale and zero point, as `trace_format.QUANTISATION` wants them."""
    header: dict[str, Any] = {}
    arrays: Payload = {}
    for name, value, dtype in (("scale", core.scale, np.float64), ("zero_point", core.zero_point, np.int32)):
        if isinstance(value, np.ndarray):
            arrays[name], header[name] = value.astype(dtype), None
        else:
            header[name] = value
    return header, arrays


def _plain(table: Any) -> Any:
    """A number, or an array of one for each first index."""
    array = np.asarray(table)
    return array.item() if array.ndim == 0 else array
