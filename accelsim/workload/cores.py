"""Cores from anywhere into a trace: `TraceWriter.add` factorises what it is given, this takes factors as they are.

    with TraceWriter("net.trace", network, name="fc6 as a train") as writer:
        add_cores(writer, "fc6", "filter", "tt", cores, meta, shape=(4096, 25088), bits=16, scale=0.01)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import Dims, encoding
from accelsim.workload.encodings.factored import Factored, StoredCore
from accelsim.workload.trace_format import OperandSpec
from accelsim.workload.trace_writer import TraceWriter


def add_cores(
    writer: TraceWriter, layer: str, role: str, kind: str, cores: Mapping[str, NDArray[Any]], meta: dict[str, Any], *,
    shape: Dims, bits: int, scale: float = 1.0,
) -> None:
    """Add an operand by its cores.

    Parameters
    ----------
    kind : str
        An encoding of cores: tt, ring, svd, ...
    cores : mapping of str to integer arrays
        In the order and of the shapes that the encoding wants; signed, of `bits`.
    meta : dict
        What the encoding says beside its cores, such as row_modes, column_modes and ranks.
    shape : tuple of int
        Of the operand.
    scale : float
        Of every core's integers.

    Raises
    ------
    ConfigError
        If the cores do not belong together, or do not give the operand.
    """
    where, codec = f"{layer}/{role}", encoding(kind)
    if not isinstance(codec, Factored):
        raise ConfigError(f"encoding must be one of cores, got {kind}", where)
    dense = encoding("dense")
    stored = [
        StoredCore(name, "dense", dense.encode(np.asarray(core), bits, True), core.shape, bits, True, scale)
        for name, core in cores.items()
    ]
    try:
        encoded = codec.assemble(stored, meta, shape)
    except ConfigError as error:
        raise ConfigError(str(error), where) from None
    spec = OperandSpec(
        layer=layer, role=role, shape=list(shape), bits=bits, signed=True, encoding=kind, meta=encoded.meta,
        nonzeros=encoded.nonzeros,
    )  # fmt: skip
    writer.add_spec(spec, encoded.payload)
