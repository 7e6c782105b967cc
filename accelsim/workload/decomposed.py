"""A decomposed operand of a trace, as an engine that works on the cores wants it.

    weights = decomposed(trace.operand("fc6", "filter"))
    weights.kind                  # "tt"
    weights.row_modes, weights.column_modes, weights.ranks
    weights.cores["core0"]        # float32 [r_0, m_1, n_1, r_1]
    weights.integers("core0")     # stored integers, bits, scale and zero point

What the cores of each kind are, and how they are multiplied, is said in the text of its encoding: `low_rank`, `svd`,
`cur`, `tucker`, `btd`, `cp`, `ht`, `tt`, `ring` under `workload/encodings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import Dims, encoding
from accelsim.workload.encodings.coded import Coded
from accelsim.workload.encodings.factored import CoreSpec, Factored
from accelsim.workload.trace import Operand


@dataclass(frozen=True)
class CoreIntegers:
    """The stored integers of a core.

    `meaning`: "affine" (scale * (codes - zero_point), one or one for each first index), or the encoding that says what
    they stand for (codebook, log2, ...), in which case only `codes` and `bits` say anything.
    """

    codes: NDArray[Any]
    bits: int
    signed: bool
    meaning: str
    scale: Any
    zero_point: Any


@dataclass(frozen=True)
class Decomposed:
    """Modes, ranks and cores.

    Attributes
    ----------
    kind : str
        The encoding.
    shape : tuple of int
        Of the operand that the cores stand for.
    row_modes, column_modes : tuple of int
        m_k and n_k; for a matrix method (low_rank, svd, cur) one of each: M and N.
    ranks : tuple of int
        As the encoding counts them: of tt and ring d + 1, of tucker and btd d, of cp 1, of ht one for each node, of a
        matrix method 1.
    bits : dict of str to int
        Width of the elements of each core.
    cores : dict of str to float32 array
        In order.
    """

    kind: str
    shape: Dims
    row_modes: tuple[int, ...]
    column_modes: tuple[int, ...]
    ranks: tuple[int, ...]
    bits: dict[str, int]
    cores: dict[str, NDArray[np.float32]]
    _specs: dict[str, CoreSpec]
    _payload: dict[str, NDArray[Any]]

    def integers(self, name: str) -> CoreIntegers:
        """The integers of a core that is quantized.

        Raises
        ------
        ConfigError
            If there is no such core, or it holds floating-point numbers.
        """
        if name not in self._specs:
            raise ConfigError(f"core must be one of {', '.join(self._specs)}, got {name!r}")
        spec, codec = self._specs[name], encoding(self._specs[name].encoding)
        arrays = _codec(self.kind).core_payload(self._payload, name)
        shape = tuple(spec.shape)
        scale, zero = arrays.pop("scale", spec.scale), arrays.pop("zero_point", spec.zero_point)
        if isinstance(codec, Coded):
            codes = codec.codes(arrays, spec.meta, shape, spec.bits)
            return CoreIntegers(codes, spec.bits, spec.signed, codec.kind, None, None)
        if codec.floating:
            raise ConfigError(f"core {name} must be quantized to have integers, but is stored as {codec.kind}")
        codes = codec.decode(arrays, spec.meta, shape, spec.bits, spec.signed)
        return CoreIntegers(codes, spec.bits, spec.signed, "affine", scale, zero)


def decomposed(operand: Operand) -> Decomposed:
    """Modes, ranks and cores of an operand.

    Raises
    ------
    ConfigError
        If it is not decomposed, or its payload is damaged.
    """
    codec = encoding(operand.encoding)
    if not isinstance(codec, Factored):
        where = f"{operand.layer}/{operand.role}"
        raise ConfigError(f"must be decomposed (a step `decompose` in its recipe), got encoding {codec.kind}", where)
    meta, payload = codec.read_meta(operand.meta), operand.payload()
    values = codec.cores(payload, meta, operand.shape)
    specs = {spec.name: spec for spec in meta.cores}
    rows = operand.shape[0]
    return Decomposed(
        codec.kind,
        operand.shape,
        tuple(getattr(meta, "row_modes", (rows,))),
        tuple(getattr(meta, "column_modes", (operand.elements // rows,))),
        tuple(getattr(meta, "ranks", None) or (meta.rank,)),
        {name: spec.bits for name, spec in specs.items()},
        dict(zip(specs, values, strict=True)),
        specs,
        payload,
    )


def _codec(kind: str) -> Factored:
    codec = encoding(kind)
    assert isinstance(codec, Factored)
    return codec
