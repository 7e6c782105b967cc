"""Tensors stored as factors: base of the encodings of decompositions (SVD, Tucker, tensor train, ...).

Each core is encoded by itself, so that cores can be quantized and sparse like any tensor; its arrays are stored under
its name (`core0.data`). Decoding multiplies the cores out and gives float32; an engine that works on the cores takes
`cores()`, or `core_payload()` for their integers.

A subclass says which shapes its cores have (`core_shapes`), how to multiply them (`rebuild`), and how to factorise
exactly without thinking (`fit`, for `encode`; the compressors bring their own cores).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document
from accelsim.workload.encodings.base import Dims, Encoded, Encoding, Part, Payload, check_shape, encoding
from accelsim.workload.packing import MAX_BITS, limits

MAX_CORES = 64
_AFFINE = {"scale": "f8", "zero_point": "i4"}


@dataclass(frozen=True)
class StoredCore:
    """One core, encoded. `scale` and `zero_point` are arrays where there is one for each first index."""

    name: str
    encoding: str
    encoded: Encoded
    shape: Dims
    bits: int
    signed: bool
    scale: Any = 1.0
    zero_point: Any = 0


class CoreSpec(Spec):
    """What the header says about a core; `scale`, `zero_point` None: an array of the payload."""

    name: str = pydantic.Field(pattern="^[a-z0-9_]{1,40}$")
    encoding: str
    meta: dict[str, Any] = {}
    shape: list[int]
    bits: int = pydantic.Field(ge=1, le=MAX_BITS)
    signed: bool
    scale: float | None = pydantic.Field(default=1.0, gt=0)
    zero_point: int | None = pydantic.Field(default=0, ge=-(2**31), lt=2**31)


class Factored(Encoding):
    """Base of encodings of factors."""

    floating: ClassVar[bool] = True

    class Meta(Spec):
        """The cores, in order."""

        cores: list[CoreSpec] = pydantic.Field(min_length=1, max_length=MAX_CORES)

    # --- what a subclass writes ---

    def core_shapes(self, meta: Any, shape: Dims) -> dict[str, Dims]:
        """Name -> shape of all cores, in order, as `meta` and the operand's shape want them.

        Raises
        ------
        ConfigError
            If they contradict each other.
        """
        raise NotImplementedError

    def rebuild(self, cores: list[NDArray[np.float32]], meta: Any, shape: Dims) -> NDArray[np.float32]:
        """The operand that the cores multiply out to, float32 of `shape`."""
        raise NotImplementedError

    def fit(self, values: NDArray[np.float32], params: Any) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Cores that give exactly `values`, and the subclass' own meta.

        One core, the last of the largest, holds the values themselves; all others hold zeros and ones only.
        """
        raise NotImplementedError

    # --- what everybody calls ---

    def assemble(self, cores: Iterable[StoredCore], meta: dict[str, Any], shape: Dims) -> Encoded:
        """Put encoded cores together.

        Raises
        ------
        ConfigError
            If the cores are not those that `meta` and `shape` want.
        """
        payload: Payload = {}
        specs: list[dict[str, Any]] = []
        for core in cores:
            spec: dict[str, Any] = {
                "name": core.name, "encoding": core.encoding, "meta": core.encoded.meta, "shape": list(core.shape),
                "bits": core.bits, "signed": core.signed,
            }  # fmt: skip
            payload |= {f"{core.name}.{part}": array for part, array in core.encoded.payload.items()}
            for key, dtype in _AFFINE.items():
                value = getattr(core, key)
                if isinstance(value, np.ndarray):
                    payload[f"{core.name}.{key}"], spec[key] = value.astype(dtype), None
                else:
                    spec[key] = value
            specs.append(spec)
        whole = self.read_meta({**meta, "cores": specs})
        bits = max(spec["bits"] for spec in specs)
        self.layout(whole, shape, bits, True)
        nonzeros = int(np.count_nonzero(self.unpack(payload, whole, shape, bits, True)))
        return Encoded(payload, whole.model_dump(), nonzeros)

    def encode(self, values: NDArray[Any], bits: int, signed: bool = True, **params: Any) -> Encoded:
        """Factorise exactly: float32 cores at 32 bits; below, the values must be integers, and so are the cores."""
        self.check_width(bits, signed)
        chosen = build(self.Params, Document(params, f"encoding {self.kind}"))
        checked = self._checked_values(values, bits, signed).astype(np.float32)
        cores, meta = self.fit(checked, chosen)
        if bits == MAX_BITS:
            stored = [_stored(name, core, "float", bits, True) for name, core in cores.items()]
        else:
            low, high = limits(bits, True)
            if (checked != np.rint(checked)).any() or checked.min() < low or checked.max() > high:
                raise ConfigError(f"values must be integers from {low} to {high} at {bits} bits; 32 takes any")
            last = max(range(len(cores)), key=lambda i: (list(cores.values())[i].size, i))
            stored = [
                _stored(name, core.astype(np.int64), "dense", *((bits, True) if i == last else (1, False)))
                for i, (name, core) in enumerate(cores.items())
            ]
        return self.assemble(stored, meta, checked.shape)

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        return values if bits == MAX_BITS else np.clip(np.rint(values), *limits(bits, True)).astype(np.float32)

    def cores(self, payload: Payload, meta: Any, shape: Dims) -> list[NDArray[np.float32]]:
        """The cores as real numbers, in order."""
        meta = self.read_meta(meta)
        return [self._core(spec, payload) for spec in meta.cores]

    def core_payload(self, payload: Payload, name: str) -> Payload:
        """The arrays of one core, under their names in its own encoding."""
        prefix = f"{name}."
        return {part.removeprefix(prefix): a for part, a in payload.items() if part.startswith(prefix)}

    def _core(self, spec: CoreSpec, payload: Payload) -> NDArray[np.float32]:
        arrays = self.core_payload(payload, spec.name)
        scale, zero = (arrays.pop(key, getattr(spec, key)) for key in _AFFINE)
        codec, shape = encoding(spec.encoding), tuple(spec.shape)
        values = codec.decode(arrays, spec.meta, shape, spec.bits, spec.signed)
        if codec.floating:
            return values
        broad = (-1, *[1] * (len(shape) - 1))
        scale, zero = (v.reshape(broad) if isinstance(v, np.ndarray) else v for v in (scale, zero))
        result: NDArray[np.float32] = ((values.astype(np.int64) - zero) * np.float32(1)).astype(np.float32)
        result *= np.asarray(scale, np.float32)
        return result

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        wanted = self.core_shapes(meta, shape)
        found = {spec.name: tuple(spec.shape) for spec in meta.cores}
        if found != wanted or list(found) != list(wanted) or len(meta.cores) != len(found):
            raise ConfigError(f"cores must be {wanted} for shape {list(shape)}, got {found}")
        widest = max(spec.bits for spec in meta.cores)
        if bits != widest:
            raise ConfigError(f"bits must be {widest}, those of the widest core, got {bits}")
        parts: dict[str, Part] = {}
        for spec in meta.cores:
            check_shape(tuple(spec.shape))
            codec = encoding(spec.encoding)
            if isinstance(codec, Factored):
                raise ConfigError(f"core {spec.name} must not be factored itself")
            codec.check_width(spec.bits, spec.signed)
            within = codec.layout(codec.read_meta(spec.meta), tuple(spec.shape), spec.bits, spec.signed)
            parts |= {f"{spec.name}.{part}": item for part, item in within.items()}
            for key, dtype in _AFFINE.items():
                if getattr(spec, key) is None:
                    parts[f"{spec.name}.{key}"] = Part(dtype, (spec.shape[0],))
        return parts

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.rebuild(self.cores(payload, meta, shape), meta, shape)
        if not np.isfinite(values).all():
            raise ConfigError("payload must multiply out to finite numbers, got NaN or infinity")
        return values.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return sum(self._sizes(spec)[0] for spec in meta.cores)

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return sum(self._sizes(spec)[1] for spec in meta.cores)

    def _sizes(self, spec: CoreSpec) -> tuple[int, int]:
        """Payload bits, and bits of all else: indices, tables, 32 for each scale and zero point that is used."""
        codec, shape = encoding(spec.encoding), tuple(spec.shape)
        meta = codec.read_meta(spec.meta)
        index = codec.index_bits(meta, shape, spec.bits)
        if not codec.floating:
            index += 32 * (spec.shape[0] if spec.scale is None else 1)
            index += 32 * (spec.shape[0] if spec.zero_point is None else int(spec.zero_point != 0))
        return codec.payload_bits(meta, shape, spec.bits), index


def _stored(name: str, values: NDArray[Any], kind: str, bits: int, signed: bool) -> StoredCore:
    return StoredCore(name, kind, encoding(kind).encode(values, bits, signed), values.shape, bits, signed)
