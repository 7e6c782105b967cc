"""Writing a trace: operand by operand to disk, and into place only when all is well."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from accelsim.base.errors import ConfigError
from accelsim.base.spec import build
from accelsim.base.yamlio import Document
from accelsim.workload.container import Spool
from accelsim.workload.encodings.base import Payload, encoding
from accelsim.workload.generator import GeneratorSpec
from accelsim.workload.network import Network
from accelsim.workload.shapes import Dims
from accelsim.workload.tensors import default_signed, signed_outputs
from accelsim.workload.trace_format import (
    QUANTISATION,
    OperandSpec,
    PartSpec,
    check_fit,
    check_operand,
    check_quantisation,
    check_role,
    hash_of,
    make_header,
    tensor_name,
    to_metadata,
)


class TraceWriter:
    """Write a trace file; a context manager.

        with TraceWriter("net.trace", network, name="lenet5, pruned") as writer:
            writer.add("conv1", "filter", weights, bits=8, scale=0.01)

    Operands go to disk as they come, in nameless files beside the target: memory never holds more than one.
    Leaving the block writes the file and renames it into place; leaving it by an exception, Ctrl-C included,
    leaves whatever stood there before.

    Parameters
    ----------
    path : str or Path
    network : Network
    name : str
        What the trace is called in results.
    recipe : list, optional
        The compression steps that led to it: plain JSON data.
    source : str
        Where the data come from, with attribution.
    """

    def __init__(
        self, path: str | Path, network: Network, *, name: str, recipe: list[Any] | None = None, source: str = ""
    ) -> None:
        self.path = Path(path)
        self.network = network
        self._where = str(path)
        self._about: dict[str, Any] = {"name": name, "recipe": recipe, "source": source}
        self._operands: dict[tuple[str, str], OperandSpec] = {}
        self._spool = Spool(self.path)
        self._header([])  # name, recipe and source are wrong now rather than after hours of work

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._spool.finish(to_metadata(self._header(self._operands.values())))
        finally:
            self._spool.close()

    def add(
        self,
        layer: str,
        role: str,
        values: ArrayLike,
        *,
        bits: int,
        signed: bool | None = None,
        scale: float | ArrayLike = 1.0,
        zero_point: int | ArrayLike = 0,
        encoding: str = "dense",
        **params: Any,
    ) -> None:
        """Add the values of one operand.

        Parameters
        ----------
        layer, role : str
            See `trace_format.ROLES`.
        values : array_like
            Integers in the range of `bits`, or numbers if `encoding="float"`; of the shape that the network gives.
        bits : int
            1 to 32.
        signed : bool, optional
            By default weights are signed, and activations unless they come from ReLU or its like.
        scale, zero_point
            The number that q stands for is scale * (q - zero_point); a list has one for each first index.
        encoding : str
        **params
            Of the encoding.

        Raises
        ------
        ConfigError
            Naming the operand and what does not fit, or that the disk is full.
        """
        where = f"{self._where}: {layer}/{role}"
        array = np.asarray(values)
        codec = _codec(encoding, where)
        signed = self._default_signed(layer, role) if signed is None and not codec.floating else signed is not False
        described = {"layer": layer, "role": role, "shape": list(array.shape), "bits": bits, "signed": signed}
        try:
            quantised, extra = _quantisation(array.shape, scale=scale, zero_point=zero_point)
            spec = build(OperandSpec, Document({**described, **quantised, "encoding": codec.kind}, where))
            self._check_place(spec)
            check_fit(spec, self.network, self._where)
            encoded = codec.encode(array, bits, signed, **params)
        except ConfigError as error:
            raise _located(error, where) from None
        update = {"meta": encoded.meta, "nonzeros": encoded.nonzeros}
        self._store(spec.model_copy(update=update), {**encoded.payload, **extra})

    def add_generated(self, layer: str, role: str, shape: Dims, spec: GeneratorSpec) -> None:
        """Add an operand that is described, not stored.

        Raises
        ------
        ConfigError
            If it does not fit the layer.
        """
        self.add_spec(
            OperandSpec(
                layer=layer, role=role, shape=list(shape), bits=spec.bits, signed=spec.signed, generator=spec
            )
        )

    def add_spec(self, spec: OperandSpec, payload: Payload | None = None) -> None:
        """Add an operand of another trace, as it is there."""
        self._check_place(spec)
        if payload:
            self._store(spec, payload)
        else:
            check_operand(spec, self.network, self._where)
            self._operands[spec.layer, spec.role] = spec

    def _store(self, spec: OperandSpec, payload: Payload) -> None:
        arrays = {name: np.ascontiguousarray(array) for name, array in payload.items()}
        parts = {
            name: PartSpec(dtype=a.dtype.str.lstrip("<|"), shape=list(a.shape), hash=hash_of(a))
            for name, a in arrays.items()
        }
        spec = spec.model_copy(update={"parts": parts})
        check_operand(spec, self.network, self._where)
        for name, array in arrays.items():
            self._spool.add(tensor_name(spec.layer, spec.role, name), array)
        self._operands[spec.layer, spec.role] = spec

    def _check_place(self, spec: OperandSpec) -> None:
        check_role(self.network, spec.layer, spec.role, self._where)
        if (spec.layer, spec.role) in self._operands:
            raise ConfigError("is added twice", f"{self._where}: {spec.layer}/{spec.role}")

    @cached_property
    def _signed(self) -> dict[str, bool]:
        return signed_outputs(self.network)

    def _default_signed(self, layer: str, role: str) -> bool:
        found = check_role(self.network, layer, role, self._where)
        return default_signed(self.network, found, role, self._signed)

    def _header(self, operands: Any) -> Any:
        return make_header(self.network, operands, where=self._where, **self._about)


def _codec(name: str, where: str) -> Any:
    return encoding(name, where)


def _quantisation(shape: Dims, **given: Any) -> tuple[dict[str, Any], Payload]:
    """Header entries and payload arrays of scale and zero point."""
    header, arrays = {}, {}
    for name, value in given.items():
        array = np.asarray(value)
        if array.ndim == 0:
            header[name] = array.item()
            continue
        if array.shape != shape[:1] or array.dtype.kind not in ("iu" if name == "zero_point" else "iuf"):
            raise ConfigError(
                f"{name} must be one number, or one for each of the {shape[0]} first indices, "
                f"got {array.dtype}{list(array.shape)}"
            )
        arrays[name] = array.astype(QUANTISATION[name])
        check_quantisation(name, array)
        header[name] = None
    return header, arrays


def _located(error: ConfigError, where: str) -> ConfigError:
    return error if str(error).startswith(where) else ConfigError(str(error), where)
